#include "lsm/store/log.h"
#include "lsm/version/manifest.h"
#include "tests/unit/fault.h"

static const uint8_t uuid[16] = { 4, 5, 6 };

/* Edits are told apart by their next_file. */
struct seen {
    uint64_t numbers[64];
    int count;
    int answer_at, answer;          /* the answer_at-th call (from 1) answers this */
};

static int see(void *ctx, const struct lsm_edit *edit)
{
    struct seen *s = ctx;

    if (s->count < 64)
        s->numbers[s->count] = edit->next_file;
    s->count++;
    return s->answer_at == s->count ? s->answer : LSM_OK;
}

static int open_manifest(struct lsm_manifest *m, struct seen *s, bool read_only)
{
    int answer_at = s->answer_at, answer = s->answer;

    *s = (struct seen){ .answer_at = answer_at, .answer = answer };
    return lsm_manifest_open(m, fault.os, fault.dir, read_only, see, s);
}

static int create(struct lsm_manifest *m, uint64_t number, uint64_t next_file)
{
    struct lsm_edit e;
    int rc;

    lsm_edit_init(&e, fault.os);
    e.has = LSM_EDIT_NEXT_FILE;
    e.next_file = next_file;
    rc = lsm_manifest_create(m, fault.os, fault.dir, uuid, number, 0644, &e);
    lsm_edit_clear(&e);
    return rc;
}

static int append(struct lsm_manifest *m, uint64_t next_file)
{
    struct lsm_edit e;
    int rc;

    lsm_edit_init(&e, fault.os);
    e.has = LSM_EDIT_NEXT_FILE;
    e.next_file = next_file;
    rc = lsm_manifest_append(m, &e);
    lsm_edit_clear(&e);
    return rc;
}

/* What a new reader finds: the edits, as "10 11 12"; or the code's name. */
static const char *found(void)
{
    static char text[256];
    struct lsm_manifest m;
    struct seen s = { 0 };
    int rc = open_manifest(&m, &s, true);

    if (rc != LSM_OK)
        return lsm_code_name(rc);
    text[0] = '\0';
    for (int i = 0; i < s.count && i < 64; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", i ? " " : "",
                 (int)s.numbers[i]);
    lsm_manifest_close(&m);
    return text;
}

TEST(manifest_gives_back_the_snapshot_and_all_edits)
{
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };

    fault_begin();
    CHECK_RC(open_manifest(&m, &s, false), LSM_NOTFOUND);
    CHECK_OK(create(&m, 2, 10));
    CHECK_OK(append(&m, 11));
    CHECK_OK(append(&m, 12));
    CHECK_STR(found(), "10 11 12");
    CHECK_OK(create(&m, 3, 20));
    CHECK_OK(append(&m, 21));
    CHECK_STR(found(), "20 21");
    CHECK(fault_has_file("MANIFEST-000002"));           /* the caller removes it */
    lsm_manifest_close(&m);
    lsm_manifest_close(&m);

    CHECK_OK(open_manifest(&m, &s, false));
    CHECK(m.number == 3 && memcmp(m.uuid, uuid, 16) == 0 && !m.failed);
    CHECK_OK(append(&m, 22));
    lsm_manifest_close(&m);
    CHECK_STR(found(), "20 21 22");
    fault_end();
}

/* C-08 */
TEST(manifest_creation_syncs_each_thing_before_the_next_depends_on_it)
{
    struct lsm_manifest m = { 0 };

    fault_begin();
    CHECK_OK(create(&m, 7, 10));
    CHECK_STR(fault.order, "write MANIFEST-000007; sync MANIFEST-000007; dirsync; "
                           "remove 000007.tmp; write 000007.tmp; sync 000007.tmp; "
                           "rename 000007.tmp; dirsync; ");
    fault.order[0] = '\0';
    CHECK_OK(append(&m, 11));
    CHECK_STR(fault.order, "write MANIFEST-000007; sync MANIFEST-000007; ");
    lsm_manifest_close(&m);
    fault_end();
}

TEST(manifest_opened_is_synced_before_an_edit_is_put_behind_what_was_read)
{
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };

    fault_begin();
    CHECK_OK(create(&m, 7, 10));
    lsm_manifest_close(&m);
    CHECK_OK(open_manifest(&m, &s, false));
    fault.order[0] = '\0';
    CHECK_OK(append(&m, 11));
    CHECK_OK(append(&m, 12));
    CHECK_STR(fault.order, "sync MANIFEST-000007; write MANIFEST-000007; sync MANIFEST-000007; "
                           "write MANIFEST-000007; sync MANIFEST-000007; ");
    lsm_manifest_close(&m);
    fault_end();
}

/* One call fails, each in turn: the old or the new one is found, and the struct knows which may be
   trusted. */
TEST(manifest_creation_that_fails_anywhere_leaves_one_that_can_be_opened)
{
    static const unsigned kinds = FAULT_WRITE | FAULT_SYNC | FAULT_DIR_SYNC | FAULT_RENAME |
                                  FAULT_OPEN;
    bool done = false;

    for (int at = 1; !done; at++) {
        struct lsm_manifest m = { 0 };
        int rc;

        fault_begin();
        CHECK_OK(create(&m, 1, 10));
        fault_arm(kinds, at);
        fault.write_half = 30;
        rc = create(&m, 2, 20);
        done = fault.seen < at;
        fault_disarm();
        if (rc == LSM_OK) {
            CHECK(done);
            CHECK_STR(found(), "20");
        } else if (m.failed) {
            /* which of the two a crash finds is not known: the new one must still be there */
            CHECK(fault_has_file("MANIFEST-000002"));
            CHECK(strcmp(found(), "20") == 0 || strcmp(found(), "10") == 0);
            CHECK_RC(append(&m, 11), LSM_FSYNC);
        } else {
            CHECK_STR(found(), "10");
            CHECK_OK(append(&m, 11));
            CHECK_STR(found(), "10 11");
        }
        if (rc != LSM_OK)
            CHECK(!fault_has_file("000002.tmp") || m.failed);
        CHECK_OK(create(&m, 3, 30));                    /* and a third leads on in any case */
        CHECK_OK(append(&m, 31));
        CHECK_STR(found(), "30 31");
        lsm_manifest_close(&m);
        fault_end();
    }
}

TEST(manifest_creation_that_failed_before_the_rename_leaves_no_file)
{
    static const unsigned kinds[] = { FAULT_WRITE, FAULT_SYNC };
    struct lsm_manifest m = { 0 };

    fault_begin();
    for (size_t i = 0; i < 2; i++) {
        for (int at = 1; at <= 2; at++) {               /* the MANIFEST, the temporary */
            fault_arm(kinds[i], at);
            CHECK(create(&m, 1, 10) != LSM_OK);
            fault_disarm();
            CHECK(!fault_has_file("MANIFEST-000001") && !fault_has_file("000001.tmp"));
            CHECK_STR(found(), "LSM_NOTFOUND");
            CHECK(!m.file && !m.failed);
        }
    }
    fault_end();
}

/* I-06 */
TEST(manifest_append_that_fails_latches_and_a_new_one_leads_on)
{
    static const unsigned kinds[] = { FAULT_WRITE, FAULT_SYNC };

    for (size_t i = 0; i < 2; i++) {
        struct lsm_manifest m = { 0 };

        fault_begin();
        CHECK_OK(create(&m, 1, 10));
        fault.write_half = 13;
        fault_arm(kinds[i], 1);
        CHECK_RC(append(&m, 11), i ? LSM_FSYNC : LSM_IOERR);
        fault_disarm();
        CHECK(m.failed);
        CHECK_RC(append(&m, 12), LSM_FSYNC);
        CHECK_STR(fault.order, "");
        CHECK_STR(found(), i ? "10 11" : "10");
        CHECK_OK(create(&m, 2, 20));
        CHECK(!m.failed);
        CHECK_STR(found(), "20");
        lsm_manifest_close(&m);
        fault_end();
    }
}

static size_t make_image(uint8_t *bytes, size_t size, size_t ends[4])
{
    struct lsm_manifest m = { 0 };

    CHECK_OK(create(&m, 1, 10));
    ends[0] = (size_t)m.size;
    for (int i = 1; i < 4; i++) {
        CHECK_OK(append(&m, (uint64_t)(10 + i)));
        ends[i] = (size_t)m.size;
    }
    lsm_manifest_close(&m);
    return fault_get_file("MANIFEST-000001", bytes, size);
}

static bool has_bytes(const uint8_t *bytes, size_t from, size_t to)
{
    while (from < to && bytes[from] == 0)
        from++;
    return from < to;
}

/* C-07 */
TEST(manifest_cut_at_every_byte_is_a_torn_tail_but_never_half_an_edit_and_needs_its_snapshot)
{
    static const char *const prefix[] = { "10", "10 11", "10 11 12", "10 11 12 13" };
    static uint8_t bytes[4096];
    size_t size, ends[4];

    fault_begin();
    size = make_image(bytes, sizeof(bytes), ends);
    for (size_t cut = 0; cut <= size; cut++) {
        struct lsm_manifest m;
        struct seen s = { 0 };
        int whole = -1;

        while (whole < 3 && ends[whole + 1] <= cut)
            whole++;
        fault_put_file("MANIFEST-000001", bytes, cut);
        CHECK_STR(found(), whole < 0 ? "LSM_CORRUPT" : prefix[whole]);
        if (whole < 0)
            continue;
        CHECK_OK(open_manifest(&m, &s, false));
        CHECK_INT(m.size, ends[whole]);
        /* Nothing is appended behind a torn tail; the zeros that a frame may begin with are none. */
        CHECK_INT(m.failed, has_bytes(bytes, ends[whole], cut));
        lsm_manifest_close(&m);
    }
    fault_end();
}

/* B-02 */
TEST(manifest_flip_of_any_bit_but_in_the_last_edit_is_corrupt)
{
    static uint8_t bytes[4096], damaged[4096];
    size_t size, ends[4];

    fault_begin();
    size = make_image(bytes, sizeof(bytes), ends);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(damaged, bytes, size);
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fault_put_file("MANIFEST-000001", damaged, size);
        if (!CHECK_STR(found(), bit / 8 < ends[2] ? "LSM_CORRUPT" : "10 11 12"))
            printf("bit %zu\n", bit);
    }
    fault_end();
}

/* C-10, B-05 */
TEST(current_cut_at_every_byte_or_any_bit_flipped_is_replaced_by_the_only_manifest)
{
    uint8_t bytes[64], good[64], healed[64];
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };
    size_t size;

    fault_begin();
    CHECK_OK(create(&m, 12, 10));
    CHECK_OK(append(&m, 11));
    lsm_manifest_close(&m);
    size = fault_get_file("CURRENT", good, sizeof(good));
    CHECK_INT(size, 16 + 17);
    CHECK_MEM(good, "MANIFEST-000012\n", 16);

    for (size_t i = 0; i < size + 8 * size; i++) {
        size_t cut = i < size ? i : size;

        memcpy(bytes, good, size);
        if (i >= size)
            bytes[(i - size) / 8] ^= (uint8_t)(1u << (i - size) % 8);
        fault_put_file("CURRENT", bytes, cut);
        CHECK_STR(found(), "10 11");                    /* used, and nothing written */
        CHECK_INT(fault_get_file("CURRENT", healed, sizeof(healed)), cut);
        CHECK_OK(open_manifest(&m, &s, false));
        CHECK(m.failed);        /* its sync may be what failed: a new one is due */
        lsm_manifest_close(&m);
        CHECK_INT(fault_get_file("CURRENT", healed, sizeof(healed)), cut);
    }
    fault_end();
}

TEST(current_lost_is_not_guessed_where_two_answers_are_possible)
{
    static uint8_t bytes[4096];
    struct lsm_manifest m = { 0 };
    size_t size, ends[4];

    fault_begin();
    size = make_image(bytes, sizeof(bytes), ends);
    fault.real.file_remove(fault.dir, "CURRENT");
    CHECK_STR(found(), "10 11 12 13");

    fault_put_file("MANIFEST-000001", bytes, size - 1); /* torn: more may have been lost */
    CHECK_STR(found(), "LSM_CORRUPT");
    CHECK(strstr(lsm_error_text(), "CURRENT") && strstr(lsm_error_text(), "repair"));
    bytes[ends[0] + 30] ^= 1;                           /* damaged */
    fault_put_file("MANIFEST-000001", bytes, size);
    CHECK_STR(found(), "LSM_CORRUPT");
    bytes[ends[0] + 30] ^= 1;
    fault_put_file("MANIFEST-000001", bytes, size);
    CHECK_STR(found(), "10 11 12 13");

    fault_put_file("MANIFEST-000002", bytes, 20);       /* unfinished, or the newest one damaged? */
    CHECK_STR(found(), "LSM_CORRUPT");
    fault.real.file_remove(fault.dir, "MANIFEST-000002");
    CHECK_OK(create(&m, 3, 30));
    lsm_manifest_close(&m);
    CHECK_STR(found(), "30");
    fault.real.file_remove(fault.dir, "CURRENT");       /* two whole ones: 1 and 3 */
    CHECK_STR(found(), "LSM_CORRUPT");
    bytes[ends[0] + 30] ^= 1;
    fault_put_file("MANIFEST-000001", bytes, size);     /* 1 damaged, 3 whole: was 1 the newest? */
    CHECK_STR(found(), "LSM_CORRUPT");
    fault_put_file("MANIFEST-000001", bytes, 20);       /* 1 unfinished, 3 whole: left by a crash */
    CHECK_STR(found(), "30");
    fault_end();
}

TEST(store_that_was_never_finished_is_not_there_but_data_without_a_manifest_is_corrupt)
{
    static uint8_t bytes[4096];
    size_t ends[4];

    fault_begin();
    CHECK_STR(found(), "LSM_NOTFOUND");
    make_image(bytes, sizeof(bytes), ends);
    fault.real.file_remove(fault.dir, "CURRENT");
    for (size_t cut = 0; cut < ends[0]; cut++) {
        fault_put_file("MANIFEST-000001", bytes, cut);
        CHECK_STR(found(), "LSM_NOTFOUND");
    }
    fault_put_file("000009.log", bytes, LSM_LOG_HEADER_SIZE);
    CHECK_STR(found(), "LSM_NOTFOUND");
    fault_put_file("000009.log", bytes, LSM_LOG_HEADER_SIZE + 1);
    CHECK_STR(found(), "LSM_CORRUPT");
    fault.real.file_remove(fault.dir, "000009.log");
    CHECK_STR(found(), "LSM_NOTFOUND");
    fault_put_file("000009.ldb", bytes, 1);
    CHECK_STR(found(), "LSM_CORRUPT");
    fault.real.file_remove(fault.dir, "000009.ldb");
    fault_put_file("CURRENT", bytes, 0);                /* it was there once */
    CHECK_STR(found(), "LSM_CORRUPT");
    fault_end();
}

TEST(current_that_names_a_missing_manifest_is_corrupt)
{
    struct lsm_manifest m = { 0 };

    fault_begin();
    CHECK_OK(create(&m, 5, 10));
    lsm_manifest_close(&m);
    fault.real.file_remove(fault.dir, "MANIFEST-000005");
    CHECK_STR(found(), "LSM_CORRUPT");
    CHECK(strstr(lsm_error_text(), "MANIFEST-000005"));
    fault_end();
}

TEST(current_that_is_missing_does_not_stop_reading_and_the_next_manifest_replaces_it)
{
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };

    {
        fault_begin();
        CHECK_OK(create(&m, 5, 10));
        lsm_manifest_close(&m);
        fault.real.file_remove(fault.dir, "CURRENT");
        fault.error = ENOSPC;
        fault_arm(FAULT_WRITE | FAULT_SYNC | FAULT_DIR_SYNC | FAULT_RENAME, 1);
        CHECK_OK(open_manifest(&m, &s, false));
        CHECK_INT(s.count, 1);
        CHECK(m.failed);
        fault_disarm();
        CHECK_OK(create(&m, 6, 20));
        CHECK_STR(found(), "20");
        lsm_manifest_close(&m);
        fault_end();
    }
}

TEST(manifest_read_error_and_no_memory_are_never_taken_for_the_end)
{
    static const unsigned kinds[] = { FAULT_OPEN, FAULT_READ | FAULT_INFO, FAULT_MEMORY };
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };

    for (int lost = 0; lost < 2; lost++) {
        fault_begin();
        CHECK_OK(create(&m, 1, 10));
        for (uint64_t i = 1; i < 5; i++)
            CHECK_OK(append(&m, 10 + i));
        lsm_manifest_close(&m);
        if (lost)
            fault.real.file_remove(fault.dir, "CURRENT");
        for (size_t k = 0; k < 3; k++) {
            int rc = -1;

            for (int at = 1; at < 200; at++) {
                fault_arm(kinds[k], at);
                rc = open_manifest(&m, &s, true);
                lsm_manifest_close(&m);
                if (fault.seen < at)
                    break;
                CHECK_RC(rc, kinds[k] == FAULT_MEMORY ? LSM_NOMEM : LSM_IOERR);
            }
            CHECK_OK(rc);
            CHECK_INT(s.count, 5);
        }
        fault_disarm();
        fault_end();
    }
}

TEST(manifest_hands_on_what_its_reader_answers)
{
    static const int answers[] = { LSM_CORRUPT, LSM_NOMEM, LSM_DONE, LSM_NOTFOUND };
    struct lsm_manifest m = { 0 };
    struct seen s = { 0 };

    fault_begin();
    CHECK_OK(create(&m, 1, 10));
    CHECK_OK(append(&m, 11));
    lsm_manifest_close(&m);
    for (size_t i = 0; i < 4; i++) {
        for (s.answer_at = 1; s.answer_at <= 2; s.answer_at++) {
            s.answer = answers[i];
            CHECK_RC(open_manifest(&m, &s, false), answers[i]);
            CHECK_INT(s.count, s.answer_at);
            CHECK(!m.file);
        }
    }
    fault_end();
}

TEST(manifest_without_memory_is_as_it_was)
{
    struct lsm_manifest m = { 0 };

    fault_begin();
    CHECK_OK(create(&m, 1, 10));
    for (int at = 1; at < 50; at++) {
        int rc;

        fault_arm(FAULT_MEMORY, at);
        rc = append(&m, 11);
        if (fault.seen < at)
            break;
        CHECK_RC(rc, LSM_NOMEM);
        CHECK(!m.failed);
        fault_arm(FAULT_MEMORY, at);
        rc = create(&m, 2, 20);
        fault_disarm();
        if (rc == LSM_OK)
            break;
        CHECK_RC(rc, LSM_NOMEM);
        CHECK(!m.failed && !fault_has_file("MANIFEST-000002"));
    }
    fault_disarm();
    lsm_manifest_close(&m);
    fault_end();
}

/* G-08 */
TEST(manifest_is_long_after_a_mebibyte_and_twice_its_snapshot)
{
    struct lsm_manifest m = { .snapshot_size = 1000, .size = 1000 + (1 << 20) };

    CHECK(!lsm_manifest_is_long(&m));
    m.size++;
    CHECK(lsm_manifest_is_long(&m));
    m.snapshot_size = 3 << 20;
    m.size = 9 << 20;
    CHECK(!lsm_manifest_is_long(&m));
    m.size++;
    CHECK(lsm_manifest_is_long(&m));
}

TEST(manifest_of_a_newer_version_is_named_so)
{
    static uint8_t bytes[4096];
    size_t size, ends[4];
    struct lsm_manifest m;
    struct seen s = { 0 };

    fault_begin();
    size = make_image(bytes, sizeof(bytes), ends);
    bytes[10] = 1;                                      /* ro_compat */
    lsm_frame_header_seal(bytes, LSM_MANIFEST_HEADER_SIZE);
    fault_put_file("MANIFEST-000001", bytes, LSM_MANIFEST_HEADER_SIZE);
    CHECK_RC(open_manifest(&m, &s, false), LSM_FORMAT);
    bytes[12] = 1;                                      /* incompat */
    lsm_frame_header_seal(bytes, LSM_MANIFEST_HEADER_SIZE);
    fault_put_file("MANIFEST-000001", bytes, size);
    CHECK_RC(open_manifest(&m, &s, true), LSM_FORMAT);
    CHECK(strstr(lsm_error_text(), "newer"));
    fault_end();
}

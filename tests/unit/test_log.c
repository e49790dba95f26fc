#include "lsm/store/log.h"
#include "tests/unit/fault.h"

static const uint8_t uuid[16] = { 9, 8, 7 };

struct seen {
    int count;
    uint64_t stop_at;               /* offset at which to answer LSM_DONE; 0: never */
    char text[512];                 /* the payloads, joined by spaces */
};

static int see(void *ctx, struct lsm_slice payload, uint64_t off)
{
    struct seen *s = ctx;
    size_t n = strlen(s->text);

    if (s->stop_at && off >= s->stop_at)
        return LSM_DONE;
    s->count++;
    snprintf(s->text + n, sizeof(s->text) - n, "%s%.*s", n ? " " : "",
             (int)(payload.size < 20 ? payload.size : 20), (const char *)payload.data);
    return LSM_OK;
}

static int read_log(uint64_t number, struct seen *s, struct lsm_log_end *end,
                    struct lsm_log_end *prev, bool *torn)
{
    uint64_t stop_at = s->stop_at;

    *s = (struct seen){ .stop_at = stop_at };
    return lsm_log_read(fault.os, fault.dir, uuid, number, see, s, end, prev, torn);
}

static int append(struct lsm_log *log, const char *text)
{
    size_t n = strlen(text);
    struct lsm_slice parts[3] = { lsm_slice(text, n / 2), lsm_slice(NULL, 0),
                                  lsm_slice(text + n / 2, n - n / 2) };

    return lsm_log_append(log, parts, 3);
}

TEST(log_reads_back_what_was_appended_and_where_it_ends)
{
    struct lsm_log_end end, prev, before = { 3, 640, 0x1234 }, read_prev;
    struct lsm_log log;
    struct seen s = { 0 };
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 4, &before, 0644));
    CHECK_OK(append(&log, "one"));
    CHECK_OK(append(&log, "two-two-two"));
    CHECK_OK(lsm_log_sync(&log));
    CHECK_OK(append(&log, "three"));
    CHECK_OK(read_log(4, &s, &end, &prev, &torn));
    CHECK_STR(s.text, "one two-two-two three");
    CHECK(!torn);
    CHECK(end.number == 4 && end.size == log.size && end.chain == log.chain);
    CHECK(prev.number == 3 && prev.size == 640 && prev.chain == 0x1234);
    CHECK_OK(lsm_log_read_prev(fault.os, fault.dir, uuid, 4, &read_prev, &torn));
    CHECK(memcmp(&read_prev, &prev, sizeof(prev)) == 0 && !torn);
    lsm_log_close(&log);
    lsm_log_close(&log);
    CHECK_RC(read_log(5, &s, &end, &prev, &torn), LSM_NOTFOUND);
    fault_end();
}

TEST(log_append_is_one_write_and_sync_without_news_is_none)
{
    struct lsm_log log;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    CHECK_STR(fault.order, "write 000001.log; sync 000001.log; ");
    fault.order[0] = '\0';
    CHECK_OK(append(&log, "joined from parts"));
    CHECK_OK(lsm_log_sync(&log));
    CHECK_OK(lsm_log_sync(&log));
    CHECK_STR(fault.order, "write 000001.log; sync 000001.log; ");
    lsm_log_close(&log);
    fault_end();
}

TEST(log_large_record_leaves_no_memory_behind)
{
    enum { BIG = 9 << 20 };
    uint8_t *big = malloc(BIG);
    struct lsm_slice part = { big, BIG };
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    uint64_t used;
    bool torn;

    fault_begin();
    memset(big, 'x', BIG);
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    CHECK_OK(append(&log, "small"));
    used = log.scratch.cap;
    CHECK_OK(lsm_log_append(&log, &part, 1));
    CHECK_INT(log.scratch.cap, used);
    CHECK_OK(append(&log, "after"));
    CHECK_OK(read_log(1, &s, &end, &prev, &torn));
    CHECK_STR(s.text, "small xxxxxxxxxxxxxxxxxxxx after");
    part.size = (size_t)LSM_LOG_PAYLOAD_MAX + 1;            /* never looked at */
    CHECK_RC(lsm_log_append(&log, &part, 1), LSM_TOOBIG);
    CHECK(!log.failed);
    lsm_log_close(&log);
    fault_end();
    free(big);
}

/* I-05 */
TEST(log_failed_append_takes_no_more_and_its_remains_are_no_record)
{
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    bool torn;

    for (size_t half = 0; half < 60; half++) {              /* what of the write reached the file */
        fault_begin();
        CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
        CHECK_OK(append(&log, "good"));
        fault.error = ENOSPC;
        fault.write_half = half;
        fault_arm(FAULT_WRITE, 1);
        CHECK_RC(append(&log, "lost"), LSM_FULL);
        fault_disarm();
        CHECK_RC(append(&log, "never"), LSM_FSYNC);
        CHECK_RC(lsm_log_sync(&log), LSM_FSYNC);
        CHECK_STR(fault.order, "");
        CHECK_OK(read_log(1, &s, &end, &prev, &torn));
        if (half < 32) {            /* 24 head, 4 payload, 4 padding */
            CHECK_STR(s.text, "good");
            CHECK_INT(end.size, log.size);
            CHECK(end.chain == log.chain);
        } else {
            CHECK_STR(s.text, "good lost");
        }
        s.stop_at = log.size;       /* what the next log's prev says keeps it out in any case */
        CHECK_RC(read_log(1, &s, &end, &prev, &torn), half < 32 ? LSM_OK : LSM_DONE);
        CHECK_STR(s.text, "good");
        CHECK(end.size == log.size && end.chain == log.chain);
        s.stop_at = 0;
        lsm_log_close(&log);
        fault_end();
    }
}

TEST(log_out_of_memory_leaves_it_as_it_was)
{
    struct lsm_slice parts[2];
    uint8_t byte = 1;
    struct lsm_log log;
    uint64_t size;
    uint8_t *big = calloc(1, 2 << 20);

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    parts[0] = lsm_slice(&byte, 1);
    for (int i = 0; i < 2; i++) {
        parts[1] = lsm_slice(big, i ? 2 << 20 : 0);
        size = log.size;
        fault_arm(FAULT_MEMORY, 1);
        CHECK_RC(lsm_log_append(&log, parts, 2), LSM_NOMEM);
        fault_disarm();
        CHECK(log.size == size && !log.failed);
        CHECK_OK(lsm_log_append(&log, parts, 2));
    }
    lsm_log_close(&log);
    fault_end();
    free(big);
}

TEST(log_failed_sync_is_never_tried_again_and_the_end_to_rely_on_is_the_last_good_sync)
{
    struct lsm_log_end end, prev, reliable;
    struct lsm_log log, next;
    struct seen s = { 0 };
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    CHECK_OK(append(&log, "a"));
    CHECK_OK(lsm_log_sync(&log));
    reliable = lsm_log_end(&log);
    CHECK_OK(append(&log, "b"));
    fault_arm(FAULT_SYNC, 1);
    CHECK_RC(lsm_log_sync(&log), LSM_FSYNC);
    fault_disarm();
    CHECK_RC(lsm_log_sync(&log), LSM_FSYNC);
    CHECK_STR(fault.order, "");
    end = lsm_log_end_synced(&log);
    CHECK(end.number == 1 && end.size == reliable.size && end.chain == reliable.chain);

    CHECK_OK(lsm_log_create(&next, fault.os, fault.dir, uuid, 2, &end, 0644));
    CHECK_OK(lsm_log_read_prev(fault.os, fault.dir, uuid, 2, &prev, &torn));
    s.stop_at = prev.size;
    CHECK_RC(read_log(1, &s, &end, &reliable, &torn), LSM_DONE);
    CHECK_STR(s.text, "a");
    CHECK_OK(lsm_log_check_prev(2, &prev, &end));
    lsm_log_close(&log);
    lsm_log_close(&next);
    fault_end();
}

TEST(log_creation_that_fails_leaves_no_file)
{
    static const unsigned kinds[] = { FAULT_OPEN, FAULT_WRITE, FAULT_SYNC };
    struct lsm_log log;

    fault_begin();
    for (size_t i = 0; i < 3; i++) {
        fault_arm(kinds[i], 1);
        CHECK_RC(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644),
                 kinds[i] == FAULT_SYNC ? LSM_FSYNC : LSM_IOERR);
        fault_disarm();
        CHECK(!fault_has_file("000001.log"));
        lsm_log_close(&log);
    }
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    lsm_log_close(&log);
    CHECK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644) != LSM_OK);
    CHECK(fault_has_file("000001.log"));            /* not ours to remove */
    fault_end();
}

/* T-05 */
TEST(log_hole_of_any_form_is_corrupt)
{
    static uint8_t bytes[4096];
    struct lsm_log_end end, prev, ignored;
    struct lsm_log log, next;
    struct seen s = { 0 };
    uint64_t ends[4];
    size_t size;
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    for (int i = 0; i < 4; i++) {
        ends[i] = log.size;
        CHECK_OK(append(&log, "record"));
    }
    CHECK_OK(lsm_log_sync(&log));
    end = lsm_log_end_synced(&log);
    CHECK_OK(lsm_log_create(&next, fault.os, fault.dir, uuid, 2, &end, 0644));
    lsm_log_close(&log);
    lsm_log_close(&next);
    CHECK_OK(lsm_log_read_prev(fault.os, fault.dir, uuid, 2, &prev, &torn));
    CHECK_OK(lsm_log_check_prev(2, &prev, &end));

    size = fault_get_file("000001.log", bytes, sizeof(bytes));
    for (int i = 0; i < 4; i++) {                   /* cut exactly between records */
        fault_put_file("000001.log", bytes, ends[i]);
        CHECK_OK(read_log(1, &s, &end, &ignored, &torn));
        CHECK_INT(s.count, i);
        CHECK(!torn);
        CHECK_RC(lsm_log_check_prev(2, &prev, &end), LSM_CORRUPT);
    }
    fault_put_file("000001.log", bytes, 0);         /* emptied */
    CHECK_OK(read_log(1, &s, &end, &ignored, &torn));
    CHECK_RC(lsm_log_check_prev(2, &prev, &end), LSM_CORRUPT);
    fault_put_file("000001.log", bytes, size);
    CHECK_OK(read_log(1, &s, &end, &ignored, &torn));
    CHECK_OK(lsm_log_check_prev(2, &prev, &end));
    end.chain ^= 1;                                 /* other records of the same sizes */
    CHECK_RC(lsm_log_check_prev(2, &prev, &end), LSM_CORRUPT);
    end.chain ^= 1;
    end.number = 7;                                 /* the one between is missing */
    CHECK_RC(lsm_log_check_prev(2, &prev, &end), LSM_CORRUPT);
    fault_end();
}

TEST(log_of_another_store_number_or_kind_is_corrupt)
{
    static uint8_t bytes[4096];
    const uint8_t other[16] = { 1 };
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    size_t size;
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    CHECK_OK(append(&log, "record"));
    lsm_log_close(&log);
    size = fault_get_file("000001.log", bytes, sizeof(bytes));
    fault_put_file("000002.log", bytes, size);
    CHECK_RC(read_log(2, &s, &end, &prev, &torn), LSM_CORRUPT);
    CHECK_RC(lsm_log_read(fault.os, fault.dir, other, 1, see, &s, &end, &prev, &torn), LSM_CORRUPT);
    fault_put_file("000002.log", (const uint8_t *)"short", 5);
    CHECK_OK(read_log(2, &s, &end, &prev, &torn));
    CHECK(torn && end.size == 0 && s.count == 0);
    CHECK_OK(lsm_log_read_prev(fault.os, fault.dir, uuid, 2, &prev, &torn));
    CHECK(torn && prev.number == 0);
    fault_end();
}

TEST(log_cut_takes_records_back_and_what_is_appended_then_is_good)
{
    struct lsm_log_end mark, end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    CHECK_OK(append(&log, "kept"));
    mark = lsm_log_end(&log);
    CHECK_OK(append(&log, "taken back"));
    CHECK_OK(lsm_log_sync(&log));
    CHECK_OK(append(&log, "this too"));
    fault.order[0] = '\0';
    CHECK_OK(lsm_log_cut(&log, mark.size, mark.chain));
    CHECK_STR(fault.order, "truncate 000001.log; sync 000001.log; ");
    CHECK_OK(append(&log, "new"));
    CHECK_OK(read_log(1, &s, &end, &prev, &torn));
    CHECK_STR(s.text, "kept new");
    CHECK(!torn);

    fault_arm(FAULT_SYNC, 1);
    CHECK_RC(lsm_log_cut(&log, mark.size, mark.chain), LSM_FSYNC);
    fault_disarm();
    CHECK_RC(append(&log, "no more"), LSM_FSYNC);
    CHECK_OK(lsm_log_cut(&log, mark.size, mark.chain));
    CHECK_RC(append(&log, "no more"), LSM_FSYNC);
    CHECK_OK(read_log(1, &s, &end, &prev, &torn));
    CHECK_STR(s.text, "kept");
    lsm_log_close(&log);
    fault_end();
}

/* B-03 */
TEST(log_flip_of_any_bit_before_the_last_sync_is_corrupt)
{
    static uint8_t bytes[4096], damaged[4096];
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    size_t size, last;
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(append(&log, "a record of a transaction"));
        CHECK_OK(lsm_log_sync(&log));
    }
    last = log.size;
    CHECK_OK(append(&log, "not synced"));
    lsm_log_close(&log);
    size = fault_get_file("000001.log", bytes, sizeof(bytes));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        int rc;

        memcpy(damaged, bytes, size);
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fault_put_file("000001.log", damaged, size);
        rc = read_log(1, &s, &end, &prev, &torn);
        CHECK_RC(rc, bit / 8 < last ? LSM_CORRUPT : LSM_OK);
        CHECK(rc != LSM_OK || (torn && end.size == last && s.count == 4));
    }
    fault_end();
}

/* I-09 */
TEST(log_read_error_and_no_memory_are_never_taken_for_the_end)
{
    static const unsigned kinds[] = { FAULT_OPEN, FAULT_READ | FAULT_INFO, FAULT_MEMORY };
    static uint8_t big[300000];
    struct lsm_slice part = { big, sizeof(big) };
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct seen s = { 0 };
    bool torn;
    int rc;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 1, NULL, 0644));
    for (int i = 0; i < 5; i++)
        CHECK_OK(lsm_log_append(&log, &part, 1));
    lsm_log_close(&log);
    for (size_t k = 0; k < 3; k++) {
        for (int at = 1; at < 100; at++) {
            fault_arm(kinds[k], at);
            rc = read_log(1, &s, &end, &prev, &torn);
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

static uint64_t room_asked_for;

static int note_room(struct lsm_file *file, uint64_t size)
{
    (void)file;
    room_asked_for = size;
    return 0;
}

static int write_nothing(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    (void)file, (void)data, (void)size, (void)off;
    return 0;
}

TEST(log_reserves_no_room_beyond_the_size_that_is_read)
{
    struct lsm_log log;

    fault_begin();
    fault.os->file_allocate = note_room;
    fault.os->file_write = write_nothing;
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 4, NULL, 0644));
    log.size = log.synced = LSM_FRAME_FILE_MAX - 4096;
    log.synced_chain = log.chain;
    CHECK_OK(append(&log, "one"));
    CHECK(room_asked_for > log.size && room_asked_for <= LSM_FRAME_FILE_MAX);
    log.reserved = 0;
    lsm_log_close(&log);
    fault_end();
}

TEST(log_gives_its_room_back_also_where_there_was_no_more)
{
    struct lsm_file *file;
    struct lsm_file_info info;
    struct lsm_log log;
    uint64_t size, end;

    fault_begin();
    CHECK_OK(lsm_log_create(&log, fault.os, fault.dir, uuid, 4, NULL, 0644));
    CHECK_OK(append(&log, "one"));
    end = log.size + 65536;
    CHECK_INT(fault.os->file_truncate(log.file, end), 0);
    lsm_log_room_is_made(&log, log.size, end, true, true);
    lsm_log_room_is_made(&log, end, end + 65536, false, true);
    log.is_helped = true;
    CHECK(!lsm_log_wants_room(&log, &end, &(bool){ false }));
    CHECK_OK(append(&log, "two"));
    CHECK_OK(lsm_log_sync(&log));
    size = log.size;
    lsm_log_close(&log);
    CHECK_INT(fault.os->file_open(fault.dir, "000004.log", LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(fault.os->file_info(file, &info), 0);
    CHECK_INT(info.size, size);
    fault.os->file_close(file);
    fault_end();
}

TEST(log_that_was_only_prepared_is_empty)
{
    struct lsm_log log;
    struct lsm_log_end end, prev;
    bool torn;

    fault_begin();
    CHECK_OK(lsm_log_prepare(&log, fault.os, fault.dir, 4, 0644));
    lsm_log_close(&log);
    CHECK_OK(lsm_log_read_prev(fault.os, fault.dir, uuid, 4, &prev, &torn));
    CHECK(torn && prev.number == 0);
    CHECK_OK(lsm_log_read(fault.os, fault.dir, uuid, 4, NULL, NULL, &end, &prev, &torn));
    CHECK_INT(end.size, 0);
    CHECK_OK(lsm_log_prepare(&log, fault.os, fault.dir, 5, 0644));
    lsm_log_discard(&log, fault.dir);
    CHECK_INT(lsm_log_read_prev(fault.os, fault.dir, uuid, 5, &prev, &torn), LSM_NOTFOUND);
    fault_end();
}

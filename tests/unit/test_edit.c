#include "lsm/format/filename.h"
#include "lsm/util/coding.h"
#include "lsm/version/edit.h"
#include "tests/test.h"

static struct lsm_os *os;

static void begin(struct lsm_edit *e, struct lsm_buf *bytes)
{
    os = lsm_os_posix_new();
    lsm_edit_init(e, os);
    lsm_buf_init(bytes, os);
}

static void end(struct lsm_edit *e, struct lsm_buf *bytes)
{
    lsm_edit_clear(e);
    lsm_buf_clear(bytes);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

static struct lsm_token token(uint64_t txid)
{
    struct lsm_token t = { .txid = txid };

    for (int i = 0; i < 16; i++)
        t.hash[i] = (uint8_t)(txid * 7 + (uint64_t)i);
    return t;
}

static const char key_bytes[] = "abcdefghijklmnop";

static struct lsm_table_meta random_meta(void)
{
    struct lsm_table_meta m = {
        .number = test_random() >> test_below(64), .tree = (uint32_t)(test_random() >> 32),
        .size_bytes = test_random() >> test_below(64), .raw_bytes = test_random(),
        .entries = test_below(1000), .tombstones = test_below(1000), .range_deletes = test_below(2),
        .seq_add = test_below(LSM_SEQ_MAX), .seq_min = test_below(100),
        .seq_max = 100 + test_below(1000), .created_us = test_random(),
        .smallest = lsm_slice(key_bytes, test_below(17)),
        .largest = lsm_slice(key_bytes, test_below(17)),
    };

    m.superseded = test_below(2) * test_below(m.entries + 1);
    return m;
}

static uint64_t number(void)
{
    return test_below(LSM_TXID_MAX + 1) >> test_below(62);
}

static void random_edit(struct lsm_edit *e)
{
    e->has = (uint32_t)test_below(1 << 11);
    e->next_file = number();
    e->next_tree = (uint32_t)test_below(UINT64_C(1) + LSM_EDIT_TREE_MAX);
    e->log_number = number();
    e->log_end_number = number();
    e->log_end_size = test_random();
    e->log_end_chain = test_random();
    e->seq = test_below(LSM_EDIT_SEQ_MAX + 1);
    e->root = token(number());
    e->decided = token(number());
    e->floor = token(number());
    e->txid = number();
    e->memory_bytes = test_random();
    e->carried = test_below(2);
    for (uint64_t n = test_below(4); n; n--) {
        struct lsm_edit_tree tree = {
            .id = (uint32_t)test_random(), .name = lsm_slice(key_bytes, test_below(17)),
            .block_bytes = 512 + (uint32_t)test_below((1u << 20) - 511), .filter_bits = (uint32_t)test_below(33),
            .value_log_bytes = (uint32_t)(test_below(2) ? 64 + test_below(UINT32_MAX - 64) : 0),
            .compression_level = test_below(2) ? LSM_COMPRESSION_NONE : -5,
            .comparator = lsm_slice(key_bytes, test_below(17)),
            .hash_name = lsm_slice(key_bytes, test_below(2) ? test_below(17) : 0),
        };

        for (int l = 0; l < LSM_LEVEL_COUNT_MAX && n % 2; l++)
            tree.level_compression[l] = (int32_t)test_below(30) - 7;
        lsm_edit_add_tree(e, &tree);
    }
    for (uint64_t n = test_below(4); n; n--)
        lsm_edit_drop_tree(e, (uint32_t)test_random());
    for (uint64_t n = test_below(4); n; n--) {
        struct lsm_table_meta meta = random_meta();

        lsm_edit_add_table(e, (uint32_t)test_below(LSM_LEVEL_COUNT_MAX), &meta);
    }
    for (uint64_t n = test_below(4); n; n--)
        lsm_edit_remove_table(e, (uint32_t)test_below(LSM_LEVEL_COUNT_MAX),
                              (uint32_t)test_random(), test_random());
}

static void check_equal_meta(const struct lsm_table_meta *a, const struct lsm_table_meta *b)
{
    CHECK(a->number == b->number && a->tree == b->tree && a->size_bytes == b->size_bytes);
    CHECK(a->raw_bytes == b->raw_bytes && a->entries == b->entries);
    CHECK(a->tombstones == b->tombstones && a->range_deletes == b->range_deletes);
    CHECK(a->seq_add == b->seq_add && a->seq_min == b->seq_min && a->seq_max == b->seq_max);
    CHECK(a->created_us == b->created_us && a->superseded == b->superseded);
    CHECK(lsm_slice_equal(a->smallest, b->smallest) && lsm_slice_equal(a->largest, b->largest));
}

static void check_equal(const struct lsm_edit *a, const struct lsm_edit *b)
{
    CHECK(a->has == b->has);
#define SAME(bit, field) if (a->has & (bit)) CHECK(a->field == b->field)
    SAME(LSM_EDIT_NEXT_FILE, next_file);
    SAME(LSM_EDIT_NEXT_TREE, next_tree);
    SAME(LSM_EDIT_LOG, log_number);
    SAME(LSM_EDIT_LOG_END, log_end_number);
    SAME(LSM_EDIT_LOG_END, log_end_size);
    SAME(LSM_EDIT_LOG_END, log_end_chain);
    SAME(LSM_EDIT_SEQ, seq);
    SAME(LSM_EDIT_TXID, txid);
    SAME(LSM_EDIT_MEMORY, memory_bytes);
    SAME(LSM_EDIT_CARRIED, carried);
    if (a->has & LSM_EDIT_ROOT)
        CHECK(lsm_token_equal(&a->root, &b->root));
    if (a->has & LSM_EDIT_DECIDED)
        CHECK(lsm_token_equal(&a->decided, &b->decided));
    if (a->has & LSM_EDIT_FLOOR)
        CHECK(lsm_token_equal(&a->floor, &b->floor));

    if (CHECK_INT(lsm_edit_tree_count(a), lsm_edit_tree_count(b))) {
        for (size_t i = 0; i < lsm_edit_tree_count(a); i++) {
            const struct lsm_edit_tree *x = &lsm_edit_trees(a)[i], *y = &lsm_edit_trees(b)[i];

            CHECK(x->id == y->id && x->block_bytes == y->block_bytes);
            CHECK(x->filter_bits == y->filter_bits);
            CHECK_INT(x->compression_level, y->compression_level);
            CHECK_MEM(x->level_compression, y->level_compression, sizeof x->level_compression);
            CHECK(lsm_slice_equal(x->name, y->name));
            CHECK(lsm_slice_equal(x->comparator, y->comparator));
            CHECK(lsm_slice_equal(x->hash_name, y->hash_name));
        }
    }
    if (CHECK_INT(lsm_edit_dropped_count(a), lsm_edit_dropped_count(b))) {
        for (size_t i = 0; i < lsm_edit_dropped_count(a); i++)
            CHECK(lsm_edit_dropped(a)[i] == lsm_edit_dropped(b)[i]);
    }
    if (CHECK_INT(lsm_edit_added_count(a), lsm_edit_added_count(b))) {
        for (size_t i = 0; i < lsm_edit_added_count(a); i++) {
            CHECK_INT(lsm_edit_added(a)[i].level, lsm_edit_added(b)[i].level);
            check_equal_meta(&lsm_edit_added(a)[i].meta, &lsm_edit_added(b)[i].meta);
        }
    }
    if (CHECK_INT(lsm_edit_removed_count(a), lsm_edit_removed_count(b))) {
        for (size_t i = 0; i < lsm_edit_removed_count(a); i++) {
            CHECK_INT(lsm_edit_removed(a)[i].level, lsm_edit_removed(b)[i].level);
            CHECK(lsm_edit_removed(a)[i].meta.tree == lsm_edit_removed(b)[i].meta.tree);
            CHECK(lsm_edit_removed(a)[i].meta.number == lsm_edit_removed(b)[i].meta.number);
        }
    }
}

TEST(edit_decodes_to_what_was_encoded)
{
    for (int round = 0; round < 500; round++) {
        struct lsm_edit e, back;
        struct lsm_buf bytes;

        begin(&e, &bytes);
        lsm_edit_init(&back, os);
        random_edit(&e);
        lsm_edit_encode(&e, &bytes);
        CHECK_OK(bytes.rc);
        CHECK(bytes.size > 0);
        CHECK_OK(lsm_edit_decode(&back, lsm_buf_slice(&bytes), "M", 0));
        check_equal(&e, &back);
        lsm_edit_clear(&back);
        end(&e, &bytes);
    }
}

TEST(edit_cut_anywhere_is_corrupt_or_a_prefix_of_its_fields)
{
    for (int round = 0; round < 30; round++) {
        struct lsm_edit e, back;
        struct lsm_buf bytes, again;

        begin(&e, &bytes);
        lsm_buf_init(&again, os);
        random_edit(&e);
        lsm_edit_encode(&e, &bytes);
        for (size_t cut = 0; cut < bytes.size; cut++) {
            uint8_t *exact = malloc(cut + 1);           /* so that ASan sees a read too far */
            int rc;

            memcpy(exact, bytes.data, cut);
            lsm_edit_init(&back, os);
            rc = lsm_edit_decode(&back, lsm_slice(exact, cut), "M", 0);
            CHECK(rc == LSM_OK || rc == LSM_CORRUPT);
            if (rc == LSM_OK && cut) {
                lsm_buf_reset(&again);
                lsm_edit_encode(&back, &again);
                CHECK_INT(again.size, cut);
                CHECK_MEM(again.data, bytes.data, cut);
            }
            lsm_edit_clear(&back);
            free(exact);
        }
        lsm_buf_clear(&again);
        end(&e, &bytes);
    }
}

static int decode(const char *raw, size_t size)
{
    struct lsm_edit e;
    int rc;

    lsm_edit_init(&e, os);
    rc = lsm_edit_decode(&e, lsm_slice(raw, size), "MANIFEST-000001", 100);
    lsm_edit_clear(&e);
    return rc;
}

#define DECODE(text) decode("" text "", sizeof(text) - 1)

TEST(edit_of_a_newer_version_is_named_so_and_optional_fields_are_skipped)
{
    struct lsm_edit e;
    struct lsm_buf bytes;

    begin(&e, &bytes);
    CHECK_RC(DECODE("\x17\x00"), LSM_FORMAT);
    CHECK(strstr(lsm_error_text(), "newer"));
    CHECK_RC(DECODE("\x00\x00"), LSM_FORMAT);
    CHECK_OK(DECODE("\x80\x01\x03xyz"));
    CHECK_OK(DECODE("\x80\x01\x03xyz\x01\x01\x07"));
    CHECK_OK(DECODE("\x7f\x00"));
    end(&e, &bytes);
}

/* H-09 */
TEST(edit_field_that_is_not_used_up_twice_there_or_out_of_range_is_corrupt)
{
    struct lsm_edit e;
    struct lsm_buf bytes;

    begin(&e, &bytes);
    CHECK_RC(DECODE("\x01\x02\x07\x07"), LSM_CORRUPT);          /* one byte too many */
    CHECK_RC(DECODE("\x01\x00"), LSM_CORRUPT);                  /* none at all */
    CHECK_RC(DECODE("\x01\x01\x07\x01\x01\x07"), LSM_CORRUPT);  /* twice */
    CHECK_RC(DECODE("\x0a\x01\x02"), LSM_CORRUPT);              /* a flag of 2 */
    CHECK_RC(DECODE("\x13\x03\x08\x01\x01"), LSM_CORRUPT);      /* level 8 */
    CHECK_OK(DECODE("\x13\x03\x07\x01\x01"));
    CHECK_RC(DECODE("\x13\x03\x07\x01"), LSM_CORRUPT);          /* past the end */
    CHECK(strstr(lsm_error_text(), "offset 100"));
    CHECK_RC(DECODE("\x7f\x01x"), LSM_CORRUPT);
    CHECK_RC(DECODE("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), LSM_CORRUPT);
    CHECK_RC(DECODE("\x12\x02\x09\x01"), LSM_CORRUPT);          /* level 9 */
    CHECK_RC(DECODE("\x04\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), LSM_CORRUPT);   /* seq */
    end(&e, &bytes);
}

/* Forged with a right sum: from such a number on files would be written over, or a compaction take gigabytes. */
TEST(edit_beyond_what_is_possible_is_corrupt)
{
    static const struct lsm_edit_tree usual = { .id = 1, .block_bytes = 4096, .filter_bits = 16, .compression_level = 1 };
    enum { TREES = 7, CASES = 9 + TREES };

    for (int at = -1; at < CASES; at++) {
        struct lsm_edit e, again;
        struct lsm_edit_tree tree = usual;
        struct lsm_buf out;

        begin(&e, &out);
        lsm_edit_init(&again, os);
        e.has = (1 << 11) - 1;
        e.next_file = LSM_FILE_NUMBER_MAX + (at == 0);
        e.next_tree = LSM_EDIT_TREE_MAX + (at == 1);
        e.log_number = LSM_FILE_NUMBER_MAX + (at == 2);
        e.log_end_number = at == 3 ? UINT64_MAX : LSM_FILE_NUMBER_MAX;
        e.seq = LSM_EDIT_SEQ_MAX + (at == 4);
        e.root = token(LSM_TXID_MAX + (at == 5));
        e.decided = token(LSM_TXID_MAX + (at == 6));
        e.floor = token(LSM_TXID_MAX + (at == 7));
        e.txid = at == 8 ? UINT64_MAX : LSM_TXID_MAX;
        tree.block_bytes = at == 9 ? 511 : at == 10 ? (1u << 20) + 1 : tree.block_bytes;
        tree.filter_bits = at == 11 ? 33 : tree.filter_bits;
        tree.compression_level = at == 12 ? 23 : tree.compression_level;
        tree.level_compression[3] = at == 13 ? -8 : 0;
        tree.value_log_bytes = at == 14 ? 63 : at == 15 ? 1 : 0;
        lsm_edit_add_tree(&e, &tree);
        lsm_edit_encode(&e, &out);
        CHECK_RC(lsm_edit_decode(&again, lsm_buf_slice(&out), "MANIFEST", 0), at < 0 ? LSM_OK : LSM_CORRUPT);
        lsm_edit_clear(&again);
        end(&e, &out);
    }
}

TEST(edit_latches_out_of_memory_and_hands_it_on)
{
    struct lsm_buf bytes;
    struct lsm_edit e;

    begin(&e, &bytes);
    e.rc = LSM_NOMEM;
    lsm_edit_drop_tree(&e, 1);
    CHECK_INT(lsm_edit_dropped_count(&e), 0);
    lsm_edit_encode(&e, &bytes);
    CHECK_INT(bytes.rc, LSM_NOMEM);
    end(&e, &bytes);
}

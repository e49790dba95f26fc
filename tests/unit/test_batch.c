/*
 * test_batch.c -- private writes and positions to go back to, against a list
 * of ops that is cut and read from the start each time.
 */
#include "lsm/store/batch.h"
#include "tests/test.h"
#include "tests/unit/format_os.h"
#include "tests/unit/oracle.h"

struct op {
    enum lsm_kind kind;
    uint32_t tree;
    uint8_t key[96], value[80];
    size_t key_size, value_size;
    uint64_t number;
    bool live;
};

static struct lsm_slice op_key(const struct op *op) { return lsm_slice(op->key, op->key_size); }
static struct lsm_slice op_value(const struct op *op)
{
    return lsm_slice(op->value, op->value_size);
}

/* What the batch encodes is the live ops in order; what it says of its size is true. */
static void check_encoded(const struct lsm_batch *batch, const struct op *ops, size_t count,
                          struct lsm_os *os)
{
    struct lsm_buf out;
    struct lsm_reader r;
    uint32_t said, n = 0;

    lsm_buf_init(&out, os);
    lsm_batch_encode(batch, &out, &said);
    CHECK_OK(out.rc);
    CHECK_INT(out.size, batch->live_bytes);
    CHECK_INT(said, batch->live_count);
    r = lsm_reader(lsm_buf_slice(&out));
    for (size_t i = 0; i < count; i++) {
        struct lsm_slice key, value;
        enum lsm_kind kind;
        uint32_t tree;

        if (!ops[i].live)
            continue;
        n++;
        if (!CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value)))
            break;
        CHECK_INT(kind, ops[i].kind);
        CHECK_INT(tree, ops[i].tree);
        CHECK(lsm_slice_equal(key, op_key(&ops[i])));
        CHECK(lsm_slice_equal(value, op_value(&ops[i])));
    }
    CHECK_INT(n, said);
    CHECK_INT(lsm_reader_left(&r), 0);
    lsm_buf_clear(&out);
}

static void check_rows(const struct lsm_batch *batch, const struct op *ops, size_t count,
                       uint32_t tree, enum key_kind kind)
{
    struct oracle o = { 0 };
    struct lsm_iter *it;

    for (size_t i = 0; i < count; i++)
        if (ops[i].live && ops[i].tree == tree)
            oracle_add(&o, op_key(&ops[i]), lsm_tag(ops[i].number, ops[i].kind), op_value(&ops[i]));
    CHECK_INT(lsm_batch_has_tree(batch, tree), o.count > 0);
    if (batch->mem) {
        CHECK_OK(lsm_memtable_iter_new(batch->mem, tree, NULL, 0, &it));
        CHECK(oracle_check_moves(&o, it, kind, 50));
        lsm_iter_close(it);
    }
    oracle_clear(&o);
}

TEST(batch_agrees_with_a_list_of_ops_that_is_cut)
{
    enum { MAX = 3000 };
    struct op *ops = calloc(MAX, sizeof(*ops));

    for (int round = 0; round < 2 * KEY_KINDS; round++) {
        enum key_kind kind = (enum key_kind)(round % KEY_KINDS);
        uint64_t op_first = round % 3 ? 1 : 1000, marks[16], mark_count = 0;
        struct format_os os;
        struct lsm_batch batch;
        size_t count = 0;

        format_os_init(&os);
        lsm_batch_init(&batch, &os.os);
        lsm_batch_reset(&batch, op_first);
        while (count < MAX) {
            uint64_t what = test_below(100);

            if (what < 85) {
                struct op *op = &ops[count];
                struct lsm_slice key = oracle_random_key(kind, op->key);

                op->kind = (enum lsm_kind)(test_below(LSM_KIND_RANGE_DELETE));
                op->tree = (uint32_t)test_below(3) * 200;
                op->key_size = key.size;
                op->value_size = op->kind == LSM_KIND_DELETE ? 0 : test_below(80);
                memset(op->value, (int)count, op->value_size);
                op->number = lsm_batch_mark(&batch);
                op->live = true;
                CHECK_INT(op->number, op_first + count);
                CHECK_OK(lsm_batch_add(&batch, op->kind, op->tree, NULL, key, op_value(op)));
                count++;
            } else if (what < 89 && mark_count < 16) {
                marks[mark_count++] = lsm_batch_mark(&batch);
            } else if (what < 98) {
                uint64_t mark = lsm_batch_mark(&batch) - test_below(count / 8 + 1);

                if (mark_count && test_below(2)) {
                    mark_count = test_below(mark_count) + 1;
                    mark = marks[mark_count - 1];
                }
                if (test_below(100) == 0)
                    mark = 0;
                lsm_batch_rollback(&batch, mark);
                for (size_t i = 0; i < count; i++)
                    if (ops[i].number >= mark)
                        ops[i].live = false;
                CHECK_INT(lsm_batch_mark(&batch), op_first + count);
            } else {
                uint32_t tree = (uint32_t)test_below(3) * 200;

                if (test_below(4))
                    continue;
                lsm_batch_discard_tree(&batch, tree);
                for (size_t i = 0; i < count; i++)
                    if (ops[i].tree == tree)
                        ops[i].live = false;
            }
            if (count % 200 == 0)
                check_encoded(&batch, ops, count, &os.os);
        }
        for (uint32_t tree = 0; tree <= 400; tree += 200)
            check_rows(&batch, ops, count, tree, kind);
        check_encoded(&batch, ops, count, &os.os);
        CHECK_OK(lsm_memtable_check(batch.mem));
        CHECK(batch.rows_visited < MAX * 2 * LSM_BATCH_STEP);
        lsm_batch_clear(&batch);
        lsm_batch_clear(&batch);
        CHECK_INT(os.used, 0);
    }
    free(ops);
}

TEST(batch_going_back_to_one_mark_again_and_again_is_linear)
{
    enum { TIMES = 100000 };
    struct format_os os;
    struct lsm_batch batch;
    uint64_t mark;

    for (int keys = 1; keys <= 3; keys++) {
        format_os_init(&os);
        lsm_batch_init(&batch, &os.os);
        CHECK_OK(lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice_str("kept"),
                               lsm_slice_str("v")));
        mark = lsm_batch_mark(&batch);
        for (uint32_t i = 0; i < TIMES; i++) {
            uint32_t key = keys == 1 ? 7 : keys == 2 ? __builtin_bswap32(i) : i * 2654435761u;

            CHECK_OK(
                lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice(&key, 4), lsm_slice(&i, 4)));
            CHECK_INT(batch.live_count, 2);
            lsm_batch_rollback(&batch, mark);
            CHECK_INT(batch.live_count, 1);
        }
        CHECK(batch.rows_visited <= (LSM_BATCH_STEP + 1) * (uint64_t)TIMES);
        CHECK_INT(batch.void_count, 1);
        lsm_batch_clear(&batch);
        CHECK_INT(os.used, 0);
    }
}

TEST(batch_nested_marks_are_linear)
{
    enum { DEPTH = 300, ROUNDS = 100 };
    struct format_os os;
    struct lsm_batch batch;
    uint64_t marks[DEPTH], ops = 0;

    format_os_init(&os);
    lsm_batch_init(&batch, &os.os);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < DEPTH; i++, ops++) {
            marks[i] = lsm_batch_mark(&batch);
            CHECK_OK(
                lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice(&i, 4), lsm_slice(&i, 4)));
        }
        for (uint32_t i = DEPTH; i-- > 1;)      /* each savepoint from the inside out, twice */
            lsm_batch_rollback(&batch, marks[i]), lsm_batch_rollback(&batch, marks[i]);
        CHECK_INT(batch.live_count, round + 1);
    }
    CHECK(batch.rows_visited <= (2 * LSM_BATCH_STEP + 1) * ops);
    CHECK(batch.void_count <= ROUNDS);
    lsm_batch_rollback(&batch, 0);
    CHECK_INT(batch.live_count, 0);
    CHECK_INT(batch.live_bytes, 0);
    CHECK_INT(batch.void_count, 1);
    lsm_batch_clear(&batch);
    CHECK_INT(os.used, 0);
}

TEST(batch_rows_of_a_stretch_are_those_that_live_and_cost_no_others)
{
    enum { OPS = 10000, STRETCH = 7 };
    struct format_os os;
    struct lsm_batch batch;
    struct lsm_buf rows;
    uint64_t first = 500, live = 0;

    format_os_init(&os);
    lsm_batch_init(&batch, &os.os);
    lsm_batch_reset(&batch, first);
    lsm_buf_init(&rows, &os.os);
    for (uint32_t i = 0; i < OPS; i++) {
        enum lsm_kind kind = i % 3 ? LSM_KIND_PUT : LSM_KIND_RANGE_DELETE;
        uint32_t lo = i * 2654435761u | 1u << 31, hi = UINT32_MAX;

        CHECK_OK(lsm_batch_add(&batch, kind, i % 2, NULL, lsm_slice(&lo, 4), lsm_slice(&hi, 4)));
        if (i % 100 == 99)
            lsm_batch_rollback(&batch, lsm_batch_mark(&batch) - 30);
    }
    batch.rows_visited = 0;
    for (uint64_t from = first; from < first + OPS; from += STRETCH) {
        uint64_t to = from + STRETCH < first + OPS ? from + STRETCH : first + OPS, expected = from;
        const struct lsm_memtable_row *row;

        lsm_buf_reset(&rows);
        lsm_batch_rows(&batch, 1, from, to, &rows);
        row = (const void *)rows.data;
        for (size_t i = 0; i < rows.size / sizeof *row; i++, row++, live++) {
            for (; expected < lsm_tag_seq(row->tag); expected++)
                CHECK((expected - first) % 2 == 0 || (expected - first) % 100 >= 70);
            CHECK_INT(expected++ % 2, 1);
            CHECK_INT(lsm_tag_kind(row->tag),
                      (lsm_tag_seq(row->tag) - first) % 3 ? LSM_KIND_PUT : LSM_KIND_RANGE_DELETE);
            CHECK_INT(row->tree, 1);
        }
        for (; expected < to; expected++)
            CHECK((expected - first) % 2 == 0 || (expected - first) % 100 >= 70);
    }
    CHECK_INT(live, OPS / 100 * 35);
    CHECK(batch.rows_visited <= (uint64_t)OPS * (STRETCH + LSM_BATCH_STEP) / STRETCH + STRETCH);
    lsm_batch_clear(&batch);
    lsm_buf_clear(&rows);
    CHECK_INT(os.used, 0);
}

TEST(batch_that_is_empty_answers)
{
    struct format_os os;
    struct lsm_batch batch, zeroed;
    struct lsm_buf out;
    uint32_t count = 9;

    format_os_init(&os);
    lsm_batch_init(&batch, &os.os);
    lsm_buf_init(&out, &os.os);
    CHECK_INT(lsm_batch_mark(&batch), 1);
    CHECK(!lsm_batch_has_tree(&batch, 1));
    CHECK_INT(lsm_batch_bytes(&batch), 0);
    lsm_batch_rollback(&batch, 1);
    lsm_batch_discard_tree(&batch, 1);
    lsm_batch_encode(&batch, &out, &count);
    CHECK_INT(count, 0);
    CHECK_INT(out.size, 0);
    CHECK_INT(os.used, 0);
    memset(&zeroed, 0, sizeof(zeroed));
    lsm_batch_clear(&zeroed);
    lsm_buf_clear(&out);
    lsm_batch_clear(&batch);
}

TEST(batch_reset_leaves_a_shared_memtable_to_its_reader)
{
    struct format_os os;
    struct lsm_batch batch;
    struct lsm_memtable *mem;
    struct lsm_iter *it;

    format_os_init(&os);
    lsm_batch_init(&batch, &os.os);
    CHECK_OK(lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice_str("a"), lsm_slice_str("1")));
    mem = batch.mem;
    lsm_batch_reset(&batch, 1);
    CHECK(batch.mem == mem);                    /* alone: used again */
    CHECK_INT(lsm_memtable_rows(mem), 0);
    CHECK_OK(lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice_str("b"), lsm_slice_str("2")));
    CHECK_OK(lsm_memtable_iter_new(batch.mem, 1, NULL, 0, &it));
    lsm_iter_first(it);
    lsm_batch_reset(&batch, 50);
    CHECK(!batch.mem);
    CHECK_INT(lsm_batch_mark(&batch), 50);
    CHECK(it->valid);
    CHECK(lsm_slice_equal(it->key, lsm_slice_str("b")));
    CHECK_OK(lsm_batch_add(&batch, LSM_KIND_PUT, 1, NULL, lsm_slice_str("c"), lsm_slice_str("3")));
    CHECK_INT(lsm_batch_mark(&batch), 51);
    lsm_iter_first(it);
    CHECK(it->valid);
    CHECK(lsm_slice_equal(it->key, lsm_slice_str("b")));
    lsm_iter_close(it);
    CHECK(lsm_batch_bytes(&batch) > 0);
    CHECK(lsm_batch_bytes(&batch) <= os.used);
    lsm_batch_clear(&batch);
    CHECK_INT(os.used, 0);
}

TEST(batch_add_that_finds_no_memory_changes_nothing)
{
    for (long at = 1; at < 10; at++) {
        struct format_os os;
        struct lsm_batch batch;
        uint8_t value[40000] = { 0 };
        uint64_t added = 0;

        format_os_init(&os);
        lsm_batch_init(&batch, &os.os);
        os.fail_at = at;
        for (uint32_t i = 0; i < 60; i++) {
            uint64_t mark = lsm_batch_mark(&batch), bytes = batch.live_bytes;
            int rc = lsm_batch_add(&batch, LSM_KIND_PUT, i, NULL, lsm_slice(&i, 4),
                                   lsm_slice(value, sizeof(value)));

            if (rc == LSM_OK) {
                added++;
                continue;
            }
            CHECK_INT(rc, LSM_NOMEM);
            CHECK_INT(lsm_batch_mark(&batch), mark);
            CHECK_INT(batch.live_bytes, bytes);
            CHECK_INT(batch.live_count, added);
            if (i % 5 == 0)
                lsm_batch_rollback(&batch, mark);       /* needs no memory */
        }
        CHECK(added < 60);
        lsm_batch_rollback(&batch, 1 + added / 2);
        CHECK_INT(batch.live_count, added / 2);
        os.fail_at = 0;
        CHECK_OK(
            lsm_batch_add(&batch, LSM_KIND_PUT, 1000, NULL, lsm_slice(&at, 4), lsm_slice(NULL, 0)));
        CHECK_INT(batch.live_count, added / 2 + 1);
        CHECK_OK(lsm_memtable_check(batch.mem));
        lsm_batch_clear(&batch);
        CHECK_INT(os.used, 0);
    }
}

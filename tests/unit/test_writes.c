/*
 * test_writes.c -- batches of writes against an array of what was put into them.
 */
#include "tests/unit/disk.h"

#define OPS_MAX 500

static struct op { bool is_put; int tree; char key[16]; char value[16]; } ops[OPS_MAX];
static int op_count, op_seen;
static struct lsm_tree *trees[2];

static int same_op(void *ctx, const struct lsm_write *w)
{
    const struct op *op = &ops[op_seen++];

    if (!CHECK(op_seen <= op_count))
        return LSM_MISUSE;
    CHECK_INT(w->kind, op->is_put ? LSM_WRITE_PUT : LSM_WRITE_DELETE);
    CHECK(w->tree == trees[op->tree]);
    CHECK(w->key.size == strlen(op->key) && memcmp(w->key.data, op->key, w->key.size) == 0);
    if (op->is_put)
        CHECK(w->value.size == strlen(op->value) && memcmp(w->value.data, op->value, w->value.size) == 0);
    return ctx && op_seen == 3 ? 77 : 0;
}

static void check_ops(const struct lsm_writes *w)
{
    op_seen = 0;
    CHECK_OK(lsm_writes_each(w, same_op, NULL));
    CHECK_INT(op_seen, op_count);
    CHECK_INT(lsm_writes_count(w), op_count);
}

static void add_op(struct lsm_writes *w)
{
    struct op *op = &ops[op_count];

    op->is_put = test_below(3);
    op->tree = (int)test_below(2);
    snprintf(op->key, sizeof op->key, "k%d", (int)test_below(30));
    snprintf(op->value, sizeof op->value, "%d", op_count);
    if (op->is_put)
        CHECK_OK(lsm_writes_put(w, trees[op->tree], text(op->key), text(op->value)));
    else
        CHECK_OK(lsm_writes_delete(w, trees[op->tree], text(op->key)));
    op_count++;
}

static bool open_two(struct store *s, const char *path)
{
    if (!store_open_as(s, path, true))
        return false;
    trees[0] = s->tree;
    if (lsm_tree_find(s->db, text("u"), &trees[1]) == LSM_OK)
        return true;
    return CHECK_OK(lsm_tree_create(s->db, text("u"), NULL, &trees[1]));
}

/* The last op on each key decides. */
static void check_store(void)
{
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 30; k++) {
            const struct op *last = NULL;
            struct lsm_value value;
            char key[16];
            snprintf(key, sizeof key, "k%d", k);
            for (int i = 0; i < op_count; i++)
                if (ops[i].tree == t && strcmp(ops[i].key, key) == 0)
                    last = &ops[i];
            int rc = lsm_tree_get(trees[t], NULL, text(key), &value);
            if (CHECK_INT(rc, last && last->is_put ? LSM_OK : LSM_NOTFOUND) && rc == LSM_OK)
                CHECK(value.bytes.size == strlen(last->value) &&
                      memcmp(value.bytes.data, last->value, value.bytes.size) == 0);
            lsm_value_release(&value);
        }
}

TEST(writes_are_the_array_of_what_was_put_appended_and_rolled_back)
{
    uint64_t marks[OPS_MAX + 1];        /* before op i; UINT64_MAX: not known */
    struct lsm_writes *w, *more;
    struct store s;

    disk_begin();
    for (int round = 0; round < 20; round++) {
        char path[8];
        snprintf(path, sizeof path, "a%d", round);
        op_count = 0;
        if (!open_two(&s, path))
            return;
        CHECK_OK(lsm_writes_new(s.db, &w));
        CHECK_OK(lsm_writes_new(s.db, &more));
        for (int step = 0; step < 300 && op_count < OPS_MAX - 20; step++) {
            int begin = op_count, to;
            marks[op_count] = lsm_writes_mark(w);
            switch (test_below(20)) {
            case 0:
                do
                    to = (int)test_below((uint64_t)op_count + 1);
                while (marks[to] == UINT64_MAX);
                CHECK_OK(lsm_writes_rollback_to(w, marks[to]));
                op_count = to;
                break;
            case 1:
                lsm_writes_clear(more);
                for (int i = 0; i < 10; i++)
                    add_op(more);
                CHECK_OK(lsm_writes_append(w, more));
                for (int i = begin + 1; i < op_count; i++)
                    marks[i] = UINT64_MAX;
                break;
            default:
                add_op(w);
            }
            if (step % 10 == 0)
                check_ops(w);
        }
        check_ops(w);
        CHECK_OK(lsm_db_write(s.db, w, true));
        check_store();
        lsm_writes_free(w);
        lsm_writes_free(more);
        store_close(&s);
        if (!open_two(&s, path))
            return;
        check_store();
        store_close(&s);
    }
    disk_end();
}

TEST(writes_can_be_appended_to_themselves_and_written_again)
{
    struct lsm_writes *w;
    struct lsm_txn *txn;
    struct store s;

    disk_begin();
    op_count = 0;
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_writes_new(s.db, &w));
    for (int i = 0; i < 50; i++)
        add_op(w);
    CHECK_OK(lsm_writes_append(w, w));
    memcpy(ops + 50, ops, 50 * sizeof ops[0]);
    op_count = 100;
    check_ops(w);
    CHECK(lsm_writes_bytes(w) > 0);
    op_seen = 0;
    CHECK_RC(lsm_writes_each(w, same_op, &s), 77);      /* the callback's answer ends it */
    CHECK_INT(op_seen, 3);
    CHECK_OK(lsm_db_write(s.db, w, false));
    CHECK_OK(lsm_db_write(s.db, w, true));
    check_store();
    /* Within a transaction, which goes on. */
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, s.tree, text("more"), text("v")));
    CHECK_OK(lsm_txn_write(txn, w));
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    check_store();
    CHECK(has(&s, "more"));
    lsm_writes_clear(w);
    op_count = 0;
    check_ops(w);
    CHECK_OK(lsm_db_write(s.db, w, true));      /* nothing at all */
    lsm_writes_free(w);
    lsm_writes_free(NULL);
    store_end(&s);
}

TEST(writes_delete_ranges_in_their_place_among_the_others)
{
    struct lsm_writes *w;
    struct store s;

    disk_begin();
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_writes_new(s.db, &w));
    CHECK_OK(lsm_writes_put(w, s.tree, text("a"), text("v")));
    CHECK_OK(lsm_writes_put(w, s.tree, text("b"), text("v")));
    CHECK_OK(lsm_writes_delete_range(w, s.tree, text("a"), text("c")));
    CHECK_OK(lsm_writes_put(w, s.tree, text("b1"), text("v")));
    CHECK_OK(lsm_writes_delete_range(w, s.tree, text("z"), text("a")));
    CHECK_INT(lsm_writes_count(w), 4);
    CHECK_RC(lsm_writes_delete_range(w, s.tree, text("z"), (struct lsm_slice){ NULL, 0 }), LSM_MISUSE);
    CHECK_OK(lsm_db_write(s.db, w, true));
    CHECK(!has(&s, "a") && !has(&s, "b") && has(&s, "b1"));
    lsm_writes_free(w);
    store_end(&s);
}

TEST(writes_are_all_there_or_none)
{
    struct lsm_writes *w;
    struct lsm_txn *txn;
    struct store s;

    disk_begin();
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_writes_new(s.db, &w));
    CHECK_OK(lsm_writes_put(w, trees[0], text("k"), text("v")));
    CHECK_OK(lsm_writes_put(w, trees[1], text("k"), text("v")));
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(lsm_db_write(s.db, w, true), LSM_FSYNC);
    disk_heal();
    CHECK(!has(&s, "k"));
    CHECK_OK(lsm_tree_drop(s.db, trees[1]));
    CHECK_RC(lsm_db_write(s.db, w, true), LSM_NOTFOUND);
    CHECK(!has(&s, "k"));
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, trees[0], text("mine"), text("v")));
    CHECK_RC(lsm_txn_write(txn, w), LSM_NOTFOUND);
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    CHECK(!has(&s, "k") && has(&s, "mine"));
    lsm_writes_free(w);
    store_end(&s);
}

TEST(writes_without_memory_stay_as_they_were)
{
    struct lsm_writes *w, *more;
    struct store s;
    int failed = 0;

    disk_begin();
    op_count = 0;
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_writes_new(s.db, &w));
    CHECK_OK(lsm_writes_new(s.db, &more));
    CHECK_OK(lsm_writes_put(more, trees[0], text("other"), text("v")));
    while (op_count < 400) {
        disk_fail(DISK_MEMORY, 1, true, NULL);
        int rc = lsm_writes_append(w, more);
        disk_heal();
        if (rc == LSM_OK) {
            ops[op_count] = (struct op){ true, 0, "other", "v" };
            op_count++;
        } else {
            CHECK_INT(rc, LSM_NOMEM);
            failed++;
        }
        if (op_count % 50 == 0)
            check_ops(w);
        add_op(w);
    }
    check_ops(w);
    CHECK(failed > 0);      /* few: a batch grows by doubling */
    lsm_writes_free(w);
    lsm_writes_free(more);
    store_end(&s);
}

TEST(writes_that_the_contract_forbids_say_so)
{
    static uint8_t long_key[LSM_KEY_SIZE_MAX + 1];
    struct lsm_writes *w, *other;
    struct store s, t;

    disk_begin();
    if (!open_two(&s, "a") || !store_open_as(&t, "b", true))
        return;
    CHECK_OK(lsm_writes_new(s.db, &w));
    CHECK_OK(lsm_writes_new(t.db, &other));
    CHECK_RC(lsm_writes_put(w, t.tree, text("k"), text("v")), LSM_MISUSE);
    CHECK_RC(lsm_writes_append(w, other), LSM_MISUSE);
    CHECK_RC(lsm_db_write(t.db, w, true), LSM_MISUSE);
    CHECK_RC(lsm_writes_put(w, s.tree, (struct lsm_slice){ long_key, sizeof long_key }, text("v")), LSM_TOOBIG);
    CHECK_RC(lsm_writes_put(w, s.tree, text("k"), (struct lsm_slice){ long_key, (size_t)LSM_VALUE_SIZE_MAX + 1 }),
             LSM_TOOBIG);
    CHECK_OK(lsm_writes_put(w, s.tree, text("k"), text("v")));
    CHECK_RC(lsm_writes_rollback_to(w, 1), LSM_MISUSE);
    CHECK_RC(lsm_writes_rollback_to(w, 1000), LSM_MISUSE);
    CHECK_INT(lsm_writes_count(w), 1);
    CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
    CHECK(strstr(lsm_error_text(), "1 batches"));
    lsm_writes_free(w);
    lsm_writes_free(other);
    store_close(&s);
    store_end(&t);
}

TEST(sync_makes_durable_what_was_committed_without)
{
    struct store s;

    disk_begin();
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text("first"), text("v"), true));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("k"), text("v"), false));
    disk_power_cut("a", "b");
    CHECK_OK(lsm_db_sync(s.db));
    disk_power_cut("a", "c");
    CHECK_OK(lsm_db_put(s.db, s.tree, text("l"), text("v"), false));
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(lsm_db_sync(s.db), LSM_FSYNC);
    disk_heal();
    CHECK_OK(lsm_db_sync(s.db));        /* a fresh log has it */
    disk_power_cut("a", "d");
    store_close(&s);
    for (int i = 0; i < 3; i++) {
        char path[2] = { (char)('b' + i), 0 };
        if (!store_open_as(&s, path, true))
            return;
        CHECK(has(&s, "first"));
        CHECK_INT(has(&s, "k"), i > 0);
        CHECK_INT(has(&s, "l"), i > 1);
        store_close(&s);
    }
    disk_end();
}

/* Nobody else names the record of a store without a host: it is brief. A host's later open reads it. */
TEST(writes_of_one_row_take_a_brief_record)
{
    char bytes[100] = "v";
    struct lsm_slice value = { (const uint8_t *)bytes, sizeof bytes };
    struct store s;
    uint64_t before;

    disk_and_host_begin();
    if (!open_two(&s, "a"))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text("0123456789abcdef"), value, true));
    before = stat_of(s.db, "log_bytes_written");
    CHECK_OK(lsm_db_put(s.db, s.tree, text("0123456789abcdeg"), value, true));
    CHECK_INT(stat_of(s.db, "log_bytes_written") - before, 2 + 8 + 1 + 1 + 4 + 16 + 100);
    disk_copy("a", "b", true);
    disk_copy("a", "c", true);
    store_close(&s);
    if (!store_open_as(&s, "b", true))
        return;
    CHECK(has(&s, "0123456789abcdef") && has(&s, "0123456789abcdeg"));
    store_close(&s);
    if (!store_open_at(&s, "c", &(struct lsm_token){ 0 }))
        return;
    CHECK(has(&s, "0123456789abcdef") && has(&s, "0123456789abcdeg"));
    store_close(&s);
    disk_end();
}

/*
 * test_txn_spill.c -- a transaction larger than memory: its rows go into tables
 * of its own, which its commit adopts and its end sweeps. Seen by nobody else,
 * lost in no crash, left behind by nobody.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

static char big[4096];

static bool put_many(struct lsm_txn *txn, struct lsm_tree *tree, int from, int to)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%06d", i);
        memset(big, 'a' + i % 26, sizeof big);
        if (!CHECK_OK(lsm_txn_put(txn, tree, text(key), (struct lsm_slice){ (uint8_t *)big, sizeof big })))
            return false;
    }
    return true;
}

TEST(txn_spilled_rows_are_seen_by_their_transaction_and_by_nobody_else)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 200);
    CHECK(disk_count("a", ".ldb") > 0);
    struct lsm_read read = { .txn = txn };
    CHECK_INT(count_at(&s, &read), 200);
    CHECK_INT(count_at(&s, NULL), 0);
    CHECK_OK(prepare_joint(txn, &k));
    CHECK_INT(count_at(&s, &read), 200);
    CHECK_INT(count_at(&s, NULL), 0);
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 200);
    CHECK_OK(lsm_db_check(s.db));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 200);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(count_at(&s, NULL), 200);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    CHECK_INT(count_in("a", &k), 200);
    disk_end();
}

/* A get takes its view first and opens tables as it comes to them. */
TEST(txn_adopted_tables_stay_while_an_old_view_may_read_them)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k;
    struct lsm_view *view;
    struct lsm_table *table;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 200);
    CHECK_OK(prepare_joint(txn, &k));
    lsm_txn_commit(txn, true);
    view = lsm_view_current(s.db);
    CHECK_OK(lsm_db_flush(s.db));
    k = joint(&s, k, "000001", true);   /* so that there is something to merge */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    for (uint32_t i = 0; i < view->newest->run_count; i++) {
        CHECK_OK(lsm_tables_get(s.db->tables, &view->newest->runs[i]->meta, NULL, &table));
        lsm_table_unref(table);
    }
    CHECK(view->newest->run_count > 1);
    int tables = disk_count("a", ".ldb");
    lsm_view_unref(view);
    k = joint(&s, k, "000002", true);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK(disk_count("a", ".ldb") < tables);
    CHECK_INT(count_at(&s, NULL), 200);
    store_end(&s);
}

TEST(txn_spilled_rows_go_with_a_rollback_and_with_an_abort)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k;
    uint64_t mark[4];

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    for (int i = 0; i < 4; i++) {
        mark[i] = lsm_txn_mark(txn);
        put_many(txn, s.tree, i * 50, i * 50 + 60);
    }
    struct lsm_read read = { .txn = txn };
    CHECK_INT(count_at(&s, &read), 210);
    lsm_txn_rollback_to(txn, mark[2]);
    CHECK_INT(count_at(&s, &read), 110);
    put_many(txn, s.tree, 300, 400);
    CHECK_INT(count_at(&s, &read), 210);
    lsm_txn_rollback_to(txn, mark[1]);
    CHECK_INT(count_at(&s, &read), 60);
    put_many(txn, s.tree, 500, 600);
    CHECK_OK(prepare_joint(txn, &k));
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 160);
    int tables = disk_count("a", ".ldb");

    txn = begin(&s, &k);
    put_many(txn, s.tree, 600, 800);
    CHECK(disk_count("a", ".ldb") > tables);
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(disk_count("a", ".ldb"), tables);
    CHECK_INT(count_at(&s, NULL), 160);
    CHECK_INT(stat_of(s.db, "batch_bytes"), 0);
    /* A solo that is taken back leaves no tables either. */
    txn = begin(&s, &k);
    put_many(txn, s.tree, 600, 800);
    struct lsm_token t;
    CHECK_OK(prepare_solo(txn, true, &t));
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(disk_count("a", ".ldb"), tables);
    store_close(&s);
    CHECK_INT(count_in("a", &k), 160);
    disk_end();
}

TEST(txn_adopted_tables_survive_a_crash_and_wait_for_their_token)
{
    struct store s, again;
    struct lsm_txn *txn;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 200);
    CHECK_OK(prepare_joint(txn, &k1));
    disk_kill("a", "b");
    disk_power_cut("a", "c");
    lsm_txn_commit(txn, true);
    store_close(&s);

    for (int i = 0; i < 2; i++) {
        const char *path = i ? "c" : "b";
        if (!store_open_at(&again, path, &no_token))
            return;
        CHECK_INT(count_at(&again, NULL), 0);
        /* Somebody writes: orphans are swept, the tables that may come to life are none. */
        k2 = abandoned(&again, no_token, "x");
        CHECK(disk_count(path, ".ldb") > 0);
        CHECK_OK(lsm_db_publish(again.db, &k1));
        CHECK_INT(count_at(&again, NULL), 200);
        k2 = joint(&again, k1, "k2", true);
        CHECK_OK(lsm_db_flush(again.db));
        CHECK_INT(count_at(&again, NULL), 201);
        CHECK_OK(lsm_db_check(again.db));
        store_close(&again);
        if (!store_open_at(&again, path, &k2))
            return;
        CHECK_INT(count_at(&again, NULL), 201);
        CHECK_OK(lsm_db_compact(again.db, NULL));
        CHECK_INT(count_at(&again, NULL), 201);
        store_close(&again);
    }
    disk_end();
}

TEST(txn_spilled_tables_of_a_crash_are_swept_by_the_next_writer)
{
    struct store s, again;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 200);
    disk_kill("a", "b");
    lsm_txn_abort(txn);
    store_close(&s);
    CHECK(disk_count("b", ".ldb") > 0);
    if (!store_open_at(&again, "b", &no_token))
        return;
    CHECK(disk_count("b", ".ldb") > 0);
    solo(&again, no_token, "x", true);
    CHECK_INT(disk_count("b", ".ldb"), 0);
    store_end(&again);
}

/* What a prepared record adopts stays as long as the record may count. */
TEST(txn_discarding_a_tree_after_prepare_does_not_harm_what_was_prepared)
{
    struct store s;
    struct lsm_tree *other;
    struct lsm_txn *txn;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    CHECK_OK(lsm_tree_create(s.db, text("other"), NULL, &other));
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 100);
    put_many(txn, other, 0, 100);
    CHECK(lsm_txn_has_tree(txn, other));
    CHECK_OK(prepare_joint(txn, &k1));
    lsm_txn_discard_tree(txn, other);
    CHECK(!lsm_txn_has_tree(txn, other));
    CHECK(!lsm_txn_is_empty(txn));
    CHECK_OK(prepare_joint(txn, &k2));
    CHECK(k2.txid > k1.txid);
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 100);
    s.tree = other;
    CHECK_INT(count_at(&s, NULL), 0);
    CHECK_OK(lsm_db_check(s.db));
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    if (!store_open_at(&s, "a", &k2))
        return;
    CHECK_INT(count_at(&s, NULL), 100);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);

    /* Committed without a second prepare: the discard has cancelled the first. */
    if (!store_open_at(&s, "a", &k2) || !CHECK_OK(lsm_tree_find(s.db, text("other"), &other)))
        return;
    txn = begin(&s, &k2);
    put_many(txn, other, 0, 100);
    CHECK_OK(prepare_joint(txn, &k1));
    lsm_txn_discard_tree(txn, other);
    lsm_txn_commit(txn, true);
    s.tree = other;
    CHECK_INT(count_at(&s, NULL), 0);
    store_end(&s);
}

TEST(txn_memory_is_given_back_to_the_last_byte)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k = no_token;

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 12; i++) {
        txn = begin(&s, &k);
        uint64_t mark = lsm_txn_mark(txn);
        put_many(txn, s.tree, 0, 10 + 10 * i);
        if (i % 3 == 0)
            lsm_txn_rollback_to(txn, mark);
        if (i % 4 == 1)
            lsm_txn_discard_tree(txn, s.tree);
        CHECK(stat_of(s.db, "batch_bytes") < 1 << 20);
        if (i % 2) {
            CHECK_OK(prepare_joint(txn, &k));
            put_many(txn, s.tree, 0, 30);
            CHECK_OK(prepare_joint(txn, &k));
            lsm_txn_commit(txn, true);
        } else {
            lsm_txn_abort(txn);
        }
        CHECK_INT(stat_of(s.db, "batch_bytes"), 0);
    }
    store_end(&s);
}

TEST(txn_small_rows_do_not_spill_one_by_one)
{
    struct store s;
    struct lsm_txn *txn;
    char key[16];

    if (!store_begin(&s))
        return;
    for (int round = 0; round < 2; round++) {   /* the second begins with what the first left */
        txn = begin(&s, &no_token);
        for (int i = 0; i < 6000; i++) {
            snprintf(key, sizeof key, "%06d", i);
            CHECK_OK(lsm_txn_put(txn, s.tree, text(key), text("a small row")));
        }
        CHECK(disk_count("a", ".ldb") > 0);
        CHECK(disk_count("a", ".ldb") < 30);
        lsm_txn_abort(txn);
    }
    store_end(&s);
}

/* ---- many marks ---- */

enum { MARKS = 400 };

static struct marked {                  /* as it was at each mark, and at the end */
    uint64_t mark[MARKS];
    bool has[MARKS + 1][MARKS];         /* by key */
    char first[MARKS + 1];              /* of what key 0 has, which is put anew all the time */
} marked;

static struct lsm_slice key_of(int i)
{
    static char buf[2][16];
    static int at;
    char *p = buf[at++ % 2];

    snprintf(p, sizeof buf[0], "%06d", i);
    return text(p);
}

static void write_marked(struct lsm_txn *txn, struct lsm_tree *tree)
{
    memset(&marked, 0, sizeof marked);
    for (int i = 0; i < MARKS; i++) {
        bool *has = marked.has[i + 1];

        marked.mark[i] = lsm_txn_mark(txn);
        memcpy(has, marked.has[i], sizeof marked.has[i]);
        memset(big, 'a' + i % 26, 900);
        CHECK_OK(lsm_txn_put(txn, tree, key_of(i), (struct lsm_slice){ (uint8_t *)big, 900 }));
        CHECK_OK(lsm_txn_put(txn, tree, key_of(0), (struct lsm_slice){ (uint8_t *)big, 900 }));
        has[i] = has[0] = true;
        marked.first[i + 1] = big[0];
        if (i % 10 >= 8) {
            CHECK_OK(lsm_txn_delete_range(txn, tree, key_of(i / 2), key_of(i)));
            memset(has + i / 2, 0, (size_t)(i - i / 2));
        }
    }
}

/* txn NULL: what is published. */
static void is_at_mark(struct store *s, struct lsm_txn *txn, int m)
{
    struct lsm_read read = { .txn = txn };
    struct lsm_value value;
    int count = 0;

    for (int i = 0; i < MARKS; i++) {
        int rc = lsm_tree_get(s->tree, txn ? &read : NULL, key_of(i), &value);
        if (!CHECK_INT(rc, marked.has[m][i] ? LSM_OK : LSM_NOTFOUND))
            printf("  key %d at mark %d\n", i, m);
        if (rc == LSM_OK && i == 0)
            CHECK_INT(value.bytes.data[0], marked.first[m]);
        lsm_value_release(&value);
        count += marked.has[m][i];
    }
    CHECK_INT(count_at(s, txn ? &read : NULL), count);
}

TEST(txn_many_marks_share_tables_and_each_can_be_gone_back_to)
{
    struct lsm_token k;
    struct lsm_txn *txn;
    struct store s;

    for (int step = 1; step < 60; step += 13) {
        int m = MARKS - 1;

        if (!store_begin(&s))
            return;
        txn = begin(&s, &no_token);
        write_marked(txn, s.tree);
        CHECK(disk_count("a", ".ldb") > 16);
        CHECK(disk_count("a", ".ldb") < MARKS / 2);
        is_at_mark(&s, txn, MARKS);
        for (; m > MARKS / 4; m -= step) {
            lsm_txn_rollback_to(txn, marked.mark[m]);
            if (m % 2)                          /* else it goes back again before anybody looks */
                is_at_mark(&s, txn, m);
            if (m % 3 == 0) {
                CHECK_OK(prepare_joint(txn, &k));
                is_at_mark(&s, txn, m);
            }
        }
        lsm_txn_rollback_to(txn, marked.mark[m]);
        CHECK_OK(prepare_joint(txn, &k));
        lsm_txn_commit(txn, true);
        is_at_mark(&s, NULL, m);
        CHECK_OK(lsm_db_check(s.db));
        disk_kill("a", "b");
        CHECK_OK(lsm_db_flush(s.db));
        is_at_mark(&s, NULL, m);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        is_at_mark(&s, NULL, m);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
        if (CHECK(store_open_at(&s, "b", &k)))
            is_at_mark(&s, NULL, m);
        store_end(&s);
    }
}

TEST(txn_that_cannot_trim_says_so_and_is_as_it_was_when_it_can)
{
    static const unsigned kinds[] = { DISK_WRITE, DISK_CREATE, DISK_SYNC, DISK_DIR_SYNC };
    struct lsm_read read = { 0 };
    struct lsm_cursor *cursor;
    struct lsm_value value;
    struct lsm_token k;
    struct store s;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int files;

        if (!store_begin(&s))
            return;
        read.txn = begin(&s, &no_token);
        struct lsm_txn *txn = (struct lsm_txn *)read.txn;
        write_marked(txn, s.tree);
        lsm_txn_rollback_to(txn, marked.mark[MARKS / 2 + 1]);
        lsm_txn_rollback_to(txn, marked.mark[MARKS / 2]);
        files = disk_count("a", ".ldb");
        disk_fail(kinds[i], 1, true, kinds[i] == DISK_DIR_SYNC ? NULL : ".ldb");
        CHECK(lsm_tree_get(s.tree, &read, key_of(0), &value) != LSM_OK);
        lsm_value_release(&value);
        CHECK(lsm_cursor_open(s.tree, &read, &cursor) != LSM_OK);
        CHECK(prepare_joint(txn, &k) != LSM_OK);
        CHECK_INT(disk_count("a", ".ldb"), files);
        disk_heal();
        is_at_mark(&s, txn, MARKS / 2);
        CHECK_OK(prepare_joint(txn, &k));
        lsm_txn_commit(txn, true);
        is_at_mark(&s, NULL, MARKS / 2);
        store_end(&s);
    }
}

TEST(txn_a_failed_spill_leaves_the_transaction_as_it_was)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k;
    char key[16];
    int rc = LSM_OK, n = 0;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    memset(big, 'x', sizeof big);
    disk_fail(DISK_WRITE, 1, true, ".ldb");
    while (rc == LSM_OK && n < 100) {
        snprintf(key, sizeof key, "%06d", n);
        rc = lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ (uint8_t *)big, sizeof big });
        n += rc == LSM_OK;
    }
    CHECK(rc != LSM_OK);
    disk_heal();
    CHECK_INT(disk_count("a", ".ldb"), 0);
    struct lsm_read read = { .txn = txn };
    CHECK_INT(count_at(&s, &read), n);
    put_many(txn, s.tree, n, 100);
    CHECK_INT(count_at(&s, &read), 100);
    CHECK_OK(prepare_joint(txn, &k));
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 100);
    store_end(&s);
}

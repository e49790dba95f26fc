/*
 * test_said.c -- small questions that a host asks (lsm.h): is anything there, what is the newest, is it dropped, who
 * still reads; and what it tells of marks that nobody will ask for.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

TEST(a_store_is_blank_until_a_record_stands_in_its_log)
{
    struct lsm_token t;
    struct store s;

    if (!store_begin(&s))
        return;
    CHECK(lsm_db_is_virgin(s.db) && lsm_db_is_blank(s.db));
    t = joint(&s, no_token, "k", true);
    CHECK(!lsm_db_is_blank(s.db));
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open(&s, "b"))
        return;
    CHECK(!lsm_db_is_blank(s.db));      /* nobody has said that it counts; a host may */
    CHECK_OK(lsm_db_publish(s.db, &t));
    CHECK(!lsm_db_is_blank(s.db) && !lsm_db_is_virgin(s.db));
    store_end(&s);
}

TEST(the_newest_is_the_last_that_the_store_knows_to_be_decided)
{
    struct lsm_token t = no_token, newest;
    struct store s;

    if (!store_begin(&s))
        return;
    CHECK_OK(lsm_db_newest(s.db, &newest));
    CHECK(lsm_token_equal(&newest, &no_token));
    t = joint(&s, joint(&s, t, "1", true), "2", true);
    CHECK_OK(lsm_db_newest(s.db, &newest));
    CHECK(lsm_token_equal(&newest, &t));
    solo(&s, t, "3", true);     /* its record says that the joint before it is decided */
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open(&s, "b"))
        return;
    CHECK_OK(lsm_db_newest(s.db, &newest));
    CHECK(lsm_token_equal(&newest, &t));
    CHECK_INT(lsm_db_seq_published(s.db), 0);   /* it has changed nothing */
    CHECK_OK(lsm_db_publish(s.db, &newest));
    CHECK(shows(&s, "1 2 3"));
    store_end(&s);
}

TEST(snapshots_say_which_state_they_are_of_and_that_they_are_open)
{
    struct lsm_snapshot *first, *second;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK(!lsm_db_has_snapshots(s.db));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("1"), text("v"), false));
    CHECK_OK(lsm_snapshot_open(s.db, &first));
    CHECK_INT(lsm_snapshot_seq(first), lsm_db_seq_published(s.db));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("2"), text("v"), false));
    CHECK_OK(lsm_snapshot_open(s.db, &second));
    CHECK_INT(lsm_snapshot_seq(second), lsm_snapshot_seq(first) + 1);
    CHECK(lsm_db_has_snapshots(s.db));
    lsm_snapshot_close(first);
    CHECK(lsm_db_has_snapshots(s.db));
    lsm_snapshot_close(second);
    CHECK(!lsm_db_has_snapshots(s.db));
    store_end(&s);
}

TEST(a_dropped_tree_says_so_and_another_does_not)
{
    struct lsm_tree *other;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_tree_create(s.db, text("other"), NULL, &other));
    CHECK_OK(lsm_db_put(s.db, other, text("1"), text("v"), false));
    CHECK(!lsm_tree_is_dropped(other));
    CHECK_OK(lsm_tree_drop(s.db, other));
    CHECK(lsm_tree_is_dropped(other));
    CHECK(!lsm_tree_is_dropped(s.tree));
    store_end(&s);
}

/* A large transaction with a mark before each row: in how many tables is it? */
static int tables_of(bool are_released, const char *path)
{
    static char value[4096];
    struct lsm_txn *txn;
    struct store s;
    char key[16];
    int count;

    if (!store_open_as(&s, path, true))
        return -1;
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    for (int i = 0; i < 200; i++) {
        uint64_t mark = lsm_txn_mark(txn);

        CHECK(i == 0 || mark > 0);
        snprintf(key, sizeof key, "%06d", i);
        CHECK_OK(lsm_txn_put(txn, s.tree, text(key), lsm_slice(value, sizeof value)));
        if (are_released)
            lsm_txn_release_mark(txn, 0);
    }
    count = disk_count(path, ".ldb");
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(disk_count(path, ".ldb"), 0);
    store_close(&s);
    return count;
}

TEST(marks_that_are_released_need_no_tables_of_their_own)
{
    int released, kept;

    disk_begin();
    released = tables_of(true, "a");
    kept = tables_of(false, "b");
    printf("  %d tables, %d where the marks stay\n", released, kept);
    CHECK(released > 0 && 2 * released < kept);
    disk_end();
}

TEST(a_mark_below_the_released_ones_can_be_gone_back_to)
{
    struct lsm_read read = { .txn = NULL };
    struct lsm_txn *txn;
    uint64_t first;
    struct store s;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "1");
    first = lsm_txn_mark(txn);
    for (int i = 0; i < 9; i++) {
        (void)lsm_txn_mark(txn);
        CHECK_OK(lsm_txn_put(txn, s.tree, text(i % 2 ? "1" : "2"), text("w")));
    }
    lsm_txn_release_mark(txn, first);
    CHECK_OK(lsm_txn_put(txn, s.tree, text("3"), text("w")));
    read.txn = txn;
    CHECK_INT(count_at(&s, &read), 3);
    lsm_txn_rollback_to(txn, first);
    CHECK_INT(count_at(&s, &read), 1);
    CHECK_OK(lsm_txn_abort(txn));
    store_end(&s);
}

/*
 * test_absent.c -- lsm_txn_insert refuses exactly the keys that a get finds, wherever their rows stand:
 * in the transaction, in its spilled tables, in memtables, in tables, under deletes of keys and ranges.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

#define KEYS 3000
#define MARKS 4

static struct world {
    struct store s;
    struct lsm_txn *txn;
    bool committed[KEYS], own[KEYS];
    uint64_t mark[MARKS];
    bool at_mark[MARKS][KEYS];
    int mark_count;
    uint64_t cheap;             /* inserts that asked no table for a block */
} w;

static struct lsm_slice key_of(int k, char text_of[16])
{
    snprintf(text_of, 16, "key %08d", k * 7919 % 100000000);
    return text(text_of);
}

static struct lsm_slice random_value(void)
{
    static uint8_t bytes[400];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)test_random();
    return (struct lsm_slice){ bytes, test_below(sizeof bytes) };
}

static void world_begin_txn(void)
{
    w.txn = begin(&w.s, NULL);
    memcpy(w.own, w.committed, sizeof w.own);
    w.mark_count = 0;
}

static void world_end_txn(bool commit)
{
    if (commit) {
        CHECK_OK(lsm_txn_commit_alone(w.txn, false));
        memcpy(w.committed, w.own, sizeof w.own);
    } else {
        CHECK_OK(lsm_txn_abort(w.txn));
    }
    w.txn = NULL;
}

/* At this key's insert, or at one that never comes: whatever moves in between, nothing may depend on it. */
static void aim(int k)
{
    char buf[16];

    lsm_txn_insert_aim(w.txn, w.s.tree, key_of(k, buf));
}

static bool insert(int k)
{
    uint64_t gets = atomic_load(&w.s.db->counters.gets);
    struct lsm_read read = { .txn = w.txn };
    char buf[16];
    int rc;

    if (test_below(2))
        aim(test_below(8) ? k : (int)test_below(KEYS));
    rc = lsm_txn_insert(w.txn, w.s.tree, &read, key_of(k, buf), random_value());

    w.cheap += atomic_load(&w.s.db->counters.gets) == gets;
    if (!CHECK_RC(rc, w.own[k] ? LSM_EXISTS : LSM_OK)) {
        printf("  key %d\n", k);
        return false;
    }
    w.own[k] = true;
    return true;
}

static void delete_stretch(int k)
{
    char lo[16], hi[16];

    /* Keys jump: what lies between two is found by comparing all of them. */
    key_of(k, lo);
    key_of((int)test_below(KEYS), hi);
    CHECK_OK(lsm_txn_delete_range(w.txn, w.s.tree, text(lo), text(hi)));
    for (int i = 0; i < KEYS; i++) {
        char at[16];

        key_of(i, at);
        if (strcmp(at, lo) >= 0 && strcmp(at, hi) < 0)
            w.own[i] = false;
    }
}

static void mark_or_go_back(void)
{
    if (w.mark_count < MARKS && test_below(2)) {
        w.mark[w.mark_count] = lsm_txn_mark(w.txn);
        memcpy(w.at_mark[w.mark_count++], w.own, sizeof w.own);
    } else if (w.mark_count) {
        w.mark_count = (int)test_below((uint64_t)w.mark_count);
        lsm_txn_rollback_to(w.txn, w.mark[w.mark_count]);
        memcpy(w.own, w.at_mark[w.mark_count], sizeof w.own);
    }
}

static bool one_step(void)
{
    int k = (int)test_below(KEYS);
    char buf[16];

    if (!w.txn)
        world_begin_txn();
    if (test_below(8) == 0)
        aim(k);
    switch (test_below(1000)) {
    case 0:
        delete_stretch(k);
        return true;
    case 1: case 2: case 3: case 4:
        world_end_txn(test_below(4) > 0);
        return true;
    case 5:
        CHECK_OK(lsm_db_flush(w.s.db));
        return true;
    case 6:
        if (test_below(4) == 0)
            CHECK_OK(lsm_db_compact(w.s.db, w.s.tree));
        return true;
    case 7: case 8: case 9:
        mark_or_go_back();
        return true;
    default:
        break;
    }
    if (test_below(3) == 0) {
        CHECK_OK(lsm_txn_delete(w.txn, w.s.tree, key_of(k, buf)));
        w.own[k] = false;
        return true;
    }
    return insert(test_below(16) ? k : (int)test_below(KEYS));
}

TEST(insert_refuses_exactly_what_a_get_would_find)
{
    disk_and_host_begin();
    memset(&w, 0, sizeof w);
    if (store_open_as(&w.s, "store", true)) {
        for (int i = 0; i < (test_long() ? 2000000 : 60000); i++)
            if (!one_step())
                break;
        if (w.txn)
            world_end_txn(true);
        CHECK(w.cheap > 1000);
        store_close(&w.s);
    }
    disk_end();
}

/* A key that an own spill moved out of memory between two inserts, and one that others committed since. */
TEST(insert_sees_rows_that_move_while_the_transaction_lives)
{
    char buf[16];

    disk_and_host_begin();
    memset(&w, 0, sizeof w);
    if (store_open_as(&w.s, "store", true)) {
        world_begin_txn();
        for (int k = 0; k < 10; k++)
            insert(k);
        CHECK_OK(lsm_txn_spill(w.txn));
        for (int k = 0; k < 20; k++)
            insert(k);
        CHECK_OK(lsm_db_put(w.s.db, w.s.tree, key_of(30, buf), text("another's"), false));
        w.own[30] = true;
        insert(30);
        CHECK_OK(lsm_db_flush(w.s.db));
        insert(30);
        insert(31);
        world_end_txn(true);
        CHECK_OK(lsm_db_flush(w.s.db));
        world_begin_txn();
        for (int k = 0; k < 40; k++)
            insert(k);
        world_end_txn(true);
        CHECK(w.cheap > 0);
        store_close(&w.s);
    }
    disk_end();
}

TEST(insert_of_a_key_whose_row_it_spills_itself_is_refused)
{
    static uint8_t large[400 << 10];
    char buf[16];

    disk_and_host_begin();
    memset(&w, 0, sizeof w);
    if (store_open_as(&w.s, "store", true)) {
        struct lsm_read read = { 0 };

        world_begin_txn();
        read.txn = w.txn;
        for (int k = 0; k < 10; k++)
            insert(k);
        aim(5);                                 /* its table is not there yet */
        CHECK_RC(lsm_txn_insert(w.txn, w.s.tree, &read, key_of(5, buf), lsm_slice(large, sizeof large)),
                 LSM_EXISTS);
        CHECK(w.txn->run_count > 0);            /* there was no room for it */
        world_end_txn(true);
        store_close(&w.s);
    }
    disk_end();
}

/* The transaction keeps a view and tables, but not beyond its end. */
TEST(insert_gives_everything_back_with_the_transaction)
{
    disk_and_host_begin();
    memset(&w, 0, sizeof w);
    if (store_open_as(&w.s, "store", true)) {
        world_begin_txn();
        for (int k = 0; k < 500; k++)
            insert(k);
        world_end_txn(true);
        CHECK_OK(lsm_db_flush(w.s.db));
        world_begin_txn();
        for (int k = 500; k < 600; k++)
            insert(k);
        CHECK_OK(lsm_db_compact(w.s.db, w.s.tree));
        world_end_txn(false);
        CHECK_OK(lsm_db_compact(w.s.db, w.s.tree));
        CHECK_INT(disk_count("store", ".ldb"), 1);
        store_close(&w.s);
    }
    disk_end();
}

/*
 * test_txn.c -- transactions as a host drives them: the rules of commit.md that
 * the engine keeps, each by its number and by the crash or the race that it
 * prevents; publishing without memory; calls that the contract forbids.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

/* ---- R1 to R6 ---- */

TEST(R1_a_new_transaction_is_above_every_number_that_ever_was)
{
    struct store s, again;
    struct lsm_token k1, s2, k3;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    s2 = solo(&s, k1, "s2", false);    /* k1 is not settled */
    CHECK(s2.txid > k1.txid);
    disk_kill("a", "b");
    /* The power cut took SQLite back to nothing; a new joint transaction must not be s2's base. */
    if (!store_open_at(&again, "b", &no_token))
        return;
    CHECK_INT(count_at(&again, NULL), 0);
    txn = begin_put(&again, &no_token, "k3");
    CHECK_OK(prepare_joint(txn, &k3));
    CHECK(k3.txid > s2.txid);
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&again, NULL), 1);
    CHECK(has(&again, "k3"));
    store_close(&again);
    CHECK_INT(count_in("b", &k3), 1);
    store_end(&s);
}

TEST(R2_what_was_decided_survives_in_the_records)
{
    struct store s, again;
    struct lsm_token k1;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    disk_kill("a", "b");
    solo(&s, k1, "s2", true);
    disk_kill("a", "c");

    /* Nothing says that k1 was decided: the first write must be joint. */
    if (!store_open_at(&again, "b", &k1))
        return;
    txn = begin(&again, &k1);
    CHECK(!lsm_txn_may_be_solo(txn));
    lsm_txn_abort(txn);
    store_close(&again);
    /* The solo's record says so. */
    if (!store_open_at(&again, "c", &k1))
        return;
    CHECK(has(&again, "s2"));
    txn = begin(&again, &k1);
    CHECK(lsm_txn_may_be_solo(txn));
    lsm_txn_abort(txn);
    store_close(&again);
    /* A clean close says so, too. */
    store_close(&s);
    if (!store_open_at(&s, "a", &k1))
        return;
    txn = begin(&s, &k1);
    CHECK(lsm_txn_may_be_solo(txn));
    lsm_txn_abort(txn);
    store_end(&s);
}

TEST(R3_begin_waits_for_the_callback_of_the_previous_solo)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *a, *b;

    if (!store_begin(&s))
        return;
    a = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_solo(a, true, &t));
    CHECK_RC(lsm_txn_begin(s.db, &no_token, &b), LSM_BUSY);
    CHECK(!b);
    lsm_txn_commit(a, true);
    b = begin(&s, &no_token);
    CHECK(has(&s, "a"));
    lsm_txn_abort(b);
    a = begin_put(&s, &no_token, "c");
    CHECK_OK(prepare_solo(a, true, &t));
    CHECK_OK(lsm_txn_abort(a));
    b = begin(&s, &no_token);
    CHECK(!has(&s, "c"));
    lsm_txn_abort(b);
    store_end(&s);
}

/* C-17 */
TEST(R3_begin_publishes_what_its_token_proves)
{
    struct store s;
    struct lsm_token k1;
    struct lsm_txn *a, *b;

    if (!store_begin(&s))
        return;
    a = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_joint(a, &k1));
    CHECK(!has(&s, "a"));
    /* The main commit is done, the callback not yet reached; another connection writes. */
    b = begin_put(&s, &k1, "b");
    CHECK(has(&s, "a"));
    lsm_txn_abort(b);
    lsm_txn_commit(a, true);
    CHECK_INT(count_at(&s, NULL), 1);
    store_end(&s);
}

TEST(R5d_no_solo_while_a_joint_transaction_is_undecided)
{
    struct store s;
    struct lsm_token k1, k2, t = no_token;
    struct lsm_txn *txn;
    unsigned writes;

    if (!store_begin(&s))
        return;
    k1 = abandoned(&s, no_token, "k1");
    /* SQLite may yet resurrect k1 beneath a solo that never saw it. */
    txn = begin_put(&s, &no_token, "s");
    CHECK(!lsm_txn_may_be_solo(txn));
    writes = disk.log_writes;
    CHECK_RC(prepare_solo(txn, true, &t), LSM_BUSY);
    CHECK_INT(disk.log_writes, writes);
    CHECK_OK(prepare_joint(txn, &k2));
    lsm_txn_commit(txn, true);
    txn = begin(&s, &k2);
    CHECK(lsm_txn_may_be_solo(txn));
    lsm_txn_abort(txn);
    disk_kill("a", "b");
    CHECK(shows_at("b", &k2, "s !k1"));
    store_close(&s);
    (void)k1;
    disk_end();
}

TEST(R5d_once_joint_a_transaction_stays_joint)
{
    struct store s;
    struct lsm_token k1, k2, t = no_token;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_joint(txn, &k1));
    CHECK(!lsm_txn_may_be_solo(txn));
    CHECK_RC(prepare_solo(txn, true, &t), LSM_BUSY);
    /* Also when nothing is left of it: its token was written. */
    lsm_txn_rollback_to(txn, 0);
    CHECK(lsm_txn_is_empty(txn));
    CHECK_OK(prepare_joint(txn, &k2));
    CHECK(k2.txid > k1.txid);
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 0);
    k1 = joint(&s, k2, "b", true);
    CHECK_INT(count_at(&s, NULL), 1);
    store_close(&s);
    CHECK_INT(count_in("a", &k1), 1);
    disk_end();
}

TEST(R6_a_synced_solo_settles_its_base_first)
{
    struct store s;
    struct lsm_token k1, t;
    struct lsm_txn *txn;
    unsigned writes;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    solo(&s, k1, "s1", false);
    CHECK_INT(host.calls, 0);
    txn = begin_put(&s, &k1, "s2");
    host.rc = LSM_BUSY;
    writes = disk.log_writes;
    CHECK_RC(prepare_solo(txn, true, &t), LSM_BUSY);
    CHECK_INT(host.calls, 1);
    CHECK_INT(disk.log_writes, writes);
    host.rc = LSM_OK;
    CHECK_OK(prepare_solo(txn, true, &t));
    CHECK_INT(host.calls, 2);
    lsm_txn_commit(txn, true);
    solo(&s, k1, "s3", true);
    CHECK_INT(host.calls, 2);           /* it is the floor by now */
    k1 = joint(&s, k1, "k2", true);
    solo(&s, k1, "s4", true);
    CHECK_INT(host.calls, 2);           /* the host said so itself */
    CHECK_INT(count_at(&s, NULL), 6);
    store_end(&s);
}

/* The kernel calls the pages clean: a second sync would say that all is well. */
TEST(R6_a_sync_of_the_host_that_failed_is_never_tried_again)
{
    struct store s;
    struct lsm_token k1, t;
    struct lsm_txn *txn;
    unsigned writes;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    txn = begin_put(&s, &k1, "s");
    host.rc = LSM_IOERR;
    writes = disk.log_writes;
    CHECK_RC(prepare_solo(txn, true, &t), LSM_IOERR);
    host.rc = LSM_OK;
    CHECK_RC(prepare_solo(txn, true, &t), LSM_BUSY);
    CHECK_INT(host.calls, 1);
    CHECK_INT(disk.log_writes, writes);
    CHECK_OK(prepare_joint(txn, &k1));
    lsm_txn_commit(txn, true);
    solo(&s, k1, "s2", true);           /* by a checkpoint: the host's word alone does not count */
    CHECK_INT(host.suspect_calls, 1);
    CHECK_INT(count_at(&s, NULL), 3);
    store_end(&s);
}

/* ---- R7, R8 ---- */

/* C-21 */
TEST(R7_a_second_prepare_supersedes_the_first)
{
    struct store s, again;
    struct lsm_token k1, k2;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_joint(txn, &k1));
    /* COMMIT said BUSY; more is written, some undone, and COMMIT comes again. */
    uint64_t mark = lsm_txn_mark(txn);
    CHECK_OK(lsm_txn_put(txn, s.tree, text("undone"), text("x")));
    lsm_txn_rollback_to(txn, mark);
    CHECK_OK(lsm_txn_put(txn, s.tree, text("b"), text("x")));
    CHECK_OK(prepare_joint(txn, &k2));
    CHECK(k2.txid > k1.txid);
    CHECK_INT(count_at(&s, NULL), 0);
    disk_kill("a", "b");
    disk_power_cut("a", "c");
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 2);
    for (int i = 0; i < 2; i++) {
        const char *path = i ? "c" : "b";
        CHECK_INT(count_in(path, &no_token), 0);
        if (!store_open_at(&again, path, &k2))
            return;
        CHECK_INT(count_at(&again, NULL), 2);
        CHECK(has(&again, "a") && has(&again, "b"));
        store_close(&again);
    }
    store_end(&s);
}

TEST(R7_a_solo_that_is_prepared_again_counts_once)
{
    struct store s;
    struct lsm_token t1, t2;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_solo(txn, true, &t1));
    lsm_txn_rollback_to(txn, 0);
    CHECK_OK(lsm_txn_put(txn, s.tree, text("b"), text("x")));
    CHECK_OK(prepare_solo(txn, true, &t2));
    CHECK(t2.txid > t1.txid);
    lsm_txn_commit(txn, true);
    CHECK(has(&s, "b") && !has(&s, "a"));
    joint(&s, no_token, "c", true);
    disk_kill("a", "b");
    store_close(&s);
    CHECK(shows_at("b", &no_token, "b !a"));
    disk_end();
}

TEST(R7_after_a_solo_the_transaction_can_become_joint)
{
    struct store s, again;
    struct lsm_token t, k;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_solo(txn, true, &t));
    CHECK_OK(prepare_joint(txn, &k));
    disk_kill("a", "b");                /* the solo was taken back, the joint one is not decided */
    CHECK_OK(lsm_txn_abort(txn));
    if (!store_open_at(&again, "b", &no_token))
        return;
    CHECK_INT(count_at(&again, NULL), 0);
    CHECK_OK(lsm_db_publish(again.db, &k));
    CHECK_INT(count_at(&again, NULL), 1);
    store_close(&again);
    store_end(&s);
}

TEST(R8_commit_finds_that_a_reader_published_it)
{
    struct store s;
    struct lsm_token k;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_joint(txn, &k));
    CHECK_OK(lsm_db_publish(s.db, &k));
    CHECK(has(&s, "a"));
    lsm_txn_commit(txn, true);
    CHECK_INT(count_at(&s, NULL), 1);
    txn = begin(&s, &k);
    CHECK(lsm_txn_may_be_solo(txn));
    lsm_txn_abort(txn);
    store_end(&s);
}

/* SQLite lets another connection run a whole transaction inside our xCommit. */
TEST(R8_a_late_commit_does_not_take_the_decision_back)
{
    struct store s;
    struct lsm_token k1, k2;
    struct lsm_txn *a, *b;

    if (!store_begin(&s))
        return;
    a = begin_put(&s, &no_token, "a");
    CHECK_OK(prepare_joint(a, &k1));
    b = begin_put(&s, &k1, "b");
    CHECK_OK(prepare_joint(b, &k2));
    lsm_txn_commit(b, true);
    lsm_txn_commit(a, true);
    b = begin(&s, &k2);
    CHECK(lsm_txn_may_be_solo(b));
    lsm_txn_abort(b);
    host.calls = 0;
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    CHECK_INT(count_in("a", &k2), 2);
    disk_end();
}

TEST(R8_settled_makes_the_floor_but_not_while_suspect)
{
    struct store s, again;
    struct lsm_token k;

    if (!store_begin(&s))
        return;
    k = joint(&s, no_token, "k1", true);
    solo(&s, k, "s", true);
    CHECK_INT(host.calls, 0);
    abandoned(&s, k, "lost");           /* its failed sync may have made SQLite's next one lie */
    k = joint(&s, k, "k3", true);
    solo(&s, k, "s2", true);
    CHECK_INT(host.calls, 1);
    CHECK_INT(host.suspect_calls, 1);
    disk_kill("a", "b");
    if (store_open_at(&again, "b", &k))
        store_close(&again);
    store_end(&s);
}

/* ---- R9 ---- */

static void check_gone_after_a_crash(const char *from)
{
    static int n;
    char kill[24], cut[24];

    snprintf(kill, sizeof kill, "kill%d", n);
    snprintf(cut, sizeof cut, "cut%d", n++);
    disk_kill(from, kill);
    disk_power_cut(from, cut);
    CHECK(shows_at(kill, &no_token, "before !gone"));
    CHECK(shows_at(cut, &no_token, "before !gone"));
}

TEST(R9_a_vetoed_solo_never_comes_back)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    for (int synced = 0; synced < 2; synced++) {
        solo(&s, no_token, "before", true);
        txn = begin_put(&s, &no_token, "gone");
        CHECK_OK(prepare_solo(txn, synced, &t));
        CHECK_OK(lsm_txn_abort(txn));
        CHECK(!has(&s, "gone"));
        check_gone_after_a_crash("a");
        solo(&s, no_token, "later", true);
        check_gone_after_a_crash("a");
    }
    store_close(&s);
    CHECK_INT(count_in("a", &no_token), 2);
    disk_end();
}

/* I-07 */
TEST(R9_a_solo_whose_sync_failed_never_comes_back)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "before", true);
    txn = begin_put(&s, &no_token, "gone");
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(prepare_solo(txn, true, &t), LSM_FSYNC);
    disk_heal();
    CHECK_OK(lsm_txn_abort(txn));
    CHECK(!has(&s, "gone"));
    check_gone_after_a_crash("a");
    solo(&s, no_token, "later", true);
    check_gone_after_a_crash("a");
    CHECK_STR(lsm_db_state(s.db, NULL), "HEALTHY");
    store_end(&s);
}

TEST(R9_a_solo_whose_write_failed_never_comes_back)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "before", true);
    txn = begin_put(&s, &no_token, "gone");
    disk_fail(DISK_WRITE, 1, false, ".log");
    CHECK(prepare_solo(txn, true, &t) != LSM_OK);
    disk_heal();
    CHECK_OK(lsm_txn_abort(txn));
    check_gone_after_a_crash("a");
    store_end(&s);
}

/* No new log can be made, but the old one can be cut. */
TEST(R9_where_no_ABORT_can_be_written_the_log_is_cut)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "before", true);
    txn = begin_put(&s, &no_token, "gone");
    CHECK_OK(prepare_solo(txn, true, &t));
    disk_fail(DISK_WRITE, 1, true, ".log");
    CHECK_OK(lsm_txn_abort(txn));
    disk_heal();
    CHECK_STR(lsm_db_state(s.db, NULL), "HEALTHY");
    check_gone_after_a_crash("a");
    solo(&s, no_token, "later", true);
    check_gone_after_a_crash("a");
    store_end(&s);
}

/* The fresh log that would have carried the ABORT must not carry the solo. */
TEST(R9_a_solo_is_not_copied_while_it_is_taken_back)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    disk_and_host_begin();
    for (int at = 1; at <= 12; at++) {
        char path[24];
        snprintf(path, sizeof path, "a%d", at);
        if (!store_open(&s, path))
            return;
        solo(&s, no_token, "before", true);
        txn = begin_put(&s, &no_token, "gone");
        disk_fail(DISK_SYNC, 1, false, ".log");
        CHECK_RC(prepare_solo(txn, true, &t), LSM_FSYNC);
        /* From here on the at-th write and all after it fail, of any file. */
        disk_fail(DISK_WRITE | DISK_SYNC, at, true, "0");
        int rc = lsm_txn_abort(txn);
        disk_heal();
        if (rc == LSM_OK)
            check_gone_after_a_crash(path);
        else
            CHECK_INT(rc, LSM_READONLY);
        CHECK(!has(&s, "gone"));
        store_close(&s);
    }
    disk_end();
}

TEST(R9_what_cannot_be_taken_back_makes_the_store_read_only)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;
    const char *why;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "before", true);
    txn = begin_put(&s, &no_token, "gone");
    CHECK_OK(prepare_solo(txn, true, &t));
    disk_fail(DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_CREATE, 1, true, "");
    CHECK_RC(lsm_txn_abort(txn), LSM_READONLY);
    disk_heal();
    CHECK_STR(lsm_db_state(s.db, &why), "READ_ONLY");
    CHECK(strlen(why) > 0);
    CHECK(!has(&s, "gone") && has(&s, "before"));
    CHECK_RC(lsm_txn_begin(s.db, &no_token, &txn), LSM_READONLY);
    CHECK_RC(lsm_db_flush(s.db), LSM_READONLY);
    store_close(&s);
    if (!store_open_at(&s, "a", &no_token))
        return;
    solo(&s, no_token, "later", true);
    store_end(&s);
}

/* ---- publishing ---- */

/* M-02: Publishing cannot fail, also where the rows find no room. */
TEST(txn_commit_without_memory_publishes_all_the_same)
{
    int burnt = 0;

    disk_and_host_begin();
    for (int at = 0; at < 16; at++) {    /* the room left in the memtable differs */
        struct store s;
        struct lsm_txn *txn;
        struct lsm_token k1, k2;
        uint64_t seq;
        int filled = 150 * at;
        struct lsm_snapshot *old;
        char path[24], key[16];
        static const uint8_t zeros[40];

        snprintf(path, sizeof path, "a%d", at);
        if (!store_open(&s, path))
            return;
        txn = begin_put(&s, &no_token, "before");
        for (int i = 0; i < filled; i++) {
            snprintf(key, sizeof key, "f%04d", i);
            CHECK_OK(lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ zeros, 10 }));
        }
        CHECK_OK(prepare_joint(txn, &k1));
        lsm_txn_commit(txn, true);
        txn = begin(&s, &k1);
        for (int i = 0; i < 100; i++) {
            snprintf(key, sizeof key, "%03d", i);
            CHECK_OK(lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ zeros, 40 }));
        }
        CHECK_OK(prepare_joint(txn, &k2));
        seq = lsm_db_seq_published(s.db);
        disk_fail(DISK_MEMORY, 1, true, "");
        lsm_txn_commit(txn, true);
        disk_heal();
        burnt += lsm_db_seq_published(s.db) - seq > 100;
        CHECK_INT(count_at(&s, NULL), filled + 101);
        /* And nothing of it stands before its own beginning. */
        CHECK_OK(lsm_snapshot_open_at(s.db, &k1, &old));
        struct lsm_read read = { .snapshot = old };
        CHECK_INT(count_at(&s, &read), filled + 1);
        lsm_snapshot_close(old);
        k2 = joint(&s, k2, "later", true);
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_INT(count_at(&s, NULL), filled + 102);
        store_close(&s);
        CHECK_INT(count_in(path, &k2), filled + 102);
    }
    CHECK(burnt > 0);                   /* it did run out of room in the middle */
    disk_end();
}

/* ---- what the contract forbids ---- */

TEST(txn_calls_that_the_contract_forbids_say_so)
{
    struct store s;
    struct lsm_txn *txn, *none;
    struct lsm_snapshot *snapshot;
    struct lsm_cursor *c;
    struct lsm_token t;
    static uint8_t long_key[LSM_KEY_SIZE_MAX + 1];

    if (!store_begin(&s))
        return;
    CHECK_RC(lsm_txn_begin(s.db, NULL, &none), LSM_MISUSE);
    CHECK(!none);
    CHECK_RC(lsm_db_put(s.db, s.tree, text("k"), text("v"), true), LSM_MISUSE);
    txn = begin_put(&s, &no_token, "k");
    CHECK_RC(lsm_txn_commit_alone(txn, true), LSM_MISUSE);
    CHECK_RC(lsm_txn_put(txn, s.tree, (struct lsm_slice){ long_key, sizeof long_key }, text("v")),
             LSM_TOOBIG);
    CHECK_RC(lsm_txn_put(txn, s.tree, text("x"), (struct lsm_slice){ long_key, (size_t)LSM_VALUE_SIZE_MAX + 1 }),
             LSM_TOOBIG);
    struct lsm_read read = { .txn = txn };
    CHECK_INT(count_at(&s, &read), 1);
    CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
    CHECK_OK(prepare_joint(txn, &t));
    lsm_txn_commit(txn, true);
    CHECK_OK(lsm_snapshot_open(s.db, &snapshot));
    CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
    lsm_snapshot_close(snapshot);
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
    CHECK_RC(lsm_cursor_next(c), LSM_MISUSE);
    lsm_cursor_close(c);
    CHECK(has(&s, "k"));                /* it stayed open */
    store_close(&s);

    if (!store_open_as(&s, "b", true))
        return;
    txn = begin_put(&s, NULL, "k");
    CHECK_RC(prepare_joint(txn, &t), LSM_MISUSE);       /* nobody could decide it */
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    CHECK(has(&s, "k"));
    store_end(&s);
}

TEST(txn_an_empty_one_prepares_nothing)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token t = { 7, { 7 } };
    unsigned writes;

    if (!store_begin(&s))
        return;
    struct lsm_token k = joint(&s, no_token, "k", true);
    writes = disk.log_writes;
    txn = begin_put(&s, &k, "x");
    lsm_txn_rollback_to(txn, 0);
    CHECK_OK(prepare_joint(txn, &t));
    CHECK(t.txid == k.txid && memcmp(t.hash, k.hash, 16) == 0);
    lsm_txn_commit(txn, false);
    CHECK_INT(disk.log_writes, writes);
    store_end(&s);
}

TEST(txn_read_only_store_refuses_every_write_and_leaves_no_trace)
{
    struct store s;
    struct lsm_options o;
    struct lsm_txn *txn;
    struct lsm_tree *tree;
    struct lsm_token k;
    uint64_t sum;

    if (!store_begin(&s))
        return;
    k = joint(&s, no_token, "k", true);
    disk_kill("a", "b");
    store_close(&s);
    sum = disk_sum("b");
    int files = disk_count("b", "");
    lsm_options_init(&o);
    o.os = disk.os;
    o.read_only = o.wait_for_token = true;
    o.host = &the_host;
    if (!CHECK_OK(lsm_db_open("b", &o, &s.db)))
        return;
    CHECK_OK(lsm_tree_find(s.db, text("t"), &s.tree));
    CHECK_OK(lsm_db_publish(s.db, &k));
    CHECK(has(&s, "k"));
    CHECK_RC(lsm_txn_begin(s.db, &k, &txn), LSM_READONLY);
    CHECK_RC(lsm_tree_create(s.db, text("u"), NULL, &tree), LSM_READONLY);
    CHECK_RC(lsm_tree_drop(s.db, s.tree), LSM_READONLY);
    CHECK_RC(lsm_db_flush(s.db), LSM_READONLY);
    CHECK_RC(lsm_db_compact(s.db, NULL), LSM_READONLY);
    CHECK_RC(lsm_db_step(s.db), LSM_READONLY);
    CHECK_RC(lsm_db_set_memory(s.db, 2 << 20), LSM_READONLY);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    CHECK_INT(disk_count("b", ""), files);
    CHECK(disk_sum("b") == sum);
    CHECK_RC(lsm_db_open("nowhere", &o, &s.db), LSM_NOTFOUND);
    CHECK(!s.db);
    disk_end();
}

TEST(txn_open_of_a_directory_without_a_store_leaves_nothing_there)
{
    struct store s;
    struct lsm_options o;
    struct lsm_dir *dir;
    bool created;

    disk_and_host_begin();
    CHECK_INT(disk.os->dir_open(disk.os, "empty", true, 0755, &created, &dir), 0);
    disk.os->dir_close(dir);
    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    CHECK_RC(lsm_db_open("empty", &o, &s.db), LSM_NOTFOUND);
    CHECK_INT(disk_count("empty", ""), 0);
    o.create_if_missing = true;
    if (!CHECK_OK(lsm_db_open("empty", &o, &s.db)))
        return;
    CHECK_RC(lsm_db_destroy("empty", &o), LSM_BUSY);
    store_close(&s);
    o.error_if_exists = true;
    CHECK_RC(lsm_db_open("empty", &o, &s.db), LSM_EXISTS);
    o.error_if_exists = o.create_if_missing = false;
    CHECK_OK(lsm_db_open("empty", &o, &s.db));
    store_close(&s);
    CHECK_OK(lsm_db_destroy("empty", &o));
    CHECK_RC(lsm_db_open("empty", &o, &s.db), LSM_NOTFOUND);
    disk_end();
}

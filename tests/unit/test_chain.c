/*
 * test_chain.c -- what is committed: the chain of tokens, evidence, recovery,
 * settling, flushing. The rules by number are commit.md's; what follows each
 * number is the crash or the race that the rule prevents.
 */
#include "tests/unit/disk.h"

static struct store *hook_store;
static struct lsm_token hook_token, hook_older;

/* ---- R11: logs ---- */

/* C-05 */
TEST(R11_no_hole_behind_a_failed_sync)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token t;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s1", false);    /* acknowledged, not synced */
    txn = begin_put(&s, &no_token, "s2");
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(prepare_solo(txn, true, &t), LSM_FSYNC);
    disk_heal();
    CHECK_OK(lsm_txn_abort(txn));
    solo(&s, no_token, "s3", true);
    disk_power_cut("a", "b");
    CHECK(shows_at("b", &no_token, "s1 !s2 s3"));
    store_end(&s);
}

TEST(R11_what_was_read_at_open_is_copied_before_anything_follows_it)
{
    struct store s, again;
    struct lsm_token k;

    if (!store_begin(&s))
        return;
    k = joint(&s, no_token, "k", true);
    solo(&s, k, "s1", false);
    disk_kill("a", "b");                /* s1 is in the page cache only */
    store_close(&s);
    if (!store_open_at(&again, "b", &k))
        return;
    solo(&again, k, "s0", false);
    disk_power_cut("b", "d");           /* what was synced once is so in the fresh log as well */
    solo(&again, k, "s2", true);
    disk_power_cut("b", "c");
    store_close(&again);
    CHECK(shows_at("d", &k, "k"));
    CHECK(shows_at("c", &k, "k s1 s2"));
    disk_end();
}

TEST(R11_the_old_log_stays_until_the_fresh_one_is_on_disk)
{
    disk_and_host_begin();
    for (int at = 1; at <= 14; at++) {  /* each call of the first write fails in turn */
        struct store s, again;
        struct lsm_txn *txn;
        struct lsm_token k, t;
        char a[24], b[24], c[24], d[24];

        snprintf(a, sizeof a, "a%d", at);
        snprintf(b, sizeof b, "b%d", at);
        snprintf(c, sizeof c, "c%d", at);
        snprintf(d, sizeof d, "d%d", at);
        if (!store_open(&s, a))
            return;
        k = joint(&s, no_token, "k", true);
        solo(&s, k, "s1", true);
        disk_kill(a, b);
        store_close(&s);
        if (!store_open_at(&s, b, &k))
            return;
        txn = begin_put(&s, &k, "s2");
        disk_fail(DISK_WRITE | DISK_SYNC | DISK_DIR_SYNC, at, at % 2, "");
        int rc = prepare_solo(txn, true, &t);
        disk_heal();
        if (rc == LSM_OK)
            lsm_txn_commit(txn, true);
        else
            CHECK_OK(lsm_txn_abort(txn));
        disk_kill(b, c);
        solo(&s, k, "s3", true);
        disk_power_cut(b, d);
        store_close(&s);
        if (!store_open_at(&again, c, &k))
            return;
        CHECK(has(&again, "k") && has(&again, "s1") && has(&again, "s2") == (rc == LSM_OK));
        store_close(&again);
        if (!store_open_at(&again, d, &k))
            return;
        CHECK(has(&again, "k") && has(&again, "s1") && has(&again, "s2") == (rc == LSM_OK));
        CHECK(has(&again, "s3"));
        store_close(&again);
        if (!store_open_at(&s, b, &k))
            return;
        CHECK(has(&s, "k") && has(&s, "s1") && has(&s, "s2") == (rc == LSM_OK) && has(&s, "s3"));
        store_close(&s);
    }
    disk_end();
}

/* A log that was begun and given up says where the present one ended: it must stay true. */
TEST(R11_a_rotation_that_failed_leaves_no_false_hole)
{
    disk_and_host_begin();
    for (int at = 1; at <= 3; at++) {
        struct store s;
        char a[24], b[24];

        snprintf(a, sizeof a, "a%d", at);
        snprintf(b, sizeof b, "b%d", at);
        if (!store_open(&s, a))
            return;
        solo(&s, no_token, "s1", false);
        /* The new log's write, its sync, or its directory's; and its name cannot be removed. */
        disk_fail(DISK_REMOVE | (at == 1 ? DISK_WRITE : at == 2 ? DISK_SYNC : DISK_DIR_SYNC), 1 + (at == 2), true,
                  at < 3 ? ".log" : "");        /* the second sync: the first is of the present log */
        CHECK(lsm_db_flush(s.db) != LSM_OK);
        disk_heal();
        solo(&s, no_token, "s2", true);
        solo(&s, no_token, "s3", true);
        disk_kill(a, b);
        CHECK_INT(count_in(b, &no_token), 3);
        CHECK_OK(lsm_db_flush(s.db));
        store_close(&s);
        CHECK_INT(count_in(a, &no_token), 3);
    }
    disk_end();
}

/* ---- R10, R12, R13: what a token proves ---- */

/* C-16 */
TEST(R10_a_rolled_back_joint_can_still_be_committed)
{
    struct store s, again;
    struct lsm_token k;

    if (!store_begin(&s))
        return;
    /* COMMIT reported an error and rolled back, but the rows are there. */
    k = abandoned(&s, no_token, "k");
    CHECK(!has(&s, "k"));
    disk_kill("a", "b");
    disk_power_cut("a", "c");
    CHECK_OK(lsm_db_publish(s.db, &k));
    CHECK(has(&s, "k"));
    for (int i = 0; i < 2; i++) {
        if (!store_open_at(&again, i ? "b" : "c", &no_token))
            return;
        CHECK(!has(&again, "k"));
        CHECK_OK(lsm_db_publish(again.db, &k));
        CHECK(has(&again, "k"));
        store_close(&again);
    }
    /* One joint commit makes it quiet. */
    struct lsm_token k2 = joint(&s, k, "k2", true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 2);
    store_close(&s);
    CHECK_INT(count_in("a", &k2), 2);
    disk_end();
}

/* C-20 */
TEST(R12_an_abandoned_prepare_is_not_on_the_chain_though_its_number_is_smaller)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    k1 = abandoned(&s, no_token, "k1");
    k2 = joint(&s, no_token, "k2", true);
    CHECK(k1.txid < k2.txid);
    CHECK(!has(&s, "k1") && has(&s, "k2"));
    disk_kill("a", "b");
    CHECK(shows_at("b", &k2, "!k1 k2"));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 1);
    store_close(&s);
    CHECK_INT(count_in("a", &k2), 1);
    disk_end();
}

TEST(R12_a_solo_goes_with_the_joint_that_it_is_based_on)
{
    struct store s, again;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s0", false);
    k1 = joint(&s, no_token, "k1", false);
    solo(&s, k1, "s1", false);
    k2 = joint(&s, k1, "k2", false);
    solo(&s, k2, "s2", false);
    disk_kill("a", "b");
    store_close(&s);
    /* The power cut took SQLite back: both sides end at the same prefix. */
    for (int i = 0; i < 3; i++) {
        const struct lsm_token *t = i == 0 ? &no_token : i == 1 ? &k1 : &k2;
        if (!store_open_at(&again, "b", t))
            return;
        CHECK_INT(count_at(&again, NULL), 1 + 2 * i);
        CHECK(has(&again, "s0") && has(&again, "s1") == (i > 0) && has(&again, "s2") == (i > 1));
        store_close(&again);
    }
    /* And what comes instead does not bring them back. */
    if (!store_open_at(&again, "b", &k1))
        return;
    struct lsm_token k3 = joint(&again, k1, "k3", true);
    CHECK_INT(count_at(&again, NULL), 4);
    disk_kill("b", "c");
    CHECK_OK(lsm_db_flush(again.db));
    CHECK_RC(lsm_db_publish(again.db, &k2), LSM_CONFLICT);
    store_close(&again);
    CHECK(shows_at("c", &k3, "!s2 !k2 k3"));
    disk_end();
}

TEST(R13_an_old_reader_does_not_undo_what_a_new_one_proved)
{
    struct store s;
    struct lsm_token k1, k2;
    struct lsm_txn *a;
    struct lsm_snapshot *old, *mid, *now;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s0", true);
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s1", true);
    a = begin_put(&s, &k1, "k2");
    CHECK_OK(prepare_joint(a, &k2));
    CHECK_OK(lsm_snapshot_open_at(s.db, &k2, &now));    /* evidence, before the callback */
    CHECK_OK(lsm_snapshot_open_at(s.db, &k1, &mid));
    CHECK_OK(lsm_snapshot_open_at(s.db, &no_token, &old));
    struct lsm_read read_old = { .snapshot = old }, read_mid = { .snapshot = mid }, read_now = { .snapshot = now };
    CHECK_INT(count_at(&s, &read_old), 1);
    CHECK_INT(count_at(&s, &read_mid), 3);
    CHECK_INT(count_at(&s, &read_now), 4);
    CHECK(has_at(&s, &read_mid, "s1") && !has_at(&s, &read_mid, "k2"));
    CHECK_INT(count_at(&s, NULL), 4);
    lsm_txn_commit(a, true);
    CHECK_INT(count_at(&s, NULL), 4);
    lsm_snapshot_close(old);
    lsm_snapshot_close(mid);
    lsm_snapshot_close(now);
    store_end(&s);
}

TEST(R13_a_solo_of_this_process_is_published_by_its_own_commit_only)
{
    struct store s;
    struct lsm_txn *a;
    struct lsm_token t;

    if (!store_begin(&s))
        return;
    struct lsm_token k = joint(&s, no_token, "k", true);
    a = begin_put(&s, &k, "s");
    CHECK_OK(prepare_solo(a, true, &t));
    CHECK_OK(lsm_db_publish(s.db, &k));
    CHECK_OK(lsm_db_publish(s.db, &no_token));
    CHECK(!has(&s, "s"));
    CHECK_OK(lsm_txn_abort(a));         /* the commit hook vetoes */
    CHECK(!has(&s, "s"));
    store_end(&s);
}

/* ---- R15: recovery ---- */

TEST(R15_recovery_writes_nothing_and_removes_nothing)
{
    struct store s, again;
    struct lsm_token k1, k2;
    uint64_t sum;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s0", true);
    k1 = joint(&s, no_token, "k1", false);
    k2 = joint(&s, k1, "k2", false);
    disk_kill("a", "b");
    store_close(&s);
    sum = disk_sum("b");
    /* The one who comes first has an old snapshot; then the last user closes the store. */
    CHECK_INT(count_in("b", &no_token), 1);
    CHECK(disk_sum("b") == sum);
    if (!store_open_at(&again, "b", &k1))
        return;
    CHECK_INT(count_at(&again, NULL), 2);
    CHECK_OK(lsm_db_publish(again.db, &k2));
    CHECK_INT(count_at(&again, NULL), 3);
    CHECK(lsm_db_check(again.db) == LSM_OK);
    store_close(&again);
    CHECK(disk_sum("b") == sum);
    disk_end();
}

TEST(R15_nothing_is_flushed_or_lost_before_a_token_is_shown)
{
    struct store s, again;
    struct lsm_token k1;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s0", true);
    disk_kill("a", "b");
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s1", true);
    disk_kill("a", "c");
    store_close(&s);
    for (int i = 0; i < 2; i++) {
        const char *path = i ? "c" : "b";
        if (!store_open(&again, path))
            return;
        CHECK_INT(count_at(&again, NULL), 0);
        CHECK_RC(lsm_db_flush(again.db), LSM_BUSY);
        CHECK_RC(lsm_db_compact(again.db, NULL), LSM_BUSY);
        lsm_db_step(again.db);
        struct lsm_tree *tree;
        CHECK_OK(lsm_tree_create(again.db, text("other"), NULL, &tree));
        store_close(&again);
        CHECK_INT(count_in(path, i ? &k1 : &no_token), i ? 3 : 1);
    }
    disk_end();
}

TEST(R15_a_database_older_than_the_store_is_refused)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    k2 = joint(&s, k1, "k2", true);
    store_close(&s);
    if (!store_open(&s, "a"))
        return;
    CHECK_RC(lsm_db_publish(s.db, &no_token), LSM_STALE);       /* below the floor */
    CHECK_RC(lsm_db_publish(s.db, &k1), LSM_STALE);
    CHECK_INT(count_at(&s, NULL), 0);
    CHECK_OK(lsm_db_publish(s.db, &k2));
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    if (!store_open(&s, "a"))
        return;
    CHECK_RC(lsm_db_publish(s.db, &k1), LSM_STALE);             /* below the root */
    CHECK(strstr(lsm_error_text(), "older") != NULL);
    CHECK_OK(lsm_db_publish(s.db, &k2));
    store_end(&s);
}

TEST(R3_a_writer_is_refused_when_the_database_went_back_beneath_an_open_store)
{
    struct store s;
    struct lsm_txn *txn;
    struct lsm_token k1, k2;

    disk_and_host_begin();
    if (!store_open(&s, "a"))
        return;
    k1 = joint(&s, no_token, "k1", true);
    k2 = joint(&s, k1, "k2", true);
    CHECK_RC(lsm_txn_begin(s.db, &k1, &txn), LSM_STALE);        /* would show k2 beside what it does itself */
    CHECK(strstr(lsm_error_text(), "older") != NULL);
    CHECK_RC(lsm_db_publish_newest(s.db, &k1), LSM_STALE);
    CHECK_OK(lsm_db_publish(s.db, &k1));                        /* an old reader may still show it */
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_RC(lsm_txn_begin(s.db, &k1, &txn), LSM_STALE);
    CHECK_OK(lsm_txn_begin(s.db, &k2, &txn));
    CHECK_OK(lsm_txn_abort(txn));
    store_close(&s);
    disk_end();
}

TEST(R15_a_store_behind_the_database_is_refused)
{
    struct store s;
    struct lsm_token k1, k2, other;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    disk_kill("a", "b");
    k2 = joint(&s, k1, "k2", true);
    store_close(&s);
    if (!store_open(&s, "b"))
        return;
    CHECK_RC(lsm_db_publish(s.db, &k2), LSM_STALE);
    CHECK(strstr(lsm_error_text(), "behind") != NULL);
    CHECK_RC(lsm_txn_begin(s.db, &k2, &txn), LSM_STALE);
    other = k1;
    other.hash[3] ^= 1;                 /* the number alone proves nothing */
    CHECK_RC(lsm_db_publish(s.db, &other), LSM_STALE);
    CHECK_INT(count_at(&s, NULL), 0);
    CHECK_OK(lsm_db_publish(s.db, &k1));
    CHECK_INT(count_at(&s, NULL), 1);
    store_end(&s);
}

TEST(R15_alone_the_newest_decided_token_counts_and_nothing_is_written_over_an_undecided_one)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    k2 = abandoned(&s, k1, "k2");       /* its record says that k1 is decided */
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open_as(&s, "b", true))
        return;
    CHECK(has(&s, "k1") && !has(&s, "k2"));
    CHECK_RC(lsm_db_put(s.db, s.tree, text("x"), text("y"), true), LSM_READONLY);
    store_close(&s);
    CHECK_INT(count_in("b", &k2), 2);
    disk_end();
}

TEST(R15_what_is_written_alone_stands_on_top_of_what_the_host_committed)
{
    struct store s;
    struct lsm_token k1;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s1", true);
    store_close(&s);
    for (int i = 0; i < 2; i++) {
        if (!store_open_as(&s, "a", true))
            return;
        CHECK_INT(count_at(&s, NULL), 2 + i);
        CHECK_OK(lsm_db_put(s.db, s.tree, text(i ? "x" : "y"), text("alone"), true));
        if (i)
            CHECK_OK(lsm_db_flush(s.db));
        store_close(&s);
    }
    CHECK_INT(count_in("a", &k1), 4);
    disk_end();
}

/* ---- R16, R17: settling and flushing ---- */

TEST(R16_settle_is_told_of_a_suspect_log_and_no_more_after_it_is_gone)
{
    struct store s;
    struct lsm_token k;

    if (!store_begin(&s))
        return;
    k = joint(&s, no_token, "k1", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.calls, 1);
    CHECK_INT(host.suspect_calls, 0);
    abandoned(&s, k, "lost");
    k = joint(&s, k, "k2", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 1);
    k = joint(&s, k, "k3", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.calls, 3);
    CHECK_INT(host.suspect_calls, 1);
    store_end(&s);
}

TEST(R16_a_joint_over_an_undecided_token_is_suspect_also_after_an_open)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    k1 = abandoned(&s, no_token, "k1");
    CHECK_OK(lsm_db_publish(s.db, &k1));        /* it was committed after all */
    k2 = joint(&s, k1, "k2", false);
    disk_kill("a", "b");
    solo(&s, k2, "s", false);           /* says that k2 is decided */
    disk_kill("a", "c");
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 1);
    store_close(&s);
    host.suspect_calls = 0;
    hook_token = k2;
    if (!store_open_at(&s, "b", &k2))
        return;
    k2 = joint(&s, k2, "k3", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 1);
    CHECK_INT(count_at(&s, NULL), 3);
    store_close(&s);
    if (!store_open(&s, "c") || !CHECK_OK(lsm_db_publish(s.db, &hook_token)))
        return;
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 2);
    store_end(&s);
}

/* An older database beside it is no crash then: R15 refuses it. D-04 */
TEST(R16_a_close_settles_the_newest_transaction)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    store_close(&s);
    CHECK_INT(host.calls, 1);
    if (!store_open(&s, "a"))
        return;
    CHECK_RC(lsm_db_publish(s.db, &no_token), LSM_STALE);
    k2 = joint(&s, k1, "k2", false);
    abandoned(&s, k2, "lost");                  /* it may yet be committed, and its failed sync hide that k2 is not */
    store_close(&s);
    CHECK_INT(host.calls, 1);
    if (!store_open_at(&s, "a", &k1))           /* a power cut took k2 */
        return;
    k2 = joint(&s, k1, "k2", false);
    host.rc = LSM_IOERR;
    store_close(&s);                            /* loses nothing: the log has all */
    CHECK_INT(host.calls, 2);
    CHECK_INT(host.suspect_calls, 1);
    host.rc = LSM_OK;
    CHECK_INT(count_in("a", &k1), 1);
    CHECK_INT(count_in("a", &k2), 2);
    disk_end();
}

/* A new database in the place of one whose process was killed must not take its store over. */
TEST(R15_the_first_commit_makes_the_creation_known)
{
    struct store s;
    struct lsm_token k1, k2, t;
    struct lsm_txn *other;

    if (!store_begin(&s))
        return;
    CHECK(lsm_db_is_virgin(s.db));
    k1 = joint(&s, no_token, "k1", false);
    disk_kill("a", "b");
    other = begin_put(&s, &k1, "other");
    CHECK_OK(prepare_joint(other, &t));
    CHECK_RC(lsm_db_settle_creation(s.db), LSM_BUSY);
    CHECK_INT(host.calls, 0);
    CHECK_OK(lsm_txn_abort(other));
    CHECK_RC(lsm_db_settle_creation(s.db), LSM_BUSY);   /* the host may have committed it */
    k2 = joint(&s, k1, "k2", false);
    CHECK_OK(lsm_db_settle_creation(s.db));     /* the third time is none */
    CHECK_INT(host.calls, 0);
    k2 = joint(&s, k2, "k3", false);
    CHECK_OK(lsm_db_settle_creation(s.db));
    CHECK_INT(host.calls, 1);
    disk_kill("a", "c");
    for (int i = 0; i < 8; i++)
        CHECK_OK(lsm_db_settle_creation(s.db));
    CHECK_INT(host.calls, 1);
    store_close(&s);

    if (!store_open(&s, "b"))
        return;
    CHECK(lsm_db_is_virgin(s.db));      /* a power cut may have taken all that the host did */
    CHECK_OK(lsm_db_publish(s.db, &k1));
    store_close(&s);
    if (!store_open(&s, "c"))
        return;
    CHECK(!lsm_db_is_virgin(s.db));
    CHECK_RC(lsm_db_publish(s.db, &no_token), LSM_STALE);
    CHECK_OK(lsm_db_settle_creation(s.db));
    store_end(&s);
}

TEST(R15_the_creation_is_not_known_before_its_record_is_on_disk)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT };      /* synchronous=OFF */
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "k1");
    CHECK_OK(lsm_txn_prepare(txn, &how, &t));
    lsm_txn_commit(txn, false);
    CHECK_OK(lsm_db_settle_creation(s.db));
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK(shows_at("b", &t, "k1"));
    disk_end();
}

TEST(R15_a_creation_that_cannot_be_settled_is_tried_again_but_not_at_each_commit)
{
    struct store s;
    struct lsm_token t = no_token;

    if (!store_begin(&s))
        return;
    for (int i = 1; i <= 40; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%d", i);
        t = joint(&s, t, key, false);
        host.rc = i < 4 ? LSM_FSYNC : i < 30 ? LSM_BUSY : LSM_OK;
        CHECK_RC(lsm_db_settle_creation(s.db), (i & (i - 1)) == 0 ? host.rc : LSM_OK);
        if (i == 31)
            disk_kill("a", "b");
    }
    CHECK_INT(host.calls, 6);           /* 1, 2, 4, 8, 16, 32 */
    disk_kill("a", "c");
    store_close(&s);
    if (!store_open(&s, "b"))
        return;
    CHECK(lsm_db_is_virgin(s.db));
    store_close(&s);
    if (!store_open(&s, "c"))
        return;
    CHECK(!lsm_db_is_virgin(s.db));
    store_end(&s);
}

TEST(R17_flush_waits_until_the_store_is_quiet)
{
    struct store s;
    struct lsm_token k1, t;
    struct lsm_txn *a;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    a = begin_put(&s, &k1, "k2");
    CHECK_OK(prepare_joint(a, &t));
    CHECK_RC(lsm_db_flush(s.db), LSM_BUSY);
    CHECK_INT(disk_count("a", ".ldb"), 0);
    lsm_txn_abort(a);
    CHECK_RC(lsm_db_flush(s.db), LSM_BUSY);     /* T may yet be k2 */
    CHECK_INT(disk_count("a", ".ldb"), 0);
    k1 = joint(&s, k1, "k3", true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK(disk_count("a", ".ldb") > 0);
    a = begin_put(&s, &k1, "s");
    CHECK_OK(prepare_solo(a, true, &t));
    CHECK_RC(lsm_db_flush(s.db), LSM_BUSY);
    lsm_txn_commit(a, true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 3);
    store_end(&s);
}

TEST(R17_nothing_is_flushed_that_the_host_has_not_settled)
{
    struct store s, again;
    struct lsm_token k1;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "s0", true);
    k1 = joint(&s, no_token, "k1", false);
    solo(&s, k1, "s1", false);
    host.rc = LSM_BUSY;
    CHECK_RC(lsm_db_flush(s.db), LSM_BUSY);
    host.rc = LSM_IOERR;
    CHECK_RC(lsm_db_flush(s.db), LSM_IOERR);
    CHECK_INT(disk_count("a", ".ldb"), 0);
    disk_kill("a", "b");
    host.rc = LSM_OK;
    CHECK_RC(lsm_db_flush(s.db), LSM_BUSY);     /* a sync that failed is not tried again */
    CHECK_INT(host.calls, 2);
    k1 = joint(&s, k1, "k2", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 1);
    CHECK_INT(disk_count("a", ".ldb"), 1);
    disk_kill("a", "c");
    store_close(&s);
    if (!store_open_at(&again, "b", &no_token))         /* the power cut took k1 */
        return;
    CHECK_INT(count_at(&again, NULL), 1);
    store_close(&again);
    CHECK_INT(count_in("c", &k1), 4);
    disk_end();
}

TEST(R17_a_flush_that_fails_anywhere_changes_nothing_and_can_be_tried_again)
{
    disk_and_host_begin();
    for (int at = 1; at <= 24; at++) {
        struct store s;
        struct lsm_token k;
        char a[24], b[24];

        snprintf(a, sizeof a, "a%d", at);
        snprintf(b, sizeof b, "b%d", at);
        if (!store_open(&s, a))
            return;
        solo(&s, no_token, "s0", true);
        k = joint(&s, no_token, "k1", true);
        solo(&s, k, "s1", true);
        disk_fail(DISK_WRITE | DISK_SYNC | DISK_DIR_SYNC | DISK_CREATE, at, at % 2, "");
        lsm_db_flush(s.db);
        disk_heal();
        CHECK_INT(count_at(&s, NULL), 3);
        disk_kill(a, b);
        CHECK_INT(count_in(b, &k), 3);
        solo(&s, k, "s2", true);
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
        CHECK_INT(count_in(a, &k), 4);
    }
    disk_end();
}

/* ---- R20: the horizon ---- */

/* G-01 */
TEST(R20_a_reader_whose_history_is_gone_is_told_so_and_one_that_holds_it_reads_on)
{
    struct store s;
    struct lsm_token k1, k2, k3;
    struct lsm_snapshot *held, *late = NULL;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    CHECK_OK(lsm_snapshot_open_at(s.db, &k1, &held));
    k2 = joint(&s, k1, "k2", true);
    k3 = joint(&s, k2, "k1", true);     /* again: an older version to drop */
    CHECK_OK(lsm_db_flush(s.db));
    struct lsm_read read = { .snapshot = held };
    CHECK_INT(count_at(&s, &read), 1);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(count_at(&s, &read), 1);
    CHECK_INT(count_at(&s, NULL), 2);
    CHECK_RC(lsm_snapshot_open_at(s.db, &k1, &late), LSM_CONFLICT);
    CHECK(!late);
    CHECK_RC(lsm_snapshot_open_at(s.db, &no_token, &late), LSM_CONFLICT);
    CHECK_RC(lsm_snapshot_open_at(s.db, &k2, &late), LSM_CONFLICT);
    CHECK_OK(lsm_snapshot_open_at(s.db, &k3, &late));
    lsm_snapshot_close(late);
    lsm_snapshot_close(held);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    store_end(&s);
}

/* While a flush writes its table: two joint commits, and a compaction that raises the horizon. */
static void commit_and_compact(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    disk.hook = NULL;
    hook_older = joint(hook_store, hook_token, "h1", true);
    hook_token = joint(hook_store, hook_older, "h2", true);
    lsm_db_step(hook_store->db);
}

TEST(R20_history_that_went_during_a_flush_is_a_conflict_and_not_another_database)
{
    struct store s;
    struct lsm_token k = no_token;
    struct lsm_snapshot *late;

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 4; i++) {       /* level 0 is due */
        k = joint(&s, k, "same", true);
        CHECK_OK(lsm_db_flush(s.db));
    }
    hook_token = joint(&s, k, "k", true);
    hook_store = &s;
    disk.hook = commit_and_compact;
    CHECK_OK(lsm_db_flush(s.db));
    CHECK(!disk.hook);
    int rc = lsm_snapshot_open_at(s.db, &hook_older, &late);
    CHECK(rc == LSM_CONFLICT || rc == LSM_OK);
    if (rc == LSM_OK)
        lsm_snapshot_close(late);
    CHECK_RC(lsm_snapshot_open_at(s.db, &k, &late), LSM_CONFLICT);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_RC(lsm_snapshot_open_at(s.db, &hook_older, &late), LSM_CONFLICT);
    CHECK_OK(lsm_snapshot_open_at(s.db, &hook_token, &late));
    lsm_snapshot_close(late);
    CHECK_INT(count_at(&s, NULL), 4);
    store_end(&s);
}

/* ---- trees that go while a job runs ---- */

TEST(R20_a_compaction_raises_the_horizon_too)
{
    struct store s;
    struct lsm_token k1 = no_token, k2;
    struct lsm_snapshot *late;

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 11; i++) {      /* level 0 is due */
        k1 = joint(&s, k1, "same", true);
        CHECK_OK(lsm_db_flush(s.db));
    }
    k2 = joint(&s, k1, "k2", true);
    CHECK_OK(lsm_snapshot_open_at(s.db, &k1, &late));
    lsm_snapshot_close(late);
    CHECK_OK(lsm_db_step(s.db));
    CHECK_RC(lsm_snapshot_open_at(s.db, &k1, &late), LSM_CONFLICT);
    CHECK_OK(lsm_snapshot_open_at(s.db, &k2, &late));
    lsm_snapshot_close(late);
    store_end(&s);
}

static struct lsm_tree *hook_tree;
static int hook_wait;

static void drop_tree(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    if (hook_wait-- > 0)
        return;
    disk.hook = NULL;
    CHECK_OK(lsm_tree_drop(hook_store->db, hook_tree));
}

TEST(chain_a_tree_dropped_while_it_is_flushed_or_compacted_harms_nothing)
{
    disk_and_host_begin();
    for (int compact = 0; compact < 2; compact++) {
        struct store s;
        struct lsm_token k;
        struct lsm_txn *txn;
        const char *path = compact ? "b" : "a";

        if (!store_open(&s, path) || !CHECK_OK(lsm_tree_create(s.db, text("other"), NULL, &hook_tree)))
            return;
        txn = begin_put(&s, &no_token, "kept");
        CHECK_OK(lsm_txn_put(txn, hook_tree, text("k"), text("v")));
        CHECK_OK(prepare_joint(txn, &k));
        lsm_txn_commit(txn, true);
        hook_store = &s;
        if (compact) {
            CHECK_OK(lsm_db_flush(s.db));
            txn = begin_put(&s, &k, "kept");
            CHECK_OK(lsm_txn_put(txn, hook_tree, text("k"), text("v")));
            CHECK_OK(prepare_joint(txn, &k));
            lsm_txn_commit(txn, true);
            CHECK_OK(lsm_db_flush(s.db));
            disk.hook = drop_tree;
            CHECK_OK(lsm_db_compact(s.db, hook_tree));
        } else {
            hook_wait = 1;              /* the second table is its own */
            disk.hook = drop_tree;
            CHECK_OK(lsm_db_flush(s.db));
        }
        CHECK(!disk.hook);
        CHECK_STR(lsm_db_state(s.db, NULL), "HEALTHY");
        CHECK(has(&s, "kept"));
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK_INT(disk_count(path, ".ldb"), 1);
        store_close(&s);
        if (!store_open_at(&s, path, &k))
            return;
        CHECK(has(&s, "kept"));
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    disk_end();
}

/* A compaction that starts while a flush runs could meet its tables in the same level. */
static void try_to_compact(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    disk.hook = NULL;
    CHECK_RC(lsm_db_step(hook_store->db), LSM_DONE);
}

TEST(chain_no_compaction_begins_while_a_flush_is_under_way)
{
    struct store s;
    struct lsm_token k = no_token;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 7; i++) {       /* more than level 0 may hold */
        txn = begin_put(&s, &k, "a");
        CHECK_OK(lsm_txn_put(txn, s.tree, text("c"), text("v")));
        CHECK_OK(prepare_joint(txn, &k));
        lsm_txn_commit(txn, true);
        /* The first goes deep, since it overlaps nothing; those after it go to level 0. */
        CHECK_OK(lsm_db_flush(s.db));
    }
    k = joint(&s, k, "x", true);
    hook_store = &s;
    disk.hook = try_to_compact;
    CHECK_OK(lsm_db_flush(s.db));
    CHECK(!disk.hook);
    CHECK_STR(lsm_db_state(s.db, NULL), "HEALTHY");
    while (lsm_db_step(s.db) == LSM_OK)
        ;
    CHECK_STR(lsm_db_state(s.db, NULL), "HEALTHY");
    CHECK_INT(count_at(&s, NULL), 3);
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

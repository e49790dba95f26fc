/*
 * test_order.c -- what must be on disk before what: power cuts at the moment at which a
 * sync, or a sync of the directory, is all that keeps rows (lsm/DESIGN.md, Order on
 * disk). Each test fails when its sync is taken out (tests/mutants).
 */
#include "tests/unit/disk.h"

static char big[4000];

static void put_many(struct lsm_txn *txn, struct lsm_tree *tree, int from, int to)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%06d", i);
        memset(big, 'a' + i % 26, sizeof big);
        CHECK_OK(lsm_txn_put(txn, tree, text(key), (struct lsm_slice){ (uint8_t *)big, sizeof big }));
    }
}

/* After a power cut: so many rows, and every sum is right. */
static void check_cut(const char *path, const struct lsm_token *token, int count)
{
    struct store again;

    if (!store_open_at(&again, path, token))
        return;
    CHECK_INT(count_at(&again, NULL), count);
    CHECK_OK(lsm_db_check(again.db));
    store_close(&again);
}

TEST(C_04_a_flushed_table_and_its_name_are_on_disk_before_its_log_goes)
{
    struct store s;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "1", true);
    solo(&s, no_token, "2", true);
    CHECK_OK(lsm_db_flush(s.db));
    disk_power_cut("a", "b");
    check_cut("b", &no_token, 2);
    store_end(&s);
}

TEST(C_04_a_compacted_table_and_its_name_are_on_disk_before_its_inputs_go)
{
    struct store s;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "1", true);
    CHECK_OK(lsm_db_flush(s.db));
    solo(&s, no_token, "1", true);
    solo(&s, no_token, "2", true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_db_compact(s.db, NULL));
    disk_power_cut("a", "b");
    check_cut("b", &no_token, 2);
    store_end(&s);
}

static struct store *hooked;

static void write_during_flush(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    disk.hook = NULL;
    solo(hooked, no_token, "2", true);
    disk_power_cut("a", "b");
}

static void begin_next_log(bool is_prepared)
{
    struct store s;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "1", true);
    hooked = &s;
    disk.hook = write_during_flush;
    if (!is_prepared)           /* the file that is made before the log slot is taken */
        disk_fail(DISK_CREATE, 1, false, ".log");
    CHECK_OK(lsm_db_flush(s.db));
    disk_heal();
    CHECK(disk.hook == NULL);
    disk.hook = NULL;
    check_cut("b", &no_token, 2);
    store_end(&s);
}

/* C-06 */
TEST(the_name_of_the_next_log_is_on_disk_before_a_record_in_it_counts)
{
    begin_next_log(true);
}

TEST(the_name_of_a_log_that_could_not_be_prepared_is_on_disk_before_a_record_in_it_counts)
{
    begin_next_log(false);
}

TEST(the_names_of_private_tables_are_on_disk_before_the_record_that_adopts_them)
{
    struct store s;
    struct lsm_token token;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "first", true);      /* there is a log: its directory sync comes before */
    txn = begin(&s, &no_token);
    put_many(txn, s.tree, 0, 200);
    CHECK_OK(prepare_joint(txn, &token));
    disk_power_cut("a", "b");
    CHECK(disk_count("a", ".ldb") > 0);
    lsm_txn_commit(txn, true);
    check_cut("b", &token, 201);
    store_end(&s);
}

TEST(a_clean_close_is_on_disk)
{
    struct store s;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "1", true);
    solo(&s, no_token, "2", false);
    store_close(&s);
    disk_power_cut("a", "b");
    check_cut("b", &no_token, 2);
    disk_end();
}

/* CURRENT may be on disk all the same: what it names stays, unless its removal is on disk. */
TEST(a_creation_that_failed_leaves_no_CURRENT_without_its_MANIFEST)
{
    int seen = 0;

    for (int at = 1; at < 8; at++) {
        struct lsm_options o;
        struct lsm_db *db = NULL;
        bool failed;

        disk_and_host_begin();
        lsm_options_init(&o);
        o.os = disk.os;
        o.create_if_missing = o.no_worker = true;
        disk_fail(DISK_DIR_SYNC, at, true, NULL);
        failed = lsm_db_open("a", &o, &db) != LSM_OK;
        disk_heal();
        /* The first sync comes before there is a CURRENT. */
        if (failed && at > 1)
            CHECK(disk_count("a", "MANIFEST") == 1);
        seen += failed;
        lsm_db_close(db);
        disk_end();
        if (!failed)
            break;
    }
    CHECK(seen > 1);
}

TEST(R1_two_transactions_with_one_number_and_the_same_rows_are_told_apart)
{
    struct store s;
    struct lsm_token first, second;

    if (!store_begin(&s))
        return;
    store_close(&s);
    disk_kill("a", "b");
    if (!store_open_at(&s, "a", &no_token))
        return;
    first = joint(&s, no_token, "k", false);
    store_close(&s);
    if (!store_open_at(&s, "b", &no_token))
        return;
    second = joint(&s, no_token, "k", false);
    store_close(&s);
    CHECK_INT(first.txid, second.txid);
    CHECK(memcmp(first.hash, second.hash, sizeof first.hash) != 0);
    disk_end();
}

TEST(R2_a_floor_survives_in_the_records)
{
    struct store s, again;
    struct lsm_token k1;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s", true);
    disk_kill("a", "b");
    store_close(&s);
    /* SQLite had k1 on disk: a database without it is an older one. */
    if (!store_open_as(&again, "b", false))
        return;
    CHECK_RC(lsm_db_publish(again.db, &no_token), LSM_STALE);
    store_end(&again);
}

/* BUSY from COMMIT after the record, then it is committed all the same: its successor is written first. */
TEST(R16_a_joint_written_over_an_undecided_token_is_suspect)
{
    struct store s;
    struct lsm_token k1;
    struct lsm_txn *first;

    if (!store_begin(&s))
        return;
    first = begin_put(&s, &no_token, "k1");
    CHECK_OK(prepare_joint(first, &k1));
    joint(&s, k1, "k2", true);
    lsm_txn_commit(first, true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(host.suspect_calls, 1);
    store_end(&s);
}

/* The MANIFEST's sync of a flush fails, and then the log's: the fresh log begins with what the tables of that flush have. A
   process that dies before its own MANIFEST leaves the edit, which needs no log before the last, and those copies. */
TEST(R11_copies_of_what_an_unsynced_edit_has_flushed_are_none)
{
    int opened = 0;

    disk_and_host_begin();
    for (int at = 1; at <= 16; at++) {
        struct store s;
        struct lsm_txn *txn;
        struct lsm_token k, k2 = { 0 }, t;
        char a[24], b[24];

        snprintf(a, sizeof a, "a%d", at);
        snprintf(b, sizeof b, "b%d", at);
        if (!store_open(&s, a))
            return;
        k = joint(&s, no_token, "k", true);
        solo(&s, k, "s1", true);
        disk_fail(DISK_SYNC, 1, false, "MANIFEST");
        CHECK(lsm_db_flush(s.db) != LSM_OK);
        disk_heal();
        k2 = joint(&s, k, "k2", true);
        txn = begin_put(&s, &k2, "lost");
        disk_fail(DISK_SYNC, 1, false, ".log");
        CHECK_RC(prepare_joint(txn, &t), LSM_FSYNC);
        disk_heal();
        CHECK_OK(lsm_txn_abort(txn));
        txn = begin_put(&s, &k2, "k3");
        disk_fail(DISK_WRITE | DISK_SYNC | DISK_DIR_SYNC, at, true, "");
        (void)prepare_joint(txn, &t);
        disk_heal();
        disk_kill(a, b);
        CHECK_OK(lsm_txn_abort(txn));
        store_close(&s);
        if (store_open_at(&s, b, &k2)) {
            opened += shows(&s, "k s1 k2 !lost !k3");
            CHECK_INT(count_at(&s, NULL), 3);
            CHECK_OK(lsm_db_check(s.db));
            k2 = joint(&s, k2, "k4", true);
            store_close(&s);
            CHECK(shows_at(b, &k2, "k s1 k2 k4 !lost !k3"));
        }
    }
    CHECK_INT(opened, 16);
    disk_end();
}

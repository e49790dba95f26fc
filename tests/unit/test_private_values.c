/*
 * test_private_values.c -- long values of transactions that spill, and of ingests, stand in
 * value logs that come and go with the transaction's private tables: written once,
 * read from the first moment on, lost in no crash, left behind by nobody.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

#define VALUE_SIZE 4096

/* Half of it does not repeat, so that no two values are alike. */
static struct lsm_slice value_of(int i, uint8_t value[VALUE_SIZE])
{
    uint64_t x = (uint64_t)i + 1;

    for (size_t n = 0; n < VALUE_SIZE; n++) {
        if (n % 16 == 0)
            x = x * UINT64_C(0x9e3779b97f4a7c15) + 1;
        value[n] = n % 16 < 8 ? (uint8_t)(x >> n % 8 * 8) : 'v';
    }
    return (struct lsm_slice){ value, VALUE_SIZE };
}

static struct lsm_slice key_of(int i, char key[16])
{
    snprintf(key, 16, "%06d", i);
    return text(key);
}

static void put_many(struct lsm_txn *txn, struct lsm_tree *tree, int from, int to)
{
    uint8_t value[VALUE_SIZE];
    char key[16];

    for (int i = from; i < to; i++)
        if (!CHECK_OK(lsm_txn_put(txn, tree, key_of(i, key), value_of(i, value))))
            return;
}

static bool ingest(struct lsm_txn *txn, struct lsm_tree *tree, int from, int to)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_ingest *in;
    char key[16];

    if (!CHECK_OK(lsm_ingest_begin(txn, tree, &in)))
        return false;
    for (int i = from; i < to; i++)
        if (!CHECK_OK(lsm_ingest_add(in, key_of(i, key), value_of(i, value)))) {
            lsm_ingest_abort(in);
            return false;
        }
    return CHECK_OK(lsm_ingest_finish(in));
}

/* Rows [from, to), and no others: by key, forwards and backwards. */
static bool holds(struct store *s, const struct lsm_read *read, int from, int to)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_slice got;
    struct lsm_cursor *c;
    char key[16];
    bool ok = true;
    int i;

    for (i = from; i < to && ok; i++) {
        struct lsm_value v;
        ok = CHECK_OK(lsm_tree_get(s->tree, read, key_of(i, key), &v)) &&
             CHECK(lsm_slice_equal(v.bytes, value_of(i, value)));
        lsm_value_release(&v);
    }
    if (!ok || !CHECK_OK(lsm_cursor_open(s->tree, read, &c)))
        return false;
    i = from;
    for (int rc = lsm_cursor_first(c); rc == LSM_OK && ok; rc = lsm_cursor_next(c), i++)
        ok = CHECK_OK(lsm_cursor_read(c, &got)) && CHECK(lsm_slice_equal(got, value_of(i, value)));
    ok = ok && CHECK_INT(i, to);
    for (int rc = lsm_cursor_last(c); rc == LSM_OK && ok; rc = lsm_cursor_prev(c))
        ok = CHECK_OK(lsm_cursor_read(c, &got)) && CHECK(lsm_slice_equal(got, value_of(--i, value)));
    lsm_cursor_close(c);
    return ok && CHECK_INT(i, from);
}

static struct lsm_txn *begin_alone(struct store *s)
{
    struct lsm_txn *txn = NULL;

    CHECK_OK(lsm_txn_begin(s->db, NULL, &txn));
    return txn;
}

static bool begin_test(struct store *s)
{
    disk_and_host_begin();
    return store_open_as(s, "a", true);
}

TEST(private_values_are_written_once_and_read_at_every_stage)
{
    for (int is_ingest = 0; is_ingest < 2; is_ingest++) {
        struct store s;
        struct lsm_txn *txn;

        if (!begin_test(&s))
            return;
        txn = begin_alone(&s);
        struct lsm_read own = { .txn = txn };
        if (is_ingest)
            CHECK(ingest(txn, s.tree, 0, 120));
        else
            put_many(txn, s.tree, 0, 120);
        CHECK(disk_count("a", ".vlog") > 0);
        CHECK(holds(&s, &own, 0, 120));
        CHECK_INT(count_at(&s, NULL), 0);
        CHECK_OK(lsm_txn_commit_alone(txn, true));
        CHECK(holds(&s, NULL, 0, 120));
        CHECK_OK(lsm_db_check(s.db));
        CHECK_OK(lsm_db_flush(s.db));
        CHECK(holds(&s, NULL, 0, 120));
        CHECK_OK(lsm_db_check(s.db));
        CHECK(s.db->view->version->vlog_count > 0);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK(holds(&s, NULL, 0, 120));
        /* Of 490 KB the newest rows of a spilled transaction are in its record; the others never again. */
        CHECK(stat_of(s.db, "log_bytes_written") + stat_of(s.db, "flush_bytes_written") +
              stat_of(s.db, "compact_bytes_written") < 120000);
        store_close(&s);
        if (!store_open_as(&s, "a", true))
            return;
        CHECK(holds(&s, NULL, 0, 120));
        CHECK_OK(lsm_db_check(s.db));
        store_end(&s);
    }
}

TEST(ingested_values_of_many_tables_share_their_logs)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    struct store s;
    char key[64];

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    CHECK_OK(lsm_ingest_begin(txn, s.tree, &in));
    for (int i = 0; i < 30000; i++) {
        struct lsm_slice v = value_of(i, value);
        snprintf(key, sizeof key, "%06d, and more", i);
        v.size = i % 100 == 0 ? 1024 : 120;
        CHECK_OK(lsm_ingest_add(in, text(key), v));
    }
    CHECK_OK(lsm_ingest_finish(in));
    CHECK(txn->run_count > 5);
    CHECK_INT(disk_count("a", ".vlog"), 1);
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_OK(lsm_db_check(s.db));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(s.db->view->version->vlogs[0].live_count, 300);
    CHECK_INT(count_at(&s, NULL), 30000);
    store_end(&s);
}

/* Many marks make many tables; a log for each would be a file for a value or two. */
TEST(stretches_between_marks_that_are_small_keep_their_values)
{
    struct lsm_txn *txn;
    struct store s;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    for (int i = 0; i < 100; i++) {
        lsm_txn_mark(txn);
        put_many(txn, s.tree, i, i + 1);
    }
    CHECK(disk_count("a", ".ldb") > 20);
    CHECK_INT(disk_count("a", ".vlog"), 0);
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK(holds(&s, NULL, 0, 100));
    store_end(&s);
}

TEST(private_value_logs_go_with_a_rollback_and_with_an_abort)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    struct store s;
    uint64_t mark;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    mark = lsm_txn_mark(txn);
    put_many(txn, s.tree, 0, 200);
    CHECK(ingest(txn, s.tree, 50, 250));
    CHECK(disk_count("a", ".vlog") > 1);
    lsm_txn_rollback_to(txn, mark);
    CHECK_INT(disk_count("a", ".vlog") + disk_count("a", ".ldb"), 0);
    put_many(txn, s.tree, 0, 200);
    CHECK_OK(lsm_ingest_begin(txn, s.tree, &in));
    CHECK_OK(lsm_ingest_add(in, text("x"), value_of(1, value)));
    lsm_ingest_abort(in);
    lsm_txn_discard_tree(txn, s.tree);
    CHECK_INT(disk_count("a", ".vlog") + disk_count("a", ".ldb"), 0);
    CHECK(ingest(txn, s.tree, 0, 100));
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(disk_count("a", ".vlog") + disk_count("a", ".ldb"), 0);
    CHECK_INT(lsm_vlogs_open_count(s.db->vlogs), 0);
    store_end(&s);
}

/* A cursor reads a value when it is asked for: by then its transaction may have given up the row, or ended. */
TEST(cursor_reads_values_that_its_transaction_has_given_up)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_cursor *c[2];
    struct lsm_slice got;
    struct lsm_txn *txn;
    struct store s;
    uint64_t mark;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    mark = lsm_txn_mark(txn);
    CHECK(ingest(txn, s.tree, 0, 100));
    struct lsm_read own = { .txn = txn };
    for (int i = 0; i < 2; i++) {
        CHECK_OK(lsm_cursor_open(s.tree, &own, &c[i]));
        CHECK_OK(lsm_cursor_first(c[i]));
    }
    lsm_txn_rollback_to(txn, mark);
    CHECK_INT(disk_count("a", ".vlog"), 0);
    CHECK_OK(lsm_cursor_read(c[0], &got));
    CHECK(lsm_slice_equal(got, value_of(0, value)));
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_OK(lsm_cursor_read(c[1], &got));
    CHECK(lsm_slice_equal(got, value_of(0, value)));
    lsm_cursor_close(c[0]);
    lsm_cursor_close(c[1]);
    store_end(&s);
}

/* A reader of before the flush finds the log among its unit's, also when the version has a newer file of it, or none. */
TEST(private_value_logs_stay_for_readers_from_before_the_flush)
{
    uint8_t value[VALUE_SIZE];
    struct lsm_slice got;
    struct lsm_cursor *c;
    struct lsm_txn *txn;
    struct store s;
    char key[16];
    int i = 0;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    CHECK(ingest(txn, s.tree, 0, 100));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    CHECK_OK(lsm_db_flush(s.db));
    for (int n = 0; n < 80; n++)
        CHECK_OK(lsm_db_delete(s.db, s.tree, key_of(n, key), false));
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 20);    /* rewritten */
    CHECK_OK(lsm_tree_drop(s.db, s.tree));
    CHECK_OK(lsm_db_flush(s.db));
    lsm_db_step(s.db);
    CHECK_INT(s.db->view->version->vlog_count, 0);
    do {
        CHECK_OK(lsm_cursor_read(c, &got));
        CHECK(lsm_slice_equal(got, value_of(i++, value)));
    } while (lsm_cursor_next(c) == LSM_OK);
    CHECK_INT(i, 100);
    lsm_cursor_close(c);
    CHECK_OK(lsm_tree_create(s.db, text("another"), NULL, &s.tree));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("k"), text("v"), false));
    CHECK_OK(lsm_db_flush(s.db));       /* sweeps */
    CHECK_INT(disk_count("a", ".vlog"), 0);
    store_end(&s);
}

TEST(private_value_logs_survive_a_crash_and_wait_for_their_token)
{
    struct lsm_token k1;
    struct store s, again;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    CHECK(ingest(txn, s.tree, 0, 100));
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
        /* Somebody writes: orphans are swept, the logs that may come to life are none. */
        abandoned(&again, no_token, "x");
        CHECK_INT(disk_count(path, ".vlog"), 1);
        CHECK_OK(lsm_db_publish(again.db, &k1));
        CHECK(holds(&again, NULL, 0, 100));
        CHECK_OK(lsm_db_check(again.db));
        store_close(&again);
    }
    disk_end();
}

TEST(private_value_logs_of_a_crash_are_swept_by_the_next_writer)
{
    struct store s, again;
    struct lsm_txn *txn;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    put_many(txn, s.tree, 0, 200);
    disk_kill("a", "b");
    CHECK_OK(lsm_txn_abort(txn));
    store_close(&s);
    CHECK(disk_count("b", ".vlog") > 0);
    if (!store_open_as(&again, "b", true))
        return;
    CHECK_OK(lsm_db_put(again.db, again.tree, text("k"), text("v"), true));
    CHECK_INT(disk_count("b", ".vlog"), 0);
    store_end(&again);
}

TEST(private_values_survive_a_power_cut_behind_each_stage)
{
    struct store s, again;
    struct lsm_txn *txn;

    for (int stage = 0; stage < 3; stage++) {
        if (!begin_test(&s))
            return;
        CHECK_OK(lsm_db_put(s.db, s.tree, text("000000"), text("the log is there"), true));
        txn = begin_alone(&s);
        put_many(txn, s.tree, 0, 150);
        CHECK(ingest(txn, s.tree, 150, 200));
        CHECK_OK(lsm_txn_commit_alone(txn, true));
        if (stage > 0)
            CHECK_OK(lsm_db_flush(s.db));
        if (stage > 1)
            CHECK_OK(lsm_db_compact(s.db, NULL));
        disk_power_cut("a", "b");
        store_close(&s);
        if (!store_open_as(&again, "b", true))
            return;
        CHECK(holds(&again, NULL, 0, 200));
        CHECK_OK(lsm_db_check(again.db));
        CHECK_OK(lsm_db_compact(again.db, NULL));
        CHECK(holds(&again, NULL, 0, 200));
        store_end(&again);
    }
}

TEST(private_values_that_only_a_record_knows_are_in_a_backup_and_in_a_repair)
{
    struct lsm_options o;
    struct lsm_repair_info info;
    struct store s, copy;
    struct lsm_txn *txn;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    put_many(txn, s.tree, 0, 150);
    CHECK(ingest(txn, s.tree, 150, 200));
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    store_close(&s);
    if (store_open_as(&copy, "b", true)) {
        CHECK(holds(&copy, NULL, 0, 200));
        CHECK_OK(lsm_db_check(copy.db));
        store_close(&copy);
    }
    lsm_options_init(&o);
    o.os = disk.os;
    CHECK_OK(lsm_db_repair("a", "c", &o, NULL, &info));
    CHECK_INT(info.values_lost, 0);
    if (store_open_as(&copy, "c", true)) {
        CHECK(holds(&copy, NULL, 0, 200));
        store_close(&copy);
    }
    disk_end();
}

TEST(private_value_log_that_is_damaged_is_told_before_the_flush)
{
    struct lsm_file_info info;
    struct lsm_file *file;
    struct lsm_dir *dir;
    bool created;
    struct lsm_txn *txn;
    struct store s;

    if (!begin_test(&s))
        return;
    txn = begin_alone(&s);
    CHECK(ingest(txn, s.tree, 0, 100));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_OK(lsm_db_check(s.db));
    CHECK_INT(disk.os->dir_open(disk.os, "a", false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && strstr(disk.live[i].name, ".vlog")) {
            CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_WRITE, 0, &file), 0);
            CHECK_INT(disk.os->file_info(file, &info), 0);
            CHECK_INT(disk.os->file_write(file, "x", 1, info.size - 20), 0);    /* no value's */
            disk.os->file_close(file);
        }
    disk.os->dir_close(dir);
    CHECK_RC(lsm_db_check(s.db), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), ".vlog") != NULL);
    store_end(&s);
}

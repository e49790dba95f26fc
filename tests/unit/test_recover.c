/*
 * test_recover.c -- a log that was begun ahead: before the one that it follows was
 * synced (store/log.h). What a power cut takes of the two is a tail of both together,
 * and what a sync was asked for stays.
 */
#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "tests/unit/used.h"

static uint64_t log_seen[8];
static size_t log_count;

static int collect(void *ctx, const char *name)
{
    enum lsm_file_kind kind;
    uint64_t number;

    (void)ctx;
    if (lsm_filename_parse(name, &kind, &number) && kind == LSM_FILE_LOG && log_count < 8)
        log_seen[log_count++] = number;
    return 0;
}

static struct lsm_dir *open_dir(const char *path)
{
    struct lsm_dir *dir = NULL;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    return dir;
}

/* Lose the oldest log's tail: all but its first `keep` bytes. */
static void lose_tail(const char *path, uint64_t keep)
{
    struct lsm_dir *dir = open_dir(path);
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    uint64_t oldest = UINT64_MAX;

    log_count = 0;
    CHECK_INT(disk.os->dir_list(dir, collect, NULL), 0);
    for (size_t i = 0; i < log_count; i++)
        oldest = log_seen[i] < oldest ? log_seen[i] : oldest;
    CHECK_INT(log_count, 2);
    lsm_filename(name, LSM_FILE_LOG, oldest);
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_truncate(file, keep), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

static void put(struct store *s, const char *key, bool sync)
{
    CHECK_OK(lsm_db_put(s->db, s->tree, text(key), text("value"), sync));
}

/* "1" and "2" stand in a log that is not synced, "3" in the one that was begun behind it, and the flush
   that would have made the first one needless has failed. Returns where the log ended behind "1". */
static uint64_t make(struct store *s)
{
    uint64_t behind_1;

    disk_begin();
    if (!store_open_as(s, "a", true))
        return 0;
    put(s, "1", false);
    behind_1 = s->db->log.size;
    put(s, "2", false);
    disk_fail(DISK_CREATE, 1, true, ".ldb");
    CHECK(lsm_db_flush(s->db) != LSM_OK);
    disk_heal();
    CHECK(s->db->has_log_before);
    put(s, "3", false);
    return behind_1;
}

static int count_alone(const char *path)
{
    struct store s;
    int count = -1;

    if (store_open_as(&s, path, true)) {
        count = count_at(&s, NULL);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    return count;
}

TEST(C_05_a_log_behind_a_tail_that_was_never_synced_is_void)
{
    uint64_t behind_1;
    struct store s, again;

    behind_1 = make(&s);
    disk_kill("a", "b");
    CHECK_INT(count_alone("b"), 3);        /* a kill takes nothing */
    disk_kill("a", "c");
    lose_tail("c", behind_1);
    if (store_open_as(&again, "c", true)) {
        CHECK_INT(count_at(&again, NULL), 1);
        CHECK(has(&again, "1") && !has(&again, "3"));
        CHECK_OK(lsm_db_check(again.db));
        put(&again, "4", true);         /* what was void stays so */
        disk_power_cut("c", "d");
        CHECK_INT(count_alone("d"), 2);
        store_close(&again);
        CHECK_INT(count_alone("c"), 2);
    }
    store_close(&s);
    CHECK_INT(count_alone("a"), 3);
    disk_end();
}

TEST(C_05_a_log_that_relied_on_the_one_before_shows_that_its_tail_is_missing)
{
    for (int way = 0; way < 4; way++) {
        uint64_t behind_1;
        struct lsm_token token;
        struct lsm_txn *txn;
        struct lsm_options o;
        struct lsm_db *db;
        struct store s;

        behind_1 = make(&s);
        if (way < 2) {
            put(&s, "4", true);         /* a sync of one is a sync of both */
        } else {
            txn = begin_put(&s, NULL, "4");
            CHECK_OK(prepare_solo(txn, true, &token));
            lsm_txn_commit(txn, false);
        }
        CHECK(!s.db->has_log_before);
        if (way % 2)
            put(&s, "5", false);
        disk_power_cut("a", "b");
        CHECK_INT(count_alone("b"), 4);
        disk_kill("a", "c");
        lose_tail("c", behind_1);
        lsm_options_init(&o);
        o.os = disk.os;
        o.no_worker = true;
        CHECK_RC(lsm_db_open("c", &o, &db), LSM_CORRUPT);
        CHECK(strstr(lsm_error_text(), "log hole"));
        store_end(&s);
    }
}

TEST(C_05_what_a_close_or_a_sync_covers_is_on_disk_in_both_logs)
{
    struct store s;

    make(&s);
    store_close(&s);
    disk_power_cut("a", "b");
    CHECK_INT(count_alone("b"), 3);
    disk_end();
}

TEST(C_05_a_third_log_begins_when_the_first_is_on_disk)
{
    struct store s;

    make(&s);
    disk_fail(DISK_CREATE, 1, true, ".ldb");
    CHECK(lsm_db_flush(s.db) != LSM_OK);
    disk_heal();
    put(&s, "4", false);
    disk_power_cut("a", "b");
    CHECK_INT(count_alone("b"), 3);
    store_end(&s);
}

TEST(C_05_a_failed_sync_of_the_log_before_moves_both_to_a_fresh_one)
{
    struct store s;

    make(&s);
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(lsm_db_put(s.db, s.tree, text("4"), text("value"), true), LSM_FSYNC);
    disk_heal();
    put(&s, "5", true);
    disk_power_cut("a", "b");
    CHECK(count_alone("b") >= 4);
    store_end(&s);
}

TEST(a_log_whose_rows_are_in_tables_is_never_synced)
{
    unsigned syncs;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put(&s, "1", false);
    syncs = disk.log_syncs;
    put(&s, "2", false);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(disk.log_syncs - syncs, 1);       /* the next one's header */
    CHECK(!s.db->has_log_before);
    put(&s, "3", true);
    CHECK_INT(disk.log_syncs - syncs, 2);
    disk_power_cut("a", "b");
    CHECK_INT(count_alone("b"), 3);
    store_end(&s);
}

static struct store *in_flush;

static void fail_the_manifest(const char *name)
{
    if (!strstr(name, "MANIFEST"))
        return;
    disk.hook = NULL;
    disk_fail(DISK_SYNC, 1, false, "MANIFEST");
}

static void fail_a_sync(void)
{
    put(in_flush, "2", true);
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(lsm_db_put(in_flush->db, in_flush->tree, text("no"), text("value"), true), LSM_FSYNC);
    disk_heal();
}

/* While a flush writes its tables a sync of the log fails, and writing goes on in a fresh one. */
static void begin_a_fresh_log(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    disk.hook = NULL;
    fail_a_sync();
    put(in_flush, "3", true);
}

/* The same, but the fresh one cannot be named: it stays, and nothing is written to it. */
static void leave_a_fresh_log(const char *name)
{
    if (!strstr(name, ".ldb"))
        return;
    disk.hook = fail_the_manifest;
    fail_a_sync();
}

TEST(a_flush_does_not_name_a_log_that_is_older_than_a_fresh_one)
{
    for (int way = 0; way < 2; way++) {
        struct store s;

        disk_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put(&s, "1", true);
        in_flush = &s;
        disk.hook = way ? leave_a_fresh_log : begin_a_fresh_log;
        CHECK_OK(lsm_db_flush(s.db));
        CHECK(!disk.hook);
        put(&s, "3", true);
        put(&s, "4", true);
        disk_kill("a", "b");
        CHECK_INT(count_alone("b"), 4);
        disk_power_cut("a", "c");
        CHECK_INT(count_alone("c"), 4);
        CHECK_INT(count_at(&s, NULL), 4);
        store_close(&s);
        CHECK_INT(count_alone("a"), 4);
        disk_end();
    }
}

/* ---- the head start of a log that is about to be left ---- */

TEST(a_head_start_of_the_sync_that_fails_makes_a_fresh_log_of_all_that_counts)
{
    for (int fails = 0; fails < 2; fails++) {
        static char big[2000];
        uint64_t number;
        struct store s;
        char key[16];

        if (!store_begin(&s))
            return;
        CHECK_OK(lsm_db_publish(s.db, &no_token));
        for (int i = 0; i < 200; i++) {
            struct lsm_txn *txn = begin(&s, &no_token);
            struct lsm_token token;

            snprintf(key, sizeof key, "%06d", i);
            memset(big, 'a' + i % 26, sizeof big);
            CHECK_OK(lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ (uint8_t *)big, sizeof big }));
            CHECK_OK(prepare_solo(txn, false, &token));
            lsm_txn_commit(txn, false);
        }
        number = s.db->log.number;
        if (fails)
            disk_fail(DISK_SYNC, 1, false, ".log");
        CHECK_OK(lsm_db_flush(s.db));
        disk_heal();
        CHECK_INT(s.db->log.number > number + 1, fails);
        CHECK(!s.db->log.failed);
        disk_power_cut("a", "b");
        store_close(&s);
        CHECK_INT(count_in("b", &no_token), 200);
        disk_end();
    }
}

static bool is_lost;

/* A sync that fails, after which the machine has read anew what is on disk. */
static int sync_and_lose(struct lsm_file *file)
{
    if (!is_lost || !strstr(disk_open_name(file), ".log"))
        return disk_sync(file);
    is_lost = false;
    for (int i = 0; i < DISK_FILES; i++)
        if (disk.open[i].file == file)
            disk.real.file_truncate(file, disk.files[disk.open[i].id].size);
    return EIO;
}

TEST(a_fresh_log_does_not_leave_out_what_a_failed_sync_lost)
{
    struct store s;
    int rc;

    disk_begin();
    disk.os->file_sync = sync_and_lose;
    if (!store_open_as(&s, "a", true))
        return;
    put(&s, "1", true);
    put(&s, "2", false);
    is_lost = true;
    CHECK_RC(lsm_db_put(s.db, s.tree, text("3"), text("value"), true), LSM_FSYNC);
    CHECK(!is_lost && has(&s, "2"));
    rc = lsm_db_put(s.db, s.tree, text("4"), text("value"), true);
    disk_power_cut("a", "b");
    CHECK(rc == LSM_OK ? count_alone("b") == 3 : count_alone("b") == 1);
    CHECK(lsm_db_close(s.db) != LSM_OK);
    CHECK_INT(count_alone("a"), 1);
    disk_end();
}

TEST(a_fresh_log_does_not_leave_out_what_was_lost_of_an_older_log_since_the_open)
{
    uint64_t behind_1;
    struct store s, again;

    behind_1 = make(&s);
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open_as(&again, "b", true))
        return;
    CHECK_INT(count_at(&again, NULL), 3);
    lose_tail("b", behind_1);           /* of two: "2", and "3" stands in the newer one */
    CHECK_RC(lsm_db_put(again.db, again.tree, text("4"), text("value"), true), LSM_FSYNC);
    store_close(&again);
    CHECK_INT(count_alone("b"), 1);
    disk_end();
}

/* ---- the end that a clean close records ---- */

static void newest_log(const char *path, char name[LSM_FILENAME_SIZE])
{
    struct lsm_dir *dir = open_dir(path);
    uint64_t newest = 0;

    log_count = 0;
    CHECK_INT(disk.os->dir_list(dir, collect, NULL), 0);
    for (size_t i = 0; i < log_count; i++)
        newest = log_seen[i] > newest ? log_seen[i] : newest;
    disk.os->dir_close(dir);
    lsm_filename(name, LSM_FILE_LOG, newest);
}

static void flip(const char *path, const char *name, uint64_t at)
{
    struct lsm_dir *dir = open_dir(path);
    struct lsm_file *file;
    uint8_t byte;
    size_t got;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_read(file, &byte, 1, at, &got), 0);
    byte ^= 16;
    CHECK_INT(disk.os->file_write(file, &byte, 1, at), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

static void check_damage_is_seen(const char *path, const char *log, uint64_t at)
{
    struct lsm_options o;
    struct lsm_db *db;

    flip(path, log, at);
    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    if (!CHECK_RC(lsm_db_open(path, &o, &db), LSM_CORRUPT))
        lsm_db_close(db);
    else
        CHECK(strstr(lsm_error_text(), "ends elsewhere"));
}

/* It begins a MANIFEST, and no log. */
static void create_a_tree(const char *path, const char *name)
{
    struct lsm_tree *tree;
    struct store s;

    if (!store_open_as(&s, path, true))
        return;
    CHECK_INT(count_at(&s, NULL), 20);
    CHECK_OK(lsm_tree_create(s.db, text(name), NULL, &tree));
    CHECK(!s.db->has_log);
    store_close(&s);
}

static void kill_at_a_log(const char *name)
{
    if (strstr(name, ".log")) {
        disk.hook = NULL;
        disk_kill("a", "killed");
    }
}

TEST(the_end_of_a_closed_log_stays_known_until_the_next_log)
{
    char log[LSM_FILENAME_SIZE], key[8];
    uint64_t at = 0;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "%d", i);
        put(&s, key, false);
        if (i == 15)
            at = s.db->log.size - 4;
    }
    store_close(&s);
    newest_log("a", log);

    disk_kill("a", "b");
    CHECK_INT(count_alone("b"), 20);    /* only reads */
    check_damage_is_seen("b", log, at);
    create_a_tree("a", "t1");
    disk_kill("a", "c");
    check_damage_is_seen("c", log, at);
    create_a_tree("a", "t2");
    CHECK_INT(count_alone("a"), 20);
    create_a_tree("a", "t3");
    disk_power_cut("a", "d");
    check_damage_is_seen("d", log, at);

    /* A fresh log that nobody named: what it copies from is still needed. */
    if (!store_open_as(&s, "a", true))
        return;
    disk.hook = kill_at_a_log;
    put(&s, "next", true);
    CHECK(!disk.hook);
    CHECK(disk_count("killed", ".log") == 2);
    disk_kill("killed", "e");
    check_damage_is_seen("e", log, at);
    create_a_tree("killed", "t4");
    disk_kill("killed", "f");
    check_damage_is_seen("f", log, at);

    /* The next log: neither a crash nor a close makes a whole store look damaged. */
    disk_power_cut("a", "g");
    CHECK_INT(count_alone("g"), 21);
    put(&s, "unsynced", false);
    disk_power_cut("a", "h");
    CHECK_INT(count_alone("h"), 21);
    CHECK_OK(lsm_db_flush(s.db));
    disk_power_cut("a", "i");
    CHECK_INT(count_alone("i"), 22);
    store_close(&s);
    CHECK_INT(count_alone("a"), 22);
    disk_end();
}

/* ---- memory of an open behind a crash ---- */

TEST(rows_of_a_log_are_in_memory_once_while_it_is_read)
{
    enum { COUNT = 8000 };
    uint64_t before, after;
    struct store s, again;
    char key[16];

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%06d", i);
        put(&s, key, false);
    }
    disk_kill("a", "b");
    before = used_begin();
    if (store_open_as(&again, "b", true)) {
        after = disk.os->mem_used(disk.os);
        CHECK(after - before > COUNT * 20);
        CHECK(used_max - before < after - before + (320 << 10));     /* with what is read ahead */
        CHECK_INT(count_at(&again, NULL), COUNT);
        store_close(&again);
    }
    store_close(&s);
    disk_end();
}

static void kill_at_the_second_sync_of_a_log(const char *name)
{
    if (strstr(name, ".log"))
        disk.hook = kill_at_a_log;
}

/* What is not plain is judged when all of it is read: here, copies of what an older log has as well. */
TEST(rows_that_two_logs_have_are_there_once)
{
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < 9; i++)
        put(&s, i % 2 ? "1" : "2", true);
    store_close(&s);
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_INT(s.db->seq_alloc, 9);
    disk.hook = kill_at_the_second_sync_of_a_log;
    put(&s, "3", true);         /* its log begins with copies, and is then synced */
    CHECK(!disk.hook);
    disk_kill("a", "b");
    store_close(&s);
    for (int way = 0; way < 2; way++) {
        if (!store_open_as(&s, way ? "b" : "killed", true))
            return;
        CHECK_INT(s.db->seq_alloc, way ? 10 : 9);
        CHECK_INT(count_at(&s, NULL), way ? 3 : 2);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    disk_end();
}

TEST(a_row_that_was_taken_back_behind_it_does_not_come_back)
{
    struct lsm_token token;
    struct lsm_txn *txn;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put(&s, "1", true);
    txn = begin_put(&s, NULL, "2");
    CHECK_OK(prepare_solo(txn, true, &token));
    CHECK_OK(lsm_txn_abort(txn));
    put(&s, "3", true);
    disk_kill("a", "b");
    store_close(&s);
    CHECK_INT(count_alone("a"), 2);
    CHECK_INT(count_alone("b"), 2);
    disk_end();
}

TEST(a_joint_that_nobody_decided_is_not_shown_to_a_reader_without_a_host)
{
    struct store s;

    if (!store_begin(&s))
        return;
    solo(&s, no_token, "1", true);
    abandoned(&s, no_token, "2");
    disk_kill("a", "b");
    CHECK_INT(count_alone("b"), 1);
    store_end(&s);
}

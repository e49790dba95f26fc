/*
 * test_vtab_twins_threads.c -- everything at once on one database: whatever connections write, check, back up, flush,
 * compact and drop meanwhile, an lsm table and its ordinary twin are equal in every snapshot, and nothing but
 * "busy" is ever an error.
 *
 *     writers     the same statement on both twins, with savepoints, rolled back in part or whole
 *     reader      compares the twins in one transaction, twice
 *     upkeep      lsm_check(), lsm_backup_all() and the twins of the copy, commands, checkpoints, VACUUM, other tables
 */
#include <pthread.h>

#include "tests/unit/sql.h"

#define KEYS 300
#define THREADS 4

static const char differing[] =
    "SELECT (SELECT count(*) FROM (SELECT a, b FROM t EXCEPT SELECT a, b FROM p)) + "
    "(SELECT count(*) FROM (SELECT a, b FROM p EXCEPT SELECT a, b FROM t))";

struct worker {
    char dir[200];
    const char *synchronous;
    int number, steps, open_flags;
    uint64_t random;
    sqlite3 *db;
    int failures, commits, compared, checks, backups;
};

static uint64_t draw(struct worker *w, uint64_t n)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;      /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

static void fail(struct worker *w, const char *sql, const char *why)
{
    printf("  thread %d: %s: %s\n", w->number, sql, why);
    w->failures++;
}

/* In the way of each other they may be; a table that another thread dropped is gone. */
static int run_sql(struct worker *w, const char *sql)
{
    int rc = sql_rc(w->db, sql), primary = rc & 0xff;

    if (rc != SQLITE_OK && primary != SQLITE_BUSY && primary != SQLITE_LOCKED && primary != SQLITE_SCHEMA)
        fail(w, sql, sqlite3_errmsg(w->db));
    return rc;
}

static int get_value(struct worker *w, const char *sql, char *value, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(w->db, sql, -1, &stmt, NULL);

    value[0] = 0;
    if (rc == SQLITE_OK) {
        if (sqlite3_step(stmt) == SQLITE_ROW)
            snprintf(value, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
        rc = sqlite3_finalize(stmt);
    }
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
        fail(w, sql, sqlite3_errmsg(w->db));
    return rc;
}

static void expect(struct worker *w, const char *sql, const char *expected)
{
    char value[300];

    if (get_value(w, sql, value, sizeof value) == SQLITE_OK && strcmp(value, expected) != 0)
        fail(w, sql, value);
}

static void open_connection(struct worker *w, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    if (sqlite3_open_v2(path, &w->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | w->open_flags, NULL) != SQLITE_OK || sqlite3_lsmvtab_init(w->db, NULL, NULL) != SQLITE_OK)
        fail(w, "open", sqlite3_errmsg(w->db));
    sqlite3_busy_timeout(w->db, 100);
    snprintf(path, sizeof path, "PRAGMA synchronous = %s", w->synchronous);
    run_sql(w, path);
}

static void end_transaction(struct worker *w, bool commit)
{
    if (commit && run_sql(w, "COMMIT") == SQLITE_OK)
        w->commits++;
    else if (commit && !sqlite3_get_autocommit(w->db) && draw(w, 2) && run_sql(w, "COMMIT") == SQLITE_OK)
        w->commits++;           /* the second time nobody was in the way */
    if (!sqlite3_get_autocommit(w->db))
        run_sql(w, "ROLLBACK");
}

/* ---- writers ---- */

static void write_both(struct worker *w, const char *format, int a, int b)
{
    char sql[300];

    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof sql, format, i ? "p" : "t", a, b);
        if (run_sql(w, sql) != SQLITE_OK) {
            if (!sqlite3_get_autocommit(w->db))
                run_sql(w, "ROLLBACK"); /* one twin may have it */
            return;
        }
    }
}

static void write_step(struct worker *w)
{
    int changes = (int)draw(w, 8) + 1, depth = 0;

    if (run_sql(w, draw(w, 4) ? "BEGIN IMMEDIATE" : "BEGIN") != SQLITE_OK)
        return;
    for (int i = 0; i < changes; i++) {
        int key = (int)draw(w, KEYS), size = draw(w, 10) ? (int)draw(w, 200) : (int)draw(w, 9000);

        switch (draw(w, 10)) {
        case 0: case 1: case 2: case 3:
            write_both(w, "REPLACE INTO %s VALUES(%d, substr(zeroblob(%d) || 'x', 1))", key, size);
            break;
        case 4:
            write_both(w, "UPDATE %s SET b = b || 'u' WHERE a BETWEEN %d AND %d", key, key + 5);
            break;
        case 5:
            write_both(w, "DELETE FROM %s WHERE a >= %d AND a < %d", key, key + 10);
            break;
        case 6:
            write_both(w, "INSERT OR IGNORE INTO %s VALUES(%d, %d)", key, size);
            break;
        case 7:
            if (run_sql(w, "SAVEPOINT s") == SQLITE_OK)
                depth++;
            break;
        case 8:
            if (depth)
                run_sql(w, "ROLLBACK TO s");
            break;
        case 9:
            expect(w, differing, "0");
            break;
        }
        if (sqlite3_get_autocommit(w->db))
            return;
    }
    end_transaction(w, draw(w, 6) != 0);
}

/* ---- the others ---- */

static void compare(struct worker *w)
{
    if (run_sql(w, "BEGIN") != SQLITE_OK)
        return;
    expect(w, differing, "0");
    if (draw(w, 3) == 0)
        expect(w, differing, "0");
    w->compared++;
    end_transaction(w, true);
}

static void back_up(struct worker *w)
{
    struct worker copy = *w;
    char name[40], sql[300], said[300];

    snprintf(name, sizeof name, "copy%d-%d.db", w->number, w->backups);
    snprintf(sql, sizeof sql, "SELECT lsm_backup_all('%s/%s')", w->dir, name);
    if (get_value(w, sql, said, sizeof said) != SQLITE_OK)
        return;
    w->backups++;
    copy.failures = 0;
    open_connection(&copy, name);
    compare(&copy);
    expect(&copy, "SELECT lsm_check()", "ok");
    sqlite3_close(copy.db);
    w->failures += copy.failures;
}

static void tend(struct worker *w)
{
    static const char *const tasks[] = {
        "INSERT INTO t(t) VALUES('flush')", "INSERT INTO t(t) VALUES('compact')", "INSERT INTO t(t) VALUES('check')",
        "INSERT INTO t(t, _arg) VALUES('memory', '1MB')", "INSERT INTO t(t, _arg) VALUES('memory', '64MB')",
        "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint", "VACUUM",
        "BEGIN IMMEDIATE; CREATE VIRTUAL TABLE IF NOT EXISTS u USING lsm(a PRIMARY KEY); INSERT OR IGNORE INTO u VALUES(1); COMMIT",
        "BEGIN IMMEDIATE; CREATE VIRTUAL TABLE v USING lsm(a PRIMARY KEY); INSERT INTO v VALUES(1); ROLLBACK",
        "DROP TABLE IF EXISTS u", "SELECT count(*) FROM lsm_stats('t')", "SELECT count(*) FROM lsm_levels('t')",
    };
    size_t count = sizeof tasks / sizeof *tasks, task = draw(w, count + 8);

    if (task >= count + 4) {
        expect(w, "SELECT lsm_check()", "ok");
        w->checks++;
    } else if (task >= count) {
        back_up(w);
    } else {
        run_sql(w, tasks[task]);
    }
    if (!sqlite3_get_autocommit(w->db))
        run_sql(w, "ROLLBACK");
}

static void *work(void *pointer)
{
    struct worker *w = pointer;

    open_connection(w, "test.db");
    for (int i = 0; i < w->steps && w->failures == 0; i++) {
        if (draw(w, 50) == 0) {
            sqlite3_close(w->db);
            open_connection(w, "test.db");
        }
        if (w->number < 2)
            write_step(w);
        else if (w->number == 2)
            compare(w);
        else
            tend(w);
    }
    if (sqlite3_close(w->db) != SQLITE_OK)
        fail(w, "close", "statements are left");
    return NULL;
}

static void run_mode(const char *mode, const char *synchronous, int open_flags)
{
    int steps = (int)test_share(test_long() ? 6000 : 600);
    struct worker workers[THREADS], *last = &workers[0];
    pthread_t threads[THREADS];
    char sql[300];

    memset(workers, 0, sizeof workers);
    for (int i = 0; i < THREADS; i++) {
        struct worker *w = &workers[i];

        snprintf(w->dir, sizeof w->dir, "%s", test_dir());
        w->synchronous = synchronous;
        w->number = i;
        w->open_flags = open_flags;
        w->steps = i == 3 ? steps / 2 : steps;
        w->random = test_random();
    }
    open_connection(last, "test.db");
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s; CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); "
             "CREATE TABLE p(a INTEGER PRIMARY KEY, b); INSERT INTO t(t, _arg) VALUES('memory', '1MB')", mode);
    CHECK_INT(run_sql(last, sql), SQLITE_OK);
    sqlite3_close(last->db);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(workers[i].failures, 0);
    }
    open_connection(last, "test.db");
    compare(last);
    expect(last, "SELECT lsm_check()", "ok");
    CHECK_INT(last->failures, 0);
    CHECK_INT(sqlite3_close(last->db), SQLITE_OK);
    printf("  %s %s: %d transactions, compared %d times, %d checks, %d backups\n", mode, synchronous,
           workers[0].commits + workers[1].commits, workers[2].compared, workers[3].checks, workers[3].backups);
    CHECK(workers[0].commits + workers[1].commits > 0);
}

TEST(twins_are_equal_whatever_is_done_at_once_in_wal_mode_normal) { run_mode("WAL", "NORMAL", 0); }
TEST(twins_are_equal_whatever_is_done_at_once_in_wal_mode_full) { run_mode("WAL", "FULL", 0); }
TEST(twins_are_equal_whatever_is_done_at_once_in_delete_mode) { run_mode("DELETE", "FULL", 0); }
TEST(twins_are_equal_whatever_is_done_at_once_in_one_shared_cache) { run_mode("WAL", "NORMAL", SQLITE_OPEN_SHAREDCACHE); }

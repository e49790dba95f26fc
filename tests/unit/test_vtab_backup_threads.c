/*
 * test_vtab_backup_threads.c -- lsm_backup_all() while other connections write:
 * each pair is one commit of both stores, opens, and can be written to.
 */
#include <pthread.h>

#include "tests/unit/sql.h"

static sqlite3 *open_db(const char *path)
{
    sqlite3 *db = NULL;

    if (!CHECK_INT(sqlite3_open(path, &db), SQLITE_OK) ||
        !CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK))
        return NULL;
    sqlite3_busy_timeout(db, 30000);
    return db;
}

static int run_sql(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &error);

    if (rc != SQLITE_OK)
        printf("  %s: %s\n", sql, error);
    sqlite3_free(error);
    return rc;
}

struct writer {
    char path[200];
    bool is_joint;
    const char *sync;
    atomic_bool *stop;
    int count, failures;
};

/* Joint: row n in both tables, at once. Else: row n in s, then row n in p, each a commit of its own. */
static void *write_rows(void *pointer)
{
    struct writer *w = pointer;
    sqlite3 *db = open_db(w->path);
    char sql[400];

    run_sql(db, w->sync);
    /* One at least: where SQLite's lock is not given in turn, that may be when the other writer has stopped. */
    for (int n = 1; n == 1 || !atomic_load(w->stop); n++) {
        if (w->is_joint)
            snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; INSERT INTO jl VALUES(%d, randomblob(50)); "
                     "INSERT INTO jp VALUES(%d); COMMIT", n, n);
        else
            snprintf(sql, sizeof sql, "INSERT INTO s VALUES(%d, randomblob(50)); INSERT INTO p VALUES(%d)",
                     n, n);
        if (run_sql(db, sql) != SQLITE_OK) {
            w->failures++;
            run_sql(db, "ROLLBACK");
        }
        if (n % 150 == 0)
            run_sql(db, w->is_joint ? "INSERT INTO jl(jl) VALUES('flush')" : "INSERT INTO s(s) VALUES('compact')");
        w->count = n;
        usleep(200);
    }
    sqlite3_close(db);
    return NULL;
}

static void check_pair(const char *path, int64_t *joint, int64_t *solo)
{
    sqlite3 *db = open_db(path);
    int64_t s, p, jl, jp;

    jl = sql_value(db, "SELECT count(*) FROM jl");
    jp = sql_value(db, "SELECT count(*) FROM jp");
    s = sql_value(db, "SELECT count(*) FROM s");
    p = sql_value(db, "SELECT count(*) FROM p");
    CHECK_INT(jl, jp);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM jl JOIN jp USING (a)"), jl);
    CHECK(s == p || s == p + 1);
    CHECK_INT(sql_value(db, "SELECT coalesce(max(a), 0) FROM s"), s);
    CHECK(jl >= *joint && s >= *solo);
    *joint = jl;
    *solo = s;
    CHECK_INT(run_sql(db, "INSERT INTO s VALUES(-1, 1); BEGIN; INSERT INTO jl VALUES(-1, 1); "
                          "INSERT INTO jp VALUES(-1); COMMIT; INSERT INTO jl(jl) VALUES('compact')"),
              SQLITE_OK);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM jl"), jl + 1);
    sqlite3_close(db);
    db = open_db(path);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM jl"), jl + 1);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM jp"), jp + 1);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM s"), s + 1);
    sqlite3_close(db);
}

static void run_mode(const char *mode, const char *sync, int rounds)
{
    char path[200], copy[220], sql[300];
    struct writer writers[2] = { 0 };
    pthread_t threads[2];
    atomic_bool stop = false;
    int64_t joint = 0, solo = 0;
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/%s.db", test_dir(), mode);
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s; "
             "CREATE VIRTUAL TABLE jl USING lsm(a INTEGER PRIMARY KEY, b); CREATE TABLE jp(a INTEGER PRIMARY KEY); "
             "CREATE VIRTUAL TABLE s USING lsm(a INTEGER PRIMARY KEY, b); CREATE TABLE p(a INTEGER PRIMARY KEY)",
             mode);
    db = open_db(path);
    CHECK_INT(run_sql(db, sql), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        snprintf(writers[i].path, sizeof writers[i].path, "%s", path);
        writers[i].is_joint = i == 0;
        writers[i].sync = sync;
        writers[i].stop = &stop;
        CHECK(pthread_create(&threads[i], NULL, write_rows, &writers[i]) == 0);
    }
    for (int i = 0; i < rounds && !test_state.failures; i++) {
        usleep(60000);
        snprintf(copy, sizeof copy, "%s/%s-%d.db", test_dir(), mode, i);
        snprintf(sql, sizeof sql, "SELECT lsm_backup_all('%s')", copy);
        if (CHECK_INT(run_sql(db, sql), SQLITE_OK))
            check_pair(copy, &joint, &solo);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(writers[i].failures, 0);
        CHECK(writers[i].count > 0);
    }
    CHECK_INT(sql_value(db, "SELECT count(*) FROM jl"), writers[0].count);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM s"), writers[1].count);
    printf("  %s: %d and %d commits, the last copy has %d and %d\n", mode, writers[0].count,
           writers[1].count, (int)joint, (int)solo);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

TEST(vtab_backup_is_one_commit_of_both_stores_while_others_write)
{
    int rounds = test_long() ? 60 : 8;

    run_mode("WAL", "PRAGMA synchronous = NORMAL", rounds);
    run_mode("DELETE", "PRAGMA synchronous = NORMAL", rounds);
    run_mode("PERSIST", "PRAGMA synchronous = FULL", rounds);
}

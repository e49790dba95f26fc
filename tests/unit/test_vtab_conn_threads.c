/*
 * test_vtab_conn_threads.c -- many connections, each in a thread of its own, on
 * one store: nothing is lost, and a transaction is seen whole or not at all.
 */
#include <pthread.h>

#include "tests/unit/sql.h"

#define THREADS 4
#define ROWS 150

struct worker {
    char path[200];
    int number;
    int failures;
};

static void *insert_and_read(void *pointer)
{
    struct worker *worker = pointer;
    sqlite3 *db = NULL;
    char sql[300];

    if (sqlite3_open(worker->path, &db) != SQLITE_OK
        || sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK)
        worker->failures++;
    sqlite3_busy_timeout(db, 20000);
    sqlite3_exec(db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    for (int i = 0; i < ROWS; i++) {
        int key = worker->number * ROWS + i;
        int64_t t, p;

        if (i % 3 == 0)
            snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%d, %d)", key, i);
        else
            snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; INSERT INTO t VALUES(%d, %d); "
                     "INSERT INTO p VALUES(%d, 1); COMMIT", key, i, key);
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
            printf("thread %d: %s: %s\n", worker->number, sql, sqlite3_errmsg(db));
            worker->failures++;
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        }
        /* Every row of p has its row in t, in one snapshot. */
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
        p = sql_value(db, "SELECT count(*) FROM p");
        t = sql_value(db, "SELECT count(*) FROM t JOIN p USING (a)");
        if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK || t != p) {
            printf("thread %d: t has %d of %d\n", worker->number, (int)t, (int)p);
            worker->failures++;
        }
    }
    sqlite3_close(db);
    return NULL;
}

/* P-12 */
TEST(vtab_conn_many_connections_lose_nothing_and_see_whole_transactions)
{
    char path[200];
    sqlite3 *db;
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    snprintf(path, sizeof(path), "%s/test.db", test_dir());
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_lsmvtab_init(db, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "PRAGMA journal_mode = WAL; "
                       "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); "
                       "CREATE TABLE p(a INTEGER PRIMARY KEY, b)", NULL, NULL, NULL) == SQLITE_OK);
    memset(workers, 0, sizeof(workers));
    for (int i = 0; i < THREADS; i++) {
        snprintf(workers[i].path, sizeof(workers[i].path), "%s", path);
        workers[i].number = i;
        CHECK(pthread_create(&threads[i], NULL, insert_and_read, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(workers[i].failures, 0);
    }
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), THREADS * ROWS);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM p"), THREADS * ROWS * 2 / 3);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

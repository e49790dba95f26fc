/*
 * test_vtab_open_threads.c -- the first use of a store by two connections at once, one of them slow behind every
 * mutex that the extension leaves: a process of its own, in which these mutexes can be told from SQLite's.
 */
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/sql.h"

#define ROUNDS 20

static sqlite3_mutex_methods mutexes;
static _Atomic(sqlite3_mutex *) fast[8];
static atomic_int fast_count;
static _Thread_local bool is_slow;

static sqlite3_mutex *allocate(int type)
{
    sqlite3_mutex *mutex = mutexes.xMutexAlloc(type);

    if (type == SQLITE_MUTEX_FAST && atomic_load(&fast_count) < 8)
        atomic_store(&fast[atomic_fetch_add(&fast_count, 1)], mutex);
    return mutex;
}

/* Whoever waits for a mutex goes on long before the slow thread that left it does. */
static void leave_slowly(sqlite3_mutex *mutex)
{
    int count = atomic_load(&fast_count);

    mutexes.xMutexLeave(mutex);
    for (int i = 0; is_slow && i < count; i++)
        if (atomic_load(&fast[i]) == mutex)
            usleep(3000);
}

struct opener {
    char path[200];
    pthread_barrier_t *start;
    bool is_slow;
    int failures;
};

static void *open_and_read(void *pointer)
{
    struct opener *opener = pointer;

    for (int i = 0; i < ROUNDS; i++) {
        sqlite3 *db = NULL;

        if (sqlite3_open(opener->path, &db) != SQLITE_OK || sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK)
            opener->failures++;
        pthread_barrier_wait(opener->start);
        is_slow = opener->is_slow;
        if (sqlite3_exec(db, "SELECT count(*) FROM t", NULL, NULL, NULL) != SQLITE_OK) {
            printf("  %s: %s\n", is_slow ? "slow" : "fast", sqlite3_errmsg(db));
            opener->failures++;
        }
        is_slow = false;
        pthread_barrier_wait(opener->start);
        sqlite3_close(db);
        pthread_barrier_wait(opener->start);    /* the store is closed again before the next round */
    }
    return NULL;
}

/* A waiter once took a store that was open, but had not its UUID yet, for another database's. */
TEST(vtab_open_a_store_is_whole_to_whoever_waited_for_its_opening)
{
    sqlite3_mutex_methods slow;
    pthread_barrier_t start;
    struct opener openers[2];
    pthread_t threads[2];
    sqlite3 *db;

    memset(openers, 0, sizeof(openers));
    snprintf(openers[0].path, sizeof(openers[0].path), "%s/test.db", test_dir());
    openers[1] = openers[0];
    openers[0].is_slow = true;
    CHECK_INT(sqlite3_initialize(), SQLITE_OK);         /* before it there are none to get */
    CHECK_INT(sqlite3_shutdown(), SQLITE_OK);
    CHECK_INT(sqlite3_config(SQLITE_CONFIG_GETMUTEX, &mutexes), SQLITE_OK);
    slow = mutexes;
    slow.xMutexAlloc = allocate;
    slow.xMutexLeave = leave_slowly;
    CHECK_INT(sqlite3_config(SQLITE_CONFIG_MUTEX, &slow), SQLITE_OK);
    CHECK(sqlite3_open(openers[0].path, &db) == SQLITE_OK);
    CHECK(sqlite3_lsmvtab_init(db, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)", NULL, NULL, NULL) == SQLITE_OK);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    CHECK(fast_count > 0);
    CHECK(pthread_barrier_init(&start, NULL, 2) == 0);
    for (int i = 0; i < 2; i++) {
        openers[i].start = &start;
        CHECK(pthread_create(&threads[i], NULL, open_and_read, &openers[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(openers[i].failures, 0);
    }
    pthread_barrier_destroy(&start);
}

/*
 * test_vtab_memory.c -- what a process holds while it works with lsm tables: the
 * budget, 16 MiB, and no more, whatever is loaded.
 *
 * Each workload runs in a child, which says by how much its peak (VmHWM) rose
 * above what it held before it opened the database: SQLite's own memory counts.
 */
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ext/lsmvtab.h"
#include "lsm/util/slice.h"
#include "tests/stat.h"
#include "tests/test.h"

#define MIB (1024.0 * 1024.0)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_IS_TRUE false            /* red zones, quarantine, shadow */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEMORY_IS_TRUE false
#endif
#endif
#ifndef MEMORY_IS_TRUE
#define MEMORY_IS_TRUE true
#endif

struct work {
    const char *name;
    int budget_mib;
    double limit_mib;           /* of the peak, above what was there */
    bool (*run)(struct work *w);
    uint64_t rows, row_bytes, batch;    /* batch: rows in a transaction */
    sqlite3 *db;
    char path[200];
    uint8_t *value;             /* of row_bytes, there before the measurement */
};

struct outcome {
    double peak_mib;            /* above the base */
    double held_mib;            /* at the end: what the store says that it holds */
    double resident_mib;        /* at the end, above the base */
};

static double status_mib(const char *field)
{
    char line[160];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoul(line + strlen(field) + 1, NULL, 10);
    if (f)
        fclose(f);
    return (double)kib / 1024;
}

static bool sql(struct work *w, const char *text)
{
    char *error = NULL;

    if (sqlite3_exec(w->db, text, NULL, NULL, &error) == SQLITE_OK)
        return true;
    printf("%s: %s: %s\n", w->name, text, error);
    return false;
}

static double sql_double(struct work *w, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    double value = -1;

    if (sqlite3_prepare_v2(w->db, text, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_double(stmt, 0);
    else
        printf("%s: %s: %s\n", w->name, text, sqlite3_errmsg(w->db));
    sqlite3_finalize(stmt);
    return value;
}

static sqlite3 *open_db(struct work *w)
{
    sqlite3 *db = NULL;

    if (sqlite3_open(w->path, &db) != SQLITE_OK || sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_busy_timeout(db, 10000);
    return db;
}

static void child(struct work *w, int to)
{
    struct outcome out = { 0 };
    char text[100];
    double base, resident;
    bool ok;

    w->value = malloc(w->row_bytes);
    for (uint64_t i = 0; i < w->row_bytes; i++)
        w->value[i] = (uint8_t)(test_random() >> 20);
    base = status_mib("VmHWM:");
    resident = status_mib("VmRSS:");
    w->db = open_db(w);
    snprintf(text, sizeof text, "INSERT INTO t(t, _arg) VALUES('memory', '%dMB')", w->budget_mib);
    ok = w->db && sql(w, "PRAGMA journal_mode = WAL") && sql(w, "PRAGMA synchronous = OFF") &&
         sql(w, "CREATE VIRTUAL TABLE t USING lsm(k INTEGER PRIMARY KEY, v BLOB)") && sql(w, text) &&
         w->run(w);
    out.peak_mib = status_mib("VmHWM:") - base;
    out.held_mib = ok ? sql_double(w, "SELECT value FROM lsm_stats('t') WHERE name = 'memory_held'") / MIB : 0;
    out.resident_mib = status_mib("VmRSS:") - resident;
    if (ok && w->db)
        ok = sqlite3_close(w->db) == SQLITE_OK;
    if (write(to, &out, sizeof out) != sizeof out)
        ok = false;
    fflush(stdout);
    _exit(ok ? 0 : 1);
}

static bool everything(struct work *w);

static struct outcome measure(struct work *w)
{
    struct outcome out = { 0 };
    int status, to[2];
    pid_t pid;

    snprintf(w->path, sizeof w->path, "%s/%s.db", test_dir(), w->name);
    fflush(stdout);
    CHECK(pipe(to) == 0);
    pid = fork();
    if (pid == 0)
        child(w, to[1]);
    close(to[1]);
    CHECK(read(to[0], &out, sizeof out) == sizeof out);
    close(to[0]);
    waitpid(pid, &status, 0);
    test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, __FILE__, __LINE__, w->name,
               ": status %d", status);
    printf("  %-24s budget %3d: peak %6.1f of %6.1f MiB; at the end held %.1f, resident %.1f\n", w->name,
           w->budget_mib, out.peak_mib, w->limit_mib, out.held_mib, out.resident_mib);
    if (!MEMORY_IS_TRUE)
        return out;
    test_check(out.peak_mib <= w->limit_mib, __FILE__, __LINE__, w->name, ": a peak of %.1f MiB, not %.1f",
               out.peak_mib, w->limit_mib);
    /* What the store says that it holds is what is resident, but for SQLite's part. */
    test_check(w->run != everything || out.resident_mib <= out.held_mib + 6, __FILE__, __LINE__, w->name,
               ": resident %.1f MiB, but held %.1f", out.resident_mib, out.held_mib);
    return out;
}

/* ---- workloads ---- */

static bool put(struct work *w, sqlite3_stmt *stmt, int64_t key, uint64_t size)
{
    bool ok;

    memcpy(w->value, &key, size < 8 ? size : 8);        /* no two alike */
    sqlite3_bind_int64(stmt, 1, (int64_t)((uint64_t)key * 0x9e3779b97f4a7c15u));
    sqlite3_bind_blob64(stmt, 2, w->value, size, SQLITE_STATIC);
    ok = sqlite3_step(stmt) == SQLITE_DONE;
    if (!ok)
        printf("%s: %s\n", w->name, sqlite3_errmsg(w->db));
    sqlite3_reset(stmt);
    return ok;
}

static bool fill(struct work *w, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(w->db, text, -1, &stmt, NULL) == SQLITE_OK;

    for (uint64_t i = 0; i < w->rows && ok; i++) {
        if (i % w->batch == 0)
            ok = sql(w, i ? "COMMIT; BEGIN" : "BEGIN");
        ok = ok && put(w, stmt, (int64_t)i, w->row_bytes);
    }
    sqlite3_finalize(stmt);
    return ok && sql(w, "COMMIT");
}

static bool get_some(struct work *w, uint64_t count)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(w->db, "SELECT length(v) FROM t WHERE k = ?", -1, &stmt, NULL) == SQLITE_OK;

    for (uint64_t i = 0; i < count && ok; i++) {
        sqlite3_bind_int64(stmt, 1, (int64_t)(test_below(w->rows) * 0x9e3779b97f4a7c15u));
        ok = sqlite3_step(stmt) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(stmt, 0) == w->row_bytes;
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool everything(struct work *w)
{
    return fill(w, "INSERT INTO t VALUES(?, ?)") && get_some(w, w->rows / 4) &&
           sql(w, "SELECT sum(length(v)) FROM t") && fill(w, "REPLACE INTO t VALUES(?, ?)") &&
           get_some(w, w->rows / 4) && sql(w, "UPDATE t SET v = zeroblob(20) WHERE k % 3 = 0") &&
           sql(w, "DELETE FROM t WHERE k % 5 = 1") && sql(w, "INSERT INTO t(t) VALUES('compact')") &&
           sql(w, "SELECT sum(length(v)), max(k) FROM t");
}

/* One row of row_bytes, read back twice. */
static bool giant(struct work *w)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(w->db, "INSERT INTO t VALUES(?, ?)", -1, &stmt, NULL) == SQLITE_OK &&
              put(w, stmt, 1, w->row_bytes);

    sqlite3_finalize(stmt);
    stmt = NULL;
    for (int i = 0; i < 2; i++) {
        ok = ok && sqlite3_prepare_v2(w->db, "SELECT v FROM t", -1, &stmt, NULL) == SQLITE_OK &&
             sqlite3_step(stmt) == SQLITE_ROW && (uint64_t)sqlite3_column_bytes(stmt, 0) == w->row_bytes &&
             memcmp(sqlite3_column_blob(stmt, 0), w->value, w->row_bytes) == 0;
        sqlite3_finalize(stmt);
        stmt = NULL;
        ok = ok && (i || sql(w, "INSERT INTO t(t) VALUES('flush')"));
    }
    return ok && sql(w, "INSERT INTO t(t) VALUES('compact')");
}

/* A transaction that goes on taking back what it writes. */
static bool put_and_take_back(struct work *w)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sql(w, "BEGIN") &&
              sqlite3_prepare_v2(w->db, "INSERT INTO t VALUES(?, ?)", -1, &stmt, NULL) == SQLITE_OK;

    for (uint64_t i = 0; i < w->rows && ok; i++)
        ok = sql(w, "SAVEPOINT s") && put(w, stmt, (int64_t)i, w->row_bytes) &&
             (i == w->rows - 1 || sql(w, "ROLLBACK TO s")) && sql(w, "RELEASE s");
    sqlite3_finalize(stmt);
    return ok && sql(w, "COMMIT") && sql_double(w, "SELECT count(*) FROM t") == 1;
}

/* 200 connections, each in a transaction that has read; they write by turns. */
static bool many_connections(struct work *w)
{
    enum { CONNECTIONS = 200 };
    sqlite3 *db[CONNECTIONS], *first = w->db;
    bool ok = fill(w, "INSERT INTO t VALUES(?, ?)");

    for (int i = 0; i < CONNECTIONS && ok; i++) {
        w->db = db[i] = open_db(w);
        ok = db[i] && sql(w, "BEGIN; SELECT max(k) FROM t");
    }
    for (int i = 0; i < CONNECTIONS && ok; i++) {
        w->db = db[i];
        ok = sql(w, "COMMIT; BEGIN; SELECT max(k) FROM t; REPLACE INTO t VALUES(1, 'x'); COMMIT; BEGIN");
    }
    for (int i = 0; i < CONNECTIONS && ok; i++)
        sqlite3_close(db[i]);
    w->db = first;
    return ok;
}

/* Another process writes, each row by itself, and dies; this one finds its log. */
static bool open_behind_a_crash(struct work *w)
{
    bool ok = sqlite3_close(w->db) == SQLITE_OK;
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        sqlite3_stmt *stmt = NULL;

        ok = (w->db = open_db(w)) != NULL && sql(w, "PRAGMA synchronous = OFF") &&
             sqlite3_prepare_v2(w->db, "INSERT INTO t VALUES(?, ?)", -1, &stmt, NULL) == SQLITE_OK;
        for (uint64_t i = 0; i < w->rows && ok; i++)
            ok = put(w, stmt, (int64_t)i, w->row_bytes);
        _exit(ok ? 0 : 1);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 && (w->db = open_db(w)) != NULL &&
           sql_double(w, "SELECT count(*) FROM t") == (double)w->rows;
}

/* With 64 descriptors for all of it. */
static bool many_tables(struct work *w)
{
    const struct rlimit few = { 64, 64 };
    char text[120];
    bool ok = sqlite3_close(w->db) == SQLITE_OK && setrlimit(RLIMIT_NOFILE, &few) == 0 &&
              (w->db = open_db(w)) != NULL;

    for (uint64_t i = 0; i < w->rows && ok; i++) {
        if (i % w->batch == 0)
            ok = sql(w, i ? "COMMIT; BEGIN" : "BEGIN");
        snprintf(text, sizeof text, "CREATE VIRTUAL TABLE t%d USING lsm(k INTEGER PRIMARY KEY, v)", (int)i);
        ok = ok && sql(w, text);
        snprintf(text, sizeof text, "INSERT INTO t%d VALUES(1, %d)", (int)i, (int)i);
        ok = ok && sql(w, text);
    }
    ok = ok && sql(w, "COMMIT; INSERT INTO t(t) VALUES('flush')");
    for (uint64_t i = 0; i < w->rows && ok; i++) {
        snprintf(text, sizeof text, "SELECT v FROM t%d WHERE k = 1", (int)i);
        ok = sql_double(w, text) == (double)i;
    }
    return ok;
}

/* 200 transactions of the engine without a host, all open at once. In memory: a spill syncs. */
TEST(memory_is_shared_by_all_transactions)
{
    enum { TXNS = 200, ROWS = 200 };
    struct lsm_options options;
    struct lsm_txn *txn[TXNS];
    struct lsm_tree *tree;
    struct lsm_db *db;
    char key[40];
    uint8_t value[1000];
    uint64_t peak = 0;

    lsm_options_init(&options);
    options.memory_bytes = 32u << 20;
    if (!CHECK_OK(lsm_db_open(NULL, &options, &db)) || !CHECK_OK(lsm_tree_create(db, lsm_slice_str("t"), NULL, &tree)))
        return;
    memset(value, 7, sizeof value);
    for (int i = 0; i < TXNS; i++)
        CHECK_OK(lsm_txn_begin(db, NULL, &txn[i]));
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < TXNS; i++) {
            int n = snprintf(key, sizeof key, "%d-%d", i, row);
            CHECK_OK(lsm_txn_put(txn[i], tree, lsm_slice(key, (size_t)n), lsm_slice(value, sizeof value)));
            if (i == 0 && row % 16 == 0) {
                uint64_t held = stat_of(db, "batch_bytes");
                peak = held > peak ? held : peak;
            }
        }
    for (int i = 0; i < TXNS; i++)
        if (i % 40)
            CHECK_OK(lsm_txn_abort(txn[i]));
        else
            CHECK_OK(lsm_txn_commit_alone(txn[i], false));
    printf("  200 transactions: %.1f MiB\n", (double)peak / MIB);
    CHECK(peak < 30u << 20);            /* of 40 MB that they wrote: 25 MiB at first, the rest in tables */
    CHECK_OK(lsm_db_close(db));
}

static void measure_all(struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++)
        measure(&works[i]);
}

/* H-18 */
TEST(memory_stays_within_the_budget_and_16_mib)
{
    struct work works[] = {
        { "fill_8", 8, 8 + 16, everything, 40000, 400, 2000, NULL, "", NULL },
        { "fill_16", 16, 16 + 16, everything, 40000, 800, 2000, NULL, "", NULL },
        { "fill_64", 64, 64 + 16, everything, 60000, 1600, 3000, NULL, "", NULL },
        { "one_transaction_8", 8, 8 + 16, everything, 40000, 400, 40000, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
    if (test_long()) {
        struct work large = { "fill_256", 256, 256 + 16, everything, 300000, 2000, 3000, NULL, "", NULL };
        measure(&large);
    }
}

TEST(memory_of_one_giant_row_is_three_of_it_beyond_the_budget)
{
    struct work works[] = {
        { "row_of_4_mb", 8, 8 + 16, giant, 1, 4000000, 1, NULL, "", NULL },
        { "row_of_64_mb", 8, 8 + 16 + 3 * 64, giant, 1, 64 << 20, 1, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
}

TEST(memory_of_rows_that_were_taken_back_is_used_again)
{
    struct work works[] = {
        { "taken_back_8", 8, 8 + 16, put_and_take_back, 100000, 1000, 1, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
}

TEST(memory_of_an_open_behind_a_crash_is_that_of_the_rows)
{
    struct work works[] = {
        { "open_behind_a_crash_64", 64, 40, open_behind_a_crash, 180000, 8, 1, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
}

TEST(memory_is_shared_by_all_readers)
{
    struct work works[] = {
        { "many_connections_8", 8, 8 + 16 + 200 * 0.25, many_connections, 20000, 400, 2000, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
}

TEST(memory_and_descriptors_of_many_tables_are_bounded)
{
    struct work works[] = {
        { "many_tables", 8, 8 + 16, many_tables, 200, 8, 50, NULL, "", NULL },
    };

    measure_all(works, sizeof works / sizeof *works);
}

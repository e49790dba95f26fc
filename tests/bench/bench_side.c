/* bench_side.c -- one side: its database, its statistics, and the loop of its process. */
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/bench/bench_side.h"

const char *const side_files[SIDE_FILES] = { "", "-wal", "-shm", "-journal", "-lsm" };

void bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

uint64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- a side ---- */

static char failure[1024];

bool side_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(failure, sizeof(failure), format, args);
    va_end(args);
    return false;
}

bool side_fail_sql(struct side *s, const char *what)
{
    return side_fail("%s: %s: %s", s->name, what, sqlite3_errmsg(s->db));
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Of this thread alone. */
static double own_cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What was before is preparation. */
void side_phase_starts(struct side *s)
{
    s->phase_begin = bench_now_ns();
    s->phase_cpu = cpu_seconds();
}

uint64_t side_random(struct side *s)
{
    return row_mix(s->random++);
}

bool side_exec(struct side *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || side_fail_sql(s, sql);
}

bool side_prepare(struct side *s, const char *sql, sqlite3_stmt **stmt)
{
    return sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) == SQLITE_OK ||
           side_fail_sql(s, sql);
}

bool side_run(struct side *s, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);

    if (rc != SQLITE_DONE)
        side_fail_sql(s, sqlite3_sql(stmt));
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE;
}

bool side_pragma(struct side *s, const char *journal, const char *sync)
{
    char sql[128], got[32] = "";
    sqlite3_stmt *stmt = NULL;

    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", journal);
    if (!side_prepare(s, sql, &stmt))
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(got, sizeof(got), "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    if (strcasecmp(got, journal) != 0)
        return side_fail("%s: journal_mode is %s, not %s", s->name, got, journal);
    snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", sync);
    return side_exec(s, sql);
}

bool side_open(struct side *s)
{
    char *error = NULL;
    char sql[64];

    if (sqlite3_open(s->path, &s->db) != SQLITE_OK)
        return side_fail_sql(s, "open");
    sqlite3_busy_timeout(s->db, 10000);
    if (s->is_lsm) {
        sqlite3_enable_load_extension(s->db, 1);
        if (sqlite3_load_extension(s->db, s->so, NULL, &error) != SQLITE_OK)
            return side_fail("%s: %s", s->so, error);
    } else if (strcmp(s->name, "ordinary") == 0) {
        snprintf(sql, sizeof(sql), "PRAGMA cache_size = -%d", MEMORY_MIB * 1024);
        if (!side_exec(s, sql))
            return false;
    }
    return side_pragma(s, "WAL", "NORMAL");
}

bool side_close(struct side *s)
{
    if (s->db && sqlite3_close(s->db) != SQLITE_OK)
        return side_fail_sql(s, "close");
    s->db = NULL;
    return true;
}

static int unlink_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void bench_remove_tree(const char *path)
{
    nftw(path, unlink_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_database(const char *path)
{
    char name[1024];

    for (size_t i = 0; i < SIDE_FILES; i++) {
        snprintf(name, sizeof(name), "%s%s", path, side_files[i]);
        bench_remove_tree(name);
    }
}

/* A new database, named `name`, with an empty table; the one before is removed. */
bool side_create(struct side *s, const char *name, bool ordered, const char *columns)
{
    char sql[256];

    if (!side_close(s))
        return false;
    if (s->path[0])
        remove_database(s->path);
    snprintf(s->path, sizeof(s->path), "%s/%s-%s.db", s->dir, name, s->name);
    remove_database(s->path);
    s->ordered = ordered;
    s->rows = s->alive = 0;
    s->index_is_stale = true;
    memset(s->version, DEAD, s->rows_max);
    if (!side_open(s))
        return false;
    snprintf(sql, sizeof(sql), s->is_lsm ? "CREATE VIRTUAL TABLE t USING lsm(%s)"
                                         : "CREATE TABLE t(%s) WITHOUT ROWID", columns);
    return side_exec(s, sql);
}

bool side_stat(struct side *s, const char *name, uint64_t *value)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = side_prepare(s, "SELECT value FROM lsm_stats('t') WHERE name = ?", &stmt);

    *value = 0;
    if (ok) {
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            *value = (uint64_t)sqlite3_column_int64(stmt, 0);
        else
            ok = side_fail("%s: no statistic '%s'", s->name, name);
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* Is a level due for compaction? */
static bool is_due(struct side *s, bool *due)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = side_prepare(s, "SELECT max(score) >= 1 FROM lsm_levels('t')", &stmt);

    if (ok && sqlite3_step(stmt) == SQLITE_ROW)
        *due = sqlite3_column_int(stmt, 0) != 0;
    else
        ok = ok && side_fail_sql(s, "lsm_levels");
    sqlite3_finalize(stmt);
    return ok;
}

/* Wait until the worker has nothing more to do: no level is due, nothing was written and none of
   its processor time used for 0.3 s; for 2 s if a level stays due. Looking on is not counted. */
bool side_settle(struct side *s)
{
    uint64_t begin = bench_now_ns(), quiet_since = begin, last = 0;
    double own = own_cpu_seconds(), cpu = cpu_seconds() - own;

    if (!s->is_lsm || !s->db)
        return true;
    for (;;) {
        struct timespec pause = { 0, 30000000 };
        uint64_t flushed, compacted, moves, now = bench_now_ns();
        bool due = false;

        if (!side_stat(s, "flush_bytes_written", &flushed) ||
            !side_stat(s, "compact_bytes_written", &compacted) ||
            !side_stat(s, "moves", &moves) || !is_due(s, &due))
            return false;
        if (flushed + compacted + moves != last ||
            cpu_seconds() - own_cpu_seconds() - cpu > 0.005) {
            last = flushed + compacted + moves;
            quiet_since = now;
        }
        if (now - quiet_since > (due ? 2000000000u : 300000000u))
            break;
        if (now - begin > 120000000000u)
            return side_fail("%s: the worker is not done after two minutes", s->name);
        cpu = cpu_seconds() - own_cpu_seconds();
        nanosleep(&pause, NULL);
    }
    s->phase_value = (double)(quiet_since - begin) / 1e9;
    s->phase_cpu += own_cpu_seconds() - own;
    return true;
}

long side_peak_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

/* ---- the loop of a side: `PHASE COUNT BATCH` in, a struct turn out ---- */

static uint64_t written_bytes(void)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "wchar: %" SCNu64, &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes;
}

int side_main(const char *name, const char *dir, const char *so, uint64_t rows_max)
{
    struct side side = { .name = name, .dir = dir, .so = so, .rows_max = rows_max };
    struct side *s = &side;
    char phase[64];
    uint64_t count, batch;

    s->is_lsm = strcmp(name, "lsm") == 0;
    s->version = malloc(rows_max);
    s->index = malloc(rows_max * sizeof(*s->index));
    if (s->version == NULL || s->index == NULL)
        bench_die("no memory");
    memset(s->version, DEAD, rows_max);
    memset(s->index, 0xff, rows_max * sizeof(*s->index));
    s->random = 20240229;
    s->memory_base_kib = side_peak_kib();

    while (scanf("%63s %" SCNu64 " %" SCNu64, phase, &count, &batch) == 3) {
        const struct side_phase *p = side_phase_find(phase);
        uint64_t written = written_bytes(), end;

        if (p == NULL)
            bench_die("no such phase: %s", phase);
        side_phase_starts(s);
        s->phase_ops = 0;
        s->phase_value = 0;
        if (!p->run(s, count, batch)) {
            printf("failed %s\n", failure);
            fflush(stdout);
            return 1;
        }
        end = bench_now_ns();
        printf("ok %" PRIu64 " %.9f %.6f %" PRIu64 " %.6f\n", s->phase_ops,
               (double)(end - s->phase_begin) / 1e9, cpu_seconds() - s->phase_cpu,
               written_bytes() - written, s->phase_value);
        fflush(stdout);
    }
    if (!side_close(s))
        bench_die("%s", failure);
    if (s->path[0])
        remove_database(s->path);
    return 0;
}

/*
 * bench_sql.c -- an lsm table beside ordinary tables, in one run.
 *
 *     bench_sql [n=1000000] [rounds=3] [quick=1] [only=random|others|giant] [dir=/tmp]
 *               [so=./lsmvtab.so] [tsv=FILE]
 *
 * Three sides do the same work and take turns, round by round; the median of the rounds
 * counts. Each side is a process of its own (this program again), so that its memory,
 * processor time and bytes written are its own:
 *
 *     driver --- pipe ---> lsm        CREATE VIRTUAL TABLE t USING lsm(...), 64 MiB budget
 *            --- pipe ---> ordinary   WITHOUT ROWID, PRAGMA cache_size = 64 MiB
 *            --- pipe ---> default    WITHOUT ROWID, SQLite's own 2 MB page cache
 *
 * Goals are judged against "ordinary", which has the same memory. What the lsm side leaves
 * to its worker is waited for before the next side's turn ("settle") and is not
 * hidden: the time until the store is quiet has a row of its own.
 *
 * Rows are made from their number: row i has the key mix(i), mix(i ^ C). A point read
 * compares the whole value with what the row was last written with. Scans and ranges add up
 * a sum over all bytes of each row, which is cheap beside reading it; what it must be,
 * and how many rows, is known before the clock runs (the side keeps an index of its own).
 */
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#define KEY_SIZE 16
#define VALUE_SIZE 100
#define ROW_BYTES (KEY_SIZE + VALUE_SIZE)
#define BIG_VALUE_SIZE 1000
#define BIG_ROWS 1000000        /* of BIG_VALUE_SIZE random bytes: a store of 1 GB */
#define ROUNDS_MAX 15
#define MEMORY_MIB 64
#define QUEUE_SECONDS_MAX 10u    /* of one round */
#define DEAD 255                /* the version of a row that was deleted or never written */

/* ---- what is common to the driver and the sides ---- */

static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What one turn of one side measured. */
struct turn {
    uint64_t ops;
    double seconds;
    double cpu_seconds;         /* all threads */
    uint64_t written_bytes;     /* handed to write(2) and its kin; mapped pages do not count */
    double value;               /* of phases that measure something else than time */
};

/* ---- rows ---- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void put_be64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t x = 0;

    for (int i = 0; i < 8; i++)
        x = x << 8 | p[i];
    return x;
}

#define KEY_SALT 0xa5a5a5a55a5a5a5au

static void key_make(uint8_t key[KEY_SIZE], uint64_t row, bool ordered)
{
    put_be64(key, ordered ? row : mix(row));
    put_be64(key + 8, mix(row ^ KEY_SALT));
}

/* Random bytes, then the same again: half of it can be compressed. */
static void value_make(uint8_t value[VALUE_SIZE], uint64_t row, uint8_t version)
{
    uint64_t words[7], x = row * 2654435761u + ((uint64_t)version << 56);

    for (int i = 0; i < 7; i++)
        words[i] = mix(x + (uint64_t)i * 0x632be59bd9b4e019u);
    memcpy(value, words, VALUE_SIZE / 2);
    memcpy(value + VALUE_SIZE / 2, words, VALUE_SIZE / 2);
}

/* A sum over all bytes of a row; those of many rows can be added up. */
static uint64_t row_sum(const uint8_t *key, const uint8_t *value)
{
    uint64_t sum = 0, word;

    for (int i = 0; i < KEY_SIZE; i += 8) {
        memcpy(&word, key + i, 8);
        sum = (sum ^ word) * 0x9fb21c651e98df25u;
    }
    for (int i = 0; i < VALUE_SIZE; i += 8) {
        uint64_t a = 0, odd = 0x9e3779b185ebca87u + 0x2127599bf4325c36u * (uint64_t)i;

        memcpy(&a, value + i, i + 8 <= VALUE_SIZE ? 8 : VALUE_SIZE - i);
        sum += a * odd;
    }
    return (sum ^ sum >> 32) * 0xc2b2ae3d27d4eb4fu;
}

/* ---- a side ---- */

struct index_entry {
    uint64_t prefix;            /* of the key */
    uint64_t sum;               /* of this row and all before it */
};

struct side {
    const char *name;
    const char *dir;
    const char *so;
    bool is_lsm;
    sqlite3 *db;
    char path[500];
    bool ordered;               /* keys ascend with the row */
    uint8_t *version;           /* of each row, or DEAD */
    uint64_t rows;              /* rows 0 .. rows - 1 were written */
    uint64_t rows_max;
    uint64_t alive;
    struct index_entry *index;  /* the rows alive in the order of their keys */
    bool index_is_stale;
    uint64_t random;            /* state of the generator */
    long memory_base_kib;       /* peak before the first database was opened */
    uint64_t phase_ops;         /* set by a phase */
    uint64_t phase_begin;
    double phase_cpu;
    double phase_value;
};

static char failure[1024];

__attribute__((format(printf, 1, 2)))
static bool fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(failure, sizeof(failure), format, args);
    va_end(args);
    return false;
}

static bool fail_sql(struct side *s, const char *what)
{
    return fail("%s: %s: %s", s->name, what, sqlite3_errmsg(s->db));
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
static void phase_starts(struct side *s)
{
    s->phase_begin = now_ns();
    s->phase_cpu = cpu_seconds();
}

static uint64_t side_random(struct side *s)
{
    return mix(s->random++);
}

static bool exec(struct side *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || fail_sql(s, sql);
}

static bool prepare(struct side *s, const char *sql, sqlite3_stmt **stmt)
{
    return sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) == SQLITE_OK ||
           fail_sql(s, sql);
}

static bool run(struct side *s, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);

    if (rc != SQLITE_DONE)
        fail_sql(s, sqlite3_sql(stmt));
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE;
}

static bool pragma(struct side *s, const char *journal, const char *sync)
{
    char sql[128], got[32] = "";
    sqlite3_stmt *stmt = NULL;

    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", journal);
    if (!prepare(s, sql, &stmt))
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(got, sizeof(got), "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    if (strcasecmp(got, journal) != 0)
        return fail("%s: journal_mode is %s, not %s", s->name, got, journal);
    snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", sync);
    return exec(s, sql);
}

static bool side_open(struct side *s)
{
    char *error = NULL;
    char sql[64];

    if (sqlite3_open(s->path, &s->db) != SQLITE_OK)
        return fail_sql(s, "open");
    sqlite3_busy_timeout(s->db, 10000);
    if (s->is_lsm) {
        sqlite3_enable_load_extension(s->db, 1);
        if (sqlite3_load_extension(s->db, s->so, NULL, &error) != SQLITE_OK)
            return fail("%s: %s", s->so, error);
    } else if (strcmp(s->name, "ordinary") == 0) {
        snprintf(sql, sizeof(sql), "PRAGMA cache_size = -%d", MEMORY_MIB * 1024);
        if (!exec(s, sql))
            return false;
    }
    return pragma(s, "WAL", "NORMAL");
}

static bool side_close(struct side *s)
{
    if (s->db && sqlite3_close(s->db) != SQLITE_OK)
        return fail_sql(s, "close");
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

static void remove_tree(const char *path)
{
    nftw(path, unlink_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_database(const char *path)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal", "-lsm" };
    char name[1024];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        remove_tree(name);
    }
}

/* A new database, named `name`, with an empty table; the one before is removed. */
static bool side_create(struct side *s, const char *name, bool ordered, const char *columns)
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
    return exec(s, sql);
}

#define COLUMNS "k BLOB PRIMARY KEY, v BLOB"

static bool stat_value(struct side *s, const char *name, uint64_t *value)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = prepare(s, "SELECT value FROM lsm_stats('t') WHERE name = ?", &stmt);

    *value = 0;
    if (ok) {
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            *value = (uint64_t)sqlite3_column_int64(stmt, 0);
        else
            ok = fail("%s: no statistic '%s'", s->name, name);
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* Bytes of the log that went to the file through a map, not write(2). The count begins anew with each open. */
static uint64_t mapped_bytes(struct side *s)
{
    static uint64_t before, last;
    uint64_t now = 0;

    if (!s->is_lsm || !s->db || !stat_value(s, "log_bytes_mapped", &now))
        return before + last;
    if (now < last)
        before += last;
    last = now;
    return before + now;
}

/* Is a level due for compaction? */
static bool is_due(struct side *s, bool *due)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = prepare(s, "SELECT max(score) >= 1 FROM lsm_levels('t')", &stmt);

    if (ok && sqlite3_step(stmt) == SQLITE_ROW)
        *due = sqlite3_column_int(stmt, 0) != 0;
    else
        ok = ok && fail_sql(s, "lsm_levels");
    sqlite3_finalize(stmt);
    return ok;
}

/* Wait until the worker has nothing more to do: no level is due, nothing was written and none of
   its processor time used for 0.3 s; for 2 s if a level stays due. Looking on is not counted. */
static bool settle(struct side *s)
{
    uint64_t begin = now_ns(), quiet_since = begin, last = 0;
    double own = own_cpu_seconds(), cpu = cpu_seconds() - own;

    if (!s->is_lsm || !s->db)
        return true;
    for (;;) {
        struct timespec pause = { 0, 30000000 };
        uint64_t flushed, compacted, moves, now = now_ns();
        bool due = false;

        if (!stat_value(s, "flush_bytes_written", &flushed) ||
            !stat_value(s, "compact_bytes_written", &compacted) ||
            !stat_value(s, "moves", &moves) || !is_due(s, &due))
            return false;
        if (flushed + compacted + moves != last ||
            cpu_seconds() - own_cpu_seconds() - cpu > 0.005) {
            last = flushed + compacted + moves;
            quiet_since = now;
        }
        if (now - quiet_since > (due ? 2000000000u : 300000000u))
            break;
        if (now - begin > 120000000000u)
            return fail("%s: the worker is not done after two minutes", s->name);
        cpu = cpu_seconds() - own_cpu_seconds();
        nanosleep(&pause, NULL);
    }
    s->phase_value = (double)(quiet_since - begin) / 1e9;
    s->phase_cpu += own_cpu_seconds() - own;
    return true;
}

/* ---- phases that write ---- */

/* Insert, or give a new value to, `count` rows in transactions of `batch`; 1: autocommit. */
enum write_kind { WRITE_INSERT, WRITE_REPLACE, WRITE_UPDATE, WRITE_DELETE };

static uint64_t random_alive(struct side *s)
{
    uint64_t row;

    do
        row = side_random(s) % s->rows;
    while (s->version[row] == DEAD);
    return row;
}

static bool write_rows(struct side *s, enum write_kind kind, uint64_t count, uint64_t batch)
{
    static const char *const sql[] = {
        "INSERT INTO t VALUES(?1, ?2)", "REPLACE INTO t VALUES(?1, ?2)",
        "UPDATE t SET v = ?2 WHERE k = ?1", "DELETE FROM t WHERE k = ?1"
    };
    sqlite3_stmt *stmt = NULL, *begin = NULL, *commit = NULL;
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    bool ok;

    ok = prepare(s, sql[kind], &stmt) && prepare(s, "BEGIN", &begin) &&
         prepare(s, "COMMIT", &commit);
    if (kind == WRITE_INSERT && s->rows + count > s->rows_max)
        ok = fail("%s: more rows than were planned", s->name);
    s->index_is_stale = true;
    phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t row = kind == WRITE_INSERT ? s->rows++ : random_alive(s);

        if (batch > 1 && i % batch == 0)
            ok = run(s, begin);
        s->version[row]++;                      /* DEAD + 1 is 0 */
        key_make(key, row, s->ordered);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        if (kind == WRITE_DELETE) {
            s->version[row] = DEAD;
            s->alive--;
        } else {
            value_make(value, row, s->version[row]);
            sqlite3_bind_blob(stmt, 2, value, VALUE_SIZE, SQLITE_STATIC);
            s->alive += kind == WRITE_INSERT;
        }
        ok = ok && run(s, stmt);
        if (ok && kind >= WRITE_UPDATE && sqlite3_changes(s->db) != 1)
            ok = fail("%s: a row is missing: %s", s->name, sql[kind]);
        if (ok && batch > 1 && (i % batch == batch - 1 || i == count - 1))
            ok = run(s, commit);
    }
    sqlite3_finalize(stmt);
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    s->phase_ops = count;
    return ok;
}

/* Rows in statements of `batch`: "INSERT INTO t VALUES (?, ?), (?, ?) ...", in autocommit or not. */
static bool insert_many(struct side *s, uint64_t count, uint64_t batch, bool autocommit)
{
    static const char head[] = "INSERT INTO t VALUES(?, ?)", more[] = ", (?, ?)";
    char *sql = malloc(sizeof head + batch * sizeof more), *end;
    uint8_t *data = malloc(batch * ROW_BYTES);
    sqlite3_stmt *stmt = NULL, *begin = NULL, *commit = NULL;
    bool ok;

    if (sql == NULL || data == NULL)
        die("no memory");
    count -= count % batch;
    end = stpcpy(sql, head);
    for (uint64_t i = 1; i < batch; i++)
        end = stpcpy(end, more);
    ok = pragma(s, "WAL", "FULL") && prepare(s, sql, &stmt) && prepare(s, "BEGIN", &begin) &&
         prepare(s, "COMMIT", &commit);
    if (s->rows + count > s->rows_max)
        ok = fail("%s: more rows than were planned", s->name);
    s->index_is_stale = true;
    phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint8_t *key = data + i % batch * ROW_BYTES, *value = key + KEY_SIZE;
        int at = (int)(i % batch * 2);
        uint64_t row = s->rows++;

        s->version[row]++;
        key_make(key, row, s->ordered);
        value_make(value, row, s->version[row]);
        sqlite3_bind_blob(stmt, at + 1, key, KEY_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(stmt, at + 2, value, VALUE_SIZE, SQLITE_STATIC);
        s->alive++;
        if (i % batch == batch - 1)
            ok = autocommit ? run(s, stmt) : run(s, begin) && run(s, stmt) && run(s, commit);
    }
    sqlite3_finalize(stmt);
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    free(data);
    free(sql);
    s->phase_ops = count;
    return ok;
}

static bool insert_statements(struct side *s, uint64_t count, uint64_t batch)
{
    return insert_many(s, count, batch, true);
}

static bool insert_transactions(struct side *s, uint64_t count, uint64_t batch)
{
    return insert_many(s, count, batch, false);
}

static bool fill_random(struct side *s, uint64_t count, uint64_t batch)
{
    return side_create(s, "random", false, COLUMNS) && write_rows(s, WRITE_INSERT, count, batch);
}

static bool fill_sequential(struct side *s, uint64_t count, uint64_t batch)
{
    return side_create(s, "sequential", true, COLUMNS) && write_rows(s, WRITE_INSERT, count, batch);
}

static bool insert_more(struct side *s, uint64_t count, uint64_t batch)
{
    return write_rows(s, WRITE_INSERT, count, batch);
}

static bool insert_wal_full(struct side *s, uint64_t count, uint64_t batch)
{
    return pragma(s, "WAL", "FULL") && write_rows(s, WRITE_INSERT, count, batch);
}

static bool insert_delete_full(struct side *s, uint64_t count, uint64_t batch)
{
    return pragma(s, "DELETE", "FULL") && write_rows(s, WRITE_INSERT, count, batch);
}

static bool wal_normal(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    return pragma(s, "WAL", "NORMAL");
}

static bool replace_rows(struct side *s, uint64_t count, uint64_t batch)
{
    return write_rows(s, WRITE_REPLACE, count, batch);
}

static bool update_rows(struct side *s, uint64_t count, uint64_t batch)
{
    return write_rows(s, WRITE_UPDATE, count, batch);
}

static bool delete_rows(struct side *s, uint64_t count, uint64_t batch)
{
    return write_rows(s, WRITE_DELETE, count, batch);
}

/* ---- phases that read ---- */

static void sift(struct index_entry *heap, uint64_t at, uint64_t count)
{
    struct index_entry moved = heap[at];
    uint64_t child;

    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && heap[child + 1].prefix > heap[child].prefix)
            child++;
        if (heap[child].prefix <= moved.prefix)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* In place: qsort() asks for as much memory again, which would be counted as the side's. */
static void index_sort(struct index_entry *entries, uint64_t count)
{
    for (uint64_t i = count / 2; i-- > 0;)
        sift(entries, i, count);
    for (uint64_t last = count; last-- > 1;) {
        struct index_entry largest = entries[0];

        entries[0] = entries[last];
        entries[last] = largest;
        sift(entries, 0, last);
    }
}

/* Bring the index up to date. Its memory was there before the first database was opened. */
static void index_build(struct side *s)
{
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    uint64_t count = 0, sum = 0;

    if (!s->index_is_stale)
        return;
    for (uint64_t row = 0; row < s->rows; row++)
        if (s->version[row] != DEAD) {
            key_make(key, row, s->ordered);
            value_make(value, row, s->version[row]);
            s->index[count++] = (struct index_entry){ get_be64(key), row_sum(key, value) };
        }
    assert(count == s->alive);
    index_sort(s->index, count);
    for (uint64_t i = 0; i < count; i++)
        s->index[i].sum = sum += s->index[i].sum;
    s->index_is_stale = false;
}

/* How many keys are below `prefix`. */
static uint64_t index_find(const struct side *s, uint64_t prefix)
{
    uint64_t low = 0, high = s->alive;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (s->index[middle].prefix < prefix)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The sum of entries from .. to - 1. */
static uint64_t index_sum(const struct side *s, uint64_t from, uint64_t to)
{
    return (to ? s->index[to - 1].sum : 0) - (from ? s->index[from - 1].sum : 0);
}

/* Step through k, v; counts rows and adds up their sums. */
static bool read_rows(struct side *s, sqlite3_stmt *stmt, uint64_t *count, uint64_t *sum)
{
    int rc;

    *count = *sum = 0;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const uint8_t *key = sqlite3_column_blob(stmt, 0), *value = sqlite3_column_blob(stmt, 1);

        if (sqlite3_column_bytes(stmt, 0) != KEY_SIZE ||
            sqlite3_column_bytes(stmt, 1) != VALUE_SIZE)
            return fail("%s: a key or value of another size", s->name);
        *sum += row_sum(key, value);
        ++*count;
    }
    return rc == SQLITE_DONE || fail_sql(s, sqlite3_sql(stmt));
}

enum get_kind { GET_ALIVE, GET_MISSING };

static bool get_rows(struct side *s, enum get_kind kind, uint64_t count, bool in_transaction)
{
    sqlite3_stmt *stmt = NULL;
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    bool ok = prepare(s, "SELECT v FROM t WHERE k = ?", &stmt);

    ok = ok && (!in_transaction || exec(s, "BEGIN"));
    phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t row = kind == GET_ALIVE ? random_alive(s) : s->rows_max + side_random(s) % s->rows;
        int rc;

        key_make(key, row, s->ordered);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
        if (kind == GET_MISSING) {
            if (rc != SQLITE_DONE)
                ok = fail("%s: a row that was never written", s->name);
        } else if (rc != SQLITE_ROW) {
            ok = fail("%s: row %" PRIu64 " is missing: %s", s->name, row, sqlite3_errmsg(s->db));
        } else {
            value_make(value, row, s->version[row]);
            if (sqlite3_column_bytes(stmt, 0) != VALUE_SIZE ||
                memcmp(sqlite3_column_blob(stmt, 0), value, VALUE_SIZE) != 0)
                ok = fail("%s: row %" PRIu64 " has another value", s->name, row);
        }
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    s->phase_ops = count;
    return ok && (!in_transaction || exec(s, "COMMIT"));
}

static bool get_in_transaction(struct side *s, uint64_t count, uint64_t batch)
{
    (void)batch;
    return get_rows(s, GET_ALIVE, count, true);
}

static bool get_autocommit(struct side *s, uint64_t count, uint64_t batch)
{
    (void)batch;
    return get_rows(s, GET_ALIVE, count, false);
}

static bool get_missing(struct side *s, uint64_t count, uint64_t batch)
{
    (void)batch;
    return get_rows(s, GET_MISSING, count, false);
}

static bool scan_all(struct side *s, uint64_t count, uint64_t batch)
{
    sqlite3_stmt *stmt = NULL;
    uint64_t seen, sum;
    bool ok = prepare(s, "SELECT k, v FROM t", &stmt);

    (void)count;
    (void)batch;
    index_build(s);
    phase_starts(s);
    ok = ok && read_rows(s, stmt, &seen, &sum);
    if (ok && (seen != s->alive || sum != index_sum(s, 0, s->alive)))
        ok = fail("%s: %" PRIu64 " rows, not %" PRIu64 ", or others", s->name, seen, s->alive);
    sqlite3_finalize(stmt);
    s->phase_ops = s->alive;
    return ok;
}

static bool count_all(struct side *s, uint64_t count, uint64_t batch)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = prepare(s, "SELECT count(*) FROM t", &stmt);

    (void)count;
    (void)batch;
    phase_starts(s);
    if (ok && sqlite3_step(stmt) != SQLITE_ROW)
        ok = fail_sql(s, "count");
    if (ok && (uint64_t)sqlite3_column_int64(stmt, 0) != s->alive)
        ok = fail("%s: count(*) is %lld, not %" PRIu64, s->name,
                  (long long)sqlite3_column_int64(stmt, 0), s->alive);
    sqlite3_finalize(stmt);
    s->phase_ops = s->alive;
    return ok;
}

/* A range of rows and what it must give. */
struct range {
    uint64_t low, high;         /* prefixes of keys */
    uint64_t count, sum;
};

enum range_kind { RANGE_BOUNDS, RANGE_LIMIT, RANGE_LIMIT_DESC };

static void range_make(struct side *s, struct range *r, enum range_kind kind, uint64_t width)
{
    uint64_t from = side_random(s) % (s->alive - width), to = from + width;

    /* `low` and `high` are keys' own prefixes; those of all rows differ. */
    r->low = s->index[from].prefix;
    r->high = s->index[to].prefix;
    assert(index_find(s, r->low) == from);
    if (kind == RANGE_LIMIT_DESC) {             /* k < high, from there down */
        r->low = r->high;
        r->high = 0;
    }
    r->count = width;
    r->sum = index_sum(s, from, to);
}

static bool read_ranges(struct side *s, uint64_t count, uint64_t width, enum range_kind kind)
{
    static const char *const sql[] = {
        "SELECT k, v FROM t WHERE k >= ? AND k < ?",
        "SELECT k, v FROM t WHERE k >= ? ORDER BY k LIMIT ?",
        "SELECT k, v FROM t WHERE k < ? ORDER BY k DESC LIMIT ?"
    };
    struct range *ranges = malloc(count * sizeof(*ranges));
    uint8_t low[8], high[8];
    sqlite3_stmt *stmt = NULL;
    bool ok = ranges ? prepare(s, sql[kind], &stmt) : fail("no memory");

    assert(!s->ordered);
    index_build(s);
    for (uint64_t i = 0; ok && i < count; i++)
        range_make(s, &ranges[i], kind, width);
    phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t seen, sum;

        put_be64(low, ranges[i].low);
        put_be64(high, ranges[i].high);
        sqlite3_bind_blob(stmt, 1, low, 8, SQLITE_STATIC);
        if (kind == RANGE_BOUNDS)
            sqlite3_bind_blob(stmt, 2, high, 8, SQLITE_STATIC);
        else
            sqlite3_bind_int64(stmt, 2, (sqlite3_int64)width);
        ok = read_rows(s, stmt, &seen, &sum);
        if (ok && (seen != ranges[i].count || sum != ranges[i].sum))
            ok = fail("%s: %" PRIu64 " rows in a range, not %" PRIu64 ", or others", s->name, seen,
                      ranges[i].count);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    free(ranges);
    s->phase_ops = count;
    return ok;
}

static bool range_bounds(struct side *s, uint64_t count, uint64_t width)
{
    return read_ranges(s, count, width, RANGE_BOUNDS);
}

static bool range_limit(struct side *s, uint64_t count, uint64_t width)
{
    return read_ranges(s, count, width, RANGE_LIMIT);
}

static bool range_limit_desc(struct side *s, uint64_t count, uint64_t width)
{
    return read_ranges(s, count, width, RANGE_LIMIT_DESC);
}

/* Insert at the end, look at the head, delete it: `batch` of these a transaction, 10,000 deep. */
static bool queue(struct side *s, uint64_t count, uint64_t batch)
{
    const int64_t depth = 10000;
    sqlite3_stmt *insert = NULL, *head = NULL, *delete = NULL;
    uint8_t value[VALUE_SIZE], got[VALUE_SIZE];
    int64_t end = 0, front = 0;
    bool ok = side_create(s, "queue", true, "id INTEGER PRIMARY KEY, v BLOB") && exec(s, "BEGIN") &&
              prepare(s, "INSERT INTO t VALUES(?, ?)", &insert) &&
              prepare(s, "SELECT id, v FROM t ORDER BY id LIMIT 1", &head) &&
              prepare(s, "DELETE FROM t WHERE id = ?", &delete);

    for (; ok && front < (int64_t)count; end++) {
        if (end == depth) {
            ok = exec(s, "COMMIT; BEGIN");
            phase_starts(s);
        }
        value_make(value, (uint64_t)end, 0);
        sqlite3_bind_int64(insert, 1, end);
        sqlite3_bind_blob(insert, 2, value, VALUE_SIZE, SQLITE_STATIC);
        ok = ok && run(s, insert);
        if (!ok || end < depth)
            continue;
        value_make(got, (uint64_t)front, 0);
        if (sqlite3_step(head) != SQLITE_ROW || sqlite3_column_int64(head, 0) != front ||
            sqlite3_column_bytes(head, 1) != VALUE_SIZE ||
            memcmp(sqlite3_column_blob(head, 1), got, VALUE_SIZE) != 0)
            ok = fail("%s: the head is not %lld: %s", s->name, (long long)front,
                      sqlite3_errmsg(s->db));
        sqlite3_reset(head);
        sqlite3_bind_int64(delete, 1, front);
        ok = ok && run(s, delete);
        front++;
        if (ok && (uint64_t)front % batch == 0) {
            ok = exec(s, "COMMIT; BEGIN");
            if (now_ns() - s->phase_begin > QUEUE_SECONDS_MAX * 1000000000u)
                break;
        }
    }
    ok = ok && exec(s, "COMMIT");
    sqlite3_finalize(insert);
    sqlite3_finalize(head);
    sqlite3_finalize(delete);
    s->phase_ops = (uint64_t)front;
    return ok;
}

/* ---- phases that measure something else ---- */

static uint64_t measured_bytes;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path;
    (void)at;
    if (type == FTW_F)
        measured_bytes += (uint64_t)st->st_blocks * 512 < (uint64_t)st->st_size
                              ? (uint64_t)st->st_size : (uint64_t)st->st_blocks * 512;
    return 0;
}

static uint64_t database_bytes(const char *path)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal", "-lsm" };
    char name[1024];

    measured_bytes = 0;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        nftw(name, add_size, 16, FTW_PHYS);
    }
    return measured_bytes;
}

/* Compact, close, measure; the database is open again afterwards. */
static bool disk_bytes(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    if (s->is_lsm && !exec(s, "INSERT INTO t(t) VALUES('compact')"))
        return false;
    if (!side_close(s))
        return false;
    sync();
    s->phase_value = (double)database_bytes(s->path) / 1e6;
    return side_open(s);
}

static long peak_kib(void)
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

static bool peak_memory(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    s->phase_value = (double)(peak_kib() - s->memory_base_kib) / 1024;
    return true;
}

/* What the store counts of its own memory. */
static bool counted_memory(struct side *s, uint64_t count, uint64_t batch)
{
    uint64_t bytes = 0;

    (void)count;
    (void)batch;
    if (s->is_lsm && !stat_value(s, "memory_used", &bytes))
        return false;
    s->phase_value = s->is_lsm ? (double)bytes / 1048576 : -1;
    return true;
}

/* One transaction of `count` rows, then some of them read. */
static bool one_transaction(struct side *s, uint64_t count, uint64_t batch)
{
    (void)batch;
    if (!side_create(s, "one", false, COLUMNS) || !write_rows(s, WRITE_INSERT, count, count) ||
        !get_rows(s, GET_ALIVE, count / 100, true))
        return false;
    return peak_memory(s, 0, 0);
}

static bool settle_phase(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    return settle(s);
}

/* ---- the store of 1 GB ---- */

static bool giant_open(struct side *s, const char *path)
{
    snprintf(s->path, sizeof(s->path), "%s", path);
    return side_open(s);
}

static void giant_value(uint8_t value[BIG_VALUE_SIZE], uint64_t row)
{
    for (int i = 0; i < BIG_VALUE_SIZE / 8; i++)
        put_be64(value + 8 * i, mix(row * 1000003 + (uint64_t)i));
}

static bool giant_build(struct side *s, uint64_t count, uint64_t batch)
{
    uint8_t key[KEY_SIZE], value[BIG_VALUE_SIZE];
    sqlite3_stmt *stmt = NULL;
    bool ok = side_create(s, "giant", false, COLUMNS) && exec(s, "BEGIN") &&
              prepare(s, "INSERT INTO t VALUES(?, ?)", &stmt);

    for (uint64_t row = 0; ok && row < count; row++) {
        key_make(key, row, false);
        giant_value(value, row);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(stmt, 2, value, BIG_VALUE_SIZE, SQLITE_STATIC);
        ok = run(s, stmt);
        if (ok && row % batch == batch - 1)
            ok = exec(s, "COMMIT; BEGIN");
    }
    sqlite3_finalize(stmt);
    ok = ok && exec(s, "COMMIT") && settle(s) && side_close(s);
    s->path[0] = 0;                             /* it stays */
    return ok;
}

/* From sqlite3_open() to the first row, in milliseconds, in a process that is new. */
static bool giant_first_row(struct side *s, uint64_t count, uint64_t batch)
{
    uint8_t key[KEY_SIZE], value[BIG_VALUE_SIZE];
    char path[480];
    sqlite3_stmt *stmt = NULL;
    uint64_t begin = now_ns(), row = side_random(s) % count;
    bool ok;

    (void)batch;
    snprintf(path, sizeof(path), "%s/giant-%s.db", s->dir, s->name);
    key_make(key, row, false);
    ok = giant_open(s, path) && prepare(s, "SELECT v FROM t WHERE k = ?", &stmt);
    sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
    if (ok && sqlite3_step(stmt) != SQLITE_ROW)
        ok = fail_sql(s, "the first row");
    s->phase_value = (double)(now_ns() - begin) / 1e6;
    giant_value(value, row);
    if (ok && (sqlite3_column_bytes(stmt, 0) != BIG_VALUE_SIZE ||
               memcmp(sqlite3_column_blob(stmt, 0), value, BIG_VALUE_SIZE) != 0))
        ok = fail("%s: another value", s->name);
    sqlite3_finalize(stmt);
    ok = side_close(s) && ok;
    s->path[0] = 0;
    return ok;
}

/* ---- the loop of a side: `PHASE COUNT BATCH` in, a struct turn out ---- */

static const struct phase {
    const char *name;
    bool (*run)(struct side *s, uint64_t count, uint64_t batch);
} phases[] = {
    { "fill_random", fill_random },
    { "fill_sequential", fill_sequential },
    { "insert", insert_more },
    { "insert_wal_full", insert_wal_full },
    { "insert_delete_full", insert_delete_full },
    { "insert_statements", insert_statements },
    { "insert_transactions", insert_transactions },
    { "wal_normal", wal_normal },
    { "replace", replace_rows },
    { "update", update_rows },
    { "delete", delete_rows },
    { "get_in_transaction", get_in_transaction },
    { "get_autocommit", get_autocommit },
    { "get_missing", get_missing },
    { "scan", scan_all },
    { "count", count_all },
    { "range_bounds", range_bounds },
    { "range_limit", range_limit },
    { "range_limit_desc", range_limit_desc },
    { "queue", queue },
    { "disk_bytes", disk_bytes },
    { "peak_memory", peak_memory },
    { "counted_memory", counted_memory },
    { "one_transaction", one_transaction },
    { "settle", settle_phase },
    { "giant_build", giant_build },
    { "giant_first_row", giant_first_row },
};

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

static int side_main(const char *name, const char *dir, const char *so, uint64_t rows_max)
{
    struct side side = { .name = name, .dir = dir, .so = so, .rows_max = rows_max };
    struct side *s = &side;
    char phase[64];
    uint64_t count, batch;

    s->is_lsm = strcmp(name, "lsm") == 0;
    s->version = malloc(rows_max);
    s->index = malloc(rows_max * sizeof(*s->index));
    if (s->version == NULL || s->index == NULL)
        die("no memory");
    memset(s->version, DEAD, rows_max);
    memset(s->index, 0xff, rows_max * sizeof(*s->index));
    s->random = 20240229;
    s->memory_base_kib = peak_kib();

    while (scanf("%63s %" SCNu64 " %" SCNu64, phase, &count, &batch) == 3) {
        const struct phase *p = NULL;
        uint64_t written = written_bytes() + mapped_bytes(s), end;

        for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++)
            if (strcmp(phases[i].name, phase) == 0)
                p = &phases[i];
        if (p == NULL)
            die("no such phase: %s", phase);
        phase_starts(s);
        s->phase_ops = 0;
        s->phase_value = 0;
        if (!p->run(s, count, batch)) {
            printf("failed %s\n", failure);
            fflush(stdout);
            return 1;
        }
        end = now_ns();
        printf("ok %" PRIu64 " %.9f %.6f %" PRIu64 " %.6f\n", s->phase_ops,
               (double)(end - s->phase_begin) / 1e9, cpu_seconds() - s->phase_cpu,
               written_bytes() + mapped_bytes(s) - written, s->phase_value);
        fflush(stdout);
    }
    if (!side_close(s))
        die("%s", failure);
    if (s->path[0])
        remove_database(s->path);
    return 0;
}

/* ---- the driver ---- */

#define SIDES 3
static const char *const side_names[SIDES] = { "lsm", "ordinary", "default" };

struct child {
    const char *name;
    pid_t pid;
    FILE *to, *from;
};

static struct {
    uint64_t n;
    int rounds;
    bool quick;
    const char *only, *dir, *so, *tsv;
    char work[400];             /* removed at the end */
    char giant[400];            /* stays */
    char self[400];
} options;

static struct child child_start(const char *name, const char *dir)
{
    struct child c = { .name = name };
    int to[2], from[2];
    char rows[32];

    snprintf(rows, sizeof(rows), "%" PRIu64, options.n * 2);
    if (pipe(to) || pipe(from))
        die("pipe: %s", strerror(errno));
    fflush(NULL);
    c.pid = fork();
    if (c.pid < 0)
        die("fork: %s", strerror(errno));
    if (c.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execl(options.self, options.self, "--side", name, dir, options.so, rows, (char *)NULL);
        die("%s: %s", options.self, strerror(errno));
    }
    close(to[0]);
    close(from[1]);
    c.to = fdopen(to[1], "w");
    c.from = fdopen(from[0], "r");
    return c;
}

static struct turn child_run(struct child *c, const char *phase, uint64_t count, uint64_t batch)
{
    struct turn t = { 0 };
    char line[2048];

    fprintf(c->to, "%s %" PRIu64 " %" PRIu64 "\n", phase, count, batch);
    fflush(c->to);
    if (!fgets(line, sizeof(line), c->from))
        die("%s: the process ended in %s", c->name, phase);
    if (sscanf(line, "ok %" SCNu64 " %lf %lf %" SCNu64 " %lf", &t.ops, &t.seconds, &t.cpu_seconds,
               &t.written_bytes, &t.value) != 5)
        die("%s, %s: %s", c->name, phase, line);
    return t;
}

static void child_end(struct child *c)
{
    int status;

    fclose(c->to);
    fclose(c->from);
    if (waitpid(c->pid, &status, 0) != c->pid || status != 0)
        die("%s: ended with status %d", c->name, status);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* How a row of the table is judged. */
enum judge {
    FASTER,         /* lsm / ordinary, at least the goal */
    TIME,           /* time of lsm / time of ordinary, at most the goal */
    SMALLER,        /* lsm / ordinary, at most the goal */
    AT_MOST         /* lsm alone, at most the goal */
};

struct row {
    const char *label, *unit;
    enum judge judge;
    double goal;                /* 0: none */
    double aim;                 /* performance.md, "to lead them all", against "default"; 0: none */
    double value[SIDES];        /* < 0: not measured */
    double cpu_us[SIDES];       /* an operation, all threads, until quiet; < 0: not measured */
};

static struct row rows[80];
static int row_count, missed;

static void show_number(char *out, size_t size, double x)
{
    if (x < 0)
        snprintf(out, size, "-");
    else if (x >= 1e6)
        snprintf(out, size, "%.2fM", x / 1e6);
    else if (x >= 1e4)
        snprintf(out, size, "%.0fk", x / 1e3);
    else if (x >= 1e3)
        snprintf(out, size, "%.1fk", x / 1e3);
    else if (x >= 10)
        snprintf(out, size, "%.1f", x);
    else
        snprintf(out, size, "%.2f", x);
}

static void print_head(void)
{
    printf("%-44s %-7s %8s %8s %8s   %8s %8s %6s  %-8s %-5s %s\n", "", "unit", "lsm", "ordinary",
           "default", "x ordin.", "x defau.", "cpu x", "goal", "", "aim");
}

static void print_row(const struct row *r)
{
    char number[SIDES][16], ratio[2][16] = { "-", "-" }, goal[24] = "", aim[16] = "", cpu[16] = "";
    const char *verdict = "";

    for (int i = 0; i < SIDES; i++)
        show_number(number[i], sizeof(number[i]), r->value[i]);
    for (int i = 0; i < 2; i++)
        if (r->value[i + 1] > 0 && r->value[0] >= 0) {
            double x = r->value[0] / r->value[i + 1];

            snprintf(ratio[i], sizeof(ratio[i]), "%.2f", r->judge == TIME ? 1 / x : x);
        }
    if (r->goal > 0 && r->value[0] >= 0) {
        double x = r->judge == AT_MOST ? r->value[0] : r->value[0] / r->value[1];
        bool met = r->judge == FASTER ? x >= r->goal : r->judge == TIME ? 1 / x <= r->goal
                                                                        : x <= r->goal;

        snprintf(goal, sizeof(goal), "%s%g%s", r->judge == FASTER ? ">= " : "<= ", r->goal,
                 r->judge == AT_MOST ? "" : "x");
        verdict = met ? "pass" : "MISS";
        missed += !met;
    }
    if (r->aim > 0)
        snprintf(aim, sizeof(aim), "%.2fx", r->aim);
    if (r->cpu_us[0] > 0 && r->cpu_us[1] > 0)
        snprintf(cpu, sizeof(cpu), "%.2f", r->cpu_us[0] / r->cpu_us[1]);
    printf("%-44s %-7s %8s %8s %8s   %8s %8s %6s  %-8s %-5s %s\n", r->label, r->unit, number[0],
           number[1], number[2], ratio[0], ratio[1], cpu, goal, verdict, aim);
    fflush(stdout);
}

static struct row *row_add(const char *label, const char *unit, enum judge judge, double goal,
                           double aim)
{
    struct row *r = &rows[row_count++];

    assert(row_count <= (int)(sizeof(rows) / sizeof(*rows)));
    *r = (struct row){ label, unit, judge, goal, aim, { -1, -1, -1 }, { -1, -1, -1 } };
    return r;
}

static bool wanted(const char *label)
{
    return options.only == NULL || strstr(label, options.only) != NULL;
}

struct extras {
    double settle, written;     /* medians: seconds; bytes written, worker included */
};

/* Let all sides do a phase, in turns; a row with the rate of each. */
static void measure(struct child *sides, const char *label, const char *unit, const char *phase,
                    uint64_t count, uint64_t batch, int rounds, enum judge judge, double goal,
                    double aim, struct extras *extras)
{
    double rate[SIDES][ROUNDS_MAX], cpu[SIDES][ROUNDS_MAX];
    double wait[SIDES][ROUNDS_MAX], written[SIDES][ROUNDS_MAX];
    struct row *r;

    if (count == 0)
        count = 1;
    for (int round = 0; round < rounds; round++)
        for (int k = 0; k < SIDES; k++) {
            int i = (k + round) % SIDES;        /* nobody is always first */
            struct turn t = child_run(&sides[i], phase, count, batch), after;

            after = child_run(&sides[i], "settle", 0, 0);
            rate[i][round] = (double)t.ops / t.seconds;
            cpu[i][round] = (t.cpu_seconds + after.cpu_seconds) / (double)t.ops * 1e6;
            wait[i][round] = t.seconds + after.value;
            written[i][round] = (double)(t.written_bytes + after.written_bytes);
        }
    r = row_add(label, unit, judge, goal, aim);
    for (int i = 0; i < SIDES; i++) {
        r->value[i] = median(rate[i], rounds);
        r->cpu_us[i] = median(cpu[i], rounds);
        if (extras) {
            extras[i].settle = median(wait[i], rounds);
            extras[i].written = median(written[i], rounds);
        }
    }
    print_row(r);
}

static void measure_value(struct child *sides, const char *label, const char *unit,
                          const char *phase, uint64_t count, enum judge judge, double goal)
{
    struct row *r = row_add(label, unit, judge, goal, 0);

    for (int i = 0; i < SIDES; i++)
        r->value[i] = child_run(&sides[i], phase, count, 0).value;
    print_row(r);
}

static void measure_random(void)
{
    uint64_t n = options.n;
    int rounds = options.rounds;
    struct child sides[SIDES];
    struct extras extras[SIDES];
    struct row *r, *alone, *joint;

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);

    measure(sides, "random fill, transactions of 10,000", "rows/s", "fill_random", n, 10000, rounds,
            FASTER, 4, 6.6, extras);
    r = row_add("  the same until the worker is quiet", "rows/s", FASTER, 0, 0);
    for (int i = 0; i < SIDES; i++)
        r->value[i] = (double)n / extras[i].settle;
    print_row(r);
    r = row_add("  bytes written per byte stored", "x", SMALLER, 0, 0);
    for (int i = 0; i < SIDES; i++)
        r->value[i] = extras[i].written / ((double)n * ROW_BYTES);
    print_row(r);

    measure(sides, "point SELECT in a transaction, warm", "/s", "get_in_transaction", n / 5, 0,
            rounds + 2, TIME, 1.5, 1.31, NULL);
    measure(sides, "point SELECT, autocommit", "/s", "get_autocommit", n / 5, 0, rounds, TIME, 0,
            1.22, NULL);
    measure(sides, "point SELECT of a missing key, autocommit", "/s", "get_missing", n / 5, 0,
            rounds, TIME, 0, 1.42, NULL);
    measure(sides, "range of 100, two bounds", "/s", "range_bounds", n / 100, 100, rounds, TIME, 0,
            1.05, NULL);
    measure(sides, "ORDER BY LIMIT 100", "/s", "range_limit", n / 100, 100, rounds, TIME, 0, 1.04,
            NULL);
    measure(sides, "ORDER BY DESC LIMIT 100", "/s", "range_limit_desc", n / 100, 100, rounds, TIME,
            0, 1.04, NULL);
    measure(sides, "full scan", "rows/s", "scan", 0, 0, rounds + 2, TIME, 2, 1.03, NULL);
    measure(sides, "count(*)", "rows/s", "count", 0, 0, rounds + 2, TIME, 0, 1.05, NULL);
    measure_value(sides, "on disk after compact and close", "MB", "disk_bytes", 0, SMALLER, 0.55);
    measure(sides, "  then point SELECT in a transaction", "/s", "get_in_transaction", n / 5, 0,
            rounds, TIME, 0, 1.31, NULL);
    measure(sides, "  then full scan", "rows/s", "scan", 0, 0, rounds, TIME, 0, 1.03, NULL);

    measure(sides, "replace, random, transactions of 10,000", "rows/s", "replace", n / 10, 10000,
            rounds, FASTER, 0, 7.7, NULL);
    measure(sides, "update, random, transactions of 10,000", "rows/s", "update", n / 10, 10000,
            rounds, FASTER, 0, 1.62, NULL);
    measure(sides, "delete, random, transactions of 10,000", "rows/s", "delete", n / 20, 10000,
            rounds, FASTER, 0, 1.79, NULL);
    measure(sides, "insert, transactions of 1,000", "rows/s", "insert", n / 20, 1000, rounds,
            FASTER, 0, 0, NULL);
    measure(sides, "insert, transactions of 100", "rows/s", "insert", n / 20, 100, rounds, FASTER,
            0, 8.7, NULL);
    measure(sides, "insert, autocommit, WAL NORMAL", "rows/s", "insert", n / 20, 1, rounds, FASTER,
            4, 2.8, NULL);
    measure(sides, "insert, autocommit, WAL FULL", "rows/s", "insert_wal_full", n / 200, 1, rounds,
            FASTER, 1.1, 0, NULL);
    measure(sides, "insert, transactions of 1,000, WAL FULL", "rows/s", "insert_wal_full", n / 20,
            1000, rounds, FASTER, 0, 0, NULL);
    measure(sides, "insert, statements of 1,000 rows, WAL FULL", "rows/s", "insert_statements", n / 20,
            1000, rounds, FASTER, 0, 0, NULL);
    alone = &rows[row_count - 1];
    measure(sides, "  the same between BEGIN and COMMIT", "rows/s", "insert_transactions", n / 20, 1000,
            rounds, FASTER, 0, 0, NULL);
    joint = &rows[row_count - 1];
    r = row_add("  its time beside the statement alone", "x", AT_MOST, 1.15, 0);
    for (int i = 0; i < SIDES; i++)
        r->value[i] = alone->value[i] / joint->value[i];
    print_row(r);
    measure(sides, "insert, transactions of 100, WAL FULL", "rows/s", "insert_wal_full", n / 50, 100,
            rounds, FASTER, 0, 0, NULL);
    measure(sides, "insert, autocommit, DELETE FULL", "rows/s", "insert_delete_full", n / 1000, 1,
            rounds, FASTER, 4, 0, NULL);
    for (int i = 0; i < SIDES; i++)
        child_run(&sides[i], "wal_normal", 0, 0);
    measure(sides, "full scan after all that", "rows/s", "scan", 0, 0, rounds, TIME, 2, 0, NULL);
    measure_value(sides, "peak memory of all of it", "MiB", "peak_memory", 0, AT_MOST,
                  MEMORY_MIB + 16);
    measure_value(sides, "  of it counted by the store at the end", "MiB", "counted_memory", 0,
                  AT_MOST, 0);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);
}

static void measure_others(void)
{
    struct child sides[SIDES];

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);
    measure(sides, "sequential fill, transactions of 10,000", "rows/s", "fill_sequential",
            options.n / 2, 10000, options.rounds, FASTER, 0, 1.34, NULL);
    measure(sides, "queue, 10,000 deep, transactions of 1,000", "ops/s", "queue", options.n,
            1000, options.rounds, FASTER, 0, 1.06, NULL);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);
    measure_value(sides, "peak memory, one transaction of 1.2 n rows", "MiB", "one_transaction",
                  options.n * 6 / 5, AT_MOST, MEMORY_MIB + 16);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);
}

static void measure_giant(void)
{
    const char *label = "first row of a closed store of 1 GB";
    char path[500], stamp[64] = "", wanted_stamp[64];
    double ms[5];
    struct stat st;
    struct row *r;
    FILE *file;

    if (options.quick) {
        printf("%-44s left out: quick\n", label);
        return;
    }
    /* Made again by another build: its format may be another one. */
    if (stat(options.so, &st))
        die("%s: %s", options.so, strerror(errno));
    snprintf(wanted_stamp, sizeof(wanted_stamp), "%lld %lld", (long long)st.st_size,
             (long long)st.st_mtime);
    mkdir(options.giant, 0755);
    snprintf(path, sizeof(path), "%s/built-by", options.giant);
    file = fopen(path, "r");
    if (file) {
        if (!fgets(stamp, sizeof(stamp), file))
            stamp[0] = 0;
        fclose(file);
    }
    if (strcmp(stamp, wanted_stamp) != 0) {
        struct child c = child_start("lsm", options.giant);

        printf("(building the store of 1 GB in %s, once for each build)\n", options.giant);
        remove(path);
        child_run(&c, "giant_build", BIG_ROWS, 10000);
        child_end(&c);
        file = fopen(path, "w");
        if (file) {
            fputs(wanted_stamp, file);
            fclose(file);
        }
    }
    for (int i = 0; i < 5; i++) {
        struct child c = child_start("lsm", options.giant);

        ms[i] = child_run(&c, "giant_first_row", BIG_ROWS, 0).value;
        child_end(&c);
    }
    r = row_add(label, "ms", AT_MOST, 20, 0);
    r->value[0] = median(ms, 5);
    print_row(r);
}

static void write_tsv(void)
{
    static const char *const judges[] = { "faster", "time", "smaller", "at_most" };
    FILE *file = fopen(options.tsv, "w");

    if (file == NULL)
        die("%s: %s", options.tsv, strerror(errno));
    for (int i = 0; i < row_count; i++)
        for (int k = 0; k < SIDES; k++)
            if (rows[i].value[k] >= 0) {
                const char *label = rows[i].label;

                fprintf(file, "row\t%s\t%s\t%.6g\t%s\t%.4g\t-1\t-1\t-1\t%s\t%g\t%g\n", label,
                        side_names[k], rows[i].value[k], rows[i].unit, rows[i].cpu_us[k],
                        judges[rows[i].judge], rows[i].goal, rows[i].aim);
            }
    fclose(file);
}

static void parse_options(int argc, char **argv)
{
    ssize_t size = readlink("/proc/self/exe", options.self, sizeof(options.self) - 1);
    const char *tmp = getenv("TMPDIR");

    if (size <= 0)
        die("/proc/self/exe: %s", strerror(errno));
    options.n = 1000000;
    options.rounds = 3;
    options.dir = tmp ? tmp : "/tmp";
    options.so = "./lsmvtab.so";
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t name = value ? (size_t)(value - argv[i]) : 0;

        if (name == 1 && argv[i][0] == 'n')
            options.n = strtoull(value + 1, NULL, 10);
        else if (name == 6 && strncmp(argv[i], "rounds", 6) == 0)
            options.rounds = atoi(value + 1);
        else if (name == 5 && strncmp(argv[i], "quick", 5) == 0)
            options.quick = value[1] == '1';
        else if (name == 4 && strncmp(argv[i], "only", 4) == 0)
            options.only = value + 1;
        else if (name == 3 && strncmp(argv[i], "dir", 3) == 0)
            options.dir = value + 1;
        else if (name == 2 && strncmp(argv[i], "so", 2) == 0)
            options.so = value + 1;
        else if (name == 3 && strncmp(argv[i], "tsv", 3) == 0)
            options.tsv = value + 1;
        else
            die("usage: bench_sql [n=1000000] [rounds=3] [quick=1] [only=random|others|giant] "
                "[dir=/tmp] [so=./lsmvtab.so] [tsv=FILE]");
    }
    if (options.n < 10000 || options.rounds < 1 || options.rounds > ROUNDS_MAX - 2)
        die("n is at least 10000, rounds is 1 to %d", ROUNDS_MAX - 2);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--side") == 0)
        return side_main(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10));
    parse_options(argc, argv);
    snprintf(options.work, sizeof(options.work), "%s/lsmvtab-bench-XXXXXX", options.dir);
    snprintf(options.giant, sizeof(options.giant), "%s/lsmvtab-bench-1g", options.dir);
    if (mkdtemp(options.work) == NULL)
        die("%s: %s", options.work, strerror(errno));

    printf("SQLite %s; n = %" PRIu64 " rows of %d + %d bytes, %d rounds%s; WAL, synchronous=NORMAL "
           "where nothing else is said\n", sqlite3_libversion(), options.n, KEY_SIZE, VALUE_SIZE,
           options.rounds, options.quick ? ", quick" : "");
    printf("lsm: budget %d MiB; ordinary: WITHOUT ROWID, page cache %d MiB; default: WITHOUT "
           "ROWID, page cache 2 MB. SQLite's lsm1 is left out: Debian does not package it.\n",
           MEMORY_MIB, MEMORY_MIB);
    printf("\"x\" is lsm / other, of reads the time. cpu x: processor time of all threads over "
           "ordinary's. aim: rates over \"default\" that would lead every peer.\n\n");
    print_head();
    if (wanted("random"))
        measure_random();
    if (wanted("others"))
        measure_others();
    if (wanted("giant"))
        measure_giant();
    remove_tree(options.work);
    if (options.tsv)
        write_tsv();
    printf("\n%d goals missed\n", missed);
    return 0;
}

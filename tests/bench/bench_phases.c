/* bench_phases.c -- what a side can be told: to write, to read, to measure, to make a store of 1 GB. */
#include <assert.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench_side.h"

#define QUEUE_SECONDS_MAX 10u    /* of one round */

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

    ok = side_prepare(s, sql[kind], &stmt) && side_prepare(s, "BEGIN", &begin) &&
         side_prepare(s, "COMMIT", &commit);
    if (kind == WRITE_INSERT && s->rows + count > s->rows_max)
        ok = side_fail("%s: more rows than were planned", s->name);
    s->index_is_stale = true;
    side_phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t row = kind == WRITE_INSERT ? s->rows++ : random_alive(s);

        if (batch > 1 && i % batch == 0)
            ok = side_run(s, begin);
        s->version[row]++;                      /* DEAD + 1 is 0 */
        row_key(key, row, s->ordered);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        if (kind == WRITE_DELETE) {
            s->version[row] = DEAD;
            s->alive--;
        } else {
            row_value(value, row, s->version[row]);
            sqlite3_bind_blob(stmt, 2, value, VALUE_SIZE, SQLITE_STATIC);
            s->alive += kind == WRITE_INSERT;
        }
        ok = ok && side_run(s, stmt);
        if (ok && kind >= WRITE_UPDATE && sqlite3_changes(s->db) != 1)
            ok = side_fail("%s: a row is missing: %s", s->name, sql[kind]);
        if (ok && batch > 1 && (i % batch == batch - 1 || i == count - 1))
            ok = side_run(s, commit);
    }
    sqlite3_finalize(stmt);
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    s->phase_ops = count;
    return ok;
}

/* Statements of `batch` rows: "INSERT INTO t VALUES (?, ?), (?, ?) ...", in autocommit or not. */
struct many {
    sqlite3_stmt *stmt, *begin, *commit;
    uint8_t *data;
    uint64_t batch;
};

static bool many_begin(struct side *s, struct many *m, uint64_t count, uint64_t batch)
{
    static const char head[] = "INSERT INTO t VALUES(?, ?)", more[] = ", (?, ?)";
    char *sql = malloc(sizeof head + batch * sizeof more), *end;
    bool ok;

    *m = (struct many){ .data = malloc(batch * ROW_BYTES), .batch = batch };
    if (sql == NULL || m->data == NULL)
        bench_die("no memory");
    end = stpcpy(sql, head);
    for (uint64_t i = 1; i < batch; i++)
        end = stpcpy(end, more);
    ok = side_pragma(s, "WAL", "FULL") && side_prepare(s, sql, &m->stmt) &&
         side_prepare(s, "BEGIN", &m->begin) && side_prepare(s, "COMMIT", &m->commit);
    free(sql);
    if (s->rows + count > s->rows_max)
        ok = side_fail("%s: more rows than were planned", s->name);
    s->index_is_stale = true;
    return ok;
}

static void many_bind(struct side *s, struct many *m)
{
    for (uint64_t i = 0; i < m->batch; i++) {
        uint8_t *key = m->data + i * ROW_BYTES, *value = key + KEY_SIZE;
        int at = (int)(2 * i);
        uint64_t row = s->rows++;

        s->version[row]++;
        row_key(key, row, s->ordered);
        row_value(value, row, s->version[row]);
        sqlite3_bind_blob(m->stmt, at + 1, key, KEY_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(m->stmt, at + 2, value, VALUE_SIZE, SQLITE_STATIC);
        s->alive++;
    }
}

static bool many_run(struct side *s, struct many *m, bool autocommit)
{
    return autocommit ? side_run(s, m->stmt)
                      : side_run(s, m->begin) && side_run(s, m->stmt) && side_run(s, m->commit);
}

static void many_end(struct many *m)
{
    sqlite3_finalize(m->stmt);
    sqlite3_finalize(m->begin);
    sqlite3_finalize(m->commit);
    free(m->data);
}

static bool insert_many(struct side *s, uint64_t count, uint64_t batch, bool autocommit)
{
    struct many m;
    bool ok = many_begin(s, &m, count, batch);

    side_phase_starts(s);
    for (uint64_t i = 0; ok && i < count / batch; i++) {
        many_bind(s, &m);
        ok = many_run(s, &m, autocommit);
    }
    many_end(&m);
    s->phase_ops = count - count % batch;
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

/*
 * Both in turns, ROUND_STATEMENTS of each, since the time of a sync is not the same from one second to
 * the next: the median of the rounds' ratios, time between BEGIN and COMMIT over time of the statement alone.
 */
#define ROUND_STATEMENTS 2
#define ROUNDS_OF_BOTH_MAX 99
#define ROWS_IN_TURNS 1000

static bool insert_in_turns(struct side *s, uint64_t count, uint64_t batch)
{
    uint64_t rounds = count / (2 * ROUND_STATEMENTS * ROWS_IN_TURNS);
    double ratio[ROUNDS_OF_BOTH_MAX];
    struct many m;
    bool ok = many_begin(s, &m, count, ROWS_IN_TURNS);

    (void)batch;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_OF_BOTH_MAX ? ROUNDS_OF_BOTH_MAX : rounds;
    side_phase_starts(s);
    for (uint64_t r = 0; ok && r < rounds; r++) {
        uint64_t ns[2] = { 0, 0 };      /* alone, between BEGIN and COMMIT */
        uint64_t at = r;

        for (int i = 0; ok && i < 2 * ROUND_STATEMENTS; i++) {
            bool autocommit = ((uint64_t)i + r) % 2 == 0;       /* nobody is always first */
            uint64_t begin;

            many_bind(s, &m);
            begin = bench_now_ns();
            ok = many_run(s, &m, autocommit);
            ns[!autocommit] += bench_now_ns() - begin;
        }
        for (; at > 0 && ratio[at - 1] * (double)ns[0] > (double)ns[1]; at--)
            ratio[at] = ratio[at - 1];
        ratio[at] = (double)ns[1] / (double)ns[0];
    }
    many_end(&m);
    s->phase_ops = rounds * 2 * ROUND_STATEMENTS * ROWS_IN_TURNS;
    s->phase_value = rounds % 2 ? ratio[rounds / 2] : (ratio[rounds / 2 - 1] + ratio[rounds / 2]) / 2;
    return ok;
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
    return side_pragma(s, "WAL", "FULL") && write_rows(s, WRITE_INSERT, count, batch);
}

static bool insert_delete_full(struct side *s, uint64_t count, uint64_t batch)
{
    return side_pragma(s, "DELETE", "FULL") && write_rows(s, WRITE_INSERT, count, batch);
}

static bool wal_normal(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    return side_pragma(s, "WAL", "NORMAL");
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
            row_key(key, row, s->ordered);
            row_value(value, row, s->version[row]);
            s->index[count++] = (struct index_entry){ row_get_be64(key), row_sum(key, value) };
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
            return side_fail("%s: a key or value of another size", s->name);
        *sum += row_sum(key, value);
        ++*count;
    }
    return rc == SQLITE_DONE || side_fail_sql(s, sqlite3_sql(stmt));
}

enum get_kind { GET_ALIVE, GET_MISSING };

static bool get_rows(struct side *s, enum get_kind kind, uint64_t count, bool in_transaction)
{
    sqlite3_stmt *stmt = NULL;
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    bool ok = side_prepare(s, "SELECT v FROM t WHERE k = ?", &stmt);

    ok = ok && (!in_transaction || side_exec(s, "BEGIN"));
    side_phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t row = kind == GET_ALIVE ? random_alive(s) : s->rows_max + side_random(s) % s->rows;
        int rc;

        row_key(key, row, s->ordered);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
        if (kind == GET_MISSING) {
            if (rc != SQLITE_DONE)
                ok = side_fail("%s: a row that was never written", s->name);
        } else if (rc != SQLITE_ROW) {
            ok = side_fail("%s: row %" PRIu64 " is missing: %s", s->name, row, sqlite3_errmsg(s->db));
        } else {
            row_value(value, row, s->version[row]);
            if (sqlite3_column_bytes(stmt, 0) != VALUE_SIZE ||
                memcmp(sqlite3_column_blob(stmt, 0), value, VALUE_SIZE) != 0)
                ok = side_fail("%s: row %" PRIu64 " has another value", s->name, row);
        }
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    s->phase_ops = count;
    return ok && (!in_transaction || side_exec(s, "COMMIT"));
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
    bool ok = side_prepare(s, "SELECT k, v FROM t", &stmt);

    (void)count;
    (void)batch;
    index_build(s);
    side_phase_starts(s);
    ok = ok && read_rows(s, stmt, &seen, &sum);
    if (ok && (seen != s->alive || sum != index_sum(s, 0, s->alive)))
        ok = side_fail("%s: %" PRIu64 " rows, not %" PRIu64 ", or others", s->name, seen, s->alive);
    sqlite3_finalize(stmt);
    s->phase_ops = s->alive;
    return ok;
}

static bool count_all(struct side *s, uint64_t count, uint64_t batch)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = side_prepare(s, "SELECT count(*) FROM t", &stmt);

    (void)count;
    (void)batch;
    side_phase_starts(s);
    if (ok && sqlite3_step(stmt) != SQLITE_ROW)
        ok = side_fail_sql(s, "count");
    if (ok && (uint64_t)sqlite3_column_int64(stmt, 0) != s->alive)
        ok = side_fail("%s: count(*) is %lld, not %" PRIu64, s->name,
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
    bool ok = ranges ? side_prepare(s, sql[kind], &stmt) : side_fail("no memory");

    assert(!s->ordered);
    index_build(s);
    for (uint64_t i = 0; ok && i < count; i++)
        range_make(s, &ranges[i], kind, width);
    side_phase_starts(s);
    for (uint64_t i = 0; ok && i < count; i++) {
        uint64_t seen, sum;

        row_put_be64(low, ranges[i].low);
        row_put_be64(high, ranges[i].high);
        sqlite3_bind_blob(stmt, 1, low, 8, SQLITE_STATIC);
        if (kind == RANGE_BOUNDS)
            sqlite3_bind_blob(stmt, 2, high, 8, SQLITE_STATIC);
        else
            sqlite3_bind_int64(stmt, 2, (sqlite3_int64)width);
        ok = read_rows(s, stmt, &seen, &sum);
        if (ok && (seen != ranges[i].count || sum != ranges[i].sum))
            ok = side_fail("%s: %" PRIu64 " rows in a range, not %" PRIu64 ", or others", s->name, seen,
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
    bool ok = side_create(s, "queue", true, "id INTEGER PRIMARY KEY, v BLOB") &&
              side_exec(s, "BEGIN") &&
              side_prepare(s, "INSERT INTO t VALUES(?, ?)", &insert) &&
              side_prepare(s, "SELECT id, v FROM t ORDER BY id LIMIT 1", &head) &&
              side_prepare(s, "DELETE FROM t WHERE id = ?", &delete);

    for (; ok && front < (int64_t)count; end++) {
        if (end == depth) {
            ok = side_exec(s, "COMMIT; BEGIN");
            side_phase_starts(s);
        }
        row_value(value, (uint64_t)end, 0);
        sqlite3_bind_int64(insert, 1, end);
        sqlite3_bind_blob(insert, 2, value, VALUE_SIZE, SQLITE_STATIC);
        ok = ok && side_run(s, insert);
        if (!ok || end < depth)
            continue;
        row_value(got, (uint64_t)front, 0);
        if (sqlite3_step(head) != SQLITE_ROW || sqlite3_column_int64(head, 0) != front ||
            sqlite3_column_bytes(head, 1) != VALUE_SIZE ||
            memcmp(sqlite3_column_blob(head, 1), got, VALUE_SIZE) != 0)
            ok = side_fail("%s: the head is not %lld: %s", s->name, (long long)front,
                           sqlite3_errmsg(s->db));
        sqlite3_reset(head);
        sqlite3_bind_int64(delete, 1, front);
        ok = ok && side_run(s, delete);
        front++;
        if (ok && (uint64_t)front % batch == 0) {
            ok = side_exec(s, "COMMIT; BEGIN");
            if (bench_now_ns() - s->phase_begin > QUEUE_SECONDS_MAX * 1000000000u)
                break;
        }
    }
    ok = ok && side_exec(s, "COMMIT");
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
    char name[1024];

    measured_bytes = 0;
    for (size_t i = 0; i < SIDE_FILES; i++) {
        snprintf(name, sizeof(name), "%s%s", path, side_files[i]);
        nftw(name, add_size, 16, FTW_PHYS);
    }
    return measured_bytes;
}

/* Compact, close, measure; the database is open again afterwards. */
static bool disk_bytes(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    if (s->is_lsm && !side_exec(s, "INSERT INTO t(t) VALUES('compact')"))
        return false;
    if (!side_close(s))
        return false;
    sync();
    s->phase_value = (double)database_bytes(s->path) / 1e6;
    return side_open(s);
}

static bool peak_memory(struct side *s, uint64_t count, uint64_t batch)
{
    (void)count;
    (void)batch;
    s->phase_value = (double)(side_peak_kib() - s->memory_base_kib) / 1024;
    return true;
}

/* What the store counts of its own memory. */
static bool counted_memory(struct side *s, uint64_t count, uint64_t batch)
{
    uint64_t bytes = 0;

    (void)count;
    (void)batch;
    if (s->is_lsm && !side_stat(s, "memory_used", &bytes))
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
    return side_settle(s);
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
        row_put_be64(value + 8 * i, row_mix(row * 1000003 + (uint64_t)i));
}

static bool giant_build(struct side *s, uint64_t count, uint64_t batch)
{
    uint8_t key[KEY_SIZE], value[BIG_VALUE_SIZE];
    sqlite3_stmt *stmt = NULL;
    bool ok = side_create(s, "giant", false, COLUMNS) && side_exec(s, "BEGIN") &&
              side_prepare(s, "INSERT INTO t VALUES(?, ?)", &stmt);

    for (uint64_t row = 0; ok && row < count; row++) {
        row_key(key, row, false);
        giant_value(value, row);
        sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(stmt, 2, value, BIG_VALUE_SIZE, SQLITE_STATIC);
        ok = side_run(s, stmt);
        if (ok && row % batch == batch - 1)
            ok = side_exec(s, "COMMIT; BEGIN");
    }
    sqlite3_finalize(stmt);
    ok = ok && side_exec(s, "COMMIT") && side_settle(s) && side_close(s);
    s->path[0] = 0;                             /* it stays */
    return ok;
}

/* From sqlite3_open() to the first row, in milliseconds, in a process that is new. */
static bool giant_first_row(struct side *s, uint64_t count, uint64_t batch)
{
    uint8_t key[KEY_SIZE], value[BIG_VALUE_SIZE];
    char path[480];
    sqlite3_stmt *stmt = NULL;
    uint64_t begin = bench_now_ns(), row = side_random(s) % count;
    bool ok;

    (void)batch;
    snprintf(path, sizeof(path), "%s/giant-%s.db", s->dir, s->name);
    row_key(key, row, false);
    ok = giant_open(s, path) && side_prepare(s, "SELECT v FROM t WHERE k = ?", &stmt);
    sqlite3_bind_blob(stmt, 1, key, KEY_SIZE, SQLITE_STATIC);
    if (ok && sqlite3_step(stmt) != SQLITE_ROW)
        ok = side_fail_sql(s, "the first row");
    s->phase_value = (double)(bench_now_ns() - begin) / 1e6;
    giant_value(value, row);
    if (ok && (sqlite3_column_bytes(stmt, 0) != BIG_VALUE_SIZE ||
               memcmp(sqlite3_column_blob(stmt, 0), value, BIG_VALUE_SIZE) != 0))
        ok = side_fail("%s: another value", s->name);
    sqlite3_finalize(stmt);
    ok = side_close(s) && ok;
    s->path[0] = 0;
    return ok;
}

/* ---- their names ---- */

static const struct side_phase phases[] = {
    { "fill_random", fill_random },
    { "fill_sequential", fill_sequential },
    { "insert", insert_more },
    { "insert_wal_full", insert_wal_full },
    { "insert_delete_full", insert_delete_full },
    { "insert_statements", insert_statements },
    { "insert_transactions", insert_transactions },
    { "insert_in_turns", insert_in_turns },
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

const struct side_phase *side_phase_find(const char *name)
{
    for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++)
        if (strcmp(phases[i].name, name) == 0)
            return &phases[i];
    return NULL;
}

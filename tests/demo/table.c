/*
 * table.c -- databases, rows in and out, sums, figures, progress.
 */
#define XXH_INLINE_ALL
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/demo/table.h"

const char *const demo_side_names[DEMO_SIDE_COUNT] = { "lsm", "ordinary" };

struct demo_source *demo_source_open(const struct demo *demo)
{
    struct demo_source *source = demo->is_large ? demo_contents_open(demo->limit)
                                                : demo_collect_open(demo->root);

    if (source == NULL)
        exit(2);
    return source;
}

/* ---- SQL ---------------------------------------------------------------------- */

void demo_die(sqlite3 *db, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "demo: %s: %s (%d)\n", what, sqlite3_errmsg(db), sqlite3_extended_errcode(db));
    exit(2);
}

const char *demo_database(enum demo_side side)
{
    return side == DEMO_LSM ? "lsm.db" : "ordinary.db";
}

sqlite3 *demo_open(const struct demo *demo, const char *name, bool with_extension)
{
    char path[1000];
    sqlite3 *db;
    char *error = NULL;

    snprintf(path, sizeof(path), "%s/%s", demo->directory, name);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        demo_die(db, path);
    sqlite3_busy_timeout(db, 10000);
    if (with_extension) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
        if (sqlite3_load_extension(db, demo->extension, NULL, &error) != SQLITE_OK) {
            fprintf(stderr, "demo: %s: %s\n", demo->extension, error);
            exit(2);
        }
    } else {
        demo_exec(db, "PRAGMA cache_size = -65536");
    }
    demo_exec(db, "PRAGMA journal_mode = WAL");
    demo_exec(db, "PRAGMA synchronous = NORMAL");
    return db;
}

void demo_close(sqlite3 *db)
{
    if (sqlite3_close(db) != SQLITE_OK)
        demo_die(db, "close");
}

sqlite3_stmt *demo_prepare(sqlite3 *db, const char *format, ...)
{
    sqlite3_stmt *stmt = NULL;
    va_list args;
    char *sql;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        demo_die(db, sql);
    sqlite3_free(sql);
    return stmt;
}

bool demo_step(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);

    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        demo_die(sqlite3_db_handle(stmt), sqlite3_sql(stmt));
    return rc == SQLITE_ROW;
}

void demo_exec(sqlite3 *db, const char *format, ...)
{
    va_list args;
    char *error = NULL;
    char *sql;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        demo_die(db, sql);
    sqlite3_free(sql);
}

int64_t demo_integer(sqlite3 *db, const char *format, ...)
{
    sqlite3_stmt *stmt;
    int64_t result = 0;
    va_list args;
    char *sql;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    stmt = demo_prepare(db, "%s", sql);
    sqlite3_free(sql);
    if (demo_step(stmt))
        result = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return result;
}

void demo_bind_row(sqlite3_stmt *stmt, const struct demo_value *row, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        switch (row[i].type) {
        case SQLITE_INTEGER:
            sqlite3_bind_int64(stmt, i + 1, row[i].integer);
            break;
        case SQLITE_FLOAT:
            sqlite3_bind_double(stmt, i + 1, row[i].real);
            break;
        case SQLITE_TEXT:
            sqlite3_bind_text(stmt, i + 1, row[i].data, (int)row[i].size, SQLITE_STATIC);
            break;
        case SQLITE_BLOB:
            sqlite3_bind_blob(stmt, i + 1, row[i].data, (int)row[i].size, SQLITE_STATIC);
            break;
        default:
            sqlite3_bind_null(stmt, i + 1);
            break;
        }
    }
}

/* ---- sums ----------------------------------------------------------------------- */

/* Each value goes in with its type and size, so that no two rows give the same bytes. */
void demo_sum_row(struct demo_sum *sum, const struct demo_value *row, int count)
{
    XXH3_state_t state;
    XXH128_hash_t hash;
    int i;

    XXH3_128bits_reset(&state);
    for (i = 0; i < count; i++) {
        uint64_t head[2] = { (uint64_t)row[i].type, row[i].size };
        const void *data = row[i].data;
        size_t size = row[i].size;

        if (row[i].type == SQLITE_INTEGER || row[i].type == SQLITE_FLOAT) {
            data = row[i].type == SQLITE_INTEGER ? (const void *)&row[i].integer
                                                 : (const void *)&row[i].real;
            size = 8;
        }
        XXH3_128bits_update(&state, head, sizeof(head));
        if (size)
            XXH3_128bits_update(&state, data, size);
        sum->raw_bytes += size;
    }
    hash = XXH3_128bits_digest(&state);
    sum->rows++;
    sum->set[0] += hash.low64;
    sum->set[1] += hash.high64;
    sum->list = XXH3_64bits_withSeed(&hash, sizeof(hash), sum->list);
}

static void column(sqlite3_stmt *stmt, int i, struct demo_value *v)
{
    *v = (struct demo_value){ sqlite3_column_type(stmt, i), 0, 0, NULL, 0 };
    switch (v->type) {
    case SQLITE_INTEGER:
        v->integer = sqlite3_column_int64(stmt, i);
        break;
    case SQLITE_FLOAT:
        v->real = sqlite3_column_double(stmt, i);
        break;
    case SQLITE_TEXT:
        v->data = sqlite3_column_text(stmt, i);
        v->size = (size_t)sqlite3_column_bytes(stmt, i);
        break;
    case SQLITE_BLOB:
        v->data = sqlite3_column_blob(stmt, i);
        v->size = (size_t)sqlite3_column_bytes(stmt, i);
        break;
    default:
        break;
    }
}

void demo_sum_select(struct demo_sum *sum, sqlite3_stmt *stmt)
{
    struct demo_value row[DEMO_COLUMN_MAX];
    int count = sqlite3_column_count(stmt);
    int i;

    while (demo_step(stmt)) {
        for (i = 0; i < count; i++)
            column(stmt, i, &row[i]);
        demo_sum_row(sum, row, count);
    }
}

bool demo_sum_equal_set(const struct demo_sum *a, const struct demo_sum *b)
{
    return a->rows == b->rows && a->raw_bytes == b->raw_bytes && a->set[0] == b->set[0]
           && a->set[1] == b->set[1];
}

/* ---- figures ---------------------------------------------------------------------- */

double demo_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static FILE *figures(const struct demo *demo, const char *mode)
{
    char path[1000];

    snprintf(path, sizeof(path), "%s/figures", demo->directory);
    return fopen(path, mode);
}

void demo_figure_set(const struct demo *demo, const char *name, double value)
{
    FILE *f = figures(demo, "a");

    if (f == NULL)
        return;
    fprintf(f, "%s %.17g\n", name, value);
    fclose(f);
}

bool demo_figure_get(const struct demo *demo, const char *name, double *value)
{
    FILE *f = figures(demo, "r");
    char found[100];
    bool has = false;
    double v;

    while (f && fscanf(f, "%99s %lf", found, &v) == 2) {
        if (strcmp(found, name) == 0) {
            *value = v;
            has = true;
        }
    }
    if (f)
        fclose(f);
    return has;
}

/* ---- progress ------------------------------------------------------------------------ */

#define BAR_SIZE 24

void demo_progress_begin(struct demo_progress *p, const char *label, uint64_t total)
{
    *p = (struct demo_progress){ .label = label, .total = total };
    p->begin = demo_seconds();
}

void demo_progress_show(struct demo_progress *p, uint64_t rows, bool is_end)
{
    static const char marks[] = "########################";
    static const char blanks[] = "........................";
    double now = demo_seconds();
    double rate = now > p->begin ? (double)rows / (now - p->begin) : 0;
    int full = p->total ? (int)(rows * BAR_SIZE / p->total) : is_end ? BAR_SIZE : 0;
    int percent = p->total ? (int)(rows * 100 / p->total) : is_end ? 100 : 0;

    if (full > BAR_SIZE)
        full = BAR_SIZE;
    if (isatty(STDOUT_FILENO)) {
        if (!is_end && now - p->shown < 0.05)
            return;
        p->shown = now;
        printf("\r   %-12s[%.*s%.*s] %3d %% %12s rows %12s rows/s", p->label, full, marks,
               BAR_SIZE - full, blanks, percent, demo_count(rows), demo_count((uint64_t)rate));
        if (is_end)
            putchar('\n');
    } else {
        int quarter = p->total ? percent / 25 : (int)((now - p->begin) / 5);

        if (!is_end && (quarter == p->quarter || percent == 100))
            return;
        p->quarter = quarter;
        printf("   %-12s", p->label);
        if (p->total || is_end)
            printf("%3d %% ", percent);
        printf("%12s rows %12s rows/s\n", demo_count(rows), demo_count((uint64_t)rate));
    }
    fflush(stdout);
}

/* ---- words ----------------------------------------------------------------------------- */

const char *demo_count(uint64_t n)
{
    static char space[8][32];
    static unsigned turn;
    char *s = space[turn++ % 8] + 31;
    int digits = 0;

    *s = '\0';
    do {
        if (digits && digits % 3 == 0)
            *--s = ',';
        *--s = (char)('0' + n % 10);
        digits++;
    } while (n /= 10);
    return s;
}

const char *demo_bytes(double n)
{
    static char space[8][32];
    static unsigned turn;
    char *s = space[turn++ % 8];

    if (n < 1e4)
        snprintf(s, 32, "%.0f B", n);
    else if (n < 1e6)
        snprintf(s, 32, "%.1f kB", n / 1e3);
    else
        snprintf(s, 32, "%.1f MB", n / 1e6);
    return s;
}

bool demo_check(struct demo *demo, bool is_right, const char *format, ...)
{
    va_list args;

    printf("   %s ", is_right ? "ok  " : "FAIL");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    demo_figure_set(demo, is_right ? "checks_ok" : "checks_failed", 1);
    if (!is_right)
        demo->failed++;
    return is_right;
}

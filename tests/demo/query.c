/*
 * query.c -- the same SELECTs on either side: their times, and whether they answer
 * alike.
 *
 * Point and range queries run for keys that are drawn at random from the table, in
 * one read transaction. The others run three times, and the best time counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/table.h"

#define KEY_COUNT 20000

struct query {
    const char *name;           /* of the figure */
    const char *words;
    const char *sql;
    int key_count;              /* how many keys it runs for; 0: it has no parameters */
    const char *suffix;         /* appended to a key: a row that is not there */
    bool is_range;              /* ?1 the key's directory, ?2 what comes behind it */
    bool is_shown;
};

static const struct query file_queries[] = {
    { "point", "point SELECT, a key that is there",
      "SELECT size, package, md5 FROM files WHERE path = ?", KEY_COUNT, "", false, false },
    { "miss", "point SELECT, a key that is not",
      "SELECT size, package, md5 FROM files WHERE path = ?", KEY_COUNT, "~", false, false },
    { "range", "the last 10 of a directory",
      "SELECT path, size FROM files WHERE path >= ? AND path < ? ORDER BY path DESC LIMIT 10",
      KEY_COUNT / 4, "", true, false },
    { "prefix", "all documentation (GLOB)",
      "SELECT count(*), sum(size) FROM files WHERE path GLOB '/usr/share/doc/*'", 0, "", false,
      true },
    { "join", "bytes by section of Debian (join)",
      "SELECT section, count(*), sum(size) FROM files JOIN packages USING (package) "
      "GROUP BY section ORDER BY 3 DESC LIMIT 3", 0, "", false, true },
    { "aggregate", "all rows (aggregate)",
      "SELECT count(*), sum(size), max(mtime) FROM files", 0, "", false, true },
    { "group", "bytes that are there twice (group)",
      "SELECT count(*), sum(bytes) FROM (SELECT (count(*) - 1) * size AS bytes FROM files "
      "WHERE md5 NOT NULL GROUP BY md5, size HAVING count(*) > 1)", 0, "", false, true },
};

static const struct query contents_queries[] = {
    { "point", "point SELECT, a path that is there",
      "SELECT package, section FROM contents WHERE path = ?", KEY_COUNT, "", false, false },
    { "miss", "point SELECT, a path that is not",
      "SELECT package, section FROM contents WHERE path = ?", KEY_COUNT, "~", false, false },
    { "range", "the last 10 of a directory",
      "SELECT path, package FROM contents WHERE path >= ? AND path < ? "
      "ORDER BY path DESC, package DESC, list DESC LIMIT 10", KEY_COUNT / 4, "", true, false },
    { "prefix", "all commands (GLOB)",
      "SELECT count(*), count(DISTINCT package) FROM contents WHERE path GLOB 'usr/bin/*'", 0, "",
      false, true },
    { "join", "files of what is installed here (join)",
      "SELECT packages.section, count(*) FROM contents JOIN packages USING (package) "
      "GROUP BY 1 ORDER BY 2 DESC LIMIT 3", 0, "", false, true },
    { "aggregate", "all rows (aggregate)",
      "SELECT count(*), sum(length(path)), max(length(path)) FROM contents", 0, "", false, true },
    { "group", "paths in several packages (group)",
      "SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM contents GROUP BY path "
      "HAVING count(DISTINCT package) > 1)", 0, "", false, true },
};

/* The same numbers each time. */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Keys at random: a sample of fixed size from one pass, then shuffled. */
static size_t draw_keys(sqlite3 *db, const char *table, char **keys)
{
    sqlite3_stmt *stmt = demo_prepare(db, "SELECT path FROM %s", table);
    uint64_t state = 1, seen = 0;
    size_t count = 0, i;

    while (demo_step(stmt)) {
        uint64_t at = seen++ < KEY_COUNT ? count : draw(&state) % seen;

        if (at >= KEY_COUNT)
            continue;
        if (at == count)
            keys[count++] = NULL;
        free(keys[at]);
        keys[at] = strdup((const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    for (i = count; i > 1; i--) {
        size_t other = draw(&state) % i;
        char *key = keys[i - 1];

        keys[i - 1] = keys[other];
        keys[other] = key;
    }
    return count;
}

static void bind_key(sqlite3_stmt *stmt, const struct query *q, const char *key)
{
    char from[5000], to[5000];
    size_t size;

    if (!q->is_range) {
        snprintf(from, sizeof(from), "%s%s", key, q->suffix);
        sqlite3_bind_text(stmt, 1, from, -1, SQLITE_TRANSIENT);
        return;
    }
    size = strrchr(key, '/') ? (size_t)(strrchr(key, '/') - key) : 0;
    snprintf(from, sizeof(from), "%.*s/", (int)size, key);
    snprintf(to, sizeof(to), "%.*s0", (int)size, key);      /* '0' follows '/' */
    sqlite3_bind_text(stmt, 1, from, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(stmt, 2, to, -1, SQLITE_TRANSIENT);
}

/* Returns seconds for one execution. */
static double run(sqlite3 *db, const struct query *q, char **keys, size_t key_count,
                  struct demo_sum *sum)
{
    sqlite3_stmt *stmt = demo_prepare(db, "%s", q->sql);
    size_t count = key_count < (size_t)q->key_count ? key_count : (size_t)q->key_count;
    double best = 1e9;
    int round;

    for (round = 0; round < 3; round++) {
        struct demo_sum unused = { 0, 0, { 0, 0 }, 0 };
        double begin;

        demo_exec(db, "BEGIN");
        begin = demo_seconds();
        if (q->key_count == 0)
            demo_sum_select(&unused, stmt);
        for (size_t i = 0; i < count; i++) {
            bind_key(stmt, q, keys[i]);
            demo_sum_select(&unused, stmt);
            sqlite3_reset(stmt);
        }
        begin = demo_seconds() - begin;
        sqlite3_reset(stmt);
        demo_exec(db, "COMMIT");
        *sum = unused;
        if (begin < best)
            best = begin;
    }
    sqlite3_finalize(stmt);
    return best / (count ? (double)count : 1);
}

static const char *duration(double seconds)
{
    static char space[4][32];
    static unsigned turn;
    char *s = space[turn++ % 4];

    if (seconds < 1e-3)
        snprintf(s, 32, "%.1f us", seconds * 1e6);
    else
        snprintf(s, 32, "%.1f ms", seconds * 1e3);
    return s;
}

static void show_rows(sqlite3 *db, const struct query *q)
{
    sqlite3_stmt *stmt = demo_prepare(db, "%s", q->sql);

    while (demo_step(stmt)) {
        printf("      ");
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            if (sqlite3_column_type(stmt, i) == SQLITE_INTEGER)
                printf("%s%s", i ? "   " : "", demo_count((uint64_t)sqlite3_column_int64(stmt, i)));
            else if (sqlite3_column_type(stmt, i) == SQLITE_FLOAT)
                printf("%s%.0f", i ? "   " : "", sqlite3_column_double(stmt, i));
            else
                printf("%s%s", i ? "   " : "", (const char *)sqlite3_column_text(stmt, i));
        }
        putchar('\n');
    }
    sqlite3_finalize(stmt);
}

void demo_query(struct demo *demo)
{
    const struct query *queries = demo->is_large ? contents_queries : file_queries;
    size_t count = demo->is_large ? sizeof(contents_queries) / sizeof(contents_queries[0])
                                  : sizeof(file_queries) / sizeof(file_queries[0]);
    char **keys = calloc(KEY_COUNT, sizeof(keys[0]));
    sqlite3 *db[DEMO_SIDE_COUNT];
    size_t key_count, i;
    bool is_alike = true;

    for (int side = 0; side < DEMO_SIDE_COUNT; side++)
        db[side] = demo_open(demo, demo_database(side), side == DEMO_LSM);
    key_count = draw_keys(db[DEMO_ORDINARY], demo->is_large ? "contents" : "files", keys);
    for (i = 0; i < count; i++) {
        const struct query *q = &queries[i];
        struct demo_sum sum[DEMO_SIDE_COUNT];
        double seconds[DEMO_SIDE_COUNT];
        char name[60];

        printf("   %s\n", q->sql);
        for (int side = 0; side < DEMO_SIDE_COUNT; side++) {
            seconds[side] = run(db[side], q, keys, key_count, &sum[side]);
            snprintf(name, sizeof(name), "%s_%s", q->name, demo_side_names[side]);
            demo_figure_set(demo, name, seconds[side]);
        }
        if (q->is_shown)
            show_rows(db[DEMO_LSM], q);
        printf("      lsm %s, ordinary %s\n", duration(seconds[DEMO_LSM]),
               duration(seconds[DEMO_ORDINARY]));
        if (sum[0].list != sum[1].list || sum[0].rows != sum[1].rows) {
            demo_check(demo, false, "the two sides answer differently: %s", q->sql);
            is_alike = false;
        }
    }
    if (is_alike)
        demo_check(demo, true, "both sides gave the same answer to all of them");
    for (i = 0; i < key_count; i++)
        free(keys[i]);
    free(keys);
    for (int side = 0; side < DEMO_SIDE_COUNT; side++)
        demo_close(db[side]);
}

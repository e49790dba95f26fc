/*
 * source.h -- where the demo's rows come from: something real that can be read
 * again, so that what a table holds can be compared with it.
 *
 * Bytes of a row belong to the source and stay until its next row.
 */
#ifndef LSM_TESTS_DEMO_SOURCE_H
#define LSM_TESTS_DEMO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEMO_COLUMN_MAX 8

/* One value as SQLite knows it; type is SQLITE_INTEGER, SQLITE_FLOAT, ... */
struct demo_value {
    int type;
    int64_t integer;
    double real;
    const void *data;
    size_t size;
};

struct demo_source {
    const char *table;          /* what the table is called */
    const char *columns;        /* its definition, as between the parentheses of CREATE TABLE */
    const char *what;           /* in words */
    int column_count;
    uint64_t row_count;         /* 0: not known before it is read */
    /* One row; false: there are no more. */
    bool (*next)(struct demo_source *source, struct demo_value *row);
    void (*rewind)(struct demo_source *source);
    void (*close)(struct demo_source *source);
};

/* collect.c: every file below `root`. */
struct demo_source *demo_collect_open(const char *root);
/* Why may the row of `path` differ from what was loaded at `since`: true, if the file (or, when
   it is gone, its directory) was changed then or later. */
bool demo_collect_changed(const char *path, int64_t since);

/* contents.c: Debian's Contents index, as apt-file fetched it; at most `limit` rows (0: all).
   NULL, and why on stderr: there is none. */
struct demo_source *demo_contents_open(uint64_t limit);

/* packages.c: the packages that are installed here. Calls fn for each. */
struct demo_package {
    const char *name, *version, *section;
    int64_t installed_kb;
};
void demo_packages_each(void (*fn)(void *ctx, const struct demo_package *package), void *ctx);

#endif

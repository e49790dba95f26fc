/*
 * bench_side.h -- a side of bench_sql: a process that is told `PHASE COUNT BATCH`
 * and answers with a struct turn.
 *
 *     bench_side.c        a database, statistics, the loop
 *     bench_phases.c      what a phase does
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "tests/bench/bench_rows.h"

#define BIG_VALUE_SIZE 1000
#define BIG_ROWS 1000000        /* of BIG_VALUE_SIZE random bytes: a store of 1 GB */
#define MEMORY_MIB 64
#define DEAD 255                /* the version of a row that was deleted or never written */
#define COLUMNS "k BLOB PRIMARY KEY, v BLOB"

/* What one turn of one side measured. */
struct turn {
    uint64_t ops;
    double seconds;
    double cpu_seconds;         /* all threads */
    uint64_t written_bytes;     /* handed to write(2) and its kin; mapped pages do not count */
    double value;               /* of phases that measure something else than time */
};

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

int side_main(const char *name, const char *dir, const char *so, uint64_t rows_max);

/* False: side_fail has said why. */
struct side_phase {
    const char *name;
    bool (*run)(struct side *s, uint64_t count, uint64_t batch);
};
const struct side_phase *side_phase_find(const char *name);     /* NULL: there is none */

/* ---- for the driver, too ---- */

void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t bench_now_ns(void);
void bench_remove_tree(const char *path);

/* ---- a side's database ---- */

enum { SIDE_FILES = 5 };
extern const char *const side_files[SIDE_FILES];        /* what is put behind its name */

/* A new database, named `name`, with an empty table; the one before is removed. */
bool side_create(struct side *s, const char *name, bool ordered, const char *columns);
bool side_open(struct side *s);
bool side_close(struct side *s);

bool side_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool side_fail_sql(struct side *s, const char *what);

bool side_exec(struct side *s, const char *sql);
bool side_prepare(struct side *s, const char *sql, sqlite3_stmt **stmt);
bool side_run(struct side *s, sqlite3_stmt *stmt);
bool side_pragma(struct side *s, const char *journal, const char *sync);
uint64_t side_random(struct side *s);

/* What was before is preparation. */
void side_phase_starts(struct side *s);
/* Wait until the worker has nothing more to do. */
bool side_settle(struct side *s);

bool side_stat(struct side *s, const char *name, uint64_t *value);
long side_peak_kib(void);

#endif

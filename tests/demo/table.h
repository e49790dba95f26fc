/*
 * table.h -- what the parts of the demo share: databases, rows going in and
 * coming out, sums over them, and the figures for the table at the end.
 *
 * Failures of SQLite end the program with a message: a demo has nothing to save.
 */
#ifndef LSM_TESTS_DEMO_TABLE_H
#define LSM_TESTS_DEMO_TABLE_H

#include <sqlite3.h>

#include "tests/demo/source.h"

/* The two sides: the same rows in an lsm table and in an ordinary one. */
enum demo_side { DEMO_LSM = 0, DEMO_ORDINARY = 1, DEMO_SIDE_COUNT = 2 };

struct demo {
    const char *extension;      /* what to load */
    const char *directory;      /* of the databases and the figures */
    const char *root;           /* what to collect */
    bool is_large;              /* the Contents index instead */
    uint64_t limit;             /* rows at most, 0: all */
    int failed;                 /* checks that failed */
};

extern const char *const demo_side_names[DEMO_SIDE_COUNT];

struct demo_source *demo_source_open(const struct demo *demo);

/* <directory>/<name>, with the extension if it is the lsm side; WAL, synchronous=NORMAL, and
   for either side 64 MiB of memory. */
sqlite3 *demo_open(const struct demo *demo, const char *name, bool with_extension);
void demo_close(sqlite3 *db);
const char *demo_database(enum demo_side side);

void demo_exec(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t demo_integer(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
sqlite3_stmt *demo_prepare(sqlite3 *db, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One step; true: a row. */
bool demo_step(sqlite3_stmt *stmt);
void demo_bind_row(sqlite3_stmt *stmt, const struct demo_value *row, int count);
void demo_die(sqlite3 *db, const char *what) __attribute__((noreturn));

/* Sums over rows: `set` does not depend on their order, `list` does. */
struct demo_sum {
    uint64_t rows, raw_bytes;
    uint64_t set[2];
    uint64_t list;
};
void demo_sum_row(struct demo_sum *sum, const struct demo_value *row, int count);
/* All rows of a SELECT. */
void demo_sum_select(struct demo_sum *sum, sqlite3_stmt *stmt);
bool demo_sum_equal_set(const struct demo_sum *a, const struct demo_sum *b);

double demo_seconds(void);

/* Figures: appended to <directory>/figures, the last of a name counts. */
void demo_figure_set(const struct demo *demo, const char *name, double value);
bool demo_figure_get(const struct demo *demo, const char *name, double *value);

/* A bar with rows/s on a terminal, else a line each quarter. total 0: not known. */
struct demo_progress {
    const char *label;
    uint64_t total;
    double begin, shown;
    int quarter;
};
void demo_progress_begin(struct demo_progress *p, const char *label, uint64_t total);
void demo_progress_show(struct demo_progress *p, uint64_t rows, bool is_end);

/* "1,234,567" in one of a few buffers that take turns. */
const char *demo_count(uint64_t n);
/* "12.3 MB" */
const char *demo_bytes(double n);

/* Print a check and its outcome. */
bool demo_check(struct demo *demo, bool is_right, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The chapters: load.c, verify.c, query.c, kill.c, report.c */
void demo_load(struct demo *demo);
void demo_verify(struct demo *demo);
void demo_query(struct demo *demo);
void demo_kill(struct demo *demo);
void demo_write_again(struct demo *demo, int ack_fd, const char *journal_mode);
/* Compare what a killed writer left with the commits that it acknowledged. */
bool demo_check_again(struct demo *demo, uint64_t acknowledged, uint64_t *found);
void demo_compact(struct demo *demo);
void demo_report(struct demo *demo);

#endif

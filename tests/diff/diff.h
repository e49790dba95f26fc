/*
 * diff.h -- one history of SQL in two databases: in one the tables are `lsm`
 * tables, in the other ordinary WITHOUT ROWID tables with the same columns.
 * Each step must answer alike: rows with their types and bytes, extended result
 * code, error text, changes(), total_changes(), last_insert_rowid(), autocommit.
 *
 *     diff_make.c     a random history from a seed (diff_maker.h)
 *     diff_play.c     plays it on both sides and compares
 *
 * A history is plain data, so that one that differs can be shortened: steps are
 * left out as long as a difference stays.
 *
 * `@TABLE name(columns)@` in a step becomes either kind of table. Steps that begin
 * with a dot: `.reopen`, `.flush`, `.compact` (the lsm side only, what they answer
 * does not matter).
 */
#ifndef TESTS_DIFF_DIFF_H
#define TESTS_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIFF_PARAM_MAX 8
#define DIFF_CONN_MAX 3

enum {
    DIFF_ORDERED = 1,           /* the rows have one order */
    DIFF_CHANGES = 2            /* changes() says something after it */
};

struct diff_step {
    int conn;
    char *sql;
    char *params[DIFF_PARAM_MAX];       /* as SQL literals; bound as what they evaluate to */
    int param_count;
    unsigned flags;
};

struct diff_history {
    uint64_t seed;
    const char *journal, *encoding;
    int page_size;
    int conn_count;
    struct diff_step *steps;
    size_t count, capacity;
};

void diff_make(struct diff_history *history, uint64_t seed, size_t step_count);
void diff_clear(struct diff_history *history);

/*
 * Play the steps whose `used` is true (NULL: all) in fresh databases in `dir`. True: all
 * answered alike. Else *failed is the step, and `why` says what differed.
 */
bool diff_play(const struct diff_history *history, const bool *used, const char *dir,
               size_t *failed, char *why, size_t why_size);

#endif

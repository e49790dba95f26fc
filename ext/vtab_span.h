/*
 * vtab_span.h -- where a plan's rows lie: stretches of encoded keys, sorted and apart from each other.
 *
 *     k = 12                      one key; where text like '12' is among untyped keys, two
 *     k IN (1, 2) AND b > 'x'     a stretch for each value
 *     k GLOB 'x*'                 text that begins so, and blobs
 */
#ifndef LSM_EXT_VTAB_SPAN_H
#define LSM_EXT_VTAB_SPAN_H

#include "ext/vtab.h"

struct lsm_vtab_span {
    size_t lower_off, lower_size;       /* in the list's bytes */
    size_t upper_off, upper_size;
    bool has_upper, is_point;
};

struct lsm_vtab_spans {
    struct lsm_vtab_span *span;
    size_t count, capacity;
    struct lsm_vtab_buf bytes;
    struct lsm_vtab_range range;        /* the one being made; its memory is kept */
};

void lsm_vtab_spans_init(struct lsm_vtab_spans *spans);
void lsm_vtab_spans_clear(struct lsm_vtab_spans *spans);

/*
 * Those of a plan with the arguments of xFilter, instead of what was there; keeps its memory. *must_sort: an equality that
 * ORDER BY relies on is no single key. A code of SQLite's; an error of the engine's has its text in the table.
 */
int lsm_vtab_spans_make(struct lsm_vtab_spans *spans, struct lsm_vtab_table *table, const struct lsm_vtab_plan *plan,
                        const struct lsm_read *read, sqlite3_value **argv, bool *must_sort);

/* [lower, upper); upper NULL: to the end. */
struct lsm_slice lsm_vtab_span_lower(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span);
struct lsm_slice lsm_vtab_span_upper(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span);

#endif

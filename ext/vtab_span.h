/*
 * vtab_span.h -- where a plan's rows lie: stretches of encoded keys, one for each value of an IN, sorted and apart
 * from each other.
 */
#ifndef EXT_VTAB_SPAN_H
#define EXT_VTAB_SPAN_H

#include "ext/vtab_range.h"

struct lsm_vtab_span {
    size_t lower_off, lower_size;       /* in the list's bytes */
    size_t upper_off, upper_size;
    bool has_upper, is_point;
};

struct lsm_vtab_spans {
    struct lsm_vtab_span *span;
    size_t count, capacity;
    struct lsm_vtab_buf bytes;
};

void lsm_vtab_spans_init(struct lsm_vtab_spans *spans);
void lsm_vtab_spans_reset(struct lsm_vtab_spans *spans);        /* none; keeps its memory */
void lsm_vtab_spans_clear(struct lsm_vtab_spans *spans);
/* Of a range that is finished and not empty. SQLITE_NOMEM. */
int lsm_vtab_spans_add(struct lsm_vtab_spans *spans, const struct lsm_vtab_range *range);
/* Sort the spans and join those that overlap: no row comes twice. SQLITE_NOMEM. */
int lsm_vtab_spans_sort(struct lsm_vtab_spans *spans);

/* [lower, upper); upper NULL: to the end. */
struct lsm_slice lsm_vtab_span_lower(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span);
struct lsm_slice lsm_vtab_span_upper(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span);

/* In the order of encoded keys, of bytes: < 0, 0, > 0. */
int lsm_vtab_slice_compare(struct lsm_slice a, struct lsm_slice b);

#endif

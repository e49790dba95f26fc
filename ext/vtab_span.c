/* vtab_span.c -- where a plan's rows lie: stretches of encoded keys. */
#include <stdlib.h>
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_span.h"

int lsm_vtab_slice_compare(struct lsm_slice a, struct lsm_slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;

    if (order)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

void lsm_vtab_spans_init(struct lsm_vtab_spans *spans)
{
    memset(spans, 0, sizeof(*spans));
    lsm_vtab_buf_init(&spans->bytes, SIZE_MAX / 2);
}

void lsm_vtab_spans_reset(struct lsm_vtab_spans *spans)
{
    spans->count = 0;
    lsm_vtab_buf_reset(&spans->bytes);
}

void lsm_vtab_spans_clear(struct lsm_vtab_spans *spans)
{
    sqlite3_free(spans->span);
    lsm_vtab_buf_clear(&spans->bytes);
}

struct lsm_slice lsm_vtab_span_lower(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span)
{
    struct lsm_slice slice = { spans->bytes.data + span->lower_off, span->lower_size };

    return slice;
}

struct lsm_slice lsm_vtab_span_upper(const struct lsm_vtab_spans *spans, const struct lsm_vtab_span *span)
{
    struct lsm_slice slice = { NULL, 0 };

    if (span->has_upper) {
        slice.data = spans->bytes.data + span->upper_off;
        slice.size = span->upper_size;
    }
    return slice;
}

int lsm_vtab_spans_add(struct lsm_vtab_spans *spans, const struct lsm_vtab_range *range)
{
    struct lsm_slice lower = lsm_vtab_buf_slice(&range->lower);
    struct lsm_slice upper = lsm_vtab_buf_slice(&range->upper);
    struct lsm_vtab_span *span;

    if (spans->count == spans->capacity) {
        size_t capacity = spans->capacity ? spans->capacity * 2 : 4;
        struct lsm_vtab_span *more = sqlite3_realloc64(spans->span, capacity * sizeof(*more));

        if (more == NULL)
            return SQLITE_NOMEM;
        spans->span = more;
        spans->capacity = capacity;
    }
    span = &spans->span[spans->count];
    if (range->is_point)
        lower = lsm_vtab_buf_slice(&range->prefix);
    if (lower.size == 0) {      /* notes are below the rows */
        lower.data = (const uint8_t *)LSM_VTAB_ROW_LOWEST;
        lower.size = 1;
    }
    span->is_point = range->is_point;
    span->has_upper = range->has_upper;
    span->lower_off = spans->bytes.size;
    span->lower_size = lower.size;
    lsm_vtab_buf_add(&spans->bytes, lower.data, lower.size);
    span->upper_off = spans->bytes.size;
    span->upper_size = upper.size;
    if (range->has_upper)
        lsm_vtab_buf_add(&spans->bytes, upper.data, upper.size);
    spans->count++;
    return spans->bytes.rc;
}

/* qsort has no context: the order is by bytes, so the bytes are at hand in pairs. */
struct span_key {
    struct lsm_slice lower;
    struct lsm_vtab_span span;
};

static int span_key_compare(const void *a, const void *b)
{
    return lsm_vtab_slice_compare(((const struct span_key *)a)->lower, ((const struct span_key *)b)->lower);
}

int lsm_vtab_spans_sort(struct lsm_vtab_spans *spans)
{
    struct span_key *keys;
    size_t i, count = 0;

    if (spans->count < 2)
        return SQLITE_OK;
    keys = sqlite3_malloc64(spans->count * sizeof(*keys));
    if (keys == NULL)
        return SQLITE_NOMEM;
    for (i = 0; i < spans->count; i++) {
        keys[i].span = spans->span[i];
        keys[i].lower = lsm_vtab_span_lower(spans, &spans->span[i]);
    }
    qsort(keys, spans->count, sizeof(*keys), span_key_compare);
    for (i = 0; i < spans->count; i++) {
        struct lsm_vtab_span *last = count ? &spans->span[count - 1] : NULL;
        struct lsm_vtab_span *next = &keys[i].span;

        if (last == NULL
            || (last->has_upper && lsm_vtab_slice_compare(lsm_vtab_span_upper(spans, last), keys[i].lower) <= 0)) {
            spans->span[count++] = *next;
            continue;
        }
        last->is_point = last->is_point && next->is_point;
        if (last->has_upper
            && (!next->has_upper
                || lsm_vtab_slice_compare(lsm_vtab_span_upper(spans, last), lsm_vtab_span_upper(spans, next)) < 0)) {
            last->has_upper = next->has_upper;
            last->upper_off = next->upper_off;
            last->upper_size = next->upper_size;
            last->is_point = false;
        }
    }
    spans->count = count;
    sqlite3_free(keys);
    return SQLITE_OK;
}

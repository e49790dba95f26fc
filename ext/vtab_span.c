/* vtab_span.c -- where a plan's rows lie: stretches of encoded keys. */
#include <stdlib.h>
#include <string.h>

#include "ext/vtab_span.h"

void lsm_vtab_spans_init(struct lsm_vtab_spans *spans)
{
    memset(spans, 0, sizeof(*spans));
    lsm_vtab_buf_init(&spans->bytes, SIZE_MAX / 2);
    lsm_vtab_range_init(&spans->range);
}

void lsm_vtab_spans_clear(struct lsm_vtab_spans *spans)
{
    sqlite3_free(spans->span);
    lsm_vtab_buf_clear(&spans->bytes);
    lsm_vtab_range_clear(&spans->range);
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

/* ---- the list ---- */

/* The range, which is finished and not empty. */
static int add_span(struct lsm_vtab_spans *spans)
{
    const struct lsm_vtab_range *range = &spans->range;
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
    return lsm_vtab_key_compare(((const struct span_key *)a)->lower, ((const struct span_key *)b)->lower);
}

/* Sort the spans and join those that overlap: no row comes twice. */
static int sort_spans(struct lsm_vtab_spans *spans)
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
            || (last->has_upper && lsm_vtab_key_compare(lsm_vtab_span_upper(spans, last), keys[i].lower) <= 0)) {
            spans->span[count++] = *next;
            continue;
        }
        last->is_point = last->is_point && next->is_point;
        if (last->has_upper
            && (!next->has_upper
                || lsm_vtab_key_compare(lsm_vtab_span_upper(spans, last), lsm_vtab_span_upper(spans, next)) < 0)) {
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

/* ---- from a plan ---- */

struct making {
    struct lsm_vtab_spans *spans;
    struct lsm_vtab_table *table;
    const struct lsm_vtab_plan *plan;
    const struct lsm_read *read;
    sqlite3_value **argv;
    bool must_sort;
    bool number_text_read;      /* what the tree notes */
    enum lsm_vtab_number_text number_text;
    /* Which of several ranges that one choice of values makes together: a bit for each term that has two. */
    unsigned way;
    int ways;
};

#define WAYS_MAX 4              /* the terms behind are wide */

/* Does the range take the second way of this term? */
static bool second_way(struct making *m)
{
    return m->way >> m->ways++ & 1;
}

static int op_code(char op)
{
    switch (op) {
    case 's': return SQLITE_INDEX_CONSTRAINT_IS;
    case 'n': return SQLITE_INDEX_CONSTRAINT_ISNULL;
    case '>': return SQLITE_INDEX_CONSTRAINT_GT;
    case ']': return SQLITE_INDEX_CONSTRAINT_GE;
    case '<': return SQLITE_INDEX_CONSTRAINT_LT;
    case '[': return SQLITE_INDEX_CONSTRAINT_LE;
    default: return SQLITE_INDEX_CONSTRAINT_EQ;
    }
}

/*
 * What is known of this right-hand side. A number against text needs to know
 * whether the tree holds text that looks like one: a note says so. An untyped column that is compared with 12 and has
 * text like '12' has two places where such keys are.
 */
static int find_known(struct making *m, const struct lsm_vtab_plan_term *term, sqlite3_value *rhs, unsigned *known)
{
    const struct lsm_vtab_key_part *part = &m->table->schema->key[term->part];
    int type = sqlite3_value_type(rhs);
    int rc;

    *known = 0;
    if (lsm_vtab_range_is_exact(part) || type == SQLITE_NULL)
        return SQLITE_OK;
    if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        if (term->plain || sqlite3_value_frombind(rhs))
            *known = LSM_VTAB_KNOWN_PLAIN;
        if (*known || strchr("=is", term->op))
            return SQLITE_OK;   /* for an equality it does not matter */
    }
    if (!m->number_text_read) {
        rc = lsm_vtab_note_read(m->table, m->read, &m->number_text);
        if (rc != LSM_OK)
            return lsm_vtab_error_engine(&m->table->base.zErrMsg, m->table->ctx->store->path, rc);
        m->number_text_read = true;
    }
    if (m->number_text == LSM_VTAB_NUMBER_TEXT_NONE)
        *known = LSM_VTAB_KNOWN_NO_NUMERIC_TEXT;
    if (m->number_text != LSM_VTAB_NUMBER_TEXT_INTEGERS)
        return SQLITE_OK;
    *known = LSM_VTAB_KNOWN_INTEGER_TEXT;
    if (part->affinity == LSM_VTAB_AFFINITY_BLOB && strchr("=is", term->op) && m->ways < WAYS_MAX
        && (type == SQLITE_INTEGER || type == SQLITE_FLOAT))
        *known |= second_way(m) ? LSM_VTAB_KNOWN_WANT_TEXT : LSM_VTAB_KNOWN_WANT_NUMBER;
    return SQLITE_OK;
}

/* What a GLOB pattern on a TEXT column begins with: text, or blobs, that begin so, too. */
static void narrow_glob(struct making *m, const struct lsm_vtab_key_part *part, sqlite3_value *pattern)
{
    int type = second_way(m) ? SQLITE_BLOB : SQLITE_TEXT;
    struct lsm_slice text;

    if (sqlite3_value_type(pattern) != SQLITE_TEXT)
        return;
    text.data = sqlite3_value_text(pattern);
    text.size = (size_t)sqlite3_value_bytes(pattern);
    if (text.data == NULL)
        return;
    text = lsm_vtab_glob_prefix(text);
    if (text.size)
        lsm_vtab_range_narrow_prefix(&m->spans->range, part, type, text);
}

/* Add the span of one choice of values. `in_value` stands for the IN term's argument. */
static int add_range(struct making *m, sqlite3_value *in_value)
{
    struct lsm_vtab_range *range = &m->spans->range;
    int i;
    int rc;

    lsm_vtab_range_reset(range);
    for (i = 0; i < m->plan->term_count; i++) {
        const struct lsm_vtab_plan_term *term = &m->plan->terms[i];
        const struct lsm_vtab_key_part *part = &m->table->schema->key[term->part];
        sqlite3_value *rhs = term->op == 'i' ? in_value : m->argv[i];
        enum lsm_vtab_fit fit;
        unsigned known;

        if (term->op == 'g') {
            narrow_glob(m, part, rhs);
            continue;
        }
        rc = find_known(m, term, rhs, &known);
        if (rc != SQLITE_OK)
            return rc;
        fit = lsm_vtab_range_narrow(range, part, op_code(term->op), rhs, known);
        if (term->ordered && fit != LSM_VTAB_FIT_EXACT && fit != LSM_VTAB_FIT_EMPTY
            && (range->equal_part != part || known & (LSM_VTAB_KNOWN_WANT_TEXT | LSM_VTAB_KNOWN_WANT_NUMBER)))
            m->must_sort = true;
    }
    rc = lsm_vtab_range_finish(range, m->table->schema->key_count);
    return rc != SQLITE_OK || range->is_empty ? rc : add_span(m->spans);
}

/* One range, or two for each term that has two places: text and blobs of a GLOB, 12 and '12'. */
static int add_ranges(struct making *m, sqlite3_value *in_value)
{
    int rc;

    m->way = 0;
    do {
        m->ways = 0;
        rc = add_range(m, in_value);
    } while (rc == SQLITE_OK && ++m->way < 1u << m->ways);
    return rc;
}

int lsm_vtab_spans_make(struct lsm_vtab_spans *spans, struct lsm_vtab_table *table, const struct lsm_vtab_plan *plan,
                        const struct lsm_read *read, sqlite3_value **argv, bool *must_sort)
{
    struct making m = { .spans = spans, .table = table, .plan = plan, .read = read, .argv = argv };
    sqlite3_value *in_value = NULL;
    int in_term = -1;
    int i;
    int rc;

    spans->count = 0;
    lsm_vtab_buf_reset(&spans->bytes);
    for (i = 0; i < plan->term_count; i++) {
        if (plan->terms[i].op == 'i')
            in_term = i;
    }
    if (in_term < 0)
        rc = add_ranges(&m, NULL);
    else {
        rc = sqlite3_vtab_in_first(argv[in_term], &in_value);
        while (rc == SQLITE_OK && in_value) {
            rc = add_ranges(&m, in_value);
            if (rc == SQLITE_OK)
                rc = sqlite3_vtab_in_next(argv[in_term], &in_value);
        }
        if (rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    *must_sort = m.must_sort;
    return rc == SQLITE_OK ? sort_spans(spans) : rc;
}

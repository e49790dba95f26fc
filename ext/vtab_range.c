/*
 * vtab_range.c -- ranges of keys.
 *
 * Where SQLite does not say how it will compare, the range is the union over all
 * ways it could: too many rows are checked away by SQLite, too few are lost.
 */
#include "ext/vtab_range.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

void lsm_vtab_range_init(struct lsm_vtab_range *range)
{
    memset(range, 0, sizeof *range);
    lsm_vtab_buf_init(&range->prefix, LSM_KEY_SIZE_MAX);
    /*
     * A bound longer than every key is cut: keys are shorter than what is left
     * of it, and none is its prefix, because a key is whole columns. So the cut
     * bound divides them as the whole one does.
     */
    lsm_vtab_buf_init(&range->lower, LSM_KEY_SIZE_MAX + 1);
    lsm_vtab_buf_init(&range->upper, LSM_KEY_SIZE_MAX + 1);
    lsm_vtab_buf_init(&range->scratch, LSM_KEY_SIZE_MAX + 1);
}

void lsm_vtab_range_clear(struct lsm_vtab_range *range)
{
    lsm_vtab_buf_clear(&range->prefix);
    lsm_vtab_buf_clear(&range->lower);
    lsm_vtab_buf_clear(&range->upper);
    lsm_vtab_buf_clear(&range->scratch);
    lsm_vtab_range_init(range);
}

void lsm_vtab_range_reset(struct lsm_vtab_range *range)
{
    lsm_vtab_buf_reset(&range->prefix);
    lsm_vtab_buf_reset(&range->lower);
    lsm_vtab_buf_reset(&range->upper);
    lsm_vtab_buf_reset(&range->scratch);
    range->equal_part = NULL;
    range->equal_off = 0;
    range->open_part = NULL;
    range->has_lower = range->has_upper = range->is_empty = range->is_point = false;
    range->part_count = 0;
}

static enum lsm_vtab_fit set_empty(struct lsm_vtab_range *range)
{
    range->is_empty = true;
    return LSM_VTAB_FIT_EMPTY;
}

/* scratch = the equal columns; what follows is the caller's. */
static void scratch_begin(struct lsm_vtab_range *range)
{
    lsm_vtab_buf_reset(&range->scratch);
    if (range->prefix.rc == SQLITE_NOMEM)
        range->scratch.rc = SQLITE_NOMEM;
    lsm_vtab_buf_add(&range->scratch, range->prefix.data, range->prefix.size);
}

/* Take scratch for a bound if it is tighter than the one there is. */
static void scratch_commit(struct lsm_vtab_range *range, bool is_lower)
{
    struct lsm_vtab_buf *bound = is_lower ? &range->lower : &range->upper;
    bool *has = is_lower ? &range->has_lower : &range->has_upper;
    struct lsm_vtab_buf old = *bound;
    int c;

    if (bound->rc == SQLITE_NOMEM)
        return;
    if (*has && range->scratch.rc != SQLITE_NOMEM) {
        c = lsm_vtab_key_compare(lsm_vtab_buf_slice(&range->scratch), lsm_vtab_buf_slice(bound));
        if (is_lower ? c <= 0 : c >= 0)
            return;
    }
    *has = true;
    *bound = range->scratch;
    range->scratch = old;
}

/*
 * Keep the values above (or below) `value`. A key that equals it begins with
 * its bytes and goes on with bytes below FF. In a DESC column the greater value
 * has the smaller bytes, so the sides change.
 */
static void keep(struct lsm_vtab_range *range, const struct lsm_vtab_key_part *part, bool above,
                 const struct lsm_vtab_value *value, bool inclusive)
{
    bool is_lower = above != part->desc;

    range->open_part = part;
    scratch_begin(range);
    lsm_vtab_key_add(&range->scratch, part, value);
    if (is_lower != inclusive)
        lsm_vtab_buf_add_byte(&range->scratch, LSM_VTAB_KEY_AFTER);
    scratch_commit(range, is_lower);
}

/* column = value, and the range goes on with the next column. */
static enum lsm_vtab_fit extend_prefix(struct lsm_vtab_range *range,
                                       const struct lsm_vtab_key_part *part,
                                       const struct lsm_vtab_value *value)
{
    range->equal_part = part;
    range->equal_off = range->prefix.size;
    lsm_vtab_key_add(&range->prefix, part, value);
    range->part_count++;
    if (range->prefix.rc == SQLITE_TOOBIG)
        return set_empty(range);                /* no key is that long */
    return LSM_VTAB_FIT_EXACT;
}

/* A second constraint on a column whose value is known: it holds or it does not. */
static enum lsm_vtab_fit check_equal(struct lsm_vtab_range *range, int op,
                                     const struct lsm_vtab_value *value)
{
    const struct lsm_vtab_key_part *part = range->equal_part;
    struct lsm_slice have = { range->prefix.data + range->equal_off,
                              range->prefix.size - range->equal_off };
    bool holds;
    int c;

    if (range->prefix.rc != SQLITE_OK)
        return LSM_VTAB_FIT_EXACT;              /* out of memory: finish says so */
    lsm_vtab_buf_reset(&range->scratch);
    lsm_vtab_key_add(&range->scratch, part, value);
    if (range->scratch.rc == SQLITE_NOMEM) {
        range->prefix.rc = SQLITE_NOMEM;
        return LSM_VTAB_FIT_EXACT;
    }
    c = lsm_vtab_key_compare(have, lsm_vtab_buf_slice(&range->scratch));
    if (part->desc)
        c = -c;
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_GT: holds = c > 0; break;
    case SQLITE_INDEX_CONSTRAINT_GE: holds = c >= 0; break;
    case SQLITE_INDEX_CONSTRAINT_LT: holds = c < 0; break;
    case SQLITE_INDEX_CONSTRAINT_LE: holds = c <= 0; break;
    default: holds = c == 0; break;
    }
    return holds ? LSM_VTAB_FIT_EXACT : set_empty(range);
}

static bool is_above(int op)
{
    return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE;
}

static bool is_below(int op)
{
    return op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
}

static bool is_equal(int op)
{
    return op == SQLITE_INDEX_CONSTRAINT_EQ || op == SQLITE_INDEX_CONSTRAINT_IS;
}

/*
 * Text whose order is not that of its bytes here: above it may be any text and all
 * blobs, below it any text and all numbers. True: `value` and *op are these bounds.
 */
static bool widen_to_text(struct lsm_vtab_value *value, int *op)
{
    if (value->type != SQLITE_TEXT || is_equal(*op))
        return false;
    *op = is_above(*op) ? SQLITE_INDEX_CONSTRAINT_GE : SQLITE_INDEX_CONSTRAINT_LT;
    value->type = is_above(*op) ? SQLITE_TEXT : SQLITE_BLOB;
    value->u.bytes.size = 0;
    return true;
}

/* The comparison of stored values with `value`, neither converted any more. */
static enum lsm_vtab_fit narrow_typed(struct lsm_vtab_range *range,
                                      const struct lsm_vtab_key_part *part, int op,
                                      const struct lsm_vtab_value *value)
{
    if (part == range->equal_part)
        return check_equal(range, op, value);
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_GT:
    case SQLITE_INDEX_CONSTRAINT_GE:
        keep(range, part, true, value, op == SQLITE_INDEX_CONSTRAINT_GE);
        return LSM_VTAB_FIT_EXACT;
    case SQLITE_INDEX_CONSTRAINT_LT:
    case SQLITE_INDEX_CONSTRAINT_LE:
        keep(range, part, false, value, op == SQLITE_INDEX_CONSTRAINT_LE);
        return LSM_VTAB_FIT_EXACT;
    default:
        if (!range->open_part)
            return extend_prefix(range, part, value);
        keep(range, part, true, value, true);
        keep(range, part, false, value, true);
        return LSM_VTAB_FIT_EXACT;
    }
}

/*
 * Text that is a number begins with a space, a sign, a point or a digit: it is
 * at least "\t" and below ":".
 */
static const struct lsm_vtab_value numeric_text_first = {
    .type = SQLITE_TEXT, .u.bytes = { (const uint8_t *)"\t", 1 }
};
static const struct lsm_vtab_value numeric_text_end = {
    .type = SQLITE_TEXT, .u.bytes = { (const uint8_t *)":", 1 }
};

/* Keep what is below (or is) this text, and all text that is a number. */
static void keep_below_and_numeric(struct lsm_vtab_range *range,
                                   const struct lsm_vtab_key_part *part,
                                   const struct lsm_vtab_value *text, bool inclusive)
{
    if (text->u.bytes.size == 0 || text->u.bytes.data[0] < ':')
        keep(range, part, false, &numeric_text_end, false);
    else
        keep(range, part, false, text, inclusive);
}

/*
 * A TEXT or untyped column and text whose affinity is not known. If it is
 * numeric, stored text that is a number compares as a number: below the text.
 */
static enum lsm_vtab_fit narrow_text(struct lsm_vtab_range *range,
                                     const struct lsm_vtab_key_part *part, int op,
                                     const struct lsm_vtab_value *text, unsigned known)
{
    if (is_equal(op) || known & (LSM_VTAB_KNOWN_PLAIN | LSM_VTAB_KNOWN_NO_NUMERIC_TEXT))
        return narrow_typed(range, part, op, text);
    if (part == range->equal_part)
        return LSM_VTAB_FIT_NONE;
    if (is_below(op)) {
        keep_below_and_numeric(range, part, text, op == SQLITE_INDEX_CONSTRAINT_LE);
        return LSM_VTAB_FIT_SUPERSET;
    }
    narrow_typed(range, part, op, text);
    return LSM_VTAB_FIT_SUPERSET;
}

/* To this one value, which may not be equal as SQLite compares. */
static enum lsm_vtab_fit narrow_perhaps(struct lsm_vtab_range *range, const struct lsm_vtab_key_part *part, int op,
                                        const struct lsm_vtab_value *value)
{
    return narrow_typed(range, part, op, value) == LSM_VTAB_FIT_EMPTY ? LSM_VTAB_FIT_EMPTY : LSM_VTAB_FIT_SUPERSET;
}

/*
 * Text that is an integer as it is printed, and a number: the one text that may equal it, whatever is
 * converted. 12.0 as text is no such integer, and 12 as a number is that of '12'.
 */
static enum lsm_vtab_fit narrow_integer_text(struct lsm_vtab_range *range, const struct lsm_vtab_key_part *part, int op,
                                             sqlite3_value *number)
{
    struct lsm_vtab_value text = { .type = SQLITE_TEXT };
    double real = sqlite3_value_double(number);
    char digits[24];

    if (sqlite3_value_type(number) == SQLITE_FLOAT
        && !(real >= -9223372036854775808.0 && real < 9223372036854775808.0 && real == (double)(int64_t)real))
        return set_empty(range);
    sqlite3_snprintf(sizeof digits, digits, "%lld",
                     sqlite3_value_type(number) == SQLITE_FLOAT ? (long long)real : (long long)sqlite3_value_int64(number));
    text.u.bytes = (struct lsm_slice){ (const uint8_t *)digits, strlen(digits) };
    return narrow_perhaps(range, part, op, &text);
}

/*
 * A TEXT column and a number. Without affinity the number becomes text
 * (`rendered`); with a numeric one stored text that is a number becomes one; with
 * BLOB affinity nothing is converted and all text is above the number.
 */
static enum lsm_vtab_fit narrow_text_by_number(struct lsm_vtab_range *range,
                                               const struct lsm_vtab_key_part *part, int op,
                                               sqlite3_value *number, const struct lsm_vtab_value *rendered,
                                               unsigned known)
{
    bool numeric_text = !(known & LSM_VTAB_KNOWN_NO_NUMERIC_TEXT);

    if (is_equal(op) && known & LSM_VTAB_KNOWN_INTEGER_TEXT) {
        if (lsm_vtab_text_is_number(rendered->u.bytes))
            return narrow_integer_text(range, part, op, number);
        return narrow_perhaps(range, part, op, rendered);       /* Inf, as text no number */
    }
    if (is_above(op) || part == range->equal_part)
        return LSM_VTAB_FIT_NONE;
    if (is_below(op)) {
        bool inclusive = op == SQLITE_INDEX_CONSTRAINT_LE;

        if (numeric_text)
            keep_below_and_numeric(range, part, rendered, inclusive);
        else
            keep(range, part, false, rendered, inclusive);
        return LSM_VTAB_FIT_SUPERSET;
    }
    if (numeric_text) {
        keep(range, part, true, &numeric_text_first, true);
        keep_below_and_numeric(range, part, rendered, true);
    } else {
        keep(range, part, true, rendered, true);
        keep(range, part, false, rendered, true);
    }
    return LSM_VTAB_FIT_SUPERSET;
}

/* An untyped column and a number: stored text is converted if the number has an affinity. */
static enum lsm_vtab_fit narrow_untyped_by_number(struct lsm_vtab_range *range,
                                                  const struct lsm_vtab_key_part *part, int op,
                                                  sqlite3_value *rhs, const struct lsm_vtab_value *number,
                                                  unsigned known)
{
    if (known & LSM_VTAB_KNOWN_NO_NUMERIC_TEXT)
        return narrow_typed(range, part, op, number);
    if (is_equal(op) && known & LSM_VTAB_KNOWN_WANT_TEXT)
        return narrow_integer_text(range, part, op, rhs);
    if (is_equal(op) && known & LSM_VTAB_KNOWN_WANT_NUMBER)
        return narrow_typed(range, part, op, number);
    if (part == range->equal_part)
        return LSM_VTAB_FIT_NONE;
    if (is_below(op)) {
        keep(range, part, false, &numeric_text_end, false);
    } else if (is_above(op)) {
        keep(range, part, true, number, op == SQLITE_INDEX_CONSTRAINT_GE);
    } else {
        keep(range, part, true, number, true);
        keep(range, part, false, &numeric_text_end, false);
    }
    return LSM_VTAB_FIT_SUPERSET;
}

/* May this column be narrowed, after what was done? */
static bool is_next(const struct lsm_vtab_range *range, const struct lsm_vtab_key_part *part)
{
    if (range->open_part)
        return part == range->open_part;
    return !range->equal_part || part >= range->equal_part;     /* both in schema->key[] */
}

enum lsm_vtab_fit lsm_vtab_range_narrow(struct lsm_vtab_range *range,
                                        const struct lsm_vtab_key_part *part, int op,
                                        sqlite3_value *rhs, unsigned known)
{
    struct lsm_vtab_value value;
    bool number;
    int rc;

    if (range->is_empty)
        return LSM_VTAB_FIT_EMPTY;
    if (op == SQLITE_INDEX_CONSTRAINT_ISNULL)
        return set_empty(range);                /* a key has no NULL */
    if (op == SQLITE_INDEX_CONSTRAINT_ISNOTNULL)
        return LSM_VTAB_FIT_EXACT;
    if (!is_equal(op) && !is_above(op) && !is_below(op))
        return LSM_VTAB_FIT_NONE;
    if (sqlite3_value_type(rhs) == SQLITE_NULL)
        return set_empty(range);
    if (!is_next(range, part))
        return LSM_VTAB_FIT_NONE;

    /* A numeric column: its affinity is applied, and the codec does the rest. */
    if (part->affinity >= LSM_VTAB_AFFINITY_NUMERIC) {
        rc = lsm_vtab_value_store(rhs, LSM_VTAB_AFFINITY_NUMERIC, &value);
        if (rc != SQLITE_OK)
            goto nomem;
        if (part->foreign_order && widen_to_text(&value, &op)) {
            if (part != range->equal_part)
                narrow_typed(range, part, op, &value);
            return LSM_VTAB_FIT_SUPERSET;
        }
        return narrow_typed(range, part, op, &value);
    }

    number = sqlite3_value_type(rhs) == SQLITE_INTEGER || sqlite3_value_type(rhs) == SQLITE_FLOAT;
    rc = lsm_vtab_value_store(rhs, part->affinity, &value);
    if (rc != SQLITE_OK)
        goto nomem;
    if (part->foreign_order && widen_to_text(&value, &op)) {
        /* A number may be compared with stored text as a number: below and above stay wide. */
        if (part != range->equal_part && !(number && is_above(op)))
            narrow_typed(range, part, op, &value);
        return LSM_VTAB_FIT_SUPERSET;
    }
    if (number && part->affinity == LSM_VTAB_AFFINITY_TEXT)
        return narrow_text_by_number(range, part, op, rhs, &value, known);
    if (number)
        return narrow_untyped_by_number(range, part, op, rhs, &value, known);
    if (value.type == SQLITE_TEXT)
        return narrow_text(range, part, op, &value, known);
    return narrow_typed(range, part, op, &value);

nomem:
    range->prefix.rc = SQLITE_NOMEM;
    return LSM_VTAB_FIT_SUPERSET;
}

bool lsm_vtab_range_is_exact(const struct lsm_vtab_key_part *part)
{
    return part->affinity >= LSM_VTAB_AFFINITY_NUMERIC;
}

struct lsm_slice lsm_vtab_glob_prefix(struct lsm_slice pattern)
{
    size_t n = 0;

    while (n < pattern.size && pattern.data[n] != '*' && pattern.data[n] != '?'
           && pattern.data[n] != '[' && pattern.data[n] != 0)
        n++;
    pattern.size = n;
    return pattern;
}

/* The first bytes behind all that begin with these; false: there are none. */
static bool increment(struct lsm_vtab_buf *bytes)
{
    while (bytes->size && bytes->data[bytes->size - 1] == 0xff)
        bytes->size--;
    if (!bytes->size)
        return false;
    bytes->data[bytes->size - 1]++;
    return true;
}

enum lsm_vtab_fit lsm_vtab_range_narrow_prefix(struct lsm_vtab_range *range,
                                               const struct lsm_vtab_key_part *part, int type,
                                               struct lsm_slice prefix)
{
    if (range->is_empty)
        return LSM_VTAB_FIT_EMPTY;
    if (part->affinity != LSM_VTAB_AFFINITY_TEXT || !is_next(range, part)
        || part == range->equal_part)
        return LSM_VTAB_FIT_NONE;
    if (prefix.size && memchr(prefix.data, 0, prefix.size))
        return LSM_VTAB_FIT_NONE;               /* NOCASE has no prefixes with NUL */

    range->open_part = part;
    scratch_begin(range);
    lsm_vtab_key_add_prefix(&range->scratch, part, type, prefix);
    scratch_commit(range, true);
    scratch_begin(range);
    lsm_vtab_key_add_prefix(&range->scratch, part, type, prefix);
    if (range->scratch.rc == SQLITE_NOMEM || increment(&range->scratch))
        scratch_commit(range, false);
    return LSM_VTAB_FIT_SUPERSET;
}

/* The bound that the equal columns make. */
static void set_bound(struct lsm_vtab_range *range, struct lsm_vtab_buf *bound, bool *has, bool after)
{
    lsm_vtab_buf_reset(bound);
    lsm_vtab_buf_add(bound, range->prefix.data, range->prefix.size);
    if (after)
        lsm_vtab_buf_add_byte(bound, LSM_VTAB_KEY_AFTER);
    *has = true;
}

int lsm_vtab_range_finish(struct lsm_vtab_range *range, int key_count)
{
    bool is_tight;

    if (range->prefix.rc == SQLITE_NOMEM || range->lower.rc == SQLITE_NOMEM
        || range->upper.rc == SQLITE_NOMEM)
        return SQLITE_NOMEM;
    range->is_point = !range->is_empty && !range->open_part && range->part_count == key_count;
    if (range->is_empty)
        return SQLITE_OK;

    is_tight = range->has_lower || range->has_upper;
    if (!range->has_lower)
        set_bound(range, &range->lower, &range->has_lower, false);
    if (!range->has_upper && range->prefix.size)
        set_bound(range, &range->upper, &range->has_upper, true);
    if (range->lower.rc == SQLITE_NOMEM || range->upper.rc == SQLITE_NOMEM)
        return SQLITE_NOMEM;
    if (is_tight && range->has_upper
        && lsm_vtab_key_compare(lsm_vtab_buf_slice(&range->lower), lsm_vtab_buf_slice(&range->upper)) >= 0) {
        range->is_empty = true;
        range->is_point = false;
    }
    return SQLITE_OK;
}

/*
 * vtab_value.c -- values taken from SQLite, converted as SQLite converts them.
 *
 * Wherever SQLite has a public routine for a conversion it is used, so that the
 * last digit is SQLite's: sqlite3_value_text() renders numbers and
 * sqlite3_value_numeric_type() reads them. The latter works in place, so it gets
 * a copy: the arguments of xUpdate belong to the statement.
 */
#include "ext/vtab_value.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define TWO_63 9223372036854775808.0
#define BUF_KEEP ((size_t)1 << 20)      /* more is not kept for the next row */

/* ---- owned bytes ---------------------------------------------------------- */

void lsm_vtab_buf_init(struct lsm_vtab_buf *buf, size_t size_max)
{
    memset(buf, 0, sizeof *buf);
    buf->size_max = size_max;
    buf->rc = SQLITE_OK;
}

void lsm_vtab_buf_clear(struct lsm_vtab_buf *buf)
{
    size_t size_max = buf->size_max;

    sqlite3_free(buf->data);
    lsm_vtab_buf_init(buf, size_max);
}

void lsm_vtab_buf_trim(struct lsm_vtab_buf *buf)
{
    if (buf->capacity > BUF_KEEP)
        lsm_vtab_buf_clear(buf);
}

/* Make room for `more` bytes, which fit under size_max. */
static bool buf_grow(struct lsm_vtab_buf *buf, size_t more)
{
    size_t need = buf->size + more;
    size_t capacity;
    uint8_t *data;

    assert(more <= buf->size_max - buf->size);
    if (need <= buf->capacity && buf->data)
        return true;

    capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need && capacity < BUF_KEEP)
        capacity *= 2;
    if (capacity < need)                /* a large value is most of its row */
        capacity = need;
    data = sqlite3_realloc64(buf->data, capacity);
    if (!data) {
        buf->rc = SQLITE_NOMEM;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

uint8_t *lsm_vtab_buf_reserve(struct lsm_vtab_buf *buf, size_t more)
{
    if (buf->rc != SQLITE_OK)
        return NULL;
    if (more > buf->size_max - buf->size) {
        buf->rc = SQLITE_TOOBIG;
        return NULL;
    }
    return buf_grow(buf, more) ? buf->data + buf->size : NULL;
}

void lsm_vtab_buf_add_growing(struct lsm_vtab_buf *buf, const void *data, size_t size)
{
    size_t fits = buf->size_max - buf->size;

    if (buf->rc != SQLITE_OK || size == 0)
        return;
    if (fits > size)
        fits = size;
    if (!buf_grow(buf, fits))
        return;
    if (fits)
        memcpy(buf->data + buf->size, data, fits);
    buf->size += fits;
    if (fits < size)
        buf->rc = SQLITE_TOOBIG;
}

/* ---- affinity ------------------------------------------------------------- */

static uint8_t lower(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
}

/* As sqlite3AffinityType(): the last four letters slide through the type. */
enum lsm_vtab_affinity lsm_vtab_affinity_of_type(const char *type)
{
    enum lsm_vtab_affinity affinity = LSM_VTAB_AFFINITY_NUMERIC;
    uint32_t last = 0;

#define LETTERS(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))
    if (!*type)
        return LSM_VTAB_AFFINITY_BLOB;
    for (; *type; type++) {
        last = last << 8 | lower(*type);
        if (last == LETTERS('c', 'h', 'a', 'r') || last == LETTERS('c', 'l', 'o', 'b')
            || last == LETTERS('t', 'e', 'x', 't'))
            affinity = LSM_VTAB_AFFINITY_TEXT;
        else if (last == LETTERS('b', 'l', 'o', 'b')
                 && (affinity == LSM_VTAB_AFFINITY_NUMERIC || affinity == LSM_VTAB_AFFINITY_REAL))
            affinity = LSM_VTAB_AFFINITY_BLOB;
        else if ((last == LETTERS('r', 'e', 'a', 'l') || last == LETTERS('f', 'l', 'o', 'a')
                  || last == LETTERS('d', 'o', 'u', 'b'))
                 && affinity == LSM_VTAB_AFFINITY_NUMERIC)
            affinity = LSM_VTAB_AFFINITY_REAL;
        else if ((last & 0xffffff) == LETTERS(0, 'i', 'n', 't'))
            return LSM_VTAB_AFFINITY_INTEGER;
    }
#undef LETTERS
    return affinity;
}

/* ---- values --------------------------------------------------------------- */

/* The text of a text value or a number. Text first, then its size: that order is the API's. */
static int take_text(sqlite3_value *from, struct lsm_vtab_value *value)
{
    const unsigned char *text = sqlite3_value_text(from);

    if (!text)
        return SQLITE_NOMEM;
    value->type = SQLITE_TEXT;
    value->u.bytes.data = text;
    value->u.bytes.size = (size_t)sqlite3_value_bytes(from);
    return SQLITE_OK;
}

int lsm_vtab_value_from(sqlite3_value *from, struct lsm_vtab_value *value)
{
    value->type = sqlite3_value_type(from);
    switch (value->type) {
    case SQLITE_INTEGER:
        value->u.integer = sqlite3_value_int64(from);
        return SQLITE_OK;
    case SQLITE_FLOAT:
        value->u.real = sqlite3_value_double(from);
        if (isnan(value->u.real))
            value->type = SQLITE_NULL;
        return SQLITE_OK;
    case SQLITE_TEXT:
        return take_text(from, value);
    case SQLITE_BLOB:
        /* A zeroblob is expanded by the first call, and NULL is out of memory or empty. */
        value->u.bytes.data = sqlite3_value_blob(from);
        value->u.bytes.size = (size_t)sqlite3_value_bytes(from);
        return value->u.bytes.data || value->u.bytes.size == 0 ? SQLITE_OK : SQLITE_NOMEM;
    default:
        value->type = SQLITE_NULL;
        return SQLITE_OK;
    }
}

/* A real that an integer says as well, as sqlite3VdbeIntegerAffinity() decides it. */
static void real_to_integer(struct lsm_vtab_value *value)
{
    double r = value->u.real;

    if (r > -TWO_63 && r < TWO_63 && r == trunc(r)) {
        value->type = SQLITE_INTEGER;
        value->u.integer = (int64_t)r;
    }
}

static void integer_to_real(struct lsm_vtab_value *value)
{
    value->type = SQLITE_FLOAT;
    value->u.real = (double)value->u.integer;
}

/* A number as a column of numeric affinity stores it. */
static void store_number(struct lsm_vtab_value *value, enum lsm_vtab_affinity affinity)
{
    if (value->type == SQLITE_FLOAT)
        real_to_integer(value);                 /* for REAL, too: it loses -0.0 */
    if (value->type == SQLITE_INTEGER && affinity == LSM_VTAB_AFFINITY_REAL)
        integer_to_real(value);
}

/* Text that is a number becomes one. */
static int text_to_number(sqlite3_value *from, struct lsm_vtab_value *value)
{
    sqlite3_value *copy;

    if (!lsm_vtab_text_is_number(value->u.bytes))
        return SQLITE_OK;
    copy = sqlite3_value_dup(from);
    if (!copy)
        return SQLITE_NOMEM;
    switch (sqlite3_value_numeric_type(copy)) {
    case SQLITE_INTEGER:
        value->type = SQLITE_INTEGER;
        value->u.integer = sqlite3_value_int64(copy);
        break;
    case SQLITE_FLOAT:
        value->type = SQLITE_FLOAT;
        value->u.real = sqlite3_value_double(copy);
        break;
    default:
        break;
    }
    sqlite3_value_free(copy);
    return SQLITE_OK;
}

int lsm_vtab_value_store(sqlite3_value *from, enum lsm_vtab_affinity affinity,
                         struct lsm_vtab_value *value)
{
    int rc = lsm_vtab_value_from(from, value);

    if (rc != SQLITE_OK || affinity == LSM_VTAB_AFFINITY_BLOB)
        return rc;
    if (affinity == LSM_VTAB_AFFINITY_TEXT) {
        if (value->type == SQLITE_INTEGER || value->type == SQLITE_FLOAT)
            rc = take_text(from, value);
        return rc;
    }
    if (value->type == SQLITE_TEXT)
        rc = text_to_number(from, value);
    if (rc == SQLITE_OK)
        store_number(value, affinity);
    return rc;
}

void lsm_vtab_value_convert(struct lsm_vtab_value *value, enum lsm_vtab_affinity affinity,
                            char text[32])
{
    if (affinity == LSM_VTAB_AFFINITY_BLOB)
        return;
    if (affinity == LSM_VTAB_AFFINITY_TEXT) {
        if (value->type == SQLITE_INTEGER)
            sqlite3_snprintf(32, text, "%lld", (sqlite3_int64)value->u.integer);
        else if (value->type == SQLITE_FLOAT)
            sqlite3_snprintf(32, text, "%!.15g", value->u.real);
        else
            return;
        value->type = SQLITE_TEXT;
        value->u.bytes.data = (const uint8_t *)text;
        value->u.bytes.size = strlen(text);
        return;
    }
    if (value->type == SQLITE_TEXT)
        lsm_vtab_value_parse(value->u.bytes, value);
    store_number(value, affinity);
}

bool lsm_vtab_value_identical(const struct lsm_vtab_value *a, const struct lsm_vtab_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case SQLITE_INTEGER:
        return a->u.integer == b->u.integer;
    case SQLITE_FLOAT:
        return memcmp(&a->u.real, &b->u.real, sizeof a->u.real) == 0;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        return a->u.bytes.size == b->u.bytes.size
               && (a->u.bytes.size == 0
                   || memcmp(a->u.bytes.data, b->u.bytes.data, a->u.bytes.size) == 0);
    default:
        return true;
    }
}

/* ---- text that is a number ------------------------------------------------ */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_digits(struct lsm_slice s, size_t i)
{
    while (i < s.size && s.data[i] >= '0' && s.data[i] <= '9')
        i++;
    return i;
}

/*
 * The grammar of sqlite3AtoF(), whole text: spaces, sign, digits with at most
 * one point, exponent, spaces. *integer: neither point nor exponent.
 */
static bool scan_number(struct lsm_slice s, bool *integer)
{
    size_t i = 0, digits, start;

    while (i < s.size && is_space(s.data[i]))
        i++;
    if (i < s.size && (s.data[i] == '+' || s.data[i] == '-'))
        i++;
    start = i;
    i = skip_digits(s, i);
    digits = i - start;
    *integer = true;
    if (i < s.size && s.data[i] == '.') {
        *integer = false;
        start = ++i;
        i = skip_digits(s, i);
        digits += i - start;
    }
    if (digits == 0)
        return false;
    if (i < s.size && (s.data[i] == 'e' || s.data[i] == 'E')) {
        *integer = false;
        i++;
        if (i < s.size && (s.data[i] == '+' || s.data[i] == '-'))
            i++;
        start = i;
        i = skip_digits(s, i);
        if (i == start)
            return false;
    }
    while (i < s.size && is_space(s.data[i]))
        i++;
    return i == s.size;
}

bool lsm_vtab_text_is_number(struct lsm_slice text)
{
    bool integer;

    return scan_number(text, &integer);
}

/* Decimal digits with a sign as int64; false: does not fit. */
static bool parse_integer(struct lsm_slice s, int64_t *out)
{
    uint64_t limit, v = 0;
    bool negative = false;

    for (size_t i = 0; i < s.size; i++)
        negative = negative || s.data[i] == '-';
    limit = negative ? (uint64_t)1 << 63 : INT64_MAX;
    for (size_t i = 0; i < s.size; i++) {
        uint64_t digit = (uint64_t)s.data[i] - '0';

        if (digit > 9)
            continue;                           /* sign and spaces */
        if (v > (limit - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool lsm_vtab_text_is_integer(struct lsm_slice text)
{
    bool is_integer, is_negative = text.size > 1 && text.data[0] == '-';
    struct lsm_slice digits = { text.data + is_negative, text.size - is_negative };
    int64_t integer;

    if (text.size == 0 || digits.data[0] < '0' || digits.data[0] > '9' || text.data[text.size - 1] > '9'
        || text.data[text.size - 1] < '0' || !scan_number(text, &is_integer) || !is_integer)
        return false;
    if (digits.data[0] == '0' && (digits.size > 1 || is_negative))
        return false;
    return parse_integer(text, &integer);
}

bool lsm_vtab_value_parse(struct lsm_slice text, struct lsm_vtab_value *value)
{
    const char *point = localeconv()->decimal_point;
    int64_t integer;
    bool is_integer;
    char *copy;
    size_t n = 0;

    if (!scan_number(text, &is_integer))
        return false;
    if (is_integer && parse_integer(text, &integer)) {
        value->type = SQLITE_INTEGER;
        value->u.integer = integer;
        return true;
    }

    copy = sqlite3_malloc64(text.size + strlen(point) + 1);
    if (!copy)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.') {
            memcpy(copy + n, point, strlen(point));     /* strtod reads the locale's */
            n += strlen(point);
        } else {
            copy[n++] = (char)text.data[i];
        }
    }
    copy[n] = 0;
    value->type = SQLITE_FLOAT;
    value->u.real = strtod(copy, NULL);
    sqlite3_free(copy);
    return true;
}

/* ---- results -------------------------------------------------------------- */

void lsm_vtab_value_result(sqlite3_context *context, const struct lsm_vtab_value *value)
{
    switch (value->type) {
    case SQLITE_INTEGER:
        sqlite3_result_int64(context, value->u.integer);
        return;
    case SQLITE_FLOAT:
        sqlite3_result_double(context, value->u.real);
        return;
    case SQLITE_TEXT:
        sqlite3_result_text64(context, value->u.bytes.size ? (const char *)value->u.bytes.data : "",
                              value->u.bytes.size, SQLITE_TRANSIENT, SQLITE_UTF8);
        return;
    case SQLITE_BLOB:
        if (value->u.bytes.size == 0)
            sqlite3_result_zeroblob(context, 0);        /* a NULL pointer would be NULL */
        else
            sqlite3_result_blob64(context, value->u.bytes.data, value->u.bytes.size,
                                  SQLITE_TRANSIENT);
        return;
    default:
        sqlite3_result_null(context);
        return;
    }
}

bool lsm_vtab_value_may_equal(const struct lsm_vtab_value *value, sqlite3_value *rhs)
{
    double number = sqlite3_value_double(rhs);
    double mine, apart;
    char text[64];

    if (value->type == SQLITE_INTEGER) {
        mine = (double)value->u.integer;
    } else if (value->type == SQLITE_FLOAT) {
        mine = value->u.real;
    } else if (value->type == SQLITE_TEXT && lsm_vtab_text_is_number(value->u.bytes)) {
        if (value->u.bytes.size >= sizeof(text))
            return true;
        memcpy(text, value->u.bytes.data, value->u.bytes.size);
        text[value->u.bytes.size] = '\0';
        mine = strtod(text, NULL);      /* a locale may hide what is behind the point */
    } else {
        return false;
    }
    apart = mine < number ? number - mine : mine - number;
    number = number < 0 ? -number : number;
    return !(apart >= (number > 1e9 ? number * 1e-9 : 1));
}

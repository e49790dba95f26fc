/*
 * vtab_key.c -- the key codec.
 *
 * Why numbers are one order: in SQL 1 < 1.5 < 2 holds in one column, whatever
 * the type of each value, and 2^53+1 differs from the double next to it. So a
 * number is written as an integer part that is exact for int64 and, behind it,
 * a fraction that is exact for doubles; neither is ever rounded to the other's
 * type. Negative numbers are written by their magnitude and flipped, because
 * the distance from -1e-300 to its floor is no double, and to zero it is.
 *
 * Why text ends in one byte: 00 never occurs in escaped text, so it is smaller
 * than whatever a longer text has in its place; flipped it is FF, which is
 * greater. Both are right for text at the end of a key, too.
 */
#include "ext/vtab_key.h"

#include <assert.h>
#include <math.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define TWO_63 9223372036854775808.0

enum {
    TAG_NULL = 0x11,
    TAG_NUMBER = 0x80,          /* + m, for m < NUMBER_SMALL */
    NUMBER_SMALL = 96,
    TAG_NUMBER_BYTES = 0xdf,    /* + the count of bytes of m */
    TAG_NUMBER_REAL = 0xe8,
    TAG_TEXT = 0xec,
    TAG_BLOB = 0xee,
    ESCAPE = 0x01,              /* + byte + 1, for the bytes 00 and 01 */
    END = 0x00
};

_Static_assert(TAG_NUMBER + NUMBER_SMALL == TAG_NUMBER_BYTES + 1, "tags of numbers touch");
_Static_assert(TAG_NUMBER_BYTES + 8 < TAG_NUMBER_REAL, "eight bytes of m and then reals");
_Static_assert((uint8_t)~TAG_NUMBER_REAL > TAG_NULL, "negative numbers are above NULL");
_Static_assert(TAG_BLOB < LSM_VTAB_KEY_AFTER && (uint8_t)~TAG_NULL < LSM_VTAB_KEY_AFTER,
               "no column begins there");

/* ---- encoding ------------------------------------------------------------- */

static uint64_t real_bits(double r)
{
    uint64_t bits;

    memcpy(&bits, &r, sizeof bits);
    return bits;
}

static double bits_real(uint64_t bits)
{
    double r;

    memcpy(&r, &bits, sizeof r);
    return r;
}

/* A magnitude: whole < 2^63 and fraction in [0, 1), or `whole` alone if it is 2^63. */
static size_t put_magnitude(uint8_t *out, uint64_t whole, double fraction)
{
    uint64_t m = whole << 1 | (fraction > 0);
    uint64_t rest = real_bits(fraction) << 2;   /* below 1.0 the two high bits are 0 */
    size_t n = 0;

    assert(whole < (uint64_t)1 << 63);
    assert(fraction >= 0 && fraction < 1);
    if (m < NUMBER_SMALL) {
        out[n++] = (uint8_t)(TAG_NUMBER + m);
    } else {
        int bytes = 8;

        while (!(m >> (8 * (bytes - 1))))
            bytes--;
        out[n++] = (uint8_t)(TAG_NUMBER_BYTES + bytes);
        while (bytes--)
            out[n++] = (uint8_t)(m >> (8 * bytes));
    }
    for (; rest; rest <<= 7)
        out[n++] = (uint8_t)(rest >> 57 << 1 | (rest << 7 != 0));
    return n;
}

/* A magnitude of 2^63 and more: no int64 but -2^63, and every double there is whole. */
static size_t put_large(uint8_t *out, double magnitude)
{
    uint64_t bits = real_bits(magnitude);

    assert(magnitude >= TWO_63);
    out[0] = TAG_NUMBER_REAL;
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)(bits >> (56 - 8 * i));
    return 9;
}

static void flip(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)~data[i];
}

static void add_number(struct lsm_vtab_buf *key, const struct lsm_vtab_value *value)
{
    uint8_t bytes[24];
    bool negative;
    size_t n;

    if (value->type == SQLITE_INTEGER) {
        int64_t i = value->u.integer;

        negative = i < 0;
        if (i == INT64_MIN)
            n = put_large(bytes, TWO_63);
        else
            n = put_magnitude(bytes, (uint64_t)(negative ? -i : i), 0);
    } else {
        double magnitude = fabs(value->u.real);

        assert(!isnan(magnitude));
        negative = value->u.real < 0;           /* -0.0 is 0 */
        if (magnitude >= TWO_63)
            n = put_large(bytes, magnitude);
        else
            n = put_magnitude(bytes, (uint64_t)magnitude, magnitude - trunc(magnitude));
    }
    if (negative)
        flip(bytes, n);
    lsm_vtab_buf_add(key, bytes, n);
}

static void add_escaped(struct lsm_vtab_buf *key, const uint8_t *data, size_t size)
{
    size_t start = 0;

    if (key->rc == SQLITE_OK && size <= (key->capacity - key->size) / 2
        && size <= (key->size_max - key->size) / 2) {   /* there is room for it, whatever it is */
        const uint64_t ones = UINT64_C(0x0101010101010101);
        uint8_t *out = key->data + key->size;
        size_t i = 0;

        while (i < size) {
            uint64_t eight;
            bool escape;

            if (size - i >= 8) {
                memcpy(&eight, data + i, 8);
                if (!((eight - ones * (ESCAPE + 1)) & ~eight & ones << 7)) {   /* none is that small */
                    memcpy(out, data + i, 8);
                    out += 8;
                    i += 8;
                    continue;
                }
            }
            escape = data[i] <= ESCAPE;
            *out = ESCAPE;
            out += escape;
            *out++ = (uint8_t)(data[i++] + escape);
        }
        key->size = (size_t)(out - key->data);
        return;
    }
    for (size_t i = 0; i < size && key->rc == SQLITE_OK; i++) {
        if (data[i] <= ESCAPE) {
            const uint8_t pair[2] = { ESCAPE, (uint8_t)(data[i] + 1) };

            lsm_vtab_buf_add(key, data + start, i - start);
            lsm_vtab_buf_add(key, pair, sizeof pair);
            start = i + 1;
        }
    }
    lsm_vtab_buf_add(key, data + start, size - start);
}

static size_t rtrim_size(struct lsm_slice text)
{
    size_t n = text.size;

    while (n > 0 && text.data[n - 1] == ' ')
        n--;
    return n;
}

/*
 * NOCASE as SQLite has it: letters of ASCII fold, and the comparison ends at a
 * NUL, after which only the lengths count. So what follows a NUL goes into the
 * key as its size.
 */
static void add_nocase(struct lsm_vtab_buf *key, struct lsm_slice text)
{
    const uint8_t *nul = text.size ? memchr(text.data, 0, text.size) : NULL;
    size_t head = nul ? (size_t)(nul - text.data) : text.size;
    size_t start = key->size;

    if (head)
        add_escaped(key, text.data, head);
    for (size_t i = start; i < key->size; i++)
        if (key->data[i] >= 'A' && key->data[i] <= 'Z')
            key->data[i] += 'a' - 'A';
    if (nul) {
        size_t rest = text.size - head;
        uint8_t tail[5] = { 0, (uint8_t)(rest >> 24), (uint8_t)(rest >> 16),
                            (uint8_t)(rest >> 8), (uint8_t)rest };

        add_escaped(key, tail, sizeof tail);
    }
}

/* Text after the fold of the collation, without tag and end. */
static void add_text(struct lsm_vtab_buf *key, enum lsm_vtab_collation collation,
                     struct lsm_slice text)
{
    if (collation == LSM_VTAB_COLLATION_NOCASE) {
        add_nocase(key, text);
        return;
    }
    if (collation == LSM_VTAB_COLLATION_RTRIM)
        text.size = rtrim_size(text);
    if (text.size)
        add_escaped(key, text.data, text.size);
}

static void flip_from(struct lsm_vtab_buf *key, size_t start)
{
    if (key->size > start)
        flip(key->data + start, key->size - start);
}

void lsm_vtab_key_init(struct lsm_vtab_buf *key)
{
    lsm_vtab_buf_init(key, LSM_KEY_SIZE_MAX);
}

void lsm_vtab_key_add(struct lsm_vtab_buf *key, const struct lsm_vtab_key_part *part,
                      const struct lsm_vtab_value *value)
{
    size_t start = key->size;

    if (key->rc != SQLITE_OK)
        return;
    switch (value->type) {
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        add_number(key, value);
        break;
    case SQLITE_TEXT:
        lsm_vtab_buf_add_byte(key, TAG_TEXT);
        add_text(key, part->collation, value->u.bytes);
        lsm_vtab_buf_add_byte(key, END);
        break;
    case SQLITE_BLOB:
        lsm_vtab_buf_add_byte(key, TAG_BLOB);
        if (value->u.bytes.size)
            add_escaped(key, value->u.bytes.data, value->u.bytes.size);
        lsm_vtab_buf_add_byte(key, END);
        break;
    default:
        lsm_vtab_buf_add_byte(key, TAG_NULL);
        break;
    }
    if (part->desc)
        flip_from(key, start);
}

void lsm_vtab_key_add_prefix(struct lsm_vtab_buf *key, const struct lsm_vtab_key_part *part,
                             int type, struct lsm_slice text)
{
    size_t start = key->size;

    lsm_vtab_buf_add_byte(key, type == SQLITE_TEXT ? TAG_TEXT : TAG_BLOB);
    if (type == SQLITE_TEXT)
        add_text(key, part->collation, text);
    else if (text.size)
        add_escaped(key, text.data, text.size);
    if (part->desc)
        flip_from(key, start);
}

int lsm_vtab_key_encode(const struct lsm_vtab_schema *schema,
                        const struct lsm_vtab_value *values, struct lsm_vtab_buf *key)
{
    lsm_vtab_buf_reset(key);
    for (int i = 0; i < schema->key_count; i++)
        lsm_vtab_key_add(key, &schema->key[i], &values[schema->key[i].column]);
    return key->rc;
}

/* ---- what the key gives back ---------------------------------------------- */

bool lsm_vtab_key_is_faithful(const struct lsm_vtab_key_part *part,
                              const struct lsm_vtab_value *value)
{
    struct lsm_slice text = value->u.bytes;

    switch (value->type) {
    case SQLITE_INTEGER:
        return part->affinity != LSM_VTAB_AFFINITY_REAL;
    case SQLITE_FLOAT:
        if (part->affinity == LSM_VTAB_AFFINITY_REAL)
            return value->u.real != 0 || !signbit(value->u.real);
        return value->u.real != trunc(value->u.real)            /* else decoded as integer */
               || value->u.real >= TWO_63 || value->u.real < -TWO_63;
    case SQLITE_TEXT:
        if (part->collation == LSM_VTAB_COLLATION_RTRIM)
            return text.size == rtrim_size(text);
        if (part->collation == LSM_VTAB_COLLATION_NOCASE) {
            for (size_t i = 0; i < text.size; i++)
                if (text.data[i] == 0 || (text.data[i] >= 'A' && text.data[i] <= 'Z'))
                    return false;
        }
        return true;
    default:
        return true;
    }
}

/* ---- decoding ------------------------------------------------------------- */

/* A reader of one column: bytes are taken through the flip of DESC. */
struct key_reader {
    struct lsm_slice key;
    size_t off;
    uint8_t mask;               /* ff in a DESC column, and again for a negative number */
    bool failed;                /* latched; reads give 0 */
};

static uint8_t read_byte(struct key_reader *r)
{
    if (r->off >= r->key.size) {
        r->failed = true;
        return 0;
    }
    return (uint8_t)(r->key.data[r->off++] ^ r->mask);
}

static uint64_t read_big_endian(struct key_reader *r, int bytes)
{
    uint64_t v = 0;

    while (bytes--)
        v = v << 8 | read_byte(r);
    return v;
}

/* At most nine groups. Only what put_magnitude() writes is read: one value, one encoding. */
static double read_fraction(struct key_reader *r)
{
    uint64_t rest = 0;          /* the IEEE bits, two to the left */
    uint8_t byte;
    int shift = 64;

    do {
        byte = read_byte(r);
        shift -= 7;
        rest |= (uint64_t)(byte >> 1) << shift;
    } while ((byte & 1) && shift >= 7);
    if ((byte & 1) || byte == 0 || (rest & 3) || rest >> 2 >= real_bits(1.0))
        r->failed = true;
    return r->failed ? 0 : bits_real(rest >> 2);
}

static void read_number(struct key_reader *r, uint8_t tag, bool negative, bool as_real,
                        struct lsm_vtab_value *value)
{
    uint64_t m;
    double magnitude = 0;

    if (tag == TAG_NUMBER_REAL) {
        magnitude = bits_real(read_big_endian(r, 8));
        if (!(magnitude >= TWO_63))
            r->failed = true;                   /* too small for this form, or NaN */
        if (negative && magnitude == TWO_63 && !as_real) {
            value->type = SQLITE_INTEGER;
            value->u.integer = INT64_MIN;
            return;
        }
    } else {
        int bytes = tag - TAG_NUMBER_BYTES;

        if (bytes < 1) {
            m = (uint64_t)(tag - TAG_NUMBER);
        } else {
            m = read_big_endian(r, bytes);
            if (m < NUMBER_SMALL || m >> (8 * (bytes - 1)) == 0)
                r->failed = true;
        }
        if (negative && m == 0)
            r->failed = true;
        if (!(m & 1) && !as_real) {
            value->type = SQLITE_INTEGER;
            value->u.integer = negative ? -(int64_t)(m >> 1) : (int64_t)(m >> 1);
            return;
        }
        magnitude = (double)(m >> 1);
        if ((uint64_t)magnitude != m >> 1)
            r->failed = true;                   /* an integer that no double is */
        if (m & 1) {
            double fraction = read_fraction(r), sum = magnitude + fraction;

            if (sum - magnitude != fraction || sum >= magnitude + 1)
                r->failed = true;               /* no double has both */
            magnitude = sum;
        }
    }
    value->type = SQLITE_FLOAT;
    value->u.real = negative ? -magnitude : magnitude;
}

/* Text or blob: borrowed if the stored bytes are the value's, else built at `out`. */
static void read_bytes(struct key_reader *r, uint8_t *out, struct lsm_slice *bytes)
{
    const uint8_t *start = r->key.data + r->off;
    const uint8_t *end = memchr(start, END ^ r->mask, r->key.size - r->off);
    size_t size, n = 0;

    if (!end) {
        r->failed = true;
        return;
    }
    size = (size_t)(end - start);
    r->off += size + 1;
    if (!out)
        return;                                 /* skipped */
    if (size == 0 || (r->mask == 0 && !memchr(start, ESCAPE, size))) {
        bytes->data = start;
        bytes->size = size;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(start[i] ^ r->mask);

        if (byte == ESCAPE) {
            byte = ++i < size ? (uint8_t)(start[i] ^ r->mask) : 0;
            if (byte != 1 && byte != 2) {
                r->failed = true;
                return;
            }
            byte--;
        }
        out[n++] = byte;
    }
    bytes->data = out;
    bytes->size = n;
}

/* How many bytes stand before the first END or ESCAPE; `size`: there is none. */
static size_t plain_size(const uint8_t *data, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;

    for (uint64_t eight; size - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, data + i, sizeof eight);
        if ((eight - ones * (ESCAPE + 1)) & ~eight & ones << 7)     /* one is that small */
            break;
    }
    while (i < size && data[i] > ESCAPE)
        i++;
    return i;
}

/* The rule: a text or blob that stands in the key as it is. */
static bool borrow_bytes(struct lsm_slice key, size_t *offset, struct lsm_vtab_value *value)
{
    const uint8_t *start = key.data + *offset + 1;
    uint8_t tag = key.data[*offset];
    size_t left = key.size - *offset - 1, size;

    if (tag != TAG_TEXT && tag != TAG_BLOB)
        return false;
    size = plain_size(start, left);
    if (size == 0 || size == left || start[size] != END)
        return false;
    value->type = tag == TAG_TEXT ? SQLITE_TEXT : SQLITE_BLOB;
    value->u.bytes.data = start;
    value->u.bytes.size = size;
    *offset += size + 2;
    return true;
}

int lsm_vtab_key_decode(const struct lsm_vtab_key_part *part, struct lsm_slice key,
                        size_t *offset, uint8_t *scratch, struct lsm_vtab_value *value)
{
    if (scratch && !part->desc && *offset < key.size && borrow_bytes(key, offset, value))
        return SQLITE_OK;

    struct key_reader r = { key, *offset, part->desc ? 0xff : 0, false };
    struct lsm_vtab_value v = { .type = SQLITE_NULL };
    bool as_real = part->affinity == LSM_VTAB_AFFINITY_REAL;
    uint8_t tag = read_byte(&r);

    if (r.failed)
        return SQLITE_CORRUPT_VTAB;
    if (tag == TAG_TEXT || tag == TAG_BLOB) {
        v.type = tag == TAG_TEXT ? SQLITE_TEXT : SQLITE_BLOB;
        read_bytes(&r, scratch ? scratch + r.off - 1 : NULL, &v.u.bytes);
    } else if (tag >= TAG_NUMBER && tag <= TAG_NUMBER_REAL) {
        read_number(&r, tag, false, as_real, &v);
    } else if (tag >= (uint8_t)~TAG_NUMBER_REAL && tag < TAG_NUMBER) {
        r.mask ^= 0xff;
        read_number(&r, (uint8_t)~tag, true, as_real, &v);
    } else if (tag != TAG_NULL) {
        r.failed = true;
    }
    if (r.failed)
        return SQLITE_CORRUPT_VTAB;
    *offset = r.off;
    if (scratch)
        *value = v;
    return SQLITE_OK;
}

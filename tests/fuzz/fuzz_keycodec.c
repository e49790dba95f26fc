/*
 * fuzz_keycodec.c -- a key that is accepted is the one encoding of what it
 * decodes to, and its order is that of its values.
 *
 * Two keys of two columns: a byte of flags (bits 0-2 affinity, 3-4 collation, 5
 * DESC, 6 swap the roles of the columns), a byte with the size of the first key,
 * the keys.
 */
#include <stdlib.h>
#include <string.h>

#include "ext/vtab_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)

struct decoded {
    struct lsm_slice key;
    uint8_t *scratch;
    struct lsm_vtab_value values[2];
    size_t ends[2];
    bool whole;                 /* both columns, nothing behind them */
};

static struct decoded decode(const struct lsm_vtab_key_part *parts, const uint8_t *data,
                             size_t size)
{
    struct decoded d = { { NULL, size }, NULL, { { SQLITE_NULL, { 0 } }, { SQLITE_NULL, { 0 } } },
                         { 0, 0 }, false };
    uint8_t *copy = malloc(size + 1);
    size_t off = 0, skipped = 0;
    int i = 0;

    memcpy(copy + 1, data, size);               /* so that both ends are at redzones */
    d.key.data = copy + 1;
    d.scratch = malloc(size ? size : 1);
    for (; i < 2; i++) {
        int rc = lsm_vtab_key_decode(&parts[i], d.key, &off, d.scratch, &d.values[i]);

        /* Skipping reads escapes less closely: it may pass what decoding refuses. */
        if (rc == SQLITE_OK) {
            REQUIRE(lsm_vtab_key_decode(&parts[i], d.key, &skipped, NULL, NULL) == SQLITE_OK);
            REQUIRE(skipped == off && off <= size);
        } else {
            REQUIRE(rc == SQLITE_CORRUPT_VTAB);
            break;
        }
        d.ends[i] = off;
    }
    d.whole = i == 2 && off == size;
    return d;
}

/*
 * Encoded again it is the same, unless a collation has folded what was not
 * folded: then the encoder never wrote it.
 */
static bool encode_again(const struct lsm_vtab_key_part *parts, const struct decoded *d)
{
    struct lsm_vtab_buf key;
    bool same;

    lsm_vtab_key_init(&key);
    for (int i = 0; i < 2; i++)
        lsm_vtab_key_add(&key, &parts[i], &d->values[i]);
    REQUIRE(key.rc == SQLITE_OK || (key.rc == SQLITE_TOOBIG && d->key.size > LSM_KEY_SIZE_MAX));
    same = key.size == d->key.size && memcmp(key.data, d->key.data, key.size) == 0;
    if (key.rc == SQLITE_OK && lsm_vtab_key_is_faithful(&parts[0], &d->values[0])
        && lsm_vtab_key_is_faithful(&parts[1], &d->values[1]))
        REQUIRE(same);
    lsm_vtab_buf_clear(&key);
    return same;
}

static int compare_bytes(struct lsm_slice a, struct lsm_slice b)
{
    int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return c ? c : a.size < b.size ? -1 : a.size > b.size;
}

static int type_class(int type)
{
    return type == SQLITE_NULL ? 0 : type == SQLITE_TEXT ? 2 : type == SQLITE_BLOB ? 3 : 1;
}

/* The order of two decoded values, without the codec; 2: not decided here. */
static int compare_values(const struct lsm_vtab_value *a, const struct lsm_vtab_value *b)
{
    int class_a = type_class(a->type), class_b = type_class(b->type);
    int c = 0;

    if (class_a != class_b)
        return class_a < class_b ? -1 : 1;
    if (class_a == 0)
        return 0;
    if (class_a >= 2) {
        size_t n = a->u.bytes.size < b->u.bytes.size ? a->u.bytes.size : b->u.bytes.size;

        c = n ? memcmp(a->u.bytes.data, b->u.bytes.data, n) : 0;
        if (c == 0)
            c = a->u.bytes.size < b->u.bytes.size ? -1 : a->u.bytes.size > b->u.bytes.size;
        return c < 0 ? -1 : c > 0;
    }
    if (a->type == SQLITE_INTEGER && b->type == SQLITE_INTEGER)
        return a->u.integer < b->u.integer ? -1 : a->u.integer > b->u.integer;
    /* x86-64 has a long double that holds both types exactly. */
    if (sizeof(long double) > 8) {
        long double x = a->type == SQLITE_INTEGER ? (long double)a->u.integer : a->u.real;
        long double y = b->type == SQLITE_INTEGER ? (long double)b->u.integer : b->u.real;

        return x < y ? -1 : x > y;
    }
    return 2;
}

static int sign(int c)
{
    return c < 0 ? -1 : c > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_vtab_key_part parts[2];
    struct decoded d[2];
    size_t first;
    bool canonical = true;

    if (size < 2)
        return 0;
    memset(parts, 0, sizeof parts);
    parts[0].affinity = (enum lsm_vtab_affinity)((data[0] & 7) % 5);
    parts[0].collation = (enum lsm_vtab_collation)((data[0] >> 3 & 3) % 3);
    parts[0].desc = data[0] >> 5 & 1;
    if (data[0] >> 6 & 1) {
        parts[1] = parts[0];
        memset(&parts[0], 0, sizeof parts[0]);
    }
    first = data[1] < size - 2 ? data[1] : size - 2;

    d[0] = decode(parts, data + 2, first);
    d[1] = decode(parts, data + 2 + first, size - 2 - first);
    for (int i = 0; i < 2; i++)
        canonical = d[i].whole && encode_again(parts, &d[i]) && canonical;
    if (canonical) {
        int want = compare_values(&d[0].values[0], &d[1].values[0]);
        int which = 0;

        if (want == 0) {
            want = compare_values(&d[0].values[1], &d[1].values[1]);
            which = 1;
        }
        /* NOCASE with a NUL is ordered by its size; the fold is not undone here. */
        if (want != 2 && parts[which].collation != LSM_VTAB_COLLATION_NOCASE)
            REQUIRE(sign(compare_bytes(d[0].key, d[1].key)) == (parts[which].desc ? -want : want));
    }
    for (int i = 0; i < 2; i++) {
        free((void *)(uintptr_t)(d[i].key.data - 1));
        free(d[i].scratch);
    }
    return 0;
}

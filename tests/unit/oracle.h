/*
 * oracle.h -- rows in a plain sorted array, and random moves that compare an
 * iterator with it. For the tests of memtable, batch and merge.
 */
#ifndef TESTS_UNIT_ORACLE_H
#define TESTS_UNIT_ORACLE_H

#include "lsm/store/iter.h"
#include "lsm/util/slice.h"
#include "tests/test.h"
#include "tests/unit/orders.h"

struct oracle_row {
    uint8_t key[96];
    size_t key_size;
    uint64_t tag;
    uint8_t *value;
    size_t value_size;
};

struct oracle {
    const struct lsm_comparator *cmp;
    struct oracle_row *rows;    /* sorted */
    size_t count, cap;
};

static inline struct lsm_slice oracle_key(const struct oracle_row *row)
{
    return lsm_slice(row->key, row->key_size);
}

static inline struct lsm_slice oracle_value(const struct oracle_row *row)
{
    return lsm_slice(row->value, row->value_size);
}

/* First row at or after (key, tag). */
static inline size_t oracle_find(const struct oracle *o, struct lsm_slice key, uint64_t tag)
{
    size_t lo = 0, hi = o->count;

    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        const struct oracle_row *row = &o->rows[middle];

        if (lsm_ikey_compare(o->cmp, oracle_key(row), row->tag, key, tag) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static inline void oracle_add(struct oracle *o, struct lsm_slice key, uint64_t tag,
                              struct lsm_slice value)
{
    size_t i = oracle_find(o, key, tag);
    struct oracle_row *row;

    if (o->count == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 64;
        o->rows = realloc(o->rows, o->cap * sizeof(o->rows[0]));
    }
    memmove(o->rows + i + 1, o->rows + i, (o->count - i) * sizeof(o->rows[0]));
    o->count++;
    row = &o->rows[i];
    if (key.size)
        memcpy(row->key, key.data, key.size);
    row->key_size = key.size;
    row->tag = tag;
    row->value = malloc(value.size + 1);
    if (value.size)
        memcpy(row->value, value.data, value.size);
    row->value_size = value.size;
}

static inline void oracle_remove(struct oracle *o, size_t i)
{
    free(o->rows[i].value);
    memmove(o->rows + i, o->rows + i + 1, (--o->count - i) * sizeof(o->rows[0]));
}

static inline void oracle_clear(struct oracle *o)
{
    while (o->count)
        free(o->rows[--o->count].value);
    free(o->rows);
    *o = (struct oracle){ .cmp = o->cmp };
}

/* ---- keys --------------------------------------------------------------- */

enum key_kind {
    KEY_TINY,           /* 0 .. 3 bytes of three letters: many versions, the empty key */
    KEY_RANDOM,         /* 16 bytes */
    KEY_SAME_PREFIX,    /* eight bytes alike, then 0 .. 6 of three */
    KEY_PATH,           /* 30 bytes alike, and branches */
    KEY_ZEROS,          /* 0 .. 20 zeros, sometimes a byte after: padding must not decide */
    KEY_RISING,
    KEY_FALLING,
    KEY_RUNS,           /* rising within one of eight ranges */
    KEY_ONE,            /* versions only */
    KEY_KINDS
};

static inline struct lsm_slice oracle_random_key(enum key_kind kind, uint8_t key[96])
{
    static uint64_t count;
    uint64_t run = test_below(8);
    size_t n = 0;

    count++;
    switch (kind) {
    case KEY_TINY:
        for (n = 0; n < 3 && test_below(5); n++)
            key[n] = (uint8_t)("abz"[test_below(3)]);
        break;
    case KEY_RANDOM:
        lsm_put_be64(key, test_random());
        lsm_put_be64(key + 8, test_random());
        n = 16;
        break;
    case KEY_SAME_PREFIX:
        memcpy(key, "samesame", 8);
        for (n = 8; n < 14 && test_below(7); n++)
            key[n] = (uint8_t)(test_below(3) * 127);
        break;
    case KEY_PATH:
        n = (size_t)sprintf((char *)key, "/usr/share/doc/packages-of-all/%c%c/%02u",
                            'a' + (int)test_below(3), 'a' + (int)test_below(26),
                            (unsigned)test_below(60));
        if (test_below(20) == 0)
            n = test_below(n);
        break;
    case KEY_ZEROS:
        n = test_below(21);
        memset(key, 0, n);
        if (test_below(4) == 0)
            key[n++] = (uint8_t)test_below(3);
        break;
    case KEY_RISING:
        lsm_put_be64(key, count);
        n = 8;
        break;
    case KEY_FALLING:
        lsm_put_be64(key, ~count);
        n = 8;
        break;
    case KEY_RUNS:
        lsm_put_be64(key, run);
        lsm_put_be64(key + 8, count);
        n = 16;
        break;
    case KEY_ONE:
        memcpy(key, "k", n = 1);
        break;
    case KEY_KINDS:
        break;
    }
    return lsm_slice(key, n);
}

static const struct lsm_comparator oracle_reverse = { .name = "reverse", .compare = compare_reverse };

/* ---- moves -------------------------------------------------------------- */

/* Does the iterator stand where row i is (count: nowhere)? */
static inline bool oracle_check_at(const struct oracle *o, const struct lsm_iter *it, size_t i)
{
    const struct oracle_row *row = i < o->count ? &o->rows[i] : NULL;

    if (!CHECK_INT(it->rc, LSM_OK) || !CHECK_INT(it->valid, i < o->count))
        return false;
    if (!row)
        return true;
    return CHECK(lsm_slice_equal(it->key, oracle_key(row))) && CHECK_INT(it->tag, row->tag) &&
           CHECK(lsm_slice_equal(it->value, oracle_value(row)));
}

/* Walk it all, both ways, then at random. */
static inline bool oracle_check_moves(const struct oracle *o, struct lsm_iter *it,
                                      enum key_kind kind, int moves)
{
    size_t i = 0;

    lsm_iter_first(it);
    for (i = 0; i < o->count; i++) {
        if (!oracle_check_at(o, it, i))
            return false;
        lsm_iter_next(it);
    }
    if (!oracle_check_at(o, it, o->count))
        return false;
    lsm_iter_last(it);
    for (i = o->count; i > 0; i--) {
        if (!oracle_check_at(o, it, i - 1))
            return false;
        lsm_iter_prev(it);
    }
    if (!oracle_check_at(o, it, o->count))
        return false;

    i = o->count;                       /* nowhere */
    while (moves-- > 0) {
        uint64_t what = test_below(20), tag = LSM_TAG_MAX;
        struct lsm_slice key;
        uint8_t bytes[96];

        if (what < 2 || (i >= o->count && what > 8)) {
            if (what & 1)
                lsm_iter_last(it);
            else
                lsm_iter_first(it);
            i = what & 1 && o->count ? o->count - 1 : 0;
        } else if (what < 9) {
            key = oracle_random_key(kind, bytes);
            if (o->count && test_below(2)) {    /* one that is there, or nearly */
                const struct oracle_row *row = &o->rows[test_below(o->count)];

                key = oracle_key(row);
                tag = row->tag + test_below(3) - 1;
            }
            if (test_below(8) == 0)
                tag = 0;
            i = oracle_find(o, key, tag);
            if (what < 5) {
                lsm_iter_seek(it, key, tag);
            } else {
                lsm_iter_seek_prev(it, key, tag);
                if (i == o->count || lsm_ikey_compare(o->cmp, oracle_key(&o->rows[i]),
                                                      o->rows[i].tag, key, tag) > 0)
                    i = i ? i - 1 : o->count;
            }
        } else if (what & 1) {
            lsm_iter_next(it);
            i++;
        } else {
            lsm_iter_prev(it);
            i = i ? i - 1 : o->count;
        }
        if (!oracle_check_at(o, it, i))
            return false;
    }
    return true;
}

#endif

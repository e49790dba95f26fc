/*
 * vtab_key.h -- key columns <-> bytes whose memcmp order and equality are what
 * SQLite's are for the key of a WITHOUT ROWID table.
 *
 *     key    := column+                     each column ends itself
 *     column := NULL | number | text | blob in this order; all its bits are
 *                                           flipped where the column is DESC
 *     NULL   := 11                          only in bounds, never stored
 *     number := m [fraction]                integers and reals are one order
 *     text   := EC escaped 00               after the fold of the collation
 *     blob   := EE escaped 00
 *     escaped: 00 -> 01 01, 01 -> 01 02, others as they are
 *
 * A number x >= 0 is written as m = 2 * trunc(x) + (x has a fraction):
 *
 *     m < 96           80+m                 0 .. 47 in one byte
 *     m < 2^64         DF+n  m              in n = 1..8 bytes, big-endian, no leading 00
 *     x >= 2^63        E8    real           its 8 IEEE bytes, big-endian; infinity too
 *     fraction         the low 62 bits of the IEEE bits of x - trunc(x), in groups of
 *                      seven, high first; the low bit of a byte says that another follows
 *
 * and x < 0 as the flipped bytes of -x. No column starts with a byte below 11
 * or above EE, so 00 and FF after a whole column lie before and behind all keys
 * that begin with it.
 *
 * Folded: 1.0 is 1, -0.0 is 0, NOCASE and RTRIM text is its class. What
 * the key does not give back bit by bit is stored in the row (vtab_row.h).
 */
#ifndef LSM_EXT_VTAB_KEY_H
#define LSM_EXT_VTAB_KEY_H

#include "ext/vtab_schema.h"

/* An empty key: a buffer with the engine's limit, so that TOOBIG latches in its rc. */
void lsm_vtab_key_init(struct lsm_vtab_buf *key);

/* Append one column. The value is as stored (lsm_vtab_value_store). */
void lsm_vtab_key_add(struct lsm_vtab_buf *key, const struct lsm_vtab_key_part *part,
                      const struct lsm_vtab_value *value);

/*
 * Append the part of a text or blob (`type`) column that every value has which
 * begins with these bytes, as far as the collation knows beginnings: no NUL in
 * the text of a NOCASE column.
 */
void lsm_vtab_key_add_prefix(struct lsm_vtab_buf *key, const struct lsm_vtab_key_part *part,
                             int type, struct lsm_slice text);

/* In the order of encoded keys, whole ones or beginnings: < 0, 0, > 0. */
static inline int lsm_vtab_key_compare(struct lsm_slice a, struct lsm_slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;

    if (order)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

/* Put behind a prefix of whole columns, this is behind all keys that begin with them. */
#define LSM_VTAB_KEY_AFTER 0xff

/*
 * Encode the key of a row: `values` has column_count entries, as stored. Resets
 * `key` first. SQLITE_OK, SQLITE_NOMEM, SQLITE_TOOBIG (over LSM_KEY_SIZE_MAX).
 * NULL in the key is the caller's NOT NULL error.
 */
int lsm_vtab_key_encode(const struct lsm_vtab_schema *schema,
                        const struct lsm_vtab_value *values, struct lsm_vtab_buf *key);

/* True if decoding gives back this very value; else the row keeps it. */
bool lsm_vtab_key_is_faithful(const struct lsm_vtab_key_part *part,
                              const struct lsm_vtab_value *value);

/* True if that holds for whatever the column stores. */
static inline bool lsm_vtab_key_is_always_faithful(const struct lsm_vtab_key_part *part)
{
    return part->collation == LSM_VTAB_COLLATION_BINARY
           && (part->affinity == LSM_VTAB_AFFINITY_TEXT
               || part->affinity == LSM_VTAB_AFFINITY_REAL);
}

/*
 * Decode the column at *offset and move *offset behind it. The value borrows
 * from `key` or, where bytes had to be unescaped, from `scratch`: at least
 * key.size bytes, used at the column's own offset, so that all columns of a key
 * share one. NULL scratch: only skip (`value` is not set).
 * SQLITE_OK or SQLITE_CORRUPT_VTAB; never reads outside of `key`.
 */
int lsm_vtab_key_decode(const struct lsm_vtab_key_part *part, struct lsm_slice key,
                        size_t *offset, uint8_t *scratch, struct lsm_vtab_value *value);

#endif

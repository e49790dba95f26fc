/*
 * vtab_row.h -- the columns that are not in the key <-> the value bytes of a row.
 *
 *     row      := flags:u8 [kept] code* body*
 *     kept     := count:varint part:varint[count]      if flags has KEPT
 *     code     := varint, one per kept key column, then one per value column
 *                 0 NULL · 1..6 integer of 1, 2, 3, 4, 6, 8 bytes · 7 real of 8 bytes ·
 *                 8 the integer 0 · 9 the integer 1 · 10 blob to the end of the row ·
 *                 11 text to the end of the row · 12+2n blob of n bytes · 13+2n text
 *     body     := the bytes of each code in order; numbers little-endian
 *
 * 10 and 11 only for the last body: a row with one text or blob costs two bytes
 * over its payload. Varints are LEB128, the shortest form only.
 *
 * A key column whose value the key does not give back (1.0, 'Abc' NOCASE) is
 * kept here; the others cost nothing. In a column of REAL affinity, and in a
 * kept number, an integer code means the real of that value.
 *
 * Bytes come from disk and are checked where they are used: a malformed row
 * is SQLITE_CORRUPT_VTAB and a text, whatever it holds.
 */
#ifndef LSM_EXT_VTAB_ROW_H
#define LSM_EXT_VTAB_ROW_H

#include "ext/vtab_range.h"

/* A buffer for rows: the limit is the engine's. */
void lsm_vtab_row_buf_init(struct lsm_vtab_buf *buf);

/*
 * Encode a row: `values` has column_count entries, as stored (lsm_vtab_value_store),
 * key columns too. Resets `row` first. SQLITE_OK, SQLITE_NOMEM, SQLITE_TOOBIG.
 */
int lsm_vtab_row_encode(const struct lsm_vtab_schema *schema,
                        const struct lsm_vtab_value *values, struct lsm_vtab_buf *row);

/* A view of one stored row; decodes what is asked for, when it is asked for. */
struct lsm_vtab_row {
    const struct lsm_vtab_schema *schema;
    struct lsm_slice key, value;        /* borrowed: valid while the cursor stands */
    bool parsed;                        /* field_*, kept[] are those of `value` */
    int kept_count;
    uint64_t *field_code;               /* kept columns first; key_count + value_count */
    size_t *field_off;                  /* body offsets in value */
    int *kept;                          /* per key column: its field, or -1 */
    struct lsm_vtab_value *key_value;   /* per key column; the first key_known are decoded */
    int key_known;
    size_t key_off;                     /* where the next one begins in the key */
    uint8_t *scratch;                   /* unescaped key bytes */
    size_t scratch_size;
    const char *why;                    /* after SQLITE_CORRUPT_VTAB: what is wrong */
};

/* The schema must outlive the view. SQLITE_OK or SQLITE_NOMEM. */
int lsm_vtab_row_init(struct lsm_vtab_row *row, const struct lsm_vtab_schema *schema);
void lsm_vtab_row_clear(struct lsm_vtab_row *row);

/* Look at another row. Nothing is read yet. */
void lsm_vtab_row_set(struct lsm_vtab_row *row, struct lsm_slice key, struct lsm_slice value);
/* The same key; its value comes only now. */
void lsm_vtab_row_set_value(struct lsm_vtab_row *row, struct lsm_slice value);

/* True if this column needs `value`; else an empty slice will do for it in set(). */
bool lsm_vtab_row_needs_value(const struct lsm_vtab_schema *schema, int column);

/*
 * The value of a user's column, key columns too. It borrows from the row's key,
 * value or scratch until the next set(). SQLITE_OK, SQLITE_NOMEM, SQLITE_CORRUPT_VTAB
 * (row->why says what is wrong).
 */
int lsm_vtab_row_column(struct lsm_vtab_row *row, int column, struct lsm_vtab_value *value);

#endif

/*
 * vtab_range.h -- constraints on key columns -> a range of keys.
 *
 *     WHERE a = 1 AND b > 'x'         prefix = a        [ a 'x' FF, a FF )
 *
 * Equal columns make a prefix; the next column may have bounds. The comparison
 * is SQLite's, with the conversions that the affinities ask for; SQLite tells a
 * virtual table neither that it would convert nor the affinity of the
 * right-hand side (sqlite-contract 7).
 */
#ifndef LSM_EXT_VTAB_RANGE_H
#define LSM_EXT_VTAB_RANGE_H

#include "ext/vtab_key.h"

/* How well a range answers a constraint. */
enum lsm_vtab_fit {
    LSM_VTAB_FIT_EMPTY = 0,     /* no row can satisfy it: the range is empty */
    LSM_VTAB_FIT_EXACT = 1,     /* the rows in the range are those that satisfy it */
    LSM_VTAB_FIT_SUPERSET = 2,  /* all that satisfy it are in the range, others perhaps too:
                                   SQLite must check (omit = 0) */
    LSM_VTAB_FIT_NONE = 3       /* the range was not narrowed: SQLite must check */
};

/*
 * A range of keys under construction: lower <= key < upper, no upper if has_upper
 * is false. Key columns are narrowed in their order; when a column got anything
 * but an EXACT equality, later columns answer NONE and change nothing.
 */
struct lsm_vtab_range {
    struct lsm_vtab_buf prefix;         /* the columns that are equal */
    struct lsm_vtab_buf lower, upper;   /* whole bounds, valid after finish */
    struct lsm_vtab_buf scratch;
    const struct lsm_vtab_key_part *equal_part; /* the last column in prefix, and */
    size_t equal_off;                           /* where it begins there */
    const struct lsm_vtab_key_part *open_part;  /* has a bound that is no equality */
    bool has_lower, has_upper, is_empty;
    bool is_point;                      /* after finish: prefix is one whole key */
    int part_count;                     /* columns in prefix */
};

void lsm_vtab_range_init(struct lsm_vtab_range *range);
void lsm_vtab_range_clear(struct lsm_vtab_range *range);
void lsm_vtab_range_reset(struct lsm_vtab_range *range);        /* all keys; memory kept */

/* What is known about the right-hand side of a comparison, and about the tree. */
enum lsm_vtab_known {
    /* Text or blob that surely has no numeric affinity: sqlite3_vtab_rhs_value() gave it
       in xBestIndex, or sqlite3_value_frombind() is true in xFilter. Numbers never count:
       CAST(? AS INTEGER) looks bound and has an affinity. */
    LSM_VTAB_KNOWN_PLAIN = 1,
    /* No text in this key column of the tree is a number (lsm_vtab_text_is_number). */
    LSM_VTAB_KNOWN_NO_NUMERIC_TEXT = 2,
    /* What is a number is an integer as it is printed (lsm_vtab_text_is_integer): for an equality with a number, two
       values at most may equal it, that number and one text. */
    LSM_VTAB_KNOWN_INTEGER_TEXT = 4,
    /* Of these two the text is wanted, or the number; else the range is wide in an untyped column. */
    LSM_VTAB_KNOWN_WANT_TEXT = 8,
    LSM_VTAB_KNOWN_WANT_NUMBER = 16
};

/*
 * Narrow by `column op rhs`; op is SQLITE_INDEX_CONSTRAINT_EQ, IS, ISNULL, GT, GE, LT
 * or LE, others answer NONE. The comparison is SQLite's: column and right-hand side are
 * converted as their affinities ask. SQLite does not tell the affinity of the
 * right-hand side; where that matters, the range covers each possibility.
 *
 * The caller has checked that the comparison uses the column's own collation
 * (sqlite3_vtab_collation). Out of memory shows at finish.
 */
enum lsm_vtab_fit lsm_vtab_range_narrow(struct lsm_vtab_range *range,
                                        const struct lsm_vtab_key_part *part, int op,
                                        sqlite3_value *rhs, unsigned known);

/* True if narrow() answers EXACT or EMPTY for this column and the ops above, whatever the
   right-hand side, as long as all columns before it are equal: xBestIndex may set omit. */
bool lsm_vtab_range_is_exact(const struct lsm_vtab_key_part *part);

/*
 * Narrow to the values of `type` (SQLITE_TEXT or SQLITE_BLOB) that begin with
 * these bytes, for `column GLOB 'bytes*'`. SUPERSET, or NONE for an empty prefix of text.
 * GLOB looks into blobs and at the text of numbers, too: a column of TEXT affinity is
 * covered by the two ranges of text and blob, others are not covered at all (NONE).
 */
enum lsm_vtab_fit lsm_vtab_range_narrow_prefix(struct lsm_vtab_range *range,
                                               const struct lsm_vtab_key_part *part, int type,
                                               struct lsm_slice prefix);

/* The literal bytes before the first wildcard of a GLOB pattern. */
struct lsm_slice lsm_vtab_glob_prefix(struct lsm_slice pattern);

/* The bounds are ready in lower and upper: SQLITE_OK or SQLITE_NOMEM. key_count: the
   schema's. */
int lsm_vtab_range_finish(struct lsm_vtab_range *range, int key_count);

#endif

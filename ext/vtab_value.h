/*
 * vtab_value.h -- one SQL value outside of SQLite: what keys and rows are made
 * of and what they give back.
 *
 * A value borrows the bytes of its text or blob: from the sqlite3_value, the
 * stored key or the stored row that it was taken from. Text is UTF-8 whatever
 * the encoding of the database, may hold NUL bytes, and need not be valid.
 */
#ifndef LSM_EXT_VTAB_VALUE_H
#define LSM_EXT_VTAB_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sqlite3ext.h>

#include "lsm/lsm.h"

/* What SQLite derives from a declared type (sqlite.org/datatype3.html 3.1). */
enum lsm_vtab_affinity {
    LSM_VTAB_AFFINITY_BLOB = 0,     /* also: no declared type; values stay as they are */
    LSM_VTAB_AFFINITY_TEXT = 1,
    LSM_VTAB_AFFINITY_NUMERIC = 2,
    LSM_VTAB_AFFINITY_INTEGER = 3,
    LSM_VTAB_AFFINITY_REAL = 4
};

/* The affinity of a column declared with this type; "": no type. */
enum lsm_vtab_affinity lsm_vtab_affinity_of_type(const char *type);

enum lsm_vtab_collation {
    LSM_VTAB_COLLATION_BINARY = 0,
    LSM_VTAB_COLLATION_NOCASE = 1,  /* ASCII letters fold */
    LSM_VTAB_COLLATION_RTRIM = 2    /* trailing spaces do not count */
};

struct lsm_vtab_value {
    int type;                       /* SQLITE_NULL, _INTEGER, _FLOAT, _TEXT, _BLOB */
    union {
        int64_t integer;
        double real;                /* never NaN */
        struct lsm_slice bytes;     /* text, blob; data may be NULL when size is 0 */
    } u;
};

/*
 * Owned bytes that grow, from sqlite3_malloc. The first failure is latched in
 * rc (SQLITE_NOMEM; SQLITE_TOOBIG past size_max, and then the bytes are a true
 * prefix of what was added) and the buffer becomes inert until it is reset.
 */
struct lsm_vtab_buf {
    uint8_t *data;
    size_t size, capacity;
    size_t size_max;
    int rc;
};

void lsm_vtab_buf_init(struct lsm_vtab_buf *buf, size_t size_max);
void lsm_vtab_buf_clear(struct lsm_vtab_buf *buf);      /* frees; usable again */
void lsm_vtab_buf_trim(struct lsm_vtab_buf *buf);       /* frees what a large value took, bytes and all */
/* Empty, rc SQLITE_OK, memory kept. */
static inline void lsm_vtab_buf_reset(struct lsm_vtab_buf *buf)
{
    buf->size = 0;
    buf->rc = SQLITE_OK;
}
/* Room for `more` bytes behind size; the place to write them, or NULL with rc latched. */
uint8_t *lsm_vtab_buf_reserve(struct lsm_vtab_buf *buf, size_t more);
void lsm_vtab_buf_add_growing(struct lsm_vtab_buf *buf, const void *data, size_t size);    /* the next, slowly */
static inline void lsm_vtab_buf_add(struct lsm_vtab_buf *buf, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (buf->rc != SQLITE_OK || size > buf->capacity - buf->size || size > buf->size_max - buf->size) {
        lsm_vtab_buf_add_growing(buf, data, size);
        return;
    }
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}
static inline void lsm_vtab_buf_add_byte(struct lsm_vtab_buf *buf, uint8_t byte)
{
    lsm_vtab_buf_add(buf, &byte, 1);
}
static inline struct lsm_slice lsm_vtab_buf_slice(const struct lsm_vtab_buf *buf)
{
    struct lsm_slice s = { buf->data, buf->size };
    return s;
}

/*
 * Take a value as it is. It borrows the bytes of `from`: good until `from`
 * changes or goes. SQLITE_OK or SQLITE_NOMEM.
 */
int lsm_vtab_value_from(sqlite3_value *from, struct lsm_vtab_value *value);

/*
 * Take a value as a column of this affinity stores it, exactly as SQLite
 * converts it on insert. Borrows as above. SQLITE_OK or SQLITE_NOMEM.
 */
int lsm_vtab_value_store(sqlite3_value *from, enum lsm_vtab_affinity affinity,
                         struct lsm_vtab_value *value);

/* The same for a value that is no sqlite3_value (a DEFAULT); a number that becomes text
   is rendered in `text`. */
void lsm_vtab_value_convert(struct lsm_vtab_value *value, enum lsm_vtab_affinity affinity,
                            char text[32]);

/* Read a decimal number with spaces around it, as a numeric affinity does: an integer if it
   is spelled as one and fits. False, and *value unchanged, if the text is anything else. */
bool lsm_vtab_value_parse(struct lsm_slice text, struct lsm_vtab_value *value);

/* Same type and same bits (-0.0 is not 0.0). */
bool lsm_vtab_value_identical(const struct lsm_vtab_value *a, const struct lsm_vtab_value *b);

/*
 * True if a numeric affinity turns this text into a number: what makes a
 * comparison of a TEXT or untyped column with a number or a numeric column more
 * than an equality of bytes.
 */
bool lsm_vtab_text_is_number(struct lsm_slice text);
/* Is it an int64 as SQLite prints it: 12, -3, 0? */
bool lsm_vtab_text_is_integer(struct lsm_slice text);

/* Set the result of a SQL function or of xColumn; text and blobs are copied. */
void lsm_vtab_value_result(sqlite3_context *context, const struct lsm_vtab_value *value);

/* May the value be what SQLite compares as equal to `rhs`, a number? Rather yes than no. */
bool lsm_vtab_value_may_equal(const struct lsm_vtab_value *value, sqlite3_value *rhs);

#endif

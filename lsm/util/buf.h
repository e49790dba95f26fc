/*
 * buf.h -- owned bytes that grow. The first failure (LSM_NOMEM) is latched in
 * rc and the buffer becomes inert, so that a run of appends needs one check at
 * its end.
 */
#ifndef LSM_UTIL_BUF_H
#define LSM_UTIL_BUF_H

#include "lsm/util/slice.h"
#include "lsm/util/status.h"

struct lsm_buf {
    struct lsm_os *os;
    uint8_t *data;
    size_t size, cap;
    int rc;                     /* latched */
};

void lsm_buf_init(struct lsm_buf *b, struct lsm_os *os);
void lsm_buf_clear(struct lsm_buf *b);                  /* frees; usable again */
static inline void lsm_buf_reset(struct lsm_buf *b) { b->size = 0; b->rc = LSM_OK; }
int lsm_buf_grow(struct lsm_buf *b, size_t more);       /* what follows, when there is no room */
/* Room for `more` bytes behind size. Nearly always there is: in line, as the next ones. */
static inline int lsm_buf_reserve(struct lsm_buf *b, size_t more)
{
    return b->rc == LSM_OK && more <= b->cap - b->size ? LSM_OK : lsm_buf_grow(b, more);
}
static inline void lsm_buf_append(struct lsm_buf *b, const void *data, size_t size)
{
    if (size == 0 || lsm_buf_reserve(b, size) != LSM_OK)
        return;
    memcpy(b->data + b->size, data, size);
    b->size += size;
}
static inline void lsm_buf_append_slice(struct lsm_buf *b, struct lsm_slice s) { lsm_buf_append(b, s.data, s.size); }
void lsm_buf_put_u8(struct lsm_buf *b, uint8_t v);
void lsm_buf_put_u16(struct lsm_buf *b, uint16_t v);    /* little-endian, as all of these */
void lsm_buf_put_u32(struct lsm_buf *b, uint32_t v);
void lsm_buf_put_u64(struct lsm_buf *b, uint64_t v);
void lsm_buf_put_varint(struct lsm_buf *b, uint64_t v);
void lsm_buf_put_bytes(struct lsm_buf *b, struct lsm_slice s);  /* varint size, then the bytes */
static inline struct lsm_slice lsm_buf_slice(const struct lsm_buf *b) { return lsm_slice(b->data, b->size); }

#endif

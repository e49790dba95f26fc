/*
 * buf.c -- owned bytes that grow by doubling.
 */
#include <assert.h>

#include "lsm/util/buf.h"
#include "lsm/util/coding.h"

#define CAP_MIN 64
#define DOUBLE_MAX ((size_t)1 << 20)

static void check_buf(const struct lsm_buf *b)
{
    assert(b->size <= b->cap);
    assert((b->cap == 0) == (b->data == NULL));
    (void)b;
}

void lsm_buf_init(struct lsm_buf *b, struct lsm_os *os)
{
    *b = (struct lsm_buf){ .os = os };
}

void lsm_buf_clear(struct lsm_buf *b)
{
    if (b->data)                            /* a zeroed one has no os either */
        lsm_mem_free(b->os, b->data);
    lsm_buf_init(b, b->os);
}

int lsm_buf_grow(struct lsm_buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : CAP_MIN;
    uint8_t *data;

    check_buf(b);
    if (b->rc || more <= b->cap - b->size)
        return b->rc;
    if (more > SIZE_MAX / 2 - b->size)
        return b->rc = lsm_nomem();

    while (cap - b->size < more && cap < DOUBLE_MAX)
        cap *= 2;
    if (cap - b->size < more)           /* large: an eighth at a time, the kernel moves it without a copy */
        cap = b->size + more + (b->cap ? b->size / 8 : 0);
    data = b->os->mem_realloc(b->os, b->data, cap);
    if (!data)
        return b->rc = lsm_nomem();
    b->data = data;
    b->cap = cap;
    return LSM_OK;
}

void lsm_buf_put_u8(struct lsm_buf *b, uint8_t v)
{
    lsm_buf_append(b, &v, 1);
}

void lsm_buf_put_u16(struct lsm_buf *b, uint16_t v)
{
    uint8_t bytes[2];

    lsm_put_u16(bytes, v);
    lsm_buf_append(b, bytes, sizeof(bytes));
}

void lsm_buf_put_u32(struct lsm_buf *b, uint32_t v)
{
    uint8_t bytes[4];

    lsm_put_u32(bytes, v);
    lsm_buf_append(b, bytes, sizeof(bytes));
}

void lsm_buf_put_u64(struct lsm_buf *b, uint64_t v)
{
    uint8_t bytes[8];

    lsm_put_u64(bytes, v);
    lsm_buf_append(b, bytes, sizeof(bytes));
}

void lsm_buf_put_varint(struct lsm_buf *b, uint64_t v)
{
    uint8_t bytes[LSM_VARINT_SIZE_MAX];

    lsm_buf_append(b, bytes, lsm_varint_put(bytes, v));
}

void lsm_buf_put_bytes(struct lsm_buf *b, struct lsm_slice s)
{
    lsm_buf_put_varint(b, s.size);
    lsm_buf_append_slice(b, s);
}

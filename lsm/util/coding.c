/*
 * coding.c -- varints, and the reader that hostile bytes cannot lead astray.
 *
 * A number has one encoding: a second, longer form of it is malformed, so that
 * equal values are equal bytes and sums of re-encoded records agree.
 */
#include "lsm/util/coding.h"

size_t lsm_varint_put_slow(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

size_t lsm_varint_get_slow(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
    size_t left = (size_t)(end - p);
    uint64_t value = 0;

    for (size_t n = 0; n < LSM_VARINT_SIZE_MAX && n < left; n++) {
        uint8_t byte = p[n];

        value |= (uint64_t)(byte & 0x7f) << (7 * n);
        if (byte & 0x80)
            continue;
        if (byte == 0 && n > 0)
            return 0;                       /* a shorter form exists */
        if (n == LSM_VARINT_SIZE_MAX - 1 && byte > 1)
            return 0;                       /* bit 64 and above */
        *v = value;
        return n + 1;
    }
    return 0;
}

/* The next `size` bytes, or NULL: there are not that many, or it was bad before. */
static const uint8_t *take(struct lsm_reader *r, size_t size)
{
    const uint8_t *p = r->p;

    if (r->bad || size > lsm_reader_left(r)) {
        r->bad = true;
        return NULL;
    }
    if (size)                               /* p may be NULL in an empty reader */
        r->p += size;
    return p;
}

uint8_t lsm_read_u8(struct lsm_reader *r)
{
    const uint8_t *p = take(r, 1);

    return p ? *p : 0;
}

uint16_t lsm_read_u16(struct lsm_reader *r)
{
    const uint8_t *p = take(r, 2);

    return p ? lsm_get_u16(p) : 0;
}

uint32_t lsm_read_u32(struct lsm_reader *r)
{
    const uint8_t *p = take(r, 4);

    return p ? lsm_get_u32(p) : 0;
}

uint64_t lsm_read_u64(struct lsm_reader *r)
{
    const uint8_t *p = take(r, 8);

    return p ? lsm_get_u64(p) : 0;
}

uint64_t lsm_read_varint(struct lsm_reader *r)
{
    uint64_t v = 0;
    size_t n = r->bad ? 0 : lsm_varint_get(r->p, r->end, &v);

    if (n == 0) {
        r->bad = true;
        return 0;
    }
    r->p += n;
    return v;
}

uint32_t lsm_read_varint32(struct lsm_reader *r)
{
    uint64_t v = lsm_read_varint(r);

    if (v > UINT32_MAX) {
        r->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

struct lsm_slice lsm_read_fixed(struct lsm_reader *r, size_t size)
{
    const uint8_t *p = take(r, size);

    return lsm_slice(p, r->bad ? 0 : size);
}

struct lsm_slice lsm_read_bytes(struct lsm_reader *r)
{
    uint64_t size = lsm_read_varint(r);

    return lsm_read_fixed(r, size);
}

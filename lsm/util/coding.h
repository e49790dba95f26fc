/*
 * coding.h -- little-endian numbers, varints, and a bounded reader for bytes
 * that may be hostile. Every format goes through these.
 */
#ifndef LSM_UTIL_CODING_H
#define LSM_UTIL_CODING_H

#include <string.h>

#include "lsm/util/slice.h"

_Static_assert(sizeof(size_t) == 8, "64-bit hosts only");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian hosts only: give the coders below a byte-swapping form first"
#endif

static inline void lsm_put_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void lsm_put_u32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void lsm_put_u64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint16_t lsm_get_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t lsm_get_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t lsm_get_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void lsm_put_be64(uint8_t *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
static inline uint64_t lsm_get_be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }

#define LSM_VARINT_SIZE_MAX 10

/* Seven bits a byte, low first, high bit: more follows. Returns the bytes written. */
size_t lsm_varint_put_slow(uint8_t *p, uint64_t v);
static inline size_t lsm_varint_put(uint8_t *p, uint64_t v)
{
    if (v < 0x80) {
        *p = (uint8_t)v;
        return 1;
    }
    return lsm_varint_put_slow(p, v);
}
static inline size_t lsm_varint_size(uint64_t v)
{
    return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

/* Bytes read, or 0: it does not end before `end`, or is not the shortest form of a 64-bit number. */
size_t lsm_varint_get_slow(const uint8_t *p, const uint8_t *end, uint64_t *v);
static inline size_t lsm_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
    if (p < end && *p < 0x80) {
        *v = *p;
        return 1;
    }
    return lsm_varint_get_slow(p, end, v);
}

/*
 * A reader over [p, end). The first read past the end or of a malformed number
 * latches `bad`; later reads give zeros and empty slices.
 */
struct lsm_reader {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct lsm_reader lsm_reader(struct lsm_slice s)
{
    struct lsm_reader r = { s.data, s.size ? s.data + s.size : s.data, false };
    return r;
}
static inline size_t lsm_reader_left(const struct lsm_reader *r) { return (size_t)(r->end - r->p); }
uint8_t lsm_read_u8(struct lsm_reader *r);
uint16_t lsm_read_u16(struct lsm_reader *r);
uint32_t lsm_read_u32(struct lsm_reader *r);
uint64_t lsm_read_u64(struct lsm_reader *r);
uint64_t lsm_read_varint(struct lsm_reader *r);
uint32_t lsm_read_varint32(struct lsm_reader *r);               /* bad above 2^32-1 */
struct lsm_slice lsm_read_fixed(struct lsm_reader *r, size_t size);
struct lsm_slice lsm_read_bytes(struct lsm_reader *r);          /* varint size, then the bytes */

#endif

/*
 * lz.h -- a codec that is fast to decode: matches and literals as they are, no entropy
 * coding. For blocks that are read often, or written anew soon, and for values whose bytes are even.
 *
 *     lz       := sequence*  zero*               (to the end of what is stored)
 *     sequence := token:u8  [lit:varint]  [offset:u16]  [match:varint]  literals
 *     token    := high << 4 | low
 *       high 0-13: so many literals; 14: 14 + lit
 *       low  0-14: a match of 4 + low bytes; 15: 19 + match; it begins `offset` (little-endian)
 *                  bytes back from behind the literals
 *       high 15:   literals, match and offset are those of the sequence 1 + low before this one,
 *                  and nothing stands between token and literals
 *
 * Decoding ends when the size that is known is reached: a sequence whose literals do
 * so is the last, and has no match (low 0, unless high is 15). It may not end elsewhere.
 *
 * Rows of one size, with columns of their own size, repeat their sequences: one byte each.
 *
 * Measured, blocks of 4 KiB: size beside the raw one, ns a block to compress and to decompress.
 *
 *     rows                                zstd 1                 zstd -1                lz
 *     keys of 16, 100 B that half repeat  0.562  19,800  2,150   0.562  10,000  2,180   0.571   4,400    720
 *     so, equal tags (the deepest level)  0.569  21,000  1,180   0.569  10,700  1,200   0.545   3,300    840
 *     lines of text with numbers          0.252  17,000  6,400   0.356   8,700  2,520   0.419  13,000  1,450
 */
#ifndef LSM_FORMAT_LZ_H
#define LSM_FORMAT_LZ_H

#include "lsm/util/slice.h"

#define LSM_LZ_TABLE_SIZE 4096u

/* To compress with; zeroed at first, then whatever the last block left. */
struct lsm_lz {
    uint32_t base;              /* added to places in the table: smaller ones are of earlier blocks */
    uint32_t table[LSM_LZ_TABLE_SIZE];
};

/* At most this many bytes come out. */
static inline size_t lsm_lz_bound(size_t raw_size)
{
    return raw_size + 16;
}

/* Returns the size in `out`, or 0 when it would exceed size_max <= lsm_lz_bound(raw.size). raw.size < 2^31. */
size_t lsm_lz_compress(struct lsm_lz *lz, struct lsm_slice raw, uint8_t *out, size_t size_max);

/* To exactly raw_size bytes in `raw`, zeros behind the last sequence; else false. Any bytes at all may be given. */
bool lsm_lz_decompress(struct lsm_slice stored, uint8_t *raw, size_t raw_size);

#endif

/*
 * block.h -- a sorted block: rows behind one common prefix, and nothing twice.
 *
 *     payload := n:u32  prefix_size:u16  flags:u16  prefix[prefix_size]
 *                [~tag:be64]  [sizes]  row*
 *     row     := [sizes]  suffix  [~tag:be64]  value
 *     sizes   := suffix_size:varint  value_size:varint
 *
 *     ONE_TAG: the tag stands before the rows, for all of them, else in each row
 *     FIXED:   the sizes stand before the rows, for all of them, else in each row
 *
 * prefix ‖ suffix is the user key. suffix_size counts the suffix only, not the
 * tag. ONE_TAG is the rule in the deepest level, where sequences are zeroed;
 * FIXED needs two rows. The builder sets each flag whenever it may.
 *
 * There is no directory: whoever loads a block walks its rows once to check them
 * and learns where they begin. He also gets an array of the keys' first eight
 * bytes behind the common prefix, so that a search touches one array (27 ns
 * against 176 without it).
 *
 * Measured, against a format with a u16 directory and with tag and sizes in every
 * row: 1 M rows, random keys of 16 bytes, half of each value repeats the other,
 * blocks of 8 KiB, zstd 1. Disk and memory in bytes a row; unseal and
 * lsm_block_new in ns a block, and new again with all of it in the processor's cache.
 *
 *     tags, values         disk          memory          unseal        new          new, hot
 *     equal, 100 B         75.7 -> 68.0  140.1 -> 124.6  3170 -> 2190   750 -> 420  580 -> 310
 *     equal, 60-140 B      77.0 -> 70.8  140.3 -> 130.8  3400 -> 2470  1140 -> 580  630 -> 480
 *     distinct, 100 B      77.6 -> 73.5  140.1 -> 132.5  3030 -> 3160   730 -> 380  580 -> 250
 *     distinct, 60-140 B   78.7 -> 76.6  140.3 -> 138.8  3240 -> 3230  1120 -> 470  620 -> 470
 *
 * FIXED alone, of the first line: disk 69.9 -> 68.0, memory 130.6 -> 124.6, new 600 -> 400.
 */
#ifndef LSM_FORMAT_BLOCK_H
#define LSM_FORMAT_BLOCK_H

#include "lsm/format/ikey.h"
#include "lsm/util/buf.h"

#define LSM_BLOCK_ONE_TAG 1u    /* flags */
#define LSM_BLOCK_FIXED 2u

/* ---- building ---- */
struct lsm_block_builder {
    struct lsm_os *os;
    struct lsm_buf rows;        /* keys whole until finish, when the common prefix is known */
    struct lsm_buf starts;      /* u32 offsets into rows */
    uint32_t count;
    uint32_t prefix_size;       /* common to all keys so far */
    uint32_t value_size;        /* of the first row */
    bool has_one_tag, is_fixed; /* so far */
    int rc;                     /* latched */
    struct lsm_buf last_key;    /* user key of the last row */
    uint64_t last_tag;
};
void lsm_block_builder_init(struct lsm_block_builder *b, struct lsm_os *os);
void lsm_block_builder_clear(struct lsm_block_builder *b);
void lsm_block_builder_reset(struct lsm_block_builder *b);
/* In order. Asserted here is what holds in every order: versions of a key, newest first. Latches
   LSM_NOMEM, and LSM_TOOBIG above 4 GiB. */
void lsm_block_builder_add(struct lsm_block_builder *b, struct lsm_slice key, uint64_t tag,
                           struct lsm_slice value);
size_t lsm_block_builder_size(const struct lsm_block_builder *b);      /* about, if finished now */
/* Append the payload to `out`. The first error, its or the builder's; reset to go on. */
int lsm_block_builder_finish(struct lsm_block_builder *b, struct lsm_buf *out);

/* ---- reading ---- */

/* A checked block in memory. All sizes were verified by lsm_block_new, so iterating needs no check
   but the order. */
struct lsm_block {
    struct lsm_os *os;
    const uint8_t *data;        /* payload (with a comparator and a prefix: rows only), and eight
                                   zeros, behind this struct */
    uint32_t size, count;
    const uint8_t *prefix;
    uint32_t prefix_size;       /* 0 with a comparator: then suffixes are whole keys */
    uint64_t prefix_head;       /* its first eight bytes, or all and zeros: that far a search needs no more memory */
    uint32_t tag_size;          /* in a row; 0: every row has `tag` */
    uint64_t tag;
    uint64_t *key_prefix;       /* first eight bytes of each suffix */
    uint32_t *off;              /* without row_size: count + 1 row offsets in data */
    const uint8_t *rows;        /* with row_size: the rows, one behind the other */
    uint32_t row_size;          /* of each row; 0: rows have sizes of their own */
    uint32_t suffix_size;       /* with row_size: of each row */
};

/* Copies and checks. LSM_CORRUPT names file and offset: sizes, order of keys and tags, kinds, bytes
   left over. cmp NULL: bytes. */
int lsm_block_new(struct lsm_os *os, struct lsm_slice payload, const struct lsm_comparator *cmp,
                  const char *file, uint64_t off, struct lsm_block **block);
void lsm_block_free(struct lsm_block *block);
size_t lsm_block_memory(const struct lsm_block *block);
/* First row >= (key, tag): 0 .. count. */
uint32_t lsm_block_seek(const struct lsm_block *block, const struct lsm_comparator *cmp,
                        struct lsm_slice key, uint64_t tag);
/* Row i of a against row j of b, where they stand: < 0, 0, > 0. */
int lsm_block_compare(const struct lsm_comparator *cmp, const struct lsm_block *a, uint32_t i,
                      const struct lsm_block *b, uint32_t j);
/* How the key's beginning and the common prefix compare: < 0, 0, > 0; a key that is part of it is less. */
int lsm_block_compare_prefix(const struct lsm_block *block, struct lsm_slice key);
/* Row i: the suffix (prefix it with block->prefix for the key), tag and value. */
static inline void lsm_block_row(const struct lsm_block *block, uint32_t i, struct lsm_slice *suffix,
                                 uint64_t *tag, struct lsm_slice *value)
{
    const uint8_t *p, *end;
    uint64_t tag_behind;
    size_t size;

    if (block->row_size) {
        p = block->rows + (size_t)i * block->row_size;
        end = p + block->row_size;
        size = block->suffix_size;
    } else {
        p = block->data + block->off[i];
        end = block->data + block->off[i + 1];
        size = *p++;
        if (size >= 0x80) {                 /* a varint of known good form */
            size &= 0x7f;
            for (unsigned shift = 7;; shift += 7) {
                size |= (size_t)(*p & 0x7f) << shift;
                if (*p++ < 0x80)
                    break;
            }
        }
        p += 1 + (*p >> 7);                 /* the value ends where the row ends: pass over its */
        while (p[-1] >= 0x80)               /* size, without a branch for the usual two bytes */
            p++;
    }
    *suffix = lsm_slice(p, size);
    p += size;
    tag_behind = ~lsm_get_be64(p);      /* there are eight bytes in any case */
    *tag = block->tag_size ? tag_behind : block->tag;
    p += block->tag_size;
    *value = lsm_slice(p, (size_t)(end - p));
}

#define LSM_BLOCK_COPY_SIZE 32u         /* a suffix up to this is copied in one piece */

/* Copy a row's suffix behind the prefix at `to`, which has room for it and LSM_BLOCK_COPY_SIZE bytes more. */
static inline void lsm_block_copy_suffix(const struct lsm_block *block, struct lsm_slice suffix, uint8_t *to)
{
    if (suffix.size <= LSM_BLOCK_COPY_SIZE &&
        (size_t)(block->data + block->size - suffix.data) >= LSM_BLOCK_COPY_SIZE)
        memcpy(to, suffix.data, LSM_BLOCK_COPY_SIZE);
    else
        memcpy(to, suffix.data, suffix.size);
}

#endif

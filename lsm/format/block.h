/*
 * block.h -- a sorted block: a row directory and one common prefix.
 *
 *     payload := n:u32  prefix_size:u16  flags:u16  prefix[prefix_size]
 *                off[n]:u16 or u32 (flags & WIDE)      from payload start
 *                row*
 *     row     := suffix_size:varint  value_size:varint  suffix  ~tag:be64  value
 *
 * prefix ‖ suffix is the user key. suffix_size counts the suffix only, not the
 * tag. A key is found by binary search over the directory; a block that is
 * loaded for reading gets an array of the keys' first eight bytes behind the
 * common prefix, so that the search touches one array (27 ns against 176).
 */
#ifndef LSM_FORMAT_BLOCK_H
#define LSM_FORMAT_BLOCK_H

#include "lsm/format/ikey.h"
#include "lsm/util/buf.h"

#define LSM_BLOCK_WIDE 1u

/* ---- building ---- */
struct lsm_block_builder {
    struct lsm_os *os;
    struct lsm_buf rows;        /* keys whole until finish, when the common prefix is known */
    struct lsm_buf starts;      /* u32 offsets into rows */
    uint32_t count;
    uint32_t prefix_size;       /* common to all keys so far */
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

/* A checked block in memory. All offsets and sizes were verified by lsm_block_new, so iterating
   needs no check but the order. */
struct lsm_block {
    struct lsm_os *os;
    const uint8_t *data;        /* payload (with a comparator: rows only), behind this struct */
    uint32_t size, count;
    const uint8_t *prefix;
    uint32_t prefix_size;       /* 0 with a comparator: then suffixes are whole keys */
    uint32_t *off;              /* count + 1 row offsets, decoded */
    uint64_t *key_prefix;       /* first eight bytes of each suffix */
};

/* Copies and checks. LSM_CORRUPT names file and offset: sizes, offsets, order of keys and tags,
   kinds. cmp NULL: bytes. */
int lsm_block_new(struct lsm_os *os, struct lsm_slice payload, const struct lsm_comparator *cmp,
                  const char *file, uint64_t off, struct lsm_block **block);
void lsm_block_free(struct lsm_block *block);
size_t lsm_block_memory(const struct lsm_block *block);
/* First row >= (key, tag): 0 .. count. */
uint32_t lsm_block_seek(const struct lsm_block *block, const struct lsm_comparator *cmp,
                        struct lsm_slice key, uint64_t tag);
/* Row i: the suffix (prefix it with block->prefix for the key), tag and value. */
static inline void lsm_block_row(const struct lsm_block *block, uint32_t i, struct lsm_slice *suffix,
                                 uint64_t *tag, struct lsm_slice *value)
{
    const uint8_t *p = block->data + block->off[i], *end = block->data + block->off[i + 1];
    size_t size = *p++;

    if (size >= 0x80) {                 /* a varint of known good form */
        size &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            size |= (size_t)(*p & 0x7f) << shift;
            if (*p++ < 0x80)
                break;
        }
    }
    while (*p++ >= 0x80)                /* the value's size: it ends where the row ends */
        ;
    *suffix = lsm_slice(p, size);
    p += size;
    *tag = ~lsm_get_be64(p);
    p += LSM_TAG_SIZE;
    *value = lsm_slice(p, (size_t)(end - p));
}

#endif

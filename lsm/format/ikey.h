/*
 * ikey.h -- what orders the versions of a key.
 *
 *     tag := seq:56 kind:8          one number; a greater tag is newer
 *     order: user key ascending, then tag descending
 *
 * On disk a row's key is user key ‖ big-endian ~tag, compared in two steps:
 * user key first, then the eight bytes. (One memcmp over both would be wrong:
 * "a" would come after "ab".)
 */
#ifndef LSM_FORMAT_IKEY_H
#define LSM_FORMAT_IKEY_H

#include "lsm/util/coding.h"

enum lsm_kind {
    LSM_KIND_DELETE = 0,        /* tombstone of one key */
    LSM_KIND_PUT = 1,
    LSM_KIND_VLOG = 2,          /* a put whose value is a handle into a value log */
    LSM_KIND_RANGE_DELETE = 3,  /* key: first; value: end, exclusive */
    LSM_KIND_VOID = 4           /* memtable only: undone by a savepoint, never seen */
};
#define LSM_KIND_MAX LSM_KIND_VOID

#define LSM_SEQ_MAX ((UINT64_C(1) << 56) - 1)
#define LSM_TAG_MAX UINT64_MAX  /* seeking here finds the newest version of a key */
#define LSM_TAG_SIZE 8u

static inline uint64_t lsm_tag(uint64_t seq, enum lsm_kind kind) { return seq << 8 | (uint64_t)kind; }
static inline uint64_t lsm_tag_seq(uint64_t tag) { return tag >> 8; }
static inline enum lsm_kind lsm_tag_kind(uint64_t tag) { return (enum lsm_kind)(tag & 0xff); }

static inline int lsm_ikey_compare(const struct lsm_comparator *cmp, struct lsm_slice a,
                                   uint64_t a_tag, struct lsm_slice b, uint64_t b_tag)
{
    int c = lsm_key_compare(cmp, a, b);
    if (c)
        return c;
    return a_tag > b_tag ? -1 : a_tag < b_tag;
}

#endif

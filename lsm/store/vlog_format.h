/*
 * vlog_format.h -- the frame of a value log in code, for the writer and the
 * reader. The format is stated in vlog_writer.h.
 */
#ifndef LSM_STORE_VLOG_FORMAT_H
#define LSM_STORE_VLOG_FORMAT_H

#include "lsm/util/coding.h"

#define LSM_VLOG_MAGIC "LSMVAL\r\n"
#define LSM_VLOG_FOOTER_MAGIC "LSMVALF\n"
#define LSM_VLOG_HEADER_SIZE 64u
#define LSM_VLOG_INCOMPAT_LZ 1u         /* values may be compressed with lz */
#define LSM_VLOG_INCOMPAT_TABLES 2u     /* the dictionary may have tables */
#define LSM_VLOG_INCOMPAT_KNOWN (LSM_VLOG_INCOMPAT_LZ | LSM_VLOG_INCOMPAT_TABLES)
#define LSM_VLOG_FOOTER_SIZE (48u + LSM_VLOG_HEADER_SIZE)

struct lsm_vlog_footer {
    uint64_t map_off, dict_off;         /* the dictionary's place is one of handles; 0 without one */
    uint32_t map_size, dict_size;       /* of the sealed blocks; 0: none */
    uint64_t value_count, value_bytes, end;
};

/* All but the sum. */
static inline void lsm_vlog_header_encode(uint8_t *p, const char *magic, const uint8_t uuid[16],
                                          uint64_t number, uint64_t id, uint32_t tree)
{
    memcpy(p, magic, 8);
    memset(p + 8, 0, 8);                /* compat, ro_compat, incompat, zero */
    lsm_put_u16(p + 12, LSM_VLOG_INCOMPAT_KNOWN);
    memcpy(p + 16, uuid, 16);
    lsm_put_u64(p + 32, number);
    lsm_put_u64(p + 40, id);
    lsm_put_u32(p + 48, tree);
    lsm_put_u32(p + 52, 0);
}

static inline void lsm_vlog_footer_encode(uint8_t *p, const struct lsm_vlog_footer *f)
{
    lsm_put_u64(p, f->map_off);
    lsm_put_u64(p + 8, f->dict_off);
    lsm_put_u32(p + 16, f->map_size);
    lsm_put_u32(p + 20, f->dict_size);
    lsm_put_u64(p + 24, f->value_count);
    lsm_put_u64(p + 32, f->value_bytes);
    lsm_put_u64(p + 40, f->end);
}

static inline void lsm_vlog_footer_decode(const uint8_t *p, struct lsm_vlog_footer *f)
{
    f->map_off = lsm_get_u64(p);
    f->dict_off = lsm_get_u64(p + 8);
    f->map_size = lsm_get_u32(p + 16);
    f->dict_size = lsm_get_u32(p + 20);
    f->value_count = lsm_get_u64(p + 24);
    f->value_bytes = lsm_get_u64(p + 32);
    f->end = lsm_get_u64(p + 40);
}

#endif

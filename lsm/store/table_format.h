/*
 * table_format.h -- the frame of a table file in code, for the writer and the
 * reader. The format is stated in table_writer.h.
 */
#ifndef LSM_STORE_TABLE_FORMAT_H
#define LSM_STORE_TABLE_FORMAT_H

#include "lsm/util/coding.h"

#define LSM_TABLE_MAGIC "LSMTAB\r\n"
#define LSM_TABLE_FOOTER_MAGIC "LSMTABF\n"
#define LSM_TABLE_INCOMPAT_LZ 1u          /* data blocks may be compressed with lz */
#define LSM_TABLE_INCOMPAT_SEPARATORS 2u  /* a key of an index is at or after its block's last one */
#define LSM_TABLE_INCOMPAT_KNOWN (LSM_TABLE_INCOMPAT_LZ | LSM_TABLE_INCOMPAT_SEPARATORS)
#define LSM_TABLE_HEADER_SIZE 56u
#define LSM_TABLE_FOOTER_SIZE (36u + LSM_TABLE_HEADER_SIZE)

/* Names of properties: numbers are u64, keys and names bytes. */
#define LSM_TABLE_COMPARATOR "comparator"
#define LSM_TABLE_ENTRIES "entries"
#define LSM_TABLE_LARGEST "largest"
#define LSM_TABLE_PARTS "parts"          /* part_meta.h; not there: an older version wrote the table */
#define LSM_TABLE_PRIVATE "private"
#define LSM_TABLE_RANGE_DELETES "range_deletes"   /* only where there are some */
#define LSM_TABLE_RAW_BYTES "raw_bytes"
#define LSM_TABLE_REFS "refs"            /* vlog_meta.h; not there: none */
#define LSM_TABLE_SEQ_MAX "seq_max"
#define LSM_TABLE_SEQ_MIN "seq_min"
#define LSM_TABLE_SMALLEST "smallest"
#define LSM_TABLE_TOMBSTONES "tombstones"
#define LSM_TABLE_TREE "tree"
#define LSM_TABLE_WRITER "writer"

struct lsm_table_footer {               /* sizes: of the sealed blocks */
    uint64_t top_off, properties_off, range_delete_off;
    uint32_t top_size, properties_size, range_delete_size;
};

/* All but the sum. */
static inline void lsm_table_header_encode(uint8_t *p, const char *magic, const uint8_t uuid[16],
                                           uint64_t number, uint32_t tree, uint32_t incompat)
{
    memcpy(p, magic, 8);
    memset(p + 8, 0, 8);                /* compat, ro_compat, incompat, zero */
    lsm_put_u16(p + 12, (uint16_t)incompat);
    memcpy(p + 16, uuid, 16);
    lsm_put_u64(p + 32, number);
    lsm_put_u32(p + 40, tree);
    lsm_put_u32(p + 44, 0);
}

static inline void lsm_table_footer_encode(uint8_t *p, const struct lsm_table_footer *f)
{
    lsm_put_u64(p, f->top_off);
    lsm_put_u32(p + 8, f->top_size);
    lsm_put_u64(p + 12, f->properties_off);
    lsm_put_u32(p + 20, f->properties_size);
    lsm_put_u64(p + 24, f->range_delete_off);
    lsm_put_u32(p + 32, f->range_delete_size);
}

static inline void lsm_table_footer_decode(const uint8_t *p, struct lsm_table_footer *f)
{
    f->top_off = lsm_get_u64(p);
    f->top_size = lsm_get_u32(p + 8);
    f->properties_off = lsm_get_u64(p + 12);
    f->properties_size = lsm_get_u32(p + 20);
    f->range_delete_off = lsm_get_u64(p + 24);
    f->range_delete_size = lsm_get_u32(p + 32);
}

#endif

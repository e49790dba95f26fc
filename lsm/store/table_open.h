/*
 * table_open.h -- an open table from inside: what table.c (reading and get),
 * table_open.c, table_iter.c, table_check.c and tables.c (which tables are open) share.
 *
 * Threads: fields without a remark do not change while the table is open.
 */
#ifndef LSM_STORE_TABLE_OPEN_H
#define LSM_STORE_TABLE_OPEN_H

#include <stdatomic.h>

#include "lsm/format/block.h"
#include "lsm/format/filename.h"
#include "lsm/format/seal.h"
#include "lsm/store/table.h"
#include "lsm/store/table_format.h"

/* An index partition in the cache. */
struct lsm_table_index {
    struct lsm_os *os;
    struct lsm_block *block;            /* keys: the last ones of the data blocks */
    struct lsm_table_handle {
        uint64_t off, tombstones, seq_max;
        uint32_t size;
    } data[];                           /* block->count */
};

/* A filter in the cache. */
struct lsm_table_filter {
    struct lsm_os *os;
    uint8_t *lines;                     /* at a multiple of 64; not NULL */
    uint32_t line_count;                /* 0: it is damaged, and matches everything */
    size_t size;                        /* of the allocation */
};

/*
 * One row of the top index. Index and filter, once loaded, stay pinned as long
 * as the table is open while lsm_tables' share of the cache lasts: then a get
 * finds them without a lock. The pointer is published after its entry and the
 * count of lines.
 *
 * A get that the filter denies touches this struct's first 24 bytes and one line
 * of the filter: there are many of both, and neither is in the processor's cache.
 */
struct lsm_table_part {
    const uint8_t *_Atomic filter_lines;        /* kept, or NULL */
    uint32_t filter_line_count, filter_size;
    struct lsm_table_index *_Atomic index;      /* kept, or NULL */
    uint64_t data_off, data_end;        /* where its data blocks are */
    uint64_t index_off, filter_off;
    uint64_t blocks, entries, tombstones, seq_min, seq_max;
    struct lsm_cache_entry *_Atomic index_entry, *_Atomic filter_entry;
    uint32_t index_size;
};

struct lsm_table {
    struct lsm_tables *tables;
    struct lsm_table *chain;            /* in its bucket, under the shard's mutex */
    atomic_uint refs;                   /* users, and one while it can be found */
    atomic_uint_least64_t used_at;      /* of lsm_tables.clock */
    atomic_bool is_forgotten;           /* the file is obsolete */
    struct lsm_file *file;
    const struct lsm_comparator *cmp;
    struct lsm_table_meta *meta;        /* a copy */
    uint64_t tag_add;                   /* meta's seq_add, where it stands in a tag */
    uint64_t seed;                      /* of the places */
    uint64_t memory;
    struct lsm_table_footer footer;
    bool has_separators;                /* keys of indexes may be behind the last keys of their blocks */
    struct lsm_block *top;
    struct lsm_ranges *ranges;          /* NULL: none */
    struct lsm_table_part *parts;       /* top->count */
    char name[LSM_FILENAME_SIZE];
};

#define LSM_TABLES_SHARDS 8u

struct lsm_tables {
    struct lsm_os *os;
    struct lsm_dir *dir;
    uint8_t uuid[16];
    struct lsm_cache *cache;
    struct lsm_compressor_pool *compressors;
    struct lsm_table_scratch *_Atomic spare_scratch;
    uint32_t open_max;
    bool allow_longer;                  /* a file may be longer than its meta says */
    uint32_t (*relief)(void *ctx);      /* NULL: nobody else has descriptors to give */
    void *relief_ctx;
    atomic_uint open_count;             /* files held, also by tables that can no longer be found */
    atomic_uint kept_count;             /* tables in slots: they do not become idle */
    atomic_bool over;                   /* more are open than open_max, all in use */
    atomic_uint_least64_t clock;        /* advances with the use of another table */
    atomic_uint_least64_t memory, kept_bytes, filter_faults, opens;
    atomic_uint_least64_t filter_denied, filter_wrong, block_reads, block_bytes;
    struct lsm_tables_shard {
        struct lsm_mutex *mutex;        /* guards the rest */
        struct lsm_table **buckets;
        uint32_t bucket_count, count;
    } shards[LSM_TABLES_SHARDS];
};

/* Buffers of a reader that are used again. Zeroed is fine for clear. */
struct lsm_table_scratch {
    struct lsm_buf sealed, raw, key;
};
void lsm_table_scratch_init(struct lsm_table_scratch *s, struct lsm_os *os);
void lsm_table_scratch_clear(struct lsm_table_scratch *s);
void lsm_table_scratch_trim(struct lsm_table_scratch *s);       /* gives back what a large value took */
void lsm_table_scratch_free(struct lsm_os *os, struct lsm_table_scratch *s);    /* NULL is fine */

/* Not in any list, one reference. */
int lsm_table_open(struct lsm_tables *tables, const struct lsm_table_meta *meta,
                   const struct lsm_comparator *cmp, struct lsm_table **table);
void lsm_table_close(struct lsm_table *table);

static inline int lsm_table_corrupt(const struct lsm_table *t, uint64_t off, const char *why)
{
    return lsm_corrupt(t->name, off, why);
}

/* Bytes of what the cache, or the table, keeps. */
size_t lsm_table_index_memory(const struct lsm_table_index *index);
size_t lsm_table_filter_memory(const struct lsm_table_filter *filter);

/* Exactly `size` bytes of the file. */
int lsm_table_read_at(struct lsm_table *table, void *data, size_t size, uint64_t off);
/* A data block as it stands there. False: it is not whole. */
bool lsm_table_read_intact(struct lsm_table *table, uint8_t *data, uint32_t size, uint64_t off);
/* A partition: its blocks, filter and index. False: not all of them are whole. */
bool lsm_table_read_part(struct lsm_table *table, uint32_t part, const struct lsm_table_index *index, struct lsm_buf *buf);
/* What the properties say of the partitions (part_meta.h). LSM_NOTFOUND: nothing. */
int lsm_table_read_part_metas(struct lsm_table *table, struct lsm_buf *metas);
/* Header and footer against the file, the meta and this version. */
int lsm_table_read_frame(struct lsm_table *table, struct lsm_table_footer *footer, bool *has_separators);
/* A block from the file; *payload points into the scratch. */
int lsm_table_read(struct lsm_table *table, uint64_t off, uint32_t size, enum lsm_block_kind kind,
                   struct lsm_table_scratch *s, struct lsm_slice *payload);
/* From the file, checked against what the top index and the index say. The caller frees. */
int lsm_table_read_index(struct lsm_table *table, uint32_t part, struct lsm_table_scratch *s,
                         struct lsm_table_index **index);
int lsm_table_read_data(struct lsm_table *table, uint32_t part, const struct lsm_table_index *index,
                        uint32_t b, struct lsm_table_scratch *s, struct lsm_block **block);
void lsm_table_index_free(void *index);
/* The range deletes as they stand in the file, checked against the meta; NULL: none. The caller frees. */
int lsm_table_read_ranges(struct lsm_table *table, struct lsm_ranges **ranges);
/* The key of row i, in *key until the buffer changes. LSM_NOMEM. */
int lsm_table_row_key(const struct lsm_block *block, uint32_t i, struct lsm_buf *buf,
                      struct lsm_slice *key, uint64_t *tag);

/* Through the cache. *entry is NULL when the table keeps the index; else the caller's pin. */
int lsm_table_get_index(struct lsm_table *table, uint32_t part, bool no_cache,
                        struct lsm_table_scratch *s, struct lsm_table_index **index,
                        struct lsm_cache_entry **entry);
/* The cache does not have the block: read it and put it there. */
int lsm_table_load_data(struct lsm_table *table, uint32_t part, const struct lsm_table_index *index,
                        uint32_t b, bool no_cache, struct lsm_table_scratch *s,
                        struct lsm_cache_entry **entry);

#endif

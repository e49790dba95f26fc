/*
 * table.h -- an open table file: get, iterate, check. The format is stated in
 * table_writer.h.
 *
 * Opening reads header, footer, range deletes and top index; index partitions, filters and
 * data blocks come through the block cache. Every size is checked against the
 * file before anything is allocated for it.
 *
 * Threads: any, at the same time.
 */
#ifndef LSM_STORE_TABLE_H
#define LSM_STORE_TABLE_H

#include "lsm/format/compress.h"
#include "lsm/format/ranges.h"
#include "lsm/format/table_meta.h"
#include "lsm/store/cache.h"
#include "lsm/store/iter.h"

struct lsm_table;
struct lsm_tables;              /* the open tables of a store, bounded by descriptors */

/* ---- open tables ---- */
int lsm_tables_new(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                   struct lsm_cache *cache, struct lsm_compressor_pool *compressors,
                   uint32_t open_max, struct lsm_tables **tables);
void lsm_tables_free(struct lsm_tables *tables);        /* nothing may be in use */
/* Where descriptors run out and no table is idle: close idle files of others; how many were. */
void lsm_tables_set_relief(struct lsm_tables *tables, uint32_t (*relief)(void *ctx), void *ctx);
/* A file that is longer than its meta says is opened as if it were not: something was appended to it. Before any is opened. */
void lsm_tables_allow_longer(struct lsm_tables *tables);
/* Close idle tables, least recently used first, until `count` are closed; how many were. */
#define LSM_TABLES_CLOSE_AT_ONCE 16u    /* when there are no descriptors */
uint32_t lsm_tables_close_idle(struct lsm_tables *tables, uint32_t count);
/* The table of `meta`, opened if need be (EMFILE: others are closed and it is tried again).
   LSM_CORRUPT: missing, of another size, of another store, damaged. The caller unrefs it. */
int lsm_tables_get(struct lsm_tables *tables, const struct lsm_table_meta *meta,
                   const struct lsm_comparator *cmp, struct lsm_table **table);
void lsm_table_ref(struct lsm_table *table);
void lsm_table_unref(struct lsm_table *table);          /* NULL is fine */
/*
 * The same, for whoever has a slot for the table that lives as long as its readers do, so that they find it
 * there without a lock or a count. Half of the tables that may be open are kept so at most; of the others, and
 * of one that was not kept at first, *is_kept is false and the caller unrefs it. The slot's owner lets go.
 */
int lsm_tables_get_kept(struct lsm_tables *tables, const struct lsm_table_meta *meta,
                        const struct lsm_comparator *cmp, struct lsm_table *_Atomic *slot,
                        struct lsm_table **table, bool *is_kept);
void lsm_table_unkeep(struct lsm_table *table);         /* NULL is fine */
/* The file is obsolete: close it when its last user is gone, forget its blocks. */
void lsm_tables_forget(struct lsm_tables *tables, uint64_t number);
uint64_t lsm_tables_memory(struct lsm_tables *tables);  /* bytes held by open tables */

struct lsm_tables_stats {
    uint64_t open, open_max;
    uint64_t opens;             /* since the start */
    uint64_t filter_faults;     /* filters that could not be read: blocks were read instead */
    uint64_t kept_bytes;        /* index partitions and filters pinned by open tables */
    uint64_t filter_denied, filter_wrong;       /* gets that a filter answered; that it let through in vain */
    uint64_t block_reads, block_bytes;  /* from files, for anybody */
};
void lsm_tables_stats(struct lsm_tables *tables, struct lsm_tables_stats *stats);

/* ---- reading ---- */

/* A row found: the value points into a block that stays pinned until lsm_table_unpin(). */
struct lsm_table_pin {
    struct lsm_cache *cache;
    struct lsm_cache_entry *entry;
};
void lsm_table_unpin(struct lsm_table_pin *pin);        /* zeroed is fine */

/*
 * The newest row of `key` with seq <= seq_max (meta's seq_add added).
 * LSM_NOTFOUND: none. `hash` is lsm_filter_key_hash(). A damaged filter is
 * reported to the store's counters and the block is read.
 */
int lsm_table_get(struct lsm_table *table, struct lsm_slice key, uint64_t hash, uint64_t seq_max,
                  bool no_cache, uint64_t *tag, struct lsm_slice *value, struct lsm_table_pin *pin);

/*
 * Whether it may have a row of `key`, from its filter alone, in steps: whoever asks several tables takes
 * each step for all of them, and their memory comes in at once. _begin is false where no row can be; _aim
 * where memory does not tell (no filter, or it is not loaded): then only a get does.
 */
struct lsm_table_probe {
    const struct lsm_table_part *part;
    const uint8_t *line;
};
bool lsm_table_probe_begin(const struct lsm_table *table, struct lsm_slice key,
                           struct lsm_table_probe *probe);
bool lsm_table_probe_aim(struct lsm_table_probe *probe, uint64_t hash);
bool lsm_table_probe_passes(const struct lsm_table_probe *probe, uint64_t hash);
/* So many gets were answered by filters alone. */
void lsm_tables_count_denied(struct lsm_tables *tables, uint32_t count);

/* Its range deletes, which are in memory as long as it is open; NULL: none. seq_add is not added. */
const struct lsm_ranges *lsm_table_ranges(const struct lsm_table *table);
/* What they do at `key`, for who sees up to seq_max; seq_add is added. The keys of *stretch live as
   long as the table is open. */
void lsm_table_range_at(const struct lsm_table *table, struct lsm_slice key, uint64_t seq_max,
                        struct lsm_stretch *stretch);

/* Holds a reference on the table. Readahead doubles from 16 KiB to 256 KiB after two sequential
   blocks. no_cache: blocks are inserted cold. */
int lsm_table_iter_new(struct lsm_table *table, bool no_cache, struct lsm_iter **it);
/* The same of a table that is opened for it, for who reads it once: blocks are inserted cold. */
int lsm_tables_iter(struct lsm_tables *tables, const struct lsm_table_meta *meta, const struct lsm_comparator *cmp,
                    struct lsm_iter **it);
/* As if it were a new one of another table, also after a failure. */
void lsm_table_iter_reopen(struct lsm_iter *it, struct lsm_table *table);

/* The block where the iterator stands as it is in the file, its sum checked; until the iterator's next move.
   False: it cannot be had, which is no failure while the block itself is there (the cache's may be older than the damage). */
bool lsm_table_iter_sealed(struct lsm_iter *it, struct lsm_slice *sealed);

/*
 * A partition on whose first row the iterator stands, in two steps. First what is known without reading it, until the
 * iterator's next move; false: it is small, or the table does not say enough (it is of an older version), or that cannot
 * be read. Then all of it as it is in the file, in *buf; false: it cannot be had, or a sum is wrong, which whoever reads
 * its blocks is told.
 */
struct lsm_table_piece;
bool lsm_table_iter_piece(struct lsm_iter *it, struct lsm_table_piece *piece);
bool lsm_table_iter_read_piece(struct lsm_iter *it, struct lsm_table_piece *piece, struct lsm_buf *buf);

/* Read everything; sums, order, counts against the footer and meta. */
int lsm_table_check(struct lsm_table *table);

/* About how many bytes of the file lie before `key`. */
uint64_t lsm_table_offset_of(struct lsm_table *table, struct lsm_slice key);

/*
 * The place of `key` among the rows: its data block, which is read, and what of that block lies before it. A
 * block of handles can stand for a hundred values of a megabyte each, so whoever adds up values cannot leave it
 * whole. Behind the last row `block` is empty. A failure to read.
 */
struct lsm_table_sum {
    uint64_t bytes;             /* of the file; before `key`: by the share of rows */
    uint64_t rows;              /* but tombstones */
    uint64_t value_bytes;       /* of their values in value logs */
};
struct lsm_table_place {
    uint64_t off;               /* of the block */
    struct lsm_table_sum block, before;
};
int lsm_table_place(struct lsm_table *table, struct lsm_slice key, struct lsm_table_place *place);
/* From the first data block to the end of the last. */
void lsm_table_data_span(const struct lsm_table *table, uint64_t *off, uint64_t *end);

/* Its index partitions, whose ends are in memory as long as it is open: the last key of one, or a separator
   behind it, ascending, and the bytes of its data. LSM_NOMEM. */
uint32_t lsm_table_part_count(const struct lsm_table *table);
int lsm_table_part_end(const struct lsm_table *table, uint32_t i, struct lsm_buf *key, uint64_t *bytes);

#endif

/*
 * salvage.h -- read what can be read of damaged files: rows of a table, records
 * of a log. Nothing is believed without its sum.
 *
 * A table's blocks are found through its index; where that is damaged, by their
 * own sums: block follows block, and a sum is seeded by the place, so where a
 * block begins and ends can be tried out. A log's frames are found by their
 * marks; a record behind a gap proves itself by its own hash.
 *
 * Threads: one at a time.
 */
#ifndef LSM_STORE_SALVAGE_H
#define LSM_STORE_SALVAGE_H

#include "lsm/store/iter.h"
#include "lsm/store/salvage_file.h"
#include "lsm/store/table.h"

struct lsm_salvage {                    /* what the files of one store have in common */
    struct lsm_os *os;
    struct lsm_dir *dir;
    uint8_t uuid[16];
    struct lsm_tables *tables;          /* of this directory and uuid; lsm_tables_allow_longer */
    struct lsm_compressor_pool *compressors;
    struct lsm_salvage_lost lost;
};

struct lsm_salvage_table {              /* what a table file says about itself */
    uint8_t uuid[16];
    uint64_t number, size_bytes, seq_max;       /* seq_max 0: not known */
    uint32_t tree;
    bool is_private;                    /* rows are numbered from 1: their place is in a log or MANIFEST */
    uint64_t entries, range_deletes;
    struct lsm_buf tree_name, comparator;       /* empty: not known, or bytes */
    struct lsm_buf smallest, largest;
    bool has_properties;
};

/* From header, footer and properties, whatever is whole; without the footer the properties are looked for. size_bytes: what it had when it was written; the file may have
   grown since; 0: not known. The caller clears it, also on failure. LSM_NOTFOUND: no file, or neither header nor footer
   is one of a table. */
int lsm_salvage_identify(struct lsm_os *os, struct lsm_dir *dir, uint64_t number, uint64_t size_bytes,
                         struct lsm_salvage_table *table);
void lsm_salvage_table_clear(struct lsm_salvage_table *table);

/* Add a table's range deletes to the set, seq_add of the meta added. Damage is told to s->lost. cmp: its tree's. */
int lsm_salvage_ranges(const struct lsm_salvage *s, const struct lsm_table_meta *meta,
                       const struct lsm_comparator *cmp, struct lsm_range_set *set);

/* Rows in order, seq_add of the meta added; only first() and next(). Damage is told to s->lost and
   passed over. The file may be longer than the meta's size_bytes, but not shorter; its keys stay the caller's until close. */
int lsm_salvage_iter_new(const struct lsm_salvage *s, const struct lsm_table_meta *meta,
                         const struct lsm_comparator *cmp, struct lsm_iter **it);

/*
 * Every payload of a log that is whole, in order. `is_chained`: its sum covers all
 * before it; else the caller must find proof in the payload itself. fn's non-zero
 * result ends it and is returned. *prev as in log.h, number 0 when unknown.
 */
int lsm_salvage_log(const struct lsm_salvage *s, uint64_t number,
                    int (*fn)(void *ctx, struct lsm_slice payload, bool is_chained), void *ctx,
                    uint64_t *prev_number);

#endif

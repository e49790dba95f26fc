/*
 * edit.h -- one MANIFEST record: what changed. Bytes in, bytes out.
 *
 *     edit := (tag:varint  size:varint  field[size])*       the fields: edit.c
 *
 * Unknown tags below 128 are an error (LSM_FORMAT: written by a newer version),
 * from 128 on they are skipped. An edit is applied as a set: first its trees
 * come and go, then tables are removed, then added. A table that is removed and
 * added in one edit has moved to another level. A value log that is added under
 * the id of one that is there is its rewritten file. None is ever removed: it is
 * gone with the last table that refers to it.
 */
#ifndef LSM_VERSION_EDIT_H
#define LSM_VERSION_EDIT_H

#include "lsm/format/record.h"
#include "lsm/format/table_meta.h"
#include "lsm/format/vlog_meta.h"

struct lsm_edit_tree {          /* a tree that is created, or (in a snapshot) exists */
    uint32_t id;
    struct lsm_slice name;
    uint32_t block_bytes, filter_bits;
    int32_t compression_level;
    struct lsm_slice comparator;        /* its name; empty: bytes */
    /* By level, as in lsm_tree_options; all 0: not written. */
    int32_t level_compression[LSM_LEVEL_COUNT_MAX];
    uint32_t value_log_bytes;           /* values from this size on stand in value logs */
    struct lsm_slice hash_name;         /* of the comparator's hash; empty: not written */
};

/* What an edit may say at most, beside LSM_FILE_NUMBER_MAX and LSM_TXID_MAX. */
#define LSM_EDIT_TREE_MAX (UINT32_C(1) << 31)       /* next_tree */
#define LSM_EDIT_SEQ_MAX (UINT64_C(1) << 55)        /* half of LSM_SEQ_MAX */

enum lsm_edit_has {
    LSM_EDIT_NEXT_FILE = 1 << 0, LSM_EDIT_NEXT_TREE = 1 << 1, LSM_EDIT_LOG = 1 << 2,
    LSM_EDIT_SEQ = 1 << 3, LSM_EDIT_ROOT = 1 << 4, LSM_EDIT_DECIDED = 1 << 5,
    LSM_EDIT_FLOOR = 1 << 6, LSM_EDIT_TXID = 1 << 7, LSM_EDIT_MEMORY = 1 << 8,
    LSM_EDIT_CARRIED = 1 << 9, LSM_EDIT_LOG_END = 1 << 10
};

struct lsm_edit {
    struct lsm_os *os;
    uint32_t has;               /* enum lsm_edit_has */
    uint64_t next_file;         /* numbers below are used or burnt */
    uint32_t next_tree;
    uint64_t log_number;        /* logs below are not needed */
    uint64_t log_end_number, log_end_size, log_end_chain;  /* clean close: where the log ends */
    uint64_t seq;               /* newest sequence in tables */
    struct lsm_token root;      /* tables hold everything up to this token */
    struct lsm_token decided, floor;
    uint64_t txid;              /* highest given out */
    uint64_t memory_bytes;
    bool carried;               /* the log alone may be incomplete: redo rows may hold records */

    struct lsm_buf trees;       /* struct lsm_edit_tree */
    struct lsm_buf dropped;     /* u32 tree ids */
    struct lsm_buf added;       /* struct lsm_edit_table */
    struct lsm_buf removed;     /* struct lsm_edit_table, only level, meta.tree, meta.number */
    struct lsm_buf vlogs;       /* struct lsm_vlog_meta, added or rewritten */
    int rc;                     /* latched */
    bool may_be_on_disk;        /* its append to a MANIFEST was begun, whatever came of it: files that it names stay */
};

struct lsm_edit_table {
    uint32_t level;
    struct lsm_table_meta meta;
};

void lsm_edit_init(struct lsm_edit *e, struct lsm_os *os);
void lsm_edit_clear(struct lsm_edit *e);
/* Names and keys are borrowed: they must stay valid until the edit is cleared. A failure is latched
   in rc, which lsm_edit_encode() hands on. */
void lsm_edit_add_tree(struct lsm_edit *e, const struct lsm_edit_tree *tree);
void lsm_edit_drop_tree(struct lsm_edit *e, uint32_t id);
void lsm_edit_add_table(struct lsm_edit *e, uint32_t level, const struct lsm_table_meta *meta);
void lsm_edit_remove_table(struct lsm_edit *e, uint32_t level, uint32_t tree, uint64_t number);
void lsm_edit_add_vlog(struct lsm_edit *e, const struct lsm_vlog_meta *meta);
size_t lsm_edit_tree_count(const struct lsm_edit *e);
size_t lsm_edit_added_count(const struct lsm_edit *e);
size_t lsm_edit_removed_count(const struct lsm_edit *e);
size_t lsm_edit_dropped_count(const struct lsm_edit *e);
size_t lsm_edit_vlog_count(const struct lsm_edit *e);
static inline const struct lsm_vlog_meta *lsm_edit_vlogs(const struct lsm_edit *e)
{
    return (const void *)e->vlogs.data;
}
static inline const struct lsm_edit_tree *lsm_edit_trees(const struct lsm_edit *e)
{
    return (const void *)e->trees.data;
}
static inline const struct lsm_edit_table *lsm_edit_added(const struct lsm_edit *e)
{
    return (const void *)e->added.data;
}
static inline const struct lsm_edit_table *lsm_edit_removed(const struct lsm_edit *e)
{
    return (const void *)e->removed.data;
}
static inline const uint32_t *lsm_edit_dropped(const struct lsm_edit *e)
{
    return (const void *)e->dropped.data;
}

/* Append to `out`, which latches errors; never empty. */
void lsm_edit_encode(const struct lsm_edit *e, struct lsm_buf *out);
/* Into an edit fresh from init. Slices in it point into `bytes`. `file`, `off`: for the text.
   LSM_CORRUPT, LSM_FORMAT, LSM_NOMEM. */
int lsm_edit_decode(struct lsm_edit *e, struct lsm_slice bytes, const char *file, uint64_t off);

#endif

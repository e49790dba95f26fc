/*
 * repair.h -- what a repair knows of a damaged store: repair_read.c finds it out,
 * repair_values.c reads values out of its logs, repair.c makes a new store of it.
 * Nobody else includes this.
 */
#ifndef LSM_DB_REPAIR_H
#define LSM_DB_REPAIR_H

#include "lsm/db/db.h"
#include "lsm/store/salvage.h"
#include "lsm/store/vlog.h"

/* How much of the MANIFEST could be read: what is in the directory beside it means accordingly. */
enum lsm_repair_manifest {
    LSM_REPAIR_WHOLE,           /* all: files that it does not name are orphans */
    LSM_REPAIR_PART,            /* up to some edit: files are used, too, that no edit up to there has removed */
    LSM_REPAIR_NONE             /* every file is used */
};

struct lsm_repair_tree {
    uint32_t id;
    bool dropped;
    bool is_unnamed;            /* as yet: `name` is made up */
    struct lsm_buf name, comparator, hash_name;
    uint32_t block_bytes, filter_bits, value_log_bytes;
    int32_t level;              /* as in lsm_edit_tree */
    int32_t level_compression[LSM_LEVEL_COUNT_MAX];     /* the same */
};

struct lsm_repair_record {
    uint8_t type;
    bool dead, committed, applied;
    struct lsm_token id, base;
    struct lsm_slice payload;   /* in memory of its own */
};

struct lsm_repair_state {
    struct lsm_os *os;
    struct lsm_dir *from;
    const struct lsm_repair *how;
    struct lsm_repair_info *info;
    uint8_t uuid[16];
    bool has_uuid;
    bool has_foreign;           /* files of another store than uuid_wanted were seen */
    const uint8_t *uuid_wanted; /* or NULL */
    const struct lsm_comparator *const *comparators;    /* the caller's */
    size_t comparator_count;

    enum lsm_repair_manifest manifest;
    struct lsm_version *version;        /* what the MANIFEST names */
    uint64_t next_file, log_number, seq, txid, memory_bytes;
    uint32_t next_tree;
    struct lsm_token root, decided;

    struct lsm_buf trees;       /* struct lsm_repair_tree, by id */
    struct lsm_buf tables;      /* u64 numbers in the directory, ascending */
    struct lsm_buf logs;        /* the same */
    struct lsm_buf manifests;
    struct lsm_buf vlogs;
    struct lsm_buf removed;     /* u64 numbers of tables, as edits removed them */
    struct lsm_buf records;     /* struct lsm_repair_record, in the order of the logs */
    struct lsm_buf proven;      /* struct lsm_token: known to be committed */
};

/* One line for the user; counts are the caller's. */
void lsm_repair_say(const struct lsm_repair_state *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line, and counted: a stretch of a file; size 0: `why` is the whole line. */
void lsm_repair_lost(struct lsm_repair_state *r, const char *file, uint64_t off, uint64_t size, const char *why);
/* NULL: bytes; or tree->comparator is named and is not among the caller's. */
const struct lsm_comparator *lsm_repair_comparator(const struct lsm_repair_state *r,
                                                   const struct lsm_repair_tree *tree);
struct lsm_repair_tree *lsm_repair_tree_of(struct lsm_repair_state *r, uint32_t id);    /* NULL: unknown */
/* The same, made when it is unknown; NULL: no memory. `name` may be empty. */
struct lsm_repair_tree *lsm_repair_tree_add(struct lsm_repair_state *r, uint32_t id, struct lsm_slice name);

bool lsm_repair_has_number(const struct lsm_buf *numbers, uint64_t number);     /* u64 each */

/* List the directory, read what there is of the MANIFEST, learn the uuid. */
int lsm_repair_read(struct lsm_repair_state *r);
/* Read the logs and decide which records are committed. */
int lsm_repair_read_logs(struct lsm_repair_state *r, const struct lsm_salvage *salvage);
void lsm_repair_clear(struct lsm_repair_state *r);

struct lsm_repair_values {
    struct lsm_repair_state *state;
    struct lsm_vlogs *vlogs;
    struct lsm_buf files;       /* struct lsm_vlog_meta, newest first; size_bytes 0: its frame is damaged */
    struct lsm_buf scratch, out;
};

/* The caller clears it, also on failure. */
int lsm_repair_values_open(struct lsm_repair_state *r, struct lsm_compressor_pool *compressors,
                           struct lsm_repair_values *v);
void lsm_repair_values_clear(struct lsm_repair_values *v);      /* one that was never opened is fine */
/* `rows` with values in place of handles; only first() and next(). Takes `rows`, also on failure. */
int lsm_repair_values_iter(struct lsm_repair_values *values, struct lsm_iter *rows, struct lsm_iter **it);

#endif

/*
 * vtab_option.h -- the options of a table: what `name = value` among the module
 * arguments may say.
 *
 *     block_size   512 .. 1MB, like 16KB           raw size of a data block
 *     filter_bits  0 .. 20 (also: bloom_bits)      per key; 0: no filter
 *     compression  none, zstd, zstd:1 .. zstd:19
 *     blob_threshold  off, or 64 .. 1024MB, like 4KB (also: min_blob_size)  columns that are not in
 *                  the key, together from this size on, stand in value logs
 */
#ifndef LSM_EXT_VTAB_OPTION_H
#define LSM_EXT_VTAB_OPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "lsm/lsm.h"

/* Options of the table's tree; 0: the engine's default. For lsm_tree_options. */
struct lsm_vtab_options {
    uint32_t block_bytes;
    uint32_t filter_bits;               /* or LSM_FILTER_NONE */
    int32_t compression_level;          /* or LSM_COMPRESSION_NONE */
    uint32_t value_log_bytes;           /* or LSM_VALUE_LOG_NONE */
};

/*
 * Understand one option. `*seen` starts at 0 and finds what is given twice.
 * SQLITE_OK; SQLITE_ERROR with *error set (sqlite3_malloc); SQLITE_NOMEM.
 */
int lsm_vtab_option_set(struct lsm_vtab_options *options, unsigned *seen, const char *name,
                        const char *value, char **error);

/*
 * Before a table is made (never of one that exists): what SQLite would take for a column or for
 * a part of its type, and was surely meant otherwise. argv as xCreate has it. SQLITE_OK, or
 * SQLITE_ERROR with *error set.
 *
 *     block_size 4096      an option without its =
 *     k TEXT PRIMERY KEY   v TEXT COLATE NOCASE
 */
int lsm_vtab_option_check_typos(int argc, const char *const *argv, char **error);

#define LSM_VTAB_TYPO_MAX 3     /* more edits than these make another word */

/* For "did you mean": is `name` fewer than *distance edits away from `candidate`, and not all of it
   rewritten? Then *distance is how many. */
bool lsm_vtab_is_nearer(const char *name, const char *candidate, int *distance);

#endif

/*
 * flush.h -- rows of one tree in memory become table files.
 */
#ifndef LSM_COMPACTION_FLUSH_H
#define LSM_COMPACTION_FLUSH_H

#include "lsm/compaction/build.h"
#include "lsm/compaction/pick.h"

/*
 * Write the rows of `it` (one tree, newest versions first; not closed) and the
 * range deletes `b->ranges` as tables and record them in `edit`. The caller has filled the build's fields but table
 * codec, is_bottom and grand, which are decided here: a run that overlaps
 * nothing goes as deep as pick says (not below level_max) and is compressed as
 * `compression` says for that level (zstd's level, or a LSM_COMPRESSION_).
 * On failure `edit` is unchanged and the files are gone.
 * The metas stay in the build: clear it after the edit is applied.
 */
int lsm_flush_tree(struct lsm_build *b, struct lsm_iter *it, const struct lsm_tree_version *tree,
                   const struct lsm_policy *policy, uint32_t level_max,
                   const int32_t compression[LSM_LEVEL_COUNT_MAX], struct lsm_edit *edit);

/* What a level of the tree is compressed with where nothing is said: 0 and 1 are rewritten soonest,
   and every read looks there. */
#define LSM_COMPRESSION_LZ (LSM_COMPRESSION_NONE + 1)   /* beside zstd's levels; never stored */
static inline int lsm_level_effort(uint32_t level, int deep)
{
    return level >= 2 || deep == LSM_COMPRESSION_NONE ? deep : LSM_COMPRESSION_LZ;
}

/*
 * Levels 0 and 1 have the most runs and the least rows: four bits more for each of them cost 0.1 byte for each row
 * of the whole, and each run is wrong for 0.05 keys in 100 instead of 0.14 (Dayan, Athanassoulis, Idreos: Monkey,
 * 2017, has the reason).
 */
static inline uint32_t lsm_level_filter_bits(uint32_t level, uint32_t deep)
{
    return level >= 2 || deep == 0 || deep > 28 ? deep : deep + 4;
}

/* What the tree's compression says for this level; and the level's filter, of what stands for the deep ones: once. */
static inline void lsm_table_options_at(struct lsm_table_options *options, uint32_t level,
                                        const int32_t compression[LSM_LEVEL_COUNT_MAX])
{
    options->level = compression[level];
    options->codec = options->level == LSM_COMPRESSION_NONE ? LSM_CODEC_NONE
                   : options->level == LSM_COMPRESSION_LZ ? LSM_CODEC_LZ : LSM_CODEC_ZSTD;
    options->filter_bits = lsm_level_filter_bits(level, options->filter_bits);
}

#endif

/*
 * flush.c -- see flush.h. The bounds of the rows are known before the first one
 * is written (first and last of the iterator), so that level and codec can be
 * chosen.
 */
#include "lsm/compaction/flush.h"

struct bottom {
    const struct lsm_tree_version *tree;
    const struct lsm_comparator *cmp;
    void *ctx;                  /* the caller's, for its callbacks */
    uint64_t (*new_file)(void *ctx);
    int (*pause)(void *ctx);
};

static bool is_bottom(void *ctx, struct lsm_slice key)
{
    struct bottom *bottom = ctx;

    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        if (bottom->tree->level[i].count &&
            lsm_level_overlaps(&bottom->tree->level[i], i > 0, bottom->cmp, key, key))
            return false;
    return true;
}

static bool is_bottom_range(void *ctx, struct lsm_slice lo, struct lsm_slice hi)
{
    struct bottom *bottom = ctx;

    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        if (lsm_level_overlaps(&bottom->tree->level[i], i > 0, bottom->cmp, lo, hi))
            return false;
    return true;
}

static uint64_t new_file(void *ctx)
{
    struct bottom *bottom = ctx;
    return bottom->new_file(bottom->ctx);
}

static int take_a_break(void *ctx)
{
    struct bottom *bottom = ctx;
    return bottom->pause ? bottom->pause(bottom->ctx) : LSM_OK;
}

/* Of rows and range deletes. LSM_DONE: there is none. */
static int find_bounds(const struct lsm_build *b, struct lsm_iter *it, struct lsm_buf *lo,
                       struct lsm_buf *hi)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    const struct lsm_ranges *r = b->ranges;
    bool has_rows;

    lsm_iter_first(it);
    has_rows = it->valid;
    if (has_rows) {
        lsm_buf_append_slice(lo, it->key);
        lsm_iter_last(it);
        if (it->valid)
            lsm_buf_append_slice(hi, it->key);
    }
    if (it->rc)
        return it->rc;
    if (!has_rows && !r)
        return LSM_DONE;
    if (r && (!has_rows || lsm_key_compare(cmp, r->range[0].lo, lsm_buf_slice(lo)) < 0)) {
        lsm_buf_reset(lo);
        lsm_buf_append_slice(lo, r->range[0].lo);
    }
    if (r) {
        struct lsm_slice end = lsm_range_last(cmp, r->range[r->count - 1].hi);
        if (!has_rows || lsm_key_compare(cmp, end, lsm_buf_slice(hi)) > 0) {
            lsm_buf_reset(hi);
            lsm_buf_append_slice(hi, end);
        }
    }
    return lo->rc ? lo->rc : hi->rc;
}

int lsm_flush_tree(struct lsm_build *b, struct lsm_iter *it, const struct lsm_tree_version *tree,
                   const struct lsm_policy *policy, uint32_t level_max,
                   const int32_t compression[LSM_LEVEL_COUNT_MAX], struct lsm_edit *edit)
{
    struct bottom bottom = { tree, b->table.comparator, b->ctx, b->new_file, b->pause };
    struct lsm_buf lo, hi;
    uint32_t level;
    int rc;

    lsm_buf_init(&lo, b->os);
    lsm_buf_init(&hi, b->os);
    rc = find_bounds(b, it, &lo, &hi);
    if (rc) {
        lsm_buf_clear(&lo);
        lsm_buf_clear(&hi);
        return rc == LSM_DONE ? LSM_OK : rc;
    }
    level = lsm_pick_flush_level(policy, tree, b->table.comparator, lsm_buf_slice(&lo),
                                 lsm_buf_slice(&hi));
    lsm_buf_clear(&lo);
    lsm_buf_clear(&hi);
    if (level > level_max)
        level = level_max;

    lsm_table_options_at(&b->table, level, compression);
    b->file_bytes = level == 0 ? 0 : policy->file_bytes;
    b->grand = NULL;
    /* In level 0 runs of the same flush, and adopted tables, may hold older versions that the tree's
       version does not know yet. */
    b->is_bottom = level ? is_bottom : NULL;
    b->is_bottom_range = level ? is_bottom_range : NULL;
    b->new_file = new_file;
    b->pause = take_a_break;
    b->ctx = &bottom;
    rc = lsm_build_run(b, it);
    b->ctx = bottom.ctx;
    b->new_file = bottom.new_file;
    b->pause = bottom.pause;
    b->is_bottom = NULL;
    b->is_bottom_range = NULL;
    if (rc)
        return rc;
    for (size_t i = 0; i < b->count; i++)
        lsm_edit_add_table(edit, level, b->metas[i]);
    for (size_t i = 0; i < b->values.count; i++)
        lsm_edit_add_vlog(edit, &b->values.metas[i]);
    return edit->rc;
}

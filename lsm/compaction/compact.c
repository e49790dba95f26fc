/*
 * compact.c -- see compact.h.
 */
#include "lsm/compaction/compact.h"

#include "lsm/compaction/parts.h"
#include "lsm/compaction/rewrite.h"
#include "lsm/format/filename.h"
#include "lsm/version/merge.h"

/* Keys come in ascending order, so that each deeper level is walked once. */
static bool is_bottom(void *ctx, struct lsm_slice key)
{
    struct lsm_compact *c = ctx;
    const struct lsm_comparator *cmp = c->build.table.comparator;

    for (uint32_t i = c->job->output_level + 1; i < LSM_LEVEL_COUNT_MAX; i++) {
        const struct lsm_level *level = &c->tree->level[i];
        while (c->deeper_at[i] < level->count &&
               lsm_key_compare(cmp, level->runs[c->deeper_at[i]]->meta.largest, key) < 0)
            c->deeper_at[i]++;
        if (c->deeper_at[i] < level->count &&
            lsm_key_compare(cmp, level->runs[c->deeper_at[i]]->meta.smallest, key) <= 0)
            return false;
    }
    return true;
}

/* One deeper run that reaches over all of it, so that is_bottom is false for each key. */
static bool is_above(void *ctx, struct lsm_slice first, struct lsm_slice last)
{
    struct lsm_compact *c = ctx;
    const struct lsm_comparator *cmp = c->build.table.comparator;

    for (uint32_t i = c->job->output_level + 1; i < LSM_LEVEL_COUNT_MAX; i++) {
        const struct lsm_level *level = &c->tree->level[i];
        uint32_t at = lsm_level_find(level, cmp, last);
        if (at < level->count && lsm_key_compare(cmp, level->runs[at]->meta.smallest, first) <= 0)
            return true;
    }
    return false;
}

static bool is_bottom_range(void *ctx, struct lsm_slice lo, struct lsm_slice hi)
{
    struct lsm_compact *c = ctx;

    for (uint32_t i = c->job->output_level + 1; i < LSM_LEVEL_COUNT_MAX; i++)
        if (lsm_level_overlaps(&c->tree->level[i], true, c->build.table.comparator, lo, hi))
            return false;
    return true;
}

static uint64_t new_file(void *ctx)
{
    struct lsm_compact *c = ctx;
    return c->new_file(c->ctx);
}

static int take_a_break(void *ctx)
{
    struct lsm_compact *c = ctx;
    return c->pause ? c->pause(c->ctx) : LSM_OK;
}

/* The levels below the output are those of c->tree, of which each version has its own. */
static void look_below(struct lsm_compact *c)
{
    uint32_t grand = c->job->output_level + 1;

    memset(c->deeper_at, 0, sizeof c->deeper_at);
    c->build.grand = grand < LSM_LEVEL_COUNT_MAX ? &c->tree->level[grand] : NULL;
}

/* ---- slices ---- */

/* How far the outputs have come. */
struct reached {
    struct lsm_slice next;      /* the first key that is not in them, */
    bool is_done;               /* or the last one that is, and all range deletes up to it: a part's end */
    bool is_all;                /* no key is missing */
};

static bool is_before(const struct lsm_compact *c, struct lsm_slice key, const struct reached *r)
{
    int n = lsm_key_compare(c->build.table.comparator, key, r->next);
    return n < 0 || (n == 0 && r->is_done);
}

/* Does the run end before that, and so do its range deletes, which would be missing behind the last
   output? */
static bool is_used_up(const struct lsm_compact *c, const struct lsm_run *run, const struct reached *r)
{
    const struct lsm_comparator *cmp = c->build.table.comparator;

    return r->is_all ||
           (is_before(c, run->meta.largest, r) &&
            (r->is_done || run->meta.range_deletes == 0 ||
             (c->build.count &&             /* the parts so far may have had nothing to write */
              lsm_key_compare(cmp, run->meta.largest, c->build.metas[c->build.count - 1]->largest) <= 0)));
}

static void remove_run(struct lsm_compact *c, struct lsm_edit *edit, uint32_t level, struct lsm_run **place)
{
    lsm_edit_remove_table(edit, level, c->job->tree, (*place)->meta.number);
    lsm_buf_append(&c->going, &place, sizeof place);
}

/* From the oldest to the newest: none goes that touches an older one that stays. All that stays goes on
   at or behind `next`, so it touches what reaches to where it begins. */
static void remove_upper(struct lsm_compact *c, struct lsm_edit *edit, struct reached r)
{
    const struct lsm_job *job = c->job;
    uint32_t at = job->upper_count;

    for (uint32_t level = LSM_LEVEL_COUNT_MAX; level-- > 0;)
        for (uint32_t i = 0; i < job->upper_of[level]; i++) {
            struct lsm_run *run = job->upper[--at];

            if (!run)
                continue;
            if (is_used_up(c, run, &r))
                remove_run(c, edit, level, &job->upper[at]);
            else if (is_before(c, run->meta.smallest, &r))
                r = (struct reached){ run->meta.smallest, false, false };
        }
}

/* Install what is complete: outputs so far, without the inputs that are used up by then. */
static int install(struct lsm_compact *c, struct reached r)
{
    const struct lsm_job *job = c->job;
    struct lsm_edit edit;
    uint32_t lower_done = c->lower_done;
    int rc;

    lsm_edit_init(&edit, c->build.os);
    lsm_buf_reset(&c->going);
    for (; lower_done < job->lower_count && is_used_up(c, job->lower[lower_done], &r); lower_done++)
        remove_run(c, &edit, job->output_level, &job->lower[lower_done]);
    /* A lower run that is only half used up overlaps outputs that begin inside it: wait for its end. */
    if (lower_done < job->lower_count && is_before(c, job->lower[lower_done]->meta.smallest, &r)) {
        lsm_edit_clear(&edit);
        return LSM_OK;
    }
    rc = lsm_values_finish(&c->build);
    if (rc) {
        lsm_edit_clear(&edit);
        return rc;
    }
    for (size_t i = c->build.values.installed; i < c->build.values.count; i++)
        lsm_edit_add_vlog(&edit, &c->build.values.metas[i]);
    for (size_t i = c->installed; i < c->build.count; i++)
        lsm_edit_add_table(&edit, job->output_level, c->build.metas[i]);
    remove_upper(c, &edit, r);
    rc = edit.rc ? edit.rc : c->going.rc;
    if (rc == LSM_OK) {
        rc = c->install(c->ctx, &edit);
        c->uncertain = rc != LSM_OK && edit.may_be_on_disk;
    }
    if (rc == LSM_OK) {
        c->installed = c->build.count;
        c->build.values.installed = c->build.values.count;
        c->lower_done = lower_done;
        c->slice_bytes_done = c->build.bytes_written;
        for (size_t i = 0; i < c->going.size / sizeof(struct lsm_run **); i++)
            *((struct lsm_run ***)(void *)c->going.data)[i] = NULL;
        look_below(c);
    }
    lsm_edit_clear(&edit);
    return rc;
}

static bool slice_is_due(const struct lsm_compact *c)
{
    return c->build.bytes_written - c->slice_bytes_done >= c->slice_bytes;
}

/* Only where a run of the lower side ends can a slice be installed. */
static bool cut(void *ctx, struct lsm_slice key)
{
    struct lsm_compact *c = ctx;
    bool passed = false;

    if (c->lower_at < c->lower_done)
        c->lower_at = c->lower_done;
    for (; c->lower_at < c->job->lower_count &&
           lsm_key_compare(c->build.table.comparator, c->job->lower[c->lower_at]->meta.largest, key) < 0;
         c->lower_at++)
        passed = true;
    return passed && slice_is_due(c);
}

static int file_done(void *ctx, struct lsm_slice next)
{
    struct lsm_compact *c = ctx;

    if (!next.data || !slice_is_due(c))
        return LSM_OK;
    return install(c, (struct reached){ next, false, false });
}

int lsm_compact_install(struct lsm_compact *c, struct lsm_slice upto)
{
    return install(c, (struct reached){ upto, true, !upto.data });
}

/* ---- inputs ---- */

static int open_run(struct lsm_compact *c, const struct lsm_run *run, struct lsm_iter **it)
{
    return lsm_tables_iter(c->tables, &run->meta, c->build.table.comparator, it);
}

/* Runs of one level below 0: a table at a time is open. */
struct sorted {
    struct lsm_compact *c;
    struct lsm_run *const *runs;
    uint32_t count;
};

static int sorted_open(void *ctx, uint32_t i, struct lsm_iter **it)
{
    struct sorted *s = ctx;
    return open_run(s->c, s->runs[i], it);
}

static uint32_t sorted_find(void *ctx, struct lsm_slice key)
{
    struct sorted *s = ctx;
    uint32_t i = 0;

    while (i < s->count && (!s->runs[i] ||      /* installed over */
                            lsm_key_compare(s->c->build.table.comparator, s->runs[i]->meta.largest, key) < 0))
        i++;
    return i;
}

static void sorted_close(void *ctx)
{
    struct sorted *s = ctx;
    lsm_mem_free(s->c->build.os, s);
}

static int open_sorted(struct lsm_compact *c, struct lsm_run *const *runs, uint32_t count,
                       struct lsm_iter **it)
{
    struct sorted *s = lsm_mem_alloc(c->build.os, sizeof *s);

    if (!s)
        return lsm_nomem();
    *s = (struct sorted){ c, runs, count };
    struct lsm_level_source source = { s, sorted_open, sorted_find, count, sorted_close, NULL };
    return lsm_level_iter_new(c->build.os, &source, it);    /* frees s if it fails */
}

/* The rows of a part. */
struct bounded {
    struct lsm_iter base;
    struct lsm_iter *it;
    const struct lsm_comparator *cmp;
    struct lsm_slice after, upto;
};

static void bounded_show(struct bounded *b)
{
    b->base.valid = b->it->valid && (!b->upto.data || lsm_key_compare(b->cmp, b->it->key, b->upto) <= 0);
    b->base.rc = b->it->rc;
    b->base.key = b->it->key;
    b->base.tag = b->it->tag;
    b->base.value = b->it->value;
    b->base.begins_block = b->it->begins_block;
    b->base.source = b->it->source;
}

static void bounded_first(struct lsm_iter *base)
{
    struct bounded *b = (struct bounded *)base;

    if (b->after.data) {
        lsm_iter_seek(b->it, b->after, 0);      /* behind its versions, where that is a key */
        while (b->it->valid && lsm_key_compare(b->cmp, b->it->key, b->after) <= 0)
            lsm_iter_next(b->it);
    } else {
        lsm_iter_first(b->it);
    }
    bounded_show(b);
}

static void bounded_next(struct lsm_iter *base)
{
    struct bounded *b = (struct bounded *)base;

    lsm_iter_next(b->it);
    bounded_show(b);
}

static bool bounded_block(struct lsm_iter *base, struct lsm_iter_block *block)
{
    struct bounded *b = (struct bounded *)base;

    return lsm_iter_block(b->it, block) &&
           (!b->upto.data || lsm_key_compare(b->cmp, block->last, b->upto) <= 0);
}

static void bounded_next_block(struct lsm_iter *base)
{
    struct bounded *b = (struct bounded *)base;

    lsm_iter_next_block(b->it);
    bounded_show(b);
}

static bool bounded_part(struct lsm_iter *base, struct lsm_iter_part *part)
{
    struct bounded *b = (struct bounded *)base;

    return lsm_iter_part(b->it, part) && (!b->upto.data || lsm_key_compare(b->cmp, part->last, b->upto) <= 0);
}

static void bounded_next_part(struct lsm_iter *base)
{
    struct bounded *b = (struct bounded *)base;

    lsm_iter_next_part(b->it);
    bounded_show(b);
}

static const struct lsm_iter_methods bounded_methods = { .first = bounded_first, .next = bounded_next,
                                                         .block = bounded_block, .next_block = bounded_next_block,
                                                         .part = bounded_part, .next_part = bounded_next_part };

/* From the newest to the oldest: runs of level 0, the levels of the upper side, the lower side. */
static int open_inputs(struct lsm_compact *c, struct lsm_iter **it)
{
    const struct lsm_job *job = c->job;
    struct lsm_os *os = c->build.os;
    uint32_t at = job->upper_of[0];
    struct lsm_iter **sources = lsm_mem_alloc(os, (at + LSM_LEVEL_COUNT_MAX) * sizeof *sources);
    size_t count = 0;
    int rc = LSM_OK;

    if (!sources)
        return lsm_nomem();
    for (uint32_t i = 0; i < job->upper_of[0] && rc == LSM_OK; i++) {
        rc = open_run(c, job->upper[i], &sources[count]);
        if (rc == LSM_OK)
            count++;
    }
    for (uint32_t level = 1; level < LSM_LEVEL_COUNT_MAX && rc == LSM_OK; level++) {
        bool is_lower = level == job->output_level;
        uint32_t n = is_lower ? job->lower_count : job->upper_of[level];

        if (n == 0)
            continue;
        rc = open_sorted(c, is_lower ? job->lower : job->upper + at, n, &sources[count]);
        if (rc == LSM_OK)
            count++;
        at += job->upper_of[level];
    }
    if (rc == LSM_OK)
        rc = lsm_merge_new(os, c->build.table.comparator, sources, count, it);
    else
        while (count)
            lsm_iter_close(sources[--count]);
    lsm_mem_free(os, sources);
    return rc;
}

/* In a part, as far as it lies there: what reaches over the part's last key goes on in the next one from the
   first key behind that. In a tree with a comparator there is none, and nothing reaches over (divide.c). */
static void add_range(struct lsm_compact *c, struct lsm_range_set *set, struct lsm_slice lo, struct lsm_slice hi,
                      uint64_t seq)
{
    const struct lsm_comparator *cmp = c->build.table.comparator;

    if (c->from.size && lsm_key_compare(cmp, lo, lsm_buf_slice(&c->from)) < 0)
        lo = lsm_buf_slice(&c->from);
    if (c->to.size && lsm_key_compare(cmp, hi, lsm_buf_slice(&c->to)) > 0)
        hi = lsm_buf_slice(&c->to);
    if (lsm_key_compare(cmp, lo, hi) < 0)
        lsm_range_set_add(set, lo, hi, seq);
}

static int add_ranges(struct lsm_compact *c, struct lsm_run *const *runs, uint32_t count,
                      struct lsm_range_set *set)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct lsm_table_meta *meta = &runs[i]->meta;
        const struct lsm_ranges *r;
        struct lsm_table *table;
        int rc;

        if (meta->range_deletes == 0)
            continue;
        rc = lsm_tables_get(c->tables, meta, c->build.table.comparator, &table);
        if (rc)
            return rc;
        r = lsm_table_ranges(table);
        for (uint32_t k = 0; k < r->count; k++)
            for (uint32_t n = 0; n < r->range[k].seq_count; n++)
                add_range(c, set, r->range[k].lo, r->range[k].hi,
                          r->seqs[r->range[k].seq_at + n] + meta->seq_add);
        lsm_table_unref(table);
    }
    return LSM_OK;
}

static int gather_ranges(struct lsm_compact *c, struct lsm_ranges **ranges)
{
    struct lsm_range_set set;
    int rc;

    *ranges = NULL;
    lsm_range_set_init(&set, c->build.os);
    rc = add_ranges(c, c->job->upper, c->job->upper_count, &set);
    if (rc == LSM_OK)
        rc = add_ranges(c, c->job->lower, c->job->lower_count, &set);
    if (rc == LSM_OK)
        return lsm_range_set_finish(&set, c->build.table.comparator, c->build.snapshots,
                                    c->build.snapshot_count, ranges);
    lsm_range_set_clear(&set);
    return rc;
}

/* The value of a row whose log is written anew. */
static int read_value(void *ctx, const struct lsm_vlog_handle *handle, struct lsm_slice *value)
{
    struct lsm_compact *c = ctx;
    const struct lsm_version_vlog *v = lsm_version_vlog(c->version, handle->id);
    struct lsm_vlog *vlog;
    int rc;

    if (!v)
        return lsm_corrupt("a table", 0, "a row refers to a value log that does not exist");
    rc = lsm_vlogs_get(c->vlogs, &v->file->meta, &vlog);
    if (rc)
        return rc;
    rc = lsm_vlog_read(vlog, handle, &c->scratch, &c->value, value);
    lsm_vlog_unref(vlog);
    return rc;
}

void lsm_compact_init(struct lsm_compact *c)
{
    struct lsm_os *os = c->build.os;

    lsm_buf_init(&c->going, os);
    lsm_buf_init(&c->rewrite, os);
    lsm_buf_init(&c->from, os);
    lsm_buf_init(&c->to, os);
    lsm_buf_init(&c->scratch, os);
    lsm_buf_init(&c->value, os);
    c->installed = 0;
    c->lower_done = 0;
    c->slice_bytes_done = 0;
    c->lower_at = 0;
    c->uncertain = false;
}

void lsm_compact_clear(struct lsm_compact *c)
{
    lsm_build_clear(&c->build);
    lsm_buf_clear(&c->going);
    lsm_buf_clear(&c->rewrite);
    lsm_buf_clear(&c->from);
    lsm_buf_clear(&c->to);
    lsm_buf_clear(&c->scratch);
    lsm_buf_clear(&c->value);
}

static int plan_values(struct lsm_compact *c)
{
    struct lsm_values *values = &c->build.values;
    int rc = LSM_OK;

    if (c->vlogs && values->bytes_min)
        rc = lsm_rewrite_plan(c->job, &c->rewrite);
    values->rewrite = (const uint64_t *)(const void *)c->rewrite.data;
    values->rewrite_count = c->rewrite.size / sizeof *values->rewrite;
    return rc;
}

/* The first key behind `key`, in the order of bytes; in others there is no bound. */
static int set_bound(const struct lsm_compact *c, struct lsm_buf *bound, struct lsm_slice key)
{
    if (!key.data || c->build.table.comparator)
        return LSM_OK;
    lsm_buf_append_slice(bound, key);
    lsm_buf_put_u8(bound, 0);
    return bound->rc;
}

int lsm_compact_build(struct lsm_compact *c)
{
    struct lsm_build *b = &c->build;
    struct bounded bounded = { .base.methods = &bounded_methods, .cmp = b->table.comparator,
                               .after = c->after, .upto = c->upto };
    struct lsm_ranges *ranges;
    int rc = set_bound(c, &c->from, c->after);

    if (rc == LSM_OK)
        rc = set_bound(c, &c->to, c->upto);
    if (rc == LSM_OK)
        rc = gather_ranges(c, &ranges);
    if (rc)
        return rc;
    rc = open_inputs(c, &bounded.it);
    if (rc) {
        lsm_ranges_free(ranges);
        return rc;
    }
    b->ctx = c;
    b->new_file = new_file;
    b->pause = take_a_break;
    b->is_bottom = is_bottom;
    b->is_above = is_above;
    b->ranges = ranges;
    b->is_bottom_range = is_bottom_range;
    b->file_bytes = c->policy->file_bytes;
    look_below(c);
    b->grand_bytes_max = c->policy->overlap_bytes_max;
    b->values.ctx = c;
    b->values.read = read_value;
    rc = lsm_build_run(b, c->after.data || c->upto.data ? &bounded.base : bounded.it);
    b->ranges = NULL;
    lsm_ranges_free(ranges);
    lsm_iter_close(bounded.it);
    return rc;
}

void lsm_compact_remove(struct lsm_compact *c)
{
    struct lsm_build *b = &c->build;

    lsm_values_remove(b);
    for (size_t i = c->installed; i < b->count; i++) {
        char name[LSM_FILENAME_SIZE];
        b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_TABLE, b->metas[i]->number));
    }
}

static int run_whole(struct lsm_compact *c)
{
    const struct lsm_slice all = { NULL, 0 };
    int rc;

    c->build.cut = cut;
    c->build.file_done = file_done;
    rc = lsm_compact_build(c);
    return rc ? rc : lsm_compact_install(c, all);
}

int lsm_compact_run(struct lsm_compact *c)
{
    struct lsm_borders borders;
    int rc;

    lsm_compact_init(c);
    lsm_borders_init(&borders, c->build.os);
    rc = plan_values(c);
    if (rc == LSM_OK && c->parts_max > 1)
        rc = lsm_divide(c->job, c->policy, c->tables, c->build.table.comparator, c->parts_max, c->slice_bytes,
                        &borders);
    if (rc == LSM_OK)
        rc = borders.count ? lsm_parts_run(c, &borders) : run_whole(c);
    lsm_borders_clear(&borders);
    if (rc && !c->uncertain)    /* a failed append may still be on disk: then the files must be, too */
        lsm_compact_remove(c);
    lsm_compact_clear(c);
    return rc;
}

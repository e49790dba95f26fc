/*
 * drop.c -- tables that lie within a range delete of a newer place go without
 * being read: one MANIFEST edit, then an unlink. This gives most of a deleted
 * range's space back; what is left are the tables at its ends, of which only a
 * part is deleted: their share is estimated, and if it is worth rewriting them the
 * table with the delete is marked to sink (compaction/pick.c).
 *
 *     level 1      [ T: delete c..x                    ]
 *     level 2   [a    d][e  g][h    n][o p][q   v][w     z]
 *                 part    gone   gone  gone  gone    part
 *
 * A snapshot that sees the table but not the delete keeps it: then T is looked
 * at again when that snapshot is closed.
 *
 * Of level 0 only the LEVEL0_OLDER next older tables are looked at: where there are
 * more, a compaction of them all is due, and a look at each from each would take longer.
 *
 * Not while a compaction runs: its outputs hold copies of rows whose originals
 * go when it ends, so that a delete beside the original would take both.
 */
#include "lsm/db/db.h"

#include <assert.h>

#define GAIN_SHARE 4u           /* of what is rewritten so much must be deleted */
#define LEVEL0_OLDER 64u

struct drop {
    struct lsm_db *db;
    struct lsm_tree *tree;
    const struct lsm_tree_version *tv;
    uint64_t *snapshots;
    size_t snapshot_count;
    struct lsm_edit edit;
    bool *gone[LSM_LEVEL_COUNT_MAX];    /* by run: in the edit */
    uint64_t tables, bytes;
    bool sinks;                 /* some table was marked */

    /* the table with the deletes that is looked at */
    bool is_blocked;
    uint64_t blocked_by;
    uint64_t gain, cost;        /* bytes deleted in tables that stay; bytes of those tables */
    bool has_older;             /* something older overlaps it and stays */
};

static void remove_run(struct drop *d, uint32_t level, uint32_t i)
{
    const struct lsm_run *run = d->tv->level[level].runs[i];

    lsm_edit_remove_table(&d->edit, level, d->tree->id, run->meta.number);
    d->gone[level][i] = true;
    d->tables++;
    d->bytes += run->meta.size_bytes;
}

/* A snapshot that sees something of [from, before) and not the delete at `before`; false: none. */
static bool find_blocking(const struct drop *d, uint64_t from, uint64_t before, uint64_t *snapshot)
{
    for (size_t i = 0; i < d->snapshot_count; i++)
        if (d->snapshots[i] >= from && d->snapshots[i] < before) {
            *snapshot = d->snapshots[i];
            return true;
        }
    return false;
}

/* Of a table that is not all within [lo, hi): about how many of its bytes are. */
static int estimate(struct drop *d, const struct lsm_run *run, struct lsm_slice lo, struct lsm_slice hi)
{
    struct lsm_table *table;
    uint64_t from, to;
    int rc = lsm_tables_get(d->db->tables, &run->meta, d->tree->cmp, &table);

    if (rc)
        return rc;
    from = lsm_table_offset_of(table, lo);
    to = lsm_table_offset_of(table, hi);
    d->gain += to > from ? to - from : 0;
    d->cost += run->meta.size_bytes;
    lsm_table_unref(table);
    return LSM_OK;
}

/* One older table, run k of `level`, against [lo, hi), which everybody at seq and later sees as deleted. */
static int look_at(struct drop *d, uint32_t level, uint32_t k, struct lsm_slice lo, struct lsm_slice hi,
                   uint64_t seq)
{
    const struct lsm_comparator *cmp = d->tree->cmp;
    const struct lsm_run *run = d->tv->level[level].runs[k];
    uint64_t snapshot;

    if (d->gone[level][k] || lsm_key_compare(cmp, run->meta.largest, lo) < 0 ||
        lsm_key_compare(cmp, run->meta.smallest, hi) >= 0)
        return LSM_OK;
    if (lsm_key_compare(cmp, run->meta.smallest, lo) < 0 ||
        lsm_key_compare(cmp, run->meta.largest, hi) >= 0)
        return estimate(d, run, lo, hi);
    if (find_blocking(d, run->meta.seq_min, seq, &snapshot)) {
        d->is_blocked = true;
        d->blocked_by = snapshot;
        return LSM_OK;
    }
    remove_run(d, level, k);
    return LSM_OK;
}

/* Behind the last run of level 0 that is looked at from run i. */
static uint32_t level0_end(const struct drop *d, uint32_t i)
{
    uint32_t count = d->tv->level[0].count;

    return count - i > LEVEL0_OLDER ? i + 1 + LEVEL0_OLDER : count;
}

/* All that is older than run i of `level`. */
static int look_below(struct drop *d, uint32_t level, uint32_t i, struct lsm_slice lo, struct lsm_slice hi,
                      uint64_t seq)
{
    int rc = LSM_OK;

    for (uint32_t k = i + 1; level == 0 && k < level0_end(d, i) && rc == LSM_OK; k++)
        rc = look_at(d, 0, k, lo, hi, seq);
    for (uint32_t l = level + 1; l < LSM_LEVEL_COUNT_MAX && rc == LSM_OK; l++) {
        const struct lsm_level *deeper = &d->tv->level[l];
        uint32_t k = deeper->count ? lsm_level_find(deeper, d->tree->cmp, lo) : 0;
        for (; k < deeper->count && rc == LSM_OK &&
               lsm_key_compare(d->tree->cmp, deeper->runs[k]->meta.smallest, hi) < 0; k++)
            rc = look_at(d, l, k, lo, hi, seq);
    }
    return rc;
}

/* May anything older overlap run i of `level`? */
static bool has_older(const struct drop *d, uint32_t level, uint32_t i)
{
    const struct lsm_comparator *cmp = d->tree->cmp;
    const struct lsm_table_meta *m = &d->tv->level[level].runs[i]->meta;

    for (uint32_t k = i + 1; level == 0 && k < level0_end(d, i); k++) {
        const struct lsm_run *run = d->tv->level[0].runs[k];
        if (!d->gone[0][k] && lsm_key_compare(cmp, run->meta.largest, m->smallest) >= 0 &&
            lsm_key_compare(cmp, run->meta.smallest, m->largest) <= 0)
            return true;
    }
    if (level == 0 && level0_end(d, i) < d->tv->level[0].count)
        return true;
    for (uint32_t l = level + 1; l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *deeper = &d->tv->level[l];
        uint32_t k = deeper->count ? lsm_level_find(deeper, cmp, m->smallest) : 0;
        for (; k < deeper->count && lsm_key_compare(cmp, deeper->runs[k]->meta.smallest, m->largest) <= 0; k++)
            if (!d->gone[l][k])
                return true;
    }
    return false;
}

/* Stretches that touch are one span: a table may reach from one into the next. */
static int look_at_spans(struct drop *d, uint32_t level, uint32_t i, const struct lsm_ranges *r,
                         uint64_t seq_add)
{
    int rc = LSM_OK;

    for (uint32_t k = 0, end; k < r->count && rc == LSM_OK; k = end) {
        uint64_t seq = 0;

        for (end = k; end < r->count; end++) {
            const struct lsm_range *range = &r->range[end];
            uint64_t oldest = r->seqs[range->seq_at + range->seq_count - 1] + seq_add;
            if (end > k && lsm_key_compare(d->tree->cmp, r->range[end - 1].hi, range->lo) != 0)
                break;
            if (seq < oldest)
                seq = oldest;
        }
        rc = look_below(d, level, i, r->range[k].lo, r->range[end - 1].hi, seq);
    }
    return rc;
}

/* Is there something to apply, and who kept it the last time gone? Mutex held. */
static bool is_due(const struct lsm_db *db, const struct lsm_run *run)
{
    uint64_t blocked_by = atomic_load(&run->blocked_by);

    if (run->meta.range_deletes == 0 || atomic_load(&run->is_applied))
        return false;
    for (const struct lsm_snapshot *s = db->oldest_snapshot; blocked_by && s; s = s->next)
        if (s->seq == blocked_by - 1)
            return false;
    return true;
}

static bool is_any_due(const struct lsm_db *db, const struct lsm_tree_version *tv)
{
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t i = 0; tv->level[l].range_deletes && i < tv->level[l].count; i++)
            if (is_due(db, tv->level[l].runs[i]))
                return true;
    return false;
}

/* Apply the range deletes of run i of `level`. */
static int apply(struct drop *d, uint32_t level, uint32_t i)
{
    struct lsm_run *run = d->tv->level[level].runs[i];
    struct lsm_table *table;
    int rc;

    if (run->meta.range_deletes == 0 || atomic_load(&run->is_applied) || d->gone[level][i])
        return LSM_OK;
    d->is_blocked = false;
    d->gain = d->cost = 0;
    rc = lsm_tables_get(d->db->tables, &run->meta, d->tree->cmp, &table);
    if (rc)
        return rc;
    rc = look_at_spans(d, level, i, lsm_table_ranges(table), run->meta.seq_add);
    lsm_table_unref(table);
    if (rc)
        return rc;
    /* Nothing but deletes, and nothing left for them. */
    if (run->meta.entries == 0 && !has_older(d, level, i)) {
        remove_run(d, level, i);
        return LSM_OK;
    }
    if (d->gain * GAIN_SHARE >= d->cost + run->meta.size_bytes && !d->is_blocked) {
        atomic_store(&run->sinks, true);
        d->sinks = true;
    }
    atomic_store(&run->is_applied, !d->is_blocked);
    atomic_store(&run->blocked_by, d->is_blocked ? d->blocked_by + 1 : 0);
    return LSM_OK;
}

static bool has_ranges(const struct lsm_tree_version *tv)
{
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        if (tv->level[l].range_deletes)
            return true;
    return false;
}

static int install(struct drop *d)
{
    struct lsm_db *db = d->db;
    int rc = d->edit.rc;

    if (rc)
        return rc;
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    rc = atomic_load(&d->tree->dropped) ? LSM_NOTFOUND : lsm_write_edit(db, &d->edit, 0);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    if (rc == LSM_NOTFOUND)
        return LSM_OK;          /* and all its tables with it */
    if (rc == LSM_OK) {
        atomic_fetch_add_explicit(&db->counters.tables_dropped, d->tables, memory_order_relaxed);
        lsm_db_event(db, LSM_EVENT_INFO, "dropped %llu tables of tree %u, %llu bytes, within deleted ranges",
                     (unsigned long long)d->tables, d->tree->id, (unsigned long long)d->bytes);
    }
    return rc;
}

/* One allocation, the first level's. */
static int gone_init(struct drop *d)
{
    size_t count = 0;
    bool *gone;

    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        count += d->tv->level[l].count;
    gone = lsm_mem_zalloc(d->db->os, count * sizeof *gone);
    if (!gone)
        return lsm_nomem();
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
        d->gone[l] = gone;
        gone += d->tv->level[l].count;
    }
    return LSM_OK;
}

/* LSM_OK: something was dropped or marked; LSM_DONE: nothing to do. */
static int drop_in_tree(struct lsm_db *db, struct lsm_tree *tree, const struct lsm_tree_version *tv)
{
    struct drop d = { .db = db, .tree = tree, .tv = tv };
    bool is_blocked = false;
    int rc;

    lsm_db_lock(db);
    rc = is_any_due(db, tv) ? lsm_snapshot_gather(db, &d.snapshots, &d.snapshot_count) : LSM_DONE;
    lsm_db_unlock(db);
    if (rc)
        return rc;
    lsm_edit_init(&d.edit, db->os);
    rc = gone_init(&d);
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX && rc == LSM_OK; l++)
        for (uint32_t i = 0; tv->level[l].range_deletes && i < tv->level[l].count && rc == LSM_OK; i++) {
            rc = apply(&d, l, i);
            is_blocked |= d.is_blocked;
        }
    if (rc == LSM_OK && d.tables)
        rc = install(&d);
    else if (rc == LSM_OK && !d.sinks)
        rc = LSM_DONE;
    if (is_blocked) {
        lsm_db_lock(db);
        db->drop_blocked = true;
        lsm_db_unlock(db);
    }
    lsm_mem_free(db->os, d.snapshots);
    lsm_edit_clear(&d.edit);
    lsm_mem_free(db->os, d.gone[0]);
    return rc;
}

int lsm_drop_covered(struct lsm_db *db)
{
    struct lsm_view *view = lsm_view_current(db);
    int rc = LSM_DONE, begun = LSM_DONE;

    for (uint32_t i = 0; i < view->version->tree_count && (rc == LSM_OK || rc == LSM_DONE); i++) {
        const struct lsm_tree_version *tv = view->version->trees[i];
        struct lsm_tree *tree;
        int one;

        if (!has_ranges(tv))
            continue;
        lsm_db_lock(db);
        tree = lsm_tree_by_id(db, tv->tree);
        lsm_db_unlock(db);
        if (!tree || atomic_load(&tree->dropped))
            continue;
        if (begun == LSM_DONE)
            begun = lsm_write_begin(db);
        one = begun ? begun : drop_in_tree(db, tree, tv);
        if (one != LSM_DONE)
            rc = one;
    }
    lsm_view_unref(view);
    return rc;
}

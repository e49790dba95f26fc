/*
 * spill.c -- private writes that pass their share of the memory: one sorted private
 * table per tree and per stretch between marks, so that going back to a mark drops
 * whole tables. Where marks are many, a table is of several stretches: then each version and
 * each delete that some mark would show stays, and the table is trimmed when it was gone back
 * into the middle of it. The commit adopts them. Long values go to value logs at once, which
 * come and go with their table (of one stretch): they are written once, and never move again.
 */
#include "lsm/db/job.h"

#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/store/table_writer.h"
#include "lsm/util/sort.h"

/* Where there are more stretches than TABLES_MAX several share a table: going back to a mark between them has the table
   written anew (lsm_txn_trim). STRETCHES_MAX bounds the sequences of one range delete. */
#define TABLES_MAX 16u
#define STRETCHES_MAX 1024u
#define SEPARATE_BYTES_MIN (UINT64_C(8) << 10)  /* a stretch of less makes no value logs: not a file for a few
                                                   values, and marks may be many */

#define WALKS_MAX 8u            /* what a stretch with less than this part of the ops has is not looked for among
                                   them all: marks may be many */

/* ---- stretches: the writes to one tree with op numbers in [from, to), for one private table ---- */

/* Of a short one: picked out, and sorted. */
struct picked {
    struct lsm_iter base;
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    struct lsm_buf rows;        /* struct lsm_memtable_row */
    size_t count, at;
};

static int compare_rows(void *ctx, const void *a, const void *b)
{
    const struct lsm_memtable_row *x = a, *y = b;
    int c = lsm_key_compare(((struct picked *)ctx)->cmp, x->key, y->key);

    return c ? c : x->tag > y->tag ? -1 : x->tag < y->tag;
}

static void picked_show(struct picked *p)
{
    const struct lsm_memtable_row *rows = (const void *)p->rows.data;

    p->base.valid = p->at < p->count;
    if (p->base.valid) {
        p->base.key = rows[p->at].key;
        p->base.tag = rows[p->at].tag;
        p->base.value = rows[p->at].value;
    }
}

static void picked_first(struct lsm_iter *base)
{
    struct picked *p = (struct picked *)base;

    p->at = 0;
    picked_show(p);
}

static void picked_next(struct lsm_iter *base)
{
    struct picked *p = (struct picked *)base;

    p->at++;
    picked_show(p);
}

static void picked_close(struct lsm_iter *base)
{
    struct picked *p = (struct picked *)base;

    lsm_buf_clear(&p->rows);
    lsm_mem_free(p->os, p);
}

static int pick(struct lsm_txn *txn, const struct lsm_tree *tree, uint64_t from, uint64_t to,
                struct lsm_range_set *set, struct lsm_iter **it)
{
    static const struct lsm_iter_methods methods = { .first = picked_first, .next = picked_next,
                                                     .close = picked_close };
    struct picked *p = lsm_mem_zalloc(txn->db->os, sizeof *p);
    struct lsm_memtable_row *rows;
    size_t count;

    if (!p)
        return lsm_nomem();
    p->base.methods = &methods;
    p->os = txn->db->os;
    p->cmp = tree->cmp;
    lsm_buf_init(&p->rows, p->os);
    *it = &p->base;
    lsm_batch_rows(&txn->batch, tree->id, from, to, &p->rows);
    rows = (void *)p->rows.data;
    count = p->rows.size / sizeof *rows;
    for (size_t i = 0; i < count; i++)
        if (lsm_tag_kind(rows[i].tag) == LSM_KIND_RANGE_DELETE)
            lsm_range_set_add(set, rows[i].key, rows[i].value, lsm_tag_seq(rows[i].tag));
        else
            rows[p->count++] = rows[i];
    lsm_sort(rows, p->count, sizeof *rows, compare_rows, p);
    return p->rows.rc;
}

/* Of a long one: *it has the rows of others, too. */
static int walk(struct lsm_txn *txn, const struct lsm_tree *tree, uint64_t from, uint64_t to,
                struct lsm_range_set *set, struct lsm_iter **it)
{
    struct lsm_memtable *mem = txn->batch.mem;
    uint32_t count = lsm_memtable_range_count(mem, tree->id);

    for (uint32_t i = 0; i < count; i++) {
        struct lsm_slice lo, hi;
        uint64_t op;

        lsm_memtable_range(mem, tree->id, i, &lo, &hi, &op);
        if (op >= from && op < to)
            lsm_range_set_add(set, lo, hi, op);
    }
    return lsm_memtable_iter_new(mem, tree->id, tree->cmp, 0, it);
}

/* An iterator that goes forward only, and the range deletes, with those that one between two marks hides left out. */
static int open_stretch(struct lsm_txn *txn, const struct lsm_tree *tree, uint64_t from, uint64_t to,
                        const uint64_t *limits, size_t limit_count, struct lsm_iter **it,
                        struct lsm_ranges **ranges)
{
    uint64_t ops = txn->batch.op_next - txn->batch.op_first;
    struct lsm_range_set set;
    int rc;

    *it = NULL;
    *ranges = NULL;
    lsm_range_set_init(&set, txn->db->os);
    rc = to - from < ops / WALKS_MAX ? pick(txn, tree, from, to, &set, it)
                                     : walk(txn, tree, from, to, &set, it);
    if (rc == LSM_OK)
        rc = lsm_range_set_finish(&set, tree->cmp, limits, limit_count, ranges);
    else
        lsm_range_set_clear(&set);
    if (rc) {
        lsm_iter_close(*it);
        *it = NULL;
    }
    return rc;
}

/* By a delete that is newer and taken back with it, if at all. */
static bool is_deleted(const struct lsm_ranges *ranges, const struct lsm_retain *marks, struct lsm_slice key,
                       uint64_t tag)
{
    uint32_t i = ranges ? lsm_ranges_find(ranges, marks->cmp, key) : 0;

    if (!ranges || i == ranges->count || lsm_key_compare(marks->cmp, ranges->range[i].lo, key) > 0)
        return false;
    return lsm_retain_covered(marks, ranges->seqs + ranges->range[i].seq_at, ranges->range[i].seq_count,
                              lsm_tag_seq(tag));
}

/* ---- private tables ---- */

static int private_open(struct lsm_db *db, const struct lsm_tree *tree, struct lsm_compressor *compressor,
                        struct lsm_table_writer **w)
{
    struct lsm_table_options options = { .block_bytes = tree->block_bytes, .filter_bits = tree->filter_bits,
                                         .codec = LSM_CODEC_NONE, .comparator = tree->cmp,
                                         .tree_name = lsm_buf_slice(&tree->name), .is_private = true };

    return lsm_table_writer_open(db->os, db->dir, db->uuid, lsm_db_new_file(db), tree->id, &options, compressor,
                                 db->file_mode, w);
}

/* As a run with its value logs. On failure nothing of it is left, the logs are. */
static int private_finish(struct lsm_db *db, const struct lsm_tree *tree, struct lsm_table_writer *w,
                          const struct lsm_values *values, struct lsm_run **run)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_table_meta meta;
    int rc = lsm_table_writer_finish(w, &meta);

    if (rc)
        return rc;
    meta.created_us = db->os->wall_us(db->os);
    if (db->paranoid) {
        rc = lsm_paranoid_table(db, tree->cmp, &meta);
        lsm_tables_forget(db->tables, meta.number);     /* opened without what comes next */
    }
    meta.seq_add = LSM_SEQ_OWN;         /* seen as its own rows until it is published */
    atomic_fetch_add_explicit(&db->counters.spill_bytes, meta.size_bytes + values->bytes_written,
                              memory_order_relaxed);
    *run = NULL;
    if (rc == LSM_OK)
        rc = lsm_run_new(db->os, &meta, run);
    if (rc == LSM_OK)
        rc = lsm_run_set_vlogs(*run, values->metas, values->count);
    if (rc) {
        lsm_run_unref(*run);
        db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_TABLE, meta.number));
    }
    return rc;
}

/* The limits are the last op numbers before marks that lie in between. */
static int spill_stretch(struct lsm_txn *txn, uint32_t tree_id, struct lsm_compressor *compressor,
                         uint64_t from, uint64_t to, const uint64_t *limits, size_t limit_count, bool separate)
{
    struct lsm_db *db = txn->db;
    struct lsm_build build = { 0 };     /* for its value logs */
    struct lsm_table_writer *w = NULL;
    struct lsm_run *run = NULL;
    struct lsm_retain marks;
    struct lsm_ranges *ranges;
    struct lsm_tree *tree;
    struct lsm_iter *it;
    int rc;

    lsm_db_lock(db);
    tree = lsm_tree_by_id(db, tree_id);
    lsm_db_unlock(db);
    rc = open_stretch(txn, tree, from, to, limits, limit_count, &it, &ranges);
    if (rc)
        return rc;
    lsm_job_build_init(db, &build, tree, compressor, NULL, 0);
    if (!separate)
        build.values.bytes_min = 0;
    lsm_retain_init(&marks, db->os, tree->cmp, limits, limit_count);
    if (ranges)
        rc = private_open(db, tree, compressor, &w);
    for (uint32_t i = 0; rc == LSM_OK && ranges && i < ranges->count; i++)
        lsm_table_writer_add_range(w, ranges->range[i].lo, ranges->range[i].hi,
                                   ranges->seqs + ranges->range[i].seq_at, ranges->range[i].seq_count);
    for (lsm_iter_first(it); it->valid && rc == LSM_OK; lsm_iter_next(it)) {
        uint64_t tag = it->tag, op = lsm_tag_seq(tag);
        struct lsm_slice value = it->value;

        if (op < from || op >= to || is_deleted(ranges, &marks, it->key, tag))
            continue;
        if (!w)
            rc = private_open(db, tree, compressor, &w);
        if (rc == LSM_OK)
            rc = lsm_values_put(&build, &tag, &value);
        if (rc == LSM_OK)
            lsm_table_writer_add(w, it->key, tag, value);
    }
    if (rc == LSM_OK)
        rc = it->rc;
    if (rc == LSM_OK)
        rc = lsm_values_finish(&build);
    if (rc == LSM_OK && w)
        rc = private_finish(db, tree, w, &build.values, &run);
    if (rc == LSM_OK && w) {
        txn->stretches[txn->run_count] = (struct lsm_txn_stretch){ .first = from, .end = to };
        txn->runs[txn->run_count++] = run;
    }
    if (rc)
        lsm_values_remove(&build);
    lsm_retain_clear(&marks);
    lsm_build_clear(&build);
    lsm_table_writer_close(w);
    lsm_iter_close(it);
    lsm_ranges_free(ranges);
    return rc;
}

static int reserve_runs(struct lsm_txn *txn, uint32_t more)
{
    struct lsm_os *os = txn->db->os;

    if (txn->run_count + more > txn->run_cap) {
        uint32_t cap = 2 * (txn->run_count + more);
        void *runs = os->mem_realloc(os, txn->runs, cap * sizeof *txn->runs);
        if (!runs)
            return lsm_nomem();
        txn->runs = runs;
        void *stretches = os->mem_realloc(os, txn->stretches, cap * sizeof *txn->stretches);
        if (!stretches)
            return lsm_nomem();
        txn->stretches = stretches;
        txn->run_cap = cap;
    }
    return LSM_OK;
}

int lsm_txn_take_runs(struct lsm_txn *txn, const struct lsm_tree *tree, struct lsm_run **runs,
                      uint32_t count, uint64_t op)
{
    uint64_t before = lsm_batch_bytes(&txn->batch);
    int rc = reserve_runs(txn, count);

    assert(txn->batch.live_count == 0 && txn->batch.op_next == op);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        txn->stretches[txn->run_count] = (struct lsm_txn_stretch){ .first = op, .end = op + 1 };
        txn->runs[txn->run_count++] = runs[i];
    }
    lsm_own_dead_undo(txn->own_dead, tree, 0);  /* rows may lie in what was known to hold none */
    lsm_batch_reset(&txn->batch, op + 1);
    lsm_txn_forget_memory(txn, before);
    return LSM_OK;
}

/* How many stretches a table gets, if `count` of them are to be spilled. */
static uint32_t stretches_per_table(uint64_t count)
{
    uint64_t each = (count + TABLES_MAX - 1) / TABLES_MAX;

    return each < STRETCHES_MAX ? (uint32_t)each : STRETCHES_MAX;
}

/* Stretch k ends at mark k, the last one with the batch. limits[k]: the op before mark k. */
static int spill_stretches(struct lsm_txn *txn, struct lsm_compressor *compressor, const uint32_t *trees,
                           uint32_t tree_count, const uint64_t *limits)
{
    uint64_t from = txn->batch.op_first, count;
    uint32_t k = 0, each;
    bool are_long;
    int rc = LSM_OK;

    while (k < txn->mark_count && txn->marks[k] <= from)
        k++;
    count = txn->mark_count - k + 1;
    each = stretches_per_table(count);
    are_long = each == 1 && txn->batch.live_bytes / count >= SEPARATE_BYTES_MIN;
    for (uint32_t first = k; rc == LSM_OK && from < txn->batch.op_next; first = k) {
        uint64_t to;

        k = txn->mark_count - k < each ? txn->mark_count + 1 : k + each;
        to = k <= txn->mark_count ? txn->marks[k - 1] : txn->batch.op_next;
        rc = reserve_runs(txn, tree_count);
        for (uint32_t t = 0; t < tree_count && rc == LSM_OK; t++)
            rc = spill_stretch(txn, trees[t], compressor, from, to, limits + first, k - 1 - first, are_long);
        from = to;
    }
    return rc;
}

int lsm_txn_spill(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    struct lsm_compressor *compressor;
    uint32_t *trees, tree_count, first_run = txn->run_count;
    uint64_t before = lsm_batch_bytes(&txn->batch), *limits;
    int rc, error;

    if (!txn->batch.mem)
        return LSM_OK;
    if (txn->batch.live_count == 0) {
        lsm_batch_reset(&txn->batch, txn->batch.op_next);
        lsm_txn_forget_memory(txn, before);
        return LSM_OK;
    }
    rc = lsm_write_begin(db);   /* orphans are swept before there are private tables */
    if (rc)
        return rc;

    tree_count = (uint32_t)lsm_memtable_trees(txn->batch.mem, NULL, 0);
    trees = lsm_mem_alloc(db->os, (tree_count + 1) * sizeof *trees);
    limits = lsm_mem_alloc(db->os, (txn->mark_count + 1) * sizeof *limits);
    rc = trees && limits ? lsm_compressor_take(db->compressors, &compressor) : lsm_nomem();
    if (rc) {
        lsm_mem_free(db->os, trees);
        lsm_mem_free(db->os, limits);
        return rc;
    }
    lsm_memtable_trees(txn->batch.mem, trees, tree_count);
    for (uint32_t m = 0; m < txn->mark_count; m++)
        limits[m] = txn->marks[m] - 1;
    rc = spill_stretches(txn, compressor, trees, tree_count, limits);
    lsm_compressor_put(db->compressors, compressor);
    lsm_mem_free(db->os, trees);
    lsm_mem_free(db->os, limits);
    if (rc == LSM_OK) {
        error = db->os->dir_sync(db->dir);
        if (error)
            rc = lsm_fail_os(error, "sync directory", db->path);
    }
    if (rc) {
        while (txn->run_count > first_run)
            lsm_txn_remove_run(db, txn->runs[--txn->run_count]);
        return rc;
    }
    lsm_batch_reset(&txn->batch, txn->batch.op_next);
    if (lsm_batch_bytes(&txn->batch) > db->batch_bytes / 2) {  /* what it keeps would make each row spill */
        lsm_memtable_unref(txn->batch.mem);
        txn->batch.mem = NULL;
    }
    lsm_txn_forget_memory(txn, before);
    return LSM_OK;
}

/* ---- trimming ---- */

/* Write the rows and deletes of ops below `end` to a table of their own; none: *fresh is NULL. */
static int copy_below(struct lsm_txn *txn, const struct lsm_tree *tree, struct lsm_table *table,
                      struct lsm_compressor *compressor, uint64_t end, struct lsm_run **fresh)
{
    const struct lsm_ranges *ranges = lsm_table_ranges(table);
    static const struct lsm_values no_values;
    struct lsm_table_writer *w = NULL;
    struct lsm_iter *it;
    int rc = lsm_table_iter_new(table, true, &it);

    *fresh = NULL;
    if (rc)
        return rc;
    for (uint32_t i = 0; rc == LSM_OK && ranges && i < ranges->count; i++) {
        const struct lsm_range *range = &ranges->range[i];
        const uint64_t *seqs = ranges->seqs + range->seq_at;
        uint32_t gone = 0;

        while (gone < range->seq_count && seqs[gone] >= end)
            gone++;
        if (gone == range->seq_count)
            continue;
        if (!w)
            rc = private_open(txn->db, tree, compressor, &w);
        if (rc == LSM_OK)
            lsm_table_writer_add_range(w, range->lo, range->hi, seqs + gone, range->seq_count - gone);
    }
    for (lsm_iter_first(it); rc == LSM_OK && it->valid; lsm_iter_next(it)) {
        uint64_t op = lsm_tag_seq(it->tag) - LSM_SEQ_OWN;

        if (op >= end)
            continue;
        if (!w)
            rc = private_open(txn->db, tree, compressor, &w);
        if (rc == LSM_OK)
            lsm_table_writer_add(w, it->key, lsm_tag(op, lsm_tag_kind(it->tag)), it->value);
    }
    if (rc == LSM_OK)
        rc = it->rc;
    if (rc == LSM_OK && w)
        rc = private_finish(txn->db, tree, w, &no_values, fresh);
    lsm_table_writer_close(w);
    lsm_iter_close(it);
    return rc;
}

static int trim(struct lsm_txn *txn, uint32_t i, struct lsm_compressor *compressor)
{
    struct lsm_db *db = txn->db;
    struct lsm_run *run = txn->runs[i], *fresh;
    struct lsm_table *table;
    struct lsm_tree *tree;
    int rc, error;

    assert(run->vlog_count == 0);       /* it is of several stretches */
    lsm_db_lock(db);
    tree = lsm_tree_by_id(db, run->meta.tree);
    lsm_db_unlock(db);
    rc = lsm_tables_get(db->tables, &run->meta, tree->cmp, &table);
    if (rc)
        return rc;
    rc = copy_below(txn, tree, table, compressor, txn->stretches[i].end, &fresh);
    lsm_table_unref(table);
    if (rc == LSM_OK && fresh && (error = db->os->dir_sync(db->dir))) {
        rc = lsm_fail_os(error, "sync directory", db->path);
        lsm_txn_remove_run(db, fresh);
    }
    if (rc)
        return rc;
    txn->stretches[i].is_cut = false;
    if (txn->stretches[i].is_named)
        lsm_run_unref(run);
    else
        lsm_txn_give_up_run(txn, run);
    txn->stretches[i].is_named = false;
    txn->runs[i] = fresh;
    return LSM_OK;
}

int lsm_txn_trim(struct lsm_txn *txn)
{
    struct lsm_compressor *compressor;
    uint32_t kept = 0;
    int rc;

    if (!txn->has_cut)
        return LSM_OK;
    rc = lsm_compressor_take(txn->db->compressors, &compressor);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < txn->run_count && rc == LSM_OK; i++)
        if (txn->stretches[i].is_cut)
            rc = trim(txn, i, compressor);
    lsm_compressor_put(txn->db->compressors, compressor);
    for (uint32_t i = 0; i < txn->run_count; i++)
        if (txn->runs[i]) {             /* else nothing of it was left */
            txn->stretches[kept] = txn->stretches[i];
            txn->runs[kept++] = txn->runs[i];
        }
    txn->run_count = kept;
    txn->has_cut = rc != LSM_OK;
    return rc;
}

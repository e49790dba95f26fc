/*
 * batch.c -- private writes that can be taken back.
 *
 *     ops    1  2  3  4  5  6  7  8  9 ...
 *     runs         [3     6)    [8  9)         void, ascending, apart from one another
 *     steps  ^row before 1         ^row before 1 + LSM_BATCH_STEP
 *
 * A rollback voids the live rows from the mark on and swallows the runs that it
 * passes, so that a row is visited once by all rollbacks together, plus at most
 * LSM_BATCH_STEP rows each to find the mark. It leaves one run, at the end; the
 * next add makes room for one more, so that a rollback never needs memory.
 *
 * Threads: one at a time.
 */
#include <assert.h>

#include "lsm/store/batch.h"

struct lsm_batch_void {
    uint64_t first, end;        /* ops [first, end) */
};

static void check_batch(const struct lsm_batch *batch)
{
    assert(batch->op_first >= 1);
    assert(batch->op_first <= batch->op_next);
    assert(batch->void_count <= batch->void_cap);
    assert(batch->step_count <= batch->step_cap);
    if (!batch->mem) {
        assert(batch->op_first == batch->op_next);
        assert(batch->live_count == 0);
    }
    if (batch->live_count == 0)
        assert(batch->live_bytes == 0);
    if (batch->void_count)
        assert(batch->void_runs[batch->void_count - 1].end <= batch->op_next);
    if (batch->void_count > 1)
        assert(batch->void_runs[batch->void_count - 2].end <
               batch->void_runs[batch->void_count - 1].first);
    (void)batch;
}

void lsm_batch_init(struct lsm_batch *batch, struct lsm_os *os)
{
    *batch = (struct lsm_batch){ .os = os, .op_first = 1, .op_next = 1 };
}

void lsm_batch_clear(struct lsm_batch *batch)
{
    struct lsm_os *os = batch->os;

    if (!os)                            /* zeroed */
        return;
    lsm_memtable_unref(batch->mem);
    lsm_mem_free(os, batch->void_runs);
    lsm_mem_free(os, batch->steps);
    lsm_batch_init(batch, os);
}

void lsm_batch_reset(struct lsm_batch *batch, uint64_t op_first)
{
    assert(op_first >= 1);
    if (batch->mem && lsm_memtable_is_shared(batch->mem)) {
        lsm_memtable_unref(batch->mem);
        batch->mem = NULL;
    } else if (batch->mem) {
        lsm_memtable_reset(batch->mem);
    }
    batch->op_first = batch->op_next = op_first;
    batch->live_count = batch->live_bytes = batch->rows_visited = 0;
    batch->void_count = batch->step_count = 0;
}

static uint64_t op_bytes(const struct lsm_memtable_row *row)
{
    uint64_t size = 1 + lsm_varint_size(row->tree) + lsm_varint_size(row->key.size) + row->key.size;

    if (lsm_tag_kind(row->tag) != LSM_KIND_DELETE)
        size += lsm_varint_size(row->value.size) + row->value.size;
    return size;
}

/* Room for one more element. */
static bool grow(struct lsm_os *os, void **array, uint32_t count, uint32_t *cap, size_t size)
{
    uint32_t larger = *cap ? *cap * 2 : 8;
    void *p;

    if (count < *cap)
        return true;
    if (larger <= *cap || !(p = os->mem_realloc(os, *array, larger * size)))
        return false;
    *array = p;
    *cap = larger;
    return true;
}

static bool prepare_rollback(struct lsm_batch *batch)
{
    void *runs = batch->void_runs, *steps = batch->steps;
    bool ok = grow(batch->os, &runs, batch->void_count, &batch->void_cap,
                   sizeof(batch->void_runs[0])) &&
              grow(batch->os, &steps, batch->step_count, &batch->step_cap,
                   sizeof(batch->steps[0]));

    batch->void_runs = runs;
    batch->steps = steps;
    return ok;
}

/* What must be there before the next op is added. */
static int prepare_add(struct lsm_batch *batch)
{
    assert(batch->op_next <= LSM_SEQ_MAX);
    check_batch(batch);
    if (!prepare_rollback(batch))
        return lsm_nomem();
    return batch->mem ? LSM_OK : lsm_memtable_new(batch->os, &batch->mem);
}

/* The op's row was added; `before` is the one added before it. */
static void count_op(struct lsm_batch *batch, const struct lsm_memtable_row *row, uint32_t before)
{
    if ((batch->op_next - batch->op_first) % LSM_BATCH_STEP == 0)
        batch->steps[batch->step_count++] = before;
    batch->op_next++;
    batch->live_count++;
    batch->live_bytes += op_bytes(row);
}

int lsm_batch_add(struct lsm_batch *batch, enum lsm_kind kind, uint32_t tree,
                  const struct lsm_comparator *cmp, struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_memtable_row row = { 0, tree, lsm_tag(batch->op_next, kind), key, value };
    uint32_t before;
    int rc = prepare_add(batch);

    assert(kind < LSM_KIND_VOID);
    if (rc)
        return rc;
    before = lsm_memtable_newest(batch->mem);
    rc = lsm_memtable_add(batch->mem, tree, cmp, key, row.tag, value);
    if (rc == LSM_OK)
        count_op(batch, &row, before);
    return rc;
}

int lsm_batch_add_first(struct lsm_batch *batch, uint32_t tree, const struct lsm_comparator *cmp,
                        struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_memtable_row row = { 0, tree, lsm_tag(batch->op_next, LSM_KIND_PUT), key, value };
    uint32_t before;
    int rc = prepare_add(batch);

    if (rc)
        return rc;
    before = lsm_memtable_newest(batch->mem);
    rc = lsm_memtable_add_first(batch->mem, tree, cmp, key, row.tag, value);
    if (rc == LSM_OK)
        count_op(batch, &row, before);
    return rc;
}

static void void_row(struct lsm_batch *batch, const struct lsm_memtable_row *row)
{
    if (lsm_tag_kind(row->tag) == LSM_KIND_VOID)
        return;
    assert(batch->live_count > 0);
    batch->live_count--;
    batch->live_bytes -= op_bytes(row);
    lsm_memtable_void(batch->mem, row->off);
}

/* The op that a walk to `first` begins at; *row is the row before it. */
static uint64_t walk_from(const struct lsm_batch *batch, uint64_t first, struct lsm_memtable_row *row)
{
    uint64_t step = (first - batch->op_first) / LSM_BATCH_STEP;

    assert(step < batch->step_count);
    row->off = batch->steps[step];
    return batch->op_first + step * LSM_BATCH_STEP;
}

/* Void the rows of ops [first, end). */
static void void_ops(struct lsm_batch *batch, uint64_t first, uint64_t end)
{
    struct lsm_memtable_row row;

    if (first >= end)
        return;
    for (uint64_t op = walk_from(batch, first, &row); op < end; op++) {
        bool found = lsm_memtable_next_added(batch->mem, row.off, &row);

        assert(found);
        assert(lsm_tag_seq(row.tag) == op);
        (void)found;
        batch->rows_visited++;
        if (op >= first)
            void_row(batch, &row);
    }
}

void lsm_batch_rollback(struct lsm_batch *batch, uint64_t mark)
{
    uint32_t kept = batch->void_count;
    uint64_t op, first;

    check_batch(batch);
    if (mark < batch->op_first)
        mark = batch->op_first;
    if (mark >= batch->op_next)
        return;

    while (kept > 0 && batch->void_runs[kept - 1].end >= mark)
        kept--;                         /* those from `kept` on melt into one */
    first = op = mark;
    for (uint32_t i = kept; i < batch->void_count; i++) {
        const struct lsm_batch_void *run = &batch->void_runs[i];

        if (run->first < first)
            first = run->first;
        void_ops(batch, op, run->first);
        if (run->end > op)
            op = run->end;
    }
    void_ops(batch, op, batch->op_next);
    assert(kept < batch->void_cap);
    batch->void_runs[kept] = (struct lsm_batch_void){ first, batch->op_next };
    batch->void_count = kept + 1;
    check_batch(batch);
}

void lsm_batch_discard_tree(struct lsm_batch *batch, uint32_t tree)
{
    struct lsm_memtable_row row = { 0 };

    if (!batch->mem || lsm_memtable_tree_rows(batch->mem, tree) == 0)
        return;
    while (lsm_memtable_next_added(batch->mem, row.off, &row))
        if (row.tree == tree)
            void_row(batch, &row);
    check_batch(batch);
}

bool lsm_batch_has_tree(const struct lsm_batch *batch, uint32_t tree)
{
    return batch->live_count > 0 && lsm_memtable_has_tree(batch->mem, tree);
}

void lsm_batch_rows(struct lsm_batch *batch, uint32_t tree, uint64_t from, uint64_t to,
                    struct lsm_buf *rows)
{
    struct lsm_memtable_row row;

    assert(from >= batch->op_first && to <= batch->op_next);
    if (from >= to)
        return;
    for (uint64_t op = walk_from(batch, from, &row); op < to; op++) {
        bool found = lsm_memtable_next_added(batch->mem, row.off, &row);

        assert(found);
        (void)found;
        batch->rows_visited++;
        if (op >= from && row.tree == tree && lsm_tag_kind(row.tag) != LSM_KIND_VOID)
            lsm_buf_append(rows, &row, sizeof row);
    }
}

void lsm_batch_encode(const struct lsm_batch *batch, struct lsm_buf *out, uint32_t *count)
{
    struct lsm_memtable_row row = { 0 };

    *count = 0;
    assert(batch->live_count <= UINT32_MAX);
    if (batch->live_count == 0)
        return;
    while (lsm_memtable_next_added(batch->mem, row.off, &row)) {
        enum lsm_kind kind = lsm_tag_kind(row.tag);

        if (kind == LSM_KIND_VOID)
            continue;
        lsm_op_encode(out, kind, row.tree, row.key, row.value);
        ++*count;
    }
    assert(*count == batch->live_count);
}

uint64_t lsm_batch_bytes(const struct lsm_batch *batch)
{
    return (batch->mem ? lsm_memtable_bytes(batch->mem) : 0) +
           batch->void_cap * (uint64_t)sizeof(batch->void_runs[0]) +
           batch->step_cap * (uint64_t)sizeof(batch->steps[0]);
}

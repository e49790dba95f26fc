/*
 * copy.c -- the rows of a small record go to the active memtable, in groups of one tree's: each row's leaf
 * is a miss of the cache, and those of a group are waited for together.
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

struct group {
    struct lsm_unit *to;
    struct lsm_tree *tree;
    uint32_t count;
    struct lsm_memtable_row rows[LSM_MEMTABLE_GROUP];
    uint64_t hashes[LSM_MEMTABLE_GROUP];
};

/* Trees come while rows are copied; one asks for the same tree again and again. */
static struct lsm_tree *find_tree(struct lsm_db *db, uint32_t id, struct lsm_tree *last)
{
    if (last && last->id == id)
        return last;
    lsm_db_lock(db);
    last = lsm_tree_by_id(db, id);
    lsm_db_unlock(db);
    return last;
}

static int empty(struct group *g)
{
    uint32_t count = g->count;

    if (count == 0)
        return LSM_OK;
    g->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (lsm_tag_kind(g->rows[i].tag) != LSM_KIND_DELETE)
            lsm_dead_put(g->tree, g->rows[i].key);
        if (lsm_filter_is_possible(g->tree->cmp))
            lsm_memfilter_add(&g->to->filter, g->tree->id, g->hashes[i]);
    }
    return lsm_memtable_add_group(g->to->mem, g->tree->id, g->tree->cmp, g->rows, count);
}

static int add_range(struct group *g, struct lsm_tree *tree, const struct lsm_memtable_row *row)
{
    int rc = empty(g);

    if (rc)
        return rc;
    rc = lsm_memtable_add(g->to->mem, tree->id, tree->cmp, row->key, row->tag, row->value);
    atomic_store_explicit(&g->to->has_ranges, true, memory_order_release);
    return rc;
}

/* What it points to must stay until the group is empty. */
static int add_row(struct group *g, struct lsm_tree *tree, const struct lsm_memtable_row *row)
{
    int rc = LSM_OK;

    if (lsm_tag_kind(row->tag) == LSM_KIND_RANGE_DELETE)
        return add_range(g, tree, row);
    if (g->count == LSM_MEMTABLE_GROUP || (g->count && g->tree != tree))
        rc = empty(g);
    if (rc)
        return rc;
    g->tree = tree;
    if (lsm_filter_is_possible(tree->cmp)) {
        g->hashes[g->count] = lsm_filter_key_hash(tree->cmp, row->key);
        lsm_memfilter_fetch(&g->to->filter, tree->id, g->hashes[g->count]);
    }
    g->rows[g->count++] = *row;
    return LSM_OK;
}

int lsm_copy_expect(struct lsm_unit *to, struct lsm_tree *tree, struct lsm_slice key, size_t value_size, uint64_t *hash)
{
    if (lsm_filter_is_possible(tree->cmp)) {
        *hash = lsm_filter_key_hash(tree->cmp, key);
        lsm_memfilter_fetch(&to->filter, tree->id, *hash);
    }
    return lsm_memtable_expect(to->mem, tree->id, tree->cmp, key, value_size);
}

void lsm_copy_expected(struct lsm_unit *to, struct lsm_tree *tree, const struct lsm_memtable_row *row, uint64_t hash)
{
    if (lsm_tag_kind(row->tag) != LSM_KIND_DELETE)
        lsm_dead_put(tree, row->key);
    if (lsm_filter_is_possible(tree->cmp))
        lsm_memfilter_add(&to->filter, tree->id, hash);
    lsm_memtable_add_expected(to->mem, tree->id, tree->cmp, row->key, row->tag, row->value);
}

int lsm_copy_batch(struct lsm_db *db, const struct lsm_prepared *rec, struct lsm_unit *to, uint64_t base)
{
    struct group g = { .to = to };
    struct lsm_memtable_row row;
    struct lsm_tree *tree = NULL;
    int rc = LSM_OK;

    for (uint32_t off = 0; lsm_memtable_next_added(rec->mem, off, &row) && rc == LSM_OK; off = row.off) {
        if (lsm_tag_kind(row.tag) == LSM_KIND_VOID)
            continue;
        if (lsm_tag_seq(row.tag) > rec->op_max)
            break;
        tree = find_tree(db, row.tree, tree);
        row.tag += base << 8;
        rc = add_row(&g, tree, &row);
    }
    return rc ? rc : empty(&g);
}

int lsm_copy_ops(struct lsm_db *db, struct lsm_slice ops, uint64_t op_first, struct lsm_unit *to, uint64_t base)
{
    struct lsm_reader r = lsm_reader(ops);
    struct group g = { .to = to };
    struct lsm_tree *tree = NULL;
    int rc = LSM_OK;

    for (uint64_t op = op_first; lsm_reader_left(&r) && rc == LSM_OK; op++) {
        struct lsm_memtable_row row = { 0 };
        enum lsm_kind kind;

        if (!lsm_op_decode(&r, &kind, &row.tree, &row.key, &row.value))
            return lsm_corrupt("log", 0, "malformed operation in a record whose sum is right");
        tree = find_tree(db, row.tree, tree);
        if (tree && kind == LSM_KIND_RANGE_DELETE && lsm_key_compare(tree->cmp, row.key, row.value) >= 0)
            return lsm_corrupt("log", 0, "a range delete that ends before it begins");
        row.tag = lsm_tag(base + op, kind);
        if (tree && !atomic_load(&tree->dropped))
            rc = add_row(&g, tree, &row);
    }
    return rc ? rc : empty(&g);
}

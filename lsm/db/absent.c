/*
 * absent.c -- is a key certainly new? What INSERT asks before each row, and the answer is nearly always
 * yes; lsm_tree_get() would find that out as well, one filter after the other, each a line of memory
 * that is not in the processor's cache, with a lock for each table.
 *
 *     view changed?  -> forget the tables
 *     every place    -> its table, partition: fetch
 *     every place    -> its filter's line: fetch
 *     every place    -> may it have the key?
 *
 * The view and its tables are kept from row to row. So what was flushed or compacted away since stays
 * until the transaction's next row, or its end.
 *
 * "No" is never wrong: nothing is asked that could hide a row, only whether there is one, of any
 * sequence and kind. "Perhaps" is left to lsm_tree_get().
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

#define TABLES_KEPT 64u         /* slots, by number */
#define PROBES_MAX 24u          /* more places than that: perhaps */

struct lsm_absent {
    struct lsm_view *view;      /* NULL: none yet */
    struct lsm_table *table[TABLES_KEPT];
    uint64_t number[TABLES_KEPT], seq_add[TABLES_KEPT];
};

static void forget(struct lsm_absent *a)
{
    for (uint32_t i = 0; i < TABLES_KEPT; i++) {
        lsm_table_unref(a->table[i]);
        a->table[i] = NULL;
    }
    lsm_view_unref(a->view);
    a->view = NULL;
}

void lsm_absent_end(struct lsm_absent *a, struct lsm_os *os)
{
    if (!a)
        return;
    forget(a);
    lsm_mem_free(os, a);
}

/* What was published before now is in this view. */
static struct lsm_view *current_view(struct lsm_absent *a, struct lsm_db *db)
{
    (void)atomic_load_explicit(&db->seq_published, memory_order_acquire);
    if (a->view && a->view == atomic_load_explicit(&db->view, memory_order_acquire))
        return a->view;
    forget(a);
    a->view = lsm_view_current(db);
    return a->view;
}

/* NULL: it could not be opened, which lsm_tree_get() may explain. */
static struct lsm_table *table_of(struct lsm_absent *a, const struct lsm_tree *tree,
                                  const struct lsm_table_meta *m)
{
    uint32_t slot = (uint32_t)(m->number % TABLES_KEPT);
    struct lsm_table *table;

    if (a->table[slot] && a->number[slot] == m->number && a->seq_add[slot] == m->seq_add)
        return a->table[slot];
    if (lsm_tables_get(tree->db->tables, m, tree->cmp, &table) != LSM_OK)
        return NULL;
    lsm_table_unref(a->table[slot]);
    a->table[slot] = table;
    a->number[slot] = m->number;
    a->seq_add[slot] = m->seq_add;
    return table;
}

struct look {
    struct lsm_absent *absent;
    const struct lsm_tree *tree;
    struct lsm_slice key;
    uint64_t hash;
    struct lsm_table_probe probes[PROBES_MAX];
    uint32_t count;
};

/* False: it cannot be told. */
static bool begin_run(struct look *look, const struct lsm_run *run)
{
    const struct lsm_table_meta *m = &run->meta;
    struct lsm_table *table;

    if (m->tree != look->tree->id || m->entries == 0 ||
        lsm_key_compare(look->tree->cmp, look->key, m->smallest) < 0 ||
        lsm_key_compare(look->tree->cmp, look->key, m->largest) > 0)
        return true;
    table = look->count < PROBES_MAX ? table_of(look->absent, look->tree, m) : NULL;
    if (!table)
        return false;
    if (lsm_table_probe_begin(table, look->key, &look->probes[look->count]))
        look->count++;
    return true;
}

static bool begin_tables(struct look *look, const struct lsm_tree_version *tv)
{
    for (uint32_t i = 0; i < tv->level[0].count; i++)
        if (!begin_run(look, tv->level[0].runs[i]))
            return false;
    for (uint32_t l = 1; l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *level = &tv->level[l];
        uint32_t i = level->count ? lsm_level_find(level, look->tree->cmp, look->key) : 0;

        if (i < level->count && !begin_run(look, level->runs[i]))
            return false;
    }
    return true;
}

static bool begin(struct look *look, const struct lsm_txn *txn, const struct lsm_view *view)
{
    const struct lsm_tree_version *tv = lsm_version_tree(view->version, look->tree->id);
    const struct lsm_unit *unit = view->newest;

    for (uint32_t i = 0; i < txn->run_count; i++)
        if (!begin_run(look, txn->runs[i]))
            return false;
    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older) {
        if (unit->mem)
            lsm_memfilter_fetch(&unit->filter, look->tree->id, look->hash);
        for (uint32_t k = 0; k < unit->run_count; k++)
            if (!begin_run(look, unit->runs[k]))
                return false;
    }
    return !tv || begin_tables(look, tv);
}

static bool units_lack(const struct look *look, const struct lsm_view *view)
{
    const struct lsm_unit *unit = view->newest;
    struct lsm_slice value;
    uint64_t tag;

    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older)
        if (unit->mem && lsm_memfilter_may_contain(&unit->filter, look->tree->id, look->hash) &&
            lsm_memtable_get(unit->mem, look->tree->id, look->tree->cmp, look->key, LSM_SEQ_MAX, 0,
                             &tag, &value))
            return false;
    return true;
}

bool lsm_absent_from_tables(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key)
{
    struct lsm_db *db = txn->db;
    struct lsm_view *view;
    struct look look;

    if (!txn->absent) {
        txn->absent = lsm_mem_zalloc(db->os, sizeof *txn->absent);
        if (!txn->absent)
            return false;
    }
    look.absent = txn->absent;
    look.tree = tree;
    look.key = key;
    look.hash = lsm_filter_key_hash(tree->cmp, key);
    look.count = 0;
    view = current_view(txn->absent, db);
    if (!begin(&look, txn, view))
        return false;
    for (uint32_t i = 0; i < look.count; i++)
        if (!lsm_table_probe_aim(&look.probes[i], look.hash))
            return false;
    if (!units_lack(&look, view))
        return false;
    for (uint32_t i = 0; i < look.count; i++)
        if (lsm_table_probe_passes(&look.probes[i], look.hash))
            return false;
    if (look.count)
        lsm_tables_count_denied(db->tables, look.count);
    return true;
}

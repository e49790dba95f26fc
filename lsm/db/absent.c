/*
 * absent.c -- is a key certainly new? What INSERT asks before each row, and the answer is nearly always
 * yes; lsm_tree_get() would find that out as well, one filter after the other, each a line of memory
 * that is not in the processor's cache, with a lock for each table.
 *
 *     view changed?  -> forget the tables
 *     every place    -> its table, partition: fetch      lsm_absent_aim(), or the look itself
 *     every place    -> its filter's line: fetch
 *     every place    -> may it have the key?
 *
 * A caller who knows the key before the row aims, and makes the row while the first lines are
 * on their way. The view and its tables are kept from row to row. So what was flushed or compacted away since stays
 * until the transaction's next row, or its end.
 *
 * "No" is never wrong: nothing is asked that could hide a row, only whether there is one, of any
 * sequence and kind. "Perhaps" is left to lsm_tree_get().
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

#define TABLES_KEPT 64u         /* slots, by number */
#define SLOTS_TRIED 4u
#define PROBES_MAX 24u          /* more places than that: perhaps */

/* Where one key may be. */
struct look {
    bool begun;                 /* else the rest says nothing */
    const struct lsm_tree *tree;
    struct lsm_slice key;       /* while it begins */
    uint64_t hash;
    size_t key_size;
    uint64_t op_next;           /* the transaction's, and */
    uint32_t txn_runs;
    uint64_t slots;             /* bit i: a probe lies in the table of slot i */
    uint32_t count;
    struct lsm_table_probe probes[PROBES_MAX];
};

struct lsm_absent {
    struct lsm_view *view;      /* NULL: none yet */
    struct lsm_table *table[TABLES_KEPT];
    uint64_t number[TABLES_KEPT], seq_add[TABLES_KEPT];
    struct look look;
};

static void forget(struct lsm_absent *a)
{
    a->look.begun = false;
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
static void current_view(struct lsm_absent *a, struct lsm_db *db)
{
    (void)atomic_load_explicit(&db->seq_published, memory_order_acquire);
    if (a->view && a->view == atomic_load_explicit(&db->view, memory_order_acquire))
        return;
    forget(a);
    a->view = lsm_view_current(db);
}

/* The table's slot, or one to put it in: not one of a table that this look has a probe in, which would be
   freed under it. TABLES_KEPT: there is none near by. */
static uint32_t slot_of(const struct lsm_absent *a, const struct lsm_table_meta *m)
{
    uint32_t found = TABLES_KEPT;

    for (uint32_t i = 0; i < SLOTS_TRIED; i++) {
        uint32_t slot = (uint32_t)((m->number + i) % TABLES_KEPT);

        if (a->table[slot] && a->number[slot] == m->number && a->seq_add[slot] == m->seq_add)
            return slot;
        if (found == TABLES_KEPT && !(a->look.slots >> slot & 1))
            found = slot;
    }
    return found;
}

/* NULL: it could not be opened, which lsm_tree_get() may explain, or kept. */
static struct lsm_table *table_of(struct lsm_absent *a, const struct lsm_table_meta *m)
{
    const struct lsm_tree *tree = a->look.tree;
    uint32_t slot = slot_of(a, m);
    struct lsm_table *table;

    if (slot == TABLES_KEPT)
        return NULL;
    a->look.slots |= (uint64_t)1 << slot;
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

/* False: it cannot be told. */
static bool begin_run(struct lsm_absent *a, const struct lsm_run *run)
{
    struct look *look = &a->look;
    const struct lsm_table_meta *m = &run->meta;
    struct lsm_table *table;

    if (m->tree != look->tree->id || m->entries == 0 ||
        lsm_key_compare(look->tree->cmp, look->key, m->smallest) < 0 ||
        lsm_key_compare(look->tree->cmp, look->key, m->largest) > 0)
        return true;
    table = look->count < PROBES_MAX ? table_of(a, m) : NULL;
    if (!table)
        return false;
    if (lsm_table_probe_begin(table, look->key, &look->probes[look->count]))
        look->count++;
    return true;
}

static bool begin_tables(struct lsm_absent *a, const struct lsm_tree_version *tv)
{
    const struct look *look = &a->look;

    for (uint32_t i = 0; i < tv->level[0].count; i++)
        if (!begin_run(a, tv->level[0].runs[i]))
            return false;
    for (uint32_t l = 1; l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *level = &tv->level[l];
        uint32_t i = level->count ? lsm_level_find(level, look->tree->cmp, look->key) : 0;

        if (i < level->count && !begin_run(a, level->runs[i]))
            return false;
    }
    return true;
}

static bool begin_everywhere(struct lsm_absent *a, const struct lsm_txn *txn)
{
    const struct lsm_view *view = a->view;
    const struct lsm_tree_version *tv = lsm_version_tree(view->version, a->look.tree->id);
    const struct lsm_unit *unit = view->newest;

    for (uint32_t i = 0; i < txn->run_count; i++)
        if (!begin_run(a, txn->runs[i]))
            return false;
    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older) {
        if (unit->mem)
            lsm_memfilter_fetch(&unit->filter, a->look.tree->id, a->look.hash);
        for (uint32_t k = 0; k < unit->run_count; k++)
            if (!begin_run(a, unit->runs[k]))
                return false;
    }
    return !tv || begin_tables(a, tv);
}

static bool begin(struct lsm_absent *a, const struct lsm_txn *txn, const struct lsm_tree *tree,
                  struct lsm_slice key, uint64_t hash)
{
    struct look *look = &a->look;

    look->tree = tree;
    look->key = key;
    look->hash = hash;
    look->key_size = key.size;
    look->op_next = txn->batch.op_next;
    look->txn_runs = txn->run_count;
    look->slots = 0;
    look->count = 0;
    look->begun = begin_everywhere(a, txn);
    return look->begun;
}

static bool units_lack(const struct lsm_absent *a, struct lsm_slice key)
{
    const struct look *look = &a->look;
    const struct lsm_view *view = a->view;
    const struct lsm_unit *unit = view->newest;
    struct lsm_slice value;
    uint64_t tag;

    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older)
        if (unit->mem && lsm_memfilter_may_contain(&unit->filter, look->tree->id, look->hash) &&
            lsm_memtable_get(unit->mem, look->tree->id, look->tree->cmp, key, LSM_SEQ_MAX, 0,
                             &tag, &value))
            return false;
    return true;
}

void lsm_absent_aim(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key)
{
    struct lsm_absent *a = txn->absent;

    /* Not with a comparator: its hash may not tell two keys apart. */
    if (!a || tree->cmp)
        return;
    current_view(a, txn->db);
    begin(a, txn, tree, key, lsm_filter_hash(key));
}

/* What was aimed at is this key, and nothing has moved since: no view, which forget() tells, and no row of the
   transaction's own to a table. */
static bool is_aimed(const struct lsm_absent *a, const struct lsm_txn *txn, const struct lsm_tree *tree,
                     struct lsm_slice key, uint64_t hash)
{
    return a->look.begun && a->look.tree == tree && a->look.hash == hash && a->look.key_size == key.size &&
           a->look.op_next == txn->batch.op_next && a->look.txn_runs == txn->run_count;
}

bool lsm_absent_from_tables(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key)
{
    struct lsm_db *db = txn->db;
    uint64_t hash = lsm_filter_key_hash(tree->cmp, key);
    struct lsm_absent *a = txn->absent;
    struct look *look;

    if (!a) {
        a = txn->absent = lsm_mem_zalloc(db->os, sizeof *txn->absent);
        if (!a)
            return false;
    }
    look = &a->look;
    current_view(a, db);
    if (!is_aimed(a, txn, tree, key, hash) && !begin(a, txn, tree, key, hash))
        return false;
    look->begun = false;
    for (uint32_t i = 0; i < look->count; i++)
        if (!lsm_table_probe_aim(&look->probes[i], hash))
            return false;
    if (!units_lack(a, key))
        return false;
    for (uint32_t i = 0; i < look->count; i++)
        if (lsm_table_probe_passes(&look->probes[i], hash))
            return false;
    if (look->count)
        lsm_tables_count_denied(db->tables, look->count);
    return true;
}

/*
 * get.c -- one key: from the newest place to the oldest, the first version or
 * range delete that the reader sees decides. Sequences of the places do not interleave: own
 * writes, units, level 0 by age, deeper levels.
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

struct search {
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_slice key;
    uint64_t hash;
    bool has_hash, no_cache;
    struct lsm_view_point at;
    uint64_t gone;              /* newest range delete seen in the place that is searched; 0: none */
    uint64_t tag;               /* of what was found */
    struct lsm_slice value;
    struct lsm_table_pin pin;
    struct lsm_memtable *mem;   /* where it was found: to be referenced */
};

static uint64_t hash_of(struct search *s)
{
    if (!s->has_hash) {
        s->hash = lsm_filter_hash(s->key);
        s->has_hash = true;
    }
    return s->hash;
}

/* A place with range deletes was searched: is what it has of the key, and all that is older, gone?
   Then that is what was found. */
static int bury(struct search *s, int rc)
{
    if (s->gone == 0 || (rc == LSM_OK && lsm_tag_seq(s->tag) > s->gone) ||
        (rc != LSM_OK && rc != LSM_NOTFOUND))
        return rc;
    lsm_table_unpin(&s->pin);
    s->mem = NULL;
    s->tag = lsm_tag(s->gone, LSM_KIND_DELETE);
    return LSM_OK;
}

static void see_ranges(struct search *s, const struct lsm_memtable *mem, uint64_t seq_max,
                       uint64_t seq_add)
{
    struct lsm_stretch stretch;

    lsm_memtable_range_at(mem, s->tree->id, s->tree->cmp, s->key, seq_max, seq_add, &stretch);
    s->gone = stretch.seq;
}

static int search_run(struct search *s, const struct lsm_run *run, uint64_t seq_max)
{
    const struct lsm_table_meta *m = &run->meta;
    struct lsm_table *table;
    int rc;

    if (m->tree != s->tree->id || lsm_key_compare(s->tree->cmp, s->key, m->smallest) < 0 ||
        lsm_key_compare(s->tree->cmp, s->key, m->largest) > 0)
        return LSM_NOTFOUND;
    rc = lsm_tables_get(s->db->tables, m, s->tree->cmp, &table);
    if (rc)
        return rc;
    rc = lsm_table_get(table, s->key, hash_of(s), seq_max, s->no_cache, &s->tag, &s->value, &s->pin);
    if (m->range_deletes) {
        struct lsm_stretch stretch;
        lsm_table_range_at(table, s->key, seq_max, &stretch);
        s->gone = stretch.seq;
        rc = bury(s, rc);
    }
    lsm_table_unref(table);
    return rc;
}

static int search_own(struct search *s, const struct lsm_txn *own)
{
    if (own->batch.mem) {
        struct lsm_memtable *mem = own->batch.mem;
        int rc = LSM_NOTFOUND;
        if (lsm_memtable_get(mem, s->tree->id, s->tree->cmp, s->key, s->at.own_max, LSM_SEQ_OWN, &s->tag,
                             &s->value)) {
            s->mem = mem;
            rc = LSM_OK;
        }
        if (lsm_memtable_has_ranges(mem)) {
            see_ranges(s, mem, s->at.own_max, LSM_SEQ_OWN);
            rc = bury(s, rc);
        }
        if (rc == LSM_OK)
            return rc;
    }
    for (uint32_t i = own->run_count; i-- > 0;) {
        int rc = search_run(s, own->runs[i], s->at.own_max);
        if (rc != LSM_NOTFOUND)
            return rc;
    }
    return LSM_NOTFOUND;
}

static int search_view(struct search *s, const struct lsm_view *view)
{
    const struct lsm_tree_version *tv = lsm_version_tree(view->version, s->tree->id);
    const struct lsm_unit *unit = view->newest;
    int rc;

    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older) {
        if (unit->mem && atomic_load_explicit(&unit->has_ranges, memory_order_acquire))
            see_ranges(s, unit->mem, s->at.seq_max, unit->seq_add);
        if (unit->mem &&
            (s->tree->cmp || lsm_memfilter_may_contain(&unit->filter, s->tree->id, hash_of(s))) &&
            lsm_memtable_get(unit->mem, s->tree->id, s->tree->cmp, s->key, s->at.seq_max,
                                          unit->seq_add, &s->tag, &s->value)) {
            s->mem = unit->mem;
            return bury(s, LSM_OK);
        }
        if (__builtin_expect(s->gone != 0, 0))
            return bury(s, LSM_NOTFOUND);
        for (uint32_t k = 0; k < unit->run_count; k++) {
            rc = search_run(s, unit->runs[k], s->at.seq_max);
            if (rc != LSM_NOTFOUND)
                return rc;
        }
    }
    if (!tv)
        return LSM_NOTFOUND;
    for (uint32_t k = 0; k < tv->level[0].count; k++) {
        rc = search_run(s, tv->level[0].runs[k], s->at.seq_max);
        if (rc != LSM_NOTFOUND)
            return rc;
    }
    for (uint32_t i = 1; i < LSM_LEVEL_COUNT_MAX; i++) {
        const struct lsm_level *level = &tv->level[i];
        uint32_t k = level->count ? lsm_level_find(level, s->tree->cmp, s->key) : 0;
        if (k == level->count)
            continue;
        rc = search_run(s, level->runs[k], s->at.seq_max);
        if (rc != LSM_NOTFOUND)
            return rc;
    }
    return LSM_NOTFOUND;
}

/* What keeps a value's bytes: a block (entry, cache) or a memtable. */
enum { PIN_ENTRY, PIN_CACHE, PIN_MEMTABLE };

int lsm_tree_get(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_slice key,
                 struct lsm_value *value)
{
    struct lsm_db *db = tree->db;
    struct search s = { .db = db, .tree = tree, .key = key };
    struct lsm_view *view;
    int rc = lsm_db_usable(db);

    memset(value, 0, sizeof *value);
    if (rc)
        return rc;
    atomic_fetch_add_explicit(&db->counters.gets, 1, memory_order_relaxed);
    s.no_cache = read && read->no_cache;
    view = lsm_view_current(db);
    lsm_view_point(db, read, &s.at);
    rc = read && read->txn ? search_own(&s, read->txn) : LSM_NOTFOUND;
    if (rc == LSM_NOTFOUND)
        rc = search_view(&s, view);
    if (rc == LSM_OK && lsm_tag_kind(s.tag) == LSM_KIND_DELETE) {
        lsm_table_unpin(&s.pin);
        rc = LSM_NOTFOUND;
    }
    if (rc == LSM_OK) {
        atomic_fetch_add_explicit(&db->counters.get_hits, 1, memory_order_relaxed);
        value->bytes = s.value;
        if (s.mem) {
            lsm_memtable_ref(s.mem);
            value->pin[PIN_MEMTABLE] = s.mem;
        } else {
            value->pin[PIN_ENTRY] = s.pin.entry;
            value->pin[PIN_CACHE] = s.pin.cache;
        }
    }
    lsm_view_unref(view);
    return rc;
}

void lsm_value_release(struct lsm_value *value)
{
    if (value->pin[PIN_MEMTABLE])
        lsm_memtable_unref(value->pin[PIN_MEMTABLE]);
    if (value->pin[PIN_ENTRY]) {
        struct lsm_table_pin pin = { value->pin[PIN_CACHE], value->pin[PIN_ENTRY] };
        lsm_table_unpin(&pin);
    }
    memset(value, 0, sizeof *value);
}

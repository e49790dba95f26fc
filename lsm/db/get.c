/*
 * get.c -- one key: from the newest place to the oldest, the first version or
 * range delete that the reader sees decides. Sequences of the places do not interleave: own
 * writes, units, level 0 by age, deeper levels.
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

#define KEPT_TABLES 16u                 /* slots, by number */

/* What one search of many leaves for the next, which is for a key behind it. */
struct places {
    struct lsm_table *table[KEPT_TABLES];
    uint64_t number[KEPT_TABLES];       /* with what is added to its sequences, as one table is two then */
    uint64_t seq_add[KEPT_TABLES];
    uint32_t level_at[LSM_LEVEL_COUNT_MAX];     /* no run before it has a key that is still to come */
};

struct search {
    struct places *places;      /* NULL: a single key */
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_slice key;
    uint64_t hash;
    bool has_hash, no_cache;
    bool is_counted;            /* db/vain.c hears of it */
    uint32_t searched;          /* tables */
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
        s->hash = lsm_filter_key_hash(s->tree->cmp, s->key);
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

/* *keep: it stays the run's, or the places'. */
static int get_table(struct search *s, struct lsm_run *run, bool is_versions, struct lsm_table **table, bool *keep)
{
    const struct lsm_table_meta *m = &run->meta;
    struct places *places = s->places;
    uint32_t slot = (uint32_t)(m->number % KEPT_TABLES);
    int rc;

    *keep = true;
    if (places && places->table[slot] && places->number[slot] == m->number &&
        places->seq_add[slot] == m->seq_add) {
        *table = places->table[slot];
        return LSM_OK;
    }
    *keep = false;
    rc = is_versions ? lsm_tables_get_kept(s->db->tables, m, s->tree->cmp, &run->table, table, keep)
                     : lsm_tables_get(s->db->tables, m, s->tree->cmp, table);
    if (rc || *keep || !places)
        return rc;
    *keep = true;
    lsm_table_unref(places->table[slot]);
    places->table[slot] = *table;
    places->number[slot] = m->number;
    places->seq_add[slot] = m->seq_add;
    return LSM_OK;
}

/* is_versions: else its sequences may have been others, when its transaction read it. */
static int search_run(struct search *s, struct lsm_run *run, bool is_versions, uint64_t seq_max)
{
    const struct lsm_table_meta *m = &run->meta;
    struct lsm_table *table;
    bool keep;
    int rc;

    if (m->tree != s->tree->id || lsm_key_compare(s->tree->cmp, s->key, m->smallest) < 0 ||
        lsm_key_compare(s->tree->cmp, s->key, m->largest) > 0)
        return LSM_NOTFOUND;
    s->searched++;
    rc = get_table(s, run, is_versions, &table, &keep);
    if (rc)
        return rc;
    rc = lsm_table_get(table, s->key, hash_of(s), seq_max, s->no_cache, &s->tag, &s->value, &s->pin);
    if (m->range_deletes) {
        struct lsm_stretch stretch;
        lsm_table_range_at(table, s->key, seq_max, &stretch);
        s->gone = stretch.seq;
        rc = bury(s, rc);
    }
    if (rc == LSM_NOTFOUND && s->is_counted)
        lsm_vain_get(s->db, s->tree, run);
    if (!keep)
        lsm_table_unref(table);
    return rc;
}

/* The run of a sorted level that may have the key; level->count: none. */
static uint32_t find_run(struct search *s, const struct lsm_level *level, uint32_t number)
{
    uint32_t at;

    if (level->count == 0)
        return 0;
    if (!s->places)
        return lsm_level_find(level, s->tree->cmp, s->key);
    at = s->places->level_at[number];
    if (at < level->count && lsm_key_compare(s->tree->cmp, level->runs[at]->meta.largest, s->key) < 0)
        at = lsm_level_find(level, s->tree->cmp, s->key);
    s->places->level_at[number] = at;
    return at;
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
    if (own->has_cut) {
        int rc = lsm_txn_trim((struct lsm_txn *)own);
        if (rc)
            return rc;
    }
    for (uint32_t i = own->run_count; i-- > 0;) {
        int rc = search_run(s, own->runs[i], false, s->at.own_max);
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
            (!lsm_filter_is_possible(s->tree->cmp) || lsm_memfilter_may_contain(&unit->filter, s->tree->id, hash_of(s))) &&
            lsm_memtable_get(unit->mem, s->tree->id, s->tree->cmp, s->key, s->at.seq_max,
                                          unit->seq_add, &s->tag, &s->value)) {
            s->mem = unit->mem;
            return bury(s, LSM_OK);
        }
        if (__builtin_expect(s->gone != 0, 0))
            return bury(s, LSM_NOTFOUND);
        for (uint32_t k = 0; k < unit->run_count; k++) {
            rc = search_run(s, unit->runs[k], false, s->at.seq_max);
            if (rc != LSM_NOTFOUND)
                return rc;
        }
    }
    if (!tv)
        return LSM_NOTFOUND;
    for (uint32_t k = 0; k < tv->level[0].count; k++) {
        rc = search_run(s, tv->level[0].runs[k], true, s->at.seq_max);
        if (rc != LSM_NOTFOUND)
            return rc;
    }
    for (uint32_t i = 1; i < LSM_LEVEL_COUNT_MAX; i++) {
        const struct lsm_level *level = &tv->level[i];
        uint32_t k = find_run(s, level, i);
        if (k == level->count)
            continue;
        rc = search_run(s, level->runs[k], true, s->at.seq_max);
        if (rc != LSM_NOTFOUND)
            return rc;
    }
    return LSM_NOTFOUND;
}

/* What keeps a value's bytes: a block (entry, cache), a memtable, memory of their own (cache is the
   os then, and there is no entry), or a buffer for values (entry: its bytes, cache: how many). The store is
   told when it goes. */
enum { PIN_ENTRY, PIN_CACHE, PIN_MEMTABLE, PIN_VLOGS, PIN_DB };

void lsm_value_give(struct lsm_value *value, struct lsm_slice bytes, struct lsm_vlogs *vlogs, struct lsm_buf *buf)
{
    value->bytes = bytes;
    value->pin[PIN_ENTRY] = buf->data;
    value->pin[PIN_CACHE] = (void *)(uintptr_t)buf->cap;
    value->pin[PIN_VLOGS] = vlogs;
    lsm_buf_init(buf, buf->os);
}

/* What was found is a handle: its value, in memory of its own. */
static int fetch_value(struct search *s, const struct lsm_view *view, const struct lsm_txn *own,
                       struct lsm_value *value)
{
    const struct lsm_value_source from = { .view = view, .own = own };
    struct lsm_vlogs *vlogs = s->db->vlogs;
    struct lsm_buf scratch, out;
    int rc;

    lsm_vlogs_take_buf(vlogs, &out);
    lsm_vlogs_take_buf(vlogs, &scratch);
    rc = lsm_value_read(s->db, &from, s->value, &scratch, &out, &value->bytes);
    lsm_vlogs_give_buf(vlogs, &scratch);
    lsm_table_unpin(&s->pin);
    if (rc) {
        lsm_vlogs_give_buf(vlogs, &out);
        return rc;
    }
    lsm_value_give(value, value->bytes, vlogs, &out);
    return LSM_OK;
}

static int get_one(struct search *s, const struct lsm_view *view, const struct lsm_txn *own,
                   struct lsm_value *value)
{
    int rc = LSM_NOTFOUND;

    if (atomic_load(&s->tree->dropped))     /* its rows are in memory still */
        return LSM_NOTFOUND;
    if (own)
        rc = search_own(s, own);
    if (rc == LSM_NOTFOUND)
        rc = search_view(s, view);
    if (rc == LSM_OK && lsm_tag_kind(s->tag) == LSM_KIND_DELETE) {
        lsm_table_unpin(&s->pin);
        rc = LSM_NOTFOUND;
    }
    if (rc)
        return rc;
    value->bytes = s->value;
    if (lsm_tag_kind(s->tag) == LSM_KIND_VLOG) {
        rc = fetch_value(s, view, own, value);
        if (rc)
            return rc;
    } else if (s->mem) {
        lsm_memtable_ref(s->mem);
        value->pin[PIN_MEMTABLE] = s->mem;
    } else {
        value->pin[PIN_ENTRY] = s->pin.entry;
        value->pin[PIN_CACHE] = s->pin.cache;
    }
    value->pin[PIN_DB] = s->db;
    atomic_fetch_add_explicit(&s->db->counters.get_hits, 1, memory_order_relaxed);
    return LSM_OK;
}

int lsm_tree_get(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_slice key,
                 struct lsm_value *value)
{
    struct lsm_db *db = tree->db;
    struct search s = { .db = db, .tree = tree, .key = key };
    struct lsm_view *view;
    uint64_t begun;
    bool timed;
    int rc = lsm_read_usable(db, read);

    memset(value, 0, sizeof *value);
    if (rc)
        return rc;
    timed = atomic_fetch_add_explicit(&db->counters.gets, 1, memory_order_relaxed) % LSM_LATENCY_SAMPLE == 0;
    begun = timed ? db->os->mono_us(db->os) : 0;
    s.is_counted = timed;
    s.no_cache = read && read->no_cache;
    view = lsm_view_current(db);
    lsm_view_point(db, read, &s.at);
    rc = get_one(&s, view, read ? read->txn : NULL, value);
    lsm_view_unref(view);
    if (timed) {
        lsm_histogram_add(&db->counters.latency[LSM_LATENCY_GET], db->os->mono_us(db->os) - begun);
        atomic_fetch_add_explicit(&db->counters.tables_searched, s.searched, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.gets_timed, 1, memory_order_relaxed);
    }
    return rc;
}

/* ---- many ---- */

struct wanted {
    uint64_t prefix;
    size_t index;
};

static bool is_before(const struct lsm_tree *tree, const struct lsm_slice *keys, const struct wanted *a,
                      const struct wanted *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    return lsm_key_compare(tree->cmp, keys[a->index], keys[b->index]) < 0;
}

/* Heap sort: in place, and never slow. */
static void sift(const struct lsm_tree *tree, const struct lsm_slice *keys, struct wanted *w, size_t i,
                 size_t count)
{
    struct wanted moved = w[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_before(tree, keys, &w[child], &w[child + 1]))
            child++;
        if (!is_before(tree, keys, &moved, &w[child]))
            break;
        w[i] = w[child];
        i = child;
    }
    w[i] = moved;
}

/* The order in which to look; NULL: as they come, which is ascending already, or there is no memory. */
static struct wanted *sort_keys(struct lsm_tree *tree, const struct lsm_slice *keys, size_t count,
                                bool *ascending)
{
    struct wanted *w;

    *ascending = true;
    for (size_t i = 1; i < count && *ascending; i++)
        *ascending = lsm_key_compare(tree->cmp, keys[i - 1], keys[i]) <= 0;
    if (*ascending || count > SIZE_MAX / sizeof *w)
        return NULL;
    w = lsm_mem_alloc(tree->db->os, count * sizeof *w);
    if (!w)
        return NULL;
    for (size_t i = 0; i < count; i++)
        w[i] = (struct wanted){ tree->cmp ? 0 : lsm_slice_prefix(keys[i]), i };
    for (size_t i = count / 2; i-- > 0;)
        sift(tree, keys, w, i, count);
    for (size_t n = count; n-- > 1;) {
        struct wanted largest = w[0];
        w[0] = w[n];
        w[n] = largest;
        sift(tree, keys, w, 0, n);
    }
    *ascending = true;
    return w;
}

int lsm_tree_get_many(struct lsm_tree *tree, const struct lsm_read *read, const struct lsm_slice *keys,
                      size_t count, struct lsm_value *values, int *codes)
{
    struct lsm_db *db = tree->db;
    struct places places = { .level_at = { 0 } };
    struct lsm_view_point at;
    struct lsm_view *view;
    struct wanted *order;
    bool ascending;
    int failed = lsm_read_usable(db, read);

    for (size_t i = 0; i < count; i++) {
        memset(&values[i], 0, sizeof values[i]);
        codes[i] = failed;
    }
    if (failed || count == 0)
        return failed;
    order = sort_keys(tree, keys, count, &ascending);
    atomic_fetch_add_explicit(&db->counters.gets, count, memory_order_relaxed);
    view = lsm_view_current(db);
    lsm_view_point(db, read, &at);
    for (size_t i = 0; i < count; i++) {
        size_t k = order ? order[i].index : i;
        struct search s = { .db = db, .tree = tree, .key = keys[k], .at = at,
                            .no_cache = read && read->no_cache, .places = ascending ? &places : NULL };
        codes[k] = failed ? failed : get_one(&s, view, read ? read->txn : NULL, &values[k]);
        if (codes[k] != LSM_OK && codes[k] != LSM_NOTFOUND)
            failed = codes[k];
    }
    for (uint32_t i = 0; i < KEPT_TABLES; i++)
        lsm_table_unref(places.table[i]);
    lsm_view_unref(view);
    lsm_mem_free(db->os, order);
    return failed;
}

/* ---- values ---- */

void lsm_value_set(struct lsm_value *value, struct lsm_slice bytes, const struct lsm_iter_pin *pin)
{
    value->bytes = bytes;
    value->pin[PIN_MEMTABLE] = pin->mem;
    value->pin[PIN_ENTRY] = pin->entry;
    value->pin[PIN_CACHE] = pin->cache;
}

int lsm_value_copy(struct lsm_os *os, struct lsm_value *value, struct lsm_slice bytes)
{
    uint8_t *copy = lsm_mem_alloc(os, bytes.size ? bytes.size : 1);

    if (!copy)
        return lsm_nomem();
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    *value = (struct lsm_value){ { copy, bytes.size }, { [PIN_CACHE] = os } };
    return LSM_OK;
}

void lsm_value_is_pinned(struct lsm_value *value, struct lsm_db *db)
{
    value->pin[PIN_DB] = db;
    atomic_fetch_add_explicit(&db->counters.values_pinned, 1, memory_order_relaxed);
}

uint64_t lsm_values_held(const struct lsm_db *db)
{
    return atomic_load(&db->counters.get_hits) + atomic_load(&db->counters.values_pinned) -
           atomic_load(&db->counters.values_released);
}

void lsm_value_release(struct lsm_value *value)
{
    struct lsm_db *db = value->pin[PIN_DB];

    if (value->pin[PIN_MEMTABLE]) {
        lsm_memtable_unref(value->pin[PIN_MEMTABLE]);
    } else if (value->pin[PIN_VLOGS]) {
        struct lsm_buf buf;
        lsm_buf_init(&buf, NULL);
        buf.data = value->pin[PIN_ENTRY];
        buf.cap = (size_t)(uintptr_t)value->pin[PIN_CACHE];
        lsm_vlogs_give_buf(value->pin[PIN_VLOGS], &buf);
    } else if (value->pin[PIN_ENTRY]) {
        struct lsm_table_pin pin = { value->pin[PIN_CACHE], value->pin[PIN_ENTRY] };
        lsm_table_unpin(&pin);
    } else if (value->pin[PIN_CACHE]) {
        lsm_mem_free(value->pin[PIN_CACHE], (void *)value->bytes.data);
    }
    /* Last: with it the store may be closed. */
    if (db)
        atomic_fetch_add_explicit(&db->counters.values_released, 1, memory_order_release);
    memset(value, 0, sizeof *value);
}

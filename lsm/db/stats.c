/*
 * stats.c -- what the store can say about itself, and the check of all of it.
 */
#include "lsm/db/db.h"

static const char *const latency_name[LSM_LATENCY_COUNT] = {
    "get", "seek", "commit", "sync", "flush", "compaction", "stall", "put", "next", "prepare"
};

/* What lsm_db_stats says of each. */
static const char *const latency_stat[LSM_LATENCY_COUNT][6] = {
#define LATENCY(name)                                                          \
    { name "_p50_us", name "_p99_us", name "_p999_us", name "_max_us", name "_timed", name "_total_us" }
    LATENCY("get"), LATENCY("seek"), LATENCY("commit"), LATENCY("sync"), LATENCY("flush"),
    LATENCY("compaction"), LATENCY("stall"), LATENCY("put"), LATENCY("next"), LATENCY("prepare")
#undef LATENCY
};

size_t lsm_db_latencies(struct lsm_db *db, struct lsm_latency *latencies, size_t count)
{
    for (size_t i = 0; i < LSM_LATENCY_COUNT && i < count; i++) {
        const struct lsm_histogram *h = &db->counters.latency[i];
        latencies[i] = (struct lsm_latency){
            latency_name[i], lsm_histogram_count(h), atomic_load(&h->total), lsm_histogram_quantile(h, 500),
            lsm_histogram_quantile(h, 990), lsm_histogram_quantile(h, 999), atomic_load(&h->max)
        };
    }
    return LSM_LATENCY_COUNT;
}

size_t lsm_db_histogram(struct lsm_db *db, const char *name, struct lsm_bucket *buckets, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < LSM_LATENCY_COUNT; i++)
        for (uint32_t b = 0; strcmp(latency_name[i], name) == 0 && b < LSM_HISTOGRAM_BUCKETS; b++) {
            uint64_t found = atomic_load_explicit(&db->counters.latency[i].bucket[b], memory_order_relaxed);

            if (found && n++ < count)
                buckets[n - 1] = (struct lsm_bucket){ lsm_histogram_bucket_end(b), found };
        }
    return n;
}

/* 100 * a / b; 0 where nothing was done. */
static uint64_t percent(uint64_t a, uint64_t b)
{
    return b ? (uint64_t)((double)a * 100 / (double)b + 0.5) : 0;
}

/* The names are part of the interface: append, never change. */
size_t lsm_db_stats(struct lsm_db *db, struct lsm_stat *stats, size_t count)
{
    struct lsm_cache_stats cache;
    struct lsm_counters *c = &db->counters;
    uint64_t memtables, tables_memory = lsm_tables_memory(db->tables), log_bytes, snapshots = 0, trees = 0;
    uint64_t table_bytes = 0, table_count = 0, raw = 0, raw_deepest = 0, written, singles, user;
    struct lsm_latency latency[LSM_LATENCY_COUNT];
    struct lsm_tables_stats tables;
    uint64_t vlog_count = 0, vlog_bytes = 0, live = 0, dead = 0;
    size_t n = 0;

    lsm_tables_stats(db->tables, &tables);
    lsm_db_latencies(db, latency, LSM_LATENCY_COUNT);
    lsm_cache_stats(db->cache, &cache);
    lsm_db_lock(db);
    memtables = lsm_view_memory(db->view);
    log_bytes = atomic_load(&db->log_size);
    for (struct lsm_snapshot *s = db->oldest_snapshot; s; s = s->next)
        snapshots++;
    for (uint32_t t = 0; t < db->tree_count; t++)
        trees += !atomic_load(&db->trees[t]->dropped);
    for (uint32_t t = 0; t < db->view->version->tree_count; t++) {
        uint64_t deepest = 0;
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            uint64_t here = 0;
            for (uint32_t i = 0; i < db->view->version->trees[t]->level[l].count; i++)
                here += db->view->version->trees[t]->level[l].runs[i]->meta.raw_bytes;
            raw += here;
            deepest = here ? here : deepest;
            table_bytes += db->view->version->trees[t]->level[l].bytes;
            table_count += db->view->version->trees[t]->level[l].count;
        }
        raw_deepest += deepest;
    }
    for (uint32_t i = 0; i < db->view->version->vlog_count; i++) {
        const struct lsm_version_vlog *v = &db->view->version->vlogs[i];
        vlog_count++;
        vlog_bytes += v->file->meta.size_bytes;
        live += v->live_bytes;
        if (v->file->meta.value_bytes > v->live_bytes)
            dead += v->file->meta.value_bytes - v->live_bytes;
    }
    lsm_db_unlock(db);

#define STAT(name_, value_, unit_)                                             \
    do {                                                                       \
        if (n < count)                                                         \
            stats[n] = (struct lsm_stat){ name_, value_, unit_ };              \
        n++;                                                                   \
    } while (0)
#define COUNTER(field) atomic_load_explicit(&c->field, memory_order_relaxed)

    singles = COUNTER(single_puts) + COUNTER(single_deletes);
    user = COUNTER(user_bytes) + COUNTER(single_bytes);

    STAT("puts", COUNTER(puts) + COUNTER(single_puts), "count");
    STAT("deletes", COUNTER(deletes) + COUNTER(single_deletes), "count");
    STAT("gets", COUNTER(gets), "count");
    STAT("get_hits", COUNTER(get_hits), "count");
    STAT("seeks", COUNTER(seeks), "count");
    STAT("commits_solo", COUNTER(commits_solo) + singles, "count");
    STAT("commits_joint", COUNTER(commits_joint), "count");
    STAT("records_carried", COUNTER(records_carried), "count");
    STAT("aborts", COUNTER(aborts), "count");
    STAT("log_bytes_written", COUNTER(log_bytes), "bytes");
    STAT("log_bytes_mapped", COUNTER(log_bytes_mapped), "bytes");
    STAT("log_syncs", COUNTER(log_syncs), "count");
    STAT("settles", COUNTER(settles), "count");
    STAT("flushes", COUNTER(flushes), "count");
    STAT("flush_bytes_written", COUNTER(flush_bytes), "bytes");
    STAT("compactions", COUNTER(compactions), "count");
    STAT("compact_bytes_read", COUNTER(compact_bytes_read), "bytes");
    STAT("compact_bytes_copied", COUNTER(compact_bytes_copied), "bytes");
    STAT("compact_bytes_whole", COUNTER(compact_bytes_whole), "bytes");
    STAT("compact_bytes_written", COUNTER(compact_bytes_written), "bytes");
    STAT("moves", COUNTER(moves), "count");
    STAT("stall_us", COUNTER(stall_us), "us");
    STAT("sequence", atomic_load(&db->seq_published), "count");
    STAT("snapshots", snapshots, "count");
    STAT("memory_budget", db->memory_bytes, "bytes");
    STAT("memory_used", db->os->mem_used(db->os), "bytes");
    STAT("memtable_bytes", memtables, "bytes");
    STAT("batch_bytes", atomic_load(&db->batch_memory), "bytes");
    STAT("table_memory", tables_memory, "bytes");
    STAT("cache_capacity", cache.capacity_bytes, "bytes");
    STAT("cache_used", cache.used_bytes, "bytes");
    STAT("cache_pinned", cache.pinned_bytes, "bytes");
    STAT("cache_hits", cache.hits, "count");
    STAT("cache_misses", cache.misses, "count");
    STAT("cache_evictions", cache.evictions, "count");
    STAT("log_size", log_bytes, "bytes");
    STAT("trees", trees, "count");
    STAT("tables", table_count, "count");
    STAT("table_bytes", table_bytes, "bytes");
    STAT("rows_passed_over", COUNTER(rows_passed_over), "count");
    STAT("range_deletes", COUNTER(range_deletes), "count");
    STAT("tables_dropped", COUNTER(tables_dropped), "count");
    STAT("rows_ingested", COUNTER(rows_ingested), "count");
    STAT("commit_groups", COUNTER(commit_groups) + singles, "count");
    STAT("memory_held", db->os->mem_held ? db->os->mem_held(db->os) : db->os->mem_used(db->os), "bytes");
    written = COUNTER(log_bytes) + COUNTER(flush_bytes) + COUNTER(spill_bytes) + COUNTER(compact_bytes_written) +
              COUNTER(vlog_bytes_rewritten);
    STAT("user_bytes_written", user, "bytes");
    STAT("spill_bytes_written", COUNTER(spill_bytes), "bytes");
    STAT("write_amplification", percent(written, user), "percent");
    STAT("space_amplification", percent(raw, raw_deepest), "percent");
    STAT("read_amplification", percent(COUNTER(tables_searched), COUNTER(gets_timed)), "percent");
    STAT("block_reads", tables.block_reads, "count");
    STAT("block_bytes_read", tables.block_bytes, "bytes");
    STAT("filter_denied", tables.filter_denied, "count");
    STAT("filter_wrong", tables.filter_wrong, "count");
    STAT("tables_open", tables.open, "count");
    for (size_t i = 0; i < LSM_LATENCY_COUNT; i++) {
        STAT(latency_stat[i][0], latency[i].p50_us, "us");
        STAT(latency_stat[i][1], latency[i].p99_us, "us");
        STAT(latency_stat[i][2], latency[i].p999_us, "us");
        STAT(latency_stat[i][3], latency[i].max_us, "us");
        STAT(latency_stat[i][4], latency[i].count, "count");
        STAT(latency_stat[i][5], latency[i].total_us, "us");
    }
    STAT("value_logs", vlog_count, "count");
    STAT("value_log_bytes", vlog_bytes, "bytes");
    STAT("value_bytes_live", live, "bytes");
    STAT("value_bytes_garbage", dead, "bytes");
    STAT("value_logs_rewritten", COUNTER(vlog_rewrites), "count");
    STAT("value_bytes_rewritten", COUNTER(vlog_bytes_rewritten), "bytes");
    STAT("value_log_memory", lsm_vlogs_memory(db->vlogs), "bytes");
    STAT("nexts", COUNTER(nexts), "count");
    STAT("prepares", COUNTER(prepares), "count");
    STAT("values_held", lsm_values_held(db), "count");
    STAT("subcompactions", COUNTER(subcompactions), "count");
#undef STAT
#undef COUNTER
    return n;
}

int lsm_tree_stats(struct lsm_tree *tree, struct lsm_tree_stats *stats)
{
    struct lsm_db *db = tree->db;
    const struct lsm_tree_version *tv;
    const struct lsm_unit *unit;
    uint64_t tombstones = 0;
    int rc = lsm_db_usable(db);

    memset(stats, 0, sizeof *stats);
    if (rc)
        return rc;
    lsm_db_lock(db);
    tv = lsm_version_tree(db->view->version, tree->id);
    for (uint32_t l = 0; tv && l < LSM_LEVEL_COUNT_MAX; l++) {
        struct lsm_level_stats *s = &stats->level[l];
        for (uint32_t i = 0; i < tv->level[l].count; i++) {
            const struct lsm_table_meta *m = &tv->level[l].runs[i]->meta;
            s->files++;
            s->bytes += m->size_bytes;
            s->raw_bytes += m->raw_bytes;
            s->entries += m->entries;
            s->tombstones += m->tombstones;
            s->range_deletes += m->range_deletes;
        }
        s->runs = l == 0 ? s->files : s->files > 0;
        s->score = lsm_level_score(&db->policy, tv, l);
        if (s->files)
            stats->level_count = l + 1;
        stats->bytes += s->bytes;
        stats->entries += s->entries;
        tombstones += s->tombstones;
    }
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
        stats->level[l].jobs = atomic_load_explicit(&tree->work[l].jobs, memory_order_relaxed);
        stats->level[l].bytes_read = atomic_load_explicit(&tree->work[l].bytes_read, memory_order_relaxed);
        stats->level[l].bytes_written = atomic_load_explicit(&tree->work[l].bytes_written, memory_order_relaxed);
        if (stats->level[l].jobs && stats->level_count <= l)
            stats->level_count = l + 1;
    }
    for (uint32_t i = 0; i < db->view->version->vlog_count; i++)
        if (db->view->version->vlogs[i].file->meta.tree == tree->id)
            stats->bytes += db->view->version->vlogs[i].file->meta.size_bytes;
    unit = db->view->newest;
    for (uint32_t i = 0; i < db->view->unit_count; i++, unit = unit->older)
        if (unit->mem)
            stats->entries += lsm_memtable_tree_rows(unit->mem, tree->id);
    lsm_db_unlock(db);
    /* A tombstone and what it hides. */
    stats->entries = stats->entries > 2 * tombstones ? stats->entries - 2 * tombstones : 0;
    return LSM_OK;
}

void lsm_level_worked(struct lsm_tree *tree, uint32_t level, uint64_t bytes_read, uint64_t bytes_written)
{
    struct lsm_level_work *w = &tree->work[level];

    atomic_fetch_add_explicit(&w->jobs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes_read, bytes_read, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes_written, bytes_written, memory_order_relaxed);
}

static void add_level(struct lsm_level_stats *to, const struct lsm_level_stats *s)
{
    to->files += s->files;
    to->bytes += s->bytes;
    to->raw_bytes += s->raw_bytes;
    to->entries += s->entries;
    to->tombstones += s->tombstones;
    to->score = s->score > to->score ? s->score : to->score;
    to->runs = s->runs > to->runs ? s->runs : to->runs;
    to->range_deletes += s->range_deletes;
    to->jobs += s->jobs;
    to->bytes_read += s->bytes_read;
    to->bytes_written += s->bytes_written;
}

int lsm_db_levels(struct lsm_db *db, struct lsm_tree_stats *stats)
{
    int rc = lsm_db_usable(db);

    memset(stats, 0, sizeof *stats);
    for (uint32_t i = 0; rc == LSM_OK; i++) {
        struct lsm_tree *tree = lsm_tree_at(db, i);
        struct lsm_tree_stats one;

        if (!tree)
            break;
        rc = lsm_tree_stats(tree, &one);
        if (atomic_load(&tree->dropped))
            one.bytes = one.entries = 0;        /* what was written for it was written all the same */
        stats->level_count = one.level_count > stats->level_count ? one.level_count : stats->level_count;
        stats->entries += one.entries;
        stats->bytes += one.bytes;
        for (uint32_t l = 0; l < one.level_count; l++)
            add_level(&stats->level[l], &one.level[l]);
    }
    return rc;
}

/* ---- a range of keys ---- */

#define WALK_MAX 4096u          /* rows of a memtable that are counted one by one */

/* `lower` and `upper`: NULL data: no bound. */
struct span {
    const struct lsm_tree *tree;
    struct lsm_slice lower, upper;
};

/* Of the values that its rows have in value logs. */
static uint64_t value_bytes(const struct lsm_table_meta *m)
{
    struct lsm_reader r = lsm_reader(m->refs);
    struct lsm_vlog_ref ref;
    uint64_t bytes = 0, last = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last))
        bytes += ref.bytes;
    return bytes;
}

/* From `from` to `to` of a table. Blocks that lie between them are not read: of what is not in the two that were, they
   have the share that their bytes have. */
static void add_between(const struct lsm_table_place *from, const struct lsm_table_place *to, uint64_t data_bytes,
                        uint64_t rows, uint64_t values, struct lsm_approximate *sum)
{
    uint64_t middle = from->off + from->block.bytes, read_bytes = from->block.bytes + to->block.bytes;
    double share;

    if (to->off < middle) {     /* one block */
        sum->bytes += to->before.bytes - from->before.bytes + to->before.value_bytes - from->before.value_bytes;
        sum->rows += to->before.rows - from->before.rows;
        return;
    }
    share = data_bytes > read_bytes ? (double)(to->off - middle) / (double)(data_bytes - read_bytes) : 0;
    rows -= rows < from->block.rows + to->block.rows ? rows : from->block.rows + to->block.rows;
    values -= values < from->block.value_bytes + to->block.value_bytes ? values :
              from->block.value_bytes + to->block.value_bytes;
    sum->bytes += to->off + to->before.bytes - from->off - from->before.bytes +
                  from->block.value_bytes - from->before.value_bytes + to->before.value_bytes +
                  (uint64_t)(share * (double)values);
    sum->rows += from->block.rows - from->before.rows + to->before.rows + (uint64_t)(share * (double)rows);
}

static int add_run(const struct span *span, const struct lsm_run *run, struct lsm_approximate *sum)
{
    const struct lsm_comparator *cmp = span->tree->cmp;
    const struct lsm_table_meta *m = &run->meta;
    bool from_start = !span->lower.data || lsm_key_compare(cmp, span->lower, m->smallest) <= 0;
    bool to_end = !span->upper.data || lsm_key_compare(cmp, span->upper, m->largest) > 0;
    struct lsm_table_place from = { .off = 0 }, to = { .off = 0 };
    uint64_t begin, end, rows = m->entries - m->tombstones;
    struct lsm_table *table;
    int rc;

    if (m->tree != span->tree->id ||
        (span->lower.data && lsm_key_compare(cmp, m->largest, span->lower) < 0) ||
        (span->upper.data && lsm_key_compare(cmp, m->smallest, span->upper) >= 0))
        return LSM_OK;
    if (from_start && to_end) {
        sum->bytes += m->size_bytes + value_bytes(m);
        sum->rows += rows;
        return LSM_OK;
    }
    rc = lsm_tables_get(span->tree->db->tables, m, cmp, &table);
    if (rc)
        return rc;
    lsm_table_data_span(table, &begin, &end);
    from.off = begin;
    to.off = end;
    if (!from_start)
        rc = lsm_table_place(table, span->lower, &from);
    if (rc == LSM_OK && !to_end)
        rc = lsm_table_place(table, span->upper, &to);
    if (rc == LSM_OK)
        add_between(&from, &to, end - begin, rows, value_bytes(m), sum);
    lsm_table_unref(table);
    return rc;
}

static int add_memtable(const struct span *span, struct lsm_memtable *mem, struct lsm_approximate *sum)
{
    uint64_t all = lsm_memtable_tree_rows(mem, span->tree->id);
    struct lsm_iter *it;
    uint32_t walked = 0;
    int rc;

    if (all == 0)
        return LSM_OK;
    if (!span->lower.data && !span->upper.data) {
        sum->rows += all;
        return LSM_OK;
    }
    rc = lsm_memtable_iter_new(mem, span->tree->id, span->tree->cmp, 0, &it);
    if (rc)
        return rc;
    if (span->lower.data)
        lsm_iter_seek(it, span->lower, LSM_TAG_MAX);
    else
        lsm_iter_first(it);
    for (; it->valid && walked < WALK_MAX &&
           (!span->upper.data || lsm_key_compare(span->tree->cmp, it->key, span->upper) < 0);
         lsm_iter_next(it))
        walked++;
    sum->rows += walked < WALK_MAX ? walked : walked + (all - walked) / 2;
    lsm_iter_close(it);
    return LSM_OK;
}

int lsm_tree_approximate(struct lsm_tree *tree, struct lsm_slice lower, struct lsm_slice upper,
                         struct lsm_approximate *sum)
{
    struct span span = { tree, lower, upper };
    const struct lsm_tree_version *tv;
    const struct lsm_unit *unit;
    struct lsm_view *view;
    int rc = lsm_db_usable(tree->db);

    *sum = (struct lsm_approximate){ 0, 0 };
    if (rc || (lower.data && upper.data && lsm_key_compare(tree->cmp, lower, upper) >= 0))
        return rc;
    view = lsm_view_current(tree->db);
    tv = lsm_version_tree(view->version, tree->id);
    unit = view->newest;
    for (uint32_t i = 0; i < view->unit_count && rc == LSM_OK; i++, unit = unit->older) {
        if (unit->mem)
            rc = add_memtable(&span, unit->mem, sum);
        for (uint32_t k = 0; k < unit->run_count && rc == LSM_OK; k++)
            rc = add_run(&span, unit->runs[k], sum);
    }
    for (uint32_t l = 0; tv && l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t k = 0; k < tv->level[l].count && rc == LSM_OK; k++)
            rc = add_run(&span, tv->level[l].runs[k], sum);
    lsm_view_unref(view);
    return rc;
}

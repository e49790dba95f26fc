/*
 * property.c -- what the store can say about itself, as text.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "lsm/db/db.h"
#include "lsm/util/nearest.h"

#define STATS_MAX 160u

struct text {
    char *to;
    size_t size, used;          /* used: also what did not fit */
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *format, ...)
{
    size_t left = t->used < t->size ? t->size - t->used : 0;
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(left ? t->to + t->used : NULL, left, format, ap);
    va_end(ap);
    if (n > 0)
        t->used += (size_t)n;
}

static void put_levels(struct lsm_db *db, struct text *t)
{
    for (uint32_t i = 0;; i++) {
        struct lsm_tree_stats s;
        struct lsm_tree *tree;
        lsm_db_lock(db);
        tree = i < db->tree_count ? db->trees[i] : NULL;
        lsm_db_unlock(db);
        if (!tree)
            return;
        if (atomic_load(&tree->dropped) || lsm_tree_stats(tree, &s))
            continue;
        for (uint32_t l = 0; l < s.level_count; l++)
            put(t, "%.*s level %u: %" PRIu64 " tables, %" PRIu64 " bytes, %" PRIu64 " rows, %" PRIu64
                " of them tombstones, score %.2f; %" PRIu64 " jobs read %" PRIu64 " and wrote %" PRIu64 " bytes\n",
                (int)tree->name.size, (const char *)tree->name.data, l,
                s.level[l].files, s.level[l].bytes, s.level[l].entries, s.level[l].tombstones,
                s.level[l].score, s.level[l].jobs, s.level[l].bytes_read, s.level[l].bytes_written);
    }
}

static void put_histograms(struct lsm_db *db, struct text *t)
{
    struct lsm_latency names[LSM_LATENCY_COUNT];

    lsm_db_latencies(db, names, LSM_LATENCY_COUNT);
    for (size_t i = 0; i < LSM_LATENCY_COUNT; i++)
        for (uint32_t b = 0; b < LSM_HISTOGRAM_BUCKETS; b++) {
            uint64_t count = atomic_load_explicit(&db->counters.latency[i].bucket[b], memory_order_relaxed);
            if (count)
                put(t, "%s %" PRIu64 " %" PRIu64 "\n", names[i].name, lsm_histogram_bucket_end(b), count);
        }
}

static int no_property(struct lsm_db *db, const char *name)
{
    static const char *const texts[] = { "stats", "levels", "histograms", "state" };
    struct lsm_stat stats[STATS_MAX];
    size_t count = lsm_db_stats(db, stats, STATS_MAX);
    struct lsm_nearest n;

    lsm_nearest_init(&n, name);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        lsm_nearest_offer(&n, texts[i]);
    for (size_t i = 0; i < count && i < STATS_MAX; i++)
        lsm_nearest_offer(&n, stats[i].name);
    if (n.best)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no property \"%.100s\" (did you mean \"%s\"?)", db->path, name,
                        n.best);
    return lsm_fail(LSM_NOTFOUND, "%s: there is no property \"%.100s\" (\"stats\" lists those that are numbers; texts "
                                  "are levels, histograms, state)", db->path, name);
}

static bool put_stat(struct lsm_db *db, struct text *t, const char *name)
{
    struct lsm_stat stats[STATS_MAX];
    size_t count = lsm_db_stats(db, stats, STATS_MAX);
    bool found = !name;

    for (size_t i = 0; i < count && i < STATS_MAX; i++)
        if (!name) {
            put(t, "%s %" PRIu64 " %s\n", stats[i].name, stats[i].value, stats[i].unit);
        } else if (strcmp(stats[i].name, name) == 0) {
            put(t, "%" PRIu64, stats[i].value);
            found = true;
        }
    return found;
}

int lsm_db_property(struct lsm_db *db, const char *name, char *text, size_t size, size_t *needed)
{
    struct text t = { text, size, 0 };
    int rc = lsm_db_usable(db);

    if (size)
        text[0] = 0;
    if (rc)
        return rc;
    if (strcmp(name, "stats") == 0) {
        put_stat(db, &t, NULL);
    } else if (strcmp(name, "levels") == 0) {
        put_levels(db, &t);
    } else if (strcmp(name, "histograms") == 0) {
        put_histograms(db, &t);
    } else if (strcmp(name, "state") == 0) {
        const char *why, *state = lsm_db_state(db, &why);
        put(&t, "%s%s%s", state, why[0] ? ": " : "", why);
    } else if (!put_stat(db, &t, name)) {
        return no_property(db, name);
    }
    if (needed)
        *needed = t.used + 1;
    return LSM_OK;
}

/*
 * options.c -- what a store may be opened with: wrong and contradictory values
 * are refused before anything is touched; and what paranoid_checks means.
 */
#include "lsm/db/db.h"

#include "lsm/compaction/parts.h"

#define MEMORY_MIN (UINT64_C(1) << 20)

void lsm_options_init(struct lsm_options *options)
{
    memset(options, 0, sizeof *options);
}

static int refuse(const char *path, const char *why)
{
    return lsm_fail(LSM_MISUSE, "%s: %s", path, why);
}

int lsm_options_check(const char *path, const struct lsm_options *o)
{
    bool in_memory = !path;

    if (in_memory)
        path = ":memory:";
    if (!path[0])
        return refuse("lsm_db_open", "the path is empty (NULL is a store in memory)");
    if (o->memory_bytes && o->memory_bytes < MEMORY_MIN)
        return lsm_fail(LSM_MISUSE, "%s: memory_bytes %llu is below the least, %llu", path,
                        (unsigned long long)o->memory_bytes, (unsigned long long)MEMORY_MIN);
    if (o->file_mode & ~0666u)
        return lsm_fail(LSM_MISUSE, "%s: file_mode %o is not within 0666", path, o->file_mode);
    if (o->max_subcompactions > LSM_PARTS_MAX)
        return lsm_fail(LSM_MISUSE, "%s: max_subcompactions %u is above the most, %u", path, o->max_subcompactions,
                        LSM_PARTS_MAX);
    if (o->read_only && o->create_if_missing)
        return refuse(path, "read_only and create_if_missing contradict each other");
    if (o->read_only && in_memory)
        return refuse(path, "a store in memory that is read_only would stay empty");
    if (o->error_if_exists && !o->create_if_missing)
        return refuse(path, "error_if_exists without create_if_missing leaves nothing that could be opened");
    if (o->host && !o->host->settle)
        return refuse(path, "a host needs a settle function");
    if (o->comparator_count && !o->comparators)
        return refuse(path, "comparator_count without comparators");
    for (size_t i = 0; i < o->comparator_count; i++) {
        if (lsm_comparator_check(o->comparators[i]))
            return LSM_MISUSE;
        for (size_t k = 0; k < i; k++)
            if (strcmp(o->comparators[i]->name, o->comparators[k]->name) == 0 &&
                o->comparators[i] != o->comparators[k])
                return lsm_fail(LSM_MISUSE, "%s: two comparators are named \"%.100s\"", path,
                                o->comparators[i]->name);
    }
    return LSM_OK;
}

int lsm_options_keep(struct lsm_db *db, const struct lsm_options *o)
{
    if (!o->comparator_count)
        return LSM_OK;
    db->comparators = lsm_mem_alloc(db->os, o->comparator_count * sizeof *db->comparators);
    if (!db->comparators)
        return lsm_nomem();
    memcpy(db->comparators, o->comparators, o->comparator_count * sizeof *db->comparators);
    db->comparator_count = o->comparator_count;
    return LSM_OK;
}

/* ---- paranoid_checks ---- */

int lsm_paranoid_open(struct lsm_db *db)
{
    const struct lsm_version *v = db->view->version;
    int rc = LSM_OK;

    for (uint32_t t = 0; db->paranoid && t < v->tree_count; t++)
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
            for (uint32_t i = 0; i < v->trees[t]->level[l].count && rc == LSM_OK; i++) {
                const struct lsm_tree *tree = lsm_tree_by_id(db, v->trees[t]->tree);
                struct lsm_table *table;
                rc = lsm_tables_get(db->tables, &v->trees[t]->level[l].runs[i]->meta,
                                    tree ? tree->cmp : NULL, &table);
                if (rc == LSM_OK)
                    lsm_table_unref(table);
            }
    return rc;
}

int lsm_paranoid_table(void *ctx, const struct lsm_comparator *cmp, const struct lsm_table_meta *meta)
{
    struct lsm_db *db = ctx;
    struct lsm_table *table;
    int rc = lsm_tables_get(db->tables, meta, cmp, &table);

    if (rc == LSM_OK) {
        rc = lsm_table_check(table);
        lsm_table_unref(table);
    }
    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        lsm_tables_forget(db->tables, meta->number);
        lsm_db_event(db, LSM_EVENT_ERROR, "a table is not what was written: %s", why);
        lsm_fail(rc, "%s", why);
    }
    return rc;
}

/*
 * reclaim.c -- value logs that are mostly garbage give their space back: which
 * one is next, and the MANIFEST edit that puts the new file in place.
 *
 * Compactions and reclaiming exclude each other (db->compacting): the handles
 * that a rewritten log keeps are those of the newest version's tables, and a
 * compaction's outputs have no others. A flush brings no handles of logs that are
 * in the MANIFEST already.
 */
#include "lsm/db/db.h"

#include "lsm/compaction/vlog_gc.h"
#include "lsm/format/filename.h"

static int stop_asked(void *ctx)
{
    struct lsm_db *db = ctx;
    bool stop;

    lsm_db_lock(db);
    stop = db->stop;
    lsm_db_unlock(db);
    return stop ? lsm_fail(LSM_BUSY, "%s: closing", db->path) : LSM_OK;
}

/* The log with the most garbage that is due; NULL: none. Mutex held. */
static const struct lsm_version_vlog *pick(struct lsm_db *db, const struct lsm_version *version,
                                           struct lsm_tree **tree)
{
    const struct lsm_version_vlog *best = NULL;
    uint64_t most = 0;

    for (uint32_t i = 0; i < version->vlog_count; i++) {
        const struct lsm_version_vlog *v = &version->vlogs[i];
        const struct lsm_vlog_meta *m = &v->file->meta;
        struct lsm_tree *t;

        if (!lsm_vlog_is_garbage(v) || atomic_load(&v->file->is_damaged) ||
            m->value_bytes - v->live_bytes <= most)
            continue;
        t = lsm_tree_by_id(db, m->tree);
        if (!t || atomic_load(&t->dropped))
            continue;
        most = m->value_bytes - v->live_bytes;
        best = v;
        *tree = t;
    }
    return best;
}

static int install(struct lsm_db *db, struct lsm_tree *tree, const struct lsm_vlog_meta *meta,
                   bool *uncertain)
{
    struct lsm_edit edit;
    int error = db->os->dir_sync(db->dir), rc;

    if (error)
        return lsm_fail_os(error, "sync directory", db->path);
    lsm_edit_init(&edit, db->os);
    lsm_edit_add_vlog(&edit, meta);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    if (atomic_load(&tree->dropped)) {
        rc = lsm_fail(LSM_NOTFOUND, "%s: the tree was dropped", db->path);
    } else {
        rc = lsm_write_edit(db, &edit, 0);
        *uncertain = edit.may_be_on_disk;       /* then its file stays */
    }
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    lsm_edit_clear(&edit);
    return rc;
}

int lsm_reclaim_one(struct lsm_db *db)
{
    const struct lsm_version_vlog *v;
    struct lsm_tree *tree = NULL;
    struct lsm_view *view;
    struct lsm_vlog_meta meta;
    bool uncertain = false;
    int rc = LSM_OK;

    lsm_db_lock(db);
    view = db->view;
    v = pick(db, view->version, &tree);
    if (v)
        atomic_fetch_add(&view->refs, 1);
    lsm_db_unlock(db);
    if (!v)
        return LSM_DONE;

    rc = lsm_write_begin(db);
    if (rc == LSM_OK) {
        struct lsm_vlog_gc gc = {
            .os = db->os, .dir = db->dir, .uuid = db->uuid, .file_mode = db->file_mode,
            .tables = db->tables, .vlogs = db->vlogs, .cmp = tree->cmp,
            .tree = lsm_version_tree(view->version, tree->id), .vlog = &v->file->meta,
            .number = lsm_db_new_file(db), .ctx = db, .pause = stop_asked,
        };
        rc = lsm_vlog_gc_run(&gc, &meta);
    }
    if (rc == LSM_CORRUPT) {
        /* Who reads the value will be told; the rest of the store goes on. */
        lsm_db_event(db, LSM_EVENT_ERROR, "value log %llu keeps its garbage: %s",
                     (unsigned long long)v->file->meta.id, lsm_error_text());
        atomic_store(&v->file->is_damaged, true);
        rc = LSM_OK;
    } else if (rc == LSM_OK) {
        rc = install(db, tree, &meta, &uncertain);
        if (rc && !uncertain) {
            char name[LSM_FILENAME_SIZE];
            db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_VLOG, meta.number));
        }
        if (rc == LSM_NOTFOUND)
            rc = LSM_OK;
        else if (rc == LSM_OK) {
            atomic_fetch_add_explicit(&db->counters.vlog_rewrites, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&db->counters.vlog_bytes_rewritten, meta.size_bytes, memory_order_relaxed);
            lsm_db_event(db, LSM_EVENT_INFO, "value log %llu: %llu of %llu bytes kept, in file %llu",
                         (unsigned long long)meta.id, (unsigned long long)meta.value_bytes,
                         (unsigned long long)v->file->meta.value_bytes, (unsigned long long)meta.number);
        }
    }
    lsm_view_unref(view);
    return rc;
}

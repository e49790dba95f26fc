/*
 * obsolete.c -- files that no version refers to: noted where a version dies,
 * unlinked by a sweep, not before the MANIFEST that does without them is synced.
 */
#include "lsm/db/db.h"

#include "lsm/format/filename.h"

void lsm_obsolete_file(struct lsm_db *db, uint64_t number, bool is_vlog)
{
    db->os->mutex_lock(db->obsolete_mutex);
    if (db->obsolete_count == db->obsolete_cap) {
        uint32_t cap = db->obsolete_cap ? 2 * db->obsolete_cap : 32;
        void *more = db->os->mem_realloc(db->os, db->obsolete, cap * sizeof *db->obsolete);
        if (more) {
            db->obsolete = more;
            db->obsolete_cap = cap;
        }
    }
    /* No memory: the file stays until the next open sweeps it. */
    if (db->obsolete_count < db->obsolete_cap)
        db->obsolete[db->obsolete_count++] = (struct lsm_obsolete){ number, is_vlog };
    atomic_store(&db->obsolete_fresh, true);
    db->os->mutex_unlock(db->obsolete_mutex);
}

void lsm_obsolete_run(void *ctx, const struct lsm_run *run)
{
    lsm_obsolete_file(ctx, run->meta.number, false);
}

void lsm_obsolete_vlog(void *ctx, const struct lsm_vlog_meta *meta)
{
    lsm_obsolete_file(ctx, meta->number, true);
}

/* Every close of a cursor asks. Before the first write a sweep removes nothing, and what the replay of the
   MANIFEST found would wake the worker with each of them. */
bool lsm_obsolete_waits(const struct lsm_db *db)
{
    return atomic_load(&db->obsolete_fresh) && atomic_load(&db->writing_begun);
}

struct old_files {
    struct lsm_db *db;
    uint64_t log_min, manifest;
    struct lsm_buf names;
};

static int collect_old(void *ctx, const char *name)
{
    struct old_files *o = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (lsm_filename_parse(name, &kind, &number) &&
        ((kind == LSM_FILE_LOG && number < o->log_min) ||
         (kind == LSM_FILE_MANIFEST && number < o->manifest))) {
        char fixed[LSM_FILENAME_SIZE] = { 0 };
        memcpy(fixed, name, strlen(name));
        lsm_buf_append(&o->names, fixed, sizeof fixed);
    }
    return 0;
}

/* A reader of a unit opens its tables and value logs when it needs them. Obsolete mutex held. */
static bool unit_has(const struct lsm_db *db, const struct lsm_obsolete *o)
{
    for (const struct lsm_unit *unit = db->with_runs; unit; unit = unit->next) {
        if (o->is_vlog && lsm_runs_vlog(unit->runs, unit->run_count, o->number))    /* a first file */
            return true;
        for (uint32_t i = 0; i < unit->run_count && !o->is_vlog; i++)
            if (unit->runs[i]->meta.number == o->number)
                return true;
    }
    return false;
}

/* The MANIFEST that says so is synced by now, and its name as well: nothing comes back. */
void lsm_obsolete_sweep(struct lsm_db *db)
{
    struct old_files old = { .db = db };
    char name[LSM_FILENAME_SIZE];
    uint64_t hidden_min;

    /* Prevents: removing what an edit removed that was read at open and is in no page on disk, since its sync
       failed in the life before. The first write begins a MANIFEST that is. */
    if (!atomic_load(&db->writing_begun))
        return;
    /* First: what becomes obsolete from here on, or free of its last reader, is for the next sweep. */
    atomic_store(&db->obsolete_fresh, false);
    for (;;) {
        struct lsm_obsolete o = { 0, false };
        db->os->mutex_lock(db->obsolete_mutex);
        for (uint32_t i = db->obsolete_count; i-- > 0 && !o.number;)
            if (!unit_has(db, &db->obsolete[i])) {
                o = db->obsolete[i];
                db->obsolete[i] = db->obsolete[--db->obsolete_count];
            }
        db->os->mutex_unlock(db->obsolete_mutex);
        if (!o.number)
            break;
        if (o.is_vlog)
            lsm_vlogs_forget(db->vlogs, o.number);
        else
            lsm_tables_forget(db->tables, o.number);
        db->os->file_remove(db->dir, lsm_filename(name, o.is_vlog ? LSM_FILE_VLOG : LSM_FILE_TABLE, o.number));
    }
    lsm_buf_init(&old.names, db->os);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    bool sure = db->writing_begun && !db->manifest.failed;
    old.log_min = lsm_backup_log_min(db, db->log_number_min);
    old.manifest = db->manifest.number;
    lsm_db_unlock(db);
    db->os->mutex_lock(db->publish);
    hidden_min = lsm_series_log_min(db, 0);
    db->os->mutex_unlock(db->publish);
    old.log_min = hidden_min < old.log_min ? hidden_min : old.log_min;
    if (sure && db->os->dir_list(db->dir, collect_old, &old))
        sure = false;
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    /* Without the slot: to remove a log may take 20 ms, and writers would wait. Numbers are not used again. */
    for (size_t i = 0; sure && i + LSM_FILENAME_SIZE <= old.names.size; i += LSM_FILENAME_SIZE)
        db->os->file_remove(db->dir, (const char *)old.names.data + i);
    lsm_buf_clear(&old.names);
}

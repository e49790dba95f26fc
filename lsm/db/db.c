/*
 * db.c -- open and close a store.
 */
#include "lsm/db/db.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "lsm/format/filename.h"

#define STRICT_OVERDRAFT (UINT64_C(8) << 20)    /* half of what the budget may be passed by */
#define MEMORY_DEFAULT (UINT64_C(64) << 20)
#define MEMORY_MIN (UINT64_C(1) << 20)          /* as in options.c */
#define OPEN_TABLES_MAX 256u
#define OPEN_VLOGS_MIN 8u
#define OPEN_VLOGS_MAX 128u

void lsm_db_lock(struct lsm_db *db)
{
    db->os->mutex_lock(db->mutex);
}

void lsm_db_unlock(struct lsm_db *db)
{
    db->os->mutex_unlock(db->mutex);
}

int lsm_db_usable(const struct lsm_db *db)
{
    if (db->os->fork_generation(db->os) == db->fork_generation)
        return LSM_OK;
    return lsm_fail(LSM_MISUSE, "%s: opened before fork(): this process must open it anew (with SQLite: fork first, "
                    "and open databases then)", db->path);
}

void lsm_db_set_health(struct lsm_db *db, int health, int code, const char *text)
{
    bool changed;

    lsm_db_lock(db);
    changed = health > db->health;
    if (changed) {
        db->health = health;
        db->health_code = code;
        snprintf(db->health_text, sizeof db->health_text, "%s", text);
    }
    lsm_db_unlock(db);
    if (changed)
        lsm_db_tell(db, &(struct lsm_event){
            .kind = health >= LSM_HEALTH_READ_ONLY ? LSM_EVENT_ERROR : LSM_EVENT_WARNING,
            .what = LSM_EVENT_STATE, .code = code }, "%s", text);
}

int lsm_db_writable(struct lsm_db *db)
{
    char why[LSM_ERROR_TEXT_SIZE];
    bool blocked;

    if (db->read_only)
        return lsm_fail(LSM_READONLY, "%s: %s", db->path,
                        db->read_only_why ? db->read_only_why : "opened read-only");
    lsm_db_lock(db);
    blocked = db->health >= LSM_HEALTH_READ_ONLY;
    if (blocked)
        memcpy(why, db->health_text, sizeof why);
    lsm_db_unlock(db);
    if (blocked)
        return lsm_fail(LSM_READONLY, "%s: read-only since a failure: %.400s", db->path, why);
    return LSM_OK;
}

uint64_t lsm_db_new_file(struct lsm_db *db)
{
    return atomic_fetch_add(&db->next_file, 1);
}

void lsm_db_uuid(const struct lsm_db *db, uint8_t uuid[16])
{
    memcpy(uuid, db->uuid, 16);
}

bool lsm_db_is_virgin(struct lsm_db *db)
{
    bool virgin, has_solo;

    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    /* A power cut may take back the host's creation and all that it decided since, but for what was
       settled. What rests on a decision is gone with it. */
    virgin = db->root.txid == 0 && db->floor.txid == 0 && db->seq_published == 0 && db->chain_count == 1;
    lsm_db_unlock(db);
    for (uint32_t i = 0; i < db->record_count && virgin; i++) {
        const struct lsm_prepared *rec = db->records[i];

        if (rec->state == LSM_RECORD_DEAD || rec->base.txid != 0)
            continue;
        if (rec->series && rec->series->has_solos_first)
            virgin = lsm_series_has_solo(db, rec, &rec->base, 0, &has_solo) == LSM_OK && !has_solo;
        else
            virgin = rec->series || rec->type != LSM_RECORD_SOLO;
    }
    db->os->mutex_unlock(db->publish);
    return virgin;
}

bool lsm_db_is_blank(struct lsm_db *db)
{
    bool blank = lsm_db_is_virgin(db);

    db->os->mutex_lock(db->publish);
    for (uint32_t i = 0; i < db->record_count && blank; i++)
        blank = db->records[i]->state == LSM_RECORD_DEAD;
    db->os->mutex_unlock(db->publish);
    return blank;
}

/* ---- memory ---- */

/* A quarter of the descriptors, for each store: the rest is the host's, the program's and for writing. */
static uint32_t open_tables_max(struct lsm_os *os)
{
    uint32_t limit = os->file_limit ? os->file_limit(os) : UINT32_MAX;

    if (limit / 4 >= OPEN_TABLES_MAX)
        return OPEN_TABLES_MAX;
    return limit / 4 > 4 ? limit / 4 : 4;
}

/* An arena ends at 4 GiB; and so much is read again after a crash. The cache gets what is over. */
#define MEMTABLE_MAX (UINT64_C(1) << 30)

void lsm_db_set_budget(struct lsm_db *db, uint64_t bytes)
{
    db->memory_bytes = bytes < MEMORY_MIN ? MEMORY_MIN : bytes;
    db->memtable_bytes = db->memory_bytes / 3 < MEMTABLE_MAX ? db->memory_bytes / 3 : MEMTABLE_MAX;
    db->batch_bytes = db->memory_bytes / 8 < MEMTABLE_MAX / 2 ? db->memory_bytes / 8 : MEMTABLE_MAX / 2;
    lsm_policy_init(&db->policy, db->memtable_bytes);
    /* More would leave a store whose level 0 outgrew the descriptors, since it could never shrink. */
    db->policy.level0_inputs_max = open_tables_max(db->os);
    if (db->os->mem_budget)
        db->os->mem_budget(db->os, db->memory_bytes);
}

/* What the cache may use so that all of the store's memory stays within `room`. */
static uint64_t cache_share(struct lsm_db *db, uint64_t room)
{
    uint64_t cache = lsm_cache_used(db->cache), used, held, total;

    if (!db->os->mem_held) {            /* files in memory may be among what is used: add up our own */
        total = lsm_view_memory(db->view) + atomic_load(&db->batch_memory) + lsm_tables_memory(db->tables) +
                lsm_vlogs_memory(db->vlogs);
        return total < room ? room - total : 0;
    }
    used = db->os->mem_used(db->os);
    held = db->os->mem_held(db->os);
    if (held < used)
        held = used;                    /* counted one after the other */
    /* Free room between used blocks: what a trim could not give back is lost until it is used again, the
       rest can be had. */
    if (db->memory_lost > held - used)
        db->memory_lost = held - used;
    if (db->os->mem_trim && held > room && held - used > db->memory_lost + db->memory_bytes / 16) {
        db->trim_wanted = true;
        lsm_worker_wake(db);
    }
    total = used + db->memory_lost;
    if (total > room)
        return cache > total - room ? cache - (total - room) : 0;
    return cache + (room - total) / 16 * 15;        /* a block takes more than it is charged for */
}

void lsm_db_memory_changed(struct lsm_db *db)
{
    /* A sixteenth stays free for what grows between two calls. */
    uint64_t cache = cache_share(db, db->memory_bytes / 16 * 15), least = db->memory_bytes / 8;
    uint64_t step = db->memory_bytes / 64;

    if (cache < least)
        cache = least;
    cache -= cache % step;              /* small changes are not worth the shards' locks */
    if (cache != db->cache_bytes) {
        db->cache_bytes = cache;
        lsm_cache_set_capacity(db->cache, cache);
    }
    /* The worker does it when it comes to it; whoever sees the whole budget held does not wait for that. */
    if (db->trim_wanted && (db->no_worker || db->os->mem_held(db->os) > db->memory_bytes)) {
        db->os->mem_trim(db->os);
        lsm_db_trimmed(db);
    }
}

void lsm_db_trimmed(struct lsm_db *db)
{
    uint64_t used = db->os->mem_used(db->os), held = db->os->mem_held(db->os);

    db->memory_lost = held > used ? held - used : 0;
    db->trim_wanted = false;
}

int lsm_db_set_memory(struct lsm_db *db, uint64_t memory_bytes)
{
    struct lsm_edit edit;
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK && memory_bytes < MEMORY_MIN)
        rc = lsm_fail(LSM_MISUSE, "a budget of %llu bytes is below the least, 1 MiB",
                      (unsigned long long)memory_bytes);
    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    lsm_edit_init(&edit, db->os);
    edit.has = LSM_EDIT_MEMORY;
    edit.memory_bytes = memory_bytes;
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    rc = lsm_recover_begin_writing(db);
    if (rc == LSM_OK)
        rc = lsm_write_edit(db, &edit, 0);
    lsm_db_lock(db);
    if (rc == LSM_OK) {
        lsm_db_set_budget(db, memory_bytes);
        db->memory_recorded = true;
        lsm_db_memory_changed(db);
    }
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    lsm_edit_clear(&edit);
    return rc;
}

/* ---- open ---- */

static void db_free(struct lsm_db *db)
{
    struct lsm_os *os = db->os;

    if (db->view) {
        db->view->version->obsolete = NULL;
        db->view->version->obsolete_vlog = NULL;
        lsm_view_unref(lsm_view_install(db, NULL));
    }
    for (uint32_t i = 0; i < db->record_count; i++)
        lsm_prepared_free(os, db->records[i]);
    lsm_mem_free(os, db->records);
    lsm_buf_clear(&db->aborted);
    lsm_mem_free(os, db->chain);
    for (uint32_t i = 0; i < db->tree_count; i++)
        lsm_tree_free(db->trees[i]);
    lsm_mem_free(os, db->trees);
    lsm_mem_free(os, db->tree_slots);
    lsm_mem_free(os, db->comparators);
    lsm_mem_free(os, db->counters.latency);
    lsm_mem_free(os, db->obsolete);
    lsm_memtable_unref(db->spare);
    lsm_buf_clear(&db->encode);
    lsm_buf_clear(&db->log_marks);
    lsm_buf_clear(&db->logs_read);
    lsm_carry_free(os, db->carry.taken);
    if (db->has_log) {
        lsm_room_take_back(db);         /* it is cut off with the rest */
        lsm_log_close(&db->log);
    }
    if (db->has_log_before)
        lsm_log_close(&db->log_before);
    lsm_manifest_close(&db->manifest);
    lsm_tables_free(db->tables);
    lsm_vlogs_free(db->vlogs);
    lsm_cache_free(db->cache);
    lsm_compressor_pool_free(db->compressors);
    lsm_db_event_close(db);
    lsm_lock_release(db);
    if (db->dir)
        os->dir_close(db->dir);
    if (db->changed)
        os->cond_free(db->changed);
    if (db->work)
        os->cond_free(db->work);
    if (db->committed)
        os->cond_free(db->committed);
    if (db->mutex)
        os->mutex_free(db->mutex);
    if (db->publish)
        os->mutex_free(db->publish);
    if (db->info_mutex)
        os->mutex_free(db->info_mutex);
    if (db->obsolete_mutex)
        os->mutex_free(db->obsolete_mutex);
    if (db->dead_mutex)
        os->mutex_free(db->dead_mutex);
    struct lsm_os *own = db->own_os, *own_mem = db->own_mem_os;
    lsm_mem_free(os, db->path);
    lsm_mem_free(os, db);
    if (own_mem)
        lsm_os_mem_free(own_mem);
    if (own)
        lsm_os_posix_free(own);
}

static int new_locks(struct lsm_db *db)
{
    struct lsm_os *os = db->os;

    if (os->mutex_new(os, &db->mutex) || os->mutex_new(os, &db->publish) ||
        os->mutex_new(os, &db->info_mutex) || os->mutex_new(os, &db->obsolete_mutex) || os->mutex_new(os, &db->dead_mutex) ||
        os->cond_new(os, &db->changed) || os->cond_new(os, &db->work) || os->cond_new(os, &db->committed))
        return lsm_nomem();
    return LSM_OK;
}

int lsm_db_check_directory(struct lsm_os *os, struct lsm_dir *dir, const char *path, const struct lsm_owner *owner,
                           uint32_t file_mode)
{
    struct lsm_file_info info;
    int error = os->dir_info(dir, &info);

    if (error)
        return lsm_fail_os(error, "stat", path);
    if (!info.is_own && info.uid != 0 && info.uid != owner->uid)
        return lsm_fail(LSM_CANTOPEN, "%s: the directory belongs to user %u, neither to the database's owner "
                                      "nor to that of this process (chown it if that is right)", path, info.uid);
    if ((info.mode & 0002) && !(file_mode & 0002))
        return lsm_fail(LSM_CANTOPEN, "%s: everybody may write in the directory, but not in the database "
                                      "(chmod o-w it)", path);
    return LSM_OK;
}

static int check_directory(struct lsm_db *db, bool created)
{
    int error = 0;

    if (!db->has_owner)
        return LSM_OK;
    if (db->os->dir_give)
        error = db->os->dir_give(db->dir, db->owner.uid, db->owner.gid, created);
    if (error)
        return lsm_fail_os(error, "give to the database's owner", db->path);
    return lsm_db_check_directory(db->os, db->dir, db->path, &db->owner, db->file_mode);
}

/* One with a dictionary takes 45 KiB; and a descriptor, of which tables get the most. */
static uint32_t open_vlogs_max(const struct lsm_db *db)
{
    uint64_t count = db->memory_bytes >> 19, files = open_tables_max(db->os) / 2;

    count = count < files ? count : files;
    return count < OPEN_VLOGS_MIN ? OPEN_VLOGS_MIN : count < OPEN_VLOGS_MAX ? (uint32_t)count : OPEN_VLOGS_MAX;
}

/* Of whichever kind a file cannot be opened: the other one gives its idle descriptors. */
static uint32_t close_idle_vlogs(void *ctx)
{
    return lsm_vlogs_close_idle(((struct lsm_db *)ctx)->vlogs);
}

static uint32_t close_idle_tables(void *ctx)
{
    return lsm_tables_close_idle(((struct lsm_db *)ctx)->tables, LSM_TABLES_CLOSE_AT_ONCE);
}

static int open_parts(struct lsm_db *db, const struct lsm_options *o, bool *created)
{
    uint32_t mode = db->file_mode, dir_mode = mode | ((mode & 0444) >> 2);
    int error = db->os->dir_open(db->os, db->path, o->create_if_missing && !o->read_only, dir_mode, created,
                                 &db->dir);
    int rc;

    if (error == ENOENT && !o->create_if_missing)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no store here%s", db->path,
                        o->read_only ? "" : " (create_if_missing would make one)");
    if (error) {
        rc = lsm_fail_os(error, "open directory", db->path);
        return rc == LSM_IOERR ? lsm_fail(LSM_CANTOPEN, "%s: the store's directory cannot be opened",
                                          db->path) : rc;
    }
    rc = check_directory(db, *created);
    if (rc == LSM_OK)
        rc = lsm_lock_take(db, o->create_if_missing);
    if (rc == LSM_OK)
        rc = lsm_compressor_pool_new(db->os, &db->compressors);
    if (rc == LSM_OK)
        rc = lsm_cache_new(db->os, db->memory_bytes / 4, &db->cache);
    if (rc)
        return rc;
    if (o->strict_memory)
        lsm_cache_set_overdraft(db->cache, STRICT_OVERDRAFT);
    rc = lsm_recover(db, o->create_if_missing && !db->read_only, o->uuid);
    if (rc == LSM_NOTFOUND && o->create_if_missing && !o->read_only)
        rc = db->read_only ? lsm_fail(LSM_READONLY, "%s: there is no store in this directory, and none can be made: %s",
                                      db->path, db->read_only_why)
                           : lsm_fail(LSM_CANTOPEN, "%s: the directory was removed while a store was made in it",
                                      db->path);
    if (rc == LSM_OK)
        lsm_lock_sign(db);
    else if ((rc == LSM_MISMATCH || rc == LSM_EXISTS) && db->lock_created)     /* the directory is somebody else's */
        db->os->file_remove(db->dir, "LOCK");
    if (rc == LSM_OK && !*created && o->error_if_exists && !db->writing_begun)
        rc = lsm_fail(LSM_EXISTS, "%s: there is a store already", db->path);
    if (rc == LSM_OK)
        rc = lsm_tables_new(db->os, db->dir, db->uuid, db->cache, db->compressors, open_tables_max(db->os),
                            &db->tables);
    if (rc == LSM_OK)
        rc = lsm_vlogs_new(db->os, db->dir, db->uuid, db->compressors, open_vlogs_max(db), &db->vlogs);
    if (rc == LSM_OK) {
        lsm_tables_set_relief(db->tables, close_idle_vlogs, db);
        lsm_vlogs_set_relief(db->vlogs, close_idle_tables, db);
    }
    if (rc == LSM_OK)
        rc = lsm_paranoid_open(db);
    return rc;
}

/* Without a host that will say, the newest decided token stands for its; what stands after it may or
   may not be committed, so that nothing may be written on top. */
static int publish_alone(struct lsm_db *db)
{
    struct lsm_token decided = db->decided;
    int rc = lsm_chain_publish(db, &decided);

    if (rc)
        return rc;
    for (uint32_t i = 0; i < db->record_count; i++)
        if (db->records[i]->type == LSM_RECORD_JOINT && db->records[i]->id.txid > decided.txid &&
            db->records[i]->state == LSM_RECORD_HIDDEN)
            db->read_only_why = "an undecided transaction stands in the log: only the database can decide it";
    if (db->carry.flag)
        db->read_only_why = "the database holds transactions that the log may lack";
    if (db->read_only_why)
        db->read_only = true;
    return LSM_OK;
}

/* After a failed creation nothing may be left that a second try would stumble over. */
static void remove_creation(struct lsm_os *os, struct lsm_dir *dir, const char *path)
{
    char name[LSM_FILENAME_SIZE];

    /* CURRENT first, and surely: it must not name a file that is gone. */
    if (os->file_remove(dir, "CURRENT") == 0 && os->dir_sync(dir))
        return;
    for (uint64_t n = 1; n < 4; n++) {
        os->file_remove(dir, lsm_filename(name, LSM_FILE_MANIFEST, n));
        os->file_remove(dir, lsm_filename(name, LSM_FILE_TEMP, n));
    }
    os->file_remove(dir, "LOCK");
    os->dir_remove(os, path);
}

int lsm_db_open(const char *path, const struct lsm_options *options, struct lsm_db **out)
{
    struct lsm_options defaults;
    struct lsm_os *os, *own_os = NULL, *own_mem = NULL;
    struct lsm_db *db;
    bool created = false;
    int rc;

    *out = NULL;
    if (!options) {
        lsm_options_init(&defaults);
        options = &defaults;
    }
    rc = lsm_options_check(path, options);
    if (rc)
        return rc;
    os = options->os;
    if (!os)
        os = own_os = lsm_os_posix_new();
    if (os && !path)
        os = own_mem = lsm_os_mem_new(os);
    db = os ? lsm_mem_zalloc(os, sizeof *db) : NULL;
    if (!db) {
        if (own_mem)
            lsm_os_mem_free(own_mem);
        if (own_os)
            lsm_os_posix_free(own_os);
        return lsm_nomem();
    }
    db->os = os;
    db->own_os = own_os;
    db->own_mem_os = own_mem;
    db->disk_os = !own_mem ? os : own_os ? own_os : options->os;
    db->fork_generation = os->fork_generation(os);
    db->read_only = options->read_only;
    db->wait_for_token = options->wait_for_token;
    db->no_worker = options->no_worker;
    db->paranoid = options->paranoid_checks;
    db->file_mode = options->file_mode ? options->file_mode : 0644;
    db->max_subcompactions = options->max_subcompactions;
    db->has_owner = options->owner != NULL;
    if (options->owner)
        db->owner = *options->owner;
    db->event = options->event;
    db->event_ctx = options->event_ctx;
    db->commit_last = &db->commit_first;
    db->has_host = options->host != NULL;
    if (options->host)
        db->host = *options->host;
    lsm_buf_init(&db->encode, os);
    lsm_buf_init(&db->log_marks, os);
    lsm_buf_init(&db->logs_read, os);
    lsm_buf_init(&db->aborted, os);
    db->carry.last = &db->carry.taken;
    lsm_db_set_budget(db, options->memory_bytes ? options->memory_bytes : MEMORY_DEFAULT);

    const char *name = path ? path : ":memory:";
    size_t size = strlen(name) + 1;
    db->path = lsm_mem_alloc(os, size);
    db->counters.latency = lsm_mem_zalloc(os, LSM_LATENCY_COUNT * sizeof *db->counters.latency);
    rc = db->path && db->counters.latency ? new_locks(db) : lsm_nomem();
    if (rc == LSM_OK && os->random(os, db->nonce_seed, sizeof db->nonce_seed))
        rc = lsm_fail(LSM_IOERR, "the machine gives no random bytes");
    if (rc == LSM_OK)
        rc = lsm_options_keep(db, options);
    if (rc == LSM_OK) {
        memcpy(db->path, name, size);
        if (path) {
            rc = open_parts(db, options, &created);
        } else {
            struct lsm_options in_memory = *options;
            in_memory.create_if_missing = true;
            rc = open_parts(db, &in_memory, &created);
        }
    }
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        lsm_db_memory_changed(db);
        lsm_db_unlock(db);
        if (!db->wait_for_token)
            rc = publish_alone(db);
    }
    if (rc == LSM_OK && !db->read_only && !db->no_worker &&
        os->thread_start(os, lsm_worker_main, db, &db->worker)) {
        db->worker = NULL;
        db->no_worker = db->no_thread = true;
    }
    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        if (created && db->dir)
            remove_creation(os, db->dir, db->path);
        db_free(db);
        return lsm_fail(rc, "%s", why);
    }
    *out = db;
    return LSM_OK;
}

/* ---- close ---- */

#define LOG_KEPT_AT_CLOSE (1u << 20)    /* a longer one would slow the next open */

/*
 * With the newest transaction as the floor in the MANIFEST, whoever opens next knows that no crash takes it
 * back, and that a database without it is an older one (R15). Where it cannot be settled the floor stays, and
 * nothing else: the log has all. The write slot is taken.
 */
static void settle_at_close(struct lsm_db *db)
{
    bool can;

    lsm_db_lock(db);
    can = db->has_host && lsm_flush_is_quiet(db);
    lsm_db_unlock(db);
    if (can && lsm_chain_settle(db) != LSM_OK)
        lsm_db_event(db, LSM_EVENT_WARNING, "closed without settling: %s", lsm_error_text());
}

int lsm_db_settle_creation(struct lsm_db *db)
{
    struct lsm_edit edit;
    uint32_t tries;
    int rc = LSM_OK;

    if (!db->has_host || atomic_load_explicit(&db->creation_settled, memory_order_relaxed))
        return LSM_OK;
    tries = atomic_fetch_add_explicit(&db->creation_tries, 1, memory_order_relaxed) + 1;
    if (tries & (tries - 1))    /* where it fails, each commit would cost a sync */
        return LSM_OK;
    lsm_edit_init(&edit, db->os);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    if (!lsm_flush_is_quiet(db))
        rc = lsm_fail(LSM_BUSY, "%s: another joint transaction is undecided", db->path);
    lsm_db_unlock(db);
    if (rc == LSM_OK && db->carry.bare)
        rc = lsm_write_sync(db);
    if (rc == LSM_OK)
        rc = lsm_chain_settle(db);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        edit.has = LSM_EDIT_DECIDED | LSM_EDIT_FLOOR | LSM_EDIT_TXID;
        edit.decided = db->decided;
        edit.floor = db->floor;
        edit.txid = db->txid_max;
        lsm_db_unlock(db);
        rc = lsm_write_edit(db, &edit, 0);
    }
    if (rc == LSM_OK)
        atomic_store_explicit(&db->creation_settled, true, memory_order_relaxed);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    lsm_edit_clear(&edit);
    return rc;
}

static int say_goodbye(struct lsm_db *db)
{
    struct lsm_edit edit;
    int rc = LSM_OK;

    if (db->has_log && !db->log.failed && db->log.size > LOG_KEPT_AT_CLOSE)
        lsm_flush_now(db);   /* if it cannot be now, the log keeps it */
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    if (db->has_log && db->log.failed)
        rc = lsm_write_ready(db);       /* what was acknowledged without a sync goes to a fresh log */
    else if (db->has_log)
        rc = lsm_write_sync(db);
    if (rc == LSM_OK && !db->manifest.failed && !(db->has_log && db->log.failed)) {
        settle_at_close(db);
        lsm_edit_init(&edit, db->os);
        edit.has = LSM_EDIT_DECIDED | LSM_EDIT_FLOOR | LSM_EDIT_TXID;
        edit.decided = db->decided;
        edit.floor = db->floor;
        edit.txid = db->txid_max;
        if (db->has_log) {
            edit.has |= LSM_EDIT_LOG_END;
            edit.log_end_number = db->log.number;
            edit.log_end_size = db->log.size;
            edit.log_end_chain = db->log.chain;
            lsm_db_lock(db);
            if (db->carry.flag && lsm_carry_is_over(db))
                edit.has |= LSM_EDIT_CARRIED;   /* false */
            lsm_db_unlock(db);
        }
        lsm_write_edit(db, &edit, 0);
        lsm_edit_clear(&edit);
    }
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        lsm_db_event(db, LSM_EVENT_ERROR, "closed, but the log could not be synced: %s", why);
        return lsm_fail(rc, "%s", why);
    }
    lsm_obsolete_sweep(db);
    lsm_db_event(db, LSM_EVENT_INFO, "closed");
    return LSM_OK;
}

int lsm_db_close(struct lsm_db *db)
{
    if (!db)
        return LSM_OK;
    if (db->os->fork_generation(db->os) != db->fork_generation)
        return LSM_OK;          /* not ours: its memory goes with the child, its files are the parent's */
    lsm_db_lock(db);
    uint64_t values = lsm_values_held(db);
    if (db->txn_count || db->cursor_count || db->writes_count || values || db->oldest_snapshot || db->backups) {
        int rc = lsm_fail(LSM_MISUSE, "%s: %u transactions, %u cursors, %u batches, %llu values%s%s are still open",
                          db->path, db->txn_count, db->cursor_count, db->writes_count, (unsigned long long)values,
                          db->oldest_snapshot ? ", snapshots" : "", db->backups ? " and a backup" : "");
        lsm_db_unlock(db);
        return rc;
    }
    db->stop = true;
    lsm_worker_wake(db);
    lsm_db_unlock(db);
    if (db->worker)
        db->os->thread_join(db->worker);
    lsm_db_lock(db);
    lsm_throttle_rest(db);
    lsm_db_unlock(db);
    int rc = LSM_OK;
    char why[LSM_ERROR_TEXT_SIZE] = "";
    if (!db->read_only && db->writing_begun && db->health < LSM_HEALTH_READ_ONLY)
        rc = say_goodbye(db);
    if (rc)
        lsm_error_save(why, sizeof why);
    db_free(db);
    return rc ? lsm_fail(rc, "%s", why) : LSM_OK;
}

const char *lsm_db_state(struct lsm_db *db, const char **why)
{
    static const char *const names[] = { "HEALTHY", "DEGRADED", "READ_ONLY", "CORRUPT" };
    char text[LSM_ERROR_TEXT_SIZE];
    int health;

    lsm_db_lock(db);
    health = db->health;
    memcpy(text, db->health_text, sizeof text);
    lsm_db_unlock(db);
    lsm_fail(LSM_OK, "%s", text);
    if (why)
        *why = lsm_error_text();
    return names[health];
}

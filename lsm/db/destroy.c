/*
 * destroy.c -- remove a store. Names prove nothing: LevelDB and its kin use the same, and a path may be
 * mistyped. So a numbered file counts by what it begins with, a kind's magic and the store's uuid, and where
 * none does nothing is removed, not even looked at with a LOCK. Where the beginning of a file is damaged it
 * counts if the store itself names it: CURRENT its MANIFEST, that one tables, value logs and its first log.
 *
 * Order: CURRENT and the MANIFESTs go first, and the directory is synced. What a crash leaves then is refused by
 * every open, and can be destroyed again; a MANIFEST whose tables are gone would be opened, and miss them later.
 */
#include "lsm/db/db.h"

#include <errno.h>
#include <stdio.h>

#include "lsm/format/filename.h"
#include "lsm/store/table_format.h"
#include "lsm/store/vlog_format.h"

#define IDENTITY_SIZE 32u               /* magic[8], eight bytes of flags, uuid[16]: the same in all kinds */

static const char *const magic_of[] = {
    [LSM_FILE_MANIFEST] = LSM_MANIFEST_MAGIC, [LSM_FILE_LOG] = LSM_LOG_MAGIC,
    [LSM_FILE_TABLE] = LSM_TABLE_MAGIC, [LSM_FILE_VLOG] = LSM_VLOG_MAGIC, [LSM_FILE_TEMP] = NULL
};

struct entry {
    char name[LSM_FILENAME_SIZE];
    enum lsm_file_kind kind;
    uint64_t number;
    bool is_blank;              /* nothing but zeros where its identity would be: what a crash leaves */
    bool is_ours;               /* it begins as this kind does */
    bool is_named;              /* by CURRENT or the MANIFEST */
    uint8_t uuid[16];
};

struct destroy {
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_buf entries;     /* struct entry */
    char foreign[104];          /* the first that stays; empty: none */
};

static int add_entry(void *ctx, const char *name)
{
    struct destroy *d = ctx;
    struct entry e = { .is_blank = false };

    if (lsm_filename_parse(name, &e.kind, &e.number)) {
        memcpy(e.name, name, strlen(name));
        lsm_buf_append(&d->entries, &e, sizeof e);
    } else if (!d->foreign[0]) {
        snprintf(d->foreign, sizeof d->foreign, "%.100s", name);
    }
    return 0;
}

static struct entry *entry_at(const struct destroy *d, size_t i)
{
    return (i + 1) * sizeof(struct entry) <= d->entries.size ? (struct entry *)(void *)d->entries.data + i : NULL;
}

static void identify(const struct destroy *d, struct entry *e)
{
    static const uint8_t zeros[IDENTITY_SIZE];
    uint8_t head[IDENTITY_SIZE] = { 0 };
    struct lsm_file *file;
    size_t got = 0;

    if (e->kind >= sizeof magic_of / sizeof *magic_of || !magic_of[e->kind] ||
        d->os->file_open(d->dir, e->name, LSM_OPEN_READ, 0, &file))
        return;
    if (d->os->file_read(file, head, sizeof head, 0, &got) == 0) {
        e->is_blank = memcmp(head, zeros, sizeof head) == 0;
        e->is_ours = got == sizeof head && memcmp(head, magic_of[e->kind], 8) == 0;
        memcpy(e->uuid, head + 16, 16);
    }
    d->os->file_close(file);
}

static void note_named(const struct destroy *d, enum lsm_file_kind kind, uint64_t number, bool is_named)
{
    for (size_t i = 0; entry_at(d, i); i++)
        if (entry_at(d, i)->kind == kind && entry_at(d, i)->number == number)
            entry_at(d, i)->is_named = is_named;
}

static int note_edit(void *ctx, const struct lsm_edit *e)
{
    struct destroy *d = ctx;

    for (size_t i = 0; i < lsm_edit_removed_count(e); i++)
        note_named(d, LSM_FILE_TABLE, lsm_edit_removed(e)[i].meta.number, false);
    for (size_t i = 0; i < lsm_edit_added_count(e); i++)
        note_named(d, LSM_FILE_TABLE, lsm_edit_added(e)[i].meta.number, true);
    for (size_t i = 0; i < lsm_edit_vlog_count(e); i++)
        note_named(d, LSM_FILE_VLOG, lsm_edit_vlogs(e)[i].number, true);
    if (e->has & LSM_EDIT_LOG)
        note_named(d, LSM_FILE_LOG, e->log_number, true);
    if (e->has & LSM_EDIT_LOG_END)
        note_named(d, LSM_FILE_LOG, e->log_end_number, true);
    return 0;
}

/* As far as they can be read. */
static void find_named(struct destroy *d, const uint8_t uuid[16])
{
    struct lsm_manifest m;
    uint64_t current;

    if (lsm_manifest_open(&m, d->os, d->dir, true, note_edit, d) == LSM_OK && memcmp(m.uuid, uuid, 16) != 0)
        for (size_t i = 0; entry_at(d, i); i++)
            entry_at(d, i)->is_named = false;
    lsm_manifest_close(&m);
    if (lsm_manifest_current(d->os, d->dir, &current) == LSM_OK)
        note_named(d, LSM_FILE_MANIFEST, current, true);
}

/* What is there, and whose: the store's uuid is what was asked for, or stands in its newest MANIFEST, or
   where there is none in any file. */
static int look(struct destroy *d, const char *path, const uint8_t *wanted, uint8_t uuid[16])
{
    const struct entry *best = NULL;
    int error;

    lsm_buf_reset(&d->entries);
    d->foreign[0] = 0;
    error = d->os->dir_list(d->dir, add_entry, d);
    if (error || d->entries.rc)
        return error ? lsm_fail_os(error, "list", path) : lsm_nomem();
    for (size_t i = 0; entry_at(d, i); i++) {
        struct entry *e = entry_at(d, i);

        identify(d, e);
        if (!e->is_ours)
            continue;
        bool is_wanted = wanted && memcmp(e->uuid, wanted, 16) == 0,
             had_wanted = wanted && best && memcmp(best->uuid, wanted, 16) == 0;
        if (!best || (is_wanted && !had_wanted) ||
            (is_wanted == had_wanted && e->kind == LSM_FILE_MANIFEST &&
             (best->kind != LSM_FILE_MANIFEST || e->number > best->number)))
            best = e;
    }
    if (!best)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no store in this directory; nothing was removed", path);
    if (wanted && memcmp(best->uuid, wanted, 16) != 0)
        return lsm_fail(LSM_MISMATCH, "%s: the store belongs to another database; nothing was removed", path);
    memcpy(uuid, best->uuid, 16);
    find_named(d, uuid);
    return LSM_OK;
}

static bool is_of_store(const struct entry *e, const uint8_t uuid[16])
{
    if (e->kind < sizeof magic_of / sizeof *magic_of && magic_of[e->kind])
        return e->is_blank || (e->is_ours ? memcmp(e->uuid, uuid, 16) == 0 : e->is_named);
    return true;
}

/* Either what makes it a store, or the rest; LOCK is last. */
static void remove_entries(struct destroy *d, const uint8_t uuid[16], bool names_it, int *rc)
{
    for (size_t i = 0; entry_at(d, i); i++) {
        const struct entry *e = entry_at(d, i);
        int error;

        if (e->kind == LSM_FILE_LOCK || (e->kind == LSM_FILE_CURRENT || e->kind == LSM_FILE_MANIFEST) != names_it)
            continue;
        if (!is_of_store(e, uuid)) {
            if (!d->foreign[0])
                snprintf(d->foreign, sizeof d->foreign, "%s", e->name);
            continue;
        }
        error = d->os->file_remove(d->dir, e->name);
        if (error && *rc == LSM_OK)
            *rc = lsm_fail_os(error, "remove", e->name);
    }
}

static int remove_store(struct destroy *d, const char *path, const uint8_t uuid[16])
{
    int rc = LSM_OK, error;

    remove_entries(d, uuid, true, &rc);
    if (rc == LSM_OK && (error = d->os->dir_sync(d->dir)))
        rc = lsm_fail_os(error, "sync directory", path);
    if (rc)
        return rc;
    remove_entries(d, uuid, false, &rc);
    if (rc)
        return rc;
    d->os->file_remove(d->dir, "LOCK");
    d->os->dir_sync(d->dir);
    if (d->foreign[0])
        return lsm_fail(LSM_EXISTS, "%s: kept, because it holds \"%s\", which is not of this store", path,
                        d->foreign);
    error = d->os->dir_remove(d->os, path);
    return error ? lsm_fail_os(error, "remove", path) : LSM_OK;
}

int lsm_db_destroy(const char *path, const struct lsm_options *options)
{
    const uint8_t *wanted = options ? options->uuid : NULL;
    struct lsm_os *os = options && options->os ? options->os : lsm_os_posix_new();
    struct lsm_db db = { .os = os, .path = (char *)path, .file_mode = 0644 };
    struct destroy d = { .os = os };
    uint8_t uuid[16];
    bool created;
    int error, rc;

    if (!os)
        return lsm_nomem();
    error = os->dir_open(os, path, false, 0, &created, &db.dir);
    if (error)
        db.dir = NULL;
    d.dir = db.dir;
    lsm_buf_init(&d.entries, os);
    rc = error == ENOENT ? lsm_fail(LSM_NOTFOUND, "%s: there is no such directory; nothing was removed", path) :
         error ? lsm_fail_os(error, "open directory", path) : look(&d, path, wanted, uuid);
    if (rc == LSM_OK)
        rc = lsm_lock_take(&db, true);
    if (rc == LSM_OK)           /* again: it may have become another one meanwhile */
        rc = look(&d, path, wanted, uuid);
    if (rc == LSM_OK)
        rc = remove_store(&d, path, uuid);
    lsm_buf_clear(&d.entries);
    if (db.lock_file)
        os->file_close(db.lock_file);
    if (db.dir)
        os->dir_close(db.dir);
    if (!options || !options->os)
        lsm_os_posix_free(os);
    return rc;
}

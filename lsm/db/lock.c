/*
 * lock.c -- LOCK: one process writes in a directory. The lock itself is the kernel's; what stands in the file
 * is for people: who writes, or wrote when it died. Who only reads leaves no name, so that a name tells who
 * has the lock only as long as no process has died with it.
 */
#include "lsm/db/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lsm/format/filename.h"

int lsm_lock_fail_held(struct lsm_os *os, const char *path, struct lsm_file *file, bool read_only, const char *way_out)
{
    char owner[160] = { 0 }, own[40];
    size_t got = 0;
    int n = snprintf(own, sizeof own, "process %llu,", (unsigned long long)os->process_id(os));

    os->file_read(file, owner, sizeof owner - 1, 0, &got);
    for (size_t i = 0; i < got; i++)
        if (owner[i] == '\n' || (unsigned char)owner[i] < 32)
            owner[i] = i + 1 == got ? 0 : ' ';
    if (!owner[0])
        return lsm_fail(LSM_BUSY, "%s: a process that %s, this one or another%s", path,
                        read_only ? "is opening or closing the store has its lock" : "only reads has the store open",
                        way_out);
    if (strncmp(owner, own, (size_t)n) == 0)
        return lsm_fail(LSM_BUSY, "%s: this process has the store open already (%s)%s", path, owner, way_out);
    return lsm_fail(LSM_BUSY, "%s: another process has the store open (%s; if that one is gone, one that "
                    "only reads)%s", path, owner, way_out);
}

static int fail_held(struct lsm_db *db, struct lsm_file *file)
{
    return lsm_lock_fail_held(db->os, db->path, file, db->read_only, "");
}

static int is_of_store(void *ctx, const char *name)
{
    enum lsm_file_kind kind;
    uint64_t number;

    (void)ctx;
    return lsm_filename_parse(name, &kind, &number);
}

/* Who only reads keeps writers out, and other readers not: the writer's files come and go. Without a
   LOCK nobody has written since it was copied. */
static int share_lock(struct lsm_db *db)
{
    struct lsm_os *os = db->os;
    struct lsm_file *file;
    int error = os->file_open(db->dir, "LOCK", LSM_OPEN_READ, 0, &file), rc;

    if (error == ENOENT)
        return LSM_OK;
    if (error)
        return lsm_fail_os(error, "open LOCK in", db->path);
    error = os->file_lock(file);
    if (error) {
        rc = error == EAGAIN ? fail_held(db, file) : lsm_fail_os(error, "lock", db->path);
        os->file_close(file);
        return rc;
    }
    db->lock_file = file;
    return LSM_OK;
}

int lsm_lock_take(struct lsm_db *db, bool create)
{
    struct lsm_os *os = db->os;
    struct lsm_file_info info;
    struct lsm_file *file;
    int error;

again:
    if (db->read_only)
        return share_lock(db);
    error = os->file_open(db->dir, "LOCK", LSM_OPEN_WRITE, db->file_mode, &file);
    if (error == ENOENT && !create && os->dir_list(db->dir, is_of_store, NULL) == 0)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no store in this directory (create_if_missing would make one)",
                        db->path);
    db->lock_created = error == ENOENT;
    if (error == ENOENT)
        error = os->file_open(db->dir, "LOCK", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, db->file_mode, &file);
    if (error == EROFS || error == EACCES || error == EPERM) {
        db->read_only = true;   /* but another may write all the same */
        db->read_only_why = "the directory cannot be written to";
        return share_lock(db);
    }
    if (error)
        return lsm_fail_os(error, "open LOCK in", db->path);
    error = os->file_lock(file);
    if (error) {
        int rc = error == EAGAIN ? fail_held(db, file) : lsm_fail_os(error, "lock", db->path);
        os->file_close(file);
        return rc;
    }
    /* Somebody may have removed it between our open and our lock: then it excludes nobody. */
    if (os->file_info(file, &info) == 0 && info.nlink == 0) {
        os->file_close(file);
        goto again;
    }
    db->lock_file = file;
    return LSM_OK;
}

void lsm_lock_sign(struct lsm_db *db)
{
    struct lsm_os *os = db->os;
    char text[160], since[LSM_TIME_TEXT_SIZE];
    int n;

    if (!db->lock_file || db->read_only)
        return;
    lsm_time_text(os->wall_us(os), since);
    n = snprintf(text, sizeof text, "process %llu, since %.19s UTC\n",
                 (unsigned long long)os->process_id(os), since);
    if (n <= 0 || os->file_truncate(db->lock_file, 0))
        return;
    db->lock_signed = true;
    os->file_write(db->lock_file, text, (size_t)n, 0);
}

void lsm_lock_release(struct lsm_db *db)
{
    if (db->lock_signed)        /* the next one to have the lock may be a reader, which leaves no name */
        db->os->file_truncate(db->lock_file, 0);
    if (db->lock_file)
        db->os->file_close(db->lock_file);
}

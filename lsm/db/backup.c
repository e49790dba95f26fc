/*
 * backup.c -- a copy of the store as it is at one moment, while others go on
 * writing.
 *
 *     begin    the log slot is free, no solo is between prepare and commit: note the version,
 *              the trees, the logs and where the newest one ends; hold all of it
 *     write    tables and value logs are linked (copied where that cannot be), the records that count are
 *              copied into one fresh log, then a MANIFEST is made; CURRENT comes last
 *     end      let go
 *
 * What is held: the view keeps tables from being unlinked, db->backups the logs.
 *
 * A crash leaves a directory without a MANIFEST, which no open takes for a store,
 * or the whole copy: all that the MANIFEST names is synced before it is made.
 *
 * Of the records only those count that `token` proves (commit.md R12): what may
 * still be decided in the original never is in the copy.
 */
#include "lsm/db/db.h"

#include <errno.h>

#include "lsm/format/filename.h"

#define WAIT_US 100000u                 /* for a solo's callback, which may be on our own thread */
#define COPY_BYTES (256u << 10)

struct lsm_backup {
    struct lsm_db *db;
    struct lsm_backup *next;            /* db->backups; mutex */
    uint64_t log_min;                   /* logs from here on must stay */
    struct lsm_view *view;
    struct lsm_edit edit;               /* a snapshot; borrows keys of the view, names of trees */
    struct lsm_buf logs;                /* u64 numbers, ascending */
    struct lsm_log_end end;             /* of the newest log that is appended to; number 0: read to the end */
    struct lsm_token token, root;
    bool carried;
};

/* ---- begin ---- */

/* Take the log slot at a moment when no solo is between its record and its publishing. */
static int take_slot(struct lsm_db *db)
{
    uint64_t until = db->os->mono_us(db->os) + WAIT_US;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    while (db->solo_in_flight) {
        lsm_write_slot_give(db);
        if (db->os->mono_us(db->os) >= until) {
            lsm_db_unlock(db);
            return lsm_fail(LSM_BUSY, "%s: a writer has not finished its commit", db->path);
        }
        db->os->cond_wait_us(db->changed, db->mutex, WAIT_US / 10);
        lsm_write_slot_take(db);
    }
    lsm_db_unlock(db);
    return LSM_OK;
}

static void give_slot(struct lsm_db *db)
{
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
}

/* Log slot held. */
static int note_all(struct lsm_backup *b, const struct lsm_token *token)
{
    struct lsm_db *db = b->db;
    int rc = LSM_OK;

    /* Records that only the host holds must stand in a log. */
    if (atomic_load(&db->carry.is_pending) && !db->read_only)
        rc = lsm_write_ready(db);
    /* One that only reads shows them from memory; in a copy they would be missing. */
    else if (atomic_load(&db->carry.is_pending))
        rc = lsm_fail(LSM_READONLY, "%s: a power cut took from the log what the database carries: open it once so that it can "
                      "be written, then make the backup", db->path);
    if (rc)
        return rc;
    lsm_db_lock(db);
    b->token = db->chain[db->chain_count - 1].token;
    b->root = db->root;
    b->carried = db->carry.flag;
    b->log_min = db->log_number_min;
    b->view = db->view;
    atomic_fetch_add(&b->view->refs, 1);
    if (db->has_log)
        b->end = lsm_log_end(&db->log);
    b->next = db->backups;
    db->backups = b;
    lsm_db_unlock(db);
    if (token && !lsm_token_equal(token, &b->token))
        return lsm_fail(LSM_CONFLICT, "%s: the store has gone on since that transaction: begin anew",
                        db->path);
    rc = lsm_write_logs(db, b->log_min, &b->logs);
    return rc ? rc : lsm_recover_snapshot(db, &b->edit);
}

int lsm_backup_begin(struct lsm_db *db, const struct lsm_token *token, struct lsm_backup **out)
{
    struct lsm_backup *b;
    int rc = lsm_db_usable(db);

    *out = NULL;
    if (rc == LSM_OK && token)
        rc = lsm_chain_publish_newest(db, token);
    if (rc)
        return rc;
    b = lsm_mem_zalloc(db->os, sizeof *b);
    if (!b)
        return lsm_nomem();
    b->db = db;
    lsm_buf_init(&b->logs, db->os);
    lsm_edit_init(&b->edit, db->os);
    rc = take_slot(db);
    if (rc == LSM_OK) {
        rc = note_all(b, token);
        give_slot(db);
    }
    if (rc == LSM_OK && token) {        /* in the copy it is committed, and on disk */
        b->edit.decided = b->edit.floor = *token;
        if (b->edit.txid < token->txid)
            b->edit.txid = token->txid;
    }
    if (rc) {
        lsm_backup_end(b);
        return rc;
    }
    *out = b;
    return LSM_OK;
}

void lsm_backup_end(struct lsm_backup *b)
{
    struct lsm_backup **link;
    struct lsm_db *db;

    if (!b)
        return;
    db = b->db;
    lsm_db_lock(db);
    for (link = &db->backups; *link; link = &(*link)->next)
        if (*link == b) {
            *link = b->next;
            break;
        }
    lsm_db_unlock(db);
    lsm_edit_clear(&b->edit);
    lsm_buf_clear(&b->logs);
    lsm_view_unref(b->view);
    lsm_mem_free(db->os, b);
}

uint64_t lsm_backup_log_min(const struct lsm_db *db, uint64_t log_min)
{
    for (const struct lsm_backup *b = db->backups; b; b = b->next)
        if (b->log_min < log_min)
            log_min = b->log_min;
    return log_min;
}

/* ---- which records count ---- */

struct mark {
    struct lsm_token id, base;
    uint8_t type;
    bool dead, keep, copied;
};

struct copy {
    struct lsm_backup *b;
    struct lsm_os *to_os;
    struct lsm_dir *to;
    uint32_t file_mode;
    struct lsm_log log;
    struct lsm_buf marks;               /* struct mark, by txid ascending */
    bool second_pass;
    struct lsm_buf made;                /* names, LSM_FILENAME_SIZE each */
    struct lsm_buf bytes;               /* scratch */
    struct lsm_backup_info info;
};

static struct mark *marks_of(const struct copy *c, size_t *count)
{
    *count = c->marks.size / sizeof(struct mark);
    return (struct mark *)c->marks.data;
}

static struct mark *find_mark(const struct copy *c, const struct lsm_token *id)
{
    size_t lo = 0, hi, count;
    struct mark *m = marks_of(c, &count);

    for (hi = count; lo < hi;) {
        size_t mid = (lo + hi) / 2;
        if (m[mid].id.txid < id->txid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < count && lsm_token_equal(&m[lo].id, id) ? &m[lo] : NULL;
}

static int mark_record(struct copy *c, const struct lsm_record *rec)
{
    struct mark *found = find_mark(c, &rec->id), mark = { rec->id, rec->base, rec->type, false, false, false };

    if (rec->type == LSM_RECORD_ABORT) {
        if (found)
            found->dead = true;
    } else if (!found) {                /* they ascend, but for copies */
        lsm_buf_append(&c->marks, &mark, sizeof mark);
    }
    return c->marks.rc;
}

static int choose(struct copy *c)
{
    struct lsm_token at = c->b->token;
    size_t count;
    struct mark *m = marks_of(c, &count), *link;

    while (!lsm_token_equal(&at, &c->b->root)) {
        link = find_mark(c, &at);
        if (!link) {
            if (c->b->carried)          /* the host has it, and its copy too */
                break;
            return lsm_corrupt("log", 0, "a committed transaction's record is missing");
        }
        link->keep = true;
        at = link->base;
    }
    if (lsm_token_equal(&at, &c->b->root))
        c->b->edit.carried = false;
    for (size_t i = 0; i < count; i++) {
        if (m[i].type != LSM_RECORD_SOLO || m[i].dead)
            continue;
        link = find_mark(c, &m[i].base);
        m[i].keep = lsm_token_equal(&m[i].base, &c->b->root) ||
                    (link && link->type == LSM_RECORD_JOINT && link->keep);
    }
    return LSM_OK;
}

/* ---- files ---- */

/* Before it is made, so that it can be removed whatever fails. */
static int remember(struct copy *c, const char *name)
{
    char fixed[LSM_FILENAME_SIZE] = { 0 };

    memcpy(fixed, name, strlen(name));
    lsm_buf_append(&c->made, fixed, sizeof fixed);
    return c->made.rc;
}

static int copy_bytes(struct copy *c, const char *name, struct lsm_file *from, struct lsm_file *to)
{
    struct lsm_os *os = c->b->db->os;
    uint64_t off = 0;
    size_t got;
    int error, rc;

    lsm_buf_reset(&c->bytes);
    rc = lsm_buf_reserve(&c->bytes, COPY_BYTES);
    if (rc)
        return rc;
    do {
        error = os->file_read(from, c->bytes.data, COPY_BYTES, off, &got);
        if (error)
            return lsm_fail_os(error, "read", name);
        error = got ? c->to_os->file_write(to, c->bytes.data, got, off) : 0;
        if (error)
            return lsm_fail_os(error, "write the copy of", name);
        off += got;
    } while (got == COPY_BYTES);
    error = c->to_os->file_sync(to);
    if (error)
        return lsm_fail_os(error, "sync the copy of", name);
    c->info.copied++;
    c->info.bytes_written += off;
    return LSM_OK;
}

static int copy_file(struct copy *c, const char *name)
{
    struct lsm_db *db = c->b->db;
    struct lsm_file *from, *to;
    int error = db->os->file_open(db->dir, name, LSM_OPEN_READ, 0, &from), rc;

    if (error)
        return lsm_fail_os(error, "open", name);
    error = c->to_os->file_open(c->to, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, c->file_mode, &to);
    if (error) {
        db->os->file_close(from);
        return lsm_fail_os(error, "create the copy of", name);
    }
    rc = copy_bytes(c, name, from, to);
    c->to_os->file_close(to);
    db->os->file_close(from);
    return rc;
}

/* A link of a symbolic link, or of a file that was cut, would be found when the copy is needed. */
static int check_file(struct lsm_db *db, const char *name, uint64_t size_bytes)
{
    struct lsm_file_info info;
    struct lsm_file *file;
    int error = db->os->file_open(db->dir, name, LSM_OPEN_READ, 0, &file);

    if (error)
        return lsm_fail_os(error, "open", name);
    error = db->os->file_info(file, &info);
    db->os->file_close(file);
    if (error)
        return lsm_fail_os(error, "stat", name);
    return info.size == size_bytes ? LSM_OK : lsm_corrupt(name, info.size, "the file is not of the size that it was made with");
}

/* Tables and value logs never change, so that a second name is a copy. */
static int copy_whole(struct copy *c, enum lsm_file_kind kind, uint64_t number, uint64_t size_bytes)
{
    struct lsm_db *db = c->b->db;
    char name[LSM_FILENAME_SIZE];
    int error = c->to_os == db->os ? 0 : EXDEV, rc;

    lsm_filename(name, kind, number);
    rc = check_file(db, name, size_bytes);
    if (rc == LSM_OK)
        rc = remember(c, name);
    if (rc)
        return rc;
    if (!error)
        error = db->os->file_link(db->dir, name, c->to, name);
    c->info.tables++;
    c->info.bytes += size_bytes;
    if (error == 0) {
        c->info.linked++;
        return LSM_OK;
    }
    /* Another file system, one without links, too many of them, or a file of somebody else's. */
    if (error == EXDEV || error == EPERM || error == EMLINK || error == EOPNOTSUPP || error == ENOSYS)
        return copy_file(c, name);
    return lsm_fail_os(error, "link", name);
}

static int copy_adopted(struct copy *c, const struct lsm_record *rec)
{
    struct lsm_reader r = lsm_reader(rec->adopted);
    int rc = LSM_OK;

    for (uint32_t i = 0; i < rec->adopted_count && rc == LSM_OK; i++) {
        struct lsm_table_meta meta;
        uint32_t vlog_count = 0;
        rc = lsm_record_next_adopted(&r, rec, &meta, &vlog_count);
        if (rc == LSM_OK)
            rc = copy_whole(c, LSM_FILE_TABLE, meta.number, meta.size_bytes);
        for (; vlog_count && rc == LSM_OK; vlog_count--) {
            struct lsm_vlog_meta vlog;
            lsm_vlog_meta_decode(&r, &vlog);    /* decoding the record has seen that it is there */
            rc = copy_whole(c, LSM_FILE_VLOG, vlog.number, vlog.size_bytes);
        }
    }
    return rc;
}

/* ---- the log ---- */

static int read_record(struct copy *c, struct lsm_slice payload, uint64_t off)
{
    struct lsm_record rec;
    struct mark *mark;
    int rc;

    if (!lsm_record_decode(payload, c->b->db->uuid, &rec))
        return lsm_corrupt("log", off, "not a record of this store");
    if (!c->second_pass)
        return mark_record(c, &rec);
    mark = rec.type == LSM_RECORD_ABORT ? NULL : find_mark(c, &rec.id);
    if (!mark || !mark->keep || mark->copied)
        return LSM_OK;
    mark->copied = true;
    rc = copy_adopted(c, &rec);
    return rc ? rc : lsm_log_append(&c->log, &payload, 1);
}

static int read_log(struct copy *c, uint64_t number)
{
    const struct lsm_db *db = c->b->db;
    struct lsm_log_reader r;
    struct lsm_log_end prev;
    struct lsm_slice payload;
    int rc = lsm_log_reader_open(&r, db->os, db->dir, db->uuid, number, &prev);

    if (number == c->b->end.number)
        lsm_log_reader_limit(&r, c->b->end.size);       /* what came later is not the copy's */
    while (rc == LSM_OK) {
        uint64_t off = r.frames.off;

        rc = lsm_log_reader_next(&r, &payload);
        if (rc == LSM_OK)
            rc = read_record(c, payload, off);
    }
    lsm_log_reader_close(&r);
    return rc == LSM_DONE ? LSM_OK : rc;
}

static int read_logs(struct copy *c)
{
    int rc = LSM_OK;

    for (size_t i = 0; i + 8 <= c->b->logs.size && rc == LSM_OK; i += 8)
        rc = read_log(c, lsm_get_u64(c->b->logs.data + i));
    return rc;
}

static int write_log(struct copy *c, uint64_t number)
{
    struct lsm_edit *edit = &c->b->edit;
    char name[LSM_FILENAME_SIZE];
    int rc = remember(c, lsm_filename(name, LSM_FILE_LOG, number));

    if (rc == LSM_OK)
        rc = lsm_log_create(&c->log, c->to_os, c->to, c->b->db->uuid, number, NULL, c->file_mode);
    if (rc)
        return rc;
    rc = read_logs(c);
    if (rc == LSM_OK)
        rc = choose(c);
    c->second_pass = true;
    if (rc == LSM_OK)
        rc = read_logs(c);
    if (rc == LSM_OK)
        rc = lsm_log_sync(&c->log);
    edit->has |= LSM_EDIT_LOG | LSM_EDIT_LOG_END;
    edit->log_number = edit->log_end_number = number;
    edit->log_end_size = c->log.size;
    edit->log_end_chain = c->log.chain;
    c->info.bytes_written += c->log.size;
    c->info.bytes += c->log.size;
    lsm_log_close(&c->log);
    return rc;
}

/* ---- write ---- */

static int write_all(struct copy *c)
{
    struct lsm_db *db = c->b->db;
    struct lsm_edit *edit = &c->b->edit;
    struct lsm_manifest manifest = { 0 };
    uint64_t number = edit->next_file;
    size_t count = lsm_edit_added_count(edit);
    int rc = LSM_OK, error;

    for (size_t i = 0; i < count && rc == LSM_OK; i++)
        rc = copy_whole(c, LSM_FILE_TABLE, lsm_edit_added(edit)[i].meta.number,
                        lsm_edit_added(edit)[i].meta.size_bytes);
    count = lsm_edit_vlog_count(edit);
    for (size_t i = 0; i < count && rc == LSM_OK; i++)
        rc = copy_whole(c, LSM_FILE_VLOG, lsm_edit_vlogs(edit)[i].number, lsm_edit_vlogs(edit)[i].size_bytes);
    if (rc == LSM_OK)
        rc = write_log(c, number);
    /* Before a MANIFEST is there, which a lost CURRENT would not hide. */
    if (rc == LSM_OK && (error = c->to_os->dir_sync(c->to)) != 0)
        rc = lsm_fail_os(error, "sync", "the copy's directory");
    if (rc)
        return rc;
    edit->next_file = number + 2;
    rc = lsm_manifest_create(&manifest, c->to_os, c->to, db->uuid, number + 1, c->file_mode, edit);
    c->info.bytes_written += manifest.size;
    lsm_manifest_close(&manifest);
    return rc;
}

/* Only what was made here, by name. */
static void remove_made(struct copy *c, const char *path)
{
    char name[LSM_FILENAME_SIZE];
    uint64_t number = c->b->edit.next_file;

    c->to_os->file_remove(c->to, "CURRENT");
    for (uint64_t n = number > 2 ? number - 2 : 0; n <= number + 2; n++) {
        c->to_os->file_remove(c->to, lsm_filename(name, LSM_FILE_TEMP, n));
        c->to_os->file_remove(c->to, lsm_filename(name, LSM_FILE_MANIFEST, n));
    }
    for (size_t i = 0; i + LSM_FILENAME_SIZE <= c->made.size; i += LSM_FILENAME_SIZE)
        c->to_os->file_remove(c->to, (const char *)c->made.data + i);
    c->to_os->dir_remove(c->to_os, path);
}

int lsm_backup_write(struct lsm_backup *b, const char *path, struct lsm_backup_info *info)
{
    struct lsm_db *db = b->db;
    struct copy c = { .b = b, .to_os = db->disk_os, .file_mode = db->file_mode | 0600 };    /* its maker can write to it */
    uint32_t dir_mode = c.file_mode | ((c.file_mode & 0444) >> 2);
    char why[LSM_ERROR_TEXT_SIZE];
    bool created = false;
    int error, rc;

    if (info)
        *info = c.info;
    error = c.to_os->dir_open(c.to_os, path, true, dir_mode, &created, &c.to);
    if (error)
        return lsm_fail_os(error, "make directory", path);
    if (!created) {
        c.to_os->dir_close(c.to);
        return lsm_fail(LSM_EXISTS, "%s: is there already, and nothing is overwritten", path);
    }
    lsm_buf_init(&c.marks, db->os);
    lsm_buf_init(&c.made, db->os);
    lsm_buf_init(&c.bytes, db->os);
    if (db->has_owner && c.to_os->dir_give)
        error = c.to_os->dir_give(c.to, db->owner.uid, db->owner.gid, true);
    rc = error ? lsm_fail_os(error, "give to the database's owner", path) : write_all(&c);
    if (rc) {
        lsm_error_save(why, sizeof why);
        remove_made(&c, path);
        rc = lsm_fail(rc, "%s", why);
    } else if (info) {
        *info = c.info;
    }
    lsm_buf_clear(&c.marks);
    lsm_buf_clear(&c.made);
    lsm_buf_clear(&c.bytes);
    c.to_os->dir_close(c.to);
    if (rc == LSM_OK)
        lsm_db_event(db, LSM_EVENT_INFO, "backup to %s: %llu tables linked, %llu copied", path,
                     (unsigned long long)c.info.linked, (unsigned long long)c.info.copied);
    return rc;
}

int lsm_db_backup(struct lsm_db *db, const char *path, struct lsm_backup_info *info)
{
    struct lsm_backup *b;
    int rc = lsm_backup_begin(db, NULL, &b);

    if (rc)
        return rc;
    rc = lsm_backup_write(b, path, info);
    lsm_backup_end(b);
    return rc;
}

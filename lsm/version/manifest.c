/*
 * manifest.c -- the log of edits, and CURRENT.
 *
 * A new MANIFEST comes to life in this order; each step says which crash it
 * prevents:
 *
 *     1 write MANIFEST-n, sync it     CURRENT names a file whose bytes are not there
 *     2 sync the directory            CURRENT names a file that is not there
 *     3 write n.tmp, sync it          CURRENT is empty or torn after the rename
 *     4 rename n.tmp to CURRENT       (the one step that decides)
 *     5 sync the directory            the caller removes what the old CURRENT still needs
 *
 * A failure before 4 leaves the former MANIFEST in force and what was made is
 * removed, except after a failed directory sync, when nothing is removed. From 4
 * on nobody knows which of the two a crash would find, so neither may get
 * another edit.
 */
#include <assert.h>
#include <errno.h>

#include "lsm/format/filename.h"
#include "lsm/store/log.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"
#include "lsm/version/manifest.h"

#define HEADER_SIZE LSM_MANIFEST_HEADER_SIZE
#define CURRENT_SIZE_MAX 64u
#define SUM_DIGITS 16u
#define LONG_BYTES_MIN (UINT64_C(1) << 20)

_Static_assert(HEADER_SIZE == LSM_FRAME_IDENTITY_SIZE + 8, "no fields of its own");


static void check_manifest(const struct lsm_manifest *m)
{
    assert(m->file);
    assert(m->snapshot_size > HEADER_SIZE);
    assert(m->size >= m->snapshot_size);
    assert(m->size % 8 == 0);
    assert(m->synced <= m->size);
    (void)m;
}

/* A sync that fails leaves the file's state unknown, whatever the reason. */
static int fail_sync(int error, const char *name)
{
    lsm_fail_os(error, "sync", name);
    return LSM_FSYNC;
}

static int sync_dir(struct lsm_os *os, struct lsm_dir *dir)
{
    int error = os->dir_sync(dir);

    return error ? fail_sync(error, "the store's directory") : LSM_OK;
}

/* Create `name` with `bytes` in it, on disk. On failure there is none, as far as removing works. */
static int write_file(struct lsm_os *os, struct lsm_dir *dir, const char *name, uint32_t mode,
                      struct lsm_slice bytes, struct lsm_file **file)
{
    int error = os->file_open(dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, mode, file), rc;

    if (error) {
        *file = NULL;
        return lsm_fail_os(error, "create", name);
    }
    error = os->file_write(*file, bytes.data, bytes.size, 0);
    rc = error ? lsm_fail_os(error, "write", name) : LSM_OK;
    if (rc == LSM_OK && (error = os->file_sync(*file)))
        rc = fail_sync(error, name);
    if (rc != LSM_OK) {
        os->file_close(*file);
        *file = NULL;
        os->file_remove(dir, name);
    }
    return rc;
}

/* ---- CURRENT ------------------------------------------------------------ */

static uint64_t current_sum(const char *line, size_t size)
{
    return lsm_hash64(line, size, lsm_get_u64((const uint8_t *)"CURRENT"));
}

/* The text of CURRENT; returns its size. */
static size_t current_text(char text[CURRENT_SIZE_MAX], uint64_t number)
{
    static const char hex[] = "0123456789abcdef";
    char name[LSM_FILENAME_SIZE];
    size_t size = strlen(lsm_filename(name, LSM_FILE_MANIFEST, number));
    uint64_t sum;

    memcpy(text, name, size);
    text[size++] = '\n';
    sum = current_sum(text, size);
    for (unsigned i = 0; i < SUM_DIGITS; i++)
        text[size++] = hex[sum >> (60 - 4 * i) & 15];
    text[size++] = '\n';
    return size;
}

/*
 * Make CURRENT name MANIFEST-number. *decided: the rename was tried, so that
 * after a failure either name may be what a crash finds.
 */
static int write_current(struct lsm_os *os, struct lsm_dir *dir, uint64_t number, uint32_t mode,
                         bool *decided)
{
    char name[LSM_FILENAME_SIZE], text[CURRENT_SIZE_MAX];
    size_t size = current_text(text, number);
    struct lsm_file *file;
    int error, rc;

    *decided = false;
    lsm_filename(name, LSM_FILE_TEMP, number);
    error = os->file_remove(dir, name);         /* what a crash here left behind */
    if (error && error != ENOENT)
        return lsm_fail_os(error, "remove", name);
    rc = write_file(os, dir, name, mode, lsm_slice(text, size), &file);     /* step 3 */
    if (rc != LSM_OK)
        return rc;
    os->file_close(file);
    *decided = true;
    error = os->file_rename(dir, name, "CURRENT");                          /* step 4 */
    if (error)
        return lsm_fail_os(error, "rename", name);
    return sync_dir(os, dir);                                               /* step 5 */
}

int lsm_manifest_current(struct lsm_os *os, struct lsm_dir *dir, uint64_t *number)
{
    char text[CURRENT_SIZE_MAX], again[CURRENT_SIZE_MAX], name[LSM_FILENAME_SIZE];
    enum lsm_file_kind kind;
    struct lsm_file *file;
    size_t size, n;
    int error = os->file_open(dir, "CURRENT", LSM_OPEN_READ, 0, &file);

    if (error)
        return lsm_fail_os(error, "open", "CURRENT");
    error = os->file_read(file, text, sizeof(text), 0, &size);
    os->file_close(file);
    if (error)
        return lsm_fail_os(error, "read", "CURRENT");

    for (n = 0; n < size && n < sizeof(name) - 1 && text[n] != '\n'; n++)
        name[n] = text[n];
    name[n] = '\0';
    if (!lsm_filename_parse(name, &kind, number) || kind != LSM_FILE_MANIFEST)
        return LSM_DONE;
    n = current_text(again, *number);           /* only what we would write is ours */
    return n == size && memcmp(text, again, n) == 0 ? LSM_OK : LSM_DONE;
}

/* ---- writing ------------------------------------------------------------ */

/* One frame for `edit` behind `room` bytes in `out`. */
static int encode_frame(struct lsm_os *os, const struct lsm_edit *edit, size_t room, uint64_t base,
                        uint64_t off, uint64_t *chain, struct lsm_buf *out)
{
    struct lsm_buf payload;
    struct lsm_slice part;
    size_t size;
    int rc;

    lsm_buf_init(&payload, os);
    lsm_edit_encode(edit, &payload);
    part = lsm_buf_slice(&payload);
    rc = payload.rc;
    if (rc == LSM_OK && part.size > LSM_FRAME_PAYLOAD_MAX)
        rc = lsm_fail(LSM_TOOBIG, "an edit of the MANIFEST is over %u bytes",
                      LSM_FRAME_PAYLOAD_MAX);
    if (rc == LSM_OK) {
        size = room + (size_t)lsm_frame_size(part.size);
        rc = lsm_buf_reserve(out, size);
        if (rc == LSM_OK) {
            *chain = lsm_frame_encode(out->data + room, &part, 1, base, off, off, *chain);
            out->size = size;
        }
    }
    lsm_buf_clear(&payload);
    return rc;
}

int lsm_manifest_create(struct lsm_manifest *m, struct lsm_os *os, struct lsm_dir *dir,
                        const uint8_t uuid[16], uint64_t number, uint32_t file_mode,
                        const struct lsm_edit *snapshot)
{
    struct lsm_manifest new = { .os = os, .dir = dir, .number = number };
    char name[LSM_FILENAME_SIZE];
    uint8_t header[HEADER_SIZE];
    struct lsm_buf bytes;
    uint64_t salt;
    bool decided;
    int error, rc;

    assert(!m->file || number > m->number);
    lsm_buf_init(&bytes, os);
    lsm_filename(name, LSM_FILE_MANIFEST, number);
    memcpy(new.uuid, uuid, sizeof(new.uuid));

    error = os->random(os, &salt, sizeof(salt));
    if (error)
        return lsm_fail_os(error, "random numbers for", name);
    lsm_frame_identity_put(header, LSM_MANIFEST_MAGIC, uuid, number, salt);
    new.base = new.chain = lsm_frame_header_seal(header, sizeof(header));
    rc = encode_frame(os, snapshot, sizeof(header), new.base, sizeof(header), &new.chain, &bytes);
    if (rc != LSM_OK)
        goto out;
    memcpy(bytes.data, header, sizeof(header));

    rc = write_file(os, dir, name, file_mode, lsm_buf_slice(&bytes), &new.file);    /* step 1 */
    if (rc != LSM_OK)
        goto out;
    new.size = new.synced = new.snapshot_size = bytes.size;
    rc = sync_dir(os, dir);                                                         /* step 2 */
    if (rc != LSM_OK)
        goto out;
    rc = write_current(os, dir, number, file_mode, &decided);                       /* 3, 4, 5 */
    if (rc != LSM_OK) {
        if (decided)
            m->failed = true;
        else
            os->file_remove(dir, name);
        goto out;
    }
    lsm_manifest_close(m);
    *m = new;
    new.file = NULL;
    check_manifest(m);
out:
    lsm_buf_clear(&bytes);
    if (new.file)
        os->file_close(new.file);
    return rc;
}

static int sync_manifest(struct lsm_manifest *m, const char *name)
{
    int error = m->os->file_sync(m->file);

    if (error) {
        m->failed = true;
        return fail_sync(error, name);
    }
    m->synced = m->size;
    return LSM_OK;
}

int lsm_manifest_append(struct lsm_manifest *m, const struct lsm_edit *edit)
{
    uint64_t chain = m->chain;
    char name[LSM_FILENAME_SIZE];
    struct lsm_buf frame;
    int error, rc = LSM_OK;

    check_manifest(m);
    lsm_filename(name, LSM_FILE_MANIFEST, m->number);
    if (m->failed)
        return lsm_fail(LSM_FSYNC, "%s: a write or sync failed earlier; begin a new MANIFEST",
                        name);
    /* Prevents: this edit is on disk and an earlier one, which was read out of the page cache when
       the store was opened, is not. */
    if (m->synced < m->size && (rc = sync_manifest(m, name)) != LSM_OK)
        return rc;

    lsm_buf_init(&frame, m->os);
    rc = encode_frame(m->os, edit, 0, m->base, m->size, &chain, &frame);
    if (rc == LSM_OK && frame.size > LSM_FRAME_FILE_MAX - m->size)
        rc = lsm_fail(LSM_TOOBIG, "%s is full: begin a new one", name);
    if (rc == LSM_OK) {
        error = m->os->file_write(m->file, frame.data, frame.size, m->size);
        if (error) {
            m->failed = true;
            rc = lsm_fail_os(error, "write", name);
        }
    }
    if (rc == LSM_OK) {
        m->size += frame.size;
        m->chain = chain;
        rc = sync_manifest(m, name);
    }
    lsm_buf_clear(&frame);
    return rc;
}

bool lsm_manifest_is_long(const struct lsm_manifest *m)
{
    uint64_t limit = 2 * m->snapshot_size;

    return m->size - m->snapshot_size > (limit > LONG_BYTES_MIN ? limit : LONG_BYTES_MIN);
}

void lsm_manifest_close(struct lsm_manifest *m)
{
    if (m->file)
        m->os->file_close(m->file);
    *m = (struct lsm_manifest){ 0 };
}

/* ---- reading ------------------------------------------------------------ */

/*
 * Read MANIFEST-number into *m, which stays open. *unfinished (with LSM_CORRUPT):
 * header or snapshot is not whole and nothing in the file proves that it ever was.
 */
static int read_manifest(struct lsm_manifest *m, struct lsm_os *os, struct lsm_dir *dir,
                         uint64_t number, bool write,
                         int (*fn)(void *ctx, const struct lsm_edit *edit), void *ctx,
                         bool *unfinished)
{
    struct lsm_frame_reader r = { 0 };
    char name[LSM_FILENAME_SIZE];
    uint8_t header[HEADER_SIZE];
    struct lsm_slice payload;
    struct lsm_edit edit;
    bool ended = false;
    int error, rc;

    *unfinished = false;
    *m = (struct lsm_manifest){ .os = os, .dir = dir, .number = number };
    lsm_filename(name, LSM_FILE_MANIFEST, number);
    error = os->file_open(dir, name, write ? LSM_OPEN_WRITE : LSM_OPEN_READ, 0, &m->file);
    if (error) {
        m->file = NULL;
        return error == ENOENT
            ? lsm_corrupt(name, 0, "CURRENT names it, but it is missing")
            : lsm_fail_os(error, "open", name);
    }
    rc = lsm_frame_reader_open(&r, os, m->file, name);
    if (rc == LSM_OK) {
        rc = lsm_frame_read_header(&r, header, sizeof(header));
        ended = rc == LSM_DONE;
        /* A size may reach the disk before the bytes do: garbage from the first byte on. */
        *unfinished = rc == LSM_CORRUPT;
    }
    if (rc == LSM_OK)
        rc = lsm_frame_header_check(header, LSM_MANIFEST_MAGIC, number, 0, write, name);
    if (rc == LSM_OK)
        memcpy(m->uuid, lsm_frame_header_uuid(header), sizeof(m->uuid));

    lsm_edit_init(&edit, os);
    while (rc == LSM_OK) {
        uint64_t off = r.off;

        rc = lsm_frame_read(&r, &payload);
        ended = rc == LSM_DONE;
        if (rc == LSM_OK)
            rc = lsm_edit_decode(&edit, payload, name, off + LSM_FRAME_HEAD_SIZE);
        if (rc == LSM_OK)
            rc = fn(ctx, &edit);
        lsm_edit_clear(&edit);
        if (rc == LSM_OK && m->snapshot_size == 0)
            m->snapshot_size = r.off;
    }
    if (ended && m->snapshot_size) {
        rc = LSM_OK;
        m->base = r.base;
        m->size = r.off;
        m->chain = r.chain;
        m->failed = r.torn;
    } else if (ended) {
        *unfinished = true;
        rc = lsm_corrupt(name, r.off, "its snapshot is not whole");
    }
    lsm_frame_reader_close(&r);
    if (rc != LSM_OK)
        lsm_manifest_close(m);
    return rc;
}

struct listing {                /* what stands in the directory */
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_buf manifests;   /* u64 numbers */
    bool has_data;              /* a table, a value log, a log with something in it */
};

static bool log_holds_something(struct lsm_os *os, struct lsm_dir *dir, const char *name)
{
    struct lsm_file_info info = { 0 };
    struct lsm_file *file;
    int error = os->file_open(dir, name, LSM_OPEN_READ, 0, &file);

    if (error)
        return true;            /* not known to be empty */
    error = os->file_info(file, &info);
    os->file_close(file);
    return error || info.size > LSM_LOG_HEADER_SIZE;
}

static int list_entry(void *ctx, const char *name)
{
    struct listing *l = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (!lsm_filename_parse(name, &kind, &number))
        return 0;
    if (kind == LSM_FILE_MANIFEST)
        lsm_buf_put_u64(&l->manifests, number);
    else if (kind == LSM_FILE_TABLE || kind == LSM_FILE_VLOG ||
             (kind == LSM_FILE_LOG && log_holds_something(l->os, l->dir, name)))
        l->has_data = true;
    return 0;
}

static int ignore_edit(void *ctx, const struct lsm_edit *edit)
{
    (void)ctx;
    (void)edit;
    return LSM_OK;
}

/*
 * CURRENT is missing or unreadable. Which MANIFEST must it have named? Answered
 * only where no other answer is possible:
 *
 *     one whole, none but unfinished ones below it                     that one
 *     CURRENT missing, no whole one, only unfinished ones, no data     LSM_NOTFOUND
 *     anything else (of two whole ones, one is stale)                  LSM_CORRUPT
 */
static int guess_current(struct lsm_os *os, struct lsm_dir *dir, bool is_missing, uint64_t *number)
{
    struct listing l = { .os = os, .dir = dir };
    uint64_t unfinished_max = 0;
    size_t whole_count = 0, unclear_count = 0;
    int error, rc;

    lsm_buf_init(&l.manifests, os);
    error = os->dir_list(dir, list_entry, &l);
    rc = error ? lsm_fail_os(error, "list", "the store's directory") : l.manifests.rc;

    for (size_t at = 0; rc == LSM_OK && at < l.manifests.size; at += sizeof(uint64_t)) {
        uint64_t n = lsm_get_u64(l.manifests.data + at);
        struct lsm_manifest m;
        bool unfinished;

        rc = read_manifest(&m, os, dir, n, false, ignore_edit, NULL, &unfinished);
        if (rc == LSM_OK && !m.failed) {
            whole_count++;
            *number = n;
        } else if (unfinished) {
            if (n > unfinished_max)
                unfinished_max = n;
        } else if (rc == LSM_OK || rc == LSM_CORRUPT || rc == LSM_FORMAT) {
            unclear_count++;            /* it may have been the one */
        }
        if (rc == LSM_CORRUPT || rc == LSM_FORMAT)
            rc = LSM_OK;
        lsm_manifest_close(&m);
    }
    lsm_buf_clear(&l.manifests);
    if (rc != LSM_OK)
        return rc;

    if (whole_count == 1 && unclear_count == 0 && unfinished_max < *number)
        return LSM_OK;
    if (is_missing && whole_count == 0 && unclear_count == 0 && !l.has_data)
        return lsm_fail(LSM_NOTFOUND, "there is no store in this directory");
    return lsm_corrupt("CURRENT", 0, is_missing
                       ? "it is missing, and no MANIFEST is sure to be the newest: repair the store"
                       : "it is not what was written, and no MANIFEST is sure to be the newest: "
                         "repair the store");
}

int lsm_manifest_open(struct lsm_manifest *m, struct lsm_os *os, struct lsm_dir *dir,
                      bool read_only,
                      int (*fn)(void *ctx, const struct lsm_edit *edit), void *ctx)
{
    bool guessed = false, unfinished;
    uint64_t number = 0;
    int rc;

    *m = (struct lsm_manifest){ 0 };
    rc = lsm_manifest_current(os, dir, &number);
    if (rc == LSM_NOTFOUND || rc == LSM_DONE) {
        rc = guess_current(os, dir, rc == LSM_NOTFOUND, &number);
        guessed = true;
    }
    if (rc == LSM_OK)
        rc = read_manifest(m, os, dir, number, !read_only, fn, ctx, &unfinished);
    /* Its sync may be what failed, and a second one would lie: the next edit begins a new MANIFEST, and
       that writes CURRENT. Until then it is found again in the same way. */
    if (rc == LSM_OK && guessed)
        m->failed = m->is_guessed = true;
    return rc;
}

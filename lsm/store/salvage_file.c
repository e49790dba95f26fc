/*
 * salvage_file.c -- read a file of which some bytes cannot be read.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "lsm/store/salvage_file.h"

#define LARGE ((size_t)1 << 20)
#define PAGE ((size_t)4 << 10)
#define ROW_MAX 8u                      /* as in rescue.c */
#define TEXT_SIZE 256

enum { TOO_LARGE = -1 };                /* in place of an errno */

void lsm_salvage_file_init(struct lsm_salvage_file *f, struct lsm_os *os, struct lsm_dir *dir, const char *name)
{
    *f = (struct lsm_salvage_file){ .os = os, .dir = dir, .name = name };
    lsm_buf_init(&f->unread, os);
}

void lsm_salvage_file_clear(struct lsm_salvage_file *f)
{
    lsm_buf_clear(&f->unread);
}

static struct lsm_salvage_unread *unread_of(const struct lsm_salvage_file *f, size_t *count)
{
    *count = f->unread.size / sizeof(struct lsm_salvage_unread);
    return (struct lsm_salvage_unread *)f->unread.data;
}

bool lsm_salvage_file_is_unread(const struct lsm_salvage_file *f, uint64_t off, uint64_t size)
{
    size_t count;
    const struct lsm_salvage_unread *u = unread_of(f, &count);

    for (size_t i = 0; i < count; i++)
        if (u[i].off < off + size && u[i].off + u[i].size > off)
            return true;
    return false;
}

/* Behind all that is known: reading goes upwards, once. */
static void add_unread(struct lsm_salvage_file *f, uint64_t off, uint64_t size, int error)
{
    size_t count;
    struct lsm_salvage_unread *u = unread_of(f, &count), fresh = { off, size, error, false };

    assert(count == 0 || u[count - 1].off + u[count - 1].size <= off);
    if (count > 0 && u[count - 1].off + u[count - 1].size == off && u[count - 1].error == error)
        u[count - 1].size += size;
    else
        lsm_buf_append(&f->unread, &fresh, sizeof fresh);
}

static int open_file(const struct lsm_salvage_file *f, struct lsm_file **file)
{
    int error = f->os->file_open(f->dir, f->name, LSM_OPEN_READ, 0, file);

    return error ? lsm_fail_os(error, "open", f->name) : LSM_OK;
}

/* ---- reading ---- */

static void missing(void *ctx, uint64_t off, uint64_t size, int error)
{
    add_unread(ctx, off, size, error);
}

static int read_file(struct lsm_salvage_file *f, struct lsm_file *file, uint64_t off, size_t size, uint8_t *data,
                     size_t *got)
{
    int error;

    f->rescue.ctx = f;
    f->rescue.missing = missing;
    error = lsm_rescue_read(&f->rescue, f->os, file, data, size, off, got);
    return error ? lsm_fail_os(error, "read", f->name) : f->unread.rc;
}

int lsm_salvage_file_read(struct lsm_salvage_file *f, uint64_t off, size_t size, uint8_t *data, size_t *got)
{
    struct lsm_file *file;
    int rc = open_file(f, &file);

    *got = 0;
    if (rc)
        return rc;
    rc = read_file(f, file, off, size, data, got);
    f->os->file_close(file);
    return rc;
}

int lsm_salvage_file_read_whole(struct lsm_salvage_file *f, uint64_t off, size_t size, uint8_t *data, size_t *got)
{
    struct lsm_file *file;
    int error, rc;

    *got = 0;
    if (f->skip > 0) {
        f->skip--;
        return lsm_fail(LSM_IOERR, "it was not tried, since too many in front of it cannot be read");
    }
    rc = open_file(f, &file);
    if (rc)
        return rc;
    error = f->os->file_read(file, data, size, off, got);
    f->os->file_close(file);
    if (error == ENOMEM)
        return lsm_nomem();
    f->row = error ? f->row + 1 : 0;
    if (f->row > ROW_MAX)
        f->skip = f->row < ROW_MAX + 8 ? 1u << (f->row - ROW_MAX) : 1u << 8;
    return error ? lsm_fail_os(error, "read", f->name) : LSM_OK;
}

/* ---- holes ---- */

static uint64_t next_data(const struct lsm_salvage_file *f, struct lsm_file *file, uint64_t off, uint64_t end)
{
    uint64_t data = f->os->file_next_data ? f->os->file_next_data(file, off) : off;

    return data < end ? data : end;
}

int lsm_salvage_file_next_data(struct lsm_salvage_file *f, uint64_t off, uint64_t end, uint64_t *data)
{
    struct lsm_file *file;
    int rc = open_file(f, &file);

    if (rc)
        return rc;
    *data = next_data(f, file, off, end);
    f->os->file_close(file);
    return LSM_OK;
}

static int read_all(struct lsm_salvage_file *f, struct lsm_file *file, uint64_t allocated, uint64_t end, struct lsm_buf *to)
{
    uint64_t off = 0, hole;
    int rc = lsm_buf_reserve(to, (size_t)(allocated < end ? allocated : end) + PAGE);

    while (rc == LSM_OK && off < end) {
        uint64_t data = next_data(f, file, off, end);
        size_t want, got;

        /* A frame may end in zeros, and so does what stands behind it to the end of a page. */
        hole = data < end || data - off < PAGE ? data - off : PAGE;
        want = end - data < LARGE ? (size_t)(end - data) : LARGE;
        rc = lsm_buf_reserve(to, (size_t)hole + want);
        if (rc)
            return rc;
        if (hole)
            memset(to->data + to->size, 0, (size_t)hole);
        to->size += (size_t)hole;
        rc = read_file(f, file, data, want, to->data + to->size, &got);
        to->size += got;
        off = data + want;
        if (got < want)
            break;
    }
    return rc;
}

int lsm_salvage_file_read_all(struct lsm_salvage_file *f, uint64_t most, struct lsm_buf *to, uint64_t *size)
{
    struct lsm_file_info info;
    struct lsm_file *file;
    int rc = open_file(f, &file), error;

    *size = 0;
    if (rc)
        return rc;
    error = f->os->file_info(file, &info);
    rc = error ? lsm_fail_os(error, "look at", f->name) : LSM_OK;
    if (rc == LSM_OK) {
        *size = info.size < most ? info.size : most;
        rc = read_all(f, file, info.allocated, *size, to);
    }
    if (rc == LSM_OK && info.size > most && next_data(f, file, most, info.size) < info.size) {
        add_unread(f, most, info.size - most, TOO_LARGE);
        rc = f->unread.rc;
    }
    f->os->file_close(file);
    return rc;
}

/* ---- what is lost ---- */

static void why_unread(const struct lsm_salvage_file *f, const struct lsm_salvage_unread *u, char text[TEXT_SIZE])
{
    if (u->error == TOO_LARGE) {
        snprintf(text, TEXT_SIZE, "no file of its kind is so large");
    } else {
        lsm_fail_os(u->error, "read", f->name);
        lsm_error_save(text, TEXT_SIZE);
    }
}

void lsm_salvage_file_lost(struct lsm_salvage_file *f, const struct lsm_salvage_lost *lost, uint64_t off, uint64_t size,
                           const char *why)
{
    char text[TEXT_SIZE], reason[TEXT_SIZE + 128];
    size_t count, first = 0, last = 0;
    struct lsm_salvage_unread *u = unread_of(f, &count);
    uint64_t bytes = 0, begin = 0;

    for (size_t i = 0; i < count; i++)
        if (u[i].off < off + size && u[i].off + u[i].size > off) {
            uint64_t from = u[i].off > off ? u[i].off : off;
            uint64_t to = u[i].off + u[i].size < off + size ? u[i].off + u[i].size : off + size;

            first = bytes ? first : i;
            begin = bytes ? begin : from;
            last = i;
            bytes += to - from;
            /* All of it: where it reaches further, the stretch behind this one is lost as well. */
            u[i].is_told = true;
        }
    if (!lost->fn)
        return;
    if (bytes) {
        why_unread(f, &u[first], text);
        snprintf(reason, sizeof reason, "%llu of them, from %llu on%s: %s", (unsigned long long)bytes,
                 (unsigned long long)begin, first < last ? " in several places" : "", text);
    }
    lost->fn(lost->ctx, f->name, off, size, bytes ? reason : why);
}

void lsm_salvage_file_lost_unread(struct lsm_salvage_file *f, const struct lsm_salvage_lost *lost)
{
    char text[TEXT_SIZE];
    size_t count;
    struct lsm_salvage_unread *u = unread_of(f, &count);

    for (size_t i = 0; i < count && lost->fn; i++)
        if (!u[i].is_told) {
            u[i].is_told = true;
            why_unread(f, &u[i], text);
            lost->fn(lost->ctx, f->name, u[i].off, u[i].size, text);
        }
}

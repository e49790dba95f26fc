/*
 * outfile.c -- see outfile.h.
 */
#include "lsm/store/outfile.h"

#include <assert.h>

#define WRITE_SIZE (256u << 10)
#define PUSH_SIZE (512u << 10)          /* the disk writes them while the next ones are made */

int lsm_outfile_open(struct lsm_outfile *f, struct lsm_os *os, struct lsm_dir *dir,
                     enum lsm_file_kind kind, uint64_t number, uint32_t file_mode)
{
    int error;

    f->os = os;
    f->dir = dir;
    f->written = f->pushed = 0;
    f->is_finished = false;
    f->rc = LSM_OK;
    lsm_filename(f->name, kind, number);
    error = os->file_open(dir, f->name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, file_mode, &f->file);
    if (error)
        return lsm_fail_os(error, "create", f->name);
    lsm_buf_init(&f->out, os);
    return LSM_OK;
}

void lsm_outfile_fail(struct lsm_outfile *f, int rc)
{
    if (f->rc || rc == LSM_OK)
        return;
    f->rc = rc;
    lsm_error_save(f->error, sizeof f->error);
}

static void write_out(struct lsm_outfile *f)
{
    int error;

    lsm_outfile_fail(f, f->out.rc);
    if (f->rc || f->out.size == 0)
        return;
    error = f->os->file_write(f->file, f->out.data, f->out.size, f->written);
    if (error) {
        lsm_outfile_fail(f, lsm_fail_os(error, "write", f->name));
        return;
    }
    f->written += f->out.size;
    if (f->os->file_push && f->written - f->pushed >= PUSH_SIZE) {
        f->os->file_push(f->file, f->pushed, f->written - f->pushed);
        f->pushed = f->written;
    }
    if (f->out.cap > 4 * WRITE_SIZE)
        lsm_buf_clear(&f->out);         /* a large value has passed */
    else
        lsm_buf_reset(&f->out);
}

void lsm_outfile_grown(struct lsm_outfile *f)
{
    if (f->out.size >= WRITE_SIZE)
        write_out(f);
}

static void sync_file(struct lsm_outfile *f)
{
    char text[LSM_ERROR_TEXT_SIZE];
    int error = f->os->file_sync(f->file), rc;

    if (error == 0)
        return;
    rc = lsm_fail_os(error, "sync", f->name);
    if (rc != LSM_FULL) {               /* no space is a condition, the rest a broken promise */
        lsm_error_save(text, sizeof text);
        rc = lsm_fail(LSM_FSYNC, "%s", text);
    }
    lsm_outfile_fail(f, rc);
}

int lsm_outfile_finish(struct lsm_outfile *f)
{
    assert(!f->is_finished);
    write_out(f);
    if (f->rc == LSM_OK)
        sync_file(f);
    if (f->rc)
        return lsm_fail(f->rc, "%s", f->error);
    f->is_finished = true;
    return LSM_OK;
}

void lsm_outfile_close(struct lsm_outfile *f)
{
    f->os->file_close(f->file);
    if (!f->is_finished)
        f->os->file_remove(f->dir, f->name);    /* what stays is an orphan for the sweep */
    lsm_buf_clear(&f->out);
}

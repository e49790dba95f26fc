/*
 * vlog_writer.c -- write values to a file of their own; see vlog_writer.h.
 *
 * Threads: one at a time.
 */
#include "lsm/store/vlog_writer.h"

#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/store/vlog_format.h"
#include "lsm/util/hash.h"

#define WRITE_SIZE (256u << 10)

struct lsm_vlog_writer {
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_file *file;
    struct lsm_compressor *compressor;
    struct lsm_vlog_options options;
    uint8_t uuid[16];
    uint64_t number, id;
    uint32_t tree;
    uint64_t seed;
    char name[LSM_FILENAME_SIZE];
    bool is_copy, is_finished;
    int rc;                             /* latched, with its text */
    char error[LSM_ERROR_TEXT_SIZE];

    uint64_t written;                   /* bytes in the file; `out` comes behind them */
    struct lsm_buf out;
    uint64_t value_count, value_bytes;
    uint64_t end;                       /* of the places */

    /* of a copy */
    struct lsm_buf map;                 /* stretches that are complete */
    uint64_t map_count;
    uint64_t map_end;                   /* where the last complete stretch ends */
    uint64_t from, to;                  /* the stretch that is being made */
};

static void fail(struct lsm_vlog_writer *w, int rc)
{
    if (w->rc || rc == LSM_OK)
        return;
    w->rc = rc;
    lsm_error_save(w->error, sizeof w->error);
}

static void write_out(struct lsm_vlog_writer *w)
{
    int error;

    fail(w, w->out.rc);
    if (w->rc || w->out.size == 0)
        return;
    error = w->os->file_write(w->file, w->out.data, w->out.size, w->written);
    if (error) {
        fail(w, lsm_fail_os(error, "write", w->name));
        return;
    }
    w->written += w->out.size;
    if (w->out.cap > 4 * WRITE_SIZE)
        lsm_buf_clear(&w->out);         /* a large value has passed */
    else
        lsm_buf_reset(&w->out);
}

static int open_file(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                     uint64_t number, uint64_t id, uint32_t tree, uint32_t file_mode,
                     struct lsm_vlog_writer **writer)
{
    struct lsm_vlog_writer *w = lsm_mem_zalloc(os, sizeof *w);
    uint8_t header[LSM_VLOG_HEADER_SIZE];
    int error;

    *writer = NULL;
    if (!w)
        return lsm_nomem();
    w->os = os;
    w->dir = dir;
    memcpy(w->uuid, uuid, 16);
    w->number = number;
    w->id = id;
    w->tree = tree;
    w->seed = lsm_seal_seed(uuid, id);
    lsm_filename(w->name, LSM_FILE_VLOG, number);
    error = os->file_open(dir, w->name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, file_mode, &w->file);
    if (error) {
        int rc = lsm_fail_os(error, "create", w->name);
        lsm_mem_free(os, w);
        return rc;
    }
    lsm_buf_init(&w->out, os);
    lsm_buf_init(&w->map, os);
    lsm_vlog_header_encode(header, LSM_VLOG_MAGIC, uuid, number, id, tree);
    lsm_put_u64(header + LSM_VLOG_HEADER_SIZE - 8,
                lsm_hash64(header, LSM_VLOG_HEADER_SIZE - 8, 0));
    lsm_buf_append(&w->out, header, sizeof header);
    w->map_end = w->from = w->to = LSM_VLOG_HEADER_SIZE;
    *writer = w;
    return LSM_OK;
}

int lsm_vlog_writer_open(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                         uint64_t number, uint32_t tree, const struct lsm_vlog_options *options,
                         struct lsm_compressor *compressor, uint32_t file_mode,
                         struct lsm_vlog_writer **writer)
{
    int rc = open_file(os, dir, uuid, number, number, tree, file_mode, writer);

    if (rc)
        return rc;
    (*writer)->options = *options;
    (*writer)->compressor = compressor;
    return LSM_OK;
}

int lsm_vlog_writer_open_copy(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                              uint64_t number, const struct lsm_vlog_meta *meta, uint32_t file_mode,
                              struct lsm_vlog_writer **writer)
{
    int rc = open_file(os, dir, uuid, number, meta->id, meta->tree, file_mode, writer);

    assert(number > meta->id);
    if (rc)
        return rc;
    (*writer)->is_copy = true;
    (*writer)->end = meta->end;
    return LSM_OK;
}

void lsm_vlog_writer_add(struct lsm_vlog_writer *w, struct lsm_slice value,
                         struct lsm_vlog_handle *handle)
{
    uint64_t off = w->written + w->out.size, size;

    assert(!w->is_copy && !w->is_finished);
    *handle = (struct lsm_vlog_handle){ 0 };
    if (w->rc)
        return;
    if (value.size > LSM_VALUE_SIZE_MAX) {
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a value of %zu bytes", w->name, value.size));
        return;
    }
    lsm_seal(&w->out, value, LSM_BLOCK_VALUE, w->options.codec, w->options.level, w->compressor,
             w->seed + off);
    fail(w, w->out.rc);
    if (w->rc)
        return;
    size = w->written + w->out.size - off;
    *handle = (struct lsm_vlog_handle){ w->id, off, (uint32_t)size, (uint32_t)value.size };
    w->value_count++;
    w->value_bytes += size;
    if (w->out.size >= WRITE_SIZE)
        write_out(w);
}

/* The stretch that is being made is complete: [from, to) of the first file. */
static void end_stretch(struct lsm_vlog_writer *w)
{
    if (w->from == w->to)
        return;
    lsm_buf_put_varint(&w->map, w->from - w->map_end);
    lsm_buf_put_varint(&w->map, w->to - w->from);
    fail(w, w->map.rc);
    w->map_count++;
    w->map_end = w->to;
}

void lsm_vlog_writer_copy(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed,
                          uint64_t count)
{
    assert(w->is_copy && !w->is_finished);
    if (w->rc)
        return;
    assert(off >= w->to && off <= w->end && sealed.size <= w->end - off);
    if (off != w->to) {
        end_stretch(w);
        w->from = off;
    }
    w->to = off + sealed.size;
    lsm_buf_append_slice(&w->out, sealed);
    fail(w, w->out.rc);
    w->value_count += count;
    w->value_bytes += sealed.size;
    if (w->out.size >= WRITE_SIZE)
        write_out(w);
}

uint64_t lsm_vlog_writer_size(const struct lsm_vlog_writer *w)
{
    return w->written + w->out.size;
}

static void put_map(struct lsm_vlog_writer *w, struct lsm_vlog_footer *footer)
{
    struct lsm_buf payload;

    end_stretch(w);
    lsm_buf_init(&payload, w->os);
    lsm_buf_put_varint(&payload, w->map_count);
    lsm_buf_append_slice(&payload, lsm_buf_slice(&w->map));
    fail(w, payload.rc);
    footer->map_off = w->written + w->out.size;
    if (w->rc == LSM_OK)        /* seeded by the file, not by the log: it is the file's own */
        lsm_seal(&w->out, lsm_buf_slice(&payload), LSM_BLOCK_VALUE_MAP, LSM_CODEC_NONE, 0, NULL,
                 lsm_seal_seed(w->uuid, w->number) + footer->map_off);
    fail(w, w->out.rc);
    if (payload.size + LSM_SEAL_TRAILER_SIZE > UINT32_MAX)
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a map of %zu bytes", w->name, payload.size));
    footer->map_size = (uint32_t)(payload.size + LSM_SEAL_TRAILER_SIZE);
    lsm_buf_clear(&payload);
}

static void put_footer(struct lsm_vlog_writer *w, const struct lsm_vlog_footer *footer)
{
    uint8_t bytes[LSM_VLOG_FOOTER_SIZE];

    lsm_vlog_footer_encode(bytes, footer);
    lsm_vlog_header_encode(bytes + LSM_VLOG_FOOTER_SIZE - LSM_VLOG_HEADER_SIZE,
                           LSM_VLOG_FOOTER_MAGIC, w->uuid, w->number, w->id, w->tree);
    lsm_put_u64(bytes + LSM_VLOG_FOOTER_SIZE - 8,
                lsm_hash64(bytes, LSM_VLOG_FOOTER_SIZE - 8, 0));
    lsm_buf_append(&w->out, bytes, sizeof bytes);
}

static void sync_file(struct lsm_vlog_writer *w)
{
    char text[LSM_ERROR_TEXT_SIZE];
    int error = w->os->file_sync(w->file), rc;

    if (error == 0)
        return;
    rc = lsm_fail_os(error, "sync", w->name);
    if (rc != LSM_FULL) {               /* no space is a condition, the rest a broken promise */
        lsm_error_save(text, sizeof text);
        rc = lsm_fail(LSM_FSYNC, "%s", text);
    }
    fail(w, rc);
}

int lsm_vlog_writer_finish(struct lsm_vlog_writer *w, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_footer footer = { 0 };

    assert(!w->is_finished);
    if (w->is_copy)
        put_map(w, &footer);
    else
        w->end = w->written + w->out.size;
    footer.value_count = w->value_count;
    footer.value_bytes = w->value_bytes;
    footer.end = w->end;
    put_footer(w, &footer);
    write_out(w);
    if (w->rc == LSM_OK)
        sync_file(w);
    if (w->rc)
        return lsm_fail(w->rc, "%s", w->error);
    *meta = (struct lsm_vlog_meta){
        .id = w->id, .number = w->number, .tree = w->tree, .size_bytes = w->written,
        .value_count = w->value_count, .value_bytes = w->value_bytes, .end = w->end,
    };
    w->is_finished = true;
    return LSM_OK;
}

void lsm_vlog_writer_close(struct lsm_vlog_writer *w)
{
    struct lsm_os *os;

    if (!w)
        return;
    os = w->os;
    os->file_close(w->file);
    if (!w->is_finished)
        os->file_remove(w->dir, w->name);       /* what stays is an orphan for the sweep */
    lsm_buf_clear(&w->out);
    lsm_buf_clear(&w->map);
    lsm_mem_free(os, w);
}

/*
 * vlog_writer.c -- write values to a file of their own; see vlog_writer.h.
 *
 * Threads: one at a time.
 */
#include "lsm/store/vlog_writer.h"

#include <assert.h>

#include "lsm/store/outfile.h"
#include "lsm/store/vlog_format.h"
#include "lsm/util/hash.h"

struct lsm_vlog_writer {
    struct lsm_outfile f;
    struct lsm_compressor *compressor;
    struct lsm_vlog_options options;
    uint8_t uuid[16];
    uint64_t number, id;
    uint32_t tree;
    uint64_t seed;
    bool is_copy;
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
    lsm_outfile_fail(&w->f, rc);
}

static int open_file(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                     uint64_t number, uint64_t id, uint32_t tree, uint32_t file_mode,
                     struct lsm_vlog_writer **writer)
{
    struct lsm_vlog_writer *w = lsm_mem_zalloc(os, sizeof *w);
    uint8_t header[LSM_VLOG_HEADER_SIZE];
    int rc;

    *writer = NULL;
    if (!w)
        return lsm_nomem();
    memcpy(w->uuid, uuid, 16);
    w->number = number;
    w->id = id;
    w->tree = tree;
    w->seed = lsm_seal_seed(uuid, id);
    rc = lsm_outfile_open(&w->f, os, dir, LSM_FILE_VLOG, number, file_mode);
    if (rc) {
        lsm_mem_free(os, w);
        return rc;
    }
    lsm_buf_init(&w->map, os);
    lsm_vlog_header_encode(header, LSM_VLOG_MAGIC, uuid, number, id, tree);
    lsm_put_u64(header + LSM_VLOG_HEADER_SIZE - 8,
                lsm_hash64(header, LSM_VLOG_HEADER_SIZE - 8, 0));
    lsm_buf_append(&w->f.out, header, sizeof header);
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
    uint64_t off = lsm_outfile_size(&w->f), size;

    assert(!w->is_copy && !w->f.is_finished);
    *handle = (struct lsm_vlog_handle){ 0 };
    if (w->f.rc)
        return;
    if (value.size > LSM_VALUE_SIZE_MAX) {
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a value of %zu bytes", w->f.name, value.size));
        return;
    }
    lsm_seal(&w->f.out, value, LSM_BLOCK_VALUE, w->options.codec, w->options.level, w->compressor,
             w->seed + off);
    fail(w, w->f.out.rc);
    if (w->f.rc)
        return;
    size = lsm_outfile_size(&w->f) - off;
    *handle = (struct lsm_vlog_handle){ w->id, off, (uint32_t)size, (uint32_t)value.size };
    w->value_count++;
    w->value_bytes += size;
    lsm_outfile_grown(&w->f);
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
    assert(w->is_copy && !w->f.is_finished);
    if (w->f.rc)
        return;
    assert(off >= w->to && off <= w->end && sealed.size <= w->end - off);
    if (off != w->to) {
        end_stretch(w);
        w->from = off;
    }
    w->to = off + sealed.size;
    lsm_buf_append_slice(&w->f.out, sealed);
    fail(w, w->f.out.rc);
    w->value_count += count;
    w->value_bytes += sealed.size;
    lsm_outfile_grown(&w->f);
}

uint64_t lsm_vlog_writer_size(const struct lsm_vlog_writer *w)
{
    return lsm_outfile_size(&w->f);
}

static void put_map(struct lsm_vlog_writer *w, struct lsm_vlog_footer *footer)
{
    struct lsm_buf payload;

    end_stretch(w);
    lsm_buf_init(&payload, w->f.os);
    lsm_buf_put_varint(&payload, w->map_count);
    lsm_buf_append_slice(&payload, lsm_buf_slice(&w->map));
    fail(w, payload.rc);
    footer->map_off = lsm_outfile_size(&w->f);
    if (w->f.rc == LSM_OK)        /* seeded by the file, not by the log: it is the file's own */
        lsm_seal(&w->f.out, lsm_buf_slice(&payload), LSM_BLOCK_VALUE_MAP, LSM_CODEC_NONE, 0, NULL,
                 lsm_seal_seed(w->uuid, w->number) + footer->map_off);
    fail(w, w->f.out.rc);
    if (payload.size + LSM_SEAL_TRAILER_SIZE > UINT32_MAX)
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a map of %zu bytes", w->f.name, payload.size));
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
    lsm_buf_append(&w->f.out, bytes, sizeof bytes);
}

int lsm_vlog_writer_finish(struct lsm_vlog_writer *w, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_footer footer = { 0 };
    int rc;

    assert(!w->f.is_finished);
    if (w->is_copy)
        put_map(w, &footer);
    else
        w->end = lsm_outfile_size(&w->f);
    footer.value_count = w->value_count;
    footer.value_bytes = w->value_bytes;
    footer.end = w->end;
    put_footer(w, &footer);
    rc = lsm_outfile_finish(&w->f);
    if (rc)
        return rc;
    *meta = (struct lsm_vlog_meta){
        .id = w->id, .number = w->number, .tree = w->tree, .size_bytes = w->f.written,
        .value_count = w->value_count, .value_bytes = w->value_bytes, .end = w->end,
    };
    return LSM_OK;
}

void lsm_vlog_writer_close(struct lsm_vlog_writer *w)
{
    struct lsm_os *os;

    if (!w)
        return;
    os = w->f.os;
    lsm_outfile_close(&w->f);
    lsm_buf_clear(&w->map);
    lsm_mem_free(os, w);
}

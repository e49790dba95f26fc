/*
 * values.c -- see values.h.
 */
#include "lsm/compaction/values.h"

#include "lsm/compaction/build.h"
#include "lsm/format/filename.h"

#define FILE_BYTES (UINT64_C(64) << 20)         /* then the next log is begun */

static bool is_rewritten(const struct lsm_values *v, uint64_t id)
{
    size_t lo = 0, hi = v->rewrite_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->rewrite[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->rewrite_count && v->rewrite[lo] == id;
}

bool lsm_values_are_rewritten(const struct lsm_values *v, struct lsm_slice refs)
{
    struct lsm_reader r = lsm_reader(refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;

    while (v->rewrite_count && lsm_vlog_ref_next(&r, &ref, &last))
        if (is_rewritten(v, ref.id))
            return true;
    return false;
}

int lsm_values_put(struct lsm_build *b, uint64_t *tag, struct lsm_slice *value)
{
    struct lsm_values *v = &b->values;
    struct lsm_vlog_handle handle;
    struct lsm_slice content;
    int rc;

    if (lsm_tag_kind(*tag) == LSM_KIND_VLOG && v->rewrite_count) {
        if (!lsm_vlog_handle_decode(*value, &handle))
            return lsm_corrupt("a table", 0, "a row is not a handle of a value");
        if (!is_rewritten(v, handle.id))
            return LSM_OK;
        rc = v->read(v->ctx, &handle, &content);
        if (rc == LSM_CORRUPT)
            return LSM_OK;              /* it stays where it is, for its reader to be told */
        if (rc)
            return rc;
        *value = content;
    } else if (lsm_tag_kind(*tag) != LSM_KIND_PUT || v->bytes_min == 0 ||
               value->size < v->bytes_min) {
        return LSM_OK;
    }
    if (v->writer && lsm_vlog_writer_size(v->writer) >= FILE_BYTES) {
        rc = lsm_values_finish(b);
        if (rc)
            return rc;
    }
    if (!v->writer) {
        rc = lsm_vlog_writer_open(b->os, b->dir, b->uuid, b->new_file(b->ctx), b->tree, &v->options,
                                  b->compressor, b->file_mode, &v->writer);
        if (rc)
            return rc;
    }
    lsm_vlog_writer_add(v->writer, *value, &handle);
    if (handle.id == 0) {               /* the error is latched */
        struct lsm_vlog_meta meta;
        return lsm_vlog_writer_finish(v->writer, &meta);
    }
    *tag = lsm_tag(lsm_tag_seq(*tag), LSM_KIND_VLOG);
    *value = lsm_slice(v->handle, lsm_vlog_handle_encode(v->handle, &handle));
    return LSM_OK;
}

int lsm_values_finish(struct lsm_build *b)
{
    struct lsm_values *v = &b->values;
    int rc = LSM_OK;

    if (!v->writer)
        return LSM_OK;
    if (v->count == v->cap) {           /* before the file is finished: then nothing but it can fail */
        size_t cap = v->cap ? 2 * v->cap : 4;
        void *more = b->os->mem_realloc(b->os, v->metas, cap * sizeof *v->metas);
        if (!more)
            return lsm_nomem();
        v->metas = more;
        v->cap = cap;
    }
    rc = lsm_vlog_writer_finish(v->writer, &v->metas[v->count]);
    if (rc == LSM_OK) {
        v->metas[v->count].created_us = b->os->wall_us(b->os);
        v->bytes_written += v->metas[v->count].size_bytes;
        v->count++;
    }
    lsm_vlog_writer_close(v->writer);
    v->writer = NULL;
    return rc;
}

void lsm_values_remove(struct lsm_build *b)
{
    struct lsm_values *v = &b->values;

    lsm_vlog_writer_close(v->writer);
    v->writer = NULL;
    for (size_t i = v->installed; i < v->count; i++) {
        char name[LSM_FILENAME_SIZE];
        b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_VLOG, v->metas[i].number));
    }
    v->count = v->installed;
}

void lsm_values_clear(struct lsm_build *b)
{
    struct lsm_values *v = &b->values;

    lsm_vlog_writer_close(v->writer);
    lsm_mem_free(b->os, v->metas);
    v->writer = NULL;
    v->metas = NULL;
    v->count = v->cap = v->installed = 0;
}

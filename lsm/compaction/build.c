/*
 * build.c -- see build.h.
 */
#include "lsm/compaction/build.h"

#include "lsm/format/filename.h"

#define PAUSE_ROWS 4096u

struct output {
    struct lsm_table_writer *writer;
    uint64_t number;
    uint32_t grand_at;          /* first run of the level below that does not end before the file */
    uint64_t grand_bytes;       /* of the runs that the file overlaps so far */
};

static int output_open(struct lsm_build *b, struct output *out)
{
    out->number = b->new_file(b->ctx);
    out->grand_bytes = 0;
    return lsm_table_writer_open(b->os, b->dir, b->uuid, out->number, b->tree, &b->table, b->compressor,
                                 b->file_mode, &out->writer);
}

static int keep_meta(struct lsm_build *b, const struct lsm_table_meta *meta)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 16;
        void *more = b->os->mem_realloc(b->os, b->metas, cap * sizeof *b->metas);
        if (!more)
            return lsm_nomem();
        b->metas = more;
        b->cap = cap;
    }
    struct lsm_table_meta *copy = lsm_table_meta_copy(b->os, meta);
    if (!copy)
        return lsm_nomem();
    b->metas[b->count++] = copy;
    return LSM_OK;
}

static int output_finish(struct lsm_build *b, struct output *out, struct lsm_slice next)
{
    struct lsm_table_meta meta;
    int rc = lsm_table_writer_finish(out->writer, &meta);

    if (rc == LSM_OK) {
        meta.created_us = b->os->wall_us(b->os);
        b->bytes_written += meta.size_bytes;
        rc = keep_meta(b, &meta);
        if (rc) {               /* finished but unknown to anybody */
            char name[LSM_FILENAME_SIZE];
            b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_TABLE, out->number));
        }
    }
    lsm_table_writer_close(out->writer);
    out->writer = NULL;
    if (rc == LSM_OK && b->file_done)
        rc = b->file_done(b->ctx, next);
    return rc;
}

/* Would the file overlap too much of the level below if this key were added? */
static bool is_cut(const struct lsm_build *b, struct output *out, struct lsm_slice key)
{
    if (b->cut && b->cut(b->ctx, key))
        return true;
    if (b->file_bytes && lsm_table_writer_size(out->writer) >= b->file_bytes)
        return true;
    if (!b->grand)
        return false;
    while (out->grand_at < b->grand->count &&
           lsm_key_compare(b->table.comparator, key,
                           b->grand->runs[out->grand_at]->meta.largest) > 0) {
        out->grand_bytes += b->grand->runs[out->grand_at]->meta.size_bytes;
        out->grand_at++;
    }
    return out->grand_bytes > b->grand_bytes_max;
}

int lsm_build_run(struct lsm_build *b, struct lsm_iter *it)
{
    const struct lsm_slice end = { NULL, 0 };
    struct output out = { NULL, 0, 0, 0 };
    struct lsm_retain retain;
    struct lsm_buf last;        /* key of the last row written: versions of a key stay in one file */
    uint64_t tag_before = 0;
    int rc = LSM_OK;

    lsm_retain_init(&retain, b->os, b->table.comparator, b->snapshots, b->snapshot_count);
    lsm_buf_init(&last, b->os);

    for (lsm_iter_first(it); it->valid && rc == LSM_OK; lsm_iter_next(it)) {
        uint64_t tag = it->tag;
        bool keep, same;

        if (++b->rows_read % PAUSE_ROWS == 0 && b->pause) {
            rc = b->pause(b->ctx);
            if (rc)
                break;
        }
        if (retain.has_key) {   /* H-08: never act on an order that is not there */
            int c = lsm_key_compare(b->table.comparator, lsm_buf_slice(&retain.key), it->key);
            if (c > 0 || (c == 0 && tag > tag_before)) {
                rc = lsm_corrupt("a table or memtable", 0, "rows are not in order");
                break;
            }
        }
        tag_before = tag;
        keep = lsm_retain_row(&retain, it->key, &tag, b->is_bottom && b->is_bottom(b->ctx, it->key));
        if (retain.key.rc) {
            rc = lsm_nomem();
            break;
        }
        if (!keep)
            continue;
        if (out.writer && is_cut(b, &out, it->key)) {
            same = lsm_key_compare(b->table.comparator, it->key, lsm_buf_slice(&last)) == 0;
            if (!same) {
                rc = output_finish(b, &out, it->key);
                if (rc)
                    break;
            }
        }
        if (!out.writer) {
            rc = output_open(b, &out);
            if (rc)
                break;
        }
        lsm_table_writer_add(out.writer, it->key, tag, it->value);
        b->rows_written++;
        lsm_buf_reset(&last);
        lsm_buf_append_slice(&last, it->key);
        rc = last.rc;
    }
    if (rc == LSM_OK)
        rc = it->rc;
    if (out.writer) {
        if (rc == LSM_OK)
            rc = output_finish(b, &out, end);
        else
            lsm_table_writer_close(out.writer);
    }
    if (rc && !b->file_done) {  /* with file_done, files may be installed: their owner removes */
        for (size_t i = 0; i < b->count; i++) {
            char name[LSM_FILENAME_SIZE];
            b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_TABLE, b->metas[i]->number));
        }
        lsm_build_clear(b);
    }
    lsm_buf_clear(&last);
    lsm_retain_clear(&retain);
    return rc;
}

void lsm_build_clear(struct lsm_build *b)
{
    for (size_t i = 0; i < b->count; i++)
        lsm_mem_free(b->os, b->metas[i]);
    lsm_mem_free(b->os, b->metas);
    b->metas = NULL;
    b->count = b->cap = 0;
}

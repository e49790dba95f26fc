/*
 * vlog_gc.c -- see vlog_gc.h.
 *
 *     tables that refer to the log -> places of live values, sorted
 *         -> each value, checked, byte for byte into the new file
 *
 * Which tables refer to it is in their metas; others are not opened. Readers of
 * older versions keep the old file.
 */
#include "lsm/compaction/vlog_gc.h"

#include "lsm/store/vlog_writer.h"

#define PAUSE_ROWS 4096u

struct live {
    uint64_t off;
    uint64_t size;
};

static bool refers(const struct lsm_table_meta *meta, uint64_t id)
{
    struct lsm_reader r = lsm_reader(meta->refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last))
        if (ref.id == id)
            return true;
    return false;
}

static int collect_table(const struct lsm_vlog_gc *gc, const struct lsm_table_meta *meta,
                         struct lsm_buf *list, uint64_t *rows)
{
    struct lsm_iter *it;
    int rc = lsm_tables_iter(gc->tables, meta, gc->cmp, &it);

    if (rc)
        return rc;
    for (lsm_iter_first(it); it->valid && rc == LSM_OK; lsm_iter_next(it)) {
        struct lsm_vlog_handle h;

        if (++*rows % PAUSE_ROWS == 0 && gc->pause)
            rc = gc->pause(gc->ctx);
        if (rc || lsm_tag_kind(it->tag) != LSM_KIND_VLOG)
            continue;
        if (!lsm_vlog_handle_decode(it->value, &h))
            rc = lsm_corrupt("a table", 0, "a row is not a handle of a value");
        else if (h.id == gc->vlog->id) {
            struct live live = { h.off, h.size };
            lsm_buf_append(list, &live, sizeof live);
            rc = list->rc;
        }
    }
    if (rc == LSM_OK)
        rc = it->rc;
    lsm_iter_close(it);
    return rc;
}

static bool is_before(const struct live *a, const struct live *b)
{
    return a->off != b->off ? a->off < b->off : a->size < b->size;
}

/* Heapsort, done at once with what is sorted. (No libc sort: it may call malloc.) */
static void sort(struct live *p, size_t count)
{
    size_t i;

    for (i = 1; i < count && !is_before(&p[i], &p[i - 1]); i++)
        ;
    if (i >= count)
        return;
    for (size_t root = count / 2, end = count; end > 1;) {
        struct live t;

        if (root > 0) {
            root--;                     /* still building the heap */
        } else {
            end--;
            t = p[0];
            p[0] = p[end];
            p[end] = t;
        }
        for (size_t parent = root, child; (child = 2 * parent + 1) < end; parent = child) {
            if (child + 1 < end && is_before(&p[child], &p[child + 1]))
                child++;
            if (!is_before(&p[parent], &p[child]))
                break;
            t = p[parent];
            p[parent] = p[child];
            p[child] = t;
        }
    }
}

/* The dictionary is live as long as the log is. */
static void add_dict(const struct lsm_vlog *vlog, struct lsm_buf *list, uint64_t *off)
{
    struct lsm_vlog_handle h;
    struct live live;

    *off = 0;
    if (!lsm_vlog_dict(vlog, &h))
        return;
    live = (struct live){ h.off, h.size };
    lsm_buf_append(list, &live, sizeof live);
    *off = h.off;
}

static int copy(const struct lsm_vlog_gc *gc, struct lsm_buf *lives, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_writer *w;
    struct lsm_vlog *vlog;
    struct lsm_buf sealed;
    struct live *list;
    size_t count;
    uint64_t end = 0, dict_off;
    int rc = lsm_vlogs_get(gc->vlogs, gc->vlog, &vlog);

    if (rc)
        return rc;
    add_dict(vlog, lives, &dict_off);
    if (lives->rc) {
        lsm_vlog_unref(vlog);
        return lives->rc;
    }
    list = (struct live *)(void *)lives->data;
    count = lives->size / sizeof *list;
    sort(list, count);
    rc = lsm_vlog_writer_open_copy(gc->os, gc->dir, gc->uuid, gc->number, gc->vlog, gc->file_mode,
                                   &w);
    if (rc) {
        lsm_vlog_unref(vlog);
        return rc;
    }
    lsm_buf_init(&sealed, gc->os);
    for (size_t i = 0; i < count && rc == LSM_OK; i++) {
        struct lsm_vlog_handle h = { gc->vlog->id, list[i].off, (uint32_t)list[i].size, 0 };

        /* Between the slices of a compaction two tables may have the same row. */
        if (i > 0 && list[i].off == list[i - 1].off && list[i].size == list[i - 1].size)
            continue;
        if (i % 64 == 0 && gc->pause)
            rc = gc->pause(gc->ctx);
        if (rc == LSM_OK && h.off < end)
            rc = lsm_corrupt("a table", 0, "handles of values overlap");
        if (rc == LSM_OK)
            rc = lsm_vlog_read_sealed(vlog, &h, &sealed);
        if (rc)
            break;
        if (h.off == dict_off)
            lsm_vlog_writer_copy_dict(w, h.off, lsm_buf_slice(&sealed));
        else
            lsm_vlog_writer_copy(w, h.off, lsm_buf_slice(&sealed), 1);
        end = h.off + h.size;
    }
    lsm_buf_clear(&sealed);
    if (rc == LSM_OK)
        rc = lsm_vlog_writer_finish(w, meta);
    if (rc == LSM_OK)
        meta->created_us = gc->vlog->created_us;        /* the age of its values */
    lsm_vlog_writer_close(w);
    lsm_vlog_unref(vlog);
    return rc;
}

int lsm_vlog_gc_run(const struct lsm_vlog_gc *gc, struct lsm_vlog_meta *meta)
{
    struct lsm_buf list;
    uint64_t rows = 0;
    int rc = LSM_OK;

    lsm_buf_init(&list, gc->os);
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t i = 0; i < gc->tree->level[l].count && rc == LSM_OK; i++) {
            const struct lsm_table_meta *m = &gc->tree->level[l].runs[i]->meta;
            if (refers(m, gc->vlog->id))
                rc = collect_table(gc, m, &list, &rows);
        }
    if (rc == LSM_OK)
        rc = copy(gc, &list, meta);
    lsm_buf_clear(&list);
    return rc;
}

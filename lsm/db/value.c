/*
 * value.c -- values that stand in value logs: from the handle in a row to the
 * bytes, for a reader whose view keeps the log's file.
 *
 * A log is looked for in the version, then among what private tables brought along: its own
 * transaction's, then those of the view's units. Of one that a flush has adopted since, the
 * unit's file is the first and the version's the newest: both have the value.
 */
#include "lsm/db/db.h"

#include "lsm/format/filename.h"

static const struct lsm_vlog_meta *find_private(const struct lsm_value_source *from, uint64_t id)
{
    const struct lsm_unit *unit = from->view->newest;
    const struct lsm_vlog_meta *meta = NULL;

    if (from->own)
        meta = lsm_runs_vlog(from->own->runs, from->own->run_count, id);
    for (uint32_t i = 0; i < from->view->unit_count && !meta; i++, unit = unit->older)
        meta = lsm_runs_vlog(unit->runs, unit->run_count, id);
    return meta;
}

static int open_vlog(struct lsm_db *db, const struct lsm_value_source *from, struct lsm_slice bytes,
                     struct lsm_vlog_handle *handle, struct lsm_vlog **vlog)
{
    const struct lsm_version_vlog *v;
    const struct lsm_vlog_meta *meta;

    if (!lsm_vlog_handle_decode(bytes, handle))
        return lsm_corrupt("a table", 0, "a row is not a handle of a value");
    v = lsm_version_vlog(from->view->version, handle->id);
    if (v)
        return lsm_vlogs_get(db->vlogs, &v->file->meta, vlog);
    for (uint32_t i = 0; i < from->held_count; i++)
        if (lsm_vlog_id(from->held[i]) == handle->id) {
            *vlog = from->held[i];
            lsm_vlog_ref(*vlog);
            return LSM_OK;
        }
    meta = find_private(from, handle->id);
    if (!meta) {
        char name[LSM_FILENAME_SIZE];
        return lsm_corrupt(lsm_filename(name, LSM_FILE_VLOG, handle->id), handle->off,
                           "a row refers to a value in it, but the MANIFEST does not have it");
    }
    return lsm_vlogs_get(db->vlogs, meta, vlog);
}

int lsm_value_hold(const struct lsm_txn *own, struct lsm_vlog ***held, uint32_t *count)
{
    struct lsm_db *db = own->db;
    uint32_t wanted = 0;
    int rc = LSM_OK;

    *held = NULL;
    *count = 0;
    for (uint32_t i = 0; i < own->run_count; i++)
        wanted += own->runs[i]->vlog_count;
    if (wanted == 0)
        return LSM_OK;
    *held = lsm_mem_alloc(db->os, wanted * sizeof **held);
    if (!*held)
        return lsm_nomem();
    for (uint32_t i = 0; i < own->run_count && rc == LSM_OK; i++)
        for (uint32_t k = 0; k < own->runs[i]->vlog_count && rc == LSM_OK; k++) {
            rc = lsm_vlogs_get(db->vlogs, &own->runs[i]->vlogs[k], &(*held)[*count]);
            *count += rc == LSM_OK;
        }
    if (rc)
        lsm_value_let_go(db, held, count);
    return rc;
}

void lsm_value_let_go(struct lsm_db *db, struct lsm_vlog ***held, uint32_t *count)
{
    while (*count)
        lsm_vlog_unref((*held)[--*count]);
    lsm_mem_free(db->os, *held);
    *held = NULL;
}

int lsm_value_read(struct lsm_db *db, const struct lsm_value_source *from, struct lsm_slice bytes,
                   struct lsm_buf *scratch, struct lsm_buf *out, struct lsm_slice *value)
{
    struct lsm_vlog_handle handle;
    struct lsm_vlog *vlog;
    int rc = open_vlog(db, from, bytes, &handle, &vlog);

    *value = lsm_slice(NULL, 0);
    if (rc)
        return rc;
    rc = lsm_vlog_read(vlog, &handle, scratch, out, value);
    lsm_vlog_unref(vlog);
    return rc;
}

/* ---- streams: a scan reads each log from front to back ---- */

#define WINDOW_MIN (UINT64_C(64) << 10)
#define WINDOW_MAX (UINT64_C(1) << 20)
#define GAP_MAX (UINT64_C(32) << 10)    /* values that were passed over may lie between */

/* The stream of this log, or the one that was used longest ago. */
static struct lsm_value_stream *stream_of(struct lsm_value_streams *s, uint64_t id)
{
    struct lsm_value_stream *oldest = &s->stream[0];

    for (int i = 0; i < LSM_VALUE_STREAMS; i++) {
        if (s->stream[i].id == id)
            return &s->stream[i];
        if (s->stream[i].used_at < oldest->used_at)
            oldest = &s->stream[i];
    }
    *oldest = (struct lsm_value_stream){ .id = id };
    return oldest;
}

int lsm_value_read_next(struct lsm_db *db, const struct lsm_value_source *from, struct lsm_slice bytes,
                        struct lsm_value_streams *streams, struct lsm_buf *scratch,
                        struct lsm_buf *out, struct lsm_slice *value)
{
    struct lsm_value_stream *s;
    struct lsm_vlog_handle h;
    struct lsm_vlog *vlog;
    int rc = open_vlog(db, from, bytes, &h, &vlog);

    *value = lsm_slice(NULL, 0);
    if (rc)
        return rc;
    s = stream_of(streams, h.id);
    if (s->end && h.off >= s->end && h.off - s->end <= GAP_MAX) {
        /* Half a window before what was asked for is used up. */
        if (s->window == 0)
            s->window = WINDOW_MIN;
        if (h.off + h.size + s->window / 2 > s->prefetched) {
            lsm_vlog_prefetch(vlog, &h, s->window);
            s->prefetched = h.off + s->window;
            if (s->window < WINDOW_MAX)
                s->window *= 2;
        }
    } else {
        s->window = s->prefetched = 0;
    }
    s->end = h.off + h.size;
    s->used_at = ++streams->clock;
    rc = lsm_vlog_read(vlog, &h, scratch, out, value);
    lsm_vlog_unref(vlog);
    return rc;
}

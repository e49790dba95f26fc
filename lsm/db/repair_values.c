/*
 * repair_values.c -- rows whose values stand in value logs, read out of what is
 * left of these logs.
 *
 * A log has an id and, when it was rewritten, several files; the newest that has
 * the value is taken. A value's own sum knows log and place: one whose file has
 * neither a whole header nor footer is still believed, where its row says it is.
 *
 * A row whose value is lost is deleted, not left out: an older version of it must
 * not come back.
 */
#include "lsm/db/repair.h"

#include <stddef.h>

#include "lsm/format/filename.h"

/* As the MANIFEST says; 0: it does not. */
static uint64_t size_of(const struct lsm_version *v, uint64_t number)
{
    for (uint32_t i = 0; i < v->vlog_count; i++)
        if (v->vlogs[i].file->meta.number == number)
            return v->vlogs[i].file->meta.size_bytes;
    return 0;
}

int lsm_repair_values_open(struct lsm_repair_state *r, struct lsm_compressor_pool *compressors,
                           struct lsm_repair_values *v)
{
    const uint64_t *numbers = (const void *)r->vlogs.data;
    int rc;

    *v = (struct lsm_repair_values){ .state = r };
    lsm_buf_init(&v->files, r->os);
    lsm_buf_init(&v->scratch, r->os);
    lsm_buf_init(&v->out, r->os);
    rc = lsm_vlogs_new(r->os, r->from, r->uuid, compressors, 16, &v->vlogs);
    if (rc == LSM_OK)
        lsm_vlogs_allow_longer(v->vlogs);
    for (size_t i = r->vlogs.size / 8; i-- > 0 && rc == LSM_OK;) {
        struct lsm_vlog_meta meta;

        rc = lsm_vlogs_identify(v->vlogs, numbers[i], size_of(r->version, numbers[i]), &meta);
        if (rc && rc != LSM_NOMEM) {    /* also one that is no file any more, or on a bad sector */
            lsm_repair_say(r, "%s: its values are looked for where rows say they are", lsm_error_text());
            meta = (struct lsm_vlog_meta){ .id = numbers[i], .number = numbers[i] };
            rc = LSM_OK;
        }
        lsm_buf_append(&v->files, &meta, sizeof meta);
    }
    return rc ? rc : v->files.rc;
}

void lsm_repair_values_clear(struct lsm_repair_values *v)
{
    if (!v->state)
        return;
    lsm_buf_clear(&v->files);
    lsm_buf_clear(&v->scratch);
    lsm_buf_clear(&v->out);
    lsm_vlogs_free(v->vlogs);
}

/* LSM_CORRUPT: no file has it. */
static int find_value(struct lsm_repair_values *v, const struct lsm_vlog_handle *handle, struct lsm_slice *value)
{
    const struct lsm_vlog_meta *files = (const void *)v->files.data;
    char name[LSM_FILENAME_SIZE];
    int rc = LSM_DONE;

    for (size_t i = 0; i < v->files.size / sizeof *files && rc; i++) {      /* newest first */
        struct lsm_vlog *vlog;

        if (files[i].id != handle->id)
            continue;
        if (files[i].size_bytes == 0) {
            rc = lsm_vlogs_read_unframed(v->vlogs, handle, &v->scratch, &v->out, value);
        } else {
            rc = lsm_vlogs_get(v->vlogs, &files[i], &vlog);
            if (rc == LSM_OK) {
                rc = lsm_vlog_read(vlog, handle, &v->scratch, &v->out, value);
                lsm_vlog_unref(vlog);
            }
        }
        if (rc == LSM_NOMEM)
            return rc;
    }
    if (rc == LSM_DONE)
        rc = lsm_corrupt(lsm_filename(name, LSM_FILE_VLOG, handle->id), handle->off, "the value log is missing");
    return rc && rc != LSM_NOMEM ? LSM_CORRUPT : rc;
}

/* ---- the iterator ---- */

struct values_iter {
    struct lsm_iter base;
    struct lsm_repair_values *values;
    struct lsm_iter *rows;              /* owned */
};

static void show(struct values_iter *it)
{
    struct lsm_vlog_handle handle;
    int rc;

    it->base.valid = it->rows->valid;
    it->base.rc = it->rows->rc;
    if (!it->rows->valid)
        return;
    it->base.key = it->rows->key;
    it->base.tag = it->rows->tag;
    it->base.value = it->rows->value;
    if (lsm_tag_kind(it->base.tag) != LSM_KIND_VLOG)
        return;
    if (lsm_vlog_handle_decode(it->base.value, &handle))
        rc = find_value(it->values, &handle, &it->base.value);
    else
        rc = lsm_corrupt("a table", 0, "a row is not a handle of a value");
    if (rc == LSM_CORRUPT) {
        it->values->state->info->values_lost++;
        lsm_repair_say(it->values->state, "a row is lost with its value: %s", lsm_error_text());
        it->base.value = lsm_slice(NULL, 0);
        it->base.tag = lsm_tag(lsm_tag_seq(it->base.tag), LSM_KIND_DELETE);
    } else if (rc) {
        it->base.valid = false;
        it->base.rc = rc;
    } else {
        it->base.tag = lsm_tag(lsm_tag_seq(it->base.tag), LSM_KIND_PUT);
    }
}

static void values_first(struct lsm_iter *base)
{
    struct values_iter *it = (struct values_iter *)base;

    lsm_iter_first(it->rows);
    show(it);
}

static void values_next(struct lsm_iter *base)
{
    struct values_iter *it = (struct values_iter *)base;

    lsm_iter_next(it->rows);
    show(it);
}

static void values_close(struct lsm_iter *base)
{
    struct values_iter *it = (struct values_iter *)base;

    lsm_iter_close(it->rows);
    lsm_mem_free(it->values->state->os, it);
}

int lsm_repair_values_iter(struct lsm_repair_values *values, struct lsm_iter *rows, struct lsm_iter **it)
{
    static const struct lsm_iter_methods methods = { .first = values_first, .next = values_next,
                                                     .close = values_close };
    struct values_iter *v = lsm_mem_zalloc(values->state->os, sizeof *v);

    if (!v) {
        lsm_iter_close(rows);
        return lsm_nomem();
    }
    v->base.methods = &methods;
    v->values = values;
    v->rows = rows;
    *it = &v->base;
    return LSM_OK;
}

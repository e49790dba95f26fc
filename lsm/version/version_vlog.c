/*
 * version_vlog.c -- which value logs a version has, and what of them is live.
 *
 * Nothing about that stands in an edit but the tables' refs: live bytes are their
 * sum, kept up to date table by table, so that they cannot disagree with the
 * tables. A log goes with the last table that refers to it.
 *
 *     base's logs + edit's (a new id, or a new file for an old one)
 *         - refs of the runs that go, + refs of the runs that come
 *         = the version's logs, without those of dropped trees and those without a ref
 *
 * The edit may come from a hostile file: a ref to a log that is not there, or is
 * another tree's, and sums beyond 64 bits are misfits.
 *
 * Threads: as version.c.
 */
#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/version/version.h"

struct slot {
    const struct lsm_vlog_meta *meta;
    struct lsm_vlog_file *file;         /* of base; NULL: to be made */
    uint64_t live_count, live_bytes;
};

struct slots {
    struct slot *slot;
    size_t count;
};

static int misfit(uint64_t number, const char *why)
{
    char name[LSM_FILENAME_SIZE];

    return lsm_corrupt(lsm_filename(name, LSM_FILE_VLOG, number), 0, why);
}

/* First slot whose id is not below `id`. */
static size_t find(const struct slots *s, uint64_t id)
{
    size_t lo = 0, hi = s->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->slot[mid].meta->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct lsm_version_vlog *lsm_version_vlog(const struct lsm_version *v, uint64_t id)
{
    uint32_t lo = 0, hi = v->vlog_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (v->vlogs[mid].file->meta.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->vlog_count && v->vlogs[lo].file->meta.id == id ? &v->vlogs[lo] : NULL;
}

/* The room for one more is there. */
static int put_new(struct slots *s, const struct lsm_vlog_meta *meta)
{
    size_t at = find(s, meta->id);

    if (at < s->count && s->slot[at].meta->id == meta->id) {
        const struct lsm_vlog_meta *old = s->slot[at].meta;

        if (old->tree != meta->tree || old->end != meta->end || meta->number <= old->number)
            return misfit(meta->number, "rewritten, but not from what is there");
    } else {
        memmove(&s->slot[at + 1], &s->slot[at], (s->count - at) * sizeof(*s->slot));
        s->slot[at] = (struct slot){ 0 };
        s->count++;
    }
    s->slot[at].meta = meta;
    s->slot[at].file = NULL;
    return LSM_OK;
}

/* Count what a run refers to, or take it back. */
static int count_run(struct slots *s, const struct lsm_run *run, bool is_out)
{
    struct lsm_reader r = lsm_reader(run->meta.refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last)) {
        size_t at = find(s, ref.id);
        struct slot *slot = &s->slot[at];

        if (at == s->count || slot->meta->id != ref.id)
            return misfit(ref.id, "a table refers to values in it, but it does not exist");
        if (slot->meta->tree != run->meta.tree)
            return misfit(ref.id, "a table of another tree refers to values in it");
        if (is_out) {
            assert(slot->live_count >= ref.count && slot->live_bytes >= ref.bytes);
            slot->live_count -= ref.count;
            slot->live_bytes -= ref.bytes;
        } else {
            if (ref.bytes > UINT64_MAX - slot->live_bytes ||
                ref.count > UINT64_MAX - slot->live_count)
                return misfit(ref.id, "tables refer to more values than there can be");
            slot->live_count += ref.count;
            slot->live_bytes += ref.bytes;
        }
    }
    assert(!r.bad);                     /* decoding the meta checked that */
    return LSM_OK;
}

static int fill(struct lsm_version *v, const struct slots *s)
{
    v->vlogs = lsm_mem_alloc(v->os, s->count * sizeof(*v->vlogs) + 1);
    if (!v->vlogs)
        return lsm_nomem();
    for (size_t i = 0; i < s->count; i++) {
        const struct slot *slot = &s->slot[i];
        struct lsm_vlog_file *file = slot->file;

        if (slot->live_count == 0 || !lsm_version_tree(v, slot->meta->tree))
            continue;
        if (file) {
            atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
        } else {
            file = lsm_mem_alloc(v->os, sizeof(*file));
            if (!file)
                return lsm_nomem();
            file->meta = *slot->meta;
            file->os = v->os;
            atomic_init(&file->refs, 1);
            atomic_init(&file->is_damaged, false);
        }
        v->vlogs[v->vlog_count++] =
            (struct lsm_version_vlog){ file, slot->live_count, slot->live_bytes };
    }
    return LSM_OK;
}

int lsm_version_apply_vlogs(struct lsm_version *v, const struct lsm_version *base,
                            const struct lsm_edit *edit, struct lsm_run *const *out,
                            size_t out_count, struct lsm_run *const *in, size_t in_count)
{
    size_t new_count = lsm_edit_vlog_count(edit);
    struct slots s = { NULL, base->vlog_count };
    int rc = LSM_OK;

    if (new_count > UINT32_MAX - base->vlog_count)
        return misfit(0, "more than 2^32 value logs");
    s.slot = lsm_mem_alloc(v->os, (base->vlog_count + new_count) * sizeof(*s.slot) + 1);
    if (!s.slot)
        return lsm_nomem();
    for (uint32_t i = 0; i < base->vlog_count; i++) {
        const struct lsm_version_vlog *b = &base->vlogs[i];

        s.slot[i] = (struct slot){ &b->file->meta, b->file, b->live_count, b->live_bytes };
    }
    for (size_t i = 0; i < new_count && rc == LSM_OK; i++)
        rc = put_new(&s, &lsm_edit_vlogs(edit)[i]);
    /* What comes is counted first: a run that moves would be below zero in between. */
    for (size_t i = 0; i < in_count && rc == LSM_OK; i++)
        rc = count_run(&s, in[i], false);
    for (size_t i = 0; i < out_count && rc == LSM_OK; i++)
        rc = count_run(&s, out[i], true);
    if (rc == LSM_OK)
        rc = fill(v, &s);
    lsm_mem_free(v->os, s.slot);
    return rc;
}

void lsm_version_unref_vlogs(struct lsm_version *v, const struct lsm_version *told_by)
{
    for (uint32_t i = 0; i < v->vlog_count; i++) {
        struct lsm_vlog_file *file = v->vlogs[i].file;

        if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
            continue;
        if (told_by && told_by->obsolete_vlog)
            told_by->obsolete_vlog(told_by->ctx, &file->meta);
        lsm_mem_free(file->os, file);
    }
    lsm_mem_free(v->os, v->vlogs);
    v->vlogs = NULL;
    v->vlog_count = 0;
}

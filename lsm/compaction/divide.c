/*
 * divide.c -- see divide.h. Keys that stand in indexes, each with the bytes that end
 * with it, in order: a border is due where the sum of them is nearest to its share.
 */
#include "lsm/compaction/divide.h"

#include "lsm/util/sort.h"

#define PART_FILES 2u                   /* outputs of a part: else what starting it costs would show */

struct anchor {
    size_t at, size;                    /* the key, in `keys` */
    uint64_t bytes;                     /* of the file, up to it from the anchor before */
};

struct plan {
    const struct lsm_job *job;
    const struct lsm_comparator *cmp;
    struct lsm_buf anchors, keys, key;
    uint32_t lower_at;                  /* first run of the lower side that does not end before the key */
};

void lsm_borders_init(struct lsm_borders *borders, struct lsm_os *os)
{
    borders->count = 0;
    lsm_buf_init(&borders->keys, os);
    lsm_buf_init(&borders->ends, os);
}

void lsm_borders_clear(struct lsm_borders *borders)
{
    lsm_buf_clear(&borders->keys);
    lsm_buf_clear(&borders->ends);
    borders->count = 0;
}

struct lsm_slice lsm_borders_key(const struct lsm_borders *borders, uint32_t i)
{
    const size_t *ends = (const size_t *)(const void *)borders->ends.data;
    size_t from = i ? ends[i - 1] : 0;

    return lsm_slice(borders->keys.data + from, ends[i] - from);
}

static struct lsm_slice key_of(const struct plan *p, const struct anchor *a)
{
    return lsm_slice(p->keys.data + a->at, a->size);
}

static int by_key(void *ctx, const void *a, const void *b)
{
    const struct plan *p = ctx;
    return lsm_key_compare(p->cmp, key_of(p, a), key_of(p, b));
}

static void add(struct plan *p, struct lsm_slice key, uint64_t bytes)
{
    struct anchor anchor = { p->keys.size, key.size, bytes };

    lsm_buf_append_slice(&p->keys, key);
    lsm_buf_append(&p->anchors, &anchor, sizeof anchor);
}

static int add_parts_of(struct plan *p, struct lsm_tables *tables, const struct lsm_run *run)
{
    struct lsm_table *table;
    int rc = lsm_tables_get(tables, &run->meta, p->cmp, &table);

    if (rc)
        return rc;
    for (uint32_t i = 0; rc == LSM_OK && i < lsm_table_part_count(table); i++) {
        uint64_t bytes;
        rc = lsm_table_part_end(table, i, &p->key, &bytes);
        if (rc == LSM_OK)
            add(p, lsm_buf_slice(&p->key), bytes);
    }
    lsm_table_unref(table);
    return rc;
}

static int gather(struct plan *p, struct lsm_tables *tables, uint64_t share)
{
    const struct lsm_job *job = p->job;
    int rc = LSM_OK;

    for (uint32_t i = 0; rc == LSM_OK && i < job->upper_count + job->lower_count; i++) {
        const struct lsm_run *run = i < job->upper_count ? job->upper[i] : job->lower[i - job->upper_count];

        /* Runs of level 0 all end at about the same key. */
        if (i < job->upper_of[0] || run->meta.size_bytes > share / 2)
            rc = add_parts_of(p, tables, run);
        else
            add(p, run->meta.largest, run->meta.size_bytes);
    }
    return rc ? rc : p->keys.rc ? p->keys.rc : p->anchors.rc;
}

static bool is_open_at(const struct plan *p, const struct lsm_run *run, struct lsm_slice key)
{
    return lsm_key_compare(p->cmp, run->meta.smallest, key) <= 0 &&
           lsm_key_compare(p->cmp, key, run->meta.largest) < 0;
}

/* May a part end with this key? Keys ascend. */
static bool is_allowed(struct plan *p, struct lsm_slice key)
{
    const struct lsm_job *job = p->job;

    if (key.size == 0)
        return false;           /* a border of no bytes would be none */
    while (p->lower_at < job->lower_count &&
           lsm_key_compare(p->cmp, job->lower[p->lower_at]->meta.largest, key) < 0)
        p->lower_at++;
    if (p->lower_at < job->lower_count && is_open_at(p, job->lower[p->lower_at], key))
        return false;
    if (!p->cmp)
        return key.size < LSM_KEY_SIZE_MAX;     /* a range delete goes on from key ‖ 0 */
    for (uint32_t i = 0; i < job->upper_count; i++)
        if (job->upper[i]->meta.range_deletes && is_open_at(p, job->upper[i], key))
            return false;
    return true;
}

static int choose(struct plan *p, uint64_t parts, struct lsm_borders *borders)
{
    struct anchor *anchors = (struct anchor *)(void *)p->anchors.data;
    size_t count = p->anchors.size / sizeof *anchors;
    uint64_t total = 0, sum = 0, due;

    lsm_sort(anchors, count, sizeof *anchors, by_key, p);
    for (size_t i = 0; i < count; i++)
        total += anchors[i].bytes;
    due = total / parts;
    for (size_t i = 0; i + 1 < count && parts > 1; i++) {
        sum += anchors[i].bytes;
        if (sum + anchors[i + 1].bytes / 2 < due || by_key(p, &anchors[i], &anchors[i + 1]) == 0 ||
            !is_allowed(p, key_of(p, &anchors[i])))
            continue;
        lsm_buf_append_slice(&borders->keys, key_of(p, &anchors[i]));
        lsm_buf_append(&borders->ends, &borders->keys.size, sizeof borders->keys.size);
        borders->count++;
        parts--;
        due = sum + (total - sum) / parts;
    }
    return borders->keys.rc ? borders->keys.rc : borders->ends.rc;
}

static uint64_t parts_wanted(uint64_t bytes, uint64_t file_bytes, uint64_t parts_max, uint64_t slice_bytes)
{
    uint64_t parts = bytes / (PART_FILES * file_bytes), slices = slice_bytes ? bytes / slice_bytes : 0;

    if (parts > parts_max)
        parts = parts_max;
    if (parts > 1 && slices > parts)
        parts = (slices + parts_max - 1) / parts_max * parts_max;
    return parts;
}

int lsm_divide(const struct lsm_job *job, const struct lsm_policy *policy, struct lsm_tables *tables,
               const struct lsm_comparator *cmp, uint32_t parts_max, uint64_t slice_bytes,
               struct lsm_borders *borders)
{
    struct lsm_os *os = borders->keys.os;
    struct plan p = { .job = job, .cmp = cmp };
    uint64_t bytes = 0, parts;
    int rc = LSM_OK;

    for (uint32_t i = 0; i < job->upper_count; i++)
        bytes += job->upper[i]->meta.size_bytes;
    for (uint32_t i = 0; i < job->lower_count; i++)
        bytes += job->lower[i]->meta.size_bytes;
    parts = parts_wanted(bytes, policy->file_bytes, parts_max, slice_bytes);
    if (parts < 2)
        return LSM_OK;
    lsm_buf_init(&p.anchors, os);
    lsm_buf_init(&p.keys, os);
    lsm_buf_init(&p.key, os);
    rc = gather(&p, tables, bytes / parts);
    if (rc == LSM_OK)
        rc = choose(&p, parts, borders);
    lsm_buf_clear(&p.anchors);
    lsm_buf_clear(&p.keys);
    lsm_buf_clear(&p.key);
    return rc;
}

/*
 * rewrite.c -- see rewrite.h.
 */
#include "lsm/compaction/rewrite.h"

#include "lsm/format/vlog_meta.h"

/* A log that the inputs refer to. */
struct log {
    uint64_t id, bytes;
};

/* Count a run's refs to logs of small values into the list; how many it has. */
static size_t gather(struct lsm_buf *list, const struct lsm_run *run, uint64_t *bytes)
{
    struct lsm_reader r = lsm_reader(run->meta.refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;
    size_t count = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last)) {
        struct log *logs = (struct log *)(void *)list->data;
        size_t n = list->size / sizeof *logs, i = 0;

        if (ref.bytes / LSM_REWRITE_VALUE_MAX >= ref.count)
            continue;
        count++;
        *bytes += ref.bytes;
        while (i < n && logs[i].id != ref.id)
            i++;
        if (i < n)
            logs[i].bytes += ref.bytes;
        else
            lsm_buf_append(list, &(struct log){ ref.id, ref.bytes }, sizeof(struct log));
    }
    return count;
}

/* Insertion sort: there are few. */
static void sort(struct log *logs, size_t count, bool by_id)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0; k--) {
            struct log t = logs[k];
            if (by_id ? logs[k - 1].id <= t.id : logs[k - 1].bytes <= t.bytes)
                break;
            logs[k] = logs[k - 1];
            logs[k - 1] = t;
        }
}

#define LOGS_MAX 1024u                  /* more are not worth the time to look at */

int lsm_rewrite_plan(const struct lsm_job *job, struct lsm_buf *ids)
{
    struct lsm_buf list;
    uint64_t upper_bytes = 0, lower_bytes = 0, budget, taken = 0;
    size_t depth = 0, deepest = 0, count, n = 0;
    struct log *logs;

    lsm_buf_reset(ids);
    lsm_buf_init(&list, ids->os);
    for (uint32_t i = 0; i < job->upper_count; i++) {
        size_t refs = gather(&list, job->upper[i], &upper_bytes);
        if (job->level == 0)
            depth += refs;              /* runs of level 0 overlap */
        else if (refs > deepest)
            deepest = refs;
    }
    depth += deepest;
    deepest = 0;
    for (uint32_t i = 0; i < job->lower_count && list.size <= LOGS_MAX * sizeof *logs; i++) {
        size_t refs = gather(&list, job->lower[i], &lower_bytes);
        if (refs > deepest)
            deepest = refs;
    }
    depth += deepest;
    logs = (struct log *)(void *)list.data;
    count = list.size / sizeof *logs;
    if (list.rc == LSM_OK && depth > LSM_REWRITE_DEPTH && count <= LOGS_MAX) {
        sort(logs, count, false);
        budget = upper_bytes < UINT64_MAX / LSM_REWRITE_SHARE ? upper_bytes * LSM_REWRITE_SHARE : UINT64_MAX;
        while (n < count && logs[n].bytes <= budget - taken)
            taken += logs[n++].bytes;
        if (n > 1) {                    /* one log anew is no gain */
            sort(logs, n, true);
            for (size_t i = 0; i < n; i++)
                lsm_buf_append(ids, &logs[i].id, sizeof logs[i].id);
        }
    }
    if (list.rc)
        ids->rc = list.rc;
    lsm_buf_clear(&list);
    return ids->rc;
}

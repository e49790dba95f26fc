/*
 * pick.c -- see pick.h. Method: LevelDB's VersionSet::PickCompaction and
 * SetupOtherInputs, with tombstone density as a second reason.
 */
#include "lsm/compaction/pick.h"

#include <assert.h>

#define LEVEL_FIRST 2u          /* of an empty tree's rows: compression begins there */
#define TOMBSTONES_MIN 128u     /* fewer, or fewer old versions, are not worth a job of their own */
#define VALUES_SHARE 4u         /* so much of the values below may be shadowed by a level's */
#define VALUES_HEAVY 16u        /* values beside tables that are rewritten for them */
#define BUSY_AGES 24u           /* a store that is written to has its turn later than one that is not */
#define LEVEL0_INPUTS_MAX 256u  /* where descriptors do not set a bound */
#define IDLE_SHARE 4u           /* of the rows that an idle store rewrites, so much must be tombstones */

void lsm_policy_init(struct lsm_policy *policy, uint64_t memtable_bytes)
{
    uint64_t unit = memtable_bytes < (1u << 16) ? 1u << 16 : memtable_bytes;

    policy->level0_runs = 8;            /* readers who pay for it have it merged sooner: vain_reads */
    policy->level_bytes = 4 * unit;
    policy->fan_out = 10;
    policy->file_bytes = unit / 2 < (8u << 20) ? unit / 2 : 8u << 20;
    policy->overlap_bytes_max = 10 * policy->file_bytes;
    policy->expand_bytes_max = 25 * policy->file_bytes;
    policy->vain_read_bytes = LSM_VAIN_READ_BYTES;
    policy->age_us = UINT64_C(3600) * 1000000;
    policy->level0_inputs_max = LEVEL0_INPUTS_MAX;
}

void lsm_pick_state_init(struct lsm_pick_state *state, struct lsm_os *os)
{
    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        lsm_buf_init(&state->after[i], os);
    state->seq_oldest = LSM_SEQ_MAX;
    state->now_us = 0;
    state->is_idle = state->is_waiting = state->is_aging = false;
}

void lsm_pick_state_clear(struct lsm_pick_state *state)
{
    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        lsm_buf_clear(&state->after[i]);
}

static bool touches(const struct lsm_run *run, const struct lsm_comparator *cmp, struct lsm_slice lo,
                    struct lsm_slice hi)
{
    return lsm_key_compare(cmp, run->meta.largest, lo) >= 0 &&
           lsm_key_compare(cmp, run->meta.smallest, hi) <= 0;
}

/* ---- reasons ---- */

enum reason { BY_SIZE, BY_WASTE, BY_READS };

static bool is_share(uint64_t rows, uint64_t one_in, uint64_t of)
{
    return rows >= TOMBSTONES_MIN && rows * one_in >= of;
}

static bool is_mostly_tombstones(const struct lsm_run *run)
{
    return is_share(run->meta.tombstones, 2, run->meta.entries);
}

/* Nothing lies below a run of the deepest level: what it holds in vain is there for a snapshot, and
   goes when that is closed, not before. */
static bool is_held(const struct lsm_run *run)
{
    return is_share(run->meta.tombstones + run->meta.superseded, 4, run->meta.entries) || run->meta.range_deletes;
}

/* Rows that a job may drop, if it meets what they delete. */
static uint64_t waste_of(const struct lsm_run *run, const struct lsm_pick_state *state)
{
    return run->meta.tombstones + (run->meta.seq_max <= state->seq_oldest ? run->meta.superseded : 0);
}

/* Has a little waste waited for long? What has not is noted. */
static bool is_old(const struct lsm_run *run, const struct lsm_policy *policy, struct lsm_pick_state *state)
{
    uint64_t age = state->now_us > run->meta.created_us ? state->now_us - run->meta.created_us : 0;

    if (waste_of(run, state) < TOMBSTONES_MIN)
        return false;
    state->is_aging |= age < policy->age_us;
    return age >= policy->age_us * (state->is_idle ? 1 : BUSY_AGES);
}

/* Do its tombstones delete as many bytes in value logs as are rewritten, if they meet what is usual below? */
static bool deletes_values(const struct lsm_tree_version *tree, const struct lsm_comparator *cmp, uint32_t level,
                           const struct lsm_run *run)
{
    double entries = 0, values = 0, cost = (double)run->meta.size_bytes;

    if (run->meta.tombstones < TOMBSTONES_MIN)
        return false;
    for (uint32_t l = level + 1; l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *deeper = &tree->level[l];

        if (deeper->value_bytes == 0 && l > level + 1)
            continue;
        for (uint32_t i = lsm_level_find(deeper, cmp, run->meta.smallest);
             i < deeper->count && touches(deeper->runs[i], cmp, run->meta.smallest, run->meta.largest); i++) {
            entries += (double)deeper->runs[i]->meta.entries;
            values += (double)deeper->runs[i]->value_bytes;
            cost += l == level + 1 ? (double)deeper->runs[i]->meta.size_bytes : 0;
        }
    }
    return entries > 0 && (double)run->meta.tombstones * values / entries >= cost;
}

/* Due whatever its size? */
static bool is_dense(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                     const struct lsm_comparator *cmp, struct lsm_pick_state *state, uint32_t level,
                     const struct lsm_run *run, bool is_deepest)
{
    if (is_deepest && run->meta.seq_max > state->seq_oldest)
        return false;
    if (is_deepest ? is_held(run) : is_share(waste_of(run, state), 2, run->meta.entries))
        return true;
    return (run->meta.range_deletes && atomic_load(&run->sinks)) || deletes_values(tree, cmp, level, run) ||
           is_old(run, policy, state);
}

/* The most that a level's values may hide in value logs, beside what is below it: keys are rewritten for
   it, values are not. */
static double values_score(const struct lsm_policy *policy, const struct lsm_tree_version *tree, uint32_t level)
{
    const struct lsm_level *l = &tree->level[level];
    double below = 0;

    if (l->value_bytes < policy->level_bytes || l->value_bytes / VALUES_HEAVY < l->bytes)
        return 0;
    for (uint32_t i = level + 1; i < LSM_LEVEL_COUNT_MAX; i++)
        below += (double)tree->level[i].value_bytes;
    return below > 0 ? VALUES_SHARE * (double)l->value_bytes / below : 0;
}

double lsm_level_score(const struct lsm_policy *policy, const struct lsm_tree_version *tree, uint32_t level)
{
    const struct lsm_level *l = &tree->level[level];
    double by_values, by_bytes;

    if (level == 0)
        return (double)l->count / policy->level0_runs;
    if (level + 1 >= LSM_LEVEL_COUNT_MAX)
        return 0;
    double target = (double)policy->level_bytes;
    for (uint32_t i = 1; i < level; i++)
        target *= policy->fan_out;
    by_bytes = (double)l->bytes / target;
    by_values = values_score(policy, tree, level);
    return by_bytes > by_values ? by_bytes : by_values;
}

static uint32_t deepest_level(const struct lsm_tree_version *tree)
{
    uint32_t deepest = 0;

    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        if (tree->level[i].count)
            deepest = i;
    return deepest;
}

/*
 * Where level 0 goes: the first level that holds anything while it is within the
 * target of a level 1, else the one above it. A level between would save no
 * rewriting, but each read looks at it, and rows in it are never the last
 * versions: they keep their sequences and tombstones.
 */
static uint32_t base_level(const struct lsm_policy *policy, const struct lsm_tree_version *tree)
{
    uint32_t level = 1;

    while (level + 1 < LSM_LEVEL_COUNT_MAX && tree->level[level].count == 0)
        level++;
    if (tree->level[level].count == 0)
        return LEVEL_FIRST;
    return level == 1 || tree->level[level].bytes <= policy->level_bytes ? level : level - 1;
}

/* ---- sets of runs ---- */

static int set_new(struct lsm_os *os, uint32_t cap, struct lsm_run ***set)
{
    *set = lsm_mem_alloc(os, (cap ? cap : 1) * sizeof **set);
    return *set ? LSM_OK : lsm_nomem();
}

static void widen(const struct lsm_comparator *cmp, struct lsm_run *const *set, uint32_t count,
                  struct lsm_slice *lo, struct lsm_slice *hi)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct lsm_table_meta *m = &set[i]->meta;
        if (!lo->data || lsm_key_compare(cmp, m->smallest, *lo) < 0)
            *lo = m->smallest;
        if (!hi->data || lsm_key_compare(cmp, m->largest, *hi) > 0)
            *hi = m->largest;
    }
}

/* The runs of a level that touch [lo, hi]; false if one of them is busy. */
static bool collect(const struct lsm_level *level, const struct lsm_comparator *cmp, struct lsm_slice lo,
                    struct lsm_slice hi, struct lsm_run **set, uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < level->count; i++) {
        if (!touches(level->runs[i], cmp, lo, hi))
            continue;
        if (level->runs[i]->in_compaction)
            return false;
        set[(*count)++] = level->runs[i];
    }
    return true;
}

static uint64_t bytes_of(struct lsm_run *const *set, uint32_t count)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++)
        bytes += set[i]->meta.size_bytes;
    return bytes;
}

/* Only the oldest `max` of a set of level 0 whose overlaps are all in it: what stays is newer than what
   it overlaps of the rest. */
static bool keep_oldest(struct lsm_run **set, uint32_t *count, uint32_t max)
{
    if (*count <= max)
        return false;
    memmove(set, set + (*count - max), max * sizeof *set);
    *count = max;
    return true;
}

/* Level 0: the runs that overlap the oldest one, transitively: a newer row must never sink below an
   older one of the same key. Starting with the oldest keeps the rest correctly above. */
static bool collect_level0(const struct lsm_policy *policy, const struct lsm_level *level,
                           const struct lsm_comparator *cmp, struct lsm_run **set, uint32_t *count)
{
    struct lsm_slice lo = { NULL, 0 }, hi = { NULL, 0 };
    uint32_t before;

    set[0] = level->runs[level->count - 1];
    *count = 1;
    do {
        before = *count;
        widen(cmp, set, *count, &lo, &hi);
        if (!collect(level, cmp, lo, hi, set, count))
            return false;
    } while (*count != before);
    keep_oldest(set, count, policy->level0_inputs_max);
    return true;
}

static uint64_t vain_reads(const struct lsm_run *run)
{
    return atomic_load_explicit(&run->vain_reads, memory_order_relaxed);
}

/* The one that cost the most reads. */
static struct lsm_run *choose_by_reads(const struct lsm_level *level)
{
    struct lsm_run *most = NULL;

    for (uint32_t i = 0; i < level->count; i++) {
        struct lsm_run *run = level->runs[i];
        if (!run->in_compaction && vain_reads(run) > (most ? vain_reads(most) : 0))
            most = run;
    }
    return most;
}

/* One run of a deeper level: the first dense one, or the first behind the place where the last pick
   ended. */
static struct lsm_run *choose(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                              const struct lsm_comparator *cmp, struct lsm_pick_state *state, uint32_t number,
                              bool is_deepest, enum reason reason)
{
    const struct lsm_level *level = &tree->level[number];
    struct lsm_slice after = lsm_buf_slice(&state->after[number]);
    struct lsm_run *wrapped = NULL;

    if (reason == BY_READS)
        return choose_by_reads(level);
    for (uint32_t i = 0; i < level->count; i++)
        if (!level->runs[i]->in_compaction &&
            is_dense(policy, tree, cmp, state, number, level->runs[i], is_deepest))
            return level->runs[i];
    if (reason != BY_SIZE)
        return NULL;
    for (uint32_t i = 0; i < level->count; i++) {
        struct lsm_run *run = level->runs[i];
        if (run->in_compaction)
            continue;
        if (after.size == 0 || lsm_key_compare(cmp, run->meta.smallest, after) > 0)
            return run;
        if (!wrapped)
            wrapped = run;
    }
    return wrapped;
}

static bool has_sinking(const struct lsm_level *level)
{
    for (uint32_t i = 0; level->range_deletes && i < level->count; i++)
        if (atomic_load(&level->runs[i]->sinks))
            return true;
    return false;
}

static int pick_level(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                      const struct lsm_comparator *cmp, struct lsm_pick_state *state, struct lsm_os *os,
                      uint32_t number, enum reason reason, struct lsm_job *job)
{
    uint32_t output = number ? number + 1 : base_level(policy, tree);
    const struct lsm_level *upper = &tree->level[number], *lower = &tree->level[output];
    struct lsm_slice lo = { NULL, 0 }, hi = { NULL, 0 };
    bool is_deepest = number == deepest_level(tree);
    int rc;

    job->tree = tree->tree;
    job->level = number;
    job->output_level = output;
    rc = set_new(os, upper->count, &job->upper);
    if (rc == LSM_OK)
        rc = set_new(os, lower->count, &job->lower);
    if (rc)
        return rc;

    if (number == 0) {
        if (!collect_level0(policy, upper, cmp, job->upper, &job->upper_count))
            return LSM_DONE;
    } else {
        struct lsm_run *run = choose(policy, tree, cmp, state, number, is_deepest, reason);
        if (!run)
            return LSM_DONE;
        job->upper[0] = run;
        job->upper_count = 1;
    }
    widen(cmp, job->upper, job->upper_count, &lo, &hi);
    if (!collect(lower, cmp, lo, hi, job->lower, &job->lower_count))
        return LSM_DONE;

    /* Widen the upper side while the lower side does not grow: more done for the same rewriting. */
    if (job->lower_count && number > 0) {
        struct lsm_run **more, **below;
        uint32_t more_count, below_count;
        struct lsm_slice wlo = lo, whi = hi;

        rc = set_new(os, upper->count, &more);
        if (rc)
            return rc;
        rc = set_new(os, lower->count, &below);
        if (rc) {
            lsm_mem_free(os, more);
            return rc;
        }
        widen(cmp, job->lower, job->lower_count, &wlo, &whi);
        if (collect(upper, cmp, wlo, whi, more, &more_count) && more_count > job->upper_count &&
            bytes_of(more, more_count) + bytes_of(job->lower, job->lower_count) <
                policy->expand_bytes_max) {
            struct lsm_slice mlo = { NULL, 0 }, mhi = { NULL, 0 };
            widen(cmp, more, more_count, &mlo, &mhi);
            if (collect(lower, cmp, mlo, mhi, below, &below_count) && below_count == job->lower_count) {
                memcpy(job->upper, more, more_count * sizeof *more);
                job->upper_count = more_count;
            }
        }
        lsm_mem_free(os, more);
        lsm_mem_free(os, below);
    }
    job->upper_of[number] = job->upper_count;

    /* A dense run in the level above the last must be rewritten to lose its tombstones; one whose
       range deletes reach deeper can sink as it is. So must one that is old, to be young again. */
    if (job->lower_count == 0 && job->upper_count == 1 &&
        !(is_deepest ? is_held(job->upper[0]) : is_mostly_tombstones(job->upper[0])) &&
        !(reason == BY_WASTE && is_old(job->upper[0], policy, state))) {
        uint64_t below = 0;
        if (output + 1 < LSM_LEVEL_COUNT_MAX) {
            const struct lsm_level *grand = &tree->level[output + 1];
            for (uint32_t i = 0; i < grand->count; i++)
                if (touches(grand->runs[i], cmp, lo, hi))
                    below += grand->runs[i]->meta.size_bytes;
        }
        /* A move that makes the next compaction of this run very large is no gain. */
        job->is_move = below <= policy->overlap_bytes_max;
    }
    return LSM_OK;
}

/* Nobody writes: are there so many runs that the next reader would mind, would tombstones free enough of
   what is rewritten with them, or have they waited for long? */
static bool is_worth_it(const struct lsm_job *job, const struct lsm_policy *policy, struct lsm_pick_state *state)
{
    uint64_t tombstones = 0, entries = 0;
    bool are_old = false;

    for (uint32_t i = 0; i < job->upper_count; i++) {
        tombstones += job->upper[i]->meta.tombstones;
        entries += job->upper[i]->meta.entries;
        are_old |= is_old(job->upper[i], policy, state);
    }
    for (uint32_t i = 0; i < job->lower_count; i++)
        entries += job->lower[i]->meta.entries;
    return job->upper_count * 2 >= policy->level0_runs || is_share(tombstones, IDLE_SHARE, entries) || are_old;
}

/* Do readers pay more for the upper side than it costs to be rid of it? */
static bool spares_reads(const struct lsm_job *job, const struct lsm_policy *policy)
{
    uint64_t reads = 0;

    for (uint32_t i = 0; i < job->upper_count; i++)
        reads += vain_reads(job->upper[i]);
    return !job->is_move && reads * policy->vain_read_bytes >= bytes_of(job->upper, job->upper_count) +
                                                               bytes_of(job->lower, job->lower_count);
}

/* The next pick of the level begins behind this job. */
static int go_on_behind(struct lsm_pick_state *state, const struct lsm_comparator *cmp, const struct lsm_job *job)
{
    struct lsm_slice lo = { NULL, 0 }, hi = { NULL, 0 };

    widen(cmp, job->upper, job->upper_count, &lo, &hi);
    lsm_buf_reset(&state->after[job->level]);
    lsm_buf_append_slice(&state->after[job->level], hi);
    return LSM_OK;              /* no memory: it begins at the first run */
}

int lsm_pick(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
             const struct lsm_comparator *cmp, struct lsm_pick_state *state, struct lsm_os *os,
             struct lsm_job *job)
{
    const struct lsm_level *last = &tree->level[deepest_level(tree)];
    bool tried[LSM_LEVEL_COUNT_MAX] = { false };

    memset(job, 0, sizeof *job);
    state->is_waiting = state->is_aging = false;
    for (uint32_t i = 0; i < last->count; i++)
        state->is_waiting |= is_held(last->runs[i]) && last->runs[i]->meta.seq_max > state->seq_oldest;
    for (;;) {
        double best = 0;
        uint32_t level = 0;

        for (uint32_t i = 0; i + 1 < LSM_LEVEL_COUNT_MAX; i++) {
            double score = lsm_level_score(policy, tree, i);
            if (!tried[i] && score > best) {
                best = score;
                level = i;
            }
        }
        if (best < 1)
            break;
        int rc = pick_level(policy, tree, cmp, state, os, level, BY_SIZE, job);
        if (rc != LSM_DONE)
            return rc ? rc : go_on_behind(state, cmp, job);
        lsm_job_clear(job, os);
        tried[level] = true;
    }
    /* Nothing is too large: what is mostly tombstones sinks, so that deleted data gives its space back
       without new writes. In the deepest level only snapshots hold tombstones. */
    for (uint32_t i = 0; i + 1 < LSM_LEVEL_COUNT_MAX; i++) {
        bool is_forced = i > 0 || has_sinking(&tree->level[0]);

        if (tried[i] || tree->level[i].count == 0 || (!is_forced && !state->is_idle))
            continue;
        int rc = pick_level(policy, tree, cmp, state, os, i, BY_WASTE, job);
        if (rc == LSM_OK && !is_forced && !is_worth_it(job, policy, state))
            rc = LSM_DONE;
        if (rc != LSM_DONE)
            return rc ? rc : go_on_behind(state, cmp, job);
        lsm_job_clear(job, os);
    }
    for (uint32_t i = 0; i + 1 < LSM_LEVEL_COUNT_MAX; i++) {
        if (tried[i] || !choose_by_reads(&tree->level[i]))
            continue;
        int rc = pick_level(policy, tree, cmp, state, os, i, BY_READS, job);
        if (rc == LSM_OK && !spares_reads(job, policy))
            rc = LSM_DONE;
        if (rc != LSM_DONE)
            return rc ? rc : go_on_behind(state, cmp, job);
        lsm_job_clear(job, os);
    }
    return LSM_DONE;
}

/* In the deepest level. A row that everybody saw when it was written has sequence 0 there; older versions
   of others may stand behind them, unless all rows are of one operation, an ingest. */
static bool may_have_garbage(const struct lsm_table_meta *meta)
{
    return meta->tombstones > 0 || meta->range_deletes > 0 || meta->seq_min != meta->seq_max;
}

/* Keys from `begin` up to but not `end` (no data: no bound), and with them all from lo to hi, if there is
   one: they touch, so that what lies in one or the other lies in one stretch. */
struct reach {
    const struct lsm_comparator *cmp;
    struct lsm_slice begin, end, lo, hi;
    bool is_asked;              /* begin and end count */
};

static bool is_in_reach(const struct reach *r, const struct lsm_run *run)
{
    const struct lsm_table_meta *m = &run->meta;

    if (r->lo.data && touches(run, r->cmp, r->lo, r->hi))
        return true;
    return r->is_asked && (!r->begin.data || lsm_key_compare(r->cmp, m->largest, r->begin) >= 0) &&
           (!r->end.data || lsm_key_compare(r->cmp, m->smallest, r->end) < 0);
}

/* As collect(). */
static bool reach_out(const struct reach *r, const struct lsm_level *level, struct lsm_run **set,
                      uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < level->count; i++) {
        if (!is_in_reach(r, level->runs[i]))
            continue;
        if (level->runs[i]->in_compaction)
            return false;
        set[(*count)++] = level->runs[i];
    }
    return true;
}

/* All that it overlaps in turn; or the oldest of that, and then only what lies below those. */
static bool reach_level0(struct reach *r, const struct lsm_policy *policy, const struct lsm_level *level,
                         struct lsm_run **set, uint32_t *count, bool *is_partial)
{
    uint32_t before;

    *count = 0;
    do {
        before = *count;
        widen(r->cmp, set, *count, &r->lo, &r->hi);
        if (!reach_out(r, level, set, count))
            return false;
    } while (*count != before);
    *is_partial = keep_oldest(set, count, policy->level0_inputs_max);
    if (*is_partial) {
        r->is_asked = false;
        r->lo = r->hi = (struct lsm_slice){ NULL, 0 };
        widen(r->cmp, set, *count, &r->lo, &r->hi);
    }
    return true;
}

int lsm_pick_range(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                   const struct lsm_comparator *cmp, struct lsm_slice begin, struct lsm_slice end,
                   struct lsm_os *os, struct lsm_job *job)
{
    struct reach r = { .cmp = cmp, .begin = begin, .end = end, .is_asked = true };
    uint32_t deepest = deepest_level(tree), target = deepest ? deepest : 1, cap = 0;
    bool has_garbage = false;
    int rc;

    memset(job, 0, sizeof *job);
    job->tree = tree->tree;
    job->output_level = target;
    for (uint32_t i = 0; i < target; i++)
        cap += tree->level[i].count;
    rc = set_new(os, cap, &job->upper);
    if (rc == LSM_OK)
        rc = set_new(os, tree->level[target].count, &job->lower);
    if (rc)
        return rc;
    /* Level by level: what is older than a run that sinks, and overlaps it, lies in the levels below. */
    for (uint32_t i = 0; i < target; i++) {
        struct lsm_run **set = job->upper + job->upper_count;

        if (i == 0 ? !reach_level0(&r, policy, &tree->level[0], set, &job->upper_of[0], &job->is_partial)
                   : !reach_out(&r, &tree->level[i], set, &job->upper_of[i]))
            return LSM_DONE;
        widen(cmp, set, job->upper_of[i], &r.lo, &r.hi);
        job->upper_count += job->upper_of[i];
    }
    if (!reach_out(&r, &tree->level[target], job->lower, &job->lower_count))
        return LSM_DONE;
    for (uint32_t i = 0; i < job->lower_count; i++)
        has_garbage |= may_have_garbage(&job->lower[i]->meta);
    return job->upper_count || has_garbage ? LSM_OK : LSM_DONE;
}

void lsm_job_clear(struct lsm_job *job, struct lsm_os *os)
{
    lsm_mem_free(os, job->upper);
    lsm_mem_free(os, job->lower);
    memset(job, 0, sizeof *job);
}

uint32_t lsm_pick_flush_level(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                              const struct lsm_comparator *cmp, struct lsm_slice lo, struct lsm_slice hi)
{
    uint32_t level = 0, deepest = deepest_level(tree);

    if (lsm_level_overlaps(&tree->level[0], false, cmp, lo, hi))
        return 0;
    /* As deep as the deepest level that has data, but never where the run would bury what it overlaps
       less far down, nor between level 0 and the level where that goes. */
    uint32_t cap = deepest < LEVEL_FIRST ? LEVEL_FIRST : deepest;
    while (level < cap) {
        uint64_t below = 0;

        if (lsm_level_overlaps(&tree->level[level + 1], true, cmp, lo, hi))
            break;
        if (level + 2 < LSM_LEVEL_COUNT_MAX) {
            const struct lsm_level *grand = &tree->level[level + 2];
            for (uint32_t i = 0; i < grand->count; i++)
                if (touches(grand->runs[i], cmp, lo, hi))
                    below += grand->runs[i]->meta.size_bytes;
        }
        if (below > policy->overlap_bytes_max)
            break;
        level++;
    }
    return level < base_level(policy, tree) ? 0 : level;
}

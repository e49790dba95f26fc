/*
 * sweep_engine.c -- each system call fails, each allocation fails, once and from
 * then on; each point is a run of its own.
 *
 * Whatever fails: the code is one that says so (never CORRUPT, never a crash);
 * what the store shows stays exactly what was acknowledged; after the fault is
 * gone it opens again with exactly that; a power cut at that moment leaves a
 * prefix that has all that was promised; nothing leaks. The one exception is
 * commit.md's: a transaction that failed while the store became read-only may be
 * there when it is opened again.
 */
#include "tests/test.h"

#include "tests/sim/engine_model.h"

struct fault {
    struct sim_fault disk;
    bool memory;
    uint64_t at;
    bool sticky;
    bool large;                 /* of the script with large transactions */
};

static uint64_t points, fired, errors, read_onlys;

static bool is_fair(int rc, const struct fault *fault)
{
    switch (rc) {
    case LSM_OK: case LSM_READONLY:
        return true;
    case LSM_NOMEM:
        return fault->memory;
    case LSM_IOERR: case LSM_FULL: case LSM_FSYNC: case LSM_CANTOPEN: case LSM_BUSY:
        return !fault->memory;
    default:
        return false;
    }
}

static void arm(struct sim *sim, const struct fault *fault, bool on)
{
    if (!on) {
        sim->disk->fault.at = 0;
        sim->os->mem_fail_at = 0;
    } else if (fault->memory) {
        sim->os->mem_fail_at = sim->os->mem_calls + fault->at;
        sim->os->mem_fail_sticky = fault->sticky;
    } else {
        sim->disk->fault = fault->disk;
        sim->disk->fault.at = fault->at;
        sim->disk->fault.sticky = fault->sticky;
    }
}

/* What a crash right now leaves must be allowed. */
static bool survives(struct model *model, int how)
{
    struct sim_state state = { .seed = model->sim->disk->seed, .model = how,
                               .pos = model->sim->disk->op_count };
    struct sim *sim = sim_on(sim_state_disk(model->sim->disk, &state));
    struct model after = { .sim = sim };
    int extra, rc = model_open(&after);
    int64_t found = -1;

    if (rc == LSM_OK) {
        found = model_find(model, after.db, &extra, state.why, sizeof state.why);
        if (found >= 0 && model->maybe && model_found_txn(found) == model->maybe)
            rc = LSM_OK;                /* the exception */
        else if (found >= 0 && !model_allow(model, &state, found))
            found = -1;
        rc = lsm_db_check(after.db);
        if (rc != LSM_OK)
            found = -1;
    } else {
        snprintf(state.why, sizeof state.why, "open: %s: %.300s", lsm_code_name(rc),
                 lsm_error_text());
    }
    model_close(&after);
    if (!sim_free(sim))
        found = -1;
    if (found < 0 && !model->failed[0])
        snprintf(model->failed, sizeof model->failed, "after a crash (M%d): %.200s", how,
                 state.why[0] ? state.why : lsm_error_text());
    return found >= 0;
}

static const enum model_step usual_script[] = {
    MODEL_CREATE, MODEL_TXN_SYNC, MODEL_TXN, MODEL_SINGLE, MODEL_CREATE, MODEL_FLUSH, MODEL_TXN_SYNC,
    MODEL_SINGLE, MODEL_ABORT_PREPARED, MODEL_SINGLE, MODEL_TXN, MODEL_FLUSH, MODEL_COMPACT, MODEL_WORK, MODEL_REOPEN,
    MODEL_TXN_SYNC, MODEL_DROP, MODEL_TXN, MODEL_SINGLE, MODEL_WORK, MODEL_TXN_SYNC,
};

static const enum model_step large_script[] = {
    MODEL_CREATE, MODEL_LARGE, MODEL_CREATE, MODEL_TXN, MODEL_LARGE, MODEL_FLUSH, MODEL_LARGE, MODEL_REOPEN,
    MODEL_TXN_SYNC, MODEL_FLUSH, MODEL_WORK,
};

/* One run. False: nothing failed in it, the sweep is over. */
static bool run_point(const struct fault *fault)
{
    static struct model model;
    const enum model_step *script = fault->large ? large_script : usual_script;
    size_t script_size = fault->large ? sizeof large_script : sizeof usual_script;
    struct sim *sim = sim_new(4000);
    const char *what = "";
    int rc, at_step = -1;
    bool hit, ok = true;

    sim_watch(sim);
    model_init(&model, sim, 4000);
    arm(sim, fault, true);
    rc = model_open(&model);
    ok = is_fair(rc, fault);
    for (size_t i = 0; i < script_size / sizeof *script && ok; i++) {
        if (!model.db) {                /* could not be opened: try again */
            rc = model_open(&model);
            ok = is_fair(rc, fault);
            if (rc != LSM_OK)
                continue;
        }
        at_step = (int)i;
        what = "code";
        rc = model_step(&model, script[i]);
        ok = is_fair(rc, fault);
        errors += rc != LSM_OK;
        if (ok && rc != LSM_OK && model.db && !fault->sticky) {
            what = "rows after an error";
            ok = model_is_exact(&model);
        }
    }
    hit = fault->memory ? sim->os->mem_fired > 0 : sim->disk->fault.fired > 0;
    arm(sim, fault, false);
    read_onlys += model.read_only;
    if (ok && model.db) {
        what = "rows at the end";
        ok = model_is_exact(&model);
    }
    if (ok) {
        what = "crash";
        ok = survives(&model, 0) && survives(&model, 1);
    }
    if (ok && model.db) {
        what = "close";
        rc = model_close(&model);
        ok = rc == LSM_OK || (model.read_only && rc != LSM_MISUSE);
    }
    if (ok) {
        what = "open again";
        rc = model_open(&model);
        ok = rc == LSM_OK && model_is_exact(&model);
    }
    if (ok) {
        what = "check";
        rc = lsm_db_check(model.db);
        ok = rc == LSM_OK;
    }
    if (ok && !model.maybe) {
        what = "work after it";
        rc = model_step(&model, MODEL_TXN_SYNC);
        if (rc == LSM_OK)
            rc = model_step(&model, MODEL_FLUSH);
        ok = rc == LSM_OK && model_is_exact(&model);
    }
    if (!ok)
        printf("  %s fault at %" PRIu64 "%s (error %d, partial %d), step %d: %s: %s: %s %s\n",
               fault->memory ? "memory" : "call", fault->at, fault->sticky ? " and on" : "",
               fault->disk.error, fault->disk.partial, at_step, what, lsm_code_name(rc),
               lsm_error_text(), model.failed);
    CHECK(ok);
    model_clear(&model);
    if (!CHECK(sim_free(sim)))
        printf("  %s fault at %" PRIu64 "%s, error %d, partial %d\n",
               fault->memory ? "memory" : "call", fault->at,
               fault->sticky ? " and on" : "", fault->disk.error, fault->disk.partial);
    points++;
    fired += hit;
    return hit && test_state.failures < 6;
}

/* Each point; one in `step` where there are thousands. */
static void sweep_in_steps(struct fault fault, uint64_t step)
{
    points = fired = errors = read_onlys = 0;
    for (fault.at = 1; run_point(&fault); fault.at += step)
        ;
    printf("  %" PRIu64 " points, %" PRIu64 " failing steps, %" PRIu64 " read-only stores\n",
           points, errors, read_onlys);
}

static void sweep(struct fault fault)
{
    sweep_in_steps(fault, 1);
}

#define ALL_CALLS ((1u << SIM_KIND_COUNT) - 1)

TEST(each_call_fails_once_with_eio)
{
    for (int partial = 0; partial <= 2; partial++)
        sweep((struct fault){ .disk = { .kinds = ALL_CALLS, .error = EIO, .partial = partial } });
}

/* I-11 */
TEST(each_call_fails_for_ever_with_eio)
{
    sweep((struct fault){ .sticky = true, .disk = { .kinds = ALL_CALLS, .error = EIO } });
}

TEST(each_write_meets_a_full_disk_once)
{
    for (int partial = 1; partial <= 2; partial++)
        sweep((struct fault){ .disk = { .kinds = 1u << SIM_WRITE | 1u << SIM_ALLOC | 1u << SIM_CREATE |
                                                 1u << SIM_MKDIR | 1u << SIM_TRUNC,
                                        .error = ENOSPC, .partial = partial } });
}

/* I-02 */
TEST(each_write_meets_a_full_disk_for_ever)
{
    sweep((struct fault){ .sticky = true,
                          .disk = { .kinds = 1u << SIM_WRITE | 1u << SIM_ALLOC | 1u << SIM_CREATE |
                                             1u << SIM_MKDIR,
                                    .error = ENOSPC, .partial = 1 } });
}

/* What it may still do is read. */
TEST(I_14_each_call_after_which_the_file_system_is_read_only)
{
    sweep((struct fault){ .sticky = true,
                          .disk = { .kinds = 1u << SIM_WRITE | 1u << SIM_ALLOC | 1u << SIM_CREATE |
                                             1u << SIM_MKDIR | 1u << SIM_TRUNC | 1u << SIM_UNLINK |
                                             1u << SIM_RENAME | 1u << SIM_LINK | 1u << SIM_SYNC |
                                             1u << SIM_SYNCDIR,
                                    .error = EROFS } });
}

TEST(each_open_runs_out_of_descriptors)
{
    for (int sticky = 0; sticky <= 1; sticky++)
        sweep((struct fault){ .sticky = sticky,
                              .disk = { .kinds = 1u << SIM_OPEN | 1u << SIM_CREATE,
                                        .error = EMFILE } });
}

/* I-08 */
TEST(each_sync_fails)
{
    for (int sticky = 0; sticky <= 1; sticky++)
        sweep((struct fault){ .sticky = sticky,
                              .disk = { .kinds = 1u << SIM_SYNC | 1u << SIM_SYNCDIR,
                                        .error = EIO } });
}

/* M-03 */
TEST(each_allocation_fails_once)
{
    sweep((struct fault){ .memory = true });
}

/* M-04 */
TEST(each_allocation_fails_for_ever)
{
    sweep((struct fault){ .memory = true, .sticky = true });
}

/* Private tables and their value logs: made, adopted by a record, read at open, adopted by a flush. */
TEST(each_call_of_a_large_transaction_fails)
{
    for (int sticky = 0; sticky <= 1; sticky++)
        sweep((struct fault){ .large = true, .sticky = sticky,
                              .disk = { .kinds = ALL_CALLS, .error = EIO, .partial = 1 } });
}

TEST(each_allocation_of_a_large_transaction_fails)
{
    for (int sticky = 0; sticky <= 1; sticky++)
        sweep_in_steps((struct fault){ .large = true, .sticky = sticky, .memory = true }, test_long() ? 1 : 42 / (uint64_t)test_share(6));
}

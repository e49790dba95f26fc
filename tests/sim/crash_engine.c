/*
 * crash_engine.c -- every crash state of workloads on the engine alone.
 *
 * Each distinct state is opened; it must hold exactly a prefix of the
 * transactions, not shorter than what was promised, and pass lsm_db_check(); it
 * must take one more transaction and a flush, and show the same after it is
 * opened again. The recovery itself is crashed again (depth 2).
 *
 * The numbers of states are printed. TEST_TIER=long: more seeds, more choices.
 */
#include <errno.h>

#include "tests/stat.h"
#include "tests/test.h"

#include "tests/sim/engine_model.h"

struct crash {
    struct model *model;
    uint32_t depth2_every;      /* recover one state in so many once more; 0: none */
    uint64_t opened, opened2;
    /* depth 2 */
    struct sim *inner;
    int64_t outer_found;
};

static int open_store(struct sim *sim, struct lsm_db **db)
{
    struct lsm_options options;

    lsm_options_init(&options);
    options.os = sim_lsm_os(sim);
    options.create_if_missing = true;
    options.no_worker = true;
    options.memory_bytes = 1 << 20;
    return lsm_db_open("/db/app.db-lsm", &options, db);
}

/* Open, look, check. found < 0: why says what is wrong. The store stays open in *db if not. */
static int64_t look(const struct model *model, struct sim *sim, struct lsm_db **db, int *extra,
                    struct sim_state *state)
{
    int rc = open_store(sim, db);
    int64_t found;

    if (rc != LSM_OK) {
        snprintf(state->why, sizeof state->why, "open: %s: %.300s", lsm_code_name(rc),
                 lsm_error_text());
        return -1;
    }
    found = model_find(model, *db, extra, state->why, sizeof state->why);
    if (found >= 0 && (rc = lsm_db_check(*db)) != LSM_OK) {
        snprintf(state->why, sizeof state->why, "check: %s: %.300s", lsm_code_name(rc),
                 lsm_error_text());
        found = -1;
    }
    return found;
}

static int64_t give_up(struct sim_state *state, const char *what, int rc)
{
    snprintf(state->why, sizeof state->why, "%s: %s: %.300s", what, lsm_code_name(rc),
             lsm_error_text());
    return -1;
}

/* What a recovery does, and a little work after it, with marks for the one transaction in it. */
static int recover_and_work(struct sim *sim, struct lsm_db *db, int extra)
{
    int rc;

    sim_mark(sim, SIM_MARK_BEGUN, extra + 1);
    rc = model_extra(db, extra + 1);
    if (rc != LSM_OK)
        return rc;
    sim_mark(sim, SIM_MARK_ACKED, extra + 1);
    sim_mark(sim, SIM_MARK_DURABLE, extra + 1);
    return lsm_db_flush(db);
}

/* ---- depth 2: a crash while a crash is recovered from ---- */

static int64_t open_inner(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct crash *crash = ctx;
    struct sim *sim = sim_on(disk);
    struct lsm_db *db = NULL;
    int extra = 0, rc;
    int64_t found = look(crash->model, sim, &db, &extra, state);

    crash->opened2++;
    if (found >= 0 && found != crash->outer_found) {
        snprintf(state->why, sizeof state->why, "depth 2: found %llx, and at first %llx",
                 (unsigned long long)found, (unsigned long long)crash->outer_found);
        found = -1;
    }
    rc = lsm_db_close(db);
    if (found >= 0 && rc != LSM_OK)
        found = give_up(state, "depth 2: close", rc);
    if (!sim_free(sim) && found >= 0)
        found = give_up(state, "depth 2: something was left over", LSM_OK);
    return found >= 0 ? extra : -1;
}

static bool allow_inner(void *ctx, struct sim_state *state, int64_t extra)
{
    return sim_allow_prefix(((struct crash *)ctx)->inner->disk, state, extra);
}

static bool crash_recovery(struct crash *crash, struct sim_disk *disk, int64_t found,
                           struct sim_state *state)
{
    struct sim *sim = crash->inner = sim_on(disk);
    struct sim_enum e = { .models = SIM_M(0) | SIM_M(1) | SIM_M(9), .ctx = crash, .cap = 8,
                          .open = open_inner, .allow = allow_inner, .quiet = true,
                          .failures_max = 1 };
    struct lsm_db *db = NULL;
    int rc = open_store(sim, &db);
    bool ok;

    crash->outer_found = found;
    if (rc == LSM_OK)
        rc = recover_and_work(sim, db, 0);
    lsm_db_close(db);
    ok = rc == LSM_OK && sim_enumerate(sim->disk, &e);
    if (!ok)
        snprintf(state->why, sizeof state->why, "depth 2 at position %zu, M%d choice %u: %.300s",
                 e.failed.pos, e.failed.model, e.failed.choice,
                 rc == LSM_OK ? e.failed.why : lsm_error_text());
    return sim_free(sim) && ok;
}

/* ---- depth 1 ---- */

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct crash *crash = ctx;
    bool again = crash->depth2_every && crash->opened++ % crash->depth2_every == 0;
    struct sim_disk *copy = again ? sim_disk_copy(disk) : NULL;
    struct sim *sim = sim_on(disk);
    struct lsm_db *db = NULL;
    int extra, rc;
    int64_t found = look(crash->model, sim, &db, &extra, state), later;

    if (found >= 0 && (rc = recover_and_work(sim, db, extra)) != LSM_OK)
        found = give_up(state, "work after recovery", rc);
    rc = lsm_db_close(db);
    if (found >= 0 && rc != LSM_OK)
        found = give_up(state, "close after recovery", rc);
    db = NULL;
    if (found >= 0) {
        later = look(crash->model, sim, &db, &extra, state);
        if (later >= 0 && (later != found || extra != 1))
            snprintf(state->why, sizeof state->why, "found %llx at first, %llx and %d later",
                     (unsigned long long)found, (unsigned long long)later, extra);
        if (later != found || extra != 1)
            found = -1;
        rc = lsm_db_close(db);
        if (found >= 0 && rc != LSM_OK)
            found = give_up(state, "the second close", rc);
    } else {
        lsm_db_close(db);
    }
    if (!sim_free(sim) && found >= 0)
        found = give_up(state, "something was left over", LSM_OK);
    if (copy && found >= 0 && !crash_recovery(crash, copy, found, state))
        found = -1;
    else if (copy && found < 0)
        sim_disk_free(copy);
    return found;
}

static bool allow(void *ctx, struct sim_state *state, int64_t found)
{
    return model_allow(((struct crash *)ctx)->model, state, found);
}

static uint64_t total, total2;

/* Crash a workload that was run; true if no state was wrong. */
static bool crash_all(struct model *model, uint32_t models, uint32_t depth2_every)
{
    struct crash crash = { .model = model, .depth2_every = depth2_every };
    struct sim_enum e = { .models = models, .ctx = &crash, .open = open_state, .allow = allow,
                          .cap = test_long() ? 40 : 8, .sparse = test_long() ? 4 : 24 };
    bool ok = CHECK(sim_enumerate(model->sim->disk, &e));

    total += e.distinct;
    total2 += crash.opened2;
    return ok;
}

static void crash_random(uint64_t seed, int steps, uint32_t models, uint32_t depth2_every)
{
    static struct model model;
    struct sim *sim = sim_new(seed);

    sim_watch(sim);
    model_init(&model, sim, seed);
    CHECK_OK(model_open(&model));
    if (!CHECK_OK(model_run(&model, steps)) || !CHECK(model_is_exact(&model)))
        printf("  seed %" PRIu64 ": %s\n", seed, model.failed);
    else if (CHECK_OK(model_close(&model)) && !crash_all(&model, models, depth2_every))
        printf("  seed %" PRIu64 "\n", seed);
    CHECK(model_clear(&model));
    CHECK(sim_free(sim));
}

/* C-11, T-06 */
TEST(any_crash_leaves_a_prefix)
{
    int seeds = test_long() ? 60 : (int)test_share(4);

    total = total2 = 0;
    for (int i = 0; i < seeds; i++)
        crash_random(1000 + (uint64_t)i, test_long() ? 60 : 30, SIM_M_ALL, 0);
    printf("  %" PRIu64 " distinct states\n", total);
}

/* What a transaction brings in private tables, and the value logs that come with them. */
TEST(any_crash_around_large_transactions_leaves_a_prefix)
{
    static const enum model_step steps[] = {
        MODEL_CREATE, MODEL_CREATE, MODEL_TXN, MODEL_LARGE, MODEL_TXN, MODEL_FLUSH, MODEL_LARGE, MODEL_REOPEN,
        MODEL_TXN_SYNC, MODEL_FLUSH, MODEL_LARGE, MODEL_WORK, MODEL_COMPACT, MODEL_WORK,
    };
    static struct model model;

    total = total2 = 0;
    for (uint64_t seed = 3000; seed < 3000 + (test_long() ? 10 : test_share(2)); seed++) {
        struct sim *sim = sim_new(seed);

        sim_watch(sim);
        model_init(&model, sim, seed);
        CHECK_OK(model_open(&model));
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
            CHECK_OK(model_step(&model, steps[i]));
        if (!CHECK(model_is_exact(&model)) || !CHECK_OK(model_close(&model)) ||
            !crash_all(&model, SIM_M(0) | SIM_M(1) | SIM_M(3) | SIM_M(9), test_long() ? 4 : 40))
            printf("  seed %" PRIu64 ": %s\n", seed, model.failed);
        CHECK(model_clear(&model));
        CHECK(sim_free(sim));
    }
    printf("  %" PRIu64 " distinct states, %" PRIu64 " of their recoveries\n", total, total2);
}

/* A write for which there was no room, of which nothing, half or all came into the file: what a log had no room for is cut
   off, and it goes on. */
TEST(I_04_any_crash_around_a_full_disk_leaves_a_prefix)
{
    static const enum model_step steps[] = {
        MODEL_CREATE, MODEL_TXN, MODEL_SINGLE, MODEL_TXN_SYNC, MODEL_SINGLE, MODEL_TXN, MODEL_FLUSH,
        MODEL_SINGLE, MODEL_TXN, MODEL_TXN_SYNC, MODEL_SINGLE,
    };
    static struct model model;
    bool fired = true;
    int points = 0;

    total = total2 = 0;
    for (uint64_t at = 1; fired && test_state.failures == 0; at++) {
        for (int partial = 0; partial <= 2; partial++) {
            struct sim *sim = sim_new(6000);    /* the same steps each time, so that no write is left out */

            sim_watch(sim);
            model_init(&model, sim, 7);
            CHECK_OK(model_open(&model));
            sim->disk->fault = (struct sim_fault){ .at = at, .kinds = 1u << SIM_WRITE, .error = ENOSPC,
                                                   .partial = partial };
            for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
                int rc = model_step(&model, steps[i]);

                CHECK(rc == LSM_OK || rc == LSM_FULL);
            }
            fired = sim->disk->fault.fired > 0;
            sim->disk->fault = (struct sim_fault){ 0 };
            if (!CHECK(model_is_exact(&model)) || !CHECK_OK(model_close(&model)) ||
                !crash_all(&model, SIM_M(0) | SIM_M(1) | SIM_M(3) | SIM_M(9), 0))
                printf("  write %" PRIu64 ", partial %d: %s\n", at, partial, model.failed);
            CHECK(model_clear(&model));
            CHECK(sim_free(sim));
            points++;
        }
    }
    printf("  %d points, %" PRIu64 " distinct states\n", points, total);
}

/* C-14 */
TEST(a_crash_during_recovery_leaves_the_same)
{
    int seeds = test_long() ? 20 : 2;

    total = total2 = 0;
    for (int i = 0; i < seeds; i++)
        crash_random(2000 + (uint64_t)i, 25, SIM_M(0) | SIM_M(1) | SIM_M(3) | SIM_M(9),
                     test_long() ? 4 : 16);
    printf("  %" PRIu64 " distinct states, %" PRIu64 " of their recoveries\n", total, total2);
}

/* C-12: Short workloads of every order: all pairs and triples of steps on a store with two trees. */
TEST(any_crash_in_each_short_sequence_leaves_a_prefix)
{
    static struct model model;
    int count = 0, step[3];

    total = total2 = 0;
    for (int code = 0; code < MODEL_STEPS * MODEL_STEPS * MODEL_STEPS; code++) {
        struct sim *sim;
        struct sim_enum e;
        struct crash crash = { .model = &model };
        if (!test_long() && sim_mix((uint64_t)code) % 40 != 0)
            continue;
        step[0] = code % MODEL_STEPS;
        step[1] = code / MODEL_STEPS % MODEL_STEPS;
        step[2] = code / MODEL_STEPS / MODEL_STEPS;
        sim = sim_new(5000 + (uint64_t)code);
        sim_watch(sim);
        model_init(&model, sim, (uint64_t)code);
        CHECK_OK(model_open(&model));
        CHECK_OK(model_step(&model, MODEL_CREATE));
        CHECK_OK(model_step(&model, MODEL_CREATE));
        CHECK_OK(model_step(&model, MODEL_TXN));
        e = (struct sim_enum){ .models = SIM_M(0) | SIM_M(1) | SIM_M(2) | SIM_M(3) | SIM_M(9),
                               .ctx = &crash, .open = open_state, .allow = allow, .cap = 12,
                               .sparse = 8, .pos_first = sim->disk->op_count };
        for (int i = 0; i < 3; i++)
            CHECK_OK(model_step(&model, (enum model_step)step[i]));
        CHECK(model_is_exact(&model));
        CHECK_OK(model_close(&model));
        if (!CHECK(sim_enumerate(sim->disk, &e)) || model.failed[0])
            printf("  sequence %d: %d %d %d %s\n", code, step[0], step[1], step[2], model.failed);
        total += e.distinct;
        CHECK(model_clear(&model));
        CHECK(sim_free(sim));
        count++;
    }
    printf("  %d sequences, %" PRIu64 " distinct states\n", count, total);
}

/* The tests above would see it: the same workload on a disk that forgets one sync. */
TEST(a_forgotten_sync_of_the_engine_is_caught)
{
    static struct model model;
    struct sim *sim = sim_new(3000);
    struct crash crash = { .model = &model };
    struct sim_enum e = { .models = SIM_M(0), .ctx = &crash, .open = open_state, .allow = allow,
                          .quiet = true, .failures_max = 1 };
    size_t syncs = 0, caught = 0;

    model_init(&model, sim, 3000);
    CHECK_OK(model_open(&model));
    if (CHECK_OK(model_run(&model, 12)) && CHECK_OK(model_close(&model))) {
        for (size_t i = 0; i < sim->disk->op_count; i++) {
            struct sim_op *op = &sim->disk->ops[i];
            if (op->kind != SIM_SYNC && op->kind != SIM_SYNCDIR)
                continue;
            op->failed = true;          /* the disk lied: nothing of it is durable */
            syncs++;
            if (!sim_enumerate(sim->disk, &e)) {
                caught++;
            } else {
                char what[300];
                sim_op_text(sim->disk, op, what, sizeof what);
                printf("  its loss is harmless: op %zu %s\n", i, what);
            }
            op->failed = false;
        }
        printf("  %zu of %zu syncs\n", caught, syncs);
        CHECK(caught * 2 >= syncs);
    }
    CHECK(model_clear(&model));
    CHECK(sim_free(sim));
}

static int count_files(struct sim_disk *disk)
{
    uint32_t dir = sim_disk_find(disk, "/db/app.db-lsm");

    return dir ? (int)sim_inode(disk, dir)->entries.count : 0;
}

/* What a crash left over goes with the next process's first flush. */
TEST(C_15_a_hundred_crashes_in_turn_leave_no_heap_of_files)
{
    struct sim *sim = sim_new(15);
    int most = 0, lost = 0;

    for (int i = 0; i < 100; i++) {
        struct sim_state state = { .seed = 15, .model = i % 3 == 0 ? 0 : 1 };
        struct sim_disk *next;
        struct lsm_db *db = NULL;
        int rc = open_store(sim, &db);

        for (int k = 1; k < 6 && rc == LSM_OK; k++) {
            rc = model_extra(db, i * 10 + k);
            if (rc == LSM_OK && k == 3) {
                rc = lsm_db_flush(db);
                if (count_files(sim->disk) - (int)stat_of(db, "tables") > most)
                    most = count_files(sim->disk) - (int)stat_of(db, "tables");
            }
        }
        if (rc == LSM_OK && i % 4 == 0)
            rc = lsm_db_compact(db, NULL);
        if (!CHECK_OK(rc) || !CHECK_OK(lsm_db_check(db)) || !CHECK_OK(lsm_db_close(db)))
            break;
        /* Somewhere in what this process did. */
        state.pos = 1 + (size_t)(sim_mix((uint64_t)i) % sim->disk->op_count);
        next = sim_state_disk(sim->disk, &state);
        if (!CHECK(next != NULL) || !CHECK(sim_free(sim)))
            return;
        sim = sim_on(next);
        lost += count_files(next) == 0;
    }
    printf("  at most %d files beside the tables in use\n", most);
    CHECK(most <= 6);           /* CURRENT, MANIFEST, LOCK, LOG, two logs */
    CHECK(lost < 10);           /* it is one store that goes on, and not a new one each time */
    CHECK(sim_free(sim));
}

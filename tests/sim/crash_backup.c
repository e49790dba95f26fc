/*
 * crash_backup.c -- every crash state of a backup and of a repair: the original is
 * what it was, and the copy is whole or no store. After the call has returned, it
 * is there.
 */
#include "tests/test.h"

#include "tests/sim/engine_model.h"

static const char original[] = "/db/app.db-lsm", copy[] = "/db/copy.db-lsm";

struct crash {
    struct model *model;
    int64_t at_backup;          /* what model_find says of the copy */
    uint64_t opened, whole;
};

static int open_store(struct sim *sim, const char *path, struct lsm_db **db)
{
    struct lsm_options options;

    lsm_options_init(&options);
    options.os = sim_lsm_os(sim);
    options.no_worker = true;
    options.memory_bytes = 1 << 20;
    return lsm_db_open(path, &options, db);
}

/* found + 1 with the copy whole in the highest bit. */
#define WHOLE (INT64_C(1) << 62)

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct crash *crash = ctx;
    struct sim *sim = sim_on(disk);
    struct lsm_db *db = NULL;
    int extra, rc = open_store(sim, original, &db);
    int64_t found = -1, copied;

    crash->opened++;
    if (rc == LSM_OK)
        found = model_find(crash->model, db, &extra, state->why, sizeof state->why);
    else
        snprintf(state->why, sizeof state->why, "open: %.300s", lsm_error_text());
    if (found >= 0 && (rc = lsm_db_check(db)) != LSM_OK) {
        snprintf(state->why, sizeof state->why, "check: %.300s", lsm_error_text());
        found = -1;
    }
    lsm_db_close(db);
    db = NULL;
    rc = found >= 0 ? open_store(sim, copy, &db) : LSM_NOTFOUND;
    if (rc == LSM_OK) {
        crash->whole++;
        copied = model_find(crash->model, db, &extra, state->why, sizeof state->why);
        if (copied >= 0 && copied != crash->at_backup)
            snprintf(state->why, sizeof state->why, "the copy holds %llx, not %llx",
                     (unsigned long long)copied, (unsigned long long)crash->at_backup);
        if (copied >= 0 && (rc = lsm_db_check(db)) != LSM_OK)
            snprintf(state->why, sizeof state->why, "check of the copy: %.300s", lsm_error_text());
        found = copied == crash->at_backup && rc == LSM_OK ? found | WHOLE : -1;
    } else if (found >= 0 && rc != LSM_NOTFOUND && rc != LSM_CORRUPT) {
        snprintf(state->why, sizeof state->why, "the copy: %s", lsm_error_text());
        found = -1;
    }
    lsm_db_close(db);
    if (!sim_free(sim) && found >= 0) {
        snprintf(state->why, sizeof state->why, "something was left over");
        found = -1;
    }
    return found;
}

static bool allow(void *ctx, struct sim_state *state, int64_t found)
{
    struct crash *crash = ctx;

    if (!(found & WHOLE) && sim_disk_mark_at(crash->model->sim->disk, state->pos, SIM_MARK_KINDS - 1, 0)) {
        snprintf(state->why, sizeof state->why, "the backup had returned, and is not there");
        return false;
    }
    return model_allow(crash->model, state, found & ~WHOLE);
}

static int make_copy(struct model *model, bool repair)
{
    struct lsm_options options;
    int rc;

    if (!repair)
        return lsm_db_backup(model->db, copy, NULL);
    lsm_options_init(&options);
    options.os = sim_lsm_os(model->sim);
    rc = lsm_db_repair(original, copy, &options, NULL, NULL);
    return rc;
}

static bool run(uint64_t seed, bool repair, bool forget, size_t *syncs, size_t *caught)
{
    static struct model model;
    struct sim *sim = sim_new(seed);
    struct crash crash = { .model = &model };
    struct sim_enum e = { .models = forget ? SIM_M(0) : SIM_M_ALL, .ctx = &crash, .open = open_state,
                          .allow = allow, .cap = test_long() ? 40 : 8, .quiet = forget };
    struct lsm_db *db;
    size_t end;
    int extra;
    bool ok;

    model_init(&model, sim, seed);
    ok = CHECK_OK(model_open(&model)) && CHECK_OK(model_run(&model, 15)) &&
         CHECK_OK(model_step(&model, MODEL_TXN)) && CHECK_OK(model_step(&model, MODEL_FLUSH)) &&
         CHECK_OK(model_step(&model, MODEL_TXN));
    if (repair)
        ok = ok && CHECK_OK(model_close(&model));
    e.pos_first = sim->disk->op_count;
    ok = ok && CHECK_OK(make_copy(&model, repair));
    end = sim->disk->op_count;
    sim_mark(sim, SIM_MARK_KINDS - 1, 1);
    if (repair)
        ok = ok && CHECK_OK(model_open(&model));
    if (ok && CHECK_OK(open_store(sim, copy, &db))) {
        crash.at_backup = model_find(&model, db, &extra, model.failed, sizeof model.failed);
        ok = CHECK(crash.at_backup >= 0) && CHECK_INT(model_found_txn(crash.at_backup), model.txns);
        CHECK_OK(lsm_db_close(db));
    }
    ok = ok && CHECK_OK(model_step(&model, MODEL_TXN_SYNC)) && CHECK_OK(model_close(&model));
    if (ok && !forget) {
        ok = CHECK(sim_enumerate(sim->disk, &e)) && CHECK(crash.whole > 0) &&
             CHECK(crash.whole < crash.opened);
        printf("  seed %" PRIu64 ": %" PRIu64 " distinct states, %" PRIu64 " with the copy\n", seed,
               e.distinct, crash.whole);
    }
    for (size_t i = e.pos_first; ok && forget && i < end; i++) {
        struct sim_op *op = &sim->disk->ops[i];
        if (op->kind != SIM_SYNC && op->kind != SIM_SYNCDIR)
            continue;
        op->failed = true;
        ++*syncs;
        if (!sim_enumerate(sim->disk, &e)) {
            ++*caught;
        } else {
            char what[300];
            sim_op_text(sim->disk, op, what, sizeof what);
            printf("  its loss is harmless: op %zu %s\n", i, what);
        }
        op->failed = false;
    }
    CHECK(model_clear(&model));
    CHECK(sim_free(sim));
    return ok;
}

TEST(a_crash_in_a_backup_leaves_a_whole_copy_or_none)
{
    for (uint64_t i = 0; i < (test_long() ? 40u : 4u); i++)
        if (!run(7000 + i, false, false, NULL, NULL))
            return;
}

TEST(a_crash_in_a_repair_leaves_the_original_and_a_whole_store_or_none)
{
    for (uint64_t i = 0; i < (test_long() ? 40u : 4u); i++)
        if (!run(7200 + i, true, false, NULL, NULL))
            return;
}

TEST(a_forgotten_sync_of_a_backup_is_caught)
{
    size_t syncs = 0, caught = 0;

    run(7100, false, true, &syncs, &caught);
    printf("  %zu of %zu syncs\n", caught, syncs);
    CHECK(syncs > 4 && caught + 2 >= syncs);    /* CURRENT alone is not needed */
}

TEST(a_forgotten_sync_of_a_repair_is_caught)
{
    size_t syncs = 0, caught = 0;

    run(7300, true, true, &syncs, &caught);
    printf("  %zu of %zu syncs\n", caught, syncs);
    CHECK(syncs > 4 && caught + 2 >= syncs);
}

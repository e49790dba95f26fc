/*
 * sweep_commit.c -- one failing call, SQLite's or ours, at each point of a
 * transaction (V24 of failures.md; commit.md found 16 of 304 points that report
 * an error for a transaction that is committed all the same). Afterwards:
 *
 *   - the same process sees it in both stores or in neither;
 *   - a solo that was reported as failed is not there;
 *   - later transactions work, at the latest when the store is opened anew;
 *   - a crash of the process or the machine, at any later point, leaves both
 *     stores with the same transactions.
 */
#include "tests/test.h"

#include "tests/sim/commit_model.h"

struct sweep {
    struct cm *cm;
    struct cm_history *work;
    struct cm_found found[256];
    int found_count;
};

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    static struct cm cm;
    static const struct cm_content nothing;
    struct sweep *sweep = ctx;
    struct sim *sim = sim_on(disk);
    struct cm_found *found = &sweep->found[sweep->found_count];
    int64_t result = -1;

    cm_history_init(sweep->work, &nothing);
    cm_init(&cm, sim, sweep->work, sweep->cm->journal, sweep->cm->sync[0], sweep->cm->sync[1],
            sweep->cm->files, 1);
    if (sweep->found_count < 255 && cm_look(&cm) && cm_read(&cm, found))
        result = sweep->found_count++;
    else
        snprintf(state->why, sizeof state->why, "recovery: %.300s", cm.why);
    cm_clear(&cm);
    cm_history_clear(sweep->work);
    if (!sim_free(sim) && result >= 0)
        result = -1;
    return result;
}

static bool allow(void *ctx, struct sim_state *state, int64_t found)
{
    struct sweep *sweep = ctx;

    return cm_allow(sweep->cm, state, &sweep->found[found]);
}

static struct {
    uint64_t points, reported, committed, states;
} counts;

/* Fail the call number `at` of a step. False: there is no such call, or it went wrong. */
static bool sweep_one(const char *journal, const char *sync, enum cm_step step, uint64_t at,
                      bool sticky, int partial)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    static struct sweep sweep;
    struct sim *sim = sim_new(11);
    struct sim_enum e = { .models = SIM_M(0) | SIM_M(1) | SIM_M(2), .ctx = &sweep,
                          .open = open_state, .allow = allow, .cap = 4,
                          .states_max = test_long() ? 100 : 6 };
    bool fired, ok, acked;
    int n;

    sweep.cm = &cm;
    sweep.work = &work;
    sweep.found_count = 0;
    sim->disk->fills = 3;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, 5);
    ok = CHECK(cm_open(&cm, true) && cm_step(&cm, CM_SOLO) && cm_step(&cm, CM_JOINT) &&
               cm_step(&cm, CM_SOLO) && cm_step(&cm, CM_LSM_ONLY));
    cm.faults = true;
    n = history.count;
    history.fault_pos = e.pos_first = sim->disk->op_count;
    sim->disk->fault = (struct sim_fault){ .at = at, .sticky = sticky, .partial = partial };
    acked = ok && cm_step(&cm, step);
    fired = sim->disk->fault.fired > 0;
    sim->disk->fault = (struct sim_fault){ .at = 0 };
    cm.veto = false;
    for (int c = 0; c < 2; c++)
        if (!sqlite3_get_autocommit(cm.db[c]))
            sqlite3_exec(cm.db[c], "ROLLBACK", NULL, NULL, NULL);
    ok = ok && CHECK(cm_resolve(&cm));
    if (fired) {
        counts.points++;
        counts.reported += !acked;
        for (int i = n; i < history.count && !acked; i++)
            counts.committed += !history.txns[i].dead;
    }
    /* It may refuse to go on until it is opened anew, but never disagree. */
    for (int i = 0; ok && fired && i < 3; i++) {
        cm_step(&cm, i == 1 ? CM_JOINT : CM_SOLO);
        if (!sqlite3_get_autocommit(cm.db[0]))
            sqlite3_exec(cm.db[0], "ROLLBACK", NULL, NULL, NULL);
        ok = CHECK(cm_resolve(&cm));
    }
    if (ok && fired) {
        cm_forgive(&cm, n);
        cm_close(&cm);
        ok = CHECK(cm_open(&cm, false) && cm_resolve(&cm) && cm_is_now(&cm));
        cm.faults = false;
        ok = ok && CHECK(cm_step(&cm, CM_SOLO) && cm_step(&cm, CM_JOINT) && cm_is_now(&cm));
    }
    cm_clear(&cm);
    if (ok && fired) {
        ok = CHECK(sim_enumerate(sim->disk, &e));
        counts.states += e.distinct;
    }
    if (!ok || cm.why[0]) {
        CHECK(!cm.why[0]);
        printf("  %s %s step %d, call %" PRIu64 "%s partial %d: %s %s\n", journal, sync, step, at,
               sticky ? " and all after it" : "", partial, cm.why, e.failed.why);
        cm_history_print(&history, e.failed.pos);
        if (getenv("CRASH_TRACE"))
            sim_disk_dump(sim->disk, history.fault_pos - 5, sim->disk->op_count);
    }
    cm_history_clear(&history);
    ok = CHECK(sim_free(sim)) && ok;
    return ok && fired;
}

#define POINTS_MIN 80           /* of system calls that fail, in the quick tier of the mode with the fewest */

static void sweep_mode(const char *journal, const char *sync)
{
    static const enum cm_step steps[] = { CM_SOLO, CM_JOINT, CM_SEVERAL, CM_LSM_ONLY, CM_VETO,
                                          CM_BUSY, CM_FLUSH };

    memset(&counts, 0, sizeof counts);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        for (int kind = 0; kind < 4; kind++) {
            /* once and nothing written, once and all written, all after it; the quick tier takes
               some of the last two */
            for (uint64_t at = 1; at < 2000; at++) {
                if (kind && !test_long() && at % 4 != (uint64_t)kind % 4 && at > 400)
                    break;
                if (kind && !test_long() && at % 5 != (uint64_t)kind)
                    continue;
                if (!sweep_one(journal, sync, steps[i], at, kind >= 2, kind % 2 ? 2 : kind / 2))
                    break;
            }
        }
    printf("  %s %s: %" PRIu64 " points, %" PRIu64 " reported, of which %" PRIu64
           " were committed; %" PRIu64 " states\n", journal, sync, counts.points, counts.reported,
           counts.committed, counts.states);
    CHECK(counts.points >= POINTS_MIN && counts.reported > counts.points / 2);
    /* An error may come behind the commit (V24); not where the journal's removal is it, and is not synced. */
    CHECK((counts.committed > 0) == (strcmp(journal, "DELETE") != 0 || strcmp(sync, "FULL") != 0));
}

TEST(C_18_a_failing_call_never_parts_the_stores_delete_full) { sweep_mode("DELETE", "FULL"); }
TEST(C_18_a_failing_call_never_parts_the_stores_delete_extra) { sweep_mode("DELETE", "EXTRA"); }
TEST(C_19_a_failing_call_never_parts_the_stores_truncate_full) { sweep_mode("TRUNCATE", "FULL"); }
TEST(C_19_a_failing_call_never_parts_the_stores_persist_full) { sweep_mode("PERSIST", "FULL"); }
TEST(C_18_a_failing_call_never_parts_the_stores_wal_full) { sweep_mode("WAL", "FULL"); }
TEST(C_18_a_failing_call_never_parts_the_stores_wal_normal) { sweep_mode("WAL", "NORMAL"); }

/* ---- a sync of the -wal fails, and the kernel calls its pages clean ------------------------ */

/* Both stores at every moment from the fault on, if the process dies or the power is cut. Only what is surely on
   disk: of a checkpoint from such a -wal that is on disk in part SQLite's own file is malformed. */
static bool survives(struct cm *cm, struct sim *sim, size_t from)
{
    static struct cm_history work;
    static struct sweep sweep;
    struct sim_enum e = { .models = SIM_M(0) | SIM_M(1), .ctx = &sweep, .open = open_state,
                          .allow = allow, .states_max = 200, .pos_first = from };

    sweep.cm = cm;
    sweep.work = &work;
    sweep.found_count = 0;
    return sim_enumerate(sim->disk, &e);
}

/* One step in which the at-th sync of a file fails. False: there is no such sync. */
static bool step_with_failing_sync(struct cm *cm, enum cm_step step, uint64_t at)
{
    struct sim_disk *disk = cm->sim->disk;
    bool fired;

    cm->faults = true;
    cm->history->fault_pos = disk->op_count;
    disk->fault = (struct sim_fault){ .at = at, .kinds = 1u << SIM_SYNC, .error = EIO };
    cm_step(cm, step);
    fired = disk->fault.fired > 0;
    disk->fault = (struct sim_fault){ .at = 0 };
    for (int c = 0; c < 2; c++)
        if (!sqlite3_get_autocommit(cm->db[c]))
            sqlite3_exec(cm->db[c], "ROLLBACK", NULL, NULL, NULL);
    CHECK(cm_resolve(cm));
    return fired;
}

/* k-1 of a NORMAL connection, k of a FULL one whose sync fails: the next sync covers neither, and a flush after it
   would put into tables what a power cut takes from the database. */
static void fail_a_sync_of_the_wal(bool has_older_frames, bool is_flushed)
{
    static struct cm cm;
    static struct cm_history history;
    static const struct cm_content nothing;
    int flushed = 0;

    for (uint64_t at = 1; at < 20; at++) {
        struct sim *sim = sim_new(16);
        size_t from = 0;
        bool fired, ok;

        sim->disk->fills = 3;
        cm_history_init(&history, &nothing);
        cm_init(&cm, sim, &history, "WAL", "NORMAL", "FULL", 1, 16);
        ok = CHECK(cm_open(&cm, true) && cm_step(&cm, CM_CHECKPOINT));
        for (int i = 0; i < 3 && ok && has_older_frames; i++)
            ok = CHECK(cm_step(&cm, CM_OTHER_JOINT));
        ok = ok && CHECK(cm_step(&cm, CM_SOLO) && cm_step(&cm, CM_JOINT) && cm_step(&cm, CM_JOINT));
        fired = ok && step_with_failing_sync(&cm, CM_OTHER_JOINT, at);
        for (int i = 0; ok && fired && i < (is_flushed ? 2 : 1); i++) {
            struct lsm_db *db = lsm_vtab_store_find("/db/app.db");

            cm_step(&cm, i || !is_flushed ? CM_OTHER_JOINT : CM_JOINT);
            flushed += is_flushed && db && lsm_db_flush(db) == LSM_OK;
            if (from == 0)      /* in the checkpoint itself SQLite's own file is not whole, where older frames stand */
                from = has_older_frames ? sim->disk->op_count : history.fault_pos;
            cm_step(&cm, CM_OTHER_SOLO);
        }
        ok = ok && CHECK(cm_resolve(&cm));
        if (!is_flushed)        /* whose checkpoint it is then is not known: when all is done */
            from = sim->disk->op_count;
        cm_kill(&cm);           /* a store is known by its file's number, which a crash does not change */
        if (ok && fired && !CHECK(survives(&cm, sim, from)))
            printf("  sync %" PRIu64 "\n", at);
        cm_history_clear(&history);
        CHECK(sim_free(sim));
        if (!ok || !fired)
            break;
    }
    printf("  %d flushes\n", flushed);
    CHECK(flushed > 0 || !is_flushed);
}

TEST(R16_only_a_checkpoint_settles_a_wal_of_which_a_sync_failed)
{
    fail_a_sync_of_the_wal(false, true);
}

/* What is whole of the -wal on disk would be put before the newer pages of the database file. */
TEST(R16_the_wal_of_which_a_sync_failed_is_empty_behind_the_checkpoint)
{
    fail_a_sync_of_the_wal(true, true);
}

/* Its statement keeps the write lock, so that no checkpoint empties the -wal: it must not count as settled. */
TEST(R16_a_solo_does_not_settle_a_wal_of_which_a_sync_failed)
{
    fail_a_sync_of_the_wal(true, false);
}

/* The DROP is not on disk though a later sync says so: the rows of the table must not go. */
TEST(R16_a_table_is_not_swept_after_a_sync_of_the_wal_that_failed)
{
    static struct cm cm;
    static struct cm_history history;
    static const struct cm_content nothing;
    struct sim *sim = sim_new(17);
    struct lsm_db *db;
    bool ok;

    sim->disk->fills = 3;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, "WAL", "NORMAL", "NORMAL", 1, 17);
    ok = CHECK(cm_open(&cm, true) && cm_step(&cm, CM_CHECKPOINT) && cm_step(&cm, CM_SEVERAL) &&
               cm_step(&cm, CM_SOLO) && cm_step(&cm, CM_RECREATE));
    db = lsm_vtab_store_find("/db/app.db");
    history.fault_pos = sim->disk->op_count;
    sim->disk->fault = (struct sim_fault){ .at = 1, .kinds = 1u << SIM_SYNC, .error = EIO };
    ok = ok && CHECK(db && lsm_db_flush(db) != LSM_OK) && CHECK_INT(sim->disk->fault.fired, 1);
    sim->disk->fault = (struct sim_fault){ .at = 0 };
    for (int i = 0; ok && i < 4; i++)
        ok = CHECK(cm_step(&cm, CM_SOLO));
    ok = ok && CHECK(cm_is_now(&cm));
    if (!ok)
        printf("  %s\n", cm.why);
    cm_kill(&cm);
    CHECK(ok && survives(&cm, sim, history.fault_pos));
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

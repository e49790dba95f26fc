/*
 * crash_commit.c -- every crash state of SQLite, the extension and the engine on
 * one disk: one log of operations, one instant (commit_model.h says what must
 * hold). Each state is opened, read, worked with, closed, opened again.
 */
#include "tests/test.h"

#include "tests/sim/commit_model.h"
#include "tests/sim/commit_parts.h"
#include "tests/sim/sim_jobs.h"

struct crash {
    struct cm *cm;              /* the workload that was run */
    struct cm_history *work;    /* scratch: what happens after the crash */
    struct cm_found *found;     /* by number, as open() gave it out */
    size_t found_count, found_cap;
    uint32_t depth2_every;
    uint64_t opened, opened2;
    const struct crash *outer;  /* of a crash while that one's was recovered from, */
    const struct sim_state *outer_state;        /* which left this */
};

static int64_t remember(struct crash *crash, const struct cm_found *found)
{
    if (crash->found_count == crash->found_cap) {
        crash->found_cap = crash->found_cap ? crash->found_cap * 2 : 1024;
        crash->found = realloc(crash->found, crash->found_cap * sizeof *crash->found);
        if (!crash->found)
            abort();
    }
    crash->found[crash->found_count] = *found;
    return (int64_t)crash->found_count++;
}

static int64_t give_up(struct sim_state *state, const char *when, const char *why)
{
    snprintf(state->why, sizeof state->why, "%s: %.300s", when, why);
    return -1;
}

/* What was found, as the beginning of a history of its own. */
static struct cm_content content_of(const struct cm_found *found)
{
    struct cm_content c = found->content;

    for (int f = 0; f < CM_FILES; f++) {
        int g = c.generation[f];
        if (g > 1) {
            memcpy(c.rows[f][CM_TL0 + g - 1], c.rows[f][CM_TL0], sizeof c.rows[f][CM_TL0]);
            memset(c.rows[f][CM_TL0], 0, sizeof c.rows[f][CM_TL0]);
        }
    }
    return c;
}

static bool check_integrity(struct cm *cm, char *why, size_t size)
{
    for (int f = 0; f < cm->files; f++) {
        sqlite3_stmt *stmt = NULL;
        const char *sql = f ? "PRAGMA aux.integrity_check(1)" : "PRAGMA main.integrity_check(1)";
        bool ok = sqlite3_prepare_v2(cm->db[0], sql, -1, &stmt, NULL) == SQLITE_OK &&
                  sqlite3_step(stmt) == SQLITE_ROW &&
                  strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
        if (!ok)
            snprintf(why, size, "integrity_check: %.200s", sqlite3_errmsg(cm->db[0]));
        sqlite3_finalize(stmt);
        if (!ok)
            return false;
        struct lsm_db *db = lsm_vtab_store_find(f ? "/db/aux.db" : "/db/app.db");
        if (db && lsm_db_check(db) != LSM_OK) {
            snprintf(why, size, "check: %.200s", lsm_error_text());
            return false;
        }
    }
    return true;
}

/* What stands beside the store takes its place: it must hold the same. */
static bool use_repaired(struct cm *cm)
{
    struct sim_disk *disk = cm->sim->disk;
    uint32_t dir = sim_disk_find(disk, "/db");

    return sim_rename(disk, dir, "app.db-lsm", "app.db-lsm-damaged") == 0 &&
           sim_rename(disk, dir, "app.db-lsm-repaired", "app.db-lsm") == 0 && sim_syncdir(disk, dir) == 0;
}

/* The first thing that somebody does after a crash is to ask whether all is well: before any read has
   taken what the database carries. */
static bool asks_first(struct cm *cm, const struct sim_state *state)
{
    uint64_t which = state->hash[0] / 3 % 8;
    static const char *const questions[] = { "lsm_check()", "lsm_accept()",
                                             "lsm_backup_all('/db/first.db')", "lsm_repair()" };
    sqlite3_stmt *stmt = NULL;
    const char *answer;
    char sql[100];
    bool ok;

    if (which >= sizeof questions / sizeof questions[0])
        return true;    /* most do not ask */
    if (which == 3 && state->model > 2)
        return true;    /* a repair takes records from behind a gap, too: no prefix */
    snprintf(sql, sizeof sql, "SELECT %s", questions[which]);
    ok = sqlite3_prepare_v2(cm->db[0], sql, -1, &stmt, NULL) == SQLITE_OK &&
         sqlite3_step(stmt) == SQLITE_ROW;
    answer = ok ? (const char *)sqlite3_column_text(stmt, 0) : sqlite3_errmsg(cm->db[0]);
    if (which == 0)             /* a torn CURRENT is what a crash may leave, and is said */
        ok = ok && (strcmp(answer, "ok") == 0 || strncmp(answer, "CURRENT does not name", 21) == 0);
    else if (which == 1)
        ok = ok && strstr(answer, "nothing to accept");
    else if (which == 3 && !ok)         /* a crash in the making of the database: there is no store */
        ok = strstr(answer, "has no lsm tables");
    else if (which == 3)
        ok = strstr(answer, "could not be read, 0 transactions are lost") && use_repaired(cm);
    if (!ok)
        snprintf(cm->why, sizeof cm->why, "%s: %.300s", questions[which], answer);
    sqlite3_finalize(stmt);
    return ok;
}

/* Open, read, a few transactions, close, open again: `sim` is used up. */
static int64_t recover(struct crash *crash, const struct cm *like, struct sim *sim,
                       struct sim_state *state, struct cm_found *found)
{
    static struct cm cm;
    struct cm_content first;
    int64_t result = -1;

    memset(found, 0, sizeof *found);
    cm_history_init(crash->work, &found->content);
    cm_init(&cm, sim, crash->work, like->journal, like->sync[0], like->sync[1], like->files,
            state->hash[0]);
    if (!cm_look(&cm) || !asks_first(&cm, state) || !cm_read(&cm, found)) {
        give_up(state, "recovery", cm.why);
    } else if (!check_integrity(&cm, cm.why, sizeof cm.why)) {
        give_up(state, "recovery", cm.why);
    } else {
        first = content_of(found);
        crash->work->count = like->history->count;      /* numbers that the workload did not use */
        for (int i = 0; i < crash->work->count; i++)
            crash->work->txns[i].dead = true;
        cm.now = first;
        if (!cm_step(&cm, CM_CHECKPOINT) || (first.plain[0] && !cm_is_now(&cm)))
            give_up(state, "reading again", cm.why);
        else if (state->hash[0] % 3)
            result = 0;         /* one in three is worked with, which takes twice as long */
        else if (cm_close(&cm) && cm_open(&cm, true) && cm_step(&cm, CM_SOLO) &&
                 cm_step(&cm, CM_SEVERAL) && cm_step(&cm, CM_SOLO) && cm_run(&cm, 2) &&
                 cm_is_now(&cm) && cm_close(&cm) && cm_look(&cm) && cm_is_now(&cm))
            result = 0;
        else
            give_up(state, "work after recovery", cm.why);
    }
    if (!cm_close(&cm)) {
        if (result >= 0)
            give_up(state, "close", cm.why);
        result = -1;
    }
    cm_history_clear(crash->work);
    if (!sim_free(sim) && result >= 0)
        result = give_up(state, "close", "something was left over");
    return result;
}

/* NORMAL leaves a rollback journal's header and content to one sync: it needs writes in order. */
#define IN_ORDER (SIM_M(0) | SIM_M(1) | SIM_M(2))

static bool is_in_order(const char *journal, const char *sync_a, const char *sync_b)
{
    return strcmp(journal, "WAL") != 0 &&
           (strcmp(sync_a, "NORMAL") == 0 || strcmp(sync_b, "NORMAL") == 0);
}

/* ---- depth 2: a crash while a crash is recovered from ---- */

static int64_t open_inner(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    static struct cm cm;
    struct crash *crash = ctx;
    struct sim *sim = sim_on(disk);
    struct cm_found found;
    int64_t result;

    cm_init(&cm, sim, crash->work, crash->cm->journal, crash->cm->sync[0], crash->cm->sync[1],
            crash->cm->files, 1);
    result = cm_look(&cm) && cm_read(&cm, &found) ? remember(crash, &found)
                                                         : give_up(state, "depth 2", cm.why);
    crash->opened2++;
    cm_clear(&cm);
    if (!sim_free(sim) && result >= 0)
        result = give_up(state, "depth 2", "something was left over");
    return result;
}

/*
 * What the second crash left of the first one's remains is one of the history since then. Or, in WAL mode, it is what the first
 * might have left: a commit that it cut short in the -wal is whole again where what was written over it since then is lost but
 * for the page that had been missing (of the same bytes; found here). SQLite takes it as committed, and so must the store.
 */
static bool allow_inner(void *ctx, struct sim_state *state, int64_t found)
{
    struct crash *crash = ctx;
    struct sim_state before = *crash->outer_state;

    if (cm_allow(crash->cm, state, &crash->found[found]))
        return true;
    for (int f = 0; f < crash->cm->files; f++)
        if (cm_promised(crash->cm->history, state->pos, f, CM_KEPT_LSM) > 0 ||
            cm_promised(crash->cm->history, state->pos, f, CM_KEPT_SQL) > 0)
            return false;
    return state->model == 3 && cm_is_wal(crash->cm) && cm_allow(crash->outer->cm, &before, &crash->found[found]);
}

static bool crash_recovery(struct crash *outer, struct sim_disk *disk, const struct cm_found *found,
                           struct sim_state *state)
{
    static struct cm cm;
    static struct cm_history history, work;
    struct cm_content first = content_of(found);
    struct sim *sim = sim_on(disk);
    struct crash crash = { .cm = &cm, .work = &work, .outer = outer, .outer_state = state };
    struct sim_enum e = { .models = is_in_order(outer->cm->journal, outer->cm->sync[0],
                                                outer->cm->sync[1])
                                        ? IN_ORDER : SIM_M(0) | SIM_M(1) | SIM_M(3) | SIM_M(9),
                          .ctx = &crash, .open = open_inner, .allow = allow_inner, .cap = 4,
                          .sparse = 16, .quiet = true, .failures_max = 1 };
    const struct cm *like = outer->cm;
    bool ok;

    sim->disk->fills = strcmp(like->journal, "DELETE") == 0 ? 3 : 4;
    cm_history_init(&history, &first);
    history.count = CM_TXNS - 100;
    for (int i = 1; i < history.count; i++)
        history.txns[i].dead = true;
    cm_history_init(&work, &first);
    cm_init(&cm, sim, &history, like->journal, like->sync[0], like->sync[1], like->files,
            state->hash[0]);
    ok = cm_open(&cm, true) && cm_run(&cm, 5) && cm_close(&cm);
    cm_clear(&cm);
    if (!ok)
        give_up(state, "depth 2", cm.why);
    else if (!(ok = sim_enumerate(sim->disk, &e)))
        snprintf(state->why, sizeof state->why, "depth 2 at position %zu, M%d choice %u: %.300s",
                 e.failed.pos, e.failed.model, e.failed.choice, e.failed.why);
    outer->opened2 += crash.opened2;
    cm_history_clear(&history);
    free(crash.found);
    return sim_free(sim) && ok;
}

/* ---- depth 1 ---- */

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct crash *crash = ctx;
    bool again = crash->depth2_every && crash->opened++ % crash->depth2_every == 0;
    struct sim_disk *copy = again ? sim_disk_copy(disk) : NULL;
    struct cm_found found;

    if (recover(crash, crash->cm, sim_on(disk), state, &found) < 0) {
        sim_disk_free(copy);
        return -1;
    }
    if (copy && !crash_recovery(crash, copy, &found, state))
        return -1;
    return remember(crash, &found);
}

static bool allow(void *ctx, struct sim_state *state, int64_t found)
{
    struct crash *crash = ctx;

    return cm_allow(crash->cm, state, &crash->found[found]);
}

static uint64_t total, total2, carried;      /* of the test that runs */

struct run {
    const char *journal, *sync_a, *sync_b;
    int files, steps;
    uint64_t seed, states_max;
    size_t dead_at;             /* kill the process there, and go on; 0: do not */
    uint32_t models, depth2_every, pos_every;
    bool not_carried;           /* joint transactions sync the log */
};

/* Run a workload and look at every crash of it. Ops that it made, or 0: something is wrong. */
static size_t crash_run(const struct run *run)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    struct sim *sim = sim_new(run->seed);
    struct crash crash = { .cm = &cm, .work = &work, .depth2_every = run->depth2_every };
    struct sim_enum e = { .ctx = &crash, .open = open_state, .allow = allow,
                          .cap = test_long() ? 24 : 5, .sparse = test_long() ? 8 : 40,
                          .states_max = run->states_max, .pos_first = run->dead_at,
                          .pos_every = run->pos_every };
    size_t ops;
    bool ok;

    e.models = is_in_order(run->journal, run->sync_a, run->sync_b) ? IN_ORDER : SIM_M_ALL;
    if (run->models)
        e.models &= run->models;
    sim_watch(sim);
    sim->disk->fills = strcmp(run->journal, "DELETE") == 0 ? 3 : 4;
    sim->disk->dead_at = run->dead_at;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, run->journal, run->sync_a, run->sync_b, run->files, run->seed);
    if (run->not_carried)
        cm.machine.redo_slot_bytes = -1;
    ok = cm_open(&cm, true) && cm_run(&cm, run->steps);
    if (sim->disk->dead)
        ok = cm_revive(&cm) && cm_is_now(&cm) && cm_run(&cm, 8);
    ok = CHECK(ok && cm_is_now(&cm) && cm_close(&cm));
    cm_clear(&cm);
    if (!ok)
        printf("  workload: %s\n", cm.why);
    else if (!(ok = CHECK(sim_enumerate(sim->disk, &e)))) {
        printf("  at %zu M%d %u: %s\n", e.failed.pos, e.failed.model, e.failed.choice, e.failed.why);
        cm_history_print(&history, e.failed.pos);
        if (getenv("CRASH_TRACE"))
            sim_disk_dump(sim->disk, 0, e.failed.pos);
    }
    if (!ok)
        printf("  seed %" PRIu64 " %s %s %s, %d files, killed at %zu\n", run->seed, run->journal,
               run->sync_a, run->sync_b, run->files, run->dead_at);
    total += e.distinct;
    carried += cm.carried;
    total2 += crash.opened2;
    ops = sim->disk->op_count;
    free(crash.found);
    cm_history_clear(&history);
    return CHECK(sim_free(sim)) && ok ? ops : 0;
}

/*
 * The tiers' promise, in distinct states of all modes: WANTED_QUICK and WANTED_LONG. The long tier takes
 * new workloads until a mode has its part, and says how far it is; each is crashed in all its length.
 */
enum { WANTED_QUICK = 20000, WANTED_LONG = 1000000, COMBINATIONS = 15 };

static uint64_t all_modes;
static int combinations_done;

struct mode {
    const char *journal, *sync_a, *sync_b;
};

static void mode_workload(void *ctx, int i, struct sim_counts *counts)
{
    const struct mode *mode = ctx;
    /* In the long tier the two that run side by side take as long. */
    struct run run = { mode->journal, mode->sync_a, mode->sync_b, .files = 1 + (test_long() ? i / 2 : i) % 2,
                       .seed = 100 + (uint64_t)i, .steps = test_long() ? 60 : 30,
                       .states_max = test_long() ? 12000 : test_share(1500),
                       .pos_every = test_long() ? 4
                                    : is_in_order(mode->journal, mode->sync_a, mode->sync_b) ? 2 : 5,
                       .not_carried = i % 5 == 4 };

    total = carried = 0;
    crash_run(&run);
    counts->of[0] = total;
    counts->of[1] = carried;
}

static void crash_mode(const char *journal, const char *sync_a, const char *sync_b)
{
    struct mode mode = { journal, sync_a, sync_b };
    uint64_t wanted = test_long() ? (WANTED_LONG + COMBINATIONS - 1) / COMBINATIONS : 0;
    uint64_t states = 0, with = 0;

    for (int i = 0; i < 2 || states < wanted; i += 2) {
        struct sim_counts counts[2];
        bool ok = sim_jobs_run(i, 2, mode_workload, &mode, counts);

        states += counts[0].of[0] + counts[1].of[0];
        with += counts[0].of[1] + counts[1].of[1];
        if (!ok)
            break;
        if (test_long())
            printf("  %s %s %s: %" PRIu64 " of %" PRIu64 " distinct states, %d workloads\n", journal, sync_a,
                   sync_b, states, wanted, i + 2);
        fflush(stdout);
    }
    printf("  %s %s %s: %" PRIu64 " distinct states, %" PRIu64 " transactions carried\n", journal,
           sync_a, sync_b, states, with);
    CHECK(with > 0);
    all_modes += states;
    combinations_done++;
}

/* C-22 */
TEST(C_01_any_crash_leaves_one_transaction_or_none_delete_normal)
{
    crash_mode("DELETE", "NORMAL", "NORMAL");
}
/* S-13 */
TEST(C_01_any_crash_leaves_one_transaction_or_none_delete_full)
{
    crash_mode("DELETE", "FULL", "FULL");
}
/* C-23 */
TEST(C_01_any_crash_leaves_one_transaction_or_none_delete_extra)
{
    crash_mode("DELETE", "EXTRA", "EXTRA");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_truncate_normal)
{
    crash_mode("TRUNCATE", "NORMAL", "NORMAL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_truncate_full)
{
    crash_mode("TRUNCATE", "FULL", "FULL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_truncate_extra)
{
    crash_mode("TRUNCATE", "EXTRA", "EXTRA");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_persist_normal)
{
    crash_mode("PERSIST", "NORMAL", "NORMAL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_persist_full)
{
    crash_mode("PERSIST", "FULL", "FULL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_persist_extra)
{
    crash_mode("PERSIST", "EXTRA", "EXTRA");
}
TEST(C_02_any_crash_leaves_one_prefix_on_both_sides_wal_normal)
{
    crash_mode("WAL", "NORMAL", "NORMAL");
}
/* C-29 */
TEST(C_01_any_crash_leaves_one_transaction_or_none_wal_full)
{
    crash_mode("WAL", "FULL", "FULL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_wal_extra)
{
    crash_mode("WAL", "EXTRA", "EXTRA");
}
TEST(R6_a_full_solo_settles_what_a_normal_connection_committed)
{
    crash_mode("WAL", "FULL", "NORMAL");
    crash_mode("DELETE", "NORMAL", "FULL");
    crash_mode("TRUNCATE", "FULL", "NORMAL");
}

TEST(the_states_of_all_modes_are_as_many_as_the_tier_promises)
{
    uint64_t wanted = test_long() ? WANTED_LONG : test_share(WANTED_QUICK);

    printf("  %" PRIu64 " distinct states of %d combinations of modes\n", all_modes, combinations_done);
    CHECK(combinations_done < COMBINATIONS || all_modes >= wanted);     /* a filter leaves some out */
}

static const char *const modes[][2] = {
    { "DELETE", "FULL" }, { "WAL", "FULL" }, { "WAL", "NORMAL" }, { "TRUNCATE", "FULL" },
    { "PERSIST", "EXTRA" }, { "DELETE", "NORMAL" },
};
enum { MODES = sizeof modes / sizeof modes[0] };

/* The process dies at some operation; the next one goes on with what the page cache holds, and then
   the power is cut. */
TEST(R6_R7a_R15_a_power_cut_after_kill_9_leaves_the_same_on_both_sides)
{
    total = 0;
    for (int m = 0; m < MODES; m++) {
        struct run run = { modes[m][0], modes[m][1], modes[m][1], .files = 1, .steps = 14,
                           .seed = 7, .models = SIM_M(0) | SIM_M(2) | SIM_M(9),
                           .states_max = 1 };
        size_t ops = crash_run(&run);
        int points = test_long() ? 60 : (int)test_share(14);

        /* A journal that a dead process left unsynced and the next one writes over: SQLite itself
           does not survive it when single writes of it are lost (found here). So it is with one that
           was made empty, not removed, if that is lost and what followed is not. */
        if (strcmp(run.journal, "WAL") == 0)
            run.models |= SIM_M(3);
        if (strcmp(run.journal, "TRUNCATE") == 0 || strcmp(run.journal, "PERSIST") == 0)
            run.models &= ~SIM_M(9);
        run.states_max = test_long() ? 400 : 70;
        for (int i = 0; i < points && ops; i++) {
            run.seed = 7 + (uint64_t)(test_long() ? i % 20 : 0);
            run.dead_at = 40 + (size_t)(sim_mix((uint64_t)(m * 1000 + i)) % ops);
            crash_run(&run);
        }
    }
    printf("  %" PRIu64 " distinct states\n", total);
}

TEST(C_15_a_crash_during_recovery_leaves_the_same_on_both_sides)
{
    total = total2 = 0;
    for (int m = 0; m < MODES; m++) {
        struct run run = { modes[m][0], modes[m][1], modes[m][1], .files = 1, .steps = 20,
                           .seed = 300 + (uint64_t)m, .depth2_every = test_long() ? 10 : 25,
                           .models = SIM_M(0) | SIM_M(1) | SIM_M(2) | SIM_M(9),
                           .states_max = test_long() ? 3000 : test_share(150) };
        crash_run(&run);
    }
    printf("  %" PRIu64 " distinct states, %" PRIu64 " of their recoveries\n", total, total2);
}

/* ---- without a promise -------------------------------------------------------------------- */

/*
 * Where nothing is promised (journal_mode OFF or MEMORY, synchronous OFF) SQLite's own file may be damaged,
 * and it may not notice. Still nothing crashes, and what does not fit and can be known says so. Where only
 * the store's disk lies of its syncs, the database is whole: then no pair that opens is half.
 */
static struct {
    uint64_t states, whole, refused, half;
    bool may_be_half;
} weak;

static bool is_refusal(const char *why)
{
    static const char *const words[] = { "older than store", "store behind", "corrupt", "malformed",
                                         "not a database", "not found at", "is gone", "damaged",
                                         "was closed before", "shadow table", "belong", "no such table",
                                         "vtable constructor", "belongs to", "has no tree" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(why, words[i]))
            return true;
    return false;
}

static int64_t open_weak(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    static struct cm cm;
    struct crash *crash = ctx;
    struct sim *sim = sim_on(disk);
    struct cm_found found;
    int64_t result = 0;

    cm_history_init(crash->work, &(struct cm_content){ 0 });
    cm_init(&cm, sim, crash->work, crash->cm->journal, "FULL", "FULL", 1, 1);
    weak.states++;
    if (cm_look(&cm) && cm_read(&cm, &found))
        weak.whole++;
    else if (is_refusal(cm.why))
        weak.refused++;
    else if (weak.may_be_half && (strstr(cm.why, "in its mirror") || strstr(cm.why, "not what was written") ||
                                  strstr(cm.why, "main.mp: 101")))      /* an ordinary table lost its only row */
        weak.half++;
    else
        result = give_up(state, "without a promise", cm.why);
    cm_clear(&cm);
    cm_history_clear(crash->work);
    if (!sim_free(sim) && result >= 0)
        result = give_up(state, "close", "something was left over");
    return result;
}

static void weak_run(const char *journal, const char *sync, uint64_t seed, bool lies)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    static const enum cm_step steps[] = { CM_SOLO, CM_JOINT, CM_SEVERAL, CM_OTHER_SOLO, CM_LSM_ONLY, CM_FLUSH,
                                          CM_PLAIN, CM_OTHER_JOINT, CM_CHECKPOINT };
    struct sim *sim = sim_new(seed);
    struct crash crash = { .cm = &cm, .work = &work };
    struct sim_enum e = { .ctx = &crash, .open = open_weak, .cap = test_long() ? 24 : 3,
                          .models = lies ? SIM_M(0) | SIM_M(1) | SIM_M(2) : SIM_M_ALL,
                          .sparse = test_long() ? 4 : 40, .pos_every = test_long() ? 2 : 5,
                          .states_max = test_long() ? 5000 : test_share(1000) };
    bool ok;

    memset(&weak, 0, sizeof weak);
    weak.may_be_half = !lies;
    sim->disk->fills = 3;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, seed);
    ok = cm_open(&cm, true);
    /* Without a journal a ROLLBACK does what it likes. */
    for (size_t i = 0; i < 3 * sizeof steps / sizeof steps[0] && ok; i++)
        ok = cm_step(&cm, steps[i % (sizeof steps / sizeof steps[0])]);
    ok = ok && cm_close(&cm);
    cm_clear(&cm);
    if (!CHECK(ok))
        printf("  workload: %s\n", cm.why);
    /* The store's disk lies, SQLite's does not. */
    for (size_t i = 0; lies && i < sim->disk->op_count; i++) {
        struct sim_op *op = &sim->disk->ops[i];
        char what[300];

        sim_op_text(sim->disk, op, what, sizeof what);
        if ((op->kind == SIM_SYNC || op->kind == SIM_SYNCDIR) && strstr(what, "-lsm"))
            op->failed = true;
    }
    CHECK(!ok || sim_enumerate(sim->disk, &e));
    printf("  %s %s: %" PRIu64 " states, %" PRIu64 " whole, %" PRIu64 " refused, %" PRIu64 " half\n", journal,
           sync, weak.states, weak.whole, weak.refused, weak.half);
    CHECK(weak.whole > 0);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

TEST(C_30_synchronous_off_loses_nothing_to_a_process_that_dies)
{
    static const char *const journals[] = { "WAL", "DELETE", "PERSIST" };

    for (int m = 0; m < 3; m++) {
        struct run run = { journals[m], "OFF", "OFF", .files = 1 + m % 2, .seed = 550 + (uint64_t)m,
                           .steps = 40, .models = SIM_M(1), .states_max = test_long() ? 5000 : 400 };
        crash_run(&run);
    }
}

TEST(C_30_where_nothing_is_promised_nothing_crashes_and_what_can_be_known_is_told)
{
    for (uint64_t seed = 500; seed < (test_long() ? 508u : 502u); seed++) {
        weak_run("WAL", "OFF", seed, false);
        weak_run("DELETE", "OFF", seed, false);
        weak_run("MEMORY", "FULL", seed, false);
        weak_run("OFF", "FULL", seed, false);
    }
}

TEST(T_11_a_disk_that_lies_of_its_syncs_is_found_out_or_loses_both_sides)
{
    for (uint64_t seed = 600; seed < (test_long() ? 608u : 602u); seed++) {
        weak_run("WAL", "FULL", seed, true);
        weak_run("DELETE", "EXTRA", seed, true);
    }
}

/* What a table's DROP leaves is swept by the next statement that is solo: no sooner than no power cut brings the
   table back. */
static void sweep_run(const char *journal, const char *sync)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    static const enum cm_step steps[] = { CM_SOLO, CM_JOINT, CM_RECREATE, CM_SOLO, CM_SOLO, CM_RECREATE, CM_OTHER_SOLO,
                                          CM_JOINT, CM_SOLO };
    struct sim *sim = sim_new(41);
    struct crash crash = { .cm = &cm, .work = &work };
    struct sim_enum e = { .models = SIM_M(0) | SIM_M(1), .ctx = &crash, .open = open_state, .allow = allow };

    sim->disk->fills = 3;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, 41);
    if (!CHECK(cm_open(&cm, true)))
        return;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        CHECK(cm_step(&cm, steps[i]));
    CHECK(cm_close(&cm));
    if (!CHECK(sim_enumerate(sim->disk, &e)))
        printf("  %s %s\n", journal, sync);
    cm_clear(&cm);
    free(crash.found);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

TEST(R16_a_table_that_a_power_cut_brings_back_has_its_rows)
{
    sweep_run("WAL", "NORMAL");
    sweep_run("DELETE", "NORMAL");
    sweep_run("DELETE", "FULL");
    sweep_run("TRUNCATE", "NORMAL");
}

/* ---- the tests above would see it ------------------------------------------------------- */

/* The same workload on a disk that forgets one sync of ours. */
static void forget_syncs(const char *journal, const char *sync, int *caught, int *syncs)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    static const enum cm_step steps[] = { CM_SOLO, CM_JOINT, CM_SOLO, CM_LSM_ONLY, CM_FLUSH, CM_SOLO,
                                          CM_REOPEN, CM_SOLO, CM_SEVERAL, CM_SOLO, CM_VETO, CM_SOLO };
    struct sim *sim = sim_new(31);
    struct crash crash = { .cm = &cm, .work = &work };

    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, 31);
    sim->disk->fills = 3;
    if (!CHECK(cm_open(&cm, true)))
        return;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        CHECK(cm_step(&cm, steps[i]));
    CHECK(cm_close(&cm));
    for (size_t i = 0; i < sim->disk->op_count; i++) {
        struct sim_op *op = &sim->disk->ops[i];
        struct sim_enum e = { .models = SIM_M(0), .ctx = &crash, .open = open_state, .allow = allow,
                              .pos_first = i, .quiet = !getenv("CRASH_TRACE"), .failures_max = 1 };
        char what[300];

        if (op->kind != SIM_SYNC && op->kind != SIM_SYNCDIR)
            continue;
        sim_op_text(sim->disk, op, what, sizeof what);
        if (!strstr(what, "-lsm"))
            continue;           /* SQLite's, or a settle: see crash_sqlite.c, R6 */
        op->failed = true;
        ++*syncs;
        if (!sim_enumerate(sim->disk, &e))
            ++*caught;
        else
            printf("  %s %s: its loss is harmless: op %zu %s\n", journal, sync, i, what);
        op->failed = false;
    }
    free(crash.found);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

TEST(a_forgotten_sync_of_ours_is_caught)
{
    int caught = 0, syncs = 0;

    forget_syncs("WAL", "FULL", &caught, &syncs);
    forget_syncs("DELETE", "EXTRA", &caught, &syncs);
    printf("  %d of %d syncs\n", caught, syncs);
    CHECK(caught * 3 >= syncs * 2);
}

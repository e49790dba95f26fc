/*
 * crash_commit.c -- every crash state of SQLite, the extension and the engine on
 * one disk: one log of operations, one instant (commit_model.h says what must
 * hold). Each state is opened, read, worked with, closed, opened again.
 */
#include "tests/test.h"

#include "tests/sim/commit_model.h"

struct crash {
    struct cm *cm;              /* the workload that was run */
    struct cm_history *work;    /* scratch: what happens after the crash */
    struct cm_found *found;     /* by number, as open() gave it out */
    size_t found_count, found_cap;
    uint32_t depth2_every;
    uint64_t opened, opened2;
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
    if (!cm_open(&cm, false) || !cm_read(&cm, found)) {
        give_up(state, "recovery", cm.why);
    } else if (!check_integrity(&cm, cm.why, sizeof cm.why)) {
        give_up(state, "recovery", cm.why);
    } else {
        first = content_of(found);
        crash->work->count = CM_TXNS - 100;     /* numbers that the workload did not use */
        for (int i = 0; i < crash->work->count; i++)
            crash->work->txns[i].dead = true;
        cm.now = first;
        if (!cm_step(&cm, CM_CHECKPOINT) || (first.plain[0] && !cm_is_now(&cm)))
            give_up(state, "reading again", cm.why);
        else if (cm_close(&cm) && cm_open(&cm, true) && cm_step(&cm, CM_SOLO) &&
                 cm_step(&cm, CM_SEVERAL) && cm_step(&cm, CM_SOLO) && cm_run(&cm, 2) &&
                 cm_is_now(&cm) && cm_close(&cm) && cm_open(&cm, false) && cm_is_now(&cm))
            result = 0;
        else
            give_up(state, "work after recovery", cm.why);
    }
    if (!cm_close(&cm) && result >= 0)
        result = give_up(state, "close", cm.why);
    cm_history_clear(crash->work);
    if (!sim_free(sim) && result >= 0)
        result = give_up(state, "close", "something was left over");
    return result;
}

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct crash *crash = ctx;
    struct cm_found found;

    crash->opened++;
    if (recover(crash, crash->cm, sim_on(disk), state, &found) < 0)
        return -1;
    return remember(crash, &found);
}

static bool allow(void *ctx, struct sim_state *state, int64_t found)
{
    struct crash *crash = ctx;

    return cm_allow(crash->cm, state, &crash->found[found]);
}

/* NORMAL leaves a rollback journal's header and content to one sync: it needs writes in order. */
#define IN_ORDER (SIM_M(0) | SIM_M(1) | SIM_M(2))

static uint64_t total;

static bool is_in_order(const char *journal, const char *sync_a, const char *sync_b)
{
    return strcmp(journal, "WAL") != 0 &&
           (strcmp(sync_a, "NORMAL") == 0 || strcmp(sync_b, "NORMAL") == 0);
}

static void crash_all(const char *journal, const char *sync_a, const char *sync_b, int files,
                      uint64_t seed, int steps, uint64_t states_max)
{
    static struct cm cm;
    static struct cm_history history, work;
    static const struct cm_content nothing;
    struct sim *sim = sim_new(seed);
    struct crash crash = { .cm = &cm, .work = &work };
    struct sim_enum e = { .models = is_in_order(journal, sync_a, sync_b) ? IN_ORDER : SIM_M_ALL,
                          .ctx = &crash, .open = open_state, .allow = allow,
                          .cap = test_long() ? 24 : 5, .sparse = test_long() ? 8 : 40,
                          .states_max = states_max };

    sim_watch(sim);
    sim->disk->fills = strcmp(journal, "DELETE") == 0 ? 3 : 4;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync_a, sync_b, files, seed);
    if (!CHECK(cm_open(&cm, true) && cm_run(&cm, steps) && cm_is_now(&cm) && cm_close(&cm))) {
        printf("  seed %" PRIu64 " %s %s %s: %s\n", seed, journal, sync_a, sync_b, cm.why);
        cm_clear(&cm);
    } else if (!CHECK(sim_enumerate(sim->disk, &e))) {
        printf("  seed %" PRIu64 " %s %s %s %d files, at %zu M%d %u: %s\n", seed, journal, sync_a,
               sync_b, files, e.failed.pos, e.failed.model, e.failed.choice, e.failed.why);
    }
    total += e.distinct;
    free(crash.found);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

static void crash_mode(const char *journal, const char *sync_a, const char *sync_b)
{
    int seeds = test_long() ? 40 : 2;

    total = 0;
    for (int i = 0; i < seeds; i++)
        crash_all(journal, sync_a, sync_b, 1 + (i % 2), 100 + (uint64_t)i, test_long() ? 60 : 30,
                  test_long() ? 0 : 1200);
    printf("  %s %s %s: %" PRIu64 " distinct states\n", journal, sync_a, sync_b, total);
}

TEST(C_01_any_crash_leaves_one_transaction_or_none_delete_normal)
{
    crash_mode("DELETE", "NORMAL", "NORMAL");
}
TEST(C_01_any_crash_leaves_one_transaction_or_none_delete_full)
{
    crash_mode("DELETE", "FULL", "FULL");
}
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

/*
 * crash_sqlite.c -- the simulated disk is proved on SQLite alone: what SQLite
 * promises must hold in every crash state, in each journal mode. Should this
 * fail, the simulation is wrong (or SQLite); crash tests of anything else mean
 * nothing then.
 *
 * Transaction n changes some rows of t and writes n into its own table, so what
 * survived says which prefix it is; its rows' digest must be that prefix's.
 *
 * What a power cut may take, of what was acknowledged (measured: commit.md,
 * "What SQLite does"): nothing under EXTRA, PERSIST, TRUNCATE+FULL, WAL+FULL;
 * the last one under DELETE and TRUNCATE+NORMAL; what was not checkpointed under
 * WAL+NORMAL.
 *
 * One thing SQLite does not promise, found here: when a new journal's first
 * sector shows the header of an earlier, deleted journal (stale blocks of the
 * disk), rollback truncates the database to the size in it. So DELETE is crashed
 * without "another file's bytes" (disk->fills).
 */
#include "tests/test.h"

#include "tests/sim/sim.h"

#define TXN_MAX 64

struct run {
    const char *journal, *sync;
    int keep;                       /* acknowledged transactions that may be lost; -1: all */
    struct sim *sim;
    uint64_t digest[TXN_MAX + 2];
    int txns;
};

static int exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static sqlite3 *open_db(const struct run *run, struct sim *sim)
{
    sqlite3 *db = NULL;
    char sql[256];

    if (sqlite3_open_v2("/db/app.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        sim->vfs->name) == SQLITE_OK) {
        snprintf(sql, sizeof sql, "PRAGMA page_size=512; PRAGMA cache_size=10;"
                 "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=24;",
                 run->journal, run->sync);
        if (exec(db, sql) == SQLITE_OK)
            return db;
    }
    sqlite3_close(db);
    return NULL;
}

static int64_t int_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static uint64_t digest_of(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    uint64_t digest = 1;

    if (sqlite3_prepare_v2(db, "SELECT k, v FROM t ORDER BY k", -1, &stmt, NULL) != SQLITE_OK)
        return 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const uint8_t *v = sqlite3_column_blob(stmt, 1);
        digest = sim_mix(digest ^ (uint64_t)sqlite3_column_int64(stmt, 0));
        for (int i = 0; i < sqlite3_column_bytes(stmt, 1); i++)
            digest = digest * 1099511628211u ^ v[i];
    }
    sqlite3_finalize(stmt);
    return digest;
}

static bool run_txn(struct run *run, struct sim *sim, sqlite3 *db, int n)
{
    char sql[256];
    bool ok = exec(db, "BEGIN") == SQLITE_OK;

    if (n == 1)
        ok = ok && exec(db, "CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB); CREATE INDEX i ON t(v);"
                            "CREATE TABLE n(n); INSERT INTO n VALUES(0)") == SQLITE_OK;
    for (uint64_t i = 1 + sim_disk_random(sim->disk) % 5; i > 0; i--) {
        unsigned key = (unsigned)(sim_disk_random(sim->disk) % 40);
        if (sim_disk_random(sim->disk) % 4 == 0)
            snprintf(sql, sizeof sql, "DELETE FROM t WHERE k BETWEEN %u AND %u", key, key + 3);
        else
            snprintf(sql, sizeof sql, "REPLACE INTO t VALUES(%u, randomblob(%u))", key,
                     (unsigned)(sim_disk_random(sim->disk) % 700));
        ok = ok && exec(db, sql) == SQLITE_OK;
    }
    snprintf(sql, sizeof sql, "UPDATE n SET n=%d", n);
    ok = ok && exec(db, sql) == SQLITE_OK;
    run->digest[n] = digest_of(db);
    sim_mark(sim, SIM_MARK_BEGUN, n);
    ok = ok && exec(db, "COMMIT") == SQLITE_OK;
    sim_mark(sim, SIM_MARK_ACKED, n);
    if (run->keep >= 0)
        sim_mark(sim, SIM_MARK_DURABLE, n - run->keep > 0 ? n - run->keep : 0);
    return ok;
}

static int64_t examine(struct run *run, struct sim_state *state, struct sim *sim)
{
    sqlite3 *db = open_db(run, sim);
    sqlite3_stmt *stmt = NULL;
    int64_t n = -1;

    if (!db) {
        snprintf(state->why, sizeof state->why, "it cannot be opened");
        return -1;
    }
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW ||
        strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        snprintf(state->why, sizeof state->why, "integrity_check: %s",
                 stmt && sqlite3_column_text(stmt, 0) ? (const char *)sqlite3_column_text(stmt, 0)
                                                      : sqlite3_errmsg(db));
    else if (int_of(db, "SELECT count(*) FROM sqlite_schema") == 0)
        n = 0;
    else
        n = int_of(db, "SELECT n FROM n");
    sqlite3_finalize(stmt);
    if (n > 0 && (n > run->txns || digest_of(db) != run->digest[n])) {
        snprintf(state->why, sizeof state->why, "its rows are not those of transaction %lld",
                 (long long)n);
        n = -1;
    }
    /* and it can be written to */
    if (n >= 0 && (exec(db, "CREATE TABLE IF NOT EXISTS after(x)") != SQLITE_OK ||
                   exec(db, "INSERT INTO after VALUES(1)") != SQLITE_OK ||
                   int_of(db, "SELECT count(*) FROM after") < 1)) {
        snprintf(state->why, sizeof state->why, "it cannot be written to: %s", sqlite3_errmsg(db));
        n = -1;
    }
    sqlite3_close(db);
    return n;
}

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct sim *sim = sim_on(disk);
    int64_t n = examine(ctx, state, sim);

    if (!sim_free(sim) && n >= 0) {
        snprintf(state->why, sizeof state->why, "something was left open");
        n = -1;
    }
    return n;
}

static bool allow(void *ctx, struct sim_state *state, int64_t n)
{
    return sim_allow_prefix(((struct run *)ctx)->sim->disk, state, n);
}

static uint64_t crash_all(const char *journal, const char *sync, int keep, uint32_t models)
{
    struct run run = { .journal = journal, .sync = sync, .keep = keep };
    struct sim_enum e = { .models = models, .ctx = &run, .open = open_state, .allow = allow,
                          .cap = test_long() ? 24 : 6, .sparse = test_long() ? 12 : 48,
                          .states_max = test_long() ? 30000 : 1200 };
    uint64_t distinct = 0;

    for (uint64_t seed = 1; seed <= (test_long() ? 2 : 1); seed++) {
        struct sim *sim = run.sim = sim_new(seed * 1000 + (uint64_t)keep + models);
        sqlite3 *db = open_db(&run, sim);
        if (!CHECK(db != NULL))
            return 0;
        sim->disk->fills = strcmp(journal, "DELETE") == 0 ? 3 : 4;
        run.txns = test_long() ? 24 : 9;
        for (int n = 1; n <= run.txns; n++) {
            CHECK(run_txn(&run, sim, db, n));
            if (n % 6 == 5 && strcmp(journal, "WAL") == 0) {
                CHECK_INT(exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
                sim_mark(sim, SIM_MARK_DURABLE, n);
            }
        }
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
        CHECK(sim_enumerate(sim->disk, &e));
        distinct += e.distinct;
        CHECK(sim_free(sim));
    }
    printf("  %s %s: %" PRIu64 " distinct states\n", journal, sync, distinct);
    return distinct;
}

/* A disk that writes in any order, in parts, and garbage: what FULL is made for. */
#define ANY_ORDER SIM_M_ALL
/* NORMAL leaves the journal's header and content to one sync: it needs writes in order. */
#define IN_ORDER (SIM_M(0) | SIM_M(1) | SIM_M(2))

TEST(sqlite_delete_normal_loses_at_most_the_last) { crash_all("DELETE", "NORMAL", 1, IN_ORDER); }
TEST(sqlite_delete_full_loses_at_most_the_last) { crash_all("DELETE", "FULL", 1, ANY_ORDER); }
TEST(sqlite_delete_extra_loses_nothing) { crash_all("DELETE", "EXTRA", 0, ANY_ORDER); }
TEST(sqlite_truncate_normal_loses_at_most_the_last)
{
    crash_all("TRUNCATE", "NORMAL", 1, IN_ORDER);
}
TEST(sqlite_truncate_full_loses_nothing) { crash_all("TRUNCATE", "FULL", 0, ANY_ORDER); }
TEST(sqlite_truncate_extra_loses_nothing) { crash_all("TRUNCATE", "EXTRA", 0, ANY_ORDER); }
TEST(sqlite_persist_normal_loses_nothing) { crash_all("PERSIST", "NORMAL", 0, IN_ORDER); }
TEST(sqlite_persist_full_loses_nothing) { crash_all("PERSIST", "FULL", 0, ANY_ORDER); }
TEST(sqlite_persist_extra_loses_nothing) { crash_all("PERSIST", "EXTRA", 0, ANY_ORDER); }
TEST(sqlite_wal_normal_keeps_a_prefix) { crash_all("WAL", "NORMAL", -1, ANY_ORDER); }
TEST(sqlite_wal_full_loses_nothing) { crash_all("WAL", "FULL", 0, ANY_ORDER); }
TEST(sqlite_wal_extra_loses_nothing) { crash_all("WAL", "EXTRA", 0, ANY_ORDER); }

/* The promises above are not weaker than they look: each is broken if one is taken away. */
static void expect_failure(const char *journal, const char *sync, int keep)
{
    struct run run = { .journal = journal, .sync = sync, .keep = keep, .txns = 6 };
    struct sim_enum e = { .models = IN_ORDER, .ctx = &run, .open = open_state, .allow = allow,
                          .cap = 16, .quiet = true, .failures_max = 1 };
    struct sim *sim = run.sim = sim_new(77);
    sqlite3 *db = open_db(&run, sim);

    if (!CHECK(db != NULL))
        return;
    for (int n = 1; n <= run.txns; n++)
        CHECK(run_txn(&run, sim, db, n));
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    CHECK(!sim_enumerate(sim->disk, &e));
    CHECK(sim_free(sim));
}

TEST(sqlite_without_its_syncs_is_caught)
{
    expect_failure("WAL", "OFF", 0);
    expect_failure("DELETE", "OFF", 1);
    expect_failure("PERSIST", "OFF", 1);
}

TEST(sqlite_weaker_modes_do_lose_what_they_may)
{
    expect_failure("DELETE", "FULL", 0);
    expect_failure("TRUNCATE", "NORMAL", 0);
    expect_failure("WAL", "NORMAL", 0);
}

TEST(sqlite_connections_share_the_wal)
{
    struct run run = { .journal = "WAL", .sync = "NORMAL" };
    struct sim *sim = sim_new(5);
    sqlite3 *a = open_db(&run, sim), *b = open_db(&run, sim);

    if (!CHECK(a && b))
        return;
    CHECK_INT(exec(a, "CREATE TABLE t(x); INSERT INTO t VALUES(1)"), SQLITE_OK);
    CHECK_INT(int_of(b, "SELECT count(*) FROM t"), 1);
    CHECK_INT(exec(b, "BEGIN; SELECT * FROM t"), SQLITE_OK);
    CHECK_INT(exec(a, "INSERT INTO t VALUES(2)"), SQLITE_OK);
    CHECK_INT(int_of(b, "SELECT count(*) FROM t"), 1);
    CHECK_INT(exec(b, "INSERT INTO t VALUES(3)"), SQLITE_BUSY);      /* BUSY_SNAPSHOT */
    CHECK_INT(exec(b, "ROLLBACK"), SQLITE_OK);
    CHECK_INT(exec(a, "BEGIN IMMEDIATE"), SQLITE_OK);
    CHECK_INT(exec(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    CHECK_INT(int_of(b, "SELECT count(*) FROM t"), 2);
    CHECK_INT(exec(a, "COMMIT"), SQLITE_OK);
    CHECK_INT(sqlite3_close(a), SQLITE_OK);
    CHECK_INT(int_of(b, "SELECT count(*) FROM t"), 2);
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
    CHECK(sim_free(sim));
}

TEST(sqlite_readers_keep_a_rollback_commit_waiting)
{
    struct run run = { .journal = "DELETE", .sync = "FULL" };
    struct sim *sim = sim_new(6);
    sqlite3 *a = open_db(&run, sim), *b = open_db(&run, sim);

    if (!CHECK(a && b))
        return;
    CHECK_INT(exec(a, "CREATE TABLE t(x); INSERT INTO t VALUES(1)"), SQLITE_OK);
    CHECK_INT(exec(b, "BEGIN; SELECT * FROM t"), SQLITE_OK);
    CHECK_INT(exec(a, "INSERT INTO t VALUES(2)"), SQLITE_BUSY);
    CHECK_INT(exec(b, "COMMIT"), SQLITE_OK);
    CHECK_INT(exec(a, "INSERT INTO t VALUES(2)"), SQLITE_OK);
    CHECK_INT(int_of(b, "SELECT count(*) FROM t"), 2);
    CHECK_INT(sqlite3_close(a), SQLITE_OK);
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
    CHECK(sim_free(sim));
}

/* One failing call at each point: never corrupt, and what was acknowledged stays. */
TEST(sqlite_survives_each_failing_call)
{
    uint64_t points = 0;

    for (uint64_t at = 1;; at++) {
        struct run run = { .journal = at % 2 ? "WAL" : "DELETE", .sync = "FULL" };
        struct sim *sim = sim_new(9);
        int64_t acked = 0, n;
        bool fired;
        sqlite3 *db = open_db(&run, sim);
        if (!CHECK(db != NULL))
            return;
        sim->disk->fault = (struct sim_fault){ .at = at, .kinds = (1u << SIM_KIND_COUNT) - 1 };
        for (int i = 1; i <= 5; i++) {
            if (run_txn(&run, sim, db, i))
                acked = i;
            else
                exec(db, "ROLLBACK");
        }
        fired = sim->disk->fault.fired;
        sim->disk->fault.at = 0;
        run.txns = 5;
        sqlite3_close(db);
        n = -1;
        db = open_db(&run, sim);
        if (CHECK(db != NULL)) {
            n = int_of(db, "SELECT count(*) FROM sqlite_schema");
            n = n ? int_of(db, "SELECT n FROM n") : 0;
            CHECK_INT(int_of(db, "SELECT count(*) FROM pragma_integrity_check"
                                 " WHERE integrity_check <> 'ok'"), 0);
            CHECK(n >= acked);
        }
        sqlite3_close(db);
        CHECK(sim_free(sim));
        points++;
        if (!fired)
            break;
    }
    printf("  %" PRIu64 " points\n", points);
}

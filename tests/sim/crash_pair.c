/*
 * crash_pair.c -- every crash state of lsm_backup_all() and of lsm_accept(), SQLite's
 * files and the engine's on one disk.
 *
 *     backup    the original is what it was; the copy is a whole pair of the moment of
 *               the backup, or an empty database, or not there; once the call has
 *               returned it is whole
 *     accept    the database says the same of itself as before, and the same way out
 *               works; or it is accepted. Once the call has returned it is accepted
 */
#include "tests/test.h"

#include "ext/lsmvtab.h"
#include "tests/sim/commit_model.h"

enum { MARK_RETURNED = SIM_MARK_KINDS - 1 };

static bool query_text(sqlite3 *db, const char *sql, char *text, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
              sqlite3_step(stmt) == SQLITE_ROW;
    const char *found = ok ? (const char *)sqlite3_column_text(stmt, 0) : sqlite3_errmsg(db);

    snprintf(text, size, "%s", found ? found : "NULL");
    sqlite3_finalize(stmt);
    return ok;
}

static int64_t wrong(struct sim_state *state, const char *what, const char *why)
{
    snprintf(state->why, sizeof state->why, "%s: %.300s", what, why);
    return -1;
}

/* ---- lsm_backup_all ------------------------------------------------------------------- */

#define COPY "/db/copy.db"
#define WHOLE (INT64_C(1) << 32)        /* beside the number of what the original holds */

struct backup {
    struct cm *cm;
    struct cm_content at_backup;
    struct cm_found *found;
    size_t found_count, found_cap;
    uint64_t opened, whole;
};

/* 1: whole; 0: no tables, or no file; -1: neither. */
static int look_at_copy(struct backup *b, struct sim *sim, struct sim_state *state)
{
    static struct cm cm;
    static struct cm_history history;
    char text[400];
    int result = 0;

    if (!sim_disk_find(sim->disk, COPY))
        return 0;
    cm_history_init(&history, &b->at_backup);
    cm_init(&cm, sim, &history, b->cm->journal, b->cm->sync[0], b->cm->sync[1], 1, 1);
    if (sqlite3_open_v2(COPY, &cm.db[0], SQLITE_OPEN_READWRITE, sim->vfs->name) != SQLITE_OK ||
        sqlite3_lsmvtab_init(cm.db[0], NULL, NULL) != SQLITE_OK ||
        !query_text(cm.db[0], "SELECT count(*) FROM sqlite_schema", text, sizeof text)) {
        result = (int)wrong(state, "opening the copy", sqlite3_errmsg(cm.db[0]));
    } else if (strcmp(text, "0") != 0) {
        result = 1;
        if (!query_text(cm.db[0], "SELECT lsm_check()", text, sizeof text) || strcmp(text, "ok") != 0)
            result = (int)wrong(state, "check of the copy", text);
        else if (!cm_is_now(&cm))
            result = (int)wrong(state, "reading the copy", cm.why);
        else if (!query_text(cm.db[0], "PRAGMA integrity_check(1)", text, sizeof text) ||
                 strcmp(text, "ok") != 0)
            result = (int)wrong(state, "integrity of the copy", text);
        else if (sqlite3_exec(cm.db[0], "BEGIN; DELETE FROM jl; DELETE FROM jm; COMMIT; DELETE FROM sl",
                              NULL, NULL, NULL) != SQLITE_OK)
            result = (int)wrong(state, "writing to the copy", sqlite3_errmsg(cm.db[0]));
    }
    cm_clear(&cm);
    cm_history_clear(&history);
    return result;
}

static int64_t open_backup(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    static struct cm cm;
    static struct cm_history work;
    static const struct cm_content nothing;
    struct backup *b = ctx;
    struct sim *sim = sim_on(disk);
    struct cm_found found;
    int64_t result = -1;
    int copy;

    b->opened++;
    cm_history_init(&work, &nothing);
    cm_init(&cm, sim, &work, b->cm->journal, b->cm->sync[0], b->cm->sync[1], 1, 1);
    if (cm_look(&cm) && cm_read(&cm, &found)) {
        if (b->found_count == b->found_cap) {
            b->found_cap = b->found_cap ? b->found_cap * 2 : 256;
            b->found = realloc(b->found, b->found_cap * sizeof *b->found);
            if (!b->found)
                abort();
        }
        b->found[b->found_count] = found;
        result = (int64_t)b->found_count++;
    } else {
        wrong(state, "the original", cm.why);
    }
    copy = result >= 0 ? look_at_copy(b, sim, state) : -1;
    b->whole += copy > 0;
    result = copy < 0 ? -1 : copy > 0 ? result | WHOLE : result;
    cm_clear(&cm);
    cm_history_clear(&work);
    if (!sim_free(sim) && result >= 0)
        result = wrong(state, "close", "something was left over");
    return result;
}

static bool allow_backup(void *ctx, struct sim_state *state, int64_t found)
{
    struct backup *b = ctx;

    if (!(found & WHOLE) && sim_disk_mark_at(b->cm->sim->disk, state->pos, MARK_RETURNED, 0)) {
        snprintf(state->why, sizeof state->why, "the backup had returned, and is not there");
        return false;
    }
    return cm_allow(b->cm, state, &b->found[found & ~WHOLE]);
}

/* Losing a sync of ours while the copy is made must be seen. */
static void forget_syncs(struct sim_disk *disk, struct sim_enum *e, size_t end)
{
    int caught = 0, syncs = 0;

    e->models = SIM_M(0);
    e->quiet = true;
    e->failures_max = 1;
    for (size_t i = e->pos_first; i < end; i++) {
        struct sim_op *op = &disk->ops[i];
        char what[300];

        sim_op_text(disk, op, what, sizeof what);
        if ((op->kind != SIM_SYNC && op->kind != SIM_SYNCDIR) || !strstr(what, "copy.db-lsm"))
            continue;
        op->failed = true;
        syncs++;
        if (!sim_enumerate(disk, e))
            caught++;
        else
            printf("  its loss is harmless: op %zu %s\n", i, what);
        op->failed = false;
    }
    printf("  %d of %d syncs\n", caught, syncs);
    CHECK(syncs > 4 && caught + 2 >= syncs);    /* CURRENT alone is not needed */
}

static void backup_run(const char *journal, const char *sync, uint64_t seed, bool forget)
{
    static struct cm cm;
    static struct cm_history history;
    static const struct cm_content nothing;
    struct sim *sim = sim_new(seed);
    struct backup b = { .cm = &cm };
    struct sim_enum e = { .models = SIM_M_ALL, .ctx = &b, .open = open_backup, .allow = allow_backup,
                          .cap = test_long() ? 24 : 5, .sparse = test_long() ? 1 : 30,
                          .states_max = test_long() ? 10000 : 1500,
                          .pos_every = test_long() ? 1 : (uint32_t)(18 / test_share(6)) };
    size_t end = 0;
    char text[400];
    bool ok;

    sim->disk->fills = strcmp(journal, "DELETE") == 0 ? 3 : 4;
    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, seed);
    ok = cm_open(&cm, true) && cm_run(&cm, 12) && cm_step(&cm, CM_FLUSH) &&
         cm_step(&cm, CM_SEVERAL) && cm_step(&cm, CM_SOLO);
    b.at_backup = cm.now;
    e.pos_first = sim->disk->op_count;
    if (ok && !query_text(cm.db[0], "SELECT lsm_backup_all('" COPY "')", text, sizeof text)) {
        printf("  %s\n", text);
        ok = false;
    }
    end = sim->disk->op_count;
    sim_mark(sim, MARK_RETURNED, 1);
    ok = CHECK(ok && cm_step(&cm, CM_SEVERAL) && cm_step(&cm, CM_SOLO) && cm_close(&cm));
    cm_clear(&cm);
    if (!ok)
        printf("  workload: %s\n", cm.why);
    else if (forget)
        forget_syncs(sim->disk, &e, end);
    else if (CHECK(sim_enumerate(sim->disk, &e)) && CHECK(b.whole > 0 && (test_share(6) < 6 || b.whole < b.opened)))
        printf("  %s %s: %" PRIu64 " distinct states, %" PRIu64 " with the copy\n", journal, sync,
               e.distinct, b.whole);
    free(b.found);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

TEST(a_crash_in_lsm_backup_all_leaves_a_whole_pair_or_none_wal_full)
{
    for (uint64_t i = 0; i < (test_long() ? 10u : 2u); i++)
        backup_run("WAL", "FULL", 40 + i, false);
}

TEST(a_crash_in_lsm_backup_all_leaves_a_whole_pair_or_none_wal_normal)
{
    for (uint64_t i = 0; i < (test_long() ? 10u : 2u); i++)
        backup_run("WAL", "NORMAL", 60 + i, false);
}

TEST(a_crash_in_lsm_backup_all_leaves_a_whole_pair_or_none_delete_full)
{
    for (uint64_t i = 0; i < (test_long() ? 10u : 2u); i++)
        backup_run("DELETE", "FULL", 80 + i, false);
}

TEST(a_forgotten_sync_of_lsm_backup_all_is_caught)
{
    backup_run("WAL", "FULL", 40, true);
}

/* ---- lsm_accept ------------------------------------------------------------------------ */

#define APP "/db/app.db"
#define STORE APP "-lsm"

enum case_kind { OLDER, BEHIND, MISSING, CASES };

static const struct accept_case {
    const char *what, *says;
    const char *t, *p;          /* afterwards, as group_concat says it */
} cases[CASES] = {
    [OLDER] = { "store", "database older than store", "1,2,3,4,5,6,7", "1,2" },
    [BEHIND] = { "store", "store behind database", "1,2,3", "1,2,4,5" },
    [MISSING] = { "empty", "missing", "", "1,2,4,5" },
};

struct accept {
    const struct accept_case *kind;
    const char *journal;
    struct sim_disk *disk;
    uint64_t opened, accepted;
};

static struct cm accept_machine;

static sqlite3 *open_app(struct sim *sim, const char *journal)
{
    static struct cm_history history;
    static const struct cm_content nothing;
    sqlite3 *db = NULL;
    char sql[100];

    cm_history_init(&history, &nothing);
    cm_init(&accept_machine, sim, &history, journal, "FULL", "FULL", 1, 1);
    lsm_vtab_machine_use(&accept_machine.machine);
    snprintf(sql, sizeof sql, "PRAGMA page_size=512; PRAGMA journal_mode=%s; PRAGMA synchronous=FULL",
             journal);
    if (sqlite3_open_v2(APP, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, sim->vfs->name) !=
            SQLITE_OK ||
        sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        printf("  open: %s\n", sqlite3_errmsg(db));
    return db;
}

/* Both sides of an accepted pair, and that it works on. */
static bool is_accepted(const struct accept *a, sqlite3 *db, char *why, size_t size)
{
    char t[100], p[100];

    if (!query_text(db, "SELECT lsm_check()", why, size) || strcmp(why, "ok") != 0)
        return false;
    if (!query_text(db, "SELECT coalesce(group_concat(a), '') FROM t WHERE a < 100", t, sizeof t) ||
        !query_text(db, "SELECT group_concat(a) FROM p WHERE a < 100", p, sizeof p) ||
        strcmp(t, a->kind->t) != 0 || strcmp(p, a->kind->p) != 0) {
        snprintf(why, size, "lsm rows %s, ordinary rows %s", t, p);
        return false;
    }
    if (sqlite3_exec(db, "BEGIN; REPLACE INTO t VALUES(200, 1); REPLACE INTO p VALUES(200); COMMIT;"
                         "REPLACE INTO t VALUES(201, 1); INSERT INTO t(t) VALUES('flush')",
                     NULL, NULL, NULL) != SQLITE_OK) {
        snprintf(why, size, "writing: %s", sqlite3_errmsg(db));
        return false;
    }
    return true;
}

static int64_t open_accept(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct accept *a = ctx;
    struct sim *sim = sim_on(disk);
    sqlite3 *db = open_app(sim, a->journal);
    char text[400], sql[100];
    int64_t result = 0;

    a->opened++;
    snprintf(sql, sizeof sql, "SELECT lsm_accept('%s')", a->kind->what);
    if (!query_text(db, "SELECT lsm_accept()", text, sizeof text))
        result = wrong(state, "lsm_accept()", text);
    else if (strstr(text, "nothing to accept"))
        result = 1;
    else if (!strstr(text, a->kind->says))
        result = wrong(state, "lsm_accept()", text);
    else if (!query_text(db, sql, text, sizeof text))
        result = wrong(state, "the second try", text);
    a->accepted += result == 1;
    if (result >= 0 && !is_accepted(a, db, text, sizeof text))
        result = wrong(state, result ? "accepted" : "accepted at the second try", text);
    if (sqlite3_close(db) != SQLITE_OK && result >= 0)
        result = wrong(state, "close", "a statement is open");
    db = result >= 0 ? open_app(sim, a->journal) : NULL;
    if (db && !is_accepted(a, db, text, sizeof text))
        result = wrong(state, "opened again", text);
    sqlite3_close(db);
    if (!sim_free(sim) && result >= 0)
        result = wrong(state, "close", "something was left over");
    return result;
}

static bool allow_accept(void *ctx, struct sim_state *state, int64_t found)
{
    struct accept *a = ctx;

    if (found || !sim_disk_mark_at(a->disk, state->pos, MARK_RETURNED, 0))
        return true;
    snprintf(state->why, sizeof state->why, "lsm_accept() had returned, and nothing is accepted");
    return false;
}

static bool write_rows(struct sim *sim, const char *journal, const char *sql)
{
    sqlite3 *db = open_app(sim, journal);
    bool ok = CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);

    if (!ok)
        printf("  %s\n", sqlite3_errmsg(db));
    return CHECK_INT(sqlite3_close(db), SQLITE_OK) && ok;
}

/* The bytes of `path` on `from`, durably in the place of those on `to`. */
static void put_file(struct sim_disk *to, struct sim_disk *from, const char *path)
{
    struct sim_inode *inode = sim_inode(from, sim_disk_find(from, path));
    uint32_t ino = sim_disk_find(to, path);

    CHECK_INT(sim_truncate(to, ino, 0), 0);
    CHECK_INT(sim_write(to, ino, sim_inode_bytes(inode), (size_t)inode->size, 0), 0);
    CHECK_INT(sim_sync(to, ino), 0);
    CHECK_INT(sim_syncdir(to, sim_disk_find(to, "/db")), 0);    /* the -wal is surely gone */
}

static void remove_store(struct sim_disk *disk)
{
    uint32_t dir = sim_disk_find(disk, STORE), parent = sim_disk_find(disk, "/db");

    while (sim_inode(disk, dir)->entries.count) {
        char name[64];          /* the entry's goes with it */

        snprintf(name, sizeof name, "%s", sim_inode(disk, dir)->entries.at[0].name);
        CHECK_INT(sim_unlink(disk, dir, name), 0);
    }
    CHECK_INT(sim_rmdir(disk, parent, "app.db-lsm"), 0);
    CHECK_INT(sim_syncdir(disk, parent), 0);
}

static void accept_run(enum case_kind kind, const char *journal)
{
    struct sim *sim = sim_new(900 + (uint64_t)kind), *early;
    struct accept a = { .kind = &cases[kind], .journal = journal };
    struct sim_enum e = { .models = SIM_M_ALL, .ctx = &a, .open = open_accept, .allow = allow_accept,
                          .cap = test_long() ? 40 : 6, .states_max = test_long() ? 20000 : 700,
                          .pos_every = test_long() ? 1 : (uint32_t)(12 / test_share(6)) };
    char sql[100], text[400];
    sqlite3 *db;

    sim->disk->fills = 3;
    if (!write_rows(sim, journal, "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b);"
                    "CREATE TABLE p(a INTEGER PRIMARY KEY);"
                    "BEGIN; INSERT INTO t VALUES(1, 'joint'); INSERT INTO p VALUES(1); COMMIT;"
                    "BEGIN; INSERT INTO t VALUES(2, 'joint'); INSERT INTO p VALUES(2); COMMIT;"
                    "INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(3, 'solo')"))
        return;
    early = sim_on(sim_disk_copy(sim->disk));
    if (!write_rows(sim, journal, "BEGIN; INSERT INTO t VALUES(4, 'joint'); INSERT INTO p VALUES(4); COMMIT;"
                    "BEGIN; INSERT INTO t VALUES(5, 'joint'); INSERT INTO p VALUES(5); COMMIT;"
                    "INSERT INTO t(t) VALUES('flush');"
                    "INSERT INTO t VALUES(6, 'solo'); INSERT INTO t VALUES(7, 'solo')"))
        return;
    if (kind == OLDER) {
        put_file(sim->disk, early->disk, APP);
    } else if (kind == BEHIND) {
        struct sim *late = sim;
        put_file(early->disk, sim->disk, APP);
        sim = early;
        early = late;
    } else {
        remove_store(sim->disk);
    }
    sim->disk->fills = 3;
    a.disk = sim->disk;
    e.pos_first = sim->disk->op_count;
    db = open_app(sim, journal);
    snprintf(sql, sizeof sql, "SELECT lsm_accept('%s')", cases[kind].what);
    if (!CHECK(query_text(db, sql, text, sizeof text)))
        printf("  %s\n", text);
    sim_mark(sim, MARK_RETURNED, 1);
    CHECK_INT(sqlite3_exec(db, "BEGIN; INSERT INTO t VALUES(100, 1); INSERT INTO p VALUES(100); COMMIT",
                           NULL, NULL, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    if (CHECK(sim_enumerate(sim->disk, &e)) && CHECK(a.accepted > 0 && (test_share(6) < 6 || a.accepted < a.opened)))
        printf("  %s, %s: %" PRIu64 " distinct states, %" PRIu64 " accepted\n", cases[kind].says, journal,
               e.distinct, a.accepted);
    CHECK(sim_free(sim));
    CHECK(sim_free(early));
}

static void accept_modes(enum case_kind kind)
{
    accept_run(kind, "WAL");
    accept_run(kind, "DELETE");
    accept_run(kind, "PERSIST");
}

/* D-04 */
TEST(a_crash_in_accepting_a_newer_store_leaves_it_accepted_or_as_it_was) { accept_modes(OLDER); }
/* D-05 */
TEST(a_crash_in_accepting_an_older_store_leaves_it_accepted_or_as_it_was) { accept_modes(BEHIND); }
/* D-01 */
TEST(a_crash_in_accepting_an_empty_store_leaves_it_accepted_or_as_it_was) { accept_modes(MISSING); }

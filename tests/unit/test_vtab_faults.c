/*
 * test_vtab_faults.c -- one call fails, at each place in turn: an allocation (SQLite's, the
 * extension's and the engine's), the progress handler (sqlite3_interrupt), the authorizer.
 *
 * A workload of units, each one transaction, touches both stores. Whatever unit fails:
 * the tables show it whole or not at all, the same on both sides; the connection
 * closes; after reopening they show the same; and the rest of the units end as they
 * always do.
 */
#include <sqlite3.h>
#include <sys/stat.h>

#include "ext/lsmvtab.h"
#include "ext/vtab_machine.h"
#include "lsm/os/os.h"
#include "tests/test.h"

/* ---- what fails ---------------------------------------------------------------------- */

enum fault_what { FAULT_NONE, FAULT_MEMORY, FAULT_PROGRESS, FAULT_AUTHORIZER };

static struct {
    enum fault_what what;
    int at, seen;               /* the at-th fails, from 1 */
    bool sticky;                /* and all after it */
    bool has_failed;
} fault;

static bool fault_hits(enum fault_what what)
{
    if (fault.what != what)
        return false;
    fault.seen++;
    if (fault.seen != fault.at && !(fault.sticky && fault.seen > fault.at))
        return false;
    fault.has_failed = true;
    return true;
}

static sqlite3_mem_methods base_memory;

static void *memory_alloc(int size)
{
    return fault_hits(FAULT_MEMORY) ? NULL : base_memory.xMalloc(size);
}

static void *memory_realloc(void *p, int size)
{
    return fault_hits(FAULT_MEMORY) ? NULL : base_memory.xRealloc(p, size);
}

static struct lsm_os *engine_os;
static struct lsm_os engine_real;

static void *engine_alloc(struct lsm_os *os, size_t size)
{
    return fault_hits(FAULT_MEMORY) ? NULL : engine_real.mem_alloc(os, size);
}

static void *engine_realloc(struct lsm_os *os, void *p, size_t size)
{
    return fault_hits(FAULT_MEMORY) ? NULL : engine_real.mem_realloc(os, p, size);
}

static struct lsm_vtab_machine machine;

/* Before SQLite is used; for the rest of the program. */
static void faults_install(void)
{
    static bool is_done;
    sqlite3_mem_methods memory;

    if (is_done)
        return;
    is_done = true;
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &base_memory);
    memory = base_memory;
    memory.xMalloc = memory_alloc;
    memory.xRealloc = memory_realloc;
    CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) == SQLITE_OK);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    sqlite3_initialize();

    engine_os = lsm_os_posix_new();
    engine_real = *engine_os;
    engine_os->mem_alloc = engine_alloc;
    engine_os->mem_realloc = engine_realloc;
    machine = *lsm_vtab_machine();
    machine.os = engine_os;
    machine.no_worker = true;
    lsm_vtab_machine_use(&machine);
}

static int on_progress(void *ctx)
{
    (void)ctx;
    return fault_hits(FAULT_PROGRESS);
}

static int on_action(void *ctx, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    (void)ctx, (void)action, (void)a, (void)b, (void)c, (void)d;
    return fault_hits(FAULT_AUTHORIZER) ? SQLITE_DENY : SQLITE_OK;
}

/* ---- the workload ------------------------------------------------------------------------ */

static const char *const units[][8] = {
    { "INSERT INTO t VALUES(1, 'solo'), (2, 'solo two')" },
    { "BEGIN", "INSERT INTO t VALUES(3, 'joint')", "INSERT INTO p VALUES(3, 'joint')",
      "INSERT INTO u VALUES('x', 3), ('y', 3)", "COMMIT" },
    { "INSERT INTO t SELECT a + 10, b FROM p" },
    { "BEGIN", "UPDATE t SET a = a + 100 WHERE a > 2", "SAVEPOINT s",
      "DELETE FROM u", "ROLLBACK TO s", "UPDATE p SET b = 'late'", "COMMIT" },
    { "INSERT INTO t(t) VALUES('flush')" },
    { "INSERT OR REPLACE INTO t VALUES(1, zeroblob(300)), (2, NULL)" },
    { "CREATE VIRTUAL TABLE n USING lsm(k TEXT COLLATE NOCASE, l, v, PRIMARY KEY(k DESC, l))" },
    { "INSERT INTO n SELECT 'k', a, b FROM t" },
    { "SELECT t.a FROM p JOIN t ON t.a = p.a + 100 WHERE t.b IN ('joint', 'x') ORDER BY t.a DESC" },
    { "SELECT * FROM n WHERE k = 'K' AND l IN (1, 103, '1') ORDER BY l DESC" },
    { "BEGIN", "SELECT count(*) FROM t", "DELETE FROM t WHERE a > 110", "INSERT INTO p VALUES(9, 9)",
      "INSERT INTO aux.w VALUES(9)", "COMMIT" },
    { "ALTER TABLE n RENAME TO m" },
    { "UPDATE m SET v = 'new' WHERE l < 100" },
    { "DROP TABLE m" },
    { "INSERT INTO t(t) VALUES('compact')" },
    { "INSERT INTO t VALUES(4, 'after the drop')" },
    { "SELECT value FROM lsm_stats('t')" },
};

#define UNIT_COUNT ((int)(sizeof(units) / sizeof(units[0])))

static char *digests[UNIT_COUNT + 1];   /* after so many units */

static char path[200];

static sqlite3 *connect(bool with_handlers)
{
    sqlite3 *db = NULL;
    char *sql = sqlite3_mprintf("ATTACH '%s2' AS aux; PRAGMA synchronous = OFF; "
                                "PRAGMA aux.synchronous = OFF", path);

    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK
        || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        sqlite3_close(db);
        db = NULL;
    }
    sqlite3_free(sql);
    if (db && with_handlers && fault.what == FAULT_PROGRESS)
        sqlite3_progress_handler(db, 1, on_progress, NULL);
    if (db && with_handlers && fault.what == FAULT_AUTHORIZER)
        sqlite3_set_authorizer(db, on_action, NULL);
    return db;
}

static char *query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    char *text = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK
        && sqlite3_step(stmt) == SQLITE_ROW)
        text = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
    else
        text = sqlite3_mprintf("error %d %s in %s", sqlite3_extended_errcode(db),
                               sqlite3_errmsg(db), sql);
    sqlite3_finalize(stmt);
    return text;
}

/* Everything, as text. */
static char *digest(sqlite3 *db)
{
    char *names = query(db, "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE "
                            "name NOT LIKE '%\\_lsm' ESCAPE '\\' ORDER BY name)");
    char *rows = query(db, "SELECT (SELECT group_concat(a || ':' || quote(b)) FROM (SELECT * FROM t "
                           "ORDER BY a)) || ' p ' || coalesce((SELECT group_concat(a || ':' || b) "
                           "FROM (SELECT * FROM p ORDER BY a)), '') || ' u ' || coalesce((SELECT "
                           "group_concat(k || v) FROM (SELECT * FROM u ORDER BY k)), '') || ' w ' || "
                           "(SELECT count(*) FROM w)");
    char *more = NULL, *text;

    if (strstr(names, ",n,") || strstr(names, ",m,"))
        more = query(db, strstr(names, ",n,")
                             ? "SELECT group_concat(l || quote(v)) FROM (SELECT * FROM n ORDER BY k, l)"
                             : "SELECT group_concat(l || quote(v)) FROM (SELECT * FROM m ORDER BY k, l)");
    text = sqlite3_mprintf("%s | %s | %s", names, rows, more ? more : "");
    sqlite3_free(names);
    sqlite3_free(rows);
    sqlite3_free(more);
    return text;
}

static int run_statement(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* Run units from `begin` on; how many were done, and *rc of the statement that failed. */
static int run_units(sqlite3 *db, int begin, int *rc, const char **failed)
{
    *rc = SQLITE_OK;
    for (int i = begin; i < UNIT_COUNT; i++) {
        for (int k = 0; k < 8 && units[i][k]; k++) {
            *rc = run_statement(db, units[i][k]);
            if (*rc != SQLITE_OK) {
                *failed = units[i][k];
                return i;
            }
        }
    }
    return UNIT_COUNT;
}

static const char setup_sql[] =
    "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b);"
    "CREATE VIRTUAL TABLE u USING lsm(k TEXT PRIMARY KEY, v);"
    "CREATE TABLE p(a INTEGER PRIMARY KEY, b);"
    "CREATE VIRTUAL TABLE aux.w USING lsm(a PRIMARY KEY);"
    "CREATE TABLE zz(a);"               /* a name behind all others */
    "INSERT INTO t VALUES(0, 'first'); INSERT INTO p VALUES(0, 'first')";

static void remove_files(void)
{
    char command[500];

    snprintf(command, sizeof(command), "rm -rf '%s'*", path);
    CHECK(system(command) == 0);
}

static sqlite3 *fresh(const char *journal, bool with_handlers)
{
    sqlite3 *db;
    char sql[200];

    remove_files();
    db = connect(with_handlers);
    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s; PRAGMA aux.journal_mode = %s", journal,
             journal);
    CHECK_INT(run_statement(db, sql), SQLITE_OK);
    CHECK_INT(run_statement(db, setup_sql), SQLITE_OK);
    return db;
}

static void make_digests(const char *journal)
{
    sqlite3 *db = fresh(journal, false);

    for (int i = 0; i <= UNIT_COUNT; i++) {
        sqlite3_free(digests[i]);
        digests[i] = digest(db);
        CHECK(strstr(digests[i], "error") == NULL);
        for (int k = 0; i < UNIT_COUNT && k < 8 && units[i][k]; k++)
            if (!CHECK_INT(run_statement(db, units[i][k]), SQLITE_OK))
                printf("%s: %s\n", units[i][k], sqlite3_errmsg(db));
    }
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* Is it what `done` units make, or one more? -1: neither. */
static int find_state(sqlite3 *db, int done, const char *when)
{
    char *text = digest(db);
    int state = -1;

    if (strcmp(text, digests[done]) == 0)
        state = done;
    else if (done < UNIT_COUNT && strcmp(text, digests[done + 1]) == 0)
        state = done + 1;
    else
        printf("%s, %d units done:\n  %s\n  not %s\n", when, done, text, digests[done]);
    sqlite3_free(text);
    return state;
}

static bool is_allowed(int rc)
{
    switch (fault.what) {
    case FAULT_MEMORY: return (rc & 0xff) == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM \
                             || (rc & 0xff) == SQLITE_ABORT;
    case FAULT_PROGRESS: return (rc & 0xff) == SQLITE_INTERRUPT;
    default: return rc == SQLITE_AUTH || rc == SQLITE_ERROR;    /* "not authorized" in a message */
    }
}

/* The at-th call fails. False: the test failed. *reached: there were so many calls. */
static bool run_fault(const char *journal, enum fault_what what, int at, bool sticky, bool *reached)
{
    sqlite3 *db;
    const char *failed = "";
    int rc, done, state, after;
    bool is_good;

    fault.what = what;
    fault.at = 0;
    db = fresh(journal, true);
    fault.seen = 0;
    fault.at = at;
    fault.sticky = sticky;
    fault.has_failed = false;
    done = run_units(db, 0, &rc, &failed);
    fault.at = 0;
    fault.sticky = false;
    *reached = fault.has_failed;
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_set_authorizer(db, NULL, NULL);
    is_good = rc == SQLITE_OK || test_check(is_allowed(rc), __FILE__, __LINE__, failed, ": code %d %s",
                                            rc, sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db))
        run_statement(db, "ROLLBACK");
    state = find_state(db, done, "in the process");
    if (!CHECK_INT(sqlite3_close(db), SQLITE_OK) || !CHECK(state >= 0))
        return false;

    db = connect(false);
    after = find_state(db, state, "reopened");
    if (CHECK_INT(after, state))
        done = run_units(db, state, &rc, &failed);
    if (after == state && !CHECK_INT(rc, SQLITE_OK))
        printf("%s: %s\n", failed, sqlite3_errmsg(db));
    state = after == state ? find_state(db, done, "at the end") : -1;
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    return CHECK_INT(state, UNIT_COUNT) && rc == SQLITE_OK && is_good;
}

static void sweep(const char *journal, enum fault_what what, bool sticky, int stride)
{
#ifdef __SANITIZE_ADDRESS__
    stride *= 2;                /* the same places, other runs */
#endif
    bool reached = true, is_good = true;
    sqlite3_int64 used;
    uint64_t engine_used;
    int at, count = 0;

    faults_install();
    fault.what = FAULT_NONE;
    snprintf(path, sizeof(path), "%s/test.db",
             access("/dev/shm", W_OK) == 0 && mkdir("/dev/shm/lsmvtab-faults", 0700) == 0
                 ? "/dev/shm/lsmvtab-faults" : test_dir());
    make_digests(journal);
    used = sqlite3_memory_used();
    engine_used = engine_os->mem_used(engine_os);
    for (at = 1 + (int)test_below((uint64_t)stride); reached && is_good; at += stride, count++) {
        is_good = run_fault(journal, what, at, sticky, &reached);
        fault.what = FAULT_NONE;
        is_good = CHECK_INT(sqlite3_memory_used(), used) && is_good;
        is_good = CHECK_INT(engine_os->mem_used(engine_os), engine_used) && is_good;
    }
    if (!is_good)
        printf("  the call %d of %d failed, %s\n", at - stride, fault.seen, journal);
    printf("%d places of %d\n", count, at);
    remove_files();
    rmdir("/dev/shm/lsmvtab-faults");
}

TEST(M_01_each_allocation_that_fails_once_leaves_all_or_nothing)
{
    sweep("WAL", FAULT_MEMORY, false, test_long() ? 1 : 307);
}

TEST(M_01_each_allocation_that_fails_once_leaves_all_or_nothing_delete_mode)
{
    sweep("DELETE", FAULT_MEMORY, false, test_long() ? 1 : 307);
}

TEST(M_01_allocations_that_fail_for_ever_leave_all_or_nothing)
{
    sweep("WAL", FAULT_MEMORY, true, test_long() ? 1 : 307);
}

/* I-18 */
TEST(an_interrupt_at_each_step_leaves_all_or_nothing)
{
    sweep("WAL", FAULT_PROGRESS, false, test_long() ? 1 : 101);
}

/* S-12 */
TEST(an_authorizer_that_denies_each_action_in_turn_leaves_all_or_nothing)
{
    sweep("DELETE", FAULT_AUTHORIZER, false, test_long() ? 1 : 17);
}

static int number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int n = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        n = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return n;
}

/* A transaction whose last statement is compiled again in its middle, which fails at the n-th allocation. True: it came so far. */
static bool compiled_again(const char *sql, bool is_guess, int n)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db;
    int rc, before;

    CHECK_INT(sqlite3_open(":memory:", &db), SQLITE_OK);
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "CREATE VIRTUAL TABLE t USING lsm(k TEXT PRIMARY KEY, v); CREATE TABLE o(x);"
                               "CREATE TRIGGER r AFTER INSERT ON o BEGIN UPDATE t SET v = v + 1 WHERE k = new.x; END", NULL, NULL, NULL), SQLITE_OK);
    if (!is_guess)
        CHECK_INT(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "INSERT INTO t VALUES('a', 0), ('b', 0)", NULL, NULL, NULL), SQLITE_OK);
    if (is_guess)
        CHECK_INT(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "BEGIN; INSERT INTO t VALUES('777', 0), ('0012', 0), ('mine', 0)", NULL, NULL, NULL), SQLITE_OK);
    if (!is_guess)
        CHECK_INT(sqlite3_exec(db, "DELETE FROM t WHERE k = '0012'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_bind_int(stmt, 1, 777);
    before = number(db, "SELECT total(v) FROM t");

    fault.what = FAULT_MEMORY, fault.at = n, fault.seen = 0, fault.sticky = fault.has_failed = false;
    rc = sqlite3_step(stmt);
    fault.what = FAULT_NONE;
    sqlite3_finalize(stmt);
    if (sqlite3_get_autocommit(db)) {
        CHECK(rc != SQLITE_DONE);
        CHECK_INT(number(db, "SELECT count(*) FROM t"), 2);
        CHECK_INT(number(db, "SELECT count(*) FROM o"), 0);
    } else {
        CHECK_INT(number(db, "SELECT count(*) FROM t WHERE k = 'mine'"), 1);
        CHECK_INT(number(db, "SELECT total(v) FROM t") > before, rc == SQLITE_DONE);
        CHECK_INT(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    }
    CHECK_INT(sqlite3_exec(db, "INSERT INTO t VALUES('c', 0); BEGIN; INSERT INTO t VALUES('d', 0); ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    return fault.has_failed;
}

TEST(M_01_statement_that_is_compiled_again_does_not_go_on_without_its_transaction)
{
    static const char *const statements[] = { "UPDATE t SET v = v + 1 WHERE k = CAST(?1 AS INTEGER)",
                                              "INSERT INTO o SELECT column1 FROM (VALUES(5), (?1), (?1))" };

    faults_install();
    for (int kind = 0; kind < 4 && !test_state.failures; kind++)
        for (int n = 1; compiled_again(statements[kind & 1], kind < 2, n) && !test_state.failures;)
            n++;
}

/*
 * test_vtab_redo.c -- carried transactions through SQLite (commit.md R7, R7a, R7b): what is
 * synced, what a power cut leaves, what the user sees of it. On a simulated disk that logs
 * every sync of both stores.
 */
#include "tests/test.h"

#include "tests/sim/commit_model.h"

static struct cm cm;
static struct cm_history history;

static bool sql_ok(struct cm *m, int conn, const char *sql, int wanted, int line)
{
    int rc = sqlite3_exec(m->db[conn], sql, NULL, NULL, NULL);

    return test_check((rc & 0xff) == wanted, __FILE__, line, sql, ": %d, not %d: %s", rc, wanted,
                      sqlite3_errmsg(m->db[conn]));
}

#define SQL(conn, text) sql_ok(&cm, conn, text, SQLITE_OK, __LINE__)
#define SQL_RC(conn, text, rc) sql_ok(&cm, conn, text, rc, __LINE__)

static int64_t value(struct cm *m, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t v = -1000;

    if (sqlite3_prepare_v2(m->db[0], sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        v = sqlite3_column_int64(stmt, 0);
    else
        printf("  %s: %s\n", sql, sqlite3_errmsg(m->db[0]));
    sqlite3_finalize(stmt);
    return v;
}

static int64_t stat_value(const char *name)
{
    char sql[200];

    snprintf(sql, sizeof sql, "SELECT value FROM lsm_stats('jl') WHERE name = '%s'", name);
    return value(&cm, sql);
}

/* A database with the model's tables, two connections, in this mode. */
static struct sim *machine_begin(const char *journal, const char *sync, int slot_bytes)
{
    static const struct cm_content nothing;
    struct sim *sim = sim_new(1);

    cm_history_init(&history, &nothing);
    cm_init(&cm, sim, &history, journal, sync, sync, 1, 1);
    cm.machine.redo_slot_bytes = slot_bytes;
    if (!CHECK(cm_open(&cm, true)))
        printf("  %s\n", cm.why);
    return sim;
}

static void machine_end(struct sim *sim)
{
    CHECK(cm_close(&cm));
    cm_history_clear(&history);
    CHECK(sim_free(sim));
}

/* The machine as a strict power cut leaves it now; `cm` is its from here on. */
static struct sim *power_cut(struct sim *sim)
{
    struct sim_state state = { .seed = 1, .pos = sim->disk->op_count };
    struct sim_disk *disk = sim_state_disk(sim->disk, &state);
    const char *journal = cm.journal, *sync = cm.sync[0];
    int slot_bytes = cm.machine.redo_slot_bytes;

    cm_clear(&cm);
    cm_history_clear(&history);
    CHECK(sim_free(sim));
    sim = sim_on(disk);
    cm_history_init(&history, &(struct cm_content){ .plain = { 0 } });
    cm_init(&cm, sim, &history, journal, sync, sync, 1, 1);
    cm.machine.redo_slot_bytes = slot_bytes;
    if (!CHECK(cm_open(&cm, false)))
        printf("  %s\n", cm.why);
    return sim;
}

/* Syncs since a position: of the store, and of the database. */
static void count_syncs(struct sim *sim, size_t from, int *ours, int *sqlites)
{
    char text[300];

    *ours = *sqlites = 0;
    for (size_t i = from; i < sim->disk->op_count; i++) {
        struct sim_op *op = &sim->disk->ops[i];
        if (op->kind != SIM_SYNC && op->kind != SIM_SYNCDIR)
            continue;
        sim_op_text(sim->disk, op, text, sizeof text);
        if (strstr(text, "-lsm"))
            ++*ours;
        else
            ++*sqlites;
    }
}

/* Until the area has a row and what is left of the beginning is synced. */
static void warm_up(void)
{
    for (int i = 0; i < 4; i++) {
        SQL(0, "BEGIN; REPLACE INTO jl VALUES(0, 0, 0); UPDATE mp SET n = n + 1; COMMIT");
        SQL(0, "REPLACE INTO sl VALUES(0, 0, 0)");
    }
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(0, 0, zeroblob(300000)); COMMIT");    /* too large: synced */
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(0, 0, 0); COMMIT");
}

static const char *const journals[] = { "DELETE", "TRUNCATE", "PERSIST", "WAL" };
static const char *const syncs[] = { "NORMAL", "FULL", "EXTRA" };

TEST(R7_a_carried_transaction_is_synced_by_sqlite_alone_in_every_mode)
{
    for (int j = 0; j < 4; j++)
        for (int s = 0; s < 3; s++) {
            struct sim *sim = machine_begin(journals[j], syncs[s], 0);
            int ours, sqlites, plain;
            int64_t carried;
            size_t from;
            bool ok = true;

            warm_up();
            from = sim->disk->op_count;
            SQL(0, "BEGIN; REPLACE INTO pp VALUES(1, 1, 1); COMMIT");
            count_syncs(sim, from, &ours, &plain);
            ok &= CHECK_INT(ours, 0);

            carried = stat_value("records_carried");
            from = sim->disk->op_count;
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, 1); REPLACE INTO pp VALUES(1, 1, 1); COMMIT");
            count_syncs(sim, from, &ours, &sqlites);
            ok &= CHECK_INT(ours, 0);
            ok &= CHECK_INT(sqlites, plain);
            ok &= CHECK_INT(stat_value("records_carried"), carried + 1);

            from = sim->disk->op_count;         /* lsm tables only: joint as well */
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(2, 1, 1); REPLACE INTO sl VALUES(2, 1, 1); COMMIT");
            count_syncs(sim, from, &ours, &sqlites);
            ok &= CHECK_INT(ours, 0);
            ok &= CHECK_INT(stat_value("records_carried"), carried + 2);

            from = sim->disk->op_count;         /* too large to be carried */
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, zeroblob(270000)); COMMIT");
            count_syncs(sim, from, &ours, &sqlites);
            ok &= CHECK_INT(ours, 1);
            ok &= CHECK_INT(stat_value("records_carried"), carried + 2);
            if (!ok)
                printf("  %s %s\n", journals[j], syncs[s]);
            machine_end(sim);
        }
}

TEST(R6_a_solo_is_one_sync_under_full_and_none_under_normal)
{
    for (int j = 0; j < 4; j++)
        for (int s = 0; s < 3; s++) {
            struct sim *sim = machine_begin(journals[j], syncs[s], 0);
            int ours, sqlites;
            size_t from;
            bool ok = true;

            warm_up();
            SQL(0, "REPLACE INTO sl VALUES(1, 1, 1)");  /* settles what is below it */
            for (int i = 0; i < 3; i++) {
                from = sim->disk->op_count;
                SQL(0, "REPLACE INTO sl VALUES(1, 1, 1)");
                count_syncs(sim, from, &ours, &sqlites);
                ok &= CHECK_INT(ours, s > 0);
                ok &= CHECK_INT(sqlites, 0);
            }
            if (!ok)
                printf("  %s %s\n", journals[j], syncs[s]);
            machine_end(sim);
        }
}

/* A joint commit may take NORMAL for what it was the last time, a solo never: nothing else holds its record. */
TEST(R6_a_solo_is_synced_as_soon_as_synchronous_says_so)
{
    struct sim *sim = machine_begin("WAL", "NORMAL", 0);
    int ours, sqlites;
    size_t from;

    warm_up();
    for (int i = 0; i < 3; i++) {
        SQL(0, "PRAGMA synchronous = NORMAL; BEGIN; REPLACE INTO jl VALUES(1, 1, 1); COMMIT; "
               "BEGIN; REPLACE INTO jl VALUES(2, 1, 1); COMMIT");
        SQL(0, "PRAGMA synchronous = FULL");
        from = sim->disk->op_count;
        SQL(0, "REPLACE INTO sl VALUES(1, 1, 1)");
        count_syncs(sim, from, &ours, &sqlites);
        CHECK(ours >= 1);
    }
    machine_end(sim);
}

TEST(R7_without_synchronous_nothing_is_carried_and_nothing_synced)
{
    struct sim *sim = machine_begin("WAL", "NORMAL", 0);
    int64_t carried;
    int ours, sqlites;
    size_t from;

    warm_up();
    SQL(0, "PRAGMA synchronous = OFF; REPLACE INTO sl VALUES(1, 1, 1)");        /* a solo asks at once */
    carried = stat_value("records_carried");
    from = sim->disk->op_count;
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, 1); COMMIT");
    count_syncs(sim, from, &ours, &sqlites);
    CHECK_INT(ours + sqlites, 0);
    CHECK_INT(stat_value("records_carried"), carried);
    /* R7a: nor is the next one carried above it. */
    SQL(0, "PRAGMA synchronous = NORMAL");
    from = sim->disk->op_count;
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, 1); COMMIT");
    count_syncs(sim, from, &ours, &sqlites);
    CHECK_INT(ours, 1);
    machine_end(sim);
}

TEST(R7_a_carried_transaction_survives_a_power_cut_in_every_mode)
{
    for (int j = 0; j < 4; j++)
        for (int s = 1; s < 3; s++) {
            struct sim *sim = machine_begin(journals[j], syncs[s], 0);

            warm_up();
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 'one'); REPLACE INTO pp VALUES(5, 1, 'one'); COMMIT");
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(6, 1, 'two'); REPLACE INTO pp VALUES(6, 1, 'two'); COMMIT");
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(7, 1, 'three'); COMMIT");
            sim = power_cut(sim);
            /* DELETE and FULL may lose the newest one. */
            CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k IN (5, 6)"), 2);
            CHECK_INT(value(&cm, "SELECT count(*) FROM pp WHERE k IN (5, 6)"), 2);
            CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k = 7"), j > 0 || s > 1);
            /* They stay when the area is used again, and after one more power cut. */
            SQL(0, "BEGIN; REPLACE INTO jl VALUES(8, 1, 'four'); UPDATE mp SET n = n + 1; COMMIT");
            SQL(0, "BEGIN; UPDATE mp SET n = n + 1; COMMIT");
            sim = power_cut(sim);
            CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k IN (5, 6, 8)"), 3);
            machine_end(sim);
        }
}

TEST(R7_a_reader_takes_what_the_log_has_lost_too)
{
    struct sim *sim = machine_begin("WAL", "FULL", 0);

    warm_up();
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 'one'); COMMIT");
    sim = power_cut(sim);
    SQL(0, "PRAGMA query_only = 1");
    CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k = 5"), 1);
    CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k = 5"), 1);
    machine_end(sim);
}

TEST(R7_a_writer_takes_what_the_log_has_lost_too)
{
    struct sim *sim = machine_begin("WAL", "FULL", 0);

    warm_up();
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 'one'); COMMIT");
    sim = power_cut(sim);
    SQL(0, "INSERT INTO jl VALUES(6, 1, 'two')");
    SQL_RC(0, "INSERT INTO jl VALUES(5, 1, 'two')", SQLITE_CONSTRAINT);
    sim = power_cut(sim);
    SQL(0, "BEGIN; INSERT INTO jl VALUES(7, 1, 'two'); COMMIT");
    CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k IN (5, 6, 7)"), 3);
    machine_end(sim);
}

TEST(R7_a_savepoint_takes_token_and_rows_back_together)
{
    for (int deep = 0; deep < 2; deep++) {
        struct sim *sim = machine_begin("TRUNCATE", "FULL", 1024);

        warm_up();
        SQL(1, "BEGIN; SELECT * FROM mp");
        SQL(0, deep ? "BEGIN; UPDATE mp SET n = n + 1; SAVEPOINT s; REPLACE INTO jl VALUES(5, 1, 'no')"
                    : "BEGIN; REPLACE INTO jl VALUES(4, 1, 'yes'); SAVEPOINT s;"
                      "REPLACE INTO jl VALUES(5, 1, 'no')");
        SQL_RC(0, "COMMIT", SQLITE_BUSY);
        SQL(0, "ROLLBACK TO s");
        SQL(1, "COMMIT");
        SQL(0, "REPLACE INTO jl VALUES(6, 1, 'yes'); COMMIT");
        sim = power_cut(sim);
        CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k = 5"), 0);
        CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k IN (4, 6)"), 2 - deep);
        SQL(0, "BEGIN; REPLACE INTO jl VALUES(7, 1, 'yes'); COMMIT");
        CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k IN (6, 7)"), 2);
        machine_end(sim);
    }
}

/* The area grows in the statement that begins the transaction; a savepoint takes that back without a
   word. */
TEST(R7_an_area_that_a_savepoint_took_back_is_not_written_to)
{
    struct sim *sim = machine_begin("WAL", "FULL", 1024);
    int64_t slots = 0, grown = 0, carried = 0;

    for (int i = 0; i < 80; i++) {
        char text[200];
        bool is_taken_back = i % 4 == 1;    /* the second: the first that wants the area to grow */

        if (is_taken_back)
            snprintf(text, sizeof text, "BEGIN; SAVEPOINT s; REPLACE INTO jl VALUES(1, 1, 1);"
                     "ROLLBACK TO s; REPLACE INTO jl VALUES(%d, 1, zeroblob(300)); COMMIT", 100 + i);
        else
            snprintf(text, sizeof text, "BEGIN; REPLACE INTO jl VALUES(%d, 1, zeroblob(300)); COMMIT",
                     100 + i);
        SQL(0, text);
        grown += value(&cm, "SELECT count(*) FROM lsmvtab_redo") > slots;
        slots = value(&cm, "SELECT count(*) FROM lsmvtab_redo");
        if (is_taken_back) {
            carried += stat_value("records_carried");
            sim = power_cut(sim);
            CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k >= 100"), i + 1);
        }
    }
    CHECK(grown > 0 && slots <= 16);
    CHECK(carried > 20);
    machine_end(sim);
}

/* As PRAGMA max_page_count allows: rows of the store take no page, and are synced with its log instead. */
TEST(R7_an_area_that_max_page_count_leaves_no_room_for_is_done_without)
{
    struct sim *sim = machine_begin("WAL", "FULL", 0);
    char text[100];

    snprintf(text, sizeof text, "PRAGMA max_page_count = %d", (int)value(&cm, "PRAGMA page_count") + 10);
    SQL(0, text);
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "BEGIN; REPLACE INTO jl VALUES(%d, 1, zeroblob(300)); COMMIT", 100 + i);
        SQL(0, text);
    }
    SQL(0, "BEGIN; DELETE FROM jl WHERE k = 100; COMMIT");
    CHECK_INT(value(&cm, "SELECT count(*) FROM jl WHERE k >= 100"), 9);
    CHECK_INT(value(&cm, "SELECT count(*) FROM lsmvtab_redo"), 0);
    SQL(0, "PRAGMA max_page_count = 1000000");
    for (int i = 0; i < 3; i++)
        SQL(0, "BEGIN; REPLACE INTO jl VALUES(100, 1, zeroblob(300)); COMMIT");
    CHECK(value(&cm, "SELECT count(*) FROM lsmvtab_redo") > 0);
    machine_end(sim);
}

TEST(R7_changes_and_total_changes_are_the_users)
{
    struct sim *sim = machine_begin("WAL", "FULL", 1024);
    int64_t carried, total;

    for (int i = 0; i < 40; i++)        /* until the area is as large as may be */
        SQL(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, zeroblob(600)); COMMIT");
    CHECK_INT(value(&cm, "SELECT count(*) FROM lsmvtab_redo"), 16);
    SQL(0, "INSERT INTO pp VALUES(77, 1, 1)");
    carried = stat_value("records_carried");
    total = value(&cm, "SELECT total_changes()");
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, 1), (2, 2, 2), (3, 3, 3); COMMIT");
    CHECK_INT(value(&cm, "SELECT changes()"), 3);
    CHECK_INT(value(&cm, "SELECT total_changes()"), total + 3);
    CHECK_INT(value(&cm, "SELECT last_insert_rowid()"), 77);
    CHECK_INT(stat_value("records_carried"), carried + 1);
    /* Also when the area grows meanwhile: changes() is the last statement's. */
    SQL(0, "DELETE FROM lsmvtab_redo");
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, 1); COMMIT");
    for (int i = 0; i < 10; i++) {
        SQL(0, "BEGIN; REPLACE INTO jl VALUES(1, 1, zeroblob(600)), (2, 2, 2), (3, 3, 3); COMMIT");
        CHECK_INT(value(&cm, "SELECT changes()"), 3);
    }
    SQL(0, "CREATE TEMP TRIGGER g AFTER INSERT ON pp BEGIN REPLACE INTO jl VALUES(9, 9, 9); END");
    for (int i = 100; i < 110; i++) {
        char text[100];
        snprintf(text, sizeof text, "INSERT INTO pp VALUES(%d, 1, 1), (%d, 1, 1)", 2 * i, 2 * i + 1);
        SQL(0, text);
        CHECK_INT(value(&cm, "SELECT changes()"), 2);
        CHECK_INT(value(&cm, "SELECT last_insert_rowid()"), 2 * i + 1);
    }
    machine_end(sim);
}

/* ---- a hostile or damaged area ---- */

static struct sim *lose_the_log(void)
{
    struct sim *sim = machine_begin("WAL", "FULL", 1024);

    warm_up();
    SQL(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 'one'); REPLACE INTO pp VALUES(5, 1, 1); COMMIT");
    return power_cut(sim);
}

TEST(R15_a_damaged_or_missing_row_is_a_clear_error_and_other_tables_are_usable)
{
    static const struct { const char *sql, *text; } cases[] = {
        { "DELETE FROM lsmvtab_redo", "store behind database" },
        { "UPDATE lsmvtab_redo SET data = zeroblob(1024)", "store behind database" },
        { "UPDATE lsmvtab_redo SET data = zeroblob(1000)", "lsmvtab_redo is damaged" },
        { "UPDATE lsmvtab_redo SET data = 'text'", "lsmvtab_redo is damaged" },
        { "UPDATE lsmvtab_redo SET data = NULL", "lsmvtab_redo is damaged" },
        { "UPDATE lsmvtab_redo SET slot = slot + 100", "lsmvtab_redo is damaged" },
        { "UPDATE lsmvtab_redo SET slot = -slot", "lsmvtab_redo is damaged" },
        { "UPDATE lsmvtab_redo SET data = CAST(replace(hex(data), '6F6E65', '6F6E66') AS TEXT)",
          "lsmvtab_redo is damaged" },
        { "", "redo record in the database: corrupt" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim *sim = lose_the_log();
        const char *text;
        bool ok;

        if (!cases[i].sql[0]) {       /* one byte of the record */
            sqlite3_stmt *stmt = NULL;
            uint8_t bytes[1024];
            sqlite3_int64 slot = 0;
            for (int found = 0; !found; ) {     /* the row that has 'one' in it */
                slot++;
                if (sqlite3_prepare_v2(cm.db[0], "SELECT data FROM lsmvtab_redo WHERE slot = ?", -1,
                                       &stmt, NULL) != SQLITE_OK)
                    break;
                sqlite3_bind_int64(stmt, 1, slot);
                if (!CHECK_INT(sqlite3_step(stmt), SQLITE_ROW))
                    break;
                memcpy(bytes, sqlite3_column_blob(stmt, 0), sizeof bytes);
                sqlite3_finalize(stmt);
                for (size_t k = 0; k + 3 < sizeof bytes && !found; k++)
                    if (memcmp(bytes + k, "one", 3) == 0) {
                        bytes[k + 2]++;
                        found = 1;
                    }
            }
            sqlite3_prepare_v2(cm.db[0], "UPDATE lsmvtab_redo SET data = ?1 WHERE slot = ?2", -1, &stmt,
                               NULL);
            sqlite3_bind_blob(stmt, 1, bytes, sizeof bytes, SQLITE_STATIC);
            sqlite3_bind_int64(stmt, 2, slot);
            CHECK_INT(sqlite3_step(stmt), SQLITE_DONE);
            sqlite3_finalize(stmt);
        } else {
            SQL(0, cases[i].sql);
        }
        ok = SQL_RC(0, "SELECT * FROM jl", SQLITE_CORRUPT);
        text = sqlite3_errmsg(cm.db[0]);
        ok &= CHECK(strstr(text, cases[i].text) != NULL);
        if (!ok)
            printf("  %s: %s\n", cases[i].sql, text);
        SQL_RC(0, "REPLACE INTO jl VALUES(5, 1, 1)", SQLITE_CORRUPT);
        SQL_RC(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 1)", SQLITE_CORRUPT);
        SQL(0, "ROLLBACK; REPLACE INTO pp VALUES(5, 1, 1)");
        machine_end(sim);
    }
}

TEST(S_a_trigger_or_view_in_place_of_the_area_is_refused)
{
    static const char *const hostile[] = {
        "CREATE TRIGGER g AFTER INSERT ON lsmvtab_redo BEGIN DELETE FROM pp; END",
        "DROP TABLE lsmvtab_redo; CREATE VIEW lsmvtab_redo(slot, data) AS SELECT 1, 2",
        "DROP TABLE lsmvtab_redo",
        "DROP TABLE lsmvtab_redo; CREATE TABLE lsmvtab_redo(slot INTEGER PRIMARY KEY, data BLOB CHECK(0))",
        "CREATE INDEX i ON lsmvtab_redo(data)",
    };

    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct sim *sim = lose_the_log();

        SQL(0, hostile[i]);
        SQL_RC(0, "SELECT * FROM jl", SQLITE_CORRUPT);
        CHECK(strstr(sqlite3_errmsg(cm.db[0]), "tampered") != NULL);
        SQL_RC(0, "BEGIN; REPLACE INTO jl VALUES(5, 1, 1)", SQLITE_CORRUPT);
        SQL(0, "ROLLBACK");
        machine_end(sim);
    }
}

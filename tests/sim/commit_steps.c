/* commit_steps.c -- the steps of the workload: what each writes, and what others read meanwhile. */
#include <stdio.h>
#include <string.h>

#include "lsm/db/db.h"
#include "tests/sim/commit_parts.h"

static uint64_t draw(struct cm *cm, uint64_t n)
{
    cm->chance = sim_mix(cm->chance + 0x9e3779b97f4a7c15u);
    return cm->chance % n;
}

/* ---- writing ----------------------------------------------------------------------------- */

static int tl_slot(const struct cm *cm, int file)
{
    return CM_TL0 + (cm->now.generation[file] + CM_TL - 1) % CM_TL;
}

static const char *table_name(int table)
{
    return table == CM_JL ? "jl" : table == CM_SL ? "sl" : table == CM_PP ? "pp" : "tl";
}

/* One statement: put a few, update a few, or delete a few. jl comes with its mirror. False: it
   failed. */
static bool write_some(struct cm *cm, int conn, int file, int table, struct cm_txn *t)
{
    uint16_t *rows = t->after.rows[file][table];
    const char *s = cm_schemas[file], *name = table_name(table);
    int n = (int)(t - cm->history->txns);
    int a = (int)draw(cm, CM_KEYS - 1), b = a + (int)draw(cm, 3), kind = (int)draw(cm, 4);
    char text[500];

    if (b > CM_KEYS - 2)
        b = CM_KEYS - 2;
    if (kind < 2)
        snprintf(text, sizeof text, "REPLACE INTO %s.%%s(k, n, v) VALUES(%d, %d, val(%d, %d)),"
                 "(%d, %d, val(%d, %d))", s, a, n, n, a, b, n, n, b);
    else if (kind == 2)
        snprintf(text, sizeof text, "UPDATE %s.%%s SET n = %d, v = val(%d, k) "
                 "WHERE k BETWEEN %d AND %d", s, n, n, a, b);
    else
        snprintf(text, sizeof text, "DELETE FROM %s.%%s WHERE k BETWEEN %d AND %d", s, a, b);
    for (int k = a; k <= b; k++) {
        if (kind < 2 && (k == a || k == b))
            rows[k + 1] = (uint16_t)n;
        else if (kind == 2 && rows[k + 1])
            rows[k + 1] = (uint16_t)n;
        else if (kind == 3)
            rows[k + 1] = 0;
    }
    for (int i = 0; i < (table == CM_JL ? 2 : 1); i++) {
        char one[600];
        snprintf(one, sizeof one, text, i == 0 ? name : "jm");
        if (!MUST(cm, conn, "%s", one))
            return false;
    }
    return true;
}

/* Say in sl, in mp or in both that this is transaction n. */
static bool write_number(struct cm *cm, int conn, int file, struct cm_txn *t, bool lsm, bool plain)
{
    int n = (int)(t - cm->history->txns);

    if (lsm) {
        t->lsm[file] = t->sql[file] = true;
        t->after.rows[file][CM_SL][0] = (uint16_t)n;
        if (!MUST(cm, conn, "REPLACE INTO %s.sl(k, n, v) VALUES(-1, %d, val(%d, -1))",
                  cm_schemas[file], n, n))
            return false;
    }
    if (plain) {
        t->plain[file] = t->sql[file] = true;
        t->after.plain[file] = (uint16_t)n;
        if (!MUST(cm, conn, "UPDATE %s.mp SET n = %d", cm_schemas[file], n))
            return false;
    }
    return true;
}

static bool write_joint(struct cm *cm, int conn, int file, struct cm_txn *t)
{
    bool ok = write_some(cm, conn, file, CM_JL, t);

    while (ok && draw(cm, 2))
        ok = write_some(cm, conn, file, draw(cm, 2) ? CM_JL : CM_PP, t);
    return ok && write_number(cm, conn, file, t, true, true);
}

/* The rows of a solo transaction, one statement. */
static void solo_text(struct cm *cm, int file, struct cm_txn *t, char *text, size_t size)
{
    int n = (int)(t - cm->history->txns), a = (int)draw(cm, CM_KEYS - 1), kind = (int)draw(cm, 4);
    bool is_tl = draw(cm, 3) == 0;
    uint16_t *rows = t->after.rows[file][is_tl ? tl_slot(cm, file) : CM_SL];
    const char *s = cm_schemas[file];

    t->lsm[file] = true;
    if (kind == 3 && rows[a + 1]) {
        rows[a + 1] = 0;
        snprintf(text, size, "DELETE FROM %s.%s WHERE k = %d", s, is_tl ? "tl" : "sl", a);
    } else if (kind == 2 && rows[a + 1]) {
        rows[a + 1] = (uint16_t)n;
        snprintf(text, size, "UPDATE %s.%s SET n = %d, v = val(%d, k) WHERE k = %d", s,
                 is_tl ? "tl" : "sl", n, n, a);
    } else {
        rows[a + 1] = (uint16_t)n;
        rows[0] = (uint16_t)n;
        snprintf(text, size, "REPLACE INTO %s.%s(k, n, v) VALUES(-1, %d, val(%d, -1)),"
                 "(%d, %d, val(%d, %d))", s, is_tl ? "tl" : "sl", n, n, a, n, n, a);
    }
}

/* How many records of the file's store were solo, and so decided alone. */
static uint64_t solos(int file)
{
    return cm_stat_of(file, "commits_solo") + cm_stat_of(file, "aborts");
}

static bool finish(struct cm *cm, int conn, struct cm_txn *t, const char *text, int wanted)
{
    uint64_t before[CM_FILES] = { 0 };
    int rc;

    for (int f = 0; f < CM_FILES; f++)
        if (t->lsm[f] && !t->sql[f])
            before[f] = solos(f);
    cm_txn_commits(cm, t);
    rc = cm_sql(cm, conn, "%s", text);
    /* One statement alone is not always solo: not while an earlier one is undecided. */
    for (int f = 0; f < CM_FILES; f++)
        if (t->lsm[f] && !t->sql[f] && !cm_is_dead(cm) && solos(f) == before[f])
            t->sql[f] = true;
    if (rc != SQLITE_OK && cm->faults && !sqlite3_get_autocommit(cm->db[conn]))
        cm_sql(cm, conn, "ROLLBACK");
    if (!cm_want(cm, conn, rc, wanted, text))
        return false;
    if (rc == SQLITE_OK)
        cm_txn_acked(cm, t, conn);
    return true;
}

static bool begin(struct cm *cm, int conn)
{
    return MUST(cm, conn, draw(cm, 3) ? "BEGIN" : "BEGIN IMMEDIATE");
}

static int draw_file(struct cm *cm)
{
    return (int)draw(cm, (uint64_t)cm->files);
}

static bool step_solo(struct cm *cm, int conn, int file)
{
    struct cm_txn *t = cm_txn_new(cm);
    char text[400];

    solo_text(cm, file, t, text, sizeof text);
    return finish(cm, conn, t, text, SQLITE_OK);
}

static bool step_joint(struct cm *cm, int conn, int file, bool several)
{
    struct cm_txn *t = cm_txn_new(cm);

    return begin(cm, conn) && write_joint(cm, conn, file, t) &&
           (!several || (write_some(cm, conn, file, CM_SL, t) &&
                         write_some(cm, conn, file, tl_slot(cm, file), t))) &&
           finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_lsm_only(struct cm *cm, int conn, int file)
{
    struct cm_txn *t = cm_txn_new(cm);

    return begin(cm, conn) && write_some(cm, conn, file, CM_SL, t) &&
           (draw(cm, 2) || write_some(cm, conn, file, tl_slot(cm, file), t)) &&
           write_number(cm, conn, file, t, true, false) && finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_plain(struct cm *cm, int conn, int file)
{
    struct cm_txn *t = cm_txn_new(cm);

    return begin(cm, conn) && write_some(cm, conn, file, CM_PP, t) &&
           write_number(cm, conn, file, t, false, true) && finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_savepoint(struct cm *cm, int file)
{
    struct cm_txn *t = cm_txn_new(cm);
    struct cm_content kept;
    bool ok = begin(cm, 0) && write_joint(cm, 0, file, t) && MUST(cm, 0, "SAVEPOINT one");

    kept = t->after;
    ok = ok && write_some(cm, 0, file, CM_JL, t) && MUST(cm, 0, "SAVEPOINT two") &&
         write_some(cm, 0, file, CM_SL, t) && write_some(cm, 0, file, tl_slot(cm, file), t);
    if (ok && draw(cm, 2))
        ok = MUST(cm, 0, "RELEASE two");
    if (ok && draw(cm, 3)) {
        ok = MUST(cm, 0, "ROLLBACK TO one");
        t->after = kept;
    }
    ok = ok && MUST(cm, 0, "RELEASE one") && write_some(cm, 0, file, CM_SL, t);
    return ok && finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_rollback(struct cm *cm, int file)
{
    struct cm_txn *t = cm_txn_new(cm);
    bool ok = begin(cm, 0) && write_joint(cm, 0, file, t) && MUST(cm, 0, "ROLLBACK");

    cm_txn_dead(cm, t);
    return ok;
}

/* Another connection reads: rollback modes are BUSY in COMMIT; under WAL it must go on seeing what it
   saw. */
static bool step_busy(struct cm *cm, int file)
{
    struct cm_content before = cm->now;
    struct cm_txn *t = cm_txn_new(cm);
    bool solo = draw(cm, 3) == 0, late = draw(cm, 2), ok;
    char text[400] = "COMMIT";
    int how = (int)draw(cm, 3);

    ok = MUST(cm, 1, "BEGIN; SELECT n FROM %s.mp", cm_schemas[file]) &&
         (cm->files == 1 || MUST(cm, 1, "SELECT n FROM aux.mp; SELECT n FROM main.mp")) &&
         (late || cm_is_seen(cm, 1, &before, "the reader, first"));
    if (ok && solo)
        solo_text(cm, file, t, text, sizeof text);
    else
        ok = ok && begin(cm, 0) && write_joint(cm, 0, file, t);
    if (!ok)
        return false;
    if (cm_is_wal(cm)) {
        if (!finish(cm, 0, t, text, SQLITE_OK))
            return false;
        /* A reader that has read nothing of ours yet sees a solo that came after its BEGIN. */
        return cm_is_seen(cm, 1, late && !t->sql[file] ? &cm->now : &before, "the reader") &&
               MUST(cm, 1, "COMMIT") && cm_is_seen(cm, 1, &cm->now, "the reader, afterwards");
    }
    if (!finish(cm, 0, t, text, SQLITE_BUSY))
        return false;
    if (solo) {                 /* autocommit: it is rolled back */
        cm_txn_dead(cm, t);
        return cm_is_seen(cm, 1, &before, "the reader") && MUST(cm, 1, "COMMIT");
    }
    if (draw(cm, 2)) {          /* its own reads go on */
        struct cm_found found;
        ok = cm_read_with(cm, 0, &found) && (cm_is_equal(cm, &found, &t->after) ||
             cm_fail(cm, "the writer does not see its own rows after BUSY"));
    }
    if (ok && how == 2)
        ok = write_some(cm, 0, file, CM_JL, t) && write_some(cm, 0, file, CM_SL, t);
    if (ok && how == 1) {
        ok = MUST(cm, 0, "ROLLBACK") && MUST(cm, 1, "COMMIT");
        cm_txn_dead(cm, t);
        return ok;
    }
    return ok && MUST(cm, 1, "COMMIT") && finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_veto(struct cm *cm, int file)
{
    struct cm_txn *t = cm_txn_new(cm);
    bool ok = true;
    char text[400] = "COMMIT";

    if (draw(cm, 2))
        solo_text(cm, file, t, text, sizeof text);
    else
        ok = begin(cm, 0) && write_joint(cm, 0, file, t);
    cm->veto = true;
    ok = ok && finish(cm, 0, t, text, SQLITE_CONSTRAINT);
    cm->veto = false;
    cm_txn_dead(cm, t);
    return ok;
}

/* A table that joined the transaction before ours, so its callbacks come before ours: another
   connection reads in xSync, and runs a whole transaction between the main commit and our xCommit. */
void cm_run_gap(void *ctx, enum gap_at at)
{
    struct cm *cm = ctx;

    if (!cm->in_gap || cm_is_dead(cm))
        return;
    if (at == GAP_SYNC) {
        if (cm_sql(cm, 1, "SELECT n FROM mp") == SQLITE_OK)    /* a full cache has locked readers out */
            cm_is_seen(cm, 1, &cm->now, "another connection in xSync");
        return;
    }
    cm->in_gap = NULL;
    if (at == GAP_ROLLBACK)
        return;
    cm_land(cm, cm->n);
    if (!cm_is_seen(cm, 1, &cm->now, "another connection before xCommit"))
        return;
    if (cm->gap_kind == 1)
        step_joint(cm, 1, 0, true);
    else if (cm->gap_kind == 2)
        step_solo(cm, 1, 0);
    else if (cm->gap_kind == 3)
        step_lsm_only(cm, 1, 0);
}

static bool step_gap(struct cm *cm, int file)
{
    struct cm_txn *t = cm_txn_new(cm);
    bool ok = MUST(cm, 0, "CREATE VIRTUAL TABLE IF NOT EXISTS temp.gap USING gap") &&
              begin(cm, 0) && MUST(cm, 0, "DELETE FROM temp.gap WHERE 0") &&
              write_joint(cm, 0, file, t);

    cm->gap_kind = (int)draw(cm, 4);
    cm->in_gap = cm;
    ok = ok && finish(cm, 0, t, "COMMIT", SQLITE_OK);
    cm->in_gap = NULL;
    return ok && !cm->why[0];
}

static bool step_both_files(struct cm *cm)
{
    struct cm_txn *t = cm_txn_new(cm);

    if (cm->files < 2)
        return step_joint(cm, 0, 0, false);
    return begin(cm, 0) && write_joint(cm, 0, 0, t) && write_joint(cm, 0, 1, t) &&
           finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_recreate(struct cm *cm, int file)
{
    const char *s = cm_schemas[file];
    struct cm_txn *t;

    if (cm->now.generation[file] >= CM_TL)
        return step_plain(cm, 0, file);
    t = cm_txn_new(cm);
    t->after.generation[file]++;
    if (!begin(cm, 0))
        return false;
    /* Rows of the table that goes, and one more drop that is taken back. */
    if (draw(cm, 2) && (!MUST(cm, 0, "INSERT OR REPLACE INTO %s.tl VALUES(1, 1, 'goes')", s) ||
                        (draw(cm, 2) && !MUST(cm, 0, "SAVEPOINT d; DROP TABLE %s.tl; ROLLBACK TO d; "
                                                     "RELEASE d", s))))
        return false;
    if (!MUST(cm, 0, "DROP TABLE %s.tl; "
              "CREATE VIRTUAL TABLE %s.tl USING lsm(k INTEGER PRIMARY KEY, n INTEGER, v);"
              "UPDATE %s.mp SET g = g + 1", s, s, s) ||
        !write_number(cm, 0, file, t, false, true))
        return false;
    if (draw(cm, 2) &&
        (!write_number(cm, 0, file, t, true, false) ||
         !write_some(cm, 0, file, CM_TL0 + t->after.generation[file] - 1, t)))
        return false;
    return finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_maintain(struct cm *cm, enum cm_step step, int file)
{
    struct lsm_db *db = lsm_vtab_store_find(cm_paths[file]);
    struct cm_history *h = cm->history;
    int rc;

    if (step == CM_COMPACT || !db || draw(cm, 3) == 0) {
        rc = cm_sql(cm, 0, "INSERT INTO %s.sl(sl) VALUES('%s')", cm_schemas[file],
                    step == CM_COMPACT ? "compact" : "flush");
        return (rc & 0xff) == SQLITE_BUSY || cm_want(cm, 0, rc, SQLITE_OK, "flush or compact");
    }
    if (step == CM_WORK) {
        for (int i = 0; i < 4 && (rc = lsm_db_step(db)) == LSM_OK; i++)
            ;
    } else {
        rc = lsm_db_flush(db);
        if (rc == LSM_OK && !cm_is_dead(cm)) {
            cm_promise(cm, file, CM_KEPT_LSM, cm_newest(h, h->count - 1, file, true, false));
            cm_promise(cm, file, CM_KEPT_SQL, cm_newest(h, h->count - 1, file, true, true));
        }
    }
    if (rc != LSM_OK && rc != LSM_DONE && rc != LSM_BUSY && !cm->faults)
        return cm_fail(cm, "maintenance: %s: %.300s", lsm_code_name(rc), lsm_error_text());
    return true;
}

static bool step_checkpoint(struct cm *cm, int file)
{
    struct cm_history *h = cm->history;
    char query[100];
    int busy = 1, last;

    if (!cm_is_wal(cm))
        return true;
    snprintf(query, sizeof query, "PRAGMA %s.wal_checkpoint(TRUNCATE)", cm_schemas[file]);
    if (!cm_read_int(cm, 0, query, &busy, NULL))
        return false;
    if (busy == 0 && !cm_is_dead(cm)) {
        last = cm_newest(h, h->count - 1, file, false, true);
        cm_promise(cm, file, CM_KEPT_SQL, last);
        cm_promise(cm, file, CM_KEPT_LSM, cm_newest(h, last, file, true, true));
    }
    return true;
}

bool cm_step(struct cm *cm, enum cm_step step)
{
    int file = draw_file(cm);

    switch (step) {
    case CM_SOLO: return step_solo(cm, 0, file);
    case CM_JOINT: return step_joint(cm, 0, file, false);
    case CM_LSM_ONLY: return step_lsm_only(cm, 0, file);
    case CM_SEVERAL: return step_joint(cm, 0, file, true);
    case CM_PLAIN: return step_plain(cm, (int)draw(cm, 2), file);
    case CM_SAVEPOINT: return step_savepoint(cm, file);
    case CM_ROLLBACK: return step_rollback(cm, file);
    case CM_BUSY: return step_busy(cm, file);
    case CM_VETO: return step_veto(cm, file);
    case CM_OTHER_SOLO: return step_solo(cm, 1, file);
    case CM_OTHER_JOINT: return step_joint(cm, 1, file, draw(cm, 2));
    case CM_GAP: return step_gap(cm, 0);
    case CM_BOTH_FILES: return step_both_files(cm);
    case CM_RECREATE: return step_recreate(cm, file);
    case CM_FLUSH: case CM_COMPACT: case CM_WORK: return step_maintain(cm, step, file);
    case CM_CHECKPOINT: return step_checkpoint(cm, file);
    case CM_REOPEN: return cm_close(cm) && cm_open(cm, false);
    case CM_STEPS: break;
    }
    return true;
}

/* The worker is asked for a sync of the log that goes on beside writers: now, or it comes too late. */
static void sync_ahead(struct cm *cm)
{
    for (int file = 0; file < CM_FILES && !cm_is_dead(cm); file++) {
        struct lsm_db *db = lsm_vtab_store_find(cm_paths[file]);

        if (db && db->ahead_wanted && draw(cm, 3))
            lsm_ahead_sync(db, 0);
    }
}

bool cm_run(struct cm *cm, int steps)
{
    static const uint8_t chances[CM_STEPS] = {
        [CM_SOLO] = 16, [CM_JOINT] = 10, [CM_LSM_ONLY] = 5, [CM_SEVERAL] = 5, [CM_PLAIN] = 4,
        [CM_SAVEPOINT] = 4, [CM_ROLLBACK] = 2, [CM_BUSY] = 7, [CM_VETO] = 4, [CM_OTHER_SOLO] = 6,
        [CM_OTHER_JOINT] = 6, [CM_GAP] = 5, [CM_BOTH_FILES] = 3, [CM_RECREATE] = 2,
        [CM_FLUSH] = 4, [CM_COMPACT] = 2, [CM_WORK] = 3, [CM_CHECKPOINT] = 2, [CM_REOPEN] = 4,
    };
    unsigned total = 0;

    for (int i = 0; i < CM_STEPS; i++)
        total += chances[i];
    while (steps-- > 0) {
        int at = (int)draw(cm, total), step = 0;
        while (at >= chances[step])
            at -= chances[step++];
        if (!cm_step(cm, (enum cm_step)step) || cm_is_dead(cm))
            return false;
        sync_ahead(cm);
    }
    return true;
}

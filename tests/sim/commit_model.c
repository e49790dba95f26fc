/* commit_model.c -- the databases and stores of the workload: opened, killed, read, taken up again. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext/lsmvtab.h"
#include "tests/sim/commit_parts.h"
#include "tests/stat.h"

const char *const cm_schemas[CM_FILES] = { "main", "aux" };
const char *const cm_paths[CM_FILES] = { "/db/app.db", "/db/aux.db" };

bool cm_is_wal(const struct cm *cm)
{
    return strcmp(cm->journal, "WAL") == 0;
}

bool cm_is_dead(const struct cm *cm)
{
    return cm->sim->disk->dead;
}

/* What is not as it must be; the first one stays. Nobody minds what a dead process sees. */
bool cm_fail(struct cm *cm, const char *format, ...)
{
    va_list args;

    if (cm->why[0] || cm_is_dead(cm) || (cm->faults && cm->sim->disk->fault.at))
        return false;
    va_start(args, format);
    vsnprintf(cm->why, sizeof cm->why, format, args);
    va_end(args);
    return false;
}

int cm_sql(struct cm *cm, int conn, const char *format, ...)
{
    char text[800];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return sqlite3_exec(cm->db[conn], text, NULL, NULL, NULL);
}

/* The code is the wanted one, or any with faults about. */
bool cm_want(struct cm *cm, int conn, int rc, int wanted, const char *what)
{
    if ((rc & 0xff) == wanted)
        return true;
    if (cm->faults)
        return false;
    return cm_fail(cm, "transaction %d: %d, not %d: %s: %.100s", cm->n, rc, wanted,
                   sqlite3_errmsg(cm->db[conn]), what);
}

/* ---- the machine --------------------------------------------------------------- */

static int file_info(void *ctx, const char *path, struct lsm_vtab_file *file)
{
    struct sim_disk *disk = ((struct sim *)ctx)->disk;
    int error = sim_disk_fault(disk, SIM_INFO);

    if (error)
        return error;
    *file = (struct lsm_vtab_file){ .dev = 1, .ino = sim_disk_find(disk, path), .mode = 0644 };
    return file->ino ? 0 : ENOENT;
}

static int file_create(void *ctx, const char *path, const struct lsm_vtab_file *like)
{
    struct sim_disk *disk = ((struct sim *)ctx)->disk;
    const char *name;
    uint32_t dir = sim_disk_parent(disk, path, &name), ino;

    return dir ? sim_create(disk, dir, name, like->mode, &ino) : ENOENT;
}

static int file_remove(void *ctx, const char *path)
{
    struct sim_disk *disk = ((struct sim *)ctx)->disk;
    const char *name;
    uint32_t dir = sim_disk_parent(disk, path, &name);

    return dir ? sim_unlink(disk, dir, name) : ENOENT;
}

static int file_sync(void *ctx, const char *path, bool is_dir)
{
    struct sim_disk *disk = ((struct sim *)ctx)->disk;
    uint32_t ino = is_dir && strcmp(path, "/db/") == 0 ? sim_disk_find(disk, "/db")
                                                        : sim_disk_find(disk, path);
    int error;

    if (!ino)
        return is_dir ? ENOENT : 0;
    error = sim_disk_fault(disk, SIM_OPEN);
    if (error)
        return error;
    return is_dir ? sim_syncdir(disk, ino) : sim_sync(disk, ino);
}

uint64_t cm_stat_of(int file, const char *name)
{
    struct lsm_db *db = lsm_vtab_store_find(cm_paths[file]);

    return db ? stat_of(db, name) : 0;
}

/* ---- connections -------------------------------------------------------------------- */

static int value_size(int n, int k)
{
    int size = (n * 37 + (k + 1) * 101) % 120;

    return (n + k) % 16 == 0 ? 1500 : size;
}

/* The text that transaction n writes into row k. */
static void value_text(int n, int k, char text[1600])
{
    int size = snprintf(text, 64, "%d.%d.", n, k);

    memset(text + size, 'a' + (n + k + 1) % 26, (size_t)value_size(n, k));
    text[size + value_size(n, k)] = '\0';
}

static void func_val(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    char text[1600];

    (void)argc;
    value_text(abs(sqlite3_value_int(argv[0])), abs(sqlite3_value_int(argv[1]) + 1) - 1, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static int commit_hook(void *ctx)
{
    return ((struct cm *)ctx)->veto;
}

void cm_init(struct cm *cm, struct sim *sim, struct cm_history *history, const char *journal,
             const char *sync_a, const char *sync_b, int files, uint64_t seed)
{
    memset(cm, 0, sizeof *cm);
    cm->sim = sim;
    cm->machine = (struct lsm_vtab_machine){ .os = sim_lsm_os(sim), .no_worker = true,
                                             .memory_bytes = 1 << 20,
                                             .redo_slot_bytes = 1024, .ctx = sim,
                                             .file_info = file_info, .file_sync = file_sync,
                                             .file_create = file_create, .file_remove = file_remove };
    cm->journal = journal;
    cm->sync[0] = sync_a;
    cm->sync[1] = sync_b;
    cm->files = files;
    cm->chance = seed;
    cm->history = history;
    cm->now = history->txns[0].after;
}

static bool open_one(struct cm *cm, int conn)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(cm_paths[0], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                             cm->sim->vfs->name);

    cm->db[conn] = db;
    if (rc == SQLITE_OK)
        rc = sqlite3_lsmvtab_init(db, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(db, "val", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                     func_val, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = gap_register(db, cm_run_gap, cm);
    if (!cm_want(cm, conn, rc, SQLITE_OK, "open"))
        return false;
    if (cm->files == 2 && !MUST(cm, conn, "ATTACH '%s' AS aux", cm_paths[1]))
        return false;
    sqlite3_commit_hook(db, commit_hook, cm);
    for (int f = 0; f < cm->files; f++)
        if (!MUST(cm, conn, "PRAGMA %s.page_size=512; PRAGMA %s.cache_size=8;"
                  "PRAGMA %s.journal_mode=%s; PRAGMA %s.synchronous=%s;", cm_schemas[f], cm_schemas[f],
                  cm_schemas[f], cm->journal, cm_schemas[f], cm->sync[conn]))
            return false;
    return MUST(cm, conn, "PRAGMA wal_autocheckpoint=40");
}

static bool set_up(struct cm *cm)
{
    for (int f = 0; f < cm->files; f++) {
        const char *s = cm_schemas[f];
        struct cm_txn *t;

        if (cm->now.plain[f])
            continue;
        t = cm_txn_new(cm);
        t->sql[f] = t->plain[f] = true;
        t->after.plain[f] = (uint16_t)cm->n;
        t->after.generation[f] = 1;
        if (!MUST(cm, 0, "BEGIN;"
                  "CREATE VIRTUAL TABLE %s.jl USING lsm(k INTEGER PRIMARY KEY, n INTEGER, v);"
                  "CREATE VIRTUAL TABLE %s.sl USING lsm(k INTEGER PRIMARY KEY, n INTEGER, v);"
                  "CREATE VIRTUAL TABLE %s.tl USING lsm(k INTEGER PRIMARY KEY, n INTEGER, v);"
                  "CREATE TABLE %s.jm(k INTEGER PRIMARY KEY, n INTEGER, v);"
                  "CREATE TABLE %s.pp(k INTEGER PRIMARY KEY, n INTEGER, v);"
                  "CREATE TABLE %s.mp(n INTEGER, g INTEGER); INSERT INTO %s.mp VALUES(%d, 1)",
                  s, s, s, s, s, s, s, cm->n))
            return false;
        cm_txn_commits(cm, t);
        if (!MUST(cm, 0, "COMMIT"))
            return false;
        cm_txn_acked(cm, t, 0);
    }
    return true;
}

bool cm_look(struct cm *cm)
{
    lsm_vtab_machine_use(&cm->machine);
    return open_one(cm, 0);
}

bool cm_open(struct cm *cm, bool setup)
{
    if (!cm_look(cm) || !open_one(cm, 1))
        return false;
    return !setup || set_up(cm);
}

bool cm_close(struct cm *cm)
{
    struct cm_history *h = cm->history;
    bool ok = true;

    for (int f = 0; f < cm->files; f++)
        cm->carried += cm_stat_of(f, "records_carried");
    for (int c = 2; c-- > 0;) {
        int rc = sqlite3_close(cm->db[c]);
        if (rc != SQLITE_OK)
            ok = cm_fail(cm, "close: %d %s", rc, sqlite3_errmsg(cm->db[c]));
        cm->db[c] = NULL;
    }
    if (!ok || cm->faults || cm_is_dead(cm))
        return ok;
    /* The log is synced, and under WAL the last connection checkpoints. */
    for (int f = 0; f < cm->files; f++) {
        int last_joint = cm_newest(h, h->count - 1, f, true, true);
        if (last_joint == 0)    /* the one that made the tables has a token and no row */
            last_joint = cm_first_sql(h, f);
        if (cm_is_wal(cm))
            cm_promise(cm, f, CM_KEPT_SQL, cm_newest(h, h->count - 1, f, false, true));
        if (last_joint <= cm_promised(h, SIZE_MAX, f, CM_KEPT_SQL))
            cm_promise(cm, f, CM_KEPT_LSM, cm_newest(h, h->count - 1, f, true, false));
    }
    return ok;
}

void cm_kill(struct cm *cm)
{
    cm->sim->disk->dead = true;
    cm->in_gap = NULL;
    cm->veto = false;
    cm_close(cm);
    cm->sim->disk->dead = false;
    cm->sim->disk->dead_at = 0;
}

bool cm_revive(struct cm *cm)
{
    cm_kill(cm);
    return open_one(cm, 0) && open_one(cm, 1) && cm_resolve(cm) && set_up(cm);
}

void cm_clear(struct cm *cm)
{
    for (int c = 2; c-- > 0;) {
        sqlite3_close(cm->db[c]);
        cm->db[c] = NULL;
    }
}

/* ---- reading ------------------------------------------------------------------------- */

static bool read_table(struct cm *cm, int conn, int file, const char *table,
                       uint16_t rows[CM_KEYS])
{
    sqlite3_stmt *stmt = NULL;
    char text[1600], query[100];
    bool ok = true;
    int rc;

    memset(rows, 0, sizeof rows[0] * CM_KEYS);
    snprintf(query, sizeof query, "SELECT k, n, v FROM %s.%s ORDER BY k", cm_schemas[file], table);
    rc = sqlite3_prepare_v2(cm->db[conn], query, -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int k = sqlite3_column_int(stmt, 0), n = sqlite3_column_int(stmt, 1);
        const char *v = (const char *)sqlite3_column_text(stmt, 2);
        text[0] = '\0';
        if (n > 0 && n < CM_TXNS && k >= -1 && k < CM_KEYS)
            value_text(n, k, text);
        if (k < -1 || k >= CM_KEYS - 1 || n <= 0 || n >= CM_TXNS || rows[k + 1] || !v ||
            strcmp(v, text) != 0)
            ok = cm_fail(cm, "%s.%s: row %d of transaction %d is not what was written: %.60s",
                         cm_schemas[file], table, k, n, v ? v : "NULL");
        else
            rows[k + 1] = (uint16_t)n;
        rc = SQLITE_OK;
    }
    if (ok && rc != SQLITE_DONE)
        ok = cm_fail(cm, "%s: %d %s", query, rc, sqlite3_errmsg(cm->db[conn]));
    sqlite3_finalize(stmt);
    return ok;
}

bool cm_read_int(struct cm *cm, int conn, const char *query, int *a, int *b)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(cm->db[conn], query, -1, &stmt, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *a = sqlite3_column_int(stmt, 0);
        if (b)
            *b = sqlite3_column_int(stmt, 1);
    }
    if (rc != SQLITE_ROW)
        cm_fail(cm, "%s: %d %s", query, rc, sqlite3_errmsg(cm->db[conn]));
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW;
}

static bool read_file(struct cm *cm, int conn, int f, struct cm_content *c)
{
    uint16_t mirror[CM_KEYS];
    char query[200];
    int there, n, g;

    snprintf(query, sizeof query, "SELECT count(*) FROM %s.sqlite_schema WHERE name = 'mp'",
             cm_schemas[f]);
    if (!cm_read_int(cm, conn, query, &there, NULL))
        return false;
    if (!there)
        return true;
    snprintf(query, sizeof query, "SELECT n, g FROM %s.mp", cm_schemas[f]);
    if (!cm_read_int(cm, conn, query, &n, &g))
        return false;
    c->plain[f] = (uint16_t)n;
    c->generation[f] = (uint16_t)g;
    if (!read_table(cm, conn, f, "jl", c->rows[f][CM_JL]) ||
        !read_table(cm, conn, f, "jm", mirror) ||
        !read_table(cm, conn, f, "sl", c->rows[f][CM_SL]) ||
        !read_table(cm, conn, f, "tl", c->rows[f][CM_TL0]) ||
        !read_table(cm, conn, f, "pp", c->rows[f][CM_PP]))
        return false;
    for (int i = 0; i < CM_KEYS; i++)
        if (c->rows[f][CM_JL][i] != mirror[i])
            return cm_fail(cm, "%s: row %d is of transaction %d in the lsm table, of %d in its mirror "
                           "(newest ordinary %d, sl says %d)", cm_schemas[f], i - 1,
                           c->rows[f][CM_JL][i], mirror[i], n, c->rows[f][CM_SL][0]);
    return true;
}

bool cm_read_with(struct cm *cm, int conn, struct cm_found *found)
{
    memset(found, 0, sizeof *found);
    for (int f = 0; f < cm->files; f++) {
        if (!read_file(cm, conn, f, &found->content))
            return false;
        found->digest[f] = cm_digest(&found->content, f, found->content.generation[f] ? 1 : 0);
    }
    return true;
}

bool cm_read(struct cm *cm, struct cm_found *found)
{
    return cm_read_with(cm, 0, found);
}

/* Is what was found exactly this content? Its tl is in the slot of its generation. */
bool cm_is_equal(const struct cm *cm, const struct cm_found *found, const struct cm_content *c)
{
    for (int f = 0; f < cm->files; f++) {
        int g = c->generation[f];
        if (found->content.plain[f] != c->plain[f] || found->content.generation[f] != g ||
            found->digest[f] != cm_digest(c, f, g) ||
            memcmp(found->content.rows[f][CM_PP], c->rows[f][CM_PP], sizeof c->rows[f][CM_PP]) != 0)
            return false;
    }
    return true;
}

bool cm_is_seen(struct cm *cm, int conn, const struct cm_content *c, const char *what)
{
    struct cm_found found;

    if (!cm_read_with(cm, conn, &found))
        return false;
    if (cm_is_equal(cm, &found, c))
        return true;
    return cm_fail(cm, "%s: transaction %d: not what was committed: ordinary %d not %d, sl %d not %d",
                   what, cm->n, found.content.plain[0], c->plain[0], found.content.rows[0][CM_SL][0],
                   c->rows[0][CM_SL][0]);
}

bool cm_is_now(struct cm *cm)
{
    return cm_is_seen(cm, 0, &cm->now, "connection a");
}

/* The one case in which a solo that was reported as failed may be seen (commit.md, Limits). */
static bool lsm_is_read_only(void)
{
    struct lsm_db *db = lsm_vtab_store_find(cm_paths[0]);
    const char *why;

    return db && strcmp(lsm_db_state(db, &why), "READ_ONLY") == 0;
}

void cm_forgive(struct cm *cm, int n)
{
    struct cm_history *h = cm->history;

    cm->forgiven = lsm_is_read_only();
    for (; cm->forgiven && n < h->count; n++) {
        struct cm_txn *t = &h->txns[n];
        if (t->dead && t->begun != SIZE_MAX && t->lsm[0] && !t->sql[0]) {
            t->dead = false;
            t->ended = SIZE_MAX;
        }
    }
}

bool cm_resolve(struct cm *cm)
{
    struct cm_history *h = cm->history;
    struct cm_found found;
    int known = -1;

    if (!cm_read_with(cm, 0, &found))
        return false;
    for (int n = h->count - 1; n > 0 && known < 0; n--) {
        struct cm_txn *t = &h->txns[n];
        if (!t->dead && t->begun != SIZE_MAX && t->ended == SIZE_MAX &&
            cm_is_equal(cm, &found, &t->after))
            known = n;
    }
    if (known < 0 && cm_is_equal(cm, &found, &cm->now))
        known = 0;
    if (known < 0)
        return cm_fail(cm, "after transaction %d: neither it nor what was before is there: ordinary %d, "
                       "sl %d", cm->n, found.content.plain[0], found.content.rows[0][CM_SL][0]);
    for (int n = 1; n < h->count; n++) {
        struct cm_txn *t = &h->txns[n];
        if (t->dead || t->ended != SIZE_MAX)
            continue;
        if (n > known || t->begun == SIZE_MAX) {
            t->killed = !cm->faults;
            t->doubt = cm->faults && t->begun != SIZE_MAX;
            cm_txn_dead(cm, t);
            continue;
        }
        if (cm->faults && t->lsm[0] && !t->sql[0] && !cm->forgiven)
            cm_fail(cm, "transaction %d, a solo, was reported as failed and is there", n);
        t->ended = cm->sim->disk->op_count;
        for (int f = 0; f < cm->files; f++) {       /* seen: a dying process keeps it now */
            if (t->lsm[f])
                cm_promise(cm, f, CM_ACKED_LSM, n);
            if (t->sql[f])
                cm_promise(cm, f, CM_ACKED_SQL, n);
        }
    }
    if (known > 0)
        cm_land(cm, known);
    return true;
}

/* commit_model.c -- the workload's steps, the model beside them, and the judgement of what is found. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext/lsmvtab.h"
#include "tests/sim/commit_model.h"

static const char *const schemas[CM_FILES] = { "main", "aux" };
static const char *const paths[CM_FILES] = { "/db/app.db", "/db/aux.db" };

static uint64_t draw(struct cm *cm, uint64_t n)
{
    cm->chance = sim_mix(cm->chance + 0x9e3779b97f4a7c15u);
    return cm->chance % n;
}

static bool is_wal(const struct cm *cm)
{
    return strcmp(cm->journal, "WAL") == 0;
}

static bool is_dead(const struct cm *cm)
{
    return cm->sim->disk->dead;
}

/* What is not as it must be; the first one stays. Nobody minds what a dead process sees. */
static bool fail(struct cm *cm, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct cm *cm, const char *format, ...)
{
    va_list args;

    if (cm->why[0] || is_dead(cm) || (cm->faults && cm->sim->disk->fault.at))
        return false;
    va_start(args, format);
    vsnprintf(cm->why, sizeof cm->why, format, args);
    va_end(args);
    return false;
}

static int sql(struct cm *cm, int conn, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int sql(struct cm *cm, int conn, const char *format, ...)
{
    char text[800];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return sqlite3_exec(cm->db[conn], text, NULL, NULL, NULL);
}

/* The code is the wanted one, or any with faults about. */
static bool want(struct cm *cm, int conn, int rc, int wanted, const char *what)
{
    if ((rc & 0xff) == wanted)
        return true;
    if (cm->faults)
        return false;
    return fail(cm, "transaction %d: %d, not %d: %s: %.100s", cm->n, rc, wanted,
                sqlite3_errmsg(cm->db[conn]), what);
}

#define MUST(cm, conn, ...) want(cm, conn, sql(cm, conn, __VA_ARGS__), SQLITE_OK, #__VA_ARGS__)

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

/* ---- the history ------------------------------------------------------------------ */

static uint64_t digest(const struct cm_content *c, int file, int generation)
{
    const uint16_t *tables[3] = { c->rows[file][CM_JL], c->rows[file][CM_SL],
                                  c->rows[file][CM_TL0 + (generation + CM_TL - 1) % CM_TL] };
    uint64_t d = (uint64_t)file + 1;

    for (int t = 0; t < (generation ? 3 : 2); t++)
        for (int i = 0; i < CM_KEYS; i++)
            d = sim_mix(d ^ tables[t][i]);
    return d;
}

static void digest_all(struct cm_txn *t)
{
    for (int f = 0; f < CM_FILES; f++)
        for (int g = 0; g <= CM_TL; g++)
            t->digest[f][g] = digest(&t->after, f, g);
}

void cm_history_init(struct cm_history *history, const struct cm_content *first)
{
    memset(history, 0, sizeof *history);
    history->count = 1;
    history->txns[0].after = *first;
    digest_all(&history->txns[0]);
}

void cm_history_clear(struct cm_history *history)
{
    free(history->promises);
    history->promises = NULL;
    history->promise_count = history->promise_cap = 0;
}

void cm_history_print(const struct cm_history *history, size_t pos)
{
    int at = 1;

    while (at + 1 < history->count && history->txns[at].begun <= pos)
        at++;
    for (int n = at > 12 ? at - 12 : 1; n < history->count && n <= at + 1; n++) {
        const struct cm_txn *t = &history->txns[n];
        printf("    %3d at %zu..%zd:%s", n, t->begun, (ssize_t)t->ended, t->dead ? " dead" : "");
        for (int f = 0; f < CM_FILES; f++)
            if (t->lsm[f] || t->sql[f])
                printf(" %s%s%s%s", schemas[f], t->lsm[f] ? " lsm" : "", t->sql[f] ? " sql" : "",
                       t->plain[f] ? " plain" : "");
        printf("\n");
    }
}

static void promise(struct cm *cm, int file, enum cm_promise_kind kind, int n)
{
    struct cm_history *h = cm->history;

    if (h->promise_count == h->promise_cap) {
        h->promise_cap = h->promise_cap ? h->promise_cap * 2 : 256;
        h->promises = realloc(h->promises, h->promise_cap * sizeof *h->promises);
        if (!h->promises)
            abort();
    }
    h->promises[h->promise_count++] = (struct cm_promise){
        cm->sim->disk->op_count, (uint8_t)file, (uint8_t)kind, (uint16_t)n };
}

static int promised(const struct cm_history *h, size_t pos, int file, enum cm_promise_kind kind)
{
    int most = 0;

    for (size_t i = 0; i < h->promise_count; i++) {
        const struct cm_promise *p = &h->promises[i];
        if (h->fault_pos && p->pos > h->fault_pos && kind >= CM_KEPT_LSM)
            continue;
        if (p->pos <= pos && p->file == file && p->kind == kind && p->n > most)
            most = p->n;
    }
    return most;
}

static bool is_joint(const struct cm_txn *t, int file)
{
    return t->lsm[file] && t->sql[file];
}

/* The newest transaction up to n that has (lsm, sql) as asked for; 0: none. */
static int newest(const struct cm_history *h, int n, int file, bool lsm, bool sql_too)
{
    for (; n > 0; n--) {
        const struct cm_txn *t = &h->txns[n];
        if (!t->dead && (!lsm || t->lsm[file]) && (!sql_too || t->sql[file]))
            return n;
    }
    return 0;
}

/* The first that SQLite committed something of; 0: none. */
static int first_sql(const struct cm_history *h, int file)
{
    for (int n = 1; n < h->count; n++)
        if (!h->txns[n].dead && h->txns[n].sql[file])
            return n;
    return 0;
}

static struct cm_txn *txn_new(struct cm *cm)
{
    struct cm_history *h = cm->history;
    struct cm_txn *t;

    if (h->count == CM_TXNS)
        abort();
    cm->n = h->count++;
    t = &h->txns[cm->n];
    memset(t, 0, sizeof *t);
    t->after = cm->now;
    t->ended = t->begun = SIZE_MAX;
    return t;
}

/* Its COMMIT follows. */
static void txn_commits(struct cm *cm, struct cm_txn *t)
{
    digest_all(t);
    t->begun = cm->sim->disk->op_count;
}

static void txn_dead(struct cm *cm, struct cm_txn *t)
{
    if (cm->sim->disk->dead)
        return;                 /* whoever comes afterwards finds out */
    t->dead = true;
    t->ended = cm->sim->disk->op_count;
    if (t->begun == SIZE_MAX)
        t->begun = t->ended;
}

/* What SQLite promises under this mode when COMMIT returns (measured: crash_sqlite.c). */
static bool is_kept_by_sqlite(const struct cm *cm, int conn)
{
    bool full = strcmp(cm->sync[conn], "NORMAL") != 0;

    if (is_wal(cm))
        return full;
    if (strcmp(cm->journal, "PERSIST") == 0)
        return true;
    if (strcmp(cm->journal, "TRUNCATE") == 0)
        return full;
    return strcmp(cm->sync[conn], "EXTRA") == 0;
}

/* It is committed, unless a later one, that came in the gap, says so already. */
static void land(struct cm *cm, int n)
{
    if (n <= cm->now_n)
        return;
    cm->now = cm->history->txns[n].after;
    cm->now_n = n;
}

static void txn_acked(struct cm *cm, struct cm_txn *t, int conn)
{
    struct cm_history *h = cm->history;
    int n = (int)(t - h->txns);
    bool full = strcmp(cm->sync[conn], "NORMAL") != 0;

    t->ended = cm->sim->disk->op_count;
    land(cm, n);
    cm->acked++;
    for (int f = 0; f < cm->files; f++) {
        int kept;

        if (t->lsm[f])
            promise(cm, f, CM_ACKED_LSM, n);
        if (t->sql[f])
            promise(cm, f, CM_ACKED_SQL, n);
        if (t->sql[f]) {
            kept = is_kept_by_sqlite(cm, conn) ? n
                   : is_wal(cm) ? 0 : newest(h, n - 1, f, false, true);
            promise(cm, f, CM_KEPT_SQL, kept);
            promise(cm, f, CM_KEPT_LSM, newest(h, kept, f, true, true));
        } else if (t->lsm[f] && full) {
            promise(cm, f, CM_KEPT_LSM, n);
            promise(cm, f, CM_KEPT_SQL, newest(h, n, f, true, true));
        }
    }
}

static uint64_t stat_of(int file, const char *name)
{
    struct lsm_db *db = lsm_vtab_store_find(paths[file]);
    struct lsm_stat stats[64];
    size_t count = db ? lsm_db_stats(db, stats, 64) : 0;

    for (size_t i = 0; i < count && i < 64; i++)
        if (strcmp(stats[i].name, name) == 0)
            return stats[i].value;
    return 0;
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

static int gap_connect(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                       sqlite3_vtab **vtab, char **error);
static void run_gap(struct cm *cm, int kind);

struct gap {
    sqlite3_vtab base;
    struct cm *cm;
};

static int gap_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int gap_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab, (void)info;
    return SQLITE_OK;
}

static int gap_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor)
{
    (void)vtab;
    *cursor = sqlite3_malloc(sizeof **cursor);
    if (*cursor)
        memset(*cursor, 0, sizeof **cursor);
    return *cursor ? SQLITE_OK : SQLITE_NOMEM;
}

static int gap_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int gap_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                      sqlite3_value **argv)
{
    (void)cursor, (void)number, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

static int gap_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int gap_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int gap_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)cursor, (void)context, (void)column;
    return SQLITE_OK;
}

static int gap_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}

static int gap_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    (void)vtab, (void)argc, (void)argv, (void)rowid;
    return SQLITE_READONLY;
}

static int gap_begin(sqlite3_vtab *vtab)
{
    (void)vtab;
    return SQLITE_OK;
}

static int gap_sync(sqlite3_vtab *vtab)
{
    run_gap(((struct gap *)vtab)->cm, 1);
    return SQLITE_OK;
}

static int gap_commit(sqlite3_vtab *vtab)
{
    run_gap(((struct gap *)vtab)->cm, 2);
    return SQLITE_OK;
}

static int gap_rollback(sqlite3_vtab *vtab)
{
    run_gap(((struct gap *)vtab)->cm, 3);
    return SQLITE_OK;
}

static const sqlite3_module gap_module = {
    .iVersion = 1, .xCreate = gap_connect, .xConnect = gap_connect,
    .xBestIndex = gap_best_index, .xDisconnect = gap_disconnect, .xDestroy = gap_disconnect,
    .xOpen = gap_open, .xClose = gap_close, .xFilter = gap_filter, .xNext = gap_next,
    .xEof = gap_eof, .xColumn = gap_column, .xRowid = gap_rowid, .xUpdate = gap_update,
    .xBegin = gap_begin, .xSync = gap_sync, .xCommit = gap_commit, .xRollback = gap_rollback,
};

static int gap_connect(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                       sqlite3_vtab **vtab, char **error)
{
    struct gap *gap = sqlite3_malloc(sizeof *gap);

    (void)argc, (void)argv, (void)error;
    if (!gap)
        return SQLITE_NOMEM;
    memset(gap, 0, sizeof *gap);
    gap->cm = ctx;
    *vtab = &gap->base;
    return sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
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
    int rc = sqlite3_open_v2(paths[0], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                             cm->sim->vfs->name);

    cm->db[conn] = db;
    if (rc == SQLITE_OK)
        rc = sqlite3_lsmvtab_init(db, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(db, "val", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                     func_val, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_module(db, "gap", &gap_module, cm);
    if (!want(cm, conn, rc, SQLITE_OK, "open"))
        return false;
    if (cm->files == 2 && !MUST(cm, conn, "ATTACH '%s' AS aux", paths[1]))
        return false;
    sqlite3_commit_hook(db, commit_hook, cm);
    for (int f = 0; f < cm->files; f++)
        if (!MUST(cm, conn, "PRAGMA %s.page_size=512; PRAGMA %s.cache_size=8;"
                  "PRAGMA %s.journal_mode=%s; PRAGMA %s.synchronous=%s;", schemas[f], schemas[f],
                  schemas[f], cm->journal, schemas[f], cm->sync[conn]))
            return false;
    return MUST(cm, conn, "PRAGMA wal_autocheckpoint=40;"
                          "CREATE VIRTUAL TABLE temp.gap USING gap");
}

static bool set_up(struct cm *cm)
{
    for (int f = 0; f < cm->files; f++) {
        const char *s = schemas[f];
        struct cm_txn *t;

        if (cm->now.plain[f])
            continue;
        t = txn_new(cm);
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
        txn_commits(cm, t);
        if (!MUST(cm, 0, "COMMIT"))
            return false;
        txn_acked(cm, t, 0);
    }
    return true;
}

bool cm_open(struct cm *cm, bool setup)
{
    lsm_vtab_machine_use(&cm->machine);
    if (!open_one(cm, 0) || !open_one(cm, 1))
        return false;
    return !setup || set_up(cm);
}

bool cm_close(struct cm *cm)
{
    struct cm_history *h = cm->history;
    bool ok = true;

    for (int f = 0; f < cm->files; f++)
        cm->carried += stat_of(f, "records_carried");
    for (int c = 2; c-- > 0;) {
        int rc = sqlite3_close(cm->db[c]);
        if (rc != SQLITE_OK)
            ok = fail(cm, "close: %d %s", rc, sqlite3_errmsg(cm->db[c]));
        cm->db[c] = NULL;
    }
    if (!ok || cm->faults || is_dead(cm))
        return ok;
    /* The log is synced, and under WAL the last connection checkpoints. */
    for (int f = 0; f < cm->files; f++) {
        int last_joint = newest(h, h->count - 1, f, true, true);
        if (last_joint == 0)    /* the one that made the tables has a token and no row */
            last_joint = first_sql(h, f);
        if (is_wal(cm))
            promise(cm, f, CM_KEPT_SQL, newest(h, h->count - 1, f, false, true));
        if (last_joint <= promised(h, SIZE_MAX, f, CM_KEPT_SQL))
            promise(cm, f, CM_KEPT_LSM, newest(h, h->count - 1, f, true, false));
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
    snprintf(query, sizeof query, "SELECT k, n, v FROM %s.%s ORDER BY k", schemas[file], table);
    rc = sqlite3_prepare_v2(cm->db[conn], query, -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int k = sqlite3_column_int(stmt, 0), n = sqlite3_column_int(stmt, 1);
        const char *v = (const char *)sqlite3_column_text(stmt, 2);
        text[0] = '\0';
        if (n > 0 && n < CM_TXNS && k >= -1 && k < CM_KEYS)
            value_text(n, k, text);
        if (k < -1 || k >= CM_KEYS - 1 || n <= 0 || n >= CM_TXNS || rows[k + 1] || !v ||
            strcmp(v, text) != 0)
            ok = fail(cm, "%s.%s: row %d of transaction %d is not what was written: %.60s",
                      schemas[file], table, k, n, v ? v : "NULL");
        else
            rows[k + 1] = (uint16_t)n;
        rc = SQLITE_OK;
    }
    if (ok && rc != SQLITE_DONE)
        ok = fail(cm, "%s: %d %s", query, rc, sqlite3_errmsg(cm->db[conn]));
    sqlite3_finalize(stmt);
    return ok;
}

static bool read_int(struct cm *cm, int conn, const char *query, int *a, int *b)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(cm->db[conn], query, -1, &stmt, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *a = sqlite3_column_int(stmt, 0);
        if (b)
            *b = sqlite3_column_int(stmt, 1);
    }
    if (rc != SQLITE_ROW)
        fail(cm, "%s: %d %s", query, rc, sqlite3_errmsg(cm->db[conn]));
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW;
}

static bool read_file(struct cm *cm, int conn, int f, struct cm_content *c)
{
    uint16_t mirror[CM_KEYS];
    char query[200];
    int there, n, g;

    snprintf(query, sizeof query, "SELECT count(*) FROM %s.sqlite_schema WHERE name = 'mp'",
             schemas[f]);
    if (!read_int(cm, conn, query, &there, NULL))
        return false;
    if (!there)
        return true;
    snprintf(query, sizeof query, "SELECT n, g FROM %s.mp", schemas[f]);
    if (!read_int(cm, conn, query, &n, &g))
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
            return fail(cm, "%s: row %d is of transaction %d in the lsm table, of %d in its mirror "
                        "(newest ordinary %d, sl says %d)", schemas[f], i - 1,
                        c->rows[f][CM_JL][i], mirror[i], n, c->rows[f][CM_SL][0]);
    return true;
}

static bool read_with(struct cm *cm, int conn, struct cm_found *found)
{
    memset(found, 0, sizeof *found);
    for (int f = 0; f < cm->files; f++) {
        if (!read_file(cm, conn, f, &found->content))
            return false;
        found->digest[f] = digest(&found->content, f, found->content.generation[f] ? 1 : 0);
    }
    return true;
}

bool cm_read(struct cm *cm, struct cm_found *found)
{
    return read_with(cm, 0, found);
}

/* Is what was found exactly this content? Its tl is in the slot of its generation. */
static bool is_equal(const struct cm *cm, const struct cm_found *found, const struct cm_content *c)
{
    for (int f = 0; f < cm->files; f++) {
        int g = c->generation[f];
        if (found->content.plain[f] != c->plain[f] || found->content.generation[f] != g ||
            found->digest[f] != digest(c, f, g) ||
            memcmp(found->content.rows[f][CM_PP], c->rows[f][CM_PP], sizeof c->rows[f][CM_PP]) != 0)
            return false;
    }
    return true;
}

static bool is_seen(struct cm *cm, int conn, const struct cm_content *c, const char *what)
{
    struct cm_found found;

    if (!read_with(cm, conn, &found))
        return false;
    if (is_equal(cm, &found, c))
        return true;
    return fail(cm, "%s: transaction %d: not what was committed: ordinary %d not %d, sl %d not %d",
                what, cm->n, found.content.plain[0], c->plain[0], found.content.rows[0][CM_SL][0],
                c->rows[0][CM_SL][0]);
}

bool cm_is_now(struct cm *cm)
{
    return is_seen(cm, 0, &cm->now, "connection a");
}

/* The one case in which a solo that was reported as failed may be seen (commit.md, Limits). */
static bool lsm_is_read_only(void)
{
    struct lsm_db *db = lsm_vtab_store_find(paths[0]);
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

    if (!read_with(cm, 0, &found))
        return false;
    for (int n = h->count - 1; n > 0 && known < 0; n--) {
        struct cm_txn *t = &h->txns[n];
        if (!t->dead && t->begun != SIZE_MAX && t->ended == SIZE_MAX &&
            is_equal(cm, &found, &t->after))
            known = n;
    }
    if (known < 0 && is_equal(cm, &found, &cm->now))
        known = 0;
    if (known < 0)
        return fail(cm, "after transaction %d: neither it nor what was before is there: ordinary %d, "
                    "sl %d", cm->n, found.content.plain[0], found.content.rows[0][CM_SL][0]);
    for (int n = 1; n < h->count; n++) {
        struct cm_txn *t = &h->txns[n];
        if (t->dead || t->ended != SIZE_MAX)
            continue;
        if (n > known || t->begun == SIZE_MAX) {
            t->killed = !cm->faults;
            t->doubt = cm->faults && t->begun != SIZE_MAX;
            txn_dead(cm, t);
            continue;
        }
        if (cm->faults && t->lsm[0] && !t->sql[0] && !cm->forgiven)
            fail(cm, "transaction %d, a solo, was reported as failed and is there", n);
        t->ended = cm->sim->disk->op_count;
        for (int f = 0; f < cm->files; f++) {       /* seen: a dying process keeps it now */
            if (t->lsm[f])
                promise(cm, f, CM_ACKED_LSM, n);
            if (t->sql[f])
                promise(cm, f, CM_ACKED_SQL, n);
        }
    }
    if (known > 0)
        land(cm, known);
    return true;
}

/* ---- judging ---------------------------------------------------------------------------- */

struct candidates {
    int lsm[CM_TXNS], sql[CM_TXNS];
    int lsm_count, sql_count;
};

static bool is_consistent(const struct cm_history *h, int file, int lsm, int sql_n)
{
    for (int n = 1; n < h->count; n++)
        if (is_joint(&h->txns[n], file) && !h->txns[n].dead && (n <= lsm) != (n <= sql_n))
            return false;
    return lsm == sql_n || !((h->txns[lsm].doubt && h->txns[lsm].sql[file]) ||
                             (h->txns[sql_n].doubt && h->txns[sql_n].lsm[file]));
}

/* Its COMMIT reported a failure, and nobody saw it; but SQLite may bring it back until the next
   one overwrites it. Then it must be there on both sides. */
static bool is_doubtful(const struct cm_history *h, int file, int n, size_t pos)
{
    if (!h->txns[n].doubt || !h->txns[n].sql[file])
        return false;
    for (int later = n + 1; later < h->count; later++)
        if (h->txns[later].sql[file] && !h->txns[later].dead && h->txns[later].ended <= pos)
            return false;
    return true;
}

/* A solo that was in flight when the process died, and whose ABORT was read from the page cache: the
   next record goes to a log without it; until then a power cut may bring it back. */
static bool is_killed(const struct cm_history *h, int file, int n, size_t pos)
{
    if (!h->txns[n].killed || h->txns[n].sql[file])
        return false;
    for (int later = n + 1; later < h->count; later++)
        if (h->txns[later].lsm[file] && !h->txns[later].dead && h->txns[later].ended <= pos)
            return false;
    return true;
}

/* All s that go with some L, of one file. */
static int find_sql(const struct cm_history *h, const struct sim_state *state, int file,
                    const struct cm_found *found, int needs[2], int out[CM_TXNS], int *lsm_seen)
{
    static struct candidates c;
    int g = found->content.generation[file], count = 0;

    c.lsm_count = c.sql_count = 0;
    for (int n = 0; n < h->count; n++) {
        const struct cm_txn *t = &h->txns[n];
        const struct cm_content *a = &t->after;

        if (n && (t->begun == SIZE_MAX || t->begun > state->pos))
            continue;
        if (!n || t->lsm[file]) {
            /* Rolled back: only while that was under way, and only if its record alone decides. */
            bool possible = !t->dead || (!t->sql[file] && state->pos <= t->ended) ||
                            is_doubtful(h, file, n, state->pos) || is_killed(h, file, n, state->pos);
            if (possible && t->digest[file][g <= CM_TL ? g : 0] == found->digest[file]) {
                if (n > *lsm_seen)
                    *lsm_seen = n;
                if (n >= needs[0])
                    c.lsm[c.lsm_count++] = n;
            }
        }
        if (!n || (t->sql[file] && (!t->dead || is_doubtful(h, file, n, state->pos)))) {
            bool same = a->plain[file] == found->content.plain[file] &&
                        a->generation[file] == g &&
                        memcmp(a->rows[file][CM_PP], found->content.rows[file][CM_PP],
                               sizeof a->rows[file][CM_PP]) == 0;
            if (same && n >= needs[1])
                c.sql[c.sql_count++] = n;
        }
    }
    for (int i = 0; i < c.sql_count; i++)
        for (int k = 0; k < c.lsm_count; k++)
            if (is_consistent(h, file, c.lsm[k], c.sql[i])) {
                out[count++] = c.sql[i];
                break;
            }
    return count;
}

bool cm_allow(struct cm *cm, struct sim_state *state, const struct cm_found *found)
{
    const struct cm_history *h = cm->history;
    static int s[CM_FILES][CM_TXNS];
    int count[CM_FILES] = { 0 };
    bool alive = state->model == 1;

    for (int f = 0; f < cm->files; f++) {
        int needs[2] = { promised(h, state->pos, f, alive ? CM_ACKED_LSM : CM_KEPT_LSM),
                         promised(h, state->pos, f, alive ? CM_ACKED_SQL : CM_KEPT_SQL) };
        int lsm_seen = -1;

        count[f] = find_sql(h, state, f, found, needs, s[f], &lsm_seen);
        if (count[f] == 0) {
            snprintf(state->why, sizeof state->why,
                     "%s: found lsm %d (sl says %d), ordinary %d (tl %d); promised %d and %d",
                     schemas[f], lsm_seen, found->content.rows[f][CM_SL][0],
                     found->content.plain[f], found->content.generation[f], needs[0], needs[1]);
            return false;
        }
    }
    if (cm->files < 2 || is_wal(cm))
        return true;
    for (int i = 0; i < count[0]; i++)
        for (int k = 0; k < count[1]; k++) {
            bool together = true;
            for (int n = 1; n < h->count && together; n++)
                if (h->txns[n].sql[0] && h->txns[n].sql[1] && !h->txns[n].dead)
                    together = (n <= s[0][i]) == (n <= s[1][k]);
            if (together)
                return true;
        }
    snprintf(state->why, sizeof state->why,
             "a transaction over two files is in one of them only (%d, %d)", s[0][0], s[1][0]);
    return false;
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
    const char *s = schemas[file], *name = table_name(table);
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
                  schemas[file], n, n))
            return false;
    }
    if (plain) {
        t->plain[file] = t->sql[file] = true;
        t->after.plain[file] = (uint16_t)n;
        if (!MUST(cm, conn, "UPDATE %s.mp SET n = %d", schemas[file], n))
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
    const char *s = schemas[file];

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
    return stat_of(file, "commits_solo") + stat_of(file, "aborts");
}

static bool finish(struct cm *cm, int conn, struct cm_txn *t, const char *text, int wanted)
{
    uint64_t before[CM_FILES];
    int rc;

    for (int f = 0; f < CM_FILES; f++)
        before[f] = solos(f);
    txn_commits(cm, t);
    rc = sql(cm, conn, "%s", text);
    /* One statement alone is not always solo: not while an earlier one is undecided. */
    for (int f = 0; f < CM_FILES; f++)
        if (t->lsm[f] && !t->sql[f] && !is_dead(cm) && solos(f) == before[f])
            t->sql[f] = true;
    if (rc != SQLITE_OK && cm->faults && !sqlite3_get_autocommit(cm->db[conn]))
        sql(cm, conn, "ROLLBACK");
    if (!want(cm, conn, rc, wanted, text))
        return false;
    if (rc == SQLITE_OK)
        txn_acked(cm, t, conn);
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
    struct cm_txn *t = txn_new(cm);
    char text[400];

    solo_text(cm, file, t, text, sizeof text);
    return finish(cm, conn, t, text, SQLITE_OK);
}

static bool step_joint(struct cm *cm, int conn, int file, bool several)
{
    struct cm_txn *t = txn_new(cm);

    return begin(cm, conn) && write_joint(cm, conn, file, t) &&
           (!several || (write_some(cm, conn, file, CM_SL, t) &&
                         write_some(cm, conn, file, tl_slot(cm, file), t))) &&
           finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_lsm_only(struct cm *cm, int conn, int file)
{
    struct cm_txn *t = txn_new(cm);

    return begin(cm, conn) && write_some(cm, conn, file, CM_SL, t) &&
           (draw(cm, 2) || write_some(cm, conn, file, tl_slot(cm, file), t)) &&
           write_number(cm, conn, file, t, true, false) && finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_plain(struct cm *cm, int conn, int file)
{
    struct cm_txn *t = txn_new(cm);

    return begin(cm, conn) && write_some(cm, conn, file, CM_PP, t) &&
           write_number(cm, conn, file, t, false, true) && finish(cm, conn, t, "COMMIT", SQLITE_OK);
}

static bool step_savepoint(struct cm *cm, int file)
{
    struct cm_txn *t = txn_new(cm);
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
    struct cm_txn *t = txn_new(cm);
    bool ok = begin(cm, 0) && write_joint(cm, 0, file, t) && MUST(cm, 0, "ROLLBACK");

    txn_dead(cm, t);
    return ok;
}

/* Another connection reads: rollback modes are BUSY in COMMIT; under WAL it must go on seeing what it
   saw. */
static bool step_busy(struct cm *cm, int file)
{
    struct cm_content before = cm->now;
    struct cm_txn *t = txn_new(cm);
    bool solo = draw(cm, 3) == 0, late = draw(cm, 2), ok;
    char text[400] = "COMMIT";
    int how = (int)draw(cm, 3);

    ok = MUST(cm, 1, "BEGIN; SELECT n FROM %s.mp", schemas[file]) &&
         (cm->files == 1 || MUST(cm, 1, "SELECT n FROM aux.mp; SELECT n FROM main.mp")) &&
         (late || is_seen(cm, 1, &before, "the reader, first"));
    if (ok && solo)
        solo_text(cm, file, t, text, sizeof text);
    else
        ok = ok && begin(cm, 0) && write_joint(cm, 0, file, t);
    if (!ok)
        return false;
    if (is_wal(cm)) {
        if (!finish(cm, 0, t, text, SQLITE_OK))
            return false;
        /* A reader that has read nothing of ours yet sees a solo that came after its BEGIN. */
        return is_seen(cm, 1, late && !t->sql[file] ? &cm->now : &before, "the reader") &&
               MUST(cm, 1, "COMMIT") && is_seen(cm, 1, &cm->now, "the reader, afterwards");
    }
    if (!finish(cm, 0, t, text, SQLITE_BUSY))
        return false;
    if (solo) {                 /* autocommit: it is rolled back */
        txn_dead(cm, t);
        return is_seen(cm, 1, &before, "the reader") && MUST(cm, 1, "COMMIT");
    }
    if (draw(cm, 2)) {          /* its own reads go on */
        struct cm_found found;
        ok = read_with(cm, 0, &found) && (is_equal(cm, &found, &t->after) ||
             fail(cm, "the writer does not see its own rows after BUSY"));
    }
    if (ok && how == 2)
        ok = write_some(cm, 0, file, CM_JL, t) && write_some(cm, 0, file, CM_SL, t);
    if (ok && how == 1) {
        ok = MUST(cm, 0, "ROLLBACK") && MUST(cm, 1, "COMMIT");
        txn_dead(cm, t);
        return ok;
    }
    return ok && MUST(cm, 1, "COMMIT") && finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_veto(struct cm *cm, int file)
{
    struct cm_txn *t = txn_new(cm);
    bool ok = true;
    char text[400] = "COMMIT";

    if (draw(cm, 2))
        solo_text(cm, file, t, text, sizeof text);
    else
        ok = begin(cm, 0) && write_joint(cm, 0, file, t);
    cm->veto = true;
    ok = ok && finish(cm, 0, t, text, SQLITE_CONSTRAINT);
    cm->veto = false;
    txn_dead(cm, t);
    return ok;
}

/* A table that joined the transaction before ours, so its callbacks come before ours: another
   connection reads in xSync, and runs a whole transaction between the main commit and our xCommit. */
static void run_gap(struct cm *cm, int kind)
{
    if (!cm->in_gap || is_dead(cm))
        return;
    if (kind == 1) {
        if (sql(cm, 1, "SELECT n FROM mp") == SQLITE_OK)    /* a full cache has locked readers out */
            is_seen(cm, 1, &cm->now, "another connection in xSync");
        return;
    }
    cm->in_gap = NULL;
    if (kind == 3)
        return;
    land(cm, cm->n);
    if (!is_seen(cm, 1, &cm->now, "another connection before xCommit"))
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
    struct cm_txn *t = txn_new(cm);
    bool ok = begin(cm, 0) && MUST(cm, 0, "DELETE FROM temp.gap WHERE 0") &&
              write_joint(cm, 0, file, t);

    cm->gap_kind = (int)draw(cm, 4);
    cm->in_gap = cm;
    ok = ok && finish(cm, 0, t, "COMMIT", SQLITE_OK);
    cm->in_gap = NULL;
    return ok && !cm->why[0];
}

static bool step_both_files(struct cm *cm)
{
    struct cm_txn *t = txn_new(cm);

    if (cm->files < 2)
        return step_joint(cm, 0, 0, false);
    return begin(cm, 0) && write_joint(cm, 0, 0, t) && write_joint(cm, 0, 1, t) &&
           finish(cm, 0, t, "COMMIT", SQLITE_OK);
}

static bool step_recreate(struct cm *cm, int file)
{
    const char *s = schemas[file];
    struct cm_txn *t;

    if (cm->now.generation[file] >= CM_TL)
        return step_plain(cm, 0, file);
    t = txn_new(cm);
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
    struct lsm_db *db = lsm_vtab_store_find(paths[file]);
    struct cm_history *h = cm->history;
    int rc;

    if (step == CM_COMPACT || !db || draw(cm, 3) == 0) {
        rc = sql(cm, 0, "INSERT INTO %s.sl(sl) VALUES('%s')", schemas[file],
                 step == CM_COMPACT ? "compact" : "flush");
        return (rc & 0xff) == SQLITE_BUSY || want(cm, 0, rc, SQLITE_OK, "flush or compact");
    }
    if (step == CM_WORK) {
        for (int i = 0; i < 4 && (rc = lsm_db_step(db)) == LSM_OK; i++)
            ;
    } else {
        rc = lsm_db_flush(db);
        if (rc == LSM_OK && !is_dead(cm)) {
            promise(cm, file, CM_KEPT_LSM, newest(h, h->count - 1, file, true, false));
            promise(cm, file, CM_KEPT_SQL, newest(h, h->count - 1, file, true, true));
        }
    }
    if (rc != LSM_OK && rc != LSM_DONE && rc != LSM_BUSY && !cm->faults)
        return fail(cm, "maintenance: %s: %.300s", lsm_code_name(rc), lsm_error_text());
    return true;
}

static bool step_checkpoint(struct cm *cm, int file)
{
    struct cm_history *h = cm->history;
    char query[100];
    int busy = 1, last;

    if (!is_wal(cm))
        return true;
    snprintf(query, sizeof query, "PRAGMA %s.wal_checkpoint(TRUNCATE)", schemas[file]);
    if (!read_int(cm, 0, query, &busy, NULL))
        return false;
    if (busy == 0 && !is_dead(cm)) {
        last = newest(h, h->count - 1, file, false, true);
        promise(cm, file, CM_KEPT_SQL, last);
        promise(cm, file, CM_KEPT_LSM, newest(h, last, file, true, true));
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
        if (!cm_step(cm, (enum cm_step)step) || is_dead(cm))
            return false;
    }
    return true;
}

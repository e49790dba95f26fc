/*
 * vtab_repair.c -- the ways out when a database and its directory do not fit:
 *
 *     lsm_repair()          the store is damaged: make a new one of what can be read, beside it
 *     lsm_accept()          say what is wrong and what each way out gives up; changes nothing
 *     lsm_accept('store')   they are of different moments: take the store's rows as they are
 *                           (also when the database's row about the store is lost)
 *     lsm_accept('empty')   the store is gone: every lsm table begins anew, without rows
 *
 * Whether any of it is needed says lsm_check() (vtab_check.c).
 *
 * Nothing on disk is removed or overwritten by any of them: lsm_repair writes a new
 * directory, 'store' one row of the database, 'empty' both where nothing was. Each is
 * decided by one commit of the database, under its write lock, on a connection of our
 * own; so a crash leaves the state before or after.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_machine.h"
#include "ext/vtab_token.h"

enum state {
    STATE_NONE,                 /* no lsm tables */
    STATE_FITS,
    STATE_OLDER, STATE_BEHIND,  /* database older than store; store behind database */
    STATE_MISSING, STATE_FOREIGN, STATE_DAMAGED,
    STATE_ROW_LOST,             /* lsmvtab_store or lsmvtab_redo is not as we made it */
    STATE_ALL_LOST              /* and there is no store either */
};

struct work {
    sqlite3 *db;                /* ours, with the write lock */
    struct lsm_vtab_conn conn;  /* stand-ins, so that the shadow tables' functions can be used */
    struct lsm_vtab_ctx ctx;
    struct lsm_vtab_store shadow;
    char *path;                 /* the directory */
    struct lsm_vtab_file file;
    struct lsm_owner owner;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token token;
    enum state state;
    struct lsm_vtab_store *shared;      /* open in this process already */
    struct lsm_db *store;       /* its, or one that we opened */
    struct lsm_token newest;    /* the store's own word */
    bool is_taken;              /* NONE: there are rows of another database where the store would be made */
    bool is_mixed;              /* OLDER, BEHIND: what the store says is its newest moment cannot be shown either */
    bool is_at_token;           /* ROW_LOST: newest is what the database says as well */
    int table_count, tree_count;        /* ROW_LOST, FITS: tables, and those that the store has */
    const char *at;             /* the table that each_table() has come to */
    char *dropped;              /* "t, u": those that the store has not */
    char *why;                  /* the engine's text */
    struct lsm_slice *names;    /* of trees, as the tables have them */
    size_t name_count;
};

static void work_clear(struct work *w)
{
    sqlite3_finalize(w->ctx.token_stmt);
    if (w->db)
        sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(w->db);
    if (w->shared)
        lsm_vtab_store_put(w->shared);
    else if (w->store)
        lsm_db_close(w->store);
    sqlite3_free(w->path);
    sqlite3_free(w->why);
    sqlite3_free(w->dropped);
    while (w->name_count > 0)
        sqlite3_free((void *)w->names[--w->name_count].data);
    sqlite3_free(w->names);
}

static struct lsm_options options_of(struct work *w)
{
    struct lsm_options options;

    lsm_options_init(&options);
    options.os = lsm_vtab_machine()->os;
    options.no_worker = true;
    options.file_mode = w->file.mode & 0666;
    options.owner = &w->owner;
    options.wait_for_token = true;
    return options;
}

/* ---- what is wrong -------------------------------------------------------------- */

static int settle_nothing(void *ctx, bool suspect)
{
    (void)ctx;
    (void)suspect;
    return LSM_BUSY;            /* nothing is flushed here */
}

static const struct lsm_host nobody = { .settle = settle_nothing };

/* A store in which nothing was ever written: what an interrupted lsm_accept('empty') leaves. One with records that
   only its own database can show to be committed is not. */
static bool is_blank(struct work *w, bool *is_other)
{
    struct lsm_options options = options_of(w);
    bool result;
    int rc;

    options.host = &nobody;
    options.read_only = true;
    rc = lsm_db_open(w->path, &options, &w->store);
    result = rc == LSM_OK && lsm_db_is_blank(w->store);
    *is_other = rc == LSM_OK && !result;
    lsm_db_close(w->store);
    w->store = NULL;
    return result;
}

/* Where only lsmvtab_redo is not as we made it, the token can be read, and shows what a killed process had committed last. */
static void publish_if_known(struct work *w)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    bool found = false;
    char *why = NULL;

    lsm_db_uuid(w->store, uuid);
    if (lsm_vtab_shadow_read(&w->ctx, &found, w->uuid, &w->token, &why) == SQLITE_OK && found
        && memcmp(uuid, w->uuid, sizeof(uuid)) == 0)
        w->is_at_token = lsm_db_publish_newest(w->store, &w->token) == LSM_OK;
    sqlite3_finalize(w->ctx.token_stmt);        /* the table may be made anew */
    w->ctx.token_stmt = NULL;
    sqlite3_free(why);
}

static int look_at_store(struct work *w, char **error)
{
    struct lsm_options options = options_of(w);
    int rc;

    options.uuid = w->state == STATE_ROW_LOST ? NULL : w->uuid;
    options.host = &nobody;
    w->shared = lsm_vtab_store_get(w->file.dev, w->file.ino);
    if (w->shared)
        w->store = w->shared->db;
    rc = w->store ? LSM_OK : lsm_db_open(w->path, &options, &w->store);
    if (w->state == STATE_ROW_LOST) {
        if (rc == LSM_OK)
            publish_if_known(w);
        if (rc == LSM_OK)
            rc = lsm_db_newest(w->store, &w->newest);
        if (rc == LSM_OK)
            lsm_db_uuid(w->store, w->uuid);
        if (rc == LSM_NOTFOUND) {
            w->state = STATE_ALL_LOST;
            return SQLITE_OK;
        }
        return rc == LSM_OK ? SQLITE_OK : lsm_vtab_error_engine(error, w->path, rc);
    }
    if (rc == LSM_OK) {
        rc = lsm_db_publish_newest(w->store, &w->token);
        if (rc == LSM_STALE) {  /* a power cut may have taken what the database carries */
            int redo_rc;

            w->shadow.db = w->store;
            redo_rc = lsm_vtab_redo_supply(&w->ctx, error);
            if (redo_rc != SQLITE_OK)
                return redo_rc;
            rc = lsm_db_publish_newest(w->store, &w->token);
        }
        if (rc == LSM_OK) {
            w->state = STATE_FITS;
            rc = lsm_db_check_files(w->store);
            if (rc != LSM_OK && rc != LSM_CORRUPT)
                return lsm_vtab_error_engine(error, w->path, rc);
        } else if (rc == LSM_STALE) {
            w->why = sqlite3_mprintf("%s", lsm_error_text());
            w->state = lsm_db_newest(w->store, &w->newest) == LSM_OK && w->token.txid < w->newest.txid
                           ? STATE_OLDER : STATE_BEHIND;
            w->is_mixed = !w->shared && lsm_db_publish_newest(w->store, &w->newest) != LSM_OK;
            return SQLITE_OK;
        }
    } else if (rc == LSM_NOTFOUND) {
        w->state = STATE_MISSING;
    } else if (rc == LSM_MISMATCH) {
        w->why = sqlite3_mprintf("%s", lsm_error_text());
        w->state = is_blank(w, &w->is_taken) ? STATE_MISSING : STATE_FOREIGN;
        return SQLITE_OK;
    }
    if (rc == LSM_CORRUPT)
        w->state = STATE_DAMAGED;
    else if (w->state == STATE_NONE)
        return lsm_vtab_error_engine(error, w->path, rc);
    w->why = rc == LSM_OK ? NULL : sqlite3_mprintf("%s", lsm_error_text());
    return SQLITE_OK;
}

/* Take the write lock and read what the database says. */
static int work_begin(struct work *w, struct lsm_vtab_conn *conn, const char *schema, char **error)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    const char *db_path = sqlite3_db_filename(conn->db, schema);
    sqlite3_vfs *vfs = NULL;
    int timeout_ms = 0;
    bool found;
    int rc;

    memset(w, 0, sizeof(*w));
    if (db_path == NULL)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "there is no database '%s' in this connection", schema);
    if (db_path[0] == '\0')
        return lsm_vtab_error_set(error, SQLITE_ERROR, "a database in memory has its store with it");
    if (sqlite3_txn_state(conn->db, schema) == SQLITE_TXN_WRITE)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "this connection is within a transaction that "
                                  "writes: commit or roll back first");
    if (machine->file_info(machine->ctx, db_path, &w->file) != 0)
        return lsm_vtab_error_set(error, SQLITE_CANTOPEN, "database file %s is gone", db_path);
    w->owner = (struct lsm_owner){ w->file.uid, w->file.gid };
    w->path = sqlite3_mprintf("%s-lsm", db_path);
    if (w->path == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_conn_timeout_ms(conn, &timeout_ms);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_file_control(conn->db, schema, SQLITE_FCNTL_VFS_POINTER, &vfs);
    rc = sqlite3_open_v2(db_path, &w->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE,
                         vfs ? vfs->zName : NULL);
    w->conn.db = w->db;
    w->ctx.conn = &w->conn;
    w->ctx.schema = "main";
    w->ctx.store = &w->shadow;
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(w->db, timeout_ms);
        rc = sqlite3_exec(w->db, "PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE", NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK)
        return w->db ? lsm_vtab_error_sqlite(error, w->db, "the database's write lock") : SQLITE_NOMEM;
    rc = lsm_vtab_shadow_verify(&w->ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_read(&w->ctx, &found, w->uuid, &w->token, error);
    return rc;
}

/* One commit of the database: which store it has, and at which token. */
static int write_row(struct work *w, const uint8_t uuid[LSM_VTAB_UUID_SIZE], const struct lsm_token *token,
                     char **error)
{
    int rc;

    memcpy(w->shadow.uuid, uuid, LSM_VTAB_UUID_SIZE);
    rc = lsm_vtab_shadow_write_token(&w->ctx, token, error);
    sqlite3_finalize(w->ctx.token_stmt);        /* a statement at work would keep the commit waiting */
    w->ctx.token_stmt = NULL;
    if (rc != SQLITE_OK)
        return rc;
    if (sqlite3_exec(w->db, "DELETE FROM main.lsmvtab_redo; COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return lsm_vtab_error_sqlite(error, w->db, "committing");
    return SQLITE_OK;
}

/* ---- lsm_accept ------------------------------------------------------------------ */

/* The lsm tables: "t, u"; and fn for each. */
static int each_table(struct work *w, int (*fn)(struct work *w, const uint8_t *uuid, char **error),
                      char **names, char **error)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    *names = sqlite3_mprintf("");
    if (*names == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_sql_prepare(w->db, &stmt,
                              "SELECT substr(name, 1, length(name) - 4) FROM main.sqlite_master "
                              "WHERE type = 'table' AND name LIKE '%%\\_lsm' ESCAPE '\\' AND rootpage > 0 "
                              "ORDER BY name");
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        uint8_t uuid[LSM_VTAB_UUID_SIZE];

        rc = SQLITE_OK;
        if (name == NULL || lsm_vtab_shadow_read_table(&w->ctx, name, NULL, uuid, NULL) != SQLITE_OK)
            continue;           /* somebody else's table of such a name */
        *names = sqlite3_mprintf("%z%s%s", *names, *names && **names ? ", " : "", name);
        if (*names == NULL)
            rc = SQLITE_NOMEM;
        w->at = name;
        if (rc == SQLITE_OK && fn)
            rc = fn(w, uuid, error);
    }
    if (rc == SQLITE_DONE)
        rc = SQLITE_OK;
    sqlite3_finalize(stmt);
    return rc;
}

static int count_tree(struct work *w, const uint8_t *uuid, char **error)
{
    struct lsm_tree *tree;
    char name[33];
    struct lsm_slice slice = { (const uint8_t *)name, 32 };

    (void)error;
    lsm_vtab_uuid_text(uuid, name);
    w->table_count++;
    if (w->store && lsm_tree_find(w->store, slice, &tree) == LSM_OK) {
        w->tree_count++;
        return SQLITE_OK;
    }
    w->dropped = sqlite3_mprintf("%z%s%s", w->dropped, w->dropped ? ", " : "", w->at);
    return w->dropped ? SQLITE_OK : SQLITE_NOMEM;
}

static int create_tree(struct work *w, const uint8_t *uuid, char **error)
{
    struct lsm_tree *tree;
    char name[33];
    struct lsm_slice slice = { (const uint8_t *)name, 32 };
    int rc;

    lsm_vtab_uuid_text(uuid, name);
    rc = lsm_tree_create(w->store, slice, NULL, &tree);
    return rc == LSM_OK || rc == LSM_EXISTS ? SQLITE_OK : lsm_vtab_error_engine(error, w->path, rc);
}

/* A store that has lost its database's word of a last transaction cannot tell whether it was committed (R15). */
#define LAST_ONE " What a process that was killed had committed last may be given up, too."

/* The transactions after `from` up to `to`. */
static const char *span(char text[64], uint64_t from, uint64_t to)
{
    if (to <= from)
        return "transactions that the store has not";
    if (to - from == 1)
        return sqlite3_snprintf(64, text, "transaction %llu", to);
    return sqlite3_snprintf(64, text, "transactions %llu to %llu", from + 1, to);
}

/* A copy was put over a directory that was not emptied, or files of several were mixed. */
#define MIXED "%s holds files of several moments (was a copy put over it?), and can be shown at none.\n" \
              "Best: empty or move it away, then bring back the directory of one moment, with the database of that moment"

/* What is wrong, and what can be done about it. */
static char *describe(const struct work *w, const char *names)
{
    long long at = (long long)w->token.txid, store = (long long)w->newest.txid;
    const char *rows = *names ? "every row of " : "nothing, there is no lsm table";
    const char *stay = *names ? "; the tables stay" : "";
    char uuid[33], text[64];

    lsm_vtab_uuid_text(w->uuid, uuid);
    if (w->is_mixed)
        return sqlite3_mprintf(MIXED ".\nlsm_repair() makes a new store of what can be read of all of them, beside it; it says "
                               "what is lost.", w->path);
    switch (w->state) {
    case STATE_NONE:
        return sqlite3_mprintf("the database has no lsm tables: there is nothing to accept%s%s%s",
                               w->is_taken ? ".\n" : "", w->is_taken ? w->path : "",
                               w->is_taken ? " holds rows of another database: bring that one back, or move the "
                                             "directory away before the first lsm table is made here" : "");
    case STATE_FITS:
        if (w->dropped)
            return sqlite3_mprintf(
                "database older than store: %s has no rows of %s any more: dropped after this moment of the database.\n"
                "Best: bring back the database and the directory of one moment.\n"
                "DROP TABLE takes what is left of it away. All else fits.", w->path, w->dropped);
        return sqlite3_mprintf("the database and %s belong together: there is nothing to accept. Every file is "
                               "there, of its size, with its head and its foot; SELECT lsm_check() reads them whole",
                               w->path);
    case STATE_OLDER:
        return sqlite3_mprintf(
            "database older than store: the database is at transaction %lld, %s at %lld.\n"
            "Best: bring back the database and the directory of one moment.\n"
            "lsm_accept('store') keeps the rows of lsm tables as they are in the store; ordinary tables stay as they "
            "are, without what %s wrote there (or more, where each went on without the other). Given up: that what "
            "belongs together is there on both sides or on neither." LAST_ONE,
            at, w->path, store, span(text, w->token.txid, w->newest.txid));
    case STATE_BEHIND:
        if (store >= at)
            return sqlite3_mprintf(
                "store behind database, each went on without the other: the database is at transaction %lld, %s at "
                "another %lld.\n"
                "Best: bring back the database and the directory of one moment.\n"
                "lsm_accept('store') keeps the rows of lsm tables as they are in the store, and those of ordinary tables "
                "as they are in the database. Given up: what either side has of transactions that the other has "
                "not." LAST_ONE, at, w->path, store);
        return sqlite3_mprintf(
            "store behind database: the database is at transaction %lld, %s at %lld.\n"
            "Best: bring back the database and the directory of one moment.\n"
            "lsm_accept('store') keeps the rows of lsm tables as they are in the store. Given up: what %s wrote into "
            "lsm tables (or more, where each went on without the other); what was written into ordinary tables "
            "stays." LAST_ONE, at, w->path, store, span(text, w->newest.txid, w->token.txid));
    case STATE_MISSING:
        return sqlite3_mprintf(
            "store %s is missing: there is none at %s.\n"
            "Best: bring back the directory that belongs to this database.\n"
            "lsm_accept('empty') makes an empty store. Given up: %s%s%s.",
            uuid, w->path, rows, names, stay);
    case STATE_FOREIGN:
        return sqlite3_mprintf(
            "foreign store: %s belongs to another database, not to this one (store %s).\n"
            "Best: move it away, and bring back the directory that belongs to this database.\n"
            "When it is moved away, lsm_accept('empty') makes an empty store. Given up then: %s%s%s.",
            w->path, uuid, rows, names, stay);
    case STATE_ALL_LOST:
        return sqlite3_mprintf(
            "%s\nAnd there is no store at %s.\n"
            "Best: bring back the database and the directory of one backup.\n"
            "lsm_accept('empty') makes lsmvtab_store and lsmvtab_redo anew, and an empty store. Given up: %s%s%s.",
            w->why, w->path, rows, names, stay);
    case STATE_ROW_LOST:
        if (w->tree_count < w->table_count || w->table_count == 0)
            return sqlite3_mprintf(
                "%s\nThe store %s has %d of %d tables (%s): it is not known to be this database's, so nothing can "
                "be accepted. Bring back the database and the directory of one backup.", w->why, w->path,
                w->tree_count, w->table_count, names);
        return sqlite3_mprintf(
            "%s\nThe store %s has all lsm tables of this database (%s): it is the one that belongs to it.\n"
            "Best: bring back the database and the directory of one backup.\n"
            "lsm_accept('store') makes lsmvtab_store and lsmvtab_redo anew, and drops what was put in their place or "
            "hung on them. Given up: %s; lsm tables are at transaction %lld.%s", w->why, w->path, names,
            w->is_at_token ? "nothing, both are of one moment" : "whether both are of one moment is not known then",
            (long long)w->newest.txid, w->is_at_token ? "" : LAST_ONE);
    default:
        return sqlite3_mprintf(
            "damaged store: %s\n"
            "Best: bring back the database and the directory of one backup.\n"
            "lsm_check() reads all of it and names what else is damaged, if the store can be opened.\n"
            "lsm_repair() makes a new store of what can be read, beside the damaged one, which stays as it "
            "is; it says what is lost.", w->why ? w->why : w->path);
    }
}

/* The same where lsmvtab_store and lsmvtab_redo must be made anew. */
static int make_rows(struct work *w, const uint8_t uuid[LSM_VTAB_UUID_SIZE], const struct lsm_token *token, char **error)
{
    int rc;

    memcpy(w->shadow.uuid, uuid, LSM_VTAB_UUID_SIZE);
    rc = lsm_vtab_shadow_mend_store(&w->ctx, token, error);
    if (rc == SQLITE_OK && sqlite3_exec(w->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        rc = lsm_vtab_error_sqlite(error, w->db, "committing");
    return rc;
}

static int accept_store(struct work *w, char **text, char **error)
{
    char spanned[64];
    int rc;

    if (w->state == STATE_ROW_LOST && w->table_count > 0 && w->tree_count == w->table_count) {
        rc = make_rows(w, w->uuid, &w->newest, error);
        if (rc == SQLITE_OK)
            *text = sqlite3_mprintf("accepted: lsmvtab_store is made anew, lsm tables are at transaction %lld",
                                    (long long)w->newest.txid);
        return rc;
    }
    if (w->is_mixed)
        return lsm_vtab_error_set(error, SQLITE_ERROR, MIXED "; nothing was changed", w->path);
    if (w->state != STATE_OLDER && w->state != STATE_BEHIND)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "lsm_accept('store') is for a database and a store "
                                  "of different moments; SELECT lsm_accept() says what is the case");
    rc = write_row(w, w->uuid, &w->newest, error);
    if (rc != SQLITE_OK)
        return rc;
    if (w->state == STATE_OLDER)
        *text = sqlite3_mprintf("accepted: lsm tables are at transaction %lld, ordinary tables at %lld",
                                (long long)w->newest.txid, (long long)w->token.txid);
    else
        *text = sqlite3_mprintf("accepted: what %s wrote into lsm tables is given up",
                                span(spanned, w->newest.txid, w->token.txid));
    return SQLITE_OK;
}

static int accept_empty(struct work *w, char **text, char **error)
{
    struct lsm_options options = options_of(w);
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token zero = { 0, { 0 } };
    char *names = NULL;
    int rc;

    /* One that an earlier try left is used. */
    if (w->state != STATE_MISSING && w->state != STATE_FOREIGN && w->state != STATE_ALL_LOST)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "lsm_accept('empty') is for a database whose store is "
                                  "gone; SELECT lsm_accept() says what is the case");
    if (w->shared)
        return lsm_vtab_error_set(error, SQLITE_BUSY, "this process has the store open: close its connections "
                                  "to the database first");
    options.create_if_missing = true;
    options.host = &nobody;
    rc = lsm_db_open(w->path, &options, &w->store);
    if (rc != LSM_OK)
        return lsm_vtab_error_engine(error, w->path, rc);
    if (!lsm_db_is_blank(w->store))
        return lsm_vtab_error_set(error, SQLITE_ERROR, "%s holds rows of another database: move it away "
                                  "first, nothing of it is removed here", w->path);
    lsm_db_uuid(w->store, uuid);
    rc = each_table(w, create_tree, &names, error);
    if (rc == SQLITE_OK)
        rc = w->state == STATE_ALL_LOST ? make_rows(w, uuid, &zero, error) : write_row(w, uuid, &zero, error);
    if (rc == SQLITE_OK)
        *text = sqlite3_mprintf("accepted: the store is empty; given up is %s%s", *names ? "every row of " : "nothing",
                                names);
    sqlite3_free(names);
    return rc;
}

static int run_accept(struct lsm_vtab_conn *conn, const char *what, const char *schema, char **text,
                      char **error)
{
    struct work w;
    char *names = NULL;
    int rc = work_begin(&w, conn, schema, error);

    if (rc == SQLITE_CORRUPT_VTAB) {    /* what is in the database about the store is not as we made it */
        char *advice = *error ? strstr(*error, " (SELECT lsm_accept()") : NULL;

        if (advice)
            *advice = '\0';    /* that is who answers */
        w.why = *error;
        *error = NULL;
        rc = SQLITE_OK;
        w.state = STATE_ROW_LOST;
    }
    if (rc == SQLITE_OK && (w.ctx.verified || w.state == STATE_ROW_LOST))
        rc = look_at_store(&w, error);
    else if (rc == SQLITE_OK)
        is_blank(&w, &w.is_taken);
    if (rc == SQLITE_OK && (w.state == STATE_ROW_LOST || w.state == STATE_FITS)) {
        rc = each_table(&w, count_tree, &names, error);
        sqlite3_free(names);
        names = NULL;
    }
    if (rc == SQLITE_OK && what && sqlite3_stricmp(what, "store") == 0) {
        rc = accept_store(&w, text, error);
    } else if (rc == SQLITE_OK && what && sqlite3_stricmp(what, "empty") == 0) {
        rc = accept_empty(&w, text, error);
    } else if (rc == SQLITE_OK && what) {
        rc = lsm_vtab_error_set(error, SQLITE_ERROR, "lsm_accept('%s'): there are 'store' and 'empty'; "
                                "SELECT lsm_accept() says what each gives up", what);
    } else if (rc == SQLITE_OK) {
        rc = each_table(&w, NULL, &names, error);
        if (rc == SQLITE_OK)
            *text = describe(&w, names ? names : "");
        sqlite3_free(names);
    }
    work_clear(&w);
    return rc;
}

/* ---- lsm_repair -------------------------------------------------------------------- */

struct report {
    sqlite3_str *text;
    int lines;
};

#define REPORT_LINES_MAX 100

static void add_line(void *pointer, const char *line)
{
    struct report *report = pointer;

    if (report->lines++ < REPORT_LINES_MAX)
        sqlite3_str_appendf(report->text, "\n%s", line);
}

static int add_name(struct work *w, const uint8_t *uuid, char **error)
{
    char text[33], *copy;
    struct lsm_slice *more = sqlite3_realloc64(w->names, (w->name_count + 1) * sizeof *more);

    (void)error;
    if (more == NULL)
        return SQLITE_NOMEM;
    w->names = more;
    lsm_vtab_uuid_text(uuid, text);
    copy = sqlite3_mprintf("%s", text);
    if (copy == NULL)
        return SQLITE_NOMEM;
    more[w->name_count++] = (struct lsm_slice){ (const uint8_t *)copy, 32 };
    return SQLITE_OK;
}

/* lsmvtab_store or lsmvtab_redo is not as we made it: what can be read of them is used, and the store's files know
   whose they are. */
static int repair_without_row(struct work *w, struct lsm_repair *how, bool *has_row, char **error)
{
    char *names = NULL, *why = NULL;
    bool found = false;
    int rc = each_table(w, NULL, &names, error);

    if (rc == SQLITE_OK && *names == '\0')
        rc = lsm_vtab_error_set(error, SQLITE_ERROR, "the database has no lsm tables");
    sqlite3_free(names);
    *has_row = rc == SQLITE_OK && lsm_vtab_shadow_read(&w->ctx, &found, w->uuid, &w->token, &why) == SQLITE_OK && found;
    sqlite3_free(why);
    if (!*has_row)
        how->token = NULL;
    return rc;
}

/* As a shell takes it: in quotes where it must be. */
static char *shell_word(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+,:@%";
    sqlite3_str *word;

    if (path[strspn(path, plain)] == '\0')
        return sqlite3_mprintf("%s", path);
    word = sqlite3_str_new(NULL);
    sqlite3_str_appendchar(word, 1, '\'');
    for (; *path; path++)
        if (*path == '\'')
            sqlite3_str_appendall(word, "'\\''");
        else
            sqlite3_str_appendchar(word, 1, *path);
    sqlite3_str_appendchar(word, 1, '\'');
    return sqlite3_str_finish(word);
}

/* "<path>-damaged", or a later one where there is one. */
static char *free_name(const char *path)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    struct lsm_vtab_file file;
    char *name = sqlite3_mprintf("%s-damaged", path);

    for (int i = 2; name && machine->file_info(machine->ctx, name, &file) == 0; i++) {
        sqlite3_free(name);
        name = sqlite3_mprintf("%s-damaged-%d", path, i);
    }
    return name;
}

static int run_repair(struct lsm_vtab_conn *conn, const char *schema, char **text, char **error)
{
    struct work w;
    struct report report = { NULL, 0 };
    struct lsm_repair how = { .token = &w.token, .report = add_line, .ctx = &report,
                              .note = { (const uint8_t *)LSM_VTAB_NOTE_NUMBER_TEXT, 1 } };
    struct lsm_token token;
    uint8_t *area = NULL;
    struct lsm_repair_info info;
    struct lsm_options options;
    char *to = NULL;
    bool is_lost, has_row = true;
    int rc = work_begin(&w, conn, schema, error);

    is_lost = rc == SQLITE_CORRUPT_VTAB || (rc == SQLITE_OK && !w.ctx.verified);
    if (is_lost) {
        sqlite3_free(*error);
        *error = NULL;
        rc = repair_without_row(&w, &how, &has_row, error);
    }
    if (rc == SQLITE_OK && has_row) {   /* a damaged row is no reason to repair nothing */
        char *why = NULL;

        if (lsm_vtab_redo_read(&w.ctx, &token, &area, &how.redo.size, &why) == SQLITE_OK && area)
            how.redo.data = area;
        else
            how.redo.size = 0;
        sqlite3_free(why);
    }
    if (rc == SQLITE_OK) {
        char *list = NULL;

        rc = each_table(&w, add_name, &list, error);
        sqlite3_free(list);
        how.names = w.names;
        how.name_count = w.name_count;
    }
    if (rc == SQLITE_OK) {
        to = sqlite3_mprintf("%s-repaired", w.path);
        report.text = sqlite3_str_new(w.db);
        options = options_of(&w);
        options.uuid = has_row ? w.uuid : NULL;
        rc = to ? lsm_db_repair(w.path, to, &options, &how, &info) : LSM_NOMEM;
        if (rc == LSM_NOTFOUND)
            rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "there is nothing of a store at %s: bring back the "
                                    "directory (SELECT lsm_accept() tells the ways out)", w.path);
        else if (rc != LSM_OK)
            rc = lsm_vtab_error_engine(error, w.path, rc);
    }
    if (rc == SQLITE_OK) {
        char *lines = sqlite3_str_finish(report.text), *aside = free_name(w.path);

        report.text = NULL;
        *text = !aside ? NULL : sqlite3_mprintf(
            "%s: %lld rows of %lld tables, from %lld table files and %lld logs; %lld files and %lld places "
            "(%lld bytes) could not be read, %lld transactions are lost, %lld were never committed, "
            "%lld rows%s of damaged tables are lost, and %lld whose values are%s%s\n"
            "%s is as it was. To use the new one: mv %z %z && mv %z %z%s",
            to, (long long)info.rows, (long long)info.trees, (long long)info.tables, (long long)info.logs,
            (long long)info.files_lost, (long long)info.places_lost, (long long)info.bytes_lost,
            (long long)info.records_lost, (long long)info.records_undecided, (long long)info.rows_lost,
            info.tables_uncounted ? " or more" : "", (long long)info.values_lost, lines ? lines : "",
            report.lines > REPORT_LINES_MAX ? "\n(and more)" : "", w.path, shell_word(w.path), shell_word(aside),
            shell_word(to), shell_word(w.path),
            is_lost ? ", then SELECT lsm_accept('store'), which makes lsmvtab_store and lsmvtab_redo anew" : "");
        sqlite3_free(lines);
        sqlite3_free(aside);
    }
    if (report.text)
        sqlite3_free(sqlite3_str_finish(report.text));
    sqlite3_free(area);
    sqlite3_free(to);
    work_clear(&w);
    return rc;
}

/* ---- the functions ------------------------------------------------------------------- */

/* lsm_accept([what [, schema]]) */
static void func_accept(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *what = argc > 0 ? (const char *)sqlite3_value_text(argv[0]) : NULL;
    const char *schema = argc > 1 ? (const char *)sqlite3_value_text(argv[1]) : "main";
    char *text = NULL, *error = NULL;
    int rc = run_accept(sqlite3_user_data(context), what, schema ? schema : "", &text, &error);

    lsm_vtab_conn_rest(sqlite3_user_data(context));
    lsm_vtab_error_answer(context, rc, text, error);
}

/* lsm_repair([schema]) */
static void func_repair(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *schema = argc > 0 ? (const char *)sqlite3_value_text(argv[0]) : "main";
    char *text = NULL, *error = NULL;
    int rc = run_repair(sqlite3_user_data(context), schema ? schema : "", &text, &error);

    lsm_vtab_conn_rest(sqlite3_user_data(context));
    lsm_vtab_error_answer(context, rc, text, error);
}

int lsm_vtab_repair_register(struct lsm_vtab_conn *conn)
{
    static const struct {
        const char *name;
        int argc;
        void (*fn)(sqlite3_context *context, int argc, sqlite3_value **argv);
    } functions[] = {
        { "lsm_accept", 0, func_accept }, { "lsm_accept", 1, func_accept }, { "lsm_accept", 2, func_accept },
        { "lsm_repair", 0, func_repair }, { "lsm_repair", 1, func_repair },
    };
    size_t i;
    int rc = SQLITE_OK;

    for (i = 0; i < sizeof(functions) / sizeof(functions[0]) && rc == SQLITE_OK; i++) {
        conn->ref_count++;      /* given back by the destructor, also when this fails */
        rc = sqlite3_create_function_v2(conn->db, functions[i].name, functions[i].argc,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, conn, functions[i].fn, NULL, NULL,
                                        lsm_vtab_conn_unref);
    }
    return rc;
}

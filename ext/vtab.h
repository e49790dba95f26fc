/*
 * vtab.h -- the structs that the files of ext/ share.
 *
 *     process      store  store                      one for each database file
 *                    |      |
 *     connection   conn --- ctx ctx ctx              one for each schema of a connection
 *                             |
 *     statement             table table              sqlite3_vtab objects, several of one
 *                             |                      table may be alive
 *                           cursor cursor
 *
 * Transactions, savepoints and snapshots belong to the ctx: SQLite calls every
 * object of every table with each event, and the first call does the work.
 *
 * Threads: a conn and all below it are guarded by the connection's own mutex,
 * which SQLite holds in every callback. Stores are shared by connections; their
 * registry has a mutex (vtab_conn.c).
 */
#ifndef LSM_EXT_VTAB_H
#define LSM_EXT_VTAB_H

#include <stdatomic.h>

#include "ext/vtab_range.h"
#include "ext/vtab_row.h"

SQLITE_EXTENSION_INIT3

#define LSM_VTAB_UUID_SIZE 16

/* ---- vtab_conn.c: stores and connections --------------------------------- */

/* An open store; shared. All fields but ref_count and opening are fixed once it is open. */
struct lsm_vtab_store {
    struct lsm_vtab_store *next;
    uint64_t dev, ino;          /* of the database file; what the registry goes by */
    bool in_memory;             /* private to one ctx, not in the registry */
    char *db_path;              /* the database file; "" in memory */
    char *path;                 /* the directory, "<db_path>-lsm" */
    char *vfs;                  /* the name of the VFS that the database was opened with */
    int ref_count;
    bool opening;               /* someone is in lsm_db_open() without the mutex */
    struct lsm_db *db;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    uint64_t drop_count;        /* DROPs seen; trees are swept when it passes sweep_count */
    uint64_t sweep_count;
    atomic_bool has_joint;      /* this process has committed one (vtab_txn.c); always in memory */
    atomic_bool settle_failed;  /* once: a later sync may lie about what it covers */
    atomic_int redo_slots;      /* rows of the redo area; negative: to be counted */
    atomic_int redo_wanted;     /* as many would be better; 0: no wish */

    /* Connections of one shared cache commit between two looks of each other, where no row is locked (vtab_pin.c). */
    struct lsm_vtab_ctx *ctxs;  /* on a file, that have it open; by store_next */
    atomic_bool is_shared;      /* two of them have one cache, or had: from here on tokens are read, which locks them */
    atomic_int unlocked;        /* contexts that read by a token which they knew */
};

/* A statement that got SQLITE_SCHEMA within BEGIN, and has not begun again (vtab_again.c). */
struct lsm_vtab_again {
    sqlite3_stmt *stmt;         /* NULL: there is none */
    int count;                  /* as often it had been compiled again */
    bool is_bereft;             /* SQLite rolled back its transaction meanwhile */
};

struct lsm_vtab_conn {
    struct lsm_vtab_conn *next; /* of the process */
    sqlite3 *db;
    bool is_registered;         /* all of the extension */
    int ref_count;              /* the modules registered with it */
    int table_count;            /* tables alive in all contexts */
    struct lsm_vtab_ctx *ctxs;
    int txn_count;              /* contexts with a transaction */
    sqlite3_stmt *pin_stmt;     /* vtab_pin.c: makes the companion take part */
    bool pin_joined;            /* the companion will tell the end of this transaction */
    bool is_query_only;         /* it could not when that was asked last */
    bool encoding_known, is_utf8;       /* PRAGMA encoding; of all schemas */
    sqlite3_value **delete_bounds;      /* while lsm_delete_range() runs its command: lo, hi */
    struct lsm_vtab_again again;
};

/* How the current transaction was prepared. */
enum lsm_vtab_prepared {
    LSM_VTAB_PREPARED_NOT = 0,
    LSM_VTAB_PREPARED_EMPTY = 1,
    LSM_VTAB_PREPARED_SOLO = 2,
    LSM_VTAB_PREPARED_JOINT = 3
};

struct lsm_vtab_mark {
    int savepoint;
    uint64_t position;          /* 0: where the transaction began */
    uint64_t write;             /* ctx->last_write there */
};

/* What a cursor has in sight of the transaction's own writes. */
struct lsm_vtab_sight {
    struct lsm_vtab_sight *next;
    uint64_t write;             /* the newest; 0: none, and not in the list */
    bool is_taken_back;         /* by a rollback, and the cursor could not be put right */
};

/* A table made in this transaction: it may vanish again without a callback. */
struct lsm_vtab_created {
    struct lsm_vtab_created *next;
    struct lsm_tree *tree;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    bool is_dropped;            /* and dropped in it: ROLLBACK TO may bring it back with its rows */
};

/* One schema (main, an attached file) of one connection. */
struct lsm_vtab_ctx {
    struct lsm_vtab_ctx *next;
    struct lsm_vtab_conn *conn;
    char *schema;
    char *db_path;              /* "" in memory */
    int table_count;
    struct lsm_vtab_store *store;       /* NULL until the first use */
    struct lsm_vtab_ctx *store_next;
    void *cache_file;           /* SQLite's object of the database file: one for each cache */
    bool verified;              /* the shadow objects are what we made */

    sqlite3_stmt *token_stmt;

    /* the token as this connection sees it (R18) */
    bool token_cached;
    bool token_read;            /* the newest look was at the row itself */
    uint32_t token_data_version;
    struct lsm_token token;

    /* what this connection reads (R19) */
    struct lsm_snapshot *pin;
    bool pin_explicit;          /* stays until the transaction ends, not the statement */
    bool pin_guessed;           /* the companion could not tell us the end */
    bool pin_unlocked;          /* counts in store->unlocked */
    struct lsm_token pin_token;
    int cursor_count;           /* cursors that have rows of a pin */
    uint64_t seq_viewed;        /* oldest state in sight of a cursor or pin; UINT64_MAX: none */

    /* the transaction */
    struct lsm_txn *txn;
    int joined_count;           /* table objects that take part, and the stand-in */
    bool has_stand_in;          /* the companion takes part for a table that was dropped */
    uint64_t generation;        /* grows with each transaction */
    struct lsm_token base;
    uint64_t begin_mark;
    uint64_t begin_seq;         /* what was published when it began */
    bool autocommit;            /* at xBegin */
    int64_t page_count;         /* pages touched by the connection, at xBegin (R5b) */
    sqlite3_stmt *writer;       /* the only writing statement at xBegin, else NULL */
    enum lsm_vtab_prepared prepared;
    bool token_written;         /* in this transaction, at least once */
    struct lsm_token prepared_token;    /* the newest one, when prepared is JOINT */
    bool settled;               /* the host's commit will be on disk when it returns (R8) */
    unsigned normal_left;       /* joint commits that need not ask what synchronous is: it was NORMAL */
    bool redo_grown;            /* rows were added to the redo area in this transaction */
    bool flush_later;           /* commands that wait for the end of this transaction, which decides */
    struct lsm_tree *compact_later;     /* what a crash left undecided; NULL: none */
    struct lsm_vtab_created *created;
    struct lsm_vtab_mark *marks;        /* ascending by savepoint */
    int mark_count, mark_capacity;      /* capacity stays above count: rollback cannot fail */
    struct lsm_cursor *spare_lsm;       /* of a cursor that was closed in it, for the next that is opened */
    int spare_writes;                   /* since then */
    uint64_t write_count;               /* writes ever, each has a number */
    uint64_t last_write;                /* the newest that the transaction still has; 0: none */
    struct lsm_vtab_sight *sights;      /* of cursors that see some of them */
};

/* Is the extension registered with this connection? */
bool lsm_vtab_conn_exists(sqlite3 *db);
/* The connection's object for module registration: a new one, and what a module's
   destructor calls. */
struct lsm_vtab_conn *lsm_vtab_conn_new(sqlite3 *db);
void lsm_vtab_conn_unref(void *conn);

/* The context of a schema; made when there is none. No I/O. NULL: out of memory. */
struct lsm_vtab_ctx *lsm_vtab_ctx_get(struct lsm_vtab_conn *conn, const char *schema);
void lsm_vtab_ctx_ref(struct lsm_vtab_ctx *ctx);        /* one table more */
/* One table less. With the last one go the prepared statements; a detached
   schema's context goes as a whole. */
void lsm_vtab_ctx_unref(struct lsm_vtab_ctx *ctx);

/*
 * Open the context's store, if it is not. Waits for another process as long as
 * busy_timeout says. Never creates. SQLITE_OK or an error with *error set.
 */
int lsm_vtab_ctx_open(struct lsm_vtab_ctx *ctx, char **error);
/* The same where the database has no store yet: makes one, or adopts what is left of a
   creation that was rolled back. */
int lsm_vtab_ctx_create(struct lsm_vtab_ctx *ctx, char **error);

/* The open store of a database file, with a reference for the caller; NULL: it is not open here. */
struct lsm_vtab_store *lsm_vtab_store_get(uint64_t dev, uint64_t ino);
void lsm_vtab_store_put(struct lsm_vtab_store *store);

/* The stores of the process, for lsm_debug(): one line each, from sqlite3_malloc. */
char *lsm_vtab_store_list(void);

/* Does text compare as its UTF-8 bytes? Not in a UTF-16 database; false also if an authorizer
   keeps it secret. A code of SQLite's. */
int lsm_vtab_conn_is_utf8(struct lsm_vtab_conn *conn, bool *is_utf8);

/* A function of ours is done: without tables no statement may be left, or the connection could not be
   closed. */
void lsm_vtab_conn_rest(struct lsm_vtab_conn *conn);

/* The statements at work. */
struct lsm_vtab_busy {
    int count, writer_count;    /* writers: those that may write */
    sqlite3_stmt *writer;       /* the only one; NULL: none or several */
};
struct lsm_vtab_busy lsm_vtab_conn_busy(sqlite3 *db);

/* PRAGMA busy_timeout of the connection, in milliseconds. A code of SQLite's. */
int lsm_vtab_conn_timeout_ms(struct lsm_vtab_conn *conn, int *timeout_ms);

/* ---- vtab_settle.c ------------------------------------------------------- */

/* struct lsm_host's settle: `store` is a struct lsm_vtab_store. */
int lsm_vtab_settle(void *store, bool suspect);
void lsm_vtab_write_back(void *store);

/* ---- vtab_error.c -------------------------------------------------------- */

/* The only map from the engine's codes to SQLite's. */
int lsm_vtab_error_code(int lsm_rc);
/* Set *error to the engine's text for this thread, with the store's path if that says no more than a
   file's name (NULL: none), and return the mapped code. */
int lsm_vtab_error_engine(char **error, const char *path, int lsm_rc);
/* SQLITE_BUSY_SNAPSHOT: the table is gone for everybody but this transaction's snapshot. */
int lsm_vtab_error_dropped(char **error, const char *table);
/* Set *error and return `code`. */
int lsm_vtab_error_set(char **error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Answer an SQL function with `text`, or with the failure. Both are sqlite3_malloc's and go. */
void lsm_vtab_error_answer(sqlite3_context *context, int rc, char *text, char *error);
/* Set *error from the connection's last failure and return its extended code. */
int lsm_vtab_error_sqlite(char **error, sqlite3 *db, const char *what);

/* ---- vtab_shadow.c: what we keep in the database ------------------------- */

/* Run SQL; sqlite3_mprintf's formats. */
int lsm_vtab_sql_run(sqlite3 *db, char **error, const char *format, ...);
/* Prepare a statement. */
int lsm_vtab_sql_prepare(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...);
/* Prepare one that is kept in *stmt, which becomes NULL also when the application finalizes it: it may
   find it with sqlite3_next_stmt(). sqlite3_finalize(*stmt) is enough, then. The SQL has one parameter, which is NULL. */
int lsm_vtab_sql_keep(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...);
/* The first row of a PRAGMA; SQLITE_DONE: it has none (an authorizer may see to that). Not kept: SQLite
   compiles one anew each time in any case. */
int lsm_vtab_sql_pragma(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...);

/* In a shared cache any connection's ROLLBACK takes the place of a blob that is open: SQLITE_ABORT, and it is opened anew. */
#define LSM_VTAB_BLOB_TRIES 1000

/* Check that the store's objects in the database are exactly those that we make. */
int lsm_vtab_shadow_verify(struct lsm_vtab_ctx *ctx, char **error);
int lsm_vtab_shadow_has_store(struct lsm_vtab_ctx *ctx, bool *found, char **error);
/* Read UUID and token as the connection sees them. *found false: there is no such table. */
int lsm_vtab_shadow_read(struct lsm_vtab_ctx *ctx, bool *found, uint8_t uuid[LSM_VTAB_UUID_SIZE],
                         struct lsm_token *token, char **error);
/* Has the database another token now than `token`, which this connection read? SQLITE_BUSY: nobody can look. */
int lsm_vtab_shadow_is_old(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, bool *is_old);
/* The same of another connection's main database, which has no module of ours. */
int lsm_vtab_shadow_read_main(sqlite3 *db, uint8_t uuid[LSM_VTAB_UUID_SIZE], struct lsm_token *token,
                              char **error);
/* Write the token, and read it back. */
int lsm_vtab_shadow_write_token(struct lsm_vtab_ctx *ctx, const struct lsm_token *token,
                                char **error);
/* Make the store's objects with a zero token. */
int lsm_vtab_shadow_create_store(struct lsm_vtab_ctx *ctx, char **error);
/* The same over whatever stands under these names, with this token: what is not ours goes. */
int lsm_vtab_shadow_mend_store(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error);
int lsm_vtab_shadow_create_table(struct lsm_vtab_ctx *ctx, const char *table,
                                 const uint8_t uuid[LSM_VTAB_UUID_SIZE], const char *canonical,
                                 char **error);
/* Read a table's UUID and compare its declaration with `canonical` (NULL: do not). */
int lsm_vtab_shadow_read_table(struct lsm_vtab_ctx *ctx, const char *table, const char *canonical,
                               uint8_t uuid[LSM_VTAB_UUID_SIZE], char **error);
/* Is this UUID the one of a table that exists now? */
int lsm_vtab_shadow_has_uuid(struct lsm_vtab_ctx *ctx, const uint8_t uuid[LSM_VTAB_UUID_SIZE],
                             bool *found);
int lsm_vtab_shadow_drop_table(struct lsm_vtab_ctx *ctx, const char *table, char **error);
int lsm_vtab_shadow_rename_table(struct lsm_vtab_ctx *ctx, const char *from, const char *to,
                                 char **error);
void lsm_vtab_uuid_text(const uint8_t uuid[LSM_VTAB_UUID_SIZE], char text[33]);

/* ---- vtab_redo.c: records that the database carries ----------------------- */

/* Bytes of the redo area that this transaction can write to. */
int lsm_vtab_redo_room(struct lsm_vtab_ctx *ctx, uint64_t *room, char **error);
/* Enlarge it if that is wanted: within a statement of the user that has an end of its own. */
int lsm_vtab_redo_grow(struct lsm_vtab_ctx *ctx, char **error);
/* Write what the prepared transaction is carried by. *is_written false: it cannot be; prepare
   again without it. */
int lsm_vtab_redo_write(struct lsm_vtab_ctx *ctx, bool *is_written, char **error);
/* The store lacks what the token proves: give it the area that stands beside it. */
int lsm_vtab_redo_supply(struct lsm_vtab_ctx *ctx, char **error);
/* All rows of the area as one, and the token beside them; from sqlite3_malloc. NULL: there are none. */
int lsm_vtab_redo_read(struct lsm_vtab_ctx *ctx, struct lsm_token *token, uint8_t **area, size_t *size,
                       char **error);
/* The transaction is over. */
void lsm_vtab_redo_end(struct lsm_vtab_ctx *ctx);

/* ---- vtab_pin.c: what a statement sees ----------------------------------- */

/* The read that a statement of this connection makes now. */
int lsm_vtab_pin_read(struct lsm_vtab_ctx *ctx, struct lsm_read *read, char **error);
/* Does another connection, perhaps of the same shared cache, read by a token that no lock keeps as it is? Then nothing may
   be committed to both stores: it would see half. */
bool lsm_vtab_pin_is_in_the_way(struct lsm_vtab_ctx *ctx);
/* A cursor begins or ends to hold rows. */
void lsm_vtab_pin_cursor_begin(struct lsm_vtab_ctx *ctx);
void lsm_vtab_pin_cursor_end(struct lsm_vtab_ctx *ctx);
/* Behind an LSM_STALE for `token` that the redo area does not explain: the error that it is. Never SQLITE_OK. */
int lsm_vtab_pin_stale(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error);
/* This connection's transaction is over, or its statement wrote and committed. */
void lsm_vtab_pin_end(struct lsm_vtab_ctx *ctx);
/* Register the companion module. */
int lsm_vtab_pin_register(struct lsm_vtab_conn *conn);
/* Make the companion take part in the context's transaction as its tables do, for one that goes. */
int lsm_vtab_pin_stand_in(struct lsm_vtab_ctx *ctx, char **error);
/* The newest committed token in the connection's own snapshot: within its transaction, that at its begin. */
int lsm_vtab_pin_token(struct lsm_vtab_ctx *ctx, struct lsm_token *token, char **error);

/* ---- vtab_txn.c ----------------------------------------------------------- */

struct lsm_vtab_table;

/* Before the first write of a statement: begin the context's transaction if there is none. */
int lsm_vtab_txn_begin(struct lsm_vtab_table *table);
/* A write follows: what was prepared is no longer the whole. */
static inline void lsm_vtab_txn_touch(struct lsm_vtab_ctx *ctx)
{
    ctx->prepared = LSM_VTAB_PREPARED_NOT;
}
/* The table will be dropped: what the transaction holds must hear of its end all the same. */
int lsm_vtab_txn_prepare_drop(struct lsm_vtab_table *table, char **error);
/* The table object goes; it takes part no longer. */
void lsm_vtab_txn_leave(struct lsm_vtab_table *table);
/* Remember a table that was made in this transaction, which is begun if there is none. */
int lsm_vtab_txn_created(struct lsm_vtab_table *table, char **error);
/* Give up what is left of a transaction. */
void lsm_vtab_txn_end(struct lsm_vtab_ctx *ctx, bool commit);

/* A cursor reads from here on, and does not any more. */
void lsm_vtab_sight_begin(struct lsm_vtab_ctx *ctx, struct lsm_vtab_sight *sight);
void lsm_vtab_sight_end(struct lsm_vtab_ctx *ctx, struct lsm_vtab_sight *sight);

/* What the methods do, once for the context. */
int lsm_vtab_txn_sync(struct lsm_vtab_ctx *ctx, char **error);
int lsm_vtab_txn_savepoint(struct lsm_vtab_ctx *ctx, int savepoint);
void lsm_vtab_txn_release(struct lsm_vtab_ctx *ctx, int savepoint);
void lsm_vtab_txn_rollback_to(struct lsm_vtab_ctx *ctx, int savepoint);

/* the module's methods */
int lsm_vtab_txn_xbegin(sqlite3_vtab *vtab);
int lsm_vtab_txn_xsync(sqlite3_vtab *vtab);
int lsm_vtab_txn_xcommit(sqlite3_vtab *vtab);
int lsm_vtab_txn_xrollback(sqlite3_vtab *vtab);
int lsm_vtab_txn_xsavepoint(sqlite3_vtab *vtab, int savepoint);
int lsm_vtab_txn_xrelease(sqlite3_vtab *vtab, int savepoint);
int lsm_vtab_txn_xrollbackto(sqlite3_vtab *vtab, int savepoint);

/* ---- tables ---------------------------------------------------------------- */

/* Text in key columns without a numeric affinity that is a number (vtab_note.c). */
enum lsm_vtab_number_text {
    LSM_VTAB_NUMBER_TEXT_NONE = 0,
    LSM_VTAB_NUMBER_TEXT_INTEGERS = 1,  /* as they are printed */
    LSM_VTAB_NUMBER_TEXT_ANY = 2
};

struct lsm_vtab_table {
    sqlite3_vtab base;          /* first: SQLite's view */
    struct lsm_vtab_ctx *ctx;
    struct lsm_vtab_schema *schema;
    char *name;
    struct lsm_tree *tree;      /* NULL until the first use */
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    bool joined;                /* takes part in the ctx's transaction */
    sqlite3_vtab_cursor *spare_cursor;  /* a closed one, for the next xOpen */

    /* xUpdate's own: kept from row to row */
    struct lsm_vtab_value *values;
    char (*default_text)[32];   /* rendered DEFAULTs, one for each column */
    struct lsm_vtab_buf key, old_key, row;
    struct lsm_vtab_row old_row;        /* schema NULL until it is needed */
    enum lsm_vtab_number_text number_text_noted;        /* that the tree has committed, as far as is known */
    bool no_guess;              /* a guess that one key is one row was wrong: none any more */
    uint32_t not_guessed_count; /* reads by statements that were compiled before there was a guess */
};

/* Find the table's tree; opens the store. */
int lsm_vtab_table_open(struct lsm_vtab_table *table, char **error);

/* ---- vtab_plan.c ----------------------------------------------------------- */

#define LSM_VTAB_PLAN_TERM_MAX 64

/*
 * One access to a table, as xBestIndex hands it to xFilter in idxStr:
 *
 *     plan  := term* ["D"] ["K"] ["U" | "u"]
 *     term  := op part            one for each argument of xFilter, in their order
 *     op    := "=" EQ  "i" IN, all values at once  "s" IS  "n" IS NULL
 *              ">" GT  "]" GE  "<" LT  "[" LE  "g" begins with (GLOB)
 *     part  := the key column, decimal, and "p" if the right-hand side is known to be
 *              text or blob without affinity, and "o" if ORDER BY relies on its being one value
 *     D     := descending        K := only key columns are asked for
 *     U     := SQLite was told of one row at most, because no key is a text like '12': xFilter must see
 *     u     := it was not told, but may be later
 */
struct lsm_vtab_plan_term {
    char op;
    int part;
    bool plain, ordered;
};

struct lsm_vtab_plan {
    struct lsm_vtab_plan_term terms[LSM_VTAB_PLAN_TERM_MAX];
    int term_count;
    bool desc, key_only, guessed_unique, not_guessed;
};

int lsm_vtab_plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);
/* Is each key one row whatever it is compared with, as far as the table's keys tell now? */
bool lsm_vtab_plan_guesses(const struct lsm_vtab_table *table);
/* False: not a plan (our bug). */
bool lsm_vtab_plan_decode(const char *text, int argc, struct lsm_vtab_plan *plan);

/* ---- vtab_again.c: statements that are compiled again --------------------------- */

/*
 * A key was guessed to be one row, and may be several. SQLITE_SCHEMA, for xFilter: the statement will be compiled again.
 * SQLITE_OK: it cannot be. *takes_each: it takes each row that comes, but may rely on one row or on its order; else it
 * may be an UPDATE or DELETE that looks at one only. Or why it failed.
 */
int lsm_vtab_again_guess(struct lsm_vtab_table *table, bool *takes_each);
/*
 * The statement was compiled when nothing was known of the table's keys, and collects its rows in a table of its own: half of
 * what an UPDATE of one row costs. SQLITE_SCHEMA: it is worth compiling again. Asked now and then, each time after twice as
 * many reads, so that it costs nothing and cannot go on for ever. Within BEGIN only: outside it SQLite would tell a rollback hook.
 */
int lsm_vtab_again_not_guessed(struct lsm_vtab_table *table);
/* xRollback came. */
void lsm_vtab_again_rolled_back(struct lsm_vtab_conn *conn);
/* At xBegin: is this the statement that is compiled again, and its transaction is gone? */
bool lsm_vtab_again_is_bereft(struct lsm_vtab_conn *conn);
/* A statement got to xFilter. */
static inline void lsm_vtab_again_began(struct lsm_vtab_conn *conn)
{
    conn->again.stmt = NULL;
    conn->again.is_bereft = false;
}

/* ---- vtab_cursor.c, vtab_update.c ------------------------------------------ */

int lsm_vtab_cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor);
int lsm_vtab_cursor_close(sqlite3_vtab_cursor *cursor);
void lsm_vtab_cursor_free_spare(struct lsm_vtab_table *table);
/* The engine's cursor that the transaction keeps goes. */
void lsm_vtab_cursor_drop_lsm(struct lsm_vtab_ctx *ctx);
/* The transaction writes a row: what a spare cursor holds must not stay beside many. */
void lsm_vtab_cursor_wrote(struct lsm_vtab_ctx *ctx);
/* The transaction's writes behind this one are taken back: before, and after it. `txn` is what is left
   of it, or NULL. */
void lsm_vtab_cursor_take_back(struct lsm_vtab_ctx *ctx, uint64_t write);
void lsm_vtab_cursor_put_right(struct lsm_vtab_ctx *ctx, const struct lsm_txn *txn, uint64_t write);
int lsm_vtab_cursor_filter(sqlite3_vtab_cursor *cursor, int plan_number, const char *plan_text,
                           int argc, sqlite3_value **argv);
int lsm_vtab_cursor_next(sqlite3_vtab_cursor *cursor);
int lsm_vtab_cursor_eof(sqlite3_vtab_cursor *cursor);
int lsm_vtab_cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column);
int lsm_vtab_cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid);

int lsm_vtab_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid);

/* ---- vtab_note.c ----------------------------------------------------------- */

/*
 * Keys below every row, one byte each: notes about a tree that are as
 * transactional as its rows. No row's key begins with a byte below 11.
 */
#define LSM_VTAB_NOTE_NUMBER_TEXT "\x01"        /* a key column may hold text like '12' */
#define LSM_VTAB_ROW_LOWEST "\x02"              /* rows begin here */

/* These give codes of the engine's. What a read sees; the table is open. */
int lsm_vtab_note_read(const struct lsm_vtab_table *table, const struct lsm_read *read, enum lsm_vtab_number_text *level);
/* What has to be noted before a row with these values comes; NONE: nothing, it is known to be noted. */
enum lsm_vtab_number_text lsm_vtab_note_needed(const struct lsm_vtab_table *table, const struct lsm_vtab_value *row);
/* Note it in the transaction, unless it stands there. `own`: what the transaction sees. */
int lsm_vtab_note_write(struct lsm_vtab_table *table, const struct lsm_read *own, enum lsm_vtab_number_text needed);

/* ---- vtab_stat.c ----------------------------------------------------------- */

/* Find the lsm table that a function's argument names, 'kv' or 'schema.kv', as it is spelt in its schema;
   both from sqlite3_malloc. */
int lsm_vtab_find_table(struct lsm_vtab_conn *conn, const char *argument, char **schema, char **table,
                        char **error);

/* ---- registration ----------------------------------------------------------- */

int lsm_vtab_module_register(struct lsm_vtab_conn *conn);
int lsm_vtab_stat_register(struct lsm_vtab_conn *conn);
int lsm_vtab_func_register(struct lsm_vtab_conn *conn);
int lsm_vtab_backup_register(struct lsm_vtab_conn *conn);
int lsm_vtab_repair_register(struct lsm_vtab_conn *conn);
int lsm_vtab_check_register(struct lsm_vtab_conn *conn);

#endif

/*
 * vtab_redo.c -- the redo area: rows of the database that hold what the store's log may
 * lose (commit.md R7; lsm.h says what is written there and why).
 *
 *     lsmvtab_redo(slot, data)    slot 1, 2, ...: the area's bytes, SLOT_BYTES a row
 *
 * Rows of a fixed size, written through sqlite3_blob, rather than one for each record: an
 * INSERT or a DELETE within COMMIT would change the user's changes() and total_changes(),
 * and the area's pages are used again as they are. It begins without a row and is doubled
 * when a transaction would have been carried with more room, or half of it is used: inside a
 * statement of the user, whose own end sets changes(), so the next one has it. Where the database may have
 * no more pages the log is synced.
 *
 * Threads: a context's belong to its connection; the counts in the store are shared.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_machine.h"

#define SLOT_BYTES 65536
#define SLOT_COUNT_MAX 16
_Static_assert(SLOT_BYTES * SLOT_COUNT_MAX == LSM_REDO_ROOM_MAX, "the area is as large as may be");

static int slot_bytes(void)
{
    int bytes = lsm_vtab_machine()->redo_slot_bytes;

    return bytes > 0 ? bytes : SLOT_BYTES;
}

/* Slots that this connection's transaction can write to; read once, and after each change. */
static int slot_count(struct lsm_vtab_ctx *ctx, int *count, char **error)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    *count = atomic_load(&ctx->store->redo_slots);
    if (*count >= 0)
        return SQLITE_OK;
    rc = lsm_vtab_sql_prepare(ctx->conn->db, &stmt, "SELECT max(slot) FROM \"%w\".lsmvtab_redo",
                              ctx->schema);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_int64 most = sqlite3_column_int64(stmt, 0);

        *count = most < 0 || most > SLOT_COUNT_MAX ? 0 : (int)most;
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        rc = lsm_vtab_error_sqlite(error, ctx->conn->db, "reading lsmvtab_redo");
    sqlite3_finalize(stmt);
    if (rc == SQLITE_OK)
        atomic_store(&ctx->store->redo_slots, *count);
    return rc;
}

int lsm_vtab_redo_room(struct lsm_vtab_ctx *ctx, uint64_t *room, char **error)
{
    int count, rc;

    *room = 0;
    if (lsm_vtab_machine()->redo_slot_bytes < 0)
        return SQLITE_OK;
    rc = slot_count(ctx, &count, error);
    *room = rc == SQLITE_OK ? (uint64_t)count * (unsigned)slot_bytes() : 0;
    return rc;
}

/* PRAGMA `name` of the database; -1: an authorizer does not let it be asked. */
static int ask(struct lsm_vtab_ctx *ctx, const char *name, sqlite3_int64 *value, char **error)
{
    sqlite3_stmt *stmt;
    int rc = lsm_vtab_sql_pragma(ctx->conn->db, &stmt, "PRAGMA \"%w\".%s", ctx->schema, name);

    *value = rc == SQLITE_OK ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    if (rc == SQLITE_OK || rc == SQLITE_AUTH || rc == SQLITE_DONE)
        return SQLITE_OK;
    return lsm_vtab_error_sqlite(error, ctx->conn->db, name);
}

/* May the database have so many more pages? One beyond PRAGMA max_page_count would fail the user's statement, for what
   a sync of the log does as well. */
static int has_pages(struct lsm_vtab_ctx *ctx, int slots, bool *has, char **error)
{
    sqlite3_int64 max, count, free_count, page_size;
    int rc = ask(ctx, "max_page_count", &max, error);

    if (rc == SQLITE_OK)
        rc = ask(ctx, "page_count", &count, error);
    if (rc == SQLITE_OK)
        rc = ask(ctx, "freelist_count", &free_count, error);
    if (rc == SQLITE_OK)
        rc = ask(ctx, "page_size", &page_size, error);
    if (rc != SQLITE_OK)
        return rc;
    *has = max < 0 || page_size < 0
           || slots * (slot_bytes() / (page_size - 4) + 2) + 4 <= max - count + free_count;    /* and the b-tree's */
    return SQLITE_OK;
}

static int add_slots(struct lsm_vtab_ctx *ctx, int from, int to, char **error)
{
    sqlite3 *db = ctx->conn->db;
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(db);
    int rc;

    ctx->redo_grown = true;
    rc = lsm_vtab_sql_run(db, error,
                          "WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM c "
                          "WHERE i < %d) INSERT INTO \"%w\".lsmvtab_redo "
                          "SELECT i, zeroblob(%d) FROM c", from + 1, to, ctx->schema, slot_bytes());
    sqlite3_set_last_insert_rowid(db, rowid);
    if (rc == SQLITE_OK) {
        atomic_store(&ctx->store->redo_slots, to);
    } else if ((rc & 0xff) == SQLITE_AUTH) {    /* then the log is synced, as before */
        atomic_store(&ctx->store->redo_wanted, 0);
        if (error) {
            sqlite3_free(*error);
            *error = NULL;
        }
        rc = SQLITE_OK;
    }
    return rc;
}

int lsm_vtab_redo_grow(struct lsm_vtab_ctx *ctx, char **error)
{
    int wanted = atomic_load(&ctx->store->redo_wanted), count;
    bool has = false;
    int rc;

    if (wanted == 0)
        return SQLITE_OK;
    rc = slot_count(ctx, &count, error);
    if (rc != SQLITE_OK || wanted <= count)
        return rc;
    rc = has_pages(ctx, wanted - count, &has, error);
    if (rc == SQLITE_OK && has)
        return add_slots(ctx, count, wanted, error);
    if (rc == SQLITE_OK)
        atomic_store(&ctx->store->redo_wanted, 0);      /* until another transaction would be carried with more */
    return rc;
}

void lsm_vtab_redo_end(struct lsm_vtab_ctx *ctx)
{
    if (ctx->redo_grown)        /* committed, rolled back, or rolled back to before it: look */
        atomic_store(&ctx->store->redo_slots, -1);
    ctx->redo_grown = false;
}

static void want_more(struct lsm_vtab_ctx *ctx, uint64_t room)
{
    int count = atomic_load(&ctx->store->redo_slots);

    if (lsm_vtab_machine()->redo_slot_bytes >= 0 && room > 0 && count >= 0 && count < SLOT_COUNT_MAX)
        atomic_store(&ctx->store->redo_wanted, count ? 2 * count : 1);
}

int lsm_vtab_redo_write(struct lsm_vtab_ctx *ctx, bool *is_written, char **error)
{
    struct lsm_redo redo;
    sqlite3_blob *blob = NULL;
    size_t done = 0;
    int rc = SQLITE_OK;
    int close_rc, tries = 0;

    lsm_txn_redo(ctx->txn, &redo);
    *is_written = true;
    if (ctx->created == NULL)
        want_more(ctx, redo.room_wanted);
    if (redo.bytes.size == 0)
        return SQLITE_OK;
    while (rc == SQLITE_OK && done < redo.bytes.size) {
        uint64_t off = redo.off + done;
        int slot = (int)(off / (unsigned)slot_bytes()) + 1;
        int at = (int)(off % (unsigned)slot_bytes());
        int size = slot_bytes() - at;

        if ((size_t)size > redo.bytes.size - done)
            size = (int)(redo.bytes.size - done);
        rc = blob ? sqlite3_blob_reopen(blob, slot)
                  : sqlite3_blob_open(ctx->conn->db, ctx->schema, "lsmvtab_redo", "data", slot, 1,
                                      &blob);
        if (rc == SQLITE_ERROR || (rc == SQLITE_OK && sqlite3_blob_bytes(blob) != slot_bytes())) {
            /* The row went with a savepoint that was rolled back, or is not as we made it. */
            atomic_store(&ctx->store->redo_slots, -1);
            *is_written = false;
            break;
        }
        if (rc == SQLITE_OK)
            rc = sqlite3_blob_write(blob, redo.bytes.data + done, size, at);
        if (rc == SQLITE_ABORT && tries++ < LSM_VTAB_BLOB_TRIES) {
            sqlite3_blob_close(blob);
            blob = NULL;
            rc = SQLITE_OK;
            continue;
        }
        done += (size_t)size;
    }
    close_rc = sqlite3_blob_close(blob);
    if (!*is_written)
        return SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = close_rc;
    return rc == SQLITE_OK ? rc : lsm_vtab_error_set(error, rc, "writing to %s.lsmvtab_redo: %s",
                                                     ctx->schema, sqlite3_errstr(rc));
}

/* All rows as one area; rows that are missing are zeros. The statement keeps the snapshot. */
static int read_area(struct lsm_vtab_ctx *ctx, sqlite3_stmt *stmt, uint8_t *area, char **error)
{
    int rc;

    do {
        sqlite3_int64 slot = sqlite3_column_int64(stmt, 0);

        if (slot < 1 || slot > SLOT_COUNT_MAX || sqlite3_column_type(stmt, 1) != SQLITE_BLOB
            || sqlite3_column_bytes(stmt, 1) != slot_bytes())
            return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                      "a row of %s.lsmvtab_redo is damaged", ctx->schema);
        memcpy(area + (slot - 1) * slot_bytes(), sqlite3_column_blob(stmt, 1),
               (size_t)slot_bytes());
    } while ((rc = sqlite3_step(stmt)) == SQLITE_ROW);
    return rc == SQLITE_DONE ? SQLITE_OK
                             : lsm_vtab_error_sqlite(error, ctx->conn->db, "reading lsmvtab_redo");
}

int lsm_vtab_redo_read(struct lsm_vtab_ctx *ctx, struct lsm_token *token, uint8_t **area, size_t *size,
                       char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    sqlite3_stmt *stmt = NULL;
    bool found = false;
    int rc;

    *area = NULL;
    *size = (size_t)slot_bytes() * SLOT_COUNT_MAX;
    rc = lsm_vtab_shadow_verify(ctx, error);
    if (rc != SQLITE_OK)
        return rc;
    rc = lsm_vtab_sql_prepare(ctx->conn->db, &stmt,
                              "SELECT slot, data FROM \"%w\".lsmvtab_redo ORDER BY slot",
                              ctx->schema);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);        /* from here on one snapshot, also for the token */
    if (rc == SQLITE_DONE) {
        sqlite3_finalize(stmt);
        return SQLITE_OK;
    }
    if (rc != SQLITE_ROW) {
        rc = lsm_vtab_error_sqlite(error, ctx->conn->db, "reading lsmvtab_redo");
        sqlite3_finalize(stmt);
        return rc;
    }
    rc = lsm_vtab_shadow_read(ctx, &found, uuid, token, error);
    if (rc == SQLITE_OK && found) {
        *area = sqlite3_malloc64(*size);
        rc = *area ? SQLITE_OK : SQLITE_NOMEM;
    }
    if (rc == SQLITE_OK && found) {
        memset(*area, 0, *size);
        rc = read_area(ctx, stmt, *area, error);
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_OK) {
        sqlite3_free(*area);
        *area = NULL;
    }
    return rc;
}

int lsm_vtab_redo_supply(struct lsm_vtab_ctx *ctx, char **error)
{
    struct lsm_token token;
    uint8_t *area;
    size_t size;
    int rc = lsm_vtab_redo_read(ctx, &token, &area, &size, error);

    if (rc == SQLITE_OK && area) {
        int lsm_rc = lsm_db_redo(ctx->store->db, &token, (struct lsm_slice){ area, size });

        /* Nor in the area: whoever asked says so in its own words. */
        if (lsm_rc != LSM_OK && lsm_rc != LSM_STALE)
            rc = lsm_vtab_error_engine(error, ctx->store->path, lsm_rc);
    }
    sqlite3_free(area);
    return rc;
}

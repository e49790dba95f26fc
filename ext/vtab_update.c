/*
 * vtab_update.c -- xUpdate: INSERT, UPDATE, DELETE and the commands.
 *
 * SQLite gives a virtual table the values as they were written: affinity, NOT
 * NULL and the uniqueness of the key are checked here, with SQLite's own words
 * and codes. What to do about a violation:
 *
 *     ABORT, FAIL, ROLLBACK, IGNORE    return SQLITE_CONSTRAINT; SQLite does the rest
 *     REPLACE                          NULL becomes the DEFAULT, the old row goes
 *
 * One call changes one row, or nothing: in a transaction SQLite opens no
 * savepoint around a single row.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_option.h"

/* ---- violations --------------------------------------------------------------------- */

/* SQLite would keep the text of a violation that it ignores for a later error without one. */
static bool is_ignored(const struct lsm_vtab_table *table)
{
    return sqlite3_vtab_on_conflict(table->ctx->conn->db) == SQLITE_IGNORE;
}

/* "UNIQUE constraint failed: t.a, t.b" */
static int fail_unique(struct lsm_vtab_table *table)
{
    const struct lsm_vtab_schema *schema = table->schema;
    sqlite3_str *text;
    int i;

    if (is_ignored(table))
        return SQLITE_CONSTRAINT_PRIMARYKEY;
    text = sqlite3_str_new(NULL);
    sqlite3_str_appendall(text, "UNIQUE constraint failed: ");
    for (i = 0; i < schema->key_count; i++)
        sqlite3_str_appendf(text, "%s%s.%s", i ? ", " : "", table->name,
                            schema->columns[schema->key[i].column].name);
    sqlite3_free(table->base.zErrMsg);
    table->base.zErrMsg = sqlite3_str_finish(text);
    return SQLITE_CONSTRAINT_PRIMARYKEY;
}

static int fail_not_null(struct lsm_vtab_table *table, int column)
{
    if (is_ignored(table))
        return SQLITE_CONSTRAINT_NOTNULL;
    sqlite3_free(table->base.zErrMsg);
    table->base.zErrMsg = sqlite3_mprintf("NOT NULL constraint failed: %s.%s", table->name,
                                          table->schema->columns[column].name);
    return SQLITE_CONSTRAINT_NOTNULL;
}

static int fail_too_big(struct lsm_vtab_table *table, const char *what, unsigned limit)
{
    return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_TOOBIG,
                              "%s of %s is over the limit of %u bytes (encoded)", what, table->name,
                              limit);
}

static int fail_engine(struct lsm_vtab_table *table, int lsm_rc)
{
    return lsm_vtab_error_engine(&table->base.zErrMsg, table->ctx->store->path, lsm_rc);
}

/* ---- the tree ------------------------------------------------------------------------- */

/* What a write of this connection sees: the state it began with, and its own writes. */
static struct lsm_read own_read(const struct lsm_vtab_table *table)
{
    struct lsm_read read = { .snapshot = table->ctx->pin, .txn = table->ctx->txn };

    return read;
}

static int tree_has(struct lsm_vtab_table *table, struct lsm_slice key, bool *has)
{
    struct lsm_read read = own_read(table);
    struct lsm_value value = { 0 };
    int rc = lsm_tree_get(table->tree, &read, key, &value);

    lsm_value_release(&value);
    *has = rc == LSM_OK;
    return rc == LSM_OK || rc == LSM_NOTFOUND ? SQLITE_OK : fail_engine(table, rc);
}

static int tree_put(struct lsm_vtab_table *table, struct lsm_slice key, struct lsm_slice row)
{
    int rc = lsm_txn_put(table->ctx->txn, table->tree, key, row);

    return rc == LSM_OK ? SQLITE_OK : fail_engine(table, rc);
}

/* *has: the key is there, and nothing was done. */
static int tree_insert(struct lsm_vtab_table *table, struct lsm_slice key, struct lsm_slice row, bool *has)
{
    struct lsm_read read = own_read(table);
    int rc = lsm_txn_insert(table->ctx->txn, table->tree, &read, key, row);

    *has = rc == LSM_EXISTS;
    return rc == LSM_OK || rc == LSM_EXISTS ? SQLITE_OK : fail_engine(table, rc);
}

static int tree_delete(struct lsm_vtab_table *table, struct lsm_slice key)
{
    int rc = lsm_txn_delete(table->ctx->txn, table->tree, key);

    return rc == LSM_OK ? SQLITE_OK : fail_engine(table, rc);
}

/* Before a key with text that is a number ('12') enters a tree of TEXT or untyped keys. */
static int note_number_text(struct lsm_vtab_table *table)
{
    enum lsm_vtab_number_text needed = lsm_vtab_note_needed(table, table->values);
    struct lsm_read read = own_read(table);
    int rc = needed == LSM_VTAB_NUMBER_TEXT_NONE ? LSM_OK : lsm_vtab_note_write(table, &read, needed);

    return rc == LSM_OK ? SQLITE_OK : fail_engine(table, rc);
}

/* ---- rows ----------------------------------------------------------------------------- */

/* The key of the row that SQLite names: its PRIMARY KEY value, or our hidden _key. */
static int encode_old_key(struct lsm_vtab_table *table, sqlite3_value *primary)
{
    const struct lsm_vtab_schema *schema = table->schema;
    struct lsm_vtab_value value;
    int rc;

    lsm_vtab_buf_reset(&table->old_key);
    if (schema->column_key >= 0) {
        lsm_vtab_buf_add(&table->old_key, sqlite3_value_blob(primary),
                         (size_t)sqlite3_value_bytes(primary));
        return table->old_key.rc;
    }
    rc = lsm_vtab_value_store(primary, schema->key[0].affinity, &value);
    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_key_add(&table->old_key, &schema->key[0], &value);
    return table->old_key.rc;
}

/*
 * Take the new values as their columns store them. `old` gives what an UPDATE leaves
 * as it is; NULL for an INSERT. `text` has room for each column's rendered DEFAULT.
 */
static int take_values(struct lsm_vtab_table *table, sqlite3_value **argv,
                       struct lsm_vtab_row *old, bool is_insert, int conflict,
                       char (*text)[32])
{
    const struct lsm_vtab_schema *schema = table->schema;
    int i;
    int rc;

    for (i = 0; i < schema->column_count; i++) {
        const struct lsm_vtab_column *column = &schema->columns[i];
        struct lsm_vtab_value *value = &table->values[i];

        if (old && sqlite3_value_nochange(argv[i])) {
            rc = lsm_vtab_row_column(old, i, value);
            if (rc == SQLITE_CORRUPT_VTAB)
                return lsm_vtab_error_set(&table->base.zErrMsg, rc, "a row of %s is damaged: %s",
                                          table->name, old->why);
        } else {
            rc = lsm_vtab_value_store(argv[i], column->affinity, value);
        }
        if (rc != SQLITE_OK)
            return rc;
        if (value->type != SQLITE_NULL || !column->not_null)
            continue;
        if ((is_insert || conflict == SQLITE_REPLACE)
            && lsm_vtab_column_default(column, text[i], value) && value->type != SQLITE_NULL)
            continue;
        return fail_not_null(table, i);
    }
    return SQLITE_OK;
}

static int encode_new(struct lsm_vtab_table *table, bool is_insert)
{
    int rc = lsm_vtab_key_encode(table->schema, table->values, &table->key);

    if (rc == SQLITE_TOOBIG)
        return fail_too_big(table, "a key", LSM_KEY_SIZE_MAX);
    if (rc == SQLITE_OK && is_insert)
        lsm_txn_insert_aim(table->ctx->txn, table->tree, lsm_vtab_buf_slice(&table->key));
    if (rc == SQLITE_OK)
        rc = lsm_vtab_row_encode(table->schema, table->values, &table->row);
    if (rc == SQLITE_TOOBIG)
        return fail_too_big(table, "a row", LSM_VALUE_SIZE_MAX);
    return rc;
}

static bool slice_equal(struct lsm_slice a, struct lsm_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static int insert_row(struct lsm_vtab_table *table, int conflict)
{
    struct lsm_slice key = lsm_vtab_buf_slice(&table->key);
    struct lsm_slice row = lsm_vtab_buf_slice(&table->row);
    bool has = false;
    int rc = SQLITE_OK;

    if (conflict != SQLITE_REPLACE && lsm_vtab_note_needed(table, table->values) == LSM_VTAB_NUMBER_TEXT_NONE) {
        rc = tree_insert(table, key, row, &has);
        return rc == SQLITE_OK && has ? fail_unique(table) : rc;
    }
    if (conflict != SQLITE_REPLACE)
        rc = tree_has(table, key, &has);
    if (rc == SQLITE_OK && has)
        rc = fail_unique(table);
    if (rc == SQLITE_OK)
        rc = note_number_text(table);
    if (rc == SQLITE_OK)
        rc = tree_put(table, key, row);
    return rc;
}

/* Where the innermost savepoint or statement began. */
static uint64_t innermost_mark(const struct lsm_vtab_ctx *ctx)
{
    uint64_t position = ctx->mark_count ? ctx->marks[ctx->mark_count - 1].position : 0;

    return position > ctx->begin_mark ? position : ctx->begin_mark;
}

/*
 * The row may have a new key; a failure leaves it as it was. The position for
 * that is given back at once: a transaction that spills makes a table for each
 * stretch between positions.
 */
static int replace_row(struct lsm_vtab_table *table, int conflict)
{
    struct lsm_slice old_key = lsm_vtab_buf_slice(&table->old_key);
    struct lsm_slice key = lsm_vtab_buf_slice(&table->key);
    uint64_t mark;
    int rc;

    if (slice_equal(old_key, key)) {
        rc = note_number_text(table);
        return rc == SQLITE_OK ? tree_put(table, key, lsm_vtab_buf_slice(&table->row)) : rc;
    }
    mark = lsm_txn_mark(table->ctx->txn);
    rc = insert_row(table, conflict);
    if (rc == SQLITE_OK)
        rc = tree_delete(table, old_key);
    if (rc != SQLITE_OK)
        lsm_txn_rollback_to(table->ctx->txn, mark);
    lsm_txn_release_mark(table->ctx->txn, innermost_mark(table->ctx));
    return rc;
}

/* Is one of the new values left as it was? Then the old row is needed. */
static bool has_nochange(const struct lsm_vtab_table *table, sqlite3_value **argv)
{
    int i;

    for (i = 0; i < table->schema->column_count; i++) {
        if (sqlite3_value_nochange(argv[i]))
            return true;
    }
    return false;
}

/*
 * With REPLACE the row may have gone already: an earlier row of the same
 * statement took its key. Then there is nothing to update.
 */
static int update_row(struct lsm_vtab_table *table, sqlite3_value **argv, int conflict,
                      char (*text)[32])
{
    struct lsm_slice old_key = lsm_vtab_buf_slice(&table->old_key);
    struct lsm_read read = own_read(table);
    struct lsm_value old = { 0 };
    bool needs_old = has_nochange(table, argv) || conflict == SQLITE_REPLACE;
    int rc = SQLITE_OK;

    if (needs_old) {
        if (table->old_row.schema == NULL)
            rc = lsm_vtab_row_init(&table->old_row, table->schema);
        if (rc != SQLITE_OK)
            return rc;
        rc = lsm_tree_get(table->tree, &read, old_key, &old);
        if (rc == LSM_NOTFOUND)
            return SQLITE_OK;
        if (rc != LSM_OK)
            return fail_engine(table, rc);
        lsm_vtab_row_set(&table->old_row, old_key, old.bytes);
    }
    rc = take_values(table, argv, needs_old ? &table->old_row : NULL, false, conflict, text);
    if (rc == SQLITE_OK)
        rc = encode_new(table, false);
    lsm_value_release(&old);
    return rc == SQLITE_OK ? replace_row(table, conflict) : rc;
}

/* ---- commands ----------------------------------------------------------------------------- */

static const struct command {
    const char *name;
    bool takes_arg;
} commands[] = {
    { "flush", false }, { "compact", false }, { "optimize", false }, { "check", false },
    { "delete-all", false }, { "memory", true },
};

/* Names that people know from elsewhere. */
static const struct {
    const char *name, *means;
} command_advice[] = {
    { "integrity-check", "check" }, { "merge", "compact" }, { "vacuum", "compact" },
    { "clear", "delete-all" }, { "truncate", "delete-all" }, { "cache", "memory" },
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static int fail_command(struct lsm_vtab_table *table, const char *name)
{
    const char *nearest = NULL;
    int distance = LSM_VTAB_TYPO_MAX + 1;
    size_t i;

    for (i = 0; i < COUNT(commands); i++)
        if (lsm_vtab_is_nearer(name, commands[i].name, &distance))
            nearest = commands[i].name;
    for (i = 0; i < COUNT(command_advice); i++)
        if (sqlite3_stricmp(name, command_advice[i].name) == 0)
            nearest = command_advice[i].means;
    if (nearest)
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "unknown command '%s' (did you mean '%s'?)", name, nearest);
    return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                              "unknown command '%.60s' (there are 'flush', 'compact', 'check', 'memory', "
                              "'delete-all')",
                              name);
}

/* A command stands alone: a value that it would leave out was meant for something. */
static int check_alone(struct lsm_vtab_table *table, const struct command *command, sqlite3_value **argv)
{
    const struct lsm_vtab_schema *schema = table->schema;
    int i;

    for (i = 0; i < schema->column_count; i++) {
        if (sqlite3_value_type(argv[i]) != SQLITE_NULL)
            return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                      "command '%s' does not use column %s: "
                                      "INSERT INTO %s(%s%s) VALUES('%s'%s)", command->name,
                                      schema->columns[i].name, table->name, table->name,
                                      command->takes_arg ? ", _arg" : "", command->name,
                                      command->takes_arg ? ", ..." : "");
    }
    if (!command->takes_arg && sqlite3_value_type(argv[schema->column_arg]) != SQLITE_NULL)
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "command '%s' takes no _arg: INSERT INTO %s(%s) VALUES('%s')",
                                  command->name, table->name, table->name, command->name);
    if (schema->column_key >= 0 && sqlite3_value_type(argv[schema->column_key]) != SQLITE_NULL)
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR, "command '%s' does not use _key",
                                  command->name);
    return SQLITE_OK;
}

/* Is a value given for this hidden column? UPDATE passes those that it leaves alone as well. */
static bool is_given(sqlite3_value *value)
{
    return sqlite3_value_type(value) != SQLITE_NULL && !sqlite3_value_nochange(value);
}

/* A row whose hidden columns are set, which nothing would use. */
static int check_no_command(struct lsm_vtab_table *table, sqlite3_value **argv)
{
    const struct lsm_vtab_schema *schema = table->schema;

    if (is_given(argv[schema->column_table]))
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "UPDATE runs no command: INSERT INTO %s(%s) VALUES('%.60s')",
                                  table->name, table->name,
                                  (const char *)sqlite3_value_text(argv[schema->column_table]));
    if (is_given(argv[schema->column_arg]))
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "_arg is for commands only: INSERT INTO %s(%s, _arg) "
                                  "VALUES('memory', '256MB')", table->name, table->name);
    return SQLITE_OK;
}

/* "256MB", "64 MiB", 67108864. */
static bool parse_size(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        { "", 1 }, { "b", 1 }, { "k", 1 << 10 }, { "kb", 1 << 10 }, { "kib", 1 << 10 },
        { "m", 1 << 20 }, { "mb", 1 << 20 }, { "mib", 1 << 20 },
        { "g", 1 << 30 }, { "gb", 1 << 30 }, { "gib", 1 << 30 },
    };
    uint64_t value = 0;
    bool has_digit = false;
    size_t i;

    while (*text == ' ')
        text++;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (value > UINT64_MAX / 100)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        has_digit = true;
    }
    while (*text == ' ')
        text++;
    for (i = 0; has_digit && i < sizeof(units) / sizeof(units[0]); i++) {
        if (sqlite3_stricmp(text, units[i].name) == 0 && value <= UINT64_MAX / units[i].factor) {
            *bytes = value * units[i].factor;
            return true;
        }
    }
    return false;
}

static int run_memory(struct lsm_vtab_table *table, sqlite3_value *arg)
{
    const char *text = (const char *)sqlite3_value_text(arg);
    uint64_t bytes;
    int rc;

    if (text == NULL || !parse_size(text, &bytes) || bytes < (1 << 20))
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "'memory' needs a size of at least 1MB, in bytes, KB, MB or GB: "
                                  "INSERT INTO %s(%s, _arg) VALUES('memory', '256MB')", table->name,
                                  table->name);
    rc = lsm_db_set_memory(table->ctx->store->db, bytes);
    return rc == LSM_OK ? SQLITE_OK : fail_engine(table, rc);
}

/* One operation of the transaction, however many rows it takes. Notes stay: connections remember that they were made. */
static int delete_range(struct lsm_vtab_table *table, struct lsm_slice lower, struct lsm_slice upper)
{
    int rc;

    if (lower.size == 0)
        lower = (struct lsm_slice){ (const uint8_t *)LSM_VTAB_ROW_LOWEST, 1 };
    rc = lsm_txn_delete_range(table->ctx->txn, table->tree, lower, upper);

    return rc == LSM_OK ? SQLITE_OK : fail_engine(table, rc);
}

static const uint8_t behind_all[] = { LSM_VTAB_KEY_AFTER };

/* Append the first key column's bytes for a bound, and what comes behind all keys that begin so. */
static int add_bound(struct lsm_vtab_table *table, sqlite3_value *from, bool after,
                     struct lsm_vtab_buf *key)
{
    const struct lsm_vtab_key_part *part = &table->schema->key[0];
    struct lsm_vtab_value value;
    int rc = lsm_vtab_value_store(from, part->affinity, &value);

    if (rc != SQLITE_OK)
        return rc;
    if (part->foreign_order && value.type == SQLITE_TEXT)
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_MISMATCH,
                                  "lsm_delete_range: in this database's encoding text is not kept in "
                                  "SQL's order; use DELETE");
    lsm_vtab_key_add(key, part, &value);
    if (after)
        lsm_vtab_buf_add_byte(key, LSM_VTAB_KEY_AFTER);
    return key->rc;
}

/* Rows whose first key column is in [bounds[0], bounds[1]), as if compared with stored values; NULL: no
   bound. Where the column is DESC the greater value comes first, and is not in. */
static int delete_bounds(struct lsm_vtab_table *table, sqlite3_value **bounds)
{
    bool desc = table->schema->key[0].desc;
    struct lsm_vtab_buf lower, upper;
    int rc = SQLITE_OK;

    lsm_vtab_key_init(&lower);
    lsm_vtab_key_init(&upper);
    if (sqlite3_value_type(bounds[desc]) != SQLITE_NULL)
        rc = add_bound(table, bounds[desc], desc, &lower);
    if (rc == SQLITE_OK && sqlite3_value_type(bounds[!desc]) != SQLITE_NULL)
        rc = add_bound(table, bounds[!desc], desc, &upper);
    else if (rc == SQLITE_OK)
        lsm_vtab_buf_add_byte(&upper, LSM_VTAB_KEY_AFTER);
    if (rc == SQLITE_OK)
        rc = upper.rc;
    if (rc == SQLITE_OK)
        rc = delete_range(table, lsm_vtab_buf_slice(&lower), lsm_vtab_buf_slice(&upper));
    lsm_vtab_buf_clear(&lower);
    lsm_vtab_buf_clear(&upper);
    return rc;
}

static int run_command(struct lsm_vtab_table *table, sqlite3_value **argv)
{
    struct lsm_db *db = table->ctx->store->db;
    const char *name = (const char *)sqlite3_value_text(argv[table->schema->column_table]);
    const struct command *command = NULL;
    size_t i;
    int rc;

    if (name == NULL)
        return SQLITE_NOMEM;
    if (strcmp(name, "delete-range") == 0 && table->ctx->conn->delete_bounds)
        return delete_bounds(table, table->ctx->conn->delete_bounds);
    for (i = 0; i < COUNT(commands); i++)
        if (sqlite3_stricmp(name, commands[i].name) == 0)
            command = &commands[i];
    if (command == NULL)
        return fail_command(table, name);
    rc = check_alone(table, command, argv);
    if (rc != SQLITE_OK)
        return rc;

    name = command->name;
    if (strcmp(name, "memory") == 0)
        return run_memory(table, argv[table->schema->column_arg]);
    if (strcmp(name, "delete-all") == 0)
        return delete_range(table, (struct lsm_slice){ (const uint8_t *)"", 0 },
                            (struct lsm_slice){ behind_all, sizeof(behind_all) });
    if (strcmp(name, "flush") == 0)
        rc = lsm_db_flush(db);
    else if (strcmp(name, "check") == 0)
        rc = lsm_db_check(db);
    else
        rc = lsm_db_compact(db, table->tree);
    if (rc == LSM_BUSY && strcmp(name, "check") != 0) {
        /* A process died between a joint transaction's prepare and its end. We hold the write lock: our
           own transaction, made joint, decides it. Or the -wal must be emptied first (R16), which that lock is in the
           way of. */
        if (strcmp(name, "flush") == 0)
            table->ctx->flush_later = true;
        else
            table->ctx->compact_later = table->tree;
        return SQLITE_OK;
    }
    return rc == LSM_OK || rc == LSM_DONE ? SQLITE_OK : fail_engine(table, rc);
}

/* ---- xUpdate --------------------------------------------------------------------------------- */

static int insert(struct lsm_vtab_table *table, sqlite3_value **argv, int conflict,
                  char (*text)[32])
{
    const struct lsm_vtab_schema *schema = table->schema;
    int rc;

    if (sqlite3_value_type(argv[schema->column_table]) != SQLITE_NULL)
        return run_command(table, argv);
    rc = check_no_command(table, argv);
    if (rc != SQLITE_OK)
        return rc;
    if (schema->column_key >= 0 && sqlite3_value_type(argv[schema->column_key]) != SQLITE_NULL)
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                                  "_key is computed from the key columns and cannot be given");
    rc = take_values(table, argv, NULL, true, conflict, text);
    if (rc == SQLITE_OK)
        rc = encode_new(table, conflict != SQLITE_REPLACE);
    return rc == SQLITE_OK ? insert_row(table, conflict) : rc;
}

static int update(struct lsm_vtab_table *table, sqlite3_value *old_primary,
                  sqlite3_value *new_primary, sqlite3_value **argv, int conflict,
                  char (*text)[32])
{
    int rc = check_no_command(table, argv);

    if (rc == SQLITE_OK)
        rc = encode_old_key(table, old_primary);
    if (rc != SQLITE_OK)
        return rc;
    if (table->schema->column_key >= 0 && !sqlite3_value_nochange(new_primary)) {
        struct lsm_slice given = { sqlite3_value_blob(new_primary),
                                   (size_t)sqlite3_value_bytes(new_primary) };

        if (!slice_equal(given, lsm_vtab_buf_slice(&table->old_key)))
            return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR, "_key is computed from "
                                      "the key columns and cannot be set");
    }
    return update_row(table, argv, conflict, text);
}

/*
 *     DELETE    argc 1    argv[0] the old row's PRIMARY KEY
 *     INSERT    argv[0], argv[1] NULL, then the columns
 *     UPDATE    argv[0] the old PRIMARY KEY, argv[1] the new one, then the columns
 *
 * argv[0] NULL, argv[1] not: UPDATE ... FROM whose only row is that of an aggregate over no rows. It has no
 * old row, so there is nothing to update.
 */
int lsm_vtab_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;
    sqlite3 *db = table->ctx->conn->db;
    char (*text)[32] = table->default_text;
    int conflict;
    int rc;

    rc = lsm_vtab_txn_begin(table);
    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_txn_touch(table->ctx);
    lsm_vtab_cursor_wrote(table->ctx);

    if (argc == 1) {
        rc = encode_old_key(table, argv[0]);
        return rc == SQLITE_OK ? tree_delete(table, lsm_vtab_buf_slice(&table->old_key)) : rc;
    }
    conflict = sqlite3_vtab_on_conflict(db);
    if (sqlite3_value_type(argv[0]) != SQLITE_NULL)
        rc = update(table, argv[0], argv[1], argv + 2, conflict, text);
    else if (sqlite3_value_type(argv[1]) == SQLITE_NULL)
        rc = insert(table, argv + 2, conflict, text);
    lsm_vtab_buf_trim(&table->row);
    *rowid = sqlite3_last_insert_rowid(db);     /* SQLite takes it as the new one */
    return rc;
}

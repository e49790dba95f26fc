/*
 * fuzz_args.c -- module arguments: what is accepted is declared in a way that
 * SQLite accepts, and means the same when it is written out and parsed again.
 *
 * The input is the table's name and the arguments, each ended by a NUL.
 */
#include <stdlib.h>
#include <string.h>

#include "ext/vtab_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)
#define ARG_COUNT_MAX 64

static char declaration[1 << 20];

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **vtab,
                   char **error)
{
    (void)aux, (void)argc, (void)argv, (void)error;
    *vtab = calloc(1, sizeof **vtab);
    return sqlite3_declare_vtab(db, declaration);
}

static int disconnect(sqlite3_vtab *vtab)
{
    free(vtab);
    return SQLITE_OK;
}

static int update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    (void)vtab, (void)argc, (void)argv, (void)rowid;
    return SQLITE_READONLY;
}

/* SQLite counts as many columns as there are, with the names that they have. */
static void check_declared(const struct lsm_vtab_schema *schema)
{
    static const sqlite3_module module = { .xCreate = connect, .xConnect = connect,
                                           .xDisconnect = disconnect, .xDestroy = disconnect,
                                           .xUpdate = update };
    char *text = lsm_vtab_schema_declaration(schema);
    sqlite3_stmt *s = NULL;
    sqlite3 *db;

    REQUIRE(text);
    if (strlen(text) >= sizeof declaration) {
        sqlite3_free(text);
        return;
    }
    strcpy(declaration, text);
    sqlite3_free(text);
    sqlite3_open(":memory:", &db);
    sqlite3_create_module(db, "m", &module, NULL);
    REQUIRE(sqlite3_exec(db, "CREATE VIRTUAL TABLE v USING m", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_prepare_v2(db, "SELECT name, hidden FROM pragma_table_xinfo('v')", -1, &s, NULL);
    for (int i = 0; sqlite3_step(s) == SQLITE_ROW; i++) {
        REQUIRE(sqlite3_column_int(s, 1) == (i >= schema->column_count));
        if (i < schema->column_count)
            REQUIRE(strcmp((const char *)sqlite3_column_text(s, 0), schema->columns[i].name) == 0);
    }
    sqlite3_finalize(s);
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
}

/* Each column, written out, is the column again. */
static void check_again(const struct lsm_vtab_schema *schema)
{
    const char *argv[4 + ARG_COUNT_MAX] = { "lsm", "main", schema->table };
    struct lsm_vtab_schema *again;
    sqlite3_str *key = sqlite3_str_new(NULL);
    char *error = NULL, *a, *b;
    int argc = 3;
    bool fits = true;

    for (int i = 0; i < schema->column_count; i++) {
        const struct lsm_vtab_column *c = &schema->columns[i];

        argv[argc++] = sqlite3_mprintf("\"%w\" %s COLLATE %s%s", c->name, c->type,
                                       lsm_vtab_collation_name(c->collation),
                                       c->not_null ? " NOT NULL" : "");
        fits = fits && strlen(argv[argc - 1]) <= LSM_VTAB_ARG_SIZE_MAX;
    }
    for (int i = 0; i < schema->key_count; i++)
        sqlite3_str_appendf(key, "%s\"%w\"%s", i ? "," : "PRIMARY KEY(",
                            schema->columns[schema->key[i].column].name,
                            schema->key[i].desc ? "DESC" : " ASC");
    sqlite3_str_append(key, ")", 1);
    argv[argc++] = sqlite3_str_finish(key);
    fits = fits && strlen(argv[argc - 1]) <= LSM_VTAB_ARG_SIZE_MAX;
    if (fits) {
        REQUIRE(lsm_vtab_schema_parse(argc, argv, &again, &error) == SQLITE_OK);
        a = lsm_vtab_schema_canonical(schema);
        b = lsm_vtab_schema_canonical(again);
        REQUIRE(strcmp(a, b) == 0);
        sqlite3_free(a);
        sqlite3_free(b);
        lsm_vtab_schema_free(again);
    }
    for (int i = 3; i < argc; i++)
        sqlite3_free((void *)(uintptr_t)argv[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *argv[3 + ARG_COUNT_MAX] = { "lsm", "main", "t" };
    char *copy = malloc(size + 1);
    struct lsm_vtab_schema *schema;
    char *error = NULL;
    int argc = 2;
    int rc;

    memcpy(copy, size ? data : (const uint8_t *)"", size);
    copy[size] = 0;
    for (size_t off = 0; off < size && argc < 3 + ARG_COUNT_MAX; off += strlen(copy + off) + 1)
        argv[argc++] = copy + off;
    if (argc < 3)
        argc = 3;

    rc = lsm_vtab_schema_parse(argc, argv, &schema, &error);
    if (rc == SQLITE_OK) {
        REQUIRE(schema && !error);
        check_declared(schema);
        check_again(schema);
        for (int i = 0; i < schema->column_count; i++) {
            struct lsm_vtab_value value;
            char text[32];

            lsm_vtab_column_default(&schema->columns[i], text, &value);
        }
    } else {
        REQUIRE(rc == SQLITE_ERROR && !schema && strncmp(error, "lsm: ", 5) == 0);
    }
    lsm_vtab_schema_free(schema);
    sqlite3_free(error);
    free(copy);
    return 0;
}

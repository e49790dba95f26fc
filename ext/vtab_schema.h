/*
 * vtab_schema.h -- the declaration of an `lsm` table: module arguments in,
 * columns, key and options out.
 *
 *     CREATE VIRTUAL TABLE t USING lsm;                  (key PRIMARY KEY, value)
 *     CREATE VIRTUAL TABLE t USING lsm(
 *         device TEXT COLLATE NOCASE, ts INTEGER, level INTEGER NOT NULL DEFAULT 0, payload,
 *         PRIMARY KEY(device, ts DESC), compression='zstd:3', block_size=16KB);
 *
 * An argument `word = rest` is an option, `[CONSTRAINT x] PRIMARY KEY(...)` the
 * key, everything else a column as in CREATE TABLE. What is not understood is
 * refused with a message, never ignored.
 *
 * Column numbers, as SQLite passes them to xBestIndex, xColumn and (plus two)
 * in xUpdate's argv:
 *
 *     0 .. column_count-1      the user's columns in their order
 *     column_table             "<table>" HIDDEN: commands
 *     column_arg               "_arg" HIDDEN: a command's argument
 *     column_key               "_key" BLOB HIDDEN PRIMARY KEY: the encoded key; only if
 *                              the key has more than one column, else -1
 *
 * SQLite wants exactly one PRIMARY KEY column in a writable WITHOUT ROWID
 * virtual table. A key of one column is declared as itself, a composite key as
 * the hidden _key; column_primary is the one SQLite knows the row by (xUpdate
 * argv[0] and argv[1]). Key columns are declared NOT NULL, without which SQLite
 * does not offer ORDER BY for min().
 */
#ifndef LSM_EXT_VTAB_SCHEMA_H
#define LSM_EXT_VTAB_SCHEMA_H

#include "ext/vtab_option.h"
#include "ext/vtab_value.h"

#define LSM_VTAB_COLUMN_COUNT_MAX 2000
#define LSM_VTAB_ARG_SIZE_MAX 4096
#define LSM_VTAB_NAME_SIZE_MAX 1024     /* of a column */

enum lsm_vtab_default {
    LSM_VTAB_DEFAULT_NONE = 0,
    LSM_VTAB_DEFAULT_VALUE = 1,
    LSM_VTAB_DEFAULT_DATE = 2,          /* CURRENT_DATE, _TIME, _TIMESTAMP */
    LSM_VTAB_DEFAULT_TIME = 3,
    LSM_VTAB_DEFAULT_TIMESTAMP = 4
};

struct lsm_vtab_column {
    char *name;
    char *type;                         /* declared, words joined by one space; "" if none */
    enum lsm_vtab_affinity affinity;
    enum lsm_vtab_collation collation;
    bool not_null;                      /* declared so, or in the key */
    enum lsm_vtab_default default_kind;
    struct lsm_vtab_value default_value;        /* DEFAULT_VALUE; bytes owned here */
    int key_index;                      /* its place in key[], or -1 */
    int value_index;                    /* its place in value_columns[], or -1 */
};

/* One column of the key. */
struct lsm_vtab_key_part {
    int column;
    bool desc;
    enum lsm_vtab_affinity affinity;    /* both copied from the column */
    enum lsm_vtab_collation collation;
    bool foreign_order;         /* text compares otherwise than its UTF-8 bytes: UTF-16 database */
};

/* Immutable once parsed. */
struct lsm_vtab_schema {
    char *table;                        /* its name when it was parsed */
    struct lsm_vtab_column *columns;
    struct lsm_vtab_key_part *key;
    int *value_columns;                 /* numbers of the columns that are not in the key */
    int column_count, key_count, value_count;
    int column_table, column_arg, column_key, column_primary;
    struct lsm_vtab_options options;
};

/*
 * Parse what xCreate and xConnect get: argv[2] is the table's name, argv[3..]
 * the arguments. SQLITE_OK; SQLITE_ERROR with *error set (sqlite3_malloc, the
 * caller frees) and *schema NULL; SQLITE_NOMEM.
 */
int lsm_vtab_schema_parse(int argc, const char *const *argv, struct lsm_vtab_schema **schema,
                          char **error);
void lsm_vtab_schema_free(struct lsm_vtab_schema *schema);

/* The text for sqlite3_declare_vtab(); from sqlite3_malloc, NULL: out of memory. */
char *lsm_vtab_schema_declaration(const struct lsm_vtab_schema *schema);

/*
 * What the stored bytes depend on, as text: columns, types, collations and key,
 * not the table's name nor its options. Two declarations with one canonical
 * text read each other's rows. From sqlite3_malloc, NULL: out of memory.
 */
char *lsm_vtab_schema_canonical(const struct lsm_vtab_schema *schema);

/* May the table have this name (xRename)? SQLITE_OK, or SQLITE_ERROR with *error set. */
int lsm_vtab_schema_check_name(const struct lsm_vtab_schema *schema, const char *name,
                               char **error);

/*
 * The value that a column gets where an INSERT leaves it NULL: its DEFAULT as
 * its affinity stores it. False: it has none. `text` holds what is rendered.
 *
 * SQLite does not tell a virtual table an omitted column from NULL, so DEFAULT
 * is accepted only with NOT NULL, where a NULL could not be meant.
 */
bool lsm_vtab_column_default(const struct lsm_vtab_column *column, char text[32],
                             struct lsm_vtab_value *value);

/* "BINARY", "NOCASE", "RTRIM": to compare with sqlite3_vtab_collation(). */
const char *lsm_vtab_collation_name(enum lsm_vtab_collation collation);

#endif

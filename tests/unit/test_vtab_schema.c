/*
 * test_vtab_schema.c -- what a declaration may say, what it means, and what is
 * said about the others. The oracle for types is SQLite's own CREATE TABLE.
 */
#include "tests/test.h"

#include "ext/vtab_schema.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define ARG_COUNT_MAX 8

/* Parse arguments up to the first NULL. */
static int parse(const char *const *args, struct lsm_vtab_schema **schema, char **error)
{
    const char *argv[3 + ARG_COUNT_MAX] = { "lsm", "main", "t" };
    int argc = 3;

    for (int i = 0; i < ARG_COUNT_MAX && args[i]; i++)
        argv[argc++] = args[i];
    *error = NULL;
    return lsm_vtab_schema_parse(argc, argv, schema, error);
}

#define ARGS(...) (const char *const[ARG_COUNT_MAX]){ __VA_ARGS__ }

static struct lsm_vtab_schema *parse_ok(const char *const *args)
{
    struct lsm_vtab_schema *schema;
    char *error;

    if (parse(args, &schema, &error) != SQLITE_OK)
        test_check(false, __FILE__, __LINE__, args[0] ? args[0] : "", ": %s", error);
    sqlite3_free(error);
    return schema;
}

static void check_declaration(const char *const *args, const char *want)
{
    struct lsm_vtab_schema *schema = parse_ok(args);
    char *text = schema ? lsm_vtab_schema_declaration(schema) : NULL;

    CHECK_STR(text, want);
    sqlite3_free(text);
    lsm_vtab_schema_free(schema);
}

static void check_refused(const char *const *args, const char *want)
{
    struct lsm_vtab_schema *schema;
    char *error;

    CHECK_INT(parse(args, &schema, &error), SQLITE_ERROR);
    CHECK(schema == NULL);
    CHECK_STR(error, want);
    sqlite3_free(error);
    lsm_vtab_schema_free(schema);
}

TEST(schema_without_columns_is_key_and_value)
{
    const char *want = "CREATE TABLE t(\"key\" NOT NULL PRIMARY KEY, \"value\", \"t\" HIDDEN, "
                       "\"_arg\" HIDDEN) WITHOUT ROWID";

    check_declaration(ARGS(NULL), want);
    check_declaration(ARGS("compression = zstd"), want);
}

TEST(schema_single_key_is_declared_as_itself_and_a_composite_one_as_key_column)
{
    struct lsm_vtab_schema *s;

    check_declaration(ARGS("k TEXT COLLATE nocase PRIMARY KEY DESC", "v  VARCHAR ( 10 ) NOT NULL"),
                      "CREATE TABLE t(\"k\" TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, "
                      "\"v\" VARCHAR(10) NOT NULL, \"t\" HIDDEN, \"_arg\" HIDDEN) WITHOUT ROWID");
    check_declaration(ARGS("PRIMARY KEY(b, a desc)", "a", "b INT", "c"),
                      "CREATE TABLE t(\"a\" NOT NULL, \"b\" INT NOT NULL, \"c\", \"t\" HIDDEN, "
                      "\"_arg\" HIDDEN, \"_key\" BLOB HIDDEN PRIMARY KEY) WITHOUT ROWID");

    s = parse_ok(ARGS("a", "b INT", "c", "CONSTRAINT pk PRIMARY KEY(b, \"A\" DESC)"));
    if (!s)
        return;
    CHECK_INT(s->column_count, 3);
    CHECK_INT(s->key_count, 2);
    CHECK_INT(s->value_count, 1);
    CHECK_INT(s->key[0].column, 1);
    CHECK_INT(s->key[0].affinity, LSM_VTAB_AFFINITY_INTEGER);
    CHECK(s->key[1].desc && !s->key[0].desc);
    CHECK_INT(s->columns[0].key_index, 1);
    CHECK_INT(s->columns[2].value_index, 0);
    CHECK_INT(s->value_columns[0], 2);
    CHECK_INT(s->column_table, 3);
    CHECK_INT(s->column_arg, 4);
    CHECK_INT(s->column_key, 5);
    CHECK_INT(s->column_primary, 5);
    lsm_vtab_schema_free(s);
}

TEST(schema_names_survive_every_quoting)
{
    check_declaration(ARGS("\"a\"\"b\" PRIMARY KEY", "[c d]", "`e``f`", "'g''h' TEXT",
                           "i\xc3\xa4$1",
                           "\"--;\" /* x */ INT -- y\n NOT /**/ NULL", "\"sqlite_x\""),
                      "CREATE TABLE t(\"a\"\"b\" NOT NULL PRIMARY KEY, \"c d\", \"e`f\", "
                      "\"g'h\" TEXT, \"i\xc3\xa4$1\", \"--;\" INT NOT NULL, \"sqlite_x\", "
                      "\"t\" HIDDEN, \"_arg\" HIDDEN) WITHOUT ROWID");
}

TEST(schema_affinity_is_what_sqlite_derives)
{
    static const char *const types[] = {
        "", "INT", "INTEGER", "TINYINT", "BIGINT", "UNSIGNED BIG INT", "INT8", "CHARACTER(20)",
        "VARCHAR(255)", "NCHAR(55)", "TEXT", "CLOB", "BLOB", "REAL", "DOUBLE PRECISION", "FLOAT",
        "NUMERIC", "DECIMAL(10,5)", "BOOLEAN", "DATETIME", "ANY", "POINT", "FLOATING POINT",
        "CHARINT", "TEXTBLOB", "BLOBTEXT", "REALBLOB", "BLOBREAL", "DOUB CHAR", "STRING", "x",
        "NUMERIC(-5, +2)", "\"INT\"", "[my text]", "CHAR BLOB", "REAL CLOB",
    };
    static const char letters[] = { 'b', 't', 'n', 'i', 'r' };

    for (size_t i = 0; i < COUNT(types); i++) {
        struct lsm_vtab_schema *s;
        char column[64], sql[200];
        sqlite3 *db;
        sqlite3_stmt *q = NULL;
        char want = '?';

        /* What SQLite does to a text and a real that are both the integer 1 tells. */
        sqlite3_open(":memory:", &db);
        snprintf(sql, sizeof sql, "CREATE TABLE o(c %s)", types[i]);
        CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        CHECK_INT(sqlite3_exec(db, "INSERT INTO o VALUES('1'), (1.5), (1)", NULL, NULL, NULL), 0);
        sqlite3_prepare_v2(db, "SELECT group_concat(typeof(c)) FROM o", -1, &q, NULL);
        if (CHECK_INT(sqlite3_step(q), SQLITE_ROW)) {
            const char *t = (const char *)sqlite3_column_text(q, 0);

            want = strcmp(t, "text,real,integer") == 0 ? 'b'
                   : strcmp(t, "text,text,text") == 0 ? 't'
                   : strcmp(t, "integer,real,integer") == 0 ? 'n' : 'r';
        }
        sqlite3_finalize(q);
        sqlite3_close(db);

        snprintf(column, sizeof column, "c %s PRIMARY KEY", types[i]);
        s = parse_ok(ARGS(column));
        if (s) {
            char have = letters[s->columns[0].affinity];

            if (!CHECK(have == want || (have == 'i' && want == 'n')))
                printf("  %s: %c, SQLite %c\n", types[i], have, want);
        }
        lsm_vtab_schema_free(s);
    }
}

/* As SQLite: an ordinary table with the same DEFAULT shows what is stored. */
TEST(schema_defaults_are_what_an_ordinary_table_stores)
{
    static const char *const literals[] = {
        "0", "1", "-1", "+5", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        "0x10", "-0x10", "0xffffffffffffffff", "1.5", "-1.5e3", ".5", "5.", "1e999", "-0.0", "'x'",
        "'it''s'", "\"y\"", "''", "x''", "x'00ff'", "X'41'", "TRUE", "false", "'5'", "' 5.0 '",
        "'1e3'", "NULL", "'abc'", "- 3",
    };
    static const char *const types[] = { "", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB" };

    for (size_t i = 0; i < COUNT(literals); i++) {
        for (size_t k = 0; k < COUNT(types); k++) {
            struct lsm_vtab_value have = { .type = SQLITE_NULL }, want;
            struct lsm_vtab_schema *s;
            char column[100], sql[200], text[32];
            sqlite3_stmt *q = NULL;
            sqlite3 *db;

            sqlite3_open(":memory:", &db);
            snprintf(sql, sizeof sql, "CREATE TABLE o(k, c %s DEFAULT %s)", types[k], literals[i]);
            CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
            CHECK_INT(sqlite3_exec(db, "INSERT INTO o(k) VALUES(1)", NULL, NULL, NULL), 0);
            sqlite3_prepare_v2(db, "SELECT c FROM o", -1, &q, NULL);
            sqlite3_step(q);
            lsm_vtab_value_from(sqlite3_column_value(q, 0), &want);

            snprintf(column, sizeof column, "c %s DEFAULT %s NOT NULL", types[k], literals[i]);
            s = parse_ok(ARGS("k PRIMARY KEY", column));
            if (s) {
                CHECK_INT(lsm_vtab_column_default(&s->columns[1], text, &have),
                          strcmp(literals[i], "NULL") != 0);
                if (!CHECK(lsm_vtab_value_identical(&have, &want)))
                    printf("  %s: type %d, SQLite %d %s\n", column, have.type, want.type,
                           sqlite3_column_text(q, 0));
            }
            sqlite3_finalize(q);
            sqlite3_close(db);
            lsm_vtab_schema_free(s);
        }
    }
}

TEST(schema_default_now_is_sqlites)
{
    static const char *const words[] = { "CURRENT_DATE", "current_time", "CURRENT_TIMESTAMP" };
    struct lsm_vtab_value value;
    char text[32];

    for (size_t i = 0; i < COUNT(words); i++) {
        struct lsm_vtab_schema *s;
        char column[64], sql[64];
        bool same = false;

        snprintf(column, sizeof column, "c DEFAULT %s NOT NULL", words[i]);
        snprintf(sql, sizeof sql, "SELECT %s", words[i]);
        s = parse_ok(ARGS("k PRIMARY KEY", column));
        for (int try = 0; s && try < 3 && !same; try++) {       /* the second may change */
            sqlite3_stmt *q = NULL;
            sqlite3 *db;

            sqlite3_open(":memory:", &db);
            CHECK(lsm_vtab_column_default(&s->columns[1], text, &value));
            sqlite3_prepare_v2(db, sql, -1, &q, NULL);
            sqlite3_step(q);
            same = strcmp((const char *)sqlite3_column_text(q, 0), text) == 0;
            sqlite3_finalize(q);
            sqlite3_close(db);
        }
        CHECK(same);
        lsm_vtab_schema_free(s);
    }
}

TEST(schema_options_are_read_and_their_limits_kept)
{
    static const struct {
        const char *option;
        uint32_t block, filter;
        int32_t level;
        uint32_t values;
    } good[] = {
        { "block_size=512", 512, 0, 0, 0 },
        { "BLOCK_SIZE = '64KB'", 65536, 0, 0, 0 },
        { "block_size=64KiB", 65536, 0, 0, 0 },
        { "block_size=\"1 mb\"", 1 << 20, 0, 0, 0 },
        { "filter_bits=0", 0, LSM_FILTER_NONE, 0, 0 },
        { "bloom_bits=20", 0, 20, 0, 0 },
        { "compression=none", 0, 0, LSM_COMPRESSION_NONE, 0 },
        { "compression=ZSTD", 0, 0, 0, 0 },
        { "compression='zstd:19'", 0, 0, 19, 0 },
        { "compression=zstd:3 -- fast", 0, 0, 3, 0 },
        { "blob_threshold=64", 0, 0, 0, 64 },
        { "min_blob_size='1024MB'", 0, 0, 0, 1 << 30 },
        { "blob_threshold=OFF", 0, 0, 0, LSM_VALUE_LOG_NONE },
    };
    static const char *const bad[][2] = {
        { "block_size=511", "lsm: block_size='511': a size from 512 to 1MB is needed, like 16KB" },
        { "block_size=2MB", "lsm: block_size='2MB': a size from 512 to 1MB is needed, like 16KB" },
        { "block_size=99999999999999999999",
          "lsm: block_size='99999999999999999999': a size from 512 to 1MB is needed, like 16KB" },
        { "block_size=16 cows",
          "lsm: block_size='16 cows': a size from 512 to 1MB is needed, like 16KB" },
        { "filter_bits=21",
          "lsm: filter_bits='21': a number from 0 (no filter) to 20 is needed" },
        { "filter_bits=-1",
          "lsm: filter_bits='-1': a number from 0 (no filter) to 20 is needed" },
        { "compression=lz4",
          "lsm: compression='lz4': none, zstd or zstd:1 .. zstd:19 is needed" },
        { "compression='zstd:0'",
          "lsm: compression='zstd:0': none, zstd or zstd:1 .. zstd:19 is needed" },
        { "compression='none,zstd:3'",
          "lsm: compression='none,zstd:3': none, zstd or zstd:1 .. zstd:19 is needed" },
        { "blob_threshold=63", "lsm: blob_threshold='63': off, or a size from 64 to 1024MB is "
                               "needed, like 4KB" },
        { "min_blob_size='1025MB'", "lsm: min_blob_size='1025MB': off, or a size from 64 to "
                                    "1024MB is needed, like 4KB" },
        { "compresion=none", "lsm: unknown option 'compresion' (did you mean 'compression'?)" },
        { "blocksize=4096", "lsm: unknown option 'blocksize' (did you mean 'block_size'?)" },
        { "compression_level=3", "lsm: unknown option 'compression_level' (did you mean 'compression'?)" },
        { "bloom=10", "lsm: unknown option 'bloom' (did you mean 'bloom_bits'?)" },
        { "blob=10", "lsm: unknown option 'blob' (did you mean 'blob_threshold'?)" },
        { "blo=10", "lsm: unknown option 'blo' (there are "
          "blob_threshold, block_size, compression, filter_bits)" },
        { "x=1", "lsm: unknown option 'x' (there are "
          "blob_threshold, block_size, compression, filter_bits)" },
        { "Path='/etc'",
          "lsm: no option 'Path': the store is always <database>-lsm beside the database file" },
        { "sync=off", "lsm: no option 'sync': PRAGMA synchronous says how durable a commit is, as "
                      "for ordinary tables" },
        { "memtable_size=1", "lsm: no option 'memtable_size': memory is one budget for all tables "
                             "of the database: INSERT INTO t(t, _arg) VALUES('memory', '256MB')" },
        { "ttl='30d'",
          "lsm: no option 'ttl': rows do not expire by themselves in this version: DELETE them" },
        { "block_size=", "lsm: option 'block_size' has no value" },
        { "block_size='4096", "lsm: option \"block_size\": malformed or unclosed: '4096" },
        { "block_size='4096' 1", "lsm: option \"block_size\": not understood: 1" },
    };

    for (size_t i = 0; i < COUNT(good); i++) {
        struct lsm_vtab_schema *s = parse_ok(ARGS(good[i].option));

        if (s) {
            CHECK_INT(s->options.block_bytes, good[i].block);
            CHECK_INT(s->options.filter_bits, good[i].filter);
            CHECK_INT(s->options.compression_level, good[i].level);
            CHECK_INT(s->options.value_log_bytes, good[i].values);
        }
        lsm_vtab_schema_free(s);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        check_refused(ARGS(bad[i][0]), bad[i][1]);
    check_refused(ARGS("filter_bits=1", "bloom_bits=1"), "lsm: option 'bloom_bits' is given twice");
}

TEST(schema_refuses_with_a_message_what_it_does_not_understand)
{
    static const char *const bad[][2] = {
        { "k", "lsm: no PRIMARY KEY (add one, e.g. \"key TEXT PRIMARY KEY\")" },
        { "PRIMARY KEY(a)", "lsm: PRIMARY KEY(...) names columns that are not there (e.g. lsm(a, b, PRIMARY KEY(a, b)))" },
        { "", "lsm: an argument is a column definition, PRIMARY KEY(...) or option=value, not: " },
        { "123 INT", "lsm: an argument is a column definition, PRIMARY KEY(...) or option=value, "
                     "not: 123" },
        { "\"\" PRIMARY KEY", "lsm: a column has an empty name" },
        { "k PRIMARY", "lsm: column \"k\" ends too early" },
        { "k PRIMARY KEY PRIMARY KEY",
          "lsm: more than one PRIMARY KEY (for a composite key: PRIMARY KEY(a, b))" },
        { "k PRIMARY KEY ON CONFLICT REPLACE", "lsm: column \"k\": ON is not supported (give the "
                                               "conflict clause in the statement: INSERT OR ...)" },
        { "k INTEGER PRIMARY KEY AUTOINCREMENT",
          "lsm: column \"k\": AUTOINCREMENT is not supported (keys are given by the INSERT)" },
        { "k UNIQUE",
          "lsm: column \"k\": UNIQUE is not supported (only the PRIMARY KEY is unique)" },
        { "k CHECK(k > 0)", "lsm: column \"k\": CHECK is not supported" },
        { "k INT REFERENCES o(i)", "lsm: column \"k\": REFERENCES is not supported" },
        { "k GENERATED ALWAYS AS (1)", "lsm: column \"k\": GENERATED is not supported" },
        { "k AS (1)", "lsm: column \"k\": AS is not supported" },
        { "k INT(1,2,3) PRIMARY KEY", "lsm: column \"k\": not understood: ," },
        { "k INT(a)", "lsm: column \"k\": not understood: a" },
        { "k TEXT HIDDEN PRIMARY KEY", "lsm: column \"k\": HIDDEN is not supported" },
        { "k DEFAULT (1+1) PRIMARY KEY",
          "lsm: column \"k\": DEFAULT takes a literal, not an expression" },
        { "k DEFAULT foo PRIMARY KEY", "lsm: column \"k\": not understood: foo" },
        { "k DEFAULT 12ab", "lsm: column \"k\": malformed or unclosed: 12ab" },
        { "k DEFAULT x'0' PRIMARY KEY", "lsm: column \"k\": malformed or unclosed: x'0'" },
        { "k DEFAULT 0x1ffffffffffffffff",
          "lsm: column \"k\": hex number too big: 0x1ffffffffffffffff" },
        { "k DEFAULT 1 DEFAULT 2", "lsm: column \"k\" has two DEFAULTs" },
        { "k COLLATE binary2 PRIMARY KEY", "lsm: column \"k\": COLLATE binary2 is not supported "
                                           "(BINARY, NOCASE and RTRIM are)" },
        { "k 'unclosed", "lsm: column \"k\": malformed or unclosed: 'unclosed" },
        { "k /* unclosed", "lsm: column \"k\": malformed or unclosed: /* unclosed" },
        { "k IN INT", "lsm: column \"k\": not understood: IN" },
        { "k TEXT DESC", "lsm: column \"k\": not understood: DESC" },
        { "k TEXT \"INT\"", "lsm: column \"k\": not understood: \"INT\"" },
        { "k 'TEXT' INT", "lsm: column \"k\": not understood: INT" },
        { "k INT; DROP TABLE x", "lsm: column \"k\": not understood: ;" },
        { "_Key PRIMARY KEY", "lsm: column name \"_Key\" is reserved for a hidden column" },
        { "T PRIMARY KEY", "lsm: column \"T\" has the name of the table, which is its hidden "
                           "command column" },
        { "UNIQUE(a)", "lsm: UNIQUE is not supported" },
        { "CHECK(1)", "lsm: CHECK is not supported" },
        { "CONSTRAINT c FOREIGN KEY(a) REFERENCES b", "lsm: FOREIGN KEY is not supported" },
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        check_refused(ARGS(bad[i][0]), bad[i][1]);
    check_refused(ARGS("a", "b DEFAULT 1", "PRIMARY KEY(a)"),
                  "lsm: column \"b\": DEFAULT needs NOT NULL (SQLite does not tell a virtual table "
                  "a column that is left out from NULL)");
    check_refused(ARGS("a PRIMARY KEY", "PRIMARY KEY(a)"),
                  "lsm: more than one PRIMARY KEY (for a composite key: PRIMARY KEY(a, b))");
    check_refused(ARGS("a", "PRIMARY KEY(a, b)"),
                  "lsm: PRIMARY KEY names an unknown column: \"b\"");
    check_refused(ARGS("a", "PRIMARY KEY(a, A)"), "lsm: PRIMARY KEY names a column twice: \"A\"");
    check_refused(ARGS("a", "PRIMARY KEY(a COLLATE NOCASE)"),
                  "lsm: COLLATE belongs to the column's definition, not into PRIMARY KEY(...)");
    check_refused(ARGS("a", "PRIMARY KEY()"), "lsm: constraint \"PRIMARY KEY\": not understood: )");
    check_refused(ARGS("a", "PRIMARY KEY(a) ON CONFLICT FAIL"),
                  "lsm: constraint \"PRIMARY KEY\": not understood: ON");
    check_refused(ARGS("a PRIMARY KEY", "b", "\"B\" INT"), "lsm: duplicate column name: B");
}

/* H-11 */
TEST(schema_limits_are_kept_in_time)
{
    static char long_arg[LSM_VTAB_ARG_SIZE_MAX + 2];
    const char **argv = calloc(10003, sizeof *argv);
    char (*names)[32] = calloc(10000, sizeof *names);
    struct lsm_vtab_schema *s = NULL;
    char *error = NULL;

    memset(long_arg, 'k', sizeof long_arg - 1);
    CHECK_INT(parse(ARGS(long_arg), &s, &error), SQLITE_ERROR);
    CHECK(strncmp(error, "lsm: an argument is longer than 4096 bytes: kkk", 47) == 0);
    sqlite3_free(error);
    long_arg[LSM_VTAB_ARG_SIZE_MAX] = 0;
    CHECK_INT(parse(ARGS(long_arg), &s, &error), SQLITE_ERROR);
    CHECK(strncmp(error, "lsm: a column's name is longer than 1024 bytes", 46) == 0);
    sqlite3_free(error);

    argv[2] = "t";
    for (int i = 0; i < 10000; i++) {
        snprintf(names[i], sizeof names[i], "c%d%s", i, i ? "" : " PRIMARY KEY");
        argv[3 + i] = names[i];
    }
    error = NULL;
    CHECK_INT(lsm_vtab_schema_parse(10003, argv, &s, &error), SQLITE_ERROR);
    CHECK_STR(error, "lsm: more than 2000 columns");
    sqlite3_free(error);
    error = NULL;
    if (CHECK_INT(lsm_vtab_schema_parse(2003, argv, &s, &error), SQLITE_OK))
        CHECK_INT(s->value_count, 1999);
    lsm_vtab_schema_free(s);
    sqlite3_free(error);
    free(argv);
    free(names);
}

TEST(schema_canonical_text_tells_what_rows_depend_on)
{
    struct lsm_vtab_schema *a, *b;
    char *x, *y;

    a = parse_ok(ARGS("k TEXT", "v  INT NOT NULL DEFAULT 5", "PRIMARY KEY(k DESC)",
                      "filter_bits=5"));
    b = parse_ok(ARGS("\"k\" TEXT PRIMARY KEY DESC", "v /**/ INT NOT NULL"));
    x = lsm_vtab_schema_canonical(a);
    y = lsm_vtab_schema_canonical(b);
    CHECK_STR(x, y);
    CHECK_STR(x, "\"k\" TEXT NOT NULL, \"v\" INT NOT NULL, PRIMARY KEY(\"k\" DESC)");
    sqlite3_free(x);
    sqlite3_free(y);
    lsm_vtab_schema_free(a);
    lsm_vtab_schema_free(b);
}

TEST(schema_table_cannot_take_a_columns_name)
{
    struct lsm_vtab_schema *s = parse_ok(ARGS(NULL));
    char *error = NULL;

    CHECK_INT(lsm_vtab_schema_check_name(s, "other", &error), SQLITE_OK);
    CHECK_INT(lsm_vtab_schema_check_name(s, "VALUE", &error), SQLITE_ERROR);
    CHECK_STR(error, "lsm: column \"value\" has the name of the table, which is its hidden command "
                     "column");
    sqlite3_free(error);
    error = NULL;
    CHECK_INT(lsm_vtab_schema_check_name(s, "_arg", &error), SQLITE_ERROR);
    sqlite3_free(error);
    lsm_vtab_schema_free(s);
}

/* SQLite takes every declaration that is made, and names its columns as they were. */
static int connect_module(sqlite3 *db, void *aux, int argc, const char *const *argv,
                          sqlite3_vtab **vtab, char **error)
{
    struct lsm_vtab_schema *s;
    char *text;
    int rc = lsm_vtab_schema_parse(argc, argv, &s, error);

    (void)aux;
    if (rc != SQLITE_OK)
        return rc;
    text = lsm_vtab_schema_declaration(s);
    rc = sqlite3_declare_vtab(db, text);
    sqlite3_free(text);
    lsm_vtab_schema_free(s);
    *vtab = rc == SQLITE_OK ? sqlite3_malloc(sizeof **vtab) : NULL;
    if (*vtab)
        memset(*vtab, 0, sizeof **vtab);
    return rc;
}

static int disconnect_module(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int no_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    (void)vtab, (void)argc, (void)argv, (void)rowid;
    return SQLITE_READONLY;
}

TEST(schema_declarations_are_accepted_by_sqlite)
{
    static const sqlite3_module module = { .xCreate = connect_module, .xConnect = connect_module,
                                           .xDisconnect = disconnect_module,
                                           .xDestroy = disconnect_module, .xUpdate = no_update };
    static const char *const definitions[] = {
        "lsm", "lsm()", "lsm(\"a\"\"b\" PRIMARY KEY, [c d], `e`, 'g''h' TEXT, \"--;\" INT)",
        "lsm(a, b, PRIMARY KEY(a, b DESC))", "lsm(select_ PRIMARY KEY, \"select\", \"sqlite_x\")",
        "lsm(a \"my \"\"type\" PRIMARY KEY, b [x y], c 'q' NOT NULL)",
        "lsm(a INT PRIMARY KEY, b, bloom_bits = 10, compression = zstd:3)",
        "lsm(a TEXT COLLATE NOCASE PRIMARY KEY /* , */, b -- , x\n)",
        "lsm(\"\xf0\x9f\x98\x80\" PRIMARY KEY, \"\xff\xfe\", \"a\nb\")",
    };
    sqlite3 *db;

    sqlite3_open(":memory:", &db);
    sqlite3_create_module(db, "lsm", &module, NULL);
    for (size_t i = 0; i < COUNT(definitions); i++) {
        char sql[200];
        char *error = NULL;

        snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE \"t\"\"%zu\" USING %s", i, definitions[i]);
        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
            test_check(false, __FILE__, __LINE__, sql, ": %s", error);
        sqlite3_free(error);
    }
    sqlite3_close(db);
}

TEST(schema_out_of_memory_at_any_point_is_nomem)
{
    const char *const *args = ARGS("a TEXT DEFAULT 'x' NOT NULL", "b INT(1)",
                                   "c DEFAULT x'01' NOT NULL", "d DEFAULT 1.5 NOT NULL",
                                   "PRIMARY KEY(a, b)", "compression='zstd'");
    int step = 1, rc;

    /* The heap limit refuses what exceeds it: raise it until parsing succeeds. */
    for (sqlite3_int64 limit = 0;; limit += 16) {
        struct lsm_vtab_schema *s;
        char *error;

        sqlite3_hard_heap_limit64(sqlite3_memory_used() + limit + 1);
        rc = parse(args, &s, &error);
        sqlite3_hard_heap_limit64(0);
        CHECK(rc == SQLITE_OK || rc == SQLITE_NOMEM);
        lsm_vtab_schema_free(s);
        sqlite3_free(error);
        if (rc != SQLITE_NOMEM || ++step > 10000)
            break;
    }
    CHECK_INT(rc, SQLITE_OK);
    CHECK_INT(sqlite3_memory_used(), 0);
}

/*
 * test_vtab_row.c -- rows come back bit by bit, cost what was promised, and
 * malformed ones are errors. (Random rows against SQLite: test_vtab_key.)
 */
#include "tests/test.h"

#include <math.h>

#include "ext/vtab_row.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static struct lsm_vtab_schema *parse(int argc, const char *const *argv)
{
    struct lsm_vtab_schema *schema = NULL;
    char *error = NULL;

    if (lsm_vtab_schema_parse(argc, argv, &schema, &error) != SQLITE_OK)
        test_check(false, __FILE__, __LINE__, "parse", ": %s", error);
    sqlite3_free(error);
    return schema;
}

#define SCHEMA(...) \
    parse(3 + (int)COUNT(((const char *const[]){ __VA_ARGS__ })), \
          (const char *const[]){ "lsm", "main", "t", __VA_ARGS__ })

static struct lsm_vtab_value null_value(void)
{
    return (struct lsm_vtab_value){ .type = SQLITE_NULL };
}

static struct lsm_vtab_value integer(int64_t i)
{
    return (struct lsm_vtab_value){ .type = SQLITE_INTEGER, .u.integer = i };
}

static struct lsm_vtab_value real(double r)
{
    return (struct lsm_vtab_value){ .type = SQLITE_FLOAT, .u.real = r };
}

static struct lsm_vtab_value bytes(int type, const char *s, size_t size)
{
    return (struct lsm_vtab_value){ .type = type, .u.bytes = { (const uint8_t *)s, size } };
}

/* Encode and decode in buffers of the exact size; returns the row's size. */
static size_t check_round_trip(const struct lsm_vtab_schema *s, const struct lsm_vtab_value *values)
{
    struct lsm_vtab_buf key, row;
    struct lsm_vtab_row view;
    struct lsm_slice k, r;
    size_t size;

    lsm_vtab_key_init(&key);
    lsm_vtab_row_buf_init(&row);
    CHECK_INT(lsm_vtab_key_encode(s, values, &key), SQLITE_OK);
    CHECK_INT(lsm_vtab_row_encode(s, values, &row), SQLITE_OK);
    size = row.size;
    k.data = memcpy(malloc(key.size), key.data, key.size);
    r.data = memcpy(malloc(row.size), row.data, row.size);
    k.size = key.size;
    r.size = row.size;
    lsm_vtab_buf_clear(&key);
    lsm_vtab_buf_clear(&row);

    CHECK_INT(lsm_vtab_row_init(&view, s), SQLITE_OK);
    lsm_vtab_row_set(&view, k, r);
    for (int i = s->column_count - 1; i >= 0; i--) {
        struct lsm_vtab_value have;

        CHECK_INT(lsm_vtab_row_column(&view, i, &have), SQLITE_OK);
        CHECK(lsm_vtab_value_identical(&have, &values[i]));
        if (!lsm_vtab_row_needs_value(s, i)) {
            lsm_vtab_row_set(&view, k, (struct lsm_slice){ NULL, 0 });
            CHECK_INT(lsm_vtab_row_column(&view, i, &have), SQLITE_OK);
            CHECK(lsm_vtab_value_identical(&have, &values[i]));
            lsm_vtab_row_set(&view, k, r);
        }
    }
    lsm_vtab_row_clear(&view);
    free((void *)(uintptr_t)k.data);
    free((void *)(uintptr_t)r.data);
    return size;
}

TEST(row_of_one_value_costs_two_bytes_over_it)
{
    struct lsm_vtab_schema *s = SCHEMA("k PRIMARY KEY", "v");
    static char big[100000];
    static const size_t sizes[] = { 0, 1, 57, 58, 100, 8000, sizeof big };

    memset(big, 'v', sizeof big);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct lsm_vtab_value values[2] = { integer(1), bytes(SQLITE_TEXT, big, sizes[i]) };

        CHECK_INT(check_round_trip(s, values), sizes[i] + 2);
        values[1].type = SQLITE_BLOB;
        CHECK_INT(check_round_trip(s, values), sizes[i] + 2);
    }
    lsm_vtab_schema_free(s);
}

TEST(row_numbers_take_the_bytes_they_need)
{
    struct lsm_vtab_schema *s = SCHEMA("k PRIMARY KEY", "v", "r REAL");
    static const struct {
        int64_t i;
        size_t size;
    } cases[] = {
        { 0, 0 }, { 1, 0 }, { -1, 1 }, { 2, 1 }, { 127, 1 }, { -128, 1 }, { 128, 2 }, { -129, 2 },
        { 32767, 2 }, { 32768, 3 }, { -32769, 3 }, { 8388607, 3 }, { 8388608, 4 },
        { INT32_MAX, 4 }, { INT32_MIN, 4 }, { (int64_t)INT32_MAX + 1, 6 },
        { (int64_t)1 << 47, 8 }, { ((int64_t)1 << 47) - 1, 6 }, { -((int64_t)1 << 47), 6 },
        { INT64_MAX, 8 }, { INT64_MIN, 8 }, { 9007199254740993, 8 },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lsm_vtab_value values[3] = { integer(1), integer(cases[i].i), null_value() };

        CHECK_INT(check_round_trip(s, values), 3 + cases[i].size);
        /* A REAL column stores a whole number as an integer, where that is shorter. */
        values[1] = null_value();
        values[2] = real((double)cases[i].i);
        CHECK_INT(check_round_trip(s, values), 3 + cases[i].size);
    }
    {
        static const double reals[] = { 0.1, -0.0, 1e300, 5e-324, INFINITY, -INFINITY, 1.5,
                                        9007199254740993.0, 281474976710656.0, -281474976710656.0 };

        for (size_t i = 0; i < COUNT(reals); i++) {
            struct lsm_vtab_value values[3] = { integer(1), real(reals[i]), real(reals[i]) };

            CHECK_INT(check_round_trip(s, values), 3 + 16);
        }
    }
    lsm_vtab_schema_free(s);
}

TEST(row_keeps_a_key_column_only_where_the_key_is_not_faithful)
{
    struct lsm_vtab_schema *s = SCHEMA("a", "b TEXT COLLATE NOCASE", "c TEXT COLLATE RTRIM",
                                       "PRIMARY KEY(a, b DESC, c)");
    struct lsm_vtab_value v[3] = { integer(5), bytes(SQLITE_TEXT, "abc", 3),
                                   bytes(SQLITE_TEXT, "x y", 3) };

    CHECK_INT(check_round_trip(s, v), 1);
    v[0] = real(5.0);
    CHECK_INT(check_round_trip(s, v), 5);       /* flags, count, part, code, one byte of 5 */
    v[0] = real(-0.0);
    CHECK_INT(check_round_trip(s, v), 12);
    v[0] = real(5.5);
    CHECK_INT(check_round_trip(s, v), 1);
    v[0] = bytes(SQLITE_BLOB, "A ", 2);
    CHECK_INT(check_round_trip(s, v), 1);
    v[1] = bytes(SQLITE_TEXT, "aBc", 3);
    CHECK_INT(check_round_trip(s, v), 7);
    v[1] = bytes(SQLITE_TEXT, "a\0c", 3);
    CHECK_INT(check_round_trip(s, v), 7);
    v[2] = bytes(SQLITE_TEXT, "x ", 2);
    CHECK_INT(check_round_trip(s, v), 11);
    v[0] = real(-9223372036854775808.0);
    CHECK_INT(check_round_trip(s, v), 21);
    v[0] = real(9223372036854775808.0);
    CHECK_INT(check_round_trip(s, v), 11);
    lsm_vtab_schema_free(s);
}

TEST(row_bytes_survive_as_they_are)
{
    struct lsm_vtab_schema *s = SCHEMA("k BLOB PRIMARY KEY", "a", "b", "c", "d");
    struct lsm_vtab_value v[5] = { bytes(SQLITE_BLOB, "\0\x01\xff", 3),
                                   bytes(SQLITE_TEXT, "\xff\xfe\0x", 4),
                                   bytes(SQLITE_BLOB, NULL, 0),
                                   bytes(SQLITE_TEXT, NULL, 0), null_value() };

    check_round_trip(s, v);
    v[4] = bytes(SQLITE_BLOB, NULL, 0);
    check_round_trip(s, v);
    lsm_vtab_schema_free(s);
}

TEST(row_of_two_thousand_columns_is_read_in_any_order)
{
    const char **argv = calloc(2003, sizeof *argv);
    char (*names)[32] = calloc(2000, sizeof *names);
    struct lsm_vtab_value *values = calloc(2000, sizeof *values);
    struct lsm_vtab_schema *s;

    argv[2] = "t";
    for (int i = 0; i < 2000; i++) {
        snprintf(names[i], sizeof names[i], "c%d%s", i, i ? "" : " PRIMARY KEY");
        argv[3 + i] = names[i];
        values[i] = i % 3 ? integer((int64_t)i * i * i)
                          : bytes(SQLITE_TEXT, names[i], (size_t)i % 5);
    }
    s = parse(2003, argv);
    check_round_trip(s, values);
    lsm_vtab_schema_free(s);
    free(values);
    free(names);
    free(argv);
}

TEST(row_malformed_is_an_error_that_says_what)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *why;
    } bad[] = {
        { "", 0, "row is empty" },
        { "\x02\0\0", 3, "row has flags of a newer format" },
        { "\x01", 1, "row has a malformed list of kept key columns" },
        { "\x01\0\0\0", 4, "row has a malformed list of kept key columns" },
        { "\x01\x03\0\x01\x02\0\0\0\0\0", 10, "row has a malformed list of kept key columns" },
        { "\x01\x02\x01\0\0\0\0\0", 8, "row has a malformed list of kept key columns" },
        { "\x01\x02\0\0\0\0\0\0", 8, "row has a malformed list of kept key columns" },
        { "\x01\x01\x02\0\0\0", 6, "row has a malformed list of kept key columns" },
        { "\0\0", 2, "row ends within its header" },
        { "\0\0\x80", 3, "row ends within its header" },
        { "\0\0\x80\0", 4, "row ends within its header" },      /* not the shortest varint */
        { "\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 12, "row ends within its header" },
        { "\0\x0a\0", 3, "row has an open length before its last column" },
        { "\0\0\x01", 3, "row has a column that is longer than the row" },
        { "\0\x0e\x0ex", 4, "row has a column that is longer than the row" },
        { "\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12,
          "row has a column that is longer than the row" },
        { "\0\0\0x", 4, "row has bytes behind its last column" },
        { "\0\0\x0cx", 4, "row has bytes behind its last column" },
    };
    struct lsm_vtab_schema *s = SCHEMA("a COLLATE NOCASE", "b COLLATE NOCASE", "c", "d",
                                       "PRIMARY KEY(a, b)");
    struct lsm_slice key = { (const uint8_t *)"\x80\x80", 2 };
    struct lsm_vtab_row view;
    struct lsm_vtab_value v;

    CHECK_INT(lsm_vtab_row_init(&view, s), SQLITE_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint8_t *data = malloc(bad[i].size + 1);

        memcpy(data + 1, bad[i].bytes, bad[i].size);
        for (int column = 0; column < 4; column++) {
            lsm_vtab_row_set(&view, key, (struct lsm_slice){ data + 1, bad[i].size });
            CHECK_INT(lsm_vtab_row_column(&view, column, &v), SQLITE_CORRUPT_VTAB);
            CHECK_STR(view.why, bad[i].why);
        }
        free(data);
    }
    key.data = (const uint8_t *)"\x80\xec";
    lsm_vtab_row_set(&view, key, (struct lsm_slice){ (const uint8_t *)"\0\0\0", 3 });
    CHECK_INT(lsm_vtab_row_column(&view, 0, &v), SQLITE_OK);
    CHECK_INT(lsm_vtab_row_column(&view, 1, &v), SQLITE_CORRUPT_VTAB);
    CHECK_STR(view.why, "malformed key");
    lsm_vtab_row_clear(&view);
    lsm_vtab_schema_free(s);
}

TEST(row_over_the_limit_is_toobig)
{
    struct lsm_vtab_schema *s = SCHEMA("k PRIMARY KEY", "v");
    struct lsm_vtab_value v[2] = { integer(1), bytes(SQLITE_BLOB, "0123456789", 10) };
    struct lsm_vtab_buf row;

    lsm_vtab_buf_init(&row, 12);
    CHECK_INT(lsm_vtab_row_encode(s, v, &row), SQLITE_OK);
    lsm_vtab_buf_clear(&row);
    lsm_vtab_buf_init(&row, 11);
    CHECK_INT(lsm_vtab_row_encode(s, v, &row), SQLITE_TOOBIG);
    lsm_vtab_buf_clear(&row);
    lsm_vtab_schema_free(s);
}

/* Results: what a function returns is what went in. */
static void echo(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct lsm_vtab_value v;

    (void)argc;
    CHECK_INT(lsm_vtab_value_from(argv[0], &v), SQLITE_OK);
    lsm_vtab_value_result(context, &v);
}

TEST(row_results_are_bit_exact_in_every_encoding)
{
    static const char *const encodings[] = { "UTF-8", "UTF-16le", "UTF-16be" };
    static const char *const literals[] = {
        "NULL", "1", "-9223372036854775808", "1.5", "9e999", "'x'", "''", "x''", "x'00ff'",
        "zeroblob(10)", "zeroblob(0)", "char(97,0,98)", "'\xc3\xa4\xf0\x9f\x98\x80'",
    };

    for (size_t e = 0; e < COUNT(encodings); e++) {
        char sql[200];
        sqlite3 *db;

        sqlite3_open(":memory:", &db);
        snprintf(sql, sizeof sql, "PRAGMA encoding='%s'; CREATE TABLE x(y)", encodings[e]);
        sqlite3_exec(db, sql, NULL, NULL, NULL);
        sqlite3_create_function(db, "echo", 1, SQLITE_UTF8, NULL, echo, NULL, NULL);
        for (size_t i = 0; i < COUNT(literals); i++) {
            sqlite3_stmt *s = NULL;

            snprintf(sql, sizeof sql, "SELECT typeof(echo(%s)) = typeof(%s) AND "
                     "hex(echo(%s)) = hex(%s) AND echo(%s) IS %s", literals[i], literals[i],
                     literals[i], literals[i], literals[i], literals[i]);
            sqlite3_prepare_v2(db, sql, -1, &s, NULL);
            CHECK_INT(sqlite3_step(s), SQLITE_ROW);
            if (!CHECK_INT(sqlite3_column_int(s, 0), 1))
                puts(sql);
            sqlite3_finalize(s);
        }
        sqlite3_close(db);
    }
}

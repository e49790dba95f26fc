/*
 * test_vtab_key.c -- the key codec and the ranges against real SQLite.
 *
 * Random values go into an ordinary WITHOUT ROWID table and, as SQLite hands
 * them to a virtual table, through the codec. Then SQLite's order, its UNIQUE
 * failures, its stored values and its comparisons must be those of the bytes.
 */
#include "tests/test.h"

#include <float.h>
#include <math.h>

#include "ext/vtab_row.h"

/* ---- random values -------------------------------------------------------- */

struct any {
    int type;
    int64_t integer;
    double real;
    char bytes[64];
    int size;
};

static const int64_t integer_edges[] = {
    0, 1, 39, 40, 47, 48, 127, 128, 255, 256, 32767, 32768, 8388607, 8388608, 2147483647,
    2147483648, 140737488355327, 140737488355328, 4503599627370496, 9007199254740991,
    9007199254740992, 9007199254740993, 1152921504606846976, INT64_MAX - 1023, INT64_MAX - 512,
    INT64_MAX - 1, INT64_MAX,
};

static const double real_edges[] = {
    0.0, 0.5, 0.1, 1e-300, 5e-324, DBL_MIN, DBL_MAX, INFINITY, 1.0, 1.5, 0.99999999999999989,
    2251799813685248.5, 4503599627370495.5, 9007199254740992.0, 9223372036854774784.0,
    9223372036854775808.0, 9223372036854777856.0, 1.8446744073709552e19, 1e19, 1e100, 47.5,
    47.999999999999993,
};

static const char *const text_edges[] = {
    "", " ", "  ", "0", "1", "1.0", " 1", "1 ", "01", "1e0", "1e", "1e+", "+1", "-1", "-0", "-0.0",
    "0.0", ".5", "5.", ".", "+", "1.5", "1e3", "1000", "0x10", "9007199254740993",
    "9007199254740992.0", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "1e999", "-1e999", "Inf", "-Inf", "inf", "NaN", "abc", "ABC", "aBc",
    "abc ", "abc  ", "ab", "abcd", "abd", "!", "/usr", ":", ";", "[", "_", "`", "\xc3\xa4",
    "\xc3\x84", "\xff\xfe", "\x01", "\x02", "\x80", "12abc", "\t5", "5\n", "\x0b", "5\x0b",
    "2024-01-01", "zzzz",
};

/* Texts with a NUL. */
static const struct {
    const char *text;
    int size;
} nul_edges[] = {
    { "\0", 1 }, { "\0\0", 2 }, { "a\0", 2 }, { "a\0b", 3 }, { "a\0C", 3 }, { "A\0b", 3 },
    { "a\0bb", 4 }, { "a\x01", 2 }, { "a\x01\x01", 3 }, { "a\0\x01", 3 }, { "a\x01\0", 3 },
    { "1\0", 2 }, { "a\0 ", 3 }, { "a ", 2 }, { "a \0", 3 },
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define PICK(a) (a)[test_below(COUNT(a))]

static double random_real(void)
{
    double r;
    uint64_t bits;

    switch (test_below(5)) {
    case 0:
        r = PICK(real_edges);
        break;
    case 1:
        r = (double)PICK(integer_edges);
        break;
    case 2:
        r = (double)test_below(100) / 4;
        break;
    case 3:
        r = nextafter((double)PICK(integer_edges), test_below(2) ? INFINITY : -INFINITY);
        break;
    default:
        bits = test_random();
        memcpy(&r, &bits, sizeof r);
        if (isnan(r))
            r = 0;
        break;
    }
    return test_below(2) ? -r : r;
}

static void random_text(struct any *v)
{
    v->type = SQLITE_TEXT;
    if (test_below(5) == 0) {
        size_t i = test_below(COUNT(nul_edges));

        v->size = nul_edges[i].size;
        memcpy(v->bytes, nul_edges[i].text, (size_t)v->size);
    } else if (test_below(4) == 0) {
        v->size = (int)test_below(6);
        for (int i = 0; i < v->size; i++)
            v->bytes[i] = "aAbB 1\0\x01\x02~"[test_below(10)];
    } else if (test_below(4) == 0) {
        v->size = snprintf(v->bytes, sizeof v->bytes, "%.*g", (int)test_below(20), random_real());
    } else {
        v->size = snprintf(v->bytes, sizeof v->bytes, "%s", PICK(text_edges));
    }
}

static struct any random_any(void)
{
    struct any v;

    memset(&v, 0, sizeof v);
    switch (test_below(8)) {
    case 0:
    case 1:
        v.type = SQLITE_INTEGER;
        v.integer = PICK(integer_edges) + (int64_t)test_below(3) * (test_below(2) ? -1 : 0);
        if (test_below(2))
            v.integer = -v.integer - (v.integer == INT64_MAX);
        break;
    case 2:
        v.type = SQLITE_INTEGER;
        v.integer = (int64_t)(test_random() >> test_below(64));
        break;
    case 3:
    case 4:
        v.type = SQLITE_FLOAT;
        v.real = random_real();
        break;
    case 5:
        random_text(&v);
        v.type = SQLITE_BLOB;
        break;
    default:
        random_text(&v);
        break;
    }
    return v;
}

static void bind_any(sqlite3_stmt *s, int i, const struct any *v)
{
    switch (v->type) {
    case SQLITE_INTEGER: sqlite3_bind_int64(s, i, v->integer); break;
    case SQLITE_FLOAT: sqlite3_bind_double(s, i, v->real); break;
    case SQLITE_TEXT: sqlite3_bind_text(s, i, v->bytes, v->size, SQLITE_TRANSIENT); break;
    case SQLITE_BLOB: sqlite3_bind_blob(s, i, v->bytes, v->size, SQLITE_TRANSIENT); break;
    default: sqlite3_bind_null(s, i); break;
    }
}

/* ---- one table and its encoded twin --------------------------------------- */

#define COLUMN_COUNT 5          /* a, b in the key in some way; u, r, x not */

struct entry {
    struct lsm_slice key, row;
};

struct twin {
    sqlite3 *db;
    struct lsm_vtab_schema *schema;
    char order[64];             /* of the ordinary table's key */
    struct entry *entries;      /* sorted once loaded */
    size_t count;
    struct entry fresh;         /* what encode() made last */
    struct lsm_vtab_range range;
    int fit;                    /* what narrow() said last */
};

static struct lsm_slice copy_slice(struct lsm_slice s)
{
    uint8_t *data = malloc(s.size + 1);         /* exact for ASan, but never malloc(0) */

    memcpy(data, s.size ? s.data : (const uint8_t *)"", s.size);
    s.data = data;
    return s;
}

static int compare_slices(struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = memcmp(a.data, b.data, n);

    return c ? c : a.size < b.size ? -1 : a.size > b.size;
}

static int compare_entries(const void *a, const void *b)
{
    return compare_slices(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

/* encode(column...): the values of a row as xUpdate gets them. */
static void encode_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct twin *t = sqlite3_user_data(context);
    struct lsm_vtab_value values[COLUMN_COUNT];
    struct lsm_vtab_buf key, row;

    lsm_vtab_key_init(&key);
    lsm_vtab_row_buf_init(&row);
    for (int i = 0; i < argc; i++)
        CHECK_INT(lsm_vtab_value_store(argv[i], t->schema->columns[i].affinity, &values[i]), 0);
    CHECK_INT(lsm_vtab_key_encode(t->schema, values, &key), SQLITE_OK);
    CHECK_INT(lsm_vtab_row_encode(t->schema, values, &row), SQLITE_OK);
    t->fresh.key = copy_slice(lsm_vtab_buf_slice(&key));
    t->fresh.row = copy_slice(lsm_vtab_buf_slice(&row));
    lsm_vtab_buf_clear(&key);
    lsm_vtab_buf_clear(&row);
}

/* narrow(part, op, known, rhs): the right-hand side as xFilter gets it. */
static void narrow_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct twin *t = sqlite3_user_data(context);

    (void)argc;
    t->fit = lsm_vtab_range_narrow(&t->range, &t->schema->key[sqlite3_value_int(argv[0])],
                                   sqlite3_value_int(argv[1]), argv[3],
                                   (unsigned)sqlite3_value_int(argv[2]));
}

static void run(sqlite3 *db, const char *sql)
{
    char *error = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        test_check(false, __FILE__, __LINE__, sql, ": %s", error);
    sqlite3_free(error);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
        test_check(false, __FILE__, __LINE__, sql, ": %s", sqlite3_errmsg(db));
    return s;
}

static void twin_open(struct twin *t, const char *a, const char *b, const char *x, const char *key)
{
    char columns[3][64], constraint[64], sql[500];
    const char *argv[] = { "lsm", "main", "t", columns[0], columns[1], "u", "r REAL", columns[2],
                           constraint };
    char *error = NULL;

    memset(t, 0, sizeof *t);
    lsm_vtab_range_init(&t->range);
    snprintf(columns[0], sizeof columns[0], "a %s", a);
    snprintf(columns[1], sizeof columns[1], "b %s", b);
    snprintf(columns[2], sizeof columns[2], "x %s", x);
    snprintf(constraint, sizeof constraint, "PRIMARY KEY(%s)", key);
    snprintf(t->order, sizeof t->order, "%s", key);
    CHECK_INT(lsm_vtab_schema_parse(COUNT(argv), argv, &t->schema, &error), SQLITE_OK);
    sqlite3_free(error);

    sqlite3_open(":memory:", &t->db);
    snprintf(sql, sizeof sql,
             "CREATE TABLE o(%s, %s, u, r REAL, %s, PRIMARY KEY(%s)) WITHOUT ROWID;"
             "CREATE TABLE rhs(i INTEGER, t TEXT, n NUMERIC, b, r REAL)", columns[0], columns[1],
             columns[2], key);
    run(t->db, sql);
    sqlite3_create_function(t->db, "encode", -1, SQLITE_UTF8, t, encode_function, NULL, NULL);
    sqlite3_create_function(t->db, "narrow", -1, SQLITE_UTF8, t, narrow_function, NULL, NULL);
}

static void twin_close(struct twin *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free((void *)(uintptr_t)t->entries[i].key.data);
        free((void *)(uintptr_t)t->entries[i].row.data);
    }
    free(t->entries);
    lsm_vtab_range_clear(&t->range);
    lsm_vtab_schema_free(t->schema);
    CHECK_INT(sqlite3_close(t->db), SQLITE_OK);
}

/* Insert where SQLite inserts; the keys that are there must be those it finds there. */
static void twin_load(struct twin *t, size_t rows)
{
    sqlite3_stmt *insert = prepare(t->db, "INSERT INTO o VALUES(?,?,?,?,?)");
    sqlite3_stmt *encode = prepare(t->db, "SELECT encode(?,?,?,?,?)");

    t->entries = calloc(rows, sizeof *t->entries);
    for (size_t n = 0; n < rows; n++) {
        size_t low = 0, high = t->count;
        bool found = false, duplicate;

        for (int i = 1; i <= COLUMN_COUNT; i++) {
            struct any v = random_any();

            if (i > 2 && test_below(6) == 0)
                v.type = SQLITE_NULL;
            bind_any(insert, i, &v);
            bind_any(encode, i, &v);
        }
        sqlite3_step(encode);
        sqlite3_reset(encode);
        duplicate = sqlite3_step(insert) == SQLITE_CONSTRAINT;
        sqlite3_reset(insert);

        while (low < high && !found) {
            size_t middle = (low + high) / 2;
            int c = compare_slices(t->fresh.key, t->entries[middle].key);

            found = c == 0;
            if (c > 0)
                low = middle + 1;
            else
                high = middle;
        }
        if (!CHECK(found == duplicate)) {
            sqlite3_stmt *q = prepare(t->db, "SELECT quote(?1) || ' ' || quote(?2)");

            sqlite3_transfer_bindings(insert, q);
            sqlite3_step(q);
            printf("  key %s row %zu: %s\n", t->order, n, sqlite3_column_text(q, 0));
            sqlite3_finalize(q);
        }
        if (found || duplicate) {
            free((void *)(uintptr_t)t->fresh.key.data);
            free((void *)(uintptr_t)t->fresh.row.data);
            continue;
        }
        memmove(t->entries + low + 1, t->entries + low, (t->count - low) * sizeof *t->entries);
        t->entries[low] = t->fresh;
        t->count++;
    }
    sqlite3_finalize(insert);
    sqlite3_finalize(encode);
    for (size_t i = 1; i < t->count; i++)
        CHECK(compare_entries(&t->entries[i - 1], &t->entries[i]) < 0);
}

/* All rows, in SQLite's order, bit by bit. */
static void twin_compare(struct twin *t)
{
    struct lsm_vtab_row row;
    sqlite3_stmt *s;
    char sql[100];
    size_t n = 0;

    snprintf(sql, sizeof sql, "SELECT * FROM o ORDER BY %s", t->order);
    s = prepare(t->db, sql);
    CHECK_INT(lsm_vtab_row_init(&row, t->schema), SQLITE_OK);
    for (; sqlite3_step(s) == SQLITE_ROW && CHECK(n < t->count); n++) {
        struct lsm_vtab_value have[COLUMN_COUNT], want;

        lsm_vtab_row_set(&row, t->entries[n].key, t->entries[n].row);
        for (int i = 0; i < COLUMN_COUNT; i++)
            CHECK_INT(lsm_vtab_row_column(&row, i, &have[i]), SQLITE_OK);
        for (int i = 0; i < COLUMN_COUNT; i++) {
            lsm_vtab_value_from(sqlite3_column_value(s, i), &want);
            if (!CHECK(lsm_vtab_value_identical(&have[i], &want)))
                printf("  key %s row %zu column %d: type %d, SQLite has %d %s\n", t->order, n, i,
                       have[i].type, want.type, sqlite3_column_text(s, i));
        }
    }
    CHECK_INT(n, t->count);
    lsm_vtab_row_clear(&row);
    sqlite3_finalize(s);
}

static bool in_range(const struct lsm_vtab_range *range, struct lsm_slice key)
{
    if (range->is_empty)
        return false;
    if (compare_slices(key, range->lower.size ? lsm_vtab_buf_slice(&range->lower)
                                              : (struct lsm_slice){ (const uint8_t *)"", 0 }) < 0)
        return false;
    return !range->has_upper || compare_slices(key, lsm_vtab_buf_slice(&range->upper)) < 0;
}

/* `s` yields, for each row in key order, whether SQLite takes it. */
static void compare_range(struct twin *t, sqlite3_stmt *s, int fit, const char *what)
{
    size_t n = 0;

    CHECK_INT(lsm_vtab_range_finish(&t->range, t->schema->key_count), SQLITE_OK);
    for (; sqlite3_step(s) == SQLITE_ROW; n++) {
        bool want = sqlite3_column_int(s, 0);
        bool have = in_range(&t->range, t->entries[n].key);

        if (fit == LSM_VTAB_FIT_EXACT || fit == LSM_VTAB_FIT_EMPTY ? have != want : want && !have) {
            test_check(false, __FILE__, __LINE__, what,
                       ": key %s fit %d: %s; row %s %s, right-hand side %s %s", t->order, fit,
                       have ? "only in the range" : "only in SQLite", sqlite3_column_text(s, 1),
                       sqlite3_column_text(s, 2), sqlite3_column_text(s, 3),
                       sqlite3_column_text(s, 4));
            break;
        }
    }
    sqlite3_reset(s);
}

static const struct {
    const char *sql;
    int op;
} operators[] = {
    { "=", SQLITE_INDEX_CONSTRAINT_EQ }, { "IS", SQLITE_INDEX_CONSTRAINT_IS },
    { ">", SQLITE_INDEX_CONSTRAINT_GT }, { ">=", SQLITE_INDEX_CONSTRAINT_GE },
    { "<", SQLITE_INDEX_CONSTRAINT_LT }, { "<=", SQLITE_INDEX_CONSTRAINT_LE },
};

static int narrow(struct twin *t, int part, int op, int known, const char *column,
                  const struct any *v)
{
    char sql[200];
    sqlite3_stmt *s;

    snprintf(sql, sizeof sql, "SELECT narrow(%d, %d, %d, %s) FROM rhs", part, op, known, column);
    s = prepare(t->db, sql);
    if (strchr(column, '?'))
        bind_any(s, 1, v);
    sqlite3_step(s);
    sqlite3_finalize(s);
    return t->fit;
}

static bool has_numeric_text(struct twin *t, int column)
{
    struct lsm_vtab_row row;
    bool has = false;

    CHECK_INT(lsm_vtab_row_init(&row, t->schema), SQLITE_OK);
    for (size_t i = 0; i < t->count; i++) {
        struct lsm_vtab_value v;

        lsm_vtab_row_set(&row, t->entries[i].key, t->entries[i].row);
        lsm_vtab_row_column(&row, column, &v);
        has = has || (v.type == SQLITE_TEXT && lsm_vtab_text_is_number(v.u.bytes));
    }
    lsm_vtab_row_clear(&row);
    return has;
}

/* Compare with a parameter and with columns of all affinities, one or two key columns. */
static void twin_ranges(struct twin *t, int rounds)
{
    static const char *const sources[] = { "?1", "i", "t", "n", "b", "r" };
    static const char *const names[] = { "a", "b" };
    bool numeric_text[2] = { has_numeric_text(t, 0), has_numeric_text(t, 1) };
    sqlite3_stmt *insert = prepare(t->db, "INSERT INTO rhs VALUES(?1, ?1, ?1, ?1, ?1)");

    for (int round = 0; round < rounds; round++) {
        struct any v = random_any();
        size_t o = test_below(COUNT(operators)), source = test_below(COUNT(sources));
        int column = t->schema->key[0].column;
        int known = numeric_text[column] ? 0 : LSM_VTAB_KNOWN_NO_NUMERIC_TEXT;
        const char *a = names[column], *b = names[!column];
        struct any equal = random_any();
        int fit = LSM_VTAB_FIT_EXACT;
        char sql[300];
        sqlite3_stmt *s;

        if (test_below(10) == 0)
            v.type = SQLITE_NULL;
        if (source == 0 && (v.type == SQLITE_TEXT || v.type == SQLITE_BLOB))
            known |= LSM_VTAB_KNOWN_PLAIN;
        if (test_below(4) == 0)
            known &= LSM_VTAB_KNOWN_PLAIN;
        run(t->db, "DELETE FROM rhs");
        bind_any(insert, 1, &v);
        sqlite3_step(insert);
        sqlite3_reset(insert);

        lsm_vtab_range_reset(&t->range);
        if (t->schema->key_count == 2 && test_below(2)) {
            /* a = an existing value AND b op v */
            int known_b = numeric_text[!column] ? 0 : LSM_VTAB_KNOWN_NO_NUMERIC_TEXT;
            sqlite3_stmt *pick;

            if (known & LSM_VTAB_KNOWN_PLAIN)
                known_b |= LSM_VTAB_KNOWN_PLAIN;
            snprintf(sql, sizeof sql, "SELECT %s FROM o LIMIT 1 OFFSET ?", a);
            pick = prepare(t->db, sql);
            sqlite3_bind_int64(pick, 1, (sqlite3_int64)test_below(t->count));
            CHECK_INT(sqlite3_step(pick), SQLITE_ROW);
            equal.type = sqlite3_column_type(pick, 0);
            equal.integer = sqlite3_column_int64(pick, 0);
            equal.real = sqlite3_column_double(pick, 0);
            equal.size = sqlite3_column_bytes(pick, 0);
            CHECK(equal.size <= (int)sizeof equal.bytes);
            if (equal.size && (equal.type == SQLITE_TEXT || equal.type == SQLITE_BLOB))
                memcpy(equal.bytes, sqlite3_column_blob(pick, 0), (size_t)equal.size);
            sqlite3_finalize(pick);

            fit = narrow(t, 0, SQLITE_INDEX_CONSTRAINT_EQ, known & LSM_VTAB_KNOWN_NO_NUMERIC_TEXT,
                         "?1", &equal);
            if (fit == LSM_VTAB_FIT_EXACT)
                fit = narrow(t, 1, operators[o].op, known_b, sources[source], &v);
            else                                /* NULL is known to fail whatever b is */
                CHECK_INT(narrow(t, 1, operators[o].op, known_b, sources[source], &v),
                          fit == LSM_VTAB_FIT_EMPTY || v.type == SQLITE_NULL
                              ? LSM_VTAB_FIT_EMPTY : LSM_VTAB_FIT_NONE);
            snprintf(sql, sizeof sql,
                     "SELECT (o.%s = ?2 AND o.%s %s %s%s) IS TRUE, quote(o.a), quote(o.b), "
                     "quote(?2), quote(%s%s) FROM rhs CROSS JOIN o", a, b, operators[o].sql,
                     source ? "rhs." : "", sources[source], source ? "rhs." : "", sources[source]);
        } else {
            fit = narrow(t, 0, operators[o].op, known, sources[source], &v);
            if (lsm_vtab_range_is_exact(&t->schema->key[0]))
                CHECK(fit == LSM_VTAB_FIT_EXACT || fit == LSM_VTAB_FIT_EMPTY);
            snprintf(sql, sizeof sql,
                     "SELECT (o.%s %s %s%s) IS TRUE, quote(o.a), quote(o.b), '', quote(%s%s) "
                     "FROM rhs CROSS JOIN o", a, operators[o].sql, source ? "rhs." : "",
                     sources[source], source ? "rhs." : "", sources[source]);
        }
        s = prepare(t->db, sql);
        if (!source)
            bind_any(s, 1, &v);
        if (sqlite3_bind_parameter_index(s, "?2"))
            bind_any(s, 2, &equal);
        compare_range(t, s, fit, sql);
        sqlite3_finalize(s);
    }
    sqlite3_finalize(insert);
}

/* GLOB 'prefix*': the ranges of text and of blobs together hold what SQLite finds. */
static void twin_globs(struct twin *t, int rounds)
{
    static const char *const names[] = { "a", "b" };
    const struct lsm_vtab_key_part *part = &t->schema->key[0];
    char sql[100];
    sqlite3_stmt *s;

    snprintf(sql, sizeof sql, "SELECT o.%s GLOB ?1, o.%s FROM o", names[part->column],
             names[part->column]);
    s = prepare(t->db, sql);
    for (int round = 0; round < rounds; round++) {
        struct lsm_vtab_range range[2];
        struct any v = random_any();
        char pattern[80];
        struct lsm_slice prefix;
        size_t n = 0;

        random_text(&v);
        snprintf(pattern, sizeof pattern, "%.*s*", v.size, v.bytes);
        prefix = lsm_vtab_glob_prefix((struct lsm_slice){ (const uint8_t *)pattern,
                                                          strlen(pattern) });
        for (int i = 0; i < 2; i++) {
            int fit;

            lsm_vtab_range_init(&range[i]);
            fit = lsm_vtab_range_narrow_prefix(&range[i], part, i ? SQLITE_BLOB : SQLITE_TEXT,
                                               prefix);
            CHECK_INT(fit, part->affinity == LSM_VTAB_AFFINITY_TEXT ? LSM_VTAB_FIT_SUPERSET
                                                                    : LSM_VTAB_FIT_NONE);
            CHECK_INT(lsm_vtab_range_finish(&range[i], t->schema->key_count), SQLITE_OK);
        }
        sqlite3_bind_text(s, 1, pattern, -1, SQLITE_TRANSIENT);
        for (; sqlite3_step(s) == SQLITE_ROW; n++)
            if (sqlite3_column_int(s, 0))
                CHECK(in_range(&range[0], t->entries[n].key)
                      || in_range(&range[1], t->entries[n].key));
        sqlite3_reset(s);
        lsm_vtab_range_clear(&range[0]);
        lsm_vtab_range_clear(&range[1]);
    }
    sqlite3_finalize(s);
}

static const char *const types[] = {
    "", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "TEXT COLLATE NOCASE", "COLLATE NOCASE",
    "TEXT COLLATE RTRIM", "INTEGER COLLATE RTRIM",
};

TEST(key_order_equality_and_values_are_those_of_a_without_rowid_table)
{
    static const char *const keys[] = { "a", "a DESC", "a, b", "a DESC, b", "b, a DESC",
                                        "a DESC, b DESC" };
    size_t rows = test_long() ? 20000 : 1500;

    for (size_t i = 0; i < COUNT(types); i++) {
        for (size_t k = 0; k < COUNT(keys); k++) {
            struct twin t;

            twin_open(&t, types[i], PICK(types), PICK(types), keys[k]);
            twin_load(&t, rows);
            twin_compare(&t);
            twin_close(&t);
        }
    }
}

TEST(key_ranges_hold_what_sqlite_compares)
{
    static const char *const keys[] = { "a", "a DESC", "a, b", "a DESC, b DESC", "b DESC, a" };
    int rounds = test_long() ? 3000 : 150;

    for (size_t i = 0; i < COUNT(types); i++) {
        for (size_t k = 0; k < COUNT(keys); k++) {
            struct twin t;

            twin_open(&t, types[i], PICK(types), "", keys[k]);
            twin_load(&t, 250);
            twin_ranges(&t, rounds);
            twin_globs(&t, rounds / 10);
            twin_close(&t);
        }
    }
}

/* ---- without SQLite ------------------------------------------------------- */

static const struct lsm_vtab_key_part untyped;
static const struct lsm_vtab_key_part text_part = { .affinity = LSM_VTAB_AFFINITY_TEXT };

static struct lsm_vtab_value integer(int64_t i)
{
    return (struct lsm_vtab_value){ .type = SQLITE_INTEGER, .u.integer = i };
}

static struct lsm_vtab_value real(double r)
{
    return (struct lsm_vtab_value){ .type = SQLITE_FLOAT, .u.real = r };
}

static struct lsm_vtab_value text(const char *s, size_t size)
{
    return (struct lsm_vtab_value){ .type = SQLITE_TEXT,
                                    .u.bytes = { (const uint8_t *)s, size } };
}

static void check_bytes(struct lsm_vtab_value v, const struct lsm_vtab_key_part *part,
                        const char *bytes, size_t size)
{
    struct lsm_vtab_buf key;

    lsm_vtab_key_init(&key);
    lsm_vtab_key_add(&key, part, &v);
    if (CHECK_INT(key.size, size))
        CHECK_MEM(key.data, bytes, size);
    lsm_vtab_buf_clear(&key);
}

TEST(key_bytes_are_the_documented_ones)
{
    static const struct lsm_vtab_key_part desc = { .desc = true };

    check_bytes(integer(0), &untyped, "\x80", 1);
    check_bytes(real(-0.0), &untyped, "\x80", 1);
    check_bytes(integer(1), &untyped, "\x82", 1);
    check_bytes(real(1.0), &untyped, "\x82", 1);
    check_bytes(integer(-1), &untyped, "\x7d", 1);
    check_bytes(integer(47), &untyped, "\xde", 1);
    check_bytes(integer(48), &untyped, "\xe0\x60", 2);
    check_bytes(integer(1000), &untyped, "\xe1\x07\xd0", 3);
    check_bytes(real(0.5), &untyped, "\x81\xff\xc0", 3);
    check_bytes(real(1.5), &untyped, "\x83\xff\xc0", 3);
    check_bytes(real(-1.5), &untyped, "\x7c\x00\x3f", 3);
    check_bytes(integer(INT64_MAX), &untyped, "\xe7\xff\xff\xff\xff\xff\xff\xff\xfe", 9);
    check_bytes(integer(INT64_MIN), &untyped, "\x17\xbc\x1f\xff\xff\xff\xff\xff\xff", 9);
    check_bytes(real(INFINITY), &untyped, "\xe8\x7f\xf0\0\0\0\0\0\0", 9);
    check_bytes(text("ab", 2), &untyped, "\xec""ab\0", 4);
    check_bytes(text("a\0\x01\x02", 4), &untyped, "\xec""a\x01\x01\x01\x02\x02\0", 8);
    check_bytes(text("ab", 2), &desc, "\x13\x9e\x9d\xff", 4);
}

TEST(key_one_value_has_one_encoding)
{
    /* Bytes that would decode to a value which is encoded otherwise are malformed. */
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        { "", 0 }, { "\x10", 1 }, { "\x12", 1 }, { "\xe9", 1 }, { "\xed", 1 }, { "\xff", 1 },
        { "\x7f", 1 },                          /* -0 */
        { "\xe0\x5f", 2 },                      /* 95 fits in the tag */
        { "\xe1\x00\xff", 3 },                  /* leading 00 */
        { "\xe1\x01", 2 },                      /* cut off */
        { "\x81", 1 }, { "\x81\xff", 2 },       /* no fraction, or not all of it */
        { "\x81\x00", 2 }, { "\x81\xff\x00", 3 }, /* fraction 0; trailing group 0 */
        { "\x81\xff\xe0", 3 },                  /* fraction of 1 and more */
        { "\x81\xff\x81\x81\x81\x81\x81\x81\x81\x81\x80", 11 },
        { "\x81\x01\x01\x01\x01\x01\x01\x01\x01\xfe", 10 },     /* bits below a double's */
        { "\xad\x04", 2 },                      /* 22 and a fraction that is lost beside it */
        { "\xe8\x43\xdf\xff\xff\xff\xff\xff\xff", 9 },          /* below 2^63 */
        { "\xe8\x7f\xf8\0\0\0\0\0\0", 9 }, { "\xe8\xff\xf0\0\0\0\0\0\0", 9 },   /* NaN, -inf */
        { "\xec""a", 2 }, { "\xec\x01\0", 3 }, { "\xec\x01\x03\0", 4 }, { "\xee\x01", 2 },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct lsm_slice key = copy_slice((struct lsm_slice){ (const uint8_t *)bad[i].bytes,
                                                              bad[i].size });
        struct lsm_vtab_value v;
        uint8_t scratch[32];
        size_t off = 0;

        if (!CHECK_INT(lsm_vtab_key_decode(&untyped, key, &off, scratch, &v), SQLITE_CORRUPT_VTAB))
            printf("  number %zu\n", i);
        free((void *)(uintptr_t)key.data);
    }
}

/* H-05 */
TEST(key_over_the_limit_is_toobig_and_a_bound_over_it_still_divides)
{
    static char big[70000];
    struct lsm_vtab_buf key;
    struct lsm_vtab_value v;
    struct lsm_vtab_range range;
    sqlite3 *db;
    sqlite3_stmt *s;

    memset(big, 'x', sizeof big);
    lsm_vtab_key_init(&key);
    v = text(big, LSM_KEY_SIZE_MAX - 2);
    lsm_vtab_key_add(&key, &text_part, &v);
    CHECK_INT(key.rc, SQLITE_OK);
    CHECK_INT(key.size, LSM_KEY_SIZE_MAX);

    /* 'xxx...' of 70000 bytes: the longest key is below, 'y' is above. */
    sqlite3_open(":memory:", &db);
    s = prepare(db, "SELECT ?1");
    sqlite3_bind_text(s, 1, big, sizeof big, SQLITE_STATIC);
    sqlite3_step(s);
    for (int op = 0; op < 6; op++) {
        static const int ops[] = { SQLITE_INDEX_CONSTRAINT_EQ, SQLITE_INDEX_CONSTRAINT_IS,
                                   SQLITE_INDEX_CONSTRAINT_GT, SQLITE_INDEX_CONSTRAINT_GE,
                                   SQLITE_INDEX_CONSTRAINT_LT, SQLITE_INDEX_CONSTRAINT_LE };
        sqlite3_value *rhs = sqlite3_value_dup(sqlite3_column_value(s, 0));
        int fit;

        lsm_vtab_range_init(&range);
        fit = lsm_vtab_range_narrow(&range, &text_part, ops[op], rhs, LSM_VTAB_KNOWN_PLAIN);
        CHECK_INT(fit, op < 2 ? LSM_VTAB_FIT_EMPTY : LSM_VTAB_FIT_EXACT);
        CHECK_INT(lsm_vtab_range_finish(&range, 1), SQLITE_OK);
        CHECK_INT(in_range(&range, lsm_vtab_buf_slice(&key)), op > 3);
        CHECK_INT(in_range(&range, (struct lsm_slice){ (const uint8_t *)"\xecy\0", 3 }),
                  op == 2 || op == 3);
        lsm_vtab_range_clear(&range);
        sqlite3_value_free(rhs);
    }
    sqlite3_finalize(s);
    sqlite3_close(db);

    lsm_vtab_buf_reset(&key);
    v = text(big, LSM_KEY_SIZE_MAX - 1);
    lsm_vtab_key_add(&key, &text_part, &v);
    CHECK_INT(key.rc, SQLITE_TOOBIG);
    lsm_vtab_buf_clear(&key);
}

/* Narrow with a literal of SQL. */
static int narrow_sql(struct lsm_vtab_range *range, const struct lsm_vtab_key_part *part, int op,
                      const char *literal, unsigned known)
{
    char sql[100];
    sqlite3_value *rhs;
    sqlite3_stmt *s;
    sqlite3 *db;
    int fit;

    sqlite3_open(":memory:", &db);
    snprintf(sql, sizeof sql, "SELECT %s", literal);
    s = prepare(db, sql);
    sqlite3_step(s);
    rhs = sqlite3_value_dup(sqlite3_column_value(s, 0));
    fit = lsm_vtab_range_narrow(range, part, op, rhs, known);
    sqlite3_value_free(rhs);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return fit;
}

TEST(range_of_equal_columns_is_a_point_and_contradictions_are_empty)
{
    static const struct lsm_vtab_key_part parts[2] = {
        { .column = 0, .affinity = LSM_VTAB_AFFINITY_INTEGER },
        { .column = 1, .affinity = LSM_VTAB_AFFINITY_INTEGER, .desc = true },
    };
    struct lsm_vtab_range r;
    int eq = SQLITE_INDEX_CONSTRAINT_EQ, gt = SQLITE_INDEX_CONSTRAINT_GT;
    int lt = SQLITE_INDEX_CONSTRAINT_LT;

    lsm_vtab_range_init(&r);
    CHECK_INT(narrow_sql(&r, &parts[0], eq, "1", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[0], gt, "0", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[1], eq, "'2'", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[1], lt, "3", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(lsm_vtab_range_finish(&r, 2), SQLITE_OK);
    CHECK(r.is_point);
    CHECK_INT(r.prefix.size, 2);
    CHECK_MEM(r.prefix.data, "\x82\x7b", 2);

    CHECK_INT(narrow_sql(&r, &parts[1], gt, "2", 0), LSM_VTAB_FIT_EMPTY);
    CHECK_INT(lsm_vtab_range_finish(&r, 2), SQLITE_OK);
    CHECK(r.is_empty && !r.is_point);

    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &parts[0], gt, "5", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[0], gt, "3", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[0], lt, "8", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(narrow_sql(&r, &parts[1], eq, "8", 0), LSM_VTAB_FIT_NONE);
    CHECK_INT(lsm_vtab_range_finish(&r, 2), SQLITE_OK);
    CHECK_MEM(r.lower.data, "\x8a\xff", 2);
    CHECK_MEM(r.upper.data, "\x90", 1);

    CHECK_INT(narrow_sql(&r, &parts[0], lt, "4", 0), LSM_VTAB_FIT_EXACT);
    CHECK_INT(lsm_vtab_range_finish(&r, 2), SQLITE_OK);
    CHECK(r.is_empty);

    lsm_vtab_range_reset(&r);
    CHECK_INT(lsm_vtab_range_finish(&r, 2), SQLITE_OK);
    CHECK(!r.is_empty && !r.is_point && !r.has_upper && r.lower.size == 0);
    lsm_vtab_range_clear(&r);
}

/* What a text key costs when it is compared with numbers and text: documented, so tested. */
TEST(range_of_text_column_covers_every_affinity_of_the_right_hand_side)
{
    struct lsm_vtab_range r;
    int eq = SQLITE_INDEX_CONSTRAINT_EQ, gt = SQLITE_INDEX_CONSTRAINT_GT;
    int lt = SQLITE_INDEX_CONSTRAINT_LT;

    lsm_vtab_range_init(&r);
    CHECK_INT(narrow_sql(&r, &text_part, eq, "'x'", 0), LSM_VTAB_FIT_EXACT);
    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &text_part, lt, "'x'", 0), LSM_VTAB_FIT_SUPERSET);
    CHECK_MEM(r.upper.data, "\xecx\0", 3);
    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &text_part, lt, "'!'", 0), LSM_VTAB_FIT_SUPERSET);
    CHECK_MEM(r.upper.data, "\xec:\0", 3);
    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &text_part, lt, "'!'", LSM_VTAB_KNOWN_PLAIN), LSM_VTAB_FIT_EXACT);
    CHECK_MEM(r.upper.data, "\xec!\0", 3);
    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &text_part, eq, "5", 0), LSM_VTAB_FIT_SUPERSET);
    CHECK_MEM(r.lower.data, "\xec\t\0", 3);
    CHECK_MEM(r.upper.data, "\xec:\0", 3);
    lsm_vtab_range_reset(&r);
    CHECK_INT(narrow_sql(&r, &text_part, gt, "5", 0), LSM_VTAB_FIT_NONE);
    CHECK_INT(narrow_sql(&r, &text_part, eq, "NULL", 0), LSM_VTAB_FIT_EMPTY);
    lsm_vtab_range_clear(&r);
}

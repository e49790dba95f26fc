/*
 * fuzz_row.c -- a row that is accepted gives values that, encoded again, give
 * those values; one that is not is refused with a text.
 *
 * Byte 0 picks the schema, byte 1 the size of the key, then key and row.
 */
#include <stdlib.h>
#include <string.h>

#include "ext/vtab_row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)
#define COLUMN_COUNT_MAX 6

static struct lsm_vtab_schema *schemas[4];

static struct lsm_vtab_schema *make(int argc, const char *const *argv)
{
    struct lsm_vtab_schema *schema;
    char *error = NULL;

    REQUIRE(lsm_vtab_schema_parse(argc, argv, &schema, &error) == SQLITE_OK);
    return schema;
}

static void make_schemas(void)
{
    const char *kv[] = { "lsm", "main", "t" };
    const char *typed[] = { "lsm", "main", "t", "k INTEGER PRIMARY KEY", "a TEXT", "b REAL",
                            "c BLOB", "d NUMERIC" };
    const char *folded[] = { "lsm", "main", "t", "a COLLATE NOCASE", "b TEXT COLLATE RTRIM",
                             "c", "v", "r REAL", "PRIMARY KEY(a DESC, b, c DESC)" };
    const char *key_only[] = { "lsm", "main", "t", "a REAL", "b", "PRIMARY KEY(a, b)" };

    schemas[0] = make(3, kv);
    schemas[1] = make(8, typed);
    schemas[2] = make(9, folded);
    schemas[3] = make(6, key_only);
}

/* A copy whose ends are where ASan sees them. */
static struct lsm_slice copy_slice(const uint8_t *data, size_t size)
{
    struct lsm_slice s;
    uint8_t *copy = malloc(size + 1);

    memcpy(copy + 1, data, size);
    s.data = copy + 1;
    s.size = size;
    return s;
}

static void free_slice(struct lsm_slice s)
{
    free((void *)(uintptr_t)(s.data - 1));
}

static bool read_all(struct lsm_vtab_row *row, struct lsm_vtab_value *values)
{
    bool good = true;

    for (int i = 0; i < row->schema->column_count; i++) {
        int rc = lsm_vtab_row_column(row, i, &values[i]);

        REQUIRE(rc == SQLITE_OK || (rc == SQLITE_CORRUPT_VTAB && row->why));
        good = good && rc == SQLITE_OK;
    }
    return good;
}

/* Values as a column could have them stored: a hostile row may hold others. */
static bool is_storable(const struct lsm_vtab_schema *schema, const struct lsm_vtab_value *values)
{
    for (int i = 0; i < schema->column_count; i++) {
        const struct lsm_vtab_column *c = &schema->columns[i];

        if (c->affinity == LSM_VTAB_AFFINITY_REAL && values[i].type == SQLITE_INTEGER)
            return false;
        if (c->key_index >= 0 && values[i].type == SQLITE_NULL)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_vtab_value values[COLUMN_COUNT_MAX], again[COLUMN_COUNT_MAX];
    struct lsm_vtab_row row, copy;
    struct lsm_vtab_buf key_buf, row_buf;
    struct lsm_slice key, value;
    const struct lsm_vtab_schema *schema;
    size_t key_size;

    if (size < 2)
        return 0;
    if (!schemas[0])
        make_schemas();
    schema = schemas[data[0] & 3];
    key_size = data[1] < size - 2 ? data[1] : size - 2;
    key = copy_slice(data + 2, key_size);
    value = copy_slice(data + 2 + key_size, size - 2 - key_size);

    REQUIRE(lsm_vtab_row_init(&row, schema) == SQLITE_OK);
    REQUIRE(lsm_vtab_row_init(&copy, schema) == SQLITE_OK);
    lsm_vtab_key_init(&key_buf);
    lsm_vtab_row_buf_init(&row_buf);
    lsm_vtab_row_set(&row, key, value);
    if (read_all(&row, values) && is_storable(schema, values)
        && lsm_vtab_key_encode(schema, values, &key_buf) == SQLITE_OK) {
        REQUIRE(lsm_vtab_row_encode(schema, values, &row_buf) == SQLITE_OK);
        lsm_vtab_row_set(&copy, lsm_vtab_buf_slice(&key_buf), lsm_vtab_buf_slice(&row_buf));
        REQUIRE(read_all(&copy, again));
        for (int i = 0; i < schema->column_count; i++)
            REQUIRE(lsm_vtab_value_identical(&values[i], &again[i]));
    }
    lsm_vtab_buf_clear(&key_buf);
    lsm_vtab_buf_clear(&row_buf);
    lsm_vtab_row_clear(&row);
    lsm_vtab_row_clear(&copy);
    free_slice(key);
    free_slice(value);
    return 0;
}

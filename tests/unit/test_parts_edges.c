/*
 * test_parts_edges.c -- a compaction in parts where a part has nothing to write, and where the only border
 * is a key that could be taken for none.
 */
#include "lsm/db/db.h"
#include "tests/unit/one_tree.h"

static void fill_noise(uint8_t *bytes, size_t size, uint64_t x)
{
    for (size_t i = 0; i < size; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[i] = (uint8_t)(x >> 56);
    }
}

static struct lsm_slice value_of(uint32_t key)
{
    static uint8_t bytes[200];

    fill_noise(bytes, sizeof bytes, key);
    return (struct lsm_slice){ bytes, sizeof bytes };
}

static bool begin(struct one *o, uint64_t file_bytes)
{
    struct lsm_tree_options of;
    struct lsm_options p;

    o->base = lsm_os_posix_new();
    o->os = lsm_os_mem_new(o->base);
    lsm_options_init(&p);
    p.create_if_missing = p.no_worker = true;
    p.os = o->os;
    p.memory_bytes = 32 << 20;
    p.max_subcompactions = 2;
    if (!CHECK_OK(lsm_db_open("/db", &p, &o->db)))
        return false;
    o->db->policy.file_bytes = file_bytes;
    lsm_tree_options_init(&of);
    of.value_log_bytes = LSM_VALUE_LOG_NONE;
    return CHECK_OK(lsm_tree_create(o->db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, &of, &o->tree));
}

static void put(struct one *o, uint32_t from, uint32_t end)
{
    for (uint32_t k = from; k < end; k++)
        CHECK_OK(lsm_db_put(o->db, o->tree, number(k), value_of(k), false));
}

static void delete(struct one *o, uint32_t from, uint32_t end)
{
    for (uint32_t k = from; k < end; k++)
        CHECK_OK(lsm_db_delete(o->db, o->tree, number(k), false));
}

static void flush(struct one *o)
{
    CHECK_OK(lsm_db_flush(o->db));
}

static uint64_t count_rows(struct one *o)
{
    struct lsm_cursor *c;
    uint64_t rows = 0;

    CHECK_OK(lsm_cursor_open(o->tree, NULL, &c));
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        rows++;
    lsm_cursor_close(c);
    return rows;
}

/* The border lies behind all that is deleted: the first part writes no table, and runs stay behind it. */
TEST(parts_of_which_the_first_has_nothing_to_write)
{
    struct lsm_txn *txn;
    struct one o;

    if (!begin(&o, 128 << 10))
        return;
    put(&o, 0, 1);
    put(&o, 5999, 6000);
    flush(&o);
    put(&o, 5000, 10000);
    flush(&o);
    put(&o, 0, 4000);
    flush(&o);
    delete(&o, 0, 4000);
    flush(&o);
    CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
    CHECK_OK(lsm_txn_delete_range(txn, o.tree, number(100), number(200)));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    flush(&o);
    delete(&o, 5000, 7500);
    flush(&o);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK(stat_of(o.db, "subcompactions") > 0);
    CHECK_INT(count_rows(&o), 2500);
    CHECK_OK(lsm_db_check(o.db));
    one_end(&o);
}

TEST(parts_are_not_divided_at_the_empty_key)
{
    static uint8_t large[4 << 20];
    struct one o;

    if (!begin(&o, 1 << 20))
        return;
    put(&o, 99, 100);
    put(&o, 5, 6);
    flush(&o);
    fill_noise(large, sizeof large, 1);
    CHECK_OK(lsm_db_put(o.db, o.tree, (struct lsm_slice){ (const uint8_t *)"", 0 },
                        (struct lsm_slice){ large, sizeof large }, false));
    put(&o, 0, 100);
    flush(&o);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK_INT(count_rows(&o), 101);
    CHECK_OK(lsm_db_check(o.db));
    one_end(&o);
}

/*
 * test_ingest.c -- sorted input becomes tables of a transaction.
 * (Random ingests among everything else: test_rangedel.c; crashes: crash_engine.)
 */
#include "tests/unit/disk.h"
#include "tests/unit/one_tree.h"

#include <inttypes.h>

static struct lsm_slice number_value(uint32_t n, uint64_t value[16])
{
    for (uint32_t i = 0; i < 16; i++) {
        uint64_t x = (n * UINT64_C(16) + i) * UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        value[i] = x ^ x >> 27;
    }
    return (struct lsm_slice){ (void *)value, 16 * 8 };
}

/* Rows of `seed` at from, from + step ... */
static bool ingest(struct one *o, struct lsm_txn *txn, uint32_t from, uint32_t to, uint32_t step,
                   uint32_t seed)
{
    struct lsm_ingest *in;
    uint64_t value[16];

    if (!CHECK_OK(lsm_ingest_begin(txn, o->tree, &in)))
        return false;
    for (uint32_t i = from; i < to; i += step)
        if (!CHECK_OK(lsm_ingest_add(in, number(i), number_value(i + seed, value)))) {
            lsm_ingest_abort(in);
            return false;
        }
    return CHECK_OK(lsm_ingest_finish(in));
}

/* A store with the ingested rows 0 .. count - 1, committed and flushed. */
static bool one_begin_ingested(struct one *o, uint32_t count)
{
    struct lsm_txn *txn;

    if (!one_begin(o))
        return false;
    CHECK_OK(lsm_txn_begin(o->db, NULL, &txn));
    CHECK(ingest(o, txn, 0, count, 1, 0));
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    return CHECK_OK(lsm_db_flush(o->db));
}

static bool has_value(struct one *o, const struct lsm_read *read, uint32_t n, uint32_t seed)
{
    uint64_t value[16];
    struct lsm_value v;
    bool ok = lsm_tree_get(o->tree, read, number(n), &v) == LSM_OK && v.bytes.size == sizeof value &&
              memcmp(v.bytes.data, number_value(n + seed, value).data, sizeof value) == 0;

    lsm_value_release(&v);
    return ok;
}

static uint32_t count_rows(struct one *o, const struct lsm_read *read)
{
    struct lsm_cursor *c;
    uint32_t count = 0;

    CHECK_OK(lsm_cursor_open(o->tree, read, &c));
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        count++;
    lsm_cursor_close(c);
    return count;
}

TEST(ingested_rows_are_written_once_and_lie_deep)
{
    struct lsm_tree_stats stats;
    struct one o;

    if (!one_begin_ingested(&o, 20000))
        return;
    CHECK_OK(lsm_tree_stats(o.tree, &stats));
    CHECK_INT(stats.level[0].files + stats.level[1].files, 0);
    CHECK(stats.level[2].files > 5);
    CHECK_INT(stats.entries, 20000);
    CHECK_INT(stat_of(o.db, "rows_ingested"), 20000);
    CHECK_INT(stat_of(o.db, "flush_bytes_written"), 0);
    while (lsm_db_step(o.db) == LSM_OK)
        ;
    CHECK_INT(stat_of(o.db, "compact_bytes_written"), 0);
    CHECK(stat_of(o.db, "log_bytes_written") < 20000);
    CHECK_INT(count_rows(&o, NULL), 20000);
    CHECK(has_value(&o, NULL, 12345, 0));
    one_end(&o);
}

TEST(ingest_is_newer_than_what_is_there_and_older_than_what_follows)
{
    struct lsm_snapshot *before;
    struct lsm_txn *txn;
    struct one o;
    uint64_t value[16];

    if (!one_begin_ingested(&o, 3000))
        return;
    CHECK_OK(lsm_db_put(o.db, o.tree, number(10), number_value(10 + 1, value), false));  /* in memory */
    CHECK_OK(lsm_snapshot_open(o.db, &before));

    struct lsm_read own = { NULL, NULL, false }, old = { before, NULL, false };
    CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
    own.txn = txn;
    CHECK_OK(lsm_txn_put(txn, o.tree, number(20), number_value(20 + 2, value)));
    CHECK(ingest(&o, txn, 0, 6000, 10, 7));
    CHECK_OK(lsm_txn_put(txn, o.tree, number(30), number_value(30 + 3, value)));
    CHECK(has_value(&o, &own, 20, 7) && has_value(&o, &own, 10, 7) && has_value(&o, &own, 30, 3));
    CHECK(has_value(&o, NULL, 20, 0) && has_value(&o, NULL, 10, 1));     /* not before the commit */
    CHECK_INT(count_rows(&o, NULL), 3000);
    CHECK_INT(count_rows(&o, &own), 3300);
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    for (int pass = 0; pass < 4; pass++) {
        CHECK(has_value(&o, NULL, 20, 7) && has_value(&o, NULL, 10, 7) && has_value(&o, NULL, 30, 3));
        CHECK(has_value(&o, NULL, 21, 0));
        CHECK_INT(count_rows(&o, NULL), 3300);
        if (before) {
            CHECK(has_value(&o, &old, 10, 1) && has_value(&o, &old, 20, 0) && has_value(&o, &old, 30, 0));
            CHECK_INT(count_rows(&o, &old), 3000);
        }
        if (pass == 0)
            CHECK_OK(lsm_db_flush(o.db));
        if (pass == 1)
            CHECK_OK(lsm_db_compact(o.db, NULL));
        if (pass == 2) {
            lsm_snapshot_close(before);
            before = NULL;
            CHECK_OK(lsm_db_close(o.db));
            CHECK_OK(one_open(o.os, &o.db));
            CHECK_OK(lsm_tree_find(o.db, text("t"), &o.tree));
        }
    }
    one_end(&o);
}

TEST(ingest_that_is_not_sorted_or_in_its_place_is_told)
{
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    struct one o;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
    CHECK_OK(lsm_ingest_begin(txn, o.tree, &in));
    CHECK_OK(lsm_ingest_add(in, text("b"), text("1")));
    CHECK_RC(lsm_ingest_add(in, text("b"), text("2")), LSM_MISUSE);
    CHECK(strstr(lsm_error_text(), "row 2 is not greater") != NULL);
    CHECK_RC(lsm_ingest_add(in, text("a"), text("3")), LSM_MISUSE);
    CHECK_OK(lsm_ingest_add(in, text("c"), text("4")));         /* goes on */
    CHECK_OK(lsm_ingest_finish(in));

    CHECK_OK(lsm_ingest_begin(txn, o.tree, &in));
    CHECK_OK(lsm_ingest_add(in, text("x"), text("5")));
    CHECK_OK(lsm_txn_put(txn, o.tree, text("y"), text("6")));
    CHECK_RC(lsm_ingest_finish(in), LSM_MISUSE);
    CHECK_OK(lsm_ingest_begin(txn, o.tree, &in));
    CHECK_OK(lsm_ingest_finish(in));                            /* of nothing */
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_INT(count_rows(&o, NULL), 3);
    one_end(&o);
}

static int count_file(void *ctx, const char *name)
{
    *(int *)ctx += strstr(name, ".ldb") != NULL;
    return 0;
}

static int count_tables(struct one *o)
{
    struct lsm_dir *dir;
    bool created;
    int count = 0;

    CHECK(o->os->dir_open(o->os, "/db", false, 0755, &created, &dir) == 0);
    o->os->dir_list(dir, count_file, &count);
    o->os->dir_close(dir);
    return count;
}

TEST(ingest_that_is_given_up_leaves_nothing)
{
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    struct one o;
    uint64_t value[16], mark;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
    CHECK_OK(lsm_ingest_begin(txn, o.tree, &in));
    for (uint32_t i = 0; i < 8000; i++)
        CHECK_OK(lsm_ingest_add(in, number(i), number_value(i, value)));
    CHECK(count_tables(&o) > 2);
    lsm_ingest_abort(in);
    CHECK_INT(count_tables(&o), 0);
    mark = lsm_txn_mark(txn);
    CHECK(ingest(&o, txn, 0, 8000, 1, 0));
    lsm_txn_rollback_to(txn, mark);
    CHECK_INT(count_tables(&o), 0);
    CHECK(lsm_txn_is_empty(txn));
    CHECK(ingest(&o, txn, 0, 100, 1, 0));
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(count_tables(&o), 0);
    CHECK_INT(count_rows(&o, NULL), 0);
    one_end(&o);
}

static void *no_alloc(struct lsm_os *os, size_t size)
{
    (void)os, (void)size;
    return NULL;
}

static void *no_realloc(struct lsm_os *os, void *p, size_t size)
{
    (void)os, (void)p, (void)size;
    return NULL;
}

/* Else the transaction would commit the rows around it. */
TEST(ingest_that_could_not_add_a_row_is_not_finished)
{
    static uint8_t large[5000];
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    struct lsm_os real;
    struct one o;
    uint64_t value[16];

    if (!one_begin(&o))
        return;
    memset(large, 0xff, sizeof large);
    CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
    CHECK_OK(lsm_ingest_begin(txn, o.tree, &in));
    CHECK_OK(lsm_ingest_add(in, number(1), number_value(1, value)));
    real = *o.os;
    o.os->mem_alloc = no_alloc;
    o.os->mem_realloc = no_realloc;
    CHECK_INT(lsm_ingest_add(in, (struct lsm_slice){ large, sizeof large }, number_value(2, value)), LSM_NOMEM);
    o.os->mem_alloc = real.mem_alloc;
    o.os->mem_realloc = real.mem_realloc;
    CHECK_INT(lsm_ingest_finish(in), LSM_NOMEM);
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_INT(count_tables(&o), 0);
    CHECK_INT(count_rows(&o, NULL), 0);
    one_end(&o);
}

TEST(approximate_sizes_are_near)
{
    struct lsm_approximate all, half, none, few;
    struct lsm_slice no = { NULL, 0 };
    struct one o;
    uint64_t value[16];

    if (!one_begin_ingested(&o, 20000))
        return;
    CHECK_OK(lsm_tree_approximate(o.tree, no, no, &all));
    CHECK_OK(lsm_tree_approximate(o.tree, number(5000), number(15000), &half));
    CHECK_OK(lsm_tree_approximate(o.tree, number(15000), number(5000), &none));
    CHECK_OK(lsm_tree_approximate(o.tree, number(777), number(877), &few));
    CHECK_INT(all.rows, 20000);
    CHECK_INT(all.bytes, stat_of(o.db, "table_bytes"));
    CHECK(half.rows > 9500 && half.rows < 10500);
    CHECK(half.bytes > all.bytes * 9 / 20 && half.bytes < all.bytes * 11 / 20);
    CHECK(few.rows < 200 && few.bytes < 40000);
    CHECK_INT(none.rows + none.bytes, 0);
    CHECK_OK(lsm_db_put(o.db, o.tree, number(50000), number_value(1, value), false));
    CHECK_OK(lsm_tree_approximate(o.tree, number(40000), no, &few));
    CHECK_INT(few.rows, 1);
    one_end(&o);
}

TEST(approximate_sizes_count_values_in_value_logs)
{
    struct lsm_approximate all;
    struct lsm_slice no = { NULL, 0 };
    struct lsm_tree_stats stats;
    static uint8_t value[5000];
    struct one o;

    if (!one_begin(&o))
        return;
    for (uint64_t i = 0; i < 100; i++) {
        for (size_t b = 0; b < sizeof value; b++)
            value[b] = (uint8_t)test_random();
        CHECK_OK(lsm_db_put(o.db, o.tree, number(i), (struct lsm_slice){ value, sizeof value }, false));
    }
    CHECK_OK(lsm_db_compact(o.db, o.tree));
    CHECK_OK(lsm_tree_approximate(o.tree, no, no, &all));
    CHECK_OK(lsm_tree_stats(o.tree, &stats));
    CHECK(all.bytes >= 500000 && all.bytes < 520000);
    CHECK(stats.bytes >= all.bytes && stats.bytes < 530000);
    one_end(&o);
}

/* Their handles are all in one block, or in three. */
TEST(approximate_sizes_tell_values_in_value_logs_apart)
{
    static uint8_t value[100000];
    struct lsm_approximate sum;
    struct one o;

    for (size_t b = 0; b < sizeof value; b++)
        value[b] = (uint8_t)test_random();
    for (uint32_t count = 8; count <= 320; count *= 40) {
        uint32_t size = count == 8 ? 100000 : 10000;

        if (!one_begin(&o))
            return;
        for (uint32_t i = 0; i < count; i++)
            CHECK_OK(lsm_db_put(o.db, o.tree, number(i),
                                (struct lsm_slice){ value, count == 8 && i % 2 ? size / 10 : size }, false));
        CHECK_OK(lsm_db_compact(o.db, o.tree));
        for (uint32_t from = 0; from <= count; from += count / 8)
            for (uint32_t to = from; to <= count; to += count / 8) {
                uint64_t bytes = 0;

                for (uint32_t i = from; i < to; i++)
                    bytes += count == 8 && i % 2 ? size / 10 : size;
                CHECK_OK(lsm_tree_approximate(o.tree, number(from), number(to), &sum));
                CHECK(sum.bytes >= bytes && sum.bytes <= bytes + bytes / 20);
                CHECK_INT(sum.rows, to - from);
            }
        one_end(&o);
    }
}

/* R12's order: a table that a commit needs is on disk, and its name, before the record that names it. */
TEST(ingested_rows_survive_a_power_cut_after_a_synced_commit)
{
    struct store s = { 0 };
    struct lsm_ingest *in;
    struct lsm_txn *txn;
    char key[16];

    disk_and_host_begin();
    if (CHECK(store_open_as(&s, "/a", true))) {
        CHECK_OK(lsm_db_put(s.db, s.tree, text("a"), text("the log is there"), true));
        CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
        CHECK_OK(lsm_ingest_begin(txn, s.tree, &in));
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "k%04d", i);
            CHECK_OK(lsm_ingest_add(in, text(key), text("v")));
        }
        CHECK_OK(lsm_ingest_finish(in));
        CHECK_OK(lsm_txn_commit_alone(txn, true));
        disk_power_cut("/a", "/b");
        store_close(&s);
        memset(&s, 0, sizeof s);
        if (CHECK(store_open_as(&s, "/b", true))) {
            CHECK_INT(count_at(&s, NULL), 501);
            CHECK_OK(lsm_db_check(s.db));
            store_close(&s);
        }
    }
    disk_end();
}

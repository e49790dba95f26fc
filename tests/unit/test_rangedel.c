/*
 * test_rangedel.c -- range deletes through the whole store: random puts,
 * deletes and range deletes in transactions with positions to go back to, with
 * snapshots, held cursors, spills, flushes, compactions and reopening, against
 * plain arrays; then what they promise one by one.
 */
#include "lsm/db/db.h"
#include "tests/unit/one_tree.h"

#define KEYS 500
#define VALUE_MAX 3000

struct rows {
    bool has[KEYS];
    unsigned stamp[KEYS];       /* what the value is made of */
};

/* Going on would only crash. */
#define REQUIRE(cond) do { if (!CHECK(cond)) { printf("%s\n", lsm_error_text()); return; } } while (0)

static struct lsm_slice key_of(int i)
{
    static char buf[8][24];
    static int at;
    char *p = buf[at++ % 8];
    int n = snprintf(p, 24, "k%05d%s", i * 7, i % 3 ? "" : "-longer-than-8");

    return (struct lsm_slice){ (uint8_t *)p, (size_t)n };
}

static struct lsm_slice value_of(unsigned stamp, char buf[VALUE_MAX])
{
    unsigned size = stamp * 7919u % VALUE_MAX;

    for (unsigned i = 0; i < size; i++)
        buf[i] = (char)(stamp * 31 + i * (i % 5));
    return (struct lsm_slice){ (uint8_t *)buf, size };
}

static bool same(struct lsm_slice a, struct lsm_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static int backwards(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = memcmp(b.data, a.data, n);

    (void)ctx;
    return c ? c : a.size < b.size ? 1 : a.size > b.size ? -1 : 0;
}

static const struct lsm_comparator reverse = { .name = "reverse", .compare = backwards };

/* ---- comparing ---- */

static bool stands(struct lsm_cursor *c, const struct rows *o, int i)
{
    char vb[VALUE_MAX];

    return same(lsm_cursor_key(c), key_of(i)) && same(lsm_cursor_value(c), value_of(o->stamp[i], vb));
}

/* The next key that is there from i on, in direction d of the numbers; -1: none. */
static int next_in(const struct rows *o, int i, int d)
{
    for (; i >= 0 && i < KEYS; i += d)
        if (o->has[i])
            return i;
    return -1;
}

static bool wrong(const char *what, int i, int rc)
{
    printf("  %s at %d: %s %s\n", what, i, lsm_code_name(rc), rc ? lsm_error_text() : "");
    return false;
}

/* d: 1, or -1 for a tree in reverse order. */
static bool cursor_agrees(struct lsm_cursor *c, const struct rows *o, int d, bool whole)
{
    int first = d > 0 ? 0 : KEYS - 1, i, rc;

    if (whole) {
        i = next_in(o, first, d);
        for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
            if (i < 0 || !stands(c, o, i))
                return wrong("forward", i, rc);
            i = next_in(o, i + d, d);
        }
        if (rc != LSM_DONE || i >= 0)
            return wrong("forward's end", i, rc);
        i = next_in(o, KEYS - 1 - first, -d);
        for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c)) {
            if (i < 0 || !stands(c, o, i))
                return wrong("backward", i, rc);
            i = next_in(o, i - d, -d);
        }
        if (rc != LSM_DONE || i >= 0)
            return wrong("backward's end", i, rc);
    }
    for (int k = 0; k < 8; k++) {               /* anywhere, then a few steps either way */
        int at = (int)test_below(KEYS);
        bool up = test_below(2);

        i = next_in(o, at, up ? d : -d);
        rc = up ? lsm_cursor_seek(c, key_of(at)) : lsm_cursor_seek_prev(c, key_of(at));
        for (int steps = 0; steps < 6; steps++) {
            if ((rc == LSM_OK) != (i >= 0) || (rc && rc != LSM_DONE) || (i >= 0 && !stands(c, o, i)))
                return wrong(up ? "after a seek" : "after a seek back", at, rc);
            if (i < 0)
                break;
            bool next = test_below(2);
            rc = next ? lsm_cursor_next(c) : lsm_cursor_prev(c);
            i = next_in(o, i + (next ? d : -d), next ? d : -d);
        }
    }
    return true;
}

static bool agrees(struct lsm_tree *tree, const struct lsm_read *read, const struct rows *o, int d,
                   bool whole)
{
    struct lsm_cursor *c;
    int rc = lsm_cursor_open(tree, read, &c);

    if (rc)
        return wrong("open", 0, rc);
    if (!cursor_agrees(c, o, d, whole))
        return false;
    if (test_below(4) == 0) {                   /* within bounds */
        int lo = (int)test_below(KEYS), hi = lo + (int)test_below((uint64_t)(KEYS - lo)), i;
        if (d > 0)
            lsm_cursor_set_bounds(c, key_of(lo), key_of(hi));
        else
            lsm_cursor_set_bounds(c, key_of(hi), key_of(lo));
        i = d > 0 ? next_in(o, lo, 1) : next_in(o, hi, -1);
        for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
            if (i < 0 || !stands(c, o, i))
                return wrong("within bounds", i, rc);
            i = next_in(o, i + d, d);
        }
        if (rc != LSM_DONE || (i >= 0 && (d > 0 ? i < hi : i > lo)))
            return wrong("the bound", i, rc);
    }
    lsm_cursor_close(c);
    for (int i = (int)test_below(whole ? 1 : 40); i < KEYS; i += whole ? 1 : 37) {
        char vb[VALUE_MAX];
        struct lsm_value v;
        rc = lsm_tree_get(tree, read, key_of(i), &v);
        if (rc != (o->has[i] ? LSM_OK : LSM_NOTFOUND) ||
            (rc == LSM_OK && !same(v.bytes, value_of(o->stamp[i], vb))))
            return wrong(o->has[i] ? "get of what is there" : "get of what is not", i, rc);
        lsm_value_release(&v);
    }
    return true;
}

/* ---- the random store ---- */

static void delete_range(struct rows *o, int lo, int hi)
{
    for (int i = lo; i < hi; i++)
        o->has[i] = false;
}

/* lo < hi as numbers; a tree in reverse order has them the other way round. */
static int txn_delete_range(struct lsm_txn *txn, struct lsm_tree *tree, int d, int lo, int hi)
{
    if (d > 0)
        return lsm_txn_delete_range(txn, tree, key_of(lo), key_of(hi));
    return lsm_txn_delete_range(txn, tree, key_of(hi - 1), key_of(lo - 1));
}

#define HELD 4

struct world {
    struct lsm_db *db;
    struct lsm_tree *tree;
    int d;
    struct rows now;
    struct { struct lsm_snapshot *snapshot; struct rows rows; } snap[HELD];
    struct { struct lsm_cursor *cursor; struct rows rows; } held[HELD];
    unsigned stamps;
};

static void let_go(struct world *w)
{
    for (int i = 0; i < HELD; i++) {
        lsm_cursor_close(w->held[i].cursor);
        w->held[i].cursor = NULL;
        lsm_snapshot_close(w->snap[i].snapshot);
        w->snap[i].snapshot = NULL;
    }
}

/* Some keys in their order; given up now and then. */
static int ingest(struct world *w, struct lsm_txn *txn, struct rows *own)
{
    unsigned every = 1 + (unsigned)test_below(40);
    static struct rows after;
    struct lsm_ingest *in;
    char vb[VALUE_MAX];
    int first = w->d > 0 ? 0 : KEYS - 1, rc = lsm_ingest_begin(txn, w->tree, &in);

    after = *own;
    for (int i = first; i >= 0 && i < KEYS && rc == LSM_OK; i += w->d) {
        if (test_below(every))
            continue;
        after.has[i] = true;
        after.stamp[i] = ++w->stamps;
        rc = lsm_ingest_add(in, key_of(i), value_of(after.stamp[i], vb));
        if (rc == LSM_OK && test_below(20) == 0)
            CHECK_RC(lsm_ingest_add(in, key_of(i), value_of(1, vb)), LSM_MISUSE);
    }
    if (rc || test_below(6) == 0) {
        lsm_ingest_abort(in);
        return rc;
    }
    *own = after;
    return lsm_ingest_finish(in);
}

/* One transaction of up to `ops` writes. */
static bool transaction(struct world *w, int ops)
{
    static struct rows own, marked[6];
    uint64_t marks[6];
    int marks_count = 0, rc = LSM_OK;
    /* Mostly anywhere; sometimes near one place, so that a flush overlaps little and goes deep. */
    int band = test_below(3) ? KEYS : 12, base = (int)test_below(KEYS - (uint64_t)band + 1);
    bool marks_each = test_below(3) == 0;       /* then spilled tables are of several stretches */
    struct lsm_txn *txn;
    char vb[VALUE_MAX];

    if (!CHECK_OK(lsm_txn_begin(w->db, NULL, &txn)))
        return false;
    own = w->now;
    for (int i = 0; i < ops && rc == LSM_OK; i++) {
        uint64_t what = test_below(100);
        int k = base + (int)test_below((uint64_t)band);
        struct lsm_read read = { NULL, txn, false };

        if (marks_each)
            lsm_txn_mark(txn);
        if (what < 2) {
            rc = ingest(w, txn, &own);
        } else if (what < 60) {
            own.has[k] = true;
            own.stamp[k] = ++w->stamps;
            rc = lsm_txn_put(txn, w->tree, key_of(k), value_of(own.stamp[k], vb));
        } else if (what < 75) {
            own.has[k] = false;
            rc = lsm_txn_delete(txn, w->tree, key_of(k));
        } else if (what < 88) {
            int hi = 1 + (int)test_below(test_below(4) ? 20 : KEYS);
            int lo = k ? k : 1;
            hi = lo + hi < KEYS ? lo + hi : KEYS;
            delete_range(&own, lo, hi);
            rc = txn_delete_range(txn, w->tree, w->d, lo, hi);
        } else if (what < 92) {
            if (marks_count == 6)
                marks_count = 0;
            marks[marks_count] = lsm_txn_mark(txn);
            marked[marks_count++] = own;
        } else if (what < 95) {
            if (marks_count) {
                int m = (int)test_below((uint64_t)marks_count);
                lsm_txn_rollback_to(txn, marks[m]);
                own = marked[m];
                marks_count = m + 1;
            }
        } else if (what < 98) {
            if (!CHECK(agrees(w->tree, &read, &own, w->d, test_below(10) == 0)))
                return false;
        } else {
            struct lsm_value v;
            rc = lsm_tree_get(w->tree, &read, key_of(k), &v);
            if (!CHECK_INT(rc, own.has[k] ? LSM_OK : LSM_NOTFOUND))
                return false;
            lsm_value_release(&v);
            rc = LSM_OK;
        }
    }
    if (!CHECK_OK(rc))
        return false;
    if (test_below(8) == 0)
        return CHECK_OK(lsm_txn_abort(txn));
    w->now = own;
    return CHECK_OK(lsm_txn_commit_alone(txn, false));
}

/* Everything, or what stands between two keys, or from or up to one. */
static bool compact(struct world *w)
{
    struct lsm_slice begin = key_of((int)test_below(KEYS)), end = key_of((int)test_below(KEYS));
    const struct lsm_slice none = { NULL, 0 };

    if (test_below(3) == 0)
        return CHECK_OK(lsm_db_compact(w->db, test_below(2) ? w->tree : NULL));
    return CHECK_OK(lsm_db_compact_range(w->db, w->tree, test_below(4) ? begin : none, test_below(4) ? end : none));
}

static bool one_step(struct world *w, struct lsm_os *os, bool reopens)
{
    uint64_t what = test_below(100);
    int i = (int)test_below(HELD), rc;

    if (what < 45)
        return transaction(w, 1 + (int)test_below(test_below(10) ? 12 : 500));
    if (what < 55) {
        if (w->snap[i].snapshot) {
            struct lsm_read read = { w->snap[i].snapshot, NULL, false };
            bool ok = CHECK(agrees(w->tree, &read, &w->snap[i].rows, w->d, true));
            lsm_snapshot_close(w->snap[i].snapshot);
            w->snap[i].snapshot = NULL;
            return ok;
        }
        w->snap[i].rows = w->now;
        return CHECK_OK(lsm_snapshot_open(w->db, &w->snap[i].snapshot));
    }
    if (what < 63) {
        struct lsm_read read = { NULL, NULL, test_below(2) };
        if (w->held[i].cursor && test_below(2)) {
            if (!CHECK(cursor_agrees(w->held[i].cursor, &w->held[i].rows, w->d, true)))
                return false;
            if (test_below(2)) {
                lsm_cursor_close(w->held[i].cursor);
                w->held[i].cursor = NULL;
                return true;
            }
        }
        w->held[i].rows = w->now;
        return CHECK_OK(w->held[i].cursor ? lsm_cursor_reopen(w->held[i].cursor, w->tree, &read)
                                          : lsm_cursor_open(w->tree, &read, &w->held[i].cursor));
    }
    if (what < 73)
        return CHECK(agrees(w->tree, NULL, &w->now, w->d, test_below(3) == 0));
    if (what < 83)
        return CHECK_OK(lsm_db_flush(w->db));
    if (what < 86)
        return compact(w);
    if (what < 97) {
        rc = lsm_db_step(w->db);
        return CHECK(rc == LSM_OK || rc == LSM_DONE);
    }
    if (what < 98)
        return CHECK_OK(lsm_db_check(w->db));
    if (!reopens)
        return true;
    let_go(w);
    if (!CHECK_OK(lsm_db_close(w->db)) || !CHECK_OK(one_open(os, &w->db)))
        return false;
    return CHECK_OK(lsm_tree_find(w->db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, &w->tree));
}

/* So few that a job takes four runs of level 0. */
static uint32_t few_files(struct lsm_os *os)
{
    (void)os;
    return 16;
}

static void random_store(int rounds, int steps, bool in_reverse)
{
    static struct world w;

    for (int round = 0; round < rounds; round++) {
        struct lsm_os *base = lsm_os_posix_new(), *os = lsm_os_mem_new(base);
        struct lsm_tree_options options;
        bool ok = true;
        int step;

        memset(&w, 0, sizeof w);
        w.d = in_reverse ? -1 : 1;
        if (round % 2)
            os->file_limit = few_files;
        lsm_tree_options_init(&options);
        options.block_bytes = 512;
        options.comparator = in_reverse ? &reverse : NULL;
        REQUIRE(one_open(os, &w.db) == LSM_OK);
        REQUIRE(lsm_tree_create(w.db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, &options, &w.tree) ==
                LSM_OK);
        for (step = 0; step < steps && ok; step++)
            ok = one_step(&w, os, !in_reverse);
        ok = ok && CHECK(agrees(w.tree, NULL, &w.now, w.d, true)) && CHECK_OK(lsm_db_check(w.db));
        if (!ok) {
            printf("  round %d step %d\n", round, step);
            exit(1);
        }
        let_go(&w);
        CHECK_OK(lsm_db_close(w.db));
        lsm_os_mem_free(os);
        lsm_os_posix_free(base);
    }
}

TEST(range_deletes_agree_with_arrays)
{
    random_store(test_long() ? 200 : 12, 250, false);
}

TEST(range_deletes_agree_with_arrays_in_a_users_order)
{
    random_store(test_long() ? 60 : 4, 250, true);
}

/* ---- what is promised ---- */

/* Rows [from, to) of 300 bytes that do not compress, in transactions of 1000. */
static void fill(struct one *o, uint32_t from, uint32_t to)
{
    struct lsm_txn *txn = NULL;
    uint64_t value[38];

    for (uint32_t i = from; i < to; i++) {
        if (!txn)
            CHECK_OK(lsm_txn_begin(o->db, NULL, &txn));
        for (int k = 0; k < 38; k++)
            value[k] = test_random();
        CHECK_OK(lsm_txn_put(txn, o->tree, number(i), (struct lsm_slice){ (void *)value, sizeof value }));
        if (i % 1000 == 999 || i + 1 == to) {
            CHECK_OK(lsm_txn_commit_alone(txn, false));
            txn = NULL;
        }
    }
}

static void work(struct one *o)
{
    int rc;

    CHECK_OK(lsm_db_flush(o->db));
    do
        rc = lsm_db_step(o->db);
    while (rc == LSM_OK);
    CHECK_INT(rc, LSM_DONE);
}

static uint32_t count_rows(struct one *o, const struct lsm_snapshot *snapshot)
{
    struct lsm_read read = { snapshot, NULL, true };
    struct lsm_cursor *c;
    uint32_t count = 0;

    CHECK_OK(lsm_cursor_open(o->tree, &read, &c));
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        count++;
    lsm_cursor_close(c);
    return count;
}

TEST(deleted_range_gives_its_space_back_without_new_writes_and_without_reading)
{
    struct one o;
    uint64_t before, read, written;

    if (!one_begin(&o))
        return;
    fill(&o, 0, 40000);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    work(&o);
    before = stat_of(o.db, "table_bytes");
    CHECK(before > 10 << 20);
    read = stat_of(o.db, "compact_bytes_read");
    written = stat_of(o.db, "compact_bytes_written") + stat_of(o.db, "flush_bytes_written");

    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(500), number(39500), false));
    CHECK_INT(count_rows(&o, NULL), 1000);
    work(&o);
    CHECK_INT(count_rows(&o, NULL), 1000);
    CHECK(stat_of(o.db, "tables_dropped") > 50);
    printf("  %u of %u KiB left, %u KiB read, %u KiB written\n",
           (unsigned)(stat_of(o.db, "table_bytes") >> 10), (unsigned)(before >> 10),
           (unsigned)((stat_of(o.db, "compact_bytes_read") - read) >> 10),
           (unsigned)((stat_of(o.db, "compact_bytes_written") + stat_of(o.db, "flush_bytes_written") -
                       written) >> 10));
    CHECK(stat_of(o.db, "table_bytes") < before / 20);
    CHECK(stat_of(o.db, "compact_bytes_read") - read < before / 20);
    one_end(&o);
}

/* No table lies within it: what overlaps it is rewritten, since that is worth it. */
TEST(deleted_part_of_a_table_gives_its_space_back_too)
{
    struct one o;
    uint64_t before;

    if (!one_begin(&o))
        return;
    fill(&o, 0, 300);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK_INT(stat_of(o.db, "tables"), 1);
    before = stat_of(o.db, "table_bytes");
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(10), number(290), false));
    work(&o);
    CHECK(stat_of(o.db, "table_bytes") < before / 5);
    CHECK_INT(stat_of(o.db, "tables_dropped"), 0);
    CHECK_INT(count_rows(&o, NULL), 20);
    /* And what is not worth it stays as it is. */
    fill(&o, 1000, 1300);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    before = stat_of(o.db, "compact_bytes_written");
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(1010), number(1020), false));
    work(&o);
    CHECK_INT(stat_of(o.db, "compact_bytes_written"), before);
    CHECK_INT(count_rows(&o, NULL), 310);
    one_end(&o);
}

TEST(snapshot_keeps_what_is_deleted_and_its_end_gives_it_back)
{
    struct one o;
    struct lsm_snapshot *snapshot, *later;
    uint64_t before;

    if (!one_begin(&o))
        return;
    fill(&o, 0, 20000);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK_OK(lsm_snapshot_open(o.db, &snapshot));
    before = stat_of(o.db, "table_bytes");
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(100), number(19900), false));
    CHECK_OK(lsm_snapshot_open(o.db, &later));  /* sees the delete: is in nobody's way */
    work(&o);
    CHECK_INT(stat_of(o.db, "tables_dropped"), 0);
    CHECK_INT(count_rows(&o, snapshot), 20000);
    CHECK_INT(count_rows(&o, later), 200);
    CHECK_INT(count_rows(&o, NULL), 200);
    lsm_snapshot_close(snapshot);
    work(&o);
    CHECK(stat_of(o.db, "table_bytes") < before / 10);
    CHECK_INT(count_rows(&o, later), 200);
    lsm_snapshot_close(later);
    one_end(&o);
}

TEST(delete_that_nothing_older_lies_below_leaves_no_table)
{
    struct one o;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(1), number(9), false));
    work(&o);
    CHECK_INT(stat_of(o.db, "tables"), 0);
    fill(&o, 0, 5000);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(0), number(5000), false));
    work(&o);
    CHECK_INT(stat_of(o.db, "tables"), 0);
    CHECK_INT(count_rows(&o, NULL), 0);
    one_end(&o);
}

TEST(reading_past_a_deleted_range_costs_a_seek_and_not_a_walk)
{
    struct lsm_snapshot *keep;
    struct lsm_cursor *c;
    struct one o;
    uint64_t misses;

    if (!one_begin(&o))
        return;
    fill(&o, 0, 30000);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    CHECK_OK(lsm_snapshot_open(o.db, &keep));
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(10), number(29990), false));
    work(&o);                                   /* the snapshot keeps the rows */
    misses = stat_of(o.db, "cache_misses");
    CHECK_OK(lsm_cursor_open(o.tree, NULL, &c));
    CHECK_OK(lsm_cursor_seek(c, number(10)));
    CHECK(same(lsm_cursor_key(c), number(29990)));
    CHECK_OK(lsm_cursor_prev(c));
    CHECK(same(lsm_cursor_key(c), number(9)));
    lsm_cursor_close(c);
    CHECK_INT(stat_of(o.db, "rows_passed_over"), 0);
    CHECK(stat_of(o.db, "cache_misses") - misses < 20);
    lsm_snapshot_close(keep);
    one_end(&o);
}

static uint64_t compares;

static int count_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    compares++;
    return -backwards(ctx, a, b);
}

/* A look at each table of level 0 from each is a second, or a minute. */
TEST(deletes_in_many_tables_cost_what_they_are)
{
    static const struct lsm_comparator counting = { .name = "counting", .compare = count_compare };
    const struct lsm_tree_options options = { .comparator = &counting };
    enum { DELETES = 1500 };
    struct lsm_tree *tree;
    struct one o;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_tree_create(o.db, (struct lsm_slice){ (const uint8_t *)"counted", 7 }, &options, &tree));
    o.tree = tree;
    fill(&o, 0, 5 * DELETES);
    CHECK_OK(lsm_db_compact(o.db, NULL));
    for (uint32_t i = 0; i < DELETES; i++) {
        CHECK_OK(lsm_db_delete_range(o.db, tree, number(5 * i), number(5 * i + 4), false));
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK(stat_of(o.db, "tables") > DELETES);
    compares = 0;
    CHECK_INT(lsm_drop_covered(o.db), LSM_DONE);
    CHECK(compares < 300u * DELETES);
    work(&o);
    CHECK_INT(count_rows(&o, NULL), DELETES);
    one_end(&o);
}

/* What it deletes is too far down in level 0 to be looked at: the delete, a table of its own, stays. */
TEST(delete_far_above_what_it_deletes_stays)
{
    struct one o;

    if (!one_begin(&o))
        return;
    fill(&o, 5, 6);
    CHECK_OK(lsm_db_flush(o.db));               /* into a deeper level, so that what follows cannot go there */
    fill(&o, 0, 6);
    CHECK_OK(lsm_db_flush(o.db));
    for (int i = 0; i < 100; i++) {
        fill(&o, 5, 6);
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(0), number(4), false));
    CHECK_OK(lsm_db_flush(o.db));
    CHECK_INT(lsm_drop_covered(o.db), LSM_DONE);
    CHECK_INT(stat_of(o.db, "tables"), 103);
    CHECK_INT(count_rows(&o, NULL), 2);
    work(&o);
    CHECK_INT(count_rows(&o, NULL), 2);
    one_end(&o);
}

/* The delete reaches over older tables, its row does not: the flush must not go beside or below them. */
TEST(flushed_delete_lies_above_what_it_deletes)
{
    struct one o;

    if (!one_begin(&o))
        return;
    fill(&o, 1000, 1300);
    CHECK_OK(lsm_db_flush(o.db));
    fill(&o, 5, 6);
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(10), number(1200), false));
    CHECK_OK(lsm_db_flush(o.db));
    CHECK_INT(count_rows(&o, NULL), 101);
    work(&o);
    CHECK_INT(count_rows(&o, NULL), 101);
    one_end(&o);
}

/* A cursor that is used again keeps its iterators: what they know of deletes must not stay. */
TEST(cursor_used_again_sees_later_deletes)
{
    struct lsm_cursor *c;
    struct one o;
    int n = 0;

    if (!one_begin(&o))
        return;
    fill(&o, 0, 100);
    CHECK_OK(lsm_db_flush(o.db));
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(10), number(20), false));
    CHECK_OK(lsm_cursor_open(o.tree, NULL, &c));
    CHECK_OK(lsm_cursor_seek(c, number(50)));
    CHECK(same(lsm_cursor_key(c), number(50)));
    for (uint32_t to = 60; to <= 90; to += 10) {
        CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(40), number(to), false));
        CHECK_OK(lsm_cursor_reopen(c, o.tree, NULL));
        CHECK_OK(lsm_cursor_seek(c, number(50)));
        CHECK(same(lsm_cursor_key(c), number(to)));
        n++;
    }
    CHECK_INT(n, 4);
    lsm_cursor_close(c);
    one_end(&o);
}

TEST(delete_range_without_an_end_or_with_nothing_in_it_is_told)
{
    struct one o;
    struct lsm_slice none = { NULL, 0 };
    static uint8_t big[LSM_KEY_SIZE_MAX + 1];

    if (!one_begin(&o))
        return;
    fill(&o, 0, 10);
    CHECK_RC(lsm_db_delete_range(o.db, o.tree, number(1), none, false), LSM_MISUSE);
    CHECK_RC(lsm_db_delete_range(o.db, o.tree, number(1), (struct lsm_slice){ big, sizeof big }, false),
             LSM_TOOBIG);
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(5), number(5), false));
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, number(9), number(2), false));
    CHECK_INT(stat_of(o.db, "range_deletes"), 0);
    CHECK_INT(count_rows(&o, NULL), 10);
    one_end(&o);
}

/* Keys of the greatest size have no next key that is one: a file must not end beside them. */
TEST(ranges_between_the_largest_keys)
{
    struct one o;
    static uint8_t key[6][LSM_KEY_SIZE_MAX];
    static uint8_t value[60000];
    uint32_t n = 0;

    if (!one_begin(&o))
        return;
    for (int k = 0; k < 6; k++) {
        memset(key[k], 'a' + k, sizeof key[k]);
        CHECK_OK(lsm_db_put(o.db, o.tree, (struct lsm_slice){ key[k], sizeof key[k] },
                            (struct lsm_slice){ value, sizeof value }, false));
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK_OK(lsm_db_delete_range(o.db, o.tree, (struct lsm_slice){ key[1], sizeof key[1] },
                                 (struct lsm_slice){ key[3], sizeof key[3] }, false));
    CHECK_OK(lsm_db_put(o.db, o.tree, (struct lsm_slice){ key[2], sizeof key[2] },
                        (struct lsm_slice){ value, 9 }, false));
    CHECK_OK(lsm_db_flush(o.db));
    CHECK_OK(lsm_db_check(o.db));
    CHECK_OK(lsm_db_compact(o.db, NULL));
    n = count_rows(&o, NULL);
    CHECK_INT(n, 5);
    one_end(&o);
}

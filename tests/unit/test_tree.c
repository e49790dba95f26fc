/*
 * test_tree.c -- trees with orders of the user's, over flushes, compactions and
 * reopening; compression by level.
 */
#include "tests/unit/disk.h"

static int backward(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(b.data, a.data, n) : 0;

    (void)ctx;
    return c ? c : a.size < b.size ? 1 : a.size > b.size ? -1 : 0;
}

/* Numbers by value, however they are written: "7", "007" are one key. */
static int by_number(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    long x = strtol((const char *)a.data, NULL, 10), y = strtol((const char *)b.data, NULL, 10);

    (void)ctx;
    return x < y ? -1 : x > y;
}

static atomic_int hashes;

static uint64_t number_hash(void *ctx, struct lsm_slice key)
{
    (void)ctx;
    atomic_fetch_add(&hashes, 1);
    return (uint64_t)strtol((const char *)key.data, NULL, 10) * 0x9e3779b97f4a7c15u;
}

static const struct lsm_comparator reverse = { .name = "reverse", .compare = backward };
static const struct lsm_comparator number = { .name = "number", .compare = by_number };
static const struct lsm_comparator hashed = { .name = "hashed", .compare = by_number, .hash = number_hash };
static const struct lsm_comparator *const all[] = { &reverse, &number, &hashed };

static struct lsm_db *open_with(const char *path, size_t comparators, int rc)
{
    struct lsm_options o;
    struct lsm_db *db;

    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    o.create_if_missing = true;
    o.memory_bytes = 1 << 20;
    o.comparators = all;
    o.comparator_count = comparators;
    CHECK_RC(lsm_db_open(path, &o, &db), rc);
    return db;
}

static struct lsm_slice key_of(int n, char key[16])
{
    snprintf(key, 16, "%0*d", (int)(1 + test_below(9)), n);
    return (struct lsm_slice){ (const uint8_t *)key, strlen(key) + 1 };        /* strtol needs the zero */
}

static bool values[1000];

static void check_numbers(struct lsm_tree *tree)
{
    struct lsm_value value;
    struct lsm_cursor *c;
    char key[16];
    int next = 0, rc;

    for (int n = 0; n < 1000; n++) {
        if (CHECK_INT(lsm_tree_get(tree, NULL, key_of(n, key), &value), values[n] ? LSM_OK : LSM_NOTFOUND) &&
            values[n])
            CHECK(value.bytes.size == sizeof n && memcmp(value.bytes.data, &n, sizeof n) == 0);
        lsm_value_release(&value);
    }
    if (!CHECK_OK(lsm_cursor_open(tree, NULL, &c)))
        return;
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
        while (next < 1000 && !values[next])
            next++;
        CHECK_INT(strtol((const char *)lsm_cursor_key(c).data, NULL, 10), next);
        next++;
    }
    CHECK_INT(rc, LSM_DONE);
    while (next < 1000 && !values[next])
        next++;
    CHECK_INT(next, 1000);
    lsm_cursor_close(c);
}

/* Rows stay in the log, in level 0 and below when the store is closed. */
static void live_with(const struct lsm_comparator *cmp)
{
    struct lsm_tree_options t;
    struct lsm_tree *tree;
    struct lsm_db *db;
    char key[16];

    disk_begin();
    memset(values, 0, sizeof values);
    lsm_tree_options_init(&t);
    t.comparator = cmp;
    for (int life = 0; life < 8 && !test_state.failures; life++) {
        db = open_with("a", 3, LSM_OK);
        if (!db || !CHECK_OK(lsm_tree_open(db, text("numbers"), &t, &tree)))
            return;
        check_numbers(tree);
        for (int i = 0; i < 300; i++) {
            int n = (int)test_below(1000);
            if (test_below(3)) {
                CHECK_OK(lsm_db_put(db, tree, key_of(n, key),
                                    (struct lsm_slice){ (uint8_t *)&n, sizeof n }, false));
                values[n] = true;
            } else {
                CHECK_OK(lsm_db_delete(db, tree, key_of(n, key), false));
                values[n] = false;
            }
            if (i == 100 && life % 3)
                CHECK_OK(lsm_db_flush(db));
            if (i == 200 && life % 4 == 2)
                CHECK_OK(lsm_db_compact(db, tree));
        }
        check_numbers(tree);
        CHECK_OK(lsm_db_check(db));
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
}

TEST(tree_in_an_order_of_its_own_survives_reopening)
{
    live_with(&number);
}

TEST(tree_with_a_hash_of_its_own_has_filters_that_never_deny_a_key)
{
    atomic_store(&hashes, 0);
    live_with(&hashed);
    CHECK(atomic_load(&hashes) > 3000);
}

/* A store with a tree in reverse: rows in the log, and in tables if asked. */
static void make_reverse(const char *path, bool in_tables)
{
    struct lsm_db *db = open_with(path, 3, LSM_OK);
    struct lsm_tree_options t;
    struct lsm_tree *tree;
    char key[16];

    lsm_tree_options_init(&t);
    t.comparator = &reverse;
    CHECK_OK(lsm_tree_create(db, text("upside down"), &t, &tree));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(lsm_db_put(db, tree, key_of(i, key), text("v"), false));
        if (i == 50 && in_tables) {
            CHECK_OK(lsm_db_flush(db));
            CHECK_OK(lsm_db_compact(db, tree));
        }
    }
    CHECK_OK(lsm_db_close(db));
}

TEST(tree_without_its_comparator_is_an_error_that_names_it_and_changes_nothing)
{
    struct lsm_db *db;
    struct lsm_tree *tree;

    disk_begin();
    for (int in_tables = 0; in_tables < 2; in_tables++) {
        char path[4] = { (char)('a' + in_tables), 0 };
        make_reverse(path, in_tables);
        uint64_t sum = disk_sum(path);
        db = open_with(path, 0, LSM_MISMATCH);
        CHECK(!db);
        CHECK(strstr(lsm_error_text(), "\"reverse\"") && strstr(lsm_error_text(), "\"upside down\""));
        CHECK_INT(disk_sum(path), sum);
        db = open_with(path, 1, LSM_OK);
        CHECK_OK(lsm_tree_find(db, text("upside down"), &tree));
        CHECK_OK(lsm_db_check(db));
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
}

/* H-15 */
TEST(tree_opened_with_another_comparator_is_an_error_that_names_both)
{
    struct lsm_tree_options t;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    make_reverse("a", false);
    db = open_with("a", 3, LSM_OK);
    lsm_tree_options_init(&t);
    t.comparator = &number;
    CHECK_RC(lsm_tree_open(db, text("upside down"), &t, &tree), LSM_MISMATCH);
    CHECK(!tree && strstr(lsm_error_text(), "reverse") && strstr(lsm_error_text(), "number"));
    CHECK_RC(lsm_tree_open(db, text("upside down"), NULL, &tree), LSM_MISMATCH);
    CHECK(strstr(lsm_error_text(), "its bytes"));
    t.comparator = &reverse;
    CHECK_OK(lsm_tree_open(db, text("upside down"), &t, &tree));
    CHECK_OK(lsm_tree_open(db, text("bytes"), NULL, &tree));
    CHECK_RC(lsm_tree_open(db, text("bytes"), &t, &tree), LSM_MISMATCH);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(tree_that_was_dropped_needs_its_comparator_no_more)
{
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    make_reverse("a", false);
    db = open_with("a", 3, LSM_OK);
    CHECK_OK(lsm_tree_find(db, text("upside down"), &tree));
    CHECK_OK(lsm_tree_drop(db, tree));
    CHECK_OK(lsm_db_close(db));
    db = open_with("a", 0, LSM_OK);
    if (db)
        CHECK_OK(lsm_db_close(db));
    disk_end();
}

/* Whatever is still in memory, in tables or in a transaction of its rows. */
TEST(tree_that_was_dropped_has_no_rows)
{
    struct lsm_slice key[2] = { text("a"), text("b") };
    struct lsm_tree *tree;
    struct lsm_db *db;
    struct lsm_txn *txn;
    struct lsm_snapshot *snapshot;
    struct lsm_cursor *before, *again, *after;
    struct lsm_value value[2];
    int codes[2];

    disk_begin();
    db = open_with("a", 0, LSM_OK);
    CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree));
    CHECK_OK(lsm_db_put(db, tree, key[0], key[0], false));
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_put(db, tree, key[1], key[1], false));
    CHECK_OK(lsm_snapshot_open(db, &snapshot));
    CHECK_OK(lsm_txn_begin(db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, tree, key[0], key[1]));
    CHECK_OK(lsm_cursor_open(tree, NULL, &before));
    CHECK_OK(lsm_cursor_open(tree, NULL, &again));
    CHECK_OK(lsm_tree_drop(db, tree));

    struct lsm_read reads[] = { { NULL, NULL, false }, { snapshot, NULL, false }, { NULL, txn, false } };
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        for (size_t k = 0; k < 2; k++) {
            CHECK_RC(lsm_tree_get(tree, &reads[i], key[k], &value[k]), LSM_NOTFOUND);
            lsm_value_release(&value[k]);
        }
        CHECK_OK(lsm_tree_get_many(tree, &reads[i], key, 2, value, codes));
        CHECK_INT(codes[0], LSM_NOTFOUND);
        CHECK_INT(codes[1], LSM_NOTFOUND);
        CHECK_OK(lsm_cursor_open(tree, &reads[i], &after));
        CHECK_RC(lsm_cursor_first(after), LSM_DONE);
        CHECK_RC(lsm_cursor_last(after), LSM_DONE);
        CHECK_RC(lsm_cursor_seek(after, key[1]), LSM_DONE);
        lsm_cursor_close(after);
    }
    CHECK_OK(lsm_cursor_reopen(again, tree, NULL));
    CHECK_RC(lsm_cursor_first(again), LSM_DONE);
    CHECK_OK(lsm_cursor_first(before));         /* began before */
    CHECK_OK(lsm_cursor_next(before));
    CHECK_RC(lsm_cursor_next(before), LSM_DONE);
    lsm_cursor_close(before);
    lsm_cursor_close(again);
    CHECK_OK(lsm_txn_abort(txn));
    lsm_snapshot_close(snapshot);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

/* Trees have small numbers, which are others' in another store. */
TEST(tree_of_another_store_or_dropped_is_refused_and_harms_nobody)
{
    struct lsm_tree *here, *there, *dropped;
    struct lsm_db *db, *other;
    struct lsm_ingest *ingest;
    struct lsm_txn *txn;
    struct lsm_value value;

    disk_begin();
    db = open_with("a", 0, LSM_OK);
    other = open_with("b", 0, LSM_OK);
    CHECK_OK(lsm_tree_create(db, text("t"), NULL, &here));
    CHECK_OK(lsm_tree_create(db, text("d"), NULL, &dropped));
    CHECK_OK(lsm_tree_create(other, text("t"), NULL, &there));
    CHECK_OK(lsm_db_put(db, here, text("k"), text("v"), false));
    CHECK_OK(lsm_tree_drop(db, dropped));

    struct { struct lsm_tree *tree; int rc; } bad[] = { { there, LSM_MISUSE }, { dropped, LSM_NOTFOUND } };
    for (size_t i = 0; i < 2; i++) {
        CHECK_RC(lsm_db_put(db, bad[i].tree, text("k"), text("w"), false), bad[i].rc);
        CHECK_RC(lsm_db_delete(db, bad[i].tree, text("k"), false), bad[i].rc);
        CHECK_RC(lsm_db_delete_range(db, bad[i].tree, text("a"), text("z"), false), bad[i].rc);
        CHECK_OK(lsm_txn_begin(db, NULL, &txn));
        CHECK_RC(lsm_txn_put(txn, bad[i].tree, text("k"), text("w")), bad[i].rc);
        CHECK_RC(lsm_ingest_begin(txn, bad[i].tree, &ingest), bad[i].rc);
        CHECK(lsm_txn_is_empty(txn));
        CHECK_OK(lsm_txn_commit_alone(txn, false));
        CHECK_RC(lsm_db_compact(db, bad[i].tree), bad[i].rc);
        CHECK_RC(lsm_tree_drop(db, bad[i].tree), bad[i].rc);
    }
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_tree_get(here, NULL, text("k"), &value));
    CHECK(value.bytes.size == 1 && value.bytes.data[0] == 'v');
    lsm_value_release(&value);
    CHECK_OK(lsm_db_close(other));
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

/* ---- compression ---- */

static uint64_t bytes_at_level(struct lsm_tree *tree, uint32_t level, uint64_t *raw)
{
    struct lsm_tree_stats stats;

    CHECK_OK(lsm_tree_stats(tree, &stats));
    *raw = stats.level[level].raw_bytes;
    return stats.level[level].bytes;
}

TEST(tree_compresses_each_level_as_it_was_told_also_after_reopening)
{
    static uint8_t value[1000];
    struct lsm_tree_options t;
    struct lsm_tree *tree;
    struct lsm_db *db;
    uint64_t bytes, raw;
    char key[16];

    disk_begin();
    for (int kind = 0; kind < 3; kind++) {
        char path[4] = { (char)('a' + kind), 0 };
        lsm_tree_options_init(&t);
        if (kind == 1)
            t.level_compression[2] = LSM_COMPRESSION_NONE;
        if (kind == 2)
            t.compression_level = LSM_COMPRESSION_NONE, t.level_compression[2] = 3;
        db = open_with(path, 0, LSM_OK);
        CHECK_OK(lsm_tree_create(db, text("t"), &t, &tree));
        CHECK_OK(lsm_db_close(db));
        db = open_with(path, 0, LSM_OK);
        CHECK_OK(lsm_tree_find(db, text("t"), &tree));
        for (int i = 0; i < 100; i++)
            CHECK_OK(lsm_db_put(db, tree, key_of(i, key), (struct lsm_slice){ value, sizeof value }, false));
        CHECK_OK(lsm_db_flush(db));     /* nothing is below: straight to level 2 */
        bytes = bytes_at_level(tree, 2, &raw);
        CHECK(raw >= 100 * sizeof value);
        CHECK_INT(bytes < raw / 4, kind != 1);
        CHECK_OK(lsm_db_put(db, tree, key_of(1, key), (struct lsm_slice){ value, sizeof value }, false));
        CHECK_OK(lsm_db_compact(db, tree));
        bytes = bytes_at_level(tree, 2, &raw);
        CHECK(raw >= 100 * sizeof value);
        CHECK_INT(bytes < raw / 4, kind != 1);
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
}

/* ---- many trees ---- */

static struct lsm_slice name_of(int n)
{
    static char name[16];

    snprintf(name, sizeof name, "tree %d", n);
    return text(name);
}

/* Every third is dropped, every sixth made again, in this life or the next. */
TEST(tree_names_are_found_among_many_whatever_was_dropped)
{
    enum { COUNT = 600 };
    struct store s;
    struct lsm_tree *tree, *first[COUNT];
    int count = 0;

    disk_and_host_begin();
    store_open_as(&s, "s", true);
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(lsm_tree_create(s.db, name_of(i), NULL, &first[i]));
        if (i % 100 == 50) {    /* an edit with tables between those that create */
            CHECK_OK(lsm_db_put(s.db, first[i], text("key"), text("value"), false));
            CHECK_OK(lsm_db_flush(s.db));
        }
    }
    for (int i = 0; i < COUNT; i += 3) {
        CHECK_OK(lsm_tree_drop(s.db, first[i]));
        CHECK_INT(lsm_tree_find(s.db, name_of(i), &tree), LSM_NOTFOUND);
        CHECK(lsm_tree_was_dropped(s.db, name_of(i)));
    }
    for (int i = 0; i < COUNT; i += 12)
        CHECK_OK(lsm_tree_create(s.db, name_of(i), NULL, &tree));
    for (int life = 0; life < 3; life++) {
        for (int i = 0; i < COUNT; i++) {
            bool there = i % 3 || i % 12 == 0 || (life && i % 6 == 0);
            if (!CHECK_INT(lsm_tree_find(s.db, name_of(i), &tree), there ? LSM_OK : LSM_NOTFOUND))
                printf("  tree %d in life %d\n", i, life);
            if (there && life == 0 && i % 3)
                CHECK(tree == first[i]);
            CHECK_INT(lsm_tree_create(s.db, name_of(i), NULL, &tree) == LSM_EXISTS, there);
            if (!there && !(life == 0 && i % 6 == 0))
                CHECK_OK(lsm_tree_drop(s.db, tree));
        }
        for (int i = 50; i < COUNT; i += 100)
            if (i % 3) {
                struct lsm_value v;
                CHECK_OK(lsm_tree_find(s.db, name_of(i), &tree));
                CHECK_OK(lsm_tree_get(tree, NULL, text("key"), &v));
                lsm_value_release(&v);
            }
        store_close(&s);
        store_open_as(&s, "s", true);
    }
    for (int i = 0; i < COUNT; i++)
        count += lsm_tree_find(s.db, name_of(i), &tree) == LSM_OK;
    CHECK_INT(count, COUNT / 3 * 2 + COUNT / 6);
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

static size_t allocated;
static void *(*real_alloc)(struct lsm_os *os, size_t size);

static void *counted_alloc(struct lsm_os *os, size_t size)
{
    allocated += size;
    return real_alloc(os, size);
}

/* There is an edit for each tree that was created, and a version has a list of all. */
TEST(tree_by_tree_an_open_takes_in_proportion_to_their_number)
{
    size_t bytes[2];

    disk_and_host_begin();
    for (int i = 0; i < 2; i++) {
        struct lsm_tree *tree;
        struct store s;

        store_open_as(&s, i ? "b" : "a", true);
        for (int n = 0; n < 500 << i; n++)
            CHECK_OK(lsm_tree_create(s.db, name_of(n), NULL, &tree));
        store_close(&s);
        real_alloc = disk.os->mem_alloc;
        disk.os->mem_alloc = counted_alloc;
        allocated = 0;
        store_open_as(&s, i ? "b" : "a", true);
        bytes[i] = allocated;
        disk.os->mem_alloc = real_alloc;
        store_close(&s);
    }
    printf("  %zu and %zu KiB for 500 and 1,000 trees\n", bytes[0] >> 10, bytes[1] >> 10);
    CHECK(bytes[1] < bytes[0] * 5 / 2);
    disk_end();
}

/* A MANIFEST that is begun for a new tree's edit must not hold the tree already: its id would come twice, and no
   open takes that. */
TEST(tree_created_while_a_new_MANIFEST_begins_is_there_once)
{
    struct lsm_tree *tree;
    struct store s;

    if (!store_begin(&s))
        return;
    disk_fail(DISK_WRITE, 1, false, "MANIFEST");        /* the next edit begins a new one */
    CHECK_RC(lsm_tree_create(s.db, text("one"), NULL, &tree), LSM_IOERR);
    CHECK_OK(lsm_tree_create(s.db, text("two"), NULL, &tree));
    disk_heal();
    store_close(&s);
    if (!store_open(&s, "a"))
        return;
    CHECK_OK(lsm_tree_find(s.db, text("two"), &tree));
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

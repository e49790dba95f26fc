/*
 * test_tree.c -- trees with orders of the user's, over flushes, compactions and
 * reopening; compression by level.
 */
#include "lsm/db/db.h"
#include "lsm/format/filename.h"
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
    CHECK(strstr(lsm_error_text(), "ordered by its bytes, not by comparator "));
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

/* ---- what is recorded ---- */

TEST(tree_tells_its_name_and_the_options_that_are_recorded)
{
    struct lsm_tree_options o[3], seen;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    for (int i = 0; i < 3; i++)
        lsm_tree_options_init(&o[i]);
    o[1] = (struct lsm_tree_options){ 1024, 0, LSM_COMPRESSION_NONE, { 0, 0, 5 }, &number, LSM_VALUE_LOG_NONE };
    o[2] = (struct lsm_tree_options){ 65536, 20, 9, { 0 }, &hashed, 4000 };
    for (int life = 0; life < 2; life++) {
        db = open_with("s", 3, LSM_OK);
        for (int i = 0; i < 3; i++) {
            CHECK_OK(lsm_tree_open(db, text(&"one\0two\0six"[4 * i]), &o[i], &tree));
            CHECK_INT(lsm_tree_name(tree).size, 3);
            CHECK(memcmp(lsm_tree_name(tree).data, &"one\0two\0six"[4 * i], 3) == 0);
            lsm_tree_options_get(tree, &seen);
            if (i == 0) {
                CHECK_INT(seen.block_bytes, 4096);
                CHECK_INT(seen.filter_bits, LSM_FILTER_BITS);
                CHECK_INT(seen.compression_level, 1);
                CHECK_INT(seen.value_log_bytes, 1024);
                CHECK(!seen.comparator);
            } else {
                CHECK(seen.block_bytes == o[i].block_bytes && seen.filter_bits == (i == 1 ? LSM_FILTER_NONE : o[i].filter_bits) &&
                      seen.compression_level == o[i].compression_level && seen.comparator == o[i].comparator &&
                      seen.value_log_bytes == o[i].value_log_bytes);
            }
            CHECK(memcmp(seen.level_compression, o[i].level_compression, sizeof seen.level_compression) == 0);
            /* They make such a tree again. */
            char name[8] = { 'c', (char)('0' + i), (char)('0' + life), 0 };
            CHECK_OK(lsm_tree_create(db, text(name), &seen, &tree));
            struct lsm_tree_options again;
            lsm_tree_options_get(tree, &again);
            CHECK(memcmp(&again, &seen, sizeof seen) == 0);
        }
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
}

/* ---- the name of a hash ---- */

static uint64_t other_hash(void *ctx, struct lsm_slice key)
{
    return ~number_hash(ctx, key);
}

/* `code`: of the open; else the tree's. */
static struct lsm_tree *open_hashed(struct lsm_db **db, const struct lsm_comparator *cmp, int code)
{
    struct lsm_tree_options to;
    struct lsm_options o;
    struct lsm_tree *tree = NULL;

    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = o.create_if_missing = true;
    o.comparators = &cmp;
    o.comparator_count = 1;
    lsm_tree_options_init(&to);
    to.comparator = cmp;
    if (CHECK_RC(lsm_db_open("s", &o, db), code) && *db)
        CHECK_OK(lsm_tree_open(*db, text("t"), &to, &tree));
    return tree;
}

static void check_all_found(struct lsm_tree *tree)
{
    struct lsm_value value;
    char key[16];

    for (int i = 0; i < 200; i++) {
        CHECK_OK(lsm_tree_get(tree, NULL, key_of(i, key), &value));
        lsm_value_release(&value);
    }
}

TEST(tree_with_a_named_hash_is_refused_with_another_and_read_without)
{
    struct lsm_comparator cmp = { .name = "hashed", .compare = by_number, .hash = number_hash, .hash_name = "a" };
    struct lsm_tree_options to;
    struct lsm_tree *tree;
    struct lsm_db *db;
    char key[16];

    disk_begin();
    tree = open_hashed(&db, &cmp, LSM_OK);
    for (int i = 0; i < 200; i++)
        CHECK_OK(lsm_db_put(db, tree, key_of(i, key), text("value"), false));
    CHECK_OK(lsm_db_flush(db));
    /* While it is open, too. */
    struct lsm_comparator other = cmp;
    other.hash = other_hash;
    other.hash_name = "b";
    lsm_tree_options_init(&to);
    to.comparator = &other;
    CHECK_RC(lsm_tree_open(db, text("t"), &to, &tree), LSM_MISMATCH);
    CHECK(!tree && strstr(lsm_error_text(), "\"a\"") && strstr(lsm_error_text(), "\"b\""));
    CHECK_OK(lsm_db_close(db));

    open_hashed(&db, &other, LSM_MISMATCH);
    CHECK(strstr(lsm_error_text(), "\"a\"") && strstr(lsm_error_text(), "\"b\""));
    other.hash_name = NULL;
    open_hashed(&db, &other, LSM_MISMATCH);
    /* Without a hash: no filters are asked, and what is written has none. */
    other.hash = NULL;
    tree = open_hashed(&db, &other, LSM_OK);
    check_all_found(tree);
    CHECK_OK(lsm_db_put(db, tree, key_of(7, key), text("value"), false));
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_close(db));
    tree = open_hashed(&db, &cmp, LSM_OK);
    check_all_found(tree);
    CHECK_OK(lsm_db_check(db));
    CHECK_OK(lsm_db_compact(db, NULL));
    CHECK_OK(lsm_db_close(db));
    /* A repair makes the filters anew, with what it is given. */
    const struct lsm_comparator *given = &other;
    struct lsm_options o;
    other.hash = other_hash;
    other.hash_name = "b";
    lsm_options_init(&o);
    o.os = disk.os;
    o.comparators = &given;
    o.comparator_count = 1;
    CHECK_OK(lsm_db_repair("s", "r", &o, NULL, NULL));
    CHECK_OK(lsm_db_open("r", &o, &db));
    CHECK_OK(lsm_tree_find(db, text("t"), &tree));
    check_all_found(tree);
    CHECK_OK(lsm_db_check(db));
    CHECK_OK(lsm_db_close(db));
    given = &cmp;
    CHECK_RC(lsm_db_open("r", &o, &db), LSM_MISMATCH);
    disk_end();
}

TEST(tree_without_a_named_hash_takes_none_later)
{
    struct lsm_comparator cmp = { .name = "hashed", .compare = by_number, .hash = number_hash };
    struct lsm_db *db;

    disk_begin();
    open_hashed(&db, &cmp, LSM_OK);
    CHECK_OK(lsm_db_close(db));
    cmp.hash_name = "a";
    open_hashed(&db, &cmp, LSM_MISMATCH);
    cmp.hash_name = "";
    open_hashed(&db, &cmp, LSM_MISUSE);
    cmp.hash_name = "a";
    cmp.hash = NULL;
    open_hashed(&db, &cmp, LSM_MISUSE);
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

/* Prevents: the next tree gets the id of the one that is lost, and with it the rows that stand in the log. */
TEST(tree_that_a_damaged_MANIFEST_has_lost_leaves_its_rows_to_no_other)
{
    struct lsm_options options;
    struct lsm_file_info info;
    struct lsm_file *file;
    struct lsm_tree *tree;
    struct lsm_dir *dir;
    struct store s;
    struct lsm_db *db;
    bool created;
    char name[LSM_FILENAME_SIZE];

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text("a"), text("begins the log"), true));
    CHECK_OK(lsm_tree_create(s.db, text("lost"), NULL, &tree));        /* the MANIFEST's last edit */
    CHECK_OK(lsm_db_put(s.db, tree, text("a"), text("of the lost one"), true));
    lsm_filename(name, LSM_FILE_MANIFEST, s.db->manifest.number);
    disk_kill("a", "b");
    CHECK_OK(lsm_db_check(s.db));
    s.db->next_tree--;                  /* as if it had read what the copy's is going to be */
    CHECK_RC(lsm_db_check(s.db), LSM_CORRUPT);
    s.db->next_tree++;
    store_close(&s);

    CHECK_INT(disk.os->dir_open(disk.os, "b", false, 0, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_info(file, &info), 0);
    CHECK_INT(disk.os->file_write(file, "damage", 6, info.size - 12), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    options = small_options(NULL);
    CHECK_RC(lsm_db_open("b", &options, &db), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), name) && strstr(lsm_error_text(), "rows of a tree"));
    disk_end();
}

/* Else each open reads every edit that there ever was. */
TEST(tree_by_tree_the_MANIFEST_begins_anew_by_its_size)
{
    char name[201];
    struct lsm_tree *tree;
    struct store s;
    uint64_t first, size_max = 0;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    first = s.db->manifest.number;
    for (int i = 0; i < 6000 && s.db->manifest.number == first; i++) {
        snprintf(name, sizeof name, "%0200d", i);
        CHECK_OK(lsm_tree_create(s.db, text(name), NULL, &tree));
        CHECK_OK(lsm_tree_drop(s.db, tree));
        size_max = s.db->manifest.size > size_max ? s.db->manifest.size : size_max;
    }
    printf("  the first grew to %llu KiB\n", (unsigned long long)size_max >> 10);
    CHECK(s.db->manifest.number > first && size_max <= (1 << 20) + 4096 && s.db->manifest.size < 4096);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_tree_create(s.db, text("another"), NULL, &tree));
    store_end(&s);
}

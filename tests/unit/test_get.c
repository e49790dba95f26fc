/*
 * test_get.c -- many keys at once, prefixes, and values that outlive what they
 * were read with, against a sorted array; in the order of bytes and in orders of
 * the user's.
 */
#include "tests/unit/disk.h"

#define KEYS 4000
#define KEY_SIZE 12

/* ---- orders ---- */

static uint8_t low(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static int caseless(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    for (size_t i = 0; i < a.size && i < b.size; i++)
        if (low(a.data[i]) != low(b.data[i]))
            return low(a.data[i]) < low(b.data[i]) ? -1 : 1;
    return a.size < b.size ? -1 : a.size > b.size;
}

static uint64_t caseless_hash(void *ctx, struct lsm_slice key)
{
    uint64_t h = 14695981039346656037u;

    (void)ctx;
    for (size_t i = 0; i < key.size; i++)
        h = (h ^ low(key.data[i])) * 1099511628211u;
    return h ^ h >> 29;
}

static size_t caseless_prefix_end(void *ctx, struct lsm_slice prefix, uint8_t *end)
{
    (void)ctx;
    for (size_t i = 0; i < prefix.size; i++)
        end[i] = low(prefix.data[i]);
    end[prefix.size - 1]++;
    return prefix.size;
}

static const struct lsm_comparator caseless_order = {
    .name = "caseless", .compare = caseless, .hash = caseless_hash, .prefix_end = caseless_prefix_end
};

static int backward(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(b.data, a.data, n) : 0;

    (void)ctx;
    return c ? c : a.size < b.size ? 1 : a.size > b.size ? -1 : 0;
}

static const struct lsm_comparator backward_order = { .name = "backward", .compare = backward };

/* ---- the array ---- */

struct row {
    char key[KEY_SIZE + 1];
    uint64_t value;                     /* the value's seed; 0: no such row */
};

static struct model {
    struct lsm_db *db;
    struct lsm_tree *tree;
    const struct lsm_comparator *cmp;
    struct row rows[KEYS];
    int count;
} m;

static int order(const char *a, const char *b)
{
    return m.cmp ? m.cmp->compare(m.cmp->ctx, text(a), text(b)) : strcmp(a, b);
}

static int find(const char *key)       /* first row at or behind it */
{
    int lo = 0, hi = m.count;

    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (order(m.rows[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint64_t model_get(const char *key)
{
    int i = find(key);

    return i < m.count && order(m.rows[i].key, key) == 0 ? m.rows[i].value : 0;
}

static void model_set(const char *key, uint64_t value)
{
    int i = find(key);

    if (i == m.count || order(m.rows[i].key, key) != 0) {
        memmove(&m.rows[i + 1], &m.rows[i], (size_t)(m.count++ - i) * sizeof m.rows[0]);
        snprintf(m.rows[i].key, sizeof m.rows[i].key, "%s", key);
    }
    m.rows[i].value = value;
}

static void random_key(char key[KEY_SIZE + 1])
{
    size_t n = 1 + test_below(4);

    for (size_t i = 0; i < n; i++)
        key[i] = "abcdABCD\x7e"[test_below(9)];
    key[n] = 0;
}

static size_t value_of(uint64_t seed, uint8_t value[5000])
{
    size_t size = seed % 17 == 0 ? 4000 : seed % 90;

    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(seed * 31 + i);
    return size;
}

static bool is_value(struct lsm_slice bytes, uint64_t seed)
{
    static uint8_t want[5000];
    size_t size = value_of(seed, want);

    return CHECK_INT(bytes.size, size) && CHECK_MEM(bytes.data, want, size);
}

static bool model_open(const struct lsm_comparator *cmp)
{
    struct lsm_tree_options t;
    struct lsm_options o;

    memset(&m, 0, sizeof m);
    m.cmp = cmp;
    lsm_options_init(&o);
    o.memory_bytes = 1 << 20;
    o.no_worker = true;
    lsm_tree_options_init(&t);
    t.comparator = cmp;
    return CHECK_OK(lsm_db_open(NULL, &o, &m.db)) &&
           CHECK_OK(lsm_tree_create(m.db, text("t"), &t, &m.tree));
}

static void write_some(int count)
{
    static uint64_t serial;
    uint8_t value[5000];
    char key[KEY_SIZE + 1];

    for (int i = 0; i < count; i++) {
        random_key(key);
        if (test_below(4) == 0) {
            CHECK_OK(lsm_db_delete(m.db, m.tree, text(key), false));
            if (model_get(key))
                model_set(key, 0);
        } else {
            struct lsm_slice v = { value, value_of(++serial, value) };
            CHECK_OK(lsm_db_put(m.db, m.tree, text(key), v, false));
            model_set(key, serial);
        }
    }
    switch (test_below(6)) {
    case 0: CHECK_OK(lsm_db_compact(m.db, m.tree)); break;
    case 1: case 2: CHECK_OK(lsm_db_flush(m.db)); break;
    case 3: while (lsm_db_step(m.db) == LSM_OK) { } break;
    default: break;
    }
}

/* ---- get_many ---- */

static void get_many_at_random(const struct lsm_read *read)
{
    static char keys[300][KEY_SIZE + 1];
    static struct lsm_value values[300];
    struct lsm_slice slices[300];
    int codes[300];
    size_t count = test_below(301);
    bool sorted = test_below(3) == 0;

    for (size_t i = 0; i < count; i++)
        random_key(keys[i]);
    for (size_t i = 1; sorted && i < count; i++)
        for (size_t k = i; k > 0 && order(keys[k], keys[k - 1]) < 0; k--) {
            char t[KEY_SIZE + 1];
            memcpy(t, keys[k], sizeof t);
            memcpy(keys[k], keys[k - 1], sizeof t);
            memcpy(keys[k - 1], t, sizeof t);
        }
    for (size_t i = 0; i < count; i++)
        slices[i] = text(keys[i]);
    CHECK_OK(lsm_tree_get_many(m.tree, read, slices, count, values, codes));
    for (size_t i = 0; i < count; i++) {
        uint64_t want = model_get(keys[i]);
        if (CHECK_INT(codes[i], want ? LSM_OK : LSM_NOTFOUND) && want)
            is_value(values[i].bytes, want);
        lsm_value_release(&values[i]);
    }
}

static void compare_get_many(const struct lsm_comparator *cmp)
{
    if (!model_open(cmp))
        return;
    for (int round = 0; round < (test_long() ? 400 : 60) && !test_state.failures; round++) {
        struct lsm_snapshot *snapshot;
        struct lsm_read read = { .no_cache = test_below(2) };
        write_some((int)test_below(120));
        get_many_at_random(NULL);
        get_many_at_random(&read);
        CHECK_OK(lsm_snapshot_open(m.db, &snapshot));
        struct lsm_read old = { .snapshot = snapshot };
        CHECK_OK(lsm_db_put(m.db, m.tree, text("a"), text("not for the snapshot"), false));
        get_many_at_random(&old);
        lsm_snapshot_close(snapshot);
        uint8_t value[5000];
        struct lsm_slice v = { value, value_of(7, value) };
        CHECK_OK(lsm_db_put(m.db, m.tree, text("a"), v, false));
        model_set("a", 7);
    }
    CHECK_OK(lsm_db_close(m.db));
}

TEST(get_many_agrees_with_a_sorted_array)
{
    compare_get_many(NULL);
}

TEST(get_many_agrees_with_a_sorted_array_in_an_order_that_calls_different_bytes_one_key)
{
    compare_get_many(&caseless_order);
}

TEST(get_many_agrees_with_a_sorted_array_in_reverse)
{
    compare_get_many(&backward_order);
}

/* A level of many runs, and level 0 above it; with the memory for the sorting and without. */
TEST(get_many_finds_keys_in_every_run_of_a_level_also_without_memory_to_sort_them)
{
    static char names[3000][8];
    static struct lsm_slice keys[3000];
    static struct lsm_value values[3000];
    static int codes[3000];
    static uint8_t value[300];
    struct lsm_tree_stats stats;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < 3000; i++) {
        snprintf(names[i], sizeof names[i], "%05d", i);
        for (size_t b = 0; b < sizeof value; b++)
            value[b] = (uint8_t)test_random();
        if (i % 10)
            CHECK_OK(lsm_db_put(s.db, s.tree, text(names[i]), (struct lsm_slice){ value, sizeof value }, false));
        if (i % 600 == 0)
            CHECK_OK(lsm_db_flush(s.db));
    }
    CHECK_OK(lsm_db_compact(s.db, s.tree));
    CHECK_OK(lsm_tree_stats(s.tree, &stats));
    CHECK(stats.level[stats.level_count - 1].files > 4);
    for (int i = 0; i < 3000; i += 100)
        CHECK_OK(lsm_db_put(s.db, s.tree, text(names[i]), text("new"), false));
    CHECK_OK(lsm_db_flush(s.db));
    for (int round = 0; round < 6; round++) {
        int wanted = round ? 1500 : 3000;
        for (int i = 0; i < wanted; i++)
            keys[i] = text(names[round == 0 ? i : (int)test_below(3000)]);
        if (round % 2)
            disk_fail(DISK_MEMORY, 1, false, NULL);
        CHECK_OK(lsm_tree_get_many(s.tree, NULL, keys, (size_t)wanted, values, codes));
        disk_heal();
        for (int i = 0; i < wanted; i++) {
            int n = atoi((const char *)keys[i].data);
            if (CHECK_INT(codes[i], n % 10 && n % 100 ? LSM_OK : n % 100 ? LSM_NOTFOUND : LSM_OK) &&
                codes[i] == LSM_OK)
                CHECK_INT(values[i].bytes.size, n % 100 ? sizeof value : 3);
            lsm_value_release(&values[i]);
        }
    }
    store_end(&s);
}

TEST(get_many_sees_the_transactions_own_writes)
{
    struct lsm_slice keys[3] = { text("z"), text("a"), text("k") };
    struct lsm_value values[3];
    struct lsm_txn *txn;
    int codes[3];

    if (!model_open(NULL))
        return;
    CHECK_OK(lsm_db_put(m.db, m.tree, text("a"), text("1"), false));
    CHECK_OK(lsm_db_put(m.db, m.tree, text("z"), text("1"), false));
    CHECK_OK(lsm_txn_begin(m.db, NULL, &txn));
    CHECK_OK(lsm_txn_delete(txn, m.tree, text("z")));
    CHECK_OK(lsm_txn_put(txn, m.tree, text("k"), text("own")));
    struct lsm_read read = { .txn = txn };
    CHECK_OK(lsm_tree_get_many(m.tree, &read, keys, 3, values, codes));
    CHECK_INT(codes[0], LSM_NOTFOUND);
    CHECK_INT(codes[1], LSM_OK);
    CHECK_INT(codes[2], LSM_OK);
    CHECK_INT(values[2].bytes.size, 3);
    for (int i = 0; i < 3; i++)
        lsm_value_release(&values[i]);
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_OK(lsm_tree_get_many(m.tree, NULL, keys, 0, NULL, NULL));
    CHECK_OK(lsm_db_close(m.db));
}

/* ---- prefixes ---- */

static void compare_prefixes(const struct lsm_comparator *cmp)
{
    if (!model_open(cmp))
        return;
    for (int round = 0; round < 40 && !test_state.failures; round++) {
        struct lsm_cursor *c;
        write_some(100);
        CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
        for (int i = 0; i < 10; i++) {
            char prefix[KEY_SIZE + 1];
            size_t size;
            int expected = 0, seen = 0, rc;
            random_key(prefix);
            size = i ? strlen(prefix) : 0;
            prefix[size] = 0;
            for (int k = 0; k < m.count; k++) {
                char head[KEY_SIZE + 1];
                snprintf(head, sizeof head, "%.*s", (int)size, m.rows[k].key);
                expected += m.rows[k].value && order(head, prefix) == 0;
            }
            CHECK_OK(lsm_cursor_set_prefix(c, text(prefix)));
            for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
                seen++;
            CHECK_INT(rc, LSM_DONE);
            for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c))
                seen--;
            CHECK_INT(seen, 0);
            for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c))
                seen++;
            CHECK_INT(seen, expected);
        }
        lsm_cursor_close(c);
    }
    CHECK_OK(lsm_db_close(m.db));
}

TEST(cursor_prefix_is_all_keys_that_begin_so)
{
    compare_prefixes(NULL);
}

TEST(cursor_prefix_follows_a_comparator_that_says_where_it_ends)
{
    compare_prefixes(&caseless_order);
}

TEST(cursor_prefix_of_bytes_without_a_successor_is_open_at_the_end)
{
    struct lsm_slice key[] = { { (const uint8_t *)"\xff\xfe\xff", 3 }, { (const uint8_t *)"\xff\xff", 2 },
                               { (const uint8_t *)"\xff\xff\x01", 3 }, { (const uint8_t *)"\x61\xff\xff", 3 },
                               { (const uint8_t *)"\x62", 1 } };
    struct lsm_cursor *c;
    int n = 0;

    if (!model_open(NULL))
        return;
    for (int i = 0; i < 5; i++)
        CHECK_OK(lsm_db_put(m.db, m.tree, key[i], text("v"), false));
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    CHECK_OK(lsm_cursor_set_prefix(c, key[1]));
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        n++;
    CHECK_INT(n, 2);
    CHECK_OK(lsm_cursor_set_prefix(c, (struct lsm_slice){ (const uint8_t *)"a\xff", 2 }));
    CHECK_OK(lsm_cursor_last(c));
    CHECK_INT(lsm_cursor_key(c).size, 3);
    CHECK_RC(lsm_cursor_next(c), LSM_DONE);
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_close(m.db));
}

/* Keys and bounds of 0 to 20 bytes, many with the same first eight. */
static void compare_bounds(const struct lsm_comparator *cmp)
{
    static const char *const tails[] = { "", "a", "b", "ab", "b-----------" };
    char keys[40][24];
    int count = 0;
    struct lsm_cursor *c;

    if (!model_open(cmp))
        return;
    for (int size = 0; size <= 8; size += 2)
        for (int t = 0; t < 5; t++) {
            snprintf(keys[count], sizeof keys[0], "%.*s%s", size, "mmmmmmmm", tails[t]);
            CHECK_OK(lsm_db_put(m.db, m.tree, text(keys[count++]), text("v"), false));
        }
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    for (int lo = 0; lo < count; lo++)
        for (int hi = 0; hi < count; hi++) {
            int expected = 0, seen = 0, rc;

            for (int k = 0; k < count; k++)
                expected += order(keys[k], keys[lo]) >= 0 && order(keys[k], keys[hi]) < 0;
            CHECK_OK(lsm_cursor_set_bounds(c, text(keys[lo]), text(keys[hi])));
            for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
                seen++;
            CHECK_INT(rc, LSM_DONE);
            CHECK_INT(seen, expected);
            for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c))
                seen--;
            CHECK_INT(rc, LSM_DONE);
            CHECK_INT(seen, 0);
        }
    CHECK_OK(lsm_cursor_set_prefix(c, (struct lsm_slice){ 0 }));
    CHECK_OK(lsm_cursor_first(c));
    CHECK_OK(lsm_cursor_set_bounds(c, text(keys[3]), text(keys[7])));
    CHECK_INT(lsm_cursor_valid(c), 0);
    CHECK_RC(lsm_cursor_next(c), LSM_MISUSE);   /* from where? */
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_close(m.db));
}

TEST(cursor_bounds_hold_whatever_the_keys_share)
{
    compare_bounds(NULL);
    compare_bounds(&backward_order);
}

TEST(cursor_prefix_needs_a_comparator_that_knows_prefixes)
{
    struct lsm_cursor *c;

    if (!model_open(&backward_order))
        return;
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    CHECK_RC(lsm_cursor_set_prefix(c, text("a")), LSM_MISUSE);
    CHECK(strstr(lsm_error_text(), "backward"));
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_close(m.db));
}

/* ---- pinned values ---- */

TEST(cursor_pinned_values_stay_whatever_happens_to_the_store)
{
    static struct { struct lsm_value value; uint64_t seed; const uint8_t *at; } kept[2000];
    size_t count = 0, copied = 0;

    if (!model_open(NULL))
        return;
    for (int round = 0; round < 20 && !test_state.failures; round++) {
        struct lsm_cursor *c;
        int rc;
        write_some(100);
        CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
        bool forward = round % 4 != 3;
        for (rc = forward ? lsm_cursor_first(c) : lsm_cursor_last(c); rc == LSM_OK && count < 2000;
             rc = forward ? lsm_cursor_next(c) : lsm_cursor_prev(c)) {
            char key[KEY_SIZE + 1] = "";
            if (test_below(4))
                continue;
            memcpy(key, lsm_cursor_key(c).data, lsm_cursor_key(c).size);
            kept[count].seed = model_get(key);
            kept[count].at = lsm_cursor_value(c).data;
            if (!CHECK_OK(lsm_cursor_pin(c, &kept[count].value)))
                break;
            /* Forward nothing is copied: the bytes are where the cursor showed them. */
            if (kept[count].value.bytes.data != kept[count].at)
                copied++;
            if (forward)
                CHECK(kept[count].value.bytes.data == kept[count].at);
            count++;
        }
        lsm_cursor_close(c);
    }
    CHECK(copied > 0 && count > 500);
    CHECK_OK(lsm_db_compact(m.db, m.tree));
    for (size_t i = 0; i < count; i++) {
        is_value(kept[i].value.bytes, kept[i].seed);
        lsm_value_release(&kept[i].value);
    }
    CHECK_OK(lsm_db_close(m.db));
}

/* One of each kind of place: memory of the store's own, a memtable, a block, a value log; by each way to it. */
TEST(value_that_is_held_keeps_its_store_open)
{
    static char large[5000];
    struct lsm_slice keys[3] = { text("inline"), text("large"), text("none") };
    struct lsm_value value[6], many[3];
    struct lsm_cursor *c;
    struct store s;
    int codes[3];

    memset(large, 'x', sizeof large - 1);
    disk_and_host_begin();
    store_open_as(&s, "s", true);
    CHECK_OK(lsm_db_put(s.db, s.tree, keys[0], text("value"), false));
    CHECK_OK(lsm_db_put(s.db, s.tree, keys[1], text(large), false));
    CHECK_OK(lsm_tree_get(s.tree, NULL, keys[0], &value[0]));           /* of the memtable */
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_tree_get(s.tree, NULL, keys[0], &value[1]));           /* a block */
    CHECK_OK(lsm_tree_get(s.tree, NULL, keys[1], &value[2]));           /* a value log */
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_cursor_last(c));
    CHECK_OK(lsm_cursor_pin(c, &value[3]));
    CHECK_OK(lsm_cursor_prev(c));
    CHECK_OK(lsm_cursor_pin(c, &value[4]));     /* copied */
    CHECK_OK(lsm_cursor_first(c));
    CHECK_OK(lsm_cursor_pin(c, &value[5]));
    lsm_cursor_close(c);
    CHECK_OK(lsm_tree_get_many(s.tree, NULL, keys, 3, many, codes));
    for (int i = 0; i < 3; i++)
        lsm_value_release(&many[i]);
    for (int i = 0; i < 6; i++) {
        char held[20];
        CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
        snprintf(held, sizeof held, "%d values", 6 - i);
        CHECK(strstr(lsm_error_text(), held));
        CHECK(has(&s, "inline"));               /* it stayed open, and what is looked at is not held */
        lsm_value_release(&value[i]);
        lsm_value_release(&value[i]);           /* again: fine */
    }
    store_close(&s);
    disk_end();
}

/* The last row's handle is in a block that the cursor let go. */
TEST(cursor_behind_its_last_row_shows_nothing_of_it)
{
    static uint8_t large[3000];
    struct lsm_cursor *c;
    struct lsm_slice value;
    struct lsm_value pinned;

    if (!model_open(NULL))
        return;
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    CHECK_RC(lsm_cursor_read(c, &value), LSM_MISUSE);
    CHECK(!value.data && !lsm_cursor_key(c).data && !lsm_cursor_value(c).data);
    CHECK_OK(lsm_db_put(m.db, m.tree, text("k"), (struct lsm_slice){ large, sizeof large }, false));
    CHECK_OK(lsm_db_flush(m.db));
    CHECK_OK(lsm_cursor_reopen(c, m.tree, NULL));
    CHECK_OK(lsm_cursor_first(c));
    CHECK_OK(lsm_cursor_read(c, &value));
    CHECK_INT(value.size, sizeof large);
    CHECK_RC(lsm_cursor_next(c), LSM_DONE);
    CHECK_RC(lsm_cursor_read(c, &value), LSM_MISUSE);
    CHECK(!value.data && !lsm_cursor_key(c).data && !lsm_cursor_value(c).data);
    CHECK_RC(lsm_cursor_pin(c, &pinned), LSM_MISUSE);
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_close(m.db));
}

TEST(read_of_another_stores_state_is_told)
{
    struct lsm_slice key = text("k");
    struct lsm_read by_snapshot = { .snapshot = NULL }, by_txn = { .txn = NULL };
    struct lsm_snapshot *snapshot;
    struct lsm_value value;
    struct lsm_cursor *c;
    struct lsm_txn *txn;
    struct lsm_db *other;
    int code;

    if (!model_open(NULL) || !CHECK_OK(lsm_db_open(NULL, NULL, &other)))
        return;
    CHECK_OK(lsm_snapshot_open(other, &snapshot));
    CHECK_OK(lsm_txn_begin(other, NULL, &txn));
    by_snapshot.snapshot = snapshot;
    by_txn.txn = txn;
    CHECK_RC(lsm_tree_get(m.tree, &by_snapshot, key, &value), LSM_MISUSE);
    CHECK_RC(lsm_tree_get(m.tree, &by_txn, key, &value), LSM_MISUSE);
    CHECK_RC(lsm_tree_get_many(m.tree, &by_snapshot, &key, 1, &value, &code), LSM_MISUSE);
    CHECK_RC(lsm_cursor_open(m.tree, &by_snapshot, &c), LSM_MISUSE);
    CHECK_RC(lsm_cursor_open(m.tree, &by_txn, &c), LSM_MISUSE);
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    CHECK_RC(lsm_cursor_reopen(c, m.tree, &by_snapshot), LSM_MISUSE);
    lsm_cursor_close(c);
    lsm_snapshot_close(snapshot);
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_OK(lsm_db_close(other));
    CHECK_OK(lsm_db_close(m.db));
}

TEST(cursor_without_a_row_has_nothing_to_pin)
{
    struct lsm_cursor *c;
    struct lsm_value value;

    if (!model_open(NULL))
        return;
    CHECK_OK(lsm_cursor_open(m.tree, NULL, &c));
    CHECK_RC(lsm_cursor_first(c), LSM_DONE);
    CHECK_RC(lsm_cursor_pin(c, &value), LSM_MISUSE);
    lsm_value_release(&value);
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_close(m.db));
}

TEST(get_in_a_strict_store_is_refused_when_pinned_values_hold_the_budget)
{
    static struct lsm_value kept[30000];
    struct lsm_os *base = lsm_os_posix_new(), *os = lsm_os_mem_new(base);
    struct lsm_options o;
    struct lsm_tree *tree;
    struct lsm_db *db;
    uint8_t value[900] = { 0 };
    char key[16];
    int count = 0, rc = LSM_OK;

    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.no_worker = true;
    o.strict_memory = true;
    o.memory_bytes = 1 << 20;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)) || !CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree)))
        return;
    for (int i = 0; i < 30000; i++) {
        for (size_t b = 0; b < sizeof value; b++)
            value[b] = (uint8_t)test_random();
        snprintf(key, sizeof key, "%08d", i);
        CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ value, sizeof value }, false));
        if (i % 500 == 499)
            CHECK_OK(lsm_db_flush(db));
    }
    for (; count < 30000 && rc == LSM_OK; count++) {
        snprintf(key, sizeof key, "%08d", count);
        rc = lsm_tree_get(tree, NULL, text(key), &kept[count]);
    }
    CHECK_RC(rc, LSM_NOMEM);
    CHECK(strstr(lsm_error_text(), "strict_memory"));
    CHECK_OK(lsm_db_property(db, "cache_used", key, sizeof key, NULL));
    CHECK(atoi(key) < 9 << 20);
    snprintf(key, sizeof key, "%08d", count);
    for (int i = 0; i < count; i++)
        lsm_value_release(&kept[i]);
    CHECK_OK(lsm_tree_get(tree, NULL, text(key), &kept[0]));
    lsm_value_release(&kept[0]);
    CHECK_OK(lsm_db_close(db));
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

/* Data tells a row without bytes from a failure, whichever way the cursor came. */
TEST(cursor_shows_empty_keys_and_values_with_data)
{
    struct lsm_cursor *c;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text(""), text(""), true));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("b"), text(""), true));
    for (int flushed = 0; flushed < 2; flushed++) {
        for (int back = 0; back < 2; back++) {
            CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
            CHECK_OK(back ? lsm_cursor_last(c) : lsm_cursor_first(c));
            for (int row = 0; row < 2; row++) {
                CHECK(lsm_cursor_key(c).data && lsm_cursor_key(c).size == (size_t)(row != back));
                CHECK(lsm_cursor_value(c).data && lsm_cursor_value(c).size == 0);
                CHECK_INT(back ? lsm_cursor_prev(c) : lsm_cursor_next(c), row ? LSM_DONE : LSM_OK);
            }
            CHECK(!lsm_cursor_key(c).data && !lsm_cursor_value(c).data);
            lsm_cursor_close(c);
        }
        CHECK_OK(lsm_db_flush(s.db));
    }
    store_close(&s);
    disk_end();
}

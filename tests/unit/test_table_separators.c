/*
 * test_table_separators.c -- indexes with keys that a comparator made: whatever it answers, what is read is what was
 * written, also between a block's last key and the key that stands for it.
 */
#include "tests/unit/disk.h"
#include "tests/unit/orders.h"

#define ROWS 1500
#define KEY_MAX 100

enum answer { HONEST, NONE, BELOW, THE_NEXT, BEHIND, EMPTY, NOISE, ANSWERS };

static enum answer answer;
static atomic_int asked;

static size_t lie(struct lsm_slice a, struct lsm_slice b, uint8_t *out)
{
    size_t n;

    switch (answer) {
    case BELOW:
        memcpy(out, a.data, a.size - 1);
        return a.size - 1;
    case THE_NEXT:
        n = b.size < a.size ? b.size : a.size - 1;
        memcpy(out, b.data, n);
        return n;
    case BEHIND:
        memcpy(out, "s", 1);
        return 1;
    case EMPTY:
        return 0;
    case NOISE:
        n = test_below(a.size);
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)(i < 4 ? a.data[i] : test_random());
        return n;
    default:
        return SIZE_MAX;
    }
}

static size_t separator(void *ctx, struct lsm_slice a, struct lsm_slice b, uint8_t *out)
{
    (void)ctx;
    CHECK(lsm_slice_compare(a, b) < 0 || answer == NOISE);
    atomic_fetch_add(&asked, 1);
    if (answer != HONEST)
        return lie(a, b, out);
    return short_separator(NULL, a, b, out);
}

static size_t successor(void *ctx, struct lsm_slice key, uint8_t *out)
{
    (void)ctx;
    atomic_fetch_add(&asked, 1);
    return answer == HONEST ? short_successor(NULL, key, out) : lie(key, key, out);
}

static const struct lsm_comparator with = { .name = "bytes", .compare = compare_bytes, .hash = hash_bytes,
                                            .separator = separator, .successor = successor };
static const struct lsm_comparator without = { .name = "bytes", .compare = compare_bytes, .hash = hash_bytes };

static struct { char key[KEY_MAX]; bool is_there; } rows[ROWS];

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Ascending; long, and different early or late. */
static void make_rows(void)
{
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < ROWS; i++) {
        int n = snprintf(rows[i].key, KEY_MAX, "row/%05d/", (int)test_below(i % 3 ? 100000 : 400));
        for (int k = n; k < n + 20 + (int)test_below(60); k++)
            rows[i].key[k] = (char)('a' + test_below(26));
    }
    qsort(rows, ROWS, sizeof rows[0], by_key);
}

static bool open_tree(const char *path, const struct lsm_comparator *cmp, struct lsm_db **db, struct lsm_tree **tree)
{
    struct lsm_tree_options to;
    struct lsm_options o = small_options(&cmp);

    lsm_tree_options_init(&to);
    to.comparator = cmp;
    to.block_bytes = 512;
    to.compression_level = LSM_COMPRESSION_NONE;
    return CHECK_OK(lsm_db_open(path, &o, db)) && CHECK_OK(lsm_tree_open(*db, text("t"), &to, tree));
}

/* The first row at or behind the key; ROWS: none. */
static int row_at(const char *key)
{
    int i = 0;

    while (i < ROWS && (!rows[i].is_there || strcmp(rows[i].key, key) < 0))
        i++;
    return i;
}

static int row_before(int i)
{
    do
        i--;
    while (i >= 0 && !rows[i].is_there);
    return i;
}

static bool stands_on(struct lsm_cursor *c, int rc, int i)
{
    if (i < 0 || i >= ROWS)
        return CHECK_INT(rc, LSM_DONE);
    return CHECK_OK(rc) && CHECK(lsm_slice_equal(lsm_cursor_key(c), text(rows[i].key)));
}

/* Keys that were written, and those that stand between them: cut, and a byte greater. */
static void check_reads(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_cursor *c;
    int at, rc;

    CHECK_OK(lsm_db_check(db));
    if (!CHECK_OK(lsm_cursor_open(tree, NULL, &c)))
        return;
    at = row_at("");
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
        if (!stands_on(c, rc, at))
            break;
        do
            at++;
        while (at < ROWS && !rows[at].is_there);
    }
    CHECK_INT(rc, LSM_DONE);
    CHECK_INT(at, ROWS);
    for (int n = 0; n < 1500 && !test_state.failures; n++) {
        struct lsm_value value;
        char key[KEY_MAX];
        bool is_row;
        int i = (int)test_below(ROWS);

        strcpy(key, rows[i].key);
        if (n % 3) {
            key[test_below(strlen(key))] = 0;
            if (n % 3 == 1 && key[0])
                key[strlen(key) - 1]++;
        }
        at = row_at(key);
        is_row = at < ROWS && strcmp(rows[at].key, key) == 0;
        CHECK_INT(lsm_tree_get(tree, NULL, text(key), &value), is_row ? LSM_OK : LSM_NOTFOUND);
        lsm_value_release(&value);
        stands_on(c, lsm_cursor_seek(c, text(key)), at);
        if (lsm_cursor_valid(c))
            stands_on(c, lsm_cursor_prev(c), row_before(at));
        stands_on(c, lsm_cursor_seek_prev(c, text(key)), is_row ? at : row_before(at));
    }
    lsm_cursor_close(c);
}

static void write_some(struct lsm_db *db, struct lsm_tree *tree, int count)
{
    for (int n = 0; n < count; n++) {
        int i = (int)test_below(ROWS);
        bool puts = test_below(5) > 0;

        CHECK_OK(puts ? lsm_db_put(db, tree, text(rows[i].key), text("value"), false)
                      : lsm_db_delete(db, tree, text(rows[i].key), false));
        rows[i].is_there = puts;
    }
    CHECK_OK(lsm_db_flush(db));
}

static uint64_t live(const struct lsm_comparator *first)
{
    struct lsm_tree *tree;
    struct lsm_db *db;
    uint64_t bytes = 0;

    make_rows();
    disk_begin();
    if (!open_tree("a", first, &db, &tree))
        return 0;
    for (int i = 0; i < ROWS; i++) {
        CHECK_OK(lsm_db_put(db, tree, text(rows[i].key), text("value"), false));
        rows[i].is_there = true;
    }
    CHECK_OK(lsm_db_compact(db, tree));
    bytes = stat_of(db, "table_bytes");
    check_reads(db, tree);
    for (int round = 0; round < 3; round++)
        write_some(db, tree, 200);
    check_reads(db, tree);
    CHECK_OK(lsm_db_close(db));
    /* Written with them, read without; then tables of both kinds in one tree. */
    for (int life = 0; life < 3 && !test_state.failures; life++) {
        if (!open_tree("a", life == 1 ? &with : &without, &db, &tree))
            return 0;
        check_reads(db, tree);
        write_some(db, tree, 100);
        check_reads(db, tree);
        if (life == 2)
            CHECK_OK(lsm_db_compact(db, tree));
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
    return bytes;
}

TEST(separators_whatever_they_are_leave_reads_as_they_are)
{
    for (answer = 0; answer < ANSWERS && !test_state.failures; answer++) {
        atomic_store(&asked, 0);
        live(&with);
        CHECK(atomic_load(&asked) > 100);
        if (test_state.failures)
            printf("  answer %d\n", answer);
    }
}

TEST(separators_make_indexes_smaller)
{
    uint64_t plain, short_ones;

    answer = HONEST;
    plain = live(&without);
    short_ones = live(&with);
    printf("  tables of %u and %u KiB\n", (unsigned)(plain >> 10), (unsigned)(short_ones >> 10));
    CHECK(short_ones < plain - plain / 32);
}

TEST(separators_are_in_a_table_that_is_repaired)
{
    const struct lsm_comparator *cmp = &with;
    struct lsm_repair_info info;
    struct lsm_options o;
    struct lsm_tree *tree;
    struct lsm_db *db;

    answer = HONEST;
    make_rows();
    disk_begin();
    if (!open_tree("a", &with, &db, &tree))
        return;
    for (int i = 0; i < 5; i++)
        write_some(db, tree, 300);
    CHECK_OK(lsm_db_close(db));
    lsm_options_init(&o);
    o.os = disk.os;
    o.comparators = &cmp;
    o.comparator_count = 1;
    CHECK_OK(lsm_db_repair("a", "b", &o, NULL, &info));
    if (open_tree("b", &with, &db, &tree)) {
        check_reads(db, tree);
        CHECK_OK(lsm_db_close(db));
    }
    disk_end();
}

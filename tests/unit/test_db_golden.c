/*
 * test_db_golden.c -- a store of the engine alone, of every format that there was, opens for ever: tests/golden/engine
 * has one directory each, made by this program (TEST_GOLDEN=DIRECTORY) when a format was new, and never changed.
 *
 *     v1   trees in the order of bytes and with a comparator that has a named hash and separators; value logs,
 *          range deletes, two levels, and rows that are only in the log
 */
#include <dirent.h>
#include <sys/stat.h>

#include "tests/test.h"
#include "tests/unit/orders.h"

#define ROWS 1200
#define GOLDEN "tests/golden/engine"

static const struct lsm_comparator golden = { .name = "golden", .compare = compare_bytes, .hash = hash_bytes,
                                              .hash_name = "golden hash", .separator = short_separator,
                                              .successor = short_successor };
static const struct lsm_comparator *const orders[] = { &golden };

static struct lsm_slice key_of(int i)
{
    static char key[100];
    int n = snprintf(key, sizeof key, "row/%04d/", i);

    for (unsigned k = 0; k < 40; k++)
        key[n++] = (char)('a' + (i * 31u + k * 7u + (unsigned)i / 7u * k) % 26);
    return lsm_slice(key, (size_t)n);
}

static struct lsm_slice value_of(int i)
{
    static char value[3000];
    size_t size = i % 100 == 50 ? sizeof value : 20;

    memset(value, 'a' + i % 26, sizeof value);
    return lsm_slice(value, size);
}

/* The first quarter was written twice, the second is gone in part, the last is only in the log. */
static bool is_there(int i)
{
    return i < 300 || i >= 600 || (i >= 500 && i % 2 == 0);
}

static bool open_store(const char *path, bool create, struct lsm_db **db, struct lsm_tree *trees[2])
{
    struct lsm_tree_options to[2];
    struct lsm_options o;

    lsm_options_init(&o);
    o.create_if_missing = create;
    o.comparators = orders;
    o.comparator_count = 1;
    for (int t = 0; t < 2; t++) {
        lsm_tree_options_init(&to[t]);
        to[t].block_bytes = 512;
        to[t].comparator = t ? &golden : NULL;
    }
    return CHECK_OK(lsm_db_open(path, &o, db)) &&
           CHECK_OK(lsm_tree_open(*db, lsm_slice_str("bytes"), &to[0], &trees[0])) &&
           CHECK_OK(lsm_tree_open(*db, lsm_slice_str("golden"), &to[1], &trees[1]));
}

static void put_rows(struct lsm_db *db, struct lsm_tree *tree, int from, int to)
{
    for (int i = from; i < to; i++)
        CHECK_OK(lsm_db_put(db, tree, key_of(i), value_of(i), false));
}

static void make(const char *path)
{
    struct lsm_tree *trees[2];
    struct lsm_db *db;
    char end[100];

    if (!open_store(path, true, &db, trees))
        return;
    for (int t = 0; t < 2; t++)
        put_rows(db, trees[t], 0, 900);
    CHECK_OK(lsm_db_compact(db, NULL));
    for (int t = 0; t < 2; t++) {
        struct lsm_slice last = key_of(500);
        memcpy(end, last.data, last.size);
        CHECK_OK(lsm_db_delete_range(db, trees[t], key_of(300), lsm_slice(end, last.size), false));
        for (int i = 501; i < 600; i += 2)
            CHECK_OK(lsm_db_delete(db, trees[t], key_of(i), false));
        put_rows(db, trees[t], 0, 300);
    }
    CHECK_OK(lsm_db_flush(db));
    for (int t = 0; t < 2; t++)
        put_rows(db, trees[t], 900, ROWS);
    CHECK_OK(lsm_db_close(db));
}

static void check_rows(struct lsm_tree *tree)
{
    struct lsm_cursor *c;
    int at = -1, rc;

    for (int i = 0; i < ROWS; i++) {
        struct lsm_value value;

        rc = lsm_tree_get(tree, NULL, key_of(i), &value);
        if (!CHECK_INT(rc, is_there(i) ? LSM_OK : LSM_NOTFOUND))
            return;
        CHECK(rc || lsm_slice_equal(value.bytes, value_of(i)));
        lsm_value_release(&value);
    }
    if (!CHECK_OK(lsm_cursor_open(tree, NULL, &c)))
        return;
    for (rc = lsm_cursor_first(c);; rc = lsm_cursor_next(c)) {
        do
            at++;
        while (at < ROWS && !is_there(at));
        if (rc || !CHECK(at < ROWS && lsm_slice_equal(lsm_cursor_key(c), key_of(at))))
            break;
    }
    CHECK_INT(rc, LSM_DONE);
    CHECK_INT(at, ROWS);
    lsm_cursor_close(c);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

    if (CHECK(in && out))
        for (size_t n; (n = fread(bytes, 1, sizeof bytes, in)) > 0;)
            CHECK(fwrite(bytes, 1, n, out) == n);
    if (in)
        fclose(in);
    if (out)
        CHECK(fclose(out) == 0);
}

static void check_golden(const char *version)
{
    char from[600], to[600], path[200], golden_path[300];
    struct lsm_tree *trees[2];
    struct dirent *entry;
    struct lsm_db *db;
    DIR *dir;

    snprintf(golden_path, sizeof golden_path, GOLDEN "/%.100s", version);
    snprintf(path, sizeof path, "%s/%.50s", test_dir(), version);
    dir = opendir(golden_path);
    if (!CHECK(dir && mkdir(path, 0755) == 0))
        return;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            snprintf(from, sizeof from, "%s/%.200s", golden_path, entry->d_name);
            snprintf(to, sizeof to, "%s/%.200s", path, entry->d_name);
            copy_file(from, to);
        }
    closedir(dir);
    for (int life = 0; life < 2; life++) {
        if (!open_store(path, false, &db, trees))
            return;
        CHECK_OK(lsm_db_check(db));
        for (int t = 0; t < 2; t++) {
            check_rows(trees[t]);
            put_rows(db, trees[t], 200, 300);
            CHECK_OK(lsm_db_flush(db));
            check_rows(trees[t]);
        }
        CHECK_OK(lsm_db_compact(db, NULL));
        for (int t = 0; t < 2; t++)
            check_rows(trees[t]);
        CHECK_OK(lsm_db_close(db));
    }
}

TEST(golden_stores_of_the_engine_open_and_are_written_to)
{
    const char *to = getenv("TEST_GOLDEN");
    struct dirent *entry;
    int count = 0;
    DIR *dir;

    if (to) {
        make(to);
        return;
    }
    dir = opendir(GOLDEN);
    if (!CHECK(dir))
        return;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] == 'v') {
            check_golden(entry->d_name);
            count++;
        }
    closedir(dir);
    CHECK(count >= 1);
}

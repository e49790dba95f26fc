/*
 * test_idle_threads.c -- a store with its worker that is left alone: what was deleted gives
 * its space back, whichever way it was deleted, and nothing else is done.
 */
#include "lsm/os/os.h"
#include "tests/stat.h"
#include "tests/test.h"

#define ROWS 5000
#define WAIT_MS 60000           /* for the slowest machine; some two seconds otherwise */

static struct lsm_os *base, *os;
static struct lsm_db *db;
static struct lsm_tree *tree;

static struct lsm_slice key(int i)
{
    static char text[16];
    int n = snprintf(text, sizeof text, "%08d", i);

    return (struct lsm_slice){ (const uint8_t *)text, (size_t)n };
}

static bool begin(void)
{
    struct lsm_options o;

    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    return CHECK_OK(lsm_db_open("a", &o, &db)) &&
           CHECK_OK(lsm_tree_create(db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, NULL, &tree));
}

static bool put_all(void)
{
    char value[100];

    for (int i = 0; i < ROWS; i++) {
        memset(value, 'a' + i % 26, sizeof value);
        if (!CHECK_OK(lsm_db_put(db, tree, key(i), (struct lsm_slice){ (uint8_t *)value, sizeof value }, false)))
            return false;
    }
    return true;
}

static void end(void)
{
    CHECK_OK(lsm_db_close(db));
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

/* Does a figure come down to this? */
static bool falls_to(const char *name, uint64_t most)
{
    for (int ms = 0; ms < WAIT_MS; ms += 20) {
        if (stat_of(db, name) <= most)
            return true;
        usleep(20000);
    }
    printf("  %s stays at %" PRIu64 "\n", name, stat_of(db, name));
    return false;
}

TEST(idle_store_gives_back_the_space_of_rows_that_were_deleted_one_by_one)
{
    if (!begin() || !put_all() || !CHECK_OK(lsm_db_compact(db, NULL)))
        return;
    CHECK(stat_of(db, "table_bytes") > 10000);
    for (int i = 0; i < ROWS; i++)
        CHECK_OK(lsm_db_delete(db, tree, key(i), false));
    CHECK(falls_to("table_bytes", 0));
    end();
}

TEST(idle_store_gives_back_the_space_of_a_deleted_range)
{
    if (!begin() || !put_all() || !CHECK_OK(lsm_db_compact(db, NULL)))
        return;
    CHECK(stat_of(db, "table_bytes") > 10000);
    CHECK_OK(lsm_db_delete_range(db, tree, (struct lsm_slice){ (const uint8_t *)"0", 1 },
                                 (struct lsm_slice){ (const uint8_t *)"9", 1 }, false));
    CHECK(falls_to("table_bytes", 0));
    end();
}

/* It rests after that, and is woken by the next deletes. */
TEST(idle_store_gives_back_space_again_and_again)
{
    if (!begin())
        return;
    for (int round = 0; round < 3; round++) {
        if (!put_all() || !CHECK_OK(lsm_db_flush(db)))
            return;
        CHECK(stat_of(db, "table_bytes") > 10000);
        usleep(1500000);        /* it rests, most likely */
        for (int i = 0; i < ROWS; i++)
            CHECK_OK(lsm_db_delete(db, tree, key(i), false));
        CHECK(falls_to("table_bytes", 0));
    }
    end();
}

/* Deletes that were written before the last close are in the log, or in level 0. */
TEST(idle_store_gives_back_after_an_open_what_was_deleted_before)
{
    struct lsm_options o;

    if (!begin() || !put_all() || !CHECK_OK(lsm_db_compact(db, NULL)))
        return;
    for (int i = 0; i < ROWS; i++)
        CHECK_OK(lsm_db_delete(db, tree, key(i), false));
    CHECK_OK(lsm_db_close(db));
    lsm_options_init(&o);
    o.os = os;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)))
        return;
    CHECK(falls_to("table_bytes", 0));
    end();
}

static int count_tables(void *ctx, const char *name)
{
    *(int *)ctx += strstr(name, ".ldb") != NULL;
    return 0;
}

/* Files that nobody unlinks yet though no version has them. */
static bool tables_go(void)
{
    int left = 0;

    for (int ms = 0; ms < WAIT_MS; ms += 20) {
        struct lsm_dir *dir;

        left = 0;
        CHECK_INT(os->dir_open(os, "a", false, 0, NULL, &dir), 0);
        CHECK_INT(os->dir_list(dir, count_tables, &left), 0);
        os->dir_close(dir);
        if (left == 0)
            return true;
        usleep(20000);
    }
    printf("  %d tables stay\n", left);
    return false;
}

TEST(idle_store_removes_the_files_of_a_dropped_tree)
{
    if (!begin() || !put_all() || !CHECK_OK(lsm_db_compact(db, NULL)))
        return;
    CHECK_OK(lsm_tree_drop(db, tree));
    CHECK(tables_go());
    end();
}

TEST(idle_store_removes_files_when_the_last_cursor_that_saw_them_is_closed)
{
    struct lsm_cursor *cursor;

    if (!begin() || !put_all() || !CHECK_OK(lsm_db_compact(db, NULL)) ||
        !CHECK_OK(lsm_cursor_open(tree, NULL, &cursor)))
        return;
    CHECK_OK(lsm_cursor_first(cursor));
    CHECK_OK(lsm_db_delete_range(db, tree, (struct lsm_slice){ (const uint8_t *)"0", 1 },
                                 (struct lsm_slice){ (const uint8_t *)"9", 1 }, false));
    CHECK(falls_to("table_bytes", 0));
    usleep(1500000);            /* the worker rests, most likely */
    CHECK_OK(lsm_cursor_last(cursor));
    lsm_cursor_close(cursor);
    CHECK(tables_go());
    end();
}

/*
 * test_check.c -- the quick part of a check: the files alone. What lsm_db_check() finds in
 * them is in the tests of those who write them.
 */
#include "tests/unit/disk.h"

static char big[2000];

static bool fill(struct store *s)
{
    char key[16];

    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "%06d", i);
        memset(big, 'a' + i % 26, sizeof big);
        if (!CHECK_OK(lsm_db_put(s->db, s->tree, text(key), text("short"), false)) ||
            !CHECK_OK(lsm_db_put(s->db, s->tree, text(key + 1), (struct lsm_slice){ (uint8_t *)big, sizeof big }, false)))
            return false;
    }
    return CHECK_OK(lsm_db_flush(s->db));
}

static const char *part;
static char found[40];

static int find_part(void *ctx, const char *name)
{
    (void)ctx;
    if (strstr(name, part))
        snprintf(found, sizeof found, "%s", name);
    return 0;
}

/* Without the store being open: cut to `size` bytes, or gone. */
static void damage(const char *which, bool is_gone, uint64_t size)
{
    struct lsm_file *file;
    struct lsm_dir *dir;
    bool created;

    part = which;
    found[0] = 0;
    CHECK_INT(disk.os->dir_open(disk.os, "a", false, 0, &created, &dir), 0);
    CHECK_INT(disk.os->dir_list(dir, find_part, NULL), 0);
    CHECK(found[0]);
    if (is_gone) {
        CHECK_INT(disk.os->file_remove(dir, found), 0);
    } else {
        CHECK_INT(disk.os->file_open(dir, found, LSM_OPEN_WRITE, 0, &file), 0);
        CHECK_INT(disk.os->file_truncate(file, size), 0);
        disk.os->file_close(file);
    }
    disk.os->dir_close(dir);
}

TEST(check_files_names_what_is_missing_or_cut_and_reads_no_row)
{
    static const struct { const char *part; bool is_gone; uint64_t size; } cases[] = {
        { ".ldb", true, 0 }, { ".ldb", false, 300 }, { ".ldb", false, 0 },
        { ".vlog", true, 0 }, { ".vlog", false, 500 }, { ".vlog", false, 0 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store s;

        disk_begin();
        if (!store_open_as(&s, "a", true) || !fill(&s))
            return;
        CHECK_OK(lsm_db_check_files(s.db));
        store_close(&s);
        damage(cases[i].part, cases[i].is_gone, cases[i].size);
        if (!store_open_as(&s, "a", true))
            return;
        CHECK_RC(lsm_db_check_files(s.db), LSM_CORRUPT);
        CHECK(strncmp(lsm_error_text(), found, strlen(found)) == 0);
        CHECK_INT(stat_of(s.db, "cache_misses"), 0);
        store_close(&s);
        disk_end();
    }
}

TEST(a_cursor_tells_a_failed_move_again_until_it_is_reopened)
{
    struct lsm_cursor *c;
    struct lsm_slice value;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true) || !fill(&s))
        return;
    store_close(&s);
    damage(".ldb", false, 300);
    if (!store_open_as(&s, "a", true) || !CHECK_OK(lsm_cursor_open(s.tree, NULL, &c)))
        return;
    CHECK_RC(lsm_cursor_next(c), LSM_MISUSE);
    CHECK_RC(lsm_cursor_first(c), LSM_CORRUPT);
    CHECK_RC(lsm_cursor_next(c), LSM_CORRUPT);
    CHECK_RC(lsm_cursor_prev(c), LSM_CORRUPT);
    CHECK_RC(lsm_cursor_read(c, &value), LSM_CORRUPT);
    CHECK_RC(lsm_cursor_last(c), LSM_CORRUPT);
    lsm_cursor_close(c);
    store_close(&s);
    disk_end();
}

static void count_line(void *ctx, int kind, const char *line)
{
    int *count = ctx;

    *count += kind == LSM_EVENT_ERROR && strstr(line, ".vlog") != NULL;
}

TEST(check_says_once_that_a_value_log_is_missing_not_for_each_of_its_rows)
{
    struct store s;
    int count = 0;

    disk_begin();
    if (!store_open_as(&s, "a", true) || !fill(&s))
        return;
    store_close(&s);
    damage(".vlog", true, 0);
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_RC(lsm_db_check_report(s.db, count_line, &count), LSM_CORRUPT);
    CHECK_INT(count, 1);
    store_close(&s);
    disk_end();
}

/* A large transaction that is committed and not flushed: its tables stand in the log, not in the MANIFEST. */
TEST(check_files_looks_at_tables_that_only_the_log_names)
{
    struct lsm_txn *txn;
    struct store s;
    char key[16];

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "%06d", i);
        memset(big, 'a' + i % 26, sizeof big);
        CHECK_OK(lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ (uint8_t *)big, sizeof big }));
    }
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    CHECK(disk_count("a", ".ldb") > 0 && disk_count("a", ".vlog") > 0);
    CHECK_OK(lsm_db_check_files(s.db));
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open_as(&s, "b", true))
        return;
    CHECK_OK(lsm_db_check_files(s.db));
    lsm_db_close(s.db);
    disk_end();
}

/* A sum of no value: so that what stands on the stack below is no zeros. */
static __attribute__((noinline)) unsigned soil_stack(void)
{
    volatile uint8_t dirt[16 << 10];
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof dirt; i++)
        sum += dirt[i] = 0x5a;
    return sum;
}

TEST(a_check_without_memory_says_so_and_frees_what_it_has_alone)
{
    struct store s;
    int at = 0, rc;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true) || !fill(&s))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text("k"), text("in the log"), true));
    do {
        CHECK(soil_stack());
        disk_fail(DISK_MEMORY, ++at, false, NULL);
        rc = lsm_db_check(s.db);
        CHECK_INT(rc, disk.fail_seen < at ? LSM_OK : LSM_NOMEM);
    } while (rc == LSM_NOMEM && at < 10000);
    disk_heal();
    CHECK(at > 10);
    CHECK_OK(rc);
    store_end(&s);
}

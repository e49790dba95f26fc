/*
 * test_cursor_scan.c -- what a scan asks of the disk and leaves in the cache.
 */
#include "tests/noise.h"
#include "tests/stat.h"
#include "tests/unit/disk.h"


static uint64_t asked;

static void count_prefetch(struct lsm_file *file, uint64_t off, uint64_t size)
{
    (void)off;
    if (strstr(disk_open_name(file), ".vlog"))
        asked += size;
}

static const char *key_of(int i)
{
    static char key[16];

    snprintf(key, sizeof key, "%06d", i);
    return key;
}

static bool fill(struct store *s, int rows, size_t value_size)
{
    static uint8_t value[4096];
    unsigned seed = 7919;

    for (int i = 0; i < rows; i++) {
        fill_with_noise(value, value_size, &seed);
        if (!CHECK_OK(lsm_db_put(s->db, s->tree, text(key_of(i)), (struct lsm_slice){ value, value_size }, false)))
            return false;
    }
    return CHECK_OK(lsm_db_flush(s->db));
}

/* Rows [from, from + count); how many there were. */
static int scan(struct store *s, const struct lsm_read *read, int from, int count_max)
{
    struct lsm_cursor *c;
    struct lsm_slice value;
    int rc, count = 0;

    if (!CHECK_OK(lsm_cursor_open(s->tree, read, &c)))
        return 0;
    for (rc = lsm_cursor_seek(c, text(key_of(from))); rc == LSM_OK && count < count_max; rc = lsm_cursor_next(c))
        count += CHECK_OK(lsm_cursor_read(c, &value));
    lsm_cursor_close(c);
    return count;
}

static void get_some(struct store *s, int rows, int step)
{
    struct lsm_value found;

    for (int i = 0; i < rows; i += step) {
        CHECK_OK(lsm_tree_get(s->tree, NULL, text(key_of(i)), &found));
        lsm_value_release(&found);
    }
}

TEST(scan_asks_for_the_values_of_a_value_log_ahead_and_a_get_does_not)
{
    enum { ROWS = 400 };
    struct store s;

    disk_begin();
    disk.os->file_prefetch = count_prefetch;
    if (!store_open_as(&s, "a", true) || !fill(&s, ROWS, 4000))
        return;
    asked = 0;
    get_some(&s, ROWS, 7);
    CHECK_INT(asked, 0);
    CHECK_INT(scan(&s, NULL, 0, ROWS), ROWS);
    printf("  %llu KiB asked for, %d of values\n", (unsigned long long)asked >> 10, ROWS * 4000 >> 10);
    CHECK(asked >= ROWS * 4000 / 2 && asked <= ROWS * 4000 * 4);        /* windows overlap by half */
    store_close(&s);
    disk_end();
}

/* A stretch that is read three times belongs to what is read again and again, and a scan of ten times the cache does not
   displace it; with no_cache it belongs to nothing. */
TEST(scan_with_no_cache_makes_no_block_one_to_be_kept)
{
    enum { ROWS = 20000, FROM = 7000, COUNT = 400 };
    const struct lsm_read quiet = { .no_cache = true };
    uint64_t missed[2];

    for (int is_quiet = 0; is_quiet < 2; is_quiet++) {
        struct store s;

        disk_begin();
        if (!store_open_as(&s, "a", true) || !fill(&s, ROWS, 300) || !CHECK_OK(lsm_db_compact(s.db, NULL)))
            return;
        get_some(&s, ROWS, 7);          /* the cache is full */
        for (int i = 0; i < 3; i++)
            CHECK_INT(scan(&s, is_quiet ? &quiet : NULL, FROM, COUNT), COUNT);
        CHECK_INT(scan(&s, &quiet, 0, ROWS), ROWS);
        missed[is_quiet] = stat_of(s.db, "cache_misses");
        CHECK_INT(scan(&s, NULL, FROM, COUNT), COUNT);
        missed[is_quiet] = stat_of(s.db, "cache_misses") - missed[is_quiet];
        store_close(&s);
        disk_end();
    }
    printf("  %llu blocks missed, %llu where they were read with no_cache\n", (unsigned long long)missed[0],
           (unsigned long long)missed[1]);
    CHECK(missed[0] <= 2 && missed[1] >= 20);
}

/*
 * test_repair_unread.c -- a repair of files with sectors that cannot be read, that have grown or
 * were cut, or that are holes of a terabyte.
 */
#include "tests/unit/repaired.h"

#define TIB (UINT64_C(1) << 40)

static void append(const char *path, const char *name, size_t size)
{
    static const uint8_t bytes[100000] = { 1, 2, 3 };
    struct lsm_dir *dir = open_dir(path);
    struct lsm_file *file;
    uint64_t off = size_of(path, name);

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_write(file, bytes, size, off), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

/* Of a store too large to look at byte by byte. */
static bool repaired_in_bounds(struct store *s, const char *name, uint64_t size)
{
    cut("a", name, size);
    return CHECK_OK(repair("a", "b", NULL)) && store_open_as(s, "b", true) && CHECK_OK(lsm_db_check(s->db));
}

/* Rows in a log, ten in each of `count` records. */
static bool make_log(struct store *s, int count)
{
    disk_and_host_begin();
    if (!store_open_as(s, "a", true))
        return false;
    for (int i = 0; i < count; i++)
        put_rows(s, i * 10, i * 10 + 10, 1);
    disk_kill("a", "k");
    store_close(s);
    remove_files("a", "");
    disk_kill("k", "a");
    return true;
}

TEST(repair_reads_a_log_round_a_sector_that_cannot_be_read)
{
    for (int last = 0; last < 2; last++) {
        struct store s;
        const char *name;
        uint64_t size;
        int found;

        if (!make_log(&s, 100))
            return;
        name = file_of("a", ".log", 0);
        size = size_of("a", name);
        CHECK(size > 5 * 4096);
        disk_make_bad(name, last ? size - 100 : size / 2, 100);
        if (repaired(&s)) {
            found = count_versions(&s, 0, 1000, 1);
            CHECK_INT(found, count_at(&s, NULL));
            CHECK(found % 10 == 0 && found >= 800 && found < 1000);
            CHECK_INT(count_versions(&s, 0, 400, 1), 400);
            if (!last)
                CHECK_INT(count_versions(&s, 700, 1000, 1), 300);
            CHECK(strstr(report, name) && strstr(report, "Input/output error"));
            CHECK_INT(info.places_lost, 2);     /* a frame that ends in it, and what follows */
            CHECK(info.bytes_lost >= (last ? 100 : 4096) && info.bytes_lost < 6000);
            CHECK(disk.bad_reads < 10);
        }
        done(&s);
    }
}

/* The first sector has what all marks are seeded with: records and the chain prove themselves without it. */
TEST(repair_reads_a_log_without_its_first_sector)
{
    for (int how = 0; how < 3; how++) {
        struct store s;
        const char *name;
        int found = 0;

        if (!make_log(&s, 100))
            return;
        name = file_of("a", ".log", 0);
        if (how == 0)
            disk_make_bad(name, 0, 512);
        else
            flip("a", name, how == 1 ? 0 : 70, 80);
        if (how == 2)                           /* and a hole in the middle */
            flip("a", name, size_of("a", name) / 2, 200);
        if (repaired(&s)) {
            found = count_versions(&s, 0, 1000, 1);
            CHECK_INT(found, count_at(&s, NULL));
            CHECK(found % 10 == 0 && found >= (how == 0 ? 900 : 960) && (how == 1) == (found == 1000));
            CHECK_INT(count_versions(&s, 600, 1000, 1), 400);
            CHECK(strstr(report, name));
            CHECK_INT(info.places_lost, how == 1 ? 1 : how == 0 ? 2 : 3);
        }
        if (test_state.failures)
            printf("  case %d, %d rows\n", how, found);
        done(&s);
    }
}

TEST(repair_says_nothing_of_a_log_that_was_never_begun)
{
    struct store s;
    const char *name;

    if (!make_log(&s, 10))
        return;
    name = file_of("a", ".log", 0);
    cut("a", name, 40);
    cut("a", name, 5000);
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), 0);
        CHECK_STR(report, "");
    }
    done(&s);
}

TEST(repair_of_a_log_of_which_nothing_can_be_read)
{
    struct store s;

    if (!make(&s, true))
        return;
    disk_make_bad(file_of("a", ".log", 0), 0, 1 << 30);
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), ROWS);
        CHECK_INT(info.places_lost, 1);
        CHECK(info.bytes_lost > 5000);
    }
    done(&s);
}

/* A MANIFEST of several sectors. Tables that only lost edits name are there all the same, also where the last one is
   lost: what cannot be read is no end. */
TEST(repair_reads_a_MANIFEST_up_to_a_sector_that_cannot_be_read)
{
    for (int last = 0; last < 3; last++) {
        struct store s;
        const char *name;
        uint64_t size;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        for (int v = 1; v <= 60; v++) {
            put_rows(&s, v * 10, 1000, v);
            CHECK_OK(lsm_db_flush(s.db));
        }
        store_close(&s);
        name = file_of("a", "MANIFEST", 0);
        size = size_of("a", name);
        CHECK(size > 2 * 4096);
        disk_make_bad(name, last == 0 ? 5000 : last == 1 ? size - 50 : 0, 50);
        if (repaired(&s)) {
            for (int v = 1; v < 60; v++)
                CHECK_INT(count_versions(&s, v * 10, v * 10 + 10, v), 10);
            CHECK_INT(count_versions(&s, 600, 1000, 60), 400);
            CHECK(strstr(report, last < 2 ? "is used up to its edit" : "no MANIFEST can be read"));
            CHECK(strstr(report, "Input/output error"));
            CHECK_INT(info.places_lost, 1);
        }
        if (test_state.failures)
            printf("  case %d\n", last);
        done(&s);
    }
}

/* Blocks are found by trying, on both sides. */
TEST(repair_reads_a_table_without_an_index_round_a_sector_that_cannot_be_read)
{
    struct store s;
    const char *name;
    uint64_t size;
    int found;

    if (!make(&s, false))
        return;
    name = file_of("a", ".ldb", 0);
    size = size_of("a", name);
    CHECK(size > 6 * 4096);
    flip("a", name, size - 40, 8);
    disk_make_bad(name, 4096 * 2 + 100, 10);
    if (repaired(&s)) {
        found = count_at(&s, NULL);
        CHECK_INT(found, count_versions(&s, 0, ROWS, 1));
        CHECK(found > ROWS / 2 && found < ROWS);
        CHECK_INT(count_versions(&s, 0, 100, 1), 100);
        CHECK_INT(count_versions(&s, ROWS * 3 / 4, ROWS, 1), ROWS / 4);
        CHECK(strstr(report, "Input/output error"));
        CHECK(disk.bad_reads < 10);
        CHECK_INT(info.rows_lost, ROWS - found);
    }
    done(&s);
}

/* Sizes are the MANIFEST's: what was appended hides neither the foot nor what it leads to. */
TEST(repair_of_a_table_that_has_grown_keeps_its_range_deletes)
{
    for (int adopted = 0; adopted < 2; adopted++) {
        struct store s;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put_rows(&s, 0, ROWS, 1);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000100"), text("00001000"), true));
        put_rows(&s, 200, 300, 2);
        CHECK_OK(lsm_db_flush(s.db));
        if (adopted)
            put_rows(&s, 5000, 20000, 3);       /* in private tables, which a record names */
        store_close(&s);
        CHECK(disk_count("a", ".ldb") >= 2 + adopted);
        for (int i = 0; i < disk_count("a", ".ldb"); i++)
            append("a", file_of("a", ".ldb", i), 1000 + 5000 * (size_t)i);
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 100, 1000, 0), 800);
            CHECK_INT(count_versions(&s, 200, 300, 2), 100);
            CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS - 900);
            CHECK_INT(count_versions(&s, 5000, 20000, 3), adopted ? 15000 : 0);
            CHECK_INT(info.places_lost + info.rows_lost, 0);
            CHECK(strstr(report, "what stands behind is left out"));
        }
        done(&s);
    }
}

/* The foot is gone, but not what stands in front of it, which is found by trying: range deletes, and the properties
   (but where the cut has taken them: then another table has the tree's name). */
TEST(repair_of_a_table_without_a_foot_keeps_its_range_deletes)
{
    for (int how = 0; how < 5; how++) {
        struct store s;
        const char *name;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put_rows(&s, 0, ROWS, 1);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000100"), text("00001000"), true));
        put_rows(&s, 200, 300, 2);
        CHECK_OK(lsm_db_flush(s.db));
        store_close(&s);
        name = file_of("a", ".ldb", 0);
        if ((size_of("a", name) > 10000) == (how < 3))          /* else that of the oldest rows */
            name = file_of("a", ".ldb", 1);
        if (how == 4)
            cut("a", name, size_of("a", name) - 400);
        else if (how < 2)
            cut("a", name, size_of("a", name) - 60);
        else
            flip("a", name, size_of("a", name) - 60, 50);
        if (how) {                              /* nobody knows that there were any */
            remove_files("a", "MANIFEST");
            remove_files("a", "CURRENT");
        }
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 100, 1000, 0), 800);
            CHECK_INT(count_versions(&s, 200, 300, 2), 100);
            CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS - 900);
            CHECK(!strstr(report, "range deletes"));
            CHECK_INT(info.trees_unnamed, 0);
        }
        if (test_state.failures)
            printf("  case %d\n", how);
        done(&s);
    }
}

/* The MANIFEST says where a table ends; without one, and in a log, nobody does, and a hole is passed by. */
TEST(repair_passes_by_a_terabyte_of_nothing)
{
    for (int what = 0; what < 4; what++) {
        struct store s;

        if (!make(&s, true))
            return;
        if (what == 1 || what == 2) {
            remove_files("a", "MANIFEST");
            remove_files("a", "CURRENT");
        }
        if (what == 2)
            flip("a", file_of("a", ".ldb", 0), size_of("a", file_of("a", ".ldb", 0)) / 2, 8);
        disk.read_bytes = 0;
        if (repaired_in_bounds(&s, file_of("a", what == 3 ? ".log" : ".ldb", 0), TIB)) {
            CHECK(what == 2 ? count_versions(&s, 0, ROWS, 1) > ROWS - 300 : count_versions(&s, 0, ROWS, 1) == ROWS);
            CHECK_INT(count_versions(&s, ROWS, ROWS + 100, 2), 100);
            CHECK(disk.read_bytes < 100 << 20);
            CHECK(what == 0 || what == 3 || strstr(report, "no block can be found here"));
            CHECK_INT(info.trees_unnamed, 0);   /* its properties have the name, behind which the foot was lost */
        }
        if (test_state.failures)
            printf("  case %d, %" PRIu64 " bytes were read\n", what, disk.read_bytes);
        done(&s);
    }
}

/* Blocks of a table without a foot, on both sides of a hole in its middle. */
TEST(repair_finds_blocks_behind_a_hole)
{
    const int rows = 22000;
    struct lsm_options o;
    struct lsm_file *file;
    struct lsm_dir *dir;
    struct store s = { 0 };
    const char *name;
    char key[16], value[64];
    uint8_t *bytes, long_value[900];
    size_t size, got;
    int n;

    disk_and_host_begin();
    o = small_options(NULL);
    o.memory_bytes = 256 << 20;
    if (!CHECK_OK(lsm_db_open("a", &o, &s.db)) || !CHECK_OK(lsm_tree_create(s.db, text("t"), NULL, &s.tree)))
        return;
    for (int i = 0; i < LSM_LEVEL_COUNT_MAX; i++) {     /* in level 0 a flush makes one table, however large */
        CHECK_OK(lsm_db_put(s.db, s.tree, text("0"), text("v"), false));
        CHECK_OK(lsm_db_put(s.db, s.tree, text("1"), text("v"), false));
        CHECK_OK(lsm_db_flush(s.db));
    }
    for (int i = 0; i < rows; i++) {
        snprintf(key, sizeof key, "%08d", i);
        for (size_t k = 0; k < sizeof long_value; k += 8)
            memcpy(long_value + k, &(uint64_t){ test_random() }, k + 8 <= sizeof long_value ? 8 : sizeof long_value - k);
        memcpy(long_value, value_of(value, i, 1).data, 40);
        CHECK_OK(lsm_db_put(s.db, s.tree, text(key), (struct lsm_slice){ long_value, sizeof long_value }, false));
    }
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    name = file_of("a", ".ldb", LSM_LEVEL_COUNT_MAX);
    size = (size_t)size_of("a", name);
    CHECK(size > 18 << 20);
    bytes = malloc(size);
    dir = open_dir("a");
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    disk.os->file_read(file, bytes, size, 0, &got);
    disk.os->file_truncate(file, 0);
    disk.os->file_write(file, bytes, 1 << 20, 0);
    disk.os->file_write(file, bytes + (17 << 20), size - (17 << 20) - 50, 17 << 20);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    free(bytes);
    disk.read_bytes = 0;
    if (CHECK_OK(repair("a", "b", NULL)) && CHECK(disk.read_bytes < size) && store_open_as(&s, "b", true)) {
        n = count_at(&s, NULL);
        CHECK(n > rows / 8 && n < rows / 4);
        CHECK(has(&s, "00000000") && has(&s, "00021999"));
        CHECK_INT(info.rows_lost, rows + 2 - n);
    }
    if (test_state.failures)
        printf("  %" PRIu64 " bytes were read\n", disk.read_bytes);
    done(&s);
}

/* No log is so large, but there is something: it is not read, and told of. */
TEST(repair_tells_of_what_it_does_not_read_of_a_log)
{
    const uint64_t far = UINT64_C(5) << 30;
    struct lsm_file *file;
    struct lsm_dir *dir;
    struct store s;

    if (!make(&s, true))
        return;
    dir = open_dir("a");
    CHECK_INT(disk.os->file_open(dir, file_of("a", ".log", 0), LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_write(file, "something", 9, far), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    if (CHECK_OK(repair("a", "b", NULL)) && store_open_as(&s, "b", true)) {
        CHECK_INT(count_at(&s, NULL), ROWS + 100);
        CHECK_INT(info.places_lost, 1);
        CHECK(strstr(report, "1073741833 bytes at 4294967296 cannot be read: no file of its kind is so large"));
    }
    done(&s);
}

TEST(repair_keeps_a_record_whose_zeros_are_a_hole)
{
    static const uint8_t zeros[3000000];
    struct lsm_options o;
    struct lsm_value value;
    struct store s = { 0 };
    const char *name;
    uint64_t size;

    disk_and_host_begin();
    o = small_options(NULL);
    o.memory_bytes = 256 << 20;
    if (!CHECK_OK(lsm_db_open("a", &o, &s.db)) || !CHECK_OK(lsm_tree_create(s.db, text("t"), NULL, &s.tree)))
        return;
    put_rows(&s, 0, 10, 1);
    CHECK_OK(lsm_db_put(s.db, s.tree, text("zeros"), (struct lsm_slice){ zeros, sizeof zeros }, true));
    disk_kill("a", "k");
    store_close(&s);
    /* As a file system that keeps no zeros has it. */
    name = file_of("k", ".log", 0);
    size = size_of("k", name);
    CHECK(size > sizeof zeros);
    cut("k", name, size - sizeof zeros);
    cut("k", name, size);
    if (CHECK_OK(repair("k", "b", NULL)) && store_open_as(&s, "b", true)) {
        CHECK_INT(count_versions(&s, 0, 10, 1), 10);
        if (CHECK_OK(lsm_tree_get(s.tree, NULL, text("zeros"), &value))) {
            CHECK_INT(value.bytes.size, sizeof zeros);
            lsm_value_release(&value);
        }
        CHECK_STR(report, "");
    }
    done(&s);
}

static void wound(const char *name, uint64_t size)
{
    switch (size ? test_random() % 4 : 4) {
    case 0: disk_make_bad(name, test_random() % size, 1 + test_random() % 5000); break;
    case 1: append("a", name, 1 + test_random() % 50000); break;
    case 2: flip("a", name, test_random() % 3 ? test_random() % size : 0, 1 + test_random() % 100); break;
    case 3: cut("a", name, test_random() % 3 ? size - test_random() % (size < 300 ? size : 300) : size << 12); break;
    default: break;
    }
}

/* Whatever cannot be read, was appended, flipped or cut: no crash, and every row is one that was written. */
TEST(repair_of_what_cannot_be_read_invents_nothing)
{
    repair_at_random(wound, true);
}

/*
 * test_repair_disk.c -- a repair of files that the disk cannot read whole, that were made larger, or that are
 * for the most part holes.
 */
#include <errno.h>

#include "lsm/store/rescue.h"
#include "tests/unit/repaired.h"

enum { SECTOR = 4096 };

/* ---- a disk with bad sectors, and one with a file that is larger than it is ---- */

static struct lsm_os good;
static char odd_name[40];
static uint64_t bad_from, bad_to;       /* of the file of that name */
static uint64_t bad_every;              /* only one page of so many of them */
static uint64_t hole_from, hole_to;
static int reads;

static bool is_odd(const struct lsm_file *file)
{
    for (int i = 0; i < DISK_FILES; i++)
        if (disk.open[i].file == file)
            return strcmp(disk.open[i].name, odd_name) == 0;
    return false;
}

static int odd_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    int error = 0;

    *got = 0;
    reads++;
    if (!is_odd(file))
        return good.file_read(file, data, size, off, got);
    for (uint64_t page = off / SECTOR; page * SECTOR < off + size && off < bad_to && off + size > bad_from; page++)
        if (!bad_every || page % bad_every == 0)
            return EIO;
    if (off < hole_from || !hole_to)
        error = good.file_read(file, data, size, off, got);
    if (!error && off + *got < hole_to && *got < size) {
        size_t more = size - *got < hole_to - off - *got ? size - *got : (size_t)(hole_to - off - *got);
        memset((uint8_t *)data + *got, 0, more);
        *got += more;
    }
    return error;
}

static int odd_info(struct lsm_file *file, struct lsm_file_info *out)
{
    int error = good.file_info(file, out);

    if (!error && hole_to && is_odd(file))
        out->size = hole_to;
    return error;
}

static uint64_t odd_next_data(struct lsm_file *file, uint64_t off)
{
    return hole_to && is_odd(file) && off >= hole_from ? UINT64_MAX : off;
}

static void odd(const char *name)
{
    good = *disk.os;
    snprintf(odd_name, sizeof odd_name, "%s", name);
    bad_every = bad_from = bad_to = hole_from = hole_to = 0;
    reads = 0;
    disk.os->file_read = odd_read;
    disk.os->file_info = odd_info;
    disk.os->file_next_data = odd_next_data;
}

static void bad_sectors(const char *name, uint64_t from, uint64_t to)
{
    odd(name);
    bad_from = from;
    bad_to = to;
}

/* ---- rescue.h ---- */

struct told {
    uint64_t from, to;
    int count;
};

static void note(void *ctx, uint64_t off, uint64_t size, int error)
{
    struct told *told = ctx;

    CHECK_INT(error, EIO);
    told->from = told->count++ ? told->from : off;
    told->to = off + size;
}

TEST(rescue_gives_all_but_the_pieces_that_cannot_be_read)
{
    enum { SIZE = 3 << 20 };
    static const struct {
        uint64_t from, to, off, size;
    } cases[] = {
        { 0, 0, 0, SIZE },                      /* nothing is bad */
        { 8192, 8193, 0, SIZE },                /* one byte, one piece */
        { 8192, 8193, 100, SIZE - 100 },        /* pieces lie at their places, wherever a read begins */
        { 0, 1, 0, SIZE },
        { SIZE - 1, SIZE, 0, SIZE },
        { SIZE - 1, SIZE, 0, SIZE + 9000 },     /* the end is behind it */
        { 1 << 20, 2 << 20, 0, SIZE },
        { 5000, 5001, 6000, 1000 },             /* the piece is bad, but not what is read of it */
        { 5000, 5001, 4999, 2 },
    };
    static uint8_t data[SIZE + 9000], want[SIZE];

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct told told = { 0 };
        struct lsm_rescue rescue = { .ctx = &told, .missing = note };
        const uint64_t off = cases[c].off, from = cases[c].from / SECTOR * SECTOR;
        struct lsm_file *file;
        struct lsm_dir *dir;
        size_t got = 0, whole = cases[c].size < SIZE - off ? (size_t)cases[c].size : SIZE - (size_t)off;
        bool created;

        disk_and_host_begin();
        for (size_t i = 0; i < SIZE; i++)
            want[i] = (uint8_t)(i * 7 % 251 + 1);
        CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0700, &created, &dir), 0);
        CHECK_INT(disk.os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file), 0);
        CHECK_INT(disk.os->file_write(file, want, SIZE, 0), 0);
        bad_sectors("f", cases[c].from, cases[c].to);
        memset(data, 0xee, sizeof data);
        CHECK_INT(lsm_rescue_read(&rescue, disk.os, file, data, (size_t)cases[c].size, off, &got), 0);
        if (cases[c].size <= SIZE)
            CHECK_INT(got, whole);
        for (size_t i = 0; i < whole; i++)
            if (data[i] != want[off + i] && (data[i] != 0 || off + i < told.from || off + i >= told.to)) {
                CHECK_INT(data[i], want[off + i]);
                break;
            }
        if (c == 0 || c == 7)
            CHECK_INT(told.count, 0);
        else
            CHECK(told.count == 1 && told.from <= cases[c].from && told.to >= cases[c].to && rescue.bytes == told.to - told.from);
        if (told.count && c != 6)
            CHECK(told.from >= from && told.to <= from + SECTOR);
        if (c == 6)                     /* no more than a step too far */
            CHECK(told.from == 1 << 20 && told.to <= 3 << 20);
        if (test_state.failures)
            printf("  case %zu: %llu to %llu\n", c, (unsigned long long)told.from, (unsigned long long)told.to);
        disk.os->file_close(file);
        disk.os->dir_close(dir);
        *disk.os = good;
        disk_end();
    }
}

TEST(rescue_of_a_dead_disk_does_not_ask_for_every_piece)
{
    static uint8_t data[64 << 20];
    struct told told = { 0 };
    struct lsm_rescue rescue = { .ctx = &told, .missing = note };
    struct lsm_file *file;
    struct lsm_dir *dir;
    size_t got;
    bool created;

    disk_and_host_begin();
    CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0700, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file), 0);
    bad_sectors("f", 0, UINT64_MAX);
    CHECK_INT(lsm_rescue_read(&rescue, disk.os, file, data, sizeof data, 0, &got), 0);
    CHECK_INT(got, sizeof data);
    CHECK(told.count == 1 && told.from == 0 && told.to == sizeof data);
    CHECK(reads < 64 + 32);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    *disk.os = good;
    disk_end();
}

/* Many sectors, none beside another: no step grows. */
TEST(rescue_loses_only_what_is_bad_however_much_that_is)
{
    enum { PAGES = 256 };
    static uint8_t data[PAGES * SECTOR];
    struct lsm_rescue rescue = { 0 };
    struct lsm_file *file;
    struct lsm_dir *dir;
    size_t got, lost = 0;
    bool created;

    disk_and_host_begin();
    memset(data, 1, sizeof data);
    CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0700, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file), 0);
    CHECK_INT(disk.os->file_write(file, data, sizeof data, 0), 0);
    bad_sectors("f", 0, UINT64_MAX);
    bad_every = 4;
    CHECK_INT(lsm_rescue_read(&rescue, disk.os, file, data, sizeof data, 0, &got), 0);
    for (size_t i = 0; i < sizeof data; i++)
        lost += data[i] == 0;
    CHECK_INT(lost, PAGES / 4 * SECTOR);
    CHECK_INT(rescue.bytes, PAGES / 4 * SECTOR);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    *disk.os = good;
    disk_end();
}

/* ---- repairs ---- */

TEST(repair_reads_a_log_around_a_bad_sector)
{
    enum { TXNS = 200 };
    struct store s;
    char name[40];
    int found;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < TXNS; i++)
        put_rows(&s, i * 10, i * 10 + 10, 1);
    store_close(&s);
    snprintf(name, sizeof name, "%s", file_of("a", ".log", 0));
    CHECK(size_of("a", name) > 16 * SECTOR);
    bad_sectors(name, 8 * SECTOR + 100, 8 * SECTOR + 101);
    if (repaired(&s)) {
        found = count_at(&s, NULL);
        CHECK_INT(found, count_versions(&s, 0, TXNS * 10, 1));
        CHECK(found < TXNS * 10 && found >= (TXNS - 10) * 10);
        CHECK_INT(count_versions(&s, (TXNS - 20) * 10, TXNS * 10, 1), 200);     /* behind it */
        CHECK(strstr(report, name) && strstr(report, " of them, from 32768 on: read "));
        CHECK(info.places_lost > 0 && info.bytes_lost >= SECTOR);
        CHECK_INT(info.files_lost, 0);
    }
    done(&s);
}

/* What stands in front of the sector holds; that something may stand behind it, too, is not forgotten. */
TEST(repair_uses_a_MANIFEST_up_to_a_bad_sector)
{
    enum { FLUSHES = 120, EACH = 40 };

    for (int last = 0; last < 2; last++) {
        struct store s;
        char name[40];
        uint64_t size, from;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        for (int i = 0; i < FLUSHES; i++) {
            put_rows(&s, i * EACH, i * EACH + EACH, 1);
            CHECK_OK(lsm_db_flush(s.db));
        }
        store_close(&s);
        snprintf(name, sizeof name, "%s", file_of("a", "MANIFEST", 0));
        size = size_of("a", name);
        CHECK(size > 3 * SECTOR);
        from = last ? (size - 1) / SECTOR * SECTOR : 2 * SECTOR;
        bad_sectors(name, from, from + 1);
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 0, FLUSHES * EACH, 1), FLUSHES * EACH);
            CHECK(strstr(report, ": Input/output error"));
            CHECK(strstr(report, "is used up to its edit"));
            CHECK(!strstr(report, "no MANIFEST can be read"));
        }
        done(&s);
    }
}

TEST(repair_finds_rows_where_the_foot_of_a_table_is_a_bad_sector)
{
    struct store s;
    char name[40];
    uint64_t size;
    int found;

    if (!make(&s, false))
        return;
    snprintf(name, sizeof name, "%s", file_of("a", ".ldb", 0));
    size = size_of("a", name);
    bad_sectors(name, size - 1, size);
    if (repaired(&s)) {
        found = count_versions(&s, 0, ROWS, 1);
        CHECK(found >= ROWS * 3 / 4);
        CHECK_INT(count_at(&s, NULL), found);
        CHECK(found == ROWS || strstr(report, "Input/output error"));
    }
    done(&s);
}

TEST(repair_finds_the_range_deletes_of_a_table_that_has_grown)
{
    struct lsm_txn *txn;
    struct store s;
    char name[40];

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_rows(&s, 0, ROWS, 1);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    CHECK_OK(lsm_txn_delete_range(txn, s.tree, text("00000100"), text("00000200")));
    CHECK_OK(lsm_txn_commit_alone(txn, true));
    put_rows(&s, 150, 160, 2);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), ROWS - 90);
    store_close(&s);
    CHECK(file_of("a", ".ldb", 1) != NULL);
    for (int i = 0; i < 2; i++) {
        struct lsm_file *file;
        struct lsm_dir *dir = open_dir("a");
        uint64_t size;

        snprintf(name, sizeof name, "%s", file_of("a", ".ldb", i));
        size = size_of("a", name);
        CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
        CHECK_INT(disk.os->file_write(file, "and something behind it", 23, size), 0);
        disk.os->file_close(file);
        disk.os->dir_close(dir);
    }
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), ROWS - 90);
        CHECK_INT(count_versions(&s, 100, 200, 1), 0);
        CHECK_INT(count_versions(&s, 150, 160, 2), 10);
        CHECK(strstr(report, "bytes instead of"));
        CHECK(!strstr(report, "range deletes"));
    }
    done(&s);
}

/* Nobody knows how large it was. To read it would take half an hour. */
TEST(repair_passes_by_a_terabyte_of_nothing)
{
    struct store s;
    char name[40];

    if (!make(&s, false))
        return;
    remove_files("a", "MANIFEST");
    snprintf(name, sizeof name, "%s", file_of("a", ".ldb", 0));
    odd(name);
    hole_from = (size_of("a", name) + SECTOR - 1) / SECTOR * SECTOR;
    hole_to = UINT64_C(1) << 40;
    if (repaired(&s)) {
        CHECK_INT(info.rows, ROWS);
        CHECK(reads < 5000);
        CHECK(strstr(report, "no block can be found here"));
    }
    done(&s);
}

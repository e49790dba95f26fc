/*
 * test_salvage_file.c -- a file of which some bytes cannot be read: all others are, what is
 * missing is known, and a device that has failed is not asked for ever.
 */
#include <errno.h>

#include "lsm/store/salvage_file.h"
#include "tests/unit/disk.h"

#define MIB (UINT64_C(1) << 20)

static char told[1 << 14];
static int told_count;
static uint64_t told_bytes;

static void add_lost(void *ctx, const char *file, uint64_t off, uint64_t size, const char *why)
{
    size_t n = strlen(told);

    (void)ctx;
    told_count++;
    told_bytes += size;
    snprintf(told + n, sizeof told - n, "%s %llu+%llu: %s\n", file, (unsigned long long)off, (unsigned long long)size, why);
}

static const struct lsm_salvage_lost to = { NULL, add_lost, NULL };

static struct lsm_dir *dir;
static struct lsm_salvage_file f;

static uint8_t byte_at(uint64_t off)
{
    return (uint8_t)(off * 0x9e3779b1u >> 24 | 1);
}

/* "file", of `size` bytes with none that is zero, up to `data`; then a hole. */
static void begin_file(uint64_t data, uint64_t size)
{
    struct lsm_file *file;
    uint8_t *bytes = malloc(data + 1);
    bool created;

    disk_and_host_begin();
    told[0] = 0;
    told_count = 0;
    told_bytes = 0;
    for (uint64_t i = 0; i < data; i++)
        bytes[i] = byte_at(i);
    CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0755, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, "file", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file), 0);
    CHECK_INT(disk.os->file_write(file, bytes, data, 0), 0);
    CHECK_INT(disk.os->file_truncate(file, size), 0);
    disk.os->file_close(file);
    free(bytes);
    lsm_salvage_file_init(&f, disk.os, dir, "file");
}

static void end_file(void)
{
    lsm_salvage_file_clear(&f);
    disk.os->dir_close(dir);
    disk_end();
    if (test_state.failures)
        printf("%s", told);
}

/* Bytes of [off, off + size) that are as they were written; the others must be zero, and known as unread. */
static uint64_t right(const uint8_t *data, uint64_t off, size_t size)
{
    uint64_t n = 0;

    for (size_t i = 0; i < size; i++) {
        bool is_right = data[i] == byte_at(off + i);

        n += is_right;
        if (is_right == lsm_salvage_file_is_unread(&f, off + i, 1) || (!is_right && data[i]))
            return UINT64_MAX;
    }
    return n;
}

TEST(salvage_file_reads_round_what_cannot_be_read)
{
    struct lsm_buf bytes;
    uint64_t size;

    begin_file(3 * MIB + 5000, 3 * MIB + 5000);
    disk_make_bad("file", 10000, 1);                    /* one piece */
    disk_make_bad("file", MIB - 10, 20);                /* two, of two large ones */
    disk_make_bad("file", 3 * MIB + 4999, 1);           /* the last, which is not a whole one */
    lsm_buf_init(&bytes, disk.os);
    CHECK_OK(lsm_salvage_file_read_all(&f, 1 << 30, &bytes, &size));
    CHECK_INT(size, 3 * MIB + 5000);
    CHECK_INT(bytes.size, size);
    CHECK_INT(right(bytes.data, 0, bytes.size), size - 4096 - 2 * 4096 - (5000 - 4096));

    /* What holds some of it is told of with the reason, and not twice. */
    lsm_salvage_file_lost(&f, &to, 8000, 5000, "a frame");
    lsm_salvage_file_lost(&f, &to, 20000, 100, "another one");
    lsm_salvage_file_lost_unread(&f, &to);
    CHECK_INT(told_count, 4);
    CHECK_INT(told_bytes, 5000 + 100 + 2 * 4096 + (5000 - 4096));
    CHECK(strstr(told, "file 8000+5000: 4096 of them, from 8192 on: read file: Input/output error"));
    CHECK(strstr(told, "file 20000+100: another one\n"));
    CHECK(strstr(told, "file 1044480+8192: read file: Input/output error"));
    CHECK(strstr(told, "file 3149824+904: read file: Input/output error"));
    lsm_buf_clear(&bytes);
    end_file();
}

/* Blocks of a table, where all of it is bad: fewer and fewer are tried, but it goes on, and reads what is good again. */
TEST(salvage_file_tries_fewer_and_fewer_pieces)
{
    uint8_t data[4096];
    size_t got;
    int good = 0;

    begin_file(16 * MIB, 16 * MIB);
    disk_make_bad("file", 0, 12 * MIB);
    for (uint64_t off = 0; off < 16 * MIB; off += 4096) {
        int rc = lsm_salvage_file_read_whole(&f, off, 4096, data, &got);

        CHECK(rc == LSM_IOERR || (rc == LSM_OK && data[0] == byte_at(off)));
        CHECK(rc == LSM_OK || strstr(lsm_error_text(), "Input/output error") || strstr(lsm_error_text(), "was not tried"));
        good += rc == LSM_OK;
    }
    CHECK(disk.bad_reads > 8 && disk.bad_reads < 40);
    CHECK(good >= 1024 - 256);
    end_file();
}

TEST(salvage_file_reads_no_holes)
{
    struct lsm_buf bytes;
    uint64_t size, data = 0;

    begin_file(20000, UINT64_C(1) << 40);
    lsm_buf_init(&bytes, disk.os);
    CHECK_OK(lsm_salvage_file_read_all(&f, UINT64_C(4) << 30, &bytes, &size));
    CHECK_INT(size, UINT64_C(4) << 30);
    CHECK(bytes.size >= 20000 + 4096 && bytes.size <= 2 * MIB);
    CHECK(memcmp(bytes.data + 20000, (uint8_t[4096]){ 0 }, 4096) == 0);
    CHECK_OK(lsm_salvage_file_next_data(&f, 5000, 10000, &data));
    CHECK_INT(data, 5000);
    CHECK_OK(lsm_salvage_file_next_data(&f, 5 * MIB, size, &data));
    CHECK_INT(data, size);
    lsm_salvage_file_lost_unread(&f, &to);
    CHECK_STR(told, "");
    lsm_buf_clear(&bytes);
    end_file();
}

/* What stands behind the most that is read is told of, unless it is a hole. */
TEST(salvage_file_tells_of_what_is_too_large)
{
    struct lsm_buf bytes;
    uint64_t size;

    begin_file(3 * MIB, 4 * MIB);
    lsm_buf_init(&bytes, disk.os);
    CHECK_OK(lsm_salvage_file_read_all(&f, 2 * MIB, &bytes, &size));
    CHECK_INT(size, 2 * MIB);
    CHECK_INT(right(bytes.data, 0, bytes.size), 2 * MIB);
    lsm_salvage_file_lost_unread(&f, &to);
    CHECK_STR(told, "file 2097152+2097152: no file of its kind is so large\n");
    lsm_buf_clear(&bytes);
    end_file();
}

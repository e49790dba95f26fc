/*
 * test_log_hole.c -- a log on the real disk that somebody made 16 GiB long is judged without
 * reading the hole, and what stands behind a hole is seen.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "lsm/store/log.h"
#include "tests/unit/posix_place.h"

#define LONG (UINT64_C(16) << 30)

static const uint8_t uuid[16] = { 9, 8, 7 };
static struct lsm_os real;
static uint64_t bytes_read;

static int counted_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    bytes_read += size;
    return real.file_read(file, data, size, off, got);
}

static int count(void *ctx, struct lsm_slice payload, uint64_t off)
{
    (void)payload, (void)off;
    ++*(int *)ctx;
    return LSM_OK;
}

static bool place_begin(struct place *p)
{
    struct lsm_log log;
    int fd;

    place_open(p);
    real = *p->os;
    p->os->file_read = counted_read;
    if (!CHECK_OK(lsm_log_create(&log, p->os, p->dir, uuid, 1, NULL, 0644)))
        return false;
    CHECK_OK(lsm_log_append(&log, &(struct lsm_slice){ (const uint8_t *)"one", 3 }, 1));
    CHECK_OK(lsm_log_sync(&log));
    CHECK_OK(lsm_log_append(&log, &(struct lsm_slice){ (const uint8_t *)"two", 3 }, 1));
    lsm_log_close(&log);
    fd = open(path_of(p, "000001.log"), O_RDWR);
    CHECK_INT(ftruncate(fd, (off_t)LONG), 0);
    close(fd);
    bytes_read = 0;
    return true;
}

/* Where the file system tells of holes; elsewhere it takes half a minute. */
static bool knows_holes(const struct place *p)
{
    int fd = open(path_of(p, "000001.log"), O_RDONLY);
    off_t data = lseek(fd, 1 << 20, SEEK_DATA);

    close(fd);
    if (data >= 0 && data <= 1 << 20)
        printf("  this file system does not tell where holes are: nothing was tested\n");
    return data < 0 || data > 1 << 20;
}

TEST(log_with_a_hole_of_16_GiB_at_its_end_is_read_at_once)
{
    struct lsm_log_end end, prev;
    struct place p;
    bool torn = true;
    int n = 0;

    if (place_begin(&p) && knows_holes(&p)) {
        CHECK_OK(lsm_log_read(p.os, p.dir, uuid, 1, count, &n, &end, &prev, &torn));
        CHECK_INT(n, 2);
        CHECK(!torn);
        CHECK(bytes_read < 1 << 20);
    }
    place_close(&p);
}

TEST(log_of_which_nothing_is_left_but_a_hole_is_read_at_once)
{
    struct lsm_log_end end, prev;
    struct place p;
    bool torn = false;
    int n = 0;

    if (place_begin(&p) && knows_holes(&p)) {
        CHECK_INT(truncate(path_of(&p, "000001.log"), 0), 0);
        CHECK_INT(truncate(path_of(&p, "000001.log"), (off_t)LONG), 0);
        CHECK_OK(lsm_log_read(p.os, p.dir, uuid, 1, count, &n, &end, &prev, &torn));
        CHECK_INT(n, 0);
        CHECK_INT(end.size, 0);         /* its header was never finished */
        CHECK(bytes_read < 1 << 20);
    }
    place_close(&p);
}

/* At each place around the ends of a block: a byte that is no head is torn, one behind a bad header damage. */
TEST(log_bytes_behind_a_hole_are_seen)
{
    static const off_t gaps[] = { -9, -8, -1, 0, 1, 7, 8, 23, 24, 25 };
    struct lsm_log_end end, prev;
    struct place p;

    if (place_begin(&p) && knows_holes(&p)) {
        for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
            off_t off = (4 << 20) + gaps[i];
            bool torn = false;
            int fd, n = 0;

            CHECK_INT(truncate(path_of(&p, "000001.log"), 4096), 0);
            CHECK_INT(truncate(path_of(&p, "000001.log"), (off_t)LONG), 0);
            fd = open(path_of(&p, "000001.log"), O_RDWR);
            CHECK_INT(pwrite(fd, "x", 1, off), 1);
            close(fd);
            CHECK_OK(lsm_log_read(p.os, p.dir, uuid, 1, count, &n, &end, &prev, &torn));
            CHECK_INT(n, 2);
            CHECK(torn);
        }
        int fd = open(path_of(&p, "000001.log"), O_RDWR), n = 0;
        bool torn;
        CHECK_INT(pwrite(fd, "xxxxxxxxxxxxxxxx", 16, 16), 16);
        close(fd);
        CHECK_RC(lsm_log_read(p.os, p.dir, uuid, 1, count, &n, &end, &prev, &torn), LSM_CORRUPT);
        CHECK(bytes_read < 32 << 20);
    }
    place_close(&p);
}

/*
 * test_os_posix_map.c -- a log's reserved room is written through a map: seen by
 * others at once, kept when the process dies, never the parent's in a forked
 * child, and not used where a full disk would end the process.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/posix_place.h"

static uint8_t byte_of(uint64_t i)
{
    return (uint8_t)(i * 31 >> 3 ^ i);
}

/* Frames of odd sizes, each behind the other, room ahead of them as a log reserves it. */
static int append_some(struct place *p, struct lsm_file *file, uint64_t from, uint64_t to)
{
    uint64_t reserved = from;
    uint8_t bytes[5000];

    while (from < to) {
        size_t size = (size_t)(1 + from * 7 % sizeof bytes);

        if (size > to - from)
            size = (size_t)(to - from);
        for (size_t i = 0; i < size; i++)
            bytes[i] = byte_of(from + i);
        if (from + size > reserved) {
            reserved = from + size + 65536;
            if (p->os->file_allocate(file, reserved))
                return 1;
            p->os->file_expect(file, from, reserved);
        }
        if (p->os->file_write(file, bytes, size, from))
            return 2;
        from += size;
    }
    return 0;
}

static void check_bytes(struct place *p, const char *name, uint64_t size)
{
    struct lsm_file *file;
    uint8_t bytes[4096];
    size_t got = 1;

    if (!CHECK_INT(p->os->file_open(p->dir, name, LSM_OPEN_READ, 0, &file), 0))
        return;
    for (uint64_t off = 0; off < size && got && !test_state.failures; off += got) {
        size_t wanted = size - off < sizeof bytes ? (size_t)(size - off) : sizeof bytes;
        CHECK_INT(p->os->file_read(file, bytes, wanted, off, &got), 0);
        CHECK_INT(got, wanted);
        for (size_t i = 0; i < got; i++)
            if (!CHECK_INT(bytes[i], byte_of(off + i)))
                break;
    }
    p->os->file_close(file);
}

TEST(os_posix_writes_to_reserved_room_are_seen_by_others_at_once)
{
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    file = create(&p, "log");
    for (uint64_t at = 0; at < 600000; at += 100000) {
        CHECK_INT(append_some(&p, file, at, at + 100000), 0);
        check_bytes(&p, "log", at + 100000);
    }
    CHECK_INT(p.os->file_sync(file), 0);
    CHECK_INT(p.os->file_truncate(file, 600000), 0);
    for (uint64_t at = 600000; at < 700000; at++) {     /* the room is gone: nobody may write there */
        uint8_t byte = byte_of(at);
        CHECK_INT(p.os->file_write(file, &byte, 1, at), 0);
    }
    p.os->file_close(file);
    check_bytes(&p, "log", 700000);
    place_close(&p);
}

static int write_and_die(void *ctx)
{
    struct place *p = ctx;
    struct lsm_file *file;

    if (p->os->file_open(p->dir, "log", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file) ||
        append_some(p, file, 0, 300000))
        return 1;
    raise(SIGKILL);
    return 2;
}

TEST(os_posix_writes_to_reserved_room_outlive_the_process)
{
    struct place p;
    struct lsm_dir *dir;

    place_open(&p);
    dir = p.dir;
    CHECK_INT(in_child(write_and_die, &p), 1000 + SIGKILL);
    p.dir = dir;
    check_bytes(&p, "log", 300000);
    place_close(&p);
}

struct inherited {
    struct place *place;
    struct lsm_file *file;
};

static int write_as_child(void *ctx)
{
    struct inherited *i = ctx;

    return i->place->os->file_write(i->file, "from the child", 14, 100) == EBADF ? 0 : 1;
}

TEST(os_posix_forked_child_cannot_write_to_the_parents_reserved_room)
{
    struct inherited i;
    struct place p;

    place_open(&p);
    i = (struct inherited){ &p, create(&p, "log") };
    CHECK_INT(append_some(&p, i.file, 0, 1000), 0);
    CHECK_INT(in_child(write_as_child, &i), 0);
    p.os->file_close(i.file);
    check_bytes(&p, "log", 1000);
    place_close(&p);
}

static bool has_map(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;

    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, name) != NULL;
    if (maps)
        fclose(maps);
    return found;
}

static off_t full_at;

/* In the C library's place: a disk that is full, of a file system that keeps what it got (ext4). */
int fallocate(int fd, int mode, off_t off, off_t size)
{
    if (full_at && off + size > full_at) {
        CHECK_INT(ftruncate(fd, full_at), 0);
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, off, size);
}

/* The worker reserves, beside a writer who is in the map: it must stay. */
TEST(os_posix_a_reservation_that_fails_takes_no_room_and_no_map)
{
    struct lsm_file_info info;
    struct lsm_file *file;
    struct place p;
    uint64_t size;
    bool mapped;

    place_open(&p);
    file = create(&p, "full.log");
    CHECK_INT(append_some(&p, file, 0, 1000), 0);
    mapped = has_map("full.log");               /* not on every file system */
    CHECK_INT(p.os->file_info(file, &info), 0);
    size = info.size;
    full_at = (off_t)size + 20000;
    CHECK_INT(p.os->file_allocate(file, size + 65536), ENOSPC);
    full_at = 0;
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.size, size);
    CHECK_INT(has_map("full.log"), mapped);
    p.os->file_close(file);
    check_bytes(&p, "full.log", 1000);
    place_close(&p);
}

/* Is the file of a log that is written in small pieces mapped? */
static bool is_mapped(const char *path)
{
    struct place p = { .os = lsm_os_posix_new() };
    struct lsm_file *file;
    bool found;

    snprintf(p.path, sizeof(p.path), "%s", path);
    CHECK_INT(p.os->dir_open(p.os, p.path, true, 0755, NULL, &p.dir), 0);
    file = create(&p, "expected.log");
    CHECK_INT(append_some(&p, file, 0, 1000), 0);
    check_bytes(&p, "expected.log", 1000);
    found = has_map("expected.log");
    p.os->file_close(file);
    place_close(&p);
    return found;
}

static int map_on_two_file_systems(void *ctx)
{
    char path[256], options[1024];
    const char *at = ctx;

    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("small", at, "tmpfs", 0, "size=6m"))
        return 77;
    CHECK(is_mapped(at));
    for (const char *const *name = (const char *const[]){ "low", "up", "work", "both", NULL }; *name; name++) {
        snprintf(path, sizeof path, "%s/%s", at, *name);
        CHECK(mkdir(path, 0755) == 0);
    }
    snprintf(options, sizeof options, "lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", at, at, at);
    if (mount("overlay", path, "overlay", 0, options))
        return 77;
    CHECK(!is_mapped(path));
    umount(path);
    return test_state.failures ? 1 : 0;
}

/* What lies behind another one cannot be known: it may need room for each page that is written again. */
TEST(os_posix_maps_only_where_a_full_disk_cannot_end_the_process)
{
    char at[128];
    int code;

    snprintf(at, sizeof at, "%s", test_dir());
    code = in_child(map_on_two_file_systems, at);
    CHECK(code == 0 || code == 77);
    if (code == 77)
        printf("  no file system of our own here\n");
}

/* test_vtab_machine.c -- the real machine's syncs: of the right file, retried after a signal only. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ext/vtab_machine.h"
#include "tests/test.h"

/* The C library's, as this program's own: what is synced, and what that answers. */
static struct {
    int calls, interrupted, error;
    ino_t ino;
} syncs;

int fsync(int fd)
{
    struct stat info;

    syncs.calls++;
    if (syncs.interrupted > 0 || syncs.error) {
        errno = syncs.interrupted-- > 0 ? EINTR : syncs.error;
        return -1;
    }
    if (fstat(fd, &info) == 0)
        syncs.ino = info.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

static struct {
    int calls;
    ino_t ino;
    unsigned flags;
} ranges;

int sync_file_range(int fd, off_t from, off_t bytes, unsigned flags)
{
    struct stat info;

    ranges.calls++;
    ranges.flags = flags;
    if (from == 0 && bytes == 0 && fstat(fd, &info) == 0)
        ranges.ino = info.st_ino;
    return (int)syscall(SYS_sync_file_range, fd, from, bytes, flags);
}

static ino_t ino_of(const char *path)
{
    struct stat info;

    return CHECK_INT(lstat(path, &info), 0) ? info.st_ino : 0;
}

static int sync_path(const char *path, bool is_dir)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();

    return machine->file_sync(machine->ctx, path, is_dir);
}

TEST(vtab_machine_syncs_the_file_and_the_directory_that_it_is_asked_to)
{
    char path[200], link[210];
    int fd;

    snprintf(path, sizeof path, "%s/app.db-wal", test_dir());
    fd = open(path, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    memset(&syncs, 0, sizeof syncs);
    CHECK_INT(sync_path(path, false), 0);
    CHECK_INT(syncs.calls, 1);
    CHECK_INT(syncs.ino, ino_of(path));
    CHECK_INT(sync_path(test_dir(), true), 0);
    CHECK_INT(syncs.calls, 2);
    CHECK_INT(syncs.ino, ino_of(test_dir()));

    snprintf(link, sizeof link, "%s/link-wal", test_dir());
    CHECK_INT(symlink(path, link), 0);
    CHECK_INT(sync_path(link, false), ELOOP);
    unlink(path);
    CHECK_INT(sync_path(path, false), 0);       /* there is nothing to sync */
    CHECK_INT(syncs.calls, 2);
}

/* T-09 */
TEST(vtab_machine_tries_an_interrupted_sync_again_and_a_failed_one_never)
{
    memset(&syncs, 0, sizeof syncs);
    syncs.interrupted = 3;
    CHECK_INT(sync_path(test_dir(), true), 0);
    CHECK_INT(syncs.calls, 4);
    memset(&syncs, 0, sizeof syncs);
    syncs.error = EIO;
    CHECK_INT(sync_path(test_dir(), true), EIO);
    CHECK_INT(syncs.calls, 1);
}

/* With a flag that waits it would take the error that SQLite's own sync must hear of. */
TEST(vtab_machine_begins_to_write_a_file_back_and_does_not_wait)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    char path[200], link[210];
    int fd;

    snprintf(path, sizeof path, "%s/app.db-wal", test_dir());
    snprintf(link, sizeof link, "%s/link-wal", test_dir());
    fd = open(path, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    CHECK_INT(symlink(path, link), 0);
    memset(&ranges, 0, sizeof ranges);
    machine->file_write_back(machine->ctx, path);
    CHECK_INT(ranges.calls, 1);
    CHECK_INT(ranges.ino, ino_of(path));
    CHECK_INT(ranges.flags, SYNC_FILE_RANGE_WRITE);
    machine->file_write_back(machine->ctx, link);
    unlink(path);
    machine->file_write_back(machine->ctx, path);
    CHECK_INT(ranges.calls, 1);
}

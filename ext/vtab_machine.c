/*
 * vtab_machine.c -- the real machine. These are the only file operations of ext/.
 *
 * The database file and -shm are never opened: closing any descriptor of them
 * would drop SQLite's own locks in the whole process. Closing one of -wal or
 * -journal drops none.
 */
#include "ext/vtab_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_file_info(void *ctx, const char *path, struct lsm_vtab_file *file)
{
    struct stat info;

    (void)ctx;
    if (stat(path, &info) != 0)
        return errno;
    *file = (struct lsm_vtab_file){ info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_gid };
    return 0;
}

static int real_file_sync(void *ctx, const char *path, bool is_dir)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (is_dir ? O_DIRECTORY : O_NOFOLLOW);
    int error = 0;
    int fd;

    (void)ctx;
    do {
        fd = open(path, flags);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    while (fsync(fd) != 0 && (error = errno) == EINTR)
        error = 0;
    close(fd);
    return error;
}

#ifdef SYNC_FILE_RANGE_WRITE
static void real_file_write_back(void *ctx, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

    (void)ctx;
    if (fd < 0)
        return;
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);     /* waits for nothing: reads no error either */
    close(fd);
}
#endif

static int real_file_create(void *ctx, const char *path, const struct lsm_vtab_file *like)
{
    int error = 0;
    int fd;

    (void)ctx;
    do {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno;
    /* The owner first: giving a file away takes bits of its mode. */
    if ((geteuid() == 0 && fchown(fd, like->uid, like->gid) != 0)
        || fchmod(fd, like->mode & 0666) != 0)
        error = errno;
    close(fd);          /* new and empty: SQLite has no lock on it yet */
    if (error)
        unlink(path);
    return error;
}

static int real_file_remove(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) ? errno : 0;
}

static const struct lsm_vtab_machine real = {
    .file_info = real_file_info,
    .file_sync = real_file_sync,
#ifdef SYNC_FILE_RANGE_WRITE
    .file_write_back = real_file_write_back,
#endif
    .file_create = real_file_create,
    .file_remove = real_file_remove,
};

static const struct lsm_vtab_machine *machine = &real;

const struct lsm_vtab_machine *lsm_vtab_machine(void)
{
    return machine;
}

void lsm_vtab_machine_use(const struct lsm_vtab_machine *other)
{
    machine = other ? other : &real;
}

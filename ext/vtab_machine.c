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

static int real_file_info(void *ctx, const char *path, uint64_t *dev, uint64_t *ino,
                          uint32_t *mode)
{
    struct stat info;

    (void)ctx;
    if (stat(path, &info) != 0)
        return errno;
    *dev = info.st_dev;
    *ino = info.st_ino;
    *mode = info.st_mode;
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

static const struct lsm_vtab_machine real = {
    .file_info = real_file_info,
    .file_sync = real_file_sync,
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

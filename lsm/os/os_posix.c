/*
 * os_posix.c -- the seam on Linux.
 *
 * Files. Everything is opened relative to a held directory descriptor, never
 * through a link, and looked at after it was opened: between a check of a name
 * and its use somebody else may have put another file there. O_NONBLOCK keeps
 * a planted FIFO from hanging the open. No descriptor is below 3, or a stray
 * write to stdout or stderr would land in a table.
 *
 * Sizes. Past RLIMIT_FSIZE the kernel sends SIGXFSZ, which kills the host by
 * default; so the limit is asked for first and the answer is EFBIG.
 *
 * Fork. A child inherits descriptors, and with them the open file description
 * that an OFD lock belongs to: as long as the child lives, the lock would too.
 * The child must not unlock either, that would take the lock from its parent.
 * So the child handler closes every file of every object here, and counts up
 * the generation by which the engine knows that its handles are dead.
 *
 *     open, close  --- fork_mutex ---  fork
 *
 * The mutex makes opening and listing a file one step, so that no fork falls
 * between them. It is a leaf: nothing else is locked while it is held.
 *
 * Memory is os_posix_mem.c's, threads and clocks are os_posix_thread.c's.
 */
#define _GNU_SOURCE 1

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lsm/os/os.h"
#include "lsm/os/os_posix_mem.h"
#include "lsm/os/os_posix_thread.h"

#define MAP_BYTES_MAX (UINT64_C(4) << 20)
#define ZEROS_SIZE ((size_t)64 << 10)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct posix_os {
    struct lsm_os os;           /* first: the seam's pointer is ours */
    struct lsm_posix_mem mem;
};

struct lsm_dir {
    struct lsm_os *os;
    int fd;
    bool gives;                 /* new files away, to */
    uid_t uid;
    gid_t gid;
};

struct lsm_file {
    struct lsm_os *os;
    int fd;                     /* -1 in a forked child */
    atomic_uint_least64_t size_allowed; /* RLIMIT_FSIZE was seen to admit this much */
    bool locked;
    /* Of file_expect(). The writer goes on from one map to the other; the one that it has left is
       whoever expects'. */
    struct map {
        uint8_t *at;            /* or NULL */
        uint64_t off, end;
    } map[2];
    unsigned map_now;           /* the writer's */
    atomic_bool map_is_ahead;   /* the other one was made and the writer is not there yet */
    struct lsm_file *prev, *next;   /* all open files; fork_mutex */
};

/* ---- fork: the one state that belongs to the process, not to an object ---- */

static pthread_mutex_t fork_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct lsm_file *fork_files;         /* fork_mutex */
static _Atomic uint32_t fork_count;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_rc;                         /* of the registration */

/* A call that fails only if we misuse it. */
static void must(int rc)
{
    assert(rc == 0);
    (void)rc;
}

static void before_fork(void)
{
    must(pthread_mutex_lock(&fork_mutex));
}

static void after_fork_in_parent(void)
{
    must(pthread_mutex_unlock(&fork_mutex));
}

static void after_fork_in_child(void)
{
    for (struct lsm_file *file = fork_files; file; file = file->next) {
        close(file->fd);
        file->fd = -1;
        file->map[0].at = file->map[1].at = NULL;       /* MADV_DONTFORK: they are not here */
    }
    fork_files = NULL;
    atomic_fetch_add(&fork_count, 1);
    must(pthread_mutex_unlock(&fork_mutex));
}

static void register_fork(void)
{
    fork_rc = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- memory ------------------------------------------------------------- */

static struct posix_os *self(struct lsm_os *os)
{
    return (struct posix_os *)os;
}

static void *mem_alloc(struct lsm_os *os, size_t size)
{
    return lsm_posix_mem_alloc(&self(os)->mem, size);
}

static void *mem_realloc(struct lsm_os *os, void *p, size_t size)
{
    return lsm_posix_mem_realloc(&self(os)->mem, p, size);
}

static void mem_free(struct lsm_os *os, void *p)
{
    lsm_posix_mem_free(&self(os)->mem, p);
}

static uint64_t mem_used(struct lsm_os *os)
{
    return atomic_load_explicit(&self(os)->mem.used, memory_order_relaxed);
}

static uint64_t mem_held(struct lsm_os *os)
{
    return atomic_load_explicit(&self(os)->mem.held, memory_order_relaxed);
}

static void mem_budget(struct lsm_os *os, uint64_t bytes)
{
    lsm_posix_mem_budget(&self(os)->mem, bytes);
}

static void mem_ready(struct lsm_os *os, size_t size)
{
    lsm_posix_mem_ready(&self(os)->mem, size);
}

static void mem_trim(struct lsm_os *os)
{
    lsm_posix_mem_trim(&self(os)->mem);
}

/* ---- descriptors -------------------------------------------------------- */

/* openat, close-on-exec and at 3 or above. Returns an errno value. */
static int open_at(int at, const char *path, int flags, uint32_t mode, int *out)
{
    int fd, high;

    do {
        fd = openat(at, path, flags | O_CLOEXEC, (mode_t)mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno;

    if (fd <= STDERR_FILENO) {
        high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        int rc = high < 0 ? errno : 0;
        close(fd);
        if (rc)
            return rc;
        fd = high;
    }
    *out = fd;
    return 0;
}

static int sync_directory(int fd)
{
    int rc;

    do {
        rc = fsync(fd) ? errno : 0;
    } while (rc == EINTR);
    /* A file system that cannot sync directories has no better to offer. */
    return rc == EINVAL ? 0 : rc;
}

static void fill_info(const struct stat *st, struct lsm_file_info *info)
{
    *info = (struct lsm_file_info){
        .size = (uint64_t)st->st_size,
        .allocated = (uint64_t)st->st_blocks * 512,
        .dev = (uint64_t)st->st_dev,
        .ino = (uint64_t)st->st_ino,
        .mode = st->st_mode & 07777,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .is_file = S_ISREG(st->st_mode),
        .is_dir = S_ISDIR(st->st_mode),
        .is_own = st->st_uid == geteuid(),
    };
}

/* ---- directories -------------------------------------------------------- */

/* Cut `path` in two: the directory that holds it, and the last component. */
static const char *split_path(char *path, const char **parent)
{
    size_t size = strlen(path);
    char *slash;

    while (size > 1 && path[size - 1] == '/')
        path[--size] = '\0';
    slash = strrchr(path, '/');
    if (!slash) {
        *parent = ".";
        return path;
    }
    *parent = slash == path ? "/" : path;
    *slash = '\0';
    return slash[1] ? slash + 1 : ".";
}

static int open_last(int parent, const char *last, int *fd)
{
    struct stat st;
    int rc = open_at(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd);

    /* Linux says ENOTDIR for a link where a directory was asked for. */
    if (rc == ENOTDIR && fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        rc = ELOOP;
    return rc;
}

/* What a fresh directory needs before anything may rely on it: the mode that was
   asked for, whatever the umask is, and its name on disk. */
static int settle_new_directory(int parent, int fd, uint32_t mode)
{
    int readable, rc;

    if (fchmod(fd, (mode_t)mode))
        return errno;
    rc = open_at(parent, ".", O_RDONLY | O_DIRECTORY, 0, &readable);
    if (rc)
        return rc;
    rc = sync_directory(readable);
    close(readable);
    return rc;
}

static int dir_open(struct lsm_os *os, const char *path, bool create, uint32_t mode,
                    bool *created, struct lsm_dir **out)
{
    struct lsm_dir *dir = mem_alloc(os, sizeof(*dir));
    char *copy = mem_alloc(os, strlen(path) + 1);
    const char *parent_path, *last = NULL;
    int parent = -1, fd = -1, rc;
    bool made = false;

    *out = NULL;
    if (created)
        *created = false;
    rc = !dir || !copy ? ENOMEM : *path ? 0 : ENOENT;
    if (rc)
        goto out;
    last = split_path(strcpy(copy, path), &parent_path);

    /* Held from here on: what is made is opened in the directory it was made in. */
    rc = open_at(AT_FDCWD, parent_path, O_PATH | O_DIRECTORY, 0, &parent);
    if (rc)
        goto out;
    rc = open_last(parent, last, &fd);
    if (rc == ENOENT && create) {
        made = mkdirat(parent, last, (mode_t)mode) == 0;
        rc = made || errno == EEXIST ? open_last(parent, last, &fd) : errno;
        if (rc == 0 && made)
            rc = settle_new_directory(parent, fd, mode);
    }

out:
    if (rc == 0) {
        *dir = (struct lsm_dir){ .os = os, .fd = fd };
        *out = dir;
        if (created)
            *created = made;
    } else {
        if (fd >= 0)
            close(fd);
        if (made)
            unlinkat(parent, last, AT_REMOVEDIR);
        mem_free(os, dir);
    }
    if (parent >= 0)
        close(parent);
    mem_free(os, copy);
    return rc;
}

static void dir_close(struct lsm_dir *dir)
{
    if (!dir)
        return;
    close(dir->fd);
    mem_free(dir->os, dir);
}

static int dir_sync(struct lsm_dir *dir)
{
    return sync_directory(dir->fd);
}

static int dir_info(struct lsm_dir *dir, struct lsm_file_info *info)
{
    struct stat st;

    if (fstat(dir->fd, &st))
        return errno;
    fill_info(&st, info);
    return 0;
}

static int dir_list(struct lsm_dir *dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct dirent *entry;
    DIR *stream;
    int fd, rc;

    /* A descriptor of its own: the read position is the description's, and shared. */
    rc = open_at(dir->fd, ".", O_RDONLY | O_DIRECTORY, 0, &fd);
    if (rc)
        return rc;
    stream = fdopendir(fd);
    if (!stream) {
        rc = errno;
        close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        entry = readdir(stream);
        if (!entry) {
            rc = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = fn(ctx, entry->d_name);
    }
    closedir(stream);
    return rc;
}

static int dir_remove(struct lsm_os *os, const char *path)
{
    (void)os;
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR) ? errno : 0;
}

static int dir_give(struct lsm_dir *dir, uint32_t uid, uint32_t gid, bool itself)
{
    if (geteuid() != 0)
        return 0;
    dir->gives = true;
    dir->uid = uid;
    dir->gid = gid;
    return itself && fchown(dir->fd, uid, gid) ? errno : 0;
}

/* ---- files -------------------------------------------------------------- */

/* Refuse what is no plain file of ours: a device, a directory, and for writing a second
   name of a file that belongs to something else. */
static int check_opened(int fd, bool write)
{
    struct stat st;

    if (fstat(fd, &st))
        return errno;
    if (!S_ISREG(st.st_mode))
        return EINVAL;
    if (write && st.st_nlink > 1)
        return EMLINK;
    return 0;
}

static int open_file(const struct lsm_dir *dir, const char *name, int flags, uint32_t mode, int *out)
{
    int at = dir->fd;
    bool write = (flags & (LSM_OPEN_WRITE | LSM_OPEN_CREATE | LSM_OPEN_CREATE_SHARED)) != 0;
    int how = (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    bool created = false;
    int fd = -1, rc;

    do {
        rc = ENOENT;
        /* When a file was read last is nobody's business, and costs a twentieth of a read. Only the owner may
           say so. */
        if (!write)
            rc = open_at(at, name, how | O_NOATIME, 0, &fd);
        if (!(flags & LSM_OPEN_CREATE) && (write || rc == EPERM))
            rc = open_at(at, name, how, 0, &fd);
        if (rc == ENOENT && (flags & (LSM_OPEN_CREATE | LSM_OPEN_CREATE_SHARED))) {
            rc = open_at(at, name, how | O_CREAT | O_EXCL, mode, &fd);
            created = rc == 0;
        }
        /* Shared, and somebody made it between the two: open theirs. */
    } while (rc == EEXIST && !(flags & LSM_OPEN_CREATE));

    if (rc == EISDIR || rc == ENXIO || rc == ENODEV)
        return EINVAL;
    if (rc)
        return rc;

    rc = check_opened(fd, write);
    /* The owner first: giving a file away takes bits of its mode. */
    if (rc == 0 && created && dir->gives && fchown(fd, dir->uid, dir->gid))
        rc = errno;
    if (rc == 0 && created && fchmod(fd, (mode_t)mode))     /* the umask has no say */
        rc = errno;
    if (rc) {
        close(fd);
        if (created)
            unlinkat(at, name, 0);
        return rc;
    }
    *out = fd;
    return 0;
}

static int file_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                     struct lsm_file **out)
{
    struct lsm_file *file;
    int rc;

    assert(*name);
    assert(!strchr(name, '/'));

    *out = NULL;
    file = mem_alloc(dir->os, sizeof(*file));
    if (!file)
        return ENOMEM;
    *file = (struct lsm_file){ .os = dir->os, .fd = -1 };

    must(pthread_mutex_lock(&fork_mutex));
    rc = open_file(dir, name, flags, mode, &file->fd);
    if (rc == 0) {
        file->next = fork_files;
        if (fork_files)
            fork_files->prev = file;
        fork_files = file;
    }
    must(pthread_mutex_unlock(&fork_mutex));

    if (rc) {
        mem_free(dir->os, file);
        return rc;
    }
    *out = file;
    return 0;
}

/* Of the open file description, not of the process: two copies of this library in one
   process exclude each other, and closing some other descriptor of LOCK drops nothing. */
static int lock_whole(int fd, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
    int rc;

    do {
        rc = fcntl(fd, F_OFD_SETLK, &lock) ? errno : 0;
    } while (rc == EINTR);
    return rc;
}

static void map_clear(struct map *map)
{
    if (map->at)
        munmap(map->at, (size_t)(map->end - map->off));
    map->at = NULL;
}

static void file_unmap(struct lsm_file *file)
{
    map_clear(&file->map[0]);
    map_clear(&file->map[1]);
    atomic_store(&file->map_is_ahead, false);
}

/* Where [off, off + size) is mapped, or NULL. The writer's. */
static uint8_t *file_mapped(struct lsm_file *file, uint64_t off, size_t size)
{
    struct map *map = &file->map[file->map_now];

    if (map->at && off >= map->off && off + size <= map->end)
        return map->at + (off - map->off);
    if (!atomic_load_explicit(&file->map_is_ahead, memory_order_acquire))
        return NULL;
    map = &file->map[!file->map_now];
    if (off < map->off || (off < map->end && off + size > map->end))
        return NULL;            /* not there yet, or half of it lies behind */
    if (off < map->end)
        file->map_now = !file->map_now;         /* else it came too late: whoever expects may have it back */
    atomic_store_explicit(&file->map_is_ahead, false, memory_order_release);
    return off < map->end ? map->at + (off - map->off) : NULL;
}

/* One large write: the kernel takes large folios for it where it has them, which are mapped, made writable and given
   up at once. 512 KiB at a time: 0.2 ms for a MiB where single pages took 1.25 (ext4, Linux 6.18), and 0.05 instead
   of 0.28 when the file is removed; with small pages as before. */
static bool write_zeros(struct lsm_file *file, uint64_t off, uint64_t end)
{
    static uint8_t zeros[ZEROS_SIZE];
    struct iovec parts[MAP_BYTES_MAX / ZEROS_SIZE];
    ssize_t done;
    int count;

    for (; off < end; off += (uint64_t)done) {
        uint64_t left = end - off;
        for (count = 0; left && count < (int)(MAP_BYTES_MAX / ZEROS_SIZE); count++) {
            parts[count] = (struct iovec){ zeros, left < ZEROS_SIZE ? (size_t)left : ZEROS_SIZE };
            left -= parts[count].iov_len;
        }
        do {
            done = pwritev(file->fd, parts, count, (off_t)off);
        } while (done < 0 && errno == EINTR);
        if (done <= 0)
            return false;
    }
    return true;
}

/*
 * A small write through a mapping costs a tenth of one through pwrite, and is as
 * safe from the end of the process; but a page costs up to 2.5 us, as much as a pwrite of
 * 4 KiB. What a mapping must never do is to end the process itself, by SIGBUS: so the
 * room is reserved on disk, and every page is made present and writable here, where a
 * file system that refuses says so by an error.
 * A page that was written back asks again, and where a file is not written in place
 * (btrfs; XFS behind a cp that shares blocks) for new room: SIGBUS on a full disk.
 * Where anything of this cannot be had, pwrite does it.
 */
static void file_expect(struct lsm_file *file, uint64_t off, uint64_t end)
{
    struct statfs fs;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct map *map;
    void *at;

    if (atomic_load_explicit(&file->map_is_ahead, memory_order_acquire))
        return;                 /* both are the writer's */
    map = &file->map[!file->map_now];
    map_clear(map);
    if (end <= off || end - off > MAP_BYTES_MAX - page || fstatfs(file->fd, &fs) ||
        (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC) || !write_zeros(file, off, end))
        return;
    off -= off % page;
    at = mmap(NULL, (size_t)(end - off), PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)off);
    if (at == MAP_FAILED)
        return;
    if (madvise(at, (size_t)(end - off), MADV_DONTFORK) ||
        madvise(at, (size_t)(end - off), MADV_POPULATE_WRITE)) {
        munmap(at, (size_t)(end - off));
        return;
    }
    *map = (struct map){ at, off, end };
    atomic_store_explicit(&file->map_is_ahead, true, memory_order_release);
}

/* It only begins to write, and does not ask how that went: a failure is kept for the file's next sync, which
   goes through a descriptor that was open by then. With a flag that waits, it would be told here and not there. */
static void file_push(struct lsm_file *file, uint64_t off, uint64_t size)
{
#ifdef SYNC_FILE_RANGE_WRITE
    if (off <= INT64_MAX && size <= INT64_MAX - off)
        sync_file_range(file->fd, (off_t)off, (off_t)size, SYNC_FILE_RANGE_WRITE);
#else
    (void)file, (void)off, (void)size;
#endif
}

/* Where room is only reserved, a sync has to note which of it is in use by now: a write of the inode, one after the other
   (ext4, virtio disk: 306 -> 174 us for 12 KiB). A file system that never writes in place would gain nothing. */
static void file_zero(struct lsm_file *file, uint64_t off, uint64_t end)
{
    struct statfs fs;

    if (fstatfs(file->fd, &fs) == 0 && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC) &&
        write_zeros(file, off, end))
        file_push(file, off, end - off);
}

static uint64_t file_next_data(struct lsm_file *file, uint64_t off)
{
    off_t data = lseek(file->fd, (off_t)off, SEEK_DATA);    /* nobody uses the descriptor's place */

    return data >= 0 ? (uint64_t)data : errno == ENXIO ? UINT64_MAX : off;
}

static void file_close(struct lsm_file *file)
{
    if (!file)
        return;
    must(pthread_mutex_lock(&fork_mutex));
    if (file->fd >= 0) {
        if (file->next)
            file->next->prev = file->prev;
        if (file->prev)
            file->prev->next = file->next;
        else
            fork_files = file->next;
        if (file->locked)       /* a child that is just being forked may hold it open still */
            lock_whole(file->fd, F_UNLCK);
        file_unmap(file);
        close(file->fd);        /* EINTR: closed all the same */
    }
    must(pthread_mutex_unlock(&fork_mutex));
    mem_free(file->os, file);
}

static int file_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    size_t done = 0;

    *got = 0;
    if (off > INT64_MAX || size > INT64_MAX - off)
        return EINVAL;
    while (done < size) {
        ssize_t n = pread(file->fd, (char *)data + done, size - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return 0;
}

/*
 * EFBIG if the file may not reach to `end`; without it, SIGXFSZ. Asked again
 * after each mebibyte only: a call for every append of a small transaction is 2 %
 * of it.
 */
static int check_size_limit(struct lsm_file *file, uint64_t end)
{
    struct rlimit limit;

    if (end > INT64_MAX)
        return EFBIG;
    if (end <= atomic_load_explicit(&file->size_allowed, memory_order_relaxed))
        return 0;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        if (end > limit.rlim_cur)
            return EFBIG;
        if (limit.rlim_cur - end < 1u << 20)
            return 0;
    }
    atomic_store_explicit(&file->size_allowed, end + (1u << 20), memory_order_relaxed);
    return 0;
}

static int file_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    uint8_t *mapped;
    size_t done = 0;
    int rc = off > UINT64_MAX - size ? EFBIG : check_size_limit(file, off + size);

    if (rc)
        return rc;
    mapped = file_mapped(file, off, size);
    if (mapped) {
        memcpy(mapped, data, size);
        return 0;
    }
    while (done < size) {
        ssize_t n = pwrite(file->fd, (const char *)data + done, size - done,
                           (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO;         /* no progress and no reason given: do not spin */
        done += (size_t)n;
    }
    return 0;
}

static int file_sync(struct lsm_file *file)
{
    int rc;

    do {
        rc = fdatasync(file->fd) ? errno : 0;
    } while (rc == EINTR);      /* nothing was lost yet; any other failure is final */
    return rc;
}

static int file_truncate(struct lsm_file *file, uint64_t size)
{
    struct stat st;
    int rc;

    if (fstat(file->fd, &st))
        return errno;
    file_unmap(file);
    if (size > (uint64_t)st.st_size) {
        rc = check_size_limit(file, size);
        if (rc)
            return rc;
    }
    do {
        rc = ftruncate(file->fd, (off_t)size) ? errno : 0;
    } while (rc == EINTR);
    return rc;
}

static int file_allocate(struct lsm_file *file, uint64_t size)
{
    struct stat before, after;
    int rc = check_size_limit(file, size);

    if (rc || size == 0)
        return rc;
    if (fstat(file->fd, &before))
        return errno;
    /* Not posix_fallocate: where the file system cannot, that one writes zeros. */
    do {
        rc = fallocate(file->fd, 0, 0, (off_t)size) ? errno : 0;
    } while (rc == EINTR);
    /* ext4 keeps what it got of it: the last of a full disk, which somebody else's next write would need. The maps
       end before that, and stay: a writer may be in them. */
    if (rc == ENOSPC && fstat(file->fd, &after) == 0 && after.st_size > before.st_size) {
        while (ftruncate(file->fd, before.st_size) && errno == EINTR)
            continue;
    }
    return rc == ENOSYS ? EOPNOTSUPP : rc;
}

static int file_info(struct lsm_file *file, struct lsm_file_info *info)
{
    struct stat st;

    if (fstat(file->fd, &st))
        return errno;
    fill_info(&st, info);
    return 0;
}

static int file_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    return renameat(dir->fd, from, dir->fd, to) ? errno : 0;
}

static int file_remove(struct lsm_dir *dir, const char *name)
{
    return unlinkat(dir->fd, name, 0) ? errno : 0;
}

static int file_link(struct lsm_dir *dir, const char *name, struct lsm_dir *to,
                     const char *to_name)
{
    return linkat(dir->fd, name, to->fd, to_name, 0) ? errno : 0;
}

static void file_prefetch(struct lsm_file *file, uint64_t off, uint64_t size)
{
    if (off <= INT64_MAX && size <= INT64_MAX)
        posix_fadvise(file->fd, (off_t)off, (off_t)size, POSIX_FADV_WILLNEED);
}

static int file_lock(struct lsm_file *file)
{
    int flags = fcntl(file->fd, F_GETFL);
    int rc = lock_whole(file->fd, (flags & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK);

    file->locked = rc == 0;
    return rc == EACCES ? EAGAIN : rc;
}

/* ---- chance, process ------------------------------------------------------ */

static int fill_random(struct lsm_os *os, void *data, size_t size)
{
    size_t done = 0;

    (void)os;
    while (done < size) {
        ssize_t n = getrandom((char *)data + done, size - done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        done += (size_t)n;
    }
    return 0;
}

static uint64_t process_id(struct lsm_os *os)
{
    (void)os;
    return (uint64_t)getpid();
}

static uint32_t file_limit(struct lsm_os *os)
{
    struct rlimit limit;

    (void)os;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)limit.rlim_cur;
}

static uint32_t fork_generation(struct lsm_os *os)
{
    (void)os;
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

/* ------------------------------------------------------------------------- */

struct lsm_os *lsm_os_posix_new(void)
{
    static const struct lsm_os calls = {
        .dir_open = dir_open, .dir_close = dir_close, .dir_sync = dir_sync,
        .dir_info = dir_info, .dir_list = dir_list, .dir_remove = dir_remove,
        .dir_give = dir_give,
        .file_open = file_open, .file_close = file_close, .file_read = file_read,
        .file_write = file_write, .file_sync = file_sync, .file_truncate = file_truncate,
        .file_allocate = file_allocate, .file_expect = file_expect, .file_zero = file_zero, .file_push = file_push,
        .file_next_data = file_next_data,
        .file_info = file_info, .file_rename = file_rename,
        .file_remove = file_remove, .file_link = file_link, .file_prefetch = file_prefetch,
        .file_lock = file_lock,
        .random = fill_random,
        .process_id = process_id, .file_limit = file_limit, .fork_generation = fork_generation,
        .mem_alloc = mem_alloc, .mem_realloc = mem_realloc, .mem_free = mem_free,
        .mem_used = mem_used, .mem_held = mem_held, .mem_budget = mem_budget, .mem_ready = mem_ready,
        .mem_trim = mem_trim,
    };
    struct posix_os *p;

    pthread_once(&fork_once, register_fork);
    if (fork_rc)
        return NULL;
    p = malloc(sizeof(*p));
    if (!p)
        return NULL;
    p->os = calls;
    lsm_posix_thread_calls(&p->os);
    lsm_posix_mem_init(&p->mem);
    return &p->os;
}

void lsm_os_posix_free(struct lsm_os *os)
{
    if (!os)
        return;
    lsm_posix_mem_clear(&self(os)->mem);
    free(os);
}

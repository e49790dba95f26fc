/*
 * os.h -- the operating system seam: everything that the engine asks of the
 * machine. os_posix.c is the real one, os_mem.c keeps files in memory and
 * delegates the rest, tests/sim/os_sim.c is a disk that forgets what was not
 * synced.
 *
 * Nothing else under lsm/ may call libc I/O, malloc, time, rand or pthread; the
 * build checks that. This is what makes every test deterministic.
 *
 * Calls return 0 or an errno value (positive). EINTR and short counts are dealt
 * with here and never seen above. Files are named by (directory handle, name);
 * a name never contains '/'.
 *
 * Threads: all calls from any thread, except that one file's writes and
 * truncations are the caller's to order.
 */
#ifndef LSM_OS_H
#define LSM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lsm_os;
struct lsm_dir;
struct lsm_file;
struct lsm_mutex;
struct lsm_cond;
struct lsm_thread;

enum lsm_open_flags {
    LSM_OPEN_READ = 0,
    LSM_OPEN_WRITE = 1,         /* and read */
    LSM_OPEN_CREATE = 2,        /* with O_EXCL: an existing file is EEXIST */
    LSM_OPEN_CREATE_SHARED = 4  /* create if missing, not exclusive: LOCK only */
};

struct lsm_file_info {
    uint64_t size;
    uint64_t allocated;         /* bytes on the device */
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    bool is_file, is_dir;
    bool is_own;                /* it belongs to the user that this process acts as */
};

struct lsm_os {
    /* ---- directories ---- */

    /* Open a directory. The last component of `path` is not followed when it is a link
       (ELOOP). create: make it with `mode` if missing (the parent is synced); *created says. */
    int (*dir_open)(struct lsm_os *os, const char *path, bool create, uint32_t mode,
                    bool *created, struct lsm_dir **dir);
    void (*dir_close)(struct lsm_dir *dir);
    int (*dir_sync)(struct lsm_dir *dir);
    int (*dir_info)(struct lsm_dir *dir, struct lsm_file_info *info);
    /* Each entry but . and ..; stops at fn's first non-zero result and returns it. */
    int (*dir_list)(struct lsm_dir *dir, int (*fn)(void *ctx, const char *name), void *ctx);
    int (*dir_remove)(struct lsm_os *os, const char *path);     /* must be empty */
    /* Files made in it from now on belong to this user and group, and so does the directory `itself`.
       Only root may give files away: for others nothing changes. NULL: no such thing here. */
    int (*dir_give)(struct lsm_dir *dir, uint32_t uid, uint32_t gid, bool itself);

    /* ---- files ---- */

    /* Regular files only (else EINVAL), never through a link; close-on-exec; no descriptor
       below 3. WRITE on a file with more than one link: EMLINK. */
    int (*file_open)(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                     struct lsm_file **file);
    void (*file_close)(struct lsm_file *file);
    /* *got < size only at the end of the file. */
    int (*file_read)(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got);
    /* All of it or an error; after an error the range is undefined. */
    int (*file_write)(struct lsm_file *file, const void *data, size_t size, uint64_t off);
    int (*file_sync)(struct lsm_file *file);    /* data, and the size if that changed */
    int (*file_truncate)(struct lsm_file *file, uint64_t size);
    int (*file_allocate)(struct lsm_file *file, uint64_t size); /* reserve, size grows; or EOPNOTSUPP */
    /* A hint: many small writes follow in [off, end), which is reserved, behind what was expected before. Nothing
       stands there, and nobody writes there until it returns: zeros may be written. Another thread may call it,
       and file_allocate, beside the writer's file_write elsewhere; not beside file_truncate or file_close.
       NULL: it is of no use here. */
    void (*file_expect)(struct lsm_file *file, uint64_t off, uint64_t end);
    /* A hint: in [off, end), as above, a sync follows each write. Zeros are written and begin to go to the disk, so
       that those syncs find nothing to note of the file but its bytes. NULL: it is of no use here. */
    void (*file_zero)(struct lsm_file *file, uint64_t off, uint64_t end);
    /* A hint: a sync will follow, these bytes may go to the disk meanwhile. NULL: it is of no use here. */
    void (*file_push)(struct lsm_file *file, uint64_t off, uint64_t size);
    /* Where behind `off` something other than zeros may stand: UINT64_MAX: nowhere. NULL: it cannot be told. */
    uint64_t (*file_next_data)(struct lsm_file *file, uint64_t off);
    int (*file_info)(struct lsm_file *file, struct lsm_file_info *info);
    int (*file_rename)(struct lsm_dir *dir, const char *from, const char *to);
    int (*file_remove)(struct lsm_dir *dir, const char *name);
    int (*file_link)(struct lsm_dir *dir, const char *name, struct lsm_dir *to, const char *to_name);
    void (*file_prefetch)(struct lsm_file *file, uint64_t off, uint64_t size);  /* a hint */
    /* Lock the whole file until it is closed: for itself alone if it was opened to write, else
       together with others that read. EAGAIN if another's lock excludes it. It dies with the process,
       and a forked child does not inherit it. */
    int (*file_lock)(struct lsm_file *file);

    /* ---- threads; none of these fails but the ones that return int ---- */
    int (*mutex_new)(struct lsm_os *os, struct lsm_mutex **mutex);
    void (*mutex_free)(struct lsm_mutex *mutex);
    void (*mutex_lock)(struct lsm_mutex *mutex);
    void (*mutex_unlock)(struct lsm_mutex *mutex);
    int (*cond_new)(struct lsm_os *os, struct lsm_cond **cond);
    void (*cond_free)(struct lsm_cond *cond);
    void (*cond_wait)(struct lsm_cond *cond, struct lsm_mutex *mutex);
    void (*cond_wait_us)(struct lsm_cond *cond, struct lsm_mutex *mutex, uint64_t us);
    void (*cond_broadcast)(struct lsm_cond *cond);
    int (*thread_start)(struct lsm_os *os, void (*fn)(void *ctx), void *ctx, struct lsm_thread **thread);
    void (*thread_join)(struct lsm_thread *thread);     /* and frees it */

    /* ---- time, chance, process ---- */
    uint64_t (*wall_us)(struct lsm_os *os);
    uint64_t (*mono_us)(struct lsm_os *os);
    void (*sleep_us)(struct lsm_os *os, uint64_t us);
    int (*random)(struct lsm_os *os, void *data, size_t size);
    uint64_t (*process_id)(struct lsm_os *os);
    uint32_t (*file_limit)(struct lsm_os *os);  /* files that the process may have open; NULL: any */
    uint32_t (*cpu_count)(struct lsm_os *os);   /* processors that its threads may run on; NULL: 1 */
    uint32_t (*cpu_used)(struct lsm_os *os);    /* as many of those as were at work in the last minute, on an average
                                                   and for whomever, rounded down; NULL: none */
    uint32_t (*fork_generation)(struct lsm_os *os);     /* changes in a forked child */

    /* ---- memory: one allocator, counted ---- */
    void *(*mem_alloc)(struct lsm_os *os, size_t size);             /* NULL: none */
    void *(*mem_realloc)(struct lsm_os *os, void *p, size_t size);  /* p may be NULL */
    void (*mem_free)(struct lsm_os *os, void *p);                   /* p may be NULL */
    uint64_t (*mem_used)(struct lsm_os *os);                        /* bytes given out now */
    /* Bytes taken from the kernel now: what is given out, and free room between it. At least what is
       resident. NULL: not known (and mem_used may count files that live in memory). */
    uint64_t (*mem_held)(struct lsm_os *os);
    /* So much is going to be used, at most: how large the pages may be. NULL: it makes no difference. */
    void (*mem_budget)(struct lsm_os *os, uint64_t bytes);
    /* A block of that size is going to be asked for by somebody who should not wait for its pages: make them.
       NULL: no use. */
    void (*mem_ready)(struct lsm_os *os, size_t size);
    /* Give free room back to the kernel. May take milliseconds. NULL: nothing to give. */
    void (*mem_trim)(struct lsm_os *os);
};

/* The real machine. One object a store, so that memory is counted per store; free it last. */
struct lsm_os *lsm_os_posix_new(void);
void lsm_os_posix_free(struct lsm_os *os);

/* Files in memory that die with the object; threads, time and memory are `base`'s. */
struct lsm_os *lsm_os_mem_new(struct lsm_os *base);
void lsm_os_mem_free(struct lsm_os *os);

/* ---- shorthand ---- */
static inline void *lsm_mem_alloc(struct lsm_os *os, size_t size) { return os->mem_alloc(os, size); }
static inline void lsm_mem_free(struct lsm_os *os, void *p) { os->mem_free(os, p); }
void *lsm_mem_zalloc(struct lsm_os *os, size_t size);   /* zeroed; util/status.c */

#endif

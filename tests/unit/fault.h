/*
 * fault.h -- an os in memory whose calls can be made to fail, and that writes
 * down what was asked of it, in order. For the tests of what is on disk.
 *
 * It patches one os_mem object in place; one at a time, one thread.
 */
#ifndef TESTS_UNIT_FAULT_H
#define TESTS_UNIT_FAULT_H

#include "lsm/os/os.h"
#include "tests/test.h"

enum fault_kind {
    FAULT_READ = 1, FAULT_WRITE = 2, FAULT_SYNC = 4, FAULT_DIR_SYNC = 8, FAULT_RENAME = 16,
    FAULT_TRUNCATE = 32, FAULT_OPEN = 64, FAULT_MEMORY = 128, FAULT_INFO = 256
};

static struct fault {
    struct lsm_os *base, *os;
    struct lsm_os real;             /* the functions as they were */
    struct lsm_dir *dir;
    unsigned kinds;                 /* which calls count */
    int at;                         /* the at-th of them fails, from 1; 0: none */
    int seen;
    int error;
    bool sticky;                    /* and all after it */
    size_t write_half;              /* a write that fails leaves this many bytes */
    size_t memory_max;              /* largest allocation asked for */
    char order[4096];               /* "write MANIFEST-000001; sync MANIFEST-000001; ..." */
    struct { struct lsm_file *file; char name[40]; } open[16];
} fault;

static bool fault_hits(unsigned kind)
{
    if (!(fault.kinds & kind))
        return false;
    fault.seen++;
    return fault.at && (fault.seen == fault.at || (fault.sticky && fault.seen > fault.at));
}

static void fault_note(const char *what, const char *name)
{
    size_t n = strlen(fault.order);

    snprintf(fault.order + n, sizeof(fault.order) - n, "%s%s%s; ", what, name ? " " : "",
             name ? name : "");
}

static const char *fault_name(struct lsm_file *file)
{
    for (size_t i = 0; i < 16; i++)
        if (fault.open[i].file == file)
            return fault.open[i].name;
    return "?";
}

static int fault_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                      struct lsm_file **file)
{
    int error;

    if (fault_hits(FAULT_OPEN))
        return fault.error;
    error = fault.real.file_open(dir, name, flags, mode, file);
    if (error == 0) {
        for (size_t i = 0; i < 16; i++) {
            if (!fault.open[i].file) {
                fault.open[i].file = *file;
                snprintf(fault.open[i].name, sizeof(fault.open[i].name), "%s", name);
                break;
            }
        }
    }
    return error;
}

static void fault_close(struct lsm_file *file)
{
    for (size_t i = 0; i < 16; i++)
        if (fault.open[i].file == file)
            fault.open[i].file = NULL;
    fault.real.file_close(file);
}

static int fault_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    return fault_hits(FAULT_READ) ? fault.error : fault.real.file_read(file, data, size, off, got);
}

static int fault_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    fault_note("write", fault_name(file));
    if (fault_hits(FAULT_WRITE)) {
        if (fault.write_half)
            fault.real.file_write(file, data, fault.write_half < size ? fault.write_half : size,
                                  off);
        return fault.error;
    }
    return fault.real.file_write(file, data, size, off);
}

static int fault_sync(struct lsm_file *file)
{
    fault_note("sync", fault_name(file));
    return fault_hits(FAULT_SYNC) ? fault.error : fault.real.file_sync(file);
}

static int fault_dir_sync(struct lsm_dir *dir)
{
    fault_note("dirsync", NULL);
    return fault_hits(FAULT_DIR_SYNC) ? fault.error : fault.real.dir_sync(dir);
}

static int fault_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    fault_note("rename", from);
    return fault_hits(FAULT_RENAME) ? fault.error : fault.real.file_rename(dir, from, to);
}

static int fault_truncate(struct lsm_file *file, uint64_t size)
{
    fault_note("truncate", fault_name(file));
    return fault_hits(FAULT_TRUNCATE) ? fault.error : fault.real.file_truncate(file, size);
}

static int fault_remove(struct lsm_dir *dir, const char *name)
{
    fault_note("remove", name);
    return fault.real.file_remove(dir, name);
}

static int fault_info(struct lsm_file *file, struct lsm_file_info *info)
{
    return fault_hits(FAULT_INFO) ? fault.error : fault.real.file_info(file, info);
}

static void *fault_alloc(struct lsm_os *os, size_t size)
{
    if (size > fault.memory_max)
        fault.memory_max = size;
    return fault_hits(FAULT_MEMORY) ? NULL : fault.real.mem_alloc(os, size);
}

static void *fault_realloc(struct lsm_os *os, void *p, size_t size)
{
    if (size > fault.memory_max)
        fault.memory_max = size;
    return fault_hits(FAULT_MEMORY) ? NULL : fault.real.mem_realloc(os, p, size);
}

static inline void fault_begin(void)
{
    memset(&fault, 0, sizeof(fault));
    fault.error = EIO;
    fault.base = lsm_os_posix_new();
    fault.os = lsm_os_mem_new(fault.base);
    fault.real = *fault.os;
    fault.os->file_open = fault_open;
    fault.os->file_close = fault_close;
    fault.os->file_read = fault_read;
    fault.os->file_write = fault_write;
    fault.os->file_sync = fault_sync;
    fault.os->file_truncate = fault_truncate;
    fault.os->file_rename = fault_rename;
    fault.os->file_remove = fault_remove;
    fault.os->file_info = fault_info;
    fault.os->dir_sync = fault_dir_sync;
    fault.os->mem_alloc = fault_alloc;
    fault.os->mem_realloc = fault_realloc;
    CHECK_INT(fault.os->dir_open(fault.os, "/fault-lsm", true, 0755, NULL, &fault.dir), 0);
}

/* Everything given back? */
static inline void fault_end(void)
{
    fault.os->dir_close(fault.dir);
    memcpy(fault.os, &fault.real, sizeof(fault.real));
    lsm_os_mem_free(fault.os);
    CHECK_INT(fault.base->mem_used(fault.base), 0);
    lsm_os_posix_free(fault.base);
}

static inline void fault_arm(unsigned kinds, int at)
{
    fault.kinds = kinds;
    fault.at = at;
    fault.seen = 0;
}

static inline void fault_disarm(void)
{
    fault_arm(0, 0);
    fault.sticky = false;
    fault.order[0] = '\0';
}

/* ---- whole files ---- */

static inline size_t fault_get_file(const char *name, uint8_t *bytes, size_t size)
{
    struct lsm_file *file;
    size_t got = 0;

    if (fault.real.file_open(fault.dir, name, LSM_OPEN_READ, 0, &file) != 0)
        return 0;
    fault.real.file_read(file, bytes, size, 0, &got);
    fault.real.file_close(file);
    return got;
}

static inline void fault_put_file(const char *name, const uint8_t *bytes, size_t size)
{
    struct lsm_file *file;

    fault.real.file_remove(fault.dir, name);
    CHECK_INT(fault.real.file_open(fault.dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file),
              0);
    if (size)
        CHECK_INT(fault.real.file_write(file, bytes, size, 0), 0);
    fault.real.file_close(file);
}

static inline bool fault_has_file(const char *name)
{
    struct lsm_file *file;

    if (fault.real.file_open(fault.dir, name, LSM_OPEN_READ, 0, &file) != 0)
        return false;
    fault.real.file_close(file);
    return true;
}

#endif

/*
 * status.c -- the error text, and how errno values become codes.
 *
 * The text belongs to the thread: a failure in the worker does not overwrite
 * what a statement is about to show. What must cross threads is copied with
 * lsm_error_save() by the one who failed.
 */
#undef _GNU_SOURCE
#define _POSIX_C_SOURCE 200809L     /* the strerror_r that returns int */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lsm/util/status.h"

static _Thread_local char error_text[LSM_ERROR_TEXT_SIZE];

const char *lsm_error_text(void)
{
    return error_text;
}

const char *lsm_version(void)
{
    return LSM_VERSION;
}

uint32_t lsm_version_number(void)
{
    return LSM_VERSION_NUMBER;
}

const char *lsm_code_name(int code)
{
    static const char *const names[] = {
        [LSM_OK] = "LSM_OK",
        [LSM_NOTFOUND] = "LSM_NOTFOUND",
        [LSM_DONE] = "LSM_DONE",
        [LSM_BUSY] = "LSM_BUSY",
        [LSM_CONFLICT] = "LSM_CONFLICT",
        [LSM_IOERR] = "LSM_IOERR",
        [LSM_CORRUPT] = "LSM_CORRUPT",
        [LSM_NOMEM] = "LSM_NOMEM",
        [LSM_FULL] = "LSM_FULL",
        [LSM_READONLY] = "LSM_READONLY",
        [LSM_TOOBIG] = "LSM_TOOBIG",
        [LSM_MISUSE] = "LSM_MISUSE",
        [LSM_MISMATCH] = "LSM_MISMATCH",
        [LSM_CANTOPEN] = "LSM_CANTOPEN",
        [LSM_FORMAT] = "LSM_FORMAT",
        [LSM_EXISTS] = "LSM_EXISTS",
        [LSM_STALE] = "LSM_STALE",
        [LSM_FSYNC] = "LSM_FSYNC",
    };

    if (code < 0 || code >= (int)(sizeof(names) / sizeof(names[0])))
        return "LSM_UNKNOWN";
    return names[code];
}

int lsm_fail(int code, const char *format, ...)
{
    char text[LSM_ERROR_TEXT_SIZE];     /* an argument may be the old text itself */
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    memcpy(error_text, text, sizeof(text));
    return code;
}

/*
 * What the caller can do about an errno value decides its code. A refusal means
 * something else where a file is opened, as it stands (CANTOPEN), than where one is
 * made, changed or removed (READONLY: reading still works).
 */
static int code_of(int error, bool opening)
{
    switch (error) {
    case 0:
        return LSM_OK;
    case ENOENT:
        return LSM_NOTFOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LSM_FULL;
    case ENOMEM:
        return LSM_NOMEM;
    case EAGAIN:
        return LSM_BUSY;
    case EROFS:
        return LSM_READONLY;
    case EACCES:
    case EPERM:
        return opening ? LSM_CANTOPEN : LSM_READONLY;
    case EMFILE:
    case ENFILE:
    case ENOLCK:
    case ELOOP:
    case ENOTDIR:
    case EMLINK:
        return LSM_CANTOPEN;
    case EINVAL:
        return opening ? LSM_CANTOPEN : LSM_IOERR;      /* open: not a regular file */
    default:
        return LSM_IOERR;
    }
}

/* Where the system's words do not tell what is wrong with a file that is opened. */
static const char *why_not_opened(int error)
{
    switch (error) {
    case ELOOP:
        return "it is a symbolic link, and none is followed: put what it leads to in its place";
    case EMLINK:
        return "it has another name, too (a hard link), and is written through neither: put a copy in its place";
    case EINVAL:
        return "it is no regular file";
    case ENOTDIR:
        return "it is no directory: move it away, and bring back the directory that belongs there, if there was one";
    default:
        return NULL;
    }
}

/* Where nothing is broken and somebody can mend it; "" elsewhere. */
static const char *way_out(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return " (make room and try again; what was committed is kept)";
    case EFBIG:
        return " (the process or the file system allows no larger file: ulimit -f)";
    default:
        return "";
    }
}

int lsm_fail_os(int error, const char *what, const char *name)
{
    bool opening = strncmp(what, "open", 4) == 0;
    char why[128];
    int code = code_of(error, opening);

    if (opening && why_not_opened(error))
        snprintf(why, sizeof(why), "%s", why_not_opened(error));
    else if (strerror_r(error, why, sizeof(why)) != 0)
        snprintf(why, sizeof(why), "error %d", error);
    if (name)
        return lsm_fail(code, "%s %s: %s%s", what, name, why, way_out(error));
    return lsm_fail(code, "%s: %s%s", what, why, way_out(error));
}

int lsm_corrupt(const char *file, uint64_t off, const char *why)
{
    return lsm_fail(LSM_CORRUPT, "%s: corrupt at offset %llu: %s", file,
                    (unsigned long long)off, why);
}

int lsm_nomem(void)
{
    return lsm_fail(LSM_NOMEM, "out of memory");
}

void lsm_error_save(char *text, size_t size)
{
    if (size)
        snprintf(text, size, "%s", error_text);
}

void *lsm_mem_zalloc(struct lsm_os *os, size_t size)
{
    void *p = os->mem_alloc(os, size);

    return p ? memset(p, 0, size) : NULL;
}

/*
 * format_os.h -- a seam with memory only, for tests of code without I/O: it
 * counts, remembers the largest request, and fails the n-th when asked to.
 */
#ifndef TESTS_UNIT_FORMAT_OS_H
#define TESTS_UNIT_FORMAT_OS_H

#include "lsm/os/os.h"
#include "tests/test.h"

struct format_os {
    struct lsm_os os;
    uint64_t used;              /* bytes now */
    size_t largest;             /* request since it was last set to 0 */
    long fail_at;               /* 0: never; n: the n-th request from now on, and all after it */
};

static inline bool format_os_refuses(struct format_os *f, size_t size)
{
    if (size > f->largest)
        f->largest = size;
    return f->fail_at && (f->fail_at == 1 || --f->fail_at == 0);
}

static inline void *format_os_alloc(struct lsm_os *os, size_t size)
{
    struct format_os *f = (struct format_os *)os;
    size_t *p = format_os_refuses(f, size) ? NULL : malloc(size + 16);

    if (!p)
        return NULL;
    p[0] = size;
    f->used += size;
    return p + 2;
}

static inline void format_os_free(struct lsm_os *os, void *p)
{
    size_t *at = p;

    if (!at)
        return;
    ((struct format_os *)os)->used -= at[-2];
    free(at - 2);
}

static inline void *format_os_realloc(struct lsm_os *os, void *p, size_t size)
{
    size_t *from = p, *to = format_os_alloc(os, size);

    if (to && from) {
        memcpy(to, from, from[-2] < size ? from[-2] : size);
        format_os_free(os, from);
    }
    return to;
}

static inline int format_os_mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    void **m = format_os_alloc(os, sizeof(*m));

    if (!m)
        return ENOMEM;
    *m = os;
    *mutex = (struct lsm_mutex *)m;
    return 0;
}
static inline void format_os_mutex_free(struct lsm_mutex *mutex)
{
    format_os_free(*(void **)mutex, mutex);
}
static inline void format_os_mutex_nothing(struct lsm_mutex *mutex)
{
    (void)mutex;                /* one thread */
}

static inline void format_os_init(struct format_os *f)
{
    *f = (struct format_os){ .os = {
        .mem_alloc = format_os_alloc, .mem_realloc = format_os_realloc,
        .mem_free = format_os_free, .mutex_new = format_os_mutex_new,
        .mutex_free = format_os_mutex_free, .mutex_lock = format_os_mutex_nothing,
        .mutex_unlock = format_os_mutex_nothing,
    } };
}

#endif

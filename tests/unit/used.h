/*
 * used.h -- for tests of memory: how much of the simulated disk's was in use at most.
 */
#ifndef TESTS_UNIT_USED_H
#define TESTS_UNIT_USED_H

#include "tests/unit/disk.h"

static uint64_t used_max;

static inline void used_note(struct lsm_os *os)
{
    uint64_t used = os->mem_used(os);

    used_max = used > used_max ? used : used_max;
}

static inline void *used_alloc(struct lsm_os *os, size_t size)
{
    void *p = disk_alloc(os, size);

    used_note(os);
    return p;
}

static inline void *used_realloc(struct lsm_os *os, void *old, size_t size)
{
    void *p = disk_realloc(os, old, size);

    used_note(os);
    return p;
}

/* From here on `used_max` is the most; until disk_end(). What is in use now. */
static inline uint64_t used_begin(void)
{
    disk.os->mem_alloc = used_alloc;
    disk.os->mem_realloc = used_realloc;
    return used_max = disk.os->mem_used(disk.os);
}

#endif

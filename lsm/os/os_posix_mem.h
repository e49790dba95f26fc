/*
 * os_posix_mem.h -- the allocator of the real machine, one a store. Memory that
 * the store gives up goes back to the kernel instead of staying behind as holes
 * in a heap, whichever thread took it and whichever gives it up.
 *
 *     up to 1 KiB      malloc: few, short-lived or tiny
 *     up to 64 KiB     slots in spans; a span is mapped, has slots of one size,
 *                      and is given back when the last of them is free; if there
 *                      is much to come, they lie in huge pages (os_posix_region.h)
 *     above            mapped, and moved by the kernel when they grow
 *
 * A few spans and arena chunks are kept for the next use: a fresh page costs a
 * fault, and a memtable has thousands.
 *
 * Part of os_posix.c; nothing else includes this.
 */
#ifndef LSM_OS_OS_POSIX_MEM_H
#define LSM_OS_OS_POSIX_MEM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lsm/os/os_posix_region.h"

#define LSM_POSIX_MEM_CLASSES 72u       /* sizes of slots: 48 up to 8 KiB, 24 above */
#define LSM_POSIX_SPARE_KINDS 4u
#define LSM_POSIX_SPARE_MAX 8u

struct lsm_posix_mem {
    _Atomic uint64_t used;              /* bytes given out, with heads and up to the slot's size */
    _Atomic uint64_t held;              /* at least what is resident: used, free slots, spare ones */
    struct lsm_posix_mem_class {
        pthread_mutex_t mutex;
        struct lsm_posix_span *open;    /* spans with a free slot */
    } classes[LSM_POSIX_MEM_CLASSES];
    _Atomic uint64_t single, single_max;    /* bytes of spans with a mapping of their own; behind that, regions */
    struct lsm_posix_regions regions;
    pthread_mutex_t mutex;              /* of the spare ones; innermost */
    struct lsm_posix_spare {
        void *at[LSM_POSIX_SPARE_MAX];
        uint32_t count;
    } spare[LSM_POSIX_SPARE_KINDS];
};

void lsm_posix_mem_init(struct lsm_posix_mem *m);
void lsm_posix_mem_clear(struct lsm_posix_mem *m);      /* nothing may be in use */
void *lsm_posix_mem_alloc(struct lsm_posix_mem *m, size_t size);
void *lsm_posix_mem_realloc(struct lsm_posix_mem *m, void *p, size_t size);
void lsm_posix_mem_free(struct lsm_posix_mem *m, void *p);
/* So much is going to be used, at most. Until it is said, there are no huge pages for slots. */
void lsm_posix_mem_budget(struct lsm_posix_mem *m, uint64_t bytes);
/* A block of `size` bytes is going to be asked for: its pages are made now, if it is one of those of which spare
   ones are kept and there is none. */
void lsm_posix_mem_ready(struct lsm_posix_mem *m, size_t size);
/* Give back the whole pages of free slots, and the spare ones. A system call for each stretch. */
void lsm_posix_mem_trim(struct lsm_posix_mem *m);

#endif

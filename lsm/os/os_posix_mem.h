/*
 * os_posix_mem.h -- the allocator of the real machine: small blocks from malloc,
 * large ones from the kernel, so that a memtable that is freed is gone and does
 * not stay behind as holes in a heap. A few blocks of an arena chunk's size are
 * kept: a fresh page costs a fault, and a memtable has thousands.
 *
 * Part of os_posix.c; nothing else includes this.
 */
#ifndef LSM_OS_OS_POSIX_MEM_H
#define LSM_OS_OS_POSIX_MEM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define LSM_POSIX_SPARE_MAX 4u          /* kept, of about a mebibyte each */

struct lsm_posix_mem {
    _Atomic uint64_t used;              /* bytes given out, with heads; spare ones are not */
    pthread_mutex_t mutex;
    void *spare[LSM_POSIX_SPARE_MAX];
    uint32_t spare_count;
};

void lsm_posix_mem_init(struct lsm_posix_mem *m);
void lsm_posix_mem_clear(struct lsm_posix_mem *m);      /* the spare blocks; nothing may be in use */
void *lsm_posix_mem_alloc(struct lsm_posix_mem *m, size_t size);
void *lsm_posix_mem_realloc(struct lsm_posix_mem *m, void *p, size_t size);
void lsm_posix_mem_free(struct lsm_posix_mem *m, void *p);

#endif

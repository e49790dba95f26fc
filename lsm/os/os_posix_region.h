/*
 * os_posix_region.h -- two MiB at a time for the spans of os_posix_mem.c: one huge page if the kernel has
 * one. What a cache holds is looked for everywhere in it; with pages of 4 KiB most looks also miss the
 * processor's table of pages, which in a virtual machine costs more than the memory itself.
 *
 *     page    head | unit | unit | ...                 32 units of 64 KiB
 *
 * A unit that is free is there, and is used next, or the kernel has it again. Once it has one the region is
 * of small pages until all of it is free.
 *
 * Part of os_posix_mem.c; nothing else but its test includes this. Threads: any.
 */
#ifndef LSM_OS_OS_POSIX_REGION_H
#define LSM_OS_OS_POSIX_REGION_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define LSM_POSIX_UNIT ((size_t)64 << 10)
#define LSM_POSIX_HUGE ((size_t)2 << 20)

struct lsm_posix_region;

struct lsm_posix_regions {
    pthread_mutex_t mutex;              /* innermost */
    struct lsm_posix_region *open;      /* with a free unit; else they are found by address */
    uint32_t count;
    uint32_t used, idle;                /* units; idle: free and there */
    uint32_t used_low;                  /* the least that was used since the newest region came */
};

/* A page of 4 KiB and LSM_POSIX_HUGE bytes behind it, aligned, one huge page if possible; NULL. */
void *lsm_posix_map_huge(void);

void lsm_posix_regions_init(struct lsm_posix_regions *r);
/* Nothing may be in use. */
void lsm_posix_regions_clear(struct lsm_posix_regions *r);
/*
 * Room for `size` bytes, one unit or four; NULL: no memory. Bit i of *gone: page i of it is not there, and
 * not counted; *held: bytes that are held from now on, with those of a new region.
 */
void *lsm_posix_region_take(struct lsm_posix_regions *r, size_t size, uint64_t *gone, size_t *held);
/* Give it back, with the pages in `gone` not there. Returns the bytes that are held no more. */
size_t lsm_posix_region_give(struct lsm_posix_regions *r, void *p, size_t size, uint64_t gone);
/* Pages of a unit in use will be given to the kernel: no huge page may come back in their place. */
void lsm_posix_region_split(void *p);
/* Free units to the kernel. Returns the bytes that are held no more. */
size_t lsm_posix_regions_trim(struct lsm_posix_regions *r);

#endif

/*
 * sort.h -- sorting without memory: libc's may call malloc.
 *
 * Threads: pure.
 */
#ifndef LSM_UTIL_SORT_H
#define LSM_UTIL_SORT_H

#include <stddef.h>

#define LSM_SORT_ITEM_MAX 64u

/* Heapsort, not stable; at once done with what is sorted. Items are at most LSM_SORT_ITEM_MAX bytes. */
void lsm_sort(void *items, size_t count, size_t size,
              int (*compare)(void *ctx, const void *a, const void *b), void *ctx);

#endif

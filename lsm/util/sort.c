/*
 * sort.c -- see sort.h.
 */
#include "lsm/util/sort.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static void swap(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t item[LSM_SORT_ITEM_MAX];

    memcpy(item, a, size);
    memcpy(a, b, size);
    memcpy(b, item, size);
}

void lsm_sort(void *items, size_t count, size_t size,
              int (*compare)(void *ctx, const void *a, const void *b), void *ctx)
{
    uint8_t *p = items;
    size_t i;

    assert(size <= LSM_SORT_ITEM_MAX);
    for (i = 1; i < count && compare(ctx, p + (i - 1) * size, p + i * size) <= 0; i++)
        ;
    if (i >= count)
        return;
    for (size_t root = count / 2, end = count; end > 1;) {
        if (root > 0)
            root--;                             /* still building the heap */
        else
            swap(p, p + --end * size, size);
        for (size_t parent = root, child; (child = 2 * parent + 1) < end; parent = child) {
            if (child + 1 < end && compare(ctx, p + child * size, p + (child + 1) * size) < 0)
                child++;
            if (compare(ctx, p + parent * size, p + child * size) >= 0)
                break;
            swap(p + parent * size, p + child * size, size);
        }
    }
}

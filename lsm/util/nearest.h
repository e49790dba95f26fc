/*
 * nearest.h -- the one of several names that somebody may have meant.
 *
 * Threads: one at a time.
 */
#ifndef LSM_UTIL_NEAREST_H
#define LSM_UTIL_NEAREST_H

#include <stdint.h>

struct lsm_nearest {
    const char *name;           /* what was said */
    const char *best;           /* of what was offered; NULL: nothing is near */
    uint32_t distance;          /* of the best, in letters that differ */
};

void lsm_nearest_init(struct lsm_nearest *nearest, const char *name);
/* `candidate` must live as long as *nearest. */
void lsm_nearest_offer(struct lsm_nearest *nearest, const char *candidate);

#endif

/*
 * area.h -- which bytes of the host's redo area may be given out (commit.md R7b).
 *
 *     |        [from ....... next)            |    records that no sync of the log covers
 *     [0 .. next)        [old_from .. old_end)|    the same, in the next lap
 *
 * Places go upwards, whatever became of the transactions that took them, and from the
 * beginning again where a sync made room. A sync goes on beside writers: it covers what had
 * its place when it began, which a mark says.
 *
 * Included by carry.h only. Threads: one at a time; pure.
 */
#ifndef LSM_DB_AREA_H
#define LSM_DB_AREA_H

#include <stdbool.h>
#include <stdint.h>

struct lsm_area {
    uint64_t lap;
    uint64_t from, next;
    uint64_t old_from, old_end; /* of the lap before; alike: nothing */
};

struct lsm_area_mark {
    uint64_t lap, next;
};

/* A place for `size` bytes among the first `room`. False: there is none. */
bool lsm_area_find(const struct lsm_area *area, uint64_t size, uint64_t room, uint64_t *off);
/* Give out what was found. */
void lsm_area_take(struct lsm_area *area, uint64_t off, uint64_t size);
/* Bytes of records that no sync covers. */
uint64_t lsm_area_used(const struct lsm_area *area);

static inline struct lsm_area_mark lsm_area_mark(const struct lsm_area *area)
{
    return (struct lsm_area_mark){ area->lap, area->next };
}
/* A sync covers what was given out before the mark. */
void lsm_area_covered(struct lsm_area *area, struct lsm_area_mark mark);
/* A sync covers all; marks that were taken before say nothing any more. */
void lsm_area_reset(struct lsm_area *area);

#endif

/* area.c -- which bytes of the host's redo area may be given out. */
#include "lsm/db/area.h"

#include <assert.h>

static void check_area(const struct lsm_area *area)
{
    assert(area->from <= area->next);
    assert(area->old_from <= area->old_end);
    if (area->old_from < area->old_end) {
        assert(area->from == 0);
        assert(area->next <= area->old_from);
    }
    (void)area;
}

static bool has_old(const struct lsm_area *area)
{
    return area->old_from < area->old_end;
}

bool lsm_area_find(const struct lsm_area *area, uint64_t size, uint64_t room, uint64_t *off)
{
    uint64_t end = has_old(area) && area->old_from < room ? area->old_from : room;

    check_area(area);
    assert(size > 0);
    *off = area->next;
    if (area->next <= end && size <= end - area->next)
        return true;
    *off = 0;
    return !has_old(area) && size <= area->from && size <= room;
}

void lsm_area_take(struct lsm_area *area, uint64_t off, uint64_t size)
{
    if (off < area->next) {
        assert(off == 0 && !has_old(area) && size <= area->from);
        area->old_from = area->from;
        area->old_end = area->next;
        area->from = 0;
        area->lap++;
    }
    area->next = off + size;
    check_area(area);
}

uint64_t lsm_area_used(const struct lsm_area *area)
{
    return area->next - area->from + area->old_end - area->old_from;
}

void lsm_area_covered(struct lsm_area *area, struct lsm_area_mark mark)
{
    if (mark.lap == area->lap) {
        assert(mark.next <= area->next);
        if (area->from < mark.next)
            area->from = mark.next;
        area->old_from = area->old_end = 0;
    } else if (mark.lap + 1 == area->lap && area->old_from < mark.next) {
        assert(mark.next <= area->old_end);
        area->old_from = mark.next;
    }
    check_area(area);
}

void lsm_area_reset(struct lsm_area *area)
{
    *area = (struct lsm_area){ .lap = area->lap + 2 };
}

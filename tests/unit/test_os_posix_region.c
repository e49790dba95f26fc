/* test_os_posix_region.c -- units of huge pages: nobody's twice, counted while they are there, and given back. */
#include <string.h>

#include "lsm/os/os_posix_region.h"
#include "tests/test.h"

#define PAGE 4096u
#define TAKEN_MAX 160u

static struct taken {
    uint8_t *p;
    size_t size;
    uint64_t gone;
    uint8_t mark;
} taken[TAKEN_MAX];
static uint32_t taken_count;

static struct lsm_posix_regions regions;
static size_t held;

static uint64_t pages_of(size_t size)
{
    return UINT64_MAX >> (64 - size / PAGE);
}

static void take(size_t size)
{
    struct taken *t = &taken[taken_count++];
    size_t more;

    t->size = size;
    t->mark = (uint8_t)(1 + test_below(255));
    t->p = lsm_posix_region_take(&regions, size, &t->gone, &more);
    CHECK(t->p != NULL);
    CHECK_INT((uintptr_t)t->p % LSM_POSIX_UNIT, 0);
    CHECK((t->gone & ~pages_of(size)) == 0);
    held += more;
    for (size_t page = 0; page < size / PAGE; page++) {
        if (t->gone >> page & 1)
            CHECK_INT(t->p[page * PAGE], 0);    /* the kernel had it */
        else
            continue;
        if (test_below(2)) {                    /* touched, as by a slot's owner; else it stays gone */
            t->gone &= ~(UINT64_C(1) << page);
            held += PAGE;
        }
    }
    for (size_t page = 0; page < size / PAGE; page++)
        if (!(t->gone >> page & 1))
            memset(t->p + page * PAGE, t->mark, PAGE);
    for (uint32_t i = 0; i + 1 < taken_count; i++)
        CHECK(taken[i].p + taken[i].size <= t->p || t->p + size <= taken[i].p);
}

static void give(uint32_t i)
{
    struct taken *t = &taken[i];
    size_t less;

    for (size_t page = 0; page < t->size / PAGE; page++)
        if (!(t->gone >> page & 1))
            CHECK(t->p[page * PAGE] == t->mark && t->p[page * PAGE + PAGE - 1] == t->mark);
    less = lsm_posix_region_give(&regions, t->p, t->size, t->gone);
    CHECK(less <= held);
    held -= less;
    taken[i] = taken[--taken_count];
}

static size_t in_use(void)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < taken_count; i++)
        bytes += taken[i].size - (size_t)__builtin_popcountll(taken[i].gone) * PAGE;
    return bytes;
}

TEST(os_posix_regions_give_each_unit_once_and_count_what_is_there)
{
    lsm_posix_regions_init(&regions);
    for (int step = 0; step < 6000; step++) {
        uint32_t wave = step / 500 % 2 ? 10 : 4;        /* it grows, and shrinks */
        if (taken_count < TAKEN_MAX && test_below(14) >= wave)
            take(test_below(3) ? LSM_POSIX_UNIT : 4 * LSM_POSIX_UNIT);
        else if (taken_count)
            give(test_below(taken_count));
        if (test_below(200) == 0)
            held -= lsm_posix_regions_trim(&regions);
        CHECK(held >= in_use());
        CHECK(regions.idle * LSM_POSIX_UNIT <= held - in_use());
    }
    while (taken_count)
        give(taken_count - 1);
    CHECK(held <= LSM_POSIX_HUGE + PAGE);       /* one for the next */
    held -= lsm_posix_regions_trim(&regions);
    CHECK_INT(held, 0);
    CHECK_INT(regions.count, 0);
    CHECK_INT(regions.used, 0);
    CHECK_INT(regions.idle, 0);
    lsm_posix_regions_clear(&regions);
}

/* What a cache leaves behind in many regions is filled again before ever more addresses are taken. */
TEST(os_posix_regions_that_are_nearly_empty_are_filled_again)
{
    enum { UNITS = 32, REGIONS = 80, AGAIN = 200 };
    static uint8_t *unit[UNITS * REGIONS], *again[AGAIN];
    uint64_t gone;
    size_t more;

    lsm_posix_regions_init(&regions);
    for (uint32_t i = 0; i < UNITS * REGIONS; i++)
        unit[i] = lsm_posix_region_take(&regions, LSM_POSIX_UNIT, &gone, &more);
    CHECK_INT(regions.count, REGIONS);
    for (uint32_t i = 0; i < UNITS * REGIONS; i++)
        if (i % UNITS)
            lsm_posix_region_give(&regions, unit[i], LSM_POSIX_UNIT, 0);
    lsm_posix_regions_trim(&regions);           /* all are split now */
    for (uint32_t i = 0; i < AGAIN; i++) {
        again[i] = lsm_posix_region_take(&regions, LSM_POSIX_UNIT, &gone, &more);
        CHECK(again[i] != NULL);
    }
    CHECK_INT(regions.count, REGIONS);
    for (uint32_t i = 0; i < AGAIN; i++)
        lsm_posix_region_give(&regions, again[i], LSM_POSIX_UNIT, 0);
    for (uint32_t i = 0; i < UNITS * REGIONS; i += UNITS)
        lsm_posix_region_give(&regions, unit[i], LSM_POSIX_UNIT, 0);
    lsm_posix_regions_trim(&regions);
    CHECK_INT(regions.count, 0);
    lsm_posix_regions_clear(&regions);
}

/* Whole again only as a new one: the last that is free would stay in small pages for ever. */
TEST(os_posix_region_that_was_split_is_not_kept)
{
    uint64_t gone;
    size_t more;
    uint8_t *p;

    lsm_posix_regions_init(&regions);
    p = lsm_posix_region_take(&regions, LSM_POSIX_UNIT, &gone, &more);
    lsm_posix_region_give(&regions, p, LSM_POSIX_UNIT, 0);
    CHECK_INT(regions.count, 1);
    p = lsm_posix_region_take(&regions, LSM_POSIX_UNIT, &gone, &more);
    CHECK_INT(more, 0);
    lsm_posix_region_split(p);                  /* its pages went, and came back */
    CHECK_INT(lsm_posix_region_give(&regions, p, LSM_POSIX_UNIT, 0), LSM_POSIX_HUGE + PAGE);
    CHECK_INT(regions.count, 0);
    lsm_posix_regions_clear(&regions);
}

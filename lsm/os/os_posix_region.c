/* os_posix_region.c -- see os_posix_region.h. */
#define _GNU_SOURCE
#include "lsm/os/os_posix_region.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define UNITS 32u
#define PAGES_OF_UNIT ((uint32_t)(LSM_POSIX_UNIT / PAGE))
#define GROWTH 16u                      /* units: half a huge page */
#define SPARSE 8u                       /* regions of which less than an eighth is in use are filled again */
#define SPARSE_FROM 64u                 /* from this count on */
#define IDLE_MAX 16u                    /* free units that stay: 1 MiB */

struct lsm_posix_region {
    struct lsm_posix_region *next, *prev;
    uint32_t free, gone;                /* units; gone: free, and not there */
    atomic_bool is_split;
};

_Static_assert(LSM_POSIX_HUGE / LSM_POSIX_UNIT == UNITS, "a word has a bit for each unit");

void *lsm_posix_map_huge(void)
{
    size_t size = PAGE + 2 * LSM_POSIX_HUGE;
    uint8_t *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p, *end;

    if (all == MAP_FAILED)
        return NULL;
    p = (uint8_t *)(((uintptr_t)all + PAGE + LSM_POSIX_HUGE - 1) / LSM_POSIX_HUGE * LSM_POSIX_HUGE) - PAGE;
    end = p + PAGE + LSM_POSIX_HUGE;
    if (p > all)
        munmap(all, (size_t)(p - all));
    if (all + size > end)
        munmap(end, (size_t)(all + size - end));
#ifdef MADV_HUGEPAGE
    madvise(p + PAGE, LSM_POSIX_HUGE, MADV_HUGEPAGE);
#endif
    return p;
}

static struct lsm_posix_region *region_of(const void *p)
{
    return (void *)((uintptr_t)p / LSM_POSIX_HUGE * LSM_POSIX_HUGE - PAGE);
}

static uint8_t *unit_at(struct lsm_posix_region *region, uint32_t unit)
{
    return (uint8_t *)region + PAGE + unit * LSM_POSIX_UNIT;
}

static uint32_t unit_bits(uint32_t first, uint32_t count)
{
    return (uint32_t)((UINT64_C(1) << count) - 1) << first;
}

static void open_region(struct lsm_posix_regions *r, struct lsm_posix_region *region)
{
    region->prev = NULL;
    region->next = r->open;
    if (r->open)
        r->open->prev = region;
    r->open = region;
}

static void close_region(struct lsm_posix_regions *r, struct lsm_posix_region *region)
{
    if (region->prev)
        region->prev->next = region->next;
    else
        r->open = region->next;
    if (region->next)
        region->next->prev = region->prev;
}

/* All of it is free, and it is in no list. */
static size_t unmap_region(struct lsm_posix_regions *r, struct lsm_posix_region *region)
{
    uint32_t there = UNITS - (uint32_t)__builtin_popcount(region->gone);

    assert(region->free == UINT32_MAX && r->idle >= there);
    r->idle -= there;
    r->count--;
    munmap(region, PAGE + LSM_POSIX_HUGE);
    return PAGE + there * LSM_POSIX_UNIT;
}

void lsm_posix_regions_init(struct lsm_posix_regions *r)
{
    pthread_mutex_init(&r->mutex, NULL);
    r->open = NULL;
    r->idle = r->used = r->used_low = r->count = 0;
}

void lsm_posix_regions_clear(struct lsm_posix_regions *r)
{
    assert(!r->open);
    pthread_mutex_destroy(&r->mutex);
}

void lsm_posix_region_split(void *p)
{
    struct lsm_posix_region *region = region_of(p);

    /* Else the kernel may take what is left for a huge page's worth, and fill it up. */
#ifdef MADV_NOHUGEPAGE
    if (!atomic_exchange(&region->is_split, true))
        madvise(unit_at(region, 0), LSM_POSIX_HUGE, MADV_NOHUGEPAGE);
#else
    (void)region;
#endif
}

/* `count` free units side by side, at a multiple of it; UNITS: there are none. */
static uint32_t find_units(const struct lsm_posix_region *region, uint32_t count)
{
    uint32_t unit = 0;

    while (unit < UNITS && (region->free & unit_bits(unit, count)) != unit_bits(unit, count))
        unit += count;
    return unit;
}

static struct lsm_posix_region *find_region(struct lsm_posix_regions *r, uint32_t count, uint32_t *unit,
                                            size_t *held)
{
    struct lsm_posix_region *region, *split = NULL;
    uint32_t unit_split = 0;

    for (region = r->open; region; region = region->next)
        if ((*unit = find_units(region, count)) < UNITS) {
            if (!atomic_load(&region->is_split))
                return region;
            split = region;
            unit_split = *unit;
        }
    /* What is left of a split one has small pages: rather a new one, when more and more is taken, but not where
       the same comes and goes, since all of a huge page is made zero; nor while addresses are wasted. */
    region = split && (r->used - r->used_low < GROWTH ||
                       (r->count > SPARSE_FROM && r->used < r->count * (UNITS / SPARSE)))
                 ? NULL : lsm_posix_map_huge();
    if (!region) {
        *unit = unit_split;
        return split;
    }
    region->free = UINT32_MAX;
    region->gone = 0;                   /* all of a huge page is there from the first touch on */
    atomic_init(&region->is_split, false);
    open_region(r, region);
    r->count++;
    r->idle += UNITS;
    r->used_low = r->used;
    *held += PAGE + LSM_POSIX_HUGE;
    *unit = 0;
    return region;
}

void *lsm_posix_region_take(struct lsm_posix_regions *r, size_t size, uint64_t *gone, size_t *held)
{
    uint32_t count = (uint32_t)(size / LSM_POSIX_UNIT), unit;
    struct lsm_posix_region *region;

    assert(count == 1 || count == 4);
    *gone = 0;
    *held = 0;
    pthread_mutex_lock(&r->mutex);
    region = find_region(r, count, &unit, held);
    if (region) {
        region->free &= ~unit_bits(unit, count);
        r->used += count;
        for (uint32_t i = 0; i < count; i++) {
            if (region->gone >> (unit + i) & 1)
                *gone |= ((UINT64_C(1) << PAGES_OF_UNIT) - 1) << i * PAGES_OF_UNIT;
            else
                r->idle--;
        }
        region->gone &= ~unit_bits(unit, count);
        if (!region->free)
            close_region(r, region);
    }
    pthread_mutex_unlock(&r->mutex);
    return region ? unit_at(region, unit) : NULL;
}

/* A free unit to the kernel, of which `pages` are there. */
static size_t give_back(struct lsm_posix_region *region, uint32_t unit, uint32_t pages)
{
    lsm_posix_region_split(unit_at(region, unit));
    if (madvise(unit_at(region, unit), LSM_POSIX_UNIT, MADV_DONTNEED))
        return 0;                       /* stays, and stays counted */
    region->gone |= unit_bits(unit, 1);
    return pages * PAGE;
}

size_t lsm_posix_region_give(struct lsm_posix_regions *r, void *p, size_t size, uint64_t gone)
{
    struct lsm_posix_region *region = region_of(p);
    uint32_t count = (uint32_t)(size / LSM_POSIX_UNIT);
    uint32_t first = (uint32_t)((size_t)((uint8_t *)p - unit_at(region, 0)) / LSM_POSIX_UNIT);
    size_t held = 0;

    pthread_mutex_lock(&r->mutex);
    assert((region->free & unit_bits(first, count)) == 0);
    if (!region->free)
        open_region(r, region);
    region->free |= unit_bits(first, count);
    r->used -= count;
    if (r->used_low > r->used)
        r->used_low = r->used;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t of_unit = gone >> i * PAGES_OF_UNIT & ((UINT64_C(1) << PAGES_OF_UNIT) - 1);
        uint32_t there = PAGES_OF_UNIT - (uint32_t)__builtin_popcountll(of_unit);
        if (there == 0)
            region->gone |= unit_bits(first + i, 1);
        else if (there < PAGES_OF_UNIT || (r->idle >= IDLE_MAX && region->free != UINT32_MAX))
            held += give_back(region, first + i, there);
        if (!(region->gone >> (first + i) & 1))
            r->idle++;
    }
    /* One that is whole stays for the next: a cache that stands at its border would map it again and again. */
    if (region->free == UINT32_MAX && (atomic_load(&region->is_split) || r->open != region || region->next)) {
        close_region(r, region);
        held += unmap_region(r, region);
    }
    pthread_mutex_unlock(&r->mutex);
    return held;
}

size_t lsm_posix_regions_trim(struct lsm_posix_regions *r)
{
    size_t held = 0;

    pthread_mutex_lock(&r->mutex);
    for (struct lsm_posix_region *region = r->open, *next; region; region = next) {
        uint32_t there = region->free & ~region->gone;
        next = region->next;
        if (region->free == UINT32_MAX) {
            close_region(r, region);
            held += unmap_region(r, region);
            continue;
        }
        for (; there; there &= there - 1) {
            size_t more = give_back(region, (uint32_t)__builtin_ctz(there), PAGES_OF_UNIT);
            held += more;
            r->idle -= more != 0;
        }
    }
    pthread_mutex_unlock(&r->mutex);
    return held;
}

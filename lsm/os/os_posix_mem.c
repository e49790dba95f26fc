/*
 * os_posix_mem.c -- see os_posix_mem.h. Each block has a head of sixteen bytes
 * that says how much room it takes and where that came from.
 *
 *     span   | slot | slot | free | slot | free | free | slot |   |
 *     page   |    |    |    |    |    |    |    |    |    |    |    |
 *                          ^^^^             ^^^^^^^^^ whole pages of free slots: trim
 *
 * What is said about a span stands outside of it, so that the pages of free
 * slots can go. `gone` has a bit for each page that the kernel has (again): of a
 * fresh span all; `held` counts the others.
 */
#define _GNU_SOURCE
#include "lsm/os/os_posix_mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLOT_FROM SIZE_MAX              /* let the sanitizer see every block */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOT_FROM SIZE_MAX
#endif
#endif
#ifndef SLOT_FROM
#define SLOT_FROM ((size_t)1025)        /* with the head; below: malloc */
#endif
#define SLOT_MAX ((size_t)64 << 10)
#define SMALL_SLOT_MAX ((size_t)8 << 10)
#define SMALL_SPAN ((size_t)64 << 10)   /* of slots up to SMALL_SLOT_MAX */
#define LARGE_SPAN ((size_t)256 << 10)
#define PAGE ((size_t)4096)
#define SLOTS_MAX 64u                   /* SMALL_SPAN / 1 KiB */
#define SMALL_CHUNK (((size_t)256 << 10) + PAGE)
#define CHUNK (LSM_POSIX_HUGE + PAGE)   /* an arena's chunk, and a page for its head */

enum { FROM_MALLOC = 0, FROM_MAP = 1 }; /* else a span */

struct head {
    size_t size;                        /* of the room, with the head */
    uintptr_t from;
};

struct lsm_posix_span {
    struct lsm_posix_span *next, *prev; /* in its class's list, when it has a free slot */
    uint8_t *base;
    size_t size, slot_size;
    uint32_t class_index, slot_count;
    bool in_region;                     /* else a mapping of its own */
    uint64_t free;                      /* slots */
    uint64_t gone;                      /* pages */
};

_Static_assert(sizeof(struct head) == 16, "what follows is aligned as malloc's blocks are");
_Static_assert(SMALL_SPAN / 1024 <= SLOTS_MAX && LARGE_SPAN / SMALL_SLOT_MAX <= SLOTS_MAX,
               "a word has a bit for each slot");
_Static_assert(SMALL_SPAN == LSM_POSIX_UNIT && LARGE_SPAN == 4 * LSM_POSIX_UNIT, "a span is units");
_Static_assert(LARGE_SPAN / PAGE <= 64, "a word has a bit for each page");

static struct head *head_of(void *p)
{
    return (struct head *)p - 1;
}

static void add(_Atomic uint64_t *count, uint64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static void subtract(_Atomic uint64_t *count, uint64_t less)
{
    atomic_fetch_sub_explicit(count, less, memory_order_relaxed);
}

/* ---- mappings ---- */

/* The chunks of a memtable that was flushed go to the next one: a page that is new costs its writer 0.7 us,
   30 % of a put of 64 KiB. Seven MiB of them: with 28 a process of 64 MiB came to 83. */
static struct lsm_posix_spare *spare_of(struct lsm_posix_mem *m, size_t size, uint32_t *max)
{
    static const struct { size_t size; uint32_t max; } kinds[LSM_POSIX_SPARE_KINDS] = {
        { SMALL_SPAN, 8 }, { LARGE_SPAN, 2 }, { SMALL_CHUNK, 4 }, { CHUNK, 3 },
    };

    for (uint32_t i = 0; i < LSM_POSIX_SPARE_KINDS; i++)
        if (kinds[i].size == size) {
            *max = kinds[i].max;
            return &m->spare[i];
        }
    return NULL;
}

static void *map_pages(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void *map_fresh(size_t size)
{
    /* A chunk comes by one fault instead of 512: 5 % of the time of an insert. */
    return size == CHUNK ? lsm_posix_map_huge() : map_pages(size);
}

/* *is_spare: its pages are there, and counted. */
static void *map(struct lsm_posix_mem *m, size_t size, bool *is_spare)
{
    uint32_t max;
    struct lsm_posix_spare *spare = spare_of(m, size, &max);
    void *p = NULL;

    if (spare) {
        pthread_mutex_lock(&m->mutex);
        if (spare->count)
            p = spare->at[--spare->count];
        pthread_mutex_unlock(&m->mutex);
    }
    *is_spare = p != NULL;
    return p ? p : map_fresh(size);
}

/* `there` bytes of it are counted as held. Spare ones must be there completely. */
static void unmap(struct lsm_posix_mem *m, void *p, size_t size, size_t there)
{
    uint32_t max;
    struct lsm_posix_spare *spare = there == size ? spare_of(m, size, &max) : NULL;
    bool kept = false;

    if (spare) {
        pthread_mutex_lock(&m->mutex);
        kept = spare->count < max;
        if (kept)
            spare->at[spare->count++] = p;
        pthread_mutex_unlock(&m->mutex);
    }
    if (kept)
        return;
    munmap(p, size);
    subtract(&m->held, there);
}

static void unmap_spare(struct lsm_posix_mem *m)
{
    static const size_t size[LSM_POSIX_SPARE_KINDS] = { SMALL_SPAN, LARGE_SPAN, SMALL_CHUNK, CHUNK };

    pthread_mutex_lock(&m->mutex);
    for (uint32_t i = 0; i < LSM_POSIX_SPARE_KINDS; i++)
        while (m->spare[i].count) {
            munmap(m->spare[i].at[--m->spare[i].count], size[i]);
            subtract(&m->held, size[i]);
        }
    pthread_mutex_unlock(&m->mutex);
}

/* ---- spans ---- */

/* Sixteen sizes to a doubling for blocks of rows, of which there are many: a slot is 3 % larger than
   what it holds. Above, eight: each size may have a span of its own that is nearly empty. */
static uint32_t class_of(size_t size, size_t *slot_size)
{
    uint32_t k = 63 - (uint32_t)__builtin_clzll(size - 1);      /* 10 .. 15 */
    uint32_t fine = size <= SMALL_SLOT_MAX ? 4 : 3, first = 1u << fine;
    size_t step = (size_t)1 << (k - fine), steps = (size - 1) / step;   /* first .. 2 first - 1 */

    assert(size >= SLOT_FROM && size <= SLOT_MAX);
    *slot_size = (steps + 1) * step;
    return (size <= SMALL_SLOT_MAX ? k - 10 : k - 10 + 3) * first + (uint32_t)steps - first;
}

static uint64_t bits(uint32_t from, uint32_t to)        /* [from, to), not empty */
{
    return (UINT64_MAX >> (64 - (to - from))) << from;
}

static void open_span(struct lsm_posix_mem_class *c, struct lsm_posix_span *span)
{
    span->prev = NULL;
    span->next = c->open;
    if (c->open)
        c->open->prev = span;
    c->open = span;
}

static void close_span(struct lsm_posix_mem_class *c, struct lsm_posix_span *span)
{
    if (span->prev)
        span->prev->next = span->next;
    else
        c->open = span->next;
    if (span->next)
        span->next->prev = span->prev;
}

/* Where a span's slots are. *gone: as span->gone. */
static void *map_span(struct lsm_posix_mem *m, size_t size, bool *in_region, uint64_t *gone)
{
    bool is_spare;
    size_t held;
    void *base;

    *in_region = atomic_fetch_add_explicit(&m->single, size, memory_order_relaxed) >= m->single_max;
    if (*in_region) {
        subtract(&m->single, size);
        base = lsm_posix_region_take(&m->regions, size, gone, &held);
        add(&m->held, held);
    } else {
        base = map(m, size, &is_spare);
        if (!base)
            subtract(&m->single, size);
        *gone = is_spare ? 0 : bits(0, (uint32_t)(size / PAGE));
    }
    return base;
}

static struct lsm_posix_span *new_span(struct lsm_posix_mem *m, uint32_t class_index, size_t slot_size)
{
    struct lsm_posix_span *span = malloc(sizeof *span);
    size_t size = slot_size <= SMALL_SLOT_MAX ? SMALL_SPAN : LARGE_SPAN;

    if (!span)
        return NULL;
    *span = (struct lsm_posix_span){ .size = size, .slot_size = slot_size, .class_index = class_index,
                                     .slot_count = (uint32_t)(size / slot_size) };
    span->free = bits(0, span->slot_count);
    span->base = map_span(m, size, &span->in_region, &span->gone);
    if (!span->base) {
        free(span);
        return NULL;
    }
    return span;
}

static void free_span(struct lsm_posix_mem *m, struct lsm_posix_span *span)
{
    size_t gone = (size_t)__builtin_popcountll(span->gone) * PAGE;

    if (span->in_region) {
        subtract(&m->held, lsm_posix_region_give(&m->regions, span->base, span->size, span->gone));
    } else {
        unmap(m, span->base, span->size, span->size - gone);
        subtract(&m->single, span->size);
    }
    free(span);
}

static struct head *take_slot(struct lsm_posix_mem *m, size_t size)
{
    size_t slot_size, at;
    uint32_t class_index = class_of(size, &slot_size), slot;
    struct lsm_posix_mem_class *c = &m->classes[class_index];
    struct lsm_posix_span *span;
    struct head *head = NULL;

    pthread_mutex_lock(&c->mutex);
    span = c->open;
    if (!span) {
        span = new_span(m, class_index, slot_size);
        if (span)
            open_span(c, span);
    }
    if (span) {
        slot = (uint32_t)__builtin_ctzll(span->free);
        at = slot * slot_size;
        span->free &= span->free - 1;
        if (span->free == 0)
            close_span(c, span);
        if (span->gone) {
            uint64_t pages = bits((uint32_t)(at / PAGE), (uint32_t)((at + slot_size - 1) / PAGE) + 1);
            uint64_t back = span->gone & pages;
            if (back) {
                span->gone &= ~pages;
                add(&m->held, (uint64_t)__builtin_popcountll(back) * PAGE);
            }
        }
        head = (void *)(span->base + at);
        *head = (struct head){ slot_size, (uintptr_t)span };
    }
    pthread_mutex_unlock(&c->mutex);
    return head;
}

static void give_slot(struct lsm_posix_mem *m, struct head *head)
{
    struct lsm_posix_span *span = (void *)head->from;
    struct lsm_posix_mem_class *c = &m->classes[span->class_index];
    uint32_t slot = (uint32_t)((size_t)((uint8_t *)head - span->base) / span->slot_size);
    bool is_empty;

    pthread_mutex_lock(&c->mutex);
    assert(!(span->free >> slot & 1));
    if (span->free == 0)
        open_span(c, span);
    span->free |= UINT64_C(1) << slot;
    is_empty = span->free == bits(0, span->slot_count) && (c->open != span || span->next);
    if (is_empty)                       /* not the last open one: it would be wanted again at once */
        close_span(c, span);
    pthread_mutex_unlock(&c->mutex);
    if (is_empty)
        free_span(m, span);
}

static void trim_span(struct lsm_posix_mem *m, struct lsm_posix_span *span)
{
    uint32_t slot = 0;

    while (slot < span->slot_count) {
        uint32_t end = slot, from, to;
        uint64_t pages;
        while (end < span->slot_count && span->free >> end & 1)
            end++;
        if (end == slot) {
            slot++;
            continue;
        }
        from = (uint32_t)((slot * span->slot_size + PAGE - 1) / PAGE);
        to = (uint32_t)((end == span->slot_count ? span->size : end * span->slot_size) / PAGE);
        slot = end;
        if (from >= to)
            continue;
        pages = bits(from, to) & ~span->gone;
        if (pages && span->in_region)
            lsm_posix_region_split(span->base);
        if (pages && madvise(span->base + from * PAGE, (to - from) * PAGE, MADV_DONTNEED) == 0) {
            span->gone |= pages;
            subtract(&m->held, (uint64_t)__builtin_popcountll(pages) * PAGE);
        }
    }
}

void lsm_posix_mem_trim(struct lsm_posix_mem *m)
{
    for (uint32_t i = 0; i < LSM_POSIX_MEM_CLASSES; i++) {
        struct lsm_posix_mem_class *c = &m->classes[i];
        struct lsm_posix_span *empty = NULL;

        pthread_mutex_lock(&c->mutex);
        for (struct lsm_posix_span *span = c->open, *next; span; span = next) {
            next = span->next;
            if (span->free == bits(0, span->slot_count)) {
                close_span(c, span);
                span->next = empty;
                empty = span;
            } else {
                trim_span(m, span);
            }
        }
        pthread_mutex_unlock(&c->mutex);
        while (empty) {
            struct lsm_posix_span *span = empty;
            empty = span->next;
            free_span(m, span);
        }
    }
    unmap_spare(m);
    subtract(&m->held, lsm_posix_regions_trim(&m->regions));
}

void lsm_posix_mem_init(struct lsm_posix_mem *m)
{
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < LSM_POSIX_MEM_CLASSES; i++)
        pthread_mutex_init(&m->classes[i].mutex, NULL);
    pthread_mutex_init(&m->mutex, NULL);
    lsm_posix_regions_init(&m->regions);
    atomic_init(&m->single_max, UINT64_MAX);
}

/* The newest region may be nearly empty, and what is left over in the others goes back in small pages: that
   must not be much beside the rest. */
#define BUDGET_FOR_REGIONS (UINT64_C(32) << 20)

void lsm_posix_mem_budget(struct lsm_posix_mem *m, uint64_t bytes)
{
    atomic_store(&m->single_max, bytes < BUDGET_FOR_REGIONS ? UINT64_MAX : LSM_POSIX_HUGE);
}

void lsm_posix_mem_clear(struct lsm_posix_mem *m)
{
    lsm_posix_mem_trim(m);
    for (uint32_t i = 0; i < LSM_POSIX_MEM_CLASSES; i++)
        pthread_mutex_destroy(&m->classes[i].mutex);
    pthread_mutex_destroy(&m->mutex);
    lsm_posix_regions_clear(&m->regions);
}

/* ---- blocks ---- */

static struct head *take_mapped(struct lsm_posix_mem *m, size_t size)
{
    bool is_spare;
    struct head *head;

    size = (size + PAGE - 1) / PAGE * PAGE;
    head = map(m, size, &is_spare);
    if (!head)
        return NULL;
    if (!is_spare)
        add(&m->held, size);
    *head = (struct head){ size, FROM_MAP };
    return head;
}

/* A huge page takes 0.2 to 0.4 ms to be made zero. */
void lsm_posix_mem_ready(struct lsm_posix_mem *m, size_t size)
{
    struct lsm_posix_spare *spare;
    uint32_t max, count;
    uint8_t *p;

    if (size > SIZE_MAX / 2 || size < SLOT_FROM)
        return;
    size = (size + sizeof(struct head) + PAGE - 1) / PAGE * PAGE;
    spare = size > SLOT_MAX ? spare_of(m, size, &max) : NULL;
    if (!spare)
        return;
    pthread_mutex_lock(&m->mutex);
    count = spare->count;
    pthread_mutex_unlock(&m->mutex);
    p = count ? NULL : map_fresh(size);
    if (!p)
        return;
    for (size_t at = 0; at < size; at += PAGE)
        *(volatile uint8_t *)(p + at) = 0;
    add(&m->held, size);
    unmap(m, p, size, size);
}

void *lsm_posix_mem_alloc(struct lsm_posix_mem *m, size_t size)
{
    struct head *head;

    if (size > SIZE_MAX / 2)
        return NULL;
    size += sizeof *head;
    if (size < SLOT_FROM) {
        head = malloc(size);
        if (head) {
            *head = (struct head){ size, FROM_MALLOC };
            add(&m->held, size);
        }
    } else if (size <= SLOT_MAX) {
        head = take_slot(m, size);
    } else {
        head = take_mapped(m, size);
    }
    if (!head)
        return NULL;
    add(&m->used, head->size);
    return head + 1;
}

void lsm_posix_mem_free(struct lsm_posix_mem *m, void *p)
{
    struct head *head;

    if (!p)
        return;
    head = head_of(p);
    subtract(&m->used, head->size);
    if (head->from == FROM_MALLOC) {
        subtract(&m->held, head->size);
        free(head);
    } else if (head->from == FROM_MAP) {
        unmap(m, head, head->size, head->size);
    } else {
        give_slot(m, head);
    }
}

/* The thread sanitizer does not see that mremap gives an address back, and takes its next owner for
   an intruder. */
#if defined(__SANITIZE_THREAD__)
#define UNSEEN_MREMAP true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNSEEN_MREMAP true
#endif
#endif
#ifndef UNSEEN_MREMAP
#define UNSEEN_MREMAP false
#endif

/* The same block with another size, without a copy of ours; NULL: it must be copied. */
static struct head *resize(struct head *head, size_t size)
{
    struct head *moved;

    if (head->from == FROM_MALLOC && size < SLOT_FROM) {
        moved = realloc(head, size);
        if (moved)
            moved->size = size;
        return moved;
    }
    if (head->from == FROM_MAP && size > SLOT_MAX && !UNSEEN_MREMAP) {
        size = (size + PAGE - 1) / PAGE * PAGE;
        moved = mremap(head, head->size, size, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED)
            return NULL;
        moved->size = size;
        return moved;
    }
    if (head->from > FROM_MAP && size <= head->size && size > head->size / 2)
        return head;
    return NULL;
}

void *lsm_posix_mem_realloc(struct lsm_posix_mem *m, void *p, size_t size)
{
    struct head *head;
    size_t before;
    void *q;

    if (!p)
        return lsm_posix_mem_alloc(m, size);
    if (size > SIZE_MAX / 2)
        return NULL;
    before = head_of(p)->size;
    head = resize(head_of(p), size + sizeof *head);
    if (head) {
        if (head->from <= FROM_MAP) {
            add(&m->used, head->size - before);
            add(&m->held, head->size - before);
        }
        return head + 1;
    }
    q = lsm_posix_mem_alloc(m, size);
    if (!q)
        return NULL;
    before -= sizeof *head;
    memcpy(q, p, before < size ? before : size);
    lsm_posix_mem_free(m, p);
    return q;
}

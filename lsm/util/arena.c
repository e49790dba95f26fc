/*
 * arena.c -- chunks that never move, and a bump pointer in one of them.
 *
 *     chunks[]   0: 16K   1: 64K   2: 256K   3: 256K   4: 256K   5,6,7: one of 2.5M   8,9: 2M ...
 *                                                        ^at..end             (large, exact)
 *
 * Each block of memory begins with its head, ahead of the first chunk's first
 * byte, which lies on a cache line. A large allocation gets a block of its own
 * and leaves the room in the chunk before it in use.
 *
 * After a reset chunk_count is 0 and the small chunks are still in chunks[],
 * waiting for their numbers to come up again.
 */
#include <assert.h>
#include <string.h>

#include "lsm/util/arena.h"

#define LINE 64u                /* alignment of a chunk, and the most one can ask for */
#define CHUNKS_SMALL 3u
#define SMALL_MAX (256u << 10)  /* the largest of them, and what a reset keeps */
#define SMALL_UP_TO (4u << 20)  /* bytes in all */
#define LARGE (2u << 20)        /* from then on: a huge page of most processors */
#define OWN_MIN (256u << 10)    /* above: a block of its own, or the room left would be lost */

struct block_head {
    void *memory;               /* what the allocator gave */
    size_t size;                /* bytes for allocations */
};

_Static_assert(sizeof(struct block_head) <= LINE, "the head fits in the line before");

static struct block_head *head_of(uint8_t *chunk)
{
    return (struct block_head *)(void *)(chunk - LINE);
}

static size_t align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* Chunk numbers that a block of `size` bytes takes. */
static uint32_t chunks_for(size_t size)
{
    return (uint32_t)(align_up(size, LSM_ARENA_CHUNK) >> LSM_ARENA_SHIFT);
}

static size_t block_memory(size_t size)
{
    return size + 2 * (size_t)LINE;         /* the head's line, and to reach a line */
}

static void check_arena(const struct lsm_arena *a)
{
    assert(a->at <= a->end);
    assert(a->chunk_count < LSM_ARENA_CHUNKS_MAX);
    if (a->chunk_count)
        assert(a->chunks);
    if (a->end)
        assert((a->end - 1) >> LSM_ARENA_SHIFT < a->chunk_count);
    (void)a;
}

static void free_block(struct lsm_arena *a, uint32_t chunk)
{
    struct block_head *head = head_of(a->chunks[chunk]);
    uint32_t count = chunks_for(head->size);

    a->size_bytes -= block_memory(head->size);
    lsm_mem_free(a->os, head->memory);
    memset(a->chunks + chunk, 0, count * sizeof(a->chunks[0]));
}

/* Put a block of `size` bytes at `chunk` and the numbers after it. */
static bool add_block(struct lsm_arena *a, uint32_t chunk, size_t size)
{
    uint8_t *memory = lsm_mem_alloc(a->os, block_memory(size));
    uint8_t *first;

    if (!memory)
        return false;
    first = memory + align_up((uintptr_t)memory + LINE, LINE) - (uintptr_t)memory;
    *head_of(first) = (struct block_head){ memory, size };
    for (uint32_t i = 0; i < chunks_for(size); i++)
        a->chunks[chunk + i] = first + ((size_t)i << LSM_ARENA_SHIFT);
    a->size_bytes += block_memory(size);
    return true;
}

/* Give the next chunk numbers to a block of at least `size` bytes, a kept one if it does. */
static bool take_block(struct lsm_arena *a, size_t size)
{
    uint32_t chunk = a->chunk_count;

    if (chunks_for(size) >= LSM_ARENA_CHUNKS_MAX - chunk)
        return false;                       /* the last number stays free: `end` fits 32 bits */
    if (!a->chunks) {
        a->chunks = lsm_mem_zalloc(a->os, LSM_ARENA_CHUNKS_MAX * sizeof(a->chunks[0]));
        if (!a->chunks)
            return false;
        a->size_bytes += LSM_ARENA_CHUNKS_MAX * sizeof(a->chunks[0]);
    }

    if (a->chunks[chunk] && head_of(a->chunks[chunk])->size < size)
        free_block(a, chunk);
    for (uint32_t i = 1; i < chunks_for(size); i++)
        if (a->chunks[chunk + i])           /* kept, where a large one goes now */
            free_block(a, chunk + i);
    if (!a->chunks[chunk] && !add_block(a, chunk, size))
        return false;
    a->chunk_count += chunks_for(size);
    return true;
}

/* The usual size of the next block. */
static size_t next_block(const struct lsm_arena *a)
{
    static const size_t small[CHUNKS_SMALL] = { 16u << 10, 64u << 10, SMALL_MAX };

    return a->chunk_count < CHUNKS_SMALL ? small[a->chunk_count] : a->size_bytes < SMALL_UP_TO ? SMALL_MAX : LARGE;
}

size_t lsm_arena_next_memory(const struct lsm_arena *a)
{
    return a->chunks && a->chunks[a->chunk_count] ? 0 : block_memory(next_block(a));
}

/* Make the next chunk the one with room, at least for `size` bytes. */
static bool open_chunk(struct lsm_arena *a, size_t size)
{
    uint32_t chunk = a->chunk_count;
    size_t block = next_block(a);

    while (block < size + LINE)             /* chunk 0 gives its first line away */
        block *= 4;
    if (!take_block(a, block))
        return false;
    a->at = chunk << LSM_ARENA_SHIFT;
    a->end = a->at + (uint32_t)head_of(a->chunks[chunk])->size;
    if (a->at == 0)
        a->at = LINE;                       /* offset 0 is never handed out */
    return true;
}

void lsm_arena_init(struct lsm_arena *a, struct lsm_os *os)
{
    *a = (struct lsm_arena){ .os = os };
}

void lsm_arena_clear(struct lsm_arena *a)
{
    lsm_arena_reset(a);
    for (uint32_t i = 0; a->chunks && i < CHUNKS_SMALL; i++)
        if (a->chunks[i])
            free_block(a, i);
    if (a->chunks)                          /* a zeroed arena has no os */
        lsm_mem_free(a->os, a->chunks);
    lsm_arena_init(a, a->os);
}

void lsm_arena_reset(struct lsm_arena *a)
{
    uint32_t i = 0;

    check_arena(a);
    while (i < a->chunk_count) {            /* from block to block: only those have heads */
        size_t size = head_of(a->chunks[i])->size;

        if (i >= CHUNKS_SMALL || size > SMALL_MAX)
            free_block(a, i);
        i += chunks_for(size);
    }
    a->chunk_count = 0;
    a->at = a->end = 0;
}

bool lsm_arena_reserve(struct lsm_arena *a, size_t size)
{
    assert(size <= LSM_ARENA_RESERVE_MAX);
    check_arena(a);
    return size <= a->end - a->at || open_chunk(a, size);
}

uint32_t lsm_arena_alloc(struct lsm_arena *a, size_t size, size_t align)
{
    size_t at;
    uint32_t chunk;

    assert(align > 0);
    assert(align <= LINE);
    assert((align & (align - 1)) == 0);
    check_arena(a);

    if (size == 0)
        size = 1;                           /* an offset always names a byte */
    if (size > UINT32_MAX)
        return 0;
    at = align_up(a->at, align);
    if (at + size > a->end) {
        bool own = size > OWN_MIN;

        if ((!own || a->chunk_count == 0) && !open_chunk(a, own ? 1 : size))
            return 0;
        if (own) {
            chunk = a->chunk_count;
            return take_block(a, size) ? chunk << LSM_ARENA_SHIFT : 0;
        }
        at = a->at;
    }
    a->at = (uint32_t)(at + size);
    return (uint32_t)at;
}

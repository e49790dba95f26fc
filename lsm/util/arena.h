/*
 * arena.h -- memory that only grows and is freed at once. Addresses never move;
 * a 32-bit offset names an allocation, so that structures in it hold offsets,
 * half a pointer's size and valid at any base.
 *
 *     offset := chunk:12  within:20        chunk i starts at chunks[i]
 *
 * The first chunks are small (16 KiB, 64 KiB, then 256 KiB up to 4 MiB in all) so
 * that a batch of one row costs little, and a small memtable leaves little unused;
 * from then on 2 MiB, a huge page. An allocation above 1 MiB takes as many
 * consecutive chunk numbers as it needs, contiguous in memory. Offset 0 is
 * never handed out. Below 4 GiB in all.
 *
 * Threads: one allocating thread; readers may resolve offsets that were
 * published to them with a release store.
 */
#ifndef LSM_UTIL_ARENA_H
#define LSM_UTIL_ARENA_H

#include <stdatomic.h>

#include "lsm/util/status.h"

#define LSM_ARENA_SHIFT 20
#define LSM_ARENA_CHUNK (1u << LSM_ARENA_SHIFT)
#define LSM_ARENA_CHUNKS_MAX 4096u

struct lsm_arena {
    struct lsm_os *os;
    uint8_t **chunks;           /* LSM_ARENA_CHUNKS_MAX entries, allocated with the first chunk */
    uint32_t chunk_count;       /* chunk numbers used */
    uint32_t at, end;           /* free room in the newest chunk, as offsets */
    uint64_t size_bytes;        /* memory held */
};

void lsm_arena_init(struct lsm_arena *a, struct lsm_os *os);
void lsm_arena_clear(struct lsm_arena *a);      /* frees all; usable again */
/* Forget all allocations but keep the small first chunks: for a batch used again. */
void lsm_arena_reset(struct lsm_arena *a);

/* `align` is a power of two up to 64. Returns the offset, or 0: no memory or 4 GiB are used. */
uint32_t lsm_arena_alloc(struct lsm_arena *a, size_t size, size_t align);

/* Will lsm_arena_alloc find room for so much, without asking for memory? As far as `size` goes it may go to the next
   chunk for that. At most LSM_ARENA_RESERVE_MAX. */
#define LSM_ARENA_RESERVE_MAX (192u << 10)
bool lsm_arena_reserve(struct lsm_arena *a, size_t size);

/* What the next chunk will ask the allocator for, bytes; 0: nothing. */
size_t lsm_arena_next_memory(const struct lsm_arena *a);

/* Memory held but for the room in the newest chunk: it grows with what is allocated, not by chunks. */
static inline uint64_t lsm_arena_used(const struct lsm_arena *a)
{
    return a->size_bytes - (a->end - a->at);
}

static inline uint8_t *lsm_arena_at(const struct lsm_arena *a, uint32_t off)
{
    return a->chunks[off >> LSM_ARENA_SHIFT] + (off & (LSM_ARENA_CHUNK - 1));
}

#endif

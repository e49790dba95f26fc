/*
 * cache.h -- blocks in memory, shared by all readers of a store: data blocks,
 * index partitions and filters, within one capacity.
 *
 * An entry is found by (file number, offset). Entries that are pinned are never
 * freed; the capacity may be passed by what is pinned, never by what is not.
 * Replacement is a clock with two queues: a cold block goes first, and is warm once it
 * was read again.
 *
 * Threads: any. Sharded; a hit takes no lock and writes to its own entry only.
 */
#ifndef LSM_STORE_CACHE_H
#define LSM_STORE_CACHE_H

#include "lsm/util/slice.h"
#include "lsm/util/status.h"

struct lsm_cache;
struct lsm_cache_entry {
    void *value;                /* what was inserted */
    /* the rest is the cache's */
};

int lsm_cache_new(struct lsm_os *os, uint64_t capacity_bytes, struct lsm_cache **cache);
void lsm_cache_free(struct lsm_cache *cache);           /* nothing may be pinned */
void lsm_cache_set_capacity(struct lsm_cache *cache, uint64_t capacity_bytes);
/* Insert fails with LSM_NOMEM rather than pass the capacity by more than this with what is pinned;
   UINT64_MAX, as at first: never. Before the first insert. */
void lsm_cache_set_overdraft(struct lsm_cache *cache, uint64_t bytes_max);
uint64_t lsm_cache_capacity(struct lsm_cache *cache);
uint64_t lsm_cache_used(struct lsm_cache *cache);       /* charges of all entries */

/* Pinned, or NULL. */
struct lsm_cache_entry *lsm_cache_lookup(struct lsm_cache *cache, uint64_t file, uint64_t off);
/* A lookup of this place will follow: ask for its memory. */
void lsm_cache_aim(struct lsm_cache *cache, uint64_t file, uint64_t off);
enum lsm_cache_place {
    LSM_CACHE_WARM,
    LSM_CACHE_COLD,             /* read once, by a scan */
    LSM_CACHE_PROBATION         /* cold if the cache is full and the place was not missed lately */
};
/*
 * Take ownership of `value` (free_value frees it, also on failure) and pin it.
 * If another thread was faster, its entry is pinned and `value` freed. Charged
 * are charge_bytes and the cache's own entry. LSM_NOMEM.
 */
int lsm_cache_insert(struct lsm_cache *cache, uint64_t file, uint64_t off, void *value,
                     uint64_t charge_bytes, void (*free_value)(void *value),
                     enum lsm_cache_place place, struct lsm_cache_entry **entry);
void lsm_cache_pin(struct lsm_cache *cache, struct lsm_cache_entry *entry);     /* once more */
void lsm_cache_unpin(struct lsm_cache *cache, struct lsm_cache_entry *entry);   /* NULL is fine */
/* Forget a file's blocks (those pinned: when they are unpinned). */
void lsm_cache_forget(struct lsm_cache *cache, uint64_t file);

struct lsm_cache_stats { uint64_t used_bytes, pinned_bytes, capacity_bytes, hits, misses, evictions, entries; };
void lsm_cache_stats(struct lsm_cache *cache, struct lsm_cache_stats *stats);

#endif

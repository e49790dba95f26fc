/*
 * memfilter.c -- six bits of one line, two each from three of its words.
 */
#include "lsm/store/memfilter.h"

#include <string.h>

#define LINE_BYTES 64u
#define LINE_WORDS 8u
#define WORDS 3u                /* of a key */

/* Where a key's bits stand: a line, and one word of it after the other, found as they are asked for. Mostly the
   first says no. */
struct place {
    uint32_t line;
    uint64_t rest;
};

static inline struct place place_of(const struct lsm_memfilter *f, uint32_t tree, uint64_t hash)
{
    uint64_t h = (hash ^ (uint64_t)tree * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);

    return (struct place){ (uint32_t)((h >> 32) * f->line_count >> 32), h * UINT64_C(0x9e3779b97f4a7c15) };
}

/* The next of its WORDS words, and the two bits in it. */
static inline _Atomic uint64_t *next_word(const struct lsm_memfilter *f, struct place *p, uint64_t *bits)
{
    uint64_t h = p->rest;

    p->rest <<= 15;
    *bits = UINT64_C(1) << (h >> 55 & 63) | UINT64_C(1) << (h >> 49 & 63);
    return &f->words[(size_t)p->line * LINE_WORDS + (h >> 61)];
}

int lsm_memfilter_init(struct lsm_memfilter *f, struct lsm_os *os, size_t bytes)
{
    uint32_t lines = (uint32_t)(bytes / LINE_BYTES);
    size_t size;

    if (lines == 0)
        lines = 1;
    size = (size_t)(lines + 1) * LINE_BYTES;
    f->os = os;
    f->memory = lsm_mem_zalloc(os, size);
    if (!f->memory)
        return lsm_nomem();
    f->words = (void *)(((uintptr_t)f->memory + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
    f->line_count = lines;
    return LSM_OK;
}

void lsm_memfilter_clear(struct lsm_memfilter *f)
{
    if (f->memory)
        lsm_mem_free(f->os, f->memory);
    memset(f, 0, sizeof *f);
}

void lsm_memfilter_add(struct lsm_memfilter *f, uint32_t tree, uint64_t hash)
{
    struct place p;

    if (!f->words)
        return;
    p = place_of(f, tree, hash);
    for (uint32_t i = 0; i < WORDS; i++) {
        uint64_t bits;
        _Atomic uint64_t *word = next_word(f, &p, &bits);
        /* The only writer: no read-modify-write is needed. */
        atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | bits,
                              memory_order_relaxed);
    }
}

void lsm_memfilter_fetch(const struct lsm_memfilter *f, uint32_t tree, uint64_t hash)
{
    if (f->words)
        __builtin_prefetch(&f->words[(size_t)place_of(f, tree, hash).line * LINE_WORDS]);
}

bool lsm_memfilter_may_contain(const struct lsm_memfilter *f, uint32_t tree, uint64_t hash)
{
    struct place p;

    if (!f->words)
        return true;
    p = place_of(f, tree, hash);
    for (uint32_t i = 0; i < WORDS; i++) {
        uint64_t bits;
        uint64_t word = atomic_load_explicit(next_word(f, &p, &bits), memory_order_relaxed);
        if ((word & bits) != bits)
            return false;
    }
    return true;
}

/* test_os_posix_mem.c -- memory that is counted per object, keeps its bytes, and goes back when it is free. */
#include "lsm/os/os.h"
#include "tests/test.h"

TEST(os_posix_counts_memory_per_object)
{
    struct lsm_os *a = lsm_os_posix_new(), *b = lsm_os_posix_new();
    void *p[100];
    uint64_t sum = 0;

    for (int i = 0; i < 100; i++) {
        size_t size = test_below(10000);
        p[i] = a->mem_alloc(a, size);
        CHECK(p[i] != NULL);
        sum += size;
    }
    CHECK(a->mem_used(a) >= sum);
    CHECK(a->mem_used(a) < sum + sum / 8 + 100 * 32);
    CHECK(a->mem_held(a) >= a->mem_used(a));
    CHECK_INT(b->mem_used(b), 0);
    for (int i = 0; i < 100; i++)
        p[i] = a->mem_realloc(a, p[i], test_below(3) ? test_below(20000) : 0);
    for (int i = 0; i < 100; i++)
        a->mem_free(a, p[i]);
    CHECK_INT(a->mem_used(a), 0);
    p[0] = a->mem_realloc(a, NULL, 10);
    CHECK(a->mem_used(a) >= 10);
    a->mem_free(a, p[0]);
    lsm_os_posix_free(a);
    lsm_os_posix_free(b);
}

#if defined(__SANITIZE_ADDRESS__)
#define EVERY_BLOCK_IS_MALLOCS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EVERY_BLOCK_IS_MALLOCS true
#endif
#endif
#ifndef EVERY_BLOCK_IS_MALLOCS
#define EVERY_BLOCK_IS_MALLOCS false
#endif

#define BLOCKS 6000u

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f != NULL);
    CHECK_INT(fscanf(f, "%*u %lu %lu", &pages, &shared), 2);
    fclose(f);
    return (pages - shared) * 4096;
}

/* As a cache does: blocks of one size but for some bytes, of which three in four go. */
TEST(os_posix_what_is_held_bounds_what_is_resident_and_goes_when_it_is_free)
{
    static void *block[BLOCKS];
    struct lsm_os *os = lsm_os_posix_new();
    uint64_t base = resident_bytes(), full, left;

    if (test_below(2))
        os->mem_budget(os, UINT64_C(64) << 20);         /* huge pages */
    for (uint32_t i = 0; i < BLOCKS; i++) {
        size_t size = 4500 + test_below(600);
        block[i] = os->mem_alloc(os, size);
        memset(block[i], (int)i, size);
    }
    full = os->mem_held(os);
    CHECK(full >= os->mem_used(os));
    if (EVERY_BLOCK_IS_MALLOCS) {
        for (uint32_t i = 0; i < BLOCKS; i++)
            os->mem_free(os, block[i]);
        lsm_os_posix_free(os);
        return;
    }
    CHECK(full < os->mem_used(os) + (3u << 20));        /* the newest region is there at once */
    CHECK(resident_bytes() < base + full + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (test_below(4)) {
            os->mem_free(os, block[i]);
            block[i] = NULL;
        }
    os->mem_trim(os);
    left = os->mem_held(os);
    CHECK(left >= os->mem_used(os));
    CHECK(left < full * 6 / 10);                /* whole pages of what is free, not of what is used */
    CHECK(resident_bytes() < base + left + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)       /* what stayed is whole */
        if (block[i])
            CHECK(((uint8_t *)block[i])[4499] == (uint8_t)i && ((uint8_t *)block[i])[0] == (uint8_t)i);
    for (uint32_t i = 0; i < BLOCKS; i++)       /* pages that went come back */
        if (!block[i]) {
            block[i] = os->mem_alloc(os, 4500);
            memset(block[i], (int)i, 4500);
        }
    CHECK(os->mem_held(os) >= os->mem_used(os));
    CHECK(resident_bytes() < base + os->mem_held(os) + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)
        os->mem_free(os, block[i]);
    CHECK_INT(os->mem_used(os), 0);
    CHECK(os->mem_held(os) < 4u << 20);         /* spare ones */
    os->mem_trim(os);
    CHECK_INT(os->mem_held(os), 0);
    lsm_os_posix_free(os);
}

/* Sizes on both sides of every border; what was in a block is in it afterwards. */
TEST(os_posix_memory_keeps_its_bytes_when_it_grows_and_shrinks)
{
    static const size_t borders[] = { 1, 1008, 1009, 1100, 4096, 8176, 8192, 8193, 65520, 65521, 131072,
                                      1048576, 1048577, 3000000 };
    struct lsm_os *os = lsm_os_posix_new();
    uint8_t *p = NULL;
    size_t before = 0;

    for (uint32_t round = 0; round < 2000; round++) {
        size_t size = borders[test_below(sizeof borders / sizeof *borders)] + test_below(20), keep;
        uint8_t *q = os->mem_realloc(os, p, size);
        CHECK(q != NULL);
        CHECK_INT((uintptr_t)q % 16, 0);
        keep = before < size ? before : size;
        if (keep) {
            CHECK_INT(q[0], (uint8_t)before);
            CHECK_INT(q[keep - 1], keep == before ? (uint8_t)(before + 1) : q[keep - 1]);
        }
        p = q;
        before = size;
        p[size - 1] = (uint8_t)(size + 1);
        p[0] = (uint8_t)size;
        if (size == 1)
            before = 0;
        CHECK(os->mem_held(os) >= os->mem_used(os));
        CHECK(os->mem_used(os) >= size);
    }
    os->mem_free(os, p);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(os_posix_a_block_that_was_made_ready_has_its_pages)
{
    static const size_t usual[] = { (2u << 20) + 128, (256u << 10) + 128 };    /* of an arena's chunks */
    struct lsm_os *os = lsm_os_posix_new();

    for (size_t i = 0; i < 2 && !EVERY_BLOCK_IS_MALLOCS; i++) {
        uint64_t resident, held;
        uint8_t *p;
        os->mem_ready(os, usual[i]);
        held = os->mem_held(os);
        CHECK(held >= usual[i] && held < usual[i] + 8192);
        CHECK_INT(os->mem_used(os), 0);
        os->mem_ready(os, usual[i]);            /* one is enough */
        CHECK_INT(os->mem_held(os), held);
        resident = resident_bytes();
        p = os->mem_alloc(os, usual[i]);
        CHECK_INT(os->mem_held(os), held);
        memset(p, 1, usual[i]);
        CHECK(resident_bytes() < resident + usual[i] / 2);
        os->mem_free(os, p);
        os->mem_trim(os);
        CHECK_INT(os->mem_held(os), 0);
    }
    os->mem_ready(os, 1);                       /* nobody keeps such a block */
    os->mem_ready(os, 1 << 20);
    os->mem_ready(os, SIZE_MAX);
    CHECK_INT(os->mem_held(os), 0);
    lsm_os_posix_free(os);
}

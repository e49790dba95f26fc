#include <sys/mman.h>

#include "lsm/os/os.h"
#include "lsm/util/arena.h"
#include "tests/test.h"

TEST(arena_allocations_are_aligned_disjoint_and_never_move)
{
    enum { COUNT = 4000 };
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_arena a;
    static uint32_t off[COUNT];
    static size_t size[COUNT];
    static uint8_t *address[COUNT];
    uint64_t sum = 0;

    lsm_arena_init(&a, os);
    for (int i = 0; i < COUNT; i++) {
        size_t align = (size_t)1 << test_below(7);

        size[i] = test_below(100) ? 1 + test_below(3000) : test_below(3u << 20);
        off[i] = lsm_arena_alloc(&a, size[i], align);
        if (!CHECK(off[i] != 0))
            break;
        address[i] = lsm_arena_at(&a, off[i]);
        CHECK_INT((uintptr_t)address[i] % align, 0);
        memset(address[i], i & 0xff, size[i]);
        sum += size[i];
    }
    for (int i = 0; i < COUNT; i++) {
        uint8_t *p = lsm_arena_at(&a, off[i]);
        CHECK(p == address[i]);
        for (size_t k = 0; k < size[i]; k++)
            if (p[k] != (i & 0xff)) {
                CHECK_INT(p[k], i & 0xff);
                break;
            }
    }
    CHECK(a.size_bytes >= sum);
    CHECK(a.size_bytes < sum + sum / 5 + (2u << 20));       /* little is lost at chunk ends */
    CHECK(os->mem_used(os) >= a.size_bytes);
    lsm_arena_clear(&a);
    CHECK_INT(a.size_bytes, 0);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(arena_one_row_costs_little)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_arena a;

    lsm_arena_init(&a, os);
    CHECK_INT(a.size_bytes, 0);
    CHECK(lsm_arena_alloc(&a, 100, 8) != 0);
    CHECK(a.size_bytes < 64u << 10);
    lsm_arena_clear(&a);
    lsm_os_posix_free(os);
}

TEST(arena_used_grows_with_what_is_allocated_and_not_by_chunks)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_arena a;
    uint64_t sum = 0, before;

    lsm_arena_init(&a, os);
    CHECK_INT(lsm_arena_used(&a), 0);
    CHECK(lsm_arena_alloc(&a, 1, 1) != 0);
    before = lsm_arena_used(&a);
    CHECK(before < 40u << 10);          /* the table of chunks */
    for (int i = 0; i < 5000; i++, sum += 1000) {
        CHECK(lsm_arena_alloc(&a, 1000, 8) != 0);
        CHECK(lsm_arena_used(&a) >= before + sum);
        CHECK(lsm_arena_used(&a) <= before + (sum + 1000) * 11 / 10);
    }
    CHECK(lsm_arena_alloc(&a, 3u << 20, 8) != 0);       /* one with a block of its own counts whole */
    CHECK(lsm_arena_used(&a) >= before + sum + (3u << 20));
    CHECK(lsm_arena_used(&a) <= a.size_bytes);
    CHECK(a.size_bytes <= lsm_arena_used(&a) + (2u << 20));
    lsm_arena_reset(&a);
    CHECK_INT(lsm_arena_used(&a), a.size_bytes);        /* small chunks that are kept */
    lsm_arena_clear(&a);
    CHECK_INT(lsm_arena_used(&a), 0);
    lsm_os_posix_free(os);
}

TEST(arena_reset_keeps_the_small_chunks_only)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_arena a;
    uint64_t kept;

    lsm_arena_init(&a, os);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 5000; i++)
            CHECK(lsm_arena_alloc(&a, 1000, 8) != 0);
        CHECK(lsm_arena_alloc(&a, 5u << 20, 8) != 0);
        CHECK(a.size_bytes > 10000000);
        lsm_arena_reset(&a);
        CHECK(a.size_bytes < 512u << 10);
        CHECK(a.size_bytes > 300u << 10);
    }
    kept = a.size_bytes;
    CHECK(lsm_arena_alloc(&a, 10000, 8) != 0);              /* out of what was kept */
    CHECK(lsm_arena_alloc(&a, 50000, 8) != 0);
    CHECK(lsm_arena_alloc(&a, 200000, 8) != 0);
    CHECK_INT(a.size_bytes, kept);
    lsm_arena_clear(&a);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(arena_large_allocations_take_kept_chunks_places)
{
    static const size_t sizes[] = { 5u << 20, 300u << 10, 256u << 10, 1, 1u << 20, 200u << 10 };
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_arena a;

    lsm_arena_init(&a, os);
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 6; i++) {
            size_t size = sizes[test_below(6)];
            uint32_t off = lsm_arena_alloc(&a, size, 64);
            if (!CHECK(off != 0))
                return;
            memset(lsm_arena_at(&a, off), 1, size);
        }
        lsm_arena_reset(&a);
    }
    lsm_arena_clear(&a);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/* An allocator that has small pieces only. */
static void *stingy_alloc(struct lsm_os *os, size_t size)
{
    (void)os;
    return size <= 1u << 16 ? malloc(size) : NULL;
}

static void stingy_free(struct lsm_os *os, void *p)
{
    (void)os;
    free(p);
}

TEST(arena_without_memory_answers_zero_and_stays_usable)
{
    struct lsm_os os = { .mem_alloc = stingy_alloc, .mem_free = stingy_free };
    struct lsm_arena a;

    lsm_arena_init(&a, &os);
    CHECK_INT(lsm_arena_alloc(&a, 1u << 20, 8), 0);
    CHECK(lsm_arena_alloc(&a, 100, 8) != 0);
    CHECK_INT(lsm_arena_alloc(&a, 100000, 8), 0);
    CHECK(lsm_arena_alloc(&a, 100, 8) != 0);
    lsm_arena_reset(&a);
    CHECK(lsm_arena_alloc(&a, 100, 8) != 0);
    lsm_arena_clear(&a);
}

/* Address space that is never touched but for each block's first line: 4 GiB cost nothing. */
static struct {
    void *p;
    size_t size;
} maps[64];

static void *map_alloc(struct lsm_os *os, size_t size)
{
    (void)os;
    for (int i = 0; i < 64; i++) {
        if (maps[i].p)
            continue;
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        maps[i].size = size;
        return maps[i].p = p;
    }
    return NULL;
}

static void map_free(struct lsm_os *os, void *p)
{
    (void)os;
    for (int i = 0; i < 64; i++) {
        if (p && maps[i].p == p) {
            munmap(p, maps[i].size);
            maps[i].p = NULL;
        }
    }
}

TEST(arena_ends_below_4_gib)
{
    struct lsm_os os = { .mem_alloc = map_alloc, .mem_free = map_free };
    struct lsm_arena a;
    uint64_t total = 0;
    uint32_t off;

    lsm_arena_init(&a, &os);
    CHECK_INT(lsm_arena_alloc(&a, (size_t)5 << 30, 8), 0);
    while ((off = lsm_arena_alloc(&a, 255u << 20, 8)) != 0)
        total += 255u << 20;
    CHECK_INT(total, (uint64_t)16 * (255u << 20));
    CHECK(lsm_arena_alloc(&a, 100, 8) != 0);                    /* small ones still fit */
    CHECK_INT(lsm_arena_alloc(&a, SIZE_MAX - 10, 8), 0);
    while ((off = lsm_arena_alloc(&a, 200u << 10, 8)) != 0)
        CHECK((uint64_t)off + (200u << 10) <= UINT32_MAX);
    lsm_arena_clear(&a);
    CHECK_INT(a.size_bytes, 0);
}

TEST(arena_clear_accepts_a_zeroed_arena)
{
    struct lsm_arena a = { 0 };

    lsm_arena_clear(&a);
    lsm_arena_reset(&a);
    CHECK_INT(a.size_bytes, 0);
}

/*
 * test_memfilter.c -- never a false no, few false yeses, trees apart.
 */
#include "lsm/format/filter.h"
#include "lsm/os/os.h"
#include "lsm/store/memfilter.h"
#include "tests/test.h"

static uint64_t hash_of(uint32_t i)
{
    struct lsm_slice key = { (const uint8_t *)&i, sizeof i };
    return lsm_filter_hash(key);
}

TEST(memfilter_never_denies_what_was_added_and_rarely_admits_the_rest)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_memfilter f = { 0 };
    const uint32_t n = 100000;
    uint32_t admitted = 0, wrong_tree = 0;
    bool all = true;

    CHECK_OK(lsm_memfilter_init(&f, os, n * 10 / 8));
    for (uint32_t i = 0; i < n; i++)
        lsm_memfilter_add(&f, 7, hash_of(i));
    for (uint32_t i = 0; i < n; i++) {
        all &= lsm_memfilter_may_contain(&f, 7, hash_of(i));
        admitted += lsm_memfilter_may_contain(&f, 7, hash_of(n + i));
        wrong_tree += lsm_memfilter_may_contain(&f, 8, hash_of(i));
    }
    CHECK(all);
    printf("  %u of %u admitted, %u in the wrong tree\n", admitted, n, wrong_tree);
    CHECK(admitted < n * 3 / 100);
    CHECK(wrong_tree < n * 3 / 100);
    lsm_memfilter_clear(&f);
    lsm_os_posix_free(os);
}

TEST(memfilter_that_was_not_made_admits_everything)
{
    struct lsm_memfilter f = { 0 };

    lsm_memfilter_add(&f, 1, hash_of(1));
    CHECK(lsm_memfilter_may_contain(&f, 1, hash_of(2)));
    lsm_memfilter_clear(&f);
}

#define XXH_INLINE_ALL
#define XXH_VECTOR 0            /* the scalar form */
#include <xxhash.h>

#include "lsm/util/hash.h"
#include "tests/test.h"

/* The sums are in files: these values may never change. The short ones are xxhsum's. */
TEST(hash_values_are_xxh3s)
{
    static const uint8_t want[16] = { 0x50, 0x39, 0x2f, 0x89, 0x94, 0x5f, 0xaf, 0x78,
                                      0x85, 0x61, 0x3a, 0x73, 0xb6, 0x5a, 0xb0, 0x06 };
    uint8_t got[16], bytes[1000];

    CHECK(lsm_hash64("", 0, 0) == 0x2d06800538d394c2);
    CHECK(lsm_hash64("abc", 3, 0) == 0x78af5f94892f3950);
    lsm_hash128("abc", 3, 0, got);
    CHECK_MEM(got, want, 16);

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    CHECK(lsm_hash64(bytes, 100, 12345) == 0xb977e468f49f7960);
    CHECK(lsm_hash64(bytes, 1000, 12345) == 0x5a2f80bb4fef5cf);
}

TEST(hash_depends_on_the_seed_and_on_every_bit)
{
    uint8_t bytes[300] = { 0 };
    uint64_t plain = lsm_hash64(bytes, sizeof(bytes), 1);

    CHECK(lsm_hash64(bytes, sizeof(bytes), 2) != plain);
    CHECK(lsm_hash64(bytes, sizeof(bytes) - 1, 1) != plain);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(lsm_hash64(bytes, sizeof(bytes), 1) != plain);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

TEST(hash32_is_the_low_half_at_every_length_and_alignment)
{
    static uint8_t bytes[2064];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    for (size_t size = 0; size < 2048; size++) {
        uint64_t wide = lsm_hash64(bytes, size, size);
        CHECK(lsm_hash32(bytes, size, size) == (uint32_t)wide);
        memmove(bytes + 3, bytes, size);
        CHECK(lsm_hash64(bytes + 3, size, size) == wide);
        memmove(bytes, bytes + 3, size);
    }
}

/* Whichever body this processor takes: another one must read what it wrote. */
TEST(hash_of_the_vectors_is_that_of_the_reference)
{
    static uint8_t bytes[5000];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 ^ i >> 5);
    for (size_t size = 0; size <= sizeof(bytes); size += size < 2200 ? 1 : 137)
        CHECK(lsm_hash64(bytes, size, size * 3) == XXH3_64bits_withSeed(bytes, size, size * 3));
}

TEST(hash_library_names_its_version)
{
    CHECK(strncmp(lsm_hash_library(), "xxhash 0.", 9) == 0);
}

/*
 * hash_avx2.c -- XXH3 once more, compiled for AVX2 (the Makefile says so): the same
 * sums in half the instructions. Called by hash.c where the processor has it.
 */
#include "lsm/util/hash_avx2.h"

#if LSM_HASH_AVX2

#define XXH_INLINE_ALL
#include <xxhash.h>

#if XXH_VECTOR != XXH_AVX2
#error "not compiled for AVX2"
#endif

uint64_t lsm_hash64_avx2(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

#endif

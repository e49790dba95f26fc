/*
 * hash.c -- XXH3, compiled in: its symbols stay inside this object, whatever
 * xxhash the host brings.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lsm/util/coding.h"
#include "lsm/util/hash.h"
#include "lsm/util/hash_avx2.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

uint64_t lsm_hash64(const void *data, size_t size, uint64_t seed)
{
#if LSM_HASH_AVX2
    if (size > XXH3_MIDSIZE_MAX && __builtin_cpu_supports("avx2"))      /* below, XXH3 has no vectors */
        return lsm_hash64_avx2(data, size, seed);
#endif
    return XXH3_64bits_withSeed(data, size, seed);
}

uint32_t lsm_hash32(const void *data, size_t size, uint64_t seed)
{
    return (uint32_t)lsm_hash64(data, size, seed);
}

void lsm_hash128(const void *data, size_t size, uint64_t seed, uint8_t out[16])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, seed);

    lsm_put_u64(out, hash.low64);
    lsm_put_u64(out + 8, hash.high64);
}

const char *lsm_hash_library(void)
{
    return "xxhash " TEXT(XXH_VERSION_MAJOR) "." TEXT(XXH_VERSION_MINOR) "."
           TEXT(XXH_VERSION_RELEASE);
}

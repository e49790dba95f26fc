/*
 * hash_avx2.h -- hash.c's second body, for processors that have AVX2.
 */
#ifndef LSM_UTIL_HASH_AVX2_H
#define LSM_UTIL_HASH_AVX2_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define LSM_HASH_AVX2 1
#else
#define LSM_HASH_AVX2 0
#endif

uint64_t lsm_hash64_avx2(const void *data, size_t size, uint64_t seed);

#endif

/*
 * hash.h -- XXH3, the only sum and the only hash in the store.
 */
#ifndef LSM_UTIL_HASH_H
#define LSM_UTIL_HASH_H

#include "lsm/util/slice.h"

uint64_t lsm_hash64(const void *data, size_t size, uint64_t seed);
/* The low half, where a format stores 32 bits. */
uint32_t lsm_hash32(const void *data, size_t size, uint64_t seed);
void lsm_hash128(const void *data, size_t size, uint64_t seed, uint8_t out[16]);
const char *lsm_hash_library(void);     /* "xxhash 0.8.1" */

#endif

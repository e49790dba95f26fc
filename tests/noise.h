/*
 * noise.h -- bytes that no codec makes smaller, the same each time.
 */
#ifndef TESTS_NOISE_H
#define TESTS_NOISE_H

#include <stddef.h>
#include <stdint.h>

static inline void fill_with_noise(uint8_t *bytes, size_t size, unsigned *seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((*seed = *seed * 1103515245 + 12345) >> 16);
}

#endif

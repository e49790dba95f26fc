/* bench_rows.h -- rows of the benchmark, made from their number; sums over all of their bytes. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define KEY_SIZE 16
#define VALUE_SIZE 100
#define ROW_BYTES (KEY_SIZE + VALUE_SIZE)

static inline uint64_t row_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline void row_put_be64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> (56 - 8 * i));
}

static inline uint64_t row_get_be64(const uint8_t *p)
{
    uint64_t x = 0;

    for (int i = 0; i < 8; i++)
        x = x << 8 | p[i];
    return x;
}

#define KEY_SALT 0xa5a5a5a55a5a5a5au

static inline void row_key(uint8_t key[KEY_SIZE], uint64_t row, bool ordered)
{
    row_put_be64(key, ordered ? row : row_mix(row));
    row_put_be64(key + 8, row_mix(row ^ KEY_SALT));
}

/* Random bytes, then the same again: half of it can be compressed. */
static inline void row_value(uint8_t value[VALUE_SIZE], uint64_t row, uint8_t version)
{
    uint64_t words[7], x = row * 2654435761u + ((uint64_t)version << 56);

    for (int i = 0; i < 7; i++)
        words[i] = row_mix(x + (uint64_t)i * 0x632be59bd9b4e019u);
    memcpy(value, words, VALUE_SIZE / 2);
    memcpy(value + VALUE_SIZE / 2, words, VALUE_SIZE / 2);
}

/* A sum over all bytes of a row; those of many rows can be added up. */
static inline uint64_t row_sum(const uint8_t *key, const uint8_t *value)
{
    uint64_t sum = 0, word;

    for (int i = 0; i < KEY_SIZE; i += 8) {
        memcpy(&word, key + i, 8);
        sum = (sum ^ word) * 0x9fb21c651e98df25u;
    }
    for (int i = 0; i < VALUE_SIZE; i += 8) {
        uint64_t a = 0, odd = 0x9e3779b185ebca87u + 0x2127599bf4325c36u * (uint64_t)i;

        memcpy(&a, value + i, i + 8 <= VALUE_SIZE ? 8 : VALUE_SIZE - i);
        sum += a * odd;
    }
    return (sum ^ sum >> 32) * 0xc2b2ae3d27d4eb4fu;
}

#endif

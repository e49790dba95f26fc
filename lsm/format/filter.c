/*
 * filter.c -- blocked Bloom filter: one line, six bits, three ways to look.
 *
 * A lookup is one cache miss, then a few instructions:
 *
 *     AVX2   eight products at once; the line is two registers of eight words,
 *            picked by permutation, and one test of all bits
 *     NEON   the line is a table of 64 bytes in four registers (TBL)
 *     scalar stops at the first bit that is missing
 *
 * Threads: pure.
 */
#include <assert.h>

#include "lsm/format/filter.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LINE_SIZE 64u
#define LINE_BITS 512u
#define TRAILER_SIZE 8u
#define PROBES 6u
#define LINES_MAX (1u << 24)            /* 1 GiB; a filter serves one partition */

/* Six are used; eight fill a register. */
static const uint32_t multiplier[8] = {
    0x00000001, 0x9e3779b9, 0xe35e67b1, 0x734297e9, 0x35fbe861, 0xdeb7c719, 0x00000001, 0x00000001
};

uint64_t lsm_filter_hash(struct lsm_slice key)
{
    return lsm_hash64(key.data, key.size, 0);
}

static inline size_t line_of(uint64_t hash, uint32_t line_count)
{
    return (size_t)((hash >> 32) * line_count >> 32);
}

static inline uint32_t bit_of(uint64_t hash, size_t i)
{
    return (uint32_t)hash * multiplier[i] >> 23;
}

static size_t lines_for(size_t count, uint32_t bits_per_key)
{
    size_t lines;

    assert(bits_per_key > 0);
    if (count > (uint64_t)LINES_MAX * LINE_BITS / bits_per_key)
        return LINES_MAX;
    lines = (count * bits_per_key + LINE_BITS - 1) / LINE_BITS;
    return lines ? lines : 1;           /* no keys: a line without bits refuses all */
}

size_t lsm_filter_size(size_t count, uint32_t bits_per_key)
{
    return lines_for(count, bits_per_key) * LINE_SIZE + TRAILER_SIZE;
}

void lsm_filter_build(struct lsm_buf *out, const uint64_t *hashes, size_t count,
                      uint32_t bits_per_key)
{
    size_t lines = lines_for(count, bits_per_key), size = lines * LINE_SIZE;
    uint8_t *line;

    if (lsm_buf_reserve(out, size + TRAILER_SIZE) != LSM_OK)
        return;
    line = out->data + out->size;
    memset(line, 0, size);
    for (size_t k = 0; k < count; k++) {
        uint8_t *at = line + line_of(hashes[k], (uint32_t)lines) * LINE_SIZE;

        for (size_t i = 0; i < PROBES; i++) {
            uint32_t bit = bit_of(hashes[k], i);

            at[bit >> 3] |= (uint8_t)(1u << (bit & 7));
        }
    }
    out->size += size;
    lsm_buf_put_u32(out, (uint32_t)lines);
    lsm_buf_put_u32(out, PROBES);               /* and three zeros */
}

uint32_t lsm_filter_line_count(struct lsm_slice filter)
{
    uint64_t line_count = filter.size / LINE_SIZE;

    if (filter.size % LINE_SIZE != TRAILER_SIZE || line_count == 0 || line_count > UINT32_MAX)
        return 0;
    if (lsm_get_u64(filter.data + filter.size - TRAILER_SIZE) !=
        (line_count | (uint64_t)PROBES << 32))
        return 0;
    return (uint32_t)line_count;
}

static inline bool probe_scalar(const uint8_t *line, uint64_t hash)
{
    for (size_t i = 0; i < PROBES; i++) {
        uint32_t bit = bit_of(hash, i);

        if (!(line[bit >> 3] >> (bit & 7) & 1))
            return false;
    }
    return true;
}

#if defined(__x86_64__)

__attribute__((target("avx2")))
static bool probe_avx2(const uint8_t *line, uint64_t hash)
{
    const __m256i used = _mm256_setr_epi32(1, 1, 1, 1, 1, 1, 0, 0);
    const __m256i multipliers = _mm256_loadu_si256((const __m256i *)(const void *)multiplier);
    __m256i product = _mm256_mullo_epi32(_mm256_set1_epi32((int)(uint32_t)hash), multipliers);
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)line);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(line + 32));
    __m256i index = _mm256_srli_epi32(product, 28);     /* of the word, 0..15; three bits permute */
    __m256i word_low = _mm256_permutevar8x32_epi32(low, index);
    __m256i word_high = _mm256_permutevar8x32_epi32(high, index);
    /* The product's highest bit, which is the index's, chooses the half. */
    __m256i word = _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(word_low),
                                                        _mm256_castsi256_ps(word_high),
                                                        _mm256_castsi256_ps(product)));
    __m256i bit = _mm256_and_si256(_mm256_srli_epi32(product, 23), _mm256_set1_epi32(31));

    return _mm256_testc_si256(word, _mm256_sllv_epi32(used, bit));
}

static inline bool probe(const uint8_t *line, uint64_t hash)
{
    if (__builtin_cpu_supports("avx2"))         /* reads a word that libgcc filled at load */
        return probe_avx2(line, hash);
    return probe_scalar(line, hash);
}

#elif defined(__aarch64__)

static inline bool probe(const uint8_t *line, uint64_t hash)
{
    uint32x4_t h = vdupq_n_u32((uint32_t)hash);
    uint16x4_t a = vmovn_u32(vshrq_n_u32(vmulq_u32(h, vld1q_u32(multiplier)), 23));
    uint16x4_t b = vmovn_u32(vshrq_n_u32(vmulq_u32(h, vld1q_u32(multiplier + 4)), 23));
    uint16x8_t bit = vcombine_u16(a, b);        /* the last two repeat the first: harmless */
    uint8x8_t index = vmovn_u16(vshrq_n_u16(bit, 3));
    int8x8_t shift = vand_s8(vreinterpret_s8_u8(vmovn_u16(bit)), vdup_n_s8(7));
    uint8x16x4_t table = vld1q_u8_x4(line);
    uint8x8_t byte = vqtbl4_u8(table, index);

    return vminv_u8(vtst_u8(byte, vshl_u8(vdup_n_u8(1), shift))) != 0;
}

#else

static inline bool probe(const uint8_t *line, uint64_t hash)
{
    return probe_scalar(line, hash);
}

#endif

const uint8_t *lsm_filter_line(const uint8_t *lines, uint32_t line_count, uint64_t hash)
{
    assert(line_count > 0);
    return lines + line_of(hash, line_count) * LINE_SIZE;
}

bool lsm_filter_line_may_contain(const uint8_t *line, uint64_t hash)
{
    return probe(line, hash);
}

bool lsm_filter_lines_may_contain(const uint8_t *lines, uint32_t line_count, uint64_t hash)
{
    return line_count == 0 || probe(lines + line_of(hash, line_count) * LINE_SIZE, hash);
}

bool lsm_filter_may_contain(struct lsm_slice filter, uint64_t hash)
{
    return lsm_filter_lines_may_contain(filter.data, lsm_filter_line_count(filter), hash);
}

bool lsm_filter_may_contain_scalar(struct lsm_slice filter, uint64_t hash)
{
    uint32_t line_count = lsm_filter_line_count(filter);

    return line_count == 0 ||
           probe_scalar(filter.data + line_of(hash, line_count) * LINE_SIZE, hash);
}

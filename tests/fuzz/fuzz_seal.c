/*
 * fuzz_seal.c -- unsealing what someone made who can compute sums.
 *
 * First byte: bit 0, put a right sum on it, so that mutations get past the sum;
 * bit 1, seal the bytes and unseal them again. What is accepted is never larger
 * than it may claim, and memory is bounded by it.
 */
#include <stdlib.h>

#include "lsm/format/seal.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)
#define PLACE 12345

static struct lsm_os *os;
static struct lsm_compressor_pool *pool;

static void there_and_back(struct lsm_compressor *c, struct lsm_slice bytes)
{
    struct lsm_slice payload;
    struct lsm_buf out, raw;

    lsm_buf_init(&out, os);
    lsm_buf_init(&raw, os);
    lsm_seal(&out, bytes, LSM_BLOCK_DATA, LSM_CODEC_ZSTD, 1, c, PLACE);
    REQUIRE(out.rc == LSM_OK);
    REQUIRE(lsm_unseal(lsm_buf_slice(&out), LSM_BLOCK_DATA, PLACE, c, &raw, &payload, "fuzz", 0) == LSM_OK);
    REQUIRE(lsm_slice_equal(payload, bytes));
    lsm_buf_clear(&out);
    lsm_buf_clear(&raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_slice payload;
    struct lsm_compressor *c;
    struct lsm_buf raw;
    uint8_t *bytes, how;

    if (!os) {
        os = lsm_os_posix_new();
        REQUIRE(lsm_compressor_pool_new(os, &pool) == LSM_OK);
    }
    if (size == 0)
        return 0;
    how = *data++;
    size--;
    REQUIRE(lsm_compressor_take(pool, &c) == LSM_OK);
    if (how & 2)
        there_and_back(c, lsm_slice(data, size));

    bytes = malloc(size + 1);
    if (size)
        memcpy(bytes, data, size);
    if (how & 1 && size >= LSM_SEAL_TRAILER_SIZE)
        lsm_put_u32(bytes + size - 4, lsm_hash32(bytes, size - 4, PLACE));
    lsm_buf_init(&raw, os);
    if (lsm_unseal(lsm_slice(bytes, size), LSM_BLOCK_DATA, PLACE, c, &raw, &payload, "fuzz", 0) == LSM_OK) {
        uint64_t sum = 0;

        REQUIRE(payload.size <= (uint64_t)size * LSM_BLOCK_RATIO_MAX + LSM_BLOCK_RATIO_MAX);
        for (size_t i = 0; i < payload.size; i++)
            sum += payload.data[i];
        REQUIRE(sum != 1 || payload.size > 0);
    }
    REQUIRE(raw.cap <= ((uint64_t)size + 1) * LSM_BLOCK_RATIO_MAX * 2 + 64);
    lsm_buf_clear(&raw);
    free(bytes);
    lsm_compressor_put(pool, c);
    return 0;
}

/*
 * fuzz_block.c -- a block that is accepted holds together.
 *
 * First byte: bit 0, with a comparator (the reverse order). The rest is the
 * payload. Every row is found by a seek, a scan sees ascending keys, and rows
 * written again by the builder, in whatever form it gives them, are read again as
 * the same rows.
 */
#include <stdlib.h>

#include "lsm/format/block.h"
#include "tests/unit/orders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)

static struct lsm_slice whole_key(const struct lsm_block *block, struct lsm_slice suffix,
                                  uint8_t *key)
{
    memcpy(key, block->prefix, block->prefix_size);
    if (suffix.size)
        memcpy(key + block->prefix_size, suffix.data, suffix.size);
    return lsm_slice(key, block->prefix_size + suffix.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lsm_os *os;
    static uint8_t key[LSM_KEY_SIZE_MAX], key_again[LSM_KEY_SIZE_MAX];
    const struct lsm_comparator *cmp;
    struct lsm_block_builder builder;
    struct lsm_block *block, *again;
    struct lsm_buf out;

    if (!os)
        os = lsm_os_posix_new();
    if (size == 0)
        return 0;
    cmp = data[0] & 1 ? &reverse : NULL;
    if (lsm_block_new(os, lsm_slice(data + 1, size - 1), cmp, "fuzz", 0, &block) != LSM_OK)
        return 0;

    lsm_block_builder_init(&builder, os);
    for (uint32_t i = 0; i < block->count; i++) {
        struct lsm_slice suffix, value, whole;
        uint64_t tag;

        lsm_block_row(block, i, &suffix, &tag, &value);
        whole = whole_key(block, suffix, key);
        REQUIRE(lsm_block_seek(block, cmp, whole, tag) == i);
        if (tag != LSM_TAG_MAX)
            REQUIRE(lsm_block_seek(block, cmp, whole, tag + 1) <= i);
        REQUIRE(lsm_block_seek(block, cmp, whole, 0) >= i);
        lsm_block_builder_add(&builder, whole, tag, value);
    }
    /* Any key at all: what it finds has it between its neighbours. */
    {
        struct lsm_slice any = lsm_slice(data, size < 20 ? size : 20), suffix, value;
        uint32_t i = lsm_block_seek(block, cmp, any, LSM_TAG_MAX);
        uint64_t tag;

        REQUIRE(i <= block->count);
        if (i < block->count) {
            lsm_block_row(block, i, &suffix, &tag, &value);
            REQUIRE(lsm_key_compare(cmp, any, whole_key(block, suffix, key)) <= 0);
        }
        if (i > 0) {
            lsm_block_row(block, i - 1, &suffix, &tag, &value);
            REQUIRE(lsm_key_compare(cmp, any, whole_key(block, suffix, key)) > 0);
        }
    }

    lsm_buf_init(&out, os);
    REQUIRE(lsm_block_builder_finish(&builder, &out) == LSM_OK);
    REQUIRE(lsm_block_new(os, lsm_buf_slice(&out), cmp, "fuzz", 0, &again) == LSM_OK);
    REQUIRE(again->count == block->count);
    for (uint32_t i = 0; i < block->count; i++) {
        struct lsm_slice a, b, va, vb;
        uint64_t ta, tb;

        lsm_block_row(block, i, &a, &ta, &va);
        lsm_block_row(again, i, &b, &tb, &vb);
        REQUIRE(ta == tb);
        REQUIRE(lsm_slice_equal(whole_key(block, a, key), whole_key(again, b, key_again)));
        REQUIRE(lsm_slice_equal(va, vb));
    }
    lsm_buf_clear(&out);
    lsm_block_builder_clear(&builder);
    lsm_block_free(block);
    lsm_block_free(again);
    REQUIRE(os->mem_used(os) == 0);
    return 0;
}

/*
 * refit.h -- a mutated table file whose sums are right again, so that what reads it gets past them: the frame's, and
 * of each block that header, footer and indexes lead to.
 */
#ifndef TESTS_FUZZ_REFIT_H
#define TESTS_FUZZ_REFIT_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lsm/format/block.h"
#include "lsm/format/seal.h"
#include "lsm/format/table_meta.h"
#include "lsm/store/table_format.h"
#include "lsm/util/hash.h"

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)
#define NUMBER 5u

static const uint8_t uuid[16] = "0123456789abcdef";

/* Make the sum of a sealed block right. False: it is not within the file. */
static inline bool refit(uint8_t *file, size_t size, uint64_t off, uint64_t block_size)
{
    uint8_t *sum;

    if (off > size || block_size > size - off || block_size < LSM_SEAL_TRAILER_SIZE)
        return false;
    sum = file + off + block_size - 4;
    lsm_put_u32(sum, lsm_hash32(file + off, block_size - 4, lsm_seal_seed(uuid, NUMBER) + off));
    return true;
}

static inline void refit_data(struct lsm_os *os, uint8_t *file, size_t size, uint64_t base, uint64_t off,
                              uint64_t block_size)
{
    struct lsm_slice suffix, value, payload = { file + off, block_size - LSM_SEAL_TRAILER_SIZE };
    struct lsm_block *index;
    uint64_t tag;

    if (lsm_block_new(os, payload, NULL, "fuzz", 0, &index) != LSM_OK)
        return;
    for (uint32_t i = 0; i < index->count; i++) {
        struct lsm_reader r;
        uint64_t at;
        lsm_block_row(index, i, &suffix, &tag, &value);
        r = lsm_reader(value);
        at = base + lsm_read_varint(&r);
        refit(file, size, at, lsm_read_varint(&r));
    }
    lsm_block_free(index);
}

static inline void refit_all(struct lsm_os *os, uint8_t *file, size_t size, uint32_t incompat)
{
    uint8_t *foot = file + size - LSM_TABLE_FOOTER_SIZE;
    uint8_t *again = file + size - LSM_TABLE_HEADER_SIZE;
    struct lsm_table_footer f;
    struct lsm_slice suffix, value, payload;
    struct lsm_block *top;
    uint64_t tag, base = LSM_TABLE_HEADER_SIZE;

    if (size < LSM_TABLE_HEADER_SIZE + LSM_TABLE_FOOTER_SIZE)
        return;
    lsm_table_header_encode(file, LSM_TABLE_MAGIC, uuid, NUMBER, 1, incompat);
    lsm_table_header_encode(again, LSM_TABLE_FOOTER_MAGIC, uuid, NUMBER, 1, incompat);
    lsm_put_u64(file + LSM_TABLE_HEADER_SIZE - 8, lsm_hash64(file, LSM_TABLE_HEADER_SIZE - 8, 0));
    lsm_put_u64(foot + LSM_TABLE_FOOTER_SIZE - 8, lsm_hash64(foot, LSM_TABLE_FOOTER_SIZE - 8, 0));
    lsm_table_footer_decode(foot, &f);
    refit(file, size, f.properties_off, f.properties_size);
    if (!refit(file, size, f.top_off, f.top_size))
        return;
    payload = lsm_slice(file + f.top_off, f.top_size - LSM_SEAL_TRAILER_SIZE);
    if (lsm_block_new(os, payload, NULL, "fuzz", 0, &top) != LSM_OK)
        return;
    for (uint32_t i = 0; i < top->count; i++) {
        struct lsm_reader r;
        uint64_t off, n;
        lsm_block_row(top, i, &suffix, &tag, &value);
        r = lsm_reader(value);
        off = lsm_read_varint(&r);
        n = lsm_read_varint(&r);
        if (refit(file, size, off, n))
            refit_data(os, file, size, base, off, n);
        base = off + n;
        off = lsm_read_varint(&r);
        n = lsm_read_varint(&r);
        refit(file, size, off, n);
    }
    lsm_block_free(top);
    /* A refitted block may lie over the frame: its sum comes last. */
    lsm_put_u64(foot + LSM_TABLE_FOOTER_SIZE - 8, lsm_hash64(foot, LSM_TABLE_FOOTER_SIZE - 8, 0));
}

/* What the properties claim; the keys point into `file`. */
static inline void meta_of(const uint8_t *file, size_t size, struct lsm_table_meta *meta)
{
    struct lsm_table_footer f;
    struct lsm_reader r;

    if (size < LSM_TABLE_FOOTER_SIZE)
        return;
    lsm_table_footer_decode(file + size - LSM_TABLE_FOOTER_SIZE, &f);
    if (f.properties_off > size || f.properties_size > size - f.properties_off ||
        f.properties_size < LSM_SEAL_TRAILER_SIZE)
        return;
    r = lsm_reader(lsm_slice(file + f.properties_off, f.properties_size - LSM_SEAL_TRAILER_SIZE));
    while (!r.bad && lsm_reader_left(&r) > 0) {
        struct lsm_slice name = lsm_read_bytes(&r), value = lsm_read_bytes(&r);
        uint64_t number = value.size == 8 ? lsm_get_u64(value.data) : 0;

        if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_ENTRIES)))
            meta->entries = number;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_RAW_BYTES)))
            meta->raw_bytes = number;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_TOMBSTONES)))
            meta->tombstones = number;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SEQ_MIN)))
            meta->seq_min = number + meta->seq_add;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SEQ_MAX)))
            meta->seq_max = number + meta->seq_add;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SMALLEST)))
            meta->smallest = value;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_LARGEST)))
            meta->largest = value;
    }
}

#endif

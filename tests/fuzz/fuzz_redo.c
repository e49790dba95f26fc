/*
 * fuzz_redo.c -- a redo area of someone who can compute the hash.
 *
 * First byte: bit 0, put a right hash into the first frame, so that mutations get past it. The
 * token that is looked for is the first frame's. What is found lies in the area, is the
 * token's, and could have been carried.
 */
#include <stdlib.h>

#include "lsm/format/redo.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)

enum { RECORD = LSM_REDO_HEAD_SIZE };

/* A record's hash is seeded by the store and all before it (record.c). */
static void put_hash(uint8_t *record, size_t size, const uint8_t uuid[16])
{
    uint8_t seed[32];

    memcpy(seed, uuid, 16);
    memcpy(seed + 16, record, 16);
    lsm_hash128(record + 32, size - 32, lsm_hash64(seed, 32, 0), record + 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uuid[16] = "0123456789abcdef";
    struct lsm_token token = { 0, { 0 } };
    struct lsm_slice bytes = { NULL, 0 };
    struct lsm_record rec;
    uint8_t *area, how;
    size_t off;

    if (size == 0)
        return 0;
    how = *data++;
    size--;
    area = malloc(size + 1);
    if (size)
        memcpy(area, data, size);
    off = size;
    if (size >= RECORD + 32) {
        uint32_t record_size = lsm_get_u32(area + 8);

        if (how & 1 && record_size >= 32 && record_size <= size - RECORD)
            put_hash(area + RECORD, record_size, uuid);
        token.txid = lsm_get_u64(area + RECORD + 8);
        memcpy(token.hash, area + RECORD + 16, 16);
    }
    if (how & 2)
        off = 0;
    if (lsm_redo_find(lsm_slice(area, size), &token, uuid, &off, &bytes, &rec) == LSM_OK) {
        REQUIRE(off % LSM_REDO_ALIGN == 0 && off < size);
        REQUIRE(bytes.data == area + off + RECORD && bytes.size <= size - off - RECORD);
        REQUIRE(bytes.size <= LSM_REDO_RECORD_MAX);
        REQUIRE(lsm_token_equal(&rec.id, &token) && rec.type == LSM_RECORD_JOINT);
        REQUIRE(rec.base.txid < rec.id.txid && rec.adopted_count == 0);
    }
    free(area);
    return 0;
}

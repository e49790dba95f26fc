/*
 * fuzz_record.c -- records of someone who can compute the hash.
 *
 * First byte: bit 0, put a right hash in, so that mutations get past it. What
 * decodes encodes to the same bytes; its ops are as many as it says.
 */
#include <stdlib.h>

#include "lsm/format/record.h"
#include "lsm/util/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) do { if (!(cond)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uuid[16] = "0123456789abcdef";
    static struct lsm_os *os;
    struct lsm_record rec;
    uint8_t *bytes, how;

    if (!os)
        os = lsm_os_posix_new();
    if (size == 0)
        return 0;
    how = *data++;
    size--;
    bytes = malloc(size + 1);
    if (size)
        memcpy(bytes, data, size);
    if (how & 1 && size >= 10 && bytes[0] == LSM_RECORD_SOLO && bytes[1] & LSM_RECORD_BRIEF) {
        uint8_t seed[18];

        memcpy(seed, uuid, 16);
        memcpy(seed + 16, bytes, 2);
        lsm_put_u64(bytes + 2, lsm_hash64(bytes + 10, size - 10, lsm_hash64(seed, 18, 0)));
    } else if (how & 1 && size >= 32 && bytes[0] != LSM_RECORD_ABORT) {
        uint8_t seed[32];

        memcpy(seed, uuid, 16);
        memcpy(seed + 16, bytes, 16);
        lsm_hash128(bytes + 32, size - 32, lsm_hash64(seed, 32, 0), bytes + 16);
    }

    if (lsm_record_decode(lsm_slice(bytes, size), uuid, &rec)) {
        struct lsm_reader r = lsm_reader(rec.ops);
        struct lsm_buf out, ops;
        uint32_t count = 0;

        lsm_buf_init(&ops, os);
        while (lsm_reader_left(&r)) {
            struct lsm_slice key, value;
            enum lsm_kind kind;
            uint32_t tree;

            REQUIRE(lsm_op_decode(&r, &kind, &tree, &key, &value));
            lsm_op_encode(&ops, kind, tree, key, value);
            count++;
        }
        REQUIRE(count == rec.op_count);
        REQUIRE(lsm_slice_equal(lsm_buf_slice(&ops), rec.ops));
        lsm_buf_init(&out, os);
        lsm_record_encode(&out, &rec, uuid);
        REQUIRE(out.rc == LSM_OK);
        REQUIRE(lsm_slice_equal(lsm_buf_slice(&out), lsm_slice(bytes, size)));
        lsm_buf_clear(&out);
        lsm_buf_clear(&ops);
        REQUIRE(os->mem_used(os) == 0);
    }
    free(bytes);
    return 0;
}

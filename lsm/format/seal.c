/*
 * seal.c -- sealing and unsealing.
 *
 * The sum is checked before anything else is believed: after it, a bad field
 * can only come from someone who computes sums, and is still answered with
 * LSM_CORRUPT, never with an allocation that the stored bytes cannot fill.
 *
 * zstd can shrink 128 KiB of zeros to 4 bytes. So that an honest block never
 * looks like a bomb, a frame that small is followed by zeros up to
 * raw size / LSM_BLOCK_RATIO_MAX; the frame's own size says where it ends and
 * the zeros are checked.
 *
 * Threads: pure, apart from the compressor, which is the caller's.
 */
#include <assert.h>

#include "lsm/format/seal.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

#define SUM_SIZE 4u                     /* behind codec, kind, flags */
#define RAW_SIZE_SIZE 4u                /* before a frame */

_Static_assert(LSM_BLOCK_RAW_SIZE_MAX <= UINT32_MAX, "raw sizes are stored in 32 bits");

uint64_t lsm_seal_seed(const uint8_t uuid[16], uint64_t file_number)
{
    uint8_t bytes[24];

    memcpy(bytes, uuid, 16);
    lsm_put_u64(bytes + 16, file_number);
    return lsm_hash64(bytes, sizeof(bytes), 0);
}

/* Append `raw size ‖ frame ‖ zeros`. False, and `out` as it was: it does not pay. */
static bool append_compressed(struct lsm_buf *out, struct lsm_slice payload, int codec, int level,
                        struct lsm_compressor *compressor)
{
    static const uint8_t zeros[512];
    size_t start = out->size, stored_max = payload.size - payload.size / 8;
    size_t frame, least = payload.size / LSM_BLOCK_RATIO_MAX + 1;

    if (stored_max <= RAW_SIZE_SIZE)
        return false;
    lsm_buf_put_u32(out, (uint32_t)payload.size);
    frame = lsm_compress(compressor, codec, level, payload, out, stored_max - RAW_SIZE_SIZE);
    if (frame == 0) {
        out->size = start;
        return false;
    }
    while (frame < least && out->rc == LSM_OK) {
        size_t n = least - frame < sizeof(zeros) ? least - frame : sizeof(zeros);

        lsm_buf_append(out, zeros, n);
        frame += n;
    }
    return true;
}

void lsm_seal(struct lsm_buf *out, struct lsm_slice payload, enum lsm_block_kind kind, int codec,
              int level, struct lsm_compressor *compressor, uint64_t place)
{
    size_t start = out->size;

    assert(codec >= LSM_CODEC_NONE && codec <= LSM_CODEC_MAX);
    if (out->rc)
        return;
    if (payload.size > LSM_BLOCK_RAW_SIZE_MAX) {
        out->rc = lsm_fail(LSM_TOOBIG, "a block of %zu bytes is over the limit of %zu",
                           payload.size, (size_t)LSM_BLOCK_RAW_SIZE_MAX);
        return;
    }

    if (codec != LSM_CODEC_NONE && !append_compressed(out, payload, codec, level, compressor))
        codec = LSM_CODEC_NONE;
    if (codec == LSM_CODEC_NONE)
        lsm_buf_append_slice(out, payload);
    lsm_buf_put_u8(out, (uint8_t)codec);
    lsm_buf_put_u8(out, (uint8_t)kind);
    lsm_buf_put_u16(out, 0);
    if (out->rc == LSM_OK)
        lsm_buf_put_u32(out, lsm_hash32(out->data + start, out->size - start, place));
}

static bool has_its_sum(struct lsm_slice sealed, uint64_t place)
{
    const uint8_t *sum = sealed.data + sealed.size - SUM_SIZE;

    return lsm_get_u32(sum) == lsm_hash32(sealed.data, sealed.size - SUM_SIZE, place);
}

bool lsm_seal_is_intact(struct lsm_slice sealed, enum lsm_block_kind kind, uint64_t place)
{
    const uint8_t *trailer;

    if (sealed.size < LSM_SEAL_TRAILER_SIZE || !has_its_sum(sealed, place))
        return false;
    trailer = sealed.data + sealed.size - LSM_SEAL_TRAILER_SIZE;
    return trailer[1] == kind && lsm_get_u16(trailer + 2) == 0;
}

void lsm_seal_look(struct lsm_slice sealed, int *codec, size_t *raw_size)
{
    size_t stored = sealed.size - LSM_SEAL_TRAILER_SIZE;

    *codec = sealed.data[stored];
    *raw_size = *codec == LSM_CODEC_NONE ? stored : stored < RAW_SIZE_SIZE ? 0 : lsm_get_u32(sealed.data);
}

void lsm_seal_copy(struct lsm_buf *out, struct lsm_slice sealed, uint64_t place)
{
    lsm_buf_append(out, sealed.data, sealed.size - SUM_SIZE);
    lsm_buf_put_u32(out, lsm_hash32(sealed.data, sealed.size - SUM_SIZE, place));
}

/* `raw size ‖ frame ‖ zeros` into `raw`. */
static int unseal_compressed(struct lsm_slice stored, enum lsm_block_kind kind, int codec, struct lsm_compressor *compressor,
                       struct lsm_buf *raw, const char *file, uint64_t off)
{
    struct lsm_slice frame;
    size_t raw_size;

    if (stored.size <= RAW_SIZE_SIZE)
        return lsm_corrupt(file, off, "a compressed block has no room for its size");
    raw_size = lsm_get_u32(stored.data);
    frame = lsm_slice(stored.data + RAW_SIZE_SIZE, stored.size - RAW_SIZE_SIZE);
    if (raw_size > LSM_BLOCK_RAW_SIZE_MAX || raw_size / LSM_BLOCK_RATIO_MAX > frame.size)
        return lsm_corrupt(file, off, "a compressed block claims more than it can hold");
    if (codec == LSM_CODEC_LZ ? kind != LSM_BLOCK_DATA && kind != LSM_BLOCK_VALUE : !compressor)
        return lsm_corrupt(file, off, "a block is compressed that never is");

    lsm_buf_reset(raw);
    if (lsm_buf_reserve(raw, raw_size) != LSM_OK)
        return raw->rc;
    if (!lsm_decompress(compressor, codec, frame, raw->data, raw_size))
        return lsm_corrupt(file, off, "a compressed block does not decompress to its size");
    raw->size = raw_size;
    return LSM_OK;
}

int lsm_unseal(struct lsm_slice sealed, enum lsm_block_kind kind, uint64_t place,
               struct lsm_compressor *compressor, struct lsm_buf *raw, struct lsm_slice *payload,
               const char *file, uint64_t off)
{
    const uint8_t *trailer;
    struct lsm_slice stored;
    int rc;

    *payload = lsm_slice(NULL, 0);
    if (sealed.size < LSM_SEAL_TRAILER_SIZE)
        return lsm_corrupt(file, off, "a block is shorter than its trailer");
    stored = lsm_slice(sealed.data, sealed.size - LSM_SEAL_TRAILER_SIZE);
    trailer = sealed.data + stored.size;

    if (!has_its_sum(sealed, place))
        return lsm_corrupt(file, off, "the sum of a block does not match its bytes and place");
    if (trailer[1] != kind)
        return lsm_corrupt(file, off, "a block is of another kind");
    if (lsm_get_u16(trailer + 2) != 0)
        return lsm_corrupt(file, off, "a block has unknown flags");

    switch (trailer[0]) {
    case LSM_CODEC_NONE:
        if (stored.size > LSM_BLOCK_RAW_SIZE_MAX)
            return lsm_corrupt(file, off, "a block is over the limit");
        *payload = stored;
        return LSM_OK;
    case LSM_CODEC_ZSTD:
    case LSM_CODEC_ZSTD_DICT:
    case LSM_CODEC_LZ:
        rc = unseal_compressed(stored, kind, trailer[0], compressor, raw, file, off);
        if (rc == LSM_OK)
            *payload = lsm_buf_slice(raw);
        return rc;
    default:
        return lsm_corrupt(file, off, "a block's codec is unknown");
    }
}

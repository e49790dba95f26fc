/*
 * seal.h -- a block as it stands in a file: payload, perhaps compressed, and a
 * trailer whose sum also covers where the block stands.
 *
 *     sealed := stored[n]  codec:u8  kind:u8  flags:u16 (0)  sum:u32
 *     sum     = low half of XXH3(stored ‖ codec kind flags, seed = place)
 *     place   = lsm_seal_seed(store uuid, file number) + offset of stored[0]
 *     zstd, with a dictionary or without, and lz (only data and values):
 *               stored := raw size:u32  frame  zero*      (zeros: up to raw size / RATIO_MAX)
 *
 * The seed makes a right block in a wrong place a wrong block.
 */
#ifndef LSM_FORMAT_SEAL_H
#define LSM_FORMAT_SEAL_H

#include "lsm/format/compress.h"
#include "lsm/util/buf.h"

enum lsm_block_kind {
    LSM_BLOCK_DATA = 1, LSM_BLOCK_FILTER = 2, LSM_BLOCK_INDEX = 3, LSM_BLOCK_TOP_INDEX = 4,
    LSM_BLOCK_RANGE_DELETE = 5, LSM_BLOCK_PROPERTIES = 6, LSM_BLOCK_VALUE = 7, LSM_BLOCK_DICT = 8,
    LSM_BLOCK_VALUE_MAP = 9, LSM_BLOCK_DICT_TABLES = 10
};

#define LSM_SEAL_TRAILER_SIZE 8u
/* One value may be a block of its own: the largest key, value and 64 KiB of room. */
#define LSM_BLOCK_RAW_SIZE_MAX (LSM_VALUE_SIZE_MAX + LSM_KEY_SIZE_MAX + 0x10000u)
#define LSM_BLOCK_RATIO_MAX 4096u               /* a bomb claims more than this */

uint64_t lsm_seal_seed(const uint8_t uuid[16], uint64_t file_number);

/* Append the sealed form of `payload` to `out`. Codecs fall back to NONE when they save
   less than an eighth; LSM_CODEC_ZSTD_DICT needs a compressor with a dictionary. Latches errors in
   out->rc (LSM_NOMEM, LSM_TOOBIG). */
void lsm_seal(struct lsm_buf *out, struct lsm_slice payload, enum lsm_block_kind kind, int codec,
              int level, struct lsm_compressor *compressor, uint64_t place);

/* Has a sealed block the sum of its bytes and place, and is it of this kind? */
bool lsm_seal_is_intact(struct lsm_slice sealed, enum lsm_block_kind kind, uint64_t place);
/* Its codec and the size of its payload. Of a block that is intact. */
void lsm_seal_look(struct lsm_slice sealed, int *codec, size_t *raw_size);
/* Append an intact block with the sum of another place. Latches errors in out->rc. */
void lsm_seal_copy(struct lsm_buf *out, struct lsm_slice sealed, uint64_t place);

/*
 * Check a sealed block and give its payload: *payload is `raw` when it was
 * compressed (raw is reset first), else it points into `sealed`. LSM_CORRUPT
 * with file and offset for the text; nothing is allocated for a size that the
 * bytes do not support. Without a compressor, a block that zstd compressed is corrupt.
 */
int lsm_unseal(struct lsm_slice sealed, enum lsm_block_kind kind, uint64_t place,
               struct lsm_compressor *compressor, struct lsm_buf *raw, struct lsm_slice *payload,
               const char *file, uint64_t off);

#endif

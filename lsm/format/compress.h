/*
 * compress.h -- codecs with contexts that are made once and used again
 * (a zstd context made per 4 KiB block costs 8 us of 18). All their memory comes
 * from the seam.
 *
 * Threads: one thread at a time; lsm_compressor_pool hands them out.
 */
#ifndef LSM_FORMAT_COMPRESS_H
#define LSM_FORMAT_COMPRESS_H

#include "lsm/util/buf.h"

enum lsm_codec { LSM_CODEC_NONE = 0, LSM_CODEC_ZSTD = 1, LSM_CODEC_ZSTD_DICT = 2 };

struct lsm_compressor;
struct lsm_compressor_pool;

int lsm_compressor_pool_new(struct lsm_os *os, struct lsm_compressor_pool **pool);
void lsm_compressor_pool_free(struct lsm_compressor_pool *pool);
/* LSM_NOMEM; a compressor taken goes back with put. */
int lsm_compressor_take(struct lsm_compressor_pool *pool, struct lsm_compressor **compressor);
void lsm_compressor_put(struct lsm_compressor_pool *pool, struct lsm_compressor *compressor);

/* Append the compressed form of `raw`; returns its size, 0 on failure or when it would exceed `size_max`. */
size_t lsm_compress(struct lsm_compressor *c, int level, struct lsm_slice raw, struct lsm_buf *out,
                    size_t size_max);
/* One frame, and zeros behind it, to exactly `raw_size` bytes in `raw`; else false. Needs no memory. */
bool lsm_decompress(struct lsm_compressor *c, struct lsm_slice stored, uint8_t *raw, size_t raw_size);
const char *lsm_compress_library(void);         /* "zstd 1.5.4" */

#endif

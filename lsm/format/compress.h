/*
 * compress.h -- the codecs: zstd, and lz (lz.h), which decodes two to three times as
 * fast. Contexts are made once and used again (a zstd context made per 4 KiB block costs
 * 8 us of 18). All their memory comes from the seam.
 *
 * Threads: one thread at a time; lsm_compressor_pool hands them out.
 */
#ifndef LSM_FORMAT_COMPRESS_H
#define LSM_FORMAT_COMPRESS_H

#include "lsm/util/buf.h"

enum lsm_codec {
    LSM_CODEC_NONE = 0, LSM_CODEC_ZSTD = 1, LSM_CODEC_ZSTD_DICT = 2, LSM_CODEC_LZ = 3,
    LSM_CODEC_MAX = LSM_CODEC_LZ
};

struct lsm_compressor;
struct lsm_compressor_pool;

int lsm_compressor_pool_new(struct lsm_os *os, struct lsm_compressor_pool **pool);
void lsm_compressor_pool_free(struct lsm_compressor_pool *pool);
/* LSM_NOMEM; a compressor taken goes back with put. */
int lsm_compressor_take(struct lsm_compressor_pool *pool, struct lsm_compressor **compressor);
void lsm_compressor_put(struct lsm_compressor_pool *pool, struct lsm_compressor *compressor);

/* Append the compressed form of `raw`; returns its size, 0 on failure or when it would exceed `size_max`.
   `codec` is not NONE; the level of a dictionary is its own, LZ has none. */
size_t lsm_compress(struct lsm_compressor *c, int codec, int level, struct lsm_slice raw, struct lsm_buf *out,
                    size_t size_max);
/* One frame, and zeros behind it, to exactly `raw_size` bytes in `raw`; else false. Needs no memory. Only zstd
   needs a compressor. */
bool lsm_decompress(struct lsm_compressor *c, int codec, struct lsm_slice stored, uint8_t *raw, size_t raw_size);
/*
 * Dictionaries: what small values of one kind have in common, so that each need not say
 * it anew. Immutable: any threads.
 */
#define LSM_DICT_SIZE_MAX (64u << 10)   /* bytes; larger ones are not read */

struct lsm_dict;

/* To compress with, at this level; and to decompress with. `bytes`, which are copied, are like what will be
   compressed; with tables, they are in zstd's format (train.h). LSM_NOMEM. LSM_CORRUPT, without a text: not in
   that format. */
int lsm_dict_new_writer(struct lsm_os *os, struct lsm_slice bytes, bool has_tables, int level, struct lsm_dict **dict);
int lsm_dict_new_reader(struct lsm_os *os, struct lsm_slice bytes, bool has_tables, struct lsm_dict **dict);
void lsm_dict_free(struct lsm_dict *dict);      /* NULL is fine */
uint64_t lsm_dict_memory(const struct lsm_dict *dict);

/* What LSM_CODEC_ZSTD_DICT means to this compressor from now on, until it is put back. NULL: nothing. */
void lsm_compressor_set_dict(struct lsm_compressor *compressor, const struct lsm_dict *dict);

const char *lsm_compress_library(void);         /* "zstd 1.5.4" */

#endif

/*
 * compress.c -- zstd with contexts that live in a pool.
 *
 * A compressor's decompression context is made with it, so that reading never
 * needs memory that it cannot report as LSM_NOMEM: a failed decompression means
 * bad bytes and nothing else. The compression context (several hundred KiB once
 * used) is made by the first lsm_compress: readers never pay for it. Without
 * memory for it, blocks are stored as they are.
 *
 * A frame is looked at before zstd runs on it: one frame, of today's format,
 * that states its size. Legacy formats, which libzstd may have been built with,
 * skippable frames and streams of unknown size are refused.
 *
 * The table of lz is made by the first lsm_compress that asks for it, too.
 *
 * Threads: the pool's list is under its mutex.
 */
#define ZSTD_STATIC_LINKING_ONLY        /* custom allocators, frame headers */

#include <assert.h>
#include <zstd.h>

#include "lsm/format/compress.h"
#include "lsm/format/lz.h"
#include "lsm/util/coding.h"

#define IDLE_MAX 16u            /* kept in the pool; a rush's surplus is freed */

struct lsm_compressor {
    struct lsm_os *os;
    ZSTD_DCtx *dctx;
    ZSTD_CCtx *cctx;            /* NULL until something is compressed */
    struct lsm_lz *lz;          /* so */
    const struct lsm_dict *dict;
    struct lsm_compressor *next;        /* in the pool */
};

struct lsm_dict {
    struct lsm_os *os;
    const ZSTD_CDict *writer;   /* one of the two, */
    const ZSTD_DDict *reader;
    void *room;                 /* where it lies */
    size_t memory;
};

struct lsm_compressor_pool {
    struct lsm_os *os;
    struct lsm_mutex *mutex;
    /* under mutex */
    struct lsm_compressor *idle;
    uint32_t idle_count;
    uint32_t taken;
};

static void *seam_alloc(void *os, size_t size)
{
    return lsm_mem_alloc(os, size);
}

static void seam_free(void *os, void *p)
{
    lsm_mem_free(os, p);
}

static ZSTD_customMem seam_memory(struct lsm_os *os)
{
    ZSTD_customMem memory = { seam_alloc, seam_free, os };
    return memory;
}

static void compressor_free(struct lsm_compressor *c)
{
    ZSTD_freeCCtx(c->cctx);
    ZSTD_freeDCtx(c->dctx);
    lsm_mem_free(c->os, c->lz);
    lsm_mem_free(c->os, c);
}

static int compressor_new(struct lsm_os *os, struct lsm_compressor **compressor)
{
    struct lsm_compressor *c = lsm_mem_zalloc(os, sizeof(*c));

    if (!c)
        return lsm_nomem();
    c->os = os;
    c->dctx = ZSTD_createDCtx_advanced(seam_memory(os));
    if (!c->dctx) {
        compressor_free(c);
        return lsm_nomem();
    }
    *compressor = c;
    return LSM_OK;
}

int lsm_compressor_pool_new(struct lsm_os *os, struct lsm_compressor_pool **pool)
{
    struct lsm_compressor_pool *p = lsm_mem_zalloc(os, sizeof(*p));
    int error;

    *pool = NULL;
    if (!p)
        return lsm_nomem();
    p->os = os;
    error = os->mutex_new(os, &p->mutex);
    if (error) {
        lsm_mem_free(os, p);
        return lsm_fail_os(error, "make a mutex", NULL);
    }
    *pool = p;
    return LSM_OK;
}

void lsm_compressor_pool_free(struct lsm_compressor_pool *pool)
{
    if (!pool)
        return;
    assert(pool->taken == 0);
    while (pool->idle) {
        struct lsm_compressor *c = pool->idle;

        pool->idle = c->next;
        compressor_free(c);
    }
    pool->os->mutex_free(pool->mutex);
    lsm_mem_free(pool->os, pool);
}

int lsm_compressor_take(struct lsm_compressor_pool *pool, struct lsm_compressor **compressor)
{
    struct lsm_os *os = pool->os;
    struct lsm_compressor *c;
    int rc;

    os->mutex_lock(pool->mutex);
    c = pool->idle;
    if (c) {
        pool->idle = c->next;
        pool->idle_count--;
    }
    pool->taken++;
    os->mutex_unlock(pool->mutex);

    *compressor = c;
    if (c)
        return LSM_OK;
    rc = compressor_new(os, compressor);
    if (rc != LSM_OK) {
        os->mutex_lock(pool->mutex);
        pool->taken--;
        os->mutex_unlock(pool->mutex);
    }
    return rc;
}

void lsm_compressor_put(struct lsm_compressor_pool *pool, struct lsm_compressor *compressor)
{
    struct lsm_os *os = pool->os;
    bool keep;

    if (!compressor)
        return;
    compressor->dict = NULL;
    os->mutex_lock(pool->mutex);
    assert(pool->taken > 0);
    pool->taken--;
    keep = pool->idle_count < IDLE_MAX;
    if (keep) {
        compressor->next = pool->idle;
        pool->idle = compressor;
        pool->idle_count++;
    }
    os->mutex_unlock(pool->mutex);
    if (!keep)
        compressor_free(compressor);
}

static size_t compress_lz(struct lsm_compressor *c, struct lsm_slice raw, struct lsm_buf *out, size_t size_max)
{
    size_t size;

    if (!c->lz)
        c->lz = lsm_mem_zalloc(c->os, sizeof *c->lz);
    if (!c->lz || lsm_buf_reserve(out, size_max) != LSM_OK)
        return 0;
    size = lsm_lz_compress(c->lz, raw, out->data + out->size, size_max);
    out->size += size;
    return size;
}

size_t lsm_compress(struct lsm_compressor *c, int codec, int level, struct lsm_slice raw, struct lsm_buf *out,
                    size_t size_max)
{
    size_t bound = ZSTD_compressBound(raw.size), size;

    if (codec == LSM_CODEC_LZ)
        return compress_lz(c, raw, out, size_max);
    if (!c->cctx)
        c->cctx = ZSTD_createCCtx_advanced(seam_memory(c->os));
    if (!c->cctx || ZSTD_isError(bound) || lsm_buf_reserve(out, bound) != LSM_OK)
        return 0;
    /* With less room than the bound, zstd fails on frames that would have fitted. */
    if (codec == LSM_CODEC_ZSTD_DICT)
        size = ZSTD_compress_usingCDict(c->cctx, out->data + out->size, bound, raw.data, raw.size,
                                        c->dict->writer);
    else
        size = ZSTD_compressCCtx(c->cctx, out->data + out->size, bound, raw.data, raw.size, level);
    if (ZSTD_isError(size) || size > size_max)
        return 0;
    out->size += size;
    return size;
}

static bool all_zero(const uint8_t *p, size_t size)
{
    uint8_t any = 0;

    for (size_t i = 0; i < size; i++)
        any |= p[i];
    return any == 0;
}

bool lsm_decompress(struct lsm_compressor *c, int codec, struct lsm_slice stored, uint8_t *raw,
                    size_t raw_size)
{
    const struct lsm_dict *dict;
    ZSTD_frameHeader header;
    size_t frame, size;

    if (codec == LSM_CODEC_LZ)
        return lsm_lz_decompress(stored, raw, raw_size);
    dict = codec == LSM_CODEC_ZSTD_DICT ? c->dict : NULL;
    if (codec == LSM_CODEC_ZSTD_DICT && !dict)
        return false;
    if (stored.size < 4 || lsm_get_u32(stored.data) != ZSTD_MAGICNUMBER)
        return false;
    if (ZSTD_getFrameHeader(&header, stored.data, stored.size) != 0 ||
        header.frameContentSize != raw_size || header.dictID != 0)
        return false;
    frame = ZSTD_findFrameCompressedSize(stored.data, stored.size);
    if (ZSTD_isError(frame) || !all_zero(stored.data + frame, stored.size - frame))
        return false;
    size = dict ? ZSTD_decompress_usingDDict(c->dctx, raw, raw_size, stored.data, frame, dict->reader)
                : ZSTD_decompressDCtx(c->dctx, raw, raw_size, stored.data, frame);
    return !ZSTD_isError(size) && size == raw_size;
}

/* ---- dictionaries ---- */

/* In memory of ours: ZSTD_createCDict_advanced (1.5.4) follows a null pointer where its own gives none, and only
   so is what is malformed told from what there is no memory for. */
static int dict_new(struct lsm_os *os, struct lsm_slice bytes, size_t room_size, struct lsm_dict **dict)
{
    assert(bytes.size > 0 && bytes.size <= LSM_DICT_SIZE_MAX);
    (void)bytes;
    *dict = lsm_mem_zalloc(os, sizeof **dict);
    if (!*dict)
        return lsm_nomem();
    (*dict)->os = os;
    (*dict)->room = lsm_mem_alloc(os, room_size);
    if ((*dict)->room)
        return LSM_OK;
    lsm_dict_free(*dict);
    *dict = NULL;
    return lsm_nomem();
}

static int dict_made(struct lsm_dict **dict)
{
    if ((*dict)->writer || (*dict)->reader)
        return LSM_OK;
    lsm_dict_free(*dict);
    *dict = NULL;
    return LSM_CORRUPT;
}

static ZSTD_dictContentType_e content_type(bool has_tables)
{
    return has_tables ? ZSTD_dct_fullDict : ZSTD_dct_rawContent;
}

int lsm_dict_new_writer(struct lsm_os *os, struct lsm_slice bytes, bool has_tables, int level, struct lsm_dict **dict)
{
    ZSTD_compressionParameters params = ZSTD_getCParams(level, 0, bytes.size);
    size_t size = ZSTD_estimateCDictSize_advanced(bytes.size, params, ZSTD_dlm_byCopy);
    int rc = dict_new(os, bytes, size, dict);

    if (rc)
        return rc;
    (*dict)->writer = ZSTD_initStaticCDict((*dict)->room, size, bytes.data, bytes.size, ZSTD_dlm_byCopy,
                                           content_type(has_tables), params);
    (*dict)->memory = size;
    return dict_made(dict);
}

int lsm_dict_new_reader(struct lsm_os *os, struct lsm_slice bytes, bool has_tables, struct lsm_dict **dict)
{
    size_t size = ZSTD_estimateDDictSize(bytes.size, ZSTD_dlm_byCopy);
    int rc = dict_new(os, bytes, size, dict);

    if (rc)
        return rc;
    (*dict)->reader = ZSTD_initStaticDDict((*dict)->room, size, bytes.data, bytes.size, ZSTD_dlm_byCopy,
                                           content_type(has_tables));
    (*dict)->memory = size;
    return dict_made(dict);
}

void lsm_dict_free(struct lsm_dict *dict)
{
    if (!dict)
        return;
    lsm_mem_free(dict->os, dict->room);
    lsm_mem_free(dict->os, dict);
}

uint64_t lsm_dict_memory(const struct lsm_dict *dict)
{
    return dict ? sizeof *dict + dict->memory : 0;
}

void lsm_compressor_set_dict(struct lsm_compressor *compressor, const struct lsm_dict *dict)
{
    compressor->dict = dict;
}

const char *lsm_compress_library(void)
{
    return "zstd " ZSTD_VERSION_STRING;
}

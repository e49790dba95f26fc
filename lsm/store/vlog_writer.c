/*
 * vlog_writer.c -- write values to a file of their own; see vlog_writer.h.
 *
 * Threads: one at a time.
 */
#include "lsm/store/vlog_writer.h"

#include <assert.h>

#include "lsm/format/train.h"
#include "lsm/store/outfile.h"
#include "lsm/store/vlog_format.h"
#include "lsm/util/hash.h"

#define LEVEL_FULL 1                    /* as in table_writer.c, where blocks tell it by trying */
#define LEVEL_LIGHT (-1)
#define LOOK_BYTES 256u                 /* of a value */
#define LOOK_VALUES 16u                 /* one in so many, of those whose bytes are even, is compressed in two ways */
#define LZ_LOSS_MAX 64u                 /* of a value's size, for lz to be taken */
#define LZ_SIZE_MAX (256u << 10)        /* it finds nothing that is more than 64 KiB back */

struct lsm_vlog_writer {
    struct lsm_outfile f;
    struct lsm_compressor *compressor;
    struct lsm_vlog_options options;
    uint8_t uuid[16];
    uint64_t number, id;
    uint32_t tree;
    uint64_t seed;
    bool is_copy;
    uint64_t value_count, value_bytes;
    uint64_t end;                       /* of the places */
    struct lsm_dict *dict;              /* what values are compressed with from now on; NULL: nothing */
    uint64_t dict_off;
    uint32_t dict_size;                 /* 0: there is none (yet) */
    struct lsm_buf samples, sample_sizes;       /* size_t each; until there are enough */
    bool is_sampled;                    /* there were enough, or memory was short */
    bool is_lz;                         /* what the last look said */
    uint32_t look_in;                   /* values; 0: look */
    struct lsm_buf trial;

    /* of a copy */
    struct lsm_buf map;                 /* stretches that are complete */
    uint64_t map_count;
    uint64_t map_end;                   /* where the last complete stretch ends */
    uint64_t from, to;                  /* the stretch that is being made */
};

static void fail(struct lsm_vlog_writer *w, int rc)
{
    lsm_outfile_fail(&w->f, rc);
}

static int open_file(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                     uint64_t number, uint64_t id, uint32_t tree, uint32_t file_mode,
                     struct lsm_vlog_writer **writer)
{
    struct lsm_vlog_writer *w = lsm_mem_zalloc(os, sizeof *w);
    uint8_t header[LSM_VLOG_HEADER_SIZE];
    int rc;

    *writer = NULL;
    if (!w)
        return lsm_nomem();
    memcpy(w->uuid, uuid, 16);
    w->number = number;
    w->id = id;
    w->tree = tree;
    w->seed = lsm_seal_seed(uuid, id);
    rc = lsm_outfile_open(&w->f, os, dir, LSM_FILE_VLOG, number, file_mode);
    if (rc) {
        lsm_mem_free(os, w);
        return rc;
    }
    lsm_buf_init(&w->map, os);
    lsm_buf_init(&w->samples, os);
    lsm_buf_init(&w->trial, os);
    lsm_buf_init(&w->sample_sizes, os);
    lsm_vlog_header_encode(header, LSM_VLOG_MAGIC, uuid, number, id, tree);
    lsm_put_u64(header + LSM_VLOG_HEADER_SIZE - 8,
                lsm_hash64(header, LSM_VLOG_HEADER_SIZE - 8, 0));
    lsm_buf_append(&w->f.out, header, sizeof header);
    w->map_end = w->from = w->to = LSM_VLOG_HEADER_SIZE;
    *writer = w;
    return LSM_OK;
}

int lsm_vlog_writer_open(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                         uint64_t number, uint32_t tree, const struct lsm_vlog_options *options,
                         struct lsm_compressor *compressor, uint32_t file_mode,
                         struct lsm_vlog_writer **writer)
{
    int rc = open_file(os, dir, uuid, number, number, tree, file_mode, writer);

    if (rc)
        return rc;
    (*writer)->options = *options;
    (*writer)->compressor = compressor;
    return LSM_OK;
}

int lsm_vlog_writer_open_copy(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                              uint64_t number, const struct lsm_vlog_meta *meta, uint32_t file_mode,
                              struct lsm_vlog_writer **writer)
{
    int rc = open_file(os, dir, uuid, number, meta->id, meta->tree, file_mode, writer);

    assert(number > meta->id);
    if (rc)
        return rc;
    (*writer)->is_copy = true;
    (*writer)->end = meta->end;
    return LSM_OK;
}

/* ---- the dictionary ---- */

#define SAMPLE_SIZE_MAX (16u << 10)     /* larger values have their context in themselves */
#define SAMPLES_MIN 16u
#define SAMPLES_BYTES (128u << 10)
#define DICT_BYTES (8u << 10)           /* more is slower and no better (documents of 1 KB) */
#define JUDGES 8u                       /* samples that say whether it is worth its place */

/* Samples from all over, of long ones the beginning; not of the judges. */
static void choose(const struct lsm_vlog_writer *w, struct lsm_buf *out)
{
    const size_t *sizes = (const size_t *)(const void *)w->sample_sizes.data;
    size_t count = w->sample_sizes.size / sizeof *sizes - JUDGES, at = 0;

    for (size_t i = 0; i < count && out->size < DICT_BYTES; i++) {
        size_t room = DICT_BYTES - out->size, take = sizes[i] < DICT_BYTES / 4 ? sizes[i] : DICT_BYTES / 4;
        if (out->size * w->samples.size <= at * DICT_BYTES)
            lsm_buf_append(out, w->samples.data + at, take < room ? take : room);
        at += sizes[i];
    }
}

/* Bytes of the last samples when sealed with this codec. */
static size_t judge(struct lsm_vlog_writer *w, int codec)
{
    const size_t *sizes = (const size_t *)(const void *)w->sample_sizes.data;
    size_t count = w->sample_sizes.size / sizeof *sizes, at = w->samples.size, sum = 0;
    struct lsm_buf out;

    lsm_buf_init(&out, w->f.os);
    for (size_t i = count; i-- > 0 && count - i <= JUDGES;) {
        at -= sizes[i];
        lsm_buf_reset(&out);
        lsm_seal(&out, lsm_slice(w->samples.data + at, sizes[i]), LSM_BLOCK_VALUE, codec, w->options.level,
                 w->compressor, 0);
        sum += out.rc ? SIZE_MAX / (2 * JUDGES) : out.size;
    }
    lsm_buf_clear(&out);
    return sum;
}

/* Put it into the file if it saves an eighth. Without memory for any of it there is none. */
static void make_dict(struct lsm_vlog_writer *w)
{
    const size_t *sizes = (const size_t *)(const void *)w->sample_sizes.data;
    struct lsm_buf content, bytes;
    size_t plain;

    lsm_buf_init(&content, w->f.os);
    lsm_buf_init(&bytes, w->f.os);
    choose(w, &content);
    if (content.rc == LSM_OK && content.size >= LSM_TRAIN_CONTENT_MIN)
        lsm_train(&bytes, lsm_buf_slice(&content), w->samples.data, sizes,
                  w->sample_sizes.size / sizeof *sizes - JUDGES);
    if (bytes.rc == LSM_OK && bytes.size &&
        lsm_dict_new_writer(w->f.os, lsm_buf_slice(&bytes), true, w->options.level, &w->dict) == LSM_OK) {
        lsm_compressor_set_dict(w->compressor, w->dict);
        plain = judge(w, LSM_CODEC_ZSTD);
        if (judge(w, LSM_CODEC_ZSTD_DICT) > plain - plain / 8) {
            lsm_compressor_set_dict(w->compressor, NULL);
            lsm_dict_free(w->dict);
            w->dict = NULL;
        } else {
            w->dict_off = lsm_outfile_size(&w->f);
            lsm_seal(&w->f.out, lsm_buf_slice(&bytes), LSM_BLOCK_DICT_TABLES, LSM_CODEC_NONE, 0, NULL,
                     w->seed + w->dict_off);
            fail(w, w->f.out.rc);
            w->dict_size = (uint32_t)(lsm_outfile_size(&w->f) - w->dict_off);
        }
    }
    lsm_buf_clear(&content);
    lsm_buf_clear(&bytes);
}

static void add_sample(struct lsm_vlog_writer *w, struct lsm_slice value)
{
    if (w->is_sampled || w->options.codec == LSM_CODEC_NONE || value.size > SAMPLE_SIZE_MAX)
        return;
    lsm_buf_append_slice(&w->samples, value);
    lsm_buf_append(&w->sample_sizes, &value.size, sizeof value.size);
    w->is_sampled = w->samples.rc || w->sample_sizes.rc || w->samples.size >= SAMPLES_BYTES;
    if (!w->is_sampled)
        return;
    if (!w->samples.rc && !w->sample_sizes.rc && w->sample_sizes.size / sizeof value.size >= SAMPLES_MIN)
        make_dict(w);
    lsm_buf_clear(&w->samples);
    lsm_buf_clear(&w->sample_sizes);
}

/* Of n bytes drawn from an even 256, pairs that are alike are one in 256. */
static bool is_even(struct lsm_slice value)
{
    uint32_t count[256] = { 0 }, alike = 0;
    size_t step = value.size / LOOK_BYTES;

    if (step == 0)
        return false;
    step -= step % 2 == 0;              /* not the same byte of each number */
    for (size_t i = 0; i < LOOK_BYTES; i++)
        alike += count[value.data[i * step]]++;
    return alike < LOOK_BYTES * (LOOK_BYTES - 1) / 2 / 256 * 3 / 2;
}

static size_t try_codec(struct lsm_vlog_writer *w, struct lsm_slice value, int codec, int level)
{
    size_t size = lsm_compress(w->compressor, codec, level, value, &w->trial, value.size);

    lsm_buf_reset(&w->trial);
    return size ? size : SIZE_MAX;
}

/*
 * zstd's first level that codes literals takes half of its time for that. Where all bytes
 * are about as frequent (what is random, encrypted or compressed already) it saves
 * nothing, and the level before it, which finds the same matches, will do. Often lz
 * finds them, too: a few are compressed both ways. It takes a third of the time, and for
 * each read, too.
 */
static void choose_codec(struct lsm_vlog_writer *w, struct lsm_slice value, int *codec, int *level)
{
    *codec = w->options.codec;
    *level = w->options.level;
    if (*codec != LSM_CODEC_ZSTD || *level != LEVEL_FULL || !is_even(value))
        return;
    *level = LEVEL_LIGHT;
    if (value.size > LZ_SIZE_MAX)
        return;
    if (w->look_in == 0) {
        size_t light = try_codec(w, value, LSM_CODEC_ZSTD, LEVEL_LIGHT);
        w->is_lz = light != SIZE_MAX && try_codec(w, value, LSM_CODEC_LZ, 0) <= light + light / LZ_LOSS_MAX;
        w->look_in = LOOK_VALUES;
    }
    w->look_in--;
    if (w->is_lz)
        *codec = LSM_CODEC_LZ;
}

void lsm_vlog_writer_add(struct lsm_vlog_writer *w, struct lsm_slice value,
                         struct lsm_vlog_handle *handle)
{
    uint64_t off = lsm_outfile_size(&w->f), size;
    int codec, level = 0;

    assert(!w->is_copy && !w->f.is_finished);
    *handle = (struct lsm_vlog_handle){ 0 };
    if (w->f.rc)
        return;
    if (value.size > LSM_VALUE_SIZE_MAX) {
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a value of %zu bytes", w->f.name, value.size));
        return;
    }
    if (w->dict && value.size <= SAMPLE_SIZE_MAX)
        codec = LSM_CODEC_ZSTD_DICT;
    else
        choose_codec(w, value, &codec, &level);
    lsm_seal(&w->f.out, value, LSM_BLOCK_VALUE, codec, level, w->compressor, w->seed + off);
    fail(w, w->f.out.rc);
    if (w->f.rc)
        return;
    size = lsm_outfile_size(&w->f) - off;
    *handle = (struct lsm_vlog_handle){ w->id, off, (uint32_t)size, (uint32_t)value.size };
    w->value_count++;
    w->value_bytes += size;
    add_sample(w, value);
    lsm_outfile_grown(&w->f);
}

/* The stretch that is being made is complete: [from, to) of the first file. */
static void end_stretch(struct lsm_vlog_writer *w)
{
    if (w->from == w->to)
        return;
    lsm_buf_put_varint(&w->map, w->from - w->map_end);
    lsm_buf_put_varint(&w->map, w->to - w->from);
    fail(w, w->map.rc);
    w->map_count++;
    w->map_end = w->to;
}

static void copy(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed)
{
    assert(w->is_copy && !w->f.is_finished);
    if (w->f.rc)
        return;
    assert(off >= w->to && off <= w->end && sealed.size <= w->end - off);
    if (off != w->to) {
        end_stretch(w);
        w->from = off;
    }
    w->to = off + sealed.size;
    lsm_buf_append_slice(&w->f.out, sealed);
    fail(w, w->f.out.rc);
    lsm_outfile_grown(&w->f);
}

void lsm_vlog_writer_copy(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed,
                          uint64_t count)
{
    copy(w, off, sealed);
    w->value_count += count;
    w->value_bytes += sealed.size;
}

void lsm_vlog_writer_copy_dict(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed)
{
    copy(w, off, sealed);
    w->dict_off = off;
    w->dict_size = (uint32_t)sealed.size;
}

uint64_t lsm_vlog_writer_size(const struct lsm_vlog_writer *w)
{
    return lsm_outfile_size(&w->f);
}

static void put_map(struct lsm_vlog_writer *w, struct lsm_vlog_footer *footer)
{
    struct lsm_buf payload;

    end_stretch(w);
    lsm_buf_init(&payload, w->f.os);
    lsm_buf_put_varint(&payload, w->map_count);
    lsm_buf_append_slice(&payload, lsm_buf_slice(&w->map));
    fail(w, payload.rc);
    footer->map_off = lsm_outfile_size(&w->f);
    if (w->f.rc == LSM_OK)        /* seeded by the file, not by the log: it is the file's own */
        lsm_seal(&w->f.out, lsm_buf_slice(&payload), LSM_BLOCK_VALUE_MAP, LSM_CODEC_NONE, 0, NULL,
                 lsm_seal_seed(w->uuid, w->number) + footer->map_off);
    fail(w, w->f.out.rc);
    if (payload.size + LSM_SEAL_TRAILER_SIZE > UINT32_MAX)
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a map of %zu bytes", w->f.name, payload.size));
    footer->map_size = (uint32_t)(payload.size + LSM_SEAL_TRAILER_SIZE);
    lsm_buf_clear(&payload);
}

static void put_footer(struct lsm_vlog_writer *w, const struct lsm_vlog_footer *footer)
{
    uint8_t bytes[LSM_VLOG_FOOTER_SIZE];

    lsm_vlog_footer_encode(bytes, footer);
    lsm_vlog_header_encode(bytes + LSM_VLOG_FOOTER_SIZE - LSM_VLOG_HEADER_SIZE,
                           LSM_VLOG_FOOTER_MAGIC, w->uuid, w->number, w->id, w->tree);
    lsm_put_u64(bytes + LSM_VLOG_FOOTER_SIZE - 8,
                lsm_hash64(bytes, LSM_VLOG_FOOTER_SIZE - 8, 0));
    lsm_buf_append(&w->f.out, bytes, sizeof bytes);
}

int lsm_vlog_writer_finish(struct lsm_vlog_writer *w, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_footer footer = { 0 };
    int rc;

    assert(!w->f.is_finished);
    if (w->is_copy)
        put_map(w, &footer);
    else
        w->end = lsm_outfile_size(&w->f);
    footer.dict_off = w->dict_off;
    footer.dict_size = w->dict_size;
    footer.value_count = w->value_count;
    footer.value_bytes = w->value_bytes;
    footer.end = w->end;
    put_footer(w, &footer);
    rc = lsm_outfile_finish(&w->f);
    if (rc)
        return rc;
    *meta = (struct lsm_vlog_meta){
        .id = w->id, .number = w->number, .tree = w->tree, .size_bytes = w->f.written,
        .value_count = w->value_count, .value_bytes = w->value_bytes, .end = w->end,
    };
    return LSM_OK;
}

void lsm_vlog_writer_close(struct lsm_vlog_writer *w)
{
    struct lsm_os *os;

    if (!w)
        return;
    os = w->f.os;
    lsm_outfile_close(&w->f);
    lsm_buf_clear(&w->map);
    lsm_buf_clear(&w->trial);
    lsm_buf_clear(&w->samples);
    lsm_buf_clear(&w->sample_sizes);
    if (w->dict)
        lsm_compressor_set_dict(w->compressor, NULL);
    lsm_dict_free(w->dict);
    lsm_mem_free(os, w);
}

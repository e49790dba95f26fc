/*
 * fuzz_vlog.c -- any bytes as a value log, with any handles.
 *
 *     input := flags:u8  handle_count:u8  (off:u32 size:u16 raw_size:u16)*  file
 *
 * flags & 1: sums as they are, else header, footer, map and the values that the
 * handles lead to are made right first. flags & 2: a later file of its log, so
 * that the footer leads to a map.
 *
 * Whatever a handle gives must be as large as it says and lie within the file;
 * reading again gives the same, and reading sealed agrees with it.
 */
#include "lsm/format/filename.h"
#include "lsm/format/seal.h"
#include "lsm/store/vlog.h"
#include "lsm/store/vlog_format.h"
#include "tests/fuzz/frames.h"

#define ID 5u
#define NUMBER 9u
#define TREE 2u
#define HANDLES_MAX 64u

static const uint8_t uuid[16] = "0123456789abcdef";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refit(uint8_t *file, size_t size, uint64_t off, uint64_t block_size, uint64_t place)
{
    if (off > size || block_size > size - off || block_size < LSM_SEAL_TRAILER_SIZE)
        return;
    lsm_put_u32(file + off + block_size - 4, lsm_hash32(file + off, block_size - 4, place));
}

static void refit_frame(uint8_t *file, size_t size, uint64_t number)
{
    uint8_t *foot = file + size - LSM_VLOG_FOOTER_SIZE;

    lsm_vlog_header_encode(file, LSM_VLOG_MAGIC, uuid, number, ID, TREE);
    lsm_vlog_header_encode(file + size - LSM_VLOG_HEADER_SIZE, LSM_VLOG_FOOTER_MAGIC, uuid, number, ID, TREE);
    lsm_put_u64(file + LSM_VLOG_HEADER_SIZE - 8, lsm_hash64(file, LSM_VLOG_HEADER_SIZE - 8, 0));
    lsm_put_u64(foot + LSM_VLOG_FOOTER_SIZE - 8, lsm_hash64(foot, LSM_VLOG_FOOTER_SIZE - 8, 0));
}

static void read_one(struct lsm_vlog *v, const struct lsm_vlog_handle *h, size_t file_size, struct lsm_os *os)
{
    struct lsm_buf scratch, out, again;
    struct lsm_slice value, second;
    int rc;

    lsm_buf_init(&scratch, os);
    lsm_buf_init(&out, os);
    lsm_buf_init(&again, os);
    rc = lsm_vlog_read(v, h, &scratch, &out, &value);
    if (rc == LSM_OK) {
        FUZZ_CHECK(value.size == h->raw_size && h->size <= file_size && h->id == ID);
        FUZZ_CHECK(value.size / LSM_BLOCK_RATIO_MAX <= file_size);
        lsm_buf_append_slice(&again, value);
        FUZZ_CHECK(lsm_vlog_read(v, h, &scratch, &out, &second) == LSM_OK);
        FUZZ_CHECK(lsm_slice_equal(second, lsm_buf_slice(&again)));
        FUZZ_CHECK(lsm_vlog_read_sealed(v, h, &again) == LSM_OK && again.size == h->size);
    } else {
        FUZZ_CHECK(value.data == NULL && rc == LSM_CORRUPT);
    }
    lsm_vlog_prefetch(v, h, 1 << 20);
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
    lsm_buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_vlog_handle handles[HANDLES_MAX];
    struct lsm_vlog_meta meta = { .id = ID, .number = ID, .tree = TREE };
    struct lsm_compressor_pool *pool;
    struct fuzz_place place;
    struct lsm_vlogs *vlogs;
    struct lsm_vlog_footer f;
    struct lsm_vlog *v;
    char name[LSM_FILENAME_SIZE];
    uint8_t *file, flags;
    size_t count, head;

    if (size < 2 || data[1] > HANDLES_MAX)
        return 0;
    flags = data[0];
    count = data[1];
    head = 2 + 8 * count;
    if (size < head)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = data + 2 + 8 * i;
        handles[i] = (struct lsm_vlog_handle){ ID, lsm_get_u32(p), lsm_get_u16(p + 4), lsm_get_u16(p + 6) };
    }
    size -= head;
    file = malloc(size + 1);
    memcpy(file, data + head, size);
    if (flags & 2)
        meta.number = NUMBER;
    meta.size_bytes = size;
    if (size >= LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE) {
        lsm_vlog_footer_decode(file + size - LSM_VLOG_FOOTER_SIZE, &f);
        meta.value_count = f.value_count;
        meta.value_bytes = f.value_bytes;
        meta.end = f.end;
        if (!(flags & 1)) {
            for (size_t i = 0; i < count; i++)
                refit(file, size, handles[i].off, handles[i].size, lsm_seal_seed(uuid, ID) + handles[i].off);
            refit(file, size, f.map_off, f.map_size, lsm_seal_seed(uuid, meta.number) + f.map_off);
            refit_frame(file, size, meta.number);
        }
    }
    fuzz_begin(&place);
    fuzz_put(&place, lsm_filename(name, LSM_FILE_VLOG, meta.number), file, size);
    FUZZ_CHECK(lsm_compressor_pool_new(place.os, &pool) == LSM_OK);
    FUZZ_CHECK(lsm_vlogs_new(place.os, place.dir, uuid, pool, 3, &vlogs) == LSM_OK);
    if (lsm_vlogs_get(vlogs, &meta, &v) == LSM_OK) {
        for (size_t i = 0; i < count; i++)
            read_one(v, &handles[i], size, place.os);
        FUZZ_CHECK(lsm_vlog_check(v) == LSM_OK);
        lsm_vlog_unref(v);
    }
    lsm_vlogs_free(vlogs);
    lsm_compressor_pool_free(pool);
    fuzz_end(&place);
    free(file);
    return 0;
}

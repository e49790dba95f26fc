/*
 * fuzz_log.c -- any bytes as a log: it reads, or is refused; what it reads as is
 * what its good part alone reads as; and no size in it is believed beyond the file.
 */
#include "lsm/store/log.h"
#include "tests/fuzz/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[16] = { 1 };
static const char magic[8] = { 'L', 'S', 'M', 'L', 'O', 'G', '\r', '\n' };

struct seen {
    uint64_t count, sum, end;
};

static int see(void *ctx, struct lsm_slice payload, uint64_t off)
{
    struct seen *s = ctx;

    FUZZ_CHECK(off == s->end);
    s->end = off + lsm_frame_size(payload.size);
    s->sum = lsm_hash64(payload.data, payload.size, s->sum);
    s->count++;
    return LSM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_log_end end, prev, end_again, prev_again;
    struct seen s = { .end = LSM_LOG_HEADER_SIZE }, again = s;
    struct fuzz_place p;
    bool torn, torn_again;
    uint8_t *bytes;
    int rc;

    if (size < 1)
        return 0;
    bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        fuzz_fix(bytes, size - 1, LSM_LOG_HEADER_SIZE, magic, uuid, 1);
    fuzz_begin(&p);
    fuzz_put(&p, "000001.log", bytes, size - 1);
    rc = lsm_log_read(p.os, p.dir, uuid, 1, see, &s, &end, &prev, &torn);
    FUZZ_CHECK(rc == LSM_OK || rc == LSM_CORRUPT || rc == LSM_FORMAT);
    if (rc == LSM_OK) {
        FUZZ_CHECK(end.size <= size - 1);
        FUZZ_CHECK(end.size == 0 || end.size == s.end);
        fuzz_put(&p, "000001.log", bytes, (size_t)end.size);
        rc = lsm_log_read(p.os, p.dir, uuid, 1, see, &again, &end_again, &prev_again, &torn_again);
        FUZZ_CHECK(rc == LSM_OK);
        FUZZ_CHECK(s.count == again.count && s.sum == again.sum);
        FUZZ_CHECK(end.size == end_again.size && end.chain == end_again.chain);
        FUZZ_CHECK(end.size == 0 || !torn_again);
    }
    fuzz_end(&p);
    free(bytes);
    return 0;
}

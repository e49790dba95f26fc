/*
 * salvage_log.c -- records of a damaged log.
 *
 * Frames are chained, so behind a damaged one no sum can be verified as it was
 * written. But a frame's head has a mark of its own, and its `check` is the chain
 * behind it: with the head whole, only this frame is lost and the next is verified
 * as ever. Without it the next good mark is looked for; that frame's payload must
 * prove itself (a record has a hash of its own), and its check goes on with the chain.
 */
#include <errno.h>

#include "lsm/format/filename.h"
#include "lsm/store/frame.h"
#include "lsm/store/log.h"
#include "lsm/store/rescue.h"
#include "lsm/store/salvage.h"

#define LOG_BYTES_MAX (UINT64_C(4) << 30)       /* read into memory as a whole */

static void lost(const struct lsm_salvage *s, const char *name, uint64_t off, uint64_t size, const char *why)
{
    if (s->lost.fn)
        s->lost.fn(s->lost.ctx, name, off, size, why);
}

struct reading {
    const struct lsm_salvage *s;
    const char *name;
};

static void missing(void *ctx, uint64_t off, uint64_t size, int error)
{
    const struct reading *r = ctx;

    lsm_fail_os(error, "read", r->name);
    lost(r->s, r->name, off, size, lsm_error_text());
}

static int read_all(const struct lsm_salvage *s, const char *name, struct lsm_buf *to)
{
    struct reading reading = { s, name };
    struct lsm_rescue rescue = { .ctx = &reading, .missing = missing };
    struct lsm_file_info info;
    struct lsm_file *file;
    size_t got = 0;
    int error = s->os->file_open(s->dir, name, LSM_OPEN_READ, 0, &file), rc;

    if (error)
        return lsm_fail_os(error, "open", name);
    error = s->os->file_info(file, &info);
    if (!error && info.size > LOG_BYTES_MAX)
        error = EFBIG;
    rc = error ? lsm_fail_os(error, "read", name) : lsm_buf_reserve(to, (size_t)info.size + 1);
    if (rc == LSM_OK && (error = lsm_rescue_read(&rescue, s->os, file, to->data, (size_t)info.size, 0, &got)) != 0)
        rc = lsm_fail_os(error, "read", name);
    s->os->file_close(file);
    to->size = got;
    return rc;
}

static bool is_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* The chain before the first frame: the header's sum as it stands, or as it should be, whichever the
   frames were marked with. */
static bool find_base(const struct lsm_buf *log, uint64_t *base)
{
    const uint64_t tries[2] = { lsm_get_u64(log->data + LSM_LOG_HEADER_SIZE - 8),
                                lsm_frame_header_sum(log->data, LSM_LOG_HEADER_SIZE) };
    struct lsm_frame_head head;

    for (size_t i = 0; i < 2; i++)
        for (size_t off = LSM_LOG_HEADER_SIZE; off + LSM_FRAME_HEAD_SIZE <= log->size; off += 8)
            if (lsm_frame_head_read(log->data + off, tries[i], off, &head)) {
                *base = tries[i];
                return true;
            }
    *base = tries[0];
    return false;
}

int lsm_salvage_log(const struct lsm_salvage *s, uint64_t number,
                    int (*fn)(void *ctx, struct lsm_slice payload, bool is_chained), void *ctx,
                    uint64_t *prev_number)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_buf log;
    uint64_t base = 0, chain = 0, off = LSM_LOG_HEADER_SIZE, gap = 0;
    bool is_chained = true;
    int rc;

    *prev_number = 0;
    lsm_buf_init(&log, s->os);
    lsm_filename(name, LSM_FILE_LOG, number);
    rc = read_all(s, name, &log);
    if (rc == LSM_OK && log.size >= LSM_LOG_HEADER_SIZE) {
        bool is_whole = lsm_frame_header_is_whole(log.data, LSM_LOG_HEADER_SIZE);

        if (is_whole)
            *prev_number = lsm_get_u64(log.data + LSM_FRAME_IDENTITY_SIZE);
        if (is_whole && memcmp(lsm_frame_header_uuid(log.data), s->uuid, 16) != 0) {
            lost(s, name, 0, log.size, "the log of another store");
            off = log.size;
        } else if (!find_base(&log, &base)) {
            if (!is_zero(log.data + off, log.size - off))
                lost(s, name, off, log.size - off, "no record can be found here");
            off = log.size;
        } else if (!is_whole) {
            lost(s, name, 0, LSM_LOG_HEADER_SIZE, "the header is damaged");
        }
        chain = base;
    }
    while (rc == LSM_OK && off + LSM_FRAME_HEAD_SIZE <= log.size) {
        const uint8_t *p = log.data + off;
        struct lsm_frame_head head;
        struct lsm_slice payload;

        if (!lsm_frame_head_read(p, base, off, &head) ||
            head.size > log.size - off - LSM_FRAME_HEAD_SIZE) {
            gap = gap ? gap : off;
            is_chained = false;
            off += 8;
            continue;
        }
        payload = lsm_slice(p + LSM_FRAME_HEAD_SIZE, head.size);
        if (gap)
            lost(s, name, gap, off - gap, "no record can be found here");
        gap = 0;
        if (is_chained && lsm_frame_chain(chain, payload) != head.check)
            lost(s, name, off, lsm_frame_size(head.size), "a record's sum does not match its bytes");
        else
            rc = fn(ctx, payload, is_chained);
        chain = head.check;
        is_chained = true;
        off += lsm_frame_size(head.size);
        if (off > log.size)
            off = log.size;
    }
    if (rc == LSM_OK && gap && !is_zero(log.data + gap, log.size - gap))
        lost(s, name, gap, log.size - gap, "no record can be found here (or a torn end, which was never synced)");
    lsm_buf_clear(&log);
    return rc;
}

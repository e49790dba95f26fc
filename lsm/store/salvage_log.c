/*
 * salvage_log.c -- records of a damaged log.
 *
 * Frames are chained, so behind a damaged one no sum can be verified as it was
 * written. But a frame's head has a mark of its own, and its `check` is the chain
 * behind it: with the head whole, only this frame is lost and the next is verified
 * as ever. Without it the next good mark is looked for; that frame's payload must
 * prove itself (a record has a hash of its own), and its check goes on with the chain.
 *
 * Without the header nobody knows what marks are seeded with. Then whatever may be a
 * head is tried: the record behind it proves both, or the chain does.
 */
#include "lsm/format/filename.h"
#include "lsm/format/record.h"
#include "lsm/store/frame.h"
#include "lsm/store/log.h"
#include "lsm/store/salvage.h"

#define LOG_BYTES_MAX (UINT64_C(4) << 30)       /* read into memory as a whole */
#define TRY_WORK_MAX(log_bytes) (UINT64_C(64) * (log_bytes) + (UINT64_C(256) << 20))    /* hashed by trying */

struct search {                         /* without a header */
    const uint8_t *uuid;
    uint64_t tried_bytes;
};

static bool is_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* Have the frame's payload: a hole at the end of the file, which is zeros, may be the end of it. */
static int have(struct lsm_buf *log, uint64_t size)
{
    size_t more = size > log->size ? (size_t)size - log->size : 0;
    int rc = more ? lsm_buf_reserve(log, more) : LSM_OK;

    if (rc == LSM_OK && more) {
        memset(log->data + log->size, 0, more);
        log->size += more;
    }
    return rc;
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

/* A frame at `off`, of which nothing but its own bytes is known? */
static bool try_frame(struct search *s, const struct lsm_buf *log, uint64_t off, bool is_chained, uint64_t chain,
                      struct lsm_frame_head *head)
{
    const uint8_t *p = log->data + off, *payload = p + LSM_FRAME_HEAD_SIZE;
    struct lsm_record rec;

    *head = (struct lsm_frame_head){ lsm_get_u32(p + 4), lsm_get_u64(p + 16) };
    if (head->size == 0 || head->size > log->size - off - LSM_FRAME_HEAD_SIZE || lsm_get_u64(p + 8) > off ||
        payload[0] < LSM_RECORD_SOLO || payload[0] > LSM_RECORD_ABORT ||
        s->tried_bytes > TRY_WORK_MAX(log->size))
        return false;
    s->tried_bytes += head->size;
    if (is_chained && lsm_frame_chain(chain, lsm_slice(payload, head->size)) == head->check)
        return true;
    /* An ABORT has no hash. */
    return payload[0] != LSM_RECORD_ABORT && lsm_record_decode(lsm_slice(payload, head->size), s->uuid, &rec);
}

int lsm_salvage_log(const struct lsm_salvage *s, uint64_t number,
                    int (*fn)(void *ctx, struct lsm_slice payload, bool is_chained), void *ctx,
                    uint64_t *prev_number)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_salvage_file f;
    struct lsm_buf log;
    uint64_t base = 0, chain = 0, off = LSM_LOG_HEADER_SIZE, gap = 0, end;
    struct search search = { s->uuid, 0 };
    bool is_chained = true, has_base = false;
    int rc;

    *prev_number = 0;
    lsm_buf_init(&log, s->os);
    lsm_salvage_file_init(&f, s->os, s->dir, lsm_filename(name, LSM_FILE_LOG, number));
    rc = lsm_salvage_file_read_all(&f, LOG_BYTES_MAX, &log, &end);
    if (rc == LSM_OK && log.size >= LSM_LOG_HEADER_SIZE) {
        bool is_whole = lsm_frame_header_is_whole(log.data, LSM_LOG_HEADER_SIZE);

        if (is_whole)
            *prev_number = lsm_get_u64(log.data + LSM_FRAME_IDENTITY_SIZE);
        if (is_whole && memcmp(lsm_frame_header_uuid(log.data), s->uuid, 16) != 0) {
            lsm_salvage_file_lost(&f, &s->lost, 0, log.size, "the log of another store");
            off = log.size;
        } else {
            has_base = find_base(&log, &base);
            if (!is_whole && (has_base || !is_zero(log.data + off, log.size - off)))   /* else it was never begun */
                lsm_salvage_file_lost(&f, &s->lost, 0, LSM_LOG_HEADER_SIZE, "the header is damaged");
        }
        is_chained = has_base;
        chain = base;
    }
    while (rc == LSM_OK && off + LSM_FRAME_HEAD_SIZE <= log.size) {
        struct lsm_frame_head head;
        struct lsm_slice payload;

        if (!(has_base ? lsm_frame_head_read(log.data + off, base, off, &head)
                       : try_frame(&search, &log, off, is_chained, chain, &head)) ||
            head.size > end - off - LSM_FRAME_HEAD_SIZE) {
            gap = gap ? gap : off;
            is_chained = false;
            off += 8;
            continue;
        }
        rc = have(&log, off + LSM_FRAME_HEAD_SIZE + head.size);
        if (rc)
            break;
        payload = lsm_slice(log.data + off + LSM_FRAME_HEAD_SIZE, head.size);
        if (gap)
            lsm_salvage_file_lost(&f, &s->lost, gap, off - gap, "no record can be found here");
        gap = 0;
        if (is_chained && lsm_frame_chain(chain, payload) != head.check)
            lsm_salvage_file_lost(&f, &s->lost, off, lsm_frame_size(head.size), "a record's sum does not match its bytes");
        else
            rc = fn(ctx, payload, is_chained);
        chain = head.check;
        is_chained = true;
        off += lsm_frame_size(head.size);
        if (off > log.size)
            off = log.size;
    }
    if (rc == LSM_OK && gap && (!is_zero(log.data + gap, log.size - gap) ||
                                lsm_salvage_file_is_unread(&f, gap, log.size - gap)))
        lsm_salvage_file_lost(&f, &s->lost, gap, log.size - gap,
                              "no record can be found here (or a torn end, which was never synced)");
    if (rc == LSM_OK)
        lsm_salvage_file_lost_unread(&f, &s->lost);
    lsm_salvage_file_clear(&f);
    lsm_buf_clear(&log);
    return rc;
}

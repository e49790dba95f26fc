/*
 * frame.c -- chained frames: one encoder, one reader.
 *
 *     offset  0     4     8            16           24
 *             mark  size  synced       check        payload ... zeros to 8
 *
 * The reader keeps a window of the file. It is refilled from where the frame
 * begins; a frame larger than the window gets a window of its own exact size,
 * which is given back with the next small one. Nothing is allocated for a size
 * that has no good mark or that the file does not hold.
 */
#include <assert.h>

#include "lsm/store/frame.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

#define WINDOW_SIZE (256u << 10)
#define HEADER_SIZE_MAX 128u

enum { MARK = 0, SIZE = 4, SYNCED = 8, CHECK = 16 };    /* offsets in a head */
enum { COMPAT = 8, RO_COMPAT = 10, INCOMPAT = 12, UUID = 16, NUMBER = 32, SALT = 40 };

_Static_assert(CHECK + 8 == LSM_FRAME_HEAD_SIZE, "the head is packed");
_Static_assert(SALT + 8 == LSM_FRAME_IDENTITY_SIZE, "the identity is packed");
_Static_assert(LSM_FRAME_HEAD_SIZE % 8 == 0, "frames stand at multiples of 8");

/* ---- header ------------------------------------------------------------- */

void lsm_frame_identity_put(uint8_t *header, const char magic[8], const uint8_t uuid[16],
                            uint64_t number, uint64_t salt)
{
    memset(header, 0, LSM_FRAME_IDENTITY_SIZE);
    memcpy(header, magic, 8);
    memcpy(header + UUID, uuid, 16);
    lsm_put_u64(header + NUMBER, number);
    lsm_put_u64(header + SALT, salt);
}

uint64_t lsm_frame_header_sum(const uint8_t *header, size_t size)
{
    return lsm_hash64(header, size - 8, lsm_get_u64(header));
}

uint64_t lsm_frame_header_seal(uint8_t *header, size_t size)
{
    uint64_t sum = lsm_frame_header_sum(header, size);

    assert(size >= LSM_FRAME_IDENTITY_SIZE + 8 && size <= HEADER_SIZE_MAX && size % 8 == 0);
    lsm_put_u64(header + size - 8, sum);
    return sum;
}

bool lsm_frame_header_is_whole(const uint8_t *header, size_t size)
{
    return lsm_get_u64(header + size - 8) == lsm_frame_header_sum(header, size);
}

int lsm_frame_header_check(const uint8_t *header, const char magic[8], uint64_t number, uint16_t known,
                           bool write, const char *name)
{
    bool is_unknown = lsm_get_u16(header + INCOMPAT) & ~known;

    if (memcmp(header, magic, 8) != 0)
        return lsm_corrupt(name, 0, "a file of another kind");
    if (is_unknown || (write && lsm_get_u16(header + RO_COMPAT)))
        return lsm_fail(LSM_FORMAT, "%s: written by a newer version; open it with that%s", name,
                        is_unknown ? "" : ", or read-only");
    if (lsm_get_u64(header + NUMBER) != number)
        return lsm_corrupt(name, NUMBER, "a file of another number, renamed");
    return LSM_OK;
}

/* ---- frames ------------------------------------------------------------- */

static uint32_t head_mark(const uint8_t *head, uint64_t base, uint64_t off)
{
    return lsm_hash32(head + SIZE, LSM_FRAME_HEAD_SIZE - SIZE, base + off);
}

static uint64_t next_chain(uint64_t chain, const uint8_t *payload, uint32_t size)
{
    return lsm_hash64(payload, size, chain ^ size);
}

bool lsm_frame_head_read(const uint8_t *p, uint64_t base, uint64_t off, struct lsm_frame_head *head)
{
    head->size = lsm_get_u32(p + SIZE);
    head->check = lsm_get_u64(p + CHECK);
    return lsm_get_u32(p + MARK) == head_mark(p, base, off) && head->size > 0 &&
           head->size <= LSM_FRAME_PAYLOAD_MAX;
}

uint64_t lsm_frame_chain(uint64_t chain, struct lsm_slice payload)
{
    return next_chain(chain, payload.data, (uint32_t)payload.size);
}

uint64_t lsm_frame_encode(uint8_t *p, const struct lsm_slice *parts, size_t part_count,
                          uint64_t base, uint64_t off, uint64_t synced, uint64_t chain)
{
    uint8_t *payload = p + LSM_FRAME_HEAD_SIZE;
    uint64_t size = 0;

    assert(off % 8 == 0);
    assert(synced <= off);

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].size)
            memcpy(payload + size, parts[i].data, parts[i].size);
        size += parts[i].size;
    }
    assert(size > 0 && size <= LSM_FRAME_PAYLOAD_MAX);
    memset(payload + size, 0, lsm_frame_size(size) - LSM_FRAME_HEAD_SIZE - size);
    return lsm_frame_encode_head(p, lsm_slice(payload, size), base, off, synced, chain);
}

uint64_t lsm_frame_encode_head(uint8_t p[LSM_FRAME_HEAD_SIZE], struct lsm_slice payload, uint64_t base, uint64_t off,
                               uint64_t synced, uint64_t chain)
{
    assert(off % 8 == 0 && synced <= off);
    assert(payload.size > 0 && payload.size <= LSM_FRAME_PAYLOAD_MAX);

    chain = next_chain(chain, payload.data, (uint32_t)payload.size);
    lsm_put_u32(p + SIZE, (uint32_t)payload.size);
    lsm_put_u64(p + SYNCED, synced);
    lsm_put_u64(p + CHECK, chain);
    lsm_put_u32(p + MARK, head_mark(p, base, off));
    return chain;
}

/* ---- reading ------------------------------------------------------------ */

int lsm_frame_reader_open(struct lsm_frame_reader *r, struct lsm_os *os, struct lsm_file *file,
                          const char *name)
{
    struct lsm_file_info info;
    int error;

    *r = (struct lsm_frame_reader){ .os = os, .file = file, .name = name };
    error = os->file_info(file, &info);
    if (error)
        return lsm_fail_os(error, "stat", name);
    if (info.size > LSM_FRAME_FILE_MAX)
        return lsm_corrupt(name, LSM_FRAME_FILE_MAX, "larger than any file of its kind");
    r->file_size = info.size;
    return LSM_OK;
}

void lsm_frame_reader_open_bytes(struct lsm_frame_reader *r, struct lsm_os *os, struct lsm_slice bytes, const char *name)
{
    *r = (struct lsm_frame_reader){ .os = os, .name = name, .file_size = bytes.size,
                                    .window = (uint8_t *)bytes.data, .window_size = bytes.size };
}

void lsm_frame_reader_close(struct lsm_frame_reader *r)
{
    if (r->window && r->file)
        lsm_mem_free(r->os, r->window);
    r->window = NULL;
    r->window_size = r->window_cap = 0;
}

static int resize_window(struct lsm_frame_reader *r, size_t cap)
{
    lsm_frame_reader_close(r);
    r->window = lsm_mem_alloc(r->os, cap);
    if (!r->window)
        return lsm_nomem();
    r->window_cap = cap;
    return LSM_OK;
}

/* Have [off, off + n) of the file in the window. The file was seen to hold it. */
static int fill(struct lsm_frame_reader *r, uint64_t off, size_t n, const uint8_t **p)
{
    size_t cap = n > WINDOW_SIZE ? n : WINDOW_SIZE, want, got;
    int error, rc;

    assert(off <= r->file_size && n <= r->file_size - off);
    if (off >= r->window_off && off - r->window_off <= r->window_size &&
        n <= r->window_size - (size_t)(off - r->window_off)) {
        *p = r->window + (off - r->window_off);
        return LSM_OK;
    }

    if (r->window_cap != cap && (rc = resize_window(r, cap)) != LSM_OK)
        return rc;
    r->window_size = 0;         /* until the read has succeeded */
    want = cap < r->file_size - off ? cap : (size_t)(r->file_size - off);
    error = r->os->file_read(r->file, r->window, want, off, &got);
    if (error)
        return lsm_fail_os(error, "read", r->name);
    if (got < want)             /* not an end: it was there a moment ago */
        return lsm_corrupt(r->name, off + got, "the file became shorter while it was read");
    r->window_off = off;
    r->window_size = want;
    *p = r->window;
    return LSM_OK;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    for (; n >= 64; p += 64, n -= 64) {         /* long tails of a preallocated file */
        uint64_t any = 0;

        for (size_t i = 0; i < 64; i += 8)
            any |= lsm_get_u64(p + i);
        if (any)
            return false;
    }
    for (; n >= 8; p += 8, n -= 8)
        if (lsm_get_u64(p))
            return false;
    for (; n; p++, n--)
        if (*p)
            return false;
    return true;
}

/* Holes are zeros that need not be read: a file that was made 16 GiB long would take half a minute. */
static uint64_t skip_hole(const struct lsm_frame_reader *r, uint64_t off)
{
    uint64_t data = r->file && r->os->file_next_data ? r->os->file_next_data(r->file, off) : off;

    if (data > r->file_size)
        return r->file_size;
    if (data <= off + LSM_FRAME_HEAD_SIZE)
        return off;
    data -= LSM_FRAME_HEAD_SIZE;        /* a head may begin with zeros */
    return data - (data - off) % 8;
}

int lsm_frame_read_header(struct lsm_frame_reader *r, uint8_t *header, size_t size)
{
    const uint8_t *p;
    int rc;

    assert(r->off == 0 && size <= HEADER_SIZE_MAX);
    if (r->file_size < size) {
        r->torn = r->done = true;
        return LSM_DONE;
    }
    rc = fill(r, 0, size, &p);
    if (rc != LSM_OK)
        return rc;
    memcpy(header, p, size);
    if (lsm_frame_header_is_whole(header, size)) {
        r->off = size;
        r->base = r->chain = lsm_get_u64(header + size - 8);
        return LSM_OK;
    }

    /* Headers are synced before the first frame is written, so one that is bad and has something
       behind it was damaged. */
    for (uint64_t off = size, n; off < r->file_size; off += n) {
        n = r->file_size - off < WINDOW_SIZE ? r->file_size - off : WINDOW_SIZE;
        rc = fill(r, off, (size_t)n, &p);
        if (rc != LSM_OK)
            return rc;
        if (!is_zero(p, (size_t)n))
            return lsm_corrupt(r->name, 0, "the header is damaged (its checksum does not match), or this "
                                           "is no file of this store");
        n = skip_hole(r, off + n) - off;
    }
    r->torn = r->done = true;
    return LSM_DONE;
}

/*
 * A bad frame stands at r->off. Look through the rest for a head that proves
 * that it was good once, and say whether the rest is anything but zeros.
 *
 *     r->off                       q
 *     |   bad frame   | whatever   | mark good, synced > r->off  -> CORRUPT
 */
static int judge_tail(struct lsm_frame_reader *r)
{
    const uint64_t bad = r->off;
    uint64_t off = bad, left;
    const uint8_t *p;
    int rc;

    r->done = true;
    for (; (left = r->file_size - off) >= LSM_FRAME_HEAD_SIZE; ) {
        size_t n = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE, i;

        rc = fill(r, off, n, &p);
        if (rc != LSM_OK)
            return rc;
        if (is_zero(p, n)) {
            off += (n - LSM_FRAME_HEAD_SIZE) / 8 * 8 + 8;   /* as far as the loop below would go */
            off = skip_hole(r, off);
            continue;
        }
        for (i = 0; n - i >= LSM_FRAME_HEAD_SIZE; i += 8) {
            uint64_t synced = lsm_get_u64(p + i + SYNCED);
            struct lsm_frame_head head;

            if (synced > off + i || !lsm_frame_head_read(p + i, r->base, off + i, &head))
                continue;
            r->beyond += off + i > bad;
            r->relied |= synced != 0;
            if (synced > bad)
                return lsm_corrupt(r->name, bad, "damaged: what stands further on was written "
                                                 "when this was whole and on disk");
        }
        r->torn |= !is_zero(p, i);
        off += i;
    }
    rc = fill(r, off, (size_t)left, &p);
    if (rc != LSM_OK)
        return rc;
    r->torn |= !is_zero(p, (size_t)left);
    return LSM_DONE;
}

int lsm_frame_read(struct lsm_frame_reader *r, struct lsm_slice *payload)
{
    uint64_t left = r->file_size - r->off, frame_size, chain;
    const uint8_t *p;
    uint32_t size;
    int rc;

    *payload = lsm_slice(NULL, 0);
    if (r->done || left == 0) {
        r->done = true;
        return LSM_DONE;
    }
    if (left < LSM_FRAME_HEAD_SIZE)
        return judge_tail(r);
    rc = fill(r, r->off, LSM_FRAME_HEAD_SIZE, &p);
    if (rc != LSM_OK)
        return rc;

    size = lsm_get_u32(p + SIZE);
    if (size == 0 || size > LSM_FRAME_PAYLOAD_MAX || lsm_get_u64(p + SYNCED) > r->off ||
        lsm_get_u32(p + MARK) != head_mark(p, r->base, r->off))
        return judge_tail(r);
    frame_size = lsm_frame_size(size);
    if (frame_size > left)
        return judge_tail(r);

    rc = fill(r, r->off, (size_t)frame_size, &p);
    if (rc != LSM_OK)
        return rc;
    chain = next_chain(r->chain, p + LSM_FRAME_HEAD_SIZE, size);
    if (chain != lsm_get_u64(p + CHECK) ||
        !is_zero(p + LSM_FRAME_HEAD_SIZE + size, (size_t)frame_size - LSM_FRAME_HEAD_SIZE - size))
        return judge_tail(r);

    *payload = lsm_slice(p + LSM_FRAME_HEAD_SIZE, size);
    r->relied |= lsm_get_u64(p + SYNCED) > 0;
    r->chain = chain;
    r->off += frame_size;
    return LSM_OK;
}

void lsm_frame_reader_seek(struct lsm_frame_reader *r, uint64_t off, uint64_t chain)
{
    r->off = off;
    r->chain = chain;
    r->torn = false;
    r->done = off > r->file_size;
}

/*
 * log.c -- the write-ahead log over frame.h.
 *
 * An append is one file_write: a record that the kernel got whole or not at all
 * in one call needs no joining after a crash, and one call is what a commit
 * under NORMAL costs.
 *
 * After a failed write or sync nothing more goes into the file. What it holds
 * behind the last success is unknown: a later append that succeeds would stand behind
 * bytes that may or may not be there, and a sync that is tried again reports success
 * for pages that the kernel has dropped. The caller begins a fresh log.
 *
 * But for a write that had no room: that loses nothing of what was written before, and
 * what came into the file can be cut off for good. A fresh log, with copies of
 * all live records, is what a full disk has no room for: not even a DELETE could be written.
 */
#include <assert.h>
#include <errno.h>

#include "lsm/format/filename.h"
#include "lsm/store/log.h"
#include "lsm/util/coding.h"

#define RESERVE_MIN (UINT64_C(64) << 10)
#define SMALL_MEAN 1024u                /* bytes: frames of this size and more are written by themselves */
#define RESERVE_MAX (UINT64_C(512) << 10)
#define ZEROED_MEAN (16u << 10)         /* synced frames: up to here the zeros cost less than they save */
#define OFTEN 16                        /* frames a sync */
#define JOIN_MAX (16u << 10)            /* to copy a larger payload costs more than calls for its parts */
#define SCRATCH_KEEP (1u << 20)         /* larger frames get memory of their own, for the moment */

enum { COMPAT = 8, INCOMPAT = 12, PREV = LSM_FRAME_IDENTITY_SIZE };       /* offsets in the header */
#define COMPAT_AHEAD 1u
#define INCOMPAT_BRIEF 1u               /* records may be brief (format/record.h) */
#define INCOMPAT_VLOGS 2u               /* they may bring value logs, which an older sweep would remove */
_Static_assert(PREV + 24 + 8 == LSM_LOG_HEADER_SIZE, "the header is packed");

static void check_log(const struct lsm_log *log)
{
    assert(log->file);
    assert(log->size >= LSM_LOG_HEADER_SIZE);
    assert(log->size % 8 == 0);
    assert(log->synced <= log->size);
    if (log->synced == log->size)
        assert(log->synced_chain == log->chain);
    (void)log;
}

/* ---- writing ------------------------------------------------------------ */

static int refuse_failed(const struct lsm_log *log)
{
    char name[LSM_FILENAME_SIZE];

    return lsm_fail(LSM_FSYNC, "%s: a write or sync failed earlier; begin a new log",
                    lsm_filename(name, LSM_FILE_LOG, log->number));
}

/* A sync that fails leaves the file's state unknown, whatever the reason. */
static int fail_sync(int error, const char *name)
{
    lsm_fail_os(error, "sync", name);
    return LSM_FSYNC;
}

int lsm_log_prepare(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir, uint64_t number, uint32_t mode)
{
    char name[LSM_FILENAME_SIZE];
    int error;

    *log = (struct lsm_log){ .os = os, .number = number };
    lsm_buf_init(&log->scratch, os);
    error = os->file_open(dir, lsm_filename(name, LSM_FILE_LOG, number), LSM_OPEN_WRITE | LSM_OPEN_CREATE, mode,
                          &log->file);
    if (error)
        log->file = NULL;
    return error ? lsm_fail_os(error, "create", name) : LSM_OK;
}

void lsm_log_discard(struct lsm_log *log, struct lsm_dir *dir)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_os *os = log->os;

    lsm_log_drop(log);
    os->file_remove(dir, lsm_filename(name, LSM_FILE_LOG, log->number));    /* an orphan if this fails: no record
                                                                               can be in it */
}

int lsm_log_begin(struct lsm_log *log, struct lsm_dir *dir, const uint8_t uuid[16], const struct lsm_log_end *prev,
                  bool is_ahead)
{
    uint8_t header[LSM_LOG_HEADER_SIZE];
    struct lsm_os *os = log->os;
    char name[LSM_FILENAME_SIZE];
    uint64_t salt;
    int error, rc = LSM_OK;

    assert(!prev || prev->number < log->number);
    lsm_filename(name, LSM_FILE_LOG, log->number);
    error = os->random(os, &salt, sizeof(salt));
    if (error) {
        rc = lsm_fail_os(error, "random numbers for", name);
        lsm_log_discard(log, dir);
        return rc;
    }
    lsm_frame_identity_put(header, LSM_LOG_MAGIC, uuid, log->number, salt);
    lsm_put_u16(header + COMPAT, is_ahead ? COMPAT_AHEAD : 0);
    lsm_put_u16(header + INCOMPAT, INCOMPAT_BRIEF | INCOMPAT_VLOGS);
    lsm_put_u64(header + PREV, prev ? prev->number : 0);
    lsm_put_u64(header + PREV + 8, prev ? prev->size : 0);
    lsm_put_u64(header + PREV + 16, prev ? prev->chain : 0);
    log->base = lsm_frame_header_seal(header, sizeof(header));

    error = os->file_write(log->file, header, sizeof(header), 0);
    if (error)
        rc = lsm_fail_os(error, "write", name);
    /* Prevents: frames on disk behind a header that is not. They could not be told from a log
       whose first sector has rotted, and a legal crash would need repair. */
    if (rc == LSM_OK && (error = os->file_sync(log->file)))
        rc = fail_sync(error, name);
    if (rc != LSM_OK) {
        lsm_log_discard(log, dir);
        return rc;
    }
    log->size = log->synced = sizeof(header);
    log->chain = log->synced_chain = log->base;
    check_log(log);
    if (is_ahead)
        log->synced = 0;
    return LSM_OK;
}

static int create(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                  uint64_t number, const struct lsm_log_end *prev, bool is_ahead, uint32_t mode)
{
    int rc = lsm_log_prepare(log, os, dir, number, mode);

    return rc ? rc : lsm_log_begin(log, dir, uuid, prev, is_ahead);
}

int lsm_log_create(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir,
                   const uint8_t uuid[16], uint64_t number, const struct lsm_log_end *prev,
                   uint32_t mode)
{
    return create(log, os, dir, uuid, number, prev, false, mode);
}

int lsm_log_create_ahead(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir,
                         const uint8_t uuid[16], uint64_t number, const struct lsm_log_end *prev,
                         uint32_t mode)
{
    return create(log, os, dir, uuid, number, prev, true, mode);
}

static bool is_synced(const struct lsm_log *log)
{
    return log->synced > LSM_LOG_HEADER_SIZE;
}

bool lsm_log_is_synced_often(const struct lsm_log *log)
{
    return log->frames < OFTEN ? log->was_synced || log->syncs > 0 : log->syncs * OFTEN >= log->frames;
}

static bool has_small_records(const struct lsm_log *log)
{
    return log->os->file_expect && log->size / (log->frames + 1) < SMALL_MEAN;
}

/*
 * A sync of a file that has grown has to write its size and its map as well;
 * within room that is reserved it does not (measured: 126 -> 88 us), or less often: what of it
 * is in use by now it has to write, but where there are zeros (lsm_log_wants_room). For a log that
 * is synced record by record; and for one of small records that is not, since the
 * kernel can be told to expect them there. A failure (no space, not supported)
 * changes nothing: the write itself will tell.
 */
static void reserve_room(struct lsm_log *log, uint64_t end)
{
    uint64_t step = log->size < RESERVE_MIN ? RESERVE_MIN
                    : log->size < RESERVE_MAX ? log->size : RESERVE_MAX;

    if (log->no_more_room || end <= log->reserved || (!is_synced(log) && (log->is_helped || !has_small_records(log))))
        return;
    if (step > LSM_FRAME_FILE_MAX - end)
        step = LSM_FRAME_FILE_MAX - end;        /* a larger file is not read */
    if (log->os->file_allocate(log->file, end + step)) {
        log->no_more_room = true;
        return;
    }
    log->reserved = end + step;
    log->expected = 0;
    if (!is_synced(log)) {
        log->os->file_expect(log->file, log->size, log->reserved);
        log->expected = log->size;
    }
}

/*
 * A page costs 5 us to make ready: 300 us for each half MiB in some writer's path, every
 * 3,500 small records. So another thread does it as soon as the last room is begun.
 */
bool lsm_log_wants_room(const struct lsm_log *log, uint64_t *from, bool *synced)
{
    if (!log->is_helped || log->failed || log->no_more_room || log->size < log->room_begin)
        return false;
    *synced = lsm_log_is_synced_often(log);
    if (*synced ? !log->os->file_zero || log->size / (log->frames + 1) >= ZEROED_MEAN
                : is_synced(log) || !has_small_records(log))
        return false;
    *from = log->reserved > log->size ? log->reserved : log->size;
    return *from < LSM_FRAME_FILE_MAX;
}

uint64_t lsm_log_room_end(const struct lsm_log *log, uint64_t from, uint64_t step_min, uint64_t step_max)
{
    uint64_t step = log->size < step_min ? step_min : log->size < step_max ? log->size : step_max;

    return step < LSM_FRAME_FILE_MAX - from ? from + step : LSM_FRAME_FILE_MAX;
}

bool lsm_log_make_room(struct lsm_os *os, struct lsm_file *file, uint64_t from, uint64_t end, bool synced)
{
    if (os->file_allocate(file, end))
        return false;
    (synced ? os->file_zero : os->file_expect)(file, from, end);
    return true;
}

void lsm_log_room_is_made(struct lsm_log *log, uint64_t from, uint64_t end, bool ok, bool synced)
{
    if (!ok) {
        log->no_more_room = true;
    } else if (log->reserved < end) {
        if (synced)
            log->expected = 0;
        else if (!log->expected || from > log->reserved)
            log->expected = from;
        log->reserved = end;
        log->room_begin = from;
    }
}

/* A large payload is not copied. Its head comes last: until then nothing says that there is a frame. */
static int write_large(struct lsm_log *log, struct lsm_slice payload, uint64_t *chain)
{
    static const uint8_t zeros[8];
    struct lsm_os *os = log->os;
    uint8_t head[LSM_FRAME_HEAD_SIZE];
    uint64_t at = log->size + sizeof head;
    size_t pad = (size_t)(lsm_frame_size(payload.size) - sizeof head - payload.size);
    int error;

    reserve_room(log, at + payload.size + pad);
    error = os->file_write(log->file, payload.data, payload.size, at);
    if (error == 0 && pad)
        error = os->file_write(log->file, zeros, pad, at + payload.size);
    *chain = lsm_frame_encode_head(head, payload, log->base, log->size, log->synced, log->chain);
    return error ? error : os->file_write(log->file, head, sizeof head, log->size);
}

/* One write. LSM_NOMEM: nothing was written. */
static int write_joined(struct lsm_log *log, const struct lsm_slice *parts, size_t part_count, size_t size,
                        uint64_t *chain, int *error)
{
    uint8_t *frame, *own = NULL;

    if (size <= SCRATCH_KEEP) {
        lsm_buf_reset(&log->scratch);
        if (lsm_buf_reserve(&log->scratch, size) != LSM_OK)
            return LSM_NOMEM;
        frame = log->scratch.data;
    } else {
        own = frame = lsm_mem_alloc(log->os, size);
        if (!own)
            return lsm_nomem();
    }
    *chain = lsm_frame_encode(frame, parts, part_count, log->base, log->size, log->synced, log->chain);
    reserve_room(log, log->size + size);
    *error = log->os->file_write(log->file, frame, size, log->size);
    if (own)
        lsm_mem_free(log->os, own);
    return LSM_OK;
}

int lsm_log_append(struct lsm_log *log, const struct lsm_slice *parts, size_t part_count)
{
    char name[LSM_FILENAME_SIZE];
    uint64_t payload_size = 0, size, chain = 0;
    int error = 0, rc;

    check_log(log);
    if (log->failed)
        return refuse_failed(log);
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].size > LSM_LOG_PAYLOAD_MAX - payload_size)
            return lsm_fail(LSM_TOOBIG, "a transaction record is over %u bytes",
                            LSM_LOG_PAYLOAD_MAX);
        payload_size += parts[i].size;
    }
    assert(payload_size > 0);
    size = lsm_frame_size(payload_size);
    if (size > LSM_FRAME_FILE_MAX - log->size)
        return lsm_fail(LSM_TOOBIG, "%s is full: flush, so that a new log begins",
                        lsm_filename(name, LSM_FILE_LOG, log->number));

    if (part_count == 1 && size > JOIN_MAX) {
        error = write_large(log, parts[0], &chain);
    } else {
        rc = write_joined(log, parts, part_count, (size_t)size, &chain, &error);
        if (rc)
            return rc;
    }
    if (error) {
        log->failed = true;
        return lsm_fail_os(error, "write", lsm_filename(name, LSM_FILE_LOG, log->number));
    }
    if (log->expected && log->size >= log->expected && log->size + size <= log->reserved)
        log->mapped_bytes += size;
    log->size += size;
    log->chain = chain;
    log->frames++;
    return LSM_OK;
}

int lsm_log_sync(struct lsm_log *log)
{
    const struct lsm_log_end end = lsm_log_end(log);    /* what the sync is sure to cover */
    char name[LSM_FILENAME_SIZE];
    int error;

    check_log(log);
    if (log->failed)
        return refuse_failed(log);
    if (log->synced == end.size)
        return LSM_OK;
    error = log->os->file_sync(log->file);
    if (error) {
        log->failed = true;
        return fail_sync(error, lsm_filename(name, LSM_FILE_LOG, log->number));
    }
    log->syncs++;
    log->synced = end.size;
    log->synced_chain = end.chain;
    return LSM_OK;
}

void lsm_log_synced(struct lsm_log *log, const struct lsm_log_end *end)
{
    assert(end->number == log->number && end->size <= log->size);
    assert(log->synced > 0);            /* the log before it is on disk */
    if (log->synced < end->size) {
        log->synced = end->size;
        log->synced_chain = end->chain;
    }
}

void lsm_log_prev_is_safe(struct lsm_log *log)
{
    if (log->synced == 0) {             /* as its creation left it */
        log->synced = LSM_LOG_HEADER_SIZE;
        log->synced_chain = log->base;
    }
}

int lsm_log_cut(struct lsm_log *log, uint64_t size, uint64_t chain)
{
    char name[LSM_FILENAME_SIZE];
    int error;

    check_log(log);
    assert(size >= LSM_LOG_HEADER_SIZE && size <= log->size && size % 8 == 0);

    lsm_filename(name, LSM_FILE_LOG, log->number);
    error = log->os->file_truncate(log->file, size);
    if (error) {
        log->failed = true;
        return lsm_fail_os(error, "truncate", name);
    }
    /* Prevents: what was cut off comes back with a power cut; or stays, behind frames that are
       appended now, as heads that prove damage where there is none. */
    error = log->os->file_sync(log->file);
    if (error) {
        log->failed = true;
        return fail_sync(error, name);
    }
    log->cuts++;
    log->reserved = log->expected = log->room_begin = 0;        /* its room went, too */
    log->no_more_room = false;
    log->size = size;
    log->chain = chain;
    if (log->synced) {          /* else the log before it is not on disk */
        log->synced = size;
        log->synced_chain = chain;
    }
    return LSM_OK;
}

int lsm_log_take_back(struct lsm_log *log)
{
    int rc;

    assert(log->failed);
    rc = lsm_log_cut(log, log->size, log->chain);
    if (rc)
        return rc;
    log->failed = false;
    return LSM_OK;
}

void lsm_log_close(struct lsm_log *log)
{
    /* Zeros that a crash leaves behind the end are read as its end; a log that rests holds none. */
    if (log->file && !log->failed && log->reserved > log->size)
        log->os->file_truncate(log->file, log->size);
    if (log->file)
        log->os->file_close(log->file);
    log->file = NULL;
    lsm_buf_clear(&log->scratch);
}

void lsm_log_drop(struct lsm_log *log)
{
    log->reserved = 0;
    lsm_log_close(log);
}

/* ---- reading ------------------------------------------------------------ */

static bool prev_is_relied_on(const uint8_t *header)
{
    return !(lsm_get_u16(header + COMPAT) & COMPAT_AHEAD);
}

int lsm_log_reader_open(struct lsm_log_reader *r, struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                        uint64_t number, struct lsm_log_end *prev)
{
    uint8_t header[LSM_LOG_HEADER_SIZE];
    int error, rc;

    *r = (struct lsm_log_reader){ .file = NULL };
    *prev = (struct lsm_log_end){ 0 };
    lsm_filename(r->name, LSM_FILE_LOG, number);
    error = os->file_open(dir, r->name, LSM_OPEN_READ, 0, &r->file);
    if (error) {
        r->file = NULL;
        return lsm_fail_os(error, "open", r->name);
    }
    rc = lsm_frame_reader_open(&r->frames, os, r->file, r->name);
    if (rc == LSM_OK)
        rc = lsm_frame_read_header(&r->frames, header, sizeof(header));
    if (rc != LSM_OK)
        return rc;
    rc = lsm_frame_header_check(header, LSM_LOG_MAGIC, number, INCOMPAT_BRIEF | INCOMPAT_VLOGS, false, r->name);
    /* A size may reach the disk before the bytes, and then a file system that reuses blocks shows what
       another log left there. With nothing behind the header no record is lost. */
    if (rc == LSM_CORRUPT && r->frames.file_size <= LSM_LOG_HEADER_SIZE)
        return LSM_DONE;
    if (rc != LSM_OK)
        return rc;
    if (memcmp(lsm_frame_header_uuid(header), uuid, 16) != 0)
        return lsm_corrupt(r->name, 0, "the log of another store");
    r->frames.relied = prev_is_relied_on(header);
    prev->number = lsm_get_u64(header + PREV);
    prev->size = lsm_get_u64(header + PREV + 8);
    prev->chain = lsm_get_u64(header + PREV + 16);
    return LSM_OK;
}

void lsm_log_reader_seek(struct lsm_log_reader *r, uint64_t off, uint64_t chain)
{
    assert(off >= LSM_LOG_HEADER_SIZE && off % 8 == 0);
    lsm_frame_reader_seek(&r->frames, off, chain);
}

void lsm_log_reader_limit(struct lsm_log_reader *r, uint64_t size)
{
    if (size < r->frames.file_size)
        r->frames.file_size = size;
}

int lsm_log_reader_next(struct lsm_log_reader *r, struct lsm_slice *payload)
{
    return lsm_frame_read(&r->frames, payload);
}

void lsm_log_reader_close(struct lsm_log_reader *r)
{
    struct lsm_os *os = r->frames.os;

    lsm_frame_reader_close(&r->frames);
    if (r->file)
        os->file_close(r->file);
    r->file = NULL;
}

int lsm_log_read_mark(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16], uint64_t number, uint32_t *mark)
{
    struct lsm_log_reader r;
    struct lsm_log_end prev;
    int rc = lsm_log_reader_open(&r, os, dir, uuid, number, &prev);

    *mark = (uint32_t)r.frames.base;
    lsm_log_reader_close(&r);
    return rc;
}

int lsm_log_read(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16], uint64_t number,
                 int (*fn)(void *ctx, struct lsm_slice payload, uint64_t off), void *ctx,
                 struct lsm_log_end *end, struct lsm_log_end *prev, bool *torn)
{
    struct lsm_log_reader r;
    struct lsm_slice payload;
    bool stopped = false;
    int rc;

    *end = (struct lsm_log_end){ .number = number };
    rc = lsm_log_reader_open(&r, os, dir, uuid, number, prev);
    while (rc == LSM_OK) {
        end->size = r.frames.off;
        end->chain = r.frames.chain;
        rc = lsm_log_reader_next(&r, &payload);
        if (rc == LSM_OK && (rc = fn(ctx, payload, end->size)) != LSM_OK)
            stopped = true;
    }
    if (rc == LSM_DONE && !stopped)
        rc = LSM_OK;

    *torn = r.frames.torn;
    lsm_log_reader_close(&r);
    return rc;
}

int lsm_log_read_relied(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                        uint64_t number, bool *relied)
{
    struct lsm_log_reader r;
    struct lsm_slice payload;
    struct lsm_log_end prev;
    int rc = lsm_log_reader_open(&r, os, dir, uuid, number, &prev);

    while (rc == LSM_OK)
        rc = lsm_log_reader_next(&r, &payload);
    *relied = r.frames.relied;
    lsm_log_reader_close(&r);
    return rc == LSM_DONE ? LSM_OK : rc;
}

int lsm_log_read_prev(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                      uint64_t number, struct lsm_log_end *prev, bool *torn)
{
    struct lsm_log_reader r;
    int rc = lsm_log_reader_open(&r, os, dir, uuid, number, prev);

    *torn = rc == LSM_DONE;
    lsm_log_reader_close(&r);
    return rc == LSM_DONE ? LSM_OK : rc;
}

int lsm_log_check_prev(uint64_t number, const struct lsm_log_end *prev,
                       const struct lsm_log_end *end)
{
    char name[LSM_FILENAME_SIZE], next[LSM_FILENAME_SIZE];

    lsm_filename(name, LSM_FILE_LOG, prev->number);
    lsm_filename(next, LSM_FILE_LOG, number);
    if (prev->number != end->number)
        return lsm_corrupt(next, PREV, "log hole: the log before it is missing");
    if (prev->size != end->size)
        return lsm_corrupt(name, end->size, end->size < prev->size
                           ? "log hole: it ends here, but the next log says that it went on"
                           : "log hole: it goes on behind where the next log says that it ended");
    if (prev->chain != end->chain)
        return lsm_corrupt(name, end->size, "log hole: these are not the records that the next "
                                            "log follows");
    return LSM_OK;
}

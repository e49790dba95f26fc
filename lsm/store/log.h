/*
 * log.h -- the write-ahead log: one append per transaction record.
 *
 *     log    := header  frame*                        as frame.h, payload = one record
 *     header := identity (magic "LSMLOG\r\n", store uuid, log number, salt)
 *               prev_number:u64  prev_size:u64  prev_chain:u64  (0: there is none)
 *               sum:u64                                         = 80 bytes
 *
 * A torn tail is not corruption: what no sync covered may be missing after a
 * crash in any pattern, and reading ends there. A frame that was synced before
 * a later one was written, and is bad now, is LSM_CORRUPT: frame.h says how the
 * two are told apart.
 *
 * Of incompat, bit 0: records may be brief; bit 1: they may bring value logs (format/record.h).
 *
 * prev_* say where the log before this one ended when this one was begun. A log that
 * ends elsewhere than its successor says, or is missing, is a hole (LSM_CORRUPT), not
 * an end. But for one case: the log before it was not synced when this one was begun
 * (bit 0 of compat: ahead), so that a power cut may have taken its tail. Until it is
 * synced, the frames of this log say synced = 0; as long as all of them do, nothing
 * was promised of it, and a log behind a hole is void: as if it had never been begun.
 *
 * Threads: one appender at a time.
 */
#ifndef LSM_STORE_LOG_H
#define LSM_STORE_LOG_H

#include "lsm/format/filename.h"
#include "lsm/store/frame.h"

#define LSM_LOG_MAGIC "LSMLOG\r\n"
#define LSM_LOG_HEADER_SIZE 80u
#define LSM_LOG_PAYLOAD_MAX LSM_FRAME_PAYLOAD_MAX

struct lsm_log_end {            /* where a log ends */
    uint64_t number, size, chain;
};

struct lsm_log {
    struct lsm_os *os;
    struct lsm_file *file;
    uint64_t number;
    uint64_t base;              /* the chain before the first frame */
    uint64_t size;              /* valid bytes */
    uint64_t chain;
    uint64_t frames;
    uint64_t synced, synced_chain;  /* how far it is known to be on disk */
    uint64_t reserved;          /* the file's size where room was set aside, zeros behind `size`; cut off
                                   by close */
    uint64_t expected;          /* os->file_expect() was called from here to `reserved`; 0: it was not */
    uint64_t mapped_bytes;      /* written there */
    uint64_t cuts;              /* how often it was cut: an end that was noted before may be none any more */
    uint64_t room_begin;        /* of the newest room that was made by another thread */
    bool is_helped;             /* another thread makes the room for small records */
    bool no_more_room;          /* there was none, or it is not supported */
    uint64_t syncs;             /* by lsm_log_sync */
    bool was_synced;            /* so was the log before it, record by record */
    bool failed;                /* a write or sync failed: no more appends, unless lsm_log_take_back() may and can */
    struct lsm_buf scratch;
};

/* Of the log as it was begun: no other has it, also of the same number in a copy of the store (1 in 2^32). */
static inline uint32_t lsm_log_mark(const struct lsm_log *log) { return (uint32_t)log->base; }

/* The file of a log that is going to be begun: empty, and what a crash leaves of it is read as an empty log. */
int lsm_log_prepare(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir, uint64_t number, uint32_t mode);
/* Its header, synced. `prev` and `is_ahead` as below. On failure the file is closed and removed, like there. */
int lsm_log_begin(struct lsm_log *log, struct lsm_dir *dir, const uint8_t uuid[16], const struct lsm_log_end *prev,
                  bool is_ahead);
/* One that is not begun: close and remove it. */
void lsm_log_discard(struct lsm_log *log, struct lsm_dir *dir);
/* Create N.log (exclusively) with its header, and sync the file; the directory is the caller's,
   before anything in the log is called durable. `prev` may be NULL. On failure there is no file, as
   far as removing it works. */
int lsm_log_create(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir,
                   const uint8_t uuid[16], uint64_t number, const struct lsm_log_end *prev,
                   uint32_t mode);
/* The same behind a log that is not synced: its tail may be lost in a power cut, and this log with it. */
int lsm_log_create_ahead(struct lsm_log *log, struct lsm_os *os, struct lsm_dir *dir,
                         const uint8_t uuid[16], uint64_t number, const struct lsm_log_end *prev,
                         uint32_t mode);
/* One write, of large ones several. `parts` are joined; together 1 .. LSM_LOG_PAYLOAD_MAX bytes. A failed write latches
   `failed`; LSM_NOMEM and LSM_TOOBIG write nothing and leave the log as it was. */
int lsm_log_append(struct lsm_log *log, const struct lsm_slice *parts, size_t part_count);
/* Right behind an append for which there was no room (LSM_FULL): cut off what came into the file, and sync. The log is
   as it was before, or, when this fails too, stays failed. Nobody else makes room for it or syncs it meanwhile. */
int lsm_log_take_back(struct lsm_log *log);
/* Is it synced record by record, or in small groups? */
bool lsm_log_is_synced_often(const struct lsm_log *log);
/* Of a log that is helped: is it time to make more room ready, and from where on? *synced: for records that are synced.
   The other thread calls lsm_log_make_room, the appender is told with lsm_log_room_is_made and writes no further
   than *from meanwhile. */
bool lsm_log_wants_room(const struct lsm_log *log, uint64_t *from, bool *synced);
/* As much again as has been written, within these bounds. */
uint64_t lsm_log_room_end(const struct lsm_log *log, uint64_t from, uint64_t step_min, uint64_t step_max);
bool lsm_log_make_room(struct lsm_os *os, struct lsm_file *file, uint64_t from, uint64_t end, bool synced);
void lsm_log_room_is_made(struct lsm_log *log, uint64_t from, uint64_t end, bool ok, bool synced);
/* LSM_FSYNC latches `failed`. */
int lsm_log_sync(struct lsm_log *log);
/* Somebody synced the file elsewhere, after it had come to this end. */
void lsm_log_synced(struct lsm_log *log, const struct lsm_log_end *end);
/* The log before one that was created ahead is on disk now, or is not needed any more. */
void lsm_log_prev_is_safe(struct lsm_log *log);
/* Close a log and leave its reserved room: the file is going to be removed, or somebody reads it. */
void lsm_log_drop(struct lsm_log *log);
/* Cut the log back to a size and chain it had before, and sync. For R9's last step: allowed on a
   failed log, which stays failed; one that only had no room for an ABORT goes on. */
int lsm_log_cut(struct lsm_log *log, uint64_t size, uint64_t chain);
void lsm_log_close(struct lsm_log *log);
static inline struct lsm_log_end lsm_log_end(const struct lsm_log *log)
{
    struct lsm_log_end end = { log->number, log->size, log->chain };
    return end;
}
/* How much of it can be relied on: what the next log's header should say. */
static inline struct lsm_log_end lsm_log_end_synced(const struct lsm_log *log)
{
    struct lsm_log_end end = { log->number, log->synced, log->synced_chain };
    return end;
}

/* The mark of a log (lsm_log_mark) that is there; LSM_DONE: it has no whole header. */
int lsm_log_read_mark(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16], uint64_t number, uint32_t *mark);

/*
 * Read a log from its beginning. fn gets each payload (valid during the call)
 * with its offset; its non-zero result ends the reading before that frame and is
 * returned (LSM_DONE at offsets >= what the next log's prev says drops what a
 * failed append left behind). *end is the last good position, *prev what the
 * header says. *torn: something other than zeros follows the end.
 *
 * LSM_NOTFOUND: no such file. LSM_CORRUPT: bad header, another store's, damage
 * to what was synced. LSM_FORMAT: newer. LSM_IOERR is never taken for an end. A
 * file whose header was never finished (shorter, or bad with nothing behind it)
 * is an empty log: end->size 0, *torn set.
 */
int lsm_log_read(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16], uint64_t number,
                 int (*fn)(void *ctx, struct lsm_slice payload, uint64_t off), void *ctx,
                 struct lsm_log_end *end, struct lsm_log_end *prev, bool *torn);

/*
 * The same, record by record, and from where it is told to: a log that rests is read again in parts. The struct must stay
 * where it is. frames.off and frames.chain: behind the record that was read last.
 */
struct lsm_log_reader {
    struct lsm_frame_reader frames;
    struct lsm_file *file;
    char name[LSM_FILENAME_SIZE];
};
/* LSM_DONE: an empty log, see above. Close it whatever is returned. */
int lsm_log_reader_open(struct lsm_log_reader *r, struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                        uint64_t number, struct lsm_log_end *prev);
/* The next record is the one that begins there. */
void lsm_log_reader_seek(struct lsm_log_reader *r, uint64_t off, uint64_t chain);
/* Read nothing at `size` and beyond, where somebody writes meanwhile: half a record there looks like damage. */
void lsm_log_reader_limit(struct lsm_log_reader *r, uint64_t size);
int lsm_log_reader_next(struct lsm_log_reader *r, struct lsm_slice *payload);   /* valid until the next; LSM_DONE: the end */
void lsm_log_reader_close(struct lsm_log_reader *r);

/* Did anything in the log rely on a sync: of the log itself, or of the one before it? Errors as above. */
int lsm_log_read_relied(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                        uint64_t number, bool *relied);

/* The header only: *prev as above; *torn: it was never finished. Errors as above. */
int lsm_log_read_prev(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                      uint64_t number, struct lsm_log_end *prev, bool *torn);

/* LSM_CORRUPT "log hole" unless the log of `end` ended exactly where its successor, log `number`,
   says in `prev`. */
int lsm_log_check_prev(uint64_t number, const struct lsm_log_end *prev,
                       const struct lsm_log_end *end);

#endif

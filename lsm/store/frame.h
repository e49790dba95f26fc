/*
 * frame.h -- files of chained frames: what the log and the MANIFEST have in
 * common.
 *
 *     file     := header  frame*
 *     header   := identity  fields of the file's kind  sum:u64
 *     identity := magic[8]  compat:u16 ro_compat:u16 incompat:u16 zero:u16
 *                 uuid[16]  number:u64  salt:u64                     = 48 bytes
 *     sum       = XXH3(all before it, seed = the magic); also chain_0 and base
 *     frame    := mark:u32  size:u32  synced:u64  check:u64          = 24 bytes
 *                 payload[size]  padding to 8 bytes (zero, checked); size > 0
 *     mark      = low half of XXH3(size synced check, seed = base + offset of the frame)
 *     chain_i   = XXH3(payload, seed = chain_(i-1) ^ size);  check = chain_i
 *
 * `check` ties a frame to this file and to all frames before it: leftovers of a
 * recycled file, a frame in the wrong place and a missing middle all fail.
 *
 * `mark` makes a frame's head recognisable by itself, without the chain: a size
 * is believed only behind a good mark, so a torn head never costs an allocation,
 * and one that reaches past the end of the file is a torn tail.
 *
 * `synced` tells a torn tail from damage. It says how much of the file a
 * successful sync had covered when the frame was written. When reading meets a
 * bad frame at p, it looks on, in steps of 8, for a good mark with synced > p:
 * such a head proves that the bytes at p once were on disk and that later work
 * relied on them, so it is CORRUPT. Without one, nothing shows that p was ever
 * synced, and what was not may be missing in any pattern (the kernel writes
 * pages in its own order: a whole frame behind a hole proves nothing); then p is
 * the end. The look costs one pass over the tail, whatever stands in it.
 *
 * What this cannot see: damage to frames behind the last one's `synced`. The
 * token, the next log's prev_* and a clean close's log_end are for that.
 *
 * Threads: one a reader.
 */
#ifndef LSM_STORE_FRAME_H
#define LSM_STORE_FRAME_H

#include "lsm/util/buf.h"

#define LSM_FRAME_IDENTITY_SIZE 48u
#define LSM_FRAME_HEAD_SIZE 24u
#define LSM_FRAME_PAYLOAD_MAX (1u << 30)
#define LSM_FRAME_FILE_MAX (UINT64_C(1) << 34)  /* larger ones are not written, nor read */

/* ---- header ---- */

/* Fill the identity; the caller puts its fields behind it and then seals. */
void lsm_frame_identity_put(uint8_t *header, const char magic[8], const uint8_t uuid[16],
                            uint64_t number, uint64_t salt);
/* Put the sum into the last eight of `size` bytes; returns it: the chain before the first frame. */
uint64_t lsm_frame_header_seal(uint8_t *header, size_t size);
/* True if the sum is right. The sum's place is the same in all versions of a kind. */
bool lsm_frame_header_is_whole(const uint8_t *header, size_t size);
/* Of a whole header: LSM_FORMAT (newer: incompat bits that are not `known`; ro_compat bits only when
   `write`), LSM_CORRUPT (another kind, another number). The caller compares the uuid. */
int lsm_frame_header_check(const uint8_t *header, const char magic[8], uint64_t number, uint16_t known,
                           bool write, const char *name);
/* What the sum of such a header must be. */
uint64_t lsm_frame_header_sum(const uint8_t *header, size_t size);
static inline const uint8_t *lsm_frame_header_uuid(const uint8_t *header) { return header + 16; }

/* ---- writing ---- */

/* Bytes of a frame in the file. */
static inline uint64_t lsm_frame_size(uint64_t payload_size)
{
    return LSM_FRAME_HEAD_SIZE + ((payload_size + 7) & ~UINT64_C(7));
}

/* Write the frame of the joined parts, lsm_frame_size() bytes, to p. `off`: where it will stand.
   `synced` <= off: bytes of the file known to be on disk. Returns the chain behind it. */
uint64_t lsm_frame_encode(uint8_t *p, const struct lsm_slice *parts, size_t part_count,
                          uint64_t base, uint64_t off, uint64_t synced, uint64_t chain);

/* The same for one payload that stays where it is: its head. Zeros to a multiple of 8 follow it. */
uint64_t lsm_frame_encode_head(uint8_t head[LSM_FRAME_HEAD_SIZE], struct lsm_slice payload, uint64_t base,
                               uint64_t off, uint64_t synced, uint64_t chain);
/* ---- looking for frames in damaged files ---- */

struct lsm_frame_head {
    uint32_t size;
    uint64_t check;             /* the chain behind the frame */
};

/* Do 24 bytes make a head, to judge by its mark? */
bool lsm_frame_head_read(const uint8_t *p, uint64_t base, uint64_t off, struct lsm_frame_head *head);
/* The chain behind a payload. */
uint64_t lsm_frame_chain(uint64_t chain, struct lsm_slice payload);

/* ---- reading ---- */

struct lsm_frame_reader {
    struct lsm_os *os;
    struct lsm_file *file;      /* the caller's; NULL: all of it is in the window, which is the caller's then */
    const char *name;           /* for texts; the caller's */
    uint64_t file_size;
    uint64_t base;
    uint64_t off, chain;        /* behind the last good frame */
    bool torn;                  /* at the end: other bytes than zeros follow it */
    bool done;
    uint32_t beyond;            /* at the end: heads of whole frames that follow it, cut off from what was read */
    bool relied;                /* some frame was written after a sync, also behind a torn one */

    uint8_t *window;            /* [window_off, window_off + window_size) of the file */
    uint64_t window_off;
    size_t window_size, window_cap;
};

/* Begin at the file's first byte. LSM_CORRUPT: larger than any that is written. */
int lsm_frame_reader_open(struct lsm_frame_reader *r, struct lsm_os *os, struct lsm_file *file,
                          const char *name);
/* The same of a file's bytes, which are the caller's until close. */
void lsm_frame_reader_open_bytes(struct lsm_frame_reader *r, struct lsm_os *os, struct lsm_slice bytes, const char *name);
/* The header's `size` bytes (at most 128), then frames follow. LSM_DONE: the file ends before, or
   the sum is wrong and nothing but zeros follows: its creation was not finished. LSM_CORRUPT. */
int lsm_frame_read_header(struct lsm_frame_reader *r, uint8_t *header, size_t size);
/* The next payload, valid until the next call, or LSM_DONE at the end: off, chain and torn say what
   is there. LSM_CORRUPT: damage before the end. LSM_IOERR and LSM_NOMEM are never an end. */
int lsm_frame_read(struct lsm_frame_reader *r, struct lsm_slice *payload);
/* Go on where a frame begins, with the chain before it; behind the header. Beyond the file's end: LSM_DONE comes next. */
void lsm_frame_reader_seek(struct lsm_frame_reader *r, uint64_t off, uint64_t chain);
void lsm_frame_reader_close(struct lsm_frame_reader *r);

#endif

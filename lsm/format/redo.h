/*
 * redo.h -- carried records as they stand in the host's database (commit.md R7).
 *
 *     area  := frame*                     each at a multiple of 64; what lies between is anything
 *     frame := magic[4] "LSMR"  log:u32  size:u32  solo:u32  record[size]  zeros to 64
 *
 * `log` is the mark of the log that the record was appended to, LSM_REDO_NO_LOG if an older lsmvtab wrote it (its magic
 * had eight bytes): the log's header was on disk before, so a directory that lacks the record and the log as well is not
 * what a power cut left but one of an earlier moment, or another copy's. `solo` is the mark of the newest SOLO on the
 * record's base, 0 if there was none (or an older lsmvtab wrote it): it was on disk before the record was carried, so a
 * log that lacks it is not what a power cut left either.
 *
 * The area is written again from its beginning when all that is in it may go (R7b), and a
 * transaction that was rolled back leaves a gap: so frames are looked for at every multiple of
 * 64, and leftovers of older ones are found beside those that count. Nothing is believed but
 * the hash that a token asks for.
 *
 * Threads: pure.
 */
#ifndef LSM_FORMAT_REDO_H
#define LSM_FORMAT_REDO_H

#include "lsm/format/record.h"
#include "lsm/util/coding.h"

#define LSM_REDO_HEAD_SIZE 16u
#define LSM_REDO_ALIGN 64u

/* Begin a frame in an empty buffer: the record is encoded behind it. */
void lsm_redo_begin(struct lsm_buf *frame);
/* The frame is complete: fill in the head and pad. */
void lsm_redo_finish(struct lsm_buf *frame, uint32_t log, uint32_t solo);
#define LSM_REDO_NO_LOG 0x0a4f4445u     /* "EDO\n" */
/* Of a SOLO by its id; never 0. */
static inline uint32_t lsm_redo_solo_mark(const struct lsm_token *id)
{
    return lsm_get_u32(id->hash) | 1;
}
/* As the frame of these bytes, which lsm_redo_find() gave, says it. */
static inline uint32_t lsm_redo_log(struct lsm_slice bytes)
{
    return lsm_get_u32(bytes.data - 12);
}
static inline uint32_t lsm_redo_solo(struct lsm_slice bytes)
{
    return lsm_get_u32(bytes.data - 4);
}
/* The record of a frame that was finished, or begun and appended to. */
static inline struct lsm_slice lsm_redo_record(const struct lsm_buf *frame)
{
    return lsm_slice(frame->data + LSM_REDO_HEAD_SIZE, frame->size - LSM_REDO_HEAD_SIZE);
}

/*
 * Look for the record that `token` names, backwards from *off and round: a transaction's
 * predecessor stands before it. *off is then its frame's. LSM_NOTFOUND: there is none.
 * LSM_CORRUPT: there is one by its name, and its bytes are not what the token's hash stands
 * for; or it is none that is ever carried.
 */
int lsm_redo_find(struct lsm_slice area, const struct lsm_token *token, const uint8_t uuid[16],
                  size_t *off, struct lsm_slice *bytes, struct lsm_record *rec);

#endif

/*
 * outfile.h -- a file that is written from front to back, once: what the writers of
 * tables and of value logs have in common. Bytes are gathered and written in large
 * pieces; the first failure is latched with its text; a file that was not finished
 * is removed.
 *
 * Threads: one at a time.
 */
#ifndef LSM_STORE_OUTFILE_H
#define LSM_STORE_OUTFILE_H

#include "lsm/format/filename.h"
#include "lsm/util/buf.h"

struct lsm_outfile {
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_file *file;
    char name[LSM_FILENAME_SIZE];
    uint64_t written;           /* bytes in the file; `out` comes behind them */
    uint64_t pushed;            /* of them the kernel was told to write them to the disk */
    struct lsm_buf out;         /* the writer appends here */
    bool is_finished;
    int rc;                     /* latched, with its text */
    char error[LSM_ERROR_TEXT_SIZE];
};

/* Create the file, exclusively. On failure there is nothing to close. */
int lsm_outfile_open(struct lsm_outfile *f, struct lsm_os *os, struct lsm_dir *dir,
                     enum lsm_file_kind kind, uint64_t number, uint32_t file_mode);
/* Latch rc and the text that goes with it, unless it is LSM_OK or one is latched already. */
void lsm_outfile_fail(struct lsm_outfile *f, int rc);
/* `out` was appended to: write it if it is large enough by now. */
void lsm_outfile_grown(struct lsm_outfile *f);
/* Bytes so far. */
static inline uint64_t lsm_outfile_size(const struct lsm_outfile *f) { return f->written + f->out.size; }
/* Write the rest and sync the file (not the directory). What was latched, or LSM_FSYNC, LSM_FULL. */
int lsm_outfile_finish(struct lsm_outfile *f);
void lsm_outfile_close(struct lsm_outfile *f);

#endif

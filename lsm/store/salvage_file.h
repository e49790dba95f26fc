/*
 * salvage_file.h -- read a file of which some bytes cannot be read: rescue.h gives zeros
 * for them, which no sum takes for what was written, and here it is remembered where
 * they are, so that each is told of once, with what is lost by it.
 *
 * Threads: one a file.
 */
#ifndef LSM_STORE_SALVAGE_FILE_H
#define LSM_STORE_SALVAGE_FILE_H

#include "lsm/store/rescue.h"
#include "lsm/util/buf.h"

#define LSM_SALVAGE_UNCOUNTED UINT64_MAX

/* Told of every stretch that cannot be read. */
struct lsm_salvage_lost {
    void *ctx;
    void (*fn)(void *ctx, const char *file, uint64_t off, uint64_t size, const char *why);
    /* Of a damaged table, when all of it was read: so many rows are missing, deletes among them. LSM_SALVAGE_UNCOUNTED:
       nothing says how many it had. NULL: not asked for. */
    void (*rows)(void *ctx, uint64_t count);
};

struct lsm_salvage_unread {
    uint64_t off, size;
    int error;                  /* the device's, or below 0: why it was not tried */
    bool is_told;
};

struct lsm_salvage_file {
    struct lsm_os *os;
    struct lsm_dir *dir;
    const char *name;           /* the caller's */
    struct lsm_buf unread;      /* struct lsm_salvage_unread, ascending */
    struct lsm_rescue rescue;
    uint32_t row, skip;         /* of whole pieces: failures one behind the other; how many are not tried now */
};

void lsm_salvage_file_init(struct lsm_salvage_file *f, struct lsm_os *os, struct lsm_dir *dir, const char *name);
void lsm_salvage_file_clear(struct lsm_salvage_file *f);
/* [off, off + size) of a file that is that long, behind all that was read before. It is opened for this: there may be
   more files than descriptors. *got < size only where it became shorter. LSM_NOMEM; others: it cannot be opened. */
int lsm_salvage_file_read(struct lsm_salvage_file *f, uint64_t off, size_t size, uint8_t *data, size_t *got);
/* The same, anywhere, of one piece that is of no use unless all of it is there; it is not tried in smaller ones. Where
   more than a few fail one behind the other, more and more are LSM_IOERR without being tried. */
int lsm_salvage_file_read_whole(struct lsm_salvage_file *f, uint64_t off, size_t size, uint8_t *data, size_t *got);
/* All of it into an empty buffer, up to `most`; *size: of the file, or `most`. Of a hole at its end, which is
   zeros, only the beginning is in the buffer. */
int lsm_salvage_file_read_all(struct lsm_salvage_file *f, uint64_t most, struct lsm_buf *to, uint64_t *size);
bool lsm_salvage_file_is_unread(const struct lsm_salvage_file *f, uint64_t off, uint64_t size);
/* Where behind `off` something other than zeros may stand, at most `end`. */
int lsm_salvage_file_next_data(struct lsm_salvage_file *f, uint64_t off, uint64_t end, uint64_t *data);

/* Tell of a stretch that is lost; where some of it is unread, that is the reason. */
void lsm_salvage_file_lost(struct lsm_salvage_file *f, const struct lsm_salvage_lost *lost, uint64_t off, uint64_t size,
                           const char *why);
/* What is unread and was not told of. */
void lsm_salvage_file_lost_unread(struct lsm_salvage_file *f, const struct lsm_salvage_lost *lost);

#endif

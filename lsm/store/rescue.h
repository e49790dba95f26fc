/*
 * rescue.h -- read a file around what its disk cannot read any more.
 *
 * A read that fails is tried again in pieces of 4 KiB, so that only those are missing that cannot be had: they are zeros
 * in what is given back. Where more than a few fail one behind the other the step doubles up to 1 MiB (as
 * GNU ddrescue does), since a dying disk takes seconds for each: a dead one of 1 GiB is asked some 1,050 times, not 262,144.
 *
 * Threads: one at a time for a file.
 */
#ifndef LSM_STORE_RESCUE_H
#define LSM_STORE_RESCUE_H

#include "lsm/os/os.h"
#include "lsm/util/status.h"

struct lsm_rescue {
    void *ctx;
    void (*missing)(void *ctx, uint64_t off, uint64_t size, int error);     /* NULL: nobody asks where */
    uint64_t bytes;             /* out: missing so far */
    uint32_t row;               /* failures one behind the other, also across calls; begin with 0 */
};

/* As lsm_os.file_read, zeros for what is missing, of which `missing` is told in order. The file is at least off + size
   long, or *got says how much there is. Other failures than the disk's (ENOMEM, EACCES) are returned. */
int lsm_rescue_read(struct lsm_rescue *rescue, struct lsm_os *os, struct lsm_file *file, void *data, size_t size,
                    uint64_t off, size_t *got);

#endif

/*
 * rescue.c -- see rescue.h.
 */
#include "lsm/store/rescue.h"

#include <errno.h>
#include <string.h>

#define LARGE (1u << 20)                /* what is read at once, and the longest step */
#define SMALL 4096u                     /* a page, and a sector of most disks */
#define ROW_MAX 8u                      /* small pieces in a row before the step doubles */

/* The disk's, or the file system's word that its own sum does not match; of anything else a smaller piece is no cure. */
static bool is_disks(int error)
{
    return error == EIO || error == EBADMSG || error == ENODATA
#ifdef EUCLEAN
           || error == EUCLEAN
#endif
        ;
}

/* How much of what begins at `off` is tried at once: up to the next border of pieces. */
static size_t step_at(const struct lsm_rescue *rescue, uint64_t off, size_t left)
{
    uint64_t step = SMALL;

    for (uint32_t i = ROW_MAX; i < rescue->row && step < LARGE; i++)
        step *= 2;
    step -= off % step;
    return step < left ? (size_t)step : left;
}

static void tell(struct lsm_rescue *rescue, uint64_t off, uint64_t size, int error)
{
    rescue->bytes += size;
    if (size && rescue->missing)
        rescue->missing(rescue->ctx, off, size, error);
}

int lsm_rescue_read(struct lsm_rescue *rescue, struct lsm_os *os, struct lsm_file *file, void *data, size_t size,
                    uint64_t off, size_t *got)
{
    uint64_t end = off + size, at = off, careful = off;     /* in pieces below */
    uint64_t gap = off;                                     /* [gap, at) is missing */
    int error = 0, why = 0;
    size_t want = 0, n = 0;

    while (at < end && n == want) {
        uint8_t *to = (uint8_t *)data + (at - off);
        size_t piece = step_at(rescue, at, (size_t)(end - at));

        want = at < careful ? piece : end - at < LARGE ? (size_t)(end - at) : LARGE;
        n = 0;
        error = os->file_read(file, to, want, at, &n);
        if (error && !is_disks(error))
            break;
        if (error && want > piece) {
            careful = at + want;
            n = want;
            continue;
        }
        if (error) {
            memset(to, 0, want);
            rescue->row++;
            why = error;
            error = 0;
            n = want;
        } else {
            tell(rescue, gap, at - gap, why);
            rescue->row = 0;
            gap = at + n;
        }
        at += n;
    }
    tell(rescue, gap, at - gap, why);
    *got = error ? 0 : (size_t)(at - off);
    return error;
}

/* fuzz_ranges.c -- what decodes encodes to the same bytes, and every key finds its stretch. */
#include <stdlib.h>

#include "lsm/format/ranges.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct lsm_ranges *r, struct lsm_slice key)
{
    struct lsm_stretch at;

    lsm_ranges_at(r, NULL, key, LSM_SEQ_MAX, 0, &at);
    if ((at.lo.data && lsm_slice_compare(at.lo, key) > 0) ||
        (at.hi.data && lsm_slice_compare(at.hi, key) <= 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lsm_os *os;
    struct lsm_ranges *r;
    struct lsm_buf out;

    if (!os)
        os = lsm_os_posix_new();
    if (lsm_ranges_decode(os, NULL, lsm_slice(data, size), "fuzz", 0, &r) != LSM_OK)
        return 0;
    lsm_buf_init(&out, os);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct lsm_range *range = &r->range[i];

        lsm_range_encode(&out, range->lo, range->hi, r->seqs + range->seq_at, range->seq_count);
        look(r, range->lo);
        look(r, range->hi);
        if (lsm_ranges_find(r, NULL, range->lo) != i)
            abort();
    }
    if (out.size != size || memcmp(out.data, data, size) != 0)
        abort();
    lsm_buf_clear(&out);
    lsm_ranges_free(r);
    if (os->mem_used(os) != 0)
        abort();
    return 0;
}

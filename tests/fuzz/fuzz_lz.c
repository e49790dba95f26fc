/*
 * fuzz_lz.c -- any bytes decompress within their buffers or not at all, and what came out, or
 * any bytes, come back when they are compressed.
 *
 * The first two bytes are the size that is claimed; the rest is what is stored.
 */
#include <stdlib.h>

#include "lsm/format/lz.h"
#include "lsm/util/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void roundtrip(const uint8_t *raw, size_t size)
{
    static struct lsm_lz lz;
    size_t bound = lsm_lz_bound(size), n;
    uint8_t *out = malloc(bound), *back = malloc(size + 1);

    n = lsm_lz_compress(&lz, lsm_slice(raw, size), out, bound);
    if ((n == 0 && size) || n > bound || !lsm_lz_decompress(lsm_slice(out, n), back, size) ||
        memcmp(back, raw, size) != 0)
        abort();
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *raw, *stored;
    size_t raw_size;

    roundtrip(data, size);
    if (size < 2)
        return 0;
    raw_size = lsm_get_u16(data);
    raw = malloc(raw_size ? raw_size : 1);      /* not one byte more */
    stored = malloc(size - 2 ? size - 2 : 1);
    memcpy(stored, data + 2, size - 2);
    if (lsm_lz_decompress(lsm_slice(stored, size - 2), raw, raw_size))
        roundtrip(raw, raw_size);
    free(raw);
    free(stored);
    return 0;
}

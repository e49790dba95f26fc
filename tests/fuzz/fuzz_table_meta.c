/* fuzz_table_meta.c -- what decodes encodes to the same bytes. */
#include <stdlib.h>

#include "lsm/format/table_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lsm_os *os;
    struct lsm_reader r = { data, data + size, false };
    struct lsm_table_meta meta, *copy;
    struct lsm_buf out;

    if (!os)
        os = lsm_os_posix_new();
    if (!lsm_table_meta_decode(&r, &meta))
        return 0;
    copy = lsm_table_meta_copy(os, &meta);
    lsm_buf_init(&out, os);
    lsm_table_meta_encode(&out, copy);
    if (out.size != (size_t)(r.p - data) || memcmp(out.data, data, out.size) != 0)
        abort();
    lsm_buf_clear(&out);
    lsm_mem_free(os, copy);
    if (os->mem_used(os) != 0)
        abort();
    return 0;
}

/*
 * fuzz_edit.c -- any bytes as an edit: refused, or encoding and decoding it
 * again gives the same bytes. Then as an edit of a store: it fits or it does not.
 */
#include "lsm/version/version.h"
#include "tests/fuzz/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_edit edit, again;
    struct lsm_version *empty, *v;
    struct lsm_buf a, b;
    struct fuzz_place p;
    int rc;

    fuzz_begin(&p);
    lsm_edit_init(&edit, p.os);
    lsm_edit_init(&again, p.os);
    lsm_buf_init(&a, p.os);
    lsm_buf_init(&b, p.os);
    rc = lsm_edit_decode(&edit, lsm_slice(data, size), "M", 0);
    FUZZ_CHECK(rc == LSM_OK || rc == LSM_CORRUPT || rc == LSM_FORMAT);
    if (rc == LSM_OK) {
        lsm_edit_encode(&edit, &a);
        FUZZ_CHECK(a.rc == LSM_OK);
        FUZZ_CHECK(lsm_edit_decode(&again, lsm_buf_slice(&a), "M", 0) == LSM_OK);
        lsm_edit_encode(&again, &b);
        FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&a), lsm_buf_slice(&b)));

        FUZZ_CHECK(lsm_version_new(p.os, NULL, NULL, NULL, &empty) == LSM_OK);
        rc = lsm_version_apply(empty, &edit, &v);
        FUZZ_CHECK(rc == LSM_OK || rc == LSM_CORRUPT);
        lsm_version_unref(empty);
        lsm_version_unref(v);
    }
    lsm_edit_clear(&edit);
    lsm_edit_clear(&again);
    lsm_buf_clear(&a);
    lsm_buf_clear(&b);
    fuzz_end(&p);
    return 0;
}

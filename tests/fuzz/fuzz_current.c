/*
 * fuzz_current.c -- any bytes as CURRENT, beside one MANIFEST (first byte even)
 * or two (odd). Beside one, the store always opens and CURRENT is right
 * afterwards, unless the bytes name another file with a right sum. Beside two it opens only
 * through a CURRENT with a right sum.
 */
#include "lsm/version/manifest.h"
#include "tests/fuzz/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[16] = { 1 };

static int see(void *ctx, const struct lsm_edit *edit)
{
    (void)edit;
    ++*(int *)ctx;
    return LSM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t good[2][64], now[128];
    size_t good_size[2] = { 0 }, now_size;
    struct lsm_manifest m = { 0 };
    struct lsm_edit edit;
    struct fuzz_place p;
    int rc, count = 0, two;

    if (size < 1 || size > sizeof(now))
        return 0;
    two = data[0] & 1;
    fuzz_begin(&p);
    lsm_edit_init(&edit, p.os);
    for (int i = 0; i <= two; i++) {
        rc = lsm_manifest_create(&m, p.os, p.dir, uuid, (uint64_t)i + 1, 0644, &edit);
        FUZZ_CHECK(rc == LSM_OK);
        good_size[i] = fuzz_get(&p, "CURRENT", good[i], sizeof(good[i]));
    }
    lsm_manifest_close(&m);
    fuzz_put(&p, "CURRENT", data + 1, size - 1);

    rc = lsm_manifest_open(&m, p.os, p.dir, false, see, &count);
    FUZZ_CHECK(rc == LSM_OK || rc == LSM_CORRUPT);
    if (rc == LSM_OK) {
        int n = (int)m.number - 1;

        FUZZ_CHECK(count == 1 && n >= 0 && n <= two);
        now_size = fuzz_get(&p, "CURRENT", now, sizeof(now));
        FUZZ_CHECK(now_size == size - 1 && memcmp(now, data + 1, now_size) == 0);   /* opening writes nothing */
        FUZZ_CHECK(m.failed || (now_size == good_size[n] && memcmp(now, good[n], now_size) == 0));
        if (two)
            FUZZ_CHECK(size - 1 == good_size[n] && memcmp(data + 1, good[n], size - 1) == 0);
    } else if (!two) {      /* only a right CURRENT for a MANIFEST that is not there */
        FUZZ_CHECK(size - 1 >= 33 && memcmp(data + 1, "MANIFEST-", 9) == 0);
    }
    lsm_manifest_close(&m);
    fuzz_end(&p);
    return 0;
}

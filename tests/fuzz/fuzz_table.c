/*
 * fuzz_table.c -- any bytes as a table file.
 *
 *     input := flags:u8  seq_add:u8  file
 *
 * flags & 1: as it is, so that the frame's own checks are met. Else all sums
 * that can be found are made right first, so that mutations get past them: the
 * frame's, and of each block that header, footer and indexes lead to.
 *
 * The meta says what the properties say, so that an unharmed file passes its check.
 *
 * What opens must read the same in both directions and in order, a get must
 * find what the scan showed (a filter that lies may deny it), and what passes
 * the check must be denied nothing.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lsm/format/block.h"
#include "lsm/format/filename.h"
#include "lsm/format/filter.h"
#include "lsm/format/seal.h"
#include "lsm/store/table.h"
#include "lsm/store/table_format.h"
#include "lsm/util/hash.h"
#include "tests/fuzz/refit.h"

#define ROWS_MAX 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t tag, hash;         /* of key and value */
};

static uint64_t hash_row(const struct lsm_iter *it)
{
    return lsm_hash64(it->key.data, it->key.size,
                      lsm_hash64(it->value.data, it->value.size, it->key.size));
}

/* Every row forward and backward; gets. The number of rows that a get denied. */
static size_t read_table(struct lsm_table *t, bool *complete)
{
    struct seen *seen = malloc(ROWS_MAX * sizeof *seen);
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_buf last;
    uint64_t last_tag = 0;
    struct lsm_iter *it;
    size_t n = 0, denied = 0;
    int rc;

    REQUIRE(lsm_table_iter_new(t, false, &it) == LSM_OK);
    lsm_buf_init(&last, os);
    for (lsm_iter_first(it); it->valid && n < ROWS_MAX; lsm_iter_next(it), n++) {
        struct lsm_table_pin pin;
        struct lsm_slice value;
        uint64_t tag;

        REQUIRE(n == 0 || lsm_ikey_compare(NULL, lsm_buf_slice(&last), last_tag, it->key,
                                           it->tag) < 0);
        lsm_buf_reset(&last);
        lsm_buf_append_slice(&last, it->key);
        last_tag = it->tag;
        seen[n] = (struct seen){ it->tag, hash_row(it) };
        rc = lsm_table_get(t, it->key, lsm_filter_hash(it->key), lsm_tag_seq(it->tag), false, &tag,
                           &value, &pin);
        REQUIRE(rc == LSM_OK || rc == LSM_NOTFOUND);
        if (rc == LSM_OK && tag == it->tag)
            REQUIRE(lsm_slice_equal(value, it->value));
        denied += rc == LSM_NOTFOUND;
        lsm_table_unpin(&pin);
    }
    rc = it->rc;
    *complete = rc == LSM_OK && n < ROWS_MAX;
    lsm_iter_close(it);

    REQUIRE(lsm_table_iter_new(t, true, &it) == LSM_OK);
    lsm_iter_last(it);
    for (size_t i = n; it->valid && *complete; lsm_iter_prev(it)) {
        REQUIRE(i > 0);
        i--;
        REQUIRE(seen[i].tag == it->tag && seen[i].hash == hash_row(it));
        if (i == 0) {
            lsm_iter_prev(it);
            REQUIRE(!it->valid);
            break;
        }
    }
    REQUIRE(!*complete || it->rc == LSM_OK);
    lsm_iter_close(it);
    lsm_buf_clear(&last);
    lsm_os_posix_free(os);
    free(seen);
    return denied;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_table_meta meta = { .number = NUMBER, .tree = 1 };
    struct lsm_os *base, *os;
    struct lsm_compressor_pool *pool;
    struct lsm_tables *tables;
    struct lsm_cache *cache;
    struct lsm_table *t;
    struct lsm_file *file;
    struct lsm_dir *dir;
    char name[LSM_FILENAME_SIZE];
    uint8_t *copy;

    if (size < 2)
        return 0;
    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    meta.size_bytes = size - 2;
    meta.seq_add = data[1];
    copy = malloc(size);
    memcpy(copy, data + 2, size - 2);
    if (!(data[0] & 1))
        refit_all(os, copy, size - 2, LSM_TABLE_INCOMPAT_KNOWN);
    meta_of(copy, size - 2, &meta);
    REQUIRE(os->dir_open(os, "/d", true, 0755, NULL, &dir) == 0);
    lsm_filename(name, LSM_FILE_TABLE, NUMBER);
    REQUIRE(os->file_open(dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file) == 0);
    REQUIRE(os->file_write(file, copy, size - 2, 0) == 0);
    os->file_close(file);

    REQUIRE(lsm_cache_new(os, 64 << 10, &cache) == LSM_OK);
    REQUIRE(lsm_compressor_pool_new(os, &pool) == LSM_OK);
    REQUIRE(lsm_tables_new(os, dir, uuid, cache, pool, 10, &tables) == LSM_OK);
    if (lsm_tables_get(tables, &meta, NULL, &t) == LSM_OK) {
        bool complete;
        size_t denied = read_table(t, &complete);
        if (lsm_table_check(t) == LSM_OK)
            REQUIRE(denied == 0 && complete);
        lsm_table_offset_of(t, lsm_slice("m", 1));
        lsm_table_unref(t);
    }
    lsm_tables_free(tables);
    lsm_cache_free(cache);
    lsm_compressor_pool_free(pool);
    os->dir_close(dir);
    lsm_os_mem_free(os);
    REQUIRE(base->mem_used(base) == 0);
    lsm_os_posix_free(base);
    free(copy);
    return 0;
}

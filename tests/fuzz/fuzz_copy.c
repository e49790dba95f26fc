/*
 * fuzz_copy.c -- any bytes as a table that is compacted, once decoded and once copied as it stands, blocks and partitions.
 *
 *     input := seq_add:u8  file
 *
 * All sums are made right first. What passes the check must come out the same both ways; what does not may fail, or come
 * out as it likes.
 */
#include <stdio.h>

#include "lsm/compaction/build.h"
#include "lsm/format/filename.h"
#include "lsm/store/table.h"
#include "tests/fuzz/refit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT, DECODED, COPIED, PLACES };

static struct {
    struct lsm_os *os;
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *compressor;
    struct {
        struct lsm_dir *dir;
        struct lsm_cache *cache;
        struct lsm_tables *tables;
    } at[PLACES];
} w;

static uint64_t new_file(void *ctx)
{
    return ++*(uint64_t *)ctx;
}

static bool is_above(void *ctx, struct lsm_slice first, struct lsm_slice last)
{
    (void)ctx, (void)first, (void)last;
    return true;
}

static void begin(struct lsm_os *base)
{
    static const char *const names[PLACES] = { "/input", "/decoded", "/copied" };

    w.os = lsm_os_mem_new(base);
    REQUIRE(lsm_compressor_pool_new(w.os, &w.pool) == LSM_OK);
    REQUIRE(lsm_compressor_take(w.pool, &w.compressor) == LSM_OK);
    for (int i = 0; i < PLACES; i++) {
        REQUIRE(w.os->dir_open(w.os, names[i], true, 0755, NULL, &w.at[i].dir) == 0);
        REQUIRE(lsm_cache_new(w.os, 64 << 10, &w.at[i].cache) == LSM_OK);
        REQUIRE(lsm_tables_new(w.os, w.at[i].dir, uuid, w.at[i].cache, w.pool, 10, &w.at[i].tables) == LSM_OK);
    }
}

static void end(void)
{
    for (int i = 0; i < PLACES; i++) {
        lsm_tables_free(w.at[i].tables);
        lsm_cache_free(w.at[i].cache);
        w.os->dir_close(w.at[i].dir);
    }
    lsm_compressor_put(w.pool, w.compressor);
    lsm_compressor_pool_free(w.pool);
    lsm_os_mem_free(w.os);
}

static void write_input(const uint8_t *bytes, size_t size)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;

    lsm_filename(name, LSM_FILE_TABLE, NUMBER);
    REQUIRE(w.os->file_open(w.at[INPUT].dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file) == 0);
    REQUIRE(w.os->file_write(file, bytes, size, 0) == 0);
    w.os->file_close(file);
}

static int build(struct lsm_build *b, struct lsm_table *t, int place)
{
    uint64_t number = 10;
    struct lsm_iter *it;
    int rc;

    *b = (struct lsm_build){ .os = w.os, .dir = w.at[place].dir, .uuid = uuid, .tree = 1, .compressor = w.compressor,
                             .file_mode = 0644, .ctx = &number, .new_file = new_file, .file_bytes = 16384,
                             .is_above = place == COPIED ? is_above : NULL };
    b->table = (struct lsm_table_options){ .block_bytes = 256, .filter_bits = 10, .codec = LSM_CODEC_LZ, .level = 1 };
    REQUIRE(lsm_table_iter_new(t, true, &it) == LSM_OK);
    rc = lsm_build_run(b, it);
    lsm_iter_close(it);
    return rc;
}

/* Of all rows in all tables, which pass their checks. */
static uint64_t sum_of(const struct lsm_build *b, int place)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct lsm_table *t;
        struct lsm_iter *it;

        REQUIRE(lsm_tables_get(w.at[place].tables, b->metas[i], NULL, &t) == LSM_OK);
        REQUIRE(lsm_table_check(t) == LSM_OK);
        REQUIRE(lsm_table_iter_new(t, true, &it) == LSM_OK);
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it)) {
            sum = lsm_hash64(it->key.data, it->key.size, sum + it->tag);
            sum = lsm_hash64(it->value.data, it->value.size, sum + it->key.size);
        }
        REQUIRE(it->rc == LSM_OK);
        lsm_iter_close(it);
        lsm_table_unref(t);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_table_meta meta = { .number = NUMBER, .tree = 1 };
    struct lsm_os *base;
    struct lsm_table *t;
    uint8_t *copy;

    if (size < 1)
        return 0;
    base = lsm_os_posix_new();
    begin(base);
    meta.size_bytes = size - 1;
    meta.seq_add = data[0];
    copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    refit_all(w.os, copy, size - 1, LSM_TABLE_INCOMPAT_LZ);
    meta_of(copy, size - 1, &meta);
    write_input(copy, size - 1);
    if (lsm_tables_get(w.at[INPUT].tables, &meta, NULL, &t) == LSM_OK) {
        bool is_good = lsm_table_check(t) == LSM_OK;
        struct lsm_build b[2];
        int rc[2];

        for (int i = 0; i < 2; i++)
            rc[i] = build(&b[i], t, DECODED + i);
        if (is_good) {
            REQUIRE(rc[0] == LSM_OK && rc[1] == LSM_OK);
            REQUIRE(sum_of(&b[0], DECODED) == sum_of(&b[1], COPIED));
            REQUIRE(b[0].rows_read == b[1].rows_read && b[0].rows_written == b[1].rows_written);
            if (getenv("FUZZ_COPY_SHOW"))
                fprintf(stderr, "%llu of %llu bytes copied, %llu whole\n", (unsigned long long)b[1].bytes_copied,
                        (unsigned long long)b[1].bytes_written, (unsigned long long)b[1].bytes_whole);
        }
        for (int i = 0; i < 2; i++)
            lsm_build_clear(&b[i]);
        lsm_table_unref(t);
    }
    end();
    REQUIRE(base->mem_used(base) == 0);
    lsm_os_posix_free(base);
    free(copy);
    return 0;
}

/*
 * test_vlog.c -- value logs: what was written comes back, through a copy too;
 * every handle that is not exactly one that was given is refused; a file that is
 * missing, cut, foreign or damaged is LSM_CORRUPT and never another value.
 */
#include "lsm/store/vlog.h"

#include "lsm/format/filename.h"
#include "lsm/store/vlog_format.h"
#include "lsm/store/vlog_writer.h"
#include "lsm/util/hash.h"
#include "tests/unit/disk.h"

#define VALUES 40

static const uint8_t uuid[16] = "value-log-store";
static struct lsm_dir *dir;
static struct lsm_compressor_pool *pool;
static struct lsm_compressor *compressor;
static struct lsm_vlogs *vlogs;

static void setup(void)
{
    bool created;

    disk_begin();
    CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0755, &created, &dir), 0);
    CHECK_OK(lsm_compressor_pool_new(disk.os, &pool));
    CHECK_OK(lsm_compressor_take(pool, &compressor));
    CHECK_OK(lsm_vlogs_new(disk.os, dir, uuid, pool, 4, &vlogs));
}

static void teardown(void)
{
    lsm_vlogs_free(vlogs);
    lsm_compressor_put(pool, compressor);
    lsm_compressor_pool_free(pool);
    disk.os->dir_close(dir);
    disk_end();
}

/* The i-th value: sizes from 0 to 300 KiB, some compress. */
static struct lsm_slice value_of(int i)
{
    static uint8_t bytes[400000];
    size_t size = i == VALUES - 1 ? 300000 : (size_t)i * 97;
    uint64_t x = (uint64_t)i * 2654435761u + 1;

    for (size_t k = 0; k < size; k++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[k] = i % 3 ? (uint8_t)(x >> 56) : (uint8_t)("value "[k % 6] + i);
    }
    return lsm_slice(bytes, size);
}

static void write_log(uint64_t number, struct lsm_vlog_handle *handles, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_options o = { LSM_CODEC_ZSTD, 1 };
    struct lsm_vlog_writer *w;

    CHECK_OK(lsm_vlog_writer_open(disk.os, dir, uuid, number, 3, &o, compressor, 0644, &w));
    for (int i = 0; i < VALUES; i++)
        lsm_vlog_writer_add(w, value_of(i), &handles[i]);
    CHECK_OK(lsm_vlog_writer_finish(w, meta));
    lsm_vlog_writer_close(w);
}

static int read_one(const struct lsm_vlog_meta *meta, const struct lsm_vlog_handle *h, bool *same, int i)
{
    struct lsm_vlog *v;
    struct lsm_buf scratch, out;
    struct lsm_slice value;
    int rc = lsm_vlogs_get(vlogs, meta, &v);

    if (rc)
        return rc;
    lsm_buf_init(&scratch, disk.os);
    lsm_buf_init(&out, disk.os);
    rc = lsm_vlog_read(v, h, &scratch, &out, &value);
    CHECK(rc == LSM_OK || value.data == NULL);
    if (same)
        *same = rc == LSM_OK && lsm_slice_equal(value, value_of(i));
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
    lsm_vlog_unref(v);
    return rc;
}

TEST(vlog_values_of_all_sizes_come_back_compressed_or_not)
{
    struct lsm_vlog_handle h[VALUES];
    struct lsm_vlog_meta meta;
    int compressed = 0;
    bool same;

    setup();
    write_log(7, h, &meta);
    CHECK(meta.id == 7 && meta.number == 7 && meta.tree == 3 && meta.value_count == VALUES);
    for (int i = VALUES; i-- > 0;) {
        compressed += h[i].size < h[i].raw_size;
        CHECK_OK(read_one(&meta, &h[i], &same, i));
        CHECK(same);
    }
    CHECK(compressed >= 10);
    CHECK_INT(meta.size_bytes, meta.value_bytes + LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE);
    teardown();
}

static uint64_t size_at(int level, struct lsm_slice value)
{
    static uint64_t number = 100;
    struct lsm_vlog_options o = { LSM_CODEC_ZSTD, level };
    struct lsm_vlog_handle h;
    struct lsm_vlog_meta meta;
    struct lsm_vlog_writer *w;

    CHECK_OK(lsm_vlog_writer_open(disk.os, dir, uuid, number++, 3, &o, compressor, 0644, &w));
    lsm_vlog_writer_add(w, value, &h);
    CHECK_OK(lsm_vlog_writer_finish(w, &meta));
    lsm_vlog_writer_close(w);
    return h.size;
}

TEST(vlog_codes_literals_of_a_value_where_that_saves_bytes_and_nowhere_else)
{
    uint8_t bytes[8192];
    struct lsm_slice value = lsm_slice(bytes, sizeof bytes);

    setup();
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof bytes / 2; i++)   /* noise, then the same again */
            bytes[i] = bytes[i + sizeof bytes / 2] = (uint8_t)test_random();
        CHECK(size_at(1, value) <= size_at(-1, value));
        for (size_t i = 0; i < sizeof bytes; i++)       /* base64: three quarters of each byte */
            bytes[i] = (uint8_t)(32 + test_below(64));
        CHECK(size_at(1, value) < size_at(-1, value) * 8 / 10);
        for (size_t i = 0; i < sizeof bytes; i++)       /* numbers of eight bytes: the low one is noise */
            bytes[i] = i % 8 ? (uint8_t)test_below(3) : (uint8_t)test_random();
        CHECK(size_at(1, value) < size_at(-1, value));
    }
    teardown();
}

static int codec_of(const struct lsm_vlog_meta *meta, const struct lsm_vlog_handle *h)
{
    struct lsm_buf sealed;
    struct lsm_vlog *v;
    int codec = -1;

    lsm_buf_init(&sealed, disk.os);
    if (CHECK_OK(lsm_vlogs_get(vlogs, meta, &v)) && CHECK_OK(lsm_vlog_read_sealed(v, h, &sealed)))
        codec = sealed.data[sealed.size - LSM_SEAL_TRAILER_SIZE];
    lsm_vlog_unref(v);
    lsm_buf_clear(&sealed);
    return codec;
}

/* lz reads in a third of the time: where literals need no code, and it finds what zstd finds. */
TEST(vlog_values_of_even_bytes_get_lz_unless_zstd_finds_more)
{
    static uint8_t bytes[140000];
    const struct lsm_vlog_options o = { LSM_CODEC_ZSTD, 1 };
    struct lsm_slice near = lsm_slice(bytes, 8192), far = lsm_slice(bytes, 40000), got;
    struct lsm_vlog_handle h[3];
    struct lsm_vlog_writer *w;
    struct lsm_vlog_meta meta;
    struct lsm_buf scratch, out;
    struct lsm_vlog *v;
    char words[4096];

    setup();
    for (size_t i = 0; i < sizeof bytes; i++)           /* noise that comes again after 4 KiB */
        bytes[i] = i < 4096 ? (uint8_t)test_random() : bytes[i - 4096];
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = "the quick brown fox jumps over a lazy dog "[test_below(42)];
    CHECK_OK(lsm_vlog_writer_open(disk.os, dir, uuid, 7, 3, &o, compressor, 0644, &w));
    lsm_vlog_writer_add(w, near, &h[0]);
    lsm_vlog_writer_add(w, far, &h[1]);
    lsm_vlog_writer_add(w, lsm_slice((uint8_t *)words, sizeof words), &h[2]);
    CHECK_OK(lsm_vlog_writer_finish(w, &meta));
    lsm_vlog_writer_close(w);
    CHECK_INT(codec_of(&meta, &h[0]), LSM_CODEC_LZ);
    CHECK_INT(codec_of(&meta, &h[1]), LSM_CODEC_LZ);
    CHECK_INT(codec_of(&meta, &h[2]), LSM_CODEC_ZSTD);
    CHECK(h[0].size < 4300 && h[1].size < 4300);
    lsm_buf_init(&scratch, disk.os);
    lsm_buf_init(&out, disk.os);
    CHECK_OK(lsm_vlogs_get(vlogs, &meta, &v));
    CHECK(lsm_vlog_read(v, &h[0], &scratch, &out, &got) == LSM_OK && lsm_slice_equal(got, near));
    CHECK(lsm_vlog_read(v, &h[1], &scratch, &out, &got) == LSM_OK && lsm_slice_equal(got, far));
    lsm_vlog_unref(v);
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
    for (size_t i = 0; i < sizeof bytes; i++)           /* after 70,000, which is beyond lz's 64 KiB */
        bytes[i] = i < sizeof bytes / 2 ? (uint8_t)test_random() : bytes[i - sizeof bytes / 2];
    CHECK_OK(lsm_vlog_writer_open(disk.os, dir, uuid, 8, 3, &o, compressor, 0644, &w));
    lsm_vlog_writer_add(w, lsm_slice(bytes, sizeof bytes), &h[0]);
    CHECK_OK(lsm_vlog_writer_finish(w, &meta));
    lsm_vlog_writer_close(w);
    CHECK_INT(codec_of(&meta, &h[0]), LSM_CODEC_ZSTD);
    CHECK(h[0].size < sizeof bytes / 2 + 1000);
    teardown();
}

/* Handles that lie: every field, a little and a lot. */
TEST(vlog_refuses_every_handle_that_it_did_not_give)
{
    struct lsm_vlog_handle h[VALUES], lie;
    struct lsm_vlog_meta meta;

    setup();
    write_log(7, h, &meta);
    for (int i = 1; i < VALUES; i++) {
        static const int64_t by[] = { -64, -8, -1, 1, 8, 64, INT64_MAX, INT64_MIN };
        for (size_t k = 0; k < sizeof by / sizeof by[0]; k++) {
            lie = h[i];
            lie.id += (uint64_t)by[k];
            CHECK_INT(read_one(&meta, &lie, NULL, i), LSM_CORRUPT);
            lie = h[i];
            lie.off += (uint64_t)by[k];
            CHECK_INT(read_one(&meta, &lie, NULL, i), LSM_CORRUPT);
            lie = h[i];
            lie.size += (uint32_t)by[k];
            if (lie.size != h[i].size)
                CHECK_INT(read_one(&meta, &lie, NULL, i), LSM_CORRUPT);
            lie = h[i];
            lie.raw_size += (uint32_t)by[k];
            if (lie.raw_size != h[i].raw_size)
                CHECK_INT(read_one(&meta, &lie, NULL, i), LSM_CORRUPT);
        }
        lie = h[i];             /* another value of the same log */
        lie.off = h[i - 1].off;
        CHECK_INT(read_one(&meta, &lie, NULL, i), LSM_CORRUPT);
    }
    /* The same bytes under another id: a copied file. */
    struct lsm_vlog_meta foreign = meta;
    foreign.id = 6;
    CHECK_INT(read_one(&foreign, &h[2], NULL, 2), LSM_OK);     /* the open log is found by its number */
    lsm_vlogs_forget(vlogs, 7);
    lie = h[2];
    lie.id = 6;
    CHECK_INT(read_one(&foreign, &lie, NULL, 2), LSM_CORRUPT);
    teardown();
}

/* Copy the values whose bit is set. */
static void copy_log(const struct lsm_vlog_meta *meta, uint64_t number, const struct lsm_vlog_handle *h,
                     uint64_t keep, struct lsm_vlog_meta *to)
{
    struct lsm_vlog_writer *w;
    struct lsm_vlog *v;
    struct lsm_buf sealed;

    CHECK_OK(lsm_vlogs_get(vlogs, meta, &v));
    CHECK_OK(lsm_vlog_writer_open_copy(disk.os, dir, uuid, number, meta, 0644, &w));
    lsm_buf_init(&sealed, disk.os);
    for (int i = 0; i < VALUES; i++)
        if (keep >> i & 1) {
            CHECK_OK(lsm_vlog_read_sealed(v, &h[i], &sealed));
            lsm_vlog_writer_copy(w, h[i].off, lsm_buf_slice(&sealed), 1);
        }
    CHECK_OK(lsm_vlog_writer_finish(w, to));
    lsm_vlog_writer_close(w);
    lsm_buf_clear(&sealed);
    lsm_vlog_unref(v);
}

TEST(vlog_rewritten_serves_old_handles_of_kept_values_and_denies_the_dropped)
{
    struct lsm_vlog_handle h[VALUES];
    struct lsm_vlog_meta meta, second, third;
    bool same;

    setup();
    write_log(7, h, &meta);
    static const uint64_t keeps[] = { 0, 1, UINT64_C(1) << (VALUES - 1), 0x5555555555, 0xff00ff00f0,
                                      0x00ffffff0f, UINT64_MAX };
    for (size_t k = 0; k < sizeof keeps / sizeof keeps[0]; k++) {
        uint64_t keep = keeps[k] & ((UINT64_C(1) << VALUES) - 1), keep2 = keep & 0x3333333333;
        uint64_t numbers[2] = { 100 + 2 * k, 101 + 2 * k };

        copy_log(&meta, numbers[0], h, keep, &second);
        copy_log(&second, numbers[1], h, keep2, &third);       /* from the copy */
        CHECK(second.id == 7 && third.id == 7 && third.end == meta.end);
        for (int i = 0; i < VALUES; i++) {
            CHECK_INT(read_one(&second, &h[i], &same, i), keep >> i & 1 ? LSM_OK : LSM_CORRUPT);
            CHECK_INT(same, keep >> i & 1);
            CHECK_INT(read_one(&third, &h[i], &same, i), keep2 >> i & 1 ? LSM_OK : LSM_CORRUPT);
            CHECK_INT(same, keep2 >> i & 1);
        }
        CHECK(second.size_bytes <= second.value_bytes + LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE + 16 + 6 * VALUES);
    }
    teardown();
}

static void overwrite(uint64_t number, uint64_t off, const void *bytes, size_t size)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;

    lsm_filename(name, LSM_FILE_VLOG, number);
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_write(file, bytes, size, off), 0);
    disk.os->file_close(file);
}

static uint8_t byte_at(uint64_t number, uint64_t off)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    uint8_t byte = 0;
    size_t got;

    lsm_filename(name, LSM_FILE_VLOG, number);
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(disk.os->file_read(file, &byte, 1, off, &got), 0);
    disk.os->file_close(file);
    return byte;
}

TEST(vlog_any_byte_that_changed_is_corrupt_or_does_no_harm)
{
    struct lsm_vlog_handle h[VALUES];
    struct lsm_vlog_meta metas[2];
    bool same;

    setup();
    write_log(7, h, &metas[0]);
    copy_log(&metas[0], 8, h, 0x7777777777, &metas[1]);
    for (int m = 0; m < 2; m++) {
        for (uint64_t off = 0; off < metas[m].size_bytes; off += off < 70 || off + 400 > metas[m].size_bytes ? 1 : 211) {
            uint8_t was = byte_at(metas[m].number, off), now = was ^ 0x40;
            int denied = 0;

            lsm_vlogs_forget(vlogs, metas[m].number);
            overwrite(metas[m].number, off, &now, 1);
            for (int i = 1; i < VALUES - 1; i++) {
                int rc = read_one(&metas[m], &h[i], &same, i);
                CHECK(rc == LSM_OK ? same : rc == LSM_CORRUPT || rc == LSM_FORMAT);
                denied += rc != LSM_OK;
            }
            if (off < LSM_VLOG_HEADER_SIZE || off >= metas[m].size_bytes - LSM_VLOG_FOOTER_SIZE)
                CHECK_INT(denied, VALUES - 2);
            overwrite(metas[m].number, off, &was, 1);
        }
        lsm_vlogs_forget(vlogs, metas[m].number);
    }
    CHECK_OK(read_one(&metas[1], &h[2], &same, 2));
    CHECK(same);
    teardown();
}

TEST(vlog_missing_cut_or_longer_is_corrupt_and_named)
{
    struct lsm_vlog_handle h[VALUES];
    struct lsm_vlog_meta meta;
    struct lsm_file *file;

    setup();
    write_log(7, h, &meta);
    CHECK_INT(disk.os->file_open(dir, "000007.vlog", LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_truncate(file, meta.size_bytes - 1), 0);
    CHECK_INT(read_one(&meta, &h[3], NULL, 3), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000007.vlog") != NULL);
    CHECK_INT(disk.os->file_write(file, "\0\0", 2, meta.size_bytes - 1), 0);
    CHECK_INT(read_one(&meta, &h[3], NULL, 3), LSM_CORRUPT);
    disk.os->file_close(file);
    CHECK_INT(disk.os->file_remove(dir, "000007.vlog"), 0);
    CHECK_INT(read_one(&meta, &h[3], NULL, 3), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000007.vlog") && strstr(lsm_error_text(), "missing"));
    meta.size_bytes = 100;
    CHECK_INT(read_one(&meta, &h[3], NULL, 3), LSM_CORRUPT);
    teardown();
}

TEST(vlog_open_files_stay_within_their_bound)
{
    struct lsm_vlog_handle h[9][VALUES];
    struct lsm_vlog_meta metas[9];
    struct lsm_vlog *held[6];
    bool same;

    setup();
    for (int n = 0; n < 9; n++)
        write_log((uint64_t)n + 1, h[n], &metas[n]);
    for (int round = 0; round < 3; round++)
        for (int n = 0; n < 9; n++) {
            CHECK_OK(read_one(&metas[n], &h[n][5], &same, 5));
            CHECK(same && lsm_vlogs_open_count(vlogs) <= 4);
        }
    for (int n = 0; n < 6; n++)         /* in use: more than the bound, until they are given back */
        CHECK_OK(lsm_vlogs_get(vlogs, &metas[n], &held[n]));
    CHECK_INT(lsm_vlogs_open_count(vlogs), 6);
    lsm_vlogs_forget(vlogs, 3);
    for (int n = 0; n < 6; n++)
        lsm_vlog_unref(held[n]);
    CHECK_OK(read_one(&metas[8], &h[8][5], &same, 5));
    CHECK(lsm_vlogs_open_count(vlogs) <= 4);
    teardown();
}

TEST(vlog_writer_that_fails_says_so_and_leaves_no_file)
{
    for (int at = 1; at < 40; at++) {
        struct lsm_vlog_options o = { LSM_CODEC_ZSTD, 1 };
        struct lsm_vlog_handle h;
        struct lsm_vlog_meta meta;
        struct lsm_vlog_writer *w;
        int rc;

        setup();
        disk_fail(DISK_WRITE | DISK_SYNC | DISK_CREATE | DISK_MEMORY, at, false, NULL);
        rc = lsm_vlog_writer_open(disk.os, dir, uuid, 7, 3, &o, compressor, 0644, &w);
        if (rc == LSM_OK) {
            for (int i = 0; i < VALUES; i++)
                lsm_vlog_writer_add(w, value_of(i), &h);
            rc = lsm_vlog_writer_finish(w, &meta);
            lsm_vlog_writer_close(w);
        }
        int seen = disk.fail_seen;
        disk_heal();
        /* A compressor without memory stores as it is: then there is no failure to tell. */
        CHECK_INT(disk_count("d", ".vlog"), rc == LSM_OK);
        teardown();
        if (seen < at)
            break;
    }
}

/* ---- dictionaries ---- */

#define DOCUMENTS 400

/* Alike, but each of its own; about 900 bytes. */
static struct lsm_slice document_of(int i)
{
    static const char *const words[] = { "storage", "engine", "customer", "invoice", "pending", "shipped",
                                         "warehouse", "street", "country", "payment", "status" };
    static char text[2000];
    uint64_t x = (uint64_t)i * 0x9e3779b97f4a7c15u + 1;
    size_t n = (size_t)snprintf(text, sizeof text, "{\"id\":%d,\"items\":[", i);

    for (int k = 0; k < 8; k++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "{\"sku\":\"%08x\",\"description\":\"%s %s %s\",\"quantity\":%u,\"price\":%u.%02u},",
                              (unsigned)(x >> 32), words[x >> 20 & 7], words[x >> 24 & 7], words[x >> 28 & 7],
                              (unsigned)(x >> 40 & 15), (unsigned)(x >> 44 & 1023), (unsigned)(x >> 54 & 63));
    }
    return lsm_slice(text, n);
}

static void write_documents(uint64_t number, struct lsm_vlog_handle *h, struct lsm_vlog_meta *meta)
{
    struct lsm_vlog_options o = { LSM_CODEC_ZSTD, 1 };
    struct lsm_vlog_writer *w;

    CHECK_OK(lsm_vlog_writer_open(disk.os, dir, uuid, number, 3, &o, compressor, 0644, &w));
    for (int i = 0; i < DOCUMENTS; i++)
        lsm_vlog_writer_add(w, document_of(i), &h[i]);
    CHECK_OK(lsm_vlog_writer_finish(w, meta));
    lsm_vlog_writer_close(w);
}

static int count_documents(const struct lsm_vlog_meta *meta, const struct lsm_vlog_handle *h)
{
    struct lsm_buf scratch, out;
    struct lsm_slice value;
    struct lsm_vlog *v;
    int count = 0;

    lsm_vlogs_forget(vlogs, meta->number);
    if (lsm_vlogs_get(vlogs, meta, &v) != LSM_OK)
        return -1;
    lsm_buf_init(&scratch, disk.os);
    lsm_buf_init(&out, disk.os);
    for (int i = 0; i < DOCUMENTS; i++)
        if (lsm_vlog_read(v, &h[i], &scratch, &out, &value) == LSM_OK)
            count += lsm_slice_equal(value, document_of(i)) ? 1 : -1000;
    CHECK_OK(lsm_vlog_check(v));
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
    lsm_vlog_unref(v);
    return count;
}

static bool dict_of(const struct lsm_vlog_meta *meta, struct lsm_vlog_handle *dict)
{
    struct lsm_vlog *v;
    bool has = false;

    if (CHECK_OK(lsm_vlogs_get(vlogs, meta, &v))) {
        has = lsm_vlog_dict(v, dict);
        lsm_vlog_unref(v);
    }
    return has;
}

TEST(vlog_of_values_that_are_alike_gets_a_dictionary_and_those_of_noise_do_not)
{
    static struct lsm_vlog_handle h[DOCUMENTS];
    struct lsm_vlog_handle dict, few[VALUES];
    struct lsm_vlog_meta meta;
    uint64_t before = 0, after = 0;

    setup();
    write_documents(7, h, &meta);
    CHECK_INT(count_documents(&meta, h), DOCUMENTS);
    CHECK(dict_of(&meta, &dict));
    for (int i = 0; i < 100; i++)
        before += h[i].size;
    for (int i = DOCUMENTS - 100; i < DOCUMENTS; i++)
        after += h[i].size;
    printf("  %.2f of the size\n", (double)after / (double)before);
    CHECK(after * 6 < before * 5);
    CHECK_INT(meta.size_bytes, meta.value_bytes + dict.size + LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE);
    write_log(8, few, &meta);
    CHECK(!dict_of(&meta, &dict));
    teardown();
}

TEST(vlog_rewritten_keeps_its_dictionary)
{
    static struct lsm_vlog_handle h[DOCUMENTS];
    struct lsm_vlog_handle dict, again;
    struct lsm_vlog_meta meta, second;
    struct lsm_vlog_writer *w;
    struct lsm_vlog *v;
    struct lsm_buf sealed;

    setup();
    write_documents(7, h, &meta);
    CHECK(dict_of(&meta, &dict));
    CHECK_OK(lsm_vlogs_get(vlogs, &meta, &v));
    CHECK_OK(lsm_vlog_writer_open_copy(disk.os, dir, uuid, 20, &meta, 0644, &w));
    lsm_buf_init(&sealed, disk.os);
    for (int i = 0, is_kept = 0; i < DOCUMENTS; i += 3) {
        if (h[i].off > dict.off && !is_kept) {
            is_kept = 1;
            CHECK_OK(lsm_vlog_read_sealed(v, &dict, &sealed));
            lsm_vlog_writer_copy_dict(w, dict.off, lsm_buf_slice(&sealed));
        }
        CHECK_OK(lsm_vlog_read_sealed(v, &h[i], &sealed));
        lsm_vlog_writer_copy(w, h[i].off, lsm_buf_slice(&sealed), 1);
    }
    CHECK_OK(lsm_vlog_writer_finish(w, &second));
    lsm_vlog_writer_close(w);
    lsm_buf_clear(&sealed);
    lsm_vlog_unref(v);
    CHECK_INT(second.value_count, (DOCUMENTS + 2) / 3);
    CHECK_INT(count_documents(&second, h), (DOCUMENTS + 2) / 3);
    CHECK(dict_of(&second, &again) && again.off == dict.off && again.size == dict.size);
    teardown();
}

/* As logs had it before dictionaries had tables. */
TEST(vlog_with_a_dictionary_of_bytes_alone_is_read)
{
    struct lsm_vlog_meta meta = { .id = 7, .number = 7, .tree = 3 };
    struct lsm_vlog_handle h = { .id = 7 };
    struct lsm_slice content = document_of(1), value, got;
    struct lsm_buf dict, sealed, scratch, out;
    struct lsm_vlog_writer *w;
    struct lsm_dict *writer;
    struct lsm_vlog *v;

    setup();
    lsm_buf_init(&dict, disk.os);
    lsm_buf_init(&sealed, disk.os);
    lsm_buf_init(&scratch, disk.os);
    lsm_buf_init(&out, disk.os);
    lsm_seal(&dict, content, LSM_BLOCK_DICT, LSM_CODEC_NONE, 0, NULL, lsm_seal_seed(uuid, 7) + LSM_VLOG_HEADER_SIZE);
    h.off = LSM_VLOG_HEADER_SIZE + dict.size;
    CHECK_OK(lsm_dict_new_writer(disk.os, content, false, 1, &writer));
    lsm_compressor_set_dict(compressor, writer);
    value = document_of(2);
    lsm_seal(&sealed, value, LSM_BLOCK_VALUE, LSM_CODEC_ZSTD_DICT, 1, compressor, lsm_seal_seed(uuid, 7) + h.off);
    lsm_compressor_set_dict(compressor, NULL);
    h.size = (uint32_t)sealed.size;
    h.raw_size = (uint32_t)value.size;
    CHECK(h.size < h.raw_size / 2);
    meta.end = h.off + h.size;
    CHECK_OK(lsm_vlog_writer_open_copy(disk.os, dir, uuid, 20, &meta, 0644, &w));
    lsm_vlog_writer_copy_dict(w, LSM_VLOG_HEADER_SIZE, lsm_buf_slice(&dict));
    lsm_vlog_writer_copy(w, h.off, lsm_buf_slice(&sealed), 1);
    CHECK_OK(lsm_vlog_writer_finish(w, &meta));
    lsm_vlog_writer_close(w);
    if (CHECK_OK(lsm_vlogs_get(vlogs, &meta, &v))) {
        CHECK(lsm_vlog_read(v, &h, &scratch, &out, &got) == LSM_OK && lsm_slice_equal(got, document_of(2)));
        lsm_vlog_unref(v);
    }
    lsm_dict_free(writer);
    lsm_buf_clear(&dict);
    lsm_buf_clear(&sealed);
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
    teardown();
}

TEST(vlog_with_a_damaged_dictionary_is_corrupt_and_never_another_value)
{
    static struct lsm_vlog_handle h[DOCUMENTS];
    struct lsm_vlog_handle dict;
    struct lsm_vlog_meta meta;
    uint8_t footer[LSM_VLOG_FOOTER_SIZE], lie[LSM_VLOG_FOOTER_SIZE];
    struct lsm_file *file;
    size_t got;

    setup();
    write_documents(7, h, &meta);
    CHECK(dict_of(&meta, &dict));
    for (uint32_t at = 0; at < dict.size; at += 997) {
        uint8_t byte;
        char name[LSM_FILENAME_SIZE];

        lsm_filename(name, LSM_FILE_VLOG, 7);
        CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
        CHECK_INT(disk.os->file_read(file, &byte, 1, dict.off + at, &got), 0);
        disk.os->file_close(file);
        byte ^= 0x10;
        overwrite(7, dict.off + at, &byte, 1);
        CHECK_INT(count_documents(&meta, h), -1);
        CHECK(strstr(lsm_error_text(), "000007.vlog"));
        byte ^= 0x10;
        overwrite(7, dict.off + at, &byte, 1);
    }
    CHECK_INT(count_documents(&meta, h), DOCUMENTS);
    /* A footer whose sum is right and whose dictionary lies. */
    CHECK_INT(disk.os->file_open(dir, "000007.vlog", LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(disk.os->file_read(file, footer, sizeof footer, meta.size_bytes - sizeof footer, &got), 0);
    disk.os->file_close(file);
    for (int way = 0; way < 6; way++) {
        static const uint64_t offs[] = { 0, 63, UINT64_MAX, 64, 64, 0 };
        static const uint32_t sizes[] = { 100, 100, 100, UINT32_MAX, 8, 0 };

        memcpy(lie, footer, sizeof lie);
        lsm_put_u64(lie + 8, way == 5 ? h[0].off : offs[way]);
        lsm_put_u32(lie + 20, way == 5 ? h[0].size : sizes[way]);
        lsm_put_u64(lie + sizeof lie - 8, lsm_hash64(lie, sizeof lie - 8, 0));
        overwrite(7, meta.size_bytes - sizeof lie, lie, sizeof lie);
        CHECK_INT(count_documents(&meta, h), -1);
    }
    memcpy(lie, footer, sizeof lie);    /* none at all: its values are corrupt, the others are read */
    lsm_put_u64(lie + 8, 0);
    lsm_put_u32(lie + 20, 0);
    lsm_put_u64(lie + sizeof lie - 8, lsm_hash64(lie, sizeof lie - 8, 0));
    overwrite(7, meta.size_bytes - sizeof lie, lie, sizeof lie);
    CHECK(count_documents(&meta, h) > 50);
    CHECK(count_documents(&meta, h) < DOCUMENTS / 2);
    teardown();
}

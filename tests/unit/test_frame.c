#include "lsm/store/frame.h"
#include "lsm/util/coding.h"
#include "tests/unit/fault.h"

/*
 * A file of frames as the log makes it: header of 56 bytes, COUNT frames, a sync
 * after each of the first SYNCED ones.
 */
enum { HEADER = 56, COUNT = 6, SIZE_MAX_ = 4096 };

static const char magic[8] = "TESTMAG";
static const uint8_t uuid[16] = { 1, 2, 3 };

struct image {
    uint8_t bytes[SIZE_MAX_];
    size_t size;
    size_t end[COUNT + 1];          /* end[i]: where i frames end */
    uint64_t chain[COUNT + 1];
    uint32_t payload_size[COUNT];
};

static void make_image(struct image *im, int synced_count, uint64_t salt)
{
    static const uint32_t sizes[COUNT] = { 1, 8, 100, 23, 64, 7 };
    uint64_t synced = HEADER, base;
    uint8_t payload[128];

    memset(im, 0, sizeof(*im));
    lsm_frame_identity_put(im->bytes, magic, uuid, 5, salt);
    base = im->chain[0] = lsm_frame_header_seal(im->bytes, HEADER);
    im->end[0] = HEADER;
    for (int i = 0; i < COUNT; i++) {
        struct lsm_slice parts[2];

        memset(payload, 'a' + i, sizeof(payload));
        parts[0] = lsm_slice(payload, sizes[i] / 2);
        parts[1] = lsm_slice(payload, sizes[i] - sizes[i] / 2);
        im->payload_size[i] = sizes[i];
        im->chain[i + 1] = lsm_frame_encode(im->bytes + im->end[i], parts, 2, base, im->end[i],
                                            synced, im->chain[i]);
        im->end[i + 1] = im->end[i] + lsm_frame_size(sizes[i]);
        if (i < synced_count)
            synced = im->end[i + 1];
    }
    im->size = im->end[COUNT];
}

struct result {
    int rc;                         /* LSM_DONE: the end was reached */
    int count;
    uint64_t off, chain;
    bool torn;
};

static struct result read_bytes(const uint8_t *bytes, size_t size)
{
    struct result result = { 0 };
    struct lsm_frame_reader r;
    uint8_t header[HEADER];
    struct lsm_slice payload;
    struct lsm_file *file;

    fault_put_file("f", bytes, size);
    CHECK_INT(fault.os->file_open(fault.dir, "f", LSM_OPEN_READ, 0, &file), 0);
    result.rc = lsm_frame_reader_open(&r, fault.os, file, "f");
    if (result.rc == LSM_OK)
        result.rc = lsm_frame_read_header(&r, header, HEADER);
    while (result.rc == LSM_OK) {
        result.rc = lsm_frame_read(&r, &payload);
        if (result.rc != LSM_OK)
            break;
        for (size_t i = 0; i < payload.size; i++)
            if (payload.data[i] != 'a' + result.count) {
                CHECK(!"a payload that was never written");
                break;
            }
        result.count++;
    }
    result.off = r.off;
    result.chain = r.chain;
    result.torn = r.torn;
    lsm_frame_reader_close(&r);
    fault.os->file_close(file);
    return result;
}

TEST(frame_file_reads_back_as_written)
{
    static struct image im;
    struct result got;

    fault_begin();
    make_image(&im, COUNT, 77);
    got = read_bytes(im.bytes, im.size);
    CHECK_INT(got.rc, LSM_DONE);
    CHECK_INT(got.count, COUNT);
    CHECK_INT(got.off, im.size);
    CHECK(got.chain == im.chain[COUNT]);
    CHECK(!got.torn);
    fault_end();
}

/* T-01 */
TEST(frame_file_cut_at_every_byte_gives_the_frames_before_the_cut)
{
    static struct image im;

    fault_begin();
    make_image(&im, COUNT, 77);
    for (size_t cut = 0; cut <= im.size; cut++) {
        struct result got = read_bytes(im.bytes, cut);
        int whole = 0;

        while (whole < COUNT && im.end[whole + 1] <= cut)
            whole++;
        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.count, cut < HEADER ? 0 : whole);
        CHECK_INT(got.off, cut < HEADER ? 0 : im.end[whole]);
        CHECK_INT(got.torn, cut < HEADER || cut != im.end[whole]);
        if (cut >= HEADER)
            CHECK(got.chain == im.chain[whole]);
    }
    fault_end();
}

/* Of every bit: found, and never taken for anything else than what stands there. */
static void flip_every_bit(const struct image *im, int synced_count)
{
    static uint8_t bytes[SIZE_MAX_];

    for (size_t bit = 0; bit < 8 * im->size; bit++) {
        struct result got;
        size_t at = bit / 8;
        int hit = 0;

        memcpy(bytes, im->bytes, im->size);
        bytes[at] ^= (uint8_t)(1u << bit % 8);
        got = read_bytes(bytes, im->size);
        if (at < HEADER) {
            CHECK_INT(got.rc, LSM_CORRUPT);
            CHECK_INT(got.count, 0);
            continue;
        }
        while (im->end[hit + 1] <= at)
            hit++;
        CHECK_INT(got.count, hit);
        CHECK_INT(got.off, im->end[hit]);
        /* a later frame was written after a sync of the one that is hit now */
        if (!CHECK_INT(got.rc, hit < synced_count && hit < COUNT - 1 ? LSM_CORRUPT : LSM_DONE))
            printf("bit %zu\n", bit);
        if (got.rc == LSM_DONE)
            CHECK(got.torn);
    }
}

TEST(frame_flip_of_any_bit_is_found_and_is_corrupt_exactly_where_a_sync_came_before_a_later_frame)
{
    static struct image im;

    fault_begin();
    for (int synced = 0; synced <= COUNT; synced += 2) {
        make_image(&im, synced, 77);
        flip_every_bit(&im, synced);
    }
    fault_end();
}

TEST(frame_that_was_never_synced_may_be_missing_before_whole_ones)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image im;

    fault_begin();
    make_image(&im, 2, 77);
    for (int lost = 0; lost < COUNT - 1; lost++) {      /* as if its pages had not been written */
        struct result got;

        memcpy(bytes, im.bytes, im.size);
        memset(bytes + im.end[lost], 0, im.end[lost + 1] - im.end[lost]);
        got = read_bytes(bytes, im.size);
        CHECK_INT(got.rc, lost < 2 ? LSM_CORRUPT : LSM_DONE);
        CHECK_INT(got.count, lost);
        CHECK(got.rc == LSM_CORRUPT || got.torn);
    }
    fault_end();
}

/* T-04 */
TEST(frame_zero_tail_is_the_end_and_not_torn)
{
    static const size_t tails[] = { 1, 7, 8, 9, 23, 24, 25, 511, 4096, 300000, 1 << 20 };
    static struct image im;
    uint8_t *bytes = calloc(1, SIZE_MAX_ + (1 << 20));

    fault_begin();
    make_image(&im, COUNT, 77);
    memcpy(bytes, im.bytes, im.size);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct result got = read_bytes(bytes, im.size + tails[i]);

        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.count, COUNT);
        CHECK_INT(got.off, im.size);
        CHECK(!got.torn);
        bytes[im.size + tails[i] - 1] = 1;              /* one bit at the very end */
        got = read_bytes(bytes, im.size + tails[i]);
        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.count, COUNT);
        CHECK(got.torn);
        bytes[im.size + tails[i] - 1] = 0;
    }
    fault_end();
    free(bytes);
}

/* T-03 */
TEST(frame_leftovers_of_a_recycled_file_are_neither_frames_nor_proof_of_damage)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image old, new;

    fault_begin();
    make_image(&old, COUNT, 77);
    make_image(&new, COUNT, 78);
    for (int n = 0; n < COUNT; n++) {                   /* n new frames over the old file */
        struct result got;

        memcpy(bytes, old.bytes, old.size);
        memcpy(bytes, new.bytes, new.end[n]);
        got = read_bytes(bytes, old.size);
        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.count, n);
        CHECK(got.torn);
    }
    fault_end();
}

TEST(frame_in_another_place_is_no_frame)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image im;
    struct result got;

    fault_begin();
    make_image(&im, 0, 77);
    /* frame 2 twice: the second stands where frame 3 should */
    memcpy(bytes, im.bytes, im.size);
    memcpy(bytes + im.end[3], im.bytes + im.end[2], im.end[3] - im.end[2]);
    got = read_bytes(bytes, im.end[3] + im.end[3] - im.end[2]);
    CHECK_INT(got.rc, LSM_DONE);
    CHECK_INT(got.count, 3);
    CHECK(got.torn);
    fault_end();
}

TEST(frame_head_in_another_place_proves_no_damage)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image im;
    struct result got;
    size_t at;

    fault_begin();
    make_image(&im, COUNT, 77);
    for (int lost = 0; lost < COUNT - 1; lost++) {
        at = im.end[COUNT - 1];
        memcpy(bytes, im.bytes, im.size);
        memset(bytes + im.end[lost], 0, im.size - im.end[lost]);
        memcpy(bytes + at, im.bytes + at, LSM_FRAME_HEAD_SIZE);         /* in its place */
        got = read_bytes(bytes, im.size);
        CHECK_INT(got.rc, LSM_CORRUPT);
        CHECK_INT(got.count, lost);
        memset(bytes + at, 0, im.size - at);
        memcpy(bytes + at + 8, im.bytes + at, LSM_FRAME_HEAD_SIZE);     /* beside it */
        got = read_bytes(bytes, im.size + LSM_FRAME_HEAD_SIZE);
        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.count, lost);
        CHECK(got.torn);
        memset(bytes + at + 8, 0, LSM_FRAME_HEAD_SIZE);
    }
    fault_end();
}

/* T-08 */
TEST(frame_file_that_shrinks_while_it_is_read_is_corrupt_not_ended)
{
    static struct image im;
    struct lsm_frame_reader r;
    uint8_t header[HEADER];
    struct lsm_file *file;

    fault_begin();
    make_image(&im, 0, 77);
    fault_put_file("f", im.bytes, im.size);
    CHECK_INT(fault.os->file_open(fault.dir, "f", LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_OK(lsm_frame_reader_open(&r, fault.os, file, "f"));
    CHECK_INT(fault.os->file_truncate(file, im.end[3]), 0);
    CHECK_RC(lsm_frame_read_header(&r, header, HEADER), LSM_CORRUPT);
    lsm_frame_reader_close(&r);
    fault.os->file_close(file);
    fault_end();
}

TEST(frame_of_a_size_beyond_the_file_costs_no_memory)
{
    static struct image im;
    struct result got;
    uint64_t base;

    fault_begin();
    make_image(&im, 0, 77);
    base = im.chain[0];
    /* the head is right in every respect, the file is just short */
    {
        static uint8_t big[1 << 20];
        struct lsm_slice part = { big, sizeof(big) };
        uint8_t *frame = malloc(lsm_frame_size(sizeof(big)));

        lsm_frame_encode(frame, &part, 1, base, im.end[2], HEADER, im.chain[2]);
        memcpy(im.bytes + im.end[2], frame, LSM_FRAME_HEAD_SIZE);
        free(frame);
    }
    fault.memory_max = 0;
    got = read_bytes(im.bytes, im.size);
    CHECK_INT(got.rc, LSM_DONE);
    CHECK_INT(got.count, 2);
    CHECK(got.torn);
    CHECK(fault.memory_max <= 256 << 10);
    /* and a size that no head vouches for */
    lsm_put_u32(im.bytes + im.end[2] + 4, 0x3fffffff);
    got = read_bytes(im.bytes, im.size);
    CHECK_INT(got.count, 2);
    CHECK(fault.memory_max <= 256 << 10);
    fault_end();
}

TEST(frame_larger_than_the_window_reads_and_gives_its_memory_back)
{
    enum { BIG = 3 << 20 };
    uint8_t *payload = malloc(BIG), *bytes = malloc(BIG + 4096), header[HEADER];
    struct lsm_slice parts[1], got;
    struct lsm_frame_reader r;
    struct lsm_file *file;
    uint64_t base, chain;
    size_t at = HEADER;

    fault_begin();
    for (size_t i = 0; i < BIG; i++)
        payload[i] = (uint8_t)(i * 31 >> 3);
    lsm_frame_identity_put(bytes, magic, uuid, 5, 9);
    base = chain = lsm_frame_header_seal(bytes, HEADER);
    for (int i = 0; i < 3; i++) {
        parts[0] = lsm_slice(payload, i == 1 ? BIG : 100);
        chain = lsm_frame_encode(bytes + at, parts, 1, base, at, HEADER, chain);
        at += lsm_frame_size(parts[0].size);
    }
    fault_put_file("f", bytes, at);
    CHECK_INT(fault.os->file_open(fault.dir, "f", LSM_OPEN_READ, 0, &file), 0);
    CHECK_OK(lsm_frame_reader_open(&r, fault.os, file, "f"));
    CHECK_OK(lsm_frame_read_header(&r, header, HEADER));
    CHECK_OK(lsm_frame_read(&r, &got));
    CHECK_INT(got.size, 100);
    CHECK_OK(lsm_frame_read(&r, &got));
    if (CHECK_INT(got.size, BIG))
        CHECK_MEM(got.data, payload, BIG);
    CHECK(fault.memory_max <= BIG + 64);
    CHECK_OK(lsm_frame_read(&r, &got));
    CHECK_INT(got.size, 100);
    CHECK_INT(r.window_cap, 256 << 10);
    CHECK_RC(lsm_frame_read(&r, &got), LSM_DONE);
    CHECK_RC(lsm_frame_read(&r, &got), LSM_DONE);
    lsm_frame_reader_close(&r);
    fault.os->file_close(file);
    fault_end();
    free(payload);
    free(bytes);
}

TEST(frame_read_error_is_never_the_end)
{
    static struct image im;
    struct result got;

    fault_begin();
    make_image(&im, 3, 77);
    memset(im.bytes + im.end[4], 0x5a, 40);             /* so that the tail is looked through */
    for (int at = 1; at < 100; at++) {
        fault_arm(FAULT_READ | FAULT_INFO, at);
        got = read_bytes(im.bytes, im.size);
        if (fault.seen < at)
            break;
        CHECK_INT(got.rc, LSM_IOERR);
    }
    CHECK_INT(got.rc, LSM_DONE);
    for (int at = 1; at < 100; at++) {
        fault_arm(FAULT_MEMORY, at);
        got = read_bytes(im.bytes, im.size);
        if (fault.seen < at)
            break;
        CHECK_INT(got.rc, LSM_NOMEM);
    }
    fault_disarm();
    fault_end();
}

TEST(frame_header_that_was_never_finished_is_empty_but_damaged_before_data_is_corrupt)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image im;
    struct result got;

    fault_begin();
    make_image(&im, 0, 77);
    for (int written = 0; written < HEADER; written++) {    /* torn, the size extended */
        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes, im.bytes, (size_t)written);
        got = read_bytes(bytes, HEADER + 200);
        CHECK_INT(got.rc, LSM_DONE);
        CHECK_INT(got.off, 0);
        CHECK(got.torn);
    }
    memcpy(bytes, im.bytes, im.size);
    memset(bytes, 0, HEADER);
    CHECK_INT(read_bytes(bytes, im.size).rc, LSM_CORRUPT);
    fault_end();
}

TEST(frame_header_says_newer_only_when_it_is_whole)
{
    uint8_t header[HEADER];

    for (int field = 8; field <= 12; field += 2) {
        lsm_frame_identity_put(header, magic, uuid, 5, 1);
        lsm_put_u16(header + field, 1);
        lsm_frame_header_seal(header, HEADER);
        CHECK(lsm_frame_header_is_whole(header, HEADER));
        CHECK_RC(lsm_frame_header_check(header, magic, 5, 0, false, "f"),
                 field == 12 ? LSM_FORMAT : LSM_OK);
        CHECK_RC(lsm_frame_header_check(header, magic, 5, 0, true, "f"),
                 field == 8 ? LSM_OK : LSM_FORMAT);
    }
    for (uint16_t bits = 0; bits < 8; bits++) {         /* of which the reader knows 1 and 4 */
        lsm_frame_identity_put(header, magic, uuid, 5, 1);
        lsm_put_u16(header + 12, bits);
        lsm_frame_header_seal(header, HEADER);
        CHECK_RC(lsm_frame_header_check(header, magic, 5, 5, true, "f"), bits & 2 ? LSM_FORMAT : LSM_OK);
    }
    lsm_frame_identity_put(header, magic, uuid, 5, 1);
    lsm_frame_header_seal(header, HEADER);
    CHECK_RC(lsm_frame_header_check(header, magic, 6, 0, false, "f"), LSM_CORRUPT);
    CHECK_RC(lsm_frame_header_check(header, "OTHERMA", 5, 0, false, "f"), LSM_CORRUPT);
}

/* T-02 */
TEST(frame_random_damage_never_invents_a_frame)
{
    static uint8_t bytes[SIZE_MAX_];
    static struct image im;

    fault_begin();
    for (int round = 0; round < (test_long() ? 100000 : 3000); round++) {
        struct result got;
        size_t size;

        make_image(&im, (int)test_below(COUNT + 1), 77);
        memcpy(bytes, im.bytes, im.size);
        for (uint64_t n = 1 + test_below(4); n; n--) {
            size_t from = test_below(im.size), len = 1 + test_below(im.size - from);

            if (test_below(2))
                len = 1 + len % 16;
            len = len < im.size - from ? len : im.size - from;
            for (size_t i = 0; i < len; i++)
                bytes[from + i] = test_below(3) ? (uint8_t)test_random() : 0;
        }
        size = test_below(4) ? im.size : test_below(im.size + 1);
        got = read_bytes(bytes, size);          /* checks each payload */
        CHECK(got.rc == LSM_DONE || got.rc == LSM_CORRUPT);
        CHECK(got.count <= COUNT);
    }
    fault_end();
}

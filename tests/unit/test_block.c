/* test_block.c -- blocks hold what was added and find it like a sorted array would; their bytes. */
#include "lsm/format/block.h"
#include "tests/unit/format_os.h"
#include "tests/unit/orders.h"

struct row {
    uint8_t *key;
    size_t key_size;
    uint64_t tag;
    uint8_t *value;
    size_t value_size;
};

struct rows {
    struct row row[3000];
    uint32_t count;
};

static struct lsm_slice key_of(const struct row *r) { return lsm_slice(r->key, r->key_size); }

static const struct lsm_comparator *sort_cmp;
static int row_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return lsm_ikey_compare(sort_cmp, key_of(x), x->tag, key_of(y), y->tag);
}

static void rows_add(struct rows *rows, const void *key, size_t key_size, uint64_t tag, size_t value_size)
{
    struct row *r = &rows->row[rows->count++];

    *r = (struct row){ malloc(key_size + 1), key_size, tag, malloc(value_size + 1), value_size };
    memcpy(r->key, key, key_size);
    for (size_t i = 0; i < value_size; i++)
        r->value[i] = (uint8_t)(i * 7 + rows->count);
}

static void rows_sort(struct rows *rows, const struct lsm_comparator *cmp)
{
    uint32_t n = 0;

    sort_cmp = cmp;
    qsort(rows->row, rows->count, sizeof(rows->row[0]), row_compare);
    for (uint32_t i = 0; i < rows->count; i++) {            /* no (key, tag) twice */
        if (n && row_compare(&rows->row[n - 1], &rows->row[i]) == 0) {
            free(rows->row[i].key);
            free(rows->row[i].value);
        } else {
            rows->row[n++] = rows->row[i];
        }
    }
    rows->count = n;
}

static void rows_clear(struct rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        free(rows->row[i].key);
        free(rows->row[i].value);
    }
    rows->count = 0;
}

static void build(struct lsm_buf *out, struct lsm_os *os, const struct rows *rows)
{
    struct lsm_block_builder b;

    lsm_block_builder_init(&b, os);
    for (uint32_t i = 0; i < rows->count; i++)
        lsm_block_builder_add(&b, key_of(&rows->row[i]), rows->row[i].tag,
                              lsm_slice(rows->row[i].value, rows->row[i].value_size));
    CHECK_OK(lsm_block_builder_finish(&b, out));
    lsm_block_builder_clear(&b);
}

static int open_block(struct format_os *f, struct lsm_slice payload, const struct lsm_comparator *cmp,
                      struct lsm_block **block)
{
    return lsm_block_new(&f->os, payload, cmp, "000014.ldb", 56, block);
}

/* Every row is there, and every seek finds what a scan from the front finds. */
static bool matches(const struct lsm_block *block, const struct rows *rows,
                    const struct lsm_comparator *cmp)
{
    bool ok = CHECK_INT(block->count, rows->count);

    for (uint32_t i = 0; i < rows->count && ok; i++) {
        struct lsm_slice suffix, value;
        const struct row *r = &rows->row[i];
        uint64_t tag;

        lsm_block_row(block, i, &suffix, &tag, &value);
        ok = CHECK_INT(block->prefix_size + suffix.size, r->key_size) && CHECK(tag == r->tag) &&
             CHECK_INT(value.size, r->value_size) &&
             CHECK_MEM(block->prefix, r->key, block->prefix_size) &&
             CHECK_MEM(suffix.data, r->key + block->prefix_size, suffix.size) &&
             CHECK_MEM(value.data, r->value, value.size) &&
             CHECK_INT(lsm_block_seek(block, cmp, key_of(r), r->tag), i);
    }
    return ok;
}

static bool seeks_right(const struct lsm_block *block, const struct rows *rows,
                        const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t tag)
{
    uint32_t i = 0;

    while (i < rows->count &&
           lsm_ikey_compare(cmp, key, tag, key_of(&rows->row[i]), rows->row[i].tag) > 0)
        i++;
    return CHECK_INT(lsm_block_seek(block, cmp, key, tag), i);
}

static void round_trip(const struct rows *rows, const struct lsm_comparator *cmp)
{
    struct lsm_block *block;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    build(&out, &f.os, rows);
    if (CHECK_OK(open_block(&f, lsm_buf_slice(&out), cmp, &block))) {
        matches(block, rows, cmp);
        lsm_buf_clear(&out);
        CHECK_INT(f.used, lsm_block_memory(block));
        lsm_block_free(block);
    }
    lsm_buf_clear(&out);
    CHECK_INT(f.used, 0);
}

/* Keys of few bytes from a small alphabet, zeros and 0xff in it: prefixes of each other abound. */
static size_t random_key(uint8_t *key, size_t shared, size_t size_max)
{
    static const uint8_t alphabet[] = { 0, 0, 1, 'a', 0x7f, 0x80, 0xff, 0xff };
    size_t size = shared + test_below(size_max + 1);

    memset(key, 'p', shared);
    for (size_t i = shared; i < size; i++)
        key[i] = alphabet[test_below(sizeof(alphabet))];
    return size;
}

TEST(block_finds_rows_like_a_sorted_array_in_any_order)
{
    static struct rows rows;
    static const struct lsm_comparator *const orders[] = { NULL, &reverse, &by_size };
    int seen[4] = { 0 };
    uint8_t key[100];

    for (int round = 0; round < 480; round++) {
        const struct lsm_comparator *cmp = orders[round % 3];
        size_t shared = test_below(3) ? test_below(20) : 0, size_max = 1 + test_below(20);
        uint32_t want = (uint32_t)(1 + test_below(test_below(4) ? 60 : 400)), flags;
        bool one_tag = test_below(2), one_size = test_below(2);
        size_t value_size = test_below(200);
        struct lsm_block *block;
        struct format_os f;
        struct lsm_buf out;

        for (uint32_t i = 0; i < want; i++) {
            size_t n = random_key(key, shared, size_max);
            uint64_t seq = test_below(2) ? test_below(4) : test_random() & LSM_SEQ_MAX;

            rows_add(&rows, key, one_size ? shared + size_max : n,
                     one_tag ? lsm_tag(0, LSM_KIND_PUT) : lsm_tag(seq, (enum lsm_kind)test_below(4)),
                     one_size ? value_size : test_below(200));
        }
        rows_sort(&rows, cmp);
        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        build(&out, &f.os, &rows);
        flags = lsm_get_u16(out.data + 6);
        CHECK(!one_tag || flags & LSM_BLOCK_ONE_TAG);
        CHECK(!one_size || rows.count == 1 || flags & LSM_BLOCK_FIXED);
        seen[flags & 3]++;
        if (CHECK_OK(open_block(&f, lsm_buf_slice(&out), cmp, &block))) {
            bool ok = matches(block, &rows, cmp);

            for (int i = 0; i < 300 && ok; i++) {
                size_t n = random_key(key, shared, size_max + 2);
                uint8_t *exact = malloc(n + 1);

                if (n && test_below(4) == 0)
                    key[test_below(n)] ^= (uint8_t)test_random();
                if (n && test_below(8) == 0)
                    n = test_below(n);
                memcpy(exact, key, n);                  /* an exact end, for ASan */
                ok = seeks_right(block, &rows, cmp, lsm_slice(exact, n),
                                 test_below(3) ? lsm_tag(test_below(5), LSM_KIND_PUT)
                                               : test_below(2) ? LSM_TAG_MAX : 0);
                free(exact);
            }
            lsm_block_free(block);
        }
        lsm_buf_clear(&out);
        CHECK_INT(f.used, 0);
        rows_clear(&rows);
    }
    for (int i = 0; i < 4; i++)
        CHECK(seen[i] > 20);
}

static int sign(int c)
{
    return c < 0 ? -1 : c > 0;
}

/* Few rows of keys of two letters: common prefixes of all sizes, with and without anything behind them. */
TEST(block_rows_of_two_blocks_compare_as_whole_keys_do)
{
    for (int round = 0; round < 3000; round++) {
        const struct lsm_comparator *cmp = round % 5 ? NULL : &reverse;
        static struct rows rows[2];
        struct lsm_block *block[2];
        struct format_os f;

        format_os_init(&f);
        for (int k = 0; k < 2; k++) {
            struct lsm_buf out;

            for (uint32_t n = (uint32_t)(1 + test_below(3)); n > 0; n--) {
                char key[12];
                size_t size = test_below(sizeof key);

                for (size_t i = 0; i < size; i++)
                    key[i] = test_below(5) ? 'a' : 'b';
                rows_add(&rows[k], key, size, lsm_tag(test_below(3), LSM_KIND_PUT), 3);
            }
            rows_sort(&rows[k], cmp);
            lsm_buf_init(&out, &f.os);
            build(&out, &f.os, &rows[k]);
            CHECK_OK(open_block(&f, lsm_buf_slice(&out), cmp, &block[k]));
            lsm_buf_clear(&out);
        }
        for (uint32_t i = 0; i < rows[0].count; i++)
            for (uint32_t j = 0; j < rows[1].count; j++) {
                const struct row *a = &rows[0].row[i], *b = &rows[1].row[j];

                CHECK_INT(sign(lsm_block_compare(cmp, block[0], i, block[1], j)),
                          sign(lsm_ikey_compare(cmp, key_of(a), a->tag, key_of(b), b->tag)));
                CHECK_INT(sign(lsm_block_compare(cmp, block[1], j, block[0], i)),
                          sign(lsm_ikey_compare(cmp, key_of(b), b->tag, key_of(a), a->tag)));
            }
        for (int k = 0; k < 2; k++) {
            lsm_block_free(block[k]);
            rows_clear(&rows[k]);
        }
        CHECK_INT(f.used, 0);
    }
}

TEST(block_takes_the_empty_key_and_the_largest)
{
    static struct rows rows;
    static uint8_t big[LSM_KEY_SIZE_MAX];

    memset(big, 'k', sizeof(big));
    rows_add(&rows, "", 0, lsm_tag(9, LSM_KIND_PUT), 0);
    round_trip(&rows, NULL);                                /* one row: the empty key */
    rows_add(&rows, "", 0, lsm_tag(8, LSM_KIND_DELETE), 0);
    round_trip(&rows, NULL);                                /* its older version */
    rows_add(&rows, big, sizeof(big), lsm_tag(7, LSM_KIND_PUT), 3);
    round_trip(&rows, NULL);
    rows_clear(&rows);

    rows_add(&rows, big, sizeof(big), lsm_tag(7, LSM_KIND_PUT), 3);
    round_trip(&rows, NULL);                                /* the prefix is the whole key */
    rows_add(&rows, big, sizeof(big), lsm_tag(6, LSM_KIND_PUT), 3);
    round_trip(&rows, NULL);
    round_trip(&rows, &reverse);
    rows_clear(&rows);

    rows_add(&rows, big, sizeof(big) - 1, lsm_tag(7, LSM_KIND_PUT), 3);
    rows_add(&rows, big, sizeof(big), lsm_tag(7, LSM_KIND_PUT), 3);
    round_trip(&rows, NULL);
    rows_clear(&rows);
}

TEST(block_without_rows_is_eight_bytes)
{
    struct lsm_block *block;
    struct rows *rows = calloc(1, sizeof(*rows));
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    build(&out, &f.os, rows);
    CHECK_INT(out.size, 8);
    if (CHECK_OK(open_block(&f, lsm_buf_slice(&out), NULL, &block)))
        CHECK_INT(lsm_block_seek(block, NULL, lsm_slice_str("x"), LSM_TAG_MAX), 0);
    lsm_block_free(block);
    lsm_block_free(NULL);
    lsm_buf_clear(&out);
    free(rows);
}

/* The payload of `rows` in bytes, and its flags. */
static size_t size_of(const struct rows *rows, uint32_t *flags)
{
    struct format_os f;
    struct lsm_buf out;
    size_t size;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    build(&out, &f.os, rows);
    size = out.size;
    *flags = lsm_get_u16(out.data + 6);
    lsm_buf_clear(&out);
    return size;
}

TEST(block_of_one_tag_has_it_once)
{
    static struct rows rows;
    uint32_t flags;

    for (int i = 0; i < 100; i++)                           /* sizes differ: not FIXED */
        rows_add(&rows, &(uint8_t){ (uint8_t)i }, 1, lsm_tag(7, LSM_KIND_PUT), (size_t)i);
    CHECK_INT(size_of(&rows, &flags), 8 + 8 + 100 * 3 + 99 * 100 / 2);
    CHECK_INT(flags, LSM_BLOCK_ONE_TAG);
    round_trip(&rows, NULL);
    round_trip(&rows, &by_size);
    for (int i = 0; i < 100; i++) {                         /* whichever row is the other one */
        rows.row[i].tag = lsm_tag(7, LSM_KIND_DELETE);
        CHECK_INT(size_of(&rows, &flags), 8 + 100 * 8 + 100 * 3 + 99 * 100 / 2);
        CHECK_INT(flags, 0);
        rows.row[i].tag = lsm_tag(7, LSM_KIND_PUT);
    }
    rows_clear(&rows);
}

TEST(block_of_rows_of_one_size_has_the_sizes_once)
{
    static struct rows rows;
    uint32_t flags;

    for (int i = 0; i < 100; i++)
        rows_add(&rows, &(uint8_t){ (uint8_t)i }, 1, lsm_tag((uint64_t)i, LSM_KIND_PUT), 130);
    CHECK_INT(size_of(&rows, &flags), 8 + 3 + 100 * (1 + 8 + 130));
    CHECK_INT(flags, LSM_BLOCK_FIXED);
    round_trip(&rows, NULL);
    round_trip(&rows, &by_size);
    for (int i = 0; i < 100; i++) {
        rows.row[i].value_size--;
        CHECK_INT(size_of(&rows, &flags), 8 + 100 * (3 + 1 + 8 + 130) - 1);
        CHECK_INT(flags, 0);
        rows.row[i].value_size++;
    }
    for (int i = 0; i < 100; i++)
        rows.row[i].tag = 0;
    CHECK_INT(size_of(&rows, &flags), 8 + 8 + 3 + 100 * (1 + 130));
    CHECK_INT(flags, LSM_BLOCK_ONE_TAG | LSM_BLOCK_FIXED);
    round_trip(&rows, NULL);
    round_trip(&rows, &by_size);
    rows_clear(&rows);

    rows_add(&rows, "a", 1, lsm_tag(1, LSM_KIND_PUT), 0);   /* two keys, the other a longer one */
    rows_add(&rows, "ab", 2, lsm_tag(2, LSM_KIND_PUT), 0);
    CHECK_INT(size_of(&rows, &flags), 8 + 1 + 2 * (2 + 8) + 1);
    CHECK_INT(flags, 0);
    rows_clear(&rows);
}

/* Suffixes without a byte, and nothing else in a row. */
TEST(block_of_versions_of_one_key_has_only_tags)
{
    static struct rows rows;
    uint32_t flags;

    for (uint64_t i = 0; i < 50; i++)
        rows_add(&rows, "key", 3, lsm_tag(100 - i, LSM_KIND_DELETE), 0);
    CHECK_INT(size_of(&rows, &flags), 8 + 3 + 2 + 50 * 8);
    CHECK_INT(flags, LSM_BLOCK_FIXED);
    round_trip(&rows, NULL);
    round_trip(&rows, &reverse);
    rows_clear(&rows);
}

/* Both sizes on each side of where their varints grow, last in the block and before others. */
TEST(block_sizes_of_any_length_are_read)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 126, 127, 128, 129, 255, 256, 16383, 16384, 16385 };
    static uint8_t key[20000];
    static struct rows rows;
    const size_t n = sizeof(sizes) / sizeof(sizes[0]);

    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < n; b++) {
            for (int one_tag = 0; one_tag < 2; one_tag++) {
                for (int i = 0; i < 3; i++) {
                    key[0] = (uint8_t)i;
                    rows_add(&rows, key, 1 + (i == 1 ? 3 : sizes[a]), one_tag ? 1 : 0x100u * (4 - i),
                             i == 1 ? 5 : sizes[b]);
                }
                round_trip(&rows, NULL);
                rows_clear(&rows);
            }
        }
    }
}

TEST(block_may_pass_64_kib)
{
    static struct rows rows;

    for (int i = 0; i < 200; i++)
        rows_add(&rows, &(uint8_t){ (uint8_t)i }, 1, lsm_tag(1, LSM_KIND_PUT), 5000 - i % 2);
    round_trip(&rows, NULL);
    round_trip(&rows, &by_size);
    rows_clear(&rows);
    rows_add(&rows, "huge", 4, lsm_tag(1, LSM_KIND_PUT), 40u << 20);
    round_trip(&rows, NULL);
    rows_clear(&rows);
}

TEST(block_builder_estimates_its_size_and_can_be_used_again)
{
    struct lsm_block_builder b;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_block_builder_init(&b, &f.os);
    for (int round = 0; round < 20; round++) {
        size_t rows = 1 + test_below(500), size;

        for (size_t i = 0; i < rows; i++) {
            char key[40], value[300] = "";
            int n = snprintf(key, sizeof(key), "table:%010zu", i * 3);

            lsm_block_builder_add(&b, lsm_slice(key, (size_t)n),
                                  lsm_tag(round & 1 ? i : 0, LSM_KIND_PUT),
                                  lsm_slice(value, round & 2 ? test_below(sizeof(value)) : 100));
        }
        CHECK_INT(b.count, rows);
        size = lsm_block_builder_size(&b);
        lsm_buf_reset(&out);
        CHECK_OK(lsm_block_builder_finish(&b, &out));
        CHECK(size + 3 * rows >= out.size && size <= out.size + 3 * rows);
        lsm_block_builder_reset(&b);
        CHECK_INT(lsm_block_builder_size(&b), 8);
    }
    lsm_block_builder_clear(&b);
    lsm_buf_clear(&out);
    CHECK_INT(f.used, 0);
}

TEST(block_survives_no_memory_at_every_request)
{
    static struct rows rows;
    bool done = false;

    for (int i = 0; i < 300; i++)
        rows_add(&rows, &(uint8_t[2]){ (uint8_t)(i >> 8), (uint8_t)i }, 2, lsm_tag(1, LSM_KIND_PUT), 50);
    for (long n = 1; n < 100 && !done; n++) {
        struct lsm_block_builder b;
        struct lsm_block *block = NULL;
        struct format_os f;
        struct lsm_buf out;
        int rc;

        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        lsm_block_builder_init(&b, &f.os);
        f.fail_at = n;
        for (uint32_t i = 0; i < rows.count; i++)
            lsm_block_builder_add(&b, key_of(&rows.row[i]), rows.row[i].tag,
                                  lsm_slice(rows.row[i].value, rows.row[i].value_size));
        rc = lsm_block_builder_finish(&b, &out);
        if (rc == LSM_OK)
            rc = open_block(&f, lsm_buf_slice(&out), n & 1 ? &by_size : NULL, &block);
        done = rc == LSM_OK;
        if (!done)
            CHECK_RC(rc, LSM_NOMEM);
        lsm_block_free(block);
        lsm_block_builder_clear(&b);
        lsm_buf_clear(&out);
        CHECK_INT(f.used, 0);
    }
    CHECK(done);
    rows_clear(&rows);
}

TEST(block_builder_refuses_four_gigabytes)
{
    struct lsm_block_builder b;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_block_builder_init(&b, &f.os);
    lsm_block_builder_add(&b, lsm_slice_str("a"), lsm_tag(1, LSM_KIND_PUT), lsm_slice_str("v"));
    lsm_block_builder_add(&b, lsm_slice_str("b"), lsm_tag(1, LSM_KIND_PUT), lsm_slice("", UINT32_MAX));
    CHECK_INT(b.count, 1);
    CHECK_RC(lsm_block_builder_finish(&b, &out), LSM_TOOBIG);
    CHECK_INT(out.size, 0);
    lsm_block_builder_clear(&b);
    CHECK_INT(f.used, 0);
}

/* The bytes of version 1, for ever. */
TEST(block_bytes_are_those_of_the_header)
{
#define TAG1 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xfe
#define TAG2 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd, 0xff
    static const uint8_t plain[] = {
        2, 0, 0, 0,  3, 0,  0, 0,  'k', 'e', 'y',
        1, 2, 'a', TAG1, 'v', '1',  1, 0, 'b', TAG2,
    }, one_tag[] = {
        2, 0, 0, 0,  3, 0,  1, 0,  'k', 'e', 'y',  TAG1,
        1, 2, 'a', 'v', '1',  1, 0, 'b',
    }, fixed[] = {
        2, 0, 0, 0,  3, 0,  2, 0,  'k', 'e', 'y',  1, 2,
        'a', TAG1, 'v', '1',  'b', TAG2, 'v', '2',
    }, both[] = {
        2, 0, 0, 0,  3, 0,  3, 0,  'k', 'e', 'y',  TAG1,  1, 2,
        'a', 'v', '1',  'b', 'v', '2',
    }, single[] = {
        1, 0, 0, 0,  4, 0,  1, 0,  'k', 'e', 'y', 'a',  TAG1,  0, 2, 'v', '1',
    };
    static const struct lsm_slice expected[] = {
        { plain, sizeof(plain) }, { one_tag, sizeof(one_tag) }, { fixed, sizeof(fixed) },
        { both, sizeof(both) }, { single, sizeof(single) },
    };
    static struct rows rows;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    for (int i = 0; i < 5; i++) {
        rows_add(&rows, "keya", 4, lsm_tag(1, LSM_KIND_PUT), 2);
        memcpy(rows.row[0].value, "v1", 2);
        if (i < 4) {
            rows_add(&rows, "keyb", 4, i & 1 ? lsm_tag(1, LSM_KIND_PUT) : lsm_tag(2, LSM_KIND_DELETE),
                     i & 2 ? 2 : 0);
            memcpy(rows.row[1].value, "v2", rows.row[1].value_size);
        }
        lsm_buf_reset(&out);
        build(&out, &f.os, &rows);
        if (CHECK_INT(out.size, expected[i].size))
            CHECK_MEM(out.data, expected[i].data, out.size);
        round_trip(&rows, NULL);
        rows_clear(&rows);
    }
    lsm_buf_clear(&out);
}

/* test_block.c -- blocks hold what was added, find it like a sorted array would, and refuse the rest. */
#include "lsm/format/block.h"
#include "tests/unit/format_os.h"

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

static int reverse_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(b, a);
}
static const struct lsm_comparator reverse = { .name = "reverse", .compare = reverse_compare };

/* Shorter keys first: an order in which the first and the last key say nothing of those between. */
static int size_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return lsm_slice_compare(a, b);
}
static const struct lsm_comparator by_size = { .name = "by size", .compare = size_compare };

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

/* A payload made by hand, in its order: start, then what the flags want once, then rows. */
struct hand {
    uint8_t bytes[4096];
    size_t size;
    uint16_t flags;
};

static void hand_bytes(struct hand *h, const void *bytes, size_t size)
{
    memcpy(h->bytes + h->size, bytes, size);
    h->size += size;
}

static void hand_start(struct hand *h, uint32_t count, const char *prefix, uint16_t flags)
{
    memset(h, 0, sizeof(*h));
    lsm_put_u32(h->bytes, count);
    lsm_put_u16(h->bytes + 4, (uint16_t)strlen(prefix));
    lsm_put_u16(h->bytes + 6, flags);
    h->size = 8;
    h->flags = flags;
    hand_bytes(h, prefix, strlen(prefix));
}

static void hand_tag(struct hand *h, uint64_t tag)
{
    lsm_put_be64(h->bytes + h->size, ~tag);
    h->size += 8;
}

static void hand_sizes(struct hand *h, size_t suffix_size, size_t value_size)
{
    h->bytes[h->size++] = (uint8_t)suffix_size;
    h->bytes[h->size++] = (uint8_t)value_size;
}

static void hand_row(struct hand *h, const char *suffix, uint64_t tag, const char *value)
{
    if (!(h->flags & LSM_BLOCK_FIXED))
        hand_sizes(h, strlen(suffix), strlen(value));
    hand_bytes(h, suffix, strlen(suffix));
    if (!(h->flags & LSM_BLOCK_ONE_TAG))
        hand_tag(h, tag);
    hand_bytes(h, value, strlen(value));
}

static int hand_open(const struct hand *h, const struct lsm_comparator *cmp)
{
    uint8_t *exact = malloc(h->size + 1);
    struct lsm_block *block;
    struct format_os f;
    int rc;

    format_os_init(&f);
    memcpy(exact, h->bytes, h->size);
    rc = open_block(&f, lsm_slice(exact, h->size), cmp, &block);
    CHECK((rc == LSM_OK) == (block != NULL));
    CHECK(f.largest <= 256 + 13 * h->size);                 /* whatever the bytes claim */
    lsm_block_free(block);
    CHECK_INT(f.used, 0);
    free(exact);
    return rc;
}

static void two_rows(struct hand *h, const char *a, uint64_t a_tag, const char *b, uint64_t b_tag)
{
    hand_start(h, 2, "pre", 0);
    hand_row(h, a, a_tag, "v1");
    hand_row(h, b, b_tag, "v2");
}

/* Two rows, keys of one size, in the form that `flags` asks for. */
static void two_rows_as(struct hand *h, uint16_t flags, const char *a, const char *b, uint64_t tag)
{
    hand_start(h, 2, "pre", flags);
    if (flags & LSM_BLOCK_ONE_TAG)
        hand_tag(h, tag);
    if (flags & LSM_BLOCK_FIXED)
        hand_sizes(h, (uint32_t)strlen(a), 2);
    hand_row(h, a, tag, "v1");
    hand_row(h, b, tag, "v2");
}

/* H-08 */
TEST(block_rows_out_of_order_are_corrupt)
{
    const uint64_t put1 = lsm_tag(1, LSM_KIND_PUT), put2 = lsm_tag(2, LSM_KIND_PUT);
    struct hand h;

    two_rows(&h, "a", put1, "b", put1);
    CHECK_OK(hand_open(&h, NULL));
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "b", put1, "a", put1);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_OK(hand_open(&h, &reverse));
    two_rows(&h, "a", put2, "a", put1);                     /* newest first */
    CHECK_OK(hand_open(&h, NULL));
    CHECK_OK(hand_open(&h, &reverse));
    two_rows(&h, "a", put1, "a", put2);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "a", put1, "a", put1);                     /* twice */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "ab", put1, "a", put2);                    /* a prefix comes first */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    two_rows(&h, "eightbytZ", put1, "eightbytA", put2);     /* equal in the first eight bytes */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    two_rows(&h, "eightbytA", put1, "eightbytZ", put2);
    CHECK_OK(hand_open(&h, NULL));
    for (uint16_t flags = 0; flags < 4; flags++) {
        static const char *const keys[][2] = { { "a", "b" }, { "a-longer-", "b-longer-" }, { "longer-0a", "longer-0b" } };

        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            two_rows_as(&h, flags, keys[i][0], keys[i][1], put1);
            CHECK_OK(hand_open(&h, NULL));
            CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
            two_rows_as(&h, flags, keys[i][1], keys[i][0], put1);
            CHECK_OK(hand_open(&h, &reverse));
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            CHECK(strstr(lsm_error_text(), "000014.ldb") && strstr(lsm_error_text(), "order"));
            two_rows_as(&h, flags, keys[i][0], keys[i][0], put1);   /* twice */
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
        }
    }
}

TEST(block_kinds_that_no_table_has_are_corrupt)
{
    struct hand h;

    for (int kind = 0; kind < 256; kind++) {
        int rc = kind <= LSM_KIND_RANGE_DELETE ? LSM_OK : LSM_CORRUPT;

        for (uint16_t flags = 0; flags < 4; flags++) {
            static const char *const keys[][2] = { { "a", "b" }, { "a-longer-", "b-longer-" } };

            for (size_t i = 0; i < 2; i++) {
                two_rows_as(&h, flags, keys[i][0], keys[i][1], lsm_tag(5, (enum lsm_kind)kind));
                CHECK_RC(hand_open(&h, NULL), rc);
                CHECK_RC(hand_open(&h, &by_size), rc);
                for (size_t bad = 0; bad < 2 && !(flags & LSM_BLOCK_ONE_TAG); bad++) {
                    hand_start(&h, 2, "pre", flags);
                    if (flags & LSM_BLOCK_FIXED)
                        hand_sizes(&h, strlen(keys[i][0]), 2);
                    for (size_t row = 0; row < 2; row++)
                        hand_row(&h, keys[i][row], lsm_tag(5, row == bad ? (enum lsm_kind)kind : LSM_KIND_PUT), "vv");
                    CHECK_RC(hand_open(&h, NULL), rc);
                }
            }
        }
    }
}

/* H-06 */
TEST(block_header_that_lies_is_corrupt)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand good, h;

    for (uint16_t flags = 0; flags < 4; flags++) {
        two_rows_as(&good, flags, "a", "b", put);
        CHECK_OK(hand_open(&good, NULL));
        for (int bit = 0; bit < 16; bit++) {                /* flags: another form, or unknown */
            h = good;
            h.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        for (uint32_t n = 0; n < 70000; n += n < 300 ? 1 : 997) {
            h = good;
            lsm_put_u32(h.bytes, n);                        /* count */
            if (n != 2)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            h = good;
            lsm_put_u16(h.bytes + 4, (uint16_t)n);          /* prefix size */
            if ((uint16_t)n != 3)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        h = good;
        lsm_put_u32(h.bytes, UINT32_MAX);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        for (size_t n = 0; n < good.size; n++) {            /* cut short */
            h = good;
            h.size = n;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        for (size_t n = 1; n < 200; n++) {                  /* bytes too many */
            h = good;
            h.size += n;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
}

TEST(block_without_rows_that_has_anything_is_corrupt)
{
    struct hand h;

    hand_start(&h, 0, "", 0);
    CHECK_OK(hand_open(&h, NULL));
    hand_start(&h, 0, "p", 0);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    for (uint16_t flags = 1; flags < 4; flags++) {
        hand_start(&h, 0, "", flags);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        if (flags & LSM_BLOCK_ONE_TAG)
            hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
        if (flags & LSM_BLOCK_FIXED)
            hand_sizes(&h, 1, 1);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

TEST(block_row_sizes_that_lie_are_corrupt)
{
    struct hand good, h;

    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t sizes = 11 + (flags & LSM_BLOCK_ONE_TAG ? 8u : 0u);

        two_rows_as(&good, flags, "a", "b", lsm_tag(1, LSM_KIND_PUT));
        CHECK_INT(good.bytes[sizes], 1);
        CHECK_INT(good.bytes[sizes + 1], 2);
        for (int v = 0; v < 256; v++) {
            h = good;
            h.bytes[sizes] = (uint8_t)v;
            if (v != 1)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            h = good;
            h.bytes[sizes + 1] = (uint8_t)v;
            if (v != 2)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        h = good;                                           /* the last value, one byte on */
        if (!(flags & LSM_BLOCK_FIXED)) {
            h.bytes[h.size - 4 - (flags & LSM_BLOCK_ONE_TAG ? 0 : 8)]++;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
}

/* The bytes of one row's sizes, then `behind` bytes of suffix, tag and value. */
static int open_sizes(uint16_t flags, const char *sizes, size_t size, size_t behind)
{
    struct hand h;

    hand_start(&h, 1, "", flags);
    if (flags & LSM_BLOCK_ONE_TAG)
        hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
    hand_bytes(&h, sizes, size);
    h.size += behind;
    memset(h.bytes + h.size - behind, 0xfe, behind);        /* a put, wherever the tag is */
    return hand_open(&h, NULL);
}

TEST(block_sizes_of_bad_form_are_corrupt)
{
    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t tag = flags & LSM_BLOCK_ONE_TAG ? 0 : 8;

        CHECK_OK(open_sizes(flags, "\1\1", 2, 2 + tag));
        CHECK_RC(open_sizes(flags, "\x81\0\1", 3, 2 + tag), LSM_CORRUPT);      /* longer than it needs */
        CHECK_RC(open_sizes(flags, "\1\x81\0", 3, 2 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x81\x80\0", 4, 2 + tag), LSM_CORRUPT);
        CHECK_OK(open_sizes(flags, "\1\x80\1", 3, 1 + 128 + tag));
        CHECK_OK(open_sizes(flags, "\1\xff\1", 3, 1 + 255 + tag));
        CHECK_OK(open_sizes(flags, "\x80\1\1", 3, 128 + 1 + tag));
        CHECK_RC(open_sizes(flags, "\1\x80\1", 3, 1 + 127 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x80\1", 3, 1 + 129 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, 0),
                 LSM_CORRUPT);                              /* to the end */
        CHECK_RC(open_sizes(flags, "\0\x80", 2, 0), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\0", 1, 0), LSM_CORRUPT);
    }
}

static int bytes_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(a, b);
}

/* Nearly all blocks of tables are walked a short way, those of a tree with a comparator never. */
TEST(block_the_short_walk_refuses_what_the_long_one_refuses)
{
    static const struct lsm_comparator by_bytes = { .name = "bytes", .compare = bytes_compare };
    static const size_t suffix_size[] = { 8, 9, 16, 127, 15, 128, 8 }, value_size[] = { 0, 1, 127, 128, 300, 5, 40 };
    int refused = 0, taken = 0;

    for (uint16_t flags = 0; flags < 2; flags++) {
        struct hand good, h;

        hand_start(&good, 7, "", flags);
        if (flags & LSM_BLOCK_ONE_TAG)
            hand_tag(&good, lsm_tag(1, LSM_KIND_PUT));
        for (int i = 0; i < 7; i++) {
            char text[301];

            hand_sizes(&good, suffix_size[i], value_size[i]);
            if (suffix_size[i] >= 128) {
                good.bytes[good.size - 2] = 0x80;
                good.bytes[good.size - 1] = 1;
                good.bytes[good.size++] = (uint8_t)value_size[i];
            }
            if (value_size[i] >= 128) {
                good.bytes[good.size - 1] = (uint8_t)(value_size[i] | 0x80);
                good.bytes[good.size++] = (uint8_t)(value_size[i] >> 7);
            }
            memset(text, 0xfe, sizeof(text));
            text[0] = (char)('a' + i);
            hand_bytes(&good, text, suffix_size[i]);
            if (!(flags & LSM_BLOCK_ONE_TAG))
                hand_tag(&good, lsm_tag(7, LSM_KIND_PUT));
            hand_bytes(&good, text, value_size[i]);
        }
        CHECK_OK(hand_open(&good, NULL));
        CHECK_OK(hand_open(&good, &by_bytes));
        for (size_t at = 0; at < good.size; at++)
            for (int bit = 0; bit < 9; bit++) {
                int rc;

                h = good;
                h.bytes[at] = (uint8_t)(bit < 8 ? h.bytes[at] ^ 1 << bit : 0);
                rc = hand_open(&h, NULL);
                CHECK_INT(rc, hand_open(&h, &by_bytes));
                refused += rc != LSM_OK;
                taken += rc == LSM_OK;
            }
        for (size_t cut = 1; cut < good.size; cut++) {
            h = good;
            h.size -= cut;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
    CHECK(refused > 300 && taken > 10000);
}

/* Sizes whose sums come out right in 32 or 64 bits. */
TEST(block_row_sizes_that_wrap_are_corrupt)
{
    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t tag = flags & LSM_BLOCK_ONE_TAG ? 0 : 8;

        CHECK_RC(open_sizes(flags, "\0\xfd\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, 5), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\xfd\xff\xff\xff\xff\xff\xff\xff\xff\1\0", 11, 5), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, 2 + tag),
                 LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\x83\x80\x80\x80\x10\2", 6, 5 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x84\x80\x80\x80\x10", 6, 5 + tag), LSM_CORRUPT);
    }
    {                               /* a value of -1 bytes: the second row would begin in the first */
        struct hand h;

        hand_start(&h, 2, "", LSM_BLOCK_ONE_TAG);
        hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
        hand_bytes(&h, "\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\1" "aa\1\0z", 16);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

TEST(block_rows_of_one_size_must_fill_it)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand h;

    hand_start(&h, 1, "key", LSM_BLOCK_FIXED);              /* one row: allowed, though not written */
    hand_sizes(&h, 0, 0);
    hand_row(&h, "", put, "");
    CHECK_OK(hand_open(&h, NULL));
    for (uint32_t count = 1; count < 5; count++) {          /* rows without a byte */
        hand_start(&h, count, "key", LSM_BLOCK_FIXED | LSM_BLOCK_ONE_TAG);
        hand_tag(&h, put);
        hand_sizes(&h, 0, 0);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
    hand_start(&h, 3, "", LSM_BLOCK_FIXED | LSM_BLOCK_ONE_TAG);
    hand_tag(&h, put);
    hand_sizes(&h, 1, 3);
    for (const char *c = "abc"; *c; c++)
        hand_row(&h, (char[]){ *c, 0 }, put, "val");
    CHECK_OK(hand_open(&h, NULL));
    for (int bit = 2; bit < 32; bit++) {                    /* 30, 31: count * size wraps to the room */
        lsm_put_u32(h.bytes, 3 | UINT32_C(1) << bit);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

/* H-05: Prefix and suffix are fine alone and too long together. */
TEST(block_key_over_the_limit_is_corrupt)
{
    size_t prefix = 65000;

    for (size_t round = 0; round < 6; round++) {
        size_t suffix = 534 + round / 2;
        struct lsm_block *block;
        struct format_os f;
        struct lsm_buf out;

        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        lsm_buf_put_u32(&out, 1);
        lsm_buf_put_u16(&out, (uint16_t)prefix);
        lsm_buf_put_u16(&out, LSM_BLOCK_FIXED * (round & 1));
        for (size_t i = 0; i < prefix; i++)
            lsm_buf_put_u8(&out, 'p');
        lsm_buf_put_varint(&out, suffix);
        lsm_buf_put_varint(&out, 0);
        for (size_t i = 0; i < suffix; i++)
            lsm_buf_put_u8(&out, 's');
        lsm_buf_put_u64(&out, __builtin_bswap64(~lsm_tag(1, LSM_KIND_PUT)));
        CHECK_RC(open_block(&f, lsm_buf_slice(&out), NULL, &block),
                 prefix + suffix <= LSM_KEY_SIZE_MAX ? LSM_OK : LSM_CORRUPT);
        lsm_block_free(block);
        CHECK_RC(open_block(&f, lsm_buf_slice(&out), &by_size, &block),
                 prefix + suffix <= LSM_KEY_SIZE_MAX ? LSM_OK : LSM_CORRUPT);
        lsm_block_free(block);
        lsm_buf_clear(&out);
        CHECK_INT(f.used, 0);
    }
}

TEST(block_claiming_many_rows_allocates_nothing)
{
    struct lsm_block *block;
    struct format_os f;
    uint8_t bytes[100] = { 0 };

    format_os_init(&f);
    for (uint32_t i = 0; i < 32 * 4; i++) {
        lsm_put_u32(bytes, i < 4 ? UINT32_MAX : UINT32_C(1) << i / 4);
        lsm_put_u16(bytes + 6, i % 4);
        if (i / 4 > 0 && i / 4 < 7)                         /* 2 to 64 may be there */
            continue;
        CHECK_RC(open_block(&f, lsm_slice(bytes, sizeof(bytes)), NULL, &block), LSM_CORRUPT);
    }
    memset(bytes, 0xff, sizeof(bytes));                     /* rows that need no byte: a tag, no sizes */
    lsm_put_u16(bytes + 4, 0);
    lsm_put_u16(bytes + 6, LSM_BLOCK_ONE_TAG | LSM_BLOCK_FIXED);
    lsm_put_u16(bytes + 16, 0);
    CHECK_RC(open_block(&f, lsm_slice(bytes, 18), NULL, &block), LSM_CORRUPT);
    CHECK_INT(f.largest, 0);
}

TEST(block_any_bytes_are_refused_or_hold_together)
{
    struct hand h;

    for (int round = 0; round < 60000; round++) {
        two_rows_as(&h, round % 4, "a", "b", lsm_tag(1, LSM_KIND_PUT));
        for (uint64_t n = 1 + test_below(3); n; n--)
            h.bytes[test_below(h.size)] = (uint8_t)test_random();
        hand_open(&h, test_below(2) ? NULL : &by_size);     /* ASan judges */
    }
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

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
static const struct lsm_comparator reverse = { "reverse", NULL, reverse_compare };

/* Shorter keys first: an order in which the first and the last key say nothing of those between. */
static int size_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return lsm_slice_compare(a, b);
}
static const struct lsm_comparator by_size = { "by size", NULL, size_compare };

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
    uint8_t key[100];

    for (int round = 0; round < 240; round++) {
        const struct lsm_comparator *cmp = orders[round % 3];
        size_t shared = test_below(3) ? test_below(20) : 0, size_max = 1 + test_below(20);
        uint32_t want = (uint32_t)(1 + test_below(test_below(4) ? 60 : 400));
        struct lsm_block *block;
        struct format_os f;
        struct lsm_buf out;

        for (uint32_t i = 0; i < want; i++) {
            size_t n = random_key(key, shared, size_max);
            uint64_t seq = test_below(2) ? test_below(4) : test_random() & LSM_SEQ_MAX;

            rows_add(&rows, key, n, lsm_tag(seq, (enum lsm_kind)test_below(4)), test_below(200));
        }
        rows_sort(&rows, cmp);
        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        build(&out, &f.os, &rows);
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

TEST(block_directory_is_wide_from_64_kib_on)
{
    static struct rows rows;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    for (size_t value_size = 65400; value_size < 65600; value_size++) {
        rows_add(&rows, "a", 1, lsm_tag(2, LSM_KIND_PUT), value_size);
        rows_add(&rows, "b", 1, lsm_tag(1, LSM_KIND_PUT), 5);
        lsm_buf_reset(&out);
        build(&out, &f.os, &rows);
        CHECK_INT(lsm_get_u16(out.data + 6), out.size > 65535 ? LSM_BLOCK_WIDE : 0);
        round_trip(&rows, NULL);
        rows_clear(&rows);
    }
    lsm_buf_clear(&out);

    for (int i = 0; i < 200; i++)
        rows_add(&rows, &(uint8_t){ (uint8_t)i }, 1, lsm_tag(1, LSM_KIND_PUT), 5000);
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

            lsm_block_builder_add(&b, lsm_slice(key, (size_t)n), lsm_tag(i, LSM_KIND_PUT),
                                  lsm_slice(value, test_below(sizeof(value))));
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

/* A payload made by hand; rows `suffix_size value_size suffix ~tag value` as given. */
struct hand {
    uint8_t bytes[4096];
    size_t size;
};

static void hand_start(struct hand *h, uint32_t count, const char *prefix, uint16_t flags)
{
    memset(h, 0, sizeof(*h));
    lsm_put_u32(h->bytes, count);
    lsm_put_u16(h->bytes + 4, (uint16_t)strlen(prefix));
    lsm_put_u16(h->bytes + 6, flags);
    memcpy(h->bytes + 8, prefix, strlen(prefix));
    h->size = 8 + strlen(prefix) + count * (flags & LSM_BLOCK_WIDE ? 4u : 2u);
}

static void hand_row(struct hand *h, uint32_t i, const char *suffix, uint64_t tag, const char *value)
{
    uint8_t *dir = h->bytes + 8 + lsm_get_u16(h->bytes + 4);

    if (lsm_get_u16(h->bytes + 6) & LSM_BLOCK_WIDE)
        lsm_put_u32(dir + i * 4, (uint32_t)h->size);
    else
        lsm_put_u16(dir + i * 2, (uint16_t)h->size);
    h->bytes[h->size++] = (uint8_t)strlen(suffix);
    h->bytes[h->size++] = (uint8_t)strlen(value);
    memcpy(h->bytes + h->size, suffix, strlen(suffix));
    h->size += strlen(suffix);
    lsm_put_be64(h->bytes + h->size, ~tag);
    memcpy(h->bytes + h->size + 8, value, strlen(value));
    h->size += 8 + strlen(value);
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
    lsm_block_free(block);
    CHECK_INT(f.used, 0);
    free(exact);
    return rc;
}

static void two_rows(struct hand *h, const char *a, uint64_t a_tag, const char *b, uint64_t b_tag)
{
    hand_start(h, 2, "pre", 0);
    hand_row(h, 0, a, a_tag, "v1");
    hand_row(h, 1, b, b_tag, "v2");
}

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
    CHECK(strstr(lsm_error_text(), "000014.ldb") && strstr(lsm_error_text(), "order"));
}

TEST(block_kinds_that_no_table_has_are_corrupt)
{
    struct hand h;

    for (int kind = 0; kind < 256; kind++) {
        hand_start(&h, 1, "", 0);
        hand_row(&h, 0, "k", lsm_tag(5, (enum lsm_kind)kind), "v");
        CHECK_RC(hand_open(&h, NULL), kind <= LSM_KIND_RANGE_DELETE ? LSM_OK : LSM_CORRUPT);
    }
}

TEST(block_wide_directory_of_a_small_block_is_read)
{
    struct hand h;

    hand_start(&h, 3, "pre", LSM_BLOCK_WIDE);
    hand_row(&h, 0, "a", lsm_tag(1, LSM_KIND_PUT), "v");
    hand_row(&h, 1, "b", lsm_tag(1, LSM_KIND_PUT), "");
    hand_row(&h, 2, "c", lsm_tag(1, LSM_KIND_DELETE), "");
    CHECK_OK(hand_open(&h, NULL));
    lsm_put_u32(h.bytes + 8 + 3 + 4, 0xfffffff0);           /* offsets that wrap */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    lsm_put_u32(h.bytes + 8 + 3 + 4, (uint32_t)h.size + 1);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

TEST(block_header_that_lies_is_corrupt)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand good, h;

    two_rows(&good, "a", put, "b", put);
    for (int bit = 0; bit < 16; bit++) {                    /* flags: WIDE does not fit here */
        h = good;
        h.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
    for (uint32_t n = 0; n < 70000; n += n < 300 ? 1 : 997) {
        h = good;
        lsm_put_u32(h.bytes, n);                            /* count */
        if (n != 2)
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        h = good;
        lsm_put_u16(h.bytes + 4, (uint16_t)n);              /* prefix size */
        if ((uint16_t)n != 3)
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        h = good;
        lsm_put_u16(h.bytes + 11, (uint16_t)n);             /* first row */
        if ((uint16_t)n != 15)
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        h = good;
        lsm_put_u16(h.bytes + 13, (uint16_t)n);             /* second row */
        if ((uint16_t)n != 28)
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
    h = good;
    lsm_put_u32(h.bytes, UINT32_MAX);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    for (size_t n = 0; n < good.size; n++) {                /* cut short */
        h = good;
        h.size = n;
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
    h = good;
    h.size++;                                               /* a byte too many */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    hand_start(&h, 0, "", 0);
    CHECK_OK(hand_open(&h, NULL));
    hand_start(&h, 0, "p", 0);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

TEST(block_row_sizes_that_lie_are_corrupt)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand good, h;

    two_rows(&good, "a", put, "b", put);
    for (size_t at = 15; at <= 16; at++) {                  /* suffix size, value size */
        for (int v = 0; v < 256; v++) {
            h = good;
            h.bytes[at] = (uint8_t)v;
            if (v != good.bytes[at])
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
    /* A row whose varint runs to its end, or has a longer form than it needs. */
    h = good;
    memset(h.bytes + 15, 0x80, 13);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    hand_start(&h, 1, "", 0);
    hand_row(&h, 0, "", put, "");
    memmove(h.bytes + 11, h.bytes + 10, h.size - 10);
    h.size++;
    h.bytes[10] = 0x80;
    h.bytes[11] = 0x00;
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

TEST(block_row_that_ends_behind_the_block_is_corrupt)
{
    struct hand h;

    two_rows(&h, "a", lsm_tag(1, LSM_KIND_PUT), "b", lsm_tag(1, LSM_KIND_PUT));
    h.bytes[15] = 100;                                      /* row 0: its sizes and the directory agree */
    h.bytes[16] = 0;
    lsm_put_u16(h.bytes + 13, 15 + 2 + 100 + 8);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

TEST(block_row_sizes_that_wrap_are_corrupt)
{
    struct hand h;

    hand_start(&h, 1, "", 0);
    lsm_put_u16(h.bytes + 8, 10);
    h.bytes[10] = 0;                                        /* no suffix; five bytes follow the sizes, */
    memset(h.bytes + 11, 0xff, 9);                          /* and 2^64 - 3 is 5 - 8 */
    h.bytes[11] = 0xfd;
    h.bytes[20] = 0x01;
    h.size = 21 + 5;
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

TEST(block_gap_behind_the_directory_is_corrupt)
{
    struct hand h;

    hand_start(&h, 1, "", 0);
    h.size++;
    hand_row(&h, 0, "a", lsm_tag(1, LSM_KIND_PUT), "v");
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
}

/* Prefix and suffix are fine alone and too long together. */
TEST(block_key_over_the_limit_is_corrupt)
{
    size_t prefix = 65000;

    for (size_t suffix = 534; suffix <= 536; suffix++) {
        struct lsm_block *block;
        struct format_os f;
        struct lsm_buf out;

        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        lsm_buf_put_u32(&out, 1);
        lsm_buf_put_u16(&out, (uint16_t)prefix);
        lsm_buf_put_u16(&out, LSM_BLOCK_WIDE);
        for (size_t i = 0; i < prefix; i++)
            lsm_buf_put_u8(&out, 'p');
        lsm_buf_put_u32(&out, (uint32_t)(8 + prefix + 4));
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
    for (uint32_t count = 8; count; count = count < UINT32_MAX / 2 ? count * 2 : 0) {
        lsm_put_u32(bytes, count);
        CHECK_RC(open_block(&f, lsm_slice(bytes, sizeof(bytes)), NULL, &block), LSM_CORRUPT);
    }
    CHECK_INT(f.largest, 0);
}

TEST(block_any_bytes_are_refused_or_hold_together)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand h;

    for (int round = 0; round < 30000; round++) {
        two_rows(&h, "a", put, "b", put);
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
    static const uint8_t expected[] = {
        2, 0, 0, 0,  3, 0,  0, 0,  'k', 'e', 'y',  15, 0, 28, 0,
        1, 2, 'a', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xfe, 'v', '1',
        1, 0, 'b', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd, 0xff,
    };
    static struct rows rows;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    rows_add(&rows, "keya", 4, lsm_tag(1, LSM_KIND_PUT), 2);
    memcpy(rows.row[0].value, "v1", 2);
    rows_add(&rows, "keyb", 4, lsm_tag(2, LSM_KIND_DELETE), 0);
    build(&out, &f.os, &rows);
    CHECK_INT(out.size, sizeof(expected));
    CHECK_MEM(out.data, expected, sizeof(expected));
    lsm_buf_clear(&out);
    rows_clear(&rows);
}

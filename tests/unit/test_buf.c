#include "lsm/os/os.h"
#include "lsm/util/buf.h"
#include "tests/test.h"

/* An allocator that gives `left` blocks and then none. */
struct poor {
    struct lsm_os os;
    struct lsm_os *base;
    int left;
};

static void *poor_realloc(struct lsm_os *os, void *p, size_t size)
{
    struct poor *poor = (struct poor *)os;

    return poor->left-- > 0 ? poor->base->mem_realloc(poor->base, p, size) : NULL;
}

static void poor_free(struct lsm_os *os, void *p)
{
    struct poor *poor = (struct poor *)os;

    poor->base->mem_free(poor->base, p);
}

TEST(buf_holds_what_was_appended_whatever_the_sizes)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_buf b;
    static uint8_t model[200000];
    uint8_t piece[300];
    size_t size = 0;

    lsm_buf_init(&b, os);
    while (size < sizeof(model) - sizeof(piece)) {
        size_t n = test_below(sizeof(piece));
        for (size_t i = 0; i < n; i++)
            model[size + i] = piece[i] = (uint8_t)test_random();
        lsm_buf_append(&b, piece, n);
        size += n;
    }
    CHECK_OK(b.rc);
    CHECK_INT(b.size, size);
    CHECK_MEM(b.data, model, size);
    lsm_buf_clear(&b);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(buf_writes_numbers_in_little_endian)
{
    static const uint8_t want[] = { 0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e, 0x0d,
                                    0x0c, 0x0b, 0x0a, 0x09, 0x08, 0xac, 0x02, 0x02, 'h', 'i' };
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_buf b;

    lsm_buf_init(&b, os);
    lsm_buf_put_u8(&b, 1);
    lsm_buf_put_u16(&b, 0x0203);
    lsm_buf_put_u32(&b, 0x04050607);
    lsm_buf_put_u64(&b, 0x08090a0b0c0d0e0f);
    lsm_buf_put_varint(&b, 300);
    lsm_buf_put_bytes(&b, lsm_slice_str("hi"));
    if (CHECK_INT(b.size, sizeof(want)))
        CHECK_MEM(b.data, want, sizeof(want));
    CHECK(lsm_slice_equal(lsm_buf_slice(&b), lsm_slice(want, sizeof(want))));
    lsm_buf_clear(&b);
    lsm_os_posix_free(os);
}

TEST(buf_latches_nomem_and_becomes_inert)
{
    struct poor poor = { .base = lsm_os_posix_new(), .left = 1 };
    struct lsm_buf b;
    uint8_t bytes[100] = { 0 };

    poor.os.mem_realloc = poor_realloc;
    poor.os.mem_free = poor_free;
    lsm_buf_init(&b, &poor.os);
    lsm_buf_append(&b, bytes, 50);
    CHECK_OK(b.rc);
    lsm_buf_append(&b, bytes, 100);
    CHECK_RC(b.rc, LSM_NOMEM);
    lsm_buf_put_u8(&b, 1);                  /* there is room, but it would leave a hole */
    CHECK_INT(b.size, 50);
    CHECK_RC(lsm_buf_reserve(&b, 0), LSM_NOMEM);
    lsm_buf_reset(&b);
    lsm_buf_put_u8(&b, 1);
    CHECK_OK(b.rc);
    CHECK_INT(b.size, 1);
    lsm_buf_clear(&b);
    lsm_os_posix_free(poor.base);
}

TEST(buf_refuses_sizes_that_overflow)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_buf b;

    lsm_buf_init(&b, os);
    lsm_buf_put_u8(&b, 1);
    CHECK_RC(lsm_buf_reserve(&b, SIZE_MAX), LSM_NOMEM);
    CHECK_RC(b.rc, LSM_NOMEM);
    lsm_buf_clear(&b);
    CHECK_OK(b.rc);
    lsm_os_posix_free(os);
}

TEST(buf_clear_accepts_a_zeroed_buffer)
{
    struct lsm_buf b = { 0 };

    lsm_buf_clear(&b);
    CHECK(b.data == NULL);
}

TEST(buf_empty_pieces_need_no_memory)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_buf b;

    lsm_buf_init(&b, os);
    lsm_buf_append(&b, NULL, 0);
    lsm_buf_append_slice(&b, lsm_slice(NULL, 0));
    CHECK(b.data == NULL);
    CHECK_INT(b.size, 0);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/*
 * block.c -- building and reading sorted blocks.
 *
 * In memory a block is one allocation, so that a cached block costs one free
 * and a search touches neighbours:
 *
 *     struct | key_prefix[count] | off[count + 1] | payload
 *
 * The search is a branch-free lower bound over key_prefix. Only where the eight
 * bytes are equal does it look at a row. Everything about the bytes is checked
 * once, when the block is made, and never again.
 *
 * With a comparator the order is not the bytes', so the prefix array says
 * nothing; and since a comparator sees whole keys only, the common prefix is put
 * back before every key when the block is made: no probe and no step of an
 * iterator copies.
 *
 * Threads: a block is immutable; any thread.
 */
#include <assert.h>

#include "lsm/format/block.h"

#define HEADER_SIZE 8u
#define ROW_SIZE_MIN (2u + LSM_TAG_SIZE)        /* two sizes of one byte, no suffix, no value */
#define PENDING_HEADER_SIZE 8u                  /* a row in the builder: key size, value size */

_Static_assert(sizeof(struct lsm_block) % 8 == 0, "key_prefix follows the struct");

/* ---- building ---- */

static void check_builder(const struct lsm_block_builder *b)
{
    assert(b->rc || b->starts.size == (size_t)b->count * 4);
    assert(b->rc || b->prefix_size <= b->last_key.size);
    (void)b;
}

void lsm_block_builder_init(struct lsm_block_builder *b, struct lsm_os *os)
{
    *b = (struct lsm_block_builder){ .os = os };
    lsm_buf_init(&b->rows, os);
    lsm_buf_init(&b->starts, os);
    lsm_buf_init(&b->last_key, os);
}

void lsm_block_builder_clear(struct lsm_block_builder *b)
{
    lsm_buf_clear(&b->rows);
    lsm_buf_clear(&b->starts);
    lsm_buf_clear(&b->last_key);
    lsm_block_builder_reset(b);
}

void lsm_block_builder_reset(struct lsm_block_builder *b)
{
    lsm_buf_reset(&b->rows);
    lsm_buf_reset(&b->starts);
    lsm_buf_reset(&b->last_key);
    b->count = 0;
    b->prefix_size = 0;
    b->last_tag = 0;
    b->rc = LSM_OK;
}

static uint32_t common_size(const uint8_t *a, const uint8_t *b, uint32_t size_max)
{
    uint32_t n = 0;

    while (n < size_max && a[n] == b[n])
        n++;
    return n;
}

void lsm_block_builder_add(struct lsm_block_builder *b, struct lsm_slice key, uint64_t tag,
                           struct lsm_slice value)
{
    size_t start = b->rows.size, size;
    uint8_t *p;

    assert(key.size <= LSM_KEY_SIZE_MAX);
    assert(lsm_tag_kind(tag) < LSM_KIND_VOID);
    check_builder(b);
    if (b->rc)
        return;
    if (b->count && lsm_slice_equal(key, lsm_buf_slice(&b->last_key)))
        assert(tag < b->last_tag);

    if (value.size > UINT32_MAX - PENDING_HEADER_SIZE - LSM_KEY_SIZE_MAX - LSM_TAG_SIZE ||
        start > UINT32_MAX - (PENDING_HEADER_SIZE + key.size + LSM_TAG_SIZE + value.size)) {
        b->rc = lsm_fail(LSM_TOOBIG, "a block would pass 4 GiB with a value of %zu bytes",
                         value.size);
        return;
    }
    size = PENDING_HEADER_SIZE + key.size + LSM_TAG_SIZE + value.size;

    lsm_buf_reserve(&b->rows, size);
    lsm_buf_put_u32(&b->starts, (uint32_t)start);
    lsm_buf_reset(&b->last_key);
    lsm_buf_append_slice(&b->last_key, key);
    if (b->rows.rc || b->starts.rc || b->last_key.rc) {
        b->rc = LSM_NOMEM;
        return;
    }

    p = b->rows.data + start;
    lsm_put_u32(p, (uint32_t)key.size);
    lsm_put_u32(p + 4, (uint32_t)value.size);
    p += PENDING_HEADER_SIZE;
    if (key.size)
        memcpy(p, key.data, key.size);
    p += key.size;
    lsm_put_be64(p, ~tag);
    if (value.size)
        memcpy(p + LSM_TAG_SIZE, value.data, value.size);
    b->rows.size = start + size;

    /* The first key, at the start of rows, has the prefix. */
    if (b->count == 0)
        b->prefix_size = (uint32_t)key.size;
    else
        b->prefix_size = common_size(b->rows.data + PENDING_HEADER_SIZE, b->last_key.data,
                                     key.size < b->prefix_size ? (uint32_t)key.size
                                                               : b->prefix_size);
    b->last_tag = tag;
    b->count++;
}

size_t lsm_block_builder_size(const struct lsm_block_builder *b)
{
    size_t sizes = 3;                   /* of a row's two varints, as a rule */
    size_t size = HEADER_SIZE + b->prefix_size + b->rows.size + b->count * (sizes + 2) -
                  (size_t)b->count * (PENDING_HEADER_SIZE + b->prefix_size);

    return size > UINT16_MAX ? size + (size_t)b->count * 2 : size;
}

int lsm_block_builder_finish(struct lsm_block_builder *b, struct lsm_buf *out)
{
    uint64_t rows_size = 0, size;
    uint32_t width;
    uint8_t *start, *dir, *p;

    check_builder(b);
    if (b->rc)
        return b->rc;

    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *row = b->rows.data + lsm_get_u32(b->starts.data + (size_t)i * 4);
        uint32_t suffix_size = lsm_get_u32(row) - b->prefix_size, value_size = lsm_get_u32(row + 4);

        rows_size += lsm_varint_size(suffix_size) + lsm_varint_size(value_size) + suffix_size +
                     LSM_TAG_SIZE + value_size;
    }
    width = 2;
    size = HEADER_SIZE + b->prefix_size + (uint64_t)b->count * width + rows_size;
    if (size > UINT16_MAX) {
        size += (uint64_t)b->count * 2;
        width = 4;
    }
    if (size > UINT32_MAX)
        return b->rc = lsm_fail(LSM_TOOBIG, "a block would pass 4 GiB");
    if (lsm_buf_reserve(out, size) != LSM_OK)
        return b->rc = out->rc;

    p = start = out->data + out->size;
    lsm_put_u32(p, b->count);
    lsm_put_u16(p + 4, (uint16_t)b->prefix_size);
    lsm_put_u16(p + 6, width == 4 ? LSM_BLOCK_WIDE : 0);
    p += HEADER_SIZE;
    if (b->prefix_size)
        memcpy(p, b->last_key.data, b->prefix_size);
    dir = p + b->prefix_size;
    p = dir + (size_t)b->count * width;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *row = b->rows.data + lsm_get_u32(b->starts.data + (size_t)i * 4);
        uint32_t suffix_size = lsm_get_u32(row) - b->prefix_size, value_size = lsm_get_u32(row + 4);
        size_t rest = suffix_size + LSM_TAG_SIZE + (size_t)value_size;

        if (width == 4)
            lsm_put_u32(dir + (size_t)i * 4, (uint32_t)(p - start));
        else
            lsm_put_u16(dir + (size_t)i * 2, (uint16_t)(p - start));
        p += lsm_varint_put(p, suffix_size);
        p += lsm_varint_put(p, value_size);
        memcpy(p, row + PENDING_HEADER_SIZE + b->prefix_size, rest);
        p += rest;
    }
    assert((uint64_t)(p - start) == size);
    out->size += size;
    return LSM_OK;
}

/* ---- checking ---- */

/* The first eight bytes of `size` bytes at p, behind which a tag stands. */
static inline uint64_t prefix_in_row(const uint8_t *p, size_t size)
{
    uint64_t v = lsm_get_be64(p);

    if (size >= 8)
        return v;
    return size ? v & ~UINT64_C(0) << (64 - 8 * size) : 0;
}

/* Row i lies between off[i] and off[i + 1] and its sizes add up to that. NULL, or what is wrong. */
static const char *check_row(const struct lsm_block *block, uint32_t i)
{
    const uint8_t *p = block->data + block->off[i], *end = block->data + block->off[i + 1];
    uint64_t suffix_size, value_size;
    size_t n, left;

    n = lsm_varint_get(p, end, &suffix_size);
    if (n == 0)
        return "a row's key size is malformed";
    p += n;
    n = lsm_varint_get(p, end, &value_size);
    if (n == 0)
        return "a row's value size is malformed";
    p += n;
    left = (size_t)(end - p);
    if (left < LSM_TAG_SIZE || suffix_size > left - LSM_TAG_SIZE)
        return "a key passes the end of its row";
    if (value_size != left - LSM_TAG_SIZE - suffix_size)
        return "a row's sizes are not its size";
    if (suffix_size > LSM_KEY_SIZE_MAX - block->prefix_size)
        return "a key is over the limit";
    if (lsm_tag_kind(~lsm_get_be64(p + suffix_size)) >= LSM_KIND_VOID)
        return "a row's kind is unknown";
    block->key_prefix[i] = prefix_in_row(p, suffix_size);
    return NULL;
}

static const char *check_order(const struct lsm_block *block, const struct lsm_comparator *cmp)
{
    struct lsm_slice a = { NULL, 0 }, b, value;
    uint64_t a_tag = 0, b_tag;

    for (uint32_t i = 0; i < block->count; i++, a = b, a_tag = b_tag) {
        lsm_block_row(block, i, &b, &b_tag, &value);
        if (i == 0 || (!cmp && block->key_prefix[i - 1] < block->key_prefix[i]))
            continue;
        if (lsm_ikey_compare(cmp, a, a_tag, b, b_tag) >= 0)
            return "rows are not in order";
    }
    return NULL;
}

/* Decode the directory: offsets ascend from the end of the header to the end of the payload. */
static const char *load_directory(struct lsm_block *block, const uint8_t *dir, bool wide)
{
    uint32_t at = (uint32_t)(dir - block->data) + block->count * (wide ? 4u : 2u);

    for (uint32_t i = 0; i < block->count; i++) {
        uint32_t off = wide ? lsm_get_u32(dir + (size_t)i * 4) : lsm_get_u16(dir + (size_t)i * 2);

        if (i == 0 && off != at)
            return "the first row is not behind the directory";
        if (i && (off < at || off - at < ROW_SIZE_MIN))
            return "row offsets do not ascend";
        if (off > block->size)
            return "a row offset is outside the block";
        block->off[i] = at = off;
    }
    block->off[block->count] = block->size;
    return NULL;
}

static size_t memory_for(uint32_t count, size_t size)
{
    return sizeof(struct lsm_block) + (size_t)count * 8 + ((size_t)count + 1) * 4 + size;
}

/* A block with room for its arrays and `size` bytes at *data. NULL: no memory. */
static struct lsm_block *block_alloc(struct lsm_os *os, uint32_t count, uint32_t size,
                                     uint8_t **data)
{
    struct lsm_block *b = lsm_mem_alloc(os, memory_for(count, size));

    if (!b)
        return NULL;
    *b = (struct lsm_block){ .os = os, .size = size, .count = count };
    b->key_prefix = (uint64_t *)(b + 1);
    b->off = (uint32_t *)(b->key_prefix + count);
    *data = (uint8_t *)(b->off + count + 1);
    b->data = *data;
    return b;
}

/* Replace a checked block by one whose rows have whole keys and which has no common prefix. */
static int make_whole(struct lsm_block **block, const char *file, uint64_t off)
{
    struct lsm_block *b = *block, *whole;
    struct lsm_slice suffix, value;
    uint64_t tag, size = 0;
    uint8_t *data, *p;

    for (uint32_t i = 0; i < b->count; i++) {
        lsm_block_row(b, i, &suffix, &tag, &value);
        size += lsm_varint_size(b->prefix_size + suffix.size) + lsm_varint_size(value.size) +
                b->prefix_size + suffix.size + LSM_TAG_SIZE + value.size;
    }
    if (size > UINT32_MAX)
        return lsm_corrupt(file, off, "a block's keys would pass 4 GiB");
    whole = block_alloc(b->os, b->count, (uint32_t)size, &data);
    if (!whole)
        return lsm_nomem();

    p = data;
    for (uint32_t i = 0; i < b->count; i++) {
        lsm_block_row(b, i, &suffix, &tag, &value);
        whole->off[i] = (uint32_t)(p - data);
        p += lsm_varint_put(p, b->prefix_size + suffix.size);
        p += lsm_varint_put(p, value.size);
        memcpy(p, b->prefix, b->prefix_size);
        memcpy(p + b->prefix_size, suffix.data, suffix.size + LSM_TAG_SIZE + value.size);
        whole->key_prefix[i] = prefix_in_row(p, b->prefix_size + suffix.size);
        p += b->prefix_size + suffix.size + LSM_TAG_SIZE + value.size;
    }
    assert((uint64_t)(p - data) == size);
    whole->off[b->count] = (uint32_t)size;
    whole->prefix = data;
    lsm_block_free(b);
    *block = whole;
    return LSM_OK;
}

int lsm_block_new(struct lsm_os *os, struct lsm_slice payload, const struct lsm_comparator *cmp,
                  const char *file, uint64_t off, struct lsm_block **block)
{
    uint32_t count, prefix_size, flags, width;
    struct lsm_block *b;
    const char *bad;
    size_t rest;
    uint8_t *data;
    int rc = LSM_OK;

    *block = NULL;
    if (payload.size < HEADER_SIZE || payload.size > UINT32_MAX)
        return lsm_corrupt(file, off, "a block is shorter than its header or longer than 4 GiB");
    count = lsm_get_u32(payload.data);
    prefix_size = lsm_get_u16(payload.data + 4);
    flags = lsm_get_u16(payload.data + 6);
    width = flags & LSM_BLOCK_WIDE ? 4 : 2;
    rest = payload.size - HEADER_SIZE;
    if (flags & ~LSM_BLOCK_WIDE)
        return lsm_corrupt(file, off, "a block has unknown flags");
    if (prefix_size > rest)
        return lsm_corrupt(file, off, "the common prefix passes the end of the block");
    rest -= prefix_size;
    if (count > rest / (width + ROW_SIZE_MIN))
        return lsm_corrupt(file, off, "a block claims more rows than it can hold");
    if (count == 0 && payload.size != HEADER_SIZE)
        return lsm_corrupt(file, off, "a block without rows is not empty");

    b = block_alloc(os, count, (uint32_t)payload.size, &data);
    if (!b)
        return lsm_nomem();
    memcpy(data, payload.data, payload.size);
    b->prefix = data + HEADER_SIZE;
    b->prefix_size = prefix_size;

    bad = load_directory(b, b->prefix + prefix_size, width == 4);
    for (uint32_t i = 0; i < count && !bad; i++)
        bad = check_row(b, i);
    if (!bad && cmp && prefix_size)
        rc = make_whole(&b, file, off);
    if (!bad && rc == LSM_OK)
        bad = check_order(b, cmp);
    if (bad)
        rc = lsm_corrupt(file, off, bad);
    if (rc != LSM_OK) {
        lsm_block_free(b);
        return rc;
    }
    *block = b;
    return LSM_OK;
}

void lsm_block_free(struct lsm_block *block)
{
    if (block)
        lsm_mem_free(block->os, block);
}

size_t lsm_block_memory(const struct lsm_block *block)
{
    return memory_for(block->count, block->size);
}

/* ---- searching ---- */

/*
 * The first eight bytes of the key behind `skip` bytes. A short rest is read
 * with the eight bytes that end the key, so that only keys below eight bytes
 * take the loop.
 */
static inline uint64_t prefix_behind(struct lsm_slice key, size_t skip)
{
    size_t size = key.size - skip;

    if (size >= 8)
        return lsm_get_be64(key.data + skip);
    if (size == 0)
        return 0;
    if (key.size >= 8)
        return lsm_get_be64(key.data + key.size - 8) << (64 - 8 * size);
    return lsm_slice_prefix(lsm_slice(key.data + skip, size));
}

/* (suffix, tag) against row i. */
static inline int compare_row(const struct lsm_block *block, uint32_t i, struct lsm_slice suffix,
                              uint64_t tag)
{
    struct lsm_slice row_suffix, value;
    uint64_t row_tag;

    lsm_block_row(block, i, &row_suffix, &row_tag, &value);
    return lsm_ikey_compare(NULL, suffix, tag, row_suffix, row_tag);
}

/* First index with prefix[index] >= x. The loop has no branch that the data decides. */
static inline uint32_t lower_bound(const uint64_t *prefix, uint32_t count, uint64_t x)
{
    const uint64_t *at = prefix;

    if (count == 0)
        return 0;
    while (count > 1) {
        uint32_t half = count / 2;

        at += (size_t)half & -(size_t)(at[half - 1] < x);
        count -= half;
    }
    return (uint32_t)(at - prefix) + (*at < x);
}

/*
 * Many rows may share eight bytes: versions of one key, or keys that differ
 * later. Find the first row >= (suffix, tag) in [lo, count).
 */
static uint32_t seek_equal_prefixes(const struct lsm_block *block, uint32_t lo, uint64_t x,
                                    struct lsm_slice suffix, uint64_t tag)
{
    uint32_t hi = block->count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (block->key_prefix[mid] == x && compare_row(block, mid, suffix, tag) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint32_t seek_with(const struct lsm_block *block, const struct lsm_comparator *cmp,
                          struct lsm_slice key, uint64_t tag)
{
    uint32_t lo = 0, hi = block->count;

    assert(block->prefix_size == 0);            /* the block was made for this comparator */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct lsm_slice row_key, value;
        uint64_t row_tag;

        lsm_block_row(block, mid, &row_key, &row_tag, &value);
        if (lsm_ikey_compare(cmp, key, tag, row_key, row_tag) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t lsm_block_seek(const struct lsm_block *block, const struct lsm_comparator *cmp,
                        struct lsm_slice key, uint64_t tag)
{
    uint32_t skip = block->prefix_size, i;
    uint64_t x;

    if (cmp)
        return seek_with(block, cmp, key, tag);

    if (skip) {
        size_t common = key.size < skip ? key.size : skip;
        int c = common ? memcmp(key.data, block->prefix, common) : 0;

        if (c)
            return c < 0 ? 0 : block->count;
        if (key.size < skip)
            return 0;
    }

    x = prefix_behind(key, skip);
    i = lower_bound(block->key_prefix, block->count, x);
    if (i == block->count || block->key_prefix[i] != x)
        return i;
    if (skip)
        key = lsm_slice(key.data + skip, key.size - skip);
    if (compare_row(block, i, key, tag) <= 0)
        return i;
    return seek_equal_prefixes(block, i + 1, x, key, tag);
}

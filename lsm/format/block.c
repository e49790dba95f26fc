/*
 * block.c -- building and reading sorted blocks.
 *
 * In memory a block is one allocation, so that a cached block costs one free
 * and a search touches neighbours:
 *
 *     struct | key_prefix[count] | off[count + 1] | payload | eight zeros
 *
 * (no off[] where all rows have one size). The zeros let the eight bytes at any
 * suffix and any value be read in one piece, wanted or not, which spares
 * lsm_block_row a branch. Loading is on the path of every cache miss: one walk
 * finds the rows, checks them, and compares neighbours by their prefixes.
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
#define SIZES_SIZE_MIN 2u                       /* two varints */
#define PENDING_HEADER_SIZE 8u                  /* a row in the builder: key size, value size */
#define PAD_SIZE 8u                             /* zeros: eight bytes can be read anywhere */

_Static_assert(sizeof(struct lsm_block) % 8 == 0, "key_prefix follows the struct");
_Static_assert(LSM_KEY_SIZE_MAX >= UINT16_MAX, "a prefix is never over the limit");

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
    lsm_block_builder_reset(b);
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
    b->has_one_tag = b->is_fixed = true;
    b->value_size = 0;
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

    if (b->count == 0)
        b->value_size = (uint32_t)value.size;
    else if (key.size != b->last_key.size || value.size != b->value_size)
        b->is_fixed = false;
    if (b->count && tag != b->last_tag)
        b->has_one_tag = false;

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
    size_t count = b->count, sizes = 3;         /* of a row's two varints, as a rule */
    size_t bytes = b->rows.size - count * (PENDING_HEADER_SIZE + LSM_TAG_SIZE + b->prefix_size);

    if (count == 0)
        return HEADER_SIZE;
    return HEADER_SIZE + b->prefix_size + bytes + (b->has_one_tag ? 1 : count) * LSM_TAG_SIZE +
           (b->is_fixed ? 1 : count) * sizes;
}

static uint8_t *put_sizes(uint8_t *p, uint32_t suffix_size, uint32_t value_size)
{
    p += lsm_varint_put(p, suffix_size);
    return p + lsm_varint_put(p, value_size);
}

int lsm_block_builder_finish(struct lsm_block_builder *b, struct lsm_buf *out)
{
    uint32_t count = b->count, prefix_size = b->prefix_size;
    bool has_one_tag = b->has_one_tag && count, is_fixed = b->is_fixed && count > 1;
    uint64_t size = HEADER_SIZE + prefix_size;
    uint8_t *start, *p;

    check_builder(b);
    if (b->rc)
        return b->rc;

    size += (uint64_t)(has_one_tag ? 1 : count) * LSM_TAG_SIZE;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *row = b->rows.data + lsm_get_u32(b->starts.data + (size_t)i * 4);
        uint32_t suffix_size = lsm_get_u32(row) - prefix_size, value_size = lsm_get_u32(row + 4);

        if (i == 0 || !is_fixed)
            size += lsm_varint_size(suffix_size) + lsm_varint_size(value_size);
        size += (uint64_t)suffix_size + value_size;
    }
    if (size > UINT32_MAX)
        return b->rc = lsm_fail(LSM_TOOBIG, "a block would pass 4 GiB");
    if (lsm_buf_reserve(out, size) != LSM_OK)
        return b->rc = out->rc;

    p = start = out->data + out->size;
    lsm_put_u32(p, count);
    lsm_put_u16(p + 4, (uint16_t)prefix_size);
    lsm_put_u16(p + 6, (uint16_t)((has_one_tag ? LSM_BLOCK_ONE_TAG : 0) |
                                  (is_fixed ? LSM_BLOCK_FIXED : 0)));
    p += HEADER_SIZE;
    if (prefix_size)
        memcpy(p, b->last_key.data, prefix_size);
    p += prefix_size;
    if (has_one_tag) {
        lsm_put_be64(p, ~b->last_tag);
        p += LSM_TAG_SIZE;
    }
    if (is_fixed)
        p = put_sizes(p, (uint32_t)b->last_key.size - prefix_size, b->value_size);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *row = b->rows.data + lsm_get_u32(b->starts.data + (size_t)i * 4);
        uint32_t suffix_size = lsm_get_u32(row) - prefix_size, value_size = lsm_get_u32(row + 4);
        const uint8_t *suffix = row + PENDING_HEADER_SIZE + prefix_size;

        if (!is_fixed)
            p = put_sizes(p, suffix_size, value_size);
        if (has_one_tag) {
            memcpy(p, suffix, suffix_size);
            p += suffix_size;
            memcpy(p, suffix + suffix_size + LSM_TAG_SIZE, value_size);
            p += value_size;
        } else {
            memcpy(p, suffix, (size_t)suffix_size + LSM_TAG_SIZE + value_size);
            p += (size_t)suffix_size + LSM_TAG_SIZE + value_size;
        }
    }
    assert((uint64_t)(p - start) == size);
    out->size += size;
    return LSM_OK;
}

/* ---- checking ---- */

/* The first eight bytes of `size` bytes at p, behind which eight more may be read. */
static inline uint64_t prefix_in_row(const uint8_t *p, size_t size)
{
    uint64_t v = lsm_get_be64(p);

    if (size >= 8)
        return v;
    return size ? v & ~UINT64_C(0) << (64 - 8 * size) : 0;
}

/* Row i - 1 is before row i. */
static bool is_ascending(const struct lsm_block *block, const struct lsm_comparator *cmp,
                         uint32_t i)
{
    struct lsm_slice a, b, value;
    uint64_t a_tag, b_tag;

    lsm_block_row(block, i - 1, &a, &a_tag, &value);
    lsm_block_row(block, i, &b, &b_tag, &value);
    return lsm_ikey_compare(cmp, a, a_tag, b, b_tag) < 0;
}

/* Row i lies within the block, its suffix at p. NULL, or what is wrong with it. */
static inline const char *check_row(struct lsm_block *block, uint32_t i, const uint8_t *p,
                                    uint64_t suffix_size, bool is_bytewise)
{
    uint64_t prefix = prefix_in_row(p, suffix_size);

    block->key_prefix[i] = prefix;
    if (suffix_size > LSM_KEY_SIZE_MAX - block->prefix_size)
        return "a key is over the limit";
    if (block->tag_size && lsm_tag_kind(~lsm_get_be64(p + suffix_size)) >= LSM_KIND_VOID)
        return "a row's kind is unknown";
    if (is_bytewise && i && prefix <= block->key_prefix[i - 1] &&
        (prefix < block->key_prefix[i - 1] || !is_ascending(block, NULL, i)))
        return "rows are not in order";
    return NULL;
}

/*
 * Read a row's sizes: the bytes they take, or 0: malformed. A key size of one byte
 * and a value size of one or two are the rule; a mix of these costs no branch
 * that would be guessed wrong (200 ns a block).
 */
static inline size_t get_sizes(const uint8_t *p, const uint8_t *end, uint64_t *suffix_size,
                               uint64_t *value_size)
{
    size_t n, more;

    if (end - p >= 3 && p[0] < 0x80) {
        size_t is_long = p[1] >> 7, high = p[2];

        if (!(is_long & (high - 1 >= 0x7f))) {          /* one byte, or two of good form */
            *suffix_size = p[0];
            *value_size = (p[1] & 0x7f) | (high << 7 & -is_long);
            return 2 + is_long;
        }
    }
    n = lsm_varint_get(p, end, suffix_size);
    if (n == 0)
        return 0;
    more = lsm_varint_get(p + n, end, value_size);
    return more ? n + more : 0;
}

/*
 * The rows that nearly every block has, and nothing but them: a suffix of 8 to 127
 * bytes, a value size of one or two bytes, and eight bytes that ascend. One test a
 * row for all of it, and no branch that would be guessed wrong. Returns how many
 * rows it took, from the first on; *at is where the next begins. The rest, good or
 * bad, is walk_rows'.
 */
static inline uint32_t walk_plain(struct lsm_block *block, size_t *at, const uint32_t tag_size)
{
    const uint8_t *data = block->data;
    const uint32_t count = block->count;
    const size_t end = block->size;
    uint64_t *key_prefix = block->key_prefix, before = 0;
    uint32_t *off = block->off + 1, i;
    size_t here = *at;

    for (i = 0; i < count; i++) {
        uint32_t sizes = lsm_get_u32(data + here);      /* PAD_SIZE zeros follow the last row */
        uint32_t is_long = sizes >> 15 & 1, suffix_size = sizes & 0xff;
        uint32_t value_size = (sizes >> 8 & 0x7f) | (sizes >> 9 & 0x3f80 & -is_long);
        size_t suffix = here + 2 + is_long;
        size_t next = suffix + suffix_size + tag_size + value_size;
        uint32_t bad_size = (suffix_size - 8 > 0x7f - 8) |
                            (is_long & ((sizes >> 16 & 0xff) - 1 >= 0x7f));
        uint64_t prefix;

        if (bad_size | (next > end))
            break;
        prefix = lsm_get_be64(data + suffix);
        if (prefix <= before)               /* also a first one of zeros: rare */
            break;
        if (tag_size && lsm_tag_kind(~lsm_get_be64(data + suffix + suffix_size)) >= LSM_KIND_VOID)
            break;
        key_prefix[i] = before = prefix;
        off[i] = (uint32_t)next;
        here = next;
    }
    *at = here;
    return i;
}

/* Rows with sizes of their own, from p to the end: find where each begins. */
static const char *walk_rows(struct lsm_block *block, const uint8_t *p, bool is_bytewise)
{
    const uint8_t *data = block->data, *end = data + block->size;
    const uint32_t tag_size = block->tag_size;
    uint32_t *off = block->off, i = 0;
    size_t at = (size_t)(p - data);

    off[0] = (uint32_t)at;
    if (is_bytewise && block->prefix_size <= LSM_KEY_SIZE_MAX - 0x7f)
        i = tag_size ? walk_plain(block, &at, LSM_TAG_SIZE) : walk_plain(block, &at, 0);
    p = data + at;
    for (; i < block->count; i++) {
        uint64_t suffix_size, value_size;
        const uint8_t *next;
        const char *bad;
        size_t left, n = get_sizes(p, end, &suffix_size, &value_size);

        if (n == 0)
            return "a row's sizes are malformed";
        p += n;
        left = (size_t)(end - p);
        if (left < tag_size || suffix_size > left - tag_size)
            return "a key passes the end of its block";
        if (value_size > left - tag_size - suffix_size)
            return "a value passes the end of its block";
        next = p + suffix_size + tag_size + value_size;
        off[i + 1] = (uint32_t)(next - data);
        bad = check_row(block, i, p, suffix_size, is_bytewise);
        if (bad)
            return bad;
        p = next;
    }
    return p == end ? NULL : "bytes follow the last row of a block";
}

/*
 * The order of rows of one size with suffixes of eight bytes or more, and their kinds, in one
 * pass without a branch. False: it is not plain. Nearly every block's is, wherever keys
 * are of one size.
 */
static inline bool is_plain_fixed(struct lsm_block *block, const uint8_t *p, const bool has_tags)
{
    const uint32_t row_size = block->row_size, suffix_size = block->suffix_size;
    uint64_t *key_prefix = block->key_prefix, before;
    unsigned is_unclear = 0;

    key_prefix[0] = before = lsm_get_be64(p);
    if (has_tags)
        is_unclear |= lsm_tag_kind(~lsm_get_be64(p + suffix_size)) >= LSM_KIND_VOID;
    for (uint32_t i = 1; i < block->count; i++) {
        uint64_t prefix;

        p += row_size;
        key_prefix[i] = prefix = lsm_get_be64(p);
        is_unclear |= prefix <= before;
        before = prefix;
        if (has_tags)
            is_unclear |= lsm_tag_kind(~lsm_get_be64(p + suffix_size)) >= LSM_KIND_VOID;
    }
    return !is_unclear;
}

/* Rows of one size, which decode_head saw to fill the block: all that is left to check is what is
   in them. */
static const char *walk_fixed(struct lsm_block *block, const uint8_t *p, bool is_bytewise)
{
    if (is_bytewise && block->suffix_size >= 8 &&
        block->suffix_size <= LSM_KEY_SIZE_MAX - block->prefix_size &&
        (block->tag_size ? is_plain_fixed(block, p, true) : is_plain_fixed(block, p, false)))
        return NULL;
    for (uint32_t i = 0; i < block->count; i++, p += block->row_size) {
        const char *bad = check_row(block, i, p, block->suffix_size, is_bytewise);

        if (bad)
            return bad;
    }
    return NULL;
}

static size_t memory_for(uint32_t count, size_t size, bool is_fixed)
{
    return sizeof(struct lsm_block) + (size_t)count * 8 + (is_fixed ? 0 : ((size_t)count + 1) * 4) +
           size + PAD_SIZE;
}

/* A block with room for its arrays and `size` bytes at *data. NULL: no memory. */
static struct lsm_block *block_alloc(struct lsm_os *os, const struct lsm_block *like, uint32_t size,
                                     uint8_t **data)
{
    bool is_fixed = like->row_size > 0;
    struct lsm_block *b = lsm_mem_alloc(os, memory_for(like->count, size, is_fixed));

    if (!b)
        return NULL;
    *b = *like;
    b->os = os;
    b->size = size;
    b->key_prefix = (uint64_t *)(b + 1);
    b->off = (uint32_t *)(b->key_prefix + b->count);
    *data = (uint8_t *)(b->off + (is_fixed ? 0 : b->count + 1));
    memset(*data + size, 0, PAD_SIZE);
    b->data = *data;
    return b;
}

/* Replace a checked block by one whose rows have whole keys and which has no common prefix. */
static int make_whole(struct lsm_block **block, const char *file, uint64_t off)
{
    struct lsm_block *b = *block, *whole, like = *b;
    struct lsm_slice suffix, value;
    uint64_t tag, size = 0;
    uint8_t *data, *p;

    for (uint32_t i = 0; i < b->count; i++) {
        lsm_block_row(b, i, &suffix, &tag, &value);
        if (!b->row_size)
            size += lsm_varint_size(b->prefix_size + suffix.size) + lsm_varint_size(value.size);
        size += b->prefix_size + suffix.size + b->tag_size + value.size;
    }
    if (size > UINT32_MAX)
        return lsm_corrupt(file, off, "a block's keys would pass 4 GiB");
    like.prefix_size = 0;
    if (b->row_size) {
        like.suffix_size += b->prefix_size;
        like.row_size += b->prefix_size;
    }
    whole = block_alloc(b->os, &like, (uint32_t)size, &data);
    if (!whole)
        return lsm_nomem();

    p = data;
    for (uint32_t i = 0; i < b->count; i++) {
        size_t rest;

        lsm_block_row(b, i, &suffix, &tag, &value);
        rest = suffix.size + b->tag_size + value.size;
        if (!b->row_size) {
            whole->off[i] = (uint32_t)(p - data);
            p = put_sizes(p, (uint32_t)(b->prefix_size + suffix.size), (uint32_t)value.size);
        }
        memcpy(p, b->prefix, b->prefix_size);
        memcpy(p + b->prefix_size, suffix.data, rest);
        whole->key_prefix[i] = prefix_in_row(p, b->prefix_size + suffix.size);
        p += b->prefix_size + rest;
    }
    assert((uint64_t)(p - data) == size);
    if (!b->row_size)
        whole->off[b->count] = (uint32_t)size;
    whole->prefix = whole->rows = data;
    whole->prefix_head = 0;
    lsm_block_free(b);
    *block = whole;
    return LSM_OK;
}

/* What stands before the rows, into *head, and where they begin. Behind it count and sizes are such
   that the payload can hold them. */
static const char *decode_head(struct lsm_slice payload, struct lsm_block *head, uint32_t *rows_off)
{
    const uint8_t *p = payload.data, *end;
    uint32_t flags;

    if (payload.size < HEADER_SIZE || payload.size > UINT32_MAX)
        return "a block is shorter than its header or longer than 4 GiB";
    end = p + payload.size;
    *head = (struct lsm_block){ .count = lsm_get_u32(p), .prefix_size = lsm_get_u16(p + 4) };
    flags = lsm_get_u16(p + 6);
    head->tag_size = flags & LSM_BLOCK_ONE_TAG ? 0 : LSM_TAG_SIZE;
    if (flags & ~(LSM_BLOCK_ONE_TAG | LSM_BLOCK_FIXED))
        return "a block has unknown flags";
    if (head->count == 0 && payload.size != HEADER_SIZE)
        return "a block without rows is not empty";
    p += HEADER_SIZE;
    if (head->prefix_size > (size_t)(end - p))
        return "the common prefix passes the end of the block";
    p += head->prefix_size;
    if (flags & LSM_BLOCK_ONE_TAG) {
        if (LSM_TAG_SIZE > (size_t)(end - p))
            return "the common tag passes the end of the block";
        head->tag = ~lsm_get_be64(p);
        if (lsm_tag_kind(head->tag) >= LSM_KIND_VOID)
            return "the rows' kind is unknown";
        p += LSM_TAG_SIZE;
    }
    if (flags & LSM_BLOCK_FIXED) {
        uint64_t suffix_size, value_size;
        size_t left, n = get_sizes(p, end, &suffix_size, &value_size);

        if (n == 0)
            return "the sizes of all rows are malformed";
        p += n;
        left = (size_t)(end - p);
        if (suffix_size > left || value_size > left - suffix_size)
            return "a row passes the end of the block";
        head->suffix_size = (uint32_t)suffix_size;
        head->row_size = (uint32_t)(suffix_size + value_size) + head->tag_size;
        if (head->row_size == 0 || (uint64_t)head->row_size * head->count != left)
            return "rows of one size do not fill the block";
    } else if (head->count > (size_t)(end - p) / (SIZES_SIZE_MIN + head->tag_size)) {
        return "a block claims more rows than it can hold";
    }
    *rows_off = (uint32_t)(p - payload.data);
    return NULL;
}

int lsm_block_new(struct lsm_os *os, struct lsm_slice payload, const struct lsm_comparator *cmp,
                  const char *file, uint64_t off, struct lsm_block **block)
{
    struct lsm_block *b, head;
    uint32_t rows_off;
    const char *bad;
    uint8_t *data;
    int rc = LSM_OK;

    *block = NULL;
    bad = decode_head(payload, &head, &rows_off);
    if (bad)
        return lsm_corrupt(file, off, bad);
    b = block_alloc(os, &head, (uint32_t)payload.size, &data);
    if (!b)
        return lsm_nomem();
    memcpy(data, payload.data, payload.size);
    b->prefix = data + HEADER_SIZE;
    b->prefix_head = lsm_slice_prefix(lsm_slice(b->prefix, b->prefix_size));
    b->rows = data + rows_off;

    if (b->row_size)
        bad = walk_fixed(b, b->rows, !cmp);
    else
        bad = walk_rows(b, b->rows, !cmp);
    if (!bad && cmp && b->prefix_size)
        rc = make_whole(&b, file, off);
    for (uint32_t i = 1; cmp && i < b->count && !bad && rc == LSM_OK; i++)
        if (!is_ascending(b, cmp, i))
            bad = "rows are not in order";
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
    return memory_for(block->count, block->size, block->row_size > 0);
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

/* First index with prefix[index] >= x. The loop has no branch that the data decides, so nothing
   guesses where it goes: both places that it may look at next are fetched, while they are far apart. */
static inline uint32_t lower_bound(const uint64_t *prefix, uint32_t count, uint64_t x)
{
    const uint64_t *at = prefix;

    if (count == 0)
        return 0;
    while (count > 16) {
        uint32_t half = count / 2;

        __builtin_prefetch(at + half / 2);
        __builtin_prefetch(at + half + half / 2);
        at += (size_t)half & -(size_t)(at[half - 1] < x);
        count -= half;
    }
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

int lsm_block_compare_prefix(const struct lsm_block *block, struct lsm_slice key)
{
    uint32_t size = block->prefix_size;
    size_t common = key.size < size ? key.size : size;
    int c;

    if (size == 0)
        return 0;
    if (size <= 8 && key.size >= 8) {
        uint64_t head = lsm_get_be64(key.data) & UINT64_MAX << (64 - 8 * size);

        return (head > block->prefix_head) - (head < block->prefix_head);
    }
    c = common ? memcmp(key.data, block->prefix, common) : 0;
    return c ? c : -(key.size < size);
}

uint32_t lsm_block_seek(const struct lsm_block *block, const struct lsm_comparator *cmp,
                        struct lsm_slice key, uint64_t tag)
{
    uint32_t skip = block->prefix_size, i;
    uint64_t x;

    if (cmp)
        return seek_with(block, cmp, key, tag);

    if (skip) {
        int c = lsm_block_compare_prefix(block, key);

        if (c)
            return c < 0 ? 0 : block->count;
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

/* ---- rows of two blocks ---- */

/* One key's two pieces, the block's common prefix and the row's suffix, against another's. */
static int compare_pieces(struct lsm_slice a_prefix, struct lsm_slice a, struct lsm_slice b_prefix,
                          struct lsm_slice b)
{
    size_t common = a_prefix.size < b_prefix.size ? a_prefix.size : b_prefix.size, more, n;
    int c = common ? memcmp(a_prefix.data, b_prefix.data, common) : 0;

    if (c)
        return c;
    if (a_prefix.size > common) {               /* its rest is against the beginning of b */
        more = a_prefix.size - common;
        n = more < b.size ? more : b.size;
        c = n ? memcmp(a_prefix.data + common, b.data, n) : 0;
        if (c || n < more)
            return c ? c : 1;
        b = lsm_slice(b.data + n, b.size - n);
    } else if (b_prefix.size > common) {
        more = b_prefix.size - common;
        n = more < a.size ? more : a.size;
        c = n ? memcmp(a.data, b_prefix.data + common, n) : 0;
        if (c || n < more)
            return c ? c : -1;
        a = lsm_slice(a.data + n, a.size - n);
    }
    return lsm_slice_compare(a, b);
}

int lsm_block_compare(const struct lsm_comparator *cmp, const struct lsm_block *a, uint32_t i,
                      const struct lsm_block *b, uint32_t j)
{
    struct lsm_slice a_key, b_key, value;
    uint64_t a_tag, b_tag;
    int c;

    lsm_block_row(a, i, &a_key, &a_tag, &value);
    lsm_block_row(b, j, &b_key, &b_tag, &value);
    c = cmp ? lsm_key_compare(cmp, a_key, b_key)
            : compare_pieces(lsm_slice(a->prefix, a->prefix_size), a_key,
                             lsm_slice(b->prefix, b->prefix_size), b_key);
    if (c)
        return c;
    return a_tag > b_tag ? -1 : a_tag < b_tag;
}

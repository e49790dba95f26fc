/*
 * train.c -- see train.h.
 *
 * The samples are parsed as zstd's fast levels do, roughly: a greedy look for matches in the
 * content and in the sample itself. What comes out is counted, and each symbol once more, so that
 * every table holds for every value: then zstd uses it without a look at the value first.
 *
 * Threads: pure.
 */
#include "lsm/format/train.h"

#include <assert.h>

#include "lsm/util/coding.h"

#define MAGIC 0xec30a437u
#define LITERALS 256u
#define LITERAL_BITS_MAX 11u
#define LITERAL_LENGTHS 36u
#define MATCH_LENGTHS 53u
#define OFFSETS 32u
#define LENGTH_LOG 9u                   /* the largest that the format allows */
#define OFFSET_LOG 8u
#define WEIGHT_LOG 6u
#define MATCH_MIN 5u
#define TABLE_BITS 12u

static const uint32_t literal_bases[LITERAL_LENGTHS - 16] = {
    16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536,
};
static const uint32_t match_bases[MATCH_LENGTHS - 32] = {
    35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539,
};

struct counts {
    uint32_t literals[LITERALS], literal_lengths[LITERAL_LENGTHS], match_lengths[MATCH_LENGTHS],
        offsets[OFFSETS];
};

struct huffman {
    uint32_t weight[2 * LITERALS];
    uint16_t parent[2 * LITERALS];
    bool is_taken[2 * LITERALS];
    uint8_t bits[LITERALS];
    uint32_t longest;
};

/* ---- what the samples need ---- */

/* Places behind which four bytes have this hash: in the content, and in a sample (each its own base). */
struct parse {
    struct lsm_slice content;
    uint32_t in_content[1u << TABLE_BITS], in_sample[1u << TABLE_BITS];
    uint32_t base;                      /* of the sample: places below are of earlier ones */
    uint32_t rep;
    struct counts counts;
    struct huffman huffman;             /* when that is done */
};

static uint32_t hash(const uint8_t *p)
{
    return (uint32_t)((lsm_get_u32(p) + ((uint64_t)p[4] << 32)) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TABLE_BITS));
}

static size_t alike(const uint8_t *a, const uint8_t *a_end, const uint8_t *b, const uint8_t *b_end)
{
    size_t n = 0;

    while (a + n < a_end && b + n < b_end && a[n] == b[n])
        n++;
    return n;
}

/* How many bytes at `at` of the sample are those `offset` bytes back, there or in the content before it. */
static size_t match_at(const struct parse *p, struct lsm_slice s, size_t at, size_t offset)
{
    const uint8_t *end = s.data + s.size, *content_end = p->content.data + p->content.size;

    if (offset <= at)
        return alike(s.data + at - offset, end, s.data + at, end);
    if (offset - at > p->content.size)
        return 0;
    return alike(content_end - (offset - at), content_end, s.data + at, end);
}

static uint32_t find(struct parse *p, struct lsm_slice s, size_t at, size_t *size)
{
    uint32_t h = hash(s.data + at), found[3] = { p->rep, 0, 0 }, best = 0;

    if (p->in_sample[h] > p->base)
        found[1] = (uint32_t)at - (p->in_sample[h] - p->base - 1);
    if (p->in_content[h])
        found[2] = (uint32_t)(at + p->content.size) - (p->in_content[h] - 1);
    p->in_sample[h] = p->base + (uint32_t)at + 1;
    *size = MATCH_MIN - 1;
    for (int i = 0; i < 3; i++) {
        size_t n = found[i] ? match_at(p, s, at, found[i]) : 0;
        if (n > *size) {
            *size = n;
            best = found[i];
            if (i == 0)
                break;
        }
    }
    return best;
}

/* The code of a length: itself up to `direct`, then the last base that is not above it. */
static uint32_t code_of(uint32_t value, uint32_t direct, const uint32_t *bases, uint32_t count)
{
    uint32_t code = 0;

    if (value < bases[0])
        return value - (bases[0] - direct);
    while (code + 1 < count && bases[code + 1] <= value)
        code++;
    return direct + code;
}

static void count_sequence(struct parse *p, size_t literals, size_t match, uint32_t offset)
{
    uint32_t value = offset == p->rep ? 1 : offset + 3, code = 0;

    while (value >> (code + 1))
        code++;
    p->counts.offsets[code]++;
    p->counts.literal_lengths[code_of((uint32_t)literals, 16, literal_bases, LITERAL_LENGTHS - 16)]++;
    p->counts.match_lengths[code_of((uint32_t)match, 32, match_bases, MATCH_LENGTHS - 32)]++;
    p->rep = offset;
}

static void count_sample(struct parse *p, struct lsm_slice s)
{
    size_t at = 0, from = 0, size;

    p->rep = 1;
    while (at + 8 <= s.size) {
        uint32_t offset = find(p, s, at, &size);
        if (offset) {
            count_sequence(p, at - from, size, offset);
            from = at += size;
        } else {
            p->counts.literals[s.data[at++]]++;
        }
    }
    for (; at < s.size; at++)
        p->counts.literals[s.data[at]]++;
    p->base += (uint32_t)s.size + 1;
}

/* ---- tables of shares (FSE) ---- */

/* Shares of 1 << log, together all of it; each symbol has one. */
static void normalize(const uint32_t *counts, uint32_t symbols, uint32_t log, int32_t *shares)
{
    int32_t left = 1 << log;
    uint64_t total = 0;

    for (uint32_t i = 0; i < symbols; i++)
        total += counts[i];
    for (uint32_t i = 0; i < symbols; i++) {
        shares[i] = (int32_t)(((uint64_t)counts[i] << log) / total);
        if (shares[i] == 0)
            shares[i] = -1;             /* less than one, which takes one */
        left -= shares[i] > 0 ? shares[i] : 1;
    }
    while (left) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < symbols; i++)
            most = shares[i] > shares[most] ? i : most;
        shares[most] += left > 0 ? left : -1;   /* those of less than one have taken more than there was */
        left = left > 0 ? 0 : left + 1;
    }
}

/* RFC 8878, 4.1.1; no share is 0. */
static void put_shares(struct lsm_buf *out, const int32_t *shares, uint32_t symbols, uint32_t log)
{
    uint32_t remaining = (1u << log) + 1, threshold = 1u << log, size = log + 1, held = 4;
    uint64_t bits = log - 5;

    for (uint32_t i = 0; i < symbols && remaining > 1; i++) {
        uint32_t value = (uint32_t)(shares[i] + 1), max = 2 * threshold - 1 - remaining;

        remaining -= shares[i] > 0 ? (uint32_t)shares[i] : 1;
        if (value >= threshold)
            value += max;
        bits |= (uint64_t)value << held;
        held += size - (value < max);
        while (remaining < threshold) {
            size--;
            threshold >>= 1;
        }
        for (; held >= 8; held -= 8, bits >>= 8)
            lsm_buf_put_u8(out, (uint8_t)bits);
    }
    assert(remaining == 1);
    if (held)
        lsm_buf_put_u8(out, (uint8_t)bits);
}

static void put_table(struct lsm_buf *out, const uint32_t *counts, uint32_t symbols, uint32_t log)
{
    int32_t shares[MATCH_LENGTHS];

    normalize(counts, symbols, log, shares);
    put_shares(out, shares, symbols, log);
}

/* ---- the table of literals ---- */

static void make_code(struct huffman *h, const uint32_t *counts)
{
    uint32_t nodes = LITERALS;

    memset(h, 0, sizeof *h);
    memcpy(h->weight, counts, LITERALS * sizeof *counts);
    while (nodes < 2 * LITERALS - 1) {
        uint32_t least[2] = { UINT32_MAX, UINT32_MAX };
        for (uint32_t i = 0; i < nodes; i++) {
            if (h->is_taken[i])
                continue;
            if (least[0] == UINT32_MAX || h->weight[i] < h->weight[least[0]]) {
                least[1] = least[0];
                least[0] = i;
            } else if (least[1] == UINT32_MAX || h->weight[i] < h->weight[least[1]]) {
                least[1] = i;
            }
        }
        h->is_taken[least[0]] = h->is_taken[least[1]] = true;
        h->parent[least[0]] = h->parent[least[1]] = (uint16_t)nodes;
        h->weight[nodes++] = h->weight[least[0]] + h->weight[least[1]];
    }
    for (uint32_t i = 0; i < LITERALS; i++) {
        for (uint32_t n = i; n != 2 * LITERALS - 2; n = h->parent[n])
            h->bits[i]++;
        if (h->bits[i] > h->longest)
            h->longest = h->bits[i];
    }
}

/* RFC 8878, 4.1.1: a state is a symbol, how many bits to read, and what they are added to. */
struct state {
    uint8_t symbol, bits;
    uint16_t base;
};

static void make_states(const int32_t *shares, uint32_t symbols, struct state states[1u << WEIGHT_LOG])
{
    uint32_t size = 1u << WEIGHT_LOG, last = size, at = 0, next[LITERAL_BITS_MAX + 1];

    for (uint32_t i = 0; i < symbols; i++) {
        next[i] = shares[i] < 0 ? 1 : (uint32_t)shares[i];
        if (shares[i] < 0)
            states[--last].symbol = (uint8_t)i;
    }
    for (uint32_t i = 0; i < symbols; i++)
        for (int32_t k = 0; k < shares[i]; k++) {
            states[at].symbol = (uint8_t)i;
            do
                at = (at + size / 2 + size / 8 + 3) % size;
            while (at >= last);
        }
    for (uint32_t i = 0; i < size; i++) {
        uint32_t x = next[states[i].symbol]++, bits = WEIGHT_LOG;
        while (x >> (WEIGHT_LOG - bits + 1))
            bits--;
        states[i].bits = (uint8_t)bits;
        states[i].base = (uint16_t)((x << bits) - size);
    }
}

/* The state of a symbol from which bits lead to `next`; without one (`size`), the one that reads most. */
static uint32_t state_to(const struct state *states, uint8_t symbol, uint32_t next)
{
    uint32_t size = 1u << WEIGHT_LOG, best = size;

    for (uint32_t i = 0; i < size; i++) {
        if (states[i].symbol != symbol)
            continue;
        if (next < size ? next >= states[i].base && next < states[i].base + (1u << states[i].bits)
                        : best == size || states[i].bits > states[best].bits)
            best = i;
    }
    return best;
}

/* 4.2.1.2: the weights of all literals but the last, which follows from them. They are read from the end, by two
   states in turn, and so are written from the last one on. */
static void put_weights(struct lsm_buf *out, const uint8_t *weights, uint32_t symbols)
{
    uint32_t counts[LITERAL_BITS_MAX + 1], at[2] = { 1u << WEIGHT_LOG, 1u << WEIGHT_LOG }, held = 0;
    int32_t shares[LITERAL_BITS_MAX + 1];
    struct state states[1u << WEIGHT_LOG];
    size_t size_at = out->size;
    uint64_t bits = 0;

    for (uint32_t i = 0; i < symbols; i++)
        counts[i] = 1;
    for (uint32_t i = 0; i < LITERALS - 1; i++)
        counts[weights[i]]++;
    lsm_buf_put_u8(out, 0);
    normalize(counts, symbols, WEIGHT_LOG, shares);
    put_shares(out, shares, symbols, WEIGHT_LOG);
    make_states(shares, symbols, states);
    for (uint32_t i = LITERALS - 1; i-- > 0;) {
        uint32_t next = at[i % 2];
        at[i % 2] = state_to(states, weights[i], next);
        if (next < 1u << WEIGHT_LOG) {
            bits |= (uint64_t)(next - states[at[i % 2]].base) << held;
            held += states[at[i % 2]].bits;
        }
        for (; held >= 8; held -= 8, bits >>= 8)
            lsm_buf_put_u8(out, (uint8_t)bits);
    }
    bits |= (uint64_t)at[1] << held;
    bits |= (uint64_t)at[0] << (held + WEIGHT_LOG);
    bits |= UINT64_C(1) << (held + 2 * WEIGHT_LOG);             /* where they end */
    for (held += 2 * WEIGHT_LOG + 1; held > 0; held = held > 8 ? held - 8 : 0, bits >>= 8)
        lsm_buf_put_u8(out, (uint8_t)bits);
    if (out->rc == LSM_OK)
        out->data[size_at] = (uint8_t)(out->size - size_at - 1);
}

static void put_literals(struct lsm_buf *out, uint32_t *counts, struct huffman *h)
{
    uint8_t weights[LITERALS];

    for (make_code(h, counts); h->longest > LITERAL_BITS_MAX; make_code(h, counts))
        for (uint32_t i = 0; i < LITERALS; i++)
            counts[i] = counts[i] / 2 + 1;
    for (uint32_t i = 0; i < LITERALS; i++)
        weights[i] = (uint8_t)(h->longest + 1 - h->bits[i]);
    put_weights(out, weights, h->longest + 1);
}

void lsm_train(struct lsm_buf *out, struct lsm_slice content, const uint8_t *samples, const size_t *sizes,
               size_t count)
{
    struct parse *p = out->rc ? NULL : lsm_mem_zalloc(out->os, sizeof *p);

    assert(content.size >= LSM_TRAIN_CONTENT_MIN);
    if (!p) {
        out->rc = out->rc ? out->rc : lsm_nomem();
        return;
    }
    p->content = content;
    for (uint32_t *at = (uint32_t *)(void *)&p->counts; at < (uint32_t *)(void *)(&p->counts + 1); at++)
        *at = 1;
    for (size_t i = 0; i + 8 <= content.size; i++)
        p->in_content[hash(content.data + i)] = (uint32_t)i + 1;
    for (size_t i = 0; i < count; i++) {
        count_sample(p, lsm_slice(samples, sizes[i]));
        samples += sizes[i];
    }
    lsm_buf_put_u32(out, MAGIC);
    lsm_buf_put_u32(out, 0);
    put_literals(out, p->counts.literals, &p->huffman);
    put_table(out, p->counts.offsets, OFFSETS, OFFSET_LOG);
    put_table(out, p->counts.match_lengths, MATCH_LENGTHS, LENGTH_LOG);
    put_table(out, p->counts.literal_lengths, LITERAL_LENGTHS, LENGTH_LOG);
    lsm_buf_put_u32(out, 1);
    lsm_buf_put_u32(out, 4);
    lsm_buf_put_u32(out, 8);
    lsm_buf_append_slice(out, content);
    lsm_mem_free(out->os, p);
}

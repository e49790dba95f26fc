/*
 * record.c -- a transaction record as bytes.
 *
 * Fixed part, by offset:
 *
 *       0  type:u8 flags:u8 zero:u16 op_count:u32      16  hash[16]
 *       8  txid:u64                                    32  nonce:u64
 *      40  base, decided, floor: txid:u64 hash[16], those that the flags do not give;
 *          adopted tables, op_first, ops
 *
 * and of a brief one:
 *
 *       0  type:u8 flags:u8  sum:u64  op_count, txid: varints, ops
 *
 * Of the 192 bytes that a put of 16 + 100 takes in a log in the long form, 42 are a host's: they
 * name a record, and tell it from one of another history. Brief, it takes 160.
 *
 * The hash covers all from the nonce on; what stands before the hash is its
 * seed, so that no bit of a record can change unnoticed. An ABORT has another
 * record's identity in that place: the log's chain vouches for it.
 *
 * Threads: pure.
 */
#include <assert.h>

#include "lsm/format/record.h"
#include "lsm/util/hash.h"

#define HEAD_SIZE 16u                   /* before the hash */
#define HASH_AT 16u
#define HASHED_AT 32u

#define BRIEF_HEAD_SIZE 2u              /* before the sum */
#define BRIEF_SUMMED_AT 10u
#define BRIEF_FLAGS (LSM_RECORD_BASE_ZERO | LSM_RECORD_DECIDED_BASE | LSM_RECORD_FLOOR_DECIDED | LSM_RECORD_BRIEF)

static void hash_record(const uint8_t *bytes, size_t size, const uint8_t uuid[16], uint8_t hash[16])
{
    uint8_t seed[16 + HEAD_SIZE];

    memcpy(seed, uuid, 16);
    memcpy(seed + 16, bytes, HEAD_SIZE);
    lsm_hash128(bytes + HASHED_AT, size - HASHED_AT, lsm_hash64(seed, sizeof(seed), 0), hash);
}

static void sum_brief(const uint8_t *bytes, size_t size, const uint8_t uuid[16], uint8_t hash[16])
{
    uint8_t seed[16 + BRIEF_HEAD_SIZE];

    memcpy(seed, uuid, 16);
    memcpy(seed + 16, bytes, BRIEF_HEAD_SIZE);
    lsm_put_u64(hash, lsm_hash64(bytes + BRIEF_SUMMED_AT, size - BRIEF_SUMMED_AT,
                                 lsm_hash64(seed, sizeof(seed), 0)));
    memset(hash + 8, 0, 8);
}

static void put_token(struct lsm_buf *out, const struct lsm_token *token)
{
    lsm_buf_put_u64(out, token->txid);
    lsm_buf_append(out, token->hash, 16);
}

static struct lsm_token read_token(struct lsm_reader *r)
{
    struct lsm_token token = { .txid = lsm_read_u64(r) };
    struct lsm_slice hash = lsm_read_fixed(r, 16);

    if (!r->bad)
        memcpy(token.hash, hash.data, 16);
    return token;
}

/* Nearly every record repeats what a flag can say: without a host all three tokens are zero. */
static unsigned token_flags(const struct lsm_record *rec)
{
    static const struct lsm_token zero;

    return (lsm_token_equal(&rec->base, &zero) ? LSM_RECORD_BASE_ZERO : 0) |
           (lsm_token_equal(&rec->decided, &rec->base) ? LSM_RECORD_DECIDED_BASE : 0) |
           (lsm_token_equal(&rec->floor, &rec->decided) ? LSM_RECORD_FLOOR_DECIDED : 0);
}

static void put_ops(struct lsm_buf *out, const struct lsm_record *rec)
{
    if (rec->put_ops && lsm_buf_reserve(out, rec->ops_size) == LSM_OK)
        rec->put_ops(rec->put_ops_ctx, out);
    else
        lsm_buf_append_slice(out, rec->ops);
}

static void encode_brief(struct lsm_buf *out, struct lsm_record *rec, const uint8_t uuid[16])
{
    size_t start = out->size;

    lsm_buf_put_u8(out, rec->type);
    lsm_buf_put_u8(out, BRIEF_FLAGS);
    lsm_buf_put_u64(out, 0);
    lsm_buf_put_varint(out, rec->op_count);
    lsm_buf_put_varint(out, rec->id.txid);
    put_ops(out, rec);
    if (out->rc == LSM_OK) {
        sum_brief(out->data + start, out->size - start, uuid, rec->id.hash);
        memcpy(out->data + start + BRIEF_HEAD_SIZE, rec->id.hash, 8);
    }
}

void lsm_record_encode(struct lsm_buf *out, struct lsm_record *rec, const uint8_t uuid[16])
{
    size_t start = out->size;
    unsigned flags = token_flags(rec);

    rec->is_brief = rec->is_brief && rec->type == LSM_RECORD_SOLO && rec->adopted_count == 0 &&
                    rec->op_first <= 1 && (flags | LSM_RECORD_BRIEF) == BRIEF_FLAGS;
    if (rec->is_brief) {
        encode_brief(out, rec, uuid);
        return;
    }

    assert(rec->type >= LSM_RECORD_SOLO && rec->type <= LSM_RECORD_ABORT);
    assert(rec->op_first > 0 || rec->adopted_count == 0);
    if (rec->adopts_vlogs)
        assert(rec->adopted_count > 0);
    if (rec->type == LSM_RECORD_ABORT)
        assert(rec->op_count == 0 && rec->adopted_count == 0);

    lsm_buf_put_u8(out, rec->type);
    lsm_buf_put_u8(out, (uint8_t)(flags | (rec->adopts_vlogs ? LSM_RECORD_VLOGS : 0)));
    lsm_buf_put_u16(out, 0);
    lsm_buf_put_u32(out, rec->op_count);
    put_token(out, &rec->id);
    lsm_buf_put_u64(out, rec->nonce);
    if (!(flags & LSM_RECORD_BASE_ZERO))
        put_token(out, &rec->base);
    if (!(flags & LSM_RECORD_DECIDED_BASE))
        put_token(out, &rec->decided);
    if (!(flags & LSM_RECORD_FLOOR_DECIDED))
        put_token(out, &rec->floor);
    lsm_buf_put_varint(out, rec->adopted_count);
    lsm_buf_append_slice(out, rec->adopted);
    lsm_buf_put_varint(out, rec->op_first ? rec->op_first : 1);
    put_ops(out, rec);

    if (out->rc == LSM_OK && rec->type != LSM_RECORD_ABORT) {
        hash_record(out->data + start, out->size - start, uuid, rec->id.hash);
        memcpy(out->data + start + HASH_AT, rec->id.hash, 16);
    }
}

/* One adopted table and its value logs. No more of them than bytes: a count takes nothing by itself. */
static bool read_adopted_one(struct lsm_reader *r, const struct lsm_record *rec, struct lsm_table_meta *meta,
                             uint32_t *vlog_count)
{
    lsm_table_meta_decode(r, meta);
    *vlog_count = rec->adopts_vlogs ? lsm_read_varint32(r) : 0;
    if (*vlog_count > lsm_reader_left(r))
        r->bad = true;
    return !r->bad;
}

static void skip_vlogs(struct lsm_reader *r, uint32_t count)
{
    struct lsm_vlog_meta meta;

    for (uint32_t i = 0; i < count && !r->bad; i++)
        lsm_vlog_meta_decode(r, &meta);
}

/* The adopted tables, as bytes. Their rows have the numbers below op_first. */
static void read_adopted(struct lsm_reader *r, struct lsm_record *rec)
{
    const uint8_t *start;
    uint64_t op_max = 0;

    rec->adopted_count = lsm_read_varint32(r);
    start = r->p;
    for (uint32_t i = 0; i < rec->adopted_count && !r->bad; i++) {
        struct lsm_table_meta meta;
        uint32_t vlog_count;

        if (read_adopted_one(r, rec, &meta, &vlog_count)) {
            op_max = meta.seq_max > op_max ? meta.seq_max : op_max;
            rec->tree_max = meta.tree > rec->tree_max ? meta.tree : rec->tree_max;
        }
        skip_vlogs(r, vlog_count);
    }
    rec->adopted = lsm_slice(start, (size_t)(r->p - start));
    rec->op_first = lsm_read_varint(r);
    if (rec->op_first <= op_max || rec->op_first > LSM_SEQ_MAX - rec->op_count)
        r->bad = true;
}

/* The ops, as bytes: as many as the record says, and nothing behind them. */
static void read_ops(struct lsm_reader *r, struct lsm_record *rec)
{
    enum lsm_kind kind;
    uint32_t tree;
    struct lsm_slice key, value;

    rec->ops = lsm_slice(r->p, lsm_reader_left(r));
    for (uint32_t i = 0; i < rec->op_count && !r->bad; i++) {
        lsm_op_decode(r, &kind, &tree, &key, &value);
        rec->tree_max = tree > rec->tree_max ? tree : rec->tree_max;
    }
    if (lsm_reader_left(r) != 0)
        r->bad = true;
}

static bool decode_brief(struct lsm_slice bytes, const uint8_t uuid[16], struct lsm_record *rec)
{
    struct lsm_reader r = lsm_reader(lsm_slice(bytes.data + BRIEF_SUMMED_AT, bytes.size - BRIEF_SUMMED_AT));

    *rec = (struct lsm_record){ .type = bytes.data[0], .is_brief = true, .op_first = 1 };
    sum_brief(bytes.data, bytes.size, uuid, rec->id.hash);
    if (memcmp(rec->id.hash, bytes.data + BRIEF_HEAD_SIZE, 8) != 0)
        return false;
    rec->op_count = lsm_read_varint32(&r);
    rec->id.txid = lsm_read_varint(&r);
    read_ops(&r, rec);
    return !r.bad && rec->id.txid <= LSM_TXID_MAX;
}

bool lsm_record_decode(struct lsm_slice bytes, const uint8_t uuid[16], struct lsm_record *rec)
{
    struct lsm_reader r = lsm_reader(bytes);
    uint8_t flags, hash[16];
    uint16_t zero;

    if (bytes.size >= BRIEF_SUMMED_AT && bytes.data[0] == LSM_RECORD_SOLO && bytes.data[1] == BRIEF_FLAGS)
        return decode_brief(bytes, uuid, rec);
    *rec = (struct lsm_record){ .type = lsm_read_u8(&r) };
    flags = lsm_read_u8(&r);
    rec->adopts_vlogs = flags & LSM_RECORD_VLOGS;
    zero = lsm_read_u16(&r);
    rec->op_count = lsm_read_u32(&r);
    rec->id = read_token(&r);
    rec->nonce = lsm_read_u64(&r);
    if (!(flags & LSM_RECORD_BASE_ZERO))
        rec->base = read_token(&r);
    rec->decided = flags & LSM_RECORD_DECIDED_BASE ? rec->base : read_token(&r);
    rec->floor = flags & LSM_RECORD_FLOOR_DECIDED ? rec->decided : read_token(&r);
    if (r.bad || (flags & ~LSM_RECORD_VLOGS) != token_flags(rec) || zero != 0)
        return false;
    if (rec->id.txid > LSM_TXID_MAX || rec->decided.txid > LSM_TXID_MAX || rec->floor.txid > LSM_TXID_MAX)
        return false;

    switch (rec->type) {
    case LSM_RECORD_SOLO:
    case LSM_RECORD_JOINT:
        hash_record(bytes.data, bytes.size, uuid, hash);
        if (memcmp(hash, rec->id.hash, 16) != 0)
            return false;
        break;
    case LSM_RECORD_ABORT:
        break;
    default:
        return false;
    }

    read_adopted(&r, rec);
    read_ops(&r, rec);
    if (rec->type == LSM_RECORD_ABORT && (rec->op_count != 0 || rec->adopted_count != 0))
        return false;
    if (rec->adopts_vlogs && rec->adopted_count == 0)
        return false;
    return !r.bad;
}

static bool has_value(enum lsm_kind kind)
{
    return kind != LSM_KIND_DELETE;
}

static uint8_t *put_bytes(uint8_t *p, struct lsm_slice s)
{
    p += lsm_varint_put(p, s.size);
    if (s.size)
        memcpy(p, s.data, s.size);
    return p + s.size;
}

void lsm_op_encode(struct lsm_buf *out, enum lsm_kind kind, uint32_t tree, struct lsm_slice key,
                   struct lsm_slice value)
{
    uint8_t *p;

    assert(kind < LSM_KIND_VOID);
    assert(key.size <= LSM_KEY_SIZE_MAX);

    /* One reservation for all of it: transactions have many of these. */
    if (lsm_buf_reserve(out, 1 + 3 * LSM_VARINT_SIZE_MAX + key.size + value.size) != LSM_OK)
        return;
    p = out->data + out->size;
    *p++ = (uint8_t)kind;
    p += lsm_varint_put(p, tree);
    p = put_bytes(p, key);
    if (has_value(kind))
        p = put_bytes(p, value);
    out->size = (size_t)(p - out->data);
}

bool lsm_op_decode(struct lsm_reader *r, enum lsm_kind *kind, uint32_t *tree, struct lsm_slice *key,
                   struct lsm_slice *value)
{
    uint8_t k = lsm_read_u8(r);

    if (k >= LSM_KIND_VOID)
        r->bad = true;
    *kind = r->bad ? LSM_KIND_DELETE : (enum lsm_kind)k;
    *tree = lsm_read_varint32(r);
    *key = lsm_read_bytes(r);
    *value = has_value(*kind) ? lsm_read_bytes(r) : lsm_slice(NULL, 0);
    if (key->size > LSM_KEY_SIZE_MAX || value->size > LSM_VALUE_SIZE_MAX)
        r->bad = true;
    if (*kind == LSM_KIND_RANGE_DELETE && value->size > LSM_KEY_SIZE_MAX)
        r->bad = true;
    return !r->bad;
}

void lsm_record_put_adopted(struct lsm_buf *out, const struct lsm_record *rec, const struct lsm_table_meta *meta,
                            const struct lsm_vlog_meta *vlogs, uint32_t vlog_count)
{
    assert(rec->adopts_vlogs || vlog_count == 0);
    lsm_table_meta_encode(out, meta);
    if (rec->adopts_vlogs)
        lsm_buf_put_varint(out, vlog_count);
    for (uint32_t i = 0; i < vlog_count; i++)
        lsm_vlog_meta_encode(out, &vlogs[i]);
}

int lsm_record_next_adopted(struct lsm_reader *r, const struct lsm_record *rec, struct lsm_table_meta *meta,
                            uint32_t *vlog_count)
{
    uint32_t count;
    bool ok = read_adopted_one(r, rec, meta, &count);

    if (vlog_count)
        *vlog_count = count;
    else
        skip_vlogs(r, count);
    if (!ok || r->bad)
        return lsm_corrupt("log", 0, "malformed adopted table in a record whose sum is right");
    return LSM_OK;
}

/* test_record.c -- a record is what its writer wrote, to the bit, or it is not a record. */
#include "lsm/format/record.h"
#include "lsm/util/hash.h"
#include "tests/unit/format_os.h"

static const uint8_t uuid[16] = "0123456789abcdef";

struct sample {
    struct format_os f;
    struct lsm_buf ops, adopted, out;
    struct lsm_record rec;
};

static struct lsm_token token(uint64_t txid, int fill)
{
    struct lsm_token t = { .txid = txid };

    memset(t.hash, fill, sizeof(t.hash));
    return t;
}

static void add_op(struct sample *s, enum lsm_kind kind, uint32_t tree, const char *key, const char *value)
{
    lsm_op_encode(&s->ops, kind, tree, lsm_slice_str(key), lsm_slice_str(value));
    s->rec.op_count++;
}

static void sample_init(struct sample *s, enum lsm_record_type type, bool adopts)
{
    format_os_init(&s->f);
    lsm_buf_init(&s->ops, &s->f.os);
    lsm_buf_init(&s->adopted, &s->f.os);
    lsm_buf_init(&s->out, &s->f.os);
    s->rec = (struct lsm_record){
        .type = (uint8_t)type, .nonce = UINT64_C(0x1122334455667788), .id = token(77, 0xaa),
        .base = token(70, 1), .decided = token(60, 2), .floor = token(50, 3), .op_first = 1,
    };
    if (type != LSM_RECORD_ABORT) {
        add_op(s, LSM_KIND_PUT, 1, "key", "value");
        add_op(s, LSM_KIND_DELETE, 300, "gone", "");
        add_op(s, LSM_KIND_RANGE_DELETE, UINT32_MAX, "a", "z");
        add_op(s, LSM_KIND_VLOG, 2, "", "handle");
        add_op(s, LSM_KIND_PUT, 2, "", "");
    }
    if (adopts) {
        for (uint64_t i = 0; i < 3; i++) {
            struct lsm_table_meta meta = {
                .number = 10 + i, .tree = 1, .entries = 100, .seq_min = i * 100 + 1,
                .seq_max = i * 100 + 100, .smallest = lsm_slice_str("a"), .largest = lsm_slice_str("b"),
            };

            lsm_table_meta_encode(&s->adopted, &meta);
        }
        s->rec.adopted_count = 3;
        s->rec.op_first = 301;
    }
    s->rec.ops = lsm_buf_slice(&s->ops);
    s->rec.adopted = lsm_buf_slice(&s->adopted);
    lsm_record_encode(&s->out, &s->rec, uuid);
    CHECK_OK(s->out.rc);
}

static void sample_clear(struct sample *s)
{
    lsm_buf_clear(&s->ops);
    lsm_buf_clear(&s->adopted);
    lsm_buf_clear(&s->out);
    CHECK_INT(s->f.used, 0);
}

static bool same(const struct lsm_record *a, const struct lsm_record *b)
{
    return a->type == b->type && a->op_count == b->op_count && a->nonce == b->nonce &&
           lsm_token_equal(&a->id, &b->id) && lsm_token_equal(&a->base, &b->base) &&
           lsm_token_equal(&a->decided, &b->decided) && lsm_token_equal(&a->floor, &b->floor) &&
           a->op_first == b->op_first && a->adopted_count == b->adopted_count &&
           lsm_slice_equal(a->adopted, b->adopted) && lsm_slice_equal(a->ops, b->ops);
}

/* Put a right hash over changed bytes: what an attacker can do. */
static void rehash(uint8_t *bytes, size_t size)
{
    uint8_t seed[32];

    memcpy(seed, uuid, 16);
    memcpy(seed + 16, bytes, 16);
    lsm_hash128(bytes + 32, size - 32, lsm_hash64(seed, 32, 0), bytes + 16);
}

TEST(record_of_each_type_comes_back_whole)
{
    for (int type = LSM_RECORD_SOLO; type <= LSM_RECORD_ABORT; type++) {
        for (int adopts = 0; adopts <= (type != LSM_RECORD_ABORT); adopts++) {
            struct lsm_record got;
            struct sample s;

            sample_init(&s, (enum lsm_record_type)type, adopts);
            CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
            CHECK(same(&got, &s.rec));
            sample_clear(&s);
        }
    }
}

TEST(record_of_a_transaction_beyond_the_last_possible_one_is_none)
{
    for (int brief = 0; brief < 2; brief++)
        for (int over = 0; over < 2; over++) {
            struct lsm_record got;
            struct sample s;

            sample_init(&s, LSM_RECORD_SOLO, false);
            lsm_buf_reset(&s.out);
            s.rec.is_brief = brief;
            s.rec.id.txid = LSM_TXID_MAX + (uint64_t)over;
            lsm_record_encode(&s.out, &s.rec, uuid);
            CHECK_OK(s.out.rc);
            CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got) == !over);
            sample_clear(&s);
        }
}

TEST(record_hash_becomes_the_id_and_abort_keeps_the_id_it_is_given)
{
    struct lsm_token given = token(77, 0xaa);
    struct sample s;

    sample_init(&s, LSM_RECORD_SOLO, false);
    CHECK(!lsm_token_equal(&s.rec.id, &given));
    CHECK_MEM(s.out.data + 16, s.rec.id.hash, 16);
    sample_clear(&s);
    sample_init(&s, LSM_RECORD_ABORT, false);
    CHECK(lsm_token_equal(&s.rec.id, &given));
    sample_clear(&s);
}

TEST(record_every_bit_flip_and_every_cut_is_detected)
{
    for (int type = LSM_RECORD_SOLO; type <= LSM_RECORD_JOINT; type++) {
        for (int adopts = 0; adopts < 2; adopts++) {
            struct lsm_record got;
            struct sample s;

            sample_init(&s, (enum lsm_record_type)type, adopts);
            for (size_t bit = 0; bit < s.out.size * 8; bit++) {
                s.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
                if (lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got))
                    test_check(false, __FILE__, __LINE__, "bit flip", " %zu was not seen", bit);
                s.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            for (size_t n = 0; n < s.out.size; n++) {
                uint8_t *copy = malloc(n + 1);

                memcpy(copy, s.out.data, n);
                CHECK(!lsm_record_decode(lsm_slice(copy, n), uuid, &got));
                free(copy);
            }
            lsm_buf_put_u8(&s.out, 0);                      /* a byte too many */
            CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
            sample_clear(&s);
        }
    }
}

TEST(record_with_ops_is_no_abort_after_any_change_of_type)
{
    struct lsm_record got;
    struct sample s;

    for (int adopts = 0; adopts < 2; adopts++) {
        sample_init(&s, LSM_RECORD_SOLO, adopts);
        for (int type = 0; type < 256; type++) {
            s.out.data[0] = (uint8_t)type;
            CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got) == (type == LSM_RECORD_SOLO));
        }
        sample_clear(&s);
    }
}

TEST(record_of_another_store_or_nonce_is_another_record)
{
    struct lsm_record got;
    struct lsm_token id;
    uint8_t other[16];
    struct sample s;

    sample_init(&s, LSM_RECORD_JOINT, false);
    for (size_t bit = 0; bit < 128; bit++) {
        memcpy(other, uuid, 16);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), other, &got));
    }
    id = s.rec.id;
    s.rec.nonce++;
    lsm_buf_reset(&s.out);
    lsm_record_encode(&s.out, &s.rec, uuid);
    CHECK(!lsm_token_equal(&id, &s.rec.id));
    sample_clear(&s);
}

TEST(record_with_a_right_hash_and_wrong_counts_is_refused)
{
    struct lsm_record got;
    struct sample s;

    sample_init(&s, LSM_RECORD_SOLO, true);
    rehash(s.out.data, s.out.size);
    CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    for (uint32_t n = 0; n < 20; n++) {
        lsm_put_u32(s.out.data + 4, n);
        rehash(s.out.data, s.out.size);
        CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got) == (n == 5));
    }
    lsm_put_u32(s.out.data + 4, UINT32_MAX);                /* ends with the bytes, not with the count */
    rehash(s.out.data, s.out.size);
    CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    lsm_put_u32(s.out.data + 4, 5);
    for (int n = 0; n < 128; n++) {                         /* adopted tables */
        s.out.data[112] = (uint8_t)n;
        rehash(s.out.data, s.out.size);
        CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got) == (n == 3));
    }
    for (size_t at = 1; at < 4; at++) {                     /* flags, zero */
        sample_clear(&s);
        sample_init(&s, LSM_RECORD_SOLO, true);
        s.out.data[at] = 1;
        rehash(s.out.data, s.out.size);
        CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    }
    sample_clear(&s);
}

TEST(record_leaves_out_the_tokens_that_repeat)
{
    for (unsigned flags = 0; flags < 8; flags++) {
        struct lsm_record got;
        struct sample s;
        size_t left_out = 0;

        sample_init(&s, LSM_RECORD_JOINT, false);
        lsm_buf_reset(&s.out);
        s.rec.base = flags & LSM_RECORD_BASE_ZERO ? (struct lsm_token){ 0 } : token(70, 1);
        s.rec.decided = flags & LSM_RECORD_DECIDED_BASE ? s.rec.base : token(60, 2);
        s.rec.floor = flags & LSM_RECORD_FLOOR_DECIDED ? s.rec.decided : token(50, 3);
        lsm_record_encode(&s.out, &s.rec, uuid);
        CHECK_OK(s.out.rc);
        for (unsigned bit = 1; bit < 8; bit *= 2)
            left_out += flags & bit ? 24 : 0;
        CHECK(s.out.size == LSM_RECORD_SIZE_MIN + 72 - left_out + s.ops.size);
        CHECK(s.out.data[1] == flags);
        CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
        CHECK(lsm_token_equal(&got.base, &s.rec.base));
        CHECK(lsm_token_equal(&got.decided, &s.rec.decided));
        CHECK(lsm_token_equal(&got.floor, &s.rec.floor));
        sample_clear(&s);
    }
}

TEST(record_in_another_form_than_the_one_that_is_written_is_refused)
{
    struct lsm_record got;
    struct lsm_buf bytes;
    struct sample s;

    sample_init(&s, LSM_RECORD_SOLO, false);        /* flags 0; now its floor twice: as if it were decided's */
    s.rec.floor = s.rec.decided;
    lsm_buf_reset(&s.out);
    lsm_record_encode(&s.out, &s.rec, uuid);
    lsm_buf_init(&bytes, &s.f.os);
    lsm_buf_append(&bytes, s.out.data, 88);
    lsm_buf_append(&bytes, s.out.data + 64, 24);
    lsm_buf_append(&bytes, s.out.data + 88, s.out.size - 88);
    rehash(bytes.data, bytes.size);                 /* FLOOR_DECIDED, and the token all the same */
    CHECK(!lsm_record_decode(lsm_buf_slice(&bytes), uuid, &got));
    bytes.data[1] = 0;
    rehash(bytes.data, bytes.size);
    CHECK(!lsm_record_decode(lsm_buf_slice(&bytes), uuid, &got));
    lsm_buf_clear(&bytes);
    sample_clear(&s);
}

static void brief_init(struct sample *s)
{
    sample_init(s, LSM_RECORD_SOLO, false);
    lsm_buf_reset(&s->out);
    s->rec.base = s->rec.decided = s->rec.floor = (struct lsm_token){ 0 };
    s->rec.is_brief = true;
    lsm_record_encode(&s->out, &s->rec, uuid);
    CHECK_OK(s->out.rc);
}

TEST(record_without_a_host_is_brief_and_comes_back_whole)
{
    static const uint8_t zero[8];
    struct lsm_record got;
    struct sample s;

    brief_init(&s);
    CHECK(s.rec.is_brief);
    CHECK_INT(s.out.size, 2 + 8 + 1 + 1 + s.ops.size);
    CHECK_INT(s.out.data[1], 15);
    CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    CHECK(got.is_brief);
    CHECK_MEM(s.out.data + 2, got.id.hash, 8);
    CHECK_MEM(zero, got.id.hash + 8, 8);
    s.rec.nonce = 0;                    /* it has none */
    CHECK(same(&got, &s.rec));
    sample_clear(&s);
}

TEST(record_every_change_of_a_brief_one_is_detected)
{
    struct lsm_record got;
    uint8_t other[16];
    struct sample s;

    brief_init(&s);
    for (size_t bit = 0; bit < s.out.size * 8; bit++) {
        s.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got))
            test_check(false, __FILE__, __LINE__, "bit flip", " %zu was not seen", bit);
        s.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < s.out.size; n++) {
        uint8_t *copy = malloc(n + 1);

        memcpy(copy, s.out.data, n);
        CHECK(!lsm_record_decode(lsm_slice(copy, n), uuid, &got));
        free(copy);
    }
    for (size_t bit = 0; bit < 128; bit++) {
        memcpy(other, uuid, 16);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), other, &got));
    }
    lsm_buf_put_u8(&s.out, 0);
    CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    sample_clear(&s);
}

TEST(record_that_tells_more_than_a_brief_one_can_is_written_at_length)
{
    for (int what = 0; what < 6; what++) {
        struct lsm_record got;
        struct sample s;

        sample_init(&s, what == 4 ? LSM_RECORD_JOINT : LSM_RECORD_SOLO, what == 3);
        lsm_buf_reset(&s.out);
        s.rec.base = what == 0 ? token(70, 1) : (struct lsm_token){ 0 };
        s.rec.decided = what == 1 ? token(60, 2) : s.rec.base;
        s.rec.floor = what == 2 ? token(50, 3) : s.rec.decided;
        if (what == 5)
            s.rec.op_first = 2;
        s.rec.is_brief = true;
        lsm_record_encode(&s.out, &s.rec, uuid);
        CHECK(!s.rec.is_brief);
        CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
        CHECK(!got.is_brief);
        CHECK(same(&got, &s.rec));
        sample_clear(&s);
    }
}

static bool decodes_with_op_first(uint64_t op_first, bool adopts)
{
    struct lsm_record got;
    struct lsm_buf bytes;
    struct sample s;
    size_t at;
    bool ok;

    sample_init(&s, LSM_RECORD_SOLO, adopts);
    at = 112 + 1 + s.adopted.size;
    lsm_buf_init(&bytes, &s.f.os);
    lsm_buf_append(&bytes, s.out.data, at);
    lsm_buf_put_varint(&bytes, op_first);
    lsm_buf_append_slice(&bytes, lsm_buf_slice(&s.ops));
    rehash(bytes.data, bytes.size);
    ok = lsm_record_decode(lsm_buf_slice(&bytes), uuid, &got);
    if (ok)
        CHECK(got.op_first == op_first);
    lsm_buf_clear(&bytes);
    sample_clear(&s);
    return ok;
}

TEST(record_ops_are_numbered_behind_its_adopted_tables)
{
    CHECK(decodes_with_op_first(1, false));
    CHECK(decodes_with_op_first(1000, false));
    CHECK(!decodes_with_op_first(0, false));
    CHECK(!decodes_with_op_first(300, true));
    CHECK(decodes_with_op_first(301, true));
    CHECK(decodes_with_op_first(LSM_SEQ_MAX - 5, true));
    CHECK(!decodes_with_op_first(LSM_SEQ_MAX - 4, true));
    CHECK(!decodes_with_op_first(UINT64_MAX, true));
}

TEST(record_ops_come_back_in_order)
{
    struct lsm_slice key, value;
    enum lsm_kind kind;
    struct lsm_reader r;
    struct sample s;
    uint32_t tree;

    sample_init(&s, LSM_RECORD_SOLO, false);
    r = lsm_reader(s.rec.ops);
    CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value));
    CHECK(kind == LSM_KIND_PUT && tree == 1 && lsm_slice_equal(key, lsm_slice_str("key")) &&
          lsm_slice_equal(value, lsm_slice_str("value")));
    CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value));
    CHECK(kind == LSM_KIND_DELETE && tree == 300 && key.size == 4 && value.size == 0);
    CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value));
    CHECK(kind == LSM_KIND_RANGE_DELETE && tree == UINT32_MAX &&
          lsm_slice_equal(value, lsm_slice_str("z")));
    CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value));
    CHECK(kind == LSM_KIND_VLOG && key.size == 0 && value.size == 6);
    CHECK(lsm_op_decode(&r, &kind, &tree, &key, &value));
    CHECK(kind == LSM_KIND_PUT && key.size == 0 && value.size == 0);
    CHECK_INT(lsm_reader_left(&r), 0);
    CHECK(!lsm_op_decode(&r, &kind, &tree, &key, &value));
    sample_clear(&s);
}

static bool op_decodes(uint8_t kind_byte, size_t key_size, size_t value_size)
{
    struct lsm_slice key, value;
    enum lsm_kind kind;
    struct format_os f;
    struct lsm_buf out;
    struct lsm_reader r;
    uint8_t *bytes = calloc(1, key_size + value_size + 1);
    uint32_t tree;
    bool ok;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_buf_put_u8(&out, kind_byte);
    lsm_buf_put_varint(&out, 1);
    lsm_buf_put_bytes(&out, lsm_slice(bytes, key_size));
    if (kind_byte != LSM_KIND_DELETE)
        lsm_buf_put_bytes(&out, lsm_slice(bytes, value_size));
    r = lsm_reader(lsm_buf_slice(&out));
    ok = lsm_op_decode(&r, &kind, &tree, &key, &value) && lsm_reader_left(&r) == 0;
    lsm_buf_clear(&out);
    free(bytes);
    return ok;
}

TEST(op_of_an_unknown_kind_or_over_a_limit_is_refused)
{
    for (int kind = 0; kind < 256; kind++)
        CHECK(op_decodes((uint8_t)kind, 3, 3) == (kind <= LSM_KIND_RANGE_DELETE));
    CHECK(op_decodes(LSM_KIND_PUT, LSM_KEY_SIZE_MAX, 3u << 20));
    CHECK(!op_decodes(LSM_KIND_PUT, LSM_KEY_SIZE_MAX + 1, 3));
    CHECK(!op_decodes(LSM_KIND_DELETE, LSM_KEY_SIZE_MAX + 1, 0));
    CHECK(op_decodes(LSM_KIND_RANGE_DELETE, 1, LSM_KEY_SIZE_MAX));
    CHECK(!op_decodes(LSM_KIND_RANGE_DELETE, 1, LSM_KEY_SIZE_MAX + 1));
}

TEST(record_encode_latches_no_memory)
{
    bool done = false;
    struct sample s;

    sample_init(&s, LSM_RECORD_SOLO, true);
    for (long n = 1; n < 50 && !done; n++) {
        lsm_buf_clear(&s.out);
        s.f.fail_at = n;
        lsm_record_encode(&s.out, &s.rec, uuid);
        s.f.fail_at = 0;
        done = s.out.rc == LSM_OK;
        if (!done)
            CHECK_RC(s.out.rc, LSM_NOMEM);
    }
    CHECK(done);
    sample_clear(&s);
}

/* Tables with 0, 1 and 2 value logs. */
static void sample_with_vlogs(struct sample *s)
{
    sample_init(s, LSM_RECORD_SOLO, true);
    lsm_buf_reset(&s->adopted);
    lsm_buf_reset(&s->out);
    s->rec.adopts_vlogs = true;
    for (uint64_t i = 0; i < 3; i++) {
        struct lsm_table_meta meta = {
            .number = 10 + i, .tree = 1, .entries = 100, .seq_min = i * 100 + 1, .seq_max = i * 100 + 100,
            .smallest = lsm_slice_str("a"), .largest = lsm_slice_str("b"),
        };
        struct lsm_vlog_meta vlogs[2];
        for (uint64_t k = 0; k < 2; k++)
            vlogs[k] = (struct lsm_vlog_meta){ .id = 20 + 2 * i + k, .number = 20 + 2 * i + k, .tree = 1,
                                               .size_bytes = 1000, .value_count = 3, .value_bytes = 900, .end = 964 };
        lsm_record_put_adopted(&s->adopted, &s->rec, &meta, vlogs, (uint32_t)i);
    }
    s->rec.adopted = lsm_buf_slice(&s->adopted);
    lsm_record_encode(&s->out, &s->rec, uuid);
    CHECK_OK(s->out.rc);
}

TEST(record_brings_value_logs_with_its_adopted_tables)
{
    struct lsm_record got;
    struct lsm_table_meta meta;
    struct lsm_vlog_meta vlog;
    struct lsm_reader r;
    struct sample s;
    uint32_t count;

    sample_with_vlogs(&s);
    CHECK(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    CHECK(got.adopts_vlogs && same(&got, &s.rec));
    for (int pass = 0; pass < 2; pass++) {      /* read, or passed over */
        r = lsm_reader(got.adopted);
        for (uint32_t i = 0; i < 3; i++) {
            count = i;
            CHECK_OK(lsm_record_next_adopted(&r, &got, &meta, pass ? NULL : &count));
            CHECK_INT(meta.number, 10 + i);
            CHECK_INT(count, i);
            for (uint32_t k = 0; k < count && !pass; k++)
                CHECK(lsm_vlog_meta_decode(&r, &vlog) && vlog.id == 20 + 2 * i + k && vlog.end == 964);
        }
        CHECK_INT(lsm_reader_left(&r), 0);
    }
    sample_clear(&s);
}

TEST(record_whose_value_logs_are_not_well_formed_is_none)
{
    struct lsm_record got;
    struct sample s;

    for (size_t i = 0; i < 3; i++) {
        sample_with_vlogs(&s);
        if (i == 0)                             /* the flag alone */
            s.out.data[1] &= (uint8_t)~LSM_RECORD_VLOGS;
        for (size_t at = 113; i == 1 && at < 113 + s.adopted.size; at++) {      /* no byte crashes it */
            uint8_t was = s.out.data[at];
            s.out.data[at] = 0xff;
            rehash(s.out.data, s.out.size);
            if (lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got))
                CHECK_INT(got.adopted_count, 3);
            s.out.data[at] = was;
        }
        if (i == 2)                             /* without tables */
            s.out.data[112] = 0;
        rehash(s.out.data, s.out.size);
        CHECK_INT(lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got), i == 1);
        sample_clear(&s);
    }
    sample_init(&s, LSM_RECORD_SOLO, false);    /* it adopts nothing */
    s.out.data[1] |= LSM_RECORD_VLOGS;
    rehash(s.out.data, s.out.size);
    CHECK(!lsm_record_decode(lsm_buf_slice(&s.out), uuid, &got));
    sample_clear(&s);
}

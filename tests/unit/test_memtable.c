/*
 * test_memtable.c -- the memtable against a sorted array: random rows of every
 * shape of key, gets at every age, moves in both directions, rows undone.
 */
#include "lsm/store/memtable.h"
#include "tests/test.h"
#include "tests/unit/format_os.h"
#include "tests/unit/oracle.h"

struct at {                     /* where a row of the array lies in the memtable */
    uint32_t off;
    uint64_t tag;
};

static struct lsm_slice random_value(uint8_t bytes[64])
{
    size_t size = test_below(64);

    memset(bytes, (int)test_below(256), size);
    return lsm_slice(bytes, size);
}

/* Newest at or below seq_max. */
static const struct oracle_row *oracle_get(const struct oracle *o, struct lsm_slice key,
                                           uint64_t seq_max)
{
    size_t i = oracle_find(o, key, seq_max << 8 | 0xff);

    if (i < o->count && lsm_key_compare(o->cmp, oracle_key(&o->rows[i]), key) == 0)
        return &o->rows[i];
    return NULL;
}

static bool check_get(const struct oracle *o, struct lsm_memtable *mem, uint32_t tree,
                      struct lsm_slice key, uint64_t seq_max)
{
    const struct oracle_row *row = oracle_get(o, key, seq_max);
    struct lsm_slice value;
    uint64_t tag;

    if (!CHECK_INT(lsm_memtable_get(mem, tree, o->cmp, key, seq_max, 0, &tag, &value), row != NULL))
        return false;
    return !row || (CHECK_INT(tag, row->tag) && CHECK(lsm_slice_equal(value, oracle_value(row))));
}

static void undo(struct oracle *o, struct lsm_memtable *mem, uint32_t off, uint64_t tag)
{
    size_t k = 0;

    lsm_memtable_void(mem, off);
    while (o->rows[k].tag != tag)
        k++;
    oracle_remove(o, k);
}

static void compare_with_array(enum key_kind kind, const struct lsm_comparator *cmp, int rows,
                               int undone_percent)
{
    struct format_os os;
    struct oracle o = { .cmp = cmp };
    struct lsm_memtable *mem;
    struct lsm_iter *it;
    struct at *at = calloc((size_t)rows, sizeof(*at));
    uint64_t shuffle = test_random() | 1;
    size_t at_count = 0;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    CHECK_OK(lsm_memtable_iter_new(mem, 7, cmp, 0, &it));      /* the tree is not there yet */
    CHECK(oracle_check_moves(&o, it, kind, 20));
    for (int i = 0; i < rows; i++) {
        uint8_t key_bytes[96], value_bytes[64];
        struct lsm_slice key = oracle_random_key(kind, key_bytes),
                         value = random_value(value_bytes);
        uint64_t seq =
            test_below(2) ? (uint64_t)i + 1 : ((uint64_t)i * shuffle & 0xffff) << 20 | (uint64_t)i;
        uint64_t tag = lsm_tag(seq, (enum lsm_kind)test_below(LSM_KIND_RANGE_DELETE));

        if (!CHECK_OK(lsm_memtable_add(mem, 7, cmp, key, tag, value)))
            break;
        oracle_add(&o, key, tag, value);
        at[at_count++] = (struct at){ lsm_memtable_newest(mem), tag };
        while (test_below(100) < (uint64_t)undone_percent && at_count > 0) {
            at_count--;
            undo(&o, mem, at[at_count].off, at[at_count].tag);
        }
        if (i % 500 == 100) {
            if (!CHECK_OK(lsm_memtable_check(mem)) || !oracle_check_moves(&o, it, kind, 100))
                break;
        }
        key = oracle_random_key(kind, key_bytes);
        if (!check_get(&o, mem, 7, key, test_below((uint64_t)i * 2 + 1)) ||
            !check_get(&o, mem, 7, key, LSM_SEQ_MAX))
            break;
        if (o.count) {
            const struct oracle_row *row = &o.rows[test_below(o.count)];

            if (!check_get(&o, mem, 7, oracle_key(row), lsm_tag_seq(row->tag)) ||
                !check_get(&o, mem, 7, oracle_key(row), lsm_tag_seq(row->tag) - 1))
                break;
        }
    }
    CHECK_OK(lsm_memtable_check(mem));
    CHECK(oracle_check_moves(&o, it, kind, 3000));
    CHECK_INT(lsm_memtable_rows(mem), rows);
    CHECK_INT(lsm_memtable_tree_rows(mem, 7), rows);
    lsm_memtable_unref(mem);                                    /* the iterator holds it */
    CHECK(oracle_check_moves(&o, it, kind, 20));
    lsm_iter_close(it);
    CHECK_INT(os.used, 0);
    oracle_clear(&o);
    free(at);
}

TEST(memtable_agrees_with_a_sorted_array_for_every_kind_of_key)
{
    for (int kind = 0; kind < KEY_KINDS; kind++)
        compare_with_array((enum key_kind)kind, NULL, test_long() ? 20000 : 3000, 0);
}

TEST(memtable_agrees_with_a_sorted_array_under_a_comparator)
{
    for (int kind = 0; kind < KEY_KINDS; kind++)
        compare_with_array((enum key_kind)kind, &oracle_reverse, test_long() ? 10000 : 1500, 0);
}

/* A memtable and the array that it must agree with, in tree 7. */
struct pair {
    struct format_os os;
    struct oracle o;
    struct lsm_memtable *mem;
    struct lsm_iter *it;
};

static void pair_begin(struct pair *p, const struct lsm_comparator *cmp)
{
    *p = (struct pair){ .o.cmp = cmp };
    format_os_init(&p->os);
    CHECK_OK(lsm_memtable_new(&p->os.os, &p->mem));
    CHECK_OK(lsm_memtable_iter_new(p->mem, 7, cmp, 0, &p->it));
}

static void pair_end(struct pair *p, enum key_kind kind)
{
    CHECK_OK(lsm_memtable_check(p->mem));
    CHECK(oracle_check_moves(&p->o, p->it, kind, 3000));
    lsm_iter_close(p->it);
    lsm_memtable_unref(p->mem);
    CHECK_INT(p->os.used, 0);
    oracle_clear(&p->o);
}

/* Groups of every size, some of them undone, so that the ways of a group lead to nodes that its own rows replace. */
static void compare_groups(enum key_kind kind, const struct lsm_comparator *cmp, uint32_t rows, int undone_percent)
{
    struct pair p;

    pair_begin(&p, cmp);
    for (uint32_t n = 0; n < rows;) {
        struct lsm_memtable_row group[LSM_MEMTABLE_GROUP];
        uint8_t keys[LSM_MEMTABLE_GROUP][96], values[LSM_MEMTABLE_GROUP][64];
        uint32_t count = (uint32_t)test_below(LSM_MEMTABLE_GROUP + 1);

        for (uint32_t i = 0; i < count; i++)
            group[i] = (struct lsm_memtable_row){ 0, 7, lsm_tag(++n, (enum lsm_kind)test_below(LSM_KIND_RANGE_DELETE)),
                                                  oracle_random_key(kind, keys[i]), random_value(values[i]) };
        if (!CHECK_OK(lsm_memtable_add_group(p.mem, 7, cmp, group, count)))
            break;
        for (uint32_t i = 0; i < count; i++)
            oracle_add(&p.o, group[i].key, group[i].tag, group[i].value);
        if (count && test_below(100) < (uint64_t)undone_percent) {
            undo(&p.o, p.mem, lsm_memtable_newest(p.mem), group[count - 1].tag);
        }
    }
    pair_end(&p, kind);
}

TEST(memtable_rows_added_in_groups_agree_with_a_sorted_array)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        compare_groups((enum key_kind)kind, NULL, test_long() ? 20000 : 4000, 0);
        compare_groups((enum key_kind)kind, NULL, 2000, 50);
        compare_groups((enum key_kind)kind, &oracle_reverse, 1500, 20);
    }
}

TEST(memtable_group_that_finds_no_memory_keeps_what_is_in)
{
    struct format_os os;
    struct lsm_memtable *mem;
    uint64_t added = 0, refused = 0;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (uint64_t i = 0; i < 4000 && refused < 20; i++) {
        struct lsm_memtable_row group[LSM_MEMTABLE_GROUP];
        uint8_t keys[LSM_MEMTABLE_GROUP][96];
        uint64_t before = lsm_memtable_rows(mem);

        for (uint32_t k = 0; k < LSM_MEMTABLE_GROUP; k++)
            group[k] = (struct lsm_memtable_row){ 0, 1, lsm_tag(i * 8 + k + 1, LSM_KIND_PUT),
                                                  oracle_random_key(KEY_RANDOM, keys[k]), { 0 } };
        if (i == 1000)
            os.fail_at = 1;
        if (lsm_memtable_add_group(mem, 1, NULL, group, LSM_MEMTABLE_GROUP) == LSM_OK) {
            CHECK_INT(lsm_memtable_rows(mem), before + LSM_MEMTABLE_GROUP);
        } else {
            refused++;
            CHECK(lsm_memtable_rows(mem) < before + LSM_MEMTABLE_GROUP);
        }
        added = lsm_memtable_rows(mem);
    }
    CHECK(refused > 0);
    CHECK(added > 6000);
    CHECK_OK(lsm_memtable_check(mem));
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

/* A row that was expected comes, and finds all it needs; or another one does, that nobody expected. */
static void compare_expected(enum key_kind kind, const struct lsm_comparator *cmp, uint64_t rows)
{
    struct pair p;

    pair_begin(&p, cmp);
    for (uint64_t n = 1; n <= rows; n++) {
        uint8_t key_bytes[96], other_bytes[96];
        static uint8_t value_bytes[LSM_MEMTABLE_EXPECT_MAX];
        struct lsm_slice key = oracle_random_key(kind, key_bytes), other = oracle_random_key(kind, other_bytes);
        uint64_t tag = lsm_tag(n, (enum lsm_kind)test_below(LSM_KIND_RANGE_DELETE));
        size_t size = (size_t)test_below(test_below(40) ? 200 : test_below(10) ? 5000 : sizeof value_bytes - 96);
        bool comes = test_below(10) > 0;

        if (test_below(20) == 0)        /* in another tree, which has it no more */
            CHECK_OK(lsm_memtable_expect(p.mem, 8, NULL, other, 3));
        if (!CHECK_OK(lsm_memtable_expect(p.mem, 7, cmp, comes ? key : other, size)))
            break;
        memset(value_bytes, (int)n, size);
        p.os.fail_at = comes ? 1 : 0;
        if (comes)
            lsm_memtable_add_expected(p.mem, 7, cmp, key, tag, lsm_slice(value_bytes, size));
        else if (!CHECK_OK(lsm_memtable_add(p.mem, 7, cmp, key, tag, lsm_slice(value_bytes, size))))
            break;
        p.os.fail_at = 0;
        oracle_add(&p.o, key, tag, lsm_slice(value_bytes, size));
    }
    p.os.fail_at = 0;
    pair_end(&p, kind);
}

TEST(memtable_row_that_is_expected_finds_its_memory_and_its_place)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        compare_expected((enum key_kind)kind, NULL, test_long() ? 20000 : 3000);
        compare_expected((enum key_kind)kind, &oracle_reverse, 1500);
    }
}

TEST(memtable_void_rows_are_never_seen)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        compare_with_array((enum key_kind)kind, NULL, 2000, 30);
        compare_with_array((enum key_kind)kind, NULL, 2000, 49);
        compare_with_array((enum key_kind)kind, &oracle_reverse, 1000, 40);
    }
}

TEST(memtable_trees_are_apart)
{
    enum { TREES = 300 };
    struct format_os os;
    struct lsm_memtable *mem;
    uint32_t ids[TREES + 1];

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    CHECK_INT(lsm_memtable_trees(mem, ids, TREES), 0);
    for (uint64_t i = 0; i < 20 * TREES; i++) {
        uint32_t tree = (uint32_t)(i * 7919 % TREES) * 1000003u;
        uint8_t key[8];

        lsm_put_be64(key, i / TREES);
        CHECK_OK(lsm_memtable_add(mem, tree, NULL, lsm_slice(key, 8), lsm_tag(i + 1, LSM_KIND_PUT),
                                  lsm_slice(&tree, 4)));
    }
    CHECK_OK(lsm_memtable_check(mem));
    CHECK_INT(lsm_memtable_trees(mem, ids, TREES + 1), TREES);
    for (int i = 1; i < TREES; i++)
        CHECK(ids[i - 1] < ids[i]);
    for (int i = 0; i < TREES; i++) {
        struct lsm_iter *it;
        uint64_t n = 0;

        CHECK_INT(lsm_memtable_tree_rows(mem, ids[i]), 20);
        CHECK_OK(lsm_memtable_iter_new(mem, ids[i], NULL, 0, &it));
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it), n++) {
            CHECK_INT(lsm_get_be64(it->key.data), n);
            CHECK_INT(lsm_get_u32(it->value.data), ids[i]);
        }
        CHECK_INT(n, 20);
        lsm_iter_close(it);
    }
    uint32_t few[3];
    CHECK_INT(lsm_memtable_trees(mem, few, 3), TREES);
    CHECK_MEM(few, ids, sizeof(few));
    CHECK_INT(lsm_memtable_trees(mem, NULL, 0), TREES);
    CHECK(!lsm_memtable_has_tree(mem, 12345));
    CHECK_INT(lsm_memtable_tree_rows(mem, 12345), 0);
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

TEST(memtable_seq_add_moves_every_row)
{
    struct format_os os;
    struct lsm_memtable *mem;
    struct lsm_iter *it;
    struct lsm_slice key = lsm_slice_str("k"), value;
    struct oracle o = { 0 };
    uint64_t tag;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (uint64_t seq = 1; seq <= 40; seq++) {
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, key, lsm_tag(seq, LSM_KIND_PUT), key));
        oracle_add(&o, key, lsm_tag(seq + 1000, LSM_KIND_PUT), key);
    }
    CHECK(!lsm_memtable_get(mem, 1, NULL, key, 999, 1000, &tag, &value));
    CHECK(!lsm_memtable_get(mem, 1, NULL, key, 1000, 1000, &tag, &value));
    CHECK(lsm_memtable_get(mem, 1, NULL, key, 1001, 1000, &tag, &value));
    CHECK_INT(tag, lsm_tag(1001, LSM_KIND_PUT));
    CHECK(lsm_memtable_get(mem, 1, NULL, key, LSM_SEQ_MAX, 1000, &tag, &value));
    CHECK_INT(tag, lsm_tag(1040, LSM_KIND_PUT));
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 1000, &it));
    CHECK(oracle_check_moves(&o, it, KEY_ONE, 2000));
    lsm_iter_seek(it, key, lsm_tag(500, LSM_KIND_PUT));         /* older than all: behind them */
    CHECK(!it->valid);
    lsm_iter_seek_prev(it, key, lsm_tag(500, LSM_KIND_PUT));
    CHECK(it->valid);
    CHECK_INT(it->tag, lsm_tag(1001, LSM_KIND_PUT));
    lsm_iter_close(it);
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
    oracle_clear(&o);
}

TEST(memtable_keeps_large_values_and_keys)
{
    static const size_t sizes[] = { 0, 1, 100, 65535, 300000, 1 << 20, (1 << 20) + 1, 5000000 };
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct format_os os;
    struct lsm_memtable *mem;
    uint8_t *bytes = malloc(5000000), *key = calloc(1, LSM_KEY_SIZE_MAX);
    uint64_t tag;

    format_os_init(&os);
    for (size_t i = 0; i < 5000000; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 4096);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (uint64_t round = 0; round < 3; round++)
        for (size_t i = 0; i < COUNT; i++) {
            key[LSM_KEY_SIZE_MAX - 1] = (uint8_t)i;
            CHECK_OK(lsm_memtable_add(mem, 1, NULL, lsm_slice(key, LSM_KEY_SIZE_MAX),
                                      lsm_tag(round * 10 + 1, LSM_KIND_PUT),
                                      lsm_slice(bytes, sizes[i])));
        }
    CHECK_OK(lsm_memtable_check(mem));
    for (size_t i = 0; i < COUNT; i++) {
        struct lsm_slice value = { 0 };

        key[LSM_KEY_SIZE_MAX - 1] = (uint8_t)i;
        CHECK(
            lsm_memtable_get(mem, 1, NULL, lsm_slice(key, LSM_KEY_SIZE_MAX), 15, 0, &tag, &value));
        CHECK_INT(tag, lsm_tag(11, LSM_KIND_PUT));
        if (CHECK_INT(value.size, sizes[i]))
            CHECK_MEM(value.data, bytes, sizes[i]);
    }
    CHECK(lsm_memtable_bytes(mem) >= 3 * 6700000);
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
    free(bytes);
    free(key);
}

TEST(memtable_lists_rows_in_the_order_they_were_added)
{
    struct format_os os;
    struct lsm_memtable *mem;
    struct lsm_memtable_row row = { 0 };
    uint64_t n = 0;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    CHECK_INT(lsm_memtable_newest(mem), 0);
    CHECK(!lsm_memtable_next_added(mem, 0, &row));
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t key = i * 0x9e3779b97f4a7c15u;

        CHECK_OK(lsm_memtable_add(mem, (uint32_t)i % 3, NULL, lsm_slice(&key, 8),
                                  lsm_tag(i, LSM_KIND_PUT), lsm_slice(&i, 8)));
    }
    while (lsm_memtable_next_added(mem, row.off, &row)) {
        CHECK_INT(row.tree, n % 3);
        CHECK_INT(row.tag, lsm_tag(n, LSM_KIND_PUT));
        CHECK_INT(lsm_get_u64(row.key.data), n * 0x9e3779b97f4a7c15u);
        CHECK_INT(lsm_get_u64(row.value.data), n);
        n++;
    }
    CHECK_INT(n, 1000);
    CHECK_INT(row.off, lsm_memtable_newest(mem));
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

TEST(memtable_add_that_finds_no_memory_changes_nothing)
{
    for (int round = 0; round < 30; round++) {
        struct format_os os;
        struct oracle o = { 0 };
        struct lsm_memtable *mem;
        struct lsm_iter *it;
        enum key_kind kind = round % 3 == 0 ? KEY_RISING : round % 3 == 1 ? KEY_RANDOM : KEY_PATH;
        uint64_t start = test_below(3000), refused = 0;

        format_os_init(&os);
        CHECK_OK(lsm_memtable_new(&os.os, &mem));
        CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
        for (uint64_t i = 0; i < start + 9000 && refused < 30; i++) {
            uint8_t bytes[96], value[120] = { 0 };
            struct lsm_slice key = oracle_random_key(kind, bytes);
            uint64_t rows = lsm_memtable_rows(mem);
            uint32_t newest = lsm_memtable_newest(mem);
            /* another tree now and then, so that a new one is refused too */
            uint32_t tree = i % 16 == 15 ? (uint32_t)i : 1;
            int rc;

            if (i == start)
                os.fail_at = 1;
            rc = lsm_memtable_add(mem, tree, NULL, key, lsm_tag(i + 1, LSM_KIND_PUT),
                                  lsm_slice(value, i % sizeof(value)));
            if (rc == LSM_OK) {
                if (tree == 1)
                    oracle_add(&o, key, lsm_tag(i + 1, LSM_KIND_PUT),
                               lsm_slice(value, i % sizeof(value)));
                continue;
            }
            refused++;
            CHECK_INT(rc, LSM_NOMEM);
            CHECK_INT(lsm_memtable_rows(mem), rows);
            CHECK_INT(lsm_memtable_newest(mem), newest);
        }
        CHECK(refused > 0);
        CHECK_OK(lsm_memtable_check(mem));
        CHECK(oracle_check_moves(&o, it, kind, 50));
        os.fail_at = 0;
        for (uint64_t i = 0; i < 200; i++) {
            uint8_t bytes[96];
            struct lsm_slice key = oracle_random_key(kind, bytes);

            CHECK_OK(lsm_memtable_add(mem, 1, NULL, key, lsm_tag(i + 9000, LSM_KIND_PUT), key));
            oracle_add(&o, key, lsm_tag(i + 9000, LSM_KIND_PUT), key);
        }
        CHECK_OK(lsm_memtable_check(mem));
        CHECK(oracle_check_moves(&o, it, kind, 50));
        lsm_iter_close(it);
        lsm_memtable_unref(mem);
        CHECK_INT(os.used, 0);
        oracle_clear(&o);
    }
}

TEST(memtable_that_cannot_be_made_leaves_nothing)
{
    for (int at = 1; at < 4; at++) {
        struct format_os os;
        struct lsm_memtable *mem = (void *)1;

        format_os_init(&os);
        os.fail_at = at;
        CHECK_RC(lsm_memtable_new(&os.os, &mem), LSM_NOMEM);
        CHECK(!mem);
        CHECK_INT(os.used, 0);
    }
}

TEST(memtable_iterator_that_cannot_be_made_holds_nothing)
{
    struct format_os os;
    struct lsm_memtable *mem;
    struct lsm_iter *it = (void *)1;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    os.fail_at = 1;
    CHECK_RC(lsm_memtable_iter_new(mem, 1, NULL, 0, &it), LSM_NOMEM);
    CHECK(!it);
    CHECK(!lsm_memtable_is_shared(mem));
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
    lsm_memtable_unref(NULL);
}

TEST(memtable_reset_forgets_all_and_keeps_little)
{
    struct format_os os;
    struct lsm_memtable *mem;
    struct lsm_iter *it;
    uint64_t before = 0;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (int round = 0; round < 4; round++) {
        struct oracle o = { 0 };

        for (uint64_t i = 0; i < 5000; i++) {
            uint8_t bytes[96];
            struct lsm_slice key = oracle_random_key(KEY_RANDOM, bytes);

            CHECK_OK(lsm_memtable_add(mem, 3, NULL, key, lsm_tag(i + 1, LSM_KIND_PUT), key));
            oracle_add(&o, key, lsm_tag(i + 1, LSM_KIND_PUT), key);
            if (i % 7 == 0)
                lsm_memtable_void(mem, lsm_memtable_newest(mem)),
                    oracle_remove(&o, oracle_find(&o, key, lsm_tag(i + 1, LSM_KIND_PUT)));
        }
        CHECK_OK(lsm_memtable_check(mem));
        CHECK_OK(lsm_memtable_iter_new(mem, 3, NULL, 0, &it));
        CHECK(oracle_check_moves(&o, it, KEY_RANDOM, 100));
        CHECK(lsm_memtable_is_shared(mem));
        lsm_iter_close(it);
        CHECK(!lsm_memtable_is_shared(mem));
        lsm_memtable_reset(mem);
        CHECK_INT(lsm_memtable_rows(mem), 0);
        CHECK_INT(lsm_memtable_newest(mem), 0);
        CHECK_INT(lsm_memtable_tree_rows(mem, 3), 0);
        CHECK_INT(lsm_memtable_trees(mem, NULL, 0), 0);
        CHECK(lsm_memtable_bytes(mem) < 400 << 10);
        CHECK(lsm_memtable_bytes(mem) <= os.used);
        if (round)
            CHECK_INT(lsm_memtable_bytes(mem), before);
        before = lsm_memtable_bytes(mem);
        oracle_clear(&o);
    }
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

/* An iterator may or may not see rows that come after it, but all that were there, in order. */
TEST(memtable_iterator_finds_all_that_was_there_while_rows_are_added)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        struct format_os os;
        struct oracle o = { 0 };
        struct lsm_memtable *mem;
        uint64_t seq = 1;

        format_os_init(&os);
        CHECK_OK(lsm_memtable_new(&os.os, &mem));
        for (int round = 0; round < 20; round++) {
            bool back = round & 1;
            uint64_t seq_max;
            struct lsm_iter *it;
            size_t i;

            for (int n = 0; n < 20; n++, seq++) {
                uint8_t bytes[96];
                struct lsm_slice key = oracle_random_key((enum key_kind)kind, bytes);

                CHECK_OK(lsm_memtable_add(mem, 1, NULL, key, lsm_tag(seq, LSM_KIND_PUT), key));
                oracle_add(&o, key, lsm_tag(seq, LSM_KIND_PUT), key);
            }
            seq_max = seq - 1;
            CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
            i = back ? o.count - 1 : 0;
            back ? lsm_iter_last(it) : lsm_iter_first(it);
            while (it->valid) {
                if (lsm_tag_seq(it->tag) <= seq_max) {
                    if (!CHECK(i < o.count) || !CHECK_INT(it->tag, o.rows[i].tag))
                        break;
                    i += back ? SIZE_MAX : 1;
                }
                for (uint64_t n = test_below(3); n > 0 && seq < seq_max + 100; n--, seq++) {
                    uint8_t bytes[96];
                    struct lsm_slice key = oracle_random_key((enum key_kind)kind, bytes);

                    CHECK_OK(lsm_memtable_add(mem, 1, NULL, key, lsm_tag(seq, LSM_KIND_PUT), key));
                }
                back ? lsm_iter_prev(it) : lsm_iter_next(it);
            }
            CHECK_INT(i, back ? SIZE_MAX : o.count);
            lsm_iter_close(it);

            /* the array learns what was added meanwhile */
            oracle_clear(&o);
            struct lsm_memtable_row row = { 0 };
            while (lsm_memtable_next_added(mem, row.off, &row))
                oracle_add(&o, row.key, row.tag, row.value);
        }
        CHECK_OK(lsm_memtable_check(mem));
        lsm_memtable_unref(mem);
        CHECK_INT(os.used, 0);
        oracle_clear(&o);
    }
}

TEST(memtable_void_rows_do_not_pile_up)
{
    uint64_t compared = 0;
    struct lsm_comparator cmp = { .name = "counting", .ctx = &compared, .compare = compare_reverse };
    struct lsm_slice key = lsm_slice_str("the one that is tried again and again"), value;
    struct format_os os;
    struct lsm_memtable *mem;
    uint64_t tag;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    CHECK_OK(lsm_memtable_add(mem, 1, &cmp, key, lsm_tag(1, LSM_KIND_PUT), lsm_slice_str("kept")));
    for (uint64_t seq = 2; seq < 100000; seq++) {
        CHECK_OK(lsm_memtable_add(mem, 1, &cmp, key, lsm_tag(seq, LSM_KIND_PUT), key));
        lsm_memtable_void(mem, lsm_memtable_newest(mem));
        CHECK(lsm_memtable_get(mem, 1, &cmp, key, LSM_SEQ_MAX, 0, &tag, &value));
        CHECK_INT(tag, lsm_tag(1, LSM_KIND_PUT));
    }
    CHECK_OK(lsm_memtable_check(mem));
    CHECK(compared < 100000 * 60);      /* quadratic: 5,000,000,000 */
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

TEST(memtable_rows_in_order_fill_their_nodes)
{
    enum { ROWS = 100000, ROW = 24 + 8 };
    struct format_os os;
    struct lsm_memtable *mem;

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (uint64_t i = 0; i < ROWS; i++) {
        uint8_t key[8];

        lsm_put_be64(key, i);
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, lsm_slice(key, 8), lsm_tag(i, LSM_KIND_PUT),
                                  lsm_slice(NULL, 0)));
    }
    CHECK_OK(lsm_memtable_check(mem));
    CHECK(lsm_memtable_bytes(mem) < ROWS * (ROW + 15) + (2 << 20));    /* 192 / 15 + 256 / 225 */
    CHECK(lsm_memtable_used(mem) < ROWS * (ROW + 15) + (192 << 10));
    CHECK(lsm_memtable_used(mem) > ROWS * ROW);
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
}

/* ---- range deletes ---- */

static struct lsm_slice letter(char *c)
{
    return lsm_slice(c, 1);
}

TEST(memtable_range_deletes_show_each_reader_its_own)
{
    struct lsm_os *os = lsm_os_posix_new();

    for (int round = 0; round < (test_long() ? 500 : 60); round++) {
        struct { char lo, hi; uint64_t seq; uint32_t off; } raw[200];
        uint64_t add = test_below(2) * 1000, seq = 0;
        struct lsm_memtable *mem;
        int count = 0, live = 0;

        CHECK_OK(lsm_memtable_new(os, &mem));
        CHECK(!lsm_memtable_has_ranges(mem));
        for (int i = 0; i < 200; i++) {
            if (test_below(20) == 0 && live) {          /* go back: the newest few are undone */
                int kept = (int)test_below((uint64_t)live);
                for (int k = kept; k < live; k++)
                    lsm_memtable_void(mem, raw[k].off);
                live = kept;
                count = kept;
            } else {
                raw[count].lo = (char)('a' + test_below(25));
                raw[count].hi = (char)(raw[count].lo + 1 + (char)test_below((uint64_t)('z' - raw[count].lo)));
                raw[count].seq = seq += 1 + test_below(3);
                CHECK_OK(lsm_memtable_add(mem, 7, NULL, letter(&raw[count].lo),
                                          lsm_tag(seq, LSM_KIND_RANGE_DELETE), letter(&raw[count].hi)));
                raw[count].off = lsm_memtable_newest(mem);
                live = ++count;
            }
            uint64_t at = test_below(seq + 2);
            for (char c = 'a'; c <= 'z'; c++) {
                struct lsm_stretch s;
                uint64_t want = 0;
                for (int k = 0; k < live; k++)
                    if (raw[k].lo <= c && c < raw[k].hi && raw[k].seq <= at)
                        want = raw[k].seq;
                lsm_memtable_range_at(mem, 7, NULL, letter(&c), at + add, add, &s);
                if (!CHECK_INT(s.seq, want ? want + add : 0) ||
                    !CHECK((!s.lo.data || *s.lo.data <= c) && (!s.hi.data || *s.hi.data > c)))
                    return;
            }
        }
        CHECK_INT(lsm_memtable_range_count(mem, 7), live);
        CHECK_INT(lsm_memtable_range_count(mem, 8), 0);
        CHECK_INT(lsm_memtable_has_tree(mem, 7), live > 0);
        for (int k = 0; k < live; k++) {
            struct lsm_slice lo, hi;
            uint64_t s;
            lsm_memtable_range(mem, 7, (uint32_t)k, &lo, &hi, &s);
            CHECK(*lo.data == raw[k].lo && *hi.data == raw[k].hi && s == raw[k].seq);
        }
        CHECK_OK(lsm_memtable_check(mem));
        lsm_memtable_unref(mem);
    }
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/* A log that is trimmed again and again: no more than a few hundred bytes each, however many. */
TEST(memtable_range_deletes_that_grow_cost_n_log_n)
{
    enum { COUNT = 50000 };
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_memtable *mem;
    uint8_t zero[8] = { 0 }, key[8];

    CHECK_OK(lsm_memtable_new(os, &mem));
    for (uint64_t i = 1; i <= COUNT; i++) {
        lsm_put_be64(key, i);
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, lsm_slice(zero, 8), lsm_tag(i, LSM_KIND_RANGE_DELETE),
                                  lsm_slice(key, 8)));
    }
    CHECK(lsm_memtable_bytes(mem) < COUNT * UINT64_C(300));
    lsm_memtable_unref(mem);
    CHECK_OK(lsm_memtable_new(os, &mem));
    for (uint64_t i = 1; i <= COUNT; i++) {             /* side by side, in an order that jumps */
        lsm_put_be64(key, i * 7919 % COUNT * 2);
        uint8_t end[8];
        lsm_put_be64(end, i * 7919 % COUNT * 2 + 1);
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, lsm_slice(key, 8), lsm_tag(i, LSM_KIND_RANGE_DELETE),
                                  lsm_slice(end, 8)));
    }
    printf("  %u bytes a range delete\n", (unsigned)(lsm_memtable_bytes(mem) / COUNT));
    CHECK(lsm_memtable_bytes(mem) < COUNT * UINT64_C(3000));
    lsm_memtable_unref(mem);
    lsm_os_posix_free(os);
}

/* Rows are added by the one function where the key is new, and by the other where it is not. */
static void check_first(enum key_kind kind, const struct lsm_comparator *cmp, int rows)
{
    struct format_os os;
    struct oracle o = { .cmp = cmp };
    struct lsm_memtable *mem;
    bool goes_up = test_below(2);

    format_os_init(&os);
    CHECK_OK(lsm_memtable_new(&os.os, &mem));
    for (int i = 0; i < rows; i++) {
        uint8_t key_bytes[96], value_bytes[64], up[8];
        struct lsm_slice key = oracle_random_key(kind, key_bytes), value = random_value(value_bytes);
        uint64_t tag = lsm_tag((uint64_t)i + 1, LSM_KIND_PUT), before = lsm_memtable_rows(mem);
        bool has = false;
        int rc;

        if (goes_up && !cmp && test_below(3)) {         /* along a run */
            lsm_put_be64(up, (uint64_t)i / 2);
            key = lsm_slice(up, 8);
        }
        for (size_t k = 0; k < o.count && !has; k++)
            has = lsm_key_compare(cmp, oracle_key(&o.rows[k]), key) == 0;
        rc = lsm_memtable_add_first(mem, 7, cmp, key, tag, value);
        if (!CHECK_RC(rc, has ? LSM_EXISTS : LSM_OK) ||
            !CHECK_INT(lsm_memtable_rows(mem), before + !has))
            break;
        if (has)
            CHECK_OK(lsm_memtable_add(mem, 7, cmp, key, tag, value));
        oracle_add(&o, key, tag, value);
        if (!check_get(&o, mem, 7, key, LSM_SEQ_MAX) || (i % 500 == 0 && !CHECK_OK(lsm_memtable_check(mem))))
            break;
    }
    CHECK_OK(lsm_memtable_check(mem));
    lsm_memtable_unref(mem);
    CHECK_INT(os.used, 0);
    oracle_clear(&o);
}

TEST(memtable_add_first_refuses_every_key_that_it_has)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        for (int i = 0; i < 4; i++)
            check_first((enum key_kind)kind, NULL, 3000);
        check_first((enum key_kind)kind, &oracle_reverse, 1000);
    }
}

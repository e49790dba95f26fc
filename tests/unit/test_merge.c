/*
 * test_merge.c -- the merge of sorted sources, and a level of runs, against
 * one sorted array; failures of a source; how much is compared and opened.
 */
#include "lsm/store/memtable.h"
#include "lsm/version/merge.h"
#include "tests/test.h"
#include "tests/unit/format_os.h"
#include "tests/unit/oracle.h"

/* ---- a source: an array, with failures to order ---- */

struct array_iter {
    struct lsm_iter base;
    struct oracle o;
    size_t at;
    int *moves_left;            /* NULL: never fails; shared by all sources */
    int *open;                  /* iterators that live */
};

static void array_show(struct array_iter *a, size_t at)
{
    a->at = at;
    a->base.valid = false;
    if (a->base.rc != LSM_OK)
        return;
    if (a->moves_left && (*a->moves_left)-- == 0) {
        a->base.rc = LSM_IOERR;
        return;
    }
    if (at >= a->o.count)
        return;
    a->base.valid = true;
    a->base.key = oracle_key(&a->o.rows[at]);
    a->base.tag = a->o.rows[at].tag;
    a->base.value = oracle_value(&a->o.rows[at]);
}

static void array_first(struct lsm_iter *it) { array_show((struct array_iter *)it, 0); }
static void array_last(struct lsm_iter *it)
{
    array_show((struct array_iter *)it, ((struct array_iter *)it)->o.count - 1);
}
static void array_seek(struct lsm_iter *it, struct lsm_slice key, uint64_t tag)
{
    array_show((struct array_iter *)it, oracle_find(&((struct array_iter *)it)->o, key, tag));
}
static void array_seek_prev(struct lsm_iter *it, struct lsm_slice key, uint64_t tag)
{
    struct array_iter *a = (struct array_iter *)it;
    size_t i = oracle_find(&a->o, key, tag);

    if (i == a->o.count || lsm_ikey_compare(a->o.cmp, oracle_key(&a->o.rows[i]), a->o.rows[i].tag,
                                            key, tag) != 0)
        i--;
    array_show(a, i);
}
static void array_next(struct lsm_iter *it)
{
    CHECK(it->valid);
    array_show((struct array_iter *)it, ((struct array_iter *)it)->at + 1);
}
static void array_prev(struct lsm_iter *it)
{
    CHECK(it->valid);
    array_show((struct array_iter *)it, ((struct array_iter *)it)->at - 1);
}
static void array_close(struct lsm_iter *it)
{
    struct array_iter *a = (struct array_iter *)it;

    --*a->open;
    oracle_clear(&a->o);
    free(a);
}

static struct array_iter *array_new(const struct lsm_comparator *cmp, int *open)
{
    static const struct lsm_iter_methods methods = {
        .first = array_first, .last = array_last, .seek = array_seek, .seek_prev = array_seek_prev,
        .next = array_next, .prev = array_prev, .close = array_close,
    };
    struct array_iter *a = calloc(1, sizeof(*a));

    a->base.methods = &methods;
    a->o.cmp = cmp;
    a->open = open;
    ++*open;
    return a;
}

/* ---- merge ---- */

static void add_random(struct oracle *all, struct array_iter **sources, size_t count, int rows,
                       enum key_kind kind)
{
    size_t source = 0;

    for (int i = 0; i < rows; i++) {
        uint8_t bytes[96];
        struct lsm_slice key = oracle_random_key(kind, bytes);
        uint64_t tag = lsm_tag((uint64_t)i + 1, (enum lsm_kind)test_below(4));

        if (test_below(4) == 0)
            source = test_below(count);
        oracle_add(all, key, tag, lsm_slice(&i, sizeof(i)));
        oracle_add(&sources[source]->o, key, tag, lsm_slice(&i, sizeof(i)));
    }
}

TEST(merge_agrees_with_one_sorted_array)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        for (size_t count = 1; count <= 17; count += 1 + count / 4) {
            const struct lsm_comparator *cmp = count % 3 == 2 ? &oracle_reverse : NULL;
            struct oracle all = { .cmp = cmp };
            struct array_iter *arrays[17];
            struct lsm_iter *sources[17], *it;
            struct format_os os;
            int open = 0;

            format_os_init(&os);
            for (size_t i = 0; i < count; i++) {
                arrays[i] = array_new(cmp, &open);
                sources[i] = &arrays[i]->base;
            }
            add_random(&all, arrays, count, (int)test_below(400), (enum key_kind)kind);
            CHECK_OK(lsm_merge_new(&os.os, cmp, sources, count, &it));
            CHECK(oracle_check_moves(&all, it, (enum key_kind)kind, 2000));
            lsm_iter_close(it);
            CHECK_INT(open, 0);
            CHECK_INT(os.used, 0);
            oracle_clear(&all);
        }
    }
}

/* ---- the same row in several sources ---- */

struct same {                   /* what a merge must show: rows, and equal ones by source */
    struct { struct lsm_slice key; uint64_t tag; size_t source; } row[2000];
    size_t count;
};

static bool same_at(const struct same *want, const struct lsm_iter *it, size_t i)
{
    size_t source;

    if (!CHECK_INT(it->rc, LSM_OK) || !CHECK_INT(it->valid, i < want->count))
        return false;
    if (!it->valid)
        return true;
    memcpy(&source, it->value.data, sizeof(source));
    return CHECK(lsm_slice_equal(it->key, want->row[i].key)) &&
           CHECK(it->tag == want->row[i].tag) && CHECK_INT(source, want->row[i].source);
}

/* First row at or behind (key, tag), of whatever source. */
static size_t same_find(const struct same *want, const struct lsm_comparator *cmp,
                        struct lsm_slice key, uint64_t tag)
{
    size_t i = 0;

    while (i < want->count &&
           lsm_ikey_compare(cmp, want->row[i].key, want->row[i].tag, key, tag) < 0)
        i++;
    return i;
}

/* Each row in about `of_three` thirds of the sources, and at least in one. */
static void check_same(size_t count, const struct lsm_comparator *cmp, enum key_kind kind,
                       uint64_t of_three)
{
    static struct same want;
    struct oracle all = { .cmp = cmp };
    struct array_iter *arrays[5];
    struct lsm_iter *sources[5], *it;
    struct format_os os;
    int open = 0;
    size_t at;

    format_os_init(&os);
    for (size_t i = 0; i < count; i++) {
        arrays[i] = array_new(cmp, &open);
        sources[i] = &arrays[i]->base;
    }
    for (uint64_t i = test_below(120); i; i--) {
        uint8_t bytes[96];

        oracle_add(&all, oracle_random_key(kind, bytes), lsm_tag(i, LSM_KIND_PUT),
                   lsm_slice(NULL, 0));
    }
    want.count = 0;
    for (size_t r = 0; r < all.count; r++) {
        struct lsm_slice key = oracle_key(&all.rows[r]);
        size_t always = test_below(count);

        for (size_t i = 0; i < count; i++) {
            if (i != always && test_below(3) >= of_three)
                continue;
            oracle_add(&arrays[i]->o, key, all.rows[r].tag, lsm_slice(&i, sizeof(i)));
            want.row[want.count].key = key;
            want.row[want.count].tag = all.rows[r].tag;
            want.row[want.count++].source = i;
        }
    }
    CHECK_OK(lsm_merge_new(&os.os, cmp, sources, count, &it));

    lsm_iter_first(it);
    for (at = 0; same_at(&want, it, at) && it->valid; at++)
        lsm_iter_next(it);
    CHECK_INT(at, want.count);
    lsm_iter_last(it);
    for (at = want.count; same_at(&want, it, at ? at - 1 : want.count) && it->valid; at--)
        lsm_iter_prev(it);
    CHECK_INT(at, 0);

    at = want.count;                            /* nowhere */
    for (int move = 0; move < 1000 && want.count; move++) {
        size_t r = test_below(want.count);
        struct lsm_slice key = want.row[r].key;
        uint64_t tag = want.row[r].tag, what = test_below(16);

        if (at < want.count && what >= 4) {     /* steps; turns, also between equal rows */
            if (what & 1) {
                lsm_iter_next(it);
                at++;
            } else {
                lsm_iter_prev(it);
                at = at ? at - 1 : want.count;
            }
        } else if (what & 1) {
            lsm_iter_seek(it, key, tag);
            at = same_find(&want, cmp, key, tag);
        } else {
            lsm_iter_seek_prev(it, key, tag);
            at = same_find(&want, cmp, key, tag - 1) - 1;       /* behind all equal ones */
        }
        if (!same_at(&want, it, at))
            break;
    }
    lsm_iter_close(it);
    CHECK_INT(open, 0);
    CHECK_INT(os.used, 0);
    oracle_clear(&all);
}

TEST(merge_shows_the_same_row_of_several_sources_in_their_order_both_ways)
{
    for (int round = 0; round < 60; round++) {
        const struct lsm_comparator *cmp = round % 3 == 2 ? &oracle_reverse : NULL;

        for (int kind = 0; kind < KEY_KINDS; kind++)
            for (size_t count = 2; count <= 5; count++)
                check_same(count, cmp, (enum key_kind)kind, 1 + (uint64_t)round % 3);
    }
}

TEST(merge_of_one_is_that_one_and_of_none_is_empty)
{
    struct lsm_iter *source, *it;
    struct format_os os;
    int open = 0;

    format_os_init(&os);
    source = &array_new(NULL, &open)->base;
    CHECK_OK(lsm_merge_new(&os.os, NULL, &source, 1, &it));
    CHECK(it == source);
    CHECK_INT(os.used, 0);
    lsm_iter_close(it);
    CHECK_INT(open, 0);

    CHECK_OK(lsm_merge_new(&os.os, NULL, NULL, 0, &it));
    lsm_iter_first(it);
    CHECK(!it->valid);
    lsm_iter_last(it);
    CHECK(!it->valid);
    lsm_iter_seek(it, lsm_slice_str("k"), 0);
    CHECK(!it->valid);
    lsm_iter_seek_prev(it, lsm_slice_str("k"), 0);
    CHECK(!it->valid);
    CHECK_INT(it->rc, LSM_OK);
    lsm_iter_close(it);
    CHECK_INT(os.used, 0);
}

TEST(merge_keeps_the_failure_of_a_source)
{
    for (int at = 0; at < 120; at++) {
        struct oracle all = { 0 };
        struct array_iter *arrays[5];
        struct lsm_iter *sources[5], *it;
        struct format_os os;
        int open = 0, moves_left = at;

        format_os_init(&os);
        for (size_t i = 0; i < 5; i++) {
            arrays[i] = array_new(NULL, &open);
            arrays[i]->moves_left = &moves_left;
            sources[i] = &arrays[i]->base;
        }
        add_random(&all, arrays, 5, 40, KEY_RANDOM);
        CHECK_OK(lsm_merge_new(&os.os, NULL, sources, 5, &it));
        for (int step = 0; it->rc == LSM_OK; step++) {
            if (!it->valid) {
                if (step % 3)
                    lsm_iter_first(it);
                else
                    lsm_iter_last(it);
            } else if (step % 7 < 5) {
                lsm_iter_next(it);
            } else {
                lsm_iter_prev(it);
            }
            if (!CHECK(step < 1000))
                break;
        }
        CHECK_INT(it->rc, LSM_IOERR);
        CHECK(!it->valid);
        moves_left = -1;                        /* no more failures: but it stays as it is */
        lsm_iter_first(it);
        CHECK(!it->valid);
        lsm_iter_seek(it, lsm_slice_str("k"), LSM_TAG_MAX);
        CHECK(!it->valid);
        lsm_iter_seek_prev(it, lsm_slice_str("k"), LSM_TAG_MAX);
        lsm_iter_last(it);
        lsm_iter_next(it);
        lsm_iter_prev(it);
        CHECK(!it->valid);
        CHECK_INT(it->rc, LSM_IOERR);
        lsm_iter_close(it);
        CHECK_INT(open, 0);
        CHECK_INT(os.used, 0);
        oracle_clear(&all);
    }
}

TEST(merge_that_cannot_be_made_closes_its_sources)
{
    struct lsm_iter *sources[3], *it = (void *)1;
    struct format_os os;
    int open = 0;

    format_os_init(&os);
    for (size_t i = 0; i < 3; i++)
        sources[i] = &array_new(NULL, &open)->base;
    os.fail_at = 1;
    CHECK_RC(lsm_merge_new(&os.os, NULL, sources, 3, &it), LSM_NOMEM);
    CHECK(!it);
    CHECK_INT(open, 0);
    CHECK_RC(lsm_merge_new(&os.os, NULL, sources, 0, &it), LSM_NOMEM);
    CHECK_INT(os.used, 0);
}

/* Rows in runs cost one comparison each; rows at random about log2 of the sources. */
TEST(merge_compares_once_for_a_row_of_a_run)
{
    enum { SOURCES = 8, ROWS = 8000 };
    for (int runs = 0; runs < 2; runs++) {
        uint64_t compared = 0, before;
        struct lsm_comparator cmp = { .name = "counting", .ctx = &compared, .compare = compare_reverse };
        struct array_iter *arrays[SOURCES];
        struct lsm_iter *sources[SOURCES], *it;
        struct format_os os;
        int open = 0, n = 0;

        format_os_init(&os);
        for (size_t i = 0; i < SOURCES; i++) {
            arrays[i] = array_new(&cmp, &open);
            sources[i] = &arrays[i]->base;
        }
        for (uint64_t i = 0; i < ROWS; i++) {
            uint8_t key[8];

            lsm_put_be64(key, ROWS - i);
            oracle_add(&arrays[runs ? i / 100 % SOURCES : test_below(SOURCES)]->o,
                       lsm_slice(key, 8), lsm_tag(1, LSM_KIND_PUT), lsm_slice(NULL, 0));
        }
        CHECK_OK(lsm_merge_new(&os.os, &cmp, sources, SOURCES, &it));
        before = compared;
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it))
            n++;
        CHECK_INT(n, ROWS);
        CHECK(compared - before < (runs ? ROWS + ROWS / 100 * 10 : ROWS * 4));
        before = compared;
        for (lsm_iter_last(it); it->valid; lsm_iter_prev(it))
            n--;
        CHECK_INT(n, 0);
        CHECK(compared - before < (runs ? ROWS + ROWS / 100 * 10 : ROWS * 4));
        lsm_iter_close(it);
        CHECK_INT(open, 0);
    }
}

/* A memtable gains rows between a source's last move and the turn: still in order. */
TEST(merge_turns_over_memtables_that_grow)
{
    struct format_os os;
    struct lsm_memtable *mem[3];
    struct lsm_iter *sources[3], *it;
    uint64_t seq = 1;

    format_os_init(&os);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(lsm_memtable_new(&os.os, &mem[i]));
        CHECK_OK(lsm_memtable_iter_new(mem[i], 1, NULL, 0, &sources[i]));
    }
    CHECK_OK(lsm_merge_new(&os.os, NULL, sources, 3, &it));
    for (int round = 0; round < 300; round++) {
        uint8_t last[16];
        bool back = false;

        for (int n = 0; n < 5; n++, seq++) {
            uint8_t bytes[96];
            struct lsm_slice key = oracle_random_key(KEY_RANDOM, bytes);

            CHECK_OK(lsm_memtable_add(mem[test_below(3)], 1, NULL, key, lsm_tag(seq, LSM_KIND_PUT),
                                      key));
        }
        lsm_iter_first(it);
        for (int step = 0; step < 100 && CHECK_OK(it->rc) && it->valid; step++) {
            uint8_t bytes[96];
            struct lsm_slice key = oracle_random_key(KEY_RANDOM, bytes);

            memcpy(last, it->key.data, 16);
            CHECK_OK(lsm_memtable_add(mem[test_below(3)], 1, NULL, key,
                                      lsm_tag(seq++, LSM_KIND_PUT), key));
            if (test_below(3) == 0)
                back = !back;
            if (back)
                lsm_iter_prev(it);
            else
                lsm_iter_next(it);
            if (it->valid && !CHECK(back ? memcmp(it->key.data, last, 16) < 0
                                         : memcmp(it->key.data, last, 16) > 0))
                break;
        }
    }
    lsm_iter_close(it);
    for (int i = 0; i < 3; i++)
        lsm_memtable_unref(mem[i]);
    CHECK_INT(os.used, 0);
}

/* ---- a level ---- */

struct runs {
    struct oracle *all;
    size_t first[12], count;    /* run i has rows [first[i], first[i + 1]) of all */
    int open, opened, closed, fail_open;
    int moves_left, *moves;
};

static int runs_open(void *ctx, uint32_t i, struct lsm_iter **it)
{
    struct runs *r = ctx;
    struct array_iter *a;

    if (r->fail_open && --r->fail_open == 0)
        return LSM_CORRUPT;
    r->opened++;
    a = array_new(r->all->cmp, &r->open);
    a->moves_left = r->moves;
    CHECK_INT(r->open, 1);                      /* one at a time */
    for (size_t k = r->first[i]; k < r->first[i + 1]; k++)
        oracle_add(&a->o, oracle_key(&r->all->rows[k]), r->all->rows[k].tag,
                   oracle_value(&r->all->rows[k]));
    *it = &a->base;
    return LSM_OK;
}

static int runs_reopen(void *ctx, uint32_t i, struct lsm_iter *it)
{
    struct runs *r = ctx;
    struct array_iter *a = (struct array_iter *)it;

    if (r->fail_open && --r->fail_open == 0)
        return LSM_CORRUPT;
    r->opened++;
    oracle_clear(&a->o);
    a->base.valid = false;
    for (size_t k = r->first[i]; k < r->first[i + 1]; k++)
        oracle_add(&a->o, oracle_key(&r->all->rows[k]), r->all->rows[k].tag,
                   oracle_value(&r->all->rows[k]));
    return LSM_OK;
}

static uint32_t runs_find(void *ctx, struct lsm_slice key)
{
    struct runs *r = ctx;
    uint32_t i = 0;

    while (i < r->count && (r->first[i] == r->first[i + 1] ||
           lsm_key_compare(r->all->cmp, oracle_key(&r->all->rows[r->first[i + 1] - 1]), key) < 0))
        i++;
    return i;
}

static void runs_close(void *ctx)
{
    ((struct runs *)ctx)->closed++;
}

/* Cut the array into runs, never between versions of a key; some runs are empty. */
static void cut(struct runs *r, size_t count)
{
    r->count = count;
    for (size_t i = 0; i <= count; i++) {
        size_t at = r->all->count * i / count;

        if (i > 0 && i < count && test_below(6) == 0)
            at = r->first[i - 1];
        while (at > 0 && at < r->all->count &&
               lsm_key_compare(r->all->cmp, oracle_key(&r->all->rows[at - 1]),
                               oracle_key(&r->all->rows[at])) == 0)
            at++;
        if (i > 0 && at < r->first[i - 1])
            at = r->first[i - 1];
        r->first[i] = at;
    }
    r->first[0] = 0;
}

TEST(level_agrees_with_one_sorted_array)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        for (size_t count = 0; count <= 10; count++) {
            const struct lsm_comparator *cmp = count % 3 == 2 ? &oracle_reverse : NULL;
            struct oracle all = { .cmp = cmp };
            struct runs runs = { .all = &all };
            struct lsm_level_source source = {&runs, runs_open, runs_find, (uint32_t)count,
                                              runs_close, count % 2 ? runs_reopen : NULL};
            struct format_os os;
            struct lsm_iter *it;

            format_os_init(&os);
            for (int i = 0; count && i < 200; i++) {
                uint8_t bytes[96];
                struct lsm_slice key = oracle_random_key((enum key_kind)kind, bytes);

                oracle_add(&all, key, lsm_tag((uint64_t)i, LSM_KIND_PUT), lsm_slice(&i, 4));
            }
            if (count)
                cut(&runs, count);
            CHECK_OK(lsm_level_iter_new(&os.os, &source, &it));
            CHECK_INT(runs.opened, 0);
            CHECK(oracle_check_moves(&all, it, (enum key_kind)kind, 1000));
            lsm_iter_close(it);
            CHECK_INT(runs.open, 0);
            CHECK_INT(runs.closed, 1);
            CHECK_INT(os.used, 0);
            oracle_clear(&all);
        }
    }
}

TEST(level_opens_only_the_runs_it_reaches)
{
    struct oracle all = { 0 };
    struct runs runs = { .all = &all };
    struct lsm_level_source source = { &runs, runs_open, runs_find, 10, runs_close, NULL };
    struct format_os os;
    struct lsm_iter *it;

    format_os_init(&os);
    for (int i = 0; i < 100; i++) {
        uint8_t key[8];

        lsm_put_be64(key, (uint64_t)i);
        oracle_add(&all, lsm_slice(key, 8), lsm_tag(1, LSM_KIND_PUT), lsm_slice(&i, 4));
    }
    runs.count = 10;
    for (size_t i = 0; i <= 10; i++)
        runs.first[i] = i * 10;
    CHECK_OK(lsm_level_iter_new(&os.os, &source, &it));
    lsm_iter_seek(it, oracle_key(&all.rows[55]), LSM_TAG_MAX);
    CHECK(oracle_check_at(&all, it, 55));
    lsm_iter_seek(it, oracle_key(&all.rows[51]), LSM_TAG_MAX);
    lsm_iter_seek_prev(it, oracle_key(&all.rows[58]), 0);
    CHECK(oracle_check_at(&all, it, 58));
    CHECK_INT(runs.opened, 1);
    lsm_iter_next(it);
    CHECK_INT(runs.opened, 1);
    lsm_iter_next(it);
    CHECK(oracle_check_at(&all, it, 60));
    CHECK_INT(runs.opened, 2);
    lsm_iter_prev(it);
    CHECK(oracle_check_at(&all, it, 59));
    CHECK_INT(runs.opened, 3);
    lsm_iter_seek(it, lsm_slice_str("\xff"), LSM_TAG_MAX);
    CHECK(!it->valid);
    CHECK_INT(runs.opened, 3);
    lsm_iter_close(it);
    oracle_clear(&all);
    CHECK_INT(os.used, 0);
}

TEST(level_keeps_the_failure_of_a_run)
{
    for (int what = 1; what < 40; what++) {
        struct oracle all = { 0 };
        struct runs runs = { .all = &all };
        struct lsm_level_source source = { &runs, runs_open, runs_find, 10, runs_close,
                                           what % 3 ? runs_reopen : NULL };
        int code = what < 8 ? LSM_CORRUPT : LSM_IOERR;
        struct format_os os;
        struct lsm_iter *it;

        format_os_init(&os);
        for (int i = 0; i < 50; i++) {
            uint8_t bytes[96];

            oracle_add(&all, oracle_random_key(KEY_RISING, bytes), lsm_tag(1, LSM_KIND_PUT),
                       lsm_slice(&i, 4));
        }
        cut(&runs, 10);
        runs.moves_left = what;
        if (what < 8)
            runs.fail_open = what;
        else
            runs.moves = &runs.moves_left;
        CHECK_OK(lsm_level_iter_new(&os.os, &source, &it));
        for (int round = 0; round < 2 && it->rc == LSM_OK; round++) {
            bool back = (what + round) & 1;

            back ? lsm_iter_last(it) : lsm_iter_first(it);
            while (it->valid)
                back ? lsm_iter_prev(it) : lsm_iter_next(it);
        }
        CHECK_INT(it->rc, code);
        CHECK(!it->valid);
        runs.moves = NULL;
        lsm_iter_first(it);
        CHECK(!it->valid);
        lsm_iter_seek(it, oracle_key(&all.rows[20]), LSM_TAG_MAX);
        lsm_iter_seek_prev(it, oracle_key(&all.rows[20]), LSM_TAG_MAX);
        lsm_iter_next(it);
        lsm_iter_prev(it);
        CHECK(!it->valid);
        CHECK_INT(it->rc, code);
        lsm_iter_close(it);
        CHECK_INT(runs.open, 0);
        oracle_clear(&all);
    }
}

TEST(level_that_cannot_be_made_closes_its_source)
{
    struct oracle all = { 0 };
    struct runs runs = { .all = &all };
    struct lsm_level_source source = { &runs, runs_open, runs_find, 10, runs_close, NULL };
    struct format_os os;
    struct lsm_iter *it = (void *)1;

    format_os_init(&os);
    os.fail_at = 1;
    CHECK_RC(lsm_level_iter_new(&os.os, &source, &it), LSM_NOMEM);
    CHECK(!it);
    CHECK_INT(runs.closed, 1);
    CHECK_INT(os.used, 0);
}

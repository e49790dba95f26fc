/*
 * test_visible.c -- what a snapshot sees of a history, and what a compaction may
 * drop of it. Histories are written as text, newest first:
 *
 *     "30P 20D 10P"       PUT at 30, DELETE at 20, PUT at 10; o3P: op 3 of the reader's own
 */
#include <strings.h>

#include "lsm/store/memtable.h"
#include "lsm/version/merge.h"
#include "lsm/version/visible.h"
#include "tests/test.h"

static struct lsm_os *os;

static struct lsm_slice bytes(const char *s)
{
    return (struct lsm_slice){ (const uint8_t *)s, strlen(s) };
}

/* Parse one version; *at moves on. False: the end. */
static bool parse(const char **at, uint64_t *tag)
{
    bool own;
    uint64_t seq;
    char *end;

    while (**at == ' ')
        ++*at;
    if (!**at)
        return false;
    own = **at == 'o';
    seq = strtoull(*at + own, &end, 10) + (own ? LSM_SEQ_OWN : 0);
    *tag = lsm_tag(seq, *end == 'D' ? LSM_KIND_DELETE : LSM_KIND_PUT);
    *at = end + 1;
    return true;
}

static void add_history(struct lsm_memtable *mem, const char *key, const char *history)
{
    uint64_t tag;

    while (parse(&history, &tag)) {
        char value[80];
        snprintf(value, sizeof value, "%s@%llu", key,
                 (unsigned long long)(lsm_tag_seq(tag) & ~LSM_SEQ_OWN));
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, bytes(key), tag, bytes(value)));
    }
}

static void begin(struct lsm_memtable **mem)
{
    os = lsm_os_posix_new();
    CHECK_OK(lsm_memtable_new(os, mem));
}

static void end(struct lsm_memtable *mem)
{
    lsm_memtable_unref(mem);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/* Rows seen, "a@10 b@5", in one direction. */
static void see(struct lsm_memtable *mem, struct lsm_view_point at, bool forward, char *out)
{
    struct lsm_visible v;
    struct lsm_iter *it;

    *out = 0;
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    lsm_visible_init(&v, os);
    lsm_visible_set(&v, it, NULL, at);
    for (forward ? lsm_visible_first(&v) : lsm_visible_last(&v); v.valid;
         forward ? lsm_visible_next(&v) : lsm_visible_prev(&v)) {
        sprintf(out + strlen(out), "%s%.*s", *out ? " " : "", (int)v.value.size, (const char *)v.value.data);
        CHECK_INT(lsm_tag_kind(v.tag), LSM_KIND_PUT);
    }
    CHECK_OK(v.rc);
    lsm_visible_clear(&v);
    lsm_iter_close(it);
}

TEST(visible_a_snapshot_sees_the_newest_version_at_or_before_it)
{
    static const struct {
        const char *a, *b, *c;  /* histories of three keys */
        uint64_t seq, own;
        const char *forward, *backward;
    } cases[] = {
        { "10P", "", "", 9, 0, "", "" },
        { "10P", "", "", 10, 0, "a@10", "a@10" },
        { "30P 20D 10P", "", "", 29, 0, "", "" },
        { "30P 20D 10P", "", "", 19, 0, "a@10", "a@10" },
        { "30P 20D 10P", "", "", 30, 0, "a@30", "a@30" },
        { "30D 20P", "25P", "40D", 50, 0, "b@25", "b@25" },
        { "30D", "25D", "40D", 50, 0, "", "" },
        { "30D 1P", "25D 2P", "40D 3P", 10, 0, "a@1 b@2 c@3", "c@3 b@2 a@1" },
        { "5P", "99P 5P", "5P", 50, 0, "a@5 b@5 c@5", "c@5 b@5 a@5" },
        { "5P", "99P 50D 5P", "5P", 50, 0, "a@5 c@5", "c@5 a@5" },
        { "99P", "99P", "5P", 50, 0, "c@5", "c@5" },
        { "5P", "99P", "99D", 50, 0, "a@5", "a@5" },
        /* own rows, above all that is published, up to the ops there were */
        { "o3P o1P 20P", "o2D 20P", "20P", 50, LSM_SEQ_OWN + 3, "a@3 c@20", "c@20 a@3" },
        { "o3P o1P 20P", "o2D 20P", "20P", 50, LSM_SEQ_OWN + 2, "a@1 c@20", "c@20 a@1" },
        { "o3P o1P 20P", "o2D 20P", "20P", 50, LSM_SEQ_OWN + 1, "a@1 b@20 c@20", "c@20 b@20 a@1" },
        { "o3P o1P 20P", "o2D 20P", "20P", 50, LSM_SEQ_OWN, "a@20 b@20 c@20", "c@20 b@20 a@20" },
        { "o3P o1P 20P", "o2D 20P", "20P", 50, 0, "a@20 b@20 c@20", "c@20 b@20 a@20" },
        { "o3P 60P 20P", "o2D 20P", "o1P 60D 20P", 50, LSM_SEQ_OWN + 3, "a@3 c@1", "c@1 a@3" },
        { "o9D o8P", "o7P o6D", "o5D", 50, LSM_SEQ_OWN + 9, "b@7", "b@7" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lsm_memtable *mem;
        char out[200];

        begin(&mem);
        add_history(mem, "a", cases[i].a);
        add_history(mem, "b", cases[i].b);
        add_history(mem, "c", cases[i].c);
        see(mem, (struct lsm_view_point){ cases[i].seq, cases[i].own }, true, out);
        CHECK_STR(out, cases[i].forward);
        see(mem, (struct lsm_view_point){ cases[i].seq, cases[i].own }, false, out);
        CHECK_STR(out, cases[i].backward);
        end(mem);
    }
}

static int compare_nocase(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return a.size == b.size ? strncasecmp((const char *)a.data, (const char *)b.data, a.size)
                            : a.size < b.size ? -1 : 1;
}

TEST(visible_of_keys_that_a_comparator_calls_one_the_newest_row_decides_in_both_directions)
{
    static const struct lsm_comparator nocase = { .name = "nocase", .compare = compare_nocase };
    static const struct {
        uint64_t seq;
        const char *want;
    } cases[] = { { 40, "aBc" }, { 39, "aBc" }, { 30, "aBc" }, { 29, "ABC" }, { 20, "ABC" }, { 19, "abc" } };
    static const char *const keys[] = { "aBc", "ABC", "abc" };
    struct lsm_memtable *mem;

    begin(&mem);
    for (uint64_t i = 0; i < 3; i++)
        CHECK_OK(lsm_memtable_add(mem, 1, &nocase, bytes(keys[i]), lsm_tag(30 - 10 * i, LSM_KIND_PUT), bytes(keys[i])));
    CHECK_OK(lsm_memtable_add(mem, 1, &nocase, bytes("abd"), lsm_tag(40, LSM_KIND_DELETE), bytes("")));
    CHECK_OK(lsm_memtable_add(mem, 1, &nocase, bytes("ABD"), lsm_tag(5, LSM_KIND_PUT), bytes("ABD")));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 3; way++) {
            struct lsm_visible v;
            struct lsm_iter *it;

            CHECK_OK(lsm_memtable_iter_new(mem, 1, &nocase, 0, &it));
            lsm_visible_init(&v, os);
            lsm_visible_set(&v, it, &nocase, (struct lsm_view_point){ cases[i].seq, 0 });
            if (way == 0)
                lsm_visible_first(&v);
            else
                lsm_visible_seek_prev(&v, bytes(way == 1 ? "abc" : "ABC"));
            CHECK(v.valid);
            CHECK(lsm_slice_equal(v.key, bytes(cases[i].want)));
            CHECK(lsm_slice_equal(v.value, bytes(cases[i].want)));
            lsm_visible_clear(&v);
            lsm_iter_close(it);
        }
    end(mem);
}

static void check_at(const struct lsm_visible *v, const char *want)
{
    char have[40] = "end";

    if (v->valid)
        snprintf(have, sizeof have, "%.*s", (int)v->value.size, (const char *)v->value.data);
    CHECK_STR(have, want);
}

TEST(visible_turning_round_passes_no_row_and_none_twice)
{
    struct lsm_memtable *mem;
    struct lsm_visible v;
    struct lsm_iter *it;

    begin(&mem);
    add_history(mem, "a", "3P 1P");
    add_history(mem, "b", "9P 4D 2P");
    add_history(mem, "c", "5P 4P 3P");
    add_history(mem, "d", "6D 5P");
    add_history(mem, "e", "7P");
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    lsm_visible_init(&v, os);
    lsm_visible_set(&v, it, NULL, (struct lsm_view_point){ 8, 0 });
    lsm_visible_first(&v);
    check_at(&v, "a@3");
    lsm_visible_next(&v);
    check_at(&v, "c@5");
    lsm_visible_prev(&v);
    check_at(&v, "a@3");
    lsm_visible_next(&v);
    check_at(&v, "c@5");
    lsm_visible_next(&v);
    check_at(&v, "e@7");
    lsm_visible_prev(&v);
    check_at(&v, "c@5");
    lsm_visible_prev(&v);
    lsm_visible_prev(&v);
    check_at(&v, "end");
    lsm_visible_seek(&v, bytes("b"));
    check_at(&v, "c@5");
    lsm_visible_prev(&v);
    check_at(&v, "a@3");
    lsm_visible_seek_prev(&v, bytes("d"));
    check_at(&v, "c@5");
    lsm_visible_next(&v);
    check_at(&v, "e@7");
    lsm_visible_seek_prev(&v, bytes("c"));
    check_at(&v, "c@5");
    lsm_visible_seek(&v, bytes("f"));
    check_at(&v, "end");
    lsm_visible_seek_prev(&v, bytes("0"));
    check_at(&v, "end");
    lsm_visible_last(&v);
    check_at(&v, "e@7");
    lsm_visible_clear(&v);
    lsm_iter_close(it);
    end(mem);
}

/* A compaction that was cut short leaves rows in two levels, under the same tag or, at the bottom, 0. */
TEST(visible_a_row_that_stands_in_two_sources_is_seen_once)
{
    static const char *const upper[] = { "9P 5P", "8D 3P", "7P", "6P" };
    static const char *const lower[] = { "9P 5P", "8D", "0P", "" };
    struct lsm_memtable *mem, *low;
    char name[2] = "a", out[100];

    begin(&mem);
    CHECK_OK(lsm_memtable_new(os, &low));
    for (int i = 0; i < 4; i++, name[0]++) {
        add_history(mem, name, upper[i]);
        add_history(low, name, lower[i]);
    }
    for (int forward = 0; forward < 2; forward++)
        for (uint64_t seq = 5; seq < 10; seq += 4) {
            struct lsm_iter *sources[2], *it;
            struct lsm_visible v;

            CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &sources[0]));
            CHECK_OK(lsm_memtable_iter_new(low, 1, NULL, 0, &sources[1]));
            CHECK_OK(lsm_merge_new(os, NULL, sources, 2, &it));
            lsm_visible_init(&v, os);
            lsm_visible_set(&v, it, NULL, (struct lsm_view_point){ seq, 0 });
            *out = 0;
            for (forward ? lsm_visible_first(&v) : lsm_visible_last(&v); v.valid;
                 forward ? lsm_visible_next(&v) : lsm_visible_prev(&v))
                sprintf(out + strlen(out), "%.*s ", (int)v.value.size, (const char *)v.value.data);
            CHECK_OK(v.rc);
            if (seq == 9)
                CHECK_STR(out, forward ? "a@9 c@7 d@6 " : "d@6 c@7 a@9 ");
            else                /* c@0 is c@7: nobody who could tell is left */
                CHECK_STR(out, forward ? "a@5 b@3 c@0 " : "c@0 b@3 a@5 ");
            lsm_visible_first(&v);
            lsm_visible_next(&v);
            lsm_visible_prev(&v);
            check_at(&v, seq == 9 ? "a@9" : "a@5");
            lsm_visible_clear(&v);
            lsm_iter_close(it);
        }
    lsm_memtable_unref(low);
    end(mem);
}

static void *no_memory(struct lsm_os *unused, void *p, size_t size)
{
    (void)unused, (void)p, (void)size;
    return NULL;
}

/* What a cursor had no memory to keep says nothing of what it reads when it is used again. */
TEST(visible_used_again_after_memory_ran_out_reads_to_the_end)
{
    void *(*some_memory)(struct lsm_os *, void *, size_t);
    struct lsm_memtable *mem;
    struct lsm_visible v;
    struct lsm_iter *it;

    begin(&mem);
    add_history(mem, "a", "30D");
    add_history(mem, "b", "20P");
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    lsm_visible_init(&v, os);
    lsm_buf_reserve(&v.key_buf, 100);
    some_memory = os->mem_realloc;
    os->mem_realloc = no_memory;
    lsm_visible_set(&v, it, NULL, (struct lsm_view_point){ 40, 0 });
    lsm_visible_last(&v);
    CHECK_RC(v.rc, LSM_NOMEM);
    os->mem_realloc = some_memory;
    lsm_visible_set(&v, it, NULL, (struct lsm_view_point){ 40, 0 });
    lsm_visible_seek_before(&v, bytes("b"));    /* a tombstone: no value to keep */
    CHECK(!v.valid);
    CHECK_OK(v.rc);
    lsm_visible_clear(&v);
    lsm_iter_close(it);
    end(mem);
}

/* ---- retain ---- */

/* Keys of `size` that differ in one byte, at the front, in the middle and at the end: in order. */
static int keys_of_size(size_t size, char keys[7][48])
{
    static const size_t parts[] = { 1, 2, 1000 };       /* of the size: end, middle, front */
    int count = 0;

    for (int sign = -1; sign <= 1; sign++)
        for (size_t i = 0; i < 3; i++) {
            size_t at = sign < 0 ? size / parts[2 - i] : size / parts[i];
            char *key = keys[count];

            if (at == size && size)
                at--;
            memset(key, 'm', size);
            key[size] = 0;
            if (size)
                key[at] = (char)(key[at] + sign);
            if (count == 0 || strcmp(key, keys[count - 1]) != 0)
                count++;
        }
    return count;
}

/* Neighbours are told apart by some of their bytes, in pieces whose number depends on the size. */
TEST(visible_keys_of_all_sizes_are_told_apart)
{
    for (size_t size = 0; size <= 40; size++) {
        char keys[7][48], want[8000] = "", back[8000] = "", out[8000];
        struct lsm_memtable *mem;
        int count = keys_of_size(size, keys);

        begin(&mem);
        for (int i = 0; i < count; i++)
            add_history(mem, keys[i], i % 3 == 1 ? "30D 20P 10P" : "30P 20P 10P");
        for (int i = 0; i < count; i++) {
            int j = count - 1 - i;

            if (i % 3 != 1)
                sprintf(want + strlen(want), "%s%s@30", *want ? " " : "", keys[i]);
            if (j % 3 != 1)
                sprintf(back + strlen(back), "%s%s@30", *back ? " " : "", keys[j]);
        }
        see(mem, (struct lsm_view_point){ 50, 0 }, true, out);
        CHECK_STR(out, want);
        see(mem, (struct lsm_view_point){ 50, 0 }, false, out);
        CHECK_STR(out, back);
        end(mem);
    }
}

TEST(visible_a_key_that_begins_another_is_another)
{
    char key[41] = "", want[2000] = "", back[2000] = "", out[2000];
    struct lsm_memtable *mem;

    begin(&mem);
    for (size_t size = 0; size <= 40; size++) {
        char row[50];

        memset(key, 'm', size);
        key[size] = 0;
        add_history(mem, key, "20P 10P");
        snprintf(row, sizeof row, "%s%s@20", size ? " " : "", key);
        strcat(want, row);
        snprintf(row, sizeof row, "%.*s@20%s", (int)(40 - size), "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm",
                 size < 40 ? " " : "");
        strcat(back, row);
    }
    see(mem, (struct lsm_view_point){ 50, 0 }, true, out);
    CHECK_STR(out, want);
    see(mem, (struct lsm_view_point){ 50, 0 }, false, out);
    CHECK_STR(out, back);
    end(mem);
}

TEST(retain_keeps_what_a_snapshot_sees_and_the_present)
{
    static const struct {
        const char *history;
        uint64_t snapshots[4];
        size_t count;
        bool bottom;
        const char *kept;
    } cases[] = {
        { "30P 20P 10P", { 0 }, 0, false, "30P" },
        { "30P 20P 10P", { 0 }, 0, true, "0P" },            /* nobody asks when it was */
        { "30D 20P 10P", { 0 }, 0, false, "30D" },
        { "30D 20P 10P", { 0 }, 0, true, "" },
        { "30P 20D 10P 5P", { 25 }, 1, false, "30P 20D" },
        { "30P 20D 10P 5P", { 25 }, 1, true, "30P" },
        { "30P 20D 10P 5P", { 12, 25 }, 2, false, "30P 20D 10P" },
        { "30P 20D 10P 5P", { 12, 25 }, 2, true, "30P 20D 0P" },
        { "30P 20D 10P 5P", { 7, 12, 25 }, 3, true, "30P 20D 10P 0P" },
        { "30P 20D 10P 5P", { 4 }, 1, true, "30P" },        /* sees nothing of it, so nothing is old */
        { "30D 20P", { 4 }, 1, true, "30D" },
        { "30D 20P", { 20 }, 1, true, "30D 0P" },
        { "30D 20P", { 30 }, 1, true, "" },
        { "30D 20P", { 29, 30 }, 2, true, "30D 0P" },
        { "30P", { 30 }, 1, true, "0P" },
        { "30P", { 29 }, 1, true, "30P" },
        { "30P 20P", { 20, 30 }, 2, false, "30P 20P" },
        { "30D 20D 10D", { 15, 25 }, 2, true, "30D 20D" },
        { "30P 30P 20P", { 0 }, 0, false, "30P" },          /* one row in two sources */
        { "30D 30D 20P", { 25 }, 1, true, "30D 0P" },
    };

    os = lsm_os_posix_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = cases[i].history;
        struct lsm_retain r;
        char out[100] = "";
        uint64_t tag;

        lsm_retain_init(&r, os, NULL, cases[i].snapshots, cases[i].count);
        while (parse(&at, &tag))
            if (lsm_retain_row(&r, bytes("k"), &tag, cases[i].bottom))
                sprintf(out + strlen(out), "%s%d%c", *out ? " " : "", (int)lsm_tag_seq(tag),
                        lsm_tag_kind(tag) == LSM_KIND_DELETE ? 'D' : 'P');
        CHECK_STR(out, cases[i].kept);
        lsm_retain_clear(&r);
    }
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/*
 * Random histories: what retain keeps shows every snapshot, and the present, the
 * same as what there was; with the bottom taken away piece by piece.
 */
TEST(retain_changes_nothing_that_anybody_can_see)
{
    for (int round = 0; round < 400; round++) {
        struct lsm_memtable *before, *after;
        uint64_t snapshots[5], seq = 60;
        size_t count = test_random() % 5;
        struct lsm_retain r;
        struct lsm_iter *it;
        bool bottom = test_random() % 2;
        char key[8], x[2000], y[2000];

        begin(&before);
        CHECK_OK(lsm_memtable_new(os, &after));
        for (size_t i = 0; i < count; i++)
            snapshots[i] = 1 + 10 * i + test_random() % 10;
        for (int k = 0; k < 12; k++) {
            char history[200] = "";
            snprintf(key, sizeof key, "k%02d", k);
            for (int s = 60; s > 0; s--)
                if (test_random() % 12 == 0)
                    sprintf(history + strlen(history), "%d%c ", s, test_random() % 3 ? 'P' : 'D');
            add_history(before, key, history);
        }
        CHECK_OK(lsm_memtable_iter_new(before, 1, NULL, 0, &it));
        lsm_retain_init(&r, os, NULL, snapshots, count);
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it)) {
            uint64_t tag = it->tag;
            if (lsm_retain_row(&r, it->key, &tag, bottom))
                CHECK_OK(lsm_memtable_add(after, 1, NULL, it->key, tag, it->value));
        }
        lsm_retain_clear(&r);
        lsm_iter_close(it);
        for (size_t i = 0; i <= count; i++) {
            struct lsm_view_point at = { i < count ? snapshots[i] : seq, 0 };
            for (int forward = 0; forward < 2; forward++) {
                see(before, at, forward, x);
                see(after, at, forward, y);
                CHECK_STR(x, y);
            }
        }
        if (bottom && count == 0) {     /* then nothing is left but what is seen */
            see(after, (struct lsm_view_point){ seq, 0 }, true, x);
            int shown = *x ? 1 : 0;
            for (const char *p = x; *p; p++)
                shown += *p == ' ';
            CHECK_INT(lsm_memtable_tree_rows(after, 1), shown);
        }
        lsm_memtable_unref(after);
        end(before);
    }
}

/* Random moves against a sorted list of what is visible. */
TEST(visible_agrees_with_a_list_whatever_the_moves)
{
    for (int round = 0; round < 100; round++) {
        struct lsm_memtable *mem;
        struct lsm_view_point at = { 10 + test_random() % 40, test_random() % 2 ? LSM_SEQ_OWN + test_random() % 8 : 0 };
        struct lsm_visible v;
        struct lsm_iter *it;
        char rows[30][24];
        int n = 0, pos = -1;

        begin(&mem);
        for (int k = 0; k < 25; k++) {
            char key[8], history[300] = "", newest = 0;
            uint64_t seen = 0;
            snprintf(key, sizeof key, "k%02d", k);
            for (int o = 8; o > 0; o--)
                if (test_random() % 20 == 0) {
                    char kind = test_random() % 2 ? 'P' : 'D';
                    sprintf(history + strlen(history), "o%d%c ", o, kind);
                    if (!newest && at.own_max && LSM_SEQ_OWN + (uint64_t)o <= at.own_max) {
                        newest = kind;
                        seen = (uint64_t)o;
                    }
                }
            for (int s = 60; s > 0; s--)
                if (test_random() % 15 == 0) {
                    char kind = test_random() % 3 ? 'P' : 'D';
                    sprintf(history + strlen(history), "%d%c ", s, kind);
                    if (!newest && (uint64_t)s <= at.seq_max) {
                        newest = kind;
                        seen = (uint64_t)s;
                    }
                }
            add_history(mem, key, history);
            if (newest == 'P')
                snprintf(rows[n++], sizeof rows[0], "%s@%d", key, (int)seen);
        }
        CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
        lsm_visible_init(&v, os);
        lsm_visible_set(&v, it, NULL, at);
        for (int move = 0; move < 60; move++) {
            char key[8];
            snprintf(key, sizeof key, "k%02d", (int)(test_random() % 26));
            switch (pos < 0 ? test_random() % 4 : 2 + test_random() % 6) {
            case 0: lsm_visible_first(&v); pos = n ? 0 : -1; break;
            case 1: lsm_visible_last(&v); pos = n - 1; break;
            case 2:
                lsm_visible_seek(&v, bytes(key));
                for (pos = 0; pos < n && strncmp(rows[pos], key, 3) < 0; pos++)
                    ;
                if (pos == n)
                    pos = -1;
                break;
            case 3:
                lsm_visible_seek_prev(&v, bytes(key));
                for (pos = n - 1; pos >= 0 && strncmp(rows[pos], key, 3) > 0; pos--)
                    ;
                break;
            case 4: case 5: lsm_visible_next(&v); pos = pos + 1 < n ? pos + 1 : -1; break;
            default: lsm_visible_prev(&v); pos--; break;
            }
            check_at(&v, pos >= 0 ? rows[pos] : "end");
            CHECK_OK(v.rc);
        }
        lsm_visible_clear(&v);
        lsm_iter_close(it);
        end(mem);
    }
}

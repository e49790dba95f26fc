#include "lsm/version/version.h"
#include "tests/unit/fault.h"
#include "tests/unit/orders.h"

/* Every key is three digits; tables are told apart by their number. */
static char key_text[1000][4];

static struct lsm_slice key(unsigned n)
{
    snprintf(key_text[n], sizeof(key_text[n]), "%03u", n);
    return lsm_slice(key_text[n], 3);
}

static struct lsm_table_meta table(uint32_t tree, uint64_t number, unsigned lo, unsigned hi,
                                   uint64_t seq_max)
{
    struct lsm_table_meta m = {
        .number = number, .tree = tree, .size_bytes = 1000 + number, .seq_max = seq_max,
        .smallest = key(lo), .largest = key(hi),
    };

    return m;
}

/* What the obsolete callback said. */
static struct {
    int died[200];
    bool reverse;               /* trees above 100 are in reverse order */
} heard;

static void obsolete(void *ctx, const struct lsm_run *run)
{
    CHECK(ctx == &heard);
    if (run->meta.number < 200)
        heard.died[run->meta.number]++;
}

static const struct lsm_comparator *comparator(void *ctx, uint32_t tree)
{
    CHECK(ctx == &heard);
    return tree > 100 ? &reverse : NULL;
}

static struct lsm_version *begin(void)
{
    struct lsm_version *v;

    fault_begin();
    memset(&heard, 0, sizeof(heard));
    CHECK_OK(lsm_version_new(fault.os, obsolete, comparator, &heard, &v));
    return v;
}

/* An edit in short form. */
struct step {
    char what;
    uint32_t tree, level;
    uint64_t number;
    unsigned lo, hi;
    uint64_t seq;
};

#define T(id) { .what = 'T', .tree = id }                   /* create a tree */
#define D(id) { .what = 'D', .tree = id }                   /* drop it */
#define R(id, level_, number_) { .what = 'R', .tree = id, .level = level_, .number = number_ }
#define A(id, level_, number_, lo_, hi_, seq_)                                         \
    { .what = 'A', .tree = id, .level = level_, .number = number_, .lo = lo_, .hi = hi_,  \
      .seq = seq_ }

static int apply_steps(const struct lsm_version *base, const struct step *steps, size_t count,
                       struct lsm_version **v)
{
    struct lsm_edit e;
    int rc;

    lsm_edit_init(&e, fault.base);              /* not where memory faults are counted */
    for (size_t i = 0; i < count; i++) {
        const struct step *s = &steps[i];
        struct lsm_edit_tree tree = { .id = s->tree };
        struct lsm_table_meta meta;

        switch (s->what) {
        case 'T': lsm_edit_add_tree(&e, &tree); break;
        case 'D': lsm_edit_drop_tree(&e, s->tree); break;
        case 'R': lsm_edit_remove_table(&e, s->level, s->tree, s->number); break;
        case 'A':
            meta = table(s->tree, s->number, s->lo, s->hi, s->seq);
            lsm_edit_add_table(&e, s->level, &meta);
            break;
        }
    }
    rc = lsm_version_apply(base, &e, v);
    lsm_edit_clear(&e);
    return rc;
}

#define APPLY(base, v, ...)                                                            \
    apply_steps(base, (const struct step[]){ __VA_ARGS__ },                            \
                sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step), v)

/* "0:5,4 1:7,8" */
static const char *shape(const struct lsm_version *v, uint32_t id)
{
    const struct lsm_tree_version *t = lsm_version_tree(v, id);
    static char text[1000];
    size_t n = 0;

    if (!t)
        return "none";
    text[0] = '\0';
    for (unsigned l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < t->level[l].count; i++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, i ? ",%d" : n ? " %u:%d" : "%u:%d",
                                  i ? (unsigned)t->level[l].runs[i]->meta.number : l,
                                  (int)t->level[l].runs[i]->meta.number);
            bytes += t->level[l].runs[i]->meta.size_bytes;
        }
        CHECK(bytes == t->level[l].bytes);
        CHECK((t->level[l].count == 0) == (t->level[l].runs == NULL));
    }
    return text;
}

TEST(version_orders_level_0_by_age_and_the_others_by_key)
{
    struct lsm_version *v0 = begin(), *v1, *v2;

    CHECK_OK(APPLY(v0, &v1, T(1), T(200), A(1, 0, 10, 0, 9, 100),
                   A(1, 0, 12, 0, 9, 300), A(1, 0, 11, 0, 9, 200),
                   A(1, 2, 13, 50, 59, 1), A(1, 2, 14, 10, 19, 1),
                   A(1, 2, 15, 30, 39, 1), A(200, 1, 16, 19, 10, 1),
                   A(200, 1, 17, 39, 30, 1)));
    CHECK_STR(shape(v1, 1), "0:12,11,10 2:14,15,13");
    CHECK_STR(shape(v1, 200), "1:17,16");
    CHECK_STR(shape(v1, 2), "none");
    CHECK_OK(APPLY(v1, &v2, A(1, 0, 20, 0, 9, 250), A(1, 2, 21, 20, 29, 1),
                   A(1, 2, 22, 60, 69, 1), A(1, 2, 23, 0, 9, 1), R(1, 2, 15)));
    CHECK_STR(shape(v2, 1), "0:12,20,11,10 2:23,14,21,13,22");
    CHECK_STR(shape(v1, 1), "0:12,11,10 2:14,15,13");
    lsm_version_unref(v0);
    lsm_version_unref(v1);
    CHECK_INT(heard.died[15], 1);
    lsm_version_unref(v2);
    fault_end();
}

TEST(version_shares_what_an_edit_does_not_touch)
{
    struct lsm_version *v0 = begin(), *v1, *v2;
    const struct lsm_tree_version *a, *b;

    CHECK_OK(APPLY(v0, &v1, T(1), T(2), A(1, 0, 10, 0, 9, 1),
                   A(1, 1, 11, 0, 9, 1), A(2, 1, 12, 0, 9, 1)));
    CHECK_OK(APPLY(v1, &v2, A(1, 0, 13, 0, 9, 2)));
    CHECK(lsm_version_tree(v1, 2) == lsm_version_tree(v2, 2));
    a = lsm_version_tree(v1, 1);
    b = lsm_version_tree(v2, 1);
    CHECK(a != b);
    CHECK(a->level[1].runs == b->level[1].runs);
    CHECK(a->level[0].runs != b->level[0].runs);
    CHECK(a->level[0].runs[0] == b->level[0].runs[1]);
    lsm_version_unref(v1);
    lsm_version_unref(v0);
    CHECK_STR(shape(v2, 1), "0:13,10 1:11");
    CHECK_STR(shape(v2, 2), "1:12");
    lsm_version_unref(v2);
    lsm_version_unref(NULL);
    fault_end();
}

TEST(version_tells_once_that_a_run_is_obsolete_and_only_with_its_last_version)
{
    struct lsm_version *v0 = begin(), *v1, *v2, *v3;

    CHECK_OK(APPLY(v0, &v1, T(1), T(2), A(1, 0, 10, 0, 9, 1),
                   A(1, 0, 11, 0, 9, 2), A(2, 3, 12, 0, 9, 2)));
    CHECK_OK(APPLY(v1, &v2, R(1, 0, 10), D(2)));
    CHECK_STR(shape(v2, 2), "none");
    CHECK_OK(APPLY(v2, &v3, A(1, 0, 13, 0, 9, 3)));
    lsm_version_ref(v1);                        /* a cursor */
    lsm_version_unref(v0);
    lsm_version_unref(v1);
    lsm_version_unref(v2);
    CHECK_INT(heard.died[10] + heard.died[11] + heard.died[12], 0);
    lsm_version_unref(v1);
    CHECK_INT(heard.died[10], 1);
    CHECK_INT(heard.died[11], 0);
    CHECK_INT(heard.died[12], 1);
    v3->obsolete = NULL;                        /* close: the files stay */
    lsm_version_unref(v3);
    CHECK_INT(heard.died[11] + heard.died[13], 0);
    fault_end();
}

TEST(version_move_keeps_the_run_and_its_file_alive)
{
    struct lsm_version *v0 = begin(), *v1, *v2;
    const struct lsm_run *run;

    CHECK_OK(APPLY(v0, &v1, T(1), A(1, 0, 10, 0, 9, 1), A(1, 1, 11, 20, 29, 1)));
    run = lsm_version_tree(v1, 1)->level[0].runs[0];
    CHECK_OK(APPLY(v1, &v2, A(1, 1, 10, 0, 9, 1), R(1, 0, 10)));
    CHECK_STR(shape(v2, 1), "1:10,11");
    CHECK(lsm_version_tree(v2, 1)->level[1].runs[0] == run);
    lsm_version_unref(v0);
    lsm_version_unref(v1);
    CHECK_INT(heard.died[10], 0);
    CHECK_INT(memcmp(run->meta.smallest.data, "000", 3), 0);
    lsm_version_unref(v2);
    CHECK_INT(heard.died[10], 1);
    fault_end();
}

TEST(version_refuses_an_edit_that_does_not_fit_and_nothing_dies_of_it)
{
    struct lsm_version *v0 = begin(), *v1, *v;

    CHECK_OK(APPLY(v0, &v1, T(1), T(2), A(1, 0, 10, 0, 9, 1),
                   A(1, 1, 11, 20, 29, 1), A(1, 1, 13, 40, 49, 1),
                   A(1, 0, 15, 0, 9, 9), A(2, 1, 14, 0, 9, 1)));
#define MISFIT(...) (CHECK_RC(APPLY(v1, &v, __VA_ARGS__), LSM_CORRUPT), CHECK(v == NULL))
    MISFIT(R(1, 0, 99));                                  /* not there */
    MISFIT(R(1, 1, 10));                                  /* in another level */
    MISFIT(R(1, 1, 10), R(1, 0, 15));                           /* also beside a right one */
    MISFIT(R(2, 0, 10));                                  /* of another tree */
    MISFIT(R(7, 0, 10));                                  /* of no tree */
    MISFIT(R(1, 0, 10), R(1, 0, 10));
    MISFIT(R(1, 0, 10), R(1, 1, 10));
    MISFIT(A(3, 0, 20, 0, 9, 1));                         /* no tree */
    MISFIT(A(1, 1, 20, 10, 20, 1));                       /* overlaps its right neighbour */
    MISFIT(A(1, 1, 20, 29, 30, 1));                       /* its left one, by one key */
    MISFIT(A(1, 1, 20, 0, 99, 1));
    MISFIT(A(1, 1, 20, 22, 23, 1));                       /* inside */
    MISFIT(A(1, 2, 20, 0, 9, 1), A(1, 2, 21, 9, 10, 1));
    MISFIT(A(1, 2, 20, 9, 0, 1));                         /* upside down */
    MISFIT(A(1, 0, 20, 9, 0, 1));
    MISFIT(A(1, 0, 20, 0, 9, 1), A(1, 3, 20, 0, 9, 1));
    MISFIT(A(1, 0, 11, 0, 9, 1));                         /* there, in level 1 */
    MISFIT(A(2, 0, 11, 0, 9, 1));                         /* there, in another tree */
    MISFIT(R(1, 1, 11), A(2, 2, 11, 20, 29, 1));    /* moved to another tree */
    MISFIT(R(1, 1, 11), A(1, 2, 11, 20, 29, 7));    /* moved, but not the same */
    MISFIT(T(1));
    MISFIT(T(5), T(5));
    MISFIT(D(5));
    MISFIT(D(1), D(1));
    MISFIT(D(1), R(1, 0, 10));
    MISFIT(D(1), A(1, 0, 20, 0, 9, 1));
    MISFIT(T(5), A(5, 0, 20, 0, 9, 1), R(1, 0, 99));
    for (int i = 0; i < 200; i++)
        CHECK_INT(heard.died[i], 0);
    CHECK_STR(shape(v1, 1), "0:15,10 1:11,13");
    /* what only just fits */
    CHECK_OK(APPLY(v1, &v, A(1, 1, 20, 30, 39, 1), A(1, 1, 21, 0, 19, 1),
                   A(1, 1, 9, 50, 50, 1)));
    CHECK_STR(shape(v, 1), "0:15,10 1:21,11,20,13,9");
    lsm_version_unref(v1);
    v1 = v;
    CHECK_OK(APPLY(v1, &v, A(2, 0, 5, 0, 9, 1)));               /* a lower number later */
    lsm_version_unref(v1);
    v1 = v;
    MISFIT(A(2, 0, 21, 0, 9, 1));
    lsm_version_unref(v1);
    lsm_version_unref(v0);
    fault_end();
}

TEST(version_without_memory_leaves_its_base_as_it_was)
{
    struct lsm_version *v0 = begin(), *v1, *v = NULL;
    int rc = LSM_OK;

    CHECK_OK(APPLY(v0, &v1, T(1), T(2), A(1, 0, 10, 0, 9, 1),
                   A(1, 1, 11, 20, 29, 1), A(2, 1, 14, 0, 9, 1)));
    for (int at = 1; at < 100; at++) {
        uint64_t used = fault.base->mem_used(fault.base);

        fault_arm(FAULT_MEMORY, at);
        rc = APPLY(v1, &v, T(3), A(3, 0, 20, 0, 9, 1), R(1, 0, 10),
                   A(1, 2, 21, 0, 9, 1), A(1, 2, 22, 10, 19, 1));
        fault_arm(0, 0);
        if (rc == LSM_OK)
            break;
        CHECK_RC(rc, LSM_NOMEM);
        CHECK(v == NULL);
        CHECK_INT(fault.base->mem_used(fault.base), used);
        CHECK_STR(shape(v1, 1), "0:10 1:11");
    }
    CHECK_OK(rc);
    CHECK_INT(heard.died[10] + heard.died[20] + heard.died[21], 0);
    lsm_version_unref(v);
    lsm_version_unref(v1);
    lsm_version_unref(v0);
    fault_end();
}

TEST(version_as_an_edit_makes_the_same_version_again)
{
    struct lsm_version *v0 = begin(), *v1, *v2;
    struct lsm_edit_tree tree = { .id = 1 };
    struct lsm_edit e;

    CHECK_OK(APPLY(v0, &v1, T(1), T(150), A(1, 0, 10, 0, 9, 1),
                   A(1, 0, 11, 0, 9, 2), A(1, 5, 13, 40, 49, 1),
                   A(150, 1, 14, 9, 0, 1), A(150, 1, 15, 19, 10, 1)));
    lsm_edit_init(&e, fault.os);
    lsm_edit_add_tree(&e, &tree);
    tree.id = 150;
    lsm_edit_add_tree(&e, &tree);
    lsm_version_to_edit(v1, &e);
    CHECK_OK(lsm_version_apply(v0, &e, &v2));
    lsm_edit_clear(&e);
    CHECK_STR(shape(v2, 1), "0:11,10 5:13");
    CHECK_STR(shape(v2, 150), "1:15,14");
    lsm_version_unref(v0);
    lsm_version_unref(v1);
    lsm_version_unref(v2);
    fault_end();
}

TEST(level_find_and_overlaps_agree_with_looking_at_every_run)
{
    struct lsm_version *v0 = begin(), *v1;
    const struct lsm_level *level;

    CHECK_OK(APPLY(v0, &v1, T(1), A(1, 1, 10, 5, 9, 1), A(1, 1, 11, 20, 20, 1),
                   A(1, 1, 12, 30, 39, 1)));
    level = &lsm_version_tree(v1, 1)->level[1];
    for (unsigned lo = 0; lo < 50; lo++) {
        uint32_t first = 0;

        while (first < 3 && lsm_slice_compare(level->runs[first]->meta.largest, key(lo)) < 0)
            first++;
        CHECK_INT(lsm_level_find(level, NULL, key(lo)), first);
        for (unsigned hi = lo; hi < 50; hi++) {
            bool touches = (lo <= 9 && hi >= 5) || (lo <= 20 && hi >= 20) || (lo <= 39 && hi >= 30);

            CHECK_INT(lsm_level_overlaps(level, true, NULL, key(lo), key(hi)), touches);
            CHECK_INT(lsm_level_overlaps(level, false, NULL, key(lo), key(hi)), touches);
        }
    }
    level = &lsm_version_tree(v1, 1)->level[4];
    CHECK_INT(lsm_level_find(level, NULL, key(0)), 0);
    CHECK(!lsm_level_overlaps(level, true, NULL, key(0), key(9)));
    lsm_version_unref(v0);
    lsm_version_unref(v1);
    fault_end();
}

/* A model: tables in an array. Random edits, right and wrong; versions held for a while. */
enum { MODEL_MAX = 190 };

struct model {
    struct { bool lives; uint32_t tree, level; unsigned lo, hi; uint64_t seq; } t[200];
    bool tree[4];
};

/* Is it a state that a version may have? */
static bool model_fits(const struct model *m)
{
    for (int i = 0; i < 200; i++) {
        if (!m->t[i].lives)
            continue;
        if (!m->tree[m->t[i].tree])
            return false;
        for (int k = 0; k < i && m->t[i].level > 0; k++)
            if (m->t[k].lives && m->t[k].tree == m->t[i].tree && m->t[k].level == m->t[i].level &&
                m->t[k].lo <= m->t[i].hi && m->t[k].hi >= m->t[i].lo)
                return false;
    }
    return true;
}

static void check_model(const struct model *m, const struct lsm_version *v)
{
    int lives = 0, found = 0;

    for (int i = 0; i < 200; i++)
        lives += m->t[i].lives;
    for (uint32_t id = 0; id < 4; id++) {
        const struct lsm_tree_version *t = lsm_version_tree(v, id);

        if (!CHECK_INT(t != NULL, m->tree[id]) || !t)
            continue;
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            for (uint32_t i = 0; i < t->level[l].count; i++) {
                const struct lsm_run *run = t->level[l].runs[i];
                uint64_t n = run->meta.number;

                found++;
                CHECK(n < 200 && m->t[n].lives && m->t[n].tree == id && m->t[n].level == l);
                CHECK(lsm_slice_equal(run->meta.smallest, key(m->t[n].lo)));
                CHECK_INT(heard.died[n], 0);
                if (i > 0 && l > 0)
                    CHECK(lsm_slice_compare(t->level[l].runs[i - 1]->meta.largest,
                                            run->meta.smallest) < 0);
                if (i > 0 && l == 0)
                    CHECK(t->level[l].runs[i - 1]->meta.seq_max >= run->meta.seq_max);
            }
        }
    }
    CHECK_INT(found, lives);
}

TEST(version_follows_a_model_under_random_edits)
{
    for (int round = 0; round < (test_long() ? 500 : 40); round++) {
        struct lsm_version *held[5] = { NULL };
        struct lsm_version *v = begin(), *next;
        struct model m = { 0 };
        uint64_t number = 1;

        while (number < MODEL_MAX) {
            struct step steps[24];
            struct model after = m;
            size_t n = 0, h = test_below(5);
            bool touched[200] = { false }, fits;
            int rc;

            for (uint32_t id = 0; id < 4; id++) {
                if (test_below(20) == 0) {
                    bool create = !after.tree[id];

                    steps[n++] = (struct step){ .what = create ? 'T' : 'D', .tree = id };
                    after.tree[id] = create;
                    for (int i = 0; i < 200 && !create; i++)
                        if (after.t[i].tree == id)
                            after.t[i].lives = false;
                }
            }
            for (int k = 0; k < 8 && n < 18; k++) {             /* remove, and maybe move */
                uint64_t i = test_below(number);

                if (!after.t[i].lives || touched[i] || test_below(2))
                    continue;
                touched[i] = true;
                steps[n++] = (struct step)R(after.t[i].tree, after.t[i].level, i);
                after.t[i].lives = test_below(3) == 0;
                if (after.t[i].lives) {
                    after.t[i].level = (uint32_t)test_below(LSM_LEVEL_COUNT_MAX);
                    steps[n++] = (struct step)A(after.t[i].tree, after.t[i].level, i, after.t[i].lo,
                                                after.t[i].hi, after.t[i].seq);
                }
            }
            for (uint64_t k = test_below(4); k; k--, number++) {
                unsigned lo = (unsigned)test_below(300), hi = lo + (unsigned)test_below(15);

                after.t[number].lives = true;
                after.t[number].tree = (uint32_t)test_below(4);
                after.t[number].level = (uint32_t)test_below(4);
                after.t[number].lo = lo;
                after.t[number].hi = hi;
                after.t[number].seq = test_below(50);
                steps[n++] = (struct step)A(after.t[number].tree, after.t[number].level, number, lo,
                                            hi, after.t[number].seq);
            }
            fits = model_fits(&after);
            rc = apply_steps(v, steps, n, &next);
            if (!CHECK_RC(rc, fits ? LSM_OK : LSM_CORRUPT) || rc != LSM_OK)
                continue;
            m = after;
            check_model(&m, next);
            lsm_version_unref(held[h]);
            held[h] = v;
            v = next;
        }
        for (int i = 0; i < 5; i++)
            lsm_version_unref(held[i]);
        for (int i = 0; i < 200; i++)
            CHECK(heard.died[i] <= 1 && (!heard.died[i] || !m.t[i].lives));
        check_model(&m, v);
        lsm_version_unref(v);
        for (int i = 0; i < 200; i++)
            CHECK(heard.died[i] == 1 || !m.t[i].lives);
        fault_end();
    }
}

TEST(version_of_many_tables_in_any_order_is_built_in_order)
{
    enum { MANY = 20000 };
    static char text[MANY][8];
    struct lsm_version *v0 = begin(), *v1;
    struct lsm_edit_tree tree = { .id = 1 };
    const struct lsm_level *level;
    struct lsm_edit e;
    uint32_t *order = malloc(MANY * sizeof(*order));

    lsm_edit_init(&e, fault.os);
    lsm_edit_add_tree(&e, &tree);
    for (uint32_t i = 0; i < MANY; i++)
        order[i] = i;
    for (uint32_t i = MANY - 1; i > 0; i--) {
        uint32_t j = (uint32_t)test_below(i + 1), t = order[i];

        order[i] = order[j];
        order[j] = t;
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct lsm_table_meta meta = { .tree = 1, .number = 1000 + i };

        snprintf(text[i], sizeof(text[i]), "%06u", (unsigned)order[i]);
        meta.smallest = meta.largest = lsm_slice(text[i], 6);
        lsm_edit_add_table(&e, 1, &meta);
    }
    CHECK_OK(lsm_version_apply(v0, &e, &v1));
    lsm_edit_clear(&e);
    level = &lsm_version_tree(v1, 1)->level[1];
    CHECK_INT(level->count, MANY);
    for (uint32_t i = 1; i < level->count; i++)
        CHECK(lsm_slice_compare(level->runs[i - 1]->meta.smallest,
                                level->runs[i]->meta.smallest) < 0);
    lsm_version_unref(v1);
    lsm_version_unref(v0);
    free(order);
    fault_end();
}

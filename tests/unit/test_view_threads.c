/*
 * test_view_threads.c -- the current view is taken without a lock: it lives as long as
 * somebody has it, however often it was taken, and no longer.
 */
#include "lsm/db/db.h"
#include "tests/test.h"

#define TAKES 200000            /* more than the word's count could hold */

static struct lsm_slice text(const char *s)
{
    return (struct lsm_slice){ (const uint8_t *)s, strlen(s) };
}

static struct lsm_db *open_store(struct lsm_tree **tree)
{
    struct lsm_options options;
    struct lsm_db *db;

    lsm_options_init(&options);
    options.create_if_missing = true;
    CHECK_OK(lsm_db_open(NULL, &options, &db));
    CHECK_OK(lsm_tree_create(db, text("t"), NULL, tree));
    return db;
}

/* Another view takes the place of the current one. */
static void replace_view(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_view *old = lsm_view_current(db);        /* so that no other can come to stand at its address */

    CHECK_OK(lsm_db_put(db, tree, text("k"), text("v"), false));
    CHECK_OK(lsm_db_flush(db));
    CHECK(db->view != old);
    lsm_view_unref(old);
}

TEST(view_taken_more_often_than_its_word_counts_keeps_every_reference)
{
    struct lsm_view *held[TAKES / 1000], *view;
    struct lsm_tree *tree;
    struct lsm_db *db = open_store(&tree);
    size_t count = 0;

    replace_view(db, tree);
    view = db->view;
    for (int i = 0; i < TAKES; i++) {
        struct lsm_view *taken = lsm_view_current(db);

        if (!CHECK(taken == view))
            break;
        if (i % 1000 == 0)
            held[count++] = taken;
        else
            lsm_view_unref(taken);
    }
    replace_view(db, tree);
    CHECK_INT(atomic_load(&view->refs), count);
    while (count > 0) {
        CHECK(held[--count]->version != NULL);
        lsm_view_unref(held[count]);
    }
    CHECK_OK(lsm_db_close(db));
}

static struct {
    struct lsm_db *db;
    struct lsm_tree *tree;
    atomic_bool stop;
} shared;

static void take_and_release(void *ctx)
{
    struct lsm_view *held[8] = { NULL };

    (void)ctx;
    for (uint32_t i = 0; !atomic_load(&shared.stop); i++) {
        lsm_view_unref(held[i % 8]);
        held[i % 8] = lsm_view_current(shared.db);
        CHECK(held[i % 8]->unit_count < 100);
    }
    for (int i = 0; i < 8; i++)
        lsm_view_unref(held[i]);
}

TEST(view_is_replaced_beside_readers_that_take_it)
{
    struct lsm_thread *threads[3];
    struct lsm_os *os;
    struct lsm_view *view;

    shared.db = open_store(&shared.tree);
    os = shared.db->os;
    atomic_store(&shared.stop, false);
    for (int i = 0; i < 3; i++)
        CHECK_INT(os->thread_start(os, take_and_release, NULL, &threads[i]), 0);
    for (int i = 0; i < (test_long() ? 2000 : 200); i++)
        replace_view(shared.db, shared.tree);
    view = lsm_view_current(shared.db);
    atomic_store(&shared.stop, true);
    for (int i = 0; i < 3; i++)
        os->thread_join(threads[i]);
    CHECK_OK(lsm_db_put(shared.db, shared.tree, text("k"), text("v"), false));
    CHECK_OK(lsm_db_flush(shared.db));
    CHECK_INT(atomic_load(&view->refs), 1);     /* all others are gone */
    lsm_view_unref(view);
    CHECK_OK(lsm_db_close(shared.db));
}

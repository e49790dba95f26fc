/*
 * test_dead_threads.c -- a row that is put while readers learn that there is none: whoever looks
 * afterwards sees it.
 */
#include <sched.h>

#include "lsm/db/db.h"
#include "tests/test.h"

#define ROWS 40u                /* enough to be walked over, and learned */
#define READERS 4

static struct {
    struct lsm_db *db;
    struct lsm_tree *tree;
    atomic_bool stop;
    atomic_uint looks[READERS];         /* of each reader so many */
} shared;

static struct lsm_slice key_of(uint64_t id, uint8_t bytes[8])
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(id >> (56 - 8 * i));
    return (struct lsm_slice){ bytes, 8 };
}

/* The first row; UINT64_MAX: none. */
static uint64_t head(void)
{
    struct lsm_cursor *c;
    uint64_t id = UINT64_MAX;

    CHECK_OK(lsm_cursor_open(shared.tree, NULL, &c));
    if (lsm_cursor_first(c) == LSM_OK) {
        struct lsm_slice key = lsm_cursor_key(c);
        id = 0;
        for (size_t i = 0; i < 8; i++)
            id = id << 8 | key.data[i];
    }
    lsm_cursor_close(c);
    return id;
}

static void look_and_learn(void *ctx)
{
    atomic_uint *looks = ctx;

    while (!atomic_load(&shared.stop)) {
        head();
        atomic_fetch_add(looks, 1);
    }
}

/* Whoever was looking has learned. */
static void wait_for_readers(void)
{
    for (int i = 0; i < READERS; i++) {
        unsigned begun = atomic_load(&shared.looks[i]);
        while (atomic_load(&shared.looks[i]) == begun)
            sched_yield();
    }
}

static void put(uint64_t id)
{
    uint8_t bytes[8];

    CHECK_OK(lsm_db_put(shared.db, shared.tree, key_of(id, bytes), (struct lsm_slice){ bytes, 1 }, false));
}

static void drop(uint64_t id)
{
    uint8_t bytes[8];

    CHECK_OK(lsm_db_delete(shared.db, shared.tree, key_of(id, bytes), false));
}

/* As a flush does: the next put makes a view that readers at work do not have. */
static void seal_memtable(void)
{
    struct lsm_db *db = shared.db;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    db->active = NULL;
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
}

static void put_while_others_learn(int puts, bool seals)
{
    struct lsm_thread *threads[READERS];
    struct lsm_options options;
    struct lsm_os *os;

    lsm_options_init(&options);
    options.create_if_missing = true;
    options.no_worker = true;           /* all deletes stay in the memtable */
    CHECK_OK(lsm_db_open(NULL, &options, &shared.db));
    CHECK_OK(lsm_tree_create(shared.db, (struct lsm_slice){ (const uint8_t *)"q", 1 }, NULL, &shared.tree));
    os = shared.db->os;
    for (uint64_t id = 0; id < ROWS; id++)
        put(id);
    put(1000);
    for (uint64_t id = 0; id < ROWS; id++)
        drop(id);
    atomic_store(&shared.stop, false);
    for (int i = 0; i < READERS; i++)
        CHECK_INT(os->thread_start(os, look_and_learn, &shared.looks[i], &threads[i]), 0);
    for (int i = 0; i < puts && test_state.failures == 0; i++) {
        uint64_t id = (uint64_t)test_below(ROWS);

        if (seals)
            seal_memtable();
        put(id);
        CHECK_INT(head(), id);
        if (seals) {
            wait_for_readers();
            CHECK_INT(head(), id);
        }
        drop(id);
        CHECK_INT(head(), 1000);
        lsm_dead_forget_all(shared.db);         /* so that it is learned again */
    }
    atomic_store(&shared.stop, true);
    for (int i = 0; i < READERS; i++)
        os->thread_join(threads[i]);
    CHECK_OK(lsm_db_close(shared.db));
}

TEST(row_put_while_its_stretch_is_learned_is_seen)
{
    /* Not all in one store: each look walks over what was deleted in it. */
    for (uint64_t i = 0; i < test_share(test_long() ? 100 : 15) && test_state.failures == 0; i++)
        put_while_others_learn(2000, false);
}

TEST(row_put_to_a_new_memtable_while_its_stretch_is_learned_is_seen)
{
    for (uint64_t i = 0; i < test_share(test_long() ? 500 : 15) && test_state.failures == 0; i++)
        put_while_others_learn(10, true);
}

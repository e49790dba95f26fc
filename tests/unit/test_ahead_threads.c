/*
 * test_ahead_threads.c -- the worker's sync of the log beside writers: they go on while it runs, and a sync of
 * their own waits for it.
 */
#include <pthread.h>
#include <sched.h>

#include "lsm/db/db.h"
#include "tests/test.h"

enum { ROOM = 4096 };

static struct lsm_os *base, *os;
static int (*real_sync)(struct lsm_file *file);
static int (*real_write)(struct lsm_file *file, const void *data, size_t size, uint64_t off);
static atomic_bool is_full;

/* The next sync stops here, and fails or not when it goes on. */
static struct {
    atomic_bool armed, stands, open;
    int error;
    atomic_int calls;
} gate;

static int gate_sync(struct lsm_file *file)
{
    bool armed = true;
    int error;

    atomic_fetch_add(&gate.calls, 1);
    if (!atomic_compare_exchange_strong(&gate.armed, &armed, false))
        return real_sync(file);
    error = gate.error;
    atomic_store(&gate.stands, true);
    while (!atomic_load(&gate.open))
        sched_yield();
    return error ? error : real_sync(file);
}

static int full_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    return atomic_load(&is_full) ? ENOSPC : real_write(file, data, size, off);
}

static int settle(void *ctx, bool suspect)
{
    (void)ctx;
    (void)suspect;
    return LSM_OK;
}

static atomic_int write_backs;

static void write_back(void *ctx)
{
    (void)ctx;
    CHECK(!atomic_load(&gate.stands));  /* it goes on during our sync */
    atomic_fetch_add(&write_backs, 1);
}

static struct lsm_slice text(const char *s)
{
    return lsm_slice((const uint8_t *)s, strlen(s));
}

static struct lsm_db *db;
static struct lsm_tree *tree;
static struct lsm_token newest;

static bool store_begin(void)
{
    static const struct lsm_host host = { .settle = settle, .write_back = write_back };
    struct lsm_options o;

    memset(&gate, 0, sizeof gate);
    memset(&newest, 0, sizeof newest);
    atomic_store(&write_backs, 0);
    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    real_sync = os->file_sync;
    os->file_sync = gate_sync;
    real_write = os->file_write;
    os->file_write = full_write;
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.no_worker = true;
    o.host = &host;
    return CHECK_OK(lsm_db_open("a", &o, &db)) && CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree));
}

static void store_end(void)
{
    CHECK_OK(lsm_db_close(db));
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

/* One transaction; its prepare's answer. */
static int commit(const char *key, uint64_t room, bool *is_carried)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = true, .redo_room = room };
    struct lsm_token token;
    struct lsm_redo redo;
    struct lsm_txn *txn;
    int rc;

    if (!CHECK_OK(lsm_txn_begin(db, &newest, &txn)))
        return LSM_MISUSE;
    CHECK_OK(lsm_txn_put(txn, tree, text(key), text("value")));
    rc = lsm_txn_prepare(txn, &how, &token);
    lsm_txn_redo(txn, &redo);
    *is_carried = redo.bytes.size > 0;
    if (rc) {
        lsm_txn_abort(txn);
        return rc;
    }
    lsm_txn_commit(txn, false);
    newest = token;
    return rc;
}

static bool is_wanted(void)
{
    bool wanted;

    lsm_db_lock(db);
    wanted = db->ahead_wanted;
    lsm_db_unlock(db);
    return wanted;
}

static void *work(void *arg)
{
    (void)arg;
    CHECK_OK(lsm_db_step(db));
    return NULL;
}

struct writer {
    int rc;
    atomic_bool done;
};

static void *write_synced(void *arg)
{
    struct writer *w = arg;
    bool is_carried;

    w->rc = commit("synced", 0, &is_carried);
    atomic_store(&w->done, true);
    return NULL;
}

static void *write_carried(void *arg)
{
    struct writer *w = arg;
    bool is_carried;

    w->rc = commit("carried", ROOM, &is_carried);
    atomic_store(&w->done, true);
    return NULL;
}

/* Fill half of the area: that asks for a sync. */
static bool fill_half(void)
{
    bool is_carried = true;
    int count = 0;

    while (is_carried && !is_wanted() && count++ < 100)
        CHECK_OK(commit("half", ROOM, &is_carried));
    return CHECK(is_carried && is_wanted());
}

static bool stop_worker(pthread_t *worker, int error)
{
    gate.error = error;
    atomic_store(&gate.armed, true);
    if (!CHECK_INT(pthread_create(worker, NULL, work, NULL), 0))
        return false;
    while (!atomic_load(&gate.stands))
        sched_yield();
    return true;
}

static bool worker_stands(pthread_t *worker, int error)
{
    return fill_half() && stop_worker(worker, error);
}

TEST(ahead_writers_carry_on_while_the_worker_syncs)
{
    pthread_t worker;
    bool is_carried;
    int calls;

    if (!store_begin() || !worker_stands(&worker, 0))
        return;
    calls = atomic_load(&gate.calls);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(commit("meanwhile", ROOM, &is_carried));
        CHECK(is_carried);
    }
    CHECK_INT(atomic_load(&gate.calls), calls);
    atomic_store(&gate.open, true);
    pthread_join(worker, NULL);
    CHECK_INT(atomic_load(&write_backs), 1);
    for (int i = 0; i < 6; i++) {       /* in the places that are free now */
        CHECK_OK(commit("after", ROOM, &is_carried));
        CHECK(is_carried);
    }
    CHECK_INT(atomic_load(&gate.calls), calls);
    store_end();
}

TEST(ahead_a_writers_own_sync_waits_and_hears_of_a_failure)
{
    struct writer w = { .rc = LSM_OK };
    pthread_t worker, writer;
    bool is_carried;

    if (!store_begin() || !worker_stands(&worker, EIO))
        return;
    if (!CHECK_INT(pthread_create(&writer, NULL, write_synced, &w), 0))
        return;
    for (int i = 0; i < 50 && !atomic_load(&w.done); i++)
        os->sleep_us(os, 1000);
    CHECK(!atomic_load(&w.done));
    atomic_store(&gate.open, true);
    pthread_join(worker, NULL);
    pthread_join(writer, NULL);
    CHECK_RC(w.rc, LSM_FSYNC);
    CHECK_INT(atomic_load(&write_backs), 1);
    CHECK_OK(commit("after", 0, &is_carried));  /* in a fresh log */
    store_end();
}

/* What a full disk had no room for is cut off, but from a log whose sync has failed. */
TEST(ahead_a_log_whose_sync_failed_does_not_go_on_on_a_full_disk)
{
    struct writer w = { .rc = LSM_OK };
    pthread_t worker, writer;
    bool is_carried;
    int calls;

    if (!store_begin() || !worker_stands(&worker, EIO))
        return;
    calls = atomic_load(&gate.calls);
    atomic_store(&is_full, true);
    if (!CHECK_INT(pthread_create(&writer, NULL, write_carried, &w), 0))
        return;
    for (int i = 0; i < 50 && !atomic_load(&w.done); i++)
        os->sleep_us(os, 1000);
    CHECK(!atomic_load(&w.done));
    atomic_store(&gate.open, true);
    pthread_join(writer, NULL);
    pthread_join(worker, NULL);
    CHECK_RC(w.rc, LSM_FULL);
    CHECK_INT(atomic_load(&gate.calls), calls);         /* it is not asked again */
    atomic_store(&is_full, false);
    CHECK_OK(commit("after", 0, &is_carried));
    store_end();
}

static void *abort_txn(void *arg)
{
    CHECK_OK(lsm_txn_abort(arg));
    return NULL;
}

/* R9 on a full disk: no ABORT has room, and the log is cut before the solo, which the worker's sync took for its end. */
TEST(R9_a_sync_that_ran_while_its_end_was_cut_off_says_nothing_of_the_log)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO };
    pthread_t worker, writer;
    struct lsm_token token;
    struct lsm_txn *txn;
    bool is_carried;
    uint64_t size;

    if (!store_begin() || !fill_half())
        return;
    size = db->log.size;
    CHECK_OK(lsm_txn_begin(db, &newest, &txn));
    CHECK_OK(lsm_txn_put(txn, tree, text("never"), text("value")));
    CHECK_OK(lsm_txn_prepare(txn, &how, &token));
    if (!CHECK(db->log.size > size) || !stop_worker(&worker, 0))
        return;
    atomic_store(&is_full, true);
    if (!CHECK_INT(pthread_create(&writer, NULL, abort_txn, txn), 0))
        return;
    os->sleep_us(os, 20000);
    atomic_store(&gate.open, true);
    pthread_join(writer, NULL);
    pthread_join(worker, NULL);
    atomic_store(&is_full, false);
    CHECK_INT(db->log.size, size);
    CHECK_INT(db->log.synced, size);
    CHECK_OK(commit("after", 0, &is_carried));
    CHECK_OK(lsm_db_check(db));
    store_end();
}

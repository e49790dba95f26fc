/*
 * test_db_threads.c -- one store, many threads: a writer or several, readers by
 * get, cursor and snapshot, flushes and compactions by hand beside the worker,
 * trees that come and go, statistics. What every reader checks is that it sees
 * whole transactions: each writes one number under every key.
 */
#include <pthread.h>

#include "lsm/os/os.h"
#include "tests/noise.h"
#include "tests/test.h"

#define KEYS 40

static struct shared {
    struct lsm_db *db;
    struct lsm_tree *tree;
    atomic_bool stop;
    atomic_uint_least64_t committed;    /* newest number that is surely there */
    atomic_int reads;
    bool with_host;
    pthread_mutex_t write_lock;         /* the host's: SQLite's */
    struct lsm_token token;             /* what the host has committed; write_lock */
    atomic_int settle_rc;
} x;

static struct lsm_slice key_of(int i, char buf[16])
{
    int n = snprintf(buf, 16, "key%04d", i);
    return (struct lsm_slice){ (uint8_t *)buf, (size_t)n };
}

static struct lsm_slice name_of(const char *s)
{
    return (struct lsm_slice){ (const uint8_t *)s, strlen(s) };
}

static int settle(void *ctx, bool suspect)
{
    (void)ctx, (void)suspect;
    return atomic_load(&x.settle_rc);
}

/* One transaction: `number` under every key, in a value that fills memtables. */
static bool write_all(uint64_t number, size_t size)
{
    static _Thread_local uint8_t value[3000];
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT };
    struct lsm_txn *txn;
    char key[16];
    struct lsm_token token;

    memcpy(value, &number, 8);
    if (!CHECK_OK(lsm_txn_begin(x.db, x.with_host ? &x.token : NULL, &txn)))
        return false;
    for (int i = 0; i < KEYS; i++)
        if (!CHECK_OK(lsm_txn_put(txn, x.tree, key_of(i, key), (struct lsm_slice){ value, size }))) {
            lsm_txn_abort(txn);
            return false;
        }
    if (!x.with_host)
        return CHECK_OK(lsm_txn_commit_alone(txn, false));
    if (!CHECK_OK(lsm_txn_prepare(txn, &how, &token))) {
        lsm_txn_abort(txn);
        return false;
    }
    if (number % 11 == 5) {
        CHECK_OK(lsm_txn_abort(txn));
        return true;
    }
    x.token = token;
    lsm_txn_commit(txn, number % 3 == 0);
    atomic_store(&x.committed, number);
    return true;
}

static void *writer(void *arg)
{
    uint64_t number = 1 + (uintptr_t)arg * 1000000;

    while (!atomic_load(&x.stop) && write_all(number, number % 8 ? 300 : 3000)) {
        if (!x.with_host)
            atomic_store(&x.committed, number);
        number++;
    }
    return NULL;
}

static uint64_t number_in(struct lsm_slice value)
{
    uint64_t n = 0;

    if (CHECK(value.size >= 8))
        memcpy(&n, value.data, 8);
    return n;
}

/* All keys have one number. */
static void check_scan(const struct lsm_read *read, uint64_t *seen)
{
    struct lsm_cursor *c;
    uint64_t first = 0;
    int n = 0, rc;

    if (!CHECK_OK(lsm_cursor_open(x.tree, read, &c)))
        return;
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c), n++) {
        uint64_t number = number_in(lsm_cursor_value(c));
        if (n == 0)
            first = number;
        CHECK_INT(number, first);
    }
    CHECK_INT(rc, LSM_DONE);
    CHECK(n == 0 || n == KEYS);
    for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c), n--)
        CHECK_INT(number_in(lsm_cursor_value(c)), first);
    CHECK_INT(rc, LSM_DONE);
    CHECK_INT(n, 0);
    lsm_cursor_close(c);
    *seen = first;
}

static void *reader(void *arg)
{
    uint64_t number = 0, again = 0;
    char key[16];

    (void)arg;
    while (!atomic_load(&x.stop)) {
        struct lsm_snapshot *snapshot;
        struct lsm_value value;
        check_scan(NULL, &number);
        if (!CHECK_OK(lsm_snapshot_open(x.db, &snapshot)))
            break;
        struct lsm_read read = { .snapshot = snapshot };
        check_scan(&read, &number);
        for (int i = 0; i < KEYS && number; i += 7) {
            if (CHECK_OK(lsm_tree_get(x.tree, &read, key_of(i, key), &value)))
                CHECK_INT(number_in(value.bytes), number);
            lsm_value_release(&value);
        }
        check_scan(&read, &again);
        CHECK_INT(number, again);
        lsm_snapshot_close(snapshot);
        atomic_fetch_add(&x.reads, 1);
    }
    return NULL;
}

/* A single writer: what it committed before a get began is seen by it. */
static void *getter(void *arg)
{
    char key[16];

    (void)arg;
    for (int i = 0; !atomic_load(&x.stop); i = (i + 1) % KEYS) {
        uint64_t least = atomic_load(&x.committed);
        struct lsm_value value;
        int rc = lsm_tree_get(x.tree, NULL, key_of(i, key), &value);

        CHECK(rc == LSM_OK || (rc == LSM_NOTFOUND && !least));
        if (rc == LSM_OK)
            CHECK(number_in(value.bytes) >= least);
        lsm_value_release(&value);
    }
    return NULL;
}

static void *maintainer(void *arg)
{
    struct lsm_stat stats[64];
    const char *why;

    (void)arg;
    for (int i = 0; !atomic_load(&x.stop); i++) {
        int rc = i % 3 ? lsm_db_flush(x.db) : lsm_db_compact(x.db, i % 2 ? x.tree : NULL);
        CHECK(rc == LSM_OK || rc == LSM_BUSY);
        lsm_db_stats(x.db, stats, 64);
        CHECK_STR(lsm_db_state(x.db, &why), "HEALTHY");
        struct lsm_tree_stats ts;
        CHECK_OK(lsm_tree_stats(x.tree, &ts));
        if (i % 7 == 0)
            CHECK_OK(lsm_db_check(x.db));
        if (i % 5 == 0)
            CHECK_OK(lsm_db_set_memory(x.db, (1u << 20) + (i % 10 ? 4096 : 0)));
        usleep(2000);
    }
    return NULL;
}

static int nothing(void *ctx, struct lsm_slice name)
{
    (void)ctx;
    return name.size ? 0 : 1;
}

static void *planter(void *arg)
{
    char name[24];

    (void)arg;
    for (int i = 0; !atomic_load(&x.stop); i++) {
        struct lsm_tree *tree, *found;
        snprintf(name, sizeof name, "tree%d", i);
        if (!CHECK_OK(lsm_tree_create(x.db, name_of(name), NULL, &tree)))
            break;
        CHECK_OK(lsm_tree_find(x.db, name_of(name), &found));
        CHECK(found == tree);
        if (!x.with_host)
            for (int k = 0; k < 50; k++)
                CHECK_OK(lsm_db_put(x.db, tree, name_of(name), name_of("value"), false));
        CHECK_INT(lsm_tree_list(x.db, nothing, NULL), 0);
        CHECK_OK(lsm_tree_drop(x.db, tree));
        usleep(1000);
    }
    return NULL;
}

/* Readers as a host has them: they read the token, then at the token. */
static void *host_reader(void *arg)
{
    uint64_t number;

    (void)arg;
    while (!atomic_load(&x.stop)) {
        struct lsm_snapshot *snapshot;
        struct lsm_token token;
        pthread_mutex_lock(&x.write_lock);
        token = x.token;
        pthread_mutex_unlock(&x.write_lock);
        int rc = lsm_snapshot_open_at(x.db, &token, &snapshot);
        if (rc == LSM_CONFLICT)
            continue;
        if (!CHECK_OK(rc))
            break;
        struct lsm_read read = { .snapshot = snapshot };
        check_scan(&read, &number);
        lsm_snapshot_close(snapshot);
    }
    return NULL;
}

static void *host_writer(void *arg)
{
    (void)arg;
    for (uint64_t number = 1; !atomic_load(&x.stop); number++) {
        pthread_mutex_lock(&x.write_lock);
        bool ok = write_all(number, number % 8 ? 300 : 3000);
        pthread_mutex_unlock(&x.write_lock);
        if (!ok)
            break;
    }
    return NULL;
}

static void run(void *(*const fns[])(void *), int count, bool with_host, int ms)
{
    static const struct lsm_host host = { .settle = settle };
    struct lsm_os *base = lsm_os_posix_new(), *os = lsm_os_mem_new(base);
    struct lsm_options o;
    pthread_t threads[10];
    uint64_t last;

    memset(&x, 0, sizeof x);
    pthread_mutex_init(&x.write_lock, NULL);
    x.with_host = with_host;
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = 1 << 20;
    if (with_host) {
        o.host = &host;
        o.wait_for_token = true;
    }
    if (!CHECK_OK(lsm_db_open("store", &o, &x.db)))
        return;
    CHECK_OK(lsm_tree_create(x.db, name_of("t"), NULL, &x.tree));
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, fns[i], (void *)(uintptr_t)i);
    for (int waited = 0; waited < ms && !test_state.failures; waited += 20)
        usleep(20000);
    atomic_store(&x.stop, true);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    check_scan(NULL, &last);
    CHECK_OK(lsm_db_check(x.db));
    CHECK_OK(lsm_db_close(x.db));
    if (CHECK_OK(lsm_db_open("store", &o, &x.db))) {
        uint64_t again;
        if (with_host)
            CHECK_OK(lsm_db_publish(x.db, &x.token));
        CHECK_OK(lsm_tree_find(x.db, name_of("t"), &x.tree));
        check_scan(NULL, &again);
        CHECK_INT(last, again);
        CHECK_OK(lsm_db_close(x.db));
    }
    lsm_os_mem_free(os);
    CHECK_INT(base->mem_used(base), 0);
    lsm_os_posix_free(base);
    pthread_mutex_destroy(&x.write_lock);
}

static int run_ms(void)
{
    return test_long() ? 20000 : 1500;
}

TEST(db_threads_readers_see_whole_transactions_of_one_writer)
{
    void *(*const fns[])(void *) = { writer, reader, getter, reader, maintainer };
    run(fns, 5, false, run_ms());
}

TEST(db_threads_readers_see_whole_transactions_of_several_writers)
{
    void *(*const fns[])(void *) = { writer, writer, writer, reader, maintainer };
    run(fns, 5, false, run_ms());
}

TEST(db_threads_trees_come_and_go)
{
    void *(*const fns[])(void *) = { writer, planter, planter, reader, maintainer };
    /* The planters share names only by their number: each makes its own. */
    run(fns, 2, false, run_ms() / 2);
    run((void *(*const[])(void *)){ writer, planter, reader, maintainer }, 4, false, run_ms());
}

TEST(db_threads_a_host_writes_and_its_readers_read_at_their_token)
{
    void *(*const fns[])(void *) = { host_writer, host_reader, host_reader, host_writer, maintainer, planter };
    run(fns, 6, true, run_ms());
}

/* A host that is busy with this very writer must not make it wait for the flush that waits for it. */
TEST(db_threads_no_writer_waits_for_a_host_that_will_not_settle)
{
    static const struct lsm_host host = { .settle = settle };
    struct lsm_os *base = lsm_os_posix_new(), *os = lsm_os_mem_new(base);
    struct lsm_options o;
    uint64_t started;

    memset(&x, 0, sizeof x);
    x.with_host = true;
    atomic_store(&x.settle_rc, LSM_BUSY);
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = o.wait_for_token = true;
    o.memory_bytes = 1 << 20;
    o.host = &host;
    if (!CHECK_OK(lsm_db_open("store", &o, &x.db)))
        return;
    CHECK_OK(lsm_tree_create(x.db, name_of("t"), NULL, &x.tree));
    started = base->mono_us(base);
    for (uint64_t i = 0; i < 12; i++)
        if (!write_all(100 + 33 * i, 3000))     /* a number that is not settled and not aborted */
            break;
    CHECK(base->mono_us(base) - started < 3000000);
    atomic_store(&x.settle_rc, LSM_OK);
    CHECK_OK(lsm_db_flush(x.db));
    CHECK_OK(lsm_db_close(x.db));
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

static uint64_t figure(const char *name)
{
    char text[32];

    return lsm_db_property(x.db, name, text, sizeof text, NULL) == LSM_OK ? strtoull(text, NULL, 10) : 0;
}

/*
 * What a compaction held, old memtables with it, was counted at its end and never looked at
 * again: the cache kept a third of the memory while half of it was free.
 */
TEST(db_threads_when_the_work_is_done_the_cache_gets_what_it_held)
{
    const uint64_t budget = 8u << 20;
    struct lsm_options o;
    char path[100], key[32];
    uint8_t value[100];
    uint32_t seed = 1, row = 0;

    memset(&x, 0, sizeof x);
    snprintf(path, sizeof path, "%s/store", test_dir());
    lsm_options_init(&o);
    o.create_if_missing = true;
    o.memory_bytes = budget;
    if (!CHECK_OK(lsm_db_open(path, &o, &x.db)))
        return;
    CHECK_OK(lsm_tree_create(x.db, name_of("t"), NULL, &x.tree));
    for (int round = 0; round < 4; round++) {
        uint64_t bytes = 0, others;

        for (uint32_t end = row + 70000; row < end; row++) {
            int n = snprintf(key, sizeof key, "%08x", row * 2654435761u);

            fill_with_noise(value, sizeof value, &seed);
            if (!CHECK_OK(lsm_db_put(x.db, x.tree, (struct lsm_slice){ (uint8_t *)key, (size_t)n },
                                     (struct lsm_slice){ value, sizeof value }, false)))
                return;
        }
        for (int quiet = 0; quiet < 30; quiet++) {      /* until the worker has come to its end */
            uint64_t now = figure("flush_bytes_written") + figure("compact_bytes_written");

            quiet = now == bytes ? quiet : 0;
            bytes = now;
            usleep(20000);
        }
        others = figure("memory_used") - figure("cache_used");
        if (!CHECK(figure("cache_capacity") + others >= budget / 4 * 3))
            printf("  the cache may have %llu, others use %llu\n",
                   (unsigned long long)figure("cache_capacity"), (unsigned long long)others);
    }
    CHECK(figure("compactions") > 0);
    CHECK_OK(lsm_db_close(x.db));
}

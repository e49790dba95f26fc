/*
 * test_throttle_threads.c -- writers that are faster than the flush: tables take
 * long to write here.
 */
#include <pthread.h>
#include <time.h>

#include "lsm/db/db.h"
#include "tests/noise.h"
#include "tests/stat.h"
#include "tests/test.h"

static struct lsm_os *base, *os;
static struct lsm_os real;
static atomic_int begins, ends;
static atomic_uint_least64_t waited_us;
static struct lsm_db *db;
static struct lsm_tree *tree;
static atomic_uint_least64_t over;      /* puts that took longer than 200 ms */

static int slow_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (size > 60000) {
        struct timespec t = { 0, 4000000 };
        nanosleep(&t, NULL);
    }
    return real.file_write(file, data, size, off);
}

static atomic_uint_least64_t sleeps, longest_sleep;

static void noted_sleep(struct lsm_os *self, uint64_t us)
{
    atomic_fetch_add(&sleeps, 1);
    if (us > atomic_load(&longest_sleep))       /* nearly: a lost race makes it smaller */
        atomic_store(&longest_sleep, us);
    real.sleep_us(self, us);
}

static void note(void *ctx, const struct lsm_event *event)
{
    (void)ctx;
    if (event->what == LSM_EVENT_STALL_BEGIN)
        atomic_fetch_add(&begins, 1);
    if (event->what == LSM_EVENT_STALL_END) {
        atomic_fetch_add(&ends, 1);
        atomic_fetch_add(&waited_us, event->duration_us);
    }
}

static void *write_fast(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg * 7919;
    uint8_t value[1000];
    char key[32];

    for (int i = 0; i < 4000; i++) {
        int n = snprintf(key, sizeof key, "%u-%08x", (unsigned)(uintptr_t)arg, i * 2654435761u);
        fill_with_noise(value, sizeof value, &seed);
        uint64_t begun = real.mono_us(os);
        if (!CHECK_OK(lsm_db_put(db, tree, (struct lsm_slice){ (uint8_t *)key, (size_t)n },
                                 (struct lsm_slice){ value, sizeof value }, false)))
            break;
        if (real.mono_us(os) - begun > 200000)
            atomic_fetch_add(&over, 1);
    }
    return NULL;
}

/* G-05 */
TEST(throttle_writers_pay_in_small_coins_and_are_told_when_it_is_over)
{
    struct lsm_options o;
    pthread_t threads[2];

    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    real = *os;
    os->file_write = slow_write;
    os->sleep_us = noted_sleep;
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = 4 << 20;
    o.event = note;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)) ||
        !CHECK_OK(lsm_tree_create(db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, NULL, &tree)))
        return;
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, write_fast, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    uint64_t stall_us = stat_of(db, "stall_us");
    printf("  stalled %.0f ms in %d spells, longest wait %.1f ms, %d of 8000 puts over 200 ms\n",
           (double)stall_us / 1000, atomic_load(&begins), (double)stat_of(db, "stall_max_us") / 1000,
           (int)atomic_load(&over));
    CHECK(stall_us > 0 && atomic_load(&begins) > 0);
    CHECK(atomic_load(&over) < 80);     /* on a busy machine, too */
    CHECK(atomic_load(&sleeps) > 10 && atomic_load(&longest_sleep) <= 20000);
    CHECK(stat_of(db, "memtable_bytes") <= (4u << 20) / 3 * 2 + (512u << 10));     /* with the room in two chunks */
    CHECK_OK(lsm_db_flush(db));
    while (stat_of(db, "tables") > 8 && lsm_db_compact(db, NULL) != LSM_OK) { }
    CHECK_INT(atomic_load(&begins), atomic_load(&ends));        /* without another write */
    CHECK(atomic_load(&waited_us) <= stat_of(db, "stall_us"));
    CHECK_OK(lsm_db_close(db));
    *os = real;
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

static atomic_bool is_blocked;
static __thread bool is_writer;
static int writer_waits;
static uint64_t slept_us;

static int blocked_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    while (size > 60000 && !is_writer && atomic_load(&is_blocked))
        usleep(200);
    return real.file_write(file, data, size, off);
}

static void counted_sleep(struct lsm_os *self, uint64_t us)
{
    (void)self;
    CHECK(us <= 20000);
    slept_us += us;
}

static void counted_wait(struct lsm_cond *cond, struct lsm_mutex *mutex, uint64_t us)
{
    writer_waits += is_writer;
    real.cond_wait_us(cond, mutex, us);
}

/* G-05. The flush stands still, and nothing here depends on the clock: what a writer is told to sleep is added up. */
TEST(throttle_asks_more_of_each_write_the_more_is_owed_and_stops_no_small_one)
{
    enum { WINDOW = 100 };
    uint64_t share, asked[64] = { 0 }, now;
    uint8_t value[1000];
    struct lsm_options o;
    unsigned seed = 7919;
    int windows = 0;
    char key[32];

    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    real = *os;
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = 4 << 20;
    o.event = note;
    atomic_store(&begins, 0);
    atomic_store(&ends, 0);
    if (!CHECK_OK(lsm_db_open("a", &o, &db)) ||
        !CHECK_OK(lsm_tree_create(db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, NULL, &tree)))
        return;
    share = db->memtable_bytes;
    is_writer = true;
    atomic_store(&is_blocked, true);
    os->file_write = blocked_write;
    os->sleep_us = counted_sleep;
    os->cond_wait_us = counted_wait;
    for (int i = 0; windows < 64; i++) {
        int n = snprintf(key, sizeof key, "%08x", i * 2654435761u);

        fill_with_noise(value, sizeof value, &seed);    /* what can be compressed is written in small pieces */
        CHECK_OK(lsm_db_put(db, tree, (struct lsm_slice){ (uint8_t *)key, (size_t)n },
                            (struct lsm_slice){ value, sizeof value }, false));
        if (i % WINDOW == WINDOW - 1) {
            asked[windows++] = slept_us;
            slept_us = 0;
            if (lsm_view_used(db->view) > share / 8 * 17)        /* a debt of 1250 thousandths */
                break;
        }
    }
    now = lsm_view_used(db->view);
    printf("  us asked of %d writes, one window behind the other:", WINDOW);
    for (int i = 0; i < windows; i++)
        printf(" %llu", (unsigned long long)asked[i]);
    printf("; memtables %llu of %llu\n", (unsigned long long)now, (unsigned long long)share);
    CHECK(now > 2 * share && writer_waits == 0);
    for (int i = 1; i < windows; i++)
        CHECK(asked[i] + 3000 >= asked[i - 1]);         /* what is owed and not paid yet */
    CHECK(asked[windows - 1] >= 500000 && asked[0] == 0);
    atomic_store(&is_blocked, false);
    CHECK_OK(lsm_db_flush(db));
    CHECK_INT(atomic_load(&begins), 1);
    CHECK_OK(lsm_db_close(db));
    CHECK_INT(atomic_load(&ends), 1);
    *os = real;
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

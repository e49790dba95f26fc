/*
 * test_throttle_threads.c -- writers that are faster than the flush: tables take
 * long to write here.
 */
#include <pthread.h>
#include <time.h>

#include "lsm/os/os.h"
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
    CHECK_OK(lsm_db_put(db, tree, (struct lsm_slice){ (const uint8_t *)"z", 1 },
                        (struct lsm_slice){ (const uint8_t *)"", 0 }, false));
    CHECK_INT(atomic_load(&begins), atomic_load(&ends));
    CHECK(atomic_load(&waited_us) <= stat_of(db, "stall_us"));
    CHECK_OK(lsm_db_close(db));
    *os = real;
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

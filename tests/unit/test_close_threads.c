/*
 * test_close_threads.c -- a close does not wait for the compaction that the worker is in.
 */
#include <pthread.h>
#include <sched.h>

#include "lsm/os/os.h"
#include "tests/noise.h"
#include "tests/test.h"

#define JOB_BYTES (8u << 20)            /* a compaction of so many is worth interrupting */
#define REST_BYTES (3u << 20)           /* written at most after the close has begun: it is seen at each MiB of rows */

static struct lsm_os *base, *os;
static struct lsm_os real;
static atomic_bool in_job, is_closing, is_told;
static atomic_uint_least64_t written_after;

static void note(void *ctx, const struct lsm_event *event)
{
    (void)ctx;
    if (event->what == LSM_EVENT_COMPACTION_BEGIN && event->bytes_in >= JOB_BYTES)
        atomic_store(&in_job, true);
}

/* What the job writes waits until close has told the worker to stop, so that no machine is too slow or
   too fast for this. */
static int patient_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    while (atomic_load(&in_job) && !atomic_load(&is_told) && size > 4096)
        sched_yield();
    if (atomic_load(&is_told))
        atomic_fetch_add(&written_after, size);
    return real.file_write(file, data, size, off);
}

static void telling_broadcast(struct lsm_cond *cond)
{
    real.cond_broadcast(cond);
    if (atomic_load(&is_closing))
        atomic_store(&is_told, true);
}

TEST(close_leaves_a_compaction_unfinished_and_nothing_is_lost)
{
    struct lsm_options o;
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_slice name = { (const uint8_t *)"t", 1 };
    uint8_t value[200];
    unsigned seed = 1, rows = 0;
    char key[16];

    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    real = *os;
    os->file_write = patient_write;
    os->cond_broadcast = telling_broadcast;
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = 8 << 20;
    o.event = note;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)) || !CHECK_OK(lsm_tree_create(db, name, NULL, &tree)))
        return;
    while (!atomic_load(&in_job) && rows < 500000) {
        int n = snprintf(key, sizeof key, "%08x", rows++ * 2654435761u);
        fill_with_noise(value, sizeof value, &seed);
        if (!CHECK_OK(lsm_db_put(db, tree, (struct lsm_slice){ (uint8_t *)key, (size_t)n },
                                 (struct lsm_slice){ value, sizeof value }, false)))
            break;
    }
    CHECK(atomic_load(&in_job));
    atomic_store(&is_closing, true);
    CHECK_OK(lsm_db_close(db));
    printf("  %u rows; %.1f MB were written after the close had begun\n", rows,
           (double)atomic_load(&written_after) / 1e6);
    CHECK(atomic_load(&written_after) < REST_BYTES);

    *os = real;
    if (CHECK_OK(lsm_db_open("a", &o, &db)) && CHECK_OK(lsm_tree_open(db, name, NULL, &tree))) {
        struct lsm_cursor *cursor;
        unsigned found = 0;

        if (CHECK_OK(lsm_cursor_open(tree, NULL, &cursor))) {
            CHECK_OK(lsm_cursor_first(cursor));
            for (; lsm_cursor_valid(cursor); lsm_cursor_next(cursor))
                found++;
            lsm_cursor_close(cursor);
        }
        CHECK_INT(found, rows);
        CHECK_OK(lsm_db_close(db));
    }
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

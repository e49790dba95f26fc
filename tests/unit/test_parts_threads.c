/*
 * test_parts_threads.c -- a divided compaction with the threads that a machine gives:
 * beside writers and readers, with failures in one part, with a flush that is due
 * while only other threads have parts to do, and with a close.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "lsm/db/db.h"
#include "lsm/util/hash.h"
#include "tests/noise.h"
#include "tests/stat.h"
#include "tests/test.h"
#include "tests/unit/listed.h"

enum { KEYS = 20000, WRITERS = 2, SMALL = 512 << 10 };

static struct lsm_os *base, *os;
static struct lsm_os real;
static struct lsm_db *db;
static struct lsm_tree *tree;

static _Atomic uint32_t rows[KEYS];     /* 0: none; each key has one writer */
static atomic_bool stop;

static struct lsm_slice key_of(uint32_t k, char buf[16])
{
    return (struct lsm_slice){ (const uint8_t *)buf, (size_t)snprintf(buf, 16, "%08u", k) };
}

static struct lsm_slice value_of(uint32_t k, uint32_t v, uint8_t buf[1500])
{
    unsigned seed = k * 31 + v;
    size_t size = (k + v) % 50 ? 100 + (k + v) % 100 : 1500;

    fill_with_noise(buf, size, &seed);
    return (struct lsm_slice){ buf, size };
}

static uint32_t memory_mb = 24, max = 3, cpus = 1, cpus_used;

static uint32_t count_cpus(struct lsm_os *self)
{
    (void)self;
    return cpus;
}

static uint32_t count_used_cpus(struct lsm_os *self)
{
    (void)self;
    return cpus_used;
}

/* A store whose tables and memtables are those of a smaller budget, which has no room for three parts. */
static bool store_open(void (*event)(void *ctx, const struct lsm_event *event), uint32_t memtable_bytes)
{
    const struct lsm_slice name = { (const uint8_t *)"t", 1 };
    struct lsm_options o;

    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = (uint64_t)memory_mb << 20;
    o.max_subcompactions = max;
    o.event = event;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)))
        return false;
    lsm_db_lock(db);
    uint32_t inputs_max = db->policy.level0_inputs_max;
    db->memtable_bytes = memtable_bytes;
    lsm_policy_init(&db->policy, memtable_bytes);
    db->policy.level0_inputs_max = inputs_max;
    lsm_db_unlock(db);
    return CHECK_OK(lsm_tree_open(db, name, NULL, &tree));
}

static atomic_bool is_closing, is_free, in_job;
static pthread_t leader, tester;

static _Thread_local bool has_synced;
static atomic_bool is_part_done;

/* Behind a sync of an output another thread than the leader says that its part is done. */
static int noted_sync(struct lsm_file *file)
{
    has_synced = true;
    return real.file_sync(file);
}

static void telling_broadcast(struct lsm_cond *cond)
{
    real.cond_broadcast(cond);
    if (has_synced && atomic_load(&in_job) && !pthread_equal(leader, pthread_self()) && !pthread_equal(tester, pthread_self()))
        atomic_store(&is_part_done, true);
    if (atomic_load(&is_closing))
        atomic_store(&is_free, true);
}

static atomic_bool is_big;

/* A job that is not divided is none for these tests, however big: it starts no threads. */
static int telling_thread_start(struct lsm_os *self, void (*fn)(void *ctx), void *ctx, struct lsm_thread **thread)
{
    if (atomic_load(&is_big) && pthread_equal(leader, pthread_self()))
        atomic_store(&in_job, true);
    return real.thread_start(self, fn, ctx, thread);
}

static bool begin(int (*write)(struct lsm_file *file, const void *data, size_t size, uint64_t off),
                  void (*event)(void *ctx, const struct lsm_event *event), uint32_t memtable_bytes)
{
    base = lsm_os_posix_new();
    os = lsm_os_mem_new(base);
    real = *os;
    os->file_write = write;
    os->cpu_count = count_cpus;
    os->cpu_used = count_used_cpus;
    os->cond_broadcast = telling_broadcast;
    os->file_sync = noted_sync;
    os->thread_start = telling_thread_start;
    memset((void *)rows, 0, sizeof rows);
    atomic_store(&stop, false);
    return store_open(event, memtable_bytes);
}

static void end(void)
{
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
}

static void put(uint32_t k, uint32_t v)
{
    uint8_t value[1500];
    char key[16];

    if (v)
        CHECK_OK(lsm_db_put(db, tree, key_of(k, key), value_of(k, v, value), false));
    else
        CHECK_OK(lsm_db_delete(db, tree, key_of(k, key), false));
    atomic_store(&rows[k], v);
}

static bool rows_agree(void)
{
    uint8_t value[1500];
    char key[16];

    for (uint32_t k = 0; k < KEYS; k++) {
        struct lsm_value got;
        uint32_t v = atomic_load(&rows[k]);
        int rc = lsm_tree_get(tree, NULL, key_of(k, key), &got);
        bool ok = v ? rc == LSM_OK && lsm_slice_equal(got.bytes, value_of(k, v, value)) : rc == LSM_NOTFOUND;

        lsm_value_release(&got);
        if (!CHECK(ok)) {
            printf("  key %u: %s, not %u\n", k, lsm_code_name(rc), v);
            return false;
        }
    }
    return CHECK_OK(lsm_db_check(db));
}

/* ---- beside writers and readers ---- */

static void *write_rows(void *ctx)
{
    uint32_t me = (uint32_t)(uintptr_t)ctx, x = me + 1;

    for (uint32_t i = 1; !atomic_load(&stop); i++) {
        x = x * 1664525u + 1013904223u;
        put((x >> 8) % (KEYS / WRITERS) * WRITERS + me, x % 16 ? i : 0);
        if (i % 200 == 0)
            usleep(1000);       /* on a machine of two the worker must have its turn */
    }
    return NULL;
}

/* In two scans with one snapshot the same is seen, whatever is installed between them. */
static void *read_rows(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&stop)) {
        struct lsm_snapshot *snapshot;
        uint64_t sum[2] = { 0 };

        if (!CHECK_OK(lsm_snapshot_open(db, &snapshot)))
            break;
        for (int i = 0; i < 2; i++) {
            struct lsm_read read = { .snapshot = snapshot };
            struct lsm_cursor *c;
            struct lsm_slice value;

            if (!CHECK_OK(lsm_cursor_open(tree, &read, &c)))
                break;
            int rc = lsm_cursor_first(c);
            for (; rc == LSM_OK; rc = lsm_cursor_next(c)) {
                rc = lsm_cursor_read(c, &value);
                if (rc)
                    break;
                sum[i] += lsm_hash64(value.data, value.size, 0) + lsm_hash64(lsm_cursor_key(c).data, 8, 1);
            }
            CHECK_INT(rc, LSM_DONE);
            lsm_cursor_close(c);
        }
        CHECK(sum[0] == sum[1]);
        lsm_snapshot_close(snapshot);
    }
    return NULL;
}

static atomic_int writes_until_failure;         /* of tables; 0: none fails */

static int failing_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (size > 4096 && atomic_load(&writes_until_failure) > 0 && atomic_fetch_sub(&writes_until_failure, 1) == 1)
        return ENOSPC;
    return real.file_write(file, data, size, off);
}

/* Every table and value log is one of the tree's. */
static bool files_are_known(void)
{
    struct lsm_tree_stats stats;
    struct listed listed = { 0 };
    uint64_t files = 0;

    CHECK_OK(lsm_tree_stats(tree, &stats));
    for (uint32_t i = 0; i < stats.level_count; i++)
        files += stats.level[i].files;
    CHECK_INT(os->dir_list(db->dir, count_file, &listed), 0);
    return listed.tables == files && listed.logs == stat_of(db, "value_logs");
}

TEST(parts_beside_writers_and_readers_lose_nothing_even_where_one_fails)
{
    pthread_t threads[WRITERS + 1];
    uint64_t parts = 0;
    bool is_tidy = false;
    int failed = 0;

    if (!begin(failing_write, NULL, SMALL))
        return;
    for (uint32_t k = 0; k < KEYS; k++)
        put((uint32_t)((uint64_t)k * 7919 % KEYS), 1);
    CHECK_OK(lsm_db_compact(db, NULL));
    for (int i = 0; i < WRITERS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, write_rows, (void *)(uintptr_t)i), 0);
    CHECK_INT(pthread_create(&threads[WRITERS], NULL, read_rows, NULL), 0);
    for (int i = 0; i < 4 || (!failed && i < 60); i++) {        /* it may be a write of the worker's that fails */
        usleep(100000);
        atomic_store(&writes_until_failure, i % 2 ? 0 : 1 + i % 7);
        int rc = lsm_db_compact(db, NULL);
        failed += rc == LSM_FULL;
        CHECK(rc == LSM_OK || rc == LSM_FULL);
    }
    atomic_store(&writes_until_failure, 0);
    parts = stat_of(db, "subcompactions");
    atomic_store(&stop, true);
    for (int i = 0; i <= WRITERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_compact(db, NULL));
    rows_agree();
    for (int i = 0; i < 300 && !(is_tidy = files_are_known()); i++)
        usleep(100000);                 /* the worker may be in the middle of something */
    CHECK(is_tidy);
    printf("  %" PRIu64 " parts, %d failures\n", parts, failed);
    CHECK(parts > 6);
    CHECK(failed > 0);
    CHECK_OK(lsm_db_close(db));
    end();
}

/* ---- a failure, a flush, and a close, while other threads have the parts ---- */

static uint64_t job_bytes;              /* of the job that is waited for */
static atomic_bool is_held;
static atomic_uint_least64_t written_after;

static void note_job(void *ctx, const struct lsm_event *event)
{
    (void)ctx;
    if (event->what == LSM_EVENT_COMPACTION_BEGIN && event->bytes_in > job_bytes && !atomic_load(&in_job)) {
        leader = pthread_self();
        atomic_store(&is_big, true);
    }
}

static void expect_job(uint64_t bytes)
{
    job_bytes = bytes;
    tester = pthread_self();
    atomic_store(&is_big, false);
    atomic_store(&in_job, false);
    atomic_store(&is_held, false);
    atomic_store(&is_free, false);
    atomic_store(&written_after, 0);
}

static void put_until(const atomic_bool *done)
{
    uint32_t k = 1;

    for (uint32_t i = 1; !atomic_load(done) && i < 400000; i++) {
        k = k * 1664525u + 1013904223u;
        put((k >> 8) % KEYS, i);
    }
    CHECK(atomic_load(done));
}

/* Outputs of other threads than the leader wait. */
static int held_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (size > 4096 && atomic_load(&in_job) && !pthread_equal(leader, pthread_self()) &&
        !pthread_equal(tester, pthread_self())) {
        atomic_store(&is_held, true);
        while (!atomic_load(&is_free))
            usleep(200);
    }
    return real.file_write(file, data, size, off);
}

static bool is_flush_due(void)
{
    bool due;

    lsm_db_lock(db);
    due = lsm_flush_due(db) || db->flushing;
    lsm_db_unlock(db);
    return due;
}

static atomic_bool has_failed;

/* The leader's output fails when another part is done. */
static int late_failing_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (size > 4096 && atomic_load(&in_job) && pthread_equal(leader, pthread_self()) && !atomic_load(&has_failed)) {
        for (int i = 0; i < 100000 && !atomic_load(&is_part_done); i++)
            usleep(200);
        atomic_store(&has_failed, true);
        return ENOSPC;
    }
    return real.file_write(file, data, size, off);
}

TEST(parts_that_are_done_leave_no_files_where_another_fails)
{
    bool is_tidy = false;

    expect_job(2 << 20);
    atomic_store(&has_failed, false);
    atomic_store(&is_part_done, false);
    if (!begin(late_failing_write, note_job, SMALL))
        return;
    put_until(&has_failed);
    CHECK(atomic_load(&is_part_done));
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_compact(db, NULL));
    rows_agree();
    for (int i = 0; i < 300 && !(is_tidy = files_are_known()); i++)
        usleep(100000);                 /* the worker may be in the middle of something */
    CHECK(is_tidy);
    CHECK_OK(lsm_db_close(db));
    end();
}

TEST(parts_of_other_threads_do_not_keep_the_store_from_a_flush)
{
    uint64_t flushes, parts;

    expect_job(2 << 20);
    if (!begin(held_write, note_job, SMALL))
        return;
    put_until(&is_held);
    usleep(300000);                     /* the leader has done what it could */
    flushes = stat_of(db, "flushes");
    parts = stat_of(db, "subcompactions");
    for (uint32_t k = 0; k < KEYS && !is_flush_due(); k++)     /* and no more: writers would have to wait */
        put(k, 77);
    for (int i = 0; i < 300 && stat_of(db, "flushes") == flushes; i++)
        usleep(100000);
    CHECK(stat_of(db, "flushes") > flushes);
    CHECK(stat_of(db, "subcompactions") == parts);      /* it still runs */
    atomic_store(&is_free, true);
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_compact(db, NULL));
    CHECK(stat_of(db, "subcompactions") > parts);
    rows_agree();
    CHECK_OK(lsm_db_close(db));
    end();
}

/* What the job writes waits until close has told the worker to stop, so that no machine is too slow or too
   fast for this. */
static int patient_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    while (atomic_load(&in_job) && !atomic_load(&is_free) && size > 4096 && !pthread_equal(tester, pthread_self()))
        sched_yield();
    if (atomic_load(&is_free))
        atomic_fetch_add(&written_after, size);
    return real.file_write(file, data, size, off);
}

TEST(parts_end_when_the_store_is_closed_and_nothing_is_lost)
{
    enum { MEMTABLE = 2 << 20, JOB = 8 << 20, PARTS = 3 };

    expect_job(JOB);
    atomic_store(&is_closing, false);
    if (!begin(patient_write, note_job, MEMTABLE))
        return;
    for (uint32_t i = 0; i < 400000 && !atomic_load(&in_job); i++) {
        uint8_t value[1500];
        char key[16];

        CHECK_OK(lsm_db_put(db, tree, key_of(KEYS + (i * 2654435761u >> 8), key), value_of(i, 2 - i % 50, value), false));
    }
    CHECK(atomic_load(&in_job));
    put(5, 5);
    atomic_store(&is_closing, true);
    CHECK_OK(lsm_db_close(db));
    printf("  %.1f MB were written after the close had begun\n", (double)atomic_load(&written_after) / 1e6);
    CHECK(atomic_load(&written_after) < PARTS * 3 << 20);
    *os = real;
    if (store_open(NULL, MEMTABLE)) {
        rows_agree();
        CHECK_OK(lsm_db_close(db));
    }
    end();
}

/* ---- how many ---- */

static int real_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    return real.file_write(file, data, size, off);
}

TEST(parts_are_as_many_as_free_processors_and_memory_allow)
{
    enum { TINY = 128 << 10, ROWS = 4000 };
    static const struct {
        uint32_t cpus, used, max, memory_mb;
        bool is_divided;
    } cases[] = { { 1, 0, 0, 64, false }, { 2, 0, 0, 64, false }, { 3, 0, 0, 64, false }, { 4, 0, 0, 64, true },
                  { 4, 3, 0, 64, true }, { 4, 4, 0, 64, false }, { 64, 62, 0, 64, true }, { 64, 99, 0, 64, false },
                  { 64, 0, 1, 64, false }, { 1, 1, 2, 64, true }, { 64, 0, 0, 15, false }, { 64, 0, 9, 15, false },
                  { 64, 64, 9, 16, true } };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_job(UINT64_MAX);
        cpus = cases[i].cpus;
        cpus_used = cases[i].used;
        max = cases[i].max;
        memory_mb = cases[i].memory_mb;
        if (!begin(real_write, NULL, TINY))
            return;
        for (uint32_t k = 0; k < ROWS; k++)
            put((uint32_t)((uint64_t)k * 7919 % ROWS), 1);
        CHECK_OK(lsm_db_compact(db, NULL));
        if (!CHECK(cases[i].is_divided == (stat_of(db, "subcompactions") > 0)))
            printf("  case %zu\n", i);
        CHECK_OK(lsm_db_close(db));
        end();
    }
}

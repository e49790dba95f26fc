/*
 * test_room_threads.c -- the room that a log is written to is made by the worker, beside
 * writers, flushes of other threads and logs that fail; nothing that was written is lost.
 */
#include <pthread.h>

#include "lsm/db/db.h"
#include "tests/test.h"

#define WRITERS 2u
#ifdef __SANITIZE_THREAD__              /* 3 minutes otherwise */
#define ROWS 10000u             /* of each */
#else
#define ROWS 30000u
#endif

#define MEMORY (4u << 20)

static uint64_t memory_bytes = MEMORY;
static struct lsm_os *os, real;
static struct lsm_db *db;
static struct lsm_tree *tree;
static _Thread_local bool is_writer;
static atomic_uint_least64_t made_by_writers, made;
static atomic_int syncs_to_fail;
static atomic_bool stop;

static atomic_bool is_slow;

static void noted_expect(struct lsm_file *file, uint64_t off, uint64_t end)
{
    atomic_fetch_add(is_writer ? &made_by_writers : &made, 1);
    if (atomic_load(&is_slow))
        usleep(20000);          /* writers come to where the room begins */
    real.file_expect(file, off, end);
}

static atomic_uint_least64_t zeroed;
static uint8_t large[40000];

static void noted_zero(struct lsm_file *file, uint64_t off, uint64_t end)
{
    CHECK(!is_writer);
    if (atomic_load(&is_slow))
        usleep(20000);
    real.file_zero(file, off, end);
    atomic_fetch_add(&zeroed, end - off);
}

static int failing_sync(struct lsm_file *file)
{
    int left = atomic_load(&syncs_to_fail);

    if (is_writer && left > 0 && atomic_compare_exchange_strong(&syncs_to_fail, &left, left - 1))
        return EIO;
    return real.file_sync(file);
}

static atomic_bool looks;
static int looked;
static struct lsm_backup *backup;

static int count_log(void *ctx, const char *name)
{
    *(int *)ctx += strstr(name, ".log") != NULL;
    return 0;
}

/* The flush has just put the next log's name on disk: there are two, and the second is nobody's yet. */
static int looking_dir_sync(struct lsm_dir *dir)
{
    int rc = real.dir_sync(dir), logs = 0;

    if (rc == 0 && atomic_exchange(&looks, false)) {
        CHECK_INT(real.dir_list(dir, count_log, &logs), 0);
        looked = logs;
        CHECK_OK(lsm_db_check(db));
        CHECK_OK(lsm_backup_begin(db, NULL, &backup));
    }
    return rc;
}

static atomic_uint_least64_t ready_size, ready_count, taken_size;

static void noted_ready(struct lsm_os *o, size_t size)
{
    CHECK(!is_writer);
    atomic_store(&ready_size, size);
    atomic_fetch_add(&ready_count, 1);
    real.mem_ready(o, size);
}

static void *noted_alloc(struct lsm_os *o, size_t size)
{
    if (size == atomic_load(&ready_size))
        atomic_store(&taken_size, size);
    return real.mem_alloc(o, size);
}

static struct lsm_slice text(const char *s)
{
    return (struct lsm_slice){ (const uint8_t *)s, strlen(s) };
}

static void key_of(char key[32], uintptr_t writer, uint32_t i)
{
    snprintf(key, 32, "%08x-%u", i * 2654435761u, (unsigned)writer);
}

static void *write_rows(void *arg)
{
    char key[32];

    is_writer = true;
    for (uint32_t i = 0; i < ROWS; i++) {
        key_of(key, (uintptr_t)arg, i);
        /* A failed sync is told to its group, and a fresh log begins. */
        while (lsm_db_put(db, tree, text(key), text(key), i % 5000 == 4999) != LSM_OK)
            if (!CHECK(syncs_to_fail >= 0 && !atomic_load(&stop)))
                return NULL;
    }
    return NULL;
}

static void *flush_often(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        int rc = lsm_db_flush(db);
        CHECK(rc == LSM_OK || rc == LSM_BUSY || rc == LSM_FSYNC);
        usleep(3000);
    }
    return NULL;
}

static void open_store(void)
{
    struct lsm_options o;
    char path[128];

    snprintf(path, sizeof path, "%s/store", test_dir());
    lsm_options_init(&o);
    o.os = os;
    o.create_if_missing = true;
    o.memory_bytes = memory_bytes;
    CHECK_OK(lsm_db_open(path, &o, &db));
    if (lsm_tree_find(db, text("t"), &tree) != LSM_OK)
        CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree));
}

static void close_store(void)
{
    CHECK_OK(lsm_db_close(db));
    db = NULL;
}

static void run_writers(bool flushes)
{
    pthread_t threads[WRITERS], flusher;

    atomic_store(&stop, false);
    atomic_store(&made, 0);
    atomic_store(&made_by_writers, 0);
    if (flushes)
        pthread_create(&flusher, NULL, flush_often, NULL);
    for (uintptr_t i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_rows, (void *)i);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, true);
    if (flushes)
        pthread_join(flusher, NULL);
}

static void check_rows(void)
{
    struct lsm_value value = { 0 };
    char key[32];

    for (uintptr_t w = 0; w < WRITERS; w++)
        for (uint32_t i = 0; i < ROWS; i++) {
            key_of(key, w, i);
            if (!CHECK_OK(lsm_tree_get(tree, NULL, text(key), &value)))
                return;
            CHECK(value.bytes.size == strlen(key) && memcmp(value.bytes.data, key, value.bytes.size) == 0);
            lsm_value_release(&value);
        }
}

/* Each call is replaced before the store is open: its worker reads them from then on. */
static void begin(bool notes_memory)
{
    os = lsm_os_posix_new();
    real = *os;
    if (real.file_expect)
        os->file_expect = noted_expect;
    if (real.file_zero)
        os->file_zero = noted_zero;
    os->file_sync = failing_sync;
    os->dir_sync = looking_dir_sync;
    if (notes_memory && real.mem_ready) {
        os->mem_ready = noted_ready;
        os->mem_alloc = noted_alloc;
    }
    atomic_store(&syncs_to_fail, 0);
    open_store();
}

static void end(void)
{
    close_store();
    open_store();
    check_rows();
    CHECK_OK(lsm_db_check(db));
    close_store();
    lsm_os_posix_free(os);
}

TEST(room_of_a_log_is_made_by_the_worker_and_not_by_writers)
{
    begin(false);
    run_writers(false);
    printf("  made %d times by the worker, %d times by writers\n", (int)made, (int)made_by_writers);
    if (os->file_expect)
        CHECK(made > 0 && made_by_writers == 0);
    check_rows();
    end();
}

/* Also where the writer comes to it before the zeros are there. */
TEST(room_of_a_log_that_is_synced_has_zeros_of_the_worker)
{
    struct lsm_value value = { 0 };
    char key[32];
    uint32_t rows = 0;

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 2654435761u >> 13);
    begin(false);
    is_writer = true;
    for (int round = 0; round < 2; round++) {
        atomic_store(&zeroed, 0);
        atomic_store(&is_slow, round == 1);
        for (uint32_t i = 0; i < 20000 && atomic_load(&zeroed) < (256 << 10); i++, rows++) {
            key_of(key, 0, rows);
            if (!CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ large, 2000 }, true)))
                break;
            if (!os->file_zero)
                break;
        }
        CHECK(!os->file_zero || atomic_load(&zeroed) >= (256 << 10));
    }
    is_writer = false;
    atomic_store(&is_slow, false);
    /* Of large records the zeros would be as much again. */
    CHECK_OK(lsm_db_flush(db));
    atomic_store(&zeroed, 0);
    for (uint32_t i = 0; i < 40; i++) {
        key_of(key, 1, i);
        CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ large, sizeof large }, true));
    }
    CHECK(atomic_load(&zeroed) <= (64 << 10));  /* before the first of them */
    close_store();
    open_store();
    for (uint32_t i = 0; i < rows; i++) {
        key_of(key, 0, i);
        if (!CHECK_OK(lsm_tree_get(tree, NULL, text(key), &value)))
            break;
        CHECK(value.bytes.size == 2000 && memcmp(value.bytes.data, large, 2000) == 0);
        lsm_value_release(&value);
    }
    CHECK_OK(lsm_db_check(db));
    close_store();
    lsm_os_posix_free(os);
}

/* Singles, or transactions of ten, until a piece of memory that the worker was asked for is taken. */
static void write_until_ready(bool single)
{
    static uint8_t value[400];
    char key[32];

    atomic_store(&ready_size, 0);
    atomic_store(&taken_size, 0);
    for (uint32_t i = 0; i < (single ? 400000u : 40000u) && atomic_load(&taken_size) == 0; i++) {
        struct lsm_txn *txn;
        key_of(key, 0, i);
        if (single) {
            CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ value, sizeof value }, false));
            continue;
        }
        if (!CHECK_OK(lsm_txn_begin(db, NULL, &txn)))
            return;
        for (uint32_t k = 0; k < 10; k++) {
            key_of(key, 1 + k, i);
            CHECK_OK(lsm_txn_put(txn, tree, text(key), (struct lsm_slice){ value, sizeof value }));
        }
        CHECK_OK(lsm_txn_commit_alone(txn, false));
    }
    CHECK(atomic_load(&taken_size) > 0);
}

TEST(room_of_a_memtable_is_made_by_the_worker_as_it_will_be_asked_for)
{
    for (int single = 0; single <= 1; single++) {       /* each in a store of its own: the other's wish may be left over */
        begin(true);
        if (os->mem_ready) {
            is_writer = true;
            write_until_ready(single);
            is_writer = false;
            printf("  memory was made ready %d times\n", (int)ready_count);
        }
        close_store();
        lsm_os_posix_free(os);
    }
}

TEST(room_that_is_being_made_waits_for_nothing_that_is_lost_when_logs_end)
{
    begin(false);
    run_writers(true);
    check_rows();
    end();
}

TEST(room_the_next_log_that_is_prepared_is_no_part_of_the_store)
{
    struct lsm_value value = { 0 };
    struct lsm_options o;
    char path[128];

    begin(false);
    CHECK_OK(lsm_db_put(db, tree, text("a"), text("1"), false));
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_put(db, tree, text("a"), text("2"), false));
    atomic_store(&looks, true);
    CHECK_OK(lsm_db_flush(db));
    CHECK(looked >= 2);
    CHECK_OK(lsm_db_put(db, tree, text("a"), text("3"), true));
    CHECK_OK(lsm_db_check(db));
    /* What came into that log later is not of the backup's moment. */
    snprintf(path, sizeof path, "%s/backup", test_dir());
    CHECK_OK(lsm_backup_write(backup, path, NULL));
    lsm_backup_end(backup);
    close_store();
    lsm_options_init(&o);
    o.os = os;
    CHECK_OK(lsm_db_open(path, &o, &db));
    CHECK_OK(lsm_tree_find(db, text("t"), &tree));
    CHECK_OK(lsm_tree_get(tree, NULL, text("a"), &value));
    CHECK(value.bytes.size == 1 && value.bytes.data[0] == '2');
    lsm_value_release(&value);
    close_store();
    lsm_os_posix_free(os);
}

/* What is made may be zeroed: nobody writes there meanwhile, however late it is. The rows are read from the log, in
   a copy as a kill would leave it. */
TEST(room_that_is_made_late_takes_nothing_that_was_written)
{
    char command[300];

    memory_bytes = 256 << 20;
    begin(false);
    atomic_store(&is_slow, true);
    run_writers(false);
    atomic_store(&is_slow, false);
    snprintf(command, sizeof command, "cp -r '%s/store' '%s/copy'", test_dir(), test_dir());
    CHECK_INT(system(command), 0);
    close_store();
    snprintf(command, sizeof command, "rm -r '%s/store' && mv '%s/copy' '%s/store'", test_dir(), test_dir(), test_dir());
    CHECK_INT(system(command), 0);
    open_store();
    memory_bytes = MEMORY;
    end();
}

/* Also room that was made for a log that took no record any more: it is written, and would stay as long as the log. */
static uint64_t rooms(void)
{
    return atomic_load(&made) + atomic_load(&zeroed);
}

static void close_behind_room(bool has_failed)
{
    char command[300];
    uint64_t before;

    begin(false);
    run_writers(false);
    before = rooms();
    CHECK_OK(lsm_db_flush(db));         /* the next log's first room is asked for: no record has taken it */
    for (int wait = 0; wait < 1000 && rooms() == before; wait++)
        usleep(1000);
    CHECK(rooms() > before);
    if (has_failed)             /* then close does not write any more, and its sync does not take the room either */
        lsm_db_set_health(db, LSM_HEALTH_READ_ONLY, LSM_IOERR, "a test");
    close_store();
    snprintf(command, sizeof command, "test $(cat '%s'/store/*.log | wc -c) -lt 20000", test_dir());
    CHECK_INT(system(command), 0);
    open_store();
    end();
}

TEST(room_that_was_made_last_goes_when_the_store_is_closed)
{
    close_behind_room(false);
    close_behind_room(true);
}

TEST(room_of_a_log_that_fails_is_taken_back)
{
    begin(false);
    atomic_store(&syncs_to_fail, 3);
    run_writers(true);
    CHECK_INT(atomic_load(&syncs_to_fail), 0);
    check_rows();
    end();
}

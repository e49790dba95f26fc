/*
 * test_commit_threads.c -- group commit: threads that commit at the same time, on
 * a disk of which a copy can be taken at any moment, as a kill or a power cut
 * would leave it, and that can be stopped in the middle of a sync.
 */
#include <pthread.h>
#include <sched.h>

#include "lsm/db/db.h"
#include "tests/unit/disk.h"

/* ---- disk.h for many threads ---- */

static pthread_mutex_t disk_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct lsm_os inner;

static struct gate {            /* where a sync of a log is held up */
    struct lsm_db *db;
    uint32_t until_waiting;     /* 0: open */
    bool then_fail_sync, then_fail_write;
    unsigned then_fail_all_at;  /* 2n, 2n - 1: from the n-th write or sync after it; odd: no truncation either */
    int fail_memory_at;         /* of the thread that leads the next group; 0: none */
} gate;

static _Thread_local bool is_starved;
static _Thread_local int allocations;
static atomic_bool starve_next;

#define LOCKED(call)                        \
    pthread_mutex_lock(&disk_mutex);        \
    int error = (call);                     \
    pthread_mutex_unlock(&disk_mutex);      \
    return error

static int locked_dir_open(struct lsm_os *os, const char *path, bool create, uint32_t mode, bool *created,
                           struct lsm_dir **dir)
{
    LOCKED(inner.dir_open(os, path, create, mode, created, dir));
}

static void locked_dir_close(struct lsm_dir *dir)
{
    pthread_mutex_lock(&disk_mutex);
    inner.dir_close(dir);
    pthread_mutex_unlock(&disk_mutex);
}

static int locked_dir_sync(struct lsm_dir *dir)
{
    LOCKED(inner.dir_sync(dir));
}

static int locked_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file)
{
    LOCKED(inner.file_open(dir, name, flags, mode, file));
}

static void locked_close(struct lsm_file *file)
{
    pthread_mutex_lock(&disk_mutex);
    inner.file_close(file);
    pthread_mutex_unlock(&disk_mutex);
}

static int locked_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (atomic_load(&starve_next)) {
        /* The first record of the next group is written: its leader is this thread. */
        is_starved = true;
        allocations = 0;
        atomic_store(&starve_next, false);
    }
    LOCKED(inner.file_write(file, data, size, off));
}

static uint32_t waiting(struct lsm_db *db)
{
    uint32_t n;

    lsm_db_lock(db);
    n = db->commit_count;
    lsm_db_unlock(db);
    return n;
}

static int locked_sync(struct lsm_file *file)
{
    if (gate.until_waiting && gate.db) {
        while (waiting(gate.db) < gate.until_waiting)
            sched_yield();
        gate.until_waiting = 0;
        pthread_mutex_lock(&disk_mutex);
        int error = inner.file_sync(file);
        if (gate.then_fail_sync)
            disk_fail(DISK_SYNC, 1, false, ".log");
        else if (gate.then_fail_write)
            disk_fail(DISK_WRITE, 3, false, ".log");
        else if (gate.then_fail_all_at)
            disk_fail(DISK_WRITE | DISK_SYNC | (gate.then_fail_all_at % 2 ? DISK_TRUNCATE : 0),
                      (int)(gate.then_fail_all_at + 1) / 2, true, "0");
        pthread_mutex_unlock(&disk_mutex);
        atomic_store(&starve_next, gate.fail_memory_at > 0);
        return error;
    }
    LOCKED(inner.file_sync(file));
}

static int locked_truncate(struct lsm_file *file, uint64_t size)
{
    LOCKED(inner.file_truncate(file, size));
}

static int locked_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    LOCKED(inner.file_rename(dir, from, to));
}

static int locked_remove(struct lsm_dir *dir, const char *name)
{
    LOCKED(inner.file_remove(dir, name));
}

static void *starved_alloc(struct lsm_os *os, size_t size)
{
    if (is_starved && ++allocations == gate.fail_memory_at)
        return NULL;
    return disk.real.mem_alloc(os, size);
}

static void *starved_realloc(struct lsm_os *os, void *p, size_t size)
{
    if (is_starved && ++allocations == gate.fail_memory_at)
        return NULL;
    return disk.real.mem_realloc(os, p, size);
}

static void threads_begin(void)
{
    disk_begin();
    memset(&gate, 0, sizeof gate);
    inner = *disk.os;
    disk.os->dir_open = locked_dir_open;
    disk.os->dir_close = locked_dir_close;
    disk.os->dir_sync = locked_dir_sync;
    disk.os->file_open = locked_open;
    disk.os->file_close = locked_close;
    disk.os->file_write = locked_write;
    disk.os->file_sync = locked_sync;
    disk.os->file_truncate = locked_truncate;
    disk.os->file_rename = locked_rename;
    disk.os->file_remove = locked_remove;
    disk.os->mem_alloc = starved_alloc;
    disk.os->mem_realloc = starved_realloc;
}

static bool open_alone(struct store *s, const char *path)
{
    return store_open_as(s, path, true);
}

/* ---- what was acknowledged is there ---- */

#define WRITERS 4

static struct writers {
    struct store store;
    atomic_bool stop;
    bool sync;
    atomic_uint acked[WRITERS];         /* keys w-0 .. w-(n-1) */
} w;

static void *write_in_order(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg, n = 0;
    char key[32];

    while (!atomic_load(&w.stop)) {
        struct lsm_txn *txn;
        if (!CHECK_OK(lsm_txn_begin(w.store.db, NULL, &txn)))
            break;
        /* Two rows a transaction: both or none. */
        snprintf(key, sizeof key, "%u-%06u", id, n);
        CHECK_OK(lsm_txn_put(txn, w.store.tree, text(key), text("v")));
        snprintf(key, sizeof key, "%u-%06u'", id, n);
        CHECK_OK(lsm_txn_put(txn, w.store.tree, text(key), text("v")));
        /* Also some without a sync: in a group they wait for the others', and lose nothing by it. */
        if (!CHECK_OK(lsm_txn_commit_alone(txn, w.sync || n % 3 == 0)))
            break;
        if (w.sync || n % 3 == 0)
            atomic_store(&w.acked[id], n + 1);
        n++;
    }
    return NULL;
}

/* Of each writer a prefix, at least as long as what was acknowledged. */
static void check_prefixes(const char *path, const unsigned acked[WRITERS])
{
    struct store s;
    char key[32];

    if (!open_alone(&s, path))
        return;
    for (unsigned id = 0; id < WRITERS; id++) {
        bool ended = false;
        for (unsigned n = 0; n < acked[id] + 20; n++) {
            bool first, second;
            snprintf(key, sizeof key, "%u-%06u", id, n);
            first = has(&s, key);
            strcat(key, "'");
            second = has(&s, key);
            CHECK_INT(first, second);
            if (n < acked[id] && !CHECK(first))
                break;
            CHECK(!(ended && first));
            ended |= !first;
        }
    }
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
}

static void cut_while_they_write(bool power_cut, bool sync)
{
    unsigned acked[10][WRITERS];
    pthread_t threads[WRITERS];
    char path[24];

    threads_begin();
    memset(&w, 0, sizeof w);
    w.sync = sync;
    if (!open_alone(&w.store, "a"))
        return;
    for (uintptr_t i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_in_order, (void *)i);
    for (int cut = 0; cut < 10; cut++) {
        unsigned before = atomic_load(&w.acked[cut % WRITERS]);
        while (atomic_load(&w.acked[cut % WRITERS]) < before + 5 && !test_state.failures)
            sched_yield();
        snprintf(path, sizeof path, "cut%d", cut);
        pthread_mutex_lock(&disk_mutex);
        for (int i = 0; i < WRITERS; i++)
            acked[cut][i] = atomic_load(&w.acked[i]);
        disk_copy("a", path, power_cut);
        pthread_mutex_unlock(&disk_mutex);
        if (cut == 5)           /* the log ends in the middle of it */
            CHECK_OK(lsm_db_flush(w.store.db));
    }
    atomic_store(&w.stop, true);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    store_close(&w.store);
    for (int cut = 0; cut < 10; cut++) {
        snprintf(path, sizeof path, "cut%d", cut);
        check_prefixes(path, acked[cut]);
    }
    disk_end();
}

TEST(commit_threads_acknowledged_writes_survive_a_power_cut)
{
    cut_while_they_write(true, true);
}

TEST(commit_threads_synced_writes_survive_a_power_cut_between_unsynced_ones)
{
    cut_while_they_write(true, false);
}

TEST(commit_threads_acknowledged_writes_survive_a_kill)
{
    cut_while_they_write(false, true);
}

/* ---- one group, made by hand: it gathers while the sync of a first write is held up ---- */

#define MEMBERS 5

static struct group {
    struct store store;
    atomic_uint started;
    int rc[MEMBERS];
    char why[MEMBERS][200];
    bool unsynced;              /* but the last */
} g;

static void *commit_member(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    char key[16];

    snprintf(key, sizeof key, "member%u", id);
    g.rc[id] = lsm_db_put(g.store.db, g.store.tree, text(key), text("v"),
                          !g.unsynced || id == MEMBERS - 1);
    snprintf(g.why[id], sizeof g.why[id], "%s", lsm_error_text());
    return NULL;
}

static void *commit_first(void *arg)
{
    (void)arg;
    CHECK_OK(lsm_db_put(g.store.db, g.store.tree, text("first"), text("v"), true));
    return NULL;
}

/* The store has the row "before" and is open; the log syncs and writes are counted from the gate on. */
static void run_group(void)
{
    pthread_t first, members[MEMBERS];

    gate.db = g.store.db;
    gate.until_waiting = MEMBERS;
    pthread_create(&first, NULL, commit_first, NULL);
    while (true) {              /* the first one leads, and stands in its sync */
        lsm_db_lock(g.store.db);
        bool led = g.store.db->commit_led && g.store.db->commit_count == 0;
        lsm_db_unlock(g.store.db);
        if (led)
            break;
        sched_yield();
    }
    for (uintptr_t i = 0; i < MEMBERS; i++)
        pthread_create(&members[i], NULL, commit_member, (void *)i);
    pthread_join(first, NULL);
    for (int i = 0; i < MEMBERS; i++)
        pthread_join(members[i], NULL);
    gate.db = NULL;
    disk_heal();
}

static bool open_group(const char *path)
{
    memset(&g, 0, sizeof g);
    return open_alone(&g.store, path) &&
           CHECK_OK(lsm_db_put(g.store.db, g.store.tree, text("before"), text("v"), true));
}

static bool member_is_there(struct store *s, int id)
{
    char key[16];

    snprintf(key, sizeof key, "member%d", id);
    return has(s, key);
}

/* After a kill and after a power cut: the first ones, and of the members those that were told so. */
static void check_after_crash(const char *path)
{
    static int serial;

    for (int cut = 0; cut < 2; cut++) {
        struct store s;
        char copy[24];
        snprintf(copy, sizeof copy, "crash%d", serial++);
        disk_copy(path, copy, cut);
        if (!open_alone(&s, copy))
            continue;
        CHECK(has(&s, "before") && has(&s, "first"));
        for (int i = 0; i < MEMBERS; i++)
            CHECK_INT(member_is_there(&s, i), g.rc[i] == LSM_OK);
        store_close(&s);
    }
}

TEST(commit_a_group_takes_one_sync)
{
    threads_begin();
    for (int unsynced = 0; unsynced < 2; unsynced++) {
        char path[4] = { (char)('a' + unsynced), 0 };
        if (!open_group(path))
            return;
        g.unsynced = unsynced;
        unsigned before = disk.log_syncs;
        run_group();
        CHECK_INT(disk.log_syncs - before, 2);
        for (int i = 0; i < MEMBERS; i++)
            CHECK_INT(g.rc[i], LSM_OK);
        CHECK_INT(stat_of(g.store.db, "commit_groups"), 3);
        check_after_crash(path);
        CHECK_INT(count_at(&g.store, NULL), MEMBERS + 2);
        store_close(&g.store);
    }
    disk_end();
}

static void fail_the_group(bool sync, int code)
{
    threads_begin();
    if (!open_group("a"))
        return;
    gate.then_fail_sync = sync;
    gate.then_fail_write = !sync;
    run_group();
    for (int i = 0; i < MEMBERS; i++) {
        CHECK_INT(g.rc[i], code);
        CHECK(strstr(g.why[i], ".log") != NULL);
        CHECK(!member_is_there(&g.store, i));
    }
    CHECK_STR(lsm_db_state(g.store.db, NULL), "HEALTHY");
    check_after_crash("a");
    /* They can be tried again, in the fresh log. */
    for (int i = 0; i < MEMBERS; i++) {
        commit_member((void *)(uintptr_t)i);
        CHECK_INT(g.rc[i], LSM_OK);
    }
    check_after_crash("a");
    store_close(&g.store);
    disk_end();
}

TEST(commit_a_failed_sync_is_told_to_every_member)
{
    fail_the_group(true, LSM_FSYNC);
}

TEST(commit_a_failed_write_is_told_to_every_member)
{
    fail_the_group(false, LSM_IOERR);
}

/* Whatever fails from some moment on: nobody is told that a write is there which a crash takes away,
   and none of the others comes back, unless the store says that it is read-only. */
TEST(commit_members_of_a_failed_group_never_come_back)
{
    threads_begin();
    for (unsigned at = 1; at <= 24; at++) {
        char path[8];
        snprintf(path, sizeof path, "a%u", at);
        if (!open_group(path))
            return;
        gate.then_fail_all_at = at;
        run_group();
        for (int i = 1; i < MEMBERS; i++)
            CHECK_INT(g.rc[i] == LSM_OK, g.rc[0] == LSM_OK);
        for (int i = 0; i < MEMBERS; i++)
            CHECK_INT(member_is_there(&g.store, i), g.rc[i] == LSM_OK);
        if (strcmp(lsm_db_state(g.store.db, NULL), "READ_ONLY") != 0)
            check_after_crash(path);
        CHECK_OK(lsm_db_close(g.store.db));
    }
    disk_end();
}

TEST(commit_without_memory_fails_for_one_member_only)
{
    int failures = 0;

    threads_begin();
    for (int at = 1; at <= 40; at++) {
        int failed = 0;
        char path[8];
        snprintf(path, sizeof path, "a%d", at);
        if (!open_group(path))
            return;
        gate.fail_memory_at = at;
        run_group();
        for (int i = 0; i < MEMBERS; i++) {
            CHECK(g.rc[i] == LSM_OK || g.rc[i] == LSM_NOMEM);
            failed += g.rc[i] != LSM_OK;
            CHECK_INT(member_is_there(&g.store, i), g.rc[i] == LSM_OK);
        }
        CHECK(failed <= 1);
        failures += failed;
        check_after_crash(path);
        store_close(&g.store);
    }
    CHECK(failures > 5);
    disk_end();
}

/* ---- order ---- */

static void *overwrite(void *arg)
{
    char value[32];

    for (int i = 0; i < 200; i++) {
        int n = snprintf(value, sizeof value, "%u-%d", (unsigned)(uintptr_t)arg, i);
        struct lsm_slice v = { (const uint8_t *)value, (size_t)n };
        CHECK_OK(lsm_db_put(w.store.db, w.store.tree, text("k"), v, i % 50 == 0));
    }
    return NULL;
}

TEST(commit_threads_order_of_the_log_is_the_order_that_is_seen)
{
    pthread_t threads[WRITERS];
    struct lsm_value seen, later;
    struct store s;

    threads_begin();
    for (int round = 0; round < 10; round++) {
        char path[8], copy[8];
        snprintf(path, sizeof path, "a%d", round);
        snprintf(copy, sizeof copy, "b%d", round);
        memset(&w, 0, sizeof w);
        if (!open_alone(&w.store, path))
            return;
        for (uintptr_t i = 0; i < WRITERS; i++)
            pthread_create(&threads[i], NULL, overwrite, (void *)i);
        for (int i = 0; i < WRITERS; i++)
            pthread_join(threads[i], NULL);
        disk_kill(path, copy);
        if (CHECK_OK(lsm_tree_get(w.store.tree, NULL, text("k"), &seen)) && open_alone(&s, copy)) {
            if (CHECK_OK(lsm_tree_get(s.tree, NULL, text("k"), &later))) {
                CHECK_INT(seen.bytes.size, later.bytes.size);
                CHECK_MEM(seen.bytes.data, later.bytes.data, seen.bytes.size);
                lsm_value_release(&later);
            }
            store_close(&s);
        }
        lsm_value_release(&seen);
        store_close(&w.store);
    }
    disk_end();
}

/* ---- a transaction that was prepared by hand ---- */

static void *commit_soon(void *txn)
{
    usleep(10000);
    lsm_txn_commit(txn, true);
    return NULL;
}

TEST(commit_waits_for_a_transaction_that_is_prepared)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = true };
    struct lsm_token token;
    struct lsm_txn *txn;
    pthread_t thread;

    threads_begin();
    if (!open_group("a"))
        return;
    CHECK_OK(lsm_txn_begin(g.store.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, g.store.tree, text("first"), text("v")));
    CHECK_OK(lsm_txn_prepare(txn, &how, &token));
    pthread_create(&thread, NULL, commit_soon, txn);
    commit_member(NULL);
    CHECK_INT(g.rc[0], LSM_OK);
    pthread_join(thread, NULL);
    for (int i = 1; i < MEMBERS; i++)
        g.rc[i] = LSM_BUSY;
    check_after_crash("a");
    store_close(&g.store);
    disk_end();
}

TEST(commit_does_not_wait_for_ever_for_a_transaction_that_is_prepared)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = true };
    struct lsm_token token;
    struct lsm_txn *txn, *other;

    threads_begin();
    if (!open_group("a"))
        return;
    CHECK_OK(lsm_txn_begin(g.store.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, g.store.tree, text("first"), text("v")));
    CHECK_OK(lsm_txn_prepare(txn, &how, &token));
    CHECK_RC(lsm_db_put(g.store.db, g.store.tree, text("member0"), text("v"), true), LSM_BUSY);
    CHECK_OK(lsm_txn_begin(g.store.db, NULL, &other));
    CHECK_OK(lsm_txn_put(other, g.store.tree, text("x"), text("v")));
    CHECK_RC(lsm_txn_prepare(other, &how, &token), LSM_BUSY);
    CHECK_OK(lsm_txn_abort(other));
    lsm_txn_commit(txn, true);
    CHECK_OK(lsm_db_put(g.store.db, g.store.tree, text("member0"), text("v"), true));
    for (int i = 1; i < MEMBERS; i++)
        g.rc[i] = LSM_BUSY;
    check_after_crash("a");
    store_close(&g.store);
    disk_end();
}

/* ---- the log slot ---- */

static struct {
    struct lsm_db *db;
    int order[3], count;        /* who had it; mutex */
} slot;

static void *take_slot(void *who)
{
    lsm_db_lock(slot.db);
    lsm_write_slot_take(slot.db);
    slot.order[slot.count++] = (int)(uintptr_t)who;
    lsm_write_slot_give(slot.db);
    lsm_db_unlock(slot.db);
    return NULL;
}

static uint64_t asked(void)
{
    uint64_t n;

    lsm_db_lock(slot.db);
    n = slot.db->log_turns;
    lsm_db_unlock(slot.db);
    return n;
}

/* Or a flush would wait for a writer to rest. */
TEST(slot_is_given_in_turn_also_to_who_has_just_had_it)
{
    pthread_t threads[2];
    struct store s;

    threads_begin();
    if (!open_alone(&s, "a"))
        return;
    slot.db = s.db;
    for (int round = 0; round < 200; round++) {
        uint64_t before = asked();

        slot.count = 0;
        lsm_db_lock(s.db);
        lsm_write_slot_take(s.db);
        lsm_db_unlock(s.db);
        for (uintptr_t i = 0; i < 2; i++) {
            pthread_create(&threads[i], NULL, take_slot, (void *)(i + 1));
            while (asked() < before + 2 + i)
                sched_yield();
        }
        lsm_db_lock(s.db);
        lsm_write_slot_give(s.db);
        lsm_write_slot_take(s.db);
        slot.order[slot.count++] = 0;
        lsm_write_slot_give(s.db);
        lsm_db_unlock(s.db);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        if (!CHECK(slot.order[0] == 1 && slot.order[1] == 2 && slot.order[2] == 0))
            break;
    }
    store_close(&s);
    disk_end();
}

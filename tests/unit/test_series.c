/*
 * test_series.c -- what an open behind a crash keeps of the logs, and what it shows of them when it is told the
 * host's token, whichever that is.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

/* ---- memory ---- */

static uint64_t used_max;

static void note_used(struct lsm_os *os)
{
    uint64_t used = os->mem_used(os);

    used_max = used > used_max ? used : used_max;
}

static void *alloc_noted(struct lsm_os *os, size_t size)
{
    void *p = disk_alloc(os, size);

    note_used(os);
    return p;
}

static void *realloc_noted(struct lsm_os *os, void *old, size_t size)
{
    void *p = disk_realloc(os, old, size);

    note_used(os);
    return p;
}

static void kill_at_a_log(const char *name)
{
    if (strstr(name, ".log")) {
        disk.hook = NULL;
        disk_kill("b", "killed");
    }
}

static void kill_at_the_second_sync_of_a_log(const char *name)
{
    if (strstr(name, ".log"))
        disk.hook = kill_at_a_log;
}

enum { WINDOW = 256 << 10, LITTLE = 64 << 10 };

/* How much more than in the end was in use until the rows are shown; `more`: what else is known to be in use. */
static void check_memory(const char *path, const struct lsm_token *token, int rows, uint64_t more)
{
    uint64_t before, opened, after;
    struct store s;

    disk.os->mem_alloc = alloc_noted;
    disk.os->mem_realloc = realloc_noted;
    before = used_max = disk.os->mem_used(disk.os);
    if (store_open(&s, path)) {
        opened = disk.os->mem_used(disk.os);
        CHECK(used_max - opened < WINDOW + LITTLE + more);
        CHECK(opened - before < 4 * (uint64_t)LITTLE);
        CHECK_OK(lsm_db_publish(s.db, token));
        after = disk.os->mem_used(disk.os);
        CHECK(after - before > (uint64_t)rows * 20);
        CHECK(used_max - before < after - before + WINDOW + LITTLE + more);
        CHECK_INT(count_at(&s, NULL), rows);
        store_close(&s);
    }
    disk.os->mem_alloc = disk_alloc;
    disk.os->mem_realloc = disk_realloc;
}

TEST(memory_of_an_open_does_not_grow_with_the_records_of_the_logs)
{
    enum { COUNT = 8000 };
    struct lsm_token t = no_token, ignored;
    struct lsm_txn *txn;
    struct store s;
    char key[16];

    if (!store_begin(&s))
        return;
    for (int i = 0; i < COUNT / 2; i++) {
        snprintf(key, sizeof key, "%06d", i);
        solo(&s, t, key, false);
    }
    disk_kill("a", "solos");
    check_memory("solos", &t, COUNT / 2, 0);
    for (int i = COUNT / 2; i < COUNT; i++) {
        snprintf(key, sizeof key, "%06d", i);
        if (i % 3)
            t = joint(&s, t, key, false);
        else
            solo(&s, t, key, false);
    }
    txn = begin_put(&s, &t, "taken back");
    CHECK_OK(prepare_solo(txn, false, &ignored));
    CHECK_OK(lsm_txn_abort(txn));
    solo(&s, t, "behind it", false);
    disk_kill("a", "b");
    check_memory("b", &t, COUNT + 1, 0);
    store_close(&s);

    /* Two logs, one with copies of what the other has. */
    if (!store_open_at(&s, "b", &t))
        return;
    disk.hook = kill_at_the_second_sync_of_a_log;
    solo(&s, t, "one more", false);
    CHECK(!disk.hook);
    CHECK_INT(disk_count("killed", ".log"), 2);
    disk_kill("b", "c");
    store_close(&s);
    check_memory("killed", &t, COUNT + 1, WINDOW);
    check_memory("c", &t, COUNT + 2, 0);
    disk_end();
}

/* ---- whatever the token is ---- */

enum { STEPS = 60 };

static struct history {
    struct step {
        struct lsm_token id, base;
        bool is_joint, is_aborted;
        char key[12];
    } steps[STEPS];
    int count;
} history;

static const struct step *step_of(const struct lsm_token *id)
{
    for (int i = 0; i < history.count; i++)
        if (lsm_token_equal(&history.steps[i].id, id))
            return &history.steps[i];
    return NULL;
}

static bool is_behind(const struct lsm_token *token, const struct lsm_token *old)
{
    const struct step *step;

    for (; !lsm_token_equal(token, old); token = &step->base)
        if (!(step = step_of(token)))
            return false;
    return true;
}

/* commit.md R12, R18 */
static bool is_seen(const struct step *step, const struct lsm_token *token)
{
    return is_behind(token, step->is_joint ? &step->id : &step->base) && !step->is_aborted;
}

static bool shows_history(struct store *s, const struct lsm_read *read, const struct lsm_token *token)
{
    bool as_said = true;

    for (int i = 0; i < history.count; i++)
        as_said &= has_at(s, read, history.steps[i].key) == is_seen(&history.steps[i], token);
    return as_said;
}

static struct lsm_token add_step(struct store *s, struct lsm_token base)
{
    struct step *step = &history.steps[history.count];
    unsigned how = (unsigned)test_below(lsm_chain_is_quiet(s->db, &base) ? 10 : 5);

    *step = (struct step){ .base = base, .id = base };
    snprintf(step->key, sizeof step->key, "k%d", history.count);
    history.count++;
    if (how < 3) {
        step->is_joint = true;
        step->id = joint(s, base, step->key, false);
        return step->id;
    }
    if (how < 5) {
        step->is_joint = true;
        step->id = abandoned(s, base, step->key);
    } else if (how < 9) {
        step->id = solo(s, base, step->key, false);
    } else {
        struct lsm_txn *txn = begin_put(s, &base, step->key);

        CHECK_OK(prepare_solo(txn, false, &step->id));
        CHECK_OK(lsm_txn_abort(txn));
        step->is_aborted = true;
    }
    return base;
}

static void check_token(const char *path, const struct lsm_token *token)
{
    struct store s;

    if (!store_open_at(&s, path, token))
        return;
    CHECK(shows_history(&s, NULL, token));
    /* Later ones, in this order; and what those see who began before. */
    for (int i = 0; i < history.count; i++) {
        const struct step *step = &history.steps[i];
        struct lsm_snapshot *old;

        if (!step->is_joint || !is_behind(&step->id, token) || test_below(2))
            continue;
        CHECK_OK(lsm_db_publish(s.db, &step->id));
        CHECK(shows_history(&s, NULL, &step->id));
        if (CHECK_OK(lsm_snapshot_open_at(s.db, token, &old))) {
            const struct lsm_read read = { .snapshot = old };
            CHECK(shows_history(&s, &read, token));
            lsm_snapshot_close(old);
        }
        token = &step->id;
    }
    store_close(&s);
}

static void play(void)
{
    struct lsm_token token = no_token;
    char path[16] = "b";
    struct store s;
    int paths = 0;

    history.count = 0;
    disk_and_host_begin();
    if (!store_open(&s, path))
        return;
    for (int i = 5 + (int)test_below(STEPS - 5); i > 0; i--) {
        if (paths < 6 && test_below(16) == 0) {         /* a crash; the next record comes into a fresh log */
            char next[16];

            snprintf(next, sizeof next, "p%d", ++paths);
            disk_kill(path, next);
            store_close(&s);
            if (!store_open_at(&s, next, &token))
                return;
            strcpy(path, next);
        }
        token = add_step(&s, token);
    }
    disk_kill(path, "end");
    store_close(&s);
    check_token("end", &no_token);
    for (int i = 0; i < history.count; i++)
        if (history.steps[i].is_joint)
            check_token("end", &history.steps[i].id);
    disk_end();
}

TEST(R12_a_token_shows_its_chain_whatever_was_read)
{
    for (int round = 0; round < (test_long() ? 2000 : 60); round++)
        play();
}

/* The same with two logs, of which the second begins with copies. */
TEST(R12_a_token_shows_its_chain_where_a_fresh_log_was_cut_short)
{
    for (int round = 0; round < 20; round++) {
        struct lsm_token token = no_token, first = no_token;
        struct store s;

        history.count = 0;
        disk_and_host_begin();
        if (!store_open(&s, "b"))
            return;
        for (int i = 0; i < 20; i++) {
            if (i == 12) {
                store_close(&s);
                if (!store_open_at(&s, "b", &token))
                    return;
                disk.hook = kill_at_the_second_sync_of_a_log;
                first = token;
            }
            token = add_step(&s, token);
            if (i != 12)
                continue;
            CHECK(!disk.hook);
            CHECK_INT(disk_count("killed", ".log"), 2);
            history.count--;
            check_token("killed", &first);
            for (int k = 0; k < history.count; k++)
                if (history.steps[k].is_joint)
                    check_token("killed", &history.steps[k].id);
            store_close(&s);
            if (!store_open_at(&s, "killed", &first))   /* its next log has each record twice */
                return;
            token = first;
        }
        disk_kill("killed", "end");
        store_close(&s);
        check_token("end", &no_token);
        for (int i = 0; i < history.count; i++)
            if (history.steps[i].is_joint)
                check_token("end", &history.steps[i].id);
        disk_end();
    }
}

/* ---- what goes wrong in between ---- */

/* T0 <- solos, j1 <- solos, j2: with enough rows for several groups. */
static void make_long(struct store *s, struct lsm_token t[4])
{
    char key[16];

    t[0] = no_token;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 300; i++) {
            snprintf(key, sizeof key, "%d-%04d", k, i);
            solo(s, t[k], key, false);
        }
        snprintf(key, sizeof key, "joint%d", k);
        t[k + 1] = joint(s, t[k], key, false);
    }
}

TEST(a_publishing_that_fails_in_its_middle_shows_what_it_shows_later)
{
    const int seen[4] = { 300, 601, 902, 903 };
    struct lsm_token t[4];
    bool is_done = false;
    struct store s;

    if (!store_begin(&s))
        return;
    make_long(&s, t);
    disk_kill("a", "b");
    for (int at = 1; at < 400 && !is_done; at++)
        for (int way = 0; way < 4; way++) {
            struct lsm_snapshot *old;
            struct store again;
            int rc;

            if (!store_open(&again, "b"))
                return;
            if (way == 3)
                CHECK_OK(lsm_db_publish(again.db, &t[0]));
            disk_fail(DISK_MEMORY, at, false, "");
            rc = lsm_db_publish(again.db, &t[3]);
            disk_heal();
            is_done = rc == LSM_OK;
            CHECK(rc == LSM_OK || rc == LSM_NOMEM);
            /* An older reader is next, or the same again. */
            for (int k = way == 3 ? 0 : way; k < 4; k++) {
                if (!CHECK_OK(lsm_snapshot_open_at(again.db, &t[k], &old)))
                    continue;
                const struct lsm_read read = { .snapshot = old };
                CHECK_INT(count_at(&again, &read), seen[k]);
                lsm_snapshot_close(old);
            }
            CHECK_OK(lsm_db_publish_newest(again.db, &t[3]));
            CHECK_INT(count_at(&again, NULL), seen[3]);
            store_close(&again);
        }
    CHECK(is_done);
    store_end(&s);
}

static void flip_in_log(const char *path)
{
    int id = disk_path_id(path);
    struct lsm_dir *dir;
    struct lsm_file *file;
    bool created;
    uint8_t byte;
    size_t got;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, ".log")) {
            CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_WRITE, 0, &file), 0);
            disk.os->file_read(file, &byte, 1, 20000, &got);
            byte ^= 1;
            disk.os->file_write(file, &byte, 1, 20000);
            disk.os->file_close(file);
        }
    disk.os->dir_close(dir);
}

TEST(a_log_that_changes_before_its_records_are_decided_is_damage)
{
    struct lsm_token t[4];
    struct store s;

    if (!store_begin(&s))
        return;
    make_long(&s, t);
    disk_kill("a", "b");
    disk_kill("a", "c");
    store_close(&s);
    if (!store_open(&s, "b"))
        return;
    flip_in_log("b");
    CHECK_RC(lsm_db_publish(s.db, &t[2]), LSM_CORRUPT);
    CHECK_RC(lsm_db_publish(s.db, &t[3]), LSM_CORRUPT);
    flip_in_log("b");
    CHECK_OK(lsm_db_publish(s.db, &t[3]));
    CHECK_INT(count_at(&s, NULL), 903);
    store_close(&s);
    if (!store_open(&s, "c"))
        return;
    struct lsm_dir *dir;
    bool created;
    CHECK_INT(disk.os->dir_open(disk.os, "c", false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == disk_path_id("c") && strstr(disk.live[i].name, ".log"))
            disk.os->file_remove(dir, disk.live[i].name);
    disk.os->dir_close(dir);
    CHECK_RC(lsm_db_publish(s.db, &t[3]), LSM_CORRUPT);
    store_end(&s);
}

/* commit.md R10: an abandoned joint may turn out to be committed; by then its log is no longer needed otherwise. */
TEST(R10_a_log_stays_while_an_undecided_joint_stands_in_it)
{
    struct lsm_token t[4], k;
    struct lsm_txn *txn;
    struct store s;

    if (!store_begin(&s))
        return;
    make_long(&s, t);
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open_at(&s, "b", &t[1]))
        return;
    txn = begin_put(&s, &t[1], "given up");
    CHECK_OK(prepare_joint(txn, &k));       /* a fresh log, which the MANIFEST names */
    CHECK_OK(lsm_txn_abort(txn));
    lsm_obsolete_sweep(s.db);
    CHECK_INT(count_at(&s, NULL), 601);
    CHECK_OK(lsm_db_publish(s.db, &t[3]));
    CHECK_INT(count_at(&s, NULL), 903);
    CHECK(!has(&s, "given up"));
    disk_kill("b", "c");
    CHECK_INT(count_in("c", &t[3]), 903);
    k = joint(&s, t[3], "next", true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(s.db->record_count, 0);
    CHECK_INT(disk_count("b", ".log"), 1);
    CHECK_INT(count_at(&s, NULL), 904);
    store_end(&s);
}

/*
 * test_series.c -- what an open behind a crash keeps of the logs, and what it shows of them when it is told the
 * host's token, whichever that is.
 */
#include "lsm/db/db.h"
#include "tests/unit/used.h"

static uint8_t large_value[50 << 10];

/* ---- memory ---- */

static const char *kill_from = "b", *kill_to = "killed";

static void kill_at_a_log(const char *name)
{
    if (strstr(name, ".log")) {
        disk.hook = NULL;
        disk_kill(kill_from, kill_to);
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

    before = used_begin();
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
    txn = begin_put(&s, &t, "large");
    CHECK_OK(lsm_txn_put(txn, s.tree, text("large"), lsm_slice(large_value, 50 << 10)));
    CHECK_OK(prepare_solo(txn, false, &ignored));
    lsm_txn_commit(txn, false);
    for (int i = 1; i < COUNT / 2; i++) {
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
        int rows;
    } steps[STEPS];
    int count, rows;
} history;

static uint64_t replayed;       /* flushes between two logs */

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

/* So much that it comes with tables. */
static void make_large(struct store *s, struct lsm_txn *txn, const char *key)
{
    char more[24];

    for (int i = 0; i < 160; i++) {
        snprintf(more, sizeof more, "with %s-%d", key, i);
        CHECK_OK(lsm_txn_put(txn, s->tree, text(more), lsm_slice(large_value, 900)));
    }
}

static struct lsm_token add_step(struct store *s, struct lsm_token base)
{
    struct step *step = &history.steps[history.count];
    unsigned how = (unsigned)test_below(lsm_chain_is_quiet(s->db, &base) ? 10 : 5);
    struct lsm_txn *txn;

    *step = (struct step){ .base = base, .id = base, .is_joint = how < 5, .is_aborted = how == 9 };
    snprintf(step->key, sizeof step->key, "k%d", history.count);
    history.count++;
    txn = begin_put(s, &base, step->key);
    if (history.rows < 500 && test_below(16) == 0) {
        make_large(s, txn, step->key);
        step->rows = 160;
    }
    step->rows++;
    history.rows += step->rows;
    if (step->is_joint)
        CHECK_OK(prepare_joint(txn, &step->id));
    else
        CHECK_OK(prepare_solo(txn, false, &step->id));
    if (how < 3 || (how >= 5 && how < 9))
        lsm_txn_commit(txn, false);
    else                        /* of a joint: it is given up, and may be decided all the same */
        CHECK_OK(lsm_txn_abort(txn));
    return how < 3 ? step->id : base;
}

static int rows_at(const struct lsm_token *token)
{
    int rows = 0;

    for (int i = 0; i < history.count; i++)
        rows += is_seen(&history.steps[i], token) ? history.steps[i].rows : 0;
    return rows;
}

/* So little memory that what one log has is flushed before the next one's rows are read. */
static bool open_history(struct store *s, const char *path, const struct lsm_token *token, bool with_memory)
{
    if (!store_open(s, path))
        return false;
    if (!with_memory)
        atomic_store(&s->db->memtable_bytes, 1);
    return CHECK_OK(lsm_db_publish(s->db, token));
}

/* Returns the newest token that it has shown to the store. */
static const struct lsm_token *check_token(const char *path, const struct lsm_token *token, bool with_memory)
{
    struct store s;

    if (!open_history(&s, path, token, with_memory))
        return token;
    replayed += s.db->counters.flushes;
    CHECK(shows_history(&s, NULL, token));
    CHECK_INT(lsm_db_seq_published(s.db), rows_at(token));
    /* Later ones, in this order; and what those see who began before. */
    for (int i = 0; i < history.count; i++) {
        const struct step *step = &history.steps[i];
        struct lsm_snapshot *old;
        uint64_t flushes = s.db->counters.flushes;

        if (!step->is_joint || !is_behind(&step->id, token) || test_below(2))
            continue;
        CHECK_OK(lsm_db_publish(s.db, &step->id));
        CHECK(shows_history(&s, NULL, &step->id));
        CHECK_INT(lsm_db_seq_published(s.db), rows_at(&step->id));
        if (with_memory || s.db->counters.flushes == flushes)
            CHECK_OK(lsm_snapshot_open_at(s.db, token, &old));
        else if (lsm_snapshot_open_at(s.db, token, &old) != LSM_OK)     /* versions went with the flush */
            CHECK(!old);
        if (old) {
            const struct lsm_read read = { .snapshot = old };
            CHECK(shows_history(&s, &read, token));
            lsm_snapshot_close(old);
        }
        token = &step->id;
    }
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    return token;
}

static void remove_all(const char *path)
{
    int id = disk_path_id(path);
    struct lsm_dir *dir;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, true, 0755, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id)
            CHECK_INT(disk.os->file_remove(dir, disk.live[i].name), 0);
    disk.os->dir_close(dir);
}

/* Each token that a crash may leave; then the same behind an open with little memory, which has flushed. */
static void check_tokens(const char *path, const struct lsm_token *floor)
{
    for (int i = -1; i < history.count; i++) {
        const struct lsm_token *id = i < 0 ? &no_token : &history.steps[i].id;

        if ((i >= 0 && !history.steps[i].is_joint) || !is_behind(id, floor))
            continue;
        check_token(path, id, true);
        remove_all("again");
        disk_copy(path, "again", false);
        id = check_token("again", id, false);
        check_token("again", id, true);
        if (disk_count("again", ".ldb"))        /* a power cut may have taken what came behind it */
            check_token("again", floor, true);
    }
}

/* The log ends, if what it has is decided, and its rows stay in memory. */
static void fail_flush(struct store *s)
{
    disk_fail(DISK_CREATE, 1, true, ".ldb");
    (void)lsm_db_flush(s->db);
    disk_heal();
}

/* `settles`: logs end, and where they do no crash leaves an older token. */
static void play(bool settles)
{
    struct lsm_token token = no_token, floor;
    char path[16] = "b";
    struct store s;
    int paths = 0;

    history.count = history.rows = 0;
    disk_and_host_begin();
    host.rc = settles ? LSM_OK : LSM_BUSY;      /* nothing is ever settled: a crash may leave any token */
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
        if (settles && s.db->has_log && test_below(8) == 0)
            fail_flush(&s);
    }
    disk_kill(path, "end");
    floor = s.db->floor;
    store_close(&s);
    host.rc = LSM_BUSY;         /* no close settles what comes behind it */
    check_tokens("end", &floor);
    disk_end();
}

TEST(R12_a_token_shows_its_chain_whatever_was_read)
{
    for (int round = 0; round < (test_long() ? 2000 : 60); round++)
        play(false);
}

/* commit.md, R17: "Replay flushes as it goes only up to the floor" */
TEST(R17_a_token_shows_its_chain_where_logs_are_flushed_before_the_next_is_read)
{
    replayed = 0;
    for (int round = 0; round < (test_long() ? 2000 : 60); round++)
        play(true);
    CHECK(replayed > 100);
    printf("  %llu flushes\n", (unsigned long long)replayed);
}

/* The same with two logs, of which the second begins with copies. */
TEST(R12_a_token_shows_its_chain_where_a_fresh_log_was_cut_short)
{
    for (int round = 0; round < 20; round++) {
        struct lsm_token token = no_token, first = no_token;
        struct store s;

        history.count = history.rows = 0;
        disk_and_host_begin();
        host.rc = LSM_BUSY;
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
            check_tokens("killed", &no_token);
            store_close(&s);
            if (!store_open_at(&s, "killed", &first))
                return;
            token = first;
        }
        disk_kill("killed", "end");
        store_close(&s);
        check_tokens("end", &no_token);
        disk_end();
    }
}

/* ---- copies ---- */

static uint64_t log_bytes(const char *path)
{
    int id = disk_path_id(path);
    struct lsm_file_info info;
    struct lsm_file *file;
    struct lsm_dir *dir;
    uint64_t bytes = 0;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++) {
        if (disk.live[i].file < 0 || disk.live[i].dir != id || !strstr(disk.live[i].name, ".log"))
            continue;
        CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_READ, 0, &file), 0);
        CHECK_INT(disk.os->file_info(file, &info), 0);
        bytes += info.size;
        disk.os->file_close(file);
    }
    disk.os->dir_close(dir);
    return bytes;
}

TEST(R11_a_fresh_log_that_is_cut_short_again_and_again_has_no_copies_of_copies)
{
    struct lsm_token t = no_token, ignored;
    char key[16], path[16] = "b", next[16];
    uint64_t once;
    struct lsm_txn *txn;
    struct store s;

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "%06d", i);
        if (i % 3 == 0)
            t = joint(&s, t, key, false);
        else
            solo(&s, t, key, false);
        if (i % 3 == 0)
            continue;
        txn = begin_put(&s, &t, "taken back");
        CHECK_OK(prepare_solo(txn, false, &ignored));
        CHECK_OK(lsm_txn_abort(txn));
    }
    disk_kill("a", path);
    store_close(&s);
    once = log_bytes(path);
    for (int i = 0; i < 6; i++) {
        snprintf(next, sizeof next, "b%d", i);
        if (!store_open_at(&s, path, &t))
            return;
        kill_from = path;
        kill_to = next;
        disk.hook = kill_at_the_second_sync_of_a_log;
        solo(&s, t, "one more", false);
        CHECK(!disk.hook);
        store_close(&s);
        CHECK_INT(disk_count(next, ".log"), i + 2);
        CHECK(log_bytes(next) <= (uint64_t)(i + 2) * once);
        CHECK_INT(count_in(next, &t), 50);
        strcpy(path, next);
    }
    kill_from = "b";
    kill_to = "killed";
    disk_end();
}

static void each_log(const char *path, void (*fn)(struct lsm_dir *dir, const char *name))
{
    int id = disk_path_id(path);
    struct lsm_dir *dir;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, ".log"))
            fn(dir, disk.live[i].name);
    disk.os->dir_close(dir);
}

static void empty_one(struct lsm_dir *dir, const char *name)
{
    struct lsm_file *file;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_truncate(file, 0), 0);
    disk.os->file_close(file);
}

struct payloads {
    struct lsm_buf bytes[40];
    int count;
};

static int keep_payload(void *ctx, struct lsm_slice payload, uint64_t off)
{
    struct payloads *kept = ctx;
    struct lsm_buf *to = &kept->bytes[kept->count++];

    (void)off;
    lsm_buf_init(to, disk.os);
    lsm_buf_append_slice(to, payload);
    return to->rc;
}

static void append_payloads(struct lsm_log *log, const struct payloads *kept, int from, int end)
{
    for (int i = from; i < end; i++) {
        struct lsm_slice bytes = lsm_buf_slice(&kept->bytes[i]);
        CHECK_OK(lsm_log_append(log, &bytes, 1));
    }
}

/* Earlier versions left such logs, and what the host carried may be copied twice. */
TEST(R12_a_token_shows_its_chain_where_a_log_has_records_twice)
{
    struct payloads kept = { .count = 0 };
    struct lsm_token t[11] = { no_token };
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct lsm_dir *dir;
    bool created, torn;
    uint64_t number;
    uint8_t uuid[16];
    struct store s;
    char key[16];

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (i % 3 == 2)
            t[i / 3 + 1] = joint(&s, t[i / 3], key, false);
        else
            solo(&s, t[i / 3], key, false);
    }
    number = s.db->log.number;
    lsm_db_uuid(s.db, uuid);
    disk_kill("a", "b");
    store_close(&s);
    CHECK_INT(disk.os->dir_open(disk.os, "b", false, 0, &created, &dir), 0);
    CHECK_OK(lsm_log_read(disk.os, dir, uuid, number, keep_payload, &kept, &end, &prev, &torn));
    CHECK_INT(kept.count, 30);
    each_log("b", empty_one);
    CHECK_OK(lsm_log_create(&log, disk.os, dir, uuid, number + 1, NULL, 0644));
    append_payloads(&log, &kept, 0, 20);
    append_payloads(&log, &kept, 0, 20);
    append_payloads(&log, &kept, 20, 30);
    append_payloads(&log, &kept, 10, 30);
    CHECK_OK(lsm_log_sync(&log));
    lsm_log_close(&log);
    disk.os->dir_close(dir);
    for (int i = 0; i < kept.count; i++)
        lsm_buf_clear(&kept.bytes[i]);
    for (int i = 0; i < 10; i++)
        CHECK_INT(count_in("b", &t[i]), 3 * i + 2);
    CHECK_INT(count_in("b", &t[10]), 30);
    disk_end();
}

/* ---- what goes wrong in between ---- */

enum { SOLOS = 100, ROWS = 600 };       /* before each of three joints; of a joint */
static const int seen_at[4] = { SOLOS, 2 * SOLOS + ROWS, 3 * SOLOS + 2 * ROWS, 3 * SOLOS + 3 * ROWS };

/* Rows for several groups, and joints that a publishing can fail within. */
static void make_long(struct store *s, struct lsm_token t[4])
{
    char key[16];

    t[0] = no_token;
    for (int k = 0; k < 3; k++) {
        struct lsm_txn *txn;

        for (int i = 0; i < SOLOS; i++) {
            struct lsm_token ignored;

            snprintf(key, sizeof key, "%d-%04d", k, i);
            txn = begin_put(s, &t[k], key);
            if (i == SOLOS / 2)         /* one that is a group by itself */
                CHECK_OK(lsm_txn_put(txn, s->tree, text(key), lsm_slice(large_value, 5000)));
            CHECK_OK(prepare_solo(txn, false, &ignored));
            lsm_txn_commit(txn, false);
        }
        txn = begin_put(s, &t[k], "joint");
        for (int i = 1; i < ROWS; i++) {
            snprintf(key, sizeof key, "joint%d-%04d", k, i);
            CHECK_OK(lsm_txn_put(txn, s->tree, text(key), text("a value of some length, for one more chunk")));
        }
        snprintf(key, sizeof key, "joint%d", k);
        CHECK_OK(lsm_txn_put(txn, s->tree, text(key), text("value")));
        CHECK_OK(lsm_txn_delete(txn, s->tree, text("joint")));
        CHECK_OK(prepare_joint(txn, &t[k + 1]));
        lsm_txn_commit(txn, false);
    }
}

static int count_seen_at(struct store *s, const struct lsm_token *token)
{
    struct lsm_snapshot *old;
    int count = -1;

    if (CHECK_OK(lsm_snapshot_open_at(s->db, token, &old))) {
        const struct lsm_read read = { .snapshot = old };
        count = count_at(s, &read);
        lsm_snapshot_close(old);
    }
    return count;
}

TEST(a_publishing_that_fails_in_its_middle_shows_what_it_shows_later)
{
    struct lsm_token t[4];
    bool is_done = false;
    struct store s;

    if (!store_begin(&s))
        return;
    make_long(&s, t);
    disk_kill("a", "b");
    for (int at = 1; at < 400 && !is_done; at++)
        for (int way = 0; way < 5; way++) {
            struct store again;
            int rc;

            if (!store_open(&again, "b"))
                return;
            if (way == 4)
                CHECK_OK(lsm_db_publish(again.db, &t[0]));
            disk_fail(DISK_MEMORY, at, false, "");
            rc = lsm_db_publish(again.db, &t[3]);
            disk_heal();
            is_done = rc == LSM_OK;
            CHECK(rc == LSM_OK || rc == LSM_NOMEM);
            for (int k = way % 4; k < 4; k++)   /* next is an older reader, or the same again */
                CHECK_INT(count_seen_at(&again, &t[k]), seen_at[k]);
            CHECK_OK(lsm_db_publish_newest(again.db, &t[3]));
            for (int k = 0; k < 4; k++)
                CHECK_INT(count_seen_at(&again, &t[k]), seen_at[k]);
            store_close(&again);
        }
    CHECK(is_done);
    store_end(&s);
}

TEST(a_record_with_the_number_of_another_is_damage)
{
    struct store s;

    for (int alone = 0; alone < 2; alone++) {
        if (!store_begin(&s))
            return;
        for (int i = 0; i < 4; i++)
            solo(&s, no_token, "key", true);
        s.db->txid_max -= 1 + (uint64_t)alone;
        solo(&s, no_token, "another", true);
        disk_kill("a", "b");
        store_close(&s);
        CHECK_RC(lsm_db_open("b", &(struct lsm_options){ .os = disk.os, .host = &the_host, .wait_for_token = true,
                                                        .no_worker = true }, &s.db), LSM_CORRUPT);
        CHECK(strstr(lsm_error_text(), "ascend"));
        disk_end();
    }
}

static void flip_one(struct lsm_dir *dir, const char *name)
{
    struct lsm_file *file;
    uint8_t byte = 0;
    size_t got;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    disk.os->file_read(file, &byte, 1, 20000, &got);
    byte ^= 1;
    disk.os->file_write(file, &byte, 1, 20000);
    disk.os->file_close(file);
}

static void remove_one(struct lsm_dir *dir, const char *name)
{
    CHECK_INT(disk.os->file_remove(dir, name), 0);
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
    each_log("b", flip_one);
    CHECK_RC(lsm_db_publish(s.db, &t[2]), LSM_CORRUPT);
    CHECK_RC(lsm_db_publish(s.db, &t[3]), LSM_CORRUPT);
    each_log("b", flip_one);
    CHECK_OK(lsm_db_publish(s.db, &t[3]));
    CHECK_INT(count_at(&s, NULL), seen_at[3]);
    store_close(&s);
    if (!store_open(&s, "c"))
        return;
    each_log("c", remove_one);
    CHECK_RC(lsm_db_publish(s.db, &t[3]), LSM_CORRUPT);
    store_close(&s);
    /* Where nothing relied on a sync, what follows is as if it had never been written. */
    if (!store_open(&s, "d"))
        return;
    for (int i = 0; i < 1000; i++)
        solo(&s, no_token, "key", false);
    disk_kill("d", "e");
    store_close(&s);
    if (!store_open(&s, "e"))
        return;
    each_log("e", flip_one);
    CHECK_RC(lsm_db_publish(s.db, &no_token), LSM_CORRUPT);
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
    CHECK_INT(count_at(&s, NULL), seen_at[1]);
    CHECK_OK(lsm_db_publish(s.db, &t[3]));
    CHECK_INT(count_at(&s, NULL), seen_at[3]);
    CHECK(!has(&s, "given up"));
    disk_kill("b", "c");
    CHECK_INT(count_in("c", &t[3]), seen_at[3]);
    k = joint(&s, t[3], "next", true);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(s.db->record_count, 0);
    CHECK_INT(disk_count("b", ".log"), 1);
    CHECK_INT(count_at(&s, NULL), seen_at[3] + 1);
    store_end(&s);
}

/* ---- flushed before the next log is read ---- */

enum { PER_LOG = 3000, LOGS = 5 };

static void put_log(struct store *s, int log)
{
    char key[16], value[120];

    memset(value, 'v', sizeof value);
    for (int i = 0; i < PER_LOG; i++) {
        snprintf(key, sizeof key, "%d-%06d", (i + log) % 3 ? log : 0, i);
        snprintf(value, sizeof value, "of log %d", log);
        CHECK_OK(lsm_db_put(s->db, s->tree, text(key), lsm_slice(value, sizeof value), false));
    }
}

/* What only the next log's records say: up to where the database is settled. */
TEST(R17_what_is_not_settled_is_not_flushed_before_the_next_log_is_read)
{
    for (int settled = 0; settled < 2; settled++) {
        struct lsm_token t = no_token;
        struct store s;

        if (!store_begin(&s))
            return;
        t = joint(&s, t, "1", false);
        solo(&s, t, "2", false);
        fail_flush(&s);
        solo(&s, t, "3", false);
        disk_kill("a", "b");
        store_close(&s);
        if (!store_open(&s, "b"))
            return;
        atomic_store(&s.db->memtable_bytes, 1);
        if (!settled)
            s.db->floor = no_token;
        CHECK_OK(lsm_db_publish(s.db, &t));
        CHECK_INT(s.db->counters.flushes, settled);
        CHECK_INT(disk_count("b", ".log"), 2 - settled);
        CHECK(shows(&s, "1 2 3"));
        CHECK_INT(s.db->seq_alloc, 3);
        store_end(&s);
    }
}

/* An old reader first: what it does not see stands in the same log as what it does. */
TEST(R17_a_log_of_which_a_part_is_shown_is_not_cut_by_a_flush)
{
    struct lsm_token t[3] = { no_token };
    struct store s;

    if (!store_begin(&s))
        return;
    t[1] = joint(&s, t[0], "1", false);
    fail_flush(&s);
    solo(&s, t[1], "2", false);
    t[2] = joint(&s, t[1], "3", false);
    disk_kill("a", "b");
    store_close(&s);
    for (int i = 0; i < 2; i++) {
        if (!store_open(&s, i ? "c" : "b"))
            return;
        atomic_store(&s.db->memtable_bytes, 1);
        CHECK_OK(lsm_db_publish(s.db, &t[1]));
        CHECK(shows(&s, "1 2 !3"));
        CHECK_OK(lsm_db_publish(s.db, &t[2]));
        CHECK(shows(&s, "1 2 3"));
        CHECK_INT(s.db->counters.flushes, 1 - i);
        CHECK_INT(s.db->seq_alloc, 3);
        if (i == 0)
            disk_kill("b", "c");
        store_close(&s);
    }
    disk_end();
}

/* A log begun fresh has the records of the one before: that must not go first. */
TEST(R12_copies_in_the_next_log_are_no_records_of_it)
{
    struct payloads kept = { .count = 0 };
    struct lsm_token t[14] = { no_token };
    struct lsm_log_end end, prev;
    struct lsm_log log;
    struct lsm_dir *dir;
    bool created, torn;
    uint64_t number;
    uint8_t uuid[16];
    struct store s;
    char key[16];

    if (!store_begin(&s))
        return;
    for (int i = 0; i < 39; i++) {
        if (i == 32)            /* with two SOLOs on the joint that tables would get to */
            disk_kill("a", "b");
        snprintf(key, sizeof key, "%d", i);
        if (i % 3 == 2)
            t[i / 3 + 1] = joint(&s, t[i / 3], key, false);
        else
            solo(&s, t[i / 3], key, false);
    }
    number = s.db->log.number;
    lsm_db_uuid(s.db, uuid);
    disk_kill("a", "c");
    store_close(&s);
    CHECK_INT(disk.os->dir_open(disk.os, "c", false, 0, &created, &dir), 0);
    CHECK_OK(lsm_log_read(disk.os, dir, uuid, number, keep_payload, &kept, &end, &prev, &torn));
    disk.os->dir_close(dir);
    CHECK_INT(kept.count, 39);
    CHECK_INT(disk.os->dir_open(disk.os, "b", false, 0, &created, &dir), 0);
    CHECK_OK(lsm_log_create(&log, disk.os, dir, uuid, number + 1, NULL, 0644));
    append_payloads(&log, &kept, 0, 39);
    CHECK_OK(lsm_log_sync(&log));
    lsm_log_close(&log);
    disk.os->dir_close(dir);
    for (int i = 0; i < kept.count; i++)
        lsm_buf_clear(&kept.bytes[i]);
    for (int i = 0; i < 2; i++) {
        if (!store_open(&s, "b"))
            return;
        atomic_store(&s.db->memtable_bytes, 1);
        s.db->floor = t[13];
        CHECK_OK(lsm_db_publish(s.db, &t[13]));
        CHECK_INT(count_at(&s, NULL), 39);
        CHECK_INT(s.db->seq_alloc, 39);
        host.rc = LSM_BUSY;
        store_close(&s);
    }
    disk_end();
}

/* Without a host, with little or more memory. */
static bool open_with(struct store *s, const char *path, uint64_t memory_bytes)
{
    struct lsm_options options = small_options(NULL);

    options.memory_bytes = memory_bytes;
    memset(s, 0, sizeof *s);
    if (!CHECK_OK(lsm_db_open(path, &options, &s->db)))
        return false;
    return lsm_tree_find(s->db, text("t"), &s->tree) == LSM_OK ||
           CHECK_OK(lsm_tree_create(s->db, text("t"), NULL, &s->tree));
}

/* Five logs, killed: in "many". Returns how many rows there are. */
static int make_logs(void)
{
    struct store s;
    int count;

    disk_begin();
    if (!open_with(&s, "a", 16 << 20))
        return 0;
    for (int i = 0; i < LOGS; i++) {
        put_log(&s, i);
        if (i + 1 < LOGS)
            fail_flush(&s);
    }
    CHECK_OK(lsm_db_delete(s.db, s.tree, text("0-000000"), true));
    count = count_at(&s, NULL);
    disk_kill("a", "many");
    store_close(&s);
    CHECK_INT(disk_count("many", ".log"), LOGS);
    return count;
}

static int count_little(const char *path)
{
    struct store s;
    int count;

    if (!open_with(&s, path, 1 << 20))
        return -1;
    count = count_at(&s, NULL);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    return count;
}

TEST(memory_of_an_open_is_bounded_by_a_log_where_there_are_many)
{
    int count = make_logs();
    uint64_t before = used_begin();
    struct store s;

    if (!open_with(&s, "many", 1 << 20))
        return;
    printf("  %d rows, %llu KiB at most, %llu flushes\n", count, (unsigned long long)((used_max - before) >> 10),
           (unsigned long long)s.db->counters.flushes);
    CHECK(s.db->counters.flushes >= LOGS - 2);
    CHECK(used_max - before < 3 << 20);
    CHECK_INT(disk_count("many", ".log"), 1);
    disk_kill("many", "b");
    disk_power_cut("many", "c");        /* the last log is not on disk: nobody wrote */
    CHECK_INT(count_at(&s, NULL), count);
    store_close(&s);
    CHECK_INT(count_little("b"), count);
    CHECK_INT(count_little("c"), PER_LOG + (LOGS - 2) * PER_LOG * 2 / 3);
    disk_end();
}

/* Each call that an open with little memory makes fails, alone and with all that follow it: the rows are there. */
TEST(I_03_an_open_that_cannot_flush_between_logs_keeps_the_rows_in_memory)
{
    int count = make_logs(), at, failed = 0;
    struct store s;

    for (at = 2; at < 400; at++) {      /* the first is LOCK's */
        bool is_over = true;

        for (int sticky = 0; sticky < 2; sticky++) {
            remove_all("b");
            disk_copy("many", "b", false);
            disk_fail(DISK_WRITE | DISK_SYNC | DISK_DIR_SYNC | DISK_CREATE | DISK_TRUNCATE, at, sticky, NULL);
            if (!open_with(&s, "b", 1 << 20))
                return;
            is_over = disk.fail_seen < at;
            failed += s.db->counters.flushes < LOGS - 2;
            CHECK_INT(count_at(&s, NULL), count);
            disk_heal();
            remove_all("c");
            disk_copy("b", "c", false);
            CHECK_INT(count_little("c"), count);
            CHECK_OK(lsm_db_put(s.db, s.tree, text("more"), text("value"), true));
            CHECK_INT(count_at(&s, NULL), count + 1);
            CHECK_OK(lsm_db_check(s.db));
            store_close(&s);
            CHECK_INT(count_little("b"), count + 1);
        }
        if (is_over)
            break;
    }
    printf("  %d calls\n", at);
    CHECK(at > 20 && failed > 20);
    disk_end();
}

static const char *cut_path;
static int cut_count, cut_rows;

static void look_behind_a_power_cut(const char *name)
{
    void (*again)(const char *) = disk.hook;

    (void)name;
    disk.hook = NULL;
    remove_all("cut");
    disk_power_cut(cut_path, "cut");
    CHECK_INT(count_little("cut"), cut_rows);
    cut_count++;
    disk.hook = again;
}

TEST(a_power_cut_within_an_open_that_flushes_takes_nothing)
{
    struct store s;

    cut_rows = make_logs();
    cut_count = 0;
    disk_power_cut("a", "b");
    cut_path = "b";
    disk.hook = look_behind_a_power_cut;
    if (!open_with(&s, "b", 1 << 20))
        return;
    disk.hook = NULL;
    CHECK(s.db->counters.flushes >= LOGS - 2);
    printf("  %d power cuts\n", cut_count);
    CHECK(cut_count >= 2 * (LOGS - 1));
    CHECK_INT(count_at(&s, NULL), cut_rows);
    store_close(&s);
    disk_end();
}

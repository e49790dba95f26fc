/*
 * The simulated disk detects what it is there for: two toy stores, right as they
 * stand, lose something as soon as one step of their protocol is left out.
 */
#include "tests/test.h"

#include "lsm/version/manifest.h"
#include "tests/sim/sim.h"

/* What a toy leaves out. */
enum { NOTHING, SYNC_FILE, SYNC_DIR, ORDER, CHECKSUM };

struct toy {
    struct sim *sim;
    int without;
    int64_t (*read)(struct sim_disk *disk);
};

#define RECORD 1200             /* bytes: more than two sectors */

/* A record says its number, and proves it. */
static void record_fill(uint8_t *record, int n)
{
    uint64_t x = (uint64_t)n, sum = 0;

    for (size_t i = 8; i < RECORD; i++) {
        record[i] = (uint8_t)(x = sim_mix(x));
        sum = sum * 31 + record[i];
    }
    sum = sim_mix(sum ^ (uint64_t)n) << 8 | (uint64_t)n;
    memcpy(record, &sum, 8);
}

static int record_number(const uint8_t *record, bool check)
{
    uint8_t right[RECORD];
    int n = record[0];

    record_fill(right, n);
    return memcmp(record, right, check ? RECORD : 1) == 0 ? n : -1;
}

/* ---- one file that is replaced whole ---- */

static int64_t replaced_read(struct sim_disk *disk)
{
    uint32_t ino = sim_disk_find(disk, "/db/value");
    uint8_t record[RECORD];
    size_t got;

    if (!ino)
        return 0;
    if (sim_read(disk, ino, record, RECORD, 0, &got) || got < RECORD)
        return -1;
    return record_number(record, true);
}

static void replaced_write(struct toy *toy, int n)
{
    struct lsm_os *os = sim_lsm_os(toy->sim);
    struct lsm_dir *dir;
    struct lsm_file *file;
    uint8_t record[RECORD];

    record_fill(record, n);
    CHECK_INT(os->dir_open(os, "/db", false, 0, NULL, &dir), 0);
    CHECK_INT(os->file_open(dir, "value.tmp", LSM_OPEN_CREATE, 0644, &file), 0);
    CHECK_INT(os->file_write(file, record, RECORD, 0), 0);
    if (toy->without == ORDER)
        CHECK_INT(os->file_rename(dir, "value.tmp", "value"), 0);
    if (toy->without != SYNC_FILE)
        CHECK_INT(os->file_sync(file), 0);
    os->file_close(file);
    if (toy->without != ORDER)
        CHECK_INT(os->file_rename(dir, "value.tmp", "value"), 0);
    if (toy->without != SYNC_DIR)
        CHECK_INT(os->dir_sync(dir), 0);
    os->dir_close(dir);
}

/* ---- a log ---- */

static int64_t log_read_as(struct sim_disk *disk, bool check)
{
    uint32_t ino = sim_disk_find(disk, "/db/log");
    uint8_t record[RECORD];
    size_t got;
    int n = 0;

    while (ino && sim_read(disk, ino, record, RECORD, (uint64_t)n * RECORD, &got) == 0 &&
           got == RECORD && record_number(record, check) == n + 1)
        n++;
    if (!check)                 /* a reader that believes all, and then looks closely */
        for (int i = 0; i < n; i++)
            if (sim_read(disk, ino, record, RECORD, (uint64_t)i * RECORD, &got) ||
                record_number(record, true) != i + 1)
                return -1;
    return n;
}

static int64_t log_read(struct sim_disk *disk)
{
    return log_read_as(disk, true);
}

static int64_t log_read_believing(struct sim_disk *disk)
{
    return log_read_as(disk, false);
}

static void log_write(struct toy *toy, int n)
{
    struct lsm_os *os = sim_lsm_os(toy->sim);
    struct lsm_dir *dir;
    struct lsm_file *file;
    uint8_t record[RECORD];

    record_fill(record, n);
    CHECK_INT(os->dir_open(os, "/db", false, 0, NULL, &dir), 0);
    CHECK_INT(os->file_open(dir, "log", n == 1 ? LSM_OPEN_CREATE : LSM_OPEN_WRITE, 0644, &file), 0);
    CHECK_INT(os->file_write(file, record, RECORD, (uint64_t)(n - 1) * RECORD), 0);
    if (toy->without != SYNC_FILE)
        CHECK_INT(os->file_sync(file), 0);
    if (n == 1 && toy->without != SYNC_DIR)
        CHECK_INT(os->dir_sync(dir), 0);
    os->file_close(file);
    os->dir_close(dir);
}

/* ---- the enumeration ---- */

static int64_t toy_open(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    struct toy *toy = ctx;
    int64_t n = toy->read(disk);

    if (n < 0)
        snprintf(state->why, sizeof state->why, "it cannot be read");
    sim_disk_free(disk);
    return n;
}

static bool toy_allow(void *ctx, struct sim_state *state, int64_t n)
{
    return sim_allow_prefix(((struct toy *)ctx)->sim->disk, state, n);
}

/* How many crash states of a toy are wrong (at most one is looked for). */
static unsigned wrong_states(void (*write)(struct toy *, int), int64_t (*read)(struct sim_disk *),
                             int without, uint32_t models, uint64_t *distinct)
{
    struct toy toy = { .sim = sim_new(11), .without = without, .read = read };
    struct sim_enum e = { .models = models, .ctx = &toy, .open = toy_open, .allow = toy_allow,
                          .quiet = without != NOTHING, .failures_max = 1 };

    for (int n = 1; n <= 6; n++) {
        sim_mark(toy.sim, SIM_MARK_BEGUN, n);
        write(&toy, n);
        sim_mark(toy.sim, SIM_MARK_ACKED, n);
        sim_mark(toy.sim, SIM_MARK_DURABLE, n);
    }
    sim_enumerate(toy.sim->disk, &e);
    if (distinct)
        *distinct = e.distinct;
    CHECK(sim_free(toy.sim));
    return e.failures;
}

TEST(a_right_protocol_has_no_wrong_state)
{
    uint64_t distinct;

    CHECK_INT(wrong_states(replaced_write, replaced_read, NOTHING, SIM_M_ALL, &distinct), 0);
    CHECK(distinct > 30);
    CHECK_INT(wrong_states(log_write, log_read, NOTHING, SIM_M_ALL, &distinct), 0);
    CHECK(distinct > 60);
}

TEST(a_missing_file_sync_is_caught)
{
    CHECK(wrong_states(replaced_write, replaced_read, SYNC_FILE, SIM_M(0), NULL) > 0);
    CHECK(wrong_states(replaced_write, replaced_read, SYNC_FILE, SIM_M(3), NULL) > 0);
    CHECK(wrong_states(replaced_write, replaced_read, SYNC_FILE, SIM_M(6), NULL) > 0);
    CHECK(wrong_states(log_write, log_read, SYNC_FILE, SIM_M(0), NULL) > 0);
}

TEST(a_missing_directory_sync_is_caught)
{
    CHECK(wrong_states(replaced_write, replaced_read, SYNC_DIR, SIM_M(0), NULL) > 0);
    CHECK(wrong_states(log_write, log_read, SYNC_DIR, SIM_M(0), NULL) > 0);
}

TEST(a_rename_before_the_sync_is_caught)
{
    CHECK(wrong_states(replaced_write, replaced_read, ORDER, SIM_M(3), NULL) > 0);
    CHECK(wrong_states(replaced_write, replaced_read, ORDER, SIM_M(5), NULL) > 0);
    CHECK(wrong_states(replaced_write, replaced_read, ORDER, SIM_M(7), NULL) > 0);
    CHECK(wrong_states(replaced_write, replaced_read, ORDER, SIM_M(8), NULL) > 0);
}

TEST(a_missing_checksum_is_caught)
{
    CHECK(wrong_states(log_write, log_read_believing, CHECKSUM, SIM_M(8), NULL) > 0);
}

/* The kernel calls the pages of a failed sync clean: trying again proves nothing. */
TEST(a_sync_that_is_tried_again_is_caught)
{
    struct toy toy = { .sim = sim_new(12), .read = log_read };
    struct sim_enum e = { .models = SIM_M(0), .ctx = &toy, .open = toy_open, .allow = toy_allow,
                          .quiet = true };
    struct sim_disk *disk = toy.sim->disk;
    uint32_t ino = 0;
    uint8_t record[RECORD];

    CHECK_INT(sim_create(disk, sim_disk_find(disk, "/db"), "log", 0644, &ino), 0);
    CHECK_INT(sim_syncdir(disk, sim_disk_find(disk, "/db")), 0);
    disk->fault = (struct sim_fault){ .at = 1, .kinds = 1u << SIM_SYNC };
    for (int n = 1; n <= 2; n++) {
        sim_mark(toy.sim, SIM_MARK_BEGUN, n);
        record_fill(record, n);
        CHECK_INT(sim_write(disk, ino, record, RECORD, (uint64_t)(n - 1) * RECORD), 0);
        if (sim_sync(disk, ino))
            CHECK_INT(sim_sync(disk, ino), 0);
        sim_mark(toy.sim, SIM_MARK_ACKED, n);
        sim_mark(toy.sim, SIM_MARK_DURABLE, n);
    }
    CHECK(!sim_enumerate(disk, &e));
    CHECK(sim_free(toy.sim));
}

TEST(states_are_the_same_in_every_run)
{
    struct sim_state first = { .model = 4, .choice = 1 }, again = first;
    uint64_t hash[2][2];

    for (int run = 0; run < 2; run++) {
        struct toy toy = { .sim = sim_new(13), .without = SYNC_DIR };
        struct sim_disk *disk;
        for (int n = 1; n <= 3; n++)
            replaced_write(&toy, n);
        sim_disk_hash(toy.sim->disk, hash[run]);
        first = again;
        first.pos = toy.sim->disk->op_count;
        disk = sim_state_disk(toy.sim->disk, &first);
        if (CHECK(disk != NULL) && run == 1)
            CHECK_MEM(first.hash, again.hash, sizeof again.hash);
        memcpy(again.hash, first.hash, sizeof again.hash);
        sim_disk_free(disk);
        CHECK(sim_free(toy.sim));
    }
    CHECK_MEM(hash[0], hash[1], sizeof hash[0]);
}

TEST(a_state_can_be_written_to_a_real_directory)
{
    struct toy toy = { .sim = sim_new(14) };
    struct sim_state state = { .model = 0 };
    struct sim_disk *disk;
    uint8_t record[RECORD];
    char path[256];
    FILE *in;

    replaced_write(&toy, 1);
    state.pos = toy.sim->disk->op_count;
    disk = sim_state_disk(toy.sim->disk, &state);
    if (!CHECK(disk != NULL))
        return;
    CHECK_INT(sim_disk_export(disk, test_dir()), 0);
    snprintf(path, sizeof path, "%s/db/value", test_dir());
    in = fopen(path, "rb");
    if (CHECK(in != NULL)) {
        CHECK_INT(fread(record, 1, RECORD, in), RECORD);
        CHECK_INT(record_number(record, true), 1);
        fclose(in);
    }
    sim_disk_free(disk);
    CHECK(sim_free(toy.sim));
}

TEST(the_nth_call_fails_and_leaves_what_it_says)
{
    struct sim_disk *disk = sim_disk_new(1);
    uint32_t ino = 0, other;
    uint8_t bytes[100] = { 1 };

    CHECK_INT(sim_create(disk, SIM_ROOT, "f", 0644, &ino), 0);
    disk->fault = (struct sim_fault){ .at = 2, .kinds = 1u << SIM_WRITE, .error = ENOSPC,
                                      .partial = 1 };
    CHECK_INT(sim_write(disk, ino, bytes, 100, 0), 0);
    CHECK_INT(sim_write(disk, ino, bytes, 100, 100), ENOSPC);
    CHECK_INT(sim_inode(disk, ino)->size, 150);
    CHECK_INT(sim_write(disk, ino, bytes, 100, 100), 0);
    disk->fault = (struct sim_fault){ .at = 1, .sticky = true };
    CHECK_INT(sim_sync(disk, ino), EIO);
    CHECK_INT(sim_sync(disk, ino), EIO);
    CHECK_INT(sim_create(disk, SIM_ROOT, "g", 0644, &other), EMFILE);
    CHECK_INT(sim_unlink(disk, SIM_ROOT, "f"), EIO);
    disk->fault.at = 0;
    CHECK_INT(sim_disk_find(disk, "/f"), ino);
    disk->capacity = 300;
    CHECK_INT(sim_write(disk, ino, bytes, 100, 200), 0);
    CHECK_INT(sim_write(disk, ino, bytes, 1, 300), ENOSPC);
    CHECK_INT(sim_truncate(disk, ino, 10), 0);
    CHECK_INT(sim_write(disk, ino, bytes, 1, 10), 0);
    sim_disk_free(disk);
}

/* The ordering rules, on the engine's own MANIFEST with one step left out. */
static void break_rule(int without, const char *expected)
{
    struct sim *sim = sim_new(15);
    struct lsm_os *os = sim_lsm_os(sim);
    struct lsm_manifest m = { 0 };
    struct lsm_edit edit;
    struct lsm_table_meta meta = { .number = 5, .tree = 1, .size_bytes = 100, .entries = 1,
                                   .smallest = lsm_slice_str("a"), .largest = lsm_slice_str("a") };
    struct lsm_dir *dir = NULL;
    struct lsm_file *file = NULL;
    uint8_t bytes[100] = { 0 }, uuid[16] = { 1 };

    sim_watch(sim);
    CHECK_INT(os->dir_open(os, "/db/x-lsm", true, 0755, NULL, &dir), 0);
    lsm_edit_init(&edit, os);
    CHECK_OK(lsm_manifest_create(&m, os, dir, uuid, 1, 0644, &edit));
    CHECK_INT(os->file_open(dir, "000005.ldb", LSM_OPEN_CREATE, 0644, &file), 0);
    CHECK_INT(os->file_write(file, bytes, 100, 0), 0);
    if (without != SYNC_FILE)
        CHECK_INT(os->file_sync(file), 0);
    if (without != SYNC_DIR)
        CHECK_INT(os->dir_sync(dir), 0);
    lsm_edit_add_table(&edit, 0, &meta);
    CHECK_OK(lsm_manifest_append(&m, &edit));
    if (without == ORDER)
        CHECK_INT(os->file_remove(dir, "000005.ldb"), 0);
    if (without == CHECKSUM)
        CHECK_INT(os->file_write(file, bytes, 1, 0), 0);
    lsm_edit_clear(&edit);
    CHECK_OK(lsm_manifest_create(&m, os, dir, uuid, 2, 0644, &edit));
    CHECK_INT(os->file_remove(dir, "MANIFEST-000001"), 0);
    if (expected)
        CHECK(strstr(sim->disk->broken, expected) != NULL);
    else
        CHECK_STR(sim->disk->broken, "");
    sim->disk->broken[0] = '\0';
    lsm_edit_clear(&edit);
    lsm_manifest_close(&m);
    os->file_close(file);
    os->dir_close(dir);
    CHECK(sim_free(sim));
}

/* C-09 */
TEST(the_ordering_rules_see_each_wrong_step)
{
    break_rule(NOTHING, NULL);
    break_rule(SYNC_FILE, "whose content is not durable (C-04)");
    break_rule(SYNC_DIR, "whose name is not durable (C-04)");
    break_rule(ORDER, "removes 000005.ldb");
    break_rule(CHECKSUM, "which a MANIFEST names");
}

static int count_name(void *ctx, const char *name)
{
    (void)name;
    return ++*(int *)ctx == 100;
}

TEST(the_seam_keeps_its_contract)
{
    struct sim *sim = sim_new(2);
    struct lsm_os *os = sim_lsm_os(sim);
    struct lsm_dir *dir = NULL, *other = NULL;
    struct lsm_file *a = NULL, *b = NULL;
    struct lsm_file_info info;
    struct lsm_thread *thread;
    char data[16];
    size_t got;
    bool created;
    uint64_t early;
    int names = 0;
    void *p;

    CHECK_INT(os->dir_open(os, "/db/x-lsm", false, 0, NULL, &dir), ENOENT);
    CHECK_INT(os->dir_open(os, "/db/x-lsm", true, 0755, &created, &dir), 0);
    CHECK(created);
    CHECK_INT(os->dir_open(os, "/db/x-lsm", true, 0755, &created, &other), 0);
    CHECK(!created);
    CHECK_INT(os->file_open(dir, "f", LSM_OPEN_WRITE, 0644, &a), ENOENT);
    CHECK_INT(os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &a), 0);
    CHECK_INT(os->file_open(other, "f", LSM_OPEN_CREATE, 0644, &b), EEXIST);
    CHECK_INT(os->file_open(other, "f", LSM_OPEN_CREATE_SHARED, 0644, &b), 0);
    CHECK_INT(os->file_lock(a), 0);
    CHECK_INT(os->file_lock(b), EAGAIN);
    CHECK_INT(os->file_write(a, "hello", 5, 3), 0);
    CHECK_INT(os->file_read(b, data, 16, 2, &got), 0);
    CHECK_INT(got, 6);
    CHECK_MEM(data, "\0hello", 6);
    os->file_close(a);
    CHECK_INT(os->file_lock(b), 0);
    CHECK_INT(os->file_link(dir, "f", other, "g"), 0);
    CHECK_INT(os->file_open(dir, "g", LSM_OPEN_WRITE, 0, &a), EMLINK);
    CHECK_INT(os->file_open(dir, "g", LSM_OPEN_READ, 0, &a), 0);
    CHECK_INT(os->file_remove(dir, "f"), 0);
    CHECK_INT(os->file_info(a, &info), 0);
    CHECK_INT(info.nlink, 1);
    CHECK_INT(info.size, 8);
    CHECK_INT(os->dir_list(dir, count_name, &names), 0);
    CHECK_INT(names, 1);
    CHECK_INT(os->dir_remove(os, "/db/x-lsm"), ENOTEMPTY);
    CHECK_INT(os->thread_start(os, NULL, NULL, &thread), EAGAIN);
    CHECK(!sim_os_is_clean(sim->os));
    os->file_close(a);
    os->file_close(b);
    os->dir_close(dir);
    os->dir_close(other);

    early = os->mono_us(os);
    CHECK(early < os->mono_us(os));
    sim->os->mem_fail_at = sim->os->mem_calls + 2;
    p = os->mem_alloc(os, 10);
    CHECK(p != NULL);
    CHECK(os->mem_realloc(os, p, 1000) == NULL);
    p = os->mem_realloc(os, p, 1000);
    CHECK(p && os->mem_used(os) >= 1000);
    os->mem_free(os, p);
    CHECK_INT(os->mem_used(os), 0);
    CHECK(sim_free(sim));
}

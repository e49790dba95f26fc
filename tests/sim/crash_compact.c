/*
 * crash_compact.c -- a compact of everything in a store that is larger than a
 * slice: its inputs go while it runs. Every crash state of it, and each call and
 * allocation in it that fails, leaves every row. Its values can be compressed, so that it
 * takes blocks and partitions as they stand, too.
 *
 * TEST_TIER=long: more choices, more points.
 */
#include "tests/test.h"

#include "lsm/db/db.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_threads.h"
#include "tests/stat.h"

enum { KEYS = 8000, VALUE_WORDS = 62, NEW_WORDS = 44 };

static uint32_t rows[KEYS];             /* the value; 0: none */
static uint32_t parts;                  /* in so many the compact is divided */
static bool with_threads;               /* each in its own */

/* ---- the store ---- */

static int open_store(struct sim *sim, struct lsm_db **db, struct lsm_tree **tree)
{
    const struct lsm_slice name = lsm_slice_str("t");
    struct lsm_options options;
    int rc;

    lsm_options_init(&options);
    options.os = sim_lsm_os(sim);
    options.create_if_missing = true;
    options.no_worker = true;
    options.memory_bytes = 1 << 20;
    options.max_subcompactions = parts;
    rc = lsm_db_open("/db/app.db-lsm", &options, db);
    if (rc == LSM_OK)
        rc = lsm_tree_find(*db, name, tree);
    if (rc == LSM_NOTFOUND)
        rc = lsm_tree_create(*db, name, NULL, tree);
    return rc;
}

static struct lsm_slice key_of(uint32_t k, char buffer[16])
{
    return lsm_slice(buffer, (size_t)snprintf(buffer, 16, "%06u", k));
}

static struct lsm_slice value_of(uint32_t k, uint32_t v, uint64_t buffer[VALUE_WORDS])
{
    uint64_t x = (uint64_t)v << 32 | k;

    for (int i = 0; i < VALUE_WORDS; i++)
        buffer[i] = i < NEW_WORDS ? (x = sim_mix(x)) : buffer[i - NEW_WORDS];
    return lsm_slice(buffer, VALUE_WORDS * sizeof *buffer);
}

static int put(struct lsm_db *db, struct lsm_tree *tree, uint32_t k, uint32_t v)
{
    uint64_t value[VALUE_WORDS];
    char key[16];

    rows[k] = v;
    return v ? lsm_db_put(db, tree, key_of(k, key), value_of(k, v, value), false)
             : lsm_db_delete(db, tree, key_of(k, key), false);
}

/* Three levels; in the uppermost, runs of a stretch of the keys each, with tombstones. */
static int fill(struct lsm_db *db, struct lsm_tree *tree)
{
    int rc = LSM_OK;

    memset(rows, 0, sizeof rows);
    for (uint32_t round = 1; round <= 16 && rc == LSM_OK; round++) {
        uint32_t among = round <= 8 ? KEYS : KEYS / 2;          /* the rest stays as it is, in whole blocks */

        for (uint32_t i = 0; i < KEYS / 5 && rc == LSM_OK; i++)
            rc = put(db, tree, (uint32_t)(sim_mix(round * 10000 + i) % among), round);
        if (rc == LSM_OK)
            rc = lsm_db_flush(db);
        while (rc == LSM_OK)
            rc = lsm_db_step(db);
        rc = rc == LSM_DONE ? LSM_OK : rc;
    }
    for (uint32_t round = 0; round < 12 && rc == LSM_OK; round++) {
        uint32_t at = (uint32_t)(sim_mix(round) % (KEYS - 400));
        for (uint32_t i = 0; i < 60 && rc == LSM_OK; i++)
            rc = put(db, tree, at + (uint32_t)(sim_mix(round * 777 + i) % 400), i % 2 ? 100 + round : 0);
        if (rc == LSM_OK)
            rc = lsm_db_flush(db);
    }
    return rc;
}

static bool is_exact(struct lsm_tree *tree, char *why, size_t size)
{
    uint64_t value[VALUE_WORDS];
    char key[16];

    for (uint32_t k = 0; k < KEYS; k++) {
        struct lsm_value got = { 0 };
        int rc = lsm_tree_get(tree, NULL, key_of(k, key), &got);
        bool ok = rows[k] ? rc == LSM_OK && lsm_slice_equal(got.bytes, value_of(k, rows[k], value))
                          : rc == LSM_NOTFOUND;
        lsm_value_release(&got);
        if (!ok) {
            snprintf(why, size, "key %u: %s", k, lsm_code_name(rc));
            return false;
        }
    }
    return true;
}

static bool give_up(char *why, size_t size, const char *what, int rc)
{
    snprintf(why, size, "%s: %s: %.200s", what, lsm_code_name(rc), lsm_error_text());
    return false;
}

/* Open, look, check; and, if asked, the same once more when it is all compacted. Frees the machine. */
static bool is_whole(struct sim *sim, bool compact, char *why, size_t size)
{
    struct lsm_db *db = NULL;
    struct lsm_tree *tree;
    int rc = open_store(sim, &db, &tree);
    bool ok = rc == LSM_OK ? is_exact(tree, why, size) : give_up(why, size, "open", rc);

    if (ok && (rc = lsm_db_check(db)) != LSM_OK)
        ok = give_up(why, size, "check", rc);
    if (ok && compact && (rc = lsm_db_compact(db, NULL)) != LSM_OK)
        ok = give_up(why, size, "compact", rc);
    if (ok && compact)
        ok = is_exact(tree, why, size);
    rc = lsm_db_close(db);
    if (ok && rc != LSM_OK)
        ok = give_up(why, size, "close", rc);
    return sim_free(sim) && ok;
}

/* With its threads, but without a worker that would do something else beside it. */
static int compact(struct lsm_db *db)
{
    uint64_t memory_bytes = db->memory_bytes;
    int rc;

    db->no_worker = !with_threads;
    if (with_threads)
        db->memory_bytes = 64 << 20;
    rc = lsm_db_compact(db, NULL);
    db->no_worker = true;
    db->memory_bytes = memory_bytes;
    return rc;
}

/* A store that is filled and open. */
static struct sim *begin(uint64_t seed, struct lsm_db **db, struct lsm_tree **tree)
{
    struct sim *sim = sim_new(seed);
    int rc;

    *db = NULL;
    if (with_threads)
        sim_threads_begin(sim->os);
    sim_watch(sim);
    rc = open_store(sim, db, tree);
    if (rc == LSM_OK)
        rc = fill(*db, *tree);
    CHECK_OK(rc);
    return sim;
}

/* ---- crashes ---- */

static int64_t open_state(void *ctx, struct sim_state *state, struct sim_disk *disk)
{
    uint64_t *opened = ctx;

    return is_whole(sim_on(disk), (*opened)++ % 8 == 0, state->why, sizeof state->why) ? 0 : -1;
}

static void crash_anywhere(uint64_t seed)
{
    uint64_t opened = 0, copied, whole;
    struct sim_enum e = { .models = test_long() ? SIM_M_ALL : SIM_M(0) | SIM_M(1) | SIM_M(9), .ctx = &opened,
                          .open = open_state, .cap = test_long() ? 16 : 3, .sparse = test_long() ? 1 : 8 };
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct sim *sim = begin(seed, &db, &tree);
    char why[100] = "";
    int slices = 0;

    e.pos_first = sim->disk->op_count;
    copied = stat_of(db, "compact_bytes_copied");
    whole = stat_of(db, "compact_bytes_whole");
    CHECK_OK(compact(db));
    CHECK((sim_threads_switches() > 100) == with_threads);
    CHECK((stat_of(db, "subcompactions") > 3) == (parts > 1));
    if (!CHECK(is_exact(tree, why, sizeof why)))
        printf("  %s\n", why);
    for (size_t i = e.pos_first; i < sim->disk->op_count; i++)
        slices += sim->disk->ops[i].kind == SIM_SYNCDIR;
    CHECK(slices > (with_threads ? 1 : 2));     /* several parts may be done by the time that one is installed */
    copied = stat_of(db, "compact_bytes_copied") - copied;
    whole = stat_of(db, "compact_bytes_whole") - whole;
    printf("  %" PRIu64 " KB copied, %" PRIu64 " whole\n", copied >> 10, whole >> 10);
    CHECK_OK(lsm_db_close(db));
    CHECK(sim_enumerate(sim->disk, &e));
    printf("  %d slices, %" PRIu64 " distinct states\n", slices, e.distinct);
    CHECK(copied > 0);
    CHECK(whole > 0 || parts > 1);      /* a part is smaller than most partitions */
    CHECK(sim_free(sim));
}

TEST(any_crash_between_the_slices_of_a_compact_leaves_every_row)
{
    parts = 1;
    crash_anywhere(6000);
}

TEST(any_crash_in_a_compact_that_is_divided_leaves_every_row)
{
    parts = 3;
    crash_anywhere(6000);
}

TEST(any_crash_in_a_compact_whose_parts_run_side_by_side_leaves_every_row)
{
    parts = 3;
    with_threads = true;
    for (uint64_t seed = 6001; seed < (test_long() ? 6009 : 6003); seed++)
        crash_anywhere(seed);
    with_threads = false;
}

TEST(threads_of_a_simulated_machine_run_in_the_order_that_the_seed_gives)
{
    uint64_t ops[3], switches[3];

    parts = 3;
    with_threads = true;
    for (int i = 0; i < 3; i++) {
        struct lsm_db *db;
        struct lsm_tree *tree;
        struct sim *sim = begin(i < 2 ? 6001 : 6002, &db, &tree);

        CHECK_OK(compact(db));
        ops[i] = sim->disk->op_count;
        switches[i] = sim_threads_switches();
        CHECK_OK(lsm_db_close(db));
        CHECK(sim_free(sim));
    }
    with_threads = false;
    CHECK(ops[0] == ops[1] && switches[0] == switches[1]);
    CHECK(switches[0] != switches[2]);
}

/* ---- faults ---- */

/* A compact of `from` in which one call or allocation fails. False: none did, it had fewer. */
static bool fails_at(struct sim_disk *from, uint64_t at, bool memory, bool sticky)
{
    struct sim *sim = sim_on(sim_disk_copy(from));
    struct sim_state state = { .seed = from->seed };
    struct lsm_db *db = NULL;
    struct lsm_tree *tree;
    char why[300] = "";
    bool hit, ok = true;
    int rc;

    if (with_threads)
        sim_threads_begin(sim->os);
    rc = open_store(sim, &db, &tree);
    if (rc == LSM_OK && with_threads)
        rc = lsm_db_flush(db);
    CHECK_OK(rc);
    if (memory) {
        sim->os->mem_fail_at = sim->os->mem_calls + at;
        sim->os->mem_fail_sticky = sticky;
    } else {
        sim->disk->fault = (struct sim_fault){ .at = at, .sticky = sticky, .error = EIO,
                                               .kinds = (1u << SIM_KIND_COUNT) - 1 };
    }
    rc = compact(db);
    hit = memory ? sim->os->mem_fired > 0 : sim->disk->fault.fired > 0;
    sim->disk->fault.at = sim->os->mem_fail_at = 0;
    if (rc == LSM_CORRUPT || rc == LSM_MISUSE || (!hit && rc != LSM_OK))
        ok = give_up(why, sizeof why, "compact", rc);
    ok = ok && is_exact(tree, why, sizeof why);
    /* The power goes, with nothing of what is not synced, or all of it. */
    for (state.model = 0; ok && state.model < 2; state.model++) {
        state.pos = sim->disk->op_count;
        ok = is_whole(sim_on(sim_state_disk(sim->disk, &state)), false, why, sizeof why);
    }
    lsm_db_close(db);
    if (ok)
        ok = is_whole(sim_on(sim_disk_copy(sim->disk)), true, why, sizeof why);
    if (!CHECK(ok))
        printf("  %s fault at %" PRIu64 "%s: %s\n", memory ? "memory" : "call", at, sticky ? " and on" : "", why);
    CHECK(sim_free(sim));
    return hit && test_state.failures < 3;
}

static void fail_anywhere(void)
{
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct sim *sim = begin(6000, &db, &tree);
    uint64_t points = 0;

    CHECK_OK(lsm_db_close(db));
    for (int what = 0; what < 4; what++) {
        bool memory = what & 1, sticky = what & 2;
        uint64_t step = test_long() ? 1 : (memory ? 131 : 23) * 6 / test_share(6);
        for (uint64_t at = 1; fails_at(sim->disk, at, memory, sticky); at += step)
            points++;
    }
    printf("  %" PRIu64 " points\n", points);
    CHECK(points > 20);
    CHECK(sim_free(sim));
}

TEST(each_fault_in_a_compact_in_slices_leaves_every_row)
{
    parts = 1;
    fail_anywhere();
}

TEST(each_fault_in_a_compact_whose_parts_run_side_by_side_leaves_every_row)
{
    parts = 3;
    with_threads = true;
    fail_anywhere();
    with_threads = false;
}

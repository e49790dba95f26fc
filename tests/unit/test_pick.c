/*
 * test_pick.c -- the policy, from shapes to jobs. A shape names runs of 1,000 rows as
 *
 *     number:level:lo-hi[:bytes[:flags[:values]]]    keys of two letters; values: bytes in value logs
 *
 *     flags (- for none)      d dense tombstones       m 200 tombstones        t a tombstone
 *                             s 300 old versions       b in a compaction
 *                             o written 500 us earlier than others     r reads in vain, worth 800 bytes
 *
 * in level 0 the newest first. A job is written "level>output upper+lower" or
 * "move level>output upper".
 */
#include "lsm/compaction/pick.h"
#include "tests/test.h"

static struct lsm_os *os;
static struct lsm_tree_version tv;
static struct lsm_run runs[200];
static struct lsm_run *slots[LSM_LEVEL_COUNT_MAX][200];
static char keys[200][2][4];
static const struct lsm_policy policy = {
    .level0_runs = 4, .level_bytes = 1000, .fan_out = 10, .file_bytes = 100,
    .overlap_bytes_max = 1000, .expand_bytes_max = 2500, .level0_inputs_max = 5,
    .vain_read_bytes = 10, .age_us = 1000
};

static void shape(const char *text)
{
    int n = 0;

    memset(&tv, 0, sizeof tv);
    tv.tree = 7;
    memset(runs, 0, sizeof runs);
    for (int l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        tv.level[l].runs = slots[l];
    while (*text) {
        int number, level, used, bytes = 100, values = 0;
        char flags[8] = "";
        struct lsm_run *run = &runs[n];

        CHECK_INT(sscanf(text, "%d:%d:%2[a-z]-%2[a-z]%n", &number, &level, keys[n][0], keys[n][1], &used), 4);
        text += used;
        if (*text == ':') {
            CHECK(sscanf(text, ":%d%n", &bytes, &used) == 1);
            text += used;
        }
        if (*text == ':') {
            CHECK(sscanf(text, ":%7[a-z-]%n", flags, &used) == 1);
            text += used;
        }
        if (*text == ':') {
            CHECK(sscanf(text, ":%d%n", &values, &used) == 1);
            text += used;
        }
        while (*text == ' ')
            text++;
        run->meta = (struct lsm_table_meta){
            .number = (uint64_t)number, .tree = 7, .size_bytes = (uint64_t)bytes, .entries = 1000,
            .tombstones = strchr(flags, 'd') ? 600 : strchr(flags, 'm') ? 200 : strchr(flags, 't') ? 1 : 0,
            .superseded = strchr(flags, 's') ? 300 : 0, .created_us = strchr(flags, 'o') ? 9000 : 9500,
            .smallest = { (uint8_t *)keys[n][0], strlen(keys[n][0]) },
            .largest = { (uint8_t *)keys[n][1], strlen(keys[n][1]) },
        };
        run->in_compaction = strchr(flags, 'b') != NULL;
        run->value_bytes = (uint64_t)values;
        atomic_init(&run->vain_reads, strchr(flags, 'r') ? 80 : 0);
        tv.level[level].value_bytes += (uint64_t)values;
        slots[level][tv.level[level].count++] = run;
        tv.level[level].bytes += (uint64_t)bytes;
        n++;
    }
}

static char *job_text(int rc, const struct lsm_job *job)
{
    static char out[600];

    if (rc == LSM_DONE)
        return strcpy(out, "none");
    CHECK_OK(rc);
    CHECK_INT(job->tree, 7);
    int n = sprintf(out, "%s%u>%u", job->is_move ? "move " : job->is_partial ? "part " : "", job->level,
                    job->output_level);
    uint32_t upper = 0;
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)      /* by level, in the level's order */
        for (uint32_t i = 0; i < job->upper_of[l]; i++, upper++) {
            bool is_there = false;
            for (uint32_t k = 0; k < tv.level[l].count; k++)
                is_there |= tv.level[l].runs[k] == job->upper[upper];
            CHECK(is_there);
        }
    CHECK_INT(upper, job->upper_count);
    for (uint32_t i = 0; i < job->upper_count; i++)
        n += sprintf(out + n, "%c%d", i ? ',' : ' ', (int)job->upper[i]->meta.number);
    for (uint32_t i = 0; i < job->lower_count; i++)
        n += sprintf(out + n, "%c%d", i ? ',' : '+', (int)job->lower[i]->meta.number);
    return out;
}

static const char *pick(struct lsm_pick_state *state)
{
    struct lsm_job job;
    int rc = lsm_pick(&policy, &tv, NULL, state, os, &job);
    const char *text = job_text(rc, &job);

    lsm_job_clear(&job, os);
    return text;
}

static void check_pick(const char *form, const char *want)
{
    struct lsm_pick_state state;

    os = lsm_os_posix_new();
    lsm_pick_state_init(&state, os);
    shape(form);
    if (!CHECK_STR(pick(&state), want))
        printf("  of %s\n", form);
    lsm_pick_state_clear(&state);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(pick_nothing_is_due_in_a_small_tree)
{
    check_pick("", "none");
    check_pick("3:0:a-z 2:0:a-z 1:0:a-z", "none");
    check_pick("1:1:a-m:999 ", "none");
    check_pick("1:2:a-m:9999", "none");
    check_pick("1:7:a-m:999999999", "none");
}

TEST(pick_level0_takes_the_oldest_and_all_that_overlaps_it_in_turn)
{
    /* All overlap. */
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z", "0>2 4,3,2,1");
    /* 1 meets 2, 2 meets 3; 4 stands alone and stays. */
    check_pick("4:0:x-z 3:0:m-p 2:0:f-m 1:0:a-f", "0>2 3,2,1");
    /* A newer run that bridges pulls in what the oldest does not touch itself. */
    check_pick("4:0:a-z 3:0:x-z 2:0:m-n 1:0:b-c 9:1:a-a 8:1:b-d 7:1:y-z", "0>1 4,3,2,1+9,8,7");
    /* Of more than a job may take, the oldest. */
    check_pick("7:0:a-z 6:0:a-z 5:0:a-z 4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z", "0>2 5,4,3,2,1");
    check_pick("8:0:a-b 7:0:x-z 6:0:a-b 5:0:x-z 4:0:a-b 3:0:a-b 2:0:a-b 1:0:a-b 9:1:a-a 10:1:b-z",
               "0>1 6,4,3,2,1+9,10");
    /* What does not overlap sinks without being written. */
    check_pick("4:0:x-z 3:0:m-p 2:0:f-h 1:0:a-c", "move 0>2 1");
    check_pick("4:0:x-z 3:0:m-p 2:0:f-h 1:0:a-c 9:1:c-d", "0>1 1+9");
    /* Only keys that are really shared count. */
    check_pick("4:0:d-e 3:0:d-e 2:0:d-e 1:0:a-c 9:1:cc-cd", "move 0>1 1");
}

TEST(pick_level0_goes_to_the_first_level_with_data_while_that_is_small)
{
    /* One above it would be a run more to read, and no byte less to write. */
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:2:a-m:1000", "0>2 4,3,2,1+9");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:2:a-m:1001", "0>1 4,3,2,1");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:3:a-m:1000", "0>3 4,3,2,1+9");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:3:a-m:1001", "0>2 4,3,2,1");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:7:a-m:1000", "0>7 4,3,2,1+9");
    /* All of a level counts, not what is overlapped; and what lies deeper does not. */
    check_pick("4:0:a-b 3:0:a-b 2:0:a-b 1:0:a-b 9:2:a-m:600 8:2:n-z:600", "0>1 4,3,2,1");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:1:a-m:10 8:2:a-z:10", "0>1 4,3,2,1+9");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:2:a-m:10 8:3:a-z:9000", "0>2 4,3,2,1+9");
    /* A move looks at what it would lie above. */
    check_pick("4:0:d-e 3:0:d-e 2:0:d-e 1:0:a-c 9:2:m-n:10 8:3:a-c:1000", "move 0>2 1");
    check_pick("4:0:d-e 3:0:d-e 2:0:d-e 1:0:a-c 9:2:m-n:10 8:3:a-c:1001", "0>2 1");
}

TEST(pick_leaves_what_is_busy_alone)
{
    check_pick("4:0:a-z 3:0:a-z:100:b 2:0:a-z 1:0:a-z", "none");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:2:c-d:100:b", "none");
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:1:c-d:100:b", "none");
    /* Level 0 cannot go, so level 1 does. */
    check_pick("4:0:a-z 3:0:a-z 2:0:a-z 1:0:a-z 9:1:c-d:100:b 8:1:e-f:2000", "move 1>2 8");
    check_pick("9:1:c-d:2000:b 8:1:e-f:100", "move 1>2 8");
}

TEST(pick_takes_the_level_that_is_most_over_its_target)
{
    check_pick("5:1:a-b:1500 4:2:a-b:30000", "move 2>3 4");
    check_pick("5:1:a-b:4500 4:2:c-d:30000", "move 1>2 5");
    /* Five runs of level 0 are 1.25, level 1 is at 2. */
    check_pick("15:0:a-z 14:0:a-z 13:0:a-z 12:0:a-z 11:0:a-z 5:1:a-b:2000", "move 1>2 5");
}

TEST(pick_goes_round_through_the_keys)
{
    struct lsm_pick_state state;

    os = lsm_os_posix_new();
    lsm_pick_state_init(&state, os);
    shape("1:1:a-b:500 2:1:c-d:500 3:1:e-f:500");
    CHECK_STR(pick(&state), "move 1>2 1");
    CHECK_STR(pick(&state), "move 1>2 2");
    CHECK_STR(pick(&state), "move 1>2 3");
    CHECK_STR(pick(&state), "move 1>2 1");
    /* What was picked is gone from the level: the next one in key order comes. */
    shape("4:1:a-a:500 2:1:c-d:500 3:1:e-f:500");
    CHECK_STR(pick(&state), "move 1>2 2");
    shape("4:1:a-a:500 3:1:e-f:500 5:1:g-h:500");
    CHECK_STR(pick(&state), "move 1>2 3");
    lsm_pick_state_clear(&state);
    lsm_os_posix_free(os);
}

TEST(pick_widens_the_upper_side_while_the_lower_does_not_grow)
{
    check_pick("1:1:c-d:600 2:1:e-f:600 9:2:a-g:300", "1>2 1,2+9");
    /* It would grow: 3 reaches into 8. */
    check_pick("1:1:c-d:600 3:1:e-k:600 9:2:a-g:300 8:2:h-m:100", "1>2 1+9");
    /* It would be too much at once. */
    check_pick("1:1:c-d:1200 2:1:e-f:1200 9:2:a-g:300", "1>2 1+9");
    /* A neighbour that is busy. */
    check_pick("1:1:c-d:1600 2:1:e-f:100:b 9:2:a-g:300", "1>2 1+9");
}

TEST(pick_does_not_move_a_run_above_too_much_of_the_level_below)
{
    check_pick("1:1:c-d:1500 9:3:a-z:1000", "move 1>2 1");
    check_pick("1:1:c-d:1500 9:3:a-z:1001", "1>2 1");
    check_pick("1:1:c-d:1500 9:3:e-z:5000", "move 1>2 1");
}

TEST(pick_sinks_what_is_mostly_tombstones_whatever_its_size)
{
    check_pick("1:1:c-d:10:d", "1>2 1");        /* written anew, not moved: to lose them */
    check_pick("1:1:c-d:10:d 9:2:a-z:10", "1>2 1+9");
    check_pick("1:2:c-d:10 2:2:e-f:10:d 9:3:a-z:10", "2>3 1,2+9");
    check_pick("1:1:c-d:10:t", "none");
    check_pick("1:7:c-d:10:d", "none");
    check_pick("1:1:c-d:10:db", "none");
    /* In a level that is due the dense one goes first. */
    check_pick("1:1:c-d:900 2:1:e-f:900:d", "1>2 2");
}

TEST(pick_takes_level0_early_where_nobody_writes_and_it_is_worth_it)
{
    static const struct { const char *form, *idle; } cases[] = {
        { "1:0:a-c:10:d 9:2:a-z:10", "0>2 1+9" },
        { "1:0:a-c:10:d", "0>2 1" },                            /* written anew: to lose them */
        { "1:0:a-c:10:d 8:2:a-b:10 9:2:c-z:10", "none" },       /* 600 of 3,000 rows are not a quarter */
        { "1:0:a-c:10 2:0:b-c:10 9:2:a-z:10", "0>2 1,2+9" },    /* half of the runs that are due */
        { "1:0:a-b:10 2:0:c-d:10 9:2:a-z:10", "none" },         /* not together */
        { "1:0:a-c:10:d 8:2:a-e:10 9:2:f-z:10", "0>2 1+8" },
        { "1:0:a-c:10:t 9:2:a-z:10", "none" },
        { "1:0:a-c:10 9:2:a-z:10", "none" },
        { "1:0:a-c:10:db 9:2:a-z:10", "none" },
    };
    struct lsm_pick_state state;

    os = lsm_os_posix_new();
    lsm_pick_state_init(&state, os);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shape(cases[i].form);
        state.is_idle = false;
        CHECK_STR(pick(&state), "none");
        state.is_idle = true;
        CHECK_STR(pick(&state), cases[i].idle);
    }
    lsm_pick_state_clear(&state);
    lsm_os_posix_free(os);
}

/* The keys from lo up to but not hi; empty: no bound. */
static void check_range(const char *form, const char *lo, const char *hi, const char *want)
{
    struct lsm_slice begin = { *lo ? (const uint8_t *)lo : NULL, strlen(lo) };
    struct lsm_slice end = { *hi ? (const uint8_t *)hi : NULL, strlen(hi) };
    struct lsm_job job;

    os = lsm_os_posix_new();
    shape(form);
    int rc = lsm_pick_range(&policy, &tv, NULL, begin, end, os, &job);
    const char *text = job_text(rc, &job);
    if (!CHECK_STR(text, want))
        printf("  of %s, %s to %s\n", form, lo, hi);
    lsm_job_clear(&job, os);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(pick_range_without_bounds_brings_everything_into_the_deepest_level)
{
    static const char *const cases[][2] = {
        { "", "none" },
        { "1:0:a-b", "0>1 1" },
        { "2:0:a-b 1:0:a-b 3:1:a-c", "0>1 2,1+3" },
        { "2:0:a-b 1:1:a-b 3:3:a-c 4:3:d-e", "0>3 2,1+3,4" },
        { "3:3:a-c 4:3:d-e", "none" },
        { "3:3:a-c 4:3:d-e:100:t", "0>3+3,4" },
        { "3:3:a-c 4:3:d-e:100:tb", "none" },
        { "1:0:a-b 3:7:a-c", "0>7 1+3" },
        /* no more of level 0 than a job may take: the oldest, with what lies below those alone */
        { "5:0:a-b 4:0:a-b 3:0:a-b 2:0:a-b 1:0:a-b", "0>1 5,4,3,2,1" },
        { "6:0:a-b 5:0:a-b 4:0:a-b 3:0:a-b 2:0:a-b 1:0:a-b", "part 0>1 5,4,3,2,1" },
        { "6:0:a-z 5:0:g-h 4:0:a-b 3:0:a-b 2:0:c-d 1:0:a-b 7:1:a-a 8:1:k-l 9:2:a-f 10:2:g-g 11:2:k-z",
          "part 0>2 5,4,3,2,1,7+9,10" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_range(cases[i][0], "", "", cases[i][1]);
}

TEST(pick_range_takes_what_touches_it_level_by_level)
{
    static const struct { const char *form, *lo, *hi, *want; } cases[] = {
        { "", "b", "d", "none" },
        { "1:0:a-b 2:2:a-z", "c", "d", "none" },
        { "1:0:a-b 2:2:a-z", "b", "d", "0>2 1+2" },
        { "1:0:d-e 2:2:a-z", "b", "d", "none" },                /* the end is not in it */
        { "1:0:d-e 2:2:a-z", "b", "da", "0>2 1+2" },
        { "1:0:d-e 2:2:a-z", "", "d", "none" },
        { "1:0:d-e 2:2:a-z", "f", "", "none" },
        { "1:0:d-e 2:2:a-z", "e", "", "0>2 1+2" },
        /* one table of many */
        { "1:1:a-b 2:1:c-d 3:1:e-f 4:2:a-b 5:2:c-d 6:2:e-f", "c", "d", "0>2 2+5" },
        /* what overlaps it in turn, newer or older, and what that touches below */
        { "4:0:e-h 3:0:x-z 2:0:c-f 1:0:g-m 5:1:k-n 6:1:o-p 7:2:a-b 8:2:n-n 9:2:p-q", "c", "d",
          "0>2 4,2,1,5+8" },
        /* a level widens the ones below it, not the ones above */
        { "1:0:p-q 2:1:k-n 3:2:a-l 4:2:o-q 5:3:a-a 6:3:q-z", "k", "l", "0>3 2,3+5" },
        /* only garbage is written anew where nothing sinks, and only there */
        { "1:2:a-c:100:t 2:2:d-e", "d", "z", "none" },
        { "1:2:a-c:100:t 2:2:d-e", "c", "d", "0>2+1" },
        { "1:2:a-c:100:t 2:2:d-e", "c", "z", "0>2+1,2" },
        /* a gap in a level between is part of the reach */
        { "1:1:a-b 2:1:y-z 3:2:a-c 4:2:m-n 5:2:x-z", "b", "y", "0>2 1+3,4,5" },
        { "1:1:a-b 2:1:c-d:100:b 3:2:a-z", "a", "c", "0>2 1+3" },
        { "1:1:a-b 2:1:c-d:100:b 3:2:a-z", "a", "ca", "none" },
        /* the oldest first; then the range counts for nothing yet */
        { "6:0:a-d 5:0:d-e 4:0:d-e 3:0:d-e 2:0:e-f 1:0:e-f 7:1:a-b 8:1:f-f 9:2:a-z", "a", "b",
          "part 0>2 5,4,3,2,1,8+9" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_range(cases[i].form, cases[i].lo, cases[i].hi, cases[i].want);
}

TEST(pick_flush_level_is_as_deep_as_no_older_version_can_be)
{
    static const struct { const char *form, *lo, *hi; uint32_t level; } cases[] = {
        { "", "a", "z", 2 },
        { "1:0:a-c", "b", "d", 0 },
        { "1:0:a-c", "d", "e", 2 },
        { "1:0:a-c", "c", "e", 0 },
        { "1:1:a-c", "c", "e", 0 },
        { "1:2:a-c", "c", "e", 0 },
        { "1:2:a-c", "d", "e", 2 },
        { "1:3:a-c", "b", "e", 0 },
        { "1:3:a-c", "d", "e", 3 },
        { "1:7:a-c", "d", "e", 7 },
        { "1:7:a-c", "a", "e", 0 },
        { "1:0:x-z 2:4:a-c", "d", "e", 4 },
        /* no level of its own above one that is small */
        { "1:3:a-c:600 2:3:x-z:600", "b", "e", 2 },
        { "1:2:a-c 2:3:a-z:1001", "b", "e", 0 },
        { "1:2:a-c 2:3:a-z:1000", "d", "e", 2 },
        /* not above more than it is worth to rewrite */
        { "1:2:a-c 2:3:a-z:1001", "d", "e", 0 },
        { "1:1:a-c 2:3:a-z:1001", "d", "e", 1 },
        { "1:3:a-z:1001", "d", "e", 0 },
        { "1:2:a-z:1001", "d", "e", 0 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lsm_slice lo = { (const uint8_t *)cases[i].lo, 1 }, hi = { (const uint8_t *)cases[i].hi, 1 };
        shape(cases[i].form);
        if (!CHECK_INT(lsm_pick_flush_level(&policy, &tv, NULL, lo, hi), cases[i].level))
            printf("  of %s\n", cases[i].form);
    }
}

TEST(pick_policy_follows_the_memtable)
{
    struct lsm_policy p;

    lsm_policy_init(&p, 16 << 20);
    CHECK_INT(p.level_bytes, 64 << 20);
    CHECK_INT(p.file_bytes, 8 << 20);
    lsm_policy_init(&p, 1);
    CHECK(p.file_bytes >= 4096 && p.level_bytes > p.file_bytes);
}

/* No newer version sinks below an older one, and nothing in the output level is left out that overlaps. */
static void check_job(const char *form, const struct lsm_job *job)
{
    bool in_job[200] = { false };
    uint32_t upper = 0;

    for (uint32_t i = 0; i < job->upper_count; i++)
        in_job[job->upper[i] - runs] = true;
    for (uint32_t i = 0; i < job->lower_count; i++)
        in_job[job->lower[i] - runs] = true;
    CHECK(job->upper_of[0] <= policy.level0_inputs_max);
    for (uint32_t level = 0; level < job->output_level; level++)
        for (uint32_t i = 0; i < job->upper_of[level]; i++) {
            const struct lsm_table_meta *m = &job->upper[upper++]->meta;
            for (uint32_t l = level; l <= job->output_level; l++)
                for (uint32_t k = 0; k < tv.level[l].count; k++) {
                    const struct lsm_run *other = tv.level[l].runs[k];
                    bool touch = lsm_slice_compare(m->largest, other->meta.smallest) >= 0 &&
                                 lsm_slice_compare(m->smallest, other->meta.largest) <= 0;
                    /* newer runs of level 0 may stay above */
                    bool newer = l == 0 && other->meta.number > m->number;
                    if (touch && !newer && !CHECK(in_job[other - runs]))
                        printf("  of %s: %s\n", form, job_text(LSM_OK, job));
                }
        }
    CHECK_INT(upper, job->upper_count);
    /* Outputs stretch from the first to the last key of all inputs. */
    for (uint32_t k = 0, inside = 0; k < tv.level[job->output_level].count; k++) {
        const struct lsm_run *run = tv.level[job->output_level].runs[k];
        const struct lsm_run *first = job->lower_count ? job->lower[0] : NULL;
        const struct lsm_run *last = job->lower_count ? job->lower[job->lower_count - 1] : NULL;
        inside += run == first;
        if (inside && !CHECK(in_job[run - runs]))
            printf("  of %s: %s\n", form, job_text(LSM_OK, job));
        if (run == last)
            break;
    }
    if (job->is_move)
        CHECK(job->lower_count == 0 && job->upper_count == 1);
}

/* Three levels with gaps, and as many runs of level 0 as there are asked for, 0 to 9 and more. */
static void random_form(char *form, int level0)
{
    int number = 60;

    *form = 0;
    for (int i = level0; i > 0; i--) {
        int lo = (int)test_below(20), hi = lo + (int)test_below(6);
        sprintf(form + strlen(form), "%d:0:%c-%c ", number--, 'a' + lo, 'a' + hi);
    }
    for (int l = 1; l < 4; l++)
        for (int at = (int)test_below(4); at < 22; at += 1 + (int)test_below(5)) {
            int hi = at + (int)test_below(4);
            sprintf(form + strlen(form), "%d:%d:%c-%c:%d:%s ", number--, l, 'a' + at, 'a' + hi,
                    (int)test_below(900), test_below(8) ? "x" : "d");
            at = hi;
        }
}

/* Random shapes, whatever is picked. */
TEST(pick_never_lets_a_newer_row_sink_below_an_older_one)
{
    os = lsm_os_posix_new();
    for (int round = 0; round < 2000 && !test_state.failures; round++) {
        char form[1200];
        struct lsm_pick_state state;
        struct lsm_job job;

        random_form(form, (int)test_below(round % 2 ? 7 : 20));
        shape(form);
        lsm_pick_state_init(&state, os);
        if (lsm_pick(&policy, &tv, NULL, &state, os, &job) == LSM_OK)
            check_job(form, &job);
        lsm_job_clear(&job, os);
        lsm_pick_state_clear(&state);
    }
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/* And job after job ends with the range in the deepest level, and nothing else touched for nothing. */
TEST(pick_range_never_lets_a_newer_row_sink_below_an_older_one)
{
    os = lsm_os_posix_new();
    for (int round = 0; round < 2000 && !test_state.failures; round++) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
        char form[1200];
        struct lsm_job job;
        struct lsm_slice begin = { (const uint8_t *)letters + test_below(26), 1 };
        struct lsm_slice end = { (const uint8_t *)letters + test_below(26), 1 };

        if (lsm_slice_compare(begin, end) >= 0)
            *(test_below(2) ? &begin : &end) = (struct lsm_slice){ NULL, 0 };
        random_form(form, (int)test_below(round % 2 ? 7 : 20));
        shape(form);
        if (lsm_pick_range(&policy, &tv, NULL, begin, end, os, &job) == LSM_OK) {
            check_job(form, &job);
            for (uint32_t l = 0; l < job.output_level && !job.is_partial; l++)
                for (uint32_t k = 0; k < tv.level[l].count; k++) {
                    const struct lsm_run *run = tv.level[l].runs[k];
                    bool is_in = false, asked = (!begin.data || lsm_slice_compare(run->meta.largest, begin) >= 0) &&
                                                (!end.data || lsm_slice_compare(run->meta.smallest, end) < 0);
                    for (uint32_t i = 0; i < job.upper_count; i++)
                        is_in |= job.upper[i] == run;
                    if (asked && !CHECK(is_in))
                        printf("  of %s: %s\n", form, job_text(LSM_OK, &job));
                }
        }
        lsm_job_clear(&job, os);
    }
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

/* ---- what no size tells ---- */

static void check_pick_at(const char *form, uint64_t seq_oldest, bool is_idle, uint64_t now, const char *want,
                          bool is_aging)
{
    struct lsm_pick_state state;

    os = lsm_os_posix_new();
    lsm_pick_state_init(&state, os);
    shape(form);
    for (int i = 0; i < 200 && runs[i].meta.number; i++)
        runs[i].meta.seq_max = 10;
    state.seq_oldest = seq_oldest;
    state.is_idle = is_idle;
    state.now_us = now;
    if (!CHECK_STR(pick(&state), want) || !CHECK_INT(state.is_aging, is_aging))
        printf("  of %s\n", form);
    lsm_pick_state_clear(&state);
    lsm_os_posix_free(os);
}

TEST(pick_old_versions_go_when_no_snapshot_sees_them)
{
    /* In the deepest level a quarter is enough: nothing else is rewritten. */
    check_pick_at("9:2:a-m:100:s", LSM_SEQ_MAX, false, 0, "2>3 9", false);
    check_pick_at("9:2:a-m:100:s", 10, false, 0, "2>3 9", false);
    check_pick_at("9:2:a-m:100:s", 9, false, 0, "none", false);
    check_pick_at("9:2:a-m:100:m", LSM_SEQ_MAX, false, 0, "none", true);
    check_pick_at("9:2:a-m:100:ms", LSM_SEQ_MAX, false, 0, "2>3 9", false);
    /* Above others it takes half. */
    check_pick_at("9:1:a-m:100:s 8:2:a-m", LSM_SEQ_MAX, false, 0, "none", true);
    check_pick_at("9:1:a-m:100:ms 8:2:a-m", LSM_SEQ_MAX, false, 0, "1>2 9+8", false);
    check_pick_at("9:1:a-m:100:ms 8:2:a-m", 9, false, 0, "none", true);
}

TEST(pick_tombstones_that_free_more_in_value_logs_than_is_rewritten)
{
    /* 200 deletes of rows with 1 byte each of values: 200 bytes for 100 + 100. */
    check_pick("9:1:a-m:100:m 8:2:a-m:100:-:1000", "1>2 9+8");
    check_pick("9:1:a-m:100:m 8:2:a-m:100:-:999", "none");
    check_pick("9:1:a-m:100:m 8:2:a-m:101:-:1000", "none");
    check_pick("9:1:a-m:100:t 8:2:a-m:100:-:100000", "none");
    /* What they delete may lie deeper; only what is rewritten now costs. */
    check_pick("9:1:a-m:100:m 8:2:a-m:100:-:0 7:3:a-c:1000:-:2000", "1>2 9+8");
    check_pick("9:1:a-m:100:m 7:3:a-c:1000:-:500", "move 1>2 9");
    check_pick("9:1:a-m:100:m 8:2:n-z:100:-:100000", "none");
}

TEST(pick_a_level_whose_values_may_shadow_a_quarter_of_those_below)
{
    check_pick("9:1:a-m:100:-:1600 8:2:a-m:100:-:6400", "1>2 9+8");
    check_pick("9:1:a-m:100:-:1600 8:2:a-m:100:-:6401", "none");
    /* Not where keys weigh as much, where there are few, or where nothing is below. */
    check_pick("9:1:a-m:101:-:1600 8:2:a-m:100:-:6400", "none");
    check_pick("9:1:a-m:10:-:999 8:2:a-m:100:-:1000", "none");
    check_pick("9:1:a-m:100:-:1600", "none");
}

TEST(pick_runs_that_cost_readers_more_than_to_rewrite_them)
{
    check_pick("9:1:a-m:400:r 8:2:a-m:400", "1>2 9+8");
    check_pick("9:1:a-m:400:r 8:2:a-m:401", "none");
    /* A move spares nobody a read. */
    check_pick("9:1:a-m:100:r 8:2:n-z:100", "none");
    /* All of level 0 that goes together pays together. */
    check_pick("3:0:a-z:400:r 2:0:a-z:400:r 1:0:a-z:400 9:2:a-m:400", "0>2 3,2,1+9");
    check_pick("3:0:a-z:400:r 2:0:a-z:400:r 1:0:a-z:400 9:2:a-m:401", "none");
    check_pick("9:1:a-m:100:rb 8:2:a-m:100", "none");
}

TEST(pick_a_little_waste_when_it_is_old)
{
    /* 200 tombstones of 1,000 rows: when age_us has gone by, or much more where somebody writes. */
    check_pick_at("9:1:a-m:100:mo 8:2:a-m", LSM_SEQ_MAX, true, 10000, "1>2 9+8", false);
    check_pick_at("9:1:a-m:100:mo 8:2:a-m", LSM_SEQ_MAX, true, 9999, "none", true);
    check_pick_at("9:1:a-m:100:mo 8:2:a-m", LSM_SEQ_MAX, false, 10000, "none", false);
    check_pick_at("9:1:a-m:100:mo 8:2:a-m", LSM_SEQ_MAX, false, 33000, "1>2 9+8", false);
    check_pick_at("9:1:a-m:100:to 8:2:a-m", LSM_SEQ_MAX, true, 10000, "none", false);
    check_pick_at("9:1:a-m:100:so 8:2:a-m", 9, true, 10000, "none", false);
    /* It is rewritten, or it would be as old again below. */
    check_pick_at("9:1:a-m:100:mo 8:2:n-z", LSM_SEQ_MAX, true, 10000, "1>2 9", false);
    check_pick_at("2:0:a-m:100:mo 8:2:a-m:100", LSM_SEQ_MAX, true, 10000, "0>2 2+8", false);
    check_pick_at("2:0:a-m:100:m 8:2:a-m:100", LSM_SEQ_MAX, true, 10000, "none", true);
    /* A clock that was set back makes nothing old. */
    check_pick_at("9:1:a-m:100:mo 8:2:a-m", LSM_SEQ_MAX, true, 5, "none", true);
}

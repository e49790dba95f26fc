/* test_rewrite.c -- which value logs a job writes anew. */
#include "lsm/compaction/rewrite.h"
#include "lsm/format/vlog_meta.h"
#include "tests/unit/format_os.h"

#define RUNS 40

static struct format_os f;
static struct lsm_run runs[RUNS];
static struct lsm_run *pointers[RUNS];
static uint8_t refs[RUNS][400];
static int run_count;

/* A run that refers to `count` logs from `id` on, `bytes` each. */
static void run(uint64_t id, int count, uint64_t bytes)
{
    struct lsm_buf b;

    lsm_buf_init(&b, &f.os);
    for (int i = 0; i < count; i++)
        lsm_vlog_ref_encode(&b, &(struct lsm_vlog_ref){ id + (uint64_t)i, 1, bytes });
    memcpy(refs[run_count], b.data, b.size);
    runs[run_count].meta.refs = lsm_slice(refs[run_count], b.size);
    pointers[run_count] = &runs[run_count];
    run_count++;
    lsm_buf_clear(&b);
}

static void begin(void)
{
    format_os_init(&f);
    run_count = 0;
}

/* The ids as text: "1 2 5". The first `upper` runs are the upper side. */
static const char *plan(uint32_t level, int upper)
{
    struct lsm_job job = { .level = level, .upper = pointers, .upper_count = (uint32_t)upper,
                           .lower = pointers + upper, .lower_count = (uint32_t)(run_count - upper) };
    static char text[1000];
    struct lsm_buf ids;
    size_t n = 0;

    lsm_buf_init(&ids, &f.os);
    CHECK_OK(lsm_rewrite_plan(&job, &ids));
    text[0] = 0;
    for (size_t i = 0; i < ids.size / 8; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, i ? " %d" : "%d", (int)((uint64_t *)(void *)ids.data)[i]);
    lsm_buf_clear(&ids);
    CHECK_INT(f.used, 0);
    return text;
}

TEST(rewrite_leaves_logs_alone_up_to_the_depth)
{
    begin();
    CHECK_STR(plan(0, 0), "");
    for (uint64_t i = 0; i < 4; i++)
        run(10 + i, 1, 100);
    CHECK_STR(plan(0, 4), "");
    run(1, 4, 100);
    run(1, 3, 100);
    run(5, 4, 100);                     /* lower runs do not overlap: the deepest counts */
    CHECK_STR(plan(0, 4), "");
}

TEST(rewrite_merges_the_smallest_within_its_share)
{
    begin();
    for (uint64_t i = 0; i < 4; i++)
        run(10 + i, 1, 100);
    run(1, 5, 80);
    CHECK_STR(plan(0, 4), "1 2 3 4 5 10 11 12 13");
    begin();
    for (uint64_t i = 0; i < 4; i++)
        run(10 + i, 1, 100);
    run(1, 5, 1000);                    /* one of them fits into 4 x 400 */
    CHECK_STR(plan(0, 4), "1 10 11 12 13");
    begin();
    run(10, 4, 100);                    /* the same in deeper levels */
    run(20, 4, 100);
    run(1, 4, 5000);
    CHECK_STR(plan(1, 2), "");          /* 4 + 4: upper runs do not overlap there */
    run(30, 5, 5000);
    CHECK_STR(plan(1, 2), "10 11 12 13 20 21 22 23");
}

TEST(rewrite_passes_over_logs_of_large_values)
{
    begin();
    for (uint64_t i = 0; i < 12; i++)
        run(10 + i, 1, LSM_REWRITE_VALUE_MAX);
    CHECK_STR(plan(0, 12), "");
    run(30, 9, LSM_REWRITE_VALUE_MAX - 1);
    CHECK_STR(plan(0, 13), "30 31 32 33 34 35 36 37 38");
}

TEST(rewrite_of_one_log_is_no_gain_and_no_memory_is_reported)
{
    struct lsm_job job;
    struct lsm_buf ids;

    begin();
    run(1, 1, 10);
    run(2, 9, 1000);
    CHECK_STR(plan(1, 1), "");
    run_count = 0;
    run(1, 12, 10);
    job = (struct lsm_job){ .level = 0, .upper = pointers, .upper_count = 1 };
    f.fail_at = 1;
    lsm_buf_init(&ids, &f.os);
    CHECK_INT(lsm_rewrite_plan(&job, &ids), LSM_NOMEM);
    f.fail_at = 0;
    lsm_buf_clear(&ids);
    CHECK_INT(f.used, 0);
}

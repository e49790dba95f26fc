/*
 * test_divide.c -- where a job is divided. A job is written as the policy's tests write
 * one: runs "lo-hi:bytes", keys of letters, each small beside a part; r: it has range
 * deletes. Level 1 into 2: no table is opened. Borders come as "g p".
 */
#include "lsm/compaction/divide.h"
#include "tests/test.h"

enum { RUNS = 64 };

static struct lsm_os *os;
static struct lsm_run runs[2][RUNS];
static struct lsm_run *list[2][RUNS];
static char keys[2][RUNS][2][8];
static const struct lsm_policy policy = { .file_bytes = 100 };

static int compare_bytes(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(a, b);
}

static const struct lsm_comparator bytes = { .name = "bytes", .compare = compare_bytes };

static uint32_t parse(int side, const char *text)
{
    uint32_t n = 0;

    for (int used; *text; text += used, n++) {
        struct lsm_run *run = &runs[side][n];
        int size;
        char flag[2] = "";

        *run = (struct lsm_run){ .os = os };
        CHECK(sscanf(text, "%7[a-z]-%7[a-z]:%d%1[r]%n", keys[side][n][0], keys[side][n][1], &size, flag, &used) == 4 ||
              sscanf(text, "%7[a-z]-%7[a-z]:%d%n", keys[side][n][0], keys[side][n][1], &size, &used) == 3);
        run->meta.smallest = lsm_slice_str(keys[side][n][0]);
        run->meta.largest = lsm_slice_str(keys[side][n][1]);
        run->meta.size_bytes = (uint64_t)size;
        run->meta.range_deletes = flag[0] == 'r';
        list[side][n] = run;
        used += text[used] == ' ';
    }
    return n;
}

static const char *divided(const char *upper, const char *lower, const struct lsm_comparator *cmp, uint32_t parts,
                           uint64_t slice_bytes)
{
    static char text[400];
    struct lsm_job job = { .level = 1, .output_level = 2, .upper = list[0], .lower = list[1] };
    struct lsm_borders borders;

    job.upper_of[1] = job.upper_count = parse(0, upper);
    job.lower_count = parse(1, lower);
    lsm_borders_init(&borders, os);
    text[0] = 0;
    CHECK_OK(lsm_divide(&job, &policy, NULL, cmp, parts, slice_bytes, &borders));
    for (uint32_t i = 0; i < borders.count; i++) {
        struct lsm_slice key = lsm_borders_key(&borders, i);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i ? " " : "", (int)key.size,
                 (const char *)key.data);
    }
    lsm_borders_clear(&borders);
    return text;
}

#define CHECK_BORDERS(upper, lower, cmp, parts, slice, want)                                    \
    do {                                                                                        \
        const char *got_ = divided(upper, lower, cmp, parts, slice);                            \
        if (!CHECK(strcmp(got_, want) == 0))                                                    \
            printf("  \"%s\", not \"%s\"\n", got_, want);                                       \
    } while (0)

TEST(divide_cuts_where_runs_of_the_output_level_end)
{
    os = lsm_os_posix_new();
    const char *lower = "a-b:90 c-d:90 e-f:90 g-h:90 i-j:90 k-l:90 m-n:90 o-p:90";

    CHECK_BORDERS("a-p:80", lower, NULL, 2, 0, "h");
    CHECK_BORDERS("a-p:80", lower, NULL, 4, 0, "d h l");
    CHECK_BORDERS("a-p:80", lower, NULL, 3, 0, "f l");
    /* Above, a key within a run of the output's level is no place to end. */
    CHECK_BORDERS("a-b:45 c-d:45 e-f:45 g-h:45 i-j:45 k-l:45 m-n:45 o-p:45", "a-z:90 zz-zzz:90", NULL, 2, 0, "z");
    CHECK_BORDERS("a-b:45 c-d:45 e-f:45 g-h:45 i-j:45 k-l:45 m-n:45 o-p:45", "i-l:90", NULL, 2, 0, "l");
    lsm_os_posix_free(os);
}

TEST(divide_leaves_alone_what_is_not_worth_it)
{
    os = lsm_os_posix_new();
    CHECK_BORDERS("a-p:80", "a-b:90 c-d:90 e-f:90", NULL, 4, 0, "");           /* fewer than four outputs */
    CHECK_BORDERS("a-p:80", "a-b:90 c-d:90 e-f:90 g-h:90", NULL, 4, 0, "d");   /* not four parts of one file */
    CHECK_BORDERS("a-p:80", "a-b:90 c-d:90 e-f:90 g-h:90", NULL, 1, 0, "");
    CHECK_BORDERS("", "", NULL, 4, 0, "");
    lsm_os_posix_free(os);
}

TEST(divide_makes_parts_of_a_slice_each_where_that_is_less)
{
    os = lsm_os_posix_new();
    const char *lower = "a-b:95 c-d:95 e-f:95 g-h:95 i-j:95 k-l:95 m-n:95 o-p:95";

    CHECK_BORDERS("", lower, NULL, 2, 200, "d h l");
    CHECK_BORDERS("", lower, NULL, 2, 300, "h");
    CHECK_BORDERS("", lower, NULL, 2, 240, "d h l");        /* three slices are two parts twice */
    lsm_os_posix_free(os);
}

TEST(divide_never_cuts_a_range_delete_where_no_key_follows_another)
{
    os = lsm_os_posix_new();
    const char *lower = "a-b:90 c-d:90 e-f:90 g-h:90 i-j:90 k-l:90 m-n:90 o-p:90";

    CHECK_BORDERS("a-p:80", lower, &bytes, 2, 0, "h");
    CHECK_BORDERS("a-p:80r", lower, &bytes, 2, 0, "");
    CHECK_BORDERS("a-i:80r", lower, &bytes, 2, 0, "j");
    CHECK_BORDERS("a-p:80r", lower, NULL, 2, 0, "h");
    lsm_os_posix_free(os);
}

TEST(divide_ends_no_part_with_a_key_that_no_key_can_follow)
{
    static uint8_t longest[LSM_KEY_SIZE_MAX];

    os = lsm_os_posix_new();
    memset(longest, 'h', sizeof longest);
    for (int i = 0; i < 2; i++) {
        struct lsm_job job = { .level = 1, .output_level = 2, .upper = list[0], .lower = list[1] };
        struct lsm_borders borders;

        job.lower_count = parse(1, "a-b:200 c-d:200 e-f:200 i-j:200 k-l:200 m-n:200");
        runs[1][2].meta.largest = lsm_slice(longest, LSM_KEY_SIZE_MAX - !i);
        lsm_borders_init(&borders, os);
        CHECK_OK(lsm_divide(&job, &policy, NULL, NULL, 2, 0, &borders));
        if (CHECK_INT(borders.count, 1))
            CHECK_INT(lsm_borders_key(&borders, 0).data[0], i ? 'j' : 'h');
        lsm_borders_clear(&borders);
    }
    lsm_os_posix_free(os);
}

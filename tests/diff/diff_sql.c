/*
 * diff_sql.c -- random histories of SQL: an lsm table answers as a WITHOUT ROWID table.
 * See diff.h. One that differs is shortened and printed as it can be typed.
 *
 *     diff_sql --filter random --seed N            one history, that seed's
 *     DIFF_SECONDS=300 diff_sql --filter random    as many as fit
 */
#include <time.h>

#include "tests/diff/diff.h"
#include "tests/test.h"

#define STEP_COUNT 400

static void print_step(const struct diff_step *step)
{
    printf("  [%d] %s;", step->conn, step->sql);
    for (int i = 0; i < step->param_count; i++)
        printf("%s?%d = %s", i ? ", " : "  -- ", i + 1, step->params[i]);
    printf("\n");
}

static bool is_schema(const struct diff_step *step)
{
    return strncmp(step->sql, "@TABLE", 6) == 0 || strncmp(step->sql, "CREATE", 6) == 0;
}

/* Leave out ever smaller stretches of steps while what is left still differs. */
static void shorten(const struct diff_history *h, bool *used, const char *dir)
{
    char why[2000];
    size_t failed;

    for (size_t size = h->count / 2; size >= 1; size /= 2) {
        bool is_shorter = false;

        for (size_t begin = 0; begin < h->count; begin += size) {
            bool *kept = malloc(h->count);
            bool any = false;

            memcpy(kept, used, h->count);
            for (size_t i = begin; i < begin + size && i < h->count; i++) {
                if (!used[i] || is_schema(&h->steps[i]))
                    continue;
                any = true;
                used[i] = false;
            }
            if (any && diff_play(h, used, dir, &failed, why, sizeof(why)))
                memcpy(used, kept, h->count);
            else if (any)
                is_shorter = true;
            free(kept);
        }
        if (size == 1 && is_shorter)
            size = 2;
    }
}

static bool run_seed(uint64_t seed)
{
    struct diff_history history;
    char why[4000] = "";
    size_t failed = 0;
    bool is_same;

    diff_make(&history, seed, STEP_COUNT);
    is_same = diff_play(&history, NULL, test_dir(), &failed, why, sizeof(why));
    if (!is_same) {
        bool *used = malloc(history.count);

        for (size_t i = 0; i < history.count; i++)
            used[i] = i <= failed;
        if (!getenv("DIFF_LONG"))
            shorten(&history, used, test_dir());
        diff_play(&history, used, test_dir(), &failed, why, sizeof(why));
        printf("seed %" PRIu64 ": journal_mode %s, encoding %s, page_size %d\n", seed, history.journal,
               history.encoding, history.page_size);
        for (size_t i = 0; i < history.count; i++)
            if (used[i])
                print_step(&history.steps[i]);
        printf("  %s\n", why);
        CHECK(is_same);
    }
    diff_clear(&history);
    return is_same;
}

/* The same ones each time: what a commit's tests say must not depend on luck. */
TEST(diff_fixed_histories_answer_as_plain_tables)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_seed(seed);
}

/* S-01: Others each time, in the long tier or for DIFF_SECONDS; else the same three, so that it is not empty. */
TEST(diff_random_histories_answer_as_plain_tables)
{
    const char *seconds = getenv("DIFF_SECONDS");
    time_t end = time(NULL) + (seconds ? atoi(seconds) : test_long() ? 900 : 0);
    bool is_quick = !seconds && !test_long() && !test_state.seed_given;
    uint64_t first = test_state.seed_given ? test_state.seed : is_quick ? 1000 : test_random();
    int failed = 0, count = 0;

    while ((test_state.seed_given && count == 0) || (is_quick && count < 3)
           || (!test_state.seed_given && time(NULL) < end && failed < 5))
        failed += !run_seed(first + (uint64_t)count++);
    printf("%d histories of %d steps\n", count, STEP_COUNT);
}

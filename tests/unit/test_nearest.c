#include <stdio.h>

#include "lsm/util/nearest.h"
#include "tests/test.h"

static const char *nearest(const char *name)
{
    static const char *const names[] = { "puts", "gets", "stats", "cache_used", "cache_hits", "compactions" };
    struct lsm_nearest n;

    lsm_nearest_init(&n, name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        lsm_nearest_offer(&n, names[i]);
    return n.best ? n.best : "";
}

TEST(nearest_is_the_name_with_the_fewest_letters_that_differ)
{
    CHECK_STR(nearest("putz"), "puts");
    CHECK_STR(nearest("get"), "gets");
    CHECK_STR(nearest("tats"), "stats");
    CHECK_STR(nearest("cacheused"), "cache_used");
    CHECK_STR(nearest("cache_hit"), "cache_hits");
    CHECK_STR(nearest("compaction_s"), "compactions");
    CHECK_STR(nearest("puts"), "puts");
}

TEST(nearest_is_nothing_where_another_name_was_meant)
{
    char big[200];

    CHECK_STR(nearest(""), "");
    CHECK_STR(nearest("x"), "");
    CHECK_STR(nearest("abc"), "");          /* as far from "puts" as it is long */
    CHECK_STR(nearest("colour"), "");
    memset(big, 'c', sizeof big - 1);
    big[sizeof big - 1] = 0;
    CHECK_STR(nearest(big), "");
}

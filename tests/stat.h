/*
 * stat.h -- one statistic of an open store, by its name. A name that no store has ends the program: what
 * would follow could only pass for the wrong reason.
 */
#ifndef TESTS_STAT_H
#define TESTS_STAT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/lsm.h"

static inline uint64_t stat_of(struct lsm_db *db, const char *name)
{
    struct lsm_stat stats[256];
    size_t count = lsm_db_stats(db, stats, 256);

    for (size_t i = 0; i < count && i < 256; i++)
        if (strcmp(stats[i].name, name) == 0)
            return stats[i].value;
    printf("there is no statistic %s\n", name);
    exit(1);
}

#endif

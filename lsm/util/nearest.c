/*
 * nearest.c -- Levenshtein's distance, row by row.
 */
#include "lsm/util/nearest.h"

#include <string.h>

#define NAME_SIZE_MAX 48u
#define DISTANCE_MAX 3u         /* beyond it a name is another one, not misspelt */

void lsm_nearest_init(struct lsm_nearest *nearest, const char *name)
{
    *nearest = (struct lsm_nearest){ .name = name, .distance = DISTANCE_MAX + 1 };
}

static uint32_t distance(const char *a, const char *b)
{
    uint32_t row[NAME_SIZE_MAX + 1], size = (uint32_t)strlen(b);

    for (uint32_t j = 0; j <= size; j++)
        row[j] = j;
    for (uint32_t i = 1; a[i - 1]; i++) {
        uint32_t diagonal = row[0];

        row[0] = i;
        for (uint32_t j = 1; j <= size; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (best > row[j] + 1)
                best = row[j] + 1;
            if (best > row[j - 1] + 1)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[size];
}

void lsm_nearest_offer(struct lsm_nearest *nearest, const char *candidate)
{
    uint32_t d;

    if (strlen(nearest->name) > NAME_SIZE_MAX || strlen(candidate) > NAME_SIZE_MAX)
        return;
    d = distance(nearest->name, candidate);
    if (d < nearest->distance && d < strlen(nearest->name)) {   /* else nothing of it would be left */
        nearest->distance = d;
        nearest->best = candidate;
    }
}

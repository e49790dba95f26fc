/*
 * filename.c -- file names, and the strict way back.
 *
 * A name is parsed loosely and then written again: only what comes out equal is
 * ours. So "13.log", "0000013.log" and "MANIFEST-12x" are strangers, which the
 * sweep leaves alone.
 *
 * Written by hand because snprintf is libc I/O and locale.
 *
 * Threads: pure.
 */
#include <assert.h>
#include <string.h>

#include "lsm/format/filename.h"

#define DIGITS_MIN 6            /* so that ls sorts them for the first million files */

static const struct {
    const char *before, *after;
    bool numbered;
} shape[] = {
    [LSM_FILE_LOCK] = { "LOCK", "", false },
    [LSM_FILE_CURRENT] = { "CURRENT", "", false },
    [LSM_FILE_INFO_LOG] = { "LOG", "", false },
    [LSM_FILE_INFO_LOG_OLD] = { "LOG.old", "", false },
    [LSM_FILE_MANIFEST] = { "MANIFEST-", "", true },
    [LSM_FILE_LOG] = { "", ".log", true },
    [LSM_FILE_TABLE] = { "", ".ldb", true },
    [LSM_FILE_VLOG] = { "", ".vlog", true },
    [LSM_FILE_TEMP] = { "", ".tmp", true },
};
#define KIND_COUNT (sizeof(shape) / sizeof(shape[0]))

char *lsm_filename(char name[LSM_FILENAME_SIZE], enum lsm_file_kind kind, uint64_t number)
{
    char digits[20];            /* the lowest first */
    size_t n = 0, size;

    assert((size_t)kind < KIND_COUNT);

    size = strlen(shape[kind].before);
    memcpy(name, shape[kind].before, size);
    if (shape[kind].numbered) {
        for (; number || n < DIGITS_MIN; number /= 10)
            digits[n++] = (char)('0' + number % 10);
        while (n)
            name[size++] = digits[--n];
    }
    memcpy(name + size, shape[kind].after, strlen(shape[kind].after) + 1);
    return name;
}

/* The digits at `text`, as a number; wraps for what is too long, which the caller notices. */
static uint64_t parse_digits(const char *text)
{
    uint64_t number = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

bool lsm_filename_parse(const char *name, enum lsm_file_kind *kind, uint64_t *number)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        size_t before = strlen(shape[i].before);
        char again[LSM_FILENAME_SIZE];
        uint64_t n = 0;

        if (strncmp(name, shape[i].before, before) != 0)
            continue;
        if (shape[i].numbered)
            n = parse_digits(name + before);
        if (n <= LSM_FILE_NUMBER_MAX && strcmp(name, lsm_filename(again, (enum lsm_file_kind)i, n)) == 0) {
            *kind = (enum lsm_file_kind)i;
            *number = n;
            return true;
        }
    }
    return false;
}

/* listed.h -- how many tables and value logs a directory has: what a job that failed leaves behind. */
#ifndef TESTS_UNIT_LISTED_H
#define TESTS_UNIT_LISTED_H

#include "lsm/format/filename.h"

struct listed {
    uint64_t tables, logs;
};

/* For dir_list(); ctx: struct listed. */
static inline int count_file(void *ctx, const char *name)
{
    struct listed *l = ctx;
    enum lsm_file_kind kind;
    uint64_t n;

    if (lsm_filename_parse(name, &kind, &n)) {
        l->tables += kind == LSM_FILE_TABLE;
        l->logs += kind == LSM_FILE_VLOG;
    }
    return 0;
}

#endif

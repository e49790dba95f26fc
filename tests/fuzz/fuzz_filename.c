/* fuzz_filename.c -- a name that is taken for ours is exactly what we would write. */
#include <stdlib.h>
#include <string.h>

#include "lsm/format/filename.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = malloc(size + 1), again[LSM_FILENAME_SIZE];
    enum lsm_file_kind kind;
    uint64_t number;

    if (size)
        memcpy(name, data, size);
    name[size] = '\0';
    if (lsm_filename_parse(name, &kind, &number) &&
        strcmp(lsm_filename(again, kind, number), name) != 0)
        abort();
    free(name);
    return 0;
}

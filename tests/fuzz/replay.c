/*
 * replay.c -- a fuzz target without a fuzzer: reads each file of its corpus
 * once. With arguments: those files or directories.
 *
 *     tests/fuzz/fuzz_block.c        LLVMFuzzerTestOneInput
 *     tests/fuzz/corpus/fuzz_block/  its inputs
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path);

static int replay_directory(const char *path)
{
    char name[4096];
    struct dirent *entry;
    DIR *dir = opendir(path);
    int count = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        count += replay(name);
    }
    if (dir)
        closedir(dir);
    return count;
}

/* Returns how many inputs were read. A crash shows the name of the last. */
static int replay(const char *path)
{
    struct stat st;
    uint8_t *data;
    size_t size;
    FILE *file;

    if (stat(path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return replay_directory(path);
    file = fopen(path, "rb");
    if (!file)
        return 0;
    data = malloc(st.st_size ? (size_t)st.st_size : 1);     /* exact: a byte too far is seen */
    size = fread(data, 1, (size_t)st.st_size, file);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    const char *stem = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    char corpus[512];
    int count = 0;

    snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s", stem);
    if (argc < 2)
        count = replay(corpus);
    for (int i = 1; i < argc; i++)
        count += replay(argv[i]);
    printf("%s %s_replays_its_corpus_of_%d_inputs\n", count ? "ok" : "FAIL", stem, count);
    return count ? 0 : 1;
}

/*
 * main.c -- the demo's chapters, one for each run; demo.sh tells the story.
 *
 *     demo CHAPTER EXTENSION DIRECTORY ROOT usr|large [LIMIT]
 *     demo check-again EXTENSION DIRECTORY ROOT usr|large COMMITS
 *     demo write-again EXTENSION DIRECTORY ROOT usr|large FD JOURNAL_MODE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/table.h"

static const struct {
    const char *name;
    void (*run)(struct demo *demo);
} chapters[] = {
    { "load", demo_load },       { "verify", demo_verify },   { "query", demo_query },
    { "compact", demo_compact }, { "kill", demo_kill },       { "report", demo_report },
};

int main(int argc, char **argv)
{
    struct demo demo = { 0 };
    uint64_t found;

    if (argc < 6) {
        fprintf(stderr, "usage: demo CHAPTER EXTENSION DIRECTORY ROOT usr|large [LIMIT]\n");
        return 2;
    }
    demo.extension = argv[2];
    demo.directory = argv[3];
    demo.root = argv[4];
    demo.is_large = strcmp(argv[5], "large") == 0;
    if (strcmp(argv[1], "write-again") == 0 && argc == 8) {
        demo_write_again(&demo, atoi(argv[6]), argv[7]);
        return 0;
    }
    demo.limit = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
    if (strcmp(argv[1], "check-again") == 0) {
        demo_check(&demo, demo_check_again(&demo, demo.limit, &found), "commits 1 .. %s",
                   demo_count(found));
        return demo.failed != 0;
    }
    for (size_t i = 0; i < sizeof(chapters) / sizeof(chapters[0]); i++) {
        if (strcmp(argv[1], chapters[i].name) == 0) {
            chapters[i].run(&demo);
            return demo.failed != 0;
        }
    }
    fprintf(stderr, "demo: no chapter %s\n", argv[1]);
    return 2;
}

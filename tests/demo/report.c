/*
 * report.c -- the bytes on disk, and the table at the end.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/demo/table.h"

/* Blocks of a file, or of the files in a directory. */
static double disk_bytes(const char *path)
{
    struct stat info;
    struct dirent *entry;
    double sum = 0;
    char name[1400];
    DIR *dir;

    if (stat(path, &info) != 0)
        return 0;
    sum = (double)info.st_blocks * 512;
    dir = S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        sum += disk_bytes(name);
    }
    if (dir)
        closedir(dir);
    return sum;
}

static double side_bytes(const struct demo *demo, enum demo_side side)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal", "-lsm" };
    double sum = 0;
    char path[1200];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s%s", demo->directory, demo_database(side), suffixes[i]);
        sum += disk_bytes(path);
    }
    return sum;
}

static void set_bytes(struct demo *demo, const char *what)
{
    char name[60];

    for (int side = 0; side < DEMO_SIDE_COUNT; side++) {
        snprintf(name, sizeof(name), "%s_%s", what, demo_side_names[side]);
        demo_figure_set(demo, name, side_bytes(demo, side));
    }
}

/* What is on disk as the load left it, and after each side's way to tidy up. */
static void measure(struct demo *demo)
{
    const char *table = demo->is_large ? "contents" : "files";
    sqlite3 *db;

    set_bytes(demo, "disk");
    db = demo_open(demo, demo_database(DEMO_LSM), true);
    demo_exec(db, "INSERT INTO %s(%s) VALUES('compact')", table, table);
    demo_close(db);
    db = demo_open(demo, demo_database(DEMO_ORDINARY), false);
    demo_exec(db, "VACUUM");
    demo_close(db);
    set_bytes(demo, "tidy");
}

void demo_compact(struct demo *demo)
{
    static const char *const lines[] = { "disk", "as the load left it", "tidy",
                                         "after 'compact', VACUUM" };
    double lsm = 0, ordinary = 0;
    char name[60];

    measure(demo);
    for (int i = 0; i < 4; i += 2) {
        snprintf(name, sizeof(name), "%s_lsm", lines[i]);
        demo_figure_get(demo, name, &lsm);
        snprintf(name, sizeof(name), "%s_ordinary", lines[i]);
        demo_figure_get(demo, name, &ordinary);
        printf("   %-26s lsm %s, ordinary %s\n", lines[i + 1], demo_bytes(lsm),
               demo_bytes(ordinary));
    }
}

/* ---- the table ------------------------------------------------------------------- */

enum format { FORMAT_COUNT, FORMAT_BYTES, FORMAT_SECONDS };

static const char *word(double value, enum format format)
{
    static char space[4][32];
    static unsigned turn;
    char *s = space[turn++ % 4];

    if (format == FORMAT_COUNT)
        return demo_count((uint64_t)value);
    if (format == FORMAT_BYTES)
        return demo_bytes(value);
    if (value < 1e-3)
        snprintf(s, 32, "%.2f us", value * 1e6);
    else if (value < 1)
        snprintf(s, 32, "%.2f ms", value * 1e3);
    else
        snprintf(s, 32, "%.2f s", value);
    return s;
}

static void line(const struct demo *demo, const char *figure, const char *words,
                 enum format format)
{
    double value[DEMO_SIDE_COUNT];
    char name[60];

    for (int side = 0; side < DEMO_SIDE_COUNT; side++) {
        snprintf(name, sizeof(name), "%s_%s", figure, demo_side_names[side]);
        if (!demo_figure_get(demo, name, &value[side]))
            return;
    }
    printf("   %-42s%13s%13s%9.2fx\n", words, word(value[DEMO_LSM], format),
           word(value[DEMO_ORDINARY], format), value[DEMO_LSM] / value[DEMO_ORDINARY]);
}

void demo_report(struct demo *demo)
{
    double rows = 0, raw = 0, kills = 0;

    demo_figure_get(demo, "rows", &rows);
    demo_figure_get(demo, "raw_bytes", &raw);
    demo_figure_get(demo, "kills", &kills);
    printf("   %-42s%13s%13s%10s\n", "", "lsm", "ordinary", "lsm/ord.");
    printf("   %-42s%13s%13s\n", "rows", demo_count((uint64_t)rows), demo_count((uint64_t)rows));
    printf("   %-42s%13s%13s\n", "raw bytes in them", demo_bytes(raw), demo_bytes(raw));
    line(demo, "disk", "bytes on disk after the load", FORMAT_BYTES);
    line(demo, "tidy", "bytes on disk after 'compact', VACUUM", FORMAT_BYTES);
    line(demo, "load", "time to load", FORMAT_SECONDS);
    line(demo, "point", "point SELECT, a key that is there", FORMAT_SECONDS);
    line(demo, "miss", "point SELECT, a key that is not", FORMAT_SECONDS);
    line(demo, "range", "the last 10 of a directory", FORMAT_SECONDS);
    line(demo, "prefix", demo->is_large ? "all commands (GLOB)" : "all documentation (GLOB)",
         FORMAT_SECONDS);
    line(demo, "join", demo->is_large ? "files of what is installed (join)"
                                      : "bytes by section of Debian (join)", FORMAT_SECONDS);
    line(demo, "aggregate", "all rows (aggregate)", FORMAT_SECONDS);
    line(demo, "group", demo->is_large ? "paths in several packages (group)"
                                       : "bytes that are there twice (group)", FORMAT_SECONDS);
    if (kills > 0)
        printf("   %-42s%13s\n", "kills survived without a difference",
               demo_count((uint64_t)kills));
}

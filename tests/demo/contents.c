/*
 * contents.c -- Debian's Contents index: every file of every package there is.
 *
 *     usr/bin/ls        utils/coreutils,utils/other
 *
 * One row for each package of a line. apt-file keeps the lists where apt has its own,
 * compressed as apt likes it: apt-helper reads them all.
 */
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/source.h"

#define LISTS "/var/lib/apt/lists/*Contents*"

struct contents {
    struct demo_source base;
    glob_t lists;
    size_t list;                /* the next one to open */
    FILE *pipe;
    char list_name[200];
    char *line;
    size_t capacity;
    char *path;
    size_t path_size;
    char *locations;            /* what is left of the line; NULL: read another */
    uint64_t limit, given;
};

static struct demo_value text(const char *s, size_t size)
{
    return (struct demo_value){ SQLITE_TEXT, 0, 0, s, size };
}

/* "deb.debian.org_debian_dists_bookworm_main_Contents-all.lz4": "bookworm_main_all" */
static void name_list(struct contents *c, const char *path)
{
    const char *from = strstr(path, "_dists_");
    const char *contents = strstr(path, "Contents-");
    size_t size;

    from = from ? from + 7 : strrchr(path, '/') + 1;
    if (contents == NULL || contents < from)
        contents = from;
    size = (size_t)(contents - from);
    contents += strncmp(contents, "Contents-", 9) == 0 ? 9 : 0;
    snprintf(c->list_name, sizeof(c->list_name), "%.*s%.*s", (int)size, from,
             (int)strcspn(contents, "."), contents);
}

static bool open_list(struct contents *c)
{
    char command[1200];

    if (c->list == c->lists.gl_pathc)
        return false;
    if (strchr(c->lists.gl_pathv[c->list], '\''))
        return c->list++, open_list(c);
    name_list(c, c->lists.gl_pathv[c->list]);
    snprintf(command, sizeof(command), "/usr/lib/apt/apt-helper cat-file '%s'",
             c->lists.gl_pathv[c->list++]);
    c->pipe = popen(command, "r");
    return c->pipe != NULL;
}

static bool read_line(struct contents *c)
{
    ssize_t size;

    while (c->pipe || open_list(c)) {
        size = getline(&c->line, &c->capacity, c->pipe);
        if (size <= 0) {
            pclose(c->pipe);
            c->pipe = NULL;
            continue;
        }
        while (size > 0 && strchr(" \t\n", c->line[size - 1]))
            size--;
        c->line[size] = '\0';
        while (size > 0 && !strchr(" \t", c->line[size - 1]))
            size--;
        c->locations = c->line + size;
        while (size > 0 && strchr(" \t", c->line[size - 1]))
            size--;
        if (size == 0 || strchr(c->locations, '/') == NULL)
            continue;           /* a heading */
        c->path = c->line;
        c->path_size = (size_t)size;
        return true;
    }
    return false;
}

static bool contents_next(struct demo_source *source, struct demo_value *row)
{
    struct contents *c = (struct contents *)source;
    size_t size, slash;

    if (c->limit && c->given == c->limit)
        return false;
    if ((c->locations == NULL || *c->locations == '\0') && !read_line(c))
        return false;
    size = strcspn(c->locations, ",");
    for (slash = size; slash > 0 && c->locations[slash - 1] != '/'; slash--)
        ;
    row[0] = text(c->path, c->path_size);
    row[1] = text(c->locations + slash, size - slash);
    row[2] = text(c->locations, slash ? slash - 1 : 0);
    row[3] = text(c->list_name, strlen(c->list_name));
    c->locations += size + (c->locations[size] == ',');
    c->given++;
    return true;
}

static void contents_rewind(struct demo_source *source)
{
    struct contents *c = (struct contents *)source;

    if (c->pipe)
        pclose(c->pipe);
    c->pipe = NULL;
    c->list = 0;
    c->locations = NULL;
    c->given = 0;
}

static void contents_close(struct demo_source *source)
{
    struct contents *c = (struct contents *)source;

    contents_rewind(source);
    globfree(&c->lists);
    free(c->line);
    free(c);
}

struct demo_source *demo_contents_open(uint64_t limit)
{
    struct contents *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    if (glob(LISTS, 0, NULL, &c->lists) != 0) {
        fprintf(stderr, "demo: no %s: run apt-file update\n", LISTS);
        free(c);
        return NULL;
    }
    c->base = (struct demo_source){
        .table = "contents",
        .columns = "path TEXT, package TEXT, section TEXT, list TEXT, "
                   "PRIMARY KEY(path, package, list)",
        .what = "lines of Debian's Contents index",
        .column_count = 4,
        .next = contents_next, .rewind = contents_rewind, .close = contents_close,
    };
    c->limit = limit;
    return &c->base;
}

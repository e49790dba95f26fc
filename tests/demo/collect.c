/*
 * collect.c -- every file below a directory, and what dpkg knows of it.
 *
 * A row is a path, its size, mode and time, where it leads if it is a link, and the
 * owning package and md5 where /var/lib/dpkg/info/<package>.list and .md5sums have
 * them. On another system those two are NULL.
 *
 * dpkg knows some files by the names that they had before /bin, /sbin and /lib
 * became links into /usr: those are looked up by where they are now.
 */
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/demo/source.h"

#define DPKG_INFO "/var/lib/dpkg/info"

struct file {
    char *path, *target;
    int64_t size, mode;
    double mtime;
};

/* What dpkg says of a path. */
struct owned {
    struct owned *next;
    const char *package;
    bool has_md5;
    uint8_t md5[16];
    char path[];
};

#define BUCKET_COUNT (1u << 18)

struct collect {
    struct demo_source base;
    struct file *files;
    size_t file_count, file_capacity, at;
    struct owned **buckets;
    char **packages;
    size_t package_count;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "demo: out of memory\n");
        exit(2);
    }
    return memory;
}

/* ---- dpkg ------------------------------------------------------------------- */

static uint32_t hash_path(const char *path)
{
    uint32_t h = 2166136261u;

    for (; *path; path++)
        h = (h ^ (uint8_t)*path) * 16777619u;
    return (h ^ h >> 15) & (BUCKET_COUNT - 1);
}

static struct owned *owned_find(const struct collect *c, const char *path)
{
    struct owned *o = c->buckets[hash_path(path)];

    while (o && strcmp(o->path, path) != 0)
        o = o->next;
    return o;
}

/* Where a path of dpkg's is now: /bin/ls is /usr/bin/ls when /bin is a link. */
static const char *path_now(const char *path, char *space, size_t size)
{
    static const char *const names[] = { "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/",
                                         "/libx32/" };
    static int is_link[6];      /* 0: not looked yet */
    struct stat info;
    size_t i;

    for (i = 0; i < 6; i++) {
        char top[8] = "";

        if (strncmp(path, names[i], strlen(names[i])) != 0)
            continue;
        if (is_link[i] == 0) {
            memcpy(top, names[i], strlen(names[i]) - 1);
            is_link[i] = lstat(top, &info) == 0 && S_ISLNK(info.st_mode) ? 1 : -1;
        }
        if (is_link[i] < 0)
            break;
        snprintf(space, size, "/usr%s", path);
        return space;
    }
    return path;
}

/* The first package in dpkg's directory that lists a path owns it. */
static void owned_add(struct collect *c, const char *path, const char *package)
{
    char space[4200];
    struct owned *o;
    size_t size;
    uint32_t bucket;

    path = path_now(path, space, sizeof(space));
    if (strncmp(path, "/usr/", 5) != 0 || owned_find(c, path))
        return;
    size = strlen(path) + 1;
    o = must(calloc(1, sizeof(*o) + size));
    memcpy(o->path, path, size);
    o->package = package;
    bucket = hash_path(path);
    o->next = c->buckets[bucket];
    c->buckets[bucket] = o;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<32 hex digits>  usr/bin/ls" */
static void owned_add_md5(struct collect *c, char *line, const char *package)
{
    char space[4200], path[4100];
    struct owned *o;
    uint8_t md5[16];
    int i;

    if (strlen(line) < 35)
        return;
    for (i = 0; i < 16; i++) {
        int high = hex_digit(line[2 * i]), low = hex_digit(line[2 * i + 1]);

        if (high < 0 || low < 0)
            return;
        md5[i] = (uint8_t)(high << 4 | low);
    }
    snprintf(path, sizeof(path), "/%s", line + 34);
    o = owned_find(c, path_now(path, space, sizeof(space)));
    if (o && o->package == package) {
        memcpy(o->md5, md5, sizeof(md5));
        o->has_md5 = true;
    }
}

/* Call fn for each line of DPKG_INFO/<name>.<suffix>. */
static void each_line(struct collect *c, const char *name, const char *suffix, const char *package,
                      void (*fn)(struct collect *, char *, const char *))
{
    char path[600];
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    FILE *f;

    snprintf(path, sizeof(path), DPKG_INFO "/%s.%s", name, suffix);
    f = fopen(path, "r");
    if (f == NULL)
        return;
    while ((size = getline(&line, &capacity, f)) > 0) {
        if (line[size - 1] == '\n')
            line[size - 1] = '\0';
        fn(c, line, package);
    }
    free(line);
    fclose(f);
}

static void add_line(struct collect *c, char *line, const char *package)
{
    owned_add(c, line, package);
}

static void read_dpkg(struct collect *c)
{
    struct dirent **names;
    int count = scandir(DPKG_INFO, &names, NULL, alphasort);
    int i;

    if (count < 0)
        return;
    c->packages = must(calloc((size_t)count + 1, sizeof(c->packages[0])));
    for (i = 0; i < count; i++) {
        char *name = names[i]->d_name;
        size_t size = strlen(name);
        char *package;

        if (size > 5 && strcmp(name + size - 5, ".list") == 0) {
            name[size - 5] = '\0';
            package = must(strdup(name));
            c->packages[c->package_count++] = package;
            if (strchr(package, ':'))
                *strchr(package, ':') = '\0';
            each_line(c, name, "list", package, add_line);
            each_line(c, name, "md5sums", package, owned_add_md5);
        }
        free(names[i]);
    }
    free(names);
}

/* ---- the walk ---------------------------------------------------------------- */

static char *read_target(const char *path, size_t size)
{
    char *target = must(malloc(size + 2));
    ssize_t got = readlink(path, target, size + 1);

    if (got < 0 || (size_t)got > size) {        /* gone, or changed between two calls */
        free(target);
        return NULL;
    }
    target[got] = '\0';
    return target;
}

static void add_file(struct collect *c, const char *path, const struct stat *info)
{
    struct file *f;

    if (c->file_count == c->file_capacity) {
        c->file_capacity = c->file_capacity ? 2 * c->file_capacity : 4096;
        c->files = must(realloc(c->files, c->file_capacity * sizeof(c->files[0])));
    }
    f = &c->files[c->file_count++];
    f->path = must(strdup(path));
    f->target = S_ISLNK(info->st_mode) ? read_target(path, (size_t)info->st_size) : NULL;
    f->size = info->st_size;
    f->mode = info->st_mode;
    f->mtime = (double)info->st_mtim.tv_sec + (double)info->st_mtim.tv_nsec / 1e9;
}

static void walk(struct collect *c, const char *root)
{
    char *roots[] = { must(strdup(root)), NULL };
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;

    while (fts && (entry = fts_read(fts)) != NULL) {
        switch (entry->fts_info) {
        case FTS_F:
        case FTS_SL:
        case FTS_SLNONE:
        case FTS_DEFAULT:
            add_file(c, entry->fts_path, entry->fts_statp);
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            fprintf(stderr, "demo: %s: %s\n", entry->fts_path, strerror(entry->fts_errno));
            break;
        default:
            break;
        }
    }
    if (fts)
        fts_close(fts);
    free(roots[0]);
}

bool demo_collect_changed(const char *path, int64_t since)
{
    char parent[4200];
    struct stat info;

    if (lstat(path, &info) == 0 && info.st_ctim.tv_sec >= since)
        return true;
    snprintf(parent, sizeof(parent), "%s", path);
    while (strrchr(parent, '/') && strrchr(parent, '/') != parent) {
        *strrchr(parent, '/') = '\0';
        if (lstat(parent, &info) == 0)
            return info.st_ctim.tv_sec >= since;
    }
    return false;
}

/* ---- the source ---------------------------------------------------------------- */

static struct demo_value text(const char *s)
{
    struct demo_value v = { SQLITE_NULL, 0, 0, NULL, 0 };

    if (s) {
        v.type = SQLITE_TEXT;
        v.data = s;
        v.size = strlen(s);
    }
    return v;
}

static struct demo_value integer(int64_t i)
{
    return (struct demo_value){ SQLITE_INTEGER, i, 0, NULL, 0 };
}

static bool collect_next(struct demo_source *source, struct demo_value *row)
{
    struct collect *c = (struct collect *)source;
    const struct file *f;
    const struct owned *o;

    if (c->at == c->file_count)
        return false;
    f = &c->files[c->at++];
    o = owned_find(c, f->path);
    row[0] = text(f->path);
    row[1] = integer(f->size);
    row[2] = integer(f->mode);
    row[3] = (struct demo_value){ SQLITE_FLOAT, 0, f->mtime, NULL, 0 };
    row[4] = text(f->target);
    row[5] = text(o ? o->package : NULL);
    row[6] = text(NULL);
    if (o && o->has_md5)
        row[6] = (struct demo_value){ SQLITE_BLOB, 0, 0, o->md5, sizeof(o->md5) };
    return true;
}

static void collect_rewind(struct demo_source *source)
{
    ((struct collect *)source)->at = 0;
}

static void collect_close(struct demo_source *source)
{
    struct collect *c = (struct collect *)source;
    size_t i;

    for (i = 0; i < c->file_count; i++) {
        free(c->files[i].path);
        free(c->files[i].target);
    }
    for (i = 0; i < BUCKET_COUNT; i++) {
        while (c->buckets[i]) {
            struct owned *o = c->buckets[i];

            c->buckets[i] = o->next;
            free(o);
        }
    }
    for (i = 0; i < c->package_count; i++)
        free(c->packages[i]);
    free(c->packages);
    free(c->files);
    free(c->buckets);
    free(c);
}

struct demo_source *demo_collect_open(const char *root)
{
    struct collect *c = must(calloc(1, sizeof(*c)));

    c->base = (struct demo_source){
        .table = "files",
        .columns = "path TEXT PRIMARY KEY, size INTEGER, mode INTEGER, mtime REAL, target TEXT, "
                   "package TEXT, md5 BLOB",
        .what = "files",
        .column_count = 7,
        .next = collect_next, .rewind = collect_rewind, .close = collect_close,
    };
    c->buckets = must(calloc(BUCKET_COUNT, sizeof(c->buckets[0])));
    read_dpkg(c);
    walk(c, root);
    c->base.row_count = c->file_count;
    return &c->base;
}

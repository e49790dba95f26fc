/*
 * packages.c -- the packages that are installed here, from dpkg's status file:
 *
 *     Package: coreutils
 *     Status: install ok installed
 *     Section: utils
 *     Installed-Size: 18062
 *     Version: 9.1-1
 *                                 an empty line ends a package
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/source.h"

static void set(char *to, size_t size, const char *line, const char *field)
{
    size_t n = strlen(field);

    if (strncmp(line, field, n) == 0)
        snprintf(to, size, "%s", line + n);
}

void demo_packages_each(void (*fn)(void *ctx, const struct demo_package *package), void *ctx)
{
    char name[200] = "", version[200] = "", section[200] = "", kb[32] = "", status[100] = "";
    struct demo_package package = { name, version, section, 0 };
    FILE *f = fopen("/var/lib/dpkg/status", "r");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    while (f) {
        size = getline(&line, &capacity, f);
        if (size > 0 && line[size - 1] == '\n')
            line[--size] = '\0';
        if (size > 0) {
            set(name, sizeof(name), line, "Package: ");
            set(version, sizeof(version), line, "Version: ");
            set(section, sizeof(section), line, "Section: ");
            set(kb, sizeof(kb), line, "Installed-Size: ");
            set(status, sizeof(status), line, "Status: ");
            continue;
        }
        package.installed_kb = strtoll(kb, NULL, 10);
        if (name[0] && strstr(status, " installed"))
            fn(ctx, &package);
        name[0] = version[0] = section[0] = kb[0] = status[0] = '\0';
        if (size < 0)
            break;
    }
    free(line);
    if (f)
        fclose(f);
}

/*
 * sim_memory.c -- free lists by size in steps of 16 bytes; a block never goes
 * back to malloc, but to its list.
 *
 *     block := header{size}  bytes[size]         a free one begins with the next
 */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "tests/sim/sim_memory.h"

enum { STEP = 16, LISTED_MAX = 8192, CHUNK = 1 << 20 };

struct header {
    _Alignas(STEP) size_t size;
};
_Static_assert(sizeof(struct header) == STEP, "what follows a header is aligned as malloc's");

static void *lists[LISTED_MAX / STEP + 1];
static char *fresh;             /* of the newest chunk, what was never given out */
static size_t fresh_size;

static size_t size_of(const void *p)
{
    return ((const struct header *)p - 1)->size;
}

static int round_up(int size)
{
    return (size + STEP - 1) & ~(STEP - 1);
}

static void *give(struct header *header, size_t size)
{
    if (!header)
        return NULL;
    header->size = size;
    return header + 1;
}

static void *list_alloc(int wanted)
{
    size_t size = (size_t)round_up(wanted), whole = size + sizeof(struct header);
    void **list = &lists[size / STEP];
    void *p;

    if (size > LISTED_MAX)
        return give(malloc(whole), size);
    p = *list;
    if (p) {
        *list = *(void **)p;
        return p;
    }
    if (fresh_size < whole) {
        fresh = malloc(CHUNK);
        fresh_size = fresh ? CHUNK : 0;
        if (!fresh)
            return NULL;
    }
    p = fresh;
    fresh += whole;
    fresh_size -= whole;
    return give(p, size);
}

static void list_free(void *p)
{
    size_t size = size_of(p);

    if (size > LISTED_MAX) {
        free((struct header *)p - 1);
        return;
    }
    *(void **)p = lists[size / STEP];
    lists[size / STEP] = p;
}

static void *list_realloc(void *p, int wanted)
{
    size_t size = size_of(p);
    void *q;

    if ((size_t)wanted <= size)
        return p;
    q = list_alloc(wanted);
    if (q) {
        memcpy(q, p, size);
        list_free(p);
    }
    return q;
}

static int list_size(void *p)
{
    return p ? (int)size_of(p) : 0;
}

static int list_init(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void list_shutdown(void *ctx)
{
    (void)ctx;
}

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
enum { IS_WATCHED = 1 };
#else
enum { IS_WATCHED = 0 };
#endif

void sim_memory_use(void)
{
    static const sqlite3_mem_methods methods = { list_alloc, list_free, list_realloc, list_size,
                                                 round_up, list_init, list_shutdown, NULL };
    static int is_done;

    if (is_done++)
        return;
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (IS_WATCHED)
        return;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    /* A store is opened and closed for each state: the pages of its memory are kept, not given back
       to the system and asked for, and cleared, again. */
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    mallopt(M_MMAP_THRESHOLD, 1 << 28);
    mallopt(M_TOP_PAD, 1 << 24);
}

/*
 * os_posix_mem.c -- see os_posix_mem.h. Each block has a head of sixteen bytes
 * that says how much it holds and where it came from.
 */
#define _GNU_SOURCE
#include "lsm/os/os_posix_mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define MAP_FROM SIZE_MAX               /* let the sanitizer see every block */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAP_FROM SIZE_MAX
#endif
#endif
#ifndef MAP_FROM
#define MAP_FROM ((size_t)128 << 10)
#endif
#define PAGE 4096u
#define SPARE_SIZE (((size_t)1 << 20) + PAGE)   /* an arena's chunk and its head */

struct head {
    size_t size;                        /* of the whole block, with the head */
    size_t is_mapped;
};

_Static_assert(sizeof(struct head) == 16, "what follows is aligned as malloc's blocks are");

static struct head *head_of(void *p)
{
    return (struct head *)p - 1;
}

void lsm_posix_mem_init(struct lsm_posix_mem *m)
{
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->mutex, NULL);
}

void lsm_posix_mem_clear(struct lsm_posix_mem *m)
{
    while (m->spare_count)
        munmap(m->spare[--m->spare_count], SPARE_SIZE);
    pthread_mutex_destroy(&m->mutex);
}

static struct head *map(struct lsm_posix_mem *m, size_t size)
{
    void *p = NULL;

    if (size == SPARE_SIZE) {
        pthread_mutex_lock(&m->mutex);
        if (m->spare_count)
            p = m->spare[--m->spare_count];
        pthread_mutex_unlock(&m->mutex);
        if (p)
            return p;
    }
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void unmap(struct lsm_posix_mem *m, struct head *head)
{
    size_t size = head->size;

    if (size == SPARE_SIZE) {
        bool kept = false;
        pthread_mutex_lock(&m->mutex);
        if (m->spare_count < LSM_POSIX_SPARE_MAX) {
            m->spare[m->spare_count++] = head;
            kept = true;
        }
        pthread_mutex_unlock(&m->mutex);
        if (kept)
            return;
    }
    munmap(head, size);
}

void *lsm_posix_mem_alloc(struct lsm_posix_mem *m, size_t size)
{
    struct head *head;
    bool is_mapped;

    if (size > SIZE_MAX - 2 * PAGE)
        return NULL;
    size += sizeof *head;
    is_mapped = size >= MAP_FROM;
    if (is_mapped) {
        size = (size + PAGE - 1) / PAGE * PAGE;
        head = map(m, size);
    } else {
        head = malloc(size);
    }
    if (!head)
        return NULL;
    *head = (struct head){ size, is_mapped };
    atomic_fetch_add_explicit(&m->used, size, memory_order_relaxed);
    return head + 1;
}

void lsm_posix_mem_free(struct lsm_posix_mem *m, void *p)
{
    struct head *head;

    if (!p)
        return;
    head = head_of(p);
    atomic_fetch_sub_explicit(&m->used, head->size, memory_order_relaxed);
    if (head->is_mapped)
        unmap(m, head);
    else
        free(head);
}

void *lsm_posix_mem_realloc(struct lsm_posix_mem *m, void *p, size_t size)
{
    struct head *head;
    size_t before;
    void *q;

    if (!p)
        return lsm_posix_mem_alloc(m, size);
    head = head_of(p);
    before = head->size;
    if (!head->is_mapped && size < MAP_FROM - sizeof *head) {
        head = realloc(head, size + sizeof *head);
        if (!head)
            return NULL;
        head->size = size + sizeof *head;
        atomic_fetch_add_explicit(&m->used, head->size - before, memory_order_relaxed);
        return head + 1;
    }
    q = lsm_posix_mem_alloc(m, size);
    if (!q)
        return NULL;
    before -= sizeof *head;
    memcpy(q, p, before < size ? before : size);
    lsm_posix_mem_free(m, p);
    return q;
}

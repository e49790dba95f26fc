/*
 * one_tree.h -- for tests of a store with one tree, in memory and without a
 * host; its keys are numbers.
 */
#ifndef TESTS_UNIT_ONE_TREE_H
#define TESTS_UNIT_ONE_TREE_H

#include "lsm/os/os.h"
#include "tests/stat.h"
#include "tests/test.h"

struct one {
    struct lsm_os *base, *os;
    struct lsm_db *db;
    struct lsm_tree *tree;
};

static inline int one_open(struct lsm_os *os, struct lsm_db **db)
{
    struct lsm_options o;

    lsm_options_init(&o);
    o.create_if_missing = true;
    o.os = os;
    o.memory_bytes = 1 << 20;
    o.no_worker = true;
    return lsm_db_open("/db", &o, db);
}

static inline bool one_begin(struct one *o)
{
    o->base = lsm_os_posix_new();
    o->os = lsm_os_mem_new(o->base);
    return CHECK_OK(one_open(o->os, &o->db)) &&
           CHECK_OK(lsm_tree_create(o->db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, NULL, &o->tree));
}

static inline void one_end(struct one *o)
{
    CHECK_OK(lsm_db_check(o->db));
    CHECK_OK(lsm_db_close(o->db));
    lsm_os_mem_free(o->os);
    lsm_os_posix_free(o->base);
}

/* Four of them are there at a time. */
static inline struct lsm_slice number(uint32_t n)
{
    static uint8_t buf[4][4];
    static int at;
    uint8_t *p = buf[at++ % 4];

    p[0] = (uint8_t)(n >> 24), p[1] = (uint8_t)(n >> 16), p[2] = (uint8_t)(n >> 8), p[3] = (uint8_t)n;
    return (struct lsm_slice){ p, 4 };
}

#endif

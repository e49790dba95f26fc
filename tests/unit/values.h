/*
 * values.h -- for tests of a store whose values stand in value logs: rows of an array that says what
 * must be there, and live bytes that are exactly what the tables refer to.
 */
#ifndef TESTS_UNIT_VALUES_H
#define TESTS_UNIT_VALUES_H

#include <stdlib.h>

#include "lsm/db/db.h"
#include "tests/unit/disk.h"

#define KEYS 120

static struct oracle {
    unsigned stamp[KEYS];       /* 0: not there */
    unsigned size[KEYS];
} oracle;

static uint64_t rng;
static inline unsigned rnd(unsigned n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

static inline struct lsm_slice key_of(int i, char buf[16])
{
    return lsm_slice(buf, (size_t)snprintf(buf, 16, "key%05d", i));
}

static inline struct lsm_slice value_of(unsigned stamp, unsigned size)
{
    static uint8_t bytes[200000];
    uint64_t x = stamp * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (unsigned i = 0; i < size; i++) {
        if (i % 8 == 0)
            x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = i % 16 < 8 ? (uint8_t)(x >> (i % 8 * 8)) : (uint8_t)stamp;
    }
    return lsm_slice(bytes, size);
}

static inline unsigned any_size(void)
{
    static const unsigned sizes[] = { 0, 10, 1000, 1023, 1024, 1025, 3000, 9000, 30000, 66000 };
    return sizes[rnd(rnd(3) ? 8 : 10)];
}

/* Gets and both ways of a cursor, values read or passed over. */
static inline bool agrees(struct store *s, const struct lsm_read *read, const struct oracle *o)
{
    struct lsm_cursor *c;
    struct lsm_slice value;
    char kb[16];
    int at, rc;

    for (int i = 0; i < KEYS; i++) {
        struct lsm_value v;
        rc = lsm_tree_get(s->tree, read, key_of(i, kb), &v);
        if (rc != (o->stamp[i] ? LSM_OK : LSM_NOTFOUND) ||
            (rc == LSM_OK && !lsm_slice_equal(v.bytes, value_of(o->stamp[i], o->size[i])))) {
            printf("key %d: %d %s\n", i, rc, rc ? lsm_error_text() : "another value");
            return false;
        }
        lsm_value_release(&v);
    }
    if (!CHECK_OK(lsm_cursor_open(s->tree, read, &c)))
        return false;
    for (int back = 0; back < 2; back++) {
        at = back ? KEYS : -1;
        for (rc = back ? lsm_cursor_last(c) : lsm_cursor_first(c);; rc = back ? lsm_cursor_prev(c) : lsm_cursor_next(c)) {
            do
                at += back ? -1 : 1;
            while (at >= 0 && at < KEYS && !o->stamp[at]);
            if (rc != LSM_OK || at < 0 || at == KEYS)
                break;
            if (rnd(4) == 0)
                continue;
            if (lsm_cursor_read(c, &value) || !lsm_slice_equal(lsm_cursor_key(c), key_of(at, kb)) ||
                !lsm_slice_equal(value, value_of(o->stamp[at], o->size[at]))) {
                printf("cursor at %d: %s\n", at, lsm_error_text());
                lsm_cursor_close(c);
                return false;
            }
        }
        if (rc != LSM_DONE || (at >= 0 && at < KEYS)) {
            printf("cursor ends at %d with %d %s\n", at, rc, lsm_error_text());
            lsm_cursor_close(c);
            return false;
        }
    }
    lsm_cursor_close(c);
    return true;
}

/* The version's sums against its tables; the directory against the version when nobody reads. */
static inline bool is_exact(struct store *s, const char *path, bool alone)
{
    const struct lsm_version *v = s->db->view->version;
    bool good = true;

    for (uint32_t i = 0; i < v->vlog_count; i++) {
        uint64_t count = 0, bytes = 0;
        for (uint32_t t = 0; t < v->tree_count; t++)
            for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
                for (uint32_t k = 0; k < v->trees[t]->level[l].count; k++) {
                    struct lsm_reader r = lsm_reader(v->trees[t]->level[l].runs[k]->meta.refs);
                    struct lsm_vlog_ref ref;
                    uint64_t last = 0;
                    while (lsm_vlog_ref_next(&r, &ref, &last))
                        if (ref.id == v->vlogs[i].file->meta.id) {
                            count += ref.count;
                            bytes += ref.bytes;
                        }
                }
        good &= CHECK(count == v->vlogs[i].live_count && bytes == v->vlogs[i].live_bytes && count > 0);
        good &= CHECK(bytes <= v->vlogs[i].file->meta.value_bytes);
    }
    if (alone)
        good &= CHECK_INT(disk_count(path, ".vlog"), v->vlog_count);
    return good && CHECK_OK(lsm_db_check(s->db));       /* refs in metas against rows, and every value */
}

static inline void write_some(struct store *s, int count, int span)
{
    int from = rnd(KEYS - (unsigned)span + 1);
    char kb[16];

    for (int i = 0; i < count; i++) {
        int k = from + (int)rnd((unsigned)span);
        if (rnd(5) == 0) {
            CHECK_OK(lsm_db_delete(s->db, s->tree, key_of(k, kb), true));
            oracle.stamp[k] = 0;
        } else {
            oracle.stamp[k] = rnd(1u << 30) + 1;
            oracle.size[k] = any_size();
            CHECK_OK(lsm_db_put(s->db, s->tree, key_of(k, kb), value_of(oracle.stamp[k], oracle.size[k]), true));
        }
    }
}

static inline bool open_alone(struct store *s, const char *path)
{
    return store_open_as(s, path, true);
}

/* Several logs, all of them with garbage. */
static inline void fill(struct store *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        write_some(s, 60, KEYS);
        CHECK_OK(lsm_db_flush(s->db));
    }
}

static inline void begin_test(struct store *s, uint64_t seed)
{
    disk_and_host_begin();
    memset(&oracle, 0, sizeof oracle);
    rng = seed;
    open_alone(s, "s");
}

static inline void put_range(struct store *s, int from, int to, unsigned size)
{
    char kb[16];

    for (int i = from; i < to; i++) {
        oracle.stamp[i] = rnd(1u << 30) + 1;
        oracle.size[i] = size;
        CHECK_OK(lsm_db_put(s->db, s->tree, key_of(i, kb), value_of(oracle.stamp[i], size), false));
    }
}

static inline void delete_range(struct store *s, int from, int to)
{
    char kb[16];

    for (int i = from; i < to; i++) {
        oracle.stamp[i] = 0;
        CHECK_OK(lsm_db_delete(s->db, s->tree, key_of(i, kb), false));
    }
}

#endif

/*
 * test_db.c -- the store as a whole, against a sorted array: random
 * transactions, savepoints, snapshots, flushes, compactions, reopening.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/lsm.h"
#include "lsm/os/os.h"
#include "tests/test.h"

#define KEYS 400
#define VALUE_MAX 600

struct oracle {
    bool has[KEYS];
    unsigned stamp[KEYS];       /* what the value is made of */
    unsigned size[KEYS];
};

/* Going on would only crash. */
#define REQUIRE(cond) do { if (!CHECK(cond)) { printf("%s\n", lsm_error_text()); return; } } while (0)

static uint64_t rng;
static unsigned rnd(unsigned n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

static struct lsm_slice key_of(int i, char buf[32])
{
    int n = snprintf(buf, 32, "key%06d%s", i * 7, i % 3 ? "" : "-longer-than-eight");
    return (struct lsm_slice){ (uint8_t *)buf, (size_t)n };
}

static struct lsm_slice value_of(unsigned stamp, unsigned size, char buf[VALUE_MAX])
{
    for (unsigned i = 0; i < size; i++)
        buf[i] = (char)(stamp * 31 + i * (i % 5));
    return (struct lsm_slice){ (uint8_t *)buf, size };
}

static bool same(struct lsm_slice a, struct lsm_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Everything: forward, backward, gets, a few seeks. */
static bool agrees(struct lsm_tree *tree, const struct lsm_read *read, const struct oracle *o)
{
    char kb[32], vb[VALUE_MAX];
    struct lsm_cursor *c;
    int sorted[KEYS], n = 0, rc, at;

    for (int i = 0; i < KEYS; i++)
        if (o->has[i])
            sorted[n++] = i;
    if (lsm_cursor_open(tree, read, &c))
        return false;
    at = 0;
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c), at++) {
        if (at >= n || !same(lsm_cursor_key(c), key_of(sorted[at], kb)) ||
            !same(lsm_cursor_value(c), value_of(o->stamp[sorted[at]], o->size[sorted[at]], vb))) {
            printf("forward: row %d of %d differs: want %s have %.*s\n", at, n, at < n ? (key_of(sorted[at], kb), kb) : "end", (int)lsm_cursor_key(c).size,
                   (const char *)lsm_cursor_key(c).data);
            return false;
        }
    }
    if (rc != LSM_DONE || at != n) {
        printf("forward ended at %d of %d with %s: %s\n", at, n, lsm_code_name(rc), lsm_error_text());
        return false;
    }
    at = n;
    for (rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c)) {
        at--;
        if (at < 0 || !same(lsm_cursor_key(c), key_of(sorted[at], kb)) ||
            !same(lsm_cursor_value(c), value_of(o->stamp[sorted[at]], o->size[sorted[at]], vb))) {
            printf("backward: row %d differs\n", at);
            return false;
        }
    }
    if (rc != LSM_DONE || at != 0) {
        printf("backward ended at %d with %s\n", at, lsm_code_name(rc));
        return false;
    }
    for (int k = 0; k < 20; k++) {      /* seek, then both ways */
        int i = (int)rnd(KEYS), above = 0, below = n - 1;
        while (above < n && sorted[above] < i)
            above++;
        while (below >= 0 && sorted[below] > i)
            below--;
        rc = lsm_cursor_seek(c, key_of(i, kb));
        if ((rc == LSM_OK) != (above < n) || (rc == LSM_OK && !same(lsm_cursor_key(c), key_of(sorted[above], kb)))) {
            printf("seek %d\n", i);
            return false;
        }
        if (rc == LSM_OK) {
            rc = lsm_cursor_prev(c);
            if ((rc == LSM_OK) != (above > 0) || (rc == LSM_OK && !same(lsm_cursor_key(c), key_of(sorted[above - 1], kb)))) {
                printf("seek %d then prev\n", i);
                return false;
            }
        }
        rc = lsm_cursor_seek_prev(c, key_of(i, kb));
        if ((rc == LSM_OK) != (below >= 0) || (rc == LSM_OK && !same(lsm_cursor_key(c), key_of(sorted[below], kb)))) {
            printf("seek_prev %d\n", i);
            return false;
        }
        if (rc == LSM_OK) {
            rc = lsm_cursor_next(c);
            if ((rc == LSM_OK) != (below + 1 < n) || (rc == LSM_OK && !same(lsm_cursor_key(c), key_of(sorted[below + 1], kb)))) {
                printf("seek_prev %d then next\n", i);
                return false;
            }
        }
    }
    lsm_cursor_close(c);
    for (int i = 0; i < KEYS; i++) {
        struct lsm_value v;
        rc = lsm_tree_get(tree, read, key_of(i, kb), &v);
        if (rc != (o->has[i] ? LSM_OK : LSM_NOTFOUND) ||
            (rc == LSM_OK && !same(v.bytes, value_of(o->stamp[i], o->size[i], vb)))) {
            printf("get %d: %s, %s\n", i, lsm_code_name(rc), rc ? lsm_error_text() : "");
            return false;
        }
        lsm_value_release(&v);
    }
    return true;
}

static bool change(struct lsm_txn *txn, struct lsm_tree *tree, struct oracle *o)
{
    char kb[32], vb[VALUE_MAX];
    int i = (int)rnd(KEYS);

    if (rnd(4) == 0) {
        o->has[i] = false;
        return lsm_txn_delete(txn, tree, key_of(i, kb)) == LSM_OK;
    }
    o->has[i] = true;
    o->stamp[i] = rnd(1000000);
    o->size[i] = rnd(10) ? rnd(60) : rnd(VALUE_MAX);
    return lsm_txn_put(txn, tree, key_of(i, kb), value_of(o->stamp[i], o->size[i], vb)) == LSM_OK;
}

static void random_run(uint64_t seed, bool worker, int steps)
{
    struct lsm_os *base = lsm_os_posix_new(), *os = lsm_os_mem_new(base);
    struct lsm_options options;
    struct lsm_tree_options tree_options;
    struct lsm_db *db = NULL;
    struct lsm_tree *tree[2];
    struct lsm_snapshot *snapshot = NULL;
    struct oracle *now = calloc(2, sizeof *now), *then = calloc(2, sizeof *then), *saved = calloc(2, sizeof *now);
    const char *names[] = { "a", "tree two" };

    rng = seed;
    lsm_options_init(&options);
    options.create_if_missing = true;
    options.no_worker = !worker;
    options.memory_bytes = 1 << 20;
    options.os = os;
    lsm_tree_options_init(&tree_options);
    tree_options.block_bytes = 512;
    REQUIRE(lsm_db_open("store", &options, &db) == LSM_OK);
    for (int t = 0; t < 2; t++)
        REQUIRE(lsm_tree_create(db, (struct lsm_slice){ (const uint8_t *)names[t], strlen(names[t]) },
                                &tree_options, &tree[t]) == LSM_OK);
    for (int step = 0; step < steps; step++) {
        struct lsm_txn *txn;
        unsigned what = rnd(100);

        if (what < 60) {                        /* a transaction */
            unsigned ops = rnd(20) ? rnd(30) : rnd(3000);
            uint64_t mark = 0;
            memcpy(saved, now, 2 * sizeof *now);
            REQUIRE(lsm_txn_begin(db, NULL, &txn) == LSM_OK);
            struct oracle *at_mark = calloc(2, sizeof *now);
            bool has_mark = false;
            for (unsigned k = 0; k < ops; k++) {
                int t = (int)rnd(2);
                REQUIRE(change(txn, tree[t], &now[t]));
                if (rnd(200) == 0 && !has_mark) {
                    mark = lsm_txn_mark(txn);
                    memcpy(at_mark, now, 2 * sizeof *now);
                    has_mark = true;
                }
                if (has_mark && rnd(100) == 0) {
                    lsm_txn_rollback_to(txn, mark);
                    memcpy(now, at_mark, 2 * sizeof *now);
                }
            }
            if (rnd(4) == 0) {
                struct lsm_read read = { .txn = txn };
                CHECK(agrees(tree[0], &read, &now[0]));
                CHECK(agrees(tree[1], &read, &now[1]));
                CHECK(agrees(tree[0], NULL, &saved[0]));
            }
            if (rnd(5) == 0) {
                REQUIRE(lsm_txn_abort(txn) == LSM_OK);
                memcpy(now, saved, 2 * sizeof *now);
            } else {
                REQUIRE(lsm_txn_commit_alone(txn, rnd(2)) == LSM_OK);
            }
            free(at_mark);
        } else if (what < 70) {
            REQUIRE(lsm_db_flush(db) == LSM_OK);
        } else if (what < 75) {
            REQUIRE(lsm_db_compact(db, NULL) == LSM_OK);
        } else if (what < 85) {
            if (!worker)
                lsm_db_step(db);
        } else if (what < 90) {
            if (snapshot) {
                struct lsm_read read = { .snapshot = snapshot };
                CHECK(agrees(tree[0], &read, &then[0]));
                CHECK(agrees(tree[1], &read, &then[1]));
                lsm_snapshot_close(snapshot);
                snapshot = NULL;
            } else {
                REQUIRE(lsm_snapshot_open(db, &snapshot) == LSM_OK);
                memcpy(then, now, 2 * sizeof *now);
            }
        } else if (what < 95) {
            CHECK(agrees(tree[0], NULL, &now[0]));
            CHECK(agrees(tree[1], NULL, &now[1]));
        } else if (!snapshot) {
            CHECK(lsm_db_check(db) == LSM_OK);
            REQUIRE(lsm_db_close(db) == LSM_OK);
            int rc = lsm_db_open("store", &options, &db);
            if (rc)
                printf("open: %s\n", lsm_error_text());
            REQUIRE(rc == LSM_OK);
            for (int t = 0; t < 2; t++)
                REQUIRE(lsm_tree_find(db, (struct lsm_slice){ (const uint8_t *)names[t], strlen(names[t]) },
                                      &tree[t]) == LSM_OK);
            CHECK(agrees(tree[0], NULL, &now[0]));
            CHECK(agrees(tree[1], NULL, &now[1]));
        }
        if ((test_state.failures > 0))
            break;
    }
    lsm_snapshot_close(snapshot);
    CHECK(lsm_db_close(db) == LSM_OK);
    CHECK(lsm_db_destroy("store", &options) == LSM_OK);
    lsm_os_mem_free(os);
    lsm_os_posix_free(base);
    free(now);
    free(then);
    free(saved);
}

TEST(db_agrees_with_a_sorted_array_whatever_is_done_to_it)
{
    for (uint64_t seed = 1; seed <= 12 && !(test_state.failures > 0); seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        random_run(seed, false, 120);
    }
}

TEST(db_agrees_with_a_sorted_array_while_a_worker_runs)
{
    for (uint64_t seed = 101; seed <= 106 && !(test_state.failures > 0); seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        random_run(seed, true, 120);
    }
}

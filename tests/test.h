/*
 * test.h -- the tests of one program: claims, checks, and a main that runs them.
 *
 *     #include "tests/test.h"
 *
 *     TEST(log_torn_tail_is_not_corruption)
 *     {
 *         CHECK_OK(lsm_log_open(...));
 *         if (!CHECK_INT(count, 3))
 *             return;
 *     }
 *
 * The name is the claim. A check that fails says where and what, and gives
 * false; the test goes on, so leave it where going on makes no sense. Checks
 * may be made in any thread.
 *
 * A program prints `ok NAME` or `FAIL NAME` for each test and closes with
 * `N passed, N failed`; its exit code is 1 if one failed. Options: --filter
 * TEXT (names that contain it), --seed N, --list. TEST_TIER=long in the
 * environment makes test_long() true.
 *
 * Chance: a test's seed is made of its name, so that a commit's tests say the
 * same each time; in the long tier, or with TEST_SEED=random in the
 * environment, each run draws another.
 *
 * A part of a program that only checks defines TEST_PART before the include.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lsm/lsm.h"

struct test_case {
    const char *name;
    void (*fn)(void);
    struct test_case *next;
};

struct test_state {
    struct test_case *first, **last;
    _Atomic int failures;       /* checks that failed in this test */
    const char *name;           /* of the test that runs */
    uint64_t seed;              /* given or drawn; 0: not drawn yet */
    uint64_t random;            /* state of test_random() */
    bool seed_given;
    char dir[64];               /* this test's directory, or "" */
};

extern struct test_state test_state;

#define TEST(name)                                                                     \
    static void name(void);                                                            \
    static struct test_case name##_case = { #name, name, NULL };                       \
    __attribute__((constructor)) static void name##_add(void) { test_add(&name##_case); } \
    static void name(void)

#define CHECK(cond) test_check((cond), __FILE__, __LINE__, #cond, NULL)
#define CHECK_INT(a, b) test_check_int((intmax_t)(a), (intmax_t)(b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_STR(a, b) test_check_str((a), (b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_MEM(a, b, size) test_check_mem((a), (b), (size), __FILE__, __LINE__, #a " == " #b)
#define CHECK_RC(call, code) test_check_rc((call), (code), __FILE__, __LINE__, #call)
#define CHECK_OK(call) CHECK_RC(call, LSM_OK)

static inline __attribute__((format(printf, 5, 6))) bool
test_check(bool ok, const char *file, int line, const char *what, const char *format, ...)
{
    char values[400] = "";
    va_list args;

    if (ok)
        return true;
    if (format) {
        va_start(args, format);
        vsnprintf(values, sizeof(values), format, args);
        va_end(args);
    }
    printf("%s:%d: %s%s\n", file, line, what, values);
    fflush(stdout);
    atomic_fetch_add(&test_state.failures, 1);
    return false;
}

static inline bool test_check_int(intmax_t a, intmax_t b, const char *file, int line,
                                  const char *what)
{
    return test_check(a == b, file, line, what, ": %" PRIdMAX " and %" PRIdMAX, a, b);
}

static inline bool test_check_str(const char *a, const char *b, const char *file, int line,
                                  const char *what)
{
    bool ok = a == b || (a && b && strcmp(a, b) == 0);

    return test_check(ok, file, line, what, ": \"%s\" and \"%s\"", a ? a : "(null)",
                      b ? b : "(null)");
}

static inline bool test_check_mem(const void *a, const void *b, size_t size, const char *file,
                                  int line, const char *what)
{
    const uint8_t *x = a, *y = b;

    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i])
            return test_check(false, file, line, what, ": byte %zu of %zu: %02x and %02x", i, size,
                              x[i], y[i]);
    return true;
}

static inline bool test_check_rc(int rc, int code, const char *file, int line, const char *what)
{
    return test_check(rc == code, file, line, what, ": %s, not %s: %s", lsm_code_name(rc),
                      lsm_code_name(code), lsm_error_text());
}

static inline bool test_long(void)
{
    const char *tier = getenv("TEST_TIER");

    return tier && strcmp(tier, "long") == 0;
}

/* Of so many states, seeds, points or rounds: the sanitizers' flavours are slow, and look at a sixth of them. */
static inline uint64_t test_share(uint64_t count)
{
    const char *flavour = getenv("FLAVOUR");

    return flavour && (strstr(flavour, "address") || strstr(flavour, "thread")) ? (count + 5) / 6 : count;
}

static inline uint64_t test_draw_seed(void)
{
    const char *wish = getenv("TEST_SEED");
    uint64_t seed = 0xcbf29ce484222325u;        /* FNV-1a of the name */

    if ((test_long() || (wish && strcmp(wish, "random") == 0))
        && getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
        return seed;
    for (const char *c = test_state.name; *c; c++)
        seed = (seed ^ (unsigned char)*c) * 0x100000001b3u;
    return seed;
}

/* Random, from a seed that is printed: --seed N repeats it. One thread. */
static inline uint64_t test_random(void)
{
    uint64_t z;

    if (test_state.random == 0) {
        if (test_state.seed == 0)
            test_state.seed = test_draw_seed();
        printf("seed %" PRIu64 "\n", test_state.seed);
        test_state.random = test_state.seed;
    }
    z = test_state.random += 0x9e3779b97f4a7c15u;       /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t test_below(uint64_t n)
{
    return test_random() % n;
}

/* An empty directory of this test; it goes with the test. */
static inline const char *test_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    if (!test_state.dir[0]) {
        snprintf(test_state.dir, sizeof(test_state.dir), "%.40s/lsmvtab-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(test_state.dir)) {
            perror(test_state.dir);
            exit(2);
        }
    }
    return test_state.dir;
}

void test_add(struct test_case *test);

#ifndef TEST_PART

struct test_state test_state;

void test_add(struct test_case *test)
{
    if (!test_state.last)
        test_state.last = &test_state.first;
    *test_state.last = test;
    test_state.last = &test->next;
}

static int test_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static bool test_run_one(const struct test_case *test)
{
    test_state.name = test->name;
    test_state.failures = 0;
    test_state.random = 0;
    if (!test_state.seed_given)
        test_state.seed = 0;
    test->fn();
    if (test_state.dir[0])
        nftw(test_state.dir, test_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    test_state.dir[0] = '\0';
    printf("%s %s\n", test_state.failures ? "FAIL" : "ok", test->name);
    fflush(stdout);
    return test_state.failures == 0;
}

int main(int argc, char **argv)
{
    const char *filter = "";
    int passed = 0, failed = 0;
    bool list = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc) {
            filter = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            test_state.seed = strtoull(argv[++i], NULL, 0);
            test_state.seed_given = true;
        } else {
            fprintf(stderr, "usage: %s [--filter TEXT] [--seed N] [--list]\n", argv[0]);
            return 2;
        }
    }
    for (const struct test_case *test = test_state.first; test; test = test->next) {
        if (!strstr(test->name, filter))
            continue;
        if (list)
            puts(test->name);
        else if (test_run_one(test))
            passed++;
        else
            failed++;
    }
    if (!list)
        printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
#endif

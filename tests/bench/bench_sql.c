/*
 * bench_sql.c -- an lsm table beside ordinary tables, in one run.
 *
 *     bench_sql [n=1000000] [rounds=3] [quick=1] [only=random|others|giant] [dir=/tmp]
 *               [so=./lsmvtab.so] [tsv=FILE]
 *
 * Three sides do the same work and take turns, round by round; the median of the rounds
 * counts. Each side is a process of its own (this program again), so that its memory,
 * processor time and bytes written are its own (bench_side.h; here is the driver):
 *
 *     driver --- pipe ---> lsm        CREATE VIRTUAL TABLE t USING lsm(...), 64 MiB budget
 *            --- pipe ---> ordinary   WITHOUT ROWID, PRAGMA cache_size = 64 MiB
 *            --- pipe ---> default    WITHOUT ROWID, SQLite's own 2 MB page cache
 *
 * Goals are judged against "ordinary", which has the same memory. What the lsm side leaves
 * to its worker is waited for before the next side's turn ("settle") and is not
 * hidden: the time until the store is quiet has a row of its own.
 *
 * Rows are made from their number: row i has the key mix(i), mix(i ^ C). A point read
 * compares the whole value with what the row was last written with. Scans and ranges add up
 * a sum over all bytes of each row, which is cheap beside reading it; what it must be,
 * and how many rows, is known before the clock runs (the side keeps an index of its own).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench_side.h"

#define ROUNDS_MAX 15

#define SIDES 3
static const char *const side_names[SIDES] = { "lsm", "ordinary", "default" };

struct child {
    const char *name;
    pid_t pid;
    FILE *to, *from;
};

static struct {
    uint64_t n;
    int rounds;
    bool quick;
    const char *only, *dir, *so, *tsv;
    char work[400];             /* removed at the end */
    char giant[400];            /* stays */
    char self[400];
} options;

static struct child child_start(const char *name, const char *dir)
{
    struct child c = { .name = name };
    int to[2], from[2];
    char rows[32];

    snprintf(rows, sizeof(rows), "%" PRIu64, options.n / 4 * 9);
    if (pipe(to) || pipe(from))
        bench_die("pipe: %s", strerror(errno));
    fflush(NULL);
    c.pid = fork();
    if (c.pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (c.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execl(options.self, options.self, "--side", name, dir, options.so, rows, (char *)NULL);
        bench_die("%s: %s", options.self, strerror(errno));
    }
    close(to[0]);
    close(from[1]);
    c.to = fdopen(to[1], "w");
    c.from = fdopen(from[0], "r");
    return c;
}

static struct turn child_run(struct child *c, const char *phase, uint64_t count, uint64_t batch)
{
    struct turn t = { 0 };
    char line[2048];

    fprintf(c->to, "%s %" PRIu64 " %" PRIu64 "\n", phase, count, batch);
    fflush(c->to);
    if (!fgets(line, sizeof(line), c->from))
        bench_die("%s: the process ended in %s", c->name, phase);
    if (sscanf(line, "ok %" SCNu64 " %lf %lf %" SCNu64 " %lf", &t.ops, &t.seconds, &t.cpu_seconds,
               &t.written_bytes, &t.value) != 5)
        bench_die("%s, %s: %s", c->name, phase, line);
    return t;
}

static void child_end(struct child *c)
{
    int status;

    fclose(c->to);
    fclose(c->from);
    if (waitpid(c->pid, &status, 0) != c->pid || status != 0)
        bench_die("%s: ended with status %d", c->name, status);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* How a row of the table is judged. */
enum judge {
    FASTER,         /* lsm / ordinary, at least the goal */
    TIME,           /* time of lsm / time of ordinary, at most the goal */
    SMALLER,        /* lsm / ordinary, at most the goal */
    AT_MOST         /* lsm alone, at most the goal */
};

struct row {
    const char *label, *unit;
    enum judge judge;
    double goal;                /* 0: none */
    double aim;                 /* performance.md, "to lead them all", against "default"; 0: none */
    double value[SIDES];        /* < 0: not measured */
    double cpu_us[SIDES];       /* an operation, all threads, until quiet; < 0: not measured */
};

static struct row rows[80];
static int row_count, missed;

static void show_number(char *out, size_t size, double x)
{
    if (x < 0)
        snprintf(out, size, "-");
    else if (x >= 1e6)
        snprintf(out, size, "%.2fM", x / 1e6);
    else if (x >= 1e4)
        snprintf(out, size, "%.0fk", x / 1e3);
    else if (x >= 1e3)
        snprintf(out, size, "%.1fk", x / 1e3);
    else if (x >= 10)
        snprintf(out, size, "%.1f", x);
    else
        snprintf(out, size, "%.2f", x);
}

static void print_head(void)
{
    printf("%-44s %-7s %8s %8s %8s   %8s %8s %6s  %-8s %-5s %s\n", "", "unit", "lsm", "ordinary",
           "default", "x ordin.", "x defau.", "cpu x", "goal", "", "aim");
}

static void print_row(const struct row *r)
{
    char number[SIDES][16], ratio[2][16] = { "-", "-" }, goal[24] = "", aim[16] = "", cpu[16] = "";
    const char *verdict = "";

    for (int i = 0; i < SIDES; i++)
        show_number(number[i], sizeof(number[i]), r->value[i]);
    for (int i = 0; i < 2; i++)
        if (r->value[i + 1] > 0 && r->value[0] >= 0) {
            double x = r->value[0] / r->value[i + 1];

            snprintf(ratio[i], sizeof(ratio[i]), "%.2f", r->judge == TIME ? 1 / x : x);
        }
    if (r->goal > 0 && r->value[0] >= 0) {
        double x = r->judge == AT_MOST ? r->value[0] : r->value[0] / r->value[1];
        bool met = r->judge == FASTER ? x >= r->goal : r->judge == TIME ? 1 / x <= r->goal
                                                                        : x <= r->goal;

        snprintf(goal, sizeof(goal), "%s%g%s", r->judge == FASTER ? ">= " : "<= ", r->goal,
                 r->judge == AT_MOST ? "" : "x");
        verdict = met ? "pass" : "MISS";
        missed += !met;
    }
    if (r->aim > 0)
        snprintf(aim, sizeof(aim), "%.2fx", r->aim);
    if (r->cpu_us[0] > 0 && r->cpu_us[1] > 0)
        snprintf(cpu, sizeof(cpu), "%.2f", r->cpu_us[0] / r->cpu_us[1]);
    printf("%-44s %-7s %8s %8s %8s   %8s %8s %6s  %-8s %-5s %s\n", r->label, r->unit, number[0],
           number[1], number[2], ratio[0], ratio[1], cpu, goal, verdict, aim);
    fflush(stdout);
}

static struct row *row_add(const char *label, const char *unit, enum judge judge, double goal,
                           double aim)
{
    struct row *r = &rows[row_count++];

    assert(row_count <= (int)(sizeof(rows) / sizeof(*rows)));
    *r = (struct row){ label, unit, judge, goal, aim, { -1, -1, -1 }, { -1, -1, -1 } };
    return r;
}

static bool wanted(const char *label)
{
    return options.only == NULL || strstr(label, options.only) != NULL;
}

struct extras {
    double settle, written;     /* medians: seconds; bytes written, worker included */
};

/* Let all sides do a phase, in turns; a row with the rate of each. */
static void measure(struct child *sides, const char *label, const char *unit, const char *phase,
                    uint64_t count, uint64_t batch, int rounds, enum judge judge, double goal,
                    double aim, struct extras *extras)
{
    double rate[SIDES][ROUNDS_MAX], cpu[SIDES][ROUNDS_MAX];
    double wait[SIDES][ROUNDS_MAX], written[SIDES][ROUNDS_MAX];
    struct row *r;

    if (count == 0)
        count = 1;
    for (int round = 0; round < rounds; round++)
        for (int k = 0; k < SIDES; k++) {
            int i = (k + round) % SIDES;        /* nobody is always first */
            struct turn t = child_run(&sides[i], phase, count, batch), after;

            after = child_run(&sides[i], "settle", 0, 0);
            rate[i][round] = (double)t.ops / t.seconds;
            cpu[i][round] = (t.cpu_seconds + after.cpu_seconds) / (double)t.ops * 1e6;
            wait[i][round] = t.seconds + after.value;
            written[i][round] = (double)(t.written_bytes + after.written_bytes);
        }
    r = row_add(label, unit, judge, goal, aim);
    for (int i = 0; i < SIDES; i++) {
        r->value[i] = median(rate[i], rounds);
        r->cpu_us[i] = median(cpu[i], rounds);
        if (extras) {
            extras[i].settle = median(wait[i], rounds);
            extras[i].written = median(written[i], rounds);
        }
    }
    print_row(r);
}

static void measure_value(struct child *sides, const char *label, const char *unit,
                          const char *phase, uint64_t count, enum judge judge, double goal)
{
    struct row *r = row_add(label, unit, judge, goal, 0);

    for (int i = 0; i < SIDES; i++)
        r->value[i] = child_run(&sides[i], phase, count, 0).value;
    print_row(r);
}

static void measure_random(void)
{
    uint64_t n = options.n;
    int rounds = options.rounds;
    struct child sides[SIDES];
    struct extras extras[SIDES];
    struct row *r;

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);

    measure(sides, "random fill, transactions of 10,000", "rows/s", "fill_random", n, 10000, rounds,
            FASTER, 4, 6.6, extras);
    r = row_add("  the same until the worker is quiet", "rows/s", FASTER, 0, 0);
    for (int i = 0; i < SIDES; i++)
        r->value[i] = (double)n / extras[i].settle;
    print_row(r);
    r = row_add("  bytes written per byte stored", "x", SMALLER, 0, 0);
    for (int i = 0; i < SIDES; i++)
        r->value[i] = extras[i].written / ((double)n * ROW_BYTES);
    print_row(r);

    measure(sides, "point SELECT in a transaction, warm", "/s", "get_in_transaction", n / 5, 0,
            rounds + 2, TIME, 1.5, 1.31, NULL);
    measure(sides, "point SELECT, autocommit", "/s", "get_autocommit", n / 5, 0, rounds, TIME, 0,
            1.22, NULL);
    measure(sides, "point SELECT of a missing key, autocommit", "/s", "get_missing", n / 5, 0,
            rounds, TIME, 0, 1.42, NULL);
    measure(sides, "range of 100, two bounds", "/s", "range_bounds", n / 100, 100, rounds, TIME, 0,
            1.05, NULL);
    measure(sides, "ORDER BY LIMIT 100", "/s", "range_limit", n / 100, 100, rounds, TIME, 0, 1.04,
            NULL);
    measure(sides, "ORDER BY DESC LIMIT 100", "/s", "range_limit_desc", n / 100, 100, rounds, TIME,
            0, 1.04, NULL);
    measure(sides, "full scan", "rows/s", "scan", 0, 0, rounds + 2, TIME, 2, 1.03, NULL);
    measure(sides, "count(*)", "rows/s", "count", 0, 0, rounds + 2, TIME, 0, 1.05, NULL);
    measure_value(sides, "on disk after compact and close", "MB", "disk_bytes", 0, SMALLER, 0.55);
    measure(sides, "  then point SELECT in a transaction", "/s", "get_in_transaction", n / 5, 0,
            rounds, TIME, 0, 1.31, NULL);
    measure(sides, "  then full scan", "rows/s", "scan", 0, 0, rounds, TIME, 0, 1.03, NULL);

    measure(sides, "replace, random, transactions of 10,000", "rows/s", "replace", n / 10, 10000,
            rounds, FASTER, 0, 7.7, NULL);
    measure(sides, "update, random, transactions of 10,000", "rows/s", "update", n / 10, 10000,
            rounds, FASTER, 0, 1.62, NULL);
    measure(sides, "delete, random, transactions of 10,000", "rows/s", "delete", n / 20, 10000,
            rounds, FASTER, 0, 1.79, NULL);
    measure(sides, "insert, transactions of 1,000", "rows/s", "insert", n / 20, 1000, rounds,
            FASTER, 0, 0, NULL);
    measure(sides, "insert, transactions of 100", "rows/s", "insert", n / 20, 100, rounds, FASTER,
            0, 8.7, NULL);
    measure(sides, "insert, autocommit, WAL NORMAL", "rows/s", "insert", n / 20, 1, rounds, FASTER,
            4, 2.8, NULL);
    measure(sides, "insert, autocommit, WAL FULL", "rows/s", "insert_wal_full", n / 200, 1, rounds,
            FASTER, 1.1, 0, NULL);
    measure(sides, "insert, transactions of 1,000, WAL FULL", "rows/s", "insert_wal_full", n / 20,
            1000, rounds, FASTER, 0, 0, NULL);
    measure(sides, "insert, statements of 1,000 rows, WAL FULL", "rows/s", "insert_statements", n / 20,
            1000, rounds, FASTER, 0, 0, NULL);
    measure(sides, "  the same between BEGIN and COMMIT", "rows/s", "insert_transactions", n / 20, 1000,
            rounds, FASTER, 0, 0, NULL);
    measure_value(sides, "  its time beside the statement alone", "x", "insert_in_turns", n / 10, AT_MOST,
                  1.15);
    measure(sides, "insert, transactions of 100, WAL FULL", "rows/s", "insert_wal_full", n / 50, 100,
            rounds, FASTER, 0, 0, NULL);
    measure(sides, "insert, autocommit, DELETE FULL", "rows/s", "insert_delete_full", n / 1000, 1,
            rounds, FASTER, 4, 0, NULL);
    for (int i = 0; i < SIDES; i++)
        child_run(&sides[i], "wal_normal", 0, 0);
    measure(sides, "full scan after all that", "rows/s", "scan", 0, 0, rounds, TIME, 2, 0, NULL);
    measure_value(sides, "peak memory of all of it", "MiB", "peak_memory", 0, AT_MOST,
                  MEMORY_MIB + 16);
    measure_value(sides, "  of it counted by the store at the end", "MiB", "counted_memory", 0,
                  AT_MOST, 0);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);
}

static void measure_others(void)
{
    struct child sides[SIDES];

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);
    measure(sides, "sequential fill, transactions of 10,000", "rows/s", "fill_sequential",
            options.n / 2, 10000, options.rounds, FASTER, 0, 1.34, NULL);
    measure(sides, "queue, 10,000 deep, transactions of 1,000", "ops/s", "queue", options.n,
            1000, options.rounds, FASTER, 0, 1.06, NULL);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);

    for (int i = 0; i < SIDES; i++)
        sides[i] = child_start(side_names[i], options.work);
    measure_value(sides, "peak memory, one transaction of 1.2 n rows", "MiB", "one_transaction",
                  options.n * 6 / 5, AT_MOST, MEMORY_MIB + 16);
    for (int i = 0; i < SIDES; i++)
        child_end(&sides[i]);
}

static void measure_giant(void)
{
    const char *label = "first row of a closed store of 1 GB";
    char path[500], stamp[64] = "", wanted_stamp[64];
    double ms[5];
    struct stat st;
    struct row *r;
    FILE *file;

    if (options.quick) {
        printf("%-44s left out: quick\n", label);
        return;
    }
    /* Made again by another build: its format may be another one. */
    if (stat(options.so, &st))
        bench_die("%s: %s", options.so, strerror(errno));
    snprintf(wanted_stamp, sizeof(wanted_stamp), "%lld %lld", (long long)st.st_size,
             (long long)st.st_mtime);
    mkdir(options.giant, 0755);
    snprintf(path, sizeof(path), "%s/built-by", options.giant);
    file = fopen(path, "r");
    if (file) {
        if (!fgets(stamp, sizeof(stamp), file))
            stamp[0] = 0;
        fclose(file);
    }
    if (strcmp(stamp, wanted_stamp) != 0) {
        struct child c = child_start("lsm", options.giant);

        printf("(building the store of 1 GB in %s, once for each build)\n", options.giant);
        remove(path);
        child_run(&c, "giant_build", BIG_ROWS, 10000);
        child_end(&c);
        file = fopen(path, "w");
        if (file) {
            fputs(wanted_stamp, file);
            fclose(file);
        }
    }
    for (int i = 0; i < 5; i++) {
        struct child c = child_start("lsm", options.giant);

        ms[i] = child_run(&c, "giant_first_row", BIG_ROWS, 0).value;
        child_end(&c);
    }
    r = row_add(label, "ms", AT_MOST, 20, 0);
    r->value[0] = median(ms, 5);
    print_row(r);
}

static void write_tsv(void)
{
    static const char *const judges[] = { "faster", "time", "smaller", "at_most" };
    FILE *file = fopen(options.tsv, "w");

    if (file == NULL)
        bench_die("%s: %s", options.tsv, strerror(errno));
    for (int i = 0; i < row_count; i++)
        for (int k = 0; k < SIDES; k++)
            if (rows[i].value[k] >= 0) {
                const char *label = rows[i].label;

                fprintf(file, "row\t%s\t%s\t%.6g\t%s\t%.4g\t-1\t-1\t-1\t%s\t%g\t%g\n", label,
                        side_names[k], rows[i].value[k], rows[i].unit, rows[i].cpu_us[k],
                        judges[rows[i].judge], rows[i].goal, rows[i].aim);
            }
    fclose(file);
}

static void parse_options(int argc, char **argv)
{
    ssize_t size = readlink("/proc/self/exe", options.self, sizeof(options.self) - 1);
    const char *tmp = getenv("TMPDIR");

    if (size <= 0)
        bench_die("/proc/self/exe: %s", strerror(errno));
    options.n = 1000000;
    options.rounds = 3;
    options.dir = tmp ? tmp : "/tmp";
    options.so = "./lsmvtab.so";
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t name = value ? (size_t)(value - argv[i]) : 0;

        if (name == 1 && argv[i][0] == 'n')
            options.n = strtoull(value + 1, NULL, 10);
        else if (name == 6 && strncmp(argv[i], "rounds", 6) == 0)
            options.rounds = atoi(value + 1);
        else if (name == 5 && strncmp(argv[i], "quick", 5) == 0)
            options.quick = value[1] == '1';
        else if (name == 4 && strncmp(argv[i], "only", 4) == 0)
            options.only = value + 1;
        else if (name == 3 && strncmp(argv[i], "dir", 3) == 0)
            options.dir = value + 1;
        else if (name == 2 && strncmp(argv[i], "so", 2) == 0)
            options.so = value + 1;
        else if (name == 3 && strncmp(argv[i], "tsv", 3) == 0)
            options.tsv = value + 1;
        else
            bench_die("usage: bench_sql [n=1000000] [rounds=3] [quick=1] [only=random|others|giant] "
                      "[dir=/tmp] [so=./lsmvtab.so] [tsv=FILE]");
    }
    if (options.n < 10000 || options.rounds < 1 || options.rounds > ROUNDS_MAX - 2)
        bench_die("n is at least 10000, rounds is 1 to %d", ROUNDS_MAX - 2);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--side") == 0)
        return side_main(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10));
    parse_options(argc, argv);
    snprintf(options.work, sizeof(options.work), "%s/lsmvtab-bench-XXXXXX", options.dir);
    snprintf(options.giant, sizeof(options.giant), "%s/lsmvtab-bench-1g", options.dir);
    if (mkdtemp(options.work) == NULL)
        bench_die("%s: %s", options.work, strerror(errno));

    printf("SQLite %s; n = %" PRIu64 " rows of %d + %d bytes, %d rounds%s; WAL, synchronous=NORMAL "
           "where nothing else is said\n", sqlite3_libversion(), options.n, KEY_SIZE, VALUE_SIZE,
           options.rounds, options.quick ? ", quick" : "");
    printf("lsm: budget %d MiB; ordinary: WITHOUT ROWID, page cache %d MiB; default: WITHOUT "
           "ROWID, page cache 2 MB. SQLite's lsm1 is left out: Debian does not package it.\n",
           MEMORY_MIB, MEMORY_MIB);
    printf("\"x\" is lsm / other, of reads the time. cpu x: processor time of all threads over "
           "ordinary's. aim: rates over \"default\" that would lead every peer.\n\n");
    print_head();
    if (wanted("random"))
        measure_random();
    if (wanted("others"))
        measure_others();
    if (wanted("giant"))
        measure_giant();
    bench_remove_tree(options.work);
    if (options.tsv)
        write_tsv();
    printf("\n%d goals missed\n", missed);
    return 0;
}

/*
 * kill.c -- a writer is killed in the middle of a load, again and again, and
 * what it acknowledged is there.
 *
 *     writer                              this process
 *     BEGIN; 100 rows into `again` (lsm) and into `again_plain` (ordinary); COMMIT
 *     "commit n is done" ---- pipe ---->  n
 *                             <--------   SIGKILL, at some moment
 *                                         opens the database: both tables hold the commits
 *                                         1 .. n, or 1 .. n + 1: the last may have been
 *                                         complete with its word not yet in the pipe
 *
 * What is in the pipe survives the writer. The rows come from the ordinary table of
 * the first load, in key order, so commit n is rows 100 n - 99 .. 100 n of it: the
 * next writer goes on where the tables end.
 *
 * This shows that a process may die at any moment. That a power cut is survived
 * too is shown by tests/sim, with a disk that forgets.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/demo/table.h"

#define COMMIT_ROWS 100
#define KILL_COUNT 6
#define AGAIN_ROWS_MAX 200000   /* of the large load only a part is written again */

static const char *table_name(const struct demo *demo)
{
    return demo->is_large ? "contents" : "files";
}

/* The key's columns, and all. */
static const char *key_columns(const struct demo *demo)
{
    return demo->is_large ? "path, package, list" : "path";
}

static const char *columns(const struct demo *demo)
{
    return demo->is_large ? "path, package, section, list"
                          : "path, size, mode, mtime, target, package, md5";
}

static int column_count(const struct demo *demo)
{
    return demo->is_large ? 4 : 7;
}

static void create_again(struct demo *demo)
{
    sqlite3 *db = demo_open(demo, demo_database(DEMO_LSM), true);

    demo_exec(db, "CREATE VIRTUAL TABLE again USING lsm(%s, n INTEGER, PRIMARY KEY(%s))",
              columns(demo), key_columns(demo));
    demo_exec(db, "CREATE TABLE again_plain(%s, n INTEGER, PRIMARY KEY(%s)) WITHOUT ROWID",
              columns(demo), key_columns(demo));
    demo_close(db);
}

static void bind_columns(sqlite3_stmt *to, sqlite3_stmt *from, int count, int64_t n)
{
    for (int i = 0; i < count; i++)
        sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
    sqlite3_bind_int64(to, count + 1, n);
}

/* ---- the writer, a process of its own ------------------------------------------- */

void demo_write_again(struct demo *demo, int ack_fd, const char *journal_mode)
{
    sqlite3 *db = demo_open(demo, demo_database(DEMO_LSM), true);
    sqlite3 *from_db = demo_open(demo, demo_database(DEMO_ORDINARY), false);
    int count = column_count(demo);
    sqlite3_stmt *from, *to[2];
    int64_t n;
    bool has_row;

    demo_exec(db, "PRAGMA journal_mode = %s", journal_mode);
    n = demo_integer(db, "SELECT coalesce(max(n), 0) FROM again_plain");
    from = demo_prepare(from_db, "SELECT %s FROM %s ORDER BY %s LIMIT %d - %lld OFFSET %lld",
                        columns(demo), table_name(demo), key_columns(demo), AGAIN_ROWS_MAX,
                        (long long)n * COMMIT_ROWS, (long long)n * COMMIT_ROWS);
    to[0] = demo_prepare(db, "INSERT INTO again VALUES(?%.*s)", 2 * count, ",?,?,?,?,?,?,?");
    to[1] = demo_prepare(db, "INSERT INTO again_plain VALUES(?%.*s)", 2 * count,
                         ",?,?,?,?,?,?,?");
    has_row = demo_step(from);
    while (has_row) {
        uint64_t done = (uint64_t)++n;

        demo_exec(db, "BEGIN");
        for (int i = 0; i < COMMIT_ROWS && has_row; i++) {
            for (int side = 0; side < 2; side++) {
                bind_columns(to[side], from, count, n);
                demo_step(to[side]);
                sqlite3_reset(to[side]);
            }
            has_row = demo_step(from);
        }
        demo_exec(db, "COMMIT");
        if (write(ack_fd, &done, sizeof(done)) != (ssize_t)sizeof(done))
            exit(3);
    }
    sqlite3_finalize(from);
    sqlite3_finalize(to[0]);
    sqlite3_finalize(to[1]);
    demo_close(from_db);
    demo_close(db);
}

/* ---- the one who kills ------------------------------------------------------------ */

static pid_t start_writer(const struct demo *demo, const char *journal_mode, int *ack_fd)
{
    char fd_text[16];
    int fds[2];
    pid_t pid;

    if (pipe(fds) != 0 || (pid = fork()) < 0) {
        perror("demo");
        exit(2);
    }
    if (pid == 0) {
        close(fds[0]);
        snprintf(fd_text, sizeof(fd_text), "%d", fds[1]);
        execl("/proc/self/exe", "demo", "write-again", demo->extension, demo->directory,
              demo->root, demo->is_large ? "large" : "usr", fd_text, journal_mode, (char *)NULL);
        perror("demo: exec");
        _exit(127);
    }
    close(fds[1]);
    *ack_fd = fds[0];
    return pid;
}

/* The newest commit in the pipe after waiting for `until`; 0: it is empty and the writer gone. */
static uint64_t read_acks(int fd, uint64_t until)
{
    uint64_t n = 0, last = 0;
    ssize_t got;

    while (last < until) {
        got = read(fd, &n, sizeof(n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)sizeof(n))
            break;
        last = n;
    }
    return last;
}

/* The rows of one side as the first load has them: 1 .. n, each with its commit. */
static void sum_again(struct demo *demo, sqlite3 *db, const char *table, struct demo_sum *sum)
{
    sqlite3_stmt *stmt = demo_prepare(db, "SELECT %s, n FROM %s ORDER BY %s", columns(demo), table,
                                      key_columns(demo));

    *sum = (struct demo_sum){ 0, 0, { 0, 0 }, 0 };
    demo_sum_select(sum, stmt);
    sqlite3_finalize(stmt);
}

static void sum_expected(struct demo *demo, uint64_t commits, struct demo_sum *sum)
{
    sqlite3 *db = demo_open(demo, demo_database(DEMO_ORDINARY), false);
    sqlite3_stmt *stmt;
    uint64_t rows = commits * COMMIT_ROWS;

    if (rows > AGAIN_ROWS_MAX)
        rows = AGAIN_ROWS_MAX;
    stmt = demo_prepare(db, "SELECT %s, (row_number() OVER (ORDER BY %s) + %d) / %d FROM %s "
                        "ORDER BY %s LIMIT %llu", columns(demo), key_columns(demo),
                        COMMIT_ROWS - 1, COMMIT_ROWS, table_name(demo), key_columns(demo),
                        (unsigned long long)rows);
    *sum = (struct demo_sum){ 0, 0, { 0, 0 }, 0 };
    demo_sum_select(sum, stmt);
    sqlite3_finalize(stmt);
    demo_close(db);
}

bool demo_check_again(struct demo *demo, uint64_t acknowledged, uint64_t *found)
{
    sqlite3 *db = demo_open(demo, demo_database(DEMO_LSM), true);
    struct demo_sum expected, lsm, plain;

    *found = (uint64_t)demo_integer(db, "SELECT coalesce(max(n), 0) FROM again_plain");
    sum_again(demo, db, "again", &lsm);
    sum_again(demo, db, "again_plain", &plain);
    sum_expected(demo, *found, &expected);
    demo_close(db);
    return (*found == acknowledged || *found == acknowledged + 1) && lsm.list == expected.list
           && plain.list == expected.list && lsm.rows == expected.rows
           && plain.rows == expected.rows;
}

void demo_kill(struct demo *demo)
{
    uint64_t acknowledged = 0, commits, found;
    bool is_right;
    double rows = 0;
    int status;

    demo_figure_get(demo, "rows", &rows);
    if (rows > AGAIN_ROWS_MAX)
        rows = AGAIN_ROWS_MAX;
    commits = ((uint64_t)rows + COMMIT_ROWS - 1) / COMMIT_ROWS;
    srand((unsigned)getpid());
    create_again(demo);
    printf("   %s commits of %d rows into two tables, and %d kills\n", demo_count(commits),
           COMMIT_ROWS, KILL_COUNT);
    for (int i = 0; i < KILL_COUNT; i++) {
        const char *mode = i % 2 ? "DELETE" : "WAL";
        /* A commit costs some syncs in DELETE mode: fewer of them. */
        uint64_t share = i % 2 ? commits / 40 : commits / (KILL_COUNT - 2);
        uint64_t until = acknowledged + 1 + (share ? (uint64_t)rand() % share + share / 3 : 0);
        uint64_t last;
        int fd;
        pid_t pid;

        if (until >= commits)
            until = commits - 1;
        pid = start_writer(demo, mode, &fd);
        last = read_acks(fd, until);
        usleep((useconds_t)(rand() % 4000));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        if (last)
            acknowledged = last;
        last = read_acks(fd, UINT64_MAX);
        if (last)
            acknowledged = last;
        close(fd);
        demo_check(demo, WIFSIGNALED(status) || acknowledged == commits,
                   "SIGKILL after %s acknowledged commits, %s", demo_count(acknowledged), mode);
        is_right = demo_check_again(demo, acknowledged, &found);
        demo_check(demo, is_right, "  opened again: commits 1 .. %s, no other row, on both sides%s",
                   demo_count(found), found == acknowledged ? "" : " (the last had not been told)");
        acknowledged = found;
    }
    if (acknowledged < commits) {
        int fd;
        pid_t pid = start_writer(demo, "WAL", &fd);

        read_acks(fd, UINT64_MAX);
        close(fd);
        waitpid(pid, &status, 0);
    }
    is_right = demo_check_again(demo, commits, &found) && found == commits;
    demo_check(demo, is_right, "the last writer was left alone: all %s commits, rows as in the "
               "first load", demo_count(commits));
    demo_figure_set(demo, "kills", KILL_COUNT);
}

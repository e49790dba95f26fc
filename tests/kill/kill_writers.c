/*
 * kill_writers.c -- real processes on a real disk, killed with SIGKILL at random moments.
 *
 * A cycle: two writers are started, one owns the store and the other waits for it.
 * The first is killed, the second goes on from what is there and is killed, too; then a
 * reader verifies (one in four is killed in the middle and another begins). Journal
 * mode and synchronous change from writer to writer. The memory budget is 1 MiB, so
 * flushes, compactions and spilled transactions are always under way.
 *
 * Transaction n writes what is a function of n (kind_of), and the row n of table t.
 * Writers say `n` on a pipe once COMMIT has returned. So after a kill max(t.n) is the
 * last n that was said, or the next, and everything is what so many transactions make.
 *
 *     t    lsm        a row for each n, and row 0: the sum of all kind SUM
 *     u    lsm        rows (n, 0..) of kinds BATCH, until kind TRIM deletes them
 *     p    ordinary   a row for each joint n, and row 0 as in t
 *     w    lsm, q ordinary, in an attached file: a row for each kind BOTH
 *
 * The controller itself never opens the database. KILL_CYCLES=n: as many cycles.
 */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

#define BATCH_ROWS 300          /* 300 KB: over an eighth of the budget */
#define TRIM_KEEPS 60

enum kind { SOLO, JOINT, BATCH, SUM, BOTH, TRIM, SAVEPOINT, REPLACE };

static enum kind kind_of(int64_t n)
{
    static const enum kind kinds[20] = {
        SOLO, JOINT, SOLO, SUM, BOTH, SOLO, JOINT, SAVEPOINT, REPLACE, BATCH,
        SOLO, SUM, JOINT, BOTH, SOLO, TRIM, SOLO, JOINT, SUM, SOLO,
    };

    return kinds[n % 20];
}

/* ---- in a child: SQL ----------------------------------------------------------------- */

static int report_fd;           /* a child's words: "n 17", "FAIL why", "ok 17" */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[500];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (size > (int)sizeof(line) - 2)
        size = (int)sizeof(line) - 2;
    line[size] = '\n';
    if (write(report_fd, line, (size_t)size + 1) < 0)
        _exit(3);
}

static void must(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void must(sqlite3 *db, const char *format, ...)
{
    va_list args;
    char *sql;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        say("FAIL %.200s: %s (%d)", sql, sqlite3_errmsg(db), sqlite3_extended_errcode(db));
        _exit(2);
    }
    sqlite3_free(sql);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t result;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK
        || sqlite3_step(stmt) != SQLITE_ROW) {
        say("FAIL %.200s: %s (%d)", sql, sqlite3_errmsg(db), sqlite3_extended_errcode(db));
        _exit(2);
    }
    result = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return result;
}

static sqlite3 *db_open(const char *dir)
{
    char path[200];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/main.db", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK)
        _exit(4);
    sqlite3_busy_timeout(db, 20000);
    must(db, "ATTACH '%s/other.db' AS aux", dir);
    return db;
}

static void set_modes(sqlite3 *db, unsigned choice)
{
    static const char *const journals[] = { "WAL", "DELETE", "WAL", "TRUNCATE", "PERSIST" };
    static const char *const syncs[] = { "FULL", "NORMAL", "EXTRA" };
    const char *journal = journals[choice % 5], *sync = syncs[choice / 5 % 3];
    char sql[200];

    /* Refused while the other writer has the file open. */
    sqlite3_snprintf(sizeof(sql), sql, "PRAGMA main.journal_mode = %s; PRAGMA aux.journal_mode = %s",
                     journal, journal);
    sqlite3_exec(db, sql, NULL, NULL, NULL);
    must(db, "PRAGMA main.synchronous = %s", sync);
    must(db, "PRAGMA aux.synchronous = %s", sync);
}

static void create(const char *dir)
{
    sqlite3 *db = db_open(dir);

    must(db, "CREATE VIRTUAL TABLE t USING lsm(n INTEGER PRIMARY KEY, kind INTEGER, v)");
    must(db, "CREATE VIRTUAL TABLE u USING lsm(n INTEGER, i INTEGER, v, PRIMARY KEY(i, n))");
    must(db, "CREATE TABLE p(n INTEGER PRIMARY KEY, v)");
    must(db, "CREATE VIRTUAL TABLE aux.w USING lsm(n INTEGER PRIMARY KEY, v)");
    must(db, "CREATE TABLE aux.q(n INTEGER PRIMARY KEY)");
    must(db, "INSERT INTO t(t, _arg) VALUES('memory', '1MB')");
    must(db, "BEGIN; INSERT INTO t VALUES(0, 0, 0); INSERT INTO p VALUES(0, 0); COMMIT");
    sqlite3_close(db);
    say("ok 0");
}

/* A transaction that reads first is refused at its first write, without waiting, while the process that
   has just started tries to change the journal mode. */
static void begin(sqlite3 *db, sqlite3_int64 n, enum kind kind)
{
    char sql[100];

    sqlite3_snprintf(sizeof(sql), sql, "INSERT INTO p VALUES(%lld, %d)", n, kind);
    must(db, "BEGIN");
    if (n % 3 == 0) {
        must(db, "SELECT count(*) FROM u");
        while ((sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff) == SQLITE_BUSY)
            must(db, "ROLLBACK; BEGIN; SELECT count(*) FROM u");
        if (sqlite3_errcode(db) != SQLITE_OK)
            must(db, "%s", sql);
    } else {
        must(db, "%s", sql);
    }
}

static void transact(sqlite3 *db, int64_t n)
{
    enum kind kind = kind_of(n);
    sqlite3_int64 id = n;

    if (kind == SOLO) {
        must(db, "INSERT INTO t VALUES(%lld, %d, 'solo')", id, kind);
        return;
    }
    if (kind == REPLACE) {      /* solo again; a statement with several rows */
        must(db, "INSERT OR REPLACE INTO t VALUES(%lld, %d, 'early'), (%lld, %d, 'late')", id, kind, id,
             kind);
        return;
    }
    begin(db, id, kind);
    switch (kind) {
    case BATCH:
        must(db, "INSERT INTO u WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c "
                 "WHERE i < %d - 1) SELECT %lld, i, printf('%%d-%%d-', %lld, i) || "
                 "hex(randomblob(200)) || printf('%%.600c', 'x') FROM c", BATCH_ROWS, id, id);
        break;
    case SUM:
        must(db, "UPDATE t SET v = v + %lld WHERE n = 0", id);
        must(db, "UPDATE p SET v = v + %lld WHERE n = 0", id);
        break;
    case BOTH:
        must(db, "INSERT INTO w VALUES(%lld, zeroblob(2000)); INSERT INTO q VALUES(%lld)", id, id);
        break;
    case TRIM:
        must(db, "DELETE FROM u WHERE n < %lld", id - TRIM_KEEPS);
        break;
    case SAVEPOINT:
        must(db, "SAVEPOINT s; INSERT INTO t VALUES(%lld, 99, 'never'); DELETE FROM p; "
                 "DELETE FROM u WHERE n %% 2; ROLLBACK TO s", id);
        break;
    default:
        break;
    }
    must(db, "INSERT INTO t VALUES(%lld, %d, 'joint')", id, kind);
    must(db, "COMMIT");
}

static void expect(sqlite3 *db, const char *sql, int64_t wanted)
{
    int64_t found = number(db, sql);

    if (found != wanted)
        say("FAIL %.400s: %" PRId64 ", not %" PRId64, sql, found, wanted);
    if (found != wanted)
        _exit(2);
}

static bool is_wal(sqlite3 *db)
{
    return number(db, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'") == 1;
}

static bool is_other_wal(sqlite3 *db)
{
    return number(db, "SELECT count(*) FROM pragma_journal_mode WHERE schema = 'aux' AND journal_mode = 'wal'") == 1;
}

/*
 * The other file. With rollback journals both files commit as one. In WAL one commits after
 * the other (SQLite's own limit), each with its lsm table: the last transaction may be
 * missing there, and is brought back. Between the changes of their journal modes only the
 * other one may be in WAL: it commits before the main file's journal goes, and may be ahead.
 */
static void check_attached(sqlite3 *db)
{
    int64_t missing;

    expect(db, "SELECT count(*) FROM (SELECT n FROM w EXCEPT SELECT n FROM q)", 0);
    expect(db, "SELECT count(*) FROM (SELECT n FROM q EXCEPT SELECT n FROM w)", 0);
    if (!is_wal(db) && is_other_wal(db) && number(db, "SELECT count(*) FROM q WHERE n > (SELECT max(n) FROM t)") == 1)
        must(db, "BEGIN IMMEDIATE; DELETE FROM w WHERE n > (SELECT max(n) FROM t); "
                 "DELETE FROM q WHERE n > (SELECT max(n) FROM t); COMMIT");
    expect(db, "SELECT count(*) FROM (SELECT n FROM q EXCEPT SELECT n FROM p WHERE v = 4)", 0);
    missing = number(db, "SELECT count(*) FROM p WHERE v = 4 AND n NOT IN (SELECT n FROM q)");
    if (missing == 1 && is_wal(db)) {
        expect(db, "SELECT max(n) IN (SELECT n FROM q) FROM p", 0);
        must(db, "BEGIN IMMEDIATE; INSERT INTO w SELECT max(n), 'late' FROM p; "
                 "INSERT INTO q SELECT max(n) FROM p; COMMIT");
    } else if (missing) {
        say("FAIL the other file lacks %" PRId64 " transactions", missing);
        _exit(2);
    }
}

/* Go on for ever from what is there. */
static void writer(const char *dir, unsigned choice)
{
    sqlite3 *db = db_open(dir);
    int64_t n;

    set_modes(db, choice);
    /* It waits for the store, and then shows what was there when it began, or says that it cannot. */
    while (sqlite3_exec(db, "SELECT v FROM t WHERE n = 0", NULL, NULL, NULL) == SQLITE_BUSY
           && sqlite3_extended_errcode(db) == SQLITE_BUSY_SNAPSHOT)
        continue;
    n = number(db, "SELECT max(n) FROM t");
    say("from %" PRId64, n);
    check_attached(db);
    for (;;) {
        transact(db, ++n);
        say("n %" PRId64, n);
        if (n % 50 == 49)       /* SQLITE_BUSY while the waiting process keeps SQLite's log from being copied */
            sqlite3_exec(db, n % 100 == 49 ? "INSERT INTO u(u) VALUES('flush')"
                                           : "INSERT INTO u(u) VALUES('compact')", NULL, NULL, NULL);
        if (n % 30 == 7)
            must(db, "BEGIN; INSERT INTO t VALUES(-1, 0, 0); INSERT INTO p VALUES(-1, 0); ROLLBACK");
    }
}

/* Everything is what transactions 1 to max(t.n) make. */
static void verify(const char *dir)
{
    sqlite3 *db = db_open(dir);
    int64_t n, last_trim = 0, batches = 0, sum = 0, joint = 0;

    must(db, "BEGIN");
    n = number(db, "SELECT max(n) FROM t");
    for (int64_t i = 1; i <= n; i++) {
        enum kind kind = kind_of(i);

        joint += kind != SOLO && kind != REPLACE;
        sum += kind == SUM ? i : 0;
        last_trim = kind == TRIM ? i : last_trim;
    }
    for (int64_t i = 1; i <= n; i++)
        batches += kind_of(i) == BATCH && i >= last_trim - TRIM_KEEPS;
    expect(db, "SELECT count(*) FROM t WHERE n > 0", n);
    expect(db, "SELECT count(*) FROM t WHERE n < 0", 0);
    expect(db, "SELECT count(*) FROM t WHERE n > 0 AND v <> CASE kind WHEN 0 THEN 'solo' WHEN 7 THEN "
               "'late' ELSE 'joint' END", 0);
    expect(db, "SELECT count(*) FROM p WHERE n > 0", joint);
    expect(db, "SELECT count(*) FROM (SELECT n, kind FROM t WHERE n > 0 AND kind NOT IN (0, 7) EXCEPT "
               "SELECT n, v FROM p)", 0);
    expect(db, "SELECT v FROM t WHERE n = 0", sum);
    expect(db, "SELECT v FROM p WHERE n = 0", sum);
    expect(db, "SELECT count(*) FROM u", batches * BATCH_ROWS);
    expect(db, "SELECT count(*) FROM u WHERE v NOT GLOB n || '-' || i || '-*' OR "
               "length(v) <> 1000 + length(n || '-' || i || '-')", 0);
    must(db, "COMMIT");
    check_attached(db);
    if (sqlite3_close(db) != SQLITE_OK)
        say("FAIL close");
    say("ok %" PRId64, n);
}

/* ---- the controller -------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int fd;
    char buffer[4096];
    size_t size;
    int64_t from, last;         /* what it said; -1: nothing */
    bool is_ok;
    char failure[600];
};

static void child_start(struct child *child, void (*run)(const char *, unsigned), const char *dir,
                        unsigned choice)
{
    int fds[2];

    memset(child, 0, sizeof(*child));
    child->from = child->last = -1;
    if (pipe2(fds, O_CLOEXEC) != 0)
        abort();
    fflush(stdout);
    child->pid = fork();
    if (child->pid < 0)
        abort();
    if (child->pid == 0) {
        close(fds[0]);
        report_fd = fds[1];
        run(dir, choice);
        _exit(0);
    }
    close(fds[1]);
    child->fd = fds[0];
}

static void child_line(struct child *child, const char *line)
{
    if (strncmp(line, "from ", 5) == 0)
        child->from = child->last = strtoll(line + 5, NULL, 10);
    else if (strncmp(line, "n ", 2) == 0)
        child->last = strtoll(line + 2, NULL, 10);
    else if (strncmp(line, "ok ", 3) == 0) {
        child->is_ok = true;
        child->last = strtoll(line + 3, NULL, 10);
    } else
        snprintf(child->failure, sizeof(child->failure), "%.500s", line);
}

/* Read what it says until it is gone. */
static void child_drain(struct child *child)
{
    for (;;) {
        ssize_t got = read(child->fd, child->buffer + child->size,
                           sizeof(child->buffer) - child->size - 1);
        char *line = child->buffer, *end;

        if (got <= 0)
            break;
        child->size += (size_t)got;
        child->buffer[child->size] = '\0';
        while ((end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            child_line(child, line);
            line = end + 1;
        }
        child->size -= (size_t)(line - child->buffer);
        memmove(child->buffer, line, child->size);
    }
    close(child->fd);
    waitpid(child->pid, NULL, 0);
}

static void pause_us(uint64_t us)
{
    struct timespec time = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

    nanosleep(&time, NULL);
}

static void run_create(const char *dir, unsigned choice)
{
    (void)choice;
    create(dir);
}

static void run_writer(const char *dir, unsigned choice)
{
    writer(dir, choice);
}

static void run_verify(const char *dir, unsigned choice)
{
    (void)choice;
    verify(dir);
}

/* Did a successor find what was acknowledged, or that and the one in flight? */
static bool check_from(const struct child *child, int64_t acknowledged, const char *who)
{
    int64_t n = child->is_ok ? child->last : child->from;

    if (child->failure[0]) {
        printf("%s: %s\n", who, child->failure);
        return false;
    }
    if (n < 0 && !child->is_ok)
        return true;            /* killed before it could look */
    if (n < acknowledged || n > acknowledged + 1)
        printf("%s found %" PRId64 ", acknowledged was %" PRId64 "\n", who, n, acknowledged);
    return n >= acknowledged && n <= acknowledged + 1;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* One cycle; what is acknowledged now, or -1. */
static int64_t run_cycle(const char *dir, int64_t acknowledged, int64_t *kills)
{
    struct child first, second, reader;
    bool has_second = test_below(3) > 0;
    bool is_same;

    child_start(&first, run_writer, dir, (unsigned)test_below(15));
    if (has_second)
        child_start(&second, run_writer, dir, (unsigned)test_below(15));
    pause_us(1000 + test_below(test_below(3) ? 500000 : 20000));
    kill(first.pid, SIGKILL);
    if (has_second) {
        pause_us(1000 + test_below(300000));
        kill(second.pid, SIGKILL);
        /* Which of the two owned the store first is not said: by where they began. */
        child_drain(&second);
    }
    child_drain(&first);
    *kills += 1 + has_second;
    if (has_second && second.from >= 0 && first.from > second.from) {
        struct child swap = first;

        first = second;
        second = swap;
    }
    is_same = check_from(&first, acknowledged, "the first writer");
    acknowledged = larger(acknowledged, first.last);
    if (has_second) {
        is_same = check_from(&second, acknowledged, "the second writer") && is_same;
        acknowledged = larger(acknowledged, second.last);
    }
    if (test_below(4) == 0) {
        child_start(&reader, run_verify, dir, 0);
        pause_us(test_below(12000));
        kill(reader.pid, SIGKILL);
        child_drain(&reader);
        is_same = check_from(&reader, acknowledged, "the killed reader") && is_same;
        *kills += 1;
    }
    child_start(&reader, run_verify, dir, 0);
    child_drain(&reader);
    if (reader.failure[0] == '\0' && !reader.is_ok) {
        printf("the reader ended without a word\n");
        is_same = false;
    }
    is_same = check_from(&reader, acknowledged, "the reader") && is_same;
    return is_same ? reader.last : -1;
}

static void keep_for_study(const char *dir)
{
    char command[400];

    snprintf(command, sizeof(command), "rm -rf /tmp/lsmvtab-kill-failed && cp -r %s "
             "/tmp/lsmvtab-kill-failed", dir);
    if (system(command) == 0)
        printf("kept in /tmp/lsmvtab-kill-failed\n");
}

static void remove_dir(const char *dir)
{
    char command[200];

    snprintf(command, sizeof(command), "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

/* P-03 */
TEST(killed_writers_lose_nothing_that_was_acknowledged_and_leave_no_half)
{
    const char *given = getenv("KILL_CYCLES");
    int cycles = given ? atoi(given) : test_long() ? 1500 : 60;
    char dir[120];
    int64_t acknowledged = -1, total = 0, kills = 0;
    struct child child;

    for (int i = 0; i < cycles; i++) {
        if (i % 30 == 0) {      /* another store now and then: a verification reads all of it */
            total += acknowledged > 0 ? acknowledged : 0;
            if (i)
                remove_dir(dir);
            /* In memory a kill finds other work under way than syncs. */
            snprintf(dir, sizeof(dir), "%s/lsmvtab-kill-%d-%d", i % 60 ? "/dev/shm" : test_dir(),
                     (int)getpid(), i);
            if (mkdir(dir, 0700) != 0)
                snprintf(dir, sizeof(dir), "%s/%d", test_dir(), i);
            mkdir(dir, 0700);
            child_start(&child, run_create, dir, 0);
            child_drain(&child);
            if (!CHECK(child.is_ok))
                printf("%s\n", child.failure);
            acknowledged = 0;
        }
        acknowledged = run_cycle(dir, acknowledged, &kills);
        if (!CHECK(acknowledged >= 0)) {
            printf("in cycle %d\n", i);
            keep_for_study(dir);
            remove_dir(dir);
            return;
        }
    }
    total += acknowledged;
    remove_dir(dir);
    printf("%d cycles, %" PRId64 " kills, %" PRId64 " transactions\n", cycles, kills, total);
    CHECK(total > cycles);      /* they did get somewhere */
}

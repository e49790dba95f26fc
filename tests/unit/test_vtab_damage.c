/*
 * test_vtab_damage.c -- a pair of which one byte, one file or one bit of the token is another.
 * Whatever it is: an error that says so, or exactly the rows that were there; never other rows,
 * never a crash. What lsm_check() calls whole has exactly the rows.
 *
 * Each line `ok B_nn_...` is a claim of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

enum { ROWS = 300 };

static char dir[150], golden[8192];

static bool run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static sqlite3 *open_pair(const char *name)
{
    char path[200];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/%s.db", dir, name);
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    return db;
}

/* What the query gives, as one text. False: it failed. */
static bool read_all(sqlite3 *db, const char *sql, char *out, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    size_t used = 0;

    out[0] = '\0';
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);

        if (used < size)
            used += (size_t)snprintf(out + used, size - used, "%s;", text ? text : "NULL");
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE;
}

static const char all_rows[] =
    "SELECT count(*) || ' ' || sum(a) || ' ' || sum(length(b)) || ' ' || group_concat(substr(b, 1, 6)) FROM t "
    "UNION ALL SELECT count(*) || ' ' || total(value) FROM u UNION ALL SELECT count(*) FROM p";

/* Tables in two levels, rows in the log only, a joint transaction last. */
static void make_pair(void)
{
    char sql[300];
    sqlite3 *db;

    snprintf(dir, sizeof dir, "%s", test_dir());
    db = open_pair("gold");
    CHECK(run(db, "PRAGMA page_size = 512; CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b);"
                  "CREATE VIRTUAL TABLE u USING lsm; CREATE TABLE p(a)"));
    snprintf(sql, sizeof sql, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
             "INSERT INTO t SELECT i, printf('%%05d-', i * 7) || 'abc' FROM n; INSERT INTO t(t) VALUES('compact')",
             ROWS);
    CHECK(run(db, sql));
    CHECK(run(db, "DELETE FROM t WHERE a BETWEEN 20 AND 30; INSERT INTO u VALUES(1, 1), (2, 2);"
                  "INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(1000, 'in the log')"));
    CHECK(run(db, "BEGIN; INSERT INTO t VALUES(1001, 'joint'); INSERT INTO p VALUES(1); COMMIT"));
    CHECK(run(db, "INSERT INTO u VALUES(3, 3)"));
    CHECK(read_all(db, all_rows, golden, sizeof golden));
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void copy_pair(void)
{
    char command[600];

    snprintf(command, sizeof command, "cd '%s' && rm -rf try.db* && cp gold.db try.db && cp -r gold.db-lsm "
             "try.db-lsm && rm -f try.db-lsm/LOCK", dir);
    CHECK_INT(system(command), 0);
}

static struct {
    int told, harmless, wrong, unseen;
} counts;

/* Open the damaged copy, read everything, ask lsm_check(). */
static void judge(const char *what, long at)
{
    static char found[8192];
    char said[1000];
    sqlite3 *db = open_pair("try");
    bool is_read = read_all(db, all_rows, found, sizeof found);
    int rc = sqlite3_extended_errcode(db);
    bool is_same = is_read && strcmp(found, golden) == 0;
    bool is_whole = read_all(db, "SELECT lsm_check()", said, sizeof said) && strcmp(said, "ok;") == 0;

    if (!is_read && (rc & 0xff) != SQLITE_CORRUPT && (rc & 0xff) != SQLITE_ERROR &&
        (rc & 0xff) != SQLITE_IOERR && (rc & 0xff) != SQLITE_CANTOPEN && (rc & 0xff) != SQLITE_NOTADB) {
        printf("  %s at %ld: code %d %s\n", what, at, rc, sqlite3_errmsg(db));
        counts.wrong++;
    } else if (is_read && !is_same) {
        printf("  %s at %ld: other rows\n", what, at);
        counts.wrong++;
    }
    if (is_whole && !is_same) {
        printf("  %s at %ld: lsm_check() says ok\n", what, at);
        counts.wrong++;
    }
    counts.told += !is_read;
    counts.harmless += is_same;
    counts.unseen += is_same && is_whole;
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void damage_byte(const char *path, long at, uint8_t flip)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;

    CHECK(pread(fd, &byte, 1, at) == 1);
    byte ^= flip;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static long size_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (long)info.st_size : -1;
}

struct files {
    char names[40][60];
    int count;
};

static struct files list_files(const char *suffix)
{
    struct files files = { .count = 0 };
    struct dirent *entry;
    char path[200];
    DIR *d;

    snprintf(path, sizeof path, "%s/gold.db-lsm", dir);
    d = opendir(path);
    while (d && (entry = readdir(d)) && files.count < 40)
        if (strstr(entry->d_name, suffix) && entry->d_name[0] != '.')
            snprintf(files.names[files.count++], 60, "%.59s", entry->d_name);
    if (d)
        closedir(d);
    return files;
}

static void path_of(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/try.db-lsm/%s", dir, name);
}

/* One byte of each file of a kind after another. `wanted`: so many must be told at least, of 100. */
static void flip_bytes(const char *claim, const char *suffix, int told_percent, bool end_may_be_torn)
{
    struct files files = list_files(suffix);
    int failures = atomic_load(&test_state.failures), tries = 0;
    char path[260];

    memset(&counts, 0, sizeof counts);
    CHECK(files.count > 0);
    copy_pair();
    for (int f = 0; f < files.count; f++) {
        long size, step;

        path_of(path, sizeof path, files.names[f]);
        size = size_of(path);
        step = test_long() ? 1 : 1 + size / (140 / files.count + 1);
        for (long at = (long)test_below((uint64_t)step); at < size; at += step) {
            uint8_t flip = test_below(2) ? (uint8_t)(1u << test_below(8)) : 0xff;

            damage_byte(path, at, flip);
            judge(files.names[f], at);
            damage_byte(path, at, flip);
            tries++;
        }
    }
    CHECK_INT(counts.wrong, 0);
    if (!end_may_be_torn)
        CHECK_INT(counts.unseen, 0);    /* what a query need not read, lsm_check() does */
    CHECK(counts.told * 100 >= tries * told_percent);
    printf("  %d of %d told, %d read all the same, %d with lsm_check() ok\n", counts.told, tries,
           counts.harmless, counts.unseen);
    if (atomic_load(&test_state.failures) == failures)
        printf("ok %s\n", claim);
}

/* B-01: Filters, and bytes that only lsm_check() reads, are no error of a query. */
TEST(each_byte_of_a_pair_that_is_another_is_told_or_harmless)
{
    make_pair();
    flip_bytes("B_01_a_byte_of_a_table_is_told_or_harmless", ".ldb", 40, false);
    flip_bytes("B_02_a_byte_of_the_MANIFEST_is_told_or_harmless", "MANIFEST", 75, true);
    flip_bytes("B_03_a_byte_of_the_log_is_told_or_harmless", ".log", 90, false);
    flip_bytes("B_05_a_byte_of_CURRENT_is_harmless_where_there_is_one_MANIFEST", "CURRENT", 0, false);
}

enum whole_kind { GONE, EMPTY, SHORTER, LONGER, LONGER_ZEROS, SWAPPED, KINDS };

static const char *const whole_names[KINDS] = {
    "is_gone", "is_empty", "is_one_byte_shorter", "is_one_byte_longer", "is_4096_zeros_longer",
    "is_another_of_its_kind"
};

static void damage_file(const char *path, enum whole_kind kind)
{
    int fd;

    switch (kind) {
    case GONE: CHECK_INT(unlink(path), 0); break;
    case EMPTY: CHECK_INT(truncate(path, 0), 0); break;
    case SHORTER: CHECK_INT(truncate(path, size_of(path) - 1), 0); break;
    case LONGER_ZEROS: CHECK_INT(truncate(path, size_of(path) + 4096), 0); break;
    default:
        fd = open(path, O_WRONLY | O_APPEND);
        CHECK(write(fd, "x", 1) == 1);
        close(fd);
    }
}

/* B-07, B-08, B-09, B-10, C-03, T-05. What must be told: not a LOCK, a CURRENT, or what stands behind a
   log's or a MANIFEST's end. */
TEST(each_file_of_a_pair_that_is_gone_cut_longer_or_another_is_told_or_harmless)
{
    static const char *const suffixes[] = { ".ldb", ".log", "MANIFEST", "CURRENT" };
    static const char *const claims[] = { "B_07_B_09_B_10_C_03_table", "B_08_B_10_T_05_log", "B_10_MANIFEST",
                                          "C_10_CURRENT" };
    char path[260], other[260];

    make_pair();
    for (int s = 0; s < 4; s++) {
        struct files files = list_files(suffixes[s]);

        for (int kind = 0; kind < KINDS; kind++) {
            int failures = atomic_load(&test_state.failures);
            bool must = s == 0 || (s == 1 && kind <= SHORTER) || (s == 2 && kind <= EMPTY);

            if (kind == SWAPPED && files.count < 2)
                continue;
            memset(&counts, 0, sizeof counts);
            for (int f = 0; f < files.count; f++) {
                copy_pair();
                path_of(path, sizeof path, files.names[f]);
                if (kind == SWAPPED) {
                    path_of(other, sizeof other, files.names[(f + 1) % files.count]);
                    CHECK_INT(rename(other, path), 0);
                } else {
                    damage_file(path, (enum whole_kind)kind);
                }
                judge(files.names[f], kind);
            }
            CHECK_INT(counts.wrong, 0);
            if (must)
                CHECK_INT(counts.told, files.count);
            CHECK_INT(counts.told + counts.harmless, files.count);
            if (atomic_load(&test_state.failures) == failures)
                printf("ok %s_that_%s_is_told_or_harmless\n", claims[s], whole_names[kind]);
        }
    }
}

static bool set_data(const uint8_t *data, int size)
{
    sqlite3_stmt *stmt = NULL;
    char path[200];
    sqlite3 *db = NULL;
    bool ok;

    snprintf(path, sizeof path, "%s/try.db", dir);
    ok = sqlite3_open(path, &db) == SQLITE_OK &&
         sqlite3_prepare_v2(db, "UPDATE lsmvtab_store SET data = ?", -1, &stmt, NULL) == SQLITE_OK &&
         sqlite3_bind_blob(stmt, 1, data, size, SQLITE_STATIC) == SQLITE_OK &&
         sqlite3_step(stmt) == SQLITE_DONE;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return ok;
}

static int get_data(uint8_t data[200])
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = open_pair("gold");
    int size = 0;

    if (sqlite3_prepare_v2(db, "SELECT data FROM lsmvtab_store", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW && (size = sqlite3_column_bytes(stmt, 0)) <= 200)
        memcpy(data, sqlite3_column_blob(stmt, 0), (size_t)size);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return size;
}

/* B-06, H-01 */
TEST(B_06_H_01_any_other_bytes_in_the_row_of_the_token_are_told)
{
    uint8_t data[200] = { 0 };
    int size, tries = 0;

    make_pair();
    size = get_data(data);
    CHECK(size > 20);
    copy_pair();
    memset(&counts, 0, sizeof counts);
    for (int bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(set_data(data, size));
        judge("bit of the token", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        tries++;
    }
    for (int cut = 0; cut < 199; cut += cut < size ? 1 : 20) {      /* shorter and longer */
        if (cut == size)
            continue;
        CHECK(set_data(data, cut));
        judge("size of the token", cut);
        tries++;
    }
    for (int i = 0; i < (test_long() ? 3000 : 100); i++) {
        uint8_t noise[200];

        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)test_random();
        CHECK(set_data(noise, i % 2 ? size : (int)test_below(sizeof noise)));
        judge("noise for the token", i);
        tries++;
    }
    CHECK_INT(counts.wrong, 0);
    CHECK_INT(counts.told, tries);
    CHECK(set_data(data, size));
    memset(&counts, 0, sizeof counts);
    judge("the token as it was", 0);
    CHECK_INT(counts.unseen, 1);
}

/* test_filename.c -- names are written one way and only that way is read. */
#include "lsm/format/filename.h"
#include "tests/test.h"

static const char *written(enum lsm_file_kind kind, uint64_t number)
{
    static char name[LSM_FILENAME_SIZE];

    return lsm_filename(name, kind, number);
}

TEST(filename_writes_the_names_of_the_header)
{
    CHECK_STR(written(LSM_FILE_LOCK, 0), "LOCK");
    CHECK_STR(written(LSM_FILE_CURRENT, 0), "CURRENT");
    CHECK_STR(written(LSM_FILE_INFO_LOG, 0), "LOG");
    CHECK_STR(written(LSM_FILE_INFO_LOG_OLD, 0), "LOG.old");
    CHECK_STR(written(LSM_FILE_MANIFEST, 12), "MANIFEST-000012");
    CHECK_STR(written(LSM_FILE_LOG, 13), "000013.log");
    CHECK_STR(written(LSM_FILE_TABLE, 14), "000014.ldb");
    CHECK_STR(written(LSM_FILE_VLOG, 15), "000015.vlog");
    CHECK_STR(written(LSM_FILE_TEMP, 16), "000016.tmp");
    CHECK_STR(written(LSM_FILE_TABLE, 0), "000000.ldb");
    CHECK_STR(written(LSM_FILE_TABLE, 999999), "999999.ldb");
    CHECK_STR(written(LSM_FILE_TABLE, 1000000), "1000000.ldb");
    CHECK_STR(written(LSM_FILE_MANIFEST, UINT64_MAX), "MANIFEST-18446744073709551615");
}

TEST(filename_reads_back_what_it_writes)
{
    for (int kind = LSM_FILE_LOCK; kind <= LSM_FILE_TEMP; kind++) {
        for (int i = 0; i < 2000; i++) {
            uint64_t number = i < 10 ? (uint64_t)i : test_random() >> (2 + test_below(62)), got = 1;
            enum lsm_file_kind k = LSM_FILE_LOCK;

            if (kind < LSM_FILE_MANIFEST)
                number = 0;
            if (!CHECK(lsm_filename_parse(written((enum lsm_file_kind)kind, number), &k, &got)))
                return;
            CHECK_INT(k, kind);
            CHECK(got == number);
        }
    }
}

/* H-10 */
TEST(filename_leaves_strangers_alone)
{
    static const char *const strangers[] = {
        "", "LOCK ", "lock", "LOCKS", "LO", "LOG.old2", "LOG.", "CURRENT.tmp", "MANIFEST", "MANIFEST-",
        "MANIFEST-12", "MANIFEST-0000012", "MANIFEST-00001x", "MANIFEST-000012 ", "MANIFEST-000012.log",
        "13.log", "00013.log", "0000013.log", "-00013.log", "+00013.log", " 00013.log", "000013.LOG",
        "000013.log~", "000013.", "000013", ".log", "000013.sst", "000013log", "a00013.ldb",
        "18446744073709551616.ldb", "18446744073709551629.log", "99999999999999999999.vlog",
        "18446744073709551615.ldb", "4611686018427387905.log",          /* 2^62 and one */
        "MANIFEST-36893488147419103244", "000013.ldb/", "..", ".",
        "100000000000000000000000000000000000000000000000000000000000000000013.log",
    };

    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        enum lsm_file_kind kind;
        uint64_t number;

        if (lsm_filename_parse(strangers[i], &kind, &number))
            test_check(false, __FILE__, __LINE__, strangers[i], " was taken for ours");
    }
}

#include "lsm/util/status.h"
#include "tests/test.h"

TEST(status_text_is_never_null_and_empty_at_first)
{
    CHECK_STR(lsm_error_text(), "");
}

TEST(status_version_is_the_same_as_text_and_as_number)
{
    char text[32];
    uint32_t n = lsm_version_number();

    snprintf(text, sizeof text, "%u.%u.%u", n / 1000000, n / 1000 % 1000, n % 1000);
    CHECK_STR(lsm_version(), text);
    CHECK_STR(lsm_version(), LSM_VERSION);
    CHECK_INT(n, LSM_VERSION_NUMBER);
}

TEST(status_fail_keeps_the_text_and_gives_the_code_back)
{
    CHECK_INT(lsm_fail(LSM_BUSY, "process %d has %s", 42, "app.db-lsm"), LSM_BUSY);
    CHECK_STR(lsm_error_text(), "process 42 has app.db-lsm");
}

TEST(status_fail_may_quote_the_text_before_it)
{
    lsm_fail(LSM_IOERR, "inner");
    lsm_fail(LSM_IOERR, "outer: %s", lsm_error_text());
    CHECK_STR(lsm_error_text(), "outer: inner");
}

TEST(status_long_text_is_cut_and_ended)
{
    char big[2 * LSM_ERROR_TEXT_SIZE], small[8];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    lsm_fail(LSM_IOERR, "%s", big);
    CHECK_INT(strlen(lsm_error_text()), LSM_ERROR_TEXT_SIZE - 1);
    lsm_error_save(small, sizeof(small));
    CHECK_STR(small, "xxxxxxx");
    lsm_error_save(small, 0);
    CHECK_STR(small, "xxxxxxx");
}

TEST(status_errno_values_become_codes_the_caller_can_act_on)
{
    static const struct {
        int error;
        const char *what;
        int code;
    } map[] = {
        { ENOSPC, "write", LSM_FULL },      { EDQUOT, "write", LSM_FULL },
        { EFBIG, "write", LSM_FULL },       { ENOMEM, "open", LSM_NOMEM },
        { EROFS, "create", LSM_READONLY },  { EROFS, "open", LSM_READONLY },
        { EACCES, "open", LSM_CANTOPEN },   { EPERM, "open directory", LSM_CANTOPEN },
        { EACCES, "create", LSM_READONLY }, { EACCES, "remove", LSM_READONLY },
        { ENOENT, "open", LSM_NOTFOUND },   { EMFILE, "open", LSM_CANTOPEN },
        { ELOOP, "open", LSM_CANTOPEN },    { EINVAL, "open", LSM_CANTOPEN },
        { EINVAL, "read", LSM_IOERR },      { EAGAIN, "lock", LSM_BUSY },
        { ENOLCK, "lock", LSM_CANTOPEN },   { EIO, "read", LSM_IOERR },
        { EEXIST, "create", LSM_IOERR },    { 0, "open", LSM_OK },
    };

    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
        CHECK_RC(lsm_fail_os(map[i].error, map[i].what, "f"), map[i].code);
}

TEST(status_os_text_says_what_where_and_why)
{
    lsm_fail_os(ENOSPC, "write", "000012.log");
    CHECK_STR(lsm_error_text(), "write 000012.log: No space left on device (make room and try again; what was "
                                "committed is kept)");
    lsm_fail_os(EFBIG, "write", "000012.log");
    CHECK_STR(lsm_error_text(), "write 000012.log: File too large (the process or the file system allows no larger "
                                "file: ulimit -f)");
    lsm_fail_os(ENOMEM, "start thread", NULL);
    CHECK_STR(lsm_error_text(), "start thread: Cannot allocate memory");
    lsm_fail_os(987654, "read", "x");
    CHECK_STR(lsm_error_text(), "read x: error 987654");
}

TEST(status_corrupt_names_file_offset_and_reason)
{
    CHECK_INT(lsm_corrupt("000007.ldb", 4096, "block sum"), LSM_CORRUPT);
    CHECK_STR(lsm_error_text(), "000007.ldb: corrupt at offset 4096: block sum");
}

TEST(status_every_code_has_a_name)
{
    char name[32];

    for (int code = LSM_OK; code <= LSM_FSYNC; code++) {
        snprintf(name, sizeof(name), "%s", lsm_code_name(code));
        CHECK(strncmp(name, "LSM_", 4) == 0);
        CHECK(strcmp(name, "LSM_UNKNOWN") != 0);
    }
    CHECK_STR(lsm_code_name(LSM_FSYNC + 1), "LSM_UNKNOWN");
    CHECK_STR(lsm_code_name(-1), "LSM_UNKNOWN");
    CHECK_STR(lsm_code_name(LSM_BUSY), "LSM_BUSY");
}

TEST(status_zalloc_gives_zeros)
{
    struct lsm_os *os = lsm_os_posix_new();
    uint8_t *dirty = lsm_mem_alloc(os, 5000), *p;
    size_t sum = 0;

    memset(dirty, 0xff, 5000);
    lsm_mem_free(os, dirty);
    p = lsm_mem_zalloc(os, 5000);
    for (size_t i = 0; i < 5000; i++)
        sum += p[i];
    CHECK_INT(sum, 0);
    lsm_mem_free(os, p);
    lsm_os_posix_free(os);
}

#include "lsm/os/os.h"
#include "lsm/util/status.h"
#include "tests/test.h"

static void fail_often(void *ctx)
{
    char want[32];

    CHECK_STR(lsm_error_text(), "");
    for (int i = 0; i < 1000; i++) {
        snprintf(want, sizeof(want), "thread %d, %d", *(int *)ctx, i);
        lsm_fail(LSM_IOERR, "%s", want);
        CHECK_STR(lsm_error_text(), want);
    }
}

TEST(status_text_belongs_to_its_thread)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_thread *thread[4];
    int id[4];

    lsm_fail(LSM_IOERR, "mine");
    for (int i = 0; i < 4; i++) {
        id[i] = i;
        CHECK_INT(os->thread_start(os, fail_often, &id[i], &thread[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        os->thread_join(thread[i]);
    CHECK_STR(lsm_error_text(), "mine");
    lsm_os_posix_free(os);
}

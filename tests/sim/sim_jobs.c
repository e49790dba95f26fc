/* sim_jobs.c -- forked parts: their words through files, their counts through shared memory. */
#define TEST_PART
#include "tests/test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/sim/sim_jobs.h"

static void print_all(FILE *from)
{
    char part[4096];
    size_t size;

    rewind(from);
    while ((size = fread(part, 1, sizeof part, from)) > 0)
        fwrite(part, 1, size, stdout);
    fclose(from);
    fflush(stdout);
}

static pid_t start(int job, void (*fn)(void *ctx, int job, struct sim_counts *counts), void *ctx,
                   struct sim_counts *counts, FILE *out)
{
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);           /* whoever ends the test ends all of it */
    if (getppid() != parent)
        _exit(2);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(out), STDERR_FILENO);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);      /* a part that dies has said what it knew */
    test_state.failures = 0;
    fn(ctx, job, counts);
    exit(test_state.failures != 0);
}

bool sim_jobs_run(int first, int count, void (*fn)(void *ctx, int job, struct sim_counts *counts),
                  void *ctx, struct sim_counts counts[])
{
    size_t size = sizeof counts[0] * SIM_JOBS_MAX;
    struct sim_counts *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                     -1, 0);
    FILE *out[SIM_JOBS_MAX];
    pid_t pid[SIM_JOBS_MAX];
    int failures = test_state.failures;

    if (shared == MAP_FAILED || count > SIM_JOBS_MAX)
        abort();
    fflush(NULL);
    for (int i = 0; i < count; i++) {
        if (getenv("SIM_REPLAY")) {
            fn(ctx, first + i, &shared[i]);
            continue;
        }
        out[i] = tmpfile();
        if (!out[i])
            abort();
        pid[i] = start(first + i, fn, ctx, &shared[i], out[i]);
        if (pid[i] < 0)
            abort();
    }
    for (int i = 0; i < count && !getenv("SIM_REPLAY"); i++) {
        int status = -1;
        waitpid(pid[i], &status, 0);
        print_all(out[i]);
        CHECK_INT(status, 0);
    }
    memcpy(counts, shared, sizeof counts[0] * (size_t)count);
    munmap(shared, size);
    return test_state.failures == failures;
}

/*
 * frames.h -- for the fuzz targets of files that are made of frames: one file
 * system in memory an input, and a way past the sums. The first byte of an input is odd:
 * the sums of header and frames are made right before it is read, so that mutations
 * reach what is behind them.
 */
#ifndef TESTS_FUZZ_FRAMES_H
#define TESTS_FUZZ_FRAMES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/store/frame.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"

#define FUZZ_CHECK(cond) ((cond) ? (void)0 : fuzz_fail(__LINE__, #cond))

static inline void fuzz_fail(int line, const char *what)
{
    fprintf(stderr, "line %d: %s: %s\n", line, what, lsm_error_text());
    abort();
}

struct fuzz_place {
    struct lsm_os *base, *os;
    struct lsm_dir *dir;
};

static inline void fuzz_begin(struct fuzz_place *p)
{
    p->base = lsm_os_posix_new();
    p->os = lsm_os_mem_new(p->base);
    FUZZ_CHECK(p->os->dir_open(p->os, "/fuzz-lsm", true, 0755, NULL, &p->dir) == 0);
}

static inline void fuzz_end(struct fuzz_place *p)
{
    p->os->dir_close(p->dir);
    lsm_os_mem_free(p->os);
    FUZZ_CHECK(p->base->mem_used(p->base) == 0);
    lsm_os_posix_free(p->base);
}

static inline void fuzz_put(struct fuzz_place *p, const char *name, const uint8_t *bytes,
                            size_t size)
{
    struct lsm_file *file;

    p->os->file_remove(p->dir, name);
    FUZZ_CHECK(p->os->file_open(p->dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file) == 0);
    if (size)
        FUZZ_CHECK(p->os->file_write(file, bytes, size, 0) == 0);
    p->os->file_close(file);
}

static inline size_t fuzz_get(struct fuzz_place *p, const char *name, uint8_t *bytes, size_t size)
{
    struct lsm_file *file;
    size_t got = 0;

    if (p->os->file_open(p->dir, name, LSM_OPEN_READ, 0, &file) != 0)
        return 0;
    FUZZ_CHECK(p->os->file_read(file, bytes, size, 0, &got) == 0);
    p->os->file_close(file);
    return got;
}

/* Make the identity and all sums right, frame by frame, as far as sizes allow. */
static inline void fuzz_fix(uint8_t *bytes, size_t size, size_t header_size, const char magic[8],
                            const uint8_t uuid[16], uint64_t number)
{
    uint64_t base, chain;
    size_t at = header_size;

    if (size < header_size)
        return;
    lsm_frame_identity_put(bytes, magic, uuid, number, lsm_get_u64(bytes + 40));
    base = chain = lsm_frame_header_seal(bytes, header_size);
    while (size - at >= LSM_FRAME_HEAD_SIZE) {
        uint8_t *p = bytes + at;
        uint32_t payload = lsm_get_u32(p + 4);
        uint64_t whole = lsm_frame_size(payload);

        if (payload == 0 || whole > size - at)
            break;
        if (lsm_get_u64(p + 8) > at)
            lsm_put_u64(p + 8, at);
        memset(p + LSM_FRAME_HEAD_SIZE + payload, 0, whole - LSM_FRAME_HEAD_SIZE - payload);
        chain = lsm_hash64(p + LSM_FRAME_HEAD_SIZE, payload, chain ^ payload);
        lsm_put_u64(p + 16, chain);
        lsm_put_u32(p, lsm_hash32(p + 4, LSM_FRAME_HEAD_SIZE - 4, base + at));
        at += whole;
    }
}

#endif

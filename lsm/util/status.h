/*
 * status.h -- codes with text. A failure's text is kept per thread; the one
 * place where CORRUPT is born is lsm_corrupt().
 */
#ifndef LSM_UTIL_STATUS_H
#define LSM_UTIL_STATUS_H

#include "lsm/lsm.h"
#include "lsm/os/os.h"

/* Set this thread's error text and return `code`. */
int lsm_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An errno value from the seam, as a code and a text: "write 000012.log: No space left on device (make room
   and try again; what was committed is kept)". */
int lsm_fail_os(int error, const char *what, const char *name);

/* Bytes of `file` at `off` are not what was written. The only birthplace of LSM_CORRUPT: put the
   breakpoint here. */
int lsm_corrupt(const char *file, uint64_t off, const char *why);

int lsm_nomem(void);

/* Copy of this thread's text, to be shown later by another thread. */
void lsm_error_save(char *text, size_t size);

#define LSM_ERROR_TEXT_SIZE 512

#endif

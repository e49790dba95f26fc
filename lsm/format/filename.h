/*
 * filename.h -- the names in a store's directory. Numbers are never reused.
 *
 *     LOCK  CURRENT  LOG  LOG.old  MANIFEST-000012  000013.log  000014.ldb
 *     000015.vlog  000016.tmp
 */
#ifndef LSM_FORMAT_FILENAME_H
#define LSM_FORMAT_FILENAME_H

#include <stdbool.h>
#include <stdint.h>

enum lsm_file_kind {
    LSM_FILE_LOCK, LSM_FILE_CURRENT, LSM_FILE_INFO_LOG, LSM_FILE_INFO_LOG_OLD,
    LSM_FILE_MANIFEST, LSM_FILE_LOG, LSM_FILE_TABLE, LSM_FILE_VLOG, LSM_FILE_TEMP
};

#define LSM_FILENAME_SIZE 40
#define LSM_FILE_NUMBER_MAX (UINT64_C(1) << 62)     /* that is read: counted on from there, none comes to an end */

/* Write the name of a numbered or fixed file; returns `name`. */
char *lsm_filename(char name[LSM_FILENAME_SIZE], enum lsm_file_kind kind, uint64_t number);

/* True if `name` is exactly what lsm_filename would write; fixed files have number 0. */
bool lsm_filename_parse(const char *name, enum lsm_file_kind *kind, uint64_t *number);

#endif

/*
 * event.c -- LOG, a text file for people: what the store did and what went
 * wrong. At most 1 MiB, then it becomes LOG.old. Never a reason to fail.
 */
#include <stdarg.h>
#include <stdio.h>

#include "lsm/db/db.h"
#include "lsm/format/filename.h"

#define INFO_LOG_SIZE_MAX (1u << 20)

static const char *const kind_name[] = { "info", "warning", "error" };

/* Days since 1970-01-01 to a civil date (Howard Hinnant, chrono-compatible date algorithms). */
static void civil(int64_t days, int *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = days / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (int)(yoe + era * 400) + (*month <= 2);
}

void lsm_time_text(uint64_t us, char text[LSM_TIME_TEXT_SIZE])
{
    uint64_t s = us / 1000000;
    unsigned month, day;
    int year;

    civil((int64_t)(s / 86400), &year, &month, &day);
    snprintf(text, LSM_TIME_TEXT_SIZE, "%04d-%02u-%02u %02u:%02u:%02u.%03u", year, month, day,
             (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60),
             (unsigned)(us / 1000 % 1000));
}

static void open_info_log(struct lsm_db *db)
{
    struct lsm_file_info info;
    struct lsm_os *os = db->os;

    if (os->file_open(db->dir, "LOG", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, db->file_mode, &db->info_log)) {
        db->info_log = NULL;
        return;
    }
    if (os->file_info(db->info_log, &info) == 0)
        db->info_log_size = info.size;
}

/* To the callback, and to LOG if it is worth a line there. */
static void tell(struct lsm_db *db, struct lsm_event event, bool log, const char *format, va_list ap)
{
    char text[LSM_ERROR_TEXT_SIZE], line[LSM_ERROR_TEXT_SIZE + 64];
    char time[LSM_TIME_TEXT_SIZE];
    int n;

    vsnprintf(text, sizeof text, format, ap);
    event.text = text;
    if (db->event)
        db->event(db->event_ctx, &event);
    if (!log || !db->writing_begun || db->read_only)
        return;                 /* a store that is only read is not written to */

    lsm_time_text(db->os->wall_us(db->os), time);
    n = snprintf(line, sizeof line, "%s %s: %s\n", time, kind_name[event.kind], text);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        n = sizeof line - 1;
    db->os->mutex_lock(db->info_mutex);
    if (!db->info_log)
        open_info_log(db);
    if (db->info_log && db->info_log_size > INFO_LOG_SIZE_MAX) {
        db->os->file_close(db->info_log);
        db->info_log = NULL;
        db->info_log_size = 0;
        db->os->file_rename(db->dir, "LOG", "LOG.old");
        open_info_log(db);
    }
    if (db->info_log && db->os->file_write(db->info_log, line, (size_t)n, db->info_log_size) == 0)
        db->info_log_size += (uint64_t)n;
    db->os->mutex_unlock(db->info_mutex);
}

void lsm_db_event(struct lsm_db *db, int kind, const char *format, ...)
{
    struct lsm_event event = { .kind = kind };
    va_list ap;

    va_start(ap, format);
    tell(db, event, true, format, ap);
    va_end(ap);
}

void lsm_db_tell(struct lsm_db *db, const struct lsm_event *event, const char *format, ...)
{
    bool begins = event->what == LSM_EVENT_FLUSH_BEGIN || event->what == LSM_EVENT_COMPACTION_BEGIN ||
                  event->what == LSM_EVENT_STALL_BEGIN;
    va_list ap;

    va_start(ap, format);
    tell(db, *event, !begins, format, ap);
    va_end(ap);
}

void lsm_db_event_close(struct lsm_db *db)
{
    if (db->info_log)
        db->os->file_close(db->info_log);
    db->info_log = NULL;
}

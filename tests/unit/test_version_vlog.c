/*
 * test_version_vlog.c -- value logs of versions: live bytes are the tables' refs
 * after any edits; edits that do not fit are refused; files are obsolete once.
 */
#include "lsm/version/version.h"
#include "tests/unit/format_os.h"

#define GONE_MAX 64

static struct format_os f;
static uint64_t gone[GONE_MAX];         /* numbers of files told to be obsolete */
static int gone_count;

static void told(void *ctx, const struct lsm_vlog_meta *meta)
{
    (void)ctx;
    if (CHECK(gone_count < GONE_MAX))
        gone[gone_count++] = meta->number;
}

static struct lsm_version *begin(void)
{
    struct lsm_version *v;

    format_os_init(&f);
    gone_count = 0;
    CHECK_OK(lsm_version_new(&f.os, NULL, NULL, NULL, &v));
    v->obsolete_vlog = told;
    return v;
}

struct refs { uint64_t id[3], bytes[3]; };

static uint8_t ref_bytes[32][64];
static int ref_used;

static void add_table(struct lsm_edit *e, uint32_t tree, uint64_t number, uint32_t level, struct refs refs)
{
    struct lsm_table_meta meta = { .number = number, .tree = tree, .size_bytes = 100, .entries = 1, .seq_max = number };
    static char keys[200][2][8];
    struct lsm_buf b;

    lsm_buf_init(&b, &f.os);
    for (int i = 0; i < 3 && refs.id[i]; i++)
        lsm_vlog_ref_encode(&b, &(struct lsm_vlog_ref){ refs.id[i], 1, refs.bytes[i] });
    memcpy(ref_bytes[ref_used], b.data ? b.data : (const uint8_t *)"", b.size);
    meta.refs = lsm_slice(ref_bytes[ref_used++], b.size);
    lsm_buf_clear(&b);
    snprintf(keys[number][0], 8, "k%05d", (int)number);
    meta.smallest = meta.largest = lsm_slice(keys[number][0], 6);
    lsm_edit_add_table(e, level, &meta);
}

static void add_vlog(struct lsm_edit *e, uint32_t tree, uint64_t id, uint64_t number)
{
    lsm_edit_add_vlog(e, &(struct lsm_vlog_meta){ .id = id, .number = number, .tree = tree, .size_bytes = 2000,
                                                  .value_count = 10, .value_bytes = 1000, .end = 1500 });
}

static struct lsm_edit *edit(void)
{
    static struct lsm_edit e;

    ref_used = 0;
    lsm_edit_init(&e, &f.os);
    return &e;
}

/* Apply to *v; on success it is replaced. */
static int apply(struct lsm_version **v, struct lsm_edit *e)
{
    struct lsm_version *next;
    int rc = lsm_version_apply(*v, e, &next);

    lsm_edit_clear(e);
    if (rc == LSM_OK) {
        lsm_version_unref(*v);
        *v = next;
    }
    return rc;
}

static uint64_t live(const struct lsm_version *v, uint64_t id)
{
    const struct lsm_version_vlog *log = lsm_version_vlog(v, id);
    return log ? log->live_bytes : 0;
}

static struct lsm_version *two_tables(void)
{
    struct lsm_version *v = begin();
    struct lsm_edit *e = edit();

    lsm_edit_add_tree(e, &(struct lsm_edit_tree){ .id = 1 });
    lsm_edit_add_tree(e, &(struct lsm_edit_tree){ .id = 2 });
    add_vlog(e, 1, 10, 10);
    add_vlog(e, 1, 11, 11);
    add_table(e, 1, 12, 1, (struct refs){ { 10, 11 }, { 100, 50 } });
    add_table(e, 1, 13, 1, (struct refs){ { 10 }, { 300 } });
    CHECK_OK(apply(&v, e));
    return v;
}

TEST(version_vlog_live_bytes_follow_the_tables_and_the_last_ref_takes_the_log)
{
    struct lsm_version *v = two_tables(), *old;
    struct lsm_edit *e;

    CHECK_INT(live(v, 10), 400);
    CHECK_INT(live(v, 11), 50);
    e = edit();                         /* a move changes nothing */
    lsm_edit_remove_table(e, 1, 1, 12);
    add_table(e, 1, 12, 2, (struct refs){ { 10, 11 }, { 100, 50 } });
    CHECK_OK(apply(&v, e));
    CHECK_INT(live(v, 10), 400);
    old = v;
    lsm_version_ref(old);
    e = edit();                         /* rewritten */
    add_vlog(e, 1, 10, 20);
    CHECK_OK(apply(&v, e));
    CHECK_INT(lsm_version_vlog(v, 10)->file->meta.number, 20);
    CHECK_INT(lsm_version_vlog(old, 10)->file->meta.number, 10);
    CHECK_INT(live(v, 10), 400);
    e = edit();                         /* merged: 12 into 21, and 11 is not needed any more */
    lsm_edit_remove_table(e, 2, 1, 12);
    add_table(e, 1, 21, 2, (struct refs){ { 10 }, { 100 } });
    CHECK_OK(apply(&v, e));
    CHECK_INT(v->vlog_count, 1);
    CHECK_INT(gone_count, 0);           /* the old version has them */
    lsm_version_unref(old);
    CHECK_INT(gone_count, 2);
    CHECK(gone[0] == 10 && gone[1] == 11);
    e = edit();
    lsm_edit_drop_tree(e, 1);
    CHECK_OK(apply(&v, e));
    CHECK_INT(v->vlog_count, 0);
    CHECK(gone_count == 3 && gone[2] == 20);
    lsm_version_unref(v);
    CHECK_INT(f.used, 0);
}

TEST(version_vlog_of_a_snapshot_edit_is_the_same_version)
{
    struct lsm_version *v = two_tables(), *copy = NULL;
    struct lsm_edit *e = edit();

    lsm_edit_add_tree(e, &(struct lsm_edit_tree){ .id = 1 });
    lsm_edit_add_tree(e, &(struct lsm_edit_tree){ .id = 2 });
    lsm_version_to_edit(v, e);
    CHECK_OK(lsm_version_new(&f.os, NULL, NULL, NULL, &copy));
    CHECK_OK(apply(&copy, e));
    CHECK_INT(copy->vlog_count, 2);
    CHECK(live(copy, 10) == 400 && live(copy, 11) == 50);
    CHECK_INT(lsm_version_vlog(copy, 10)->file->meta.end, 1500);
    lsm_version_unref(copy);
    lsm_version_unref(v);
    CHECK_INT(f.used, 0);
}

TEST(version_vlog_edits_that_do_not_fit_are_corrupt)
{
    struct lsm_version *v = two_tables();
    struct lsm_edit *e = edit();

    add_table(e, 1, 30, 1, (struct refs){ { 9 }, { 8 } });     /* no such log */
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000009.vlog") != NULL);
    e = edit();
    add_table(e, 2, 30, 1, (struct refs){ { 10 }, { 8 } });    /* of another tree */
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    e = edit();
    add_table(e, 1, 30, 1, (struct refs){ { 10 }, { UINT64_MAX } });
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    e = edit();
    add_vlog(e, 1, 10, 10);                                     /* not a newer file */
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    e = edit();
    add_vlog(e, 2, 10, 30);                                     /* of another tree */
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    e = edit();
    lsm_edit_add_vlog(e, &(struct lsm_vlog_meta){ .id = 10, .number = 30, .tree = 1, .end = 1501 });
    CHECK_INT(apply(&v, e), LSM_CORRUPT);
    CHECK_INT(live(v, 10), 400);
    CHECK_INT(gone_count, 0);
    e = edit();                                                 /* nobody refers to it: it is not there */
    add_vlog(e, 1, 31, 31);
    CHECK_OK(apply(&v, e));
    CHECK(lsm_version_vlog(v, 31) == NULL && v->vlog_count == 2);
    lsm_version_unref(v);
    CHECK_INT(f.used, 0);
}

TEST(version_vlog_without_memory_nothing_is_leaked_or_told)
{
    struct lsm_version *v = two_tables(), *next;
    struct lsm_edit *e = edit();
    int rc, at = 0;

    lsm_edit_remove_table(e, 1, 1, 12);
    add_vlog(e, 1, 31, 31);
    add_table(e, 1, 32, 1, (struct refs){ { 31 }, { 70 } });
    do {
        f.fail_at = ++at;
        rc = lsm_version_apply(v, e, &next);
        CHECK(rc == LSM_OK || rc == LSM_NOMEM);
        CHECK_INT(gone_count, 0);
    } while (rc != LSM_OK && at < 100);
    f.fail_at = 0;
    CHECK_OK(rc);
    lsm_edit_clear(e);
    lsm_version_unref(v);
    CHECK_INT(gone_count, 1);           /* 11 */
    lsm_version_unref(next);
    CHECK_INT(f.used, 0);
}

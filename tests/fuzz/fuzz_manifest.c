/*
 * fuzz_manifest.c -- any bytes as a MANIFEST: refused, or its edits apply one
 * after the other to versions whose levels are in order; and a new MANIFEST made
 * of the last version gives that version again.
 */
#include "lsm/version/manifest.h"
#include "lsm/version/version.h"
#include "tests/fuzz/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[16] = { 1 };
static const char magic[8] = { 'L', 'S', 'M', 'M', 'A', 'N', '\r', '\n' };

struct state {
    struct lsm_version *v;
};

static void check_order(const struct lsm_version *v)
{
    for (uint32_t t = 0; t < v->tree_count; t++) {
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            const struct lsm_level *level = &v->trees[t]->level[l];

            for (uint32_t i = 1; i < level->count; i++) {
                const struct lsm_table_meta *a = &level->runs[i - 1]->meta;
                const struct lsm_table_meta *b = &level->runs[i]->meta;

                FUZZ_CHECK(l == 0 ? a->seq_max >= b->seq_max
                                  : lsm_slice_compare(a->largest, b->smallest) < 0);
            }
        }
    }
}

static int see(void *ctx, const struct lsm_edit *edit)
{
    struct state *s = ctx;
    struct lsm_version *next;
    int rc = lsm_version_apply(s->v, edit, &next);

    if (rc == LSM_OK) {
        check_order(next);
        lsm_version_unref(s->v);
        s->v = next;
    }
    return rc;
}

static int open_manifest(struct fuzz_place *p, struct state *s, struct lsm_manifest *m)
{
    FUZZ_CHECK(lsm_version_new(p->os, NULL, NULL, NULL, &s->v) == LSM_OK);
    return lsm_manifest_open(m, p->os, p->dir, false, see, s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsm_manifest m = { 0 };
    struct state s, again;
    struct lsm_edit edit;
    struct fuzz_place p;
    uint8_t *bytes;
    int rc;

    if (size < 1)
        return 0;
    bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        fuzz_fix(bytes, size - 1, LSM_MANIFEST_HEADER_SIZE, magic, uuid, 1);
    fuzz_begin(&p);
    lsm_edit_init(&edit, p.os);
    /* a CURRENT that names MANIFEST-000001: made by the engine, the file then replaced */
    FUZZ_CHECK(lsm_manifest_create(&m, p.os, p.dir, uuid, 1, 0644, &edit) == LSM_OK);
    lsm_manifest_close(&m);
    fuzz_put(&p, "MANIFEST-000001", bytes, size - 1);

    rc = open_manifest(&p, &s, &m);
    FUZZ_CHECK(rc == LSM_OK || rc == LSM_CORRUPT || rc == LSM_FORMAT);
    if (rc == LSM_OK) {
        for (uint32_t t = 0; t < s.v->tree_count; t++) {
            struct lsm_edit_tree tree = { .id = s.v->trees[t]->tree };

            lsm_edit_add_tree(&edit, &tree);
        }
        lsm_version_to_edit(s.v, &edit);
        FUZZ_CHECK(lsm_manifest_create(&m, p.os, p.dir, uuid, 2, 0644, &edit) == LSM_OK);
        lsm_manifest_close(&m);
        FUZZ_CHECK(open_manifest(&p, &again, &m) == LSM_OK);
        FUZZ_CHECK(again.v->tree_count == s.v->tree_count);
        for (uint32_t t = 0; t < s.v->tree_count; t++)
            for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
                FUZZ_CHECK(again.v->trees[t]->level[l].count == s.v->trees[t]->level[l].count);
        lsm_version_unref(again.v);
    }
    lsm_manifest_close(&m);
    lsm_version_unref(s.v);
    lsm_edit_clear(&edit);
    fuzz_end(&p);
    free(bytes);
    return 0;
}

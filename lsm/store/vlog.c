/*
 * vlog.c -- open value logs.
 *
 *     handle.off --(map, if the file is a later one)--> place in the file
 *
 * refs: users, and one while the log can be found in the list. A reference to an
 * idle log comes into being under the mutex only, so refs == 1 seen under it
 * means that the log may be closed. The one that was used longest ago goes
 * first, when more than open_max are open or the machine has no descriptor left.
 *
 * Threads: any. Files are opened and closed outside the mutex.
 */
#include "lsm/store/vlog.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "lsm/format/filename.h"
#include "lsm/format/seal.h"
#include "lsm/store/vlog_format.h"
#include "lsm/util/hash.h"

#define BUCKETS 64u
#define SPARE_MAX 4u
#define SPARE_SIZE_MAX ((size_t)256 << 10)

struct stretch {
    uint64_t off;               /* in the first file */
    uint64_t at;                /* in this one; the next one's says where it ends */
};

struct lsm_vlog {
    struct lsm_vlogs *vlogs;
    struct lsm_vlog *chain;     /* in its bucket; mutex */
    atomic_uint refs;
    uint64_t used_at;           /* of lsm_vlogs.clock; mutex */
    struct lsm_file *file;
    struct lsm_vlog_meta meta;
    uint64_t seed;
    struct lsm_vlog_footer footer;
    struct stretch *stretches;  /* stretch_count, and one behind the last; NULL: the first file */
    uint64_t stretch_count;
    struct lsm_dict *dict;      /* or NULL */
    uint64_t memory;
    char name[LSM_FILENAME_SIZE];
};

struct lsm_vlogs {
    struct lsm_os *os;
    struct lsm_dir *dir;
    uint8_t uuid[16];
    struct lsm_compressor_pool *compressors;
    uint32_t open_max;
    bool allow_longer;
    uint32_t (*relief)(void *ctx);      /* NULL: nobody else has descriptors to give */
    void *relief_ctx;
    atomic_uint open_count;
    atomic_uint_least64_t memory;
    struct lsm_mutex *mutex;
    struct lsm_vlog *buckets[BUCKETS];  /* by number */
    uint64_t clock;
    struct lsm_buf spare[SPARE_MAX];
    uint32_t spare_count;
};

static int corrupt(const struct lsm_vlog *v, uint64_t off, const char *why)
{
    return lsm_corrupt(v->name, off, why);
}

static int read_at(const struct lsm_vlog *v, void *data, size_t size, uint64_t off)
{
    size_t got;
    int error = v->vlogs->os->file_read(v->file, data, size, off, &got);

    if (error)
        return lsm_fail_os(error, "read", v->name);
    if (got != size)
        return corrupt(v, off, "the file ends within a value");
    return LSM_OK;
}

/* ---- opening ---- */

/* A frame of `size` bytes with the header's fields in its last 64; both sums seeded with 0. */
static int check_frame(const struct lsm_vlog *v, const uint8_t *p, size_t size, const char *magic,
                       uint64_t off)
{
    const uint8_t *h = p + size - LSM_VLOG_HEADER_SIZE;

    if (memcmp(h, magic, 8) != 0)
        return corrupt(v, off, "not a value log, or cut short");
    if (lsm_get_u64(h + LSM_VLOG_HEADER_SIZE - 8) != lsm_hash64(p, size - 8, 0))
        return corrupt(v, off, "the sum of a value log's frame does not match");
    if (lsm_get_u16(h + 12) & ~LSM_VLOG_INCOMPAT_KNOWN)
        return lsm_fail(LSM_FORMAT, "%s: written by a newer version (features %u); open it with that",
                        v->name, (unsigned)lsm_get_u16(h + 12) & ~LSM_VLOG_INCOMPAT_KNOWN);
    if (memcmp(h + 16, v->vlogs->uuid, 16) != 0)
        return corrupt(v, off, "a value log of another store");
    if (lsm_get_u64(h + 32) != v->meta.number || lsm_get_u64(h + 40) != v->meta.id ||
        lsm_get_u32(h + 48) != v->meta.tree)
        return corrupt(v, off, "another value log than its name says");
    return LSM_OK;
}

static int read_frame(struct lsm_vlog *v, struct lsm_vlog_footer *f)
{
    uint8_t header[LSM_VLOG_HEADER_SIZE], footer[LSM_VLOG_FOOTER_SIZE];
    uint64_t at = v->meta.size_bytes - LSM_VLOG_FOOTER_SIZE;
    struct lsm_file_info info;
    int error = v->vlogs->os->file_info(v->file, &info), rc;

    if (error)
        return lsm_fail_os(error, "look at", v->name);
    if (info.size < v->meta.size_bytes || (info.size > v->meta.size_bytes && !v->vlogs->allow_longer))
        return corrupt(v, info.size, "the value log is not as long as the MANIFEST says");
    rc = read_at(v, header, sizeof header, 0);
    if (rc == LSM_OK)
        rc = check_frame(v, header, sizeof header, LSM_VLOG_MAGIC, 0);
    if (rc == LSM_OK)
        rc = read_at(v, footer, sizeof footer, at);
    if (rc == LSM_OK)
        rc = check_frame(v, footer, sizeof footer, LSM_VLOG_FOOTER_MAGIC, at);
    if (rc)
        return rc;
    lsm_vlog_footer_decode(footer, f);
    if (f->value_count != v->meta.value_count || f->value_bytes != v->meta.value_bytes ||
        f->end != v->meta.end)
        return corrupt(v, at, "the footer does not say what the MANIFEST says");
    if (v->meta.number == v->meta.id) {
        if (f->map_size || f->map_off || f->end != at)
            return corrupt(v, at, "the values do not end where the footer begins");
    } else if (f->map_size < LSM_SEAL_TRAILER_SIZE || f->map_size > at - LSM_VLOG_HEADER_SIZE ||
               f->map_off != at - f->map_size) {
        return corrupt(v, at, "the map is not where it must be");
    }
    if (f->dict_size == 0 ? f->dict_off != 0
                          : f->dict_size <= LSM_SEAL_TRAILER_SIZE ||
                            f->dict_size > LSM_DICT_SIZE_MAX + LSM_SEAL_TRAILER_SIZE)
        return corrupt(v, at, "the dictionary is of no possible size");
    return LSM_OK;
}

/* Stretches ascend, lie below `end`, and fill the file from its header to the map. */
static int decode_map(struct lsm_vlog *v, struct lsm_slice payload)
{
    struct lsm_reader r = lsm_reader(payload);
    uint64_t count = lsm_read_varint(&r), off = LSM_VLOG_HEADER_SIZE, at = LSM_VLOG_HEADER_SIZE;
    uint64_t bytes;

    if (r.bad || count > lsm_reader_left(&r) / 2)
        return corrupt(v, v->footer.map_off, "a map has more stretches than bytes");
    bytes = (count + 1) * sizeof *v->stretches;
    v->stretches = lsm_mem_alloc(v->vlogs->os, bytes);
    if (!v->stretches)
        return lsm_nomem();
    v->memory += bytes;
    v->stretch_count = count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = lsm_read_varint(&r), size = lsm_read_varint(&r);

        if (r.bad || gap > v->meta.end - off || size > v->meta.end - off - gap || size == 0 ||
            size > v->footer.map_off - at)
            return corrupt(v, v->footer.map_off, "a map has a stretch that cannot be there");
        off += gap;
        v->stretches[i] = (struct stretch){ off, at };
        off += size;
        at += size;
    }
    v->stretches[count] = (struct stretch){ off, at };
    if (lsm_reader_left(&r) || at != v->footer.map_off)
        return corrupt(v, v->footer.map_off, "a map does not cover its file");
    return LSM_OK;
}

static int read_map(struct lsm_vlog *v, bool keep)
{
    struct lsm_slice payload;
    struct lsm_buf sealed;
    int rc;

    if (v->footer.map_size == 0)
        return LSM_OK;
    lsm_buf_init(&sealed, v->vlogs->os);
    rc = lsm_buf_reserve(&sealed, v->footer.map_size);
    if (rc == LSM_OK)
        rc = read_at(v, sealed.data, v->footer.map_size, v->footer.map_off);
    if (rc == LSM_OK)
        rc = lsm_unseal(lsm_slice(sealed.data, v->footer.map_size), LSM_BLOCK_VALUE_MAP,
                        lsm_seal_seed(v->vlogs->uuid, v->meta.number) + v->footer.map_off, NULL, NULL,
                        &payload, v->name, v->footer.map_off);
    if (rc == LSM_OK && keep)
        rc = decode_map(v, payload);
    lsm_buf_clear(&sealed);
    return rc;
}

static int read_dict(struct lsm_vlog *v, bool keep);

static void vlog_close(struct lsm_vlog *v)
{
    struct lsm_vlogs *vs = v->vlogs;

    vs->os->file_close(v->file);
    atomic_fetch_sub(&vs->open_count, 1);
    atomic_fetch_sub(&vs->memory, v->memory);
    lsm_dict_free(v->dict);
    lsm_mem_free(vs->os, v->stretches);
    lsm_mem_free(vs->os, v);
}

/* Close the idle log that was used longest ago. False: all are in use. */
static bool close_oldest(struct lsm_vlogs *vs)
{
    struct lsm_vlog **best = NULL, *victim = NULL;

    vs->os->mutex_lock(vs->mutex);
    for (uint32_t b = 0; b < BUCKETS; b++)
        for (struct lsm_vlog **at = &vs->buckets[b]; *at; at = &(*at)->chain)
            if (atomic_load(&(*at)->refs) == 1 && (!best || (*at)->used_at < (*best)->used_at))
                best = at;
    if (best) {
        victim = *best;
        *best = victim->chain;
    }
    vs->os->mutex_unlock(vs->mutex);
    if (victim)
        lsm_vlog_unref(victim);
    return victim != NULL;
}

static int vlog_open(struct lsm_vlogs *vs, const struct lsm_vlog_meta *meta, struct lsm_vlog **vlog)
{
    struct lsm_vlog *v = lsm_mem_zalloc(vs->os, sizeof *v);
    int error, rc;

    *vlog = NULL;
    if (!v)
        return lsm_nomem();
    v->vlogs = vs;
    v->meta = *meta;
    v->seed = lsm_seal_seed(vs->uuid, meta->id);
    v->memory = sizeof *v;
    atomic_init(&v->refs, 1);
    lsm_filename(v->name, LSM_FILE_VLOG, meta->number);
    if (meta->size_bytes < LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE) {
        rc = corrupt(v, 0, "the value log is shorter than its frame");
        lsm_mem_free(vs->os, v);
        return rc;
    }
    do
        error = vs->os->file_open(vs->dir, v->name, LSM_OPEN_READ, 0, &v->file);
    while ((error == EMFILE || error == ENFILE) &&
           (close_oldest(vs) || (vs->relief && vs->relief(vs->relief_ctx) > 0)));
    if (error) {
        rc = error == ENOENT ? corrupt(v, 0, "the value log is missing") :
             lsm_fail_os(error, "open", v->name);
        lsm_mem_free(vs->os, v);
        return rc;
    }
    atomic_fetch_add(&vs->open_count, 1);
    rc = read_frame(v, &v->footer);
    if (rc == LSM_OK)
        rc = read_map(v, true);
    if (rc == LSM_OK)
        rc = read_dict(v, true);
    atomic_fetch_add(&vs->memory, v->memory);
    if (rc)
        vlog_close(v);
    else
        *vlog = v;
    return rc;
}

int lsm_vlogs_identify(struct lsm_vlogs *vs, uint64_t number, uint64_t size_bytes, struct lsm_vlog_meta *meta)
{
    uint8_t footer[LSM_VLOG_FOOTER_SIZE];
    struct lsm_vlog_footer f;
    struct lsm_file_info info;
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    struct lsm_vlog *vlog;
    size_t got = 0;
    int error = vs->os->file_open(vs->dir, lsm_filename(name, LSM_FILE_VLOG, number), LSM_OPEN_READ, 0, &file), rc;

    if (error)
        return lsm_fail_os(error, "open", name);
    error = vs->os->file_info(file, &info);
    if (!error && size_bytes && size_bytes < info.size)
        info.size = size_bytes;
    if (!error && info.size >= LSM_VLOG_HEADER_SIZE + LSM_VLOG_FOOTER_SIZE)
        error = vs->os->file_read(file, footer, sizeof footer, info.size - sizeof footer, &got);
    vs->os->file_close(file);
    if (error)
        return lsm_fail_os(error, "read", name);
    if (got != sizeof footer)
        return lsm_corrupt(name, 0, "the value log is shorter than its frame");
    lsm_vlog_footer_decode(footer, &f);
    *meta = (struct lsm_vlog_meta){ .id = lsm_get_u64(footer + LSM_VLOG_FOOTER_SIZE - 24), .number = number,
                                    .tree = lsm_get_u32(footer + LSM_VLOG_FOOTER_SIZE - 16),
                                    .size_bytes = info.size, .value_count = f.value_count,
                                    .value_bytes = f.value_bytes, .end = f.end };
    rc = vlog_open(vs, meta, &vlog);
    if (rc == LSM_OK)
        lsm_vlog_unref(vlog);
    return rc;
}

/* ---- which logs are open ---- */

int lsm_vlogs_new(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                  struct lsm_compressor_pool *compressors, uint32_t open_max,
                  struct lsm_vlogs **vlogs)
{
    struct lsm_vlogs *vs = lsm_mem_zalloc(os, sizeof *vs);
    int error;

    *vlogs = NULL;
    if (!vs)
        return lsm_nomem();
    vs->os = os;
    vs->dir = dir;
    memcpy(vs->uuid, uuid, 16);
    vs->compressors = compressors;
    vs->open_max = open_max ? open_max : 1;
    error = os->mutex_new(os, &vs->mutex);
    if (error) {
        lsm_mem_free(os, vs);
        return lsm_fail_os(error, "make", "a mutex");
    }
    *vlogs = vs;
    return LSM_OK;
}

void lsm_vlogs_allow_longer(struct lsm_vlogs *vs)
{
    vs->allow_longer = true;
}

void lsm_vlogs_free(struct lsm_vlogs *vs)
{
    if (!vs)
        return;
    lsm_vlogs_close_idle(vs);
    assert(atomic_load(&vs->open_count) == 0);          /* nothing is in use */
    while (vs->spare_count)
        lsm_buf_clear(&vs->spare[--vs->spare_count]);
    vs->os->mutex_free(vs->mutex);
    lsm_mem_free(vs->os, vs);
}

void lsm_vlogs_set_relief(struct lsm_vlogs *vs, uint32_t (*relief)(void *ctx), void *ctx)
{
    vs->relief = relief;
    vs->relief_ctx = ctx;
}

uint32_t lsm_vlogs_close_idle(struct lsm_vlogs *vs)
{
    uint32_t closed = 0;

    while (close_oldest(vs))
        closed++;
    return closed;
}

/* Where the pointer to the log stands, or would. Mutex held. */
static struct lsm_vlog **find(struct lsm_vlogs *vs, uint64_t number)
{
    struct lsm_vlog **at = &vs->buckets[number % BUCKETS];

    while (*at && (*at)->meta.number != number)
        at = &(*at)->chain;
    return at;
}

int lsm_vlogs_get(struct lsm_vlogs *vs, const struct lsm_vlog_meta *meta, struct lsm_vlog **vlog)
{
    struct lsm_vlog *v, *own, **at;
    int rc;

    *vlog = NULL;
    vs->os->mutex_lock(vs->mutex);
    v = *find(vs, meta->number);
    if (v) {
        atomic_fetch_add(&v->refs, 1);
        v->used_at = ++vs->clock;
    }
    vs->os->mutex_unlock(vs->mutex);
    if (v) {
        *vlog = v;
        return LSM_OK;
    }
    rc = vlog_open(vs, meta, &own);
    if (rc)
        return rc;
    vs->os->mutex_lock(vs->mutex);
    at = find(vs, meta->number);
    v = *at;
    if (!v) {
        v = own;
        *at = v;
    }
    atomic_fetch_add(&v->refs, 1);      /* the list's is there */
    v->used_at = ++vs->clock;
    vs->os->mutex_unlock(vs->mutex);
    if (v != own)
        lsm_vlog_unref(own);            /* another thread was faster */
    while (atomic_load(&vs->open_count) > vs->open_max && close_oldest(vs))
        ;
    *vlog = v;
    return LSM_OK;
}

void lsm_vlog_ref(struct lsm_vlog *v)
{
    atomic_fetch_add(&v->refs, 1);
}

uint64_t lsm_vlog_id(const struct lsm_vlog *v)
{
    return v->meta.id;
}

void lsm_vlog_unref(struct lsm_vlog *v)
{
    if (v && atomic_fetch_sub(&v->refs, 1) == 1)
        vlog_close(v);
}

void lsm_vlogs_forget(struct lsm_vlogs *vs, uint64_t number)
{
    struct lsm_vlog **at, *v;

    vs->os->mutex_lock(vs->mutex);
    at = find(vs, number);
    v = *at;
    if (v)
        *at = v->chain;
    vs->os->mutex_unlock(vs->mutex);
    lsm_vlog_unref(v);
}

uint64_t lsm_vlogs_memory(struct lsm_vlogs *vs)
{
    return atomic_load(&vs->memory);
}

uint32_t lsm_vlogs_open_count(struct lsm_vlogs *vs)
{
    return atomic_load(&vs->open_count);
}

void lsm_vlogs_take_buf(struct lsm_vlogs *vs, struct lsm_buf *buf)
{
    lsm_buf_init(buf, vs->os);
    vs->os->mutex_lock(vs->mutex);
    if (vs->spare_count)
        *buf = vs->spare[--vs->spare_count];
    vs->os->mutex_unlock(vs->mutex);
    atomic_fetch_sub(&vs->memory, buf->cap);
}

void lsm_vlogs_give_buf(struct lsm_vlogs *vs, struct lsm_buf *buf)
{
    if (!buf->data)
        return;
    lsm_buf_reset(buf);
    buf->os = vs->os;
    vs->os->mutex_lock(vs->mutex);
    if (buf->cap <= SPARE_SIZE_MAX && vs->spare_count < SPARE_MAX) {
        vs->spare[vs->spare_count++] = *buf;
        atomic_fetch_add(&vs->memory, buf->cap);
        buf->data = NULL;
    }
    vs->os->mutex_unlock(vs->mutex);
    if (buf->data)
        lsm_buf_clear(buf);
}

/* ---- reading ---- */

/* Where in the file a handle's value stands. */
static int place(const struct lsm_vlog *v, const struct lsm_vlog_handle *h, uint64_t *at)
{
    uint64_t lo = 0, hi = v->stretch_count;

    if (h->id != v->meta.id)
        return corrupt(v, h->off, "a handle of another value log");
    if (h->off < LSM_VLOG_HEADER_SIZE || h->off > v->meta.end || h->size > v->meta.end - h->off ||
        h->size < LSM_SEAL_TRAILER_SIZE)
        return corrupt(v, h->off, "a handle leads beyond the values");
    *at = h->off;
    if (!v->stretches)
        return LSM_OK;
    while (lo < hi) {                   /* the last stretch that does not begin behind it */
        uint64_t mid = lo + (hi - lo) / 2;
        if (v->stretches[mid].off <= h->off)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo > 0) {
        const struct stretch *s = &v->stretches[lo - 1];
        uint64_t size = s[1].at - s->at, into = h->off - s->off;
        if (into <= size && h->size <= size - into) {
            *at = s->at + into;
            return LSM_OK;
        }
    }
    return corrupt(v, h->off, "a handle leads to a value that was dropped");
}

/* A value that is not compressed is read to where it is wanted. */
static bool is_stored_raw(const struct lsm_vlog_handle *h)
{
    return h->size == (uint64_t)h->raw_size + LSM_SEAL_TRAILER_SIZE;
}

/* Sealed bytes into buf, and their place in the file. */
static int read_sealed(struct lsm_vlog *v, const struct lsm_vlog_handle *h, struct lsm_buf *buf,
                       uint64_t *at)
{
    int rc = place(v, h, at);

    if (rc)
        return rc;
    lsm_buf_reset(buf);
    rc = lsm_buf_reserve(buf, h->size);
    if (rc == LSM_OK)
        rc = read_at(v, buf->data, h->size, *at);
    if (rc == LSM_OK)
        buf->size = h->size;
    return rc;
}

/* `at`: the place in the file, for the error. */
static int unseal_value(const struct lsm_vlog *v, const struct lsm_vlog_handle *h, uint64_t at,
                        struct lsm_buf *scratch, struct lsm_buf *out, struct lsm_slice *value)
{
    bool is_raw = is_stored_raw(h);
    struct lsm_compressor *compressor = NULL;
    /* What a damaged byte says here is looked at again behind the sum. */
    bool is_zstd = !is_raw && scratch->data[scratch->size - LSM_SEAL_TRAILER_SIZE] != LSM_CODEC_LZ;
    int rc = is_zstd ? lsm_compressor_take(v->vlogs->compressors, &compressor) : LSM_OK;

    if (rc)
        return rc;
    if (compressor)
        lsm_compressor_set_dict(compressor, v->dict);
    rc = lsm_unseal(lsm_buf_slice(is_raw ? out : scratch), LSM_BLOCK_VALUE, v->seed + h->off, compressor,
                    is_raw ? scratch : out, value, v->name, at);
    if (compressor)
        lsm_compressor_put(v->vlogs->compressors, compressor);
    if (rc == LSM_OK && value->size != h->raw_size) {
        *value = lsm_slice(NULL, 0);
        rc = corrupt(v, at, "a value is not of the size that its handle says");
    }
    return rc;
}

bool lsm_vlog_dict(const struct lsm_vlog *v, struct lsm_vlog_handle *h)
{
    *h = (struct lsm_vlog_handle){ v->meta.id, v->footer.dict_off, v->footer.dict_size, 0 };
    return v->footer.dict_size > 0;
}

static int read_dict(struct lsm_vlog *v, bool keep)
{
    struct lsm_slice bytes;
    struct lsm_vlog_handle h;
    struct lsm_buf sealed;
    bool has_tables = false;
    uint64_t at = 0;
    int rc;

    if (!lsm_vlog_dict(v, &h))
        return LSM_OK;
    lsm_buf_init(&sealed, v->vlogs->os);
    rc = read_sealed(v, &h, &sealed, &at);
    if (rc == LSM_OK) {
        has_tables = sealed.data[sealed.size - LSM_SEAL_TRAILER_SIZE + 1] == LSM_BLOCK_DICT_TABLES;
        rc = lsm_unseal(lsm_buf_slice(&sealed), has_tables ? LSM_BLOCK_DICT_TABLES : LSM_BLOCK_DICT, v->seed + h.off,
                        NULL, NULL, &bytes, v->name, at);
    }
    if (rc == LSM_OK && keep) {
        rc = lsm_dict_new_reader(v->vlogs->os, bytes, has_tables, &v->dict);
        if (rc == LSM_CORRUPT)
            rc = corrupt(v, at, "a dictionary's tables are malformed");
        v->memory += lsm_dict_memory(v->dict);
    }
    lsm_buf_clear(&sealed);
    return rc;
}

int lsm_vlog_read(struct lsm_vlog *v, const struct lsm_vlog_handle *h, struct lsm_buf *scratch,
                  struct lsm_buf *out, struct lsm_slice *value)
{
    uint64_t at;
    int rc = read_sealed(v, h, is_stored_raw(h) ? out : scratch, &at);

    *value = lsm_slice(NULL, 0);
    return rc ? rc : unseal_value(v, h, at, scratch, out, value);
}

int lsm_vlogs_read_unframed(struct lsm_vlogs *vs, const struct lsm_vlog_handle *h, struct lsm_buf *scratch,
                            struct lsm_buf *out, struct lsm_slice *value)
{
    struct lsm_vlog v = { .vlogs = vs, .seed = lsm_seal_seed(vs->uuid, h->id),
                          .meta = { .id = h->id, .number = h->id } };
    struct lsm_file_info info;
    uint64_t at;
    int error = vs->os->file_open(vs->dir, lsm_filename(v.name, LSM_FILE_VLOG, h->id), LSM_OPEN_READ, 0, &v.file), rc;

    *value = lsm_slice(NULL, 0);
    if (error)
        return lsm_fail_os(error, "open", v.name);
    error = vs->os->file_info(v.file, &info);
    v.meta.end = v.meta.size_bytes = info.size;
    rc = error ? lsm_fail_os(error, "look at", v.name) : read_sealed(&v, h, is_stored_raw(h) ? out : scratch, &at);
    vs->os->file_close(v.file);
    return rc ? rc : unseal_value(&v, h, at, scratch, out, value);
}

int lsm_vlog_read_sealed(struct lsm_vlog *v, const struct lsm_vlog_handle *h, struct lsm_buf *out)
{
    uint64_t at;
    int rc = read_sealed(v, h, out, &at);

    if (rc == LSM_OK && lsm_get_u32(out->data + h->size - 4) !=
                            lsm_hash32(out->data, h->size - 4, v->seed + h->off))
        rc = corrupt(v, at, "the sum of a value does not match its bytes and place");
    return rc;
}

void lsm_vlog_prefetch(struct lsm_vlog *v, const struct lsm_vlog_handle *h, uint64_t bytes)
{
    uint64_t at;

    if (place(v, h, &at))
        return;
    if (bytes > v->meta.size_bytes - at)
        bytes = v->meta.size_bytes - at;
    v->vlogs->os->file_prefetch(v->file, at, bytes);
}

int lsm_vlog_check(struct lsm_vlog *v)
{
    struct lsm_vlog_footer footer;
    int rc = read_frame(v, &footer);

    if (rc == LSM_OK && memcmp(&footer, &v->footer, sizeof footer) != 0)
        rc = corrupt(v, 0, "the footer changed while the value log was open");
    if (rc == LSM_OK)
        rc = read_map(v, false);
    return rc == LSM_OK ? read_dict(v, false) : rc;
}

/*
 * vtab_row.c -- the row codec.
 *
 * The header is read once per row, when the first column that needs it is asked
 * for: all codes, their body offsets and the check that the bodies fill the row
 * exactly. After that a column is an index into two arrays. A scan that asks
 * for key columns only reads no header where the key alone is enough.
 */
#include "ext/vtab_row.h"

#include <assert.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

enum {
    FLAG_KEPT = 0x01,           /* the other bits are for later formats */
    FLAGS_KNOWN = FLAG_KEPT
};

enum {
    CODE_NULL = 0,
    CODE_INT64 = 6,             /* 1..6: integers, see code_sizes */
    CODE_REAL = 7,
    CODE_ZERO = 8,
    CODE_ONE = 9,
    CODE_BLOB_REST = 10,
    CODE_TEXT_REST = 11,
    CODE_BLOB = 12,
    CODE_TEXT = 13
};

static const uint8_t code_sizes[CODE_BLOB_REST] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };

#define VARINT_SIZE_MAX 10
#define FIELDS_KEPT 8

static size_t put_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

/* Bytes of the varint, 0 if it is cut off, too long or not the shortest. */
static size_t get_long_varint(struct lsm_slice s, size_t off, uint64_t *v)
{
    uint64_t out = 0;

    for (size_t n = 0; n < VARINT_SIZE_MAX && n < s.size - off; n++) {
        uint8_t byte = s.data[off + n];

        if (n == VARINT_SIZE_MAX - 1 && byte > 1)
            return 0;                           /* over 64 bits */
        out |= (uint64_t)(byte & 0x7f) << (7 * n);
        if (!(byte & 0x80)) {
            *v = out;
            return byte || n == 0 ? n + 1 : 0;
        }
    }
    return 0;
}

static inline size_t get_varint(struct lsm_slice s, size_t off, uint64_t *v)
{
    if (off < s.size && s.data[off] < 0x80) {
        *v = s.data[off];
        return 1;
    }
    return get_long_varint(s, off, v);
}

static void put_little_endian(uint8_t *out, uint64_t v, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_little_endian(const uint8_t *data, size_t size)
{
    uint64_t v = 0;

    for (size_t i = 0; i < size; i++)
        v |= (uint64_t)data[i] << (8 * i);
    return v;
}

/* ---- encoding ------------------------------------------------------------- */

static uint64_t integer_code(int64_t i)
{
    uint64_t magnitude = (uint64_t)(i < 0 ? ~i : i);

    if (i == 0 || i == 1)
        return CODE_ZERO + (uint64_t)i;
    for (uint64_t code = 1; code < CODE_INT64; code++)
        if (magnitude >> (8 * code_sizes[code] - 1) == 0)
            return code;
    return CODE_INT64;
}

/* A real that is stored as the integer it equals, where the column says which is meant. */
static bool real_as_integer(double r, int64_t *i)
{
    if (!(r > -281474976710656.0 && r < 281474976710656.0))     /* 2^48: saves nothing */
        return false;
    *i = (int64_t)r;
    if ((double)*i != r)
        return false;
    if (*i == 0) {
        uint64_t bits;

        memcpy(&bits, &r, sizeof bits);
        return bits == 0;                       /* -0.0 stays a real */
    }
    return integer_code(*i) != CODE_INT64;
}

/* A field in the form in which it is stored. */
struct field {
    uint64_t code;
    uint64_t number;            /* the body of codes 1..7 */
    struct lsm_slice bytes;     /* the body of the others */
};

static struct field make_field(const struct lsm_vtab_value *value, bool integer_is_real)
{
    struct field f = { CODE_NULL, 0, { NULL, 0 } };
    int64_t i;

    switch (value->type) {
    case SQLITE_INTEGER:
        assert(!integer_is_real);
        f.code = integer_code(value->u.integer);
        f.number = (uint64_t)value->u.integer;
        break;
    case SQLITE_FLOAT:
        if (integer_is_real && real_as_integer(value->u.real, &i)) {
            f.code = integer_code(i);
            f.number = (uint64_t)i;
        } else {
            f.code = CODE_REAL;
            memcpy(&f.number, &value->u.real, sizeof f.number);
        }
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        f.code = (value->type == SQLITE_TEXT ? CODE_TEXT : CODE_BLOB)
                 + 2 * (uint64_t)value->u.bytes.size;
        f.bytes = value->u.bytes;
        break;
    default:
        break;
    }
    return f;
}

/* Field n of a row: kept key columns first, then the value columns. */
struct field_list {
    const struct lsm_vtab_schema *schema;
    const struct lsm_vtab_value *values;
    int kept_count, count;
};

static bool is_kept(const struct lsm_vtab_schema *schema, const struct lsm_vtab_value *values,
                    int part)
{
    return !lsm_vtab_key_is_faithful(&schema->key[part], &values[schema->key[part].column]);
}

/* The next part of the key that is kept, after `part`. */
static int next_kept(const struct field_list *list, int part)
{
    do
        part++;
    while (part < list->schema->key_count && !is_kept(list->schema, list->values, part));
    return part;
}

/* `part` walks with n while n < kept_count. */
static struct field list_field(const struct field_list *list, int n, int *part)
{
    const struct lsm_vtab_schema *schema = list->schema;
    int column;

    if (n < list->kept_count) {
        const struct lsm_vtab_value *value;

        *part = next_kept(list, *part);
        value = &list->values[schema->key[*part].column];
        return make_field(value, value->type == SQLITE_FLOAT);
    }
    column = schema->value_columns[n - list->kept_count];
    return make_field(&list->values[column],
                      schema->columns[column].affinity == LSM_VTAB_AFFINITY_REAL);
}

static void add_varint(struct lsm_vtab_buf *row, uint64_t v)
{
    uint8_t bytes[VARINT_SIZE_MAX];

    if (v < 0x80)
        lsm_vtab_buf_add_byte(row, (uint8_t)v);
    else
        lsm_vtab_buf_add(row, bytes, put_varint(bytes, v));
}

void lsm_vtab_row_buf_init(struct lsm_vtab_buf *buf)
{
    lsm_vtab_buf_init(buf, LSM_VALUE_SIZE_MAX);
}

int lsm_vtab_row_encode(const struct lsm_vtab_schema *schema,
                        const struct lsm_vtab_value *values, struct lsm_vtab_buf *row)
{
    struct field_list list = { schema, values, 0, 0 };
    struct field fields[FIELDS_KEPT];           /* made once for header and bodies, if they are few */
    int part;

    lsm_vtab_buf_reset(row);
    for (int i = 0; i < schema->key_count; i++)
        list.kept_count += is_kept(schema, values, i);
    list.count = list.kept_count + schema->value_count;

    lsm_vtab_buf_add_byte(row, list.kept_count ? FLAG_KEPT : 0);
    if (list.kept_count) {
        add_varint(row, (uint64_t)list.kept_count);
        for (part = next_kept(&list, -1); part < schema->key_count; part = next_kept(&list, part))
            add_varint(row, (uint64_t)part);
    }
    part = -1;
    for (int n = 0; n < list.count; n++) {
        struct field f = list_field(&list, n, &part);

        if (n < FIELDS_KEPT)
            fields[n] = f;
        if (n == list.count - 1 && f.code >= CODE_BLOB)
            f.code = CODE_BLOB_REST + (f.code & 1);
        add_varint(row, f.code);
    }
    part = -1;
    for (int n = 0; n < list.count; n++) {
        struct field f = list.count <= FIELDS_KEPT ? fields[n] : list_field(&list, n, &part);

        if (f.code < CODE_BLOB_REST) {
            uint8_t body[8];

            put_little_endian(body, f.number, code_sizes[f.code]);
            lsm_vtab_buf_add(row, body, code_sizes[f.code]);
        } else {
            lsm_vtab_buf_add(row, f.bytes.data, f.bytes.size);
        }
    }
    return row->rc;
}

/* ---- the view ------------------------------------------------------------- */

int lsm_vtab_row_init(struct lsm_vtab_row *row, const struct lsm_vtab_schema *schema)
{
    size_t fields = (size_t)schema->key_count + (size_t)schema->value_count;

    memset(row, 0, sizeof *row);
    row->schema = schema;
    row->field_code = sqlite3_malloc64(fields * sizeof *row->field_code);
    row->field_off = sqlite3_malloc64(fields * sizeof *row->field_off);
    row->kept = sqlite3_malloc64((size_t)schema->key_count * sizeof *row->kept);
    row->key_value = sqlite3_malloc64((size_t)schema->key_count * sizeof *row->key_value);
    if (!row->field_code || !row->field_off || !row->kept || !row->key_value) {
        lsm_vtab_row_clear(row);
        return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

void lsm_vtab_row_clear(struct lsm_vtab_row *row)
{
    sqlite3_free(row->field_code);
    sqlite3_free(row->field_off);
    sqlite3_free(row->kept);
    sqlite3_free(row->key_value);
    sqlite3_free(row->scratch);
    memset(row, 0, sizeof *row);
}

void lsm_vtab_row_set(struct lsm_vtab_row *row, struct lsm_slice key, struct lsm_slice value)
{
    row->key = key;
    row->value = value;
    row->parsed = false;
    row->key_known = 0;
    row->key_off = 0;
    row->why = NULL;
}

void lsm_vtab_row_set_value(struct lsm_vtab_row *row, struct lsm_slice value)
{
    row->value = value;
    row->parsed = false;
}

bool lsm_vtab_row_needs_value(const struct lsm_vtab_schema *schema, int column)
{
    int part = schema->columns[column].key_index;

    return part < 0 || !lsm_vtab_key_is_always_faithful(&schema->key[part]);
}

static int corrupt(struct lsm_vtab_row *row, const char *why)
{
    row->why = why;
    return SQLITE_CORRUPT_VTAB;
}

/* The list of kept key columns: strictly ascending. Returns the offset behind it, 0: malformed. */
static size_t parse_kept(struct lsm_vtab_row *row, size_t off)
{
    uint64_t count, part;
    uint64_t next = 0;
    size_t n = get_varint(row->value, off, &count);

    if (n == 0 || count == 0 || count > (uint64_t)row->schema->key_count)
        return 0;
    off += n;
    for (uint64_t i = 0; i < count; i++) {
        n = get_varint(row->value, off, &part);
        if (n == 0 || part < next || part >= (uint64_t)row->schema->key_count)
            return 0;
        off += n;
        row->kept[part] = (int)i;
        next = part + 1;
    }
    row->kept_count = (int)count;
    return off;
}

static int parse_header(struct lsm_vtab_row *row)
{
    size_t off = 1, left;
    int count;

    if (row->value.size == 0)
        return corrupt(row, "row is empty");
    if (row->value.data[0] & ~FLAGS_KNOWN)
        return corrupt(row, "row has flags of a newer format");
    row->kept_count = 0;
    for (int i = 0; i < row->schema->key_count; i++)
        row->kept[i] = -1;
    if (row->value.data[0] & FLAG_KEPT) {
        off = parse_kept(row, off);
        if (off == 0)
            return corrupt(row, "row has a malformed list of kept key columns");
    }

    count = row->kept_count + row->schema->value_count;
    for (int i = 0; i < count; i++) {
        size_t n = get_varint(row->value, off, &row->field_code[i]);

        if (n == 0)
            return corrupt(row, "row ends within its header");
        off += n;
    }
    left = row->value.size - off;
    for (int i = 0; i < count; i++) {
        uint64_t code = row->field_code[i];
        uint64_t size;

        if (code < CODE_BLOB_REST)
            size = code_sizes[code];
        else if (code >= CODE_BLOB)
            size = (code - CODE_BLOB) / 2;
        else if (i == count - 1)
            size = left;
        else
            return corrupt(row, "row has an open length before its last column");
        if (size > left)
            return corrupt(row, "row has a column that is longer than the row");
        row->field_off[i] = row->value.size - left;
        left -= (size_t)size;
    }
    if (left != 0)
        return corrupt(row, "row has bytes behind its last column");
    row->parsed = true;
    return SQLITE_OK;
}

/* Sign-extend `size` bytes. */
static int64_t sign_extend(uint64_t v, size_t size)
{
    uint64_t sign = (uint64_t)1 << (8 * size - 1);

    return (int64_t)((v ^ sign) - sign);
}

static void decode_field(const struct lsm_vtab_row *row, int n, bool integer_is_real,
                         struct lsm_vtab_value *value)
{
    uint64_t code = row->field_code[n];
    const uint8_t *body = row->value.data + row->field_off[n];

    if (code == CODE_NULL) {
        value->type = SQLITE_NULL;
    } else if (code == CODE_REAL) {
        uint64_t bits = get_little_endian(body, 8);

        value->type = SQLITE_FLOAT;
        memcpy(&value->u.real, &bits, sizeof bits);
        if (value->u.real != value->u.real)
            value->type = SQLITE_NULL;          /* NaN is NULL in SQL */
    } else if (code < CODE_BLOB_REST) {
        value->type = SQLITE_INTEGER;
        if (code >= CODE_ZERO)
            value->u.integer = (int64_t)(code - CODE_ZERO);
        else
            value->u.integer = sign_extend(get_little_endian(body, code_sizes[code]),
                                           code_sizes[code]);
        if (integer_is_real) {
            value->type = SQLITE_FLOAT;
            value->u.real = (double)value->u.integer;
        }
    } else {
        value->type = code & 1 ? SQLITE_TEXT : SQLITE_BLOB;
        value->u.bytes.data = body;
        value->u.bytes.size = code >= CODE_BLOB ? (size_t)((code - CODE_BLOB) / 2)
                                                : row->value.size - row->field_off[n];
    }
}

/* Enough for all key columns of the row at once: later ones must not move the first. */
static int grow_scratch(struct lsm_vtab_row *row)
{
    size_t size = row->key.size + 64;
    uint8_t *scratch;

    if (row->scratch && row->scratch_size >= row->key.size)
        return SQLITE_OK;
    scratch = sqlite3_realloc64(row->scratch, size);
    if (!scratch)
        return SQLITE_NOMEM;
    row->scratch = scratch;
    row->scratch_size = size;
    return SQLITE_OK;
}

static __attribute__((noinline)) int decode_key_to(struct lsm_vtab_row *row, int part,
                                                   struct lsm_vtab_value *value)
{
    int rc = grow_scratch(row);

    for (; row->key_known <= part && rc == SQLITE_OK; row->key_known += rc == SQLITE_OK)
        rc = lsm_vtab_key_decode(&row->schema->key[row->key_known], row->key, &row->key_off,
                                 row->scratch, &row->key_value[row->key_known]);
    if (rc == SQLITE_OK)
        *value = row->key_value[part];
    return rc == SQLITE_CORRUPT_VTAB ? corrupt(row, "malformed key") : rc;
}

/* Each part once a row: SQLite asks for a column of the key again to check a bound, and again for
   the result. */
static inline int decode_key_column(struct lsm_vtab_row *row, int part, struct lsm_vtab_value *value)
{
    if (row->key_known <= part)
        return decode_key_to(row, part, value);
    *value = row->key_value[part];
    return SQLITE_OK;
}

int lsm_vtab_row_column(struct lsm_vtab_row *row, int column, struct lsm_vtab_value *value)
{
    const struct lsm_vtab_column *c = &row->schema->columns[column];
    int part = c->key_index;

    assert(column >= 0 && column < row->schema->column_count);
    value->type = SQLITE_NULL;
    if (part >= 0 && lsm_vtab_key_is_always_faithful(&row->schema->key[part]))
        return decode_key_column(row, part, value);
    if (!row->parsed) {
        int rc = parse_header(row);

        if (rc != SQLITE_OK)
            return rc;
    }
    if (part < 0) {
        decode_field(row, row->kept_count + c->value_index,
                     c->affinity == LSM_VTAB_AFFINITY_REAL, value);
        return SQLITE_OK;
    }
    if (row->kept[part] < 0)
        return decode_key_column(row, part, value);
    decode_field(row, row->kept[part], true, value);
    return SQLITE_OK;
}

/*
 * vtab_option.c -- options, and what to say about those that do not exist.
 */
#include "ext/vtab_option.h"

#include <stdarg.h>
#include <string.h>

#include <sqlite3ext.h>

#include "ext/vtab_token.h"

SQLITE_EXTENSION_INIT3

enum option_id {
    OPTION_BLOCK_SIZE = 1,
    OPTION_FILTER_BITS = 2,
    OPTION_COMPRESSION = 4,
    OPTION_BLOB_THRESHOLD = 8
};

static const struct {
    const char *name;
    enum option_id id;
} option_names[] = {
    { "block_size", OPTION_BLOCK_SIZE },
    { "filter_bits", OPTION_FILTER_BITS },
    { "bloom_bits", OPTION_FILTER_BITS },
    { "compression", OPTION_COMPRESSION },
    { "blob_threshold", OPTION_BLOB_THRESHOLD },
    { "min_blob_size", OPTION_BLOB_THRESHOLD },
};

#define ADVICE_PATH "the store is always <database>-lsm beside the database file"
#define ADVICE_MEMORY "memory is one budget for all tables of the database: " \
                      "INSERT INTO t(t, _arg) VALUES('memory', '256MB')"
#define ADVICE_SYNC "PRAGMA synchronous says how durable a commit is, as for ordinary tables"
#define ADVICE_TTL "rows do not expire by themselves in this version: DELETE them"

/* Names that people know from elsewhere, and what to do here instead. */
static const struct {
    const char *name, *advice;
} option_advice[] = {
    { "path", ADVICE_PATH },
    { "filename", ADVICE_PATH },
    { "memtable_size", ADVICE_MEMORY },
    { "write_buffer_size", ADVICE_MEMORY },
    { "cache_size", ADVICE_MEMORY },
    { "memory", ADVICE_MEMORY },
    { "sync", ADVICE_SYNC },
    { "synchronous", ADVICE_SYNC },
    { "ttl", ADVICE_TTL },
    { "ttl_col", ADVICE_TTL },
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define NAME_SIZE_MAX 32
#define ARG_SIZE_MAX 4096       /* longer ones are refused when they are parsed */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* Levenshtein, letters of ASCII folded; both at most NAME_SIZE_MAX. */
static int edit_distance(const char *a, const char *b)
{
    int row[NAME_SIZE_MAX + 1];
    int size_b = (int)strlen(b);

    for (int j = 0; j <= size_b; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];

        row[0] = i;
        for (int j = 1; j <= size_b; j++) {
            int best = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[size_b];
}

bool lsm_vtab_is_nearer(const char *name, const char *candidate, int *distance)
{
    int d;

    if (strlen(name) > NAME_SIZE_MAX || strlen(candidate) > NAME_SIZE_MAX)
        return false;
    d = edit_distance(name, candidate);
    if (d >= *distance || d >= (int)strlen(name))
        return false;
    *distance = d;
    return true;
}

/* Does one of the two begin with the other, as bloom and bloom_bits? */
static bool is_begun_by(const char *a, const char *b)
{
    size_t size = strlen(a) < strlen(b) ? strlen(a) : strlen(b);

    return size >= 4 && sqlite3_strnicmp(a, b, (int)size) == 0;
}

static int fail(char **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    *error = sqlite3_vmprintf(format, args);
    va_end(args);
    return *error ? SQLITE_ERROR : SQLITE_NOMEM;
}

static int fail_unknown(const char *name, char **error)
{
    const char *nearest = NULL;
    int distance = LSM_VTAB_TYPO_MAX + 1;

    for (size_t i = 0; i < COUNT(option_advice); i++)
        if (sqlite3_stricmp(name, option_advice[i].name) == 0)
            return fail(error, "lsm: no option '%s': %s", name, option_advice[i].advice);
    for (size_t i = 0; i < COUNT(option_names); i++)
        if (lsm_vtab_is_nearer(name, option_names[i].name, &distance))
            nearest = option_names[i].name;
    for (size_t i = 0; i < COUNT(option_names) && nearest == NULL; i++)
        if (is_begun_by(name, option_names[i].name))
            nearest = option_names[i].name;
    if (nearest)
        return fail(error, "lsm: unknown option '%!.60s' (did you mean '%s'?)", name, nearest);
    return fail(error, "lsm: unknown option '%!.60s' "
                "(there are blob_threshold, block_size, compression, filter_bits)", name);
}

/* Digits up to `max`, which is below 2^32; the first byte behind them, NULL: none or more. */
static const char *parse_count(const char *s, uint64_t max, uint64_t *v)
{
    if (*s < '0' || *s > '9')
        return NULL;
    for (*v = 0; *s >= '0' && *s <= '9'; s++) {
        *v = *v * 10 + (uint64_t)(*s - '0');
        if (*v > max)
            return NULL;
    }
    return s;
}

static bool parse_size(const char *s, uint64_t max, uint64_t *v)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {
        { "", 1 }, { "B", 1 }, { "K", 1024 }, { "KB", 1024 }, { "KiB", 1024 },
        { "M", 1 << 20 }, { "MB", 1 << 20 }, { "MiB", 1 << 20 },
    };

    s = parse_count(s, max, v);
    if (!s)
        return false;
    s += strspn(s, " ");
    for (size_t i = 0; i < COUNT(units); i++) {
        if (sqlite3_stricmp(s, units[i].unit) == 0) {
            *v *= units[i].factor;
            return *v <= max;
        }
    }
    return false;
}

static int set_option(struct lsm_vtab_options *options, enum option_id id, const char *name,
                      const char *value, char **error)
{
    const char *end;
    uint64_t v;

    switch (id) {
    case OPTION_BLOCK_SIZE:
        if (!parse_size(value, 1 << 20, &v) || v < 512)
            return fail(error, "lsm: %s='%!.60s': a size from 512 to 1MB is needed, like 16KB",
                        name, value);
        options->block_bytes = (uint32_t)v;
        break;
    case OPTION_FILTER_BITS:
        end = parse_count(value, 20, &v);
        if (!end || *end)
            return fail(error, "lsm: %s='%!.60s': a number from 0 (no filter) to 20 is needed",
                        name, value);
        options->filter_bits = v ? (uint32_t)v : LSM_FILTER_NONE;
        break;
    case OPTION_COMPRESSION:
        if (sqlite3_stricmp(value, "none") == 0) {
            options->compression_level = LSM_COMPRESSION_NONE;
            break;
        }
        if (sqlite3_stricmp(value, "zstd") == 0) {
            options->compression_level = 0;     /* the engine's default level */
            break;
        }
        end = sqlite3_strnicmp(value, "zstd:", 5) ? NULL : parse_count(value + 5, 19, &v);
        if (!end || *end || v == 0)
            return fail(error, "lsm: %s='%!.60s': none, zstd or zstd:1 .. zstd:19 is needed", name,
                        value);
        options->compression_level = (int32_t)v;
        break;
    case OPTION_BLOB_THRESHOLD:
        if (sqlite3_stricmp(value, "off") == 0) {
            options->value_log_bytes = LSM_VALUE_LOG_NONE;
            break;
        }
        if (!parse_size(value, 1 << 30, &v) || v < 64)
            return fail(error, "lsm: %s='%!.60s': off, or a size from 64 to 1024MB is needed, "
                        "like 4KB", name, value);
        options->value_log_bytes = (uint32_t)v;
        break;
    }
    return SQLITE_OK;
}

int lsm_vtab_option_set(struct lsm_vtab_options *options, unsigned *seen, const char *name,
                        const char *value, char **error)
{
    for (size_t i = 0; i < COUNT(option_names); i++) {
        if (sqlite3_stricmp(name, option_names[i].name) != 0)
            continue;
        if (*seen & option_names[i].id)
            return fail(error, "lsm: option '%s' is given twice", name);
        *seen |= option_names[i].id;
        return set_option(options, option_names[i].id, name, value, error);
    }
    return fail_unknown(name, error);
}

/* ---- typing errors ----------------------------------------------------------- */

/* The word that this one was meant to be; NULL: it is one, or like none. */
static const char *meant(const struct lsm_vtab_token *token)
{
    static const char *const words[] = { "PRIMARY", "DEFAULT", "COLLATE", "CONSTRAINT" };
    const char *nearest = NULL;
    char word[NAME_SIZE_MAX + 1];
    int distance = 3;

    if (token->kind != LSM_VTAB_TOKEN_WORD || token->size > NAME_SIZE_MAX)
        return NULL;
    memcpy(word, token->text, token->size);
    word[token->size] = '\0';
    for (size_t i = 0; i < COUNT(words); i++)
        if (lsm_vtab_is_nearer(word, words[i], &distance))
            nearest = words[i];
    return distance > 0 ? nearest : NULL;
}

static bool is_option(const struct lsm_vtab_token *token)
{
    if (token->kind != LSM_VTAB_TOKEN_WORD)
        return false;
    for (size_t i = 0; i < COUNT(option_names); i++)
        if (strlen(option_names[i].name) == token->size
            && sqlite3_strnicmp(token->text, option_names[i].name, (int)token->size) == 0)
            return true;
    return false;
}

static bool is_word(const struct lsm_vtab_token *token, const char *word)
{
    return token->kind == LSM_VTAB_TOKEN_WORD && token->size == strlen(word)
           && sqlite3_strnicmp(token->text, word, (int)token->size) == 0;
}

static int check_argument(const char *arg, char **error)
{
    struct lsm_vtab_token name, token;
    const char *next = lsm_vtab_token_read(lsm_vtab_token_read(arg, &name), &token);

    if (token.kind == LSM_VTAB_TOKEN_PUNCT && *token.text == '=')
        return SQLITE_OK;
    if (is_option(&name))
        return fail(error, "lsm: option %.*s has no '=' (a column of this name must be quoted: \"%.*s\")",
                    (int)name.size, name.text, (int)name.size, name.text);
    if (is_word(&token, "KEY") && meant(&name))
        return fail(error, "lsm: %.*s KEY is not understood (did you mean %s?)", (int)name.size, name.text,
                    meant(&name));
    if (is_word(&name, "PRIMARY") || is_word(&name, "CONSTRAINT"))
        return SQLITE_OK;                       /* names of columns follow */
    for (; token.kind != LSM_VTAB_TOKEN_END; next = lsm_vtab_token_read(next, &token))
        if (meant(&token))
            return fail(error, "lsm: column \"%.*s\": %.*s is not understood (did you mean %s?)",
                        (int)(name.size < 60 ? name.size : 60), name.text, (int)token.size, token.text,
                        meant(&token));
    return SQLITE_OK;
}

int lsm_vtab_option_check_typos(int argc, const char *const *argv, char **error)
{
    int rc = SQLITE_OK;

    for (int i = 3; i < argc && rc == SQLITE_OK; i++)
        if (strlen(argv[i]) <= ARG_SIZE_MAX)
            rc = check_argument(argv[i], error);
    return rc;
}

/*
 * vtab_schema.c -- a parser for what stands between the parentheses of
 * CREATE VIRTUAL TABLE ... USING lsm(...).
 *
 *     argument   := option | constraint | column
 *     option     := word '=' (quoted | bare text)
 *     constraint := [CONSTRAINT name] PRIMARY KEY '(' name [ASC|DESC] {',' ...} ')'
 *     column     := name [type] clause*
 *     type       := word+ ['(' number [',' number] ')'] | quoted
 *     clause     := [CONSTRAINT name] (PRIMARY KEY [ASC|DESC] | NOT NULL | NULL
 *                                      | DEFAULT literal | COLLATE name)
 *
 * SQLite gives each argument as the text that the user wrote, comments inside
 * included, and checks nothing but parentheses. The text may also come from a
 * hostile database file. So it is taken apart into tokens here, and what is
 * declared to SQLite is written anew from what was understood: names with %w,
 * type words only if they are words.
 */
#include "ext/vtab_schema.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ext/vtab_option.h"
#include "ext/vtab_token.h"

SQLITE_EXTENSION_INIT3

/* ---- the text at hand ----------------------------------------------------- */

struct parser {
    const char *next;           /* behind `token` */
    struct lsm_vtab_token token;
    struct lsm_vtab_schema *schema;
    char **error;
    int rc;                     /* latched; the first message stays */
    bool has_key_argument;      /* PRIMARY KEY(...) */
};

static void advance(struct parser *p)
{
    p->next = lsm_vtab_token_read(p->next, &p->token);
}

static void start(struct parser *p, const char *arg)
{
    p->next = arg;
    advance(p);
}

static bool is_keyword(const struct parser *p, const char *word)
{
    return p->token.kind == LSM_VTAB_TOKEN_WORD && p->token.size == strlen(word)
           && sqlite3_strnicmp(p->token.text, word, (int)p->token.size) == 0;
}

static bool is_punct(const struct parser *p, char c)
{
    return p->token.kind == LSM_VTAB_TOKEN_PUNCT && *p->token.text == c;
}

static bool accept_keyword(struct parser *p, const char *word)
{
    if (!is_keyword(p, word))
        return false;
    advance(p);
    return true;
}

static bool accept_punct(struct parser *p, char c)
{
    if (!is_punct(p, c))
        return false;
    advance(p);
    return true;
}

/* ---- messages and memory -------------------------------------------------- */

static void fail(struct parser *p, const char *format, ...)
{
    char *text;
    va_list args;

    if (p->rc != SQLITE_OK)
        return;
    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    p->rc = text ? SQLITE_ERROR : SQLITE_NOMEM;
    *p->error = text;
}

/* The current token, for "%.*s" in a message. */
#define TOKEN_ARGS(p) (int)((p)->token.size < 60 ? (p)->token.size : 60), (p)->token.text

/* What stands here cannot: say what is wrong with it. */
static void fail_token(struct parser *p, const char *where, const char *name)
{
    if (p->token.kind == LSM_VTAB_TOKEN_BAD)
        fail(p, "lsm: %s \"%!.60s\": malformed or unclosed: %.*s", where, name, TOKEN_ARGS(p));
    else if (p->token.kind == LSM_VTAB_TOKEN_END)
        fail(p, "lsm: %s \"%!.60s\" ends too early", where, name);
    else
        fail(p, "lsm: %s \"%!.60s\": not understood: %.*s", where, name, TOKEN_ARGS(p));
}

static void *alloc_zero(struct parser *p, size_t size)
{
    void *memory = p->rc == SQLITE_OK ? sqlite3_malloc64(size ? size : 1) : NULL;

    if (memory)
        memset(memory, 0, size);
    else if (p->rc == SQLITE_OK)
        p->rc = SQLITE_NOMEM;
    return memory;
}

static char *copy_text(struct parser *p, const char *text, size_t size)
{
    char *copy = alloc_zero(p, size + 1);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* A quoted token without its quotes; a word as it is. */
static char *unquote(struct parser *p)
{
    char *copy = alloc_zero(p, p->token.size + 1);

    if (copy)
        lsm_vtab_token_unquote(&p->token, copy);
    return copy;
}

static bool is_name(const struct parser *p)
{
    return p->token.kind == LSM_VTAB_TOKEN_WORD || p->token.kind == LSM_VTAB_TOKEN_NAME
           || p->token.kind == LSM_VTAB_TOKEN_STRING;
}

/* ---- options -------------------------------------------------------------- */

/* At the '=' behind `name`. */
static void parse_option(struct parser *p, const char *name, unsigned *options_seen)
{
    char *value = NULL;

    advance(p);
    if (p->token.kind == LSM_VTAB_TOKEN_STRING || p->token.kind == LSM_VTAB_TOKEN_NAME) {
        value = unquote(p);
        advance(p);
    } else {
        const char *text = p->token.text;
        const char *end = text;

        /* 64KB is no token of SQL, but it is a size. */
        while (p->token.kind != LSM_VTAB_TOKEN_END
               && (p->token.kind != LSM_VTAB_TOKEN_BAD
                   || (*p->token.text >= '0' && *p->token.text <= '9'))) {
            end = p->next;
            advance(p);
        }
        value = copy_text(p, text, (size_t)(end - text));
    }
    if (p->token.kind != LSM_VTAB_TOKEN_END)
        fail_token(p, "option", name);
    else if (value && !*value)
        fail(p, "lsm: option '%!.60s' has no value", name);
    if (p->rc == SQLITE_OK)
        p->rc = lsm_vtab_option_set(&p->schema->options, options_seen, name, value, p->error);
    sqlite3_free(value);
}

/* ---- columns -------------------------------------------------------------- */

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Words with which a clause begins, so that no type goes on there. */
static const char *const clause_words[] = {
    "CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE", "REFERENCES",
    "GENERATED", "AS", "AUTOINCREMENT", "DEFERRABLE", "ON", "FOREIGN",
};

static bool at_clause(const struct parser *p)
{
    for (size_t i = 0; i < COUNT(clause_words); i++)
        if (is_keyword(p, clause_words[i]))
            return true;
    return false;
}

/* "( 10 , +2 )" is written "(10,+2)". */
static void parse_type_size(struct parser *p, sqlite3_str *type, const char *column)
{
    int count = 0;

    sqlite3_str_append(type, "(", 1);
    do {
        if (count++)
            sqlite3_str_append(type, ",", 1);
        if (is_punct(p, '+') || is_punct(p, '-')) {
            sqlite3_str_append(type, p->token.text, 1);
            advance(p);
        }
        if (p->token.kind != LSM_VTAB_TOKEN_NUMBER) {
            fail_token(p, "column", column);
            return;
        }
        sqlite3_str_append(type, p->token.text, (int)p->token.size);
        advance(p);
    } while (count < 2 && accept_punct(p, ','));
    if (!accept_punct(p, ')'))
        fail_token(p, "column", column);
    sqlite3_str_append(type, ")", 1);
}

/* SQLite takes a column for hidden if this is one of its type's words. */
static bool has_hidden(const char *type)
{
    for (; *type; type++)
        if (sqlite3_strnicmp(type, "hidden", 6) == 0)
            return true;
    return false;
}

/*
 * A type is words and sizes, or one quoted name: SQLite takes the latter for
 * the whole type, whatever follows. Keywords are not taken for words, though
 * SQLite allows some: most are a clause that was misspelt.
 */
static char *parse_type(struct parser *p, const char *column)
{
    sqlite3_str *type = sqlite3_str_new(NULL);
    char *text;

    if (p->token.kind == LSM_VTAB_TOKEN_NAME || p->token.kind == LSM_VTAB_TOKEN_STRING) {
        char *name = unquote(p);

        if (name)
            sqlite3_str_appendf(type, "\"%w\"", name);
        sqlite3_free(name);
        advance(p);
    } else {
        while (p->token.kind == LSM_VTAB_TOKEN_WORD && !at_clause(p)
               && !sqlite3_keyword_check(p->token.text, (int)p->token.size)) {
            sqlite3_str_appendf(type, "%s%.*s", sqlite3_str_length(type) ? " " : "",
                                (int)p->token.size, p->token.text);
            advance(p);
        }
        if (sqlite3_str_length(type) && accept_punct(p, '('))
            parse_type_size(p, type, column);
    }
    if (p->rc == SQLITE_OK && sqlite3_str_errcode(type) != SQLITE_OK)
        p->rc = sqlite3_str_errcode(type);

    text = sqlite3_str_finish(type);            /* NULL if empty */
    if (!text)
        text = copy_text(p, "", 0);
    if (text && has_hidden(text))
        fail(p, "lsm: column \"%!.60s\": HIDDEN is not supported", column);
    return text;
}

/* A word or quoted text as the bytes of a default; takes over the copy. */
static void set_default_text(struct lsm_vtab_column *column, int type, char *text, size_t size)
{
    column->default_kind = LSM_VTAB_DEFAULT_VALUE;
    column->default_value.type = type;
    column->default_value.u.bytes.data = (uint8_t *)text;
    column->default_value.u.bytes.size = size;
}

static void set_default_integer(struct lsm_vtab_column *column, int64_t v)
{
    column->default_kind = LSM_VTAB_DEFAULT_VALUE;
    column->default_value.type = SQLITE_INTEGER;
    column->default_value.u.integer = v;
}

static void parse_default_number(struct parser *p, struct lsm_vtab_column *column, bool negative)
{
    char text[80];
    struct lsm_slice number = { (const uint8_t *)text, 0 };
    const char *s = p->token.text;

    if (p->token.kind != LSM_VTAB_TOKEN_NUMBER) {
        fail_token(p, "column", column->name);
        return;
    }
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        const char *end = s + p->token.size;
        uint64_t v = 0;

        for (s += 2; s < end && !(v >> 60); s++)
            v = v << 4 | (uint64_t)lsm_vtab_hex_digit(*s);
        if (s < end || (negative && v == (uint64_t)1 << 63)) {
            fail(p, "lsm: column \"%!.60s\": hex number too big: %.*s", column->name,
                 TOKEN_ARGS(p));
            return;
        }
        set_default_integer(column, (int64_t)(negative ? 0 - v : v));
        return;
    }
    if (p->token.size > sizeof text - 2) {
        fail(p, "lsm: column \"%!.60s\": number too long: %.*s...", column->name, TOKEN_ARGS(p));
        return;
    }
    if (negative)
        text[number.size++] = '-';
    memcpy(text + number.size, s, p->token.size);
    number.size += p->token.size;
    if (!lsm_vtab_value_parse(number, &column->default_value)) {
        p->rc = SQLITE_NOMEM;                   /* the token is a number: it is nothing else */
        return;
    }
    column->default_kind = LSM_VTAB_DEFAULT_VALUE;
}

static void parse_default_blob(struct parser *p, struct lsm_vtab_column *column)
{
    size_t size = (p->token.size - 3) / 2;
    char *bytes = alloc_zero(p, size + 1);

    for (size_t i = 0; bytes && i < size; i++)
        bytes[i] = (char)(lsm_vtab_hex_digit(p->token.text[2 + 2 * i]) << 4
                          | lsm_vtab_hex_digit(p->token.text[3 + 2 * i]));
    if (bytes)
        set_default_text(column, SQLITE_BLOB, bytes, size);
}

/* Behind DEFAULT. */
static void parse_default(struct parser *p, struct lsm_vtab_column *column)
{
    char *text;

    if (is_punct(p, '-') || is_punct(p, '+')) {
        bool negative = is_punct(p, '-');

        advance(p);
        parse_default_number(p, column, negative);
    } else if (p->token.kind == LSM_VTAB_TOKEN_NUMBER) {
        parse_default_number(p, column, false);
    } else if (p->token.kind == LSM_VTAB_TOKEN_STRING || p->token.kind == LSM_VTAB_TOKEN_NAME) {
        text = unquote(p);
        if (text)
            set_default_text(column, SQLITE_TEXT, text, strlen(text));
    } else if (p->token.kind == LSM_VTAB_TOKEN_BLOB) {
        parse_default_blob(p, column);
    } else if (is_keyword(p, "TRUE") || is_keyword(p, "FALSE")) {
        set_default_integer(column, is_keyword(p, "TRUE"));
    } else if (is_keyword(p, "CURRENT_DATE")) {
        column->default_kind = LSM_VTAB_DEFAULT_DATE;
    } else if (is_keyword(p, "CURRENT_TIME")) {
        column->default_kind = LSM_VTAB_DEFAULT_TIME;
    } else if (is_keyword(p, "CURRENT_TIMESTAMP")) {
        column->default_kind = LSM_VTAB_DEFAULT_TIMESTAMP;
    } else if (is_punct(p, '(')) {
        fail(p, "lsm: column \"%!.60s\": DEFAULT takes a literal, not an expression", column->name);
    } else if (!is_keyword(p, "NULL")) {
        fail_token(p, "column", column->name);
    }
    advance(p);
}

static void parse_collation(struct parser *p, struct lsm_vtab_column *column)
{
    char *name;

    if (!is_name(p)) {
        fail_token(p, "column", column->name);
        return;
    }
    name = unquote(p);
    if (!name)
        return;
    column->collation = LSM_VTAB_COLLATION_BINARY;
    while (sqlite3_stricmp(name, lsm_vtab_collation_name(column->collation)) != 0) {
        if (column->collation == LSM_VTAB_COLLATION_RTRIM) {
            fail(p, "lsm: column \"%!.60s\": COLLATE %!.60s is not supported "
                 "(BINARY, NOCASE and RTRIM are)", column->name, name);
            break;
        }
        column->collation++;
    }
    sqlite3_free(name);
    advance(p);
}

/* Append to the key; `name` for messages. */
static void add_key_part(struct parser *p, int column, bool desc)
{
    struct lsm_vtab_schema *s = p->schema;
    struct lsm_vtab_key_part *part;

    assert(s->key_count < LSM_VTAB_COLUMN_COUNT_MAX);
    part = sqlite3_realloc64(s->key, (size_t)(s->key_count + 1) * sizeof *part);
    if (!part) {
        p->rc = SQLITE_NOMEM;
        return;
    }
    s->key = part;
    part += s->key_count++;
    memset(part, 0, sizeof *part);
    part->column = column;
    part->desc = desc;
}

static bool accept_direction(struct parser *p)
{
    if (accept_keyword(p, "DESC"))
        return true;
    accept_keyword(p, "ASC");
    return false;
}

static void fail_second_key(struct parser *p)
{
    fail(p, "lsm: more than one PRIMARY KEY (for a composite key: PRIMARY KEY(a, b))");
}

static void fail_clause(struct parser *p, const struct lsm_vtab_column *column)
{
    static const struct {
        const char *word, *advice;
    } refused[] = {
        { "UNIQUE", " (only the PRIMARY KEY is unique)" },
        { "AUTOINCREMENT", " (keys are given by the INSERT)" },
        { "CHECK", "" }, { "REFERENCES", "" }, { "FOREIGN", "" }, { "GENERATED", "" }, { "AS", "" },
        { "DEFERRABLE", "" },
        { "ON", " (give the conflict clause in the statement: INSERT OR ...)" },
    };

    for (size_t i = 0; i < COUNT(refused); i++) {
        if (is_keyword(p, refused[i].word)) {
            fail(p, "lsm: column \"%!.60s\": %s is not supported%s", column->name, refused[i].word,
                 refused[i].advice);
            return;
        }
    }
    fail_token(p, "column", column->name);
}

static void parse_clause(struct parser *p, struct lsm_vtab_column *column)
{
    if (accept_keyword(p, "CONSTRAINT")) {
        if (is_name(p))
            advance(p);
        if (!at_clause(p) || is_keyword(p, "CONSTRAINT")) {
            fail_token(p, "column", column->name);
            return;
        }
    }
    if (accept_keyword(p, "PRIMARY")) {
        if (!accept_keyword(p, "KEY"))
            fail_token(p, "column", column->name);
        else if (p->schema->key_count)
            fail_second_key(p);
        else
            add_key_part(p, p->schema->column_count - 1, accept_direction(p));
    } else if (accept_keyword(p, "NOT")) {
        if (!accept_keyword(p, "NULL"))
            fail_token(p, "column", column->name);
        column->not_null = true;
    } else if (accept_keyword(p, "NULL")) {
        ;                                       /* it may be NULL: says nothing */
    } else if (accept_keyword(p, "DEFAULT")) {
        if (column->default_kind != LSM_VTAB_DEFAULT_NONE)
            fail(p, "lsm: column \"%!.60s\" has two DEFAULTs", column->name);
        else
            parse_default(p, column);
    } else if (accept_keyword(p, "COLLATE")) {
        parse_collation(p, column);
    } else {
        fail_clause(p, column);
    }
}

static bool is_reserved(const char *name)
{
    return sqlite3_stricmp(name, "_arg") == 0 || sqlite3_stricmp(name, "_key") == 0
           || sqlite3_stricmp(name, "_expires") == 0 || sqlite3_stricmp(name, "_seq") == 0;
}

static struct lsm_vtab_column *add_column(struct parser *p, char *name)
{
    struct lsm_vtab_schema *s = p->schema;
    struct lsm_vtab_column *column = NULL;

    if (s->column_count == LSM_VTAB_COLUMN_COUNT_MAX)
        fail(p, "lsm: more than %d columns", LSM_VTAB_COLUMN_COUNT_MAX);
    /* Grown at powers of two. */
    if (p->rc == SQLITE_OK && (s->column_count & (s->column_count - 1)) == 0) {
        size_t room = s->column_count ? 2 * (size_t)s->column_count : 1;

        column = sqlite3_realloc64(s->columns, room * sizeof *column);
        if (column)
            s->columns = column;
        else
            p->rc = SQLITE_NOMEM;
    }
    if (p->rc != SQLITE_OK) {
        sqlite3_free(name);
        return NULL;
    }
    column = &s->columns[s->column_count++];
    memset(column, 0, sizeof *column);
    column->name = name;
    column->key_index = column->value_index = -1;
    return column;
}

static void parse_column(struct parser *p)
{
    struct lsm_vtab_column *column;
    char *name;

    if (!is_name(p)) {
        fail(p, "lsm: an argument is a column definition, PRIMARY KEY(...) or option=value, "
             "not: %.*s", TOKEN_ARGS(p));
        return;
    }
    name = unquote(p);
    if (!name)
        return;
    if (!*name)
        fail(p, "lsm: a column has an empty name");
    else if (strlen(name) > LSM_VTAB_NAME_SIZE_MAX)
        fail(p, "lsm: a column's name is longer than %d bytes: \"%!.60s...\"",
             LSM_VTAB_NAME_SIZE_MAX, name);
    column = add_column(p, name);
    if (!column)
        return;
    advance(p);
    column->type = parse_type(p, column->name);
    while (p->rc == SQLITE_OK && p->token.kind != LSM_VTAB_TOKEN_END)
        parse_clause(p, column);
    if (p->rc == SQLITE_OK)
        column->affinity = lsm_vtab_affinity_of_type(column->type);
}

/* ---- the table ------------------------------------------------------------ */

static int find_column(const struct lsm_vtab_schema *s, const char *name)
{
    for (int i = 0; i < s->column_count; i++)
        if (sqlite3_stricmp(s->columns[i].name, name) == 0)
            return i;
    return -1;
}

/* At KEY(...). */
static void parse_key(struct parser *p)
{
    if (p->schema->key_count) {
        fail_second_key(p);
        return;
    }
    if (!accept_keyword(p, "KEY") || !accept_punct(p, '(')) {
        fail_token(p, "constraint", "PRIMARY KEY");
        return;
    }
    do {
        char *name = is_name(p) ? unquote(p) : NULL;
        int column;

        if (!name) {
            fail_token(p, "constraint", "PRIMARY KEY");
            return;
        }
        column = find_column(p->schema, name);
        if (column < 0)
            fail(p, "lsm: PRIMARY KEY names an unknown column: \"%!.60s\"", name);
        for (int i = 0; i < p->schema->key_count; i++)
            if (p->schema->key[i].column == column)
                fail(p, "lsm: PRIMARY KEY names a column twice: \"%!.60s\"", name);
        sqlite3_free(name);
        advance(p);
        if (is_keyword(p, "COLLATE"))
            fail(p, "lsm: COLLATE belongs to the column's definition, not into PRIMARY KEY(...)");
        if (p->rc == SQLITE_OK)
            add_key_part(p, column, accept_direction(p));
    } while (p->rc == SQLITE_OK && accept_punct(p, ','));
    if (!accept_punct(p, ')') || p->token.kind != LSM_VTAB_TOKEN_END)
        fail_token(p, "constraint", "PRIMARY KEY");
}

static int compare_names(const void *a, const void *b)
{
    return sqlite3_stricmp(*(char *const *)a, *(char *const *)b);
}

static void check_columns(struct parser *p)
{
    struct lsm_vtab_schema *s = p->schema;
    char **names = alloc_zero(p, (size_t)s->column_count * sizeof *names);

    if (!names)
        return;
    for (int i = 0; i < s->column_count; i++) {
        names[i] = s->columns[i].name;
        if (is_reserved(names[i]))
            fail(p, "lsm: column name \"%s\" is reserved for a hidden column", names[i]);
    }
    qsort(names, (size_t)s->column_count, sizeof *names, compare_names);
    for (int i = 1; i < s->column_count; i++)
        if (sqlite3_stricmp(names[i - 1], names[i]) == 0)
            fail(p, "lsm: duplicate column name: %!.60s", names[i]);
    sqlite3_free(names);
    if (p->rc == SQLITE_OK)
        p->rc = lsm_vtab_schema_check_name(s, s->table, p->error);
}

/* Fill in what follows from columns and key. */
static void derive(struct parser *p)
{
    struct lsm_vtab_schema *s = p->schema;

    if (p->rc == SQLITE_OK && s->key_count == 0)
        fail(p, "lsm: no PRIMARY KEY (add one, e.g. \"key TEXT PRIMARY KEY\")");
    s->value_columns = alloc_zero(p, (size_t)s->column_count * sizeof *s->value_columns);
    if (p->rc != SQLITE_OK)
        return;
    for (int i = 0; i < s->key_count; i++) {
        struct lsm_vtab_column *column = &s->columns[s->key[i].column];

        column->key_index = i;
        column->not_null = true;
        s->key[i].affinity = column->affinity;
        s->key[i].collation = column->collation;
    }
    for (int i = 0; i < s->column_count; i++) {
        struct lsm_vtab_column *column = &s->columns[i];

        if (column->key_index < 0) {
            column->value_index = s->value_count;
            s->value_columns[s->value_count++] = i;
        }
        if (column->default_kind != LSM_VTAB_DEFAULT_NONE && !column->not_null)
            fail(p, "lsm: column \"%!.60s\": DEFAULT needs NOT NULL (SQLite does not tell a "
                 "virtual table a column that is left out from NULL)", column->name);
    }
    s->column_table = s->column_count;
    s->column_arg = s->column_count + 1;
    s->column_key = s->key_count > 1 ? s->column_count + 2 : -1;
    s->column_primary = s->key_count > 1 ? s->column_key : s->key[0].column;
}

/* No column given: (key PRIMARY KEY, value). */
static void add_default_columns(struct parser *p)
{
    start(p, "key PRIMARY KEY");
    parse_column(p);
    if (p->rc == SQLITE_OK) {
        start(p, "value");
        parse_column(p);
    }
}

/* Step over CONSTRAINT name: the name says nothing. */
static void skip_constraint_name(struct parser *p)
{
    if (!accept_keyword(p, "CONSTRAINT"))
        return;
    if (is_name(p))
        advance(p);
    if (!at_clause(p))
        fail_token(p, "constraint", "CONSTRAINT");
}

static void parse_argument(struct parser *p, const char *arg, unsigned *options_seen)
{
    struct parser ahead;

    if (strlen(arg) > LSM_VTAB_ARG_SIZE_MAX) {
        fail(p, "lsm: an argument is longer than %d bytes: %!.60s...", LSM_VTAB_ARG_SIZE_MAX, arg);
        return;
    }
    start(p, arg);
    ahead = *p;
    advance(&ahead);
    if (p->token.kind == LSM_VTAB_TOKEN_WORD && is_punct(&ahead, '=')) {
        char *name = unquote(p);

        advance(p);
        if (name)
            parse_option(p, name, options_seen);
        sqlite3_free(name);
        return;
    }
    skip_constraint_name(p);
    if (is_keyword(p, "UNIQUE") || is_keyword(p, "CHECK") || is_keyword(p, "FOREIGN"))
        fail(p, "lsm: %.*s%s is not supported", TOKEN_ARGS(p), is_keyword(p, "FOREIGN") ? " KEY" : "");
    else if (is_keyword(p, "PRIMARY"))
        p->has_key_argument = true;
    else
        parse_column(p);
}

/* PRIMARY KEY(...) may stand before the columns it names, so it is a second pass. */
static void parse_key_argument(struct parser *p, const char *arg)
{
    start(p, arg);
    skip_constraint_name(p);
    if (accept_keyword(p, "PRIMARY"))
        parse_key(p);
}

int lsm_vtab_schema_parse(int argc, const char *const *argv, struct lsm_vtab_schema **schema,
                          char **error)
{
    struct parser p;
    unsigned options_seen = 0;

    assert(argc >= 3);
    memset(&p, 0, sizeof p);
    *schema = NULL;
    *error = NULL;
    p.error = error;
    p.schema = alloc_zero(&p, sizeof *p.schema);
    if (!p.schema)
        return SQLITE_NOMEM;
    p.schema->table = copy_text(&p, argv[2], strlen(argv[2]));

    for (int i = 3; i < argc && p.rc == SQLITE_OK; i++)
        parse_argument(&p, argv[i], &options_seen);
    if (p.rc == SQLITE_OK && p.schema->column_count == 0 && p.has_key_argument)
        fail(&p, "lsm: PRIMARY KEY(...) names columns that are not there (e.g. lsm(a, b, PRIMARY KEY(a, b)))");
    if (p.rc == SQLITE_OK && p.schema->column_count == 0)
        add_default_columns(&p);
    for (int i = 3; i < argc && p.rc == SQLITE_OK; i++)
        parse_key_argument(&p, argv[i]);
    if (p.rc == SQLITE_OK)
        check_columns(&p);
    derive(&p);

    if (p.rc != SQLITE_OK) {
        lsm_vtab_schema_free(p.schema);
        return p.rc;
    }
    *schema = p.schema;
    return SQLITE_OK;
}

void lsm_vtab_schema_free(struct lsm_vtab_schema *schema)
{
    if (!schema)
        return;
    for (int i = 0; i < schema->column_count; i++) {
        struct lsm_vtab_column *column = &schema->columns[i];

        sqlite3_free(column->name);
        sqlite3_free(column->type);
        if (column->default_value.type == SQLITE_TEXT || column->default_value.type == SQLITE_BLOB)
            sqlite3_free((void *)(uintptr_t)column->default_value.u.bytes.data);
    }
    sqlite3_free(schema->columns);
    sqlite3_free(schema->key);
    sqlite3_free(schema->value_columns);
    sqlite3_free(schema->table);
    sqlite3_free(schema);
}

int lsm_vtab_schema_check_name(const struct lsm_vtab_schema *schema, const char *name,
                               char **error)
{
    int column = find_column(schema, name);

    if (is_reserved(name))
        *error = sqlite3_mprintf("lsm: a table cannot be named \"%s\": a hidden column is", name);
    else if (column >= 0)
        *error = sqlite3_mprintf("lsm: column \"%!.60s\" has the name of the table, "
                                 "which is its hidden command column",
                                 schema->columns[column].name);
    else
        return SQLITE_OK;
    return *error ? SQLITE_ERROR : SQLITE_NOMEM;
}

/* ---- texts ---------------------------------------------------------------- */

const char *lsm_vtab_collation_name(enum lsm_vtab_collation collation)
{
    switch (collation) {
    case LSM_VTAB_COLLATION_NOCASE: return "NOCASE";
    case LSM_VTAB_COLLATION_RTRIM: return "RTRIM";
    default: return "BINARY";
    }
}

static void append_column(sqlite3_str *text, const struct lsm_vtab_column *column)
{
    sqlite3_str_appendf(text, "\"%w\"", column->name);
    if (*column->type)
        sqlite3_str_appendf(text, " %s", column->type);
    if (column->collation != LSM_VTAB_COLLATION_BINARY)
        sqlite3_str_appendf(text, " COLLATE %s", lsm_vtab_collation_name(column->collation));
    if (column->not_null)
        sqlite3_str_appendall(text, " NOT NULL");
}

char *lsm_vtab_schema_declaration(const struct lsm_vtab_schema *schema)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    sqlite3_str_appendall(text, "CREATE TABLE t(");
    for (int i = 0; i < schema->column_count; i++) {
        append_column(text, &schema->columns[i]);
        if (i == schema->column_primary)
            sqlite3_str_appendall(text, " PRIMARY KEY");
        sqlite3_str_appendall(text, ", ");
    }
    sqlite3_str_appendf(text, "\"%w\" HIDDEN, \"_arg\" HIDDEN", schema->table);
    if (schema->column_key >= 0)
        sqlite3_str_appendall(text, ", \"_key\" BLOB HIDDEN PRIMARY KEY");
    sqlite3_str_appendall(text, ") WITHOUT ROWID");
    return sqlite3_str_finish(text);
}

char *lsm_vtab_schema_canonical(const struct lsm_vtab_schema *schema)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    for (int i = 0; i < schema->column_count; i++) {
        append_column(text, &schema->columns[i]);
        sqlite3_str_appendall(text, ", ");
    }
    sqlite3_str_appendall(text, "PRIMARY KEY(");
    for (int i = 0; i < schema->key_count; i++)
        sqlite3_str_appendf(text, "%s\"%w\"%s", i ? ", " : "",
                            schema->columns[schema->key[i].column].name,
                            schema->key[i].desc ? " DESC" : "");
    sqlite3_str_appendall(text, ")");
    return sqlite3_str_finish(text);
}

/* ---- defaults ------------------------------------------------------------- */

/* Now in UTC, as datetime('now') has it: SQLite's clock, so that a VFS may set it. */
static void render_now(enum lsm_vtab_default kind, char text[32])
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_int64 julian_ms = 0;
    int64_t seconds, day, era, day_of_era, year, day_of_year, month;
    double julian = 0;
    char date[16], time[16];

    if (vfs && vfs->iVersion >= 2 && vfs->xCurrentTimeInt64) {
        vfs->xCurrentTimeInt64(vfs, &julian_ms);
    } else if (vfs) {
        vfs->xCurrentTime(vfs, &julian);
        julian_ms = (sqlite3_int64)(julian * 86400000.0);
    }
    seconds = julian_ms / 1000 - 210866760000;  /* since 1970 */
    if (seconds < 0)
        seconds = 0;

    /* Days to a date of the Gregorian calendar, in years that begin in March. */
    day = seconds / 86400 + 719468;
    era = day / 146097;
    day_of_era = day % 146097;
    year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    month = (5 * day_of_year + 2) / 153;
    sqlite3_snprintf(sizeof date, date, "%04d-%02d-%02d",
                     (int)(year + era * 400 + (month >= 10)),
                     (int)(month < 10 ? month + 3 : month - 9),
                     (int)(day_of_year - (153 * month + 2) / 5 + 1));
    sqlite3_snprintf(sizeof time, time, "%02d:%02d:%02d", (int)(seconds / 3600 % 24),
                     (int)(seconds / 60 % 60), (int)(seconds % 60));
    sqlite3_snprintf(32, text, "%s%s%s", kind == LSM_VTAB_DEFAULT_TIME ? "" : date,
                     kind == LSM_VTAB_DEFAULT_TIMESTAMP ? " " : "",
                     kind == LSM_VTAB_DEFAULT_DATE ? "" : time);
}

bool lsm_vtab_column_default(const struct lsm_vtab_column *column, char text[32],
                             struct lsm_vtab_value *value)
{
    if (column->default_kind == LSM_VTAB_DEFAULT_NONE)
        return false;
    if (column->default_kind == LSM_VTAB_DEFAULT_VALUE) {
        *value = column->default_value;
    } else {
        render_now(column->default_kind, text);
        value->type = SQLITE_TEXT;
        value->u.bytes.data = (const uint8_t *)text;
        value->u.bytes.size = strlen(text);
    }
    lsm_vtab_value_convert(value, column->affinity, text);
    return true;
}

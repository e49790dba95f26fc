/*
 * vtab_token.c -- the tokenizer. No state and no failure: what is no token is
 * a token of the kind BAD, for the parser to complain about.
 */
#include "ext/vtab_token.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int lsm_vtab_hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static bool is_word_char(char c)
{
    return is_word_start(c) || is_digit(c) || c == '$';
}

static const char *skip_digits(const char *s)
{
    while (is_digit(*s))
        s++;
    return s;
}

/* Spaces and comments; NULL: a comment does not end. (A -- comment ends with its line.) */
static const char *skip_space(const char *s)
{
    for (;;) {
        while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
            s++;
        if (s[0] == '-' && s[1] == '-') {
            s += strcspn(s, "\n");
        } else if (s[0] == '/' && s[1] == '*') {
            s = strstr(s + 2, "*/");
            if (!s)
                return NULL;
            s += 2;
        } else {
            return s;
        }
    }
}

/* Behind the closing quote, which is written twice to be meant; NULL: there is none. */
static const char *skip_quoted(const char *s, char close)
{
    for (;; s++) {
        s = strchr(s, close);
        if (!s)
            return NULL;
        s++;
        if (close == ']' || *s != close)
            return s;
    }
}

static const char *scan_number(const char *s)
{
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && lsm_vtab_hex_digit(s[2]) >= 0) {
        for (s += 2; lsm_vtab_hex_digit(*s) >= 0;)
            s++;
        return s;
    }
    s = skip_digits(s);
    if (*s == '.')
        s = skip_digits(s + 1);
    if (*s == 'e' || *s == 'E') {
        const char *digits = s + 1 + (s[1] == '+' || s[1] == '-');

        if (is_digit(*digits))
            s = skip_digits(digits);
    }
    return s;
}

static bool is_hex_string(const char *s, const char *end)
{
    for (; s < end; s++)
        if (lsm_vtab_hex_digit(*s) < 0)
            return false;
    return true;
}

static enum lsm_vtab_token_kind scan_token(const char *s, const char **end)
{
    *end = s + 1;
    switch (*s) {
    case '\0':
        *end = s;
        return LSM_VTAB_TOKEN_END;
    case '\'':
        *end = skip_quoted(s + 1, '\'');
        return *end ? LSM_VTAB_TOKEN_STRING : LSM_VTAB_TOKEN_BAD;
    case '"':
    case '`':
        *end = skip_quoted(s + 1, *s);
        return *end ? LSM_VTAB_TOKEN_NAME : LSM_VTAB_TOKEN_BAD;
    case '[':
        *end = skip_quoted(s + 1, ']');
        return *end ? LSM_VTAB_TOKEN_NAME : LSM_VTAB_TOKEN_BAD;
    default:
        break;
    }
    if ((*s == 'x' || *s == 'X') && s[1] == '\'') {
        *end = skip_quoted(s + 2, '\'');
        if (!*end || (*end - s) % 2 == 0 || !is_hex_string(s + 2, *end - 1))
            return LSM_VTAB_TOKEN_BAD;
        return LSM_VTAB_TOKEN_BLOB;
    }
    if (is_digit(*s) || (*s == '.' && is_digit(s[1]))) {
        *end = scan_number(s);
        if (!is_word_char(**end))
            return LSM_VTAB_TOKEN_NUMBER;
        while (is_word_char(**end))
            ++*end;
        return LSM_VTAB_TOKEN_BAD;
    }
    if (is_word_start(*s)) {
        while (is_word_char(**end))
            ++*end;
        return LSM_VTAB_TOKEN_WORD;
    }
    return LSM_VTAB_TOKEN_PUNCT;
}

const char *lsm_vtab_token_read(const char *text, struct lsm_vtab_token *token)
{
    const char *start = skip_space(text);
    const char *end = NULL;

    token->kind = LSM_VTAB_TOKEN_BAD;
    if (start)
        token->kind = scan_token(start, &end);
    else
        start = text + strspn(text, " \t\n\v\f\r");
    if (!end)
        end = start + strlen(start);
    token->text = start;
    token->size = (size_t)(end - start);
    return end;
}

void lsm_vtab_token_unquote(const struct lsm_vtab_token *token, char *out)
{
    const char *text = token->text;
    size_t n = 0;

    if (token->kind == LSM_VTAB_TOKEN_NAME || token->kind == LSM_VTAB_TOKEN_STRING) {
        for (size_t i = 1; i + 1 < token->size; i++) {
            out[n++] = text[i];
            if (text[0] != '[' && text[i] == text[0])
                i++;                            /* written twice */
        }
    } else {
        memcpy(out, text, token->size);
        n = token->size;
    }
    out[n] = '\0';
}

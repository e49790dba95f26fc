/*
 * vtab_token.h -- SQL text taken apart into tokens, as SQLite's tokenizer does it.
 */
#ifndef LSM_EXT_VTAB_TOKEN_H
#define LSM_EXT_VTAB_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

enum lsm_vtab_token_kind {
    LSM_VTAB_TOKEN_END,
    LSM_VTAB_TOKEN_WORD,        /* identifier or keyword */
    LSM_VTAB_TOKEN_NAME,        /* "x", [x], `x` */
    LSM_VTAB_TOKEN_STRING,      /* 'x' */
    LSM_VTAB_TOKEN_BLOB,        /* x'00' */
    LSM_VTAB_TOKEN_NUMBER,      /* without a sign */
    LSM_VTAB_TOKEN_PUNCT,       /* one byte */
    LSM_VTAB_TOKEN_BAD          /* unclosed quote or comment, 12ab (whole), x'0' */
};

struct lsm_vtab_token {
    enum lsm_vtab_token_kind kind;
    const char *text;           /* borrowed, quotes included */
    size_t size;
};

/* Read the token at `text`, after spaces and comments; returns what is behind it. */
const char *lsm_vtab_token_read(const char *text, struct lsm_vtab_token *token);

/* The name, the string or the word that a token stands for, in `out` of token->size + 1
   bytes. */
void lsm_vtab_token_unquote(const struct lsm_vtab_token *token, char *out);

/* 0..15, or -1. */
int lsm_vtab_hex_digit(char c);

#endif

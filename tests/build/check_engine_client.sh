#!/usr/bin/env bash
#
# check_engine_client.sh -- a program in C that knows lsm.h and liblsm.a and no
# SQLite compiles without a warning, runs, and finds all that it expects.
set -u
cd "$(dirname "$0")/../.." || exit 2
BUILD=${BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-XXXXXX") || exit 2
trap 'rm -rf "$dir"' EXIT
zstd=$(gcc -print-file-name=libzstd.a)

if gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -I. tests/clients/engine.c "$BUILD/liblsm.a" "$zstd" \
       -pthread -lm -o "$dir/engine" && [ "$("$dir/engine" "$dir/store")" = ok ] && [ ! -e "$dir/store" ]; then
    echo "ok engine_client_uses_the_whole_API_without_sqlite"
else
    echo "FAIL engine_client_uses_the_whole_API_without_sqlite"
    exit 1
fi
if nm -u "$dir/engine" | grep -q sqlite3; then
    echo "FAIL engine_client_needs_no_sqlite"
    exit 1
fi
echo "ok engine_client_needs_no_sqlite"

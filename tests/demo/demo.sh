#!/usr/bin/env bash
#
# demo.sh -- lsmvtab on real rows: load, verify, query, kill, reopen, and what it cost.
#
#   make demo                  every file under /usr of this machine
#   make demo DEMO=large       Debian's full Contents index (installs apt-file, fetches 80 MB)
#
#   DEMO_ROOT=DIR    collect this directory instead of /usr
#   DEMO_LIMIT=N     of the Contents index only the first N rows
#   KEEP=1           leave the databases behind
#
# It works in a directory of its own under $TMPDIR and removes it at the end. The same
# rows go into an lsm table and into an ordinary WITHOUT ROWID table in another database.
# Leaves with 0 if every check was right.
set -u
cd "$(dirname "$0")/../.." || exit 2

say() { printf '\n%s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 2; }

case ${DEMO:-usr} in usr | large) ;; *) die "DEMO is large, or it is not given" ;; esac
kind=${DEMO:-usr}
root=${DEMO_ROOT:-/usr}
root=${root%/}
lsm=${LSM:-$PWD/lsmvtab.so}
if [ ! -e "$lsm" ]; then        # run by hand; `make demo` has done this
    make --no-print-directory packages && make --no-print-directory -s all || exit 2
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
have_contents() { compgen -G '/var/lib/apt/lists/*Contents*' >/dev/null; }
if [ "$kind" = large ] && ! have_contents; then
    command -v apt-get >/dev/null || die "DEMO=large needs Debian's apt"
    if ! command -v apt-file >/dev/null; then
        echo "Installing with apt-get: apt-file"
        as_root apt-get update -q >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
                --no-install-recommends apt-file >/dev/null || die "apt-file was not installed"
    fi
    echo "Fetching Debian's Contents index: apt-file update"
    as_root apt-file update >/dev/null || die "apt-file update failed"
    have_contents || die "apt-file fetched no Contents list"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-demo-XXXXXX") || exit 2
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -I. tests/demo/*.c -o "$work/demo" -lsqlite3 ||
    die "the demo's own program did not build"

failed=0
chapter() {     # NAME [LIMIT]
    "$work/demo" "$1" "$lsm" "$work" "$root" "$kind" "${DEMO_LIMIT:-0}" || failed=1
}
shell() { sqlite3 -batch "$work/lsm.db" -cmd ".load $lsm" "$@"; }

case $kind in
usr) what="every file under $root: path, size, mode, time, link target, owning package, md5" ;;
large) what="every file of every package of Debian, as the Contents index has them" ;;
esac
fs=$(df --output=fstype "$work" | tail -1)
[ "$fs" != - ] || fs=$(stat -f -c %T "$work")
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
echo "lsmvtab $(sqlite3 :memory: -cmd ".load $lsm" 'SELECT lsm_version()')," \
    "SQLite $(sqlite3 --version | cut -d' ' -f1), $(uname -sr)," \
    "$(nproc) x ${cpu:-processor}, $fs"
echo "$what"

say "1. Load: transactions of 10,000 rows, WAL, synchronous=NORMAL, 64 MiB of memory for either"
chapter load

say "2. Verify: the source is read again, and every row compared"
chapter verify

say "3. On disk, and what the engine says of itself"
chapter compact
shell "SELECT printf('   level %d: %d files, %,d bytes, %,d raw, %,d entries', level, files, bytes,
    raw_bytes, entries) FROM lsm_levels('$([ "$kind" = large ] && echo contents || echo files)')
    WHERE files > 0"

say "4. Query: one connection for each, warm; times for one execution"
chapter query

say "5. Kill: a second load, both tables in one transaction, and SIGKILL in the middle of it"
chapter kill
check=$(sqlite3 "$work/lsm.db" 'PRAGMA integrity_check(again_plain)')
[ "$check" = ok ] || { echo "   FAIL integrity_check: $check"; failed=1; }

say "6. Outcome"
chapter report
right=$(grep -c '^checks_ok ' "$work/figures")
wrong=$(grep -c '^checks_failed ' "$work/figures")
echo
if [ $failed -eq 0 ]; then
    echo "All $right checks were right; $SECONDS s."
else
    echo "$wrong checks FAILED, $right were right; $SECONDS s."
fi
if [ -n "${KEEP:-}" ]; then
    echo "The databases: $work/lsm.db (with $work/lsm.db-lsm/) and $work/ordinary.db"
else
    echo "KEEP=1 make demo leaves the databases for a look of your own."
fi
exit $failed

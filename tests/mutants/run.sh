#!/usr/bin/env bash
#
# run.sh -- takes out one sync, one check or one ABORT at a time (list.sh), in a copy of
# the sources, and says which test sees it. A mutant that no test sees has survived.
#
#   tests/mutants/run.sh [TEXT]     those whose name contains it
#
# MUTANTS_TESTS=unit: without the simulated disk, which takes minutes for each; those that
# only it can see are left out.
#
# Long: half a minute each. `make mutants` runs it; `make check` only looks whether each
# text of list.sh still stands once in its file (tests/build/check_mutants.sh).
set -u
cd "$(dirname "$0")/../.." || exit 2
filter=${1:-}
check_only=${MUTANTS_CHECK_ONLY:-}
copy=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-mutants-XXXXXX") || exit 2
trap 'rm -rf "$copy"' EXIT
cp -rp Makefile lsmvtab.def lsm ext tests "$copy/"
[ -z "$check_only" ] && [ -d build ] && { mkdir "$copy/build"; cp -rp build/obj build/core build/*.a "$copy/build/" 2>/dev/null; }
export TEST_TIER=quick
jobs=$(nproc 2>/dev/null || echo 2)
killed=0 survived=0 stale=0

# The text before ==== becomes the one behind it, in the copy. Fails unless it stands there once.
replace() {     # FILE
    perl -e '
        my ($file, $both) = @ARGV;
        my ($old, $new) = split /^====\n/m, $both, 2;
        chomp $old; chomp $new if defined $new;
        open my $in, "<", $file or die; local $/; my $text = <$in>; close $in;
        my $count = () = $text =~ /\Q$old\E/g;
        die "$count times\n" if $count != 1;
        $text =~ s/\Q$old\E/$new/;
        open my $out, ">", $file or die; print $out $text; close $out;' "$1" "$2"
}

make_copy() {   # PROGRAM...
    make -C "$copy" --no-print-directory -s -j"$jobs" WARN=-w ENGINE_WARN= "$@" >"$copy/make.log" 2>&1
}

mutant() {      # NAME FILE TESTS, the texts on standard input
    local name=$1 file=$2 tests=$3 both test part program by=
    both=$(cat; echo x)
    both=${both%x}
    case $both in *$'\nmutant '*)
        echo "FAIL mutant_$name: its text has no end"
        stale=$((stale + 1))
        return ;;
    esac
    case $name in *"$filter"*) ;; *) return ;; esac
    tests=$(printf '%s\n' $tests | grep "^${MUTANTS_TESTS:-}")
    [ -n "$tests" ] || return
    if ! replace "$copy/$file" "$both" 2>"$copy/why"; then
        echo "FAIL mutant_$name: its text stands $(cat "$copy/why") in $file"
        stale=$((stale + 1))
        return
    fi
    if [ -z "$check_only" ]; then
        for test in $tests; do
            program=build/tests/${test%%:*}
            if ! make_copy "$program"; then
                by="the compiler: $(grep -m1 error "$copy/make.log")"
                break
            fi
            part=
            case $test in *:*) part=${test#*:} ;; esac
            limit=600           # some mutants wait for ever
            case $test in unit/*) limit=150 ;; esac
            (cd "$copy" && timeout $limit "$program" --filter "$part" >test.log 2>&1) && continue
            how=$([ $? = 124 ] && echo hangs || echo crashed)
            by="$(grep -m1 -h '^FAIL' "$copy/test.log" || echo "$program $how")"
            break
        done
        case $by in
        '') echo "FAIL mutant_$name survives $(echo $tests)"; survived=$((survived + 1)) ;;
        "the compiler"*) echo "FAIL mutant_$name: $by"; stale=$((stale + 1)) ;;
        *) echo "ok mutant_$name is seen: ${by#FAIL }"; killed=$((killed + 1)) ;;
        esac
    fi
    cp -p "$file" "$copy/$file"
    touch "$copy/$file"
}

. tests/mutants/list.sh
if [ -n "$check_only" ]; then
    [ $stale = 0 ] && echo "ok mutants_each_text_stands_once_in_its_file"
else
    echo "$killed seen, $survived survived, $stale out of date"
fi
[ $((survived + stale)) = 0 ]

#!/usr/bin/env bash
#
# check_mutants.sh -- each text that `make mutants` would take out stands once in its file.
cd "$(dirname "$0")/../.." || exit 2
MUTANTS_CHECK_ONLY=1 exec tests/mutants/run.sh

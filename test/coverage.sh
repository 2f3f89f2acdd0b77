#!/bin/bash
#
# Which lines of the extension do the tests run?  Builds it with gcov, runs the
# regression and isolation tests, the model test and some TAP tests on servers of
# their own, and prints the share of lines that were run for each file of src/, and
# the lines that were not: those of the files that decide what becomes of a record,
# or of FILES.
#
#   coverage.sh [FILE..]     such as envelope.c; "all": every file
#
# HISTORIES: random histories of the model test (300).  TAP: which of test/t/, "" for
# none (those of topics with several partitions).  KEEP=1 leaves the directory with
# the *.gcov files.  PG_CONFIG chooses the server.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

FILES=${*:-envelope.c record.c document.c record_key.c convert.c convert_number.c convert_time.c
	iso_time.c rank.c event.c row.c truncate.c winner.c origin.c repeat.c lookback.c barrier.c home.c
	rename.c move.c refusal.c sync.c sync_window.c stage.c merge.c merge_step.c}
HISTORIES=${HISTORIES:-300}
TAP=${TAP-046_resync 047_partitions}
COVERAGE="--coverage -fprofile-update=atomic -O0"

# Processes that exit write what they have counted beside the objects.
run_tests()
{
	as_user env -C "$WORK/src" make -s PG_CONFIG="$PG_CONFIG" PROFILE="$COVERAGE" with_llvm=no \
		TAP_TESTS= installcheck || note "some regression tests failed"
	[ -z "$TAP" ] ||
		as_user env -C "$WORK/src" make -s PG_CONFIG="$PG_CONFIG" PROFILE="$COVERAGE" with_llvm=no \
			REGRESS= ISOLATION= PROVE_TESTS="$(printf 'test/t/%s.pl ' $TAP)" installcheck ||
		note "some TAP tests failed"
	as_user make -s -C "$WORK/src/test/model" check ARGS="--count $HISTORIES" |
		grep -E "^not ok|passed"
	as_user "$PG_BIN/pg_ctl" -D "$SERVER_DATA" -m fast -w stop >/dev/null
}

# NAME SHARE LINES-NOT-RUN of each file, from gcov's listings.
report()
{
	local file listing
	cd "$WORK/src" || return 1
	for file in src/*.c; do
		[ -f "${file%.c}.gcno" ] && as_user gcov -p -o src "$file" >/dev/null 2>&1
		listing="src#$(basename "$file").gcov"
		[ -f "$listing" ] && awk -F: -v name="$(basename "$file")" '
			{ gsub(/ /, "", $1) }
			$1 ~ /^[0-9]/ { run++ }
			$1 ~ /^#####/ { missed++ }
			END { printf "%6.1f %% of %4d lines  %s\n", 100 * run / (run + missed), run + missed, name }' "$listing"
	done
	for file in $FILES; do
		[ "$FILES" = all ] && continue
		echo
		echo "$file: not run"
		grep -E '^ *#####:' "src#$file.gcov" | cut -c 11-
	done
	if [ "$FILES" = all ]; then
		grep -hE '^ *#####:' src#*.gcov /dev/null | cut -c 11-
	fi
}

KEEP_WORK=${KEEP:-}
work_begin
copy_sources && copy_postgres &&
	build_extension -s PROFILE="$COVERAGE" with_llvm=no >"$WORK/log/build.log" 2>&1 &&
	start_server >/dev/null || { cat "$WORK/log/build.log"; die "cannot build it"; }
run_tests >"$WORK/log/tests.log" 2>&1
grep -E 'failed|passed' "$WORK/log/tests.log" | tail -n 5
report

#!/bin/bash
#
# Run every test there is, and close with one line: N passed, N failed, N
# skipped.  The exit status is 0 if none failed.
#
#   run.sh [SUITE..]      only these, of the functions suite_* below
#
# KEEP=1 leaves the directory with all logs; PG_CONFIG chooses the server.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

ALL_SUITES="regress isolation tap faults unit signers differential fuzz model kills readme e2e secure"
FUZZ_SECONDS=${FUZZ_SECONDS:-60}

# in_copy COMMAND..: in the copy of the sources
in_copy() { as_user env -C "$WORK/src" "$@"; }

# PGXS runs all three kinds of tests in one installcheck, and stops at the first
# that fails: so one at a time.
installcheck() { in_copy make -s PG_CONFIG="$PG_CONFIG" WERROR=1 installcheck "$@"; }

suite_regress()
{
	installcheck ISOLATION= TAP_TESTS= && return
	head -n 400 "$WORK/src/regression.diffs"
	return 1
}

suite_isolation()
{
	installcheck REGRESS= TAP_TESTS= && return
	head -n 400 "$WORK/src/output_iso/regression.diffs"
	return 1
}

# The files wait more than they work, so several go at a time: LANES of them, each
# in a copy of its own, as make installcheck begins by removing what is in its way.
LANES=${LANES:-3}

# Files that let places fail need another build.
WANTS_FAULTS='built without CDC_FAULTS'

tap_lane()
{
	local lane=$WORK/tap$1
	as_user cp -a "$WORK/src" "$lane" &&
		as_user make -s -C "$lane" PG_CONFIG="$PG_CONFIG" WERROR=1 installcheck \
			REGRESS= ISOLATION= PROVE_FLAGS=-v PROVE_TESTS="$2"
}

suite_tap()
{
	local i log status=0 pids=() lanes=() files
	mapfile -t files < <(grep -L "$WANTS_FAULTS" "$WORK"/src/test/t/*.pl)
	for ((i = 0; i < ${#files[@]}; i++)); do
		lanes[i % LANES]+=" test/t/$(basename "${files[i]}")"
	done
	in_copy make -s PG_CONFIG="$PG_CONFIG" build/mock_broker build/kafka_reader.so || return
	for i in "${!lanes[@]}"; do
		tap_lane "$i" "${lanes[i]}" >"$WORK/log/tap$i.log" 2>&1 &
		pids[i]=$!
	done
	for i in "${!lanes[@]}"; do
		wait "${pids[i]}" && cat "$WORK/log/tap$i.log" && continue
		status=1
		cat "$WORK/log/tap$i.log"
		for log in "$WORK/tap$i"/tmp_check/log/regress_log_*; do
			echo "# the end of $(basename "$log"):"
			tail -n 40 "$log" | sed 's/^/# /'
		done
	done
	return $status
}

suite_faults()
{
	local src=$WORK/faults pg_config=${PG_CONFIG/#"$WORK/pg"/"$WORK/faults-pg"} files
	files=$(cd "$WORK/src" && grep -l "$WANTS_FAULTS" test/t/*.pl | tr '\n' ' ')
	as_user cp -a "$WORK/src" "$src" && as_user cp -a "$WORK/pg" "$WORK/faults-pg" &&
		as_user make -s -C "$src" PG_CONFIG="$pg_config" clean &&
		as_user make -s -C "$src" -j"$(nproc)" PG_CONFIG="$pg_config" CDC_FAULTS=1 with_llvm=no all install &&
		as_user make -s -C "$src" PG_CONFIG="$pg_config" with_llvm=no installcheck \
			REGRESS= ISOLATION= PROVE_FLAGS=-v PROVE_TESTS="$files" && return
	tail -n 40 "$src"/tmp_check/log/regress_log_* | sed 's/^/# /'
	return 1
}

suite_unit() { in_copy make -s -C test/unit check; }

# The signatures of AWS against AWS's own signer, where it can be installed.
suite_signers() { in_copy make -s -C test/unit signers PYTHON=/usr/bin/python3; }

# The JSON scanner against the server's own.
suite_differential()
{
	as_user createdb differential &&
		as_user psql -X -q -d differential -c 'CREATE EXTENSION cdcsync' &&
		in_copy env PGDATABASE=differential \
			make -s -C test/unit differential PYTHON=/usr/bin/python3
}

suite_fuzz()
{
	in_copy make -s -C test/unit fuzz-smoke SECONDS="$FUZZ_SECONDS" || return
	echo "ok 1 - $FUZZ_SECONDS s of fuzzing find nothing"
}

suite_model() { in_copy make -s -C test/model check; }

# Servers of its own, which it kills.
suite_kills()
{
	in_copy make -s PG_CONFIG="$PG_CONFIG" build/mock_broker &&
		in_copy /usr/bin/python3 test/crash/run.py --kills "${KILLS:-200}"
}

# Every SQL example of the README.
suite_readme()
{
	in_copy make -s PG_CONFIG="$PG_CONFIG" build/mock_broker &&
		in_copy make -s -C test/readme check
}

# get_jars POM DIRECTORY: with Maven, as the caller, whose repository of artifacts
# outlives this run.
get_jars()
{
	local try
	for try in 1 2 3; do
		if mvn -q -B -Dstyle.color=never -f "$1" -De2e.out="$2" package \
			</dev/null >"$WORK/log/maven.log" 2>&1; then
			chown -R "$RUN_USER" "$2"
			return
		fi
		sleep $((try * 5))
	done
	grep -m 3 ERROR "$WORK/log/maven.log" | sed 's/^/# /'
	return 1
}

suite_e2e()
{
	local reason
	if ! reason=$(bash test/tools/setup.sh e2e 2>&1 >/dev/null); then
		echo "1..0 # SKIP no real Kafka and sources: ${reason##*$'\n'}"
		return
	fi
	if ! get_jars test/e2e/pom.xml "$WORK/e2e"; then
		echo "1..0 # SKIP no real Kafka and sources: Maven cannot get them"
		return
	fi
	in_copy env E2E_OUT="$WORK/e2e" /usr/bin/python3 test/e2e/run.py
}

# A librdkafka that is newer than the system's: the one in a Python package, which
# needs nothing but libc.
NEW_VERSION=2.14.2

get_librdkafka()
{
	/usr/bin/python3 -m pip download -q --no-deps --only-binary :all: -d "$WORK/librdkafka" \
		--disable-pip-version-check "confluent-kafka==$NEW_VERSION" </dev/null >"$WORK/log/pip.log" 2>&1 &&
		/usr/bin/python3 -m zipfile -e "$WORK"/librdkafka/*.whl "$WORK/librdkafka" &&
		chmod -R a+rX "$WORK/librdkafka" &&
		ls "$WORK"/librdkafka/*.libs/librdkafka* 2>/dev/null
}

suite_secure()
{
	local reason newer
	if ! reason=$(bash test/tools/setup.sh secure 2>&1 >/dev/null); then
		echo "1..0 # SKIP no real Kafka: ${reason##*$'\n'}"
		return
	fi
	if ! { [ -d "$WORK/e2e/libs" ] || get_jars test/e2e/pom.xml "$WORK/e2e"; } ||
		! get_jars test/secure/pom.xml "$WORK/secure"; then
		echo "1..0 # SKIP no real Kafka: Maven cannot get it"
		return
	fi
	newer=$(get_librdkafka) || newer="pip cannot get it: $(tail -n 1 "$WORK/log/pip.log")"
	in_copy env E2E_OUT="$WORK/e2e" SECURE_OUT="$WORK/secure" NEW_LIBRDKAFKA="$newer" \
		NEW_VERSION="$NEW_VERSION" /usr/bin/python3 test/secure/run.py
}

passed=0 failed=0 skipped=0
notes=()

# Count what the log of a suite says: suite, exit status
count()
{
	local p f s line
	{
		read -r p f s
		while read -r line; do notes+=("$line"); done
	} < <(/usr/bin/python3 test/tools/tally.py "$1" "$2" "$WORK/log/$1.log")
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	note "$1: $p passed, $f failed, $s skipped, after $SECONDS s"
}

# A suite is a process group of its own, so that all of it can be ended at once;
# and a shell that waits, unlike one with a command in the foreground, notices
# that it is to end.
run_suite()
{
	printf '\n== %s\n' "$1"
	rm -f "$WORK/status"
	set -m
	{
		"suite_$1" </dev/null 2>&1
		echo $? >"$WORK/status"
	} | tee "$WORK/log/$1.log" &
	GROUPS_STARTED+=("$(jobs -p %+)")
	set +m
	wait $!
	count "$1" "$(cat "$WORK/status" 2>/dev/null || echo 1)"
}

# Whatever the suites say: no server of theirs has crashed (killed is another
# matter).
check_logs()
{
	local logs
	logs=$(grep -rlE 'was terminated by signal (4|6|7|8|11):|PANIC:|TRAP: ' "$WORK/log/server.log" \
		"$WORK"/tap*/tmp_check/log "$WORK/e2e-run/warehouse/log" \
		"$WORK/secure-run/warehouse/log" 2>/dev/null)
	if [ -z "$logs" ]; then
		echo "ok 1 - no server has crashed"
		return
	fi
	echo "not ok 1 - no server has crashed"
	# the statement that it died of is named below its signal
	grep -hE -A1 'was terminated by signal (4|6|7|8|11):|PANIC:|TRAP: ' $logs | head -n 40
	return 1
}

finish()
{
	check_logs >"$WORK/log/crash.log" 2>&1
	status=$?
	echo
	cat "$WORK/log/crash.log"
	count crash $status
	echo
	[ ${#notes[@]} -gt 0 ] && printf '%s\n' "${notes[@]}"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

# Without these there is nothing to test.
prepare()
{
	bash test/tools/setup.sh test && copy_sources && copy_postgres &&
		build_extension -s WERROR=1 && start_server &&
		echo "ok 1 - builds without a warning, and a server starts"
}

KEEP_WORK=${KEEP:-}
work_begin
echo "== build"
prepare >"$WORK/log/build.log" 2>&1
status=$?
cat "$WORK/log/build.log"
count build $status
if [ $status -eq 0 ]; then
	for suite in ${*:-$ALL_SUITES}; do
		run_suite "$suite"
	done
fi
finish

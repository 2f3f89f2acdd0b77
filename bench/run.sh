#!/bin/bash
#
# Measure, from nothing: install what is missing, build, start a throw-away
# server, and run bench.py.
#
#   make bench [SHORT=1] [SECTIONS="basics sink .."] [STEADY=3600] [RESULTS=bench/results]
#
# Leaves full.csv and full.md in RESULTS, or short.csv and short.md.  SECTIONS
# are those of bench.py; STEADY is how many seconds the steady load lasts.  The
# full size takes 14 GB of memory and of disk in $TMPDIR at most, the short one 3.
# "python3 bench/report.py --readme bench/results/full.csv" then brings the figures
# to README.md.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

SIZE=${SHORT:+short}
SIZE=${SIZE:-full}
RESULTS=$(mkdir -p "${RESULTS:-bench/results}" && cd "${RESULTS:-bench/results}" && pwd) || exit 1

# Kafka's jars and the JDBC sink, if they can be had; what reads them runs as
# another user.
get_kafka()
{
	bash test/tools/setup.sh e2e >/dev/null 2>&1 &&
		mkdir "$WORK/e2e" &&
		mvn -q -B -Dstyle.color=never -f test/e2e/pom.xml -Psink -De2e.out="$WORK/e2e" package \
			</dev/null >"$WORK/log/maven.log" 2>&1 &&
		chown -R "$RUN_USER" "$WORK/e2e" && return
	rm -rf "$WORK/e2e"
	note 'no real Kafka: there is no Java, or Maven cannot get it'
}

build_programs()
{
	local program
	as_user make -s -C "$WORK/src" PG_CONFIG="$PG_CONFIG" build/mock_broker || return 1
	for program in produce consume latency; do
		as_user cc -O2 -Wall -Wextra -I"$("$PG_CONFIG" --includedir)" -o "$WORK/src/build/bench_$program" \
			"$WORK/src/bench/$program.c" -lrdkafka -lpq -lpthread || return 1
	done
}

bash test/tools/setup.sh build || exit 1
work_begin
copy_sources && copy_postgres || die 'copies could not be made'
note 'build'
build_extension -s with_llvm=no >"$WORK/log/build.log" 2>&1 ||
	{ cat "$WORK/log/build.log"; die 'the build failed'; }
build_programs && start_server || die 'the server could not be started'
get_kafka
# shellcheck disable=SC2086 # SECTIONS is a list
background env E2E_OUT="$WORK/e2e" /usr/bin/python3 "$WORK/src/bench/bench.py" \
	"$SIZE" "$WORK/tmp/results.csv" "${STEADY:--}" ${SECTIONS:-}
GROUPS_STARTED+=($!)
wait $!
status=$?
[ $status -eq 0 ] || tail -n 5 "$WORK/log/server.log"
if [ -f "$WORK/tmp/results.csv" ]; then
	cp "$WORK/tmp/results.csv" "$RESULTS/$SIZE.csv" &&
		/usr/bin/python3 bench/report.py "$RESULTS/$SIZE.csv" || exit 1
	note "results: $RESULTS/$SIZE.csv and $SIZE.md"
fi
exit $status

#!/bin/bash
#
# Measure, from nothing: install what is missing, build, start a throw-away
# server and the embedded broker, and run bench.py.
#
#   make bench [EVENTS=1000000] [RUNS=3] [RESULTS=bench/results]
#
# EVENTS=200000 takes about a minute, the default some minutes and 6 GB of memory
# and of disk in $TMPDIR.  The tables are left in RESULTS.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

EVENTS=${EVENTS:-1000000}
RUNS=${RUNS:-3}
RESULTS=$(mkdir -p "${RESULTS:-bench/results}" && cd "${RESULTS:-bench/results}" && pwd) || exit 1

# Checkpoints and vacuums at times of their own would only be noise here.
configure_server()
{
	as_user "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 <<-SQL &&
		ALTER SYSTEM SET max_wal_size = '20GB';
		ALTER SYSTEM SET checkpoint_timeout = '1h';
		ALTER SYSTEM SET autovacuum = off;
		ALTER SYSTEM SET jit = off;
		ALTER SYSTEM SET work_mem = '64MB';
	SQL
	as_user "$PG_BIN/pg_ctl" -D "$SERVER_DATA" -l "$WORK/log/server.log" -w restart >/dev/null
}

build_programs()
{
	local program
	for program in produce consume; do
		as_user cc -O2 -Wall -Wextra -o "$WORK/src/build/bench_$program" \
			"$WORK/src/bench/$program.c" -lrdkafka || return 1
	done
}

bash test/tools/setup.sh build || exit 1
work_begin
copy_sources && copy_postgres || die 'copies could not be made'
note 'build'
build_extension -s with_llvm=no >"$WORK/log/build.log" 2>&1 ||
	{ cat "$WORK/log/build.log"; die 'the build failed'; }
start_server && configure_server && start_broker && build_programs ||
	die 'server or broker could not be started'

as_user /usr/bin/python3 "$WORK/src/bench/bench.py" "$BROKER" "$EVENTS" "$RUNS" "$WORK/tmp/result" ||
	{ tail -n 5 "$WORK/log/server.log"; die 'the benchmark failed'; }
for kind in md csv; do
	cp "$WORK/tmp/result.$kind" "$RESULTS/$(date +%F)-$EVENTS.$kind" || exit 1
done
note "results: $RESULTS/$(date +%F)-$EVENTS.md and .csv"

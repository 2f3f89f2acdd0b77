#!/bin/bash
#
# Measure, from nothing: install what is missing, build, start a throw-away
# server and the embedded broker, and run bench.py.
#
#   make bench [EVENTS=1000000] [RUNS=3] [PARTS="functions workers"] [RESULTS=bench/results]
#              [SECTIONS="latencies backlog crowds growth"]
#
# The functions that people call (bench.py), then the background workers
# (workers.py), with a real Kafka where Java and Maven can be had.  With
# EVENTS=200000 the first takes about a minute and the second seven; with the
# default three and twenty, and 6 GB of memory and of disk in $TMPDIR.  The tables
# are left in RESULTS.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

EVENTS=${EVENTS:-1000000}
RUNS=${RUNS:-3}
PARTS=${PARTS:-functions workers}
RESULTS=$(mkdir -p "${RESULTS:-bench/results}" && cd "${RESULTS:-bench/results}" && pwd) || exit 1

# configure_server < SQL
configure_server()
{
	as_user "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 &&
		as_user "$PG_BIN/pg_ctl" -D "$SERVER_DATA" -l "$WORK/log/server.log" -w restart >/dev/null
}

# Checkpoints and vacuums at times of their own would only be noise here.
configure_for_functions()
{
	configure_server <<-SQL
		ALTER SYSTEM SET max_wal_size = '20GB';
		ALTER SYSTEM SET checkpoint_timeout = '1h';
		ALTER SYSTEM SET autovacuum = off;
		ALTER SYSTEM SET jit = off;
		ALTER SYSTEM SET work_mem = '64MB';
	SQL
}

# As in production, fsync included: it is a part of the latency.
configure_for_workers()
{
	configure_server <<-SQL
		ALTER SYSTEM RESET ALL;
		ALTER SYSTEM SET shared_preload_libraries = 'cdcsync';
		ALTER SYSTEM SET fsync = on;
		ALTER SYSTEM SET max_wal_size = '4GB';
		ALTER SYSTEM SET max_worker_processes = 16;
		ALTER SYSTEM SET max_locks_per_transaction = 512;
	SQL
}

# Kafka's jars, if they can be had; what reads them runs as another user.
get_kafka()
{
	bash test/tools/setup.sh e2e >/dev/null 2>&1 &&
		mkdir "$WORK/e2e" &&
		mvn -q -B -Dstyle.color=never -f test/e2e/pom.xml -De2e.out="$WORK/e2e" package \
			</dev/null >"$WORK/log/maven.log" 2>&1 &&
		chown -R "$RUN_USER" "$WORK/e2e" ||
		note 'no real Kafka: there is no Java, or Maven cannot get it'
}

build_programs()
{
	local program
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
start_server && start_broker && build_programs ||
	die 'server or broker could not be started'

# measure PART PROGRAM ARGUMENT..: leave its tables in RESULTS
measure()
{
	local part=$1 program=$2 name kind
	shift 2
	name=$(date +%F)-$EVENTS
	[ "$part" = functions ] || name=$name-$part
	"configure_for_$part" || die 'the server could not be restarted'
	as_user env E2E_OUT="$WORK/e2e" /usr/bin/python3 "$WORK/src/bench/$program" "$BROKER" "$@" ||
		{ tail -n 5 "$WORK/log/server.log"; die 'the benchmark failed'; }
	for kind in md csv; do
		cp "$WORK/tmp/$part.$kind" "$RESULTS/$name.$kind" || exit 1
	done
	note "results: $RESULTS/$name.md and .csv"
}

for part in $PARTS; do
	case $part in
		functions) measure functions bench.py "$EVENTS" "$RUNS" "$WORK/tmp/functions" ;;
		workers) get_kafka && measure workers workers.py "$EVENTS" "$WORK/tmp/workers" ${SECTIONS:-} ;;
		*) die "there is no part $part" ;;
	esac
done

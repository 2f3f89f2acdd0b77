#!/bin/bash
#
# A warehouse that follows a topic, from nothing: install what is missing, build,
# start a throw-away server and the embedded broker, give it events that Debezium
# made from a MariaDB table, and run demo.sql.
#
# KEEP=1 leaves the server and the broker running, and says how to end them.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. test/tools/common.sh

KEEP=${KEEP:-}
TOPIC=salesdb.salesdb.CUSTOMER

# quietly WHAT COMMAND..: its output only if it fails
quietly()
{
	local what=$1
	shift
	printf '# %s\n' "$what"
	"$@" >"$WORK/log/step.log" 2>&1 && return
	cat "$WORK/log/step.log" >&2
	die "failed: $what"
}

server_and_broker()
{
	start_server "shared_preload_libraries = 'cdcsync'" &&
		as_user "$PG_BIN/createdb" demo && start_broker &&
		as_user "$WORK/src/test/tools/broker.py" do topic "$TOPIC" 1
}

# What is left with KEEP=1 is ended by a script that knows the process ids.
keep()
{
	local postmaster run=
	postmaster=$(head -n 1 "$SERVER_DATA/postmaster.pid")
	cat >"$WORK/stop" <<-STOP
		#!/bin/sh
		kill -INT $postmaster
		kill ${PIDS[*]}
		while kill -0 $postmaster 2>/dev/null; do sleep 0.1; done
		rm -rf '$WORK'
	STOP
	[ -n "${SUDO_USER:-}" ] && run='sudo '
	cat <<-TEXT

		The server and the broker are still running.  Look around:

		    $run$PG_BIN/psql -h $WORK/sock -U postgres demo

		Change a row of the source:

		    ${run}env WORK=$WORK $WORK/src/test/tools/broker.py change $TOPIC 1 Alyssa RETAIL

		and then, in psql:

		    SELECT * FROM customer_target;

		When done:

		    ${run}sh $WORK/stop
	TEXT
	trap - EXIT
}

bash test/tools/setup.sh build || exit 1
work_begin
quietly 'copy the sources, and PostgreSQL' eval 'copy_sources && copy_postgres'
quietly 'build the extension' build_extension -s with_llvm=no
quietly 'start a server and a broker' server_and_broker

as_user env -C "$WORK/src/test" "$PG_BIN/psql" -X -q -e -d demo -P pager=off -P footer=off \
	-v ON_ERROR_STOP=1 -v broker="$BROKER" -f demo.sql 2>&1 || die 'the demo failed'

if [ -n "$KEEP" ]; then
	keep
else
	printf '\nThat is all, and it is cleaned up.  To look around: make demo KEEP=1\n'
fi

# Sourced by the scripts of test/: where things are, a throw-away PostgreSQL,
# and the certainty that whatever was started is stopped.
#
# PostgreSQL refuses to run as root, and the user that it runs as need not be
# able to read the clone.  So root builds and runs everything in a copy below
# $WORK, as the user $RUN_USER; any other user does it as himself.
#
# The extension is not installed into the machine's PostgreSQL but into a copy
# of it, which a server does not mind: it finds its files relative to its own
# place.  So tests leave the machine as it was, need no right to write there,
# and two of them at a time don't disturb each other.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Our own makes are not part of the one that called us.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

CLEAN_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

note() { printf '# %s\n' "$*"; }

die()
{
	echo "$*" >&2
	exit 1
}

# Print the path of a pg_config that has a server and PGXS to it.
find_pg_config()
{
	local candidate
	for candidate in ${PG_CONFIG:-pg_config} \
		$(ls -dr /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -rV); do
		candidate=$(command -v "$candidate") || continue
		[ -x "$("$candidate" --bindir)/postgres" ] || continue
		[ -f "$("$candidate" --pgxs)" ] || continue
		echo "$candidate"
		return 0
	done
	return 1
}

# exec_as_user COMMAND..: become it, as the user that servers and tests run as,
# with a small environment and a home of its own.  No process stands between:
# the process id of the caller is the command's.
exec_as_user()
{
	local -a identity=()
	local path=$PATH

	if [ "$(id -u)" -eq 0 ]; then
		identity=(setpriv --reuid="$RUN_USER" --regid="$(id -g "$RUN_USER")" --init-groups)
		# root's own may name directories that others cannot read
		path=$CLEAN_PATH
	fi
	exec "${identity[@]}" env -i PATH="$path" HOME="$WORK/home" LANG=C.UTF-8 \
		TMPDIR="$WORK/tmp" WORK="$WORK" "${RUN_ENV[@]}" "$@"
}

as_user() { (exec_as_user "$@"); }

# Make $WORK, and choose who runs.  Call it once, before all below.
work_begin()
{
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/cdcsync.XXXXXX") || exit 1
	RUN_ENV=()
	if [ "$(id -u)" -eq 0 ]; then
		RUN_USER=nobody
		id -u postgres >/dev/null 2>&1 && RUN_USER=postgres
	else
		RUN_USER=$(id -un)
	fi
	mkdir "$WORK/home" "$WORK/tmp" "$WORK/sock" "$WORK/log"
	# others may look, but whoever reaches the socket is the superuser there
	chmod 755 "$WORK"
	chmod 700 "$WORK/sock"
	chown "$RUN_USER" "$WORK" "$WORK"/*
	trap work_end EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

PIDS=()
GROUPS_STARTED=()

# background COMMAND..: as_user, in the background and in a session of its own,
# stopped by work_end; the process id is in $!.  Redirect at the call.
background()
{
	# without "<&0" the shell would give it /dev/null
	exec_as_user setsid "$@" <&0 &
	PIDS+=($!)
}

# Stop what was started, all of it by its own ids: process groups, servers, and
# then the single processes, the last first; and remove the directory.
work_end()
{
	local status=$? i pid
	trap '' HUP INT TERM
	for pid in "${GROUPS_STARTED[@]}"; do
		kill -- "-$pid" 2>/dev/null || continue
		for ((i = 0; i < 200; i++)); do
			kill -0 -- "-$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 -- "-$pid" 2>/dev/null
	done
	# our server, and those that a test was not given the time to stop
	for pid in $(find "$WORK" -name postmaster.pid -exec head -q -n 1 {} + 2>/dev/null); do
		kill -QUIT "$pid" 2>/dev/null && PIDS+=("$pid")
	done
	for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
		kill "${PIDS[i]}" 2>/dev/null
	done
	for pid in "${PIDS[@]}"; do
		for ((i = 0; i < 100; i++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 "$pid" 2>/dev/null
	done
	if [ -n "${KEEP_WORK:-}" ]; then
		note "kept: $WORK"
	else
		rm -rf "$WORK"
	fi
	exit $status
}

# Copy the sources, without what builds and tests leave there.
copy_sources()
{
	mkdir "$WORK/src"
	tar -C "$REPO" -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' \
		--exclude='*.so' --exclude=./results \
		--exclude=./tmp_check --exclude=./tmp_check_iso --exclude=./output_iso \
		--exclude=./build . |
		tar -C "$WORK/src" -xf - --no-same-owner || return 1
	chown -R "$RUN_USER" "$WORK/src"
	chmod -R u+rwX "$WORK/src"
}

# Copy the PostgreSQL that pg_config speaks of to $WORK/pg; sets PG_BIN and
# PG_CONFIG to those of the copy.
copy_postgres()
{
	local pg_config dir
	pg_config=$(find_pg_config) || return 1
	note "PostgreSQL: $("$pg_config" --version), $pg_config"
	for dir in --bindir --pkglibdir --sharedir; do
		dir=$("$pg_config" $dir)
		mkdir -p "$WORK/pg$dir"
		cp -a "$dir/." "$WORK/pg$dir/" || return 1
	done
	for dir in --includedir --includedir-server; do
		dir=$("$pg_config" $dir)
		[ -e "$WORK/pg$dir" ] && continue
		mkdir -p "$WORK/pg$(dirname "$dir")"
		ln -s "$dir" "$WORK/pg$dir"
	done
	chown -R "$RUN_USER" "$WORK/pg"
	PG_BIN=$WORK/pg$("$pg_config" --bindir)
	PG_CONFIG=$PG_BIN/pg_config
	case $("$PG_CONFIG" --sharedir) in
		"$WORK"/*) ;;
		*) echo "this PostgreSQL cannot be moved: $pg_config" >&2; return 1 ;;
	esac
	# its psql and the like, for tests that just call them
	RUN_ENV+=(PG_CONFIG="$PG_CONFIG" PATH="$PG_BIN:$([ "$(id -u)" -eq 0 ] && echo "$CLEAN_PATH" || echo "$PATH")")
}

# build_extension [MAKE ARGUMENT..]: in $WORK/src, into $WORK/pg
build_extension()
{
	as_user make -C "$WORK/src" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@" all &&
		as_user make -C "$WORK/src" -s PG_CONFIG="$PG_CONFIG" "$@" install
}

# start_server [SETTING..]: a server of our own, on a socket below $WORK and no
# network port at all.
start_server()
{
	SERVER_DATA=$WORK/data
	as_user "$PG_BIN/initdb" -D "$SERVER_DATA" -U postgres -A trust -E UTF8 \
		--no-locale --no-sync >"$WORK/log/initdb.log" 2>&1 ||
		{ cat "$WORK/log/initdb.log"; return 1; }
	as_user tee -a "$SERVER_DATA/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$WORK/sock'
		fsync = off
		max_connections = 50
		$(printf '%s\n' "$@")
	CONF
	as_user "$PG_BIN/pg_ctl" -D "$SERVER_DATA" -l "$WORK/log/server.log" -w start \
		>/dev/null || { tail -n 20 "$WORK/log/server.log"; return 1; }
	RUN_ENV+=(PGHOST="$WORK/sock" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres)
}

# The broker for tests and the demo: a program that reads commands.  Its input is
# a named pipe that it holds open itself, so it stays when its callers come and
# go.  Sets BROKER to its address; commands go to $WORK/broker.in, the answers
# to $WORK/broker.out.
start_broker()
{
	local i
	as_user make -s -C "$WORK/src" PG_CONFIG="$PG_CONFIG" build/mock_broker || return 1
	as_user mkfifo "$WORK/broker.in" || return 1
	as_user touch "$WORK/broker.out"
	background "$WORK/src/build/mock_broker" <>"$WORK/broker.in" >>"$WORK/broker.out" \
		2>>"$WORK/log/broker.log"
	for ((i = 0; i < 100; i++)); do
		read -r BROKER <"$WORK/broker.out" && return 0
		sleep 0.1
	done
	cat "$WORK/log/broker.log"
	return 1
}

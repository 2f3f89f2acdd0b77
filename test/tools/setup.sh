#!/bin/bash
#
# Install what is missing.
#
#   setup.sh build    a PostgreSQL server with its headers, librdkafka, a compiler
#   setup.sh test     build, and what the tests need besides
#   setup.sh e2e      Java, Maven and MariaDB, for the test with real sources
#   setup.sh secure   Java, Maven, openssl and pip, for the test of connections
#
# Only what cannot be found is installed, so that a second run is quick and
# needs no network.  Exit status 1 and the names on stderr where something
# cannot be had.  A PG_CONFIG that works is taken as it is.

set -u
. "$(dirname "$0")/common.sh"

missing=()

# need PACKAGE CHECK...: the package is wanted unless the command CHECK succeeds
need()
{
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}

have() { command -v "$1"; }
header() { echo "#include <$1>" | cc -E -x c - ; }
# Not the python or perl of some user's own: the tests run as another user.
perl_module() { /usr/bin/perl -M"$1" -e1; }

# clang's own runtime, and not the compiler alone, makes fuzzers
fuzzer()
{
	local dir
	dir=$(mktemp -d) || return 1
	echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { return 0; }' >"$dir/f.c"
	clang -fsanitize=fuzzer,address,undefined -o "$dir/f" "$dir/f.c"
	local rc=$?
	rm -rf "$dir"
	return $rc
}

server() { find_pg_config >/dev/null; }

# The version that a new server gets is the distribution's.
distribution_version()
{
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

need_build()
{
	need gcc have cc
	need libc6-dev header stdio.h
	need make have make
	need librdkafka-dev header librdkafka/rdkafka.h
	need libcurl4-openssl-dev header curl/curl.h
	need libssl-dev header openssl/evp.h
	need python3 test -x /usr/bin/python3
	server || missing+=(POSTGRESQL)
}

need_test()
{
	need_build
	need libipc-run-perl perl_module IPC::Run
	need perl perl_module Test::More
	need clang have clang
	need libclang-rt-dev fuzzer
	need kcat have kcat
	need python3-venv /usr/bin/python3 -c 'import ensurepip'
}

need_kafka()
{
	# without a display
	need default-jdk-headless have javac
	need maven have mvn
}

need_secure()
{
	need_kafka
	need openssl have openssl
	need python3-pip /usr/bin/python3 -m pip --version
}

need_e2e()
{
	need_kafka
	# without the package that starts a service
	need mariadb-server-core test -x /usr/sbin/mariadbd
	need mariadb-client-core have mariadb
}

# pg_cron for the PostgreSQL that there is now: the one test that wants it says so
# where it cannot be had.
offer_pg_cron()
{
	local pg_config version
	pg_config=$(find_pg_config) || return
	[ -f "$("$pg_config" --sharedir)/extension/pg_cron.control" ] && return
	version=$("$pg_config" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	apt install -y --no-install-recommends "postgresql-$version-cron" ||
		note "there is no pg_cron for PostgreSQL $version"
}

apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$log" 2>&1; }

# Install what is missing, or say why not and exit.
install_missing()
{
	local package version packages=()
	if ! command -v apt-get >/dev/null; then
		echo "missing: ${missing[*]}; there is no apt-get to install it with" >&2
		exit 1
	fi
	if [ ${#sudo[@]} -eq 0 ] && [ "$(id -u)" -ne 0 ]; then
		echo "missing: ${missing[*]}; only root can install it" >&2
		exit 1
	fi
	note "installing ${missing[*]}"
	apt update || note "the package lists could not be brought up to date"
	for package in "${missing[@]}"; do
		if [ "$package" = POSTGRESQL ]; then
			version=$(distribution_version)
			# a PG_CONFIG that stands in Debian's place says which one is wanted
			case ${PG_CONFIG:-} in
				/usr/lib/postgresql/*/bin/pg_config)
					version=$(echo "$PG_CONFIG" | cut -d/ -f5) ;;
			esac
			packages+=("postgresql-$version" "postgresql-server-dev-$version")
		else
			packages+=("$package")
		fi
	done
	if ! apt install -y --no-install-recommends "${packages[@]}"; then
		tail -n 20 "$log" >&2
		echo "cannot install ${packages[*]}" >&2
		exit 1
	fi
	missing=()
	"need_$what"
	if [ ${#missing[@]} -ne 0 ]; then
		echo "still missing after the installation: ${missing[*]}" >&2
		exit 1
	fi
}

what=${1:-build}
sudo=()
[ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null && sudo=(sudo)
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
"need_$what"
[ ${#missing[@]} -ne 0 ] && install_missing
[ "$what" = test ] && offer_pg_cron
exit 0

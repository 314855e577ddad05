#!/usr/bin/env bash
# A real server of MongoDB's wire protocol for tests, on machines where MongoDB's own packages
# cannot be had: FerretDB 2 over PostgreSQL with the DocumentDB extension, from Debian sid.
# Needs root, for a chroot. It is no replica set, runs no transactions and enforces no validators.
#
#   test-server.sh provision         install everything into the cache; again: nothing to do
#   test-server.sh start DIR PORT    start on PORT, and PostgreSQL on the next one; prints the URL
#   test-server.sh stop DIR          stop what was started there
#
# The cache is $USHER_CACHE, or ~/.cache/usher.
set -euo pipefail

cache=${USHER_CACHE:-$HOME/.cache/usher}/mongodb-wire
root=$cache/root
ferretdb=$cache/ferretdb
ferretdb_version=v2.7.0

say() { printf 'test-server: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

provision() {
  [ -e "$cache/complete" ] && return
  [ "$(id -u)" = 0 ] || fail "needs root to make a chroot"
  command -v debootstrap >/dev/null || { say "installing debootstrap"; apt-get update -qq; apt-get install -qq -y debootstrap >/dev/null; }
  rm -rf "$cache"
  mkdir -p "$cache"
  say "unpacking Debian sid"
  debootstrap --variant=minbase sid "$root" >"$cache/debootstrap.log" 2>&1 || { tail -5 "$cache/debootstrap.log" >&2; fail "debootstrap failed"; }
  for file in /etc/apt/apt.conf.d /etc/ssl/certs /usr/local/share/ca-certificates; do
    [ -d "$file" ] && mkdir -p "$root$file" && cp -a "$file/." "$root$file/"
  done
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # installing starts nothing
  chmod +x "$root/usr/sbin/policy-rc.d"
  say "installing PostgreSQL with DocumentDB"
  { inside apt-get update -qq && inside apt-get install -qq -y --no-install-recommends postgresql-18-documentdb; } >"$cache/apt.log" 2>&1 ||
    { tail -5 "$cache/apt.log" >&2; fail "installing the packages failed"; }
  say "building FerretDB"
  GOBIN=$cache GOFLAGS= GOWORK=off go install "github.com/FerretDB/FerretDB/v2/cmd/ferretdb@$ferretdb_version"
  touch "$cache/complete"
}

# inside runs a command in the chroot, with a /proc that goes away with it.
inside() {
  DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}
postgres() { inside runuser -u postgres -- /usr/lib/postgresql/18/bin/"$@"; }

# The data lie inside the chroot, named after DIR.
inner() { printf '/data/%s' "$(printf %s "$1" | cksum | cut -d' ' -f1)"; }

start() {
  local dir port data database
  mkdir -p "$1"
  dir=$(cd "$1" && pwd) port=$2 data=$(inner "$dir")
  provision
  [ ! -e "$dir/ferretdb.pid" ] || fail "something runs in $dir already"
  mkdir -p "$root$data"
  inside chown -R postgres "$data"
  if [ ! -e "$root$data/PG_VERSION" ]; then
    postgres initdb -D "$data" --auth=trust --no-instructions >"$dir/initdb.log"
    cat >>"$root$data/postgresql.conf" <<END
unix_socket_directories = '$data'
shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb'
cron.database_name = 'postgres'
max_connections = 100
END
  fi
  # The extension connects to its own server over the loopback.
  postgres pg_ctl -D "$data" -l "$data/server.log" -w -t 60 -o "-c listen_addresses=127.0.0.1 -p $((port + 1))" start >"$dir/pg_ctl.log" || { tail -5 "$root$data/server.log" >&2; fail "PostgreSQL did not start"; }
  postgres psql -q -h "$data" -p $((port + 1)) -d postgres -c 'CREATE EXTENSION IF NOT EXISTS documentdb CASCADE' 2>/dev/null || fail "DocumentDB was not installed"
  database="postgres://postgres@/postgres?host=$root$data&port=$((port + 1))"
  nohup "$ferretdb" --postgresql-url="$database" --listen-addr="127.0.0.1:$port" --debug-addr=- --auth=false --telemetry=disable \
    --state-dir="$dir" --log-level=error >"$dir/ferretdb.log" 2>&1 &
  echo $! >"$dir/ferretdb.pid"
  for _ in $(seq 200); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "mongodb://127.0.0.1:$port"
      return
    fi
    sleep 0.1
  done
  tail -5 "$dir/ferretdb.log" >&2
  stop "$dir"
  fail "FerretDB did not start"
}

stop() {
  local dir data
  dir=$(cd "$1" && pwd) data=$(inner "$dir")
  if [ -e "$dir/ferretdb.pid" ]; then
    kill "$(cat "$dir/ferretdb.pid")" 2>/dev/null || true
    rm -f "$dir/ferretdb.pid"
  fi
  postgres pg_ctl -D "$data" -m fast -w stop >/dev/null 2>&1 || true
  rm -rf "${root:?}$data"
}

case ${1:-} in
  provision) provision ;;
  start) [ $# = 3 ] || fail "usage: start DIR PORT"; start "$2" "$3" ;;
  stop) [ $# = 2 ] || fail "usage: stop DIR"; stop "$2" ;;
  *) fail "usage: provision | start DIR PORT | stop DIR" ;;
esac

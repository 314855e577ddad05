#!/usr/bin/env bash
# A real server of MongoDB's wire protocol for tests, on machines where MongoDB's own packages
# cannot be had: FerretDB 2 over PostgreSQL with the DocumentDB extension, from Debian sid.
# Needs root, for a chroot. It is no replica set, runs no transactions and enforces no validators.
#
#   test-server.sh provision         install everything into the cache; again: nothing to do
#   test-server.sh start DIR PORT    start on PORT, and PostgreSQL on the next one; prints the URL;
#                                    with the data that `stop DIR keep` left, else with none
#   test-server.sh stop DIR [keep]   stop what was started there, and remove its data unless told
#                                    to keep them; nothing there is no error
#
# The cache is $USHER_CACHE, or ~/.cache/usher.
set -euo pipefail

self=$(realpath "$0")
cache=${USHER_CACHE:-$HOME/.cache/usher}/mongodb-wire
root=$cache/root
ferretdb=$cache/ferretdb
ferretdb_version=v2.7.0

say() { printf 'test-server: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# logged runs a command for at most ten minutes, with its output in a file of the cache. It stays
# in this process group: what interrupts this script interrupts it too.
logged() {
  timeout --foreground -k 10 600 "${@:2}" >>"$cache/$1.log" 2>&1 || { tail -5 "$cache/$1.log" >&2; fail "$1 failed; see $cache/$1.log"; }
}

provision() {
  mkdir -p "$(dirname "$cache")"
  (
    flock -w 1800 9 || fail "another provision does not end"
    [ -e "$cache/complete" ] || install
  ) 9>"$cache.lock"
}

install() {
  rm -rf "$cache"
  mkdir -p "$cache"
  if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap"
    logged tools apt-get update
    logged tools apt-get install -y debootstrap
  fi
  say "unpacking Debian sid"
  logged debootstrap debootstrap --variant=minbase sid "$root"
  for dir in /etc/apt/apt.conf.d /etc/ssl/certs /usr/local/share/ca-certificates; do
    if [ -d "$dir" ]; then mkdir -p "$root$dir" && cp -a "$dir/." "$root$dir/"; fi
  done
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # installing starts nothing
  chmod +x "$root/usr/sbin/policy-rc.d"
  say "installing PostgreSQL with DocumentDB"
  logged packages "$self" inside apt-get update
  logged packages "$self" inside apt-get install -y --no-install-recommends postgresql-18-documentdb
  say "building FerretDB"
  logged ferretdb env GOBIN="$cache" GOFLAGS= GOWORK=off go install "github.com/FerretDB/FerretDB/v2/cmd/ferretdb@$ferretdb_version"
  touch "$cache/complete"
}

# inside runs a command in the chroot, with a /proc that goes away with it.
inside() {
  TMPDIR=/tmp DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}
postgres() { inside runuser -u postgres -- /usr/lib/postgresql/18/bin/"$@"; }

# The data lie inside the chroot, named after DIR.
inner() { printf '/data/%s' "$(printf %s "$1" | cksum | cut -d' ' -f1)"; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# running tells whether the process that was noted in DIR is there and is FerretDB.
running() { [ -e "$1/ferretdb.pid" ] && [ "/proc/$(cat "$1/ferretdb.pid")/exe" -ef "$ferretdb" ]; }

# reaped waits for PostgreSQL's entry in the process table to go once it was killed: until then
# PostgreSQL takes itself for running.
reaped() {
  local pid
  [ -e "$1/postmaster.pid" ] && read -r pid <"$1/postmaster.pid" || return 0
  for _ in $(seq 100); do
    grep -qs '^State:.Z' "/proc/$pid/status" || return 0
    sleep 0.1
  done
}

start() {
  local dir port data keep=
  [[ $2 =~ ^[0-9]+$ ]] || fail "PORT is a number"
  provision
  mkdir -p "$1"
  dir=$(realpath "$1") port=$2 data=$(inner "$(realpath "$1")")
  if running "$dir"; then fail "something runs in $dir already"; fi
  for p in "$port" $((port + 1)); do
    if answers "$p"; then fail "port $p is in use"; fi
  done
  [ ! -e "$root$data/PG_VERSION" ] || keep=keep
  # shellcheck disable=SC2064 # expanded now: the names are gone when it runs
  trap "stop $(printf %q "$dir") $keep" EXIT
  start_postgres "$dir" "$data" $((port + 1))
  start_ferretdb "$dir" "$port" "postgres://postgres@/postgres?host=$root$data&port=$((port + 1))"
  trap - EXIT
  echo "mongodb://127.0.0.1:$port"
}

start_postgres() {
  local dir=$1 data=$2 port=$3
  if [ ! -e "$root$data/PG_VERSION" ]; then
    mkdir -p "$root$data"
    inside chown postgres "$data"
    postgres initdb -D "$data" --auth=trust --no-instructions -c unix_socket_directories="$data" \
      -c shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb -c cron.database_name=postgres >"$dir/initdb.log" 2>&1 ||
      { tail -5 "$dir/initdb.log" >&2; fail "initdb failed"; }
  fi
  reaped "$root$data"
  # The extension connects to its own server over the loopback.
  postgres pg_ctl -D "$data" -l "$data/server.log" -w -t 60 -o "-c listen_addresses=127.0.0.1 -p $port" start >"$dir/pg_ctl.log" 2>&1 ||
    { tail -5 "$root$data/server.log" >&2; fail "PostgreSQL did not start"; }
  timeout --foreground 60 "$self" inside runuser -u postgres -- psql -q -h "$data" -p "$port" -d postgres -c 'CREATE EXTENSION IF NOT EXISTS documentdb CASCADE' >"$dir/extension.log" 2>&1 ||
    { tail -5 "$dir/extension.log" >&2; fail "DocumentDB was not installed"; }
}

start_ferretdb() {
  local dir=$1 port=$2 database=$3
  "$ferretdb" --postgresql-url="$database" --listen-addr="127.0.0.1:$port" --debug-addr=- --auth=false --telemetry=disable \
    --state-dir="$dir" --log-level=error </dev/null >"$dir/ferretdb.log" 2>&1 &
  echo $! >"$dir/ferretdb.pid"
  for _ in $(seq 300); do
    kill -0 $! 2>/dev/null || break
    if answers "$port" && running "$dir"; then return; fi
    sleep 0.1
  done
  tail -5 "$dir/ferretdb.log" >&2
  fail "FerretDB did not start"
}

stop() {
  local dir data pid
  dir=$(realpath -m "$1") data=$(inner "$(realpath -m "$1")")
  if running "$dir"; then
    pid=$(cat "$dir/ferretdb.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      running "$dir" || break
      sleep 0.1
    done
    if running "$dir"; then kill -KILL "$pid"; fi
  fi
  rm -f "$dir/ferretdb.pid"
  [ -d "$root$data" ] || return 0
  reaped "$root$data"
  if postgres pg_ctl -D "$data" status >/dev/null 2>&1; then
    postgres pg_ctl -D "$data" -m fast -w -t 30 stop >/dev/null 2>&1 ||
      postgres pg_ctl -D "$data" -m immediate -w -t 30 stop >/dev/null 2>&1 || fail "PostgreSQL in $root$data does not stop"
  fi
  [ "${2:-}" = keep ] || rm -rf "${root:?}$data"
}

usage="usage: provision | start DIR PORT | stop DIR [keep]"
[ "$(id -u)" = 0 ] || fail "needs root for a chroot"
case ${1:-}/$# in
  provision/1) provision ;;
  start/3) start "$2" "$3" ;;
  stop/2 | stop/3) [ "${3:-keep}" = keep ] || fail "$usage"; stop "$2" "${3:-}" ;;
  inside/*) inside "${@:2}" ;;
  *) fail "$usage" ;;
esac

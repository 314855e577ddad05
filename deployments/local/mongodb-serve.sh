#!/bin/bash
# PostgreSQL with the DocumentDB extension, and FerretDB before it, as one container's only process.
# It ends when either ends, PostgreSQL last.
set -euo pipefail
data=/data/postgres bin=/usr/lib/postgresql/18/bin
if [ ! -e "$data/PG_VERSION" ]; then
  "$bin/initdb" -D "$data" --auth=trust --no-instructions -c shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb \
    -c cron.database_name=postgres -c unix_socket_directories=/tmp
fi
"$bin/postgres" -D "$data" -c listen_addresses=127.0.0.1 &
postgres=$!
trap 'kill -INT "$postgres" 2>/dev/null; wait "$postgres"' EXIT
trap 'exit 0' TERM INT
# The extension connects to its own server over the loopback.
until "$bin/psql" -qh /tmp -d postgres -c 'CREATE EXTENSION IF NOT EXISTS documentdb CASCADE'; do
  kill -0 "$postgres"
  sleep 0.2
done
/ferretdb --postgresql-url='postgres://postgres@/postgres?host=/tmp' --listen-addr=0.0.0.0:27017 --debug-addr=- --auth=false \
  --telemetry=disable --state-dir=/tmp --log-level=error &
wait -n

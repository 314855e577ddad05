#!/usr/bin/env bash
# Makes an authority and a certificate for each node, for a trial: DIR/ca.crt, and
# DIR/NODE/{node.crt,node.key,ca.crt}. In production take your own authority's. Nothing is
# overwritten; the authority's key stays in DIR/ca.key.
# Usage: certificates.sh DIR NODE...
set -euo pipefail
umask 077
dir=$1
shift
mkdir -p "$dir"
[ -e "$dir/ca.key" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 \
  -subj "/CN=usher trial authority" -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
for node in "$@"; do
  [ ! -e "$dir/$node/node.key" ] || continue
  mkdir -p "$dir/$node"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj "/CN=$node" \
    -keyout "$dir/$node/node.key" -out "$dir/$node/node.csr" 2>/dev/null
  # A node is a server to clients and, to other nodes, both.
  openssl x509 -req -in "$dir/$node/node.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days 365 -out "$dir/$node/node.crt" \
    -extfile <(printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$node") 2>/dev/null
  rm "$dir/$node/node.csr"
  cp "$dir/ca.crt" "$dir/$node/ca.crt"
done

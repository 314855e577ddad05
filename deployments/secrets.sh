#!/usr/bin/env bash
# Makes what the compose file mounts: passwords of the broker's users, certificates, those of MongoDB,
# and the tenants' configuration with a token of its own. Nothing is overwritten. In production take
# yours, and see deployments/README.md.
# Usage: secrets.sh DIR
set -euo pipefail
usher=$(realpath "$(dirname "$0")/../bin/usher")
here=$(realpath "$(dirname "$0")")
demo=$here/../pkg/tenant/demo.yaml
umask 077
mkdir -p "$1"
cd "$1"

# once FILE COMMAND...: the file is what the command prints, unless it is there already.
once() {
  mkdir -p "$(dirname "$1")"
  [ -e "$1" ] || { "${@:2}" >"$1.new" && mv "$1.new" "$1"; }
}
random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

"$usher" topology passwords broker >/dev/null
"$here/nats/certificates.sh" tls n1 n2 n3
for password in broker/*.password; do
  user=$(basename "$password" .password)
  credentials=$user:$(cat "broker/$user.password")
  once "nats-url/$user" printf 'tls://%s@n1:4222' "$credentials"
  once "nats-url-cluster/$user" printf 'tls://%s@n1:4222,tls://%s@n2:4222,tls://%s@n3:4222' "$credentials" "$credentials" "$credentials"
done

once mongodb/root-password random
once mongodb/password random
once mongodb/keyfile random
once mongodb/url printf 'mongodb://usher:%s@mongodb:27017/usher?authSource=usher&replicaSet=rs0' "$(cat mongodb/password)"
once mongodb/url-local printf 'mongodb://mongodb:27017/usher'
once grafana-password random
once token random
mkdir -p delivery # for the secretFile of tenants whose messages go to a webhook

# The demonstration's tenants, with the token as an administrator of all of them.
configuration() {
  sed -e "s/^broker:/broker:\n  replicas: $1/" \
    -e "s/^auth:/auth:\n  tokens:\n    - sha256: $(sha256sum <token | cut -d' ' -f1)\n      subject: stack\n      tenants: [\"*\"]\n      roles: [admin]/" "$demo"
}
once config/tenants.yaml configuration 1
once config-cluster/tenants.yaml configuration 3

# The directory is closed to others; the files in it are mounted one by one for users of the
# containers, who are nobody on this machine.
find . -mindepth 1 -type d -exec chmod 755 {} +
find . -type f ! -name '*.password' ! -path ./token ! -path ./tls/ca.key -exec chmod 444 {} +

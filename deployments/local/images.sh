#!/usr/bin/env bash
# Builds what deployments/compose.local.yml puts in the place of images that cannot be pulled, from Go
# modules and Debian's packages. Needs root (a chroot), Docker Engine and Go; again: little to do.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${USHER_CACHE:-$HOME/.cache/usher}
export GOWORK=off CGO_ENABLED=0

build() { # PROGRAM MODULE-DIR PACKAGE
  go -C "$2" build -trimpath -ldflags='-s -w' -o "$PWD/bin/$1" "$3"
}
image() { # PROGRAM
  mkdir -p "bin/$1.root"
  cp "bin/$1" "bin/$1.root/program"
  cp bin/probe "bin/$1.root/probe"
  tar -c deployments/local/Dockerfile "bin/$1.root" bin/empty |
    docker build -q -f deployments/local/Dockerfile --build-arg PROGRAM="$1" -t "usher/$1" -
}

mkdir -p bin/empty
build probe deployments/local ./probe
build collector deployments/local ./collector
build nats-server deployments/local github.com/nats-io/nats-server/v2
build mail services/usher ./cmd/mail

deployments/prometheus/tools.sh
cp "$cache/prometheus/usr/bin/prometheus" bin/prometheus
rm -rf bin/prometheus.root
mkdir bin/prometheus.root
ldd bin/prometheus | grep -o '/[^ ]*' | while read -r library; do cp -L --parents "$library" bin/prometheus.root; done

for program in collector nats-server mail prometheus; do image "$program"; done

deployments/mongodb/test-server.sh provision
root=$cache/mongodb-wire/root
cp "$cache/mongodb-wire/ferretdb" "$root/ferretdb"
cp deployments/local/mongodb-serve.sh "$root/serve"
chroot "$root" install -d -o postgres -g postgres /data
tar -C "$root" -c --exclude='./data/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./tmp/*' --exclude='./var/cache/*' \
  --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' . |
  docker import --change 'USER postgres' --change 'ENTRYPOINT ["/serve"]' - usher/mongodb-wire >/dev/null
echo usher/mongodb-wire

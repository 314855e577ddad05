#!/usr/bin/env bash
# Unpacks Debian's package of Prometheus into the cache, without installing it: nothing of it starts.
# Prints where promtool is. The cache is $USHER_CACHE, or ~/.cache/usher.
set -euo pipefail
dir=${USHER_CACHE:-$HOME/.cache/usher}/prometheus
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
if [ ! -x "$dir/usr/bin/promtool" ]; then
  unpacked=$(mktemp -d "$dir.XXXXXX")
  trap 'rm -rf "$unpacked"' EXIT
  (cd "$unpacked" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } >&2 && dpkg -x prometheus_*.deb .)
  rm -rf "$dir"
  chmod 755 "$unpacked"
  mv "$unpacked" "$dir"
fi
echo "$dir/usr/bin/promtool"

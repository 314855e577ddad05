#!/usr/bin/env bash
# Checks what tests do not: formatting, vet, staticcheck, that every module stands on its own,
# that imports point one way, and known vulnerabilities where their database can be reached.
# Usage: check.sh STATICCHECK GOVULNCHECK MODULE...
set -euo pipefail
cd "$(dirname "$0")/.."
staticcheck=$1 govulncheck=$2
shift 2

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'check: %s\n' "$*" >&2; exit 1; }

step "formatting"
unformatted=$(gofmt -l "$@")
[ -z "$unformatted" ] || fail "not gofmt-ed: $unformatted"

step "one go line"
[ "$(grep -h '^go ' go.work $(printf '%s/go.mod ' "$@") | sort -u | wc -l)" = 1 ] || fail "modules differ in their go line"

step "go.work lists every module"
diff <(git ls-files '*go.mod' | xargs -n1 dirname | sort) <(printf '%s\n' "$@" | sort) || fail "the modules of the Makefile and the tree differ"

step "import direction"
for m in "$@"; do
  deps=$(cd "$m" && GOWORK=off go list -deps ./... | grep '^github.com/usherhq/usher/' || true)
  case $m in
    events) [ -z "$(cd "$m" && GOWORK=off go list -m all | tail -n +2)" ] || fail "events must require nothing" ;;
    pkg) ! grep -q '/usher/services/' <<<"$deps" || fail "pkg imports a service" ;;
    services/usher) ;;
    *) ! grep '/usher/services/' <<<"$deps" | grep -qv "/usher/$m\(/\|$\)" || fail "$m imports another service" ;;
  esac
done

for m in "$@"; do
  step "$m on its own: tidy, vet, build, staticcheck"
  (cd "$m" && export GOWORK=off && go mod tidy -diff && go vet ./... && go build ./... && go run "$staticcheck" ./...)
done
(cd services/usher && GOWORK=off go vet -tags process . && GOWORK=off go run "$staticcheck" -tags process .)

# So the tests of the workspace, which `make test` runs, are those of the module alone.
step "every module alone builds from the versions of the workspace"
versions() { go list -deps -test -f '{{with .Module}}{{with .Version}}{{$.Module.Path}} {{.}}{{end}}{{end}}' ./... | grep -v '^github.com/usherhq/usher/' | sort -u; }
for m in "$@"; do
  if grep -q "^\s*\./$m$" go.work; then
    (cd "$m" && diff <(GOWORK=off versions) <(versions)) || fail "$m alone (<) builds from other versions than the workspace (>)"
  else
    (cd "$m" && GOWORK=off go test ./...)
  fi
done

step "alerts and dashboards"
if command -v apt-get >/dev/null; then
  make -s alerts
else
  echo "NOT RUN: promtool, because it comes from Debian's package"
fi

step "known vulnerabilities"
if curl -sfI --max-time 10 https://vuln.go.dev/index/modules.json >/dev/null 2>&1; then
  for m in "$@"; do (cd "$m" && GOWORK=off go run "$govulncheck" ./...); done
else
  echo "NOT RUN: govulncheck, because its database cannot be reached from here"
fi

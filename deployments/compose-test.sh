#!/usr/bin/env bash
# Brings the compose stack up as deployments/compose.local.yml builds it, registers customers through
# it, scales it, kills its containers, and takes it down. Says NOT RUN where no Docker Engine answers.
# Needs root, Go, curl and, for the builds, the registries of Go modules and of Debian.
#   compose-test.sh           one broker
#   compose-test.sh cluster   three brokers and two replicas of each service: also the brokers fail
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-single}
ids=() emails=() started=$SECONDS failure=

say() { printf 'compose-test: %4d s  %s\n' $((SECONDS - started)) "$*"; }
fail() { failure=$*; say "FAIL: $*"; exit 1; }
docker info >/dev/null 2>&1 || { echo "NOT RUN: the compose stack, because no Docker Engine answers here"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "NOT RUN: the compose stack, because its image of a MongoDB server is built in a chroot, as root"; exit 0; }

# Compose v2: the installed one, or one that is built from its module.
compose_version=v2.40.3
cache=${USHER_CACHE:-$HOME/.cache/usher}
build_compose() {
  local module
  module=$(mktemp -d)
  (cd "$module" && export GOWORK=off CGO_ENABLED=0 && printf 'module compose\n\ngo 1.26.0\n' >go.mod &&
    go mod edit -require "github.com/docker/compose/v2@$compose_version" &&
    printf 'package main\n\nimport _ "github.com/docker/compose/v2/cmd"\n\nfunc main() {}\n' >main.go && go mod tidy -e 2>/dev/null &&
    go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$compose_version" -o "$1" github.com/docker/compose/v2/cmd)
  rm -rf "$module"
}
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
else
  compose=("$cache/docker-compose-$compose_version")
  [ -x "${compose[0]}" ] || { mkdir -p "$cache"; say "building Compose $compose_version"; build_compose "${compose[0]}"; }
fi

files=(-f docker-compose.yml)
gateway=http://127.0.0.1:8080 brokers=(n1) replicas=1
if [ "$mode" = cluster ]; then
  files+=(-f deployments/compose.cluster.yml) brokers=(n1 n2 n3) replicas=2
fi
binary=("${compose[@]}")
compose+=(-p usher-test "${files[@]}" -f deployments/compose.local.yml --profile "$mode" --progress quiet)
down() { "${compose[@]}" down -v --timeout 20 >/dev/null 2>&1 || true; }
ended() {
  local code=$?
  if [ "$code" != 0 ]; then
    { "${compose[@]}" ps -a || true; "${compose[@]}" logs --no-color --tail 10 gateway validator risk accounts notifier ledger "${brokers[@]}" || true; } >&2
  fi
  down
  say "ended with $code${failure:+: $failure}"
  exit "$code"
}

# Also what only a machine with a registry runs.
sources=(deployments/compose.cluster.yml deployments/compose.local.yml)
for of in "" "${sources[0]}" "${sources[1]}" "${sources[*]}"; do
  read -ra over <<<"$of"
  "${binary[@]}" --profile cluster -f docker-compose.yml "${over[@]/#/-f}" config -q || fail "docker-compose.yml with $of is not understood"
done

say "building images"
make -s stack-local >/dev/null 2>"$cache/compose-test.log" || { tail -20 "$cache/compose-test.log" >&2; fail "the images were not built"; }
down
trap ended EXIT
begun=$SECONDS
"${compose[@]}" up -d --wait --wait-timeout 180
say "the stack is healthy after $((SECONDS - begun)) s"

# Of several gateways the next one; a container that was started again may have another port.
turn=1
next_gateway() {
  [ "$mode" = cluster ] || return 0
  turn=$((3 - turn))
  gateway=http://$("${compose[@]}" port --index "$turn" gateway 8080 2>/dev/null) || true
}
next_gateway

containers() { "${compose[@]}" ps -q "$@"; }
api() { curl -sS --max-time 20 -H "Authorization: Bearer $(cat secrets/token)" -H 'X-Tenant-ID: d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f' "$@"; }
prometheus() { curl -sS --max-time 5 http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1"; }

# within SECONDS WHAT COMMAND...: asks until the command succeeds.
within() {
  local limit=$1 what=$2 from=$SECONDS
  shift 2
  until "$@"; do
    [ $((SECONDS - from)) -lt "$limit" ] || fail "not within $limit s: $what"
    sleep 0.5
  done
  say "$what ($((SECONDS - from)) s)"
}

# register COUNT: as a client does, with the same key until it is accepted.
register() {
  local n email answer id
  for _ in $(seq "$1"); do
    n=${#ids[@]} email=customer$n@example.com id=
    for _ in $(seq 120); do
      answer=$(api "$gateway/v1/registrations" -H 'Content-Type: application/json' -H "Idempotency-Key: key-$n" \
        -d '{"applicant":{"givenName":"Marcus","familyName":"Jensen'"$(tr 0-9 a-j <<<"$n")"'","email":"'"$email"'","birthDate":"1990-05-15"},"credentials":{"password":"four dry apples"}}' 2>/dev/null) || answer=
      id=$(sed -n 's/.*"id":"\([^"]*\)".*/\1/p' <<<"$answer")
      [ -z "$id" ] || break
      next_gateway
      sleep 0.5
    done
    [ -n "$id" ] || fail "customer $n was not accepted within a minute: $answer"
    ids+=("$id") emails+=("$email")
  done
}
sent() {
  local id status
  for id in "${ids[@]}"; do
    status=$(api "$gateway/v1/registrations/$id" 2>/dev/null | grep -o '"status":"[A-Z_]*"' | sed -n 1p) || true
    case $status in
      *ACTIVATION_SENT*) ;;
      *REJECTED* | *REVIEW* | *FAILED*) fail "registration $id is $status" ;;
      *)
        next_gateway
        return 1
        ;;
    esac
  done
}
complete() { within 120 "all ${#ids[@]} accepted registrations have their mail" sent; }
healthy() { # SERVICE COUNT
  [ "$(docker inspect -f '{{.State.Health.Status}}' $(containers "$1") | grep -c '^healthy$')" = "$2" ]
}
found() { grep -q "\"value\":\[[0-9.]*,\"$2\"\]" <<<"$(prometheus "$1")"; }
# What whoever looks at the ledger sees of a stage: its readiness, and the console's page.
ledger() { echo "http://$("${compose[@]}" port --index 1 ledger 8081)"; }
readiness_names() { grep -q "stages: $1 is stopped" <<<"$(curl -sS --max-time 5 "$(ledger)/readyz")"; }
console_shows() { # SERVICE STATE
  local at cookie
  at=$(ledger)
  cookie=$(curl -sS --max-time 5 -D- -o /dev/null --data-urlencode "token@secrets/token" "$at/console/login" | sed -n 's/^[Ss]et-[Cc]ookie: \([^;]*\).*/\1/p')
  grep -q "data-stage=\"$1\" data-state=\"$2\"" <<<"$(curl -sS --max-time 5 -H "Cookie: $cookie" "$at/console/t/d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f/pipeline")"
}
firing() { found "count(ALERTS{alertname=\"$1\",service=\"$2\",alertstate=\"firing\"})" 1; }
silent() { ! firing "$@"; }

say "every container runs without root, on a read-only root, without capabilities, with limits"
while read -r name user readonly memory caps; do
  case $user in "" | 0 | 0:* | root*) fail "$name runs as root" ;; esac
  [ "$readonly" = true ] || fail "$name can write to its root"
  [ "$memory" != 0 ] || fail "$name has no limit of memory"
  [ "$caps" = "[ALL]" ] || fail "$name keeps capabilities: $caps"
done < <(docker inspect -f '{{.Name}} {{or .Config.User "-image-"}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.HostConfig.CapDrop}}' $(containers -a))
environments=$(docker inspect -f '{{.Config.Env}}' $(containers -a))
if grep -qF "$(cat secrets/broker/risk.password)" <<<"$environments"; then fail "a password is in an environment"; fi

register 20
complete

"${compose[@]}" up -d --no-recreate --scale validator=3 validator
within 60 "three validators are healthy" healthy validator 3
within 30 "Prometheus reads all three" found 'count(up{service="validator"} == 1)' 3
register 10
complete

"${compose[@]}" stop --timeout 15 validator
begun=$SECONDS
within 30 "StageStopped fires for the stopped validator" firing StageStopped validator
within $((begun + 30 - SECONDS)) "the readiness of the ledger names it" readiness_names validator
within $((begun + 30 - SECONDS)) "the console shows it as stopped" console_shows validator stopped
register 5
"${compose[@]}" up -d --no-recreate --scale "validator=$replicas" validator
complete
within 60 "StageStopped is over" silent StageStopped validator

# What deployments/README.md tells operators to run. A broker that is started again below reads what
# the subscriber's addition has written.
operate() { "${compose[@]}" run --rm "$@" 2>&1; }
doctored=$(operate operate doctor) || fail "the doctor finds: $doctored"
urls=secrets/nats-url
[ "$mode" = single ] || urls=secrets/nats-url-cluster
operate --user "$(id -u)" -v ./secrets/broker:/broker -v "./$urls/subscriptions:/broker-url:ro" -e NATS_URL_FILE=/broker-url \
  operate subscribers add d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f "audit_$mode" --dir /broker || fail "no subscriber was added"
for _ in 1 2; do "${compose[@]}" kill -s HUP "${brokers[@]}"; done
reloaded() { grep -q 'Reloaded: accounts\|Reloaded server configuration' <<<"$("${compose[@]}" logs --no-color n1 2>&1)"; }
within 20 "the broker knows a subscriber that the command has added" reloaded

# Without its gateway or its only broker nobody can register.
alone() { [ "$mode" = single ] && { [ "$1" = gateway ] || [ "$1" = n1 ]; }; }
for victim in risk accounts notifier ledger gateway mongodb "${brokers[@]}"; do
  id=$(containers "$victim" | sed -n 1p)
  docker kill "$id" >/dev/null
  alone "$victim" || [ "$victim" = gateway ] || register 3
  docker start "$id" >/dev/null
  begun=$SECONDS
  register 2
  say "$victim was killed; the next registration was accepted $((SECONDS - begun)) s after its restart"
done
complete

missing() { found 'count(ALERTS{alertname="BrokerReplicaMissing"}) > bool 0' 1; }
followed() { ! missing; }
if [ "$mode" = cluster ]; then
  within 60 "all brokers follow" followed
  victim=$(containers n2)
  docker network disconnect usher-test_pipeline "$victim"
  begun=$SECONDS
  register 5
  say "n2 is cut off; five registrations were accepted within $((SECONDS - begun)) s"
  within 60 "Prometheus sees that a replica is missing" missing
  docker network connect --alias n2 usher-test_pipeline "$victim"
  complete
  for service in gateway validator risk accounts notifier ledger "${brokers[@]}"; do
    for id in $(containers "$service"); do
      docker restart -t 20 "$id" >/dev/null
      register 1
    done
  done
  say "everything was restarted, one after another, while customers registered"
  complete
fi

# SIGTERM is an orderly end.
"${compose[@]}" stop --timeout 20 gateway validator risk accounts notifier ledger
for service in gateway validator risk accounts notifier ledger; do
  for id in $(containers -a "$service"); do
    code=$(docker inspect -f '{{.State.ExitCode}}' "$id")
    [ "$code" = 0 ] || fail "$service ended with $code"
  done
done

# No customer has two accounts or two mails: with one account a mail is repeated only by a crash
# between the mail server's answer and its mark.
twice=0
for email in "${emails[@]}"; do
  mails=$(curl -sS "http://127.0.0.1:8025/dev/mail?to=$email" | grep -io '"Message-ID":"[^"]*"' | sort -u | wc -l) || mails=0
  [ "$mails" = 1 ] || { say "$email has $mails different mails"; twice=1; }
done
[ "$twice" = 0 ] || fail "mails are missing or of two accounts"
say "PASS: ${#ids[@]} registrations accepted, each with one account and one mail ($mode)"

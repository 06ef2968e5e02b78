#!/usr/bin/env bash
# Usage: docs/status.sh [SECONDS]
# What does the status of 1,000 backends cost? After a load of five seconds the balancer serves
# nothing, and has no, one and 20 clients of /v1/api/status/stream for so many seconds each (20). It
# prints the CPU time of its process in per cent of a core, and how much a client gets each second.
set -euo pipefail
cd "$(dirname "$0")/.."
. docs/own.sh

seconds=${1:-20}
start_backends 1000
{
  cat <<YAML
server: {listen: "127.0.0.1:0"}
management: {listen: "127.0.0.1:0"}
clients: {store: memory}
limiter: {enabled: false}
pools:
  main:
    health: {interval: 1h}
YAML
  list_backends 1000
} >"$work/config.yaml"
start_balancer "$work/config.yaml"
cd "$work"
stream=http://$(sed -n 's/.*"listen":"\([^"]*\)".*"message":"management".*/\1/p' lb.log)/v1/api/status/stream
./bench --url="http://$address/" --duration=5s --rate=2000 --connections=50 --json >load.json
sleep 12 # the idle connections are at rest, and the first points are made

# cpu prints the CPU time of the balancer's process in clock ticks.
cpu() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$lb/stat"; }

# measure LOOKERS
measure() {
  local ticks
  for _ in $(seq "$1"); do
    curl --noproxy '*' -sSN --max-time $((seconds + 4)) -o "looker-$1" "$stream" 2>>curl.log || true & # it fails at its time
  done
  sleep 2 # all have the history
  ticks=$(cpu)
  sleep "$seconds"
  awk -v n="$1" -v ticks=$(($(cpu) - ticks)) -v hz="$(getconf CLK_TCK)" -v s="$seconds" \
    'BEGIN { printf "%d clients: %.2f %% of a core\n", n, 100 * ticks / hz / s }'
  sleep 3
}
measure 0
measure 1
measure 20
awk '/^data:/ { n++; all += length($0); if (n == 1) first = all } END { printf "a message: %.0f KB, the first %.0f KB\n", (all - first) / (n - 1) / 1000, first / 1000 }' looker-1

#!/usr/bin/env bash
# Usage: docs/checks.sh [SECONDS]
# What do the health checks of 1,000 backends cost? The balancer serves no requests and checks them
# with the defaults, by connecting and by HTTP, for so many seconds each (30). It prints the CPU
# time of its process in per cent of a core, beside that of a balancer with one backend, and the
# connects a second of the whole machine, which on a quiet one are its checks.
set -euo pipefail
cd "$(dirname "$0")/.."
. docs/own.sh

seconds=${1:-30}
start_backends 1000

# config BACKENDS PATH: writes config.yaml.
config() {
  cat <<YAML >"$work/config.yaml"
server: {listen: "127.0.0.1:0"}
management: {listen: ""}
clients: {store: memory}
limiter: {enabled: false}
pools:
  main:
    health: {path: "$2"}
    backends:
YAML
  for i in $(seq 0 $(($1 - 1))); do echo "      - url: http://127.0.0.1:$((start_port + i))"; done >>"$work/config.yaml"
}
# cpu prints the CPU time of the balancer's process in clock ticks.
cpu() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$lb/stat"; }
# connects prints how many TCP connections were opened.
connects() { awk '/^Tcp: [0-9]/ { print $6 }' /proc/net/snmp; }

# measure BACKENDS PATH NAME
measure() {
  config "$1" "$2"
  start_balancer "$work/config.yaml"
  sleep 5 # the first checks are over
  local ticks opened
  ticks=$(cpu) opened=$(connects)
  sleep "$seconds"
  awk -v name="$3" -v ticks=$(($(cpu) - ticks)) -v opened=$(($(connects) - opened)) -v hz="$(getconf CLK_TCK)" -v s="$seconds" \
    'BEGIN { printf "%s: %.2f %% of a core, %.0f connects a second\n", name, 100 * ticks / hz / s, opened / s }'
  ! grep -q 'backend is out' "$work/lb.log" || fail "a backend was out: $(grep 'backend is out' "$work/lb.log")"
  stop_balancer
}
measure 1 "" "1 backend, by connecting"
measure 1000 "" "1,000 backends, by connecting"
measure 1000 / "1,000 backends, by HTTP"

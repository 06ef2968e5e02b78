#!/usr/bin/env bash
# Usage: docs/balancing.sh [ROUNDS]
# Compares the policies on real processes: ten fake backends, of which the last is like the others,
# slow, failing fast, or restarting. Each run sends 1,000 requests per second for four seconds; in
# each round every policy has one run of each, in another order. It prints medians over the rounds:
# p50 and p99 of the responses with status 200, in milliseconds, and the share of all other requests.
# Nothing is sent again, and no backend is checked: the policies are on their own.
set -euo pipefail
cd "$(dirname "$0")/.."
. docs/own.sh

rounds=${1:-7}
policies=(round_robin least_requests random_two latency)
start_backends 9 --delay=5ms
cd "$work"
nine=$backends nine_port=$start_port
odd_port=$((start_port + 9))

# serve_odd FLAG...: starts the tenth backend.
serve_odd() {
  ./bench servers --servers=1 --start_port="$odd_port" "$@" >odd.log 2>&1 &
  odd=$!
  backends="$nine $odd"
  for _ in $(seq 200); do
    ! grep -q '^serving ' odd.log || return 0
    sleep 0.02
  done
  fail "the tenth backend does not start: $(cat odd.log)"
}
end_odd() {
  kill "$odd" 2>/dev/null || true
  wait "$odd" || true
  backends=$nine
}

config() {
  cat <<YAML
server: {listen: "127.0.0.1:0", state: ""}
management: {listen: ""}
clients: {store: memory}
limiter: {enabled: false}
pools:
  main:
    balance: $1
    retry: {attempts: 1}
    health: {interval: 1h, fall: 100}
    backends:
YAML
  for i in $(seq 0 9); do echo "      - url: http://127.0.0.1:$((nine_port + i))"; done
}

# value KEY prints a number of the responses with status 200.
value() { sed -n '/"code": 200,/,$p' load.json | sed -n "/\"$1\":/{s/.*: *\([0-9.]*\).*/\1/p;q}"; }

# run POLICY SCENARIO prints p50, p99 and the share of errors.
run() {
  case $2 in
  equal | restarting) serve_odd --delay=5ms ;;
  slow) serve_odd --delay=50ms ;;
  failing) serve_odd --error_rate=1 ;;
  esac
  config "$1" >config.yaml
  start_balancer config.yaml
  ./bench --url="http://$address/" --duration=4s --rate=1000 --connections=100 --json >load.json &
  load=$!
  if [ "$2" = restarting ]; then
    sleep 1.5
    end_odd
    sleep 1
    serve_odd --delay=5ms
  fi
  wait "$load"
  load=
  echo "$(value p50) $(value p99) $(awk -v good="$(value count)" 'BEGIN { print 100 - good / 40 }')" >>"$2.$1"
  stop_balancer
  end_odd
}
column() { awk -v c="$1" '{ print $c }' "$2" | sort -n | awk '{ v[NR] = $1 } END { printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

for round in $(seq "$rounds"); do
  for scenario in equal slow failing restarting; do
    for i in $(seq 0 3); do run "${policies[(i + round) % 4]}" "$scenario"; done
  done
done
for scenario in equal slow failing restarting; do
  echo "$scenario:"
  for policy in "${policies[@]}"; do
    file="$scenario.$policy"
    echo "  $policy: p50 $(column 1 "$file") ms, p99 $(column 2 "$file") ms, $(column 3 "$file") % errors"
  done
done

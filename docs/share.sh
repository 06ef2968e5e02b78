#!/usr/bin/env bash
# Usage: docs/share.sh [ROUNDS]
# What does a limit that is shared over instances cost? Two balancers, one with limiter.share and one
# without, take the same load by turns, as much as they can. It prints the CPU time of a request with it
# divided by that without, round by round, for buckets of three sizes: of the smallest, the load spends
# more than the credit within a round trip, so that some requests wait. Then it prints the percentiles of
# latency in milliseconds for a client of which each request waits for Redis, beside those of Redis
# itself. It needs redis-server.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v redis-server >/dev/null || { echo "$0: redis-server is needed" >&2; exit 1; }
. docs/own.sh

rounds=${1:-11}
start_backends 1
redis_port=$((start_port + 1))
redis-server --port "$redis_port" --bind 127.0.0.1 --save "" --dir "$work" >"$work/redis.log" 2>&1 &
backends="$backends $!"
for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && break || sleep 0.05; done

# begin NAME SHARE: starts a balancer and keeps its process, address and API under the name.
declare -A process at api
begin() {
  cat >"$work/$1.yaml" <<YAML
server: {listen: "127.0.0.1:0", state: ""}
management: {listen: "127.0.0.1:0"}
clients: {store: memory}
limiter: {share: "$2", share_wait: 100ms}
pools: {main: {backends: [{url: "http://127.0.0.1:$start_port"}]}}
YAML
  start_balancer "$work/$1.yaml"
  process[$1]=$lb at[$1]=$address
  api[$1]=http://$(sed -n 's/.*"listen":"\([^"]*\)".*"message":"management".*/\1/p' "$work/lb.log")/v1/api/clients
  backends="$lb $backends"
  lb=
}
begin alone ""
begin shared "redis://127.0.0.1:$redis_port"
sleep 4 # until there is credit

# limit CAPACITY RATE: sets the limit of the load at both.
limit() {
  for name in alone shared; do
    curl --noproxy '*' -sSf -o /dev/null -X PUT "${api[$name]}/127.0.0.1?create=true" -d "{\"capacity\":$1,\"rate_per_second\":$2}"
  done
}
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# cost NAME: loads the balancer and prints the clock ticks of a million requests.
cost() {
  local before after requests
  before=$(ticks "${process[$1]}")
  load_for "$1"
  after=$(ticks "${process[$1]}")
  requests=$(sed -n '/"responses":/{s/.*: *\([0-9]*\).*/\1/p;q}' "$work/load.json")
  awk "BEGIN { print ($after - $before) * 1000000 / $requests }"
}
load_for() {
  "$work/bench" --url="http://${at[$1]}/" --duration=4s --connections=20 --json >"$work/load.json" &
  load=$!
  wait "$load"
  load=
}
percentile() { sed -n "/\"$1\":/{s/.*: *\([0-9.]*\).*/\1/p;q}" "$work/load.json"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

for capacity in 1000000 10000 1000; do
  limit "$capacity" 1000000
  for round in $(seq "$rounds"); do
    if [ $((round % 2)) = 0 ]; then
      alone=$(cost alone) shared=$(cost shared)
    else
      shared=$(cost shared) alone=$(cost alone)
    fi
    awk "BEGIN { printf \"%.3f\n\", $shared / $alone }"
  done | tee "$work/ratios" | tr '\n' ' '
  echo "- capacity $capacity, CPU of a request: $(median <"$work/ratios")"
done

limit 7 10000
for name in alone shared; do
  for _ in $(seq "$rounds"); do
    "$work/bench" --url="http://${at[$name]}/" --duration=2s --rate=500 --connections=5 --json >"$work/load.json"
    echo "$(percentile p50) $(percentile p99)"
  done >"$work/latencies"
  echo "each request waits, $name: p50 $(awk '{ print $1 }' "$work/latencies" | median) ms, p99 $(awk '{ print $2 }' "$work/latencies" | median) ms"
done
redis-benchmark -p "$redis_port" -c 1 -n 20000 -t ping_mbulk --csv | awk -F'","' 'END { print "a round trip to Redis: p50 " $5 " ms, p99 " $7 " ms" }'

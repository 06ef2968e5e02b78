#!/usr/bin/env bash
# Usage: docs/scrape.sh [ROUNDS]
# Does reading the metrics of 1,000 backends move the 99th percentile of latency? Each round sends
# 1,000 requests per second for five seconds, once without scrapes and once with one each second.
# It prints both percentiles in milliseconds, and the time of a scrape; then the medians.
set -euo pipefail
cd "$(dirname "$0")/.."
. docs/own.sh

rounds=${1:-11}
start_backends 1000
{
  cat <<YAML
server: {listen: "127.0.0.1:0"}
management: {listen: "127.0.0.1:0"}
clients: {store: memory}
limiter: {enabled: false}
pools:
  main:
YAML
  list_backends 1000
} >"$work/config.yaml"
start_balancer "$work/config.yaml"
cd "$work"
metrics=http://$(sed -n 's/.*"listen":"\([^"]*\)".*"message":"management".*/\1/p' lb.log)/metrics

# p99 loads the balancer for some seconds and prints the percentile.
p99() {
  ./bench --url="http://$address/" --duration="$1" --rate=1000 --connections=50 --json >load.json &
  load=$!
  wait "$load"
  load=
  sed -n '/"p99":/{s/.*: *\([0-9.]*\).*/\1/p;q}' load.json # the first is that of all responses
}
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# scraped is p99 with a scrape each second meanwhile.
scraped() {
  for _ in 1 2 3 4; do
    sleep 1
    curl --noproxy '*' -sSf -o /dev/null -w '%{time_total}\n' "$metrics" >>scrapes
  done &
  p99 "$1"
  wait
}

p99 5s >/dev/null # all backends have been asked, and have their series
for round in $(seq "$rounds"); do
  if [ $((round % 2)) = 0 ]; then
    without=$(p99 5s) with=$(scraped 5s)
  else
    with=$(scraped 5s) without=$(p99 5s)
  fi
  echo "$without $with" | tee -a percentiles
done
echo "p99 without scrapes: $(awk '{ print $1 }' percentiles | median) ms"
echo "p99 with scrapes: $(awk '{ print $2 }' percentiles | median) ms"
echo "a scrape: $(awk '{ print $1 * 1000 }' scrapes | median) ms"

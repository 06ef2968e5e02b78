#!/usr/bin/env bash
# Measures what docs/results.md says of start, memory and large bodies, with a balancer and a
# backend of its own on free ports. Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
. docs/own.sh

memory() { awk -v what="$2" '$1 == what":" {printf "%.1f MiB\n", $2 / 1024}' "/proc/$1/status"; }
get() { curl --noproxy '*' -s -o /dev/null "$@"; }

start_backends 1 --body_size=1GiB
config() { # config ADDRESS
  cat >"$work/config.yaml" <<YAML
server: {listen: "$1"}
management: {listen: "127.0.0.1:0"}
pools: {main: {backends: [{url: "http://127.0.0.1:$start_port"}]}}
clients: {store: "file:$work/clients.db"}
YAML
}
# All starts below use this free port: reading it from the log would count as part of the start.
config 127.0.0.1:0
start_balancer "$work/config.yaml"
stop_balancer
config "$address"

echo "start to first served request, ms, 11 times:"
for _ in $(seq 11); do
  from=$(date +%s%N)
  "$work/lb" --path="$work/config.yaml" >"$work/lb.log" 2>&1 &
  lb=$!
  until get -I "http://$address/"; do kill -0 "$lb" || fail "the balancer does not start: $(cat "$work/lb.log")"; done
  took=$((($(date +%s%N) - from) / 1000000))
  for _ in $(seq 50); do grep -q '"message":"proxy"' "$work/lb.log" && break || sleep 0.02; done # the log follows
  grep -q '"message":"proxy"' "$work/lb.log" || fail "another process answers on $address: $(cat "$work/lb.log")"
  echo "$took"
  stop_balancer
done >"$work/starts"
sort -n "$work/starts" | tr '\n' ' '
echo

start_balancer "$work/config.yaml"
sleep 3
echo "memory at idle: $(memory "$lb" VmRSS)"
get -w '1 GiB down: status %{http_code}, %{size_download} bytes; ' "http://$address/"
echo "peak memory $(memory "$lb" VmHWM)"
truncate -s 1G "$work/big"
get -T "$work/big" -w '1 GiB up, Content-Length: status %{http_code}, %{size_upload} bytes; ' "http://$address/"
echo "peak memory $(memory "$lb" VmHWM)"
get -T - -w '1 GiB up, chunked: status %{http_code}, %{size_upload} bytes; ' "http://$address/" <"$work/big"
echo "peak memory $(memory "$lb" VmHWM)"

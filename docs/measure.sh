#!/usr/bin/env bash
# Measures what docs/results.md says of start, memory and large bodies. Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
pids=()
finish() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
go build -o "$work/lb" .
go build -o "$work/bench" ./bench

memory() { awk -v what="$2" '$1 == what":" {printf "%.1f MiB\n", $2 / 1024}' "/proc/$1/status"; }

cat >"$work/config.yaml" <<YAML
server: {listen: "127.0.0.1:18480"}
management: {listen: "127.0.0.1:18481"}
pools: {main: {backends: [{url: "http://127.0.0.1:18490"}]}}
clients: {store: "file:$work/clients.db"}
YAML
"$work/bench" servers --servers=1 --start_port=18490 --body_size=1GiB >/dev/null 2>&1 &
pids+=($!)
for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:18490/healthz && break; sleep 0.05; done

echo "start to first served request, ms, 11 times:"
for _ in $(seq 11); do
  from=$(date +%s%N)
  "$work/lb" --path="$work/config.yaml" >/dev/null 2>&1 &
  lb=$!
  until curl -s -o /dev/null -I http://127.0.0.1:18480/; do :; done
  echo $((($(date +%s%N) - from) / 1000000))
  kill $lb; wait $lb
done | sort -n | tr '\n' ' '
echo

"$work/lb" --path="$work/config.yaml" >"$work/log" 2>&1 &
lb=$!
pids+=($lb)
sleep 3
echo "memory at idle: $(memory $lb VmRSS)"
curl -s -o /dev/null -w '1 GiB down: status %{http_code}, %{size_download} bytes; ' http://127.0.0.1:18480/
echo "peak memory $(memory $lb VmHWM)"
truncate -s 1G "$work/big"
curl -s -o /dev/null -T "$work/big" -w '1 GiB up, Content-Length: status %{http_code}, %{size_upload} bytes; ' http://127.0.0.1:18480/
echo "peak memory $(memory $lb VmHWM)"
curl -s -o /dev/null -T - -w '1 GiB up, chunked: status %{http_code}, %{size_upload} bytes; ' http://127.0.0.1:18480/ <"$work/big"
echo "peak memory $(memory $lb VmHWM)"

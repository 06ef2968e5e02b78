#!/usr/bin/env bash
# Makes docs/bench.png: ten seconds at 4,000 requests per second from one address,
# whose limit an API call raises from 1,000 to 3,000 per second after five.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
go build -o "$work/lb" .
go build -o "$work/bench" ./bench
LB_STORE=file:$work/clients.db "$work/lb" --path=config.yaml --demo >"$work/lb.log" &
pid=$!
trap 'kill $pid; wait $pid || true; rm -rf "$work"' EXIT
api=http://localhost:8080/v1/api/clients
for _ in $(seq 100); do curl -s -o /dev/null "$api/" && break; sleep 0.1; done
curl -sf -o /dev/null -X POST "$api/" -d '{"ip_address":"127.0.0.1","capacity":500,"rate_per_second":1000}'
(sleep 5; curl -sf -o /dev/null -X PUT "$api/127.0.0.1" -d '{"capacity":500,"rate_per_second":3000}') &
"$work/bench" --url=http://localhost:8080/ --duration=10s --rate=4000 --connections=100 --chart=docs/bench.png

#!/usr/bin/env bash
# Usage: docs/bench.sh [ADDRESS]
# Makes docs/bench.png: ten seconds at 4,000 requests per second from one address, whose limit an
# API call raises from 1,000 to 3,000 per second after five. The script starts the balancer, at
# ADDRESS or on a free port, and its backends. It replaces the picture only if everything went well.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
. docs/own.sh

start_backends 10
{
  cat <<YAML
server: {listen: "${1:-127.0.0.1:0}"}
management: {listen: "127.0.0.1:0", api_on_proxy: true}
clients: {store: "file:$work/clients.db"}
pools:
  main:
    health: {path: /healthz}
YAML
  list_backends 10
} >"$work/config.yaml"
start_balancer "$work/config.yaml"

api=http://$address/v1/api/clients
call() { curl --noproxy '*' -sSf -o /dev/null "$@"; }
call -X POST "$api/" -d '{"ip_address":"127.0.0.1","capacity":500,"rate_per_second":1000}'
cd "$work" # the picture's title has the command, with the name of its file
./bench --url="http://$address/" --duration=10s --rate=4000 --connections=100 --chart=bench.png &
bench=$!
sleep 5 & # not in front: it would put off what a signal asks for
load="$bench $!"
wait "$!"
call -X PUT "$api/127.0.0.1" -d '{"capacity":500,"rate_per_second":3000}'
wait "$bench"
load=
kill -0 "$lb" || fail "the balancer has ended: $(cat lb.log)"
[ -s bench.png ] || fail "there is no picture"
mv bench.png "$top/docs/bench.png.new" # to its file system, for a rename
mv "$top/docs/bench.png.new" "$top/docs/bench.png"

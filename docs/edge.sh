#!/usr/bin/env bash
# Usage: docs/edge.sh [ROUNDS] [SCENARIO...]
# Compares the CPU time that the balancer, nginx and HAProxy take at the edge: get (kept-alive GETs
# over TLS 1.3), handshake (full handshakes with ECDSA P-256, one request each) and http2 (100
# streams on each of 10 connections). All serve the same backend with the same certificate, each
# with one worker on the first core; the load has the second. Each round drives them in turn, and a
# ratio is taken within a round. Needs nginx, haproxy, h2load, openssl and taskset (Debian's
# nginx-light, haproxy, nghttp2-client, openssl and util-linux). Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
. docs/own.sh
for tool in nginx haproxy h2load openssl taskset; do
  command -v "$tool" >/dev/null || fail "$tool is needed: apt-get install -y nginx-light haproxy nghttp2-client openssl util-linux"
done
rounds=${1:-5}
shift || true
scenarios=(get handshake http2)
[ $# -eq 0 ] || scenarios=("$@")

# load SCENARIO: the arguments of h2load, and how many requests it sends.
load() {
  case $1 in
  get) echo "--npn-list=http/1.1 -c 64 -n 40000" ;;
  handshake) echo "--npn-list=http/1.1 -c 1000 -n 1000" ;;
  http2) echo "--npn-list=h2 -c 10 -m 100 -n 60000" ;;
  *) fail "there is no scenario $1: use get, handshake or http2" ;;
  esac
}
for scenario in "${scenarios[@]}"; do load "$scenario" >/dev/null; done

chmod 755 "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat "$work/cert.pem" "$work/key.pem" >"$work/both.pem"
ulimit -n "$(ulimit -Hn)"

start_backends 1
taskset -acp 1 "$backends" >/dev/null
port=$((start_port + 100)) # below those that the system gives out

cat >"$work/lb.yaml" <<YAML
server:
  listen: 127.0.0.1:$port
  tls: {certificates: [{certificate: $work/cert.pem, key: $work/key.pem}]}
management: {listen: "127.0.0.1:0"}
pools: {main: {backends: [{url: "http://127.0.0.1:$start_port"}]}}
limiter: {default: {capacity: 1000000000, rate_per_second: 1000000000}}
clients: {store: "file:$work/clients.db"}
YAML
cat >"$work/nginx.conf" <<CONF
worker_processes 1; daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.err crit;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s;
  client_body_temp_path $work/n1; proxy_temp_path $work/n2; fastcgi_temp_path $work/n3; uwsgi_temp_path $work/n4; scgi_temp_path $work/n5;
  limit_req_zone \$binary_remote_addr zone=one:10m rate=10000000r/s;
  upstream b { server 127.0.0.1:$start_port; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 3600s; }
  server {
    listen 127.0.0.1:$((port + 1)) ssl http2 backlog=4096; http2_max_concurrent_streams 250;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.3;
    location / { limit_req zone=one burst=1000000 nodelay; proxy_pass http://b; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; }
  }
}
CONF
cat >"$work/haproxy.cfg" <<CONF
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:$((port + 2)) backlog 4096 ssl crt $work/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
  stick-table type ip size 100k expire 60s store http_req_rate(10s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  default_backend b
backend b
  server s 127.0.0.1:$start_port
CONF

names=(lb nginx haproxy)
GOMAXPROCS=1 taskset -c 0 "$work/lb" --path="$work/lb.yaml" >"$work/lb.log" 2>&1 &
lb=$!
taskset -c 0 nginx -c "$work/nginx.conf" >"$work/nginx.log" 2>&1 &
nginx=$!
taskset -c 0 haproxy -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
haproxy=$!
load="$nginx $haproxy" # which finish ends
pids=("$lb" "$nginx" "$haproxy")
for i in 0 1 2; do
  for _ in $(seq 500); do
    ! curl --noproxy '*' -sk -o /dev/null "https://127.0.0.1:$((port + i))/" || continue 2
    kill -0 "${pids[i]}" 2>/dev/null || break
    sleep 0.02
  done
  fail "${names[i]} does not serve: $(cat "$work/${names[i]}.log")"
done

# ticks PID: the CPU time of a process so far, in hundredths of a second.
ticks() { awk '{sub(/^.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }

# drive SCENARIO I: sends the load to a proxy, and prints the microseconds of CPU time for a request.
drive() {
  local args before requests
  args=$(load "$1")
  requests=${args##* }
  before=$(ticks "${pids[$2]}")
  # shellcheck disable=SC2086 # several arguments
  taskset -c 1 h2load -t1 $args "https://127.0.0.1:$((port + $2))/" >"$work/h2load.log" 2>&1
  grep -q "$requests succeeded, 0 failed" "$work/h2load.log" || fail "${names[$2]}: $(cat "$work/h2load.log")"
  echo $((($(ticks "${pids[$2]}") - before) * 10000)) "$requests" | awk '{print $1 / $2}'
}

median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

for scenario in "${scenarios[@]}"; do
  : >"$work/rows"
  for i in 0 1 2; do drive "$scenario" "$i" >/dev/null; done # to warm up
  for _ in $(seq "$rounds"); do
    echo "$(drive "$scenario" 0) $(drive "$scenario" 1) $(drive "$scenario" 2)" >>"$work/rows"
  done
  echo "$scenario: microseconds of CPU time for a request, median of $rounds rounds:" \
    "lb $(awk '{print $1}' "$work/rows" | median), nginx $(awk '{print $2}' "$work/rows" | median), haproxy $(awk '{print $3}' "$work/rows" | median);" \
    "lb to nginx $(awk '{print $1 / $2}' "$work/rows" | median), to haproxy $(awk '{print $1 / $3}' "$work/rows" | median)," \
    "to the better $(awk '{print $1 / ($2 < $3 ? $2 : $3)}' "$work/rows" | median)"
done

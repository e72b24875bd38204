# shellcheck shell=bash
# A registry for measurements, in the guest: nginx, which serves the blobs as files. What a registry adds to that, its
# own work, is not of this machine in real life. Needs bench-guest.sh.

# start_registry BLOBS CONFIG: serves them as http://127.0.0.1:5000/v2/bench/blobs/DIGEST, with a line for each request in
# /run/requests: status, bytes of the body, range. Those of the image CONFIG are in memory from the start.
start_registry() {
  mkdir -p /run/nginx
  cat >/run/nginx/nginx.conf <<CONFIG
pid /run/nginx/pid; error_log /run/nginx/errors; worker_processes 1;
events {}
http {
  log_format counts '\$status \$body_bytes_sent \$http_range';
  access_log /run/requests counts;
  sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path /run/nginx/temp; proxy_temp_path /run/nginx/temp; fastcgi_temp_path /run/nginx/temp;
  uwsgi_temp_path /run/nginx/temp; scgi_temp_path /run/nginx/temp;
  server {
    listen 127.0.0.1:5000;
    location /v2/bench/blobs/ { alias $1/; }
  }
}
CONFIG
  # The host's time is not the guest's.
  jq -r '.lowers[].digest' "$2" | sed "s#^#$1/#" | xargs cat >/dev/null
  nginx -c /run/nginx/nginx.conf -p /run/nginx
}

# link_like DELAY RATE MTU: what the network does from now on; DELAY is half of the round trip.
link_like() {
  modprobe sch_netem
  ip link set lo mtu "$3"
  # As long a queue as all connections together may fill: nothing is dropped, as on a link that is not full.
  tc qdisc add dev lo root netem delay "$1" rate "$2" limit 100000
}

# requests_so_far, bytes_so_far: as nginx counts them.
requests_so_far() { wc -l </run/requests; }
bytes_so_far() { awk '{ total += $2 } END { print total + 0 }' /run/requests; }

# cpu_ms: milliseconds in which the guest's processors had something to do.
cpu_ms() { awk '/^cpu / { print ($2 + $3 + $4 + $7 + $8) * 10 }' /proc/stat; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# shellcheck shell=bash
# A registry for a machine that may be spoilt, and the way to it: nginx, which serves blobs as files, and a slow link. For
# scripts/bench and scripts/demo.

# registry_config FOLDER BLOBS NAME LOG: the configuration of an nginx that keeps its files in FOLDER/nginx and serves the
# files of BLOBS as http://127.0.0.1:5000/v2/NAME/blobs/DIGEST, with a line for each request in LOG: status, bytes of the body,
# range.
registry_config() {
  cat <<CONFIG
user root; pid $1/nginx/pid; error_log $1/nginx/errors; worker_processes 1;
events {}
http {
  log_format counts '\$status \$body_bytes_sent \$http_range';
  access_log $4 counts;
  sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path $1/nginx/temp; proxy_temp_path $1/nginx/temp; fastcgi_temp_path $1/nginx/temp;
  uwsgi_temp_path $1/nginx/temp; scgi_temp_path $1/nginx/temp;
  server {
    listen 127.0.0.1:5000;
    location /v2/$3/blobs/ { alias $2/; }
  }
}
CONFIG
}

# link_like DELAY RATE MTU: what the network does from now on; DELAY is half of the round trip. Fails where the kernel has no
# sch_netem.
link_like() {
  modprobe sch_netem 2>/dev/null || true
  ip link set lo mtu "$3"
  # As long a queue as all connections together may fill: nothing is dropped, as on a link that is not full.
  tc qdisc add dev lo root netem delay "$1" rate "$2" limit 100000
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# shellcheck shell=bash
# A registry for measurements, in the guest: nginx, which serves the blobs as files. What a registry adds to that, its
# own work, is not of this machine in real life. Needs bench-guest.sh.
# shellcheck source-path=SCRIPTDIR
# shellcheck source=registry.sh
. "$(dirname "${BASH_SOURCE[0]}")/registry.sh"

# start_registry BLOBS CONFIG: serves them as http://127.0.0.1:5000/v2/bench/blobs/DIGEST, with a line for each request in
# /run/requests: status, bytes of the body, range. Those of the image CONFIG are in memory from the start.
start_registry() {
  mkdir -p /run/nginx
  registry_config /run "$1" bench /run/requests >/run/nginx/nginx.conf
  # The host's time is not the guest's.
  jq -r '.lowers[].digest' "$2" | sed "s#^#$1/#" | xargs cat >/dev/null
  nginx -c /run/nginx/nginx.conf -p /run/nginx
  # Is it there? This also brings curl's libraries into memory. While a guest with counted time waits for its host, its
  # clock jumps from timer to timer, and all deadlines pass at once.
  curl -sSf -o /dev/null -r 0-0 "$(jq -r '.repoBlobUrl + "/" + .lowers[0].digest' "$2")"
}

# requests_so_far, bytes_so_far: as nginx counts them.
requests_so_far() { wc -l </run/requests; }
bytes_so_far() { awk '{ total += $2 } END { print total + 0 }' /run/requests; }

# cpu_ms: milliseconds in which the guest's processors had something to do.
cpu_ms() { awk '/^cpu / { print ($2 + $3 + $4 + $7 + $8) * 10 }' /proc/stat; }

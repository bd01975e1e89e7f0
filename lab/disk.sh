#!/bin/sh
# Loads image archives into a fresh folder of dockerd's, in namespaces of its own: FOLDER ARCHIVE... Images that are there and
# are of none of the ids in FOLDER/ids are removed. See lab/disk.ts.
set -eu
folder=$1
shift

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
# dockerd keeps a key in /etc/docker.
mkdir -p "$folder/etc" "$folder/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/work" overlay /etc
dockerd --data-root "$folder/docker" --bridge=none --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
  >"$folder/dockerd.log" 2>&1 &
dockerd=$!
tries=0
until timeout 10 docker version >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 300 ] && kill -0 $dockerd 2>/dev/null || { tail -n 5 "$folder/dockerd.log" >&2; exit 1; }
  sleep 0.1
done
for archive in "$@"; do timeout 300 docker load -q -i "$archive"; done
for id in $(docker images -q --no-trunc | sort -u); do
  grep -qxF "$id" "$folder/ids" || docker image rm -f "$id"
done
kill $dockerd
wait $dockerd || true

#!/usr/bin/env bash
# Torc and etcd side by side: three nodes each on this machine and disk, the same load generator, synced replicated writes and
# linearizable reads, in interleaved rounds. Prints medians and ratios. bench/etcd/run.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v etcd > /dev/null; then
  echo "installing etcd-server" >&2
  if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
  $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends etcd-server
fi
if [ -z "${TORC_BIN:-}" ]; then
  cargo build --release -p torc
  export TORC_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/torc
fi
exec python3 bench/etcd/compare.py "$@"

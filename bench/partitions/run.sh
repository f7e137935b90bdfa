#!/usr/bin/env bash
# Thousands of partitions over three processes: CPU and memory while idle, restart, failover, and the log's size under writers that are slow.
# bench/partitions/run.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${TORC_BIN:-}" ]; then
  cargo build --release -p torc --bin torc
  export TORC_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/torc
fi
exec python3 bench/partitions/measure.py "$@"

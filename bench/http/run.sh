#!/usr/bin/env bash
# What Torc costs beyond HTTP itself: one node beside a bare hyper server that reads each request and answers with the same bytes, under the
# same load generator, in interleaved rounds. Prints medians and ratios. bench/http/run.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${TORC_BIN:-}" ] || [ -z "${BARE_BIN:-}" ]; then
  cargo build --release -p torc -p torc-api --bin torc --example bare
  export TORC_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/torc BARE_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/examples/bare
fi
exec python3 bench/http/compare.py "$@"

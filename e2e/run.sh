#!/usr/bin/env bash
# End-to-end tests: the shipped binary as real processes, driven by unmodified SDKs. Installs the SDKs under target/e2e.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd .. && pwd)

usage() {
  cat << 'H'
e2e/run.sh [--only WORDS] [--full] [--keep] [-- PYTEST ARGS..]

  --only WORDS   only tests whose name matches (a pytest -k expression, e.g. kill or "kill or zone")
  --full         the whole package index, from Python and from JavaScript; without it a slice that spans all sections
  --keep         keep data and logs of passing tests too (target/e2e/runs)

Environment: TORC_BIN, the binary (default target/release/torc); TORC_E2E_RECORDS, the size of the slice; TORC_E2E_PORTS, where nodes may
listen (default 20000-32000); TORC_E2E_CATCH_UP_MB, what a node misses in test_link.py (default 100; from 1000 on its p99 is judged too).
H
}

args=()
while [ $# -gt 0 ]; do
  case $1 in
    --only) args+=(-k "${2:?--only needs words}"); shift 2 ;;
    --full) export TORC_E2E_FULL=1; shift ;;
    --keep) export TORC_E2E_KEEP=1; shift ;;
    --) shift; args+=("$@"); break ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

export TORC_BIN=${TORC_BIN:-$root/target/release/torc}
if [ ! -x "$TORC_BIN" ]; then
  echo "no binary at $TORC_BIN: build it with cargo build --release -p torc, or set TORC_BIN" >&2
  exit 2
fi

home=${TORC_E2E_HOME:-$root/target/e2e}
mkdir -p "$home"
export TORC_E2E_HOME=$home

# The SDKs, installed once for each change of the lists.
stamp=$(cat requirements.txt js/package.json suites/* | cksum | cut -d' ' -f1)
if [ "$(cat "$home/stamp" 2> /dev/null)" != "$stamp" ]; then
  rm -rf "$home/venv" "$home/js" "$home/suites"
  python3 -m venv "$home/venv"
  "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  mkdir -p "$home/js"
  cp js/package.json "$home/js/"
  (cd "$home/js" && npm install --silent --no-audit --no-fund --no-package-lock)
  # Other projects' test suites with what they need. A source distribution has the tests that the installed package lacks.
  mkdir -p "$home/suites"
  cp suites/package.json "$home/suites/"
  (cd "$home/suites" && npm install --silent --no-audit --no-fund --no-package-lock)
  python3 -m venv "$home/suites/venv"
  pip=("$home/suites/venv/bin/pip" --quiet --disable-pip-version-check)
  "${pip[@]}" install -r suites/requirements.txt
  client=$(grep '^aiodynamo==' suites/requirements.txt)
  "${pip[@]}" download --no-deps --no-binary aiodynamo -d "$home/suites" "$client"
  tar -xzf "$home/suites/${client/==/-}.tar.gz" -C "$home/suites"
  echo "$stamp" > "$home/stamp"
fi
# Node resolves packages from the script's own folder upwards, so the scripts lie beside their packages.
cp js/*.mjs "$home/js/"

export PATH=$home/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
exec python -m pytest ${args[@]+"${args[@]}"}

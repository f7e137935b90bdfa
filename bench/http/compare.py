"""Runs `torc bench` against one Torc node and a bare hyper server in turn, and compares medians of the rounds."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

TORC, BARE = os.environ["TORC_BIN"], os.environ["BARE_BIN"]
CELLS = [(kind, connections) for kind in ("GetItem", "PutItem") for connections in (16, 64)]


def cpu_seconds(process: subprocess.Popen) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nobody listens on port {port}")


def bench(server, kind: str, connections: int, seconds: float, load: bool, arguments) -> dict:
    process, port = server
    command = [TORC, "bench", "--endpoint", f"127.0.0.1:{port}", "--connections", str(connections), "--duration", str(seconds)]
    command += ["--warmup", "0.5", "--reads", "100" if kind == "GetItem" else "0", "--value-size", str(arguments.value_size)]
    command += ["--key-count", str(arguments.keys), "--table", "Beside", "--keep", "--json"] + ([] if load else ["--no-load"])
    before = cpu_seconds(process)
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(run.stdout + run.stderr)
    report = json.loads(run.stdout)["reads" if kind == "GetItem" else "writes"]
    # The warm-up's requests cost too, and are not in the count.
    requests = report["count"] * (seconds + 0.5) / seconds
    return {
        "rate": report["count"] / seconds,
        "p50": report["p50_us"],
        "p99": report["p99_us"],
        "cpu": (cpu_seconds(process) - before) / requests * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/http/run.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-size", type=int, default=900, help="bytes; with key and names an item of about 1 KB")
    parser.add_argument("--base-port", type=int, default=18900)
    arguments = parser.parse_args()
    port = arguments.base_port
    with tempfile.TemporaryDirectory(prefix="torc-bench-http-") as folder:
        start = [TORC, "start", "--quiet", "--log", "warn", "--data", f"{folder}/data", "--listen", f"127.0.0.1:{port}", "--cluster", f"127.0.0.1:{port + 1}"]
        commands = {"bare": [BARE, f"127.0.0.1:{port + 2}", str(arguments.value_size)], "torc": start}
        servers = {}
        try:
            for name, command in commands.items():
                servers[name] = (subprocess.Popen(command, stdin=subprocess.DEVNULL), port + (2 if name == "bare" else 0))
                wait_for(servers[name][1])
            # Fills the table; the first round finds everything in memory.
            bench(servers["torc"], "GetItem", 16, 1.0, True, arguments)
            results: dict = {}
            for _ in range(arguments.rounds):
                for kind, connections in CELLS:
                    for name, server in servers.items():
                        outcome = bench(server, kind, connections, arguments.seconds, False, arguments)
                        results.setdefault((kind, connections, name), []).append(outcome)
        finally:
            for process, _ in servers.values():
                process.send_signal(signal.SIGTERM)
            for process, _ in servers.values():
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    print("| | bare /s | Torc /s | ratio | bare p99 | Torc p99 | bare CPU | Torc CPU |\n|---|---|---|---|---|---|---|---|")
    for kind, connections in CELLS:
        bare, torc = (
            {name: statistics.median(outcome[name] for outcome in results[kind, connections, who]) for name in ("rate", "p99", "cpu")}
            for who in ("bare", "torc")
        )
        print(
            f"| {kind}, {connections} connections | {bare['rate']:.0f} | {torc['rate']:.0f} | {torc['rate'] / bare['rate']:.2f} "
            f"| {bare['p99'] / 1e3:.1f} ms | {torc['p99'] / 1e3:.1f} ms | {bare['cpu']:.1f} µs | {torc['cpu']:.1f} µs |"
        )


if __name__ == "__main__":
    main()

"""Runs `torc bench` against three local Torc nodes and three local etcd nodes in turn, and compares medians of the rounds."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TORC = os.environ["TORC_BIN"]
ZONES = ["a", "b", "c"]


def wait_for(what: str, attempt, seconds: float = 40.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if attempt():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def fetch(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        return answer.read()


class Server:
    """Three processes of one kind; ended by their handles."""

    name = ""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.addresses: list[str] = []

    def launch(self, command: list[str], log: str) -> None:
        with open(self.folder / log, "wb") as output:
            self.processes.append(subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL))

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of the three processes so far."""
        tick = os.sysconf("SC_CLK_TCK")
        total = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / tick


class Etcd(Server):
    name = "etcd"

    def start(self, base_port: int) -> None:
        peers = ",".join(f"n{i}=http://127.0.0.1:{base_port + 10 + i}" for i in range(3))
        for i in range(3):
            client, peer = f"http://127.0.0.1:{base_port + i}", f"http://127.0.0.1:{base_port + 10 + i}"
            command = ["etcd", "--name", f"n{i}", "--data-dir", str(self.folder / f"n{i}"), "--log-level", "error"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", peers, "--initial-cluster-state", "new", "--quota-backend-bytes", str(8 << 30)]
            self.launch(command, f"n{i}.log")
            self.addresses.append(f"127.0.0.1:{base_port + i}")
        for address in self.addresses:
            wait_for(f"etcd at {address}", lambda a=address: b"true" in fetch(f"http://{a}/health"))


class Torc(Server):
    name = "torc"

    def start(self, base_port: int) -> None:
        for i, zone in enumerate(ZONES):
            command = [TORC, "start", "--data", str(self.folder / zone), "--zone", zone]
            command += ["--listen", f"127.0.0.1:{base_port + i}", "--cluster", f"127.0.0.1:{base_port + 10 + i}"]
            if i:
                command += ["--join", f"127.0.0.1:{base_port + 10}"]
            self.launch(command, f"{zone}.log")
            self.addresses.append(f"127.0.0.1:{base_port + i}")
        for address in self.addresses:
            wait_for(f"torc at {address}", lambda a=address: fetch(f"http://{a}/health") is not None)

        def whole():
            nodes = json.loads(fetch(f"http://{self.addresses[0]}/admin/status"))["nodes"]
            return len(nodes) == 3 and all(node["state"] == "alive" for node in nodes)

        wait_for("three live torc nodes", whole)


def bench(server: Server, operation: str, connections: int, args) -> dict:
    command = [TORC, "bench", "--json", "--endpoint", ",".join(server.addresses)]
    command += ["--driver", "etcd" if server.name == "etcd" else "dynamodb", "--keep"]
    command += ["--connections", str(connections), "--value-size", str(args.value_size), "--key-count", str(args.key_count)]
    command += ["--duration", str(args.seconds), "--warmup", "1"]
    command += ["--reads", "100", "--no-load"] if operation == "get" else ["--reads", "0"]
    before = server.cpu_seconds()
    run = subprocess.run(command, capture_output=True, text=True, timeout=args.seconds + 120)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{run.stdout}{run.stderr}")
    report = json.loads(run.stdout)
    report["cpu_us"] = 1e6 * (server.cpu_seconds() - before) / max(1, report["reads"]["count"] + report["writes"]["count"])
    return report


def load(server: Server, args) -> None:
    """Every key once, so that reads find it: a run of one read with the load phase before it."""
    command = [TORC, "bench", "--json", "--endpoint", ",".join(server.addresses), "--keep", "--connections", "32"]
    command += ["--driver", "etcd" if server.name == "etcd" else "dynamodb", "--value-size", str(args.value_size)]
    command += ["--key-count", str(args.key_count), "--reads", "100", "--duration", "0.2", "--warmup", "0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/etcd/run.sh", description=__doc__)
    parser.add_argument("--connections", default="16,64", help="numbers of connections (default 16,64)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of etcd, torc, etcd, torc, .. (default 3)")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of each measurement (default 8)")
    parser.add_argument("--value-size", type=int, default=900)
    parser.add_argument("--key-count", type=int, default=10_000)
    parser.add_argument("--only", choices=["etcd", "torc"], help="measure one of the two")
    parser.add_argument("--dir", default=".", help="where the data goes: the disk that is measured")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON")
    args = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="torc-etcd-", dir=args.dir))
    servers = [kind for kind in (Etcd, Torc) if args.only in (None, kind.name)]
    running: list[Server] = []
    results: dict[tuple[str, int, str], list[dict]] = {}
    try:
        for index, kind in enumerate(servers):
            (folder / kind.name).mkdir()
            server = kind(folder / kind.name)
            running.append(server)
            server.start(24000 + 100 * index)
            load(server, args)
        for connections in [int(number) for number in args.connections.split(",")]:
            for operation in ("put", "get"):
                for number in range(args.rounds):
                    for server in running:
                        report = bench(server, operation, connections, args)
                        results.setdefault((operation, connections, server.name), []).append(report)
                        kind = report["writes" if operation == "put" else "reads"]
                        print(
                            f"round {number + 1}  {operation} x{connections:<3} {server.name:5} {kind['throughput']:8.0f}/s"
                            f"  p50 {kind['p50_us'] / 1e3:6.2f} ms  p99 {kind['p99_us'] / 1e3:6.2f} ms"
                            f"  max {kind['max_us'] / 1e3:7.1f} ms  {report['cpu_us']:4.0f} us cpu/op  {report['errors']} failed",
                            file=sys.stderr,
                        )
    finally:
        for server in running:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    if args.json:
        print(json.dumps([{"operation": o, "connections": c, "server": s, "reports": r} for (o, c, s), r in results.items()]))
        return
    print(f"\nmedians of {args.rounds} rounds, {args.value_size}-byte values, three nodes each")
    print(f"{'':10} {'etcd /s':>10} {'torc /s':>10} {'ratio':>7} {'etcd p99':>10} {'torc p99':>10}")
    for operation, connections in dict.fromkeys((o, c) for o, c, _ in results):
        row = {}
        for name in ("etcd", "torc"):
            kinds = [r["writes" if operation == "put" else "reads"] for r in results.get((operation, connections, name), [])]
            if kinds:
                row[name] = (
                    statistics.median(k["throughput"] for k in kinds),
                    statistics.median(k["p99_us"] for k in kinds) / 1e3,
                )
        rate = [f"{row[name][0]:10.0f}" if name in row else f"{'-':>10}" for name in ("etcd", "torc")]
        p99 = [f"{row[name][1]:7.1f} ms" if name in row else f"{'-':>10}" for name in ("etcd", "torc")]
        ratio = f"{row['torc'][0] / row['etcd'][0]:6.2f}x" if len(row) == 2 else f"{'-':>7}"
        print(f"{operation} x{connections:<5} {rate[0]} {rate[1]} {ratio} {p99[0]} {p99[1]}")


if __name__ == "__main__":
    main()

"""The command line as a user meets it: what a wrong start says, and the commands that talk to a node."""

import base64
import json
import os
import re
import signal
import subprocess

import harness


def torc(*args, timeout=30, stdin=None) -> subprocess.CompletedProcess:
    return subprocess.run([harness.BINARY, *map(str, args)], capture_output=True, timeout=timeout, input=stdin)


def text(run) -> str:
    return (run.stdout + run.stderr).decode(errors="replace")


def refused(run, *words):
    """A start that fails: not zero, in words that help, and without a panic."""
    said = text(run)
    assert run.returncode != 0, said
    assert "panicked" not in said, said
    assert any(word in said.lower() for word in words), said


def test_port_in_use(single, folder):
    taken = single.nodes[0]
    run = torc("start", "--data", folder / "other", "--listen", taken.address, "--cluster", f"127.0.0.1:{harness.free_port()}")
    refused(run, "in use")
    assert str(taken.port) in text(run)


def test_data_folder_in_use(single):
    node = single.nodes[0]
    ports = [f"127.0.0.1:{harness.free_port()}" for _ in range(2)]
    run = torc("start", "--data", node.folder / node.name, "--listen", ports[0], "--cluster", ports[1])
    refused(run, "in use", "another process", "locked")


def test_data_folder_is_a_file(folder):
    path = folder / "file"
    path.write_text("not a folder")
    run = torc("start", "--data", path, "--listen", f"127.0.0.1:{harness.free_port()}", "--cluster", f"127.0.0.1:{harness.free_port()}")
    refused(run, "not a directory", "not a folder")


def test_graceful_stop_and_restart_keeps_data(single):
    node = single.nodes[0]
    single.create_table("Things", "Key")
    node.dynamodb().put_item(TableName="Things", Item={"Key": {"S": "k"}, "V": {"N": "7"}})
    assert node.stop() == 0
    node.start().wait_ready()
    got = node.dynamodb().get_item(TableName="Things", Key={"Key": {"S": "k"}}, ConsistentRead=True)
    assert got["Item"]["V"] == {"N": "7"}


def test_status(cluster):
    cluster.create_table("Things", "Key")
    run = torc("status", "--json", "--endpoint", cluster.nodes[1].address)
    assert run.returncode == 0, text(run)
    status = json.loads(run.stdout)
    assert {node["zone"] for node in status["nodes"]} == {"a", "b", "c"}
    run = torc("status", "--endpoint", cluster.nodes[1].address)
    said = run.stdout.decode()
    assert run.returncode == 0 and "Things" in said and "alive" in said, said
    assert "\x1b[" not in said, "no colours when the output is not a terminal"


def test_status_without_a_node_says_what_to_do():
    run = torc("status", "--endpoint", f"127.0.0.1:{harness.free_port()}")
    refused(run, "torc start")


def test_kv_round_trip(cluster):
    first, second, _ = cluster.nodes
    value = os.urandom(3000)
    run = torc("kv", "create", "files", "--endpoint", first.address)
    assert run.returncode == 0, text(run)
    run = torc("kv", "put", "files", "a key/with ünicode", "-", "--endpoint", first.address, stdin=value)
    assert run.returncode == 0, text(run)
    run = torc("kv", "get", "files", "a key/with ünicode", "--endpoint", second.address)
    assert (run.returncode, run.stdout) == (0, value), text(run)
    run = torc("kv", "delete", "files", "a key/with ünicode", "--endpoint", second.address)
    assert run.returncode == 0, text(run)
    run = torc("kv", "get", "files", "a key/with ünicode", "--endpoint", first.address)
    assert run.returncode == 1 and run.stdout == b"", text(run)


def test_kv_siblings_and_context(cluster):
    first, second, third = cluster.nodes
    assert torc("kv", "create", "carts", "--endpoint", first.address).returncode == 0
    for node, value in ((first, "milk"), (second, "bread")):
        run = torc("kv", "put", "carts", "alice", value, "--endpoint", node.address)
        assert run.returncode == 0, text(run)
    run = torc("kv", "get", "carts", "alice", "--endpoint", third.address)
    assert run.returncode == 0, text(run)
    assert sorted(base64.b64decode(line) for line in run.stdout.splitlines()) == [b"bread", b"milk"], text(run)
    context = re.search(r"^context: (\S+)$", run.stderr.decode(), re.M).group(1)
    run = torc("kv", "put", "carts", "alice", "milk and bread", "--context", context, "--endpoint", first.address)
    assert run.returncode == 0, text(run)
    run = torc("kv", "get", "carts", "alice", "--endpoint", second.address)
    assert (run.returncode, run.stdout) == (0, b"milk and bread"), text(run)


def test_bench_reports_both_loops(cluster):
    endpoints = ",".join(node.address for node in cluster.nodes)
    common = ["--endpoint", endpoints, "--connections", "4", "--duration", "2", "--value-size", "200", "--json"]
    closed = torc("bench", *common, "--reads", "50", "--keys", "zipfian", "--key-count", "500", timeout=90)
    assert closed.returncode == 0, text(closed)
    report = json.loads(closed.stdout)
    assert report["errors"] == 0
    for kind in ("reads", "writes"):
        assert report[kind]["count"] > 50
        assert 0 < report[kind]["p50_us"] <= report[kind]["p99_us"] <= report[kind]["p999_us"] <= report[kind]["max_us"]
    opened = torc("bench", *common, "--reads", "0", "--rate", "100", timeout=90)
    assert opened.returncode == 0, text(opened)
    report = json.loads(opened.stdout)
    assert 150 <= report["writes"]["count"] <= 250, report


def test_demo_starts_three_nodes_and_stops_them(folder):
    data = folder / "demo"
    run = subprocess.Popen(
        [harness.BINARY, "demo", "--data", str(data), "--base-port", str(harness.free_port()), "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = []
        for line in run.stdout:
            seen.append(line)
            if "writes/s" in line:
                break
        assert "writes/s" in seen[-1], "".join(seen)
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 0, "".join(seen)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    said = "".join(seen)
    assert all(f"zone-{zone}" in said for zone in "abc"), said
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(data) not in running, "a node of the demo is still running"


def test_completions():
    run = torc("completions", "bash")
    assert run.returncode == 0 and b"torc" in run.stdout and b"bench" in run.stdout

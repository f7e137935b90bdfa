"""The README's own lines, pasted as they stand."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import harness

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(name: str) -> str:
    """The shell block that follows `<!-- e2e: NAME -->`."""
    found = re.search(rf"<!-- e2e: {name} -->\n```sh\n(.*?)```", README, re.S)
    assert found, f"README.md has no block marked {name}"
    return found.group(1)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def paste(script: str, cwd) -> str:
    # pipefail and errexit: a line that fails in the middle of the block fails the test.
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=cwd, capture_output=True, text=True, timeout=180)
    print(run.stdout)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    return run.stdout


def json_values(text: str) -> list:
    """The JSON documents of several commands, one after another."""
    decoder, values, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        value, at = decoder.raw_decode(text, at)
        values.append(value)
    return values


def test_aws_cli_lines(folder):
    script = block("aws")
    assert script.count("aws dynamodb") >= 7
    node = harness.Node("node-a", "a", folder, [])
    if is_free(8000) and is_free(7000):
        # As the README says: no flags, so the default address and folder.
        log = open(node.log_path, "wb")
        node.port = 8000
        node.process = subprocess.Popen(
            [harness.BINARY, "start"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
    else:
        print(f"\nport 8000 or 7000 is taken on this machine: on {node.port} instead")
        script = script.replace("127.0.0.1:8000", node.address)
        node.start()
    try:
        node.wait_ready()
        created, got, queried, deleted, dropped = json_values(paste(script, folder))
    finally:
        node.kill()
    assert created["TableDescription"]["TableName"] == "Music"
    assert got["Item"] == {
        "Artist": {"S": "Nina Simone"},
        "SongTitle": {"S": "Sinnerman"},
        "Year": {"N": "1965"},
        "Tags": {"SS": ["gospel", "jazz"]},
    } or sorted(got["Item"]["Tags"]["SS"]) == ["gospel", "jazz"]
    assert queried["Count"] == 1 and queried["Items"][0]["SongTitle"] == {"S": "Feeling Good"}
    assert deleted["Attributes"]["SongTitle"] == {"S": "Sinnerman"}
    assert dropped["TableDescription"]["TableStatus"] in ("DELETING", "DELETED", "ACTIVE")


def test_sibling_lines(cluster, folder):
    script = block("siblings")
    for port, node in zip((8000, 8001, 8002), cluster.nodes):
        assert f"127.0.0.1:{port}" in script
        script = script.replace(f"127.0.0.1:{port}", node.address)
    script = script.replace("/tmp/torc-headers", str(folder / "headers"))
    lines = [line for line in script.splitlines() if line.strip()]
    read = next(index for index, line in enumerate(lines) if "?r=quorum" in line)
    both = paste("\n".join(lines[: read + 1]), folder)
    assert "milk" in both and "bread" in both, both
    after = paste("\n".join(lines[read + 1 :]), folder)
    assert after.strip().endswith("milk and bread"), after


def test_every_torc_command_of_the_readme_exists():
    """`torc X --help` knows every flag that the README uses."""
    commands: dict[str, set] = {}
    for line in README.splitlines():
        for command, rest in re.findall(r"(?:target/release/torc|-p torc --) (\w+)([^`#]*)", line):
            commands.setdefault(command, set()).update(re.findall(r"--[a-z-]+", rest))
    assert {"start", "demo", "status", "bench"} <= commands.keys()
    for command, flags in commands.items():
        run = subprocess.run([harness.BINARY, command, "--help"], capture_output=True, text=True, timeout=20, env=dict(os.environ))
        assert run.returncode == 0, run.stderr
        missing = [flag for flag in flags if flag not in run.stdout]
        assert not missing, f"torc {command} does not know {missing}"

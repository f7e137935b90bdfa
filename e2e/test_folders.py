"""Data folders that cannot be opened: a clear refusal that says what to do, no panic, and not a byte changed."""

import contextlib
from pathlib import Path

import pytest

import harness
from test_cli import refused, text, torc

# docs/formats/manifest.md and log.md: magic number of eight bytes, then the version, u32 little-endian.
VERSION_AT = 8


@pytest.fixture
def stopped(single):
    """A node that has stopped, with acknowledged items in its folder."""
    node = single.nodes[0]
    single.create_table("Things", "Key")
    client = node.dynamodb()
    for index in range(50):
        client.put_item(TableName="Things", Item={"Key": {"S": f"k{index}"}, "V": {"S": "x" * 2000}})
    assert node.stop() == 0
    return node


def start(data):
    ports = [f"127.0.0.1:{harness.free_port()}" for _ in range(2)]
    return torc("start", "--data", data, "--listen", ports[0], "--cluster", ports[1])


def contents(folder: Path) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def damaged(path: Path, at: int, change: bytes):
    """Other bytes in one place, and the old ones back afterwards."""
    with open(path, "r+b") as file:
        file.seek(at)
        before = file.read(len(change))
        assert before != change
        file.seek(at)
        file.write(change)
    try:
        yield
    finally:
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(before)


def manifest(data: Path) -> Path:
    return data / (data / "CURRENT").read_text().split()[0]


def middle_of(path: Path, text: bytes) -> int:
    """Where the bytes lie in the file, once."""
    content = path.read_bytes()
    at = content.find(text)
    assert at > 0, f"{text!r} is not in {path}"
    return at


def test_folders_that_are_refused_and_open_again_when_mended(stopped):
    data = stopped.folder / stopped.name
    segment = max((data / "log").glob("*.seg"), key=lambda path: path.read_bytes().rstrip(b"\0").__len__())
    newer = (99).to_bytes(4, "little")
    cases = [
        (manifest(data), VERSION_AT, newer, ["version"]),
        (manifest(data), VERSION_AT + 14, b"\xff\xff\xff\xff\xff\xff", ["damaged", "corrupt"]),
        (data / "CURRENT", 3, b"!!!", ["damaged", "corrupt"]),
        (segment, VERSION_AT, newer, ["version", "damaged", "corrupt"]),
        (segment, middle_of(segment, b"k7"), b"!!", ["damaged", "corrupt"]),
    ]
    for path, at, change, words in cases:
        with damaged(path, at, change):
            before = contents(data)
            run = start(data)
            refused(run, *words)
            assert str(data) in text(run), text(run)
            changed = [str(name) for name, content in contents(data).items() if before.get(name) != content]
            assert not changed, f"{path.name} at {at}: a refused start changed {changed}"
    # With the old bytes back everything is there.
    stopped.start().wait_ready()
    client = stopped.dynamodb()
    for index in range(50):
        got = client.get_item(TableName="Things", Key={"Key": {"S": f"k{index}"}}, ConsistentRead=True)
        assert got["Item"]["V"] == {"S": "x" * 2000}, index


def test_folders_that_nobody_may_write_to():
    # Not even root may make a folder there.
    for parent in ("/proc", "/sys"):
        run = start(f"{parent}/torc-data")
        refused(run, "may not write", "can't be opened")
        assert "--data" in text(run), text(run)

"""Load and probes in processes of their own, so that the interpreter lock of one does not show up as latency in the other."""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import threading
import time
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# fork would carry the parent's threads and sockets half-way into the child.
SPAWN = multiprocessing.get_context("spawn")


def chunks(items, size: int):
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def share(items: list, workers: int) -> list[list]:
    return [items[index::workers] for index in range(workers)]


def _client(url: str):
    config = Config(connect_timeout=1, read_timeout=10, retries={"max_attempts": 4, "mode": "standard"})
    return boto3.client("dynamodb", endpoint_url=url, config=config)


def rounds(items: list[dict], range_key: str):
    """The items, and then again and again under new sort keys: a load without end in which nothing is written twice."""
    yield from items
    for number in itertools.count(2):
        for item in items:
            yield {**item, range_key: {"S": f"{item[range_key]['S']} (round {number})"}}


def write_until_acknowledged(urls, table, items, prefer=0, stop=None, deadline_seconds=60.0):
    """BatchWriteItem by 25. Yields the size of each acknowledged batch; goes to the next node when one does not answer."""
    clients = [_client(url) for url in urls]
    turn = prefer
    for batch in chunks(items, 25):
        waiting = [{"PutRequest": {"Item": item}} for item in batch]
        deadline = time.monotonic() + deadline_seconds
        while waiting:
            if stop is not None and stop.is_set():
                return
            try:
                answer = clients[turn % len(clients)].batch_write_item(RequestItems={table: waiting})
                waiting = answer.get("UnprocessedItems", {}).get(table, [])
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"a batch was not acknowledged within {deadline_seconds} s: {error}") from None
                turn += 1
        yield len(batch)


def _write_worker(urls, table, items, prefer, stop, results, endless_key, pace):
    done = 0
    error = None
    began = time.monotonic()
    try:
        source = rounds(items, endless_key) if endless_key else items
        for count in write_until_acknowledged(urls, table, source, prefer, stop):
            done += count
            if pace:
                stop.wait(max(0.0, began + done / pace - time.monotonic()))
    except Exception as failure:  # reported to the parent, which fails the test
        error = repr(failure)
    results.put((prefer, done, error))


class Writers:
    """`workers` processes that write `items`: once, or with `endless_key` (a sort key) in rounds until `stop` is set.

    `pace` is the most items a second for each worker.
    """

    def __init__(self, urls, table, items, workers: int = 2, endless_key: str | None = None, pace: float | None = None):
        self.shares = share(items, workers)
        self.endless_key = endless_key
        self.stop = SPAWN.Event()
        self.results = SPAWN.Queue()
        self.processes = [
            SPAWN.Process(
                target=_write_worker,
                args=(urls, table, mine, index, self.stop, self.results, endless_key, pace),
                daemon=True,
            )
            for index, mine in enumerate(self.shares)
        ]
        for process in self.processes:
            process.start()

    def running(self) -> bool:
        return all(process.is_alive() for process in self.processes)

    def finish(self, seconds: float = 900.0) -> list[dict]:
        """Waits for the end of the load (or of `stop`) and returns the acknowledged items."""
        acknowledged: list[dict] = []
        for _ in self.processes:
            worker, done, error = self.results.get(timeout=seconds)
            assert error is None, f"writer {worker}: {error}"
            mine = self.shares[worker]
            source = rounds(mine, self.endless_key) if self.endless_key else mine
            acknowledged += itertools.islice(source, done)
        for process in self.processes:
            process.join(10)
        return acknowledged


def _read_worker(url, table, items, key_names, consistent, results):
    client = _client(url)
    wrong = []
    for item in items:
        key = {name: item[name] for name in key_names}
        try:
            got = client.get_item(TableName=table, Key=key, ConsistentRead=consistent).get("Item")
        except (BotoCoreError, ClientError) as error:
            got = repr(error)
        if not same(got, item):
            wrong.append((key, item, got))
    results.put(wrong)


def same(left, right) -> bool:
    """Equal as DynamoDB items: a set has no order."""
    if not isinstance(left, dict) or not isinstance(right, dict) or left.keys() != right.keys():
        return False
    for name, value in left.items():
        other = right[name]
        if "SS" in value:
            if "SS" not in other or sorted(value["SS"]) != sorted(other["SS"]):
                return False
        elif value != other:
            return False
    return True


def assert_readable(urls: list[str], table: str, items: list[dict], key_names: list[str], workers: int = 2, consistent=True):
    """Every item comes back equal by GetItem; each worker asks another node."""
    results = SPAWN.Queue()
    processes = [
        SPAWN.Process(
            target=_read_worker, args=(urls[index % len(urls)], table, mine, key_names, consistent, results), daemon=True
        )
        for index, mine in enumerate(share(items, workers))
    ]
    for process in processes:
        process.start()
    wrong = []
    for _ in processes:
        wrong += results.get(timeout=900)
    for process in processes:
        process.join(10)
    assert not wrong, f"{len(wrong)} of {len(items)} acknowledged items are lost or changed, the first: {wrong[0]}"


class RawTable:
    """PutItem and GetItem over plain HTTP with no retries of its own: what a probe needs to see an interruption as it is."""

    def __init__(self, url: str, timeout: float):
        self.netloc = urlsplit(url).netloc
        self.timeout = timeout
        self.connection: http.client.HTTPConnection | None = None

    def call(self, operation: str, body: dict) -> tuple[int, dict]:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.netloc, timeout=self.timeout)
        headers = {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host, Signature=00",
        }
        try:
            self.connection.request("POST", "/", json.dumps(body), headers)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            raise

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _probe_key(urls, table, key_name, key, every, stop, out, lock):
    """Writes one key again and again; the gaps between acknowledgements are the interruptions of its partition."""
    tables = [RawTable(url, timeout=0.4) for url in urls]
    turn = hash_of(key)
    count = 0
    acknowledged = None
    last = time.monotonic()
    longest, longest_at = 0.0, 0.0
    while not stop.is_set():
        count += 1
        # A request that a frozen node finds in its socket when it wakes is seconds old: the condition keeps it from undoing newer ones.
        body = {
            "TableName": table,
            "Item": {key_name: {"S": key}, "Count": {"N": str(count)}},
            "ConditionExpression": "attribute_not_exists(#c) OR #c < :c",
            "ExpressionAttributeNames": {"#c": "Count"},
            "ExpressionAttributeValues": {":c": {"N": str(count)}},
        }
        try:
            status, _ = tables[turn % len(tables)].call("PutItem", body)
        except (OSError, http.client.HTTPException, ValueError):
            status = 0
        now = time.monotonic()
        if status == 200:
            if now - last > longest:
                longest, longest_at = now - last, now
            last, acknowledged = now, count
            stop.wait(every)
        else:
            turn += 1
            stop.wait(0.01)
    # The end is a gap too: a partition that never came back must not look healthy.
    if time.monotonic() - last > longest:
        longest, longest_at = time.monotonic() - last, time.monotonic()
    for raw in tables:
        raw.close()
    with lock:
        out.append({"key": key, "longest": longest, "at": longest_at, "acknowledged": acknowledged, "attempts": count})


def hash_of(key: str) -> int:
    return sum(key.encode())


def _probe_process(urls, table, key_name, keys, every, stop, ready, results):
    out: list = []
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_probe_key, args=(urls, table, key_name, key, every, stop, out, lock)) for key in keys
    ]
    for thread in threads:
        thread.start()
    ready.set()
    for thread in threads:
        thread.join()
    results.put(out)


class Probes:
    """One writer for each key, many keys over all partitions, in one process."""

    def __init__(self, urls: list[str], table: str, key_name: str, keys: list[str], every: float = 0.05):
        self.stop = SPAWN.Event()
        self.results = SPAWN.Queue()
        ready = SPAWN.Event()
        self.process = SPAWN.Process(
            target=_probe_process, args=(urls, table, key_name, keys, every, self.stop, ready, self.results), daemon=True
        )
        self.process.start()
        assert ready.wait(20), "the probes did not start"

    def finish(self) -> list[dict]:
        self.stop.set()
        out = self.results.get(timeout=30)
        self.process.join(10)
        return out

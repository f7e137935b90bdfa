#!/usr/bin/env python3
"""Sends the same random requests, valid and invalid, to Torc and to DynamoDB Local, and compares answers and errors.

    python3 oracle/run.py --torc http://127.0.0.1:8000 --local http://127.0.0.1:8001 --requests 10000 --seed 1

Needs nothing but Python. DynamoDB Local is AWS's own program and is not part of this repository; start it with `-inMemory`.
Where the two differ on purpose, triage.py says why; anything else fails the run and prints the request.
"""

import argparse
import http.client
import json
import random
import sys
import urllib.parse
from collections import Counter

import generate
import triage


class Client:
    """One kept-alive connection. The signature is not a real one: neither side checks it without keys."""

    def __init__(self, endpoint):
        self.at = urllib.parse.urlparse(endpoint)
        self.connection = None

    def call(self, operation, body):
        headers = {
            "X-Amz-Target": "DynamoDB_20120810." + operation,
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00",
        }
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=30)
            try:
                self.connection.request("POST", "/", json.dumps(body), headers)
                response = self.connection.getresponse()
                text = response.read()
                return response.status, json.loads(text) if text else {}
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if attempt == 2:
                    raise


def normal(value, name=""):
    """An answer without what may differ: the order of sets, of objects, of scanned items, and of batches."""
    if isinstance(value, dict):
        out = {}
        for key, inner in value.items():
            if key in ("SS", "NS", "BS") and isinstance(inner, list):
                out[key] = sorted(inner)
            else:
                out[key] = normal(inner, key)
        return out
    if isinstance(value, list):
        inner = [normal(one, name) for one in value]
        if name == "Scanned":
            inner.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return inner
    return value


def outcome(operation, status, body):
    if status == 200:
        if operation == "Scan" and "Items" in body:
            body = dict(body, Scanned=body.pop("Items"))
        if operation == "BatchGetItem":
            for table, items in body.get("Responses", {}).items():
                items.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return status, "", "", normal(body)
    kind = str(body.get("__type", "")).split("#")[-1]
    return status, kind, body.get("message", body.get("Message", "")), body.get("Item")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--torc", required=True)
    arguments.add_argument("--local", required=True)
    arguments.add_argument("--requests", type=int, default=10000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--show", type=int, default=20, help="how many untriaged differences to print")
    options = arguments.parse_args()
    rng = random.Random(options.seed)
    torc, local = Client(options.torc), Client(options.local)
    prefix = f"oracle-{options.seed}-{rng.randrange(1 << 30)}-"
    world = generate.World(rng, prefix)
    for table in world.tables():
        for side in (torc, local):
            status, body = side.call("CreateTable", table)
            if status != 200:
                sys.exit(f"CreateTable: {status} {body}")
    triaged, untriaged, statuses = Counter(), [], Counter()
    for _ in range(options.requests):
        operation, body = world.request()
        ours = outcome(operation, *torc.call(operation, body))
        theirs = outcome(operation, *local.call(operation, body))
        statuses[(operation, theirs[0])] += 1
        if ours == theirs:
            continue
        reason = triage.reason(operation, body, ours, theirs)
        if reason:
            triaged[reason] += 1
            if ours[0] != theirs[0]:
                # One of the two wrote and the other did not: bring them together again.
                world.repair(body, local, torc)
            continue
        untriaged.append((operation, body, ours, theirs))
        world.repair(body, local, torc)
    for table in world.tables():
        for side in (torc, local):
            side.call("DeleteTable", {"TableName": table["TableName"]})
    accepted = sum(count for (_, status), count in statuses.items() if status == 200)
    print(f"{options.requests} requests, {accepted} of them accepted; {sum(triaged.values())} triaged, {len(untriaged)} untriaged")
    for reason, count in triaged.most_common():
        print(f"  {count:6} {reason}")
    kinds = Counter((operation, ours[1:3], theirs[1:3]) for operation, _, ours, theirs in untriaged)
    for (operation, ours, theirs), count in kinds.most_common(options.show):
        print(f"  {count:6} {operation}: torc {ours}, local {theirs}")
    for operation, body, ours, theirs in untriaged[: options.show]:
        print(f"\n{operation} {json.dumps(body)[:1500]}\n  torc  {str(ours)[:700]}\n  local {str(theirs)[:700]}")
    sys.exit(1 if untriaged else 0)


if __name__ == "__main__":
    main()

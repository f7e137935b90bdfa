#!/usr/bin/env python3
"""Sends the same random requests, valid and invalid, to Torc and to DynamoDB Local, and compares answers and errors.

    python3 oracle/run.py --torc http://127.0.0.1:8000 --local http://127.0.0.1:8001 --requests 25000 --seeds 1-4

Needs nothing but Python. DynamoDB Local is AWS's own program and is not part of this repository; start it with `-inMemory`.
Each seed is a process with tables of its own. Where the two differ on purpose, triage.py says why; anything else fails the run and
prints the request.
"""

import argparse
import base64
import decimal
import http.client
import json
import multiprocessing
import random
import sys
import time
import urllib.parse
from collections import Counter

import absent
import generate
import shadow
import tags
import triage

# A walk that has not ended by then never will.
MOST_PAGES = 500


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
                self.connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=60)
            try:
                self.connection.request("POST", "/", getattr(body, "text", None) or json.dumps(body), headers)
                response = self.connection.getresponse()
                text = response.read()
                try:
                    return response.status, json.loads(text) if text else {}
                except ValueError:
                    # A kind of error that no rule excuses of Torc.
                    return response.status, {"__type": "NotJson", "message": text.decode(errors="replace")[:500]}
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if attempt == 2:
                    raise


def walk(side, body):
    """All pages of a scan, of all its segments, as one answer. Which items a page has is not promised; how many pages there are is, where
    nothing but Limit ends them."""
    total = body.get("TotalSegments")
    whole = {"Items": [], "Count": 0, "ScannedCount": 0, "Pages": 0}
    for segment in range(total or 1):
        page = dict(body, Segment=segment) if total else dict(body)
        while whole["Pages"] < MOST_PAGES:
            status, answer = side.call("Query" if "KeyConditionExpression" in body else "Scan", page)
            if status != 200:
                return status, answer
            whole["Pages"] += 1
            whole["Items"] += answer.get("Items", [])
            for name in ("Count", "ScannedCount"):
                whole[name] += answer[name]
            if "LastEvaluatedKey" not in answer:
                break
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    if total or "Limit" not in body:
        del whole["Pages"]
    return 200, whole


def plain(number):
    """A number without needless zeros and without an exponent. DynamoDB Local repeats numbers as they came where they are nested."""
    value = decimal.Decimal(number)
    return "0" if not value else format(value.normalize(CONTEXT), "f")


def whole(text):
    """A string with the replacement character for half of a surrogate pair, which is no character and can't be stored as one."""
    return "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)


CONTEXT = decimal.Context(prec=60, Emax=1000, Emin=-1000)


def ordered(kind, members):
    """The members of a set as Torc orders them: numbers by value, strings by UTF-8, binary values by bytes. DynamoDB Local does the same, but for
    strings in an item that was put and not updated since, whose order is that of UTF-16."""
    by = {"NS": decimal.Decimal, "SS": lambda one: one.encode(), "BS": base64.b64decode}[kind]
    return sorted(members, key=by)


def normal(value, name="", numbers=False):
    """An answer without what may differ: the order of objects, of scanned items, and of batches; with `numbers`, which is for DynamoDB Local's, the
    spelling of numbers and the order of sets."""
    if isinstance(value, dict):
        out = {}
        for key, inner in value.items():
            key = whole(key)
            if numbers and key == "N" and isinstance(inner, str):
                out[key] = plain(inner)
            elif key in ("SS", "NS", "BS") and isinstance(inner, list):
                inner = [plain(one) if numbers and key == "NS" else whole(one) for one in inner]
                out[key] = ordered(key, inner) if numbers else inner
            else:
                out[key] = normal(inner, key, numbers)
        return out
    if isinstance(value, list):
        inner = [normal(one, name, numbers) for one in value]
        if name in ("Scanned", "AttributeDefinitions", "LocalSecondaryIndexes", "GlobalSecondaryIndexes", "ConsumedCapacity", "Tags", "NonKeyAttributes"):
            inner.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return inner
    return whole(value) if isinstance(value, str) else value


# What DeleteTable answers with, of what both have: the members in the AWS CLI's reference (delete-table, Output), and those beside them that name the
# table or are settings of it as a whole. DynamoDB Local gives the whole description.
OF_THE_DELETED = ("TableName", "ProvisionedThroughput", "TableSizeBytes", "ItemCount", "BillingModeSummary", "DeletionProtectionEnabled")

# What a description says of the side that it is from.
OF_THE_SIDE = ("CreationDateTime", "TableArn", "TableId", "IndexArn", "LatestStreamArn", "LatestStreamLabel", "WarmThroughput", "LastIncreaseDateTime",
    "LastDecreaseDateTime", "LastUpdateToPayPerRequestDateTime", "LastUpdateDateTime", "TableStatus",
    # How far an index has come, which both wait for.
    "IndexStatus", "Backfilling",
    # Of these DynamoDB Local has none, or always the same.
    "TableClassSummary", "NumberOfDecreasesToday")


def without(value, names):
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(one, names) for one in value] if isinstance(value, list) else value


def outcome(operation, status, body, prefix, numbers=False):
    if status == 200:
        if operation in ("Scan", "Walk") and "Items" in body:
            body = dict(body, Scanned=body.pop("Items"))
        if operation == "BatchGetItem":
            for items in body.get("Responses", {}).values():
                items.sort(key=lambda one: json.dumps(one, sort_keys=True))
        if operation in ("CreateTable", "UpdateTable", "DescribeTable", "DeleteTable"):
            body = without(body, OF_THE_SIDE)
            for table in body.values():
                if operation == "DeleteTable" and numbers:
                    for name in set(table) - set(OF_THE_DELETED):
                        del table[name]
                # Whether it is told of a table that never was anything else differs.
                if table.get("BillingModeSummary") == {"BillingMode": "PROVISIONED"}:
                    del table["BillingModeSummary"]
        if operation == "ListTables":
            body["TableNames"] = [name for name in body["TableNames"] if name.startswith(prefix)]
            if not body.get("LastEvaluatedTableName", "").startswith(prefix):
                body.pop("LastEvaluatedTableName", None)
        return status, "", "", normal(body, "", numbers)
    kind = str(body.get("__type", "")).split("#")[-1]
    return status, kind, whole(body.get("message", body.get("Message", ""))), normal(body.get("Item"), "", numbers)


def settle(side, name, made=frozenset(), deleted=frozenset()):
    """Waits until a table that was created, changed or deleted, and its indexes, are what they are to be; how it is described then. DynamoDB Local may
    begin to make or delete an index a moment after its answer."""
    begun, end = time.monotonic(), time.monotonic() + 60
    while time.monotonic() < end:
        status, body = side.call("DescribeTable", {"TableName": name})
        if status != 200:
            return None
        indexes = body["Table"].get("GlobalSecondaryIndexes", [])
        names = {one["IndexName"] for one in indexes}
        in_place = made <= names and not deleted & names or time.monotonic() > begun + 10
        if in_place and body["Table"]["TableStatus"] == "ACTIVE" and all(one["IndexStatus"] == "ACTIVE" for one in indexes):
            return body
        time.sleep(0.01)
    return None


class Run:
    """One seed."""

    def __init__(self, options, seed):
        self.options, self.seed = options, seed
        rng = random.Random(seed)
        self.torc, self.local = Client(options.torc), Client(options.local)
        self.prefix = f"oracle-{seed}-{rng.randrange(1 << 30)}-"
        self.world = generate.World(rng, self.prefix)
        self.tags = tags.Tags(rng, self.world.tables()[0]["TableName"])
        self.shadows = shadow.Shadows(self.local, self.world, settle, walk)
        self.triaged, self.untriaged, self.statuses = Counter(), [], Counter()

    def __call__(self):
        for table in self.world.tables():
            for side in (self.torc, self.local):
                # One of a run that was cut short may be left.
                side.call("DeleteTable", {"TableName": table["TableName"]})
                settle(side, table["TableName"])
                status, body = side.call("CreateTable", table)
                if status != 200:
                    raise RuntimeError(f"CreateTable: {status} {body}")
        self.shadows.create()
        for _ in range(self.options.requests):
            self.one()
        self.shadows.drop()
        names = [table["TableName"] for table in self.world.tables()] + self.world.lifecycle.all
        for name in names:
            for side in (self.torc, self.local):
                side.call("UpdateTable", {"TableName": name, "DeletionProtectionEnabled": False})
                side.call("DeleteTable", {"TableName": name})
        return self.triaged, self.untriaged, self.statuses

    def ask(self, side, operation, body):
        if operation == "Walk":
            return walk(side, body)
        status, answer = side.call(operation, body)
        if status == 200 and operation in ("CreateTable", "UpdateTable", "DeleteTable"):
            updates = body.get("GlobalSecondaryIndexUpdates") or [] if operation == "UpdateTable" else []
            of = lambda kind: frozenset(one[kind]["IndexName"] for one in updates if one and one.get(kind))
            settled = settle(side, body["TableName"], of("Create"), of("Delete"))
            if operation == "UpdateTable" and settled and (body.get("GlobalSecondaryIndexUpdates") or "BillingMode" in body):
                # Whether an index that begins or ends is in the description already is a matter of moments.
                answer = {"TableDescription": settled["Table"]}
        return status, answer

    def one(self):
        if self.options.about in ("all", "tables") and self.world.rng.random() < 0.01:
            operation, body, ours, wanted = self.tags.compare(self.torc)
            self.statuses[(operation, wanted[0])] += 1
            if ours != wanted:
                self.untriaged.append((operation, body, ours, wanted))
            return
        operation, body = self.world.request(self.options.about)
        if self.compare(operation, body) and operation in ("UpdateItem", "PutItem", "DeleteItem"):
            # What was written.
            key = self.world.key_of(body)
            if key:
                self.compare("GetItem", {"TableName": body["TableName"], "Key": key, "ConsistentRead": True})

    def follow(self, operation, body, theirs):
        """Asks Torc until a global index has followed its table."""
        for _ in range(150):
            ours = outcome(operation, *self.ask(self.torc, operation, body), self.prefix)
            if ours == theirs or triage.reason(operation, body, ours, theirs):
                return ours
            time.sleep(0.02)
        return ours

    def compare(self, operation, body):
        """Sends a request to both sides; whether both did it."""
        takes_away = absent.takes_away(self.local, operation, body, self.world)
        local = self.ask(self.local, operation, body)
        torc = self.ask(self.torc, operation, body)
        if takes_away:
            local, torc = absent.answers(self.local, body, local, torc)
        self.world.observe(operation, body, *local)
        if operation == "Scan" and any("LastEvaluatedKey" in side[1] for side in (local, torc)):
            # Two pages of a scan need not have the same items.
            operation = "Walk"
            local, torc = walk(self.local, body), walk(self.torc, body)
        if local[0] == torc[0] == 200 and self.shadows.stands_for(operation, body):
            local = self.shadows.ask(operation, body)
        ours = outcome(operation, *torc, self.prefix)
        theirs = outcome(operation, *local, self.prefix, True)
        if ours != theirs and ours[0] == theirs[0] == 200 and self.world.reads_global(body):
            ours = self.follow(operation, body, theirs)
        self.statuses[(operation, theirs[0])] += 1
        both = ours[0] == theirs[0] == 200
        if theirs[0] != 200 and (operation == "BatchWriteItem" or "ReturnConsumedCapacity" in body):
            # DynamoDB Local may have done what it refuses, or a part of it.
            self.world.repair(body, self.torc, self.local)
        if ours == theirs:
            return both
        reason = triage.reason(operation, body, ours, theirs)
        if reason:
            self.triaged[reason] += 1
        else:
            self.untriaged.append((operation, body, ours, theirs))
        if not reason or ours[0] != theirs[0]:
            # One of the two wrote and the other did not: bring them together again.
            self.world.repair(body, self.local, self.torc)
            if theirs[0] == 500:
                # What DynamoDB Local failed to do it may yet do.
                time.sleep(0.3)
            self.world.lifecycle.repair(operation, body, self.local, self.torc, settle)
        return both


def run_one(job):
    return Run(*job)()


def seeds(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--torc", required=True)
    arguments.add_argument("--local", required=True)
    arguments.add_argument("--requests", type=int, default=10000, help="of each seed")
    arguments.add_argument("--seeds", type=seeds, default=[1], help="one, or a range: 1-8")
    arguments.add_argument("--jobs", type=int, default=2, help="seeds at once")
    arguments.add_argument("--about", choices=["all", "items", "tables", "malformed", "raw"], default="all")
    arguments.add_argument("--out", help="file for the untriaged differences, one JSON list a line")
    arguments.add_argument("--show", type=int, default=20, help="how many untriaged differences to print")
    options = arguments.parse_args()
    # Half of a surrogate pair is part of some requests.
    sys.stdout.reconfigure(errors="backslashreplace")
    start = time.monotonic()
    triaged, untriaged, statuses = Counter(), [], Counter()
    with multiprocessing.Pool(options.jobs) as pool:
        for one, two, three in pool.imap_unordered(run_one, [(options, seed) for seed in options.seeds]):
            triaged += one
            untriaged += two
            statuses += three
    total, accepted = sum(statuses.values()), sum(count for (_, status), count in statuses.items() if status == 200)
    seconds = time.monotonic() - start
    if options.out:
        with open(options.out, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(one) + "\n" for one in untriaged)
    print(f"{total} requests in {seconds:.0f} s, {accepted} of them accepted; {sum(triaged.values())} triaged, {len(untriaged)} untriaged")
    for reason, count in triaged.most_common():
        print(f"  {count:6} {reason}")
    kinds = Counter((operation, str(ours[1:3])[:400], str(theirs[1:3])[:400]) for operation, _, ours, theirs in untriaged)
    for (operation, ours, theirs), count in kinds.most_common(options.show):
        print(f"  {count:6} {operation}: torc {ours}\n         local {theirs}")
    for operation, body, ours, theirs in untriaged[: options.show]:
        print(f"\n{operation} {str(getattr(body, 'text', None) or json.dumps(body))[:1500]}\n  torc  {str(ours)[:1000]}\n  local {str(theirs)[:1000]}")
    sys.exit(1 if untriaged else 0)


if __name__ == "__main__":
    main()

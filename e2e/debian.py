"""The machine's own Debian package index as items: key Section and Name, one attribute for each field."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

NUMBERS = {"Size", "Installed-Size"}
SETS = {"Tag"}


def _paragraphs(text: str):
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        last = None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if last:
                    fields[last] += "\n" + line
            elif ":" in line:
                last, value = line.split(":", 1)
                fields[last] = value.strip()
        if "Package" in fields and "Section" in fields:
            yield fields


def _attribute(name: str, value: str) -> dict:
    if name in NUMBERS and value.isdigit():
        return {"N": str(int(value))}
    if name in SETS:
        return {"SS": sorted({part.strip() for part in value.replace("\n", ",").split(",") if part.strip()})}
    return {"S": value}


def load(default_slice: int) -> list[dict]:
    """Items in the DynamoDB JSON form. A slice takes every n-th record, so that it spans all sections."""
    text = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    records = list(_paragraphs(text))
    assert len(records) > 1000, "apt-cache dumpavail is nearly empty: run apt-get update"
    names = Counter((record["Section"], record["Package"]) for record in records)
    items: dict[tuple, dict] = {}
    for record in records:
        name = record["Package"]
        if names[(record["Section"], name)] > 1:
            name = f"{name} {record.get('Version', '')} {record.get('Architecture', '')}"
        item = {field: _attribute(field, value) for field, value in record.items()}
        item["Name"] = {"S": name}
        items[key_of(item)] = item
    wanted = len(items) if os.environ.get("TORC_E2E_FULL") else int(os.environ.get("TORC_E2E_RECORDS", default_slice))
    every = max(1, len(items) // max(1, wanted))
    return list(items.values())[::every]


def key_of(item: dict) -> tuple[str, str]:
    return item["Section"]["S"], item["Name"]["S"]


def key(item: dict) -> dict:
    return {"Section": item["Section"], "Name": item["Name"]}


def normal(item: dict) -> dict:
    """The same item in one form: sets have no order, numbers no trailing zeros."""
    return {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}

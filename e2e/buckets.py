"""A bucket client of a few lines: what `curl` does."""

from __future__ import annotations

import http.client
import json
from urllib.parse import quote, urlsplit


class Answer:
    def __init__(self, status: int, headers, body: bytes):
        self.status = status
        self.context = headers.get("x-torc-context")
        self.content_type = headers.get("content-type", "")
        self.body = body

    def __repr__(self):
        return f"{self.status} {self.content_type} {self.body[:200]!r}"


class Bucket:
    """One bucket through one node."""

    def __init__(self, url: str, name: str, timeout: float = 10.0):
        self.netloc = urlsplit(url).netloc
        self.path = f"/kv/{quote(name)}"
        self.timeout = timeout

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.netloc, timeout=self.timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def create(self, n: int = 3) -> Answer:
        return self.request("PUT", self.path, json.dumps({"n": n}).encode(), {"content-type": "application/json"})

    def put(self, key: str, value: bytes, w: str = "quorum", context: str | None = None) -> Answer:
        headers = {"x-torc-context": context} if context else {}
        return self.request("PUT", f"{self.path}/{quote(key, safe='')}?w={w}", value, headers)

    def get(self, key: str, r: str = "quorum") -> Answer:
        return self.request("GET", f"{self.path}/{quote(key, safe='')}?r={r}")

    def delete(self, key: str, w: str = "quorum", context: str | None = None) -> Answer:
        headers = {"x-torc-context": context} if context else {}
        return self.request("DELETE", f"{self.path}/{quote(key, safe='')}?w={w}", None, headers)

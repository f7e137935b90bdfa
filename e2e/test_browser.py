"""What a web page of another origin can do to a node that was started with its defaults: nothing. In a real browser, and by the requests one sends."""

import http.client
import http.server
import shutil
import socket
import subprocess
import threading
import urllib.parse

import pytest

from harness import Cluster, Node, eventually, free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# The page tries what a hostile page would: to read, to write with a request that needs no preflight, to write with one that does, to delete.
PAGE = """<!doctype html><title>page</title><script>
const node = new URLSearchParams(location.search).get("node");
const report = (what, told) => fetch("/report?" + what + "=" + encodeURIComponent(told), {method: "POST"});
const target = operation => ({"X-Amz-Target": "DynamoDB_20120810." + operation, "Content-Type": "application/x-amz-json-1.0"});
const tell = async (what, request) => {
  let told;
  try { const answer = await request; told = answer.type == "opaque" ? "opaque" : answer.status + " " + await answer.text(); }
  catch (error) { told = "failed"; }
  await report(what, told);
};
(async () => {
  await tell("list", fetch(node + "/", {method: "POST", headers: target("ListTables"), body: "{}"}));
  await tell("delete", fetch(node + "/", {method: "POST", headers: target("DeleteTable"), body: '{"TableName":"Mine"}'}));
  await tell("read", fetch(node + "/kv/mine/key"));
  await tell("status", fetch(node + "/admin/status"));
  await tell("put", fetch(node + "/kv/mine/key", {method: "PUT", body: "theirs"}));
  await tell("post", fetch(node + "/kv/mine/key", {method: "POST", mode: "no-cors", body: "theirs"}));
  await report("done", "yes");
})();
</script>"""


class Site(http.server.BaseHTTPRequestHandler):
    """Another origin: serves the page and hears what it could do."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def do_POST(self):
        self.server.told.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.told = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def visit(site, node, folder):
    """Opens the page in a browser and returns what it could do."""
    assert CHROMIUM, "these tests need Chromium: apt-get install chromium"
    site.told.clear()
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    address = f"http://localhost:{site.server_port}/?node={urllib.parse.quote(node.url)}"
    with open(folder / "chromium.log", "wb") as log:
        browser = subprocess.Popen([CHROMIUM, *flags.split(), f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", address], stdout=log, stderr=log)
    try:
        eventually("the page has tried everything", 60.0, lambda: "done" in site.told)
    finally:
        browser.kill()
        browser.wait()
    return dict(site.told)


def mine(node):
    client = node.dynamodb()
    client.create_table(TableName="Mine", KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST")
    assert ask(node, "PUT", "/kv/mine/key", b"mine")[0] == 204
    return client


def ask(node, method, path, body=b"", headers=None):
    connection = http.client.HTTPConnection(node.address, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_a_page_of_another_origin_can_do_nothing(single, site, folder):
    node = single.nodes[0]
    client = mine(node)
    told = visit(site, node, folder)
    # An opaque answer is one that the page may not look into.
    assert told.pop("post") == "opaque" and told.pop("done") == "yes"
    assert set(told.values()) == {"failed"}, told
    assert client.list_tables()["TableNames"] == ["Mine"]
    assert ask(node, "GET", "/kv/mine/key")[1] == b"mine"


def test_a_page_of_an_origin_that_was_allowed_can_work(folder, site):
    cluster = Cluster(folder, zones="a", environment={"TORC_ALLOW_ORIGIN": f"http://localhost:{site.server_port}"})
    try:
        node = cluster.start().nodes[0]
        mine(node)
        told = visit(site, node, folder)
        assert told["list"] == '200 {"TableNames":["Mine"]}', told
        assert told["delete"].startswith("200 "), told
        assert node.dynamodb().list_tables()["TableNames"] == []
    finally:
        cluster.close()


def test_refusals_come_before_anything_is_done(single):
    node = single.nodes[0]
    client = mine(node)
    foreign = {"Origin": "https://elsewhere.example"}
    target = {"X-Amz-Target": "DynamoDB_20120810.DeleteTable", "Content-Type": "text/plain"}
    status, said, headers = ask(node, "POST", "/", b'{"TableName":"Mine"}', {**target, **foreign})
    assert status == 400 and b"AccessDeniedException" in said and b"--allow-origin" in said
    assert "access-control-allow-origin" not in headers
    assert ask(node, "OPTIONS", "/", b"", {**foreign, "Access-Control-Request-Method": "POST"})[0] == 400
    # A name of the page's own that points at this machine.
    rebound = {"Host": f"rebound.example:{node.port}"}
    assert ask(node, "POST", "/", b'{"TableName":"Mine"}', {**target, **rebound})[0] == 400
    assert ask(node, "GET", "/kv/mine/key", b"", rebound)[0] == 403
    assert client.list_tables()["TableNames"] == ["Mine"]
    # Requests that come from no page get no grant, and those under this machine's names are served.
    assert "access-control-allow-origin" not in ask(node, "GET", "/")[2]
    for host in ("localhost", "dynamodb.us-east-1.localhost", "host.docker.internal"):
        assert ask(node, "GET", "/kv/mine/key", b"", {"Host": f"{host}:{node.port}"})[0] == 200, host


def test_health_has_an_answer_while_a_node_waits_for_its_cluster(folder):
    """The seed is a port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seed = f"127.0.0.1:{silent.getsockname()[1]}"
        node = Node("joiner", "a", folder, [seed]).start()
        try:
            eventually("its port is open", 10.0, lambda: ask(node, "GET", "/health")[0] == 200)

            def waiting():
                status, said, _ = ask(node, "GET", "/ready")
                return status == 503 and seed.encode() in said

            eventually("it says whom it waits for", 10.0, waiting)
        finally:
            node.kill()


def test_a_joiner_says_why_it_was_refused(folder):
    """Its seed is no member itself yet, and says so."""
    first = Node("first", "a", folder, [f"127.0.0.1:{free_port()}"]).start()
    second = Node("second", "b", folder, [first.cluster_address]).start()
    try:
        cause = "not registered itself yet"
        eventually("the cause is in its answer", 20.0, lambda: cause.encode() in ask(second, "GET", "/ready")[1])
        eventually("and in its log", 10.0, lambda: cause in second.log_tail(100))
    finally:
        first.kill()
        second.kill()

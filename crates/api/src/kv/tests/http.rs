//! Tests of the HTTP interface.

use super::fake::{Fake, sibling};
use crate::kv::http::handle;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use torc_coordinator::bucket::{BucketError, ErrorKind, limits};

struct Answer {
    head: Response<()>,
    body: Bytes,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.status().as_u16()
    }
    fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }
    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn send(
    fake: &Fake,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = handle(fake, request.body(body.into()).unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { head: Response::from_parts(parts, ()), body }
}

#[tokio::test]
async fn what_is_asked() {
    let fake = Fake::default();
    for (method, uri, headers, asked) in [
        ("PUT", "/kv/carts/alice?w=quorum", &[][..], r#"put carts b"alice" w=Some(Quorum) ttl=None"#),
        (
            "POST",
            "/kv/carts/a%20key%2Fwith%20%C3%BCnicode",
            &[],
            r#"put carts b"a key/with \xc3\xbcnicode" w=None ttl=None"#,
        ),
        ("PUT", "/kv/carts/a/b//c?ttl=60&w=2", &[], r#"put carts b"a/b//c" w=Some(Count(2)) ttl=Some(60s)"#),
        ("PUT", "/kv/carts/k%00%ff", &[("x-torc-w", "ALL")], r#"put carts b"k\0\xff" w=Some(All) ttl=None"#),
        ("PUT", "/kv/carts/k?w=one", &[("x-torc-w", "ALL")], r#"put carts b"k" w=Some(One) ttl=None"#),
        (
            "GET",
            "/kv/carts/alice?r=ONE&timeout_ms=250",
            &[],
            r#"get carts b"alice" r=Some(One) deadline=Some(250ms)"#,
        ),
        (
            "HEAD",
            "/kv/carts/alice",
            &[("x-torc-r", "THREE")],
            r#"get carts b"alice" r=Some(Count(3)) deadline=None"#,
        ),
        (
            "DELETE",
            "/kv/carts/alice?w=ALL",
            &[("X-Torc-Context", "Y3R4")],
            r#"delete carts b"alice" w=Some(All) context=b"ctx""#,
        ),
        ("DELETE", "/kv/carts/alice?context=Y3R4", &[], r#"delete carts b"alice" w=None context=b"ctx""#),
        ("GET", "/kv/carts?keys=true&limit=7&after=Y3R4", &[], r#"keys carts after=b"ctx" limit=7"#),
        ("GET", "/kv/carts", &[], "describe carts"),
        ("DELETE", "/kv/carts", &[], "drop carts"),
        ("GET", "/kv", &[], "list after= limit=100"),
        ("GET", "/kv/?after=carts&limit=5", &[], "list after=carts limit=5"),
    ] {
        let answer = send(&fake, method, uri, headers, "v").await;
        assert!(answer.status() < 500, "{method} {uri}: {}", answer.status());
        assert_eq!(fake.last(), asked, "{method} {uri}");
    }
    let uuid = "2c1b7a80-0000-0000-0000-000000000001";
    let headers = [
        ("x-torc-operation-id", uuid),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-torc-context", "Y3R4"),
    ];
    send(&fake, "PUT", "/kv/carts/alice", &headers, "milk").await;
    let put = fake.last_put.lock().clone().unwrap();
    assert_eq!(
        (&put.value[..], put.content_type.as_str(), &put.context[..]),
        (&b"milk"[..], headers[1].1, &b"ctx"[..])
    );
    assert_eq!(put.operation, 0x2c1b_7a80_0000_0000 ^ 1);
}

#[tokio::test]
async fn bad_requests_are_refused_with_code_message_and_hint_before_anything_is_done() {
    let fake = Fake::default();
    let long = "A".repeat(limits::MAX_CONTEXT_BYTES * 2);
    for (method, uri, headers, body) in [
        ("PUT", "/kv/carts/k?w=most", &[][..], ""),
        ("PUT", "/kv/carts/k?w=0", &[], ""),
        ("GET", "/kv/carts/k?r=LOCAL_QUORUM", &[], ""),
        ("GET", "/kv/carts/k?quorum=2", &[], ""),
        ("GET", "/kv/carts/k%2", &[], ""),
        ("GET", "/kv/carts/%zz", &[], ""),
        ("GET", "/kv/%ff/k", &[], ""),
        ("PUT", "/kv/carts/k?ttl=0", &[], ""),
        ("PUT", "/kv/carts/k?ttl=-1", &[], ""),
        ("PUT", "/kv/carts/k?timeout_ms=soon", &[], ""),
        ("PUT", "/kv/carts/k", &[("x-torc-context", "not base64!")], ""),
        ("PUT", "/kv/carts/k", &[("x-torc-context", long.as_str())], ""),
        ("PUT", "/kv/carts/k", &[("x-torc-operation-id", "xyz")], ""),
        ("GET", "/kv/carts?keys=maybe", &[], ""),
        ("GET", "/kv/carts?keys=true&limit=0", &[], ""),
        ("GET", "/kv/carts?keys=true&limit=1001", &[], ""),
        ("PUT", "/kv/carts", &[], "{"),
        ("PUT", "/kv/carts", &[], r#"{"replicas": 3}"#),
        ("PUT", "/kv/carts", &[], r#"{"n": 0}"#),
        ("PUT", "/kv/carts", &[], r#"{"n": 8}"#),
        ("PUT", "/kv/carts", &[], r#"{"n": 3, "w": 4}"#),
        ("PUT", "/kv/carts", &[], r#"{"policy": "newest"}"#),
        ("PUT", "/kv/carts", &[], r#"{"r": [1]}"#),
    ] {
        let answer = send(&fake, method, uri, headers, body).await;
        assert_eq!(answer.status(), 400, "{method} {uri} {body}");
        let json = answer.json();
        assert_eq!(json["code"], "InvalidArgument");
        assert!(!json["message"].as_str().unwrap().is_empty() && !json["hint"].as_str().unwrap().is_empty());
    }
    let answer = send(&fake, "PUT", "/kv/carts/k", &[], vec![0; limits::MAX_VALUE_BYTES + 1]).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (413, &Value::from("ValueTooLarge")));
    for (method, uri, allow) in [
        ("POST", "/kv", "GET"),
        ("POST", "/kv/carts", "GET, PUT, DELETE"),
        ("PATCH", "/kv/carts/k", "GET, PUT, POST, DELETE"),
    ] {
        let answer = send(&fake, method, uri, &[], "").await;
        assert_eq!((answer.status(), answer.header("allow")), (405, allow));
    }
    assert!(fake.asked.lock().is_empty());
}

#[tokio::test]
async fn one_value_is_the_body_and_none_is_a_404_with_the_context() {
    let fake = Fake { context: "ctx".into(), ..Fake::default() };
    let answer = send(&fake, "GET", "/kv/b/k", &[], "").await;
    assert_eq!((answer.status(), answer.header("x-torc-context")), (404, "Y3R4"));
    assert_eq!(answer.json()["code"], "NoSuchKey");

    *fake.found.lock() = vec![sibling(b"\0milk", "")];
    let answer = send(&fake, "GET", "/kv/b/k", &[("accept", "application/json")], "").await;
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"\0milk"[..]));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!((answer.header("x-torc-replicas"), answer.header("x-torc-timestamp-ms")), ("2/3", "17"));

    *fake.found.lock() = vec![sibling(b"milk", "text/plain")];
    let answer = send(&fake, "HEAD", "/kv/b/k", &[], "").await;
    assert_eq!((answer.status(), answer.body.len(), answer.header("content-type")), (200, 0, "text/plain"));
    // A content type that came in by another way and is no header.
    *fake.found.lock() = vec![sibling(b"milk", "text/\nplain")];
    assert_eq!(
        send(&fake, "GET", "/kv/b/k", &[], "").await.header("content-type"),
        "application/octet-stream"
    );

    let answer = send(&fake, "PUT", "/kv/b/k", &[], "v").await;
    assert_eq!(
        (answer.status(), answer.header("x-torc-context"), answer.header("x-torc-replicas")),
        (204, "Y3R4", "2/3")
    );
}

#[tokio::test]
async fn siblings_come_as_multipart_or_json() {
    let fake = Fake { context: "ctx".into(), ..Fake::default() };
    *fake.found.lock() = vec![sibling(b"milk", "text/plain"), sibling(b"bread\r\n--torc-sibling", "")];
    let answer = send(&fake, "GET", "/kv/b/k", &[("accept", "*/*")], "").await;
    assert_eq!(
        (answer.status(), answer.header("x-torc-siblings"), answer.header("x-torc-context")),
        (300, "2", "Y3R4")
    );
    let boundary =
        answer.header("content-type").strip_prefix("multipart/mixed; boundary=").unwrap().to_owned();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "{text}");
    assert!(parts[0].is_empty() && parts[3] == "--\r\n");
    let values: Vec<&str> = parts[1..3].iter().map(|part| part.split_once("\r\n\r\n").unwrap().1).collect();
    assert_eq!(values, ["milk\r\n", "bread\r\n--torc-sibling\r\n"]);
    assert!(
        parts[1].contains("content-type: text/plain\r\n") && parts[2].contains("application/octet-stream")
    );

    let accept = [("accept", "text/html, Application/JSON;q=0.9")];
    let answer = send(&fake, "GET", "/kv/b/k", &accept, "").await;
    assert_eq!(answer.status(), 300);
    let json = answer.json();
    assert_eq!(json["context"], "Y3R4");
    assert_eq!(json["siblings"][0]["value_base64"], "bWlsaw==");
    assert_eq!(
        (&json["siblings"][0]["content_type"], &json["siblings"][0]["timestamp_ms"]),
        (&"text/plain".into(), &17.into())
    );

    // A value that holds the boundary that would be chosen for it gets another one.
    let taken = boundary.clone().into_bytes();
    let expect_free =
        [sibling(b"x", ""), torc_coordinator::bucket::Sibling { value: taken.into(), ..sibling(b"", "") }];
    *fake.found.lock() = expect_free.to_vec();
    let answer = send(&fake, "GET", "/kv/b/k", &[], "").await;
    let again = answer.header("content-type").rsplit('=').next().unwrap().to_owned();
    assert_eq!(String::from_utf8(answer.body.to_vec()).unwrap().matches(&again).count(), 3);
}

#[tokio::test]
async fn buckets_and_keys_as_json() {
    let fake = Fake::default();
    let answer =
        send(&fake, "PUT", "/kv/carts", &[], r#"{"n": 5, "r": "one", "w": 2, "policy": "lww"}"#).await;
    assert_eq!(answer.status(), 200);
    let json = answer.json();
    assert_eq!((&json["n"], &json["r"], &json["w"]), (&5.into(), &"ONE".into(), &"2".into()));
    assert_eq!((&json["name"], &json["policy"]), (&"carts".into(), &"last-writer-wins".into()));
    send(&fake, "PUT", "/kv/carts", &[], " ").await;
    assert!(fake.last().contains("n: 3, read: Quorum, write: Quorum, policy: Siblings"), "{}", fake.last());
    assert_eq!(send(&fake, "GET", "/kv", &[], "").await.json()["buckets"][0]["name"], "b");
    let json = send(&fake, "GET", "/kv/b?keys=true", &[], "").await.json();
    assert_eq!(json["keys"][0]["key"], "a b");
    assert_eq!(json["keys"][0]["path"], "/kv/b/a%20b");
    assert_eq!((&json["keys"][1]["key"], &json["keys"][1]["path"]), (&Value::Null, &"/kv/b/%FF%2F".into()));
    assert_eq!(json["next"], "bW9yZQ");
}

#[tokio::test]
async fn failures_have_their_status() {
    let fake = Fake::default();
    for (kind, status, retry) in [
        (ErrorKind::NoSuchBucket, 404, ""),
        (ErrorKind::BucketExists, 409, ""),
        (ErrorKind::TooManySiblings, 409, ""),
        (ErrorKind::Unavailable, 503, "1"),
        (ErrorKind::NotEnoughAnswers, 503, "1"),
        (ErrorKind::DiskFull, 503, "1"),
        (ErrorKind::Storage, 500, "1"),
        (ErrorKind::Internal, 500, ""),
    ] {
        *fake.fails.lock() = Some(BucketError::new(kind, "what", "how"));
        let answer = send(&fake, "GET", "/kv/b/k", &[], "").await;
        assert_eq!((answer.status(), answer.header("retry-after")), (status, retry), "{kind:?}");
        let json = answer.json();
        assert_eq!(json["code"], kind.as_str());
        assert_eq!((&json["message"], &json["hint"]), (&"what".into(), &"how".into()));
    }
    assert!(fake.asked.lock().len() == 8);
}

//! The requests of each protocol, built into one reused buffer, and what counts as success.

use super::connection::{Answer, find};
use super::{BenchArgs, DriverKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// A request of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// GetItem or range.
    Read,
    /// PutItem or put.
    Write,
}

/// Builds requests for one connection. Both protocols carry values in base64, so neither side has less to
/// encode.
pub struct Driver {
    kind: DriverKind,
    table: String,
    read_tail: &'static str,
    read_head: Vec<u8>,
    write_head: Vec<u8>,
    body: Vec<u8>,
    request: Vec<u8>,
    key: String,
    min_read_bytes: usize,
}

impl Driver {
    /// For requests to `host` as `args` say.
    pub fn new(args: &BenchArgs, host: &str) -> Driver {
        let head = |path: &str, target: &str, content: &str| {
            let mut head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content}\r\n");
            if !target.is_empty() {
                head += &format!(
                    "X-Amz-Target: DynamoDB_20120810.{target}\r\nAuthorization: {AUTHORIZATION}\r\n"
                );
            }
            (head + "Content-Length: ").into_bytes()
        };
        let (read_head, write_head, read_tail) = match args.driver {
            DriverKind::Dynamodb => (
                head("/", "GetItem", "application/x-amz-json-1.0"),
                head("/", "PutItem", "application/x-amz-json-1.0"),
                if args.eventual { "}" } else { ",\"ConsistentRead\":true}" },
            ),
            DriverKind::Etcd => (
                head("/v3/kv/range", "", "application/json"),
                head("/v3/kv/put", "", "application/json"),
                if args.eventual { ",\"serializable\":true}" } else { "}" },
            ),
        };
        Driver {
            kind: args.driver,
            table: args.table.clone(),
            read_tail,
            read_head,
            write_head,
            body: Vec::new(),
            request: Vec::new(),
            key: String::new(),
            // A read that finds the key answers with all of the value.
            min_read_bytes: (args.value_size as usize).div_ceil(3) * 4,
        }
    }

    /// A read of `key`.
    pub fn read(&mut self, key: u64) -> &[u8] {
        self.body.clear();
        self.name(key);
        // Writing to a Vec cannot fail.
        let _ = match self.kind {
            DriverKind::Dynamodb => write!(
                self.body,
                "{{\"TableName\":\"{}\",\"Key\":{{\"k\":{{\"S\":\"{}\"}}}}{}",
                self.table, self.key, self.read_tail
            ),
            DriverKind::Etcd => write!(self.body, "{{\"key\":\"{}\"{}", self.key, self.read_tail),
        };
        self.frame(Op::Read)
    }

    /// A write of `value` (already base64) to `key`.
    pub fn write(&mut self, key: u64, value: &str) -> &[u8] {
        self.body.clear();
        self.name(key);
        let _ = match self.kind {
            DriverKind::Dynamodb => write!(
                self.body,
                "{{\"TableName\":\"{}\",\"Item\":{{\"k\":{{\"S\":\"{}\"}},\"v\":{{\"B\":\"{value}\"}}}}}}",
                self.table, self.key
            ),
            DriverKind::Etcd => write!(self.body, "{{\"key\":\"{}\",\"value\":\"{value}\"}}", self.key),
        };
        self.frame(Op::Write)
    }

    /// Whether the answer means success, else why not in a few words that are the same for the same reason.
    pub fn verdict(&self, op: Op, answer: &Answer<'_>) -> Result<(), String> {
        if answer.status != 200 {
            return Err(format!("{} {}", answer.status, error_kind(answer.body)));
        }
        let marker: &[u8] = match self.kind {
            DriverKind::Dynamodb => b"\"Item\"",
            DriverKind::Etcd => b"\"kvs\"",
        };
        if op == Op::Read && (answer.body.len() < self.min_read_bytes || find(answer.body, marker).is_none())
        {
            return Err("a key that was written is not there, or not whole".to_owned());
        }
        Ok(())
    }

    /// The key's text: of one length, in an order that has nothing to do with its popularity.
    fn name(&mut self, key: u64) {
        use std::fmt::Write;
        self.key.clear();
        match self.kind {
            DriverKind::Dynamodb => {
                let _ = write!(self.key, "key-{key:012}");
            }
            DriverKind::Etcd => STANDARD.encode_string(format!("key-{key:012}"), &mut self.key),
        }
    }

    fn frame(&mut self, op: Op) -> &[u8] {
        self.request.clear();
        self.request.extend_from_slice(match op {
            Op::Read => &self.read_head,
            Op::Write => &self.write_head,
        });
        let _ = write!(self.request, "{}\r\n\r\n", self.body.len());
        self.request.extend_from_slice(&self.body);
        &self.request
    }
}

/// Any credentials do on loopback; a server that checks signatures answers with an error that the report
/// shows.
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                                 SignedHeaders=host, Signature=00";

/// The error's type and message, cut short.
pub fn error_kind(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => {
            let kind =
                json["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
            let message = ["message", "Message", "error"]
                .iter()
                .find_map(|name| json[*name].as_str())
                .unwrap_or_default();
            format!("{kind} {message}").trim().chars().take(160).collect()
        }
        Err(_) => text.chars().take(160).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn driver(arguments: &[&str]) -> Driver {
        let parsed = Wrapper::parse_from(std::iter::once(&"bench").chain(arguments));
        Driver::new(&parsed.args, "host:1")
    }

    fn split(request: &[u8]) -> (String, serde_json::Value) {
        let at = find(request, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(request[..at].to_vec()).unwrap();
        let body = &request[at + 4..];
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        (head, serde_json::from_slice(body).unwrap())
    }

    #[test]
    fn dynamodb_requests() {
        let mut driver = driver(&["--table", "T"]);
        let (head, body) = split(driver.write(7, "AAEC"));
        assert!(head.contains("X-Amz-Target: DynamoDB_20120810.PutItem"), "{head}");
        assert_eq!(
            body,
            serde_json::json!({"TableName": "T", "Item": {"k": {"S": "key-000000000007"}, "v": {"B": "AAEC"}}})
        );
        let (head, body) = split(driver.read(7));
        assert!(head.contains("X-Amz-Target: DynamoDB_20120810.GetItem"), "{head}");
        assert_eq!(
            body,
            serde_json::json!({"TableName": "T", "Key": {"k": {"S": "key-000000000007"}}, "ConsistentRead": true})
        );
    }

    #[test]
    fn etcd_requests() {
        let mut driver = driver(&["--driver", "etcd", "--eventual"]);
        let key = STANDARD.encode("key-000000000007");
        let (head, body) = split(driver.write(7, "AAEC"));
        assert!(head.starts_with("POST /v3/kv/put "), "{head}");
        assert_eq!(body, serde_json::json!({"key": key, "value": "AAEC"}));
        let (head, body) = split(driver.read(7));
        assert!(head.starts_with("POST /v3/kv/range "), "{head}");
        assert_eq!(body, serde_json::json!({"key": key, "serializable": true}));
    }

    #[test]
    fn verdicts() {
        let driver = driver(&["--value-size", "3"]);
        let answer = |status, body: &'static str| Answer { status, head: b"", body: body.as_bytes() };
        assert!(driver.verdict(Op::Write, &answer(200, "{}")).is_ok());
        assert!(driver.verdict(Op::Read, &answer(200, r#"{"Item":{"v":{"B":"AAEC"}}}"#)).is_ok());
        assert!(driver.verdict(Op::Read, &answer(200, "{}")).is_err(), "an empty answer is not a read");
        let error =
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"none"}"#;
        assert_eq!(
            driver.verdict(Op::Write, &answer(400, error)),
            Err("400 ResourceNotFoundException none".to_owned())
        );
    }
}

//! Signatures: a request as text (method and target, headers, an empty line, the body), and what must never
//! pass.

use super::Target;
use bytes::Bytes;
use http::Request;
use torc_api::auth::AccessKeys;

const WORDS: &[&str] = &[
    "AWS4-HMAC-SHA256",
    "Credential=",
    "SignedHeaders=",
    "Signature=",
    "aws4_request",
    "host;",
    ";host",
    "x-amz-date",
    "x-amz-target",
    "Basic ",
    "authorization: ",
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&",
    "X-Amz-Expires=",
    "X-Amz-Signature=",
    "X-Amz-Credential=",
    "%2F",
    "%",
    "&",
    "/",
    "\r\n",
    "20150830T123600Z",
    "20150830",
    "dynamodb",
    "host: ",
    "date: ",
    "x-torc-context: x\n",
];

pub const SIGNATURE: Target = Target { name: "sigv4", seeds, dictionary: WORDS, run };

/// The example key of AWS's documentation, under which botocore signed the seeds.
const KEYS: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The same id with another secret: nothing that is signed by the first may pass.
const OTHER_KEYS: &str = "AKIDEXAMPLE:anotherSecret";
/// 2015-08-30T12:36:00Z.
const NOW_MS: u64 = 1_440_938_160_000;

const SIGNED: &str = "POST /\nhost: 127.0.0.1:8000\ncontent-type: application/x-amz-json-1.0\nx-amz-date: 20150830T123600Z\nx-amz-target: DynamoDB_20120810.DescribeTable\nauthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=4abf1188c2f51d2ad1b3c3930c56de2ea8746bb74372e7fa514c441cedab296e\n\n{\"TableName\":\"abc\"}";
const PRESIGNED: &str = "GET /?Action=x%20y&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=570f7a1cb8372fc9d8e48be7bcb237691051d2f4af233286348a56dc270f6e82\nhost: 127.0.0.1:8000\n\n";
const FOLDED: &str = "POST /?b=2&a=x%20y\nhost: 127.0.0.1:8000\nx-amz-date: 20150830T123600Z\nx-amz-target: DynamoDB_20120810.ListTables\nspaced:   a   b  \nauthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/dynamodb/aws4_request, SignedHeaders=host;spaced;x-amz-date;x-amz-target, Signature=81a631ff65ddd0a992c1f41259a53555f13eda78d329dfa04a96830f34aa0fd3\n\n{}";

fn seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        SIGNED,
        PRESIGNED,
        FOLDED,
        "PUT /kv/a/b?w=2\nauthorization: Basic QUtJREVYQU1QTEU6eA==\nx-torc-context: abc\n\nvalue",
    ])
}

fn run(input: &[u8]) {
    let Some(request) = read(input) else { return };
    let keys = AccessKeys::parse(KEYS).expect("a key");
    let other = AccessKeys::parse(OTHER_KEYS).expect("a key");
    for result in [
        other.verify(&request, NOW_MS),
        other.verify_any(&request, NOW_MS),
        other.verify_basic(request.headers()),
    ] {
        assert!(result.is_err(), "nobody knows this secret");
    }
    for day_ms in [0, u64::MAX] {
        let _ = keys.verify(&request, day_ms);
    }
    if keys.verify(&request, NOW_MS).is_ok() {
        // Nobody can sign but the owner: what passes must ask for what one of the seeds asked for.
        let same = seeds().iter().filter_map(|seed| read(seed)).any(|seed| {
            let covered = ["host", "x-amz-target", "x-amz-date", "spaced"];
            let of = |request: &Request<Bytes>, name: &str| {
                let values = request.headers().get_all(name).iter();
                values
                    .map(|value| {
                        String::from_utf8_lossy(value.as_bytes())
                            .split_whitespace()
                            .collect::<Vec<_>>()
                            .join(" ")
                    })
                    .collect::<Vec<_>>()
                    .join(",")
            };
            seed.method() == request.method()
                && seed.uri().path() == request.uri().path()
                && seed.body() == request.body()
                && covered.iter().all(|name| {
                    of(&seed, name) == of(&request, name) || (*name != "host" && *name != "x-amz-target")
                })
        });
        assert!(same, "a forged request passed: {request:?}");
    }
}

/// A request from text; `None` if HTTP itself would refuse it.
fn read(input: &[u8]) -> Option<Request<Bytes>> {
    let end = input.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (&input[..end], &input[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Bytes::copy_from_slice(body)).ok()
}

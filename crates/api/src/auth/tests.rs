//! Signatures made by another implementation (botocore), and signatures that must be refused.

use super::*;

const KEYS: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z.
const NOW: u64 = 1_440_938_160_000;

const HEADER: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=4abf1188c2f51d2ad1b3c3930c56de2ea8746bb74372e7fa514c441cedab296e";
const PRESIGNED: &str = "/?Action=x%20y&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=570f7a1cb8372fc9d8e48be7bcb237691051d2f4af233286348a56dc270f6e82";

fn describe() -> http::request::Builder {
    Request::builder()
        .method("POST")
        .uri("/")
        .header("host", "127.0.0.1:8000")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20150830T123600Z")
        .header("x-amz-target", "DynamoDB_20120810.DescribeTable")
}

fn signed(header: &str) -> Request<Bytes> {
    describe().header("authorization", header).body(Bytes::from_static(br#"{"TableName":"abc"}"#)).unwrap()
}

fn presigned(uri: &str) -> Request<Bytes> {
    Request::builder().uri(uri).header("host", "127.0.0.1:8000").body(Bytes::new()).unwrap()
}

#[track_caller]
fn check(request: &Request<Bytes>, now_ms: u64, expected: Result<(), (ErrorCode, &str)>) {
    let result = AccessKeys::parse(KEYS).unwrap().verify(request, now_ms);
    match (result, expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err((code, text))) => {
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(text), "{error}");
        }
        (result, expected) => panic!("{result:?} where {expected:?} was expected"),
    }
}

const MISMATCH: Result<(), (ErrorCode, &str)> =
    Err((ErrorCode::InvalidSignature, "does not match the signature"));

#[test]
fn signatures_of_another_implementation_pass() {
    check(&signed(HEADER), NOW, Ok(()));
    check(&presigned(PRESIGNED), NOW, Ok(()));
    // No AWS document settles whether blanks alone may stand between the parts.
    check(&signed(&HEADER.replace(", ", " ")), NOW, Ok(()));
    check(&signed(&HEADER.replace(", ", ",")), NOW, Ok(()));
    let folded = Request::builder()
        .method("POST")
        .uri("/?b=2&a=x%20y")
        .header("host", "127.0.0.1:8000")
        .header("x-amz-date", "20150830T123600Z")
        .header("x-amz-target", "DynamoDB_20120810.ListTables")
        .header("spaced", "  a   b  ")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/dynamodb/aws4_request, SignedHeaders=host;spaced;x-amz-date;x-amz-target, Signature=81a631ff65ddd0a992c1f41259a53555f13eda78d329dfa04a96830f34aa0fd3")
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    check(&folded, NOW, Ok(()));
}

#[test]
fn whatever_is_changed_breaks_the_signature() {
    let mut body = signed(HEADER);
    *body.body_mut() = Bytes::from_static(br#"{"TableName":"abd"}"#);
    check(&body, NOW, MISMATCH);
    let mut target = signed(HEADER);
    target.headers_mut().insert("x-amz-target", "DynamoDB_20120810.DeleteTable".parse().unwrap());
    check(&target, NOW, MISMATCH);
    let mut uri = signed(HEADER);
    *uri.uri_mut() = "/?a=b".parse().unwrap();
    check(&uri, NOW, MISMATCH);
    let mut authority = signed(HEADER);
    *authority.uri_mut() = "127.0.0.1".parse().unwrap();
    check(&authority, NOW, Err((ErrorCode::IncompleteSignature, "no path")));
    check(&signed(&HEADER.replace("us-east-1", "us-east-2")), NOW, MISMATCH);
    check(&signed(&HEADER.replace("96e", "96f")), NOW, MISMATCH);
    check(&signed(&HEADER.replace("Signature=4abf", "Signature=zz")), NOW, MISMATCH);
    check(&presigned(&PRESIGNED.replace("x%20y", "x%20z")), NOW, MISMATCH);
}

#[test]
fn skew_and_life() {
    let minutes = |m: i64| NOW.saturating_add_signed(m * 60_000);
    let expired = Err((ErrorCode::InvalidSignature, "Signature expired"));
    check(&signed(HEADER), minutes(15), Ok(()));
    check(&signed(HEADER), minutes(-15), Ok(()));
    check(&signed(HEADER), minutes(16), expired);
    check(&signed(HEADER), minutes(-16), Err((ErrorCode::InvalidSignature, "Signature not yet current")));
    check(&presigned(PRESIGNED), minutes(1), Ok(()));
    check(&presigned(PRESIGNED), minutes(2), expired);
    // An old request is told so before its scope is looked at. No AWS document settles which comes first.
    check(&signed(&HEADER.replace("20150830/", "20150831/")), minutes(16), expired);
    check(&signed(&HEADER.replace("dynamodb/", "s3/")), minutes(16), expired);
    let long = PRESIGNED.replace("Expires=60", "Expires=604801");
    check(&presigned(&long), NOW, Err((ErrorCode::IncompleteSignature, "X-Amz-Expires")));
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let incomplete = |text| Err((ErrorCode::IncompleteSignature, text));
    let none = describe().body(Bytes::new()).unwrap();
    check(&none, NOW, Err((ErrorCode::MissingAuthenticationToken, "missing Authentication Token")));
    check(&signed("Basic abc"), NOW, incomplete("algorithm"));
    check(
        &signed("AWS4-HMAC-SHA256 Credential=a"),
        NOW,
        incomplete("requires 'Signature' parameter. Authorization header requires 'SignedHeaders'"),
    );
    check(&signed(&HEADER.replace("/aws4_request", "")), NOW, incomplete("exactly 5 slash-delimited"));
    let invalid = |text| Err((ErrorCode::InvalidSignature, text));
    check(&signed(&HEADER.replace("dynamodb/", "s3/")), NOW, invalid("correct service"));
    check(&signed(&HEADER.replace("20150830/", "20150831/")), NOW, invalid("Date in Credential scope"));
    check(&signed(&HEADER.replace("aws4_request", "aws5_request")), NOW, invalid("valid terminator"));
    check(&signed(&HEADER.replace("host;", "")), NOW, invalid("'Host'"));
    check(&signed(&HEADER.replace(";x-amz-target", "")), NOW, invalid("'X-Amz-Target'"));
    check(
        &signed(&HEADER.replace("AKIDEXAMPLE", "OTHER")),
        NOW,
        Err((ErrorCode::UnrecognizedClient, "security token")),
    );
    assert!(AccessKeys::default().verify(&none, NOW).is_ok());
}

/// A request that says the hash of its body in a signed header, made by botocore.
fn hashed(hash: &str) -> http::request::Builder {
    describe().header("x-amz-content-sha256", hash).header(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target, Signature=c14ee231d9ffc91a289bfcc53cd4058a344ceedcc7e54c6e42d08af1fbf67d71",
    )
}

#[test]
fn what_needs_no_body_is_refused_before_it_is_read() {
    let keys = AccessKeys::parse(KEYS).unwrap();
    let code = |request: http::request::Builder, now_ms| {
        keys.precheck(&request.body(()).unwrap(), now_ms).map_err(|error| error.code)
    };
    let with = |header: &str| describe().header("authorization", header);
    assert_eq!(code(with(HEADER), NOW), Ok(()));
    assert_eq!(code(describe(), NOW), Err(ErrorCode::MissingAuthenticationToken));
    let unknown = HEADER.replace("AKIDEXAMPLE", "OTHER");
    assert_eq!(code(with(&unknown), NOW), Err(ErrorCode::UnrecognizedClient));
    assert_eq!(code(with(HEADER), NOW + 16 * 60_000), Err(ErrorCode::InvalidSignature));
    assert_eq!(code(with(&HEADER.replace("dynamodb/", "s3/")), NOW), Err(ErrorCode::InvalidSignature));
    // Of the signature itself only where the body's hash is told; a body that is another is found when it is here.
    assert_eq!(code(with(&HEADER.replace("96e", "96f")), NOW), Ok(()));
    let hash = "395a8d243d629f26e9d360dc39500c937203c550bafae55f529a6a6800ec1235";
    assert_eq!(code(hashed(hash), NOW), Ok(()));
    assert_eq!(code(hashed(&hash.replace("395a", "395b")), NOW), Err(ErrorCode::InvalidSignature));
    check(&hashed(hash).body(Bytes::from_static(br#"{"TableName":"abc"}"#)).unwrap(), NOW, Ok(()));
    check(&hashed(hash).body(Bytes::from_static(br#"{"TableName":"abd"}"#)).unwrap(), NOW, MISMATCH);
    assert_eq!(
        AccessKeys::default().precheck(&describe().body(()).unwrap(), NOW).map_err(|e| e.code),
        Ok(())
    );
}

#[test]
fn keys_are_read_and_never_shown() {
    let keys = AccessKeys::parse("a:b, c:d:e\nf:g").unwrap();
    assert_eq!(keys.secrets["c"], "d:e");
    assert_eq!(format!("{keys:?}"), "AccessKeys { count: 3, .. }");
    for wrong in ["a", ":b", "a:", "a:b,a:c", "a/b:c"] {
        let error = AccessKeys::parse(wrong).unwrap_err();
        assert!(error.starts_with("access key"), "{error}");
    }
}

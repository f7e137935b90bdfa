//! The cost of HTTP alone: a bare hyper server with the settings of Torc's client port. It reads each request
//! and answers with as many bytes as Torc would, and looks at nothing but the operation's name. `torc bench`
//! drives both: see docs/operations/benchmarks.md.
//!
//! `cargo run --release -p torc-api --example bare -- ADDR:PORT VALUE_BYTES`

// A program of its own: it takes its arguments and sockets itself.
#![allow(clippy::disallowed_methods)]

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:18900".to_owned());
    let bytes: usize = args.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(900);
    let value = base64::engine::general_purpose::STANDARD.encode(vec![0x5a; bytes]);
    let item = Bytes::from(format!(
        "{{\"Item\":{{\"k\":{{\"S\":\"key-000000000000\"}},\"v\":{{\"B\":\"{value}\"}}}}}}"
    ));
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let item = item.clone();
        let service = service_fn(move |request| answer(request, item.clone()));
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(20));
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, item: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").cloned();
    // Read in full, as any server must before it can answer.
    let _body = request.into_body().collect().await;
    let operation = target.as_ref().and_then(|target| target.as_bytes().rsplit(|byte| *byte == b'.').next());
    let body = match operation {
        Some(b"GetItem") => item,
        Some(b"DescribeTable") => Bytes::from_static(b"{\"Table\":{\"TableStatus\":\"ACTIVE\"}}"),
        _ => Bytes::from_static(b"{}"),
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    Ok(response)
}

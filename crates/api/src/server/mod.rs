//! The client port: one listener for DynamoDB's protocol, buckets over HTTP and gRPC, health and administration.
//!
//! Called by the binary. `stream` tells protocols apart and gives up clients that do not read, `body` reads bodies within limits; here
//! connections are accepted, requests authenticated and handed to their face. It must never let one client's request take what others
//! need: memory, threads, file handles.

mod body;
mod stream;

pub use body::{BodyProblem, MAX_BODY_BYTES};

use crate::{admin, auth, dynamodb, kv, sts};
use body::Budget;
use bytes::Bytes;
use http::{Method, Request, Response, header, request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use stream::{Impatient, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use torc_coordinator::bucket::BucketCoordinator;
use torc_coordinator::node::Node;
use torc_model::limits;

/// How long a client may take to send its headers, and a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest header block, bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Longest header block of a DynamoDB request, bytes. No AWS document settles it; DynamoDB Local takes 8 KiB and answers 431 beyond.
const MAX_DYNAMODB_HEADER_BYTES: usize = 16 << 10;
/// How often an HTTP/2 client that says nothing is asked whether it is still there.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// Requests on one HTTP/2 connection at a time.
const HTTP2_STREAMS: u32 = 128;
/// Bodies from here on are unpacked, parsed and served apart from the threads that serve everybody else.
const HEAVY_BYTES: usize = 128 << 10;
/// Such requests at a time: each may hold many times its body while it is parsed.
const HEAVY_REQUESTS: usize = 2;

/// Answers from here on are work enough for one turn.
const LARGE_ANSWER_BYTES: u64 = 32 << 10;

/// Everything a connection needs.
pub struct Edge {
    /// The node behind this port.
    pub node: Node,
    /// DynamoDB's operations.
    pub dynamodb: dynamodb::DynamoDb,
    /// Draws request ids.
    pub ids: crate::request_id::RequestIds,
    /// Connections at a time; those beyond are closed at once, so that the node keeps file handles for its data.
    pub max_connections: usize,
}

type Body_ = http_body_util::combinators::UnsyncBoxBody<Bytes, tonic::Status>;

/// What all connections share.
struct Shared {
    edge: Edge,
    grpc: kv::grpc::Service,
    buckets: BucketCoordinator,
    budget: Budget,
    heavy: Semaphore,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// Serves connections until `stop`, then lets those in flight finish (at most 5 s).
pub async fn serve(listener: TcpListener, edge: Edge, stop: CancellationToken) {
    let Some(buckets) = edge.node.buckets().cloned() else {
        tracing::error!("the node has no bucket data yet: nothing is served");
        return;
    };
    let slots = Arc::new(Semaphore::new(edge.max_connections.max(1)));
    let graceful = GracefulShutdown::new();
    let shared = Arc::new(Shared {
        grpc: kv::grpc::service(Arc::new(buckets.clone())),
        buckets,
        budget: Budget::default(),
        heavy: Semaphore::new(HEAVY_REQUESTS),
        http1: http1(),
        http2: http2(),
        edge,
    });
    loop {
        let stream = tokio::select! {
            biased;
            _ = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: without a pause this would spin.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::debug!("a connection more than may be: closed");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(shared, stream, watcher).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(slot);
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
}

fn http1() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        // A client that has said all and closed its side still gets its answer.
        .half_close(true)
        .keep_alive(true);
    http
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .max_concurrent_streams(HTTP2_STREAMS)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    http
}

/// Serves one connection to its end.
async fn converse(
    shared: Arc<Shared>,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), hyper::Error> {
    let Some(protocol) = stream::protocol(&stream, HEADER_TIMEOUT).await else { return Ok(()) };
    let io = TokioIo::new(Impatient::new(stream));
    let serving = shared.clone();
    let service = service_fn(move |request| {
        let shared = serving.clone();
        async move { Ok::<_, Infallible>(route(&shared, request).await) }
    });
    match protocol {
        Protocol::Http1 => watcher.watch(shared.http1.serve_connection(io, service)).await,
        Protocol::Http2 => watcher.watch(shared.http2.serve_connection(io, service)).await,
    }
}

async fn route(shared: &Shared, request: Request<Incoming>) -> Response<Body_> {
    let edge = &shared.edge;
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        // A signature would cover the body, which comes in a stream: gRPC has the key itself only.
        return match edge.dynamodb.keys().verify_basic(request.headers()) {
            Ok(()) => kv::grpc::call(shared.grpc.clone(), request).await,
            Err(error) => {
                // Some clients take a stream that ends before they have sent theirs for a failure of the connection.
                let _ = shared.budget.read(request.into_body(), MAX_BODY_BYTES).await;
                kv::grpc::unauthenticated(&error.message)
            }
        };
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let dynamodb = path == "/" || parts.headers.contains_key("x-amz-target");
    if dynamodb && header_bytes(&parts) > MAX_DYNAMODB_HEADER_BYTES {
        return full(dynamodb::headers_refused());
    }
    let max_bytes = if dynamodb { limits::MAX_BODY_BYTES } else { MAX_BODY_BYTES };
    let body = match shared.budget.read(body, max_bytes).await {
        Ok(body) => body,
        Err(problem) if dynamodb => return full(edge.dynamodb.body_refused(problem, &edge.ids)),
        Err(problem) => return full(problem.into_plain()),
    };
    let heavy =
        dynamodb && (body.bytes.len() > HEAVY_BYTES || parts.headers.contains_key(header::CONTENT_ENCODING));
    let request = Request::from_parts(parts, body.bytes.clone());
    let response = if heavy {
        apart(shared, answer(shared, dynamodb, request)).await
    } else {
        answer(shared, dynamodb, request).await
    };
    if response.body().size_hint().lower() > LARGE_ANSWER_BYTES {
        // hyper goes on with the connection's next request at once, up to sixteen times: the others get their turn first.
        tokio::task::yield_now().await;
    }
    full(response)
}

/// What the headers take in a request of HTTP/1, bytes.
fn header_bytes(parts: &request::Parts) -> usize {
    parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Runs a request that may take long to unpack and parse where it does not hold up others: the thread hands its other tasks away first.
async fn apart<T>(shared: &Shared, work: impl Future<Output = T>) -> T {
    let _turn = shared.heavy.acquire().await;
    let runtime = Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(work)),
        _ => work.await,
    }
}

async fn answer(shared: &Shared, dynamodb: bool, request: Request<Bytes>) -> Response<Full<Bytes>> {
    let edge = &shared.edge;
    if dynamodb {
        return match *request.method() {
            Method::POST if sts::is_query(request.headers()) => {
                edge.dynamodb.identify(&request, edge.node.wall_ms(), &edge.ids)
            }
            Method::POST => edge.dynamodb.handle(&edge.node, &edge.ids, request).await,
            Method::OPTIONS => dynamodb::preflight(request.headers()),
            Method::GET | Method::HEAD => dynamodb::health(&edge.dynamodb, &edge.ids),
            _ => dynamodb::no_such_method(&edge.ids),
        };
    }
    let path = request.uri().path();
    let kv = path == "/kv" || path.starts_with("/kv/");
    if !admin::is_open(path)
        && let Err(error) = edge.dynamodb.keys().verify_any(&request, edge.node.wall_ms())
    {
        return auth::refusal(&error);
    }
    if kv {
        kv::http::handle(&shared.buckets, request).await
    } else {
        admin::handle(&edge.node, request).await
    }
}

fn full(response: Response<Full<Bytes>>) -> Response<Body_> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

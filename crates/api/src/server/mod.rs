//! The client port: one listener for DynamoDB's protocol, buckets over HTTP and gRPC, health and administration.
//!
//! Called by the binary. `stream` tells protocols apart and gives up clients that do not read, `body` reads bodies within limits; here
//! connections are accepted, requests authenticated and handed to their face. It must never let one client's request take what others
//! need: memory, threads, file handles.

mod body;
mod origin;
mod stream;

pub use origin::{Doorkeeper, Origins};

pub use body::{BodyProblem, MAX_BODY_BYTES};

use crate::{admin, auth, dynamodb, kv, sts};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use stream::{Impatient, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use torc_coordinator::bucket::BucketCoordinator;
use torc_coordinator::node::Node;
use torc_coordinator::request::{ByteBudget, Lane, RequestContext, Share};
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
/// Bodies from this size on are unpacked, parsed and served on threads of their own, so that they do not
/// delay other requests.
const HEAVY_BYTES: usize = 128 << 10;
/// Threads that do such work at a time.
const HEAVY_REQUESTS: usize = 2;

/// How much more than its text a large JSON body takes while it is parsed and served.
const PARSED_FACTOR: usize = 2;
/// What a packed body may become at most, for each of its bytes: deflate packs no better.
const UNPACKED_FACTOR: usize = 1032;

/// Answers from here on are work enough for one turn, and counted until they are sent.
const LARGE_ANSWER_BYTES: usize = 32 << 10;

/// How long a request may take once its body is here: waiting for memory, for turns and for other nodes. No SDK waits longer than 30 s by
/// default, and a body may have waited for memory before.
const REQUEST_TIME: Duration = Duration::from_secs(12);

/// How long a request waits for the node to start before it is refused.
const START_WAIT: Duration = Duration::from_secs(10);

/// Everything a connection needs.
pub struct Edge {
    /// The node behind this port; `None` until its data is open. The port is served from before that on: `/health` and `/ready` always
    /// have an answer.
    pub node: watch::Receiver<Option<Node>>,
    /// Who may come in by browser.
    pub door: Doorkeeper,
    /// DynamoDB's operations.
    pub dynamodb: dynamodb::DynamoDb,
    /// What all requests may hold in memory together.
    pub budget: ByteBudget,
    /// Draws request ids.
    pub ids: crate::request_id::RequestIds,
    /// Connections at a time; those beyond are closed at once, so that the node keeps file handles for its data.
    pub max_connections: usize,
}

type Body_ = http_body_util::combinators::UnsyncBoxBody<Bytes, tonic::Status>;

/// A node that serves, and its faces.
struct Faces {
    node: Node,
    grpc: kv::grpc::Service,
    buckets: BucketCoordinator,
}

/// What all connections share.
struct Shared {
    edge: Edge,
    faces: OnceLock<Faces>,
    heavy: Semaphore,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// Serves connections until `stop`, then lets those in flight finish (at most 5 s).
pub async fn serve(listener: TcpListener, edge: Edge, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(edge.max_connections.max(1)));
    let graceful = GracefulShutdown::new();
    let shared = Arc::new(Shared {
        faces: OnceLock::new(),
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
        // A client that has sent its request and closed its side still gets its answer.
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

impl Shared {
    /// The node's faces, once it serves. Requests that come while it starts wait a little.
    async fn faces(&self) -> Option<&Faces> {
        if let Some(faces) = self.faces.get() {
            return Some(faces);
        }
        let started = async {
            let mut node = self.edge.node.clone();
            let node = node.wait_for(Option::is_some).await.ok()?.clone()?;
            node.started().await;
            let buckets = node.buckets()?.clone();
            Some(Faces { grpc: kv::grpc::service(Arc::new(buckets.clone())), buckets, node })
        };
        let faces = tokio::time::timeout(START_WAIT, started).await.ok()??;
        Some(self.faces.get_or_init(|| faces))
    }
}

/// Answers a request, or refuses it before anything of it is read.
async fn route(shared: &Shared, request: Request<Incoming>) -> Response<Body_> {
    let edge = &shared.edge;
    // A target names an operation of DynamoDB, whatever the path.
    let probed = if request.headers().contains_key("x-amz-target") {
        None
    } else {
        let node = edge.node.borrow();
        admin::probe(node.as_ref(), request.method(), request.uri().path())
    };
    if let Some(answer) = probed {
        return full(answer);
    }
    let granted = match edge.door.check(&request) {
        Ok(granted) => granted,
        Err(origin::Refused(why)) if is_dynamodb(&request) => {
            return full(edge.dynamodb.not_admitted(&why, &edge.ids));
        }
        Err(origin::Refused(why)) => return full(admin::refusal(StatusCode::FORBIDDEN, &why)),
    };
    let mut response = match shared.faces().await {
        Some(faces) => serve_request(shared, faces, request).await,
        None if is_dynamodb(&request) => full(edge.dynamodb.not_started(NOT_STARTED, &edge.ids)),
        None => full(admin::refusal(StatusCode::SERVICE_UNAVAILABLE, NOT_STARTED)),
    };
    if let Some(origin) = granted {
        origin::grant(response.headers_mut(), origin);
    }
    response
}

const NOT_STARTED: &str = "this node is starting; GET /ready says what it waits for";

fn is_dynamodb<B>(request: &Request<B>) -> bool {
    request.uri().path() == "/" || request.headers().contains_key("x-amz-target")
}

async fn serve_request(shared: &Shared, faces: &Faces, request: Request<Incoming>) -> Response<Body_> {
    let edge = &shared.edge;
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        // A signature would cover the body, which comes in a stream: gRPC has the key itself only.
        return match edge.dynamodb.keys().verify_basic(request.headers()) {
            Ok(()) => kv::grpc::call(faces.grpc.clone(), request).await,
            Err(error) => {
                // Some clients take a stream that ends before they have sent theirs for a failure of the connection.
                body::refuse(request.into_body()).await;
                kv::grpc::unauthenticated(&error.message)
            }
        };
    }
    let dynamodb = is_dynamodb(&request);
    if dynamodb && header_bytes(request.headers()) > MAX_DYNAMODB_HEADER_BYTES {
        return full(dynamodb::headers_refused());
    }
    let posted = dynamodb && request.method() == Method::POST && !sts::is_query(request.headers());
    if posted && let Err(error) = edge.dynamodb.precheck(&request, faces.node.wall_ms()) {
        let answer = edge.dynamodb.refused(&error, request.headers(), &edge.ids.next());
        body::refuse(request.into_body()).await;
        return full(answer);
    }
    let (parts, body) = request.into_parts();
    let max_bytes = if dynamodb { limits::MAX_BODY_BYTES } else { MAX_BODY_BYTES };
    let held = match body::read(&edge.budget, body, max_bytes).await {
        Ok(held) => held,
        Err(problem) if dynamodb => return full(edge.dynamodb.body_refused(problem, &edge.ids)),
        Err(problem) => return full(problem.into_plain()),
    };
    let mut context =
        RequestContext::new(edge.ids.next(), Instant::now() + REQUEST_TIME, edge.budget.clone());
    held.share.into_iter().for_each(|share| context.keep(share));
    let packed = parts.headers.contains_key(header::CONTENT_ENCODING);
    let heavy = dynamodb && (held.bytes.len() > HEAVY_BYTES || packed);
    let work = if packed { (held.bytes.len() * UNPACKED_FACTOR).min(max_bytes) } else { held.bytes.len() };
    let request = Request::from_parts(parts, held.bytes);
    let response = if heavy {
        if let Err(exhausted) = context.work(work * PARSED_FACTOR).await {
            return full(edge.dynamodb.body_refused(exhausted.into(), &edge.ids));
        }
        apart(&shared.heavy, answer(shared, faces, dynamodb, request, &mut context)).await
    } else {
        answer(shared, faces, dynamodb, request, &mut context).await
    };
    send(shared, response, context).await
}

/// Hands an answer to its connection. A large one is counted until the last of its bytes is written to the socket.
async fn send(shared: &Shared, response: Response<Full<Bytes>>, context: RequestContext) -> Response<Body_> {
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    if bytes <= LARGE_ANSWER_BYTES {
        return full(response);
    }
    // hyper goes on with the connection's next request at once, up to sixteen times: the others get their turn first.
    tokio::task::yield_now().await;
    let deadline = context.deadline;
    let share = match context.into_answer() {
        Some(mut share) => {
            share.shrink_to(bytes);
            Some(share)
        }
        // Nobody refuses an answer that is made, perhaps of a write that is done: past the deadline it is sent uncounted.
        None => shared.edge.budget.take(Lane::Work, bytes, deadline).await.ok(),
    };
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let counted = Bytes::from_owner(Counted { bytes, _share: share });
    full(Response::from_parts(parts, Full::new(counted)))
}

/// An answer, and its share of memory for as long as any of its bytes is still to be written.
struct Counted {
    bytes: Bytes,
    _share: Option<Share>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the headers take in a request of HTTP/1, bytes.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Runs work that may take long to unpack and parse where it does not hold up others. The thread hands its other tasks away first, and at
/// most [`HEAVY_REQUESTS`] threads do such work at a time. Work that waits, for a replica that is down say, holds no thread and no turn.
async fn apart<T>(turns: &Semaphore, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        let turn = turns.acquire().await;
        let step = poll_fn(|cx| Poll::Ready(blocking(|| work.as_mut().poll(cx)))).await;
        drop(turn);
        if let Poll::Ready(done) = step {
            return done;
        }
        // Until what the work waits for wakes this task.
        let mut woken = false;
        poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

async fn answer(
    shared: &Shared,
    faces: &Faces,
    dynamodb: bool,
    request: Request<Bytes>,
    context: &mut RequestContext,
) -> Response<Full<Bytes>> {
    let edge = &shared.edge;
    let node = &faces.node;
    if dynamodb {
        return match *request.method() {
            Method::POST if sts::is_query(request.headers()) => {
                edge.dynamodb.identify(&request, node.wall_ms(), &edge.ids)
            }
            Method::POST => edge.dynamodb.handle(node, context, request).await,
            Method::OPTIONS => dynamodb::preflight(request.headers()),
            Method::GET | Method::HEAD => dynamodb::health(&edge.dynamodb, &edge.ids),
            _ => dynamodb::no_such_method(&edge.ids),
        };
    }
    let path = request.uri().path();
    let kv = path == "/kv" || path.starts_with("/kv/");
    if let Err(error) = edge.dynamodb.keys().verify_any(&request, node.wall_ms()) {
        return auth::refusal(&error);
    }
    if kv { kv::http::handle(&faces.buckets, request).await } else { admin::handle(node, request).await }
}

fn full(response: Response<Full<Bytes>>) -> Response<Body_> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_holds_no_turn() {
        let turns = Arc::new(Semaphore::new(HEAVY_REQUESTS));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { apart(&turns, std::future::pending::<()>()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let slept = apart(&turns, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
            7
        });
        assert_eq!(tokio::time::timeout(Duration::from_secs(2), slept).await, Ok(7));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

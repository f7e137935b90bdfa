//! The client port: one listener for DynamoDB's protocol, buckets over HTTP and gRPC, health and administration.

use crate::{admin, dynamodb, kv};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use torc_coordinator::bucket::BucketCoordinator;
use torc_coordinator::node::Node;

/// Largest body of any request, bytes: DynamoDB's own bound of 16 MiB for a batch, with room for JSON's overhead.
pub const MAX_BODY_BYTES: usize = 24 << 20;
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest header block, bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Everything a connection needs.
pub struct Edge {
    /// The node behind this port.
    pub node: Node,
    /// DynamoDB's operations.
    pub dynamodb: dynamodb::DynamoDb,
    /// Draws request ids.
    pub ids: crate::request_id::RequestIds,
}

type Body_ = http_body_util::combinators::UnsyncBoxBody<Bytes, tonic::Status>;

/// Serves connections until `stop`, then lets those in flight finish (at most 5 s).
pub async fn serve(listener: TcpListener, edge: Arc<Edge>, stop: CancellationToken) {
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let Some(buckets) = edge.node.buckets().cloned() else {
        tracing::error!("the node has no bucket data yet: nothing is served");
        return;
    };
    let grpc = kv::grpc::service(Arc::new(buckets.clone()));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES.max(128 << 10))
        .keep_alive(true);
    http.http2().timer(TokioTimer::new()).max_header_list_size(MAX_HEADER_BYTES as u32);
    let http = Arc::new(http);
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
        let _ = stream.set_nodelay(true);
        let edge = edge.clone();
        let grpc = grpc.clone();
        let buckets = buckets.clone();
        let http = http.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let edge = edge.clone();
                let grpc = grpc.clone();
                let buckets = buckets.clone();
                async move { Ok::<_, Infallible>(route(edge, grpc, buckets, request).await) }
            });
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
}

async fn route(
    edge: Arc<Edge>,
    grpc: kv::grpc::Service,
    buckets: BucketCoordinator,
    request: Request<Incoming>,
) -> Response<Body_> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return kv::grpc::call(grpc, request).await;
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let dynamodb = path == "/" || parts.headers.contains_key("x-amz-target");
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) if dynamodb => return full(edge.dynamodb.body_refused(problem, &edge.ids)),
        Err(problem) => return full(problem.into_plain()),
    };
    let request = Request::from_parts(parts, body);
    full(if dynamodb {
        match *request.method() {
            Method::POST => edge.dynamodb.handle(&edge.node, &edge.ids, request).await,
            Method::OPTIONS => dynamodb::preflight(request.headers()),
            Method::GET | Method::HEAD => dynamodb::health(&edge.dynamodb, &edge.ids),
            _ => dynamodb::no_such_method(&edge.ids),
        }
    } else if request.uri().path().starts_with("/kv/") || request.uri().path() == "/kv" {
        kv::http::handle(&buckets, request).await
    } else {
        admin::handle(&edge.node, request).await
    })
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProblem {
    /// More than [`MAX_BODY_BYTES`].
    TooLarge,
    /// The client was too slow, or went away.
    Incomplete,
    /// It is packed in a way that is not known, or damaged.
    Encoding,
}

impl BodyProblem {
    fn into_plain(self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body is not valid gzip"),
            Self::Incomplete => (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in full"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, BodyProblem> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyProblem::TooLarge);
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(BodyProblem::TooLarge),
        Ok(Err(_)) | Err(_) => Err(BodyProblem::Incomplete),
    }
}

fn full(response: Response<Full<Bytes>>) -> Response<Body_> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

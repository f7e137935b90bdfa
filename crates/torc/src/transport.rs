//! The network between nodes: for each peer and connection class, one gRPC stream of frames in each direction.
//!
//! Frames are queued without blocking. Each queue is bounded in bytes; a full one, or one towards a peer that is not connected, drops
//! them, as the protocols above expect of a network. Layout of the stream: docs/protocols/link.md.

use bytes::{Buf, BufMut, Bytes};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};
use torc_coordinator::ports::{Class, Transport};

/// Frames handed to a connection and not yet sent. Frames are cut at a few MiB, so this bounds the bytes too.
const FEED_FRAMES: usize = 4;
/// Largest frame accepted from the network, bytes. Senders cut frames far below; only one entry or answer that is larger by itself
/// comes near.
const MAX_FRAME_BYTES: usize = 64 << 20;
const MIN_RECONNECT: Duration = Duration::from_millis(20);
const MAX_RECONNECT: Duration = Duration::from_millis(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const PATH: &str = "/torc.v1.Link/Frames";
const CLASS_HEADER: &str = "torc-class";

/// Bytes that may wait for one peer and class; more are dropped. Requests are held back by their senders well before this.
fn queue_bytes(class: Class) -> usize {
    match class {
        Class::Liveness => 4 << 20,
        Class::Consensus | Class::Bulk => 32 << 20,
        Class::Requests => 128 << 20,
    }
}

/// Frames on their way to one peer in one class.
#[derive(Clone)]
struct Queue {
    frames: mpsc::UnboundedSender<Bytes>,
    bytes: Arc<AtomicUsize>,
}

/// Takes frames that arrive and hears of connections that break.
pub trait Inbound: Send + Sync + 'static {
    /// A frame came in.
    fn deliver(&self, class: Class, frame: Bytes);
    /// Waits until the node can take in another frame of this class. Until then the sender is held back by its connection's window.
    fn has_room(&self, class: Class) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// The connection to `addr` broke: what was on its way may or may not have arrived.
    fn disconnected(&self, addr: &str);
}

/// Addresses whose connection for requests is down. Almost always empty.
#[derive(Default)]
struct Broken(RwLock<BTreeSet<String>>);

impl Broken {
    fn contains(&self, addr: &str) -> bool {
        self.0.read().contains(addr)
    }

    fn note(&self, addr: &str, class: Class, broken: bool) {
        if class != Class::Requests || self.contains(addr) == broken {
            return;
        }
        let mut addrs = self.0.write();
        if broken {
            addrs.insert(addr.to_owned());
        } else {
            addrs.remove(addr);
        }
    }
}

/// Sends frames over gRPC streams, connecting on first use and again after a failure.
pub struct GrpcTransport {
    queues: Mutex<BTreeMap<String, BTreeMap<Class, Queue>>>,
    broken: Arc<Broken>,
    inbound: std::sync::OnceLock<Arc<dyn Inbound>>,
    runtime: tokio::runtime::Handle,
}

impl GrpcTransport {
    /// A transport whose connections live on `runtime`.
    pub fn new(runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            broken: Arc::default(),
            inbound: std::sync::OnceLock::new(),
            runtime,
        })
    }

    /// Says who is told of broken connections. Once, before the first frame.
    pub fn set_inbound(&self, inbound: Arc<dyn Inbound>) {
        let _ = self.inbound.set(inbound);
    }

    fn connect(&self, addr: &str, class: Class) -> Queue {
        let (frames, receiver) = mpsc::unbounded_channel();
        let queue = Queue { frames, bytes: Arc::default() };
        let waiting = Waiting { frames: receiver, bytes: queue.bytes.clone() };
        let inbound = self.inbound.get().cloned();
        self.runtime.spawn(link(addr.to_string(), class, waiting, inbound, self.broken.clone()));
        queue
    }
}

impl Transport for GrpcTransport {
    fn send(&self, addr: &str, class: Class, frame: Bytes) {
        let mut queues = self.queues.lock();
        if !queues.contains_key(addr) {
            queues.insert(addr.to_string(), BTreeMap::new());
        }
        let Some(peer) = queues.get_mut(addr) else { return };
        let queue = peer.entry(class).or_insert_with(|| self.connect(addr, class));
        // The peer does not keep up: the frame is lost, as on a network.
        if queue.bytes.load(Ordering::Relaxed) < queue_bytes(class) {
            queue.bytes.fetch_add(frame.len(), Ordering::Relaxed);
            let _ = queue.frames.send(frame);
        }
    }

    fn backlog(&self, addr: &str, class: Class) -> usize {
        let queues = self.queues.lock();
        queues.get(addr).and_then(|p| p.get(&class)).map_or(0, |q| q.bytes.load(Ordering::Relaxed))
    }

    fn is_broken(&self, addr: &str) -> bool {
        self.broken.contains(addr)
    }
}

/// The receiving end of a [`Queue`].
struct Waiting {
    frames: mpsc::UnboundedReceiver<Bytes>,
    bytes: Arc<AtomicUsize>,
}

impl Waiting {
    async fn next(&mut self) -> Option<Bytes> {
        let frame = self.frames.recv().await?;
        self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }

    fn clear(&mut self) {
        while let Ok(frame) = self.frames.try_recv() {
            self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
    }
}

/// Keeps one stream to one peer open and feeds it.
async fn link(
    addr: String,
    class: Class,
    mut queue: Waiting,
    inbound: Option<Arc<dyn Inbound>>,
    broken: Arc<Broken>,
) {
    let mut pause = MIN_RECONNECT;
    loop {
        let connected = open(&addr, class).await;
        match connected {
            Ok((feed, ended)) => {
                pause = MIN_RECONNECT;
                broken.note(&addr, class, false);
                pump(&mut queue, feed, ended).await;
                // Before anybody is told: a request made after that must find it broken.
                broken.note(&addr, class, true);
                // Requests travel in this class alone: what breaks another class says nothing of their fate.
                if let Some(inbound) = inbound.as_ref().filter(|_| class == Class::Requests) {
                    inbound.disconnected(&addr);
                }
                if queue.frames.is_closed() {
                    return;
                }
                tracing::info!(%addr, ?class, "a link to another node ended");
            }
            Err(error) => {
                broken.note(&addr, class, true);
                tracing::debug!(%addr, ?class, %error, "can't connect");
            }
        }
        // What was queued while nobody was there is old news: protocols above have timed out and will repeat it.
        queue.clear();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_RECONNECT);
    }
}

type Ended = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

async fn open(addr: &str, class: Class) -> anyhow::Result<(mpsc::Sender<Bytes>, Ended)> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await?;
    let (feed, frames) = mpsc::channel(FEED_FRAMES);
    let mut request = Request::new(ReceiverStream::new(frames));
    request.metadata_mut().insert(CLASS_HEADER, class_name(class).parse()?);
    let mut client = tonic::client::Grpc::new(channel);
    let ended: Ended = Box::pin(async move {
        client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        client
            .client_streaming(request, PathAndQuery::from_static(PATH), RawCodec)
            .await
            .map(|_: Response<Bytes>| ())
    });
    Ok((feed, ended))
}

/// Moves frames from the queue into the stream until either ends.
async fn pump(queue: &mut Waiting, feed: mpsc::Sender<Bytes>, mut ended: Ended) {
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => return,
            frame = queue.next() => match frame {
                Some(frame) => {
                    tokio::select! {
                        biased;
                        _ = &mut ended => return,
                        sent = feed.send(frame) => if sent.is_err() { return },
                    }
                }
                None => return,
            },
        }
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Liveness => "liveness",
        Class::Consensus => "consensus",
        Class::Requests => "requests",
        Class::Bulk => "bulk",
    }
}

fn class_of(name: &str) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class_name(*class) == name)
}

/// The receiving side: a gRPC service that hands every frame to the node.
#[derive(Clone)]
pub struct LinkService {
    inbound: Arc<dyn Inbound>,
}

impl LinkService {
    /// A service for one node.
    pub fn new(inbound: Arc<dyn Inbound>) -> Self {
        Self { inbound }
    }
}

impl tonic::server::NamedService for LinkService {
    const NAME: &'static str = "torc.v1.Link";
}

impl<B> tonic::codegen::Service<http::Request<B>> for LinkService
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
    B::Data: Buf + Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let receive = Receive { inbound: self.inbound.clone() };
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("this port speaks Torc's own node protocol").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(RawCodec).max_decoding_message_size(MAX_FRAME_BYTES);
            Ok(grpc.client_streaming(receive, request).await)
        })
    }
}

struct Receive {
    inbound: Arc<dyn Inbound>,
}

impl tonic::server::ClientStreamingService<Bytes> for Receive {
    type Response = Bytes;
    type Future = tonic::codegen::BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let inbound = self.inbound.clone();
        Box::pin(async move {
            let class = request.metadata().get(CLASS_HEADER).and_then(|v| v.to_str().ok()).and_then(class_of);
            let Some(class) = class else {
                return Err(Status::invalid_argument("no known connection class"));
            };
            let mut frames = request.into_inner();
            while let Some(frame) = frames.next().await {
                inbound.deliver(class, frame?);
                inbound.has_room(class).await;
            }
            Ok(Response::new(Bytes::new()))
        })
    }
}

/// Frames are encoded before they get here.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

#[cfg(test)]
mod tests;

//! The network between nodes: for each peer and connection class, one gRPC stream of frames in each direction.
//!
//! Frames are queued without blocking. Each queue is bounded in bytes; a full one, or one towards a peer that is not connected, drops
//! them, as the protocols above expect of a network. Before the first frame both sides show that they know the cluster's secret
//! ([`handshake`]). Layout of the stream: docs/protocols/link.md.

pub mod handshake;

use bytes::{Buf, BufMut, Bytes};
use handshake::{Handshake, MAX_MESSAGE_BYTES};
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
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
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
/// How long the peer may take to answer the question of a new connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);
const PATH: &str = "/torc.v1.Link/Frames";
const QUESTION_PATH: &str = "/torc.v1.Link/Question";
const CLASS_HEADER: &str = "torc-class";
const PROOF_HEADER: &str = "torc-proof-bin";

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
    /// A frame of the class for requests was thrown away before any of it was sent.
    fn unsent(&self, frame: Bytes);
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
    handshake: Arc<Handshake>,
    runtime: tokio::runtime::Handle,
}

impl GrpcTransport {
    /// A transport whose connections live on `runtime`.
    pub fn new(runtime: tokio::runtime::Handle, handshake: Arc<Handshake>) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            broken: Arc::default(),
            inbound: std::sync::OnceLock::new(),
            handshake,
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
        let link = Link {
            addr: addr.to_string(),
            class,
            inbound,
            broken: self.broken.clone(),
            handshake: self.handshake.clone(),
        };
        self.runtime.spawn(link.run(waiting));
        queue
    }
}

impl Transport for GrpcTransport {
    fn send(&self, addr: &str, class: Class, frame: Bytes) {
        {
            let mut queues = self.queues.lock();
            if !queues.contains_key(addr) {
                queues.insert(addr.to_string(), BTreeMap::new());
            }
            let Some(peer) = queues.get_mut(addr) else { return };
            let queue = peer.entry(class).or_insert_with(|| self.connect(addr, class));
            if queue.bytes.load(Ordering::Relaxed) < queue_bytes(class) {
                queue.bytes.fetch_add(frame.len(), Ordering::Relaxed);
                let _ = queue.frames.send(frame);
                return;
            }
        }
        // The peer does not keep up: the frame is lost, as on a network.
        if let Some(inbound) = self.inbound.get().filter(|_| class == Class::Requests) {
            inbound.unsent(frame);
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

    fn take_all(&mut self) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Ok(frame) = self.frames.try_recv() {
            self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            all.push(frame);
        }
        all
    }
}

/// One stream to one peer.
struct Link {
    addr: String,
    class: Class,
    inbound: Option<Arc<dyn Inbound>>,
    broken: Arc<Broken>,
    handshake: Arc<Handshake>,
}

impl Link {
    /// Keeps the stream open and feeds it.
    async fn run(self, mut queue: Waiting) {
        let Self { addr, class, .. } = &self;
        let mut pause = MIN_RECONNECT;
        let mut stranger = false;
        loop {
            match open(addr, *class, &self.handshake).await {
                Ok((feed, ended)) => {
                    pause = MIN_RECONNECT;
                    stranger = false;
                    self.broken.note(addr, *class, false);
                    let why = pump(&mut queue, feed, ended).await;
                    tracing::info!(%addr, ?class, why, "the connection ended");
                    // Before anybody is told: a request made after that must find it broken.
                    self.broken.note(addr, *class, true);
                    self.throw_away(&mut queue);
                    // Requests travel in this class alone: what breaks another class says nothing of their fate.
                    if let Some(inbound) = self.inbound.as_ref().filter(|_| *class == Class::Requests) {
                        inbound.disconnected(addr);
                    }
                    if queue.frames.is_closed() {
                        return;
                    }
                }
                Err(OpenError::Stranger) => {
                    self.broken.note(addr, *class, true);
                    if !std::mem::replace(&mut stranger, true) {
                        tracing::warn!(
                            %addr,
                            ?class,
                            "nothing is sent there: it did not show this cluster's secret (--cluster-secret)"
                        );
                    }
                }
                Err(OpenError::Failed(error)) => {
                    self.broken.note(addr, *class, true);
                    tracing::debug!(%addr, ?class, %error, "can't connect");
                }
            }
            self.throw_away(&mut queue);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RECONNECT);
        }
    }

    /// What was queued while nobody was there is old news: protocols above repeat it. Requests among it certainly did nothing.
    fn throw_away(&self, queue: &mut Waiting) {
        for frame in queue.take_all() {
            if let Some(inbound) = self.inbound.as_ref().filter(|_| self.class == Class::Requests) {
                inbound.unsent(frame);
            }
        }
    }
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    /// Who listens there does not know the cluster's secret. Nothing was sent to it.
    #[error("the peer did not show the cluster's secret")]
    Stranger,
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

type Ended = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

async fn open(
    addr: &str,
    class: Class,
    handshake: &Handshake,
) -> Result<(mpsc::Sender<Bytes>, Ended), OpenError> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(anyhow::Error::from)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await.map_err(anyhow::Error::from)?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let question = handshake.question();
    let asked = async {
        client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        let request = Request::new(Bytes::copy_from_slice(&question));
        client.unary(request, PathAndQuery::from_static(QUESTION_PATH), RawCodec).await
    };
    let answer: Response<Bytes> = timeout(HANDSHAKE_TIMEOUT, asked)
        .await
        .map_err(|_| anyhow::anyhow!("no answer to the question"))?
        .map_err(anyhow::Error::from)?;
    let proof = handshake.open(&question, answer.get_ref(), class_name(class)).ok_or(OpenError::Stranger)?;
    let (feed, frames) = mpsc::channel(FEED_FRAMES);
    let mut request = Request::new(ReceiverStream::new(frames));
    request
        .metadata_mut()
        .insert(CLASS_HEADER, tonic::metadata::AsciiMetadataValue::from_static(class_name(class)));
    request.metadata_mut().insert_bin(PROOF_HEADER, MetadataValue::from_bytes(&proof));
    let ended: Ended = Box::pin(async move {
        client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        client
            .client_streaming(request, PathAndQuery::from_static(PATH), RawCodec)
            .await
            .map(|_: Response<Bytes>| ())
    });
    Ok((feed, ended))
}

/// Moves frames from the queue into the stream until either ends; says why.
async fn pump(queue: &mut Waiting, feed: mpsc::Sender<Bytes>, mut ended: Ended) -> String {
    loop {
        tokio::select! {
            biased;
            end = &mut ended => return reason(end),
            frame = queue.next() => match frame {
                Some(frame) => {
                    tokio::select! {
                        biased;
                        end = &mut ended => return reason(end),
                        sent = feed.send(frame) => if sent.is_err() { return reason(ended.await) },
                    }
                }
                None => return "this node needs it no more".to_owned(),
            },
        }
    }
}

fn reason(end: Result<(), Status>) -> String {
    match end {
        Ok(()) => "closed by the peer".to_owned(),
        Err(status) => status.to_string(),
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

/// The receiving side: a gRPC service that hands every frame of a peer that knows the secret to the node.
#[derive(Clone)]
pub struct LinkService {
    inbound: Arc<dyn Inbound>,
    handshake: Arc<Handshake>,
}

impl LinkService {
    /// A service for one node.
    pub fn new(inbound: Arc<dyn Inbound>, handshake: Arc<Handshake>) -> Self {
        Self { inbound, handshake }
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
        let Self { inbound, handshake } = self.clone();
        Box::pin(async move {
            let grpc = tonic::server::Grpc::new(RawCodec);
            Ok(match request.uri().path() {
                QUESTION_PATH => {
                    let mut grpc = grpc.max_decoding_message_size(MAX_MESSAGE_BYTES);
                    grpc.unary(Answer { handshake }, request).await
                }
                PATH => {
                    let mut grpc = grpc.max_decoding_message_size(MAX_FRAME_BYTES);
                    grpc.client_streaming(Receive { inbound, handshake }, request).await
                }
                _ => Status::unimplemented("this port speaks Torc's own node protocol").into_http(),
            })
        })
    }
}

struct Answer {
    handshake: Arc<Handshake>,
}

impl tonic::server::UnaryService<Bytes> for Answer {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = self.handshake.answer(request.get_ref(), Instant::now());
        std::future::ready(match answer {
            Some(answer) => Ok(Response::new(Bytes::copy_from_slice(&answer))),
            None => Err(Status::invalid_argument("not a question of this version")),
        })
    }
}

struct Receive {
    inbound: Arc<dyn Inbound>,
    handshake: Arc<Handshake>,
}

impl tonic::server::ClientStreamingService<Bytes> for Receive {
    type Response = Bytes;
    type Future = tonic::codegen::BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (inbound, handshake) = (self.inbound.clone(), self.handshake.clone());
        Box::pin(async move {
            let class = request.metadata().get(CLASS_HEADER).and_then(|v| v.to_str().ok()).and_then(class_of);
            let Some(class) = class else {
                return Err(Status::invalid_argument("no known connection class"));
            };
            let proof = request.metadata().get_bin(PROOF_HEADER).and_then(|v| v.to_bytes().ok());
            // Before any frame is read.
            if !proof.is_some_and(|proof| handshake.admits(&proof, class_name(class), Instant::now())) {
                return Err(Status::unauthenticated(
                    "this is a node of a cluster whose secret was not shown",
                ));
            }
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

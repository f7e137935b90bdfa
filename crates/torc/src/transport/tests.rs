//! The transport over real sockets.

use super::handshake::ClusterSecret;
use super::*;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpListener;

/// A node that takes frames, or that has no room for consensus.
#[derive(Default)]
struct Receiver {
    full: AtomicBool,
    frames: Mutex<Vec<(Class, usize)>>,
    arrived: tokio::sync::Notify,
    disconnected: AtomicUsize,
    unsent: Mutex<Vec<Bytes>>,
}

impl Receiver {
    async fn wait_for(&self, class: Class, count: usize) {
        loop {
            let arrived = self.arrived.notified();
            if self.frames.lock().iter().filter(|(c, _)| *c == class).count() >= count {
                return;
            }
            arrived.await;
        }
    }
}

impl Inbound for Receiver {
    fn deliver(&self, class: Class, frame: Bytes) {
        self.frames.lock().push((class, frame.len()));
        self.arrived.notify_one();
    }

    fn has_room(&self, class: Class) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if class == Class::Consensus && self.full.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        })
    }

    fn disconnected(&self, _addr: &str) {
        self.disconnected.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    fn unsent(&self, frame: Bytes) {
        self.unsent.lock().push(frame);
        self.arrived.notify_one();
    }
}

fn handshake(secret: &str, seed: u8) -> Arc<Handshake> {
    Handshake::new(ClusterSecret::parse(secret).unwrap_or_default(), [seed; 32])
}

/// Serves a receiver; returns its address.
async fn serve(receiver: Arc<Receiver>) -> String {
    serve_with(receiver, "").await
}

async fn serve_with(receiver: Arc<Receiver>, secret: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(LinkService::new(receiver, handshake(secret, 1)))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );
    addr
}

fn client() -> (Arc<GrpcTransport>, Arc<Receiver>) {
    client_with("")
}

fn client_with(secret: &str) -> (Arc<GrpcTransport>, Arc<Receiver>) {
    let transport = GrpcTransport::new(tokio::runtime::Handle::current(), handshake(secret, 2));
    let own = Arc::new(Receiver::default());
    transport.set_inbound(own.clone());
    (transport, own)
}

#[tokio::test]
async fn a_receiver_that_is_full_holds_one_class_back_and_no_other() {
    let receiver = Arc::new(Receiver::default());
    receiver.full.store(true, Ordering::Relaxed);
    let addr = serve(receiver.clone()).await;
    let (transport, _own) = client();
    transport.send(&addr, Class::Consensus, Bytes::from_static(b"first"));
    receiver.wait_for(Class::Consensus, 1).await;
    for _ in 0..400 {
        transport.send(&addr, Class::Consensus, Bytes::from(vec![0; 1 << 20]));
        tokio::task::yield_now().await;
    }
    let waiting = transport.backlog(&addr, Class::Consensus);
    assert!(waiting <= queue_bytes(Class::Consensus) + (1 << 20), "{waiting} bytes wait");
    // The other classes do not wait behind it.
    transport.send(&addr, Class::Requests, Bytes::from_static(b"request"));
    transport.send(&addr, Class::Liveness, Bytes::from_static(b"alive"));
    receiver.wait_for(Class::Requests, 1).await;
    receiver.wait_for(Class::Liveness, 1).await;
    assert_eq!(receiver.frames.lock().iter().filter(|(c, _)| *c == Class::Consensus).count(), 1);
    assert_eq!(transport.backlog(&addr, Class::Requests), 0);
}

#[tokio::test]
async fn only_the_break_of_the_class_with_the_requests_ends_calls() {
    let receiver = Arc::new(Receiver::default());
    let addr = serve(receiver.clone()).await;
    let (transport, own) = client();
    // Larger than a receiver accepts: it breaks the stream.
    transport.send(&addr, Class::Bulk, Bytes::from(vec![0; MAX_FRAME_BYTES + 1]));
    transport.send(&addr, Class::Bulk, Bytes::from_static(b"lost with the stream, or sent on the next"));
    transport.send(&addr, Class::Requests, Bytes::from_static(b"request"));
    receiver.wait_for(Class::Requests, 1).await;
    // The class comes back by itself.
    while receiver.frames.lock().iter().all(|(c, _)| *c != Class::Bulk) {
        transport.send(&addr, Class::Bulk, Bytes::from_static(b"again"));
        tokio::task::yield_now().await;
    }
    assert_eq!(
        own.disconnected.load(Ordering::Relaxed),
        0,
        "a break of the bulk class says nothing of requests"
    );
    assert!(!transport.is_broken(&addr));
    transport.send(&addr, Class::Requests, Bytes::from(vec![0; MAX_FRAME_BYTES + 1]));
    while own.disconnected.load(Ordering::Relaxed) == 0 {
        own.arrived.notified().await;
    }
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_neither_heard_nor_told_anything() {
    let secret = "the secret of this cluster";
    let receiver = Arc::new(Receiver::default());
    let addr = serve_with(receiver.clone(), secret).await;
    for other in ["", "the secret of another one"] {
        let (transport, own) = client_with(other);
        transport.send(&addr, Class::Requests, Bytes::from_static(b"let me in"));
        while own.unsent.lock().is_empty() {
            own.arrived.notified().await;
        }
        assert!(transport.is_broken(&addr), "nothing would leave for it");
        assert_eq!(own.disconnected.load(Ordering::Relaxed), 0, "what was not sent has no unknown outcome");
    }
    let (transport, _own) = client_with(secret);
    transport.send(&addr, Class::Requests, Bytes::from_static(b"a node"));
    receiver.wait_for(Class::Requests, 1).await;
    assert_eq!(*receiver.frames.lock(), [(Class::Requests, 6)]);
}

/// One that skips the question, as a stranger would.
#[tokio::test]
async fn frames_without_a_proof_are_refused() {
    let receiver = Arc::new(Receiver::default());
    let addr = serve(receiver.clone()).await;
    let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::iter([Bytes::from_static(b"a frame")]));
    request.metadata_mut().insert(CLASS_HEADER, "requests".parse().unwrap());
    let path = PathAndQuery::from_static(PATH);
    let refused: Result<Response<Bytes>, Status> = client.client_streaming(request, path, RawCodec).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unauthenticated);
    assert!(receiver.frames.lock().is_empty());
}

#[tokio::test]
async fn what_never_left_is_given_back() {
    let (transport, own) = client();
    // A port that nobody listens on: it was given to us and given back.
    let addr = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    transport.send(&addr, Class::Bulk, Bytes::from_static(b"a chunk"));
    transport.send(&addr, Class::Requests, Bytes::from_static(b"a request"));
    while own.unsent.lock().is_empty() {
        own.arrived.notified().await;
    }
    assert_eq!(*own.unsent.lock(), [Bytes::from_static(b"a request")]);
    assert!(transport.is_broken(&addr));
}

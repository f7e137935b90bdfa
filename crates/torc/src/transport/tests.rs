//! The transport over real sockets.

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
}

/// Serves a receiver; returns its address.
async fn serve(receiver: Arc<Receiver>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(LinkService::new(receiver))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );
    addr
}

fn client() -> (Arc<GrpcTransport>, Arc<Receiver>) {
    let transport = GrpcTransport::new(tokio::runtime::Handle::current());
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

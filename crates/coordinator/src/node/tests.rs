//! Deadlines and slow links, on one node over a simulated disk.

use super::*;
use crate::peers::{PeerError, Peers};
use futures::future::BoxFuture;
use prost::Message as _;
use std::path::Path;
use torc_cluster::META_GROUP;
use torc_engine::env::SimEnv;
use torc_engine::{Background, Options};
use torc_wire::peer::{Call, Frame, PeerRequest, PeerResponse, Propose};

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.now().as_millis() as u64
    }
}

/// Nobody is there.
struct NoNetwork;

impl Transport for NoNetwork {
    fn send(&self, _addr: &str, _class: Class, _frame: Bytes) {}
}

struct QuickDisk;

impl DiskPacer for QuickDisk {
    fn next_delay(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

fn engine() -> Engine {
    let options = Options { background: Background::Manual, ..Options::default() };
    Engine::open(Arc::new(SimEnv::new(1)), Path::new("/data"), options).unwrap()
}

/// A cluster of one node.
async fn founder() -> Node {
    let config = NodeConfig {
        addr: "n1:7000".into(),
        api_addr: "n1:8000".into(),
        zone: "a".into(),
        weight: 1,
        join: Vec::new(),
        index_reads: super::IndexReads::default(),
        timing: Timing::default(),
        limits: Limits::default(),
        planted: PlantedBugs::default(),
    };
    let ports = Ports {
        clock: Arc::new(PausedClock(Instant::now())),
        transport: Arc::new(NoNetwork),
        disk: Some(Arc::new(QuickDisk)),
        seed: 7,
        observers: Observers::default(),
    };
    Node::start(config, engine(), ports, |_| {}).await.unwrap()
}

/// A frame of node 2 that asks to have a node registered.
fn registration(node: &Node, call: u64, deadline_ms: u32, uuid: [u8; 16]) -> Bytes {
    let (addr, api_addr) = (format!("n{call}:7000"), format!("n{call}:8000"));
    let command = Command::RegisterNode { addr, api_addr, zone: "b".into(), weight: 1, uuid };
    let propose = Propose { group: META_GROUP.0, epoch: 0, command: command.encode().into() };
    let request = PeerRequest { body: Some(RequestBody::Propose(propose)) };
    let frame = Frame {
        cluster_id: node.topology().cluster_id(),
        from: 2,
        to: node.id().0,
        requests: vec![Call { id: (1 << 40) + call, deadline_ms, request: Some(request) }],
        ..Frame::default()
    };
    frame.encode_to_vec().into()
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_has_given_up_is_not_begun() {
    let node = founder().await;
    let late = registration(&node, 1, 3, [1; 16]);
    node.deliver(Class::Requests, late);
    // The store loop is busy with other things for longer than the caller waits.
    tokio::time::advance(Duration::from_millis(5)).await;
    let in_time = registration(&node, 2, 1_000, [2; 16]);
    node.deliver(Class::Requests, in_time);
    sleep(Duration::from_secs(1)).await;
    assert!(node.topology().node_by_uuid(&[2; 16]).is_some(), "the one in time is done");
    assert!(node.topology().node_by_uuid(&[1; 16]).is_none(), "the late one is not");
    assert_eq!(node.expired_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_calls_of_one_request_end_by_its_deadline() {
    let node = founder().await;
    let request = node.tables().within(tokio::time::Instant::now() + super::OPERATION_DEADLINE);
    assert!(matches!(request.lookup("nothing").await, Ok(None)));
    sleep(OPERATION_DEADLINE / 2).await;
    assert!(matches!(request.lookup("nothing").await, Ok(None)));
    sleep(OPERATION_DEADLINE / 2).await;
    assert!(request.lookup("nothing").await.is_err(), "its time is over");
    assert!(
        matches!(
            node.tables()
                .within(tokio::time::Instant::now() + super::OPERATION_DEADLINE)
                .lookup("nothing")
                .await,
            Ok(None)
        ),
        "another's is not"
    );
}

/// A peer that answers with a topology, 300 ms away, whose round trip was never measured.
struct Distant(Arc<Topology>);

impl Peers for Distant {
    fn local(&self) -> NodeId {
        NodeId(2)
    }

    fn call(
        &self,
        to: NodeId,
        _request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
        Box::pin(async move {
            let answer = async {
                sleep(Duration::from_millis(600)).await;
                PeerResponse { body: Some(ResponseBody::Topology(topology::reply(&self.0, 0))) }
            };
            tokio::time::timeout(deadline, answer).await.map_err(|_| PeerError::Timeout(to))
        })
    }

    fn is_alive(&self, _node: NodeId) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_topology_is_fetched_over_a_slow_link() {
    let node = founder().await;
    let known = Arc::new(TopologyCell::load(&engine()).unwrap());
    let peers = Arc::new(Distant(node.topology()));
    let map = Arc::new(NodeMap { node: std::sync::Weak::new() });
    let router = Arc::new(Router::new(peers.clone(), map, TRY_TIMEOUT));
    Meta::new(peers, router, known.clone()).fetch_from(NodeId(1)).await;
    assert_eq!(known.epoch(), node.topology().epoch());
    assert!(known.epoch() > Epoch(0));
}

//! The cost of a proposal: three stores in one thread, every message delivered at once, disks in memory. Not
//! a test: `cargo test --release -p torc-replica --test store throughput -- --ignored --nocapture`.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use torc_cluster::{GroupId, NodeId};
use torc_engine::env::SimEnv;
use torc_engine::{Background, Engine, Options, WriteBatch};
use torc_replica::store::{
    Config, EvalCtx, Evaluation, GroupSpec, Input, KeyRange, Machine, Outputs, ProposeError, Store,
};

struct Puts;

impl Machine for Puts {
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError> {
        let (key, value) = command.split_at(16);
        let _old = context.get(key)?;
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        Ok(Evaluation { batch: Some(batch), response: Bytes::new() })
    }
}

struct Peer {
    store: Store,
    engine: Engine,
    durable: Arc<Mutex<u64>>,
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)]
fn throughput() {
    for clients in [1usize, 16, 64, 256] {
        measure(clients, 900, 20_000);
    }
}

#[allow(clippy::disallowed_methods)]
fn measure(clients: usize, value_bytes: usize, proposals: u64) {
    let group = GroupId(16);
    let members: Vec<NodeId> = (1..=3).map(NodeId).collect();
    let mut peers: BTreeMap<NodeId, Peer> = BTreeMap::new();
    for id in &members {
        let options = Options { background: Background::Manual, ..Options::default() };
        let engine = Engine::open(Arc::new(SimEnv::new(id.0)), Path::new("/data"), options).unwrap();
        let durable = Arc::new(Mutex::new(0));
        let listener = durable.clone();
        engine.log().on_durable(Arc::new(move |lsn| *listener.lock().unwrap() = lsn.unwrap()));
        let mut store = Store::new(Config::new(*id, 1, true, id.0), engine.clone(), Duration::ZERO);
        store.push(Input::CreateGroup(Box::new(GroupSpec {
            group,
            machine: Box::new(Puts),
            ranges: vec![KeyRange { start: Bytes::from_static(&[0x20]), end: Bytes::from_static(&[0x7f]) }],
            initial: members.clone(),
            replicas: members.clone(),
        })));
        peers.insert(*id, Peer { store, engine, durable });
    }
    let mut now = 0u64;
    let mut token = 0u64;
    let mut done = 0u64;
    let mut in_flight = 0usize;
    let mut begin = None;
    let mut turns = 0u64;
    while done < proposals {
        now += 1;
        let led = peers[&NodeId(1)].store.views().get(&group).is_some_and(|v| v.lease_until_ms() > 0);
        if led && begin.is_none() {
            begin = Some(std::time::Instant::now());
        }
        while led && in_flight < clients {
            token += 1;
            in_flight += 1;
            let mut command = format!("k{:015}", token.wrapping_mul(7919) % 100_000).into_bytes();
            command.resize(16 + value_bytes, 7);
            peers.get_mut(&NodeId(1)).unwrap().store.push(Input::Propose {
                group,
                command: command.into(),
                token,
            });
        }
        for id in &members {
            let peer = peers.get_mut(id).unwrap();
            peer.store.push(Input::Tick);
            let outputs: Outputs = peer.store.turn(Duration::from_millis(now / 10)).unwrap();
            turns += 1;
            peer.engine.log().sync_step().unwrap();
            let lsn = *peer.durable.lock().unwrap();
            peer.store.push(Input::Persisted(lsn));
            for (_, result) in outputs.replies {
                result.unwrap();
                done += 1;
                in_flight -= 1;
            }
            for (to, _, frame) in outputs.frames {
                use prost::Message as _;
                let frame = torc_wire::raft::RaftFrame::decode(Bytes::from(frame.encode_to_vec())).unwrap();
                peers.get_mut(&to).unwrap().store.push(Input::Frame { from: *id, frame });
            }
        }
    }
    let elapsed = begin.unwrap().elapsed();
    let m = peers[&NodeId(1)].store.metrics();
    println!(
        "{clients} clients: {:.1} us of CPU per proposal on three nodes, {:.1} proposals per entry, {} turns, {} messages",
        elapsed.as_micros() as f64 / proposals as f64,
        m.proposals_evaluated as f64 / m.entries_proposed as f64,
        turns,
        m.messages_sent
    );
}

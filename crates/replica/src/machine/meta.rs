//! The machine of the meta group: the topology as a state machine. Layout of its records:
//! docs/formats/topology.md.

use crate::store::{EvalCtx, Evaluation, KeyRange, Machine, ProposeError};
use bytes::Bytes;
use std::sync::Arc;
use torc_cluster::Epoch;
use torc_cluster::topology::{Change, Command, Response, Topology, TopologyError};
use torc_engine::{Engine, WriteBatch};
use torc_model::key::space;

/// `[META, 0]` → epoch, big-endian.
const EPOCH_KEY: [u8; 2] = [space::META, 0];
/// `[META, 1, change key…]` → record.
const RECORDS: [u8; 2] = [space::META, 1];
const RECORDS_END: [u8; 2] = [space::META, 2];

/// Told of each topology as it is applied on this replica.
pub type Publish = Box<dyn FnMut(Arc<Topology>) + Send>;

/// The machine of a replica whose data is in `engine`.
pub fn machine(engine: Engine, publish: Publish) -> Box<dyn Machine> {
    let mut machine = MetaMachine { engine, publish };
    machine.tell();
    Box::new(machine)
}

/// The engine keys of the meta group.
pub fn ranges() -> Vec<KeyRange> {
    let bound = |byte: &'static [u8]| Bytes::from_static(byte);
    vec![KeyRange { start: bound(&[space::META]), end: bound(&[space::META + 1]) }]
}

struct MetaMachine {
    engine: Engine,
    publish: Publish,
}

impl MetaMachine {
    /// Publishes the stored topology. Topology changes are rare and small, so the records are read back. This
    /// way there is only one path that builds the value.
    ///
    /// It reads from one snapshot. The machine may be created while the store applies entries on another
    /// thread. Without the snapshot, the records of one epoch could be published under the number of the next
    /// epoch.
    fn tell(&mut self) {
        let snapshot = self.engine.snapshot();
        let records = self.engine.scan(&RECORDS, &RECORDS_END, false, Some(&snapshot));
        let values: Result<Vec<Bytes>, _> = records.map(|r| r.map(|item| item.value)).collect();
        let epoch = self.engine.get_at(&EPOCH_KEY, &snapshot);
        let loaded = values
            .and_then(|values| Ok((values, epoch?)))
            .map_err(|e| e.to_string())
            .and_then(|(values, epoch)| build(epoch, &values));
        match loaded {
            Ok(topology) if topology.epoch() == Epoch(0) => {}
            Ok(topology) => (self.publish)(Arc::new(topology)),
            Err(error) => tracing::error!(%error, "the stored topology can't be read"),
        }
    }
}

fn build(epoch: Option<Bytes>, records: &[Bytes]) -> Result<Topology, String> {
    let epoch = match epoch {
        None => return Ok(Topology::default()),
        Some(bytes) => bytes.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| "damaged epoch")?,
    };
    let changes: Result<Vec<Change>, _> = records.iter().map(|r| Change::decode(r)).collect();
    Ok(Topology::from_changes(Epoch(epoch), &changes.map_err(|e| e.to_string())?))
}

impl Machine for MetaMachine {
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError> {
        let invalid = |e: String| ProposeError::Invalid(e);
        let command = Command::decode(command).map_err(|e| invalid(e.to_string()))?;
        let failed =
            |e: torc_engine::Error| ProposeError::Invalid(format!("the stored topology can't be read: {e}"));
        let stored_epoch = context.get(&EPOCH_KEY).map_err(failed)?;
        let records = context.scan(&RECORDS, &RECORDS_END, usize::MAX).map_err(failed)?;
        let values: Vec<Bytes> = records.into_iter().map(|item| item.value).collect();
        let current = build(stored_epoch, &values).map_err(invalid)?;
        let (changes, response) = match current.evaluate(&command) {
            Ok((changes, response)) => (changes, response),
            Err(error) => {
                let outcome = MetaOutcome::refused(current.epoch(), &error);
                return Ok(Evaluation { batch: None, response: outcome.encode() });
            }
        };
        if changes.is_empty() {
            let outcome = MetaOutcome::done(current.epoch(), response);
            return Ok(Evaluation { batch: None, response: outcome.encode() });
        }
        let epoch = Epoch(context.index());
        let mut batch = WriteBatch::new();
        for change in changes {
            let change = change.stamped(epoch);
            let key = [&RECORDS[..], &change.key()].concat();
            if change.is_delete() {
                batch.delete(&key);
            } else {
                batch.put(&key, &change.encode());
            }
        }
        batch.put(&EPOCH_KEY, &epoch.0.to_be_bytes());
        Ok(Evaluation { batch: Some(batch), response: MetaOutcome::done(epoch, response).encode() })
    }

    fn applied(&mut self, _index: u64, _batch: &WriteBatch) {
        self.tell();
    }

    fn restored(&mut self, _engine: &Engine) -> Result<(), torc_engine::Error> {
        self.tell();
        Ok(())
    }

    /// The epoch is the index of the entry, so each change needs one of its own.
    fn joins_entries(&self) -> bool {
        false
    }
}

/// A command that the topology refused, as it travels back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable word of [`TopologyError::code`].
    pub code: String,
    /// For people.
    pub message: String,
}

impl From<&TopologyError> for Refusal {
    fn from(error: &TopologyError) -> Self {
        Self { code: error.code().into(), message: error.to_string() }
    }
}

/// The encoded result of a command: `epoch u64 BE, 0, response` or
/// `epoch u64 BE, 1, length of code u8, code, message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaOutcome {
    epoch: Epoch,
    result: Result<Response, Refusal>,
}

impl MetaOutcome {
    fn done(epoch: Epoch, response: Response) -> Self {
        Self { epoch, result: Ok(response) }
    }

    fn refused(epoch: Epoch, error: &TopologyError) -> Self {
        Self { epoch, result: Err(error.into()) }
    }

    /// The epoch at which the answer is visible, and the answer.
    pub fn into_result(self) -> Result<(Epoch, Response), Refusal> {
        self.result.map(|response| (self.epoch, response))
    }

    fn encode(&self) -> Bytes {
        let mut out = self.epoch.0.to_be_bytes().to_vec();
        match &self.result {
            Ok(response) => {
                out.push(0);
                out.extend_from_slice(&response.encode());
            }
            Err(refusal) => {
                out.push(1);
                out.push(refusal.code.len() as u8);
                out.extend_from_slice(refusal.code.as_bytes());
                out.extend_from_slice(refusal.message.as_bytes());
            }
        }
        out.into()
    }

    /// Reads an outcome back.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let malformed = || "malformed outcome".to_string();
        let (epoch, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        let epoch = Epoch(u64::from_be_bytes(*epoch));
        let result = match rest.split_first().ok_or_else(malformed)? {
            (0, body) => Ok(Response::decode(body).map_err(|e| e.to_string())?),
            (1, body) => {
                let (length, body) = body.split_first().ok_or_else(malformed)?;
                let (code, message) = body.split_at_checked(usize::from(*length)).ok_or_else(malformed)?;
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
                Err(Refusal { code: text(code)?, message: text(message)? })
            }
            _ => return Err(malformed()),
        };
        Ok(Self { epoch, result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_travel() {
        let outcomes = [
            MetaOutcome::done(Epoch(7), Response::Done),
            MetaOutcome::refused(Epoch(9), &TopologyError::Exists("music".into())),
        ];
        for outcome in outcomes {
            let bytes = outcome.encode();
            assert_eq!(MetaOutcome::decode(&bytes), Ok(outcome));
            for cut in 0..10 {
                assert!(MetaOutcome::decode(&bytes[..cut]).is_err());
            }
        }
    }

    /// A machine made beside the store's thread once published the tables of one epoch under the number of
    /// the next.
    #[test]
    fn what_is_published_is_of_one_epoch() {
        use parking_lot::Mutex;
        use std::path::Path;
        use std::sync::atomic::{AtomicBool, Ordering};
        use torc_cluster::topology::NodeRecord;
        use torc_cluster::{NodeId, NodeInfo};
        use torc_engine::{Options, env::SimEnv};

        let engine = Engine::open(Arc::new(SimEnv::new(1)), Path::new("/data"), Options::default()).unwrap();
        // In epoch n there are n nodes.
        let epochs = (1..=400u64).map(|n| {
            let info = NodeInfo {
                id: NodeId(n),
                addr: "a".into(),
                api_addr: "b".into(),
                zone: "z".into(),
                weight: 1,
            };
            let change = Change::UpsertNode(NodeRecord { info, uuid: [0; 16] });
            let mut batch = WriteBatch::new();
            batch.put(&[&RECORDS[..], &change.key()].concat(), &change.encode());
            batch.put(&EPOCH_KEY, &n.to_be_bytes());
            batch
        });
        let published = Arc::new(Mutex::new(Vec::new()));
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let published = published.clone();
                    let publish = move |topology: Arc<Topology>| {
                        published.lock().push((topology.epoch().0, topology.nodes().len() as u64));
                    };
                    drop(machine(engine.clone(), Box::new(publish)));
                }
            });
            for batch in epochs {
                engine.apply(&batch).unwrap();
                std::thread::yield_now();
            }
            done.store(true, Ordering::Relaxed);
        });
        for (epoch, nodes) in published.lock().iter() {
            assert_eq!(epoch, nodes);
        }
    }
}

//! The machine of the meta group: the topology as a state machine. Layout of its records: docs/formats/topology.md.
//!
//! The epoch is the number of topology changes so far. It is counted by the evaluating leader, whose proposals of one term commit in the
//! order it made them or not at all, so that no two changes ever get the same epoch.

use crate::store::{EvalContext, Evaluation, Machine};
use bytes::Bytes;
use std::sync::Arc;
use torc_cluster::Epoch;
use torc_cluster::topology::{Change, Command, Response, Topology, TopologyError};
use torc_engine::WriteBatch;
use torc_model::key::space;

/// `[META, 0]` → epoch, big-endian.
const EPOCH_KEY: [u8; 2] = [space::META, 0];
/// `[META, 1, change key…]` → record.
const RECORDS: [u8; 2] = [space::META, 1];
const RECORDS_END: [u8; 2] = [space::META, 2];

/// Told of each topology as it is applied on this replica.
pub type Publish = Box<dyn FnMut(Arc<Topology>) + Send>;

/// The machine. `publish` also hears of what is stored when the replica is opened.
pub fn machine(publish: Publish) -> Box<dyn Machine> {
    Box::new(MetaMachine { publish, speculative: None })
}

/// The engine keys of the meta group.
pub fn ranges() -> Vec<(Bytes, Bytes)> {
    vec![(Bytes::from_static(&[space::META]), Bytes::from_static(&[space::META + 1]))]
}

struct MetaMachine {
    publish: Publish,
    /// What the topology will be once everything proposed in this term is applied; rebuilt from what is stored when unset.
    speculative: Option<Topology>,
}

impl MetaMachine {
    fn load(&self, context: &EvalContext<'_>) -> Result<Topology, String> {
        load(context.engine())
    }
}

/// The stored topology of this replica.
fn load(engine: &torc_engine::Engine) -> Result<Topology, String> {
    let epoch = match engine.get(&EPOCH_KEY).map_err(|e| e.to_string())? {
        None => return Ok(Topology::default()),
        Some(bytes) => bytes.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| "damaged epoch".to_string())?,
    };
    let mut changes = Vec::new();
    for item in engine.scan(&RECORDS, &RECORDS_END, false, None) {
        let item = item.map_err(|e| e.to_string())?;
        changes.push(Change::decode(&item.value).map_err(|e| e.to_string())?);
    }
    Ok(Topology::from_changes(Epoch(epoch), &changes))
}

impl Machine for MetaMachine {
    fn evaluate(&mut self, context: &mut EvalContext<'_>, command: &Bytes) -> Result<Evaluation, String> {
        let command = Command::decode(command).map_err(|e| e.to_string())?;
        let current = match self.speculative.take() {
            Some(topology) => topology,
            None => self.load(context)?,
        };
        let evaluated = current.evaluate(&command);
        let outcome = match evaluated {
            Ok((changes, response)) if changes.is_empty() => {
                // Its answer rests on changes that may not be applied yet.
                context.depends_on(&EPOCH_KEY);
                let outcome = MetaOutcome::done(current.epoch(), response);
                self.speculative = Some(current);
                return Ok(Evaluation { batch: None, response: outcome.encode() });
            }
            Err(error) => {
                context.depends_on(&EPOCH_KEY);
                let outcome = MetaOutcome::refused(current.epoch(), error);
                self.speculative = Some(current);
                return Ok(Evaluation { batch: None, response: outcome.encode() });
            }
            Ok((changes, response)) => {
                let epoch = Epoch(current.epoch().0 + 1);
                let mut batch = WriteBatch::new();
                let changes: Vec<Change> = changes.into_iter().map(|c| c.stamped(epoch)).collect();
                for change in &changes {
                    let key = [&RECORDS[..], &change.key()].concat();
                    if change.is_delete() {
                        batch.delete(&key);
                        context.wrote(&key, None);
                    } else {
                        let value = Bytes::from(change.encode());
                        batch.put(&key, &value);
                        context.wrote(&key, Some(value));
                    }
                }
                let value = Bytes::copy_from_slice(&epoch.0.to_be_bytes());
                batch.put(&EPOCH_KEY, &value);
                context.wrote(&EPOCH_KEY, Some(value));
                self.speculative = Some(current.apply_changes(epoch, &changes));
                (batch, MetaOutcome::done(epoch, response))
            }
        };
        Ok(Evaluation { batch: Some(outcome.0), response: outcome.1.encode() })
    }

    fn applied(&mut self, engine: &torc_engine::Engine) {
        // Topology changes are rare and small: reading the records back keeps one way of building the value.
        match load(engine) {
            Ok(topology) => (self.publish)(Arc::new(topology)),
            Err(error) => tracing::error!(%error, "the stored topology can't be read"),
        }
    }

    fn leadership_lost(&mut self) {
        self.speculative = None;
    }
}

/// What a command came to, as it travels back: epoch, then the answer or the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaOutcome {
    epoch: Epoch,
    result: Result<Response, TopologyError>,
}

impl MetaOutcome {
    fn done(epoch: Epoch, response: Response) -> Self {
        Self { epoch, result: Ok(response) }
    }

    fn refused(epoch: Epoch, error: TopologyError) -> Self {
        Self { epoch, result: Err(error) }
    }

    /// The epoch at which the answer is visible, and the answer.
    pub fn into_result(self) -> Result<(Epoch, Response), TopologyError> {
        self.result.map(|response| (self.epoch, response))
    }

    fn encode(&self) -> Bytes {
        let mut out = self.epoch.0.to_be_bytes().to_vec();
        match &self.result {
            Ok(response) => {
                out.push(0);
                out.extend_from_slice(&response.encode());
            }
            Err(error) => {
                out.push(1);
                out.extend_from_slice(&error.encode());
            }
        }
        out.into()
    }

    /// Reads an outcome back.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (epoch, rest) = bytes.split_first_chunk::<8>().ok_or("too short")?;
        let epoch = Epoch(u64::from_be_bytes(*epoch));
        let (tag, body) = rest.split_first().ok_or("too short")?;
        let result = match tag {
            0 => Ok(Response::decode(body).map_err(|e| e.to_string())?),
            1 => Err(TopologyError::decode(body).map_err(|e| e.to_string())?),
            _ => return Err("unknown kind of outcome".into()),
        };
        Ok(Self { epoch, result })
    }
}

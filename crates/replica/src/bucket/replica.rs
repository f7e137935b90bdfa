//! The local replica: read-modify-writes in order, many in one log append, visible only once durable.
//!
//! A write goes through three steps. It is *staged*: its new state is computed from the newest one. It is
//! *committed* in one batch with everything staged so far. It is *answered* when the log is durable up to the
//! batch. Until then readers see the last durable state, so no reader ever sees a dot that a crash could
//! remove.
//!
//! Sans-IO apart from the [`Store`]: the driver hands in wall-clock time and durable log positions.

use super::codec::DecodeError;
use super::context::{Actor, Context, Dot};
use super::dvv::SiblingSet;
use super::hlc::{Hlc, HlcClock};
use super::key::{INCARNATION_KEY, StorageKey};
use super::limits::{MAX_RECORD_BYTES, MAX_SIBLINGS};
use super::lww::LastWrite;
use super::state::{Policy, State, digest};
use super::store::Store;
use super::value::Value;
use bytes::{BufMut, Bytes};
use std::collections::{BTreeMap, VecDeque};
use torc_engine::Lsn;
use xxhash_rust::xxh3::xxh3_64;

/// Why an operation failed here. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The storage refused.
    #[error("storage: {0}")]
    Storage(String),
    /// The disk has no room.
    #[error("no space left on the disk")]
    DiskFull,
    /// The stored record, or one sent by another replica, cannot be read. It stays as it is.
    #[error("the record of this key cannot be read: {0}")]
    Record(#[from] DecodeError),
    /// The write would leave more siblings than [`MAX_SIBLINGS`].
    #[error("the key has {0} siblings; read it and write with the context to settle them")]
    TooManySiblings(usize),
    /// The write would leave a record larger than [`MAX_RECORD_BYTES`].
    #[error(
        "the values of this key together would take {0} bytes; read it and write with the context to settle its siblings"
    )]
    RecordTooLarge(usize),
}

/// A write to coordinate here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOp {
    /// The bucket's policy.
    pub policy: Policy,
    /// What the writer had seen of this key.
    pub context: Context,
    /// The value, or none to delete. Its timestamp is set here.
    pub value: Option<Value>,
}

/// A write that is durable here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The key's record, to send to the other replicas. Includes this write and may include later ones.
    pub record: Bytes,
    /// What the writer has now seen: what it brought and its own write, nothing else.
    pub context: Context,
    /// Whether anything changed; false for a retry and for a merge that brought nothing new.
    pub changed: bool,
}

/// Names a staged operation until its [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The end of a staged operation.
pub type Outcome = (Ticket, Result<Accepted, ReplicaError>);

/// The state of a new operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing to write and all durable.
    Done(Accepted),
    /// Its outcome follows from [`BucketReplica::commit`] or [`BucketReplica::durable`].
    Pending(Ticket),
}

/// What [`BucketReplica::commit`] did.
#[derive(Debug, Default)]
pub struct Commit {
    /// The log position to wait for, if anything was written.
    pub lsn: Option<Lsn>,
    /// Operations that failed because the storage refused the batch.
    pub failed: Vec<Outcome>,
}

/// States of a key between staging and durability.
#[derive(Default)]
struct InFlight {
    /// The last durable record, which readers see.
    visible: Option<Bytes>,
    /// Records in the log, oldest first, not yet durable.
    committed: VecDeque<Bytes>,
    /// The record of the next batch.
    staged: Option<Bytes>,
}

impl InFlight {
    fn newest(&self) -> Option<&Bytes> {
        self.staged.as_ref().or(self.committed.back()).or(self.visible.as_ref())
    }
    fn settled(&self) -> bool {
        self.committed.is_empty() && self.staged.is_none()
    }
}

/// A key's newest state and its record.
type NewestRecord = (Option<State>, Option<Bytes>);

struct Waiter {
    ticket: Ticket,
    key: StorageKey,
    context: Context,
    changed: bool,
}

struct Batch {
    lsn: Lsn,
    keys: Vec<StorageKey>,
    waiters: Vec<Waiter>,
}

/// The bucket data of one node. See the module's comment.
pub struct BucketReplica<S> {
    store: S,
    actor: Actor,
    /// The incarnation goes into the next batch, so that it is durable no later than its first dot.
    save_incarnation: bool,
    clock: HlcClock,
    in_flight: BTreeMap<StorageKey, InFlight>,
    staged_keys: Vec<StorageKey>,
    staged_waiters: Vec<Waiter>,
    batches: VecDeque<Batch>,
    next_ticket: u64,
    lost_histories: u64,
    forget_siblings: bool,
}

impl<S: Store> BucketReplica<S> {
    /// Opens the bucket data of a node with the incarnation stored there, or with a new one if there is none
    /// (a new or wiped disk).
    ///
    /// `wall_ms` becomes the new incarnation, so it must differ from every earlier incarnation of this node.
    ///
    /// # Errors
    /// The storage failed or the stored incarnation is unreadable.
    pub fn open(store: S, node: u64, wall_ms: u64) -> Result<Self, ReplicaError> {
        let stored = store.get(&INCARNATION_KEY).map_err(storage)?;
        let incarnation = stored.as_deref().map(decode_incarnation).transpose()?;
        Ok(Self {
            store,
            actor: Actor { node, incarnation: incarnation.unwrap_or(wall_ms) },
            save_incarnation: incarnation.is_none(),
            clock: HlcClock::default(),
            in_flight: BTreeMap::new(),
            staged_keys: Vec::new(),
            staged_waiters: Vec::new(),
            batches: VecDeque::new(),
            next_ticket: 0,
            lost_histories: 0,
            forget_siblings: false,
        })
    }

    /// Plants a bug for the simulation's self-test: a merge forgets the siblings that only this copy has.
    pub fn plant_forget_siblings(&mut self) {
        self.forget_siblings = true;
    }

    /// The actor whose dots this replica assigns now.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// How often this node found that others knew more of its own writes than it did itself.
    pub fn lost_histories(&self) -> u64 {
        self.lost_histories
    }

    /// Operations whose outcome is not yet known.
    pub fn pending(&self) -> usize {
        self.staged_waiters.len() + self.batches.iter().map(|batch| batch.waiters.len()).sum::<usize>()
    }

    /// The durable record of a key.
    ///
    /// # Errors
    /// The storage failed.
    pub fn read(&self, key: &StorageKey) -> Result<Option<Bytes>, ReplicaError> {
        match self.in_flight.get(key) {
            Some(entry) => Ok(entry.visible.clone()),
            None => self.store.get(key.as_bytes()).map_err(storage),
        }
    }

    /// Digest of the durable record; equal digests mean equal copies.
    ///
    /// # Errors
    /// The storage failed.
    pub fn digest(&self, key: &StorageKey) -> Result<u64, ReplicaError> {
        Ok(digest(self.read(key)?.as_deref()))
    }

    /// Stages a put or delete that this node coordinates.
    ///
    /// # Errors
    /// Nothing was staged.
    pub fn put(&mut self, key: &StorageKey, op: PutOp, wall_ms: u64) -> Result<Stage, ReplicaError> {
        let found = self.newest(key)?;
        match op.policy {
            Policy::Siblings => self.put_sibling(key, found, op, wall_ms),
            Policy::LastWriterWins => self.put_last(key, found, op, wall_ms),
        }
    }

    /// Stages a merge of another copy's record (a replica write, a read repair, later a hint or a Merkle difference).
    ///
    /// # Errors
    /// Nothing was staged.
    pub fn merge(&mut self, key: &StorageKey, record: Bytes, wall_ms: u64) -> Result<Stage, ReplicaError> {
        let theirs = State::decode(record)?;
        let (mut mine, record) = self.newest(key)?;
        if let (true, Some(State::Siblings(set))) = (self.forget_siblings, &mut mine) {
            let seen = set.context().clone();
            set.discard(&seen, Hlc::default());
        }
        if let State::Siblings(set) = &theirs {
            self.check_history(set.context(), mine.as_ref(), wall_ms);
        }
        let merged = State::join(mine, Some(theirs))?.map(|state| state.encode());
        match merged {
            Some(merged) if Some(&merged) != record.as_ref() => {
                Ok(self.stage(key, record, merged, Context::default()))
            }
            _ => Ok(self.unchanged(key, record, Context::default())),
        }
    }

    /// Writes everything staged in one batch.
    pub fn commit(&mut self) -> Commit {
        let keys = std::mem::take(&mut self.staged_keys);
        let waiters = std::mem::take(&mut self.staged_waiters);
        let mut rows = Vec::with_capacity(keys.len() + 1);
        for key in &keys {
            if let Some(record) = self.in_flight.get(key).and_then(|entry| entry.staged.clone()) {
                rows.push((key.as_bytes().clone(), record));
            }
        }
        if rows.is_empty() {
            return Commit::default();
        }
        if self.save_incarnation {
            rows.push((Bytes::from_static(&INCARNATION_KEY), encode_incarnation(self.actor.incarnation)));
        }
        match self.store.write(&rows) {
            Ok(lsn) => {
                self.save_incarnation = false;
                for key in &keys {
                    if let Some(entry) = self.in_flight.get_mut(key) {
                        entry.committed.extend(entry.staged.take());
                    }
                }
                self.batches.push_back(Batch { lsn, keys, waiters });
                Commit { lsn: Some(lsn), failed: Vec::new() }
            }
            Err(error) => {
                for key in &keys {
                    if let Some(entry) = self.in_flight.get_mut(key) {
                        entry.staged = None;
                        if entry.settled() {
                            self.in_flight.remove(key);
                        }
                    }
                }
                let error = storage(error);
                Commit {
                    lsn: None,
                    failed: waiters.into_iter().map(|w| (w.ticket, Err(error.clone()))).collect(),
                }
            }
        }
    }

    /// Takes note that the log is durable up to `lsn`: the batches up to there become visible and their operations end.
    pub fn durable(&mut self, lsn: Lsn) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while self.batches.front().is_some_and(|batch| batch.lsn <= lsn) {
            let Some(batch) = self.batches.pop_front() else { break };
            for key in &batch.keys {
                let Some(entry) = self.in_flight.get_mut(key) else { continue };
                if let Some(record) = entry.committed.pop_front() {
                    entry.visible = Some(record);
                }
            }
            for waiter in batch.waiters {
                let record = self.in_flight.get(&waiter.key).and_then(|entry| entry.visible.clone());
                // A waiter of a merge that changed nothing may wait on a batch without its key: the store has it.
                let accepted = match record.map_or_else(|| self.read(&waiter.key), |record| Ok(Some(record)))
                {
                    Ok(record) => Ok(Accepted {
                        record: record.unwrap_or_default(),
                        context: waiter.context,
                        changed: waiter.changed,
                    }),
                    Err(error) => Err(error),
                };
                outcomes.push((waiter.ticket, accepted));
            }
            for key in &batch.keys {
                if self.in_flight.get(key).is_some_and(InFlight::settled) {
                    self.in_flight.remove(key);
                }
            }
        }
        outcomes
    }

    /// Visits the durable keys of `start..end` that have a value to show, in order, until `visit` returns false.
    ///
    /// # Errors
    /// The storage failed or a record is unreadable.
    pub fn list(
        &self,
        start: &[u8],
        end: &[u8],
        wall_ms: u64,
        visit: &mut dyn FnMut(StorageKey) -> bool,
    ) -> Result<(), ReplicaError> {
        let mut failure = None;
        self.store
            .scan(start, end, &mut |key, record| {
                let Some(key) = StorageKey::parse(key) else { return true };
                let record = match self.in_flight.get(&key) {
                    Some(entry) => entry.visible.clone(),
                    None => Some(record),
                };
                match record.map(State::decode).transpose() {
                    Ok(Some(state)) if !state.live(wall_ms).is_empty() => visit(key),
                    Ok(_) => true,
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                }
            })
            .map_err(storage)?;
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn put_sibling(
        &mut self,
        key: &StorageKey,
        (state, record): NewestRecord,
        op: PutOp,
        wall_ms: u64,
    ) -> Result<Stage, ReplicaError> {
        self.check_history(&op.context, state.as_ref(), wall_ms);
        let mut set = match state {
            Some(State::Siblings(set)) => set,
            None => SiblingSet::default(),
            Some(State::LastWrite(_)) => {
                return Err(DecodeError::Malformed("a last-writer-wins record in a sibling bucket").into());
            }
        };
        let mut context = op.context;
        let replaced = set.siblings().map(|(_, value)| value.written).max().unwrap_or_default();
        let written = self.clock.after(wall_ms, replaced);
        match op.value {
            Some(value) => {
                if let Some(dot) = find_operation(&set, value.operation) {
                    context.insert(dot);
                    return Ok(self.unchanged(key, record, context));
                }
                let dot = set.update(&context, Value { written, ..value }, self.actor);
                context.insert(dot);
            }
            None => {
                let deletes =
                    set.siblings().any(|(dot, _)| context.contains(dot)) || !set.context().covers(&context);
                if !deletes {
                    return Ok(self.unchanged(key, record, context));
                }
                set.discard(&context, written);
            }
        }
        let siblings = set.siblings().len();
        let state = State::Siblings(set);
        if siblings > MAX_SIBLINGS {
            return Err(ReplicaError::TooManySiblings(siblings));
        }
        if state.record_bytes() > MAX_RECORD_BYTES {
            return Err(ReplicaError::RecordTooLarge(state.record_bytes()));
        }
        Ok(self.stage(key, record, state.encode(), context))
    }

    fn put_last(
        &mut self,
        key: &StorageKey,
        (state, record): NewestRecord,
        op: PutOp,
        wall_ms: u64,
    ) -> Result<Stage, ReplicaError> {
        let last = match state {
            Some(State::LastWrite(last)) => Some(last),
            None => None,
            Some(State::Siblings(_)) => {
                return Err(DecodeError::Malformed("a sibling record in a last-writer-wins bucket").into());
            }
        };
        if let (Some(last), Some(value)) = (&last, &op.value)
            && value.operation != 0
            && last.value.operation == value.operation
        {
            return Ok(self.unchanged(key, record, Context::default()));
        }
        let replaced = last.map_or(Hlc::default(), |last| last.value.written);
        let written = self.clock.after(wall_ms, replaced);
        let tombstone = op.value.is_none();
        let value = Value { written, ..op.value.unwrap_or_default() };
        let state = State::LastWrite(LastWrite { value, node: self.actor.node, tombstone });
        Ok(self.stage(key, record, state.encode(), Context::default()))
    }

    /// Another copy or a client knows a dot of this node that the node itself does not know. So the node's
    /// history was lost (a wiped or restored disk), and the numbers that it would assign now may already be
    /// used. With a new incarnation every further dot is new.
    fn check_history(&mut self, seen: &Context, mine: Option<&State>, wall_ms: u64) {
        let known = match mine {
            Some(State::Siblings(set)) => set.context().highest(self.actor),
            _ => 0,
        };
        if seen.highest(self.actor) > known {
            self.actor.incarnation = self.actor.incarnation.saturating_add(1).max(wall_ms);
            self.save_incarnation = true;
            self.lost_histories += 1;
            tracing::warn!(
                node = self.actor.node,
                incarnation = self.actor.incarnation,
                "this node's bucket history is behind what others have seen of it; writing under a new incarnation"
            );
        }
    }

    /// The newest state of a key, durable or not, and its record.
    fn newest(&self, key: &StorageKey) -> Result<NewestRecord, ReplicaError> {
        let record = match self.in_flight.get(key) {
            Some(entry) => entry.newest().cloned(),
            None => self.store.get(key.as_bytes()).map_err(storage)?,
        };
        Ok((record.clone().map(State::decode).transpose()?, record))
    }

    /// `found` is the record that `newest` returned: with nothing in flight it is the durable one.
    fn stage(&mut self, key: &StorageKey, found: Option<Bytes>, record: Bytes, context: Context) -> Stage {
        let entry = self
            .in_flight
            .entry(key.clone())
            .or_insert_with(|| InFlight { visible: found, ..InFlight::default() });
        if entry.staged.replace(record).is_none() {
            self.staged_keys.push(key.clone());
        }
        let ticket = self.ticket();
        self.staged_waiters.push(Waiter { ticket, key: key.clone(), context, changed: true });
        Stage::Pending(ticket)
    }

    /// An operation that changes nothing still waits until what it found is durable.
    fn unchanged(&mut self, key: &StorageKey, found: Option<Bytes>, context: Context) -> Stage {
        let Some(entry) = self.in_flight.get(key) else {
            return Stage::Done(Accepted { record: found.unwrap_or_default(), context, changed: false });
        };
        let staged = entry.staged.is_some();
        let ticket = self.ticket();
        let waiter = Waiter { ticket, key: key.clone(), context, changed: false };
        match self.batches.back_mut() {
            Some(batch) if !staged => batch.waiters.push(waiter),
            _ => self.staged_waiters.push(waiter),
        }
        Stage::Pending(ticket)
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

fn storage(error: torc_engine::Error) -> ReplicaError {
    match error {
        torc_engine::Error::DiskFull { .. } => ReplicaError::DiskFull,
        error => ReplicaError::Storage(error.without_paths()),
    }
}

fn find_operation(set: &SiblingSet<Value>, operation: u64) -> Option<Dot> {
    set.siblings().find(|(_, value)| operation != 0 && value.operation == operation).map(|(dot, _)| *dot)
}

const INCARNATION_VERSION: u8 = 1;

fn encode_incarnation(incarnation: u64) -> Bytes {
    let mut out = Vec::with_capacity(13);
    out.push(INCARNATION_VERSION);
    out.put_u64_le(incarnation);
    out.put_u32_le(xxh3_64(&out) as u32);
    out.into()
}

fn decode_incarnation(bytes: &[u8]) -> Result<u64, DecodeError> {
    match bytes {
        [INCARNATION_VERSION, rest @ ..] if rest.len() == 12 => {
            let (number, check) = rest.split_at(8);
            if check != (xxh3_64(&bytes[..9]) as u32).to_le_bytes() {
                return Err(DecodeError::Checksum);
            }
            Ok(number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        }
        [INCARNATION_VERSION, ..] => Err(DecodeError::Truncated),
        [version, ..] => Err(DecodeError::Version(*version)),
        [] => Err(DecodeError::Truncated),
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;

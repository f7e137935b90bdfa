//! The state of one key in one copy: the policy's value, its merge, and the stored record.

use super::codec::{DecodeError, Reader};
use super::context::Context;
use super::dvv::SiblingSet;
use super::lww::LastWrite;
use super::value::Value;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// How concurrent writes of one key are settled. Fixed when the bucket is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// All concurrent values are kept and returned together.
    #[default]
    Siblings,
    /// The write with the highest hybrid timestamp stays.
    LastWriterWins,
    // CRDT types (counter, set, map, register, flag) follow here, each with its `State` variant and record
    // kind.
}

/// The state of a key under its bucket's policy. Merge is idempotent, commutative and associative between
/// states of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// See [`Policy::Siblings`].
    Siblings(SiblingSet<Value>),
    /// See [`Policy::LastWriterWins`].
    LastWrite(LastWrite),
}

/// Digest of a key that a replica does not hold.
pub const EMPTY_DIGEST: u64 = 0;

/// Format version of a record.
const VERSION: u8 = 1;
const KIND_SIBLINGS: u8 = 1;
const KIND_LAST_WRITE: u8 = 2;

impl State {
    /// Merges another copy.
    ///
    /// # Errors
    /// The states belong to different policies; nothing was changed.
    pub fn merge(&mut self, other: &State) -> Result<(), DecodeError> {
        match (self, other) {
            (State::Siblings(mine), State::Siblings(theirs)) => mine.merge(theirs),
            (State::LastWrite(mine), State::LastWrite(theirs)) => mine.merge(theirs),
            _ => return Err(DecodeError::Malformed("the two copies have different conflict policies")),
        }
        Ok(())
    }

    /// Merges two copies, either of which may be missing.
    ///
    /// # Errors
    /// As [`State::merge`].
    pub fn join(a: Option<State>, b: Option<State>) -> Result<Option<State>, DecodeError> {
        match (a, b) {
            (Some(mut a), Some(b)) => {
                a.merge(&b)?;
                Ok(Some(a))
            }
            (a, b) => Ok(a.or(b)),
        }
    }

    /// What a reader of this state has seen; empty for policies without causality.
    pub fn context(&self) -> Context {
        match self {
            State::Siblings(set) => set.context().clone(),
            State::LastWrite(_) => Context::default(),
        }
    }

    /// The values to show at this time, oldest first: no tombstones, nothing expired, and one value of each
    /// operation (a retry through another coordinator may have stored it twice under two dots).
    pub fn live(&self, wall_ms: u64) -> Vec<&Value> {
        let mut values: Vec<&Value> = match self {
            State::Siblings(set) => set.siblings().map(|(_, value)| value).collect(),
            State::LastWrite(last) if last.tombstone => Vec::new(),
            State::LastWrite(last) => vec![&last.value],
        };
        values.retain(|value| !value.expired(wall_ms));
        values.sort();
        let mut seen = std::collections::BTreeSet::new();
        values.retain(|value| value.operation == 0 || seen.insert(value.operation));
        values
    }

    /// Bytes of the record, at most.
    pub fn record_bytes(&self) -> usize {
        match self {
            State::Siblings(set) => {
                set.siblings().map(|(_, value)| value.record_bytes() + 30).sum::<usize>()
                    + 30 * (set.context().actors() + 1)
            }
            State::LastWrite(last) => last.value.record_bytes() + 16,
        }
    }

    /// The record that is stored and sent between replicas; drawn in docs/formats/bucket.md. Equal states
    /// have equal bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.record_bytes());
        out.push(VERSION);
        match self {
            State::Siblings(set) => {
                out.push(KIND_SIBLINGS);
                set.write(&mut out);
            }
            State::LastWrite(last) => {
                out.push(KIND_LAST_WRITE);
                last.write(&mut out);
            }
        }
        out.into()
    }

    /// Parses a record completely.
    ///
    /// # Errors
    /// [`DecodeError`]: not a record, or one of a later version.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let state = match reader.byte()? {
            KIND_SIBLINGS => State::Siblings(SiblingSet::read(&mut reader)?),
            KIND_LAST_WRITE => State::LastWrite(LastWrite::read(&mut reader)?),
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish()?;
        Ok(state)
    }
}

/// Digest of an encoded record, to compare copies without sending them; [`EMPTY_DIGEST`] only for a missing
/// one.
pub fn digest(record: Option<&[u8]>) -> u64 {
    record.map_or(EMPTY_DIGEST, |bytes| xxh3_64(bytes).max(1))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;

//! Causal contexts: the set of writes that a client or a copy has seen.
//!
//! A context is a version vector plus a *cloud* of dots beyond the vector (Almeida, Shoker, Baquero, "Delta
//! state replicated data types", 2018, §7). With the cloud, a writer can get a context that covers its own
//! write and nothing that it has not seen.

use super::codec::{DecodeError, Reader, put_varint};
use bytes::{BufMut, Bytes};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The author of dots: a node, with the incarnation of its bucket data. A node that finds its own history
/// incomplete takes a new incarnation before it writes, so that no dot is ever assigned twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The node's number.
    pub node: u64,
    /// Distinguishes the node's data before and after a loss.
    pub incarnation: u64,
}

/// One write: the `counter`th of an actor on this key, from 1. Counters of an actor rise and may skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The author of the write.
    pub actor: Actor,
    /// The number of the author's write.
    pub counter: u64,
}

/// A set of dots, closed towards the past for each actor as far as the vector goes.
///
/// Always compact: no dot of the cloud is covered by the vector or directly follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    vector: BTreeMap<Actor, u64>,
    cloud: BTreeSet<Dot>,
}

/// Format version of an encoded context.
const VERSION: u8 = 1;
/// Version byte and key tag before the dots, checksum after them.
const HEADER_BYTES: usize = 1 + 8;
const CHECKSUM_BYTES: usize = 4;

impl Context {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.cloud.is_empty()
    }

    /// Whether the write was seen.
    pub fn contains(&self, dot: &Dot) -> bool {
        self.vector.get(&dot.actor).is_some_and(|&top| dot.counter <= top) || self.cloud.contains(dot)
    }

    /// Whether every write of `other` was seen here.
    pub fn covers(&self, other: &Context) -> bool {
        other.vector.iter().all(|(actor, &counter)| self.vector.get(actor).is_some_and(|&top| counter <= top))
            && other.cloud.iter().all(|dot| self.contains(dot))
    }

    /// The highest counter seen of an actor, 0 if none.
    pub fn highest(&self, actor: Actor) -> u64 {
        let first = Dot { actor, counter: 0 };
        let last = Dot { actor, counter: u64::MAX };
        let cloud = self.cloud.range(first..=last).next_back().map_or(0, |dot| dot.counter);
        self.vector.get(&actor).copied().unwrap_or(0).max(cloud)
    }

    /// How many actors have a place in the vector.
    pub fn actors(&self) -> usize {
        self.vector.len()
    }

    /// Adds one write.
    pub fn insert(&mut self, dot: Dot) {
        if dot.counter > 0 && !self.contains(&dot) {
            self.cloud.insert(dot);
            self.compact();
        }
    }

    /// Adds every write that `other` has seen.
    pub fn join(&mut self, other: &Context) {
        for (&actor, &counter) in &other.vector {
            let top = self.vector.entry(actor).or_insert(0);
            *top = (*top).max(counter);
        }
        self.cloud.extend(other.cloud.iter().copied());
        self.compact();
    }

    fn compact(&mut self) {
        if self.cloud.is_empty() {
            return;
        }
        // Dots come in order of actor, then counter, so that one pass closes every gap that can be closed.
        let vector = &mut self.vector;
        self.cloud.retain(|dot| {
            let top = vector.get(&dot.actor).copied().unwrap_or(0);
            if dot.counter == top.saturating_add(1) {
                vector.insert(dot.actor, dot.counter);
                return false;
            }
            dot.counter > top
        });
    }

    /// Appends the dots, without header or checksum: vector entries, then cloud, both ascending.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.vector.len() as u64);
        for (actor, &counter) in &self.vector {
            put_dot(out, &Dot { actor: *actor, counter });
        }
        put_varint(out, self.cloud.len() as u64);
        for dot in &self.cloud {
            put_dot(out, dot);
        }
    }

    /// Reads what [`Context::write`] wrote; refuses anything that is not compact and in order.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut context = Context::default();
        let mut last = None;
        for _ in 0..reader.count(3)? {
            let dot = read_dot(reader)?;
            if last.is_some_and(|actor| actor >= dot.actor) {
                return Err(DecodeError::Malformed("context vector is not in order"));
            }
            last = Some(dot.actor);
            context.vector.insert(dot.actor, dot.counter);
        }
        let mut last = None;
        for _ in 0..reader.count(3)? {
            let dot = read_dot(reader)?;
            if last.is_some_and(|last| last >= dot) {
                return Err(DecodeError::Malformed("context cloud is not in order"));
            }
            last = Some(dot);
            context.cloud.insert(dot);
        }
        let cloud = context.cloud.len();
        context.compact();
        if context.cloud.len() != cloud {
            return Err(DecodeError::Malformed("context is not compact"));
        }
        Ok(context)
    }

    /// The opaque token that a client carries from a read to a write: version, tag of the bucket and key that
    /// it was issued for, dots, checksum. Drawn in docs/formats/bucket.md.
    pub fn encode(&self, bucket: u64, key: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES + 8 + self.vector.len() * 12 + CHECKSUM_BYTES);
        out.push(VERSION);
        out.put_u64_le(key_tag(bucket, key));
        self.write(&mut out);
        out.put_u32_le(xxh3_64(&out) as u32);
        out.into()
    }

    /// Parses what a client brought back.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that this key's contexts never look like; [`DecodeError::OtherKey`] if it
    /// is a context of another key, whose dots would mean other writes here.
    pub fn decode(bytes: &Bytes, bucket: u64, key: &[u8]) -> Result<Self, DecodeError> {
        let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|&end| end >= HEADER_BYTES) else {
            return Err(DecodeError::Truncated);
        };
        let body = bytes.slice(..end);
        if body.first() != Some(&VERSION) {
            return Err(DecodeError::Version(body.first().copied().unwrap_or(0)));
        }
        if bytes.get(end..) != Some(&(xxh3_64(&body) as u32).to_le_bytes()[..]) {
            return Err(DecodeError::Checksum);
        }
        let mut reader = Reader::new(body.slice(1..));
        if reader.fixed_u64()? != key_tag(bucket, key) {
            return Err(DecodeError::OtherKey);
        }
        let context = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(context)
    }
}

fn key_tag(bucket: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, bucket)
}

pub(super) fn put_dot(out: &mut Vec<u8>, dot: &Dot) {
    put_varint(out, dot.actor.node);
    put_varint(out, dot.actor.incarnation);
    put_varint(out, dot.counter);
}

pub(super) fn read_dot(reader: &mut Reader) -> Result<Dot, DecodeError> {
    let actor = Actor { node: reader.varint()?, incarnation: reader.varint()? };
    let counter = reader.varint()?;
    if counter == 0 { Err(DecodeError::Malformed("counter is zero")) } else { Ok(Dot { actor, counter }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dot() -> impl Strategy<Value = Dot> {
        (1u64..4, 0u64..2, 1u64..6)
            .prop_map(|(node, incarnation, counter)| Dot { actor: Actor { node, incarnation }, counter })
    }

    fn dots() -> impl Strategy<Value = BTreeSet<Dot>> {
        proptest::collection::btree_set(dot(), 0..20)
    }

    fn context(dots: &BTreeSet<Dot>) -> Context {
        let mut context = Context::default();
        dots.iter().for_each(|dot| context.insert(*dot));
        context
    }

    proptest! {
        /// A context is a set of dots, however it was built.
        #[test]
        fn behaves_as_a_set(a in dots(), b in dots(), probe in dot()) {
            let (ca, cb) = (context(&a), context(&b));
            prop_assert_eq!(ca.contains(&probe), a.contains(&probe));
            prop_assert_eq!(ca.covers(&cb), b.is_subset(&a));
            let mut joined = ca.clone();
            joined.join(&cb);
            prop_assert_eq!(&joined, &context(&a.union(&b).copied().collect()));
            let top = a.iter().filter(|dot| dot.actor == probe.actor).map(|dot| dot.counter).max();
            prop_assert_eq!(ca.highest(probe.actor), top.unwrap_or(0));
        }

        #[test]
        fn encoding_round_trips(a in dots(), bucket: u64, key in proptest::collection::vec(any::<u8>(), 0..20)) {
            let bytes = context(&a).encode(bucket, &key);
            prop_assert_eq!(Context::decode(&bytes, bucket, &key), Ok(context(&a)));
            prop_assert_eq!(Context::decode(&bytes, bucket ^ 1, &key), Err(DecodeError::OtherKey));
        }

        /// No flipped bit, no cut and no garbage gets through or panics.
        #[test]
        fn damage_is_refused(a in dots(), at: usize, bit in 0u8..8, garbage in proptest::collection::vec(any::<u8>(), 0..40)) {
            let bytes = context(&a).encode(7, b"k");
            let mut flipped = bytes.to_vec();
            let at = at % flipped.len();
            flipped[at] ^= 1 << bit;
            prop_assert!(Context::decode(&flipped.into(), 7, b"k").is_err());
            prop_assert!(Context::decode(&bytes.slice(..at), 7, b"k").is_err());
            prop_assert!(Context::decode(&garbage.into(), 7, b"k").is_err());
        }
    }
}

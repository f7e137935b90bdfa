//! Dotted version vector sets: the siblings of one key, with exact causality.
//!
//! After Preguiça, Baquero, Almeida, Fonte, Gonçalves, "Dotted version vectors: efficient causality tracking
//! for distributed key-value stores" (2012). Each value carries the dot of its write, and the set carries one
//! context for all values. A write replaces exactly the values whose dots its writer had seen. A delete
//! leaves no value, but the context stays. The context prevents a late copy of a deleted value from
//! returning.

use super::codec::{DecodeError, Reader, put_varint};
use super::context::{Actor, Context, Dot, put_dot, read_dot};
use super::hlc::Hlc;
use super::value::Value;
use std::collections::BTreeMap;

/// Siblings by dot, and everything that this copy has seen. Every sibling's dot is in the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiblingSet<V> {
    context: Context,
    siblings: BTreeMap<Dot, V>,
    deleted: Hlc,
}

impl<V> Default for SiblingSet<V> {
    fn default() -> Self {
        Self { context: Context::default(), siblings: BTreeMap::new(), deleted: Hlc::default() }
    }
}

impl<V: Clone> SiblingSet<V> {
    /// The joined context: what a reader of the whole set has seen.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The values with their dots, in order of dot.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = (&Dot, &V)> {
        self.siblings.iter()
    }

    /// When a delete last reached this set; zero if never. A set without siblings is a tombstone of this age.
    pub fn deleted(&self) -> Hlc {
        self.deleted
    }

    /// Whether all values were deleted.
    pub fn is_tombstone(&self) -> bool {
        self.siblings.is_empty()
    }

    /// Writes a value: it replaces the siblings in `seen` and becomes concurrent with the rest. Returns its
    /// dot.
    ///
    /// The caller alone assigns this actor's dots, and makes the set durable before anything else sees it.
    pub fn update(&mut self, seen: &Context, value: V, actor: Actor) -> Dot {
        self.siblings.retain(|dot, _| !seen.contains(dot));
        self.context.join(seen);
        // The context may have come from a reader who knows more of this actor than this copy does: stay
        // above it.
        let dot = Dot { actor, counter: self.context.highest(actor).saturating_add(1) };
        self.context.insert(dot);
        self.siblings.insert(dot, value);
        dot
    }

    /// Deletes the siblings in `seen`; those unknown to the deleter stay. The context remembers.
    pub fn discard(&mut self, seen: &Context, at: Hlc) {
        self.siblings.retain(|dot, _| !seen.contains(dot));
        self.context.join(seen);
        self.deleted = self.deleted.max(at);
    }

    /// Merges another copy: keeps what both hold, and what either holds that the other has not seen.
    pub fn merge(&mut self, other: &Self) {
        self.siblings.retain(|dot, _| other.siblings.contains_key(dot) || !other.context.contains(dot));
        for (dot, value) in &other.siblings {
            if !self.context.contains(dot) {
                self.siblings.insert(*dot, value.clone());
            }
        }
        self.context.join(&other.context);
        self.deleted = self.deleted.max(other.deleted);
    }
}

impl SiblingSet<Value> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.context.write(out);
        put_varint(out, self.deleted.0);
        put_varint(out, self.siblings.len() as u64);
        for (dot, value) in &self.siblings {
            put_dot(out, dot);
            value.write(out);
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let context = Context::read(reader)?;
        let deleted = Hlc(reader.varint()?);
        let mut siblings = BTreeMap::new();
        for _ in 0..reader.count(6)? {
            let dot = read_dot(reader)?;
            if siblings.last_key_value().is_some_and(|(last, _)| *last >= dot) {
                return Err(DecodeError::Malformed("siblings are not in order"));
            }
            if !context.contains(&dot) {
                return Err(DecodeError::Malformed("a sibling is outside the context"));
            }
            siblings.insert(dot, Value::read(reader)?);
        }
        Ok(Self { context, siblings, deleted })
    }
}

#[cfg(test)]
#[path = "dvv_tests.rs"]
mod tests;

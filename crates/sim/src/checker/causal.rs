//! The oracle of buckets that keep siblings. No acknowledged write is lost, nothing that was overwritten
//! returns, and the siblings are exactly the values that no later writer had seen.
//!
//! The rule: a write replaces what its context covers, and nothing else. The context of a read covers the
//! values that it returned and the values that those had replaced. The context that a write returns covers
//! that write and what it replaced. It covers no sibling that the writer never saw.
//!
//! A write of unknown outcome may or may not have taken effect. What follows from both cases is required, and
//! what follows from neither is forbidden.

use super::show;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names one write or delete of a history. A put stores it in its value, so that a read tells which writes it
/// saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Names one context that the store returned; the client may give it to a later write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub u64);

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOp {
    /// Who called, for the report.
    pub client: u64,
    /// The key.
    pub key: Vec<u8>,
    /// When it was called, in any unit, all of a history by one clock.
    pub invoke: u64,
    /// When the answer came. Ignored for writes of unknown outcome.
    pub ret: u64,
    /// Whether it was at a level, without hints, at which reads and writes meet (R + W > N): then a read must
    /// see every write that was acknowledged before it began.
    pub strict: bool,
    /// What was asked and answered.
    pub action: BucketAction,
}

/// What was asked and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketAction {
    /// A value was put, or with `tombstone` removed.
    Write {
        /// The write.
        id: WriteId,
        /// Whether it is a delete.
        tombstone: bool,
        /// What the client said that it had seen.
        context: Option<ContextId>,
        /// What came of it.
        outcome: WriteOutcome,
    },
    /// A read that was answered. (One that was not says nothing.)
    Read {
        /// The siblings, in any order.
        values: Vec<WriteId>,
        /// The context that came with them.
        returned: Option<ContextId>,
    },
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Acknowledged, with a context if the answer had one.
    Acknowledged(Option<ContextId>),
    /// Nobody knows.
    Unknown,
    /// Surely without effect.
    Refused,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalViolation {
    /// At this key.
    pub key: Vec<u8>,
    /// The kind.
    pub fault: Fault,
    /// The writes that it is about; the first is the one that is missing or should not be there.
    pub writes: Vec<WriteId>,
    /// When: the call of the read that showed it, or `None` in the final state.
    pub at: Option<u64>,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An acknowledged write is gone and no write had seen it.
    Lost,
    /// A value is there that an acknowledged write, or one that is itself there, had replaced.
    Resurrected,
    /// A value that no write made, or only a refused one, or one that had not begun.
    OutOfNowhere,
    /// A deleted marker was returned as a value.
    TombstoneAsValue,
    /// The same value twice among the siblings.
    Doubled,
    /// A context was given to a write before the store had returned it, or was never returned: the history is
    /// recorded wrongly.
    BadHistory,
}

impl fmt::Display for CausalViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Lost => "was acknowledged, is gone, and nobody had seen it",
            Fault::Resurrected => "is there although it was replaced by the second",
            Fault::OutOfNowhere => "is there although no write can have made it",
            Fault::TombstoneAsValue => "is a delete and was returned as a value",
            Fault::Doubled => "is there twice",
            Fault::BadHistory => "uses a context that the store had not returned yet",
        };
        let ids: Vec<String> = self.writes.iter().map(|id| format!("w{}", id.0)).collect();
        let when = self.at.map_or("at the end".to_owned(), |at| format!("in the read at {at}"));
        write!(f, "key {}, {when}: {} {what}", show(&self.key), ids.join(", "))
    }
}

/// Checks a history and the siblings that each key had in the end, after all faults were healed and all
/// replicas had exchanged what they knew. A key without a final state is judged by its reads alone.
pub fn check(history: &[BucketOp], finals: &BTreeMap<Vec<u8>, Vec<WriteId>>) -> Vec<CausalViolation> {
    let mut keys: BTreeMap<&[u8], Vec<&BucketOp>> = BTreeMap::new();
    for op in history {
        keys.entry(&op.key).or_default().push(op);
    }
    for key in finals.keys() {
        keys.entry(key).or_default();
    }
    let mut found = Vec::new();
    for (key, mut ops) in keys {
        ops.sort_by_key(|op| op.invoke);
        let model = Model::new(key, &ops, &mut found);
        for op in &ops {
            if let BucketAction::Read { values, .. } = &op.action {
                model.judge(
                    Seen { values, until: op.ret, from: op.strict.then_some(op.invoke), at: Some(op.invoke) },
                    &mut found,
                );
            }
        }
        if let Some(values) = finals.get(key) {
            let end = Seen { values, until: u64::MAX, from: Some(u64::MAX), at: None };
            model.judge(end, &mut found);
        }
    }
    found
}

/// A set of siblings to be judged.
struct Seen<'a> {
    values: &'a [WriteId],
    /// Writes that began later cannot be among them.
    until: u64,
    /// Writes that ended before must be accounted for; `None` at a level that promises nothing. `u64::MAX`:
    /// all of them, whatever their level.
    from: Option<u64>,
    at: Option<u64>,
}

struct Write {
    tombstone: bool,
    strict: bool,
    invoke: u64,
    /// When it was acknowledged.
    acknowledged: Option<u64>,
    refused: bool,
    /// Everything that it replaces.
    covers: BTreeSet<WriteId>,
}

enum Event<'a> {
    Begin(&'a BucketOp),
    End(&'a BucketOp),
}

/// Calls and returns in time order. At one instant: calls without a context, since a read may have seen them;
/// then returns; then calls that may use what was returned.
fn events<'a>(ops: &[&'a BucketOp]) -> Vec<(u64, u8, Event<'a>)> {
    let mut events = Vec::with_capacity(ops.len() * 2);
    for op in ops {
        let uses_context = matches!(op.action, BucketAction::Write { context: Some(_), .. });
        events.push((op.invoke, if uses_context { 2 } else { 0 }, Event::Begin(op)));
        events.push((op.ret, 1, Event::End(op)));
    }
    events.sort_by_key(|(at, class, _)| (*at, *class));
    events
}

/// One key's writes and what they cover.
struct Model {
    key: Vec<u8>,
    writes: BTreeMap<WriteId, Write>,
    /// Of each write, those that cover it.
    covered_by: BTreeMap<WriteId, Vec<WriteId>>,
}

impl Model {
    fn new(key: &[u8], ops: &[&BucketOp], found: &mut Vec<CausalViolation>) -> Model {
        let mut model = Model { key: key.to_vec(), writes: BTreeMap::new(), covered_by: BTreeMap::new() };
        let mut contexts: BTreeMap<ContextId, BTreeSet<WriteId>> = BTreeMap::new();
        for (_, _, event) in events(ops) {
            match event {
                Event::Begin(op) => {
                    let BucketAction::Write { id, tombstone, context, outcome } = &op.action else {
                        continue;
                    };
                    let covers = match context {
                        None => BTreeSet::new(),
                        Some(context) => contexts.get(context).cloned().unwrap_or_else(|| {
                            let (key, at) = (key.to_vec(), Some(op.invoke));
                            found.push(CausalViolation {
                                key,
                                fault: Fault::BadHistory,
                                writes: vec![*id],
                                at,
                            });
                            BTreeSet::new()
                        }),
                    };
                    let refused = *outcome == WriteOutcome::Refused;
                    if !refused {
                        for covered in &covers {
                            model.covered_by.entry(*covered).or_default().push(*id);
                        }
                    }
                    let acknowledged = matches!(outcome, WriteOutcome::Acknowledged(_)).then_some(op.ret);
                    let (tombstone, strict, invoke) = (*tombstone, op.strict, op.invoke);
                    model
                        .writes
                        .insert(*id, Write { tombstone, strict, invoke, acknowledged, refused, covers });
                }
                Event::End(op) => {
                    let (context, seen) = match &op.action {
                        BucketAction::Read { values, returned: Some(context) } => {
                            (context, values.as_slice())
                        }
                        BucketAction::Write {
                            id,
                            outcome: WriteOutcome::Acknowledged(Some(context)),
                            ..
                        } => (context, std::slice::from_ref(id)),
                        _ => continue,
                    };
                    let covered = contexts.entry(*context).or_default();
                    for id in seen {
                        covered.insert(*id);
                        covered.extend(model.writes.get(id).into_iter().flat_map(|write| &write.covers));
                    }
                }
            }
        }
        model
    }

    fn judge(&self, seen: Seen<'_>, found: &mut Vec<CausalViolation>) {
        let mut report = |fault, writes: Vec<WriteId>| {
            found.push(CausalViolation { key: self.key.clone(), fault, writes, at: seen.at });
        };
        let values: BTreeSet<WriteId> = seen.values.iter().copied().collect();
        if values.len() < seen.values.len() {
            let twice =
                seen.values.iter().filter(|id| seen.values.iter().filter(|other| other == id).count() > 1);
            report(Fault::Doubled, twice.copied().take(1).collect());
        }
        for id in &values {
            match self.writes.get(id) {
                None => report(Fault::OutOfNowhere, vec![*id]),
                Some(write) if write.refused || write.invoke > seen.until => {
                    report(Fault::OutOfNowhere, vec![*id])
                }
                Some(write) if write.tombstone => report(Fault::TombstoneAsValue, vec![*id]),
                Some(_) => {}
            }
            if let Some(by) = self.replaced_by(*id, &values, &seen) {
                report(Fault::Resurrected, vec![*id, by]);
            }
        }
        for (id, write) in &self.writes {
            let required = !write.tombstone && self.must_show(write, &seen);
            if required && !values.contains(id) && !self.may_be_replaced(*id, &seen) {
                report(Fault::Lost, vec![*id]);
            }
        }
    }

    /// Whether the write was surely there when the siblings were looked at.
    fn must_show(&self, write: &Write, seen: &Seen<'_>) -> bool {
        match (seen.from, write.acknowledged) {
            (Some(u64::MAX), Some(_)) => true,
            (Some(from), Some(acknowledged)) => write.strict && acknowledged < from,
            _ => false,
        }
    }

    /// A write that surely replaced this one before the siblings were looked at.
    fn replaced_by(&self, id: WriteId, values: &BTreeSet<WriteId>, seen: &Seen<'_>) -> Option<WriteId> {
        let by = self.covered_by.get(&id)?;
        by.iter().copied().find(|by| {
            values.contains(by) || self.writes.get(by).is_some_and(|write| self.must_show(write, seen))
        })
    }

    /// Whether some write that may have had its effect by then had seen this one.
    fn may_be_replaced(&self, id: WriteId, seen: &Seen<'_>) -> bool {
        let by = self.covered_by.get(&id).map_or(&[][..], Vec::as_slice);
        by.iter().any(|by| self.writes.get(by).is_some_and(|write| write.invoke <= seen.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// What can be wrong with a store.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Bug {
        None,
        /// A merge of two replicas keeps one side's siblings only.
        DropSibling,
        /// A delete leaves no trace, so that a replica that missed it brings the value back.
        ForgetDelete,
        /// A write does not replace what its context covers.
        IgnoreContext,
        /// The context that a write returns covers everything that the replica has, seen by the writer or
        /// not.
        WideContext,
        /// An acknowledged write was on one replica only, which lost it.
        LoseUnsynced,
    }

    /// A replica: the values there, and everything that ever was there.
    #[derive(Clone, Default)]
    struct Replica {
        values: BTreeSet<WriteId>,
        history: BTreeSet<WriteId>,
    }

    impl Replica {
        fn merge(&mut self, other: &Replica, bug: Bug) {
            let keep: BTreeSet<WriteId> = self
                .values
                .iter()
                .filter(|id| other.values.contains(id) || !other.history.contains(id))
                .chain(
                    other.values.iter().filter(|id| self.values.contains(id) || !self.history.contains(id)),
                )
                .copied()
                .collect();
            self.history.extend(&other.history);
            self.values = keep;
            if bug == Bug::DropSibling && self.values.len() > 2 {
                self.values.pop_first();
            }
        }

        fn write(&mut self, id: WriteId, tombstone: bool, covers: &BTreeSet<WriteId>, bug: Bug) {
            if bug != Bug::IgnoreContext || covers.len() < 3 {
                self.values.retain(|value| !covers.contains(value));
            }
            if bug == Bug::ForgetDelete && tombstone {
                self.history.retain(|past| !covers.contains(past));
                return;
            }
            self.history.extend(covers);
            self.history.insert(id);
            if !tombstone {
                self.values.insert(id);
            }
        }
    }

    /// A store of three replicas under random use; returns what its clients saw and the merged end.
    fn use_store(seed: u64, bug: Bug) -> (Vec<BucketOp>, BTreeMap<Vec<u8>, Vec<WriteId>>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut replicas = vec![Replica::default(); 3];
        let mut contexts: Vec<BTreeSet<WriteId>> = Vec::new();
        let mut history = Vec::new();
        let mut last_id = 0;
        for step in 0..rng.random_range(5..60u64) {
            let (invoke, ret) = (step * 10, step * 10 + rng.random_range(0..9));
            let at = rng.random_range(0..3);
            let strict = rng.random_bool(0.5);
            // A quorum: the coordinator and the next replica. Otherwise the coordinator alone.
            let partner = (at + 1) % 3;
            if rng.random_bool(0.3) {
                let from = replicas[rng.random_range(0..3)].clone();
                replicas[at].merge(&from, bug);
            }
            let context =
                (!contexts.is_empty() && rng.random_bool(0.7)).then(|| rng.random_range(0..contexts.len()));
            let action = if rng.random_bool(0.4) {
                let mut state = replicas[at].clone();
                if strict {
                    state.merge(&replicas[partner], bug);
                }
                contexts.push(state.history.clone());
                let returned = Some(ContextId(contexts.len() as u64 - 1));
                BucketAction::Read { values: state.values.into_iter().collect(), returned }
            } else {
                last_id += 1;
                let id = WriteId(last_id);
                let tombstone = rng.random_bool(0.25);
                let covers = context.map(|context| contexts[context].clone()).unwrap_or_default();
                let known = rng.random_bool(0.85);
                if known || rng.random_bool(0.5) {
                    let lost = bug == Bug::LoseUnsynced && rng.random_bool(0.2);
                    if !lost {
                        replicas[at].write(id, tombstone, &covers, bug);
                    }
                    if strict && !lost {
                        let from = replicas[at].clone();
                        replicas[partner].merge(&from, bug);
                    }
                }
                let outcome = if known {
                    let mut seen = covers;
                    seen.insert(id);
                    if bug == Bug::WideContext {
                        seen.extend(&replicas[at].history);
                    }
                    contexts.push(seen);
                    WriteOutcome::Acknowledged(Some(ContextId(contexts.len() as u64 - 1)))
                } else {
                    WriteOutcome::Unknown
                };
                let context = context.map(|context| ContextId(context as u64));
                BucketAction::Write { id, tombstone, context, outcome }
            };
            history.push(BucketOp { client: at as u64, key: b"k".to_vec(), invoke, ret, strict, action });
        }
        let mut end = Replica::default();
        for replica in &replicas {
            end.merge(replica, bug);
        }
        (history, [(b"k".to_vec(), end.values.into_iter().collect())].into())
    }

    #[test]
    fn a_sound_store_is_never_accused() {
        for seed in 0..3000 {
            let (history, finals) = use_store(seed, Bug::None);
            let found = check(&history, &finals);
            assert_eq!(found, vec![], "seed {seed}: {history:#?} {finals:?}");
        }
    }

    #[test]
    fn planted_bugs_are_found_soon() {
        for (bug, fault) in [
            (Bug::DropSibling, Fault::Lost),
            (Bug::ForgetDelete, Fault::Resurrected),
            (Bug::IgnoreContext, Fault::Resurrected),
            (Bug::WideContext, Fault::Lost),
            (Bug::LoseUnsynced, Fault::Lost),
        ] {
            let caught = (0..200).filter(|seed| {
                let (history, finals) = use_store(*seed, bug);
                check(&history, &finals).iter().any(|violation| violation.fault == fault)
            });
            let caught = caught.count();
            assert!(caught >= 20, "{bug:?} found in {caught} of 200 runs");
        }
    }

    fn write(id: u64, from: u64, context: Option<u64>, outcome: WriteOutcome) -> BucketOp {
        let action = BucketAction::Write {
            id: WriteId(id),
            tombstone: false,
            context: context.map(ContextId),
            outcome,
        };
        BucketOp { client: 1, key: b"k".to_vec(), invoke: from, ret: from + 1, strict: true, action }
    }

    fn read(from: u64, values: &[u64], returned: u64) -> BucketOp {
        let values = values.iter().map(|id| WriteId(*id)).collect();
        let action = BucketAction::Read { values, returned: Some(ContextId(returned)) };
        BucketOp { client: 2, key: b"k".to_vec(), invoke: from, ret: from + 1, strict: true, action }
    }

    fn faults(history: &[BucketOp], end: &[u64]) -> Vec<(Fault, Vec<u64>)> {
        let finals = [(b"k".to_vec(), end.iter().map(|id| WriteId(*id)).collect())].into();
        let found = check(history, &finals);
        found.into_iter().map(|v| (v.fault, v.writes.into_iter().map(|id| id.0).collect())).collect()
    }

    #[test]
    fn small_histories() {
        use Fault::{BadHistory, Doubled, Lost, OutOfNowhere, Resurrected};
        use WriteOutcome::{Acknowledged, Refused, Unknown};
        let ok = Acknowledged(None);
        // Two writes, one read of both, one write over both.
        let resolved = |last| {
            vec![
                write(1, 0, None, ok),
                write(2, 0, None, ok),
                read(5, &[1, 2], 1),
                write(3, 10, Some(1), last),
            ]
        };
        for (what, history, end, expected) in [
            ("siblings stay", vec![write(1, 0, None, ok), write(2, 0, None, ok)], &[1, 2][..], vec![]),
            (
                "one sibling is lost",
                vec![write(1, 0, None, ok), write(2, 0, None, ok)],
                &[2],
                vec![(Lost, vec![1])],
            ),
            ("resolved", resolved(ok), &[3], vec![]),
            ("resolved and not", resolved(ok), &[1, 3], vec![(Resurrected, vec![1, 3])]),
            ("a write that may have been", resolved(Unknown), &[3], vec![]),
            ("or may not have been", resolved(Unknown), &[1, 2], vec![]),
            ("but not half", resolved(Unknown), &[2, 3], vec![(Resurrected, vec![2, 3])]),
            ("a refused write was not", resolved(Refused), &[1, 2], vec![]),
            ("a refused write is there", resolved(Refused), &[1, 2, 3], vec![(OutOfNowhere, vec![3])]),
            ("a value from nowhere", vec![], &[9], vec![(OutOfNowhere, vec![9])]),
            ("a value twice", vec![write(1, 0, None, ok)], &[1, 1], vec![(Doubled, vec![1])]),
            (
                "a quorum read misses a quorum write",
                vec![write(1, 0, None, ok), read(5, &[], 1)],
                &[1],
                vec![(Lost, vec![1])],
            ),
            (
                "a read sees the future",
                vec![read(5, &[1], 1), write(1, 10, None, ok)],
                &[1],
                vec![(OutOfNowhere, vec![1])],
            ),
            (
                "a read during the write",
                vec![write(1, 5, None, ok), read(5, &[], 1), read(5, &[1], 2)],
                &[1],
                vec![],
            ),
            ("a context from nowhere", vec![write(1, 5, Some(7), ok)], &[1], vec![(BadHistory, vec![1])]),
            (
                "the context of a write covers itself only",
                vec![
                    write(1, 0, None, ok),
                    write(2, 0, None, Acknowledged(Some(ContextId(1)))),
                    write(3, 5, Some(1), ok),
                ],
                &[3],
                vec![(Lost, vec![1])],
            ),
            (
                "what a seen value replaced is covered too",
                vec![
                    write(1, 0, None, ok),
                    read(2, &[1], 1),
                    write(2, 4, Some(1), Unknown),
                    read(6, &[2], 2),
                    write(3, 8, Some(2), ok),
                ],
                &[1, 3],
                vec![(Resurrected, vec![1, 3])],
            ),
        ] {
            assert_eq!(faults(&history, end), expected, "{what}");
        }
    }

    #[test]
    fn weak_reads_may_be_old_but_not_wrong() {
        let mut old = read(20, &[], 2);
        old.strict = false;
        assert_eq!(faults(&[write(1, 0, None, WriteOutcome::Acknowledged(None)), old], &[1]), vec![]);
        let history = [
            write(1, 0, None, WriteOutcome::Acknowledged(None)),
            read(2, &[1], 1),
            write(2, 4, Some(ContextId(1).0), WriteOutcome::Acknowledged(None)),
        ];
        let mut both = read(20, &[1, 2], 2);
        both.strict = false;
        let found = faults(&[&history[..], &[both]].concat(), &[2]);
        assert_eq!(found, vec![(Fault::Resurrected, vec![1, 2])]);
    }

    #[test]
    fn a_violation_reads_well() {
        let finals = [(b"cart".to_vec(), vec![])].into();
        let mut lost = write(4, 0, None, WriteOutcome::Acknowledged(None));
        lost.key = b"cart".to_vec();
        let text = check(&[lost], &finals)[0].to_string();
        assert_eq!(text, "key \"cart\", at the end: w4 was acknowledged, is gone, and nobody had seen it");
    }
}

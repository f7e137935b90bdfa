//! Checks the laws of the sets against causal histories that are written out in full.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const REPLICAS: usize = 3;
const CLIENTS: usize = 3;

/// A write or delete: everything its writer had seen. The index in the world's list is its name.
struct Event {
    seen: BTreeSet<usize>,
    is_value: bool,
}

#[derive(Clone, Debug)]
enum Op {
    /// A client reads a replica and remembers the context.
    Read {
        client: usize,
        replica: usize,
    },
    /// A client writes with what it remembers, or blindly; it may keep the context it gets back.
    Write {
        client: usize,
        replica: usize,
        blind: bool,
        keep: bool,
    },
    Delete {
        client: usize,
        replica: usize,
    },
    Merge {
        from: usize,
        to: usize,
    },
    /// The node lost its data: empty copy, new incarnation.
    Wipe {
        replica: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (c, r) = (0..CLIENTS, 0..REPLICAS);
    prop_oneof![
        3 => (c.clone(), r.clone()).prop_map(|(client, replica)| Op::Read { client, replica }),
        5 => (c.clone(), r.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(client, replica, blind, keep)| Op::Write { client, replica, blind, keep }),
        1 => (c, r.clone()).prop_map(|(client, replica)| Op::Delete { client, replica }),
        4 => (r.clone(), r.clone()).prop_map(|(from, to)| Op::Merge { from, to }),
        1 => r.prop_map(|replica| Op::Wipe { replica }),
    ]
}

#[derive(Default)]
struct World {
    events: Vec<Event>,
    copies: [SiblingSet<usize>; REPLICAS],
    /// Events whose effect each copy includes, by definition rather than by clocks.
    known: [BTreeSet<usize>; REPLICAS],
    contexts: [Context; CLIENTS],
    seen: [BTreeSet<usize>; CLIENTS],
    incarnations: [u64; REPLICAS],
}

impl World {
    /// Values that no known event has replaced.
    fn expected(&self, known: &BTreeSet<usize>) -> BTreeSet<usize> {
        let replaced: BTreeSet<usize> =
            known.iter().flat_map(|&e| self.events[e].seen.iter().copied()).collect();
        known.iter().copied().filter(|e| self.events[*e].is_value && !replaced.contains(e)).collect()
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Read { client, replica } => {
                self.contexts[client] = self.copies[replica].context().clone();
                self.seen[client] = self.known[replica].clone();
            }
            Op::Write { client, replica, blind, keep } => {
                let (context, seen) = if blind {
                    (Context::default(), BTreeSet::new())
                } else {
                    (self.contexts[client].clone(), self.seen[client].clone())
                };
                let actor = Actor { node: replica as u64, incarnation: self.incarnations[replica] };
                let event = self.events.len();
                let dot = self.copies[replica].update(&context, event, actor);
                self.known[replica].extend(seen.iter().copied());
                self.known[replica].insert(event);
                self.events.push(Event { seen: seen.clone(), is_value: true });
                if keep {
                    let mut context = context;
                    context.insert(dot);
                    self.contexts[client] = context;
                    self.seen[client] = seen;
                    self.seen[client].insert(event);
                }
            }
            Op::Delete { client, replica } => {
                let event = self.events.len();
                self.copies[replica].discard(&self.contexts[client], Hlc(event as u64));
                let seen = self.seen[client].clone();
                self.known[replica].extend(seen.iter().copied());
                self.known[replica].insert(event);
                self.events.push(Event { seen, is_value: false });
            }
            Op::Merge { from, to } => {
                let other = self.copies[from].clone();
                self.copies[to].merge(&other);
                let known = self.known[from].clone();
                self.known[to].extend(known);
            }
            Op::Wipe { replica } => {
                self.copies[replica] = SiblingSet::default();
                self.known[replica].clear();
                self.incarnations[replica] += 1;
            }
        }
    }
}

fn values(set: &SiblingSet<usize>) -> BTreeSet<usize> {
    set.siblings().map(|(_, value)| *value).collect()
}

fn run(ops: &[Op]) -> World {
    let mut world = World::default();
    ops.iter().for_each(|op| world.apply(op));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No lost update, no false concurrency, nothing comes back: siblings are exactly what causality says.
    #[test]
    fn siblings_are_exactly_the_unreplaced_writes(ops in proptest::collection::vec(op(), 0..60)) {
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
            for replica in 0..REPLICAS {
                prop_assert_eq!(values(&world.copies[replica]), world.expected(&world.known[replica]), "after {:?}", op);
            }
        }
    }

    #[test]
    fn merge_is_idempotent_commutative_associative(ops in proptest::collection::vec(op(), 0..60)) {
        let world = run(&ops);
        let [a, b, c] = &world.copies;
        let merge = |x: &SiblingSet<usize>, y: &SiblingSet<usize>| {
            let mut x = x.clone();
            x.merge(y);
            x
        };
        prop_assert_eq!(&merge(a, a), a);
        prop_assert_eq!(merge(a, b), merge(b, a));
        prop_assert_eq!(merge(&merge(a, b), c), merge(a, &merge(b, c)));
    }

    /// Read-modify-write by any number of clients through any coordinators leaves at most one sibling per
    /// client that raced.
    #[test]
    fn read_modify_write_does_not_explode(rounds in proptest::collection::vec((0..CLIENTS, 0..REPLICAS), 1..80)) {
        let mut world = World::default();
        for (client, replica) in rounds {
            world.apply(&Op::Read { client, replica });
            world.apply(&Op::Write { client, replica, blind: false, keep: false });
            for other in 0..REPLICAS {
                world.apply(&Op::Merge { from: replica, to: other });
            }
            prop_assert_eq!(world.copies[replica].siblings().len(), 1);
        }
        prop_assert!(world.copies[0].context().actors() <= REPLICAS);
    }

    /// A writer that only carries forward the context of its own writes never piles up its own values.
    #[test]
    fn own_context_chain_replaces_own_value(n in 1usize..30, replica in 0..REPLICAS) {
        let mut world = World::default();
        world.apply(&Op::Write { client: 1, replica, blind: true, keep: false });
        for _ in 0..n {
            world.apply(&Op::Write { client: 0, replica, blind: false, keep: true });
        }
        // The other client's value, which this one never saw, and its own last.
        prop_assert_eq!(values(&world.copies[replica]), BTreeSet::from([0, n]));
    }
}

#[test]
fn two_blind_writes_are_siblings_and_one_informed_write_settles_them() {
    let (a, b) = (Actor { node: 1, incarnation: 0 }, Actor { node: 2, incarnation: 0 });
    let (mut at_a, mut at_b) = (SiblingSet::default(), SiblingSet::default());
    at_a.update(&Context::default(), "left", a);
    at_b.update(&Context::default(), "right", b);
    at_a.merge(&at_b);
    assert_eq!(at_a.siblings().count(), 2);
    let seen = at_a.context().clone();
    // Through the other coordinator, which has not even seen "left".
    at_b.update(&seen, "settled", b);
    at_a.merge(&at_b);
    assert_eq!(at_a.siblings().map(|(_, v)| *v).collect::<Vec<_>>(), ["settled"]);
    // A late copy of an old state changes nothing.
    let mut old = SiblingSet::default();
    old.update(&Context::default(), "left", a);
    let before = at_a.clone();
    at_a.merge(&old);
    assert_eq!(at_a, before);
}

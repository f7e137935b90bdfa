//! Tests of the checker: it finds planted bugs, accepts correct histories, and on small histories agrees with
//! a search through every order.

use super::linearizability::{
    Action, Budget, Condition, Counterexample, Operation, Outcome, Value, Verdict, check,
};
use proptest::prelude::*;

fn value(text: &str) -> Value {
    (text != "-").then(|| text.as_bytes().to_vec())
}

/// `1: w a 10-20 ok`: client 1 writes a between 10 and 20. `-` is nothing, a return of `?` is unknown.
///
/// w V | d | r | cas OLD NEW | ins V | del OLD, then FROM-TO, then `ok`, `ok was V`, `V` for reads, `fail`,
/// `fail on V`, `refused`.
fn parse(line: &str) -> Operation {
    let (client, rest) = line.split_once(": ").unwrap();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let write = |new: &str, condition| Action::Write { value: value(new), condition };
    let (action, used) = match words[0] {
        "r" => (Action::Read, 1),
        "w" => (write(words[1], Condition::Always), 2),
        "d" => (write("-", Condition::Always), 1),
        "cas" => (write(words[2], Condition::Is(value(words[1]))), 3),
        "ins" => (write(words[1], Condition::Is(None)), 2),
        "del" => (write("-", Condition::Is(value(words[1]))), 2),
        "rm" => (write("-", Condition::Exists), 1),
        other => panic!("no action {other}"),
    };
    let (from, to) = words[used].split_once('-').unwrap();
    let outcome = match &words[used + 1..] {
        [] if to == "?" => Outcome::Unknown,
        ["ok"] => Outcome::Done,
        ["ok", "was", old] => Outcome::DoneOver(value(old)),
        ["fail"] => Outcome::ConditionFailed,
        ["fail", "on", old] => Outcome::ConditionFailedOn(value(old)),
        ["refused"] => Outcome::Refused,
        [read] => Outcome::Value(value(read)),
        other => panic!("no outcome {other:?}"),
    };
    Operation {
        client: client.trim().parse().unwrap(),
        key: b"k".to_vec(),
        action,
        outcome,
        invoke: from.parse().unwrap(),
        ret: to.parse().unwrap_or(u64::MAX),
    }
}

fn parse_all(script: &str) -> Vec<Operation> {
    script.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse).collect()
}

fn judge(history: &[Operation]) -> Result<(), Counterexample> {
    match check(history, &mut Budget::steps(10_000_000)) {
        Verdict::Linearizable => Ok(()),
        Verdict::Violation(example) => Err(example),
        Verdict::OutOfBudget { .. } => panic!("out of budget"),
    }
}

#[test]
fn sound_histories_pass() {
    for (what, script) in [
        ("an empty history", ""),
        ("a read of nothing", "1: r 0-1 -"),
        ("overlapping writes in either order", "1: w a 0-10 ok\n2: w b 0-10 ok\n1: r 11-12 a\n2: r 13-14 a"),
        ("overlapping writes, the other order", "1: w a 0-10 ok\n2: w b 0-10 ok\n1: r 11-12 b"),
        ("a read during a write sees either", "1: w a 0-10 ok\n2: r 1-2 -\n2: r 3-4 a"),
        ("an unknown write takes effect late", "1: w a 0-1 ok\n2: w b 2-?\n1: r 3-4 a\n1: r 50-51 b"),
        ("an unknown write never does", "1: w a 0-1 ok\n2: w b 2-?\n1: r 50-51 a"),
        ("an unknown delete explains absence", "1: w a 0-1 ok\n2: d 2-?\n1: r 50-51 -"),
        ("an unknown insert explains a failed one", "2: ins b 0-?\n1: ins a 1-2 fail"),
        (
            "compare and set in a chain",
            "1: ins a 0-1 ok\n2: cas a b 2-3 ok\n1: cas a c 4-5 fail on b\n1: rm 6-7 ok\n2: rm 8-9 fail",
        ),
        (
            "an old value comes back with the write",
            "1: w a 0-1 ok\n1: w b 2-3 ok was a\n1: del b 4-5 ok was b",
        ),
        ("a refused write did nothing", "1: w a 0-1 refused\n1: r 2-3 -"),
        ("what touches overlaps", "1: w a 0-5 ok\n2: r 5-9 -"),
    ] {
        assert_eq!(judge(&parse_all(script)), Ok(()), "{what}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for (bug, script, kept) in [
        ("stale read", "1: w a 0-1 ok\n1: w b 2-3 ok\n2: r 4-5 a", 3),
        ("lost write", "1: w a 0-1 ok\n2: r 2-3 -", 2),
        ("value from nowhere", "1: w a 0-1 ok\n2: r 2-3 z", 2),
        ("time runs backwards", "1: w a 0-1 ok\n1: w b 2-20 ok\n2: r 3-4 b\n2: r 5-6 a", 4),
        ("two winners of one compare and set", "1: w a 0-1 ok\n1: cas a b 2-9 ok\n2: cas a c 2-9 ok", 3),
        ("two inserts", "1: ins a 0-9 ok\n2: ins b 0-9 ok", 2),
        ("insert failed on nothing", "1: ins a 0-1 fail", 1),
        ("deleted and seen again", "1: w a 0-1 ok\n1: d 2-3 ok\n2: r 4-5 a", 3),
        ("a condition held that did not", "1: w a 0-1 ok\n1: cas b c 2-3 ok", 2),
        ("a condition failed that held", "1: w a 0-1 ok\n1: cas a c 2-3 fail", 2),
        ("an unknown write seen and then unseen", "1: w a 0-1 ok\n2: w b 2-?\n1: r 3-4 b\n1: r 5-6 a", 4),
        ("a refused write seen", "1: w a 0-1 refused\n1: r 2-3 a", 2),
        ("a write over a value that was not there", "1: w a 0-1 ok\n1: w b 2-3 ok was c", 2),
        ("nothing where rm found something", "1: rm 0-1 ok", 1),
        ("an unknown write takes effect before its call", "1: r 0-1 b\n2: w b 2-?", 1),
    ] {
        let example = judge(&parse_all(script)).expect_err(bug);
        assert_eq!(example.history.len(), kept, "{bug}: {example}");
    }
}

#[test]
fn a_counterexample_is_short_and_says_what_is_wrong() {
    // A hundred sound operations, then a stale read, then a hundred more.
    let mut history = Vec::new();
    for n in 0..200u64 {
        history.push(parse(&format!("1: w v{n} {}-{} ok", n * 10, n * 10 + 1)));
        history.push(parse(&format!("2: r {}-{} v{n}", n * 10 + 2, n * 10 + 3)));
    }
    history[201] = parse("2: r 1002-1003 v99");
    let example = judge(&history).unwrap_err();
    assert!(example.history.iter().filter(|op| op.action == Action::Read).count() == 1, "{example}");
    assert_eq!(example.history[example.stuck].invoke, 1002);
    let text = example.to_string();
    assert!(text.contains("  >>> [  1002 -   1003] client 2   read -> \"v99\""), "{text}");
    assert!(text.contains("after it the key holds \"v100\""), "{text}");
}

#[test]
fn keys_are_apart() {
    let mut history = parse_all("1: w a 0-1 ok\n2: r 2-3 -");
    history[1].key = b"other".to_vec();
    assert_eq!(judge(&history), Ok(()));
}

#[test]
fn a_budget_ends_the_search() {
    let history: Vec<Operation> = (0..40).map(|n| parse(&format!("{n}: w v{n} 0-100 ok"))).collect();
    assert!(matches!(check(&history, &mut Budget::steps(10)), Verdict::OutOfBudget { operations: 40, .. }));
    let expired = || true;
    let mut history = history;
    history.push(parse("1: r 200-201 z"));
    let mut budget = Budget::steps(u64::MAX).until(&expired);
    assert!(matches!(check(&history, &mut budget), Verdict::OutOfBudget { .. }));
}

#[test]
fn a_long_busy_history_is_checked_quickly() {
    use rand::{Rng as _, SeedableRng as _};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let history = simulate(&mut |n| rng.random_range(0..n), 4000, 8, 0);
    assert_eq!(judge(&history), Ok(()));
}

/// A real register, used by clients whose operations overlap: each takes effect somewhere between call and
/// return. `flaw` of 1000 reads are answered from the value before.
fn simulate(pick: &mut impl FnMut(u64) -> u64, operations: usize, clients: u64, flaw: u64) -> Vec<Operation> {
    let mut state: Value = None;
    let mut before: Value = None;
    let mut history = Vec::new();
    let mut busy_until = vec![0u64; clients as usize];
    let mut events: Vec<(u64, usize)> = Vec::new();
    for n in 0..operations {
        let client = pick(clients) as usize;
        let invoke = busy_until[client] + 1 + pick(20);
        let effect = invoke + pick(30);
        let mut ret = effect + pick(30);
        let new = Some(format!("v{}", pick(6)).into_bytes());
        let old = if pick(3) == 0 { None } else { Some(format!("v{}", pick(6)).into_bytes()) };
        let action = match pick(7) {
            0..3 => Action::Read,
            3 => Action::Write { value: new, condition: Condition::Always },
            4 => Action::Write { value: None, condition: Condition::Always },
            5 => Action::Write { value: new, condition: Condition::Is(old) },
            _ => Action::Write { value: new, condition: Condition::Exists },
        };
        // Unknown outcomes: the client gives up; the effect comes, late or never.
        let mut outcome = Outcome::Done;
        let mut effect = effect;
        if pick(30) == 0 {
            outcome = Outcome::Unknown;
            effect += pick(200);
            if pick(2) == 0 {
                effect = u64::MAX;
            }
            ret = u64::MAX;
        }
        busy_until[client] = if ret == u64::MAX { invoke + 60 } else { ret };
        history.push(Operation { client: client as u64, key: b"k".to_vec(), action, outcome, invoke, ret });
        events.push((effect, n));
    }
    events.sort_unstable();
    for (effect, n) in events {
        let op = &mut history[n];
        if effect == u64::MAX {
            continue;
        }
        let unknown = op.outcome == Outcome::Unknown;
        let outcome = match &op.action {
            Action::Read if pick(1000) < flaw => Outcome::Value(before.clone()),
            Action::Read => Outcome::Value(state.clone()),
            Action::Write { value, condition } => {
                let holds = match condition {
                    Condition::Always => true,
                    Condition::Is(old) => *old == state,
                    Condition::Exists => state.is_some(),
                };
                if holds {
                    before = std::mem::replace(&mut state, value.clone());
                    if pick(2) == 0 { Outcome::Done } else { Outcome::DoneOver(before.clone()) }
                } else if pick(2) == 0 {
                    Outcome::ConditionFailed
                } else {
                    Outcome::ConditionFailedOn(state.clone())
                }
            }
        };
        if !unknown {
            op.outcome = outcome;
        }
    }
    history
}

/// Tries every order of every choice of the unknown operations. Written apart from the checker, and as
/// plainly as can be.
fn brute_force(history: &[Operation]) -> bool {
    let relevant: Vec<&Operation> = history
        .iter()
        .filter(|op| {
            op.outcome != Outcome::Refused && !(op.outcome == Outcome::Unknown && op.action == Action::Read)
        })
        .collect();
    let unknown: Vec<usize> =
        (0..relevant.len()).filter(|&i| relevant[i].outcome == Outcome::Unknown).collect();
    (0..1usize << unknown.len()).any(|chosen| {
        let mut order: Vec<&Operation> = Vec::new();
        for (i, op) in relevant.iter().enumerate() {
            match unknown.iter().position(|&u| u == i) {
                Some(bit) if chosen >> bit & 1 == 0 => {}
                _ => order.push(op),
            }
        }
        let count = order.len();
        permute(&mut order, count)
    })
}

fn permute(order: &mut Vec<&Operation>, free: usize) -> bool {
    if free <= 1 {
        return explains(order);
    }
    (0..free).any(|at| {
        order.swap(at, free - 1);
        let found = permute(order, free - 1);
        order.swap(at, free - 1);
        found
    })
}

fn explains(order: &[&Operation]) -> bool {
    let returned = |op: &Operation| if op.outcome == Outcome::Unknown { u64::MAX } else { op.ret };
    for (at, later) in order.iter().enumerate() {
        if order[..at].iter().any(|earlier| earlier.invoke > returned(later)) {
            return false;
        }
    }
    let mut state: Value = None;
    for op in order {
        let before = state.clone();
        let answer = match &op.action {
            Action::Read => vec![Outcome::Value(before)],
            Action::Write { value, condition } => {
                let holds = match condition {
                    Condition::Always => true,
                    Condition::Is(expected) => *expected == before,
                    Condition::Exists => before.is_some(),
                };
                if holds {
                    state = value.clone();
                    vec![Outcome::Done, Outcome::DoneOver(before)]
                } else {
                    vec![Outcome::ConditionFailed, Outcome::ConditionFailedOn(before)]
                }
            }
        };
        if op.outcome != Outcome::Unknown && !answer.contains(&op.outcome) {
            return false;
        }
    }
    true
}

fn any_value() -> impl Strategy<Value = Value> {
    prop::option::of((0u8..3).prop_map(|v| vec![v]))
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let condition = prop_oneof![
        2 => Just(Condition::Always),
        2 => any_value().prop_map(Condition::Is),
        1 => Just(Condition::Exists)
    ];
    let write = (any_value(), condition, 0u8..12, any_value()).prop_map(|(value, condition, kind, old)| {
        let outcome = match kind {
            0..4 => Outcome::Done,
            4 => Outcome::DoneOver(old),
            5 => Outcome::ConditionFailed,
            6 => Outcome::ConditionFailedOn(old),
            7 => Outcome::Refused,
            _ => Outcome::Unknown, // a third of the writes: the shortcuts are about these
        };
        (Action::Write { value, condition }, outcome)
    });
    let read = any_value().prop_map(|value| (Action::Read, Outcome::Value(value)));
    (prop_oneof![write, read], 0u64..12, 0u64..8).prop_map(|((action, outcome), invoke, length)| Operation {
        client: 0,
        key: b"k".to_vec(),
        action,
        outcome,
        invoke,
        ret: invoke + length,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_trying_every_order(history in prop::collection::vec(any_operation(), 0..7)) {
        let found = judge(&history);
        prop_assert_eq!(found.is_ok(), brute_force(&history), "{:?}", found);
        if let Err(example) = found {
            prop_assert!(!brute_force(&example.history), "the counterexample is none: {example}");
        }
    }

    #[test]
    fn what_a_real_register_did_passes_and_with_a_flaw_the_two_still_agree(
        picks in prop::collection::vec(any::<u64>(), 80), flaw in prop::sample::select(vec![0u64, 400]),
    ) {
        let mut picks = picks.into_iter().cycle();
        let history = simulate(&mut |n| picks.next().unwrap() % n, 6, 3, flaw);
        let found = judge(&history);
        prop_assert_eq!(found.is_ok(), brute_force(&history), "{:?}", found);
        prop_assert!(flaw > 0 || found.is_ok());
    }
}

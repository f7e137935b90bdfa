//! Tests of the replica core over a store that can fail and can lose what is not durable.

use super::*;
use parking_lot::Mutex;
use std::sync::Arc;
use torc_engine::{Error, Result as EngineResult};

#[derive(Default)]
struct Disk {
    /// Batches in log order; a crash keeps a prefix.
    log: Vec<Vec<(Bytes, Bytes)>>,
    full: bool,
}

#[derive(Clone, Default)]
struct TestStore(Arc<Mutex<Disk>>);

impl TestStore {
    fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.0.lock().log.iter().flatten().cloned().collect()
    }
    /// What is left after losing everything past `lsn`.
    fn crash(&self, lsn: Lsn) {
        self.0.lock().log.truncate(lsn as usize);
    }
    fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }
}

impl Store for TestStore {
    fn get(&self, key: &[u8]) -> EngineResult<Option<Bytes>> {
        Ok(self.rows().get(key).cloned())
    }
    fn write(&self, rows: &[(Bytes, Bytes)]) -> EngineResult<Lsn> {
        let mut disk = self.0.lock();
        if disk.full {
            return Err(Error::DiskFull { path: "log".into() });
        }
        disk.log.push(rows.to_vec());
        Ok(disk.log.len() as Lsn)
    }
    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> EngineResult<()> {
        for (key, value) in self.rows() {
            if start <= &key[..] && &key[..] < end && !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

const NOW: u64 = 1_700_000_000_000;

fn key() -> StorageKey {
    StorageKey::new(16, 99, b"k")
}

fn put(body: &'static str, context: &Context) -> PutOp {
    let value = Value { body: body.into(), ..Value::default() };
    PutOp { policy: Policy::Siblings, context: context.clone(), value: Some(value) }
}

fn open(store: &TestStore, node: u64, now: u64) -> BucketReplica<TestStore> {
    BucketReplica::open(store.clone(), node, now).unwrap()
}

fn bodies(record: Option<Bytes>) -> Vec<String> {
    let Some(record) = record else { return Vec::new() };
    let state = State::decode(record).unwrap();
    state.live(NOW).iter().map(|v| String::from_utf8(v.body.to_vec()).unwrap()).collect()
}

fn pending(stage: Stage) -> Ticket {
    match stage {
        Stage::Pending(ticket) => ticket,
        Stage::Done(accepted) => panic!("expected to wait, got {accepted:?}"),
    }
}

/// Stages, commits and makes durable one operation.
fn settle(replica: &mut BucketReplica<TestStore>, op: PutOp) -> Accepted {
    match replica.put(&key(), op, NOW).unwrap() {
        Stage::Done(accepted) => accepted,
        Stage::Pending(ticket) => {
            let lsn = replica.commit().lsn.unwrap();
            let mut outcomes = replica.durable(lsn);
            assert_eq!(outcomes.len(), 1);
            let (done, result) = outcomes.remove(0);
            assert_eq!(done, ticket);
            result.unwrap()
        }
    }
}

#[test]
fn nothing_is_seen_before_it_is_durable_and_batches_settle_in_order() {
    let store = TestStore::default();
    let mut replica = open(&store, 1, NOW);
    let blind = Context::default();
    let first = pending(replica.put(&key(), put("a", &blind), NOW).unwrap());
    let second = pending(replica.put(&key(), put("b", &blind), NOW).unwrap());
    let one = replica.commit().lsn.unwrap();
    let third = pending(replica.put(&key(), put("c", &blind), NOW).unwrap());
    let two = replica.commit().lsn.unwrap();
    assert_eq!(store.0.lock().log.len(), 2, "one log append for each batch");
    assert_eq!(replica.read(&key()).unwrap(), None);
    assert_eq!(replica.digest(&key()).unwrap(), crate::bucket::EMPTY_DIGEST);

    let outcomes = replica.durable(one);
    assert_eq!(outcomes.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [first, second]);
    assert_eq!(bodies(replica.read(&key()).unwrap()), ["a", "b"]);
    assert_eq!(outcomes[0].1.as_ref().unwrap().record, replica.read(&key()).unwrap().unwrap());

    let outcomes = replica.durable(two);
    assert_eq!(outcomes.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [third]);
    assert_eq!(bodies(replica.read(&key()).unwrap()), ["a", "b", "c"]);
    assert!(replica.in_flight.is_empty() && replica.pending() == 0);
}

#[test]
fn a_context_from_a_put_covers_that_put_only() {
    let mut replica = open(&TestStore::default(), 1, NOW);
    let other = settle(&mut replica, put("other", &Context::default()));
    let mine = settle(&mut replica, put("mine", &Context::default()));
    let again = settle(&mut replica, put("mine 2", &mine.context));
    assert_eq!(bodies(Some(again.record.clone())), ["other", "mine 2"]);
    let all = State::decode(again.record).unwrap().context();
    assert_eq!(bodies(Some(settle(&mut replica, put("one", &all)).record)), ["one"]);
    assert!(!other.context.covers(&mine.context));
}

#[test]
fn deletes_take_what_was_seen_and_stay_as_tombstones() {
    let mut replica = open(&TestStore::default(), 1, NOW);
    let seen = settle(&mut replica, put("seen", &Context::default()));
    let late = settle(&mut replica, put("late", &Context::default()));
    let delete =
        |context: &Context| PutOp { policy: Policy::Siblings, context: context.clone(), value: None };
    assert_eq!(bodies(Some(settle(&mut replica, delete(&seen.context)).record)), ["late"]);
    let gone = settle(&mut replica, delete(&late.context));
    let State::Siblings(set) = State::decode(gone.record.clone()).unwrap() else { panic!("policy") };
    assert!(set.is_tombstone() && set.deleted().ms() >= NOW && set.context().covers(&seen.context));
    // Again: nothing to do, and nothing written.
    assert!(!settle(&mut replica, delete(&late.context)).changed);
    // A late copy of the first write does not come back.
    match replica.merge(&key(), seen.record, NOW).unwrap() {
        Stage::Done(accepted) => assert_eq!(accepted.record, gone.record),
        Stage::Pending(_) => panic!("a known dot changed a tombstone"),
    }
}

#[test]
fn a_retry_of_an_operation_is_one_write() {
    for policy in [Policy::Siblings, Policy::LastWriterWins] {
        let mut replica = open(&TestStore::default(), 1, NOW);
        let op = |body: &'static str| PutOp {
            policy,
            context: Context::default(),
            value: Some(Value { body: body.into(), operation: 7, ..Value::default() }),
        };
        let first = settle(&mut replica, op("v"));
        let again = settle(&mut replica, op("v"));
        assert_eq!((first.changed, again.changed), (true, false), "{policy:?}");
        assert_eq!((first.record, first.context), (again.record, again.context), "{policy:?}");
    }
}

#[test]
fn a_retry_that_finds_its_own_first_attempt_in_flight_waits_for_it() {
    let mut replica = open(&TestStore::default(), 1, NOW);
    let op = PutOp {
        policy: Policy::Siblings,
        context: Context::default(),
        value: Some(Value { body: "v".into(), operation: 7, ..Value::default() }),
    };
    for commit_between in [false, true] {
        let op = PutOp {
            value: op.value.clone().map(|v| Value { operation: 8 + u64::from(commit_between), ..v }),
            ..op.clone()
        };
        let first = pending(replica.put(&key(), op.clone(), NOW).unwrap());
        let mut lsn = None;
        if commit_between {
            lsn = replica.commit().lsn;
        }
        let again = pending(replica.put(&key(), op, NOW).unwrap());
        let lsn = replica.commit().lsn.or(lsn).unwrap();
        assert!(replica.durable(lsn - 1).is_empty());
        assert_eq!(replica.durable(lsn).iter().map(|(t, _)| *t).collect::<Vec<_>>(), [first, again]);
    }
}

#[test]
fn replicas_exchange_and_agree_byte_for_byte() {
    let (mut a, mut b) = (open(&TestStore::default(), 1, NOW), open(&TestStore::default(), 2, NOW));
    let at_a = settle(&mut a, put("left", &Context::default()));
    let at_b = settle(&mut b, put("right", &Context::default()));
    assert_ne!(a.digest(&key()).unwrap(), b.digest(&key()).unwrap());
    for (replica, record) in [(&mut a, at_b.record), (&mut b, at_a.record)] {
        pending(replica.merge(&key(), record, NOW).unwrap());
        let lsn = replica.commit().lsn.unwrap();
        assert!(
            replica
                .durable(lsn)
                .iter()
                .all(|(_, result)| result.as_ref().is_ok_and(|accepted| accepted.changed))
        );
    }
    assert_eq!(a.digest(&key()).unwrap(), b.digest(&key()).unwrap());
    assert_eq!(bodies(a.read(&key()).unwrap()).len(), 2);
}

#[test]
fn a_full_disk_fails_the_batch_and_leaves_the_old_state() {
    let store = TestStore::default();
    let mut replica = open(&store, 1, NOW);
    settle(&mut replica, put("old", &Context::default()));
    store.set_full(true);
    let ticket = pending(replica.put(&key(), put("new", &Context::default()), NOW).unwrap());
    let commit = replica.commit();
    assert_eq!(commit.lsn, None);
    assert!(matches!(&commit.failed[..], [(t, Err(ReplicaError::DiskFull))] if *t == ticket));
    assert_eq!(bodies(replica.read(&key()).unwrap()), ["old"]);
    store.set_full(false);
    assert_eq!(
        bodies(Some(settle(&mut replica, put("later", &Context::default())).record)),
        ["old", "later"]
    );
}

#[test]
fn a_crash_takes_back_only_what_nobody_saw_and_keeps_the_incarnation() {
    let store = TestStore::default();
    let mut replica = open(&store, 1, NOW);
    let kept = settle(&mut replica, put("kept", &Context::default()));
    replica.put(&key(), put("lost", &Context::default()), NOW).unwrap();
    let lsn = replica.commit().lsn.unwrap();
    store.crash(lsn - 1);
    let mut again = open(&store, 1, NOW + 5);
    assert_eq!(again.actor(), replica.actor());
    assert_eq!(again.read(&key()).unwrap(), Some(kept.record));
    // The lost dot is minted again, which is safe because it was never shown.
    assert_eq!(bodies(Some(settle(&mut again, put("new", &Context::default())).record)), ["kept", "new"]);
}

#[test]
fn a_node_without_its_history_takes_a_new_incarnation_before_it_writes() {
    let mut other = open(&TestStore::default(), 2, NOW);
    let old = settle(&mut open(&TestStore::default(), 1, NOW), put("first life", &Context::default()));
    pending(other.merge(&key(), old.record.clone(), NOW).unwrap());
    let lsn = other.commit().lsn.unwrap();
    other.durable(lsn);

    // A wiped disk: no incarnation stored, so a new one.
    assert_ne!(open(&TestStore::default(), 1, NOW + 1).actor().incarnation, NOW);
    // A restored disk: the incarnation is there, the write is not. Found by a merge, and by a client's
    // context.
    for by_merge in [true, false] {
        let store = TestStore::default();
        let mut restored = open(&store, 1, NOW);
        let context = if by_merge {
            pending(restored.merge(&key(), old.record.clone(), NOW + 9).unwrap());
            Context::default()
        } else {
            old.context.clone()
        };
        let ticket = pending(restored.put(&key(), put("second life", &context), NOW + 9).unwrap());
        assert_eq!((restored.lost_histories(), restored.actor().incarnation), (1, NOW + 9));
        let lsn = restored.commit().lsn.unwrap();
        let outcomes = restored.durable(lsn);
        let (_, accepted) = outcomes.into_iter().find(|(t, _)| *t == ticket).unwrap();
        let mut seen = State::decode(other.read(&key()).unwrap().unwrap()).unwrap();
        seen.merge(&State::decode(accepted.unwrap().record).unwrap()).unwrap();
        let expected: &[&str] = if by_merge { &["first life", "second life"] } else { &["second life"] };
        assert_eq!(bodies(Some(seen.encode())), expected);
        assert_eq!(open(&store, 1, NOW + 99).actor(), restored.actor(), "the new incarnation is stored");
    }
}

#[test]
fn last_writer_wins_orders_by_timestamp_and_survives_a_clock_that_jumps_back() {
    let mut replica = open(&TestStore::default(), 1, NOW);
    let op = |body: Option<&'static str>| PutOp {
        policy: Policy::LastWriterWins,
        context: Context::default(),
        value: body.map(|body| Value { body: body.into(), ..Value::default() }),
    };
    let mut run = |body, now| {
        pending(replica.put(&key(), op(body), now).unwrap());
        let lsn = replica.commit().lsn.unwrap();
        replica.durable(lsn).remove(0).1.unwrap().record
    };
    let first = run(Some("first"), NOW);
    assert_eq!(bodies(Some(run(Some("second"), NOW - 1_000_000))), ["second"]);
    let gone = run(None, 5);
    assert!(bodies(Some(gone.clone())).is_empty());
    // The old write, arriving late, stays dead.
    let Stage::Done(accepted) = replica.merge(&key(), first, NOW).unwrap() else {
        panic!("the tombstone lost")
    };
    assert_eq!(accepted.record, gone);
}

#[test]
fn limits_and_foreign_records_are_refused_without_a_trace() {
    let store = TestStore::default();
    let mut replica = open(&store, 1, NOW);
    for _ in 0..MAX_SIBLINGS {
        settle(&mut replica, put("v", &Context::default()));
    }
    let before = replica.read(&key()).unwrap();
    let refused = replica.put(&key(), put("one more", &Context::default()), NOW);
    assert_eq!(refused, Err(ReplicaError::TooManySiblings(MAX_SIBLINGS + 1)));
    let mut lww = put("x", &Context::default());
    lww.policy = Policy::LastWriterWins;
    assert!(matches!(replica.put(&key(), lww, NOW), Err(ReplicaError::Record(_))));
    assert!(matches!(
        replica.merge(&key(), Bytes::from_static(b"\x01\x09"), NOW),
        Err(ReplicaError::Record(_))
    ));
    assert_eq!(replica.commit().lsn, None);
    assert_eq!(replica.read(&key()).unwrap(), before);
    // Reading and writing with the context settles it.
    let all = State::decode(before.unwrap()).unwrap().context();
    assert_eq!(bodies(Some(settle(&mut replica, put("settled", &all)).record)), ["settled"]);
}

#[test]
fn listing_shows_durable_live_keys_of_the_range() {
    let store = TestStore::default();
    let mut replica = open(&store, 1, NOW);
    let blind = Context::default();
    let at = |token: u64, key: &'static str| StorageKey::new(16, token, key.as_bytes());
    for (token, name) in [(1, "a"), (2, "b"), (2, "dead"), (3, "c"), (9, "outside")] {
        replica.put(&at(token, name), put("v", &blind), NOW).unwrap();
    }
    let lsn = replica.commit().lsn.unwrap();
    replica.durable(lsn);
    let seen = State::decode(replica.read(&at(2, "dead")).unwrap().unwrap()).unwrap().context();
    replica.put(&at(2, "dead"), PutOp { policy: Policy::Siblings, context: seen, value: None }, NOW).unwrap();
    let lsn = replica.commit().lsn.unwrap();
    replica.durable(lsn);
    replica.put(&at(2, "not yet durable"), put("v", &blind), NOW).unwrap();
    replica.commit();
    let list = |from: u64, to: u64, limit: usize| {
        let mut keys = Vec::new();
        replica
            .list(
                &crate::bucket::key::token_start(16, from),
                &crate::bucket::key::token_end(16, to),
                NOW,
                &mut |key| {
                    keys.push(String::from_utf8(key.key().to_vec()).unwrap());
                    keys.len() < limit
                },
            )
            .unwrap();
        keys
    };
    assert_eq!(list(0, 5, 10), ["a", "b", "c"]);
    assert_eq!(list(2, 2, 10), ["b"]);
    assert_eq!(list(0, 5, 2), ["a", "b"]);
}

#[test]
fn expired_values_and_doubled_operations_are_not_shown() {
    let mut a = open(&TestStore::default(), 1, NOW);
    let mut b = open(&TestStore::default(), 2, NOW);
    let op = |body: &'static str, expires_ms, operation| PutOp {
        policy: Policy::Siblings,
        context: Context::default(),
        value: Some(Value { body: body.into(), expires_ms, operation, ..Value::default() }),
    };
    settle(&mut a, op("short", NOW + 10, 0));
    settle(&mut a, op("twice", 0, 5));
    let other = settle(&mut b, op("twice", 0, 5));
    let mut state = State::decode(a.read(&key()).unwrap().unwrap()).unwrap();
    state.merge(&State::decode(other.record).unwrap()).unwrap();
    let at = |now| state.live(now).iter().map(|v| v.body.clone()).collect::<Vec<_>>();
    assert_eq!(at(NOW + 9), ["short", "twice"]);
    assert_eq!(at(NOW + 10), ["twice"]);
}

//! Clients of buckets: puts with and without context, deletes and gets, at all levels and through all nodes,
//! recorded for the causal oracle.

use super::shared::Shared;
use crate::checker::causal::{BucketAction, BucketOp, ContextId, WriteId, WriteOutcome};
use crate::world::machine::Process;
use bytes::Bytes;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use torc_coordinator::bucket::{
    BucketError, Buckets, DeleteRequest, ErrorKind, GetAnswer, GetRequest, Level, PutRequest, WriteAnswer,
};

/// The bucket's name.
pub const BUCKET: &str = "b";
/// Longest an operation may hang before the client gives up: longer than the node's own deadline.
const PATIENCE: Duration = Duration::from_secs(8);
/// Contexts remembered for each key, to be used again by anybody.
const REMEMBERED: usize = 8;

/// What was done on the bucket.
#[derive(Default)]
pub struct BucketRecord {
    /// Every operation.
    pub history: Vec<BucketOp>,
    /// Every context that was returned; a [`ContextId`] is a place in here.
    contexts: Vec<Bytes>,
    /// Contexts of each key that were returned last.
    recent: BTreeMap<String, Vec<ContextId>>,
    writes: u64,
}

impl BucketRecord {
    fn returned(&mut self, name: &str, context: Bytes) -> ContextId {
        let id = ContextId(self.contexts.len() as u64);
        self.contexts.push(context);
        let recent = self.recent.entry(name.to_string()).or_default();
        recent.push(id);
        if recent.len() > REMEMBERED {
            recent.remove(0);
        }
        id
    }

    fn bytes(&self, id: ContextId) -> Bytes {
        self.contexts.get(id.0 as usize).cloned().unwrap_or_default()
    }
}

/// The keys in use.
pub fn names(shared: &Shared) -> impl Iterator<Item = String> + use<> {
    (0..shared.keys).map(|key| format!("b{key}"))
}

fn random_level(rng: &mut ChaCha8Rng) -> Level {
    *[Level::One, Level::Quorum, Level::Quorum, Level::Quorum, Level::Quorum, Level::All]
        .choose(rng)
        .unwrap_or(&Level::Quorum)
}

/// Whether reads and writes of this level meet each other.
fn is_strict(level: Level) -> bool {
    level != Level::One
}

/// Runs one client until `until`, then ends.
pub async fn run(shared: Arc<Shared>, client: u64, seed: u64, until: Instant) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut own: BTreeMap<String, ContextId> = BTreeMap::new();
    while Instant::now() < until {
        sleep(Duration::from_millis(rng.random_range(1..40))).await;
        let Some(process) = shared.some_process(&mut rng) else { continue };
        let name = format!("b{}", rng.random_range(0..shared.keys));
        let level = random_level(&mut rng);
        let context = match rng.random_range(0..10) {
            0..=1 => None,
            2..=3 => shared.buckets.lock().recent.get(&name).and_then(|r| r.choose(&mut rng)).copied(),
            _ => own.get(&name).copied(),
        };
        let returned = match rng.random_range(0..10) {
            0..=3 => read(&shared, &process, client, &name, level).await.and_then(|(_, context)| context),
            4 if context.is_some() => write(&shared, &process, client, &name, level, true, context).await,
            _ => write(&shared, &process, client, &name, level, false, context).await,
        };
        if let Some(returned) = returned {
            own.insert(name, returned);
        }
    }
}

/// A read, recorded if it was answered: the siblings and the context.
pub async fn read(
    shared: &Shared,
    process: &Process,
    client: u64,
    name: &str,
    level: Level,
) -> Option<(Vec<WriteId>, Option<ContextId>)> {
    let buckets = process.node.buckets()?;
    let request = GetRequest {
        bucket: BUCKET.into(),
        key: Bytes::copy_from_slice(name.as_bytes()),
        r: Some(level),
        deadline: None,
    };
    let invoke = shared.now();
    let answer: GetAnswer = timeout(PATIENCE, process.call(buckets.get(request))).await.ok()??.ok()?;
    let values: Vec<WriteId> = answer.siblings.iter().map(|s| id_of(&s.value)).collect();
    let mut record = shared.buckets.lock();
    let returned = Some(answer.context).filter(|c| !c.is_empty()).map(|c| record.returned(name, c));
    let action = BucketAction::Read { values: values.clone(), returned };
    let key = name.as_bytes().to_vec();
    let (ret, strict) = (shared.now(), is_strict(level));
    record.history.push(BucketOp { client, key, invoke, ret, strict, action });
    Some((values, returned))
}

/// A put or delete, recorded. The context that it returned, if it was acknowledged.
async fn write(
    shared: &Shared,
    process: &Process,
    client: u64,
    name: &str,
    level: Level,
    tombstone: bool,
    context: Option<ContextId>,
) -> Option<ContextId> {
    let buckets = process.node.buckets()?;
    let (id, brought) = {
        let mut record = shared.buckets.lock();
        record.writes += 1;
        (WriteId(record.writes), context.map(|c| record.bytes(c)).unwrap_or_default())
    };
    let (bucket, key) = (BUCKET.to_string(), Bytes::copy_from_slice(name.as_bytes()));
    let call = if tombstone {
        let request =
            DeleteRequest { bucket, key, context: brought, w: Some(level), operation: 0, deadline: None };
        buckets.delete(request)
    } else {
        let value = Bytes::from(format!("w{}", id.0));
        let request =
            PutRequest { bucket, key, value, context: brought, w: Some(level), ..PutRequest::default() };
        buckets.put(request)
    };
    let invoke = shared.now();
    let answer = timeout(PATIENCE, process.call(call)).await.ok().flatten();
    let mut record = shared.buckets.lock();
    let outcome = outcome(answer, |context| record.returned(name, context));
    let action = BucketAction::Write { id, tombstone, context, outcome };
    let key = name.as_bytes().to_vec();
    let (ret, strict) = (shared.now(), is_strict(level));
    record.history.push(BucketOp { client, key, invoke, ret, strict, action });
    match outcome {
        WriteOutcome::Acknowledged(context) => context,
        _ => None,
    }
}

/// What an answer says of a write, by the words of each error kind.
fn outcome(
    answer: Option<Result<WriteAnswer, BucketError>>,
    returned: impl FnOnce(Bytes) -> ContextId,
) -> WriteOutcome {
    match answer {
        Some(Ok(answer)) => {
            WriteOutcome::Acknowledged(Some(answer.context).filter(|c| !c.is_empty()).map(returned))
        }
        Some(Err(error)) => match error.kind {
            ErrorKind::InvalidArgument
            | ErrorKind::NoSuchBucket
            | ErrorKind::BucketExists
            | ErrorKind::Unavailable
            | ErrorKind::DiskFull
            | ErrorKind::TooManySiblings => WriteOutcome::Refused,
            ErrorKind::NotEnoughAnswers | ErrorKind::Storage | ErrorKind::Internal => WriteOutcome::Unknown,
        },
        None => WriteOutcome::Unknown,
    }
}

/// The write that a value names. A value that none of the clients wrote is write 0, which never was.
fn id_of(value: &[u8]) -> WriteId {
    let text = std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix('w'));
    WriteId(text.and_then(|number| number.parse().ok()).unwrap_or(0))
}

//! Clients of tables: random operations on a few keys, with every call and answer recorded for the
//! linearizability checker.

use super::shared::Shared;
use crate::checker::linearizability::{Action, Condition as Was, Operation, Outcome};
use crate::world::machine::Process;
use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use torc_coordinator::tables::route::RouteError;
use torc_model::expr::{ExpressionKind, ParsedCondition, Placeholders};
use torc_model::{AttributeValue, Item, codec, size};
use torc_wire::table::{DeleteAction, ItemAction, ItemWrite, PutAction};

/// Longest an operation may hang before the client gives up: longer than the node's own deadline.
const PATIENCE: Duration = Duration::from_secs(8);

/// An item with one value, and an attribute for the indexes that some items lack and that can't be a key in some.
fn item(name: &str, value: &str) -> Item {
    let mut item = BTreeMap::from([
        ("pk".to_string(), AttributeValue::S(name.into())),
        ("v".to_string(), AttributeValue::S(value.into())),
    ]);
    let class = value.bytes().map(u64::from).sum::<u64>() % 7;
    match class {
        0..=4 => item.insert("c".into(), AttributeValue::S(format!("c{}", class / 2))),
        5 => item.insert("c".into(), AttributeValue::N(7i64.into())),
        _ => None,
    };
    item
}

fn value_of(record: &[u8]) -> Option<Vec<u8>> {
    let (_, item) = codec::decode_record(record).ok()?;
    match item.get("v") {
        Some(AttributeValue::S(value)) => Some(value.clone().into_bytes()),
        _ => None,
    }
}

fn condition(was: &Was) -> Bytes {
    let (text, value) = match was {
        Was::Always => return Bytes::new(),
        Was::Exists => ("attribute_exists(pk)", None),
        Was::Is(None) => ("attribute_not_exists(pk)", None),
        Was::Is(Some(value)) => ("v = :v", Some(String::from_utf8_lossy(value).into_owned())),
    };
    let values = value.map(|v| BTreeMap::from([(":v".to_string(), AttributeValue::S(v))]));
    let bound = Placeholders::new(None, values)
        .and_then(|mut p| ParsedCondition::parse(ExpressionKind::Condition, text)?.bind(&mut p));
    match bound {
        Ok(condition) => condition.encode().into(),
        Err(error) => unreachable!("a fixed expression: {error}"),
    }
}

/// Runs one client until `until`, then ends.
pub async fn run(shared: Arc<Shared>, client: u64, seed: u64, until: Instant) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut counter = 0u64;
    let mut last_seen: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    while Instant::now() < until {
        sleep(Duration::from_millis(rng.random_range(1..30))).await;
        let Some(process) = shared.some_process(&mut rng) else { continue };
        let name = format!("k{}", rng.random_range(0..shared.keys));
        if rng.random_bool(0.4) {
            if let Outcome::Value(value) = read(&shared, &process, client, &name).await {
                last_seen.insert(name, value);
            }
            continue;
        }
        counter += 1;
        let value =
            if rng.random_bool(0.15) { None } else { Some(format!("c{client}-{counter}").into_bytes()) };
        let was = match rng.random_range(0..10) {
            0..=5 => Was::Always,
            6 => Was::Is(None),
            7 => Was::Exists,
            _ => Was::Is(last_seen.get(&name).cloned().flatten()),
        };
        write(&shared, &process, client, &name, value, was).await;
    }
}

/// A strong read, recorded.
pub async fn read(shared: &Shared, process: &Process, client: u64, name: &str) -> Outcome {
    let location = shared.location(name);
    let invoke = shared.now();
    let answer =
        timeout(PATIENCE, process.call(process.node.tables().read(shared.table, &location, true))).await;
    let outcome = match answer {
        Ok(Some(Ok(record))) => Outcome::Value(record.and_then(|r| value_of(&r))),
        Ok(Some(Err(_)) | None) | Err(_) => Outcome::Refused,
    };
    record(shared, client, name, Action::Read, outcome.clone(), invoke);
    outcome
}

/// A write, recorded.
pub async fn write(
    shared: &Shared,
    process: &Process,
    client: u64,
    name: &str,
    value: Option<Vec<u8>>,
    was: Was,
) -> Outcome {
    let location = shared.location(name);
    let action = match &value {
        None => ItemAction::Delete(DeleteAction {}),
        Some(value) => {
            let item = item(name, &String::from_utf8_lossy(value));
            let mut bytes = Vec::new();
            codec::encode_item(&item, &mut bytes);
            ItemAction::Put(PutAction { item: bytes.into(), item_bytes: size::item_size(&item) as u64 })
        }
    };
    let command = ItemWrite {
        key: location.key,
        condition: condition(&was),
        action: Some(action),
        return_old: true,
        return_on_failure: true,
        ..ItemWrite::default()
    };
    let invoke = shared.now();
    let answer =
        timeout(PATIENCE, process.call(process.node.tables().write(shared.table, location.token, command)))
            .await;
    let outcome = match answer {
        Ok(Some(Ok(done))) => match done.error {
            None => Outcome::DoneOver(done.old.and_then(|r| value_of(&r))),
            Some(error) if error.code.ends_with("ConditionalCheckFailedException") => {
                Outcome::ConditionFailedOn(error.item.and_then(|r| value_of(&r)))
            }
            Some(_) => Outcome::Unknown,
        },
        Ok(Some(Err(RouteError::Unavailable(_) | RouteError::Gone))) => Outcome::Refused,
        Ok(Some(Err(RouteError::Ambiguous(_) | RouteError::Storage(_))) | None) | Err(_) => Outcome::Unknown,
    };
    let action = Action::Write { value, condition: was };
    record(shared, client, name, action, outcome.clone(), invoke);
    outcome
}

fn record(shared: &Shared, client: u64, name: &str, action: Action, outcome: Outcome, invoke: u64) {
    let ret = shared.now();
    let key = name.as_bytes().to_vec();
    shared.history.lock().push(Operation { client, key, action, outcome, invoke, ret });
}

//! Global secondary indexes under faults. A table is created with two indexes, a third is created while
//! clients write, and one of the first two is deleted. At the end each index must equal its table, and the
//! change log must be read to its end.

use super::ending::describe;
use super::shared::Shared;
use crate::checker::indexes::compare;
use crate::world::World;
use crate::world::watch::dumps;
use anyhow::{Context as _, bail, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::TableId;
use torc_cluster::topology::{Command, IndexChange, IndexStatus, Topology};
use torc_coordinator::node::Node;
use torc_model::key::{TokenHasher, space};
use torc_model::ops::{CreateTable, UpdateTable};
use torc_model::schema::{IndexRef, TableSchema};
use torc_model::{Item, codec};
use torc_replica::machine::{change_log, global_index, schema};

/// How long indexes may take to follow once everything has healed.
const FOLLOW_LIMIT: Duration = Duration::from_secs(30);
/// Partitions of each index.
pub const PARTITIONS: u32 = 2;
/// The index that is taken away.
const DOOMED: &str = "doomed";
/// The index that is made on the way.
const LATE: &str = "late";

/// The table: items have a key `pk`, a value `v`, and an attribute `c` of few values that some items lack and
/// in some is a number.
pub fn table_schema() -> TableSchema {
    let body = br#"{"TableName":"t-1","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"v","AttributeType":"S"},
            {"AttributeName":"c","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],
        "GlobalSecondaryIndexes":[
            {"IndexName":"values","KeySchema":[{"AttributeName":"v","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}},
            {"IndexName":"doomed","KeySchema":[{"AttributeName":"c","KeyType":"HASH"},{"AttributeName":"v","KeyType":"RANGE"}],
             "Projection":{"ProjectionType":"KEYS_ONLY"}}]}"#;
    match CreateTable::parse(body) {
        Ok(request) => request.schema,
        Err(error) => unreachable!("a fixed request: {error}"),
    }
}

const MAKE: &[u8] = br#"{"TableName":"t-1","AttributeDefinitions":[{"AttributeName":"c","AttributeType":"S"}],
    "GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"late","KeySchema":[{"AttributeName":"c","KeyType":"HASH"}],
        "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["v"]}}}]}"#;
const TAKE_AWAY: &[u8] =
    br#"{"TableName":"t-1","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"doomed"}}]}"#;

/// Makes one index and takes another away while clients work.
pub async fn manage(shared: Arc<Shared>, seed: u64, until: Instant) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut steps = vec![MAKE, TAKE_AWAY];
    if rng.random_bool(0.5) {
        steps.reverse();
    }
    for body in steps {
        sleep(Duration::from_millis(rng.random_range(200..4_000))).await;
        while Instant::now() < until {
            if let Some(process) = shared.some_process(&mut rng)
                && process.call(change(&process.node, shared.table, body)).await == Some(true)
            {
                break;
            }
            sleep(Duration::from_millis(rng.random_range(50..500))).await;
        }
    }
}

/// Asks for a change as `UpdateTable` does; false if it has to be asked for again.
async fn change(node: &Node, table: TableId, body: &[u8]) -> bool {
    let topology = node.topology();
    let Some(record) = topology.table(table) else { return false };
    let (Some(spec), Ok(Some(old))) = (record.as_table(), schema::parse(record)) else { return false };
    let done = |name: &str, is_there: bool| {
        let status = spec.index(name).map(|entry| entry.status);
        if is_there { status.is_some() } else { status.is_none_or(|s| s == IndexStatus::Deleting) }
    };
    if done(LATE, true) && body == MAKE || done(DOOMED, false) && body == TAKE_AWAY {
        return true;
    }
    let Ok((new, Some(_))) = UpdateTable::parse(body).and_then(|update| update.apply(&old, node.wall_ms()))
    else {
        return false;
    };
    let index = if body == MAKE {
        IndexChange::Create { name: LATE.into(), partitions: PARTITIONS, now_ms: node.wall_ms() }
    } else {
        IndexChange::Status { name: DOOMED.into(), status: IndexStatus::Deleting }
    };
    let command = Command::UpdateTable {
        table,
        version: Some(spec.version),
        schema: Some(new.to_json()),
        status: None,
        index: Some(index),
    };
    // An unknown outcome shows in the topology.
    let _ = node.meta().execute(&command, Instant::now() + Duration::from_secs(3)).await;
    false
}

/// Waits until every index has come to rest and is what the table says, and nothing of the change log is left
/// to be read.
///
/// # Errors
/// It does not come to that.
pub async fn follow(world: &World, shared: &Shared) -> anyhow::Result<()> {
    let limit = Instant::now() + FOLLOW_LIMIT;
    loop {
        let found = look(world, shared)?;
        let Some(what) = found else { return Ok(()) };
        ensure!(Instant::now() < limit, "{what} {FOLLOW_LIMIT:?} after healing{}", describe(world));
        sleep(Duration::from_millis(100)).await;
    }
}

/// Counts the indexes that were made and taken away.
pub fn count(world: &World, shared: &Shared) {
    let Some(newest) = world.processes().iter().map(|p| p.node.topology()).max_by_key(|t| t.epoch()) else {
        return;
    };
    let Some(spec) = newest.table(shared.table).and_then(|table| table.as_table()) else { return };
    world.watch.count("indexes made online", u64::from(spec.index(LATE).is_some()));
    world.watch.count("indexes taken away", u64::from(spec.index(DOOMED).is_none()));
}

/// What is not as it should be yet.
fn look(world: &World, shared: &Shared) -> anyhow::Result<Option<String>> {
    let processes = world.processes();
    let newest = processes.iter().map(|p| p.node.topology()).max_by_key(|t| t.epoch()).context("no node")?;
    let record = newest.table(shared.table).context("the table is gone")?;
    let (Some(spec), Some(schema)) = (record.as_table(), schema::parse(record).map_err(anyhow::Error::msg)?)
    else {
        bail!("the table has no schema");
    };
    if let Some(entry) = spec.indexes.iter().find(|entry| entry.status != IndexStatus::Active) {
        return Ok(Some(format!("index {} is still {:?}", entry.name, entry.status)));
    }
    let mut rows: BTreeMap<(u8, u64), BTreeMap<Vec<u8>, Item>> = BTreeMap::new();
    let mut unread = 0;
    let hasher = TokenHasher::new(*newest.token_key());
    let tables: Vec<TableId> =
        std::iter::once(shared.table).chain(spec.indexes.iter().map(|i| i.table)).collect();
    let mut ahead: BTreeMap<u64, (u64, Vec<(Vec<u8>, Vec<u8>)>)> = BTreeMap::new();
    for process in &processes {
        for dump in dumps(process)? {
            let newer = ahead.get(&dump.group).is_none_or(|(applied, _)| *applied < dump.applied);
            if newer {
                ahead.insert(dump.group, (dump.applied, dump.entries));
            }
        }
    }
    for table in &tables {
        for partition in newest.partitions(*table) {
            let Some((_, entries)) = ahead.get(&partition.group.0) else {
                return Ok(Some(format!("{} has no whole replica", partition.group)));
            };
            for (key, value) in entries {
                match key.first() {
                    Some(&space::TABLE | &space::INDEX) => {
                        let (_, item) = codec::decode_record(value)?;
                        rows.entry((key[0], table.0)).or_default().insert(key.clone(), item);
                    }
                    _ => unread += usize::from(is_change(&newest, partition.group, key)),
                }
            }
        }
    }
    let empty = BTreeMap::new();
    let items = rows.get(&(space::TABLE, shared.table.0)).unwrap_or(&empty);
    for index in &schema.global_indexes {
        let rebuilt = items.values().filter_map(|item| {
            let (_, key) = global_index::row_key(&schema, index, &hasher, item)?;
            Some((key, schema.project(IndexRef::Global(index), item)))
        });
        let held = rows.get(&(space::INDEX, index.id)).unwrap_or(&empty);
        if let Some(fault) = compare(index.id, &rebuilt.collect(), held) {
            return Ok(Some(fault.to_string()));
        }
    }
    Ok((unread > 0).then(|| format!("change log: {unread} records are not trimmed")))
}

fn is_change(topology: &Topology, group: torc_cluster::GroupId, key: &[u8]) -> bool {
    let Some(partition) = topology.partition_by_group(group) else { return false };
    let first = change_log::change_key(partition, change_log::Position(0));
    // Kind and group stand before the position.
    key.get(..26) == first.get(..26)
}

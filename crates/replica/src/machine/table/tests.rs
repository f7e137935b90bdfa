//! Commands against a real engine on the simulated disk. Checked: outcomes, and that local indexes always
//! equal those rebuilt from the items.

use super::*;
use crate::store::Overlay;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use torc_cluster::topology::{Table, TableKind, TableSpec, TableStatus};
use torc_cluster::{Epoch, GroupId, TableId};
use torc_engine::env::SimEnv;
use torc_engine::{Engine, Options};
use torc_model::expr::{ParsedUpdate, Placeholders};
use torc_model::key::{encode_element, item_key, local_index_prefix};
use torc_model::ops::CreateTable;
use torc_model::schema::IndexRef;
use torc_model::{AttributeValue, Number};
use torc_wire::table::DeleteAction;

const TABLE: u64 = 7;

fn schema() -> TableSchema {
    let body = br#"{"TableName":"music","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"},
            {"AttributeName":"l","AttributeType":"N"}],
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
        "LocalSecondaryIndexes":[
            {"IndexName":"all","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],
             "Projection":{"ProjectionType":"ALL"}},
            {"IndexName":"keys","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],
             "Projection":{"ProjectionType":"KEYS_ONLY"}}]}"#;
    let mut schema = CreateTable::parse(body).unwrap().schema;
    for (ordinal, index) in (1..).zip(&mut schema.local_indexes) {
        index.id = ordinal;
    }
    schema
}

struct World {
    engine: Engine,
    machine: Box<dyn Machine>,
    index: u64,
}

impl World {
    fn new() -> Self {
        let engine = Engine::open(Arc::new(SimEnv::new(1)), Path::new("/data"), Options::default()).unwrap();
        let spec = TableSpec::new(schema().to_json(), TableStatus::Active, 1);
        let table = Arc::new(Table {
            id: TableId(TABLE),
            name: "music".into(),
            created_ms: 0,
            kind: TableKind::Table(spec),
        });
        let partition = Partition {
            group: GroupId(1),
            table: TableId(TABLE),
            range: TokenRange::ALL,
            initial: Vec::new(),
            replicas: Vec::new(),
            changed: Epoch(0),
        };
        let machine = machine(partition, Box::new(move || Some(table.clone())), Box::new(|| {}));
        Self { engine, machine, index: 0 }
    }

    /// Evaluates one write and applies it.
    fn write(&mut self, write: ItemWrite) -> ItemOutcome {
        self.index += 1;
        let overlay = Overlay::default();
        let mut context = EvalCtx::new(&self.engine, &overlay, 1, self.index);
        let command = TableCommand { writes: vec![write], timestamp_ms: self.index, log: None };
        let done = self.machine.evaluate(&mut context, &command.encode_to_vec()).unwrap();
        if let Some(batch) = &done.batch {
            self.engine.write(batch).unwrap();
        }
        TableOutcome::decode(done.response).unwrap().outcomes.remove(0)
    }

    fn rows(&self, space: u8) -> BTreeMap<Vec<u8>, Item> {
        let range = range_in(space, TABLE, TokenRange::ALL);
        let rows = self.engine.scan(&range.start, &range.end, false, None);
        rows.map(|row| row.unwrap()).map(|row| (row.key.to_vec(), decode(&row.value).unwrap())).collect()
    }

    /// The index rows that the items stand for.
    fn rebuilt(&self) -> BTreeMap<Vec<u8>, Item> {
        let schema = schema();
        let mut out = BTreeMap::new();
        for item in self.rows(space::TABLE).values() {
            let Some(value) = item.get("l") else { continue };
            let key = schema.key.encode(item).unwrap();
            let mut tail = Vec::new();
            encode_element(value, &mut tail).unwrap();
            tail.extend_from_slice(&key.sort);
            for index in &schema.local_indexes {
                let pk = local_index_prefix(index.id as u8, &key.partition);
                let row = item_key(space::INDEX, TABLE, token(&key.partition), &pk, &tail);
                out.insert(row, schema.project(IndexRef::Local(index), item));
            }
        }
        out
    }
}

fn token(pk: &[u8]) -> u64 {
    pk.iter().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn item(key: (u8, u8), l: Option<i64>, x: u8) -> Item {
    let text = |v: u8| AttributeValue::S(format!("k{v}"));
    let mut item = Item::from([("p".to_string(), text(key.0)), ("s".to_string(), text(key.1))]);
    item.insert("x".into(), text(x));
    if let Some(l) = l {
        item.insert("l".into(), AttributeValue::N(Number::from(l)));
    }
    item
}

fn storage_key(item: &Item) -> Bytes {
    let key = schema().key.encode(item).unwrap();
    item_key(space::TABLE, TABLE, token(&key.partition), &key.partition, &key.sort).into()
}

fn put(item: &Item) -> ItemWrite {
    let mut bytes = Vec::new();
    codec::encode_item(item, &mut bytes);
    let item_bytes = size::item_size(item) as u64;
    let action = Some(ItemAction::Put(PutAction { item: bytes.into(), item_bytes }));
    ItemWrite { key: storage_key(item), action, measure_old: true, ..ItemWrite::default() }
}

fn update_of(key: (u8, u8), text: &str, value: AttributeValue) -> ItemWrite {
    let mut keys = item(key, None, 0);
    keys.remove("x");
    let mut key_attributes = Vec::new();
    codec::encode_item(&keys, &mut key_attributes);
    let values = text.contains(":v").then(|| Item::from([(":v".to_string(), value)]));
    let mut placeholders = Placeholders::new(None, values).unwrap();
    let update = ParsedUpdate::parse(text).unwrap().bind(&mut placeholders).unwrap();
    let action = UpdateAction { update: update.encode().into(), key_attributes: key_attributes.into() };
    ItemWrite { key: storage_key(&keys), action: Some(ItemAction::Update(action)), ..ItemWrite::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Put((u8, u8), Option<i64>, u8),
    Delete((u8, u8)),
    SetSort((u8, u8), i64),
    RemoveSort((u8, u8)),
    SetOther((u8, u8), u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || (0u8..2, 0u8..3);
    prop_oneof![
        (key(), proptest::option::of(-1i64..3), 0u8..3).prop_map(|(k, l, x)| Step::Put(k, l, x)),
        key().prop_map(Step::Delete),
        (key(), -1i64..3).prop_map(|(k, l)| Step::SetSort(k, l)),
        key().prop_map(Step::RemoveSort),
        (key(), 0u8..3).prop_map(|(k, x)| Step::SetOther(k, x)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn local_indexes_equal_those_rebuilt_from_the_items(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            let number = |l: i64| AttributeValue::N(Number::from(l));
            let outcome = world.write(match step {
                Step::Put(key, l, x) => put(&item(key, l, x)),
                Step::Delete(key) => ItemWrite {
                    action: Some(ItemAction::Delete(DeleteAction {})),
                    ..put(&item(key, None, 0))
                },
                Step::SetSort(key, l) => update_of(key, "SET l = :v", number(l)),
                Step::RemoveSort(key) => update_of(key, "REMOVE l", number(0)),
                Step::SetOther(key, x) => update_of(key, "SET x = :v", number(i64::from(x))),
            });
            prop_assert!(outcome.error.is_none());
            prop_assert_eq!(world.rows(space::INDEX), world.rebuilt());
        }
    }
}

#[test]
fn an_update_may_not_give_an_index_key_another_type() {
    let mut world = World::new();
    world.write(put(&item((0, 0), Some(1), 0)));
    let outcome = world.write(update_of((0, 0), "SET l = :v", AttributeValue::S("x".into())));
    assert!(outcome.error.unwrap().message.contains("secondary index key to unsupported type"));
    assert_eq!(world.rows(space::INDEX), world.rebuilt());
    assert_eq!(world.rows(space::INDEX).len(), 2);
}

/// Developer guide, Legacy conditional parameters, AttributeUpdates ("If no item with the specified Key is
/// found: DELETE - Nothing happens; there is no attribute to delete"); of expressions, as observed at AWS in
/// scylladb/scylladb issue 5862. DynamoDB Local creates the item, and refuses a path into what is not there.
#[test]
fn an_update_that_only_takes_away_creates_no_item() {
    let mut world = World::new();
    let set = AttributeValue::Ss(vec!["x".into()]);
    for text in ["REMOVE l", "REMOVE l.b, m[3]", "DELETE t :v", "DELETE t.u :v", "REMOVE l DELETE t :v"] {
        let write = ItemWrite { return_new: true, ..update_of((0, 0), text, set.clone()) };
        let outcome = world.write(write);
        assert!(outcome.error.is_none() && outcome.new.is_none(), "{text}: {outcome:?}");
        assert!(world.rows(space::TABLE).is_empty() && world.rows(space::INDEX).is_empty(), "{text}");
    }
    // One action that gives an attribute is enough, and where there is an item its paths must lead somewhere.
    assert!(world.write(update_of((0, 0), "REMOVE l SET y = :v", set.clone())).error.is_none());
    assert_eq!(world.rows(space::TABLE).len(), 1);
    let outcome = world.write(update_of((0, 0), "REMOVE l.b", set));
    assert!(outcome.error.unwrap().message.contains("document path"));
}

#[test]
fn writes_say_what_indexes_cost_them() {
    let mut world = World::new();
    let charged = |outcome: ItemOutcome| -> Vec<(u32, u32)> {
        outcome.local_indexes.iter().map(|charge| (charge.ordinal, charge.units)).collect()
    };
    assert_eq!(charged(world.write(put(&item((0, 0), Some(1), 0)))), [(1, 1), (2, 1)]);
    assert_eq!(charged(world.write(put(&item((0, 0), Some(1), 2)))), [(1, 1)]);
    assert_eq!(charged(world.write(put(&item((0, 0), Some(2), 2)))), [(1, 2), (2, 2)]);
    assert_eq!(charged(world.write(put(&item((0, 0), None, 2)))), [(1, 1), (2, 1)]);
}

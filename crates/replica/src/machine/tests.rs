//! A partition of a table and a partition of its index. The deliveries between them come late, twice, and
//! from leaders that were deposed long ago. In any order the index becomes equal to the table, no row goes
//! back to an older version, and the change log is read to its end.

use super::change_log::{
    Backfill, ChangeRecord, Consumer, Position, read_changes, read_consumer, read_consumers,
};
use super::table::range_in;
use super::{global_index, index, table};
use crate::store::{EvalCtx, Machine, Overlay};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use torc_cluster::topology::{IndexEntry, IndexStatus, Table, TableKind, TableSpec, TableStatus};
use torc_cluster::{Epoch, GroupId, Partition, TableId, TokenRange};
use torc_engine::env::SimEnv;
use torc_engine::{Engine, Options};
use torc_model::key::{TokenHasher, item_key, space};
use torc_model::ops::CreateTable;
use torc_model::schema::{IndexRef, TableSchema};
use torc_model::{AttributeValue, Item, codec, size};
use torc_wire::table::{
    DeleteAction, Empty, IndexCommand, IndexRow, ItemAction, ItemWrite, LogAction, LogCommand, PutAction,
    TableCommand,
};

const TABLE: u64 = 7;
const INDEX: u64 = 8;

fn partition(table: u64, group: u64) -> Partition {
    Partition {
        group: GroupId(group),
        table: TableId(table),
        range: TokenRange::ALL,
        initial: Vec::new(),
        replicas: Vec::new(),
        changed: Epoch(0),
    }
}

fn record() -> Table {
    let body = br#"{"TableName":"music","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"g","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],
        "GlobalSecondaryIndexes":[{"IndexName":"byG","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],
             "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]}}]}"#;
    let schema = CreateTable::parse(body).unwrap().schema.to_json();
    let mut spec = TableSpec::new(schema, TableStatus::Active, 1);
    spec.indexes =
        vec![IndexEntry { name: "byG".into(), table: TableId(INDEX), status: IndexStatus::Active }];
    Table { id: TableId(TABLE), name: "music".into(), created_ms: 0, kind: TableKind::Table(spec) }
}

/// What a propagator knows.
#[derive(Default)]
struct Propagator {
    position: Position,
}

struct World {
    engine: Engine,
    schema: TableSchema,
    hasher: TokenHasher,
    base: Partition,
    own: Partition,
    table: Box<dyn Machine>,
    index: Box<dyn Machine>,
    term: u64,
    entry: u64,
    /// Every command ever sent to the index.
    sent: Vec<IndexCommand>,
    propagator: Propagator,
    /// Highest version of each row ever seen, and whether it is gone.
    seen: BTreeMap<Vec<u8>, (u64, bool)>,
}

impl World {
    fn new(forgetful: bool) -> Self {
        let engine = Engine::open(Arc::new(SimEnv::new(1)), Path::new("/data"), Options::default()).unwrap();
        let record = Arc::new(record());
        let schema = super::schema::parse(&record).unwrap().unwrap();
        let (base, own) = (partition(TABLE, 1), partition(INDEX, 2));
        let source = Box::new(move || Some(record.clone()));
        let table = table::machine(base.clone(), source, Box::new(|| {}));
        let index = index::machine(own.clone(), forgetful);
        let hasher = TokenHasher::new([3; 16]);
        Self {
            engine,
            schema,
            hasher,
            base,
            own,
            table,
            index,
            term: 1,
            entry: 5,
            sent: Vec::new(),
            propagator: Propagator::default(),
            seen: BTreeMap::new(),
        }
    }

    /// Evaluates commands and applies them as one entry.
    fn table_entry(&mut self, commands: &[TableCommand]) {
        self.entry += 1;
        let mut overlay = Overlay::default();
        let mut whole = torc_engine::WriteBatch::new();
        for command in commands {
            let mut context = EvalCtx::new(&self.engine, &overlay, self.term, self.entry);
            let done = self.table.evaluate(&mut context, &command.encode_to_vec()).unwrap();
            if let Some(batch) = done.batch {
                overlay.add(self.entry, &batch);
                whole.extend(&batch);
            }
        }
        self.engine.write(&whole).unwrap();
    }

    fn log(&mut self, action: LogAction) {
        let log = Some(LogCommand { consumer: INDEX, action: Some(action) });
        self.table_entry(&[TableCommand { writes: Vec::new(), timestamp_ms: 0, log }]);
    }

    fn consumer(&self) -> Option<Consumer> {
        read_consumer(&self.engine, &self.base, INDEX).unwrap()
    }

    fn changes(&self, after: Position, limit: usize) -> Vec<(Position, ChangeRecord)> {
        read_changes(&self.engine, &self.base, after, limit, usize::MAX).unwrap().0
    }

    fn send(&mut self, command: &IndexCommand) {
        self.entry += 1;
        let overlay = Overlay::default();
        let mut context = EvalCtx::new(&self.engine, &overlay, self.term, self.entry);
        let done = self.index.evaluate(&mut context, &command.encode_to_vec()).unwrap();
        if let Some(batch) = done.batch {
            self.engine.write(&batch).unwrap();
        }
    }

    /// One step of a propagator; false if there is nothing to do.
    fn propagate(&mut self, limit: usize) -> bool {
        let Some(consumer) = self.consumer() else {
            self.log(LogAction::Register(Empty {}));
            return true;
        };
        self.propagator.position = self.propagator.position.max(consumer.checkpoint);
        let changes = self.changes(self.propagator.position, limit);
        let Some((through, _)) = changes.last() else {
            let under_way = matches!(consumer.backfill, Backfill::UnderWay(_));
            if under_way {
                self.log(LogAction::Backfill(Empty {}));
            }
            return under_way;
        };
        let index = &self.schema.global_indexes[0];
        let mut rows: BTreeMap<Vec<u8>, IndexRow> = BTreeMap::new();
        for (position, change) in &changes {
            for change in global_index::rows(&self.schema, index, &self.hasher, *position, change).unwrap() {
                rows.insert(change.row.key.to_vec(), change.row);
            }
        }
        let command = IndexCommand { source: 1, through: through.0, rows: rows.into_values().collect() };
        self.sent.push(command.clone());
        self.send(&command);
        self.propagator.position = *through;
        true
    }

    fn rows(&self, table: u64, space: u8) -> BTreeMap<Vec<u8>, (u64, Item)> {
        let range = range_in(space, table, TokenRange::ALL);
        let rows = self.engine.scan(&range.start, &range.end, false, None).map(|row| row.unwrap());
        rows.map(|row| (row.key.to_vec(), codec::decode_record(&row.value).unwrap()))
            .map(|(key, (header, item))| (key, (header.version, item)))
            .collect()
    }

    fn rebuilt(&self) -> BTreeMap<Vec<u8>, Item> {
        let index = &self.schema.global_indexes[0];
        let items = self.rows(TABLE, space::TABLE);
        let rows = items.values().filter_map(|(_, item)| {
            let (_, key) = global_index::row_key(&self.schema, index, &self.hasher, item)?;
            Some((key, self.schema.project(IndexRef::Global(index), item)))
        });
        rows.collect()
    }

    /// Rows may not go back.
    fn look(&mut self) -> Result<(), String> {
        let now = self.rows(INDEX, space::INDEX);
        for (key, (version, _)) in &now {
            if let Some((before, gone)) = self.seen.get(key)
                && (version < before || (*gone && version == before))
            {
                return Err(format!("a row went back from {before} (gone: {gone}) to {version}"));
            }
        }
        for (key, seen) in &mut self.seen {
            seen.1 = !now.contains_key(key);
        }
        self.seen.extend(now.into_iter().map(|(key, (version, _))| (key, (version, false))));
        Ok(())
    }
}

fn item(p: u8, g: Option<u8>, x: u8) -> Item {
    let text = |v: String| AttributeValue::S(v);
    let mut item = Item::from([("p".to_string(), text(format!("p{p}")))]);
    item.insert("x".into(), text(format!("x{x}")));
    item.insert("y".into(), text("y".into()));
    match g {
        // Written before the index was there, an item may have anything where its key is.
        Some(9) => item.insert("g".into(), AttributeValue::Bool(true)),
        Some(g) => item.insert("g".into(), text(format!("g{g}"))),
        None => None,
    };
    item
}

fn write(world: &World, p: u8, action: Option<(Option<u8>, u8)>) -> TableCommand {
    let (g, x) = action.unwrap_or((None, 0));
    let item = item(p, g, x);
    let key = world.schema.key.encode(&item).unwrap();
    let key = item_key(space::TABLE, TABLE, world.hasher.token(&key.partition), &key.partition, &key.sort);
    let mut bytes = Vec::new();
    codec::encode_item(&item, &mut bytes);
    let item_bytes = size::item_size(&item) as u64;
    let action = match action {
        Some(_) => ItemAction::Put(PutAction { item: bytes.into(), item_bytes }),
        None => ItemAction::Delete(DeleteAction {}),
    };
    let write = ItemWrite { key: Bytes::from(key), action: Some(action), ..ItemWrite::default() };
    TableCommand { writes: vec![write], timestamp_ms: 1, log: None }
}

#[derive(Clone, Debug)]
enum Step {
    /// Several writes in one entry: put (with or without the index's key) or delete.
    Write(Vec<(u8, Option<(Option<u8>, u8)>)>),
    /// The propagator goes on, with batches of at most so many changes.
    Propagate(usize),
    /// What was sent before arrives again: that number, modulo how many there are.
    Again(usize),
    /// What was delivered is remembered.
    Checkpoint,
    /// Another leader, that knows what is remembered.
    Depose,
}

fn step() -> impl Strategy<Value = Step> {
    let g = prop_oneof![3 => (0u8..3).prop_map(Some), 1 => Just(None), 1 => Just(Some(9))];
    let write = (0u8..4, proptest::option::weighted(0.8, (g, 0u8..3)));
    prop_oneof![
        4 => proptest::collection::vec(write, 1..4).prop_map(Step::Write),
        4 => (1usize..5).prop_map(Step::Propagate),
        2 => (0usize..100).prop_map(Step::Again),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Depose),
    ]
}

fn run(steps: &[Step], forgetful: bool) -> Result<(), String> {
    let mut world = World::new(forgetful);
    for step in steps {
        match step {
            Step::Write(writes) => {
                let commands: Vec<TableCommand> =
                    writes.iter().map(|(p, action)| write(&world, *p, *action)).collect();
                world.table_entry(&commands);
            }
            Step::Propagate(limit) => {
                world.propagate(*limit);
            }
            Step::Again(which) => {
                if !world.sent.is_empty() {
                    let command = world.sent[which % world.sent.len()].clone();
                    world.send(&command);
                }
            }
            Step::Checkpoint => {
                let position = world.propagator.position;
                world.log(LogAction::Checkpoint(position.0));
            }
            Step::Depose => {
                world.term += 1;
                world.propagator = Propagator::default();
            }
        }
        world.look()?;
    }
    while world.propagate(3) {
        world.look()?;
    }
    let held: BTreeMap<Vec<u8>, Item> =
        world.rows(INDEX, space::INDEX).into_iter().map(|(key, (_, item))| (key, item)).collect();
    if held != world.rebuilt() {
        return Err(format!("the index holds {held:?}, the table says {:?}", world.rebuilt()));
    }
    let position = world.propagator.position;
    world.log(LogAction::Checkpoint(position.0));
    if !world.changes(Position(0), usize::MAX).is_empty() {
        return Err("what all have passed is not trimmed".into());
    }
    if !world.consumer().is_some_and(|consumer| consumer.is_filled()) {
        return Err("the backfill is not over".into());
    }
    world.log(LogAction::Remove(Empty {}));
    let commands = [write(&world, 1, Some((Some(1), 1)))];
    world.table_entry(&commands);
    let left = read_consumers(&world.engine, &world.base).unwrap().len();
    if left > 0 || !world.changes(Position(0), usize::MAX).is_empty() {
        return Err("without a consumer nothing is logged".into());
    }
    assert_eq!(world.own.table, TableId(INDEX));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_becomes_its_table_and_never_goes_back(steps in proptest::collection::vec(step(), 1..60)) {
        if let Err(error) = run(&steps, false) {
            prop_assert!(false, "{}", error);
        }
    }
}

#[test]
fn a_checkpoint_in_the_middle_of_an_entry_leaves_nothing_behind_when_the_rest_follows() {
    let writes = vec![(0, Some((Some(0), 0))), (0, None), (0, Some((Some(0), 0)))];
    let mut steps = vec![Step::Propagate(1), Step::Propagate(1), Step::Propagate(1)];
    steps.extend([Step::Write(writes), Step::Propagate(2), Step::Checkpoint]);
    assert_eq!(run(&steps, false), Ok(()));
}

#[test]
fn without_watermarks_late_deliveries_are_noticed() {
    let steps = |late: usize| {
        vec![
            Step::Write(vec![(1, Some((Some(1), 1)))]),
            Step::Propagate(9),
            Step::Propagate(9),
            Step::Propagate(9),
            Step::Write(vec![(1, None)]),
            Step::Propagate(9),
            Step::Again(late),
        ]
    };
    assert_eq!(run(&steps(0), false), Ok(()));
    assert!(run(&steps(0), true).is_err());
}

#[test]
fn a_table_that_is_not_indexed_logs_nothing() {
    let mut world = World::new(false);
    let commands = [write(&world, 1, Some((Some(1), 1)))];
    world.table_entry(&commands);
    assert!(world.changes(Position(0), usize::MAX).is_empty());
    world.log(LogAction::Register(Empty {}));
    let commands = [write(&world, 1, Some((Some(1), 1)))];
    world.table_entry(&commands);
    assert!(world.changes(Position(0), usize::MAX).is_empty(), "nothing was changed");
    let commands = [write(&world, 1, Some((Some(2), 1)))];
    world.table_entry(&commands);
    let commands = [write(&world, 1, None)];
    world.table_entry(&commands);
    world.table_entry(&commands);
    assert_eq!(world.changes(Position(0), usize::MAX).len(), 2);
}

//! The tables of a node, below any protocol: items by storage key, through the leader or any replica of their
//! partition.
//!
//! The api layer calls this module. It turns requests into the writes and ranges used here, and outcomes into
//! answers.

pub mod route;

pub use torc_replica::machine::table::range_in;

use crate::node::meta::Meta;
use crate::node::topology::TopologyCell;
use crate::ports::Clock;
use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use prost::Message as _;
use route::{Repeat, RouteError, Router, Target};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::Table;
use torc_cluster::{Epoch, GroupId, TableId};
use torc_model::schema::TableSchema;
use torc_wire::peer::{IndexHolds, IndexWait, Propose, Range, Read, RequestBody, ResponseBody, Rows};
use torc_wire::table::{ItemOutcome, ItemWrite, TableCommand, TableOutcome};

/// How long a read of an index waits for it at most.
const INDEX_WAIT: Duration = Duration::from_secs(1);

/// A table as an operation sees it: one version of its schema.
#[derive(Clone)]
pub struct TableRef {
    /// The record in the topology.
    pub table: Arc<Table>,
    /// Its schema, parsed.
    pub schema: Arc<TableSchema>,
    /// The key of the token hash.
    pub token_key: [u8; 16],
}

impl TableRef {
    /// The table's number.
    pub fn id(&self) -> TableId {
        self.table.id
    }
}

/// Where an item lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemLocation {
    /// Token of its partition key.
    pub token: u64,
    /// Its storage key.
    pub key: Bytes,
}

/// A range read of one partition.
#[derive(Clone, Debug)]
pub struct RangeRequest {
    /// A token of the partition.
    pub token: u64,
    /// First storage key.
    pub start: Bytes,
    /// One past the last storage key.
    pub end: Bytes,
    /// From the end backwards.
    pub reverse: bool,
    /// At most this many rows.
    pub max_rows: u32,
    /// Stop after this many bytes of stored values.
    pub max_bytes: u32,
    /// Linearizable.
    pub strong: bool,
}

/// Reads and writes items. Cheap to clone.
#[derive(Clone)]
pub struct Tables {
    inner: Arc<Inner>,
    /// When the request ends that this handle works for.
    within: Option<Instant>,
}

struct Inner {
    router: Arc<Router>,
    topology: Arc<TopologyCell>,
    meta: Arc<Meta>,
    clock: Arc<dyn Clock>,
    /// Parsed schemas of the current topology's tables.
    schemas: Mutex<BTreeMap<TableId, (Arc<Table>, Arc<TableSchema>)>>,
    deadline: Duration,
}

impl Tables {
    /// `deadline` bounds each call; [`Tables::within`] bounds all calls of a request together.
    pub fn new(
        router: Arc<Router>,
        topology: Arc<TopologyCell>,
        meta: Arc<Meta>,
        clock: Arc<dyn Clock>,
        deadline: Duration,
    ) -> Self {
        let inner = Inner { router, topology, meta, clock, schemas: Mutex::default(), deadline };
        Self { inner: Arc::new(inner), within: None }
    }

    /// These tables for one request: no operation of this handle goes on past the request's deadline, however many it makes.
    #[must_use]
    pub fn within(&self, deadline: Instant) -> Self {
        Self { inner: self.inner.clone(), within: Some(deadline) }
    }

    /// A table by name, as this node knows it. A name that it does not know is asked of the meta group's leader before `None` is
    /// answered, so that a table created a moment ago through another node is found.
    pub async fn lookup(&self, name: &str) -> Result<Option<TableRef>, RouteError> {
        if let Some(found) = self.known(name) {
            return Ok(Some(found));
        }
        self.inner.meta.refresh_from_leader(self.deadline()).await?;
        Ok(self.known(name))
    }

    fn known(&self, name: &str) -> Option<TableRef> {
        let topology = self.inner.topology.get();
        let table = topology.table_by_name(name)?;
        let schema = self.schema(table)?;
        Some(TableRef { table: table.clone(), schema, token_key: *topology.token_key() })
    }

    /// The parsed schema of a table record.
    pub fn schema(&self, table: &Arc<Table>) -> Option<Arc<TableSchema>> {
        table.as_table()?;
        let mut schemas = self.inner.schemas.lock();
        if let Some((record, schema)) = schemas.get(&table.id)
            && Arc::ptr_eq(record, table)
        {
            return Some(schema.clone());
        }
        match torc_replica::machine::schema::parse(table) {
            // Created without the API (by the simulation): there is no schema to check requests against.
            Ok(None) => None,
            Ok(Some(schema)) => {
                let schema = Arc::new(schema);
                // Removes the schemas of dropped tables, which would otherwise stay forever.
                let topology = self.inner.topology.get();
                schemas.retain(|id, _| topology.table(*id).is_some());
                schemas.insert(table.id, (table.clone(), schema.clone()));
                Some(schema)
            }
            Err(error) => {
                tracing::error!(table = %table.name, %error, "the stored schema of a table can't be read");
                None
            }
        }
    }

    fn deadline(&self) -> Instant {
        let own = Instant::now() + self.inner.deadline;
        self.within.map_or(own, |within| within.min(own))
    }

    /// The stored record of an item. Strong reads see every write acknowledged before; others may be stale.
    pub async fn read(
        &self,
        table: TableId,
        location: &ItemLocation,
        strong: bool,
    ) -> Result<Option<Bytes>, RouteError> {
        let make = |group: GroupId, epoch: Epoch| {
            RequestBody::Read(Read { group: group.0, epoch: epoch.0, key: location.key.clone(), strong })
        };
        match self.ask(Target::Token(table, location.token), strong, make).await? {
            ResponseBody::Value(value) => Ok(value.value),
            other => Err(unexpected(&other)),
        }
    }

    /// Rows of one partition in key order.
    pub async fn range(&self, table: TableId, range: &RangeRequest) -> Result<Rows, RouteError> {
        let make = |group: GroupId, epoch: Epoch| {
            RequestBody::Range(Range {
                group: group.0,
                epoch: epoch.0,
                start: range.start.clone(),
                end: range.end.clone(),
                reverse: range.reverse,
                max_rows: range.max_rows,
                max_bytes: range.max_bytes,
                strong: range.strong,
            })
        };
        match self.ask(Target::Token(table, range.token), range.strong, make).await? {
            ResponseBody::Rows(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until a global index holds every write of its table that was acknowledged before the call, at most [`INDEX_WAIT`]. False if it
    /// does not hold them all by then, or if a partition of the table has no leader that could say.
    pub async fn index_holds(&self, table: &Table, index: TableId) -> bool {
        let topology = self.inner.topology.get();
        let until = Instant::now() + INDEX_WAIT;
        let wait_ms = INDEX_WAIT.as_millis() as u32;
        let asked = topology.partitions(table.id).iter().map(|partition| async move {
            let make = |partition: &torc_cluster::Partition, _| torc_wire::peer::PeerRequest {
                body: Some(RequestBody::IndexWait(IndexWait {
                    group: partition.group.0,
                    index: index.0,
                    wait_ms,
                })),
            };
            let answer =
                self.inner.router.to_leader(Target::Group(partition.group), Repeat::Safe, until, make);
            matches!(
                tokio::time::timeout_at(until, answer).await,
                Ok(Ok(torc_wire::peer::PeerResponse {
                    body: Some(ResponseBody::IndexHolds(IndexHolds { all: true }))
                }))
            )
        });
        join_all(asked).await.into_iter().all(|holds| holds)
    }

    async fn ask(
        &self,
        target: Target,
        strong: bool,
        make: impl Fn(GroupId, Epoch) -> RequestBody + Send + Sync,
    ) -> Result<ResponseBody, RouteError> {
        let make = |partition: &torc_cluster::Partition, epoch| torc_wire::peer::PeerRequest {
            body: Some(make(partition.group, epoch)),
        };
        let response = if strong {
            self.inner.router.to_leader(target, Repeat::Safe, self.deadline(), make).await?
        } else {
            self.inner.router.to_any(target, self.deadline(), make).await?
        };
        response.body.ok_or_else(|| RouteError::Unavailable("empty answer".into()))
    }

    /// One write.
    pub async fn write(
        &self,
        table: TableId,
        token: u64,
        write: ItemWrite,
    ) -> Result<ItemOutcome, RouteError> {
        let mut outcomes = self.propose(table, token, vec![write]).await?;
        outcomes.pop().ok_or_else(|| RouteError::Ambiguous("no outcome".into()))
    }

    /// Independent writes, each with its own outcome, in order. Those of one partition travel together.
    pub async fn write_many(
        &self,
        writes: Vec<(TableId, u64, ItemWrite)>,
    ) -> Vec<Result<ItemOutcome, RouteError>> {
        let topology = self.inner.topology.get();
        let mut groups: BTreeMap<(TableId, Option<GroupId>), (u64, Vec<usize>, Vec<ItemWrite>)> =
            BTreeMap::new();
        let total = writes.len();
        for (index, (table, token, write)) in writes.into_iter().enumerate() {
            let group = topology.partition(table, token).map(|p| p.group);
            let (_, indexes, batch) = groups.entry((table, group)).or_insert((token, Vec::new(), Vec::new()));
            indexes.push(index);
            batch.push(write);
        }
        let calls = groups.into_iter().map(|((table, _), (token, indexes, batch))| async move {
            (indexes, self.propose(table, token, batch).await)
        });
        let missing = RouteError::Unavailable("not tried".into());
        let mut results: Vec<Result<ItemOutcome, RouteError>> = vec![Err(missing); total];
        for (indexes, outcome) in join_all(calls).await {
            match outcome {
                Ok(outcomes) => {
                    for (index, outcome) in indexes.into_iter().zip(outcomes) {
                        results[index] = Ok(outcome);
                    }
                }
                Err(error) => {
                    for index in indexes {
                        results[index] = Err(error.clone());
                    }
                }
            }
        }
        results
    }

    async fn propose(
        &self,
        table: TableId,
        token: u64,
        writes: Vec<ItemWrite>,
    ) -> Result<Vec<ItemOutcome>, RouteError> {
        let count = writes.len();
        let command = TableCommand { writes, timestamp_ms: self.inner.clock.wall_ms(), log: None };
        let command = Bytes::from(command.encode_to_vec());
        let make = |partition: &torc_cluster::Partition, epoch: Epoch| torc_wire::peer::PeerRequest {
            body: Some(RequestBody::Propose(Propose {
                group: partition.group.0,
                epoch: epoch.0,
                command: command.clone(),
            })),
        };
        let target = Target::Token(table, token);
        let response =
            self.inner.router.to_leader(target, Repeat::OnlyIfUndone, self.deadline(), make).await?;
        match response.body {
            Some(ResponseBody::Proposed(proposed)) => {
                let outcome = TableOutcome::decode(proposed.response)
                    .map_err(|e| RouteError::Ambiguous(format!("unreadable outcome: {e}")))?;
                if outcome.outcomes.len() == count {
                    Ok(outcome.outcomes)
                } else {
                    Err(RouteError::Ambiguous("an outcome is missing".into()))
                }
            }
            Some(other) => Err(unexpected(&other)),
            None => Err(RouteError::Ambiguous("empty answer".into())),
        }
    }
}

fn unexpected(body: &ResponseBody) -> RouteError {
    RouteError::Ambiguous(format!("an answer of the wrong kind: {body:?}").chars().take(200).collect())
}

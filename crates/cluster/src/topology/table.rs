//! Tables and buckets as the topology describes them.

use crate::TableId;

/// A table or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number, never reused.
    pub id: TableId,
    /// Its name, unique among tables or among buckets.
    pub name: String,
    /// When it was created, milliseconds since the Unix epoch by the clock of the node that was asked.
    pub created_ms: u64,
    /// What it is.
    pub kind: TableKind,
}

/// Table or bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// A table of items, one consensus group per partition.
    Table(TableSpec),
    /// A bucket of opaque values kept by quorums.
    Bucket(BucketConfig),
    /// The rows of a global secondary index of a table, one consensus group per partition. It has no name of
    /// its own: it is found through its table's [`TableSpec::indexes`].
    Index(IndexSpec),
}

/// The topology's record of a table of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// The schema, JSON. Opaque here: the api layer writes and reads it.
    pub schema: Vec<u8>,
    /// Where it is in its life.
    pub status: TableStatus,
    /// Copies of each partition.
    pub replication_factor: u32,
    /// Counts the changes of this record, so that whoever reads the schema, changes it and writes it back can
    /// tell that it was changed in between.
    pub version: u64,
    /// Its global secondary indexes, in the order of their creation.
    pub indexes: Vec<IndexEntry>,
}

impl TableSpec {
    /// A table that was never changed and has no indexes.
    pub fn new(schema: Vec<u8>, status: TableStatus, replication_factor: u32) -> Self {
        Self { schema, status, replication_factor, version: 0, indexes: Vec::new() }
    }

    /// The index of that name.
    pub fn index(&self, name: &str) -> Option<&IndexEntry> {
        self.indexes.iter().find(|index| index.name == name)
    }
}

/// A global secondary index, as its table lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Unique among the table's indexes.
    pub name: String,
    /// Under which number its rows are kept.
    pub table: TableId,
    /// Where it is in its life.
    pub status: IndexStatus,
}

/// The states of a global secondary index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexStatus {
    /// Its partitions are being set up. From here on the table's partitions log what it needs.
    Creating,
    /// The rows of the items that were there before are being written.
    Backfilling,
    /// Serving.
    Active,
    /// On its way out. Nothing leads back from here.
    Deleting,
}

impl IndexStatus {
    /// Whether the state may follow this one.
    pub fn may_become(self, next: IndexStatus) -> bool {
        self == next || (self < next && self != IndexStatus::Deleting)
    }

    /// The word on the wire: a backfill is part of the creation.
    pub fn as_str(self) -> &'static str {
        match self {
            IndexStatus::Creating | IndexStatus::Backfilling => "CREATING",
            IndexStatus::Active => "ACTIVE",
            IndexStatus::Deleting => "DELETING",
        }
    }
}

/// What the topology knows of the rows of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexSpec {
    /// The table that it indexes.
    pub base: TableId,
    /// Copies of each partition.
    pub replication_factor: u32,
}

/// The states of a table, as `DescribeTable` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableStatus {
    /// Its partitions are being set up.
    Creating,
    /// Serving.
    Active,
    /// Serving, with a change under way.
    Updating,
    /// On its way out. Nothing leads back from here.
    Deleting,
}

impl TableStatus {
    /// Whether the state may follow this one.
    pub fn may_become(self, next: TableStatus) -> bool {
        use TableStatus::{Active, Creating, Deleting, Updating};
        self == next
            || matches!(
                (self, next),
                (Creating, Active)
                    | (Active, Updating)
                    | (Updating, Active)
                    | (Creating | Active | Updating, Deleting)
            )
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TableStatus::Creating => "CREATING",
            TableStatus::Active => "ACTIVE",
            TableStatus::Updating => "UPDATING",
            TableStatus::Deleting => "DELETING",
        }
    }
}

/// How a bucket keeps its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketConfig {
    /// Copies of each key, the N of R + W > N.
    pub n: u32,
    /// Answers that a read waits for when the request does not say.
    pub read: Level,
    /// Acknowledgements that a write waits for when the request does not say.
    pub write: Level,
    /// What becomes of concurrent writes.
    pub policy: BucketPolicy,
}

impl BucketConfig {
    /// Whether concurrent writes are both kept and returned together.
    pub fn allow_mult(&self) -> bool {
        self.policy == BucketPolicy::Siblings
    }
}

/// How many replicas an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Any one.
    One,
    /// More than half.
    Quorum,
    /// Every one.
    All,
    /// So many, at least 1.
    Count(u32),
}

impl Level {
    /// The number of answers out of `n` replicas, never more than `n` and never 0 while there are replicas.
    pub fn needed(self, n: u32) -> u32 {
        let wanted = match self {
            Level::One => 1,
            Level::Quorum => n / 2 + 1,
            Level::All => n,
            Level::Count(count) => count.max(1),
        };
        wanted.min(n)
    }
}

/// What becomes of concurrent writes to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketPolicy {
    /// Both stay, as siblings, until a write with their context replaces them.
    Siblings,
    /// The one with the later hybrid logical timestamp stays.
    LastWriterWins,
    /// They merge by the type's own rule.
    Crdt(CrdtKind),
}

/// The mergeable types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrdtKind {
    /// Increments and decrements add up.
    Counter,
    /// Add wins over concurrent remove.
    Set,
    /// Fields merge one by one.
    Map,
    /// The last write wins.
    Register,
    /// Enable wins over concurrent disable.
    Flag,
}

impl Table {
    /// Copies that each partition should have.
    pub fn replication_factor(&self) -> u32 {
        match &self.kind {
            TableKind::Table(spec) => spec.replication_factor,
            TableKind::Bucket(config) => config.n,
            TableKind::Index(spec) => spec.replication_factor,
        }
    }

    /// Whether each of its partitions is a consensus group.
    pub fn is_consensus(&self) -> bool {
        !matches!(self.kind, TableKind::Bucket(_))
    }

    /// The table's part, `None` for a bucket or an index.
    pub fn as_table(&self) -> Option<&TableSpec> {
        match &self.kind {
            TableKind::Table(spec) => Some(spec),
            TableKind::Bucket(_) | TableKind::Index(_) => None,
        }
    }

    /// The bucket's configuration, `None` for a table or an index.
    pub fn as_bucket(&self) -> Option<&BucketConfig> {
        match &self.kind {
            TableKind::Bucket(config) => Some(config),
            TableKind::Table(_) | TableKind::Index(_) => None,
        }
    }

    /// The index's part, `None` for a table or a bucket.
    pub fn as_index(&self) -> Option<&IndexSpec> {
        match &self.kind {
            TableKind::Index(spec) => Some(spec),
            TableKind::Table(_) | TableKind::Bucket(_) => None,
        }
    }
}

//! Commands of a table partition: what a coordinator asks the partition's leader to do, and what the leader
//! answers.
//!
//! The leader evaluates conditions and updates; followers only ever see the resulting writes.

use bytes::Bytes;

/// One or more writes to items of one partition. Writes of a batch are independent of each other (as in
/// `BatchWriteItem`): each gets its own outcome, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableCommand {
    /// The writes.
    #[prost(message, repeated, tag = "1")]
    pub writes: Vec<ItemWrite>,
    /// The coordinator's wall clock, milliseconds since the Unix epoch; stamped on what is written.
    #[prost(uint64, tag = "2")]
    pub timestamp_ms: u64,
    /// What the partition's own leader does about its change log; not for coordinators.
    #[prost(message, optional, tag = "3")]
    pub log: Option<LogCommand>,
}

/// A step of a consumer of the change log.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct LogCommand {
    /// The consumer: number of an index.
    #[prost(uint64, tag = "1")]
    pub consumer: u64,
    /// What to do.
    #[prost(oneof = "LogAction", tags = "2, 3, 4, 5")]
    pub action: Option<LogAction>,
}

/// The steps of a consumer.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum LogAction {
    /// From here on changes are logged for it, and the items there are to be backfilled.
    #[prost(message, tag = "2")]
    Register(Empty),
    /// Log the next few of the items that were there.
    #[prost(message, tag = "3")]
    Backfill(Empty),
    /// It has passed everything up to this position.
    #[prost(uint64, tag = "4")]
    Checkpoint(u64),
    /// It is gone.
    #[prost(message, tag = "5")]
    Remove(Empty),
}

/// No parameters.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

/// Rows of a global secondary index, for one of its partitions: what became of them in the changes of one
/// partition of the table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IndexCommand {
    /// The group of the table's partition.
    #[prost(uint64, tag = "1")]
    pub source: u64,
    /// The position in that partition's change log up to which this index partition has everything, once it
    /// has these rows.
    #[prost(uint64, tag = "2")]
    pub through: u64,
    /// The rows, at most one for each key.
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<IndexRow>,
}

/// One row as it is after a change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IndexRow {
    /// Its storage key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its record; absent when the row is gone.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub record: Option<Bytes>,
    /// The position of the change.
    #[prost(uint64, tag = "3")]
    pub position: u64,
}

/// One write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemWrite {
    /// The item's storage key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// A bound condition expression (`torc_model::expr`), empty for none.
    #[prost(bytes = "bytes", tag = "2")]
    pub condition: Bytes,
    /// What to do.
    #[prost(oneof = "ItemAction", tags = "3, 4, 5")]
    pub action: Option<ItemAction>,
    /// Answer with the item as it was before.
    #[prost(bool, tag = "6")]
    pub return_old: bool,
    /// Answer with the item as it is after.
    #[prost(bool, tag = "7")]
    pub return_new: bool,
    /// If the condition fails, answer with the item.
    #[prost(bool, tag = "8")]
    pub return_on_failure: bool,
    /// Answer with the size of the old item (consumed capacity), which costs a read of it.
    #[prost(bool, tag = "9")]
    pub measure_old: bool,
}

/// The kinds of write.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ItemAction {
    /// Store these attributes in place of the item.
    #[prost(message, tag = "3")]
    Put(PutAction),
    /// Remove the item.
    #[prost(message, tag = "4")]
    Delete(DeleteAction),
    /// Apply an update expression.
    #[prost(message, tag = "5")]
    Update(UpdateAction),
}

/// Stores an item.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutAction {
    /// The attributes, encoded by `torc_model::codec`, without a record header.
    #[prost(bytes = "bytes", tag = "1")]
    pub item: Bytes,
    /// Its size, bytes by DynamoDB's rules.
    #[prost(uint64, tag = "2")]
    pub item_bytes: u64,
}

/// Removes the item; no parameters.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteAction {}

/// Applies an update expression, creating the item from its key attributes if it is absent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateAction {
    /// A bound update expression (`torc_model::expr`), empty to touch the item only.
    #[prost(bytes = "bytes", tag = "1")]
    pub update: Bytes,
    /// The key attributes, encoded as an item.
    #[prost(bytes = "bytes", tag = "2")]
    pub key_attributes: Bytes,
}

/// Outcomes, in the order of the writes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableOutcome {
    /// One for each write.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<ItemOutcome>,
}

/// What became of one write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemOutcome {
    /// Set when it was refused; then nothing was written.
    #[prost(message, optional, tag = "1")]
    pub error: Option<ItemError>,
    /// The record before, if asked for and it existed.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub old: Option<Bytes>,
    /// The record after, if asked for.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub new: Option<Bytes>,
    /// Item size before, bytes by DynamoDB's rules (0 if it did not exist or nobody asked).
    #[prost(uint64, tag = "4")]
    pub old_bytes: u64,
    /// Item size after, bytes by DynamoDB's rules.
    #[prost(uint64, tag = "5")]
    pub new_bytes: u64,
    /// What the write cost in each local index that it changed, if anybody asked.
    #[prost(message, repeated, tag = "6")]
    pub local_indexes: Vec<IndexCharge>,
    /// What it will cost in each global index that it changes, if anybody asked.
    #[prost(message, repeated, tag = "7")]
    pub global_indexes: Vec<GlobalIndexCharge>,
}

/// Write units of one global index.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct GlobalIndexCharge {
    /// The index's number.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Write units.
    #[prost(uint32, tag = "2")]
    pub units: u32,
}

/// Write units spent on one local index.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct IndexCharge {
    /// The index's ordinal in its table.
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    /// Write units.
    #[prost(uint32, tag = "2")]
    pub units: u32,
}

/// Why a write was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemError {
    /// The error's `__type` name.
    #[prost(string, tag = "1")]
    pub code: String,
    /// Its message.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The item that failed the condition, if asked for.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub item: Option<Bytes>,
}

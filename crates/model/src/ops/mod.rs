//! The requests of the operations: read from the JSON body, validated in DynamoDB's order, handed on as typed
//! values. One file each.
//!
//! Called by the api crate. Every request has `parse(body)`, which does all that needs no table, and those of
//! one table have a second step against its schema. The data operations of one table split `parse` in two,
//! `read` and `judge`, so that the table is looked up in between. Pure: whether a table exists is the caller's
//! to find out.
//!
//! The order of checks, for every operation:
//!
//! 1. JSON syntax and types, in the body's order: `SerializationException`.
//! 2. Constraints of the service model (null, length, pattern, range, enumeration), up to ten reported
//!    together: "2 validation errors detected: …".
//! 3. Whether the table exists (the caller), for the data operations of one table.
//! 4. What single parameters and their combinations must satisfy, first fault only. Expressions and legacy
//!    conditions come last.
//! 5. Whether the table exists (the caller), for the other operations; then what depends on its schema.

mod batch_get_item;
mod batch_write_item;
mod constraints;
mod create_table;
mod delete_item;
mod delete_table;
mod describe_table;
mod expressions;
mod features;
mod get_item;
mod legacy;
mod list_tables;
mod options;
mod params;
mod put_item;
mod query;
mod scan;
mod start_key;
mod table_spec;
mod tagging;
mod time_to_live;
mod update_indexes;
mod update_item;
mod update_table;

pub use batch_get_item::{BatchGetEcho, BatchGetItem, BatchGetTable};
pub use batch_write_item::{BatchWriteItem, BatchWriteTable, WriteRequest};
pub use create_table::CreateTable;
pub use delete_item::DeleteItem;
pub use delete_table::DeleteTable;
pub use describe_table::DescribeTable;
pub use features::FeatureRequest;
pub use get_item::GetItem;
pub use list_tables::ListTables;
pub use options::{ReturnConsumedCapacity, ReturnValues, Select};
pub use params::Unjudged;
pub use put_item::PutItem;
pub use query::{Query, QueryPlan};
pub use scan::{Scan, ScanPlan};
pub use start_key::StartKey;
pub use tagging::{ListTagsOfResource, Resource, TagResource, UntagResource};
pub use time_to_live::{DescribeTimeToLive, UpdateTimeToLive};
pub use update_indexes::IndexStep;
pub use update_item::UpdateItem;
pub use update_table::UpdateTable;

#[cfg(test)]
mod exactness_tests;
#[cfg(test)]
mod tests;

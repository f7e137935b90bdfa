//! What a table is: key, indexes, billing and settings. Stored by the topology as JSON, rendered by the api
//! as `TableDescription`.
//!
//! `types` holds the parts, `names` the rules and parsing of names and ARNs, `keys` the checks of an item's
//! keys against a schema and their encoding. Nothing here knows where a table's partitions are, or whether it
//! is being created: that is the topology's.

mod keys;
mod names;
mod types;

pub use keys::{EncodedKey, PrimaryKey};
pub(crate) use names::has_name_characters;
pub use names::{TableReference, is_valid_name, parse_table_reference};
pub use types::{
    AttributeDefinition, BillingMode, GlobalIndex, IndexRef, IndexState, KeyAttribute, KeyDefinition,
    LocalIndex, OnDemandThroughput, Projection, ProjectionType, ScalarType, SchemaError, SettingTimes,
    SseSpecification, StreamViewType, TableClass, TableSchema, Throughput, TimeToLive, WarmThroughput,
};

#[cfg(test)]
mod tests;

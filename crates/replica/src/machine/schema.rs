//! The schema by which a partition's machine evaluates. It is decoded again when the topology has a newer
//! record of the table.

use std::sync::Arc;
use torc_cluster::topology::{IndexStatus, Table, TableKind};
use torc_model::schema::{IndexState, TableSchema};

/// Gives the table's record as the node's topology has it now; `None` once the table is gone.
pub type SchemaSource = Box<dyn Fn() -> Option<Arc<Table>> + Send>;

/// The schema of tables made below the API, by the simulation: no keys to check and no indexes.
const NONE: &[u8] = b"{}";

/// The schema in a table's record, with what the record has of its indexes; `None` for a table made below the
/// API, or for anything but a table.
///
/// # Errors
/// The schema can't be read, or names an index that the record lacks.
pub fn parse(table: &Table) -> Result<Option<TableSchema>, String> {
    let TableKind::Table(spec) = &table.kind else { return Ok(None) };
    if spec.schema == NONE {
        return Ok(None);
    }
    let unreadable = |error: &dyn std::fmt::Display| format!("table {}: {error}", table.name);
    let mut schema = TableSchema::from_json(&spec.schema).map_err(|error| unreadable(&error))?;
    for index in &mut schema.global_indexes {
        let entry = spec.index(&index.name);
        let entry = entry.ok_or_else(|| unreadable(&format!("index {} is not in its record", index.name)))?;
        index.id = entry.table.0;
        index.state = match entry.status {
            IndexStatus::Creating => IndexState::Creating,
            IndexStatus::Backfilling => IndexState::Backfilling,
            IndexStatus::Active => IndexState::Active,
            IndexStatus::Deleting => IndexState::Deleting,
        };
    }
    Ok(Some(schema))
}

/// The last record seen, parsed.
pub(super) struct Schemas {
    source: SchemaSource,
    record: Option<Arc<Table>>,
    parsed: Result<Option<TableSchema>, String>,
}

impl Schemas {
    pub fn new(source: SchemaSource) -> Self {
        Self { source, record: None, parsed: Ok(None) }
    }

    /// The schema. A dropped table keeps its last schema, because its group is dropped next.
    ///
    /// # Errors
    /// The record can't be read. A write without knowing the indexes would leave them outdated.
    pub fn current(&mut self) -> Result<Option<&TableSchema>, String> {
        if let Some(record) = (self.source)()
            && self.record.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &record))
        {
            self.parsed = parse(&record);
            self.record = Some(record);
        }
        self.parsed.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

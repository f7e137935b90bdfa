//! The schema that a partition's machine evaluates by, read anew when the topology has another record of the table.

use std::sync::Arc;
use torc_cluster::topology::{Table, TableKind};
use torc_model::schema::TableSchema;

/// Gives the table's record as the node's topology has it now; `None` once the table is gone.
pub type SchemaSource = Box<dyn Fn() -> Option<Arc<Table>> + Send>;

/// The schema of tables made below the API, by the simulation: no keys to check and no indexes.
const NONE: &[u8] = b"{}";

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

    /// The schema. A table that is gone keeps its last one: its group goes next.
    ///
    /// # Errors
    /// When the record can't be read: to write without knowing the indexes would leave them behind.
    pub fn current(&mut self) -> Result<Option<&TableSchema>, String> {
        if let Some(record) = (self.source)()
            && self.record.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &record))
        {
            self.parsed = match &record.kind {
                TableKind::Table(spec) if spec.schema != NONE => TableSchema::from_json(&spec.schema)
                    .map(Some)
                    .map_err(|error| format!("table {}: {error}", record.name)),
                _ => Ok(None),
            };
            self.record = Some(record);
        }
        self.parsed.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

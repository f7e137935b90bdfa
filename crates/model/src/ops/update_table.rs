//! `UpdateTable`.

use super::constraints::{Constraints, control_table};
use super::create_table::{bounded, sse, warm};
use super::params::{read_body, string};
use super::table_spec::{self as spec, RawDefinition, RawThroughput};
use super::update_indexes::{self, IndexStep, IndexUpdate, RawUpdate};
use crate::ApiError;
use crate::schema::{
    BillingMode, OnDemandThroughput, SseSpecification, StreamViewType, TableClass, TableSchema, Throughput,
    WarmThroughput,
};

/// A valid `UpdateTable`; [`UpdateTable::apply`] makes the new schema of the old one.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateTable {
    /// The table's name.
    pub table: String,
    definitions: Option<Vec<RawDefinition>>,
    indexes: Vec<IndexUpdate>,
    billing: Option<BillingMode>,
    throughput: Option<RawThroughput>,
    stream: Option<Option<StreamViewType>>,
    sse: Option<Option<SseSpecification>>,
    table_class: Option<TableClass>,
    deletion_protection: Option<bool>,
    on_demand: Option<OnDemandThroughput>,
    warm: Option<WarmThroughput>,
}

#[derive(Default)]
struct Raw {
    table_name: Option<String>,
    billing: Option<String>,
    throughput: Option<RawThroughput>,
    definitions: Option<Vec<RawDefinition>>,
    index_updates: Option<Vec<RawUpdate>>,
    stream: Option<spec::RawStream>,
    sse: Option<spec::RawSse>,
    replica_updates: Option<usize>,
    table_class: Option<String>,
    deletion_protection: Option<bool>,
    on_demand: Option<OnDemandThroughput>,
    warm: Option<RawThroughput>,
}

/// Reads a list for its length alone.
fn length(reader: &mut crate::json::Reader<'_>) -> Result<Option<usize>, ApiError> {
    let mut length = 0;
    reader.list(|reader| {
        length += 1;
        reader.skip()
    })?;
    Ok(Some(length))
}

impl UpdateTable {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`, also for changes of replicas, which Torc does not
    /// make.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut raw = Raw::default();
        read_body(body, "UpdateTableInput", |reader, name| {
            match name {
                "TableName" => raw.table_name = string(reader)?,
                "BillingMode" => raw.billing = string(reader)?,
                "ProvisionedThroughput" => raw.throughput = spec::throughput(reader)?,
                "AttributeDefinitions" => raw.definitions = spec::definitions(reader)?,
                "GlobalSecondaryIndexUpdates" => raw.index_updates = update_indexes::read(reader)?,
                "StreamSpecification" => raw.stream = spec::stream(reader)?,
                "SSESpecification" => raw.sse = spec::sse(reader)?,
                "ReplicaUpdates" => raw.replica_updates = length(reader)?,
                "TableClass" => raw.table_class = string(reader)?,
                "DeletionProtectionEnabled" => raw.deletion_protection = Some(reader.boolean()?),
                "OnDemandThroughput" => raw.on_demand = spec::on_demand(reader)?,
                "WarmThroughput" => raw.warm = spec::warm_throughput(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let table = control_table(raw.table_name.as_deref())?;
        raw.check_constraints(&table)?;
        raw.validate(table)
    }

    /// The schema after the update, and the index that begins or ends with it; the old schema is left as it
    /// is. `now_ms` is noted as the time of the change.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit the table as it is, `ResourceInUseException` or
    /// `LimitExceededException` while another index is on its way in or out, `ResourceNotFoundException` for
    /// an index that is not there.
    pub fn apply(
        &self,
        old: &TableSchema,
        now_ms: u64,
    ) -> Result<(TableSchema, Option<IndexStep>), ApiError> {
        let mut new = old.clone();
        if self.indexes.is_empty() {
            update_indexes::check_idle(old)?;
        }
        self.apply_billing(&mut new, now_ms)?;
        let step = update_indexes::apply(&self.indexes, self.definitions.as_deref(), &mut new, now_ms)?;
        if old.billing != new.billing {
            update_indexes::check_billing(&mut new)?;
        }
        match self.stream {
            None => {}
            Some(Some(_)) if old.stream.is_some() => {
                return Err(ApiError::validation("Table already has an enabled stream"));
            }
            Some(None) if old.stream.is_none() => {
                return Err(ApiError::validation("Table has no stream to disable"));
            }
            Some(view) => {
                new.stream = view;
                if view.is_some() {
                    new.times.stream = Some(now_ms);
                }
            }
        }
        if let Some(sse) = &self.sse {
            new.sse = sse.clone();
        }
        if let Some(class) = self.table_class {
            new.table_class = Some(class);
        }
        if let Some(protected) = self.deletion_protection {
            new.deletion_protection = protected;
        }
        if let Some(limits) = self.on_demand {
            if new.billing == BillingMode::Provisioned {
                return Err(ApiError::invalid_parameter(
                    "OnDemandThroughput cannot be specified when BillingMode is PROVISIONED",
                ));
            }
            new.on_demand = Some(limits);
        }
        if let Some(warm) = self.warm {
            new.warm = Some(warm);
        }
        Ok((new, step))
    }

    fn apply_billing(&self, schema: &mut TableSchema, now_ms: u64) -> Result<(), ApiError> {
        let before = schema.billing;
        let billing = self.billing.unwrap_or(before);
        match (billing, self.throughput) {
            (BillingMode::PayPerRequest, Some(_)) => {
                return Err(ApiError::invalid_parameter(
                    "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
                ));
            }
            (BillingMode::PayPerRequest, None) if before != billing => {
                schema.throughput = Throughput::default();
                schema.times.on_demand = Some(now_ms);
            }
            (BillingMode::Provisioned, None) if before != billing => {
                return Err(ApiError::invalid_parameter(
                    "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
                ));
            }
            (_, None) => {}
            (BillingMode::Provisioned, Some(raw)) => {
                let wanted = bounded(raw, None)?;
                if before == billing {
                    change_throughput(schema, wanted, now_ms)?;
                }
                schema.throughput = wanted;
                if before != billing {
                    schema.on_demand = None;
                }
            }
        }
        schema.billing = billing;
        Ok(())
    }
}

/// Notes when throughput is raised and lowered.
fn change_throughput(schema: &mut TableSchema, wanted: Throughput, now_ms: u64) -> Result<(), ApiError> {
    let current = schema.throughput;
    if wanted == current {
        return Err(ApiError::validation(format!(
            "The provisioned throughput for the table will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the table: {}. Requested ReadCapacityUnits: {}. Current WriteCapacityUnits provisioned for the table: {}. Requested WriteCapacityUnits: {}. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
            current.read, wanted.read, current.write, wanted.write
        )));
    }
    schema.times.throughput_changed(current, wanted, now_ms);
    Ok(())
}

impl Raw {
    fn check_constraints(&self, name: &str) -> Result<(), ApiError> {
        let mut c = Constraints::default();
        c.name(name, "tableName");
        if self.definitions.is_some() {
            spec::check_definitions(&mut c, self.definitions.as_deref(), "attributeDefinitions");
        }
        update_indexes::check_constraints(&mut c, self.index_updates.as_deref().unwrap_or_default());
        c.one_of(self.billing.as_deref(), "billingMode", &spec::BILLING_MODES);
        spec::check_throughput(&mut c, self.throughput, "provisionedThroughput");
        if let Some(stream) = &self.stream {
            c.required(&stream.enabled, "streamSpecification.streamEnabled");
            c.one_of(stream.view.as_deref(), "streamSpecification.streamViewType", &spec::STREAM_VIEWS);
        }
        if let Some(sse) = &self.sse {
            c.one_of(sse.kind.as_deref(), "sSESpecification.sSEType", &spec::SSE_TYPES);
        }
        if self.replica_updates == Some(0) {
            c.length("[]", 0, "replicaUpdates", 1, usize::MAX);
        }
        c.one_of(self.table_class.as_deref(), "tableClass", &spec::TABLE_CLASSES);
        c.finish()
    }

    fn validate(self, table: String) -> Result<UpdateTable, ApiError> {
        if self.replica_updates.is_some() {
            return Err(ApiError::validation(
                "Torc keeps its copies in one cluster: ReplicaUpdates, which make tables global, cannot be carried out",
            ));
        }
        let update = UpdateTable {
            table,
            definitions: self.definitions,
            indexes: update_indexes::validate(self.index_updates.unwrap_or_default())?,
            billing: self.billing.as_deref().map(|name| spec::billing_mode(Some(name))),
            throughput: self.throughput,
            stream: self.stream.map(stream).transpose()?,
            sse: self.sse.map(|raw| sse(Some(raw))),
            table_class: self.table_class.as_deref().map(spec::table_class),
            deletion_protection: self.deletion_protection,
            on_demand: self.on_demand,
            warm: warm(self.warm)?,
        };
        let nothing = UpdateTable {
            table: update.table.clone(),
            // Definitions alone change nothing.
            definitions: update.definitions.clone(),
            indexes: Vec::new(),
            billing: None,
            throughput: None,
            stream: None,
            sse: None,
            table_class: None,
            deletion_protection: None,
            on_demand: None,
            warm: None,
        };
        if update == nothing {
            return Err(ApiError::validation(
                "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required",
            ));
        }
        Ok(update)
    }
}

/// The view of a stream that is to be enabled, `None` for one to be disabled.
fn stream(raw: spec::RawStream) -> Result<Option<StreamViewType>, ApiError> {
    match (raw.enabled.unwrap_or(false), raw.view) {
        (true, Some(view)) => Ok(Some(spec::stream_view(&view))),
        (true, None) => Err(ApiError::validation(
            "Invalid StreamViewType: Stream ViewType must not be null or empty when enabling streams.",
        )),
        (false, Some(_)) => Err(ApiError::validation(
            "Invalid StreamViewType: Stream StreamEnabled was false but a StreamViewType was present.",
        )),
        (false, None) => Ok(None),
    }
}

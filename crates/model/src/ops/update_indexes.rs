//! `GlobalSecondaryIndexUpdates` of `UpdateTable`: indexes created, changed and deleted while the table
//! serves requests.

use super::constraints::Constraints;
use super::create_table::{Keys, bounded, global_index, listed, non_key_attributes_in_bounds};
use super::params::string;
use super::table_spec::{self as spec, RawDefinition, RawIndex, RawThroughput};
use crate::json::Reader;
use crate::limits::MAX_GLOBAL_INDEXES;
use crate::schema::{
    AttributeDefinition, BillingMode, GlobalIndex, IndexState, OnDemandThroughput, TableSchema, Throughput,
};
use crate::{ApiError, ErrorCode};
use std::collections::BTreeSet;

/// One element of the list, as it comes. Exactly one of them should be there.
#[derive(Clone, Default)]
pub(super) struct RawUpdate {
    update: Option<RawIndex>,
    create: Option<RawIndex>,
    delete: Option<RawIndex>,
}

/// What an update does to one index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum IndexUpdate {
    Create(RawIndex),
    Update {
        name: String,
        throughput: Option<RawThroughput>,
        on_demand: Option<OnDemandThroughput>,
        warm: Option<RawThroughput>,
    },
    Delete(String),
}

impl IndexUpdate {
    fn name(&self) -> &str {
        match self {
            IndexUpdate::Create(index) => index.name.as_deref().unwrap_or_default(),
            IndexUpdate::Update { name, .. } | IndexUpdate::Delete(name) => name,
        }
    }

    fn is_online(&self) -> bool {
        !matches!(self, IndexUpdate::Update { .. })
    }
}

/// An index that begins or ends with an update of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexStep {
    /// It is in the new schema, and its rows are to be made.
    Create(String),
    /// It is to go. The schema holds it until its rows are gone.
    Delete(String),
}

fn one_index(reader: &mut Reader<'_>, class: &str) -> Result<Option<RawIndex>, ApiError> {
    let mut one = RawIndex::default();
    reader.structure(class, |reader, name| {
        match name {
            "IndexName" => one.name = string(reader)?,
            "KeySchema" => one.keys = spec::key_schema(reader)?,
            "Projection" => one.projection = spec::projection(reader)?,
            "ProvisionedThroughput" => one.throughput = spec::throughput(reader)?,
            "OnDemandThroughput" => one.on_demand = spec::on_demand(reader)?,
            "WarmThroughput" => one.warm = spec::warm_throughput(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Some(one))
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Vec<RawUpdate>>, ApiError> {
    spec::structures(reader, "GlobalSecondaryIndexUpdate", |one: &mut RawUpdate, reader, name| {
        match name {
            "Update" => one.update = one_index(reader, "UpdateGlobalSecondaryIndexAction")?,
            "Create" => one.create = one_index(reader, "CreateGlobalSecondaryIndexAction")?,
            "Delete" => one.delete = one_index(reader, "DeleteGlobalSecondaryIndexAction")?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

pub(super) fn check_constraints(c: &mut Constraints, updates: &[RawUpdate]) {
    for (at, update) in updates.iter().enumerate() {
        let path = format!("globalSecondaryIndexUpdates.{}.member", at + 1);
        for (index, action) in [(&update.update, "update"), (&update.delete, "delete")] {
            let Some(index) = index else { continue };
            let path = format!("{path}.{action}");
            match &index.name {
                None => c.missing(&format!("{path}.indexName")),
                Some(name) => c.name(name, &format!("{path}.indexName")),
            }
            spec::check_throughput(c, index.throughput, &format!("{path}.provisionedThroughput"));
        }
        if let Some(index) = &update.create {
            // The key of a global index is bounded by role, later.
            spec::check_index(c, index, &format!("{path}.create"), usize::MAX);
        }
    }
}

/// What can be told of the list without the table.
///
/// # Errors
/// `ValidationException`.
pub(super) fn validate(raw: Vec<RawUpdate>) -> Result<Vec<IndexUpdate>, ApiError> {
    let mut updates: Vec<IndexUpdate> = Vec::with_capacity(raw.len());
    for one in raw {
        let update = match (one.update, one.create, one.delete) {
            (Some(index), None, None) => IndexUpdate::Update {
                name: index.name.unwrap_or_default(),
                throughput: index.throughput,
                on_demand: index.on_demand,
                warm: index.warm,
            },
            (None, Some(index), None) => IndexUpdate::Create(index),
            (None, None, Some(index)) => IndexUpdate::Delete(index.name.unwrap_or_default()),
            (None, None, None) => {
                return Err(ApiError::invalid_parameter(
                    "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null",
                ));
            }
            _ => {
                return Err(ApiError::invalid_parameter(
                    "Only one of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete may be specified",
                ));
            }
        };
        if updates.iter().any(|other| other.name() == update.name()) {
            return Err(ApiError::invalid_parameter(format!(
                "Only one global secondary index update per index is allowed simultaneously. Index: {}",
                update.name()
            )));
        }
        updates.push(update);
    }
    Ok(updates)
}

fn one_online() -> ApiError {
    ApiError::new(
        ErrorCode::LimitExceeded,
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
    )
}

fn in_use(what: &str, name: &str) -> ApiError {
    let message = format!("Attempt to change a resource which is still in use: {what}: {name}");
    ApiError::new(ErrorCode::ResourceInUse, message)
}

/// Carries the updates out on the new schema, whose billing is set already.
///
/// # Errors
/// Whatever does not fit the table as it is; `LimitExceededException` for more than one index made or
/// deleted.
pub(super) fn apply(
    updates: &[IndexUpdate],
    definitions: Option<&[RawDefinition]>,
    schema: &mut TableSchema,
    now_ms: u64,
) -> Result<Option<IndexStep>, ApiError> {
    if updates.iter().filter(|update| update.is_online()).count() > 1 {
        return Err(one_online());
    }
    let mut step = None;
    for update in updates {
        match update {
            IndexUpdate::Create(index) => step = Some(create(index, definitions, schema)?),
            IndexUpdate::Delete(name) => step = Some(delete(name, schema)?),
            IndexUpdate::Update { name, throughput, on_demand, warm } => {
                let billing = schema.billing;
                let found = schema.global_indexes.iter_mut().find(|index| index.name == *name);
                let index = found.ok_or_else(no_such_index)?;
                change(index, billing, *throughput, *on_demand, *warm, now_ms)?;
            }
        }
    }
    Ok(step)
}

fn no_such_index() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, "Requested resource not found")
}

/// The index, other than the one named, that is on its way in or out.
fn busy<'s>(schema: &'s TableSchema, name: &str) -> Option<&'s GlobalIndex> {
    schema.global_indexes.iter().find(|index| index.state != IndexState::Active && index.name != name)
}

fn create(
    raw: &RawIndex,
    definitions: Option<&[RawDefinition]>,
    schema: &mut TableSchema,
) -> Result<IndexStep, ApiError> {
    let name = raw.name.clone().unwrap_or_default();
    if schema.index(&name).is_some() {
        return Err(ApiError::validation("Attempting to create an index which already exists"));
    }
    let definitions = definitions.unwrap_or_default();
    let known = merged(&schema.attributes, definitions)?;
    // "If you are adding a new global secondary index to the table, AttributeDefinitions must include the key
    // element(s) of the new index": API reference, UpdateTable, AttributeDefinitions. That the table has
    // defined them before is not enough.
    let is_given = |name: &str| definitions.iter().any(|definition| definition.name.as_deref() == Some(name));
    let given: Vec<AttributeDefinition> =
        known.iter().filter(|definition| is_given(&definition.name)).cloned().collect();
    let mut keys = Keys { definitions: &given, used: BTreeSet::new() };
    let index = global_index(raw.clone(), schema.billing, &mut keys)?;
    let mut keys = Keys { definitions: &known, used: keys.used };
    let of_old = schema.key.attributes().chain(schema.indexes().flat_map(|index| index.key().attributes()));
    keys.used.extend(of_old.map(|attribute| attribute.name.clone()));
    keys.check_all_used(true)?;
    if busy(schema, &name).is_some() {
        return Err(one_online());
    }
    if schema.global_indexes.len() >= MAX_GLOBAL_INDEXES {
        return Err(ApiError::new(
            ErrorCode::LimitExceeded,
            format!(
                "Subscriber limit exceeded: Number of global secondary indexes exceeds per-table limit of {MAX_GLOBAL_INDEXES}"
            ),
        ));
    }
    schema.global_indexes.push(GlobalIndex { state: IndexState::Creating, ..index });
    non_key_attributes_in_bounds(schema.indexes().map(|index| index.projection()))?;
    schema.attributes = known;
    Ok(IndexStep::Create(name))
}

/// The table's definitions, and those that the request adds.
fn merged(old: &[AttributeDefinition], raw: &[RawDefinition]) -> Result<Vec<AttributeDefinition>, ApiError> {
    let mut out = old.to_vec();
    let mut seen = BTreeSet::new();
    for definition in raw {
        let name = definition.name.clone().unwrap_or_default();
        let kind = spec::scalar_type(definition.kind.as_deref());
        if !seen.insert(name.clone()) {
            return Err(ApiError::validation("Cannot have two attributes with the same name"));
        }
        match out.iter().find(|known| known.name == name) {
            Some(known) if known.kind == kind => {}
            Some(known) => {
                return Err(ApiError::invalid_parameter(format!(
                    "Attribute {name} is defined as {} already and cannot be redefined as {}. AttributeDefinitions: {}",
                    known.kind.name(),
                    kind.name(),
                    listed(old.iter().map(|definition| definition.name.as_str()))
                )));
            }
            None => out.push(AttributeDefinition { name, kind }),
        }
    }
    Ok(out)
}

fn delete(name: &str, schema: &mut TableSchema) -> Result<IndexStep, ApiError> {
    let index = schema.global_indexes.iter_mut().find(|index| index.name == name);
    let index = index.ok_or_else(no_such_index)?;
    match index.state {
        IndexState::Creating => return Err(in_use("Index is being created", name)),
        IndexState::Deleting => return Err(in_use("Index is being deleted", name)),
        IndexState::Backfilling | IndexState::Active => index.state = IndexState::Deleting,
    }
    if busy(schema, name).is_some() {
        return Err(one_online());
    }
    Ok(IndexStep::Delete(name.to_string()))
}

fn change(
    index: &mut GlobalIndex,
    billing: BillingMode,
    throughput: Option<RawThroughput>,
    on_demand: Option<OnDemandThroughput>,
    warm: Option<RawThroughput>,
    now_ms: u64,
) -> Result<(), ApiError> {
    let name = index.name.clone();
    match index.state {
        IndexState::Creating => return Err(in_use("Index is being created", &name)),
        IndexState::Deleting => return Err(in_use("Index is being deleted", &name)),
        IndexState::Backfilling | IndexState::Active => {}
    }
    if throughput.is_none() && on_demand.is_none() && warm.is_none() {
        return Err(ApiError::invalid_parameter(format!(
            "ProvisionedThroughput is not specified for index: {name}"
        )));
    }
    if let Some(units) = throughput {
        if billing == BillingMode::PayPerRequest {
            return Err(ApiError::invalid_parameter(format!(
                "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
            )));
        }
        let wanted = bounded(units, Some(&name))?;
        let current = index.throughput.unwrap_or_default();
        if current == wanted {
            return Err(unchanged(&name, current));
        }
        if current != Throughput::default() {
            index.times.throughput_changed(current, wanted, now_ms);
        }
        index.throughput = Some(wanted);
    }
    if let Some(limits) = on_demand {
        if billing == BillingMode::Provisioned {
            return Err(ApiError::invalid_parameter(format!(
                "OnDemandThroughput should not be specified for index: {name} when BillingMode is PROVISIONED"
            )));
        }
        index.on_demand = Some(limits);
    }
    if warm.is_some() {
        index.warm = super::create_table::warm(warm)?;
    }
    Ok(())
}

fn unchanged(name: &str, Throughput { read, write }: Throughput) -> ApiError {
    ApiError::validation(format!(
        "The provisioned throughput for the index {name} will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the index: {read}. Requested ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the index: {write}. Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    ))
}

/// What billing means for the indexes: on demand none has units, provisioned each has.
///
/// # Errors
/// `ValidationException` for an index without units, unless it is on its way out.
pub(super) fn check_billing(schema: &mut TableSchema) -> Result<(), ApiError> {
    let billing = schema.billing;
    for index in &mut schema.global_indexes {
        match billing {
            BillingMode::PayPerRequest => index.throughput = None,
            BillingMode::Provisioned => {
                index.on_demand = None;
                if index.throughput.is_none() && index.state != IndexState::Deleting {
                    return Err(ApiError::invalid_parameter(format!(
                        "ProvisionedThroughput must be specified for index: {}",
                        index.name
                    )));
                }
            }
        }
    }
    Ok(())
}

/// While an index is set up or taken down nothing else of the table changes.
///
/// # Errors
/// `ResourceInUseException`.
pub(super) fn check_idle(schema: &TableSchema) -> Result<(), ApiError> {
    let busy = |index: &GlobalIndex| matches!(index.state, IndexState::Creating | IndexState::Deleting);
    if schema.global_indexes.iter().any(busy) {
        return Err(in_use("Table is being updated", &schema.name));
    }
    Ok(())
}

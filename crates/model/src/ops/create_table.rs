//! `CreateTable`.

use super::constraints::{Constraints, control_table};
use super::params::{read_body, string};
use super::table_spec::{self as spec, RawIndex, RawKeyElement, RawThroughput};
use crate::ApiError;
use crate::limits::{
    MAX_GLOBAL_INDEXES, MAX_KEY_ATTRIBUTES, MAX_LOCAL_INDEXES, MAX_PROJECTED_ATTRIBUTES, MAX_TAGS,
    MAX_THROUGHPUT_UNITS,
};
use crate::schema::{
    AttributeDefinition, BillingMode, GlobalIndex, IndexState, KeyDefinition, LocalIndex, OnDemandThroughput,
    Projection, ProjectionType, SettingTimes, SseSpecification, TableSchema, Throughput, WarmThroughput,
};
use std::collections::{BTreeMap, BTreeSet};

/// A valid `CreateTable`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// The table to create; indexes have no ids yet.
    pub schema: TableSchema,
}

#[derive(Default)]
struct Raw {
    table_name: Option<String>,
    definitions: Option<Vec<spec::RawDefinition>>,
    keys: Option<Vec<RawKeyElement>>,
    local: Option<Vec<RawIndex>>,
    global: Option<Vec<RawIndex>>,
    billing: Option<String>,
    throughput: Option<RawThroughput>,
    on_demand: Option<OnDemandThroughput>,
    warm: Option<RawThroughput>,
    stream: Option<spec::RawStream>,
    sse: Option<spec::RawSse>,
    tags: Option<Vec<spec::RawTag>>,
    table_class: Option<String>,
    deletion_protection: Option<bool>,
    resource_policy: Option<String>,
}

impl CreateTable {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException`, `ValidationException`, or `LimitExceededException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut raw = Raw::default();
        read_body(body, "CreateTableInput", |reader, name| {
            match name {
                "TableName" => raw.table_name = string(reader)?,
                "AttributeDefinitions" => raw.definitions = spec::definitions(reader)?,
                "KeySchema" => raw.keys = spec::key_schema(reader)?,
                "LocalSecondaryIndexes" => raw.local = spec::indexes(reader, "LocalSecondaryIndex")?,
                "GlobalSecondaryIndexes" => raw.global = spec::indexes(reader, "GlobalSecondaryIndex")?,
                "BillingMode" => raw.billing = string(reader)?,
                "ProvisionedThroughput" => raw.throughput = spec::throughput(reader)?,
                "OnDemandThroughput" => raw.on_demand = spec::on_demand(reader)?,
                "WarmThroughput" => raw.warm = spec::warm_throughput(reader)?,
                "StreamSpecification" => raw.stream = spec::stream(reader)?,
                "SSESpecification" => raw.sse = spec::sse(reader)?,
                "Tags" => raw.tags = spec::tags(reader)?,
                "TableClass" => raw.table_class = string(reader)?,
                "DeletionProtectionEnabled" => raw.deletion_protection = Some(reader.boolean()?),
                "ResourcePolicy" => raw.resource_policy = string(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let name = control_table(raw.table_name.as_deref())?;
        raw.check_constraints(&name)?;
        Ok(CreateTable { schema: raw.validate(name)? })
    }
}

/// "One or more parameter values were invalid: …".
fn invalid<T>(fault: impl std::fmt::Display) -> Result<T, ApiError> {
    Err(ApiError::invalid_parameter(fault))
}

pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", names.into_iter().collect::<Vec<_>>().join(", "))
}

impl Raw {
    fn check_constraints(&self, name: &str) -> Result<(), ApiError> {
        let mut c = Constraints::default();
        c.name(name, "tableName");
        spec::check_definitions(&mut c, self.definitions.as_deref(), "attributeDefinitions");
        spec::check_key_schema(&mut c, self.keys.as_deref(), "keySchema", 2);
        c.one_of(self.billing.as_deref(), "billingMode", &spec::BILLING_MODES);
        spec::check_throughput(&mut c, self.throughput, "provisionedThroughput");
        // The key of a global index is bounded by role, later.
        let indexes =
            [(&self.local, "localSecondaryIndexes", 2), (&self.global, "globalSecondaryIndexes", usize::MAX)];
        for (indexes, path, most_keys) in indexes {
            for (at, index) in indexes.iter().flatten().enumerate() {
                spec::check_index(&mut c, index, &format!("{path}.{}.member", at + 1), most_keys);
            }
        }
        if let Some(stream) = &self.stream {
            c.required(&stream.enabled, "streamSpecification.streamEnabled");
            c.one_of(stream.view.as_deref(), "streamSpecification.streamViewType", &spec::STREAM_VIEWS);
        }
        if let Some(sse) = &self.sse {
            c.one_of(sse.kind.as_deref(), "sSESpecification.sSEType", &spec::SSE_TYPES);
        }
        spec::check_tags(&mut c, self.tags.as_deref().unwrap_or_default(), "tags");
        c.one_of(self.table_class.as_deref(), "tableClass", &spec::TABLE_CLASSES);
        c.finish()
    }

    fn validate(self, name: String) -> Result<TableSchema, ApiError> {
        let billing = spec::billing_mode(self.billing.as_deref());
        let throughput = self.table_throughput(billing)?;
        if billing == BillingMode::Provisioned && self.on_demand.is_some() {
            return invalid("OnDemandThroughput cannot be specified when BillingMode is PROVISIONED");
        }
        let tags = tags(self.tags.unwrap_or_default())?;
        let definitions = definitions(self.definitions.unwrap_or_default())?;
        let has_indexes = self.local.is_some() || self.global.is_some();
        let mut keys = Keys { definitions: &definitions, used: BTreeSet::new() };
        let key = keys.define(self.keys.as_deref().unwrap_or_default())?;
        let mut names = BTreeSet::new();
        let local = local_indexes(self.local, &key, &mut keys, &mut names)?;
        let global = global_indexes(self.global, billing, &mut keys, &mut names)?;
        let projections = local.iter().map(|index| &index.projection);
        non_key_attributes_in_bounds(projections.chain(global.iter().map(|index| &index.projection)))?;
        keys.check_all_used(has_indexes)?;
        Ok(TableSchema {
            name,
            key,
            local_indexes: local,
            global_indexes: global,
            billing,
            throughput,
            on_demand: self.on_demand,
            warm: warm(self.warm)?,
            stream: stream(self.stream)?,
            sse: sse(self.sse),
            table_class: self.table_class.as_deref().map(spec::table_class),
            tags,
            deletion_protection: self.deletion_protection.unwrap_or(false),
            ttl: None,
            resource_policy: self.resource_policy,
            times: SettingTimes::default(),
            attributes: definitions,
        })
    }

    fn table_throughput(&self, billing: BillingMode) -> Result<Throughput, ApiError> {
        match (billing, self.throughput) {
            (BillingMode::Provisioned, None) => invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ),
            (BillingMode::PayPerRequest, Some(_)) => invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            ),
            (BillingMode::PayPerRequest, None) => Ok(Throughput::default()),
            (BillingMode::Provisioned, Some(units)) => bounded(units, None),
        }
    }
}

/// # Errors
/// `ValidationException` when the indexes of a table name too many attributes.
pub(super) fn non_key_attributes_in_bounds<'a>(
    projections: impl Iterator<Item = &'a Projection>,
) -> Result<(), ApiError> {
    let projected: usize = projections.map(|projection| projection.non_key_attributes.len()).sum();
    if projected > MAX_PROJECTED_ATTRIBUTES {
        return invalid(format_args!(
            "Number of NonKeyAttributes across all secondary indexes exceeds per-table limit of {MAX_PROJECTED_ATTRIBUTES}"
        ));
    }
    Ok(())
}

/// Units in range; `index` is the index that they are for.
pub(super) fn bounded(units: RawThroughput, index: Option<&str>) -> Result<Throughput, ApiError> {
    let check = |units: Option<i64>, name: &str| {
        let value = units.unwrap_or(0);
        if value > MAX_THROUGHPUT_UNITS {
            let whom = index.map(|index| format!(" for index {index}")).unwrap_or_default();
            return Err(ApiError::validation(format!(
                "Given value {value} for {name} is out of bounds{whom}"
            )));
        }
        Ok(u64::try_from(value).unwrap_or(0))
    };
    Ok(Throughput {
        read: check(units.read, "ReadCapacityUnits")?,
        write: check(units.write, "WriteCapacityUnits")?,
    })
}

/// Warm throughput as requested. The minimum is the throughput of a new on-demand table by the developer
/// guide (Warm throughput: 12 000 reads and 4 000 writes a second). It is also the default for reads or
/// writes that the request does not name.
///
/// # Errors
/// `ValidationException` for less. No AWS document has its text; that it is refused is in the Terraform
/// provider's document of `aws_dynamodb_table`, warm_throughput.
pub(super) fn warm(raw: Option<RawThroughput>) -> Result<Option<WarmThroughput>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    let units = |units: Option<i64>, least: i64, name: &str| match units.unwrap_or(least) {
        units if units < least => {
            invalid(format_args!("WarmThroughput {name} must be at least {least}, but is {units}"))
        }
        units => Ok(u64::try_from(units).unwrap_or(0)),
    };
    Ok(Some(WarmThroughput {
        read: units(raw.read, 12_000, "ReadUnitsPerSecond")?,
        write: units(raw.write, 4_000, "WriteUnitsPerSecond")?,
    }))
}

pub(super) fn tags(raw: Vec<spec::RawTag>) -> Result<BTreeMap<String, String>, ApiError> {
    if raw.len() > MAX_TAGS {
        return invalid(format_args!("Too many tags: the limit is {MAX_TAGS}"));
    }
    let mut tags = BTreeMap::new();
    for tag in raw {
        let key = tag.key.unwrap_or_default();
        let value = tag.value.unwrap_or_default();
        if !key.chars().chain(value.chars()).all(may_be_in_tag) {
            return invalid(
                "Tag keys and values may contain letters, white space, numbers and the characters + - = . _ : / @",
            );
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return invalid("Tag keys starting with \"aws:\" are reserved for system use");
        }
        if tags.insert(key, value).is_some() {
            return invalid("Tag keys must be unique");
        }
    }
    Ok(tags)
}

/// "The allowed characters are letters, white space, and numbers, plus the following special characters: + -
/// = . _ : /": developer guide, Tagging restrictions in DynamoDB. `@` is let through too: other AWS documents
/// of tags have it in the pattern beside the same sentence (Amazon EFS API reference, Tag).
fn may_be_in_tag(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || "+-=._:/@".contains(character)
}

fn definitions(raw: Vec<spec::RawDefinition>) -> Result<Vec<AttributeDefinition>, ApiError> {
    let mut out: Vec<AttributeDefinition> = Vec::with_capacity(raw.len());
    for definition in raw {
        let name = definition.name.unwrap_or_default();
        if out.iter().any(|other| other.name == name) {
            return Err(ApiError::validation("Cannot have two attributes with the same name"));
        }
        out.push(AttributeDefinition { name, kind: spec::scalar_type(definition.kind.as_deref()) });
    }
    Ok(out)
}

/// Resolves key schemas by the attribute definitions, and remembers which of those were used.
pub(super) struct Keys<'a> {
    pub definitions: &'a [AttributeDefinition],
    pub used: BTreeSet<String>,
}

impl Keys<'_> {
    /// The key of a table or local index: one partition attribute and at most one sort attribute.
    fn define(&mut self, raw: &[RawKeyElement]) -> Result<KeyDefinition, ApiError> {
        let (names, roles) = unzip(raw);
        if roles.first() != Some(&"HASH") {
            return bad_schema("The first KeySchemaElement is not a HASH key type");
        }
        if roles.get(1).is_some_and(|role| *role != "RANGE") {
            return bad_schema("The second KeySchemaElement is not a RANGE key type");
        }
        self.resolve(&names, 1)
    }

    /// The key of a global index: several attributes of either role, partition before sort.
    fn define_global(&mut self, raw: &[RawKeyElement]) -> Result<KeyDefinition, ApiError> {
        let (names, roles) = unzip(raw);
        if roles.first() != Some(&"HASH") {
            return bad_schema("The first KeySchemaElement is not a HASH key type");
        }
        let partition = roles.iter().take_while(|role| **role == "HASH").count();
        if roles.iter().skip(partition).any(|role| *role == "HASH") {
            return bad_schema("All HASH key attributes must precede RANGE key attributes in the KeySchema");
        }
        for (count, role) in [(partition, "HASH"), (roles.len() - partition, "RANGE")] {
            if count > MAX_KEY_ATTRIBUTES {
                return bad_schema(&format!(
                    "The KeySchema exceeds the maximum allowed number of {role} key attributes"
                ));
            }
        }
        self.resolve(&names, partition)
    }

    fn resolve(&mut self, names: &[&str], partition: usize) -> Result<KeyDefinition, ApiError> {
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err(ApiError::validation(
                "Both the Hash Key and the Range Key element in the KeySchema have the same name",
            ));
        }
        let mut attributes = Vec::with_capacity(names.len());
        for name in names {
            let Some(definition) = self.definitions.iter().find(|definition| definition.name == *name) else {
                return invalid(format_args!(
                    "Some index key attributes are not defined in AttributeDefinitions. Keys: {}, AttributeDefinitions: {}",
                    listed(names.iter().copied()),
                    listed(self.definitions.iter().map(|definition| definition.name.as_str()))
                ));
            };
            self.used.insert(definition.name.clone());
            attributes.push(definition.clone());
        }
        let sort = attributes.split_off(partition);
        Ok(KeyDefinition { partition: attributes, sort })
    }

    pub fn check_all_used(&self, has_indexes: bool) -> Result<(), ApiError> {
        if self.used.len() == self.definitions.len() {
            return Ok(());
        }
        if !has_indexes {
            return invalid(
                "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
            );
        }
        invalid(format_args!(
            "Some AttributeDefinitions are not used. AttributeDefinitions: {}, keys used: {}",
            listed(self.definitions.iter().map(|definition| definition.name.as_str())),
            listed(self.used.iter().map(String::as_str))
        ))
    }
}

/// Names and roles of a key schema's elements, which the constraints have found to be there.
fn unzip(raw: &[RawKeyElement]) -> (Vec<&str>, Vec<&str>) {
    raw.iter()
        .map(|element| {
            (element.name.as_deref().unwrap_or_default(), element.role.as_deref().unwrap_or_default())
        })
        .unzip()
}

fn bad_schema<T>(fault: &str) -> Result<T, ApiError> {
    Err(ApiError::validation(format!("Invalid KeySchema: {fault}")))
}

fn projection(raw: spec::RawProjection) -> Result<Projection, ApiError> {
    let Some(kind) = raw.kind else { return invalid("Unknown ProjectionType: null") };
    let kind = spec::projection_type(&kind);
    match (kind, &raw.attributes) {
        (ProjectionType::Include, None) => {
            invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
        }
        (ProjectionType::All | ProjectionType::KeysOnly, Some(_)) => {
            invalid(format_args!("ProjectionType is {}, but NonKeyAttributes is specified", kind.name()))
        }
        (_, Some(names)) if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) => {
            Err(ApiError::validation("Cannot have two attributes with the same name"))
        }
        _ => Ok(Projection { kind, non_key_attributes: raw.attributes.unwrap_or_default() }),
    }
}

fn unique(names: &mut BTreeSet<String>, name: &str) -> Result<(), ApiError> {
    if names.insert(name.to_string()) {
        Ok(())
    } else {
        invalid(format_args!("Duplicate index name: {name}"))
    }
}

fn local_indexes(
    raw: Option<Vec<RawIndex>>,
    table: &KeyDefinition,
    keys: &mut Keys<'_>,
    names: &mut BTreeSet<String>,
) -> Result<Vec<LocalIndex>, ApiError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    if raw.is_empty() {
        return invalid("List of LocalSecondaryIndexes is empty");
    }
    if table.sort.is_empty() {
        return invalid(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        );
    }
    let mut out = Vec::with_capacity(raw.len());
    for index in raw {
        let name = index.name.unwrap_or_default();
        let key = keys.define(index.keys.as_deref().unwrap_or_default())?;
        if key.sort.is_empty() {
            return invalid(format_args!("Index KeySchema does not have a range key for index: {name}"));
        }
        if key.partition != table.partition {
            let hash =
                |key: &KeyDefinition| key.partition.first().map(|a| a.name.clone()).unwrap_or_default();
            return invalid(format_args!(
                "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index hash key: {}, table hash key: {}",
                hash(&key),
                hash(table)
            ));
        }
        let projection = projection(index.projection.unwrap_or_default())?;
        unique(names, &name)?;
        out.push(LocalIndex { name, id: 0, key, projection });
    }
    if out.len() > MAX_LOCAL_INDEXES {
        return invalid(format_args!(
            "Number of LocalSecondaryIndexes exceeds per-table limit of {MAX_LOCAL_INDEXES}"
        ));
    }
    Ok(out)
}

fn global_indexes(
    raw: Option<Vec<RawIndex>>,
    billing: BillingMode,
    keys: &mut Keys<'_>,
    names: &mut BTreeSet<String>,
) -> Result<Vec<GlobalIndex>, ApiError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    if raw.is_empty() {
        return invalid("List of GlobalSecondaryIndexes is empty");
    }
    let mut out = Vec::with_capacity(raw.len());
    for index in raw {
        let index = global_index(index, billing, keys)?;
        unique(names, &index.name)?;
        out.push(index);
    }
    if out.len() > MAX_GLOBAL_INDEXES {
        return invalid(format_args!(
            "Number of GlobalSecondaryIndexes exceeds per-table limit of {MAX_GLOBAL_INDEXES}"
        ));
    }
    Ok(out)
}

/// A global index as a request defines it.
pub(super) fn global_index(
    raw: RawIndex,
    billing: BillingMode,
    keys: &mut Keys<'_>,
) -> Result<GlobalIndex, ApiError> {
    let name = raw.name.unwrap_or_default();
    let throughput = match (billing, raw.throughput) {
        (BillingMode::Provisioned, None) => {
            return invalid(format_args!("ProvisionedThroughput is not specified for index: {name}"));
        }
        (BillingMode::PayPerRequest, Some(_)) => {
            return invalid(format_args!(
                "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
            ));
        }
        (_, units) => units.map(|units| bounded(units, Some(&name))).transpose()?,
    };
    let key = keys.define_global(raw.keys.as_deref().unwrap_or_default())?;
    let projection = projection(raw.projection.unwrap_or_default())?;
    Ok(GlobalIndex {
        name,
        id: 0,
        state: IndexState::Active,
        key,
        projection,
        throughput,
        on_demand: raw.on_demand,
        warm: warm(raw.warm)?,
        times: SettingTimes::default(),
    })
}

fn stream(raw: Option<spec::RawStream>) -> Result<Option<crate::schema::StreamViewType>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    match (raw.enabled.unwrap_or(false), raw.view) {
        (true, Some(view)) => Ok(Some(spec::stream_view(&view))),
        (true, None) => {
            invalid("Table is being created with a stream enabled, UpdateViewType should be specified")
        }
        (false, Some(_)) => {
            invalid("Table is being created with a stream disabled, UpdateViewType should not be specified")
        }
        (false, None) => Ok(None),
    }
}

pub(super) fn sse(raw: Option<spec::RawSse>) -> Option<SseSpecification> {
    let raw = raw.filter(|raw| raw.enabled.unwrap_or(false))?;
    Some(SseSpecification { kind: raw.kind.unwrap_or_else(|| "KMS".into()), key_id: raw.key_id })
}

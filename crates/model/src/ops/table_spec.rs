//! The structures that define tables and indexes, as they come in `CreateTable` and its like, and their
//! constraints.

use super::constraints::Constraints;
use super::params::string;
use crate::ApiError;
use crate::json::Reader;
use crate::schema::{
    BillingMode, OnDemandThroughput, ProjectionType, ScalarType, StreamViewType, TableClass,
};

/// `KeySchemaElement`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawKeyElement {
    pub name: Option<String>,
    pub role: Option<String>,
}

/// `AttributeDefinition`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawDefinition {
    pub name: Option<String>,
    pub kind: Option<String>,
}

/// `Projection`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawProjection {
    pub kind: Option<String>,
    pub attributes: Option<Vec<String>>,
}

/// `ProvisionedThroughput`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RawThroughput {
    pub read: Option<i64>,
    pub write: Option<i64>,
}

/// `LocalSecondaryIndex` or `GlobalSecondaryIndex`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawIndex {
    pub name: Option<String>,
    pub keys: Option<Vec<RawKeyElement>>,
    pub projection: Option<RawProjection>,
    pub throughput: Option<RawThroughput>,
    pub on_demand: Option<OnDemandThroughput>,
    pub warm: Option<RawThroughput>,
}

/// `StreamSpecification`.
#[derive(Clone, Default)]
pub(super) struct RawStream {
    pub enabled: Option<bool>,
    pub view: Option<String>,
}

/// `SSESpecification`.
#[derive(Clone, Default)]
pub(super) struct RawSse {
    pub enabled: Option<bool>,
    pub kind: Option<String>,
    pub key_id: Option<String>,
}

/// `Tag`.
#[derive(Clone, Default)]
pub(super) struct RawTag {
    pub key: Option<String>,
    pub value: Option<String>,
}

/// A list of structures; null elements read as empty ones.
pub(super) fn structures<T: Default>(
    reader: &mut Reader<'_>,
    class: &str,
    mut member: impl FnMut(&mut T, &mut Reader<'_>, &str) -> Result<(), ApiError>,
) -> Result<Option<Vec<T>>, ApiError> {
    let mut out = Vec::new();
    reader.list(|reader| {
        let mut one = T::default();
        if !reader.null()? {
            reader.structure(class, |reader, name| member(&mut one, reader, name))?;
        }
        out.push(one);
        Ok(())
    })?;
    Ok(Some(out))
}

pub(super) fn key_schema(reader: &mut Reader<'_>) -> Result<Option<Vec<RawKeyElement>>, ApiError> {
    structures(reader, "KeySchemaElement", |one: &mut RawKeyElement, reader, name| {
        match name {
            "AttributeName" => one.name = string(reader)?,
            "KeyType" => one.role = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

pub(super) fn definitions(reader: &mut Reader<'_>) -> Result<Option<Vec<RawDefinition>>, ApiError> {
    structures(reader, "AttributeDefinition", |one: &mut RawDefinition, reader, name| {
        match name {
            "AttributeName" => one.name = string(reader)?,
            "AttributeType" => one.kind = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

pub(super) fn throughput(reader: &mut Reader<'_>) -> Result<Option<RawThroughput>, ApiError> {
    units(reader, "ProvisionedThroughput", "ReadCapacityUnits", "WriteCapacityUnits")
}

pub(super) fn warm_throughput(reader: &mut Reader<'_>) -> Result<Option<RawThroughput>, ApiError> {
    units(reader, "WarmThroughput", "ReadUnitsPerSecond", "WriteUnitsPerSecond")
}

pub(super) fn on_demand(reader: &mut Reader<'_>) -> Result<Option<OnDemandThroughput>, ApiError> {
    let raw = units(reader, "OnDemandThroughput", "MaxReadRequestUnits", "MaxWriteRequestUnits")?;
    // −1 takes the ceiling away.
    let ceiling = |units: Option<i64>| units.and_then(|units| u64::try_from(units).ok());
    Ok(raw.map(|raw| OnDemandThroughput { max_read: ceiling(raw.read), max_write: ceiling(raw.write) }))
}

fn units(
    reader: &mut Reader<'_>,
    class: &str,
    read: &str,
    write: &str,
) -> Result<Option<RawThroughput>, ApiError> {
    let mut out = RawThroughput::default();
    reader.structure(class, |reader, name| {
        if name == read {
            out.read = Some(reader.integer("Long")?);
        } else if name == write {
            out.write = Some(reader.integer("Long")?);
        } else {
            reader.skip()?;
        }
        Ok(())
    })?;
    Ok(Some(out))
}

pub(super) fn projection(reader: &mut Reader<'_>) -> Result<Option<RawProjection>, ApiError> {
    let mut out = RawProjection::default();
    reader.structure("Projection", |reader, name| {
        match name {
            "ProjectionType" => out.kind = string(reader)?,
            "NonKeyAttributes" => out.attributes = Some(reader.strings()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Some(out))
}

/// `LocalSecondaryIndexes` or `GlobalSecondaryIndexes`; `class` is the structure's name, and only a global
/// index has throughput.
pub(super) fn indexes(reader: &mut Reader<'_>, class: &str) -> Result<Option<Vec<RawIndex>>, ApiError> {
    let global = class == "GlobalSecondaryIndex";
    structures(reader, class, |one: &mut RawIndex, reader, name| {
        match name {
            "IndexName" => one.name = string(reader)?,
            "KeySchema" => one.keys = key_schema(reader)?,
            "Projection" => one.projection = projection(reader)?,
            "ProvisionedThroughput" if global => one.throughput = throughput(reader)?,
            "OnDemandThroughput" if global => one.on_demand = on_demand(reader)?,
            "WarmThroughput" if global => one.warm = warm_throughput(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

pub(super) fn stream(reader: &mut Reader<'_>) -> Result<Option<RawStream>, ApiError> {
    let mut out = RawStream::default();
    reader.structure("StreamSpecification", |reader, name| {
        match name {
            "StreamEnabled" => out.enabled = Some(reader.boolean()?),
            "StreamViewType" => out.view = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Some(out))
}

pub(super) fn sse(reader: &mut Reader<'_>) -> Result<Option<RawSse>, ApiError> {
    let mut out = RawSse::default();
    reader.structure("SSESpecification", |reader, name| {
        match name {
            "Enabled" => out.enabled = Some(reader.boolean()?),
            "SSEType" => out.kind = string(reader)?,
            "KMSMasterKeyId" => out.key_id = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Some(out))
}

pub(super) fn tags(reader: &mut Reader<'_>) -> Result<Option<Vec<RawTag>>, ApiError> {
    structures(reader, "Tag", |one: &mut RawTag, reader, name| {
        match name {
            "Key" => one.key = string(reader)?,
            "Value" => one.value = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

/// A name of one to 255 characters that must be there.
fn bounded_name(c: &mut Constraints, name: Option<&str>, path: &str) {
    match name {
        None => c.missing(path),
        Some(name) => c.length(name, name.chars().count(), path, 1, 255),
    }
}

/// `most` is how many attributes the key may have: two, but for a global index.
pub(super) fn check_key_schema(c: &mut Constraints, keys: Option<&[RawKeyElement]>, path: &str, most: usize) {
    let Some(keys) = keys else { return c.missing(path) };
    let shown = || {
        let element = |key: &RawKeyElement| {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".into());
            format!("KeySchemaElement(attributeName={}, keyType={})", shown(&key.name), shown(&key.role))
        };
        format!("[{}]", keys.iter().map(element).collect::<Vec<_>>().join(", "))
    };
    c.length(shown(), keys.len(), path, 1, most);
    for (index, key) in keys.iter().enumerate() {
        let path = format!("{path}.{}.member", index + 1);
        bounded_name(c, key.name.as_deref(), &format!("{path}.attributeName"));
        let at = format!("{path}.keyType");
        c.required(&key.role, &at);
        c.one_of(key.role.as_deref(), &at, &["HASH", "RANGE"]);
    }
}

pub(super) fn check_definitions(c: &mut Constraints, definitions: Option<&[RawDefinition]>, path: &str) {
    let Some(definitions) = definitions else { return c.missing(path) };
    for (index, definition) in definitions.iter().enumerate() {
        let path = format!("{path}.{}.member", index + 1);
        bounded_name(c, definition.name.as_deref(), &format!("{path}.attributeName"));
        let at = format!("{path}.attributeType");
        c.required(&definition.kind, &at);
        c.one_of(definition.kind.as_deref(), &at, &["B", "N", "S"]);
    }
}

pub(super) fn check_throughput(c: &mut Constraints, throughput: Option<RawThroughput>, path: &str) {
    let Some(throughput) = throughput else { return };
    for (units, name) in [(throughput.read, "readCapacityUnits"), (throughput.write, "writeCapacityUnits")] {
        let path = format!("{path}.{name}");
        c.required(&units, &path);
        c.range(units, &path, 1, i64::MAX);
    }
}

pub(super) fn check_index(c: &mut Constraints, index: &RawIndex, path: &str, most_keys: usize) {
    match &index.name {
        None => c.missing(&format!("{path}.indexName")),
        Some(name) => c.name(name, &format!("{path}.indexName")),
    }
    check_key_schema(c, index.keys.as_deref(), &format!("{path}.keySchema"), most_keys);
    match &index.projection {
        None => c.missing(&format!("{path}.projection")),
        Some(projection) => {
            let path = format!("{path}.projection");
            c.one_of(
                projection.kind.as_deref(),
                &format!("{path}.projectionType"),
                &["ALL", "INCLUDE", "KEYS_ONLY"],
            );
            if let Some(names) = &projection.attributes {
                let path = format!("{path}.nonKeyAttributes");
                c.length(format_args!("[{}]", names.join(", ")), names.len(), &path, 1, 20);
                for (index, name) in names.iter().enumerate() {
                    c.length(name, name.chars().count(), &format!("{path}.{}.member", index + 1), 1, 255);
                }
            }
        }
    }
    check_throughput(c, index.throughput, &format!("{path}.provisionedThroughput"));
}

pub(super) fn check_tags(c: &mut Constraints, tags: &[RawTag], path: &str) {
    for (index, tag) in tags.iter().enumerate() {
        let path = format!("{path}.{}.member", index + 1);
        match &tag.key {
            None => c.missing(&format!("{path}.key")),
            Some(key) => c.length(key, key.chars().count(), &format!("{path}.key"), 1, 128),
        }
        match &tag.value {
            None => c.missing(&format!("{path}.value")),
            Some(value) => c.length(value, value.chars().count(), &format!("{path}.value"), 0, 256),
        }
    }
}

/// Names whose values are constraints.
pub(super) const BILLING_MODES: [&str; 2] = ["PROVISIONED", "PAY_PER_REQUEST"];
pub(super) const TABLE_CLASSES: [&str; 2] = ["STANDARD", "STANDARD_INFREQUENT_ACCESS"];
pub(super) const STREAM_VIEWS: [&str; 4] = ["NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"];
pub(super) const SSE_TYPES: [&str; 2] = ["AES256", "KMS"];

pub(super) fn scalar_type(name: Option<&str>) -> ScalarType {
    name.and_then(ScalarType::from_name).unwrap_or(ScalarType::S)
}

pub(super) fn billing_mode(name: Option<&str>) -> BillingMode {
    if name == Some("PAY_PER_REQUEST") { BillingMode::PayPerRequest } else { BillingMode::Provisioned }
}

pub(super) fn table_class(name: &str) -> TableClass {
    if name == "STANDARD" { TableClass::Standard } else { TableClass::InfrequentAccess }
}

pub(super) fn projection_type(name: &str) -> ProjectionType {
    match name {
        "ALL" => ProjectionType::All,
        "KEYS_ONLY" => ProjectionType::KeysOnly,
        _ => ProjectionType::Include,
    }
}

pub(super) fn stream_view(name: &str) -> StreamViewType {
    match name {
        "KEYS_ONLY" => StreamViewType::KeysOnly,
        "NEW_IMAGE" => StreamViewType::NewImage,
        "OLD_IMAGE" => StreamViewType::OldImage,
        _ => StreamViewType::NewAndOldImages,
    }
}

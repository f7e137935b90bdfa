//! `TableDescription`.

use super::statistics::{Size, Sizes};
use super::{Context, timestamp};
use crate::calendar;
use serde_json::{Map, Value, json};
use torc_cluster::topology::TableStatus;
use torc_coordinator::tables::TableRef;
use torc_model::schema::{
    BillingMode, GlobalIndex, IndexState, KeyDefinition, LocalIndex, OnDemandThroughput, Projection,
    SettingTimes, SseSpecification, TableSchema, Throughput, WarmThroughput,
};

/// What an on-demand table can take at once, by the developer guide, unless more was asked for: units a
/// second of reads and writes.
const ON_DEMAND_WARM: (u64, u64) = (12_000, 4_000);

/// The status of a table as it is now: it is being updated while an index is set up or taken down.
pub(super) fn status(table: &TableRef) -> TableStatus {
    let status = table.table.as_table().map_or(TableStatus::Active, |spec| spec.status);
    let moving = |index: &GlobalIndex| matches!(index.state, IndexState::Creating | IndexState::Deleting);
    match status {
        TableStatus::Active if table.schema.global_indexes.iter().any(moving) => TableStatus::Updating,
        status => status,
    }
}

/// `{"member": TableDescription}`.
pub(super) fn answer(
    context: &Context<'_>,
    member: &str,
    table: &TableRef,
    status: TableStatus,
    sizes: &Sizes,
) -> Vec<u8> {
    let mut body = Map::new();
    body.insert(member.to_string(), describe(context, table, status, sizes));
    Value::Object(body).to_string().into_bytes()
}

/// The part of a table's description that the answer of `DeleteTable` has: the members in the example of the
/// AWS CLI's reference (delete-table, Output), and the other members that name the table or are settings of
/// the whole table.
const DELETED: [&str; 9] = [
    "TableName",
    "TableStatus",
    "ProvisionedThroughput",
    "TableSizeBytes",
    "ItemCount",
    "TableArn",
    "TableId",
    "BillingModeSummary",
    "DeletionProtectionEnabled",
];

/// The answer of `DeleteTable`.
pub(super) fn deleted(context: &Context<'_>, table: &TableRef) -> Vec<u8> {
    let mut body = describe(context, table, TableStatus::Deleting, &Sizes::default());
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| DELETED.contains(&name.as_str()));
    }
    json!({ "TableDescription": body }).to_string().into_bytes()
}

fn describe(context: &Context<'_>, table: &TableRef, status: TableStatus, sizes: &Sizes) -> Value {
    let schema: &TableSchema = &table.schema;
    let arn = context.dynamodb.table_arn(&schema.name);
    let attributes: Vec<Value> = schema
        .attributes
        .iter()
        .map(|a| json!({"AttributeName": a.name, "AttributeType": a.kind.name()}))
        .collect();
    let created = table.table.created_ms;
    let mut out = json!({
        "AttributeDefinitions": attributes,
        "TableName": schema.name,
        "KeySchema": key_schema(&schema.key),
        "TableStatus": status.as_str(),
        "CreationDateTime": timestamp(created),
        "ProvisionedThroughput": provisioned(context, &schema.times, schema.throughput),
        "TableSizeBytes": sizes.table.bytes,
        "ItemCount": sizes.table.items,
        "TableArn": arn,
        "TableId": table_id(context, table),
        "DeletionProtectionEnabled": schema.deletion_protection,
        "WarmThroughput": warm_units(schema.billing, schema.throughput, schema.warm),
    });
    let Some(members) = out.as_object_mut() else { return out };
    if let Some(summary) = billing(schema, created, status) {
        members.insert("BillingModeSummary".into(), summary);
    }
    if let Some(limit) = &schema.on_demand {
        members.insert("OnDemandThroughput".into(), on_demand(limit));
    }
    if !schema.local_indexes.is_empty() {
        let of = |index: &LocalIndex| sizes.local.get(&index.id).copied().unwrap_or_default();
        let indexes: Vec<Value> =
            schema.local_indexes.iter().map(|index| local_index(index, &arn, of(index))).collect();
        members.insert("LocalSecondaryIndexes".into(), json!(indexes));
    }
    if !schema.global_indexes.is_empty() {
        let of = |index: &GlobalIndex| sizes.global.get(&index.id).copied().unwrap_or_default();
        let describe = |index| global_index(context, schema, index, status, &arn, of(index));
        let indexes: Vec<Value> = schema.global_indexes.iter().map(describe).collect();
        members.insert("GlobalSecondaryIndexes".into(), json!(indexes));
    }
    if let Some(view) = schema.stream {
        let specification = json!({"StreamEnabled": true, "StreamViewType": view.name()});
        members.insert("StreamSpecification".into(), specification);
    }
    if schema.stream.is_some() || schema.times.stream.is_some() {
        let label = stream_label(schema.times.stream.unwrap_or(created));
        members.insert("LatestStreamArn".into(), json!(format!("{arn}/stream/{label}")));
        members.insert("LatestStreamLabel".into(), json!(label));
    }
    if let Some(sse) = &schema.sse {
        members.insert("SSEDescription".into(), encryption(context, sse));
    }
    if let Some(class) = schema.table_class {
        members.insert("TableClassSummary".into(), json!({"TableClass": class.name()}));
    }
    out
}

fn provisioned(context: &Context<'_>, times: &SettingTimes, units: Throughput) -> Value {
    let mut out = json!({
        "NumberOfDecreasesToday": times.decreases_on_day_of(context.node.wall_ms()),
        "ReadCapacityUnits": units.read,
        "WriteCapacityUnits": units.write,
    });
    for (name, at) in [("LastIncreaseDateTime", times.increase), ("LastDecreaseDateTime", times.decrease)] {
        if let (Some(at), Some(members)) = (at, out.as_object_mut()) {
            members.insert(name.into(), timestamp(at));
        }
    }
    out
}

/// Described for tables that are billed by request, or ever were.
fn billing(schema: &TableSchema, created: u64, status: TableStatus) -> Option<Value> {
    let on_demand = schema.billing == BillingMode::PayPerRequest;
    if !on_demand && schema.times.on_demand.is_none() {
        return None;
    }
    let mut out = json!({"BillingMode": schema.billing.name()});
    if let Some(members) = out.as_object_mut().filter(|_| status != TableStatus::Creating) {
        let since = timestamp(schema.times.on_demand.unwrap_or(created));
        members.insert("LastUpdateToPayPerRequestDateTime".into(), since);
    }
    Some(out)
}

fn warm_units(billing: BillingMode, units: Throughput, asked: Option<WarmThroughput>) -> Value {
    let floor =
        if billing == BillingMode::PayPerRequest { ON_DEMAND_WARM } else { (units.read, units.write) };
    let asked = asked.map_or((0, 0), |warm| (warm.read, warm.write));
    json!({
        "ReadUnitsPerSecond": floor.0.max(asked.0),
        "WriteUnitsPerSecond": floor.1.max(asked.1),
        "Status": "ACTIVE",
    })
}

fn encryption(context: &Context<'_>, sse: &SseSpecification) -> Value {
    let key = sse.key_id.as_deref().unwrap_or("alias/aws/dynamodb");
    let arn = if key.starts_with("arn:") {
        key.to_string()
    } else {
        let resource = if key.starts_with("alias/") { key.to_string() } else { format!("key/{key}") };
        format!("arn:aws:kms:{}:{}:{resource}", context.dynamodb.region, context.dynamodb.account)
    };
    json!({"Status": "ENABLED", "SSEType": sse.kind, "KMSMasterKeyArn": arn})
}

fn local_index(index: &LocalIndex, table_arn: &str, size: Size) -> Value {
    json!({
        "IndexName": index.name,
        "KeySchema": key_schema(&index.key),
        "Projection": projection(&index.projection),
        "IndexSizeBytes": size.bytes,
        "ItemCount": size.items,
        "IndexArn": format!("{table_arn}/index/{}", index.name),
    })
}

fn global_index(
    context: &Context<'_>,
    schema: &TableSchema,
    index: &GlobalIndex,
    table: TableStatus,
    table_arn: &str,
    size: Size,
) -> Value {
    let with_table = table == TableStatus::Creating;
    let status = match index.state {
        _ if with_table => "CREATING",
        IndexState::Creating | IndexState::Backfilling => "CREATING",
        IndexState::Active => "ACTIVE",
        IndexState::Deleting => "DELETING",
    };
    let units = index.throughput.unwrap_or_default();
    let mut out = json!({
        "IndexName": index.name,
        "KeySchema": key_schema(&index.key),
        "Projection": projection(&index.projection),
        "IndexStatus": status,
        "ProvisionedThroughput": provisioned(context, &index.times, units),
        "IndexSizeBytes": size.bytes,
        "ItemCount": size.items,
        "IndexArn": format!("{table_arn}/index/{}", index.name),
        "WarmThroughput": warm_units(schema.billing, units, index.warm),
    });
    let Some(members) = out.as_object_mut() else { return out };
    // Of an index that came with its table there is nothing to say.
    if !with_table && matches!(index.state, IndexState::Creating | IndexState::Backfilling) {
        members.insert("Backfilling".into(), json!(index.state == IndexState::Backfilling));
    }
    if let Some(limit) = &index.on_demand {
        members.insert("OnDemandThroughput".into(), on_demand(limit));
    }
    out
}

fn on_demand(limit: &OnDemandThroughput) -> Value {
    let units = |limit: Option<u64>| limit.map_or(json!(-1), |units| json!(units));
    json!({"MaxReadRequestUnits": units(limit.max_read), "MaxWriteRequestUnits": units(limit.max_write)})
}

fn projection(projection: &Projection) -> Value {
    let mut out = json!({"ProjectionType": projection.kind.name()});
    if let Some(members) = out.as_object_mut().filter(|_| !projection.non_key_attributes.is_empty()) {
        members.insert("NonKeyAttributes".into(), json!(projection.non_key_attributes));
    }
    out
}

/// The time at which a stream was enabled, as its label writes it: `2026-01-31T23:59:59.999`.
fn stream_label(at_ms: u64) -> String {
    let (days, rest) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = calendar::date(days);
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}

/// A UUID that never changes and that differs from that of any other table of any cluster.
fn table_id(context: &Context<'_>, table: &TableRef) -> String {
    let cluster = context.node.topology().cluster_id();
    let id = table.id().0;
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        cluster >> 32,
        (cluster >> 16) & 0xffff,
        (cluster >> 4) & 0xfff,
        ((cluster & 0xf) << 8) | ((id >> 48) & 0xff),
        id & 0xffff_ffff_ffff
    )
}

fn key_schema(key: &KeyDefinition) -> Value {
    let hash = key.partition.iter().map(|a| json!({"AttributeName": a.name, "KeyType": "HASH"}));
    let range = key.sort.iter().map(|a| json!({"AttributeName": a.name, "KeyType": "RANGE"}));
    hash.chain(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_labels_are_dates() {
        for (at, label) in [
            (0, "1970-01-01T00:00:00.000"),
            (951_782_400_000, "2000-02-29T00:00:00.000"),
            (1_772_323_199_999, "2026-02-28T23:59:59.999"),
            (1_772_323_200_000, "2026-03-01T00:00:00.000"),
            (4_107_542_399_001, "2100-02-28T23:59:59.001"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000"),
        ] {
            assert_eq!(stream_label(at), label);
        }
    }
}

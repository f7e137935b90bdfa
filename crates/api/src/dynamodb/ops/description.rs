//! `TableDescription`.

use super::Context;
use serde_json::{Map, Value, json};
use torc_cluster::topology::TableStatus;
use torc_coordinator::tables::TableRef;
use torc_model::schema::{BillingMode, KeyDefinition, TableSchema};

/// `{"member": TableDescription}`.
pub(super) fn answer(context: &Context<'_>, member: &str, table: &TableRef, status: TableStatus) -> Vec<u8> {
    let mut body = Map::new();
    body.insert(member.to_string(), describe(context, table, status));
    Value::Object(body).to_string().into_bytes()
}

fn describe(context: &Context<'_>, table: &TableRef, status: TableStatus) -> Value {
    let schema: &TableSchema = &table.schema;
    let arn = context.dynamodb.table_arn(&schema.name);
    let attributes: Vec<Value> = schema
        .attributes
        .iter()
        .map(|a| json!({"AttributeName": a.name, "AttributeType": a.kind.name()}))
        .collect();
    let created = table.table.created_ms as f64 / 1000.0;
    let mut out = json!({
        "AttributeDefinitions": attributes,
        "TableName": schema.name,
        "KeySchema": key_schema(&schema.key),
        "TableStatus": status.as_str(),
        "CreationDateTime": created,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": schema.throughput.read,
            "WriteCapacityUnits": schema.throughput.write,
        },
        "TableSizeBytes": 0,
        "ItemCount": 0,
        "TableArn": arn,
        "TableId": table_id(context, table),
        "DeletionProtectionEnabled": schema.deletion_protection,
    });
    let Some(members) = out.as_object_mut() else { return out };
    if schema.billing == BillingMode::PayPerRequest {
        members.insert(
            "BillingModeSummary".into(),
            json!({"BillingMode": schema.billing.name(), "LastUpdateToPayPerRequestDateTime": created}),
        );
    }
    if let Some(limit) = &schema.on_demand {
        members.insert("OnDemandThroughput".into(), json!(limit));
    }
    if let Some(view) = schema.stream {
        members.insert(
            "StreamSpecification".into(),
            json!({"StreamEnabled": true, "StreamViewType": view.name()}),
        );
    }
    if let Some(class) = schema.table_class {
        members.insert("TableClassSummary".into(), json!({"TableClass": class.name()}));
    }
    out
}

/// A UUID that stays with the table for life and differs from that of any other table of any cluster.
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

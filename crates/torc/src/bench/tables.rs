//! Creates, awaits and drops tables over the DynamoDB protocol.

use super::connection::{Connection, RequestError};
use super::driver::{AUTHORIZATION, error_kind};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// How often and how long a table that is being created is asked for.
const POLL: Duration = Duration::from_millis(50);
const POLLS: u32 = 600;

/// One DynamoDB call: the status and the answer's JSON (null if it has none).
pub async fn call(
    connection: &mut Connection,
    operation: &str,
    body: &Value,
) -> Result<(u16, Value), RequestError> {
    let target = format!("DynamoDB_20120810.{operation}");
    let headers = [
        ("X-Amz-Target", target.as_str()),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("Authorization", AUTHORIZATION),
    ];
    let answer = connection.send("POST", "/", &headers, body.to_string().as_bytes()).await?;
    Ok((answer.status, serde_json::from_slice(answer.body).unwrap_or(Value::Null)))
}

/// Creates a table with a string partition key and perhaps a string sort key, on demand, and waits until it
/// is ACTIVE. False if it was there already.
pub async fn create(
    connection: &mut Connection,
    table: &str,
    hash: &str,
    range: Option<&str>,
) -> Result<bool> {
    let keys = std::iter::once((hash, "HASH")).chain(range.map(|name| (name, "RANGE")));
    let (attributes, schema): (Vec<Value>, Vec<Value>) = keys
        .map(|(name, kind)| {
            (
                json!({"AttributeName": name, "AttributeType": "S"}),
                json!({"AttributeName": name, "KeyType": kind}),
            )
        })
        .unzip();
    let request = json!({
        "TableName": table,
        "AttributeDefinitions": attributes,
        "KeySchema": schema,
        "BillingMode": "PAY_PER_REQUEST",
    });
    let address = connection.address().to_owned();
    let (status, answer) = call(connection, "CreateTable", &request).await.with_context(|| {
        format!("no answer from {address}; is a node running there? Start one with: torc start")
    })?;
    let created = match status {
        200 => true,
        _ if answer.to_string().contains("ResourceInUseException") => false,
        _ => bail!("cannot create the table {table}: {status} {}", error_kind(answer.to_string().as_bytes())),
    };
    wait_active(connection, table).await?;
    Ok(created)
}

/// Waits until the table is ACTIVE as this endpoint sees it.
pub async fn wait_active(connection: &mut Connection, table: &str) -> Result<()> {
    let mut last = Value::Null;
    for _ in 0..POLLS {
        if let Ok((200, answer)) = call(connection, "DescribeTable", &json!({"TableName": table})).await {
            if answer["Table"]["TableStatus"] == "ACTIVE" {
                return Ok(());
            }
            last = answer["Table"]["TableStatus"].clone();
        }
        tokio::time::sleep(POLL).await;
    }
    bail!(
        "the table {table} is not ACTIVE on {} after {:?} (status: {last})",
        connection.address(),
        POLL * POLLS
    )
}

/// Drops the table. A failure is reported: the data stays.
pub async fn drop_table(connection: &mut Connection, table: &str) -> Result<()> {
    let (status, answer) = call(connection, "DeleteTable", &json!({"TableName": table})).await?;
    if status != 200 {
        bail!("cannot delete the table {table}: {status} {}", error_kind(answer.to_string().as_bytes()));
    }
    Ok(())
}

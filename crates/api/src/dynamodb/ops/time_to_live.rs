//! `UpdateTimeToLive` and `DescribeTimeToLive`. The setting is kept and described; nothing expires yet.

use super::{Context, settings};
use serde_json::json;
use torc_model::ApiError;
use torc_model::ops::{DescribeTimeToLive, UpdateTimeToLive};
use torc_model::schema::TableSchema;

pub(super) async fn update(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = UpdateTimeToLive::parse(body)?;
    let absent = || ApiError::table_not_found(&request.table);
    settings::change(context, &request.table, absent, |old| {
        Ok(TableSchema { ttl: request.apply(old.ttl.as_ref())?, ..old.clone() })
    })
    .await?;
    let answer = json!({
        "TimeToLiveSpecification": {"Enabled": request.enabled, "AttributeName": request.attribute}
    });
    Ok(answer.to_string().into_bytes())
}

pub(super) async fn describe(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = DescribeTimeToLive::parse(body)?;
    let table = context.any_table(&request.table).await?;
    let table = table.ok_or_else(|| ApiError::table_not_found(&request.table))?;
    let description = match &table.schema.ttl {
        None => json!({"TimeToLiveStatus": "DISABLED"}),
        Some(ttl) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": ttl.attribute}),
    };
    Ok(json!({ "TimeToLiveDescription": description }).to_string().into_bytes())
}

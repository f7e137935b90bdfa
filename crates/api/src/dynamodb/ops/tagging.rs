//! `TagResource`, `UntagResource` and `ListTagsOfResource`.

use super::{Context, settings};
use serde_json::{Value, json};
use torc_model::ApiError;
use torc_model::ops::{ListTagsOfResource, TagResource, UntagResource};
use torc_model::schema::TableSchema;

pub(super) async fn tag(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = TagResource::parse(body)?;
    let resource = &request.resource;
    settings::change(
        context,
        &resource.table,
        || resource.not_found(&context.dynamodb.account, "TagResource"),
        |old| Ok(TableSchema { tags: request.apply(&old.tags)?, ..old.clone() }),
    )
    .await?;
    Ok(Vec::new())
}

pub(super) async fn untag(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = UntagResource::parse(body)?;
    let resource = &request.resource;
    settings::change(
        context,
        &resource.table,
        || resource.not_found(&context.dynamodb.account, "UntagResource"),
        |old| Ok(TableSchema { tags: request.apply(&old.tags), ..old.clone() }),
    )
    .await?;
    Ok(Vec::new())
}

pub(super) async fn list(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = ListTagsOfResource::parse(body)?;
    let table = context.any_table(&request.resource.table).await?;
    let table =
        table.ok_or_else(|| request.resource.not_found(&context.dynamodb.account, "ListTagsOfResource"))?;
    let tags = table.schema.tags.iter();
    let tags = tags.filter(|(key, _)| request.after.as_ref().is_none_or(|after| *key > after));
    let tags: Vec<Value> = tags.map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({ "Tags": tags }).to_string().into_bytes())
}

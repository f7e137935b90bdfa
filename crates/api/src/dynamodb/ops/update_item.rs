//! `UpdateItem`.

use super::{Context, decode, field, location, write, write_record};
use bytes::Bytes;
use torc_model::expr::Projection;
use torc_model::json::write_item;
use torc_model::ops::{ReturnValues, UpdateItem};
use torc_model::{ApiError, codec};
use torc_wire::table::{ItemAction, ItemOutcome, ItemWrite, UpdateAction};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = UpdateItem::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    request.check_schema(&table.schema)?;
    let location = location(&table, &request.key)?;
    let mut key_attributes = Vec::new();
    codec::encode_item(&request.key, &mut key_attributes);
    let update = request.update.as_ref().map_or_else(Bytes::new, |u| u.encode().into());
    let action = ItemAction::Update(UpdateAction { update, key_attributes: key_attributes.into() });
    let command = write::command(
        action,
        request.condition.as_ref(),
        request.item_on_failure,
        request.consumed_capacity,
    );
    let command = ItemWrite {
        return_old: matches!(request.return_values, ReturnValues::AllOld | ReturnValues::UpdatedOld),
        return_new: matches!(request.return_values, ReturnValues::AllNew | ReturnValues::UpdatedNew),
        ..command
    };
    let outcome = write::send(context, &table, location, command).await?;
    let mut out = vec![b'{'];
    returned(&request, &outcome, &mut out)?;
    write::charge(request.consumed_capacity, &table.schema, &outcome, &mut out);
    write::metrics(request.collection_metrics, &table.schema, &request.key, &mut out);
    out.push(b'}');
    Ok(out)
}

fn returned(request: &UpdateItem, outcome: &ItemOutcome, out: &mut Vec<u8>) -> Result<(), ApiError> {
    let record = match request.return_values {
        ReturnValues::None => None,
        ReturnValues::AllOld | ReturnValues::UpdatedOld => outcome.old.as_ref(),
        ReturnValues::AllNew | ReturnValues::UpdatedNew => outcome.new.as_ref(),
    };
    let Some(record) = record else { return Ok(()) };
    if matches!(request.return_values, ReturnValues::AllOld | ReturnValues::AllNew) {
        return write_record("Attributes", record, out);
    }
    let Some(projection) = request.update.as_ref().and_then(Projection::of_update) else { return Ok(()) };
    let attributes = projection.apply(&decode(record)?);
    if !attributes.is_empty() {
        field("Attributes", out);
        write_item(&attributes, out);
    }
    Ok(())
}

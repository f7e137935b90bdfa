//! `PutItem`.

use super::{Context, location, write, write_record};
use torc_model::ops::{PutItem, ReturnValues};
use torc_model::{ApiError, codec};
use torc_wire::table::{ItemAction, ItemWrite, PutAction};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = PutItem::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    request.check_schema(&table.schema)?;
    let location = location(&table, &request.item)?;
    let mut item = Vec::with_capacity(request.item_size + 64);
    codec::encode_item(&request.item, &mut item);
    let action = ItemAction::Put(PutAction { item: item.into(), item_bytes: request.item_size as u64 });
    let command = write::command(
        action,
        request.condition.as_ref(),
        request.item_on_failure,
        request.consumed_capacity,
    );
    let command = ItemWrite { return_old: request.return_values == ReturnValues::AllOld, ..command };
    let outcome = write::send(context, &table, location, command).await?;
    let mut out = vec![b'{'];
    if let Some(old) = &outcome.old {
        write_record("Attributes", old, &mut out)?;
    }
    write::charge(request.consumed_capacity, &table.schema, &outcome, &mut out);
    write::metrics(request.collection_metrics, &table.schema, &request.item, &mut out);
    out.push(b'}');
    Ok(out)
}

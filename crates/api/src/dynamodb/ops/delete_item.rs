//! `DeleteItem`.

use super::{Context, location, write, write_record};
use torc_model::ApiError;
use torc_model::ops::{DeleteItem, ReturnValues};
use torc_wire::table::{DeleteAction, ItemAction, ItemWrite};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = DeleteItem::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    request.check_schema(&table.schema)?;
    let location = location(&table, &request.key)?;
    let command = write::command(
        ItemAction::Delete(DeleteAction {}),
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
    write::metrics(request.collection_metrics, &table.schema, &request.key, &mut out);
    out.push(b'}');
    Ok(out)
}

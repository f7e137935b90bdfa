//! `GetItem`.

use super::{Context, attributes, capacity, decode, errors, field, location, write_record};
use torc_coordinator::request::SMALL_BYTES;
use torc_model::ApiError;
use torc_model::json::write_item;
use torc_model::ops::GetItem;
use torc_model::size::{ReadKind, read_units};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = GetItem::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    request.check_schema(&table.schema)?;
    let location = location(&table, &request.key)?;
    let read = context.tables.read(table.id(), &location, request.consistent).await;
    let record = read.map_err(errors::from_route)?;
    if let Some(record) = record.as_ref().filter(|record| record.len() > SMALL_BYTES) {
        // The record and its JSON.
        context.request.work(record.len() * 3).await.map_err(errors::exhausted)?;
    }
    let mut out = Vec::with_capacity(record.as_ref().map_or(64, |r| r.len() * 2));
    out.push(b'{');
    let mut bytes = 0;
    if let Some(record) = &record {
        bytes = attributes(record)?.0;
        match &request.projection {
            None => write_record("Item", record, &mut out)?,
            Some(projection) => {
                field("Item", &mut out);
                write_item(&projection.apply(&decode(record)?), &mut out);
            }
        }
    }
    let kind = if request.consistent { ReadKind::Strong } else { ReadKind::Eventual };
    let units = read_units(usize::try_from(bytes).unwrap_or(usize::MAX), kind);
    capacity::write(request.consumed_capacity, &request.table, &capacity::Charge::table(units), &mut out);
    out.push(b'}');
    Ok(out)
}

//! `ListTables`.

use super::{Context, errors, field};
use std::time::Duration;
use tokio::time::Instant;
use torc_model::ApiError;
use torc_model::json::write_string;
use torc_model::ops::ListTables;

const REFRESH_DEADLINE: Duration = Duration::from_secs(2);

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = ListTables::parse(body)?;
    // Fetched from the meta group if it can be reached, so that tables created through another node are
    // listed. Otherwise this node's copy is used.
    let refreshed = context.node.meta().refresh_from_leader(Instant::now() + REFRESH_DEADLINE).await;
    if let Err(error) = refreshed {
        tracing::debug!(error = %errors::from_route(error).message, "tables are listed from this node's own copy");
    }
    let topology = context.node.topology();
    let mut names = topology.tables_by_name(request.start.as_deref()).map(|t| t.name.as_str());
    let listed: Vec<&str> = names.by_ref().take(request.limit).collect();
    let mut out = vec![b'{'];
    field("TableNames", &mut out);
    out.push(b'[');
    for (index, name) in listed.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, &mut out);
    }
    out.push(b']');
    if let (Some(last), Some(_)) = (listed.last(), names.next()) {
        field("LastEvaluatedTableName", &mut out);
        write_string(last, &mut out);
    }
    out.push(b'}');
    Ok(out)
}

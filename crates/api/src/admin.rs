//! Health, status and diagnosis over plain HTTP. Layout of the answers: docs/protocols/admin.md.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::Semaphore;
use torc_cluster::NodeId;
use torc_cluster::gossip::Liveness;
use torc_coordinator::index::IndexLag;
use torc_coordinator::node::Node;
use torc_coordinator::node::status::TableSummary;

/// Whether a path is served without authentication: what load balancers and supervisors ask.
pub fn is_open(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}

/// `/health` and `/ready`, which are answered from the moment at which the port is open. `node` is `None` until its data is open.
/// `None` for any other path.
pub fn probe(node: Option<&Node>, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
    if !is_open(path) {
        return None;
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(answer(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({"message": "only GET and HEAD are served here"}),
        ));
    }
    let id = node.map(|node| node.id().0).filter(|id| *id != 0);
    if path == "/health" {
        return Some(answer(StatusCode::OK, &json!({"status": "alive", "node": id})));
    }
    let why = match node {
        None => "the data folder is being opened".to_owned(),
        Some(node) if !node.is_started() => match node.join_problem() {
            Some(problem) => format!("this node is no member of the cluster yet: {problem}"),
            None => "this node is starting".to_owned(),
        },
        Some(node) if node.is_ready() => {
            return Some(answer(StatusCode::OK, &json!({"status": "ready", "node": id})));
        }
        Some(_) => "some partitions of this node have no known leader".to_owned(),
    };
    Some(answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "node": id, "message": why})))
}

/// A refusal in this face's form.
pub fn refusal(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({"message": message}))
}

/// Serves `/admin/…`.
pub async fn handle(node: &Node, request: Request<Bytes>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return answer(StatusCode::METHOD_NOT_ALLOWED, &json!({"message": "only GET is served here"}));
    }
    match request.uri().path() {
        "/admin/status" => answer(StatusCode::OK, &status(node)),
        "/admin/indexes" => answer(StatusCode::OK, &indexes(node)),
        "/admin/replicas" => match digests_wanted(request.uri().query()) {
            Ok(digests) => replicas(node, digests).await,
            Err(message) => answer(StatusCode::BAD_REQUEST, &json!({"message": message})),
        },
        path => answer(
            StatusCode::NOT_FOUND,
            &json!({"message": format!("nothing is served at {path}"),
                    "hint": "POST / for DynamoDB, /kv/{bucket}/{key} for buckets, /admin/status for the cluster"}),
        ),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn number(node: Option<NodeId>) -> Value {
    node.map_or(Value::Null, |n| n.0.into())
}

fn numbers(nodes: &[NodeId]) -> Value {
    nodes.iter().map(|n| n.0).collect()
}

fn status(node: &Node) -> Value {
    let status = node.cluster_status();
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|n| {
            json!({
                "id": n.info.id.0,
                "zone": n.info.zone,
                "addr": n.info.addr,
                "api_addr": n.info.api_addr,
                "weight": n.info.weight,
                "state": match n.state {
                    Liveness::Alive => "alive",
                    Liveness::Suspect => "suspect",
                    Liveness::Down => "down",
                },
                "leaders": n.leaders,
                "replicas": n.replicas,
            })
        })
        .collect();
    let partitions = |t: &TableSummary| -> Vec<Value> {
        let rows = t.partitions.iter().map(|p| {
            json!({
                "group": p.group.0,
                "start": format!("{:016x}", p.start),
                "end": format!("{:016x}", p.end),
                "replicas": numbers(&p.replicas),
                "leader": number(p.leader),
            })
        });
        rows.collect()
    };
    let tables = |kind: &str| -> Vec<Value> {
        let of_kind = status.tables.iter().filter(|t| t.kind == kind);
        of_kind
            .map(|t| {
                let mut row = json!({"id": t.id.0, "name": t.name, "status": t.status, "partitions": partitions(t)});
                let indexes: Vec<Value> = status
                    .tables
                    .iter()
                    .filter(|index| index.base == Some(t.id))
                    .map(|i| json!({"id": i.id.0, "name": i.name, "status": i.status, "partitions": partitions(i)}))
                    .collect();
                if let Some(members) = row.as_object_mut().filter(|_| !indexes.is_empty()) {
                    members.insert("indexes".into(), indexes.into());
                }
                row
            })
            .collect()
    };
    json!({
        "cluster_id": format!("{:016x}", status.cluster_id),
        "epoch": status.epoch,
        "node": status.node.0,
        "ready": node.is_ready(),
        "expired_requests": node.expired_requests(),
        "meta_members": numbers(&status.meta_members),
        "nodes": nodes,
        "tables": tables("table"),
        "buckets": tables("bucket"),
    })
}

/// How far the partitions that this node leads are ahead of the global indexes of their tables.
fn indexes(node: &Node) -> Value {
    let topology = node.topology();
    let row = |lag: IndexLag| {
        let index = topology.table(lag.index);
        let base = index.and_then(|index| topology.table(index.as_index()?.base));
        json!({
            "table": base.map(|table| table.name.as_str()),
            "index": index.map(|index| index.name.as_str()),
            "group": lag.group.0,
            "lag_ms": lag.lag_ms,
            "under_way": lag.under_way,
            "delivered": lag.delivered,
            "failures": lag.failures,
            "backfilling": lag.backfilling,
        })
    };
    node.index_lags().into_iter().map(row).collect()
}

/// Whether `/admin/replicas?digest=…` asks for digests, the default.
fn digests_wanted(query: Option<&str>) -> Result<bool, String> {
    let mut wanted = true;
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        wanted = match pair {
            "digest=true" => true,
            "digest=false" => false,
            other => return Err(format!("unknown parameter {other:?}: digest=true or digest=false")),
        };
    }
    Ok(wanted)
}

/// Digests read everything that the node holds: one request at a time may, whoever asks.
static DIGESTS: Semaphore = Semaphore::const_new(1);
/// How long a request for digests waits for its turn.
const DIGEST_WAIT: Duration = Duration::from_secs(10);

async fn replicas(node: &Node, digests: bool) -> Response<Full<Bytes>> {
    let _turn = if digests {
        let Ok(Ok(turn)) = tokio::time::timeout(DIGEST_WAIT, DIGESTS.acquire()).await else {
            return refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "digests for another request are being made; try again later, or ask with digest=false",
            );
        };
        Some(turn)
    } else {
        None
    };
    let reader = node.clone();
    // Digests read everything that the node holds: not on a thread that serves requests.
    let read = tokio::task::spawn_blocking(move || reader.replica_status(digests)).await;
    match read {
        Ok(Ok(replicas)) => {
            let rows: Vec<Value> = replicas
                .iter()
                .map(|r| {
                    json!({
                        "group": r.group.0, "table": r.table, "node": node.id().0, "leader": r.leader,
                        "term": r.term, "applied": r.applied, "digest": r.digest, "keys": r.keys,
                    })
                })
                .collect();
            answer(StatusCode::OK, &Value::Array(rows))
        }
        Ok(Err(error)) => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"message": error.without_paths()}))
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"message": error.to_string()})),
    }
}

#[cfg(test)]
mod tests {
    use super::digests_wanted;

    #[test]
    fn digests_are_wanted_unless_refused() {
        assert_eq!(digests_wanted(None), Ok(true));
        assert_eq!(digests_wanted(Some("")), Ok(true));
        assert_eq!(digests_wanted(Some("digest=true")), Ok(true));
        assert_eq!(digests_wanted(Some("digest=false")), Ok(false));
        assert!(digests_wanted(Some("digest=no")).is_err());
        assert!(digests_wanted(Some("digests=false")).is_err());
    }
}

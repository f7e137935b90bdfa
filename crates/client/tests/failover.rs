//! The client against servers on loopback: it calls the owner, and another node when the owner is
//! unavailable.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use torc_client::{Client, ClientError, GetOptions, PutOptions, kv};
use torc_wire::kv::buckets_server::{Buckets, BucketsServer};

/// What all servers share: the ring they tell, and who was asked what.
#[derive(Default)]
struct Cluster {
    ring: Mutex<kv::Ring>,
    log: Mutex<Vec<(u64, String)>>,
    refuses: Mutex<BTreeMap<u64, (&'static str, bool)>>,
}

struct Node {
    id: u64,
    cluster: Arc<Cluster>,
}

impl Node {
    async fn note(&self, what: String) -> Result<(), Status> {
        self.cluster.log.lock().unwrap().push((self.id, what));
        let refuses = self.cluster.refuses.lock().unwrap().get(&self.id).copied();
        match refuses {
            None => Ok(()),
            Some(("silent", _)) => std::future::pending().await,
            Some((code, retryable)) => {
                let mut status = Status::unavailable("refused");
                status.metadata_mut().insert("torc-code", code.parse().unwrap());
                status.metadata_mut().insert("torc-retryable", retryable.to_string().parse().unwrap());
                Err(status)
            }
        }
    }
}

#[tonic::async_trait]
impl Buckets for Node {
    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::WriteReply>, Status> {
        self.note(format!("put {}", request.get_ref().operation)).await?;
        Ok(Response::new(kv::WriteReply { acked: 1, ..Default::default() }))
    }
    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetReply>, Status> {
        self.note(format!("get {:?}", request.get_ref().key)).await?;
        Ok(Response::new(kv::GetReply::default()))
    }
    async fn delete(&self, _: Request<kv::DeleteRequest>) -> Result<Response<kv::WriteReply>, Status> {
        self.note("delete".into()).await?;
        Ok(Response::new(kv::WriteReply::default()))
    }
    async fn get_ring(&self, _: Request<kv::GetRingRequest>) -> Result<Response<kv::Ring>, Status> {
        self.cluster.log.lock().unwrap().push((self.id, "ring".into()));
        Ok(Response::new(self.cluster.ring.lock().unwrap().clone()))
    }
    async fn list_keys(
        &self,
        _: Request<kv::ListKeysRequest>,
    ) -> Result<Response<kv::ListKeysReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn create_bucket(
        &self,
        _: Request<kv::CreateBucketRequest>,
    ) -> Result<Response<kv::Bucket>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn describe_bucket(
        &self,
        _: Request<kv::DescribeBucketRequest>,
    ) -> Result<Response<kv::Bucket>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn list_buckets(
        &self,
        _: Request<kv::ListBucketsRequest>,
    ) -> Result<Response<kv::ListBucketsReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn drop_bucket(
        &self,
        _: Request<kv::DropBucketRequest>,
    ) -> Result<Response<kv::DropBucketReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Three servers; node 2 owns every key, then 3, then 1. The client knows node 1.
async fn start() -> (Arc<Cluster>, BTreeMap<u64, JoinHandle<()>>, Client) {
    let cluster = Arc::new(Cluster::default());
    let (mut servers, mut nodes, mut seed) = (BTreeMap::new(), Vec::new(), String::new());
    for id in 1..=3 {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let api_addr = listener.local_addr().unwrap().to_string();
        if id == 1 {
            seed = api_addr.clone();
        }
        nodes.push(kv::RingNode { id, api_addr, zone: String::new(), alive: true });
        let service = BucketsServer::new(Node { id, cluster: cluster.clone() });
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        servers.insert(id, tokio::spawn(async move { serving.await.unwrap() }));
    }
    let partitions = vec![kv::RingPartition { start: 0, end: u64::MAX, replicas: vec![2, 3, 1] }];
    *cluster.ring.lock().unwrap() = kv::Ring { epoch: 1, token_key: vec![1; 16].into(), nodes, partitions };
    let client = Client::new([seed], Duration::from_millis(500), 42).unwrap();
    (cluster, servers, client)
}

fn log(cluster: &Cluster) -> Vec<(u64, String)> {
    std::mem::take(&mut *cluster.log.lock().unwrap())
}

#[tokio::test]
async fn operations_go_straight_to_the_owner_and_the_ring_is_fetched_once() {
    let (cluster, _servers, client) = start().await;
    client.put("b", "k".into(), "v".into(), PutOptions::default()).await.unwrap();
    client.get("b", "k".into(), GetOptions::default()).await.unwrap();
    client.delete("b", "k".into(), Default::default(), None).await.unwrap();
    let asked = log(&cluster);
    assert_eq!(asked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 2, 2], "{asked:?}");
    assert_eq!(asked[0].1, "ring");
}

#[tokio::test]
async fn another_node_takes_over_with_the_same_operation_and_the_ring_is_refreshed() {
    let (cluster, servers, client) = start().await;
    client.get("b", "k".into(), GetOptions::default()).await.unwrap();
    // The owner gives up: the next one gets the same operation.
    cluster.refuses.lock().unwrap().insert(2, ("NotEnoughAnswers", true));
    log(&cluster);
    client.put("b", "k".into(), "v".into(), PutOptions::default()).await.unwrap();
    let asked = log(&cluster);
    assert_eq!(asked.iter().map(|(id, _)| *id).take(2).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(asked[0].1, asked[1].1, "one operation id for both tries");
    assert!(asked[2].1 == "ring", "{asked:?}");
    // Another operation has another id.
    client.put("b", "k".into(), "v".into(), PutOptions::default()).await.unwrap();
    assert_ne!(log(&cluster)[0].1, asked[0].1);
    // The process is gone for good, and the others know.
    servers[&2].abort();
    cluster.ring.lock().unwrap().nodes[1].alive = false;
    client.get("b", "k".into(), GetOptions::default()).await.unwrap();
    log(&cluster);
    client.get("b", "k".into(), GetOptions::default()).await.unwrap();
    assert_eq!(log(&cluster), [(3, "get b\"k\"".to_owned())]);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_tried_elsewhere_and_nobody_at_all_is_said() {
    let (cluster, servers, client) = start().await;
    cluster.refuses.lock().unwrap().insert(2, ("InvalidArgument", false));
    let error = client.get("b", "k".into(), GetOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Server { code, retryable: false, .. } if code == "InvalidArgument"),
        "{error}"
    );
    assert!(log(&cluster).iter().all(|(id, what)| *id == 2 || what == "ring"));
    for server in servers.values() {
        server.abort();
    }
    let lonely = Client::new(["127.0.0.1:1"], Duration::from_millis(200), 1).unwrap();
    assert!(matches!(
        lonely.get("b", "k".into(), GetOptions::default()).await,
        Err(ClientError::Unreachable(_))
    ));
    assert!(matches!(Client::new(["nonsense"], Duration::from_secs(1), 1), Err(ClientError::Address(_))));
}

#[tokio::test]
async fn a_delete_of_what_is_there_is_not_repeated_once_it_may_have_happened() {
    let (cluster, servers, client) = start().await;
    client.get("b", "k".into(), GetOptions::default()).await.unwrap();
    let who = |cluster: &Cluster| -> Vec<u64> {
        log(cluster).into_iter().filter(|(_, what)| what == "delete").map(|(id, _)| id).collect()
    };
    let delete = |context: &'static str| client.delete("b", "k".into(), context.into(), None);
    // The owner stored it and could not get enough answers.
    cluster.refuses.lock().unwrap().insert(2, ("NotEnoughAnswers", true));
    assert!(matches!(delete("").await, Err(ClientError::Server { code, .. }) if code == "NotEnoughAnswers"));
    assert_eq!(who(&cluster), [2]);
    // With a context, doing it twice is as doing it once.
    delete("a context").await.unwrap();
    assert_eq!(who(&cluster), [2, 3]);
    // The owner did nothing.
    cluster.refuses.lock().unwrap().insert(2, ("Unavailable", true));
    delete("").await.unwrap();
    assert_eq!(who(&cluster), [2, 3]);
    // The owner takes the request and says nothing.
    cluster.refuses.lock().unwrap().insert(2, ("silent", true));
    assert!(matches!(delete("").await, Err(ClientError::Unknown(_))));
    assert_eq!(who(&cluster), [2]);
    // Nobody listens at the owner's address.
    servers[&2].abort();
    let (closed, old) = (free_address().await, cluster.ring.lock().unwrap().nodes[1].api_addr.clone());
    assert_ne!(closed, old);
    cluster.ring.lock().unwrap().nodes[1].api_addr = closed;
    cluster.ring.lock().unwrap().epoch += 1;
    client.refresh("b").await.unwrap();
    delete("").await.unwrap();
    assert_eq!(who(&cluster), [3]);
}

async fn free_address() -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    listener.local_addr().unwrap().to_string()
}

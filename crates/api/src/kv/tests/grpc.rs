//! Tests of the gRPC service.

use super::fake::{Fake, sibling};
use crate::kv::grpc::{call, service};
use bytes::Bytes;
use http_body_util::Full;
use std::sync::Arc;
use tonic::Code;
use torc_coordinator::bucket::{BucketError, ErrorKind};
use torc_wire::kv;
use torc_wire::kv::buckets_client::BucketsClient;
use torc_wire::kv::buckets_server::BucketsServer;

/// The generated client over the service, without a network in between.
fn client(fake: &Arc<Fake>) -> BucketsClient<BucketsServer<crate::kv::grpc::BucketsService>> {
    BucketsClient::new(service(fake.clone()))
}

fn named(name: &str) -> Option<kv::Level> {
    Some(kv::Level { level: Some(kv::level::Level::Name(name.into())) })
}

#[tokio::test]
async fn operations_arrive_as_they_were_meant() {
    let fake = Arc::new(Fake { context: "ctx".into(), ..Fake::default() });
    let mut client = client(&fake);
    let put = kv::PutRequest {
        bucket: "b".into(),
        key: "k".into(),
        value: "v".into(),
        w: named("all"),
        ttl_ms: 1500,
        operation: 77,
        ..kv::PutRequest::default()
    };
    let reply = client.put(put).await.unwrap().into_inner();
    assert_eq!((&reply.context[..], reply.acked, reply.replicas), (&b"ctx"[..], 2, 3));
    assert_eq!(fake.last(), r#"put b b"k" w=Some(All) ttl=Some(1.5s)"#);
    assert_eq!(fake.last_put.lock().as_ref().unwrap().operation, 77);

    *fake.found.lock() = vec![sibling(b"milk", "text/plain"), sibling(b"bread", "")];
    let mut get =
        tonic::Request::new(kv::GetRequest { bucket: "b".into(), key: "k".into(), r: named("ONE") });
    get.set_timeout(std::time::Duration::from_millis(300));
    let reply = client.get(get).await.unwrap().into_inner();
    assert_eq!(reply.siblings.iter().map(|s| &s.value[..]).collect::<Vec<_>>(), [&b"milk"[..], b"bread"]);
    assert_eq!(fake.last(), r#"get b b"k" r=Some(One) deadline=Some(300ms)"#);

    let count = Some(kv::Level { level: Some(kv::level::Level::Count(2)) });
    let delete = kv::DeleteRequest { bucket: "b".into(), key: "k".into(), context: "c".into(), w: count };
    client.delete(delete).await.unwrap();
    assert_eq!(fake.last(), r#"delete b b"k" w=Some(Count(2)) context=b"c""#);

    let create = kv::CreateBucketRequest { bucket: "b".into(), n: 2, ..kv::CreateBucketRequest::default() };
    let bucket = client.create_bucket(create).await.unwrap().into_inner();
    assert_eq!((bucket.n, bucket.policy(), bucket.r), (2, kv::Policy::Siblings, named("QUORUM")));
    let keys =
        client.list_keys(kv::ListKeysRequest { bucket: "b".into(), ..Default::default() }).await.unwrap();
    assert_eq!((keys.into_inner().keys.len(), fake.last()), (2, r#"keys b after=b"" limit=100"#.into()));
    let ring = client.get_ring(kv::GetRingRequest { bucket: "b".into() }).await.unwrap().into_inner();
    assert_eq!((ring.epoch, ring.token_key.len(), ring.partitions[0].end), (9, 16, u64::MAX));
    client.drop_bucket(kv::DropBucketRequest { bucket: "b".into() }).await.unwrap();
    assert_eq!(
        client.list_buckets(kv::ListBucketsRequest::default()).await.unwrap().into_inner().buckets.len(),
        1
    );
}

#[tokio::test]
async fn failures_are_statuses_with_code_and_hint() {
    let fake = Arc::new(Fake::default());
    let mut client = client(&fake);
    let get = kv::GetRequest { bucket: "b".into(), key: "k".into(), r: named("most") };
    assert_eq!(client.get(get).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(fake.asked.lock().is_empty());
    *fake.fails.lock() = Some(BucketError::new(
        ErrorKind::NotEnoughAnswers,
        "2 of 3 replicas needed, 1 answered",
        "try again",
    ));
    let status =
        client.get(kv::GetRequest { bucket: "b".into(), key: "k".into(), r: None }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "2 of 3 replicas needed, 1 answered"));
    for (name, value) in
        [("torc-code", "NotEnoughAnswers"), ("torc-retryable", "true"), ("torc-hint", "try again")]
    {
        assert_eq!(status.metadata().get(name).unwrap(), value);
    }
}

#[tokio::test]
async fn a_body_that_is_no_message_is_a_status_too() {
    let fake = Arc::new(Fake::default());
    let request = http::Request::builder()
        .method("POST")
        .uri("/torc.kv.v1.Buckets/Get")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x03abc")))
        .unwrap();
    let response = call(service(fake.clone()), request).await;
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers().get("grpc-status").unwrap(), "0");
    assert!(fake.asked.lock().is_empty());
}

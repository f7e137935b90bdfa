//! An implementation of `Buckets` that records its calls and returns prepared answers.

use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use torc_coordinator::bucket::*;

#[derive(Default)]
pub struct Fake {
    pub asked: Mutex<Vec<String>>,
    pub found: Mutex<Vec<Sibling>>,
    pub context: Bytes,
    pub fails: Mutex<Option<BucketError>>,
    pub last_put: Mutex<Option<PutRequest>>,
}

impl Fake {
    fn answer<'a, T: Send + 'a>(&self, asked: String, value: T) -> BoxFuture<'a, Result<T, BucketError>> {
        self.asked.lock().push(asked);
        Box::pin(ready(self.fails.lock().clone().map_or(Ok(value), Err)))
    }
    pub fn last(&self) -> String {
        self.asked.lock().last().cloned().unwrap_or_default()
    }
    fn written(&self) -> WriteAnswer {
        WriteAnswer { context: self.context.clone(), acked: 2, replicas: 3 }
    }
}

pub fn sibling(value: &'static [u8], content_type: &str) -> Sibling {
    Sibling {
        value: Bytes::from_static(value),
        content_type: content_type.into(),
        written_ms: 17,
        expires_ms: 0,
    }
}

fn info(name: String, config: BucketConfig) -> BucketInfo {
    BucketInfo { name, id: 16, config, partitions: 4, created_ms: 5 }
}

const CONFIG: BucketConfig =
    BucketConfig { n: 3, read: Level::Quorum, write: Level::Count(2), policy: BucketPolicy::Siblings };

impl Buckets for Fake {
    fn put(&self, request: PutRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>> {
        let asked =
            format!("put {} {:?} w={:?} ttl={:?}", request.bucket, request.key, request.w, request.ttl);
        *self.last_put.lock() = Some(request);
        self.answer(asked, self.written())
    }
    fn delete(&self, request: DeleteRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>> {
        self.answer(
            format!(
                "delete {} {:?} w={:?} context={:?}",
                request.bucket, request.key, request.w, request.context
            ),
            self.written(),
        )
    }
    fn get(&self, request: GetRequest) -> BoxFuture<'_, Result<GetAnswer, BucketError>> {
        let siblings = self.found.lock().clone();
        self.answer(
            format!(
                "get {} {:?} r={:?} deadline={:?}",
                request.bucket, request.key, request.r, request.deadline
            ),
            GetAnswer { context: self.context.clone(), siblings, answered: 2, replicas: 3 },
        )
    }
    fn keys(&self, request: KeysRequest) -> BoxFuture<'_, Result<KeysPage, BucketError>> {
        self.answer(
            format!("keys {} after={:?} limit={}", request.bucket, request.after, request.limit),
            KeysPage { keys: vec!["a b".into(), Bytes::from_static(b"\xff/")], next: "more".into() },
        )
    }
    fn create_bucket(
        &self,
        name: String,
        config: BucketConfig,
    ) -> BoxFuture<'_, Result<BucketInfo, BucketError>> {
        self.answer(format!("create {name} {config:?}"), info(name, config))
    }
    fn describe_bucket(&self, name: String) -> BoxFuture<'_, Result<BucketInfo, BucketError>> {
        self.answer(format!("describe {name}"), info(name, CONFIG))
    }
    fn list_buckets(
        &self,
        after: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<BucketInfo>, BucketError>> {
        self.answer(format!("list after={after} limit={limit}"), vec![info("b".into(), CONFIG)])
    }
    fn drop_bucket(&self, name: String) -> BoxFuture<'_, Result<(), BucketError>> {
        self.answer(format!("drop {name}"), ())
    }
    fn ring(&self, bucket: String) -> BoxFuture<'_, Result<RingInfo, BucketError>> {
        let partitions = vec![RingPartition { start: 0, end: u64::MAX, replicas: vec![1, 2] }];
        self.answer(
            format!("ring {bucket}"),
            RingInfo { epoch: 9, token_key: [3; 16], partitions, ..RingInfo::default() },
        )
    }
}

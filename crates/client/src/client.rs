//! The client: routes each operation, tries another node when one fails, and keeps its rings current.

use crate::error::{ClientError, Elsewhere};
use crate::ring::Ring;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use torc_wire::kv;
use torc_wire::kv::buckets_client::BucketsClient;

/// Largest answer: a full record of siblings.
const MAX_ANSWER_BYTES: usize = 40 << 20;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How a put is done. The default: the bucket's own write level, no context, no expiry.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// The context of an earlier read or write of the key: exactly what it covers is replaced.
    pub context: Bytes,
    /// Acknowledgements to wait for.
    pub w: Option<kv::Level>,
    /// Returned with the value.
    pub content_type: String,
    /// How long the value is shown; zero is for ever.
    pub ttl: Duration,
}

/// How a get is done.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Replicas whose copies are merged.
    pub r: Option<kv::Level>,
}

/// A client of one cluster. Cheap to clone; clones share connections and rings.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    seeds: Vec<String>,
    timeout: Duration,
    channels: Mutex<BTreeMap<String, Channel>>,
    rings: Mutex<BTreeMap<String, Arc<Ring>>>,
    seed: u64,
    operations: AtomicU64,
}

type Rpc = BucketsClient<Channel>;

/// Whether an operation may be sent to another node when its fate on the last one is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is as doing it once.
    Safe,
    /// Only if it certainly did nothing.
    OnlyIfUndone,
}

impl Client {
    /// A client that starts from these nodes (`host:port`); no connection is made yet. Each try of an
    /// operation may take `timeout`. `seed` makes this client's operation ids its own: draw it at random,
    /// once for each client.
    ///
    /// # Errors
    /// An address that cannot be one, or no address at all.
    pub fn new(
        seeds: impl IntoIterator<Item = impl Into<String>>,
        timeout: Duration,
        seed: u64,
    ) -> Result<Self, ClientError> {
        let seeds: Vec<String> = seeds.into_iter().map(Into::into).collect();
        for addr in &seeds {
            endpoint(addr)?;
        }
        if seeds.is_empty() {
            return Err(ClientError::Address(String::new()));
        }
        let inner = Inner {
            seeds,
            timeout,
            channels: Mutex::default(),
            rings: Mutex::default(),
            seed,
            operations: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores a value.
    ///
    /// # Errors
    /// The last failure, after every node was tried. All tries are one write.
    pub async fn put(
        &self,
        bucket: &str,
        key: Bytes,
        value: Bytes,
        options: PutOptions,
    ) -> Result<kv::WriteReply, ClientError> {
        let request = kv::PutRequest {
            bucket: bucket.to_owned(),
            key: key.clone(),
            value,
            content_type: options.content_type,
            context: options.context,
            w: options.w,
            ttl_ms: u64::try_from(options.ttl.as_millis()).unwrap_or(u64::MAX),
            operation: self.operation_id(),
        };
        let call = |mut rpc: Rpc, request| async move { rpc.put(request).await };
        self.routed(bucket, &key, request, Repeat::Safe, call).await
    }

    /// Reads a key; an answer without siblings means that it has no value.
    ///
    /// # Errors
    /// The last failure, after every node was tried.
    pub async fn get(
        &self,
        bucket: &str,
        key: Bytes,
        options: GetOptions,
    ) -> Result<kv::GetReply, ClientError> {
        let request = kv::GetRequest { bucket: bucket.to_owned(), key: key.clone(), r: options.r };
        let call = |mut rpc: Rpc, request| async move { rpc.get(request).await };
        self.routed(bucket, &key, request, Repeat::Safe, call).await
    }

    /// Removes what the context covers; with an empty one, what is there now.
    ///
    /// # Errors
    /// The last failure, after every node was tried. Without a context the next node is tried only if the last one certainly did
    /// nothing: a second delete would remove what others wrote after the first.
    pub async fn delete(
        &self,
        bucket: &str,
        key: Bytes,
        context: Bytes,
        w: Option<kv::Level>,
    ) -> Result<kv::WriteReply, ClientError> {
        let repeat = if context.is_empty() { Repeat::OnlyIfUndone } else { Repeat::Safe };
        let request = kv::DeleteRequest { bucket: bucket.to_owned(), key: key.clone(), context, w };
        let call = |mut rpc: Rpc, request| async move { rpc.delete(request).await };
        self.routed(bucket, &key, request, repeat, call).await
    }

    /// Creates a bucket.
    ///
    /// # Errors
    /// As for the others.
    pub async fn create_bucket(&self, request: kv::CreateBucketRequest) -> Result<kv::Bucket, ClientError> {
        let order = self.inner.seeds.clone();
        self.tried(order, request, |mut rpc, request| async move { rpc.create_bucket(request).await }).await
    }

    /// Lists a page of keys.
    ///
    /// # Errors
    /// As for the others.
    pub async fn list_keys(&self, request: kv::ListKeysRequest) -> Result<kv::ListKeysReply, ClientError> {
        let order = self.inner.seeds.clone();
        self.tried(order, request, |mut rpc, request| async move { rpc.list_keys(request).await }).await
    }

    /// Fetches a bucket's ring anew.
    ///
    /// # Errors
    /// No node could give it.
    pub async fn refresh(&self, bucket: &str) -> Result<Arc<Ring>, ClientError> {
        let request = kv::GetRingRequest { bucket: bucket.to_owned() };
        // Nodes of the last ring may have outlived the seeds.
        let known = lock(&self.inner.rings).get(bucket).cloned();
        let mut order: Vec<String> =
            known.iter().flat_map(|ring| ring.route(b"")).map(str::to_owned).collect();
        order.extend(self.inner.seeds.iter().cloned());
        let ring =
            self.tried(order, request, |mut rpc, request| async move { rpc.get_ring(request).await }).await?;
        let ring = Arc::new(Ring::new(ring)?);
        let mut rings = lock(&self.inner.rings);
        match rings.get(bucket) {
            Some(known) if known.epoch() > ring.epoch() => Ok(known.clone()),
            _ => {
                rings.insert(bucket.to_owned(), ring.clone());
                Ok(ring)
            }
        }
    }

    async fn routed<Q, A, F>(
        &self,
        bucket: &str,
        key: &[u8],
        request: Q,
        repeat: Repeat,
        call: impl Fn(Rpc, Request<Q>) -> F,
    ) -> Result<A, ClientError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let known = lock(&self.inner.rings).get(bucket).cloned();
        let ring = match known {
            Some(ring) => Some(ring),
            // Without a ring any node will do, and a put may be what creates the bucket.
            None => self.refresh(bucket).await.ok(),
        };
        let mut order: Vec<String> =
            ring.iter().flat_map(|ring| ring.route(key)).map(str::to_owned).collect();
        order.extend(self.inner.seeds.iter().cloned());
        let first = order.first().cloned();
        let answered = self.tried_by(order, request, repeat, call).await;
        let went_well = matches!(&answered, Ok((_, by)) if Some(by) == first.as_ref());
        if !went_well && ring.is_some() {
            // An owner failed: the next operation should not go there first again if the others know better.
            // A failure leaves the old ring.
            let _ = self.refresh(bucket).await;
        }
        answered.map(|(answer, _)| answer)
    }

    async fn tried<Q, A, F>(
        &self,
        order: Vec<String>,
        request: Q,
        call: impl Fn(Rpc, Request<Q>) -> F,
    ) -> Result<A, ClientError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.tried_by(order, request, Repeat::Safe, call).await.map(|(answer, _)| answer)
    }

    /// Tries addresses in order until one answers or refuses for good; says which.
    async fn tried_by<Q, A, F>(
        &self,
        order: Vec<String>,
        request: Q,
        repeat: Repeat,
        call: impl Fn(Rpc, Request<Q>) -> F,
    ) -> Result<(A, String), ClientError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut last = ClientError::Unreachable("no address is known".into());
        let mut tried: Vec<String> = Vec::new();
        for addr in order {
            if tried.contains(&addr) {
                continue;
            }
            let Ok(channel) = self.channel(&addr) else { continue };
            let rpc = BucketsClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            let mut request = Request::new(request.clone());
            request.set_timeout(self.inner.timeout);
            // The server keeps the deadline; this one is for a server that hangs.
            let limit = self.inner.timeout + CONNECT_TIMEOUT;
            let outcome = tokio::time::timeout(limit, call(rpc, request)).await;
            match outcome {
                Ok(Ok(answer)) => return Ok((answer.into_inner(), addr)),
                Ok(Err(status)) => {
                    let (error, elsewhere) = ClientError::from_status(&status);
                    match (elsewhere, repeat) {
                        (Elsewhere::No, _) => return Err(error),
                        (Elsewhere::Unknown, Repeat::OnlyIfUndone) => {
                            return Err(match error {
                                ClientError::Unreachable(why) => ClientError::Unknown(why),
                                told => told,
                            });
                        }
                        (Elsewhere::Undone | Elsewhere::Unknown, _) => {}
                    }
                    // The answer of a server is more useful than the silence of another one.
                    if !matches!((&last, &error), (ClientError::Server { .. }, ClientError::Unreachable(_))) {
                        last = error;
                    }
                }
                Err(_) if repeat == Repeat::OnlyIfUndone => {
                    return Err(ClientError::Unknown(format!("{addr} did not answer in time")));
                }
                Err(_) => {
                    if !matches!(last, ClientError::Server { .. }) {
                        last = ClientError::Unreachable(format!("{addr} did not answer in time"));
                    }
                }
            }
            tried.push(addr);
        }
        Err(last)
    }

    /// A connection to an address, opened when it is first used.
    fn channel(&self, addr: &str) -> Result<Channel, ClientError> {
        let mut channels = lock(&self.inner.channels);
        if let Some(channel) = channels.get(addr) {
            return Ok(channel.clone());
        }
        let channel = endpoint(addr)?.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy();
        channels.insert(addr.to_owned(), channel.clone());
        Ok(channel)
    }

    /// A number that no other operation of any client has, for all practical purposes: a permutation of a
    /// counter, keyed by the seed (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    /// 2014).
    fn operation_id(&self) -> u64 {
        let turn = self.inner.operations.fetch_add(1, Ordering::Relaxed);
        let mut z = self.inner.seed.wrapping_add(turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }
}

fn endpoint(addr: &str) -> Result<Endpoint, ClientError> {
    let named =
        addr.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !named {
        return Err(ClientError::Address(addr.to_owned()));
    }
    Endpoint::from_shared(format!("http://{addr}")).map_err(|_| ClientError::Address(addr.to_owned()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is left half done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Creating, describing and deleting buckets, the ring for clients, and the implementation of [`Buckets`].

use super::coordinator::{BucketCoordinator, directory_error};
use super::error::{BucketError, ErrorKind};
use super::types::{
    BucketInfo, Buckets, DeleteRequest, GetAnswer, GetRequest, KeysPage, KeysRequest, PutRequest, RingInfo,
    RingNode, RingPartition, WriteAnswer,
};
use futures::future::BoxFuture;
use torc_cluster::Epoch;
use torc_cluster::topology::{BucketConfig, BucketPolicy, Command, Table, Topology};

use super::directory::DirectoryError;

impl BucketCoordinator {
    async fn create_named(&self, name: &str, config: BucketConfig) -> Result<BucketInfo, BucketError> {
        if matches!(config.policy, BucketPolicy::Crdt(_)) {
            return Err(BucketError::invalid(
                "CRDT buckets are not served by this version",
                "use the policy siblings or last-writer-wins",
            ));
        }
        let bucket = self.create(name, config, self.deadline(None)).await?;
        let info =
            describe(&self.directory().topology(), &bucket).ok_or_else(|| BucketError::no_bucket(name))?;
        if info.config == config {
            return Ok(info);
        }
        Err(BucketError::new(
            ErrorKind::BucketExists,
            format!("bucket {name:?} exists with other settings"),
            "describe it to see them, or choose another name",
        ))
    }

    async fn describe_named(&self, name: &str) -> Result<BucketInfo, BucketError> {
        let bucket =
            self.find_bucket(name, self.deadline(None)).await.ok_or_else(|| BucketError::no_bucket(name))?;
        describe(&self.directory().topology(), &bucket).ok_or_else(|| BucketError::no_bucket(name))
    }

    async fn drop_named(&self, name: &str) -> Result<(), BucketError> {
        let bucket =
            self.find_bucket(name, self.deadline(None)).await.ok_or_else(|| BucketError::no_bucket(name))?;
        match self.directory().execute(Command::DropBucket { bucket: bucket.id }, self.deadline(None)).await {
            Ok(_) => Ok(()),
            Err(DirectoryError::Refused(refusal)) if refusal.code == "NoSuchTable" => {
                Err(BucketError::no_bucket(name))
            }
            Err(error) => Err(directory_error(error)),
        }
    }

    async fn ring_of(&self, name: &str) -> Result<RingInfo, BucketError> {
        let bucket =
            self.find_bucket(name, self.deadline(None)).await.ok_or_else(|| BucketError::no_bucket(name))?;
        let topology = self.directory().topology();
        let nodes = topology.nodes().map(|node| RingNode {
            id: node.id.0,
            api_addr: node.api_addr.clone(),
            zone: node.zone.clone(),
            alive: self.is_alive(node.id),
        });
        let partitions = topology.partitions(bucket.id).iter().map(|partition| RingPartition {
            start: partition.range.start,
            end: partition.range.end,
            replicas: partition.replicas.iter().map(|node| node.0).collect(),
        });
        Ok(RingInfo {
            epoch: topology.epoch().0,
            token_key: *topology.token_key(),
            bucket: bucket.id.0,
            nodes: nodes.collect(),
            partitions: partitions.collect(),
        })
    }
}

fn describe(topology: &Topology, bucket: &Table) -> Option<BucketInfo> {
    Some(BucketInfo {
        name: bucket.name.clone(),
        id: bucket.id.0,
        config: *bucket.as_bucket()?,
        partitions: u32::try_from(topology.partitions(bucket.id).len()).unwrap_or(u32::MAX),
        created_ms: bucket.created_ms,
    })
}

impl Buckets for BucketCoordinator {
    fn put(&self, request: PutRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>> {
        Box::pin(self.put_key(request))
    }
    fn delete(&self, request: DeleteRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>> {
        Box::pin(self.delete_key(request))
    }
    fn get(&self, request: GetRequest) -> BoxFuture<'_, Result<GetAnswer, BucketError>> {
        Box::pin(self.get_key(request))
    }
    fn keys(&self, request: KeysRequest) -> BoxFuture<'_, Result<KeysPage, BucketError>> {
        Box::pin(self.list_keys(request))
    }
    fn create_bucket(
        &self,
        name: String,
        config: BucketConfig,
    ) -> BoxFuture<'_, Result<BucketInfo, BucketError>> {
        Box::pin(async move { self.create_named(&name, config).await })
    }
    fn describe_bucket(&self, name: String) -> BoxFuture<'_, Result<BucketInfo, BucketError>> {
        Box::pin(async move { self.describe_named(&name).await })
    }
    fn list_buckets(
        &self,
        after: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<BucketInfo>, BucketError>> {
        Box::pin(async move {
            self.directory().refresh(Epoch(0)).await;
            let topology = self.directory().topology();
            let after = Some(after.as_str()).filter(|name| !name.is_empty());
            Ok(topology
                .buckets_by_name(after)
                .filter_map(|bucket| describe(&topology, bucket))
                .take(limit)
                .collect())
        })
    }
    fn drop_bucket(&self, name: String) -> BoxFuture<'_, Result<(), BucketError>> {
        Box::pin(async move { self.drop_named(&name).await })
    }
    fn ring(&self, bucket: String) -> BoxFuture<'_, Result<RingInfo, BucketError>> {
        Box::pin(async move { self.ring_of(&bucket).await })
    }
}

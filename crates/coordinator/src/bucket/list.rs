//! Lists keys: partition by partition in token order, from one replica of each.

use super::coordinator::{BucketCoordinator, Miss, miss, reasons};
use super::error::{BucketError, ErrorKind};
use super::types::{KeysPage, KeysRequest};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;
use torc_cluster::{NodeId, Partition};
use torc_replica::bucket::limits;
use torc_wire::bucket::{BucketKeys, BucketList};
use torc_wire::peer::{RequestBody, ResponseBody};

/// Version byte of a page token: `1 | token u64 BE | key`.
const PAGE_VERSION: u8 = 1;

impl BucketCoordinator {
    pub(super) async fn list_keys(&self, request: KeysRequest) -> Result<KeysPage, BucketError> {
        let deadline = self.deadline(request.deadline);
        let bucket = self
            .find_bucket(&request.bucket, deadline)
            .await
            .ok_or_else(|| BucketError::no_bucket(&request.bucket))?;
        let limit = request.limit.clamp(1, limits::MAX_LIST_KEYS);
        let mut after = decode_page(&request.after)?;
        let mut page = KeysPage::default();
        loop {
            // The map is looked up anew for each partition: one may split or move during a long listing.
            let topology = self.directory().topology();
            let from = after.as_ref().map_or(0, |(token, _)| *token);
            let Some(partition) = topology.partition(bucket.id, from).cloned() else {
                return Err(BucketError::no_bucket(&request.bucket));
            };
            let list = BucketList {
                bucket: bucket.id.0,
                epoch: topology.epoch().0,
                from_token: from,
                to_token: partition.range.end,
                after: after.as_ref().and_then(|(_, key)| key.clone()),
                limit: (limit - page.keys.len()) as u32,
            };
            let found = self.list_partition(&partition, list, deadline).await?;
            let last = found.tokens.last().copied().zip(found.keys.last().cloned());
            page.keys.extend(found.keys);
            let next = match (found.more, last) {
                (true, Some((token, key))) => Some((token, Some(key))),
                (true, None) => {
                    return Err(BucketError::new(
                        ErrorKind::Internal,
                        "a replica has more keys but sent none",
                        "try again",
                    ));
                }
                (false, _) => partition.range.end.checked_add(1).map(|token| (token, None)),
            };
            match next {
                None => return Ok(page),
                Some(position) if page.keys.len() >= limit => {
                    page.next = encode_page(position);
                    return Ok(page);
                }
                Some(position) => after = Some(position),
            }
        }
    }

    async fn list_partition(
        &self,
        partition: &Partition,
        list: BucketList,
        deadline: Instant,
    ) -> Result<BucketKeys, BucketError> {
        let local = self.peers().local();
        let mut order: Vec<NodeId> = partition.replicas.clone();
        order.sort_by_key(|node| (*node != local, !self.is_alive(*node)));
        let mut misses = Vec::new();
        for node in order {
            if node == local {
                match self.list_here(&list) {
                    Ok(keys) => return Ok(keys),
                    Err(error) => misses.push(Miss::Failed(format!("{node}: {error}"))),
                }
                continue;
            }
            match self.call(node, RequestBody::BucketList(list.clone()), deadline).await {
                Ok(ResponseBody::BucketKeys(keys)) if keys.keys.len() == keys.tokens.len() => {
                    return Ok(keys);
                }
                Ok(other) => misses.push(miss(node, other)),
                Err(miss) => misses.push(miss),
            }
        }
        Err(BucketError::new(
            ErrorKind::Unavailable,
            format!("no replica of a partition could list its keys: {}", reasons(&misses)),
            "try again",
        ))
    }
}

fn encode_page((token, key): (u64, Option<Bytes>)) -> Bytes {
    let key = key.unwrap_or_default();
    let mut out = BytesMut::with_capacity(9 + key.len());
    out.put_u8(PAGE_VERSION);
    out.put_u64(token);
    out.put_slice(&key);
    out.freeze()
}

fn decode_page(bytes: &Bytes) -> Result<Option<(u64, Option<Bytes>)>, BucketError> {
    let bad = || {
        BucketError::invalid("the page token cannot be used", "send the `next` of the page before, unchanged")
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let token =
        bytes.get(1..9).and_then(|token| token.try_into().ok()).map(u64::from_be_bytes).ok_or_else(bad)?;
    if bytes.first() != Some(&PAGE_VERSION) || bytes.len() > 9 + limits::MAX_KEY_BYTES {
        return Err(bad());
    }
    // A key is never empty: no key means from the token's first.
    let key = Some(bytes.slice(9..)).filter(|key| !key.is_empty());
    Ok(Some((token, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_round_trip_and_others_are_refused() {
        for position in
            [(0, None), (7, Some(Bytes::from_static(b"k"))), (u64::MAX, Some(Bytes::from_static(&[0])))]
        {
            assert_eq!(decode_page(&encode_page(position.clone())), Ok(Some(position)));
        }
        assert_eq!(decode_page(&Bytes::new()), Ok(None));
        for bad in [&b"\x01short"[..], b"\x02123456789", &[1; 6000]] {
            assert!(decode_page(&Bytes::from(bad)).is_err());
        }
    }
}

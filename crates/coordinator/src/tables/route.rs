//! Finds the replica that can serve a request, and retries where that is safe, without the client noticing.
//!
//! A write is retried only when it is certain that the last try had no effect. When that is not certain, the
//! caller gets [`RouteError::Ambiguous`]: writing twice could undo another client's write in between.

use crate::peers::{PeerError, Peers};
use futures::future::BoxFuture;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use torc_cluster::{Epoch, GroupId, NodeId, Partition};
use torc_wire::peer::{PeerRequest, PeerResponse, Redirect, RedirectReason, ResponseBody};

/// First pause after a replica said that it does not lead and knew nobody who does; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(4);
const MAX_BACKOFF: Duration = Duration::from_millis(64);

/// Whether a request may be sent again when its fate is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Reads: any number of times.
    Safe,
    /// Writes: only if it certainly did nothing.
    OnlyIfUndone,
}

/// Why no answer could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing was done; trying later may work.
    #[error("no replica could serve the request in time ({0})")]
    Unavailable(String),
    /// A write may or may not have happened.
    #[error("the outcome of the write is unknown ({0})")]
    Ambiguous(String),
    /// The table is gone.
    #[error("the table or bucket no longer exists")]
    Gone,
    /// A replica's storage failed; nothing was served.
    #[error("storage failure: {0}")]
    Storage(String),
}

/// The partition map as a router sees it.
pub trait PartitionMap: Send + Sync {
    /// The partition that holds a token now, with the epoch of the map.
    fn find(&self, table: torc_cluster::TableId, token: u64) -> Option<(Partition, Epoch)>;
    /// Any partition by its group (the meta group included).
    fn by_group(&self, group: GroupId) -> Option<(Partition, Epoch)>;
    /// Fetches the topology until it is at least this epoch, or a little time has passed.
    fn refresh(&self, at_least: Epoch) -> BoxFuture<'_, ()>;
}

/// Which key a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The partition of a table or bucket that holds a token.
    Token(torc_cluster::TableId, u64),
    /// A group by number.
    Group(GroupId),
}

/// Sends requests to leaders and replicas.
pub struct Router {
    peers: Arc<dyn Peers>,
    map: Arc<dyn PartitionMap>,
    leaders: RwLock<BTreeMap<GroupId, NodeId>>,
    /// How long one try may take before another replica is asked, beside the measured round trips.
    try_timeout: Duration,
}

/// How often it is looked whether a node that is waited for is still alive.
const LIVENESS_POLL: Duration = Duration::from_millis(50);

/// Round trips that the longest try takes: to the leader, and from there to a follower and back for the entry and for a read barrier.
const ROUND_TRIPS: u32 = 3;

impl Router {
    /// A router that knows no leaders yet.
    pub fn new(peers: Arc<dyn Peers>, map: Arc<dyn PartitionMap>, try_timeout: Duration) -> Self {
        Self { peers, map, leaders: RwLock::default(), try_timeout }
    }

    /// Records who leads a group, as an answer or the local store says.
    pub fn learn_leader(&self, group: GroupId, leader: NodeId) {
        if self.leaders.read().get(&group) != Some(&leader) {
            self.leaders.write().insert(group, leader);
        }
    }

    /// The last known leader of a group.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.read().get(&group).copied()
    }

    fn forget_leader(&self, group: GroupId, leader: NodeId) {
        let mut leaders = self.leaders.write();
        if leaders.get(&group) == Some(&leader) {
            leaders.remove(&group);
        }
    }

    fn locate(&self, target: Target) -> Option<(Partition, Epoch)> {
        match target {
            Target::Token(table, token) => self.map.find(table, token),
            Target::Group(group) => self.map.by_group(group),
        }
    }

    /// Sends a request to the leader of the target's group, following redirects, until `deadline`.
    pub async fn to_leader(
        &self,
        target: Target,
        repeat: Repeat,
        deadline: Instant,
        make: impl Fn(&Partition, Epoch) -> PeerRequest + Send + Sync,
    ) -> Result<PeerResponse, RouteError> {
        let mut backoff = MIN_BACKOFF;
        let mut rotation = 0;
        let mut full = BTreeSet::new();
        let mut last = String::from("no try was made");
        loop {
            let (partition, epoch) = self.locate(target).ok_or(RouteError::Gone)?;
            let now = Instant::now();
            if now >= deadline {
                return Err(RouteError::Unavailable(last));
            }
            let node = match self.leader(partition.group).filter(|l| self.peers.is_alive(*l)) {
                Some(leader) => leader,
                None => self.candidate(&partition, &full, &mut rotation),
            };
            let wait = self.patience(&partition).min(deadline - now);
            let answered = match repeat {
                Repeat::Safe => self.peers.call(node, make(&partition, epoch), wait).await,
                Repeat::OnlyIfUndone => {
                    self.call_once(node, make(&partition, epoch), wait, deadline - now).await
                }
            };
            match answered {
                Ok(response) => match self.judge(&partition, node, response, repeat) {
                    Verdict::Answer(response) => return Ok(response),
                    Verdict::Fail(error) => return Err(error),
                    Verdict::Follow => continue,
                    Verdict::Refresh(epoch, why) => {
                        last = why;
                        // What was learned by the deadline counts; the deadline itself is looked at above.
                        let _ = timeout_at(deadline, self.map.refresh(epoch)).await;
                    }
                    Verdict::Retry(why) => last = why,
                    Verdict::Full(why) => {
                        full.insert(node);
                        let room =
                            partition.replicas.iter().filter(|replica| !full.contains(replica)).count();
                        if room <= partition.replicas.len() / 2 {
                            // No majority can store anything, so nobody else will lead.
                            return Err(RouteError::Unavailable(why));
                        }
                        last = why;
                    }
                },
                Err(error @ PeerError::Unreachable(_)) => {
                    self.forget_leader(partition.group, node);
                    last = error.to_string();
                }
                Err(error @ PeerError::Congested(_)) => last = error.to_string(),
                Err(error @ PeerError::Timeout(_)) => {
                    self.forget_leader(partition.group, node);
                    if repeat == Repeat::OnlyIfUndone {
                        return Err(RouteError::Ambiguous(error.to_string()));
                    }
                    last = error.to_string();
                }
            }
            sleep(backoff.min(deadline.saturating_duration_since(Instant::now()))).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Sends a request that any replica may serve: the local one first, then the others that are alive, then those that are not known to be.
    pub async fn to_any(
        &self,
        target: Target,
        deadline: Instant,
        make: impl Fn(&Partition, Epoch) -> PeerRequest + Send + Sync,
    ) -> Result<PeerResponse, RouteError> {
        let mut last = String::from("no try was made");
        let mut backoff = MIN_BACKOFF;
        loop {
            let (partition, epoch) = self.locate(target).ok_or(RouteError::Gone)?;
            let mut order = partition.replicas.clone();
            let local = self.peers.local();
            order.sort_by_key(|n| (*n != local, !self.peers.is_alive(*n)));
            for node in order {
                let now = Instant::now();
                if now >= deadline {
                    return Err(RouteError::Unavailable(last));
                }
                let wait = self.patience(&partition).min(deadline - now);
                match self.peers.call(node, make(&partition, epoch), wait).await {
                    Ok(response) => match self.judge(&partition, node, response, Repeat::Safe) {
                        Verdict::Answer(response) => return Ok(response),
                        Verdict::Fail(error) => return Err(error),
                        Verdict::Follow => {}
                        Verdict::Refresh(epoch, why) => {
                            last = why;
                            let _ = timeout_at(deadline, self.map.refresh(epoch)).await;
                        }
                        Verdict::Retry(why) | Verdict::Full(why) => last = why,
                    },
                    Err(error) => last = error.to_string(),
                }
            }
            sleep(backoff.min(deadline.saturating_duration_since(Instant::now()))).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// A call that can't be made again: giving it up makes its outcome unknown and gains nothing. Beyond `patience` it is waited for
    /// as long as the node is alive, at most `limit`.
    async fn call_once(
        &self,
        node: NodeId,
        request: PeerRequest,
        patience: Duration,
        limit: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let mut call = self.peers.call(node, request, limit);
        let mut wait = patience;
        loop {
            match timeout(wait, &mut call).await {
                Ok(answered) => return answered,
                Err(_) if self.peers.is_alive(node) => wait = LIVENESS_POLL,
                Err(_) => return Err(PeerError::Timeout(node)),
            }
        }
    }

    /// How long one try may take. Slow links make it longer: latency is not failure.
    fn patience(&self, partition: &Partition) -> Duration {
        let slowest = partition.replicas.iter().map(|node| self.peers.round_trip(*node)).max();
        self.try_timeout + slowest.unwrap_or_default() * ROUND_TRIPS
    }

    /// Whom to ask when the leader is not known: replicas in preference order, one after the other, those alive first. One whose
    /// disk is full leads no more.
    fn candidate(&self, partition: &Partition, full: &BTreeSet<NodeId>, rotation: &mut usize) -> NodeId {
        let may_lead = |node: &NodeId| self.peers.is_alive(*node) && !full.contains(node);
        let alive: Vec<NodeId> = partition.replicas.iter().copied().filter(may_lead).collect();
        let pool = if alive.is_empty() { &partition.replicas } else { &alive };
        let node = pool.get(*rotation % pool.len().max(1)).copied().unwrap_or_else(|| self.peers.local());
        *rotation += 1;
        node
    }

    fn judge(&self, partition: &Partition, node: NodeId, response: PeerResponse, repeat: Repeat) -> Verdict {
        let redirect = match response.body {
            Some(ResponseBody::Redirect(redirect)) => redirect,
            Some(_) => {
                return Verdict::Answer(response);
            }
            None => return unknown(repeat, format!("{node} sent an answer this version does not know")),
        };
        let why = format!("{node}: {}", describe(&redirect));
        match RedirectReason::try_from(redirect.reason).unwrap_or(RedirectReason::Unknown) {
            RedirectReason::NotLeader => {
                let hint = NodeId(redirect.node);
                if redirect.node != 0 && hint != node && self.peers.is_alive(hint) {
                    let known = self.leader(partition.group);
                    self.learn_leader(partition.group, hint);
                    // Without a pause, two replicas that each name the other as leader would be asked
                    // endlessly.
                    if known != Some(hint) { Verdict::Follow } else { Verdict::Retry(why) }
                } else {
                    self.forget_leader(partition.group, node);
                    Verdict::Retry(why)
                }
            }
            RedirectReason::WrongPartition => {
                // It may have led the group before the group moved away from it. The hint that named it is
                // dropped.
                self.forget_leader(partition.group, node);
                Verdict::Refresh(Epoch(redirect.epoch), why)
            }
            // A reason that this version does not know may mean anything.
            RedirectReason::Ambiguous | RedirectReason::Unknown => unknown(repeat, why),
            RedirectReason::DiskFull => {
                // The other replicas elect another leader, of which a node with a full disk does not learn by itself.
                self.forget_leader(partition.group, node);
                Verdict::Full(why)
            }
            RedirectReason::Storage => Verdict::Fail(RouteError::Storage(why)),
            RedirectReason::Busy | RedirectReason::Invalid => Verdict::Retry(why),
        }
    }
}

enum Verdict {
    Answer(PeerResponse),
    Fail(RouteError),
    Follow,
    Refresh(Epoch, String),
    Retry(String),
    /// The replica's disk is full.
    Full(String),
}

/// The verdict on an answer that leaves open whether the request took effect.
fn unknown(repeat: Repeat, why: String) -> Verdict {
    match repeat {
        Repeat::OnlyIfUndone => Verdict::Fail(RouteError::Ambiguous(why)),
        Repeat::Safe => Verdict::Retry(why),
    }
}

fn describe(redirect: &Redirect) -> String {
    let reason = RedirectReason::try_from(redirect.reason).unwrap_or(RedirectReason::Unknown);
    if redirect.detail.is_empty() {
        format!("{reason:?}")
    } else {
        format!("{reason:?}: {}", redirect.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use torc_cluster::{TableId, TokenRange};
    use torc_wire::peer::Proposed;

    const GROUP: GroupId = GroupId(17);

    /// Three replicas, of which node 2 leads, and a former member, node 9, that has nothing of the group any more.
    #[derive(Default)]
    struct Cluster {
        asked: Mutex<Vec<u64>>,
    }

    fn redirect(reason: RedirectReason, node: u64) -> ResponseBody {
        ResponseBody::Redirect(Redirect { reason: reason.into(), node, epoch: 0, detail: String::new() })
    }

    impl Peers for Cluster {
        fn local(&self) -> NodeId {
            NodeId(1)
        }

        fn call(
            &self,
            to: NodeId,
            _request: PeerRequest,
            _deadline: Duration,
        ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
            self.asked.lock().push(to.0);
            let body = match to.0 {
                2 => ResponseBody::Proposed(Proposed::default()),
                9 => redirect(RedirectReason::WrongPartition, 0),
                // A newer version's reason.
                7 => ResponseBody::Redirect(Redirect { reason: 99, ..Redirect::default() }),
                // A newer version's answer.
                8 => return Box::pin(std::future::ready(Ok(PeerResponse { body: None }))),
                _ => redirect(RedirectReason::NotLeader, 2),
            };
            Box::pin(std::future::ready(Ok(PeerResponse { body: Some(body) })))
        }

        fn is_alive(&self, _node: NodeId) -> bool {
            true
        }
    }

    impl PartitionMap for Cluster {
        fn find(&self, _table: TableId, _token: u64) -> Option<(Partition, Epoch)> {
            self.by_group(GROUP)
        }

        fn by_group(&self, group: GroupId) -> Option<(Partition, Epoch)> {
            let replicas = vec![NodeId(1), NodeId(2), NodeId(3)];
            let partition = Partition {
                group,
                table: TableId(1),
                range: TokenRange::ALL,
                initial: replicas.clone(),
                replicas,
                changed: Epoch(1),
            };
            Some((partition, Epoch(1)))
        }

        fn refresh(&self, _at_least: Epoch) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    /// Asks for the leader, believing that it is `believed`; returns who was asked, in order.
    async fn ask(believed: u64) -> Vec<u64> {
        let cluster = Arc::new(Cluster::default());
        let router = Router::new(cluster.clone(), cluster.clone(), Duration::from_secs(1));
        router.learn_leader(GROUP, NodeId(believed));
        let deadline = Instant::now() + Duration::from_secs(5);
        let make = |_: &Partition, _| PeerRequest::default();
        router.to_leader(Target::Group(GROUP), Repeat::OnlyIfUndone, deadline, make).await.unwrap();
        assert_eq!(router.leader(GROUP), Some(NodeId(2)));
        std::mem::take(&mut *cluster.asked.lock())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_followed() {
        assert_eq!(ask(3).await, [3, 2]);
    }

    /// Node 1 led until its disk became full. The others elect node 3 after a second, if their disks have room.
    struct DiskFull {
        others_full: bool,
        began: Instant,
    }

    impl Peers for DiskFull {
        fn local(&self) -> NodeId {
            NodeId(1)
        }

        fn call(
            &self,
            to: NodeId,
            _request: PeerRequest,
            _deadline: Duration,
        ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
            let elected = self.began.elapsed() >= Duration::from_secs(1);
            let body = match to.0 {
                1 => redirect(RedirectReason::DiskFull, 0),
                _ if self.others_full => redirect(RedirectReason::DiskFull, 0),
                3 if elected => ResponseBody::Proposed(Proposed::default()),
                _ => redirect(RedirectReason::NotLeader, if elected { 3 } else { 1 }),
            };
            Box::pin(std::future::ready(Ok(PeerResponse { body: Some(body) })))
        }

        fn is_alive(&self, _node: NodeId) -> bool {
            true
        }
    }

    /// How a write through the former leader with the full disk ended, and when.
    async fn write_with_a_full_disk(others_full: bool) -> (Result<PeerResponse, RouteError>, Duration) {
        let began = Instant::now();
        let peers = Arc::new(DiskFull { others_full, began });
        let router = Router::new(peers, Arc::new(Cluster::default()), Duration::from_secs(1));
        router.learn_leader(GROUP, NodeId(1));
        let deadline = began + Duration::from_secs(4);
        let make = |_: &Partition, _| PeerRequest::default();
        let result = router.to_leader(Target::Group(GROUP), Repeat::OnlyIfUndone, deadline, make).await;
        (result, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_sends_a_write_to_the_next_leader() {
        let (result, after) = write_with_a_full_disk(false).await;
        assert!(result.is_ok(), "{result:?}");
        assert!(after < Duration::from_millis(1200), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_no_majority_has_room_for_fails_at_once() {
        let (result, after) = write_with_a_full_disk(true).await;
        assert!(matches!(result, Err(RouteError::Unavailable(_))), "{result:?}");
        assert!(after < Duration::from_millis(50), "{after:?}");
    }

    /// Replicas that answer after some time, none of whose round trips was measured.
    struct Slow {
        answer_after: Duration,
        dies_after: Duration,
        began: Instant,
    }

    impl Peers for Slow {
        fn local(&self) -> NodeId {
            NodeId(9)
        }

        fn call(
            &self,
            to: NodeId,
            _request: PeerRequest,
            deadline: Duration,
        ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
            Box::pin(async move {
                timeout(deadline, sleep(self.answer_after)).await.map_err(|_| PeerError::Timeout(to))?;
                Ok(PeerResponse { body: Some(ResponseBody::Proposed(Proposed::default())) })
            })
        }

        fn is_alive(&self, _node: NodeId) -> bool {
            self.began.elapsed() < self.dies_after
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_waited_for_while_the_node_lives() {
        let ms = Duration::from_millis;
        for (answer_after, dies_after, known, ends) in [
            (ms(1_200), ms(60_000), true, ms(1_200)),
            (ms(10_000), ms(60_000), false, ms(4_000)),
            (ms(10_000), ms(2_000), false, ms(2_000)),
            (ms(10_000), ms(200), false, ms(900)),
        ] {
            let began = Instant::now();
            let peers = Arc::new(Slow { answer_after, dies_after, began });
            let router = Router::new(peers, Arc::new(Cluster::default()), ms(900));
            router.learn_leader(GROUP, NodeId(2));
            let make = |_: &Partition, _| PeerRequest::default();
            let write = router.to_leader(Target::Group(GROUP), Repeat::OnlyIfUndone, began + ms(4_000), make);
            let result = write.await;
            assert_eq!(result.is_ok(), known, "{result:?}");
            assert!(known || matches!(result, Err(RouteError::Ambiguous(_))), "{result:?}");
            let took = began.elapsed();
            assert!(took >= ends && took < ends + ms(100), "{took:?} instead of {ends:?}");
        }
    }

    /// A map that can't be refreshed, for its source does not answer.
    struct StaleMap(Cluster);

    impl PartitionMap for StaleMap {
        fn find(&self, table: TableId, token: u64) -> Option<(Partition, Epoch)> {
            self.0.find(table, token)
        }

        fn by_group(&self, group: GroupId) -> Option<(Partition, Epoch)> {
            self.0.by_group(group)
        }

        fn refresh(&self, _at_least: Epoch) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_of_the_map_keeps_the_deadline() {
        let router = Router::new(
            Arc::new(Cluster::default()),
            Arc::new(StaleMap(Cluster::default())),
            Duration::from_secs(1),
        );
        router.learn_leader(GROUP, NodeId(9));
        let (began, limit) = (Instant::now(), Duration::from_secs(5));
        let make = |_: &Partition, _| PeerRequest::default();
        let result = router.to_leader(Target::Group(GROUP), Repeat::Safe, began + limit, make).await;
        assert!(matches!(result, Err(RouteError::Unavailable(_))), "{result:?}");
        assert!(began.elapsed() <= limit + Duration::from_millis(100), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_former_member_is_not_asked_for_ever() {
        assert_eq!(ask(9).await, [9, 1, 2]);
    }

    /// Asks with a router that takes `believed` for the leader; how it ended and how often anybody was asked.
    async fn outcome(believed: u64, repeat: Repeat) -> (Result<PeerResponse, RouteError>, usize) {
        let cluster = Arc::new(Cluster::default());
        let router = Router::new(cluster.clone(), cluster.clone(), Duration::from_secs(1));
        router.learn_leader(GROUP, NodeId(believed));
        let deadline = Instant::now() + Duration::from_secs(1);
        let make = |_: &Partition, _| PeerRequest::default();
        let result = router.to_leader(Target::Group(GROUP), repeat, deadline, make).await;
        let asked = cluster.asked.lock().len();
        (result, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_not_repeated_after_an_answer_that_says_nothing_of_its_fate() {
        for newer in [7, 8] {
            let (result, asked) = outcome(newer, Repeat::OnlyIfUndone).await;
            assert!(matches!(result, Err(RouteError::Ambiguous(_))), "{result:?}");
            assert_eq!(asked, 1);
            let (_, asked) = outcome(newer, Repeat::Safe).await;
            assert!(asked > 1, "a read may be asked again");
        }
    }

    /// A leader behind a link of 600 ms there and back, whose own follower is as far away.
    struct Distant;

    impl Peers for Distant {
        fn local(&self) -> NodeId {
            NodeId(1)
        }

        fn call(
            &self,
            to: NodeId,
            _request: PeerRequest,
            deadline: Duration,
        ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
            Box::pin(async move {
                let body = Some(ResponseBody::Proposed(Proposed::default()));
                let served = async {
                    sleep(Duration::from_millis(1200)).await;
                    PeerResponse { body }
                };
                tokio::time::timeout(deadline, served).await.map_err(|_| PeerError::Timeout(to))
            })
        }

        fn is_alive(&self, _node: NodeId) -> bool {
            true
        }

        fn round_trip(&self, _node: NodeId) -> Duration {
            Duration::from_millis(600)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_does_not_make_the_outcome_of_a_write_unknown() {
        let map = Arc::new(Cluster::default());
        let router = Router::new(Arc::new(Distant), map, Duration::from_millis(900));
        let deadline = Instant::now() + Duration::from_secs(4);
        let make = |_: &Partition, _| PeerRequest::default();
        let result = router.to_leader(Target::Group(GROUP), Repeat::OnlyIfUndone, deadline, make).await;
        assert!(result.is_ok(), "{result:?}");
    }
}

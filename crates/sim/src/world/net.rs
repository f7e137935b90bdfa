//! The network between simulated nodes: it delays, drops, duplicates, reorders, and cuts links one way or both.

use super::trace::Trace;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use torc_coordinator::ports::{Class, Transport};

/// Who takes a frame at an address.
pub type Receiver = Arc<dyn Fn(Class, Bytes) + Send + Sync>;

/// How unreliable the network is. Probabilities are per frame.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Lost.
    pub drop: f64,
    /// Delivered twice, at different times.
    pub duplicate: f64,
    /// Delayed far beyond the usual, so that it arrives after later ones.
    pub straggle: f64,
    /// Least delay.
    pub min_delay: Duration,
    /// Most delay of a frame that does not straggle.
    pub max_delay: Duration,
}

impl Weather {
    /// A healthy local network.
    pub const CALM: Weather = Weather {
        drop: 0.0,
        duplicate: 0.0,
        straggle: 0.0,
        min_delay: Duration::from_micros(50),
        max_delay: Duration::from_micros(600),
    };
    /// A bad one.
    pub const STORMY: Weather = Weather {
        drop: 0.03,
        duplicate: 0.03,
        straggle: 0.03,
        min_delay: Duration::from_micros(50),
        max_delay: Duration::from_millis(8),
    };
    /// Longest delay of a straggler.
    const STRAGGLER: Duration = Duration::from_millis(400);
}

/// The network of one simulated world. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    wake: Notify,
    trace: Arc<Trace>,
}

struct State {
    rng: ChaCha8Rng,
    weather: Weather,
    receivers: BTreeMap<String, Receiver>,
    /// Directed links that are cut, `(from, to)`.
    cut: BTreeSet<(String, String)>,
    queue: BinaryHeap<Reverse<InFlight>>,
    sequence: u64,
}

struct InFlight {
    at: Instant,
    sequence: u64,
    from: String,
    to: String,
    class: Class,
    frame: Bytes,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for InFlight {}
impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl Net {
    /// An empty network in calm weather. [`Net::run`] must be spawned.
    pub fn new(seed: u64, trace: Arc<Trace>) -> Self {
        let state = State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            weather: Weather::CALM,
            receivers: BTreeMap::new(),
            cut: BTreeSet::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), wake: Notify::new(), trace }) }
    }

    /// The sending end of the node at `addr`.
    pub fn endpoint(&self, addr: &str) -> Arc<dyn Transport> {
        Arc::new(Endpoint { net: self.clone(), from: addr.to_string() })
    }

    /// Frames to `addr` go to `receiver` from now on; `None` drops them (the process is down).
    pub fn attach(&self, addr: &str, receiver: Option<Receiver>) {
        let mut state = self.inner.state.lock();
        match receiver {
            Some(receiver) => state.receivers.insert(addr.to_string(), receiver),
            None => state.receivers.remove(addr),
        };
    }

    /// Changes the weather for frames sent from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.inner.state.lock().weather = weather;
    }

    /// Cuts the link in one direction.
    pub fn cut(&self, from: &str, to: &str) {
        self.inner.state.lock().cut.insert((from.to_string(), to.to_string()));
    }

    /// Mends every link.
    pub fn heal(&self) {
        self.inner.state.lock().cut.clear();
    }

    /// Delivers frames when their time comes, for as long as the world runs.
    pub async fn run(self) {
        loop {
            let next = self.inner.state.lock().queue.peek().map(|f| f.0.at);
            match next {
                None => self.inner.wake.notified().await,
                Some(at) if at > Instant::now() => {
                    tokio::select! {
                        biased;
                        _ = sleep_until(at) => {}
                        _ = self.inner.wake.notified() => {}
                    }
                }
                Some(_) => self.deliver_due(),
            }
        }
    }

    fn deliver_due(&self) {
        let now = Instant::now();
        loop {
            let (frame, receiver) = {
                let mut state = self.inner.state.lock();
                if state.queue.peek().is_none_or(|f| f.0.at > now) {
                    return;
                }
                let Some(Reverse(frame)) = state.queue.pop() else { return };
                // A cut also stops what is on its way: the packet meets the cut later than its sender did.
                if state.cut.contains(&(frame.from.clone(), frame.to.clone())) {
                    continue;
                }
                let receiver = state.receivers.get(&frame.to).cloned();
                (frame, receiver)
            };
            if let Some(receiver) = receiver {
                self.inner.trace.frame(&frame.from, &frame.to, &frame.frame);
                receiver(frame.class, frame.frame);
            }
        }
    }
}

struct Endpoint {
    net: Net,
    from: String,
}

impl Transport for Endpoint {
    fn send(&self, to: &str, class: Class, frame: Bytes) {
        let mut state = self.net.inner.state.lock();
        let weather = state.weather;
        let copies = if state.rng.random_bool(weather.drop) {
            0
        } else if state.rng.random_bool(weather.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let longest =
                if state.rng.random_bool(weather.straggle) { Weather::STRAGGLER } else { weather.max_delay };
            let delay = state.rng.random_range(weather.min_delay..=longest);
            let sequence = state.sequence;
            state.sequence += 1;
            state.queue.push(Reverse(InFlight {
                at: Instant::now() + delay,
                sequence,
                from: self.from.clone(),
                to: to.to_string(),
                class,
                frame: frame.clone(),
            }));
        }
        drop(state);
        self.net.inner.wake.notify_one();
    }
}

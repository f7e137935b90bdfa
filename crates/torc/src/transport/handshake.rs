//! How two nodes show each other that they know the cluster's secret, before the first frame. Layout: docs/protocols/link.md.
//!
//! The node that opens a stream sends a number of its own. The other one answers with a fresh number and a proof over both, so that
//! nothing is sent to a stranger who listens at a node's address. The opener then puts its own proof, over both numbers and the
//! connection class, into the metadata of the stream. A number is good for one stream. Without a secret the key is empty, and the
//! proofs show nothing; a node with a secret and one without refuse each other.

use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::Sha256;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Shortest secret, bytes.
const MIN_SECRET_BYTES: usize = 16;
/// Longest secret, bytes.
const MAX_SECRET_BYTES: usize = 1024;
const NONCE_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
/// An answer to a question: the answering node's number and its proof.
pub(super) const ANSWER_BYTES: usize = NONCE_BYTES + MAC_BYTES;
/// Largest question or answer that is read.
pub(super) const MAX_MESSAGE_BYTES: usize = 64;
/// How long a number may be used after it was given out.
const NUMBER_LIFE: Duration = Duration::from_secs(10);
/// Numbers given out and not used yet. Beyond it the oldest is forgotten.
const MAX_NUMBERS: usize = 4096;
const ANSWERER: &[u8] = b"torc link 1 answerer";
const OPENER: &[u8] = b"torc link 1 opener";

type Nonce = [u8; NONCE_BYTES];

/// What all nodes of a cluster are given and nobody else knows. Empty for none.
#[derive(Clone, Default)]
pub struct ClusterSecret(Arc<[u8]>);

impl ClusterSecret {
    /// # Errors
    /// Too short or too long. The text is not in the message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&text.len()) {
            Ok(Self(text.as_bytes().into()))
        } else {
            Err(format!(
                "a cluster secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, for example the output of openssl rand -hex 32"
            ))
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "set" })
    }
}

/// One node's side of all handshakes.
pub struct Handshake {
    secret: ClusterSecret,
    rng: Mutex<StdRng>,
    given: Mutex<VecDeque<(Instant, Nonce)>>,
    refused: AtomicU64,
}

impl Handshake {
    /// `seed` comes from the operating system: who can guess the numbers can use an old proof again.
    pub fn new(secret: ClusterSecret, seed: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            secret,
            rng: Mutex::new(StdRng::from_seed(seed)),
            given: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// Opener: the number of its own that a question carries.
    pub(super) fn question(&self) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        self.rng.lock().fill_bytes(&mut nonce);
        nonce
    }

    /// Answerer: the answer to a question; `None` to one of the wrong size.
    pub(super) fn answer(&self, question: &[u8], now: Instant) -> Option<[u8; ANSWER_BYTES]> {
        let question: Nonce = question.try_into().ok()?;
        let nonce = self.question();
        let mut given = self.given.lock();
        given.push_back((now, nonce));
        while given.len() > MAX_NUMBERS || given.front().is_some_and(|(at, _)| now - *at > NUMBER_LIFE) {
            given.pop_front();
        }
        let mut answer = [0; ANSWER_BYTES];
        answer[..NONCE_BYTES].copy_from_slice(&nonce);
        let proof = self.mac(ANSWERER, &nonce, &question, "").finalize().into_bytes();
        answer[NONCE_BYTES..].copy_from_slice(&proof);
        Some(answer)
    }

    /// Opener: the proof to open a stream with; `None` if the answering node does not know the secret.
    pub(super) fn open(&self, question: &Nonce, answer: &[u8], class: &str) -> Option<Vec<u8>> {
        let (nonce, proof) = answer.split_first_chunk::<NONCE_BYTES>()?;
        self.mac(ANSWERER, nonce, question, "").verify_slice(proof).ok()?;
        let own = self.mac(OPENER, nonce, question, class).finalize().into_bytes();
        Some([&nonce[..], question, &own].concat())
    }

    /// Answerer: whether the opener of a stream knows the secret.
    pub(super) fn admits(&self, opening: &[u8], class: &str, now: Instant) -> bool {
        let admitted = self.check(opening, class, now).is_some();
        if !admitted {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            if refused.is_power_of_two() {
                tracing::warn!(
                    refused,
                    "a connection to the cluster port was refused: it did not show this cluster's secret"
                );
            }
        }
        admitted
    }

    fn check(&self, opening: &[u8], class: &str, now: Instant) -> Option<()> {
        let (nonce, rest) = opening.split_first_chunk::<NONCE_BYTES>()?;
        let (question, proof) = rest.split_first_chunk::<NONCE_BYTES>()?;
        self.mac(OPENER, nonce, question, class).verify_slice(proof).ok()?;
        let mut given = self.given.lock();
        let at = given.iter().position(|(_, known)| known == nonce)?;
        let (when, _) = given.remove(at)?;
        (now - when <= NUMBER_LIFE).then_some(())
    }

    fn mac(&self, role: &[u8], answerer: &Nonce, opener: &Nonce, class: &str) -> Hmac<Sha256> {
        // HMAC takes keys of every length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret.0).unwrap_or_else(|_| unreachable!());
        for part in [role, answerer, opener, class.as_bytes()] {
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(secret: &str, seed: u8) -> Arc<Handshake> {
        let secret =
            if secret.is_empty() { ClusterSecret::default() } else { ClusterSecret::parse(secret).unwrap() };
        Handshake::new(secret, [seed; 32])
    }

    const SECRET: &str = "the secret of this cluster";

    #[test]
    fn both_sides_must_know_the_secret() {
        for (opener, answerer, good) in [
            (SECRET, SECRET, true),
            ("", "", true),
            (SECRET, "", false),
            ("", SECRET, false),
            (SECRET, "the secret of another one", false),
        ] {
            let (opener, answerer) = (node(opener, 1), node(answerer, 2));
            let question = opener.question();
            let answer = answerer.answer(&question, Instant::now()).unwrap();
            assert_eq!(opener.open(&question, &answer, "bulk").is_some(), good, "the opener's look");
            // One that goes on although the answer was wrong.
            let nonce = answer.first_chunk().unwrap();
            let own = opener.mac(OPENER, nonce, &question, "bulk").finalize().into_bytes();
            let opening = [&nonce[..], &question, &own].concat();
            assert_eq!(answerer.admits(&opening, "bulk", Instant::now()), good, "the answerer's look");
        }
    }

    #[test]
    fn a_proof_opens_one_stream_of_its_class_in_time() {
        let (opener, answerer) = (node(SECRET, 1), node(SECRET, 2));
        let proof = |now| {
            let question = opener.question();
            let answer = answerer.answer(&question, now).unwrap();
            opener.open(&question, &answer, "bulk").unwrap()
        };
        let now = Instant::now();
        let used = proof(now);
        assert!(!answerer.admits(&used, "requests", now), "it was made for another class");
        assert!(answerer.admits(&used, "bulk", now));
        assert!(!answerer.admits(&used, "bulk", now), "used before");
        assert!(!answerer.admits(&proof(now), "bulk", now + NUMBER_LIFE * 2), "too old");
        assert!(!node(SECRET, 3).admits(&proof(now), "bulk", now), "another process gave the number out");
        for at in 0..used.len() {
            let mut damaged = proof(now);
            damaged[at] ^= 1;
            assert!(!answerer.admits(&damaged, "bulk", now), "byte {at}");
            assert!(!answerer.admits(&damaged[..at], "bulk", now), "{at} bytes");
        }
        // Questions of a stranger take bounded memory.
        for _ in 0..3 * MAX_NUMBERS {
            answerer.answer(&[0; NONCE_BYTES], now);
        }
        assert!(answerer.given.lock().len() <= MAX_NUMBERS);
        assert_eq!(answerer.answer(&[0; 15], now), None);
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        let error = ClusterSecret::parse("hunter2").unwrap_err();
        assert!(error.contains("16") && !error.contains("hunter2"));
        assert!(!format!("{:?}", ClusterSecret::parse(SECRET).unwrap()).contains("secret of"));
        assert!(ClusterSecret::parse("").is_err());
    }
}

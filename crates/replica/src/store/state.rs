//! The state blob of a group: what consensus must persist besides its entries. Drawn in
//! docs/formats/replica-state.md.
//!
//! ```text
//! 0   u8      version (1)
//! 1   u8      flags: 1 incomplete, 2 the joint configuration is left automatically
//! 2   u64 LE  term
//! 10  u64 LE  vote (0 none)
//! 18  u64 LE  commit index (may lag)
//! 26  u64 LE  truncated index: the entry before the first one held
//! 34  u64 LE  truncated term
//! 42  u64 LE  members index: the last membership change that `members` includes
//! 50  u8 × 4  number of voters, learners, outgoing voters, next learners
//! 54  u64 LE  each of them
//! ```
//!
//! Its checksum is the log record's.

use torc_wire::raft::Members;

/// Version of the layout.
pub const STATE_VERSION: u8 = 1;
const FLAGS: usize = 1;
const NUMBERS: usize = 2;
const COUNTS: usize = 50;
const IDS: usize = 54;
const INCOMPLETE: u8 = 1;
const AUTO_LEAVE: u8 = 2;
/// Most members of one kind.
const MAX_MEMBERS: usize = 100;

/// A group's durable state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurableState {
    /// The data is incomplete because a snapshot is being installed: the replica must neither vote nor serve.
    pub incomplete: bool,
    /// Raft's current term.
    pub term: u64,
    /// Who got this node's vote in it.
    pub vote: u64,
    /// Known to be committed.
    pub commit: u64,
    /// The entry before the first one held.
    pub truncated_index: u64,
    /// Its term.
    pub truncated_term: u64,
    /// The last membership change in `members`.
    pub members_index: u64,
    /// The members.
    pub members: Members,
}

impl DurableState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let m = &self.members;
        let lists = [&m.voters, &m.learners, &m.voters_outgoing, &m.learners_next];
        let mut out = Vec::with_capacity(IDS + 8 * lists.iter().map(|l| l.len()).sum::<usize>());
        let flags = u8::from(self.incomplete) * INCOMPLETE + u8::from(m.auto_leave) * AUTO_LEAVE;
        out.extend_from_slice(&[STATE_VERSION, flags]);
        for number in
            [self.term, self.vote, self.commit, self.truncated_index, self.truncated_term, self.members_index]
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for list in lists {
            assert!(list.len() <= MAX_MEMBERS, "a group has too many members");
            out.push(list.len() as u8);
        }
        for id in lists.into_iter().flatten() {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    /// `None` if the bytes are not a state of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.get(FLAGS)?;
        if bytes.first() != Some(&STATE_VERSION) || flags & !(INCOMPLETE | AUTO_LEAVE) != 0 {
            return None;
        }
        let counts = bytes.get(COUNTS..IDS)?;
        if counts.iter().any(|c| usize::from(*c) > MAX_MEMBERS) {
            return None;
        }
        let total: usize = counts.iter().map(|c| usize::from(*c)).sum();
        if bytes.len() != IDS + 8 * total {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let numbers: Vec<u64> = (0..6).map(|i| number(NUMBERS + 8 * i)).collect::<Option<_>>()?;
        let mut ids = (0..total).map_while(|i| number(IDS + 8 * i));
        let mut list = |i: usize| ids.by_ref().take(usize::from(counts[i])).collect::<Vec<u64>>();
        let (voters, learners, voters_outgoing, learners_next) = (list(0), list(1), list(2), list(3));
        let auto_leave = flags & AUTO_LEAVE != 0;
        Some(Self {
            incomplete: flags & INCOMPLETE != 0,
            term: numbers[0],
            vote: numbers[1],
            commit: numbers[2],
            truncated_index: numbers[3],
            truncated_term: numbers[4],
            members_index: numbers[5],
            members: Members { voters, learners, voters_outgoing, learners_next, auto_leave },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(any::<u64>(), 0..6)
    }

    proptest! {
        #[test]
        fn round_trips(
            flags in any::<(bool, bool)>(),
            n in any::<[u64; 6]>(),
            lists in (ids(), ids(), ids(), ids()),
        ) {
            let state = DurableState {
                incomplete: flags.0,
                term: n[0],
                vote: n[1],
                commit: n[2],
                truncated_index: n[3],
                truncated_term: n[4],
                members_index: n[5],
                members: Members {
                    voters: lists.0,
                    learners: lists.1,
                    voters_outgoing: lists.2,
                    learners_next: lists.3,
                    auto_leave: flags.1,
                },
            };
            let bytes = state.encode();
            prop_assert_eq!(DurableState::decode(&bytes), Some(state));
            for cut in 0..bytes.len() {
                prop_assert_eq!(DurableState::decode(&bytes[..cut]), None);
            }
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(DurableState::decode(&longer), None);
        }

        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(state) = DurableState::decode(&bytes) {
                prop_assert_eq!(state.encode(), bytes);
            }
        }
    }
}

//! Converts between the consensus crate's messages and ours, field by field. Everything that comes from the
//! network is checked here, so that it cannot trigger an assertion further in.

use super::entry;
use bytes::Bytes;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    Message, MessageType,
};
use torc_cluster::NodeId;
use torc_wire::raft::{self as wire, EntryKind, Members, RaftEntry, RaftKind, RaftMessage};

const KINDS: [(RaftKind, MessageType); 9] = [
    (RaftKind::Append, MessageType::MsgAppend),
    (RaftKind::AppendResponse, MessageType::MsgAppendResponse),
    (RaftKind::Vote, MessageType::MsgRequestVote),
    (RaftKind::VoteResponse, MessageType::MsgRequestVoteResponse),
    (RaftKind::PreVote, MessageType::MsgRequestPreVote),
    (RaftKind::PreVoteResponse, MessageType::MsgRequestPreVoteResponse),
    (RaftKind::Heartbeat, MessageType::MsgHeartbeat),
    (RaftKind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
    (RaftKind::TimeoutNow, MessageType::MsgTimeoutNow),
];

/// For the wire. `None` for kinds that never leave a store.
pub(crate) fn to_wire(group: u64, message: Message) -> Option<RaftMessage> {
    let (kind, _) = KINDS.iter().find(|(_, t)| *t == message.get_msg_type())?;
    Some(RaftMessage {
        group,
        kind: *kind as i32,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        entries: message.entries.into_vec().into_iter().map(entry_to_wire).collect(),
        fortify: 0,
    })
}

fn entry_to_wire(entry: Entry) -> RaftEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => EntryKind::Empty,
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::ConfChange,
    };
    RaftEntry { kind: kind as i32, term: entry.term, index: entry.index, data: entry.data }
}

/// From the wire. `None` for anything that no correct sender sends.
pub(crate) fn from_wire(from: NodeId, to: NodeId, message: RaftMessage, max_entry: usize) -> Option<Message> {
    let (_, kind) = KINDS.iter().find(|(k, _)| *k as i32 == message.kind)?;
    // Term 0 marks local messages inside the consensus crate; indexes are kept away from overflow.
    if message.term == 0 || from == to || from.0 == 0 || message.index > u64::MAX / 2 {
        return None;
    }
    if !message.entries.is_empty() && *kind != MessageType::MsgAppend {
        return None;
    }
    let mut entries = Vec::with_capacity(message.entries.len());
    let (mut index, mut term) = (message.index, message.log_term);
    for e in message.entries {
        index += 1;
        if e.index != index || e.term < term || e.term > message.term || e.data.len() > max_entry {
            return None;
        }
        term = e.term;
        entries.push(entry_from_wire(e)?);
    }
    let mut out = Message {
        from: from.0,
        to: to.0,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        ..Default::default()
    };
    out.set_msg_type(*kind);
    out.set_entries(entries.into());
    Some(out)
}

fn entry_from_wire(e: RaftEntry) -> Option<Entry> {
    let mut entry = Entry { term: e.term, index: e.index, ..Default::default() };
    match EntryKind::try_from(e.kind).ok()? {
        EntryKind::Empty if e.data.is_empty() => {}
        EntryKind::Normal if entry::is_normal(&e.data, e.term) => entry.data = e.data,
        EntryKind::ConfChange => {
            conf_change(&e.data)?;
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.data = e.data;
        }
        _ => return None,
    }
    Some(entry)
}

/// A change of membership from an entry's data.
pub(crate) fn conf_change(data: &Bytes) -> Option<ConfChangeV2> {
    use prost::Message as _;
    let decoded = wire::ConfChange::decode(data.clone()).ok()?;
    let mut change = ConfChangeV2::default();
    change.set_transition(match decoded.transition {
        0 => ConfChangeTransition::Auto,
        1 => ConfChangeTransition::Implicit,
        _ => return None,
    });
    let single = |s: &wire::ConfChangeSingle| {
        let mut out = ConfChangeSingle { node_id: s.node, ..Default::default() };
        out.set_change_type(match wire::ConfChangeKind::try_from(s.kind).ok()? {
            wire::ConfChangeKind::Voter => ConfChangeType::AddNode,
            wire::ConfChangeKind::Remove => ConfChangeType::RemoveNode,
            wire::ConfChangeKind::Learner => ConfChangeType::AddLearnerNode,
        });
        (s.node != 0).then_some(out)
    };
    let changes: Option<Vec<_>> = decoded.changes.iter().map(single).collect();
    change.set_changes(changes?.into());
    Some(change)
}

pub(crate) fn to_members(state: &ConfState) -> Members {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    Members {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        voters_outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn to_conf_state(members: &Members) -> ConfState {
    ConfState {
        voters: members.voters.clone(),
        learners: members.learners.clone(),
        voters_outgoing: members.voters_outgoing.clone(),
        learners_next: members.learners_next.clone(),
        auto_leave: members.auto_leave,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use protobuf::Message as _;

    #[test]
    fn membership_changes_read_what_the_consensus_crate_writes() {
        let mut single = ConfChangeSingle { node_id: 7, ..Default::default() };
        single.set_change_type(ConfChangeType::AddLearnerNode);
        let mut theirs = ConfChangeV2::default();
        theirs.set_transition(ConfChangeTransition::Implicit);
        theirs.set_changes(vec![single].into());
        for change in [theirs, ConfChangeV2::default()] {
            let bytes = Bytes::from(change.write_to_bytes().unwrap());
            assert_eq!(conf_change(&bytes).unwrap(), change);
        }
        let ours = wire::ConfChange {
            transition: 1,
            changes: vec![wire::ConfChangeSingle { kind: wire::ConfChangeKind::Remove as i32, node: 3 }],
        };
        let bytes = ours.encode_to_vec();
        let mut parsed = ConfChangeV2::default();
        parsed.merge_from_bytes(&bytes).unwrap();
        assert_eq!(conf_change(&bytes.into()).unwrap(), parsed);
        assert_eq!(conf_change(&Bytes::from_static(b"\xff")), None);
    }

    #[test]
    fn refuses_what_no_sender_sends() {
        let entry =
            |index, term| RaftEntry { kind: EntryKind::Empty as i32, term, index, data: Bytes::new() };
        let append = |entries| RaftMessage {
            group: 16,
            kind: RaftKind::Append as i32,
            term: 3,
            log_term: 2,
            index: 10,
            entries,
            ..Default::default()
        };
        let check = |message: RaftMessage, good: bool| {
            let got = from_wire(NodeId(1), NodeId(2), message.clone(), 1 << 20);
            assert_eq!(got.is_some(), good, "{message:?}");
            if let Some(got) = got {
                assert_eq!(to_wire(16, got), Some(message));
            }
        };
        check(append(vec![]), true);
        check(append(vec![entry(11, 2), entry(12, 3)]), true);
        check(append(vec![entry(11, 2), entry(13, 3)]), false);
        check(append(vec![entry(12, 2)]), false);
        check(append(vec![entry(11, 1)]), false);
        check(append(vec![entry(11, 4)]), false);
        check(append(vec![RaftEntry { data: Bytes::from_static(b"x"), ..entry(11, 2) }]), false);
        check(RaftMessage { term: 0, ..append(vec![]) }, false);
        check(RaftMessage { kind: 0, ..append(vec![]) }, false);
        check(RaftMessage { kind: 77, ..append(vec![]) }, false);
        check(RaftMessage { index: u64::MAX, ..append(vec![]) }, false);
        check(RaftMessage { kind: RaftKind::Heartbeat as i32, ..append(vec![entry(11, 2)]) }, false);
    }
}

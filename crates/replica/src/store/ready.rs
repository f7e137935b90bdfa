//! One pass over the groups that have work. Everything new goes to the log in one append, and everything
//! committed goes to the engine in one batch.

use super::group::{Group, encode_position};
use super::observe::{Observation, mark};
use super::shared::Shared;
use super::{After, applied_key, entry};
use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message};
use torc_engine::WriteBatch;
use torc_engine::log::Record;

/// A group's part of a pass, between taking it from the core and giving it back.
pub(crate) struct Prepared {
    ready: Ready,
    entries: Vec<Entry>,
    committed: Vec<Entry>,
    /// May go out now.
    immediate: Vec<Message>,
    /// Must wait until what precedes them is durable.
    held: Vec<Message>,
    must_write: bool,
}

/// What a group applied in a pass, to be reported once the engine has it.
pub(crate) struct Applied {
    /// Index and term of each entry, with its batch.
    entries: Vec<(u64, u64, Option<WriteBatch>)>,
    last: u64,
    /// Index and term of the last entry that changed anything.
    position: (u64, u64),
}

impl Group {
    /// Takes what the core has to do, and adds its records to the append.
    pub(crate) fn prepare(&mut self, sh: &mut Shared, records: &mut Vec<Record>) -> Option<Prepared> {
        self.evaluate_queue(sh);
        self.advance_reads(sh);
        let core = self.core.as_mut().filter(|c| c.has_ready())?;
        let mut ready = core.ready();
        for state in ready.take_read_states() {
            if let Some(number) = super::raft_core::read_context(&state.request_ctx) {
                self.reads.round_done(number, state.index);
            }
        }
        if let Some(hard) = ready.hs() {
            self.durable.term = hard.term;
            self.durable.vote = hard.vote;
            self.durable.commit = self.durable.commit.max(hard.commit);
        }
        let entries = ready.take_entries();
        let (committed, mut immediate) = (ready.take_committed_entries(), ready.take_messages());
        let mut held = ready.take_persisted_messages();
        if !core.may_speak_early() {
            // A leader of a single vote sends before its own term is durable; after a crash it could lead the same term again, with
            // other entries.
            held.append(&mut immediate);
        }
        let must_write = ready.must_sync();
        if must_write {
            if !core.is_leader()
                && let Some(first) = entries.first()
            {
                let previous_term = core.storage().term_at(first.index.saturating_sub(1));
                sh.config.observers.tell_appended(sh.config.node, self.id, &entries, previous_term);
            }
            records.push(self.state_record(sh));
            let stream = self.id.0;
            records.extend(entries.iter().map(|e| Record::Entry {
                stream,
                index: e.index,
                payload: entry::to_payload(e),
            }));
        }
        Some(Prepared { ready, entries, committed, immediate, held, must_write })
    }

    /// The pass's records are in the log. Returns what is to be done once they are durable, and what to apply.
    pub(crate) fn finish(&mut self, sh: &mut Shared, prepared: Prepared) -> (Option<After>, Applied) {
        let Prepared { ready, entries, committed, immediate, held, must_write } = prepared;
        let (number, had_entries) = (ready.number(), !entries.is_empty());
        let mut after = None;
        if let Some(core) = &mut self.core {
            core.storage_mut().appended(entries);
            core.appended(ready, had_entries);
            let term = core.term();
            let done =
                After::Ready { generation: self.generation, number, had_entries, term, messages: held };
            self.unpersisted += 1;
            after = Some(done);
        }
        self.send(sh, immediate);
        if !must_write && self.unpersisted == 1 || sh.config.planted.ack_before_persist {
            // Nothing to wait for.
            if let Some(After::Ready { generation, number, had_entries, term, messages }) = after.take() {
                self.on_persisted(sh, generation, number, had_entries, term, messages);
            }
        }
        (after, self.apply(sh, committed))
    }

    /// A ready is durable.
    pub(crate) fn on_persisted(
        &mut self,
        sh: &mut Shared,
        generation: u64,
        number: u64,
        had_entries: bool,
        term: u64,
        messages: Vec<Message>,
    ) {
        let Some(core) = self.core.as_mut().filter(|_| self.generation == generation) else { return };
        self.unpersisted -= 1;
        core.persisted(number, had_entries, term);
        self.send(sh, messages);
        self.note_role(sh);
        sh.dirty.insert(self.id);
    }

    /// Adds committed entries to the pass's batch. Membership changes take effect at once.
    fn apply(&mut self, sh: &mut Shared, committed: Vec<Entry>) -> Applied {
        let entries = Vec::with_capacity(committed.len());
        let mut applied = Applied { entries, last: 0, position: self.applied };
        let in_term = self.core.as_ref().map_or(self.durable.term, |c| c.term());
        let (me, observers) = (sh.config.node, sh.config.observers.clone());
        if !committed.is_empty() {
            sh.begin_apply();
        }
        for entry in committed {
            applied.last = entry.index;
            observers.tell(me, self.id, || Observation::Committed { in_term, entry: mark(&entry) });
            // After a restart the durable members may be ahead of the engine's applied position.
            if entry.get_entry_type() != EntryType::EntryNormal && entry.index > self.durable.members_index {
                self.apply_members(sh, &entry);
            }
            if self.halted || entry.index <= self.applied.0 {
                continue;
            }
            let mut batch = None;
            if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                match entry::batch(&entry.data) {
                    Ok(decoded) => {
                        sh.apply_batch().extend(&decoded);
                        batch = Some(decoded);
                    }
                    Err(error) => {
                        self.halt(sh, &format!("entry {}: {error}", entry.index));
                        break;
                    }
                }
            }
            applied.position = (entry.index, entry.term);
            observers.tell(me, self.id, || Observation::Applied { entry: mark(&entry) });
            applied.entries.push((entry.index, entry.term, batch));
        }
        if !applied.entries.is_empty() {
            sh.apply_batch().put(&applied_key(self.id), &encode_position(applied.position));
        }
        applied
    }

    fn apply_members(&mut self, sh: &mut Shared, entry: &Entry) {
        let before = self.members().clone();
        let change = super::raft_core::parse_conf_change(entry);
        let done = match (&mut self.core, change) {
            (Some(core), Some(change)) => core.apply_conf_change(&change),
            (None, _) => return,
            (_, None) => Err("an unreadable membership change".to_string()),
        };
        if let Err(error) = done {
            return self.halt(sh, &error);
        }
        let after = self.members().clone();
        let gone = |id: &&u64| {
            !after.voters.contains(id) && !after.learners.contains(id) && !after.voters_outgoing.contains(id)
        };
        let old = before.voters.iter().chain(&before.learners).chain(&before.voters_outgoing);
        for id in old.filter(gone).collect::<std::collections::BTreeSet<_>>() {
            self.note_removed(torc_cluster::NodeId(*id));
        }
        sh.config.observers.tell(sh.config.node, self.id, || Observation::MembersChanged);
        self.durable.members = after;
        self.durable.members_index = entry.index;
        self.durable.commit = self.durable.commit.max(entry.index);
        self.write_state_late(sh);
        self.note_role(sh);
        sh.peers_changed = true;
        if self.leads.is_some() && self.is_outsider(sh) {
            // An earlier leader began this leader's removal. The consensus crate does not support a leader
            // that is no member.
            self.transfer_away(sh);
            self.abdicate(sh);
        }
    }

    /// The engine has what was applied: answers go out.
    pub(crate) fn report_applied(&mut self, sh: &mut Shared, applied: Applied) {
        if applied.last == 0 {
            return;
        }
        self.applied = applied.position;
        if let Some(core) = &mut self.core {
            core.applied(applied.last);
        }
        sh.metrics.entries_applied += applied.entries.len() as u64;
        for (index, term, batch) in &applied.entries {
            if let Some(batch) = batch {
                self.machine.applied(*index, batch);
            }
            self.proposals.applied(sh, *index, *term);
        }
        self.overlay.applied(self.applied.0);
        self.advance_reads(sh);
        self.note_role(sh);
        sh.dirty.insert(self.id);
    }
}

//! Keeps the node's log short. A segment is recycled once no group has an entry in it.
//!
//! 1. Each group cuts off entries that are flushed and that no follower near enough still needs
//!    ([`Group::truncate_log`]). It keeps some, so that a short absence needs no snapshot.
//! 2. A group that writes seldom may keep an entry in a segment for hours. While the log has more segments than
//!    [`Limits::log_segments`](super::Limits), the groups with entries in older ones cut off all that they can.
//! 3. What such a group still needs is appended anew, if it is little. Its old places are free then.
//! 4. What is too much for that waits for a flush, which is asked for.
//! 5. At twice the bound, followers that are behind hold nothing any more. They get a snapshot.

use super::group::Group;
use super::observe::Observation;
use super::shared::Shared;
use super::{Store, StoreError};
use torc_cluster::GroupId;
use torc_engine::log::{ENGINE_STREAM, Record};

/// Whether followers that are behind keep entries in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followers {
    Heeded,
    Ignored,
}

impl Group {
    /// Truncates log entries that every replica near enough has durably in its data.
    pub(crate) fn truncate_log(&mut self, sh: &mut Shared) {
        self.note_flushed(sh);
        let (keep, step) = (sh.config.limits.keep_entries, sh.config.limits.truncate_step);
        self.cut_log(sh, keep, step, Followers::Heeded);
    }

    /// Learns which applied index is flushed: an index sampled in an epoch is, once the epoch's memtable is.
    fn note_flushed(&mut self, sh: &Shared) {
        let flushed = sh.engine.flushed_epoch();
        while let Some((_, applied)) = self.flush_samples.front().filter(|(epoch, _)| flushed > *epoch) {
            self.flushed_applied = *applied;
            self.flush_samples.pop_front();
        }
        if self.applied.0 > self.flushed_applied {
            let epoch = sh.engine.apply_epoch();
            match self.flush_samples.back_mut() {
                Some((e, applied)) if *e == epoch => *applied = self.applied.0,
                _ => self.flush_samples.push_back((epoch, self.applied.0)),
            }
        }
    }

    /// Cuts off flushed entries, all but the last `keep`, if that makes at least `step`.
    fn cut_log(&mut self, sh: &mut Shared, keep: u64, step: u64, followers: Followers) {
        let limits = &sh.config.limits;
        let Some(core) = &self.core else { return };
        let mut through = self.flushed_applied.saturating_sub(keep);
        if self.leads.is_some() && followers == Followers::Heeded {
            for f in core.followers() {
                let (_, alive_until_ms) = sh.liveness.support_from(f.id);
                let seen = alive_until_ms.min(sh.now_ms).max(self.leader_since_ms);
                let from = f.snapshot.unwrap_or(f.matched);
                let near = core.last_index().saturating_sub(from) <= limits.max_lag_entries
                    && core.storage().bytes_after(from) <= limits.max_lag_bytes;
                if near && sh.now_ms < seen + limits.hold_absent_ms {
                    through = through.min(from);
                }
            }
            through = through.min(self.senders.lowest_index().unwrap_or(u64::MAX));
        }
        let (first, _) = core.storage().truncated();
        if through < first + step {
            return;
        }
        if let Some(core) = &mut self.core {
            core.storage_mut().truncate(through);
            (self.durable.truncated_index, self.durable.truncated_term) = core.storage().truncated();
        }
        sh.config.observers.tell(sh.config.node, self.id, || Observation::Truncated { through });
        sh.late_records.push(Record::TruncatePrefix { stream: self.id.0, through });
        sh.late_records.push(self.state_record(sh));
    }
}

impl Store {
    /// The groups that hold old segments cut off what they can. Their records go out with the late ones.
    pub(crate) fn cut_pinning_groups(&mut self) {
        let sh = &mut self.shared;
        let (segments, limit) = (sh.engine.log().metrics().segments, sh.config.limits.log_segments);
        self.reclaims_log = segments > limit as u64;
        if !self.reclaims_log {
            return;
        }
        let followers = if segments > 2 * limit as u64 { Followers::Ignored } else { Followers::Heeded };
        for stream in sh.engine.log().pinned_by(limit) {
            if let Some(group) = self.groups.get_mut(&GroupId(stream)) {
                group.note_flushed(sh);
                group.cut_log(sh, 0, 1, followers);
            }
        }
    }

    /// Appends anew what groups still need of old segments. After the late records: the log must be as the groups
    /// believe it to be, since an entry that is appended again replaces all behind it.
    pub(crate) fn move_pinned_entries(&mut self) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.reclaims_log) || self.stuck.is_some() {
            return Ok(());
        }
        let sh = &mut self.shared;
        let log = sh.engine.log().clone();
        let mut room = sh.config.limits.moved_bytes;
        let mut left_over = false;
        for stream in log.pinned_by(sh.config.limits.log_segments) {
            let bytes = log.held_bytes(stream);
            let Some(info) = log.stream(stream).filter(|_| stream != ENGINE_STREAM && bytes <= room) else {
                left_over = true;
                continue;
            };
            let entries = log.entries(stream, info.first, info.last + 1, u64::MAX)?;
            room -= bytes;
            let records: Vec<Record> = entries
                .into_iter()
                .map(|(index, payload)| Record::Entry { stream, index, payload })
                .collect();
            match log.append(&records) {
                Ok(lsn) => self.last_lsn = lsn,
                // What holds the segments goes on holding them: only space that is freed elsewhere helps.
                Err(torc_engine::Error::DiskFull { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            sh.metrics.log_appends += 1;
            sh.metrics.entries_moved += records.len() as u64;
        }
        if left_over {
            sh.engine.flush_soon();
        }
        Ok(())
    }
}

//! Records what clients saw and checks it: it must be explainable by one list in one place (linearizability).

use std::collections::BTreeMap;
use torc_cluster::GroupId;

/// One operation. Times are true time, milliseconds, strictly ordered by `seq` within one.
#[derive(Clone, Debug)]
pub struct Operation {
    pub group: GroupId,
    pub key: u8,
    /// The number appended; `None` for a read.
    pub append: Option<u64>,
    pub invoked: u64,
    /// Known outcome: the time, and the list that it saw before its own effect. `None` if the operation may
    /// or may not have happened.
    pub done: Option<(u64, Vec<u64>)>,
    /// Known not to have happened.
    pub failed: bool,
}

#[derive(Default)]
pub struct History {
    pub operations: Vec<Operation>,
}

impl History {
    /// Checks the history against the lists in the end. Appends make this easy: the final list *is* the
    /// order, so a history is linearizable if every operation's view is the prefix before it and the order
    /// respects real time.
    pub fn check(&self, final_lists: &BTreeMap<(GroupId, u8), Vec<u64>>) -> Result<(), String> {
        let mut by_key: BTreeMap<(GroupId, u8), Vec<&Operation>> = BTreeMap::new();
        for op in &self.operations {
            by_key.entry((op.group, op.key)).or_default().push(op);
        }
        for (key, operations) in by_key {
            let empty = Vec::new();
            check_key(&operations, final_lists.get(&key).unwrap_or(&empty))
                .map_err(|e| format!("{key:?}: {e}"))?;
        }
        Ok(())
    }
}

fn check_key(operations: &[&Operation], list: &[u64]) -> Result<(), String> {
    let place: BTreeMap<u64, usize> = list.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    if place.len() != list.len() {
        return Err("a number was appended twice".into());
    }
    // Position in the order: an append at its place; a read between two places.
    let mut placed: Vec<(usize, bool, &Operation)> = Vec::new();
    for op in operations {
        let at = op.append.and_then(|id| place.get(&id).copied());
        match (&op.done, op.append) {
            (Some((_, seen)), _) if list.get(..seen.len()) != Some(seen) => {
                return Err(format!("{op:?} saw what is no prefix of {list:?}"));
            }
            (Some((_, seen)), Some(id)) if !op.failed => match at {
                None => return Err(format!("the acknowledged append {id} is lost ({op:?}): {list:?}")),
                Some(at) if at != seen.len() => {
                    return Err(format!("{op:?} saw {} numbers but is at {at}", seen.len()));
                }
                Some(at) => placed.push((at, true, op)),
            },
            (Some((_, seen)), _) => {
                if let Some(at) = at {
                    return Err(format!("{op:?} answered that it did nothing, and is at {at}"));
                }
                placed.push((seen.len(), false, op));
            }
            (None, Some(_)) => match at {
                Some(at) if op.failed => return Err(format!("{op:?} was refused, and is at {at}")),
                Some(at) => placed.push((at, true, op)),
                None => {}
            },
            (None, None) => {}
        }
    }
    // Real time: nothing placed later may have ended before something placed earlier began. An append at n
    // comes after a read that saw n numbers.
    placed.sort_by_key(|(at, is_append, op)| (*at, *is_append, op.invoked));
    let mut latest_start = 0;
    let mut culprit: Option<&Operation> = None;
    let mut group_start = 0;
    for (i, (at, is_append, op)) in placed.iter().enumerate() {
        if i > 0 && (placed[i - 1].0, placed[i - 1].1) != (*at, *is_append) {
            for (_, _, earlier) in &placed[group_start..i] {
                if earlier.invoked > latest_start {
                    latest_start = earlier.invoked;
                    culprit = Some(earlier);
                }
            }
            group_start = i;
        }
        if let Some((end, _)) = &op.done
            && *end < latest_start
        {
            return Err(format!("{op:?} ended before {culprit:?} began, but comes after it"));
        }
    }
    Ok(())
}

#[test]
fn the_checker_notices() {
    let op =
        |append, invoked, done| Operation { group: GroupId(1), key: 0, append, invoked, done, failed: false };
    let check = |operations: Vec<Operation>, list: &[u64], good: bool| {
        let history = History { operations };
        let lists = BTreeMap::from([((GroupId(1), 0), list.to_vec())]);
        let result = history.check(&lists);
        assert_eq!(result.is_ok(), good, "{result:?}");
    };
    check(vec![op(Some(7), 1, Some((2, vec![]))), op(None, 3, Some((4, vec![7])))], &[7], true);
    check(vec![op(Some(7), 1, Some((2, vec![])))], &[], false); // lost
    check(vec![op(Some(7), 1, Some((2, vec![]))), op(None, 3, Some((4, vec![])))], &[7], false); // stale read
    check(vec![op(Some(7), 1, Some((4, vec![]))), op(None, 3, Some((5, vec![])))], &[7], true); // concurrent
    check(vec![op(None, 1, Some((2, vec![7]))), op(Some(7), 3, None)], &[7], false); // from the future
    check(vec![op(Some(7), 1, None), op(Some(8), 1, None)], &[8], true); // unknown ones may be missing
    check(vec![op(Some(7), 5, Some((6, vec![]))), op(Some(8), 1, Some((2, vec![7])))], &[7, 8], false); // order
    check(vec![op(None, 1, Some((2, vec![9])))], &[7], false); // a read of what never was
}

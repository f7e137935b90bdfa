//! Linearizability of single keys: is there one order of the operations that explains every answer, with each
//! operation taking effect at one instant between its call and its return?
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the
//! memoisation of Lowe ("Testing for linearizability", 2017). It goes through the calls in time order and
//! takes one that could be next. It backtracks when it reaches the return of an operation that was not taken.
//! A pair of (operations taken, value) that failed is not tried again, nor with fewer operations of unknown
//! outcome left to use. Linearizability is local (Herlihy and Wing, 1990), so each key is checked by itself.

use super::show;
use std::collections::BTreeMap;
use std::fmt;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// What a key holds; `None` is nothing.
pub type Value = Option<Vec<u8>>;

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called, for the report.
    pub client: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What was asked.
    pub action: Action,
    /// What came back.
    pub outcome: Outcome,
    /// When it was called. Any unit; all of a history by one clock.
    pub invoke: u64,
    /// When the answer came, not before `invoke`. Ignored when the outcome is unknown. Operations that touch
    /// at one instant count as overlapping.
    pub ret: u64,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What does the key hold?
    Read,
    /// Put a value there, or with `None` remove it, if the condition holds.
    Write {
        /// The new value.
        value: Value,
        /// On the value before.
        condition: Condition,
    },
}

/// What a write asks of the value before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// That it is this: `Is(None)` inserts only where nothing is.
    Is(Value),
    /// That there is one.
    Exists,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A read's answer.
    Value(Value),
    /// A write was done.
    Done,
    /// A write was done and returned the value before it.
    DoneOver(Value),
    /// A write's condition did not hold.
    ConditionFailed,
    /// A write's condition did not hold, on this value.
    ConditionFailedOn(Value),
    /// Surely had no effect and says nothing (throttled, malformed).
    Refused,
    /// Nobody knows: it may have had its effect, may have it at any later time, or never.
    Unknown,
}

/// How far a search may go.
pub struct Budget<'a> {
    steps: u64,
    expired: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Budget<'a> {
    /// So many steps over all keys.
    pub fn steps(steps: u64) -> Self {
        Budget { steps, expired: None }
    }

    /// And only while the caller's clock says so (asked every few thousand steps).
    pub fn until(mut self, expired: &'a dyn Fn() -> bool) -> Self {
        self.expired = Some(expired);
        self
    }

    fn spend(&mut self) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        if self.steps.is_multiple_of(4096) && self.expired.is_some_and(|expired| expired()) {
            self.steps = 0;
        }
        self.steps > 0
    }
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order for every key.
    Linearizable,
    /// There is none for this key.
    Violation(Counterexample),
    /// The budget ran out at this key; the keys before it are fine.
    OutOfBudget {
        /// Where.
        key: Vec<u8>,
        /// Operations on it.
        operations: usize,
    },
}

/// A history of one key that no order explains: the shortest failing beginning, without the reads that do not
/// matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The key.
    pub key: Vec<u8>,
    /// The operations, by call. Those that had not returned when it came to light are `Unknown`.
    pub history: Vec<Operation>,
    /// The longest order that explains some of them, as indices into `history`.
    pub explained: Vec<usize>,
    /// What the key would hold after that.
    pub value: Value,
    /// The operation whose answer then fits nowhere.
    pub stuck: usize,
}

/// Checks every key of a history.
pub fn check(history: &[Operation], budget: &mut Budget<'_>) -> Verdict {
    let mut keys: BTreeMap<&[u8], Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let search = Search::new(&operations);
        match search.run(budget) {
            SearchEnd::Order => {}
            SearchEnd::OutOfBudget => {
                return Verdict::OutOfBudget { key: key.to_vec(), operations: operations.len() };
            }
            SearchEnd::None(_) => return Verdict::Violation(minimise(&operations)),
        }
    }
    Verdict::Linearizable
}

/// Steps for making a counterexample smaller; without them it is only larger.
const MINIMISE_STEPS: u64 = 5_000_000;

/// The shortest beginning that already fails (a beginning of a linearizable history is linearizable), then
/// without each read that can go (a read removed never makes things worse).
fn minimise(operations: &[&Operation]) -> Counterexample {
    let mut budget = Budget::steps(MINIMISE_STEPS);
    let mut returns: Vec<u64> =
        operations.iter().filter(|op| op.outcome != Outcome::Unknown).map(|op| op.ret).collect();
    returns.sort_unstable();
    let beginning = |until: u64| -> Vec<Operation> {
        let begun = operations.iter().filter(|op| op.invoke <= until);
        begun
            .map(|op| {
                let mut op = Operation::clone(op);
                if op.ret > until {
                    op.outcome = Outcome::Unknown;
                }
                op
            })
            .filter(|op| op.outcome != Outcome::Unknown || op.action != Action::Read)
            .collect()
    };
    let mut fails = |history: &[Operation]| {
        let all: Vec<&Operation> = history.iter().collect();
        matches!(Search::new(&all).run(&mut budget), SearchEnd::None(_))
    };
    let (mut low, mut high) = (0, returns.len().saturating_sub(1));
    while low < high {
        let middle = (low + high) / 2;
        if fails(&beginning(returns[middle])) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let mut history = beginning(returns.get(low).copied().unwrap_or(u64::MAX));
    for index in (0..history.len()).rev() {
        if history[index].action == Action::Read {
            let read = history.remove(index);
            if !fails(&history) {
                history.insert(index, read);
            }
        }
    }
    history.sort_by_key(|op| (op.invoke, op.ret));
    let all: Vec<&Operation> = history.iter().collect();
    let search = Search::new(&all);
    let deepest = match search.run(&mut Budget::steps(MINIMISE_STEPS)) {
        SearchEnd::None(deepest) => deepest,
        SearchEnd::Order | SearchEnd::OutOfBudget => Deepest::default(),
    };
    let value = search.values.get(deepest.value as usize).cloned().flatten();
    let key = history.first().map(|op| op.key.clone()).unwrap_or_default();
    Counterexample { key, explained: deepest.order, value, stuck: deepest.stuck, history }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains the answers for key {}:", show(&self.key))?;
        for (index, op) in self.history.iter().enumerate() {
            let order = self.explained.iter().position(|at| *at == index);
            let mark = match order {
                Some(at) => format!("{:>4}.", at + 1),
                None if index == self.stuck => "  >>>".to_owned(),
                None => "     ".to_owned(),
            };
            writeln!(f, "{mark} {op}")?;
        }
        let value = self.value.as_deref().map_or("nothing".to_owned(), show);
        write!(
            f,
            "the numbers are the longest order found; after it the key holds {value}, and >>> fits nowhere"
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value| value.as_deref().map_or("nothing".to_owned(), show);
        let end = if self.outcome == Outcome::Unknown { "?".to_owned() } else { self.ret.to_string() };
        write!(f, "[{:>6} - {end:>6}] client {:<3} ", self.invoke, self.client)?;
        match &self.action {
            Action::Read => f.write_str("read")?,
            Action::Write { value, condition } => {
                match value {
                    Some(value) => write!(f, "write {}", show(value))?,
                    None => f.write_str("delete")?,
                }
                match condition {
                    Condition::Always => {}
                    Condition::Is(None) => f.write_str(" if absent")?,
                    Condition::Is(value) => write!(f, " if {}", text(value))?,
                    Condition::Exists => f.write_str(" if present")?,
                }
            }
        }
        match &self.outcome {
            Outcome::Value(value) => write!(f, " -> {}", text(value)),
            Outcome::Done => f.write_str(" -> done"),
            Outcome::DoneOver(value) => write!(f, " -> done, was {}", text(value)),
            Outcome::ConditionFailed => f.write_str(" -> condition failed"),
            Outcome::ConditionFailedOn(value) => write!(f, " -> condition failed on {}", text(value)),
            Outcome::Refused => f.write_str(" -> refused"),
            Outcome::Unknown => f.write_str(" -> unknown"),
        }
    }
}

/// Values are numbers during the search; 0 is nothing.
type ValueId = u32;

/// An operation as the search sees it.
#[derive(Clone, Copy)]
struct Step {
    /// Index into the operations given.
    index: usize,
    effect: Effect,
    /// `None` when the outcome is unknown: it need not be taken.
    expects: Option<Expects>,
}

#[derive(Clone, Copy)]
enum Effect {
    Read,
    Write { value: ValueId, condition: Test },
}

#[derive(Clone, Copy)]
enum Test {
    Always,
    Is(ValueId),
    Exists,
}

#[derive(Clone, Copy)]
enum Expects {
    Value(ValueId),
    Done(Option<ValueId>),
    Failed(Option<ValueId>),
}

impl Step {
    /// The value after this operation if it may come now, `None` if its answer would be wrong, or if taking
    /// an operation of unknown outcome would change nothing.
    fn apply(&self, state: ValueId) -> Option<ValueId> {
        let Effect::Write { value, condition } = self.effect else {
            return matches!(self.expects, Some(Expects::Value(read)) if read == state).then_some(state);
        };
        let holds = match condition {
            Test::Always => true,
            Test::Is(expected) => expected == state,
            Test::Exists => state != 0,
        };
        match self.expects {
            None => (holds && value != state).then_some(value),
            Some(Expects::Done(before)) => {
                (holds && before.is_none_or(|before| before == state)).then_some(value)
            }
            Some(Expects::Failed(on)) => (!holds && on.is_none_or(|on| on == state)).then_some(state),
            Some(Expects::Value(_)) => None,
        }
    }
}

/// How a search for a linear order ended.
enum SearchEnd {
    Order,
    None(Deepest),
    OutOfBudget,
}

/// The longest order found, in indices into the operations given.
#[derive(Default)]
struct Deepest {
    order: Vec<usize>,
    value: ValueId,
    stuck: usize,
}

struct Search {
    steps: Vec<Step>,
    values: Vec<Value>,
    /// Calls and returns in time order; `Entry::step` indexes `steps`.
    entries: Vec<Entry>,
    /// Steps that must be taken.
    known: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    step: usize,
    is_call: bool,
}

/// A set of numbers, as bits.
type Bits = Vec<u64>;

impl Search {
    fn new(operations: &[&Operation]) -> Search {
        let mut values: Vec<Value> = vec![None];
        let mut ids: BTreeMap<Vec<u8>, ValueId> = BTreeMap::new();
        let mut id_of = |value: &Value| match value {
            None => 0,
            Some(bytes) => *ids.entry(bytes.clone()).or_insert_with(|| {
                values.push(Some(bytes.clone()));
                (values.len() - 1) as ValueId
            }),
        };
        let mut steps = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let unknown = operation.outcome == Outcome::Unknown;
            if operation.outcome == Outcome::Refused || (unknown && operation.action == Action::Read) {
                continue;
            }
            let effect = match &operation.action {
                Action::Read => Effect::Read,
                Action::Write { value, condition } => Effect::Write {
                    value: id_of(value),
                    condition: match condition {
                        Condition::Always => Test::Always,
                        Condition::Is(value) => Test::Is(id_of(value)),
                        Condition::Exists => Test::Exists,
                    },
                },
            };
            let expects = match &operation.outcome {
                Outcome::Value(value) => Some(Expects::Value(id_of(value))),
                Outcome::Done => Some(Expects::Done(None)),
                Outcome::DoneOver(value) => Some(Expects::Done(Some(id_of(value)))),
                Outcome::ConditionFailed => Some(Expects::Failed(None)),
                Outcome::ConditionFailedOn(value) => Some(Expects::Failed(Some(id_of(value)))),
                Outcome::Refused | Outcome::Unknown => None,
            };
            steps.push(Step { index, effect, expects });
        }
        // Those of known outcome first, by call: what is taken of them is then nearly always a full beginning
        // and few bits.
        steps.sort_by_key(|step| (step.expects.is_none(), operations[step.index].invoke));
        let known = steps.iter().filter(|step| step.expects.is_some()).count();
        let mut entries: Vec<(u64, Entry)> = Vec::with_capacity(steps.len() * 2);
        for (number, step) in steps.iter().enumerate() {
            let operation = operations[step.index];
            entries.push((operation.invoke, Entry { step: number, is_call: true }));
            if step.expects.is_some() {
                let ret = operation.ret.max(operation.invoke);
                entries.push((ret, Entry { step: number, is_call: false }));
            }
        }
        // At one instant calls come before returns: what touches overlaps.
        entries.sort_by_key(|(at, entry)| (*at, !entry.is_call));
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        Search { steps, values, entries, known }
    }

    fn run(&self, budget: &mut Budget<'_>) -> SearchEnd {
        let mut list = List::new(&self.entries, self.steps.len());
        let mut taken = Taken::new(self.known, self.steps.len());
        let mut seen = Seen::default();
        let mut stack: Vec<Frame> = Vec::new();
        let mut deepest: Option<Deepest> = None;
        let mut now = Now { value: 0, before_unknown: None };
        let mut remaining = self.known;
        // The operation tried last in this configuration; `None` when it is new.
        let mut resume: Option<usize> = None;
        loop {
            if remaining == 0 {
                return SearchEnd::Order;
            }
            if !budget.spend() {
                return SearchEnd::OutOfBudget;
            }
            let forced = if resume.is_none() { self.observation(&list, now.value) } else { None };
            let choice = match (forced, resume) {
                (Some(step), _) => Some((step, now.value)),
                (None, Some(tried)) => self.candidate(&list, Some(tried), now),
                (None, None) if !seen.insert(&taken, now) => None,
                (None, None) => self.candidate(&list, None, now),
            };
            if let Some((number, value)) = choice {
                let known = self.steps[number].expects.is_some();
                stack.push(Frame { step: number, before: now, forced: forced.is_some() });
                now = Now { value, before_unknown: (!known).then_some(now.value) };
                taken.set(number, true);
                remaining -= usize::from(known);
                list.lift(number);
                resume = None;
                continue;
            }
            if deepest.as_ref().is_none_or(|deepest| stack.len() > deepest.order.len()) {
                deepest = Some(self.describe(&list, &stack, now.value));
            }
            loop {
                let Some(frame) = stack.pop() else { return SearchEnd::None(deepest.unwrap_or_default()) };
                now = frame.before;
                taken.set(frame.step, false);
                remaining += usize::from(self.steps[frame.step].expects.is_some());
                list.unlift(frame.step);
                if !frame.forced {
                    resume = Some(frame.step);
                    break;
                }
            }
        }
    }

    /// The calls that may come next: those before the first return.
    fn available<'a>(&'a self, list: &'a List, from: Option<usize>) -> impl Iterator<Item = usize> + 'a {
        std::iter::successors(from, |at| list.after(*at))
            .map(|at| self.entries[at])
            .take_while(|entry| entry.is_call)
            .map(|entry| entry.step)
    }

    /// An available operation that changes nothing whatever it meets, and whose answer is right now. Taking
    /// it at once is never wrong: in any order that explains the rest it can be moved here. So there is
    /// nothing else to try instead.
    fn observation(&self, list: &List, value: ValueId) -> Option<usize> {
        self.available(list, list.first()).find(|&number| {
            let step = &self.steps[number];
            matches!(step.expects, Some(Expects::Value(_) | Expects::Failed(_)))
                && step.apply(value).is_some()
        })
    }

    /// The next available operation after `tried` that can be taken, and the value after it.
    ///
    /// An operation of unknown outcome is only of use if what follows it could not have come before it: else
    /// it could as well be left out (a write wipes it away) or come later (a failed condition does not mind).
    /// In an order with as few of them as possible it is always so, and only such orders are tried.
    fn candidate(&self, list: &List, tried: Option<usize>, now: Now) -> Option<(usize, ValueId)> {
        let from = tried.map_or_else(|| list.first(), |tried| list.after(list.call[tried]));
        self.available(list, from).find_map(|number| {
            let step = &self.steps[number];
            let needed = now.before_unknown.is_none_or(|before| step.apply(before).is_none());
            Some((number, step.apply(now.value).filter(|_| needed)?))
        })
    }

    fn describe(&self, list: &List, stack: &[Frame], value: ValueId) -> Deepest {
        let mut at = list.first();
        while let Some(position) = at
            && self.entries[position].is_call
        {
            at = list.after(position);
        }
        let stuck = at.map_or(0, |position| self.steps[self.entries[position].step].index);
        Deepest { order: stack.iter().map(|frame| self.steps[frame.step].index).collect(), value, stuck }
    }
}

/// The value, and if the last operation taken was of unknown outcome, the value before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Now {
    value: ValueId,
    before_unknown: Option<ValueId>,
}

/// An operation taken.
struct Frame {
    step: usize,
    before: Now,
    /// Whether there was nothing else to try.
    forced: bool,
}

/// The operations taken: those of known outcome, and those of unknown.
struct Taken {
    known: Bits,
    unknown: Bits,
    first_unknown: usize,
}

impl Taken {
    fn new(known: usize, all: usize) -> Taken {
        let bits = |count: usize| vec![0; count.div_ceil(64)];
        Taken { known: bits(known), unknown: bits(all - known), first_unknown: known }
    }

    fn set(&mut self, step: usize, value: bool) {
        let (bits, at) = match step.checked_sub(self.first_unknown) {
            None => (&mut self.known, step),
            Some(at) => (&mut self.unknown, at),
        };
        let bit = 1u64 << (at % 64);
        if value {
            bits[at / 64] |= bit;
        } else {
            bits[at / 64] &= !bit;
        }
    }
}

/// A hash map whose hasher is the same in every run. It is never walked.
#[allow(clippy::disallowed_types)]
type FixedMap<K, V> = std::collections::HashMap<K, V, Xxh3DefaultBuilder>;

/// Configurations that were tried: for each set of known operations taken and value reached, the sets of
/// unknown ones that it took.
#[derive(Default)]
struct Seen(FixedMap<(u32, Bits, Now), Vec<Bits>>);

/// Sets of unknown operations remembered for one configuration; more of them cost more to compare than they
/// save.
const MAX_REMEMBERED: usize = 64;

impl Seen {
    /// Whether the configuration is worth trying. What led nowhere leads nowhere with fewer unknown
    /// operations left to use.
    fn insert(&mut self, taken: &Taken, now: Now) -> bool {
        let full = taken.known.iter().take_while(|word| **word == u64::MAX).count();
        let end = taken.known.iter().rposition(|word| *word != 0).map_or(full, |last| (last + 1).max(full));
        let tried = self.0.entry((full as u32, taken.known[full..end].to_vec(), now)).or_default();
        let within = |a: &Bits, b: &Bits| a.iter().zip(b).all(|(a, b)| a & !b == 0);
        if tried.iter().any(|used| within(used, &taken.unknown)) {
            return false;
        }
        tried.retain(|used| !within(&taken.unknown, used));
        if tried.len() < MAX_REMEMBERED {
            tried.push(taken.unknown.clone());
        }
        true
    }
}

/// The entries as a doubly linked list, so that an operation can be taken out and put back in constant time.
struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Position of each step's call.
    call: Vec<usize>,
    /// And of its return, if it has one.
    ret: Vec<Option<usize>>,
}

impl List {
    /// Position `entries.len()` stands for both ends.
    fn new(entries: &[Entry], steps: usize) -> List {
        let ends = entries.len();
        let next = (0..=ends).map(|at| if at == ends { 0 } else { at + 1 }).collect();
        let previous = (0..=ends).map(|at| if at == 0 { ends } else { at - 1 }).collect();
        let mut list = List { next, previous, call: vec![0; steps], ret: vec![None; steps] };
        for (position, entry) in entries.iter().enumerate() {
            if entry.is_call {
                list.call[entry.step] = position;
            } else {
                list.ret[entry.step] = Some(position);
            }
        }
        list
    }

    fn after(&self, position: usize) -> Option<usize> {
        let next = self.next[position];
        (next != self.next.len() - 1).then_some(next)
    }

    fn first(&self) -> Option<usize> {
        self.after(self.next.len() - 1)
    }

    fn lift(&mut self, step: usize) {
        self.unlink(self.call[step]);
        if let Some(ret) = self.ret[step] {
            self.unlink(ret);
        }
    }

    /// The reverse of the latest `lift`.
    fn unlift(&mut self, step: usize) {
        if let Some(ret) = self.ret[step] {
            self.relink(ret);
        }
        self.relink(self.call[step]);
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn relink(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = at;
        self.previous[after] = at;
    }
}

//! Bound conditions and their evaluation on an item.

use super::path::DocumentPath;
use crate::{AttributeValue, Item, Number};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

/// The six comparators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparator {
    /// As written in an expression.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "<>",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        }
    }

    /// The comparator that holds for (b, a) exactly when this one holds for (a, b).
    pub fn mirrored(self) -> Self {
        match self {
            Comparator::Less => Comparator::Greater,
            Comparator::LessOrEqual => Comparator::GreaterOrEqual,
            Comparator::Greater => Comparator::Less,
            Comparator::GreaterOrEqual => Comparator::LessOrEqual,
            same => same,
        }
    }

    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparator::Equal => ordering.is_eq(),
            Comparator::NotEqual => ordering.is_ne(),
            Comparator::Less => ordering.is_lt(),
            Comparator::LessOrEqual => ordering.is_le(),
            Comparator::Greater => ordering.is_gt(),
            Comparator::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// The types that `attribute_type` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
    /// Boolean.
    Bool,
    /// Null.
    Null,
    /// Map.
    M,
    /// List.
    L,
    /// String set.
    Ss,
    /// Number set.
    Ns,
    /// Binary set.
    Bs,
}

impl AttributeType {
    /// Every type.
    pub const ALL: [AttributeType; 10] = {
        use AttributeType::*;
        [S, N, B, Bool, Null, M, L, Ss, Ns, Bs]
    };

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            AttributeType::S => "S",
            AttributeType::N => "N",
            AttributeType::B => "B",
            AttributeType::Bool => "BOOL",
            AttributeType::Null => "NULL",
            AttributeType::M => "M",
            AttributeType::L => "L",
            AttributeType::Ss => "SS",
            AttributeType::Ns => "NS",
            AttributeType::Bs => "BS",
        }
    }

    /// The type of that name, in upper case only.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// What stands at a path, which may be nothing.
    Path(DocumentPath),
    /// A value of the request.
    Value(Arc<AttributeValue>),
    /// `size(…)` of another operand.
    Size(Box<Operand>),
}

/// A node of a bound condition.
#[derive(Clone, Debug, PartialEq)]
pub enum ConditionExpr {
    /// All hold. True when empty.
    And(Vec<ConditionExpr>),
    /// At least one holds. False when empty.
    Or(Vec<ConditionExpr>),
    /// Does not hold.
    Not(Box<ConditionExpr>),
    /// A comparison. False across types and for what is absent, except `<>`, which is then true.
    Compare(Comparator, Operand, Operand),
    /// First operand within the second and the third, bounds included.
    Between(Operand, Operand, Operand),
    /// Equal to one of the list.
    In(Operand, Vec<Operand>),
    /// `attribute_exists`
    Exists(DocumentPath),
    /// `attribute_not_exists`
    NotExists(DocumentPath),
    /// `attribute_type`
    HasType(Operand, AttributeType),
    /// `begins_with`: the first operand starts with the second.
    BeginsWith(Operand, Operand),
    /// `contains`: the first operand is a string, binary, set or list that contains the second.
    Contains(Operand, Operand),
}

/// A condition with its placeholders resolved and its operands checked. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    expr: Arc<ConditionExpr>,
}

impl Condition {
    /// Wraps a tree. Its depth must be moderate: evaluation recurses.
    pub fn new(expr: ConditionExpr) -> Self {
        Condition { expr: Arc::new(expr) }
    }

    /// The tree, for those who plan with it.
    pub fn expr(&self) -> &ConditionExpr {
        &self.expr
    }

    /// Whether the condition holds for `item`; for an absent item, an empty one.
    pub fn matches(&self, item: &Item) -> bool {
        self.expr.matches(item)
    }

    /// Every path in the condition, left to right.
    pub fn paths(&self) -> Vec<&DocumentPath> {
        let mut paths = Vec::new();
        self.expr.collect_paths(&mut paths);
        paths
    }
}

impl Operand {
    fn resolve<'v>(&'v self, item: &'v Item) -> Option<Cow<'v, AttributeValue>> {
        match self {
            Operand::Path(path) => path.resolve(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(inner) => {
                let size = size(&*inner.resolve(item)?)?;
                Some(Cow::Owned(AttributeValue::N(Number::from(size))))
            }
        }
    }

    fn collect_path<'c>(&'c self, paths: &mut Vec<&'c DocumentPath>) {
        let mut operand = self;
        while let Operand::Size(inner) = operand {
            operand = inner;
        }
        if let Operand::Path(path) = operand {
            paths.push(path);
        }
    }
}

impl ConditionExpr {
    fn matches(&self, item: &Item) -> bool {
        match self {
            ConditionExpr::And(all) => all.iter().all(|c| c.matches(item)),
            ConditionExpr::Or(any) => any.iter().any(|c| c.matches(item)),
            ConditionExpr::Not(inner) => !inner.matches(item),
            ConditionExpr::Compare(comparator, left, right) => {
                match (left.resolve(item), right.resolve(item)) {
                    (Some(left), Some(right)) => compare(*comparator, &left, &right),
                    _ => *comparator == Comparator::NotEqual,
                }
            }
            ConditionExpr::Between(operand, low, high) => {
                match (operand.resolve(item), low.resolve(item), high.resolve(item)) {
                    (Some(value), Some(low), Some(high)) => {
                        compare(Comparator::GreaterOrEqual, &value, &low)
                            && compare(Comparator::LessOrEqual, &value, &high)
                    }
                    _ => false,
                }
            }
            ConditionExpr::In(operand, list) => match operand.resolve(item) {
                Some(value) => list.iter().any(|member| member.resolve(item).is_some_and(|m| m == value)),
                None => false,
            },
            ConditionExpr::Exists(path) => path.resolve(item).is_some(),
            ConditionExpr::NotExists(path) => path.resolve(item).is_none(),
            ConditionExpr::HasType(operand, kind) => {
                operand.resolve(item).is_some_and(|value| value.type_name() == kind.name())
            }
            ConditionExpr::BeginsWith(operand, prefix) => {
                match (operand.resolve(item), prefix.resolve(item)) {
                    (Some(value), Some(prefix)) => begins_with(&value, &prefix),
                    _ => false,
                }
            }
            ConditionExpr::Contains(operand, wanted) => match (operand.resolve(item), wanted.resolve(item)) {
                (Some(value), Some(wanted)) => contains(&value, &wanted),
                _ => false,
            },
        }
    }

    fn collect_paths<'c>(&'c self, paths: &mut Vec<&'c DocumentPath>) {
        match self {
            ConditionExpr::And(list) | ConditionExpr::Or(list) => {
                list.iter().for_each(|c| c.collect_paths(paths));
            }
            ConditionExpr::Not(inner) => inner.collect_paths(paths),
            ConditionExpr::Exists(path) | ConditionExpr::NotExists(path) => paths.push(path),
            ConditionExpr::Between(operand, low, high) => {
                [operand, low, high].into_iter().for_each(|o| o.collect_path(paths));
            }
            ConditionExpr::In(operand, list) => {
                operand.collect_path(paths);
                list.iter().for_each(|o| o.collect_path(paths));
            }
            ConditionExpr::HasType(operand, _) => operand.collect_path(paths),
            ConditionExpr::Compare(_, left, right)
            | ConditionExpr::BeginsWith(left, right)
            | ConditionExpr::Contains(left, right) => {
                left.collect_path(paths);
                right.collect_path(paths);
            }
        }
    }
}

/// What `size` says of a value: UTF-16 units of a string, bytes of a binary, members of anything else;
/// nothing for numbers, booleans and nulls.
fn size(value: &AttributeValue) -> Option<u64> {
    let size = match value {
        AttributeValue::S(text) => text.encode_utf16().count(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::M(map) => map.len(),
        AttributeValue::L(list) => list.len(),
        AttributeValue::Ss(set) => set.len(),
        AttributeValue::Ns(set) => set.len(),
        AttributeValue::Bs(set) => set.len(),
        AttributeValue::N(_) | AttributeValue::Bool(_) | AttributeValue::Null => return None,
    };
    Some(size as u64)
}

/// The order of two values, if both are strings (by UTF-8 bytes), numbers or binaries.
pub(super) fn order(left: &AttributeValue, right: &AttributeValue) -> Option<Ordering> {
    match (left, right) {
        (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (AttributeValue::N(a), AttributeValue::N(b)) => Some(a.cmp(b)),
        (AttributeValue::B(a), AttributeValue::B(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compare(comparator: Comparator, left: &AttributeValue, right: &AttributeValue) -> bool {
    match comparator {
        Comparator::Equal => left == right,
        Comparator::NotEqual => left != right,
        _ => order(left, right).is_some_and(|ordering| comparator.accepts(ordering)),
    }
}

pub(super) fn begins_with(value: &AttributeValue, prefix: &AttributeValue) -> bool {
    match (value, prefix) {
        (AttributeValue::S(text), AttributeValue::S(prefix)) => text.starts_with(prefix.as_str()),
        (AttributeValue::B(bytes), AttributeValue::B(prefix)) => bytes.starts_with(prefix),
        _ => false,
    }
}

/// Whether a string, binary, set or list contains `wanted`.
fn contains(value: &AttributeValue, wanted: &AttributeValue) -> bool {
    match (value, wanted) {
        (AttributeValue::S(text), AttributeValue::S(part)) => text.contains(part.as_str()),
        (AttributeValue::B(bytes), AttributeValue::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
        }
        (AttributeValue::Ss(set), AttributeValue::S(member)) => set.contains(member),
        (AttributeValue::Ns(set), AttributeValue::N(member)) => set.contains(member),
        (AttributeValue::Bs(set), AttributeValue::B(member)) => set.contains(member),
        (AttributeValue::L(list), wanted) => list.contains(wanted),
        _ => false,
    }
}

//! What parsing produces: an arena of nodes with the placeholders still unresolved.
//!
//! Nodes are stored children first, left to right, so that a plain scan of the arena visits them in the order
//! in which DynamoDB checks them, and neither a walk nor a drop recurses however deep the text nests.

use super::ExpressionKind;
use super::condition::Comparator;
use super::update::Arithmetic;
use std::sync::Arc;

/// Index of a node in its arena.
pub(super) type NodeId = usize;

/// One step of an unresolved path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawElement {
    /// A bare name.
    Name(Arc<str>),
    /// `#name`, with the `#`.
    Placeholder(Arc<str>),
    /// `[index]`.
    Index(u32),
}

/// A document path as written.
pub(super) type RawPath = Vec<RawElement>;

/// The functions of both grammars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    AttributeExists,
    AttributeNotExists,
    AttributeType,
    BeginsWith,
    Contains,
    Size,
    IfNotExists,
    ListAppend,
    /// A name that is none of these; the error for it is reported once the text has proved to be well formed.
    Unknown,
}

impl Function {
    /// The name as written in an expression: lower case only.
    pub fn name(self) -> &'static str {
        match self {
            Function::AttributeExists => "attribute_exists",
            Function::AttributeNotExists => "attribute_not_exists",
            Function::AttributeType => "attribute_type",
            Function::BeginsWith => "begins_with",
            Function::Contains => "contains",
            Function::Size => "size",
            Function::IfNotExists => "if_not_exists",
            Function::ListAppend => "list_append",
            Function::Unknown => "",
        }
    }

    pub fn from_name(name: &str) -> Self {
        use Function::*;
        [
            AttributeExists,
            AttributeNotExists,
            AttributeType,
            BeginsWith,
            Contains,
            Size,
            IfNotExists,
            ListAppend,
        ]
        .into_iter()
        .find(|f| f.name() == name)
        .unwrap_or(Unknown)
    }

    /// True for the functions of update expressions.
    pub fn is_for_update(self) -> bool {
        matches!(self, Function::IfNotExists | Function::ListAppend)
    }

    /// How many operands it takes.
    pub fn arity(self) -> usize {
        match self {
            Function::AttributeExists | Function::AttributeNotExists | Function::Size => 1,
            _ => 2,
        }
    }
}

/// A node of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Path(RawPath),
    /// `:value`, with the colon.
    Value(Arc<str>),
    Call(Function, Vec<NodeId>),
    Paren(NodeId),
    Compare(Comparator, NodeId, NodeId),
    Between(NodeId, NodeId, NodeId),
    In(NodeId, Vec<NodeId>),
    Not(NodeId),
    And(NodeId, NodeId),
    Or(NodeId, NodeId),
    Arithmetic(Arithmetic, NodeId, NodeId),
}

/// The four sections of an update expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Set,
    Remove,
    Add,
    Delete,
}

impl Section {
    pub fn name(self) -> &'static str {
        match self {
            Section::Set => "SET",
            Section::Remove => "REMOVE",
            Section::Add => "ADD",
            Section::Delete => "DELETE",
        }
    }
}

/// One action of an update expression, in text order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawAction {
    pub section: Section,
    pub path: RawPath,
    /// The right-hand side; `None` for `REMOVE`.
    pub value: Option<NodeId>,
}

/// A condition, filter or key condition expression that has passed every check that needs its text only.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedCondition(pub(super) Arc<ConditionTree>);

#[derive(Debug, Eq)]
pub(super) struct ConditionTree {
    pub kind: ExpressionKind,
    /// Bytes of the text.
    pub length: usize,
    pub nodes: Vec<Node>,
    pub root: NodeId,
}

/// A projection expression that has passed every check that needs its text only. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedProjection(pub(super) Arc<ProjectionTree>);

#[derive(Debug, Eq)]
pub(super) struct ProjectionTree {
    /// Bytes of the text.
    pub length: usize,
    pub paths: Vec<RawPath>,
}

/// An update expression that has passed every check that needs its text only. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedUpdate(pub(super) Arc<UpdateTree>);

#[derive(Debug, Eq)]
pub(super) struct UpdateTree {
    /// Bytes of the text.
    pub length: usize,
    pub nodes: Vec<Node>,
    pub actions: Vec<RawAction>,
}

// However long the text was, it says the same.
impl PartialEq for ConditionTree {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.nodes == other.nodes && self.root == other.root
    }
}

impl PartialEq for ProjectionTree {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths
    }
}

impl PartialEq for UpdateTree {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes && self.actions == other.actions
    }
}

impl ParsedCondition {
    /// Which parameter the expression came in.
    pub fn kind(&self) -> ExpressionKind {
        self.0.kind
    }
}

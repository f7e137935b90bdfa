//! Binding: placeholders are substituted and operands checked, in DynamoDB's order.
//!
//! A condition is checked node by node, left to right, and operands before the operator or function that uses
//! them. The paths of a projection and the actions of an update are checked from the last to the first. An
//! update's target paths are checked before its values.

use super::ExpressionKind;
use super::ast::{
    ConditionTree, Function, Node, NodeId, ParsedCondition, ParsedProjection, ParsedUpdate, RawElement,
    RawPath, Section,
};
use super::condition::{AttributeType, Comparator, Condition, ConditionExpr, Operand, order};
use super::path::{DocumentPath, Element};
use super::path_set::PathSet;
use super::update::{Action, SetOperand, SetValue, Update};
use super::{Placeholders, Projection};
use crate::size::value_size;
use crate::{ApiError, AttributeValue, limits};
use std::fmt::Display;
use std::sync::Arc;

/// Most operands of `IN`.
const MAX_IN_OPERANDS: usize = 100;

impl ParsedCondition {
    /// Substitutes the placeholders and checks the operands.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text for the first undefined placeholder or unfitting operand,
    /// or for too many operators.
    pub fn bind(&self, placeholders: &mut Placeholders) -> Result<Condition, ApiError> {
        let tree = &*self.0;
        let mut binder = Binder { kind: tree.kind, placeholders, size: tree.length };
        let expr = binder.condition(tree)?;
        binder.check_size()?;
        check_operator_count(tree.kind, &tree.nodes)?;
        Ok(Condition::new(expr))
    }
}

impl ParsedProjection {
    /// Substitutes the placeholders and checks that no path overlaps another.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text.
    pub fn bind(&self, placeholders: &mut Placeholders) -> Result<Projection, ApiError> {
        let mut binder = Binder { kind: ExpressionKind::Projection, placeholders, size: self.0.length };
        let mut set = PathSet::default();
        let mut paths = Vec::with_capacity(self.0.paths.len());
        for raw in self.0.paths.iter().rev() {
            let path = binder.path(raw)?;
            set.insert(&path, ()).map_err(|clash| ExpressionKind::Projection.invalid(clash.0))?;
            paths.push(path);
        }
        binder.check_size()?;
        paths.reverse();
        Ok(Projection::from_parts(paths, set))
    }
}

impl ParsedUpdate {
    /// Substitutes the placeholders, checks that no path overlaps another, and checks the operands.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text.
    pub fn bind(&self, placeholders: &mut Placeholders) -> Result<Update, ApiError> {
        let kind = ExpressionKind::Update;
        let tree = &*self.0;
        let mut binder = Binder { kind, placeholders, size: tree.length };
        let mut set = PathSet::default();
        let mut paths = Vec::with_capacity(tree.actions.len());
        for (index, action) in tree.actions.iter().enumerate().rev() {
            let path = binder.path(&action.path)?;
            set.insert(&path, index).map_err(|clash| kind.invalid(clash.0))?;
            paths.push(path);
        }
        let mut actions = Vec::with_capacity(tree.actions.len());
        for (action, path) in tree.actions.iter().rev().zip(paths) {
            actions.push(match (action.section, action.value) {
                (Section::Set, Some(value)) => Action::Set(path, binder.set_value(&tree.nodes, value)?),
                (Section::Add, Some(value)) => {
                    Action::Add(path, binder.set_member(&tree.nodes, value, "ADD")?)
                }
                (Section::Delete, Some(value)) => {
                    Action::Delete(path, binder.set_member(&tree.nodes, value, "DELETE")?)
                }
                _ => Action::Remove(path),
            });
        }
        actions.reverse();
        binder.check_size()?;
        check_operator_count(kind, &tree.nodes)?;
        Ok(Update::from_parts(actions, set))
    }
}

fn check_operator_count(kind: ExpressionKind, nodes: &[Node]) -> Result<(), ApiError> {
    let is_operator = |node: &&Node| !matches!(node, Node::Path(_) | Node::Value(_) | Node::Paren(_));
    let count = nodes.iter().filter(is_operator).count();
    if count <= limits::MAX_EXPRESSION_OPERATORS {
        return Ok(());
    }
    // DynamoDB stops counting at the first one too many.
    let count = limits::MAX_EXPRESSION_OPERATORS + 1;
    Err(kind.invalid(format_args!("The expression contains too many operators; operator count: {count}")))
}

/// A node that has been bound: what it is decides what may be built on it.
enum Built {
    Operand(Operand),
    Condition(ConditionExpr),
    /// Taken by the node that it is part of.
    Taken,
}

struct Binder<'p> {
    kind: ExpressionKind,
    placeholders: &'p mut Placeholders,
    /// Bytes of the expression with what its placeholders stand for, as far as they have been met.
    size: usize,
}

impl Binder<'_> {
    /// A value may be named many times over: without this, what is sent on to the replicas could be hundreds
    /// of times what was received.
    fn check_size(&self) -> Result<(), ApiError> {
        if self.size > limits::MAX_EXPANDED_EXPRESSION_BYTES {
            return Err(self.kind.invalid("Expression size has exceeded the maximum allowed size;"));
        }
        Ok(())
    }

    fn path(&mut self, raw: &RawPath) -> Result<DocumentPath, ApiError> {
        if raw.len() > limits::MAX_NESTING {
            return Err(self.kind.invalid(format_args!(
                "The document path has too many nesting levels; nesting levels: {}",
                raw.len()
            )));
        }
        let mut root = Arc::from("");
        let mut rest = Vec::with_capacity(raw.len().saturating_sub(1));
        for (depth, element) in raw.iter().enumerate() {
            let element = match element {
                RawElement::Index(index) => Element::Index(*index),
                RawElement::Name(name) => Element::Key(name.clone()),
                RawElement::Placeholder(placeholder) => {
                    let name = self.placeholders.name(placeholder).ok_or_else(|| {
                        self.kind.invalid(format_args!(
                            "An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
                        ))
                    })?;
                    self.size += name.len();
                    Element::Key(name)
                }
            };
            match element {
                Element::Key(name) if depth == 0 => root = name,
                element => rest.push(element),
            }
        }
        Ok(DocumentPath::new(root, rest))
    }

    fn value(&mut self, placeholder: &str) -> Result<Arc<AttributeValue>, ApiError> {
        let value = self.placeholders.value(placeholder).ok_or_else(|| {
            self.kind.invalid(format_args!(
                "An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            ))
        })?;
        self.size += value_size(&value);
        Ok(value)
    }

    fn condition(&mut self, tree: &ConditionTree) -> Result<ConditionExpr, ApiError> {
        let mut built: Vec<Built> = Vec::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            let next = self.condition_node(node, &mut built)?;
            built.push(next);
        }
        Ok(take_condition(&mut built, tree.root))
    }

    fn condition_node(&mut self, node: &Node, built: &mut [Built]) -> Result<Built, ApiError> {
        let condition = match node {
            Node::Path(raw) => return Ok(Built::Operand(Operand::Path(self.path(raw)?))),
            Node::Value(name) => return Ok(Built::Operand(Operand::Value(self.value(name)?))),
            Node::Paren(inner) => return Ok(take(built, *inner)),
            Node::Call(function, arguments) => {
                let arguments: Vec<Operand> = arguments.iter().map(|id| take_operand(built, *id)).collect();
                return self.call(*function, arguments);
            }
            Node::Compare(comparator, left, right) => {
                let (left, right) = (take_operand(built, *left), take_operand(built, *right));
                self.check_distinct(comparator.symbol(), &left, [&right])?;
                if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
                    self.check_types(comparator.symbol(), [&left, &right], is_ordered)?;
                }
                ConditionExpr::Compare(*comparator, left, right)
            }
            Node::Between(operand, low, high) => {
                let operand = take_operand(built, *operand);
                let (low, high) = (take_operand(built, *low), take_operand(built, *high));
                self.check_types("BETWEEN", [&operand, &low, &high], is_ordered)?;
                self.check_distinct("BETWEEN", &operand, [&low, &high])?;
                self.check_bounds(&low, &high)?;
                ConditionExpr::Between(operand, low, high)
            }
            Node::In(operand, list) => {
                let operand = take_operand(built, *operand);
                let list: Vec<Operand> = list.iter().map(|id| take_operand(built, *id)).collect();
                self.check_distinct("IN", &operand, &list)?;
                if list.len() > MAX_IN_OPERANDS {
                    return Err(self.kind.invalid(format_args!(
                        "The IN operator is provided with too many operands; number of operands: {}",
                        list.len()
                    )));
                }
                ConditionExpr::In(operand, list)
            }
            Node::Not(inner) => ConditionExpr::Not(Box::new(take_condition(built, *inner))),
            Node::And(left, right) => {
                let right = take_condition(built, *right);
                match take_condition(built, *left) {
                    ConditionExpr::And(mut all) => {
                        all.push(right);
                        ConditionExpr::And(all)
                    }
                    left => ConditionExpr::And(vec![left, right]),
                }
            }
            Node::Or(left, right) => {
                let right = take_condition(built, *right);
                match take_condition(built, *left) {
                    ConditionExpr::Or(mut any) => {
                        any.push(right);
                        ConditionExpr::Or(any)
                    }
                    left => ConditionExpr::Or(vec![left, right]),
                }
            }
            // Only the grammar of updates makes these.
            Node::Arithmetic(..) => ConditionExpr::Or(Vec::new()),
        };
        Ok(Built::Condition(condition))
    }

    fn call(&mut self, function: Function, arguments: Vec<Operand>) -> Result<Built, ApiError> {
        let name = function.name();
        self.check_arity(function, arguments.len())?;
        let mut arguments = arguments.into_iter();
        let (first, second) = (arguments.next(), arguments.next());
        let condition = match (function, first, second) {
            (Function::AttributeExists, Some(operand), None) => {
                ConditionExpr::Exists(self.require_path(name, operand)?)
            }
            (Function::AttributeNotExists, Some(operand), None) => {
                ConditionExpr::NotExists(self.require_path(name, operand)?)
            }
            (Function::Size, Some(operand), None) => {
                self.check_types(name, [&operand], has_size)?;
                return Ok(Built::Operand(Operand::Size(Box::new(operand))));
            }
            (Function::AttributeType, Some(operand), Some(kind)) => {
                self.check_distinct(name, &operand, [&kind])?;
                let kind = self.attribute_type(&kind)?;
                ConditionExpr::HasType(operand, kind)
            }
            (Function::BeginsWith, Some(operand), Some(prefix)) => {
                self.check_distinct(name, &operand, [&prefix])?;
                self.check_types(name, [&operand, &prefix], |t| matches!(t, "S" | "B"))?;
                ConditionExpr::BeginsWith(operand, prefix)
            }
            (Function::Contains, Some(operand), Some(wanted)) => {
                self.check_distinct(name, &operand, [&wanted])?;
                ConditionExpr::Contains(operand, wanted)
            }
            // The parser lets no other function into a condition, and the arity is checked above.
            _ => ConditionExpr::Or(Vec::new()),
        };
        Ok(Built::Condition(condition))
    }

    fn check_arity(&self, function: Function, count: usize) -> Result<(), ApiError> {
        if count == function.arity() {
            return Ok(());
        }
        Err(self.kind.invalid(format_args!(
            "Incorrect number of operands for operator or function; operator or function: {}, number of operands: {count}",
            function.name()
        )))
    }

    fn require_path(&self, function: &str, operand: Operand) -> Result<DocumentPath, ApiError> {
        match operand {
            Operand::Path(path) => Ok(path),
            _ => Err(self.kind.invalid(format_args!(
                "Operator or function requires a document path; operator or function: {function}"
            ))),
        }
    }

    fn check_distinct<'o>(
        &self,
        operator: &str,
        first: &Operand,
        rest: impl IntoIterator<Item = &'o Operand>,
    ) -> Result<(), ApiError> {
        match first {
            Operand::Path(path) if rest.into_iter().any(|o| matches!(o, Operand::Path(p) if p == path)) => {
                Err(self.same_operand(operator, path))
            }
            _ => Ok(()),
        }
    }

    fn same_operand(&self, operator: &str, path: &DocumentPath) -> ApiError {
        self.kind.invalid(format_args!(
            "The first operand must be distinct from the remaining operands for this operator or function; operator: {operator}, first operand: {path}"
        ))
    }

    fn check_types<'o>(
        &self,
        operator: &str,
        operands: impl IntoIterator<Item = &'o Operand>,
        allowed: fn(&'static str) -> bool,
    ) -> Result<(), ApiError> {
        match operands.into_iter().filter_map(static_type).find(|kind| !allowed(kind)) {
            Some(kind) => Err(self.operand_type(operator, kind)),
            None => Ok(()),
        }
    }

    fn operand_type(&self, operator: &str, kind: impl Display) -> ApiError {
        self.kind.invalid(format_args!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
        ))
    }

    fn attribute_type(&self, operand: &Operand) -> Result<AttributeType, ApiError> {
        match operand {
            Operand::Value(value) => match &**value {
                AttributeValue::S(name) => AttributeType::from_name(name).ok_or_else(|| {
                    self.kind.invalid(format_args!(
                        "Invalid attribute type name found; type: {name}, valid types: {ALL_TYPES}"
                    ))
                }),
                other => Err(self.operand_type("attribute_type", other.type_name())),
            },
            Operand::Size(_) => Err(self.operand_type("attribute_type", "N")),
            Operand::Path(_) => Err(self.operand_type("attribute_type", "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")),
        }
    }

    /// Both bounds of `BETWEEN`, when both are values of the request, must be of one type and in order.
    fn check_bounds(&self, low: &Operand, high: &Operand) -> Result<(), ApiError> {
        let (Operand::Value(low), Operand::Value(high)) = (low, high) else { return Ok(()) };
        let fault = match order(low, high) {
            Some(ordering) if ordering.is_le() => return Ok(()),
            Some(_) => "upper bound to be greater than or equal to lower bound",
            None => "same data type for lower and upper bounds",
        };
        Err(self.kind.invalid(format_args!(
            "The BETWEEN operator requires {fault}; lower bound operand: AttributeValue: {}, upper bound operand: AttributeValue: {}",
            shown_scalar(low),
            shown_scalar(high)
        )))
    }

    fn set_value(&mut self, nodes: &[Node], id: NodeId) -> Result<SetValue, ApiError> {
        match nodes.get(id) {
            Some(Node::Paren(inner)) => self.set_value_inner(nodes, *inner),
            _ => self.set_value_inner(nodes, id),
        }
    }

    fn set_value_inner(&mut self, nodes: &[Node], id: NodeId) -> Result<SetValue, ApiError> {
        let Some(Node::Arithmetic(operator, left, right)) = nodes.get(id) else {
            return Ok(SetValue::Operand(self.set_operand(nodes, id)?));
        };
        let left = self.set_operand(nodes, *left)?;
        let right = self.set_operand(nodes, *right)?;
        for operand in [&left, &right] {
            if let Some(kind) = static_set_type(operand).filter(|kind| *kind != "N") {
                return Err(self.operand_type(operator.symbol(), kind));
            }
        }
        Ok(SetValue::Arithmetic(*operator, left, right))
    }

    /// Recursion is bounded by the nesting of `if_not_exists`, at most some 250 in a text of 4 KB.
    fn set_operand(&mut self, nodes: &[Node], id: NodeId) -> Result<SetOperand, ApiError> {
        match nodes.get(id) {
            Some(Node::Path(raw)) => Ok(SetOperand::Path(self.path(raw)?)),
            Some(Node::Value(name)) => Ok(SetOperand::Value(self.value(name)?)),
            Some(Node::Paren(inner)) => self.set_operand(nodes, *inner),
            Some(Node::Call(function, arguments)) => {
                let mut bound = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    bound.push(self.set_operand(nodes, *argument)?);
                }
                self.set_call(*function, bound)
            }
            // The parser makes no other operand in an update.
            _ => Err(self.kind.invalid("Syntax error; token: \"<EOF>\", near: \"\"")),
        }
    }

    fn set_call(&self, function: Function, arguments: Vec<SetOperand>) -> Result<SetOperand, ApiError> {
        let name = function.name();
        self.check_arity(function, arguments.len())?;
        let mut arguments = arguments.into_iter();
        let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else {
            return Err(self.kind.invalid(format_args!("Invalid function name; function: {name}")));
        };
        if function == Function::ListAppend {
            for operand in [&first, &second] {
                if let Some(kind) = static_set_type(operand).filter(|kind| *kind != "L") {
                    return Err(self.operand_type(name, kind));
                }
            }
            return Ok(SetOperand::ListAppend(Box::new(first), Box::new(second)));
        }
        match first {
            SetOperand::Path(path) if matches!(&second, SetOperand::Path(p) if *p == path) => {
                Err(self.same_operand(name, &path))
            }
            SetOperand::Path(path) => Ok(SetOperand::IfNotExists(path, Box::new(second))),
            _ => Err(self.kind.invalid(format_args!(
                "Operator or function requires a document path; operator or function: {name}"
            ))),
        }
    }

    /// The value of `ADD` or `DELETE`.
    fn set_member(
        &mut self,
        nodes: &[Node],
        id: NodeId,
        action: &str,
    ) -> Result<Arc<AttributeValue>, ApiError> {
        let Some(Node::Value(name)) = nodes.get(id) else {
            return Err(self.kind.invalid("Syntax error; token: \"<EOF>\", near: \"\""));
        };
        let value = self.value(name)?;
        if value.is_set() || (action == "ADD" && matches!(&*value, AttributeValue::N(_))) {
            return Ok(value);
        }
        let kind = long_type_name(&value);
        Err(self.kind.invalid(format_args!(
            "Incorrect operand type for operator or function; operator: {action}, operand type: {kind}, typeSet: ALLOWED_FOR_{action}_OPERAND"
        )))
    }
}

/// Every type, in the order in which the message about an unknown one lists them.
const ALL_TYPES: &str = "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}";

fn take(built: &mut [Built], id: NodeId) -> Built {
    built.get_mut(id).map_or(Built::Taken, |slot| std::mem::replace(slot, Built::Taken))
}

/// The parser makes operands of operands only, so the last arm is for the compiler.
fn take_operand(built: &mut [Built], id: NodeId) -> Operand {
    match take(built, id) {
        Built::Operand(operand) => operand,
        Built::Condition(_) | Built::Taken => Operand::Value(Arc::new(AttributeValue::Null)),
    }
}

/// As [`take_operand`]. An empty `OR` holds for nothing.
fn take_condition(built: &mut [Built], id: NodeId) -> ConditionExpr {
    match take(built, id) {
        Built::Condition(condition) => condition,
        Built::Operand(_) | Built::Taken => ConditionExpr::Or(Vec::new()),
    }
}

/// The type of an operand as far as the request alone decides it.
fn static_type(operand: &Operand) -> Option<&'static str> {
    match operand {
        Operand::Path(_) => None,
        Operand::Value(value) => Some(value.type_name()),
        Operand::Size(_) => Some("N"),
    }
}

fn static_set_type(operand: &SetOperand) -> Option<&'static str> {
    match operand {
        SetOperand::Value(value) => Some(value.type_name()),
        SetOperand::ListAppend(..) => Some("L"),
        SetOperand::Path(_) | SetOperand::IfNotExists(..) => None,
    }
}

fn is_ordered(kind: &'static str) -> bool {
    matches!(kind, "S" | "N" | "B")
}

fn has_size(kind: &'static str) -> bool {
    !matches!(kind, "N" | "BOOL" | "NULL")
}

/// The type's name as the messages of `ADD` and `DELETE` spell it.
pub(super) fn long_type_name(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::S(_) => "STRING",
        AttributeValue::N(_) => "NUMBER",
        AttributeValue::B(_) => "BINARY",
        AttributeValue::Bool(_) => "BOOLEAN",
        AttributeValue::Null => "NULL",
        AttributeValue::M(_) => "MAP",
        AttributeValue::L(_) => "LIST",
        AttributeValue::Ss(_) => "STRING_SET",
        AttributeValue::Ns(_) => "NUMBER_SET",
        AttributeValue::Bs(_) => "BINARY_SET",
    }
}

/// A scalar as messages show it: `{S:text}`.
fn shown_scalar(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("{{S:{text}}}"),
        AttributeValue::N(number) => format!("{{N:{number}}}"),
        AttributeValue::B(bytes) => {
            format!("{{B:java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]}}", bytes.len())
        }
        other => format!("{{{}}}", other.type_name()),
    }
}

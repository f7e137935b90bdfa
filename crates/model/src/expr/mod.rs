//! The expression language of DynamoDB: condition, filter, key condition, projection and update expressions,
//! and the legacy parameters that preceded them.
//!
//! Called by the api layer (parse and bind, once per request), and by the replica that leads a partition
//! (evaluate against the stored item). Everything here is pure: no IO, no clock, no knowledge of tables
//! beyond the key schema that is handed in.
//!
//! An expression passes through three stages, and the first error in this order is the one that the client
//! sees:
//!
//! 1. *Parse* ([`ParsedCondition::parse`] and its siblings): size, syntax, redundant parentheses, then
//!    reserved words, function names and list indexes in text order. The result depends on the text only and
//!    is kept by text ([`ParsedCondition::cached`] …).
//! 2. *Bind* ([`ParsedCondition::bind`] …): placeholders are substituted from [`Placeholders`], which
//!    remembers what was used so that leftovers can be reported once every expression of the request is
//!    bound; then operands are checked.
//! 3. *Evaluate* ([`Condition::matches`], [`Projection::apply`], [`Update::apply`]) against an item.
//!
//! *Invariant*: no input exhausts the stack. Parsing keeps an explicit stack, the syntax tree is an arena,
//! and what is bound has at most [`crate::limits::MAX_EXPRESSION_OPERATORS`] operators.

mod ast;
mod bind;
mod cache;
mod condition;
mod java_hash;
mod key_condition;
mod legacy;
mod lexer;
mod parser;
mod parser_condition;
mod parser_update;
mod path;
mod path_set;
mod placeholders;
mod print;
mod projection;
mod reserved;
mod update;
mod update_apply;
mod wire;

#[cfg(test)]
mod tests;

pub use ast::{ParsedCondition, ParsedProjection, ParsedUpdate};
pub use condition::{AttributeType, Comparator, Condition, ConditionExpr, Operand};
pub(crate) use java_hash::in_table_order;
pub use key_condition::{KeyCondition, check_filter_keys, check_key_paths};
pub use legacy::{
    AttributeUpdateAction, ComparisonOperator, ConditionalOperator, LegacyCondition, LegacyExpected,
    LegacyUpdate, attribute_updates, attributes_to_get, check_key_conditions, expected_condition,
    filter_condition, key_conditions,
};
pub use path::{DocumentPath, Element};
pub use placeholders::Placeholders;
pub use projection::Projection;
pub use reserved::is_reserved;
pub use update::{Action, Arithmetic, SetOperand, SetValue, Update};
pub use update_apply::Applied;
pub use wire::WireError;

use crate::ApiError;

/// Which request parameter an expression came in: it decides the grammar and the first words of every error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpressionKind {
    /// `ConditionExpression`.
    Condition,
    /// `FilterExpression`.
    Filter,
    /// `KeyConditionExpression`.
    KeyCondition,
    /// `ProjectionExpression`.
    Projection,
    /// `UpdateExpression`.
    Update,
}

impl ExpressionKind {
    /// The parameter's name in a request.
    pub fn parameter(self) -> &'static str {
        match self {
            ExpressionKind::Condition => "ConditionExpression",
            ExpressionKind::Filter => "FilterExpression",
            ExpressionKind::KeyCondition => "KeyConditionExpression",
            ExpressionKind::Projection => "ProjectionExpression",
            ExpressionKind::Update => "UpdateExpression",
        }
    }

    /// `Invalid <parameter>: <message>`.
    pub(crate) fn invalid(self, message: impl std::fmt::Display) -> ApiError {
        ApiError::validation(format!("Invalid {}: {message}", self.parameter()))
    }
}

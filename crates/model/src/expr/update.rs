//! Bound updates.

use super::path::DocumentPath;
use super::path_set::{PathClash, PathSet};
use crate::{ApiError, AttributeValue};
use std::sync::Arc;

/// `+` or `-` in `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
}

impl Arithmetic {
    /// As written in an expression.
    pub fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
        }
    }
}

/// An operand on the right-hand side of `SET`.
#[derive(Clone, Debug, PartialEq)]
pub enum SetOperand {
    /// What stands at a path; that nothing does is an error.
    Path(DocumentPath),
    /// A value of the request.
    Value(Arc<AttributeValue>),
    /// What stands at the path, else the operand.
    IfNotExists(DocumentPath, Box<SetOperand>),
    /// Both lists, one after the other.
    ListAppend(Box<SetOperand>, Box<SetOperand>),
}

impl SetOperand {
    fn collect_paths<'u>(&'u self, paths: &mut Vec<&'u DocumentPath>) {
        match self {
            SetOperand::Path(path) => paths.push(path),
            SetOperand::Value(_) => {}
            SetOperand::IfNotExists(path, otherwise) => {
                paths.push(path);
                otherwise.collect_paths(paths);
            }
            SetOperand::ListAppend(left, right) => {
                left.collect_paths(paths);
                right.collect_paths(paths);
            }
        }
    }
}

/// The right-hand side of `SET`.
#[derive(Clone, Debug, PartialEq)]
pub enum SetValue {
    /// One operand.
    Operand(SetOperand),
    /// The sum or difference of two.
    Arithmetic(Arithmetic, SetOperand, SetOperand),
}

/// One action of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Puts a value at the path.
    Set(DocumentPath, SetValue),
    /// Removes what stands at the path.
    Remove(DocumentPath),
    /// Adds to a number or a set, creating it if absent.
    Add(DocumentPath, Arc<AttributeValue>),
    /// Takes members out of a set, removing it when none is left.
    Delete(DocumentPath, Arc<AttributeValue>),
}

impl Action {
    /// Where it acts.
    pub fn path(&self) -> &DocumentPath {
        match self {
            Action::Set(path, _) | Action::Remove(path) | Action::Add(path, _) | Action::Delete(path, _) => {
                path
            }
        }
    }
}

/// An update with its placeholders resolved and its operands checked. No two actions touch the same place.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Update {
    actions: Arc<[Action]>,
    /// The actions' paths, with their indexes in `actions`.
    pub(super) tree: Arc<PathSet<usize>>,
    /// Made from `AttributeUpdates`, whose type errors read otherwise.
    is_legacy: bool,
}

impl PartialEq for Update {
    fn eq(&self, other: &Self) -> bool {
        self.actions == other.actions && self.is_legacy == other.is_legacy
    }
}

impl Update {
    pub(super) fn from_parts(actions: Vec<Action>, tree: PathSet<usize>) -> Self {
        Update { actions: actions.into(), tree: Arc::new(tree), is_legacy: false }
    }

    /// An update of these actions, made from `AttributeUpdates`.
    pub(super) fn legacy(actions: Vec<Action>) -> Result<Self, ApiError> {
        Self::of_actions(actions, true).map_err(|clash| ApiError::validation(clash.0))
    }

    /// True if the update was made from `AttributeUpdates`.
    pub fn is_legacy(&self) -> bool {
        self.is_legacy
    }

    /// An update of these actions, which must not touch the same place twice.
    pub(super) fn of_actions(actions: Vec<Action>, is_legacy: bool) -> Result<Self, PathClash> {
        let mut tree = PathSet::default();
        for (index, action) in actions.iter().enumerate().rev() {
            tree.insert(action.path(), index)?;
        }
        Ok(Update { is_legacy, ..Self::from_parts(actions, tree) })
    }

    /// The actions, in the order in which the request listed them.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether the update has actions and each of them is `REMOVE` or `DELETE`. Such an update has no effect
    /// on a key without an item, and creates no item: developer guide, Legacy conditional parameters,
    /// AttributeUpdates ("If no item with the specified Key is found: DELETE - Nothing happens; there is no
    /// attribute to delete"). For expressions it was observed at AWS: scylladb/scylladb issue 5862.
    pub fn only_takes_away(&self) -> bool {
        let takes_away = |action: &Action| matches!(action, Action::Remove(_) | Action::Delete(..));
        !self.actions.is_empty() && self.actions.iter().all(takes_away)
    }

    /// The names of the top-level attributes that the update may change, perhaps repeated.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(|action| action.path().root())
    }

    /// Every path in the update: where it acts and what it reads.
    pub fn paths(&self) -> Vec<&DocumentPath> {
        let mut paths = Vec::new();
        for action in self.actions() {
            paths.push(action.path());
            match action {
                Action::Set(_, SetValue::Operand(operand)) => operand.collect_paths(&mut paths),
                Action::Set(_, SetValue::Arithmetic(_, left, right)) => {
                    left.collect_paths(&mut paths);
                    right.collect_paths(&mut paths);
                }
                _ => {}
            }
        }
        paths
    }

    /// Refuses an update that touches one of the table's key attributes.
    ///
    /// # Errors
    /// `ValidationException` that names the first of `key_attributes` that is touched.
    pub fn check_keys<'k>(&self, key_attributes: impl IntoIterator<Item = &'k str>) -> Result<(), ApiError> {
        match key_attributes.into_iter().find(|key| self.attributes().any(|name| name == *key)) {
            None => Ok(()),
            Some(key) => Err(ApiError::invalid_parameter(format!(
                "Cannot update attribute {key}. This attribute is part of the key"
            ))),
        }
    }
}

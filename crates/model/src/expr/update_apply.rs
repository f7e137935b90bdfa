//! What an update makes of an item. Every right-hand side sees the item as it was before the update.

use super::Projection;
use super::path::{DocumentPath, Element};
use super::path_set::{Branch, Tree};
use super::update::{Action, Arithmetic, SetOperand, SetValue, Update};
use crate::{ApiError, AttributeValue, Item};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An item after an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The item as the update leaves it.
    pub item: Item,
    touched: Vec<DocumentPath>,
}

impl Applied {
    /// The paths that the update named.
    pub fn touched(&self) -> &[DocumentPath] {
        &self.touched
    }

    /// `UPDATED_NEW`: what stands at the touched paths after the update.
    pub fn updated_new(&self) -> Item {
        self.project(&self.item)
    }

    /// `UPDATED_OLD`: what stood at the touched paths in `old`, the item before the update.
    pub fn updated_old(&self, old: &Item) -> Item {
        self.project(old)
    }

    fn project(&self, item: &Item) -> Item {
        // The paths come from one update, so none lies inside another.
        Projection::of_paths(self.touched.clone()).map(|p| p.apply(item)).unwrap_or_default()
    }
}

fn absent() -> ApiError {
    ApiError::validation("The provided expression refers to an attribute that does not exist in the item")
}

fn wrong_type() -> ApiError {
    ApiError::validation("An operand in the update expression has an incorrect data type")
}

fn invalid_path() -> ApiError {
    ApiError::validation("The document path provided in the update expression is invalid for update")
}

/// What one action does to the place that it names.
enum Change {
    Put(AttributeValue),
    Remove,
    Nothing,
}

impl Update {
    /// Applies the update to `item`, which holds the key attributes only when the item did not exist.
    ///
    /// # Errors
    /// `ValidationException` for a path whose parent is missing or of the wrong type, for an operand that is
    /// missing or of the wrong type, and for a number out of range. `item` is then to be left as it was.
    pub fn apply(&self, item: &Item) -> Result<Applied, ApiError> {
        let walk = Walk { update: self, old: item };
        let mut new = item.clone();
        walk.map(self.tree.root(), &mut new)?;
        Ok(Applied { item: new, touched: self.actions().iter().map(|a| a.path().clone()).collect() })
    }
}

struct Walk<'u> {
    update: &'u Update,
    old: &'u Item,
}

impl Walk<'_> {
    fn map(
        &self,
        branch: &Branch<usize>,
        map: &mut BTreeMap<String, AttributeValue>,
    ) -> Result<(), ApiError> {
        for (element, below) in branch.children() {
            let Element::Key(name) = element else { return Err(invalid_path()) };
            match below {
                Tree::Branch(branch) => self.below(branch, map.get_mut(&**name))?,
                Tree::Leaf(action) => match self.change(*action, map.get(&**name))? {
                    Change::Put(value) => {
                        map.insert(name.to_string(), value);
                    }
                    Change::Remove => {
                        map.remove(&**name);
                    }
                    Change::Nothing => {}
                },
            }
        }
        Ok(())
    }

    /// Elements beyond the end are appended in the order of their indexes; removals count by the indexes of
    /// the old list.
    fn list(&self, branch: &Branch<usize>, list: &mut Vec<AttributeValue>) -> Result<(), ApiError> {
        let mut appended: BTreeMap<u32, AttributeValue> = BTreeMap::new();
        let mut removed = Vec::new();
        for (element, below) in branch.children() {
            let Element::Index(index) = element else { return Err(invalid_path()) };
            let slot = list.get_mut(*index as usize);
            match below {
                Tree::Branch(branch) => self.below(branch, slot)?,
                Tree::Leaf(action) => match (self.change(*action, slot.as_deref())?, slot) {
                    (Change::Put(value), Some(slot)) => *slot = value,
                    (Change::Put(value), None) => {
                        appended.insert(*index, value);
                    }
                    (Change::Remove, Some(_)) => removed.push(*index as usize),
                    (Change::Remove, None) | (Change::Nothing, _) => {}
                },
            }
        }
        if !removed.is_empty() {
            let mut index = 0;
            list.retain(|_| {
                index += 1;
                !removed.contains(&(index - 1))
            });
        }
        list.extend(appended.into_values());
        Ok(())
    }

    /// Recursion is bounded by the length of the paths, at most [`crate::limits::MAX_NESTING`].
    fn below(&self, branch: &Branch<usize>, value: Option<&mut AttributeValue>) -> Result<(), ApiError> {
        match value {
            Some(AttributeValue::M(map)) => self.map(branch, map),
            Some(AttributeValue::L(list)) => self.list(branch, list),
            _ => Err(invalid_path()),
        }
    }

    fn change(&self, action: usize, existing: Option<&AttributeValue>) -> Result<Change, ApiError> {
        match self.update.actions().get(action) {
            Some(Action::Set(_, value)) => Ok(Change::Put(self.set_value(value)?)),
            Some(Action::Add(_, value)) => match existing {
                None => Ok(Change::Put((**value).clone())),
                Some(existing) => {
                    Ok(Change::Put(add(existing, value).unwrap_or_else(|| Err(self.mismatch()))?))
                }
            },
            Some(Action::Delete(_, value)) => match existing {
                None => Ok(Change::Nothing),
                Some(existing) => delete(existing, value).ok_or_else(|| self.mismatch()),
            },
            Some(Action::Remove(_)) => Ok(Change::Remove),
            None => Ok(Change::Nothing),
        }
    }

    /// The error of a stored value that `ADD` or `DELETE` does not go together with.
    fn mismatch(&self) -> ApiError {
        if self.update.is_legacy() {
            ApiError::validation("Type mismatch for attribute to update")
        } else {
            wrong_type()
        }
    }

    fn set_value(&self, value: &SetValue) -> Result<AttributeValue, ApiError> {
        match value {
            SetValue::Operand(operand) => Ok(self.operand(operand)?.into_owned()),
            SetValue::Arithmetic(operator, left, right) => {
                let left = self.operand(left)?;
                let left = left.as_n().ok_or_else(wrong_type)?;
                let right = self.operand(right)?;
                let right = right.as_n().ok_or_else(wrong_type)?;
                let sum = match operator {
                    Arithmetic::Add => left.checked_add(right)?,
                    Arithmetic::Subtract => left.checked_sub(right)?,
                };
                Ok(AttributeValue::N(sum))
            }
        }
    }

    fn operand<'v>(&'v self, operand: &'v SetOperand) -> Result<Cow<'v, AttributeValue>, ApiError> {
        match operand {
            SetOperand::Path(path) => path.resolve(self.old).map(Cow::Borrowed).ok_or_else(absent),
            SetOperand::Value(value) => Ok(Cow::Borrowed(value)),
            SetOperand::IfNotExists(path, otherwise) => {
                // The other operand is looked at even when it is not needed: one that is absent is a fault
                // all the same.
                let otherwise = self.operand(otherwise)?;
                Ok(path.resolve(self.old).map_or(otherwise, Cow::Borrowed))
            }
            SetOperand::ListAppend(left, right) => {
                let left = self.operand(left)?;
                let AttributeValue::L(left) = &*left else { return Err(wrong_type()) };
                let right = self.operand(right)?;
                let AttributeValue::L(right) = &*right else { return Err(wrong_type()) };
                let both = left.iter().chain(right).cloned().collect();
                Ok(Cow::Owned(AttributeValue::L(both)))
            }
        }
    }
}

/// The union, sorted: `json::values` sorts the members of sets that come with requests.
fn union<T: Clone + Ord>(existing: &[T], added: &[T]) -> Vec<T> {
    let members: std::collections::BTreeSet<&T> = existing.iter().chain(added).collect();
    members.into_iter().cloned().collect()
}

fn difference<T: Clone + Ord>(existing: &[T], removed: &[T]) -> Vec<T> {
    let removed: std::collections::BTreeSet<&T> = removed.iter().collect();
    existing.iter().filter(|member| !removed.contains(member)).cloned().collect()
}

/// `None` if the types do not go together.
fn add(existing: &AttributeValue, value: &AttributeValue) -> Option<Result<AttributeValue, ApiError>> {
    let sum = match (existing, value) {
        (AttributeValue::N(a), AttributeValue::N(b)) => {
            return Some(a.checked_add(b).map(AttributeValue::N).map_err(ApiError::from));
        }
        (AttributeValue::Ss(a), AttributeValue::Ss(b)) => AttributeValue::Ss(union(a, b)),
        (AttributeValue::Ns(a), AttributeValue::Ns(b)) => AttributeValue::Ns(union(a, b)),
        (AttributeValue::Bs(a), AttributeValue::Bs(b)) => AttributeValue::Bs(union(a, b)),
        // Only the legacy ADD lets a list through to here.
        (AttributeValue::L(a), AttributeValue::L(b)) => {
            AttributeValue::L(a.iter().chain(b).cloned().collect())
        }
        _ => return None,
    };
    Some(Ok(sum))
}

/// `None` if the types do not go together.
fn delete(existing: &AttributeValue, value: &AttributeValue) -> Option<Change> {
    fn left<T>(members: Vec<T>, set: fn(Vec<T>) -> AttributeValue) -> Change {
        if members.is_empty() { Change::Remove } else { Change::Put(set(members)) }
    }
    match (existing, value) {
        (AttributeValue::Ss(a), AttributeValue::Ss(b)) => Some(left(difference(a, b), AttributeValue::Ss)),
        (AttributeValue::Ns(a), AttributeValue::Ns(b)) => Some(left(difference(a, b), AttributeValue::Ns)),
        (AttributeValue::Bs(a), AttributeValue::Bs(b)) => Some(left(difference(a, b), AttributeValue::Bs)),
        _ => None,
    }
}

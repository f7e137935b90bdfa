//! Document paths with their placeholders resolved.

use crate::{AttributeValue, Item};
use std::fmt;
use std::sync::Arc;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// An attribute of an item or a member of a map.
    Key(Arc<str>),
    /// An element of a list, from 0.
    Index(u32),
}

/// A path to an attribute or to something inside it. Never empty, and its first element is always a key.
/// Cheap to clone.
///
/// Displayed as DynamoDB does in messages: `[a, [0], b]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentPath {
    attribute: Arc<str>,
    rest: Arc<[Element]>,
}

impl DocumentPath {
    /// The path to a top-level attribute.
    pub fn attribute(name: impl Into<Arc<str>>) -> Self {
        DocumentPath { attribute: name.into(), rest: Arc::from([]) }
    }

    /// A path from a top-level attribute down.
    pub fn new(attribute: impl Into<Arc<str>>, rest: Vec<Element>) -> Self {
        DocumentPath { attribute: attribute.into(), rest: rest.into() }
    }

    /// The top-level attribute that the path starts at.
    pub fn root(&self) -> &str {
        &self.attribute
    }

    /// The steps below the top-level attribute.
    pub fn rest(&self) -> &[Element] {
        &self.rest
    }

    /// True if the path is a top-level attribute.
    pub fn is_top_level(&self) -> bool {
        self.rest.is_empty()
    }

    /// Every step, the top-level attribute first.
    pub fn elements(&self) -> impl Iterator<Item = Element> + '_ {
        std::iter::once(Element::Key(self.attribute.clone())).chain(self.rest.iter().cloned())
    }

    /// What stands at this path in `item`, if anything does.
    pub fn resolve<'i>(&self, item: &'i Item) -> Option<&'i AttributeValue> {
        let mut value = item.get(&*self.attribute)?;
        for element in self.rest.iter() {
            value = match (element, value) {
                (Element::Key(name), AttributeValue::M(map)) => map.get(&**name)?,
                (Element::Index(index), AttributeValue::L(list)) => list.get(*index as usize)?,
                _ => return None,
            };
        }
        Some(value)
    }
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.attribute)?;
        for element in self.rest.iter() {
            match element {
                Element::Key(name) => write!(f, ", {name}")?,
                Element::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}

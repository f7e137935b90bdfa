//! Projections: the part of an item that a request asks for.

use super::path::{DocumentPath, Element};
use super::path_set::{Branch, PathClash, PathSet, Tree};
use crate::{AttributeValue, Item};
use std::sync::Arc;

/// The paths to return, none inside another. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Projection {
    paths: Arc<[DocumentPath]>,
    tree: Arc<PathSet<()>>,
}

impl PartialEq for Projection {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths
    }
}

impl Projection {
    /// A projection to top-level attributes; one that is named twice counts once.
    pub fn of_attributes<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut paths: Vec<DocumentPath> = Vec::new();
        let mut tree = PathSet::default();
        for name in names {
            let path = DocumentPath::attribute(name);
            if tree.insert(&path, ()).is_ok() {
                paths.push(path);
            }
        }
        Self::from_parts(paths, tree)
    }

    pub(super) fn from_parts(paths: Vec<DocumentPath>, tree: PathSet<()>) -> Self {
        Projection { paths: paths.into(), tree: Arc::new(tree) }
    }

    /// A projection to these paths, which come from an expression that was checked.
    pub(super) fn of_paths(paths: Vec<DocumentPath>) -> Result<Self, PathClash> {
        let mut tree = PathSet::default();
        for path in paths.iter().rev() {
            tree.insert(path, ())?;
        }
        Ok(Self::from_parts(paths, tree))
    }

    /// A projection to the paths that an update named; `None` if they could not all stand in one update.
    pub fn of_update(update: &super::Update) -> Option<Self> {
        Self::of_paths(update.actions().iter().map(|action| action.path().clone()).collect()).ok()
    }

    /// The paths, as the request listed them.
    pub fn paths(&self) -> &[DocumentPath] {
        &self.paths
    }

    /// The names of the top-level attributes that the paths start at, perhaps repeated.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(DocumentPath::root)
    }

    /// What `item` has at the paths, within the maps and lists that enclose it. List elements keep their
    /// order and close ranks. A map or list of which nothing was asked for that is there does not appear.
    pub fn apply(&self, item: &Item) -> Item {
        project_map(self.tree.root(), item)
    }
}

fn project_map(
    branch: &Branch<()>,
    map: &std::collections::BTreeMap<String, AttributeValue>,
) -> std::collections::BTreeMap<String, AttributeValue> {
    let mut found = Item::new();
    for (element, below) in branch.children() {
        let Element::Key(name) = element else { continue };
        if let Some(value) = map.get(&**name).and_then(|value| project(below, value)) {
            found.insert(name.to_string(), value);
        }
    }
    found
}

/// Recursion is bounded by the length of the paths, at most [`crate::limits::MAX_NESTING`].
fn project(tree: &Tree<()>, value: &AttributeValue) -> Option<AttributeValue> {
    let branch = match tree {
        Tree::Leaf(()) => return Some(value.clone()),
        Tree::Branch(branch) => branch,
    };
    match value {
        AttributeValue::M(map) => {
            let found = project_map(branch, map);
            (!found.is_empty()).then_some(AttributeValue::M(found))
        }
        AttributeValue::L(list) => {
            let mut found: Vec<(u32, AttributeValue)> = Vec::new();
            for (element, below) in branch.children() {
                let Element::Index(index) = element else { continue };
                if let Some(value) = list.get(*index as usize).and_then(|value| project(below, value)) {
                    found.push((*index, value));
                }
            }
            found.sort_by_key(|(index, _)| *index);
            (!found.is_empty()).then(|| AttributeValue::L(found.into_iter().map(|(_, v)| v).collect()))
        }
        _ => None,
    }
}

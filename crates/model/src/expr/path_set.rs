//! The set of paths that a projection names or an update writes: no path may lie inside another (*overlap*), and none may treat as a map
//! what another treats as a list (*conflict*).

use super::java_hash;
use super::path::{DocumentPath, Element};
use std::cmp::Reverse;

/// A tree of paths, one level per path element, with a `T` where a path ends.
#[derive(Clone, Debug)]
pub(super) struct PathSet<T> {
    root: Branch<T>,
}

/// A node of the tree: a path ends here, or goes on, never both.
#[derive(Clone, Debug)]
pub(super) enum Tree<T> {
    Leaf(T),
    Branch(Branch<T>),
}

/// The children of a node, in the order in which they came. Either all keys or all indexes.
#[derive(Clone, Debug)]
pub(super) struct Branch<T> {
    children: Vec<(Element, Tree<T>)>,
}

/// Why a path cannot join the set: the text of DynamoDB's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathClash(pub String);

impl<T> Default for PathSet<T> {
    fn default() -> Self {
        PathSet { root: Branch { children: Vec::new() } }
    }
}

impl<T> PathSet<T> {
    /// The top-level attributes.
    pub fn root(&self) -> &Branch<T> {
        &self.root
    }

    /// Adds a path.
    ///
    /// # Errors
    /// If it overlaps or conflicts with one that is already there. Which one the message names is DynamoDB's choice, which is not always
    /// one of the paths at fault: the tree is followed from the node where the fault was found, always by the first child.
    pub fn insert(&mut self, path: &DocumentPath, leaf: T) -> Result<(), PathClash> {
        let mut elements: Vec<Element> = path.elements().collect();
        let Some(last) = elements.pop() else { return Ok(()) };
        let mut branch = &mut self.root;
        for (depth, element) in elements.iter().enumerate() {
            branch.check_kind(path, &elements[..depth], element)?;
            let position = match branch.position(element) {
                Some(found) if matches!(branch.children[found].1, Tree::Leaf(_)) => {
                    return Err(clash("overlap", path, &elements[..depth], branch));
                }
                Some(found) => found,
                None => {
                    let empty = Tree::Branch(Branch { children: Vec::new() });
                    branch.children.push((element.clone(), empty));
                    branch.children.len() - 1
                }
            };
            branch = match &mut branch.children[position].1 {
                Tree::Branch(below) => below,
                Tree::Leaf(_) => return Ok(()),
            };
        }
        branch.check_kind(path, &elements, &last)?;
        if branch.position(&last).is_some() {
            return Err(clash("overlap", path, &elements, branch));
        }
        branch.children.push((last, Tree::Leaf(leaf)));
        Ok(())
    }
}

impl<T> Branch<T> {
    /// The children in the order in which DynamoDB goes through them: by descending bucket of a Java hash map.
    pub fn children(&self) -> Vec<(&Element, &Tree<T>)> {
        let buckets = java_hash::buckets_grown_to(self.children.len());
        let mut ordered: Vec<(&Element, &Tree<T>)> = self.children.iter().map(|(e, t)| (e, t)).collect();
        ordered.sort_by_key(|(element, _)| {
            let hash = match element {
                Element::Key(name) => java_hash::string_hash(name),
                Element::Index(index) => *index,
            };
            Reverse(java_hash::bucket(hash, buckets))
        });
        ordered
    }

    /// The children in the order in which they came, for those to whom order does not matter.
    pub fn unordered(&self) -> impl Iterator<Item = (&Element, &Tree<T>)> {
        self.children.iter().map(|(e, t)| (e, t))
    }

    fn position(&self, element: &Element) -> Option<usize> {
        self.children.iter().position(|(existing, _)| existing == element)
    }

    fn check_kind(
        &self,
        path: &DocumentPath,
        prefix: &[Element],
        element: &Element,
    ) -> Result<(), PathClash> {
        match self.children.first() {
            Some((first, _)) if is_index(first) != is_index(element) => {
                Err(clash("conflict", path, prefix, self))
            }
            _ => Ok(()),
        }
    }
}

fn is_index(element: &Element) -> bool {
    matches!(element, Element::Index(_))
}

fn clash<T>(what: &str, path: &DocumentPath, prefix: &[Element], from: &Branch<T>) -> PathClash {
    let mut other: Vec<String> = prefix.iter().map(shown).collect();
    let mut branch = Some(from);
    while let Some((element, below)) = branch.and_then(|b| b.children().into_iter().next()) {
        other.push(shown(element));
        branch = match below {
            Tree::Branch(below) => Some(below),
            Tree::Leaf(_) => None,
        };
    }
    PathClash(format!(
        "Two document paths {what} with each other; must remove or rewrite one of these paths; path one: {path}, path two: [{}]",
        other.join(", ")
    ))
}

fn shown(element: &Element) -> String {
    match element {
        Element::Key(name) => name.to_string(),
        Element::Index(index) => format!("[{index}]"),
    }
}

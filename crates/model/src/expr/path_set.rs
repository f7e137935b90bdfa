//! The set of paths that a projection names or an update writes: no path may lie inside another (*overlap*),
//! and none may treat as a map what another treats as a list (*conflict*).

use super::path::{DocumentPath, Element};

/// A tree of paths, one level per path element, with a `T` where a path ends.
#[derive(Clone, Debug)]
pub(super) struct PathSet<T> {
    root: Branch<T>,
}

/// A node of the tree: a path ends here or continues, never both.
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
    /// If it overlaps or conflicts with one that is already there: the message names the new one first.
    pub fn insert(&mut self, path: &DocumentPath, leaf: T) -> Result<(), PathClash> {
        let mut elements: Vec<Element> = path.elements().collect();
        let Some(last) = elements.pop() else { return Ok(()) };
        let mut branch = &mut self.root;
        for (depth, element) in elements.iter().enumerate() {
            branch.check_kind(path, &elements[..depth], element)?;
            let position = match branch.position(element) {
                Some(found) if matches!(branch.children[found].1, Tree::Leaf(_)) => {
                    let (existing, _) = elements.split_at(depth + 1);
                    return Err(clash::<T>("overlap", path, existing, None));
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
        if let Some(found) = branch.position(&last) {
            elements.push(last);
            return Err(clash("overlap", path, &elements, Some(&branch.children[found].1)));
        }
        branch.children.push((last, Tree::Leaf(leaf)));
        Ok(())
    }
}

impl<T> Branch<T> {
    /// The children, the last to come first. Paths are inserted from the last of the text to the first, so
    /// this is the order of the text.
    pub fn children(&self) -> impl Iterator<Item = (&Element, &Tree<T>)> {
        self.children.iter().rev().map(|(e, t)| (e, t))
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
            Some((first, below)) if is_index(first) != is_index(element) => {
                let mut existing = prefix.to_vec();
                existing.push(first.clone());
                Err(clash("conflict", path, &existing, Some(below)))
            }
            _ => Ok(()),
        }
    }
}

fn is_index(element: &Element) -> bool {
    matches!(element, Element::Index(_))
}

/// `prefix` and what lies below it, always by the first child, is the path that `path` clashes with.
fn clash<T>(what: &str, path: &DocumentPath, prefix: &[Element], below: Option<&Tree<T>>) -> PathClash {
    let mut other: Vec<String> = prefix.iter().map(shown).collect();
    let mut tree = below;
    while let Some((element, below)) = match tree {
        Some(Tree::Branch(branch)) => branch.children.first(),
        _ => None,
    } {
        other.push(shown(element));
        tree = Some(below);
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

//! Prints parsed expressions as text in one canonical spelling. Parsing that text gives the same tree.

use super::ast::{
    Function, Node, NodeId, ParsedCondition, ParsedProjection, ParsedUpdate, RawElement, Section,
};
use std::fmt::{self, Display, Formatter};

impl Display for ParsedCondition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_node(f, &self.0.nodes, self.0.root)
    }
}

impl Display for ParsedProjection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_list(f, self.0.paths.iter(), |f, path| write_path(f, path))
    }
}

impl Display for ParsedUpdate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut section: Option<Section> = None;
        for action in &self.0.actions {
            match section {
                Some(current) if current == action.section => f.write_str(", ")?,
                Some(_) => write!(f, " {} ", action.section.name())?,
                None => write!(f, "{} ", action.section.name())?,
            }
            section = Some(action.section);
            write_path(f, &action.path)?;
            if let Some(value) = action.value {
                f.write_str(if action.section == Section::Set { " = " } else { " " })?;
                write_node(f, &self.0.nodes, value)?;
            }
        }
        Ok(())
    }
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    list: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (index, element) in list.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, element)?;
    }
    Ok(())
}

fn write_path(f: &mut Formatter<'_>, path: &[RawElement]) -> fmt::Result {
    for (index, element) in path.iter().enumerate() {
        match element {
            RawElement::Name(name) | RawElement::Placeholder(name) => {
                write!(f, "{}{name}", if index > 0 { "." } else { "" })?;
            }
            RawElement::Index(index) => write!(f, "[{index}]")?,
        }
    }
    Ok(())
}

/// What is still to be written.
enum Piece {
    Node(NodeId),
    Text(&'static str),
}

/// Without recursion, because a parsed expression may nest as deep as its text is long.
fn write_node(f: &mut Formatter<'_>, nodes: &[Node], root: NodeId) -> fmt::Result {
    let mut rest = vec![Piece::Node(root)];
    while let Some(piece) = rest.pop() {
        let id = match piece {
            Piece::Text(text) => {
                f.write_str(text)?;
                continue;
            }
            Piece::Node(id) => id,
        };
        let Some(node) = nodes.get(id) else { continue };
        let mut next: Vec<Piece> = Vec::new();
        let binary = |left: &NodeId, operator, right: &NodeId| {
            vec![
                Piece::Node(*left),
                Piece::Text(" "),
                Piece::Text(operator),
                Piece::Text(" "),
                Piece::Node(*right),
            ]
        };
        match node {
            Node::Path(path) => write_path(f, path)?,
            Node::Value(name) => f.write_str(name)?,
            Node::Call(function, arguments) => {
                next.push(Piece::Text(Function::name(*function)));
                push_arguments(&mut next, arguments);
            }
            Node::Paren(inner) => next.extend([Piece::Text("("), Piece::Node(*inner), Piece::Text(")")]),
            Node::Compare(comparator, left, right) => next = binary(left, comparator.symbol(), right),
            Node::And(left, right) => next = binary(left, "AND", right),
            Node::Or(left, right) => next = binary(left, "OR", right),
            Node::Arithmetic(operator, left, right) => next = binary(left, operator.symbol(), right),
            Node::Not(inner) => next.extend([Piece::Text("NOT "), Piece::Node(*inner)]),
            Node::Between(operand, low, high) => {
                next = binary(operand, "BETWEEN", low);
                next.extend([Piece::Text(" AND "), Piece::Node(*high)]);
            }
            Node::In(operand, list) => {
                next.extend([Piece::Node(*operand), Piece::Text(" IN ")]);
                push_arguments(&mut next, list);
            }
        }
        rest.extend(next.into_iter().rev());
    }
    Ok(())
}

fn push_arguments(pieces: &mut Vec<Piece>, arguments: &[NodeId]) {
    pieces.push(Piece::Text("("));
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            pieces.push(Piece::Text(", "));
        }
        pieces.push(Piece::Node(*argument));
    }
    pieces.push(Piece::Text(")"));
}

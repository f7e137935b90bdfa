//! Properties of every expression: printing and parsing agree, encoding and decoding agree, and nothing
//! panics.

use super::*;
use proptest::prelude::*;

fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["a", "s", "b", "m", "l", "ss", "ns", "bs", "t", "nul", "zz", "foo_1"])
            .prop_map(str::to_owned),
        prop::sample::select(vec!["#a", "#m"]).prop_map(str::to_owned),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let element = prop_oneof![
        prop::sample::select(vec!["x", "y", "z", "l", "k", "#a"]).prop_map(|name| format!(".{name}")),
        (0_u32..5).prop_map(|index| format!("[{index}]")),
    ];
    (attribute(), prop::collection::vec(element, 0..3)).prop_map(|(root, rest)| root + &rest.concat())
}

fn value_name() -> impl Strategy<Value = String> {
    let names: Vec<String> = all_values().into_keys().filter(|k| k != ":big").collect();
    prop::sample::select(names)
}

fn operand() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => path(),
        4 => value_name(),
        1 => path().prop_map(|p| format!("size({p})")),
        1 => path().prop_map(|p| format!("({p})")),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let comparator = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (operand(), comparator, operand()).prop_map(|(l, c, r)| format!("{l} {c} {r}")),
        (operand(), operand(), operand()).prop_map(|(x, l, h)| format!("{x} BETWEEN {l} AND {h}")),
        (operand(), prop::collection::vec(operand(), 1..4))
            .prop_map(|(x, list)| format!("{x} IN ({})", list.join(", "))),
        path().prop_map(|p| format!("attribute_exists({p})")),
        path().prop_map(|p| format!("attribute_not_exists({p})")),
        path().prop_map(|p| format!("attribute_type({p}, :S)")),
        (operand(), operand()).prop_map(|(l, r)| format!("begins_with({l}, {r})")),
        (operand(), operand()).prop_map(|(l, r)| format!("contains({l}, {r})")),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("{l} AND {r}")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("{l} OR {r}")),
            inner.clone().prop_map(|c| format!("NOT {c}")),
            inner.prop_map(|c| if c.starts_with('(') { c } else { format!("({c})") }),
        ]
    })
}

fn set_operand() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![path(), value_name()];
    leaf.prop_recursive(3, 8, 1, |inner| {
        (path(), inner).prop_map(|(p, otherwise)| format!("if_not_exists({p}, {otherwise})"))
    })
}

fn update() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        set_operand(),
        (set_operand(), prop::bool::ANY, set_operand())
            .prop_map(|(l, add, r)| format!("{l} {} {r}", if add { "+" } else { "-" })),
        (set_operand(), set_operand()).prop_map(|(l, r)| format!("list_append({l}, {r})")),
    ];
    let list = |s: BoxedStrategy<String>| prop::collection::vec(s, 0..3);
    let set = list((path(), value).prop_map(|(p, v)| format!("{p} = {v}")).boxed());
    let remove = list(path().boxed());
    let member = || (path(), value_name()).prop_map(|(p, v)| format!("{p} {v}")).boxed();
    (set, remove, list(member()), list(member())).prop_map(|(set, remove, add, delete)| {
        let sections = [("SET", set), ("REMOVE", remove), ("ADD", add), ("DELETE", delete)];
        let written: Vec<String> = sections
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name} {}", list.join(", ")))
            .collect();
        written.join(" ")
    })
}

fn attribute_value() -> impl Strategy<Value = AttributeValue> {
    let text = "[a-c]{0,3}";
    let number = || (-3_i64..9).prop_map(Number::from);
    let bytes = || prop::collection::vec(any::<u8>(), 0..3).prop_map(bytes::Bytes::from);
    let leaf = prop_oneof![
        text.prop_map(AttributeValue::S),
        number().prop_map(AttributeValue::N),
        bytes().prop_map(AttributeValue::B),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null),
        prop::collection::btree_set(text, 1..3).prop_map(|s| AttributeValue::Ss(s.into_iter().collect())),
        prop::collection::btree_set(number(), 1..3).prop_map(|s| AttributeValue::Ns(s.into_iter().collect())),
        prop::collection::btree_set(bytes(), 1..3).prop_map(|s| AttributeValue::Bs(s.into_iter().collect())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            prop::collection::btree_map(prop::sample::select(vec!["x", "y", "z", "l", "a"]), inner, 0..4)
                .prop_map(|m| AttributeValue::M(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn random_item() -> impl Strategy<Value = Item> {
    let name = prop::sample::select(vec!["a", "s", "b", "m", "l", "ss", "ns", "bs", "t", "nul"]);
    prop::collection::btree_map(name, attribute_value(), 0..8)
        .prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

/// Text that is nearly an expression.
fn noise() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "(",
        ")",
        ",",
        ".",
        "=",
        "<",
        "<>",
        ">=",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "SET",
        "REMOVE",
        "ADD",
        "DELETE",
        "a",
        "name",
        "#a",
        "#q",
        ":v",
        ":l",
        ":q",
        "[",
        "]",
        "0",
        "12",
        "+",
        "-",
        "size",
        "contains",
        "if_not_exists",
        "list_append",
        "é",
        "!",
        "\u{1f600}",
    ]);
    let spaced = (word, prop::bool::ANY).prop_map(|(w, s)| if s { format!(" {w}") } else { w.to_owned() });
    prop::collection::vec(spaced, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn printed_conditions_parse_to_the_same(text in condition()) {
        let parsed = ParsedCondition::parse(ExpressionKind::Filter, &text);
        if let Ok(parsed) = parsed {
            let again = ParsedCondition::parse(ExpressionKind::Filter, &parsed.to_string());
            prop_assert_eq!(again.map_err(|e| e.message), Ok(parsed));
        }
    }

    #[test]
    fn printed_updates_parse_to_the_same(text in update()) {
        if let Ok(parsed) = ParsedUpdate::parse(&text) {
            prop_assert_eq!(ParsedUpdate::parse(&parsed.to_string()).map_err(|e| e.message), Ok(parsed));
        }
    }

    #[test]
    fn conditions_survive_the_wire(text in condition(), item in random_item()) {
        if let Ok(bound) = bind_condition(&text) {
            let decoded = Condition::decode(&bound.encode());
            prop_assert_eq!(decoded.as_ref(), Ok(&bound));
            prop_assert_eq!(decoded.map(|d| d.matches(&item)), Ok(bound.matches(&item)));
        }
    }

    #[test]
    fn updates_survive_the_wire(text in update(), item in random_item()) {
        if let Ok(bound) = bind_update(&text) {
            let decoded = Update::decode(&bound.encode());
            prop_assert_eq!(decoded.as_ref(), Ok(&bound));
            let outcome = bound.apply(&item);
            prop_assert_eq!(decoded.expect("decodes").apply(&item), outcome.clone());
            if let Ok(applied) = outcome {
                // What was not touched stays, and what UPDATED_* shows is part of the items.
                for (name, value) in &item {
                    if !bound.attributes().any(|touched| touched == name) {
                        prop_assert_eq!(applied.item.get(name), Some(value));
                    }
                }
                for name in applied.updated_new().keys() {
                    prop_assert!(applied.item.contains_key(name));
                }
                for name in applied.updated_old(&item).keys() {
                    prop_assert!(item.contains_key(name));
                }
            }
        }
    }

    #[test]
    fn a_condition_and_its_negation_never_agree(text in condition(), item in random_item()) {
        if let (Ok(plain), Ok(negated)) = (bind_condition(&text), bind_condition(&format!("NOT ({text})"))) {
            prop_assert_ne!(plain.matches(&item), negated.matches(&item));
        }
    }

    #[test]
    fn a_projection_is_part_of_the_item(paths in prop::collection::vec(path(), 1..5), item in random_item()) {
        if let Ok(projection) = bind_projection(&paths.join(",")) {
            let part = projection.apply(&item);
            prop_assert_eq!(projection.apply(&part).len() <= part.len(), true);
            for (name, value) in &part {
                let whole = item.get(name);
                prop_assert!(whole.is_some_and(|w| w.type_name() == value.type_name()));
            }
            for path in projection.paths().iter().filter(|p| p.rest().iter().all(|e| matches!(e, Element::Key(_)))) {
                prop_assert_eq!(path.resolve(&part), path.resolve(&item));
            }
        }
    }

    #[test]
    fn noise_is_refused_without_a_panic(text in noise(), item in random_item()) {
        if let Ok(condition) = bind_condition(&text) {
            condition.matches(&item);
        }
        if let Ok(update) = bind_update(&text) {
            let _ = update.apply(&item);
        }
        if let Ok(projection) = bind_projection(&text) {
            projection.apply(&item);
        }
        let _ = ParsedCondition::parse(ExpressionKind::KeyCondition, &text);
    }

    #[test]
    fn random_bytes_decode_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), item in random_item()) {
        let framed = |kind: u8| [&[1, kind], bytes.as_slice()].concat();
        if let Ok(condition) = Condition::decode(&framed(1)) {
            condition.matches(&item);
            prop_assert_eq!(Condition::decode(&condition.encode()), Ok(condition));
        }
        if let Ok(update) = Update::decode(&framed(2)) {
            let _ = update.apply(&item);
        }
    }
}

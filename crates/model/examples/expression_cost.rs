//! The cost of parsing an expression, compared with finding it in a cache:
//! `cargo run --release -p torc-model --example expression_cost`.

// It measures, so it reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::hint::black_box;
use torc_model::expr::{ExpressionKind, ParsedCondition, ParsedUpdate, Placeholders};
use torc_model::{AttributeValue, Number};

const ROUNDS: u32 = 200_000;
const CONDITION: &str = "attribute_exists(#p) AND #status IN (:open, :held) AND size(notes) < :most AND price BETWEEN :low AND :high";
const UPDATE: &str = "SET #status = :open, price = price + :low, notes = list_append(if_not_exists(notes, :empty), :note) REMOVE kept.#p, entries[3]";

/// Nanoseconds of one call.
fn cost(mut call: impl FnMut()) -> u128 {
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        call();
    }
    start.elapsed().as_nanos() / u128::from(ROUNDS)
}

fn placeholders() -> Placeholders {
    let names = [("#p", "p"), ("#status", "status")];
    let number = |n: i64| AttributeValue::N(Number::from(n));
    let values = [
        (":open", AttributeValue::S("open".into())),
        (":held", AttributeValue::S("held".into())),
        (":most", number(10)),
        (":low", number(1)),
        (":high", number(99)),
        (":empty", AttributeValue::L(Vec::new())),
        (":note", AttributeValue::L(vec![AttributeValue::S("a".into())])),
    ];
    let names: BTreeMap<String, String> = names.map(|(k, v)| (k.into(), v.into())).into();
    Placeholders::new(Some(names), Some(values.map(|(k, v)| (k.to_string(), v)).into()))
        .expect("they are valid")
}

fn main() {
    let condition =
        || ParsedCondition::parse(ExpressionKind::Condition, black_box(CONDITION)).expect("it is valid");
    let update = || ParsedUpdate::parse(black_box(UPDATE)).expect("it is valid");
    let (parsed_condition, parsed_update) = (condition(), update());
    // A cache that is full, as it is where many texts are used.
    for at in 0..300 {
        ParsedCondition::cached(ExpressionKind::Condition, &format!("attribute_exists(#p) AND a{at} = :a"))
            .expect("it is valid");
        ParsedUpdate::cached(&format!("SET #status = :open, a{at} = :a")).expect("it is valid");
    }
    println!(
        "{:>6} ns  parse a condition of {} bytes",
        cost(|| drop(black_box(condition()))),
        CONDITION.len()
    );
    println!("{:>6} ns  parse an update of {} bytes", cost(|| drop(black_box(update()))), UPDATE.len());
    let look_up = || {
        let found = ParsedCondition::cached(ExpressionKind::Condition, black_box(CONDITION));
        drop(black_box(found.expect("it is valid")));
    };
    println!("{:>6} ns  find the condition in the cache instead", cost(look_up));
    let look_up = || drop(black_box(ParsedUpdate::cached(black_box(UPDATE)).expect("it is valid")));
    println!("{:>6} ns  find the update in the cache instead", cost(look_up));
    println!("{:>6} ns  read names and values, for either", cost(|| drop(black_box(placeholders()))));
    let bind = || drop(black_box(parsed_condition.bind(&mut placeholders()).expect("it binds")));
    println!("{:>6} ns  that and bind the condition", cost(bind));
    let bind = || drop(black_box(parsed_update.bind(&mut placeholders()).expect("it binds")));
    println!("{:>6} ns  that and bind the update", cost(bind));
}

//! The results of projections on items.

use super::*;

#[test]
fn of_the_sample() {
    let cases = [
        ("a, s", json!({"a": {"N": "5"}, "s": {"S": "hello"}})),
        ("m.x", json!({"m": {"M": {"x": {"N": "1"}}}})),
        ("m.x, m.l[1]", json!({"m": {"M": {"x": {"N": "1"}, "l": {"L": [{"N": "2"}]}}}})),
        ("l[1], l[0]", json!({"l": {"L": [{"N": "0"}, {"N": "1"}]}})),
        ("l[3][0], l[2].k", json!({"l": {"L": [{"M": {"k": {"S": "v"}}}, {"L": [{"N": "9"}]}]}})),
        ("l[2].zz", json!({})),
        ("l[10], a.b, zz, m.zz.y, l[0][0], s[0]", json!({})),
        ("m.x, m.zz", json!({"m": {"M": {"x": {"N": "1"}}}})),
        ("#m.y.z", json!({"m": {"M": {"y": {"M": {"z": {"S": "deep"}}}}}})),
        ("#n", json!({})),
    ];
    for (text, expected) in cases {
        let projection = bind_projection(text).expect(text);
        assert_eq!(projection.apply(&sample()), item(&expected), "{text}");
    }
}

#[test]
fn of_attributes() {
    let projection = Projection::of_attributes(["a", "m.x", "a"]);
    assert_eq!(projection.attributes().collect::<Vec<_>>(), ["a", "m.x"]);
    let with_dot = item(&json!({"m.x": {"N": "1"}, "m": {"M": {"x": {"N": "2"}}}}));
    assert_eq!(projection.apply(&with_dot), item(&json!({"m.x": {"N": "1"}})));
}

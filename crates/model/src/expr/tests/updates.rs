//! What updates make of an item.

use super::*;

const ABSENT: &str = "The provided expression refers to an attribute that does not exist in the item";
const TYPE: &str = "An operand in the update expression has an incorrect data type";
const PATH: &str = "The document path provided in the update expression is invalid for update";

fn apply(text: &str) -> Result<Applied, String> {
    bind_update(text)?.apply(&sample()).map_err(|e| e.message)
}

/// The attributes that differ from the sample, `NULL` standing for those that are gone.
fn changes(applied: &Applied) -> Item {
    let old = sample();
    let mut changed: Item = applied
        .item
        .iter()
        .filter(|(k, v)| old.get(*k) != Some(*v))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    for gone in old.keys().filter(|k| !applied.item.contains_key(*k)) {
        changed.insert(gone.clone(), AttributeValue::Null);
    }
    changed
}

#[test]
fn of_the_sample() {
    let n = |text: &str| json!({"N": text});
    let (l2, l3) = (json!({"M": {"k": {"S": "v"}}}), json!({"L": [{"N": "9"}]}));
    let list = |elements: &[Value]| json!({"l": {"L": elements}});
    let m = |x: Value, z: Value| json!({"m": {"M": {"x": x, "y": {"M": {"z": z}}, "l": {"L": [{"N": "1"}, {"N": "2"}]}}}});
    let cases: Vec<(&str, Value)> = vec![
        ("SET a = :v", json!({"a": n("1")})),
        ("SET a = a + :v", json!({"a": n("6")})),
        ("SET a = a - a", json!({"a": n("0")})),
        ("SET a = (a) + (:v)", json!({"a": n("6")})),
        ("SET zz = if_not_exists(zz, :v) + :v", json!({"zz": n("2")})),
        ("SET zz = if_not_exists(a, :v)", json!({"zz": n("5")})),
        ("SET zz = if_not_exists(zz, if_not_exists(zy, a))", json!({"zz": n("5")})),
        // Every right-hand side sees the old item.
        ("SET l[0] = l[1], l[1] = l[0]", list(&[n("1"), n("0"), l2.clone(), l3.clone()])),
        ("SET m.y.z = m.x, m.x = m.y.z", m(json!({"S": "deep"}), n("1"))),
        ("SET a = :two, zz = a + :v", json!({"a": n("2"), "zz": n("6")})),
        ("SET l = list_append(:l, l)", list(&[n("7"), n("0"), n("1"), l2.clone(), l3.clone()])),
        ("SET zz = list_append(:l, if_not_exists(zz, :l))", json!({"zz": {"L": [n("7"), n("7")]}})),
        // Lists: beyond the end appends by index; removal counts by the old indexes.
        ("SET l[11] = :v, l[10] = :two", list(&[n("0"), n("1"), l2.clone(), l3.clone(), n("2"), n("1")])),
        ("SET l[10] = :v REMOVE l[0]", list(&[n("1"), l2.clone(), l3.clone(), n("1")])),
        ("REMOVE l[1], l[0]", list(&[l2.clone(), l3.clone()])),
        ("REMOVE l[0] SET l[1] = :nine", list(&[n("9"), l2.clone(), l3.clone()])),
        ("REMOVE l[0], l[2].k", list(&[n("1"), json!({"M": {}}), l3.clone()])),
        ("REMOVE l[3][0]", list(&[n("0"), n("1"), l2.clone(), json!({"L": []})])),
        ("REMOVE l[9], zz, m.zz", json!({})),
        ("REMOVE a, s", json!({"a": {"NULL": true}, "s": {"NULL": true}})),
        ("ADD a :v, zz :two", json!({"a": n("6"), "zz": n("2")})),
        ("ADD l[1] :two, l[10] :v", list(&[n("0"), n("3"), l2, l3, n("1")])),
        ("ADD m.x :v", m(n("2"), json!({"S": "deep"}))),
        (
            "ADD ss :ss, ns :ns, bs :bs",
            json!({
                "ss": {"SS": ["a", "b", "c"]}, "ns": {"NS": ["1", "2", "3"]}, "bs": {"BS": ["p", "q", "r"]}
            }),
        ),
        ("ADD zz :ss", json!({"zz": {"SS": ["b", "c"]}})),
        ("DELETE ss :ss", json!({"ss": {"SS": ["a"]}})),
        ("DELETE ss :ba", json!({"ss": {"NULL": true}})),
        ("DELETE zz :ss, l[9] :ss, m.zz :ss", json!({})),
        (
            "SET a = :v REMOVE s ADD ns :ns DELETE ss :ss",
            json!({
                "a": n("1"), "s": {"NULL": true}, "ns": {"NS": ["1", "2", "3"]}, "ss": {"SS": ["a"]}
            }),
        ),
        ("SET #n = id", json!({"name": {"S": "x"}})),
    ];
    for (text, expected) in cases {
        let applied = apply(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(changes(&applied), item(&expected), "{text}");
    }
}

#[test]
fn what_an_item_refuses() {
    let cases = [
        ("SET a = zz", ABSENT),
        ("SET a = a + zz", ABSENT),
        ("SET a = m.x.y", ABSENT),
        ("SET a = if_not_exists(zz, zy)", ABSENT),
        // Also where it is not needed.
        ("SET zz = if_not_exists(a, zy)", ABSENT),
        ("SET a = list_append(zz, s)", ABSENT),
        ("SET a = list_append(s, zz)", TYPE),
        ("SET a = s + zz", TYPE),
        ("SET a = s + :v", TYPE),
        ("SET a = if_not_exists(zz, :s) + :v", TYPE),
        ("ADD s :v", TYPE),
        ("ADD ss :ns", TYPE),
        ("ADD ns :v", TYPE),
        ("DELETE ss :ns", TYPE),
        ("DELETE a :ss", TYPE),
        ("SET zz.y = :v", PATH),
        ("SET zz[0] = :v", PATH),
        ("SET a.x = :v", PATH),
        ("SET m[0] = :v", PATH),
        ("SET l.x = :v", PATH),
        ("SET l[10].x = :v", PATH),
        ("SET m.n.o = :v", PATH),
        ("REMOVE zz.x", PATH),
        ("REMOVE a[0]", PATH),
        ("ADD zz[0] :v", PATH),
        ("DELETE zz.q :ss", PATH),
        // The parent is looked at before the value.
        ("SET zz.y = s + :v", PATH),
        // DynamoDB Local's answer. The developer guide (Data types, Number) only tells that it is an exception.
        (
            "SET a = :big + :big",
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(apply(text).err().as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn keys_stay() {
    let refused =
        |text: &str| bind_update(text).expect(text).check_keys(["id", "sk"]).err().map(|e| e.message);
    let expected = "One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key";
    for text in ["SET id = :v", "SET id.x = :v", "REMOVE #id", "ADD id :v", "DELETE sk :ss, id :ss"] {
        assert_eq!(refused(text).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(refused("SET a = id REMOVE m.id"), None);
    let update = bind_update("SET a = if_not_exists(id.x, :v)").expect("binds");
    assert_eq!(
        check_key_paths(update.paths(), &["id"], &[]).err().map(|e| e.message).as_deref(),
        Some(
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: id"
        )
    );
    let update = bind_update("SET g[0] = :v").expect("binds");
    let error = check_key_paths(update.paths(), &["id"], &["g"]).expect_err("refused");
    assert!(error.message.ends_with("IndexKey: g"), "{}", error.message);
}

#[test]
fn updated_attributes() {
    let cases = [
        ("SET a = :v REMOVE s", json!({"a": {"N": "5"}, "s": {"S": "hello"}}), json!({"a": {"N": "1"}})),
        (
            "SET m.x = :two, m.n = :v",
            json!({"m": {"M": {"x": {"N": "1"}}}}),
            json!({"m": {"M": {"x": {"N": "2"}, "n": {"N": "1"}}}}),
        ),
        ("SET l[1] = :nine", json!({"l": {"L": [{"N": "1"}]}}), json!({"l": {"L": [{"N": "9"}]}})),
        ("DELETE ss :ba", json!({"ss": {"SS": ["a", "b"]}}), json!({})),
        ("REMOVE zz", json!({}), json!({})),
    ];
    for (text, old, new) in cases {
        let applied = apply(text).expect(text);
        assert_eq!(applied.updated_old(&sample()), item(&old), "{text}");
        assert_eq!(applied.updated_new(), item(&new), "{text}");
    }
}

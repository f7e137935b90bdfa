//! The encoding of bound expressions between nodes.

use super::*;

#[test]
fn a_condition_byte_by_byte() {
    let condition = bind_condition("a = :s AND NOT attribute_exists(m.x[3])").expect("binds");
    let expected = [
        &[1, 1, 0, 2][..],               // version, condition, AND of 2
        &[3, 0, 0, 1, b'a', 0],          // compare, =, path, "a", nothing below
        &[1, 5, 1, 3, b'h', b'e', b'l'], // value of 5 bytes: string "hel"
        &[2, 6, 1, b'm', 2],             // NOT, exists, "m", two elements below
        &[0, 1, b'x', 1, 3],             // key "x", index 3
    ]
    .concat();
    assert_eq!(condition.encode(), expected);
    assert_eq!(Condition::decode(&expected), Ok(condition));
}

#[test]
fn what_is_refused() {
    let condition = bind_condition("a = :s").expect("binds").encode();
    let update = bind_update("SET a = a + :v REMOVE l[0]").expect("binds").encode();
    for length in 0..condition.len() {
        assert!(Condition::decode(&condition[..length]).is_err());
    }
    for length in 0..update.len() {
        assert!(Update::decode(&update[..length]).is_err());
    }
    assert_eq!(Condition::decode(&update), Err(WireError::Kind));
    assert_eq!(Update::decode(&condition).err(), Some(WireError::Kind));
    assert_eq!(Condition::decode(&[2, 1, 0, 0]), Err(WireError::Version(2)));
    assert_eq!(Condition::decode(&[1, 1, 0, 0, 9]), Err(WireError::Trailing));
    assert_eq!(Condition::decode(&[1, 1, 99]), Err(WireError::Malformed));
    // A list that claims more elements than there are bytes.
    assert_eq!(Condition::decode(&[1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Truncated));
    let deep: Vec<u8> = [1, 1].into_iter().chain(std::iter::repeat_n(2, 1_000_000)).collect();
    assert_eq!(Condition::decode(&deep), Err(WireError::TooDeep));
    // The same place twice.
    let twice = [1, 2, 0, 2, 1, 1, b'a', 0, 1, 1, b'a', 0];
    assert_eq!(Update::decode(&twice).err(), Some(WireError::Malformed));
}

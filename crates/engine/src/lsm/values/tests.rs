//! Tests of value files, their pointers and their writer.

use super::format::{HEADER, check_header, header, open_record, put_record};
use super::*;
use crate::lsm::codec::Reader;
use crate::lsm::table::Compression;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;

proptest! {
    #[test]
    fn pointers_and_references_round_trip(file: u64, offset: u64, len: u32, checksum: u64, refs in vec(any::<(u64, u64, u64)>(), 0..5), junk: Vec<u8>) {
        let pointer = Pointer { file, offset, len, checksum };
        let mut data = Vec::new();
        pointer.encode(&mut data);
        prop_assert_eq!(Pointer::decode(&data), Some(pointer));
        for cut in 0..data.len() {
            prop_assert_eq!(Pointer::decode(&data[..cut]), None);
        }
        data.push(0);
        prop_assert_eq!(Pointer::decode(&data), None);
        let _ = Pointer::decode(&junk).is_some_and(|p| p.fits(offset));
        let _ = ValueRef::decode_all(&mut Reader::new(&junk));

        let mut refs: Vec<ValueRef> = refs.into_iter().map(|(file, records, bytes)| ValueRef { file, records, bytes }).collect();
        refs.sort_by_key(|r| r.file);
        refs.dedup_by_key(|r| r.file);
        let mut data = Vec::new();
        ValueRef::encode_all(&refs, &mut data);
        prop_assert_eq!(ValueRef::decode_all(&mut Reader::new(&data)), Some(refs));
    }

    #[test]
    fn records_round_trip_and_every_flip_is_seen(
        records in vec((vec(any::<u8>(), 0..20), vec(0u8..3, 0..400)), 1..5), kind in 0u8..3, number: u64, flip: prop::sample::Index, bit in 0u8..8,
    ) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd(3)][kind as usize];
        let mut data = header(number);
        let mut scratch = Vec::new();
        let mut pointers = Vec::new();
        for (key, value) in &records {
            let at = data.len() as u64;
            pointers.push(put_record(number, at, key, value, compression, &mut scratch, &mut data));
        }
        let path = Path::new("v");
        let mut seen = 0;
        let found = walk(&data, path, |p, k, v| {
            assert_eq!((p, k, v), (pointers[seen], &records[seen].0[..], &records[seen].1[..]));
            assert!(p.fits(data.len() as u64));
            seen += 1;
            Ok(())
        });
        prop_assert_eq!((found.unwrap(), seen), (number, records.len()));
        for cut in 0..data.len() {
            let mut n = 0;
            let whole = walk(&data[..cut], path, |_, _, _| { n += 1; Ok(()) }).is_ok();
            prop_assert_eq!(whole, cut == HEADER || pointers.iter().any(|p| p.offset + u64::from(p.len) == cut as u64));
        }
        // Right bytes in the wrong place.
        let p = pointers[0];
        let sealed = data[p.offset as usize..][..p.len as usize].to_vec();
        prop_assert!(open_record(sealed.clone(), number, p.offset, path).is_ok());
        prop_assert!(open_record(sealed.clone(), number, p.offset + 1, path).is_err());
        prop_assert!(open_record(sealed, number.wrapping_add(1), p.offset, path).is_err());
        let i = flip.index(data.len());
        data[i] ^= 1 << bit;
        prop_assert!(walk(&data, path, |_, _, _| Ok(())).is_err());
    }
}

#[test]
fn another_version_is_refused_with_both_named() {
    let mut data = header(3);
    data[8] = 9;
    let err = check_header(&data, Path::new("x.val")).unwrap_err();
    assert_eq!(err.to_string(), "x.val has format version 9; this binary reads 1");
}

#[test]
fn names() {
    assert_eq!(values_name(42), "000042.val");
    assert_eq!(value_number(Path::new("000042.val")), Some(42));
    assert_eq!(value_number(Path::new("000042.sst")), None);
}

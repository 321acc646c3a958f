//! Tests of the sorter: the order of values, stability, the heap and its bound.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn key(kind: ColumnKind, slot: usize, descending: bool) -> SortKey {
    SortKey {
        name: format!("c{slot}"),
        cell: Cell::Slot(slot),
        kind,
        text: TextComparison::CaseInsensitive,
        zone: None,
        descending,
    }
}

fn sorted(keys: Vec<SortKey>, rows: &[&[Option<&str>]], most: u64) -> Vec<usize> {
    let mut sorter = Sorter::new(keys);
    for (place, row) in rows.iter().enumerate() {
        let cell = |cell: Cell| match cell {
            Cell::Slot(slot) => row[slot].map(str::as_bytes),
            Cell::Place(_) => None,
        };
        sorter.take(cell, most, || Ok(place.to_string().into_bytes())).unwrap();
    }
    sorter.finish().map(|row| String::from_utf8(row.into_vec()).unwrap().parse().unwrap()).collect()
}

#[test]
fn values_are_ordered_by_their_type() {
    for (kind, cells, expected) in [
        (ColumnKind::String, vec![Some("\"b\""), None, Some("\"A\""), Some("\"a\"")], vec![1, 2, 3, 0]),
        (ColumnKind::Int64, vec![Some("10"), Some("9"), Some("null"), Some("-1")], vec![2, 3, 1, 0]),
        (ColumnKind::Double, vec![Some("1.5"), Some("1"), Some("2")], vec![1, 0, 2]),
        (
            ColumnKind::DateTime,
            vec![Some("\"2026-01-01T01:00:00+02:00\""), Some("\"2025-12-31T22:30:00Z\"")],
            vec![1, 0],
        ),
        (ColumnKind::Bool, vec![Some("true"), Some("false"), None], vec![2, 1, 0]),
        (ColumnKind::Any, vec![Some("\"x\""), Some("3"), Some("true"), None], vec![3, 2, 1, 0]),
    ] {
        let rows: Vec<Vec<Option<&str>>> = cells.iter().map(|cell| vec![*cell]).collect();
        let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(sorted(vec![key(kind, 0, false)], &rows, u64::MAX), expected, "{kind:?}");
    }
}

#[test]
fn several_columns_each_in_its_direction_and_equal_rows_as_they_came() {
    let rows: [&[Option<&str>]; 5] = [
        &[Some("\"a\""), Some("1")],
        &[Some("\"a\""), Some("2")],
        &[Some("\"b\""), Some("1")],
        &[Some("\"A\""), Some("2")],
        &[Some("\"b\""), Some("1")],
    ];
    let keys = vec![key(ColumnKind::String, 0, false), key(ColumnKind::Int32, 1, true)];
    assert_eq!(sorted(keys.clone(), &rows, u64::MAX), [1, 3, 0, 2, 4]);
    assert_eq!(sorted(keys, &rows, 2), [1, 3]);
}

#[test]
fn the_heap_keeps_what_a_full_sort_would_give_first() {
    proptest::proptest!(|(numbers in proptest::collection::vec(-50i64..50, 0..200), most in 0u64..50)| {
        let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
        let rows: Vec<Vec<Option<&str>>> = texts.iter().map(|text| vec![Some(text.as_str())]).collect();
        let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
        let mut expected: Vec<usize> = (0..numbers.len()).collect();
        expected.sort_by_key(|place| numbers[*place]);
        expected.truncate(usize::try_from(most).unwrap());
        proptest::prop_assert_eq!(sorted(vec![key(ColumnKind::Int64, 0, false)], &rows, most), expected);
    });
}

#[test]
fn beyond_the_bound_it_refuses_and_with_a_limit_it_does_not() {
    let row = vec![b'x'; 100_000];
    let fill = |most: u64| {
        let mut sorter = Sorter::new(vec![key(ColumnKind::Int64, 0, true)]);
        (0..1000).try_for_each(|number| {
            let text = format!("{number}");
            let cell: &[u8] = text.as_bytes();
            sorter.take(|_| Some(cell), most, || Ok(row.clone()))
        })
    };
    let message = fill(u64::MAX).unwrap_err().to_string();
    assert!(message.contains("sorts by c0") && message.contains("Give a limit"), "{message}");
    assert!(fill(100).is_ok());
}

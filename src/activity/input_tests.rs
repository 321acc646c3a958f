//! Tests of the record readers: what is read, what is refused and where, and that nothing makes them panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read_all(text: &[u8], format: RecordFormat) -> Result<Vec<Value>, String> {
    let mut reader = RecordReader::new(text, format);
    let mut all = Vec::new();
    while let Some(record) = reader.read().map_err(|fault| fault.0)? {
        all.push(Value::Object(record));
    }
    assert_eq!(reader.read(), Ok(None), "after the end there is nothing");
    Ok(all)
}

#[test]
fn records_are_read_in_both_forms() {
    use RecordFormat::{Csv, Ndjson};
    for (format, text, expected) in [
        (Ndjson, "", json!([])),
        (Ndjson, "\n \r\n", json!([])),
        (Ndjson, "{\"a\":1}\r\n\n{\"b\":[\"x\"]}", json!([{"a": 1}, {"b": ["x"]}])),
        (Ndjson, "\u{feff}{\"a\":null}\n", json!([{"a": null}])),
        (Csv, "", json!([])),
        (Csv, "a,b\n", json!([])),
        (Csv, "a,b\n1,\n\"\",\"x,\"\"y\"\"\nz\"\n", json!([{"a": "1"}, {"b": "x,\"y\"\nz"}])),
        (Csv, "\u{feff}a , b\r\n1,2\r\n", json!([{"a": "1", "b": "2"}])),
        // A quote inside an unquoted cell stands for itself.
        (Csv, "a\n[\"x\"]\n", json!([{"a": "[\"x\"]"}])),
        (Csv, "a\n\"[\"\"x\"\"]\"\n", json!([{"a": "[\"x\"]"}])),
    ] {
        let read = read_all(text.as_bytes(), format);
        assert_eq!(read.map(Value::from), Ok(expected), "{text:?}");
    }
}

#[test]
fn what_cannot_be_read_says_where_it_is() {
    use RecordFormat::{Csv, Ndjson};
    let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(LONGEST_RECORD));
    let endless = format!("a\n\"{}", "x".repeat(LONGEST_RECORD + 100_000));
    for (format, text, expected) in [
        (Ndjson, b"{\"a\":1}\n\n{\"b\":}\n".as_slice(), "Record 1 (line 3, column 6)"),
        (Ndjson, b"[1]\n", "Record 0 (line 1) is no JSON object"),
        (Ndjson, b"{\"a\":1} {\"b\":2}\n", "Record 0 (line 1"),
        (Ndjson, b"{\"a\":\xff}\n", "Record 0 (line 1"),
        (Ndjson, long.as_bytes(), "longer than 4194304 bytes"),
        (Csv, b"a,b\n1,2\n1,2,3\n", "Record 1 (line 3) has 3 cells, and the header has 2 columns"),
        (Csv, b"a,A\n", "'A' twice"),
        (Csv, b"a,,b\n", "Column 2 of the CSV header has no name"),
        (Csv, b"a,b\n1,\xff\n", "Record 0 (line 2, cell 2) is not UTF-8"),
        (Csv, endless.as_bytes(), "Record 0 (line 2) is longer"),
    ] {
        let fault = read_all(text, format).err().unwrap_or_default();
        assert!(fault.contains(expected), "{fault}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _either = read_all(&bytes, RecordFormat::Csv);
        let _either = read_all(&bytes, RecordFormat::Ndjson);
    }

    #[test]
    fn what_a_csv_writer_wrote_is_read_back(rows in proptest::collection::vec(proptest::collection::vec("[ -~\n]{0,8}", 3), 0..9)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let read = read_all(&writer.into_inner().unwrap(), RecordFormat::Csv).unwrap();
        let expected: Vec<Value> = rows
            .iter()
            .map(|row| {
                let cells = ["a", "b", "c"].iter().zip(row).filter(|(_, cell)| !cell.is_empty());
                Value::Object(cells.map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect())
            })
            .collect();
        prop_assert_eq!(read, expected);
    }
}

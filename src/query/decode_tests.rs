//! Tests of the decoder: by table, and against serde_json's own tree on arbitrary rows.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn paths(list: &[&str]) -> Vec<Vec<String>> {
    list.iter().map(|path| path.split('/').map(str::to_owned).collect()).collect()
}

fn decode(list: &[&str], row: &str) -> Result<Vec<Option<String>>, String> {
    let decoder = Decoder::new(&paths(list));
    let mut cells = vec![None; decoder.slots()];
    decoder.decode(row.as_bytes(), &mut cells).map_err(|error| error.to_string())?;
    Ok(cells.into_iter().map(|cell| cell.map(|cell| String::from_utf8(cell.to_vec()).unwrap())).collect())
}

#[test]
fn cells_are_the_very_bytes_of_the_row() {
    let row = r#"{"@odata.etag":"W/\"a\"","id":"1","n":1.50e+2,"from":{"emailAddress":{"address":"a@b","name":null}},"tags":["a", "b"],"x":9007199254740993}"#;
    let wanted = [
        "id",
        "@odata.etag",
        "n",
        "from/emailAddress/address",
        "from/emailAddress/name",
        "tags",
        "x",
        "gone",
        "from/gone",
        "id/part",
    ];
    let cells = decode(&wanted, row).unwrap();
    let expected = [
        Some(r#""1""#),
        Some(r#""W/\"a\"""#),
        Some("1.50e+2"),
        Some(r#""a@b""#),
        Some("null"),
        Some(r#"["a", "b"]"#),
        Some("9007199254740993"),
        None,
        None,
        None,
    ];
    assert_eq!(cells.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn a_property_and_its_part_can_both_be_wanted() {
    let cells =
        decode(&["body", "body/content"], r#"{"body":{"contentType":"text","content":"x"}}"#).unwrap();
    assert_eq!(cells[0].as_deref(), Some(r#"{"contentType":"text","content":"x"}"#));
    assert_eq!(cells[1].as_deref(), Some(r#""x""#));
    assert_eq!(
        decode(&["body", "body/content"], r#"{"body":null}"#).unwrap(),
        [Some("null".to_owned()), None]
    );
}

#[test]
fn escaped_keys_and_many_keys_are_found() {
    assert_eq!(decode(&["id"], r#"{"\u0069d":1}"#).unwrap(), [Some("1".to_owned())]);
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let row = format!(
        "{{{}}}",
        names.iter().map(|name| format!("\"{name}\":\"{name}\"")).collect::<Vec<_>>().join(",")
    );
    let cells = decode(&names.iter().map(String::as_str).collect::<Vec<_>>(), &row).unwrap();
    assert!(cells.iter().zip(&names).all(|(cell, name)| cell.as_deref() == Some(&format!("\"{name}\""))));
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for row in [
        "",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{",
        "{}{}",
        "{\"id\":\"a\nb\"}",
        "{\"id\":01}",
        "{\"other\":\"a\nb\"}",
        "{\"id\":1,}",
    ] {
        assert!(decode(&["id"], row).is_err(), "{row:?}");
        assert!(note_keys(row.as_bytes(), &mut Vec::new(), &mut HashSet::new()).is_err(), "{row:?}");
    }
    assert!(Decoder::new(&paths(&["id"])).decode(b"{\"id\":\"\xff\"}", &mut [None]).is_err());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_serde_json(pairs in prop::collection::vec(("[a-c]", json()), 0..5), pretty in any::<bool>()) {
        let row = Value::Object(pairs.into_iter().collect());
        let text = if pretty { serde_json::to_string_pretty(&row) } else { serde_json::to_string(&row) }.unwrap();
        // Read back, because reading a number may round its last digit; cells never do.
        let row: Value = serde_json::from_str(&text).unwrap();
        let wanted = ["a", "b", "a/b", "c/a", "c/a/b", "c/c/c"];
        let cells = decode(&wanted, &text).unwrap();
        for (path, cell) in wanted.iter().zip(cells) {
            let mut expected = Some(&row);
            for key in path.split('/') {
                expected = expected.and_then(|value| value.as_object()).and_then(|object| object.get(key));
            }
            let found: Option<Value> = cell.map(|cell| serde_json::from_str(&cell).unwrap());
            prop_assert_eq!(found.as_ref(), expected, "{} in {}", path, text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(row in prop::collection::vec(any::<u8>(), 0..40)) {
        let decoder = Decoder::new(&paths(&["a", "a/b"]));
        let mut cells = [None; 2];
        let _refused_or_not = decoder.decode(&row, &mut cells);
    }
}

//! Tests of what the agent compares: the rows are written as the service writes them.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::super::condition::check;
use super::super::request::{Condition, Operator};
use super::*;
use crate::catalog::ColumnKind;

fn holds(kind: ColumnKind, operator: &str, value: Value, cell: Option<&str>) -> bool {
    let column = Column::property("c".to_owned(), vec!["c".to_owned()], kind);
    on(&column, operator, value, cell)
}

fn on(column: &Column, operator: &str, value: Value, cell: Option<&str>) -> bool {
    let operator: Operator = serde_json::from_value(json!(operator)).unwrap();
    let checked = check(column, &Condition { field: "c".to_owned(), operator, value }).unwrap();
    Residual::new(&checked, &mut |_| 0).holds(&[cell.map(str::as_bytes)]).unwrap()
}

#[test]
fn rows_are_compared_as_the_service_does() {
    use ColumnKind::{Any, Bool, DateTime, Double, Guid, Int64, Json, String, Time};
    for (kind, operator, value, cell, expected) in [
        (String, "=", json!("Straße"), Some("\"STRAßE\""), true),
        (String, "=", json!("a\"b"), Some("\"a\\\"b\""), true),
        (String, "=", json!("a"), None, false),
        (String, "!=", json!("a"), None, true),
        (String, "!=", json!("a"), Some("null"), true),
        (String, "!=", json!("a"), Some("\"A\""), false),
        (String, ">", json!("a"), Some("\"b\""), true),
        (String, ">", json!("a"), None, false),
        (String, "like", json!("%port%"), Some("\"Re\\u0050ort\""), true),
        (String, "like", json!("R_port%x"), Some("\"report 7X\""), true),
        (String, "like", json!("%"), None, false),
        (String, "like", json!("%"), Some("\"\""), true),
        (String, "contains", json!("B"), Some("\"abc\""), true),
        (String, "starts-with", json!("AB"), Some("\"abc\""), true),
        (String, "in", json!(["x", "ABC"]), Some("\"abc\""), true),
        (String, "is null", json!(null), Some("null"), true),
        (String, "is not null", json!(null), Some("\"\""), true),
        (String, "ends-with", json!("BC"), Some("\"abc\""), true),
        (String, "not ends-with", json!("BC"), Some("\"abc\""), false),
        (String, "not ends-with", json!("BC"), None, true),
        (String, "not like", json!("a%c"), Some("\"abd\""), true),
        (String, "not in", json!(["x", "ABC"]), Some("\"abc\""), false),
        (String, "not in", json!(["x", "ABC"]), None, true),
        (Int64, "between", json!([1, 3]), Some("3"), true),
        (Int64, "between", json!([1, 3]), None, false),
        (Int64, "not between", json!([1, 3]), Some("4"), true),
        (Int64, "not between", json!([1, 3]), Some("1"), false),
        (Int64, "not between", json!([1, 3]), None, true),
        (Bool, "=", json!(true), Some("true"), true),
        (Bool, "!=", json!(true), Some("false"), true),
        (Int64, ">=", json!(9_007_199_254_740_993_i64), Some("9007199254740992"), false),
        (Double, "<", json!(1.5), Some("1"), true),
        (DateTime, "=", json!("2026-01-31T09:00:00+01:00"), Some("\"2026-01-31T08:00:00.0000000Z\""), true),
        (DateTime, ">", json!("2026-01-31"), Some("\"2026-01-31T00:00:01Z\""), true),
        (Time, "=", json!("08:00:00"), Some("\"08:00:00.0000000\""), true),
        (
            Guid,
            "=",
            json!("9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11"),
            Some("\"9d2b4e0c-5f3a-4c8e-8a51-0e6a3f1f7c11\""),
            true,
        ),
        (Json, "contains", json!("red"), Some("[\"Red category\"]"), true),
        (Json, "contains", json!("\",\""), Some("[\"a\",\"b\"]"), false),
        (Json, "contains", json!("u1"), Some("{\"u1\":{\"@odata.type\":\"x\"}}"), true),
        (Json, "contains", json!("odata"), Some("{\"u1\":{\"@odata.type\":\"odata\"}}"), false),
        (Any, "=", json!(5), Some("5.0"), true),
        (Any, "=", json!(5), Some("\"5\""), false),
        (Any, "!=", json!(5), Some("\"5\""), true),
    ] {
        assert_eq!(
            holds(kind, operator, value.clone(), cell),
            expected,
            "{kind:?} {operator} {value} on {cell:?}"
        );
    }
}

#[test]
fn a_collection_is_compared_by_its_members() {
    let mut categories = Column::property("c".to_owned(), vec!["c".to_owned()], ColumnKind::Json);
    categories.members = Some(ColumnKind::String);
    let kept = Some(r#"["Keep","Blue"]"#);
    for (operator, value, cell, expected) in [
        ("=", json!("keep"), kept, true),
        ("=", json!("Kee"), kept, false),
        ("=", json!(r#"["Keep","Blue"]"#), kept, false),
        ("!=", json!("Keep"), kept, false),
        ("!=", json!("Red"), kept, true),
        ("!=", json!("Keep"), Some("[]"), true),
        ("!=", json!("Keep"), None, true),
        ("in", json!(["Red", "Blue"]), kept, true),
        ("not in", json!(["Red", "Blue"]), kept, false),
        ("not in", json!(["Red"]), kept, true),
        ("contains", json!("ee"), kept, true),
        ("contains", json!("Keep\",\"B"), kept, false),
        ("not contains", json!("ee"), kept, false),
        ("starts-with", json!("bl"), kept, true),
        ("like", json!("B_ue"), kept, true),
        ("like", json!("blue"), kept, true),
        ("like", json!("%"), Some("[ ]"), false),
        ("is null", json!(null), Some("[ ]"), true),
        ("is not null", json!(null), kept, true),
    ] {
        assert_eq!(on(&categories, operator, value.clone(), cell), expected, "{operator} {value} {cell:?}");
    }
    categories.members = Some(ColumnKind::Json);
    let people = Some(r#"[{"emailAddress":{"name":"Adele","address":"adele@contoso.com"}}]"#);
    assert!(on(&categories, "contains", json!("ADELE@"), people));
    assert!(!on(&categories, "contains", json!("emailAddress"), people), "a name of the type is no data");
}

#[test]
fn a_local_time_is_a_moment_of_its_zone() {
    let mut end = Column::property("c".to_owned(), vec!["c".to_owned()], ColumnKind::String);
    end.zone = Some(vec!["z".to_owned()]);
    let ends = |operator: &str, value: Value, cell: &str, zone: &str| {
        let operator: Operator = serde_json::from_value(json!(operator)).unwrap();
        let checked = check(&end, &Condition { field: "c".to_owned(), operator, value }).unwrap();
        let residual = Residual::new(&checked, &mut |column| usize::from(column.name == "z"));
        residual.holds(&[Some(cell.as_bytes()), Some(zone.as_bytes())])
    };
    let ten = json!("2026-10-26T10:00:00+02:00");
    for (operator, cell, zone, expected) in [
        ("<", "\"2026-10-26T07:00:00.0000000\"", "\"UTC\"", true),
        ("<", "\"2026-10-26T09:30:00.0000000\"", "\"UTC\"", false),
        ("<", "\"2026-10-26T09:30:00.0000000\"", "\"Tokyo Standard Time\"", true),
        ("=", "\"2026-10-26T01:00:00.0000000\"", "\"America/Los_Angeles\"", true),
        ("!=", "\"2026-10-26T01:00:00.0000000\"", "\"Pacific Standard Time\"", false),
        ("=", "\"2026-10-26T08:00:00\"", "null", true),
        (">", "\"9999-12-31T23:59:59.9999999\"", "\"UTC\"", true),
        ("<", "\"0001-01-01T00:00:00.0000000\"", "\"UTC\"", true),
    ] {
        assert_eq!(ends(operator, ten.clone(), cell, zone), Ok(expected), "{operator} {cell} {zone}");
    }
    let unknown = ends("!=", ten, "\"2026-10-26T07:00:00\"", "\"Customized Time Zone\"");
    assert!(unknown.unwrap_err().contains("'Customized Time Zone'"), "neither yes nor no");
    for value in [json!("tomorrow"), json!("10/26/2026"), json!(5), json!("2026-10-26T10:00:00[UTC]")] {
        let condition = Condition { field: "c".to_owned(), operator: Operator::Equal, value };
        let message = check(&end, &condition).unwrap_err().to_string();
        assert!(message.contains("'c' is a moment, and"), "{message}");
    }
}

#[test]
fn identifiers_that_differ_by_case_are_different() {
    let id = Column::property("id".to_owned(), vec!["id".to_owned()], ColumnKind::String);
    for (operator, value, expected) in [
        ("=", json!("AAMkCaseA"), true),
        ("=", json!("AAMkCasea"), false),
        ("!=", json!("AAMkCasea"), true),
        ("in", json!(["AAMkCasea", "AAMkCASEa"]), false),
        ("not in", json!(["AAMkCasea", "AAMkCASEa"]), true),
        ("starts-with", json!("AAMKCASE"), false),
        ("like", json!("AAMkC%A"), true),
        ("like", json!("AAMkC%a"), false),
        ("not contains", json!("CaseA"), false),
    ] {
        assert_eq!(on(&id, operator, value.clone(), Some("\"AAMkCaseA\"")), expected, "{operator} {value}");
    }
    let uuid = "9D2B4E0C-5F3A-4C8E-8A51-0E6A3F1F7C11";
    let chat = format!("\"19:{uuid}@thread.v2\"");
    assert!(on(&id, "contains", json!(uuid), Some(&chat)), "a part of an identifier is no UUID");
    assert!(!on(&id, "contains", json!(uuid.to_lowercase()), Some(&chat)));
    let row = format!("\"{}\"", uuid.to_lowercase());
    for (operator, value) in
        [("=", uuid), ("starts-with", "9D2B"), ("like", "9D2B%C_1"), ("contains", "4C8E")]
    {
        assert!(on(&id, operator, json!(value), Some(&row)), "{operator}: the digits of a UUID have no case");
    }
}

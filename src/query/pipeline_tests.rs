//! Tests of the pipeline: residual conditions, offset, limit, caps and rows of unknown shape.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::super::plan::plan;
use super::super::test_support::connection;
use super::*;

fn pipeline(request: Value) -> Pipeline {
    Pipeline::new(
        plan(
            &crate::catalog::Catalog::embedded(),
            &serde_json::from_value(request).unwrap(),
            &connection(|_| {}),
            None,
            crate::clock::Timestamp::default(),
        )
        .unwrap(),
    )
}

/// Pushes pages of rows; returns the text and the end.
fn run(pipeline: &mut Pipeline, encoding: Encoding, pages: &[&[&str]]) -> (String, Option<End>) {
    let mut out = Vec::new();
    let mut end = None;
    for page in pages {
        let rows = || page.iter().map(|row| row.as_bytes());
        if pipeline.wants_sample(encoding) {
            pipeline.sample(rows()).unwrap();
        }
        end = pipeline.push(rows(), &[b"\"a@b.c\"".to_vec()], encoding, &mut out).unwrap();
        if end.is_some() {
            break;
        }
    }
    (String::from_utf8(out).unwrap(), end)
}

#[test]
fn named_columns_come_in_their_order_with_constants_and_nulls() {
    let request = json!({"object": "Messages", "fields": ["from_emailAddress_address", "id", "UserId", "etag"],
        "conditions": [{"field": "UserId", "operator": "=", "value": "a@b.c"}]});
    let rows: &[&str] = &[
        r#"{"@odata.etag":"W/1","id":"1","from":{"emailAddress":{"name":"x","address":"y"}}}"#,
        r#"{"id":"2","from":null}"#,
    ];
    let (text, end) = run(&mut pipeline(request), Encoding::Json, &[rows]);
    let expected = concat!(
        r#"{"from_emailAddress_address":"y","id":"1","UserId":"a@b.c","Etag":"W/1"},"#,
        r#"{"from_emailAddress_address":null,"id":"2","UserId":"a@b.c","Etag":null}"#
    );
    assert_eq!((text.as_str(), end), (expected, None));
}

#[test]
fn residual_offset_and_limit_are_applied_in_that_order_over_pages() {
    let request = json!({"object": "Messages", "fields": ["id"], "limit": 2, "offset": 1,
        "conditions": [{"field": "bodyPreview", "operator": "contains", "value": "yes"}]});
    let row =
        |id: u32, yes: bool| format!(r#"{{"id":"{id}","bodyPreview":"{}"}}"#, if yes { "YES" } else { "no" });
    let texts: Vec<String> = (0..8).map(|id| row(id, id % 2 == 0)).collect();
    let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut pipeline = pipeline(request);
    let (text, end) = run(&mut pipeline, Encoding::Ndjson, &[&rows[..3], &rows[3..]]);
    assert_eq!(text, "{\"id\":\"2\"}\n{\"id\":\"4\"}\n");
    assert_eq!((end, pipeline.delivered()), (Some(End::complete()), 2));
}

#[test]
fn a_cap_says_so_only_when_it_cut_something() {
    let rows: &[&str] = &[r#"{"id":"1"}"#, r#"{"id":"2"}"#, r#"{"id":"3"}"#];
    for (cap, incomplete) in [(2, true), (3, false), (4, false)] {
        let mut pipeline = pipeline(json!({"object": "Messages", "fields": ["id"]}));
        pipeline.cap(cap);
        let (text, end) = run(&mut pipeline, Encoding::Json, &[rows]);
        assert_eq!(text.matches("id").count() as u64, cap.min(3));
        assert_eq!(
            end.is_some_and(|end| !end.complete && end.reason.unwrap().contains("AnswerRows")),
            incomplete,
            "{cap}"
        );
    }
}

#[test]
fn a_limit_is_no_cap() {
    let mut pipeline = pipeline(json!({"object": "Messages", "fields": ["id"], "limit": 1}));
    pipeline.cap(1);
    let (_, end) = run(&mut pipeline, Encoding::Json, &[&[r#"{"id":"1"}"#, r#"{"id":"2"}"#]]);
    assert_eq!(end, Some(End::complete()));
}

#[test]
fn whole_rows_keep_every_property_and_list_the_columns_seen() {
    let mut pipeline = pipeline(json!({"object": "/me/mailFolders"}));
    let (text, _) = run(
        &mut pipeline,
        Encoding::Ndjson,
        &[&["{\n \"id\": \"1\"\n}"], &[r#"{"id":"2","new":{"a":[1]}}"#]],
    );
    assert_eq!(text, "{\"id\":\"1\"}\n{\"id\":\"2\",\"new\":{\"a\":[1]}}\n");
    let names: Vec<String> = pipeline.columns().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["id", "new"]);
}

#[test]
fn whole_rows_in_csv_never_lose_a_property_silently() {
    let mut pipeline = pipeline(json!({"object": "/me/mailFolders"}));
    let (text, _) = run(
        &mut pipeline,
        Encoding::Csv,
        &[&[r#"{"id":"1"}"#, r#"{"id":"2","b":[1, 2]}"#], &[r#"{"b":null}"#]],
    );
    assert_eq!(text, "id,b\r\n1,\r\n2,\"[1, 2]\"\r\n,\r\n");
    let error = pipeline
        .push([r#"{"id":"3","late":1}"#.as_bytes()].into_iter(), &[], Encoding::Csv, &mut Vec::new())
        .unwrap_err();
    assert!(error.to_string().contains("Row 4 has the property 'late'"), "{error}");
}

#[test]
fn a_row_that_is_not_json_ends_the_query() {
    let mut pipeline = pipeline(json!({"object": "Messages", "fields": ["id"]}));
    let error = pipeline
        .push([b"{\"id\":".as_slice()].into_iter(), &[], Encoding::Json, &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, QueryError::Graph(GraphError::BadAnswer { .. })), "{error}");
}

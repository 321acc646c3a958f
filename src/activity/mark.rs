//! Marks that let the agent find a record again whose creation got no answer. Where Graph itself recognises a repeat
//! (`transactionId` of an event) the mark goes there; on the other items of a mailbox it is an extended property, which no
//! mail program shows and which can be filtered by. Pure.
//!
//! Facts: "event resource type" (`transactionId`), "Create singleValueLegacyExtendedProperty" (which resources, and
//! inside a new one), "Get singleValueLegacyExtendedProperty" (filter and expand) of the Graph reference.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::kept::hex;
use crate::graph::{Effect, GraphRequest};

/// The extended property's id: a named string property in a property set of our own.
const PROPERTY: &str = "String {6f0a3b4e-91c2-4d0e-8a77-2c53d1f4be09} Name o365-agent-record";
/// Collections whose new items may carry extended properties, by the last segment of their path.
const MARKABLE: [&str; 6] =
    ["messages", "contacts", "mailFolders", "childFolders", "contactFolders", "calendars"];

/// How the records of one write are marked.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// The same for all records, and for every repeat with the same key.
    pub(super) prefix: String,
    /// Whether items are marked that Graph does not recognise by itself.
    pub(super) with_property: bool,
}

impl Marks {
    fn value(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// Marks the body of the new record with that index, which is posted to `path`; tells what may be repeated.
    pub(super) fn put(
        &self,
        index: usize,
        path: &str,
        mailbox: Option<&str>,
        body: &mut Map<String, Value>,
    ) -> Effect {
        match last_segment(path) {
            _ if mailbox.is_none() => Effect::Once,
            // Graph takes a second POST with the same transactionId for the first one, which makes an event the one record
            // that can be sent again when its outcome is unknown.
            "events" => {
                if body.get("transactionId").is_none_or(Value::is_null) {
                    body.insert("transactionId".to_owned(), Value::from(self.transaction_id(index)));
                }
                Effect::Repeatable
            }
            last if self.with_property && MARKABLE.contains(&last) => {
                let property = json!({"id": PROPERTY, "value": self.value(index)});
                let properties = body.entry("singleValueExtendedProperties").or_insert_with(|| json!([]));
                // Not an array: Graph refuses the record as it is, which is what its author has to hear.
                if let Value::Array(properties) = properties {
                    properties.push(property);
                }
                Effect::Once
            }
            _ => Effect::Once,
        }
    }

    /// In the form of a UUID, the same for every repeat.
    fn transaction_id(&self, index: usize) -> String {
        let hex = hex(digest(&SHA256, self.value(index).as_bytes()).as_ref());
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    /// The request that finds out what became of `request`, if there is one: for a marked record the search for its mark,
    /// for a deletion whether the record is still there.
    pub(super) fn question(&self, index: usize, request: &GraphRequest) -> Option<GraphRequest> {
        let query = match request.method {
            http::Method::DELETE => "$select=id".to_owned(),
            http::Method::POST
                if self.with_property
                    && request.mailbox.is_some()
                    && MARKABLE.contains(&last_segment(&request.path)) =>
            {
                self.search(index, "id")
            }
            _ => return None,
        };
        // A reference is there as long as the record is found through it.
        let path = request.path.strip_suffix("/$ref").unwrap_or(&request.path);
        if path.contains('?') {
            return None;
        }
        let path = format!("{path}?{query}");
        let headers = request.headers.iter().filter(|(name, _)| *name == "Prefer").cloned().collect();
        Some(GraphRequest {
            method: http::Method::GET,
            path,
            headers,
            body: None,
            mailbox: request.mailbox.clone(),
            effect: Effect::Repeatable,
        })
    }

    /// The query for the records that carry the mark, with the columns `select`.
    pub(super) fn search(&self, index: usize, select: &str) -> String {
        let filter = format!(
            "singleValueExtendedProperties/any(ep: ep/id eq '{PROPERTY}' and ep/value eq '{}')",
            self.value(index)
        );
        let expand = format!("singleValueExtendedProperties($filter=id eq '{PROPERTY}')");
        format!("$select={select}&$top=5&$filter={}&$expand={}", encoded(&filter), encoded(&expand))
    }

    /// The ids of the records in `answer` that carry the mark. A service that ignored the filter answers others too.
    pub(super) fn found(&self, index: usize, answer: &Value) -> Vec<String> {
        self.rows(index, answer).filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    }

    /// The records in `answer` that carry the mark.
    pub(super) fn rows<'a>(&self, index: usize, answer: &'a Value) -> impl Iterator<Item = &'a Value> {
        let value = self.value(index);
        let marked = move |row: &&Value| {
            let properties = row["singleValueExtendedProperties"].as_array();
            properties.into_iter().flatten().any(|property| property["value"] == value.as_str())
        };
        let rows = answer["value"].as_array().into_iter().flatten();
        rows.filter(marked)
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(with_property: bool) -> Marks {
        Marks { prefix: "abc".to_owned(), with_property }
    }

    fn request(method: http::Method, path: &str) -> GraphRequest {
        GraphRequest {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            mailbox: Some("me".to_owned()),
            effect: Effect::Once,
        }
    }

    #[test]
    fn a_mark_goes_where_the_service_lets_it_be_found() {
        for (path, mailbox, with, key, effect) in [
            ("me/contacts", Some("me"), true, Some("singleValueExtendedProperties"), Effect::Once),
            (
                "users/a/mailFolders/b/messages",
                Some("a"),
                true,
                Some("singleValueExtendedProperties"),
                Effect::Once,
            ),
            ("me/contacts", Some("me"), false, None, Effect::Once),
            ("me/events", Some("me"), false, Some("transactionId"), Effect::Repeatable),
            ("users", None, true, None, Effect::Once),
            ("groups/g/events", None, true, None, Effect::Once),
            ("me/messages/x/attachments", Some("me"), true, None, Effect::Once),
        ] {
            let mut body = Map::new();
            assert_eq!(marks(with).put(7, path, mailbox, &mut body), effect, "{path}");
            assert_eq!(body.keys().next().map(String::as_str), key, "{path}");
        }
        let mut body = Map::new();
        body.insert(
            "singleValueExtendedProperties".to_owned(),
            json!([{"id": "String {x} Name y", "value": "z"}]),
        );
        marks(true).put(7, "me/contacts", Some("me"), &mut body);
        assert_eq!(body["singleValueExtendedProperties"][1]["value"], "abc-7");
        let mut given = Map::new();
        given.insert("transactionId".to_owned(), json!("mine"));
        marks(true).put(7, "me/events", Some("me"), &mut given);
        assert_eq!(given["transactionId"], "mine");
        assert_eq!(marks(true).transaction_id(1), marks(true).transaction_id(1));
        assert_ne!(marks(true).transaction_id(1), marks(true).transaction_id(2));
        assert_eq!(marks(true).transaction_id(1).len(), 36);
    }

    #[test]
    fn only_what_can_be_found_out_is_asked() {
        let asked =
            |method, path: &str, with| marks(with).question(3, &request(method, path)).map(|ask| ask.path);
        let by_mark = asked(http::Method::POST, "me/contacts", true).unwrap_or_default();
        assert!(by_mark.starts_with("me/contacts?$select=id&$top=5&$filter=singleValue"), "{by_mark}");
        assert!(by_mark.contains("abc%2D3"), "{by_mark}");
        assert_eq!(asked(http::Method::POST, "me/contacts", false), None);
        assert_eq!(asked(http::Method::POST, "me/events", true), None);
        assert_eq!(asked(http::Method::PATCH, "me/contacts/1", true), None);
        assert_eq!(
            asked(http::Method::DELETE, "me/contacts/1", false).as_deref(),
            Some("me/contacts/1?$select=id")
        );
    }

    #[test]
    fn rows_without_the_mark_are_not_ours() {
        let row = |id: &str, value: &str| json!({"id": id, "singleValueExtendedProperties": [{"id": PROPERTY, "value": value}]});
        let answer = json!({"value": [{"id": "a"}, row("b", "abc-1"), row("c", "abc-10")]});
        assert_eq!(marks(true).found(1, &answer), ["b"]);
        assert!(marks(true).found(1, &json!({"error": 1})).is_empty());
    }
}

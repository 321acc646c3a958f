//! What an answer to a request is, by the facts: rows of some object, bytes, a number. Never sends, never reads an answer.

use std::sync::Arc;

use super::facts::{Facts, TypeId, TypeKind};
use super::facts_line::TypeRef;
use super::library::Catalog;
use super::object::Object;
use super::path::GraphPath;
use super::path_object::PathObject;
use super::walk::{Target, Walk, walk};

/// What an answer is.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Rows or one record of this object.
    Rows(Arc<Object>),
    /// Bytes, or text that is no JSON.
    Bytes,
    /// A number as text.
    Count,
    /// References to entities.
    References,
    /// Nothing: an action without an answer, a removal.
    Nothing,
    /// The answers to a batch.
    Batch,
    /// What the pre-signed address of an upload session answers: the state of the session (the first) or, at its end, the
    /// file (the second).
    Upload(Arc<Object>, Arc<Object>),
    /// The facts do not know the path: from this segment on.
    Unknown(String),
}

impl Catalog {
    /// What the service answers to `method` (`GET`, in any case) at `url`, which may be a whole address or a path with or
    /// without version and query.
    pub fn answer(&self, method: &str, url: &str) -> Answer {
        let Ok(path) = GraphPath::reference(url) else { return Answer::Unknown(url.to_owned()) };
        let facts = self.facts();
        let segments = path.segments();
        match segments {
            [only] if only.eq_ignore_ascii_case("$batch") => return Answer::Batch,
            [only] if only.eq_ignore_ascii_case("$metadata") => return Answer::Bytes,
            // "driveItem: createUploadSession": the address is the storage service's own and opaque but for this.
            [first, _] if first == "up" => {
                let of = |name: &str| {
                    let target = returned(facts, TypeRef { name, collection: false });
                    let place = PathObject::leading_to(path.clone(), facts, &target, Vec::new());
                    Arc::new(Object::of_place(place, facts.clone()))
                };
                return Answer::Upload(of("uploadSession"), of("driveItem"));
            }
            _ => {}
        }
        let walked = walk(facts, segments);
        let changes = !method.eq_ignore_ascii_case("GET");
        let target = match walked.target.clone() {
            // A new record of a collection answers as one record.
            Target::Entities(kind) if changes => Target::Entity(kind),
            Target::Action => match walked.operations.iter().find_map(|operation| operation.answer) {
                Some(answer) => returned(facts, answer),
                None => return Answer::Nothing,
            },
            // Bytes that are put answer with the entity that now has them.
            Target::Stream if changes => match walked.types.iter().rev().find_map(|kind| *kind) {
                Some(kind) => Target::Entity(kind),
                None => return Answer::Bytes,
            },
            Target::Stream => return Answer::Bytes,
            Target::Count => return Answer::Count,
            Target::Reference { .. } => return Answer::References,
            Target::Unknown => return Answer::Unknown(first_unknown(facts, segments)),
            other => other,
        };
        let Walk { pattern, .. } = walked;
        let place = PathObject::leading_to(path, facts, &target, pattern);
        Answer::Rows(Arc::new(Object::of_place(place, facts.clone())))
    }

    /// The object that a row is when it says its own type (`@odata.type`), where that is more than its collection's.
    pub fn object_of_type(&self, object: &Object, odata_type: &str) -> Option<Arc<Object>> {
        let facts = self.facts();
        let name = odata_type.trim_start_matches('#');
        let kind = facts.find(name.strip_prefix("microsoft.graph.").unwrap_or(name))?;
        let place = object.place()?;
        let target = Target::Entity(kind);
        let place = PathObject::leading_to(place.path.clone(), facts, &target, place.pattern.clone());
        Some(Arc::new(Object::of_place(place, facts.clone())))
    }
}

fn returned<'a>(facts: &'a Facts, answer: TypeRef<'a>) -> Target<'a> {
    let entity = |id: &TypeId| facts.kind(*id) == TypeKind::Entity;
    match facts.find(answer.name).filter(entity) {
        Some(kind) if answer.collection => Target::Entities(kind),
        Some(kind) => Target::Entity(kind),
        None => Target::Value(answer),
    }
}

fn first_unknown(facts: &Facts, segments: &[String]) -> String {
    let known = |end: &usize| walk(facts, &segments[..*end]).target == Target::Unknown;
    let end = (1..=segments.len()).find(known).unwrap_or(segments.len());
    segments[end - 1].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(method: &str, url: &str) -> String {
        match Catalog::embedded().answer(method, url) {
            Answer::Rows(object) => {
                format!(
                    "{}{}",
                    object.graph_type().unwrap_or_default(),
                    if object.is_single() { "" } else { "[]" }
                )
            }
            Answer::Unknown(segment) => format!("? {segment}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn addresses_as_they_stand_in_pages_are_understood() {
        for (method, url, expected) in [
            ("GET", "https://graph.microsoft.com/v1.0/me/messages?$top=1", "microsoft.graph.message[]"),
            ("post", "/v1.0/me/messages", "microsoft.graph.message"),
            ("GET", "/beta/Users/{id | userPrincipalName}/", "microsoft.graph.user"),
            ("POST", "/me/messages/{id}/createReply", "microsoft.graph.message"),
            ("POST", "/me/sendMail", "Nothing"),
            ("PUT", "/me/drive/root:/a b/c.txt:/content", "microsoft.graph.driveItem"),
            ("GET", "/me/drive/items/{id}/content", "Bytes"),
            ("POST", "/me/drive/items/{id}/createUploadSession", "microsoft.graph.uploadSession"),
            ("GET", "/groups/{id}/members/$count", "Count"),
            ("POST", "/groups/{id}/members/$ref", "References"),
            ("POST", "/$batch", "Batch"),
            ("POST", "/me/drive/items/x/workbook/tables/t/add", "microsoft.graph.workbookTable"),
            ("GET", "/me/mesages/x", "? mesages"),
            ("GET", "https://graph.microsoft.com", "? https://graph.microsoft.com"),
        ] {
            assert_eq!(shown(method, url), expected, "{method} {url}");
        }
    }
}

//! What may be written at a Graph path: the metadata and Microsoft's pages say it before anything is sent. Never refuses what
//! neither of them knows.

use super::CatalogError;
use super::object::Object;
use super::path_object::{PathObject, Shape, Standing};
use super::permissions::around;
use super::relation::{Adding, Relation, Removing};
use crate::connection::ActivityKind;

impl Object {
    /// The relationship that its path is, when its records are references to what lives elsewhere.
    pub fn relation(&self) -> Option<&Relation> {
        match self.place().map(|place| &place.standing) {
            Some(Standing::Reference(relation)) => Some(relation),
            _ => None,
        }
    }

    /// As [`Object::allows`], for a path.
    pub(super) fn allows_at_path(&self, kind: ActivityKind) -> Result<(), CatalogError> {
        if matches!(kind, ActivityKind::Query | ActivityKind::Execute) {
            return Ok(());
        }
        let Some(place) = self.place() else { return Ok(()) };
        let refused = match &place.standing {
            Standing::Reference(relation) => refused_by_relation(self.name(), relation, kind),
            Standing::Answered if place.graph_type.is_some() => Some(format!(
                "'{}' is what a function answers, so nothing can be written there. Use the path of the record itself.",
                self.name()
            )),
            Standing::Answered => None,
            Standing::Lives(barred) => {
                let barred = match kind {
                    ActivityKind::Create => barred.make,
                    ActivityKind::Update => barred.change,
                    _ => barred.remove,
                } && !is_documented(place, kind);
                (barred || self.is_read_only_path(place)).then(|| {
                    format!(
                        "Microsoft Graph does not {} records of '{}': it documents that path for {}. Use the path where such \
                         a record is kept; GET …/objects/{} tells what this one takes.",
                        word(kind),
                        self.name(),
                        if barred { "other requests" } else { "reading only" },
                        self.name()
                    )
                })
            }
        };
        refused.map_or(Ok(()), |message| Err(CatalogError::new(message)))
    }

    /// Whether there are pages about the path and all of them only read. Extensions are left out: their pages name the
    /// resources that have them in words.
    fn is_read_only_path(&self, place: &PathObject) -> bool {
        *self.read_only_path.get_or_init(|| {
            if place.graph_type.is_none() || self.graph_type().as_deref() == Some("microsoft.graph.extension")
            {
                return false;
            }
            let pattern: Vec<&str> = place.pattern.iter().map(String::as_str).collect();
            let mut documented = around(&pattern, place.shape == Shape::Collection);
            // What stands below a collection is written about with the collection.
            if let ([list @ .., "{id}"], Shape::Single) = (pattern.as_slice(), place.shape) {
                documented.extend(around(list, true));
            }
            !documented.is_empty() && documented.iter().all(|found| found.method == "GET")
        })
    }
}

/// Whether a page writes there. The restrictions of the metadata are now and then older than the pages.
fn is_documented(place: &PathObject, kind: ActivityKind) -> bool {
    let method = match kind {
        ActivityKind::Create => "POST",
        ActivityKind::Update => "PATCH",
        _ => "DELETE",
    };
    let pattern: Vec<&str> = place.pattern.iter().map(String::as_str).collect();
    around(&pattern, place.shape == Shape::Collection).iter().any(|found| found.method == method)
}

fn word(kind: ActivityKind) -> &'static str {
    match kind {
        ActivityKind::Create => "make",
        ActivityKind::Update => "change",
        _ => "remove",
    }
}

fn refused_by_relation(object: &str, relation: &Relation, kind: ActivityKind) -> Option<String> {
    let Relation { name, target_type, .. } = relation;
    let own = relation.own_path();
    let taken = match kind {
        ActivityKind::Update => {
            return Some(format!(
                "'{object}' is a relationship: '{name}' holds references, and a {target_type} is changed at {own}. Create adds \
                 a reference and Delete removes one."
            ));
        }
        ActivityKind::Create => relation.adding != Adding::No,
        _ => relation.removing != Removing::No,
    };
    // A path with `$ref` says itself that the reference is meant; then the service has the last word.
    if taken || relation.explicit {
        return None;
    }
    let what = if kind == ActivityKind::Create { "made" } else { "removed" };
    Some(format!(
        "'{object}' is a relationship that Microsoft documents for reading only: no reference in '{name}' is {what} there. A \
         {target_type} itself is {what} at {own}."
    ))
}

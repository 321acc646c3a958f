//! Which methods a Graph path takes and the least permission each needs, read from the end of the facts text of this build.
//! Never decides whether a connection has a permission: tokens say that, and Graph has the last word.
//!
//! ```text
//! %permissions
//! DELEGATED… ;APPLICATION…          one line each, numbered from 0
//! %paths
//! SHARED REST METHODS               SHARED: how many segments are those of the line before
//! ```
//!
//! `METHODS` is a letter and a number of the lines above: `G` GET, `P` POST, `A` PATCH, `D` DELETE, `U` PUT.

use serde::Serialize;
use utoipa::ToSchema;

use super::facts::EMBEDDED;

/// What one method on a path needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MethodPermissions {
    /// `GET`, `POST`, `PATCH`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// The least delegated permissions of a work or school account; one of them is enough. Empty: none is documented.
    pub delegated: Vec<&'static str>,
    /// The least application permissions; one of them is enough. Empty: none is documented.
    pub application: Vec<&'static str>,
}

/// The methods of the path made of these segments (ids and placeholders as they are), or nothing when it is not documented.
pub(super) fn of_path(segments: &[&str]) -> Vec<MethodPermissions> {
    let Some((_, tables)) = EMBEDDED.split_once("\n%permissions\n") else { return Vec::new() };
    let Some((scopes, paths)) = tables.split_once("\n%paths\n") else { return Vec::new() };
    let wanted: Vec<String> = segments.iter().map(|segment| bare(segment)).collect();
    let mut stack: Vec<&str> = Vec::new();
    let mut best: Option<(usize, &str)> = None;
    for line in paths.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(shared), Some(rest), Some(methods)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        stack.truncate(shared.parse().unwrap_or(0));
        stack.extend(rest.split('/'));
        if stack.len() == wanted.len()
            && let Some(placeholders) = matches(&stack, &wanted)
            && best.is_none_or(|(fewest, _)| placeholders < fewest)
        {
            best = Some((placeholders, methods));
        }
    }
    let scopes: Vec<&str> = scopes.lines().collect();
    best.map(|(_, methods)| methods.split(' ').filter_map(|method| read(method, &scopes)).collect())
        .unwrap_or_default()
}

/// The methods documented for what a path leads to and, of a collection, for one of its records. `/me` is one of
/// `/users`, and some pages name only one of the two.
pub(super) fn around(pattern: &[&str], collection: bool) -> Vec<MethodPermissions> {
    let own: Vec<&str> = pattern.iter().filter(|segment| **segment != "$ref").copied().collect();
    let other: Option<Vec<&str>> = match own.as_slice() {
        ["me", rest @ ..] => Some(["users", "{id}"].iter().chain(rest).copied().collect()),
        ["users", "{id}", rest @ ..] => Some(std::iter::once("me").chain(rest.iter().copied()).collect()),
        _ => None,
    };
    let mut all: Vec<MethodPermissions> = Vec::new();
    for path in [Some(own), other].into_iter().flatten() {
        let one: Vec<&str> = path.iter().copied().chain(["{id}"]).collect();
        let found = of_path(&path).into_iter().chain(collection.then(|| of_path(&one)).into_iter().flatten());
        for found in found {
            if !all.iter().any(|known| known.method == found.method) {
                all.push(found);
            }
        }
    }
    all
}

/// How many placeholders it takes for the documented path to be the wanted one; `None`: it is another.
fn matches(documented: &[&str], wanted: &[String]) -> Option<usize> {
    let mut placeholders = 0;
    for (documented, wanted) in documented.iter().zip(wanted) {
        if documented.starts_with('{') {
            placeholders += 1;
        } else if bare(documented) != *wanted {
            return None;
        }
    }
    Some(placeholders)
}

/// A segment without the arguments of a call and without the namespace of an operation.
fn bare(segment: &str) -> String {
    let name = segment.split('(').next().unwrap_or_default().to_lowercase();
    name.strip_prefix("microsoft.graph.").map(str::to_owned).unwrap_or(name)
}

fn read(method: &str, scopes: &[&'static str]) -> Option<MethodPermissions> {
    let name = match method.get(..1)? {
        "G" => "GET",
        "P" => "POST",
        "A" => "PATCH",
        "D" => "DELETE",
        "U" => "PUT",
        _ => return None,
    };
    let (delegated, application) = scopes.get(method.get(1..)?.parse::<usize>().ok()?)?.split_once(';')?;
    let list = |scopes: &'static str| scopes.split(' ').filter(|scope| !scope.is_empty()).collect();
    Some(MethodPermissions { method: name, delegated: list(delegated), application: list(application) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_methods_and_least_permissions() {
        let message = of_path(&["me", "messages", "AAMk"]);
        let methods: Vec<&str> = message.iter().map(|found| found.method).collect();
        assert_eq!(methods, ["GET", "PATCH", "DELETE"]);
        assert_eq!(message[0].delegated, ["Mail.Read"]);
        assert_eq!(message[1].delegated, ["Mail.ReadWrite"]);
        let users = of_path(&["Users"]);
        assert!(users.iter().any(|found| found.method == "POST" && !found.application.is_empty()));
        assert_eq!(of_path(&["me", "nothing"]), Vec::new());
    }
}

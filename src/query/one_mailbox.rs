//! Users named by the caller in two ways, by object id and by principal name: finds out which names mean one mailbox, so
//! that its rows come once. Never guesses: what cannot be found out is refused, because rows would come twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::error::QueryError;
use super::plan::Scan;
use crate::catalog::encode_segment;
use crate::graph::{CallContext, Effect, GraphClient, GraphError, GraphRequest, is_object_id};

/// The users of `scans`, each once, when some are named by object id and others by another name; otherwise no two can be
/// one, because a principal name and an object id are each unique in a directory.
pub(super) fn owners_in_doubt(scans: &[Scan]) -> Option<Vec<Arc<str>>> {
    let mut seen = HashSet::new();
    let named: Vec<Arc<str>> = scans
        .iter()
        .filter_map(|scan| scan.owner.clone())
        .filter(|owner| seen.insert(Arc::clone(owner)))
        .collect();
    let ids = named.iter().filter(|name| is_object_id(name)).count();
    (ids > 0 && ids < named.len()).then_some(named)
}

/// The names among `owners` that mean a mailbox which another of them means already.
///
/// # Errors
/// [`QueryError::BadRequest`], when the directory does not say whose a name is.
pub(super) async fn one_mailbox_each(
    owners: &[Arc<str>],
    graph: &Arc<GraphClient>,
    context: &CallContext,
) -> Result<HashSet<Arc<str>>, QueryError> {
    let names: Vec<&Arc<str>> = owners.iter().filter(|name| !is_object_id(name)).collect();
    let question = |name: &&Arc<str>| GraphRequest {
        method: http::Method::GET,
        path: format!("users/{}?$select=id", encode_segment(name)),
        headers: Vec::new(),
        body: None,
        mailbox: None,
        effect: Effect::Repeatable,
    };
    let answers = graph.batch(names.iter().map(question).collect(), context).await;
    let mut ids: HashMap<&Arc<str>, String> = HashMap::new();
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(answer) => {
                let row: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let id = row["id"].as_str().ok_or_else(|| GraphError::BadAnswer {
                    what: "a user of the directory has no id".to_owned(),
                })?;
                graph.note_object_id(name, id);
                ids.insert(name, id.to_lowercase());
            }
            // No user: its mailbox says so in its own words.
            Err(GraphError::Refused(refusal)) if refusal.status == 404 => {}
            Err(GraphError::Refused(refusal)) => {
                let message = format!(
                    "'UserId' names users by object id and by principal name, and whether '{name}' is one of the others could \
                     not be found out ({} {}), so rows could come twice. Name all users by object id or all by principal name, \
                     or give the connection the permission User.ReadBasic.All.",
                    refusal.status, refusal.code
                );
                return Err(QueryError::field("users_unclear", "UserId", message));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut seen = HashSet::new();
    let repeated = owners.iter().filter(|name| {
        let id = ids.get(*name).cloned().unwrap_or_else(|| name.to_lowercase());
        !seen.insert(id)
    });
    Ok(repeated.cloned().collect())
}

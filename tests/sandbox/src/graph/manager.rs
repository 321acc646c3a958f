//! A user's manager: a reference that is set and removed by `$ref` ("Assign manager", "Remove manager").
//! Never spares the manager: a path without `$ref` names the user that it leads to.

use super::body;
use super::dispatch::Context;
use super::errors::GraphError;
use super::resources::actions::referred;
use super::users;
use crate::answer::{Answer, Call};
use crate::data::tenant::UserFacts;
use crate::state::State;
use serde_json::Value;

/// Does what is asked.
pub(crate) fn carry_out(
    state: &mut State,
    call: &Call,
    context: &Context,
    reference: bool,
) -> Result<Answer, GraphError> {
    let user = context.owner().id.clone();
    match (call.method.as_str(), reference) {
        ("GET", false) => {
            let manager = manager(state, &user)?;
            let mut row = users::shown(&state.tenant.users, manager.key, None);
            row.shift_insert(0, "@odata.type".into(), "#microsoft.graph.user".into());
            Ok(Answer::json(200, &Value::Object(row)))
        }
        ("PUT", true) => {
            let given = body::object(call)?;
            let url = given.get("@odata.id").and_then(Value::as_str).unwrap_or_default();
            let id = referred(state, url)?;
            state.documents.managers.insert(user, id);
            state.count_write(None);
            Ok(Answer::empty(204))
        }
        ("DELETE", true) => {
            manager(state, &user)?;
            state.documents.managers.remove(&user);
            state.count_write(None);
            Ok(Answer::empty(204))
        }
        ("DELETE", false) => {
            let manager = manager(state, &user)?;
            users::remove(state, &manager);
            Ok(Answer::empty(204))
        }
        _ => Err(GraphError::method_not_allowed()),
    }
}

fn manager(state: &State, user: &str) -> Result<UserFacts, GraphError> {
    let known = state.documents.managers.get(user).and_then(|id| state.tenant.user(id));
    known.ok_or_else(|| GraphError::resource_not_found("manager"))
}

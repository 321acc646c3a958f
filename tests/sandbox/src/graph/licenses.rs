//! Licences of users: what they have, and giving or taking them.
//! Never changes what the tenant bought.

use super::body;
use super::dispatch::Context;
use super::errors::GraphError;
use super::users;
use crate::answer::{Answer, Call};
use crate::data::documents::Document;
use crate::state::State;
use serde_json::{Map, Value, json};

/// Gives and takes licences (user: assignLicense).
pub(crate) fn assign(state: &mut State, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    let refused = |text: String| GraphError::new(400, "Request_BadRequest", text);
    let given = body::object(call)?;
    let list = |wanted: &str| {
        let found = given.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
        found
            .and_then(Value::as_array)
            .cloned()
            .ok_or_else(|| refused(format!("The parameter '{wanted}' is required.")))
    };
    let (added, removed) = (list("addLicenses")?, list("removeLicenses")?);
    let key = context.owner().key;
    let held = state.tenant.users.field(key, "assignedLicenses").as_array().cloned().unwrap_or_default();
    let mut held: Vec<Value> = held;
    if !added.is_empty() && state.tenant.users.field(key, "usageLocation").is_null() {
        return Err(refused(
            "License assignment cannot be done for user with invalid usage location.".to_owned(),
        ));
    }
    for sku in &removed {
        let before = held.len();
        held.retain(|license| license["skuId"] != *sku);
        if held.len() == before {
            return Err(refused("User does not have a corresponding license.".to_owned()));
        }
        count(state, sku.as_str().unwrap_or_default(), -1);
    }
    for license in &added {
        let sku = license["skuId"].as_str().unwrap_or_default().to_owned();
        let Some(row) = sku_row(state, &sku) else {
            return Err(refused(format!("License {sku} does not correspond to a valid company License.")));
        };
        let free = row.fields["prepaidUnits"]["enabled"].as_i64().unwrap_or(0)
            - row.fields["consumedUnits"].as_i64().unwrap_or(0);
        let position = held.iter().position(|known| known["skuId"] == sku.as_str());
        if position.is_none() && free <= 0 {
            return Err(refused(format!(
                "Subscription with SKU {sku} does not have any available licenses."
            )));
        }
        let disabled = license.get("disabledPlans").cloned().unwrap_or_else(|| json!([]));
        let entry = json!({"disabledPlans": disabled, "skuId": sku});
        match position {
            Some(position) => held[position] = entry,
            None => {
                held.push(entry);
                count(state, &sku, 1);
            }
        }
    }
    state.tenant.users.update(key, Map::from_iter([("assignedLicenses".to_owned(), held.into())]));
    state.count_write(None);
    let mut user = users::shown(&state.tenant.users, key, None);
    user.shift_insert(
        0,
        "@odata.context".into(),
        format!("{}/v1.0/$metadata#users/$entity", state.graph_origin).into(),
    );
    Ok(Answer::json(200, &Value::Object(user)))
}

/// The licences of a user.
pub(crate) fn details(state: &mut State, context: &Context) -> Answer {
    let held = state.tenant.users.field(context.owner().key, "assignedLicenses");
    let rows: Vec<Value> = held
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|license| {
            let row = sku_row(state, license["skuId"].as_str()?)?;
            Some(
                json!({"id": row.id, "skuId": license["skuId"], "skuPartNumber": row.fields["skuPartNumber"],
                        "servicePlans": row.fields["servicePlans"]}),
            )
        })
        .collect();
    Answer::json(200, &json!({"value": rows}))
}

fn sku_row<'s>(state: &'s mut State, sku: &str) -> Option<&'s mut Document> {
    let table = state.documents.table("subscribedSkus");
    let id = table.rows().find(|row| row.fields["skuId"] == sku)?.id.clone();
    table.get_mut(&id)
}

fn count(state: &mut State, sku: &str, change: i64) {
    if let Some(row) = sku_row(state, sku) {
        let units = row.fields["consumedUnits"].as_i64().unwrap_or(0) + change;
        row.fields.insert("consumedUnits".into(), units.into());
    }
}

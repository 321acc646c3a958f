//! What the tables name as `<name>`: ids of things that the tenant has, found or made straight at Graph before the agent runs.

use std::collections::BTreeMap;

use o365_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{Answer, client};

/// The facts by name.
pub(crate) struct Facts(BTreeMap<&'static str, String>);

impl Facts {
    /// Finds and makes them all.
    pub(crate) async fn of(sandbox: &Sandbox) -> Self {
        let user = sandbox.first_user();
        let group =
            id(&graph(sandbox, "GET", "groups?$filter=displayName eq 'Retail'", None).await["value"][0]);
        let plan =
            id(&graph(sandbox, "GET", &format!("groups/{group}/planner/plans"), None).await["value"][0]);
        let buckets = graph(sandbox, "GET", &format!("planner/plans/{plan}/buckets"), None).await;
        let business = id(&graph(sandbox, "GET", "solutions/bookingBusinesses", None).await["value"][0]);
        let services =
            graph(sandbox, "GET", &format!("solutions/bookingBusinesses/{business}/services"), None).await;
        let filter = "me/messages?$filter=hasAttachments eq true&$top=1&$select=id";
        let message = id(&graph(sandbox, "GET", filter, None).await["value"][0]);
        let attached = graph(sandbox, "GET", &format!("me/messages/{message}/attachments"), None).await;
        let draft = graph(
            sandbox,
            "POST",
            "me/messages",
            Some(
                json!({"subject": "A draft", "toRecipients": [{"emailAddress": {"address": "a@b.example"}}]}),
            ),
        )
        .await;
        let series = graph(sandbox, "POST", "me/events", Some(series())).await;
        let own = graph(sandbox, "POST", "me/events", Some(event("Own meeting"))).await;
        let file = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "plan.txt", "contentBytes": "SGVsbG8="});
        graph(sandbox, "POST", &format!("me/events/{}/attachments", id(&own)), Some(file)).await;
        let invitations =
            graph(sandbox, "GET", "me/events?$filter=isOrganizer eq false&$top=1&$select=id", None).await;
        let doomed = graph(sandbox, "POST", "me/events", Some(event("Doomed meeting"))).await;
        let folder =
            graph(sandbox, "POST", "me/drive/root/children", Some(json!({"name": "Reports", "folder": {}})))
                .await;
        let budget = graph(sandbox, "GET", "me/drive/root:/Documents/Budget 2026.xlsx", None).await;
        let skus = graph(sandbox, "GET", "subscribedSkus", None).await;
        let free = skus["value"].as_array().unwrap().iter().find(|sku| sku["skuPartNumber"] == "FLOW_FREE");
        Self(BTreeMap::from([
            ("user", user.upn.clone()),
            ("userId", user.id),
            ("other", sandbox.user(1).upn),
            ("domain", sandbox.tenant_domain()),
            ("group", group),
            ("plan", plan),
            ("bucket", id(&buckets["value"][0])),
            ("business", business),
            ("service", id(&services["value"][0])),
            ("message", message),
            ("attachment", id(&attached["value"][0])),
            ("draft", id(&draft)),
            ("series", id(&series)),
            ("event", id(&own)),
            ("invitation", id(&invitations["value"][0])),
            ("doomed", id(&doomed)),
            ("folder", id(&folder)),
            ("file", id(&budget)),
            ("sku", free.unwrap()["skuId"].as_str().unwrap().to_owned()),
        ]))
    }

    /// A text of a table with every `<name>` replaced.
    pub(crate) fn filled(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
    }

    /// The same as JSON.
    pub(crate) fn json(&self, text: &str) -> Value {
        let filled = self.filled(text);
        serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{error} in {filled}"))
    }
}

/// A request straight to the tenant's Graph, without the agent, as the first user.
pub(crate) async fn graph(sandbox: &Sandbox, method: &str, path: &str, body: Option<Value>) -> Value {
    let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
    let method: http::Method = method.parse().unwrap();
    let mut request = client()
        .request(method, format!("{}/{path}", sandbox.graph_url()))
        .header("authorization", format!("Bearer {}", tokens.access_token));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert!(answer.status < 300, "{path}: {}", answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

fn event(subject: &str) -> Value {
    json!({"subject": subject, "start": {"dateTime": "2026-12-07T09:00:00", "timeZone": "UTC"},
           "end": {"dateTime": "2026-12-07T10:00:00", "timeZone": "UTC"}})
}

fn series() -> Value {
    let mut event = event("A series");
    event["recurrence"] = json!({
        "pattern": {"type": "daily", "interval": 1},
        "range": {"type": "numbered", "startDate": "2026-12-07", "numberOfOccurrences": 9}
    });
    event
}

//! The handle's controls over HTTP, for tests that run the sandbox in another process.
//! Never part of the simulated service.

use crate::answer::{Answer, Call};
use crate::controls;
use crate::faults::Fault;
use crate::state::{Shared, Stats};
use crate::throttle::RateLimit;
use serde_json::{Value, json};
use std::time::Duration;

/// Serves `/admin/...`.
pub(crate) fn serve(shared: &Shared, call: &Call) -> Answer {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or(Value::Null);
    let mut state = shared.lock();
    match (call.method.as_str(), call.path().trim_start_matches("/admin/")) {
        ("GET", "stats") => Answer::json(200, &json!(state.stats)),
        ("GET", "log") => Answer::json(200, &json!(state.throttle.log())),
        ("DELETE", "log") => {
            state.throttle.clear();
            Answer::empty(204)
        }
        ("GET", "created") => Answer::json(200, &json!(state.created)),
        ("DELETE", "stats") => {
            state.stats = Stats::default();
            Answer::empty(204)
        }
        ("GET", "facts") => Answer::json(200, &controls::facts(&state)),
        ("GET", "requests") => Answer::json(
            200,
            &json!({"token": state.token_requests, "graph": state.graph_requests, "content": state.content_requests}),
        ),
        ("GET", "faults") => Answer::json(200, &json!(state.faults.pending())),
        ("POST", "faults") => match serde_json::from_value::<Fault>(body) {
            Ok(fault) => {
                state.faults.inject(fault);
                Answer::empty(204)
            }
            Err(problem) => refused(&problem.to_string()),
        },
        ("DELETE", "faults") => {
            state.faults.clear();
            Answer::empty(204)
        }
        ("POST", "tokens") => {
            let lifetime = body["lifetime_seconds"].as_u64().map(Duration::from_secs);
            match body["user"].as_str() {
                None => Answer::json(200, &json!(controls::issue_app_token(&mut state, lifetime))),
                Some(user) => match controls::issue_delegated_tokens(&mut state, user, lifetime) {
                    Some(tokens) => Answer::json(200, &json!(tokens)),
                    None => refused("There is no such user."),
                },
            }
        }
        ("POST", "revoke") => match body["user"].as_str() {
            Some(user) => {
                Answer::json(200, &json!({"revoked": controls::revoke_user_tokens(&mut state, user)}))
            }
            None => {
                state.tokens.cancel_access();
                Answer::empty(204)
            }
        },
        ("POST", "device") => match body["user_code"].as_str() {
            Some(code) => {
                let decided = controls::decide_device_code(&mut state, code, body["user"].as_str());
                Answer::json(200, &json!({"decided": decided}))
            }
            None => refused("'user_code' is missing."),
        },
        ("POST", "browser") => {
            state.sign_ins.browser_user = body["user"].as_str().map(str::to_owned);
            Answer::empty(204)
        }
        ("POST", "settings") => {
            if let Some(seconds) = body["access_token_lifetime_seconds"].as_u64() {
                state.options.access_token_lifetime = Duration::from_secs(seconds);
            }
            if let Some(milliseconds) = body["page_latency_milliseconds"].as_u64() {
                state.options.page_latency = Duration::from_millis(milliseconds);
            }
            for (name, mailbox) in [("mailbox_rate", true), ("tenant_rate", false)] {
                let limit = body[name]["requests"].as_u64().zip(body[name]["window_milliseconds"].as_u64());
                let limit = limit.map(|(requests, window)| RateLimit {
                    requests: requests as u32,
                    window: Duration::from_millis(window),
                });
                if body.get(name).is_some() {
                    let options = &mut state.options;
                    *(if mailbox { &mut options.mailbox_rate } else { &mut options.tenant_rate }) = limit;
                }
            }
            if let Some(milliseconds) = body["search_lag_milliseconds"].as_u64() {
                state.options.search_lag = Duration::from_millis(milliseconds);
                state.pages.clear();
            }
            if let Some(refused) = body["refuse_known_transactions"].as_bool() {
                state.options.refuse_known_transactions = refused;
            }
            if let Some(after) = body["next_link_after_value"].as_bool() {
                state.options.next_link_after_value = after;
                state.pages.clear();
            }
            Answer::empty(204)
        }
        _ => Answer::json(404, &json!({"error": "There is no such control."})),
    }
}

fn refused(problem: &str) -> Answer {
    Answer::json(400, &json!({"error": problem}))
}

//! One bounded request of a sign-in to the login server, counted with the token requests to the same host. Judges
//! nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::token::endpoint::{self, Answered};
use crate::token::model::TokenFailure;
use crate::token::transaction::Context;

/// Posts a form; nothing is sent after a stop, because nobody would store the answer. An error is a failure that may pass.
pub(super) async fn post(
    context: &Context,
    stop: &CancellationToken,
    url: Url,
    form: String,
) -> Result<Answered, TokenFailure> {
    let bound: Duration = context.refresh.request_timeout;
    let waited = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(context.failure(
            "stopping",
            "The agent is stopping. Start the sign-in again when the agent runs.",
        )),
        waited = tokio::time::timeout(bound, context.seat.place(true)) => waited,
    };
    let Ok(_place) = waited else {
        return Err(context.failure(
            "endpoint_busy",
            "Too many token requests to the same server are waiting for an answer. Nothing needs to be done; the agent tries again.",
        ));
    };
    endpoint::post(&context.http, url.clone(), form, bound)
        .await
        .map_err(|error| endpoint::no_answer(&error, &context.connection, &url, &context.clock))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

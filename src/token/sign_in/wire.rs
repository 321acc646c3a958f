//! One bounded request of a sign-in to the login server, counted with the token requests to the same host. Judges
//! nothing.

use std::time::Duration;

use url::Url;

use crate::token::endpoint::{self, Answered};
use crate::token::model::TokenFailure;
use crate::token::transaction::Context;

/// Posts a form. An error is a failure that may pass.
pub(super) async fn post(context: &Context, url: Url, form: String) -> Result<Answered, TokenFailure> {
    let bound: Duration = context.refresh.request_timeout;
    let Ok(_place) = tokio::time::timeout(bound, context.seat.place(true)).await else {
        return Err(context.failure(
            "endpoint_busy",
            "Too many token requests to the same server are waiting for an answer. Nothing needs to be done; the agent tries again.",
        ));
    };
    endpoint::post(&context.http, url.clone(), form, bound)
        .await
        .map_err(|error| endpoint::no_answer(&error, &context.connection, &url, &context.clock))
}

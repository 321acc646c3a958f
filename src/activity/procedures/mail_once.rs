//! SendMail with an `Idempotency-Key`: always a draft that carries a mark and is then sent, so that a lost answer or a crash
//! can be cleared up by looking into the mailbox. Never sends a message that may have gone out already.
//!
//! Facts: "message: send", "Obtain immutable identifiers for Outlook resources" (the id outlives the way from Drafts to Sent
//! Items) of the Graph documentation.

use serde_json::{Map, Value, json};

use super::attach::{AttachmentMeta, attach};
use super::content::Content;
use super::kept_run::{Book, ONLY};
use super::mail_attachments::MailAttachment;
use super::run::Doing;
use super::{body_of, item, read};
use crate::activity::doubts::LOOK_AGAIN;
use crate::activity::error::ActivityError;
use crate::activity::results::is_for_good;
use crate::activity::target::write;
use crate::activity::upload::not_kept;
use crate::catalog::{Owner, encode_segment};
use crate::graph::{Effect, GraphError, GraphRequest};

/// Ids that stay when a message moves.
const IMMUTABLE: (&str, &str) = ("Prefer", "IdType=\"ImmutableId\"");
/// Steps that may be in doubt before it is given up.
const TRIES: u32 = 4;
/// Answers that list the attachments of a draft before it is given up.
const LISTS: u32 = 50;

/// A message that is sent once.
#[derive(Debug)]
pub(super) struct MailOnce {
    pub(super) owner: Owner,
    pub(super) message: Map<String, Value>,
    /// Attachments that do not fit into the message itself.
    pub(super) attached: Vec<MailAttachment>,
}

/// What the mailbox has of it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Sent,
    Draft(String),
    Nothing,
}

impl MailOnce {
    pub(super) async fn run(mut self, doing: &Doing<'_>) -> Result<Value, ActivityError> {
        let Some(book) = &doing.book else { return Err(not_kept("the call has no journal.")) };
        let attached = std::mem::take(&mut self.attached);
        let mut opened = Vec::with_capacity(attached.len());
        for MailAttachment { name, content_type, source } in attached {
            let content = source.open(doing).await?;
            opened.push((AttachmentMeta { name, content_type, content_id: None, is_inline: false }, content));
        }
        let (mut look, mut in_doubt) = (book.before.tried, book.before.in_doubt);
        // Its id, once the draft is whole and may have been sent.
        let mut whole = book.before.draft.clone();
        let mut last =
            unknown("it was sent by an earlier run with this key, and the mailbox is unclear about it");
        for _ in 0..TRIES {
            let found = match look {
                false => Found::Nothing,
                true => match self.find(doing, book, in_doubt, whole.as_deref()).await {
                    Err(error) if in_doubt => {
                        return Err(unknown(&format!("the mailbox could not be asked ({})", error.code())));
                    }
                    found => found?,
                },
            };
            look = true;
            let (id, left_over) = match found {
                Found::Sent => return Ok(json!({"Status": "Success"})),
                Found::Draft(id) => (id, true),
                Found::Nothing if whole.is_some() => {
                    return Err(unknown("its draft is gone, and the message is not in the mailbox"));
                }
                Found::Nothing => match self.create(doing, book).await {
                    Err(ActivityError::Graph(error @ GraphError::OutcomeUnknown { .. })) => {
                        (in_doubt, last) = (true, error.into());
                        continue;
                    }
                    made => (made?, false),
                },
            };
            if whole.is_none() {
                let contents = std::mem::take(&mut opened);
                if let Err(error) = self.complete(doing, &id, left_over, contents).await {
                    self.remove_if_useless(doing, &id, &error).await;
                    return Err(nothing_sent(error));
                }
                book.draft_is_whole(&id).await?;
                whole = Some(id.clone());
            }
            match doing
                .live
                .graph
                .send(
                    self.request(http::Method::POST, &format!("{}/send", item("messages", &id)), None),
                    &doing.context,
                )
                .await
            {
                Ok(_) => return Ok(json!({"Status": "Success"})),
                Err(error @ GraphError::OutcomeUnknown { .. }) => (in_doubt, last) = (true, error.into()),
                // It may have been refused because it is sent already.
                Err(error @ GraphError::Refused(_)) if in_doubt => last = error.into(),
                Err(error) if in_doubt => return Err(unknown(&error.to_string())),
                Err(error) => {
                    let error = error.into();
                    self.remove_if_useless(doing, &id, &error).await;
                    return Err(error);
                }
            }
        }
        Err(last)
    }

    fn request(&self, method: http::Method, path: &str, body: Option<Map<String, Value>>) -> GraphRequest {
        let path = format!("{}/{path}", self.owner.path());
        let effect = if method == http::Method::DELETE { Effect::Repeatable } else { Effect::Once };
        let mut request = write(method, path, body, None, Some(self.owner.mailbox()), effect);
        request.headers.push((IMMUTABLE.0, IMMUTABLE.1.to_owned()));
        request
    }

    async fn create(&self, doing: &Doing<'_>, book: &Book) -> Result<String, ActivityError> {
        let mut body = self.message.clone();
        let path = format!("{}/messages", self.owner.path());
        let _a_message_is_made_anew_each_time =
            book.marks.put(ONLY, &path, Some(&self.owner.mailbox()), &mut body);
        let made = doing
            .live
            .graph
            .send(self.request(http::Method::POST, "messages", Some(body)), &doing.context)
            .await?;
        let id = body_of(&made).ok().and_then(|made| made["id"].as_str().map(str::to_owned));
        // It is there, so the mailbox tells the id.
        id.ok_or_else(|| unknown("the answer for the new draft has no id"))
    }

    /// Looks for the mark; twice when what is seen may be older than what was sent.
    async fn find(
        &self,
        doing: &Doing<'_>,
        book: &Book,
        in_doubt: bool,
        whole: Option<&str>,
    ) -> Result<Found, ActivityError> {
        let path = format!("{}/messages?{}", self.owner.path(), book.marks.search(ONLY, "id,isDraft"));
        let mut question = read(path, Some(self.owner.mailbox()));
        question.headers.push((IMMUTABLE.0, IMMUTABLE.1.to_owned()));
        let mut first = true;
        loop {
            let answer = body_of(&doing.live.graph.send(question.clone(), &doing.context).await?)?;
            let found = judge(book.marks.rows(ONLY, &answer), &answer, whole)?;
            let may_be_old = in_doubt && (whole.is_some() || found == Found::Nothing);
            if found == Found::Sent || !may_be_old || !std::mem::replace(&mut first, false) {
                return Ok(found);
            }
            doing
                .bounded(async {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    Ok(())
                })
                .await?;
        }
    }

    /// Gives the draft its attachments. One that an earlier run left may have some of them.
    async fn complete(
        &self,
        doing: &Doing<'_>,
        id: &str,
        left_over: bool,
        contents: Vec<(AttachmentMeta, Content)>,
    ) -> Result<(), ActivityError> {
        let base = format!("{}/{}", self.owner.path(), item("messages", id));
        if left_over && !contents.is_empty() {
            self.take_attachments_off(doing, &base).await?;
        }
        for (meta, content) in contents {
            attach(doing, &base, &self.owner.mailbox(), &meta, content).await?;
        }
        Ok(())
    }

    async fn take_attachments_off(&self, doing: &Doing<'_>, base: &str) -> Result<(), ActivityError> {
        let mailbox = || Some(self.owner.mailbox());
        for _ in 0..LISTS {
            let request = read(format!("{base}/attachments?$select=id"), mailbox());
            let answer = body_of(&doing.live.graph.send(request, &doing.context).await?)?;
            let ids: Vec<&str> = answer["value"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| row["id"].as_str())
                .collect();
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                let path = format!("{base}/attachments/{}", encode_segment(id));
                let request = write(http::Method::DELETE, path, None, None, mailbox(), Effect::Repeatable);
                doing.live.graph.send(request, &doing.context).await?;
            }
        }
        let what = "the attachments of an earlier try cannot be removed from the draft".to_owned();
        Err(GraphError::BadAnswer { what }.into())
    }

    /// A draft that the service will not send is not left behind. One that failed otherwise is what a repeat goes on with.
    async fn remove_if_useless(&self, doing: &Doing<'_>, id: &str, error: &ActivityError) {
        if !matches!(error, ActivityError::Graph(error) if is_for_good(error)) {
            return;
        }
        let request = self.request(http::Method::DELETE, &item("messages", id), None);
        if doing.live.graph.send(request, &doing.aftermath()).await.is_err() {
            tracing::warn!(connection = %doing.live.connection.name, request_id = %doing.context.request_id,
                "A draft that was refused stays in Drafts: it could neither be sent nor removed.");
        }
    }
}

/// What the rows that carry the mark say. `whole`: the draft that may have been sent; another one is not it.
fn judge<'a>(
    rows: impl Iterator<Item = &'a Value>,
    answer: &Value,
    whole: Option<&str>,
) -> Result<Found, ActivityError> {
    let mut draft = None;
    for row in rows {
        match (row["isDraft"].as_bool(), row["id"].as_str()) {
            (Some(false), _) => return Ok(Found::Sent),
            (Some(true), Some(id)) if whole.is_none_or(|whole| whole == id) => draft = Some(id.to_owned()),
            (Some(true), Some(_)) => {}
            _ => return Err(unknown("the mailbox does not say whether the message is a draft")),
        }
    }
    match draft {
        Some(id) => Ok(Found::Draft(id)),
        // Rows without the mark mean that the service did not understand the filter, and a next link that there may be more.
        None if answer.get("@odata.nextLink").is_none()
            && (whole.is_some() || answer["value"].as_array().is_some_and(Vec::is_empty)) =>
        {
            Ok(Found::Nothing)
        }
        None => Err(unknown("the mailbox does not tell messages with the mark from others")),
    }
}

fn unknown(what: &str) -> ActivityError {
    GraphError::OutcomeUnknown { what: what.to_owned() }.into()
}

/// Whatever became of an attachment, the message was not sent.
fn nothing_sent(error: ActivityError) -> ActivityError {
    match error {
        ActivityError::Graph(GraphError::OutcomeUnknown { what } | GraphError::BadAnswer { what }) => {
            let what = format!("an attachment could not be added, so nothing was sent ({what})");
            GraphError::Unreachable { what }.into()
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mailbox_decides_what_is_left_to_do() {
        let row = |id: &str, draft: Value| json!({"id": id, "isDraft": draft});
        let judged = |rows: Value, whole: Option<&str>| {
            let answer = json!({"value": rows});
            judge(rows.as_array().unwrap().iter(), &answer, whole).ok()
        };
        let draft = |id: &str| Some(Found::Draft(id.to_owned()));
        for (rows, whole, expected) in [
            (json!([]), None, Some(Found::Nothing)),
            (json!([]), Some("a"), Some(Found::Nothing)),
            (json!([row("a", json!(true))]), None, draft("a")),
            (json!([row("a", json!(true))]), Some("a"), draft("a")),
            (json!([row("b", json!(true))]), Some("a"), Some(Found::Nothing)),
            (json!([row("b", json!(true)), row("c", json!(false))]), Some("b"), Some(Found::Sent)),
            (json!([row("a", Value::Null)]), None, None),
        ] {
            assert_eq!(judged(rows.clone(), whole), expected, "{rows} {whole:?}");
        }
        // Others than ours, or more to come, prove nothing.
        let none = || std::iter::empty();
        assert!(judge(none(), &json!({"value": [{"id": "x"}]}), None).is_err());
        assert!(judge(none(), &json!({"value": [], "@odata.nextLink": "x"}), None).is_err());
    }
}

//! SendMail with an `Idempotency-Key`: always a draft that carries a mark and is then sent, so that a lost answer or a crash
//! can be cleared up by looking into the mailbox. Never sends a message that may have gone out already.
//!
//! Facts: "message: send", "Obtain immutable identifiers for Outlook resources" (the id outlives the way from Drafts to Sent
//! Items) of the Graph documentation.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::attach::{AttachmentMeta, attach};
use super::content::Content;
use super::kept_run::{Book, ONLY};
use super::mail_attachments::MailAttachment;
use super::run::Doing;
use super::{body_of, item, read};
use crate::activity::error::ActivityError;
use crate::activity::mark::Day;
use crate::activity::results::is_for_good;
use crate::activity::target::write;
use crate::activity::upload::not_kept;
use crate::catalog::{Owner, encode_segment};
use crate::graph::{Effect, GraphError, GraphRequest};

/// Ids that stay when a message moves.
const IMMUTABLE: (&str, &str) = ("Prefer", "IdType=\"ImmutableId\"");
/// Answers that list the attachments of a draft before it is given up.
const LISTS: u32 = 50;
/// Where a message with the mark is as soon as it is there: where it was made, and where it goes when it is sent.
const FOLDERS: [&str; 2] = ["mailFolders/drafts/messages", "mailFolders/sentitems/messages"];
/// All messages, wherever a rule or a person has moved them; a search folder, which lags.
const ALL: &str = "messages";

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
        let left_over = match (book.before.in_doubt, &book.before.draft) {
            // It may have been sent, so it is only looked at.
            (Some(age), Some(draft)) => return self.watch(doing, book, draft, age).await,
            (Some(age), None) => self.draft_in_doubt(doing, book, age, true).await?,
            (None, _) if book.before.tried => self.find(doing, book, Day::Own).await?,
            (None, _) => match self.of_another_agent(doing, book).await? {
                Found::Draft(draft) => {
                    // The other agent may be sending it: a later call must not take it for one of this agent's.
                    book.draft_is_whole(&draft).await?;
                    return self.watch(doing, book, &draft, Duration::ZERO).await;
                }
                found => found,
            },
        };
        let (id, left_over) = match left_over {
            Found::Sent => return Ok(success()),
            Found::Draft(id) => (id, true),
            Found::Nothing => match self.create(doing, book).await {
                Err(ActivityError::Graph(GraphError::OutcomeUnknown { .. })) => {
                    book.was_sent(doing.clock).await?;
                    match self.draft_in_doubt(doing, book, Duration::ZERO, false).await? {
                        Found::Draft(id) => (id, true),
                        // Only another agent with the same key can have sent it: nothing was sent here.
                        Found::Sent => return Ok(success()),
                        Found::Nothing => {
                            return Err(unknown(
                                "its draft may still appear in Drafts, and nothing was sent",
                            ));
                        }
                    }
                }
                made => (made?, false),
            },
        };
        if let Err(error) = self.complete(doing, &id, left_over, opened).await {
            self.remove_if_useless(doing, &id, &error).await;
            return Err(nothing_sent(error));
        }
        book.draft_is_whole(&id).await?;
        let send = self.request(http::Method::POST, &format!("{}/send", item("messages", &id)), None);
        match doing.live.graph.send(send, &doing.context).await {
            Ok(_) => Ok(success()),
            // Never a second time: what was accepted may show after a minute.
            Err(GraphError::OutcomeUnknown { .. }) => {
                book.was_sent(doing.clock).await?;
                self.watch(doing, book, &id, Duration::ZERO).await
            }
            Err(error) => {
                let error = error.into();
                self.remove_if_useless(doing, &id, &error).await;
                Err(error)
            }
        }
    }

    fn request(&self, method: http::Method, path: &str, body: Option<Map<String, Value>>) -> GraphRequest {
        let path = format!("{}/{path}", self.owner.path());
        let effect = if method == http::Method::DELETE { Effect::Repeatable } else { Effect::Once };
        let mut request = write(method, path, body, None, Some(self.owner.mailbox()), effect);
        request.headers.push((IMMUTABLE.0, IMMUTABLE.1.to_owned()));
        request
    }

    fn look(&self, path: &str) -> GraphRequest {
        let mut question = read(format!("{}/{path}", self.owner.path()), Some(self.owner.mailbox()));
        question.headers.push((IMMUTABLE.0, IMMUTABLE.1.to_owned()));
        question
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

    /// Looks for the mark where a message with it is as soon as it is there.
    async fn find(&self, doing: &Doing<'_>, book: &Book, day: Day) -> Result<Found, ActivityError> {
        self.find_in(doing, book, day, &FOLDERS).await
    }

    async fn find_in(
        &self,
        doing: &Doing<'_>,
        book: &Book,
        day: Day,
        collections: &[&str],
    ) -> Result<Found, ActivityError> {
        let mut found = Found::Nothing;
        for collection in collections {
            let search = book.marks.search(ONLY, "id,isDraft,createdDateTime", day);
            let question = self.look(&format!("{collection}?{search}"));
            let answer = body_of(&doing.live.graph.send(question, &doing.context).await?)?;
            match judge(book.marks.rows(ONLY, &answer, day), &answer, day)? {
                Found::Sent => return Ok(Found::Sent),
                Found::Draft(id) => found = Found::Draft(id),
                Found::Nothing => {}
            }
        }
        Ok(found)
    }

    /// What another agent did with the key, which is not in the journal here.
    async fn of_another_agent(&self, doing: &Doing<'_>, book: &Book) -> Result<Found, ActivityError> {
        if book.marks.elsewhere.is_none() {
            return Ok(Found::Nothing);
        }
        for day in [Day::Own, Day::Yesterday] {
            match self.find_in(doing, book, day, &[FOLDERS[0], FOLDERS[1], ALL]).await {
                // A mailbox that cannot be searched by marks cannot tell, and it is no reason not to write.
                Ok(Found::Nothing)
                | Err(ActivityError::Graph(GraphError::Refused(_) | GraphError::OutcomeUnknown { .. })) => {}
                found => return found,
            }
        }
        Ok(Found::Nothing)
    }

    /// Looks for a draft that may have been made `age` ago. Nothing of it was sent. In a later call, one that has not
    /// appeared when it would have is taken for not made.
    async fn draft_in_doubt(
        &self,
        doing: &Doing<'_>,
        book: &Book,
        age: Duration,
        later_call: bool,
    ) -> Result<Found, ActivityError> {
        let sent = Instant::now();
        let mut at_once = true;
        loop {
            let now = age + sent.elapsed();
            if !std::mem::take(&mut at_once) {
                let Some(next) = book.patience.next_look(now, later_call) else {
                    return match later_call && book.patience.has_settled(now) {
                        true => Ok(Found::Nothing),
                        false => Err(unknown("its draft may still appear in Drafts, and nothing was sent")),
                    };
                };
                wait(doing, next - now).await?;
            }
            match self.find(doing, book, Day::Own).await {
                Ok(Found::Nothing) => {}
                Ok(found) => return Ok(found),
                Err(error) if book.patience.next_look(age + sent.elapsed(), later_call).is_none() => {
                    return Err(could_not_look(&error));
                }
                Err(_) => {}
            }
        }
    }

    /// Looks what becomes of a draft that may have been sent `age` ago, until it is sent or nobody knows.
    async fn watch(
        &self,
        doing: &Doing<'_>,
        book: &Book,
        draft: &str,
        age: Duration,
    ) -> Result<Value, ActivityError> {
        let sent = Instant::now();
        let mut at_once = true;
        let mut last = None;
        loop {
            let now = age + sent.elapsed();
            if !std::mem::take(&mut at_once) {
                let Some(next) = book.patience.next_draft_look(now) else {
                    return Err(
                        last.unwrap_or_else(|| unknown("its draft is gone, and it is not in Sent Items"))
                    );
                };
                wait(doing, next - now).await.map_err(|stop| last.clone().unwrap_or(stop))?;
            }
            last = Some(match self.state_of(doing, book, draft).await {
                Ok(Found::Sent) => return Ok(success()),
                Ok(Found::Draft(_)) => unknown(
                    "its draft was given to the service and lies in Drafts still. Send that draft, or remove it and use another key",
                ),
                Ok(Found::Nothing) => unknown("its draft is gone, and it is not in Sent Items"),
                Err(error) => could_not_look(&error),
            });
        }
    }

    /// The draft by its id, which stays when it is sent; the sent items by the mark, should the service have given another.
    async fn state_of(&self, doing: &Doing<'_>, book: &Book, draft: &str) -> Result<Found, ActivityError> {
        let question = self.look(&format!("{}?$select=id,isDraft", item("messages", draft)));
        match doing.live.graph.send(question, &doing.context).await {
            Ok(answer) => match body_of(&answer)?["isDraft"].as_bool() {
                Some(true) => Ok(Found::Draft(draft.to_owned())),
                Some(false) => Ok(Found::Sent),
                None => Err(unknown("the mailbox does not say whether the message is a draft")),
            },
            Err(GraphError::Refused(refusal)) if refusal.status == 404 => {
                let found = self.find_in(doing, book, Day::Own, &[FOLDERS[1]]).await?;
                Ok(if found == Found::Sent { found } else { Found::Nothing })
            }
            Err(error) => Err(error.into()),
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

/// What the rows that carry the mark say.
fn judge<'a>(
    rows: impl Iterator<Item = &'a Value>,
    answer: &Value,
    day: Day,
) -> Result<Found, ActivityError> {
    let mut draft = None;
    for row in rows {
        match (row["isDraft"].as_bool(), row["id"].as_str()) {
            (Some(false), _) => return Ok(Found::Sent),
            (Some(true), Some(id)) => draft = Some(id.to_owned()),
            _ => return Err(unknown("the mailbox does not say whether the message is a draft")),
        }
    }
    let whole = answer.get("@odata.nextLink").is_none();
    match draft {
        Some(id) => Ok(Found::Draft(id)),
        // Yesterday's mark is also on the messages of an earlier use of the key.
        None if whole && (day == Day::Yesterday || answer["value"].as_array().is_some_and(Vec::is_empty)) => {
            Ok(Found::Nothing)
        }
        // Rows without the mark mean that the service did not understand the filter, and a next link that there may be more.
        None => Err(unknown("the mailbox does not tell messages with the mark from others")),
    }
}

/// Waits for the next look. A caller whose time ends before it learns at once that the outcome is unknown.
async fn wait(doing: &Doing<'_>, time: Duration) -> Result<(), ActivityError> {
    if Instant::now() + time >= doing.context.deadline {
        return Err(unknown("the time limit of the call ends before the mailbox can be looked at again"));
    }
    tokio::select! {
        biased;
        () = doing.context.cancel.cancelled() => Err(unknown("the run was cancelled before the mailbox was looked at again")),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

fn success() -> Value {
    json!({"Status": "Success"})
}

fn could_not_look(error: &ActivityError) -> ActivityError {
    unknown(&format!("the mailbox could not be asked ({})", error.code()))
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
        let judged = |rows: Value| {
            let answer = json!({"value": rows});
            judge(rows.as_array().unwrap().iter(), &answer, Day::Own).ok()
        };
        for (rows, expected) in [
            (json!([]), Some(Found::Nothing)),
            (json!([row("a", json!(true))]), Some(Found::Draft("a".to_owned()))),
            (json!([row("b", json!(true)), row("c", json!(false))]), Some(Found::Sent)),
            (json!([row("a", Value::Null)]), None),
        ] {
            assert_eq!(judged(rows.clone()), expected, "{rows}");
        }
        // Others than ours, or more to come, prove nothing.
        let none = || std::iter::empty();
        let other = json!({"value": [{"id": "x"}]});
        assert!(judge(none(), &other, Day::Own).is_err());
        assert!(judge(none(), &other, Day::Yesterday).is_ok_and(|found| found == Found::Nothing));
        assert!(judge(none(), &json!({"value": [], "@odata.nextLink": "x"}), Day::Yesterday).is_err());
    }
}

//! SendMail with attachments that must be opened or are large: in one request when they turn out to be small, else as a
//! draft that gets them one by one and is then sent. A draft that is not finished is removed.

use serde_json::{Map, Value};

use super::attach::{AttachmentMeta, attach};
use super::content::Content;
use super::mail::{has_files, send_at_once};
use super::mail_attachments::{LARGE, MailAttachment, file_attachment, fits};
use super::run::Doing;
use super::{Outcome, Work, action, body_of, item};
use crate::activity::error::ActivityError;
use crate::activity::target::write;
use crate::catalog::Owner;
use crate::graph::{Effect, GraphError, UploadContent};

/// A message with its attachments.
#[derive(Debug)]
pub(super) struct MailWithFiles {
    pub(super) owner: Owner,
    pub(super) message: Map<String, Value>,
    pub(super) attached: Vec<MailAttachment>,
    pub(super) save: bool,
}

impl MailWithFiles {
    pub(super) async fn run(mut self, doing: &Doing<'_>) -> Result<Value, ActivityError> {
        let had_files = has_files(&self.attached);
        let mut opened = Vec::with_capacity(self.attached.len());
        for MailAttachment { name, content_type, source } in std::mem::take(&mut self.attached) {
            let content = source.open(doing).await?;
            opened.push((AttachmentMeta { name, content_type, content_id: None, is_inline: false }, content));
        }
        let measured = opened
            .iter()
            .map(|(meta, content)| (meta.name.as_str(), meta.content_type.as_deref(), content.length()));
        if had_files && fits(&self.message, measured) {
            return self.at_once(doing, opened).await;
        }
        if !self.save {
            let message = format!(
                "SaveToSentItems=false goes only with attachments of less than {LARGE} bytes together: a larger message is \
                 sent as a draft, and Outlook keeps a copy of that."
            );
            return Err(ActivityError::field("bad_parameter", "SaveToSentItems", message));
        }
        self.by_draft(doing, opened).await
    }

    async fn at_once(
        mut self,
        doing: &Doing<'_>,
        opened: Vec<(AttachmentMeta, Content)>,
    ) -> Result<Value, ActivityError> {
        let mut made = Vec::with_capacity(opened.len());
        for (meta, mut content) in opened {
            let Some(bytes) = doing.bounded(content.below(LARGE)).await? else { continue };
            made.push(file_attachment(&meta.name, meta.content_type.as_deref(), &bytes));
        }
        self.message.insert("attachments".to_owned(), Value::from(made));
        match send_at_once(&self.owner, self.message, self.save) {
            Work::Ask(request, outcome) => doing.ask(request, outcome).await,
            _ => Ok(Value::Null),
        }
    }

    async fn by_draft(
        mut self,
        doing: &Doing<'_>,
        opened: Vec<(AttachmentMeta, Content)>,
    ) -> Result<Value, ActivityError> {
        let mailbox = self.owner.mailbox();
        let path = format!("{}/messages", self.owner.path());
        let request = write(
            http::Method::POST,
            path,
            Some(std::mem::take(&mut self.message)),
            None,
            Some(mailbox.clone()),
            Effect::Once,
        );
        let draft = doing.live.graph.send(request, &doing.context).await?;
        let id = body_of(&draft)?.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = id.ok_or_else(|| GraphError::BadAnswer { what: "the new draft has no id".to_owned() })?;
        let base = format!("{}/{}", self.owner.path(), item("messages", &id));
        for (meta, content) in opened {
            if let Err(error) = attach(doing, &base, &mailbox, &meta, content).await {
                self.remove(doing, &base).await;
                return Err(error);
            }
        }
        let sent =
            match action(&self.owner, &format!("{}/send", item("messages", &id)), None, Outcome::Status) {
                Work::Ask(request, outcome) => doing.ask(request, outcome).await,
                _ => Ok(Value::Null),
            };
        if let Err(ActivityError::Graph(GraphError::Refused(_))) = &sent {
            self.remove(doing, &base).await;
        }
        sent
    }

    /// Nobody asked for a draft, so none stays behind when it could not be sent.
    async fn remove(&self, doing: &Doing<'_>, base: &str) {
        let path = base.to_owned();
        let request =
            write(http::Method::DELETE, path, None, None, Some(self.owner.mailbox()), Effect::Repeatable);
        if doing.live.graph.send(request, &doing.aftermath()).await.is_err() {
            tracing::warn!(connection = %doing.live.connection.name, request_id = %doing.context.request_id,
                "A draft with a part of its attachments stays in Drafts: it could neither be sent nor removed.");
        }
    }
}

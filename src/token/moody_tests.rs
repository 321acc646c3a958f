//! A store with moods and a token server without a wire, for the worker's tests.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{self, Outcome};
use super::model::TokenGeneration;
use super::store::{MemoryStore, Store, StoreError, StoreLock, StoreVersion, Stored};
use super::testing::InMemory;
use crate::clock::Timestamp;

/// How a store is disposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Well,
    /// Nobody gets at it.
    Away,
    Refused,
    Corrupt,
    Busy,
    /// Only what reads contents fails.
    Unreadable,
    /// Only commits fail.
    Full,
    /// The next commit finds the store emptied.
    Emptied,
}

/// A memory store with moods.
#[derive(Debug)]
pub(super) struct Moody {
    pub(super) inner: MemoryStore,
    mood: Mutex<Mood>,
    pub(super) signal: watch::Sender<u64>,
    pub(super) touches: AtomicU32,
    pub(super) failed_at: Mutex<Option<Instant>>,
}

impl Moody {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new("moody", Duration::from_secs(5)),
            mood: Mutex::new(Mood::Well),
            signal: watch::Sender::new(0),
            touches: AtomicU32::new(0),
            failed_at: Mutex::default(),
        })
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn touch(&self, fails: impl Fn(Mood) -> bool) -> Result<(), StoreError> {
        self.touches.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood();
        if !fails(mood) {
            return Ok(());
        }
        *self.failed_at.lock().unwrap() = Some(Instant::now());
        let message = format!("The store is {mood:?}.");
        Err(match mood {
            Mood::Refused => StoreError::Refused(message),
            Mood::Corrupt => StoreError::Corrupt(message),
            Mood::Busy => StoreError::Busy(message),
            Mood::Full => StoreError::Failed { message, nobody_can_write: true },
            _ => StoreError::Failed { message, nobody_can_write: false },
        })
    }

    pub(super) async fn refresh_token(&self) -> Option<String> {
        let stored = self.inner.load(false).await.unwrap()?;
        stored.refresh_token.map(|token| token.expose().clone())
    }
}

fn ails_all(mood: Mood) -> bool {
    matches!(mood, Mood::Away | Mood::Refused | Mood::Corrupt | Mood::Busy)
}

impl Store for Moody {
    fn load(&self, locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        async move {
            self.touch(|mood| ails_all(mood) || mood == Mood::Unreadable)?;
            self.inner.load(locked).await
        }
        .boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        async {
            self.touch(ails_all)?;
            self.inner.lock().await
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        lock: &'a StoreLock,
        expected: TokenGeneration,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.touch(|mood| ails_all(mood) || mood == Mood::Full)?;
            if self.mood() == Mood::Emptied {
                self.set(Mood::Well);
                self.inner.retire(lock).await?;
            }
            self.inner.commit(lock, expected, next).await
        }
        .boxed()
    }

    fn retire<'a>(&'a self, lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.retire(lock)
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        async {
            self.touch(ails_all)?;
            self.inner.version().await
        }
        .boxed()
    }

    fn place(&self) -> String {
        "moody".to_owned()
    }

    fn signal(&self) -> watch::Sender<u64> {
        self.signal.clone()
    }
}

/// A token server without a wire that counts refresh tokens; a used one is refused.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// The answer, instead of tokens.
    pub(super) answers: Mutex<Option<u16>>,
    /// What the answer is from the second request on.
    pub(super) then: Mutex<Option<u16>>,
    pub(super) sent: Mutex<Vec<String>>,
    pub(super) reused: AtomicU32,
    pub(super) failed_at: Mutex<Option<Instant>>,
    /// What becomes of the store while a request is under way.
    pub(super) meanwhile: Mutex<Option<(Arc<Moody>, Mood)>>,
}

impl InMemory for Server {
    fn exchange(&self, form: String, now: Timestamp) -> BoxFuture<'_, Outcome> {
        let form: std::collections::HashMap<_, _> =
            url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let token = form.get("refresh_token").cloned().unwrap_or_default();
        if let Some((store, mood)) = &*self.meanwhile.lock().unwrap() {
            store.set(*mood);
        }
        let mut sent = self.sent.lock().unwrap();
        let mut answers = *self.answers.lock().unwrap();
        if let Some(then) = self.then.lock().unwrap().filter(|_| !sent.is_empty()) {
            answers = Some(then);
        }
        let reused = sent.contains(&token) && answers.is_none();
        self.reused.fetch_add(u32::from(reused), Ordering::SeqCst);
        sent.push(token);
        let status = answers.unwrap_or(if reused { 400 } else { 200 });
        if status != 200 {
            *self.failed_at.lock().unwrap() = Some(Instant::now());
        }
        let body = match status {
            200 => format!(
                r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"at-{0}","refresh_token":"rt-{0}"}}"#,
                sent.len()
            ),
            400 => r#"{"error":"invalid_grant","error_codes":[70008]}"#.to_owned(),
            _ => String::new(),
        };
        std::future::ready(answer::classify(status, &HeaderMap::new(), body.as_bytes(), now)).boxed()
    }
}

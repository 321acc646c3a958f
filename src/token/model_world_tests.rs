//! The world of the model test: one store that can be full, away, locked, refused, emptied or put back, one identity
//! provider, and processes that can die; every touch of them is a step that the test lets happen when it likes. Notes
//! what must never happen.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::oneshot;

use super::answer::{self, Outcome};
use super::model::TokenFailure;
use super::store::{Store, StoreError, StoreLock, StoreVersion, Stored};
use super::testing::InMemory;
use crate::clock::Timestamp;

/// A refresh token: the sign-in it comes from, and its number in that family. Larger is newer.
pub(super) type Serial = (u64, u64);

/// One process. What a dead process had begun never goes on.
pub(super) type Process = u64;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) disk: Option<Stored>,
    pub(super) commits: u64,
    pub(super) locked_by: Option<Process>,
    /// What each commit has left, for putting back.
    pub(super) history: Vec<Stored>,
    pub(super) disk_is_full: bool,
    /// Nobody can read or write, and nobody knows whether others can.
    pub(super) is_away: bool,
    /// Another key, another owner: a person must act.
    pub(super) is_refused: bool,
    /// Somebody who is no agent holds the lock.
    pub(super) is_locked: bool,
    /// The newest sign-in or import that was reported to a person as done.
    pub(super) told: u64,
    pub(super) dead: HashSet<Process>,
    pub(super) waiting: Vec<(Process, oneshot::Sender<()>)>,
    /// The strict provider refuses every token but the newest, and ends the family at a reuse; Entra takes old ones.
    pub(super) strict: bool,
    pub(super) newest: BTreeMap<u64, u64>,
    pub(super) ended: HashSet<u64>,
    pub(super) answers_to_lose: u32,
    pub(super) durable: HashSet<Serial>,
    pub(super) refused_by_disk: HashSet<Serial>,
    pub(super) violations: Vec<String>,
}

pub(super) fn serial_of(text: &str) -> Option<Serial> {
    let mut parts = text.split('-').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn refresh_serial(stored: &Stored) -> Option<Serial> {
    serial_of(stored.refresh_token.as_ref()?.expose())
}

impl World {
    pub(super) fn on_disk(&self) -> Option<Serial> {
        self.disk.as_ref().and_then(refresh_serial)
    }

    pub(super) fn is_alive(&self, (family, number): Serial) -> bool {
        !self.ended.contains(&family) && (!self.strict || self.newest.get(&family) == Some(&number))
    }

    fn rotate(&mut self, sent: Serial) -> Result<Serial, ()> {
        if let Some(disk) = self.on_disk().filter(|disk| sent < *disk) {
            self.violations.push(format!(
                "{sent:?} was sent although {disk:?} was on disk ({:?})",
                self.disk.as_ref().map(|disk| disk.generation)
            ));
        }
        if !self.is_alive(sent) {
            if self.strict {
                self.ended.insert(sent.0);
            }
            return Err(());
        }
        let newest = self.newest.get_mut(&sent.0).unwrap();
        *newest += 1;
        Ok((sent.0, *newest))
    }
}

/// What one process sees of the world.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) process: Process,
}

impl World {
    fn trouble(&self) -> Result<(), StoreError> {
        match (self.is_away, self.is_refused) {
            (true, _) => Err(StoreError::Failed { message: "away.".to_owned(), nobody_can_write: false }),
            (_, true) => Err(StoreError::Refused("refused.".to_owned())),
            _ => Ok(()),
        }
    }
}

impl View {
    /// Waits for the test's hand.
    async fn step(&self) {
        let (go, gone) = oneshot::channel();
        self.world.lock().unwrap().waiting.push((self.process, go));
        if gone.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Held(View);

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.0.world.lock().unwrap();
        if world.locked_by == Some(self.0.process) {
            world.locked_by = None;
        }
    }
}

impl Store for View {
    fn load(&self, _locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        async {
            self.step().await;
            let world = self.world.lock().unwrap();
            world.trouble().map(|()| world.disk.clone())
        }
        .boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        async {
            for _ in 0..20 {
                self.step().await;
                let mut world = self.world.lock().unwrap();
                world.trouble()?;
                // A full disk keeps nobody from locking: the lock file is there and is never deleted.
                if world.locked_by.is_none() && !world.is_locked {
                    world.locked_by = Some(self.process);
                    return Ok(StoreLock::new(Held(self.clone())));
                }
            }
            Err(StoreError::Busy("busy.".to_owned()))
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        _lock: &'a StoreLock,
        expected: u64,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.step().await;
            {
                let mut world = self.world.lock().unwrap();
                if let Err(error) = world.trouble() {
                    world.refused_by_disk.extend(refresh_serial(next));
                    return Err(error);
                }
                let found = world.disk.as_ref().map_or(0, |stored| stored.generation);
                if found != expected {
                    return Err(StoreError::Superseded { found });
                }
                if world.disk_is_full {
                    world.refused_by_disk.extend(refresh_serial(next));
                    return Err(StoreError::Failed { message: "full.".to_owned(), nobody_can_write: true });
                }
                if next.generation < found || refresh_serial(next) < world.on_disk() {
                    let text = format!("{:?} replaced {:?} on disk", refresh_serial(next), world.on_disk());
                    world.violations.push(text);
                }
                world.durable.extend(refresh_serial(next));
                world.disk = Some(next.clone());
                world.history.push(next.clone());
                world.commits += 1;
            }
            // A crash may fall between the commit and what follows.
            self.step().await;
            Ok(())
        }
        .boxed()
    }

    fn retire<'a>(&'a self, _lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        self.world.lock().unwrap().disk = None;
        std::future::ready(Ok(())).boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        let world = self.world.lock().unwrap();
        if let Err(error) = world.trouble() {
            return std::future::ready(Err(error)).boxed();
        }
        let version = world.disk.is_some().then_some(StoreVersion(0, world.commits));
        drop(world);
        std::future::ready(Ok(version)).boxed()
    }

    fn place(&self) -> String {
        "the model's disk".to_owned()
    }
}

impl InMemory for View {
    fn exchange(&self, form: String, now: Timestamp) -> BoxFuture<'_, Outcome> {
        async move {
            self.step().await;
            let sent = url::form_urlencoded::parse(form.as_bytes())
                .find(|(name, _)| name == "refresh_token")
                .and_then(|(_, value)| serial_of(&value))
                .unwrap();
            let (rotated, lost) = {
                let mut world = self.world.lock().unwrap();
                let lost = world.answers_to_lose > 0;
                world.answers_to_lose = world.answers_to_lose.saturating_sub(1);
                (world.rotate(sent), lost)
            };
            // A crash may fall between the answer and the commit.
            self.step().await;
            if lost {
                let failure = TokenFailure {
                    code: "answer_lost".to_owned(),
                    aadsts: None,
                    correlation_id: None,
                    message: "Lost.".to_owned(),
                    at: now,
                    retry_at: None,
                };
                return Outcome::TryLater { after: None, failure };
            }
            let (status, body) = match rotated {
                Ok((family, number)) => (
                    200,
                    format!(
                        r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"at-{family}-{number}","refresh_token":"rt-{family}-{number}"}}"#
                    ),
                ),
                Err(()) => (400, r#"{"error":"invalid_grant","error_codes":[70008]}"#.to_owned()),
            };
            answer::classify(status, &HeaderMap::new(), body.as_bytes(), now)
        }
        .boxed()
    }
}

//! What people do to the store in the model test: sign in at an agent, import beside the agents, put a backup back.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::answer::NewTokens;
use super::model_tests::{Agent, Sequence};
use super::model_world_tests::{View, refresh_serial};
use super::sign_in::settle;
use super::store::{Newness, OpenStore, Stored, StoredAccess, put, seeds};

impl Sequence {
    /// Whether nobody's sign-in is still being taken over: nothing could say which of two at once is meant.
    pub(super) fn is_taken_over(&mut self) -> bool {
        let dead = self.world.lock().unwrap().dead.clone();
        self.acts.retain(|(process, act)| !act.is_finished() && !dead.contains(process));
        let known = |agent: &Agent| {
            refresh_serial(&agent.store.newest()).is_some_and(|(family, _)| family == self.families)
        };
        let on_disk = self.world.lock().unwrap().on_disk().is_none_or(|(family, _)| family == self.families);
        self.acts.is_empty() && on_disk && self.agents.iter().all(known)
    }

    /// A person signs in at an agent: the server has issued the tokens, and now they are stored.
    pub(super) fn sign_in_at(&mut self, which: usize) {
        if !self.is_taken_over() {
            return;
        }
        let family = self.sign_in();
        self.note(format!("agent {which}: a person signs in, {family}"));
        let agent = &self.agents[which];
        let tokens = NewTokens {
            access_token: format!("at-{family}-0").as_str().into(),
            refresh_token: Some(format!("rt-{family}-0").as_str().into()),
            lifetime: Duration::from_secs(3600),
            refresh_in: None,
        };
        let (context, shared, world) =
            (Arc::clone(&agent.context), agent.handle.shared(), Arc::clone(&self.world));
        let asked_at = self.clock.now();
        let process = agent.process;
        let act = tokio::spawn(async move {
            let done = settle(context, shared, tokens, asked_at, Default::default()).await.is_ok();
            let mut world = world.lock().unwrap();
            if done && !world.dead.contains(&process) {
                world.told = world.told.max(family);
            }
        });
        self.acts.push((process, act));
    }

    /// A command beside the agents puts tokens into the store, with any number.
    pub(super) fn import(&mut self) {
        if !self.is_taken_over() {
            return;
        }
        let family = self.sign_in();
        self.processes += 1;
        let (process, generation) = (self.processes, self.pick(60) as u64);
        self.note(format!("{process}: import {family} as {generation}"));
        let store = OpenStore::new(Arc::new(View { world: self.world.clone(), process }));
        let now = self.clock.now();
        let access = StoredAccess {
            secret: format!("at-{family}-0").as_str().into(),
            obtained_at: now,
            expires_at: now.plus(Duration::from_secs(3600)),
            refresh_due: now.plus(Duration::from_secs(1800)),
        };
        let stored = Stored {
            generation,
            access: Some(access),
            refresh_token: Some(format!("rt-{family}-0").as_str().into()),
            ..Stored::default()
        };
        // What the drop-ins say is older than what a person imports.
        let pasted: Vec<_> = self.agents.iter().filter_map(|agent| agent.context.plan.seed.clone()).collect();
        let stored = pasted.iter().fold(stored, |stored, seed| Stored {
            seed: seeds(Some(&seed.fingerprint), stored.seed.as_deref()),
            ..stored
        });
        let world = Arc::clone(&self.world);
        let act = tokio::spawn(async move {
            let done = put(&store, stored, Newness::AlwaysNewer(now)).await.is_ok();
            let mut world = world.lock().unwrap();
            // The store may have been emptied between the commit and the command's last word.
            if done && world.on_disk().is_some_and(|(on_disk, _)| on_disk == family) {
                world.told = world.told.max(family);
            }
        });
        self.acts.push((process, act));
    }

    pub(super) fn put_back(&mut self) {
        let count = self.world.lock().unwrap().history.len();
        if count == 0 {
            return;
        }
        let which = self.pick(count);
        let mut world = self.world.lock().unwrap();
        // Under somebody's lock it would fall between the last look and the request, where nothing can see it.
        if world.locked_by.is_some() {
            return;
        }
        let older = world.history[which].clone();
        world.disk = Some(older);
        world.commits += 1;
        drop(world);
        self.note(format!("the store is put back to commit {which} of {count}"));
        self.excused = true;
    }
}

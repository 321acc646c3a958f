//! Results on their way to the caller, in the order of the records. Never changes a result.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use super::model::RecordResult;

/// Results on their way to the caller, in the order of the records.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) told: Option<mpsc::Sender<RecordResult>>,
    pub(super) next: usize,
    waiting: BTreeMap<usize, RecordResult>,
    pub(super) ready: VecDeque<RecordResult>,
}

impl Out {
    pub(super) fn new(told: Option<mpsc::Sender<RecordResult>>) -> Self {
        Self { told, next: 0, waiting: BTreeMap::new(), ready: VecDeque::new() }
    }

    pub(super) fn push(&mut self, result: RecordResult) {
        self.waiting.insert(result.index, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            self.next += 1;
            if self.told.is_some() {
                self.ready.push_back(result);
            }
        }
    }

    /// Hands one result over; pends while there is none or the caller is slow. `false`: the caller has gone.
    pub(super) async fn hand_over(&mut self) -> bool {
        match (&self.told, self.ready.is_empty()) {
            (Some(told), false) => match told.reserve().await {
                Ok(permit) => {
                    if let Some(result) = self.ready.pop_front() {
                        permit.send(result);
                    }
                    true
                }
                Err(_) => false,
            },
            _ => std::future::pending().await,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty()
    }
}

//! What the Test of a connection asks of the token stage, put into sentences. Never shows a secret.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::check_connection::StoreProbe;
use super::engine::Live;
use crate::token::Keeper;

/// The store and the clock of one live connection, as the keeper knows them.
#[derive(Debug)]
pub struct KeptStore {
    /// Keeps the tokens.
    pub keeper: Arc<Keeper>,
    /// The connection.
    pub live: Arc<Live>,
}

impl StoreProbe for KeptStore {
    fn store(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(async {
            let report = self.keeper.inspect(&self.live.connection).await;
            match report.problem {
                Some(problem) => Err(problem),
                None if report.generation == 0 => Ok(format!("The store works: {}.", report.place)),
                None => Ok(format!("The store works: {}, token number {}.", report.place, report.generation)),
            }
        })
    }

    fn clock_skew_seconds(&self) -> Option<i64> {
        self.live.tokens.server_clock_skew()
    }
}

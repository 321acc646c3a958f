//! Says in the log, 30, 7 and 1 day ahead, that a credential ends; each once, also over restarts, and after the end once
//! a day. What was said stands in one small file of the state directory. Knows no secret and changes no state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::files;

use super::forecast::{CredentialForecast, warning};

/// The file below the state directory.
const FILE: &str = "expiry-warnings.json";
/// Ten thousand connections with two warnings each stay below it.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;
const DAY_SECONDS: i64 = 24 * 3600;

/// What was said: by connection, credential and days ahead, with the end it was said about and when.
#[derive(Debug, Default)]
pub(super) struct Forewarner {
    path: PathBuf,
    said: BTreeMap<String, (i64, i64)>,
}

impl Forewarner {
    /// Reads what was said before. A file that cannot be read costs repeated warnings and nothing else.
    pub(super) fn open(state_directory: &Path) -> Self {
        let path = state_directory.join(FILE);
        let bytes = files::read_private(&path, LARGEST_FILE).unwrap_or_default();
        Self { path, said: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    /// Says what is due about these connections. Blocking (writes the file): call it off the async threads.
    pub(super) fn look(
        &mut self,
        connections: &[(String, Vec<CredentialForecast>)],
        now: Timestamp,
    ) -> usize {
        let mut count = 0;
        for (name, rows) in connections {
            for row in rows {
                count += usize::from(self.say(name, row, now));
            }
        }
        if count > 0 {
            let written =
                serde_json::to_vec(&self.said).map_err(|error| error.to_string()).and_then(|bytes| {
                    files::write_private(&self.path, &bytes).map_err(|error| error.to_string())
                });
            if let Err(error) = written {
                tracing::warn!(
                    error,
                    "What was warned about could not be noted; a restart repeats the warnings."
                );
            }
        }
        count
    }

    fn say(&mut self, name: &str, row: &CredentialForecast, now: Timestamp) -> bool {
        let Some(days) = warning(row, now) else { return false };
        let (credential, ends) = (row.credential.as_str(), row.expires_at.as_seconds());
        let key = format!("{name}:{credential}:{days}");
        if let Some((about, at)) = self.said.get(&key)
            && *about == ends
            && (days > 0 || now.as_seconds() - at < DAY_SECONDS)
        {
            return false;
        }
        self.said.insert(key, (ends, now.as_seconds()));
        let remedy = row.credential.remedy();
        if days == 0 {
            tracing::error!(connection = name, credential, expires_at = %row.expires_at, assumed = row.assumed, remedy, "A credential has come to its end.");
        } else {
            tracing::warn!(connection = name, credential, expires_at = %row.expires_at, assumed = row.assumed, days, remedy, "A credential ends soon.");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::forecast::Credential;
    use super::super::testing::state_folder;
    use super::*;

    #[test]
    fn each_warning_is_said_once_also_over_restarts() {
        let folder = state_folder();
        let now = Timestamp::from_seconds(1_700_000_000);
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        let row = |expires_at| CredentialForecast {
            credential: Credential::ClientSecret,
            expires_at,
            assumed: false,
            renewed: false,
        };
        let mut said = Vec::new();
        // Looks every hour for forty days, with a restart before each look.
        for hours in 0..40 * 24 {
            let at = now.plus(hour * hours);
            let connections = [("a:b".to_owned(), vec![row(now.plus(day * 35))])];
            if Forewarner::open(folder.path()).look(&connections, at) > 0 {
                said.push(hours / 24);
            }
        }
        assert_eq!(said, [5, 28, 34, 35, 36, 37, 38, 39], "30, 7 and 1 day ahead, then once a day");
        let renewed = [("a:b".to_owned(), vec![row(now.plus(day * 60))])];
        assert_eq!(
            Forewarner::open(folder.path()).look(&renewed, now.plus(day * 40)),
            1,
            "another end counts anew"
        );
    }
}

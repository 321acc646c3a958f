//! The bytes of a token file: a small readable frame (format, version, owner, which key) around sealed contents.
//! The frame's owner is bound into the seal, so a file copied under another connection's name does not open.
//!
//! Format 2 adds the lineage: which sign-in the tokens come from, a name made at random when the sign-in was stored (or
//! the fingerprint of pasted tokens), when it began, and which ones it replaced. Format 1 is read as before: its lineage is taken from
//! the fingerprints of the pasted tokens that it remembers, and the next commit writes format 2. Agents that know only
//! format 1 refuse format 2, because their next commit would drop the lineage and with it the knowledge whose tokens are
//! newer.

use aws_lc_rs::aead::{Aad, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::clock::Timestamp;
use crate::secret::Secret;

use super::key::StoreKey;
use super::{DeniedMarker, Lineage, Stored, StoredAccess};
use crate::token::model::TokenFailure;

const FORMAT: &str = "o365-agent-tokens";
/// Raised when an older agent could misread a newer file.
const VERSION: u32 = 2;

/// Why bytes did not open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// Written by this format's later version.
    Newer(u32),
    /// Belongs to another connection.
    Owner(String),
    /// Sealed with another key, with this id.
    Key(String),
    /// Not a token file, cut short, or changed.
    Corrupt(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Frame {
    format: String,
    version: u32,
    owner: String,
    key: String,
    nonce: String,
    sealed: String,
}

/// The owner named in a file's frame, without opening it.
pub(super) fn owner_of(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Frame>(bytes)
        .ok()
        .filter(|frame| frame.format == FORMAT)
        .map(|frame| frame.owner)
}

/// Seals `stored` for `owner`.
pub(super) fn seal(stored: &Stored, owner: &str, key: &StoreKey) -> Result<Vec<u8>, &'static str> {
    let mut contents =
        serde_json::to_vec(&Contents::from(stored)).map_err(|_| "the tokens could not be written as JSON")?;
    let sealed = key.cipher.seal_in_place_append_tag(Aad::from(bound(VERSION, owner)), &mut contents);
    let Ok(nonce) = sealed else {
        contents.zeroize();
        return Err("the tokens could not be encrypted");
    };
    let frame = Frame {
        format: FORMAT.to_owned(),
        version: VERSION,
        owner: owner.to_owned(),
        key: key.id.clone(),
        nonce: STANDARD.encode(nonce.as_ref()),
        sealed: STANDARD.encode(&contents),
    };
    serde_json::to_vec_pretty(&frame).map_err(|_| "the token file could not be written as JSON")
}

/// Opens what [`seal`] made.
pub(super) fn open(bytes: &[u8], owner: &str, key: &StoreKey) -> Result<Stored, OpenError> {
    let frame: Frame = serde_json::from_slice(bytes).map_err(|_| OpenError::Corrupt("it is not whole"))?;
    if frame.format != FORMAT {
        return Err(OpenError::Corrupt("it is not a token file of this agent"));
    }
    if frame.version > VERSION {
        return Err(OpenError::Newer(frame.version));
    }
    if frame.owner != owner {
        return Err(OpenError::Owner(frame.owner));
    }
    if frame.key != key.id {
        return Err(OpenError::Key(frame.key));
    }
    let nonce =
        STANDARD.decode(&frame.nonce).ok().and_then(|nonce| Nonce::try_assume_unique_for_key(&nonce).ok());
    let nonce = nonce.ok_or(OpenError::Corrupt("its nonce is damaged"))?;
    let mut sealed =
        STANDARD.decode(&frame.sealed).map_err(|_| OpenError::Corrupt("its contents are damaged"))?;
    let stored = match key.cipher.open_in_place(nonce, Aad::from(bound(frame.version, owner)), &mut sealed) {
        Ok(plain) => serde_json::from_slice::<Contents<String>>(plain)
            .map(Stored::from)
            .map_err(|_| OpenError::Corrupt("its contents are not understood")),
        Err(_) => Err(OpenError::Corrupt("its contents were changed")),
    };
    sealed.zeroize();
    stored
}

/// The contents in the clear, for an export that was asked to hold secrets.
pub(super) fn to_plain(stored: &Stored) -> Option<serde_json::Value> {
    serde_json::to_value(Contents::from(stored)).ok()
}

/// What [`to_plain`] made.
pub(super) fn from_plain(value: serde_json::Value) -> Option<Stored> {
    serde_json::from_value::<Contents<String>>(value).ok().map(Stored::from)
}

fn bound(version: u32, owner: &str) -> String {
    format!("{FORMAT}\0{version}\0{owner}")
}

/// The sealed contents; `T` is a borrowed or an owned text.
#[derive(Serialize, Deserialize)]
struct Contents<T> {
    generation: u64,
    access: Option<Access<T>>,
    refresh_token: Option<T>,
    seed: Option<T>,
    denied: Option<Denied>,
    /// Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lineage: Option<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    began_ms: i64,
    replaced: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Access<T> {
    token: T,
    obtained_at_ms: i64,
    expires_at_ms: i64,
    refresh_due_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Denied {
    refresh_token: String,
    configuration: String,
    code: String,
    aadsts: Option<u32>,
    correlation_id: Option<String>,
    message: String,
    at_ms: i64,
    /// Absent in files of the first version.
    #[serde(default)]
    claims: Option<String>,
}

impl<'a> From<&'a Stored> for Contents<&'a str> {
    fn from(stored: &'a Stored) -> Self {
        Self {
            generation: stored.generation,
            access: stored.access.as_ref().map(|access| Access {
                token: access.secret.expose().as_str(),
                obtained_at_ms: access.obtained_at.as_millis(),
                expires_at_ms: access.expires_at.as_millis(),
                refresh_due_ms: access.refresh_due.as_millis(),
            }),
            refresh_token: stored.refresh_token.as_ref().map(|token| token.expose().as_str()),
            seed: stored.seed.as_deref(),
            denied: stored.denied.as_ref().map(|marker| Denied {
                refresh_token: marker.refresh_token.clone(),
                configuration: marker.configuration.clone(),
                code: marker.failure.code.clone(),
                aadsts: marker.failure.aadsts,
                correlation_id: marker.failure.correlation_id.clone(),
                message: marker.failure.message.clone(),
                at_ms: marker.failure.at.as_millis(),
                claims: marker.claims.clone(),
            }),
            lineage: Some(Line {
                id: stored.lineage.id().to_owned(),
                began_ms: stored.lineage.began().as_millis(),
                replaced: stored.lineage.replaced().to_vec(),
            }),
        }
    }
}

impl From<Contents<String>> for Stored {
    fn from(contents: Contents<String>) -> Self {
        let lineage = match contents.lineage {
            Some(line) => Lineage::from_parts(line.id, Timestamp::from_millis(line.began_ms), line.replaced),
            None => Lineage::of_first_format(contents.seed.as_deref()),
        };
        Self {
            generation: contents.generation,
            lineage,
            access: contents.access.map(|access| StoredAccess {
                secret: Secret::from(access.token),
                obtained_at: Timestamp::from_millis(access.obtained_at_ms),
                expires_at: Timestamp::from_millis(access.expires_at_ms),
                refresh_due: Timestamp::from_millis(access.refresh_due_ms),
            }),
            refresh_token: contents.refresh_token.map(Secret::from),
            seed: contents.seed,
            denied: contents.denied.map(|denied| DeniedMarker {
                refresh_token: denied.refresh_token,
                configuration: denied.configuration,
                claims: denied.claims,
                failure: TokenFailure {
                    code: denied.code,
                    aadsts: denied.aadsts,
                    correlation_id: denied.correlation_id,
                    message: denied.message,
                    at: Timestamp::from_millis(denied.at_ms),
                    retry_at: None,
                },
            }),
        }
    }
}

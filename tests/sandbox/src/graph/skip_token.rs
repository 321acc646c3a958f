//! The directory's opaque page tokens.
//! Never accepts one that was changed, or that belongs to another query.

use super::errors::GraphError;
use crate::answer::Call;
use crate::random::{mix, seed_of};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decides which texts are tokens; any number does.
const SECRET: u64 = 0x5A4D_B07C_0365_0365;

/// Writes the token of a page that starts at this row.
pub(crate) fn write(start: usize, call: &Call) -> String {
    let start = start as u64;
    let check = mix(SECRET, start, query_digest(call));
    let mut bytes = b"RFNwdAIAAQAAAB".to_vec();
    bytes.extend_from_slice(&start.to_be_bytes());
    bytes.extend_from_slice(&check.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token; without one the first page is asked for.
pub(crate) fn read(token: Option<&str>, call: &Call) -> Result<usize, GraphError> {
    let Some(token) = token else {
        return Ok(0);
    };
    let start = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| {
        let start: [u8; 8] = bytes.get(14..22)?.try_into().ok()?;
        Some(u64::from_be_bytes(start) as usize)
    });
    match start {
        Some(start) if write(start, call) == token => Ok(start),
        _ => {
            let text =
                format!("The specified page token value '{token}' included in the request is invalid.");
            Err(GraphError::new(400, "Directory_ExpiredPageToken", text))
        }
    }
}

fn query_digest(call: &Call) -> u64 {
    let mut options: Vec<(String, String)> = crate::answer::decoded_pairs(call.query());
    options.retain(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
    options.sort();
    seed_of(&format!("{}{options:?}", call.path()))
}

//! The sign-in service: applications, tokens and the token endpoint.
//! Never serves Graph data.

pub(crate) mod apps;
pub(crate) mod assertion;
pub(crate) mod errors;
pub(crate) mod grants;
pub(crate) mod identity;
pub(crate) mod sign_in;
pub(crate) mod store;
pub(crate) mod token;

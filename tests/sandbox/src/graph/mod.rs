//! Microsoft Graph v1.0, as far as the sandbox simulates it.
//! Never issues tokens.

pub(crate) mod access;
pub(crate) mod actions;
pub(crate) mod attachments;
pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod cache;
pub(crate) mod delta;
pub(crate) mod dispatch;
pub(crate) mod drives;
pub(crate) mod entity;
pub(crate) mod errors;
pub(crate) mod extended;
pub(crate) mod licenses;
pub(crate) mod listing;
mod manager;
pub(crate) mod metadata;
pub(crate) mod mime;
pub(crate) mod new_items;
pub(crate) mod occurrences;
pub(crate) mod odata;
pub(crate) mod prefer;
pub(crate) mod resources;
pub(crate) mod route;
pub(crate) mod service;
pub(crate) mod skip_token;
pub(crate) mod uploads;
pub(crate) mod users;
pub(crate) mod views;
pub(crate) mod write;

pub(crate) use service::serve;

//! The tenant's content: what the rows look like, how they are generated, where changes are kept.
//! Never knows about HTTP, tokens or query options.

pub(crate) mod attachments;
pub(crate) mod collection;
pub(crate) mod contacts;
pub(crate) mod content;
pub(crate) mod directory;
pub(crate) mod documents;
pub(crate) mod drives;
pub(crate) mod events;
pub(crate) mod folders;
pub(crate) mod hashes;
pub(crate) mod ids;
pub(crate) mod messages;
pub(crate) mod model;
pub(crate) mod seeds;
pub(crate) mod shapes;
pub(crate) mod tenant;
pub(crate) mod types;
pub(crate) mod words;

//! OData options: reading, checking and carrying them out.
//! Never touches a socket or a token.

pub(crate) mod check;
pub(crate) mod evaluate;
pub(crate) mod expression;
pub(crate) mod filter;
pub(crate) mod lexer;
pub(crate) mod query;
pub(crate) mod search;

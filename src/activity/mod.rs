//! The activity stage: Query, Create, Update, Delete, Execute and Test on a live connection, each as a run that can be
//! listed and cancelled. Never knows an HTTP route and never prints.

mod model;

pub use model::*;

//! `o365-agent` as a library: the folder list is the data flow, in this order, and a stage imports only stages to its
//! left and the shared leaves (`tests/tidy.rs` holds it).
//!
//! ```text
//! settings → dropin → connection → token → graph → catalog → query → activity → control, cli
//! ```

// The stages, in the order data flows through them.

// Query, Create, Update, Delete, Execute, Test, and their runs. Never knows HTTP routes.
pub mod activity;
// Objects, columns and procedures as facts. Never sends.
pub mod catalog;
// One file per subcommand; the only place that prints.
pub mod cli;
// The property model, validation, variables and the registry of connections. Never does I/O.
pub mod connection;
// The local HTTP port: guard, routes, OpenAPI, metrics. Never decides anything.
pub mod control;
// `agent.d/*.yaml` as written. Never knows OAuth.
pub mod dropin;
// The Microsoft Graph client: one authorised send, paging, batching, throttling, retry. Never knows a table.
pub mod graph;
// Conditions → plan → OData requests → rows. Never writes to Graph.
pub mod query;
// `jitterbit.conf`: raw → merged → `Settings`. Never reads a drop-in.
pub mod settings;
// The right to talk: grants, the token state machine, stores and the keeper. Never calls Graph.
pub mod token;

// The life cycle, outside the flow: it wires the stages, and only the command line imports it.

// The order of things: settings → bind → load → ready → wait → drain.
pub mod agent;
// Settings and drop-ins → connections in force; start-up and reload are this one path.
pub mod loader;
// Feeds systemd's watchdog while the main loops turn.
pub mod watchdog;

// The shared leaves: they import no stage.

// The only module that asks what time it is.
pub mod clock;
// Configuration faults and the cleaning of foreign text.
pub mod error;
// The only writer of files.
pub mod files;
// Values that cannot be printed.
pub mod secret;
// The systemd protocol.
pub mod systemd;
// Logs and metrics.
pub mod telemetry;

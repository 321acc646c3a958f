//! The dropin stage.

//! CreateSchema: the description of an object, answered and written into a local file. Sends nothing.

use serde_json::{Value, json};

use super::Call;
use super::Work;
use super::given::Given;
use super::local_files::LocalPath;
use crate::activity::error::ActivityError;

/// A description that goes into a file.
#[derive(Debug)]
pub(super) struct WriteSchema {
    schema: Value,
    path: LocalPath,
    overwrite: bool,
}

pub(super) fn create(given: &Given<'_>, call: Call<'_>) -> Result<Work, ActivityError> {
    let described = call
        .catalog
        .describe(given.id("TableName")?)
        .map_err(|error| ActivityError::unknown("unknown_object", "TableName", error))?;
    let schema = serde_json::to_value(described).unwrap_or_default();
    let overwrite = given.boolean("Overwrite", true)?;
    match given.text("LocalFile")? {
        None => Ok(Work::Ready(json!({"Schema": schema}))),
        Some(path) => {
            let path = call.local_files.path("LocalFile", path)?;
            Ok(Work::Schema(WriteSchema { schema, path, overwrite }))
        }
    }
}

impl WriteSchema {
    pub(super) async fn run(self) -> Result<Value, ActivityError> {
        let Self { schema, path, overwrite } = self;
        let mut text = serde_json::to_vec_pretty(&schema).unwrap_or_default();
        text.push(b'\n');
        let partial = path.begin(String::new(), overwrite).await?;
        let written = path
            .blocking(move || {
                let mut partial = partial;
                partial.restart()?;
                partial.add(&text)?;
                partial.finish()
            })
            .await?;
        Ok(json!({"Schema": schema, "LocalFile": written.display().to_string()}))
    }
}

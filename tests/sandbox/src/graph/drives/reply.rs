//! Pages and single items as answers.
//! Never decides which items.

use super::show;
use crate::answer::{Answer, Call};
use crate::data::drives::Drive;
use crate::graph::errors::GraphError;
use crate::graph::odata::query::Query;
use serde_json::{Map, Value};

/// The options of a request for items. Annotations in `$select` are no properties, so they are read apart.
pub(super) fn query(call: &Call) -> Result<(Query, Vec<String>), GraphError> {
    let mut annotations = Vec::new();
    let pieces = call.query().split('&').map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let plain = crate::answer::decode(name).to_ascii_lowercase();
        if plain != "$select" && plain != "select" {
            return piece.to_owned();
        }
        let text = crate::answer::decode(value);
        let (marked, names): (Vec<&str>, Vec<&str>) =
            text.split(',').map(str::trim).partition(|name| name.contains('@'));
        annotations.extend(marked.into_iter().map(str::to_owned));
        let names = if names.is_empty() { "id".to_owned() } else { names.join(",") };
        format!("$select={names}")
    });
    let query: Vec<String> = pieces.collect();
    let mut plain = call.clone();
    plain.target = format!("{}?{}", call.path(), query.join("&"));
    let query = Query::of_type(&plain, "driveItem")?;
    if query.filter.is_some() {
        return Err(GraphError::new(400, "notSupported", "Filtering is not supported on this resource."));
    }
    if query.search.is_some() || query.skip > 0 {
        return Err(GraphError::new(
            400,
            "notSupported",
            "The query option is not supported on this resource.",
        ));
    }
    Ok((query, annotations))
}

/// One item.
pub(super) fn item(
    status: u16,
    drive: &Drive,
    key: u32,
    origins: (&str, &str),
    query: &Query,
    annotations: &[String],
) -> Result<Answer, GraphError> {
    let (graph_origin, content_origin) = origins;
    let mut shown = Map::new();
    let url =
        format!("{graph_origin}/v1.0/$metadata#drives('{}')/items/$entity", drive.id.replace('!', "%21"));
    shown.insert("@odata.context".into(), url.into());
    shown.extend(show::chosen(drive, key, content_origin, query, annotations)?);
    let answer = Answer::json(status, &Value::Object(shown));
    Ok(match drive.item(key) {
        Some(item) => answer.with("etag", show::etag(drive, key, item)),
        None => answer,
    })
}

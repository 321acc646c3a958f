//! Reads a query to its end into a file, in the background: a run whose rows are fetched later. The order is: rows → end
//! durable → run ended, so nobody is told of rows that are not there. Never answers a row.

use serde_json::{Value, json};

use super::error::ActivityError;
use super::running::RunningQuery;
use super::spool::{Pushed, Spool};
use super::spooled_rows::RowsEnd;
use crate::query::{Encoding, End, Progress};

/// Reads `query` into `spool`. The run ends with it, well or not.
pub(super) async fn spool_rows(mut query: RunningQuery, mut spool: Spool) {
    let read = match read(&mut query, &mut spool).await {
        Ok(end) => {
            let complete = end.complete;
            spool.finish(&end).await.map(|()| complete)
        }
        Err(error) => {
            spool.discard().await;
            Err(error)
        }
    };
    match read {
        Ok(complete) => query.succeed(complete),
        Err(error) => query.fail(&error),
    }
}

async fn read(query: &mut RunningQuery, spool: &mut Spool) -> Result<RowsEnd, ActivityError> {
    let (mut text, mut kept) = (Vec::new(), 0);
    loop {
        let Progress { end, .. } = query.page(&mut text, Encoding::Ndjson).await?;
        let Pushed { rows, full } = spool.push(&mut text).await?;
        kept += rows;
        query.count(rows);
        let end = match full {
            Some(reason) => End { complete: false, reason: Some(reason), notes: Vec::new() },
            None => match end {
                Some(end) => end,
                None => continue,
            },
        };
        return Ok(rows_end(query, kept, end));
    }
}

fn rows_end(query: &RunningQuery, rows: u64, end: End) -> RowsEnd {
    let column = |(name, kind)| json!({"name": name, "type": kind});
    let evaluated = query.evaluated();
    RowsEnd {
        columns: query.columns().into_iter().map(column).collect(),
        evaluated: if evaluated.is_empty() { Value::Null } else { json!(evaluated) },
        rows,
        complete: end.complete,
        reason: end.reason,
        notes: query.notes().to_vec(),
        notes_at_end: end.notes,
    }
}

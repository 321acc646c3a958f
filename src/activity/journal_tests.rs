//! Tests of the journal: what is read back, torn and damaged lines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use serde_json::json;

use super::*;
use crate::activity::RecordStatus;

fn result(index: usize, status: RecordStatus) -> RecordResult {
    RecordResult { index, status, id: Some(format!("id-{index}")), error: None, result: None }
}

fn header() -> Header {
    Header { version: 2, fingerprint: "f".into(), run: "r1".into(), mark: "m".into() }
}

fn text(lines: &[Line<'_>]) -> Vec<u8> {
    let mut text = Vec::new();
    lines.iter().for_each(|line| line.write(&mut text));
    text
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let journal = Journal::to(AppendFile::make(&path).unwrap());
    let chosen: Vec<Record> =
        (0..1200).map(|n| json!({"id": n.to_string()}).as_object().unwrap().clone()).collect();
    let (created, skipped, unknown) = (
        result(0, RecordStatus::Created),
        result(2, RecordStatus::Skipped),
        result(3, RecordStatus::Unknown),
    );
    // An agent that died while it wrote down what was found has not sent anything.
    journal
        .append(text(&[Line::Header(&header()), Line::Found(&chosen[..7]), Line::Run("r1")]))
        .await
        .unwrap();
    assert_eq!(Earlier::read(&path, true).unwrap().unwrap().found, None);
    journal.append(found(&chosen)).await.unwrap();
    let (one, two) = tokio::join!(
        journal.append(text(&[Line::Sent { at: 7000, records: &[0, 1, 2, 3] }])),
        journal.append(text(&[Line::Done(&created), Line::Told(&skipped), Line::Told(&unknown)]))
    );
    assert_eq!((one, two), (Ok(()), Ok(())));
    journal.append(text(&[Line::Run("r2"), Line::Sent { at: 7000, records: &[0, 5] }])).await.unwrap();

    let earlier = Earlier::read(&path, true).unwrap().unwrap();
    assert_eq!((earlier.header.clone(), earlier.run.as_deref()), (Some(header()), Some("r2")));
    assert_eq!(earlier.found.as_deref(), Some(chosen.as_slice()));
    assert_eq!(
        earlier.sent.keys().copied().collect::<Vec<_>>(),
        [1, 3, 5],
        "neither done nor surely not done"
    );
    assert_eq!(earlier.sent[&5], crate::clock::Timestamp::from_seconds(7));
    assert_eq!(earlier.done(0).unwrap(), Some(created.clone()));
    assert_eq!((earlier.done(2).unwrap(), earlier.told(2).unwrap()), (None, Some(skipped)));
    assert_eq!((earlier.told(0).unwrap(), earlier.results()), (Some(created), 4));
}

#[test]
fn a_torn_last_line_is_cut_off_and_a_damaged_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let whole = text(&[Line::Header(&header()), Line::Sent { at: 7000, records: &[7] }]);
    let done = text(&[Line::Done(&result(7, RecordStatus::Created))]);
    for torn in 0..done.len() {
        std::fs::write(&path, [&whole[..], &done[..torn]].concat()).unwrap();
        let reading = Earlier::read(&path, false).unwrap().unwrap();
        let unchanged = std::fs::metadata(&path).unwrap().len();
        assert_eq!((reading.sent.len(), unchanged), (1, (whole.len() + torn) as u64));
        let earlier = Earlier::read(&path, true).unwrap().unwrap();
        assert_eq!(earlier.sent.len(), 1, "torn after {torn} bytes");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole.len() as u64);
    }
    std::fs::write(&path, [&whole[..], b"{\"done\":{}}\n", &done[..]].concat()).unwrap();
    assert!(Earlier::read(&path, true).unwrap().unwrap_err().contains("line 3"));
}

//! Generated mail: every property of message number N follows from the mailbox and N alone.
//! Never keeps anything.

use super::collection::Owner;
use super::words::{CATEGORIES, COMPANIES, GIVEN_NAMES, PEOPLE, SENTENCES, SURNAMES, TOPICS, TURNS};
use super::{folders, ids, model::Entity};
use crate::random::{mix, pick};
use crate::time::instant;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

/// When the newest generated message arrived: fixed, so that tests can name dates.
pub(crate) const NEWEST: i64 = 1_795_194_000;

/// Seconds between two messages, on average.
const SPACING: i64 = 540;

/// One property of generated message `key`.
pub(crate) fn field(owner: &Owner, key: u32, name: &str) -> Value {
    let bits = |purpose| mix(owner.seed, u64::from(key), purpose);
    match name {
        "createdDateTime" | "receivedDateTime" => instant(received(owner, key)).into(),
        "sentDateTime" => instant(received(owner, key) - 2 - (bits(1) % 5) as i64).into(),
        "lastModifiedDateTime" => instant(received(owner, key) + 40).into(),
        "categories" => match bits(2) % 12 {
            0 => json!([pick(CATEGORIES, bits(3))]),
            1 => json!([CATEGORIES[0], CATEGORIES[1]]),
            _ => json!([]),
        },
        "hasAttachments" => (bits(4) % 7 == 0).into(),
        "internetMessageId" => format!("<{:016x}{key:08x}@{}>", bits(5), sender(owner, key).1).into(),
        "subject" => subject(owner, key).into(),
        "bodyPreview" => sentences(owner, key).into(),
        "body" => json!({"contentType": "html", "content": html_body(owner, key)}),
        "uniqueBody" => json!({"contentType": "html", "content": html_body(owner, key)}),
        "importance" => match bits(6) % 15 {
            0 => "high".into(),
            1 => "low".into(),
            _ => "normal".into(),
        },
        "conversationId" => {
            let conversation = mix(owner.seed, u64::from(key / 3), 7).to_be_bytes();
            format!("AAQkA{}", URL_SAFE.encode([owner.id.as_bytes(), &conversation[..]].concat())).into()
        }
        "conversationIndex" => {
            STANDARD.encode([&[1, 0xDB][..], &bits(8).to_be_bytes(), &bits(9).to_be_bytes()].concat()).into()
        }
        "isDeliveryReceiptRequested" | "isReadReceiptRequested" => false.into(),
        "isRead" => (bits(10) % 4 != 0).into(),
        "isDraft" => (folders::folder_of_message(key) == folders::DRAFTS).into(),
        "webLink" => {
            let id = ids::encode(&owner.id, Entity::Message, key, false).replace('=', "%3D");
            format!("https://outlook.office365.com/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem")
                .into()
        }
        "inferenceClassification" => if bits(11) % 5 == 0 { "other" } else { "focused" }.into(),
        "from" | "sender" => {
            let (name, address) = if folders::is_outgoing(folders::folder_of_message(key)) {
                (owner.name.clone(), owner.address.clone())
            } else {
                sender(owner, key)
            };
            recipient(&name, &address)
        }
        "toRecipients" => {
            if folders::is_outgoing(folders::folder_of_message(key)) {
                let (name, address) = sender(owner, key);
                json!([recipient(&name, &address)])
            } else {
                json!([recipient(&owner.name, &owner.address)])
            }
        }
        "ccRecipients" if bits(12) % 6 == 0 => {
            let (name, address) = sender(owner, key.wrapping_add(1));
            json!([recipient(&name, &address)])
        }
        "ccRecipients" | "bccRecipients" | "replyTo" => json!([]),
        "flag" => json!({"flagStatus": if bits(13) % 20 == 0 { "flagged" } else { "notFlagged" }}),
        "internetMessageHeaders" => json!([
            {"name": "X-Mailer", "value": "sandbox"},
            {"name": "MIME-Version", "value": "1.0"}
        ]),
        _ => Value::Null,
    }
}

/// `{"emailAddress": {"name", "address"}}`.
pub(crate) fn recipient(name: &str, address: &str) -> Value {
    json!({"emailAddress": {"name": name, "address": address}})
}

fn received(owner: &Owner, key: u32) -> i64 {
    // Less than the spacing is taken off, so the times fall strictly with the number.
    NEWEST - i64::from(key) * SPACING - (mix(owner.seed, u64::from(key), 14) % (SPACING as u64 - 1)) as i64
}

fn subject(owner: &Owner, key: u32) -> String {
    let bits = mix(owner.seed, u64::from(key), 15);
    let prefix = ["", "", "RE: ", "FW: "][(bits >> 40) as usize % 4];
    format!("{prefix}{}: {}", pick(TOPICS, bits), pick(TURNS, bits >> 16))
}

fn sender(owner: &Owner, key: u32) -> (String, String) {
    let bits = mix(owner.seed, u64::from(key), 16);
    let domain = owner.address.split_once('@').map_or(owner.address.as_str(), |(_, domain)| domain);
    if bits.is_multiple_of(3) {
        let (given, surname, _, _) = PEOPLE[(bits >> 8) as usize % PEOPLE.len()];
        return (format!("{given} {surname}"), format!("{given}{}@{domain}", &surname[..1]));
    }
    let (given, surname) = (pick(GIVEN_NAMES, bits >> 8), pick(SURNAMES, bits >> 20));
    let (_, company) = COMPANIES[(bits >> 32) as usize % COMPANIES.len()];
    (
        format!("{given} {surname}"),
        format!("{}.{}@{company}", given.to_lowercase(), surname.to_lowercase().replace('\'', "")),
    )
}

fn sentences(owner: &Owner, key: u32) -> String {
    let bits = mix(owner.seed, u64::from(key), 17);
    let mut text = format!("Hello {},\r\n\r\n", owner.name.split(' ').next().unwrap_or_default());
    for turn in 0..2 + bits % 3 {
        text.push_str(pick(SENTENCES, bits >> (turn * 7)));
        text.push(' ');
    }
    text.truncate(text.trim_end().len());
    text
}

fn html_body(owner: &Owner, key: u32) -> String {
    format!(
        "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body><p>{}</p></body></html>",
        sentences(owner, key).replace("\r\n\r\n", "</p><p>")
    )
}

//! The members of whole answers, against the ones in the service's documented samples.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::Client;
use o365_sandbox::{Sandbox, SandboxOptions};

/// Members that every documented answer of that kind has.
const DOCUMENTED: &[(&str, &str)] = &[
    (
        "/me/messages?$top=1",
        "@odata.etag id createdDateTime lastModifiedDateTime changeKey categories receivedDateTime sentDateTime \
         hasAttachments internetMessageId subject bodyPreview importance parentFolderId conversationId \
         conversationIndex isDeliveryReceiptRequested isReadReceiptRequested isRead isDraft webLink \
         inferenceClassification body sender from toRecipients ccRecipients bccRecipients replyTo flag",
    ),
    (
        "/me/events?$top=1",
        "@odata.etag id createdDateTime lastModifiedDateTime changeKey categories originalStartTimeZone \
         originalEndTimeZone iCalUId reminderMinutesBeforeStart isReminderOn hasAttachments subject bodyPreview \
         importance sensitivity isAllDay isCancelled isDraft isOrganizer responseRequested seriesMasterId showAs \
         type webLink onlineMeetingUrl recurrence responseStatus body start end location locations attendees \
         organizer",
    ),
    (
        "/me/contacts?$top=1",
        "@odata.etag id createdDateTime lastModifiedDateTime changeKey categories parentFolderId fileAs \
         displayName givenName surname emailAddresses businessPhones mobilePhone homeAddress businessAddress",
    ),
    (
        "/me/calendars?$top=1",
        "id name color changeKey canShare canViewPrivateItems hexColor canEdit allowedOnlineMeetingProviders \
         defaultOnlineMeetingProvider isTallyingResponses isRemovable isDefaultCalendar owner",
    ),
    (
        "/me/mailFolders?$top=1",
        "id displayName parentFolderId childFolderCount unreadItemCount totalItemCount isHidden",
    ),
    ("/me/contactFolders", "id parentFolderId displayName"),
    (
        "/users?$top=1",
        "businessPhones displayName givenName jobTitle mail mobilePhone officeLocation preferredLanguage surname \
         userPrincipalName id",
    ),
];

#[test]
fn answers_have_the_documented_members() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    for (path, members) in DOCUMENTED {
        let page = client.get(path).json();
        for member in members.split_ascii_whitespace() {
            assert!(page["value"][0].get(member).is_some(), "{path} lacks {member}");
        }
        let context = page["@odata.context"].as_str().unwrap();
        assert!(context.starts_with(&format!("{}/$metadata#users", sandbox.graph_url())), "{context}");
    }
    let user = &client.get("/users?$top=1").json()["value"][0];
    assert_eq!(user.as_object().unwrap().len(), 11, "the directory shows a small set unless asked");
}

#[test]
fn selected_members_come_alone() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let reply = client.get("/users?$select=displayName,givenName,postalCode&$top=1").json();
    let members: Vec<&String> = reply["value"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["displayName", "givenName", "postalCode"], "the directory adds no id");
    let reply = client.get("/me/messages?$select=Subject&$top=1").json();
    let members: Vec<&String> = reply["value"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["@odata.etag", "id", "subject"], "the mailbox adds the id");
    let text = client.send(
        "GET",
        "/me/messages?$select=body&$top=1",
        &[("prefer", "outlook.body-content-type=\"text\"")],
        "",
    );
    let body = &text.json()["value"][0]["body"];
    assert_eq!(body["contentType"], "text");
    assert!(!body["content"].as_str().unwrap().contains('<'));
}

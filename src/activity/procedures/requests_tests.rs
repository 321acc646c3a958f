//! The procedures table: parameters → the exact Graph request, or the refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::*;
use crate::connection::AuthScheme;
use crate::query::test_support::connection;

fn request(value: Value) -> ExecuteRequest {
    serde_json::from_value(value).unwrap()
}

fn prepared(
    value: &Value,
    connection: &Connection,
    user_id: Option<&str>,
) -> Result<Prepared, ActivityError> {
    let local_files = LocalFiles::default();
    let catalog = Catalog::embedded();
    let call = Call {
        connection,
        catalog: &catalog,
        user_id,
        local_files: &local_files,
        has_content: false,
        wants_stream: false,
        has_key: false,
    };
    prepare(&request(value.clone()), call)
}

fn asked(value: &Value, connection: &Connection, user_id: Option<&str>) -> (GraphRequest, Outcome) {
    match prepared(value, connection, user_id).unwrap_or_else(|error| panic!("{value}: {error}")).work {
        Work::Ask(request, outcome) => (request, outcome),
        other => panic!("{value}: {other:?}"),
    }
}

fn body(request: &GraphRequest) -> Value {
    request.body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap())
}

const ID: Outcome = Outcome::Fields(&[("Id", "id")]);

#[test]
fn mail_becomes_requests() {
    let to = |address: &str| json!({"emailAddress": {"address": address}});
    for (value, path, expected, outcome) in [
        (
            json!({"procedure": "sendmail", "parameters": {"subject": "Hi", "Content": "<p>", "contenttype": "HTML",
                "ToRecipients": "a@b.c; d@e.f;", "BccRecipients": "g@h.i", "FromEmail": "me@b.c", "SaveToSentItems": "false"}}),
            "me/sendMail",
            json!({"message": {"subject": "Hi", "body": {"contentType": "html", "content": "<p>"},
                "toRecipients": [to("a@b.c"), to("d@e.f")], "bccRecipients": [to("g@h.i")], "from": to("me@b.c")},
                "saveToSentItems": false}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"Id": "a/b=", "UserId": "u@x"}}),
            "users/u@x/messages/a%2Fb=/send",
            Value::Null,
            Outcome::Status,
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"CCRecipients": "a@b.c", "FileName": "a.txt", "ContentBytes": "SGk="}}),
            "me/sendMail",
            json!({"message": {"subject": "", "body": {"contentType": "text", "content": ""}, "ccRecipients": [to("a@b.c")],
                "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "SGk="}]},
                "saveToSentItems": true}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "MoveMail", "parameters": {"id": "m", "destinationfolder": "archive"}}),
            "me/messages/m/move",
            json!({"destinationId": "archive"}),
            ID,
        ),
        (
            json!({"procedure": "ForwardMail", "parameters": {"MessageId": "m", "ToRecipients": "a@b.c", "Comment": "x"}}),
            "me/messages/m/forward",
            json!({"comment": "x", "toRecipients": [to("a@b.c")]}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "ReplyToMessage", "parameters": {"Id": "m", "Comment": "x"}}),
            "me/messages/m/reply",
            json!({"comment": "x"}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "ReplyToMessage", "parameters": {"Id": "m", "ReplyAll": true, "Message": "{\"body\": {}}"}}),
            "me/messages/m/replyAll",
            json!({"message": {"body": {}}}),
            Outcome::Status,
        ),
    ] {
        let (built, found) = asked(&value, &connection(|_| {}), None);
        assert_eq!((built.path.as_str(), body(&built), found), (path, expected, outcome), "{value}");
        assert_eq!((built.method.as_str(), built.effect), ("POST", Effect::Once), "{value}");
        assert!(built.mailbox.is_some(), "{value}");
    }
}

#[test]
fn events_become_requests() {
    let zoned = |time: &str, zone: &str| json!({"dateTime": time, "timeZone": zone});
    for (value, path, expected) in [
        (
            json!({"procedure": "CancelEvent", "parameters": {"Id": "e", "Comment": "x"}}),
            "cancel",
            json!({"comment": "x"}),
        ),
        (
            json!({"procedure": "DismissEventReminder", "parameters": {"EventId": "e"}}),
            "dismissReminder",
            Value::Null,
        ),
        (
            json!({"procedure": "ForwardEvent", "parameters": {"Id": "e", "ToRecipients": "a@b.c"}}),
            "forward",
            json!({"toRecipients": [{"emailAddress": {"address": "a@b.c"}}]}),
        ),
        (
            json!({"procedure": "SnoozeEventReminder", "parameters": {"Id": "e", "NewReminderTime": "2026-01-31T08:00:00+01:00"}}),
            "snoozeReminder",
            json!({"newReminderTime": zoned("2026-01-31T07:00:00", "UTC")}),
        ),
        (
            json!({"procedure": "SnoozeEventReminder", "parameters":
                {"Id": "e", "NewReminderTime": "2026-01-31 08:00", "TimeZone": "Pacific Standard Time"}}),
            "snoozeReminder",
            json!({"newReminderTime": zoned("2026-01-31T08:00:00", "Pacific Standard Time")}),
        ),
        (
            json!({"procedure": "RespondToEvent", "parameters": {"Id": "e", "ResponseType": "ACCEPT", "SendResponse": "false"}}),
            "accept",
            json!({"sendResponse": false}),
        ),
        (
            json!({"procedure": "RespondToEvent", "parameters": {"Id": "e", "ResponseType": "tentativelyaccept", "Comment": "x",
                "ProposedStart": "2026-01-31T08:00:00Z", "ProposedEnd": "2026-01-31T09:00:00Z"}}),
            "tentativelyAccept",
            json!({"comment": "x", "sendResponse": true, "proposedNewTime":
                {"start": zoned("2026-01-31T08:00:00", "UTC"), "end": zoned("2026-01-31T09:00:00", "UTC")}}),
        ),
        (
            json!({"procedure": "RespondToEvent", "parameters": {"Id": "e", "ResponseType": "decline", "ProposedNewTime": {"start": {}, "end": {}}}}),
            "decline",
            json!({"sendResponse": true, "proposedNewTime": {"start": {}, "end": {}}}),
        ),
    ] {
        let (built, found) = asked(&value, &connection(|_| {}), Some("u"));
        assert_eq!(built.path, format!("users/u/events/e/{path}"), "{value}");
        assert_eq!((body(&built), found), (expected, Outcome::Status), "{value}");
    }
}

#[test]
fn other_procedures_become_requests() {
    let sku = "c7df2760-2c81-4ef7-b578-5b5392b571df";
    for (value, method, path, expected) in [
        (
            json!({"procedure": "DeleteAttachment", "parameters": {"Id": "m", "AttachmentId": "a="}}),
            "DELETE",
            "me/messages/m/attachments/a=",
            Value::Null,
        ),
        (
            json!({"procedure": "DeleteAttachment", "parameters": {"Id": "e", "AttachmentId": "a", "DestinationType": "event"}}),
            "DELETE",
            "me/events/e/attachments/a",
            Value::Null,
        ),
        (
            json!({"procedure": "CreateFolder", "parameters": {"FolderName": "New", "ParentPath": "/A b/c:d/"}}),
            "POST",
            "me/drive/root:/A%20b/c%3Ad:/children",
            json!({"name": "New", "folder": {}, "@microsoft.graph.conflictBehavior": "fail"}),
        ),
        (
            json!({"procedure": "CreateFolder", "parameters": {"Name": "New", "ParentId": "p", "GroupId": "g", "ConflictBehavior": "rename"}}),
            "POST",
            "groups/g/drive/items/p/children",
            json!({"name": "New", "folder": {}, "@microsoft.graph.conflictBehavior": "rename"}),
        ),
        (
            json!({"procedure": "CreateFolder", "parameters": {"Name": "New", "DriveId": "d", "GroupId": "g"}}),
            "POST",
            "drives/d/root/children",
            json!({"name": "New", "folder": {}, "@microsoft.graph.conflictBehavior": "fail"}),
        ),
        (
            json!({"procedure": "AssignLicense", "parameters": {"UserId": "u", "AddLicenses": format!("{sku};")}}),
            "POST",
            "users/u/assignLicense",
            json!({"addLicenses": [{"skuId": sku, "disabledPlans": []}], "removeLicenses": []}),
        ),
        (
            json!({"procedure": "AssignLicense", "parameters": {"UserId": "u", "RemoveLicenses": [sku],
                "AddLicenses": format!("[{{\"skuId\": \"{sku}\", \"disabledPlans\": []}}]")}}),
            "POST",
            "users/u/assignLicense",
            json!({"addLicenses": [{"skuId": sku, "disabledPlans": []}], "removeLicenses": [sku]}),
        ),
        (
            json!({"procedure": "FetchAdditionalUserFields", "parameters": {"UserId": "u"}}),
            "GET",
            "users/u?$select=id,aboutMe,birthday,hireDate,interests,mySite,pastProjects,preferredName,responsibilities,schools,skills",
            Value::Null,
        ),
        (
            json!({"procedure": "createReply", "target": "/me/messages/a=", "parameters": {"comment": "x"}}),
            "POST",
            "me/messages/a=/createReply",
            json!({"Comment": "x"}),
        ),
        (
            json!({"procedure": "/me/messages/a=/createReply", "parameters": {"comment": "x"}}),
            "POST",
            "me/messages/a=/createReply",
            json!({"Comment": "x"}),
        ),
        (
            json!({"procedure": "microsoft.graph.dismissReminder", "target": "/me/events/e"}),
            "POST",
            "me/events/e/dismissReminder",
            Value::Null,
        ),
        (json!({"procedure": "delta()", "target": "/users"}), "GET", "users/delta()", Value::Null),
        (
            json!({"procedure": "getNewest()", "target": "/sites/s", "parameters": {"path": "a'b/c d", "n": 1, "b": true}}),
            "GET",
            "sites/s/getNewest(path='a''b%2Fc%20d',n=1,b=true)",
            Value::Null,
        ),
        (
            json!({"procedure": "reminderView", "target": "/me", "parameters": {"startDateTime": "2026-01-01", "EndDateTime": "2026-02-01"}}),
            "GET",
            "me/reminderView(StartDateTime='2026-01-01',EndDateTime='2026-02-01')",
            Value::Null,
        ),
        (
            json!({"procedure": "f()", "target": "/me", "parameters": {"ids": ["a", 1]}}),
            "GET",
            "me/f(ids=@ids)?@ids=%5B%22a%22%2C1%5D",
            Value::Null,
        ),
    ] {
        let (built, _) = asked(&value, &connection(|_| {}), None);
        assert_eq!(
            (built.method.as_str(), built.path.as_str(), body(&built)),
            (method, path, expected),
            "{value}"
        );
        let effect = if method == "POST" { Effect::Once } else { Effect::Repeatable };
        assert_eq!(built.effect, effect, "{value}");
    }
}

#[test]
fn refusals_name_the_parameter_and_the_remedy() {
    let mail = |parameters: Value| json!({"procedure": "SendMail", "parameters": parameters});
    let with = |procedure: &str, parameters: Value| json!({"procedure": procedure, "parameters": parameters});
    for (value, expected) in [
        (json!({"procedure": "SendMial"}), "Did you mean 'SendMail'?"),
        (json!({"procedure": "createReply"}), "`target`"),
        (json!({"procedure": "SendMail"}), "'ToRecipients' of SendMail is missing"),
        (mail(json!({"To": "a@b.c"})), "has no parameter 'To'"),
        (mail(json!({"ToRecipients": "adele"})), "needs addresses"),
        (mail(json!({"ToRecipients": ["a@b.c"]})), "needs a text"),
        (mail(json!({"ToRecipients": "a@b.c", "ContentType": "rtf"})), "is one of 'text', 'html'"),
        (mail(json!({"ToRecipients": "a@b.c", "FromEmail": "a@b.c;d@e.f"})), "takes one address"),
        (mail(json!({"Id": "1", "Subject": "x"})), "cannot stand beside Id"),
        (
            mail(json!({"ToRecipients": "a@b.c", "LocalFile": "/etc/passwd"})),
            "EnableLocalFileLocation=true in [Settings]",
        ),
        (mail(json!({"ToRecipients": "a@b.c", "torecipients": "a@b.c"})), "given twice"),
        (with("MoveMail", json!({"DestinationId": "x"})), "needs the parameter 'Id'"),
        (with("MoveMail", json!({"Id": "x", "DestinationId": " "})), "needs the parameter 'DestinationId'"),
        (
            with("MoveMail", json!({"Id": "x", "DestinationId": "a", "DestinationFolder": "b"})),
            "'DestinationId' is given twice",
        ),
        (with("ForwardMail", json!({"Id": "x", "ToRecipients": ";"})), "holds no address"),
        (
            with(
                "ForwardMail",
                json!({"Id": "x", "ToRecipients": "a@b.c", "Comment": "x", "Message": {"body": {}}}),
            ),
            "beside a body",
        ),
        (with("ReplyToMessage", json!({"Id": "x"})), "'Comment' of ReplyToMessage is missing"),
        (with("RespondToEvent", json!({"Id": "x", "ResponseType": "maybe"})), "'tentativelyAccept'"),
        (
            with("RespondToEvent", json!({"Id": "x", "ResponseType": "accept", "ProposedNewTime": {}})),
            "proposes no other time",
        ),
        (
            with(
                "RespondToEvent",
                json!({"Id": "x", "ResponseType": "decline", "ProposedNewTime": {}, "SendResponse": false}),
            ),
            "must be true",
        ),
        (
            with(
                "RespondToEvent",
                json!({"Id": "x", "ResponseType": "decline", "ProposedStart": "2026-01-01T00:00:00"}),
            ),
            "'ProposedEnd'",
        ),
        (with("SnoozeEventReminder", json!({"Id": "x", "NewReminderTime": "soon"})), "needs a time such as"),
        (
            with(
                "SnoozeEventReminder",
                json!({"Id": "x", "NewReminderTime": "2026-01-01T00:00:00Z", "TimeZone": "W. Europe Standard Time"}),
            ),
            "leave the time zone out",
        ),
        (
            with("AddAttachments", json!({"Id": "x", "DestinationType": "Message", "FileName": "a"})),
            "'ContentBytes' of AddAttachments is missing",
        ),
        (
            with(
                "AddAttachments",
                json!({"Id": "x", "DestinationType": "Task", "FileName": "a", "ContentBytes": ""}),
            ),
            "'Message', 'Event'",
        ),
        (
            with(
                "AddAttachments",
                json!({"Id": "x", "DestinationType": "Event", "FileName": "a", "Content": "abc"}),
            ),
            "is the body of the call",
        ),
        (with("UploadFile", json!({"ContentBytes": "SGk="})), "'FileName' of UploadFile is missing"),
        (with("UploadFile", json!({"ContentBytes": "SGk=", "FileName": "a/b"})), "a name without folders"),
        (
            with("UploadFile", json!({"ContentBytes": "SGk=", "FileName": "a", "ItemId": "i"})),
            "cannot stand beside ItemId",
        ),
        (
            with("UploadFile", json!({"ContentBytes": "SGk=", "FileName": "a", "ParentPath": "a/../b"})),
            "an empty step",
        ),
        (with("DownloadFile", json!({})), "'Id' of DownloadFile is missing"),
        (with("DownloadFile", json!({"Id": "a", "Path": "b"})), "give one of them"),
        (with("DownloadFile", json!({"Id": "a", "LocalFile": "b"})), "[LocalFiles]"),
        (with("AssignLicense", json!({"UserId": "u"})), "and so is RemoveLicenses"),
        (with("AssignLicense", json!({"UserId": "u", "AddLicenses": "E5"})), "ids of licenses"),
        (with("GetOAuthAuthorizationURL", json!({"State": "x"})), "made by the agent"),
        (
            with("GetOAuthAuthorizationURL", json!({"CallbackUrl": "https://evil.example/"})),
            "not the connection's CallbackURL",
        ),
        (with("GetOAuthAuthorizationURL", json!({"Scope": "Mail.Send"})), "not the connection's Scope"),
        (
            with("GetOAuthAccessToken", json!({"AuthMode": "WEB"})),
            "'Verifier' of GetOAuthAccessToken is missing",
        ),
        (with("GetOAuthAccessToken", json!({"Verifier": "x"})), "goes with AuthMode WEB only"),
        (with("RefreshOAuthAccessToken", json!({"OAuthRefreshToken": "x"})), "is refused"),
        (with("GetAdminConsentURL", json!({})), "needs OAuthClientId"),
        (
            with("GetAdminConsentURL", json!({"CallbackUrl": "http://evil.example/"})),
            "https, or http on this host",
        ),
        (with("CreateSchema", json!({"TableName": "Mesages"})), "Did you mean 'Messages'?"),
        (json!({"procedure": "a/b", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "a..b", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "$batch", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "x", "target": "/me/../users"}), "without steps"),
        (
            json!({"procedure": "createReply", "target": "/me/messages/m", "parameters": {"Coment": "x"}}),
            "Did you mean 'Comment'?",
        ),
        (json!({"procedure": "reminderView", "target": "/me"}), "needs the parameter"),
        (json!({"procedure": "x()", "target": "/me", "parameters": {"a b": 1}}), "is no name of a parameter"),
    ] {
        let error = prepared(&value, &connection(|_| {}), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{value}: {error}");
    }
}

#[test]
fn a_body_and_a_stream_are_refused_where_nobody_reads_or_gives_them() {
    let (connection, local_files) = (connection(|_| {}), LocalFiles::default());
    let catalog = Catalog::embedded();
    for (procedure, has_content, wants_stream, refused) in [
        ("SendMail", true, false, true),
        ("DownloadFile", true, false, true),
        ("UploadFile", true, false, false),
        ("AddAttachments", true, false, false),
        ("DownloadFile", false, true, false),
        ("DownloadEmail", false, true, false),
        ("DownloadAttachments", false, true, false),
        ("AddAttachments", false, true, true),
        ("UploadFile", false, true, true),
    ] {
        let value = json!({"procedure": procedure, "parameters": {}});
        let call = Call {
            connection: &connection,
            catalog: &catalog,
            user_id: None,
            local_files: &local_files,
            has_content,
            wants_stream,
            has_key: false,
        };
        let procedure = find_procedure(procedure).unwrap();
        assert_eq!(refuse_stream(procedure, call).is_err(), refused, "{value} {has_content} {wants_stream}");
    }
}

#[test]
fn only_what_changes_something_counts_as_a_write() {
    let given = connection(|connection| connection.auth.client_id = Some("app".to_owned()));
    for (value, changes) in [
        (json!({"procedure": "DownloadFile", "parameters": {"Id": "x"}}), false),
        (json!({"procedure": "GetAdminConsentURL"}), false),
        (json!({"procedure": "delta()", "target": "/users"}), false),
        (json!({"procedure": "createReply", "target": "/me/messages/m"}), true),
        (
            json!({"procedure": "reminderView", "target": "/me", "parameters": {"StartDateTime": "a", "EndDateTime": "b"}}),
            false,
        ),
        (json!({"procedure": "MoveMail", "parameters": {"Id": "x", "DestinationId": "y"}}), true),
    ] {
        assert_eq!(prepared(&value, &given, None).unwrap().changes, changes, "{value}");
    }
}

#[test]
fn consent_addresses_hold_what_was_asked_for() {
    let given = connection(|connection| connection.auth.client_id = Some("app".to_owned()));
    for (parameters, expected) in [
        (
            json!({}),
            "https://login.test/organizations/adminconsent?client_id=app&redirect_uri=http%3A%2F%2Flocalhost%3A33333",
        ),
        (
            json!({"State": "s 1", "Scope": "https://graph.microsoft.com/Mail.Send", "CallbackUrl": "https://x.example/back"}),
            "https://login.test/organizations/v2.0/adminconsent?client_id=app&redirect_uri=https%3A%2F%2Fx.example%2Fback&scope=https%3A%2F%2Fgraph.microsoft.com%2FMail.Send&state=s+1",
        ),
    ] {
        let value = json!({"procedure": "GetAdminConsentURL", "parameters": parameters});
        match prepared(&value, &given, None).unwrap().work {
            Work::Ready(answer) => assert_eq!(answer["URL"], expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_application_must_name_a_user() {
    let application = connection(|connection| connection.auth.scheme = AuthScheme::AzureMsi);
    for value in [
        json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c"}}),
        json!({"procedure": "CancelEvent", "parameters": {"Id": "e"}}),
        json!({"procedure": "DownloadFile", "parameters": {"Id": "e"}}),
        json!({"procedure": "FetchAdditionalUserFields"}),
        json!({"procedure": "createReply", "target": "/me/messages/a"}),
    ] {
        let error = prepared(&value, &application, None).unwrap_err();
        assert_eq!(error.code(), "user_id_required", "{value}");
    }
    let value = json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c"}});
    assert_eq!(asked(&value, &application, Some("u")).0.path, "users/u/sendMail");
}

#[test]
fn results_are_read_from_the_answer() {
    let answer = |body: &'static str| GraphAnswer {
        status: 200,
        body: Bytes::from_static(body.as_bytes()),
        location: None,
        request_id: None,
    };
    assert_eq!(result(Outcome::Status, &answer("")).unwrap(), json!({"Status": "Success"}));
    assert_eq!(result(ID, &answer("{\"id\":\"2\"}")).unwrap(), json!({"Id": "2"}));
    assert_eq!(result(Outcome::Whole, &answer("")).unwrap(), Value::Null);
    assert_eq!(result(Outcome::Whole, &answer("{\"a\":1}")).unwrap(), json!({"a": 1}));
    assert!(result(Outcome::Whole, &answer("<html>")).is_err());
    assert!(result(ID, &answer("{}")).is_err());
}

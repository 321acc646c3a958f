//! The procedures table: parameters → the exact Graph request, or the refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::*;
use crate::connection::AuthScheme;
use crate::query::test_support::connection;

fn request(value: Value) -> ExecuteRequest {
    serde_json::from_value(value).unwrap()
}

fn body(request: &GraphRequest) -> Value {
    request.body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap())
}

#[test]
fn procedures_become_requests() {
    for (value, method, path, expected, outcome) in [
        (
            json!({"procedure": "sendmail", "parameters": {"subject": "Hi", "Content": "<p>", "contenttype": "HTML",
                "ToRecipients": "a@b.c; d@e.f;", "BccRecipients": "g@h.i", "FromEmail": "me@b.c", "SaveToSentItems": "false"}}),
            "POST",
            "me/sendMail",
            json!({"message": {"subject": "Hi", "body": {"contentType": "html", "content": "<p>"},
                "toRecipients": [{"emailAddress": {"address": "a@b.c"}}, {"emailAddress": {"address": "d@e.f"}}],
                "bccRecipients": [{"emailAddress": {"address": "g@h.i"}}],
                "from": {"emailAddress": {"address": "me@b.c"}}}, "saveToSentItems": false}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"Id": "a/b=", "UserId": "u@x"}}),
            "POST",
            "users/u@x/messages/a%2Fb=/send",
            Value::Null,
            Outcome::Status,
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"CCRecipients": "a@b.c", "FileName": "a.txt", "ContentBytes": "SGk="}}),
            "POST",
            "me/sendMail",
            json!({"message": {"subject": "", "body": {"contentType": "text", "content": ""},
                "ccRecipients": [{"emailAddress": {"address": "a@b.c"}}],
                "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "SGk="}]},
                "saveToSentItems": true}),
            Outcome::Status,
        ),
        (
            json!({"procedure": "MoveMail", "parameters": {"id": "m", "destinationid": "archive"}}),
            "POST",
            "me/messages/m/move",
            json!({"destinationId": "archive"}),
            Outcome::Id,
        ),
        (
            json!({"procedure": "createReply", "target": "/me/messages/a=", "parameters": {"comment": "x"}}),
            "POST",
            "me/messages/a=/createReply",
            json!({"comment": "x"}),
            Outcome::Whole,
        ),
        (
            json!({"procedure": "microsoft.graph.dismissReminder", "target": "/me/events/e"}),
            "POST",
            "me/events/e/microsoft.graph.dismissReminder",
            Value::Null,
            Outcome::Whole,
        ),
        (
            json!({"procedure": "delta()", "target": "/users"}),
            "GET",
            "users/delta()",
            Value::Null,
            Outcome::Whole,
        ),
    ] {
        let (built, found) = call(&request(value.clone()), &connection(|_| {}), None)
            .unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(
            (built.method.as_str(), built.path.as_str(), body(&built), found),
            (method, path, expected, outcome),
            "{value}"
        );
        let effect = if method == "GET" { Effect::Repeatable } else { Effect::Once };
        assert_eq!(built.effect, effect, "{value}");
    }
}

#[test]
fn refusals_name_the_parameter_and_the_remedy() {
    for (value, expected) in [
        (json!({"procedure": "SendMial"}), "Did you mean 'SendMail'?"),
        (json!({"procedure": "createReply"}), "`target`"),
        (json!({"procedure": "SendMail"}), "'ToRecipients' of SendMail is missing"),
        (json!({"procedure": "SendMail", "parameters": {"To": "a@b.c"}}), "has no parameter 'To'"),
        (json!({"procedure": "SendMail", "parameters": {"ToRecipients": "adele"}}), "needs addresses"),
        (json!({"procedure": "SendMail", "parameters": {"ToRecipients": ["a@b.c"]}}), "needs a text"),
        (
            json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c", "ContentType": "rtf"}}),
            "'text' or 'html'",
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c", "FromEmail": "a@b.c;d@e.f"}}),
            "takes one address",
        ),
        (
            json!({"procedure": "SendMail", "parameters": {"Id": "1", "Subject": "x"}}),
            "cannot stand beside Id",
        ),
        (json!({"procedure": "SendMail", "parameters": {"LocalFile": "/etc/passwd"}}), "does not do"),
        (
            json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c", "torecipients": "a@b.c"}}),
            "given twice",
        ),
        (json!({"procedure": "MoveMail", "parameters": {"DestinationId": "x"}}), "needs the parameter 'Id'"),
        (
            json!({"procedure": "MoveMail", "parameters": {"Id": "x"}}),
            "'DestinationId' of MoveMail is missing",
        ),
        (
            json!({"procedure": "MoveMail", "parameters": {"Id": "x", "DestinationId": "a", "DestinationFolder": "b"}}),
            "give one of them",
        ),
        (json!({"procedure": "a/b", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "a..b", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "$batch", "target": "/me"}), "is no name of an action"),
        (json!({"procedure": "x", "target": "/me/../users"}), "without steps"),
        (json!({"procedure": "x()", "target": "/me", "parameters": {"a": 1}}), "has no parameters"),
    ] {
        let error = call(&request(value.clone()), &connection(|_| {}), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{value}: {error}");
    }
}

#[test]
fn an_application_must_name_a_user() {
    let application = connection(|connection| connection.auth.scheme = AuthScheme::AzureMsi);
    for value in [
        json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c"}}),
        json!({"procedure": "createReply", "target": "/me/messages/a"}),
    ] {
        let error = call(&request(value), &application, None).unwrap_err();
        assert_eq!(error.code(), "user_id_required");
    }
    let value = json!({"procedure": "SendMail", "parameters": {"ToRecipients": "a@b.c"}});
    assert_eq!(call(&request(value), &application, Some("u")).unwrap().0.path, "users/u/sendMail");
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
    assert_eq!(result(Outcome::Id, &answer("{\"id\":\"2\"}")).unwrap(), json!({"Id": "2"}));
    assert_eq!(result(Outcome::Whole, &answer("")).unwrap(), Value::Null);
    assert_eq!(result(Outcome::Whole, &answer("{\"a\":1}")).unwrap(), json!({"a": 1}));
    assert!(result(Outcome::Whole, &answer("<html>")).is_err());
    assert!(result(Outcome::Id, &answer("{}")).is_err());
}

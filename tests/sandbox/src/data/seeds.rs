//! The tenant's groups, plans, bookings and licences as they are at the start.
//! Never changes afterwards.

use super::directory;
use super::documents::{Document, Documents};
use super::messages::NEWEST;
use super::tenant::Tenant;
use super::words::{COMPANIES, GIVEN_NAMES, SURNAMES, TOPICS};
use crate::random::{guid, mix, pick, seed_of};
use crate::time::{instant, zoneless};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// Name, mail nickname, whether it is a Microsoft 365 group.
const GROUPS: &[(&str, &str, bool)] = &[
    ("Sales and Marketing", "salesandmarketing", true),
    ("Mark 8 Project Team", "mark8projectteam", true),
    ("Retail", "retail", true),
    ("Operations", "operations", true),
    ("sg-Engineering", "sgengineering", false),
    ("sg-IT", "sgit", false),
];
/// The licences of the tenant: name, enabled, service plan.
pub(crate) const SKUS: &[(&str, i64, &str)] = &[
    ("ENTERPRISEPREMIUM", 25, "EXCHANGE_S_ENTERPRISE"),
    ("FLOW_FREE", 10_000, "FLOW_P2_VIRAL"),
    ("EMS", 2, "AAD_PREMIUM"),
];

/// The documents of a new tenant.
pub(crate) fn documents(tenant: &Tenant) -> Documents {
    let mut documents = Documents::default();
    let people: Vec<(String, String, String)> = tenant
        .users
        .keys()
        .into_iter()
        .take(directory::WITHOUT_MAILBOX as usize)
        .map(|key| tenant.facts(key))
        .map(|user| (user.id, user.name, user.upn))
        .collect();
    let domain = tenant.users.owner.address.clone();
    for (number, (name, nickname, unified)) in (0_u64..).zip(GROUPS) {
        group(&mut documents, number, name, nickname, *unified, &domain, &people);
    }
    for (number, (name, enabled, plan)) in (0_u64..).zip(SKUS) {
        let sku = sku_id(number);
        let fields = json!({
            "accountId": tenant.users.owner.id, "accountName": "contoso", "appliesTo": "User", "capabilityStatus": "Enabled",
            "consumedUnits": if number == 2 { 2 } else { 14 },
            "prepaidUnits": {"enabled": enabled, "suspended": 0, "warning": 0, "lockedOut": 0},
            "servicePlans": [{"servicePlanId": guid(mix(131, number, 1), 8), "servicePlanName": plan,
                              "provisioningStatus": "Success", "appliesTo": "User"}],
            "skuId": sku, "skuPartNumber": name, "subscriptionIds": [guid(mix(132, number, 1), 9)]
        });
        add(&mut documents, "subscribedSkus", format!("{}_{sku}", tenant.users.owner.id), "", "", fields);
    }
    for number in 0..2 {
        business(&mut documents, number, &domain);
    }
    documents
}

/// The id of a licence of the tenant.
pub(crate) fn sku_id(number: u64) -> String {
    guid(mix(130, number, 1), mix(130, number, 2))
}

fn group(
    documents: &mut Documents,
    number: u64,
    name: &str,
    nickname: &str,
    unified: bool,
    domain: &str,
    people: &[(String, String, String)],
) {
    let id = guid(mix(seed_of(domain), number, 133), mix(seed_of(domain), number, 134));
    let mail = unified.then(|| format!("{nickname}@{domain}"));
    let fields = json!({
        "createdDateTime": instant(NEWEST - 86_400 * (300 - number as i64)),
        "renewedDateTime": instant(NEWEST - 86_400 * 100),
        "description": format!("{name} of Contoso"),
        "displayName": name,
        "groupTypes": if unified { json!(["Unified"]) } else { json!([]) },
        "mail": mail, "mailEnabled": unified, "mailNickname": nickname, "securityEnabled": !unified,
        "creationOptions": [], "onPremisesProvisioningErrors": [], "resourceBehaviorOptions": [], "resourceProvisioningOptions": [],
        "proxyAddresses": mail.iter().map(|mail| format!("SMTP:{mail}")).collect::<Vec<_>>(),
        "securityIdentifier": format!("S-1-12-1-{}", mix(135, number, 1) as u32),
        "visibility": if unified { json!("Public") } else { Value::Null },
    });
    add(documents, "groups", id.clone(), "", "", fields);
    let members = people.iter().skip(number as usize % 3).step_by(2).map(|(id, ..)| id.clone()).collect();
    let owners = people.iter().take(1).map(|(id, ..)| id.clone()).collect();
    documents.people.insert(id.clone(), (members, owners));
    if !unified {
        return;
    }
    for topic in 0..3 {
        conversation(documents, &id, number * 10 + topic, name, people);
    }
    for plan in 0..2 {
        planner_plan(documents, &id, number * 10 + plan, people);
    }
}

fn conversation(
    documents: &mut Documents,
    group: &str,
    number: u64,
    group_name: &str,
    people: &[(String, String, String)],
) {
    let bits = mix(seed_of(group), number, 136);
    let (conversation, thread) = (mail_id("AAQkA", bits, 1), mail_id("AAQkA", bits, 2));
    let (topic, when) = (pick(TOPICS, bits), instant(NEWEST - 3_600 * number as i64));
    let preview = "Please have a look before Thursday.";
    let head = json!({"topic": topic, "hasAttachments": false, "lastDeliveredDateTime": when,
                      "uniqueSenders": [group_name], "preview": preview});
    add(documents, "conversations", conversation.clone(), group, "", head.clone());
    let mut fields = head;
    fields["isLocked"] = json!(false);
    fields["toRecipients"] =
        json!([{"emailAddress": {"name": group_name, "address": format!("{group}@groups.example")}}]);
    fields["ccRecipients"] = json!([]);
    add(documents, "threads", thread.clone(), group, &conversation, fields);
    for post in 0..2_u64 {
        let (_, name, address) = &people[(bits as usize + post as usize) % people.len()];
        let sender = json!({"emailAddress": {"name": name, "address": address}});
        let fields = json!({
            "createdDateTime": when, "lastModifiedDateTime": when, "receivedDateTime": when, "hasAttachments": false, "categories": [],
            "changeKey": STANDARD.encode(bits.to_be_bytes()), "conversationId": conversation, "conversationThreadId": thread,
            "body": {"contentType": "html", "content": format!("<p>{preview}</p>")}, "from": sender, "sender": sender, "newParticipants": []
        });
        add(documents, "posts", mail_id("AAMkA", bits, 3 + post), group, &thread, fields);
    }
}

fn planner_plan(documents: &mut Documents, group: &str, number: u64, people: &[(String, String, String)]) {
    let bits = mix(seed_of(group), number, 137);
    let plan = planner_id(bits, 1);
    let author = json!({"user": {"id": people[0].0}, "application": {"id": guid(138, 1)}});
    let made = instant(NEWEST - 86_400 * 50);
    let url = format!("https://graph.microsoft.com/v1.0/groups/{group}");
    let fields = json!({"title": pick(TOPICS, bits), "owner": group, "createdDateTime": made, "createdBy": author,
                        "container": {"containerId": group, "type": "group", "url": url}});
    add(documents, "plans", plan.clone(), group, "", fields);
    add(
        documents,
        "planDetails",
        plan.clone(),
        "",
        "",
        json!({"sharedWith": {}, "categoryDescriptions": {"category1": "Urgent"}}),
    );
    for (place, name) in (0_u64..).zip(["To do", "In progress", "Done"]) {
        let bucket = planner_id(bits, 10 + place);
        let fields = json!({"name": name, "planId": plan, "orderHint": format!("85752723360752{place}+")});
        add(documents, "buckets", bucket.clone(), group, &plan, fields);
        for index in 0..3_u64 {
            let task = planner_id(bits, 100 + place * 10 + index);
            let due = instant(NEWEST + 86_400 * (index as i64 + 1));
            let assigned = &people[(place + index) as usize % 3].0;
            let fields = json!({
                "planId": plan, "bucketId": bucket, "title": format!("{} {}", pick(TOPICS, bits >> index), index + 1),
                "orderHint": format!("922337060954616656{index}W"), "assigneePriority": "90057581\"", "percentComplete": place * 50,
                "priority": 5, "startDateTime": made, "createdDateTime": made, "dueDateTime": due, "hasDescription": false,
                "previewType": "automatic", "referenceCount": 0, "checklistItemCount": 0, "activeChecklistItemCount": 0,
                "createdBy": author, "appliedCategories": {}, "completedBy": null, "completedDateTime": null, "conversationThreadId": null,
                "assignments": {assigned: {"@odata.type": "#microsoft.graph.plannerAssignment", "assignedBy": author,
                                           "assignedDateTime": made, "orderHint": "RWk1"}}
            });
            add(documents, "tasks", task.clone(), group, &plan, fields);
            add(
                documents,
                "taskDetails",
                task,
                "",
                "",
                json!({"description": "", "previewType": "automatic", "references": {}, "checklist": {}}),
            );
        }
    }
}

fn business(documents: &mut Documents, number: u64, domain: &str) {
    let (name, _) = COMPANIES[number as usize + 3];
    let id = format!("{}@{domain}", name.split([' ', ',']).next().unwrap_or_default());
    let hours = json!([{"day": "monday", "timeSlots": [{"startTime": "08:00:00.0000000", "endTime": "17:00:00.0000000"}]}]);
    let fields = json!({
        "displayName": name, "businessType": "Other", "phone": "+1 206 555 0100", "email": format!("owner@{domain}"),
        "webSiteUrl": "https://www.contoso.com", "defaultCurrencyIso": "USD", "isPublished": number == 0, "languageTag": "en-US",
        "publicUrl": if number == 0 { json!(format!("https://outlook.office365.com/owa/calendar/{id}/bookings/")) } else { Value::Null },
        "address": {"street": "4567 Main Street", "city": "Buffalo", "state": "NY", "countryOrRegion": "USA", "postalCode": "98052"},
        "businessHours": hours,
        "schedulingPolicy": {"timeSlotInterval": "PT30M", "minimumLeadTime": "P1D", "maximumAdvance": "P30D",
                             "sendConfirmationsToOwner": true, "allowStaffSelection": true}
    });
    add(documents, "bookingBusinesses", id.clone(), "", "", fields);
    let key = |purpose: u64| guid(mix(139, number, purpose), mix(140, number, purpose));
    for index in 0..3 {
        let fields = json!({"displayName": format!("Service {}", index + 1), "defaultDuration": "PT1H", "defaultPrice": 50.0 + index as f64,
            "defaultPriceType": "fixedPrice", "defaultLocation": {"displayName": "Contoso House"}, "description": "", "notes": "",
            "preBuffer": "PT0S", "postBuffer": "PT10M", "maximumAttendeesCount": 1, "isHiddenFromCustomers": false,
            "staffMemberIds": [key(20)], "customQuestions": [], "languageTag": "en-US"});
        add(documents, "bookingServices", key(10 + index), &id, "", fields);
    }
    for index in 0..2 {
        let (given, surname) =
            (pick(GIVEN_NAMES, mix(141, number, index)), pick(SURNAMES, mix(142, number, index)));
        let fields = json!({"displayName": format!("{given} {surname}"), "emailAddress": format!("{}@{domain}", given.to_lowercase()),
            "role": if index == 0 { "administrator" } else { "guest" }, "availabilityIsAffectedByPersonalCalendar": true,
            "useBusinessHours": true, "workingHours": hours, "isEmailNotificationEnabled": true, "membershipStatus": "active"});
        add(documents, "bookingStaffMembers", key(20 + index), &id, "", fields);
    }
    for index in 0..5 {
        let (given, surname) =
            (pick(GIVEN_NAMES, mix(143, number, index)), pick(SURNAMES, mix(144, number, index)));
        let fields = json!({"displayName": format!("{given} {surname}"), "emailAddress": format!("{}.{index}@adatum.example", given.to_lowercase()),
            "addresses": [], "phones": [{"type": "business", "number": "206-555-0100"}]});
        add(documents, "bookingCustomers", key(30 + index), &id, "", fields);
    }
    for index in 0..2 {
        let fields = json!({"displayName": format!("What is question {}?", index + 1), "answerInputType": "text", "answerOptions": []});
        add(documents, "bookingCustomQuestions", key(40 + index), &id, "", fields);
    }
    for index in 0..6_u64 {
        let start = NEWEST + 86_400 * index as i64;
        let time = |seconds: i64| json!({"dateTime": zoneless(seconds), "timeZone": "UTC"});
        let fields = json!({"serviceId": key(10), "serviceName": "Service 1", "customerTimeZone": "America/Chicago", "duration": "PT1H",
            "startDateTime": time(start), "endDateTime": time(start + 3600), "preBuffer": "PT0S", "postBuffer": "PT10M",
            "price": 50.0, "priceType": "fixedPrice", "staffMemberIds": [key(20)], "isLocationOnline": false, "maximumAttendeesCount": 1,
            "filledAttendeesCount": 1, "optOutOfCustomerEmail": false, "smsNotificationsEnabled": false, "reminders": [],
            "customers": [{"@odata.type": "#microsoft.graph.bookingCustomerInformation", "customerId": key(30), "name": "A customer",
                           "emailAddress": "customer@adatum.example", "customQuestionAnswers": []}]});
        let text = format!(
            "AAMkA{}=",
            URL_SAFE
                .encode(
                    [mix(145, number, index).to_be_bytes(), mix(146, number, index).to_be_bytes()].concat()
                )
                .trim_end_matches('=')
        );
        add(documents, "bookingAppointments", text, &id, "", fields);
    }
}

fn add(documents: &mut Documents, table: &'static str, id: String, scope: &str, parent: &str, fields: Value) {
    let Value::Object(fields) = fields else {
        return;
    };
    documents.table(table).add(Document {
        id,
        scope: scope.to_owned(),
        parent: parent.to_owned(),
        fields: Map::from_iter(fields),
        version: 0,
    });
}

/// An id as Exchange writes it.
pub(crate) fn mail_id(start: &str, bits: u64, purpose: u64) -> String {
    let bytes: Vec<u8> = (0..5).flat_map(|part| mix(bits, part, 150 + purpose).to_be_bytes()).collect();
    format!("{start}{}=", URL_SAFE_NO_PAD.encode(bytes))
}

/// An id as Planner writes it: 28 characters.
pub(crate) fn planner_id(bits: u64, purpose: u64) -> String {
    let bytes: Vec<u8> = (0..3).flat_map(|part| mix(bits, part, 160 + purpose).to_be_bytes()).collect();
    URL_SAFE_NO_PAD.encode(&bytes[..21])
}

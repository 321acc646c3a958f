//! Generated directory users, and the `user` type with what the directory documents for each property.
//! Never holds credentials: a password in a request is checked for presence and dropped.

use super::collection::Owner;
use super::messages::NEWEST;
use super::model::{Kind, Property, Shape, property as p};
use super::words::{DEPARTMENTS, GIVEN_NAMES, JOB_TITLES, PEOPLE, PLACES, SURNAMES};
use crate::random::{guid, mix, pick};
use crate::time::instant;
use serde_json::{Value, json};

/// The named user that is an administrator.
pub(crate) const ADMINISTRATOR: u32 = 2;
/// The named user that has no mailbox.
pub(crate) const WITHOUT_MAILBOX: u32 = 24;

/// The properties of an answer without `$select`.
pub(crate) const DEFAULT_PROPERTIES: &[&str] = &[
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
];

/// The properties that `$orderby` may name.
pub(crate) const SORTABLE: &[&str] = &["displayName", "userPrincipalName"];

// The operators are those of the published property descriptions.
const USUAL: &str = "eq ne not ge le in startsWith null";
const WITHOUT_STARTS: &str = "eq ne not ge le in null";
const RANGE: &str = "eq ne not ge le in";
const EQUALITY: &str = "eq ne not in";
const LIST: &str = "eq not ge le startsWith";

const fn text(name: &'static str, operators: &'static str) -> Property {
    p(name, Kind::Text).operators(operators).on_request()
}

const fn plain(name: &'static str, operators: &'static str) -> Property {
    p(name, Kind::Text).operators(operators)
}

static PASSWORD: Shape = Shape {
    name: "passwordProfile",
    navigation: &[],
    properties: &[
        p("password", Kind::Text),
        p("forceChangePasswordNextSignIn", Kind::Flag),
        p("forceChangePasswordNextSignInWithMfa", Kind::Flag),
    ],
};
static LICENSE: Shape = Shape {
    name: "assignedLicense",
    navigation: &[],
    properties: &[p("disabledPlans", Kind::List(&Kind::Text)), p("skuId", Kind::Text)],
};

/// Directory users.
pub(crate) static USER: Shape = Shape {
    name: "user",
    navigation: &[
        "directReports",
        "manager",
        "memberOf",
        "ownedDevices",
        "ownedObjects",
        "transitiveMemberOf",
    ],
    properties: &[
        p("businessPhones", Kind::List(&Kind::Text)).operators(LIST),
        plain("displayName", USUAL),
        plain("givenName", USUAL),
        plain("jobTitle", USUAL),
        plain("mail", "eq ne not ge le in startsWith endsWith null"),
        plain("mobilePhone", USUAL),
        plain("officeLocation", USUAL),
        plain("preferredLanguage", USUAL),
        plain("surname", USUAL),
        plain("userPrincipalName", "eq ne not ge le in startsWith endsWith"),
        plain("id", "eq ne not in").read_only(),
        p("accountEnabled", Kind::Flag).operators(EQUALITY).on_request(),
        text("aboutMe", ""),
        text("ageGroup", EQUALITY),
        p("assignedLicenses", Kind::List(&Kind::Complex(&LICENSE))).operators("eq not").on_request(),
        p("birthday", Kind::Instant).on_request(),
        text("city", USUAL),
        text("companyName", USUAL),
        text("consentProvidedForMinor", EQUALITY),
        text("country", USUAL),
        p("createdDateTime", Kind::Instant).operators(RANGE).on_request().read_only(),
        text("creationType", EQUALITY).read_only(),
        p("deletedDateTime", Kind::Instant).on_request().read_only(),
        text("department", WITHOUT_STARTS),
        p("employeeHireDate", Kind::Instant).operators(RANGE).on_request(),
        text("employeeId", USUAL),
        p("employeeLeaveDateTime", Kind::Instant).operators(RANGE).on_request(),
        text("employeeType", "eq ne not ge le in startsWith"),
        text("externalUserState", EQUALITY),
        text("faxNumber", USUAL),
        p("hireDate", Kind::Instant).on_request(),
        p("imAddresses", Kind::List(&Kind::Text)).operators(LIST).on_request().read_only(),
        p("interests", Kind::List(&Kind::Text)).on_request(),
        p("lastPasswordChangeDateTime", Kind::Instant).on_request().read_only(),
        text("mailNickname", USUAL),
        text("mySite", ""),
        text("onPremisesImmutableId", RANGE),
        text("onPremisesSamAccountName", "eq ne not ge le in startsWith").read_only(),
        p("onPremisesSyncEnabled", Kind::Flag).operators("eq ne not in null").on_request().read_only(),
        p("otherMails", Kind::List(&Kind::Text))
            .operators("eq not ge le in startsWith endsWith")
            .on_request(),
        text("passwordPolicies", "ne not null"),
        p("passwordProfile", Kind::Complex(&PASSWORD)).on_request(),
        p("pastProjects", Kind::List(&Kind::Text)).on_request(),
        text("postalCode", USUAL),
        text("preferredDataLocation", ""),
        text("preferredName", ""),
        p("proxyAddresses", Kind::List(&Kind::Text))
            .operators("eq not ge le startsWith endsWith")
            .on_request()
            .read_only(),
        p("responsibilities", Kind::List(&Kind::Text)).on_request(),
        p("schools", Kind::List(&Kind::Text)).on_request(),
        text("securityIdentifier", "").read_only(),
        p("showInAddressList", Kind::Flag).on_request(),
        p("signInSessionsValidFromDateTime", Kind::Instant).on_request().read_only(),
        p("skills", Kind::List(&Kind::Text)).on_request(),
        text("state", USUAL),
        text("streetAddress", USUAL),
        text("usageLocation", USUAL),
        text("userType", "eq ne not in null"),
    ],
};

/// One property of generated user `key`.
pub(crate) fn field(owner: &Owner, key: u32, name: &str) -> Value {
    let bits = |purpose| mix(owner.seed, u64::from(key), purpose);
    let named = PEOPLE.get(key as usize);
    let given = named.map_or_else(|| pick(GIVEN_NAMES, bits(91)), |person| person.0);
    let surname = named.map_or_else(|| pick(SURNAMES, bits(92)), |person| person.1);
    let alias = || match named {
        Some(_) => format!("{given}{}", &surname[..1]),
        None => format!("{given}.{}{key}", surname.replace('\'', "")),
    };
    let (city, state, country, postal_code) = PLACES[bits(93) as usize % PLACES.len()];
    match name {
        "id" => guid(bits(94), bits(95)).into(),
        "businessPhones" => json!([format!("+1 425 555 {:04}", bits(96) % 10_000)]),
        "displayName" => format!("{given} {surname}").into(),
        "givenName" => given.into(),
        "surname" => surname.into(),
        "jobTitle" => named.map_or_else(|| pick(JOB_TITLES, bits(97)), |person| person.2).into(),
        "department" => named.map_or_else(|| pick(DEPARTMENTS, bits(98)), |person| person.3).into(),
        "mail" if key == WITHOUT_MAILBOX => Value::Null,
        "mail" | "userPrincipalName" => format!("{}@{}", alias(), owner.address).into(),
        "mailNickname" => alias().into(),
        "mobilePhone" if bits(99) % 3 == 0 => format!("+1 206 555 {:04}", bits(100) % 10_000).into(),
        "officeLocation" => format!("{}/{}", 1 + bits(101) % 30, 1000 + bits(102) % 2000).into(),
        "preferredLanguage" => "en-US".into(),
        "accountEnabled" => (key % 17 != 16).into(),
        "city" => city.into(),
        "state" => state.into(),
        "country" => country.into(),
        "postalCode" => postal_code.into(),
        "streetAddress" => format!("{} Main St.", 1 + bits(103) % 9000).into(),
        "companyName" => "Contoso".into(),
        "createdDateTime" => instant(NEWEST - 86_400 * 400 - i64::from(key) * 7_200).into(),
        "employeeId" => format!("E{key:06}").into(),
        "usageLocation" => "US".into(),
        "userType" => "Member".into(),
        "showInAddressList" => true.into(),
        "proxyAddresses" if key == WITHOUT_MAILBOX => json!([]),
        "proxyAddresses" => json!([format!("SMTP:{}@{}", alias(), owner.address)]),
        "otherMails" | "imAddresses" | "interests" | "skills" | "schools" | "pastProjects"
        | "responsibilities" | "assignedLicenses" => json!([]),
        _ => Value::Null,
    }
}

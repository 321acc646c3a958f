//! Generated contacts: every property of contact number N follows from the mailbox and N alone.
//! Never keeps anything.

use super::collection::Owner;
use super::messages::NEWEST;
use super::words::{CATEGORIES, COMPANIES, DEPARTMENTS, GIVEN_NAMES, JOB_TITLES, PLACES, SURNAMES};
use crate::random::{mix, pick};
use crate::time::instant;
use serde_json::{Value, json};

/// One property of generated contact `key`.
pub(crate) fn field(owner: &Owner, key: u32, name: &str) -> Value {
    let bits = |purpose| mix(owner.seed, u64::from(key), purpose);
    let given = pick(GIVEN_NAMES, bits(51));
    let surname = pick(SURNAMES, bits(52));
    let (company, domain) = COMPANIES[bits(53) as usize % COMPANIES.len()];
    let address = || {
        let surname = surname.to_lowercase().replace('\'', "");
        format!("{}.{surname}{key}@{domain}", given.to_lowercase())
    };
    match name {
        "createdDateTime" => instant(NEWEST - 86_400 * 30 - i64::from(key) * 3_600).into(),
        "lastModifiedDateTime" => instant(NEWEST - 86_400 * 20 - i64::from(key) * 3_600).into(),
        "categories" if bits(54) % 6 == 0 => json!([pick(CATEGORIES, bits(55))]),
        "categories" | "imAddresses" | "homePhones" | "children" => json!([]),
        "birthday" if bits(56) % 4 == 0 => {
            instant((bits(57) % 14_000) as i64 * 86_400 + 11 * 3_600 + 59 * 60).into()
        }
        "fileAs" => format!("{surname}, {given}").into(),
        "displayName" => format!("{given} {surname}").into(),
        "givenName" => given.into(),
        "surname" => surname.into(),
        "initials" => format!("{}.{}.", &given[..1], &surname[..1]).into(),
        "jobTitle" => pick(JOB_TITLES, bits(58)).into(),
        "companyName" => company.into(),
        "department" if bits(59) % 3 != 0 => pick(DEPARTMENTS, bits(60)).into(),
        "officeLocation" => format!("{}/{}", 1 + bits(61) % 30, 1000 + bits(62) % 2000).into(),
        "businessHomePage" => format!("https://www.{domain}").into(),
        "mobilePhone" if bits(63) % 3 != 0 => format!("+1 425 555 {:04}", bits(64) % 10_000).into(),
        "businessPhones" => json!([format!("+1 206 555 {:04}", bits(65) % 10_000)]),
        "personalNotes" => "".into(),
        "emailAddresses" => json!([{"name": format!("{given} {surname}"), "address": address()}]),
        "primaryEmailAddress" => json!({"name": format!("{given} {surname}"), "address": address()}),
        "businessAddress" => {
            let (city, state, country, postal_code) = PLACES[bits(66) as usize % PLACES.len()];
            json!({
                "street": format!("{} Main St.", 1 + bits(67) % 9000),
                "city": city, "state": state, "countryOrRegion": country, "postalCode": postal_code
            })
        }
        "homeAddress" | "otherAddress" => json!({}),
        _ => Value::Null,
    }
}

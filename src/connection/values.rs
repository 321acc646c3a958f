//! The properties of one connection, typed: known names, allowed schemes, variables replaced, secrets fetched. Every
//! fault is noted and a harmless value stands in, so that all faults of a connection are found at once. Never decides
//! what properties mean together.

use std::collections::BTreeMap;
use std::path::Path;

use super::AuthScheme;
use super::properties::{self, Kind, PROPERTIES, Property, Use};
use super::template;
use crate::dropin::{DropInFile, Node, Place, RawConnection, RawProperty};
use crate::error::{Fault, nearest_name};
use crate::secret::Secret;
use crate::settings::{Host, Settings};

/// This version, for sentences about what it does not support.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a connection is checked against.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) settings: &'a Settings,
    pub(super) host: &'a dyn Host,
    /// All variables of the agent.
    pub(super) variables: &'a BTreeMap<String, String>,
}

/// The given properties of one connection.
pub(super) struct Values<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) file: &'a DropInFile,
    pub(super) raw: &'a RawConnection,
    /// How many faults and notices the file has already, from its other connections.
    already: usize,
    given: BTreeMap<&'static str, &'a RawProperty>,
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
    /// What an operator should know.
    pub(super) notices: Vec<Fault>,
    /// Variables that were replaced, each with the property.
    pub(super) fixed_variables: BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    /// Sorts the properties: unknown ones, repeated ones and those without effect are noted here.
    pub(super) fn new(
        around: Surroundings<'a>,
        file: &'a DropInFile,
        raw: &'a RawConnection,
        already: usize,
    ) -> Self {
        let (given, faults, notices) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut values =
            Self { around, file, raw, already, given, faults, notices, fixed_variables: BTreeMap::new() };
        for property in &raw.properties {
            values.take(property);
        }
        values
    }

    fn take(&mut self, given: &'a RawProperty) {
        let Some(property) = properties::find(&given.name) else {
            let hint = match nearest_name(&given.name, PROPERTIES.iter().map(|property| property.name)) {
                Some(name) => format!("Did you mean '{name}'?"),
                None => "Remove it, or check its spelling.".to_owned(),
            };
            return self.fault_at(given, format!("Unknown property. {hint}"));
        };
        if let Some(earlier) = self.given.get(property.name) {
            let message = format!(
                "{} is given twice, here and as '{}'. Remove one of the two.",
                property.name, earlier.key
            );
            return self.fault_at(given, message);
        }
        // An empty field of the connection screen is a field that was left alone.
        let empty_text = property.kind == Kind::Text && given.value.scalar() == Some("");
        if empty_text || given.value == Node::Null {
            return;
        }
        match property.usage {
            Use::Used | Use::Unsupported => {}
            Use::Ignored(reason) => {
                self.notice_at(given, format!("{} has no effect. {reason}", property.name));
            }
            Use::Refused(reason, harmless) => {
                let harmless = |text: &str| harmless.iter().any(|word| word.eq_ignore_ascii_case(text));
                if !given.value.scalar().is_some_and(harmless) {
                    self.fault_at(given, format!("{} is not supported here. {reason}", property.name));
                }
            }
        }
        self.given.insert(property.name, given);
    }

    /// Notes every property that `scheme` does not take or that this version does not support.
    pub(super) fn check_scheme(&mut self, scheme: AuthScheme) {
        for (name, given) in self.given.clone() {
            let Some(property) = properties::find(name) else { continue };
            if !property.schemes.contains(&scheme) {
                let takers: Vec<_> = property.schemes.iter().map(|scheme| scheme.as_str()).collect();
                let (scheme, takers) = (scheme.as_str(), takers.join(", "));
                self.fault_at(
                    given,
                    format!("AuthScheme {scheme} does not take {name}; it belongs to {takers}. Remove it."),
                );
            } else if property.usage == Use::Unsupported {
                self.fault_at(
                    given,
                    format!("{name} is not supported by this version ({VERSION}) of o365-agent. Remove it."),
                );
            }
        }
    }

    /// Whether the property is there with a value.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    fn located(&self, place: &Place, key: &str, message: impl Into<String>) -> Fault {
        self.file.fault(self.already + self.faults.len() + self.notices.len(), place, key, message)
    }

    fn fault_at(&mut self, given: &RawProperty, message: impl Into<String>) {
        self.fault_in(&given.place, &given.key, message);
    }

    /// A fault about a place in the file.
    pub(super) fn fault_in(&mut self, place: &Place, key: &str, message: impl Into<String>) {
        let fault = self.located(place, key, message);
        self.faults.push(fault);
    }

    /// A fault about a property; about the connection when the property is not there.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        match self.given.get(name).copied() {
            Some(given) => self.fault_at(given, message),
            None => {
                let key = format!("connections.{}.{name}", self.raw.name);
                self.fault_in(&self.raw.place, &key, message);
            }
        }
    }

    fn notice_at(&mut self, given: &RawProperty, message: impl Into<String>) {
        let notice = self.located(&given.place, &given.key, message);
        self.notices.push(notice);
    }

    /// A notice about a property.
    pub(super) fn notice(&mut self, name: &str, message: impl Into<String>) {
        if let Some(given) = self.given.get(name).copied() {
            self.notice_at(given, message);
        }
    }

    /// Whether there is already a fault that explains why the property has no value.
    pub(super) fn has_fault(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|given| self.faults.iter().any(|fault| fault.key == given.key))
    }

    /// The value as it is written, before variables.
    pub(super) fn written(&self, name: &str) -> Option<&'a str> {
        self.given.get(name).and_then(|given| given.value.scalar())
    }

    /// The text of a property with its variables replaced; an empty text counts as not given.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let given = *self.given.get(name)?;
        let Some(written) = given.value.scalar() else {
            let property = properties::find(name).map(|property| property.kind);
            let wanted = if property == Some(Kind::Secret) { "a secret" } else { "one value" };
            self.fault_at(given, format!("{name} must be {wanted}, not {}.", given.value.kind()));
            return None;
        };
        self.replace(given, name, written)
            .filter(|text| !text.trim().is_empty())
            .map(|text| text.trim().to_owned())
    }

    fn replace(&mut self, given: &RawProperty, name: &'static str, written: &str) -> Option<String> {
        let variables = self.around.variables;
        match template::resolve(written, &|variable| variables.get(variable).cloned()) {
            Ok(text) => {
                if let Ok(template) = super::Template::parse(written) {
                    for variable in template.variables {
                        self.fixed_variables.entry(variable).or_insert_with(|| name.to_owned());
                    }
                }
                Some(text)
            }
            Err(message) => {
                self.fault_at(given, message);
                None
            }
        }
    }

    /// One of a property's words, in any case, as the table writes it.
    pub(super) fn choice(&mut self, name: &'static str) -> Option<&'static str> {
        let Some(Property { kind: Kind::Choice(words), .. }) = properties::find(name) else { return None };
        let text = self.text(name)?;
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(&text)).copied();
        if found.is_none() {
            let hint = match nearest_name(&text, words.iter().copied()) {
                Some(word) => format!("Did you mean '{word}'?"),
                None => format!("Write one of {}.", words.join(", ")),
            };
            self.fault(name, format!("'{}' is not a value of {name}. {hint}", text.escape_debug()));
        }
        found
    }

    /// A boolean; absent = `default`.
    pub(super) fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.text(name) else { return default };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => {
                self.fault(name, format!("'{}' is not a boolean. Write true or false.", text.escape_debug()));
                default
            }
        }
    }

    /// A whole number within the property's range.
    pub(super) fn integer<N: TryFrom<i64>>(&mut self, name: &'static str) -> Option<N> {
        let Some(Property { kind: Kind::Integer(low, high), .. }) = properties::find(name) else {
            return None;
        };
        let text = self.text(name)?;
        let number = text.parse::<i64>().ok().filter(|number| (*low..=*high).contains(number));
        if number.is_none() {
            self.fault(
                name,
                format!("'{}' is not a whole number from {low} to {high}.", text.escape_debug()),
            );
        }
        number.and_then(|number| N::try_from(number).ok())
    }

    /// A secret, written inline or referred to. An empty inline one counts as not given, as an empty field of the connection
    /// screen does; an empty one that is referred to is a fault, because a reference to a secret means one.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let given = *self.given.get(name)?;
        let Node::Map(entries) = &given.value else { return self.text(name).map(Secret::new) };
        const KINDS: [&str; 3] = ["file", "credential", "env"];
        let [entry] = entries.as_slice() else {
            self.fault_at(given, format!("{name} must have exactly one of file, credential and env."));
            return None;
        };
        let Some(kind) = KINDS.into_iter().find(|kind| *kind == entry.key) else {
            let key = crate::error::clean_foreign_text(&entry.key);
            self.fault_at(
                given,
                format!("'{key}' is not a way to refer to a secret. Write file, credential or env."),
            );
            return None;
        };
        let Some(written) = entry.value.scalar() else {
            self.fault_at(given, format!("The {kind} of {name} must be text, not {}.", entry.value.kind()));
            return None;
        };
        let target = self.replace(given, name, written)?;
        let read = match kind {
            "file" => self.around.host.secret_file(Path::new(&target)),
            "credential" => self.around.host.credential(&target),
            _ => self.around.host.environment(&target),
        };
        match read {
            Ok(secret) if secret.expose().trim().is_empty() => {
                self.fault_at(
                    given,
                    format!(
                        "The {kind} that {name} refers to is empty. Put the secret into it, or remove {name}."
                    ),
                );
                None
            }
            Ok(secret) => Some(secret),
            Err(message) => {
                self.fault_at(given, message);
                None
            }
        }
    }
}

//! Relationships: navigations whose records live elsewhere, so that a record of the path is a reference and not the thing
//! itself. Says what a write there means, by the metadata and by what Microsoft documents beside it. Never sends.
//!
//! Facts: the `ContainsTarget` of the metadata, and the Graph reference's pages "Add member", "Remove member", "Assign
//! manager", "Add owner", "Create acceptedSender" and their like for each relationship, which all use `/$ref`. A
//! relationship that no page writes is for reading (`memberOf`, `directReports`, everything transitive).

use std::collections::VecDeque;

use super::facts::{Facts, TypeId};
use super::walk::{Arrival, Way};

/// What Create does at a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// No page documents it.
    No,
    /// It adds or sets a reference.
    Reference,
    /// It adds a reference, or makes the record when it is given whole.
    ReferenceOrRecord,
}

/// What Delete does at a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removing {
    /// No page documents it.
    No,
    /// It removes the reference at `…/{id}/$ref`.
    ByPath,
    /// It removes the reference at `…/$ref?$id={address}`.
    ByQuery,
}

/// A relationship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its name (`members`).
    pub name: String,
    /// The type of what it leads to, without `microsoft.graph.`.
    pub target_type: String,
    /// The path of the relationship, percent-encoded, without `$ref`.
    pub path: String,
    /// Whether it holds many references.
    pub many: bool,
    /// The record that the path names, when it names one of many.
    pub key: Option<String>,
    /// The collection in which the records live (`directoryObjects`, `planner/tasks`), where there is one.
    pub home: Option<String>,
    /// What Create does.
    pub adding: Adding,
    /// What Delete does.
    pub removing: Removing,
    /// Whether the path ends with `$ref`, by which its writer says that it is about the reference.
    pub explicit: bool,
    keyed_in_name: bool,
}

const NONE: (Adding, Removing) = (Adding::No, Removing::No);
const BOTH: (Adding, Removing) = (Adding::Reference, Removing::ByPath);
const SENDERS: (Adding, Removing) = (Adding::Reference, Removing::ByQuery);
const SET_ONLY: (Adding, Removing) = (Adding::Reference, Removing::No);
const REMOVE_ONLY: (Adding, Removing) = (Adding::No, Removing::ByPath);
const OR_RECORD: (Adding, Removing) = (Adding::ReferenceOrRecord, Removing::ByPath);

/// The relationships that Microsoft documents writes of, by the type they are of.
const WRITTEN: [(&str, &[&str], (Adding, Removing)); 27] = [
    ("accessPackage", &["incompatibleAccessPackages", "incompatibleGroups"], BOTH),
    ("administrativeUnit", &["members"], OR_RECORD),
    ("agentIdentity", &["sponsors"], BOTH),
    ("agentIdentityBlueprint", &["sponsors"], BOTH),
    ("agentIdentityBlueprintPrincipal", &["sponsors"], BOTH),
    (
        "application",
        &["appManagementPolicies", "owners", "tokenIssuancePolicies", "tokenLifetimePolicies"],
        BOTH,
    ),
    ("b2xIdentityUserFlow", &["identityProviders", "userFlowIdentityProviders"], BOTH),
    ("channel", &["enabledApps"], BOTH),
    ("community", &["owners"], BOTH),
    ("connectedOrganization", &["externalSponsors", "internalSponsors"], BOTH),
    ("device", &["registeredOwners", "registeredUsers"], BOTH),
    ("directoryRole", &["members"], BOTH),
    ("educationAssignment", &["gradingScheme"], SET_ONLY),
    ("educationAssignmentSettings", &["defaultGradingScheme"], SET_ONLY),
    ("educationClass", &["members", "teachers"], BOTH),
    ("educationSchool", &["classes", "users"], BOTH),
    ("featureRolloutPolicy", &["appliesTo"], BOTH),
    ("group", &["acceptedSenders", "rejectedSenders"], SENDERS),
    ("group", &["members", "owners"], BOTH),
    ("mobileApp", &["categories"], BOTH),
    ("onAttributeCollectionExternalUsersSelfServiceSignUp", &["attributes"], BOTH),
    ("onAuthenticationMethodLoadStartExternalUsersSelfServiceSignUp", &["identityProviders"], BOTH),
    ("printerShare", &["allowedGroups", "allowedUsers"], BOTH),
    ("security.ediscoverySearch", &["custodianSources", "noncustodialSources"], BOTH),
    (
        "servicePrincipal",
        &[
            "appManagementPolicies",
            "claimsMappingPolicies",
            "homeRealmDiscoveryPolicies",
            "owners",
            "tokenIssuancePolicies",
            "tokenLifetimePolicies",
        ],
        BOTH,
    ),
    ("team", &["incomingChannels"], REMOVE_ONLY),
    ("user", &["manager", "sponsors"], BOTH),
];

/// Navigations that the metadata calls contained and whose records live elsewhere all the same: their pages write them by
/// `/$ref` or only read them.
const NOT_CONTAINED: [(&str, &[&str]); 6] = [
    ("accessPackage", &["incompatibleGroups"]),
    ("connectedOrganization", &["externalSponsors", "internalSponsors"]),
    ("drive", &["following"]),
    ("featureRolloutPolicy", &["appliesTo"]),
    ("group", &["acceptedSenders", "rejectedSenders"]),
    ("user", &["chats", "joinedTeams"]),
];

/// Navigations that the metadata does not call contained and whose records live there all the same: their pages make and
/// remove the record itself.
const CONTAINED: [(&str, &[&str]); 2] = [
    ("entraRecoveryServices.snapshot", &["recoveryJobs", "recoveryPreviewJobs"]),
    ("organization", &["certificateBasedAuthConfiguration"]),
];

impl Relation {
    /// The relationship that a path leads to, or by `$ref` names; `None` where records live below the path.
    pub(super) fn of(facts: &Facts, way: &Way<'_>) -> Option<Self> {
        let Way::Navigation(arrival) = way else { return None };
        let Arrival { owner, navigation, path, key, keyed_in_name, reference } = &**arrival;
        let listed = |kind: &str, names: &[&str]| {
            let is_here = |name: &&str| name.eq_ignore_ascii_case(navigation.name);
            names.iter().any(is_here)
                && facts.find(kind).is_some_and(|kind| facts.is_a(*owner, kind) || facts.is_a(kind, *owner))
        };
        let contained = match navigation.contained {
            true => !NOT_CONTAINED.iter().any(|(kind, names)| listed(kind, names)),
            false => CONTAINED.iter().any(|(kind, names)| listed(kind, names)),
        };
        if contained && !reference {
            return None;
        }
        let written = WRITTEN.iter().find(|(kind, names, _)| listed(kind, names));
        // The type of every kind of handler has one, and each page sets it by PUT.
        let handler = navigation.name == "customExtension" && facts.name(*owner).ends_with("Handler");
        let (adding, removing) = written.map_or(if handler { SET_ONLY } else { NONE }, |found| found.2);
        Some(Self {
            name: navigation.name.to_owned(),
            target_type: navigation.kind.name.to_owned(),
            path: path.clone(),
            many: navigation.kind.collection,
            key: key.clone(),
            home: facts.find(navigation.kind.name).and_then(|kind| home_of(facts, kind)),
            adding,
            removing,
            explicit: *reference,
            keyed_in_name: *keyed_in_name,
        })
    }

    /// Whether the path names one of many by its key.
    pub fn names_one(&self) -> bool {
        self.many && (self.key.is_some() || self.keyed_in_name)
    }

    /// Whether the key stands in the relationship's own segment (`members('x')`).
    pub fn keyed_in_name(&self) -> bool {
        self.keyed_in_name
    }

    /// Where the records themselves are, for a sentence.
    pub fn own_path(&self) -> String {
        match self.home.as_deref() {
            Some("directoryObjects") => "its own path, such as /users/{id} or /groups/{id}".to_owned(),
            Some(home) => format!("its own path, /{home}/{{id}}"),
            None => "its own path".to_owned(),
        }
    }
}

/// The collection in which records of `kind` live: its entity set, or the one that a singleton contains; else that of the
/// type it inherits from.
fn home_of(facts: &Facts, kind: TypeId) -> Option<String> {
    let name = facts.name(kind);
    let set = |root: &super::facts::Root<'_>| root.collection && root.type_name == name;
    if let Some(root) = facts.roots().find(set) {
        return Some(root.name.to_owned());
    }
    contained_in_singletons(facts, name).or_else(|| {
        let base = *facts.ancestors(kind).get(1)?;
        (facts.name(base) != "entity").then(|| home_of(facts, base))?
    })
}

/// Two steps are as deep as Graph's own examples of references go (`deviceAppManagement/mobileAppCategories`,
/// `identityGovernance/entitlementManagement/accessPackages`).
fn contained_in_singletons(facts: &Facts, wanted: &str) -> Option<String> {
    let singles = facts.roots().filter(|root| !root.collection && root.name != "me");
    let mut next: VecDeque<(String, TypeId, u32)> =
        singles.filter_map(|root| Some((root.name.to_owned(), facts.find(root.type_name)?, 0))).collect();
    while let Some((path, kind, depth)) = next.pop_front() {
        for found in facts.navigations(kind).into_iter().filter(|found| found.contained) {
            let below = format!("{path}/{}", found.name);
            if found.kind.collection && found.kind.name == wanted {
                return Some(below);
            }
            if !found.kind.collection
                && depth < 1
                && let Some(kind) = facts.find(found.kind.name)
            {
                next.push_back((below, kind, depth + 1));
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "relation_tests.rs"]
mod tests;

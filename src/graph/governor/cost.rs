//! Which service of Graph a request without a mailbox goes to, and what the directory counts it as (Microsoft Graph
//! service-specific throttling limits, "Identity and access service limits"). Pure; what the directory really counted
//! comes back in a header.

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::graph::GraphRequest;

/// Services that count requests apart from each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::graph) enum Service {
    /// Users, groups and the rest of the directory, in resource units.
    Directory,
    /// OneDrive and SharePoint.
    Files,
    /// Teams and chats.
    Teams,
    /// Everything else.
    Other,
}

/// What a request is and costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::graph) struct Cost {
    pub(in crate::graph) service: Service,
    /// Resource units of the directory; 0 elsewhere.
    pub(super) units: u32,
    /// Writes as the directory counts them; 0 elsewhere.
    pub(super) writes: u32,
}

/// The parts of a `$batch` call, as far as their cost goes.
#[derive(Deserialize)]
struct Calls<'a> {
    #[serde(borrow)]
    requests: Vec<OneCall<'a>>,
}

#[derive(Deserialize)]
struct OneCall<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    url: std::borrow::Cow<'a, str>,
}

impl Cost {
    /// The cost of `request`; a batch costs what its parts cost, and goes where the first of them goes.
    pub(in crate::graph) fn of(request: &GraphRequest) -> Self {
        if request.mailbox.is_none()
            && request.path.eq_ignore_ascii_case("$batch")
            && let Some(body) = &request.body
            && let Ok(calls) = serde_json::from_slice::<Calls<'_>>(body)
        {
            let costs = calls.requests.iter().map(|call| {
                let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
                Self::of_call(&method, &call.url)
            });
            let sum = |sum: Self, next: Self| Self {
                units: sum.units.saturating_add(next.units),
                writes: sum.writes.saturating_add(next.writes),
                ..sum
            };
            return costs.reduce(sum).unwrap_or(Self { service: Service::Other, units: 0, writes: 0 });
        }
        Self::of_call(&request.method, &request.path)
    }

    fn of_call(method: &Method, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let lower = path.to_ascii_lowercase();
        let segments: Vec<&str> = lower
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| segment.trim_start_matches("microsoft.graph."))
            .collect();
        // Whatever holds for the signed-in user holds for a user by id.
        let segments = match segments.as_slice() {
            ["users", _, rest @ ..] => [&["me"], rest].concat(),
            others => others.to_vec(),
        };
        let service = service(&segments);
        if service != Service::Directory {
            return Self { service, units: 0, writes: 0 };
        }
        let (base, writes) = base(method, &segments);
        let mut units = base;
        for option in query.split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
            match name.trim_start_matches('$') {
                "select" => units = units.saturating_sub(1),
                "top" if value.parse::<u32>().is_ok_and(|top| top < 20) => units = units.saturating_sub(1),
                "expand" => units += 1,
                _ => {}
            }
        }
        Self { service, units: units.max(1), writes }
    }
}

fn service(segments: &[&str]) -> Service {
    let below_an_owner = |segment: &str| match segment {
        "drive" | "drives" | "sites" | "followedsites" => Service::Files,
        "chats" | "joinedteams" | "teamwork" | "team" | "presence" => Service::Teams,
        "memberof"
        | "transitivememberof"
        | "members"
        | "transitivemembers"
        | "owners"
        | "ownedobjects"
        | "owneddevices"
        | "registereddevices"
        | "registeredowners"
        | "createdobjects"
        | "directreports"
        | "manager"
        | "licensedetails"
        | "approleassignments"
        | "approleassignedto"
        | "oauth2permissiongrants"
        | "checkmembergroups"
        | "checkmemberobjects"
        | "getmembergroups"
        | "getmemberobjects"
        | "ismemberof"
        | "assignlicense"
        | "memberswithlicenseerrors"
        | "scopedrolememberof"
        | "$count"
        | "$ref" => Service::Directory,
        _ => Service::Other,
    };
    match segments {
        ["me", segment, ..] | ["groups", _, segment, ..] => below_an_owner(segment),
        ["drives" | "sites" | "shares", ..] => Service::Files,
        ["teams" | "chats" | "communications" | "teamwork" | "teamstemplates" | "appcatalogs", ..] => {
            Service::Teams
        }
        [
            "me"
            | "users"
            | "groups"
            | "applications"
            | "serviceprincipals"
            | "directoryobjects"
            | "directory"
            | "directoryroles"
            | "directoryroletemplates"
            | "domains"
            | "devices"
            | "contacts"
            | "contracts"
            | "organization"
            | "oauth2permissiongrants"
            | "subscribedskus"
            | "administrativeunits"
            | "groupsettings"
            | "groupsettingtemplates"
            | "grouplifecyclepolicies"
            | "getobjectsbyid"
            | "ismemberof"
            | "policies"
            | "permissiongrants",
            ..,
        ] => Service::Directory,
        _ => Service::Other,
    }
}

/// Base cost in resource units, and in writes.
fn base(method: &Method, segments: &[&str]) -> (u32, u32) {
    if *method == Method::GET || *method == Method::HEAD {
        let units = match segments {
            ["groups", _, "transitivemembers", ..] => 5,
            ["domains", _, "domainnamereferences", ..] => 4,
            ["contracts"] | ["subscribedskus"] | ["groups", _, "members", ..] => 3,
            ["applications" | "users" | "oauth2permissiongrants"]
            | ["oauth2permissiongrants", _]
            | ["applications", _, "extensionproperties"]
            | ["serviceprincipals", _, "approleassignments"]
            | ["me", "licensedetails" | "memberof" | "ownedobjects" | "transitivememberof", ..] => 2,
            _ => 1,
        };
        return (units, 0);
    }
    match segments.last() {
        Some(&("ismemberof" | "checkmembergroups" | "checkmemberobjects")) => (4, 0),
        Some(&("getbyids" | "getobjectsbyid")) => (3, 0),
        Some(&("getmembergroups" | "getmemberobjects")) => (2, 0),
        _ => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::test_support::{get, post};

    #[test]
    fn costs_are_those_of_the_table() {
        for (method, path, units, writes) in [
            (Method::GET, "users", 2, 0),
            (Method::GET, "users?$select=id", 1, 0),
            (Method::GET, "users?%24select=id&$top=5&$expand=manager", 1, 0),
            (Method::GET, "users?$expand=manager", 3, 0),
            (Method::GET, "users?$top=999", 2, 0),
            (Method::GET, "users/ada%40contoso.com", 1, 0),
            (Method::GET, "Users/1/memberOf/microsoft.graph.group", 2, 0),
            (Method::GET, "me/memberOf", 2, 0),
            (Method::GET, "groups/1/members?$top=10", 2, 0),
            (Method::GET, "groups/1/transitiveMembers", 5, 0),
            (Method::GET, "domains/x/domainNameReferences", 4, 0),
            (Method::POST, "directoryObjects/getByIds", 3, 0),
            (Method::POST, "users/1/checkMemberGroups", 4, 0),
            (Method::POST, "users/1/microsoft.graph.getMemberGroups", 2, 0),
            (Method::POST, "groups", 1, 1),
            (Method::PATCH, "users/1", 1, 1),
            (Method::DELETE, "groups/1/members/2/$ref", 1, 1),
        ] {
            let wanted = Cost { service: Service::Directory, units, writes };
            assert_eq!(Cost::of_call(&method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn other_services_are_counted_apart_and_cost_no_units() {
        for (path, service) in [
            ("me/drive/root/children", Service::Files),
            ("users/1/drives", Service::Files),
            ("sites/root", Service::Files),
            ("drives/1/items/2", Service::Files),
            ("groups/1/drive", Service::Files),
            ("teams/1/channels", Service::Teams),
            ("users/1/chats", Service::Teams),
            ("me/planner/tasks", Service::Other),
            ("me/messages", Service::Other),
            ("reports/x", Service::Other),
            ("$batch", Service::Other),
            ("", Service::Other),
        ] {
            assert_eq!(Cost::of_call(&Method::GET, path), Cost { service, units: 0, writes: 0 }, "{path}");
        }
    }

    #[test]
    fn a_batch_costs_what_its_parts_cost() {
        let body = r#"{"requests":[{"id":"1","method":"GET","url":"/users?$select=id"},{"id":"2","method":"PATCH","url":"\/users\/1","body":{"requests":7}}]}"#;
        let batch = post("$batch", body);
        assert_eq!(Cost::of(&batch), Cost { service: Service::Directory, units: 2, writes: 1 });
        assert_eq!(Cost::of(&post("$batch", "nonsense")).service, Service::Other);
        assert_eq!(Cost::of(&get("users")).units, 2);
    }
}

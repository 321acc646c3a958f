//! A bound action or function as something to call: which overload fits what is given, and how the call is spelled (OData
//! 4.01 URL Conventions, sections 4.5.1 and 5.1.1.13: actions take their parameters in the body, functions in the path).
//! Never sends.

use serde_json::{Map, Value};

use super::column::ColumnKind;
use super::facts::{Facts, TypeKind};
use super::facts_line::{Operation, TypeRef};
use super::flatten::kind_of;
use super::path::GraphPath;
use super::walk::walk;
use super::{CatalogError, did_you_mean};

/// An action or function bound to the resource at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundOperation {
    /// Its name, with its namespace unless that is `microsoft.graph`.
    pub name: String,
    /// Whether it is a function: it changes nothing and is called by GET.
    pub function: bool,
    /// Its overloads; an action has one.
    pub overloads: Vec<Overload>,
    target: GraphPath,
}

/// One way to call an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// The parameters, in order.
    pub parameters: Vec<CallParameter>,
    /// The type of the answer, as the metadata writes it; absent: there is none.
    pub answer: Option<String>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallParameter {
    /// Its name, matched without regard to case.
    pub name: String,
    /// Its type, as the metadata writes it (`microsoft.graph.recipient`, `Collection(Edm.String)`).
    pub type_name: String,
    /// The form of its value.
    pub kind: ColumnKind,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it is written in quotes in a path: text and enumerations.
    quoted: bool,
}

/// How an operation is called with what was given.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationCall {
    /// Whether by GET; otherwise by POST.
    pub get: bool,
    /// The path below the Graph root, percent-encoded, with its query.
    pub path: String,
    /// The body of an action; absent when it has none.
    pub body: Option<Map<String, Value>>,
}

/// A parameter that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParameter {
    /// Its name.
    pub name: String,
    /// The sentence.
    pub error: CatalogError,
}

/// The operation called `name` (with or without `microsoft.graph.`) of the resource at `target`; `None` when the facts do
/// not know it, which may be the service's newest.
pub(super) fn find(facts: &Facts, target: &GraphPath, name: &str) -> Option<BoundOperation> {
    let name = name.trim().trim_end_matches("()");
    let mut segments = target.segments().to_vec();
    segments.push(name.to_owned());
    let operations = walk(facts, &segments).operations;
    let first = operations.first()?;
    Some(BoundOperation {
        name: first.name.to_owned(),
        function: first.function,
        overloads: operations.iter().map(|operation| overload(facts, operation)).collect(),
        target: target.clone(),
    })
}

/// One overload in the words of the metadata.
pub(super) fn overload(facts: &Facts, operation: &Operation<'_>) -> Overload {
    let parameter = |given: &super::facts_line::OperationParameter<'_>| {
        let is_enum = facts.find(given.kind.name).is_some_and(|id| facts.kind(id) == TypeKind::Enum);
        let kind = kind_of(facts, given.kind);
        CallParameter {
            name: given.name.to_owned(),
            type_name: full_name(facts, given.kind),
            kind,
            required: !given.optional,
            quoted: is_enum || kind == ColumnKind::String,
        }
    };
    Overload {
        parameters: operation.parameters.iter().map(parameter).collect(),
        answer: operation.answer.map(|answer| full_name(facts, answer)),
    }
}

/// `Collection(microsoft.graph.recipient)`, `Edm.String`.
pub(super) fn full_name(facts: &Facts, kind: TypeRef<'_>) -> String {
    let namespace = if facts.find(kind.name).is_some() { "microsoft.graph" } else { "Edm" };
    let name = format!("{namespace}.{}", kind.name);
    if kind.collection { format!("Collection({name})") } else { name }
}

impl BoundOperation {
    /// How it is called with `given`, whose names are matched without regard to case.
    ///
    /// # Errors
    /// [`BadParameter`]: one is unknown, given twice, missing, or of another type.
    pub fn call(&self, given: &Map<String, Value>) -> Result<OperationCall, BadParameter> {
        let overload = self.fitting(given)?;
        let mut taken: Vec<(&CallParameter, Value)> = Vec::new();
        for parameter in &overload.parameters {
            let mut values = given.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&parameter.name));
            let Some((name, value)) = values.next() else { continue };
            if values.next().is_some() {
                return Err(bad(name, format!("The parameter '{name}' is given twice. Give it once.")));
            }
            taken.push((parameter, parameter.typed(value).map_err(|message| bad(name, message))?));
        }
        if self.function { Ok(self.by_path(&taken)) } else { Ok(self.by_body(taken)) }
    }

    /// The overload that knows everything given and misses nothing.
    fn fitting(&self, given: &Map<String, Value>) -> Result<&Overload, BadParameter> {
        let unknown = |overload: &Overload| given.keys().find(|name| !overload.knows(name)).cloned();
        let missing = |overload: &Overload| {
            let has = |parameter: &CallParameter| {
                given.keys().any(|name| name.eq_ignore_ascii_case(&parameter.name))
            };
            overload.parameters.iter().find(|parameter| parameter.required && !has(parameter)).cloned()
        };
        let knows_all = || self.overloads.iter().filter(|overload| unknown(overload).is_none());
        if let Some(found) = knows_all().find(|overload| missing(overload).is_none()) {
            return Ok(found);
        }
        if let Some(parameter) = knows_all().find_map(missing) {
            let (name, example) = (&parameter.name, parameter.kind.example());
            let message = format!(
                "{} needs the parameter '{name}'. Write for example \"{name}\": {example}.",
                self.name
            );
            return Err(bad(name, message));
        }
        let all = || self.overloads.iter().flat_map(|overload| &overload.parameters);
        let name = self.overloads.iter().find_map(unknown).unwrap_or_default();
        let near = did_you_mean(&name, all().map(|parameter| parameter.name.as_str()));
        let mut names: Vec<&str> = all().map(|parameter| parameter.name.as_str()).collect();
        names.dedup();
        let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let shown = crate::error::clean_foreign_text(&name);
        let message = format!("{} has no parameter '{shown}'.{near} Its parameters: {list}.", self.name);
        Err(bad(&shown, message))
    }

    fn by_body(&self, taken: Vec<(&CallParameter, Value)>) -> OperationCall {
        let body: Map<String, Value> =
            taken.into_iter().map(|(parameter, value)| (parameter.name.clone(), value)).collect();
        let takes_body = self.overloads.iter().any(|overload| !overload.parameters.is_empty());
        OperationCall {
            get: false,
            path: self.target.below(&self.segment()),
            body: Some(body).filter(|body| takes_body || !body.is_empty()),
        }
    }

    /// Values that are objects or arrays go by an alias in the query, for no path can hold them.
    fn by_path(&self, taken: &[(&CallParameter, Value)]) -> OperationCall {
        let (mut arguments, mut aliases) = (Vec::new(), Vec::new());
        for (parameter, value) in taken {
            let name = &parameter.name;
            match value {
                Value::Object(_) | Value::Array(_) => {
                    arguments.push(format!("{name}=@{name}"));
                    let text = value.to_string();
                    let text =
                        percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
                    aliases.push(format!("@{name}={text}"));
                }
                Value::String(text) if parameter.quoted => {
                    arguments.push(format!("{name}='{}'", text.replace('\'', "''")));
                }
                Value::String(text) => arguments.push(format!("{name}={text}")),
                other => arguments.push(format!("{name}={other}")),
            }
        }
        let path = self.target.below(&format!("{}({})", self.segment(), arguments.join(",")));
        let query = if aliases.is_empty() { String::new() } else { format!("?{}", aliases.join("&")) };
        OperationCall { get: true, path: format!("{path}{query}"), body: None }
    }

    /// Operations of another namespace are called with it (OData 4.01, Part 2, section 4.5.1).
    fn segment(&self) -> String {
        if self.name.contains('.') { format!("microsoft.graph.{}", self.name) } else { self.name.clone() }
    }
}

impl Overload {
    fn knows(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }
}

impl CallParameter {
    /// `value` in the parameter's form: numbers, truth values and JSON may be given as text.
    fn typed(&self, value: &Value) -> Result<Value, String> {
        let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text.trim()).ok());
        let fits = |value: &Value| match self.kind {
            _ if value.is_null() => !self.required,
            ColumnKind::Bool => value.is_boolean(),
            ColumnKind::Int32 | ColumnKind::Int64 => value.is_i64() || value.is_u64(),
            ColumnKind::Double => value.is_number(),
            ColumnKind::Json => value.is_object() || value.is_array(),
            ColumnKind::Any => true,
            _ => value.is_string(),
        };
        if fits(value) {
            return Ok(value.clone());
        }
        // `Json` parameters of the workbook functions take any value there is.
        if self.type_name == "microsoft.graph.Json" {
            return Ok(value.clone());
        }
        parsed.filter(|parsed| !parsed.is_null() && fits(parsed)).ok_or_else(|| {
            let (name, example) = (&self.name, self.kind.example());
            format!("'{name}' has the type {}. Write for example {example}.", self.type_name)
        })
    }
}

fn bad(name: &str, message: String) -> BadParameter {
    BadParameter { name: name.to_owned(), error: CatalogError::new(message) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::super::library::Catalog;
    use super::*;

    fn called(target: &str, name: &str, given: &Value) -> Result<String, String> {
        let target = GraphPath::parse(target).unwrap();
        let found = Catalog::embedded().find_operation(&target, name).unwrap();
        let call =
            found.call(given.as_object().unwrap()).map_err(|bad| format!("{}: {}", bad.name, bad.error))?;
        let body = call.body.map(|body| format!(" {}", Value::Object(body))).unwrap_or_default();
        Ok(format!("{} {}{body}", if call.get { "GET" } else { "POST" }, call.path))
    }

    #[test]
    fn actions_take_a_body_and_functions_take_a_path() {
        for (target, name, given, expected) in [
            (
                "/me/messages/x",
                "Forward",
                json!({"comment": "hi", "TORECIPIENTS": "[]"}),
                "POST me/messages/x/forward {\"ToRecipients\":[],\"Comment\":\"hi\"}",
            ),
            (
                "/me/messages/x",
                "microsoft.graph.copy",
                json!({"destinationId": "archive"}),
                "POST me/messages/x/copy {\"DestinationId\":\"archive\"}",
            ),
            ("/me/messages/x", "send", json!({}), "POST me/messages/x/send"),
            (
                "/me",
                "reminderView",
                json!({"startDateTime": "2026-01-01", "EndDateTime": "o'c/l"}),
                "GET me/reminderView(StartDateTime='2026-01-01',EndDateTime='o''c%2Fl')",
            ),
            ("/users", "delta()", json!({}), "GET users/delta()"),
            (
                "/reports",
                "getEmailActivityCounts",
                json!({"period": "D7"}),
                "GET reports/getEmailActivityCounts(period='D7')",
            ),
            (
                "/security",
                "runHuntingQuery",
                json!({"query": "x"}),
                "POST security/microsoft.graph.security.runHuntingQuery {\"query\":\"x\"}",
            ),
        ] {
            assert_eq!(called(target, name, &given).unwrap(), expected, "{target} {name}");
        }
    }

    #[test]
    fn parameters_are_checked_by_name_and_type() {
        for (target, name, given, expected) in [
            (
                "/me/messages/x",
                "forward",
                json!({"coment": "hi"}),
                "coment: forward has no parameter 'coment'. Did you mean 'Comment'?",
            ),
            ("/me/messages/x", "move", json!({}), "DestinationId: move needs the parameter 'DestinationId'"),
            ("/me/messages/x", "move", json!({"DestinationId": "a", "destinationid": "b"}), "given twice"),
            (
                "/me/messages/x",
                "forward",
                json!({"ToRecipients": "a@b.c"}),
                "Collection(microsoft.graph.recipient)",
            ),
            ("/reports", "getEmailActivityCounts", json!({"period": 7}), "has the type Edm.String"),
        ] {
            let message = called(target, name, &given).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let target = GraphPath::parse("/me/messages/x").unwrap();
        assert!(Catalog::embedded().find_operation(&target, "explode").is_none());
    }
}

//! A CSDL document (`$metadata`, OData CSDL XML 4.01) as a model: types, bound operations, entity sets and singletons.
//! Reads one document from memory, tag by tag; never decides what is used of it. Whoever hands it over has bounded it.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The deepest nesting of elements: Graph's is 9 deep.
const DEEPEST_ELEMENT: usize = 64;

/// A document.
#[derive(Debug, Default)]
pub(super) struct Csdl {
    pub(super) types: Vec<CsdlType>,
    pub(super) operations: Vec<CsdlOperation>,
    pub(super) roots: Vec<CsdlRoot>,
    /// `TYPE/PROPERTY` of properties that the service computes.
    pub(super) computed: BTreeSet<String>,
    /// What is not done at `TYPE/NAVIGATION`, or with records of `TYPE` at all: `make`, `change`, `remove`, in that order
    /// (OData Capabilities Vocabulary, InsertRestrictions, UpdateRestrictions, DeleteRestrictions).
    pub(super) restricted: BTreeMap<String, [bool; 3]>,
    aliases: BTreeMap<String, String>,
}

/// An entity type, complex type or enumeration. Names are as in the document until [`Csdl::short`] has made them short.
#[derive(Debug, Default)]
pub(super) struct CsdlType {
    pub(super) keyword: &'static str,
    pub(super) name: String,
    pub(super) base: Option<String>,
    pub(super) open: bool,
    pub(super) is_abstract: bool,
    pub(super) stream: bool,
    pub(super) properties: Vec<CsdlProperty>,
    pub(super) members: Vec<String>,
}

/// A property or navigation property.
#[derive(Debug)]
pub(super) struct CsdlProperty {
    pub(super) name: String,
    pub(super) kind: String,
    /// `None`: structural. Otherwise whether the navigation is contained.
    pub(super) contained: Option<bool>,
    pub(super) required: bool,
    pub(super) max_length: Option<u32>,
}

/// A bound action or function; its first parameter is what it is bound to.
#[derive(Debug, Default)]
pub(super) struct CsdlOperation {
    pub(super) name: String,
    pub(super) function: bool,
    bound: bool,
    pub(super) parameters: Vec<CsdlParameter>,
    pub(super) answer: Option<String>,
}

/// A parameter.
#[derive(Debug)]
pub(super) struct CsdlParameter {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) optional: bool,
}

/// An entity set or singleton.
#[derive(Debug)]
pub(super) struct CsdlRoot {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) collection: bool,
}

/// Where the reader stands.
#[derive(Default)]
struct State {
    csdl: Csdl,
    namespace: String,
    /// The element names that are open, outermost first.
    open: Vec<String>,
    kind: Option<CsdlType>,
    operation: Option<CsdlOperation>,
    target: Option<String>,
    /// The term of the annotation that is open.
    term: String,
}

/// Reads a document.
///
/// # Errors
/// What is wrong and at which byte.
pub(super) fn parse(xml: &[u8]) -> Result<Csdl, String> {
    let mut reader = Reader::from_reader(xml);
    let mut state = State::default();
    loop {
        let at = reader.buffer_position();
        let fault = |what: &str| format!("at byte {at}: {what}");
        match reader.read_event().map_err(|error| fault(&error.to_string()))? {
            Event::Start(tag) => {
                state.begin(&tag).map_err(|what| fault(&what))?;
                state.open.push(tag.local_name().as_ref().to_owned());
                if state.open.len() > DEEPEST_ELEMENT {
                    return Err(fault("the elements are nested too deeply"));
                }
            }
            Event::Empty(tag) => {
                state.begin(&tag).map_err(|what| fault(&what))?;
                state.end(tag.local_name().as_ref());
            }
            Event::End(tag) => {
                state.open.pop();
                state.end(tag.local_name().as_ref());
            }
            Event::DocType(_) => return Err(fault("a document type is not taken")),
            Event::Eof => break,
            _ => {}
        }
    }
    if !state.open.is_empty() {
        return Err("the document ends before its elements do".to_owned());
    }
    state.csdl.shorten();
    Ok(state.csdl)
}

impl State {
    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let attribute = |name: &str| attribute(tag, name);
        let named = |name: &str| {
            let value = attribute(name)?.ok_or_else(|| format!("an element without {name}"))?;
            match is_name(&value) {
                true => Ok(value),
                false => Err(format!("'{}' is no name", crate::error::clean_foreign_text(&value))),
            }
        };
        let is = |name: &str, wanted: &str| Ok::<_, String>(attribute(name)?.as_deref() == Some(wanted));
        match tag.local_name().as_ref() {
            "Schema" => {
                self.namespace = named("Namespace")?;
                if let Some(alias) = attribute("Alias")? {
                    self.csdl.aliases.insert(alias, self.namespace.clone());
                }
            }
            element @ ("EntityType" | "ComplexType" | "EnumType") => {
                let keyword = match element {
                    "EntityType" => "entity",
                    "ComplexType" => "complex",
                    _ => "enum",
                };
                self.kind = Some(CsdlType {
                    keyword,
                    name: format!("{}.{}", self.namespace, named("Name")?),
                    base: attribute("BaseType")?.map(|base| checked_type(&base)).transpose()?,
                    open: is("OpenType", "true")?,
                    is_abstract: is("Abstract", "true")?,
                    stream: is("HasStream", "true")?,
                    ..CsdlType::default()
                });
            }
            element @ ("Property" | "NavigationProperty") => {
                let property = CsdlProperty {
                    name: named("Name")?,
                    kind: checked_type(&attribute("Type")?.unwrap_or_default())?,
                    contained: match element {
                        "Property" => None,
                        _ => Some(is("ContainsTarget", "true")?),
                    },
                    required: is("Nullable", "false")?,
                    max_length: attribute("MaxLength")?.and_then(|length| length.parse().ok()),
                };
                if let Some(kind) = &mut self.kind {
                    kind.properties.push(property);
                }
            }
            "Member" => {
                let member = named("Name")?;
                if let Some(kind) = &mut self.kind {
                    kind.members.push(member);
                }
            }
            element @ ("Action" | "Function") => {
                self.operation = Some(CsdlOperation {
                    name: format!("{}.{}", self.namespace, named("Name")?),
                    function: element == "Function",
                    bound: is("IsBound", "true")?,
                    ..CsdlOperation::default()
                });
            }
            "Parameter" => {
                let parameter = CsdlParameter {
                    name: named("Name")?,
                    kind: checked_type(&attribute("Type")?.unwrap_or_default())?,
                    optional: !is("Nullable", "false")?,
                };
                if let Some(operation) = &mut self.operation {
                    operation.parameters.push(parameter);
                }
            }
            "ReturnType" => {
                let kind = checked_type(&attribute("Type")?.unwrap_or_default())?;
                if let Some(operation) = &mut self.operation {
                    operation.answer = Some(kind);
                }
            }
            element @ ("EntitySet" | "Singleton") => {
                let collection = element == "EntitySet";
                let kind = attribute(if collection { "EntityType" } else { "Type" })?.unwrap_or_default();
                let (name, kind) = (named("Name")?, checked_type(&kind)?);
                self.csdl.roots.push(CsdlRoot { name, kind, collection });
            }
            "Annotations" => self.target = attribute("Target")?,
            "Annotation" => {
                self.term = attribute("Term")?.unwrap_or_default();
                self.annotate(attribute("Bool")?.as_deref() != Some("false"));
            }
            "PropertyValue" if is("Bool", "false")? => {
                self.restrict(&attribute("Property")?.unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the annotations that say what a caller may leave out or not give.
    fn annotate(&mut self, holds: bool) {
        let inside = self.open.last().map(String::as_str);
        match (self.term.as_str(), inside) {
            ("Org.OData.Core.V1.Computed", Some("Annotations")) if holds => {
                self.csdl.computed.extend(self.target.clone());
            }
            ("Org.OData.Core.V1.Computed", Some("Property")) if holds => {
                if let Some(kind) = &self.kind
                    && let Some(property) = kind.properties.last()
                {
                    self.csdl.computed.insert(format!("{}/{}", kind.name, property.name));
                }
            }
            ("Org.OData.Core.V1.OptionalParameter", _) => {
                let last = self.operation.as_mut().and_then(|operation| operation.parameters.last_mut());
                if let Some(parameter) = last {
                    parameter.optional = true;
                }
            }
            _ => {}
        }
    }

    /// Takes what the annotation that is open says is not done. What stands deeper in it is about something else.
    fn restrict(&mut self, property: &str) {
        let term = self.term.strip_prefix("Org.OData.Capabilities.V1.").unwrap_or_default();
        let what = match (term, property) {
            ("InsertRestrictions", "Insertable") => 0,
            ("UpdateRestrictions", "Updatable") => 1,
            ("DeleteRestrictions", "Deletable") => 2,
            _ => return,
        };
        if self.open.ends_with(&["Annotations", "Annotation", "Record"].map(str::to_owned))
            && let Some(target) = self.target.clone()
        {
            self.csdl.restricted.entry(target).or_default()[what] = true;
        }
    }

    fn end(&mut self, element: &str) {
        match element {
            "EntityType" | "ComplexType" | "EnumType" => self.csdl.types.extend(self.kind.take()),
            "Action" | "Function" => {
                let bound = self.operation.take().filter(|found| found.bound && !found.parameters.is_empty());
                self.csdl.operations.extend(bound);
            }
            "Annotations" => self.target = None,
            _ => {}
        }
    }
}

impl Csdl {
    /// Makes every name short: `Edm.String` → `String`, `Collection(graph.recipient)` → `[]recipient`,
    /// `microsoft.graph.callRecords.x` → `callRecords.x`.
    fn shorten(&mut self) {
        let aliases = std::mem::take(&mut self.aliases);
        let short = |full: &mut String| *full = short_name(full, &aliases);
        for kind in &mut self.types {
            short(&mut kind.name);
            kind.base.as_mut().map(short);
            kind.properties.iter_mut().for_each(|property| short(&mut property.kind));
        }
        for operation in &mut self.operations {
            short(&mut operation.name);
            operation.answer.as_mut().map(short);
            operation.parameters.iter_mut().for_each(|parameter| short(&mut parameter.kind));
        }
        self.roots.iter_mut().for_each(|root| short(&mut root.kind));
        let target = |full: &str| match full.split_once('/') {
            Some((kind, property)) => format!("{}/{property}", short_name(kind, &aliases)),
            None => short_name(full, &aliases),
        };
        let restricted = std::mem::take(&mut self.restricted);
        self.restricted = restricted.into_iter().map(|(full, what)| (target(&full), what)).collect();
        let computed = std::mem::take(&mut self.computed);
        self.computed = computed
            .iter()
            .filter_map(|target| target.split_once('/'))
            .map(|(kind, property)| format!("{}/{property}", short_name(kind, &aliases)))
            .collect();
    }
}

fn short_name(full: &str, aliases: &BTreeMap<String, String>) -> String {
    if let Some(inner) = full.strip_prefix("Collection(").and_then(|rest| rest.strip_suffix(')')) {
        return format!("[]{}", short_name(inner, aliases));
    }
    if let Some(edm) = full.strip_prefix("Edm.") {
        return edm.to_owned();
    }
    let resolved = match full.rsplit_once('.') {
        Some((prefix, rest)) => match aliases.get(prefix) {
            Some(namespace) => format!("{namespace}.{rest}"),
            None => full.to_owned(),
        },
        None => full.to_owned(),
    };
    resolved.strip_prefix("microsoft.graph.").unwrap_or(&resolved).to_owned()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let found = tag.try_get_attribute(name).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(None) };
    let text = quick_xml::escape::unescape(&found.value).map_err(|error| error.to_string())?;
    Ok(Some(text.into_owned()))
}

/// A simple or qualified identifier (OData CSDL 4.01 section 15.2), which has no space and no sign in it.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 512
        && text.split('.').all(|part| {
            part.starts_with(|first: char| first.is_alphabetic() || first == '_')
                && part.chars().all(|character| character.is_alphanumeric() || character == '_')
        })
}

fn checked_type(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix("Collection(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    match is_name(inner) {
        true => Ok(text.to_owned()),
        false => Err(format!("'{}' is no type", crate::error::clean_foreign_text(text))),
    }
}

#[cfg(test)]
#[path = "csdl_tests.rs"]
mod tests;

//! The query options of a request, read and checked against the type that is asked for.
//! Never carries them out.

use super::check::{self, Advanced};
use super::expression::{Expr, Path};
use super::filter::parse;
use super::search::Search;
use crate::answer::{Call, decoded_pairs};
use crate::data::model::{Entity, Kind, Property, Shape};
use crate::data::types::shape;
use crate::graph::errors::GraphError;

/// One relationship of `$expand`, with its own options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expand {
    /// The name, as sent.
    pub(crate) name: String,
    /// The options in parentheses.
    pub(crate) options: Vec<(String, String)>,
}

/// The options of a request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// `$select`; `None` is the default set.
    pub(crate) select: Option<Vec<&'static Property>>,
    /// `$filter`.
    pub(crate) filter: Option<Expr>,
    /// `$filter` as text.
    pub(crate) filter_text: String,
    /// `$orderby`: path and whether it descends.
    pub(crate) order: Vec<(Path, bool)>,
    /// `$orderby` as text.
    pub(crate) order_text: String,
    /// `$top`.
    pub(crate) top: Option<usize>,
    /// `$skip`.
    pub(crate) skip: usize,
    /// `$count=true`.
    pub(crate) count: bool,
    /// `$search`.
    pub(crate) search: Option<Search>,
    /// `$search` as text.
    pub(crate) search_text: String,
    /// `$expand`.
    pub(crate) expand: Vec<Expand>,
    /// `$skiptoken`.
    pub(crate) skip_token: Option<String>,
    /// `startDateTime` and `endDateTime`.
    pub(crate) span: (Option<String>, Option<String>),
}

impl Query {
    /// Reads the options of a request for a collection.
    pub(crate) fn of_collection(call: &Call, entity: Entity) -> Result<Self, GraphError> {
        let query = Self::read(call, entity.shape(), entity == Entity::User)?;
        only_supported(entity, &query)?;
        match entity {
            Entity::User => check_directory(call, &query)?,
            _ => check_mailbox(entity, &query)?,
        }
        Ok(query)
    }

    /// Reads the options of a request for one entity, which can only be told what to show.
    pub(crate) fn of_entity(call: &Call, entity: Entity) -> Result<Self, GraphError> {
        let query = Self::read(call, entity.shape(), entity == Entity::User)?;
        only_supported(entity, &query)?;
        let for_collections = query.filter.is_some()
            || !query.order.is_empty()
            || query.top.is_some()
            || query.skip > 0
            || query.search.is_some();
        if for_collections {
            return Err(GraphError::bad_request(
                "The query specified in the URI is not valid. The requested resource is not a collection. Query options $filter, $orderby, $count, $skip, and $top can be applied only on collections.",
            ));
        }
        Ok(query)
    }

    /// Refuses what the directory does not do, or only as an advanced query.
    pub(crate) fn check_directory(&self, call: &Call) -> Result<(), GraphError> {
        check_directory(call, self)
    }

    /// Reads the options of a request on a type that is taken from the metadata as it is.
    pub(crate) fn of_type(call: &Call, type_name: &str) -> Result<Self, GraphError> {
        Self::read(call, shape(type_name), false)
    }

    /// Reads the options of a request on rows of that shape.
    pub(crate) fn read(call: &Call, shape: &'static Shape, directory: bool) -> Result<Self, GraphError> {
        let mut query = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in decoded_pairs(call.query()) {
            let lower = name.to_ascii_lowercase();
            match lower.as_str() {
                "startdatetime" => query.span.0 = Some(value),
                "enddatetime" => query.span.1 = Some(value),
                _ if !lower.starts_with('$') => continue,
                "$select" => query.select = Some(select(&value, shape, directory)?),
                "$filter" => {
                    query.filter = Some(parse(&value, shape, directory)?);
                    query.filter_text = value;
                }
                "$orderby" => {
                    query.order = order(&value, shape, directory)?;
                    query.order_text = value;
                }
                "$top" => query.top = Some(number("$top", &value)?),
                "$skip" => query.skip = number("$skip", &value)?,
                "$count" => query.count = flag(&value)?,
                "$search" => {
                    query.search = Some(Search::parse(&value, directory)?);
                    query.search_text = value;
                }
                "$skiptoken" => query.skip_token = Some(value),
                "$expand" => query.expand = expand(&value, shape)?,
                "$format" => {}
                _ => {
                    return Err(GraphError::bad_request(format!(
                        "The query parameter '{name}' is not supported."
                    )));
                }
            }
            if seen.contains(&lower) {
                return Err(GraphError::bad_request(format!(
                    "Query option '{name}' was specified more than once, but it must be specified at most once."
                )));
            }
            seen.push(lower);
        }
        Ok(query)
    }
}

fn check_mailbox(entity: Entity, query: &Query) -> Result<(), GraphError> {
    if let Some(filter) = &query.filter {
        check::mailbox_filter(filter)?;
    }
    if entity == Entity::Message {
        check::message_order(query.filter.as_ref(), &query.order)?;
    }
    if query.search.is_some() {
        if entity != Entity::Message {
            return Err(GraphError::bad_request(
                "The query parameter '$search' is not supported for this resource.",
            ));
        }
        if query.filter.is_some() {
            let text = "The query parameter '$filter' is not supported with '$search'.";
            return Err(GraphError::new(400, "SearchWithFilter", text));
        }
        if !query.order.is_empty() {
            let text = "The query parameter '$orderby' is not supported with '$search'.";
            return Err(GraphError::new(400, "SearchWithOrderBy", text));
        }
    }
    match query.top {
        Some(top) if !(1..=1000).contains(&top) => Err(GraphError::new(
            400,
            "ErrorInvalidParameter",
            format!(
                "The query specified in the URI is not valid. The limit of '1000' for Top query has been exceeded. The value from the incoming request is '{top}'."
            ),
        )),
        _ => Ok(()),
    }
}

fn check_directory(call: &Call, query: &Query) -> Result<(), GraphError> {
    let header = call.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
    let advanced = Advanced { header, count: query.count };
    if query.skip > 0 {
        return Err(GraphError::new(400, "Request_BadRequest", "'$skip' is not supported by the service."));
    }
    match query.top {
        Some(top) if !(1..=999).contains(&top) => {
            return Err(GraphError::unsupported_query(format!(
                "Invalid page size specified: '{top}'. Must be between 1 and 999 inclusive."
            )));
        }
        _ => {}
    }
    if query.search.is_some() && !header {
        return Err(GraphError::unsupported_query(
            "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'",
        ));
    }
    if let Some(filter) = &query.filter {
        check::directory_filter(filter, advanced)?;
    }
    check::directory_order(query.filter.is_some(), &query.order, advanced)
}

fn select(text: &str, shape: &'static Shape, directory: bool) -> Result<Vec<&'static Property>, GraphError> {
    let clause = "Parsing OData Select and Expand failed";
    let mut properties: Vec<&'static Property> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name == "*" {
            properties.extend(shape.properties.iter().filter(|property| !property.on_request));
            continue;
        }
        if name.is_empty() {
            return Err(GraphError::bad_request(format!(
                "{clause}: Term '{text}' is not valid in a $select or $expand expression."
            )));
        }
        let first = name.split('/').next().unwrap_or_default();
        let property = shape
            .find(first)
            .ok_or_else(|| GraphError::unknown_property(directory, clause, first, shape.name))?;
        if !properties.iter().any(|known| known.name == property.name) {
            properties.push(property);
        }
    }
    Ok(properties)
}

fn order(text: &str, shape: &'static Shape, directory: bool) -> Result<Vec<(Path, bool)>, GraphError> {
    let clause = "Invalid orderby clause";
    let mut order = Vec::new();
    for term in text.split(',') {
        let mut words = term.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let descending = match (words.next(), words.next()) {
            (None | Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => return Err(GraphError::bad_request(format!("{clause}: Syntax error in '{text}'."))),
        };
        let mut names = name.split('/');
        let first = names.next().unwrap_or_default();
        let unknown = |name: &str, owner: &str| GraphError::unknown_property(directory, clause, name, owner);
        let root = shape.find(first).ok_or_else(|| unknown(first, shape.name))?;
        let mut path = Path { from_variable: false, names: vec![root.name], kind: root.kind, root };
        for name in names {
            let Kind::Complex(inner) = path.kind else {
                return Err(unknown(name, shape.name));
            };
            let property = inner.find(name).ok_or_else(|| unknown(name, inner.name))?;
            path.names.push(property.name);
            path.kind = property.kind;
        }
        if matches!(path.kind, Kind::Complex(_) | Kind::List(_)) {
            let text = "The $orderby expression must evaluate to a single value of primitive type.";
            return Err(GraphError::bad_request(format!("{clause}: {text}")));
        }
        order.push((path, descending));
    }
    Ok(order)
}

fn expand(text: &str, shape: &Shape) -> Result<Vec<Expand>, GraphError> {
    let mut found = Vec::new();
    for piece in split_outside(text, ',') {
        let (name, options) = match piece.trim().split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
            None => (piece.trim(), ""),
        };
        let first = name.split('/').next().unwrap_or_default();
        if !shape.navigates(first) && !first.starts_with("microsoft.graph.") {
            return Err(GraphError::bad_request(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{first}' on type 'microsoft.graph.{}'.",
                shape.name
            )));
        }
        let options = split_outside(options, ';')
            .into_iter()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.to_owned()))
            .collect();
        found.push(Expand { name: name.to_owned(), options });
    }
    Ok(found)
}

/// Splits where the mark stands outside quotes and parentheses.
fn split_outside(text: &str, mark: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0_i32, false, 0);
    let mut pieces = Vec::new();
    for (place, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            other if other == mark && !quoted && depth == 0 => {
                pieces.push(&text[start..place]);
                start = place + mark.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// Refuses to expand what the sandbox cannot.
fn only_supported(entity: Entity, query: &Query) -> Result<(), GraphError> {
    let known: &[&str] = match entity {
        Entity::Message | Entity::Event => &["attachments", "singlevalueextendedproperties"],
        Entity::Contact => &["singlevalueextendedproperties"],
        Entity::MailFolder | Entity::ContactFolder | Entity::Calendar => &["singlevalueextendedproperties"],
        Entity::User => &[],
    };
    match query.expand.iter().find(|expand| !known.contains(&expand.name.to_ascii_lowercase().as_str())) {
        Some(expand) => {
            let text = format!("This sandbox does not expand '{}'.", expand.name);
            Err(GraphError::new(501, "NotImplemented", text))
        }
        None => Ok(()),
    }
}

fn number(name: &str, value: &str) -> Result<usize, GraphError> {
    value.parse().map_err(|_| {
        GraphError::bad_request(format!(
            "The query specified in the URI is not valid. Invalid value '{value}' for {name} query option found. The {name} query option requires a non-negative integer value."
        ))
    })
}

fn flag(value: &str) -> Result<bool, GraphError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(GraphError::bad_request(format!(
            "The query specified in the URI is not valid. Invalid value '{value}' for $count query option found. Valid options are 'true' and 'false'."
        ))),
    }
}

//! `[name]` and `[name{default}]` in texts: parsing, and replacing by values. A literal bracket is written `[[`.
//! Never looks a variable up itself, and never shows the text around a place: it may be a secret.

use serde_json::Value;

use super::Template;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// Text that stays. A `[[` ends such a piece after its first bracket, so that nothing has to be copied.
    Text(&'t str),
    /// A place for a variable.
    Variable { name: &'t str, default: Option<&'t str> },
}

impl Template {
    /// Takes a text, if all its brackets make sense.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the brackets. It does not quote the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = pieces(text)?.into_iter().filter_map(|piece| match piece {
            Piece::Variable { name, .. } => Some(name.to_owned()),
            Piece::Text(_) => None,
        });
        Ok(Self { text: text.to_owned(), variables: names.collect() })
    }

    /// The text with every place replaced by `lookup`'s value, else by its default.
    ///
    /// # Errors
    /// A sentence naming the variable that is not set and has no default.
    pub fn resolve(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        resolve(&self.text, lookup)
    }
}

/// Replaces the variables in all texts inside `value`: the keys stay, and what was text stays text, so that a value
/// can never become a number, a condition or a list.
///
/// # Errors
/// A sentence naming the field, and the variable that is not set or what is wrong with the brackets.
pub fn substitute_json(value: &Value, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Value, String> {
    substitute_at(value, lookup, "")
}

fn substitute_at(value: &Value, lookup: &dyn Fn(&str) -> Option<String>, at: &str) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            Value::String(resolve(text, lookup).map_err(|message| format!("{at}: {message}"))?)
        }
        Value::Array(items) => {
            let item = |(index, item)| substitute_at(item, lookup, &format!("{at}[{index}]"));
            Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let mut replaced = serde_json::Map::with_capacity(entries.len());
            for (key, value) in entries {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                replaced.insert(key.clone(), substitute_at(value, lookup, &at)?);
            }
            Value::Object(replaced)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Replaces the variables in one text.
///
/// # Errors
/// As [`Template::parse`] and [`Template::resolve`].
pub(super) fn resolve(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => resolved.push_str(text),
            Piece::Variable { name, default } => match (lookup(name), default) {
                (Some(value), _) => resolved.push_str(&value),
                (None, Some(default)) => resolved.push_str(default),
                (None, None) => {
                    return Err(format!(
                        "Variable '{name}' is not set. Set it under 'variables:' of a drop-in or in \
                         [PredefinedJitterbitVariables], or give it a default: [{name}{{default}}]."
                    ));
                }
            },
        }
    }
    Ok(resolved)
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(open) = rest.find('[') {
        let (before, from_bracket) = rest.split_at(open);
        let inside = &from_bracket[1..];
        if let Some(after) = inside.strip_prefix('[') {
            pieces.push(Piece::Text(&rest[..=open]));
            rest = after;
            continue;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let (piece, after) = variable(inside)?;
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// What stands after an opening bracket: `name]` or `name{default}]`, and what follows it.
fn variable(inside: &str) -> Result<(Piece<'_>, &str), String> {
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '$');
    let end = inside.find(|character| !allowed(character)).unwrap_or(inside.len());
    let (name, after) = inside.split_at(end);
    let name = name.strip_prefix('$').unwrap_or(name);
    if name.is_empty() || name.contains('$') {
        return Err("An opening bracket must begin a variable, as in [name]. Write [[ for a bracket itself."
            .to_owned());
    }
    if let Some(after) = after.strip_prefix(']') {
        return Ok((Piece::Variable { name, default: None }, after));
    }
    let Some(default) = after.strip_prefix('{') else {
        return Err(
            "A variable must be written [name] or [name{default}]. Write [[ for a bracket itself.".to_owned()
        );
    };
    match default.split_once("}]") {
        Some((default, after)) => Ok((Piece::Variable { name, default: Some(default) }, after)),
        None => Err(format!("The default of variable '{name}' does not end. Write [{name}{{default}}].")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "tenant" => Some("contoso.com".to_owned()),
            "jitterbit.user-1" => Some("u[1]".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn places_are_replaced() {
        for (text, wanted) in [
            ("plain ] text", "plain ] text"),
            ("[tenant]", "contoso.com"),
            ("[$tenant]", "contoso.com"),
            ("a[tenant]b[tenant]c", "acontoso.comb contoso.comc".replace(' ', "").as_str()),
            ("[tenant{x}]", "contoso.com"),
            ("[none{x y}]", "x y"),
            ("[none{}]", ""),
            ("[empty{x}]", ""),
            ("[none{a]b}c}]", "a]b}c"),
            ("[[tenant]", "[tenant]"),
            ("[[[tenant]]", "[contoso.com]"),
            ("[[[[", "[["),
            ("[jitterbit.user-1]", "u[1]"),
        ] {
            assert_eq!(resolve(text, &lookup).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn wrong_places_are_said_without_the_text_around_them() {
        for (text, wanted) in [
            ("hunter2[", "opening bracket"),
            ("hunter2[]", "opening bracket"),
            ("hunter2[a b]", "[name]"),
            ("hunter2[a", "[name]"),
            ("hunter2[a{b]", "does not end"),
            ("hunter2[none]", "'none' is not set"),
        ] {
            let message = resolve(text, &lookup).unwrap_err();
            assert!(message.contains(wanted) && !message.contains("hunter2"), "{text}: {message}");
        }
    }

    #[test]
    fn values_in_json_stay_what_they_are() {
        let body = serde_json::json!({ "[tenant]": ["[tenant]", 5, null, true, { "a": "x[none{1}]" }] });
        let wanted = serde_json::json!({ "[tenant]": ["contoso.com", 5, null, true, { "a": "x1" }] });
        assert_eq!(substitute_json(&body, &lookup).unwrap(), wanted);
        let body = serde_json::json!({ "conditions": [{ "value": "[none]" }] });
        assert!(
            substitute_json(&body, &lookup).unwrap_err().starts_with("conditions[0].value: Variable 'none'")
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_written_literally(text in "(?s).{0,80}") {
            prop_assert_eq!(resolve(&text.replace('[', "[["), &|_| None), Ok(text));
        }

        #[test]
        fn parsing_and_resolving_agree(text in "[\\[\\]{}a$ ]{0,24}") {
            match (Template::parse(&text), resolve(&text, &|_| Some("v".to_owned()))) {
                (Ok(template), Ok(resolved)) => {
                    prop_assert_eq!(template.resolve(&|_| Some("v".to_owned())), Ok(resolved));
                }
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
            }
        }
    }
}

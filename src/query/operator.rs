//! The comparisons of a condition, and the spellings under which operators of SQL and OData tools know them. Never
//! looks at a value.

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};
use utoipa::ToSchema;

/// The comparisons. Each is true or false of a cell, never unknown: a cell without value fulfils `is null` and the
/// negative comparisons (`!=`, `not in`, `not like`, …) and no other, so that every negative comparison, like
/// `{"not": …}`, is the exact opposite of the positive one. Text is compared
/// without regard to case, and identifiers exactly (`comparison` of a column says which). Of a collection, `=`, `in` and the
/// text operators ask whether one of its members fits, and a collection without members has no value. A local time with a
/// zone beside it is compared as a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub enum Operator {
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// From the first to the second of two values, both included.
    #[serde(rename = "between")]
    Between,
    /// Before the first or after the second of two values.
    #[serde(rename = "not between")]
    NotBetween,
    /// SQL LIKE with `%` and `_`.
    #[serde(rename = "like")]
    Like,
    /// The opposite of `like`.
    #[serde(rename = "not like")]
    NotLike,
    /// One of an array.
    #[serde(rename = "in")]
    In,
    /// None of an array.
    #[serde(rename = "not in")]
    NotIn,
    /// Has no value.
    #[serde(rename = "is null")]
    IsNull,
    /// Has a value.
    #[serde(rename = "is not null")]
    IsNotNull,
    /// Contains the text.
    #[serde(rename = "contains")]
    Contains,
    /// Does not contain the text.
    #[serde(rename = "not contains")]
    NotContains,
    /// Begins with the text.
    #[serde(rename = "starts-with")]
    StartsWith,
    /// Does not begin with the text.
    #[serde(rename = "not starts-with")]
    NotStartsWith,
    /// Ends with the text.
    #[serde(rename = "ends-with")]
    EndsWith,
    /// Does not end with the text.
    #[serde(rename = "not ends-with")]
    NotEndsWith,
}

/// Every spelling without its blanks, hyphens and capitals; the first of each operator is the one that is shown.
const SPELLINGS: [(Operator, &str, &[&str]); 20] = [
    (Operator::Equal, "=", &["=", "==", "eq"]),
    (Operator::NotEqual, "!=", &["!=", "<>", "ne"]),
    (Operator::Greater, ">", &[">", "gt"]),
    (Operator::GreaterOrEqual, ">=", &[">=", "ge"]),
    (Operator::Less, "<", &["<", "lt"]),
    (Operator::LessOrEqual, "<=", &["<=", "le"]),
    (Operator::Between, "between", &["between"]),
    (Operator::NotBetween, "not between", &["notbetween"]),
    (Operator::Like, "like", &["like"]),
    (Operator::NotLike, "not like", &["notlike"]),
    (Operator::In, "in", &["in"]),
    (Operator::NotIn, "not in", &["notin"]),
    (Operator::IsNull, "is null", &["isnull"]),
    (Operator::IsNotNull, "is not null", &["isnotnull"]),
    (Operator::Contains, "contains", &["contains"]),
    (Operator::NotContains, "not contains", &["notcontains", "doesnotcontain"]),
    (Operator::StartsWith, "starts-with", &["startswith"]),
    (Operator::NotStartsWith, "not starts-with", &["notstartswith"]),
    (Operator::EndsWith, "ends-with", &["endswith"]),
    (Operator::NotEndsWith, "not ends-with", &["notendswith"]),
];

impl Operator {
    /// The operator that `text` spells: in any case, with blanks, hyphens, underscores or nothing between its words.
    ///
    /// # Errors
    /// A sentence with the operators there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain: String = text
            .chars()
            .take(32)
            .filter(|character| !matches!(character, ' ' | '-' | '_'))
            .flat_map(char::to_lowercase)
            .collect();
        let found = SPELLINGS.iter().find(|(_, _, spellings)| spellings.contains(&plain.as_str()));
        found.map(|(operator, _, _)| *operator).ok_or_else(|| {
            let names: Vec<&str> = SPELLINGS.iter().map(|(_, name, _)| *name).collect();
            format!(
                "'{}' is no operator. The operators are {}.",
                crate::error::clean_foreign_text(text),
                names.join(", ")
            )
        })
    }

    /// The spelling that is shown.
    pub fn as_str(self) -> &'static str {
        SPELLINGS.iter().find(|(operator, _, _)| *operator == self).map_or("=", |(_, name, _)| *name)
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn operators_are_known_in_every_usual_spelling() {
        for (spellings, operator) in [
            (vec!["=", "==", "eq", "EQ"], Operator::Equal),
            (vec!["<>", "!=", "ne"], Operator::NotEqual),
            (vec!["LIKE", "like"], Operator::Like),
            (vec!["NOT LIKE", "not like", "not-like", "notLike"], Operator::NotLike),
            (vec!["IS NOT NULL", "is-not-null"], Operator::IsNotNull),
            (vec!["startsWith", "starts with", "STARTS-WITH", "starts_with"], Operator::StartsWith),
            (vec!["not ends-with", "NotEndsWith"], Operator::NotEndsWith),
            (vec!["not in", "NOT IN"], Operator::NotIn),
            (vec!["between", "BETWEEN"], Operator::Between),
        ] {
            for spelling in spellings {
                assert_eq!(Operator::parse(spelling), Ok(operator), "{spelling}");
            }
        }
        for (operator, shown, _) in SPELLINGS {
            assert_eq!(Operator::parse(operator.as_str()), Ok(operator));
            assert_eq!(
                serde_json::to_value(operator).unwrap(),
                shown,
                "answers and messages use one spelling"
            );
        }
        let message = Operator::parse("~").unwrap_err();
        assert!(message.starts_with("'~' is no operator. The operators are =, !=,"), "{message}");
    }
}

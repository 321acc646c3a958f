//! Tests of long lists: which requests they become.

use proptest::prelude::*;
use serde_json::json;

use super::super::condition::check;
use super::super::request::{Condition, Operator};
use super::*;
use crate::catalog::{Column, ColumnKind, FilterOps};

/// The split of `name in values`, all of which a service can be asked for.
fn list(name: &str, values: &[String]) -> Split {
    let mut column = Column::property(name.to_owned(), vec![name.to_owned()], ColumnKind::String);
    column.filter = FilterOps::EQUALITY;
    let condition = Condition { field: name.to_owned(), operator: Operator::In, value: json!(values) };
    split(vec![check(&column, &condition).expect("a list of texts")], Home::Mailbox)
}

#[test]
fn long_lists_lose_no_identifier_that_differs_by_case() {
    let mut values: Vec<String> = (0..20).map(|number| format!("AAMk{number}")).collect();
    values.extend(["AAMkCaseA", "AAMkCasea", "AAMkCASEa", "AAMkCaseA"].map(str::to_owned));
    let found = list("conversationId", &values);
    assert_eq!(found.residual.len(), 1, "the service may fold their case, so the agent compares again");
    for value in &values {
        let quoted = format!("'{value}'");
        let holders = found.chunks.iter().filter(|chunk| chunk.pushed.filter.contains(&quoted)).count();
        assert_eq!(holders, 1, "{value}");
    }
    let texts = list("subject", &values);
    assert!(texts.residual.is_empty(), "the service compares texts as the agent does");
    let folded: Vec<&str> = texts.chunks.iter().map(|chunk| chunk.pushed.filter.as_str()).collect();
    assert_eq!(folded.join(" ").matches("CaseA").count() + folded.join(" ").matches("Casea").count(), 1);
}

proptest! {
    /// Whether the service folds case or not, each row comes from one request only, and none is left out.
    #[test]
    fn no_row_comes_from_two_lists(
        values in prop::collection::vec("[aAbB]{1,3}", 16..60),
        folds in any::<bool>(),
    ) {
        let found = list("conversationId", &values);
        let same = |one: &str, other: &str| {
            if folds { one.eq_ignore_ascii_case(other) } else { one == other }
        };
        for row in &values {
            let asks = |filter: &Filter| {
                let texts = filter.pushed.filter.split('\'').skip(1).step_by(2);
                texts.into_iter().any(|text| same(text, row))
            };
            let all: Vec<&Filter> = found.chunks.iter().chain(&found.filters).collect();
            prop_assert!(all.is_empty() || all.iter().filter(|filter| asks(filter)).count() == 1, "{}", row);
            prop_assert_eq!(found.residual.len(), 1);
        }
    }
}

//! Random trees of conditions on random columns, with and without order and limit: whatever the agent sends to the service
//! and whatever it evaluates itself, the rows are those that a naive reading of the whole tree over all rows gives.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, application, delegated, tenant};

/// One object with the columns that conditions are made of.
struct Subject {
    path: &'static str,
    object: &'static str,
    rows: Vec<Value>,
    columns: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Tree {
    Is { column: usize, operator: &'static str, picks: Vec<u32> },
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

const TEXT: [&str; 19] = [
    "=",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "between",
    "not between",
    "like",
    "not like",
    "in",
    "not in",
    "is null",
    "is not null",
    "contains",
    "not contains",
    "starts-with",
    "not starts-with",
    "ends-with",
];
const OTHER: [&str; 12] =
    ["=", "!=", ">", ">=", "<", "<=", "between", "not between", "in", "not in", "is null", "is not null"];
const TRUTH: [&str; 6] = ["=", "!=", "in", "not in", "is null", "is not null"];

fn tree(columns: usize) -> impl Strategy<Value = Tree> {
    let leaf = (0..columns, any::<u32>(), prop::collection::vec(any::<u32>(), 1..20)).prop_map(
        |(column, operator, picks)| {
            // The operator is brought into the column's list when the column's type is known.
            Tree::Is { column, operator: TEXT[operator as usize % TEXT.len()], picks }
        },
    );
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Or),
            inner.prop_map(|inner| Tree::Not(Box::new(inner))),
        ]
    })
}

impl Subject {
    fn sample(&self, column: usize, pick: u32) -> Value {
        let cells: Vec<&Value> =
            self.rows.iter().map(|row| &row[self.columns[column]]).filter(|cell| !cell.is_null()).collect();
        if cells.is_empty() {
            return json!("x");
        }
        cells[pick as usize % cells.len()].clone()
    }

    /// The condition in a request, and what it means.
    fn condition(&self, column: usize, operator: &'static str, picks: &[u32]) -> (Value, Leaf) {
        let sample = |pick: usize| self.sample(column, picks[pick % picks.len()].wrapping_add(pick as u32));
        let first = sample(0);
        let date = self.columns[column].ends_with("DateTime");
        let known: &[&'static str] = match first {
            Value::Bool(_) => &TRUTH,
            _ if date => &OTHER,
            _ => &TEXT,
        };
        let operator =
            if known.contains(&operator) { operator } else { known[picks[0] as usize % known.len()] };
        let text = first.as_str().unwrap_or_default().to_owned();
        let cut = |from: usize, length: usize| -> String {
            let piece: String = text.chars().skip(from).take(length.max(1)).collect();
            if piece.is_empty() { "e".to_owned() } else { piece }
        };
        let (skip, length) = (picks[0] as usize % 7, 1 + picks[0] as usize / 7 % 6);
        let value = match operator {
            "in" | "not in" => json!((0..picks.len()).map(sample).collect::<Vec<_>>()),
            "between" | "not between" => json!([first, sample(1)]),
            "like" | "not like" => match picks[0] % 4 {
                0 => json!(format!("{}%", cut(0, length))),
                1 => json!(format!("%{}%", cut(skip, length))),
                2 => json!(format!("{}%{}", cut(0, 1), text.chars().last().unwrap_or('e'))),
                _ => json!(format!("%{}_%", cut(skip, 1))),
            },
            "contains" | "not contains" => json!(cut(skip, length)),
            "starts-with" | "not starts-with" => json!(cut(0, length).to_uppercase()),
            "ends-with" => {
                json!(
                    text.chars().rev().take(length).collect::<Vec<_>>().into_iter().rev().collect::<String>()
                )
            }
            "is null" | "is not null" => Value::Null,
            _ => first,
        };
        let value = if matches!(operator, "contains" | "ends-with" | "not contains") && value == "" {
            json!("e")
        } else {
            value
        };
        let request = json!({"field": self.columns[column], "operator": operator, "value": value});
        (request, Leaf { column: self.columns[column], operator, value })
    }

    fn request(&self, tree: &Tree) -> Value {
        match tree {
            Tree::Is { column, operator, picks } => self.condition(*column, operator, picks).0,
            Tree::And(members) => {
                json!({"and": members.iter().map(|tree| self.request(tree)).collect::<Vec<_>>()})
            }
            Tree::Or(members) => {
                json!({"or": members.iter().map(|tree| self.request(tree)).collect::<Vec<_>>()})
            }
            Tree::Not(inner) => json!({"not": self.request(inner)}),
        }
    }

    fn holds(&self, tree: &Tree, row: &Value) -> bool {
        match tree {
            Tree::Is { column, operator, picks } => self.condition(*column, operator, picks).1.holds(row),
            Tree::And(members) => members.iter().all(|tree| self.holds(tree, row)),
            Tree::Or(members) => members.iter().any(|tree| self.holds(tree, row)),
            Tree::Not(inner) => !self.holds(inner, row),
        }
    }
}

struct Leaf {
    column: &'static str,
    operator: &'static str,
    value: Value,
}

/// A cell as the naive reading compares it.
fn folded(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    }
}

impl Leaf {
    fn holds(&self, row: &Value) -> bool {
        let cell = &row[self.column];
        let positive = |operator: &str| {
            if cell.is_null() {
                return operator == "is null";
            }
            let cell = folded(cell);
            let wanted = folded(&self.value);
            let nth = |place: usize| folded(&self.value[place]);
            match operator {
                "=" => cell == wanted,
                ">" => cell > wanted,
                ">=" => cell >= wanted,
                "<" => cell < wanted,
                "<=" => cell <= wanted,
                "between" => cell >= nth(0) && cell <= nth(1),
                "in" => self.value.as_array().unwrap().iter().any(|value| folded(value) == cell),
                "like" => like(&wanted.chars().collect::<Vec<_>>(), &cell.chars().collect::<Vec<_>>()),
                "contains" => cell.contains(&wanted),
                "starts-with" => cell.starts_with(&wanted),
                "ends-with" => cell.ends_with(&wanted),
                _ => false,
            }
        };
        match self.operator {
            "!=" => !positive("="),
            "is not null" => !positive("is null"),
            operator => match operator.strip_prefix("not ") {
                Some(operator) => !positive(operator),
                None => positive(operator),
            },
        }
    }
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|from| like(rest, &text[from..])),
        Some(('_', rest)) => !text.is_empty() && like(rest, &text[1..]),
        Some((letter, rest)) => text.first() == Some(letter) && like(rest, &text[1..]),
    }
}

async fn subject(
    agent: &Agent,
    path: &'static str,
    object: &'static str,
    columns: Vec<&'static str>,
) -> Subject {
    let mut fields = columns.clone();
    fields.push("id");
    let answer = agent.post(path, json!({"object": object, "fields": fields})).await.expect(200);
    assert_eq!(answer["complete"], true);
    let rows = answer["rows"].as_array().unwrap().clone();
    assert!(rows.len() > 20);
    Subject { path, object, rows, columns }
}

async fn check(
    agent: &Agent,
    subject: &Subject,
    tree: &Tree,
    order: Option<(usize, bool)>,
    limit: Option<u64>,
) -> Result<(), TestCaseError> {
    let mut request =
        json!({"object": subject.object, "fields": ["id"], "conditions": [subject.request(tree)]});
    if let Some((column, descending)) = order {
        request["orderBy"] = json!([{"field": subject.columns[column], "descending": descending}]);
    }
    if let Some(limit) = limit {
        request["limit"] = json!(limit);
    }
    let answer = agent.post(subject.path, request.clone()).await;
    prop_assert_eq!(answer.status, 200, "{}: {}", request, answer.text());
    let answer = answer.json();
    prop_assert_eq!(&answer["complete"], true);
    let ids: Vec<&str> =
        answer["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    let mut wanted: Vec<&Value> = subject.rows.iter().filter(|row| subject.holds(tree, row)).collect();
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    let Some((column, descending)) = order else {
        let mut wanted: Vec<&str> = wanted.iter().map(|row| row["id"].as_str().unwrap()).collect();
        let mut found = ids.clone();
        prop_assert_eq!(found.len(), wanted.len().min(most), "{} {:?}", request, answer["evaluated"]);
        if limit.is_none() {
            found.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted, "{} {:?}", request, answer["evaluated"]);
        } else {
            prop_assert!(found.iter().all(|id| wanted.contains(id)), "{}", request);
        }
        return Ok(());
    };
    let key = |row: &Value| {
        let cell = &row[subject.columns[column]];
        (!cell.is_null(), folded(cell))
    };
    wanted.sort_by_key(|row| key(row));
    if descending {
        wanted.reverse();
    }
    wanted.truncate(most);
    let row_of = |id: &str| subject.rows.iter().find(|row| row["id"] == id).unwrap();
    let found: Vec<_> = ids.iter().map(|id| key(row_of(id))).collect();
    let wanted: Vec<_> = wanted.iter().map(|row| key(row)).collect();
    prop_assert_eq!(found, wanted, "{} {:?}", request, answer["evaluated"]);
    Ok(())
}

fn run(cases: u32, start: impl AsyncFnOnce(&Agent) -> Subject) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = tenant();
    let agent = Setup::new()
        .drop_in("mail.yaml", &delegated(&sandbox, "mail", ""))
        .drop_in("app.yaml", &application(&sandbox, "app", ""))
        .start();
    let subject = runtime.block_on(start(&agent));
    let columns = subject.columns.len();
    let strategy =
        (tree(columns), prop::option::of((0..columns, any::<bool>())), prop::option::weighted(0.4, 0u64..30));
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&strategy, |(tree, order, limit)| runtime.block_on(check(&agent, &subject, &tree, order, limit)))
    .unwrap();
}

/// More with O365_AGENT_CONDITION_CASES.
fn cases() -> u32 {
    std::env::var("O365_AGENT_CONDITION_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

#[test]
fn any_tree_on_messages_gives_the_rows_of_a_naive_reading() {
    run(cases(), async |agent| {
        let columns = vec![
            "subject",
            "isRead",
            "receivedDateTime",
            "importance",
            "from_emailAddress_address",
            "bodyPreview",
            "hasAttachments",
            "flag_flagStatus",
        ];
        subject(agent, "/v1/connections/mail/query", "Messages", columns).await
    });
}

#[test]
fn any_tree_on_users_gives_the_rows_of_a_naive_reading() {
    run(cases(), async |agent| {
        let columns = vec![
            "displayName",
            "mail",
            "mobilePhone",
            "jobTitle",
            "accountEnabled",
            "createdDateTime",
            "department",
            "passwordPolicies",
            "userPrincipalName",
            "city",
        ];
        subject(agent, "/v1/connections/app/query", "Users", columns).await
    });
}

#[tokio::test]
async fn the_answer_says_who_evaluated_what_in_every_form() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", "")).start();
    let path = "/v1/connections/mail/query";
    let request = json!({"object": "Messages", "fields": ["id", "isRead"], "conditions": [
        {"or": [{"field": "isRead", "operator": "=", "value": false},
            {"field": "importance", "operator": "not in", "value": ["low", "normal"]}]},
        {"field": "subject", "operator": "ends-with", "value": "é"}],
        "orderBy": [{"field": "bodyPreview"}]});
    let answer = agent.post(path, request.clone()).await.expect(200);
    let service = "((isRead eq false) or (importance ne 'low' and importance ne 'normal'))";
    let service = service.replace("(isRead eq false)", "isRead eq false");
    assert_eq!(
        answer["evaluated"],
        json!({"service": service, "agent": ["subject ends-with 'é'"], "order": "agent"})
    );
    for accept in ["application/x-ndjson", "text/csv"] {
        let answer = agent.call(http::Method::POST, path, &[("accept", accept)], Some(request.clone())).await;
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-evaluated-by-service"), service);
        assert_eq!(header("x-evaluated-by-agent"), "subject");
        assert_eq!(header("x-sorted-by"), "agent");
        assert_eq!(header("x-columns"), "id=String,isRead=Bool");
    }
    let plain = agent.post(path, json!({"object": "Messages", "limit": 1})).await.expect(200);
    assert!(plain.get("evaluated").is_none());
    let note = plain["notes"][0].as_str().unwrap();
    assert!(note.contains("internetMessageHeaders") && note.contains("`fields`"), "{note}");
}

#[tokio::test]
async fn arrow_has_the_rows_of_json_typed_and_in_order() {
    use arrow_array::cast::AsArray;
    let sandbox = tenant();
    let agent = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", "")).start();
    let path = "/v1/connections/mail/query";
    for order in [json!([]), json!([{"field": "bodyPreview"}])] {
        let request = json!({"object": "Messages", "fields": ["id", "isRead", "receivedDateTime", "categories"],
            "conditions": [{"field": "isRead", "operator": "=", "value": true}], "orderBy": order});
        let rows = agent.post(path, request.clone()).await.expect(200)["rows"].clone();
        let accept = [("accept", "application/vnd.apache.arrow.stream")];
        let answer = agent.call(http::Method::POST, path, &accept, Some(request)).await;
        assert_eq!(answer.headers["content-type"], "application/vnd.apache.arrow.stream");
        let reader = arrow_ipc::reader::StreamReader::try_new(answer.body.as_slice(), None).unwrap();
        let (mut ids, mut moments) = (Vec::new(), Vec::new());
        for batch in reader {
            let batch = batch.unwrap();
            ids.extend(batch.column(0).as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
            assert!(batch.column(1).as_boolean().iter().all(|read| read == Some(true)));
            moments.extend(
                batch
                    .column(2)
                    .as_primitive::<arrow_array::types::TimestampMicrosecondType>()
                    .values()
                    .to_vec(),
            );
        }
        let wanted = rows.as_array().unwrap();
        assert!(wanted.len() > 20);
        assert_eq!(ids, wanted.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>());
        let moment = |row: &Value| {
            row["receivedDateTime"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_microsecond()
        };
        assert_eq!(moments, wanted.iter().map(moment).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_bad_tree_is_refused_with_its_place() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", "")).start();
    let good = json!({"field": "isRead", "operator": "=", "value": true});
    for (conditions, expected) in [
        (
            json!([good, {"or": [good, {"field": "isRead", "operator": "~"}]}]),
            "conditions[1].or[1].operator: '~'",
        ),
        (json!([{"or": [{"field": "isRead", "operator": "=", "value": 7}]}]), "(At conditions[0].or[0].)"),
        (json!([{"not": {"field": "UserId", "operator": "=", "value": "x"}}]), "not inside 'or' or 'not'"),
        (json!({"or": []}), "conditions.or: is empty"),
    ] {
        let answer = agent
            .post("/v1/connections/mail/query", json!({"object": "Messages", "conditions": conditions}))
            .await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(expected), "{}", answer.text());
    }
}

//! The cells of the table: for each object and each column that chooses a place, the conditions, keys and records that go
//! with it. Made from the rows of the tenant; never from what the agent answers.

use crate::condition::{Condition, is, one_of};
use crate::world::{Object, Row, World};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Query,
    Update,
    Delete,
}

/// How the rows are named.
#[derive(Clone, Debug)]
pub(crate) enum How {
    Conditions(Vec<Condition>),
    /// Ids; for an Update with these places in `set`.
    Keys(Vec<String>, Vec<(&'static str, String)>),
    /// One record with its id and these places.
    Record(String, Vec<(&'static str, String)>),
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) place: &'static str,
    pub(crate) variant: String,
    pub(crate) activity: Activity,
    pub(crate) how: How,
}

/// What the variants of one place are made from.
struct Base<'world> {
    place: &'static str,
    /// A row, its value of the place, and another row with the same value.
    row: &'world Row,
    value: &'world str,
    same: &'world Row,
    /// A row elsewhere, and its value, if it has one.
    elsewhere: &'world Row,
    other: &'world str,
    /// The places without which nothing is read.
    needs: Vec<(&'static str, String)>,
}

impl<'world> Base<'world> {
    fn of(object: &'world Object, place: &'static str, world: &'world World) -> Self {
        let default = |row: &&'world Row| !object.owned || row.has("UserId", &world.users[0]);
        let value = |row: &'world Row| match place {
            "id" => Some(row.id.as_str()),
            "UserId" => row.values(place).iter().find(|user| **user == world.users[1]).map(String::as_str),
            _ => row.values(place).first().map(String::as_str),
        };
        let with_value = || object.rows.iter().filter(|row| value(row).is_some());
        let shares = |row: &&'world Row| with_value().filter(|other| value(other) == value(row)).count() > 1;
        let row = with_value()
            .filter(|row| place == "UserId" || default(row))
            .find(shares)
            .or_else(|| with_value().find(shares))
            .or_else(|| with_value().next())
            .unwrap();
        let same = with_value().find(|other| value(other) == value(row) && other.id != row.id).unwrap_or(row);
        let differs = |other: &&'world Row| !other.has(place, value(row).unwrap());
        let elsewhere = with_value()
            .filter(|other| default(other))
            .find(differs)
            .or_else(|| object.rows.iter().filter(default).find(differs))
            .or_else(|| object.rows.iter().find(differs))
            .unwrap_or(row);
        let needs = object.needs.iter().filter(|need| **need != place);
        let needs = needs.map(|need| (*need, row.values(need)[0].clone())).collect();
        let other = match place {
            "UserId" => Some(world.users[0].as_str()),
            _ => with_value().find(differs).and_then(value),
        };
        let other = value(elsewhere).filter(|_| differs(&elsewhere)).or(other);
        Self {
            place,
            row,
            value: value(row).unwrap(),
            same,
            elsewhere,
            other: other.unwrap_or("none-such"),
            needs,
        }
    }

    fn needed(&self) -> Vec<Condition> {
        self.needs.iter().map(|(column, value)| is(column, value)).collect()
    }
}

/// All cells of an object.
pub(crate) fn cells(object: &Object, world: &World) -> Vec<Cell> {
    let mut cells = Vec::new();
    for place in object.places {
        let base = Base::of(object, place, world);
        for (variant, conditions) in conditions(object, &base, world) {
            for activity in [Activity::Query, Activity::Update, Activity::Delete] {
                let writes = !object.update.is_empty() || object.delete;
                if activity == Activity::Query || writes || variant == "alone" {
                    let how = How::Conditions(conditions.clone());
                    cells.push(Cell { place, variant: variant.clone(), activity, how });
                }
            }
        }
        for (variant, how) in records(object, &base, world) {
            for activity in [Activity::Update, Activity::Delete] {
                // An Update sets such a column, so it says nothing of where the record is.
                let sets = match &how {
                    How::Keys(_, places) | How::Record(_, places) => {
                        places.iter().any(|(column, _)| object.settable.contains(column))
                    }
                    How::Conditions(_) => false,
                };
                if activity == Activity::Delete || !sets {
                    cells.push(Cell { place, variant: variant.clone(), activity, how: how.clone() });
                }
            }
        }
    }
    cells
}

fn conditions(object: &Object, base: &Base<'_>, world: &World) -> Vec<(String, Vec<Condition>)> {
    let (place, value, other) = (base.place, base.value, base.other);
    let (inside, outside) = (base.row.id.as_str(), base.elsewhere.id.as_str());
    let ids = [inside, base.same.id.as_str(), outside];
    let not = |values: &[&str]| Condition::IsNot {
        column: place,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let either = |members: Vec<Condition>| Condition::Or(members);
    let mut found: Vec<(String, Vec<Condition>)> = Vec::new();
    let mut add = |name: &str, conditions: Vec<Condition>| {
        found.push((name.to_owned(), conditions.into_iter().chain(base.needed()).collect()));
    };
    add("alone", vec![is(place, value)]);
    add("in a list", vec![one_of(place, &[value, other])]);
    add("twice", vec![is(place, value), one_of(place, &[value, other])]);
    add("negated", vec![not(&[value])]);
    add("not in a list", vec![not(&[value, other])]);
    add("inside not", vec![Condition::Not(Box::new(is(place, value)))]);
    add("twice negated", vec![Condition::Not(Box::new(not(&[value])))]);
    add("or itself", vec![either(vec![is(place, value), is(place, other)])]);
    add("or an id", vec![either(vec![is(place, value), is("id", outside)])]);
    if place != "id" {
        add("with an id of it", vec![is(place, value), is("id", inside)]);
        add("with an id of elsewhere", vec![is(place, value), is("id", outside)]);
        add("with ids", vec![is(place, value), one_of("id", &ids)]);
        add("in a list, with ids", vec![one_of(place, &[value, other]), one_of("id", &ids)]);
        let no_id = Condition::IsNot { column: "id", values: vec![inside.to_owned()] };
        add("without an id", vec![is(place, value), no_id]);
        add("negated, with ids", vec![not(&[value]), one_of("id", &ids)]);
        add(
            "or itself, with ids",
            vec![either(vec![is(place, value), is(place, other)]), one_of("id", &ids)],
        );
    }
    if place != "UserId" && object.places.contains(&"UserId") {
        let (own, foreign) = (world.users[0].as_str(), world.users[1].as_str());
        add("with the user", vec![is(place, value), is("UserId", own)]);
        add("with another user", vec![is(place, value), is("UserId", foreign)]);
        add("with the user and ids", vec![is(place, value), is("UserId", own), one_of("id", &ids)]);
        add("negated, with the user", vec![not(&[value]), is("UserId", own)]);
        add(
            "or an id, with the user",
            vec![either(vec![is(place, value), is("id", outside)]), is("UserId", own)],
        );
    }
    for more in object.places.iter().filter(|more| ![place, "UserId", "id"].contains(more)) {
        if object.needs.contains(more) {
            continue;
        }
        let true_one = base.row.values(more).first();
        let elsewhere = object.rows.iter().filter_map(|row| row.values(more).first());
        let false_one = elsewhere.into_iter().find(|value| !base.row.has(more, value));
        for (kind, place_value) in [("true", true_one), ("false", false_one)] {
            let Some(more_value) = place_value else { continue };
            add(&format!("with a {kind} {more}"), vec![is(place, value), is(more, more_value)]);
            add(
                &format!("with a {kind} {more} and ids"),
                vec![is(place, value), is(more, more_value), one_of("id", &ids)],
            );
            add(&format!("negated, with a {kind} {more}"), vec![not(&[value]), is(more, more_value)]);
        }
    }
    for (_, name, _) in object.names.iter().filter(|(column, ..)| *column == place) {
        add(&format!("named {name}"), vec![is(place, name)]);
        add(&format!("named {name} in a list"), vec![one_of(place, &[name, &name.to_uppercase()])]);
        add(&format!("named {name} among ids"), vec![one_of(place, &[name, value])]);
        add(&format!("not named {name}"), vec![not(&[name])]);
        add(&format!("not in a list with {name}"), vec![not(&[name, value])]);
        add(&format!("named {name} inside not"), vec![Condition::Not(Box::new(is(place, name)))]);
        add(&format!("named {name} or an id"), vec![either(vec![is(place, name), is("id", outside)])]);
        if place != "id" {
            add(&format!("named {name} with ids"), vec![is(place, name), one_of("id", &ids)]);
            add(&format!("named {name} and by id"), vec![is(place, name), is(place, value)]);
        }
    }
    found
}

fn records(object: &Object, base: &Base<'_>, world: &World) -> Vec<(String, How)> {
    let (inside, outside) = (base.row.id.clone(), base.elsewhere.id.clone());
    let at = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let more = more.iter().map(|(column, value)| (*column, (*value).to_owned()));
        more.chain(base.needs.clone()).collect()
    };
    let mut found = vec![
        ("keys".to_owned(), How::Keys(vec![inside.clone(), outside.clone()], Vec::new())),
        ("a record".to_owned(), How::Record(inside.clone(), at(&[]))),
    ];
    if base.place == "id" {
        return found;
    }
    let (place, value) = (base.place, base.value);
    let mut add = |name: &str, how: How| found.push((name.to_owned(), how));
    add("keys with the place", How::Keys(vec![inside.clone(), outside.clone()], at(&[(place, value)])));
    add("a record of it", How::Record(inside.clone(), at(&[(place, value)])));
    add("a record of elsewhere", How::Record(outside, at(&[(place, value)])));
    if place != "UserId" && object.places.contains(&"UserId") {
        for (kind, user) in [("the", &world.users[0]), ("another", &world.users[1])] {
            let how = How::Record(inside.clone(), at(&[(place, value), ("UserId", user)]));
            add(&format!("a record with {kind} user"), how);
        }
    }
    for more in object.places.iter().filter(|more| ![place, "UserId", "id"].contains(more)) {
        if let Some(more_value) = base.row.values(more).first().filter(|_| !object.needs.contains(more)) {
            let how = How::Record(inside.clone(), at(&[(place, value), (more, more_value)]));
            add(&format!("a record with its {more}"), how);
        }
    }
    found
}

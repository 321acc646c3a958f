//! From a route and a method to the code that does it.
//! Never checks permissions; the caller has.

use super::errors::GraphError;
use super::prefer::Prefer;
use super::route::{Parent, Route};
use super::{
    actions, attachments, delta, drives, entity, licenses, listing, manager, resources, users, views, write,
};
use crate::answer::{Answer, Call};
use crate::data::model::Entity;
use crate::data::tenant::UserFacts;
use crate::state::State;

/// What is known about a request once it was let in.
#[derive(Debug)]
pub(crate) struct Context {
    /// What the path names.
    pub(crate) route: Route,
    /// Whose it is.
    pub(crate) user: Option<UserFacts>,
    /// Who asks; nobody when it is an application on its own.
    pub(crate) asker: Option<UserFacts>,
    /// What the client prefers.
    pub(crate) prefer: Prefer,
    /// Put in place of a page's next link, by a fault.
    pub(crate) next_link: Option<String>,
}

impl Context {
    /// Reads the preferences of the request.
    pub(crate) fn new(call: &Call, route: Route, user: Option<UserFacts>, next_link: Option<String>) -> Self {
        Self { route, user, asker: None, prefer: Prefer::of(call), next_link }
    }

    /// The user that the route names.
    pub(crate) fn owner(&self) -> &UserFacts {
        self.user.as_ref().expect("access::check finds a user for every route below one")
    }
}

/// Does what is asked.
pub(crate) fn carry_out(state: &mut State, call: &Call, context: &Context) -> Result<Answer, GraphError> {
    match (call.method.as_str(), &context.route) {
        ("GET", Route::Users) => listing::collection(state, call, context, Entity::User, &Parent::Whole),
        ("GET", Route::UsersCount) => users::count(state, call),
        ("POST", Route::Users) => users::create(state, call),
        ("GET", Route::User(_)) => users::get(state, call, context),
        ("PATCH", Route::User(_)) => users::update(state, call, context),
        ("DELETE", Route::User(_)) => users::delete(state, context),
        ("GET", Route::Items(_, entity, parent)) => {
            listing::collection(state, call, context, *entity, parent)
        }
        ("GET", Route::ItemsCount(_, entity, parent)) => {
            listing::count(state, call, context, *entity, parent)
        }
        (_, Route::Attachments(_, entity, id, asked)) => {
            attachments::carry_out(state, call, context, (*entity, id), asked)
        }
        ("GET", Route::Mime(_, id)) => entity::mime(state, context, id),
        (_, Route::Resource(path)) => resources::carry_out(state, call, context, path),
        (_, Route::Manager(_, reference)) => manager::carry_out(state, call, context, *reference),
        ("POST", Route::Licenses(_, true)) => licenses::assign(state, call, context),
        ("GET", Route::Licenses(_, false)) => Ok(licenses::details(state, context)),
        (_, Route::Drive(path)) => drives::carry_out(state, call, context, path),
        ("GET", Route::Delta(_, entity, parent)) => delta::changes(state, call, context, *entity, parent),
        ("GET", Route::UsersDelta) => delta::changes(state, call, context, Entity::User, &Parent::Whole),
        ("GET", Route::Instances(_, id)) => views::instances(state, call, context, id),
        ("GET", Route::CalendarView(_, parent)) => views::calendar_view(state, call, context, parent),
        ("GET", Route::Item(_, entity, id)) => entity::get(state, call, context, *entity, id.as_deref()),
        ("POST", Route::Items(_, entity, parent)) => write::create(state, call, context, *entity, parent),
        ("PATCH", Route::Item(_, entity, id)) => write::update(state, call, context, *entity, id.as_deref()),
        ("DELETE", Route::Item(_, entity, id)) => write::delete(state, call, context, *entity, id.as_deref()),
        ("POST", Route::SendMail(_)) => actions::send_mail(state, call, context),
        ("POST", Route::Action(_, entity, id, action)) => {
            actions::carry_out(state, call, context, *entity, id, action)
        }
        (_, Route::Action(_, _, _, action)) if call.method == "GET" => {
            Err(GraphError::bad_request(format!("Resource not found for the segment '{action}'.")))
        }
        _ => Err(GraphError::method_not_allowed()),
    }
}

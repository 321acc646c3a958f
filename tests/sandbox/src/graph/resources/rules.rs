//! The resources that are kept as JSON, as data: where they are found and what their documents say about writing them.
//! Never does anything.

/// How a new row's id looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdStyle {
    /// A GUID.
    Guid,
    /// Exchange's long text.
    Mail,
    /// Planner's 28 characters.
    Planner,
    /// An address made of the name.
    Address,
}

/// What the resource says about tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Etag {
    /// It has none.
    None,
    /// It shows one and checks it where it is sent.
    Optional,
    /// It refuses changes without one.
    Required,
}

/// Which query options a list takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Options {
    /// Those of the directory, with its advanced queries.
    Directory,
    /// All of the language.
    All,
    /// `$select`, `$top` and `$skip` only.
    Few,
}

/// A kind of resource.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Where its rows are kept.
    pub(crate) table: &'static str,
    /// Its type.
    pub(crate) type_name: &'static str,
    /// How a new row's id looks.
    pub(crate) id: IdStyle,
    /// The properties that a new row must have.
    pub(crate) required: &'static [&'static str],
    /// The properties that no change may name.
    pub(crate) fixed: &'static [&'static str],
    /// The properties that are in no answer unless asked for, besides those the metadata says.
    pub(crate) hidden: &'static [&'static str],
    /// What it says about tags.
    pub(crate) etag: Etag,
    /// The query options of its lists.
    pub(crate) options: Options,
    /// The methods besides GET.
    pub(crate) writes: &'static str,
    /// The status of an answered change; 204 has no body.
    pub(crate) changed: u16,
    /// Rows in a page unless `$top` says otherwise; zero is all.
    pub(crate) page: usize,
    /// The permissions to read and to write, any of which will do.
    pub(crate) permissions: (&'static [&'static str], &'static [&'static str]),
    /// Whether an application on its own may create one.
    pub(crate) app_creates: bool,
}

impl Rule {
    /// Whether it is a directory object, with the directory's codes.
    pub(crate) fn directory(&self) -> bool {
        self.options == Options::Directory
    }
}

const GROUP_READ: &[&str] =
    &["Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const GROUP_WRITE: &[&str] = &["Group.ReadWrite.All", "Directory.ReadWrite.All"];
const TALK_READ: &[&str] = &["Group-Conversation.Read.All", "Group.Read.All", "Group.ReadWrite.All"];
const TALK_WRITE: &[&str] = &["Group-Conversation.ReadWrite.All", "Group.ReadWrite.All"];
const TASKS_READ: &[&str] = &[
    "Tasks.Read",
    "Tasks.ReadWrite",
    "Tasks.Read.All",
    "Tasks.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
];
const TASKS_WRITE: &[&str] = &["Tasks.ReadWrite", "Tasks.ReadWrite.All", "Group.ReadWrite.All"];
const BOOKINGS_READ: &[&str] = &["Bookings.Read.All", "Bookings.ReadWrite.All", "Bookings.Manage.All"];
const BOOKINGS_WRITE: &[&str] = &["Bookings.ReadWrite.All", "Bookings.Manage.All"];
const BOOKINGS_MANAGE: &[&str] = &["Bookings.Manage.All"];
const CALENDARS_READ: &[&str] = &["Calendars.Read", "Calendars.ReadBasic", "Calendars.ReadWrite"];
const CALENDARS_WRITE: &[&str] = &["Calendars.ReadWrite"];
const LICENCES_READ: &[&str] = &[
    "LicenseAssignment.Read.All",
    "LicenseAssignment.ReadWrite.All",
    "Organization.Read.All",
    "Directory.Read.All",
];
const USERS: &[&str] = &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All"];
const USERS_WRITE: &[&str] = &["User.ReadWrite.All", "Directory.ReadWrite.All"];

const PLAIN: Rule = Rule {
    table: "",
    type_name: "",
    id: IdStyle::Guid,
    required: &[],
    fixed: &[],
    hidden: &[],
    etag: Etag::None,
    options: Options::Few,
    writes: "POST PATCH DELETE",
    changed: 204,
    page: 0,
    permissions: (&[], &[]),
    app_creates: true,
};

/// Groups.
pub(crate) static GROUP: Rule = Rule {
    table: "groups",
    type_name: "group",
    required: &["displayName", "mailEnabled", "mailNickname", "securityEnabled"],
    fixed: &["mail", "createdDateTime", "proxyAddresses", "securityIdentifier", "groupTypes"],
    hidden: &[
        "accessType",
        "infoCatalogs",
        "assignedLicenses",
        "hasMembersWithLicenseErrors",
        "isArchived",
        "uniqueName",
        "licenseProcessingState",
        "serviceProvisioningErrors",
        "unseenCount",
        "isFavorite",
        "onPremisesExtensionAttributes",
    ],
    options: Options::Directory,
    page: 100,
    permissions: (GROUP_READ, GROUP_WRITE),
    ..PLAIN
};
/// Conversations of groups.
pub(crate) static CONVERSATION: Rule = Rule {
    table: "conversations",
    type_name: "conversation",
    id: IdStyle::Mail,
    required: &["topic", "threads"],
    writes: "POST DELETE",
    page: 10,
    permissions: (TALK_READ, TALK_WRITE),
    app_creates: false,
    ..PLAIN
};
/// Threads of conversations.
pub(crate) static THREAD: Rule = Rule {
    table: "threads",
    type_name: "conversationThread",
    id: IdStyle::Mail,
    required: &["topic", "posts"],
    fixed: &["lastDeliveredDateTime", "preview", "uniqueSenders", "hasAttachments"],
    changed: 200,
    page: 10,
    permissions: (TALK_READ, TALK_WRITE),
    app_creates: false,
    ..PLAIN
};
/// Posts of threads.
pub(crate) static POST: Rule = Rule {
    table: "posts",
    type_name: "post",
    id: IdStyle::Mail,
    writes: "",
    etag: Etag::Optional,
    page: 10,
    permissions: (TALK_READ, TALK_WRITE),
    ..PLAIN
};
/// Plans of Planner.
pub(crate) static PLAN: Rule = Rule {
    table: "plans",
    type_name: "plannerPlan",
    id: IdStyle::Planner,
    required: &["title"],
    fixed: &["owner", "container", "createdBy"],
    etag: Etag::Required,
    permissions: (TASKS_READ, TASKS_WRITE),
    ..PLAIN
};
/// Buckets of Planner.
pub(crate) static BUCKET: Rule = Rule {
    table: "buckets",
    type_name: "plannerBucket",
    id: IdStyle::Planner,
    required: &["name", "planId"],
    fixed: &["planId"],
    etag: Etag::Required,
    permissions: (TASKS_READ, TASKS_WRITE),
    ..PLAIN
};
/// Tasks of Planner.
pub(crate) static TASK: Rule = Rule {
    table: "tasks",
    type_name: "plannerTask",
    id: IdStyle::Planner,
    required: &["planId", "title"],
    fixed: &[
        "planId",
        "createdBy",
        "completedBy",
        "referenceCount",
        "checklistItemCount",
        "activeChecklistItemCount",
        "hasDescription",
    ],
    etag: Etag::Required,
    permissions: (TASKS_READ, TASKS_WRITE),
    ..PLAIN
};
/// What Planner keeps apart from a task.
pub(crate) static TASK_DETAILS: Rule = Rule {
    table: "taskDetails",
    type_name: "plannerTaskDetails",
    id: IdStyle::Planner,
    etag: Etag::Required,
    writes: "PATCH",
    permissions: (TASKS_READ, TASKS_WRITE),
    ..PLAIN
};
/// What Planner keeps apart from a plan.
pub(crate) static PLAN_DETAILS: Rule =
    Rule { table: "planDetails", type_name: "plannerPlanDetails", ..planner_details() };

const fn planner_details() -> Rule {
    Rule {
        id: IdStyle::Planner,
        etag: Etag::Required,
        writes: "PATCH",
        permissions: (TASKS_READ, TASKS_WRITE),
        ..PLAIN
    }
}

/// Businesses of Bookings.
pub(crate) static BUSINESS: Rule = Rule {
    table: "bookingBusinesses",
    type_name: "bookingBusiness",
    id: IdStyle::Address,
    required: &["displayName"],
    fixed: &["isPublished", "publicUrl"],
    permissions: (BOOKINGS_READ, BOOKINGS_MANAGE),
    app_creates: false,
    ..PLAIN
};
/// Appointments of Bookings.
pub(crate) static APPOINTMENT: Rule = Rule {
    id: IdStyle::Mail,
    required: &["startDateTime", "endDateTime", "serviceId"],
    fixed: &["filledAttendeesCount", "joinWebUrl"],
    ..booking("bookingAppointments", "bookingAppointment")
};
/// Customers of Bookings.
pub(crate) static CUSTOMER: Rule =
    Rule { required: &["displayName", "emailAddress"], ..booking("bookingCustomers", "bookingCustomer") };
/// Questions of Bookings.
pub(crate) static QUESTION: Rule =
    Rule { required: &["displayName"], ..booking("bookingCustomQuestions", "bookingCustomQuestion") };
/// Services of Bookings.
pub(crate) static SERVICE: Rule =
    Rule { required: &["displayName"], ..booking("bookingServices", "bookingService") };
/// Staff of Bookings.
pub(crate) static STAFF: Rule = Rule {
    required: &["displayName", "emailAddress", "role"],
    ..booking("bookingStaffMembers", "bookingStaffMember")
};

const fn booking(table: &'static str, type_name: &'static str) -> Rule {
    Rule { table, type_name, permissions: (BOOKINGS_READ, BOOKINGS_WRITE), ..PLAIN }
}

/// Licences of the tenant.
pub(crate) static SKU: Rule = Rule {
    table: "subscribedSkus",
    type_name: "subscribedSku",
    writes: "",
    permissions: (LICENCES_READ, &[]),
    ..PLAIN
};
/// Groups of calendars.
pub(crate) static CALENDAR_GROUP: Rule = Rule {
    table: "calendarGroups",
    type_name: "calendarGroup",
    id: IdStyle::Mail,
    required: &["name"],
    fixed: &["classId", "changeKey"],
    options: Options::All,
    changed: 200,
    page: 10,
    permissions: (CALENDARS_READ, CALENDARS_WRITE),
    ..PLAIN
};
/// Lists of To Do.
pub(crate) static TODO_LIST: Rule = Rule {
    table: "todoLists",
    type_name: "todoTaskList",
    id: IdStyle::Mail,
    required: &["displayName"],
    fixed: &["isOwner", "isShared", "wellknownListName"],
    etag: Etag::Optional,
    options: Options::All,
    changed: 200,
    page: 10,
    permissions: (TASKS_READ, TASKS_WRITE),
    app_creates: false,
    ..PLAIN
};
/// Tasks of To Do.
pub(crate) static TODO_TASK: Rule = Rule {
    table: "todoTasks",
    type_name: "todoTask",
    id: IdStyle::Mail,
    required: &["title"],
    fixed: &["createdDateTime", "lastModifiedDateTime"],
    etag: Etag::Optional,
    options: Options::All,
    changed: 200,
    page: 10,
    permissions: (TASKS_READ, TASKS_WRITE),
    app_creates: false,
    ..PLAIN
};
/// Groups that were deleted less than 30 days ago.
pub(crate) static DELETED_GROUP: Rule = Rule {
    table: "deletedGroups",
    required: &[],
    writes: "DELETE",
    ..directory_copy("group", GROUP_READ, GROUP_WRITE)
};
/// Users that were deleted less than 30 days ago.
pub(crate) static DELETED_USER: Rule =
    Rule { table: "deletedUsers", writes: "DELETE", ..directory_copy("user", USERS, USERS_WRITE) };

const fn directory_copy(
    type_name: &'static str,
    read: &'static [&'static str],
    write: &'static [&'static str],
) -> Rule {
    Rule { type_name, options: Options::Directory, page: 100, permissions: (read, write), ..PLAIN }
}

/// Which rows of a table a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// All.
    Table,
    /// Those of the first id of the path.
    Scope,
    /// Those of the user.
    User,
    /// Those of the first id that lie in the last.
    Parent,
    /// Those with the last id in a property.
    Property(&'static str),
    /// Those that are assigned to the user.
    Assigned,
    /// Those of groups that the user is in.
    Shared,
    /// The one with the first id.
    Same,
}

/// A path and what is found there.
#[derive(Debug)]
pub(crate) struct Place {
    /// The path, in lower case, with `{}` for ids and a leading `user/` for `/me` and `/users/{id}`.
    pub(crate) path: &'static str,
    /// The resource.
    pub(crate) rule: &'static Rule,
    /// Which rows.
    pub(crate) within: Within,
    /// The tables of the path's ids.
    pub(crate) parents: &'static [&'static str],
}

const fn place(
    path: &'static str,
    rule: &'static Rule,
    within: Within,
    parents: &'static [&'static str],
) -> Place {
    Place { path, rule, within, parents }
}

/// Every path.
pub(crate) static PLACES: &[Place] = &[
    place("groups", &GROUP, Within::Table, &[]),
    place("groups/{}/conversations", &CONVERSATION, Within::Scope, &["groups"]),
    place("groups/{}/threads", &THREAD, Within::Scope, &["groups"]),
    place("groups/{}/conversations/{}/threads", &THREAD, Within::Parent, &["groups", "conversations"]),
    place("groups/{}/threads/{}/posts", &POST, Within::Parent, &["groups", "threads"]),
    place(
        "groups/{}/conversations/{}/threads/{}/posts",
        &POST,
        Within::Parent,
        &["groups", "conversations", "threads"],
    ),
    place("groups/{}/planner/plans", &PLAN, Within::Scope, &["groups"]),
    place("planner/plans", &PLAN, Within::Shared, &[]),
    place("planner/buckets", &BUCKET, Within::Shared, &[]),
    place("planner/tasks", &TASK, Within::Assigned, &[]),
    place("planner/plans/{}/buckets", &BUCKET, Within::Property("planId"), &["plans"]),
    place("planner/plans/{}/tasks", &TASK, Within::Property("planId"), &["plans"]),
    place("planner/buckets/{}/tasks", &TASK, Within::Property("bucketId"), &["buckets"]),
    place("planner/plans/{}/details", &PLAN_DETAILS, Within::Same, &["plans"]),
    place("planner/tasks/{}/details", &TASK_DETAILS, Within::Same, &["tasks"]),
    place("user/planner/tasks", &TASK, Within::Assigned, &[]),
    place("user/planner/plans", &PLAN, Within::Shared, &[]),
    place("user/todo/lists", &TODO_LIST, Within::User, &[]),
    place("user/todo/lists/{}/tasks", &TODO_TASK, Within::Scope, &["todoLists"]),
    place("user/calendargroups", &CALENDAR_GROUP, Within::User, &[]),
    place("solutions/bookingbusinesses", &BUSINESS, Within::Table, &[]),
    place("solutions/bookingbusinesses/{}/appointments", &APPOINTMENT, Within::Scope, &["bookingBusinesses"]),
    place("solutions/bookingbusinesses/{}/calendarview", &APPOINTMENT, Within::Scope, &["bookingBusinesses"]),
    place("solutions/bookingbusinesses/{}/customers", &CUSTOMER, Within::Scope, &["bookingBusinesses"]),
    place("solutions/bookingbusinesses/{}/customquestions", &QUESTION, Within::Scope, &["bookingBusinesses"]),
    place("solutions/bookingbusinesses/{}/services", &SERVICE, Within::Scope, &["bookingBusinesses"]),
    place("solutions/bookingbusinesses/{}/staffmembers", &STAFF, Within::Scope, &["bookingBusinesses"]),
    place("subscribedskus", &SKU, Within::Table, &[]),
    place("directory/deleteditems/microsoft.graph.group", &DELETED_GROUP, Within::Table, &[]),
    place("directory/deleteditems/microsoft.graph.user", &DELETED_USER, Within::Table, &[]),
];

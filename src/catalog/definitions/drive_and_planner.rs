//! The objects of drives and of planner as data, each in one place: files, tasks and plans. Holds no logic.
//!
//! Which properties these services filter and sort by is documented for none of them, so the agent does both.

use super::super::definition::{Definition, InsertNeed, Names, NamesInPath, PLAIN, Recursion, place};
use super::super::object::Home;

const ROOT: NamesInPath = NamesInPath { names: Names::These(&["root"]), read: "/me/drive/root" };

const USERS_OF_A_TASK: &[&str] = &[
    "activeChecklistItemCount",
    "checklistItemCount",
    "completedBy_application_displayName",
    "completedBy_application_id",
    "completedBy_device_displayName",
    "completedBy_device_id",
    "completedBy_user_displayName",
    "completedBy_user_id",
    "completedDateTime",
    "createdBy_application_displayName",
    "createdBy_application_id",
    "createdBy_device_displayName",
    "createdBy_device_id",
    "createdBy_user_displayName",
    "createdBy_user_id",
    "createdDateTime",
    "hasDescription",
    "referenceCount",
];

/// Planner's refusals have an empty code.
const PLANNER_ABSENT: &[&str] = &[""];

pub(in crate::catalog) const DRIVE_AND_PLANNER: [Definition; 3] = [
    Definition {
        name: "Files",
        description: "Files and folders of one user's drive, of a group's, or of any drive; parentReference_id chooses a folder.",
        graph_type: "driveItem",
        home: Home::Other,
        list: &[
            "{owner}/drive/root/children",
            "{owner}/drive/items/{parentReference_id}/children",
            "groups/{GroupId}/drive/root/children",
            "groups/{GroupId}/drive/items/{parentReference_id}/children",
            "drives/{parentReference_driveId}/root/children",
            "drives/{parentReference_driveId}/items/{parentReference_id}/children",
        ],
        record: &[
            "{owner}/drive/items/{id}",
            "groups/{GroupId}/drive/items/{id}",
            "drives/{parentReference_driveId}/items/{id}",
        ],
        names_in_path: &[("id", ROOT), ("parentReference_id", ROOT)],
        recursion: Some(Recursion { column: "parentReference_id", holds: &["folder", "childCount"] }),
        update: true,
        delete: true,
        instead: " Use the procedures UploadFile and CreateFolder.",
        etag: true,
        // Drive items have no `@odata.etag`; their tag is a property, and If-Match takes it.
        etag_property: Some("eTag"),
        after: &[place("UserId"), place("GroupId")],
        read_only: &[
            "createdDateTime",
            "lastModifiedDateTime",
            "eTag",
            "cTag",
            "size",
            "webUrl",
            "webDavUrl",
        ],
        absent_codes: &["itemNotFound"],
        ..PLAIN
    },
    Definition {
        name: "Tasks",
        description: "Planner tasks: those of one user, of one plan (planId) or of one bucket (bucketId).",
        graph_type: "plannerTask",
        home: Home::Other,
        list: &["{owner}/planner/tasks", "planner/plans/{planId}/tasks", "planner/buckets/{bucketId}/tasks"],
        create: &["planner/tasks"],
        record: &["planner/tasks/{id}"],
        walks_users: true,
        update: true,
        delete: true,
        etag: true,
        etag_required: true,
        after: &[place("UserId"), place("GroupId")],
        read_only: USERS_OF_A_TASK,
        insert_needs: &[
            InsertNeed { column: "planId", example: "\"xqQg5FS2LkCp935s-FIFm2QAFkHM\"" },
            InsertNeed { column: "title", example: "\"Call the printer\"" },
        ],
        absent_codes: PLANNER_ABSENT,
        ..PLAIN
    },
    Definition {
        name: "Plans",
        description: "Planner plans of one user or of one group.",
        graph_type: "plannerPlan",
        home: Home::Other,
        list: &["{owner}/planner/plans", "groups/{GroupId}/planner/plans"],
        record: &["planner/plans/{id}"],
        instead: " Use the Graph path /planner/plans.",
        etag: true,
        after: &[place("GroupId")],
        absent_codes: PLANNER_ABSENT,
        ..PLAIN
    },
];

//! The procedures of drives, as data (Graph, resource type `driveItem`).

use super::{
    CONTENT, CONTENT_BYTES, DRIVE, GROUP, LOCAL_FILE, OVERWRITE, Parameter, Procedure, ProcedureKind, USER,
    optional, required,
};

const PARENT_ID: Parameter =
    optional("ParentId", "The folder it is made in, by id (default: the drive's root).").also(&["FolderId"]);
const PARENT_PATH: Parameter =
    optional("ParentPath", "The same folder by its path from the drive's root, such as 'Reports/2026'.")
        .also(&["FolderPath"]);

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        kind: ProcedureKind::CreateFolder,
        name: "CreateFolder",
        description: "Makes a folder on a drive.",
        changes: true,
        parameters: &[
            required("FolderName", "The new folder's name.").also(&["Name"]),
            PARENT_ID,
            PARENT_PATH,
            optional(
                "ConflictBehavior",
                "What happens when there is one of that name: 'fail' (default), 'rename' or 'replace'.",
            ),
            DRIVE,
            GROUP,
            USER,
        ],
        outputs: &["Id", "Name", "WebUrl", "ETag"],
    },
    Procedure {
        kind: ProcedureKind::UploadFile,
        name: "UploadFile",
        description: "Uploads a file to a drive; more than 4 MB through an upload session that survives cuts. One of LocalFile, ContentBytes and Content is given. What was stored is checked against the digest that the drive tells of it.",
        changes: true,
        parameters: &[
            optional("FileName", "The file's name on the drive (default: the name of LocalFile).")
                .also(&["Name"]),
            LOCAL_FILE,
            CONTENT_BYTES,
            CONTENT,
            PARENT_ID,
            PARENT_PATH,
            optional("ItemId", "The id of a file whose content is replaced, instead of a name and a folder.")
                .also(&["Id"]),
            optional(
                "ConflictBehavior",
                "What happens when there is one of that name: 'replace' (default), 'rename' or 'fail'.",
            ),
            DRIVE,
            GROUP,
            USER,
        ],
        outputs: &["Id", "Name", "Size", "WebUrl", "ETag", "Verified"],
    },
    Procedure {
        kind: ProcedureKind::DownloadFile,
        name: "DownloadFile",
        description: "Downloads a file of a drive: into LocalFile, as a stream when the call has Accept: application/octet-stream, else as base64 in the answer. The content is checked against the digest that the drive tells of it. A download into LocalFile that broke off goes on when it is repeated.",
        changes: false,
        parameters: &[
            optional("Id", "The file's id; this or Path.").also(&["ItemId", "FileId"]),
            optional("Path", "The file's path from the drive's root, such as 'Reports/2026.xlsx'.")
                .also(&["FilePath"]),
            LOCAL_FILE,
            OVERWRITE,
            DRIVE,
            GROUP,
            USER,
        ],
        outputs: &["Id", "Name", "Size", "ContentType", "ContentBytes", "LocalFile", "Verified"],
    },
];

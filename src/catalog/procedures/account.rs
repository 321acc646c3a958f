//! The procedures of users, sign-in and schemas, as data. The agent keeps tokens itself: no procedure takes or answers one.

use super::ParameterType::Json;
use super::{LOCAL_FILE, OVERWRITE, Parameter, Procedure, ProcedureKind, USER, optional, required};

const CALLBACK: Parameter = optional(
    "CallbackUrl",
    "The redirect address. A sign-in returns to the connection's own CallbackURL, so another one is refused there.",
);
const SCOPE: Parameter = optional(
    "Scope",
    "The permissions, separated by spaces. A sign-in asks for the connection's own Scope, so another one is refused there.",
);
const STATE: Parameter = optional(
    "State",
    "A text that comes back with the answer. A sign-in makes its own, which protects the person, so one is refused there.",
);
const PROMPT: Parameter =
    optional("Prompt", "What the person is asked: 'select_account' (default), 'login', 'consent' or 'None'.");

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        kind: ProcedureKind::AssignLicense,
        name: "AssignLicense",
        description: "Assigns licenses to a user and takes licenses away.",
        changes: true,
        parameters: &[
            required("UserId", "The user, by id or user principal name."),
            optional(
                "AddLicenses",
                "Ids of the licenses (skuId), separated by ';'; or an array of {skuId, disabledPlans}.",
            )
            .of(Json)
            .also(&["SkuIds"]),
            optional(
                "RemoveLicenses",
                "Ids of licenses to take away (skuId), separated by ';'; or an array.",
            )
            .of(Json),
        ],
        outputs: &["Id", "UserPrincipalName"],
    },
    Procedure {
        kind: ProcedureKind::FetchAdditionalUserFields,
        name: "FetchAdditionalUserFields",
        description: "Reads the profile fields that Microsoft Graph tells only of one user at a time.",
        changes: false,
        parameters: &[USER],
        outputs: &[
            "Id",
            "AboutMe",
            "Birthday",
            "HireDate",
            "Interests",
            "MySite",
            "PastProjects",
            "PreferredName",
            "Responsibilities",
            "Schools",
            "Skills",
        ],
    },
    Procedure {
        kind: ProcedureKind::GetAdminConsentUrl,
        name: "GetAdminConsentURL",
        description: "Makes the address where an administrator consents to the application for the whole tenant. Nothing is sent.",
        changes: false,
        parameters: &[
            optional(
                "CallbackUrl",
                "Where the administrator's browser returns to (default: the connection's CallbackURL).",
            ),
            optional("State", "A text that comes back with the answer."),
            optional(
                "Scope",
                "The permissions to consent to, separated by spaces (default: all that the app registration lists).",
            ),
        ],
        outputs: &["URL"],
    },
    Procedure {
        kind: ProcedureKind::GetOAuthAuthorizationUrl,
        name: "GetOAuthAuthorizationURL",
        description: "Starts a sign-in with a browser and answers the address that a person has to open. GetOAuthAccessToken with AuthMode WEB brings the code back, unless the browser reached CallbackURL itself.",
        changes: false,
        parameters: &[CALLBACK, SCOPE, STATE, PROMPT],
        outputs: &["URL", "ExpiresAt"],
    },
    Procedure {
        kind: ProcedureKind::GetOAuthAccessToken,
        name: "GetOAuthAccessToken",
        description: "AuthMode WEB finishes the pending sign-in with the code in Verifier. AuthMode APP gets the connection's token if the agent can by itself, else starts a sign-in with a code to type in. The agent keeps the tokens and uses them: the answer says how it stands and never holds a token.",
        changes: false,
        parameters: &[
            optional("AuthMode", "'APP' (default) or 'WEB'."),
            optional(
                "Verifier",
                "With WEB: the code of the address where the browser ended, or that whole address.",
            )
            .also(&["OAuthVerifier"]),
            CALLBACK,
            SCOPE,
            STATE,
            PROMPT,
        ],
        outputs: &["Status", "ExpiresIn", "ExpiresAt", "Account", "UserCode", "VerificationUri", "Message"],
    },
    Procedure {
        kind: ProcedureKind::RefreshOAuthAccessToken,
        name: "RefreshOAuthAccessToken",
        description: "Gets a new access token now, with what the agent keeps. The answer says how it stands and never holds a token.",
        changes: false,
        parameters: &[optional(
            "OAuthRefreshToken",
            "Refused: the agent refreshes with the token it keeps. Put another one into the connection's drop-in.",
        )],
        outputs: &["Status", "ExpiresIn", "ExpiresAt"],
    },
    Procedure {
        kind: ProcedureKind::CreateSchema,
        name: "CreateSchema",
        description: "Describes an object or a Graph path with its columns, and writes the description into LocalFile if one is given.",
        changes: false,
        parameters: &[
            required("TableName", "An object's name, or a Graph path such as /me/todo/lists.")
                .also(&["ObjectName"]),
            LOCAL_FILE.also(&["FileName"]),
            OVERWRITE,
        ],
        outputs: &["Schema", "LocalFile"],
    },
];

//! How the service's types are described here: properties, their types and what may be done with them.
//! Never holds values.

/// The type of a property.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Edm.String.
    Text,
    /// Edm.Boolean.
    Flag,
    /// Edm.Int32.
    Number,
    /// Edm.Double.
    Fraction,
    /// Edm.DateTimeOffset.
    Instant,
    /// Edm.Binary, in base64.
    Binary,
    /// An enumeration with these members.
    Choice(&'static [&'static str]),
    /// A type without declared members: any JSON value.
    Any,
    /// A complex type.
    Complex(&'static Shape),
    /// A collection.
    List(&'static Kind),
}

impl Kind {
    /// The name the service's messages use.
    pub(crate) fn edm_name(self) -> String {
        match self {
            Self::Text => "Edm.String".to_owned(),
            Self::Flag => "Edm.Boolean".to_owned(),
            Self::Number => "Edm.Int32".to_owned(),
            Self::Fraction => "Edm.Double".to_owned(),
            Self::Instant => "Edm.DateTimeOffset".to_owned(),
            Self::Binary => "Edm.Binary".to_owned(),
            Self::Choice(_) => "Edm.Enum".to_owned(),
            Self::Any => "Edm.Untyped".to_owned(),
            Self::Complex(shape) => format!("microsoft.graph.{}", shape.name),
            Self::List(item) => format!("Collection({})", item.edm_name()),
        }
    }
}

/// A property and its rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Property {
    /// The name, spelled as in answers.
    pub(crate) name: &'static str,
    /// The type.
    pub(crate) kind: Kind,
    /// A value for it in a body has no effect (Outlook) or is refused (directory).
    pub(crate) read_only: bool,
    /// The service refuses it in `$filter`.
    pub(crate) unfilterable: bool,
    /// It is only in the answer when `$select` names it.
    pub(crate) on_request: bool,
    /// It can only be changed while the message is a draft.
    pub(crate) draft_only: bool,
    /// What the directory documents for `$filter`; empty elsewhere.
    pub(crate) operators: &'static str,
}

impl Property {
    pub(crate) const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    pub(crate) const fn unfilterable(mut self) -> Self {
        self.unfilterable = true;
        self
    }

    pub(crate) const fn on_request(mut self) -> Self {
        self.on_request = true;
        self
    }

    pub(crate) const fn draft_only(mut self) -> Self {
        self.draft_only = true;
        self
    }

    pub(crate) const fn operators(mut self, operators: &'static str) -> Self {
        self.operators = operators;
        self
    }
}

/// A property without special rules.
pub(crate) const fn property(name: &'static str, kind: Kind) -> Property {
    Property {
        name,
        kind,
        read_only: false,
        unfilterable: false,
        on_request: false,
        draft_only: false,
        operators: "",
    }
}

/// A complex or entity type.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The name without its namespace.
    pub(crate) name: &'static str,
    /// The properties, in the order of the service's answers.
    pub(crate) properties: &'static [Property],
    /// The navigation properties that bodies and `$expand` may name.
    pub(crate) navigation: &'static [&'static str],
}

impl Shape {
    /// The property of that name; names in requests are matched without regard to case.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// Whether it is a navigation property.
    pub(crate) fn navigates(&self, name: &str) -> bool {
        self.navigation.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The entity types that the sandbox serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entity {
    /// Mail.
    Message,
    /// Appointments.
    Event,
    /// People of an address book.
    Contact,
    /// Calendars.
    Calendar,
    /// Mail folders.
    MailFolder,
    /// Contact folders.
    ContactFolder,
    /// Directory users.
    User,
}

impl Entity {
    /// Its type.
    pub(crate) fn shape(self) -> &'static Shape {
        match self {
            Self::Message => &super::shapes::MESSAGE,
            Self::Event => &super::shapes::EVENT,
            Self::Contact => &super::shapes::CONTACT,
            Self::Calendar => &super::shapes::CALENDAR,
            Self::MailFolder => &super::shapes::MAIL_FOLDER,
            Self::ContactFolder => &super::shapes::CONTACT_FOLDER,
            Self::User => &super::shapes::USER,
        }
    }

    /// Whether its rows carry `@odata.etag` and `changeKey`.
    pub(crate) fn has_change_key(self) -> bool {
        matches!(self, Self::Message | Self::Event | Self::Contact)
    }
}

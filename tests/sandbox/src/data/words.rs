//! The words that generated rows are made of.
//! Never names a real person: the names are the ones documentation uses for invented companies.

/// The directory's named users: given name, surname, job title, department.
pub(crate) const PEOPLE: &[(&str, &str, &str, &str)] = &[
    ("Adele", "Vance", "Retail Manager", "Retail"),
    ("Alex", "Wilber", "Marketing Assistant", "Marketing"),
    ("Allan", "Deyoung", "Corporate Security Officer", "IT"),
    ("Bianca", "Pisani", "VP of Sales", "Sales"),
    ("Christie", "Cline", "Sr. VP Sales & Marketing", "Sales"),
    ("Debra", "Berger", "Administrative Assistant", "Executive Management"),
    ("Diego", "Siciliani", "HR Manager", "HR"),
    ("Emily", "Braun", "Budget Analyst", "Finance"),
    ("Enrico", "Cattaneo", "Attorney", "Legal"),
    ("Grady", "Archie", "Designer", "R&D"),
    ("Henrietta", "Mueller", "Developer", "R&D"),
    ("Irvin", "Sayers", "Project Manager", "Engineering"),
    ("Isaiah", "Langer", "Sales Rep", "Sales"),
    ("Johanna", "Lorenz", "Senior Engineer", "Engineering"),
    ("Joni", "Sherman", "Paralegal", "Legal"),
    ("Lee", "Gu", "Director", "Manufacturing"),
    ("Lidia", "Holloway", "Product Manager", "Engineering"),
    ("Lynne", "Robbins", "Planner", "Retail"),
    ("Megan", "Bowen", "Marketing Manager", "Marketing"),
    ("Miriam", "Graham", "Director", "Sales & Marketing"),
    ("Nestor", "Wilke", "Director", "Operations"),
    ("Patti", "Fernandez", "President", "Executive Management"),
    ("Pradeep", "Gupta", "Accountant", "Finance"),
    ("Raul", "Razo", "Sales Rep", "Sales"),
    ("Ben", "Walters", "VP of Sales", "Sales"),
];
/// Given names of generated people.
pub(crate) const GIVEN_NAMES: &[&str] = &[
    "Aisha", "Bruno", "Carla", "Dimitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko",
    "Luca", "Marta", "Niels", "Olga", "Pavel", "Quinn", "Rosa", "Stefan", "Tara", "Ugo", "Vera", "Wim",
    "Ximena", "Yara", "Zoltan",
];
/// Surnames of generated people; one holds the character that must be doubled in a filter.
pub(crate) const SURNAMES: &[&str] = &[
    "Abbas", "Bauer", "Costa", "Dijkstra", "Eriksen", "Fontana", "Girard", "Horvat", "Ivanova", "Jansen",
    "Keller", "Lindgren", "Moreau", "Novak", "O'Brien", "Petrov", "Rossi", "Schmidt", "Tanaka", "Ueda",
    "Varga", "Weber", "Xu", "Yilmaz", "Zimmer",
];
/// Companies of contacts and senders.
pub(crate) const COMPANIES: &[(&str, &str)] = &[
    ("Adatum Corporation", "adatum.example"),
    ("Fabrikam, Inc.", "fabrikam.example"),
    ("Northwind Traders", "northwindtraders.example"),
    ("Proseware, Inc.", "proseware.example"),
    ("Tailspin Toys", "tailspintoys.example"),
    ("Wide World Importers", "wideworldimporters.example"),
    ("Litware, Inc.", "litwareinc.example"),
];
/// Job titles of generated people.
pub(crate) const JOB_TITLES: &[&str] =
    &["Buyer", "Account Manager", "Engineer", "Consultant", "Controller", "Team Lead", "Analyst"];
/// Departments of generated people.
pub(crate) const DEPARTMENTS: &[&str] =
    &["Sales", "Finance", "Engineering", "Legal", "HR", "Operations", "Purchasing"];
/// Cities with state, country and postal code.
pub(crate) const PLACES: &[(&str, &str, &str, &str)] = &[
    ("Redmond", "WA", "United States", "98052"),
    ("Munich", "Bavaria", "Germany", "80331"),
    ("Lyon", "Rhône", "France", "69002"),
    ("Osaka", "Osaka", "Japan", "530-0001"),
    ("São Paulo", "SP", "Brazil", "01310-100"),
];
/// What mail and meetings are about.
pub(crate) const TOPICS: &[&str] = &[
    "Quarterly budget",
    "Invoice 40-2291",
    "Launch plan",
    "Travel request",
    "Supplier contract",
    "Warehouse move",
    "Customer feedback",
    "Security review",
    "Price list",
    "Hiring round",
    "Team offsite",
    "Release notes",
    "Maintenance window",
    "Order confirmation",
    "Training schedule",
    "Café opening",
];
/// What is said about them.
pub(crate) const TURNS: &[&str] = &[
    "draft for review",
    "decision needed",
    "next steps",
    "final version",
    "open questions",
    "minutes",
    "reminder",
];
/// Sentences of bodies.
pub(crate) const SENTENCES: &[&str] = &[
    "Please have a look before Thursday and tell me what is missing.",
    "The numbers of the second table changed since last week.",
    "I have spoken to the supplier and they agree with the new dates.",
    "Could you send me the signed copy when you are back in the office?",
    "We still wait for an answer from legal on the third clause.",
    "The attached sheet lists what we agreed on in the last meeting.",
    "Let me know if the room is too small, then I will book another one.",
    "Nothing to do for you at the moment; this is only for your information.",
];
/// Rooms of meetings.
pub(crate) const ROOMS: &[&str] = &["Adams", "Baker", "Crystal", "Hood", "Rainier", "Stevens", "Cafeteria"];
/// Categories.
pub(crate) const CATEGORIES: &[&str] = &["Red category", "Blue category", "Green category"];

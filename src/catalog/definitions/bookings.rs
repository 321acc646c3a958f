//! The objects of Microsoft Bookings as data, each in one place. Holds no logic.
//!
//! Which properties Bookings filters and sorts by is not documented, so the agent does both.

use super::super::definition::{Definition, InsertNeed, PLAIN, key_place};
use super::super::object::Home;

/// Bookings lives in Exchange; which code it answers for a record that is gone is not documented.
const ABSENT: &[&str] = &["ErrorItemNotFound", ""];

pub(in crate::catalog) const BOOKINGS: [Definition; 6] = [
    Definition {
        name: "BookingBusinesses",
        description: "The businesses that take bookings.",
        graph_type: "bookingBusiness",
        home: Home::Other,
        list: &["solutions/bookingBusinesses"],
        create: &["solutions/bookingBusinesses"],
        record: &["solutions/bookingBusinesses/{id}"],
        // A business goes by its mail address.
        case_insensitive: &["id"],
        update: true,
        delete: true,
        read_only: &["createdDateTime", "lastUpdatedDateTime"],
        insert_needs: &[InsertNeed { column: "displayName", example: "\"Contoso Barbers\"" }],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "BookingAppointments",
        description: "The appointments of one business, BusinessId.",
        graph_type: "bookingAppointment",
        home: Home::Other,
        list: &["solutions/bookingBusinesses/{BusinessId}/appointments"],
        create: &["solutions/bookingBusinesses/{BusinessId}/appointments"],
        record: &["solutions/bookingBusinesses/{BusinessId}/appointments/{id}"],
        update: true,
        delete: true,
        before: &[key_place("BusinessId")],
        read_only: &[
            "createdDateTime",
            "lastUpdatedDateTime",
            "filledAttendeesCount",
            "selfServiceAppointmentId",
        ],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "BookingCustomers",
        description: "The customers of one business, BusinessId.",
        graph_type: "bookingCustomer",
        listed_type: Some("bookingCustomerBase"),
        home: Home::Other,
        list: &["solutions/bookingBusinesses/{BusinessId}/customers"],
        create: &["solutions/bookingBusinesses/{BusinessId}/customers"],
        record: &["solutions/bookingBusinesses/{BusinessId}/customers/{id}"],
        update: true,
        delete: true,
        before: &[key_place("BusinessId")],
        read_only: &["createdDateTime", "lastUpdatedDateTime"],
        insert_needs: &[InsertNeed { column: "displayName", example: "\"Adele Vance\"" }],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "BookingCustomQuestions",
        description: "The questions that one business, BusinessId, asks its customers.",
        graph_type: "bookingCustomQuestion",
        home: Home::Other,
        list: &["solutions/bookingBusinesses/{BusinessId}/customQuestions"],
        create: &["solutions/bookingBusinesses/{BusinessId}/customQuestions"],
        record: &["solutions/bookingBusinesses/{BusinessId}/customQuestions/{id}"],
        update: true,
        delete: true,
        before: &[key_place("BusinessId")],
        read_only: &["createdDateTime", "lastUpdatedDateTime"],
        insert_needs: &[InsertNeed { column: "displayName", example: "\"What shoe size?\"" }],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "BookingServices",
        description: "The services that one business, BusinessId, offers.",
        graph_type: "bookingService",
        home: Home::Other,
        list: &["solutions/bookingBusinesses/{BusinessId}/services"],
        create: &["solutions/bookingBusinesses/{BusinessId}/services"],
        record: &["solutions/bookingBusinesses/{BusinessId}/services/{id}"],
        update: true,
        delete: true,
        before: &[key_place("BusinessId")],
        read_only: &["createdDateTime", "lastUpdatedDateTime"],
        insert_needs: &[InsertNeed { column: "displayName", example: "\"Haircut\"" }],
        absent_codes: ABSENT,
        ..PLAIN
    },
    Definition {
        name: "BookingStaffMembers",
        description: "The staff of one business, BusinessId.",
        graph_type: "bookingStaffMember",
        listed_type: Some("bookingStaffMemberBase"),
        home: Home::Other,
        list: &["solutions/bookingBusinesses/{BusinessId}/staffMembers"],
        create: &["solutions/bookingBusinesses/{BusinessId}/staffMembers"],
        record: &["solutions/bookingBusinesses/{BusinessId}/staffMembers/{id}"],
        update: true,
        delete: true,
        before: &[key_place("BusinessId")],
        read_only: &["createdDateTime", "lastUpdatedDateTime"],
        insert_needs: &[
            InsertNeed { column: "displayName", example: "\"Adele Vance\"" },
            InsertNeed { column: "emailAddress", example: "\"adele@contoso.com\"" },
            InsertNeed { column: "role", example: "\"guest\"" },
        ],
        absent_codes: ABSENT,
        ..PLAIN
    },
];

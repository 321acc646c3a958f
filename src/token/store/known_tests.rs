//! Whose tokens count, step by step: the store's, this process's, or somebody else's.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::super::{Lineage, StoredAccess};
use super::*;
use crate::clock::Timestamp;

const AT: Timestamp = Timestamp::from_seconds(1_000_000);

fn tokens(lineage: &Lineage, generation: u64, token: &str) -> Stored {
    let at = Timestamp::from_seconds(1_000_000 + i64::try_from(generation).unwrap());
    Stored {
        generation,
        access: Some(StoredAccess {
            secret: format!("at-{token}").as_str().into(),
            obtained_at: at,
            expires_at: at,
            refresh_due: at,
        }),
        refresh_token: Some(token.into()),
        lineage: lineage.clone(),
        ..Stored::default()
    }
}

fn knowing(stored: &Stored) -> Known {
    let mut known = Known::default();
    known.found(Some(stored.clone()));
    known
}

fn token(known: &Known) -> String {
    known.newest().refresh_token.as_ref().unwrap().expose().clone()
}

#[test]
fn an_emptied_store_changes_nothing_and_a_sign_in_counts_from_the_highest_number() {
    let anna = Lineage::begin(AT);
    let mut known = knowing(&tokens(&anna, 47, "anna"));
    known.found(None);
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("anna", false));
    // A backup from before is no news either, and is to be replaced.
    known.found(Some(tokens(&anna, 40, "anna-before")));
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("anna", true));
    assert_eq!(known.next_generation(), 48);
}

#[test]
fn a_lower_number_from_somebody_else_is_taken_over_and_never_overwritten() {
    for noticed in [false, true] {
        let mut known = knowing(&tokens(&Lineage::begin(AT), 47, "anna"));
        if noticed {
            known.found(None);
        }
        let bert = Lineage::begin(AT);
        known.found(Some(tokens(&bert, 1, "bert")));
        assert_eq!((token(&known).as_str(), known.owed().is_some()), ("bert", false));
        // Callers that saw token 47 refused take it for a newer one.
        assert_eq!(known.newest().generation, 48);
        known.found(Some(tokens(&bert, 1, "bert")));
        assert_eq!(known.newest().generation, 48, "the same again is no news");
        known.found(Some(tokens(&bert, 2, "bert-2")));
        assert_eq!((token(&known).as_str(), known.newest().generation), ("bert-2", 49));
    }
}

#[test]
fn an_owed_refresh_gives_way_to_a_sibling_and_an_owed_sign_in_does_not() {
    let anna = Lineage::begin(AT);
    let read = tokens(&anna, 4, "rt-4");
    let mut known = knowing(&read);
    assert!(known.owe(&Arc::new(tokens(&anna, 5, "rt-5"))));
    known.found(Some(read));
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("rt-5", true), "what it replaces");
    known.found(Some(tokens(&anna, 5, "rt-of-a-sibling")));
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("rt-of-a-sibling", false));

    let bert = Arc::new(tokens(&Lineage::begin(AT).after(&anna), 6, "bert"));
    assert!(known.owe(&bert));
    known.found(Some(tokens(&anna, 9, "anna-9")));
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("bert", true));
    assert_eq!(known.numbered_above(9).generation, 10);
    assert!(!known.owe(&Arc::new(tokens(&anna, 10, "anna-10"))), "a late answer for the first person");
    let later = Timestamp::from_seconds(1_000_001);
    known.found(Some(tokens(&Lineage::begin(AT).after(&anna), 7, "dora")));
    assert_eq!(
        token(&known),
        "dora",
        "a third person, who signed in at no later time, was faster at the store"
    );
    assert!(known.owe(&Arc::new(tokens(&Lineage::begin(later).after(&known.newest().lineage), 11, "emil"))));
    known.found(Some(tokens(&Lineage::begin(AT).after(&anna), 12, "carl")));
    assert_eq!(token(&known), "emil", "who signed in later, when neither agent knew of the other");
}

#[test]
fn a_claim_that_is_owed_gives_way_to_tokens_of_an_earlier_sign_in() {
    let mut known = Known::default();
    known.found(None);
    assert!(known.owe(&Arc::new(Stored::claim(Timestamp::from_seconds(2_000_000)))));
    // The disk is repaired, and the operator brings the backup back.
    known.found(Some(tokens(&Lineage::begin(AT), 7, "anna")));
    assert_eq!((token(&known).as_str(), known.owed().is_some()), ("anna", false));
}

#[test]
fn a_refusal_is_known_before_it_is_recorded() {
    let anna = Lineage::begin(AT);
    let mut known = knowing(&tokens(&anna, 4, "rt-4"));
    let marker = super::super::DeniedMarker {
        refresh_token: crate::secret::Secret::from("rt-4").fingerprint(),
        configuration: "c".to_owned(),
        claims: None,
        failure: crate::token::model::TokenFailure {
            code: "invalid_grant".to_owned(),
            aadsts: None,
            correlation_id: None,
            message: "No.".to_owned(),
            at: Timestamp::default(),
            retry_at: None,
        },
    };
    let refused = Stored { denied: Some(marker), ..tokens(&anna, 4, "rt-4") };
    known.note(&Arc::new(refused.clone()));
    known.found(Some(tokens(&anna, 4, "rt-4")));
    assert!(known.newest().denied.is_some(), "the store, which has not heard of it, does not take it back");
    // A person brings a backup whose tokens may still work.
    known.found(Some(tokens(&anna, 3, "rt-3")));
    assert_eq!((token(&known).as_str(), known.newest().denied.is_some()), ("rt-3", false));
    // A sibling's record of a refusal is news.
    let mut sibling = knowing(&tokens(&anna, 4, "rt-4"));
    sibling.found(Some(refused));
    assert!(sibling.newest().denied.is_some());
}

#[test]
fn starting_over_keeps_numbers_and_lineage() {
    let anna = Lineage::of_seed("pasted", AT);
    let mut known = knowing(&tokens(&anna, 7, "anna"));
    known.forget();
    assert!(known.newest().is_empty());
    assert_eq!(known.next_generation(), 8);
    let again = Lineage::of_seed("pasted", AT).taken_after(&known.newest().lineage);
    assert!(again.replaces(&anna), "siblings that know the old tokens see that these come after them");
    assert!(known.owe(&Arc::new(tokens(&again, 8, "again"))));
}

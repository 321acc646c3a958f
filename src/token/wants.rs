//! What callers want of a connection's task, merged: any number of callers come to at most one token request.
//! Holds no token, and decides nothing about time except how often Graph's refusals are believed.

use tokio::time::Instant;

use super::model::TokenGeneration;
use super::transaction::Ask;

/// How many refreshes in a row Graph's 401 answers may cause before they have to be [`REFILL_SECONDS`] apart. A tenant
/// that refuses every token would otherwise be answered with a token request per call, which Entra punishes
/// (AADSTS50196).
const BURST: u32 = 10;
/// One refused token more is believed after this many seconds.
pub(super) const REFILL_SECONDS: i64 = 30;

/// The merged wishes.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Somebody has no usable token.
    any: bool,
    /// The newest token that somebody saw refused.
    refused: Option<TokenGeneration>,
    /// A person asked.
    operator: bool,
    /// The newest claims challenge, with its ticket.
    claims: Option<(String, u64)>,
    /// The challenge that was answered last (or is being answered), with its ticket and the refused token it came from.
    answered: Option<(String, u64, Option<TokenGeneration>)>,
    tickets: u64,
    spent: u32,
    /// By the clock that nobody sets: one that is set back by hours must not make Graph's refusals go unheard for hours.
    refilled_at: Option<Instant>,
}

/// A wish to act on.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) ask: Ask,
    /// The highest claims ticket it settles.
    pub(super) ticket: u64,
}

impl Wants {
    /// Adds a caller's wish; the ticket is what `claims_settled` has to reach for it (0 without claims).
    pub(super) fn add(
        &mut self,
        seen: Option<TokenGeneration>,
        claims: Option<String>,
        operator: bool,
    ) -> u64 {
        self.operator |= operator;
        match seen {
            None => self.any = true,
            Some(seen) => self.refused = Some(self.refused.map_or(seen, |refused| refused.max(seen))),
        }
        let Some(claims) = claims else { return 0 };
        // Callers that saw the same token refused with the same challenge share one token request.
        if let Some((text, ticket, from)) = &self.answered
            && *text == claims
            && *from >= seen
        {
            return *ticket;
        }
        match &self.claims {
            Some((text, ticket)) if *text == claims => *ticket,
            _ => {
                self.tickets += 1;
                self.claims = Some((claims, self.tickets));
                self.tickets
            }
        }
    }

    /// What is to be done now that token `generation` is in use (`usable` or not); clears wishes that are fulfilled.
    pub(super) fn due(&mut self, generation: TokenGeneration, usable: bool) -> bool {
        if usable {
            self.any = false;
        }
        if self.refused.is_some_and(|refused| refused < generation) && self.claims.is_none() {
            self.refused = None;
        }
        self.any || self.refused.is_some() || self.operator || self.claims.is_some()
    }

    /// Whether a person is among the callers.
    pub(super) fn operator(&self) -> bool {
        self.operator
    }

    /// Whether a wish that comes from a refused token may be acted on `now`.
    pub(super) fn may_spend(&mut self, now: Instant) -> bool {
        if self.operator || self.refused.is_none() {
            return true;
        }
        let since = now.saturating_duration_since(*self.refilled_at.get_or_insert(now));
        let refills = since.as_secs() / REFILL_SECONDS.unsigned_abs();
        if refills > 0 {
            self.spent = self.spent.saturating_sub(u32::try_from(refills).unwrap_or(u32::MAX));
            self.refilled_at = Some(now);
        }
        if self.spent >= BURST {
            return false;
        }
        self.spent += 1;
        true
    }

    /// Takes everything for one token request.
    pub(super) fn take(&mut self) -> Wanted {
        let claims = self.claims.take();
        let (operator, refused) = (std::mem::take(&mut self.operator), self.refused.take());
        self.any = false;
        if let Some((text, ticket)) = &claims {
            self.answered = Some((text.clone(), *ticket, refused));
        }
        Wanted { ask: Ask { claims: claims.map(|(text, _)| text), operator }, ticket: self.tickets }
    }

    /// The token request for the last wishes failed: an equal challenge is a new wish.
    pub(super) fn forget_answer(&mut self) {
        self.answered = None;
    }

    /// Drops everything: the callers have been told that nothing will be done. The ticket settles them all.
    pub(super) fn refuse_all(&mut self) -> u64 {
        let tickets = self.take().ticket;
        self.answered = None;
        tickets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_wishes_are_one() {
        let mut wants = Wants::default();
        assert!(!wants.due(1, true));
        for _ in 0..1000 {
            assert_eq!(wants.add(Some(1), None, false), 0);
            assert_eq!(wants.add(Some(1), Some("{}".to_owned()), false), 1);
        }
        assert!(wants.due(1, true));
        assert_eq!(wants.take().ask.claims.as_deref(), Some("{}"));
        assert!(!wants.due(2, true));
        // A straggler who saw the same token and challenge gets the answer that was made for the others.
        assert_eq!(wants.add(Some(1), Some("{}".to_owned()), false), 1);
        assert!(!wants.due(2, true));
        assert_eq!(wants.add(Some(2), Some("{}".to_owned()), false), 2);
        assert!(wants.due(2, true));
    }

    #[test]
    fn graphs_refusals_are_believed_in_bounded_number() {
        let mut wants = Wants::default();
        let (mut believed, now) = (0, Instant::now());
        for _ in 0..100 {
            wants.add(Some(1), None, false);
            believed += u32::from(wants.may_spend(now));
        }
        assert_eq!(believed, BURST);
        let later = now + std::time::Duration::from_secs(REFILL_SECONDS.unsigned_abs());
        assert!(wants.may_spend(later));
        assert!(!wants.may_spend(later));
        wants.add(None, None, true);
        assert!(wants.may_spend(later), "a person may always");
    }
}

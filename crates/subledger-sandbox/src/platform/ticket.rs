//! Tickets: pushed every ten minutes of the sandbox's clock, on demand, and when the platform asks to start again
//! (wechat-api §9.2). Each is good for twelve hours after it was last pushed.

use std::time::Duration;

use rand::RngExt;

use super::{PlatformDeed, REMEMBERED, TICKET_LIFE};
use crate::clock::{MINUTE, Millis};
use crate::error::ControlError;
use crate::ids;
use crate::push::{Info, PushState};
use crate::state::State;

/// The pause between two pushes.
const EVERY: Millis = 10 * MINUTE;
/// A ticket that is pushed again is still good for this long.
const FRESH_ENOUGH: Millis = 60 * MINUTE;

impl State {
    /// Pushes the tickets that are due. After a leap of the clock each platform gets one, not all it missed.
    pub(crate) fn push_due_tickets(&mut self) {
        let now = self.now();
        let due = self.platforms.iter().filter(|(_, p)| p.next_ticket.is_some_and(|at| at <= now));
        for component in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if self.is_given_up(&component) {
                if let Some(platform) = self.platforms.get_mut(&component) {
                    platform.next_ticket = None;
                }
                self.note(Some(&component), None, PlatformDeed::TicketsStopped, None);
                continue;
            }
            if let Err(error) = self.push_ticket(&component) {
                tracing::warn!(%error, "a ticket is not pushed");
            }
        }
    }

    /// How long until the next ticket is due, if the sandbox's clock runs as the machine's does.
    pub(crate) fn next_ticket_after(&self) -> Option<Duration> {
        let next = self.platforms.values().filter_map(|p| p.next_ticket).min()?;
        Some(Duration::from_millis(u64::try_from(next - self.now()).unwrap_or(0)))
    }

    /// Pushes a ticket now; the next one is due ten minutes later. Without a URL the ticket is made all the same. Gives the
    /// push.
    pub(crate) fn push_ticket(&mut self, component: &str) -> Result<Option<u64>, ControlError> {
        let now = self.now();
        let ruling = self.platform_ruling(component);
        let platform = self.platform_mut(component)?;
        let mut dice = rand::SeedableRng::seed_from_u64(platform.ticket_dice.random());
        let again = ruling.reality.ticket_repeats.draw(&mut dice);
        let fresh = ids::ticket_from(&mut dice);
        platform.tickets.retain(|_, end| now < *end + REMEMBERED);
        let good =
            |ticket: &&String| platform.tickets.get(*ticket).is_some_and(|end| now + FRESH_ENOUGH < *end);
        let kept = platform.ticket.as_ref().filter(good).filter(|_| again).cloned();
        let repeated = kept.is_some();
        let ticket = kept.unwrap_or(fresh);
        platform.tickets.insert(ticket.clone(), now + TICKET_LIFE);
        platform.ticket = Some(ticket.clone());
        platform.next_ticket = platform.settings.tickets_on.then_some(now + EVERY);
        let push = self.push_info(component, Info::Ticket { ticket }, &ruling, &mut dice);
        let platform = self.platform_mut(component)?;
        let kept = usize::try_from(platform.settings.give_up_tickets).unwrap_or(usize::MAX);
        platform.ticket_pushes.extend(push);
        while platform.ticket_pushes.len() > kept {
            platform.ticket_pushes.pop_front();
        }
        self.note(Some(component), None, PlatformDeed::Ticket { repeated }, push);
        Ok(push)
    }

    /// `api_start_push_ticket`: true if tickets were pushed all the time.
    pub(super) fn start_tickets(&mut self, component: &str) -> Result<bool, ControlError> {
        let platform = self.platform_mut(component)?;
        if platform.next_ticket.is_some() {
            return Ok(true);
        }
        platform.settings.tickets_on = true;
        platform.ticket_pushes.clear();
        self.push_ticket(component)?;
        Ok(false)
    }

    /// Whether the last tickets were all given up, and are enough to end the pushes.
    fn is_given_up(&mut self, component: &str) -> bool {
        let Some(platform) = self.platforms.get(component) else { return false };
        let most = usize::try_from(platform.settings.give_up_tickets).unwrap_or(usize::MAX);
        if most == 0 || platform.ticket_pushes.len() < most {
            return false;
        }
        let pushes: Vec<u64> = platform.ticket_pushes.iter().copied().collect();
        let given_up =
            |seq: u64| self.pushes.journal.get_mut(seq).is_some_and(|p| p.state == PushState::GivenUp);
        pushes.into_iter().all(given_up)
    }
}

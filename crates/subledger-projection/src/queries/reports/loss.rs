//! Loss: at which step each recipient of a message fell out.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use subledger_domain::{MessageId, TemplateId};

use crate::{DeliveryState, rows::codes::Coded};

/// Recipients that fell out at the same step for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LossReason {
    /// The step they did not reach: `bound`, `with_grant`, `handed_over`, `accepted` or `confirmed`.
    pub step: &'static str,
    /// The state of their deliveries, or `unplanned`.
    pub state: &'static str,
    /// Why, where a reason is known: of a skip, or the class of an answer.
    pub reason: Option<String>,
    /// How many.
    pub recipients: u64,
}

/// From the recipients asked for to the messages confirmed. No step is greater than the one before; what falls out between
/// two is told by the reasons, and `targeted = confirmed + sum of the reasons`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The message.
    pub msgid: MessageId,
    /// Its template.
    pub template_id: TemplateId,
    /// Recipients asked for.
    pub targeted: u64,
    /// Those with an openid in this channel, each counted once.
    pub bound: u64,
    /// Those let in: with a grant set aside, or none needed.
    pub with_grant: u64,
    /// Those handed to WeChat at least once.
    pub handed_over: u64,
    /// Those WeChat accepted, as far as is known.
    pub accepted: u64,
    /// Those that WeChat's sent event confirmed. Not every accepted message has one.
    pub confirmed: u64,
    /// Where the others are.
    pub lost: Vec<LossReason>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    message: Option<FoundMessage>,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct FoundMessage {
    template: TemplateId,
    targeted: u64,
}

/// Deliveries that are alike.
#[derive(Deserialize)]
struct Group {
    #[serde(deserialize_with = "state")]
    state: DeliveryState,
    reason: Option<String>,
    #[serde(deserialize_with = "crate::rows::flag")]
    let_in: bool,
    #[serde(deserialize_with = "crate::rows::flag")]
    handed_over: bool,
    #[serde(deserialize_with = "crate::rows::flag")]
    confirmed: bool,
    deliveries: u64,
}

/// A state by its number.
fn state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeliveryState, D::Error> {
    let code = i64::deserialize(deserializer)?;
    DeliveryState::from_code(code).ok_or_else(|| D::Error::custom("no state has this number"))
}

pub(super) const STEPS: [&str; 5] = ["bound", "with_grant", "handed_over", "accepted", "confirmed"];

impl Group {
    /// How many of [`STEPS`] these deliveries reached.
    fn reached(&self) -> usize {
        if !self.let_in {
            let unbound = matches!(self.reason.as_deref(), Some("not_bound" | "duplicate"));
            return usize::from(!unbound);
        }
        match (self.state, self.confirmed) {
            (DeliveryState::Sent, true) => 5,
            (DeliveryState::Sent, false) => 4,
            _ if self.handed_over => 3,
            _ => 2,
        }
    }
}

impl Found {
    pub(super) fn loss(self, msgid: MessageId) -> Option<Loss> {
        let FoundMessage { template, targeted } = self.message?;
        let mut reached = [0; STEPS.len()];
        let mut lost: Vec<LossReason> = Vec::new();
        let mut planned = 0;
        for group in self.groups {
            let steps = group.reached();
            planned += group.deliveries;
            reached.iter_mut().take(steps).for_each(|step| *step += group.deliveries);
            let Some(step) = STEPS.get(steps) else { continue };
            let (state, reason) = (group.state.as_str(), group.reason);
            let alike = |one: &&mut LossReason| (one.step, one.state, &one.reason) == (*step, state, &reason);
            match lost.iter_mut().find(alike) {
                Some(one) => one.recipients += group.deliveries,
                None => lost.push(LossReason { step, state, reason, recipients: group.deliveries }),
            }
        }
        let unplanned = targeted.saturating_sub(planned);
        if unplanned > 0 {
            let (step, state) = (STEPS[0], "unplanned");
            lost.push(LossReason { step, state, reason: None, recipients: unplanned });
        }
        let place = |one: &LossReason| STEPS.iter().position(|step| *step == one.step);
        lost.sort_by(|a, b| (place(a), a.state, &a.reason).cmp(&(place(b), b.state, &b.reason)));
        let [bound, with_grant, handed_over, accepted, confirmed] = reached;
        let template_id = template;
        Some(Loss { msgid, template_id, targeted, bound, with_grant, handed_over, accepted, confirmed, lost })
    }
}

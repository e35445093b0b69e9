//! What a ledger's aggregate knows beside the columns of its row, in a few bytes; nothing at all for most ledgers at rest.
//!
//! Left out is what can be said from the columns: open lots are the newest ones and carry no doubt, nothing is
//! outstanding, the last accept was the last grant. A byte of flags says which of these do not hold; what they are follows
//! in the order of the flags. Numbers are written seven bits at a time, the lowest first.

use subledger_domain::{
    DeliveryId, MessageId, Timestamp,
    ledger::{Basis, Funding, Ledger, LedgerParts, Lot, Outstanding, Phase},
};

use crate::{rows::codes::Coded, tuples::Unreadable};

const EARLIER_KNOWN: u8 = 1;
const OTHER_ACCEPT: u8 = 2;
const LOTS: u8 = 4;
const OUTSTANDING: u8 = 8;

const LOT: u8 = 0;
const DOUBTED_LOT: u8 = 1;
const WITHOUT: u8 = 2;
const VOID: u8 = 4;

/// Packs what the columns do not say.
pub(super) fn pack(ledger: &Ledger) -> Option<Vec<u8>> {
    let usual = ledger.lots().iter().rev().zip((0..=ledger.totals().granted).rev());
    let usual = usual.into_iter().all(|(lot, id)| lot.id == id && lot.doubted_by.is_none());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(ledger.earlier_known(), EARLIER_KNOWN)
        | flag(ledger.last_accept_at() != ledger.last_grant_at(), OTHER_ACCEPT)
        | flag(!usual, LOTS)
        | flag(!ledger.outstanding().is_empty(), OUTSTANDING);
    if flags == 0 {
        return None;
    }
    let mut out = vec![flags];
    if flags & OTHER_ACCEPT != 0 {
        put_time(&mut out, ledger.last_accept_at());
    }
    if flags & LOTS != 0 {
        put(&mut out, ledger.lots().len() as u64);
        for lot in ledger.lots() {
            put(&mut out, lot.id);
            put_doubt(&mut out, lot.doubted_by);
        }
    }
    if flags & OUTSTANDING != 0 {
        put(&mut out, ledger.outstanding().len() as u64);
        for (delivery, one) in ledger.outstanding() {
            put_delivery(&mut out, *delivery);
            put_outstanding(&mut out, one);
        }
    }
    Some(out)
}

/// Completes the parts of a ledger that has so many open lots.
pub(super) fn unpack(
    packed: Option<&[u8]>,
    mut parts: LedgerParts,
    open: u64,
) -> Result<LedgerParts, Unreadable> {
    let mut from = From(packed.unwrap_or_default());
    let flags = if packed.is_some() { from.byte()? } else { 0 };
    parts.earlier_known = flags & EARLIER_KNOWN != 0;
    parts.last_accept_at = if flags & OTHER_ACCEPT != 0 { from.time()? } else { parts.last_grant_at };
    if flags & LOTS != 0 {
        for _ in 0..from.number()? {
            parts.lots.push(Lot { id: from.number()?, doubted_by: from.doubt()? });
        }
    } else {
        let first = (parts.granted + 1).checked_sub(open);
        let first = first.ok_or_else(|| Unreadable::new("more grants are open than were made"))?;
        parts.lots.extend((first..=parts.granted).map(|id| Lot { id, doubted_by: None }));
    }
    if flags & OUTSTANDING != 0 {
        for _ in 0..from.number()? {
            parts.outstanding.push((from.delivery()?, from.outstanding()?));
        }
    }
    if from.0.is_empty() { Ok(parts) } else { Err(odd()) }
}

fn odd() -> Unreadable {
    Unreadable::new("the packed state of a ledger is not what this version writes")
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    out.push(time.is_some().into());
    if let Some(time) = time {
        out.extend_from_slice(&time.micros().to_be_bytes());
    }
}

fn put_delivery(out: &mut Vec<u8>, delivery: DeliveryId) {
    out.extend_from_slice(delivery.message.as_bytes());
    put(out, delivery.index.into());
}

fn put_doubt(out: &mut Vec<u8>, doubt: Option<DeliveryId>) {
    out.push(doubt.is_some().into());
    if let Some(delivery) = doubt {
        put_delivery(out, delivery);
    }
}

const fn phase_code(phase: Phase) -> u8 {
    match phase {
        Phase::Reserved => 0,
        Phase::Started => 1,
        Phase::InDoubt => 2,
    }
}

fn put_outstanding(out: &mut Vec<u8>, one: &Outstanding) {
    match one.funding {
        Funding::Lot(Lot { id, doubted_by: None }) => {
            out.push(LOT);
            put(out, id);
        }
        Funding::Lot(Lot { id, doubted_by: Some(doubt) }) => {
            out.push(DOUBTED_LOT);
            put(out, id);
            put_delivery(out, doubt);
        }
        Funding::Without(basis) => {
            out.push(WITHOUT);
            out.push(basis.code() as u8);
        }
        Funding::Void => out.push(VOID),
    }
    out.push(phase_code(one.phase));
    put(out, one.attempts.into());
    put(out, one.grants_at_start);
    put_time(out, one.accept_at_start);
}

struct From<'a>(&'a [u8]);

impl From<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(odd)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(odd())
    }

    fn time(&mut self) -> Result<Option<Timestamp>, Unreadable> {
        match self.byte()? {
            0 => Ok(None),
            1 => Ok(Some(Timestamp::from_micros(i64::from_be_bytes(self.take()?)))),
            _ => Err(odd()),
        }
    }

    fn delivery(&mut self) -> Result<DeliveryId, Unreadable> {
        let message = MessageId::from_bytes(self.take()?);
        Ok(DeliveryId::new(message, u32::try_from(self.number()?).map_err(|_| odd())?))
    }

    fn doubt(&mut self) -> Result<Option<DeliveryId>, Unreadable> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.delivery().map(Some),
            _ => Err(odd()),
        }
    }

    fn outstanding(&mut self) -> Result<Outstanding, Unreadable> {
        let funding = match self.byte()? {
            LOT => Funding::Lot(Lot { id: self.number()?, doubted_by: None }),
            DOUBTED_LOT => Funding::Lot(Lot { id: self.number()?, doubted_by: Some(self.delivery()?) }),
            WITHOUT => Funding::Without(Basis::from_code(self.byte()?.into()).ok_or_else(odd)?),
            VOID => Funding::Void,
            _ => return Err(odd()),
        };
        let phase = match self.byte()? {
            0 => Phase::Reserved,
            1 => Phase::Started,
            2 => Phase::InDoubt,
            _ => return Err(odd()),
        };
        let attempts = u16::try_from(self.number()?).map_err(|_| odd())?;
        Ok(Outstanding {
            funding,
            phase,
            attempts,
            grants_at_start: self.number()?,
            accept_at_start: self.time()?,
        })
    }
}

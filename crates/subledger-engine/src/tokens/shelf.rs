//! The tokens of the store, as the WeChat adapter's keeper asks for them. All nodes on one database share them.

use std::time::Duration;

use subledger_store::{
    KeptToken, Store, StoreError, TokenAsk, TokenClaim, TokenClaimed, TokenTurn, TokenWish,
};
use subledger_wechat::{
    ShelfAnswer, ShelfAsk, ShelfClaim, ShelfFuture, ShelfTurn, ShelfUnreachable, ShelfWish, ShelvedToken,
    TokenGrant, TokenKey, TokenShelf,
};

/// The shelf in the database.
pub(crate) struct StoreShelf {
    store: Store,
    /// Tells processes apart, whatever their nodes are called.
    process: String,
}

impl StoreShelf {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, process: uuid::Uuid::new_v4().simple().to_string() }
    }
}

fn unreachable(error: &StoreError) -> ShelfUnreachable {
    tracing::warn!(error = %error, "the tokens of the database cannot be reached");
    ShelfUnreachable
}

fn turn(turn: ShelfTurn) -> TokenTurn {
    let ShelfTurn { fence, version, next, began_at } = turn;
    TokenTurn { fence, version, next, began_at }
}

impl TokenShelf for StoreShelf {
    fn claim<'a>(&'a self, key: &'a TokenKey, ask: &'a ShelfAsk) -> ShelfFuture<'a, ShelfAnswer> {
        Box::pin(async move {
            let asked = TokenAsk {
                holder: format!("{}/{}", self.process, ask.holder),
                lease: ask.turn,
                budget: ask.per_hour,
                newer_than: ask.newer_than,
                refused: ask.refused,
                wish: match ask.wish {
                    ShelfWish::Any => TokenWish::Any,
                    ShelfWish::Fetched => TokenWish::Fetched,
                    ShelfWish::Forced { apart, per_day } => TokenWish::Forced { apart, per_day },
                },
            };
            let claimed = self.store.token_claim(&key.appid, key.mode.as_str(), &asked).await;
            let TokenClaimed { claim, first_refused } = claimed.map_err(|error| unreachable(&error))?;
            let claim = match claim {
                TokenClaim::Kept(KeptToken { token, version, age, remains }) => {
                    let expires_in = i64::try_from(remains.as_secs()).unwrap_or_default();
                    ShelfClaim::Kept(ShelvedToken {
                        grant: TokenGrant { token, expires_in },
                        version,
                        age,
                        remains,
                    })
                }
                TokenClaim::Turn(TokenTurn { fence, version, next, began_at }) => {
                    ShelfClaim::Turn(ShelfTurn { fence, version, next, began_at })
                }
                TokenClaim::Elsewhere { ends_in } => ShelfClaim::Elsewhere(ends_in),
                TokenClaim::Spent { frees_in } => ShelfClaim::Spent(frees_in),
                TokenClaim::TooSoon { frees_in, of_day } => ShelfClaim::TooSoon { frees_in, of_day },
            };
            Ok(ShelfAnswer { claim, first_refused })
        })
    }

    fn keep<'a>(&'a self, key: &'a TokenKey, of: ShelfTurn, grant: &'a TokenGrant) -> ShelfFuture<'a, bool> {
        Box::pin(async move {
            let life = Duration::from_secs(u64::try_from(grant.expires_in).unwrap_or_default());
            let (appid, mode) = (&key.appid, key.mode.as_str());
            let kept = self.store.token_keep(appid, mode, &turn(of), &grant.token, life).await;
            kept.map_err(|error| unreachable(&error))
        })
    }

    fn give_up<'a>(&'a self, key: &'a TokenKey, of: ShelfTurn) -> ShelfFuture<'a, ()> {
        Box::pin(async move {
            let given = self.store.token_give_up(&key.appid, key.mode.as_str(), &turn(of)).await;
            given.map_err(|error| unreachable(&error))
        })
    }
}

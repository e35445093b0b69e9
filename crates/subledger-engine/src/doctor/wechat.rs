//! Whether WeChat takes a channel's calls, and the address it sees them come from.

use std::time::Duration;

use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    channel::{Registered, TokenMode},
};
use subledger_store::TokenState;
use subledger_wechat::{CallError, ChannelError, TokenError, caller_ip, lookup};

use super::{Check, Finding, Reach, Text, probes, waits};
use crate::Engine;

/// A token that lives shorter than this is about to be replaced.
const NEARLY_OVER: Duration = Duration::from_secs(30);
/// More fetches in an hour than this are too many: a token lives two.
const MANY_FETCHES: u32 = 10;
/// A conflict so long ago still counts.
const RECENT_CONFLICT_SECONDS: i64 = 24 * 3_600;

/// How WeChat is tried.
enum Way {
    /// Not, and why.
    Not(Text),
    /// With the channel's token.
    Token,
    /// With one that is fetched for it and kept nowhere.
    Once,
}

fn way(engine: &Engine, registered: &Registered, state: Option<&TokenState>, reach: Reach) -> Way {
    if reach == Reach::Deployment {
        return Way::Not(Text::new(
            "not tried: WeChat is called when one channel is asked for",
            "未尝试：仅在检查单个通道时调用微信",
        ));
    }
    let running = engine.is_running();
    let lives = state.is_some_and(|state| !state.refused && state.remains > NEARLY_OVER);
    match registered.token_mode {
        TokenMode::Stable if running => Way::Token,
        TokenMode::Stable => Way::Once,
        _ if lives => Way::Token,
        TokenMode::External | TokenMode::Platform if running => Way::Token,
        // What a fetch brings (another refresh token, a token of the company's) only the service can keep.
        TokenMode::External | TokenMode::Platform => Way::Not(Text::new(
            "not tried from here: no token lives; ask the service, GET /api/v1/channels/{code}/doctor",
            "此处未尝试：当前没有有效凭据；请向运行中的服务查询 GET /api/v1/channels/{code}/doctor",
        )),
        TokenMode::Normal => Way::Not(Text::new(
            "not tried: no token lives, and in the token mode `normal` a fetch would retire the token of other systems",
            "未尝试：当前没有有效凭据，而 `normal` 模式下获取凭据会使其他系统的凭据失效",
        )),
    }
}

/// The checks `token` and `address`.
pub(super) async fn findings(
    engine: &Engine,
    log: &LogName,
    registered: &Registered,
    reach: Reach,
) -> [Finding; 2] {
    let state = match engine.token_state(registered).await {
        Ok(state) => state,
        Err(error) => return [Check::Token, Check::Address].map(|check| Finding::unreadable(check, &error)),
    };
    let conflict = match log.as_str().parse() {
        Ok(code) => conflict(engine, &code).await,
        Err(_) => None,
    };
    let way = way(engine, registered, state.as_ref(), reach);
    let client = engine.gateway().channel(registered);
    let called = match way {
        Way::Not(why) => {
            // What is on the books is told all the same.
            let token = conflict.unwrap_or_else(|| Finding::skipped(Check::Token, why.clone()));
            return [token, Finding::skipped(Check::Address, why)];
        }
        Way::Token => probes::call(engine, log, async || client.send_quota().await).await,
        Way::Once => {
            let gateway = engine.gateway();
            probes::call(engine, log, async || gateway.call_once(registered).await).await
        }
    };
    let mode = registered.token_mode.as_str();
    match called {
        Ok(_) => {
            let seen = match engine.token_state(registered).await {
                Ok(Some(state)) if state.remains > NEARLY_OVER => {
                    probes::seen(engine, log, async || client.seen_address().await).await
                }
                _ => Ok(None),
            };
            let token = conflict.unwrap_or_else(|| accepted(mode, state.as_ref()));
            [token, address(seen)]
        }
        Err(error) => {
            let refused = match &error {
                ChannelError::Call(call) | ChannelError::NoToken(TokenError::Call(call)) => Some(call),
                _ => None,
            };
            [token_failed(mode, &error), address_of_refusal(refused)]
        }
    }
}

/// A conflict of the last day that is on the books.
async fn conflict(engine: &Engine, code: &ChannelCode) -> Option<Finding> {
    let row = engine.queries().channel(code).await.ok()?.value?;
    let conflict = row.token?.conflict?;
    if conflict.at < engine.now().plus_seconds(-RECENT_CONFLICT_SECONDS) {
        return None;
    }
    let ago = waits::length(waits::between(conflict.at, engine.now()));
    let found = Text::new(
        format!("{} ago WeChat refused a token long before its end: another system replaces them", ago.en),
        format!("{}前微信提前拒绝了凭据：有其他系统在刷新", ago.zh),
    );
    Some(Finding::warn(Check::Token, found, share()))
}

fn share() -> Text {
    Text::new(
        "have every system that uses this AppSecret fetch the stable token (`token_mode` stable), or lend it the token from here \
         (GET /api/v1/channels/{code}/token)",
        "请让所有使用该 AppSecret 的系统都改用稳定版接口（`token_mode` 为 stable），或从此处借用凭据（GET /api/v1/channels/{code}/token）",
    )
}

fn accepted(mode: &str, state: Option<&TokenState>) -> Finding {
    let Some(state) = state.filter(|state| state.version > 0) else {
        let found = Text::new(
            format!("WeChat accepts the credentials (mode {mode})"),
            format!("微信接受其凭证（模式 {mode}）"),
        );
        return Finding::ok(Check::Token, found);
    };
    let (age, left) = (waits::length(state.age), waits::length(state.remains));
    let fetches = state.fetches_last_hour;
    let found = Text::new(
        format!(
            "WeChat accepts it: mode {mode}, {} old, {} left, {fetches} fetches in an hour",
            age.en, left.en
        ),
        format!("微信接受：模式 {mode}，已用 {}，剩余 {}，一小时内获取 {fetches} 次", age.zh, left.zh),
    );
    if fetches > MANY_FETCHES || state.spent_ago.is_some_and(|ago| ago < Duration::from_secs(3_600)) {
        return Finding::warn(Check::Token, found, share());
    }
    Finding::ok(Check::Token, found)
}

fn token_failed(mode: &str, error: &ChannelError) -> Finding {
    match error {
        ChannelError::TokenConflict(conflict) => {
            let age = u64::try_from(conflict.token_age_micros / 1_000_000).unwrap_or(0);
            let found = Text::new(
                format!("WeChat refused two tokens in a row, the last one {age} s old ({})", conflict.code),
                format!("微信连续拒绝两个凭据，后一个仅 {age} 秒前获取（{}）", conflict.code),
            );
            Finding::fail(Check::Token, found, share())
        }
        ChannelError::NoToken(TokenError::Call(call)) | ChannelError::Call(call) => called(mode, call),
        ChannelError::NoToken(TokenError::BudgetSpent { until_micros }) => {
            let until = waits::moment(Timestamp::from_micros(*until_micros));
            let found = Text::new(
                format!("the hourly budget of token refreshes is spent until {until}"),
                format!("每小时刷新次数已用完，至 {until}"),
            );
            let advice = Text::new(
                "something keeps killing the token: find the other system that fetches tokens with this AppSecret",
                "有其他系统不断使凭据失效：请找出使用同一 AppSecret 获取凭据的系统",
            );
            Finding::fail(Check::Token, found, advice)
        }
        ChannelError::NoToken(error) => {
            let found = Text::new(format!("there is no token: {error}"), format!("没有凭据：{error}"));
            let advice = Text::new(
                "set the AppSecret (or the token source) of the channel again",
                "请重新设置该通道的 AppSecret（或凭据来源）",
            );
            Finding::fail(Check::Token, found, advice)
        }
    }
}

fn called(mode: &str, call: &CallError) -> Finding {
    let Some(code) = call.code() else {
        let found =
            Text::new(format!("not tried: {call} (mode {mode})"), format!("未能确认：{call}（模式 {mode}）"));
        let advice = Text::new("see what the check `egress` says", "请先查看 egress 一项");
        return Finding::warn(Check::Token, found, advice);
    };
    let rid = call.rid().map_or_else(String::new, |rid| format!(", rid {rid}"));
    let found = Text::new(
        format!("WeChat answers {code}{rid} (mode {mode})"),
        format!("微信返回 {code}{rid}（模式 {mode}）"),
    );
    let advice = lookup(code).map_or_else(
        || {
            Text::new(
                "the code is not known here: look it up at WeChat, the request id finds the call",
                "未收录的错误码：请到微信文档查询，可用 rid 定位该次调用",
            )
        },
        |entry| Text::new(entry.advice_en, entry.advice_zh),
    );
    match call {
        // Busy or over a quota: the token itself may be sound.
        CallError::TryAgain { .. } => Finding::warn(Check::Token, found, advice),
        _ => Finding::fail(Check::Token, found, advice),
    }
}

fn address(seen: probes::Seen) -> Finding {
    match seen {
        Ok(Some(address)) => {
            let found = Text::new(
                format!("WeChat sees calls come from {address} and allows it"),
                format!("微信看到的出口 IP 为 {address}，已放行"),
            );
            Finding::ok(Check::Address, found)
        }
        Ok(None) | Err(_) => Finding::ok(
            Check::Address,
            Text::new(
                "WeChat allows it; which one it is WeChat does not say",
                "微信已放行；微信未告知具体 IP",
            ),
        ),
    }
}

/// WeChat names the address in its refusal (40164).
fn address_of_refusal(call: Option<&CallError>) -> Finding {
    if let Some(CallError::Refused { code: 40164, message, .. }) = call {
        let named = caller_ip(message);
        let address = named.unwrap_or("?");
        let found = Text::new(
            format!("WeChat sees calls come from {address}, which is not on the allow-list (40164)"),
            format!("微信看到的出口 IP 为 {address}，不在白名单中（40164）"),
        );
        let advice = Text::new(
            format!(
                "put {address} on the IP allow-list: mp.weixin.qq.com → 开发管理 → 开发设置 → IP白名单; with several nodes or a \
                 changing address, route them through one fixed address"
            ),
            format!(
                "请将 {address} 加入 IP 白名单：mp.weixin.qq.com → 开发管理 → 开发设置 → IP白名单；多节点或动态 IP 请使用固定出口"
            ),
        );
        return Finding::fail(Check::Address, found, advice);
    }
    let why = "not known: WeChat names it only where it gets as far as looking at it";
    Finding::skipped(Check::Address, Text::new(why, "未知：凭据问题解决后微信才会告知"))
}

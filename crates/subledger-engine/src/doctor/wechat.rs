//! Whether WeChat takes a channel's calls, and the address it sees them come from.

use subledger_domain::{
    LogName, Timestamp,
    channel::{Channel, Registered, TokenMode},
};
use subledger_wechat::{CallError, ChannelError, TokenError, caller_ip, lookup};

use super::{Check, Finding, Reach, Text, probes, waits};
use crate::{Engine, quota::Quota};

/// Why WeChat is not asked with this channel's token; none if it may be.
fn not_asked(engine: &Engine, registered: &Registered, quota: Option<&Quota>, reach: Reach) -> Option<Text> {
    if reach == Reach::Deployment {
        return Some(Text::new(
            "not tried: WeChat is called when one channel is asked for",
            "未尝试：仅在检查单个通道时调用微信",
        ));
    }
    let outside = !engine.is_running();
    match registered.token_mode {
        TokenMode::Stable | TokenMode::External => None,
        // Each fetch retires the token that others hold, so only one that is in use anyway may be used.
        TokenMode::Normal if outside || quota.is_none_or(|quota| !quota.sends_today()) => Some(Text::new(
            "not tried: in the token mode `normal` a fetch would retire the token of other systems",
            "未尝试：`normal` 模式下获取凭据会使其他系统的凭据失效",
        )),
        // A fetch may bring another refresh token, which only the service can keep.
        TokenMode::Platform if outside => Some(Text::new(
            "not tried from here: ask the service, GET /api/v1/channels/{code}/doctor",
            "此处未尝试：请向运行中的服务查询 GET /api/v1/channels/{code}/doctor",
        )),
        TokenMode::Normal | TokenMode::Platform => None,
    }
}

/// The checks `token` and `address`.
pub(super) async fn findings(
    engine: &Engine,
    log: &LogName,
    channel: &Channel,
    registered: &Registered,
    quota: Option<&Quota>,
    reach: Reach,
) -> [Finding; 2] {
    if let Some(why) = not_asked(engine, registered, quota, reach) {
        return [Finding::skipped(Check::Token, why.clone()), Finding::skipped(Check::Address, why)];
    }
    let client = engine.gateway().channel(registered);
    let called = probes::call(engine, log, async || client.send_quota().await).await;
    let mode = registered.token_mode.as_str();
    match called {
        Ok(_) => {
            let seen = probes::seen(engine, log, async || client.seen_address().await).await;
            [accepted(mode, channel, engine.now()), address(seen)]
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

fn accepted(mode: &str, _channel: &Channel, _now: Timestamp) -> Finding {
    let found = Text::new(format!("WeChat accepts it (mode {mode})"), format!("微信接受（模式 {mode}）"));
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
            let advice = Text::new(
                "another system replaces the tokens of this Mini Program: have both use the stable token (`token_mode` stable), \
                 or lend it the token from here",
                "其他系统在反复刷新该小程序的凭据：请双方都改用稳定版接口（`token_mode` 为 stable），或由此处统一提供凭据",
            );
            Finding::fail(Check::Token, found, advice)
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

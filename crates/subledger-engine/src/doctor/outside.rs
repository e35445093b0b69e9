//! The doctor from another process: beside a running service, or where none can run.
//!
//! It opens the database for reading only, step by step, and tells of each step. What a step needs that failed is skipped and
//! says so. Nothing is started: no executor writes, no read model is followed, nothing is sent.

use std::sync::Arc;

use subledger_domain::ChannelCode;
use subledger_projection::Projections;
use subledger_store::{Clock, Executor, ExecutorConfig, Look, MasterKey, Store, SystemClock};
use subledger_wechat::WeChatConfig;

use super::{
    Check, Finding, Reach, Report, Text, channel, deployment,
    probes::{self, Reached},
};
use crate::{Engine, EngineSettings, gateway::Gateway};

/// Where to look.
#[derive(Debug)]
pub struct Place {
    /// The database's URL.
    pub url: String,
    /// The master key, or what is wrong with it.
    pub key: Result<MasterKey, String>,
    /// How to reach WeChat.
    pub wechat: WeChatConfig,
    /// The settings of a node, for its bounds.
    pub settings: EngineSettings,
}

/// Whether the channel that was asked for is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is, or none was asked for, or nobody can tell.
    Yes,
    /// There is no such channel.
    No,
}

/// Looks at a deployment, and at one channel or all.
pub async fn examine(place: Place, of: Option<&ChannelCode>) -> (Report, Known) {
    let mut findings = Vec::new();
    let store = open(&place, &mut findings).await;
    let Some(store) = store else {
        findings.extend(wechat_alone(&place).await);
        let why = Text::new("the channels are in the database", "通道信息在数据库中");
        findings.push(Finding::skipped(Check::Sending, why));
        return (report(findings), Known::Yes);
    };
    let Ok(gateway) = Gateway::new(place.wechat, store.clone()) else {
        return (report(findings), Known::Yes);
    };
    let database = store.facts().await.ok().and_then(|facts| facts.clock_ahead);
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let projections = Projections::resting(store.clone());
    let engine = Engine::new(store, executor, projections, gateway, place.settings);
    let reached = probes::reach(&engine).await;
    findings.push(deployment::clock(database, &reached));
    findings.push(deployment::egress(&reached.reach));
    let patients = engine.patients(of.map(std::slice::from_ref));
    let known = if of.is_some() && patients.is_empty() { Known::No } else { Known::Yes };
    let lags = engine.lags().await;
    findings.push(channel::of_main(&engine, &lags));
    for code in patients {
        findings.extend(channel::findings(&engine, &code, &lags, Reach::Everything).await);
    }
    engine.shutdown().await;
    (report(findings), known)
}

fn report(findings: Vec<Finding>) -> Report {
    Report { checked_at: SystemClock.now(), findings }
}

/// Opens the database for reading, with a finding for each step.
async fn open(place: &Place, findings: &mut Vec<Finding>) -> Option<Store> {
    let skip = |check, findings: &mut Vec<Finding>| {
        let why = Text::new("the step before it failed", "前一项未通过");
        findings.push(Finding::skipped(check, why));
    };
    let look = match Look::open(&place.url).await {
        Ok(look) => look,
        Err(error) => {
            findings.push(deployment::database_failed(&said(&error)));
            skip(Check::Migrations, findings);
            key_alone(place, findings);
            return None;
        }
    };
    match look.facts().await {
        Ok(facts) => findings.push(deployment::database(&facts)),
        Err(error) => findings.push(deployment::database_failed(&said(&error))),
    }
    let fits = match look.schema().await {
        Ok(schema) => {
            findings.push(deployment::migrations(&schema));
            schema.fits()
        }
        Err(error) => {
            findings.push(deployment::database_failed(&said(&error)));
            false
        }
    };
    if !fits {
        key_alone(place, findings);
        return None;
    }
    let key = match &place.key {
        Ok(key) => key,
        Err(_) => {
            key_alone(place, findings);
            return None;
        }
    };
    match look.unlock(key, Arc::new(SystemClock)).await {
        Ok(store) => {
            findings.push(deployment::key_fits());
            Some(store)
        }
        Err(error) => {
            findings.push(key_failed(&said(&error)));
            None
        }
    }
}

/// The key where nothing can be opened with it.
fn key_alone(place: &Place, findings: &mut Vec<Finding>) {
    findings.push(match &place.key {
        Ok(_) => {
            let why = Text::new("has the right form; not tried", "格式正确；未尝试");
            Finding::skipped(Check::MasterKey, why)
        }
        Err(wrong) => key_failed(wrong),
    });
}

fn key_failed(said: &str) -> Finding {
    let found = Text::new(said, format!("无法使用：{said}"));
    let advice = Text::new(
        "set SUBLEDGER_MASTER_KEY to the key the service runs with; without it secrets and openids stay sealed for ever",
        "请将 SUBLEDGER_MASTER_KEY 设为服务使用的密钥；丢失后密钥与 openid 将永远无法解开",
    );
    Finding::fail(Check::MasterKey, found, advice)
}

/// Clock and egress, without a database.
async fn wechat_alone(place: &Place) -> Vec<Finding> {
    match subledger_wechat::WeChatClient::new(place.wechat.clone()) {
        Ok(client) => {
            let reached = Reached::at(client.reach().await, SystemClock.now());
            vec![deployment::clock(None, &reached), deployment::egress(&reached.reach)]
        }
        Err(error) => {
            let found = Text::new(error.to_string(), format!("配置有误：{error}"));
            let advice =
                Text::new("correct `wechat.base_url` in the settings", "请修改配置中的 `wechat.base_url`");
            vec![Finding::fail(Check::Egress, found, advice)]
        }
    }
}

/// An error with its causes, each once.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

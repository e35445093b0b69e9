//! `subledger sandbox`: the simulated WeChat alone.

use std::process::ExitCode;

use anyhow::Context;
use subledger_sandbox::SandboxConfig;
use tokio::net::TcpListener;

use super::serve::interrupted;
use crate::cli::Sandbox;

pub(super) async fn run(sandbox: Sandbox) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(&sandbox.listen)
        .await
        .with_context(|| format!("cannot listen on {}", sandbox.listen))?;
    let address = listener.local_addr()?;
    println!("Simulated WeChat at http://{address}");
    println!("Control API: curl http://{address}/sandbox");
    println!("Point the service at it: SUBLEDGER_WECHAT_BASE_URL=http://{address} subledger serve");
    let reality = sandbox.profile.reality();
    let config = SandboxConfig { seed: sandbox.seed, reality, ..SandboxConfig::default() };
    subledger_sandbox::Sandbox::new(config).serve(listener, interrupted()).await?;
    Ok(ExitCode::SUCCESS)
}

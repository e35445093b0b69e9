//! `subledger admin`: keys and settings.

use std::process::ExitCode;

use anyhow::Context;
use secrecy::ExposeSecret;
use subledger_store::MasterKey;

use crate::{cli::Admin, settings};

pub(super) fn run(admin: &Admin) -> anyhow::Result<ExitCode> {
    match admin {
        Admin::MasterKey => println!("{}", MasterKey::generate().encode().expose_secret()),
        Admin::Settings => print!("{}", settings::DEFAULTS),
        Admin::Openapi => {
            let document = subledger_http::openapi().to_pretty_json();
            println!("{}", document.context("the OpenAPI document could not be written")?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

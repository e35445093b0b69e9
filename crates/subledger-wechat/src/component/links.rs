//! The pages at WeChat where an administrator authorizes the platform.
//!
//! On a computer WeChat shows a QR code of its own to scan; on a phone the other page asks directly and must be opened inside
//! WeChat. WeChat adds `auth_code` and `expires_in` to the redirect URL and sends nothing else along, so whoever wants to
//! know which authorization came back puts a state into the URL (§9.4). WeChat shows the pages only to visitors that come
//! from a page of the platform's registered domain (it looks at the Referer).

use std::fmt;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// Host of the page for computers.
pub const PC_BASE_URL: &str = "https://mp.weixin.qq.com";
/// Host of the page for phones. An older one of the same shape was `mp.weixin.qq.com` (§14.28).
pub const H5_BASE_URL: &str = "https://open.weixin.qq.com";

/// The kind of account to offer: Mini Programs only.
const AUTH_TYPE: &str = "2";

/// Why no link can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// A host is not an `http(s)` URL, or has a query, a fragment or user info.
    #[error(
        "the base URL of an authorization page must be an http or https URL without query, fragment or user info"
    )]
    BaseUrl,
    /// The redirect URL is not an absolute `http(s)` URL.
    #[error("the redirect URL must be an absolute http or https URL")]
    RedirectUrl,
}

/// Where the pages are.
#[derive(Debug, Clone)]
pub struct AuthorizationPages {
    pc: Url,
    h5: Url,
}

/// What a link is to say.
#[derive(Debug, Clone, Copy)]
pub struct LinkRequest<'a> {
    /// The platform.
    pub component_appid: &'a str,
    /// The code of this one authorization.
    pub pre_auth_code: &'a SecretString,
    /// Where WeChat sends the browser afterwards.
    pub redirect_url: &'a str,
    /// The one account that may authorize; whoever administers several is not asked which.
    pub appid: Option<&'a str>,
    /// The permission sets to offer. Empty: all that the platform has published. Only the page for computers knows this.
    pub sets: &'a [i64],
}

/// The two links of one authorization.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationLinks {
    /// For computers: shows WeChat's own QR code.
    pub pc: String,
    /// For phones, to be opened inside WeChat; also what to make a QR code of.
    pub h5: String,
}

impl fmt::Debug for AuthorizationLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationLinks").finish_non_exhaustive()
    }
}

impl AuthorizationPages {
    /// The pages at these hosts: WeChat's own are [`PC_BASE_URL`] and [`H5_BASE_URL`].
    ///
    /// # Errors
    /// [`LinkFault::BaseUrl`]
    pub fn new(pc_base_url: &str, h5_base_url: &str) -> Result<Self, LinkFault> {
        Ok(Self { pc: base(pc_base_url)?, h5: base(h5_base_url)? })
    }

    /// The links of one authorization.
    ///
    /// # Errors
    /// [`LinkFault::RedirectUrl`]
    pub fn links(&self, request: LinkRequest<'_>) -> Result<AuthorizationLinks, LinkFault> {
        let redirect = Url::parse(request.redirect_url).map_err(|_| LinkFault::RedirectUrl)?;
        is_web(&redirect).ok_or(LinkFault::RedirectUrl)?;
        let mut pc = page(&self.pc, "/cgi-bin/componentloginpage");
        append(&mut pc, request, &redirect);
        if !request.sets.is_empty() {
            let sets: Vec<String> = request.sets.iter().map(i64::to_string).collect();
            pc.query_pairs_mut().append_pair("category_id_list", &sets.join("|"));
        }

        let mut h5 = page(&self.h5, "/wxaopen/safe/bindcomponent");
        h5.query_pairs_mut().extend_pairs([("action", "bindcomponent"), ("no_scan", "1")]);
        append(&mut h5, request, &redirect);
        h5.set_fragment(Some("wechat_redirect"));
        Ok(AuthorizationLinks { pc: pc.into(), h5: h5.into() })
    }
}

/// The redirect URL goes in as it was normalised, without spaces: not everybody who reads a query takes `+` for one.
fn append(page: &mut Url, request: LinkRequest<'_>, redirect: &Url) {
    let mut query = page.query_pairs_mut();
    query.extend_pairs([
        ("component_appid", request.component_appid),
        ("pre_auth_code", request.pre_auth_code.expose_secret()),
        ("redirect_uri", redirect.as_str()),
        ("auth_type", AUTH_TYPE),
    ]);
    if let Some(appid) = request.appid {
        query.append_pair("biz_appid", appid);
    }
}

fn page(base: &Url, path: &str) -> Url {
    let mut page = base.clone();
    page.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    page
}

fn base(text: &str) -> Result<Url, LinkFault> {
    let url = Url::parse(text).map_err(|_| LinkFault::BaseUrl)?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    is_web(&url).filter(|()| plain).map(|()| url).ok_or(LinkFault::BaseUrl)
}

fn is_web(url: &Url) -> Option<()> {
    matches!(url.scheme(), "http" | "https").then_some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request<'a>(code: &'a SecretString, redirect_url: &'a str) -> LinkRequest<'a> {
        LinkRequest {
            component_appid: "wx00000000comp0001",
            pre_auth_code: code,
            redirect_url,
            appid: Some("wx00000000demo0001"),
            sets: &[18, 171],
        }
    }

    #[test]
    fn the_links_are_those_of_the_pages() {
        let code = "preauthcode@@@demo-0001".into();
        let pages = AuthorizationPages::new(PC_BASE_URL, H5_BASE_URL).unwrap();
        let links = pages.links(request(&code, "https://s.example/cb?state=a b")).unwrap();
        assert_eq!(
            links.pc,
            "https://mp.weixin.qq.com/cgi-bin/componentloginpage?component_appid=wx00000000comp0001\
             &pre_auth_code=preauthcode%40%40%40demo-0001&redirect_uri=https%3A%2F%2Fs.example%2Fcb%3Fstate%3Da%2520b\
             &auth_type=2&biz_appid=wx00000000demo0001&category_id_list=18%7C171"
        );
        assert_eq!(
            links.h5,
            "https://open.weixin.qq.com/wxaopen/safe/bindcomponent?action=bindcomponent&no_scan=1\
             &component_appid=wx00000000comp0001&pre_auth_code=preauthcode%40%40%40demo-0001\
             &redirect_uri=https%3A%2F%2Fs.example%2Fcb%3Fstate%3Da%2520b&auth_type=2&biz_appid=wx00000000demo0001\
             #wechat_redirect"
        );
        assert!(!format!("{links:?}").contains("demo-0001"), "a code is not printed");
    }

    #[test]
    fn another_host_and_any_account() {
        let code = "c".into();
        let pages = AuthorizationPages::new("http://127.0.0.1:1/wx/", "http://127.0.0.1:1/wx").unwrap();
        let links = LinkRequest { appid: None, sets: &[], ..request(&code, "http://127.0.0.1:2/") };
        let links = pages.links(links).unwrap();
        assert!(links.pc.starts_with("http://127.0.0.1:1/wx/cgi-bin/componentloginpage?"), "{}", links.pc);
        assert!(links.h5.starts_with("http://127.0.0.1:1/wx/wxaopen/safe/bindcomponent?"), "{}", links.h5);
        assert!(
            ![&links.pc, &links.h5]
                .iter()
                .any(|link| link.contains("biz_appid") || link.contains("category"))
        );
    }

    #[test]
    fn what_is_no_page_makes_no_link() {
        for bad in ["", "mp.weixin.qq.com", "ftp://a/", "http://u@a/", "http://a/?x", "http://a/#x"] {
            assert_eq!(AuthorizationPages::new(bad, H5_BASE_URL).unwrap_err(), LinkFault::BaseUrl, "{bad}");
            assert_eq!(AuthorizationPages::new(PC_BASE_URL, bad).unwrap_err(), LinkFault::BaseUrl, "{bad}");
        }
        let code = "c".into();
        let pages = AuthorizationPages::new(PC_BASE_URL, H5_BASE_URL).unwrap();
        for bad in ["", "/callbacks", "javascript:alert(1)"] {
            assert_eq!(pages.links(request(&code, bad)), Err(LinkFault::RedirectUrl), "{bad}");
        }
    }
}

//! The lab's authority, and what its web servers show: made anew for each lab.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustc_hash::FxHashMap;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::ids::HostId;
use crate::plan::{Certificate, Plan, Web};

/// The certificates of a lab.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority's own, as PEM: what clients are to trust.
    pub(crate) authority: String,
    /// What each web server shows.
    pub(crate) of_hosts: FxHashMap<HostId, Arc<ServerConfig>>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("a certificate can not be made")]
    Make(#[from] rcgen::Error),
    #[error("a certificate can not be used")]
    Use(#[from] rustls::Error),
    #[error("a key can not be used: {0}")]
    Key(&'static str),
}

impl Certificates {
    /// Makes those of a plan; nothing where no server shows one.
    pub(crate) fn new(plan: &Plan) -> Result<Option<Self>, CertificateError> {
        let shown: Vec<_> = plan.webs.iter().filter_map(|web| Some((web, web.certificate?))).collect();
        if shown.is_empty() {
            return Ok(None);
        }
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name("mmn lab authority (simulated)");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2096, 1, 1);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // One key is enough for servers that only play.
        let key = KeyPair::generate()?;
        let mut of_hosts = FxHashMap::default();
        for (web, certificate) in shown {
            let params = params_of(plan, web, certificate)?;
            let made = match certificate {
                Certificate::SelfSigned => params.self_signed(&key)?,
                _ => params.signed_by(&key, &authority)?,
            };
            let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(CertificateError::Key)?;
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![made.der().clone()], secret)?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            of_hosts.insert(web.host, Arc::new(config));
        }
        Ok(Some(Self { authority: authority.pem(), of_hosts }))
    }
}

fn params_of(plan: &Plan, web: &Web, certificate: Certificate) -> Result<CertificateParams, rcgen::Error> {
    let node = &plan.nodes[plan.hosts[web.host].node];
    let names: Vec<String> = match certificate {
        Certificate::WrongName => vec!["another.invalid".to_owned()],
        _ => web.names.iter().map(ToString::to_string).collect(),
    };
    let mut params = CertificateParams::new(names)?;
    if certificate != Certificate::WrongName {
        params.subject_alt_names.extend(node.addresses.iter().map(SanType::IpAddress));
    }
    params.distinguished_name = name(&node.name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match certificate {
        Certificate::Expired => date_time_ymd(2021, 1, 1),
        _ => date_time_ymd(2096, 1, 1),
    };
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

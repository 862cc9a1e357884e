//! The configuration of a connection: the map that `Configuration.to_native/1` makes of a parsed
//! `%Configuration{}`. Every key is there; defaults live in Elixir.

use crate::atoms;
use crate::shared_port;
use crate::terms::{codec, field, host_addresses, kind, list, member, number, optional, strings};
use driver::PortLease;
use engine::config::{Config, Features, Feedback, HeaderExtension, IceTcp, SrtpProfile};
use engine::w3c::{DtlsRole, IceServer, IceTransportPolicy, SdpValidation};
use rustler::{Error, NifResult, Term};
use std::num::NonZeroUsize;

/// What the engine is configured with, and what the mailbox is.
pub struct Decoded {
    /// For the engine.
    pub config: Config,
    /// `{:data, ref, {kind, binary}}` instead of `{:data, ref, binary}`.
    pub data_types: bool,
    /// Packets in one message at most; `None`: a message for each.
    pub rtp_batch_size: Option<NonZeroUsize>,
    /// The UDP port that it shares with others.
    pub udp_mux: Option<PortLease>,
    /// Messages with media or data before more are asked for; `None`: all that come.
    pub credit: Option<u32>,
}

/// The configuration.
///
/// # Errors
/// `BadArg` for a missing key or a value of the wrong type.
pub fn config(term: Term<'_>) -> NifResult<Decoded> {
    let get = |key| field(term, key);
    let boolean = |key| get(key)?.decode::<bool>();
    let config = Config {
        ice_servers: list(get(atoms::ice_servers())?, ice_server)?,
        ice_tls_ca_pem: optional(get(atoms::ice_tls_ca_pem())?, |pem| pem.decode())?,
        ice_transport_policy: ice_transport_policy(get(atoms::ice_transport_policy())?)?,
        host_addresses: optional(get(atoms::host_addresses())?, host_addresses)?,
        ice_ports: list(get(atoms::ice_ports())?, number)?,
        ice_aggressive_nomination: boolean(atoms::ice_aggressive_nomination())?,
        ice_tcp: IceTcp {
            active: field(get(atoms::ice_tcp())?, atoms::active())?.decode()?,
            passive: field(get(atoms::ice_tcp())?, atoms::passive())?.decode()?,
        },
        ice_lite: boolean(atoms::ice_lite())?,
        audio_codecs: list(get(atoms::audio_codecs())?, codec)?,
        video_codecs: list(get(atoms::video_codecs())?, codec)?,
        header_extensions: list(get(atoms::header_extensions())?, |extension| {
            Ok(HeaderExtension {
                kind: optional(field(extension, atoms::kind())?, kind)?,
                uri: field(extension, atoms::uri())?.decode()?,
            })
        })?,
        rtcp_feedbacks: list(get(atoms::rtcp_feedbacks())?, |entry| {
            let (of_kind, message) = entry.decode::<(Term<'_>, Term<'_>)>()?;
            Ok((optional(of_kind, kind)?, feedback(message)?))
        })?,
        features: features(get(atoms::features())?)?,
        dtls_role: optional(get(atoms::dtls_role())?, |role| {
            member(role, DtlsRole::ALL, DtlsRole::as_str)
        })?,
        srtp_profiles: list(get(atoms::srtp_profiles())?, srtp_profile)?,
        sdp_validation: member(
            get(atoms::sdp_validation())?,
            SdpValidation::ALL,
            SdpValidation::as_str,
        )?,
        sctp_max_message_size: get(atoms::sctp_max_message_size())?.decode()?,
        data_buffer_limit: get(atoms::data_buffer_limit())?.decode()?,
        deliver_rtp: boolean(atoms::deliver_rtp())?,
        bandwidth_estimate: boolean(atoms::bandwidth_estimate())?,
        certificate_pem: optional(get(atoms::certificate_pem())?, |pem| pem.decode())?,
    };
    Ok(Decoded {
        config,
        data_types: boolean(atoms::data_types())?,
        credit: optional(get(atoms::credit())?, |credit| credit.decode())?,
        rtp_batch_size: optional(get(atoms::rtp_batch_size())?, |most| {
            NonZeroUsize::new(most.decode()?).ok_or(Error::BadArg)
        })?,
        // The last one: a lease that was taken out is not put back.
        udp_mux: optional(get(atoms::udp_mux())?, shared_port::lease)?,
    })
}

/// One of `ice_servers`.
///
/// # Errors
/// `BadArg` for a missing key or a value of the wrong type.
pub fn ice_server(term: Term<'_>) -> NifResult<IceServer> {
    let text = |key| optional(field(term, key)?, |text| text.decode::<String>());
    Ok(IceServer {
        urls: strings(field(term, atoms::urls())?)?,
        username: text(atoms::username())?.unwrap_or_default(),
        credential: text(atoms::credential())?.unwrap_or_default(),
    })
}

/// `:all` or `:relay`.
///
/// # Errors
/// `BadArg` for anything else.
pub fn ice_transport_policy(term: Term<'_>) -> NifResult<IceTransportPolicy> {
    if atoms::all() == term {
        Ok(IceTransportPolicy::All)
    } else if atoms::relay() == term {
        Ok(IceTransportPolicy::Relay)
    } else {
        Err(Error::BadArg)
    }
}

fn srtp_profile(term: Term<'_>) -> NifResult<SrtpProfile> {
    if atoms::aead_aes_128_gcm() == term {
        Ok(SrtpProfile::AeadAes128Gcm)
    } else if atoms::aes128_cm_hmac_sha1_80() == term {
        Ok(SrtpProfile::Aes128CmHmacSha1_80)
    } else {
        Err(Error::BadArg)
    }
}

fn feedback(term: Term<'_>) -> NifResult<Feedback> {
    const NAMES: [(Feedback, &str); 4] = [
        (Feedback::Nack, "nack"),
        (Feedback::Fir, "fir"),
        (Feedback::Pli, "pli"),
        (Feedback::Twcc, "twcc"),
    ];
    let name = term.atom_to_string()?;
    let known = NAMES.iter().find(|(_, known)| *known == name);
    known.map(|(feedback, _)| *feedback).ok_or(Error::BadArg)
}

fn features(term: Term<'_>) -> NifResult<Features> {
    let on = |feature| field(term, feature)?.decode::<bool>();
    Ok(Features {
        twcc: on(atoms::twcc())?,
        inbound_rtx: on(atoms::inbound_rtx())?,
        outbound_rtx: on(atoms::outbound_rtx())?,
        rtcp_reports: on(atoms::rtcp_reports())?,
    })
}

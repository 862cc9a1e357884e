//! Text to [`Sdp`]. `rtc-sdp` checks the grammar of the lines; the attributes are read here.

use super::sdp::{Extension, Layer, Layers, Media, Msid, RidLine, Sdp, Section, Setup};
use crate::error::Error;
use crate::plan::Fingerprint;
use crate::w3c::{Codec, Direction, Kind};
use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use std::collections::BTreeMap;
use std::io::Cursor;

/// The largest description we read. Real ones stay below 100 kB; the rest is an attack.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The most m-lines we read: BUNDLE over more than this many is no real call, and several
/// algorithms below look each m-line up among all.
pub(super) const MAX_SECTIONS: usize = 512;

/// Values kept of one m-line for each kind of repeated attribute (SSRCs, extensions, rids,
/// candidates, msids, fingerprints). What comes after is ignored.
const MAX_REPEATED: usize = 128;

/// Payload types whose codec needs no `a=rtpmap` (RFC 3551 section 6).
const STATIC_CODECS: [(u8, &str, u32); 3] = [
    (0, "audio/PCMU", 8000),
    (8, "audio/PCMA", 8000),
    (9, "audio/G722", 8000),
];

/// Reads a description.
pub(super) fn parse(text: &str) -> Result<Sdp, Error> {
    if text.len() > MAX_BYTES || m_lines(text) > MAX_SECTIONS || has_stray_control(text) {
        return Err(Error::InvalidSdpSyntax);
    }
    let lines = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
        .map_err(|_| Error::InvalidSdpSyntax)?;
    let mut session = Level::default();
    session.read_all(&lines.attributes);
    let mut sdp = Sdp {
        session_id: lines.origin.session_id,
        version: lines.origin.session_version,
        bundle_groups: Vec::new(),
        ice_lite: lines.attributes.iter().any(|a| a.key == "ice-lite"),
        trickle: session.trickle,
        sections: Vec::with_capacity(lines.media_descriptions.len()),
    };
    for attribute in lines.attributes.iter().filter(|a| a.key == "group") {
        let mut words = value(attribute).split_whitespace();
        if words.next() == Some("BUNDLE") {
            sdp.bundle_groups.push(words.map(str::to_owned).collect());
        }
    }
    for media in &lines.media_descriptions {
        let mut level = session.clone();
        level.own_fingerprints = false;
        level.read_all(&media.attributes);
        sdp.trickle |= level.trickle;
        sdp.sections.push(section(media, level)?);
    }
    Ok(sdp)
}

fn m_lines(text: &str) -> usize {
    text.split('\n')
        .filter(|line| line.starts_with("m="))
        .count()
}

/// Control characters never stand in SDP, but for the line ends (RFC 8866 section 9
/// `byte-string`; narrower here). A lone CR would let one attribute's value smuggle in another
/// line when we write it back.
fn has_stray_control(text: &str) -> bool {
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.peek() == Some(&b'\n') => {}
            b'\n' | b'\t' => {}
            0..=0x1f | 0x7f => return true,
            _ => {}
        }
    }
    false
}

fn value(attribute: &Attribute) -> &str {
    attribute.value.as_deref().unwrap_or_default().trim()
}

/// Attributes that may stand on the session level and then hold for every m-line.
#[derive(Clone, Default)]
struct Level {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprints: Vec<Fingerprint>,
    own_fingerprints: bool,
    setup: Option<Setup>,
    direction: Option<Direction>,
    extensions: Vec<Extension>,
    allow_mixed: bool,
    trickle: bool,
    rtcp_mux: bool,
}

impl Level {
    fn read_all(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            self.read(attribute);
        }
    }

    fn read(&mut self, attribute: &Attribute) {
        let text = value(attribute);
        match attribute.key.as_str() {
            "ice-ufrag" => self.ufrag = Some(text.to_owned()),
            "ice-pwd" => self.pwd = Some(text.to_owned()),
            "fingerprint" => self.read_fingerprint(text),
            "setup" => {
                self.setup = match text {
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    "actpass" => Some(Setup::Actpass),
                    _ => None,
                }
            }
            "sendrecv" => self.direction = Some(Direction::Sendrecv),
            "sendonly" => self.direction = Some(Direction::Sendonly),
            "recvonly" => self.direction = Some(Direction::Recvonly),
            "inactive" => self.direction = Some(Direction::Inactive),
            "extmap" => self.read_extension(text),
            "extmap-allow-mixed" => self.allow_mixed = true,
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "ice-options" => self.trickle |= text.split_whitespace().any(|o| o == "trickle"),
            _ => {}
        }
    }

    /// Media-level fingerprints replace the session's (RFC 8122 section 5).
    fn read_fingerprint(&mut self, text: &str) {
        if !self.own_fingerprints {
            self.own_fingerprints = true;
            self.fingerprints.clear();
        }
        // Whether it is one is for `validate` to say.
        let (algorithm, hash) = text.split_once(' ').unwrap_or((text, ""));
        if self.fingerprints.len() < MAX_REPEATED {
            let fingerprint = Fingerprint {
                algorithm: algorithm.to_ascii_lowercase(),
                value: hash.trim().to_ascii_uppercase(),
            };
            if !self.fingerprints.contains(&fingerprint) {
                self.fingerprints.push(fingerprint);
            }
        }
    }

    fn read_extension(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else {
            return;
        };
        let (number, direction) = match id.split_once('/') {
            Some((number, "sendonly")) => (number, Direction::Sendonly),
            Some((number, "recvonly")) => (number, Direction::Recvonly),
            Some((number, "inactive")) => (number, Direction::Inactive),
            Some((number, _)) => (number, Direction::Sendrecv),
            None => (id, Direction::Sendrecv),
        };
        let Ok(id) = number.parse() else { return };
        if self.extensions.len() < MAX_REPEATED {
            self.extensions.push(Extension {
                id,
                direction,
                uri: uri.to_owned(),
            });
        }
    }
}

fn section(lines: &MediaDescription, level: Level) -> Result<Section, Error> {
    let name = &lines.media_name;
    let media = match name.media.as_str() {
        "audio" => Media::Rtp(Kind::Audio),
        "video" => Media::Rtp(Kind::Video),
        "application" => Media::Application,
        other => Media::Other(other.to_owned()),
    };
    let mut section = Section::empty(media, &name.protos.join("/"));
    section.port = u16::try_from(name.port.value).map_err(|_| Error::InvalidSdpSyntax)?;
    section.formats.clone_from(&name.formats);
    section.ufrag = level.ufrag;
    section.pwd = level.pwd;
    section.fingerprints = level.fingerprints;
    section.setup = level.setup;
    section.direction = level.direction.unwrap_or(Direction::Sendrecv);
    section.extensions = level.extensions;
    section.allow_mixed = level.allow_mixed;
    section.rtcp_mux = level.rtcp_mux;
    for attribute in &lines.attributes {
        read_media_attribute(&mut section, attribute);
    }
    match section.kind() {
        Some(kind) => section.codecs = codecs(kind, &section.formats, &lines.attributes)?,
        None => read_old_sctp_port(&mut section),
    }
    Ok(section)
}

fn read_media_attribute(section: &mut Section, attribute: &Attribute) {
    let text = value(attribute);
    match attribute.key.as_str() {
        "mid" if !text.is_empty() => section.mid = Some(text.to_owned()),
        "bundle-only" => section.bundle_only = true,
        "rtcp-rsize" => section.rtcp_rsize = true,
        "msid" if section.msids.len() < MAX_REPEATED => section.msids.extend(msid(text)),
        "ssrc" => read_ssrc(section, text),
        "ssrc-group" => read_ssrc_group(section, text),
        "rid" if section.rids.len() < MAX_REPEATED => section.rids.extend(rid_line(text)),
        "simulcast" => read_simulcast(section, text),
        "candidate" if section.candidates.len() < MAX_REPEATED => {
            section.candidates.push(format!("candidate:{text}"));
        }
        "end-of-candidates" => section.end_of_candidates = true,
        "sctp-port" => section.sctp_port = text.parse().ok(),
        "max-message-size" => section.max_message_size = text.parse().ok(),
        _ => {}
    }
}

/// `m=application 9 DTLS/SCTP 5000` with `a=sctpmap:5000 webrtc-datachannel 1024`: the form
/// before RFC 8841. The format is the port.
fn read_old_sctp_port(section: &mut Section) {
    if section.protocol == "DTLS/SCTP" && section.sctp_port.is_none() {
        section.sctp_port = section
            .formats
            .first()
            .and_then(|format| format.parse().ok());
    }
}

fn msid(text: &str) -> Option<Msid> {
    let mut words = text.split_whitespace();
    Some(Msid {
        stream: words.next()?.to_owned(),
        track: words.next().map(str::to_owned),
    })
}

fn read_ssrc(section: &mut Section, text: &str) {
    let (number, attribute) = text.split_once(' ').unwrap_or((text, ""));
    let Ok(ssrc) = number.parse::<u32>() else {
        return;
    };
    if section.ssrcs.len() >= MAX_REPEATED && !section.ssrcs.contains_key(&ssrc) {
        return;
    }
    let entry = section.ssrcs.entry(ssrc).or_default();
    match attribute.trim().split_once(':') {
        Some(("cname", cname)) => entry.cname = Some(cname.to_owned()),
        Some(("msid", text)) => entry.msid = msid(text),
        _ => {}
    }
}

fn read_ssrc_group(section: &mut Section, text: &str) {
    let mut words = text.split_whitespace();
    if words.next() != Some("FID") || section.repairs.len() >= MAX_REPEATED {
        return;
    }
    let mut numbers = words.map(str::parse::<u32>);
    if let (Some(Ok(stream)), Some(Ok(repair))) = (numbers.next(), numbers.next())
        && stream != repair
    {
        section.repairs.push((stream, repair));
    }
}

fn rid_line(text: &str) -> Option<RidLine> {
    let mut words = text.splitn(3, ' ');
    let rid = words.next().filter(|rid| is_rid(rid))?;
    let send = match words.next()? {
        "send" => true,
        "recv" => false,
        _ => return None,
    };
    let restrictions = words
        .next()
        .map(|rest| rest.trim().to_owned())
        .filter(|r| !r.is_empty());
    Some(RidLine {
        rid: rid.to_owned(),
        send,
        restrictions,
    })
}

/// `rid-id` (RFC 8851 section 10), at most as long as a header extension carries.
pub(super) fn is_rid(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn read_simulcast(section: &mut Section, text: &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.chunks_exact(2) {
        match pair {
            ["send", list] => section.simulcast_send = layers(list),
            ["recv", list] => section.simulcast_receive = layers(list),
            _ => {}
        }
    }
}

fn layers(list: &str) -> Layers {
    // An early draft wrote `send rid=a;b`; Firefox did until 2019.
    let list = list.strip_prefix("rid=").unwrap_or(list);
    list.split(';')
        .take(MAX_REPEATED)
        .map(|stream| {
            stream
                .split(',')
                .take(MAX_REPEATED)
                .map(|layer| match layer.strip_prefix('~') {
                    Some(rid) => Layer {
                        rid: rid.to_owned(),
                        paused: true,
                    },
                    None => Layer {
                        rid: layer.to_owned(),
                        paused: false,
                    },
                })
                .filter(|layer| is_rid(&layer.rid))
                .collect::<Vec<_>>()
        })
        .filter(|stream| !stream.is_empty())
        .collect()
}

/// Joins `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` in the order of the formats. A format without a
/// codec we could name is left out.
fn codecs(kind: Kind, formats: &[String], attributes: &[Attribute]) -> Result<Vec<Codec>, Error> {
    let mut by_type: BTreeMap<u8, Codec> = BTreeMap::new();
    let mut fmtp: BTreeMap<u8, String> = BTreeMap::new();
    let mut feedback: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    let mut feedback_for_all: Vec<String> = Vec::new();
    for attribute in attributes {
        let Some((format, text)) = value(attribute).split_once(' ') else {
            continue;
        };
        let text = text.trim();
        match (attribute.key.as_str(), payload_type(format)) {
            ("rtpmap", Some(payload_type)) => {
                if let Some(codec) = rtpmap(kind, payload_type, text) {
                    by_type.insert(payload_type, codec);
                }
            }
            ("fmtp", Some(payload_type)) => {
                fmtp.insert(payload_type, text.to_owned());
            }
            ("rtcp-fb", Some(payload_type)) => {
                push_bounded(feedback.entry(payload_type).or_default(), text);
            }
            ("rtcp-fb", None) if format == "*" => push_bounded(&mut feedback_for_all, text),
            _ => {}
        }
    }
    let mut result: Vec<Codec> = Vec::new();
    for format in formats {
        // RTP formats are payload types (RFC 8866 section 5.14).
        let Some(payload_type) = payload_type(format) else {
            return Err(Error::InvalidSdpSyntax);
        };
        let codec = by_type
            .remove(&payload_type)
            .or_else(|| static_codec(kind, payload_type));
        if let Some(mut codec) = codec
            && !result.iter().any(|c| c.payload_type == payload_type)
        {
            codec.fmtp = fmtp.remove(&payload_type);
            codec.feedback = feedback.remove(&payload_type).unwrap_or_default();
            for text in &feedback_for_all {
                push_bounded(&mut codec.feedback, text);
            }
            result.push(codec);
        }
    }
    Ok(result)
}

fn push_bounded(list: &mut Vec<String>, text: &str) {
    if list.len() < MAX_REPEATED && !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

fn payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|payload_type| *payload_type < 128)
}

fn rtpmap(kind: Kind, payload_type: u8, text: &str) -> Option<Codec> {
    let mut parts = text.split('/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock_rate = parts.next()?.trim().parse().ok()?;
    let channels = parts
        .next()
        .and_then(|channels| channels.trim().parse().ok());
    Some(Codec {
        payload_type,
        mime_type: format!("{}/{name}", kind.as_str()),
        clock_rate,
        channels,
        fmtp: None,
        feedback: Vec::new(),
    })
}

fn static_codec(kind: Kind, payload_type: u8) -> Option<Codec> {
    let (_, mime_type, clock_rate) = STATIC_CODECS
        .iter()
        .find(|(pt, ..)| kind == Kind::Audio && *pt == payload_type)?;
    Some(Codec {
        payload_type,
        mime_type: (*mime_type).to_owned(),
        clock_rate: *clock_rate,
        channels: None,
        fmtp: None,
        feedback: Vec::new(),
    })
}

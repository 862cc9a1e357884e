//! [`Sdp`] to text, with attributes in the order that browsers write them.

use super::sdp::{Layers, Media, Sdp, Section, Setup};
use crate::w3c::{Codec, Direction};
use std::fmt::Write;

impl Sdp {
    /// The description as text. `version` stands in the `o=` line alone, so that two texts can
    /// be compared without it.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(512 + 1024 * self.sections.len());
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\n",
            self.session_id, self.version
        )?;
        out.push_str("s=-\r\nt=0 0\r\n");
        for group in &self.bundle_groups {
            write!(out, "a=group:BUNDLE {}\r\n", group.join(" "))?;
        }
        if self.sections.iter().any(|s| s.allow_mixed) {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        if self.ice_lite {
            out.push_str("a=ice-lite\r\n");
        }
        out.push_str("a=msid-semantic: WMS *\r\n");
        for section in &self.sections {
            section.write(out)?;
        }
        Ok(())
    }
}

impl Section {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (media, port) = (self.media.as_str(), self.port);
        write!(
            out,
            "m={media} {port} {} {}\r\n",
            self.protocol,
            self.formats.join(" ")
        )?;
        out.push_str("c=IN IP4 0.0.0.0\r\n");
        if self.is_rejected() {
            return self.write_rejected(out);
        }
        if self.kind().is_some() {
            out.push_str("a=rtcp:9 IN IP4 0.0.0.0\r\n");
        }
        self.write_transport(out)?;
        match self.media {
            Media::Application => self.write_data(out),
            _ => self.write_rtp(out),
        }
    }

    fn write_rejected(&self, out: &mut String) -> std::fmt::Result {
        if let Some(mid) = &self.mid {
            write!(out, "a=mid:{mid}\r\n")?;
        }
        if self.kind().is_some() {
            out.push_str("a=inactive\r\n");
        }
        Ok(())
    }

    fn write_transport(&self, out: &mut String) -> std::fmt::Result {
        if let (Some(ufrag), Some(pwd)) = (&self.ufrag, &self.pwd) {
            write!(
                out,
                "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n"
            )?;
        }
        for fingerprint in &self.fingerprints {
            write!(
                out,
                "a=fingerprint:{} {}\r\n",
                fingerprint.algorithm, fingerprint.value
            )?;
        }
        if let Some(setup) = self.setup {
            write!(out, "a=setup:{}\r\n", setup.as_str())?;
        }
        if let Some(mid) = &self.mid {
            write!(out, "a=mid:{mid}\r\n")?;
        }
        Ok(())
    }

    fn write_data(&self, out: &mut String) -> std::fmt::Result {
        if let Some(port) = self.sctp_port {
            if self.protocol == "DTLS/SCTP" {
                write!(out, "a=sctpmap:{port} webrtc-datachannel 65535\r\n")?;
            } else {
                write!(out, "a=sctp-port:{port}\r\n")?;
            }
        }
        if let Some(size) = self.max_message_size {
            write!(out, "a=max-message-size:{size}\r\n")?;
        }
        Ok(())
    }

    fn write_rtp(&self, out: &mut String) -> std::fmt::Result {
        for extension in &self.extensions {
            write!(out, "a=extmap:{}", extension.id)?;
            if extension.direction != Direction::Sendrecv {
                write!(out, "/{}", extension.direction.as_str())?;
            }
            write!(out, " {}\r\n", extension.uri)?;
        }
        write!(out, "a={}\r\n", self.direction.as_str())?;
        for msid in &self.msids {
            write!(out, "a=msid:{}", msid.stream)?;
            if let Some(track) = &msid.track {
                write!(out, " {track}")?;
            }
            out.push_str("\r\n");
        }
        if self.rtcp_mux {
            out.push_str("a=rtcp-mux\r\n");
        }
        if self.rtcp_rsize {
            out.push_str("a=rtcp-rsize\r\n");
        }
        for codec in &self.codecs {
            write_codec(codec, out)?;
        }
        self.write_simulcast(out)?;
        self.write_ssrcs(out)
    }

    fn write_simulcast(&self, out: &mut String) -> std::fmt::Result {
        for line in &self.rids {
            let direction = if line.send { "send" } else { "recv" };
            write!(out, "a=rid:{} {direction}", line.rid)?;
            if let Some(restrictions) = &line.restrictions {
                write!(out, " {restrictions}")?;
            }
            out.push_str("\r\n");
        }
        let send = (!self.simulcast_send.is_empty()).then_some(("send", &self.simulcast_send));
        let receive =
            (!self.simulcast_receive.is_empty()).then_some(("recv", &self.simulcast_receive));
        if send.is_some() || receive.is_some() {
            let lists: Vec<String> = send
                .into_iter()
                .chain(receive)
                .map(|(word, layers)| format!("{word} {}", layers_text(layers)))
                .collect();
            write!(out, "a=simulcast:{}\r\n", lists.join(" "))?;
        }
        Ok(())
    }

    fn write_ssrcs(&self, out: &mut String) -> std::fmt::Result {
        for (stream, repair) in &self.repairs {
            write!(out, "a=ssrc-group:FID {stream} {repair}\r\n")?;
        }
        // A stream before its repair, as they are grouped; others by number.
        let grouped = self
            .repairs
            .iter()
            .flat_map(|(stream, repair)| [stream, repair]);
        let is_grouped = |ssrc: &u32| self.repairs.iter().any(|(a, b)| a == ssrc || b == ssrc);
        let rest = self.ssrcs.keys().filter(|ssrc| !is_grouped(ssrc));
        for ssrc in grouped.chain(rest) {
            let Some(attributes) = self.ssrcs.get(ssrc) else {
                continue;
            };
            if let Some(cname) = &attributes.cname {
                write!(out, "a=ssrc:{ssrc} cname:{cname}\r\n")?;
            }
            if let Some(msid) = &attributes.msid {
                let track = msid.track.as_deref().unwrap_or_default();
                write!(out, "a=ssrc:{ssrc} msid:{} {track}\r\n", msid.stream)?;
            }
        }
        Ok(())
    }
}

impl Setup {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
        }
    }
}

fn layers_text(layers: &Layers) -> String {
    let streams: Vec<String> = layers
        .iter()
        .map(|alternatives| {
            let names: Vec<String> = alternatives
                .iter()
                .map(|layer| format!("{}{}", if layer.paused { "~" } else { "" }, layer.rid))
                .collect();
            names.join(",")
        })
        .collect();
    streams.join(";")
}

fn write_codec(codec: &Codec, out: &mut String) -> std::fmt::Result {
    let payload_type = codec.payload_type;
    let name = codec
        .mime_type
        .split_once('/')
        .map_or(codec.mime_type.as_str(), |(_, name)| name);
    write!(out, "a=rtpmap:{payload_type} {name}/{}", codec.clock_rate)?;
    // One channel is what RFC 8866 section 6.6 assumes.
    if let Some(channels) = codec.channels.filter(|channels| *channels > 1) {
        write!(out, "/{channels}")?;
    }
    out.push_str("\r\n");
    for feedback in &codec.feedback {
        write!(out, "a=rtcp-fb:{payload_type} {feedback}\r\n")?;
    }
    if let Some(fmtp) = &codec.fmtp {
        write!(out, "a=fmtp:{payload_type} {fmtp}\r\n")?;
    }
    Ok(())
}

//! `inbound_rtp`, `outbound_rtp`, `remote_inbound_rtp`, `remote_outbound_rtp` and `codec`
//! (webrtc-stats). Times are in seconds where webrtc-stats says so, timestamps in ms since 1970.

use super::Dropped;
use super::encoding::{Encoding, RemoteReception};
use super::inbound::Inbound;
use super::outbound::{Outbound, Sender};
use super::receiver::Receiver;
use super::section::Section;
use crate::stats::{StatsEntry, StatsReport};
use crate::w3c::Codec;
use rtc_shared::time::SystemInstant;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Instant;

/// What the entries are written from.
pub(super) struct Source<'a> {
    pub(super) sections: &'a [Section],
    pub(super) inbound: &'a Inbound,
    pub(super) outbound: &'a Outbound,
    pub(super) clock: &'a SystemInstant,
}

/// Fields of one entry; what is not known is left out.
#[derive(Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn set_known<T: Into<Value>>(&mut self, name: &str, value: Option<T>) -> &mut Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }
}

impl Source<'_> {
    pub(super) fn write(&self, report: &mut StatsReport) {
        let mut codecs = BTreeSet::new();
        for (&ssrc, receiver) in &self.inbound.receivers {
            self.received(ssrc, receiver, &mut codecs, report);
        }
        for sender in &self.outbound.senders {
            for encoding in &sender.encodings {
                self.sent(sender, encoding, &mut codecs, report);
            }
        }
    }

    fn received(
        &self,
        ssrc: u32,
        receiver: &Receiver,
        codecs: &mut BTreeSet<String>,
        report: &mut StatsReport,
    ) {
        let Some(section) = self.sections.get(receiver.section) else {
            return;
        };
        let Some(plan) = section.receive() else {
            return;
        };
        let rid = receiver.layer.and_then(|layer| plan.rids.get(layer));
        let codec = receiver
            .codec
            .and_then(|codec| plan.codecs.get(codec.index));
        let counters = &receiver.counters;
        let mut fields = Fields::default();
        fields
            .set("track_identifier", plan.track.0)
            .set("rid", rid.map(|rid| rid.as_str()))
            .set("mid", section.plan.mid.as_str())
            .set("kind", section.plan.kind.as_str())
            .set("ssrc", ssrc)
            .set("transport_id", "transport")
            .set("bytes_received", counters.bytes)
            .set("header_bytes_received", counters.header_bytes)
            .set("packets_received", counters.packets)
            .set("packets_lost", receiver.lost())
            .set("packets_discarded", counters.discarded)
            .set("packets_duplicated", counters.duplicates)
            .set("markers_received", counters.markers)
            .set_known("jitter", receiver.jitter_seconds())
            .set("nack_count", counters.nacks)
            .set("pli_count", counters.plis)
            .set("fir_count", counters.firs)
            .set(
                "last_packet_received_timestamp",
                self.unix_ms(receiver.last_arrival),
            );
        if !plan.rtx.is_empty() {
            // webrtc-stats: without RTX a repair cannot be told from the original.
            fields
                .set("retransmitted_packets_received", counters.repaired_packets)
                .set("retransmitted_bytes_received", counters.repaired_bytes);
        }
        fields.set("codec", codec.map(|codec| codec.mime_type.as_str()));
        if let Some(codec) = codec {
            fields.set("codec_id", codec_entry(section, codec, codecs, report));
        }
        if let Some(reported) = receiver.reported {
            let remote_id = format!("remote_outbound_rtp_{ssrc}");
            fields.set("remote_id", remote_id.as_str());
            let mut remote = Fields::default();
            remote
                .set("transport_id", "transport")
                .set("ssrc", ssrc)
                .set("kind", section.plan.kind.as_str())
                .set("local_id", format!("inbound_rtp_{ssrc}"))
                .set("packets_sent", reported.packets)
                .set("bytes_sent", reported.octets)
                .set("reports_sent", reported.reports)
                .set_known("remote_timestamp", unix_ms_of_ntp(reported.ntp));
            push(report, remote_id, "remote_outbound_rtp", remote);
        }
        push(report, format!("inbound_rtp_{ssrc}"), "inbound_rtp", fields);
    }

    fn sent(
        &self,
        sender: &Sender,
        encoding: &Encoding,
        codecs: &mut BTreeSet<String>,
        report: &mut StatsReport,
    ) {
        let Some(section) = self.sections.get(sender.section) else {
            return;
        };
        let ssrc = encoding.plan.ssrc;
        let counters = &encoding.counters;
        let kind = section.plan.kind.as_str();
        let mut fields = Fields::default();
        fields
            .set_known("track_identifier", sender.plan.track.map(|track| track.0))
            .set_known("rid", encoding.plan.rid.as_ref().map(|rid| rid.as_str()))
            .set("mid", section.plan.mid.as_str())
            .set("kind", kind)
            .set("ssrc", ssrc)
            .set("transport_id", "transport")
            .set("active", sender.active && encoding.plan.active)
            .set("packets_sent", counters.packets)
            .set("bytes_sent", counters.bytes)
            .set("header_bytes_sent", counters.header_bytes)
            .set("markers_sent", counters.markers)
            .set("retransmitted_packets_sent", counters.repair_packets)
            .set("retransmitted_bytes_sent", counters.repair_bytes)
            .set("padding_packets_sent", counters.padding_packets)
            .set("nack_count", counters.nacks)
            .set("pli_count", counters.plis)
            .set("fir_count", counters.firs)
            .set("packets_refused", counters.refused);
        let used = encoding.last.and_then(|last| {
            sender
                .plan
                .codecs
                .iter()
                .find(|codec| codec.payload_type == last.payload_type)
        });
        let codec = used.unwrap_or(&sender.plan.codec);
        let codec_id = codec_entry(section, codec, codecs, report);
        fields.set("codec_id", codec_id.as_str());
        if let Some(remote) = encoding.remote {
            let id = format!("remote_inbound_rtp_{ssrc}");
            fields.set("remote_id", id.as_str());
            let mut entry = remote_reception(&remote, codec);
            entry
                .set("transport_id", "transport")
                .set("ssrc", ssrc)
                .set("kind", kind)
                .set("codec_id", codec_id)
                .set("local_id", format!("outbound_rtp_{ssrc}"));
            push(report, id, "remote_inbound_rtp", entry);
        }
        push(
            report,
            format!("outbound_rtp_{ssrc}"),
            "outbound_rtp",
            fields,
        );
    }

    fn unix_ms(&self, at: Instant) -> u64 {
        self.clock.unix(at).as_millis() as u64
    }
}

fn remote_reception(remote: &RemoteReception, codec: &Codec) -> Fields {
    let mut fields = Fields::default();
    fields
        .set("packets_lost", remote.total_lost)
        .set("fraction_lost", f64::from(remote.fraction_lost) / 256.0)
        .set(
            "jitter",
            f64::from(remote.jitter) / f64::from(codec.clock_rate.max(1)),
        )
        .set_known(
            "round_trip_time",
            remote.round_trip.map(|time| time.as_secs_f64()),
        )
        .set(
            "total_round_trip_time",
            remote.total_round_trip.as_secs_f64(),
        )
        .set("round_trip_time_measurements", remote.round_trips);
    fields
}

/// Adds a codec once and returns its id.
fn codec_entry(
    section: &Section,
    codec: &Codec,
    written: &mut BTreeSet<String>,
    report: &mut StatsReport,
) -> String {
    let id = format!("codec_{}_{}", section.plan.mid, codec.payload_type);
    if written.insert(id.clone()) {
        let mut fields = Fields::default();
        fields
            .set("transport_id", "transport")
            .set("mid", section.plan.mid.as_str())
            .set("payload_type", codec.payload_type)
            .set("mime_type", codec.mime_type.as_str())
            .set("clock_rate", codec.clock_rate)
            .set_known("channels", codec.channels)
            .set_known("sdp_fmtp_line", codec.fmtp.as_deref());
        push(report, id.clone(), "codec", fields);
    }
    id
}

pub(super) fn push(report: &mut StatsReport, id: String, kind: &'static str, fields: Fields) {
    report.entries.push(StatsEntry {
        id,
        kind,
        fields: fields.0,
    });
}

/// An NTP time of the peer's; `None` where it is not a time after 1970.
fn unix_ms_of_ntp(ntp: u64) -> Option<u64> {
    let seconds = (ntp >> 32).checked_sub(2_208_988_800)?;
    Some(seconds * 1000 + (((ntp & 0xffff_ffff) * 1000) >> 32))
}

/// What was dropped before any stream could count it: an entry only where something was.
pub(super) fn write_dropped(
    dropped: &Dropped,
    inbound: &Inbound,
    outbound: &Outbound,
    paced_out: u64,
    report: &mut StatsReport,
) {
    let unrouted = &inbound.unrouted;
    let not_sending = outbound.senders.iter().map(|sender| sender.dropped).sum();
    let counts = [
        ("refused_packets", dropped.refused),
        ("paced_out_packets", paced_out),
        ("not_taken_packets", dropped.not_taken),
        ("malformed_rtp_packets", dropped.malformed_rtp),
        ("malformed_rtcp_packets", dropped.malformed_rtcp),
        ("unrepairable_packets", dropped.unrepairable),
        ("padding_probes", dropped.probes),
        ("refused_rtcp_packets", dropped.refused_rtcp),
        ("unknown_section_packets", unrouted.unknown_section),
        ("unknown_payload_packets", unrouted.unknown_payload),
        ("excess_stream_packets", unrouted.too_many_streams),
        ("unknown_track_packets", outbound.unknown_tracks),
        ("not_sending_packets", not_sending),
        ("forwarded_sender_packets", dropped.forwarded_to),
    ];
    if counts.iter().any(|(_, count)| *count > 0) {
        let mut fields = Fields::default();
        for (name, count) in counts {
            fields.set(name, count);
        }
        push(report, "media_drops".to_owned(), "media_drops", fields);
    }
}

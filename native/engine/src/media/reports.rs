//! RTCP that we send: sender and receiver reports, source descriptions, goodbyes (RFC 3550
//! section 6), NACKs and keyframe requests (RFC 4585, RFC 5104).

use super::PacketWriter;
use super::inbound::Inbound;
use super::outbound::Outbound;
use bytes::Bytes;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::Packet;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc_shared::time::SystemInstant;
use std::time::{Duration, Instant};

/// Time between reports. RFC 3550 section 6.2 allows 360 / kbit/s seconds; browsers send video
/// reports every second.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// The first report comes sooner (RFC 3550 section 6.2), so that the round trip is known early.
pub(super) const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// Streams of ours in one compound, each with a report of 28 bytes and a description of some 24,
/// and blocks on the peer's streams of 24 bytes: both together stay below 1,200 bytes.
const SENDERS_PER_COMPOUND: usize = 8;
const BLOCKS_PER_COMPOUND: usize = 24;
/// Pairs in one NACK packet: 4 bytes each.
const PAIRS_PER_NACK: usize = 200;
/// Who signs RTCP while we send no stream: what browsers use.
const RECEIVER_ONLY_SSRC: u32 = 1;

/// Who our feedback comes from.
pub(super) struct Reporter {
    pub ssrc: u32,
    /// Its canonical name, where feedback must stand in a compound (RFC 3550 section 6.1); `None`
    /// where both sides take it alone (RFC 5506).
    pub in_compound: Option<String>,
}

impl Reporter {
    pub(super) fn new(outbound: &Outbound, reduced_size: bool) -> Self {
        Self {
            ssrc: outbound.any_ssrc().unwrap_or(RECEIVER_ONLY_SSRC),
            in_compound: (!reduced_size).then(|| cname(outbound)),
        }
    }
}

/// What every stream of ours is called; a name must stand there also while there is none.
fn cname(outbound: &Outbound) -> String {
    let sender = outbound.senders.first();
    sender.map_or_else(|| "-".to_owned(), |sender| sender.plan.cname.clone())
}

/// Sends feedback, which must not wait for a report: alone where that was negotiated, else behind
/// an empty report and the name of who sends it (RFC 4585 section 3.1).
pub(super) fn send_feedback(
    reporter: &Reporter,
    feedback: Box<dyn Packet>,
    out: &mut dyn PacketWriter,
) -> bool {
    let Some(name) = &reporter.in_compound else {
        return write(&[feedback], out);
    };
    let report: [Box<dyn Packet>; 1] = [Box::new(receiver_report(reporter.ssrc, Vec::new()))];
    write_described(&report, &[(reporter.ssrc, name)], &[feedback], out)
}

fn receiver_report(ssrc: u32, reports: Vec<ReceptionReport>) -> ReceiverReport {
    ReceiverReport {
        ssrc,
        reports,
        profile_extensions: Bytes::new(),
    }
}

/// Writes packets as they are.
fn write(packets: &[Box<dyn Packet>], out: &mut dyn PacketWriter) -> bool {
    bytes_of(packets).is_some_and(|compound| out.write_rtcp(&compound).is_some())
}

/// The same with a source description behind the reports, before all others.
fn write_described(
    reports: &[Box<dyn Packet>],
    sources: &[(u32, impl AsRef<str>)],
    others: &[Box<dyn Packet>],
    out: &mut dyn PacketWriter,
) -> bool {
    let (Some(reports), Some(others)) = (bytes_of(reports), bytes_of(others)) else {
        return false;
    };
    let compound = [reports.as_ref(), &description(sources), others.as_ref()].concat();
    out.write_rtcp(&compound).is_some()
}

fn bytes_of(packets: &[Box<dyn Packet>]) -> Option<Bytes> {
    if packets.is_empty() {
        return Some(Bytes::new());
    }
    match rtc_rtcp::packet::marshal(packets) {
        Ok(compound) => Some(compound.into()),
        Err(error) => {
            log::debug!("an RTCP packet of ours could not be written: {error}");
            None
        }
    }
}

/// Sends the reports that are due. Streams that were silent since the last ones are left out.
pub(super) fn send_reports(
    now: Instant,
    clock: &SystemInstant,
    inbound: &mut Inbound,
    outbound: &mut Outbound,
    out: &mut dyn PacketWriter,
) {
    let mut blocks = reception_reports(now, inbound);
    let reporter = Reporter::new(outbound, true).ssrc;
    let cname = cname(outbound);
    let mut reports = sender_reports(now, clock, outbound);
    while !reports.is_empty() || !blocks.is_empty() {
        let group = reports.split_off(reports.len().saturating_sub(SENDERS_PER_COMPOUND));
        let block_group = blocks.split_off(blocks.len().saturating_sub(BLOCKS_PER_COMPOUND));
        let mut sources = Vec::new();
        let mut compound: Vec<Box<dyn Packet>> = Vec::new();
        let mut block_group = Some(block_group);
        for (mut report, cname) in group {
            report.reports = block_group.take().unwrap_or_default();
            sources.push((report.ssrc, cname));
            compound.push(Box::new(report));
        }
        if let Some(reports) = block_group {
            sources.push((reporter, cname.clone()));
            compound.push(Box::new(receiver_report(reporter, reports)));
        }
        write_described(&compound, &sources, &[], out);
    }
}

/// The canonical name of each source (RFC 3550 section 6.5). Written here: rtc-rtcp ends a chunk's
/// padding with its length, as a packet's, where only null octets may stand; aiortc then drops the
/// whole compound.
fn description(sources: &[(u32, impl AsRef<str>)]) -> Vec<u8> {
    const SOURCE_DESCRIPTION: u8 = 202;
    const CNAME: u8 = 1;
    // At most 31 sources fit the count.
    let sources = sources.get(..31).unwrap_or(sources);
    let mut packet = vec![0x80 | sources.len() as u8, SOURCE_DESCRIPTION, 0, 0];
    for (ssrc, cname) in sources {
        // An item is at most 255 bytes.
        let name = cname.as_ref().as_bytes();
        let name = name.get(..255).unwrap_or(name);
        packet.extend(ssrc.to_be_bytes());
        packet.extend([CNAME, name.len() as u8]);
        packet.extend(name);
        // One null octet ends the items, more fill the word.
        packet.push(0);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    // RFC 3550 section 6.4.1: in words, less one. 31 chunks of 264 bytes are 2,047.
    let words = (packet.len() / 4 - 1) as u16;
    if let Some(length) = packet.get_mut(2..4) {
        length.copy_from_slice(&words.to_be_bytes());
    }
    packet
}

fn sender_reports(
    now: Instant,
    clock: &SystemInstant,
    outbound: &mut Outbound,
) -> Vec<(SenderReport, String)> {
    let mut reports = Vec::new();
    for sender in &mut outbound.senders {
        for encoding in &mut sender.encodings {
            let Some(last) = encoding.last.filter(|_| encoding.has_news()) else {
                continue;
            };
            let elapsed = now.saturating_duration_since(last.at).as_micros();
            let ticks = elapsed * u128::from(last.clock_rate) / 1_000_000;
            encoding.packets_at_report = encoding.counters.packets;
            encoding.reports += 1;
            let report = SenderReport {
                ssrc: encoding.plan.ssrc,
                ntp_time: clock.ntp(now),
                rtp_time: last.timestamp.wrapping_add(ticks as u32),
                packet_count: encoding.counters.packets as u32,
                octet_count: encoding.counters.bytes as u32,
                reports: Vec::new(),
                profile_extensions: Bytes::new(),
            };
            reports.push((report, sender.plan.cname.clone()));
        }
    }
    reports
}

fn reception_reports(now: Instant, inbound: &mut Inbound) -> Vec<ReceptionReport> {
    let mut reports = Vec::new();
    for (&ssrc, receiver) in &mut inbound.receivers {
        if !receiver.has_news() {
            continue;
        }
        let state = receiver.report();
        let (last_sender_report, delay) = receiver.reported.map_or((0, 0), |reported| {
            // RFC 3550 section 6.4.1: DLSR counts in 1/65536 seconds.
            let since = now.saturating_duration_since(reported.arrived).as_micros();
            (reported.ntp_middle, (since * 65_536 / 1_000_000) as u32)
        });
        reports.push(ReceptionReport {
            ssrc,
            fraction_lost: state.fraction_lost,
            total_lost: state.total_lost,
            last_sequence_number: state.highest,
            jitter: state.jitter,
            last_sender_report,
            delay,
        });
    }
    reports
}

/// Asks for missing packets of a stream (RFC 4585 section 6.2.1).
pub(super) fn send_nack(
    reporter: &Reporter,
    media_ssrc: u32,
    numbers: &[u16],
    out: &mut dyn PacketWriter,
) -> u64 {
    let pairs = nack_pairs_from_sequence_numbers(numbers);
    let mut sent = 0;
    for nacks in pairs.chunks(PAIRS_PER_NACK) {
        let nack = TransportLayerNack {
            sender_ssrc: reporter.ssrc,
            media_ssrc,
            nacks: nacks.to_vec(),
        };
        sent += u64::from(send_feedback(reporter, Box::new(nack), out));
    }
    sent
}

/// RFC 4585 section 6.3.1.
pub(super) fn send_pli(reporter: &Reporter, media_ssrc: u32, out: &mut dyn PacketWriter) -> bool {
    let pli = PictureLossIndication {
        sender_ssrc: reporter.ssrc,
        media_ssrc,
    };
    send_feedback(reporter, Box::new(pli), out)
}

/// RFC 5104 section 4.3.1: the media SSRC stands in the entry only.
pub(super) fn send_fir(
    reporter: &Reporter,
    ssrc: u32,
    sequence_number: u8,
    out: &mut dyn PacketWriter,
) -> bool {
    let fir = vec![FirEntry {
        ssrc,
        sequence_number,
    }];
    let request = FullIntraRequest {
        sender_ssrc: reporter.ssrc,
        media_ssrc: 0,
        fir,
    };
    send_feedback(reporter, Box::new(request), out)
}

/// Says goodbye for every stream that was sent (RFC 3550 section 6.6).
pub(super) fn send_goodbye(outbound: &Outbound, out: &mut dyn PacketWriter) {
    let sent: Vec<(u32, &str)> = outbound
        .senders
        .iter()
        .flat_map(|sender| {
            let used = sender
                .encodings
                .iter()
                .filter(|encoding| encoding.last.is_some());
            used.map(|encoding| (encoding.plan.ssrc, sender.plan.cname.as_str()))
        })
        .collect();
    // 31 fit the count field.
    for sources in sent.chunks(31) {
        let first = sources
            .first()
            .map_or(RECEIVER_ONLY_SSRC, |(ssrc, _)| *ssrc);
        let report = receiver_report(first, Vec::new());
        let goodbye = Goodbye {
            sources: sources.iter().map(|(ssrc, _)| *ssrc).collect(),
            reason: Bytes::new(),
        };
        write_described(&[Box::new(report)], sources, &[Box::new(goodbye)], out);
    }
}

//! Tones (`RTCDTMFSender`, W3C webrtc-pc section 7) as telephone events (RFC 4733).

use crate::ids::SenderId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two packets of one tone: what audio packets are apart, too.
const INTERVAL: Duration = Duration::from_millis(20);

/// What `,` waits (W3C webrtc-pc section 7.2).
const PAUSE: Duration = Duration::from_secs(2);

/// The last packet of a tone is sent this often (RFC 4733 section 2.5.1.4).
const END_PACKETS: u8 = 3;

/// The longest duration that a packet can tell, in ticks (RFC 4733 section 2.3.5).
const MAX_TICKS: u64 = 0xFFFF;

/// -10 dBm0: what telephones send.
const VOLUME: u8 = 10;

/// What is to be played.
#[derive(Clone, Copy, Debug)]
pub struct Tones<'a> {
    /// Any of `0`-`9`, `A`-`D`, `#`, `*`, `,`.
    pub text: &'a str,
    /// How long each one lasts.
    pub duration: Duration,
    /// The silence behind each one.
    pub gap: Duration,
}

/// One packet of a tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TonePacket {
    pub(super) payload: [u8; 4],
    /// The first of its tone.
    pub(super) marker: bool,
    /// RTP ticks between the start of the tone and what the packet's timestamp says.
    pub(super) offset: u32,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before [`Playout::due`].
    Wait,
    /// A tone, or a pause, begins.
    Begins(char),
    /// A packet of the tone that was begun last is to be sent.
    Send(TonePacket),
    /// All was played.
    Ended,
}

#[derive(Debug)]
enum Phase {
    /// The next tone begins then.
    Silence(Instant),
    Tone {
        event: u8,
        began: Instant,
        next: Instant,
        /// Ticks of segments that were sent to their end (RFC 4733 section 2.5.1.3).
        earlier: u64,
        first: bool,
        ends: u8,
    },
}

/// The tones of one sender.
#[derive(Debug)]
pub(super) struct Playout {
    pub(super) sender: SenderId,
    waiting: VecDeque<char>,
    duration: Duration,
    gap: Duration,
    phase: Phase,
}

impl Playout {
    pub(super) fn new(now: Instant, sender: SenderId) -> Self {
        Self {
            sender,
            waiting: VecDeque::new(),
            duration: Duration::ZERO,
            gap: Duration::ZERO,
            phase: Phase::Silence(now),
        }
    }

    /// Replaces what waits; the tone that sounds goes on.
    pub(super) fn replace(&mut self, tones: &Tones<'_>) {
        self.waiting = tones.text.chars().collect();
        self.duration = tones.duration;
        self.gap = tones.gap;
    }

    pub(super) fn due(&self) -> Instant {
        match self.phase {
            Phase::Silence(until) => until,
            Phase::Tone { next, .. } => next,
        }
    }

    /// Does one thing that is due. `clock_rate` is what durations are counted in.
    pub(super) fn step(&mut self, now: Instant, clock_rate: u32) -> Step {
        if self.due() > now {
            return Step::Wait;
        }
        match &mut self.phase {
            Phase::Silence(_) => match self.waiting.pop_front() {
                None => Step::Ended,
                Some(tone) => {
                    self.phase = match event(tone) {
                        None => Phase::Silence(now + PAUSE),
                        Some(event) => Phase::Tone {
                            event,
                            began: now,
                            next: now + INTERVAL,
                            earlier: 0,
                            first: true,
                            ends: 0,
                        },
                    };
                    Step::Begins(tone)
                }
            },
            Phase::Tone {
                event,
                began,
                next,
                earlier,
                first,
                ends,
            } => {
                let elapsed = now.saturating_duration_since(*began).min(self.duration);
                let total = elapsed.as_micros() * u128::from(clock_rate) / 1_000_000;
                let ticks = u64::try_from(total).unwrap_or(MAX_TICKS) - *earlier;
                let whole_segment = ticks > MAX_TICKS;
                let over = elapsed == self.duration && !whole_segment;
                let ticks = ticks.min(MAX_TICKS) as u16;
                let [high, low] = ticks.to_be_bytes();
                let packet = TonePacket {
                    payload: [*event, u8::from(over) << 7 | VOLUME, high, low],
                    marker: std::mem::take(first),
                    offset: *earlier as u32,
                };
                if whole_segment {
                    *earlier += MAX_TICKS;
                    // The rest follows at once.
                } else {
                    *next = (now + INTERVAL)
                        .min((*began + self.duration).max(now + Duration::from_millis(1)));
                }
                if over {
                    *ends += 1;
                    *next = now + INTERVAL;
                    if *ends >= END_PACKETS {
                        self.phase = Phase::Silence(*began + self.duration + self.gap);
                    }
                }
                Step::Send(packet)
            }
        }
    }
}

/// RFC 4733 section 3.2, table 3; `None` for a pause.
fn event(tone: char) -> Option<u8> {
    match tone {
        '0'..='9' => tone.to_digit(10).and_then(|digit| u8::try_from(digit).ok()),
        '*' => Some(10),
        '#' => Some(11),
        'A' => Some(12),
        'B' => Some(13),
        'C' => Some(14),
        'D' => Some(15),
        _ => None,
    }
}

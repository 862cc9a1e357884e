//! ICE candidates in and beside descriptions.

use super::RemoteCandidate;
use super::sdp::Sdp;
use super::state::{Description, State};
use crate::error::Error;
use crate::transport::candidate_component as component;
use crate::w3c::{IceCandidateInit, SessionDescription, SignalingState};

/// Remote candidates kept of one connection. Browsers send some ten; each costs a check on every
/// local address, so more is an attack. What comes after is dropped.
const MAX_REMOTE_CANDIDATES: usize = 256;

/// Local candidates kept in descriptions: interfaces times servers, generously.
const MAX_LOCAL_CANDIDATES: usize = 512;

/// The longest candidate attribute. A host name has 253 characters; the rest fits well.
const MAX_ATTRIBUTE: usize = 1024;

/// Candidates that came apart from the descriptions they belong to.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    local: Vec<(String, String)>,
    local_complete: Vec<String>,
    remote: Vec<Remote>,
    remote_complete: Vec<(usize, String)>,
    unclaimed: Vec<RemoteCandidate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    line: usize,
    ufrag: String,
    attribute: String,
}

impl Candidates {
    pub fn take_unclaimed(&mut self) -> Vec<RemoteCandidate> {
        std::mem::take(&mut self.unclaimed)
    }

    /// Forgets remote generations that no description names any more.
    pub fn keep_remote(&mut self, ufrags: &[String]) {
        self.remote.retain(|c| ufrags.contains(&c.ufrag));
        self.remote_complete
            .retain(|(_, ufrag)| ufrags.contains(ufrag));
    }

    /// Forgets the local generations before this one.
    pub fn keep_local(&mut self, ufrag: &str) {
        self.local.retain(|(of, _)| of == ufrag);
        self.local_complete.retain(|of| of == ufrag);
    }

    /// Takes the candidates that stand in a remote description.
    pub fn take_from(&mut self, sdp: &Sdp) {
        let Some(tagged) = sdp.tagged() else { return };
        let generation = sdp.sections.get(tagged).and_then(|s| s.ufrag.clone());
        for (index, section) in sdp.sections.iter().enumerate() {
            // Bundled m-lines of one generation share the transport; where the peer still keeps
            // one for each m-line, only the tagged one's is ours.
            if !sdp.is_bundled(index) || section.is_rejected() {
                continue;
            }
            if section.ufrag.is_some() && section.ufrag != generation {
                continue;
            }
            for attribute in &section.candidates {
                let candidate = RemoteCandidate {
                    attribute: attribute.clone(),
                    ufrag: generation.clone(),
                };
                if self.unclaimed.len() < MAX_REMOTE_CANDIDATES
                    && attribute.len() <= MAX_ATTRIBUTE
                    && component(attribute) == Some(1)
                    && !self.unclaimed.contains(&candidate)
                {
                    self.unclaimed.push(candidate);
                }
            }
        }
    }
}

/// The attribute of `addIceCandidate`, which callers pass with and without `a=`.
fn normalized(candidate: &str) -> Result<String, Error> {
    let text = candidate.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    if text.len() > MAX_ATTRIBUTE || text.bytes().any(|b| b.is_ascii_control()) {
        return Err(Error::InvalidCandidate);
    }
    Ok(if text.starts_with("candidate:") {
        text.to_owned()
    } else {
        format!("candidate:{text}")
    })
}

/// `ufrag` as an extension attribute of the candidate, as Chromium writes it.
fn own_ufrag(attribute: &str) -> Option<&str> {
    let mut words = attribute.split(' ').skip_while(|word| *word != "ufrag");
    words.next()?;
    words.next()
}

impl State {
    pub fn add_remote_candidate(
        &mut self,
        candidate: Option<IceCandidateInit>,
    ) -> Result<Option<RemoteCandidate>, Error> {
        if self.signaling == SignalingState::Closed {
            return Err(Error::InvalidState);
        }
        let description = self.remote().ok_or(Error::NoRemoteDescription)?.clone();
        let Some(candidate) = candidate else {
            self.end_of_remote_candidates(&description, None, None);
            return Ok(None);
        };
        let line = line_of(&description.sdp, &candidate)?;
        let ufrag = candidate
            .username_fragment
            .as_deref()
            .filter(|ufrag| !ufrag.is_empty());
        let ufrag = match ufrag {
            Some(ufrag) if self.remote_generation(line, ufrag) => Some(ufrag.to_owned()),
            Some(_) => return Err(Error::InvalidCandidate),
            None => None,
        };
        if candidate.candidate.trim().is_empty() {
            self.end_of_remote_candidates(&description, line, ufrag);
            return Ok(None);
        }
        let attribute = normalized(&candidate.candidate)?;
        let component = component(&attribute).ok_or(Error::InvalidCandidate)?;
        let Some(line) = line.or_else(|| description.sdp.tagged()) else {
            return Ok(None);
        };
        let Some(section) = description.sdp.sections.get(line) else {
            return Ok(None);
        };
        let generation = ufrag
            .or_else(|| own_ufrag(&attribute).map(str::to_owned))
            .or_else(|| section.ufrag.clone())
            .or_else(|| tagged_ufrag(&description.sdp));
        // RTCP rides with RTP, so component 2 has no transport; nor has a refused m-line.
        let carries = !section.is_rejected() && description.sdp.is_bundled(line) && component == 1;
        // A transport of another m-line's, which BUNDLE does away with.
        let foreign = section.ufrag.is_some()
            && section.ufrag == generation
            && generation != tagged_ufrag(&description.sdp);
        if !carries || foreign || self.candidates.remote.len() >= MAX_REMOTE_CANDIDATES {
            return Ok(None);
        }
        let remote = Remote {
            line,
            ufrag: generation.clone().unwrap_or_default(),
            attribute: attribute.clone(),
        };
        if !self.candidates.remote.contains(&remote) {
            self.candidates.remote.push(remote);
        }
        Ok(Some(RemoteCandidate {
            attribute,
            ufrag: generation,
        }))
    }

    fn end_of_remote_candidates(
        &mut self,
        description: &Description,
        line: Option<usize>,
        ufrag: Option<String>,
    ) {
        let Some(line) = line.or_else(|| description.sdp.tagged()) else {
            return;
        };
        let ufrag = ufrag
            .or_else(|| tagged_ufrag(&description.sdp))
            .unwrap_or_default();
        let entry = (line, ufrag);
        if self.candidates.remote_complete.len() < MAX_REMOTE_CANDIDATES
            && !self.candidates.remote_complete.contains(&entry)
        {
            self.candidates.remote_complete.push(entry);
        }
    }

    /// Whether an applied remote description has this user name fragment.
    fn remote_generation(&self, line: Option<usize>, ufrag: &str) -> bool {
        let descriptions = [&self.pending_remote, &self.current_remote];
        descriptions.into_iter().flatten().any(|description| {
            let section = line.and_then(|line| description.sdp.sections.get(line));
            section.is_some_and(|s| s.ufrag.as_deref() == Some(ufrag))
                || tagged_ufrag(&description.sdp).as_deref() == Some(ufrag)
        })
    }

    pub fn add_local_candidate(&mut self, attribute: &str) -> Option<IceCandidateInit> {
        if self.signaling == SignalingState::Closed {
            return None;
        }
        let ufrag = self.exchange.local.as_ref()?.ufrag.clone();
        let sdp = &self.local()?.sdp;
        let line = sdp.tagged()?;
        let mid = sdp.sections.get(line)?.mid.clone();
        let attribute = normalized(attribute).ok()?;
        let entry = (ufrag.clone(), attribute.clone());
        if self.candidates.local.contains(&entry)
            || self.candidates.local.len() >= MAX_LOCAL_CANDIDATES
        {
            return None;
        }
        self.candidates.local.push(entry);
        Some(IceCandidateInit {
            candidate: attribute,
            sdp_mid: mid,
            sdp_mline_index: u16::try_from(line).ok(),
            username_fragment: Some(ufrag),
            url: None,
        })
    }

    pub fn end_of_local_candidates(&mut self) {
        if let Some(local) = &self.exchange.local
            && !self.candidates.local_complete.contains(&local.ufrag)
        {
            self.candidates.local_complete.push(local.ufrag.clone());
        }
    }

    /// Whether both sides have told all candidates of the generation in force. A peer that does
    /// not trickle has told them in its description (RFC 8838 section 4.1).
    pub fn all_candidates_known(&self) -> bool {
        let (Some(local), Some(remote)) = (&self.exchange.local, self.remote()) else {
            return false;
        };
        let sdp = &remote.sdp;
        let Some(ufrag) = tagged_ufrag(sdp) else {
            return false;
        };
        let told = || {
            let in_description = sdp
                .tagged()
                .and_then(|line| sdp.sections.get(line))
                .is_some_and(|section| section.end_of_candidates);
            let mut since = self.candidates.remote_complete.iter();
            in_description || since.any(|(_, of)| *of == ufrag)
        };
        self.candidates.local_complete.contains(&local.ufrag) && (!sdp.trickle || told())
    }

    /// A local description with the candidates gathered for it, on the first bundled m-line
    /// (RFC 9429 section 5.2.1).
    pub fn local_text(&self, description: &Description) -> SessionDescription {
        let mut additions = Vec::new();
        if let Some(line) = description.sdp.tagged()
            && let Some(section) = description.sdp.sections.get(line)
            && let Some(ufrag) = &section.ufrag
        {
            let candidates = self.candidates.local.iter().filter(|(of, _)| of == ufrag);
            for (_, attribute) in
                candidates.filter(|(_, attribute)| !description.text.contains(attribute.as_str()))
            {
                additions.push((line, format!("a={attribute}\r\n")));
            }
            if self.candidates.local_complete.contains(ufrag)
                && !description.text.contains("a=end-of-candidates")
            {
                additions.push((line, "a=end-of-candidates\r\n".to_owned()));
            }
        }
        with_lines(description, additions)
    }

    /// A remote description with the candidates added to it since.
    pub fn remote_text(&self, description: &Description) -> SessionDescription {
        let sdp = &description.sdp;
        let fits = |line: usize, ufrag: &str| {
            let of_line = sdp.sections.get(line).and_then(|s| s.ufrag.as_deref());
            of_line.is_none_or(|of| of == ufrag) || tagged_ufrag(sdp).as_deref() == Some(ufrag)
        };
        let candidates = self.candidates.remote.iter().filter(|c| {
            let known = sdp
                .sections
                .get(c.line)
                .is_some_and(|s| s.candidates.contains(&c.attribute));
            fits(c.line, &c.ufrag) && !known
        });
        let mut additions: Vec<(usize, String)> = candidates
            .map(|c| (c.line, format!("a={}\r\n", c.attribute)))
            .collect();
        for (line, ufrag) in &self.candidates.remote_complete {
            let known = sdp.sections.get(*line).is_some_and(|s| s.end_of_candidates);
            if fits(*line, ufrag) && !known {
                additions.push((*line, "a=end-of-candidates\r\n".to_owned()));
            }
        }
        with_lines(description, additions)
    }
}

fn tagged_ufrag(sdp: &Sdp) -> Option<String> {
    sdp.tagged()
        .and_then(|line| sdp.sections.get(line))
        .and_then(|s| s.ufrag.clone())
}

/// The m-line a candidate names; `None` where it names none, which then means the transport.
fn line_of(sdp: &Sdp, candidate: &IceCandidateInit) -> Result<Option<usize>, Error> {
    if let Some(mid) = &candidate.sdp_mid
        && !mid.is_empty()
    {
        let found = sdp
            .sections
            .iter()
            .position(|s| s.mid.as_ref() == Some(mid));
        return found.map(Some).ok_or(Error::InvalidCandidate);
    }
    match candidate.sdp_mline_index {
        Some(index) if usize::from(index) < sdp.sections.len() => Ok(Some(usize::from(index))),
        Some(_) => Err(Error::InvalidCandidate),
        None => Ok(None),
    }
}

/// The text with lines added at the end of m-lines.
fn with_lines(description: &Description, additions: Vec<(usize, String)>) -> SessionDescription {
    let text = &description.text;
    if additions.is_empty() {
        return SessionDescription {
            sdp_type: description.sdp_type,
            sdp: text.clone(),
        };
    }
    let extra: usize = additions.iter().map(|(_, line)| line.len()).sum();
    let mut sdp = String::with_capacity(text.len() + extra + 2);
    let mut section: Option<usize> = None;
    let add = |section: Option<usize>, sdp: &mut String| {
        if !sdp.is_empty() && !sdp.ends_with('\n') {
            sdp.push_str("\r\n");
        }
        for (_, line) in additions.iter().filter(|(line, _)| Some(*line) == section) {
            sdp.push_str(line);
        }
    };
    for line in text.split_inclusive('\n') {
        if line.starts_with("m=") {
            add(section, &mut sdp);
            section = Some(section.map_or(0, |index| index + 1));
        }
        sdp.push_str(line);
    }
    add(section, &mut sdp);
    SessionDescription {
        sdp_type: description.sdp_type,
        sdp,
    }
}

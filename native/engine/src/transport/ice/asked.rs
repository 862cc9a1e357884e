//! Which check each answer is to: an answer must come back along the path of its check (RFC 8445
//! section 7.2.5.2.1). The agent drops one that does not; here it is counted.

use crate::transport::ice::Path;
use crate::transport::stun::TransactionId;
use std::collections::VecDeque;

/// Checks whose answers are still awaited: a second's worth at the pace that checks are sent at.
const MAX_AWAITED: usize = 512;

/// Pairs that such answers are counted for. One is unusual already.
const MAX_COUNTED: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::transport) struct Asked {
    awaited: VecDeque<(TransactionId, Path)>,
    strayed: Vec<(Path, u64)>,
}

impl Asked {
    /// A check leaves.
    pub(super) fn sent(&mut self, id: TransactionId, path: Path) {
        if self.awaited.len() >= MAX_AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back((id, path));
    }

    /// An authentic answer came; says whether it is one to a check that went this way.
    pub(super) fn answered(&mut self, id: TransactionId, path: Path) -> bool {
        let Some(at) = self.awaited.iter().position(|(sent, _)| *sent == id) else {
            return false;
        };
        let Some((_, asked)) = self.awaited.remove(at) else {
            return false;
        };
        if asked == path {
            return true;
        }
        let known = self.strayed.iter_mut().find(|(known, _)| *known == asked);
        if let Some((_, count)) = known {
            *count += 1;
        } else if self.strayed.len() < MAX_COUNTED {
            self.strayed.push((asked, 1));
        }
        false
    }

    /// How many answers to this pair's checks came along another path.
    pub(super) fn non_symmetric(&self, path: Path) -> u64 {
        let of_path = self.strayed.iter().find(|(known, _)| *known == path);
        of_path.map_or(0, |(_, count)| *count)
    }
}

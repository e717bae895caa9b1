//! Smooth weighted round robin: at each pick every target gains its weight, and the one that has
//! gained most wins and loses the sum. Source: nginx, `ngx_http_upstream_get_peer`.

use projectionist_sdk::policy::{Target, TargetId};

#[derive(Debug, Default)]
pub struct Turns {
    gained: Vec<(TargetId, i64)>,
}

impl Turns {
    /// Picks the one whose turn it is, for a policy that knows no better.
    ///
    /// # Errors
    /// Where there is none.
    pub fn pick(&mut self, eligible: &[Target]) -> Result<TargetId, String> {
        let next = self.next(eligible);
        next.ok_or_else(|| "nobody is eligible".to_owned())
    }

    /// Picks the one whose turn it is, the first on a tie; `None` of none. Those who are not among
    /// the targets neither gain nor lose.
    pub fn next<'a>(&mut self, targets: impl IntoIterator<Item = &'a Target>) -> Option<TargetId> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (place, target) in targets.into_iter().enumerate() {
            let index = self.index(target.id, place);
            let weight = i64::from(target.weight);
            let gained = &mut self.gained[index].1;
            *gained += weight;
            total += weight;
            if best.is_none_or(|(_, most)| *gained > most) {
                best = Some((index, *gained));
            }
        }
        let (index, _) = best?;
        self.gained[index].1 -= total;
        Some(self.gained[index].0)
    }

    /// `place` is where it is found as a rule: targets come in the same order each time.
    fn index(&mut self, id: TargetId, place: usize) -> usize {
        if self
            .gained
            .get(place)
            .is_some_and(|(known, _)| *known == id)
        {
            return place;
        }
        let known = self.gained.iter().position(|(known, _)| *known == id);
        known.unwrap_or_else(|| {
            self.gained.push((id, 0));
            self.gained.len() - 1
        })
    }
}

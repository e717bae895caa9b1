//! The way out of a misspelt name.

/// The candidate that `word` is most likely a misspelling of.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // One slip in three letters; more is another word.
    let slips_max = word.chars().count().div_ceil(3);
    candidates
        .iter()
        .map(|&candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|&(slips, _)| slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Ends a message about an unknown name: the one that was meant, or all there are.
pub(super) fn way_out(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None => format!("known here: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["topics", "store", "plugin"];

        assert_eq!(nearest("topcis", &keys), Some("topics"));
        assert_eq!(nearest("stroes", &keys), Some("store"));
        assert_eq!(nearest("retention", &keys), None);
        assert_eq!(
            way_out("retention", &keys),
            "known here: topics, store, plugin"
        );
    }
}

//! What a configuration may call a field of a document.

/// Fields of every document that the host writes itself.
pub(crate) const RESERVED: [&str; 2] = ["_id", "_m"];

/// Whether documents may have a field of this name, and readers can ask for it.
///
/// # Errors
/// Why not; reads on from the name.
pub fn check_name(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "is empty"
    } else if RESERVED.contains(&name) {
        "belongs to the host"
    } else if name.starts_with('$') {
        "starts with \"$\", which is for MongoDB's operators"
    } else if name.contains('.') {
        "has a dot, which for readers leads into an object"
    } else if name.contains('\0') {
        "has a null in it, which ends a name"
    } else {
        return Ok(());
    };
    Err(format!(
        "cannot name a field of a document, for it {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_document_can_have_is_told() {
        for name in ["", "_id", "_m", "$x", "$", "a.b", "a\0b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "_ids", "id", "a$", "ü", "a b", "__op"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }
}

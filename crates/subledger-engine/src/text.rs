//! The rule for what people type: names and reasons.

use crate::EngineError;

/// Refuses a text that is blank, longer than `limit` characters, or holds control characters, which a terminal or a log
/// would act on.
pub(crate) fn check_text(
    code: &'static str,
    pointer: &str,
    text: &str,
    limit: usize,
) -> Result<(), EngineError> {
    let count = text.trim().chars().count();
    if count == 0 || count > limit || text.chars().any(char::is_control) {
        let rule = format!("must be 1 to {limit} characters without control characters; found {count}");
        return Err(EngineError::field(code, pointer, "text_length", rule));
    }
    Ok(())
}

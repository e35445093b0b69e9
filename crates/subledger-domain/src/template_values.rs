//! WeChat's rules for template values.

//! Java's spelling of patterns, rewritten for the engines.

/// Rewrites what Java and the engine spell differently. Java's classes are ASCII unless asked otherwise.
pub(super) fn rewrite(java: &str) -> String {
    let mut rust = String::with_capacity(java.len() + 16);
    let mut chars = java.chars();
    let mut class_depth = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                None => rust.push('\\'),
                Some('Q') => {
                    let quoted = chars.as_str();
                    let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                    rust.push_str(&regex::escape(literal));
                    chars = rest.chars();
                }
                Some(class @ ('d' | 'w' | 's' | 'h' | 'v')) => {
                    let members = match class {
                        'd' => "0-9",
                        'w' => "A-Za-z0-9_",
                        's' => r" \t\n\x0B\f\r",
                        'h' => r" \t\u{A0}\u{1680}\u{180E}\u{2000}-\u{200A}\u{202F}\u{205F}\u{3000}",
                        _ => r"\n\x0B\f\r\u{85}\u{2028}\u{2029}",
                    };
                    if class_depth > 0 {
                        rust.push_str(members);
                    } else {
                        rust.push_str(&format!("[{members}]"));
                    }
                }
                Some('D') => rust.push_str("[^0-9]"),
                Some('W') => rust.push_str("[^A-Za-z0-9_]"),
                Some('S') => rust.push_str(r"[^ \t\n\x0B\f\r]"),
                Some('Z') => rust.push_str(r"(?:\r?\n)?\z"),
                Some('R') => rust.push_str(r"(?:\r\n|[\n\x0B\f\r\u{85}\u{2028}\u{2029}])"),
                Some('e') => rust.push_str(r"\x1B"),
                Some(c @ ('<' | '>')) => rust.push(c),
                Some(c) if !c.is_ascii() => rust.push(c),
                Some(c) => {
                    rust.push('\\');
                    rust.push(c);
                }
            },
            '[' => {
                class_depth += 1;
                rust.push('[');
                if let Some(rest) = chars.as_str().strip_prefix('^') {
                    rust.push('^');
                    chars = rest.chars();
                }
            }
            ']' if class_depth > 0 => {
                class_depth -= 1;
                rust.push(']');
            }
            // Set operators of the engine that are plain characters in Java.
            '-' | '~' if class_depth > 0 && chars.as_str().starts_with(c) => {
                rust.push('\\');
                rust.push(c);
            }
            c => rust.push(c),
        }
    }
    rust
}

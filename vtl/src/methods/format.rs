//! `String.format`, as far as templates go: `%s %d %f %x %X %c %b %%` with width, precision and flags.

use super::Call;
use crate::error::Eval;
use crate::value::{Number, Value};

/// Widest field and longest fraction.
const MAX_WIDTH: usize = 1000;

impl Call<'_> {
    pub(super) fn format(&mut self) -> Eval<Value> {
        let pattern = self.text(0)?;
        let mut out = String::new();
        let mut next = 1;
        let mut rest = pattern.as_str();
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let flags = rest.len() - rest.trim_start_matches(['-', '0', ',', '+', ' ', '#']).len();
            let (flag, after) = rest.split_at(flags);
            let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (width, after) = after.split_at(digits(after));
            let (precision, after) = match after.strip_prefix('.') {
                Some(after) => after.split_at(digits(after)),
                None => ("", after),
            };
            let mut conversion = after.chars();
            let kind = conversion.next();
            rest = conversion.as_str();
            let argument = self.argument(next).clone();
            let body = match kind {
                Some('%') => "%".to_owned(),
                Some('n') => "\n".to_owned(),
                Some(kind) => {
                    next += 1;
                    self.convert(kind, flag, precision, &argument)?
                }
                None => return Err(self.fails("`%` at the end", "write %% for a percent sign")),
            };
            pad(&mut out, &body, width.parse().unwrap_or(0).min(MAX_WIDTH), flag);
            self.meter.output(out.len())?;
        }
        out.push_str(rest);
        self.made(out)
    }

    fn convert(&mut self, kind: char, flags: &str, precision: &str, argument: &Value) -> Eval<String> {
        let number = Number::of(argument);
        let text = match (kind, number) {
            ('s' | 'S' | 'b' | 'c', _) => {
                let mut text = if argument.is_null() { "null".into() } else { self.printed(argument)?.to_string() };
                if let Ok(length) = precision.parse() {
                    text = text.chars().take(length).collect();
                }
                if kind == 'S' { text.to_uppercase() } else { text }
            }
            ('d', Some(Number::Whole(n, _))) => grouped(&n.to_string(), flags),
            ('x', Some(Number::Whole(n, _))) => format!("{:x}", n as i32),
            ('X', Some(Number::Whole(n, _))) => format!("{:X}", n as i32),
            ('f', Some(number)) => {
                let places = precision.parse().unwrap_or(6).min(MAX_WIDTH);
                grouped(&format!("{:.places$}", number.as_f64()), flags)
            }
            _ => return Err(self.fails(format!("%{kind} does not fit its value"), "use %s, %d, %f or %x")),
        };
        let signed = flags.contains('+') && matches!(kind, 'd' | 'f') && !text.starts_with('-');
        Ok(if signed { format!("+{text}") } else { text })
    }
}

fn grouped(number: &str, flags: &str) -> String {
    if !flags.contains(',') {
        return number.to_owned();
    }
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = sign.to_owned();
    for (nth, digit) in whole.char_indices() {
        if nth > 0 && (whole.len() - nth) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

fn pad(out: &mut String, body: &str, width: usize, flags: &str) {
    let missing = width.saturating_sub(body.chars().count());
    if flags.contains('-') {
        out.push_str(body);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if flags.contains('0') {
        let (sign, digits) = body.strip_prefix('-').map_or(("", body), |digits| ("-", digits));
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(body);
    }
}

//! In which format the bundles of a gateway are written: one that all its proxies read.
//!
//! A proxy reads its own format and the one before; the operator writes its own and the one before. So proxies and
//! operators are renewed in any order, and what is delivered follows what the proxies say of themselves.

/// A proxy of a gateway, and which formats it says that it reads; `None`: it has not said.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Name of the pod.
    pub pod: &'a str,
    /// Ready: it serves. One that does not yet is heeded as far as those that do can be served as well.
    pub ready: bool,
    /// What it reads.
    pub formats: Option<&'a [u32]>,
}

/// What a gateway's bundles may be written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There is a format that all read.
    Write {
        /// New bundles get this one.
        format: u32,
        /// Bundles that are there in one of these stay.
        readable: Vec<u32>,
    },
    /// There is none: nothing is written, with the reason that names the pods.
    Nothing(String),
}

/// Chooses from the formats that can be written, ascending.
pub fn choose(written: &[u32], readers: &[Reader<'_>]) -> Choice {
    let mut readable = written.to_vec();
    let said = |ready: bool| readers.iter().filter(move |reader| reader.ready == ready && reader.formats.is_some());
    for reader in said(true) {
        readable.retain(|format| reads(reader, *format));
    }
    if readable.is_empty() {
        return Choice::Nothing(nothing(written, said(true)));
    }
    for reader in said(false) {
        if readable.iter().any(|format| reads(reader, *format)) {
            readable.retain(|format| reads(reader, *format));
        }
    }
    // Whoever has said nothing may be older than the operator, by one at most.
    let all_said = readers.iter().any(|reader| reader.ready)
        && readers.iter().filter(|reader| reader.ready).all(|reader| reader.formats.is_some());
    let unseen = unseen(written);
    let newest = readable.last().copied().unwrap_or(unseen);
    let format = if all_said || !readable.contains(&unseen) { newest } else { unseen };
    Choice::Write { format, readable }
}

/// The format for readers that nobody can ask, such as sidecars: the one before the newest, if that is still written.
pub fn unseen(written: &[u32]) -> u32 {
    let before = written.len().saturating_sub(2);
    written.get(before).copied().unwrap_or(bundle::FORMAT)
}

impl Choice {
    /// Whether a bundle in this format can stay.
    pub fn reads(&self, format: u32) -> bool {
        match self {
            Self::Write { readable, .. } => readable.contains(&format),
            Self::Nothing(_) => false,
        }
    }
}

fn reads(reader: &Reader<'_>, format: u32) -> bool {
    reader.formats.is_some_and(|formats| formats.contains(&format))
}

fn nothing<'a>(written: &[u32], readers: impl Iterator<Item = &'a Reader<'a>>) -> String {
    let list = |formats: &[u32]| formats.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let readers: Vec<&Reader<'_>> = readers.collect();
    // Those that read nothing of ours are the ones to renew; else they disagree among themselves.
    let strangers: Vec<&Reader<'_>> =
        readers.iter().copied().filter(|reader| !written.iter().any(|format| reads(reader, *format))).collect();
    let told = if strangers.is_empty() { readers } else { strangers };
    let told: Vec<String> = told
        .iter()
        .map(|reader| format!("{} reads {}", reader.pod, list(reader.formats.unwrap_or_default())))
        .collect();
    format!("no format of bundles that is written here ({}) is read by every proxy: {}", list(written), told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(pod: &'a str, ready: bool, formats: Option<&'a [u32]>) -> Reader<'a> {
        Reader { pod, ready, formats }
    }

    fn write(format: u32, readable: &[u32]) -> Choice {
        Choice::Write { format, readable: readable.to_vec() }
    }

    #[test]
    fn the_newest_that_all_read_is_written() {
        let (old, new, next): (&[u32], &[u32], &[u32]) = (&[5, 6], &[6, 7], &[7, 8]);
        for (readers, choice) in [
            (vec![reader("a", true, Some(new)), reader("b", true, Some(new))], write(7, &[6, 7])),
            (vec![reader("a", true, Some(new)), reader("b", true, Some(old))], write(6, &[6])),
            (vec![reader("a", true, Some(new)), reader("b", true, Some(next))], write(7, &[7])),
            // Nobody to ask, or one that has not answered.
            (vec![], write(6, &[6, 7])),
            (vec![reader("a", true, Some(new)), reader("b", true, None)], write(6, &[6, 7])),
            (vec![reader("a", true, Some(next)), reader("b", true, None)], write(7, &[7])),
            // One that starts is heeded, unless nobody could be served then.
            (vec![reader("a", true, Some(new)), reader("b", false, Some(old))], write(6, &[6])),
            (vec![reader("a", true, Some(new)), reader("b", false, Some(&[9]))], write(7, &[6, 7])),
            (vec![reader("b", false, None), reader("a", true, Some(new))], write(7, &[6, 7])),
        ] {
            assert_eq!(choose(&[6, 7], &readers), choice, "{readers:?}");
        }
    }

    #[test]
    fn whoever_stands_in_the_way_is_named() {
        let choice = choose(&[6, 7], &[reader("a", true, Some(&[6, 7])), reader("b", true, Some(&[3, 4]))]);
        let Choice::Nothing(told) = &choice else { panic!("{choice:?}") };
        assert!(told.ends_with("(6, 7) is read by every proxy: b reads 3, 4"), "{told}");
        assert!(!choice.reads(6));
        let choice = choose(&[6, 7], &[reader("a", true, Some(&[5, 6])), reader("b", true, Some(&[7, 8]))]);
        let Choice::Nothing(told) = choice else { panic!("{choice:?}") };
        assert!(told.ends_with("a reads 5, 6; b reads 7, 8"), "{told}");
    }

    #[test]
    fn there_is_one_format_so_far() {
        assert_eq!(choose(&[1], &[]), write(1, &[1]));
        assert_eq!((unseen(&[1]), unseen(&[6, 7])), (1, 6));
        assert_eq!(choose(bundle::WRITTEN, &[reader("a", true, Some(&[bundle::FORMAT]))]), write(1, &[1]));
    }
}

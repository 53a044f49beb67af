//! Documents from text with one sentence in a line.

use std::io::BufRead;

use crate::Error;

/// The token ids of each sentence.
pub type Document = Vec<Vec<u32>>;

/// Reads the published format as a stream: one sentence in a line, a blank line between documents.
///
/// `encode` gives the ids of a sentence without special tokens, [`ClinicalBert::tokens`](crate::ClinicalBert::tokens)
/// for example.
///
/// ```
/// use clinical_bert::pretraining::Documents;
///
/// # fn main() -> Result<(), clinical_bert::Error> {
/// let text = "Admitted with fever .\nBlood cultures were drawn .\n\nNo events overnight .\n";
/// let words = |line: &str| Ok(line.split(' ').map(|word| word.len() as u32).collect());
/// let documents: Vec<_> = Documents::new(text.as_bytes(), words).collect::<Result<_, _>>()?;
/// assert_eq!(documents, [vec![vec![8, 4, 5, 1], vec![5, 8, 4, 5, 1]], vec![vec![2, 6, 9, 1]]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Documents<R, F> {
    lines: std::io::Lines<R>,
    encode: F,
}

impl<R: BufRead, F: FnMut(&str) -> Result<Vec<u32>, Error>> Documents<R, F> {
    /// Documents from `reader`.
    pub fn new(reader: R, encode: F) -> Self {
        Self {
            lines: reader.lines(),
            encode,
        }
    }
}

impl<R: BufRead, F: FnMut(&str) -> Result<Vec<u32>, Error>> Iterator for Documents<R, F> {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut document = Document::new();
        loop {
            let line = match self.lines.next() {
                Some(Ok(line)) => line,
                Some(Err(error)) => return Some(Err(Error::Corpus(error))),
                None => return (!document.is_empty()).then_some(Ok(document)),
            };
            let line = line.trim();
            if line.is_empty() {
                if document.is_empty() {
                    continue;
                }
                return Some(Ok(document));
            }
            match (self.encode)(line) {
                Ok(tokens) if tokens.is_empty() => {}
                Ok(tokens) => document.push(tokens),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_part_documents_and_errors_pass_through() {
        let text = "\n\n a \n\nb\nc\n \n\n".as_bytes();
        let length = |line: &str| Ok(vec![line.len() as u32]);
        let found: Vec<Document> = Documents::new(text, length).map(Result::unwrap).collect();
        assert_eq!(found, [vec![vec![1]], vec![vec![1], vec![1]]]);
        let mut broken = Documents::new(&b"\xff\xfe\n"[..], length);
        assert!(matches!(broken.next(), Some(Err(Error::Corpus(_)))));
        let refuse = |_: &str| Err(Error::Zero { option: "test" });
        assert!(Documents::new(&b"a\n"[..], refuse).next().unwrap().is_err());
    }
}

//! A model of words that learned from a few invented sentences: the next word after the last two.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel, TextDecoder, TextStream};

const SENTENCES: &str = "\
the patient was admitted with chest pain and shortness of breath . the patient was stable overnight . END
the patient was admitted with chest pain and was given aspirin . the chest pain resolved . END
the patient was admitted with fever and cough . chest film showed a right lower lobe pneumonia . END
the patient was admitted with fever and was started on antibiotics . the fever resolved and the cough improved . END
the patient was started on antibiotics for pneumonia . END
the patient was started on heparin and the chest pain improved . END
the patient was given aspirin and was stable . END
the patient was given fluids and the blood pressure improved . END
the patient was discharged home in stable condition . END
the patient was discharged home on antibiotics . END
the patient was discharged to rehabilitation in good condition . END
the blood pressure was stable and the patient was discharged home . END
the cough improved on antibiotics . END
no fever and no cough were noted overnight . END
the patient was seen by cardiology and was started on heparin . END
the patient was seen by physical therapy and was discharged home . END";

/// Word 0 ends an answer.
pub const END: u32 = 0;

/// See the module. Ids are indices in `words`.
pub struct Words {
    words: Arc<[String]>,
    /// How often each word came after the last two, one, or none.
    counts: HashMap<Vec<u32>, Vec<(u32, f32)>>,
    device: Device,
}

impl Words {
    /// Learns from the sentences above.
    pub fn new() -> Self {
        let mut words = vec!["END".to_owned()];
        let mut counts: HashMap<Vec<u32>, Vec<(u32, f32)>> = HashMap::new();
        for line in SENTENCES.lines() {
            let ids: Vec<u32> = line
                .split(' ')
                .map(|word| {
                    let known = words.iter().position(|other| other == word);
                    known.unwrap_or_else(|| {
                        words.push(word.to_owned());
                        words.len() - 1
                    }) as u32
                })
                .collect();
            for (at, &id) in ids.iter().enumerate() {
                for before in 0..=at.min(2) {
                    let next = counts.entry(ids[at - before..at].to_vec()).or_default();
                    match next.iter_mut().find(|(other, _)| *other == id) {
                        Some((_, count)) => *count += 1.0,
                        None => next.push((id, 1.0)),
                    }
                }
            }
        }
        Self {
            words: words.into(),
            counts,
            device: clinical_kernels::cpu(),
        }
    }

    /// The ids of a text of known words.
    pub fn ids(&self, text: &str) -> Vec<u32> {
        text.split_whitespace()
            .map(|word| {
                let place = self.words.iter().position(|known| known == word);
                place.unwrap_or_else(|| panic!("{word:?} is not in the sentences")) as u32
            })
            .collect()
    }

    /// Logarithms of probabilities: two words before count 0.8, one 0.15, the rest is how often a word comes at all.
    fn logits(&self, rows: &[Vec<u32>]) -> Tensor<2> {
        let mut numbers = Vec::with_capacity(rows.len() * self.words.len());
        for row in rows {
            let mut p = vec![1e-4f32; self.words.len()];
            for (before, share) in [(2, 0.8), (1, 0.15), (0, 0.05)] {
                let Some(next) = row
                    .len()
                    .checked_sub(before)
                    .and_then(|at| self.counts.get(&row[at..]))
                else {
                    continue;
                };
                let total: f32 = next.iter().map(|(_, count)| count).sum();
                for &(id, count) in next {
                    p[id as usize] += share * count / total;
                }
            }
            numbers.extend(p.into_iter().map(f32::ln));
        }
        Tensor::from_data(
            TensorData::new(numbers, [rows.len(), self.words.len()]),
            &self.device,
        )
    }
}

impl StepModel for Words {
    type Cache = Vec<Vec<u32>>;

    fn vocabulary(&self) -> usize {
        self.words.len()
    }

    fn max_positions(&self) -> Option<usize> {
        Some(100)
    }

    fn prompt_counts(&self) -> bool {
        true
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        _reserve: usize,
    ) -> Result<(Self::Cache, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, self.words.len())?;
        let rows: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.to_vec()).collect();
        let logits = self.logits(&rows);
        Ok((rows, logits))
    }

    fn step(&self, ids: &[u32], cache: &mut Self::Cache) -> Result<Tensor<2>, ModelError> {
        for (row, &id) in cache.iter_mut().zip(ids) {
            row.push(id);
        }
        Ok(self.logits(cache))
    }

    fn select(&self, cache: &mut Self::Cache, rows: &[usize]) {
        *cache = rows.iter().map(|&row| cache[row].clone()).collect();
    }
}

impl TextDecoder for Words {
    fn stream(&self, _row: usize) -> Box<dyn TextStream> {
        Box::new(Stream(Arc::clone(&self.words)))
    }
}

struct Stream(Arc<[String]>);

impl TextStream for Stream {
    fn push(&mut self, id: u32) -> String {
        format!(" {}", self.0[id as usize])
    }

    fn finish(&mut self) -> String {
        String::new()
    }

    fn fork(&self) -> Box<dyn TextStream> {
        Box::new(Stream(Arc::clone(&self.0)))
    }
}

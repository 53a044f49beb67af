//! Notes that were saved several times.

use std::collections::{HashMap, HashSet};

use super::Timestamp;
use super::mimic_iii::Note;
use crate::Result;

/// The rows of `NOTEEVENTS.csv` that are older versions of another row.
///
/// As published (`preprocessing/dedup_mimic_iii.py` of
/// `elehman16/do-we-still-need-clinical-lms`): of the rows with equal `CHARTTIME`, `SUBJECT_ID`,
/// `CATEGORY` and `CGID`, only the one with the latest `STORETIME` is kept (the first of equals).
/// Groups in which any `CHARTTIME`, `CGID` or `STORETIME` is missing are kept whole, so discharge
/// summaries always are. The published script also reorders the rows; here the file order stays.
///
/// Finding takes one pass and about 100 bytes of memory for each row with a `CHARTTIME`; dropping
/// takes a second pass. See the [module](super) for an example.
#[derive(Debug, Clone, Default)]
pub struct Duplicates {
    rows: HashSet<u64>,
}

type Key = (Timestamp, u64, usize, u64);

struct Group {
    latest: Timestamp,
    row: u64,
    older: Vec<u64>,
    /// A row without `STORETIME` was seen.
    incomplete: bool,
}

impl Duplicates {
    /// Finds the older versions among all notes of a file.
    ///
    /// # Errors
    /// The first error of the notes.
    pub fn find(notes: impl IntoIterator<Item = Result<Note>>) -> Result<Self> {
        let mut categories: HashMap<String, usize> = HashMap::new();
        let mut groups: HashMap<Key, Group> = HashMap::new();
        for note in notes {
            let note = note?;
            let (Some(chart_time), Some(caregiver)) = (note.chart_time, note.caregiver_id) else {
                continue;
            };
            let next = categories.len();
            let category = *categories.entry(note.category).or_insert(next);
            let key = (chart_time, note.subject_id, category, caregiver);
            let time = note.store_time;
            groups
                .entry(key)
                .and_modify(|group| group.add(note.row_id, time))
                .or_insert(Group {
                    // Never read when there is no time, because the group is incomplete.
                    latest: time.unwrap_or(chart_time),
                    row: note.row_id,
                    older: Vec::new(),
                    incomplete: time.is_none(),
                });
        }
        let complete = groups.into_values().filter(|group| !group.incomplete);
        Ok(Self {
            rows: complete.flat_map(|group| group.older).collect(),
        })
    }

    /// Whether the row with this `ROW_ID` is an older version.
    pub fn drops(&self, row_id: u64) -> bool {
        self.rows.contains(&row_id)
    }

    /// How many rows are older versions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is an older version.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Group {
    fn add(&mut self, row: u64, time: Option<Timestamp>) {
        let Some(time) = time else {
            self.incomplete = true;
            return;
        };
        if time > self.latest {
            self.latest = time;
            self.older.push(std::mem::replace(&mut self.row, row));
        } else {
            self.older.push(row);
        }
    }
}

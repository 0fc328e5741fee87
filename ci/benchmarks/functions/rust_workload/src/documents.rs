//! The documents that the workload parses and serialises.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) id: u32,
    pub(crate) title: String,
    pub(crate) author: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) sizes: BTreeMap<String, f64>,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Part {
    Text { text: Cow<'static, str> },
    Image { width: u32, height: u32, alt: Option<String> },
    Table { rows: Vec<Vec<i64>> },
}

/// Generates the same documents every time.
pub(crate) fn generate(count: u32) -> Vec<Document> {
    let mut random = Random(7);
    (0..count).map(|id| document(id, &mut random)).collect()
}

struct Random(u32);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1664525).wrapping_add(1013904223);
        (self.0 >> 8) % bound
    }

    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 8] = ["ka", "lo", "mi", "\u{e9}n", "ru", "st", "\"q", "zh"];
        (0..2 + self.below(3)).map(|_| SYLLABLES[self.below(8) as usize]).collect()
    }

    fn sentence(&mut self) -> String {
        let words: Vec<String> = (0..4 + self.below(9)).map(|_| self.word()).collect();
        words.join(" ")
    }
}

fn document(id: u32, random: &mut Random) -> Document {
    let parts = (0..1 + random.below(3)).map(|_| part(random)).collect();
    Document {
        id,
        title: random.sentence(),
        author: (random.below(3) > 0).then(|| random.word()),
        tags: (0..random.below(5)).map(|_| random.word()).collect(),
        sizes: (0..random.below(4)).map(|i| (random.word(), f64::from(i) / 7.0)).collect(),
        parts,
    }
}

fn part(random: &mut Random) -> Part {
    match random.below(3) {
        0 => Part::Text { text: random.sentence().into() },
        1 => Part::Image {
            width: random.below(4000),
            height: random.below(3000),
            alt: (random.below(2) > 0).then(|| random.sentence()),
        },
        _ => {
            let mut row = || (0..3).map(|_| i64::from(random.below(1 << 20)) - 1000).collect();
            Part::Table { rows: (0..4).map(|_| row()).collect() }
        }
    }
}

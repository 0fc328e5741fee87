//! Stages behind `dyn`, chosen at run time.

use crate::documents::{Document, Part};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

trait Stage {
    /// The processed document, or `None` if the stage drops it.
    fn apply(&mut self, document: Document) -> Option<Document>;
}

/// Iterates in the same order on every platform, because it has no random seed.
type Counts = HashMap<String, u32, BuildHasherDefault<DefaultHasher>>;

struct Capitals;

impl Stage for Capitals {
    fn apply(&mut self, mut document: Document) -> Option<Document> {
        document.title = document.title.split(' ').map(capital).collect::<Vec<_>>().join(" ");
        Some(document)
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

struct Popular(Counts);

impl Stage for Popular {
    fn apply(&mut self, mut document: Document) -> Option<Document> {
        for tag in &document.tags {
            *self.0.entry(tag.clone()).or_default() += 1;
        }
        document.tags.sort_by_key(|tag| std::cmp::Reverse((self.0[tag], tag.clone())));
        document.tags.dedup();
        Some(document)
    }
}

struct Totals;

impl Stage for Totals {
    fn apply(&mut self, mut document: Document) -> Option<Document> {
        for part in &mut document.parts {
            if let Part::Table { rows } = part {
                let total = (0..3).map(|column| rows.iter().map(|row| row[column]).sum()).collect();
                rows.push(total);
            }
        }
        Some(document)
    }
}

struct Without(char);

impl Stage for Without {
    fn apply(&mut self, document: Document) -> Option<Document> {
        let unwanted = document.author.as_ref().is_some_and(|author| author.contains(self.0));
        (!unwanted).then_some(document)
    }
}

fn stage(name: &str) -> Box<dyn Stage> {
    match name {
        "capitals" => Box::new(Capitals),
        "popular" => Box::new(Popular(Counts::default())),
        "totals" => Box::new(Totals),
        _ => Box::new(Without('"')),
    }
}

pub(crate) fn run(documents: Vec<Document>) -> Vec<Document> {
    let mut stages: Vec<Box<dyn Stage>> =
        ["totals", "capitals", "without", "popular"].into_iter().map(stage).collect();
    let through = |document| stages.iter_mut().try_fold(document, |now, stage| stage.apply(now));
    documents.into_iter().filter_map(through).collect()
}

//! What `LoadAwareAutoscaler` documents want, wherever their pods are: from the file that a server reads, or as a cluster shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use plimsoll::spec::{Checked, Spec};

use super::document::{Document, documents};
use super::{ConfigError, Kind, Problem, defined_twice, key, kind, read_limited, read_to_limit};
use crate::board::ObjectKey;
use crate::resource::LoadAwareAutoscaler;

/// What one object wants.
#[derive(Debug)]
pub struct Wish {
    /// As it is written.
    pub spec: Spec,
    /// As it was checked.
    pub checked: Checked,
    pub(super) document: Document,
}

/// What the objects of a file want.
#[derive(Debug)]
pub struct Wishes {
    path: PathBuf,
    /// The objects, in the order of their names.
    pub objects: BTreeMap<ObjectKey, Wish>,
}

impl Wish {
    /// Something that is wrong with a field of it.
    pub(crate) fn problem(&self, field: &str, message: impl fmt::Display) -> Problem {
        self.document.problem(field, message)
    }
}

impl Wishes {
    /// Reads a file, or standard input where it is called `-`. Whatever it says of pods is passed over.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let is_standard_input = path == Path::new("-");
        let text =
            if is_standard_input { read_to_limit(|| Ok(std::io::stdin())) } else { read_limited(path) };
        let objects = text.map_err(|problem| vec![problem]).and_then(|text| parse(&text));
        let path = path.to_owned();
        match objects {
            Ok(objects) => Ok(Self { path, objects }),
            Err(problems) => Err(ConfigError { path, problems }),
        }
    }

    /// The error of objects that are right and cannot be served all the same.
    pub(crate) fn wrong(&self, mut problems: Vec<Problem>) -> ConfigError {
        problems.sort();
        ConfigError { path: self.path.clone(), problems }
    }
}

fn parse(text: &str) -> Result<BTreeMap<ObjectKey, Wish>, Vec<Problem>> {
    let (mut objects, mut problems) = (BTreeMap::new(), Vec::new());
    for document in documents(text).map_err(|problem| vec![problem])? {
        if let Err(more) = add(document, &mut objects) {
            problems.extend(more);
        }
    }
    if problems.is_empty() && objects.is_empty() {
        problems.push(Problem::with_file("has no LoadAwareAutoscaler".into()));
    }
    problems.sort();
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

fn add(document: Document, objects: &mut BTreeMap<ObjectKey, Wish>) -> Result<(), Vec<Problem>> {
    let Kind::LoadAwareAutoscaler = kind(&document)? else { return Ok(()) };
    let (key, wish) = wish(document)?;
    let earlier = objects.insert(key.clone(), wish);
    let twice = earlier.map(|earlier| defined_twice(&earlier.document, &objects[&key].document));
    twice.map_or(Ok(()), Err)
}

/// What a `LoadAwareAutoscaler` wants, and its name.
pub(super) fn wish(document: Document) -> Result<(ObjectKey, Wish), Vec<Problem>> {
    let object: LoadAwareAutoscaler = document.typed()?;
    let key = key(&document, object.metadata.name.unwrap_or_default(), object.metadata.namespace)?;
    let spec = object.spec.0;
    let checked = spec.check().map_err(|invalid| {
        let problem = |v: &plimsoll::spec::Violation| document.problem(&v.field, &v.message);
        invalid.0.iter().map(problem).collect::<Vec<_>>()
    })?;
    Ok((key, Wish { spec, checked, document }))
}

//! One YAML document of a file: its typed content, and in which line each field stands. Each item of a list, as kubectl writes
//! them, is a document of its own.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::Problem;

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    content: Content,
    fields: Spanned<Field>,
}

#[derive(Debug)]
enum Content {
    /// The document's own text, padded so that its lines have the numbers that they have in the file.
    Text(String),
    /// An item of a list.
    Item(serde_json::Value),
}

/// Splits a stream of documents; empty ones are passed over, and lists are taken apart.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Problem> {
    let mut texts = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let begins = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if begins.is_some() {
            texts.push("\n".repeat(number));
        }
        if let Some(document) = texts.last_mut() {
            // A document may begin in the line of its marker.
            document.push_str(begins.map_or(line, str::trim_start));
            document.push('\n');
        }
    }
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let texts = texts.into_iter().filter(|text| !text.lines().all(is_blank));
    let mut documents = Vec::new();
    for text in texts {
        documents.extend(Document::new(text)?.items()?);
    }
    Ok(documents)
}

/// What kubectl writes of several objects.
#[derive(Deserialize)]
struct List {
    items: Vec<serde_json::Value>,
}

impl Document {
    fn new(text: String) -> Result<Self, Problem> {
        let fields = serde_saphyr::from_str(&text).map_err(|error| unreadable(&error))?;
        Ok(Self { content: Content::Text(text), fields })
    }

    /// The items of a list; of all else the document itself.
    fn items(self) -> Result<Vec<Self>, Problem> {
        #[derive(Deserialize)]
        struct Kind {
            kind: Option<String>,
        }

        // What is no list is judged later, and in other words.
        let is_list = self.header().is_ok_and(|Kind { kind }| kind.as_deref() == Some("List"));
        let (Content::Text(text), true) = (&self.content, is_list) else { return Ok(vec![self]) };
        let List { items } = serde_saphyr::from_str(text).map_err(|error| unreadable(&error))?;
        let Field::Map(mut fields) = self.fields.value else { return Ok(Vec::new()) };
        let Some((_, Spanned { value: Field::List(fields), .. })) = fields.remove("items") else {
            return Ok(Vec::new());
        };
        let item = |(value, fields)| Self { content: Content::Item(value), fields };
        Ok(items.into_iter().zip(fields).map(item).collect())
    }

    /// The content as a `T`. Fields that `T` does not know are problems: they are most often misspelt.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let mut unknown = Vec::new();
        let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string().replace(".?", ""));
        let mut track = serde_path_to_error::Track::new();
        let typed = match &self.content {
            Content::Text(text) => serde_saphyr::with_deserializer_from_str(text, |deserializer| {
                serde_ignored::deserialize(
                    serde_path_to_error::Deserializer::new(deserializer, &mut track),
                    note,
                )
            })
            .map_err(|error| unreadable(&error)),
            Content::Item(value) => {
                serde_ignored::deserialize(serde_path_to_error::Deserializer::new(value, &mut track), note)
                    .map_err(|error| Problem { line: None, message: error.to_string() })
            }
        };
        // Which kind of document this is was read before, and nobody writes a status.
        unknown.retain(|field| field != "apiVersion" && field != "kind" && !field.starts_with("status."));
        let mut problems: Vec<Problem> =
            unknown.iter().map(|field| self.problem(field, "there is no such field")).collect();
        match typed {
            Ok(typed) if problems.is_empty() => return Ok(typed),
            Ok(_) => {}
            Err(Problem { line, message }) => {
                let field = track.path().to_string();
                let line = line.unwrap_or_else(|| self.line(&field));
                problems.push(Problem { line: Some(line), message: format!("{field}: {message}") });
            }
        }
        Err(problems)
    }

    /// As much of the content as a `T` asks for.
    pub(super) fn header<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        match &self.content {
            Content::Text(text) => serde_saphyr::from_str(text).map_err(|error| vec![unreadable(&error)]),
            Content::Item(value) => T::deserialize(value).map_err(|error| vec![self.problem("kind", error)]),
        }
    }

    /// Something that is wrong with a field, given as a path such as `spec.load.histogram` or `spec.targets.0`.
    pub(super) fn problem(&self, field: &str, message: impl fmt::Display) -> Problem {
        Problem { line: Some(self.line(field)), message: format!("{field}: {message}") }
    }

    /// The line of a field; if it is not there, of the innermost field around it that is.
    pub(super) fn line(&self, field: &str) -> u64 {
        let mut found = &self.fields;
        let mut line = found.referenced.line();
        for name in field.split('.') {
            let Some((key_line, inner)) = found.value.inner(name) else { break };
            (line, found) = (key_line.unwrap_or(inner.referenced.line()), inner);
        }
        line
    }
}

fn unreadable(error: &serde_saphyr::Error) -> Problem {
    let line = error.location().map(|location| location.line());
    let message = match error.without_snippet() {
        serde_saphyr::Error::InvalidScalar { ty: "f64" | "f32", .. } => "a number was expected".to_owned(),
        serde_saphyr::Error::InvalidScalar { ty, .. } if ty.starts_with(['u', 'i']) => {
            "a whole number was expected".to_owned()
        }
        // The line stands in front of every problem already.
        other => match other.to_string().split(" at line ").next().unwrap_or_default() {
            choice if choice.contains("enum variant") => "exactly one of its fields was expected".to_owned(),
            message => message.to_owned(),
        },
    };
    Problem { line, message }
}

/// A field's inner fields, each with its line.
#[derive(Debug)]
enum Field {
    Map(BTreeMap<String, (u64, Spanned<Field>)>),
    List(Vec<Spanned<Field>>),
    Scalar,
}

impl Field {
    fn inner(&self, name: &str) -> Option<(Option<u64>, &Spanned<Self>)> {
        match self {
            Self::Map(fields) => fields.get(name).map(|(line, field)| (Some(*line), field)),
            Self::List(fields) => name.parse::<usize>().ok().and_then(|i| fields.get(i)).map(|f| (None, f)),
            Self::Scalar => None,
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        macro_rules! scalars {
            ($($visit:ident: $type:ty),*) => {
                $(fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Field, E> {
                    Ok(Field::Scalar)
                })*
            };
        }

        impl<'de> Visitor<'de> for Fields {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML document")
            }

            scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_i128: i128, visit_u128: u128);

            fn visit_unit<E>(self) -> Result<Field, E> {
                Ok(Field::Scalar)
            }

            fn visit_none<E>(self) -> Result<Field, E> {
                Ok(Field::Scalar)
            }

            fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Field, D::Error> {
                IgnoredAny::deserialize(inner).map(|_| Field::Scalar)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = list.next_element()? {
                    fields.push(field);
                }
                Ok(Field::List(fields))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Field>>()? {
                    fields.insert(key.value, (key.referenced.line(), value));
                }
                Ok(Field::Map(fields))
            }
        }

        deserializer.deserialize_any(Fields)
    }
}

//! `--format`: text with `{{.Field}}` and `{{json .Field}}` in it, over a JSON value (pure).
//!
//! The subset of Go's templates that people use with container engines. What it does not know it
//! refuses by name, before anything is printed.

use serde_json::Value;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, form: Form },
}

/// How a value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A string without quotes, anything else as JSON.
    Plain,
    Json,
    Upper,
    Lower,
    /// The number of elements or characters.
    Len,
}

/// Text that is not a template of ours, or names what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("template: no \"}}}}\" after {0:?}")]
    Open(String),
    /// Something else than `.Field` or `json .Field`.
    #[error("template: {0:?} is not understood; use {{{{.Field}}}} or {{{{json .Field}}}}")]
    Unknown(String),
    /// The value has no such field.
    #[error("template: there is no field {field:?}; there are {}", fields.join(", "))]
    NoField {
        /// What was asked for, with its path.
        field: String,
        /// What its parent has.
        fields: Vec<String>,
    },
}

impl Template {
    /// Reads a template. `\t` and `\n` outside of `{{}}` are the characters they name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = vec![];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut parts, before);
            let Some((action, after)) = after.split_once("}}") else {
                return Err(TemplateError::Open(format!("{{{{{after}")));
            };
            parts.push(parse_action(action)?);
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Self { parts })
    }

    /// The first name of each field, for headings.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { path, .. } => path.first().map(String::as_str),
            Part::Text(_) => None,
        })
    }

    /// The text for one value.
    pub fn render(&self, value: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field { path, form } => text.push_str(&form.apply(lookup(value, path)?)),
            }
        }
        Ok(text)
    }
}

impl Form {
    fn apply(self, value: &Value) -> String {
        let plain = || match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self {
            Self::Plain => plain(),
            Self::Json => value.to_string(),
            Self::Upper => plain().to_uppercase(),
            Self::Lower => plain().to_lowercase(),
            Self::Len => match value {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                _ => plain().chars().count(),
            }
            .to_string(),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

fn parse_action(action: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::Unknown(format!("{{{{{action}}}}}"));
    let words: Vec<&str> = action.split_ascii_whitespace().collect();
    let (form, field) = match words[..] {
        [field] => (Form::Plain, field),
        ["json", field] => (Form::Json, field),
        ["upper", field] => (Form::Upper, field),
        ["lower", field] => (Form::Lower, field),
        ["len", field] => (Form::Len, field),
        _ => return Err(unknown()),
    };
    let path = field.strip_prefix('.').ok_or_else(unknown)?;
    let path: Vec<String> =
        if path.is_empty() { vec![] } else { path.split('.').map(str::to_owned).collect() };
    if path.iter().any(|name| name.is_empty() || name.contains(['|', '(', '"'])) {
        return Err(unknown());
    }
    Ok(Part::Field { path, form })
}

fn lookup<'a>(value: &'a Value, path: &[String]) -> Result<&'a Value, TemplateError> {
    let mut found = value;
    for (depth, name) in path.iter().enumerate() {
        found = found.get(name).ok_or_else(|| TemplateError::NoField {
            field: format!(".{}", path[..=depth].join(".")),
            fields: found.as_object().map_or_else(Vec::new, |o| o.keys().cloned().collect()),
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

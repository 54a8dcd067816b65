//! A table from which its reader takes the keys it knows; the rest is refused.

use std::collections::BTreeMap;

use super::error::{FileError, Place};
use super::node::{Node, Value};

/// What is left of a table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    place: Place,
    members: Vec<(String, Node)>,
    /// The keys that were asked for, to name the one that was probably meant.
    known: Vec<&'static str>,
    /// Where each key of the file stands, those that were taken too.
    places: BTreeMap<String, Place>,
}

/// A value that was taken, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

impl Table {
    pub(super) fn of(place: &Place, node: Node) -> Result<Self, FileError> {
        Field { place: place.at(node.line), value: node.value }.table()
    }

    /// Where the table begins.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Where each of its keys stands.
    pub(crate) fn places(&self) -> BTreeMap<String, Place> {
        self.places.clone()
    }

    /// Takes the value of a key; null is as good as absent.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field> {
        self.known.push(key);
        let at = self.members.iter().position(|(name, _)| name == key)?;
        let (_, node) = self.members.remove(at);
        let place = self.place.member(key, node.line);
        (node.value != Value::Null).then_some(Field { place, value: node.value })
    }

    /// As [`Table::take`] for a key that must be there.
    pub(crate) fn required(&mut self, key: &'static str) -> Result<Field, FileError> {
        let missing = self.place.member(key, self.place.line());
        self.take(key).ok_or_else(|| missing.refused("required and not there", "add it"))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, FileError> {
        self.take(key).map(|field| field.text()).transpose()
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, FileError> {
        self.take(key).map(|field| field.boolean()).transpose()
    }

    /// The elements of a list of tables; none when the key is absent.
    pub(crate) fn tables(&mut self, key: &'static str) -> Result<Vec<Self>, FileError> {
        let items = self.take(key).map(Field::list).transpose()?.unwrap_or_default();
        items.into_iter().map(Field::table).collect()
    }

    /// All that is left, whatever its keys.
    pub(crate) fn rest(self) -> Vec<(String, Field)> {
        let place = self.place;
        let field = |(key, node): (String, Node)| {
            let place = place.member(&key, node.line);
            (key, Field { place, value: node.value })
        };
        self.members.into_iter().map(field).collect()
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        let Some((key, node)) = self.members.first() else { return Ok(()) };
        let remedy = match settings::closest(&self.known, key) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("remove it, or use one of: {}", self.known.join(", ")),
        };
        Err(self.place.member(key, node.line).refused("unknown key", remedy))
    }
}

impl Field {
    pub(crate) fn expected(&self, what: &str, remedy: &str) -> FileError {
        let found = self.value.describe();
        self.place.refused(format!("expected {what}, found {found}"), remedy)
    }

    pub(crate) fn text(&self) -> Result<String, FileError> {
        match &self.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.expected("a text", "put it in quotes")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, FileError> {
        match self.value {
            Value::Boolean(truth) => Ok(truth),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => Err(self.expected("true or false", "write the bare word")),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, least: u64, most: u64) -> Result<u64, FileError> {
        let bounds = format!("a whole number from {least} to {most}");
        match self.value {
            Value::Integer(number) => match u64::try_from(number) {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(self
                    .place
                    .refused(format!("expected {bounds}, found {number}"), "change it")),
            },
            _ => Err(self.expected(&bounds, "write it without quotes")),
        }
    }

    pub(crate) fn list(self) -> Result<Vec<Self>, FileError> {
        let Value::List(items) = self.value else {
            return Err(self.expected("a list", "put it in [ ]"));
        };
        let items = items.into_iter().enumerate();
        let item = |(at, node): (usize, Node)| Self {
            place: self.place.element(at, node.line),
            value: node.value,
        };
        Ok(items.map(item).collect())
    }

    pub(crate) fn table(self) -> Result<Table, FileError> {
        match self.value {
            Value::Table(members) => {
                let place = self.place;
                let member =
                    |(key, node): &(String, Node)| (key.clone(), place.member(key, node.line));
                let places = members.iter().map(member).collect();
                Ok(Table { place, members, known: Vec::new(), places })
            }
            _ => Err(self.expected("a table", "write keys and values")),
        }
    }

    /// The elements of a list of texts, or one text alone.
    pub(crate) fn texts(self) -> Result<Vec<(Place, String)>, FileError> {
        if let Value::Text(text) = self.value {
            return Ok(vec![(self.place, text)]);
        }
        let items = self.list()?.into_iter();
        items.map(|item| Ok((item.place.clone(), item.text()?))).collect()
    }
}

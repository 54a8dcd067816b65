//! What all files of sections have in common: reading, creating, changing, deleting.

use serde_json::Value;

use super::super::Call;
use super::super::section_options::Kind;
use super::file::{File, View, text};
use super::lock::locked;
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

/// Privileges of which one lets a caller see a section.
pub(in super::super) const SEEN_WITH: &[&str] = &["SDN.Audit", "SDN.Allocate"];

/// Judges a section before it is written: its id, what it was and what it will be.
type Verify = fn(&Call<'_>, &str, Option<&Fields>, &mut Fields) -> Result<(), Failure>;

/// A file, its types, and the rules of its sections.
pub(super) struct Book {
    pub(super) file: File,
    /// What texts call a section.
    pub(super) noun: &'static str,
    /// Where the rights to its sections are.
    pub(super) rights: &'static str,
    pub(super) kinds: &'static [Kind],
    pub(super) verify: Verify,
    /// Refuses to delete what is in use.
    pub(super) unused: fn(&Call<'_>, &str) -> Result<(), Failure>,
}

impl Book {
    fn kind(&self, name: &str) -> Result<&Kind, Failure> {
        Kind::named(self.kinds, name)
            .ok_or_else(|| Failure::die(format!("unknown section type '{name}'")))
    }
}

pub(super) fn list(call: &mut Call<'_>, book: &Book) -> Outcome {
    let (view, kind) = (View::of(call), call.text("type"));
    let objects = &call.state.objects;
    let right = call.right(SEEN_WITH);
    let sections = book.file.sections(objects, view).into_iter();
    let seen = sections.filter(|(id, _)| right.at(&format!("{}/{id}", book.rights)));
    let wanted = seen.filter(|(_, one)| kind.is_none() || text(one, "type") == kind.as_deref());
    let shown = wanted.map(|(id, one)| Value::Object(book.file.shown(objects, view, &id, one)));
    Ok(shown.collect::<Value>().into())
}

pub(super) fn show(call: &mut Call<'_>, book: &Book) -> Outcome {
    let (view, id) = (View::of(call), call.required(book.file.id));
    let objects = &call.state.objects;
    let found = book.file.sections(objects, view).remove(&id);
    let section = found.ok_or_else(|| book.file.missing(&id))?;
    Ok(Value::Object(book.file.shown(objects, view, &id, section)).into())
}

pub(super) fn create(call: &mut Call<'_>, book: &Book) -> Outcome {
    let id = call.required(book.file.id);
    let mut fields = book.kind(&call.required("type"))?.of_new(call, book.file.id)?;
    locked(call, &format!("create sdn {} object failed", book.noun), |call| {
        if call.state.objects.find(book.file.at, &id).is_some() {
            let text = format!("sdn {} object ID '{id}' already defined", book.noun);
            return Err(Failure::die(text));
        }
        (book.verify)(call, &id, None, &mut fields)?;
        book.file.write(&mut call.state.objects, &id, fields)?;
        Ok(Success::default())
    })
}

pub(super) fn update(call: &mut Call<'_>, book: &Book) -> Outcome {
    let id = call.required(book.file.id);
    locked(call, &format!("update sdn {} object failed", book.noun), |call| {
        call.unmodified(&book.file.digest(&call.state.objects))?;
        let before = book.file.existing(&call.state.objects, &id)?.clone();
        let kind = book.kind(text(&before, "type").unwrap_or_default())?;
        let mut fields = kind.changed(call, book.file.id, &before)?;
        (book.verify)(call, &id, Some(&before), &mut fields)?;
        book.file.write(&mut call.state.objects, &id, fields)?;
        Ok(Success::default())
    })
}

pub(super) fn delete(call: &mut Call<'_>, book: &Book) -> Outcome {
    let id = call.required(book.file.id);
    locked(call, &format!("delete sdn {} object failed", book.noun), |call| {
        book.file.existing(&call.state.objects, &id)?;
        (book.unused)(call, &id)?;
        call.state.objects.remove(book.file.at, &id);
        Ok(Success::default())
    })
}

/// The five methods of a file whose rights the schema's expressions say.
macro_rules! book_rows {
    ($base:literal, $item:literal, $book:path) => {
        &[
            (Verb::Get, $base, |call| sections::list(call, &$book)),
            (Verb::Post, $base, |call| sections::create(call, &$book)),
            (Verb::Get, concat!($base, $item), |call| sections::show(call, &$book)),
            (Verb::Put, concat!($base, $item), |call| sections::update(call, &$book)),
            (Verb::Delete, concat!($base, $item), |call| sections::delete(call, &$book)),
        ]
    };
}
pub(super) use book_rows;

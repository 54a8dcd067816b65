//! `/cluster/sdn/ipams` and `/cluster/sdn/dns`: servers that manage addresses and names. Nothing
//! is asked of them, and changes count at once.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::section_options::Kind;
use super::super::{Call, Row};
use super::file::{DNS, IPAMS, View};
use super::sections::{self, Book, SEEN_WITH, book_rows};
use crate::data::Data;
use crate::failure::{Failure, Outcome};
use crate::state::{Fields, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/ipams", ipams),
    (Verb::Post, "/cluster/sdn/ipams", create_ipam),
    (Verb::Get, "/cluster/sdn/ipams/{ipam}", ipam),
    (Verb::Put, "/cluster/sdn/ipams/{ipam}", |call| sections::update(call, &IPAM_BOOK)),
    (Verb::Delete, "/cluster/sdn/ipams/{ipam}", |call| sections::delete(call, &IPAM_BOOK)),
];
pub(super) const DNS_ROWS: &[Row] = book_rows!("/cluster/sdn/dns", "/{dns}", DNS_BOOK);

const IPAM_BOOK: Book = Book {
    file: IPAMS,
    noun: "ipam",
    rights: "/sdn/ipams",
    kinds: &IPAM_KINDS,
    verify: any,
    unused,
};
const DNS_BOOK: Book =
    Book { file: DNS, noun: "dns", rights: "/sdn/dns", kinds: &DNS_KINDS, verify: any, unused };

const IPAM_KINDS: [Kind; 3] = [
    Kind { name: "pve", required: &[], optional: &[] },
    Kind { name: "netbox", required: &["url", "token"], optional: &["fingerprint"] },
    Kind { name: "phpipam", required: &["url", "token", "section"], optional: &["fingerprint"] },
];
const DNS_KINDS: [Kind; 1] = [Kind {
    name: "powerdns",
    required: &["url", "key"],
    optional: &["ttl", "reversemaskv6", "reversev6mask", "fingerprint"],
}];
/// The one that is always there.
const BUILT_IN: &str = "pve";

pub(super) fn knows_ipam(objects: &Objects, id: &str) -> bool {
    id == BUILT_IN || objects.find(IPAMS.at, id).is_some()
}

fn any(
    _call: &Call<'_>,
    _id: &str,
    _before: Option<&Fields>,
    _after: &mut Fields,
) -> Result<(), Failure> {
    Ok(())
}

/// A genuine cluster lets go of one that a zone names.
fn unused(_call: &Call<'_>, _id: &str) -> Result<(), Failure> {
    Ok(())
}

fn built_in(objects: &Objects) -> Value {
    let section = Fields::from_iter([("type".to_owned(), json!(BUILT_IN))]);
    Value::Object(IPAMS.shown(objects, View::Configured, BUILT_IN, section))
}

fn ipams(call: &mut Call<'_>) -> Outcome {
    let mut answer = sections::list(call, &IPAM_BOOK)?;
    let wanted = call.text("type").is_none_or(|kind| kind == BUILT_IN);
    let seen = call.may(&format!("/sdn/ipams/{BUILT_IN}"), SEEN_WITH);
    if let Data::Value(Value::Array(rows)) = &mut answer.data
        && wanted
        && seen
    {
        let at = rows.partition_point(|row| row["ipam"].as_str() < Some(BUILT_IN));
        rows.insert(at, built_in(&call.state.objects));
    }
    Ok(answer)
}

fn ipam(call: &mut Call<'_>) -> Outcome {
    match call.required("ipam").as_str() {
        BUILT_IN => Ok(built_in(&call.state.objects).into()),
        _ => sections::show(call, &IPAM_BOOK),
    }
}

fn create_ipam(call: &mut Call<'_>) -> Outcome {
    if call.required("ipam") == BUILT_IN {
        let text = "create sdn ipam object failed: sdn ipam object ID 'pve' already defined";
        return Err(Failure::die(text));
    }
    sections::create(call, &IPAM_BOOK)
}

//! Answers of the API for people.

use serde_json::{Map, Value};

/// Members that say which thing a row is: they come first, in this order.
const FIRST: [&str; 12] = [
    "vmid", "node", "storage", "poolid", "userid", "groupid", "roleid", "id", "name", "subdir",
    "type", "status",
];
/// Characters of one cell; longer texts end in an ellipsis.
const CELL: usize = 60;

/// A list of objects as a table, an object as two columns, anything else as its text.
pub(crate) fn render(data: &Value) -> String {
    match data {
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            let objects: Vec<&Map<String, Value>> =
                rows.iter().filter_map(Value::as_object).collect();
            let columns = columns(&objects);
            let mut cells = vec![columns.iter().map(|name| (*name).to_owned()).collect()];
            cells.extend(objects.iter().map(|row| {
                columns.iter().map(|name| row.get(*name).map_or_else(String::new, cell)).collect()
            }));
            align(&cells)
        }
        Value::Array(rows) => rows.iter().map(cell).collect::<Vec<_>>().join("\n"),
        Value::Object(object) => {
            let cells: Vec<Vec<String>> =
                object.iter().map(|(name, value)| vec![name.clone(), cell(value)]).collect();
            align(&cells)
        }
        Value::Null => "done".to_owned(),
        other => cell(other),
    }
}

/// The name of each entry of a list, one a line.
pub(crate) fn names(data: &Value) -> String {
    let name = |entry: &Value| {
        let found = FIRST.iter().find_map(|name| entry.get(*name));
        cell(found.unwrap_or(entry))
    };
    match data {
        Value::Array(entries) => entries.iter().map(name).collect::<Vec<_>>().join("\n"),
        other => render(other),
    }
}

fn columns<'r>(rows: &[&'r Map<String, Value>]) -> Vec<&'r str> {
    let mut names: Vec<&str> = rows.iter().flat_map(|row| row.keys()).map(String::as_str).collect();
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    names.sort_by_key(|name| (rank(name), *name));
    names.dedup();
    names
}

/// One line without control characters: what a server sends must not steer a terminal.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CELL + 1).collect();
    if shown.chars().count() > CELL {
        shown = shown.chars().take(CELL - 1).chain(['…']).collect();
    }
    shown
}

fn align(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_of_objects_is_a_table() {
        let nodes = json!([
            { "cpu": 0.5, "node": "pve1", "status": "online" },
            { "node": "pve2-long", "status": "unknown" },
        ]);
        let expected = "node       status   cpu\npve1       online   0.5\npve2-long  unknown";
        assert_eq!(render(&nodes), expected);
        assert_eq!(names(&nodes), "pve1\npve2-long");
    }

    #[test]
    fn an_object_is_two_columns_and_null_is_done() {
        assert_eq!(render(&json!({ "release": "9.2", "v": 1 })), "release  9.2\nv        1");
        assert_eq!(render(&Value::Null), "done");
    }

    #[test]
    fn a_cell_can_not_steer_the_terminal() {
        assert_eq!(render(&json!("a\u{1b}[31mb\nc")), "a [31mb c");
        assert_eq!(render(&json!("x".repeat(200))).chars().count(), CELL);
    }
}

//! Paths of the API: the template with its variables filled in is the path that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pve_schema::Schema;

fuzz_target!(|path: &str| {
    for schema in [Schema::v9(), Schema::v8()] {
        let Some(found) = schema.find(path) else {
            continue;
        };
        let mut values = found.variables.iter();
        let mut filled = String::new();
        for part in found.template.split('/').filter(|part| !part.is_empty()) {
            let value = match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => {
                    let (known, value) = values.next().expect("a variable without value");
                    assert_eq!(*known, name);
                    assert!(!value.contains(char::is_whitespace));
                    value
                }
                None => part,
            };
            filled += "/";
            filled += value;
        }
        assert_eq!(values.next(), None, "a value without variable");
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        assert_eq!(filled.trim_start_matches('/'), parts.join("/"));

        for verb in found.verbs() {
            let method = found.method(verb).expect("a verb it names");
            assert_eq!((method.verb(), method.path()), (verb, found.template));
        }
    }
});

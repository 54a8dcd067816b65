//! The broker's framing and requests: what is a request is read back from its own text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some((body, used))) = broker_api::frame::request(input) {
        assert_eq!(body.len() + broker_api::frame::HEAD, used);
        if let Ok(value) = broker_api::strict_json::parse(body)
            && let Ok(request) = broker_api::Request::from_value(value)
        {
            let again = broker_api::strict_json::parse(request.to_json().as_bytes()).expect("JSON");
            assert_eq!(broker_api::Request::from_value(again).expect("a request"), request);
        }
    }
});

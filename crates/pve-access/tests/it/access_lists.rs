use std::collections::BTreeMap;

use pve_access::{Access, Release, Subject, judge};
use serde_json::{Value, json};

use crate::shared::{array, json, string};

fn access(text: &str) -> Access {
    Access::parse(Release::V9, text).unwrap().0
}

fn roles(access: &Access, case: &Value) -> Vec<String> {
    let subject: Subject = string(case, "subject").parse().unwrap();
    access.roles(&subject, string(case, "path")).into_keys().map(str::to_owned).collect()
}

fn permissions(access: &Access, case: &Value) -> BTreeMap<&'static str, u8> {
    let subject: Subject = string(case, "subject").parse().unwrap();
    let permissions = access.permissions(&subject, string(case, "path"));
    permissions.iter().map(|(privilege, flag)| (privilege.name(), u8::from(flag))).collect()
}

#[test]
fn upstream_cases() {
    let Some(scenarios) = json("fixtures/acl/perm_cases.json") else {
        return;
    };
    let mut checked = 0;
    for scenario in scenarios.as_array().unwrap() {
        let access = access(string(scenario, "user_cfg"));
        for case in array(scenario, "cases") {
            let got = match string(case, "query") {
                "roles" => json!(roles(&access, case)),
                "permissions" => json!(permissions(&access, case).into_keys().collect::<Vec<_>>()),
                other => panic!("unknown query {other}"),
            };
            assert_eq!(got, case["expected"], "{} {case}", scenario["id"]);
            checked += 1;
        }
    }
    eprintln!("perm_cases: {checked} equal");
    assert!(checked > 0);
}

#[test]
fn generated_cases() {
    let Some(fixture) = json("fixtures/acl/generated_cases.json") else {
        return;
    };
    let mut checked = 0;
    for scenario in array(&fixture, "scenarios") {
        let text = string(scenario, "user_cfg");
        let access = access(text);
        assert_eq!(access.write().unwrap(), string(scenario, "rewritten"), "{text}");
        for case in array(scenario, "cases") {
            assert_eq!(json!(roles(&access, case)), case["roles"], "{case}\n{text}");
            assert_eq!(json!(permissions(&access, case)), case["permissions"], "{case}\n{text}");
            checked += 1;
        }
    }
    eprintln!("generated_cases: {checked} equal");
    assert!(checked > 0);
}

/// The same cases as records of questions, and with their reasons.
#[test]
fn generated_cases_as_records() {
    let Some(fixture) = json("fixtures/acl/generated_cases.json") else {
        return;
    };
    let mut checked = 0;
    for scenario in array(&fixture, "scenarios") {
        let answer = judge::answer(Release::V9, scenario.to_string().as_bytes()).unwrap();
        let answer = serde_json::to_value(&answer).unwrap();
        assert_eq!(answer["rewritten"], scenario["rewritten"]);
        let access = access(string(scenario, "user_cfg"));
        for (case, result) in array(scenario, "cases").iter().zip(array(&answer, "results")) {
            assert_eq!(result["roles"], case["roles"], "{case}");
            assert_eq!(result["permissions"], case["permissions"], "{case}");
            let subject: Subject = string(case, "subject").parse().unwrap();
            let explanation = access.explain(&subject, string(case, "path"), None);
            assert_eq!(json!(explanation.permissions), case["permissions"], "{case}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}

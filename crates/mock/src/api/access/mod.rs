//! `/access`.

mod acl;
pub(super) mod domains;
mod groups;
mod openid;
mod password;
mod permissions;
mod reauthenticate;
mod roles;
mod tfa;
mod ticket;
mod tokens;
mod users;

use pve_schema::Verb;

use super::Row;
use crate::failure::Failure;
use domains::realm_type;

/// Rights with which accounts are seen.
const AUDIT: &[&str] = &["User.Modify", "Sys.Audit"];

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/access/acl", acl::list),
    (Verb::Put, "/access/acl", acl::update),
    (Verb::Get, "/access/groups", groups::list),
    (Verb::Post, "/access/groups", groups::create),
    (Verb::Get, "/access/groups/{groupid}", groups::read),
    (Verb::Put, "/access/groups/{groupid}", groups::update),
    (Verb::Delete, "/access/groups/{groupid}", groups::delete),
    (Verb::Post, "/access/openid/login", openid::login),
    (Verb::Put, "/access/password", password::change),
    (Verb::Get, "/access/permissions", permissions::dump),
    (Verb::Get, "/access/roles", roles::list),
    (Verb::Post, "/access/roles", roles::create),
    (Verb::Get, "/access/roles/{roleid}", roles::read),
    (Verb::Put, "/access/roles/{roleid}", roles::update),
    (Verb::Delete, "/access/roles/{roleid}", roles::delete),
    (Verb::Get, "/access/tfa", tfa::list),
    (Verb::Get, "/access/tfa/{userid}", tfa::list_of_user),
    (Verb::Post, "/access/tfa/{userid}", tfa::add),
    (Verb::Get, "/access/tfa/{userid}/{id}", tfa::read),
    (Verb::Put, "/access/tfa/{userid}/{id}", tfa::update),
    (Verb::Delete, "/access/tfa/{userid}/{id}", tfa::delete),
    (Verb::Get, "/access/ticket", ticket::form),
    (Verb::Post, "/access/ticket", ticket::create),
    (Verb::Get, "/access/users", users::list),
    (Verb::Post, "/access/users", users::create),
    (Verb::Get, "/access/users/{userid}", users::read),
    (Verb::Put, "/access/users/{userid}", users::update),
    (Verb::Delete, "/access/users/{userid}", users::delete),
    (Verb::Get, "/access/users/{userid}/tfa", tfa::kinds),
    (Verb::Put, "/access/users/{userid}/unlock-tfa", tfa::unlock),
    (Verb::Get, "/access/users/{userid}/token", tokens::list),
    (Verb::Get, "/access/users/{userid}/token/{tokenid}", tokens::read),
    (Verb::Post, "/access/users/{userid}/token/{tokenid}", tokens::create),
    (Verb::Put, "/access/users/{userid}/token/{tokenid}", tokens::update),
    (Verb::Delete, "/access/users/{userid}/token/{tokenid}", tokens::delete),
];

/// The text of a failure inside a locked change of `user.cfg`: `create user failed: …`.
fn failed(action: &str, why: &str) -> Failure {
    Failure::die(format!("{action} failed: {why}"))
}

//! Chromium in front of the gate: the pages that stand in for the stock interface, and pages of
//! others that try to get at it. Passed over where there is no Chromium.

mod chromium;
mod content_policy;
mod devtools;
mod foreign;
mod interface;
mod page;
mod second_factor;
mod stand;

//! What other gates have done, done here.

use std::sync::{Arc, Weak};

use state::{Entry, News, Table};

use crate::worker::Shared;

/// Takes news over for as long as the gate lives.
pub(crate) fn listener(shared: &Arc<Shared>) -> impl FnMut(News) + Send + 'static {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    move |news| {
        if let Some(shared) = shared.upgrade() {
            take(&shared, news);
        }
    }
}

fn take(shared: &Shared, news: News) {
    let now = shared.clock.unix_secs();
    match news {
        // Sessions and attempts of this gate are in its memory, and newer there.
        News::Set { table: Table::Sessions | Table::Attempts, own: true, .. }
        | News::Extended { own: true, .. } => {}
        News::Set { table: Table::Sessions, entry, .. } => shared.sessions.told(&entry, now),
        News::Set { table: Table::Attempts, entry, .. } => shared.logins.told(&entry),
        News::Set { table: Table::Bans, entry, .. } => shared.logins.told_ban(&entry),
        News::Set { table: Table::Tokens, entry, .. } => {
            shared.tokens.told(&entry);
            shared.step_ups.told(&entry);
        }
        News::Extended { table: Table::Sessions, key, expires, .. } => {
            shared.sessions.told_end(&key, expires);
        }
        News::Gone { table: Table::Sessions, key } => shared.sessions.told_gone(&key),
        News::Gone { table: Table::Bans, key } => shared.logins.told_free(&key),
        News::Gone { table: Table::Consoles, key } => shared.consoles.told_gone(&key),
        News::Gone { table: Table::Tokens, key } => {
            shared.tokens.told_gone(&key);
            shared.step_ups.told_gone(&key);
        }
        News::All { table: Table::Sessions, entries, .. } => {
            shared.sessions.told_all(&entries, now);
        }
        News::All { table: Table::Bans, entries, lost } => {
            shared.logins.told_all_bans(&entries, lost);
        }
        News::All { table: Table::Tokens, entries, lost } => all_tokens(shared, entries, lost),
        // Which of these were counted is not known: rather a few too few than twice.
        News::All { .. } | News::Set { .. } | News::Extended { .. } | News::Gone { .. } => {}
    }
}

/// After a loss, tokens that nobody here knows are such as were revoked: they go again.
fn all_tokens(shared: &Shared, entries: Vec<Entry>, lost: bool) {
    let mut entries = entries;
    if lost {
        let (known, back): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| shared.tokens.knows(&entry.key).unwrap_or(true));
        shared.tokens.forget_later(back.into_iter().map(|entry| entry.key));
        entries = known;
    }
    shared.tokens.told_all(&entries);
    shared.step_ups.told_all(&entries);
}

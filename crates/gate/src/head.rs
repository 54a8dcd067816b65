//! Heads of requests and answers, the same for HTTP/1 and HTTP/2.
//!
//! Those of the `http` crate keep header lines in a hash map. A message has a dozen lines, of which
//! the gate looks for a few: walking a list is faster than hashing, keeps the order the lines came
//! in, and is all that is needed.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};

use crate::reason::Phrase;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Fields,
}

/// An answer without its body. Its version is that of the connection it goes to.
#[derive(Debug, Default)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    /// Where it is not the status' own.
    pub(crate) phrase: Option<Phrase>,
    pub(crate) headers: Fields,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    pub(crate) head: AnswerHead,
    pub(crate) body: B,
}

/// Header lines in their order; a name may be repeated.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(HeaderName, HeaderValue)>);

impl<B> Answer<B> {
    /// A 200 without headers.
    pub(crate) fn new(body: B) -> Self {
        Self { head: AnswerHead::default(), body }
    }
}

impl Fields {
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Lines there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Lines with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The first line of this name.
    #[expect(clippy::needless_pass_by_value, reason = "a name is a constant or a reference")]
    pub(crate) fn get<N>(&self, name: N) -> Option<&HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.0.iter().find(|(have, _)| *have == name).map(|(_, value)| value)
    }

    /// Every line of this name.
    pub(crate) fn get_all<N>(&self, name: N) -> impl DoubleEndedIterator<Item = &HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.0.iter().filter(move |(have, _)| *have == name).map(|(_, value)| value)
    }

    pub(crate) fn contains<N>(&self, name: N) -> bool
    where
        HeaderName: PartialEq<N>,
    {
        self.get(name).is_some()
    }

    /// Adds a line behind all others.
    pub(crate) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Puts a line in the place of those of its name.
    pub(crate) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let mut same = self.0.iter_mut().filter(|(have, _)| *have == name);
        match same.next() {
            Some((_, first)) => *first = value,
            None => return self.append(name, value),
        }
        if same.next().is_some() {
            let mut first = true;
            self.retain(|have| *have != name || std::mem::take(&mut first));
        }
    }

    /// Takes every line of this name out.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        self.retain(|have| have != name);
    }

    /// Takes the lines out whose names are not wanted.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| wanted(name));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Extend<(HeaderName, HeaderValue)> for Fields {
    fn extend<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, lines: T) {
        self.0.extend(lines);
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: T) -> Self {
        Self(lines.into_iter().collect())
    }
}

/// Names and lengths: values may be credentials.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.len()))).finish()
    }
}

/// From HTTP/2, which is hyper's.
impl From<http::request::Parts> for Parts {
    fn from(parts: http::request::Parts) -> Self {
        let http::request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: headers.into() }
    }
}

/// To HTTP/2. There is no reason phrase in it.
impl<B> From<Answer<B>> for Response<B> {
    fn from(answer: Answer<B>) -> Self {
        let Answer { head, body } = answer;
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        let headers = response.headers_mut();
        headers.reserve(head.headers.len());
        for (name, value) in head.headers.0 {
            headers.append(name, value);
        }
        response
    }
}

impl From<HeaderMap> for Fields {
    fn from(headers: HeaderMap) -> Self {
        let mut fields = Self::with_capacity(headers.len());
        let mut last = None;
        for (name, value) in headers {
            // A name is given with the first of its lines.
            last = name.or(last);
            fields.0.extend(last.clone().map(|name| (name, value)));
        }
        fields
    }
}

#[cfg(test)]
impl From<http::request::Builder> for Parts {
    fn from(request: http::request::Builder) -> Self {
        request.body(()).unwrap().into_parts().0.into()
    }
}

#[cfg(test)]
impl<N> std::ops::Index<N> for Fields
where
    HeaderName: PartialEq<N>,
{
    type Output = HeaderValue;

    fn index(&self, name: N) -> &HeaderValue {
        self.get(name).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Fields};
    use http::header::{ACCEPT, COOKIE, HOST};
    use http::{HeaderMap, HeaderName, HeaderValue, Response};
    use proptest::prelude::*;

    fn fields(lines: &[(HeaderName, &'static str)]) -> Fields {
        let value = HeaderValue::from_static;
        lines.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    fn shown(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn lines_are_found_in_their_order() {
        let mut fields = fields(&[(COOKIE, "a"), (HOST, "h"), (COOKIE, "b")]);
        assert_eq!(fields.get(COOKIE).unwrap(), "a");
        assert!(fields.get_all(&COOKIE).eq(["a", "b"]) && fields.get_all("cookie").count() == 2);
        assert!(fields.contains("HOST") && !fields.contains(ACCEPT));
        fields.insert(COOKIE, HeaderValue::from_static("c"));
        fields.insert(ACCEPT, HeaderValue::from_static("d"));
        assert_eq!(shown(&fields), [("cookie", "c"), ("host", "h"), ("accept", "d")]);
        fields.remove(&COOKIE);
        assert_eq!(shown(&fields), [("host", "h"), ("accept", "d")]);
    }

    #[test]
    fn no_value_is_printed() {
        assert!(!format!("{:?}", fields(&[(COOKIE, "canary")])).contains("canary"));
    }

    proptest! {
        /// The list does what the hash map of `http` does, but for the order of lines.
        #[test]
        fn as_the_map_does_it(steps in prop::collection::vec((0..3_u8, 0..3_usize, "[a-z]{1,3}"), 0..24)) {
            let names = [HOST, COOKIE, HeaderName::from_static("x-own")];
            let (mut list, mut map) = (Fields::default(), HeaderMap::new());
            for (step, name, value) in steps {
                let (name, value) = (names[name].clone(), HeaderValue::from_str(&value).unwrap());
                match step {
                    0 => { list.append(name.clone(), value.clone()); map.append(name, value); }
                    1 => { list.insert(name.clone(), value.clone()); map.insert(name, value); }
                    _ => { list.remove(&name); map.remove(&name); }
                }
                for name in &names {
                    prop_assert!(list.get_all(name).eq(map.get_all(name)));
                    prop_assert_eq!(list.get(name), map.get(name));
                }
                prop_assert_eq!(list.len(), map.len());
            }
            let mut answer = Answer::new(());
            answer.head.headers = Fields::from(map.clone());
            let response = Response::from(answer);
            prop_assert_eq!(response.headers(), &map);
        }
    }
}

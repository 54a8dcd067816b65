//! The compressors, whose state is kept for the next answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::Coding;
use crate::limits::{COMPRESSIONS, COMPRESSORS_KEPT};

/// Level of zstd and deflate for what is compressed for one client.
const LEVEL: i32 = 1;

/// Level of zstd for what is compressed once and kept.
const LEVEL_KEPT: i32 = 6;

/// RFC 1952 §2.3: deflate, no flags, no time, the fastest, a unix.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

/// Bytes by which the room for what comes out grows.
const ROOM: usize = 16 * 1024;

/// The compressors of one worker: at most [`COMPRESSIONS`] at work, [`COMPRESSORS_KEPT`] of a kind
/// at rest.
#[derive(Default)]
pub(crate) struct Compressors {
    at_work: Cell<usize>,
    zstd: RefCell<Vec<CCtx<'static>>>,
    raw: RefCell<Vec<Compress>>,
    zlib: RefCell<Vec<Compress>>,
}

/// One body's compressor; goes back when dropped.
pub(crate) struct Encoder {
    kind: Option<Kind>,
    home: Rc<Compressors>,
}

enum Kind {
    Zstd(CCtx<'static>),
    /// Beginning of the file, sum and length are written here: flate2's own do not come without
    /// C's zlib.
    Gzip(Compress, Crc, Begun),
    Deflate(Compress),
}

/// Whether the head of the file was written.
type Begun = bool;

/// What is to become of what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// More will come.
    Go,
    /// More will come, but the client should see all there is.
    Flush,
    End,
}

impl Compressors {
    /// A compressor for a body of this length, where it is known. None when all are at work.
    pub(crate) fn take(
        self: &Rc<Self>,
        coding: Coding,
        length: Option<u64>,
        kept: bool,
    ) -> Option<Encoder> {
        if self.at_work.get() >= COMPRESSIONS {
            return None;
        }
        let kind = match coding {
            Coding::Zstd => {
                let mut context = match self.zstd.borrow_mut().pop() {
                    Some(context) => context,
                    None => CCtx::try_create()?,
                };
                let level = if kept { LEVEL_KEPT } else { LEVEL };
                context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
                // Known sizes get smaller tables.
                context.set_pledged_src_size(length).ok()?;
                Kind::Zstd(context)
            }
            Coding::Gzip => Kind::Gzip(deflate(&self.raw, false), Crc::new(), false),
            Coding::Deflate => Kind::Deflate(deflate(&self.zlib, true)),
        };
        self.at_work.set(self.at_work.get() + 1);
        Some(Encoder { kind: Some(kind), home: Rc::clone(self) })
    }
}

fn deflate(kept: &RefCell<Vec<Compress>>, zlib: bool) -> Compress {
    let fresh = || Compress::new(Compression::fast(), zlib);
    kept.borrow_mut().pop().unwrap_or_else(fresh)
}

impl Encoder {
    /// Compresses `input` to the end of `out`.
    ///
    /// # Errors
    /// The compressor failed, which is a bug or a body longer than it said.
    pub(crate) fn write(&mut self, input: &[u8], out: &mut Vec<u8>, then: Then) -> io::Result<()> {
        match &mut self.kind {
            Some(Kind::Zstd(context)) => zstd(context, input, out, then),
            Some(Kind::Deflate(compress)) => run(compress, input, out, then),
            Some(Kind::Gzip(compress, sum, begun)) => {
                if !*begun {
                    *begun = true;
                    out.extend_from_slice(&GZIP_HEAD);
                }
                sum.update(input);
                run(compress, input, out, then)?;
                if then == Then::End {
                    out.extend_from_slice(&sum.sum().to_le_bytes());
                    out.extend_from_slice(&sum.amount().to_le_bytes());
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let home = &self.home;
        home.at_work.set(home.at_work.get().saturating_sub(1));
        match self.kind.take() {
            Some(Kind::Zstd(mut context)) => {
                // One that can not be reset is not used again.
                let reset = context.reset(ResetDirective::SessionOnly).ok();
                keep(&home.zstd, reset.map(|_| context));
            }
            Some(Kind::Gzip(mut compress, ..)) => {
                compress.reset();
                keep(&home.raw, Some(compress));
            }
            Some(Kind::Deflate(mut compress)) => {
                compress.reset();
                keep(&home.zlib, Some(compress));
            }
            None => {}
        }
    }
}

fn keep<T>(kept: &RefCell<Vec<T>>, one: Option<T>) {
    let mut kept = kept.borrow_mut();
    if kept.len() < COMPRESSORS_KEPT {
        kept.extend(one);
    }
}

fn zstd(
    context: &mut CCtx<'static>,
    input: &[u8],
    out: &mut Vec<u8>,
    then: Then,
) -> io::Result<()> {
    let directive = match then {
        Then::Go => ZSTD_EndDirective::ZSTD_e_continue,
        Then::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Then::End => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut input = InBuffer::around(input);
    loop {
        if out.len() == out.capacity() {
            out.reserve(ROOM);
        }
        let at = out.len();
        let mut output = OutBuffer::around_pos(out, at);
        let left = context.compress_stream2(&mut output, &mut input, directive);
        let left = left.map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
        let done = if then == Then::Go { input.pos() == input.src.len() } else { left == 0 };
        if done {
            return Ok(());
        }
    }
}

fn run(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>, then: Then) -> io::Result<()> {
    let flush = match then {
        Then::Go => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::End => FlushCompress::Finish,
    };
    let mut rest = input;
    loop {
        // Room to spare tells "all is out" from "the buffer is full".
        out.reserve(ROOM);
        let before = compress.total_in();
        let status = compress.compress_vec(rest, out, flush).map_err(io::Error::other)?;
        let read = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(read..).unwrap_or_default();
        let room = out.len() < out.capacity();
        match status {
            Status::StreamEnd => return Ok(()),
            _ if rest.is_empty() && room && then != Then::End => return Ok(()),
            Status::BufError if room && read == 0 => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Coding;
    use super::{Compressors, Then};
    use crate::limits::COMPRESSIONS;
    use flate2::read::{GzDecoder, ZlibDecoder};
    use proptest::prelude::*;
    use std::io::Read;
    use std::rc::Rc;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Gzip, Coding::Deflate];

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Zstd => {
                plain.reserve(1 << 20);
                zstd_safe::decompress(&mut plain, bytes).unwrap();
            }
            Coding::Gzip => drop(GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
            Coding::Deflate => drop(ZlibDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
        }
        plain
    }

    #[test]
    fn no_more_at_work_than_allowed_and_one_given_back_is_used_again() {
        let home = Rc::new(Compressors::default());
        let mut all: Vec<_> =
            (0..COMPRESSIONS).filter_map(|_| home.take(Coding::Deflate, None, false)).collect();
        assert_eq!(all.len(), COMPRESSIONS);
        assert!(home.take(Coding::Deflate, None, false).is_none());
        all.pop();
        assert!(home.take(Coding::Gzip, None, false).is_some());
    }

    /// What a client was sent before a flush can be read before the end.
    #[test]
    fn a_flush_shows_all_there_is() {
        let home = Rc::new(Compressors::default());
        for coding in CODINGS {
            let mut encoder = home.take(coding, None, false).unwrap();
            let mut out = Vec::new();
            encoder.write(b"the first line", &mut out, Then::Go).unwrap();
            encoder.write(b"", &mut out, Then::Flush).unwrap();
            let mut seen = [0; 14];
            match coding {
                Coding::Zstd => assert!(out.windows(5).any(|part| part == b"first")),
                Coding::Gzip => GzDecoder::new(&out[..]).read_exact(&mut seen).unwrap(),
                Coding::Deflate => ZlibDecoder::new(&out[..]).read_exact(&mut seen).unwrap(),
            }
        }
    }

    proptest! {
        /// However it is cut and flushed, and whatever the compressor did before.
        #[test]
        fn what_goes_in_comes_out(
            bodies in proptest::collection::vec(
                proptest::collection::vec(("[a-c]{0,40}", 1..2000_usize, any::<bool>()), 0..6),
                1..4,
            ),
            known in any::<bool>(),
        ) {
            let home = Rc::new(Compressors::default());
            for coding in CODINGS {
                for body in &bodies {
                    let whole: String =
                        body.iter().map(|(text, times, _)| text.repeat(*times)).collect();
                    let length = known.then_some(whole.len() as u64);
                    let mut encoder = home.take(coding, length, false).unwrap();
                    let mut out = Vec::new();
                    for (text, times, flush) in body {
                        let then = if *flush { Then::Flush } else { Then::Go };
                        encoder.write(text.repeat(*times).as_bytes(), &mut out, then).unwrap();
                    }
                    encoder.write(b"", &mut out, Then::End).unwrap();
                    prop_assert!(decoded(coding, &out) == whole.as_bytes());
                }
            }
        }
    }
}
